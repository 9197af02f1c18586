"""Events that wait, and deliveries on their way, on SQL.

A delivery is claimed before it is attempted, and a claim counts as lost after a while: two workers do not attempt the same, and
what a worker that died had claimed is attempted again. Locks are taken in one order: webhook, delivery.
"""

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import (
    Integer,
    RowMapping,
    Select,
    Update,
    and_,
    bindparam,
    case,
    delete,
    false,
    func,
    insert,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from stagedoor.model.errors import Conflict, NotFound
from stagedoor.model.events import Event, EventType
from stagedoor.model.ids import AccountId
from stagedoor.model.webhook import (
    IMAGE_LIFE_SECONDS,
    LIFE_SECONDS,
    Delivery,
    DeliveryId,
    DeliveryState,
    Message,
    Webhook,
    WebhookId,
    health_after,
)
from stagedoor.service.webhook_ports import Claimed, DeliveryPage, ForWebhook, Outcome
from stagedoor.store import schema
from stagedoor.store.sql_webhooks import find_webhook, health_row, webhook_of
from stagedoor.store.transactions import Database

_log = logging.getLogger(__name__)

_LARGEST_ID: Final = 2**63 - 1
_LONGEST_ERROR: Final = 256
_DATA: Final = msgspec.json.Decoder(dict[str, Any])
_IS_IMAGE: Final = schema.delivery.c.type == EventType.THUMBNAIL.value


class SqlDeliveries:
    """The ports `EventQueue` and `DeliveryQueue`."""

    def __init__(self, database: Database) -> None:
        """Take the database."""
        self._reading, self._writing = database.reading, database.writing

    # -- EventQueue

    async def dispatch(
        self, most: int, now: float, messages: Callable[[Event, Sequence[Webhook]], Iterable[ForWebhook]]
    ) -> int:
        """Turn up to `most` events into deliveries, oldest first, each in the transaction that says so; return how many."""
        c = schema.event.c
        waiting = select(schema.event).where(c.dispatched == false()).order_by(c.id).limit(most)
        async with self._reading() as connection:
            if (await connection.execute(waiting.with_only_columns(c.id).limit(1))).first() is None:
                return 0
        async with self._writing(numbered=False) as write:
            rows = (await write.connection.execute(waiting.with_for_update(skip_locked=True))).mappings().all()
            webhooks = await _webhooks_of(write.connection, {row["account_id"] for row in rows})
            deliveries: list[dict[str, object]] = []
            for row in rows:
                event = _event_of(row)
                if event is not None:
                    told = messages(event, webhooks.get(event.account, ()))
                    deliveries += (_delivery_row(event.account, message, now) for message in told)
            if deliveries:
                await write.connection.execute(insert(schema.delivery), deliveries)
            done = update(schema.event).where(c.id.in_([row["id"] for row in rows]))
            await write.connection.execute(done.values(dispatched=True))
        return len(rows)

    async def enqueue(
        self, account: AccountId, now: float, messages: Callable[[Sequence[Webhook]], Iterable[ForWebhook]]
    ) -> int:
        """Keep deliveries that stand for no event of the table; return how many."""
        async with self._reading() as connection:
            webhooks = await _webhooks_of(connection, {account})
        rows = [_delivery_row(account, message, now) for message in messages(webhooks.get(account, ()))]
        if rows:
            async with self._writing(numbered=False) as write:
                await write.connection.execute(insert(schema.delivery), rows)
        return len(rows)

    async def forget_events(self, before: float) -> None:
        """Delete events that were dispatched and happened before an instant."""
        c = schema.event.c
        async with self._writing(numbered=False) as write:
            await write.connection.execute(delete(schema.event).where(c.at < before, c.dispatched == true()))

    # -- DeliveryQueue

    async def claim(self, now: float, lost_at: float, most: int, at_once: int) -> Sequence[Claimed]:
        """Take deliveries that are due, `most` in all, for attempts that count as lost at `lost_at`."""
        asked = {"now": now, "at_once": at_once, "most": most}
        async with self._reading() as connection:
            if (await connection.execute(_READY, asked)).first() is None:
                return ()
        claimed: list[Claimed] = []
        async with self._writing(numbered=False) as write:
            for row in (await write.connection.execute(_READY, asked)).mappings().all():
                webhook, room = webhook_of(row), min(row["room"], most - len(claimed))
                if room > 0:
                    claimed += await _claim(write.connection, webhook, now, lost_at, room)
        return claimed

    async def finish(self, outcomes: Sequence[Outcome]) -> None:
        """Write down outcomes, and what they say of the webhooks."""
        async with self._writing(numbered=False) as write:
            await _note_health(write.connection, outcomes)
            for statement, failed in ((_SUCCEEDED, False), (_FAILED, True)):
                rows = [_outcome_row(outcome) for outcome in outcomes if bool(outcome.error) is failed]
                if rows:
                    await write.connection.execute(statement, sorted(rows, key=lambda row: row["key"]))

    async def bury(self, now: float) -> int:
        """Give up all that waited for too long; return how many. Attempts that are lost are due again."""
        d = schema.delivery.c
        lost = and_(d.state == DeliveryState.SENDING, d.due_at <= now)
        old = and_(
            d.state == DeliveryState.PENDING,
            d.added_at <= now - IMAGE_LIFE_SECONDS,
            or_(d.added_at <= now - LIFE_SECONDS, _IS_IMAGE),
        )
        async with self._reading() as connection:
            if (await connection.execute(select(d.id).where(or_(lost, old)).limit(1))).first() is None:
                return 0
        async with self._writing(numbered=False) as write:
            await write.connection.execute(
                update(schema.delivery)
                .where(lost)
                .values(state=DeliveryState.PENDING, last_error="the attempt was lost")
            )
            untold = case((d.last_error == "", "it waited for too long"), else_=d.last_error)
            dead = update(schema.delivery).where(old)
            values = {"state": DeliveryState.DEAD, "ended_at": now, "last_error": untold}
            buried: int = (await write.connection.execute(dead.values(values))).rowcount
        return buried

    async def forget_deliveries(self, delivered_before: float, dead_before: float, images_before: float) -> None:
        """Delete what was delivered, or given up, before an instant; thumbnails by one of their own."""
        d = schema.delivery.c
        async with self._writing(numbered=False) as write:
            for state, before in ((DeliveryState.DELIVERED, delivered_before), (DeliveryState.DEAD, dead_before)):
                gone = or_(d.added_at < before, and_(_IS_IMAGE, d.added_at < images_before))
                await write.connection.execute(delete(schema.delivery).where(d.state == state, gone))

    async def deliveries(self, account: AccountId, webhook_id: WebhookId, page: DeliveryPage) -> Sequence[Delivery]:
        """Return deliveries of a webhook."""
        d = schema.delivery.c
        query = select(schema.delivery).where(d.webhook_id == webhook_id, d.account_id == account)
        if page.state is not None:
            query = query.where(d.state == page.state)
        if page.start is not None:
            query = query.where(d.id <= min(page.start, _LARGEST_ID))
        async with self._reading() as connection:
            await find_webhook(connection, account, webhook_id)
            rows = await connection.execute(query.order_by(d.id.desc()).limit(page.size))
            return [_delivery_of(row) for row in rows.mappings()]

    async def replay(self, account: AccountId, delivery_id: DeliveryId, now: float) -> Delivery:
        """Make a delivery due now, and its clock begin anew unless it is still waiting."""
        d = schema.delivery.c
        missing = NotFound(f"No delivery with id: {delivery_id}", field="deliveryId")
        if not 0 < delivery_id <= _LARGEST_ID:
            raise missing
        query = select(schema.delivery).where(d.id == delivery_id, d.account_id == account)
        async with self._writing(numbered=False) as write:
            row = (await write.connection.execute(query.with_for_update())).mappings().one_or_none()
            if row is None:
                raise missing
            if row["state"] == DeliveryState.SENDING:
                raise Conflict("it is being sent at this moment")
            values = {"due_at": now} if row["state"] == DeliveryState.PENDING else _anew(now)
            mine = update(schema.delivery).where(d.id == delivery_id).values(values).returning(schema.delivery)
            return _delivery_of((await write.connection.execute(mine)).mappings().one())

    async def replay_dead(self, account: AccountId, webhook_id: WebhookId, now: float) -> int:
        """Make all that were given up of a webhook due now."""
        d = schema.delivery.c
        dead = (d.webhook_id == webhook_id, d.state == DeliveryState.DEAD)
        async with self._writing(numbered=False) as write:
            await find_webhook(write.connection, account, webhook_id, lock=True)
            replayed: int = (
                await write.connection.execute(update(schema.delivery).where(*dead).values(_anew(now)))
            ).rowcount
        return replayed


def _anew(now: float) -> dict[str, object]:
    return {"state": DeliveryState.PENDING, "attempts": 0, "added_at": now, "due_at": now, "ended_at": None}


async def _webhooks_of(connection: AsyncConnection, accounts: set[str]) -> Mapping[str, list[Webhook]]:
    c = schema.webhook.c
    found: dict[str, list[Webhook]] = {}
    if accounts:
        query = select(schema.webhook).where(c.account_id.in_(accounts)).order_by(c.id)
        for row in (await connection.execute(query)).mappings():
            found.setdefault(row["account_id"], []).append(webhook_of(row))
    return found


async def _claim(
    connection: AsyncConnection, webhook: Webhook, now: float, lost_at: float, most: int
) -> Iterator[Claimed]:
    """Claim up to `most` of one webhook's deliveries that are due."""
    d = schema.delivery.c
    due = (d.webhook_id == webhook.id, d.state == DeliveryState.PENDING, d.due_at <= now)
    query = select(d.id).where(*due).order_by(d.due_at, d.id).limit(most).with_for_update(skip_locked=True)
    ids = [row[0] for row in await connection.execute(query)]
    mine = update(schema.delivery).where(d.id.in_(ids)).returning(schema.delivery)
    values = {"state": DeliveryState.SENDING, "attempts": d.attempts + 1, "due_at": lost_at}
    rows = (await connection.execute(mine.values(values))).mappings().all() if ids else ()
    return (Claimed(_delivery_of(row), webhook) for row in rows)


async def _note_health(connection: AsyncConnection, outcomes: Sequence[Outcome]) -> None:
    """Fold outcomes into the health of their webhooks, in the order in which they came."""
    c = schema.webhook.c
    concerned = {outcome.claimed.webhook.id for outcome in outcomes}
    query = select(schema.webhook).where(c.id.in_(concerned)).order_by(c.id).with_for_update()
    for row in (await connection.execute(query)).mappings().all():
        webhook = webhook_of(row)
        health = webhook.health
        for outcome in sorted(outcomes, key=lambda outcome: outcome.at):
            # What an address did that is not this webhook's any more is not held against it.
            if outcome.claimed.webhook.id == webhook.id and outcome.claimed.webhook.terms.url == webhook.terms.url:
                health = health_after(health, outcome.at, outcome.error)
        if health != webhook.health:
            await connection.execute(update(schema.webhook).where(c.id == webhook.id).values(health_row(health)))


def _event_of(row: RowMapping) -> Event | None:
    try:
        data = _DATA.decode(row["data"])
        return Event(AccountId(row["account_id"]), EventType(row["type"]), row["at"], row["stream"], data)
    except (ValueError, msgspec.MsgspecError):
        _log.error("event %d cannot be read and is told to nobody; was it written by a newer version?", row["id"])
        return None


def _delivery_row(account: AccountId, told: ForWebhook, now: float) -> dict[str, object]:
    return {
        "account_id": account,
        "webhook_id": told.webhook,
        "message_id": told.message_id,
        "type": told.message.type,
        "headers": json.dumps(dict(told.message.headers)),
        "body": told.message.body,
        "state": DeliveryState.PENDING,
        "attempts": 0,
        "added_at": now,
        "due_at": now,
        "last_error": "",
    }


def _delivery_of(row: RowMapping) -> Delivery:
    return Delivery(
        id=DeliveryId(row["id"]),
        account=AccountId(row["account_id"]),
        webhook=WebhookId(row["webhook_id"]),
        message_id=row["message_id"],
        message=Message(type=row["type"], headers=json.loads(row["headers"]), body=row["body"]),
        state=DeliveryState(row["state"]),
        attempts=row["attempts"],
        added_at=row["added_at"],
        due_at=row["due_at"],
        ended_at=row["ended_at"],
        last_status=row["last_status"],
        last_error=row["last_error"],
    )


def _outcome_row(outcome: Outcome) -> dict[str, Any]:
    mine = outcome.claimed.delivery
    return {
        "key": mine.id,
        "attempt": mine.attempts,
        "state": outcome.state,
        "due_at": outcome.due_at,
        "ended_at": None if outcome.state is DeliveryState.PENDING else outcome.at,
        "last_status": outcome.status,
        "last_error": outcome.error[:_LONGEST_ERROR],
    }


def _outcome_statements() -> tuple[Update, Update]:
    """Build the statements that write down successes and failures, many at once."""
    d = schema.delivery.c
    names = ("state", "due_at", "ended_at", "last_status", "last_error")
    mine = update(schema.delivery).where(d.id == bindparam("key"))
    succeeded = mine.values({name: bindparam(name, type_=d[name].type) for name in names})
    # A failure of an attempt that counted as lost says nothing about the one that came after it.
    return succeeded, succeeded.where(d.state == DeliveryState.SENDING, d.attempts == bindparam("attempt"))


def _ready_statement() -> Select[Any]:
    """Build the statement that finds webhooks with something due, and room for it.

    It steps from webhook to webhook along an index, so its cost does not grow with what waits for one of them.
    """
    d, w = schema.delivery.c, schema.webhook.c
    first = select(func.min(d.webhook_id).label("webhook_id")).where(d.state == DeliveryState.PENDING)
    waiting = first.cte("waiting", recursive=True)
    following = select(func.min(d.webhook_id)).where(
        d.state == DeliveryState.PENDING, d.webhook_id > waiting.c.webhook_id
    )
    waiting = waiting.union_all(select(following.scalar_subquery()).where(waiting.c.webhook_id.is_not(None)))
    due_at = select(func.min(d.due_at)).where(d.state == DeliveryState.PENDING, d.webhook_id == w.id)
    sending = select(func.count()).where(d.state == DeliveryState.SENDING, d.webhook_id == w.id)
    room = case((w.failures == 0, bindparam("at_once", type_=Integer)), else_=1) - sending.scalar_subquery()
    found = (
        select(schema.webhook, due_at.scalar_subquery().label("due_at"), room.label("room"))
        .join(waiting, waiting.c.webhook_id == w.id)
        .where(or_(w.disabled_until.is_(None), w.disabled_until <= bindparam("now")))
        .subquery()
    )
    return (
        select(found)
        .where(found.c.due_at <= bindparam("now"), found.c.room > 0)
        .order_by(found.c.due_at, found.c.id)
        .limit(bindparam("most"))
    )


_READY: Final = _ready_statement()
_SUCCEEDED, _FAILED = _outcome_statements()
