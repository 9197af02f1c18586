"""The ports on SQL, through SQLAlchemy Core.

Every write is one transaction that takes the revision row first: its lock makes the order of revisions the order of
commits. On SQLite, one writer at a time, with the log on disk before a call returns; readers see the last commit and
wait for nobody.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Update, bindparam, case, delete, insert, literal, select, union_all, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from stagedoor.model.engine import Engine, EngineKind
from stagedoor.model.errors import Conflict, NotFound, Unavailable
from stagedoor.model.ids import AccountId, EngineId, TokenId
from stagedoor.model.token import TokenKind, TokenRecord
from stagedoor.service.ports import (
    Announce,
    Change,
    ChangeKind,
    Facts,
    NewAccount,
    NewToken,
    Page,
    SortBy,
    TokenChange,
)
from stagedoor.store import schema
from stagedoor.store.codec import distinct, publisher_names, record_of, write_terms

_log = logging.getLogger(__name__)

_LARGEST_ID: Final = 2**63 - 1

KEPT_CHANGES: Final = 10_000
"""How many revisions back a view can catch up step by step; further behind, it starts afresh."""


@dataclass(slots=True)
class _Write:
    """A transaction under way: its connection, its revision, and what it touches."""

    connection: AsyncConnection
    revision: int
    changes: list[Change] = field(default_factory=list)

    def touches(self, kind: ChangeKind, account: AccountId, digest: bytes = b"") -> None:
        self.changes.append(Change(self.revision, kind, account, digest))


class SqlStore:
    """All the ports, on one database."""

    def __init__(self, *, reader: AsyncEngine, writer: AsyncEngine, announce: Announce) -> None:
        """Take an engine for reads and one for writes (see `store.sqlite`), and how to announce a commit."""
        self._reader = reader
        self._writer = writer
        self._announce = announce

    async def close(self) -> None:
        """Close all connections."""
        await self._reader.dispose()
        await self._writer.dispose()

    # -- FactSource

    async def facts(self, digest: bytes | None, account: AccountId, name: str, *, with_publishers: bool) -> Facts:
        """Read the token with `digest` and, if asked, the publishers of stream `name`, in one statement."""
        statement = _FACTS_WITH_PUBLISHERS if with_publishers else _FACTS
        parameters: dict[str, object] = {"digest": digest or b""}
        if with_publishers:
            parameters |= {"account": account, "name": name}
        async with self._reading() as connection:
            rows = (await connection.execute(statement, parameters)).mappings().all()
        shown = next(row for row in rows if row["shown"])
        record = record_of(shown) if shown["id"] is not None else None
        owner = account or (record.account if record is not None else AccountId(""))
        return Facts(record, owner, distinct(record_of(row) for row in rows if not row["shown"]), shown["n"])

    async def changes_after(self, revision: int) -> tuple[int, Sequence[Change] | None]:
        """Return the newest revision and what changed after `revision`, oldest first; None when that is not kept."""
        c = schema.change.c
        statement = (
            select(schema.revision.c.n, c.revision, c.kind, c.account_id, c.digest)
            .select_from(schema.revision.outerjoin(schema.change, c.revision > revision))
            .order_by(c.revision, c.part)
        )
        async with self._reading() as connection:
            rows = (await connection.execute(statement)).all()
        newest: int = rows[0][0]
        if newest <= revision:
            return newest, ()
        if revision < 0 or rows[0][1] != revision + 1:
            return newest, None
        return newest, [Change(row[1], ChangeKind(row[2]), AccountId(row[3]), row[4]) for row in rows]

    async def revision(self) -> int:
        """Return the number of the last write."""
        async with self._reading() as connection:
            found: int = (await connection.execute(select(schema.revision.c.n))).scalar_one()
            return found

    async def disabled_accounts(self) -> frozenset[AccountId]:
        """Return the accounts that are closed."""
        c = schema.account.c
        async with self._reading() as connection:
            rows = await connection.execute(select(c.id).where(c.enabled.is_(False)))
            return frozenset(AccountId(row[0]) for row in rows)

    # -- TokenStore

    async def add_token(self, new: NewToken) -> TokenRecord:
        """Keep a new token and return it with its id."""
        async with self._writing() as write:
            values: dict[str, Any] = {
                "account_id": new.account,
                "kind": new.kind,
                "label": new.terms.label,
                "terms": write_terms(new.terms),
                "digest": new.digest,
                "sealed": b"",
                "added_on": new.added_on,
            }
            inserted = await write.connection.execute(insert(schema.token).values(values).returning(schema.token.c.id))
            token_id = TokenId(inserted.scalar_one())
            sealed = new.seal(token_id)
            await write.connection.execute(_one_token(token_id).values(sealed=sealed))
            record = TokenRecord(
                id=token_id,
                account=new.account,
                kind=new.kind,
                terms=new.terms,
                digest=new.digest,
                sealed=sealed,
                added_on=new.added_on,
            )
            await self._touch_token(write, record)
        return record

    async def token(self, account: AccountId, kind: TokenKind, token_id: TokenId) -> TokenRecord:
        """Return a token."""
        async with self._reading() as connection:
            return await _find_token(connection, account, kind, token_id)

    async def tokens(self, account: AccountId, kind: TokenKind, page: Page) -> Sequence[TokenRecord]:
        """Return one page of the account's tokens; empty past the end."""
        c = schema.token.c
        column = c.label if page.sort_by is SortBy.NAME else c.added_on
        order = (column.desc(), c.id.desc()) if page.descending else (column, c.id)
        statement = (
            select(schema.token)
            .where(c.account_id == account, c.kind == kind, c.revoked_at.is_(None))
            .order_by(*order)
            .limit(page.size)
            .offset((page.number - 1) * page.size)
        )
        async with self._reading() as connection:
            return [record_of(row) for row in (await connection.execute(statement)).mappings()]

    async def change_token(
        self, account: AccountId, kind: TokenKind, token_id: TokenId, change: TokenChange
    ) -> TokenRecord:
        """Apply `change` and return the token as it is now."""
        async with self._writing() as write:
            old = await _find_token(write.connection, account, kind, token_id)
            terms = change.terms(old.terms) if change.terms is not None else old.terms
            new = TokenRecord(
                id=old.id,
                account=account,
                kind=kind,
                terms=terms,
                digest=change.digest or old.digest,
                sealed=change.sealed or old.sealed,
                added_on=old.added_on,
            )
            await write.connection.execute(
                _one_token(token_id).values(
                    label=terms.label, terms=write_terms(terms), digest=new.digest, sealed=new.sealed
                )
            )
            await self._touch_token(write, new)
            if new.digest != old.digest:
                write.touches(ChangeKind.TOKEN, account, old.digest)
        return new

    async def revoke_token(self, account: AccountId, kind: TokenKind, token_id: TokenId, at: int) -> None:
        """Put the tombstone `at` (seconds since the epoch)."""
        async with self._writing() as write:
            record = await _find_token(write.connection, account, kind, token_id)
            await write.connection.execute(_one_token(token_id).values(revoked_at=at))
            await self._touch_token(write, record, covers=False)

    async def _touch_token(self, write: _Write, record: TokenRecord, *, covers: bool = True) -> None:
        """Note that `record` is new or changed, and keep `publisher_stream` in step with its terms."""
        write.touches(ChangeKind.TOKEN, record.account, record.digest)
        if record.kind is not TokenKind.PUBLISH:
            return
        write.touches(ChangeKind.PUBLISHERS, record.account)
        streams = schema.publisher_stream
        await write.connection.execute(delete(streams).where(streams.c.token_id == record.id))
        if covers:
            rows = [
                {"account_id": record.account, "name": name, "token_id": record.id}
                for name in publisher_names(record.terms)
            ]
            if rows:
                await write.connection.execute(insert(streams), rows)

    # -- AccountStore

    async def add_first_account(self, new: NewAccount) -> None:
        """Keep the first account."""
        async with self._writing() as write:
            existing = (await write.connection.execute(select(schema.account.c.id).limit(1))).scalar_one_or_none()
            if existing is not None:
                raise Conflict(f"there is an account already: {existing}")
            await write.connection.execute(
                insert(schema.account).values(id=new.id, enabled=True, added_on=new.added_on)
            )
            await write.connection.execute(
                insert(schema.user).values(
                    account_id=new.id,
                    email=new.admin_email,
                    password_hash=new.admin_password_hash,
                    role="owner",
                    added_on=new.added_on,
                )
            )
            await write.connection.execute(
                insert(schema.api_secret).values(
                    account_id=new.id, label="first", digest=new.api_secret_digest, added_on=new.added_on
                )
            )
            write.touches(ChangeKind.ACCOUNT, new.id)

    async def accounts(self) -> Sequence[AccountId]:
        """Return all account ids, oldest first."""
        c = schema.account.c
        async with self._reading() as connection:
            rows = await connection.execute(select(c.id).order_by(c.added_on, c.id))
            return [AccountId(row[0]) for row in rows]

    async def account_of_api_secret(self, digest: bytes) -> AccountId | None:
        """Return the open account whose API secret has `digest`; None when there is none."""
        statement = (
            select(schema.account.c.id)
            .join(schema.api_secret)
            .where(schema.api_secret.c.digest == digest, schema.account.c.enabled)
        )
        async with self._reading() as connection:
            found = (await connection.execute(statement)).scalar_one_or_none()
            return None if found is None else AccountId(found)

    async def set_account_enabled(self, account: AccountId, enabled: bool) -> None:
        """Open or close an account."""
        async with self._writing() as write:
            statement = update(schema.account).where(schema.account.c.id == account).values(enabled=enabled)
            if (await write.connection.execute(statement)).rowcount == 0:
                raise NotFound(f"there is no account {account!r}")
            write.touches(ChangeKind.ACCOUNT, account)

    # -- EngineStore

    async def add_engine(self, engine: Engine) -> None:
        """Keep a new engine."""
        async with self._writing() as write:
            if engine.account:
                query = select(schema.account.c.id).where(schema.account.c.id == engine.account)
                if (await write.connection.execute(query)).scalar_one_or_none() is None:
                    raise NotFound(f"there is no account {engine.account!r}", field="account")
            try:
                await write.connection.execute(
                    insert(schema.engine).values(
                        id=engine.id,
                        kind=engine.kind,
                        name=engine.name,
                        account_id=engine.account,
                        secret_digest=engine.secret_digest,
                        added_on=engine.added_on,
                    )
                )
            except IntegrityError:
                raise Conflict(
                    f"there is an engine {engine.name!r} already; choose another name", field="name"
                ) from None
            write.touches(ChangeKind.ENGINE, engine.account)

    async def engines(self) -> Sequence[Engine]:
        """Return all engines, by name."""
        async with self._reading() as connection:
            rows = (await connection.execute(select(schema.engine).order_by(schema.engine.c.name))).mappings()
            return [
                Engine(
                    id=EngineId(row["id"]),
                    kind=EngineKind(row["kind"]),
                    name=row["name"],
                    account=AccountId(row["account_id"]),
                    secret_digest=row["secret_digest"],
                    added_on=row["added_on"],
                )
                for row in rows
            ]

    async def remove_engine(self, name: str) -> None:
        """Forget an engine."""
        async with self._writing() as write:
            statement = delete(schema.engine).where(schema.engine.c.name == name)
            if (await write.connection.execute(statement)).rowcount == 0:
                raise NotFound(f"there is no engine {name!r}", field="name")
            write.touches(ChangeKind.ENGINE, AccountId(""))

    async def replace_engine_secret(self, engine_id: EngineId, digest: bytes) -> None:
        """Give an engine a new hook secret."""
        async with self._writing() as write:
            statement = update(schema.engine).where(schema.engine.c.id == engine_id).values(secret_digest=digest)
            if (await write.connection.execute(statement)).rowcount == 0:
                raise NotFound(f"there is no engine {engine_id!r}")
            write.touches(ChangeKind.ENGINE, AccountId(""))

    # -- transactions

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[AsyncConnection]:
        with _answering():
            async with self._reader.connect() as connection:
                yield connection

    @asynccontextmanager
    async def _writing(self) -> AsyncIterator[_Write]:
        """Run one write: number it, do it, note what it touched, commit, announce. An exception undoes it whole."""
        with _answering():
            async with self._writer.begin() as connection:
                n = schema.revision.c.n
                bumped = await connection.execute(update(schema.revision).values(n=n + 1).returning(n))
                write = _Write(connection, bumped.scalar_one())
                yield write
                await connection.execute(
                    insert(schema.change),
                    [
                        {
                            "revision": c.revision,
                            "part": part,
                            "kind": c.kind,
                            "account_id": c.account,
                            "digest": c.digest,
                        }
                        for part, c in enumerate(write.changes)
                    ],
                )
                await connection.execute(
                    delete(schema.change).where(schema.change.c.revision <= write.revision - KEPT_CHANGES)
                )
        # A caller that goes away after the commit must not keep the others from learning of it.
        await asyncio.shield(self._announce(write.revision))


@contextmanager
def _answering() -> Iterator[None]:
    """Turn the database's failures into ours; what it said goes to the log, without parameters.

    Raises: Unavailable.
    """
    try:
        yield
    except (SQLAlchemyError, OSError) as error:
        _log.error("the database failed: %s", str(error).splitlines()[0])
        raise Unavailable("the database does not answer; try again") from error


def _one_token(token_id: TokenId) -> Update:
    return update(schema.token).where(schema.token.c.id == token_id)


async def _find_token(
    connection: AsyncConnection, account: AccountId, kind: TokenKind, token_id: TokenId
) -> TokenRecord:
    c = schema.token.c
    if not 0 < token_id <= _LARGEST_ID:
        raise NotFound(f"No {kind} token with id: {token_id}", field="tokenId")
    query = select(schema.token).where(
        c.id == token_id, c.account_id == account, c.kind == kind, c.revoked_at.is_(None)
    )
    row = (await connection.execute(query)).mappings().one_or_none()
    if row is None:
        raise NotFound(f"No {kind} token with id: {token_id}", field="tokenId")
    return record_of(row)


def _fact_statements() -> tuple[Any, Any]:
    """Build the two forms of the cold look-up. One row is marked `shown`, the token (or nulls); others are publishers."""
    number, token, streams = schema.revision.c.n, schema.token, schema.publisher_stream
    shown = select(number, literal(True).label("shown"), token).select_from(
        schema.revision.outerjoin(token, token.c.digest == bindparam("digest"))
    )
    owner = case(
        (bindparam("account") != "", bindparam("account")),
        else_=select(token.c.account_id).where(token.c.digest == bindparam("digest")).scalar_subquery(),
    )
    covering = (
        select(number, literal(False).label("shown"), token)
        .select_from(schema.revision)
        .join(streams, streams.c.account_id == owner)
        .join(token, token.c.id == streams.c.token_id)
        .where(streams.c.name.in_((bindparam("name"), "")), token.c.revoked_at.is_(None))
    )
    return shown, union_all(shown, covering)


_FACTS, _FACTS_WITH_PUBLISHERS = _fact_statements()
