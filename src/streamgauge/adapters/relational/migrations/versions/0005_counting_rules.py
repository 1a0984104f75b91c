"""The settings that decide fates, each with the stamp of the log from which it holds."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "counting_rules",
        sa.Column("valid_from_ms", sa.BigInteger, nullable=False),
        sa.Column("accept_unknown_customers", sa.Boolean, nullable=False),
        sa.Column("dedup_window_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("valid_from_ms", name="pk_counting_rules"),
    )


def downgrade() -> None:
    op.drop_table("counting_rules")
