"""Clusters; what lists are searched and paged by; webhooks, and what they are told."""

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_big_id = sa.BigInteger().with_variant(sa.Integer, "sqlite")

_SOME = sa.text("SELECT id, terms, revoked_at FROM token WHERE id > :last ORDER BY id LIMIT 1000")
_SET = sa.text("UPDATE token SET expires_at = :expires_at, cluster_id = :cluster WHERE id = :id")
_NAME = sa.text("INSERT INTO token_stream (token_id, name) VALUES (:id, :name)")

_PADDED = f"substr('{'0' * 20}' || CAST(added_on AS VARCHAR), length(CAST(added_on AS VARCHAR)) + 1)"
_SHELVES = """
INSERT INTO token_shelf (account_id, kind, sort, first_key, first_id, tokens)
SELECT account_id, kind, '{sort}', CASE n WHEN 0 THEN '{lowest}' ELSE {key} END, CASE n WHEN 0 THEN 0 ELSE id END,
    CASE WHEN many - n < 1000 THEN many - n ELSE 1000 END
FROM (
    SELECT account_id, kind, label, added_on, id, count(*) OVER (PARTITION BY account_id, kind) AS many,
        row_number() OVER (PARTITION BY account_id, kind ORDER BY {column}, id) - 1 AS n
    FROM token WHERE revoked_at IS NULL
) AS standing
WHERE n % 1000 = 0
"""
"""Every thousand tokens are a shelf; the lowest one begins before them all."""


def _sorted(length: int) -> sa.String:
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def upgrade() -> None:
    """Add the columns and tables, and fill in what follows from what is there."""
    op.add_column("api_secret", sa.Column("hint", sa.String(16), nullable=False, server_default=""))
    op.add_column("engine", sa.Column("cluster_id", sa.String(64), nullable=False, server_default=""))
    op.add_column("engine", sa.Column("media_url", sa.String(512), nullable=False, server_default=""))
    op.create_table(
        "cluster",
        sa.Column("id", _sorted(64), primary_key=True),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("rtmp", sa.String(256), nullable=False),
        sa.Column("srt", sa.String(256), nullable=False),
        sa.Column("city", sa.String(128), nullable=False),
        sa.Column("region", sa.String(128), nullable=False),
        sa.Column("country", sa.String(2), nullable=False),
        sa.Column("latitude", sa.Double),
        sa.Column("longitude", sa.Double),
        sa.Column("transcoding", sa.Boolean, nullable=False),
        sa.Column("added_on", sa.BigInteger, nullable=False),
    )
    _tokens()
    _webhooks()


def _tokens() -> None:
    op.add_column("token", sa.Column("expires_at", sa.BigInteger))
    op.add_column("token", sa.Column("cluster_id", sa.String(64), nullable=False, server_default=""))
    op.create_table(
        "token_stream",
        sa.Column("token_id", _big_id, sa.ForeignKey("token.id"), primary_key=True),
        sa.Column("name", _sorted(128), primary_key=True),
    )
    _fill_in_terms()
    standing = sa.text("revoked_at IS NULL")
    for name, columns in (
        ("ix_token_by_label", ["account_id", "kind", "label", "id"]),
        ("ix_token_by_added_on", ["account_id", "kind", "added_on", "id"]),
    ):
        op.drop_index(name, "token")
        op.create_index(name, "token", columns, sqlite_where=standing, postgresql_where=standing)
    op.create_index(
        "ix_token_by_expiry", "token", ["expires_at", "id"], sqlite_where=standing, postgresql_where=standing
    )
    op.create_table(
        "token_shelf",
        sa.Column("account_id", sa.String(64), primary_key=True),
        sa.Column("kind", sa.String(16), primary_key=True),
        sa.Column("sort", sa.String(16), primary_key=True),
        sa.Column("first_key", _sorted(128), primary_key=True),
        sa.Column("first_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("tokens", sa.BigInteger, nullable=False),
    )
    op.execute(_SHELVES.format(sort="Name", column="label", lowest="", key="label"))
    op.execute(_SHELVES.format(sort="AddedOn", column="added_on", lowest="0" * 20, key=_PADDED))
    op.create_table(
        "idempotency",
        sa.Column("account_id", sa.String(64), primary_key=True),
        sa.Column("key", sa.String(255), primary_key=True),
        sa.Column("fingerprint", sa.LargeBinary, nullable=False),
        sa.Column("token_id", sa.BigInteger, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_idempotency_at", "idempotency", ["at"])


def _fill_in_terms() -> None:
    """Take out of the terms of the tokens that are there what lists are searched by."""
    connection = op.get_bind()
    last = 0
    while rows := connection.execute(_SOME, {"last": last}).all():
        columns, names = [], []
        for token_id, written, revoked_at in rows:
            terms = json.loads(written)
            expires_at, cluster = terms.get("expires_at"), (terms.get("origin_cluster") or "")[:64]
            if expires_at is not None or cluster:
                columns.append({"id": token_id, "expires_at": expires_at, "cluster": cluster})
            if revoked_at is None:
                names += [{"id": token_id, "name": name} for name in _names(terms.get("streams") or [])]
        if columns:
            connection.execute(_SET, columns)
        if names:
            connection.execute(_NAME, names)
        last = rows[-1][0]


def _names(streams: list[dict[str, Any]]) -> list[str]:
    names = list(dict.fromkeys(stream["text"] for stream in streams))
    every = len(streams) == 1 and streams[0].get("is_regex") and names[0] in {".*", ".+"}
    return [] if every else names


def _webhooks() -> None:
    op.create_table(
        "webhook",
        sa.Column("id", _big_id, primary_key=True),
        sa.Column("account_id", sa.String(64), sa.ForeignKey("account.id"), nullable=False),
        sa.Column("terms", sa.Text, nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.Column("failures", sa.Integer, nullable=False, server_default="0"),
        sa.Column("failing_since", sa.Double),
        sa.Column("disabled_until", sa.Double),
        sa.Column("disabled_reason", sa.String(128), nullable=False, server_default=""),
        sa.Column("added_on", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_webhook_of_account", "webhook", ["account_id", "id"])
    op.create_table(
        "event",
        sa.Column("id", _big_id, primary_key=True),
        sa.Column("account_id", sa.String(64), nullable=False),
        sa.Column("type", sa.String(64), nullable=False),
        sa.Column("stream", sa.String(128), nullable=False),
        sa.Column("data", sa.Text, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("dispatched", sa.Boolean, nullable=False),
    )
    op.create_index("ix_event_to_dispatch", "event", ["dispatched", "id"])
    op.create_index("ix_event_at", "event", ["at"])
    op.create_table(
        "delivery",
        sa.Column("id", _big_id, primary_key=True),
        sa.Column("account_id", sa.String(64), nullable=False),
        sa.Column("webhook_id", sa.BigInteger, nullable=False),
        sa.Column("message_id", sa.String(64), nullable=False),
        sa.Column("type", sa.String(64), nullable=False),
        sa.Column("headers", sa.Text, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("added_at", sa.Double, nullable=False),
        sa.Column("due_at", sa.Double, nullable=False),
        sa.Column("ended_at", sa.Double),
        sa.Column("last_status", sa.Integer),
        sa.Column("last_error", sa.String(256), nullable=False),
    )
    op.create_index("ix_delivery_due", "delivery", ["state", "webhook_id", "due_at"])
    op.create_index("ix_delivery_added", "delivery", ["state", "added_at"])
    op.create_index("ix_delivery_of_webhook", "delivery", ["webhook_id", "id"])
    op.create_index("ix_delivery_by_state", "delivery", ["webhook_id", "state", "id"])
    op.create_table(
        "watermark",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("at", sa.Double, nullable=False),
    )
    op.create_table(
        "audience",
        sa.Column("account_id", sa.String(64), primary_key=True),
        sa.Column("stream", sa.String(128), primary_key=True),
        sa.Column("present", sa.Boolean, nullable=False),
        sa.Column("attempted_at", sa.Double, nullable=False),
    )
