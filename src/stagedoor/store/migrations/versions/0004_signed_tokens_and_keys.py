"""Signed tokens and their keys; applications and their tokens; groups of streams; secrets that are rotated."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_big_id = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _sorted(length: int) -> sa.String:
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def upgrade() -> None:
    """Add the columns and tables."""
    op.add_column("token", sa.Column("parent_id", sa.BigInteger))
    op.add_column("token", sa.Column("key_id", sa.BigInteger))
    op.create_index("ix_token_of_parent", "token", ["parent_id"])
    op.add_column("session", sa.Column("shown", sa.Boolean, nullable=False, server_default=sa.true()))
    _tokens()
    _keys()


def _tokens() -> None:
    op.create_table(
        "former_secret",
        sa.Column("id", _big_id, primary_key=True),
        sa.Column("digest", sa.LargeBinary, nullable=False, unique=True),
        sa.Column("token_id", sa.BigInteger, sa.ForeignKey("token.id"), nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.Column("replaced_at", sa.BigInteger, nullable=False),
        sa.Column("until", sa.BigInteger, nullable=False),
        sa.Column("uses", sa.BigInteger, nullable=False),
        sa.Column("last_used_at", sa.Double),
    )
    op.create_index("ix_former_secret_of_token", "former_secret", ["token_id"])
    op.create_table(
        "child_revocation",
        sa.Column("token_id", sa.BigInteger, sa.ForeignKey("token.id"), primary_key=True, autoincrement=False),
        sa.Column("child", sa.String(160), primary_key=True),
        sa.Column("at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "stream_group",
        sa.Column("account_id", sa.String(64), sa.ForeignKey("account.id"), primary_key=True),
        sa.Column("id", _sorted(64), primary_key=True),
        sa.Column("label", sa.String(128), nullable=False),
        sa.Column("added_on", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "stream_group_stream",
        sa.Column("account_id", sa.String(64), primary_key=True),
        sa.Column("group_id", sa.String(64), primary_key=True),
        sa.Column("stream", _sorted(128), primary_key=True),
    )


def _keys() -> None:
    op.create_table(
        "signing_key",
        sa.Column("id", _big_id, primary_key=True),
        sa.Column("kid", sa.String(64), nullable=False, unique=True),
        sa.Column("algorithm", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.Column("public_jwk", sa.Text, nullable=False),
        sa.Column("added_on", sa.BigInteger, nullable=False),
        sa.Column("changed_on", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "application",
        sa.Column("id", _big_id, primary_key=True),
        sa.Column("account_id", sa.String(64), sa.ForeignKey("account.id"), nullable=False),
        sa.Column("label", sa.String(128), nullable=False),
        sa.Column("key", sa.String(64), nullable=False, unique=True),
        sa.Column("scopes", sa.Text, nullable=False),
        sa.Column("added_on", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_application_of_account", "application", ["account_id", "id"])
    op.create_table(
        "application_secret",
        sa.Column("id", _big_id, primary_key=True),
        sa.Column("application_id", sa.BigInteger, sa.ForeignKey("application.id"), nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False, unique=True),
        sa.Column("hint", sa.String(16), nullable=False),
        sa.Column("added_on", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_application_secret_of_application", "application_secret", ["application_id"])
    op.create_table(
        "api_token",
        sa.Column("digest", sa.LargeBinary, primary_key=True),
        sa.Column("jti", sa.String(64), nullable=False, unique=True),
        sa.Column("account_id", sa.String(64), nullable=False),
        sa.Column("application_id", sa.BigInteger, nullable=False),
        sa.Column("key_id", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("scopes", sa.Text, nullable=False),
        sa.Column("external_id", sa.String(128), nullable=False),
        sa.Column("issued_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("revoked_at", sa.BigInteger),
    )
    op.create_index("ix_api_token_expiry", "api_token", ["expires_at"])
    op.create_index("ix_api_token_of_application", "api_token", ["application_id"])
    op.create_table(
        "verifier",
        sa.Column("id", _big_id, primary_key=True),
        sa.Column("account_id", sa.String(64), sa.ForeignKey("account.id"), nullable=False),
        sa.Column("name", _sorted(64), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("key_name", sa.String(128), nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.Column("settings", sa.Text, nullable=False),
        sa.Column("added_on", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_verifier_by_name", "verifier", ["account_id", "name"], unique=True)
