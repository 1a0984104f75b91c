"""The control store on a relational database."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import groupby
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    Select,
    Table,
    bindparam,
    delete,
    exists,
    insert,
    not_,
    select,
    update,
)

from streamgauge.adapters.relational import rows
from streamgauge.adapters.relational.connection import connect, for_writing, place
from streamgauge.adapters.relational.driver_errors import translated
from streamgauge.adapters.relational.pages import of_tenant, page_rows
from streamgauge.adapters.relational.tables import (
    accounts,
    counting_rules,
    customers,
    kept_answers,
    meter_active_spans,
    meter_event_sessions,
    meters,
    secret_keys,
)
from streamgauge.domain.account import Account, Tenant
from streamgauge.domain.counting_rules import CountingRules, DatedRules
from streamgauge.domain.credential import MeterEventSession, SecretKey
from streamgauge.domain.customer import Customer
from streamgauge.domain.errors import DurabilityLost, NotFound
from streamgauge.domain.meter import Meter
from streamgauge.domain.span import Span
from streamgauge.engine.ports.control_store import KeptAnswer, Listed, Page

ROWS_PER_FETCH = 10_000


class RelationalTransaction:
    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._callbacks: list[Callable[[bool], None]] = []

    def when_ended(self, callback: Callable[[bool], None]) -> None:
        self._callbacks.append(callback)

    def end(self, *, committed: bool) -> None:
        for callback in self._callbacks:
            callback(committed)


class _OfThread(threading.local):
    transaction: RelationalTransaction | None = None


class RelationalControlStore:
    """Implements `ControlStore`. Safe to call from any thread, and on one database from several processes.

    Expects the schema that `migrations.migrate(store.engine)` makes; before that every method raises Unavailable.
    Stores of other ports on the same database take part in its transactions through `reading` and `writing`.
    """

    def __init__(self, url: str) -> None:
        self.engine = connect(url)
        self._writer = for_writing(self.engine)
        self._place = place(self.engine.url)
        self._of_thread = _OfThread()
        # Writers of one process take turns here: SQLite has those that wait ask again and again, in no order, and each
        # would hold a connection that readers need.
        self._writing_in_turn = threading.Lock()
        self._lost: DurabilityLost | None = None

    def close(self) -> None:
        self.engine.dispose()

    @contextmanager
    def transaction(self) -> Iterator[RelationalTransaction]:
        outer = self._of_thread.transaction
        if outer is not None:
            yield outer
            return
        transaction: RelationalTransaction | None = None
        committed = False
        try:
            with self._committing() as connection:
                self._of_thread.transaction = transaction = RelationalTransaction(connection)
                yield transaction
            committed = True
        finally:
            self._of_thread.transaction = None
            if transaction is not None:
                transaction.end(committed=committed)

    # Accounts, keys, sessions

    def add_account(self, account: Account) -> None:
        with self.writing() as connection:
            connection.execute(insert(accounts).values(rows.account_row(account)))

    def first_account(self) -> Account | None:
        with self.reading() as connection:
            oldest = select(accounts).order_by(accounts.c.created_ms, accounts.c.id).limit(1)
            row = connection.execute(oldest).mappings().one_or_none()
        return None if row is None else rows.account_of(row)

    def find_account(self, account_id: str) -> Account | None:
        row = self._find(accounts, id=account_id)
        return None if row is None else rows.account_of(row)

    def add_secret_key(self, key: SecretKey) -> None:
        with self.writing() as connection:
            connection.execute(insert(secret_keys).values(rows.secret_key_row(key)))

    def find_secret_key(self, secret_hash: str) -> SecretKey | None:
        row = self._find(secret_keys, secret_hash=secret_hash)
        return None if row is None else rows.secret_key_of(row)

    def get_secret_key(self, key_id: str) -> SecretKey | None:
        row = self._find(secret_keys, id=key_id)
        return None if row is None else rows.secret_key_of(row)

    def list_secret_keys(self, account_id: str) -> tuple[SecretKey, ...]:
        with self.reading() as connection:
            of_account = select(secret_keys).where(secret_keys.c.account_id == account_id)
            oldest_first = of_account.order_by(secret_keys.c.created_ms, secret_keys.c.id)
            return tuple(rows.secret_key_of(row) for row in connection.execute(oldest_first).mappings())

    def revoke_secret_key(self, key_id: str, at_ms: int) -> SecretKey | None:
        with self.writing() as connection:
            connection.execute(
                update(secret_keys)
                .where(secret_keys.c.id == key_id, secret_keys.c.revoked_ms.is_(None))
                .values(revoked_ms=at_ms)
            )
            row = connection.execute(select(secret_keys).where(secret_keys.c.id == key_id)).mappings().one_or_none()
        return None if row is None else rows.secret_key_of(row)

    def add_session(self, session: MeterEventSession) -> None:
        with self.writing() as connection:
            connection.execute(insert(meter_event_sessions).values(rows.session_row(session)))

    def get_session(self, session_id: str) -> MeterEventSession | None:
        row = self._find(meter_event_sessions, id=session_id)
        return None if row is None else rows.session_of(row)

    def find_session(self, token_hash: str) -> tuple[MeterEventSession, SecretKey] | None:
        with self.reading() as connection:
            session = _one(connection, meter_event_sessions, token_hash=token_hash)
            key = None if session is None else _one(connection, secret_keys, id=session["key_id"])
        return None if session is None or key is None else (rows.session_of(session), rows.secret_key_of(key))

    def forget_sessions(self, expired_before_ms: int) -> int:
        with self.writing() as connection:
            expired = delete(meter_event_sessions).where(meter_event_sessions.c.expires_ms < expired_before_ms)
            return connection.execute(expired).rowcount

    # Meters

    def add_meter(self, meter: Meter) -> None:
        with self.writing() as connection:
            connection.execute(insert(meters).values(rows.meter_row(meter)))
            connection.execute(insert(meter_active_spans), rows.span_rows(meter))

    def save_meter(self, meter: Meter) -> None:
        with self.writing() as connection:
            saved = connection.execute(
                update(meters)
                .where(of_tenant(meters, meter.tenant), meters.c.id == meter.id)
                .values(display_name=meter.display_name, created_ms=meter.created_ms, updated_ms=meter.updated_ms)
            )
            if saved.rowcount == 0:
                raise NotFound(f"No such billing meter: '{meter.id}'", param="id")
            connection.execute(delete(meter_active_spans).where(meter_active_spans.c.meter_id == meter.id))
            connection.execute(insert(meter_active_spans), rows.span_rows(meter))

    def get_meter(self, tenant: Tenant, meter_id: str) -> Meter | None:
        with self.reading() as connection:
            row = _one(connection, meters, **rows.tenant_columns(tenant), id=meter_id)
            return None if row is None else _with_spans(connection, [row])[0]

    def meters_named(self, tenant: Tenant, event_name: str) -> tuple[Meter, ...]:
        return self._meters(of_tenant(meters, tenant), meters.c.event_name == event_name)

    def list_meters(self, tenant: Tenant, page: Page, *, active: bool | None = None) -> Listed[Meter]:
        filters: list[ColumnElement[bool]] = []
        if active is not None:
            spans = meter_active_spans.c
            is_active = exists().where(spans.meter_id == meters.c.id, spans.end_ms.is_(None))
            filters.append(is_active if active else not_(is_active))
        with self.reading() as connection:
            found, has_more = page_rows(connection, meters, tenant, page, *filters)
            return Listed(_with_spans(connection, found), has_more)

    def all_meters(self) -> Iterator[Meter]:
        return iter(self._meters())

    # Answers

    def find_answer(self, tenant: Tenant, digest: str) -> KeptAnswer | None:
        row = self._find(kept_answers, **rows.tenant_columns(tenant), digest=digest)
        return None if row is None else rows.kept_answer_of(row)

    def keep_answer(self, answer: KeptAnswer) -> None:
        with self.writing() as connection:
            same_key = of_tenant(kept_answers, answer.tenant), kept_answers.c.digest == answer.digest
            connection.execute(delete(kept_answers).where(*same_key))
            connection.execute(insert(kept_answers).values(rows.kept_answer_row(answer)))

    def forget_answers(self, created_before_ms: int) -> int:
        with self.writing() as connection:
            expired = delete(kept_answers).where(kept_answers.c.created_ms < created_before_ms)
            return connection.execute(expired).rowcount

    # Customers

    def add_customer(self, customer: Customer) -> None:
        with self.writing() as connection:
            connection.execute(insert(customers).values(rows.customer_row(customer)))

    def save_customer(self, customer: Customer) -> None:
        row = rows.customer_row(customer)
        with self.writing() as connection:
            saved = connection.execute(
                update(customers)
                .where(of_tenant(customers, customer.tenant), customers.c.id == customer.id)
                .values({name: row[name] for name in ("attributes", "metadata", "email", "deleted_ms")})
            )
            if saved.rowcount == 0:
                raise NotFound(f"No such customer: '{customer.id}'", param="customer")

    def get_customer(self, tenant: Tenant, customer_id: str) -> Customer | None:
        row = self._find(customers, **rows.tenant_columns(tenant), id=customer_id)
        return None if row is None else rows.customer_of(row)

    def list_customers(self, tenant: Tenant, page: Page, *, email: str | None = None) -> Listed[Customer]:
        filters: list[ColumnElement[bool]] = [customers.c.deleted_ms.is_(None)]
        if email is not None:
            filters.append(customers.c.email == email)
        with self.reading() as connection:
            found, has_more = page_rows(connection, customers, tenant, page, *filters)
        return Listed(tuple(rows.customer_of(row) for row in found), has_more)

    def all_customers(self) -> Iterator[Customer]:
        # The only table that may be large, so the rows are handed on as they are read.
        columns = customers.c
        validity = select(columns.id, columns.account_id, columns.livemode, columns.created_ms, columns.deleted_ms)
        with self.reading() as connection:
            for row in connection.execution_options(yield_per=ROWS_PER_FETCH).execute(validity).mappings():
                yield rows.customer_of(row)

    # Counting rules

    def counting_rules(self) -> tuple[DatedRules, ...]:
        with self.reading() as connection:
            found = connection.execute(select(counting_rules).order_by(counting_rules.c.valid_from_ms)).all()
        return tuple(
            DatedRules(from_ms, CountingRules(accept_unknown_customers=accepts, dedup_window_ms=window_ms))
            for from_ms, accepts, window_ms in found
        )

    def add_counting_rules(self, dated: DatedRules) -> None:
        row = {
            "valid_from_ms": dated.valid_from_ms,
            "accept_unknown_customers": dated.rules.accept_unknown_customers,
            "dedup_window_ms": dated.rules.dedup_window_ms,
        }
        with self.writing() as connection:
            connection.execute(insert(counting_rules).values(row))

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One transaction, so that several statements see one moment."""
        if (outer := self._of_thread.transaction) is not None:
            yield outer.connection
            return
        with translated(self._place), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction, committed and durable on leaving; an exception rolls it back. Inside of `transaction` a
        part of that one, which is rolled back alone."""
        if (outer := self._of_thread.transaction) is not None:
            with translated(self._place), outer.connection.begin_nested():
                yield outer.connection
            return
        with self._committing() as connection:
            yield connection

    def _find(self, table: Table, **columns: object) -> RowMapping | None:
        with self.reading() as connection:
            return _one(connection, table, **columns)

    def _meters(self, *conditions: ColumnElement[bool]) -> tuple[Meter, ...]:
        """Oldest first."""
        with self.reading() as connection:
            wanted = select(meters).where(*conditions).order_by(meters.c.created_ms, meters.c.id)
            return _with_spans(connection, connection.execute(wanted).mappings().all())

    @contextmanager
    def _committing(self) -> Iterator[Connection]:
        """After a commit whose sync failed there is no other: it may succeed, and still not be durable."""
        with self._writing_in_turn:
            if self._lost is not None:
                raise DurabilityLost(f"control store {self._place}: the disk failed before") from self._lost
            try:
                with translated(self._place), self._writer.begin() as connection:
                    yield connection
            except DurabilityLost as error:
                self._lost = error
                raise


def _one(connection: Connection, table: Table, **columns: object) -> RowMapping | None:
    """The row with these values, if there is one."""
    return connection.execute(_select_by(table, tuple(columns)), columns).mappings().one_or_none()


@cache
def _select_by(table: Table, columns: tuple[str, ...]) -> Select[Any]:
    """Kept, since to build such a statement takes longer than to carry it out."""
    return select(table).where(*(table.c[name] == bindparam(name) for name in columns))


def _with_spans(connection: Connection, meter_rows: Sequence[RowMapping]) -> tuple[Meter, ...]:
    """The meters of these rows, in their order."""
    spans: dict[str, list[Span]] = {}
    wanted = select(meter_active_spans).order_by(meter_active_spans.c.meter_id, meter_active_spans.c.position)
    for first in range(0, len(meter_rows), ROWS_PER_FETCH):
        # In portions, because databases bound the number of parameters of a statement.
        ids = [row["id"] for row in meter_rows[first : first + ROWS_PER_FETCH]]
        found = connection.execute(wanted.where(meter_active_spans.c.meter_id.in_(ids))).mappings()
        for meter_id, group in groupby(found, key=lambda row: str(row["meter_id"])):
            spans[meter_id] = [Span(row["start_ms"], row["end_ms"]) for row in group]
    return tuple(rows.meter_of(row, spans[row["id"]]) for row in meter_rows)
