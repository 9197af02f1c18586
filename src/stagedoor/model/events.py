"""What happens and an owner may want to hear of. Events hold no secret. Instants in seconds since the epoch.

Names in `data` are those of the API, so that an owner finds there what they wrote.
"""

from collections.abc import Iterator, Mapping
from dataclasses import fields
from enum import StrEnum
from hashlib import blake2b
from types import MappingProxyType
from typing import Final, NamedTuple

from stagedoor.model.ids import AccountId, TokenId
from stagedoor.model.session import OpenSession
from stagedoor.model.token import PublishOptions, TokenRecord, TokenTerms


class EventType(StrEnum):
    """Every kind of event: those of the compatible API first, then our own."""

    FEED_STARTED = "feeds.started"
    FEED_ENDED = "feeds.ended"
    VIEWER_ATTEMPT = "viewerConnection.ViewerAttempt"
    FIRST_VIEWER = "viewerConnection.FirstViewerConnection"
    NO_VIEWERS = "viewerConnection.NoActiveViewers"
    MEDIA_PROCESSING = "media.processing"
    MEDIA_COMPLETED = "media.completed"
    MEDIA_ERRORED = "media.errored"
    MEDIA_DELETED = "media.deleted"
    THUMBNAIL = "thumbnail"
    TOKEN_CREATED = "token.created"
    TOKEN_RENEWED = "token.renewed"
    TOKEN_DISABLED = "token.disabled"
    TOKEN_ENABLED = "token.enabled"
    TOKEN_CHANGED = "token.changed"
    TOKEN_REVOKED = "token.revoked"
    TOKEN_EXPIRING = "token.expiring"
    TOKEN_EXPIRED = "token.expired"
    TOKEN_FIRST_USED = "token.first_used"
    TOKEN_BOUND = "token.bound"
    TOKEN_REFUSED = "token.refused_burst"
    TOKEN_SHARED = "token.sharing_suspected"


class Event(NamedTuple):
    """Something that happened in an account; `stream` is empty where it is about none in particular."""

    account: AccountId
    type: EventType
    at: float
    stream: str = ""
    data: Mapping[str, object] = MappingProxyType({})


_NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "expires_at": "expiresOn",
        "allowed_addresses": "allowedIpAddresses",
        "bind_ipv4_bits": "bindTolerance",
        "bind_ipv6_bits": "bindTolerance",
        "rebinds_an_hour": "bindTolerance",
        "tracking_id": "tracking",
        "viewer_data": "customViewerData",
        "enable_utc_insertion": "enableUTCInsertion",
    }
)
"""Settings that the API calls by another name than ours."""

_NO_CHANGE: Final = frozenset({"active", "publishing", "restream_sync", "not_understood"})
"""What has an event of its own, is looked into, or is no setting."""


def events_of_new(record: TokenRecord, at: float) -> tuple[Event, ...]:
    """Return what is told when a token is made."""
    return (_of_token(EventType.TOKEN_CREATED, record, at),)


def events_of_change(old: TokenRecord, new: TokenRecord, at: float) -> tuple[Event, ...]:
    """Return what is told when a token changes; nothing when it stays as it is."""
    told: list[Event] = []
    if old.digest != new.digest:
        told.append(_of_token(EventType.TOKEN_RENEWED, new, at))
    changed = sorted(set(_changed(old.terms, new.terms)))
    if changed:
        told.append(_of_token(EventType.TOKEN_CHANGED, new, at, changed=changed))
    if old.terms.active != new.terms.active:
        kind = EventType.TOKEN_ENABLED if new.terms.active else EventType.TOKEN_DISABLED
        told.append(_of_token(kind, new, at))
    return tuple(told)


def events_of_revocation(record: TokenRecord, at: float) -> tuple[Event, ...]:
    """Return what is told when a token is revoked."""
    return (_of_token(EventType.TOKEN_REVOKED, record, at),)


class TokenName(NamedTuple):
    """What every event about a token says of it. Security: never its text."""

    account: AccountId
    id: TokenId
    kind: str
    label: str


def token_event(
    kind: EventType, token: TokenName, at: float, more: Mapping[str, object] = MappingProxyType({}), stream: str = ""
) -> Event:
    """Return an event about a token; `more` is what it says beside the token's own names."""
    data = {"tokenId": int(token.id), "kind": str(token.kind), "label": token.label}
    return Event(token.account, kind, at, stream, {**data, **more})


def feed_id(session: OpenSession) -> str:
    """Return what a broadcast is called in events, its session's life long: 32 hexadecimal digits."""
    # A database may give an id again when its row is gone, so the beginning counts as well.
    name = f"feed {session.start.account} {session.id} {session.start.at!r}"
    return blake2b(name.encode(), digest_size=16).hexdigest()


def feed_event(session: OpenSession, priority: int | None, ended_at: float | None = None) -> Event:
    """Return the event that a broadcast began or, with `ended_at`, that it has ended; instants in it are in milliseconds."""
    start = session.start
    data: dict[str, object] = {
        "feedId": feed_id(session),
        **_stream_data(start.account, start.stream),
        "started": milliseconds(start.at),
        "active": ended_at is None,
    }
    if ended_at is not None:
        data["ended"] = milliseconds(ended_at)
    if priority is not None:
        data["priority"] = priority
    kind = EventType.FEED_STARTED if ended_at is None else EventType.FEED_ENDED
    return Event(start.account, kind, start.at if ended_at is None else ended_at, start.stream, data)


def viewer_event(kind: EventType, account: AccountId, stream: str, at: float) -> Event:
    """Return an event about the viewers of a stream."""
    return Event(account, kind, at, stream, _stream_data(account, stream))


def milliseconds(at: float) -> int:
    """Return an instant as whole milliseconds since the epoch."""
    return round(at * 1000)


def _stream_data(account: AccountId, stream: str) -> dict[str, object]:
    return {"accountId": account, "name": stream, "streamId": f"{account}/{stream}"}


def _of_token(kind: EventType, record: TokenRecord, at: float, **more: object) -> Event:
    name = TokenName(record.account, record.id, record.kind, record.terms.label)
    return token_event(kind, name, at, more)


def _changed(old: TokenTerms, new: TokenTerms) -> Iterator[str]:
    """Yield the API's names of the settings that differ."""
    before: tuple[TokenTerms | PublishOptions, ...] = (old, old.publishing)
    for was, now in zip(before, (new, new.publishing), strict=True):
        for setting in fields(was):
            name = setting.name
            if name not in _NO_CHANGE and getattr(was, name) != getattr(now, name):
                yield _NAMES.get(name) or _camel(name)


def _camel(name: str) -> str:
    """Return one of our names as the API writes it."""
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)
