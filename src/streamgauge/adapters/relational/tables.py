"""The tables of the control plane. Portable types only; times are milliseconds since the epoch, UTC.

What stands here is what the migrations lead to; a test compares the two.
"""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    UniqueConstraint,
)

# Explicit names, because a later migration can only drop a constraint that it can name on every database.
metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

accounts = Table(
    "accounts",
    metadata,
    Column("id", String, primary_key=True),
    Column("name", String, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
)

secret_keys = Table(
    "secret_keys",
    metadata,
    Column("id", String, primary_key=True),
    Column("account_id", String, ForeignKey("accounts.id"), nullable=False, index=True),
    Column("livemode", Boolean, nullable=False),
    Column("secret_hash", String, nullable=False),
    Column("hint", String, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("revoked_ms", BigInteger),
    # Resource to access; NULL: everything.
    Column("permissions", JSON(none_as_null=True)),
    UniqueConstraint("secret_hash"),
)

meter_event_sessions = Table(
    "meter_event_sessions",
    metadata,
    Column("id", String, primary_key=True),
    Column("account_id", String, ForeignKey("accounts.id"), nullable=False),
    Column("livemode", Boolean, nullable=False),
    Column("key_id", String, ForeignKey("secret_keys.id"), nullable=False),
    Column("token_hash", String, nullable=False),
    # NULL: a session from before there was one, whose token cannot be made again.
    Column("nonce", String),
    Column("created_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger, nullable=False, index=True),
    UniqueConstraint("token_hash"),
)

meters = Table(
    "meters",
    metadata,
    Column("id", String, primary_key=True),
    Column("account_id", String, ForeignKey("accounts.id"), nullable=False),
    Column("livemode", Boolean, nullable=False),
    Column("display_name", String, nullable=False),
    Column("event_name", String, nullable=False),
    Column("formula", String, nullable=False),
    Column("event_time_window", String),
    Column("customer_key", String, nullable=False),
    Column("value_key", String, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    Index(None, "account_id", "livemode", "created_ms", "id"),
    Index(None, "account_id", "livemode", "event_name"),
)

# A table of its own rather than JSON in `meters`: whether a meter is active is asked by lists.
meter_active_spans = Table(
    "meter_active_spans",
    metadata,
    Column("meter_id", String, ForeignKey("meters.id"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("start_ms", BigInteger, nullable=False),
    Column("end_ms", BigInteger),
    PrimaryKeyConstraint("meter_id", "position"),
)

# The key begins with the tenant, because a customer's id is what events carry: one tenant's must not block another's.
customers = Table(
    "customers",
    metadata,
    Column("account_id", String, nullable=False),
    Column("livemode", Boolean, nullable=False),
    Column("id", String, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("deleted_ms", BigInteger),
    # A copy of attributes["email"], which lists filter by and JSON has no portable index for.
    Column("email", String),
    Column("attributes", JSON, nullable=False),
    Column("metadata", JSON, nullable=False),
    PrimaryKeyConstraint("account_id", "livemode", "id"),
    ForeignKeyConstraint(["account_id"], ["accounts.id"]),
    Index(None, "account_id", "livemode", "created_ms", "id"),
    Index(None, "account_id", "livemode", "email"),
)

# What fates depend on besides log and catalogue, from when on; the first row holds from the beginning.
counting_rules = Table(
    "counting_rules",
    metadata,
    Column("valid_from_ms", BigInteger, nullable=False),
    Column("accept_unknown_customers", Boolean, nullable=False),
    Column("dedup_window_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("valid_from_ms"),
)

# Answers to requests with an Idempotency-Key: written in the transaction of the effect that they tell of.
kept_answers = Table(
    "kept_answers",
    metadata,
    Column("account_id", String, nullable=False),
    Column("livemode", Boolean, nullable=False),
    Column("digest", String, nullable=False),
    Column("fingerprint", String, nullable=False),
    Column("status", Integer, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("created_ms", BigInteger, nullable=False, index=True),
    PrimaryKeyConstraint("account_id", "livemode", "digest"),
    ForeignKeyConstraint(["account_id"], ["accounts.id"]),
)
