"""What accounts set; whose addresses to trust; sessions, and what tokens were used for."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_big_id = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Add the columns and tables."""
    op.execute("ALTER TABLE change RENAME COLUMN digest TO what")
    op.add_column("account", sa.Column("policy", sa.Text, nullable=False, server_default="{}"))
    op.add_column("engine", sa.Column("address_trust", sa.String(16), nullable=False, server_default="trusted"))
    op.add_column("engine", sa.Column("control_url", sa.String(512), nullable=False, server_default=""))
    op.create_table(
        "session",
        sa.Column("id", _big_id, primary_key=True),
        sa.Column("engine_id", sa.String(64), nullable=False),
        sa.Column("engine_session", sa.String(255), nullable=False),
        sa.Column("account_id", sa.String(64), nullable=False),
        sa.Column("token_id", sa.BigInteger, nullable=False),
        sa.Column("subject", sa.String(128), nullable=False),
        sa.Column("stream", sa.String(128), nullable=False),
        sa.Column("action", sa.String(16), nullable=False),
        sa.Column("protocol", sa.String(16), nullable=False),
        sa.Column("client_ip", sa.String(64), nullable=False),
        sa.Column("since", sa.Double, nullable=False),
        sa.Column("seen_at", sa.Double, nullable=False),
        sa.Column("end_at", sa.Double),
        sa.Column("ended_at", sa.Double),
        sa.Column("bytes", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_session_of_engine", "session", ["engine_id", "engine_session"])
    op.create_index("ix_session_of_token", "session", ["token_id", "ended_at"])
    op.create_index("ix_session_of_subject", "session", ["account_id", "subject", "ended_at"])
    op.create_index("ix_session_of_stream", "session", ["account_id", "stream", "action", "ended_at"])
    op.create_index("ix_session_ended", "session", ["ended_at"])
    op.create_table(
        "token_use",
        sa.Column("token_id", sa.BigInteger, sa.ForeignKey("token.id"), primary_key=True, autoincrement=False),
        sa.Column("starts", sa.BigInteger, nullable=False),
        sa.Column("watched_seconds", sa.Double, nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("last_ip", sa.String(64), nullable=False),
        sa.Column("last_at", sa.Double),
        sa.Column("rebinds", sa.Text, nullable=False),
    )
    op.create_table(
        "token_bound",
        sa.Column("token_id", sa.BigInteger, sa.ForeignKey("token.id"), primary_key=True, autoincrement=False),
        sa.Column("network", sa.String(64), primary_key=True),
        sa.Column("at", sa.Double, nullable=False),
    )
    op.create_table(
        "shadowed",
        sa.Column("account_id", sa.String(64), primary_key=True),
        sa.Column("token_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("reason", sa.String(32), primary_key=True),
        sa.Column("times", sa.BigInteger, nullable=False),
        sa.Column("last_at", sa.Double, nullable=False),
    )
