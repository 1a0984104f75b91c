"""Connections that go only to addresses that were checked after the name was resolved."""

import asyncio
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from streamgauge.adapters.webhook.addresses import is_public
from streamgauge.adapters.webhook.connection import Connection

# Look-ups block their thread, some for half a minute: enough that a few of those do not hold up the others.
_RESOLVER_THREADS: Final = 32
# A name with many addresses may not make one attempt a tour of all of them.
_ADDRESSES_TRIED_MAX: Final = 3


class AddressRefused(Exception):
    """The host has an address that deliveries may not go to. Nothing was connected to."""


class NameNotResolved(Exception):
    """The host has no address."""


class CheckedNetwork:
    """Resolves a host itself, checks every address, and connects to one of those and to no other.

    A check that leaves resolving to whoever connects would be worth nothing: the name's owner could answer differently
    the second time. TLS still asks for a certificate of the name.
    """

    def __init__(self, *, allow_private: bool) -> None:
        self._allow_private = allow_private
        self._resolvers = ThreadPoolExecutor(_RESOLVER_THREADS, thread_name_prefix="resolve")

    def close(self) -> None:
        self._resolvers.shutdown(wait=False, cancel_futures=True)

    async def connect(self, host: str, port: int, tls: ssl.SSLContext | None) -> Connection:
        """Raises AddressRefused, NameNotResolved, and OSError (ssl.SSLError among them) as connecting does."""
        loop = asyncio.get_running_loop()
        addresses = await loop.run_in_executor(self._resolvers, _addresses, host, port)
        if not self._allow_private:
            # All of them: a name that points inwards too is not a receiver's on the internet.
            for address in addresses:
                if not is_public(address):
                    raise AddressRefused(f"{host} is at {address}, which is not a public address")
        failed: OSError | None = None
        for address in addresses[:_ADDRESSES_TRIED_MAX]:
            try:
                _, connection = await loop.create_connection(
                    Connection, address, port, ssl=tls, server_hostname=host if tls is not None else None
                )
                return connection
            except ssl.SSLError:
                raise  # somebody is there, and another address of theirs would say the same
            except OSError as error:
                failed = error
        assert failed is not None
        raise failed


def _addresses(host: str, port: int) -> list[str]:
    """Every address of the host, in the order of the resolver's preference, each once."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise NameNotResolved(f"{host}: {error}") from error
    return list(dict.fromkeys(str(address[0]) for *_, address in found))
