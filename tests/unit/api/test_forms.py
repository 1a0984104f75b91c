import contextlib
import time
from collections.abc import Mapping
from urllib.parse import quote, quote_plus, unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgauge.api.forms import (
    KEY_LENGTH_MAX,
    NESTING_MAX,
    PARAMETERS_MAX,
    Params,
    Value,
    _text,
    decode,
    decode_body,
)
from streamgauge.domain.errors import InvalidRequest, UnsupportedMediaType

FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("form", "params"),
    [
        (b"", {}),
        (b"&&", {}),
        (b"a=b", {"a": "b"}),
        (b"a", {"a": ""}),
        (b"a=", {"a": ""}),
        (b"a=b=c", {"a": "b=c"}),
        (b"a=1&b=2", {"a": "1", "b": "2"}),
        (b"a[b]=c", {"a": {"b": "c"}}),
        (b"a%5Bb%5D=c", {"a": {"b": "c"}}),
        (b"a[b][c]=d&a[b][e]=f", {"a": {"b": {"c": "d", "e": "f"}}}),
        (b"expand[]=x&expand[]=y", {"expand": ["x", "y"]}),
        (b"expand[0]=x&expand[1]=y", {"expand": {"0": "x", "1": "y"}}),
        (b"a[b][]=x", {"a": {"b": ["x"]}}),
        (b"a=one+two%20three%2Bfour", {"a": "one two three+four"}),
        (b"a+b=c", {"a b": "c"}),
        ("a=caf\u00e9".encode(), {"a": "caf\u00e9"}),
        (b"a=caf%C3%A9", {"a": "caf\u00e9"}),
        (b"a=100%", {"a": "100%"}),
        (b"a=null", {"a": "null"}),
        (b"a=%26%3D%5B", {"a": "&=["}),
        (b"a[b.c-d]=e", {"a": {"b.c-d": "e"}}),
    ],
)
def test_brackets_nest(form: bytes, params: Params) -> None:
    assert decode(form) == params


@pytest.mark.parametrize(
    ("form", "param"),
    [
        (b"a=1&a[b]=2", "a"),
        (b"a[b]=2&a=1", "a"),
        (b"x[a]=1&x[a][b]=2", "x[a]"),
        (b"x[a][b]=2&x[a]=1", "x[a]"),
        (b"a[]=1&a[b]=2", "a"),
        (b"a[b]=2&a[]=1", "a"),
        (b"a[]=1&a[0]=2", "a"),
        (b"a[]=1&a=2", "a"),
        (b"a=2&a[]=1", "a"),
        (b"a=1&a=1", "a"),
        (b"a[b]=1&a[b]=2", "a[b]"),
    ],
)
def test_parameters_that_cannot_both_be_meant_are_refused_by_name(form: bytes, param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        decode(form)
    assert refused.value.param == param
    assert param in refused.value.message


@pytest.mark.parametrize(
    "form", [b"a[b=c", b"a]b=c", b"a[b]c=d", b"[a]=b", b"[]=b", b"=b", b"a[[b]]=c", b"a[][b]=c", b"a[b]]=c"]
)
def test_misplaced_brackets_are_refused(form: bytes) -> None:
    with pytest.raises(InvalidRequest):
        decode(form)


@pytest.mark.parametrize("form", [b"a=%FF", b"%FF=a", b"a=\xff", b"a=%ED%A0%80", b"a=%C0%80", b"a[%FF]=1"])
def test_text_that_is_not_utf_8_is_refused_surrogates_included(form: bytes) -> None:
    with pytest.raises(InvalidRequest, match="UTF-8"):
        decode(form)


@pytest.mark.parametrize("form", [b"a=%00", b"a%00=b", b"a=x\x00y", b"a[%00]=1"])
def test_nul_is_refused(form: bytes) -> None:
    with pytest.raises(InvalidRequest, match="NUL"):
        decode(form)


def test_a_request_has_a_greatest_number_of_parameters() -> None:
    form = b"&".join(b"a%d=1" % at for at in range(PARAMETERS_MAX))
    assert len(decode(form)) == PARAMETERS_MAX
    with pytest.raises(InvalidRequest, match="more than"):
        decode(form, b"one=more")


def test_nesting_has_a_greatest_depth() -> None:
    decode(b"a" + b"[b]" * NESTING_MAX + b"=1")
    with pytest.raises(InvalidRequest, match="deeper"):
        decode(b"a" + b"[b]" * (NESTING_MAX + 1) + b"=1")


def test_a_key_has_a_greatest_length_and_is_not_repeated_whole() -> None:
    decode(b"a" * KEY_LENGTH_MAX + b"=1")
    with pytest.raises(InvalidRequest, match="longer") as refused:
        decode(b"a" * 100_000 + b"=1")
    assert len(refused.value.message) < 300


@pytest.mark.parametrize("content_type", [FORM, FORM + "; charset=utf-8", FORM.upper(), None])
def test_a_form_is_read_with_and_without_its_content_type(content_type: str | None) -> None:
    assert decode_body(b"a[b]=1", content_type) == {"a": {"b": "1"}}


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b'{"a": 1}', "application/json"),
        (b'{"a": 1}', None),
        (b'{"a": 1}', FORM),
        (b' \n["a"]', FORM),
        (b"a=1", "application/json"),
        (b"a=1", "text/plain"),
        (b"--x", "multipart/form-data; boundary=x"),
    ],
)
def test_a_body_that_is_no_form_is_told_what_is_expected(body: bytes, content_type: str | None) -> None:
    with pytest.raises(UnsupportedMediaType, match="form-encoded"):
        decode_body(body, content_type)


def test_an_empty_body_may_have_any_content_type() -> None:
    assert decode_body(b"", "application/json", b"a=1") == {"a": "1"}


def test_query_and_body_are_read_together() -> None:
    assert decode_body(b"a[b]=1", FORM, b"a[c]=2&d=3") == {"a": {"b": "1", "c": "2"}, "d": "3"}


# Laws.

TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
NAMES = st.text(st.characters(exclude_characters="\0[]", exclude_categories=["Cs"]), min_size=1, max_size=10)


def depth(value: Value) -> int:
    return 1 + max(map(depth, value.values())) if isinstance(value, dict) else 1 if isinstance(value, list) else 0


VALUES: st.SearchStrategy[Value] = st.recursive(
    TEXTS | st.lists(TEXTS, min_size=1, max_size=4),
    lambda inner: st.dictionaries(NAMES, inner, min_size=1, max_size=4),
    max_leaves=12,
).filter(lambda value: depth(value) <= NESTING_MAX)


def pairs(value: Value, at: str) -> list[tuple[str, str]]:
    if isinstance(value, dict):
        return [pair for name, each in value.items() for pair in pairs(each, f"{at}[{name}]")]
    return [(at, value)] if isinstance(value, str) else [(at + "[]", each) for each in value]


def encode(params: Mapping[str, Value], *, raw_brackets: bool, plus: bool) -> bytes:
    """What clients send: brackets raw as in their bodies or escaped as in their queries, blanks as + or %20."""
    quoted = quote_plus if plus else quote
    brackets = "[]" if raw_brackets else ""
    flat = [pair for name, value in params.items() for pair in pairs(value, name)]
    return "&".join(f"{quoted(key, safe=brackets)}={quoted(value, safe='')}" for key, value in flat).encode()


@given(st.dictionaries(NAMES, VALUES, max_size=5), st.booleans(), st.booleans())
def test_whatever_is_encoded_decodes_to_the_same(params: Params, raw_brackets: bool, plus: bool) -> None:
    assert decode(encode(params, raw_brackets=raw_brackets, plus=plus)) == params


@given(st.binary(max_size=200) | st.text("ab[]=&%01", max_size=40).map(str.encode))
def test_no_bytes_are_more_than_refused(form: bytes) -> None:
    with contextlib.suppress(InvalidRequest):
        decode(form)


@given(st.binary(max_size=60) | st.text("%0aAfFgG+", max_size=30).map(str.encode))
def test_escapes_are_read_as_the_standard_library_reads_them(encoded: bytes) -> None:
    expected = unquote_to_bytes(encoded.replace(b"+", b" "))
    with contextlib.suppress(InvalidRequest):
        assert _text(encoded, None).encode() == expected


@pytest.mark.parametrize("pattern", [b"%", b"%41", b"%4", b"%%41", b"+%C3%A9"])
def test_a_megabyte_of_escapes_takes_a_fraction_of_a_second(pattern: bytes) -> None:
    form = b"a=" + pattern * (2**20 // len(pattern))
    seconds = []
    for _ in range(3):  # other programs slow this one down: the best counts
        began = time.process_time()
        decode(form)
        seconds.append(time.process_time() - began)
    assert min(seconds) < 0.5
