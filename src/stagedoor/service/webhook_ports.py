"""What webhooks need from outside, as protocols; `store` and `outbound` provide them. Instants in seconds since the epoch."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from stagedoor.model.events import Event
from stagedoor.model.ids import AccountId
from stagedoor.model.webhook import Delivery, DeliveryId, DeliveryState, Message, Webhook, WebhookId, WebhookTerms

CheckUrl = Callable[[str], None]
"""Refuse an address that could never be called.

Raises: InvalidInput.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewWebhook:
    """A webhook about to be kept; `seal` makes the sealed secret once the id is known, since it is bound to its row."""

    account: AccountId
    terms: WebhookTerms
    seal: Callable[[WebhookId], bytes]
    added_on: int


class WebhookPage(NamedTuple):
    """A part of a list: `size` webhooks from the id `start` on (None: from the beginning), upwards or downwards."""

    start: int | None
    size: int
    descending: bool


class WebhookStore(Protocol):
    """Webhooks as their owners administer them. Every call is for one account and sees no other."""

    async def add_webhook(self, new: NewWebhook, most: int) -> Webhook:
        """Keep a new webhook and return it with its id.

        Raises: Conflict when the account has `most` of them.
        """

    async def webhook(self, account: AccountId, webhook_id: WebhookId) -> Webhook:
        """Return a webhook.

        Raises: NotFound.
        """

    async def webhooks(self, account: AccountId, page: WebhookPage) -> Sequence[Webhook]:
        """Return a part of the account's webhooks, by id."""

    async def change_webhook(
        self, account: AccountId, webhook_id: WebhookId, change: Callable[[Webhook], Webhook], now: float
    ) -> Webhook:
        """Apply `change` and return the webhook as it is now. When it made it healthy, all that waits for it is due `now`.

        Raises: NotFound; whatever `change` raises, with nothing changed.
        """

    async def remove_webhook(self, account: AccountId, webhook_id: WebhookId) -> None:
        """Forget a webhook and its deliveries.

        Raises: NotFound.
        """


class ForWebhook(NamedTuple):
    """A message for one webhook, with its id."""

    webhook: WebhookId
    message_id: str
    message: Message


class EventQueue(Protocol):
    """Events that wait to be turned into deliveries."""

    async def dispatch(
        self, most: int, now: float, messages: Callable[[Event, Sequence[Webhook]], Iterable[ForWebhook]]
    ) -> int:
        """Turn up to `most` events into deliveries, oldest first, each in the transaction that says so; return how many.

        `messages` is called with an event and the webhooks of its account. An event that cannot be read is told of in the log,
        and passed over.
        """

    async def enqueue(
        self, account: AccountId, now: float, messages: Callable[[Sequence[Webhook]], Iterable[ForWebhook]]
    ) -> int:
        """Keep deliveries that stand for no event of the table; return how many."""

    async def forget_events(self, before: float) -> None:
        """Delete events that were dispatched and happened before an instant."""


class Claimed(NamedTuple):
    """A delivery that is this process's to attempt, and where it goes."""

    delivery: Delivery
    webhook: Webhook


class Outcome(NamedTuple):
    """What became of one attempt; `error` is empty for a success. `state` and `due_at` say what becomes of the delivery."""

    claimed: Claimed
    at: float
    state: DeliveryState
    due_at: float
    status: int | None
    error: str


class DeliveryPage(NamedTuple):
    """A part of a list of deliveries, newest first, from the id `start` downwards; `state` None for all."""

    state: DeliveryState | None
    start: int | None
    size: int


class DeliveryQueue(Protocol):
    """Deliveries on their way."""

    async def claim(self, now: float, lost_at: float, most: int, at_once: int) -> Sequence[Claimed]:
        """Take deliveries that are due, `most` in all, for attempts that count as lost at `lost_at`.

        Of one webhook no more than `at_once` are under way, and of one that failed last, one. Of those with something due, the
        one that waits longest goes first. Nobody else gets the same until it counts as lost.
        """

    async def finish(self, outcomes: Sequence[Outcome]) -> None:
        """Write down outcomes, and what they say of the webhooks. One of an attempt that counted as lost is kept if a success."""

    async def bury(self, now: float) -> int:
        """Give up all that waited for too long; return how many. Attempts that are lost are due again."""

    async def forget_deliveries(self, delivered_before: float, dead_before: float, images_before: float) -> None:
        """Delete what was delivered, or given up, before an instant; thumbnails by one of their own."""

    async def deliveries(self, account: AccountId, webhook_id: WebhookId, page: DeliveryPage) -> Sequence[Delivery]:
        """Return deliveries of a webhook.

        Raises: NotFound when the account has no such webhook.
        """

    async def replay(self, account: AccountId, delivery_id: DeliveryId, now: float) -> Delivery:
        """Make a delivery due now, and its clock begin anew unless it is still waiting.

        Raises: NotFound; Conflict while it is being sent.
        """

    async def replay_dead(self, account: AccountId, webhook_id: WebhookId, now: float) -> int:
        """Do so for all that were given up of a webhook; return how many.

        Raises: NotFound.
        """


class Sent(NamedTuple):
    """What became of a call: the status of the answer, if there was one, and in words why it was no success."""

    status: int | None
    error: str


class Sender(Protocol):
    """Calls addresses that strangers chose."""

    async def send(self, url: str, headers: Mapping[str, str], body: bytes) -> Sent:
        """POST `body`. Never raises, never follows a redirect, never takes longer than the attempt may."""

    async def close(self) -> None:
        """Close the connections."""


class Thumbnails(Protocol):
    """Where pictures of streams go."""

    async def enqueue_thumbnail(
        self, account: AccountId, stream: str, jpeg: bytes, *, feed_id: str, token_id: str, at: float
    ) -> int:
        """Have a picture of `stream`, taken at `at`, sent to the webhooks that ask for it; return how many there are.

        Raises: Unavailable.
        """
