"""HTTP by hand: bytes that no well-behaved client would send, and what comes back."""

import json
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

Header = tuple[bytes, bytes]


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> dict[str, Any]:
        answered = json.loads(self.body)
        assert set(answered) == {"error"}, answered
        return dict(answered["error"])

    @property
    def told(self) -> str:
        """Everything that the other side gets to see."""
        return f"{self.status} {self.headers} " + self.body.decode("utf-8", "replace")


@contextmanager
def connection(url: str, seconds: float = 20) -> Iterator[socket.socket]:
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=seconds) as opened:
        yield opened


def request(method: bytes, target: bytes, headers: Iterable[Header] = (), body: bytes | None = None) -> bytes:
    lines = [method + b" " + target + b" HTTP/1.1", b"Host: x", *(name + b": " + value for name, value in headers)]
    if body is not None:
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + (body or b"")


def reply(opened: socket.socket, method: str = "POST") -> Reply:
    """The next answer on a connection, and not a byte more. Raises ConnectionError when it is closed before."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += _received(opened, 1)
    first, *lines = head.decode("latin-1").strip().split("\r\n")
    pairs = (line.partition(": ") for line in lines)
    headers = {name.lower(): value for name, _, value in pairs}
    body = b"" if method == "HEAD" else _received(opened, int(headers["content-length"]))
    return Reply(int(first.split()[1]), headers, body)


def _received(opened: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size:
        part = opened.recv(size - len(received))
        if not part:
            raise ConnectionResetError("closed before the end of an answer")
        received += part
    return received


def ask(url: str, sent: bytes, seconds: float = 20) -> Reply:
    """The first answer to these bytes, on a connection of their own."""
    with connection(url, seconds) as opened:
        opened.sendall(sent)
        return reply(opened)
