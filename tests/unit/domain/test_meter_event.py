"""Timestamps of meter events: which forms are accepted, and what each of them means to the millisecond."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgauge.domain.meter_event import ABSENT_MS, InvalidTimestamp, parse_timestamps

NOON_MS = 1_780_315_200_000  # 2026-06-01T12:00:00Z
CANONICAL = "2026-06-01T12:00:00.000Z"

ACCEPTED = [
    (CANONICAL, NOON_MS),
    ("2026-06-01T12:00:00.123Z", NOON_MS + 123),
    ("2026-06-01T12:00:00Z", NOON_MS),
    ("2026-06-01t12:00:00z", NOON_MS),
    ("2026-06-01T12:00:00.1Z", NOON_MS + 100),
    ("2026-06-01T12:00:00.12Z", NOON_MS + 120),
    ("2026-06-01T12:00:00.123456Z", NOON_MS + 123),
    ("2026-06-01T12:00:00.999999999Z", NOON_MS + 999),  # cut, not rounded
    ("2026-06-01T14:00:00+02:00", NOON_MS),
    ("2026-06-01T06:30:00.5-05:30", NOON_MS + 500),
    ("2026-06-01T12:00:00+00:00", NOON_MS),
    ("2026-06-01T12:00:00-00:00", NOON_MS),
    ("2024-02-29T00:00:00Z", 1_709_164_800_000),
    ("1970-01-01T00:00:00.001Z", 1),
    ("1969-12-31T23:59:59.999Z", -1),
    ("1969-12-31T23:59:59.9999Z", -1),
    ("0001-01-01T00:00:00.000Z", -62_135_596_800_000),
    ("9999-12-31T23:59:59.999Z", 253_402_300_799_999),
    (1_780_315_200, NOON_MS),
    (0, 0),
    (-1, -1_000),
    (99_999_999_999, 99_999_999_999_000),
    ("1780315200", NOON_MS),
    ("0", 0),
    ("-1", -1_000),
    (None, ABSENT_MS),
    ("2026-06-01 12:00:00 UTC", 1_780_315_200_000),  # Ruby's native times
    ("2026-06-01 14:00:00 +0200", 1_780_315_200_000),
    ("2026-06-01 08:30:00 -0330", 1_780_315_200_000),
]

REFUSED: list[str | int] = [
    "",
    " ",
    "now",
    "2026-06-01",
    "2026-06-01T12:00:00",  # no zone
    "2026-06-01 12:00:00Z",
    "2026-06-01T12:00Z",
    "2026-06-01T12:00:00.Z",
    "2026-06-01T12:00:00,5Z",
    "2026-06-01T12:00:00.1234567890Z",
    "2026-06-01T12:00:00+0200",
    "2026-06-01T12:00:00+02",
    "2026-06-01T12:00:00.000Z ",
    " 2026-06-01T12:00:00.000Z",
    "2026-06-01T12:00:00.000Z\n",
    "2026-06-01T12:00:00.000Z\0",
    "2026-06-01T12:00:00.000Z\0more",
    "2026-06-01T12:00:00.000ZZ",
    "2026-06-01T12:00:00.000é",
    "２０２６-06-01T12:00:00.000Z",
    "2026-02-30T12:00:00.000Z",
    "2025-02-29T12:00:00.000Z",
    "2026-00-01T12:00:00.000Z",
    "2026-13-01T12:00:00.000Z",
    "2026-06-00T12:00:00.000Z",
    "2026-06-01T25:00:00.000Z",
    "2026-06-01T12:60:00.000Z",
    "2026-06-01T12:00:60.000Z",
    "2026-06-01T12:00:00+25:00",
    "0000-01-01T00:00:00.000Z",
    "0000-12-31T23:59:59Z",
    "0001-01-01T00:00:00+00:01",  # the year before the first
    "9999-12-31T23:59:59-00:01",
    "2026-06-01 12:00:00",
    "2026-06-01 12:00:00 CEST",
    "2026-06-01 12:00:00 +02:00",
    "2026-06-01 25:00:00 UTC",
    "2026-06-01T12:00:00 UTC",
    "20260601T120000Z",
    "+1780315200",
    "1780315200.5",
    "1e9",
    "0x10",
    "١٢٣",
    "1780315200000",  # milliseconds would be the year 58386
    1_780_315_200_000,
    100_000_000_000,
    -100_000_000_000,
    -62_135_596_801,
    "-62135596801",
    2**70,
]


@pytest.mark.parametrize(("timestamp", "expected_ms"), ACCEPTED)
def test_a_timestamp_is_kept_to_the_millisecond(timestamp: str | int | None, expected_ms: int) -> None:
    assert parse_timestamps([timestamp]).tolist() == [expected_ms]
    # In company the other way of parsing is taken.
    assert parse_timestamps([None, timestamp, 0]).tolist() == [ABSENT_MS, expected_ms, 0]


@pytest.mark.parametrize("timestamp", REFUSED)
def test_anything_else_is_refused_by_its_index(timestamp: str | int) -> None:
    for before in ([], [CANONICAL], [CANONICAL, None, 5]):
        with pytest.raises(InvalidTimestamp) as refusal:
            parse_timestamps([*before, timestamp, CANONICAL])
        assert refusal.value.at == len(before)


@pytest.mark.parametrize("cut", [0, 1, 4, 23, 25, 29, 47])
def test_two_texts_that_join_into_two_timestamps_are_none(cut: int) -> None:
    joined = CANONICAL + CANONICAL
    with pytest.raises(InvalidTimestamp):
        parse_timestamps([joined[:cut], joined[cut:]])


def test_the_first_of_several_faults_is_named() -> None:
    with pytest.raises(InvalidTimestamp) as refusal:
        parse_timestamps([CANONICAL, "x", "y"])
    assert refusal.value.at == 1


FIRST_MS, LAST_MS = -62_135_596_800_000, 253_402_300_799_999
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DAY_MS = 86_400_000

moments_ms = st.integers(FIRST_MS, LAST_MS)


def _text(moment_ms: int, timespec: str = "milliseconds") -> str:
    return (EPOCH + timedelta(milliseconds=moment_ms)).replace(tzinfo=None).isoformat(timespec=timespec)


@given(st.lists(moments_ms, min_size=1, max_size=100))
def test_all_canonical_timestamps_of_a_request_are_read_at_once_with_the_same_result(sent_ms: list[int]) -> None:
    texts = [_text(moment_ms) + "Z" for moment_ms in sent_ms]
    assert parse_timestamps(texts).tolist() == sent_ms
    assert parse_timestamps([*texts, None]).tolist() == [*sent_ms, ABSENT_MS]


@given(st.integers(FIRST_MS + DAY_MS, LAST_MS - DAY_MS), st.integers(-23 * 60, 23 * 60))
def test_an_offset_names_the_same_moment(moment_ms: int, offset_minutes: int) -> None:
    sign, (hours, minutes) = "+-"[offset_minutes < 0], divmod(abs(offset_minutes), 60)
    text = f"{_text(moment_ms + offset_minutes * 60_000, 'microseconds')}{sign}{hours:02}:{minutes:02}"
    assert parse_timestamps([text]).tolist() == [moment_ms]


@given(st.text(max_size=40) | st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z"))
def test_no_text_is_read_one_way_alone_and_another_way_in_company(text: str) -> None:
    def outcome(*timestamps: str | None) -> int | None:
        try:
            return int(parse_timestamps(timestamps)[0])
        except InvalidTimestamp:
            return None

    assert outcome(text) == outcome(text, None)
