"""A world in which somebody listens: webhooks as rows, watchers as workers have them, and the events that are written down."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

from sqlalchemy import select

from stagedoor.model.webhook import OWN_EVENTS, Webhook, WebhookKind, WebhookTerms
from stagedoor.service.watch import Watch
from stagedoor.service.webhook_ports import NewWebhook
from stagedoor.store import schema
from stagedoor.store.sql import SqlStore
from tests.world import World
from tests.world import opened as opened_world

KINDS = (WebhookKind.FEEDS, WebhookKind.VIEWER_CONNECTION)


@dataclass(frozen=True, slots=True)
class Told:
    """An event as it was written down."""

    type: str
    data: dict[str, Any]
    at: float
    stream: str
    account: str


class Listening:
    """A world on SQL whose account may have webhooks; what it decides is passed on as the access log passes it on."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.store = cast("SqlStore", world.store)
        self.watch = self.worker()
        self._seen = 0
        self._read = 0

    def worker(self) -> Watch:
        """Make another worker's watch."""
        return Watch(store=self.store.watch, view=self.world.view, clock=self.world.clock, may_work=lambda: True)

    async def listen(self, *kinds: WebhookKind, events: tuple[str, ...] = OWN_EVENTS) -> Webhook:
        """Add a webhook of the account."""
        terms = WebhookTerms(url="https://example.com", kinds=frozenset(kinds), events=events)
        new = NewWebhook(account=self.world.account, terms=terms, seal=lambda _id: b"sealed", added_on=0)
        return await self.store.webhooks.add_webhook(new, 10)

    async def ask(self, step: Mapping[str, Any], /, **more: Any) -> bool:
        """Have an engine ask, and let what was decided be passed on; tell whether it was let in."""
        decision = await self.world.authorize({**step, **more})
        events = self.world.events.kept[self._seen :]
        self._seen += len(events)
        self.watch.saw(events)
        return decision.allowed

    async def settle(self) -> None:
        """Let a worker do what it does in a second."""
        await self.world.sessions.flush()
        await self.watch.flush()
        await self.watch.look()

    async def told(self, prefix: str = "") -> list[Told]:
        """Return the events that were written down since the last call, of which the type begins so."""
        rows = await self.rows(self._read)
        self._read = max((row["id"] for row in rows), default=self._read)
        return [
            Told(row["type"], json.loads(row["data"]), row["at"], row["stream"], row["account_id"])
            for row in rows
            if row["type"].startswith(prefix)
        ]

    async def rows(self, after: int = 0) -> list[Mapping[str, Any]]:
        """Return the rows of events."""
        query = select(schema.event).where(schema.event.c.id > after).order_by(schema.event.c.id)
        async with self.store._reading() as connection:
            return [dict(row) for row in (await connection.execute(query)).mappings()]

    async def types(self, prefix: str = "") -> list[str]:
        """Return the types of the events that were written down since the last call."""
        return [told.type for told in await self.told(prefix)]


@asynccontextmanager
async def listening(
    kind: str, folder: Path, database: str, tokens: Mapping[str, Mapping[str, Any]]
) -> AsyncIterator[Listening]:
    """Open a world on `sqlite` or `postgres` with these tokens; nobody listens yet."""
    async with opened_world(kind, folder, database) as world:
        await world.begin(tokens)
        made = Listening(world)
        # Where reminders begin to look.
        await made.watch.look()
        yield made


publish = partial(dict[str, Any], kind="publish")
subscribe = partial(dict[str, Any], kind="subscribe")


def cam(**more: Any) -> dict[str, Any]:
    """Return the body of a token for the stream `cam`."""
    return {"streams": [{"streamName": "cam"}], **more}
