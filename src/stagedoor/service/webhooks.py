"""Administer webhooks: create, read, list, change, remove, try out; see and replay what is on its way to them."""

import base64
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from stagedoor.model.errors import InvalidInput
from stagedoor.model.events import milliseconds
from stagedoor.model.ids import AccountId
from stagedoor.model.secret import Secret
from stagedoor.model.webhook import (
    HEALTHY,
    MAX_FILTER,
    OWN_EVENTS,
    Delivery,
    DeliveryId,
    Message,
    Webhook,
    WebhookId,
    WebhookKind,
    WebhookTerms,
)
from stagedoor.service.dispatch import addressed, lets_through, thumbnail, vendor_message
from stagedoor.service.ports import Clock
from stagedoor.service.webhook_ports import (
    CheckUrl,
    DeliveryPage,
    DeliveryQueue,
    EventQueue,
    ForWebhook,
    NewWebhook,
    WebhookPage,
    WebhookStore,
)
from stagedoor.tokens.keyring import Keyring
from stagedoor.tokens.patterns import compile_pattern

MOST_WEBHOOKS: Final = 100
"""How many webhooks an account may have: each event may go to all of them."""

_SECRET_BYTES: Final = 32

_SAMPLE_JPEG: Final = base64.b64decode(
    "/9j/4AAQSkZJRgABAgAAAQABAAD/2wBDAAg+Pkk+SVVVVVVVVWRdZGhoaGRkZGRoaGhwcHCDg4NwcHBoaHBwfHyDg4+Tj4eHg4eTk5ubm7q6srLZ"
    "2eD/////xABLAAEBAAAAAAAAAAAAAAAAAAAACAEBAAAAAAAAAAAAAAAAAAAAABABAAAAAAAAAAAAAAAAAAAAABEBAAAAAAAAAAAAAAAAAAAAAP/A"
    "ABEIABAAEAMBIgACEQADEQD/2gAMAwEAAhEDEQA/AJ/AB//Z"
)
"""A black square of 16 by 16 pixels."""


@dataclass(frozen=True, slots=True)
class OpenWebhook:
    """A webhook and its secret, which its owner may read again and again: receivers need it to check signatures.

    `suspended`: it is left alone at present.
    """

    webhook: Webhook
    secret: Secret
    suspended: bool


class Webhooks:
    """What owners do with their webhooks. Every call is for one account and sees no other."""

    def __init__(
        self,
        *,
        store: WebhookStore,
        events: EventQueue,
        queue: DeliveryQueue,
        keyring: Keyring,
        clock: Clock,
        check_url: CheckUrl,
    ) -> None:
        """Take the collaborators."""
        self._store = store
        self._events = events
        self._queue = queue
        self._keyring = keyring
        self._clock = clock
        self._check_url = check_url

    async def create(self, account: AccountId, terms: WebhookTerms) -> OpenWebhook:
        """Make a webhook.

        Raises: InvalidInput; Conflict when the account has too many.
        """
        self._check_url(terms.url)
        _check(terms)
        secret = _new_secret()
        new = NewWebhook(
            account=account,
            terms=terms,
            seal=lambda webhook_id: self._keyring.seal(secret, place_of(webhook_id)),
            added_on=int(self._clock()),
        )
        return self._opened(await self._store.add_webhook(new, MOST_WEBHOOKS))

    async def read(self, account: AccountId, webhook_id: WebhookId) -> OpenWebhook:
        """Return a webhook.

        Raises: NotFound.
        """
        return self._opened(await self._store.webhook(account, webhook_id))

    async def list(self, account: AccountId, page: WebhookPage) -> Sequence[OpenWebhook]:
        """Return a part of the account's webhooks, by id."""
        return [self._opened(webhook) for webhook in await self._store.webhooks(account, page)]

    async def change(
        self,
        account: AccountId,
        webhook_id: WebhookId,
        change: Callable[[WebhookTerms], WebhookTerms],
        *,
        refresh_secret: bool = False,
        re_enable: bool = False,
    ) -> OpenWebhook:
        """Change a webhook. With a new secret the old one signs nothing more; a new address ends a suspension.

        Raises: NotFound; InvalidInput, with nothing changed.
        """
        secret = _new_secret() if refresh_secret else None

        def changed(webhook: Webhook) -> Webhook:
            terms = change(webhook.terms)
            moved = terms.url != webhook.terms.url
            if moved:
                self._check_url(terms.url)
            _check(terms)
            return replace(
                webhook,
                terms=terms,
                sealed=webhook.sealed if secret is None else self._keyring.seal(secret, place_of(webhook_id)),
                health=HEALTHY if moved or re_enable else webhook.health,
            )

        return self._opened(await self._store.change_webhook(account, webhook_id, changed, self._clock()))

    async def remove(self, account: AccountId, webhook_id: WebhookId) -> None:
        """Remove a webhook, and what is on its way to it.

        Raises: NotFound.
        """
        await self._store.remove_webhook(account, webhook_id)

    async def send_sample(
        self, account: AccountId, kind: WebhookKind, stream: str | None, transcoder: str | None = None
    ) -> None:
        """Send a sample event of a kind to the webhooks that ask for that kind and are not suspended.

        With a name of the caller's (of a stream, for transcoder events of a transcoder) filters apply, without one they do not.

        Raises: InvalidInput when there is no such webhook.
        """
        now = self._clock()
        message = _sample(kind, account, stream or "sample", transcoder or "sample", now)
        name = transcoder if kind is WebhookKind.TRANSCODER else stream

        def messages(webhooks: Sequence[Webhook]) -> Iterator[ForWebhook]:
            for webhook in webhooks:
                asks = kind in webhook.terms.kinds and not webhook.health.suspended(now)
                if asks and lets_through(webhook.terms, name or ""):
                    yield addressed(webhook, message)

        if not await self._events.enqueue(account, now, messages):
            raise InvalidInput(
                f"no webhook of this account asks for {kind.value} and is enabled"
                + (f" and takes {name[:128]!r}" if name else ""),
                field="webhookType",
            )

    async def deliveries(self, account: AccountId, webhook_id: WebhookId, page: DeliveryPage) -> Sequence[Delivery]:
        """Return deliveries of a webhook, newest first.

        Raises: NotFound.
        """
        return await self._queue.deliveries(account, webhook_id, page)

    async def replay(self, account: AccountId, delivery_id: DeliveryId) -> Delivery:
        """Send a delivery (again), under the same message id.

        Raises: NotFound; Conflict while it is being sent.
        """
        return await self._queue.replay(account, delivery_id, self._clock())

    async def replay_dead(self, account: AccountId, webhook_id: WebhookId) -> int:
        """Send again all that were given up of a webhook; return how many.

        Raises: NotFound.
        """
        return await self._queue.replay_dead(account, webhook_id, self._clock())

    def _opened(self, webhook: Webhook) -> OpenWebhook:
        secret = self._keyring.unseal(webhook.sealed, place_of(webhook.id))
        return OpenWebhook(webhook, secret, webhook.health.suspended(self._clock()))


def place_of(webhook_id: WebhookId) -> str:
    """Return where a webhook's secret is kept, as the keyring seals it for."""
    return f"webhook.sealed:{webhook_id}"


def _new_secret() -> Secret:
    return Secret(base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode())


def _check(terms: WebhookTerms) -> None:
    unknown = [event for event in terms.events if event not in OWN_EVENTS]
    if unknown:
        raise InvalidInput(f"there is no event {unknown[0][:64]!r}; there are {', '.join(OWN_EVENTS)}", field="events")
    if terms.filter is None:
        return
    if not 1 <= len(terms.filter) <= MAX_FILTER:
        raise InvalidInput(f"a filter has 1 to {MAX_FILTER} characters; null lifts it", field="filter")
    try:
        compile_pattern(terms.filter)
    except InvalidInput as error:
        raise InvalidInput(error.message, field="filter") from None


def _sample(kind: WebhookKind, account: AccountId, stream: str, transcoder: str, now: float) -> Message:
    """Write a sample event of a kind."""
    started, stream_id = milliseconds(now), f"{account}/{stream}"
    if kind is WebhookKind.THUMBNAIL:
        return thumbnail(account, stream, _SAMPLE_JPEG, feed_id="sample", token_id=str(0), at=now)
    feed = {
        "feedId": "sample",
        "accountId": account,
        "name": stream,
        "streamId": stream_id,
        "started": started,
        "active": True,
    }
    viewers = {"name": stream, "accountId": account, "streamId": stream_id}
    recording = {"mediaAssetId": "sample", "streamName": stream, "streamId": stream_id, "startTime": started}
    transcoding = {
        "transcoderId": "sample",
        "transcoderName": transcoder,
        "cluster": "auto",
        "createdOn": started,
        "status": "ACTIVE",
    }
    samples: Mapping[WebhookKind, tuple[str, str, object]] = {
        WebhookKind.FEEDS: ("feeds", "started", feed),
        WebhookKind.RECORDINGS: ("recordings", "completed", recording),
        WebhookKind.TRANSCODER: ("transcoder", "ACTIVE", transcoding),
        WebhookKind.MEDIA: ("media", "completed", {**recording, "type": "recording"}),
        WebhookKind.VIEWER_CONNECTION: ("viewerConnection", "FirstViewerConnection", viewers),
    }
    return vendor_message(*samples[kind][:2], now, samples[kind][2])
