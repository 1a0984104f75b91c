"""`FilterFiles` in memory."""

from dataclasses import replace

from streamgauge.engine.dedup_filter import FilterImage


class MemoryFilterFiles:
    def __init__(self) -> None:
        self._image: FilterImage | None = None

    def load(self) -> FilterImage | None:
        return None if self._image is None else _copy(self._image)

    def save(self, image: FilterImage) -> None:
        former = {} if self._image is None else {(each.number, each.count): each for each in self._image.segments}
        image = _copy(image)
        self._image = replace(image, segments=[former.get((each.number, each.count), each) for each in image.segments])

    def discard(self) -> None:
        self._image = None


def _copy(image: FilterImage) -> FilterImage:
    return replace(image, segments=[replace(each, blocks=each.blocks.copy()) for each in image.segments])
