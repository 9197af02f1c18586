"""Webhooks: which events an address wants to be told of, how well it answers, and one event on its way to it.

Instants in seconds since the epoch. What is sent, and what a receiver can rely on: docs/webhooks.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple, NewType

from stagedoor.model.events import EventType
from stagedoor.model.ids import AccountId

WebhookId = NewType("WebhookId", int)
DeliveryId = NewType("DeliveryId", int)

MAX_URL: Final = 2048
MAX_FILTER: Final = 128

OWN_EVENTS: Final = tuple(sorted(event for event in EventType if event.startswith("token.")))
"""Our own event types, which a webhook names one by one."""

LIFE_SECONDS: Final = 24 * 3600.0
"""How long a delivery is tried."""

IMAGE_LIFE_SECONDS: Final = 3600.0
"""The same for a thumbnail: an older picture is of no use, and pictures fill a disk."""

FIRST_RETRY_SECONDS: Final = 5.0
LONGEST_RETRY_SECONDS: Final = 3600.0

SUSPEND_AFTER_FAILURES: Final = 20
SUSPEND_AFTER_SECONDS: Final = 600.0
SUSPENDED_SECONDS: Final = 3600.0
"""A webhook that failed so often in a row, over so long, is left alone for so long."""

_DOUBLINGS: Final = 20


class WebhookKind(StrEnum):
    """What the compatible API calls the types of webhooks."""

    FEEDS = "Feeds"
    RECORDINGS = "Recordings"
    THUMBNAIL = "Thumbnail"
    TRANSCODER = "Transcoder"
    MEDIA = "Media"
    VIEWER_CONNECTION = "ViewerConnection"


_KINDS: Final[Mapping[str, WebhookKind]] = {
    "feeds": WebhookKind.FEEDS,
    "viewerConnection": WebhookKind.VIEWER_CONNECTION,
    "media": WebhookKind.MEDIA,
    "thumbnail": WebhookKind.THUMBNAIL,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookTerms:
    """What its owner sets.

    `kinds` and `events` (our own types, as text) are what it wants to be told of. `filter` is a regular expression for whole
    stream names, None for all.
    """

    url: str
    kinds: frozenset[WebhookKind] = frozenset()
    events: tuple[str, ...] = ()
    filter: str | None = None

    def asks_for(self, event: EventType) -> bool:
        """Tell whether it wants events of a type; `filter` is another matter."""
        kind = _KINDS.get(event.partition(".")[0])
        return kind in self.kinds if kind is not None else event.value in self.events


class Health(NamedTuple):
    """How well an address answers: failed attempts in a row and since when, and until when and why it is left alone."""

    failures: int = 0
    failing_since: float | None = None
    disabled_until: float | None = None
    reason: str = ""

    def suspended(self, now: float) -> bool:
        """Tell whether it is left alone."""
        return self.disabled_until is not None and now < self.disabled_until


HEALTHY: Final = Health()


def health_after(health: Health, at: float, error: str) -> Health:
    """Return the health after an attempt at the instant `at`; an empty `error` is a success.

    After a suspension one more failure is enough for the next.
    """
    if not error:
        return HEALTHY
    failures, since = health.failures + 1, at if health.failing_since is None else health.failing_since
    if failures < SUSPEND_AFTER_FAILURES or at - since < SUSPEND_AFTER_SECONDS:
        return Health(failures, since, health.disabled_until, health.reason)
    if health.suspended(at):
        # Attempts that were under way when it was suspended do not prolong it.
        return health._replace(failures=failures)
    return Health(failures, since, at + SUSPENDED_SECONDS, f"{failures} failed attempts in a row; the last: {error}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """A webhook as it is kept; its secret is sealed."""

    id: WebhookId
    account: AccountId
    terms: WebhookTerms
    sealed: bytes
    added_on: int
    health: Health = HEALTHY


class DeliveryState(StrEnum):
    """Where a delivery stands: waiting for its (next) attempt, in one, done, or given up."""

    PENDING = "pending"
    SENDING = "sending"
    DELIVERED = "delivered"
    DEAD = "dead"


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What is to be sent, but for what is signed at each attempt."""

    type: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One message on its way to one webhook; `message_id` is the same in every attempt.

    `attempts` counts those begun. `added_at` starts the clock after which it is dead. `due_at` is the next attempt, or while it
    is being sent, when that attempt counts as lost.
    """

    id: DeliveryId
    account: AccountId
    webhook: WebhookId
    message_id: str
    message: Message
    state: DeliveryState
    attempts: int
    added_at: float
    due_at: float
    ended_at: float | None = None
    last_status: int | None = None
    last_error: str = ""

    @property
    def deadline(self) -> float:
        """When it is dead, unless it is delivered before."""
        return self.added_at + life_seconds(self.message.type)


def life_seconds(message_type: str) -> float:
    """Return how long a message of a type is tried."""
    return IMAGE_LIFE_SECONDS if message_type == EventType.THUMBNAIL else LIFE_SECONDS


def retry_seconds(attempts: int, chance: float) -> float:
    """Return how long to wait after `attempts` failed attempts; `chance` from 0 to 1 spreads it over 80 to 120 percent."""
    doubled = FIRST_RETRY_SECONDS * (1 << min(max(attempts - 1, 0), _DOUBLINGS))
    return min(doubled, LONGEST_RETRY_SECONDS) * (0.8 + 0.4 * chance)
