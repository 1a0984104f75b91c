"""A 64-bit hash of (tenant, identifier), computed for whole columns.

It orders and finds events; it never decides. Two identifiers with one hash are told apart by comparing them.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from streamgauge import native
from streamgauge.domain.account import Tenant

_MULTIPLIER: Final = np.uint64(0x9E3779B97F4A7C15)
_FINAL_1: Final = np.uint64(0xBF58476D1CE4E5B9)
_FINAL_2: Final = np.uint64(0x94D049BB133111EB)
_WORD_BYTES: Final = 8


def hash_identifiers(
    identifiers: pa.StringArray, tenant: NDArray[np.int32], tenants: Sequence[Tenant]
) -> NDArray[np.uint64]:
    """One hash per row; the same (tenant, identifier) gives the same hash on every machine and in every version."""
    count = len(identifiers)
    seeds = np.array([_seed(each) for each in tenants], np.uint64)
    # The array may be a slice of a longer one: its offsets say where its own bytes are.
    offsets = np.frombuffer(identifiers.buffers()[1], np.int32)[identifiers.offset : identifiers.offset + count + 1]
    data = np.frombuffer(identifiers.buffers()[2] or b"", np.uint8)
    if native.compiled is None or not count:
        return _hashed_here(offsets, data, seeds[tenant])
    hashes = np.empty(count, np.uint64)
    native.compiled.hash_texts(offsets, data, np.ascontiguousarray(tenant, np.int32), seeds, hashes)
    return hashes


def order_of(hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The rows in the order of their hashes; equal ones stay in order."""
    if native.compiled is None:
        return np.argsort(hashes, kind="stable").astype(np.int64)
    order = np.empty(len(hashes), np.int64)
    native.compiled.hash_order(np.ascontiguousarray(hashes), order)
    return order


def _hashed_here(offsets: NDArray[np.int32], data: NDArray[np.uint8], seeds: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """All identifiers of one length at once: their bytes form a matrix, mixed word by word."""
    lengths = np.diff(offsets)
    hashes = np.empty(len(lengths), np.uint64)
    for length in np.flatnonzero(np.bincount(lengths)):
        rows = np.flatnonzero(lengths == length)
        words = _words(data, offsets[rows], int(length))
        hashes[rows] = _mix(words, seeds[rows] ^ np.uint64(length))
    return hashes


def hash_names(names: Sequence[tuple[Tenant, str]]) -> NDArray[np.uint64]:
    """The same for a few identifiers, each with its tenant."""
    tenants = tuple(dict.fromkeys(tenant for tenant, _ in names))
    at = np.array([tenants.index(tenant) for tenant, _ in names], np.int32)
    return hash_identifiers(pa.array([name for _, name in names], pa.string()), at, tenants)


def _words(data: NDArray[np.uint8], starts: NDArray[np.int32], length: int) -> NDArray[np.uint64]:
    """(rows, words): the bytes of each row, padded with zeros to whole words."""
    if len(starts) and starts[-1] - starts[0] == length * (len(starts) - 1):  # they lie one behind the other
        matrix = data[starts[0] : starts[0] + length * len(starts)].reshape(len(starts), length)
    else:
        matrix = data[starts[:, None] + np.arange(length, dtype=np.int32)]
    padded = np.zeros((len(starts), -(-length // _WORD_BYTES) * _WORD_BYTES), np.uint8)
    padded[:, :length] = matrix
    return padded.view("<u8").astype(np.uint64, copy=False)


def _mix(words: NDArray[np.uint64], state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    for column in range(words.shape[1]):
        state = (state ^ words[:, column]) * _MULTIPLIER
        state ^= state >> np.uint64(32)
    # The finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014): every input bit reaches every output bit.
    state = (state ^ (state >> np.uint64(30))) * _FINAL_1
    state = (state ^ (state >> np.uint64(27))) * _FINAL_2
    return state ^ (state >> np.uint64(31))


def _seed(tenant: Tenant) -> int:
    """FNV-1a of the account's name and the mode: small, and fixed for ever."""
    state = 0xCBF29CE484222325
    for byte in tenant.account_id.encode() + (b"\x01" if tenant.livemode else b"\x00"):
        state = ((state ^ byte) * 0x100000001B3) % 2**64
    return state
