"""Where the deduplication filter is kept between two runs."""

from typing import Protocol

from streamgauge.engine.dedup_filter import FilterImage


class FilterFiles(Protocol):
    """One image, of one usage store. It saves reading, and decides nothing: whatever is doubtful is not given back."""

    def load(self) -> FilterImage | None:
        """The image that was saved last, exactly; its blocks are the caller's to change. None when there is none, when
        any bit of it is not as it was saved, or when it was saved for another usage store or by a program whose filter
        has other bits. A segment's blocks have the shape that its capacity asks for."""

    def save(self, image: FilterImage) -> None:
        """Put it in the place of the former one, durably: after a crash it is this one or the former, whole. Segments
        of which number and count were saved already are not written again.

        Raises StorageFull or Unavailable: the former one is still there.
        """

    def discard(self) -> None:
        """There is none then; durable on return. Raises like `save`."""
