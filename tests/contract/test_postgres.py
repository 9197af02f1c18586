# ruff: noqa: D103
"""PostgreSQL as `store.postgres` opens it: what the server's own settings, failures and passwords must not do."""

import asyncio
import logging
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from stagedoor.model.errors import ConfigError, Unavailable
from stagedoor.model.ids import AccountId
from stagedoor.store.migrate import migrate_postgres, postgres_version
from stagedoor.store.postgres import CONNECT_SECONDS, place, postgres_engines
from stagedoor.store.sql import SqlStore
from tests.postgres import PostgresServer

PASSWORD = "hunter2"


async def _announce(_revision: int) -> None:
    pass


@asynccontextmanager
async def engines(url: str) -> AsyncIterator[tuple[AsyncEngine, AsyncEngine]]:
    reader, writer = postgres_engines(url)
    try:
        yield reader, writer
    finally:
        await reader.dispose()
        await writer.dispose()


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[SqlStore]:
    async with engines(url) as (reader, writer):
        yield SqlStore(reader=reader, writer=writer, announce=_announce)


async def setting(engine: AsyncEngine, name: str) -> str:
    async with engine.connect() as connection:
        return str((await connection.execute(text(f"SHOW {name}"))).scalar_one())


@contextmanager
def silent() -> Iterator[int]:
    """A port on which connections are taken and never answered."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


# -- the server's settings


async def test_commits_are_on_disk_and_transactions_as_we_need_them_whatever_the_servers_defaults(
    postgres_server: PostgresServer, postgres_database: str
) -> None:
    name = postgres_database.rpartition("/")[2]
    for default in ("synchronous_commit = off", "default_transaction_isolation = 'serializable'"):
        await asyncio.to_thread(postgres_server.run, f"ALTER DATABASE {name} SET {default}")
    async with engines(postgres_database) as (reader, writer):
        assert await setting(reader, "synchronous_commit") == "off"
        assert await setting(writer, "synchronous_commit") == "on"
        assert await setting(writer, "transaction_isolation") == "read committed"


async def test_a_stronger_promise_of_the_servers_than_ours_is_left_as_it_is(
    postgres_server: PostgresServer, postgres_database: str
) -> None:
    name = postgres_database.rpartition("/")[2]
    await asyncio.to_thread(postgres_server.run, f"ALTER DATABASE {name} SET synchronous_commit = remote_apply")
    async with engines(postgres_database) as (_, writer):
        assert await setting(writer, "synchronous_commit") == "remote_apply"


async def test_no_statement_and_no_resting_transaction_waits_for_ever(postgres_database: str) -> None:
    async with engines(postgres_database) as (reader, writer):
        for engine in (reader, writer):
            assert await setting(engine, "statement_timeout") in {"5s", "10s"}
            assert await setting(engine, "idle_in_transaction_session_timeout") == "10s"


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+asyncpg"])
async def test_the_url_may_be_written_as_other_programs_write_it(postgres_database: str, scheme: str) -> None:
    rest = postgres_database.partition("://")[2]
    async with opened(f"{scheme}://{rest}?sslmode=prefer") as store:
        assert await store.revision() == 0


async def test_the_socket_is_a_host_too(postgres_server: PostgresServer, postgres_database: str) -> None:
    name = postgres_database.rpartition("/")[2]
    url = f"postgresql:///{name}?host={postgres_server.folder}&port={postgres_server.port}&user=postgres"
    async with opened(url) as store:
        assert await store.revision() == 0


# -- failures


async def test_a_server_that_ended_our_connections_costs_no_answer(
    postgres_server: PostgresServer, postgres_database: str
) -> None:
    """As after its restart."""
    async with opened(postgres_database) as store:
        await store.revision()
        end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'stagedoor'"
        await asyncio.to_thread(postgres_server.run, end)
        assert await store.revision() == 0


async def test_a_lost_database_is_unavailable(postgres_server: PostgresServer, postgres_database: str) -> None:
    name = postgres_database.rpartition("/")[2]
    async with opened(postgres_database) as store:
        await store.revision()
        await asyncio.to_thread(postgres_server.run, f"DROP DATABASE {name} WITH (FORCE)")
        await _is_unavailable(store)


async def test_a_database_without_tables_is_unavailable(blank_postgres: str) -> None:
    async with opened(blank_postgres) as store:
        await _is_unavailable(store)


async def test_a_server_that_does_not_run_is_unavailable(closed_port: int) -> None:
    async with opened(f"postgresql://u:{PASSWORD}@127.0.0.1:{closed_port}/x") as store:
        await _is_unavailable(store)


async def test_a_server_that_falls_silent_is_unavailable_before_long() -> None:
    with silent() as port:
        async with opened(f"postgresql://u:{PASSWORD}@127.0.0.1:{port}/x") as store:
            async with asyncio.timeout(CONNECT_SECONDS + 2):
                with pytest.raises(Unavailable):
                    await store.revision()


async def test_a_database_that_can_only_be_read_answers_reads_and_is_unavailable_to_writers(
    postgres_server: PostgresServer, postgres_database: str
) -> None:
    name = postgres_database.rpartition("/")[2]
    await asyncio.to_thread(postgres_server.run, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    async with opened(postgres_database) as store:
        assert await store.revision() == 0
        with pytest.raises(Unavailable):
            await store.remove_engine("x")


async def test_writers_whose_callers_go_away_leave_no_lock_and_no_connection_behind(postgres_database: str) -> None:
    async with opened(postgres_database) as store:
        for wait in range(20):
            write = asyncio.create_task(store.remove_engine("x"))
            await asyncio.sleep(wait / 2000)
            write.cancel()
            await asyncio.gather(write, return_exceptions=True)
        with pytest.raises(Exception, match="there is no engine"):
            await store.remove_engine("x")


async def _is_unavailable(store: SqlStore) -> None:
    with pytest.raises(Unavailable):
        await store.revision()
    with pytest.raises(Unavailable):
        await store.remove_engine("x")


# -- what must not be told


UNREADABLE = [
    "",
    "sqlite:///x",
    "mysql://u:hunter2@host/x",
    "postgresql:/u:hunter2@host/x",
    "postgresql://u:hunter2",
    "postgresql://u:hunter2/x",
    "postgresql://u:@hunter2@host/x",
    "postgresql://u:a/hunter2@host/x",
    "postgresql://u:1/hunter2@host/x",
    "postgresql://u:a?hunter2@host/x",
    "postgresql://u:a#hunter2@host/x",
    "postgresql://u:1?hunter2@host/x",
    "postgresql://u:p@host:hunter2/x",
    "postgresql://u:p@[hunter2/x",
    "postgresql://u:p@host/x#hunter2",
    "postgresql://u:p@host/x?password=@hunter2",
    "postgresql://u:p@host,host:hunter2/x",
]


@pytest.mark.parametrize("url", UNREADABLE)
def test_a_url_that_cannot_be_read_is_refused_without_being_told(url: str) -> None:
    for call in (postgres_engines, place, migrate_postgres, postgres_version):
        with pytest.raises(ConfigError, match="write postgresql://") as refused:
            call(url)
        assert PASSWORD not in refused.value.message


READABLE = {
    "postgresql://u:hunter2@db.example.com:5432/x": "db.example.com:5432/x",
    "postgresql://u:%40hunter2%2F@[2001:db8::1]:5432/x?sslmode=require": "[2001:db8::1]:5432/x",
    "postgres://u@one:1,two:2/x?password=hunter2": "one:1,two:2/x",
    "postgresql+asyncpg:///x?host=/run/postgresql&password=hunter2": "PostgreSQL/x",
    "postgresql://%2Frun%2Fpostgresql/x": "/run/postgresql/x",
    "postgresql://host": "host/",
}


@pytest.mark.parametrize("url", READABLE)
def test_of_a_url_only_host_and_database_are_told(url: str) -> None:
    assert place(url) == READABLE[url]


@pytest.mark.parametrize(
    "query", ["", "?sslmode=hunter2", "?hunter2", "?port=hunter2", "?target_session_attrs=hunter2"]
)
async def test_the_password_is_in_no_error_log_or_repr(
    closed_port: int, query: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    url = f"postgresql://u:{PASSWORD}@127.0.0.1:{closed_port}/x{query}"
    told: list[str] = []
    async with engines(url) as (reader, writer):
        for engine in (reader, writer):
            told += [
                repr(engine),
                repr(engine.url),
                engine.url.render_as_string(hide_password=False),
                repr(engine.pool),
            ]
            with pytest.raises(OSError, match=r"cannot connect to 127\.0\.0\.1") as refused:
                await engine.connect()
            told += [str(refused.value), repr(refused.value), str(refused.value.__cause__)]
        store = SqlStore(reader=reader, writer=writer, announce=_announce)
        with pytest.raises(Unavailable) as unavailable:
            await store.revision()
        told += [str(unavailable.value), repr(unavailable.value.__cause__)]
    with pytest.raises(ConfigError) as config:
        migrate_postgres(url)
    told += [config.value.message, caplog.text]
    assert PASSWORD not in "".join(told)


async def test_a_value_that_cannot_be_sent_is_not_told(
    postgres_database: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The driver quotes it in its error."""
    async with opened(postgres_database) as store:
        with pytest.raises(Unavailable) as refused:
            await store.facts(None, AccountId("a"), f"{PASSWORD}\ud800", with_publishers=True)
    assert "a value cannot be kept" in caplog.text
    assert PASSWORD not in caplog.text + str(refused.value) + str(refused.value.__cause__)


def test_a_migration_may_be_asked_for_inside_an_event_loop(blank_postgres: str) -> None:
    async def inside() -> str | None:
        migrate_postgres(blank_postgres)
        return postgres_version(blank_postgres)

    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        before = threading.active_count()
        assert runner.run(inside()) is not None
        assert threading.active_count() == before
