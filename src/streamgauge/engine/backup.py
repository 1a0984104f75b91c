"""Backing up: control store and log at one moment. Store and progress are left out, since these two make them again.

docs/adr/0011-backup.md has the reasons and the figures.
"""

from collections.abc import Callable

from streamgauge.domain.errors import StartRefused
from streamgauge.engine.ports.backup import BackupFolder, BackupSource, FileFacts, Manifest
from streamgauge.engine.ports.clock import Clock
from streamgauge.engine.ports.event_log import EventLog


def refuse_backup_without_beginning(log: EventLog) -> None:
    """Raises StartRefused when records were dropped: control store and log no longer make the rest again."""
    if offset := log.beginning().offset:
        raise StartRefused(
            f"the event log begins at offset {offset}, since older records were dropped (retention_days); a backup of "
            "it could not give the totals of that time back. Stop the server and copy the whole data folder instead"
        )


def back_up(
    source: BackupSource, target: BackupFolder, clock: Clock, on_bytes: Callable[[int, int], None] | None = None
) -> Manifest:
    """Copy into an empty folder. `on_bytes` gets (bytes written, bytes in all, about).

    Raises StartRefused before anything is written when the folder is not empty. Cut short anywhere it leaves a folder
    without a manifest, which nobody takes for a backup.
    """
    with source.frozen() as moment:
        target.begin()
        made_at_ms = clock.now_ms()
        files: dict[str, FileFacts] = {}
        total = sum(moment.size_bytes(name) for name in moment.names)
        done = 0
        for name in moment.names:

            def told(written: int, before: int = done) -> None:
                if on_bytes is not None:
                    on_bytes(min(before + written, total), total)

            moment.copy(name, target.path(name), told)
            files[name] = target.seal(name)
            done += files[name].size_bytes
        manifest = Manifest(made_at_ms=made_at_ms, next_offset=moment.next_offset, files=files)
        target.finish(manifest)
    return manifest
