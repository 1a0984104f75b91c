"""The tables of notifications, of where they go, and of their deliveries; and the marks of background readers."""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    PrimaryKeyConstraint,
    String,
    Table,
)

from streamgauge.adapters.relational.tables import metadata

notifications = Table(
    "notifications",
    metadata,
    Column("id", String, primary_key=True),
    Column("account_id", String, ForeignKey("accounts.id"), nullable=False),
    Column("livemode", Boolean, nullable=False),
    # A copy of what the type says, which lists filter by.
    Column("style", String, nullable=False),
    Column("type", String, nullable=False),
    Column("created_ms", BigInteger, nullable=False, index=True),
    # All three, or none.
    Column("object_id", String),
    Column("object_type", String),
    Column("object_url", String),
    Column("data", JSON, nullable=False),
    Column("previous_attributes", JSON(none_as_null=True)),
    Column("snapshot_id", String),
    Column("request_id", String),
    Index(None, "account_id", "livemode", "style", "created_ms", "id"),
    Index(None, "account_id", "livemode", "object_id", "created_ms"),
)

event_destinations = Table(
    "event_destinations",
    metadata,
    Column("id", String, primary_key=True),
    Column("account_id", String, ForeignKey("accounts.id"), nullable=False),
    Column("livemode", Boolean, nullable=False),
    Column("made_by", String, nullable=False),
    Column("name", String, nullable=False),
    Column("description", String, nullable=False),
    Column("url", String, nullable=False),
    Column("style", String, nullable=False),
    Column("enabled_events", JSON, nullable=False),
    Column("metadata", JSON, nullable=False),
    Column("api_version", String),
    Column("created_ms", BigInteger, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    # NULL: enabled.
    Column("disabled_reason", String),
    Column("secret_version", Integer, nullable=False),
    Column("previous_secret_expires_ms", BigInteger),
    Column("failing_since_ms", BigInteger),
    # Rows stay, for the deliveries that name them.
    Column("deleted_ms", BigInteger),
    Index(None, "account_id", "livemode", "created_ms", "id"),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", String, primary_key=True),
    Column("account_id", String, ForeignKey("accounts.id"), nullable=False),
    Column("livemode", Boolean, nullable=False),
    Column("notification_id", String, ForeignKey("notifications.id"), nullable=False, index=True),
    Column("destination_id", String, ForeignKey("event_destinations.id"), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("begun_ms", BigInteger, nullable=False, index=True),
    Column("state", String, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("last_attempt_ms", BigInteger),
    # NULL unless pending, so what is due is found by this alone.
    Column("next_at_ms", BigInteger),
    Index(None, "destination_id", "next_at_ms"),
    Index(None, "account_id", "livemode", "created_ms", "id"),
)

delivery_attempts = Table(
    "delivery_attempts",
    metadata,
    Column("delivery_id", String, ForeignKey("deliveries.id"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("status", Integer),
    Column("error", String),
    Column("duration_ms", BigInteger, nullable=False),
    Column("response_excerpt", String),
    PrimaryKeyConstraint("delivery_id", "position"),
)

marks = Table(
    "marks",
    metadata,
    Column("name", String, primary_key=True),
    Column("value", BigInteger, nullable=False),
)
