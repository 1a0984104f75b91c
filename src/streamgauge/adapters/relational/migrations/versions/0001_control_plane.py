"""Accounts, keys, sessions, meters, customers."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "accounts",
        sa.Column("id", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_accounts"),
    )
    op.create_table(
        "secret_keys",
        sa.Column("id", sa.String, nullable=False),
        sa.Column("account_id", sa.String, nullable=False),
        sa.Column("livemode", sa.Boolean, nullable=False),
        sa.Column("secret_hash", sa.String, nullable=False),
        sa.Column("hint", sa.String, nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("revoked_ms", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name="pk_secret_keys"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_secret_keys_account_id_accounts"),
        sa.UniqueConstraint("secret_hash", name="uq_secret_keys_secret_hash"),
    )
    op.create_index("ix_secret_keys_account_id", "secret_keys", ["account_id"])
    op.create_table(
        "meter_event_sessions",
        sa.Column("id", sa.String, nullable=False),
        sa.Column("account_id", sa.String, nullable=False),
        sa.Column("livemode", sa.Boolean, nullable=False),
        sa.Column("key_id", sa.String, nullable=False),
        sa.Column("token_hash", sa.String, nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("expires_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_meter_event_sessions"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_meter_event_sessions_account_id_accounts"),
        sa.ForeignKeyConstraint(["key_id"], ["secret_keys.id"], name="fk_meter_event_sessions_key_id_secret_keys"),
        sa.UniqueConstraint("token_hash", name="uq_meter_event_sessions_token_hash"),
    )
    op.create_index("ix_meter_event_sessions_expires_ms", "meter_event_sessions", ["expires_ms"])
    op.create_table(
        "meters",
        sa.Column("id", sa.String, nullable=False),
        sa.Column("account_id", sa.String, nullable=False),
        sa.Column("livemode", sa.Boolean, nullable=False),
        sa.Column("display_name", sa.String, nullable=False),
        sa.Column("event_name", sa.String, nullable=False),
        sa.Column("formula", sa.String, nullable=False),
        sa.Column("event_time_window", sa.String),
        sa.Column("customer_key", sa.String, nullable=False),
        sa.Column("value_key", sa.String, nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("updated_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_meters"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_meters_account_id_accounts"),
    )
    op.create_index(
        "ix_meters_account_id_livemode_created_ms_id", "meters", ["account_id", "livemode", "created_ms", "id"]
    )
    op.create_index("ix_meters_account_id_livemode_event_name", "meters", ["account_id", "livemode", "event_name"])
    op.create_table(
        "meter_active_spans",
        sa.Column("meter_id", sa.String, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("start_ms", sa.BigInteger, nullable=False),
        sa.Column("end_ms", sa.BigInteger),
        sa.PrimaryKeyConstraint("meter_id", "position", name="pk_meter_active_spans"),
        sa.ForeignKeyConstraint(["meter_id"], ["meters.id"], name="fk_meter_active_spans_meter_id_meters"),
    )
    op.create_table(
        "customers",
        sa.Column("account_id", sa.String, nullable=False),
        sa.Column("livemode", sa.Boolean, nullable=False),
        sa.Column("id", sa.String, nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("deleted_ms", sa.BigInteger),
        sa.Column("email", sa.String),
        sa.Column("attributes", sa.JSON, nullable=False),
        sa.Column("metadata", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("account_id", "livemode", "id", name="pk_customers"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_customers_account_id_accounts"),
    )
    op.create_index(
        "ix_customers_account_id_livemode_created_ms_id", "customers", ["account_id", "livemode", "created_ms", "id"]
    )
    op.create_index("ix_customers_account_id_livemode_email", "customers", ["account_id", "livemode", "email"])


def downgrade() -> None:
    for table in ("customers", "meter_active_spans", "meters", "meter_event_sessions", "secret_keys", "accounts"):
        op.drop_table(table)
