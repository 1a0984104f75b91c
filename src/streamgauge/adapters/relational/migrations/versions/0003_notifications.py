"""Notifications, event destinations, deliveries and their attempts, marks of background readers."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "notifications",
        sa.Column("id", sa.String, nullable=False),
        sa.Column("account_id", sa.String, nullable=False),
        sa.Column("livemode", sa.Boolean, nullable=False),
        sa.Column("style", sa.String, nullable=False),
        sa.Column("type", sa.String, nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("object_id", sa.String),
        sa.Column("object_type", sa.String),
        sa.Column("object_url", sa.String),
        sa.Column("data", sa.JSON, nullable=False),
        sa.Column("previous_attributes", sa.JSON),
        sa.Column("snapshot_id", sa.String),
        sa.Column("request_id", sa.String),
        sa.PrimaryKeyConstraint("id", name="pk_notifications"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_notifications_account_id_accounts"),
    )
    op.create_index("ix_notifications_created_ms", "notifications", ["created_ms"])
    op.create_index(
        "ix_notifications_account_id_livemode_style_created_ms_id",
        "notifications",
        ["account_id", "livemode", "style", "created_ms", "id"],
    )
    op.create_index(
        "ix_notifications_account_id_livemode_object_id_created_ms",
        "notifications",
        ["account_id", "livemode", "object_id", "created_ms"],
    )
    op.create_table(
        "event_destinations",
        sa.Column("id", sa.String, nullable=False),
        sa.Column("account_id", sa.String, nullable=False),
        sa.Column("livemode", sa.Boolean, nullable=False),
        sa.Column("made_by", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("description", sa.String, nullable=False),
        sa.Column("url", sa.String, nullable=False),
        sa.Column("style", sa.String, nullable=False),
        sa.Column("enabled_events", sa.JSON, nullable=False),
        sa.Column("metadata", sa.JSON, nullable=False),
        sa.Column("api_version", sa.String),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("updated_ms", sa.BigInteger, nullable=False),
        sa.Column("disabled_reason", sa.String),
        sa.Column("secret_version", sa.Integer, nullable=False),
        sa.Column("previous_secret_expires_ms", sa.BigInteger),
        sa.Column("failing_since_ms", sa.BigInteger),
        sa.Column("deleted_ms", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name="pk_event_destinations"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_event_destinations_account_id_accounts"),
    )
    op.create_index(
        "ix_event_destinations_account_id_livemode_created_ms_id",
        "event_destinations",
        ["account_id", "livemode", "created_ms", "id"],
    )
    op.create_table(
        "deliveries",
        sa.Column("id", sa.String, nullable=False),
        sa.Column("account_id", sa.String, nullable=False),
        sa.Column("livemode", sa.Boolean, nullable=False),
        sa.Column("notification_id", sa.String, nullable=False),
        sa.Column("destination_id", sa.String, nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("begun_ms", sa.BigInteger, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("last_attempt_ms", sa.BigInteger),
        sa.Column("next_at_ms", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name="pk_deliveries"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_deliveries_account_id_accounts"),
        sa.ForeignKeyConstraint(
            ["notification_id"], ["notifications.id"], name="fk_deliveries_notification_id_notifications"
        ),
        sa.ForeignKeyConstraint(
            ["destination_id"], ["event_destinations.id"], name="fk_deliveries_destination_id_event_destinations"
        ),
    )
    op.create_index("ix_deliveries_notification_id", "deliveries", ["notification_id"])
    op.create_index("ix_deliveries_begun_ms", "deliveries", ["begun_ms"])
    op.create_index("ix_deliveries_destination_id_next_at_ms", "deliveries", ["destination_id", "next_at_ms"])
    op.create_index(
        "ix_deliveries_account_id_livemode_created_ms_id", "deliveries", ["account_id", "livemode", "created_ms", "id"]
    )
    op.create_table(
        "delivery_attempts",
        sa.Column("delivery_id", sa.String, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("status", sa.Integer),
        sa.Column("error", sa.String),
        sa.Column("duration_ms", sa.BigInteger, nullable=False),
        sa.Column("response_excerpt", sa.String),
        sa.PrimaryKeyConstraint("delivery_id", "position", name="pk_delivery_attempts"),
        sa.ForeignKeyConstraint(["delivery_id"], ["deliveries.id"], name="fk_delivery_attempts_delivery_id_deliveries"),
    )
    op.create_table(
        "marks",
        sa.Column("name", sa.String, nullable=False),
        sa.Column("value", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_marks"),
    )


def downgrade() -> None:
    for table in ("marks", "delivery_attempts", "deliveries", "event_destinations", "notifications"):
        op.drop_table(table)
