"""Verifiers on SQL."""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec
from sqlalchemy import RowMapping, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from stagedoor.model.errors import Conflict, NotFound
from stagedoor.model.ids import AccountId
from stagedoor.model.verifier import Verifier, VerifierKind, VerifierSettings
from stagedoor.store import schema
from stagedoor.store.transactions import Database

_SETTINGS: Final = msgspec.json.Decoder(VerifierSettings)


class SqlVerifiers:
    """The port `VerifierStore`."""

    def __init__(self, database: Database) -> None:
        """Take the database."""
        self._reading, self._writing = database.reading, database.writing

    async def add(self, verifier: Verifier, most: int) -> None:
        """Keep a new verifier."""
        c = schema.verifier.c
        async with self._writing(numbered=False) as write:
            # Two at once would each count without the other; on SQLite there is one writer anyway.
            known = select(schema.account.c.id).where(schema.account.c.id == verifier.account)
            found = await write.connection.execute(known.with_for_update(key_share=True))
            if found.scalar_one_or_none() is None:
                raise NotFound(f"there is no account {verifier.account!r}", field="account")
            count = select(func.count()).select_from(schema.verifier).where(c.account_id == verifier.account)
            if (await write.connection.execute(count)).scalar_one() >= most:
                raise Conflict(f"an account has at most {most} verifiers; remove one")
            row = {"account_id": verifier.account, "name": verifier.name, "kind": verifier.kind}
            try:
                await write.connection.execute(
                    insert(schema.verifier).values(row | _row(verifier) | {"added_on": verifier.added_on})
                )
            except IntegrityError:
                raise Conflict(
                    f"there is a verifier {verifier.name!r} already; choose another name", field="name"
                ) from None

    async def verifier(self, account: AccountId, name: str) -> Verifier:
        """Return a verifier."""
        async with self._reading() as connection:
            return await _find(connection, account, name)

    async def verifiers(self, account: AccountId) -> Sequence[Verifier]:
        """Return the account's verifiers, by name."""
        c = schema.verifier.c
        query = select(schema.verifier).where(c.account_id == account).order_by(c.name)
        async with self._reading() as connection:
            return [_verifier_of(row) for row in (await connection.execute(query)).mappings()]

    async def change(self, account: AccountId, name: str, change: Callable[[Verifier], Verifier]) -> Verifier:
        """Apply `change` and return the verifier as it is now."""
        c = schema.verifier.c
        async with self._writing(numbered=False) as write:
            changed = change(await _find(write.connection, account, name, lock=True))
            await write.connection.execute(
                update(schema.verifier).where(c.account_id == account, c.name == name).values(_row(changed))
            )
        return changed

    async def remove(self, account: AccountId, name: str) -> None:
        """Forget a verifier, and its secret."""
        c = schema.verifier.c
        async with self._writing(numbered=False) as write:
            statement = delete(schema.verifier).where(c.account_id == account, c.name == name)
            if (await write.connection.execute(statement)).rowcount == 0:
                raise _not_found(name)


async def _find(connection: AsyncConnection, account: AccountId, name: str, *, lock: bool = False) -> Verifier:
    """Return a verifier.

    Raises: NotFound.
    """
    c = schema.verifier.c
    query = select(schema.verifier).where(c.account_id == account, c.name == name)
    row = (await connection.execute(query.with_for_update() if lock else query)).mappings().one_or_none()
    if row is None:
        raise _not_found(name)
    return _verifier_of(row)


def _not_found(name: str) -> NotFound:
    return NotFound(f"there is no verifier {name[:64]!r}", field="verifier")


def _row(verifier: Verifier) -> dict[str, object]:
    return {
        "key_name": verifier.key_name,
        "sealed": verifier.sealed,
        "settings": msgspec.json.encode(verifier.settings).decode(),
    }


def _verifier_of(row: RowMapping) -> Verifier:
    return Verifier(
        account=AccountId(row["account_id"]),
        name=row["name"],
        kind=VerifierKind(row["kind"]),
        settings=_SETTINGS.decode(row["settings"]),
        key_name=row["key_name"],
        sealed=row["sealed"],
        added_on=row["added_on"],
    )
