"""The tables. Times are whole seconds since the epoch; digests are 32 bytes; `terms` is a `TokenTerms` as JSON.

`revision` holds one row: the number of the last write. `change` says what each write touched. `publisher_stream` finds the
publish tokens that may cover a stream: one row for each exact name, and one with an empty name for all the regular
expressions of a token.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)

_BigId = BigInteger().with_variant(Integer, "sqlite")
"""SQLite numbers rows by itself only in a column of type INTEGER."""

revision = Table(
    "revision",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("n", BigInteger, nullable=False),
)

change = Table(
    "change",
    metadata,
    Column("revision", BigInteger, primary_key=True),
    Column("part", Integer, primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("account_id", String(64), nullable=False),
    Column("digest", LargeBinary, nullable=False),
)

account = Table(
    "account",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("enabled", Boolean, nullable=False),
    Column("added_on", BigInteger, nullable=False),
)

user = Table(
    "user_account",
    metadata,
    Column("id", _BigId, primary_key=True),
    Column("account_id", String(64), ForeignKey("account.id"), nullable=False),
    Column("email", String(256), nullable=False, unique=True),
    Column("password_hash", String(256), nullable=False),
    Column("role", String(16), nullable=False),
    Column("added_on", BigInteger, nullable=False),
)

api_secret = Table(
    "api_secret",
    metadata,
    Column("id", _BigId, primary_key=True),
    Column("account_id", String(64), ForeignKey("account.id"), nullable=False),
    Column("label", String(128), nullable=False),
    Column("digest", LargeBinary, nullable=False, unique=True),
    Column("added_on", BigInteger, nullable=False),
)

engine = Table(
    "engine",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("kind", String(32), nullable=False),
    Column("name", String(64), nullable=False, unique=True),
    Column("account_id", String(64), nullable=False),
    Column("secret_digest", LargeBinary, nullable=False, unique=True),
    Column("added_on", BigInteger, nullable=False),
)

token = Table(
    "token",
    metadata,
    Column("id", _BigId, primary_key=True),
    Column("account_id", String(64), ForeignKey("account.id"), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("label", String(128), nullable=False),
    Column("terms", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False, unique=True),
    Column("sealed", LargeBinary, nullable=False),
    Column("added_on", BigInteger, nullable=False),
    Column("revoked_at", BigInteger),
    Index("ix_token_by_label", "account_id", "kind", "label", "id"),
    Index("ix_token_by_added_on", "account_id", "kind", "added_on", "id"),
)

publisher_stream = Table(
    "publisher_stream",
    metadata,
    Column("account_id", String(64), primary_key=True),
    Column("name", String(128), primary_key=True),
    Column("token_id", _BigId, ForeignKey("token.id"), primary_key=True),
    Index("ix_publisher_stream_token", "token_id"),
)
