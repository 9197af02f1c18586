"""Tokens: what an owner set down (`TokenTerms`), what is kept (`TokenRecord`), what policy judges (`VerifiedToken`)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from stagedoor.model.access import Action, Protocol
from stagedoor.model.caveats import Budgets, Caveat, SessionLimit, SingleUse
from stagedoor.model.grant import Grant, StreamPattern
from stagedoor.model.hours import Hours
from stagedoor.model.ids import AccountId, TokenId


class TokenKind(StrEnum):
    """What a token is for.

    A `PLAYBACK` one is a token to watch that we signed. A `CHILD` was signed by somebody else, with a token of ours or with a
    key that an account trusts (`ISSUER`: no token itself, but all that its tokens may be). An `INTERNAL` one lets a program of
    our own watch one stream for a moment; no owner sees it.
    """

    PUBLISH = "publish"
    SUBSCRIBE = "subscribe"
    PLAYBACK = "playback"
    ISSUER = "issuer"
    CHILD = "child"
    INTERNAL = "internal"


ACTION_OF: Final = {
    TokenKind.PUBLISH: Action.PUBLISH,
    TokenKind.SUBSCRIBE: Action.SUBSCRIBE,
    TokenKind.PLAYBACK: Action.SUBSCRIBE,
    TokenKind.ISSUER: Action.SUBSCRIBE,
    TokenKind.CHILD: Action.SUBSCRIBE,
    TokenKind.INTERNAL: Action.SUBSCRIBE,
}
"""What a token of a kind is for, where its terms do not say."""


def what_is(kind: TokenKind) -> str:
    """Return what the owners of a thing of a kind call it."""
    return "trusted key" if kind is TokenKind.ISSUER else f"{kind} token"


class TokenState(StrEnum):
    """What we know of the token that was shown."""

    ABSENT = "absent"
    MALFORMED = "malformed"
    UNKNOWN = "unknown"
    BAD_SIGNATURE = "bad_signature"
    KEY_REVOKED = "key_revoked"
    ACTIVE = "active"
    DISABLED = "disabled"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishOptions:
    """What a publish token says about the broadcasts made with it (docs/contracts/token-api.md, "publish flags").

    `restream_sync` counts how often what runs was told to take over the targets in `restream`.
    """

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
    restream_sync: int = 0
    priority: int | None = None
    encoder_profile_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenTerms:
    """Everything the owner of a token may set. Times are whole seconds since the epoch, in UTC; empty means no limit.

    `shadow_until`: until then the token's conditions are tried out and refuse nothing. `subject`: whom the token speaks for.
    `actions`: what it is for, where its kind does not tell. `groups`: streams that are named elsewhere, under the group's id.
    `longest_seconds`: so long after it was made, a token that was signed with this one is good at most. `viewer_data`: what its owner wants to find again, beside `tracking_id`.
    `not_understood`: names of settings that a newer version kept and this one does not know.
    """

    label: str
    streams: tuple[StreamPattern, ...]
    active: bool = True
    not_before: int | None = None
    expires_at: int | None = None
    hours: Hours | None = None
    end_sessions_at_expiry: bool = False
    allowed_addresses: tuple[str, ...] = ()
    bind_ips_on_usage: int | None = None
    bind_ipv4_bits: int = 32
    bind_ipv6_bits: int = 128
    rebinds_an_hour: int = 0
    allowed_origins: tuple[str, ...] = ()
    allow_without_origin: bool = False
    allowed_countries: tuple[str, ...] = ()
    denied_countries: tuple[str, ...] = ()
    geo_applies_to: tuple[Action, ...] = (Action.PUBLISH, Action.SUBSCRIBE)
    allowed_protocols: tuple[Protocol, ...] = ()
    allowed_user_agents: tuple[str, ...] = ()
    allowed_referrers: tuple[str, ...] = ()
    subject: str = ""
    session_limit: SessionLimit | None = None
    single_use: SingleUse | None = None
    budgets: Budgets | None = None
    shadow_until: int | None = None
    origin_cluster: str = ""
    tracking_id: str | None = None
    viewer_data: str = ""
    actions: tuple[Action, ...] = ()
    groups: tuple[str, ...] = ()
    longest_seconds: int | None = None
    publishing: PublishOptions = field(default_factory=PublishOptions)
    not_understood: tuple[str, ...] = ()

    @property
    def binding(self) -> tuple[int, int] | None:
        """What addresses are cut to when the token is bound to them; None when it is not."""
        return (self.bind_ipv4_bits, self.bind_ipv6_bits) if self.bind_ips_on_usage else None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRecord:
    """A token as it is kept. `digest` finds it and `sealed` is its value, readable only with the keyring.

    `revoked_at` (seconds since the epoch) is the tombstone: a revoked token is never deleted and never comes back.
    `parent`: the token, or the key, that a child was signed with. `key_id`: the key that we signed it with, 0 for none.
    """

    id: TokenId
    account: AccountId
    kind: TokenKind
    terms: TokenTerms
    digest: bytes
    sealed: bytes
    added_on: int
    revoked_at: int | None = None
    parent: TokenId | None = None
    key_id: int = 0

    @property
    def state(self) -> TokenState:
        """Tell whether the token is revoked, disabled or active; time is judged elsewhere."""
        if self.revoked_at is not None:
            return TokenState.REVOKED
        return TokenState.ACTIVE if self.terms.active else TokenState.DISABLED


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """Where a token comes from that was signed by others, or shown by a value that it had before.

    `above`: those that it was signed with, nearest first; what they ask is asked of it too. `fingerprint` tells it from others
    with the same id: it is known by its parent's until it has to be counted, which `unkept` says. `former`: the digest of a
    value that has been replaced by another one since, which was shown, or which signed it.
    """

    above: "tuple[VerifiedToken, ...]" = ()
    fingerprint: str = ""
    unkept: bool = False
    former: bytes = b""


@dataclass(frozen=True, slots=True)
class VerifiedToken:
    """A token whose bytes are ours: what it grants and under which conditions. Whether it still stands is `Standing`.

    `internal`: it is a program's of our own. `lineage` is None for a token that is shown by its own value, as nearly all are.
    The rest of what follows `caveats` is told by them, and said once so that no decision has to look: `sets_countries`, a list
    of its own goes before everyone else's; `counts`, its sessions have to be known, to be counted or ended; `binds`, it is
    bound by use; `outlived`, a session may run on when the token's time is over.
    """

    id: TokenId
    account: AccountId
    grant: Grant
    caveats: tuple[Caveat, ...] = ()
    added_on: int = 0
    subject: str = ""
    sets_countries: bool = False
    counts: bool = False
    binds: bool = False
    outlived: bool = False
    internal: bool = False
    lineage: Lineage | None = None

    @property
    def above(self) -> "tuple[VerifiedToken, ...]":
        """The tokens that it was signed with, nearest first."""
        return () if self.lineage is None else self.lineage.above

    @property
    def fingerprint(self) -> str:
        """What tells it from others with the same id; empty where there are none."""
        return "" if self.lineage is None else self.lineage.fingerprint
