"""The operations on what is on its way to webhooks: see it, and send it again."""

from functools import partial
from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from stagedoor.edge.ids import number
from stagedoor.edge.operation import Call, Operation
from stagedoor.model.instants import instant
from stagedoor.model.webhook import Delivery, DeliveryId, DeliveryState, WebhookId
from stagedoor.service.webhook_ports import DeliveryPage
from stagedoor.service.webhooks import Webhooks

_JSON: Final = "application/json"


class ListDeliveries(Struct, rename="camel", kw_only=True):
    """The query of a list."""

    state: DeliveryState | None = None
    starting_id: Annotated[int, Meta(ge=1)] | None = None
    limit: Annotated[int, Meta(ge=1, le=100)] = 20


class ShownDelivery(Struct, rename="camel", kw_only=True):
    """One message on its way to one webhook.

    `messageId` is what receivers see as `webhook-id`, the same in every attempt. `dueOn` is the next attempt. `payload` is the
    body, where that is JSON.
    """

    id: int
    webhook_id: int
    message_id: str
    type: str
    state: DeliveryState
    attempts: int
    added_on: str
    content_type: str
    bytes: int
    payload: dict[str, Any] | UnsetType = UNSET
    due_on: str | UnsetType = UNSET
    ended_on: str | UnsetType = UNSET
    last_status: int | UnsetType = UNSET
    last_error: str | UnsetType = UNSET


class Deliveries(Struct, rename="camel", kw_only=True):
    """Deliveries, newest first; `nextStartingId` goes on with older ones, and is absent at the end."""

    deliveries: list[ShownDelivery]
    next_starting_id: int | UnsetType = UNSET


class Replayed(Struct, rename="camel", kw_only=True):
    """How many deliveries are sent again."""

    replayed: int


def delivery_operations(webhooks: Webhooks) -> tuple[Operation, ...]:
    """Return the operations."""

    async def list_(call: Call) -> Deliveries:
        asked: ListDeliveries = call.query
        page = DeliveryPage(asked.state, asked.starting_id, asked.limit + 1)
        found = await webhooks.deliveries(call.account, _webhook_id(call), page)
        listed = Deliveries(deliveries=[_shown(delivery) for delivery in found[: asked.limit]])
        if len(found) > asked.limit:
            listed.next_starting_id = found[asked.limit].id
        return listed

    async def replay(call: Call) -> ShownDelivery:
        delivery = DeliveryId(number(call, "deliveryId", "delivery"))
        return _shown(await webhooks.replay(call.account, delivery))

    async def replay_dead(call: Call) -> Replayed:
        return Replayed(replayed=await webhooks.replay_dead(call.account, _webhook_id(call)))

    operation = partial(Operation, tag="Webhooks")
    return (
        operation(
            method="GET",
            path="/v1/webhooks/{webhookId}/deliveries",
            name="list_deliveries",
            scope="live:webhook:read",
            summary="List what was sent to a webhook, and what was not",
            handle=list_,
            query=ListDeliveries,
            answer=Deliveries,
            example_query="state=dead&limit=20",
            refusals=(400, 404),
        ),
        operation(
            method="POST",
            path="/v1/webhooks/{webhookId}/replay",
            name="replay_dead_deliveries",
            scope="live:webhook:update",
            summary="Send again all that was given up of a webhook",
            handle=replay_dead,
            answer=Replayed,
            refusals=(404,),
        ),
        operation(
            method="POST",
            path="/v1/deliveries/{deliveryId}/replay",
            name="replay_delivery",
            scope="live:webhook:update",
            summary="Send a delivery again",
            handle=replay,
            answer=ShownDelivery,
            refusals=(404, 409),
            text="Under the same message id, so that a receiver that has it already can tell. One that waits is sent at once.",
        ),
    )


def _webhook_id(call: Call) -> WebhookId:
    return WebhookId(number(call, "webhookId", "webhook"))


def _shown(delivery: Delivery) -> ShownDelivery:
    content_type = delivery.message.headers.get("content-type", "")
    shown = ShownDelivery(
        id=delivery.id,
        webhook_id=delivery.webhook,
        message_id=delivery.message_id,
        type=delivery.message.type,
        state=delivery.state,
        attempts=delivery.attempts,
        added_on=instant(delivery.added_at),
        content_type=content_type,
        bytes=len(delivery.message.body),
    )
    if content_type == _JSON:
        shown.payload = msgspec.json.decode(delivery.message.body)
    if delivery.state is DeliveryState.PENDING:
        shown.due_on = instant(delivery.due_at)
    if delivery.ended_at is not None:
        shown.ended_on = instant(delivery.ended_at)
    if delivery.last_status is not None:
        shown.last_status = delivery.last_status
    if delivery.last_error:
        shown.last_error = delivery.last_error
    return shown
