"""Answers to requests with an Idempotency-Key, what makes a session's token again, what restricted keys may do."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("secret_keys", sa.Column("permissions", sa.JSON))
    op.add_column("meter_event_sessions", sa.Column("nonce", sa.String))
    op.create_table(
        "kept_answers",
        sa.Column("account_id", sa.String, nullable=False),
        sa.Column("livemode", sa.Boolean, nullable=False),
        sa.Column("digest", sa.String, nullable=False),
        sa.Column("fingerprint", sa.String, nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("account_id", "livemode", "digest", name="pk_kept_answers"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_kept_answers_account_id_accounts"),
    )
    op.create_index("ix_kept_answers_created_ms", "kept_answers", ["created_ms"])


def downgrade() -> None:
    op.drop_table("kept_answers")
    op.drop_column("meter_event_sessions", "nonce")
    op.drop_column("secret_keys", "permissions")
