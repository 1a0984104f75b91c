"""Recent claims: what is found in memory was counted and is in the store; for all else the store is asked."""

from collections.abc import Sequence

import numpy as np
import pytest

from streamgauge.domain.account import Tenant
from streamgauge.domain.identifier_hash import hash_identifiers
from streamgauge.domain.judgement import judge
from streamgauge.domain.settled_events import SettledEvents, settled_events
from streamgauge.domain.settlement import Claims, settle
from streamgauge.engine.recent_claims import RecentClaims
from tests.support.colliding import colliding_pair
from tests.support.columns import received_events
from tests.support.world import START_MS, TENANT, Event, World

LIVE = Tenant(TENANT.account_id, livemode=True)
OTHER = Tenant("acct_other", livemode=False)


def step(names: Sequence[str], *, first_offset: int = 0, value: str = "1") -> SettledEvents:
    """A step as the applier would settle it: in a world whose meter and customer are there."""
    world = World(accept_unknown_customers=True)
    world.add_meter()
    events = received_events([Event(name, value=value) for name in names], first_offset=first_offset)
    hashes = hash_identifiers(events.identifier, events.tenant, events.tenants)
    judgement = judge(events, world.catalogue.settled())
    nothing = Claims(np.zeros(len(names), np.bool_), np.zeros(len(names), np.int64))
    return settled_events(events, judgement, settle(events, judgement.code, hashes, nothing), hashes, 0)


def repeated(
    recent: RecentClaims,
    names: Sequence[str],
    *,
    tenant: Tenant = TENANT,
    since_ms: int = 0,
    below_offset: int = 1_000,
) -> list[bool]:
    events = received_events([(tenant, Event(name)) for name in names], first_offset=500)
    hashes = hash_identifiers(events.identifier, events.tenant, events.tenants)
    since = np.full(len(names), since_ms, np.int64)
    found = recent.repeated(events, hashes, np.arange(len(names)), since, below_offset=below_offset)
    return [bool(each) for each in found]


def test_a_claim_is_found_by_its_identifier() -> None:
    recent = RecentClaims()
    recent.add(step(["a", "b"]))
    recent.add(step(["c"], first_offset=2))
    assert repeated(recent, ["b", "x", "c", "a"]) == [True, False, True, True]


def test_it_says_from_where_on_in_the_log_it_may_find_a_claim() -> None:
    recent = RecentClaims(claims_max=2)
    assert recent.first_offset == 0
    recent.add(step(["a"], first_offset=5))
    recent.add(step(["b"], first_offset=8))
    assert recent.first_offset == 5
    recent.add(step(["c"], first_offset=9))
    assert recent.first_offset == 8


def test_what_was_rejected_or_repeated_has_no_claim() -> None:
    recent = RecentClaims()
    recent.add(step(["a", "a", "b"], value="not a number"))
    assert repeated(recent, ["a", "b"]) == [False, False]


@pytest.mark.parametrize("tenant", [LIVE, OTHER])
def test_another_account_or_mode_has_claims_of_its_own(tenant: Tenant) -> None:
    recent = RecentClaims()
    recent.add(step(["a"]))
    assert repeated(recent, ["a"], tenant=tenant) == [False]


def test_a_claim_from_before_the_window_or_beyond_the_offset_is_left_to_the_store() -> None:
    recent = RecentClaims()
    recent.add(step(["a"], first_offset=7))
    assert repeated(recent, ["a"], since_ms=START_MS) == [True]
    assert repeated(recent, ["a"], since_ms=START_MS + 1) == [False]
    assert repeated(recent, ["a"], below_offset=8) == [True]
    assert repeated(recent, ["a"], below_offset=7) == [False]


def test_identifiers_that_share_a_hash_are_told_apart() -> None:
    one, other = colliding_pair(TENANT)
    recent = RecentClaims()
    recent.add(step([one]))
    assert repeated(recent, [one, other]) == [True, False]
    both = RecentClaims()
    both.add(step([one, other]))
    assert repeated(both, [one, other]) == [True, True]


def test_the_oldest_steps_are_forgotten() -> None:
    recent = RecentClaims(claims_max=3)
    for first_offset, names in enumerate((["a"], ["b", "c"], ["d"])):
        recent.add(step(names, first_offset=first_offset))
    assert repeated(recent, ["a", "b", "c", "d"]) == [False, True, True, True]
    recent.add(step(["e", "f", "g", "h"], first_offset=4))
    assert repeated(recent, ["d", "e", "h"]) == [False, True, True]
    recent.clear()
    assert repeated(recent, ["e"]) == [False]
