"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def _sorted(length: int) -> sa.String:
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


_big_id = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make the tables, and the one row of `revision`."""
    numbers = op.create_table(
        "revision",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("n", sa.BigInteger, nullable=False),
    )
    op.bulk_insert(numbers, [{"id": 1, "n": 0}])
    op.create_table(
        "change",
        sa.Column("revision", sa.BigInteger, primary_key=True),
        sa.Column("part", sa.Integer, primary_key=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("account_id", sa.String(64), nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "account",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("enabled", sa.Boolean, nullable=False),
        sa.Column("added_on", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "user_account",
        sa.Column("id", _big_id, primary_key=True),
        sa.Column("account_id", sa.String(64), sa.ForeignKey("account.id"), nullable=False),
        sa.Column("email", sa.String(256), nullable=False, unique=True),
        sa.Column("password_hash", sa.String(256), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("added_on", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "api_secret",
        sa.Column("id", _big_id, primary_key=True),
        sa.Column("account_id", sa.String(64), sa.ForeignKey("account.id"), nullable=False),
        sa.Column("label", sa.String(128), nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False, unique=True),
        sa.Column("added_on", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "engine",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("name", _sorted(64), nullable=False, unique=True),
        sa.Column("account_id", sa.String(64), nullable=False),
        sa.Column("secret_digest", sa.LargeBinary, nullable=False, unique=True),
        sa.Column("added_on", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "token",
        sa.Column("id", _big_id, primary_key=True),
        sa.Column("account_id", sa.String(64), sa.ForeignKey("account.id"), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("label", _sorted(128), nullable=False),
        sa.Column("terms", sa.Text, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False, unique=True),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.Column("added_on", sa.BigInteger, nullable=False),
        sa.Column("revoked_at", sa.BigInteger),
    )
    op.create_index("ix_token_by_label", "token", ["account_id", "kind", "label", "id"])
    op.create_index("ix_token_by_added_on", "token", ["account_id", "kind", "added_on", "id"])
    op.create_table(
        "publisher_stream",
        sa.Column("account_id", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(128), primary_key=True),
        sa.Column("token_id", _big_id, sa.ForeignKey("token.id"), primary_key=True),
    )
    op.create_index("ix_publisher_stream_token", "publisher_stream", ["token_id"])
