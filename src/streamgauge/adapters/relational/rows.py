"""Rows of the tables to values of the domain, and back."""

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import RowMapping

from streamgauge.domain.account import Account, Tenant
from streamgauge.domain.credential import MeterEventSession, SecretKey
from streamgauge.domain.customer import Customer
from streamgauge.domain.meter import EventTimeWindow, Formula, Meter
from streamgauge.domain.permission import Access, Resource
from streamgauge.domain.span import Span
from streamgauge.engine.ports.control_store import KeptAnswer

Values = dict[str, Any]


def tenant_columns(tenant: Tenant) -> Values:
    return {"account_id": tenant.account_id, "livemode": tenant.livemode}


def account_of(row: RowMapping) -> Account:
    return Account(id=row["id"], name=row["name"], created_ms=row["created_ms"])


def account_row(account: Account) -> Values:
    return {"id": account.id, "name": account.name, "created_ms": account.created_ms}


def secret_key_of(row: RowMapping) -> SecretKey:
    permissions = row["permissions"]
    return SecretKey(
        id=row["id"],
        tenant=tenant_of(row),
        secret_hash=row["secret_hash"],
        hint=row["hint"],
        created_ms=row["created_ms"],
        revoked_ms=row["revoked_ms"],
        permissions=None
        if permissions is None
        else {Resource(resource): Access(access) for resource, access in permissions.items()},
    )


def secret_key_row(key: SecretKey) -> Values:
    return {
        "id": key.id,
        **tenant_columns(key.tenant),
        "secret_hash": key.secret_hash,
        "hint": key.hint,
        "created_ms": key.created_ms,
        "revoked_ms": key.revoked_ms,
        "permissions": None if key.permissions is None else dict(key.permissions),
    }


def session_of(row: RowMapping) -> MeterEventSession:
    return MeterEventSession(
        id=row["id"],
        tenant=tenant_of(row),
        key_id=row["key_id"],
        token_hash=row["token_hash"],
        nonce=row["nonce"] or "",
        created_ms=row["created_ms"],
        expires_ms=row["expires_ms"],
    )


def session_row(session: MeterEventSession) -> Values:
    return {
        "id": session.id,
        **tenant_columns(session.tenant),
        "key_id": session.key_id,
        "token_hash": session.token_hash,
        "nonce": session.nonce,
        "created_ms": session.created_ms,
        "expires_ms": session.expires_ms,
    }


def meter_of(row: RowMapping, spans: Iterable[Span]) -> Meter:
    """`spans` in order."""
    window = row["event_time_window"]
    return Meter(
        id=row["id"],
        tenant=tenant_of(row),
        display_name=row["display_name"],
        event_name=row["event_name"],
        formula=Formula(row["formula"]),
        event_time_window=None if window is None else EventTimeWindow(window),
        customer_key=row["customer_key"],
        value_key=row["value_key"],
        created_ms=row["created_ms"],
        updated_ms=row["updated_ms"],
        active_spans=tuple(spans),
    )


def meter_row(meter: Meter) -> Values:
    return {
        "id": meter.id,
        **tenant_columns(meter.tenant),
        "display_name": meter.display_name,
        "event_name": meter.event_name,
        "formula": meter.formula.value,
        "event_time_window": None if meter.event_time_window is None else meter.event_time_window.value,
        "customer_key": meter.customer_key,
        "value_key": meter.value_key,
        "created_ms": meter.created_ms,
        "updated_ms": meter.updated_ms,
    }


def span_rows(meter: Meter) -> list[Values]:
    return [
        {"meter_id": meter.id, "position": position, "start_ms": span.start_ms, "end_ms": span.end_ms}
        for position, span in enumerate(meter.active_spans)
    ]


def customer_of(row: RowMapping) -> Customer:
    """Attributes and metadata are empty when the row was read without them."""
    return Customer(
        id=row["id"],
        tenant=tenant_of(row),
        created_ms=row["created_ms"],
        deleted_ms=row["deleted_ms"],
        attributes=row.get("attributes", {}),
        metadata=row.get("metadata", {}),
    )


def customer_row(customer: Customer) -> Values:
    return {
        **tenant_columns(customer.tenant),
        "id": customer.id,
        "created_ms": customer.created_ms,
        "deleted_ms": customer.deleted_ms,
        "email": _email(customer.attributes),
        "attributes": dict(customer.attributes),
        "metadata": dict(customer.metadata),
    }


def kept_answer_of(row: RowMapping) -> KeptAnswer:
    return KeptAnswer(
        tenant=tenant_of(row),
        digest=row["digest"],
        fingerprint=row["fingerprint"],
        status=row["status"],
        body=row["body"],
        created_ms=row["created_ms"],
    )


def kept_answer_row(answer: KeptAnswer) -> Values:
    return {
        **tenant_columns(answer.tenant),
        "digest": answer.digest,
        "fingerprint": answer.fingerprint,
        "status": answer.status,
        "body": answer.body,
        "created_ms": answer.created_ms,
    }


def tenant_of(row: RowMapping) -> Tenant:
    return Tenant(row["account_id"], row["livemode"])


def _email(attributes: Mapping[str, object]) -> str | None:
    email = attributes.get("email")
    return email if isinstance(email, str) else None
