"""Migrations."""

import asyncio
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, inspect, text

from stagedoor.model.errors import ConfigError
from stagedoor.model.ids import AccountId
from stagedoor.model.token import TokenKind, TokenTerms
from stagedoor.service.ports import FilterBy, NewToken, Page, SortBy
from stagedoor.store import migrate, schema
from stagedoor.store.migrate import migrate_postgres, migrate_sqlite, postgres_version, sqlite_version
from stagedoor.store.postgres import migration_engine, postgres_engines
from stagedoor.store.sql import SqlStore
from stagedoor.store.sqlite import sqlite_engines
from tests.postgres import PostgresServer

T = TypeVar("T")


def _engine(path: Path) -> Engine:
    return create_engine(f"sqlite:///{path}")


def _on_postgres(url: str, work: Callable[[Connection], T]) -> T:
    """Run `work` in a transaction on the database at `url`."""

    async def run() -> T:
        engine = migration_engine(url)
        async with engine.begin() as connection:
            result = await connection.run_sync(work)
        await engine.dispose()
        return result

    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        return runner.run(run())


def _shape(bind: Engine | Connection) -> dict[str, Any]:
    """Describe every table: columns, keys, indexes, uniqueness."""
    found = inspect(bind)
    return {
        table: {
            "columns": {
                column["name"]: (str(column["type"]), column["nullable"], column["default"])
                for column in found.get_columns(table)
            },
            "key": found.get_pk_constraint(table)["constrained_columns"],
            "foreign": sorted(
                (key["constrained_columns"], key["referred_table"], key["referred_columns"])
                for key in found.get_foreign_keys(table)
            ),
            "indexes": sorted((str(index["name"]), index["column_names"]) for index in found.get_indexes(table)),
            "unique": sorted(unique["column_names"] for unique in found.get_unique_constraints(table)),
        }
        for table in found.get_table_names()
        if table != "alembic_version"
    }


def test_head_is_the_newest_migration() -> None:
    """The constant that a quick start compares with is the newest file's number."""
    folder = Path(migrate.__file__).parent / "migrations" / "versions"
    assert max(file.name.split("_")[0] for file in folder.glob("[0-9]*.py")) == migrate.HEAD


def test_a_migrated_database_has_the_tables_of_the_schema(tmp_path: Path) -> None:
    """Tables, columns, types, keys, indexes and uniqueness are those the code works with."""
    migrate_sqlite(tmp_path / "migrated.db")
    migrated, made = _engine(tmp_path / "migrated.db"), _engine(tmp_path / "made.db")
    schema.metadata.create_all(made)
    shape = _shape(migrated)
    assert set(shape) == set(schema.metadata.tables)
    assert {table: set(parts["columns"]) for table, parts in shape.items()} == {
        name: set(table.columns.keys()) for name, table in schema.metadata.tables.items()
    }
    assert shape == _shape(made)
    migrated.dispose()
    made.dispose()


def test_a_migrated_database_is_at_head_and_at_revision_zero(tmp_path: Path) -> None:
    """It has the one row that numbers writes."""
    path = tmp_path / "a.db"
    assert sqlite_version(path) is None
    migrate_sqlite(path)
    assert sqlite_version(path) == migrate.HEAD
    engine = _engine(path)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT id, n FROM revision")).all() == [(1, 0)]
    engine.dispose()


def test_migrating_again_changes_nothing(tmp_path: Path) -> None:
    """Not a byte."""
    path = tmp_path / "a.db"
    migrate_sqlite(path)
    before = path.read_bytes()
    migrate_sqlite(path)
    assert path.read_bytes() == before


def test_an_empty_file_is_a_new_database(tmp_path: Path) -> None:
    """It has no version yet."""
    path = tmp_path / "a.db"
    path.touch()
    assert sqlite_version(path) is None
    migrate_sqlite(path)
    assert sqlite_version(path) == migrate.HEAD


def test_a_database_of_a_newer_version_is_refused_unchanged(tmp_path: Path) -> None:
    """The text says to upgrade."""
    path = tmp_path / "a.db"
    migrate_sqlite(path)
    engine = _engine(path)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(ConfigError, match=r"at migration 9999.*upgrade stagedoor"):
        migrate_sqlite(path)
    assert sqlite_version(path) == "9999"


def test_a_file_that_is_no_database_is_a_config_error_and_stays(tmp_path: Path) -> None:
    """Somebody's file is not overwritten."""
    path = tmp_path / "a.db"
    path.write_bytes(b"my diary\n" * 1000)
    for call in (sqlite_version, migrate_sqlite):
        with pytest.raises(ConfigError, match="restore it from a backup"):
            call(path)
    assert path.read_bytes() == b"my diary\n" * 1000


@pytest.mark.parametrize("path", ["missing/a.db", "."])
def test_a_place_that_cannot_be_written_is_a_config_error(tmp_path: Path, path: str) -> None:
    """No directory, or a directory in its place."""
    with pytest.raises(ConfigError):
        migrate_sqlite(tmp_path / path)


@pytest.mark.parametrize("name", ["a b.db", "a%b.db", "\u00e9.db", "a#b.db"])
def test_file_names_with_odd_characters(tmp_path: Path, name: str) -> None:
    """The file made is the file named."""
    migrate_sqlite(tmp_path / name)
    assert sqlite_version(tmp_path / name) == migrate.HEAD


def test_a_file_name_with_a_question_mark(tmp_path: Path) -> None:
    """What follows it is part of the name, not a query."""
    migrate_sqlite(tmp_path / "a?b.db")
    assert (tmp_path / "a?b.db").exists()
    assert sqlite_version(tmp_path / "a?b.db") == migrate.HEAD


# -- what a migration finds


_TERMS = '{"label":"x","active":true,"streams":%s,"expires_at":%s,"origin_cluster":"%s"}'


def _earlier_tokens(connection: Connection) -> list[int]:
    """Write tokens as version 0002 had them, and return the ids of alice's publish tokens by label and id."""
    connection.execute(text("INSERT INTO account (id, enabled, added_on) VALUES ('alice', true, 1), ('bob', true, 1)"))
    rows: list[dict[str, Any]] = []

    def add(label: str, streams: str, *, account: str = "alice", kind: str = "publish", **more: Any) -> None:
        terms = _TERMS % (streams, more.get("expires_at", "null"), more.get("cluster", ""))
        row = {"account": account, "kind": kind, "label": label, "terms": terms, "revoked_at": more.get("revoked_at")}
        row |= {"added_on": 1_700_000_000 + len(rows) // 3}
        rows.append(row | {"id": len(rows) + 1, "digest": bytes([len(rows) % 256, len(rows) // 256]), "sealed": b""})

    add("b", '[{"text":"one","is_regex":false},{"text":"two","is_regex":true},{"text":"one","is_regex":true}]')
    add("a", '[{"text":".*","is_regex":true}]', expires_at="1800000000", cluster="east")
    add("c", '[{"text":"gone","is_regex":false}]', revoked_at=5, cluster="west")
    add("a", '[{"text":"one","is_regex":false}]', kind="subscribe", expires_at="0")
    add("a", '[{"text":"his","is_regex":false}]', account="bob")
    add("d", '[{"text":".*","is_regex":false}]', cluster="x" * 70)
    for n in range(2500):
        add(f"e{n * 7 % 2500:04d}", '[{"text":"many","is_regex":false}]')
    connection.execute(
        text(
            "INSERT INTO token (id, account_id, kind, label, terms, digest, sealed, added_on, revoked_at)"
            " VALUES (:id, :account, :kind, :label, :terms, :digest, :sealed, :added_on, :revoked_at)"
        ),
        rows,
    )
    mine = [row for row in rows if (row["account"], row["kind"], row["revoked_at"]) == ("alice", "publish", None)]
    return [row["id"] for row in sorted(mine, key=lambda row: (row["label"], row["id"]))]


def _to(revision: str) -> Callable[[Connection], None]:
    """Bring a database to an earlier migration."""

    def upgrade(connection: Connection) -> None:
        config = Config()
        config.set_main_option("script_location", str(Path(migrate.__file__).parent / "migrations"))
        config.attributes["connection"] = connection
        command.upgrade(config, revision)

    return upgrade


def _found(connection: Connection) -> tuple[Any, ...]:
    """Return what stands beside the tokens, without that of the many."""
    columns = text("SELECT id, expires_at, cluster_id FROM token WHERE expires_at IS NOT NULL OR cluster_id <> ''")
    names = text("SELECT token_id, name FROM token_stream WHERE name <> 'many' ORDER BY token_id, name")
    many = text("SELECT count(*) FROM token_stream WHERE name = 'many'")
    return (
        sorted(tuple(row) for row in connection.execute(columns)),
        [tuple(row) for row in connection.execute(names)],
        connection.execute(many).scalar_one(),
    )


_EXPECTED = (
    [(2, 1_800_000_000, "east"), (3, None, "west"), (4, 0, ""), (6, None, "x" * 64)],
    [(1, "one"), (1, "two"), (4, "one"), (5, "his"), (6, ".*")],
    2500,
)


async def _lists_right(store: SqlStore, by_label: list[int]) -> None:
    alice, publish = AccountId("alice"), TokenKind.PUBLISH
    by_time = sorted(by_label)
    try:
        assert await store.count_tokens(alice, publish) == len(by_label) == 2503
        assert await store.count_tokens(AccountId("bob"), publish) == 1
        assert await store.count_tokens(alice, TokenKind.SUBSCRIBE) == 1
        for sort_by, expected in ((SortBy.NAME, by_label), (SortBy.ADDED_ON, by_time)):
            for number in (1, 2, 25, 26, 27):
                for descending in (False, True):
                    wanted = (expected[::-1] if descending else expected)[(number - 1) * 100 :][:100]
                    page = await store.tokens(alice, publish, Page(number, 100, sort_by, descending))
                    assert [record.id for record in page] == wanted
        found = await store.tokens_by_name(alice, publish, "ON", FilterBy.STREAM_NAME, Page(1, 10))
        assert [record.id for record in found] == [1]
        new = NewToken(
            account=alice,
            kind=publish,
            terms=TokenTerms(label="a", streams=()),
            digest=b"new",
            seal=lambda _: b"",
            added_on=1,
        )
        await store.add_token(new)
        assert await store.count_tokens(alice, publish) == 2504
    finally:
        await store.close()


async def _announce(_revision: int) -> None:
    """Nobody listens."""


def test_the_tokens_of_an_earlier_version_are_listed_and_searched_after_it(tmp_path: Path) -> None:
    """What lists need of them is filled in; on shelves of which none is too large."""
    path = tmp_path / "a.db"
    engine = _engine(path)
    with engine.begin() as connection:
        _to("0002")(connection)
        by_label = _earlier_tokens(connection)
    migrate_sqlite(path)
    with engine.begin() as connection:
        assert _found(connection) == _EXPECTED
        assert connection.execute(text("SELECT max(tokens) FROM token_shelf")).scalar_one() == 1000
    engine.dispose()
    reader, writer = sqlite_engines(path)
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        runner.run(_lists_right(SqlStore(reader=reader, writer=writer, announce=_announce), by_label))


def test_the_tokens_of_an_earlier_version_on_postgresql_are_listed_and_searched_after_it(blank_postgres: str) -> None:
    """The same there."""
    _on_postgres(blank_postgres, _to("0002"))
    by_label = _on_postgres(blank_postgres, _earlier_tokens)
    number = text("SELECT setval(pg_get_serial_sequence('token', 'id'), (SELECT max(id) FROM token))")
    _on_postgres(blank_postgres, lambda connection: connection.execute(number).all())
    migrate_postgres(blank_postgres)
    assert _on_postgres(blank_postgres, _found) == _EXPECTED
    reader, writer = postgres_engines(blank_postgres)
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        runner.run(_lists_right(SqlStore(reader=reader, writer=writer, announce=_announce), by_label))


# -- PostgreSQL


def test_a_migrated_postgresql_database_has_the_tables_of_the_schema(
    postgres_database: str, blank_postgres: str
) -> None:
    """The same migrations make of it what the code works with."""
    _on_postgres(blank_postgres, schema.metadata.create_all)
    shape = _on_postgres(postgres_database, _shape)
    assert set(shape) == set(schema.metadata.tables)
    assert shape == _on_postgres(blank_postgres, _shape)


def test_a_migrated_postgresql_database_is_at_head_and_at_revision_zero(blank_postgres: str) -> None:
    """Migrating again finds nothing to do."""
    assert postgres_version(blank_postgres) is None
    read = text("SELECT id, n FROM revision")
    for _ in range(2):
        migrate_postgres(blank_postgres)
        assert postgres_version(blank_postgres) == migrate.HEAD
        assert _on_postgres(blank_postgres, lambda connection: connection.execute(read).all()) == [(1, 0)]


def test_a_postgresql_database_of_a_newer_version_is_refused_unchanged(postgres_database: str) -> None:
    """The text says to upgrade."""
    newer = text("UPDATE alembic_version SET version_num = '9999'")
    _on_postgres(postgres_database, lambda connection: connection.execute(newer))
    with pytest.raises(ConfigError, match=r"/test_\d+ is at migration 9999.*upgrade stagedoor"):
        migrate_postgres(postgres_database)
    assert postgres_version(postgres_database) == "9999"


def test_of_processes_that_migrate_at_once_one_does_the_work(blank_postgres: str) -> None:
    """All come back with the database at head."""
    script = "import sys; from stagedoor.store.migrate import migrate_postgres; migrate_postgres(sys.argv[1])"
    command = [sys.executable, "-c", script, blank_postgres]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    errors = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, errors
    assert postgres_version(blank_postgres) == migrate.HEAD


def test_a_migration_that_fails_leaves_nothing_behind(blank_postgres: str) -> None:
    """A table of somebody else's in the way: the text names it, and no table of ours was made."""
    theirs = text("CREATE TABLE publisher_stream (id INTEGER)")
    _on_postgres(blank_postgres, lambda connection: connection.execute(theirs))
    with pytest.raises(ConfigError, match=r"cannot use the database .*publisher_stream"):
        migrate_postgres(blank_postgres)
    assert _on_postgres(blank_postgres, lambda connection: inspect(connection).get_table_names()) == [
        "publisher_stream"
    ]


def test_a_postgresql_database_of_somebody_elses_is_a_config_error(
    postgres_server: PostgresServer, blank_postgres: str
) -> None:
    """The text says who has to own it."""
    closed = text("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    _on_postgres(blank_postgres, lambda connection: connection.execute(closed))
    postgres_server.run("CREATE ROLE stranger LOGIN")
    try:
        with pytest.raises(ConfigError, match=r"permission denied.*user owns it"):
            migrate_postgres(blank_postgres.replace("postgres@", "stranger@"))
    finally:
        postgres_server.run("DROP ROLE stranger")


def test_a_postgresql_database_without_room_for_every_label_is_a_config_error(postgres_server: PostgresServer) -> None:
    """Another encoding than UTF-8 would refuse labels only once they come."""
    postgres_server.run("CREATE DATABASE latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
    try:
        with pytest.raises(ConfigError, match=r"LATIN1.*ENCODING 'UTF8'"):
            migrate_postgres(postgres_server.url("latin"))
    finally:
        postgres_server.run("DROP DATABASE latin")


def test_a_postgresql_database_that_cannot_be_reached_is_a_config_error(postgres_server: PostgresServer) -> None:
    """No such database, user, server or host: the text names what was tried and says what to check."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    found = postgres_server.url("postgres")
    for url, reason in (
        (postgres_server.url("nowhere"), 'database "nowhere" does not exist'),
        (found.replace("postgres@", "nobody@"), 'role "nobody" does not exist'),
        (f"postgresql://u:hunter2@127.0.0.1:{port}/x", "Connect call failed"),
        ("postgresql://u:hunter2@nowhere.invalid/x", "cannot connect to nowhere.invalid/x: "),
    ):
        for call in (postgres_version, migrate_postgres):
            with pytest.raises(ConfigError, match=reason) as refused:
                call(url)
            assert "check that PostgreSQL runs there" in refused.value.message
            assert "hunter2" not in refused.value.message
