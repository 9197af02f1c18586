"""The tables. Times are seconds since the epoch; digests are 32 bytes.

`terms` is a `TokenTerms` as JSON and `policy` an `AccountPolicy`. `revision` holds one row: the number of the last write.
`change` says what each write touched. `session` is what was admitted (open while `ended_at` is null), `token_use` and
`token_bound` what a token was used for so far. `publisher_stream` finds the publish tokens that may cover a stream: one row
for each exact name, and one with an empty name for all the regular expressions of a token. `token_stream` holds the names of
all tokens as they were written, to search for. `token_shelf` counts tokens by ranges of their order, so that a page far down
a list is found without counting from the top. `event` is what happened and webhooks may want to hear of, `delivery` one
event on its way to one webhook; `watermark` says up to when something was looked through. `former_secret` is what a token's
value was before it was rotated, `child_revocation` which of a token's children are refused. `stream_group` names streams under
one id. `signing_key` are the keys that we sign with. `application` are those who get `api_token`s for a key and a secret.
`verifier` are engines that verify tokens themselves, with what we sign for them with.
"""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    text,
    true,
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


_STANDING: Any = {"sqlite_where": text("revoked_at IS NULL"), "postgresql_where": text("revoked_at IS NULL")}
"""An index of what is not revoked."""


def _sorted(length: int) -> String:
    """Return a text that every database sorts by code point, whatever the language of its cluster."""
    return String(length).with_variant(String(length, collation="C"), "postgresql")


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
    Column("what", LargeBinary, nullable=False),
)

account = Table(
    "account",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("enabled", Boolean, nullable=False),
    Column("added_on", BigInteger, nullable=False),
    Column("policy", Text, nullable=False, server_default="{}"),
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
    Column("hint", String(16), nullable=False, server_default=""),
)

engine = Table(
    "engine",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("kind", String(32), nullable=False),
    Column("name", _sorted(64), nullable=False, unique=True),
    Column("account_id", String(64), nullable=False),
    Column("secret_digest", LargeBinary, nullable=False, unique=True),
    Column("added_on", BigInteger, nullable=False),
    Column("address_trust", String(16), nullable=False, server_default="trusted"),
    Column("control_url", String(512), nullable=False, server_default=""),
    Column("cluster_id", String(64), nullable=False, server_default=""),
    Column("media_url", String(512), nullable=False, server_default=""),
)

cluster = Table(
    "cluster",
    metadata,
    Column("id", _sorted(64), primary_key=True),
    Column("name", String(128), nullable=False),
    Column("rtmp", String(256), nullable=False),
    Column("srt", String(256), nullable=False),
    Column("city", String(128), nullable=False),
    Column("region", String(128), nullable=False),
    Column("country", String(2), nullable=False),
    Column("latitude", Double),
    Column("longitude", Double),
    Column("transcoding", Boolean, nullable=False),
    Column("added_on", BigInteger, nullable=False),
)

token = Table(
    "token",
    metadata,
    Column("id", _BigId, primary_key=True),
    Column("account_id", String(64), ForeignKey("account.id"), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("label", _sorted(128), nullable=False),
    Column("terms", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False, unique=True),
    Column("sealed", LargeBinary, nullable=False),
    Column("added_on", BigInteger, nullable=False),
    Column("revoked_at", BigInteger),
    Column("expires_at", BigInteger),
    Column("cluster_id", String(64), nullable=False, server_default=""),
    Column("parent_id", BigInteger),
    Column("key_id", BigInteger),
    Index("ix_token_of_parent", "parent_id"),
    Index("ix_token_by_label", "account_id", "kind", "label", "id", **_STANDING),
    Index("ix_token_by_added_on", "account_id", "kind", "added_on", "id", **_STANDING),
    Index("ix_token_by_expiry", "expires_at", "id", **_STANDING),
)

token_stream = Table(
    "token_stream",
    metadata,
    Column("token_id", _BigId, ForeignKey("token.id"), primary_key=True),
    Column("name", _sorted(128), primary_key=True),
)

token_shelf = Table(
    "token_shelf",
    metadata,
    Column("account_id", String(64), primary_key=True),
    Column("kind", String(16), primary_key=True),
    Column("sort", String(16), primary_key=True),
    Column("first_key", _sorted(128), primary_key=True),
    Column("first_id", BigInteger, primary_key=True, autoincrement=False),
    Column("tokens", BigInteger, nullable=False),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("account_id", String(64), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("token_id", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
    Index("ix_idempotency_at", "at"),
)

publisher_stream = Table(
    "publisher_stream",
    metadata,
    Column("account_id", String(64), primary_key=True),
    Column("name", String(128), primary_key=True),
    Column("token_id", _BigId, ForeignKey("token.id"), primary_key=True),
    Index("ix_publisher_stream_token", "token_id"),
)

session = Table(
    "session",
    metadata,
    Column("id", _BigId, primary_key=True),
    Column("engine_id", String(64), nullable=False),
    Column("engine_session", String(255), nullable=False),
    Column("account_id", String(64), nullable=False),
    Column("token_id", BigInteger, nullable=False),
    Column("subject", String(128), nullable=False),
    Column("stream", String(128), nullable=False),
    Column("action", String(16), nullable=False),
    Column("protocol", String(16), nullable=False),
    Column("client_ip", String(64), nullable=False),
    Column("since", Double, nullable=False),
    Column("seen_at", Double, nullable=False),
    Column("end_at", Double),
    Column("ended_at", Double),
    Column("bytes", BigInteger, nullable=False),
    Column("shown", Boolean, nullable=False, server_default=true()),
    Index("ix_session_of_engine", "engine_id", "engine_session"),
    Index("ix_session_of_token", "token_id", "ended_at"),
    Index("ix_session_of_subject", "account_id", "subject", "ended_at"),
    Index("ix_session_of_stream", "account_id", "stream", "action", "ended_at"),
    Index("ix_session_ended", "ended_at"),
)

token_use = Table(
    "token_use",
    metadata,
    Column("token_id", BigInteger, ForeignKey("token.id"), primary_key=True, autoincrement=False),
    Column("starts", BigInteger, nullable=False),
    Column("watched_seconds", Double, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("last_ip", String(64), nullable=False),
    Column("last_at", Double),
    Column("rebinds", Text, nullable=False),
)

token_bound = Table(
    "token_bound",
    metadata,
    Column("token_id", BigInteger, ForeignKey("token.id"), primary_key=True, autoincrement=False),
    Column("network", String(64), primary_key=True),
    Column("at", Double, nullable=False),
)

shadowed = Table(
    "shadowed",
    metadata,
    Column("account_id", String(64), primary_key=True),
    Column("token_id", BigInteger, primary_key=True, autoincrement=False),
    Column("reason", String(32), primary_key=True),
    Column("times", BigInteger, nullable=False),
    Column("last_at", Double, nullable=False),
)

webhook = Table(
    "webhook",
    metadata,
    Column("id", _BigId, primary_key=True),
    Column("account_id", String(64), ForeignKey("account.id"), nullable=False),
    Column("terms", Text, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("failing_since", Double),
    Column("disabled_until", Double),
    Column("disabled_reason", String(128), nullable=False, server_default=""),
    Column("added_on", BigInteger, nullable=False),
    Index("ix_webhook_of_account", "account_id", "id"),
)

event = Table(
    "event",
    metadata,
    Column("id", _BigId, primary_key=True),
    Column("account_id", String(64), nullable=False),
    Column("type", String(64), nullable=False),
    Column("stream", String(128), nullable=False),
    Column("data", Text, nullable=False),
    Column("at", Double, nullable=False),
    Column("dispatched", Boolean, nullable=False),
    Index("ix_event_to_dispatch", "dispatched", "id"),
    Index("ix_event_at", "at"),
)

delivery = Table(
    "delivery",
    metadata,
    Column("id", _BigId, primary_key=True),
    Column("account_id", String(64), nullable=False),
    Column("webhook_id", BigInteger, nullable=False),
    Column("message_id", String(64), nullable=False),
    Column("type", String(64), nullable=False),
    Column("headers", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("added_at", Double, nullable=False),
    Column("due_at", Double, nullable=False),
    Column("ended_at", Double),
    Column("last_status", Integer),
    Column("last_error", String(256), nullable=False),
    Index("ix_delivery_due", "state", "webhook_id", "due_at"),
    Index("ix_delivery_added", "state", "added_at"),
    Index("ix_delivery_of_webhook", "webhook_id", "id"),
    Index("ix_delivery_by_state", "webhook_id", "state", "id"),
)

watermark = Table(
    "watermark",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("at", Double, nullable=False),
)

audience = Table(
    "audience",
    metadata,
    Column("account_id", String(64), primary_key=True),
    Column("stream", String(128), primary_key=True),
    Column("present", Boolean, nullable=False),
    Column("attempted_at", Double, nullable=False),
)

former_secret = Table(
    "former_secret",
    metadata,
    Column("id", _BigId, primary_key=True),
    Column("digest", LargeBinary, nullable=False, unique=True),
    Column("token_id", BigInteger, ForeignKey("token.id"), nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("replaced_at", BigInteger, nullable=False),
    Column("until", BigInteger, nullable=False),
    Column("uses", BigInteger, nullable=False),
    Column("last_used_at", Double),
    Index("ix_former_secret_of_token", "token_id"),
)

child_revocation = Table(
    "child_revocation",
    metadata,
    Column("token_id", BigInteger, ForeignKey("token.id"), primary_key=True, autoincrement=False),
    Column("child", String(160), primary_key=True),
    Column("at", BigInteger, nullable=False),
)

stream_group = Table(
    "stream_group",
    metadata,
    Column("account_id", String(64), ForeignKey("account.id"), primary_key=True),
    Column("id", _sorted(64), primary_key=True),
    Column("label", String(128), nullable=False),
    Column("added_on", BigInteger, nullable=False),
)

stream_group_stream = Table(
    "stream_group_stream",
    metadata,
    Column("account_id", String(64), primary_key=True),
    Column("group_id", String(64), primary_key=True),
    Column("stream", _sorted(128), primary_key=True),
)

signing_key = Table(
    "signing_key",
    metadata,
    Column("id", _BigId, primary_key=True),
    Column("kid", String(64), nullable=False, unique=True),
    Column("algorithm", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("public_jwk", Text, nullable=False),
    Column("added_on", BigInteger, nullable=False),
    Column("changed_on", BigInteger, nullable=False),
)

application = Table(
    "application",
    metadata,
    Column("id", _BigId, primary_key=True),
    Column("account_id", String(64), ForeignKey("account.id"), nullable=False),
    Column("label", String(128), nullable=False),
    Column("key", String(64), nullable=False, unique=True),
    Column("scopes", Text, nullable=False),
    Column("added_on", BigInteger, nullable=False),
    Index("ix_application_of_account", "account_id", "id"),
)

application_secret = Table(
    "application_secret",
    metadata,
    Column("id", _BigId, primary_key=True),
    Column("application_id", BigInteger, ForeignKey("application.id"), nullable=False),
    Column("digest", LargeBinary, nullable=False, unique=True),
    Column("hint", String(16), nullable=False),
    Column("added_on", BigInteger, nullable=False),
    Index("ix_application_secret_of_application", "application_id"),
)

api_token = Table(
    "api_token",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("jti", String(64), nullable=False, unique=True),
    Column("account_id", String(64), nullable=False),
    Column("application_id", BigInteger, nullable=False),
    Column("key_id", BigInteger, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("scopes", Text, nullable=False),
    Column("external_id", String(128), nullable=False),
    Column("issued_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("revoked_at", BigInteger),
    Index("ix_api_token_expiry", "expires_at"),
    Index("ix_api_token_of_application", "application_id"),
)

verifier = Table(
    "verifier",
    metadata,
    Column("id", _BigId, primary_key=True),
    Column("account_id", String(64), ForeignKey("account.id"), nullable=False),
    Column("name", _sorted(64), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("key_name", String(128), nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("settings", Text, nullable=False),
    Column("added_on", BigInteger, nullable=False),
    Index("ix_verifier_by_name", "account_id", "name", unique=True),
)
