"""Settled events as rows of the table `events`."""

import pyarrow as pa

from streamgauge.domain.uuid_names import split_uuids


def event_rows(events: pa.Table) -> pa.Table:
    """SETTLED_SCHEMA, or REDRIVEN_SCHEMA, with UUIDs and names in the place of identifiers."""
    uuids, names = split_uuids(events["identifier"].combine_chunks())
    at = events.schema.get_field_index("identifier")
    return events.set_column(at, "uuid", uuids).add_column(at + 1, "name", names)
