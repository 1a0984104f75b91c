"""Rate limits that several processes keep together: each on its own map of one file."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from streamgauge.adapters.system import shared_levels
from streamgauge.adapters.system.shared_levels import SharedLevels
from streamgauge.domain.account import Tenant
from streamgauge.domain.errors import RateLimited
from streamgauge.engine.rate_limit import Limited, RateLimit

TENANT = Tenant("acct_1", livemode=False)


def takes(limit: RateLimit, units: int) -> bool:
    try:
        limit.take(TENANT, units)
    except RateLimited:
        return False
    return True


@pytest.mark.parametrize("shares", [(1, 1), (9, 1), (1, 0), (5, 3, 1)])
def test_a_limit_that_is_shared_is_the_limit_however_requests_are_spread(tmp_path: Path, shares: list[int]) -> None:
    seconds = 1_000.0
    limits = [RateLimit(10_000, Limited.EVENTS, lambda: seconds, SharedLevels(tmp_path / "levels")) for _ in shares]
    whose = [limit for limit, share in zip(limits, shares, strict=True) for _ in range(share)]
    let_through = 0
    for number in range(4_000):
        seconds = 1_000.0 + number / 400
        let_through += 100 * takes(whose[number % len(whose)], 100)
    assert let_through == pytest.approx(10 * 10_000, rel=0.02)


def test_tenants_have_levels_of_their_own_and_those_of_others_are_seen(tmp_path: Path) -> None:
    one, other = SharedLevels(tmp_path / "levels"), SharedLevels(tmp_path / "levels")
    tenants = [Tenant(f"acct_{number}", livemode) for number in range(200) for livemode in (True, False)]
    with one.held():
        assert one.get(TENANT) is None
        for number, tenant in enumerate(tenants):
            one.put(tenant, number - 5.5, number + 0.25)
    with other.held():
        assert [other.get(tenant) for tenant in tenants] == [(at - 5.5, at + 0.25) for at in range(len(tenants))]
        other.put(tenants[3], 1, 2)
    assert one.get(tenants[3]) == (1, 2)


def test_with_more_tenants_than_places_the_ones_seen_longest_ago_begin_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_levels, "PLACES", 8)
    levels = SharedLevels(tmp_path / "levels")
    tenants = [Tenant(f"acct_{number}", livemode=False) for number in range(20)]
    for number, tenant in enumerate(tenants):
        levels.put(tenant, number, number + 1)
    assert [levels.get(each) is not None for each in tenants] == [False] * 12 + [True] * 8


def test_only_one_holds_the_levels_at_a_time(tmp_path: Path) -> None:
    one, other = SharedLevels(tmp_path / "levels"), SharedLevels(tmp_path / "levels")
    order: list[str] = []

    def take(levels: SharedLevels, name: str, meanwhile: Callable[[], None]) -> None:
        with levels.held():
            order.append(name)
            meanwhile()
            order.append(name)

    second = threading.Thread(target=take, args=(other, "second", lambda: None))
    take(one, "first", second.start)
    second.join()
    assert order == ["first", "first", "second", "second"]
    one.close()
    other.close()
