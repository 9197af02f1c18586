"""From events to deliveries: what is told, in which form, to which webhooks.

Events of the compatible API keep the vendor's form, our own have that of Standard Webhooks (standardwebhooks.com). Signatures
are made at each attempt: see service/deliver.py and docs/webhooks.md.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec

from stagedoor.model.errors import InvalidInput, Unavailable
from stagedoor.model.events import Event, EventType, milliseconds
from stagedoor.model.ids import AccountId
from stagedoor.model.webhook import OWN_EVENTS, Message, Webhook, WebhookTerms
from stagedoor.service.ports import Clock
from stagedoor.service.webhook_ports import EventQueue, ForWebhook
from stagedoor.tokens.patterns import compile_pattern

_log = logging.getLogger(__name__)

POLL_SECONDS: Final = 0.5
"""How soon after its commit an event is seen."""

KEPT_SECONDS: Final = 24 * 3600.0
"""How long events are kept that were dispatched."""

_BATCH: Final = 200
_TIDY_SECONDS: Final = 600.0
_JSON: Final = "application/json"


class Dispatcher:
    """Turns what happened into deliveries."""

    def __init__(
        self, *, queue: EventQueue, clock: Clock, may_work: Callable[[], bool], wake: Callable[[], None] = lambda: None
    ) -> None:
        """Take the collaborators. `may_work`: of all processes one does the work. `wake`: there are new deliveries."""
        self._queue = queue
        self._clock = clock
        self._may_work = may_work
        self._wake = wake
        self._tidied_at = 0.0

    async def run(self) -> None:
        """Dispatch again and again, until cancelled."""
        away = False
        while True:
            try:
                if self._may_work():
                    await self.dispatch()
                    await self._tidy()
                away = False
            except Unavailable as error:
                if not away:
                    _log.warning("events wait to be told: %s", error.message)
                away = True
            except Exception:  # noqa: BLE001  nothing that goes wrong once ends the worker
                _log.exception("events wait to be told")
            await asyncio.sleep(POLL_SECONDS)

    async def dispatch(self) -> int:
        """Dispatch all events that wait; return how many.

        Raises: Unavailable.
        """
        total = 0
        while True:
            done = await self._queue.dispatch(_BATCH, self._clock(), messages_for)
            total += done
            if done:
                self._wake()
            if done < _BATCH:
                return total

    async def enqueue_thumbnail(
        self, account: AccountId, stream: str, jpeg: bytes, *, feed_id: str, token_id: str, at: float
    ) -> int:
        """Have a picture of `stream`, taken at `at`, sent to the webhooks that ask for it; return how many there are.

        Raises: Unavailable.
        """
        message = thumbnail(account, stream, jpeg, feed_id=feed_id, token_id=token_id, at=at)

        def messages(webhooks: Sequence[Webhook]) -> Iterator[ForWebhook]:
            for webhook in webhooks:
                if webhook.terms.asks_for(EventType.THUMBNAIL) and lets_through(webhook.terms, stream):
                    yield addressed(webhook, message)

        told = await self._queue.enqueue(account, self._clock(), messages)
        if told:
            self._wake()
        return told

    async def _tidy(self) -> None:
        now = self._clock()
        if now - self._tidied_at >= _TIDY_SECONDS:
            await self._queue.forget_events(now - KEPT_SECONDS)
            self._tidied_at = now


def messages_for(event: Event, webhooks: Sequence[Webhook]) -> Iterator[ForWebhook]:
    """Yield what each of an account's webhooks is told of an event; a suspended one too, for whom it waits."""
    if event.type is EventType.THUMBNAIL:
        return  # a picture is no event of the table
    message = message_of(event)
    for webhook in webhooks:
        if webhook.terms.asks_for(event.type) and lets_through(webhook.terms, event.stream):
            yield addressed(webhook, message)


def lets_through(terms: WebhookTerms, stream: str) -> bool:
    """Tell whether a webhook's filter takes a stream name; an event that is about no stream in particular passes."""
    if terms.filter is None or not stream:
        return True
    try:
        return compile_pattern(terms.filter).fullmatch(stream) is not None
    except InvalidInput:
        return True  # it was valid when it was set; better told too much than nothing


def addressed(webhook: Webhook, message: Message) -> ForWebhook:
    """Return a message for a webhook, with an id of its own."""
    return ForWebhook(webhook.id, f"msg_{secrets.token_hex(16)}", message)


def message_of(event: Event) -> Message:
    """Write an event as it is sent."""
    if event.type in OWN_EVENTS:
        body: dict[str, object] = {"type": event.type.value, "timestamp": _instant(event.at), "data": dict(event.data)}
        return Message(type=event.type.value, headers={"content-type": _JSON}, body=msgspec.json.encode(body))
    kind, _, name = event.type.value.partition(".")
    return vendor_message(kind, name, event.at, dict(event.data))


def vendor_message(kind: str, name: str, at: float, data: object) -> Message:
    """Write an event in the vendor's form."""
    body = {"type": kind, "event": name, "timestamp": milliseconds(at), "data": data}
    return Message(type=f"{kind}.{name}", headers={"content-type": _JSON}, body=msgspec.json.encode(body))


def thumbnail(account: AccountId, stream: str, jpeg: bytes, *, feed_id: str, token_id: str, at: float) -> Message:
    """Write a picture as it is sent: it is the body, and headers say of what it is."""
    headers = {
        "content-type": "image/jpeg",
        "x-millicast-timestamp": str(milliseconds(at)),
        "x-millicast-feed-id": feed_id,
        "x-millicast-stream-id": f"{account}/{stream}",
        "x-millicast-token-id": token_id,
    }
    return Message(type=EventType.THUMBNAIL.value, headers=headers, body=jpeg)


def _instant(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
