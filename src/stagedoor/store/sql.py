"""The ports on SQL, through SQLAlchemy Core.

Every write is one transaction (see `store.transactions`). On SQLite, one writer at a time, with the log on disk before a call
returns; readers see the last commit and wait for nobody. Tokens stand in `store.sql_tokens`, sessions in `store.sql_sessions`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import (
    LargeBinary,
    RowMapping,
    bindparam,
    case,
    delete,
    func,
    insert,
    literal,
    null,
    select,
    union_all,
    update,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from stagedoor.model.account import AccountPolicy
from stagedoor.model.addresses import Network
from stagedoor.model.engine import Engine
from stagedoor.model.errors import Conflict, NotFound
from stagedoor.model.ids import AccountId, EngineId
from stagedoor.model.key import KeyState
from stagedoor.service.child_ports import Asked
from stagedoor.service.ports import Announce, Change, ChangeKind, Facts, NewAccount
from stagedoor.store import schema
from stagedoor.store.codec import (
    distinct,
    engine_of,
    policy_of,
    record_of,
    write_policy,
)
from stagedoor.store.sql_api_secrets import SqlApiSecrets
from stagedoor.store.sql_applications import SqlApiTokens, SqlApplications
from stagedoor.store.sql_broadcasts import SqlBroadcasts
from stagedoor.store.sql_children import SqlChildren, read_parentage
from stagedoor.store.sql_clusters import SqlClusters, require_cluster
from stagedoor.store.sql_deliveries import SqlDeliveries
from stagedoor.store.sql_groups import SqlGroups, read_group_streams
from stagedoor.store.sql_passes import SqlPasses
from stagedoor.store.sql_sealed import SqlSealed
from stagedoor.store.sql_sessions import SqlSessions, read_bound
from stagedoor.store.sql_signing_keys import SqlSigningKeys
from stagedoor.store.sql_tokens import SqlTokens
from stagedoor.store.sql_turns import SqlTurns
from stagedoor.store.sql_verifiers import SqlVerifiers
from stagedoor.store.sql_watch import SqlWatch, tells_viewers
from stagedoor.store.sql_webhooks import SqlWebhooks
from stagedoor.store.transactions import Database

_SHOWN: Final = 0
_COVERS: Final = 1
_LIVE: Final = 2


class SqlStore:
    """All the ports, on one database."""

    def __init__(self, *, reader: AsyncEngine, writer: AsyncEngine, announce: Announce) -> None:
        """Take an engine for reads and one for writes (see `store.sqlite`), and how to announce a commit."""
        database = Database(reader=reader, writer=writer, announce=announce)
        self._reading, self._writing = database.reading, database.writing
        self._database, self._tokens = database, SqlTokens(database)
        self.add_token, self.change_token = self._tokens.add_token, self._tokens.change_token
        self.revoke_token = self._tokens.revoke_token
        self.former_uses, self.end_former = self._tokens.former_uses, self._tokens.end_former
        self.token, self.find_token = self._tokens.token, self._tokens.find_token
        self.tokens, self.count_tokens = self._tokens.tokens, self._tokens.count_tokens
        self.tokens_by_name, self.tokens_by_cluster = self._tokens.tokens_by_name, self._tokens.tokens_by_cluster
        self.sessions = SqlSessions(database)
        self.watch = SqlWatch(database)
        self.clusters = SqlClusters(database)
        self.api_secrets = SqlApiSecrets(database)
        self.applications = SqlApplications(database)
        self.api_tokens = SqlApiTokens(database)
        self.signing_keys = SqlSigningKeys(database)
        self.webhooks = SqlWebhooks(database)
        self.verifiers = SqlVerifiers(database)
        self.deliveries = SqlDeliveries(database)
        self.broadcasts = SqlBroadcasts(database, self.sessions)
        self.passes = SqlPasses(database)
        self.groups = SqlGroups(database)
        self._children = SqlChildren(database)
        self.keep_children, self.revoke_child = self._children.keep_children, self._children.revoke_child
        self.revoked_children, self.forget_children = self._children.revoked_children, self._children.forget_children
        self.turns = SqlTurns(database)
        self.sealed = SqlSealed(database)

    async def close(self) -> None:
        """Finish what was begun, and close all connections."""
        await self._tokens.rest()
        await self._database.close()

    # -- FactSource

    async def facts(
        self, digest: bytes | None, account: AccountId, name: str, *, with_publishers: bool, asked: Asked | None = None
    ) -> Facts:
        """Read the token with `digest` and, if asked, the publishers of stream `name`, in one statement."""
        async with self._reading() as connection:
            rows = await _read_facts(connection, digest, account, name, with_publishers=with_publishers)
            shown = next(row for row in rows if row["part"] == _SHOWN)
            revision: int = shown["n"]
            record = record_of(shown) if shown["id"] is not None else None
            bound: Mapping[Network, float] = {}
            groups: tuple[str, ...] = ()
            parentage = None
            if record is None and asked is not None:
                parentage = await read_parentage(connection, asked)
                if parentage.record is not None and not account and with_publishers:
                    # The path did not tell whose stream it is; its parent does.
                    owner = parentage.record.account
                    rows = await _read_facts(connection, digest, owner, name, with_publishers=True)
            if record is not None and record.terms.binding is not None:
                bound = await read_bound(connection, record.id)
            if record is not None and record.terms.groups:
                groups = await read_group_streams(connection, record.account, record.terms.groups)
        known = record or (parentage.record if parentage is not None else None)
        owner = account or (known.account if known is not None else AccountId(""))
        covering, live = (distinct(record_of(row) for row in rows if row["part"] == part) for part in (_COVERS, _LIVE))
        return Facts(
            record,
            owner,
            covering,
            revision,
            live,
            bound,
            parentage,
            shown["former_until"],
            groups,
            bool(shown["key_revoked"]),
            digest if digest is not None and shown["former_until"] is not None else b"",
        )

    async def changes_after(self, revision: int) -> tuple[int, Sequence[Change] | None]:
        """Return the newest revision and what changed after `revision`, oldest first; None when that is not kept."""
        c = schema.change.c
        statement = (
            select(schema.revision.c.n, c.revision, c.kind, c.account_id, c.what)
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

    async def account_policies(self) -> Mapping[AccountId, AccountPolicy]:
        """Return the policies of the accounts that set something, are closed, or want to be told of viewers."""
        c = schema.account.c
        told = tells_viewers(c.id)
        statement = select(schema.account, told.label("told")).where(c.enabled.is_(False) | (c.policy != "{}") | told)
        async with self._reading() as connection:
            rows = (await connection.execute(statement)).mappings()
            return {AccountId(row["id"]): replace(policy_of(row), tells_viewers=bool(row["told"])) for row in rows}

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
                    account_id=new.id,
                    label="first",
                    digest=new.api_secret_digest,
                    hint=new.api_secret_hint,
                    added_on=new.added_on,
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

    async def account_policy(self, account: AccountId) -> AccountPolicy:
        """Return what an account sets for its tokens."""
        async with self._reading() as connection:
            return await _find_policy(connection, account)

    async def change_account(
        self, account: AccountId, change: Callable[[AccountPolicy], AccountPolicy]
    ) -> AccountPolicy:
        """Apply `change` and return the account's policy as it is now."""
        async with self._writing() as write:
            policy = change(await _find_policy(write.connection, account))
            await write.connection.execute(
                update(schema.account)
                .where(schema.account.c.id == account)
                .values(enabled=policy.enabled, policy=write_policy(policy))
            )
            write.touches(ChangeKind.ACCOUNT, account)
        return policy

    # -- EngineStore

    async def add_engine(self, engine: Engine) -> None:
        """Keep a new engine."""
        async with self._writing() as write:
            if engine.account:
                query = select(schema.account.c.id).where(schema.account.c.id == engine.account)
                if (await write.connection.execute(query)).scalar_one_or_none() is None:
                    raise NotFound(f"there is no account {engine.account!r}", field="account")
            await require_cluster(write.connection, engine.cluster_id)
            try:
                await write.connection.execute(
                    insert(schema.engine).values(
                        id=engine.id,
                        kind=engine.kind,
                        name=engine.name,
                        account_id=engine.account,
                        secret_digest=engine.secret_digest,
                        added_on=engine.added_on,
                        address_trust=engine.address_trust,
                        control_url=engine.control_url,
                        media_url=engine.media_url,
                        cluster_id=engine.cluster_id,
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
            return [engine_of(row) for row in rows]

    async def remove_engine(self, name: str) -> None:
        """Forget an engine."""
        async with self._writing() as write:
            statement = delete(schema.engine).where(schema.engine.c.name == name)
            if (await write.connection.execute(statement)).rowcount == 0:
                raise NotFound(f"there is no engine {name!r}", field="name")
            write.touches(ChangeKind.ENGINE, AccountId(""))

    async def change_engine(self, engine_id: EngineId, change: Callable[[Engine], Engine]) -> Engine:
        """Apply `change` and return the engine as it is now."""
        c = schema.engine.c
        async with self._writing() as write:
            query = select(schema.engine).where(c.id == engine_id)
            row = (await write.connection.execute(query)).mappings().one_or_none()
            if row is None:
                raise NotFound(f"there is no engine {engine_id!r}")
            engine = change(engine_of(row))
            if engine.cluster_id != row["cluster_id"]:
                await require_cluster(write.connection, engine.cluster_id)
            await write.connection.execute(
                update(schema.engine)
                .where(c.id == engine_id)
                .values(
                    secret_digest=engine.secret_digest,
                    address_trust=engine.address_trust,
                    control_url=engine.control_url,
                    media_url=engine.media_url,
                    cluster_id=engine.cluster_id,
                )
            )
            write.touches(ChangeKind.ENGINE, AccountId(""))
        return engine


async def _find_policy(connection: AsyncConnection, account: AccountId) -> AccountPolicy:
    query = select(schema.account).where(schema.account.c.id == account)
    row = (await connection.execute(query)).mappings().one_or_none()
    if row is None:
        raise NotFound(f"there is no account {account!r}", field="account")
    return policy_of(row)


async def _read_facts(
    connection: AsyncConnection, digest: bytes | None, account: AccountId, name: str, *, with_publishers: bool
) -> Sequence[RowMapping]:
    statement = _FACTS_WITH_PUBLISHERS if with_publishers else _FACTS
    parameters: dict[str, object] = {"digest": digest or b""}
    if with_publishers:
        parameters |= {"account": account, "name": name}
    return (await connection.execute(statement, parameters)).mappings().all()


def _fact_statements() -> tuple[Any, Any]:
    """Build the two forms of the cold look-up. `part` tells the token (or nulls) from those that cover or publish."""
    number, token, streams, session = schema.revision.c.n, schema.token, schema.publisher_stream, schema.session
    former, key, digest = schema.former_secret, schema.signing_key, bindparam("digest", type_=LargeBinary)
    token_id = func.coalesce(
        select(token.c.id).where(token.c.digest == digest).scalar_subquery(),
        select(former.c.token_id).where(former.c.digest == digest).scalar_subquery(),
    )
    nothing = (null().label("former_until"), null().label("key_revoked"))
    shown = select(
        number,
        literal(_SHOWN).label("part"),
        token,
        former.c.until.label("former_until"),
        case((key.c.state == KeyState.REVOKED, 1), else_=0).label("key_revoked"),
    ).select_from(
        schema.revision.outerjoin(token, token.c.id == token_id)
        .outerjoin(former, former.c.digest == digest)
        .outerjoin(key, key.c.id == token.c.key_id)
    )
    owner = case(
        (bindparam("account") != "", bindparam("account")),
        else_=select(token.c.account_id).where(token.c.id == token_id).scalar_subquery(),
    )
    covering = (
        select(number, literal(_COVERS).label("part"), token, *nothing)
        .select_from(schema.revision)
        .join(streams, streams.c.account_id == owner)
        .join(token, token.c.id == streams.c.token_id)
        .where(streams.c.name.in_((bindparam("name"), "")), token.c.revoked_at.is_(None))
    )
    live = (
        select(number, literal(_LIVE).label("part"), token, *nothing)
        .select_from(schema.revision)
        .join(session, session.c.account_id == owner)
        .join(token, token.c.id == session.c.token_id)
        .where(session.c.stream == bindparam("name"), session.c.action == "publish", session.c.ended_at.is_(None))
        .where(session.c.shown)
    )
    return shown, union_all(shown, covering, live)


_FACTS, _FACTS_WITH_PUBLISHERS = _fact_statements()
