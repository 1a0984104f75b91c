"""`Levels` of several processes: a small file that each of them maps, under a lock on it."""

import fcntl
import hashlib
import mmap
import os
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from streamgauge.domain.account import Tenant

# Who has the place, how much is in the bucket, and when that was so.
_PLACE: Final = struct.Struct("=16sdd")
PLACES: Final = 4_096
# As many places are looked at for a tenant; when all are another's, the one that was used longest ago is given away.
_LOOKED_AT: Final = 8
_NOBODY: Final = bytes(16)


class SharedLevels:
    """A process that is killed lets go of the lock. Whatever the file holds then, the worst is a bucket that is filled
    anew: a burst more, once."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.ftruncate(self._descriptor, PLACES * _PLACE.size)  # new ones are zero, and those that are there stay
        self._map = mmap.mmap(self._descriptor, PLACES * _PLACE.size)
        self._lock = threading.Lock()

    @contextmanager
    def held(self) -> Iterator[None]:
        # Threads of one process share the file's lock, so they have one of their own.
        with self._lock:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def get(self, tenant: Tenant) -> tuple[float, float] | None:
        name = _name(tenant)
        for at in _places(name):
            who, level, then = _PLACE.unpack_from(self._map, at)
            if who == name:
                return level, then
        return None

    def put(self, tenant: Tenant, level: float, then: float) -> None:
        name = _name(tenant)
        held = [(*_PLACE.unpack_from(self._map, at), at) for at in _places(name)]
        mine = [at for who, _, _, at in held if who == name]
        _, _, oldest = min((who != _NOBODY, used, at) for who, _, used, at in held)
        _PLACE.pack_into(self._map, mine[0] if mine else oldest, name, level, then)

    def close(self) -> None:
        self._map.close()
        os.close(self._descriptor)


def _name(tenant: Tenant) -> bytes:
    return hashlib.blake2b(f"{tenant.livemode} {tenant.account_id}".encode(), digest_size=16).digest()


def _places(name: bytes) -> Iterator[int]:
    first = int.from_bytes(name[:8], "little")
    for step in range(_LOOKED_AT):
        yield (first + step) % PLACES * _PLACE.size
