"""The tables of billing alerts and of what they told."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    PrimaryKeyConstraint,
    String,
    Table,
)

from streamgauge.adapters.relational.tables import metadata

alerts = Table(
    "alerts",
    metadata,
    Column("id", String, primary_key=True),
    Column("account_id", String, ForeignKey("accounts.id"), nullable=False),
    Column("livemode", Boolean, nullable=False),
    Column("title", String, nullable=False),
    Column("meter_id", String, ForeignKey("meters.id"), nullable=False),
    Column("gte", BigInteger, nullable=False),
    Column("recurrence", String, nullable=False),
    # NULL: whichever customer.
    Column("customer_id", String),
    Column("status", String, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("since_offset", BigInteger, nullable=False),
    Column("is_due", Boolean, nullable=False),
    # Of all alerts the highest is the newest change, so that a reader learns what changed by asking for what is higher.
    Column("revision", BigInteger, nullable=False, index=True),
    Index(None, "account_id", "livemode", "created_ms", "id"),
)

# What was told, once: the key is what keeps it from being told again.
alert_firings = Table(
    "alert_firings",
    metadata,
    Column("alert_id", String, ForeignKey("alerts.id"), nullable=False),
    Column("customer_id", String, nullable=False),
    Column("step", BigInteger, nullable=False),
    Column("fired_ms", BigInteger, nullable=False),
    # Exact, as text: no portable type has as many digits.
    Column("total", String, nullable=False),
    PrimaryKeyConstraint("alert_id", "customer_id", "step"),
)
