"""Rate limits on a clock that the test moves: exact over ten seconds, fair after a pause, apart for each tenant."""

from random import Random

import pytest

from streamgauge.domain.account import Tenant
from streamgauge.domain.errors import RateLimited
from streamgauge.engine.rate_limit import BURST_SECONDS, Limited, RateLimit

TENANT = Tenant("acct_1", livemode=False)
SECONDS = 10.0


class Watch:
    def __init__(self) -> None:
        self.seconds = 1_000.0

    def __call__(self) -> float:
        return self.seconds


def limit_of(per_second: int) -> tuple[RateLimit, Watch]:
    watch = Watch()
    return RateLimit(per_second, Limited.EVENTS, watch), watch


def takes(limit: RateLimit, units: int = 1, tenant: Tenant = TENANT) -> bool:
    try:
        limit.take(tenant, units)
    except RateLimited:
        return False
    return True


@pytest.mark.parametrize(
    ("per_second", "units"), [(50, 1), (100, 1), (100, 7), (1_000, 1), (1_000, 100), (12_345, 100), (1_000_000, 100)]
)
def test_ten_seconds_of_too_much_let_the_limit_through_within_two_percent(per_second: int, units: int) -> None:
    limit, watch = limit_of(per_second)
    requests = int(2.1 * per_second * SECONDS / units)  # more than twice the limit, evenly
    began, let_through = watch.seconds, 0
    for number in range(requests):
        watch.seconds = began + number * SECONDS / requests
        let_through += units * takes(limit, units)
    assert let_through == pytest.approx(per_second * SECONDS, rel=0.02)


@pytest.mark.parametrize("per_second", [100, 1_000, 12_345])
def test_it_is_as_exact_when_requests_come_in_bursts_and_of_all_sizes(per_second: int) -> None:
    limit, watch = limit_of(per_second)
    random = Random(7)
    began, let_through = watch.seconds, 0
    while watch.seconds < began + SECONDS:
        for _ in range(random.randint(1, 40)):
            units = random.randint(1, max(1, per_second // 100))
            let_through += units * takes(limit, units)
        watch.seconds += random.random() * 0.02
    assert let_through == pytest.approx(per_second * SECONDS, rel=0.02)


@pytest.mark.parametrize("per_second", [1, 5, 50, 5_000])
def test_who_stays_below_the_limit_is_never_refused(per_second: int) -> None:
    limit, watch = limit_of(per_second)
    for _ in range(1_000):
        assert takes(limit)
        watch.seconds += 1.001 / per_second


def test_a_request_larger_than_a_burst_is_served_and_the_next_waits_for_it() -> None:
    limit, watch = limit_of(10)
    assert takes(limit, 100)
    for _ in range(9):
        watch.seconds += 1
        assert not takes(limit)
    watch.seconds += 1
    assert takes(limit)


def test_requests_larger_than_a_burst_come_to_the_limit_in_the_long_run() -> None:
    limit, watch = limit_of(10)
    let_through = 0
    for _ in range(100_000):  # a thousand seconds
        let_through += 100 * takes(limit, 100)
        watch.seconds += 0.01
    assert let_through == pytest.approx(10_000, rel=0.02)


def test_a_long_pause_saves_up_no_more_than_a_burst() -> None:
    limit, watch = limit_of(1_000)
    watch.seconds += 86_400
    assert sum(takes(limit) for _ in range(1_000)) == 1_000 * BURST_SECONDS


def test_what_is_refused_takes_nothing() -> None:
    limit, watch = limit_of(1_000)
    assert takes(limit, 60)
    assert not any(takes(limit, 60) for _ in range(1_000))
    watch.seconds += 0.0101
    assert takes(limit, 60)


@pytest.mark.parametrize(("per_second", "units"), [(1, 1), (3, 5), (10, 100), (1_000, 100), (7, 1)])
def test_after_the_seconds_that_a_refusal_names_the_same_request_is_served(per_second: int, units: int) -> None:
    limit, watch = limit_of(per_second)
    assert takes(limit, units)
    with pytest.raises(RateLimited) as refusal:
        limit.take(TENANT, units)
    assert refusal.value.retry_after_seconds >= 1
    watch.seconds += refusal.value.retry_after_seconds - 1.000001
    assert not takes(limit, units) or refusal.value.retry_after_seconds == 1
    watch.seconds += 1.00001
    assert takes(limit, units)


def test_accounts_and_modes_have_limits_of_their_own() -> None:
    limit, _ = limit_of(1)
    tenants = [Tenant(account, livemode) for account in ("acct_1", "acct_2") for livemode in (False, True)]
    assert [takes(limit, tenant=tenant) for tenant in tenants] == [True] * 4
    assert [takes(limit, tenant=tenant) for tenant in tenants] == [False] * 4


@pytest.mark.parametrize(("limited", "word"), [(Limited.EVENTS, "events"), (Limited.REQUESTS, "requests")])
def test_a_refusal_says_which_limit_it_was(limited: Limited, word: str) -> None:
    limit = RateLimit(1_000, limited, Watch())
    limit.take(TENANT, 100)
    with pytest.raises(RateLimited, match=f"More than 1,000 {word} a second") as refusal:
        limit.take(TENANT, 1)
    assert refusal.value.reason == limited.value
