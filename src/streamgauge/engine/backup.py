"""Backing up: control store and log at one moment, from which store and progress can be made again.

Once retention has dropped records they cannot. Then these two come along, as they were just before that moment: what
is in the log beyond them is applied when the backup is restored. docs/adr/0011-backup.md has the reasons and the
figures.
"""

from collections.abc import Callable

from streamgauge.domain.errors import StartRefused
from streamgauge.engine.ports.backup import BackupFolder, BackupSource, FileFacts, Frozen, FrozenLog, Manifest
from streamgauge.engine.ports.clock import Clock


def back_up(
    source: BackupSource,
    target: BackupFolder,
    clock: Clock,
    on_bytes: Callable[[int, int], None] | None = None,
    stored: Frozen | None = None,
) -> Manifest:
    """Copy into an empty folder. `on_bytes` gets (bytes written, bytes in all, about).

    Raises StartRefused before anything is written when the folder is not empty, or the backup could not be restored,
    and when a file cannot be written; of a database that cannot, what its adapter raises. Cut short anywhere it leaves
    a folder without a manifest, which nobody takes for a backup.
    """
    with source.frozen() as moment:
        _refuse_without_what_was_dropped(moment, stored)
        target.begin()
        made_at_ms = clock.now_ms()
        files: dict[str, FileFacts] = {}
        parts: list[tuple[Frozen, str]] = [
            (part, name) for part in (moment, stored) if part is not None for name in part.names
        ]
        total = sum(part.size_bytes(name) for part, name in parts)
        done = 0
        for part, name in parts:

            def told(written: int, before: int = done) -> None:
                if on_bytes is not None:
                    on_bytes(min(before + written, total), total)

            try:
                part.copy(name, target.path(name), told)
                files[name] = target.seal(name)
            except OSError as error:
                raise StartRefused(f"could not back up {name}: {error.strerror or error}") from error
            done += files[name].size_bytes
        manifest = Manifest(made_at_ms=made_at_ms, next_offset=moment.next_offset, files=files)
        target.finish(manifest)
    return manifest


def _refuse_without_what_was_dropped(moment: FrozenLog, stored: Frozen | None) -> None:
    """Retention goes on beside a backup that begins."""
    if moment.first_offset > (0 if stored is None else stored.next_offset):
        raise StartRefused(
            f"the event log begins at offset {moment.first_offset} by now, since older records were dropped "
            "(retention_days) while this backup began; run it again"
        )
