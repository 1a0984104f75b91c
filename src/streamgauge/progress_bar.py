"""Progress bars of commands."""

from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn

_ERR: Final = Console(stderr=True, highlight=False)


class Bar:
    """A bar for something that takes a while, if there is a terminal to show it on. Gone when it is full, or as a
    context when left."""

    def __init__(self, doing: str, amount: ProgressColumn | None = None) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), amount or MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=_ERR, transient=True, disable=not _ERR.is_terminal)
        self._task = self._bar.add_task(doing, total=None)

    def __enter__(self) -> "Bar":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def __call__(self, done: int, total: int) -> None:
        self._bar.start()
        self._bar.update(self._task, completed=done, total=total)
        if done >= total:
            self._bar.stop()
