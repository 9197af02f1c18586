"""The operations on webhooks: `/api/webhooks`. `events` is ours: the vendor's webhooks do not know our event types.

In an update what is absent or null stays as it is, but for `filter`, where null clears.
"""

from functools import partial
from typing import Annotated, Final

from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.structs import replace as replaced

from stagedoor.edge.ids import number
from stagedoor.edge.operation import Call, Operation
from stagedoor.model.errors import InvalidInput
from stagedoor.model.instants import instant
from stagedoor.model.webhook import MAX_FILTER, MAX_URL, OWN_EVENTS, WebhookId, WebhookKind, WebhookTerms
from stagedoor.service.webhook_ports import WebhookPage
from stagedoor.service.webhooks import OpenWebhook, Webhooks

_PATH: Final = "/api/webhooks"
_ONE: Final = f"{_PATH}/{{webhookId}}"

_KINDS: Final = {
    "is_feed_hooks": WebhookKind.FEEDS,
    "is_recording_hooks": WebhookKind.RECORDINGS,
    "is_thumbnail_hooks": WebhookKind.THUMBNAIL,
    "is_transcoder_hooks": WebhookKind.TRANSCODER,
    "is_media_hooks": WebhookKind.MEDIA,
    "is_viewer_connection_hooks": WebhookKind.VIEWER_CONNECTION,
}
_TYPES: Final = {kind.value.lower(): kind for kind in WebhookKind}

_Url = Annotated[str, Meta(min_length=1, max_length=MAX_URL)]
_Filter = Annotated[str, Meta(min_length=1, max_length=MAX_FILTER)]
_Events = Annotated[list[str], Meta(max_length=100, description=f"Of {', '.join(OWN_EVENTS)}.")]
_Name = Annotated[str, Meta(max_length=128)]


class _Hooks(Struct, rename="camel", kw_only=True):
    """What a webhook is told of."""

    is_feed_hooks: bool | None = None
    is_recording_hooks: bool | None = None
    is_thumbnail_hooks: bool | None = None
    is_transcoder_hooks: bool | None = None
    is_media_hooks: bool | None = None
    is_viewer_connection_hooks: bool | None = None
    events: _Events | None = None


class AddWebhook(_Hooks, rename="camel", kw_only=True):
    """A webhook to be made."""

    url: _Url
    is_feed_hooks: bool
    filter: _Filter | None = None


class UpdateWebhook(_Hooks, rename="camel", kw_only=True):
    """What to change in a webhook."""

    url: _Url | None = None
    refresh_secret: bool | None = None
    re_enable: bool | None = None
    filter: _Filter | UnsetType | None = UNSET


class ListWebhooks(Struct, rename="camel", kw_only=True):
    """The query of a list."""

    starting_id: int | None = None
    item_count: Annotated[int, Meta(ge=1, le=100)] | None = None
    is_descending: bool = False


class TestWebhook(Struct, rename="camel", kw_only=True):
    """What a sample event is about."""

    __test__ = False

    stream_name: _Name | None = None
    transcoder_name: _Name | None = None


class Disabled(Struct, rename="camel", kw_only=True):
    """Until when deliveries are suspended, and why."""

    until: str
    reason: str


class ShownWebhook(Struct, rename="camel", kw_only=True):
    """A webhook. `secret` is the base64 of what signatures are made with."""

    id: int
    url: str
    secret: str
    is_feed_hooks: bool = False
    is_recording_hooks: bool = False
    is_thumbnail_hooks: bool = False
    is_transcoder_hooks: bool = False
    is_media_hooks: bool = False
    is_viewer_connection_hooks: bool = False
    disabled: Disabled | UnsetType = UNSET
    filter: str | UnsetType = UNSET
    events: list[str] | UnsetType = UNSET


def webhook_operations(webhooks: Webhooks) -> tuple[Operation, ...]:
    """Return the operations."""

    async def create(call: Call) -> ShownWebhook:
        body: AddWebhook = call.body
        terms = WebhookTerms(
            url=body.url, kinds=_kinds(body, frozenset()), events=_events(body, ()), filter=body.filter
        )
        return _shown(await webhooks.create(call.account, terms))

    async def read(call: Call) -> ShownWebhook:
        return _shown(await webhooks.read(call.account, webhook_id(call)))

    async def update(call: Call) -> ShownWebhook:
        body: UpdateWebhook = call.body

        def change(terms: WebhookTerms) -> WebhookTerms:
            return WebhookTerms(
                url=body.url or terms.url,
                kinds=_kinds(body, terms.kinds),
                events=_events(body, terms.events),
                filter=terms.filter if body.filter is UNSET else body.filter,
            )

        changed = await webhooks.change(
            call.account,
            webhook_id(call),
            change,
            refresh_secret=body.refresh_secret is True,
            re_enable=body.re_enable is True,
        )
        return _shown(changed)

    async def remove(call: Call) -> bool:
        await webhooks.remove(call.account, webhook_id(call))
        return True

    async def list_(call: Call) -> list[ShownWebhook]:
        asked: ListWebhooks = call.query
        # Clients that have to name an id begin with 0, in either direction.
        start = asked.starting_id if asked.starting_id is not None and asked.starting_id > 0 else None
        page = WebhookPage(start, asked.item_count or 10, asked.is_descending)
        return [_shown(one) for one in await webhooks.list(call.account, page)]

    async def test(call: Call) -> bool:
        body: TestWebhook = call.body
        kind = _TYPES.get(call.path["webhookType"].lower())
        if kind is None:
            raise InvalidInput(f"webhookType is one of {', '.join(WebhookKind)}", field="webhookType")
        await webhooks.send_sample(call.account, kind, body.stream_name or None, body.transcoder_name or None)
        return True

    operation = partial(Operation, tag="Webhooks")
    return (
        operation(
            method="POST",
            path=_PATH,
            name="create_webhook",
            scope="live:webhook:create",
            summary="Create a webhook",
            handle=create,
            body=AddWebhook,
            answer=ShownWebhook,
            example={"url": "https://hooks.example.com/x", "isFeedHooks": True, "events": ["token.revoked"]},
        ),
        operation(
            method="GET",
            path=f"{_PATH}/list",
            name="list_webhooks",
            scope="live:webhook:read",
            summary="List webhooks",
            handle=list_,
            query=ListWebhooks,
            names={"item_count": "itemCount"},
            answer=list[ShownWebhook],
            example_query="startingId=0&itemCount=10",
            text="From the id `startingId` on, upwards or with `isDescending` downwards.",
        ),
        operation(
            method="GET",
            path=_ONE,
            name="read_webhook",
            scope="live:webhook:read",
            summary="Read a webhook",
            handle=read,
            answer=ShownWebhook,
        ),
        operation(
            method="PUT",
            path=_ONE,
            name="update_webhook",
            scope="live:webhook:update",
            summary="Update a webhook",
            handle=update,
            body=UpdateWebhook,
            answer=ShownWebhook,
            example={"isMediaHooks": True},
            text="`reEnable` and a new `url` end a suspension; what waits is sent at once.",
        ),
        operation(
            method="DELETE",
            path=_ONE,
            name="delete_webhook",
            scope="live:webhook:delete",
            summary="Delete a webhook",
            handle=remove,
            answer=bool,
            text="What is on its way to it is deleted too.",
        ),
        operation(
            method="POST",
            path=f"{_PATH}/test/{{webhookType}}",
            name="test_webhook",
            scope="live:webhook:update",
            summary="Send a sample event",
            handle=test,
            body=TestWebhook,
            answer=bool,
            example={"streamName": "main"},
            choices={"webhookType": list(WebhookKind)},
            text="To all webhooks that ask for the type and are not suspended; filters apply when a name is given.",
        ),
    )


def webhook_id(call: Call) -> WebhookId:
    """Read the id in a path.

    Raises: NotFound for what no id looks like.
    """
    return WebhookId(number(call, "webhookId", "webhook"))


def _kinds(body: _Hooks, now: frozenset[WebhookKind]) -> frozenset[WebhookKind]:
    """Return the kinds after a change: what the body does not say stays."""
    said = {kind: getattr(body, name) for name, kind in _KINDS.items() if getattr(body, name) is not None}
    return frozenset(kind for kind in WebhookKind if said.get(kind, kind in now))


def _events(body: _Hooks, now: tuple[str, ...]) -> tuple[str, ...]:
    return now if body.events is None else tuple(dict.fromkeys(body.events))


def _shown(opened: OpenWebhook) -> ShownWebhook:
    webhook, terms = opened.webhook, opened.webhook.terms
    shown = ShownWebhook(
        id=webhook.id,
        url=terms.url,
        secret=opened.secret.reveal(),
        filter=UNSET if terms.filter is None else terms.filter,
        events=list(terms.events) or UNSET,
    )
    until = webhook.health.disabled_until
    if until is not None and opened.suspended:
        shown.disabled = Disabled(until=instant(until), reason=webhook.health.reason)
    return replaced(shown, **{name: kind in terms.kinds for name, kind in _KINDS.items()})
