"""Looking up claims: from the hash of an identifier over its place in the log to the event itself.

A look-up of many hashes reads all of `identifiers`, 20 to 40 ns for each row, since hashes lie everywhere. What a
client sends again mostly stands together in the log, though. So of many hashes a few are looked up, and where those
are found the events themselves are read, in the order of the log.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
from clickhouse_connect.driver.client import Client
from numpy.typing import NDArray

from streamgauge.adapters.clickhouse.errors import translated
from streamgauge.domain.account import Tenant
from streamgauge.domain.claims import CLAIM_SCHEMA, ClaimRange, KnownClaims
from streamgauge.domain.column_groups import bools_of, one_chunk
from streamgauge.domain.identifier_hash import hash_identifiers

LOOKUP_HASHES_MAX: Final = 10_000
LOOKUP_SETTINGS: Final[dict[str, Any]] = {"max_threads": 1, "max_query_size": 2**20}
# In the statement: for an answer in Arrow the embedded client would set and reset each by a statement of its own.
_SEEK_SETTINGS: Final = "SETTINGS max_threads = 1, output_format_arrow_string_as_string = 1"

# How many of many hashes say where the others stand.
_SAMPLE: Final = 128
# Of a neighbourhood that many of the sample must be found, each of them within so many spacings of the one before; and
# it is read so far beyond the first and the last of them. A spacing is as many entries of the log as there are hashes
# for one of the sample: neighbours that were sent again without a gap are one apart on average. Where only one in more
# than four was sent again nothing is read: of 500,000 hashes that bounds what is read to 200 MB.
_FOUND_MIN: Final = 4
_GAP_SPACINGS: Final = 16
_REACH_SPACINGS: Final = 3
_SPARSE_SPACINGS: Final = 4

_CLAIM: Final = ", ".join(CLAIM_SCHEMA.names)


class ClaimLookup:
    """With a client of its own, which it closes."""

    def __init__(self, client: Client, database: str) -> None:
        self._client = client
        self._database = database

    def all_of(self, hashes: NDArray[np.uint64], where: ClaimRange) -> KnownClaims:
        places = self._places(hashes, where)
        if not len(places):
            return _NOTHING
        by_offset = places.sort_by("log_offset")
        offsets = by_offset["log_offset"].to_numpy()
        events = self._seek(
            offsets,
            lambda listed: (
                f"SELECT {_CLAIM} FROM {self._database}.events WHERE log_partition = 0 AND log_offset IN ({listed}) "
                f"AND {received_since(where.since_ms)}"
            ),
        ).cast(CLAIM_SCHEMA)
        at = np.searchsorted(offsets, events["log_offset"].to_numpy())
        return KnownClaims.of(events, by_offset["identifier_hash"].to_numpy()[at])

    def neighbouring(self, hashes: NDArray[np.uint64], where: ClaimRange) -> KnownClaims:
        """Some of them, those that stand together in the log, among others that stand between."""
        spacing = len(hashes) // _SAMPLE
        if not spacing:
            return _NOTHING
        sample = self._places(hashes[::spacing], where)
        found = neighbourhoods(np.sort(sample["log_offset"].to_numpy()), spacing)
        if not found:
            return _NOTHING
        standing = " OR ".join(
            f"log_offset BETWEEN {max(first, where.from_offset)} AND {min(last, where.below_offset - 1)}"
            for first, last in found
        )
        with translated("look up neighbouring identifiers"):
            events = self._client.query_arrow(
                f"SELECT {_CLAIM} FROM {self._database}.events WHERE log_partition = 0 AND ({standing}) "
                f"AND status = 'counted' AND {received_since(where.since_ms)} {_SEEK_SETTINGS}"
            ).cast(CLAIM_SCHEMA)
        return KnownClaims.of(events, _hashes_of(events))

    def close(self) -> None:
        self._client.close()

    def _places(self, hashes: NDArray[np.uint64], where: ClaimRange) -> pa.Table:
        """`log_offset` and `identifier_hash` of each claim."""
        if not len(hashes):
            return _NO_PLACES
        return self._seek(
            hashes,
            lambda listed: (
                offsets_sql(self._database, listed, since_ms=where.since_ms, below_offset=where.below_offset)
                # Leaves whole parts out.
                + f" AND log_offset >= {where.from_offset:d}"
            ),
        )

    def _seek(self, numbers: NDArray[np.uint64], sql_of: Callable[[str], str]) -> pa.Table:
        """The answer to a query for these numbers, one or more. A few stand in it as a list. Many are handed over as a
        column: each list of them would read nearly all of the table, and a column reads it once."""
        listed = "SELECT number FROM Python(streamgauge_numbers)"
        if len(numbers) <= LOOKUP_HASHES_MAX:
            listed = ",".join(map(str, numbers.tolist()))
        # The embedded engine finds the column by the variable's name.
        streamgauge_numbers = pa.table({"number": numbers})
        with translated("look up identifiers"):
            found = self._client.query_arrow(f"{sql_of(listed)} {_SEEK_SETTINGS}")
        del streamgauge_numbers
        return found


def neighbourhoods(offsets: NDArray[np.uint64], spacing: int) -> list[tuple[int, int]]:
    """(first, last) of the parts of the log in which several of these offsets, which ascend, stand close together."""
    if not len(offsets):
        return []
    at = offsets.astype(np.int64)
    starts = np.append(0, np.flatnonzero(np.diff(at) > _GAP_SPACINGS * spacing) + 1)
    found = np.diff(np.append(starts, len(at)))
    reach = _REACH_SPACINGS * spacing
    firsts, lasts = np.maximum(at[starts] - reach, 0), at[starts + found - 1] + reach
    is_worth_it = (found >= _FOUND_MIN) & (lasts - firsts <= _SPARSE_SPACINGS * spacing * found)
    return [(int(first), int(last)) for first, last in zip(firsts[is_worth_it], lasts[is_worth_it], strict=True)]


def lists(numbers: NDArray[np.uint64] | Sequence[int]) -> Iterator[str]:
    """The numbers as SQL lists them, in portions that fit into a query."""
    for start in range(0, len(numbers), LOOKUP_HASHES_MAX):
        yield ",".join(map(str, list(numbers[start : start + LOOKUP_HASHES_MAX])))


def offsets_sql(database: str, listed: str, *, since_ms: int, below_offset: int) -> str:
    """(offset, hash) of the counted events with one of the `listed` hashes. Most are of none: the filter took them for
    known. So the hashes are read first, alone."""
    return (
        f"SELECT log_offset, identifier_hash FROM {database}.identifiers PREWHERE identifier_hash IN ({listed}) "
        f"WHERE counted AND {day_since(since_ms)} AND log_offset < {below_offset:d}"
    )


def received_since(since_ms: int) -> str:
    return f"received_at >= fromUnixTimestamp64Milli({max(since_ms, 0):d}, 'UTC')"


def day_since(since_ms: int) -> str:
    """Of `identifiers`, which know the day of receipt alone: nothing is left out, and a part of a day too much."""
    return f"day >= toDate(fromUnixTimestamp64Milli({max(since_ms, 0):d}, 'UTC'))"


def _hashes_of(events: pa.Table) -> NDArray[np.uint64]:
    accounts = one_chunk(events["account"]).dictionary_encode()
    tenants = [Tenant(each, livemode) for each in accounts.dictionary.to_pylist() for livemode in (False, True)]
    tenant = accounts.indices.to_numpy() * 2 + bools_of(events["livemode"])
    return hash_identifiers(one_chunk(events["identifier"]), tenant, tenants)


_NOTHING: Final = KnownClaims.of(CLAIM_SCHEMA.empty_table(), np.empty(0, np.uint64))
_NO_PLACES: Final = pa.table({"log_offset": pa.array([], pa.uint64()), "identifier_hash": pa.array([], pa.uint64())})
