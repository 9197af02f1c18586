"""Webhooks on SQL. All that workers remember of them is whether an account wants to be told of viewers."""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec
from sqlalchemy import RowMapping, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from stagedoor.model.errors import Conflict, NotFound
from stagedoor.model.ids import AccountId
from stagedoor.model.webhook import HEALTHY, DeliveryState, Health, Webhook, WebhookId, WebhookKind, WebhookTerms
from stagedoor.service.ports import ChangeKind
from stagedoor.service.webhook_ports import NewWebhook, WebhookPage
from stagedoor.store import schema
from stagedoor.store.transactions import Database

_LARGEST_ID: Final = 2**63 - 1
_LONGEST_REASON: Final = 128
_TERMS: Final = msgspec.json.Decoder(WebhookTerms)


class SqlWebhooks:
    """The port `WebhookStore`."""

    def __init__(self, database: Database) -> None:
        """Take the database."""
        self._reading, self._writing = database.reading, database.writing

    async def add_webhook(self, new: NewWebhook, most: int) -> Webhook:
        """Keep a new webhook and return it with its id."""
        c = schema.webhook.c
        async with self._writing(numbered=_about_viewers(new.terms)) as write:
            if _about_viewers(new.terms):
                write.touches(ChangeKind.ACCOUNT, new.account)
            # Two at once would each count without the other; on SQLite there is one writer anyway.
            account = select(schema.account.c.id).where(schema.account.c.id == new.account)
            await write.connection.execute(account.with_for_update(key_share=True))
            count = select(func.count()).select_from(schema.webhook).where(c.account_id == new.account)
            if (await write.connection.execute(count)).scalar_one() >= most:
                raise Conflict(f"an account has at most {most} webhooks; delete one")
            row = {
                "account_id": new.account,
                "terms": _write_terms(new.terms),
                "sealed": b"",
                "added_on": new.added_on,
            }
            inserted = await write.connection.execute(insert(schema.webhook).values(row).returning(c.id))
            webhook_id = WebhookId(inserted.scalar_one())
            sealed = new.seal(webhook_id)
            await write.connection.execute(update(schema.webhook).where(c.id == webhook_id).values(sealed=sealed))
        return Webhook(
            id=webhook_id, account=new.account, terms=new.terms, sealed=sealed, added_on=new.added_on, health=HEALTHY
        )

    async def webhook(self, account: AccountId, webhook_id: WebhookId) -> Webhook:
        """Return a webhook."""
        async with self._reading() as connection:
            return await find_webhook(connection, account, webhook_id)

    async def webhooks(self, account: AccountId, page: WebhookPage) -> Sequence[Webhook]:
        """Return a part of the account's webhooks, by id."""
        c = schema.webhook.c
        query = select(schema.webhook).where(c.account_id == account)
        if page.start is not None:
            start = min(page.start, _LARGEST_ID)
            query = query.where(c.id <= start if page.descending else c.id >= start)
        query = query.order_by(c.id.desc() if page.descending else c.id).limit(page.size)
        async with self._reading() as connection:
            return [webhook_of(row) for row in (await connection.execute(query)).mappings()]

    async def change_webhook(
        self, account: AccountId, webhook_id: WebhookId, change: Callable[[Webhook], Webhook], now: float
    ) -> Webhook:
        """Apply `change` and return the webhook as it is now. When it made it healthy, all that waits for it is due `now`."""
        async with self._writing() as write:
            found = await find_webhook(write.connection, account, webhook_id, lock=True)
            changed = change(found)
            if _about_viewers(found.terms) is not _about_viewers(changed.terms):
                write.touches(ChangeKind.ACCOUNT, account)
            await write.connection.execute(
                update(schema.webhook)
                .where(schema.webhook.c.id == webhook_id)
                .values(terms=_write_terms(changed.terms), sealed=changed.sealed, **health_row(changed.health))
            )
            if found.health != HEALTHY and changed.health == HEALTHY:
                d = schema.delivery.c
                waiting = (d.webhook_id == webhook_id, d.state == DeliveryState.PENDING, d.due_at > now)
                await write.connection.execute(update(schema.delivery).where(*waiting).values(due_at=now))
        return changed

    async def remove_webhook(self, account: AccountId, webhook_id: WebhookId) -> None:
        """Forget a webhook and its deliveries."""
        async with self._writing() as write:
            found = await find_webhook(write.connection, account, webhook_id, lock=True)
            if _about_viewers(found.terms):
                write.touches(ChangeKind.ACCOUNT, account)
            await write.connection.execute(delete(schema.webhook).where(schema.webhook.c.id == webhook_id))
            await write.connection.execute(delete(schema.delivery).where(schema.delivery.c.webhook_id == webhook_id))


async def find_webhook(
    connection: AsyncConnection, account: AccountId, webhook_id: WebhookId, *, lock: bool = False
) -> Webhook:
    """Return a webhook.

    Raises: NotFound.
    """
    c = schema.webhook.c
    query = select(schema.webhook).where(c.id == webhook_id, c.account_id == account)
    row = None
    if 0 < webhook_id <= _LARGEST_ID:
        row = (await connection.execute(query.with_for_update() if lock else query)).mappings().one_or_none()
    if row is None:
        raise NotFound(f"No webhook with id: {webhook_id}", field="webhookId")
    return webhook_of(row)


def webhook_of(row: RowMapping) -> Webhook:
    """Read a row of `webhook`."""
    return Webhook(
        id=WebhookId(row["id"]),
        account=AccountId(row["account_id"]),
        terms=_TERMS.decode(row["terms"]),
        sealed=row["sealed"],
        added_on=row["added_on"],
        health=Health(row["failures"], row["failing_since"], row["disabled_until"], row["disabled_reason"]),
    )


def health_row(health: Health) -> dict[str, object]:
    """Write the columns of a health."""
    return {
        "failures": health.failures,
        "failing_since": health.failing_since,
        "disabled_until": health.disabled_until,
        "disabled_reason": health.reason[:_LONGEST_REASON],
    }


def _about_viewers(terms: WebhookTerms) -> bool:
    return WebhookKind.VIEWER_CONNECTION in terms.kinds


def _write_terms(terms: WebhookTerms) -> str:
    return msgspec.json.encode(terms).decode()
