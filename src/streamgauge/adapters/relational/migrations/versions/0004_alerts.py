"""Billing alerts, and what they told."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "alerts",
        sa.Column("id", sa.String, nullable=False),
        sa.Column("account_id", sa.String, nullable=False),
        sa.Column("livemode", sa.Boolean, nullable=False),
        sa.Column("title", sa.String, nullable=False),
        sa.Column("meter_id", sa.String, nullable=False),
        sa.Column("gte", sa.BigInteger, nullable=False),
        sa.Column("recurrence", sa.String, nullable=False),
        sa.Column("customer_id", sa.String),
        sa.Column("status", sa.String, nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("since_offset", sa.BigInteger, nullable=False),
        sa.Column("is_due", sa.Boolean, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_alerts"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_alerts_account_id_accounts"),
        sa.ForeignKeyConstraint(["meter_id"], ["meters.id"], name="fk_alerts_meter_id_meters"),
    )
    op.create_index("ix_alerts_revision", "alerts", ["revision"])
    op.create_index(
        "ix_alerts_account_id_livemode_created_ms_id", "alerts", ["account_id", "livemode", "created_ms", "id"]
    )
    op.create_table(
        "alert_firings",
        sa.Column("alert_id", sa.String, nullable=False),
        sa.Column("customer_id", sa.String, nullable=False),
        sa.Column("step", sa.BigInteger, nullable=False),
        sa.Column("fired_ms", sa.BigInteger, nullable=False),
        sa.Column("total", sa.String, nullable=False),
        sa.PrimaryKeyConstraint("alert_id", "customer_id", "step", name="pk_alert_firings"),
        sa.ForeignKeyConstraint(["alert_id"], ["alerts.id"], name="fk_alert_firings_alert_id_alerts"),
    )


def downgrade() -> None:
    op.drop_table("alert_firings")
    op.drop_table("alerts")
