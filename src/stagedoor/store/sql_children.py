"""Tokens that others signed, on SQL: what is known of their parents, those that are counted, and those that are refused."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Select, delete, exists, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from stagedoor.model.addresses import Network
from stagedoor.model.errors import NotFound
from stagedoor.model.ids import AccountId, TokenId
from stagedoor.model.token import TokenKind, TokenRecord
from stagedoor.service.child_ports import MOST_FORMER, Asked, Former, NewChild, Parentage
from stagedoor.service.ports import ChangeKind
from stagedoor.store import schema
from stagedoor.store.codec import record_of, token_row
from stagedoor.store.sql_sessions import read_bound
from stagedoor.store.sql_tokens import reserve
from stagedoor.store.transactions import Database

_SIGNS = (TokenKind.SUBSCRIBE, TokenKind.ISSUER)


class SqlChildren:
    """The port `ChildStore`."""

    def __init__(self, database: Database) -> None:
        """Take the database."""
        self._reading, self._writing = database.reading, database.writing

    async def keep_children(self, children: Sequence[NewChild]) -> None:
        """Give tokens ids of their own, under which they are counted."""
        async with self._writing() as write:
            for child in children:
                [token_id] = await reserve(write.connection, 1)
                record = TokenRecord(
                    id=token_id,
                    account=child.account,
                    kind=TokenKind.CHILD,
                    terms=child.terms,
                    digest=child.digest,
                    sealed=child.seal(token_id),
                    added_on=child.added_on,
                    parent=child.parent,
                )
                dialect = sqlite if write.connection.dialect.name == "sqlite" else postgresql
                row = {"id": token_id} | token_row(record)
                unless_kept = dialect.insert(schema.token).values(row).on_conflict_do_nothing()
                if (await write.connection.execute(unless_kept)).rowcount:
                    write.touches(ChangeKind.TOKEN, child.account, child.digest)

    async def revoke_child(self, account: AccountId, parent: TokenId, child: str, at: int) -> None:
        """Refuse from now on what has that name."""
        async with self._writing() as write:
            digest = await _find_parent(write.connection, account, parent)
            dialect = sqlite if write.connection.dialect.name == "sqlite" else postgresql
            revoke = dialect.insert(schema.child_revocation)
            latest = {"at": revoke.excluded.at}
            await write.connection.execute(
                revoke.on_conflict_do_update(index_elements=["token_id", "child"], set_=latest),
                {"token_id": parent, "child": child, "at": at},
            )
            write.touches(ChangeKind.TOKEN, account, digest)

    async def revoked_children(self, account: AccountId, parent: TokenId) -> Mapping[str, int]:
        """Return what is refused, and since when."""
        c = schema.child_revocation.c
        async with self._reading() as connection:
            await _find_parent(connection, account, parent)
            revoked = select(c.child, c.at).where(c.token_id == parent).order_by(c.at, c.child)
            return await _pairs(connection, revoked)

    async def forget_children(self, before: int, most: int) -> int:
        """Delete what is kept of up to `most` that were over before an instant, or their parent was revoked; return how many."""
        t, u, b, s = schema.token.c, schema.token_use, schema.token_bound, schema.session.c
        parent = schema.token.alias("parent")
        # Not the newest token of all: SQLite would give its id to the next one.
        newest = select(func.max(schema.token.alias("any").c.id)).scalar_subquery()
        runs = exists().where(s.token_id == t.id, s.ended_at.is_(None))
        children = select(t.id, t.account_id, t.digest).where(t.kind == TokenKind.CHILD, t.id < newest, ~runs)
        orphans = children.join(parent, parent.c.id == t.parent_id).where(parent.c.revoked_at < before)
        for over in (children.where(t.expires_at < before, t.revoked_at.is_(None)), orphans):
            async with self._reading() as connection:
                if (await connection.execute(over.limit(1))).first() is None:
                    continue
            async with self._writing() as write:
                locked = over.limit(most).with_for_update(skip_locked=True, of=schema.token)
                rows = (await write.connection.execute(locked)).all()
                ids = [row.id for row in rows]
                for table in (u, b):
                    await write.connection.execute(delete(table).where(table.c.token_id.in_(ids)))
                await write.connection.execute(delete(schema.token).where(t.id.in_(ids)))
                for row in rows:
                    write.touches(ChangeKind.TOKEN, AccountId(row.account_id), row.digest)
            return len(rows)
        return 0


async def _find_parent(connection: AsyncConnection, account: AccountId, parent: TokenId) -> bytes:
    """Return the digest of a token, or a key, of the account's that may sign others.

    Raises: NotFound.
    """
    c = schema.token.c
    query = select(c.digest).where(c.id == parent, c.account_id == account, c.kind.in_(_SIGNS))
    found: bytes | None = (await connection.execute(query)).scalar_one_or_none() if 0 < parent < 2**63 else None
    if found is None:
        raise NotFound(f"No subscribe token or trusted key with id: {parent}", field="tokenId")
    return found


async def _pairs(connection: AsyncConnection, query: Select[Any]) -> dict[str, int]:
    return {row[0]: row[1] for row in await connection.execute(query)}


async def read_parentage(connection: AsyncConnection, asked: Asked) -> Parentage:
    """Return what is known of the parent that a signed token names, and of that token."""
    t, f, r = schema.token.c, schema.former_secret.c, schema.child_revocation.c
    if asked.parent is None:
        return Parentage(None)
    by = t.digest == asked.parent if isinstance(asked.parent, bytes) else t.id == asked.parent
    row = (await connection.execute(select(schema.token).where(by))).mappings().one_or_none()
    if row is None:
        return Parentage(None)
    record = record_of(row)
    bound: Mapping[Network, float] = {}
    if record.terms.binding is not None:
        bound = await read_bound(connection, record.id)
    kept: dict[bytes, tuple[TokenId, Mapping[Network, float]]] = {}
    children = select(t.digest, t.id).where(t.digest.in_(asked.digests), t.parent_id == record.id)
    for digest, child_id in (await connection.execute(children)).all():
        kept[digest] = TokenId(child_id), await read_bound(connection, TokenId(child_id))
    revoked = select(r.child, r.at).where(r.token_id == record.id, r.child.in_(asked.names))
    former = select(f.digest, f.sealed, f.until).where(f.token_id == record.id)
    newest = former.order_by(f.until.desc(), f.id.desc()).limit(MOST_FORMER)
    return Parentage(
        record,
        bound,
        kept,
        await _pairs(connection, revoked),
        tuple(Former(*each) for each in await connection.execute(newest)),
    )
