"""Applications and their API tokens on SQL. Every change of what opens something makes all views forget it.

A number of an application's may be given again on SQLite, so its tokens go with it, and a token is kept only while it is there.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from sqlalchemy import ColumnElement, RowMapping, delete, exists, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from stagedoor.model.application import ApiToken, ApiTokenFacts, ApiTokenKind, Application, ApplicationSecret
from stagedoor.model.errors import Conflict, NotFound
from stagedoor.model.ids import AccountId
from stagedoor.model.key import KeyState
from stagedoor.model.scope import Scopes, write_scopes
from stagedoor.service.ports import ChangeKind
from stagedoor.store import schema
from stagedoor.store.transactions import Database

_A = schema.application.c
_S = schema.application_secret.c
_T = schema.api_token.c
_K = schema.signing_key.c


class SqlApplications:
    """The port `ApplicationStore`."""

    def __init__(self, database: Database) -> None:
        """Take the database."""
        self._reading, self._writing = database.reading, database.writing

    async def list(self, account: AccountId) -> Sequence[Application]:
        """Return the account's applications, oldest first."""
        async with self._reading() as connection:
            return await _read(connection, _A.account_id == account)

    async def application(self, account: AccountId, application_id: int) -> Application:
        """Return an application."""
        async with self._reading() as connection:
            return await _one(connection, account, application_id)

    async def add(self, application: Application, digest: bytes, hint: str, most: int) -> Application:
        """Keep a new application with its first secret."""
        values = {
            "account_id": application.account,
            "label": application.label,
            "key": application.key,
            "scopes": write_scopes(application.scopes),
            "added_on": application.added_on,
        }
        async with self._writing() as write:
            known = select(schema.account.c.id).where(schema.account.c.id == application.account)
            if (await write.connection.execute(known)).scalar_one_or_none() is None:
                raise NotFound(f"there is no account {application.account!r}", field="account")
            count = select(func.count()).select_from(schema.application).where(_A.account_id == application.account)
            if (await write.connection.execute(count)).scalar_one() >= most:
                raise Conflict(f"there are {most} applications already; delete those that are not used any more")
            made = await write.connection.execute(insert(schema.application).values(values).returning(_A.id))
            application_id: int = made.scalar_one()
            await _add_secret(write.connection, application_id, digest, hint, application.added_on)
            write.touches(ChangeKind.CREDENTIAL, application.account)
            return await _one(write.connection, application.account, application_id)

    async def change(
        self, account: AccountId, application_id: int, change: Callable[[Application], Application]
    ) -> Application:
        """Give an application another label and other scopes."""
        async with self._writing() as write:
            old = await _one(write.connection, account, application_id)
            new = change(old)
            values = {"label": new.label, "scopes": write_scopes(new.scopes)}
            await write.connection.execute(update(schema.application).where(_A.id == old.id).values(values))
            write.touches(ChangeKind.CREDENTIAL, account)
            return replace(old, label=new.label, scopes=new.scopes)

    async def remove(self, account: AccountId, application_id: int) -> None:
        """Remove an application with its secrets and tokens."""
        async with self._writing() as write:
            found = await _one(write.connection, account, application_id)
            await write.connection.execute(delete(schema.api_token).where(_T.application_id == found.id))
            await write.connection.execute(delete(schema.application_secret).where(_S.application_id == found.id))
            await write.connection.execute(delete(schema.application).where(_A.id == found.id))
            write.touches(ChangeKind.CREDENTIAL, account)

    async def add_secret(
        self,
        account: AccountId,
        application_id: int,
        digest: bytes,
        hint: str,
        added_on: int,
        check: Callable[[Application], None],
    ) -> Application:
        """Keep another secret."""
        async with self._writing() as write:
            found = await _one(write.connection, account, application_id)
            check(found)
            await _add_secret(write.connection, found.id, digest, hint, added_on)
            write.touches(ChangeKind.CREDENTIAL, account)
            return await _one(write.connection, account, application_id)

    async def remove_secret(self, account: AccountId, application_id: int, secret_id: int) -> None:
        """Remove a secret."""
        async with self._writing() as write:
            found = await _one(write.connection, account, application_id)
            if secret_id not in {secret.id for secret in found.secrets}:
                raise NotFound(f"the application has no secret with id: {secret_id}", field="secretId")
            await write.connection.execute(delete(schema.application_secret).where(_S.id == secret_id))
            write.touches(ChangeKind.CREDENTIAL, account)

    async def find(self, key: str, digest: bytes) -> Application | None:
        """Return the application that has a key and a secret."""
        shown = exists().where(_S.application_id == _A.id, _S.digest == digest)
        async with self._reading() as connection:
            found = await _read(connection, _A.key == key, shown, _open_account())
        return found[0] if found else None


class SqlApiTokens:
    """The port `ApiTokenStore`."""

    def __init__(self, database: Database) -> None:
        """Take the database."""
        self._reading, self._writing = database.reading, database.writing

    async def add(self, token: ApiToken, digest: bytes, client_id: str) -> None:
        """Keep a new token. Nobody knows of it yet, so the write has no number."""
        query = select(_A.id).where(_A.id == token.application_id, _A.account_id == token.account, _A.key == client_id)
        async with self._writing(numbered=False) as write:
            if (await write.connection.execute(query.with_for_update())).scalar_one_or_none() is None:
                raise NotFound("the application is not there any more")
            values = {
                "digest": digest,
                "jti": token.jti,
                "account_id": token.account,
                "application_id": token.application_id,
                "key_id": token.key_id,
                "kind": token.kind,
                "scopes": write_scopes(token.scopes),
                "external_id": token.external_id,
                "issued_at": token.issued_at,
                "expires_at": token.expires_at,
            }
            await write.connection.execute(insert(schema.api_token).values(values))

    async def api_token(self, digest: bytes) -> ApiTokenFacts | None:
        """Return what is known of a token."""
        sound = exists().where(_K.id == _T.key_id, _K.state != KeyState.REVOKED)
        secret = exists().where(_S.application_id == _A.id)
        query = (
            select(
                schema.api_token,
                _A.key.label("client_id"),
                _A.scopes.label("application_scopes"),
                (sound & secret & _open_account()).label("open"),
            )
            .join(schema.application, (_A.id == _T.application_id) & (_A.account_id == _T.account_id))
            .where(_T.digest == digest)
        )
        async with self._reading() as connection:
            row = (await connection.execute(query)).mappings().one_or_none()
        if row is None:
            return None
        token = _token_of(row)
        is_open = bool(row["open"]) and token.revoked_at is None
        return ApiTokenFacts(token, row["client_id"], _scopes(row["application_scopes"]), is_open)

    async def revoke(self, application_id: int, digest: bytes, at: int) -> None:
        """Revoke a token of an application's."""
        statement = (
            update(schema.api_token)
            .where(_T.digest == digest, _T.application_id == application_id, _T.revoked_at.is_(None))
            .values(revoked_at=at)
            .returning(_T.account_id)
        )
        async with self._writing() as write:
            account = (await write.connection.execute(statement)).scalar_one_or_none()
            if account is not None:
                write.touches(ChangeKind.CREDENTIAL, AccountId(account), digest)

    async def revoke_all(self, account: AccountId, application_id: int, at: int) -> int:
        """Revoke all tokens of an application's."""
        async with self._writing() as write:
            found = await _one(write.connection, account, application_id)
            statement = (
                update(schema.api_token)
                .where(_T.application_id == found.id, _T.revoked_at.is_(None), _T.expires_at > at)
                .values(revoked_at=at)
            )
            count = (await write.connection.execute(statement)).rowcount
            if count:
                write.touches(ChangeKind.CREDENTIAL, account)
        return count

    async def forget(self, before: int) -> int:
        """Delete the tokens that expired before an instant: they were refused before, and are after."""
        async with self._writing(numbered=False) as write:
            return (await write.connection.execute(delete(schema.api_token).where(_T.expires_at < before))).rowcount


def _open_account() -> ColumnElement[bool]:
    """Tell whether the application's account is open; without any API secret the API is closed to it."""
    c, s = schema.account.c, schema.api_secret.c
    return exists().where(c.id == _A.account_id, c.enabled.is_(True)) & exists().where(s.account_id == _A.account_id)


async def _read(connection: AsyncConnection, *where: ColumnElement[bool]) -> list[Application]:
    found = (await connection.execute(select(schema.application).where(*where).order_by(_A.id))).mappings().all()
    ids = select(_A.id).where(*where)
    query = select(schema.application_secret).where(_S.application_id.in_(ids)).order_by(_S.id)
    secrets = (await connection.execute(query)).mappings().all()
    return [
        Application(
            id=row["id"],
            account=AccountId(row["account_id"]),
            label=row["label"],
            key=row["key"],
            scopes=_scopes(row["scopes"]),
            added_on=row["added_on"],
            secrets=tuple(
                ApplicationSecret(id=s["id"], hint=s["hint"], added_on=s["added_on"])
                for s in secrets
                if s["application_id"] == row["id"]
            ),
        )
        for row in found
    ]


async def _one(connection: AsyncConnection, account: AccountId, application_id: int) -> Application:
    if 0 < application_id < 2**63:
        found = await _read(connection, _A.id == application_id, _A.account_id == account)
        if found:
            return found[0]
    raise NotFound(f"No application with id: {application_id}", field="applicationId")


async def _add_secret(
    connection: AsyncConnection, application_id: int, digest: bytes, hint: str, added_on: int
) -> None:
    values = {"application_id": application_id, "digest": digest, "hint": hint, "added_on": added_on}
    await connection.execute(insert(schema.application_secret).values(values))


def _scopes(text: str) -> Scopes:
    """Read scopes as they were kept. One that a newer version knows stands for itself, and covers nothing that is here."""
    return frozenset(text.split())


def _token_of(row: RowMapping) -> ApiToken:
    return ApiToken(
        jti=row["jti"],
        account=AccountId(row["account_id"]),
        application_id=row["application_id"],
        key_id=row["key_id"],
        kind=ApiTokenKind(row["kind"]),
        scopes=_scopes(row["scopes"]),
        external_id=row["external_id"],
        issued_at=row["issued_at"],
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
    )
