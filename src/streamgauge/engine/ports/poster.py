"""What carries a delivery to its receiver: one POST, and what came of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class PostFailure(StrEnum):
    """Why there is no status. The values are shown to people and kept with attempts."""

    BAD_URL = "bad_url"
    """Not an absolute http or https URL, or one with a user name in it."""
    NAME_NOT_RESOLVED = "name_not_resolved"
    """DNS knows no address of the host."""
    ADDRESS_REFUSED = "address_refused"
    """The host's address is private, of this machine, or reserved: nothing was connected to."""
    CONNECT_FAILED = "connect_failed"
    """Nobody listens there, or no way leads there."""
    TLS_FAILED = "tls_failed"
    """The certificate does not verify, or the other side speaks no TLS that we do."""
    TIMED_OUT = "timed_out"
    """No status within the time limits."""
    CONNECTION_LOST = "connection_lost"
    """The connection ended, or what came was not HTTP."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PostLimits:
    """How long one POST may take, and how much of the answer is read. `total_seconds` includes all else."""

    connect_seconds: float = 5.0
    total_seconds: float = 15.0
    # An answer is read to reuse its connection and to show how it began, never for its own sake.
    body_seconds: float = 1.0
    body_bytes_max: int = 8 * 2**10


@dataclass(frozen=True, slots=True, kw_only=True)
class PostResult:
    """Either `status` or `failure` is set. `detail` is for people: how the answer's body began, or what failed.

    It has at most 500 characters, none of which is a control character.
    """

    duration_ms: int
    detail: str
    status: int | None = None
    failure: PostFailure | None = None

    @property
    def succeeded(self) -> bool:
        """Only 2xx. A redirect is a failure: it would lead to an address that nobody entered."""
        return self.status is not None and 200 <= self.status < 300


class Poster(Protocol):
    """Used on one event loop, by many tasks at once."""

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], limits: PostLimits) -> PostResult:
        """POST once: no retry, no redirect followed, no proxy.

        The host is resolved and its addresses are checked for each new connection, which then goes to exactly an
        address that was checked. Raises nothing for what a URL or a receiver can do wrong.
        """

    async def aclose(self) -> None:
        """Close every connection."""
