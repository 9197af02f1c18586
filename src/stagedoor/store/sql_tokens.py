"""Tokens on SQL.

What stands beside a token is kept in step in its transaction: the columns and names that lists are searched by, the shelves
that they are paged by (`store.shelves`), and `publisher_stream`, which decisions look into.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

from sqlalchemy import Select, bindparam, delete, exists, func, insert, or_, select, text, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from stagedoor.model.errors import Conflict, NotFound, Unavailable
from stagedoor.model.events import events_of_change, events_of_new, events_of_revocation
from stagedoor.model.ids import AccountId, TokenId
from stagedoor.model.token import TokenKind, TokenRecord, what_is
from stagedoor.service.ports import (
    IDEMPOTENCY_SECONDS,
    ChangeKind,
    FilterBy,
    FormerUse,
    Idempotency,
    NewToken,
    Page,
    SortBy,
    TokenChange,
)
from stagedoor.store import schema
from stagedoor.store.codec import lower_ascii, publisher_names, record_of, searched_names, token_row
from stagedoor.store.gather import Gather
from stagedoor.store.shelves import MOST, Place, count_in, count_out, place_of, places_of, read_count, read_page, split
from stagedoor.store.sql_sessions import forget_bound, forget_use
from stagedoor.store.together import Step, together
from stagedoor.store.transactions import Database, Write

_LARGEST_ID: Final = 2**63 - 1
_LONGEST_LABEL: Final = 128

_TOGETHER: Final = 200
"""How many tokens are written, or read, at once."""

_FORGOTTEN: Final = 1000
"""How many keys that are too old are forgotten at once."""


class SqlTokens:
    """The port `TokenStore`."""

    def __init__(self, database: Database, *, shelf: int = MOST) -> None:
        """Take the database, and how many tokens a shelf holds."""
        self._reading, self._writing = database.reading, database.writing
        self._shelf = shelf
        self._add = Gather(self._add_all, most=_TOGETHER)
        self._find = Gather(self._find_all, most=_TOGETHER)

    async def rest(self) -> None:
        """Wait until what was begun for several callers is done, should they have gone away."""
        await self._add.rest()
        await self._find.rest()

    async def add_token(self, new: NewToken) -> TokenRecord:
        """Keep a new token and return it with its id."""
        return await self._add(new)

    async def token(self, account: AccountId, kind: TokenKind, token_id: TokenId) -> TokenRecord:
        """Return a token."""
        record = await self._find(token_id) if 0 < token_id <= _LARGEST_ID else None
        return _checked(record, account, kind, token_id)

    async def find_token(self, token: TokenId | bytes) -> TokenRecord:
        """Return a token by its id or its digest, of any account and kind, revoked ones too."""
        c = schema.token.c
        row = None
        if isinstance(token, bytes) or 0 < token <= _LARGEST_ID:
            query = select(schema.token).where(c.digest == token if isinstance(token, bytes) else c.id == token)
            async with self._reading() as connection:
                row = (await connection.execute(query)).mappings().one_or_none()
        if row is None:
            raise NotFound("there is no such token", field="tokenId")
        return record_of(row)

    async def tokens(self, account: AccountId, kind: TokenKind, page: Page) -> Sequence[TokenRecord]:
        """Return one page of the account's tokens; empty past the end."""
        async with self._reading() as connection:
            return [record_of(row) for row in await read_page(connection, account, kind, page)]

    async def count_tokens(self, account: AccountId, kind: TokenKind) -> int:
        """Return how many tokens the account has."""
        async with self._reading() as connection:
            return await read_count(connection, account, kind)

    async def tokens_by_name(
        self, account: AccountId, kind: TokenKind, name: str, by: FilterBy | None, page: Page
    ) -> Sequence[TokenRecord]:
        """Return one page of the tokens with `name` as a part of their label or of a stream name."""
        if by is None or by is FilterBy.NONE:
            return await self.tokens(account, kind, page)
        # No label and no stream name has these, and not every database can be asked for them.
        if len(name) > _LONGEST_LABEL or "\0" in name or any("\ud800" <= letter <= "\udfff" for letter in name):
            return []
        wanted, t, s = lower_ascii(name), schema.token.c, schema.token_stream.c
        conditions = []
        if by is not FilterBy.STREAM_NAME:
            conditions.append(func.lower(t.label).contains(wanted, autoescape=True))
        if by is not FilterBy.TOKEN_NAME:
            found = func.lower(s.name).contains(wanted, autoescape=True)
            conditions.append(exists().where(s.token_id == t.id, found))
        return await self._search(_listed(account, kind, page).where(or_(*conditions)))

    async def tokens_by_cluster(
        self, account: AccountId, kind: TokenKind, cluster: str, default_cluster: str, page: Page
    ) -> Sequence[TokenRecord]:
        """Return one page of the tokens that name `cluster`, or name none if it is the `default_cluster`."""
        names = {cluster, ""} if cluster == default_cluster else {cluster}
        return await self._search(_listed(account, kind, page).where(schema.token.c.cluster_id.in_(sorted(names))))

    async def change_token(
        self, account: AccountId, kind: TokenKind, token_id: TokenId, change: TokenChange
    ) -> TokenRecord:
        """Apply `change` and return the token as it is now."""
        async with self._writing() as write:
            old = await _find_token(write.connection, account, kind, token_id)
            new = replace(
                old,
                terms=change.terms(old.terms) if change.terms is not None else old.terms,
                digest=change.digest or old.digest,
                sealed=change.sealed or old.sealed,
            )
            await write.connection.execute(
                update(schema.token).where(schema.token.c.id == token_id).values(token_row(new))
            )
            steps = []
            if new.terms.streams != old.terms.streams:
                steps += [*_forget_names(old), *_keep_names([new])]
            if new.terms.label != old.terms.label:
                steps += count_out([place_of(old, SortBy.NAME)])
                steps += self._count_in(write, [place_of(new, SortBy.NAME)])
            await split(write.connection, await together(write.connection, steps), self._shelf)
            _touch(write, [new])
            if new.digest != old.digest:
                write.touches(ChangeKind.TOKEN, account, old.digest)
                if change.former is None:
                    await self._end_former(write, account, token_id)
                    await forget_use(write.connection, token_id)
                else:
                    await write.connection.execute(insert(schema.former_secret).values(_former_row(old, change)))
            if new.terms.binding != old.terms.binding:
                await forget_bound(write.connection, token_id)
            for event in events_of_change(old, new, change.at):
                write.tells(event)
        return new

    async def revoke_token(self, account: AccountId, kind: TokenKind, token_id: TokenId, at: int) -> None:
        """Put the tombstone `at` (seconds since the epoch)."""
        async with self._writing() as write:
            record = await _find_token(write.connection, account, kind, token_id)
            await write.connection.execute(
                update(schema.token).where(schema.token.c.id == token_id).values(revoked_at=at)
            )
            await together(write.connection, [*_forget_names(record), *count_out(places_of([record]))])
            _touch(write, [record])
            for event in events_of_revocation(record, at):
                write.tells(event)

    async def former_uses(self, token_id: TokenId) -> Sequence[FormerUse]:
        """Return what is known of the values that a token had before, newest first."""
        c = schema.former_secret.c
        query = select(c.replaced_at, c.until, c.uses, c.last_used_at).where(c.token_id == token_id)
        async with self._reading() as connection:
            rows = await connection.execute(query.order_by(c.replaced_at.desc(), c.digest))
            return [FormerUse(*row) for row in rows]

    async def end_former(self, account: AccountId, kind: TokenKind, token_id: TokenId) -> None:
        """Refuse from now on all values that a token had before."""
        async with self._writing() as write:
            record = await _find_token(write.connection, account, kind, token_id)
            write.touches(ChangeKind.TOKEN, account, record.digest)
            await self._end_former(write, account, token_id)

    async def _end_former(self, write: Write, account: AccountId, token_id: TokenId) -> None:
        c = schema.former_secret.c
        ended = delete(schema.former_secret).where(c.token_id == token_id).returning(c.digest)
        for digest in (await write.connection.execute(ended)).scalars():
            write.touches(ChangeKind.TOKEN, account, digest)

    def _count_in(self, write: Write, places: Sequence[Place]) -> list[Step]:
        return count_in(places, self._shelf, on_sqlite=write.connection.dialect.name == "sqlite")

    async def _search(self, query: Select[Any]) -> Sequence[TokenRecord]:
        async with self._reading() as connection:
            return [record_of(row) for row in (await connection.execute(query)).mappings()]

    async def _find_all(self, token_ids: Sequence[TokenId]) -> Sequence[TokenRecord | None]:
        """Return the tokens with these ids, each or None, by one statement."""
        query = select(schema.token).where(schema.token.c.id.in_(sorted(set(token_ids))))
        async with self._reading() as connection:
            rows = (await connection.execute(query)).mappings().all()
        found = {row["id"]: record_of(row) for row in rows}
        return [found.get(token_id) for token_id in token_ids]

    async def _add_all(self, batch: Sequence[NewToken]) -> Sequence[TokenRecord | Exception]:
        """Keep tokens in one write; where the database refuses one of them, each in its own."""
        try:
            return await self._add_together(batch)
        except Exception as error:
            if len(batch) == 1 or not _is_of_one(error):
                raise
        results: list[TokenRecord | Exception] = []
        for new in batch:
            try:
                results += await self._add_together([new])
            except Exception as error:  # noqa: BLE001  its caller gets it
                results.append(error)
                if not _is_of_one(error):
                    return results + [error] * (len(batch) - len(results))
        return results

    async def _add_together(self, batch: Sequence[NewToken]) -> Sequence[TokenRecord | Exception]:
        """Keep tokens in one write. One that cannot be kept, or is kept already, is left out."""
        results: list[TokenRecord | Exception] = []
        made: list[TokenRecord] = []
        keys: list[dict[str, object]] = []
        async with self._writing() as write:
            kept = await _kept(write.connection, batch)
            token_ids = await reserve(write.connection, len(batch))
            rows = []
            for new, token_id in zip(batch, token_ids, strict=True):
                try:
                    earlier = kept.get((new.account, new.idempotency.key)) if new.idempotency is not None else None
                    if earlier is not None and earlier.counts(new):
                        results.append(earlier.answer(new))
                        continue
                    record = _record(new, token_id)
                    rows.append({"id": token_id} | token_row(record))
                except Exception as error:  # noqa: BLE001  its caller gets it, and the others theirs
                    results.append(error)
                    continue
                results.append(record)
                made.append(record)
                if new.idempotency is not None:
                    kept[new.account, new.idempotency.key] = _Kept(new.idempotency, new.added_on, record)
                    keys.append(_key_row(new, new.idempotency, token_id))
            if made:
                steps = [Step(_INSERT, rows), *_keep_names(made), *self._count_in(write, places_of(made))]
                steps.append(Step(_KEEP_KEY[write.connection.dialect.name], keys))
                await split(write.connection, await together(write.connection, steps), self._shelf)
                _touch(write, made)
            for record in made:
                for event in events_of_new(record, record.added_on):
                    write.tells(event)
        return results


class _Kept(NamedTuple):
    """A token that was made for a request with a key of its own, and when."""

    request: Idempotency
    at: int
    record: TokenRecord

    def counts(self, new: NewToken) -> bool:
        """Tell whether the key still stands for that request."""
        return new.added_on < self.at + IDEMPOTENCY_SECONDS

    def answer(self, new: NewToken) -> TokenRecord:
        """Return the token again.

        Raises: Conflict.
        """
        if new.idempotency != self.request:
            raise Conflict("this Idempotency-Key came with another request; use a new key", field="Idempotency-Key")
        if self.record.revoked_at is not None:
            raise Conflict(
                "the token made with this Idempotency-Key is not there any more; use a new key", field="Idempotency-Key"
            )
        return self.record


async def _kept(connection: AsyncConnection, batch: Iterable[NewToken]) -> dict[tuple[AccountId, str], _Kept]:
    """Return what was made with the keys of these requests, and forget some that are too old."""
    keyed = {(new.account, new.idempotency.key): new.added_on for new in batch if new.idempotency is not None}
    if not keyed:
        return {}
    c = schema.idempotency.c
    old = select(c.account_id, c.key).where(c.at <= min(keyed.values()) - IDEMPOTENCY_SECONDS).limit(_FORGOTTEN)
    await connection.execute(delete(schema.idempotency).where(tuple_(c.account_id, c.key).in_(old)))
    query = (
        select(c.key, c.fingerprint, c.at, schema.token)
        .join(schema.token, schema.token.c.id == c.token_id)
        .where(c.account_id.in_({account for account, _ in keyed}), c.key.in_({key for _, key in keyed}))
    )
    found = {}
    for row in (await connection.execute(query)).mappings():
        record = record_of(row)
        found[record.account, row["key"]] = _Kept(Idempotency(row["key"], row["fingerprint"]), row["at"], record)
    return found


def _key_row(new: NewToken, request: Idempotency, token_id: TokenId) -> dict[str, object]:
    return {
        "account_id": new.account,
        "key": request.key,
        "fingerprint": request.fingerprint,
        "token_id": token_id,
        "at": new.added_on,
    }


def _keep_key_statements() -> Mapping[str, Any]:
    """Build what keeps a key, also in the place of one that is too old."""
    found = {}
    for dialect in (sqlite, postgresql):
        keep = dialect.insert(schema.idempotency)
        newer = {name: keep.excluded[name] for name in ("fingerprint", "token_id", "at")}
        statement = keep.on_conflict_do_update(index_elements=["account_id", "key"], set_=newer)
        found[dialect.dialect.name] = statement
    return found


_KEEP_KEY: Final = _keep_key_statements()
_LAST: Final = select(func.coalesce(func.max(schema.token.c.id), 0))
_INSERT: Final = insert(schema.token)
_INSERT_SEARCHED: Final = insert(schema.token_stream)
_INSERT_COVERED: Final = insert(schema.publisher_stream)
_DELETE_SEARCHED, _DELETE_COVERED = (
    delete(table).where(table.c.token_id == bindparam("token"))
    for table in (schema.token_stream, schema.publisher_stream)
)
_NEXT_NUMBERS: Final = text("SELECT nextval(pg_get_serial_sequence('token', 'id')) FROM generate_series(1, :many)")


async def reserve(connection: AsyncConnection, many: int) -> list[TokenId]:
    """Return ids that nobody else takes. SQLite has one writer, and the newest token is never deleted."""
    if connection.dialect.name == "sqlite":
        [(last,)] = await together(connection, [Step(_LAST, finds=True)])
        return [TokenId(last + 1 + n) for n in range(many)]
    return [TokenId(row[0]) for row in await connection.execute(_NEXT_NUMBERS, {"many": many})]


def _former_row(old: TokenRecord, change: TokenChange) -> dict[str, object]:
    assert change.former is not None  # noqa: S101  its caller has looked
    former = change.former(old)
    return {
        "digest": former.digest,
        "token_id": old.id,
        "sealed": former.sealed,
        "replaced_at": int(change.at),
        "until": former.until,
        "uses": 0,
    }


def _record(new: NewToken, token_id: TokenId) -> TokenRecord:
    return TokenRecord(
        id=token_id,
        account=new.account,
        kind=new.kind,
        terms=new.terms,
        digest=new.digest,
        sealed=new.seal(token_id),
        added_on=new.added_on,
        key_id=new.key_id,
    )


def _is_of_one(error: Exception) -> bool:
    """Tell whether a value of one token is the reason that a write failed, and not the database's state."""
    cause = error.__cause__ if isinstance(error, Unavailable) else error
    if isinstance(cause, DBAPIError):
        # Classes of SQLSTATE: 22 is a value that cannot be kept, 23 a rule that rows have to keep.
        state = str(getattr(cause.orig, "sqlstate", None) or "")
        return isinstance(cause, IntegrityError | DataError) or state.startswith(("22", "23"))
    return isinstance(cause, ValueError | OverflowError) or type(cause) is SQLAlchemyError


async def _find_token(
    connection: AsyncConnection, account: AccountId, kind: TokenKind, token_id: TokenId
) -> TokenRecord:
    row = None
    if 0 < token_id <= _LARGEST_ID:
        query = select(schema.token).where(schema.token.c.id == token_id)
        row = (await connection.execute(query)).mappings().one_or_none()
    return _checked(record_of(row) if row is not None else None, account, kind, token_id)


def _checked(record: TokenRecord | None, account: AccountId, kind: TokenKind, token_id: TokenId) -> TokenRecord:
    """Return a token that stands and is the account's, of that kind.

    Raises: NotFound.
    """
    if record is None or record.account != account or record.kind is not kind or record.revoked_at is not None:
        raise NotFound(f"No {what_is(kind)} with id: {token_id}", field="tokenId")
    return record


def _listed(account: AccountId, kind: TokenKind, page: Page) -> Select[Any]:
    """Build the statement of a page of some of an account's tokens."""
    c = schema.token.c
    column = c.label if page.sort_by is SortBy.NAME else c.added_on
    order = (column.desc(), c.id.desc()) if page.descending else (column, c.id)
    return (
        select(schema.token)
        .where(c.account_id == account, c.kind == kind, c.revoked_at.is_(None))
        .order_by(*order)
        .limit(page.size)
        .offset((page.number - 1) * page.size)
    )


def _keep_names(records: Iterable[TokenRecord]) -> list[Step]:
    """Return the steps that write down what tokens are found by: for searches, and publish tokens for decisions."""
    searched = [{"token_id": record.id, "name": name} for record in records for name in searched_names(record.terms)]
    covered = [
        {"account_id": record.account, "name": name, "token_id": record.id}
        for record in records
        if record.kind is TokenKind.PUBLISH
        for name in publisher_names(record.terms)
    ]
    return [Step(_INSERT_SEARCHED, searched), Step(_INSERT_COVERED, covered)]


def _forget_names(record: TokenRecord) -> list[Step]:
    """Return the steps after which a token is found by no name."""
    of_it = [{"token": record.id}]
    return [Step(_DELETE_SEARCHED, of_it), Step(_DELETE_COVERED, of_it)]


def _touch(write: Write, records: Sequence[TokenRecord]) -> None:
    """Note that tokens are new, changed or revoked."""
    for record in records:
        write.touches(ChangeKind.TOKEN, record.account, record.digest)
    publishing = (record.account for record in records if record.kind is TokenKind.PUBLISH)
    for account in dict.fromkeys(publishing):
        write.touches(ChangeKind.PUBLISHERS, account)
