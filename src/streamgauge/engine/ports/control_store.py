"""The control plane's store: accounts, keys, sessions, meters, customers. Small, relational, transactional."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from streamgauge.domain.account import Account, Tenant
from streamgauge.domain.counting_rules import DatedRules
from streamgauge.domain.credential import MeterEventSession, SecretKey
from streamgauge.domain.customer import Customer
from streamgauge.domain.meter import Meter

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Which part of a list is wanted, newest first. Cursors are object ids and exclude that object.

    At most one of `starting_after` (older than it) and `ending_before` (newer than it) is set. `limit` is 1..100.
    """

    limit: int = 10
    starting_after: str | None = None
    ending_before: str | None = None


@dataclass(frozen=True, slots=True)
class Listed(Generic[T]):
    """One page, newest first (ties by id, descending), and whether more follow in the direction asked for."""

    items: tuple[T, ...]
    has_more: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptAnswer:
    """How a request with a request key was answered: `digest` and `fingerprint` are those of `RequestKey`."""

    tenant: Tenant
    digest: str
    fingerprint: str
    status: int
    body: bytes
    created_ms: int


class Transaction(Protocol):
    def when_ended(self, callback: Callable[[bool], None]) -> None:
        """Call it, with whether it was committed, right after the end, in the same thread."""


class ControlStore(Protocol):
    """Every method is one transaction: when it returns, its effect would survive a power cut.

    Inside of `transaction()` the methods that its thread calls are part of that one instead. One that raises undoes
    only what it did itself.

    Raises Unavailable when the database is away, StorageFull when the disk has no room (nothing was written).
    Objects of one tenant are never visible to another. A cursor that names no object raises UnknownCursor.
    """

    def transaction(self) -> AbstractContextManager[Transaction]:
        """Committed and durable on leaving, undone when left by an exception. Inside of another it is that one.

        Transactions that write exclude each other from their start, so what one has read still holds when it writes.
        """

    def add_account(self, account: Account) -> None: ...

    def first_account(self) -> Account | None:
        """The oldest account; None in an empty store."""

    def find_account(self, account_id: str) -> Account | None: ...

    def add_secret_key(self, key: SecretKey) -> None: ...

    def find_secret_key(self, secret_hash: str) -> SecretKey | None:
        """The key with that hash, revoked or not."""

    def get_secret_key(self, key_id: str) -> SecretKey | None: ...

    def list_secret_keys(self, account_id: str) -> tuple[SecretKey, ...]:
        """Every key of both modes, oldest first, revoked ones included."""

    def revoke_secret_key(self, key_id: str, at_ms: int) -> SecretKey | None:
        """Mark it revoked (the first time stands) and return it; None when there is no such key."""

    def add_session(self, session: MeterEventSession) -> None: ...

    def get_session(self, session_id: str) -> MeterEventSession | None: ...

    def find_session(self, token_hash: str) -> tuple[MeterEventSession, SecretKey] | None:
        """The session with that token hash, expired or not, and the key that opened it."""

    def forget_sessions(self, expired_before_ms: int) -> int:
        """Delete sessions that expired before then; how many."""

    def add_meter(self, meter: Meter) -> None: ...

    def save_meter(self, meter: Meter) -> None:
        """Replace display name, times and active spans of an existing meter."""

    def get_meter(self, tenant: Tenant, meter_id: str) -> Meter | None: ...

    def meters_named(self, tenant: Tenant, event_name: str) -> tuple[Meter, ...]:
        """Every meter that ever had this event name, oldest first."""

    def list_meters(self, tenant: Tenant, page: Page, *, active: bool | None = None) -> Listed[Meter]: ...

    def add_customer(self, customer: Customer) -> None: ...

    def save_customer(self, customer: Customer) -> None:
        """Replace attributes, metadata and `deleted_ms` of an existing customer."""

    def get_customer(self, tenant: Tenant, customer_id: str) -> Customer | None:
        """That customer, deleted or not."""

    def list_customers(self, tenant: Tenant, page: Page, *, email: str | None = None) -> Listed[Customer]:
        """Only customers that are not deleted."""

    def all_meters(self) -> Iterator[Meter]:
        """Every meter of every tenant, oldest first: what the catalogue is loaded from."""

    def all_customers(self) -> Iterator[Customer]:
        """Every customer of every tenant, deleted ones included, without attributes and metadata."""

    def find_answer(self, tenant: Tenant, digest: str) -> KeptAnswer | None: ...

    def keep_answer(self, answer: KeptAnswer) -> None:
        """In place of one with the same digest."""

    def forget_answers(self, created_before_ms: int) -> int:
        """Delete answers that were made before then; how many."""

    def counting_rules(self) -> tuple[DatedRules, ...]:
        """All that were added, oldest first."""

    def add_counting_rules(self, dated: DatedRules) -> None:
        """Later than those that are there. They are never changed or removed."""

    def close(self) -> None: ...
