"""The control store on plain Python objects: the port's contract as short as it can be written."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from streamgauge.domain.account import Account, Tenant
from streamgauge.domain.counting_rules import DatedRules
from streamgauge.domain.credential import MeterEventSession, SecretKey
from streamgauge.domain.customer import Customer
from streamgauge.domain.errors import NotFound, StreamgaugeError, UnknownCursor
from streamgauge.domain.meter import Meter
from streamgauge.engine.ports.control_store import KeptAnswer, Listed, Page


class HasAge(Protocol):
    @property
    def id(self) -> str: ...

    @property
    def created_ms(self) -> int: ...


Dated = TypeVar("Dated", bound=HasAge)
Key = TypeVar("Key")
Value = TypeVar("Value")


class MemoryTransaction:
    def __init__(self) -> None:
        self._callbacks: list[Callable[[bool], None]] = []

    def when_ended(self, callback: Callable[[bool], None]) -> None:
        self._callbacks.append(callback)

    def end(self, *, committed: bool) -> None:
        for callback in self._callbacks:
            callback(committed)


class MemoryControlStore:
    """Implements `ControlStore`, except that nothing survives the process."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._accounts: dict[str, Account] = {}
        self._keys: dict[str, SecretKey] = {}
        self._sessions: dict[str, MeterEventSession] = {}
        self._meters: dict[str, Meter] = {}
        self._customers: dict[tuple[Tenant, str], Customer] = {}
        self._answers: dict[tuple[Tenant, str], KeptAnswer] = {}
        self._rules: dict[int, DatedRules] = {}
        self._tables: list[dict[Any, Any]] = [
            self._accounts,
            self._keys,
            self._sessions,
            self._meters,
            self._customers,
            self._answers,
            self._rules,
        ]
        self._transaction: MemoryTransaction | None = None

    @property
    def lock(self) -> threading.RLock:
        """Held by whoever reads or writes, here and in the stores of other ports that share the transactions."""
        return self._lock

    def table(self, example: dict[Key, Value]) -> dict[Key, Value]:
        """`example`, empty, as a table of a store of another port: transactions undo what is done to it, too.

        Its values must be replaced, never changed.
        """
        with self._lock:
            self._tables.append(example)
        return example

    def close(self) -> None:
        """Nothing to release."""

    @contextmanager
    def transaction(self) -> Iterator[MemoryTransaction]:
        with self._lock:
            if self._transaction is not None:
                yield self._transaction
                return
            before = [(table, dict(table)) for table in self._tables]
            self._transaction = transaction = MemoryTransaction()
            committed = False
            try:
                yield transaction
                committed = True
            finally:
                self._transaction = None
                if not committed:
                    for table, rows in before:
                        table.clear()
                        table.update(rows)
                transaction.end(committed=committed)

    # Accounts, keys, sessions

    def add_account(self, account: Account) -> None:
        with self._lock:
            refuse_if(account.id in self._accounts, account.id)
            self._accounts[account.id] = account

    def first_account(self) -> Account | None:
        with self._lock:
            return next(iter(oldest_first(self._accounts.values())), None)

    def find_account(self, account_id: str) -> Account | None:
        return self._accounts.get(account_id)

    def add_secret_key(self, key: SecretKey) -> None:
        with self._lock:
            hash_is_taken = self.find_secret_key(key.secret_hash) is not None
            refuse_if(key.id in self._keys or hash_is_taken or key.tenant.account_id not in self._accounts, key.id)
            self._keys[key.id] = key

    def find_secret_key(self, secret_hash: str) -> SecretKey | None:
        with self._lock:
            return next((key for key in self._keys.values() if key.secret_hash == secret_hash), None)

    def get_secret_key(self, key_id: str) -> SecretKey | None:
        return self._keys.get(key_id)

    def list_secret_keys(self, account_id: str) -> tuple[SecretKey, ...]:
        with self._lock:
            return tuple(oldest_first(key for key in self._keys.values() if key.tenant.account_id == account_id))

    def revoke_secret_key(self, key_id: str, at_ms: int) -> SecretKey | None:
        with self._lock:
            key = self._keys.get(key_id)
            if key is not None and key.revoked_ms is None:
                key = self._keys[key_id] = replace(key, revoked_ms=at_ms)
            return key

    def add_session(self, session: MeterEventSession) -> None:
        with self._lock:
            is_taken = any(
                known.id == session.id or known.token_hash == session.token_hash for known in self._sessions.values()
            )
            refuse_if(is_taken or session.key_id not in self._keys, session.id)
            self._sessions[session.token_hash] = session

    def get_session(self, session_id: str) -> MeterEventSession | None:
        with self._lock:
            return next((session for session in self._sessions.values() if session.id == session_id), None)

    def find_session(self, token_hash: str) -> tuple[MeterEventSession, SecretKey] | None:
        with self._lock:
            session = self._sessions.get(token_hash)
            return None if session is None else (session, self._keys[session.key_id])

    def forget_sessions(self, expired_before_ms: int) -> int:
        with self._lock:
            expired = [key for key, session in self._sessions.items() if session.expires_ms < expired_before_ms]
            for token_hash in expired:
                del self._sessions[token_hash]
            return len(expired)

    # Meters

    def add_meter(self, meter: Meter) -> None:
        with self._lock:
            refuse_if(meter.id in self._meters or meter.tenant.account_id not in self._accounts, meter.id)
            self._meters[meter.id] = meter

    def save_meter(self, meter: Meter) -> None:
        with self._lock:
            known = self.get_meter(meter.tenant, meter.id)
            if known is None:
                raise NotFound(f"No such billing meter: '{meter.id}'", param="id")
            self._meters[meter.id] = replace(
                known,
                display_name=meter.display_name,
                created_ms=meter.created_ms,
                updated_ms=meter.updated_ms,
                active_spans=meter.active_spans,
            )

    def get_meter(self, tenant: Tenant, meter_id: str) -> Meter | None:
        meter = self._meters.get(meter_id)
        return meter if meter is not None and meter.tenant == tenant else None

    def meters_named(self, tenant: Tenant, event_name: str) -> tuple[Meter, ...]:
        return tuple(meter for meter in self.all_meters() if (meter.tenant, meter.event_name) == (tenant, event_name))

    def list_meters(self, tenant: Tenant, page: Page, *, active: bool | None = None) -> Listed[Meter]:
        of_tenant = [meter for meter in self.all_meters() if meter.tenant == tenant]
        return cut(of_tenant, page, lambda meter: active is None or meter.is_active == active)

    def all_meters(self) -> Iterator[Meter]:
        with self._lock:
            return iter(oldest_first(self._meters.values()))

    # Answers

    def find_answer(self, tenant: Tenant, digest: str) -> KeptAnswer | None:
        return self._answers.get((tenant, digest))

    def keep_answer(self, answer: KeptAnswer) -> None:
        with self._lock:
            self._answers[answer.tenant, answer.digest] = answer

    def forget_answers(self, created_before_ms: int) -> int:
        with self._lock:
            expired = [key for key, answer in self._answers.items() if answer.created_ms < created_before_ms]
            for key in expired:
                del self._answers[key]
            return len(expired)

    # Counting rules

    def counting_rules(self) -> tuple[DatedRules, ...]:
        with self._lock:
            return tuple(self._rules.values())

    def add_counting_rules(self, dated: DatedRules) -> None:
        with self._lock:
            self._rules[dated.valid_from_ms] = dated

    # Customers

    def add_customer(self, customer: Customer) -> None:
        key = (customer.tenant, customer.id)
        with self._lock:
            refuse_if(key in self._customers or customer.tenant.account_id not in self._accounts, customer.id)
            self._customers[key] = _own(customer)

    def save_customer(self, customer: Customer) -> None:
        with self._lock:
            known = self._customers.get((customer.tenant, customer.id))
            if known is None:
                raise NotFound(f"No such customer: '{customer.id}'", param="customer")
            self._customers[customer.tenant, customer.id] = replace(_own(customer), created_ms=known.created_ms)

    def get_customer(self, tenant: Tenant, customer_id: str) -> Customer | None:
        customer = self._customers.get((tenant, customer_id))
        return None if customer is None else _own(customer)

    def list_customers(self, tenant: Tenant, page: Page, *, email: str | None = None) -> Listed[Customer]:
        with self._lock:
            of_tenant = [_own(customer) for customer in self._customers.values() if customer.tenant == tenant]
        return cut(
            oldest_first(of_tenant),
            page,
            lambda each: each.deleted_ms is None and (email is None or each.attributes.get("email") == email),
        )

    def all_customers(self) -> Iterator[Customer]:
        with self._lock:
            return iter([replace(customer, attributes={}, metadata={}) for customer in self._customers.values()])


def refuse_if(contradicts: bool, object_id: str) -> None:
    """What a database does through its constraints: an id or hash that is taken, an owner that does not exist."""
    if contradicts:
        raise StreamgaugeError(f"control store: refused, nothing was written: {object_id}")


def _own(customer: Customer) -> Customer:
    """A copy, so that whoever goes on to change the mappings they passed or got does not change what is stored."""
    return replace(customer, attributes=deepcopy(dict(customer.attributes)), metadata=deepcopy(dict(customer.metadata)))


def oldest_first(objects: Iterable[Dated]) -> list[Dated]:
    return sorted(objects, key=lambda each: (each.created_ms, each.id))


def cut(sorted_by_age: list[Dated], page: Page, passes: Callable[[Dated], bool]) -> Listed[Dated]:
    """The page of those that pass; `sorted_by_age` as `oldest_first` sorts. Raises UnknownCursor."""
    ids = [each.id for each in sorted_by_age]
    if page.ending_before is not None:
        newer = sorted_by_age[_position(ids, page.ending_before, "ending_before") + 1 :]
        nearest_first = [each for each in newer if passes(each)]
        return Listed(tuple(nearest_first[: page.limit][::-1]), len(nearest_first) > page.limit)
    end = len(ids) if page.starting_after is None else _position(ids, page.starting_after, "starting_after")
    newest_first = [each for each in reversed(sorted_by_age[:end]) if passes(each)]
    return Listed(tuple(newest_first[: page.limit]), len(newest_first) > page.limit)


def _position(ids: list[str], cursor: str, param: str) -> int:
    if cursor not in ids:
        raise UnknownCursor(cursor, param=param)
    return ids.index(cursor)
