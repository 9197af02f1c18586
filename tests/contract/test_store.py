# ruff: noqa: D103
"""One contract for every store: the ports of `service.ports`, run against memory, SQLite and PostgreSQL.

Another database joins by its name in `BACKENDS` and `SQL_BACKENDS`, its branch in `opened` and one in `database_of`.
"""

import asyncio
import base64
import json
import os
import shutil
import sqlite3
import tempfile
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Protocol

import pytest
from sqlalchemy import delete, event, insert, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from stagedoor.app import administration, create_data
from stagedoor.config import Settings
from stagedoor.model.access import Action
from stagedoor.model.access import Protocol as ProtocolOf
from stagedoor.model.account import CLOSED, OPEN, AccountPolicy, GeoCascade, MediaExpiration
from stagedoor.model.caveats import Budgets, Countries, Over, Per, SessionLimit, SingleUse
from stagedoor.model.decision import Decision, Reason
from stagedoor.model.engine import AddressTrust, Engine, EngineKind
from stagedoor.model.errors import ConfigError, Conflict, InvalidInput, NotFound, Unavailable
from stagedoor.model.grant import StreamPattern
from stagedoor.model.hours import Hours, Window
from stagedoor.model.ids import AccountId, EngineId, TokenId
from stagedoor.model.session import SessionStart
from stagedoor.model.token import PublishOptions, TokenKind, TokenRecord, TokenState, TokenTerms
from stagedoor.model.usage import Effects, Usage
from stagedoor.service.ports import (
    AccountStore,
    ChangeKind,
    EngineStore,
    Facts,
    FactSource,
    FilterBy,
    NewAccount,
    NewToken,
    Page,
    SortBy,
    TokenChange,
    TokenStore,
)
from stagedoor.service.session_ports import Admission, SessionStore, Shadowed
from stagedoor.store import schema
from stagedoor.store.memory import MemoryStore
from stagedoor.store.migrate import migrate_sqlite, sqlite_version
from stagedoor.store.postgres import postgres_engines
from stagedoor.store.sql import SqlStore
from stagedoor.store.sqlite import sqlite_engines
from stagedoor.store.transactions import KEPT_CHANGES

BACKENDS = ["memory", "sqlite", "postgres"]
SQL_BACKENDS = ["sqlite", "postgres"]

ALICE, BOB = AccountId("alice"), AccountId("bob")
NOBODY = AccountId("")
PUBLISH, SUBSCRIBE = TokenKind.PUBLISH, TokenKind.SUBSCRIBE
AT = 1_700_000_000


class Store(FactSource, TokenStore, AccountStore, EngineStore, Protocol):
    """All the ports in one, as the composition root uses them."""

    @property
    def sessions(self) -> SessionStore:
        """The sessions' own port; tests/contract/test_session_store.py holds the stores to it."""

    async def revision(self) -> int:
        """Return the number of the last write."""


@dataclass(kw_only=True)
class Heard:
    """Takes announcements: each revision, with the revision a reader of the store sees at that moment."""

    revisions: list[tuple[int, int]] = field(default_factory=list)
    store: Store | None = None

    async def announce(self, revision: int) -> None:
        assert self.store is not None
        self.revisions.append((revision, await self.store.revision()))


@dataclass(kw_only=True)
class Bench:
    """A store with the accounts `ALICE` and `BOB`, at the revision `start`; `heard` begins after that."""

    store: Store
    heard: Heard
    add_account: Callable[[AccountId], Awaitable[None]]
    start: int = 0


@dataclass(kw_only=True)
class SqlBench(Bench):
    """The same on SQL, with the store's own engines."""

    store: SqlStore
    reader: AsyncEngine
    writer: AsyncEngine


@asynccontextmanager
async def opened(backend: str, settings: Settings) -> AsyncIterator[Bench]:
    """Open an empty store of the kind `backend`, or the one left in `settings` by an earlier opening."""
    heard = Heard()
    if backend == "memory":
        memory = MemoryStore(announce=heard.announce)
        heard.store = memory

        async def add_to_memory(account: AccountId) -> None:
            memory._accounts[account] = OPEN

        yield Bench(store=memory, heard=heard, add_account=add_to_memory)
    else:
        if backend == "sqlite":
            reader, writer = sqlite_engines(settings.database_file)
        else:
            reader, writer = postgres_engines(settings.database)
        store = SqlStore(reader=reader, writer=writer, announce=heard.announce)
        heard.store = store

        async def add_row(account: AccountId) -> None:
            async with writer.begin() as connection:
                await connection.execute(insert(schema.account).values(id=account, enabled=True, added_on=AT + 1))

        try:
            yield SqlBench(store=store, heard=heard, add_account=add_row, reader=reader, writer=writer)
        finally:
            await store.close()


@asynccontextmanager
async def populated(backend: str, settings: Settings) -> AsyncIterator[Bench]:
    """Open a store with the two accounts, which are made unless an earlier opening left them."""
    async with opened(backend, settings) as bench:
        if not await bench.store.accounts():
            await bench.store.add_first_account(first_account())
            await bench.add_account(BOB)
        bench.start = await bench.store.revision()
        bench.heard.revisions.clear()
        yield bench


async def _populate(settings: Settings) -> None:
    async with populated("sqlite", settings):
        pass


@pytest.fixture(scope="module")
def populated_data(blank_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data directory of a system with the two accounts; never written to."""
    data = tmp_path_factory.mktemp("populated") / "data"
    shutil.copytree(blank_data, data)
    with asyncio.Runner() as runner:
        runner.run(_populate(Settings(data=data)))
    return data


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=SQL_BACKENDS)
def sql_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def place(backend: str, request: pytest.FixtureRequest, settings: Settings) -> Settings:
    """A new system of the test's own, with its database where `backend` keeps it."""
    return place_of(backend, request, settings)


@pytest.fixture
def sql_place(sql_backend: str, request: pytest.FixtureRequest, settings: Settings) -> Settings:
    return place_of(sql_backend, request, settings)


def place_of(backend: str, request: pytest.FixtureRequest, settings: Settings) -> Settings:
    """Return `settings` with the database of a new system."""
    return (
        replace(settings, database=request.getfixturevalue("postgres_database")) if backend == "postgres" else settings
    )


@pytest.fixture
async def empty(backend: str, place: Settings) -> AsyncIterator[Bench]:
    """A store in which nothing was ever written."""
    async with opened(backend, place) as bench:
        yield bench


@pytest.fixture
async def bench(backend: str, place: Settings) -> AsyncIterator[Bench]:
    async with populated(backend, place) as bench:
        yield bench


@pytest.fixture
async def sql(sql_backend: str, sql_place: Settings) -> AsyncIterator[SqlBench]:
    async with populated(sql_backend, sql_place) as bench:
        assert isinstance(bench, SqlBench)
        yield bench


def first_account(account: AccountId = ALICE, api_secret_digest: bytes = b"alice's API secret") -> NewAccount:
    return NewAccount(
        id=account,
        admin_email=f"{account}@example.com",
        admin_password_hash="$argon2id$...",
        api_secret_digest=api_secret_digest,
        api_secret_hint="sds_first1",
        added_on=AT,
    )


def terms(*streams: str, regex: tuple[str, ...] = (), label: str = "a label", active: bool = True) -> TokenTerms:
    patterns = (*(StreamPattern(name) for name in streams), *(StreamPattern(text, is_regex=True) for text in regex))
    return TokenTerms(label=label, streams=patterns or (StreamPattern("studio"),), active=active)


def new_token(
    token_terms: TokenTerms | None = None,
    *,
    account: AccountId = ALICE,
    kind: TokenKind = PUBLISH,
    digest: bytes | None = None,
    added_on: int = AT,
) -> NewToken:
    return NewToken(
        account=account,
        kind=kind,
        terms=token_terms or terms(),
        digest=digest or os.urandom(32),
        seal=lambda token_id: f"sealed for {token_id}".encode(),
        added_on=added_on,
    )


def engine(name: str = "ingest", *, account: AccountId = NOBODY, digest: bytes = b"hook secret") -> Engine:
    return Engine(
        id=EngineId(f"eng_{name}"),
        kind=EngineKind.NGINX_RTMP,
        name=name,
        account=account,
        secret_digest=digest,
        added_on=AT,
    )


def close(policy: AccountPolicy) -> AccountPolicy:
    return replace(policy, enabled=False)


def with_secret(digest: bytes) -> Callable[[Engine], Engine]:
    return lambda engine: replace(engine, secret_digest=digest)


async def policies(store: Store) -> dict[AccountId, AccountPolicy]:
    """Return the policies of the accounts that set something: a store may leave the others out."""
    return {account: policy for account, policy in (await store.account_policies()).items() if policy != OPEN}


def broadcast(token: TokenRecord | None = None) -> SessionStart:
    """Return a broadcast of `studio` with a token, that of number 1 where it does not matter."""
    token_id = token.id if token is not None else TokenId(1)
    return SessionStart(
        ALICE, token_id, "", EngineId("e"), "s", "studio", Action.PUBLISH, ProtocolOf.RTMP, "192.0.2.1", AT
    )


def relabelled(label: str) -> TokenChange:
    return TokenChange(at=AT, terms=lambda old: replace(old, label=label))


def ids(records: object) -> list[int]:
    assert isinstance(records, (list, tuple))
    return [record.id for record in records]


async def publishers(bench: Bench, name: str, *, account: AccountId = ALICE, digest: bytes | None = None) -> list[int]:
    """Return the ids of the publishers that `facts` finds for a stream."""
    found = await bench.store.facts(digest, account, name, with_publishers=True)
    return sorted(ids(found.publishers))


# -- revisions, changes, announcements


async def test_a_store_begins_empty_at_revision_0(empty: Bench) -> None:
    assert await empty.store.revision() == 0
    assert await empty.store.accounts() == []
    assert await empty.store.engines() == []
    assert await empty.store.account_policies() == {}
    newest, changes = await empty.store.changes_after(0)
    assert (newest, list(changes or ())) == (0, [])
    assert await empty.store.facts(b"x", NOBODY, "studio", with_publishers=True) == Facts(None, NOBODY, (), 0)


async def test_the_first_account_is_write_number_1_and_is_announced_after_its_commit(empty: Bench) -> None:
    await empty.store.add_first_account(first_account())
    assert empty.heard.revisions == [(1, 1)]
    assert await empty.store.changes_after(0) == (1, [(1, ChangeKind.ACCOUNT, ALICE, b"")])


Things = tuple[TokenRecord, TokenRecord, Engine]
"""What the store holds before each of `WRITES`: a publish token, a subscribe token, an engine."""

TOKEN, OF_PUBLISHERS, ACCOUNT, ENGINE = ChangeKind.TOKEN, ChangeKind.PUBLISHERS, ChangeKind.ACCOUNT, ChangeKind.ENGINE
LIVE = ChangeKind.LIVE

WRITES: dict[str, tuple[Callable[[Store, Things], Awaitable[object]], set[tuple[ChangeKind, str, bytes]]]] = {
    "add a publish token": (
        lambda store, _: store.add_token(new_token(digest=b"new")),
        {(TOKEN, "alice", b"new"), (OF_PUBLISHERS, "alice", b"")},
    ),
    "add a subscribe token": (
        lambda store, _: store.add_token(new_token(kind=SUBSCRIBE, digest=b"new")),
        {(TOKEN, "alice", b"new")},
    ),
    "change a publish token": (
        lambda store, things: store.change_token(ALICE, PUBLISH, things[0].id, relabelled("b")),
        {(TOKEN, "alice", b"publish"), (OF_PUBLISHERS, "alice", b"")},
    ),
    "change a subscribe token": (
        lambda store, things: store.change_token(ALICE, SUBSCRIBE, things[1].id, relabelled("b")),
        {(TOKEN, "alice", b"subscribe")},
    ),
    "renew a publish token": (
        lambda store, things: store.change_token(
            ALICE, PUBLISH, things[0].id, TokenChange(at=AT, digest=b"2", sealed=b"s")
        ),
        {(TOKEN, "alice", b"publish"), (TOKEN, "alice", b"2"), (OF_PUBLISHERS, "alice", b"")},
    ),
    "renew a subscribe token": (
        lambda store, things: store.change_token(
            ALICE, SUBSCRIBE, things[1].id, TokenChange(at=AT, digest=b"2", sealed=b"s")
        ),
        {(TOKEN, "alice", b"subscribe"), (TOKEN, "alice", b"2")},
    ),
    "revoke a publish token": (
        lambda store, things: store.revoke_token(ALICE, PUBLISH, things[0].id, AT),
        {(TOKEN, "alice", b"publish"), (OF_PUBLISHERS, "alice", b"")},
    ),
    "revoke a subscribe token": (
        lambda store, things: store.revoke_token(ALICE, SUBSCRIBE, things[1].id, AT),
        {(TOKEN, "alice", b"subscribe")},
    ),
    "close an account": (
        lambda store, _: store.change_account(ALICE, close),
        {(ACCOUNT, "alice", b"")},
    ),
    "change what an account sets": (
        lambda store, _: store.change_account(ALICE, lambda policy: replace(policy, longest_lifetime_seconds=5)),
        {(ACCOUNT, "alice", b"")},
    ),
    "add an engine": (
        lambda store, _: store.add_engine(engine("second", digest=b"other")),
        {(ENGINE, "", b"")},
    ),
    "remove an engine": (
        lambda store, things: store.remove_engine(things[2].name),
        {(ENGINE, "", b"")},
    ),
    "replace an engine's secret": (
        lambda store, things: store.change_engine(things[2].id, with_secret(b"other")),
        {(ENGINE, "", b"")},
    ),
    "begin a broadcast that was admitted from memory": (
        lambda store, things: store.sessions.begin_sessions([broadcast(things[0])]),
        {(LIVE, "alice", b"studio")},
    ),
}


async def _things(bench: Bench) -> Things:
    things = (
        await bench.store.add_token(new_token(digest=b"publish")),
        await bench.store.add_token(new_token(kind=SUBSCRIBE, digest=b"subscribe")),
        engine(),
    )
    await bench.store.add_engine(things[2])
    bench.heard.revisions.clear()
    return things


@pytest.mark.parametrize("write", WRITES)
async def test_every_write_takes_the_next_revision_notes_what_it_touched_and_is_announced_once_committed(
    bench: Bench, write: str
) -> None:
    things = await _things(bench)
    before = await bench.store.revision()
    make, touched = WRITES[write]
    await make(bench.store, things)
    assert await bench.store.revision() == before + 1
    assert bench.heard.revisions == [(before + 1, before + 1)]
    newest, changes = await bench.store.changes_after(before)
    assert newest == before + 1
    assert changes is not None
    assert {change.revision for change in changes} == {before + 1}
    assert {(change.kind, change.account, change.key) for change in changes} == touched


UNKNOWN = TokenId(404)
REFUSED: dict[str, tuple[Callable[[Store, Things], Awaitable[object]], type[Exception]]] = {
    "change a token that is not there": (
        lambda store, _: store.change_token(ALICE, PUBLISH, UNKNOWN, relabelled("b")),
        NotFound,
    ),
    "change another account's token": (
        lambda store, things: store.change_token(BOB, PUBLISH, things[0].id, relabelled("b")),
        NotFound,
    ),
    "change a token of the other kind": (
        lambda store, things: store.change_token(ALICE, SUBSCRIBE, things[0].id, relabelled("b")),
        NotFound,
    ),
    "renew another account's token": (
        lambda store, things: store.change_token(
            BOB, PUBLISH, things[0].id, TokenChange(at=AT, digest=b"2", sealed=b"s")
        ),
        NotFound,
    ),
    "revoke a token that is not there": (
        lambda store, _: store.revoke_token(ALICE, PUBLISH, UNKNOWN, AT),
        NotFound,
    ),
    "revoke another account's token": (
        lambda store, things: store.revoke_token(BOB, PUBLISH, things[0].id, AT),
        NotFound,
    ),
    "revoke a token of the other kind": (
        lambda store, things: store.revoke_token(ALICE, PUBLISH, things[1].id, AT),
        NotFound,
    ),
    "add a second first account": (lambda store, _: store.add_first_account(first_account(BOB, b"x")), Conflict),
    "add the first account again": (lambda store, _: store.add_first_account(first_account()), Conflict),
    "close an account that is not there": (
        lambda store, _: store.change_account(AccountId("carol"), close),
        NotFound,
    ),
    "add an engine whose name is taken": (
        lambda store, _: store.add_engine(replace(engine(digest=b"other"), id=EngineId("eng_other"))),
        Conflict,
    ),
    "add an engine of an account that is not there": (
        lambda store, _: store.add_engine(engine("second", account=AccountId("carol"), digest=b"other")),
        NotFound,
    ),
    "remove an engine that is not there": (lambda store, _: store.remove_engine("nowhere"), NotFound),
    "replace the secret of an engine that is not there": (
        lambda store, _: store.change_engine(EngineId("eng_nowhere"), with_secret(b"other")),
        NotFound,
    ),
}


@pytest.mark.parametrize("write", REFUSED)
async def test_a_refused_write_raises_what_the_port_declares_and_leaves_no_trace(bench: Bench, write: str) -> None:
    things = await _things(bench)
    before = await bench.store.revision()
    make, declared = REFUSED[write]
    with pytest.raises(declared):
        await make(bench.store, things)
    assert await bench.store.revision() == before
    assert bench.heard.revisions == []
    newest, changes = await bench.store.changes_after(before)
    assert (newest, list(changes or ())) == (before, [])
    assert await bench.store.token(ALICE, PUBLISH, things[0].id) == things[0]
    assert await bench.store.token(ALICE, SUBSCRIBE, things[1].id) == things[1]
    assert list(await bench.store.engines()) == [things[2]]
    assert await policies(bench.store) == {}


async def test_changes_come_oldest_first_and_only_those_after_the_revision_asked_for(bench: Bench) -> None:
    for digest in (b"1", b"2", b"3"):
        await bench.store.add_token(new_token(kind=SUBSCRIBE, digest=digest))
    start = bench.start
    newest, changes = await bench.store.changes_after(start)
    assert newest == start + 3
    assert [(c.revision, c.key) for c in changes or ()] == [(start + 1, b"1"), (start + 2, b"2"), (start + 3, b"3")]
    newest, changes = await bench.store.changes_after(start + 2)
    assert newest == start + 3
    assert [(c.revision, c.key) for c in changes or ()] == [(start + 3, b"3")]


async def test_a_reader_that_is_up_to_date_or_ahead_gets_no_changes_rather_than_none(bench: Bench) -> None:
    newest = await bench.store.revision()
    for revision in (newest, newest + 1, newest + 1000):
        found, changes = await bench.store.changes_after(revision)
        assert found == newest
        assert changes is not None
        assert len(changes) == 0


async def test_a_reader_that_has_nothing_yet_is_told_to_start_afresh(bench: Bench) -> None:
    assert await bench.store.changes_after(-1) == (bench.start, None)


async def test_a_reader_behind_the_kept_changes_is_told_to_start_afresh(sql: SqlBench) -> None:
    for _ in range(4):
        await sql.store.add_token(new_token())
    async with sql.writer.begin() as connection:
        await connection.execute(delete(schema.change).where(schema.change.c.revision <= sql.start + 2))
    for behind in (0, sql.start, sql.start + 1):
        assert await sql.store.changes_after(behind) == (sql.start + 4, None)
    newest, changes = await sql.store.changes_after(sql.start + 2)
    assert newest == sql.start + 4
    assert {change.revision for change in changes or ()} == {sql.start + 3, sql.start + 4}


async def test_a_reader_is_told_to_start_afresh_when_no_change_is_kept_at_all(sql: SqlBench) -> None:
    await sql.store.add_token(new_token())
    async with sql.writer.begin() as connection:
        await connection.execute(delete(schema.change))
    assert await sql.store.changes_after(sql.start) == (sql.start + 1, None)


async def test_changes_are_kept_for_the_declared_number_of_revisions_and_no_longer(sql: SqlBench) -> None:
    await sql.store.add_token(new_token())  # revision start + 1
    await sql.store.add_token(new_token())  # revision start + 2
    async with sql.writer.begin() as connection:
        await connection.execute(update(schema.revision).values(n=sql.start + KEPT_CHANGES))
    await sql.store.add_token(new_token())  # as far ahead as drops start + 1
    async with sql.writer.connect() as connection:
        kept = {row[0] for row in await connection.execute(schema.change.select())}
    assert kept == {sql.start + 2, sql.start + 1 + KEPT_CHANGES}


# -- facts


async def test_facts_know_a_token_by_its_digest_and_name_the_revision_they_were_read_at(bench: Bench) -> None:
    record = await bench.store.add_token(new_token(digest=b"d", kind=SUBSCRIBE))
    found = await bench.store.facts(b"d", NOBODY, "studio", with_publishers=False)
    assert found == Facts(record, ALICE, (), bench.start + 1)


async def test_facts_of_no_token_or_an_unknown_one_are_of_the_account_asked_for(bench: Bench) -> None:
    await bench.store.add_token(new_token())
    for digest in (None, b"", b"unknown"):
        for account in (ALICE, NOBODY):
            for with_publishers in (False, True):
                found = await bench.store.facts(digest, account, "elsewhere", with_publishers=with_publishers)
                assert found == Facts(None, account, (), bench.start + 1)


async def test_publishers_are_found_by_exact_name(bench: Bench) -> None:
    one = await bench.store.add_token(new_token(terms("studio", "stage")))
    two = await bench.store.add_token(new_token(terms("stage")))
    assert await publishers(bench, "studio") == [one.id]
    assert await publishers(bench, "stage") == [one.id, two.id]
    for other in ("Studio", "studio/1", "studi", "studio ", ""):
        assert await publishers(bench, other) == []


async def test_publishers_with_a_regular_expression_are_found_for_every_name(bench: Bench) -> None:
    exact = await bench.store.add_token(new_token(terms("studio")))
    pattern = await bench.store.add_token(new_token(terms("stage", regex=("cam-.*",))))
    assert await publishers(bench, "anything") == [pattern.id]
    assert await publishers(bench, "studio") == [exact.id, pattern.id]


async def test_a_publisher_that_covers_a_name_in_several_ways_is_found_once(bench: Bench) -> None:
    token = await bench.store.add_token(new_token(terms("studio", regex=("st.*", ".*"))))
    assert await publishers(bench, "studio") == [token.id]


async def test_publishers_are_read_only_when_asked_for(bench: Bench) -> None:
    await bench.store.add_token(new_token(terms("studio")))
    assert (await bench.store.facts(None, ALICE, "studio", with_publishers=False)).publishers == ()


async def test_publishers_are_whole_records_disabled_ones_among_them(bench: Bench) -> None:
    token = await bench.store.add_token(new_token(terms("studio", active=False)))
    found = await bench.store.facts(None, ALICE, "studio", with_publishers=True)
    assert found.publishers == (token,)
    assert found.publishers[0].state is TokenState.DISABLED


async def test_a_revoked_token_is_no_publisher(bench: Bench) -> None:
    by_name = await bench.store.add_token(new_token(terms("studio")))
    by_regex = await bench.store.add_token(new_token(terms(regex=(".*",))))
    await bench.store.revoke_token(ALICE, PUBLISH, by_name.id, AT)
    assert await publishers(bench, "studio") == [by_regex.id]
    await bench.store.revoke_token(ALICE, PUBLISH, by_regex.id, AT)
    assert await publishers(bench, "studio") == []


async def test_a_subscribe_token_is_no_publisher(bench: Bench) -> None:
    await bench.store.add_token(new_token(terms("studio", regex=(".*",)), kind=SUBSCRIBE))
    assert await publishers(bench, "studio") == []


async def test_another_accounts_tokens_are_no_publishers_here(bench: Bench) -> None:
    token = await bench.store.add_token(new_token(terms("studio", regex=(".*",)), account=BOB))
    assert await publishers(bench, "studio", account=ALICE) == []
    assert await publishers(bench, "studio", account=BOB) == [token.id]


async def test_an_empty_account_stands_for_the_tokens_own(bench: Bench) -> None:
    viewer = await bench.store.add_token(new_token(kind=SUBSCRIBE, digest=b"viewer", account=BOB))
    hers = await bench.store.add_token(new_token(terms("studio"), account=ALICE))
    his = await bench.store.add_token(new_token(terms("studio"), account=BOB))
    found = await bench.store.facts(b"viewer", NOBODY, "studio", with_publishers=True)
    assert found == Facts(viewer, BOB, (his,), bench.start + 3)
    found = await bench.store.facts(b"viewer", ALICE, "studio", with_publishers=True)
    assert found == Facts(viewer, ALICE, (hers,), bench.start + 3)


async def test_an_empty_account_and_an_unknown_token_have_no_publishers(bench: Bench) -> None:
    await bench.store.add_token(new_token(terms("studio", regex=(".*",))))
    assert await publishers(bench, "studio", account=NOBODY, digest=b"unknown") == []
    assert await publishers(bench, "studio", account=NOBODY) == []


async def test_a_publish_token_is_among_its_own_streams_publishers(bench: Bench) -> None:
    token = await bench.store.add_token(new_token(terms("studio"), digest=b"d"))
    found = await bench.store.facts(b"d", NOBODY, "studio", with_publishers=True)
    assert found == Facts(token, ALICE, (token,), bench.start + 1)


async def test_publishers_follow_a_change_of_streams(bench: Bench) -> None:
    token = await bench.store.add_token(new_token(terms("old")))
    await bench.store.change_token(
        ALICE, PUBLISH, token.id, TokenChange(at=AT, terms=lambda old: replace(old, streams=(StreamPattern("new"),)))
    )
    assert await publishers(bench, "old") == []
    assert await publishers(bench, "new") == [token.id]
    pattern = (StreamPattern("n.*", is_regex=True),)
    await bench.store.change_token(
        ALICE, PUBLISH, token.id, TokenChange(at=AT, terms=lambda old: replace(old, streams=pattern))
    )
    assert await publishers(bench, "old") == [token.id]


@pytest.mark.parametrize("with_publishers", [False, True])
@pytest.mark.parametrize("digest", [None, b"unknown", b"viewer"])
async def test_facts_take_one_statement(sql: SqlBench, digest: bytes | None, with_publishers: bool) -> None:
    await sql.store.add_token(new_token(kind=SUBSCRIBE, digest=b"viewer"))
    for regex in ((), (".*",)):
        await sql.store.add_token(new_token(terms("studio", regex=regex)))
    statements: list[str] = []

    def count(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        statements.append(statement)

    for either in (sql.reader, sql.writer):
        event.listen(either.sync_engine, "before_cursor_execute", count)
    found = await sql.store.facts(digest, ALICE, "studio", with_publishers=with_publishers)
    assert len(found.publishers) == (2 if with_publishers else 0)
    assert len(statements) == 1


# -- tokens


async def test_a_new_token_is_returned_with_its_id_and_sealed_for_it(bench: Bench) -> None:
    first = await bench.store.add_token(new_token(digest=b"d", added_on=AT + 5))
    assert first.sealed == f"sealed for {first.id}".encode()
    assert first == TokenRecord(
        id=first.id, account=ALICE, kind=PUBLISH, terms=terms(), digest=b"d", sealed=first.sealed, added_on=AT + 5
    )
    assert await bench.store.token(ALICE, PUBLISH, first.id) == first
    second = await bench.store.add_token(new_token(kind=SUBSCRIBE, account=BOB))
    assert second.id != first.id


async def test_every_term_comes_back_as_it_was_kept(bench: Bench) -> None:
    everything = TokenTerms(
        label='Bühne 1 "links" \u2603 \U0001f3ad',
        streams=(StreamPattern("studio"), StreamPattern("cam-[0-9]+", is_regex=True)),
        active=False,
        not_before=AT - 1,
        expires_at=AT + 2**31,
        allowed_addresses=("192.0.2.0/24", "2001:db8::1"),
        allowed_origins=("example.com", "*.example.org"),
        bind_ips_on_usage=4294967295,
        allowed_countries=("DE",),
        denied_countries=("FR", "IT"),
        hours=Hours("Europe/Warsaw", (Window((0, 6), 22 * 60, 6 * 60),)),
        end_sessions_at_expiry=True,
        bind_ipv4_bits=24,
        bind_ipv6_bits=64,
        rebinds_an_hour=2,
        allow_without_origin=True,
        geo_applies_to=(Action.SUBSCRIBE,),
        allowed_protocols=(ProtocolOf.RTMP, ProtocolOf.HLS),
        allowed_user_agents=("Example*",),
        allowed_referrers=("https://*",),
        subject="alice \u2603",
        session_limit=SessionLimit(2, Per.SUBJECT, Over.GRACE, 5),
        single_use=SingleUse(30),
        budgets=Budgets(60, 600, 2**53, 3),
        shadow_until=AT,
        origin_cluster="phx-1",
        tracking_id="",
        viewer_data="seat=12",
        actions=(Action.SUBSCRIBE, Action.PUBLISH),
        groups=("summer",),
        longest_seconds=60,
        publishing=PublishOptions(
            subscribe_requires_auth=True,
            record=True,
            clip=True,
            multisource=False,
            low_latency_rtmp=False,
            enable_thumbnails=True,
            display_srt_passphrase=True,
            drm=True,
            enable_utc_insertion=False,
            geo_cascade={"isEnabled": True, "clusters": ["iad-1"]},
            restream=({"url": "rtmp://example.com/live", "key": "12345", "enabled": False},),
            priority=-2147483648,
            encoder_profile_id="profile",
        ),
    )
    plain = TokenTerms(label="", streams=())
    # What is not understood is found by reading, and never kept: see tests/unit/test_store_codec.py.
    assert [
        each.name for each in fields(everything) if getattr(everything, each.name) == getattr(plain, each.name)
    ] == ["not_understood"]
    added = await bench.store.add_token(new_token(everything))
    assert added.terms == everything
    assert (await bench.store.token(ALICE, PUBLISH, added.id)).terms == everything
    assert (await bench.store.facts(added.digest, NOBODY, "studio", with_publishers=False)).record == added
    assert await bench.store.change_token(ALICE, PUBLISH, added.id, TokenChange(at=AT)) == added
    assert (await bench.store.token(ALICE, PUBLISH, added.id)).terms == everything


async def test_a_label_may_hold_any_character_but_nul(bench: Bench) -> None:
    """PostgreSQL's text has no NUL, so `service.terms` refuses it before a store sees it."""
    token = await bench.store.add_token(new_token(terms(label="a\x01b\r\n\x7f\ufffe")))
    assert token.terms.label == "a\x01b\r\n\x7f\ufffe"
    changed = await bench.store.change_token(ALICE, PUBLISH, token.id, relabelled("\x01"))
    assert list(await bench.store.tokens(ALICE, PUBLISH, Page(1, 100))) == [changed]


async def test_a_token_whose_sealing_fails_is_not_kept(bench: Bench) -> None:
    def broken(_token_id: TokenId) -> bytes:
        raise ConfigError("the keyring is gone")

    with pytest.raises(ConfigError):
        await bench.store.add_token(replace(new_token(), seal=broken))
    assert await bench.store.tokens(ALICE, PUBLISH, Page(1, 100)) == []
    assert await bench.store.revision() == bench.start
    assert bench.heard.revisions == []


async def test_a_token_is_found_only_by_its_account_kind_and_id(bench: Bench) -> None:
    record = await bench.store.add_token(new_token())
    for account, kind, token_id in (
        (BOB, PUBLISH, record.id),
        (ALICE, SUBSCRIBE, record.id),
        (AccountId("carol"), PUBLISH, record.id),
        (NOBODY, PUBLISH, record.id),
        (ALICE, PUBLISH, TokenId(record.id + 1)),
        (ALICE, PUBLISH, TokenId(0)),
        (ALICE, PUBLISH, TokenId(-1)),
        (ALICE, PUBLISH, TokenId(2**63 - 1)),
    ):
        with pytest.raises(NotFound) as refused:
            await bench.store.token(account, kind, token_id)
        assert refused.value.field == "tokenId"
        assert str(token_id) in refused.value.message


async def test_a_token_id_beyond_the_databases_numbers_is_not_found(sql: SqlBench) -> None:
    for token_id in (2**63, -(2**63) - 1, 10**30):
        with pytest.raises(NotFound):
            await sql.store.token(ALICE, PUBLISH, TokenId(token_id))


async def test_a_token_of_any_account_and_kind_is_found_by_its_id_or_its_digest(bench: Bench) -> None:
    """For the operator: revoked ones too."""
    hers = await bench.store.add_token(new_token(digest=b"hers"))
    his = await bench.store.add_token(new_token(digest=b"his", account=BOB, kind=SUBSCRIBE))
    await bench.store.revoke_token(BOB, SUBSCRIBE, his.id, AT)
    gone = replace(his, revoked_at=AT)
    assert (await bench.store.find_token(hers.id), await bench.store.find_token(b"hers")) == (hers, hers)
    assert (await bench.store.find_token(his.id), await bench.store.find_token(b"his")) == (gone, gone)
    for nothing in (TokenId(404), TokenId(0), TokenId(-1), TokenId(10**30), b"", b"unknown", b"her"):
        with pytest.raises(NotFound):
            await bench.store.find_token(nothing)


async def test_terms_are_changed_from_those_in_force_and_nothing_else_is(bench: Bench) -> None:
    record = await bench.store.add_token(new_token(digest=b"d"))
    changed = await bench.store.change_token(ALICE, PUBLISH, record.id, relabelled("second"))
    assert changed == replace(record, terms=replace(record.terms, label="second"))
    again = await bench.store.change_token(
        ALICE, PUBLISH, record.id, TokenChange(at=AT, terms=lambda old: replace(old, label=old.label + " label"))
    )
    assert again.terms.label == "second label"
    assert await bench.store.token(ALICE, PUBLISH, record.id) == again


@pytest.mark.parametrize("error", [InvalidInput, NotFound, ValueError, ZeroDivisionError])
async def test_an_error_in_the_terms_change_comes_out_and_nothing_changed(bench: Bench, error: type[Exception]) -> None:
    record = await bench.store.add_token(new_token(digest=b"d"))
    bench.heard.revisions.clear()

    def broken(_old: TokenTerms) -> TokenTerms:
        raise error("no")

    with pytest.raises(error):
        await bench.store.change_token(
            ALICE, PUBLISH, record.id, TokenChange(at=AT, terms=broken, digest=b"renewed", sealed=b"renewed")
        )
    assert await bench.store.token(ALICE, PUBLISH, record.id) == record
    assert (await bench.store.facts(b"d", NOBODY, "studio", with_publishers=True)).publishers == (record,)
    assert (await bench.store.facts(b"renewed", NOBODY, "studio", with_publishers=False)).record is None
    assert await bench.store.revision() == bench.start + 1
    assert bench.heard.revisions == []
    await bench.store.change_token(ALICE, PUBLISH, record.id, relabelled("the store still works"))
    assert bench.heard.revisions == [(bench.start + 2, bench.start + 2)]


@pytest.mark.parametrize("kind", TokenKind)
async def test_a_renewed_token_is_found_by_its_new_digest_only(bench: Bench, kind: TokenKind) -> None:
    record = await bench.store.add_token(new_token(digest=b"old", kind=kind))
    renewed = await bench.store.change_token(
        ALICE, kind, record.id, TokenChange(at=AT, digest=b"new", sealed=b"sealed anew")
    )
    assert renewed == replace(record, digest=b"new", sealed=b"sealed anew")
    assert (await bench.store.facts(b"old", NOBODY, "studio", with_publishers=False)).record is None
    assert (await bench.store.facts(b"new", NOBODY, "studio", with_publishers=False)).record == renewed
    _, changes = await bench.store.changes_after(bench.start + 1)
    assert {b"old", b"new"} <= {change.key for change in changes or () if change.kind is ChangeKind.TOKEN}


@pytest.mark.parametrize("kind", TokenKind)
async def test_revocation_is_a_tombstone(bench: Bench, kind: TokenKind) -> None:
    """The record stays for decisions to know it by; for its owner it is gone, and for ever."""
    record = await bench.store.add_token(new_token(digest=b"d", kind=kind))
    await bench.store.revoke_token(ALICE, kind, record.id, AT + 9)
    found = (await bench.store.facts(b"d", NOBODY, "studio", with_publishers=False)).record
    assert found == replace(record, revoked_at=AT + 9)
    assert found is not None
    assert found.state is TokenState.REVOKED
    assert await bench.store.tokens(ALICE, kind, Page(1, 100)) == []
    with pytest.raises(NotFound):
        await bench.store.token(ALICE, kind, record.id)
    with pytest.raises(NotFound):
        await bench.store.change_token(ALICE, kind, record.id, relabelled("back"))
    with pytest.raises(NotFound):
        await bench.store.revoke_token(ALICE, kind, record.id, AT + 10)
    again = (await bench.store.facts(b"d", NOBODY, "studio", with_publishers=False)).record
    assert again == found


async def test_the_id_of_a_revoked_token_is_not_given_again(bench: Bench) -> None:
    record = await bench.store.add_token(new_token())
    await bench.store.revoke_token(ALICE, PUBLISH, record.id, AT)
    assert (await bench.store.add_token(new_token())).id != record.id


async def test_tokens_are_sorted_by_name_or_time_with_ties_by_id_and_descending_is_the_exact_reverse(
    bench: Bench,
) -> None:
    rows = [("beta", AT + 2), ("alpha", AT + 3), ("beta", AT + 1), ("gamma", AT + 2), ("alpha", AT + 2)]
    a, b, c, d, e = [(await bench.store.add_token(new_token(terms(label=label), added_on=at))).id for label, at in rows]
    for sort_by, expected in ((SortBy.NAME, [b, e, a, c, d]), (SortBy.ADDED_ON, [c, a, d, e, b])):
        assert ids(await bench.store.tokens(ALICE, PUBLISH, Page(1, 100, sort_by))) == expected
        reverse = ids(await bench.store.tokens(ALICE, PUBLISH, Page(1, 100, sort_by, descending=True)))
        assert reverse == expected[::-1]


async def test_labels_and_names_are_sorted_by_code_point(bench: Bench) -> None:
    """Not by the language that the database's cluster was made for: a page must not depend on that."""
    names = ["Z", "_", "a", "a-b", "aB", "b", "\u00e9", "\U0001f3ad"]
    for name in reversed(names):
        await bench.store.add_token(new_token(terms(label=name)))
        await bench.store.add_engine(engine(name, digest=name.encode()))
    assert [record.terms.label for record in await bench.store.tokens(ALICE, PUBLISH, Page(1, 100))] == names
    assert [each.name for each in await bench.store.engines()] == names


async def test_tokens_are_sorted_by_the_label_they_have_now(bench: Bench) -> None:
    first = await bench.store.add_token(new_token(terms(label="a")))
    second = await bench.store.add_token(new_token(terms(label="b")))
    await bench.store.change_token(ALICE, PUBLISH, first.id, relabelled("c"))
    assert ids(await bench.store.tokens(ALICE, PUBLISH, Page(1, 100))) == [second.id, first.id]


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("size", [1, 2, 6, 7, 8])
async def test_pages_part_the_list_without_gap_or_overlap_and_are_empty_past_its_end(
    bench: Bench, size: int, descending: bool
) -> None:
    expected = [(await bench.store.add_token(new_token())).id for _ in range(7)]
    if descending:
        expected.reverse()
    pages = -(-7 // size)
    found: list[int] = []
    for number in range(1, pages + 1):
        part = ids(await bench.store.tokens(ALICE, PUBLISH, Page(number, size, descending=descending)))
        assert 1 <= len(part) <= size
        found += part
    assert found == expected
    for number in (pages + 1, pages + 2, 2147483647):
        assert list(await bench.store.tokens(ALICE, PUBLISH, Page(number, size, descending=descending))) == []


async def test_a_list_holds_one_accounts_tokens_of_one_kind(bench: Bench) -> None:
    hers = await bench.store.add_token(new_token())
    await bench.store.add_token(new_token(account=BOB))
    viewer = await bench.store.add_token(new_token(kind=SUBSCRIBE))
    assert list(await bench.store.tokens(ALICE, PUBLISH, Page(1, 100))) == [hers]
    assert list(await bench.store.tokens(ALICE, SUBSCRIBE, Page(1, 100))) == [viewer]
    assert list(await bench.store.tokens(AccountId("carol"), PUBLISH, Page(1, 100))) == []


# -- accounts


async def test_there_is_one_first_account(empty: Bench) -> None:
    await empty.store.add_first_account(first_account())
    for again in (first_account(), first_account(BOB, b"bob's API secret")):
        with pytest.raises(Conflict):
            await empty.store.add_first_account(again)
    assert await empty.store.accounts() == [ALICE]
    assert await empty.store.account_of_api_secret(b"bob's API secret") is None


async def test_of_first_accounts_made_at_once_one_is_kept(empty: Bench) -> None:
    names = [AccountId(f"account-{number}") for number in range(5)]
    results = await asyncio.gather(
        *(empty.store.add_first_account(first_account(name, name.encode())) for name in names), return_exceptions=True
    )
    assert sum(result is None for result in results) == 1
    assert sum(isinstance(result, Conflict) for result in results) == 4
    assert len(await empty.store.accounts()) == 1
    assert empty.heard.revisions == [(1, 1)]


async def test_accounts_are_listed_oldest_first(bench: Bench) -> None:
    assert list(await bench.store.accounts()) == [ALICE, BOB]


async def test_an_api_secret_finds_its_account_while_that_is_open(bench: Bench) -> None:
    digest = b"alice's API secret"
    assert await bench.store.account_of_api_secret(digest) == ALICE
    assert await bench.store.account_of_api_secret(b"unknown") is None
    assert await bench.store.account_of_api_secret(b"") is None
    await bench.store.change_account(ALICE, close)
    assert await bench.store.account_of_api_secret(digest) is None
    assert await policies(bench.store) == {ALICE: CLOSED}
    await bench.store.change_account(ALICE, lambda policy: replace(policy, enabled=True))
    assert await bench.store.account_of_api_secret(digest) == ALICE
    assert await policies(bench.store) == {}


async def test_closing_an_account_twice_is_no_error_and_keeps_it_in_the_list(bench: Bench) -> None:
    await bench.store.change_account(BOB, close)
    await bench.store.change_account(BOB, close)
    assert await policies(bench.store) == {BOB: CLOSED}
    assert list(await bench.store.accounts()) == [ALICE, BOB]


EVERY_POLICY: dict[str, object] = {
    "enabled": False,
    "countries": Countries(("DE",), ("FR", "IT"), (Action.SUBSCRIBE,)),
    "origin_cluster": "phx-1",
    "longest_lifetime_seconds": 3600,
    "shadow_until": AT,
    "geo_cascade": GeoCascade(enabled=True, clusters=("ams-1", "phx-1")),
    "media_expiration": MediaExpiration(timelines=1, clips=365),
}


@pytest.mark.parametrize("name", EVERY_POLICY)
async def test_what_an_account_sets_comes_back_and_can_be_lifted(bench: Bench, name: str) -> None:
    given: dict[str, Any] = {name: EVERY_POLICY[name]}
    wanted = replace(OPEN, **given)
    assert await bench.store.change_account(ALICE, lambda policy: replace(policy, **given)) == wanted
    assert await bench.store.account_policy(ALICE) == wanted
    assert await policies(bench.store) == {ALICE: wanted}
    assert await bench.store.account_policy(BOB) == OPEN
    lifted: dict[str, Any] = {name: getattr(OPEN, name)}
    assert await bench.store.change_account(ALICE, lambda policy: replace(policy, **lifted)) == OPEN
    assert await policies(bench.store) == {}


def test_every_setting_of_an_account_is_here() -> None:
    assert set(EVERY_POLICY) | {"not_understood", "tells_viewers"} == {each.name for each in fields(AccountPolicy)}


async def test_what_a_newer_version_set_is_told_and_never_written_over(sql: SqlBench) -> None:
    """Whatever the write is: a token's setting that is not known stays where it is, and so does an account's."""
    token = await sql.store.add_token(new_token())
    kept = {}
    for table, column, key in ((schema.token, "terms", token.id), (schema.account, "policy", ALICE)):
        async with sql.writer.begin() as connection:
            old = (await connection.execute(select(table.c[column]).where(table.c.id == key))).scalar_one()
            kept[table] = json.dumps(json.loads(old) | {"full_moon": True})
            await connection.execute(update(table).where(table.c.id == key).values({column: kept[table]}))
    read = await sql.store.token(ALICE, PUBLISH, token.id)
    assert read == replace(token, terms=replace(token.terms, not_understood=("full_moon",)))
    assert await sql.store.account_policy(ALICE) == replace(CLOSED, not_understood=("full_moon",))
    assert await policies(sql.store) == {ALICE: replace(CLOSED, not_understood=("full_moon",))}
    before = await sql.store.revision()
    renamed = relabelled("b")
    for change in (renamed, replace(renamed, terms=None), replace(renamed, terms=None, digest=b"new", sealed=b"new")):
        with pytest.raises(InvalidInput, match="full_moon"):
            await sql.store.change_token(ALICE, PUBLISH, token.id, change)
    for switch in (close, lambda policy: replace(policy, enabled=True)):
        with pytest.raises(InvalidInput, match="full_moon"):
            await sql.store.change_account(ALICE, switch)
    assert await sql.store.revision() == before
    for table, column, key in ((schema.token, "terms", token.id), (schema.account, "policy", ALICE)):
        async with sql.writer.begin() as connection:
            found = (await connection.execute(select(table.c[column]).where(table.c.id == key))).scalar_one()
            assert found == kept[table]
    await sql.store.revoke_token(ALICE, PUBLISH, token.id, AT)
    assert (await sql.store.find_token(token.id)).revoked_at == AT


async def test_a_policy_is_changed_from_the_one_in_force(bench: Bench) -> None:
    await asyncio.gather(
        *(
            bench.store.change_account(ALICE, lambda policy: replace(policy, shadow_until=policy.shadow_until + 1))
            for _ in range(20)
        )
    )
    assert (await bench.store.account_policy(ALICE)).shadow_until == 20


@pytest.mark.parametrize("error", [InvalidInput, ZeroDivisionError])
async def test_an_error_in_a_policys_change_comes_out_and_nothing_changed(bench: Bench, error: type[Exception]) -> None:
    def broken(_policy: AccountPolicy) -> AccountPolicy:
        raise error("no")

    with pytest.raises(error):
        await bench.store.change_account(ALICE, broken)
    assert await policies(bench.store) == {}
    assert (await bench.store.revision(), bench.heard.revisions) == (bench.start, [])


async def test_an_account_that_is_not_there_has_no_policy(bench: Bench) -> None:
    with pytest.raises(NotFound):
        await bench.store.account_policy(AccountId("carol"))


# -- engines


async def test_engines_are_listed_by_name_as_they_were_kept(bench: Bench) -> None:
    kept = [
        engine("b", account=ALICE, digest=b"1"),
        replace(engine("a", digest=b"2"), kind=EngineKind.MEDIAMTX, added_on=AT + 3),
        engine("c", account=BOB, digest=b"3"),
    ]
    for each in kept:
        await bench.store.add_engine(each)
    assert list(await bench.store.engines()) == [kept[1], kept[0], kept[2]]


async def test_an_engines_name_is_taken_until_it_is_removed(bench: Bench) -> None:
    await bench.store.add_engine(engine("ingest", digest=b"1"))
    other = replace(engine("ingest", digest=b"2"), id=EngineId("eng_other"))
    with pytest.raises(Conflict) as refused:
        await bench.store.add_engine(other)
    assert refused.value.field == "name"
    await bench.store.remove_engine("ingest")
    assert list(await bench.store.engines()) == []
    await bench.store.add_engine(other)
    assert list(await bench.store.engines()) == [other]


async def test_replacing_an_engines_secret_changes_that_one_engine_and_nothing_else_of_it(bench: Bench) -> None:
    one, two = engine("a", digest=b"1"), engine("b", digest=b"2")
    await bench.store.add_engine(one)
    await bench.store.add_engine(two)
    changed = replace(one, secret_digest=b"3")
    assert await bench.store.change_engine(one.id, with_secret(b"3")) == changed
    assert list(await bench.store.engines()) == [changed, two]


async def test_what_is_known_of_an_engine_comes_back_and_can_be_changed(bench: Bench) -> None:
    kept = replace(engine(), address_trust=AddressTrust.UNTRUSTED, control_url="http://127.0.0.1:9997")
    await bench.store.add_engine(kept)
    assert list(await bench.store.engines()) == [kept]
    changed = replace(kept, address_trust=AddressTrust.ACCEPTED, control_url="")
    assert await bench.store.change_engine(kept.id, lambda _: changed) == changed
    assert list(await bench.store.engines()) == [changed]


async def test_an_engine_is_changed_from_what_is_known_of_it(bench: Bench) -> None:
    await bench.store.add_engine(engine())
    await asyncio.gather(
        *(
            bench.store.change_engine(
                EngineId("eng_ingest"), lambda known: replace(known, control_url=known.control_url + "x")
            )
            for _ in range(20)
        )
    )
    assert (await bench.store.engines())[0].control_url == "x" * 20


async def test_removing_an_engine_leaves_the_others(bench: Bench) -> None:
    await bench.store.add_engine(engine("a", digest=b"1"))
    await bench.store.add_engine(engine("b", digest=b"2"))
    await bench.store.remove_engine("a")
    assert [each.name for each in await bench.store.engines()] == ["b"]


# -- many at once


async def test_50_writers_at_once_get_50_revisions_each_announced_after_its_commit(bench: Bench) -> None:
    record = await bench.store.add_token(new_token())
    start = await bench.store.revision()
    bench.heard.revisions.clear()
    writes = (bench.store.change_token(ALICE, PUBLISH, record.id, relabelled(str(n))) for n in range(50))
    await asyncio.gather(*writes)
    expected = list(range(start + 1, start + 51))
    assert sorted(revision for revision, _ in bench.heard.revisions) == expected
    assert all(seen >= revision for revision, seen in bench.heard.revisions)
    newest, changes = await bench.store.changes_after(start)
    assert newest == start + 50
    assert sorted({change.revision for change in changes or ()}) == expected


async def test_50_tokens_added_at_once_are_all_there_noted_and_announced_after_their_commit(bench: Bench) -> None:
    """Those that come while another is being written share a write."""
    added = await asyncio.gather(*(bench.store.add_token(new_token()) for _ in range(50)))
    assert len({record.id for record in added}) == 50
    assert all(record.sealed == f"sealed for {record.id}".encode() for record in added)
    for record in added:
        assert await bench.store.token(ALICE, PUBLISH, record.id) == record
    newest, changes = await bench.store.changes_after(bench.start)
    assert newest == await bench.store.revision()
    expected = list(range(bench.start + 1, newest + 1))
    assert sorted({change.revision for change in changes or ()}) == expected
    assert sorted(revision for revision, _ in bench.heard.revisions) == expected
    assert all(seen >= revision for revision, seen in bench.heard.revisions)
    touched = [change.key for change in changes or () if change.kind is ChangeKind.TOKEN]
    assert sorted(touched) == sorted(record.digest for record in added)
    assert len(await bench.store.tokens(ALICE, PUBLISH, Page(1, 100))) == 50


async def test_no_change_is_lost_among_writers_of_the_same_token(bench: Bench) -> None:
    record = await bench.store.add_token(new_token())

    def adding(name: str) -> TokenChange:
        return TokenChange(at=AT, terms=lambda old: replace(old, streams=(*old.streams, StreamPattern(name))))

    names = [f"cam-{number}" for number in range(20)]
    await asyncio.gather(*(bench.store.change_token(ALICE, PUBLISH, record.id, adding(name)) for name in names))
    streams = (await bench.store.token(ALICE, PUBLISH, record.id)).terms.streams
    assert {pattern.text for pattern in streams} == {"studio", *names}


async def test_of_several_revocations_at_once_one_counts(bench: Bench) -> None:
    record = await bench.store.add_token(new_token())
    results = await asyncio.gather(
        *(bench.store.revoke_token(ALICE, PUBLISH, record.id, AT + n) for n in range(10)), return_exceptions=True
    )
    assert sum(result is None for result in results) == 1
    assert sum(isinstance(result, NotFound) for result in results) == 9


async def test_writers_of_two_processes_share_one_row_of_revisions(sql_backend: str, sql_place: Settings) -> None:
    """Two stores on one database stand for two workers: their connections have nothing else in common."""
    async with populated(sql_backend, sql_place) as one, opened(sql_backend, sql_place) as two:
        record = await one.store.add_token(new_token())
        one.heard.revisions.clear()
        one.start += 1
        change = relabelled("b")
        await asyncio.gather(
            *(each.store.change_token(ALICE, PUBLISH, record.id, change) for each in (one, two) for _ in range(15))
        )
        heard = [revision for revision, _ in (*one.heard.revisions, *two.heard.revisions)]
        assert sorted(heard) == list(range(one.start + 1, one.start + 31))
        assert await one.store.revision() == await two.store.revision() == one.start + 30


async def test_a_write_of_one_process_is_seen_by_another_at_once(sql_backend: str, sql_place: Settings) -> None:
    async with populated(sql_backend, sql_place) as one, opened(sql_backend, sql_place) as two:
        record = await one.store.add_token(new_token(digest=b"d"))
        assert (await two.store.facts(b"d", NOBODY, "studio", with_publishers=True)).publishers == (record,)
        await two.store.revoke_token(ALICE, PUBLISH, record.id, AT)
        found = (await one.store.facts(b"d", NOBODY, "studio", with_publishers=True)).record
        assert found is not None
        assert found.state is TokenState.REVOKED


# -- the database as a file


async def test_everything_survives_closing_and_reopening(sql_backend: str, sql_place: Settings) -> None:
    async with populated(sql_backend, sql_place) as bench:
        kept = await bench.store.add_token(new_token(digest=b"kept"))
        gone = await bench.store.add_token(new_token(digest=b"gone"))
        await bench.store.revoke_token(ALICE, PUBLISH, gone.id, AT)
        await bench.store.add_engine(engine(account=BOB))
        await bench.store.change_account(BOB, close)
        start, revision = bench.start, await bench.store.revision()
    async with opened(sql_backend, sql_place) as bench:
        assert await bench.store.revision() == revision
        assert list(await bench.store.accounts()) == [ALICE, BOB]
        assert await policies(bench.store) == {BOB: CLOSED}
        assert await bench.store.account_of_api_secret(b"alice's API secret") == ALICE
        assert list(await bench.store.tokens(ALICE, PUBLISH, Page(1, 100))) == [kept]
        found = await bench.store.facts(b"gone", NOBODY, "studio", with_publishers=True)
        assert found == Facts(replace(gone, revoked_at=AT), ALICE, (kept,), revision)
        assert list(await bench.store.engines()) == [engine(account=BOB)]
        newest, changes = await bench.store.changes_after(start)
        assert newest == revision
        assert {change.revision for change in changes or ()} == set(range(start + 1, revision + 1))
        await bench.store.add_token(new_token())
        assert bench.heard.revisions == [(revision + 1, revision + 1)]


CALLS: dict[str, Callable[[Store], Awaitable[object]]] = {
    "facts": lambda store: store.facts(b"d", ALICE, "studio", with_publishers=False),
    "facts with publishers": lambda store: store.facts(None, ALICE, "studio", with_publishers=True),
    "changes_after": lambda store: store.changes_after(0),
    "revision": lambda store: store.revision(),
    "account_policies": lambda store: store.account_policies(),
    "account_policy": lambda store: store.account_policy(ALICE),
    "find_token": lambda store: store.find_token(b"d"),
    "sessions.usage": lambda store: store.sessions.usage(broadcast(), Per.TOKEN),
    "sessions.open_sessions": lambda store: store.sessions.open_sessions(EngineId("eng_ingest")),
    "sessions.shadowed": lambda store: store.sessions.shadowed(ALICE, None),
    "engines": lambda store: store.engines(),
    "token": lambda store: store.token(ALICE, PUBLISH, TokenId(1)),
    "tokens": lambda store: store.tokens(ALICE, PUBLISH, Page(1, 10)),
    "count_tokens": lambda store: store.count_tokens(ALICE, PUBLISH),
    "tokens_by_name": lambda store: store.tokens_by_name(ALICE, PUBLISH, "a", FilterBy.TOKEN_NAME, Page(1, 10)),
    "tokens_by_cluster": lambda store: store.tokens_by_cluster(ALICE, PUBLISH, "a", "b", Page(1, 10)),
    "sessions.active_tokens": lambda store: store.sessions.active_tokens(ALICE, None),
    "accounts": lambda store: store.accounts(),
    "account_of_api_secret": lambda store: store.account_of_api_secret(b"d"),
}
CHANGING_CALLS: dict[str, Callable[[Store], Awaitable[object]]] = {
    "add_token": lambda store: store.add_token(new_token()),
    "change_token": lambda store: store.change_token(ALICE, PUBLISH, TokenId(1), relabelled("b")),
    "revoke_token": lambda store: store.revoke_token(ALICE, PUBLISH, TokenId(1), AT),
    "add_first_account": lambda store: store.add_first_account(first_account()),
    "change_account": lambda store: store.change_account(ALICE, close),
    "add_engine": lambda store: store.add_engine(engine()),
    "remove_engine": lambda store: store.remove_engine("ingest"),
    "change_engine": lambda store: store.change_engine(EngineId("eng_ingest"), with_secret(b"x")),
    "sessions.admit": lambda store: store.sessions.admit(Admission(broadcast(), Per.TOKEN, False, True, False, _never)),
    "sessions.begin_sessions": lambda store: store.sessions.begin_sessions([broadcast()]),
    "sessions.end_session": lambda store: store.sessions.end_session(EngineId("e"), "s", AT, Action.PUBLISH),
    "sessions.saw_sessions": lambda store: store.sessions.saw_sessions(EngineId("e"), {"s": 1}, AT),
    "sessions.forget_sessions": lambda store: store.sessions.forget_sessions(AT),
    "sessions.count_shadowed": lambda store: store.sessions.count_shadowed(
        {Shadowed(ALICE, TokenId(1), Reason.TOKEN_EXPIRED): 1}, AT
    ),
}


def _never(_usage: Usage) -> tuple[Decision, Effects]:
    pytest.fail("nothing was read that could be judged")


async def _is_unavailable(bench: Bench, calls: dict[str, Callable[[Store], Awaitable[object]]]) -> None:
    for call in calls.values():
        with pytest.raises(Unavailable):
            await call(bench.store)
    assert bench.heard.revisions == []


@asynccontextmanager
async def failing(settings: Settings) -> AsyncIterator[Bench]:
    """Open a SQLite store whose connections fail.

    The driver ends the thread of a failed connection without waiting for it, so that is done here: no thread may outlive
    the event loop it answers to.
    """
    before = set(threading.enumerate())
    async with opened("sqlite", settings) as bench:
        yield bench
    for thread in set(threading.enumerate()) - before:
        if "_connection_worker_thread" in thread.name:
            await asyncio.to_thread(thread.join, 10)


def _garbage(path: Path) -> None:
    path.write_bytes(b"this is no database " * 1000)


def _nothing(path: Path) -> None:
    path.unlink()


def _no_tables(path: Path) -> None:
    path.write_bytes(b"")


def _directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


DAMAGE = [_garbage, _nothing, _no_tables, _directory, _cut_short]


@pytest.mark.parametrize("damage", DAMAGE)
async def test_every_call_on_a_damaged_database_is_unavailable(
    settings: Settings, damage: Callable[[Path], None]
) -> None:
    damage(settings.database_file)
    async with failing(settings) as bench:
        await _is_unavailable(bench, CALLS)
        await _is_unavailable(bench, CHANGING_CALLS)


@pytest.mark.parametrize("damage", [_garbage, _directory, _cut_short])
def test_a_damaged_database_is_a_config_error_at_the_start(settings: Settings, damage: Callable[[Path], None]) -> None:
    damage(settings.database_file)
    starts: list[Callable[[], object]] = [
        lambda: sqlite_version(settings.database_file),
        lambda: migrate_sqlite(settings.database_file),
        lambda: create_data(settings),
    ]
    for start in starts:
        with pytest.raises(ConfigError) as refused:
            start()
        assert str(settings.database_file) in refused.value.message


def test_a_database_of_a_newer_version_is_a_config_error_at_the_start(settings: Settings) -> None:
    with sqlite3.connect(settings.database_file) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(ConfigError, match="9999"):
        migrate_sqlite(settings.database_file)


def test_a_database_without_its_keyring_is_a_config_error_and_gets_no_new_one(settings: Settings) -> None:
    settings.keyring_file.unlink()
    with pytest.raises(ConfigError, match="keyring"):
        create_data(settings)
    assert not settings.keyring_file.exists()


def test_making_a_system_again_changes_nothing(settings: Settings) -> None:
    before = {path.name: path.read_bytes() for path in settings.data.iterdir()}
    create_data(settings)
    assert {path.name: path.read_bytes() for path in settings.data.iterdir()} == before


async def test_a_database_that_can_only_be_read_answers_reads_and_is_unavailable_to_writers(settings: Settings) -> None:
    """A write format newer than SQLite knows makes a file read-only whoever opens it (file format, section 1.3.3)."""
    async with populated("sqlite", settings) as bench:
        start, record = bench.start, await bench.store.add_token(new_token(digest=b"d"))
    with settings.database_file.open("r+b") as stream:
        stream.seek(18)
        stream.write(b"\x03")
    async with failing(settings) as bench:
        found = await bench.store.facts(b"d", NOBODY, "studio", with_publishers=True)
        assert found == Facts(record, ALICE, (record,), start + 1)
        await _is_unavailable(bench, CHANGING_CALLS)


@contextmanager
def _bound_by_permissions() -> Iterator[None]:
    """Give up the superuser's right to write anywhere, where the tests run with it."""
    superuser = os.geteuid() == 0
    if superuser:
        os.seteuid(65534)
    try:
        yield
    finally:
        if superuser:
            os.seteuid(0)


@pytest.fixture
def read_only(blank_data: Path) -> Iterator[Settings]:
    """A system whose files and directory nobody may write; outside pytest's directories, which are root's alone."""
    top = Path(tempfile.mkdtemp())
    data = top / "data"
    shutil.copytree(blank_data, data)
    with sqlite3.connect(data / "stagedoor.db") as connection:
        connection.execute("PRAGMA journal_mode=WAL")
    connection.close()
    for path in data.iterdir():
        path.chmod(0o444)
    data.chmod(0o555)
    top.chmod(0o755)
    try:
        with _bound_by_permissions():
            yield Settings(data=data)
    finally:
        data.chmod(0o755)
        shutil.rmtree(top)


async def test_writing_to_a_read_only_file_is_unavailable(read_only: Settings) -> None:
    async with failing(read_only) as bench:
        await _is_unavailable(bench, CHANGING_CALLS)


async def test_reading_a_read_only_file_works_or_is_unavailable(read_only: Settings) -> None:
    async with failing(read_only) as bench:
        for call in CALLS.values():
            try:
                await call(bench.store)
            except (Unavailable, NotFound):
                continue


async def test_administration_of_a_read_only_directory_is_a_config_error(read_only: Settings) -> None:
    with pytest.raises(ConfigError, match=r"revision.*writable"):
        async with administration(read_only):
            pass


def test_a_database_without_permission_is_a_config_error_that_does_not_send_for_a_backup(read_only: Settings) -> None:
    """Restoring an old backup over a database that is whole would bring revoked tokens back."""
    with pytest.raises(ConfigError) as refused:
        migrate_sqlite(read_only.database_file)
    assert "backup" not in refused.value.message


def test_a_data_directory_that_cannot_be_made_is_a_config_error(read_only: Settings) -> None:
    with pytest.raises(ConfigError, match="cannot write"):
        create_data(replace(read_only, data=read_only.data / "inner"))


async def test_a_failure_without_words_is_unavailable_too(sql: SqlBench, caplog: pytest.LogCaptureFixture) -> None:
    """A time that ran out says nothing."""

    def fail(*_arguments: object) -> None:
        raise TimeoutError

    for either in (sql.reader, sql.writer):
        event.listen(either.sync_engine, "before_cursor_execute", fail)
    await _is_unavailable(sql, {"revision": CALLS["revision"], "add_token": CHANGING_CALLS["add_token"]})
    assert "the database failed: TimeoutError" in caplog.text


async def test_what_the_database_says_reaches_neither_the_error_nor_the_log_with_its_values(
    sql: SqlBench, caplog: pytest.LogCaptureFixture
) -> None:
    await sql.store.add_token(new_token(terms(label="do not tell"), digest=b"do not tell"))
    with pytest.raises(Unavailable) as refused:
        await sql.store.add_token(new_token(terms(label="do not tell"), digest=b"do not tell"))
    assert "the database failed" in caplog.text
    assert "do not tell" not in caplog.text
    assert "do not tell" not in str(refused.value)


async def test_the_database_holds_no_secret_in_any_writing(settings: Settings) -> None:
    """Security: a stolen database (and its log) gives neither tokens nor API, hook or administrator secrets."""
    async with administration(settings) as admin:
        first = await admin.accounts.create_first("admin@example.com")
        secrets = [first.api_secret.reveal(), first.admin_password.reveal()]
        for kind in (PUBLISH, SUBSCRIBE):
            issued = await admin.tokens.issue(first.account, kind, terms("studio"))
            renewed = await admin.tokens.change(first.account, kind, issued.record.id, lambda old: old, renew=True)
            secrets += [issued.secret.reveal(), renewed.secret.reveal()]
        secrets.append((await admin.engines.add(EngineKind.NGINX_RTMP, "ingest", first.account)).hook_secret.reveal())
        secrets.append((await admin.engines.renew_secret("ingest")).hook_secret.reveal())
        files = {path.name: path.read_bytes() for path in settings.data.iterdir() if path != settings.keyring_file}
    files |= {f"{path.name} when closed": path.read_bytes() for path in settings.data.iterdir()}
    assert "stagedoor.db-wal" in files
    assert len(secrets) == len(set(secrets)) == 8
    for name, content in files.items():
        for secret in secrets:
            for written in _writings(secret):
                assert written not in content, name


def _writings(secret: str) -> set[bytes]:
    """Return a secret as text, reversed case, hex, base64 and, where it is hex itself, its bytes."""
    forms = {secret.encode()}
    if set(secret) <= set("0123456789abcdef"):
        forms.add(bytes.fromhex(secret))
    return {
        written
        for form in forms
        for written in (
            form,
            form.swapcase(),
            form.hex().encode(),
            form.hex().upper().encode(),
            base64.b64encode(form).rstrip(b"="),
            base64.urlsafe_b64encode(form).rstrip(b"="),
        )
    }
