"""Request keys: the same request has the same one, and nothing of the caller's key is left in it."""

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgauge.domain.request_key import request_key

KEY = "invoice of Ada Lovelace, 2024-06"
METERS = "/v1/billing/meters"
PARAMS: dict[str, Any] = {"display_name": "Calls", "default_aggregation": {"formula": "sum"}, "tags": ["a", "b"]}
ASKED = request_key(KEY, "POST", METERS, PARAMS)

NESTED = st.recursive(
    st.text() | st.integers() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


def shuffled(value: Any, rng: Random) -> Any:
    """The same with the members of every object in another order."""
    if isinstance(value, list):
        return [shuffled(each, rng) for each in value]
    if not isinstance(value, dict):
        return value
    items = [(key, shuffled(each, rng)) for key, each in value.items()]
    rng.shuffle(items)
    return dict(items)


@given(st.dictionaries(st.text(), NESTED, max_size=5), st.randoms(use_true_random=False))
def test_the_order_of_parameters_makes_no_difference(params: dict[str, Any], rng: Random) -> None:
    assert request_key(KEY, "POST", METERS, shuffled(params, rng)) == request_key(KEY, "POST", METERS, params)


@pytest.mark.parametrize(
    ("method", "path", "params"),
    [
        ("DELETE", METERS, PARAMS),
        ("POST", "/v1/customers", PARAMS),
        ("POST", METERS + "/", PARAMS),
        ("POST", METERS, {}),
        ("POST", METERS, PARAMS | {"display_name": "calls"}),
        ("POST", METERS, PARAMS | {"display_name": "Calls "}),
        ("POST", METERS, PARAMS | {"more": ""}),
        ("POST", METERS, PARAMS | {"default_aggregation": {"formula": "count"}}),
        ("POST", METERS, PARAMS | {"tags": ["b", "a"]}),  # the order of a list is part of what is asked
        ("POST", METERS, PARAMS | {"tags": {"0": "a", "1": "b"}}),
    ],
)
def test_whatever_else_differs_was_asked_differently_with_the_same_key(
    method: str, path: str, params: dict[str, Any]
) -> None:
    other = request_key(KEY, method, path, params)
    assert other.digest == ASKED.digest
    assert other.fingerprint != ASKED.fingerprint


def test_another_key_with_the_same_parameters_is_another_request_for_the_same() -> None:
    other = request_key(KEY + " ", "POST", METERS, PARAMS)
    assert other.fingerprint == ASKED.fingerprint
    assert other.digest != ASKED.digest


def test_nothing_of_the_key_or_the_parameters_can_be_read_in_it() -> None:
    for hashed in (ASKED.digest, ASKED.fingerprint):
        assert len(hashed) == 64 and set(hashed) <= set("0123456789abcdef")


@given(st.text(st.characters()))
def test_any_text_is_a_key(text: str) -> None:
    assert len(request_key(text, "POST", METERS, {"text": text}).digest) == 64


def test_a_key_with_half_a_character_is_one_too() -> None:
    assert request_key("\ud800", "POST", METERS, {"\ud800": "\udfff"}) != ASKED
