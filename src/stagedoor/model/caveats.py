"""Conditions on a token: each can only refuse, never allow.

A caveat is data; how it is judged stands in `policy`. A caveat that the policy has no judge for refuses: that is what
`Unjudged` is for, and what happens to any type that is added here and forgotten there. Instants are in seconds since the
epoch.
"""

from dataclasses import dataclass
from datetime import tzinfo
from enum import StrEnum

from stagedoor.model.access import Action, Protocol
from stagedoor.model.addresses import Network
from stagedoor.model.grant import Matcher
from stagedoor.model.hours import Window
from stagedoor.model.origins import OriginPattern


@dataclass(frozen=True, slots=True)
class NotBefore:
    """Good from the instant `at` on."""

    at: int


@dataclass(frozen=True, slots=True)
class ExpiresAt:
    """Good before the instant `at`. Stops new starts; what runs goes on, unless `ends_sessions`."""

    at: int
    ends_sessions: bool = False


@dataclass(frozen=True, slots=True)
class WithinHours:
    """Good in these windows of the week, by the clock of `zone`. What runs goes on, unless `ends_sessions`."""

    windows: tuple[Window, ...]
    zone: tzinfo
    ends_sessions: bool = False


@dataclass(frozen=True, slots=True)
class ClientAddresses:
    """Good from these networks only. Empty is good from nowhere."""

    networks: tuple[Network, ...]


@dataclass(frozen=True, slots=True)
class BoundAddresses:
    """Good from the first `most` networks that use it, and then from no other.

    A network is the address cut to so many bits. `rebinds_an_hour` times in any hour a further one takes the place of the
    oldest.
    """

    most: int
    ipv4_bits: int = 32
    ipv6_bits: int = 128
    rebinds_an_hour: int = 0


@dataclass(frozen=True, slots=True)
class Origins:
    """Good for pages of these origins. `without_origin`: also for encoders, whose protocols (RTMP, RTSP, SRT) have none."""

    patterns: tuple[OriginPattern, ...]
    without_origin: bool = False


@dataclass(frozen=True, slots=True)
class Countries:
    """Good in the countries of `allowed`, or outside those of `denied` (ISO 3166-1 alpha-2), for what is in `applies_to`."""

    allowed: tuple[str, ...] = ()
    denied: tuple[str, ...] = ()
    applies_to: tuple[Action, ...] = (Action.PUBLISH, Action.SUBSCRIBE)


@dataclass(frozen=True, slots=True)
class Protocols:
    """Good for media over these protocols."""

    protocols: tuple[Protocol, ...]


@dataclass(frozen=True, slots=True)
class UserAgents:
    """Good for clients that call themselves by one of these. Weak: a client says what it likes."""

    patterns: tuple[Matcher, ...]


@dataclass(frozen=True, slots=True)
class Referrers:
    """Good on pages with one of these addresses. Weak: a client says what it likes."""

    patterns: tuple[Matcher, ...]


class Per(StrEnum):
    """Whose sessions a limit counts: those of the token, or all of its subject's in the account."""

    TOKEN = "token"
    SUBJECT = "subject"


class Over(StrEnum):
    """What happens to a session over the limit: it is refused, or the oldest ends now, or after a grace for reloads."""

    REFUSE = "refuse"
    END_OLDEST = "end_oldest"
    GRACE = "grace"


@dataclass(frozen=True, slots=True)
class SessionLimit:
    """Good for `most` sessions at a time. `grace_seconds` is how long the oldest has to end, with `Over.GRACE`."""

    most: int
    per: Per = Per.TOKEN
    over: Over = Over.REFUSE
    grace_seconds: int = 0


@dataclass(frozen=True, slots=True)
class SingleUse:
    """Good for one session. The same address may come back within `grace_seconds` of its end: a page is reloaded."""

    grace_seconds: int = 0


@dataclass(frozen=True, slots=True)
class Budgets:
    """Good until one of these is spent: seconds of one session, seconds and bytes of all of them, number of starts."""

    session_seconds: int | None = None
    watch_seconds: int | None = None
    bytes: int | None = None
    starts: int | None = None


@dataclass(frozen=True, slots=True)
class Unjudged:
    """A condition the owner set (`setting`, by its name in the API) and this version cannot judge: it refuses."""

    setting: str


Condition = (
    NotBefore
    | ExpiresAt
    | WithinHours
    | ClientAddresses
    | BoundAddresses
    | Origins
    | Countries
    | Protocols
    | UserAgents
    | Referrers
    | SessionLimit
    | SingleUse
    | Budgets
    | Unjudged
)


@dataclass(frozen=True, slots=True)
class Tried:
    """A condition that is tried out: until the instant `until` it is judged and told of, and refuses nothing."""

    condition: Condition
    until: int


Caveat = Condition | Tried
