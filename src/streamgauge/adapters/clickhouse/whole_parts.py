"""Whether what the embedded engine wrote is on the disk as it says.

The engine of this version passes over a write that failed: with EIO, or ENOSPC after it reserved its space, a file
stays short, the part is put in its place, and the insert, or the merge, says that all is well. It notices when the part
is read, or at its next start. A failed sync it does tell. So each part that is new is looked at before a checkpoint
says that it is there: its files must add up to the bytes that the engine meant to write.
"""

import os
from typing import Final

from clickhouse_connect.driver.client import Client

from streamgauge.adapters.clickhouse.errors import translated
from streamgauge.domain.errors import DurabilityLost, Unavailable

# Files of a part that its own list of checksums leaves out.
_UNLISTED: Final = {
    "checksums.txt",
    "columns.txt",
    "columns_substreams.txt",
    "default_compression_codec.txt",
    "metadata_version.txt",
    "uuid.txt",
}


class WholeParts:
    """Of all tables of a database. What is there at the beginning the engine has looked at itself when it started."""

    def __init__(self, client: Client, database: str) -> None:
        self._client = client
        self._database = database
        self._known: set[tuple[str, str]] = set()
        self._known = {(table, name) for table, name, *_ in self._parts()}

    def check(self) -> None:
        """Raises Unavailable when parts that were inserted are not whole: they are dropped, and can be inserted again.

        Raises DurabilityLost when a merged part is not: what it was made of is gone from view, so only the log has it.
        """
        parts = self._parts()
        short = [part for part in parts if part[:2] not in self._known and not _is_whole(part[2], part[3])]
        for table, name, path, _, is_merged in short:
            if is_merged:
                raise DurabilityLost(
                    f"{path}: a merge could not write this part of {table}; look at the disk, then bring the store "
                    "back from the log with `streamgauge rebuild --all`"
                )
            with translated(f"drop the part {name} of {table}, which is not whole"):
                self._client.command(f"ALTER TABLE {self._database}.{table} DROP PART '{name}'")
        if short:
            raise Unavailable(f"{short[0][2]}: could not be written whole; look at the disk")
        self._known = {(table, name) for table, name, *_ in parts}

    def _parts(self) -> list[tuple[str, str, str, int, bool]]:
        """(table, name, path, bytes, whether it was merged from others; rollups have level 1 when inserted)."""
        with translated("list parts"):
            found = self._client.query(
                "SELECT table, name, path, bytes_on_disk, min_block_number < max_block_number OR level > 1 "
                "FROM system.parts WHERE active AND database = {database:String}",
                parameters={"database": self._database},
            ).result_rows
        return [
            (str(table), str(name), str(path), int(size), bool(merged)) for table, name, path, size, merged in found
        ]


def _is_whole(path: str, size_bytes: int) -> bool:
    try:
        with os.scandir(path) as entries:
            sizes = {each.name: each.stat().st_size for each in entries if each.is_file()}
    except FileNotFoundError:  # merged into another meanwhile, and that one is looked at next time
        return True
    # Of what is listed a file may be empty: a column of nothing but defaults, for example.
    listed_bytes = sum(size for name, size in sizes.items() if name not in _UNLISTED)
    return listed_bytes == size_bytes and all(size for name, size in sizes.items() if name in _UNLISTED)
