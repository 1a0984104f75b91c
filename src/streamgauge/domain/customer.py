"""Customers: whom usage is counted for."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from streamgauge.domain.account import Tenant
from streamgauge.domain.span import Span


@dataclass(frozen=True, slots=True, kw_only=True)
class Customer:
    """One customer. Usage received within `validity` counts; deleting ends it and keeps the row.

    `attributes` are what the caller stores about them (name, email...), as the v1 API shows them; None is left out.
    """

    id: str
    tenant: Tenant
    created_ms: int
    deleted_ms: int | None = None
    attributes: Mapping[str, object] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def validity(self) -> Span:
        return Span(self.created_ms, self.deleted_ms)
