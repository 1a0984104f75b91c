"""Payloads as text are JSON objects that say the same."""

import json

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgauge.domain.payload_text import json_objects, payload_of

MAPS = pa.map_(pa.string(), pa.string())
payloads = st.lists(st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=5), max_size=8)
plain = st.text("abc 0123.-_é🪣/<>&\x7f\u2028", max_size=8)


def texts_of(sent: list[dict[str, str]]) -> list[str]:
    texts: list[str] = json_objects(pa.array([list(each.items()) for each in sent], MAPS)).to_pylist()
    return texts


@given(payloads)
def test_the_text_reads_back_as_what_was_sent(sent: list[dict[str, str]]) -> None:
    texts = texts_of(sent)
    assert [json.loads(text) for text in texts] == [json.loads(json.dumps(each)) for each in sent] == sent
    assert [list(payload_of(text).items()) for text in texts] == [list(each.items()) for each in sent]


@given(st.lists(st.dictionaries(plain, plain, max_size=5), max_size=8))
def test_so_does_text_that_needs_no_escapes(sent: list[dict[str, str]]) -> None:
    assert [payload_of(text) for text in texts_of(sent)] == sent


@pytest.mark.parametrize(
    "text", ['"', "\\", '\\"', "\n", "\t", "\0", "\x1f", "\x7f", "\u2028", "é", "🪣", "", "</script>"]
)
@pytest.mark.parametrize("company", [{}, {"plain": "1"}])
def test_every_character_is_escaped_that_must_be(text: str, company: dict[str, str]) -> None:
    sent = [company, {text: "value"}, {"key": text}, {text: text, "after": "x"}, company]
    assert [json.loads(each) for each in texts_of(sent)] == sent


def test_payloads_without_members_are_empty_objects() -> None:
    assert texts_of([{}, {"a": "1"}, {}]) == ["{}", '{"a":"1"}', "{}"]
    assert texts_of([]) == []


def test_joined_columns_are_as_good_as_one() -> None:
    parts = [pa.array([[("a", "1")], []], MAPS), pa.array([[("b", "2"), ("c", "3")]], MAPS)]
    assert json_objects(pa.concat_arrays(parts)).to_pylist() == ['{"a":"1"}', "{}", '{"b":"2","c":"3"}']
