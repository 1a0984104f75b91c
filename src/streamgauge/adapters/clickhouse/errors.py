"""The engine's errors in our words. The one place that knows its codes."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from clickhouse_connect.driver.exceptions import ClickHouseError

from streamgauge.domain.errors import Corrupt, StorageFull, StreamgaugeError, Unavailable

_NOT_ENOUGH_SPACE: Final = 243
_DAMAGED: Final = (40, 246)  # a checksum does not match, data cannot be what was written
_NO_SPACE_LEFT_TEXTS: Final = ("No space left on device", "NOT_ENOUGH_SPACE", "Cannot reserve")


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Raise StorageFull, Corrupt or Unavailable, saying what was being done, for whatever the client raises."""
    try:
        yield
    except StreamgaugeError:
        raise
    # The embedded engine also raises bare RuntimeErrors, and OSErrors from the file that carries an insert.
    except (ClickHouseError, RuntimeError, OSError) as error:
        if says_full(error):
            raise StorageFull(f"could not {doing}: the disk is full") from error
        if any(f"Code: {code}." in str(error) for code in _DAMAGED):
            raise Corrupt(f"could not {doing}: the usage store is damaged: {error}") from error
        raise Unavailable(f"could not {doing}: {error}") from error


def says_full(error: Exception) -> bool:
    text = str(error)
    return f"Code: {_NOT_ENOUGH_SPACE}" in text or any(each in text for each in _NO_SPACE_LEFT_TEXTS)
