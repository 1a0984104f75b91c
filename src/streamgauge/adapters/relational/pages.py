"""Pages of a list: newest first, cut at a cursor."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, RowMapping, Table, and_, or_, select

from streamgauge.domain.account import Tenant
from streamgauge.domain.errors import UnknownCursor
from streamgauge.engine.ports.control_store import Page


def of_tenant(table: Table, tenant: Tenant) -> ColumnElement[bool]:
    return and_(table.c.account_id == tenant.account_id, table.c.livemode == tenant.livemode)


def page_rows(
    connection: Connection, table: Table, tenant: Tenant, page: Page, *filters: ColumnElement[bool]
) -> tuple[list[RowMapping], bool]:
    """The rows of one page, newest first, and whether more follow in the direction asked for.

    The cursor's object need not pass the filters: it may have changed since the page before was read.
    Raises UnknownCursor when the tenant has no object of the cursor's id.
    """
    wanted = select(table).where(of_tenant(table, tenant), *filters)
    newest_first = (table.c.created_ms.desc(), table.c.id.desc())
    if page.ending_before is None:
        if page.starting_after is not None:
            created_ms, last_id = _cursor(connection, table, tenant, page.starting_after, "starting_after")
            is_older = and_(table.c.created_ms == created_ms, table.c.id < last_id)
            wanted = wanted.where(or_(table.c.created_ms < created_ms, is_older))
        wanted = wanted.order_by(*newest_first).limit(page.limit + 1)
        return _cut(connection.execute(wanted).mappings().all(), page.limit)
    created_ms, first_id = _cursor(connection, table, tenant, page.ending_before, "ending_before")
    is_newer = and_(table.c.created_ms == created_ms, table.c.id > first_id)
    wanted = wanted.where(or_(table.c.created_ms > created_ms, is_newer))
    # The page wanted is the one next to the cursor, so it is read from there, oldest first, and turned round.
    wanted = wanted.order_by(table.c.created_ms, table.c.id).limit(page.limit + 1)
    rows, has_more = _cut(connection.execute(wanted).mappings().all(), page.limit)
    return rows[::-1], has_more


def _cut(rows: Sequence[RowMapping], limit: int) -> tuple[list[RowMapping], bool]:
    return list(rows[:limit]), len(rows) > limit


def _cursor(connection: Connection, table: Table, tenant: Tenant, object_id: str, param: str) -> tuple[int, str]:
    found = connection.execute(
        select(table.c.created_ms, table.c.id).where(of_tenant(table, tenant), table.c.id == object_id)
    ).one_or_none()
    if found is None:
        raise UnknownCursor(object_id, param=param)
    return found[0], found[1]
