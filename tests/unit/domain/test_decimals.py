"""Values: which texts are one, and that each becomes exactly the decimal it says."""

from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streamgauge.domain.decimals import VALUE_TYPE, floats_of, numbers_of, parse_values
from streamgauge.domain.fate import REJECTION_CODES

pytestmark = pytest.mark.usefixtures("both_ways")

NOT_FOUND = "meter_event_value_not_found"
INVALID = "meter_event_invalid_value"
TOO_LONG = "meter_event_value_too_many_digits"


def parsed(*texts: str | None) -> list[Decimal | str]:
    """For each text its value, or the code why it has none."""
    parsed_values = parse_values(pa.array(texts, pa.string()))
    values, codes = parsed_values.value, parsed_values.code
    answers: list[Decimal | str] = []
    for value, code in zip(values.to_pylist(), codes.tolist(), strict=True):
        assert (value is None) == (code != 0)
        answers.append(REJECTION_CODES[code] if value is None else value)
    return answers


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", "0"),
        ("-0", "0"),
        ("1", "1"),
        ("-1", "-1"),
        ("007", "7"),
        ("-007.50", "-7.5"),
        ("0.1", "0.1"),
        ("00.10", "0.1"),
        ("999999999999999", "999999999999999"),
        ("-999999999999999", "-999999999999999"),
        ("0.000000000000001", "0.000000000000001"),
        ("0.999999999999999", "0.999999999999999"),
        ("123456789.012345", "123456789.012345"),
        ("000000000000000000000000000000000000000000001", "1"),
        ("1234567890123456", TOO_LONG),
        ("-1234567890123456", TOO_LONG),
        ("1.000000000000000", TOO_LONG),  # decimals count, also zeros
        ("0.1234567890123456", TOO_LONG),
        ("9" * 5_000, TOO_LONG),
        ("", INVALID),
        ("-", INVALID),
        ("+1", INVALID),
        (".", INVALID),
        (".5", INVALID),
        ("5.", INVALID),
        ("--1", INVALID),
        ("1.2.3", INVALID),
        ("1,5", INVALID),
        ("1_000", INVALID),
        ("1 000", INVALID),
        (" 1", INVALID),
        ("1 ", INVALID),
        ("1\n", INVALID),
        ("1\0", INVALID),
        ("1e3", INVALID),
        ("1E3", INVALID),
        ("0x10", INVALID),
        ("NaN", INVALID),
        ("Infinity", INVALID),
        ("-inf", INVALID),
        ("true", INVALID),
        ("١٢", INVALID),
        ("１２", INVALID),
        ("−1", INVALID),  # a minus sign that is not the hyphen
        ("1" + "x" * 4_000, INVALID),
        (None, NOT_FOUND),
    ],
)
def test_a_value_is_a_plain_decimal_of_at_most_15_digits(text: str | None, expected: str) -> None:
    as_expected = expected if expected in REJECTION_CODES else Decimal(expected)
    assert parsed(text) == [as_expected]
    assert parsed("5", text, "x", text, None) == [Decimal(5), as_expected, INVALID, as_expected, NOT_FOUND]


def test_an_empty_column_is_an_empty_answer() -> None:
    assert parsed() == []


def test_a_slice_of_a_column_is_read_as_if_it_stood_alone() -> None:
    parsed_values = parse_values(pa.array(["9", "1", None, "x", "8"], pa.string()).slice(1, 3))
    values, codes = parsed_values.value, parsed_values.code
    assert (values.to_pylist(), [REJECTION_CODES[code] for code in codes]) == (
        [Decimal(1), None, None],
        ["", NOT_FOUND, INVALID],
    )


digits = st.text("0123456789", min_size=1, max_size=20)


@given(st.lists(st.tuples(st.sampled_from(["", "-"]), digits, st.none() | digits), max_size=30))
def test_what_is_short_enough_is_the_decimal_that_python_reads(parts: list[tuple[str, str, str | None]]) -> None:
    texts = [sign + whole + ("" if fraction is None else f".{fraction}") for sign, whole, fraction in parts]
    for text, (_, whole, fraction), answer in zip(texts, parts, parsed(*texts), strict=True):
        count = len(whole.lstrip("0")) + len(fraction or "")
        # Of 0.000123 the zeros behind the point count too: they are digits of the text.
        if not whole.strip("0"):
            count = len((fraction or "").lstrip("0")) if count > 15 and answer != TOO_LONG else count
        assert answer == (Decimal(text) if count <= 15 else TOO_LONG)


@given(st.lists(st.text(max_size=12) | st.text("0123456789.-+eE ", max_size=20), max_size=20))
def test_no_text_is_read_as_anything_but_itself(texts: list[str]) -> None:
    for text, answer in zip(texts, parsed(*texts), strict=True):
        if isinstance(answer, Decimal):
            assert answer == Decimal(text)
            assert text.isascii() and set(text) <= set("0123456789.-")


@given(st.decimals(-(10**15), 10**15, places=3).map(str) | st.from_regex(r"\A-?[0-9]{1,9}(\.[0-9]{1,6})?\Z"))
def test_a_text_is_canonical_when_it_is_how_its_value_is_written(text: str) -> None:
    parsed_values = parse_values(pa.array([text, None], pa.string()))
    (value, _), (canonical, of_nothing) = parsed_values.value.to_pylist(), parsed_values.is_canonical.tolist()
    written = None if value is None else f"{value.normalize():f}"
    # A negative zero has no value of its own; what begins with one may be called one too.
    assert canonical == (written == text and not text.startswith("-0"))
    assert not of_nothing


@given(st.lists(st.decimals(-(10**15) + 1, 10**15 - 1, places=15), min_size=1))
@example([Decimal("-0.3"), Decimal("0.000000000000001"), Decimal("-0.000000000000001"), Decimal(0)])
def test_floats_are_next_to_their_values(values: list[Decimal]) -> None:
    floats = floats_of(numbers_of(pa.array(values, VALUE_TYPE)))
    assert floats.tolist() == pytest.approx([float(each) for each in values], rel=2**-50, abs=0)
