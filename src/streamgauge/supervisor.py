"""Processes of one server: the engine in this one, an edge in a child, both ended together.

engine   this process: control plane, applying, queries; listens on a Unix socket in the data folder
edge     a child with the public socket: answers the stream, appends to the log, hands everything else to the engine

docs/adr/0003-process-layout.md has the reasons and the measurements.
"""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Final

import uvloop

from streamgauge.adapters.system.data_folder import DataFolder
from streamgauge.adapters.system.tls import check_certificate
from streamgauge.api.inner_server import InnerServer
from streamgauge.bootstrap.engine import Engine, build_engine
from streamgauge.bootstrap.lean import leave_out_pandas
from streamgauge.config import ENVIRONMENT_PREFIX, Config, Secret
from streamgauge.domain.account import Tenant
from streamgauge.domain.credential import livemode_of_secret
from streamgauge.domain.errors import StartRefused
from streamgauge.edge_process import EXIT_DISK_FAILED, EXIT_FAILED, LISTEN_QUEUE, end_without_memory, exit_code_of
from streamgauge.engine.status import Edges

logger = logging.getLogger(__name__)

_EDGE_SETTLED_SECONDS: Final = 10
_EDGE_EARLY_DEATHS_MAX: Final = 5


def listen(config: Config) -> list[socket.socket]:
    """Take the public port, before anything else is touched. Raises StartRefused in one line."""
    public = _bound(config, config.port)
    if config.edge_processes == 1:
        public.listen(LISTEN_QUEUE)
        return [public]
    # A port that is shared would be shared with another server, too. So first it was taken for one alone.
    port = public.getsockname()[1]
    public.close()
    several = [_bound(config, port, shared=True) for _ in range(config.edge_processes)]
    for each in several:
        each.listen(LISTEN_QUEUE)
    return several


def _bound(config: Config, port: int, *, shared: bool = False) -> socket.socket:
    """`shared`: the system spreads new connections over all that are bound to the port. Of one queue that several
    processes take from, the quickest takes most, and connections last."""
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    public = socket.socket(family, socket.SOCK_STREAM)
    public.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        if shared:
            public.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        public.bind((config.host, port))
    except OSError as error:
        public.close()
        raise StartRefused(f"cannot listen on {config.host}:{config.port}: {error.strerror}") from error
    return public


def url_of(public: socket.socket, config: Config) -> str:
    host, port = public.getsockname()[:2]
    scheme = "http" if config.tls_cert is None else "https"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


class Supervisor:
    """Starts engine and edge, keeps them, and ends them in the order in which nothing is lost.

    `on_ready` is called with the URL when events are accepted, `on_key` with a secret that was made because the
    folder had no key yet.
    """

    def __init__(
        self,
        config: Config,
        *,
        on_ready: Callable[[str], None],
        on_key: Callable[[str], None],
        on_filter: Callable[[int, int], None] | None = None,
    ) -> None:
        self._config = config
        self._on_ready = on_ready
        self._on_key = on_key
        self._on_filter = on_filter
        self._exit_code = 0
        self._announced = False
        self._ending = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def run(self) -> int:
        """Serve until a signal; the exit code. Raises StartRefused."""
        leave_out_pandas()
        if self._config.tls_cert is not None and self._config.tls_key is not None:
            check_certificate(self._config.tls_cert, self._config.tls_key)
        folder = DataFolder(self._config.data_dir)
        folder.lock()
        with contextlib.ExitStack() as stack:
            public = [stack.enter_context(contextlib.closing(each)) for each in listen(self._config)]
            engine = build_engine(self._config, folder, self._fail, self._on_filter)
            try:
                self._seed_keys(engine)
                uvloop.run(self._serve(engine, folder, public))
            finally:
                engine.close(0 if self._exit_code else self._config.shutdown_grace_seconds)
        return self._exit_code

    def _seed_keys(self, engine: Engine) -> None:
        if self._config.secret_key is not None:
            secret = self._config.secret_key.reveal()
            engine.keys.adopt(Tenant(engine.account.id, bool(livemode_of_secret(secret))), secret)
        elif not engine.keys.list(engine.account.id):
            self._on_key(engine.keys.create(Tenant(engine.account.id, livemode=False))[1])

    async def _serve(self, engine: Engine, folder: DataFolder, public: list[socket.socket]) -> None:
        self._loop = asyncio.get_running_loop()
        end_without_memory(self._loop)
        gc.freeze()
        gc.enable()  # the command line stopped it for the start
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._ending.set)
        engine.applying.start()
        engine.filter_saving.start()
        engine.alert_watching.start()
        if engine.redriving is not None:
            engine.redriving.start()
        if engine.retaining is not None:
            engine.retaining.start()
        engine.error_reporting.start()
        engine.delivering.start()
        inner = InnerServer(engine.app)
        await inner.start(_listen_on(folder.engine_socket))
        await engine.upkeep.start(_listen_on(folder.upkeep_socket))
        try:
            await asyncio.gather(*[self._keep_edge(folder, each, public, engine.edges) for each in public])
        finally:
            engine.applying.end_work()
            await engine.upkeep.stop()
            await inner.stop(self._config.shutdown_grace_seconds)
            for path in (folder.engine_socket, folder.upkeep_socket):
                Path(path).unlink(missing_ok=True)

    async def _keep_edge(
        self, folder: DataFolder, own: socket.socket, public: list[socket.socket], edges: Edges
    ) -> None:
        """Run an edge until the end; start it again when it dies of something else than the disk. Connections wait in
        the queue of its own socket meanwhile."""
        early_deaths = 0
        while True:
            edge = EdgeProcess(self._config, folder, own)
            exited = asyncio.create_task(edge.wait())
            ending = asyncio.create_task(self._ending.wait())
            began = time.monotonic()
            is_ready = await edge.is_ready()
            edges.ready += is_ready
            if edges.ready == edges.wanted and not self._announced:
                self._announced = True
                self._on_ready(url_of(own, self._config))
            await asyncio.wait((exited, ending), return_when=asyncio.FIRST_COMPLETED)
            edges.ready -= is_ready
            if self._ending.is_set():
                # Left open they would take connections that nobody serves, and their clients would hang.
                for each in public:
                    each.close()
                edge.terminate()
                code = await exited
                if code != 0 and self._exit_code == 0:
                    self._exit_code = EXIT_FAILED
                return
            ending.cancel()
            code = await exited
            early_deaths = early_deaths + 1 if time.monotonic() - began < _EDGE_SETTLED_SECONDS else 0
            logger.error("edge ended exit_code=%d", code)
            if code == EXIT_DISK_FAILED or early_deaths >= _EDGE_EARLY_DEATHS_MAX:
                self._exit_code = EXIT_DISK_FAILED if code == EXIT_DISK_FAILED else EXIT_FAILED
                self._ending.set()
                return

    def _fail(self, error: BaseException) -> None:
        """From the applying thread: end everything, with an exit code that says so."""
        self._exit_code = exit_code_of(error)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._ending.set)


class EdgeProcess:
    """The child. It inherits the public socket, the folder's lock (so that the folder stays locked while the child
    lives) and one end of a pipe whose closing tells it that the engine is gone, however that died."""

    def __init__(self, config: Config, folder: DataFolder, public: socket.socket) -> None:
        self._lifeline_read, self._lifeline = os.pipe()
        self._ready, ready_write = os.pipe()
        inherited = (public.fileno(), self._lifeline_read, ready_write, folder.lock_descriptor)
        command = [sys.executable, "-m", "streamgauge", "edge"]
        command += [f"--listen-fd={inherited[0]}", f"--lifeline-fd={inherited[1]}", f"--ready-fd={inherited[2]}"]
        self._process = subprocess.Popen(command, pass_fds=inherited, env={**os.environ, **environment_of(config)})
        os.close(self._lifeline_read)
        os.close(ready_write)

    async def is_ready(self) -> bool:
        """Wait until it accepts connections; False when it ended before."""
        said = await asyncio.to_thread(os.read, self._ready, 1)
        os.close(self._ready)
        return bool(said)

    async def wait(self) -> int:
        code = await asyncio.to_thread(self._process.wait)
        os.close(self._lifeline)
        return code

    def terminate(self) -> None:
        self._process.terminate()


def environment_of(config: Config) -> dict[str, str]:
    """The settings as the child reads them; it needs no secret key."""
    settings = {each.name: getattr(config, each.name) for each in fields(config)}
    return {
        ENVIRONMENT_PREFIX + name.upper(): str(value)
        for name, value in settings.items()
        if value is not None and not isinstance(value, Secret)
    } | {ENVIRONMENT_PREFIX + "SECRET_KEY": ""}


def _listen_on(path: str) -> socket.socket:
    """The engine's own socket. A file left by a killed server may be replaced: the folder is locked."""
    Path(path).unlink(missing_ok=True)
    inner = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    inner.bind(path)
    os.chmod(path, 0o600)
    inner.listen(LISTEN_QUEUE)
    return inner
