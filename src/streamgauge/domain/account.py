"""Accounts, and the pair of account and mode that everything belongs to."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Tenant:
    """One account in one mode. Keys, meters, events and totals of two tenants never meet."""

    account_id: str
    livemode: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Whoever meters usage here. Times are milliseconds since the epoch, UTC."""

    id: str
    name: str
    created_ms: int
