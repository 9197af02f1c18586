"""Tokens: what an owner set down (`TokenTerms`), what is kept (`TokenRecord`), what policy judges (`VerifiedToken`)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from stagedoor.model.caveats import Caveat
from stagedoor.model.grant import Grant, StreamPattern
from stagedoor.model.ids import AccountId, TokenId


class TokenKind(StrEnum):
    """What a token is for."""

    PUBLISH = "publish"
    SUBSCRIBE = "subscribe"


class TokenState(StrEnum):
    """What we know of the token that was shown."""

    ABSENT = "absent"
    MALFORMED = "malformed"
    UNKNOWN = "unknown"
    ACTIVE = "active"
    DISABLED = "disabled"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishOptions:
    """What a publish token says about the broadcasts made with it (docs/contracts/token-api.md, "publish flags")."""

    subscribe_requires_auth: bool = False
    record: bool = False
    clip: bool = False
    multisource: bool = True
    low_latency_rtmp: bool = True
    enable_thumbnails: bool = False
    display_srt_passphrase: bool = False
    drm: bool = False
    enable_utc_insertion: bool | None = None
    geo_cascade: Mapping[str, object] | None = None
    restream: tuple[Mapping[str, object], ...] = ()
    priority: int | None = None
    encoder_profile_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenTerms:
    """Everything the owner of a token may set. Times are whole seconds since the epoch, in UTC; empty means no limit."""

    label: str
    streams: tuple[StreamPattern, ...]
    active: bool = True
    not_before: int | None = None
    expires_at: int | None = None
    allowed_addresses: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    bind_ips_on_usage: int | None = None
    allowed_countries: tuple[str, ...] = ()
    denied_countries: tuple[str, ...] = ()
    origin_cluster: str = ""
    tracking_id: str | None = None
    publishing: PublishOptions = field(default_factory=PublishOptions)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRecord:
    """A token as it is kept. `digest` finds it and `sealed` is its value, readable only with the keyring.

    `revoked_at` (seconds since the epoch) is the tombstone: a revoked token is never deleted and never comes back.
    """

    id: TokenId
    account: AccountId
    kind: TokenKind
    terms: TokenTerms
    digest: bytes
    sealed: bytes
    added_on: int
    revoked_at: int | None = None

    @property
    def state(self) -> TokenState:
        """Tell whether the token is revoked, disabled or active; time is judged elsewhere."""
        if self.revoked_at is not None:
            return TokenState.REVOKED
        return TokenState.ACTIVE if self.terms.active else TokenState.DISABLED


@dataclass(frozen=True, slots=True)
class VerifiedToken:
    """A token whose bytes are ours: what it grants and under which conditions. Whether it still stands is `Standing`."""

    id: TokenId
    account: AccountId
    grant: Grant
    caveats: tuple[Caveat, ...] = ()
