"""Tables of the usage store. One SQL for chDB in process and for a ClickHouse server.

events    every event with its fate, ordered by the hash of its identifier: that makes the look-up of an identifier
          (deduplication, receipts) a read of one granule per part. Partitions are days of receipt, so that retention
          drops whole ones.
sums      rollups per (meter, customer, minute of event time) for the formulas `sum` and `count`
latests   the same for `last` and for meters with an event time window, whose states cost four times as much
latest_events      the events that `latests` was made of, one by one in its order: nothing can be subtracted from the
          states, so a minute that holds a cancellation is summed up anew from here
cancellations      the events that were taken back, ordered like `events`
latests_cancelled  those of them that `latests` holds, in its order

Materialized views fold each event into `sums`, or into `latests` and `latest_events`, with the insert and under its
deduplication token; and each cancellation, as a negative event, into `sums`, or into `latests_cancelled`.
"""

from typing import Final

# How many inserts back a repeated token is recognised. Only the last intent is ever redone.
_DEDUPLICATION_WINDOW: Final = 1000

# By default the engine puts parts aside that it cannot read when it starts, and goes on without them: totals would be
# too small, and repeats of what they held would count again. Like this it does not start.
REFUSE_BROKEN_PARTS: Final = "max_suspicious_broken_parts = 0"

# A checkpoint says that the data is there: parts are synced before the insert returns, and so are merged ones,
# since the parts they replace are deleted.
_DURABLE: Final = (
    "fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1, "
    f"{REFUSE_BROKEN_PARTS}, "
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
    events SimpleAggregateFunction(sum, Int64),
    total SimpleAggregateFunction(sum, Decimal(76, 15))
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(bucket)
ORDER BY (account, livemode, meter, customer, bucket)
SETTINGS {_DURABLE}
"""

SUMS_ROWS: Final = """
SELECT
    account, livemode, meter, customer,
    toStartOfMinute(timestamp) AS bucket,
    count() AS events,
    sum(toDecimal256(value, 15)) AS total
FROM {database}.events
WHERE status = 'counted' AND NOT keeps_latest
GROUP BY account, livemode, meter, customer, bucket
"""

SUMS_FOLD: Final = f"CREATE MATERIALIZED VIEW IF NOT EXISTS {{database}}.sums_fold TO {{database}}.sums AS {SUMS_ROWS}"

# A minute whose events were all cancelled keeps a row with zeros, which summaries leave out.
SUMS_CANCEL_ROWS: Final = """
SELECT
    account, livemode, meter, customer,
    toStartOfMinute(timestamp) AS bucket,
    -toInt64(count()) AS events,
    -sum(toDecimal256(value, 15)) AS total
FROM {database}.cancellations
WHERE NOT keeps_latest
GROUP BY account, livemode, meter, customer, bucket
"""

SUMS_CANCEL_FOLD: Final = (
    f"CREATE MATERIALIZED VIEW IF NOT EXISTS {{database}}.sums_cancel_fold TO {{database}}.sums AS {SUMS_CANCEL_ROWS}"
)

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

# Of rows with `timestamp`, `value` and `log_offset`.
LAST_STATE: Final = (
    "argMaxState(value, bitOr(bitShiftLeft(toUInt128(toUnixTimestamp64Milli(timestamp)), 64), toUInt128(log_offset)))"
)
SURVIVOR_STATE: Final = "argMaxState((timestamp, value), log_offset)"

LATESTS_ROWS: Final = f"""
SELECT
    account, livemode, meter, customer,
    toStartOfMinute(timestamp) AS bucket,
    {LAST_STATE} AS last,
    {SURVIVOR_STATE} AS survivor
FROM {{database}}.events
WHERE status = 'counted' AND keeps_latest
GROUP BY account, livemode, meter, customer, bucket
"""

LATESTS_FOLD: Final = (
    f"CREATE MATERIALIZED VIEW IF NOT EXISTS {{database}}.latests_fold TO {{database}}.latests AS {LATESTS_ROWS}"
)

# T64 takes 4 bytes an event off, and no time. An insert that is redone over an upgrade may leave an event here twice,
# which changes neither which is the latest nor what a cancellation takes out.
LATEST_EVENTS: Final = f"""
CREATE TABLE {{database}}.latest_events (
    account LowCardinality(String),
    livemode Bool,
    meter LowCardinality(String),
    customer String,
    bucket DateTime('UTC'),
    timestamp DateTime64(3, 'UTC') CODEC(T64, LZ4),
    value Decimal(38, 15),
    log_offset UInt64 CODEC(T64, LZ4)
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(bucket)
ORDER BY (account, livemode, meter, customer, bucket)
SETTINGS {_DURABLE}
"""

LATEST_EVENTS_ROWS: Final = """
SELECT account, livemode, meter, customer, toStartOfMinute(timestamp) AS bucket, timestamp, value, log_offset
FROM {database}.events
WHERE status = 'counted' AND keeps_latest
"""

LATEST_EVENTS_FILL: Final = f"INSERT INTO {{database}}.latest_events {LATEST_EVENTS_ROWS}"

LATEST_EVENTS_FOLD: Final = f"""
CREATE MATERIALIZED VIEW {{database}}.latest_events_fold TO {{database}}.latest_events AS {LATEST_EVENTS_ROWS}
"""

# Without partitions, one insert is one part, so that a query sees all of its cancellations or none.
CANCELLATIONS: Final = f"""
CREATE TABLE IF NOT EXISTS {{database}}.cancellations (
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
    cancelled_at DateTime64(3, 'UTC')
)
ENGINE = MergeTree
ORDER BY identifier_hash
SETTINGS index_granularity = 1024, {_DURABLE}
"""

LATESTS_CANCELLED: Final = f"""
CREATE TABLE IF NOT EXISTS {{database}}.latests_cancelled (
    account LowCardinality(String),
    livemode Bool,
    meter LowCardinality(String),
    customer String,
    bucket DateTime('UTC'),
    event_offset UInt64,
    log_offset UInt64
)
ENGINE = MergeTree
ORDER BY (account, livemode, meter, customer, bucket)
SETTINGS index_granularity = 1024, {_DURABLE}
"""

LATESTS_CANCELLED_ROWS: Final = """
SELECT account, livemode, meter, customer, toStartOfMinute(timestamp) AS bucket, event_offset, log_offset
FROM {database}.cancellations
WHERE keeps_latest
"""

LATESTS_CANCELLED_FOLD: Final = (
    "CREATE MATERIALIZED VIEW IF NOT EXISTS {database}.latests_cancelled_fold TO {database}.latests_cancelled "
    f"AS {LATESTS_CANCELLED_ROWS}"
)
