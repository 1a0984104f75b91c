"""The edge process: the public socket, the stream, and the way to the engine for everything else.

A module of its own, because whoever imports less starts sooner; `supervisor.py` starts it.
"""

import asyncio
import contextlib
import gc
import logging
import os
import resource
import signal
import socket
import ssl
import sys
from collections.abc import Iterator
from typing import Any, Final

import uvicorn
import uvloop
from starlette.types import ASGIApp

from streamgauge.adapters.system.data_folder import DataFolder
from streamgauge.api.connection import BoundedConnection
from streamgauge.bootstrap.edge import build_edge
from streamgauge.bootstrap.lean import leave_out_pandas
from streamgauge.config import Config
from streamgauge.domain.errors import Corrupt, DurabilityLost

EXIT_FAILED: Final = 1
EXIT_DISK_FAILED: Final = 3
LISTEN_QUEUE: Final = 2_048
_GC_ALLOCATIONS: Final = 200_000
# How long one thread waits at most until another, busy in Python, gives up the interpreter: the one that appended a
# record, to say so, and the event loop, for one that looks up a session. The default is ten times that.
_SWITCH_SECONDS: Final = 0.0005
# Longer than clients keep a connection in their pools: a server that closes first makes their next request fail.
_KEEP_ALIVE_SECONDS: Final = 75


def run_edge(config: Config, *, listen_fd: int, lifeline_fd: int, ready_fd: int) -> int:
    """The edge process: serve until SIGTERM, or until the engine is gone."""
    leave_out_pandas()
    sys.setswitchinterval(_SWITCH_SECONDS)
    failed: list[BaseException] = []
    folder = DataFolder(config.data_dir)
    public = socket.socket(fileno=listen_fd)

    def fail(error: BaseException) -> None:
        failed.append(error)
        server.should_exit = True

    edge, resources = build_edge(config, folder, folder.engine_socket, fail)
    server = _server(edge, config)

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        end_without_memory(loop)
        # Decoded events hold no cycles, and there are very many of them: looking for some took 10 % of the time.
        gc.freeze()
        gc.set_threshold(_GC_ALLOCATIONS)
        gc.enable()  # the command line stopped it for the start
        _allow_connections()
        # A line for each request that is not HTTP would let anybody fill the disk with them.
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
        # An interrupt from the terminal reaches both processes; the engine's process decides about the end.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        loop.add_signal_handler(signal.SIGTERM, _end, server)
        loop.add_reader(lifeline_fd, _end, server)
        serving = asyncio.create_task(server.serve(sockets=[public]))
        while not server.started and not serving.done():
            await asyncio.sleep(0.01)
        if server.started:
            os.write(ready_fd, b"\n")
        os.close(ready_fd)
        await serving

    with resources:
        uvloop.run(serve())
    return exit_code_of(failed[0]) if failed else 0


def end_without_memory(loop: asyncio.AbstractEventLoop) -> None:
    """A loop that has no memory for what arrives can neither read it nor close the connection, and each client would
    wait until it gives up. The process ends instead, as by a kill; what was acknowledged is in the log."""
    unraisable = sys.unraisablehook

    def in_loop(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if isinstance(context.get("exception"), MemoryError):
            os._exit(EXIT_FAILED)
        loop.default_exception_handler(context)

    def in_callback(failed: "sys.UnraisableHookArgs") -> None:
        if failed.exc_type is MemoryError:
            os._exit(EXIT_FAILED)
        unraisable(failed)

    loop.set_exception_handler(in_loop)
    sys.unraisablehook = in_callback


def _allow_connections() -> None:
    """As many open files as the process may have: each connection is one, and often only 1,024 are set."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _end(server: uvicorn.Server) -> None:
    server.should_exit = True


def exit_code_of(error: BaseException) -> int:
    return EXIT_DISK_FAILED if isinstance(error, (Corrupt, DurabilityLost)) else EXIT_FAILED


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: the supervisor has them."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _server(app: ASGIApp, config: Config) -> _Server:
    serving = uvicorn.Config(
        app,
        lifespan="on",
        http=BoundedConnection,
        ws="none",
        proxy_headers=False,
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=LISTEN_QUEUE,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=config.shutdown_grace_seconds,
        ssl_certfile=config.tls_cert,
        ssl_keyfile=config.tls_key,
    )
    serving.load()
    if serving.ssl is not None:
        # What Python takes by itself depends on how it was built and on the machine's OpenSSL configuration.
        serving.ssl.minimum_version = ssl.TLSVersion.TLSv1_2
    return _Server(serving)
