"""Reads and writes of the SQL store: how a write is numbered, noted and announced.

A numbered write takes the revision row first: its lock makes the order of revisions the order of commits. A write that no
view remembers anything of (a session begins) is not numbered. Locks are taken in one order: revision, account, token.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import BigInteger, bindparam, delete, insert, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from stagedoor.model.errors import Unavailable
from stagedoor.model.events import Event
from stagedoor.model.ids import AccountId
from stagedoor.service.ports import Announce, Change, ChangeKind
from stagedoor.store import schema
from stagedoor.store.together import Step, together

_log = logging.getLogger(__name__)

_NEXT: Final = update(schema.revision).values(n=schema.revision.c.n + 1).returning(schema.revision.c.n)
_NOTE: Final = insert(schema.change)
_TOLD: Final = select(schema.webhook.c.account_id).where(schema.webhook.c.account_id == bindparam("account")).limit(1)
_FORGET: Final = delete(schema.change).where(schema.change.c.revision <= bindparam("before", type_=BigInteger))

KEPT_CHANGES: Final = 10_000
"""How many revisions back a view can catch up step by step; further behind, it starts afresh."""


@dataclass(slots=True)
class Write:
    """A transaction under way: its connection, its revision (0: it is not numbered), and what it touches."""

    connection: AsyncConnection
    revision: int
    changes: list[Change] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    def touches(self, kind: ChangeKind, account: AccountId, key: bytes = b"") -> None:
        """Note what views have to forget."""
        self.changes.append(Change(self.revision, kind, account, key))

    def tells(self, event: Event) -> None:
        """Note what happens by this, for whoever asked to be told: it is told if the transaction is committed."""
        self.events.append(event)


class Database:
    """One database, with an engine for reads and one for writes (see `store.sqlite`, `store.postgres`)."""

    def __init__(self, *, reader: AsyncEngine, writer: AsyncEngine, announce: Announce) -> None:
        """Take the engines, and how to announce a commit."""
        self._reader = reader
        self._writer = writer
        self._announce = announce

    async def close(self) -> None:
        """Close all connections."""
        await self._reader.dispose()
        await self._writer.dispose()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """Open a connection that sees the last commit.

        Raises: Unavailable.
        """
        with _answering():
            async with self._reader.connect() as connection:
                yield connection

    @asynccontextmanager
    async def writing(self, *, numbered: bool = True) -> AsyncIterator[Write]:
        """Run one write: number it, do it, note what it touched, commit, announce. An exception undoes it whole.

        A numbered write that touched nothing gives its number back: there is nothing to tell.

        Raises: Unavailable.
        """
        with _answering():
            async with self._writer.begin() as connection:
                write = Write(connection, await _next_revision(connection) if numbered else 0)
                yield write
                if write.events:
                    await _keep_events(write)
                if write.changes:
                    await _note(write)
                elif numbered:
                    n = schema.revision.c.n
                    await connection.execute(update(schema.revision).values(n=n - 1))
        if write.changes:
            # A caller that goes away after the commit must not keep the others from learning of it.
            await asyncio.shield(self._announce(write.revision))


async def _next_revision(connection: AsyncConnection) -> int:
    [(revision,)] = await together(connection, [Step(_NEXT, finds=True)])
    return int(revision)


async def _note(write: Write) -> None:
    rows = [
        {"revision": c.revision, "part": part, "kind": c.kind, "account_id": c.account, "what": c.key}
        for part, c in enumerate(write.changes)
    ]
    before = [{"before": write.revision - KEPT_CHANGES}]
    await together(write.connection, [Step(_NOTE, rows), Step(_FORGET, before)])


async def with_webhooks(connection: AsyncConnection, accounts: Collection[AccountId]) -> frozenset[AccountId]:
    """Return those of the accounts that want to be told of anything."""
    rows = await together(connection, [Step(_TOLD, [{"account": account} for account in accounts], finds=True)])
    return frozenset(AccountId(row[0]) for row in rows)


async def _keep_events(write: Write) -> None:
    """Write down the events of accounts that have webhooks; who else would ask for them?"""
    told = await with_webhooks(write.connection, {event.account for event in write.events})
    events = [
        {
            "account_id": event.account,
            "type": event.type,
            "stream": event.stream,
            "data": json.dumps(dict(event.data)),
            "at": event.at,
            "dispatched": False,
        }
        for event in write.events
        if event.account in told
    ]
    if events:
        await write.connection.execute(insert(schema.event), events)


@contextmanager
def _answering() -> Iterator[None]:
    """Turn the database's failures into ours; what it said goes to the log, without parameters.

    Raises: Unavailable.
    """
    try:
        yield
    except (SQLAlchemyError, OSError) as error:
        _log.error("the database failed: %s", str(error).partition("\n")[0] or type(error).__name__)
        raise Unavailable("the database does not answer; try again") from error
