"""Webhooks as they are put together for real, on a database of the test's own, with a clock of the test's."""

import shutil
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sqlalchemy import insert, select

from stagedoor.model.addresses import parse_network
from stagedoor.model.events import Event, EventType
from stagedoor.model.ids import AccountId
from stagedoor.model.webhook import Delivery, WebhookId, WebhookKind, WebhookTerms
from stagedoor.outbound.client import GuardedClient
from stagedoor.outbound.guard import Guard
from stagedoor.service.deliver import Deliverer
from stagedoor.service.dispatch import Dispatcher
from stagedoor.service.webhook_ports import DeliveryPage
from stagedoor.service.webhooks import OpenWebhook, Webhooks
from stagedoor.store import schema
from stagedoor.store.postgres import postgres_engines
from stagedoor.store.sql_deliveries import SqlDeliveries
from stagedoor.store.sql_webhooks import SqlWebhooks
from stagedoor.store.sqlite import sqlite_engines
from stagedoor.store.transactions import Database
from stagedoor.tokens.keyring import Keyring

ALICE, BOB = AccountId("alice"), AccountId("bob")
AT: Final = 1_700_000_000.0
LOOPBACK: Final = "127.0.0.0/8"


class Store:
    """The ports of webhooks, on one database."""

    def __init__(self, database: Database) -> None:
        self.reading, self.writing, self.close = database.reading, database.writing, database.close
        self.webhooks = SqlWebhooks(database)
        self.deliveries = SqlDeliveries(database)


@dataclass(kw_only=True)
class Bench:
    """Everything there is to webhooks; `now` is the time."""

    store: Store
    keyring: Keyring
    guard: Guard
    now: float = AT
    timeout_seconds: float = 30.0
    deliverers: list[Deliverer] = field(default_factory=list)

    def clock(self) -> float:
        """Tell the time."""
        return self.now

    @property
    def webhooks(self) -> Webhooks:
        """The use cases of their owners."""
        return Webhooks(
            store=self.store.webhooks,
            events=self.store.deliveries,
            queue=self.store.deliveries,
            keyring=self.keyring,
            clock=self.clock,
            check_url=self.guard.check_url,
        )

    def dispatcher(self, wake: Callable[[], None] = lambda: None) -> Dispatcher:
        """Make a dispatcher."""
        return Dispatcher(queue=self.store.deliveries, clock=self.clock, may_work=lambda: True, wake=wake)

    def deliverer(self, **given: Any) -> Deliverer:
        """Make a worker that sends."""
        collaborators: dict[str, Any] = {
            "queue": self.store.deliveries,
            "sender": lambda: GuardedClient(guard=self.guard, timeout_seconds=self.timeout_seconds),
            "keyring": self.keyring,
            "clock": self.clock,
            "chance": lambda: 0.5,
            "may_work": lambda: True,
        }
        made = Deliverer(**(collaborators | given))
        self.deliverers.append(made)
        return made

    async def hook(
        self,
        url: str,
        *events: str,
        account: AccountId = ALICE,
        kinds: tuple[WebhookKind, ...] = (WebhookKind.FEEDS,),
        matching: str | None = None,
    ) -> OpenWebhook:
        """Make a webhook."""
        terms = WebhookTerms(url=url, kinds=frozenset(kinds), events=events, filter=matching)
        return await self.webhooks.create(account, terms)

    async def tell(
        self,
        kind: EventType = EventType.FEED_STARTED,
        stream: str = "show",
        *,
        account: AccountId = ALICE,
        times: int = 1,
        data: Mapping[str, object] | None = None,
    ) -> None:
        """Let something happen, and dispatch it; of several, the data says which one."""
        async with self.store.writing(numbered=False) as write:
            for number in range(times):
                write.tells(Event(account, kind, self.now, stream, data or ({"n": number} if times > 1 else {})))
        await self.dispatcher().dispatch()

    async def send(self, deliverer: Deliverer | None = None) -> int:
        """Send what is due, as long as something is; return how many attempts that were."""
        worker, attempts = deliverer or self.deliverer(), 0
        while begun := await worker.work():
            attempts += begun
            await worker.settle()
        return attempts

    async def deliveries(self, webhook: OpenWebhook, account: AccountId = ALICE) -> list[Delivery]:
        """Return the deliveries of a webhook, oldest first."""
        found = await self.webhooks.deliveries(account, webhook.webhook.id, DeliveryPage(None, None, 1000))
        return list(reversed(found))

    async def webhook(self, webhook_id: WebhookId, account: AccountId = ALICE) -> OpenWebhook:
        """Return a webhook as it is now."""
        return await self.webhooks.read(account, webhook_id)

    async def rows(self, table: Any) -> list[Any]:
        """Return the rows of a table."""
        async with self.store.reading() as connection:
            return list((await connection.execute(select(table).order_by(table.c.id))).mappings())


async def _nobody(_revision: int) -> None:
    """Announce to nobody."""


@asynccontextmanager
async def opened(place: Path | str, *allowed: str, keyring: Keyring | None = None) -> AsyncIterator[Bench]:
    """Open the bench on a migrated SQLite file, or on a PostgreSQL database by its URL, with two accounts."""
    reader, writer = sqlite_engines(place) if isinstance(place, Path) else postgres_engines(place)
    store = Store(Database(reader=reader, writer=writer, announce=_nobody))
    bench = Bench(
        store=store,
        keyring=keyring or Keyring.generate(),
        guard=Guard([parse_network(text) for text in allowed or (LOOPBACK,)]),
    )
    try:
        async with writer.begin() as connection:
            known = {row[0] for row in await connection.execute(select(schema.account.c.id))}
            for account in {ALICE, BOB} - known:
                await connection.execute(insert(schema.account).values(id=account, enabled=True, added_on=int(AT)))
        yield bench
    finally:
        for deliverer in bench.deliverers:
            await deliverer.close()
        await store.close()


def copy_of(blank: Path, folder: Path) -> Path:
    """Return a copy of a migrated file."""
    folder.mkdir(exist_ok=True)
    return Path(shutil.copy(blank, folder / "stagedoor.db"))
