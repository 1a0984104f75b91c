"""An edge process."""

from contextlib import ExitStack

from streamgauge.adapters.relational.connection import sqlite_url
from streamgauge.adapters.relational.store import RelationalControlStore
from streamgauge.adapters.sqlite.event_log import SqliteEventLog
from streamgauge.adapters.sqlite.progress import SqliteProgress
from streamgauge.adapters.system.clock import SystemClock, SystemEntropy
from streamgauge.adapters.system.data_folder import DataFolder
from streamgauge.adapters.system.shared_levels import SharedLevels
from streamgauge.api.edge import Edge
from streamgauge.api.forward import ForwardToEngine
from streamgauge.api.v2.meter_event_stream import MeterEventStream
from streamgauge.bootstrap import OnFatal
from streamgauge.bootstrap.rate_limit import rate_limit
from streamgauge.config import Config
from streamgauge.domain.meter_event import REQUEST_BYTES_MAX
from streamgauge.engine.backlog import Backlog, BacklogBeside
from streamgauge.engine.ingest import GroupCommit
from streamgauge.engine.keys import Keys
from streamgauge.engine.rate_limit import Limited
from streamgauge.engine.session_cache import SessionCache
from streamgauge.engine.sessions import Sessions


def build_edge(config: Config, folder: DataFolder, engine_socket: str, on_fatal: OnFatal) -> tuple[Edge, ExitStack]:
    """What an edge process needs: sessions to authenticate, the log to append to, the way to the engine."""
    clock, entropy = SystemClock(), SystemEntropy()
    with ExitStack() as stack:
        control = RelationalControlStore(sqlite_url(folder.control))
        stack.callback(control.close)
        log = SqliteEventLog(folder.log, clock)
        stack.callback(log.close)
        # A connection of its own: looking at the backlog must not wait for an append that is being synced.
        log_seen = SqliteEventLog(folder.log, clock)
        stack.callback(log_seen.close)
        progress = SqliteProgress(folder.progress)
        stack.callback(progress.close)
        sessions = Sessions(control, clock, entropy, lifetime_seconds=config.session_lifetime_seconds)
        # Each edge has its part of what may wait, but room for one request.
        pending_bytes_max = max(config.pending_bytes_max // config.edge_processes, REQUEST_BYTES_MAX)
        backlog = Backlog(log_seen, progress, events_max=config.backlog_events_max)
        commit = GroupCommit(log, pending_bytes_max=pending_bytes_max, on_fatal=on_fatal, pause=backlog.pause_seconds)
        levels = None
        if config.edge_processes > 1 and config.rate_limit_events_per_second is not None:
            # Connections are not spread evenly over edges, so a limit that was divided would not be the limit.
            levels = SharedLevels(folder.scratch / "rate_levels")
            stack.callback(levels.close)
        stream = MeterEventStream(
            SessionCache(sessions, clock),
            BacklogBeside(backlog),
            commit,
            rate_limit(config.rate_limit_events_per_second, Limited.EVENTS, levels),
        )
        keys = Keys(control, clock, entropy)
        forward = ForwardToEngine(engine_socket, keys.check)
        return Edge(stream, commit, forward, forward.close), stack.pop_all()
    raise AssertionError("not reached: an ExitStack passes exceptions on")
