"""Two identifiers of one account and mode with one hash: a pair that chance would bring once in 2**32 identifiers."""

import functools

import numpy as np

from streamgauge.domain.account import Tenant
from streamgauge.domain.identifier_hash import hash_names

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _LAST = np.uint8(ord("!")), np.uint8(ord("~"))


@functools.cache
def colliding_pair(tenant: Tenant) -> tuple[str, str]:
    """Sixteen letters are two words, mixed one after the other: whatever the first word brings the state to, one
    second word brings it to the same place. Tried until that word is made of letters, too."""
    rng = np.random.default_rng(0)
    firsts = rng.integers(_FIRST, _LAST, (200_000, 8), np.uint8, endpoint=True)
    states = _state_after(tenant, firsts.view("<u8").reshape(-1))
    second = firsts[-1].view("<u8")[0]
    seconds = (second ^ states[-1] ^ states).astype("<u8").view(np.uint8).reshape(-1, 8)
    readable = np.flatnonzero(((seconds >= _FIRST) & (seconds <= _LAST)).all(axis=1))[0]
    pair = (
        (firsts[-1].tobytes() + int(second).to_bytes(8, "little")).decode("ascii"),
        (firsts[readable].tobytes() + seconds[readable].tobytes()).decode("ascii"),
    )
    one, other = hash_names([(tenant, name) for name in pair])
    assert one == other and pair[0] != pair[1], "the hash has changed, and this must follow it"
    return pair


def _state_after(tenant: Tenant, words: "np.typing.NDArray[np.uint64]") -> "np.typing.NDArray[np.uint64]":
    seed = 0xCBF29CE484222325
    for byte in tenant.account_id.encode() + (b"\x01" if tenant.livemode else b"\x00"):
        seed = ((seed ^ byte) * 0x100000001B3) % 2**64
    states = (np.uint64(seed ^ 16) ^ words) * _MULTIPLIER
    return states ^ (states >> np.uint64(32))
