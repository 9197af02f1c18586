"""What is being published, on SQL: read to be ended, and to be pictured."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import select

from stagedoor.model.access import Action
from stagedoor.model.ids import AccountId, EngineId, TokenId
from stagedoor.model.session import OpenSession
from stagedoor.store import schema
from stagedoor.store.codec import session_of
from stagedoor.store.sql_sessions import SqlSessions
from stagedoor.store.transactions import Database

_ASKS: Final = '%"enable_thumbnails":true%'
"""Stands in the terms of every token that asks for thumbnails, and of no other: in texts, quotes are written otherwise."""


class SqlBroadcasts:
    """Broadcasts that are open."""

    def __init__(self, database: Database, sessions: SqlSessions) -> None:
        """Take the database, and who ends sessions on it."""
        self._reading = database.reading
        self._sessions = sessions

    async def broadcasts(
        self, account: AccountId, *, stream: str | None = None, token_id: TokenId | None = None
    ) -> Sequence[OpenSession]:
        """Return the account's open broadcasts, oldest first: of one stream, and with one token, where they are given."""
        c = schema.session.c
        query = select(schema.session).where(c.account_id == account, c.action == Action.PUBLISH, c.ended_at.is_(None))
        if stream is not None:
            query = query.where(c.stream == stream)
        query = query.where(c.shown if token_id is None else c.token_id == token_id)
        async with self._reading() as connection:
            return [session_of(row) for row in (await connection.execute(query.order_by(c.id))).mappings()]

    async def active_tokens(self, account: AccountId, stream: str | None) -> Sequence[TokenId]:
        """Return the tokens that a stream, or any of the account's, is being published with: each once, by id."""
        return await self._sessions.active_tokens(account, stream)

    async def end_session(self, engine: EngineId, session: str, at: float, action: Action | None = None) -> None:
        """End what is open of an engine's session, and count it."""
        await self._sessions.end_session(engine, session, at, action)

    async def asking_for_thumbnails(self) -> Sequence[OpenSession]:
        """Return the open broadcasts, of every account, whose tokens ask for thumbnails, oldest first."""
        s, t = schema.session.c, schema.token.c
        query = (
            select(schema.session)
            .join(schema.token, t.id == s.token_id)
            .where(
                s.action == Action.PUBLISH, s.ended_at.is_(None), s.shown, t.revoked_at.is_(None), t.terms.like(_ASKS)
            )
            .order_by(s.id)
        )
        async with self._reading() as connection:
            return [session_of(row) for row in (await connection.execute(query)).mappings()]
