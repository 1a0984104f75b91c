"""Identifiers as UUIDs or names: one of the two, and together exactly what was sent."""

import uuid

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgauge.domain.uuid_names import split_uuids

pytestmark = pytest.mark.usefixtures("both_ways")

UUID = "0f8fad5b-d9cb-469f-a165-70867728950e"
ZERO = "00000000-0000-0000-0000-000000000000"


def split(*identifiers: str) -> list[bytes | str]:
    """Of each the 16 bytes, or the name."""
    uuids, names = split_uuids(pa.array(identifiers, pa.string()))
    assert len(uuids) == len(names) == len(identifiers)
    found: list[bytes | str] = []
    for packed, name in zip(uuids.to_pylist(), names.to_pylist(), strict=True):
        assert name == "" or packed == bytes(16)
        found.append(name or packed)
    return found


@pytest.mark.parametrize("text", [UUID, ZERO, "ffffffff-ffff-ffff-ffff-ffffffffffff"])
def test_a_uuid_in_lower_case_is_its_bytes(text: str) -> None:
    assert split(text) == [uuid.UUID(text).bytes]


@pytest.mark.parametrize(
    "text",
    [
        UUID.upper(),
        UUID.replace("-", ""),
        UUID[:-1],
        UUID + "0",
        UUID.replace("-", "_"),
        UUID[:-1] + "g",
        UUID[:-1] + "é"[0],
        "0f8fad5bd-9cb-469f-a165-70867728950e",
        "a",
        "x" * 36,
        "é" * 18,
    ],
)
def test_anything_else_is_a_name(text: str) -> None:
    assert split(text) == [text]


def test_none_of_them_is_none() -> None:
    assert split() == []


@given(st.lists(st.one_of(st.uuids().map(str), st.text(min_size=1, max_size=40), st.just(UUID.upper()))))
def test_uuids_and_names_may_stand_in_any_order(identifiers: list[str]) -> None:
    assert [
        str(uuid.UUID(bytes=each)) if isinstance(each, bytes) else each for each in split(*identifiers)
    ] == identifiers
