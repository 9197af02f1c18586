"""Options of the whole suite, and PostgreSQL databases for the tests that ask for one."""

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stagedoor.store.migrate import migrate_postgres
from tests.postgres import PostgresServer
from tests.scheduling import OneStack


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a run write the recorded hook calls anew."""
    parser.addoption("--record-hooks", action="store_true", help="write tests/vectors/hooks from this run")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> OneStack:
    """Share the files out among the processes."""
    return OneStack(config, log)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL server, started for the first test that asks for it."""
    # pytest's own directories are closed to the user that the server runs as.
    with tempfile.TemporaryDirectory(prefix="stagedoor-") as folder:
        server = PostgresServer(Path(folder))
        yield server
        server.stop()


@pytest.fixture(scope="session")
def postgres_template(postgres_server: PostgresServer) -> str:
    """The name of a migrated database in which nothing was ever written, for others to be made from."""
    postgres_server.run("CREATE DATABASE template")
    migrate_postgres(postgres_server.url("template"))
    return "template"


@pytest.fixture(scope="session")
def _numbers() -> Iterator[int]:
    return itertools.count(1)


@pytest.fixture
def blank_postgres(postgres_server: PostgresServer, _numbers: Iterator[int]) -> Iterator[str]:
    """The URL of a PostgreSQL database of the test's own, without tables."""
    yield from _database(postgres_server, next(_numbers), "template0")


@pytest.fixture
def postgres_database(
    postgres_server: PostgresServer, postgres_template: str, _numbers: Iterator[int]
) -> Iterator[str]:
    """The URL of a migrated PostgreSQL database of the test's own, in which nothing was ever written."""
    yield from _database(postgres_server, next(_numbers), postgres_template)


def _database(server: PostgresServer, number: int, template: str) -> Iterator[str]:
    server.run(f"CREATE DATABASE test_{number} TEMPLATE {template}")
    yield server.url(f"test_{number}")
    server.run(f"DROP DATABASE IF EXISTS test_{number} WITH (FORCE)")
