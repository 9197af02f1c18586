"""Reads and writes of the SQL store: how a write is numbered, noted and announced.

A numbered write takes the revision row first: its lock makes the order of revisions the order of commits. A write that no
view remembers anything of (a session begins) is not numbered. Locks are taken in one order: revision, account, token.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import delete, insert, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from stagedoor.model.errors import Unavailable
from stagedoor.model.ids import AccountId
from stagedoor.service.ports import Announce, Change, ChangeKind
from stagedoor.store import schema

_log = logging.getLogger(__name__)

KEPT_CHANGES: Final = 10_000
"""How many revisions back a view can catch up step by step; further behind, it starts afresh."""


@dataclass(slots=True)
class Write:
    """A transaction under way: its connection, its revision (0: it is not numbered), and what it touches."""

    connection: AsyncConnection
    revision: int
    changes: list[Change] = field(default_factory=list)

    def touches(self, kind: ChangeKind, account: AccountId, key: bytes = b"") -> None:
        """Note what views have to forget."""
        self.changes.append(Change(self.revision, kind, account, key))


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
                if write.changes:
                    await _note(write)
                elif numbered:
                    n = schema.revision.c.n
                    await connection.execute(update(schema.revision).values(n=n - 1))
        if write.changes:
            # A caller that goes away after the commit must not keep the others from learning of it.
            await asyncio.shield(self._announce(write.revision))


async def _next_revision(connection: AsyncConnection) -> int:
    n = schema.revision.c.n
    revision: int = (await connection.execute(update(schema.revision).values(n=n + 1).returning(n))).scalar_one()
    return revision


async def _note(write: Write) -> None:
    rows = [
        {"revision": c.revision, "part": part, "kind": c.kind, "account_id": c.account, "what": c.key}
        for part, c in enumerate(write.changes)
    ]
    await write.connection.execute(insert(schema.change), rows)
    await write.connection.execute(
        delete(schema.change).where(schema.change.c.revision <= write.revision - KEPT_CHANGES)
    )


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
