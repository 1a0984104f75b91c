"""Claims as columns: a hash finds them, and only account, mode and name decide."""

import numpy as np
import pyarrow as pa
import pytest

from streamgauge.domain.account import Tenant
from streamgauge.domain.claims import CLAIM_SCHEMA, KnownClaims
from tests.support.columns import received_events
from tests.support.world import START_MS, TENANT, Event

LIVE = Tenant(TENANT.account_id, livemode=True)
OTHER = Tenant("acct_other", livemode=False)
ONE_HASH = 7


def known(*claims: tuple[Tenant, str], hashes: list[int]) -> KnownClaims:
    """These, in this order in the log, each with that hash."""
    columns = [
        [tenant.account_id for tenant, _ in claims],
        [tenant.livemode for tenant, _ in claims],
        [name for _, name in claims],
        [START_MS] * len(claims),
        list(range(len(claims))),
    ]
    return KnownClaims.of(pa.table(columns, schema=CLAIM_SCHEMA), np.array(hashes, np.uint64))


def repeated(claims: KnownClaims, *events: tuple[Tenant, str], hashes: list[int]) -> list[bool]:
    received = received_events([(tenant, Event(name)) for tenant, name in events], first_offset=100)
    rows, since_ms = np.arange(len(events)), np.zeros(len(events), np.int64)
    found = claims.repeated(received, np.array(hashes, np.uint64), rows, since_ms, below_offset=100)
    return [bool(each) for each in found]


@pytest.mark.parametrize("claimed", [(LIVE, "a"), (OTHER, "a"), (TENANT, "b")])
def test_a_hash_alone_decides_nothing(claimed: tuple[Tenant, str]) -> None:
    claims = known(claimed, hashes=[ONE_HASH])
    assert repeated(claims, (TENANT, "a"), claimed, hashes=[ONE_HASH] * 2) == [False, True]


def test_of_claims_with_one_hash_each_is_compared() -> None:
    everyone = [(TENANT, "a"), (LIVE, "a"), (OTHER, "a"), (TENANT, "b")]
    claims = known(*everyone, hashes=[ONE_HASH] * 4)
    asked = [*everyone, (LIVE, "b"), (OTHER, "c")]
    assert repeated(claims, *asked, hashes=[ONE_HASH] * 6) == [True] * 4 + [False] * 2


def test_claims_are_found_whatever_order_they_and_the_events_are_in() -> None:
    names = [(TENANT, name) for name in "dbca"]
    claims = known(*names, hashes=[2**64 - 1, 5, 0, 9])
    asked = [(TENANT, name) for name in "abcdx"]
    assert repeated(claims, *asked, hashes=[9, 5, 0, 2**64 - 1, 6]) == [True] * 4 + [False]


def test_without_claims_nothing_is_repeated() -> None:
    assert repeated(known(hashes=[]), (TENANT, "a"), hashes=[1]) == [False]
