"""API secrets on SQL. Every change of them makes all views forget whom secrets speak for."""

from collections.abc import Sequence

from sqlalchemy import RowMapping, delete, insert, select, update

from stagedoor.model.api_secret import ApiSecret
from stagedoor.model.errors import NotFound
from stagedoor.model.ids import AccountId
from stagedoor.service.ports import ChangeKind
from stagedoor.store import schema
from stagedoor.store.transactions import Database


class SqlApiSecrets:
    """The port `ApiSecretStore`."""

    def __init__(self, database: Database) -> None:
        """Take the database."""
        self._reading, self._writing = database.reading, database.writing

    async def list(self, account: AccountId) -> Sequence[ApiSecret]:
        """Return the account's secrets, oldest first."""
        c = schema.api_secret.c
        query = select(schema.api_secret).where(c.account_id == account).order_by(c.id)
        async with self._reading() as connection:
            return [_secret_of(row) for row in (await connection.execute(query)).mappings()]

    async def add(self, account: AccountId, label: str, digest: bytes, hint: str, added_on: int) -> ApiSecret:
        """Keep a new secret."""
        values = {"account_id": account, "label": label, "digest": digest, "hint": hint, "added_on": added_on}
        async with self._writing() as write:
            known = select(schema.account.c.id).where(schema.account.c.id == account)
            if (await write.connection.execute(known)).scalar_one_or_none() is None:
                raise NotFound(f"there is no account {account!r}", field="account")
            statement = insert(schema.api_secret).values(values).returning(schema.api_secret)
            row = (await write.connection.execute(statement)).mappings().one()
            write.touches(ChangeKind.ACCOUNT, account)
        return _secret_of(row)

    async def refresh(self, account: AccountId, secret_id: int, digest: bytes, hint: str, added_on: int) -> ApiSecret:
        """Give a secret another value."""
        _check_id(secret_id)
        c = schema.api_secret.c
        statement = (
            update(schema.api_secret)
            .where(c.id == secret_id, c.account_id == account)
            .values(digest=digest, hint=hint, added_on=added_on)
            .returning(schema.api_secret)
        )
        async with self._writing() as write:
            row = (await write.connection.execute(statement)).mappings().one_or_none()
            if row is None:
                raise _not_found(secret_id)
            write.touches(ChangeKind.ACCOUNT, account)
        return _secret_of(row)

    async def remove(self, account: AccountId, secret_id: int) -> None:
        """Remove a secret."""
        _check_id(secret_id)
        c = schema.api_secret.c
        async with self._writing() as write:
            statement = delete(schema.api_secret).where(c.id == secret_id, c.account_id == account)
            if (await write.connection.execute(statement)).rowcount == 0:
                raise _not_found(secret_id)
            write.touches(ChangeKind.ACCOUNT, account)


def _check_id(secret_id: int) -> None:
    """Refuse a number that no database has for a row.

    Raises: NotFound.
    """
    if not 0 < secret_id < 2**63:
        raise _not_found(secret_id)


def _not_found(secret_id: int) -> NotFound:
    return NotFound(f"No API secret with id: {secret_id}", field="apiSecretId")


def _secret_of(row: RowMapping) -> ApiSecret:
    return ApiSecret(
        id=row["id"],
        account=AccountId(row["account_id"]),
        label=row["label"],
        hint=row["hint"],
        added_on=row["added_on"],
    )
