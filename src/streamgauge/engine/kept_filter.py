"""The deduplication filter from one run to the next, and whether what was kept may be used.

A filter that lacks a claim would let a repeat count twice, so it is used only when nothing speaks against it: the files
are whole and of this usage store (the adapter says so), nothing in it comes from beyond the checkpoint, it goes as far
back as the rules ask for now, and the log still has, at its place and with its time, the record up to which it goes.
Else the filter is read from the store once more.
"""

import logging

from streamgauge.engine.dedup_filter import DedupFilter, FilterImage
from streamgauge.engine.ports.event_log import EventLog
from streamgauge.engine.ports.filter_files import FilterFiles
from streamgauge.engine.ports.progress import Checkpoint

logger = logging.getLogger(__name__)


class KeptFilter:
    """`log` is asked while the filter is loaded only."""

    def __init__(self, files: FilterFiles, log: EventLog) -> None:
        self._files = files
        self._log = log

    def load(self, checkpoint: Checkpoint, since_ms: int) -> tuple[DedupFilter, int] | None:
        """The filter, if it has every claim received at or after `since_ms` and logged below the offset that is given
        with it.

        What cannot be used is discarded: images of another filter must never be taken for parts of the new one.
        """
        image = self._files.load()
        if image is not None:
            why = self._why_not(image, checkpoint, since_ms)
            if why is None:
                return DedupFilter.of(image), image.next_offset
            logger.info("kept filter not used reason=%s", why)
        self._files.discard()
        return None

    def save(self, image: FilterImage) -> None:
        self._files.save(image)

    def _why_not(self, image: FilterImage, checkpoint: Checkpoint, since_ms: int) -> str | None:
        if image.next_offset > checkpoint.next_offset:
            return "beyond_checkpoint"
        if image.since_ms > since_ms:
            return "window_longer"
        # Stamps grow strictly, so a log that went another way has another one at this place.
        if self._log.received_before(image.next_offset) != image.received_at_ms:
            return "other_log"
        return None
