"""Billing alerts, and what they told."""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from streamgauge.domain.account import Tenant
from streamgauge.domain.alert import Alert, Firing, FiringKey
from streamgauge.engine.ports.control_store import Listed, Page


class AlertStore(Protocol):
    """Part of the control store: every method takes part in its `transaction()`, and raises what that one does."""

    def add_alert(self, alert: Alert) -> None:
        """Raises StreamgaugeError when the id is taken, or the account does not exist."""

    def save_alert(self, alert: Alert) -> None:
        """Replace status, `since_offset` and `is_due`. Raises NotFound when there is no such alert."""

    def get_alert(self, tenant: Tenant, alert_id: str) -> Alert | None:
        """That alert, archived or not."""

    def list_alerts(self, tenant: Tenant, page: Page, *, meter_id: str | None = None) -> Listed[Alert]:
        """Without those that are archived. A cursor that names no alert raises UnknownCursor."""

    def revision(self) -> int:
        """Grows with every `add_alert` and `save_alert` of any tenant; 0 before the first."""

    def changed_after(self, revision: int) -> Sequence[Alert]:
        """Every alert of every tenant, whatever its status, that was added or saved after that revision."""

    def looked_at(self, alert_ids: Collection[str]) -> None:
        """They are no longer due. Their revision stays."""

    def fired(self, keys: Collection[FiringKey]) -> frozenset[FiringKey]:
        """Those of the keys that have fired."""

    def highest_steps(self, pairs: Collection[tuple[str, str]]) -> Mapping[tuple[str, str], int]:
        """For each (alert id, customer id) that has fired: the highest step."""

    def add_firings(self, firings: Sequence[Firing]) -> None:
        """Raises StreamgaugeError, and adds none, when one of them has fired before."""
