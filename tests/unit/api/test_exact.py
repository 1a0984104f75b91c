from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgauge.api.exact import decimal_text, rfc3339, unix_seconds


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("0.3", "0.3"),
        ("25", "25"),
        ("25.000000000000000", "25"),
        ("2500", "2500"),
        ("25E+2", "2500"),
        ("1E-12", "0.000000000001"),
        ("-1.50", "-1.5"),
        ("0", "0"),
        ("-0", "0"),
        ("-0.000", "0"),
        ("0E-15", "0"),
        ("99999999999999999999999999.000000000001", "99999999999999999999999999.000000000001"),
    ],
)
def test_a_decimal_is_written_with_every_digit_and_no_more(value: str, text: str) -> None:
    assert decimal_text(Decimal(value)) == text


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**22), max_value=10**22, places=12))
def test_a_written_decimal_reads_back_as_the_same_number(value: Decimal) -> None:
    text = decimal_text(value)
    assert Decimal(text) == value
    assert "E" not in text and not text.endswith(".")


@pytest.mark.parametrize(
    ("at_ms", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_717_243_200_000, "2024-06-01T12:00:00.000Z"),
        (1_717_243_200_123, "2024-06-01T12:00:00.123Z"),
        (-1, "1969-12-31T23:59:59.999Z"),
    ],
)
def test_times_of_version_2_have_three_digits_and_a_z(at_ms: int, text: str) -> None:
    assert rfc3339(at_ms) == text


def test_times_of_version_1_are_whole_seconds_rounded_down() -> None:
    assert [unix_seconds(at_ms) for at_ms in (0, 999, 1_000, 1_717_243_200_999)] == [0, 0, 1, 1_717_243_200]
