"""What the folder's owner asks of a running server, on a socket in the folder that nobody else can open.

Not an operation of the API: it concerns all accounts, so no key of one of them is the right credential. One question
is one connection: a line of JSON there, lines of progress back, and a last one with `result` or `error`.
"""

import asyncio
import json
import logging
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any, Final

from streamgauge.domain.errors import StartRefused, StreamgaugeError
from streamgauge.engine.ports.rebuild import OnProgress

logger = logging.getLogger(__name__)

# Does what was asked for, in a thread of its own, and returns what to answer.
Task = Callable[[OnProgress], Any]

_QUESTION_BYTES_MAX: Final = 1_000
_QUESTION_SECONDS: Final = 10


class UpkeepServer:
    """Answers `tasks` by their names. `on_left` is given what was answered once the caller has hung up."""

    def __init__(self, tasks: Mapping[str, Task], on_left: Mapping[str, Callable[[Any], None]]) -> None:
        self._tasks = tasks
        self._on_left = on_left
        self._server: asyncio.Server
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def start(self, listening: socket.socket) -> None:
        self._server = await asyncio.start_unix_server(self._connected, sock=listening, limit=_QUESTION_BYTES_MAX)

    async def stop(self) -> None:
        """Hang up. What is under way must have been told to end: it is waited for."""
        self._server.close()
        for writer in self._connections.values():
            writer.close()
        if self._connections:
            await asyncio.wait(self._connections)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.current_task()
        assert connection is not None
        self._connections[connection] = writer
        try:
            async with asyncio.timeout(_QUESTION_SECONDS):
                asked = json.loads(await reader.readline())["do"]
            await self._answer(asked, reader, writer)
        except (OSError, ValueError, KeyError, TypeError, TimeoutError) as error:
            logger.warning("upkeep connection lost: %r", error)
        finally:
            writer.close()
            del self._connections[connection]

    async def _answer(self, asked: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()

        def tell(**told: object) -> None:
            if not writer.is_closing():
                writer.write(json.dumps(told).encode() + b"\n")

        def on_progress(done: int, total: int) -> None:
            loop.call_soon_threadsafe(lambda: tell(done=done, total=total))

        if asked not in self._tasks:
            tell(error=f"this server does not know how to {asked}; it is of another version")
            return
        try:
            result = await asyncio.to_thread(self._tasks[asked], on_progress)
        except StreamgaugeError as error:
            tell(error=error.message)
            return
        try:
            tell(result=result)
            await reader.read()  # until the caller hangs up
        finally:
            if asked in self._on_left:
                self._on_left[asked](result)


class AskedServer:
    """The server that holds a folder, as the folder's owner asks it."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def ask(self, what: str, on_progress: OnProgress | None = None) -> Any:
        """Its answer. Raises StartRefused when it refuses, or ends before it has answered."""
        try:
            self._connection.sendall(json.dumps({"do": what}).encode() + b"\n")
            with self._connection.makefile("rb") as lines:
                for line in lines:
                    told = json.loads(line)
                    if "error" in told:
                        raise StartRefused(f"the running server could not {what}: {told['error']}")
                    if "result" in told:
                        return told["result"]
                    if on_progress is not None:
                        on_progress(told["done"], told["total"])
        except (OSError, ValueError) as error:
            raise StartRefused(f"no answer from the running server: {error}") from error
        raise StartRefused(f"the running server ended before it could {what}")


@contextmanager
def server_at(path: str) -> Iterator[AskedServer | None]:
    """The one that listens there; None when none does. It is asked once, and hears when this is left."""
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as connection:
        try:
            connection.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            yield None
        else:
            yield AskedServer(connection)
