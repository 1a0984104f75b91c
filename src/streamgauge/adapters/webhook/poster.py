"""Posting over HTTP/1.1 to a URL that a stranger gave us."""

import asyncio
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeAlias

import httpx

from streamgauge.adapters.webhook.connection import Connection, ConnectionLost
from streamgauge.adapters.webhook.network import AddressRefused, CheckedNetwork, NameNotResolved
from streamgauge.engine.ports.poster import PostFailure, PostLimits, PostResult

_DETAIL_LENGTH_MAX: Final = 500
# A name that got another address must be noticed, and an idle receiver not be held on to.
_KEEPALIVE_SECONDS: Final = 5.0

Origin: TypeAlias = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class _Target:
    origin: Origin
    host_header: bytes
    path: bytes

    @property
    def is_tls(self) -> bool:
        return self.origin[0] == "https"


class WebhookPoster:
    """Implements `Poster`.

    Connections are kept for a few seconds, so that many deliveries to one receiver cost few of them. A kept one goes
    to the address that was checked when it was made, whatever the name has become since.

    `tls` is what certificates are verified with; by default the authorities that Mozilla trusts, or those of the
    file that SSL_CERT_FILE names.
    """

    def __init__(self, *, allow_private: bool, tls: ssl.SSLContext | None = None) -> None:
        self._network = CheckedNetwork(allow_private=allow_private)
        self._tls = tls or httpx.create_ssl_context()
        self._kept: dict[Origin, list[tuple[Connection, asyncio.TimerHandle]]] = {}

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], limits: PostLimits) -> PostResult:
        began = time.monotonic()

        def result(detail: str, *, status: int | None = None, failure: PostFailure | None = None) -> PostResult:
            duration_ms = round((time.monotonic() - began) * 1000)
            return PostResult(duration_ms=duration_ms, detail=_shown(detail), status=status, failure=failure)

        try:
            target = _target(url)
        except ValueError as error:
            return result(str(error), failure=PostFailure.BAD_URL)
        try:
            async with asyncio.timeout(limits.total_seconds):
                status, beginning = await self._exchange(target, _request(target, body, headers), limits)
            return result(beginning.decode("utf-8", "replace"), status=status)
        except AddressRefused as error:
            return result(str(error), failure=PostFailure.ADDRESS_REFUSED)
        except NameNotResolved as error:
            return result(str(error), failure=PostFailure.NAME_NOT_RESOLVED)
        except TimeoutError:
            return result(f"no status after {time.monotonic() - began:.1f} s", failure=PostFailure.TIMED_OUT)
        except ConnectionLost as error:
            return result(str(error), failure=PostFailure.CONNECTION_LOST)
        except ssl.SSLError as error:
            return result(str(error), failure=PostFailure.TLS_FAILED)
        except OSError as error:
            return result(str(error) or type(error).__name__, failure=PostFailure.CONNECT_FAILED)

    async def aclose(self) -> None:
        kept = [connection for connections in self._kept.values() for connection, _ in connections]
        for connections in self._kept.values():
            for connection, expiry in connections:
                expiry.cancel()
                connection.abort()
        self._kept.clear()
        await asyncio.gather(*(each.closed() for each in kept))
        self._network.close()

    async def _exchange(self, target: _Target, request: bytes, limits: PostLimits) -> tuple[int, bytes]:
        """Status, and how the body begins."""
        while (kept := self._take(target.origin)) is not None:
            try:
                return await self._ask(kept, target, request, limits)
            except ConnectionLost as error:
                if error.answered:
                    raise
                # The receiver closed it, as it may at any time; whether it had read the request nobody knows, and a
                # delivery may be made twice.
        async with asyncio.timeout(limits.connect_seconds):
            _, host, port = target.origin
            connection = await self._network.connect(host, port, self._tls if target.is_tls else None)
        return await self._ask(connection, target, request, limits)

    async def _ask(
        self, connection: Connection, target: _Target, request: bytes, limits: PostLimits
    ) -> tuple[int, bytes]:
        is_free = False
        try:
            status = await connection.send(request, limits.body_bytes_max)
            try:
                async with asyncio.timeout(limits.body_seconds):
                    beginning = await connection.beginning()
            except TimeoutError:
                beginning = connection.so_far()  # the status has said all
            is_free = connection.release()
            return status, beginning
        finally:
            if is_free:
                self._keep(target.origin, connection)
            else:
                connection.abort()

    def _keep(self, origin: Origin, connection: Connection) -> None:
        expiry = asyncio.get_running_loop().call_later(_KEEPALIVE_SECONDS, self._expire, origin, connection)
        self._kept.setdefault(origin, []).append((connection, expiry))

    def _take(self, origin: Origin) -> Connection | None:
        """One that can be used, the one used last first, so that those that are too many expire."""
        connections = self._kept.get(origin)
        while connections:
            connection, expiry = connections.pop()
            expiry.cancel()
            if not connections:
                del self._kept[origin]
            if connection.is_usable:
                return connection
        return None

    def _expire(self, origin: Origin, expired: Connection) -> None:
        left = [each for each in self._kept.get(origin, ()) if each[0] is not expired]
        if left:
            self._kept[origin] = left
        else:
            self._kept.pop(origin, None)
        expired.abort()


@lru_cache(maxsize=1_024)
def _target(url: str) -> _Target:
    """Where to post to. Raises ValueError with what is wrong with `url`."""
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, TypeError) as error:
        raise ValueError(f"not a URL: {error}") from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ValueError("not an absolute http or https URL")
    if parsed.userinfo:
        raise ValueError("a URL with a user name or password in it")
    port = parsed.port if parsed.port is not None else {"http": 80, "https": 443}[parsed.scheme]
    if not 0 < port <= 65_535:
        raise ValueError(f"a URL with the port {port}")
    return _Target((parsed.scheme, parsed.raw_host.decode("ascii"), port), parsed.netloc, parsed.raw_path or b"/")


def _request(target: _Target, body: bytes, headers: Mapping[str, str]) -> bytes:
    """All of it at once: small enough that one write carries it."""
    given = b"".join(b"%s: %s\r\n" % (name.encode(), value.encode()) for name, value in headers.items())
    head = b"POST %s HTTP/1.1\r\nHost: %s\r\n%sContent-Length: %d\r\n\r\n"
    return head % (target.path, target.host_header, given, len(body)) + body


def _shown(text: str) -> str:
    """One short line: what a stranger sent must not act upon a terminal or a page."""
    return "".join(character if character.isprintable() else " " for character in text[:_DETAIL_LENGTH_MAX]).strip()
