"""Tables of the usage store. One SQL for chDB in process and for a ClickHouse server.

events       every event with its fate, in log order: what is written together is read together, whether a receipt
             asks for one offset, a list for the newest, or a report for a step. Partitions are days of receipt, so that
             retention drops whole ones.
identifiers  where the events of an identifier stand in the log, by the hash of the identifier: a look-up reads one
             granule per part here, and then the rows of `events` themselves, since hashes may collide
sums         rollups per (meter, customer, minute of event time) for the formulas `sum` and `count`
latests      the same for `last` and for meters with an event time window
latest_events      the events that `latests` was made of, one by one in its order: nothing can be subtracted from a
             maximum, so a minute that holds a cancellation is made anew from here
cancellations      the events that were taken back, by the hash of their identifiers
latests_cancelled  those of them that `latests` holds, in its order

What is asked for a few rows at a time has granules of 1,024 rows, which cost its inserts and merges nothing that could
be measured. With 2,048 a merge of `events` cost a quarter more and it took 11 % more bytes: so a receipt reads 8,192.

A step of applying writes one part for each partition that it touches in each table (`step.py`).
Whether a table has its rows of a step can be told from the rows: by their offsets, and in rollups by `step`.
"""

from typing import Final

# Raised with every change that rows of an older version would not fit: such a store is made anew from the log.
STORE_FORMAT: Final = 2

# By default the engine puts parts aside that it cannot read when it starts, and goes on without them: totals would be
# too small, and repeats of what they held would count again. Like this it does not start.
_REFUSE_BROKEN_PARTS: Final = "max_suspicious_broken_parts = 0"

# What was merged stays for so long, in seconds, for a merge that a power cut takes back (adapters/system/
# unsynced_merges.py): more than the half minute after which systems write everything out by themselves.
# The engine's own 480 keep on the disk what 8 minutes have merged.
_OLD_PARTS_SECONDS: Final = 60

# A checkpoint says that the data is there: parts are synced before the insert returns, and so are merged ones,
# since the parts they replace are deleted. The engine's own memory of inserts is not synced and not used.
_DURABLE: Final = (
    "fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1, "
    f"non_replicated_deduplication_window = 0, {_REFUSE_BROKEN_PARTS}, "
    # A part of an insert is one file, not two for each column to be synced one by one; merged ones that grow large are
    # read by column. Statistics of columns are for planning joins, of which there are none here.
    "min_bytes_for_wide_part = 134217728, auto_statistics_types = '', "
    f"old_parts_lifetime = {_OLD_PARTS_SECONDS}"
)

# How parts are merged, by table; the tables of older stores are given it, too (`preparation.py`). By a base of 15 a row
# is written again half as often as by the engine's own 5, for a few parts more. Parts of `events` follow one another in
# the log, so larger ones are read no faster: merges that would make one of more than some 4,000,000 events are not
# done. Else each event is written a third time when there are some ten millions.
MERGING: Final = {
    "events": "merge_selector_base = 15, max_bytes_to_merge_at_max_space_in_pool = 134217728",
    "identifiers": "merge_selector_base = 15",
    "latest_events": "merge_selector_base = 15",
}

# So coarse that a part without the offsets asked for is left out as a whole, at the price of one entry per part.
_ONE_PER_PART: Final = "TYPE minmax GRANULARITY 1000000000"

# An event that was redriven has a row for each time that it was judged, with `log_offset` and `received_at` of that
# time; of all others the last two columns say the same once more, and inserts leave them out. Rejected events alone
# have a code: the index leaves out what holds none. It costs an insert a twentieth, a set of states three times that.
# An identifier that is a UUID is 16 bytes, any other is a name; a payload that says nothing but customer and value is a
# form (domain/payload_text.py). Both are read as if they were there, by ALIAS columns.
# ZSTD where it halves what is large (identifiers, payloads), LZ4 elsewhere; offsets and times of receipt rise evenly.
EVENTS: Final = """
CREATE TABLE IF NOT EXISTS {database}.events (
    account LowCardinality(String),
    livemode Bool,
    uuid FixedString(16),
    name String CODEC(ZSTD(1)),
    identifier String ALIAS if(name = '', UUIDNumToString(uuid), name),
    event_name LowCardinality(String),
    meter LowCardinality(String),
    customer LowCardinality(String),
    value Decimal(38, 15),
    timestamp DateTime64(3, 'UTC'),
    timestamp_given Bool,
    received_at DateTime64(3, 'UTC') CODEC(Delta, LZ4),
    log_partition UInt16,
    log_offset UInt64 CODEC(Delta, LZ4),
    status LowCardinality(String),
    code LowCardinality(String),
    keeps_latest Bool,
    payload_form LowCardinality(String),
    payload_text String CODEC(ZSTD(1)),
    payload String ALIAS if(payload_form = '', payload_text,
        replaceOne(replaceOne(payload_form, char(2), toString(value)), char(1), customer)),
    key_id LowCardinality(String),
    session_id LowCardinality(String),
    first_offset UInt64 DEFAULT log_offset CODEC(Delta, LZ4),
    first_received_at DateTime64(3, 'UTC') DEFAULT received_at CODEC(Delta, LZ4),
    INDEX rejected (code > '') TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMMDD(received_at)
ORDER BY (log_partition, log_offset)
SETTINGS {merging[events]}, {durable}
"""

# A look-up unpacks a whole compressed block in each part: so blocks are as small as granules, and LZ4, for a byte and a
# half an event more.
IDENTIFIERS: Final = """
CREATE TABLE IF NOT EXISTS {database}.identifiers (
    identifier_hash UInt64 CODEC(Delta, LZ4),
    counted Bool,
    day Date,
    log_offset UInt64 CODEC(T64, LZ4),
    redriven Bool DEFAULT false,
    INDEX offsets log_offset {one_per_part}
)
ENGINE = MergeTree
PARTITION BY day
ORDER BY identifier_hash
SETTINGS index_granularity = 1024, min_compress_block_size = 8192, max_compress_block_size = 8192,
    {merging[identifiers]}, {durable}
"""

# A minute whose events were all cancelled keeps a row with zeros, which summaries leave out.
SUMS: Final = """
CREATE TABLE IF NOT EXISTS {database}.sums (
    account LowCardinality(String),
    livemode Bool,
    meter LowCardinality(String),
    customer String,
    bucket DateTime('UTC'),
    events SimpleAggregateFunction(sum, Int64),
    total SimpleAggregateFunction(sum, Decimal(76, 15)),
    step SimpleAggregateFunction(max, UInt64),
    INDEX steps step {one_per_part}
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(bucket)
ORDER BY (account, livemode, meter, customer, bucket)
SETTINGS index_granularity = 1024, {durable}
"""

# last      of the event with the greatest (timestamp, log offset): the formula `last`
# survivor  of the event logged last: what remains of an event time window, since the last of a window is the last of
#           its minutes' lasts
# Both are numbers as `domain/rollups.py` packs them, of which the greatest is the one that is wanted. States of the
# engine's own argMax say the same and cost four times as much.
LATESTS: Final = """
CREATE TABLE IF NOT EXISTS {database}.latests (
    account LowCardinality(String),
    livemode Bool,
    meter LowCardinality(String),
    customer String,
    bucket DateTime('UTC'),
    last SimpleAggregateFunction(max, UInt256),
    survivor SimpleAggregateFunction(max, UInt256),
    step SimpleAggregateFunction(max, UInt64),
    INDEX steps step {one_per_part}
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(bucket)
ORDER BY (account, livemode, meter, customer, bucket)
SETTINGS index_granularity = 1024, {durable}
"""

# T64 takes 4 bytes an event off, and no time. `moved`: how far behind its first place in the log a redriven event
# stands; what was received last goes by the first receipt.
LATEST_EVENTS: Final = """
CREATE TABLE IF NOT EXISTS {database}.latest_events (
    account LowCardinality(String),
    livemode Bool,
    meter LowCardinality(String),
    customer String,
    bucket DateTime('UTC'),
    timestamp DateTime64(3, 'UTC') CODEC(T64, LZ4),
    value Decimal(38, 15),
    log_offset UInt64 CODEC(T64, LZ4),
    moved UInt64 DEFAULT 0 CODEC(T64, LZ4),
    INDEX offsets log_offset {one_per_part}
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(bucket)
ORDER BY (account, livemode, meter, customer, bucket)
SETTINGS {merging[latest_events]}, {durable}
"""

# Without partitions, one insert is one part, so that a query sees all of its cancellations or none.
CANCELLATIONS: Final = """
CREATE TABLE IF NOT EXISTS {database}.cancellations (
    account LowCardinality(String),
    livemode Bool,
    identifier_hash UInt64,
    identifier String,
    meter LowCardinality(String),
    customer String,
    value Decimal(38, 15),
    timestamp DateTime64(3, 'UTC'),
    keeps_latest Bool,
    event_offset UInt64,
    log_offset UInt64,
    cancelled_at DateTime64(3, 'UTC'),
    INDEX offsets log_offset {one_per_part}
)
ENGINE = MergeTree
ORDER BY identifier_hash
SETTINGS index_granularity = 1024, {durable}
"""

LATESTS_CANCELLED: Final = """
CREATE TABLE IF NOT EXISTS {database}.latests_cancelled (
    account LowCardinality(String),
    livemode Bool,
    meter LowCardinality(String),
    customer String,
    bucket DateTime('UTC'),
    event_offset UInt64,
    log_offset UInt64,
    INDEX offsets log_offset {one_per_part}
)
ENGINE = MergeTree
ORDER BY (account, livemode, meter, customer, bucket)
SETTINGS index_granularity = 1024, {durable}
"""

TABLES: Final = (EVENTS, IDENTIFIERS, SUMS, LATESTS, LATEST_EVENTS, CANCELLATIONS, LATESTS_CANCELLED)


def create(table: str, database: str) -> str:
    """The statement that makes one of TABLES, unless it is there."""
    return table.format(database=database, durable=_DURABLE, one_per_part=_ONE_PER_PART, merging=MERGING)


# A packed number made of a row of `latest_events`, and what it tells. Its value is a whole number of 10^-15.
_SIGN: Final = "toInt256('170141183460469231731687303715884105728')"
_PACKED_VALUE: Final = f"toUInt256(toInt256(reinterpretAsInt128(value)) + {_SIGN})"
_AT_MS: Final = "toUInt64(toUnixTimestamp64Milli(timestamp))"
_PLACE: Final = "toUInt256(log_offset - moved)"
PACKED_LAST: Final = f"bitShiftLeft(toUInt256({_AT_MS}), 192) + bitShiftLeft({_PLACE}, 128) + {_PACKED_VALUE}"
PACKED_SURVIVOR: Final = f"bitShiftLeft({_PLACE}, 192) + bitShiftLeft(toUInt256({_AT_MS}), 128) + {_PACKED_VALUE}"


def unpacked_value(packed: str) -> str:
    """SQL of the value in 10^-15 (Int256) of such a number."""
    return f"(toInt256(toUInt128({packed})) - {_SIGN})"


def unpacked_second(packed: str) -> str:
    """SQL of the number (Int64) between the first and the value: of a survivor, its timestamp in milliseconds."""
    return f"toInt64(toUInt64(bitShiftRight({packed}, 128)))"
