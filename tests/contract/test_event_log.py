"""The contract of `EventLog`, run on every adapter."""

import multiprocessing
import sqlite3
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from streamgauge.adapters.memory.event_log import MemoryEventLog
from streamgauge.adapters.sqlite import event_log as sqlite_event_log
from streamgauge.adapters.sqlite.event_log import SqliteEventLog
from streamgauge.adapters.system.clock import SystemClock
from streamgauge.domain.account import Tenant
from streamgauge.domain.errors import Corrupt, StartRefused, Unavailable
from streamgauge.domain.request_key import request_key
from streamgauge.domain.tally import Tally
from streamgauge.engine.ports.event_log import EventLog, KeyedEntry, KnownRequest, LogBeginning, LogRecord
from tests.support.world import START_MS, TENANT, SettableClock

LIVE = Tenant(TENANT.account_id, livemode=True)
OTHER = Tenant("acct_other", livemode=False)


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


@pytest.fixture(params=["memory", "sqlite"])
def log(request: pytest.FixtureRequest, tmp_path: Path, clock: SettableClock) -> Iterator[EventLog]:
    opened: EventLog = MemoryEventLog(clock) if request.param == "memory" else SqliteEventLog(tmp_path / "log", clock)
    yield opened
    opened.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.db"


@pytest.fixture
def open_file(path: Path, clock: SettableClock) -> Iterator[Callable[[], SqliteEventLog]]:
    """Opens the same file as often as it is called."""
    opened: list[SqliteEventLog] = []

    def once() -> SqliteEventLog:
        opened.append(SqliteEventLog(path, clock))
        return opened[-1]

    yield once
    for each in opened:
        each.close()


def read_all(log: EventLog, events_max: int = 1) -> list[LogRecord]:
    records: list[LogRecord] = []
    while found := log.read(records[-1].next_offset if records else 0, events_max=events_max):
        records += found
    return records


def test_an_empty_log_ends_at_zero_and_has_nothing_to_read(log: EventLog) -> None:
    assert (log.partition, log.end_offset(), list(log.read(0, events_max=10)), dict(log.accepted())) == (0, 0, [], {})


def test_offsets_count_events_and_name_the_next_one(log: EventLog) -> None:
    first = log.append(b"one", {TENANT: Tally(3)})
    second = log.append(b"two", {TENANT: Tally(1), OTHER: Tally(4)})
    assert (first.first_offset, first.next_offset) == (0, 3)
    assert (second.first_offset, second.next_offset) == (3, 8)
    assert log.end_offset() == 8


def test_a_record_is_known_by_where_it_ends(log: EventLog) -> None:
    first = log.append(b"one", {TENANT: Tally(3)})
    second = log.append(b"two", {TENANT: Tally(5)})
    expected = {3: first.received_at_ms, 8: second.received_at_ms}
    assert {at: log.received_before(at) for at in range(10)} == {at: expected.get(at) for at in range(10)}


# --- dropping what is old


def drop_all(log: EventLog, before_ms: int = 2**60, below_offset: int = 2**60) -> int:
    total = 0
    while dropped := log.drop(before_ms=before_ms, below_offset=below_offset):
        total += dropped
    return total


def test_a_log_begins_where_it_says(log: EventLog) -> None:
    assert (log.beginning(), drop_all(log), log.beginning()) == (LogBeginning(), 0, LogBeginning())
    records = [log.append(f"{at}".encode(), {TENANT: Tally(at)}) for at in (2, 3, 4)]
    assert drop_all(log, before_ms=records[1].received_at_ms) == 2
    assert log.beginning() == LogBeginning(2, records[0].received_at_ms + 1)
    assert drop_all(log, below_offset=4) == 0
    assert drop_all(log, below_offset=5) == 3
    assert log.beginning().offset == 5
    assert list(log.read(5, events_max=10)) == [records[2]]
    assert (log.received_before(5), log.received_before(9)) == (None, records[2].received_at_ms)
    for offset in (0, 2):
        with pytest.raises(Corrupt, match=f"offset {offset}"):
            log.read(offset, events_max=10)


def test_no_offset_or_stamp_is_given_twice_although_everything_was_dropped(log: EventLog) -> None:
    last = log.append(b"a", {TENANT: Tally(7)})
    assert drop_all(log) == 7
    assert (log.end_offset(), list(log.read(7, events_max=1)), log.beginning().offset) == (7, [], 7)
    assert log.accepted() == {TENANT: Tally(7)}
    following = log.append(b"b", {TENANT: Tally(1)})
    assert following.first_offset == 7
    assert following.received_at_ms > last.received_at_ms
    assert list(log.read(7, events_max=1)) == [following]


def test_many_and_large_records_are_dropped_in_portions(
    open_file: Callable[[], SqliteEventLog], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_event_log, "_DROP_RECORDS_MAX", 3)
    monkeypatch.setattr(sqlite_event_log, "_DROP_BYTES_MAX", 100)
    log = open_file()
    for size in (10, 10, 10, 10, 90, 500, 1):
        log.append(b"x" * size, {TENANT: Tally(1)})
    portions = []
    while dropped := log.drop(before_ms=2**60, below_offset=99):
        portions.append(dropped)
    assert portions == [3, 2, 1, 1]
    assert open_file().beginning().offset == 7


def test_dropping_that_is_cut_short_did_nothing(
    open_file: Callable[[], SqliteEventLog], monkeypatch: pytest.MonkeyPatch
) -> None:
    log = open_file()
    records = [log.append(b"x", {TENANT: Tally(1)}) for _ in range(3)]

    class Cut(Exception):
        """The crash."""

    def cut(*given: object) -> None:
        raise Cut

    with monkeypatch.context() as failing:
        # Between the records and where the log says that it begins.
        failing.setattr(sqlite_event_log, "LogBeginning", cut)
        with pytest.raises(Cut):
            log.drop(before_ms=2**60, below_offset=99)
    assert log.beginning() == LogBeginning()
    assert read_all(open_file()) == records


def test_a_log_that_lost_its_first_record_does_not_pass_for_one_that_dropped_it(
    path: Path, open_file: Callable[[], SqliteEventLog]
) -> None:
    log = open_file()
    for _ in range(2):
        log.append(b"x", {TENANT: Tally(1)})
    with closing(sqlite3.connect(path, isolation_level=None)) as by_hand:
        by_hand.execute("DELETE FROM records WHERE first_offset = 0")
    assert log.beginning().offset == 0
    with pytest.raises(Corrupt, match="offset 0"):
        log.read(0, events_max=1)


def test_space_of_dropped_records_is_used_again(path: Path, open_file: Callable[[], SqliteEventLog]) -> None:
    log = open_file()
    sizes = []
    for _ in range(4):
        for _ in range(20):
            log.append(b"x" * 100_000, {TENANT: Tally(1)})
        drop_all(log)
        with closing(sqlite3.connect(path)) as by_hand:
            by_hand.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        sizes.append(path.stat().st_size)
    assert sizes[-1] == sizes[0]


def test_what_was_appended_is_read_back_as_it_was_answered(log: EventLog) -> None:
    blocks = [b"\0" * 70_000, bytes(range(256)), b"x"]
    appended = [log.append(block, {TENANT: Tally(2)}) for block in blocks]
    assert [record.block for record in appended] == blocks
    assert read_all(log) == appended


def test_a_record_is_stamped_with_the_time_at_which_it_was_appended(log: EventLog, clock: SettableClock) -> None:
    first = log.append(b"", {TENANT: Tally(1)})
    clock.at_ms += 5_000
    assert (first.received_at_ms, log.append(b"", {TENANT: Tally(1)}).received_at_ms) == (START_MS, START_MS + 5_000)


def test_stamps_grow_strictly_also_while_the_clock_stands_or_goes_back(log: EventLog, clock: SettableClock) -> None:
    stamps = []
    for step_ms in (0, 0, -3_600_000, 0, 10_000, -1, 7_200_000):
        clock.at_ms += step_ms
        stamps.append(log.append(b"", {TENANT: Tally(1)}).received_at_ms)
    assert stamps == sorted(set(stamps))
    assert stamps[-1] == clock.at_ms  # and it follows the clock again as soon as it may


@pytest.mark.parametrize("ahead_ms", [-5_000, 0, 5_000])
def test_a_stamp_orders_between_the_records_before_and_after_it(
    log: EventLog, clock: SettableClock, ahead_ms: int
) -> None:
    before = log.append(b"", {TENANT: Tally(1)}).received_at_ms
    stamps = [log.stamp(clock.at_ms + ahead_ms) for _ in range(3)]
    after = log.append(b"", {TENANT: Tally(1)}).received_at_ms
    assert [before, *stamps, after] == sorted({before, *stamps, after})
    assert stamps[0] >= clock.at_ms + ahead_ms


def test_a_stamp_is_no_record(log: EventLog) -> None:
    log.stamp(START_MS)
    assert (log.end_offset(), list(log.read(0, events_max=1))) == (0, [])


@pytest.mark.parametrize(
    ("offset", "events_max", "expected"),
    [
        (0, 0, [0]),  # at least one
        (0, 1, [0]),
        (0, 2, [0]),
        (0, 3, [0]),
        (0, 4, [0]),
        (0, 5, [0, 3]),
        (0, 6, [0, 3, 5]),
        (0, 100, [0, 3, 5]),
        (3, 1, [3]),
        (3, 3, [3, 5]),
        (5, 1, [5]),
        (6, 100, []),
    ],
)
def test_a_read_gives_at_least_one_record_and_then_no_more_events_than_asked_for(
    log: EventLog, offset: int, events_max: int, expected: list[int]
) -> None:
    for count in (3, 2, 1):
        log.append(b"", {TENANT: Tally(count)})
    assert [record.first_offset for record in log.read(offset, events_max=events_max)] == expected


@pytest.mark.parametrize("offset", [1, 2, 4, 7])
def test_an_offset_at_which_no_record_begins_is_corrupt(log: EventLog, offset: int) -> None:
    log.append(b"", {TENANT: Tally(3)})
    log.append(b"", {TENANT: Tally(3)})
    with pytest.raises(Corrupt, match=f"offset {offset}"):
        log.read(offset, events_max=10)


def test_accepted_counts_the_events_of_each_tenant_apart(log: EventLog) -> None:
    log.append(b"", {TENANT: Tally(3)})
    log.append(b"", {TENANT: Tally(1), LIVE: Tally(20), OTHER: Tally(300)})
    log.append(b"", {LIVE: Tally(4)})
    assert dict(log.accepted()) == {TENANT: Tally(4), LIVE: Tally(24), OTHER: Tally(300)}


def test_threads_append_into_one_order_without_gaps(log: EventLog) -> None:
    def append(number: int) -> LogRecord:
        return log.append(f"{number}".encode(), {TENANT: Tally(1 + number % 3)})

    with ThreadPoolExecutor(8) as pool:
        appended = sorted(pool.map(append, range(60)), key=lambda record: record.first_offset)
    assert read_all(log, 7) == appended
    stamps = [record.received_at_ms for record in appended]
    assert stamps == sorted(set(stamps))
    assert log.accepted() == {TENANT: Tally(log.end_offset())}


def test_two_logs_on_one_file_see_and_continue_each_other(open_file: Callable[[], SqliteEventLog]) -> None:
    left, right = open_file(), open_file()
    records = [(left, right)[number % 2].append(f"{number}".encode(), {TENANT: Tally(2)}) for number in range(10)]
    assert [record.first_offset for record in records] == list(range(0, 20, 2))
    assert read_all(left) == read_all(right) == records
    assert left.stamp(0) < right.stamp(0) < left.append(b"", {TENANT: Tally(1)}).received_at_ms


def _append_many(path: Path, name: str, count: int) -> None:
    with closing(SqliteEventLog(path, SystemClock())) as log:
        for number in range(count):
            log.append(f"{name} {number}".encode(), {TENANT: Tally(1 + number % 2)})


def test_processes_append_into_one_order(path: Path, open_file: Callable[[], SqliteEventLog]) -> None:
    # The file is not made beforehand: processes that find none make it together.
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_append_many, args=(path, name, 50)) for name in "abc"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    log = open_file()
    records = read_all(log, 9)
    assert len(records) == 150
    assert [record.received_at_ms for record in records] == sorted({record.received_at_ms for record in records})
    for name in "abc":  # each writer's own order is kept
        own = [record.block.decode() for record in records if record.block.startswith(name.encode())]
        assert own == [f"{name} {number}" for number in range(50)]
    assert log.accepted() == {TENANT: Tally(225)}


def test_reopening_keeps_records_offsets_counts_and_the_last_stamp(
    open_file: Callable[[], SqliteEventLog], clock: SettableClock
) -> None:
    log = open_file()
    record = log.append(b"kept", {TENANT: Tally(2), LIVE: Tally(1)})
    stamp_ms = log.stamp(START_MS + 9_000)
    log.close()
    clock.at_ms -= 60_000
    again = open_file()
    assert (list(again.read(0, events_max=9)), again.end_offset()) == ([record], 3)
    assert again.accepted() == {TENANT: Tally(2), LIVE: Tally(1)}
    assert again.append(b"", {TENANT: Tally(1)}).received_at_ms == stamp_ms + 1


def test_an_append_that_fails_wrote_nothing(open_file: Callable[[], SqliteEventLog]) -> None:
    log = open_file()
    log.append(b"good", {TENANT: Tally(1)})
    with pytest.raises(Exception, match=r"bind|type|object"):
        log.append(b"bad", {Tenant(object(), livemode=False): Tally(1)})  # type: ignore[arg-type]
    assert (log.end_offset(), len(read_all(log)), dict(log.accepted())) == (1, 1, {TENANT: Tally(1)})
    assert log.append(b"next", {TENANT: Tally(1)}).first_offset == 1


def test_a_log_that_stays_locked_is_unavailable_and_wrote_nothing(
    open_file: Callable[[], SqliteEventLog], path: Path
) -> None:
    log = open_file()
    log._database._connection.execute("PRAGMA busy_timeout = 50")  # instead of the 10 s that a server waits
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable, match="locked"):
            log.append(b"", {TENANT: Tally(1)})
        other.execute("ROLLBACK")
    assert log.append(b"", {TENANT: Tally(1)}).first_offset == 0


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("UPDATE records SET block = x'00' WHERE first_offset = 2", "offset 2: .*checksum"),
        ("UPDATE records SET block = 'text' WHERE first_offset = 2", "offset 2: .*checksum"),
        ("UPDATE records SET checksum = checksum + 1 WHERE first_offset = 2", "offset 2: .*checksum"),
        ("UPDATE records SET block = substr(block, 1, 5) WHERE first_offset = 2", "offset 2: .*checksum"),
        ("DELETE FROM records WHERE first_offset = 2", "offset 2: .*missing"),
        ("UPDATE records SET next_offset = 3 WHERE first_offset = 2", "offset 3: .*missing"),
        ("UPDATE records SET next_offset = 2 WHERE first_offset = 2", "offset 2"),
        ("DELETE FROM records WHERE first_offset >= 2", "offset 2: .*ends at 6"),
    ],
)
def test_damage_stops_the_reader_at_its_offset(
    open_file: Callable[[], SqliteEventLog], path: Path, damage: str, message: str
) -> None:
    log = open_file()
    for number in range(3):
        log.append(f"record {number}".encode(), {TENANT: Tally(2)})
    with closing(sqlite3.connect(path)) as other, other:
        other.execute(damage)
    assert [record.first_offset for record in log.read(0, events_max=1)] == [0]
    with pytest.raises(Corrupt, match=message):
        read_all(log, 1)
    # However much is asked for, what lies before the damage is given first.
    assert [record.first_offset for record in log.read(0, events_max=100)][:1] == [0]
    with pytest.raises(Corrupt, match=message):
        read_all(log, 100)


def test_one_flipped_bit_on_the_disk_stops_the_reader_at_its_offset(
    open_file: Callable[[], SqliteEventLog], path: Path
) -> None:
    log = open_file()
    for number in range(3):
        log.append(f"record {number}".encode(), {TENANT: Tally(2)})
    log.close()  # the last one to close moves everything from the WAL into the file
    data = bytearray(path.read_bytes())
    data[data.index(b"record 1") + 3] ^= 1
    path.write_bytes(data)
    with pytest.raises(Corrupt, match=r"offset 2: .*checksum"):
        read_all(open_file())


@pytest.mark.parametrize("damage", ["text", "cut short", "a folder"])
def test_a_file_that_is_no_whole_database_is_refused(path: Path, clock: SettableClock, damage: str) -> None:
    log = SqliteEventLog(path, clock)
    for _ in range(20):
        log.append(b"x" * 10_000, {TENANT: Tally(1)})
    log.close()
    match damage:
        case "text":
            path.write_bytes(b"something else entirely" * 1000)
        case "cut short":
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        case "a folder":
            path.unlink()
            path.mkdir()
    with pytest.raises(StartRefused, match="cannot be opened as a database"):
        SqliteEventLog(path, clock)


def test_a_file_of_another_format_is_refused(path: Path, clock: SettableClock) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA user_version = 99")
    with pytest.raises(StartRefused, match="format 99"):
        SqliteEventLog(path, clock)


def test_a_file_of_the_first_format_is_brought_up_to_date_and_keeps_what_it_has(
    path: Path, open_file: Callable[[], SqliteEventLog]
) -> None:
    with closing(sqlite3.connect(path)) as old:
        for statement in sqlite_event_log._FIRST:
            old.execute(statement)
        old.execute("INSERT INTO records VALUES (0, 3, 1000, ?, ?)", (zlib.crc32(b"old"), b"old"))
        old.execute("UPDATE head SET next_offset = 3, last_stamp_ms = 1000")
        old.execute("INSERT INTO accepted VALUES (?, ?, 3)", (TENANT.account_id, TENANT.livemode))
        old.execute("PRAGMA user_version = 1")
        old.commit()
    log = open_file()
    log.append(b"new", {TENANT: Tally(0, 1)}, [keyed("k")])
    assert [record.block for record in log.read(0, events_max=10)] == [b"old", b"new"]
    assert log.accepted() == {TENANT: Tally(3, 1)}
    assert open_file().known_request(TENANT, keyed("k").key.digest) is not None


# Request keys


def keyed(name: str, position: int = 0, tenant: Tenant = TENANT, asked: str = "") -> KeyedEntry:
    return KeyedEntry(tenant, request_key(name, "POST", "/", {"asked": asked}), position)


def test_a_request_key_leads_to_the_entry_that_was_appended_with_it(log: EventLog) -> None:
    log.append(b"before", {TENANT: Tally(5)})
    entry, other = keyed("k", 1), keyed("k", 2, LIVE, "else")
    record = log.append(b"one", {TENANT: Tally(2), LIVE: Tally(1)}, [entry, other])
    expected = KnownRequest(entry.key.fingerprint, record.first_offset, 1, record.received_at_ms)
    assert log.known_request(TENANT, entry.key.digest) == expected
    found = log.known_request(LIVE, other.key.digest)
    assert found is not None
    assert (found.fingerprint, found.position) == (other.key.fingerprint, 2)
    assert log.known_request(OTHER, entry.key.digest) is None
    assert log.known_request(TENANT, keyed("unknown").key.digest) is None


def test_a_key_that_is_used_anew_stands_for_the_new_entry(log: EventLog) -> None:
    log.append(b"one", {TENANT: Tally(1)}, [keyed("k", asked="one")])
    record = log.append(b"two", {TENANT: Tally(1)}, [keyed("k", asked="two")])
    found = log.known_request(TENANT, keyed("k").key.digest)
    assert found is not None
    assert (found.first_offset, found.fingerprint) == (record.first_offset, keyed("k", asked="two").key.fingerprint)


def test_keys_of_entries_received_before_a_moment_are_forgotten(log: EventLog, clock: SettableClock) -> None:
    log.append(b"", {TENANT: Tally(1)}, [keyed("old")])
    clock.at_ms += 1_000
    record = log.append(b"", {TENANT: Tally(1)}, [keyed("new")])
    assert log.forget_requests(record.received_at_ms) == 1
    assert log.known_request(TENANT, keyed("old").key.digest) is None
    assert log.known_request(TENANT, keyed("new").key.digest) is not None


def test_cancellations_take_offsets_and_are_tallied_apart(log: EventLog) -> None:
    log.append(b"", {TENANT: Tally(events=3)})
    record = log.append(b"", {TENANT: Tally(cancellations=2)})
    assert (record.first_offset, record.next_offset) == (3, 5)
    assert log.accepted() == {TENANT: Tally(3, 2)}


def test_the_next_stamp_is_asked_without_being_taken(log: EventLog, clock: SettableClock) -> None:
    stamp_ms = log.stamp(START_MS + 50)
    assert log.next_stamp_ms() == log.next_stamp_ms() == stamp_ms + 1
    clock.at_ms += 60_000
    assert log.next_stamp_ms() == clock.at_ms == log.append(b"", {TENANT: Tally(1)}).received_at_ms
