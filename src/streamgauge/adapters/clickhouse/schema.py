"""Tables of the usage store. One SQL for chDB in process and for a ClickHouse server.

events    every event with its fate, ordered by the hash of its identifier: that makes the look-up of an identifier
          (deduplication, receipts) a read of one granule per part. Partitions are days of receipt, so that retention
          drops whole ones.
sums      rollups per (meter, customer, minute of event time) for the formulas `sum` and `count`
latests   the same for `last` and for meters with an event time window, whose states cost four times as much

Materialized views fold each event into one of the two with the insert, under the same deduplication token.
"""

from typing import Final

# How many inserts back a repeated token is recognised. Only the last intent is ever redone.
_DEDUPLICATION_WINDOW: Final = 1000

# A checkpoint says that the data is there: parts are synced before the insert returns, and so are merged ones,
# since the parts they replace are deleted.
_DURABLE: Final = (
    "fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1, "
    f"non_replicated_deduplication_window = {_DEDUPLICATION_WINDOW}"
)

# ZSTD where it halves what is large (identifiers, payloads), LZ4 elsewhere: that takes an eighth off the insert
# for 6 bytes an event.
EVENTS: Final = f"""
CREATE TABLE IF NOT EXISTS {{database}}.events (
    account LowCardinality(String),
    livemode Bool,
    identifier_hash UInt64 CODEC(Delta, ZSTD(1)),
    identifier String CODEC(ZSTD(1)),
    event_name LowCardinality(String),
    meter LowCardinality(String),
    customer String,
    value Decimal(38, 15),
    timestamp DateTime64(3, 'UTC'),
    timestamp_given Bool,
    received_at DateTime64(3, 'UTC'),
    log_partition UInt16,
    log_offset UInt64,
    status LowCardinality(String),
    code LowCardinality(String),
    keeps_latest Bool,
    payload String CODEC(ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toYYYYMMDD(received_at)
ORDER BY identifier_hash
SETTINGS index_granularity = 1024, merge_selector_base = 15, {_DURABLE}
"""

SUMS: Final = f"""
CREATE TABLE IF NOT EXISTS {{database}}.sums (
    account LowCardinality(String),
    livemode Bool,
    meter LowCardinality(String),
    customer String,
    bucket DateTime('UTC'),
    events SimpleAggregateFunction(sum, UInt64),
    total SimpleAggregateFunction(sum, Decimal(76, 15))
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(bucket)
ORDER BY (account, livemode, meter, customer, bucket)
SETTINGS {_DURABLE}
"""

SUMS_FOLD: Final = """
CREATE MATERIALIZED VIEW IF NOT EXISTS {database}.sums_fold TO {database}.sums AS
SELECT
    account, livemode, meter, customer,
    toStartOfMinute(timestamp) AS bucket,
    count() AS events,
    sum(toDecimal256(value, 15)) AS total
FROM {database}.events
WHERE status = 'counted' AND NOT keeps_latest
GROUP BY account, livemode, meter, customer, bucket
"""

# last      the value with the greatest (timestamp, log position): the formula `last`
# survivor  the (timestamp, value) logged last: what remains of an event_time_window, since the last of a window is
#           the last of its minutes' lasts
LATESTS: Final = f"""
CREATE TABLE IF NOT EXISTS {{database}}.latests (
    account LowCardinality(String),
    livemode Bool,
    meter LowCardinality(String),
    customer String,
    bucket DateTime('UTC'),
    last AggregateFunction(argMax, Decimal(38, 15), UInt128),
    survivor AggregateFunction(argMax, Tuple(DateTime64(3, 'UTC'), Decimal(38, 15)), UInt64)
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(bucket)
ORDER BY (account, livemode, meter, customer, bucket)
SETTINGS {_DURABLE}
"""

LATESTS_FOLD: Final = """
CREATE MATERIALIZED VIEW IF NOT EXISTS {database}.latests_fold TO {database}.latests AS
SELECT
    account, livemode, meter, customer,
    toStartOfMinute(timestamp) AS bucket,
    argMaxState(
        value, bitOr(bitShiftLeft(toUInt128(toUnixTimestamp64Milli(timestamp)), 64), toUInt128(log_offset))
    ) AS last,
    argMaxState((timestamp, value), log_offset) AS survivor
FROM {database}.events
WHERE status = 'counted' AND keeps_latest
GROUP BY account, livemode, meter, customer, bucket
"""

STATEMENTS: Final = (EVENTS, SUMS, SUMS_FOLD, LATESTS, LATESTS_FOLD)
