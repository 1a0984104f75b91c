"""The engine's errors in our words. The one place that knows its codes."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from clickhouse_connect.driver.exceptions import ClickHouseError

from streamgauge.domain.errors import StorageFull, StreamgaugeError, Unavailable

_NOT_ENOUGH_SPACE: Final = 243
_NO_SPACE_LEFT_TEXTS: Final = ("No space left on device", "NOT_ENOUGH_SPACE", "Cannot reserve")


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Raise StorageFull or Unavailable, saying what was being done, for whatever the client raises."""
    try:
        yield
    except StreamgaugeError:
        raise
    # The embedded engine also raises bare RuntimeErrors, and OSErrors from the file that carries an insert.
    except (ClickHouseError, RuntimeError, OSError) as error:
        text = str(error)
        if f"Code: {_NOT_ENOUGH_SPACE}" in text or any(each in text for each in _NO_SPACE_LEFT_TEXTS):
            raise StorageFull(f"could not {doing}: the disk is full") from error
        raise Unavailable(f"could not {doing}: {text}") from error
