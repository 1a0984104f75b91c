"""Billing alerts on a relational database."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

from sqlalchemy import RowMapping, func, insert, select, tuple_, update

from streamgauge.adapters.relational.alert_tables import alert_firings, alerts
from streamgauge.adapters.relational.pages import of_tenant, page_rows
from streamgauge.adapters.relational.rows import tenant_columns
from streamgauge.adapters.relational.store import RelationalControlStore
from streamgauge.domain.account import Tenant
from streamgauge.domain.alert import Alert, AlertStatus, Firing, FiringKey, Recurrence, UsageThreshold
from streamgauge.domain.errors import NotFound
from streamgauge.engine.ports.control_store import Listed, Page

T = TypeVar("T")

# Databases bound the number of parameters of a statement.
_ASKED_MAX: Final = 5_000


class RelationalAlerts:
    """Implements `AlertStore`."""

    def __init__(self, control: RelationalControlStore) -> None:
        self._control = control

    def add_alert(self, alert: Alert) -> None:
        with self._control.writing() as connection:
            connection.execute(insert(alerts).values(**_alert_row(alert), revision=_NEXT_REVISION))

    def save_alert(self, alert: Alert) -> None:
        with self._control.writing() as connection:
            saved = connection.execute(
                update(alerts)
                .where(of_tenant(alerts, alert.tenant), alerts.c.id == alert.id)
                .values(
                    status=alert.status.value,
                    since_offset=alert.since_offset,
                    is_due=alert.is_due,
                    revision=_NEXT_REVISION,
                )
            )
        if saved.rowcount == 0:
            raise NotFound(f"No such billing alert: '{alert.id}'", param="id")

    def get_alert(self, tenant: Tenant, alert_id: str) -> Alert | None:
        wanted = select(alerts).where(of_tenant(alerts, tenant), alerts.c.id == alert_id)
        with self._control.reading() as connection:
            row = connection.execute(wanted).mappings().one_or_none()
        return None if row is None else _alert_of(row)

    def list_alerts(self, tenant: Tenant, page: Page, *, meter_id: str | None = None) -> Listed[Alert]:
        filters = [alerts.c.status != AlertStatus.ARCHIVED.value]
        if meter_id is not None:
            filters.append(alerts.c.meter_id == meter_id)
        with self._control.reading() as connection:
            found, has_more = page_rows(connection, alerts, tenant, page, *filters)
        return Listed(tuple(_alert_of(row) for row in found), has_more)

    def revision(self) -> int:
        with self._control.reading() as connection:
            return connection.execute(select(func.max(alerts.c.revision))).scalar_one() or 0

    def changed_after(self, revision: int) -> Sequence[Alert]:
        with self._control.reading() as connection:
            found = connection.execute(select(alerts).where(alerts.c.revision > revision)).mappings().all()
        return [_alert_of(row) for row in found]

    def looked_at(self, alert_ids: Collection[str]) -> None:
        with self._control.writing() as connection:
            for part in _parts(list(alert_ids)):
                connection.execute(update(alerts).where(alerts.c.id.in_(part)).values(is_due=False))

    def fired(self, keys: Collection[FiringKey]) -> frozenset[FiringKey]:
        columns = alert_firings.c
        key = (columns.alert_id, columns.customer_id, columns.step)
        found: set[FiringKey] = set()
        with self._control.reading() as connection:
            for part in _parts([(each.alert_id, each.customer_id, each.step) for each in keys]):
                rows = connection.execute(select(*key).where(tuple_(*key).in_(part)))
                found.update(FiringKey(*row) for row in rows)
        return frozenset(found)

    def highest_steps(self, pairs: Collection[tuple[str, str]]) -> Mapping[tuple[str, str], int]:
        columns = alert_firings.c
        pair = (columns.alert_id, columns.customer_id)
        found: dict[tuple[str, str], int] = {}
        with self._control.reading() as connection:
            for part in _parts(list(pairs)):
                highest = select(*pair, func.max(columns.step)).where(tuple_(*pair).in_(part)).group_by(*pair)
                found |= {(alert_id, customer): step for alert_id, customer, step in connection.execute(highest)}
        return found

    def add_firings(self, firings: Sequence[Firing]) -> None:
        if not firings:
            return
        with self._control.writing() as connection:
            connection.execute(insert(alert_firings), [_firing_row(each) for each in firings])


# Writers exclude each other, so no two find the same.
_NEXT_REVISION = select(func.coalesce(func.max(alerts.c.revision), 0) + 1).scalar_subquery()


def _parts(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), _ASKED_MAX):
        yield items[start : start + _ASKED_MAX]


def _alert_of(row: RowMapping) -> Alert:
    return Alert(
        id=row["id"],
        tenant=Tenant(row["account_id"], row["livemode"]),
        title=row["title"],
        threshold=UsageThreshold(
            meter_id=row["meter_id"],
            gte=row["gte"],
            recurrence=Recurrence(row["recurrence"]),
            customer_id=row["customer_id"],
        ),
        created_ms=row["created_ms"],
        since_offset=row["since_offset"],
        status=AlertStatus(row["status"]),
        is_due=row["is_due"],
    )


def _alert_row(alert: Alert) -> dict[str, Any]:
    return {
        "id": alert.id,
        **tenant_columns(alert.tenant),
        "title": alert.title,
        "meter_id": alert.threshold.meter_id,
        "gte": alert.threshold.gte,
        "recurrence": alert.threshold.recurrence.value,
        "customer_id": alert.threshold.customer_id,
        "status": alert.status.value,
        "created_ms": alert.created_ms,
        "since_offset": alert.since_offset,
        "is_due": alert.is_due,
    }


def _firing_row(firing: Firing) -> dict[str, Any]:
    return {
        "alert_id": firing.alert.id,
        "customer_id": firing.customer_id,
        "step": firing.step,
        "fired_ms": firing.fired_ms,
        "total": str(firing.total),
    }
