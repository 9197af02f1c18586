"""Bring a database to the form this version works with.

Alembic is loaded only when there is something to do: a start must not wait for it.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import URL, Connection, create_engine, func, inspect, select, text
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from stagedoor.model.errors import ConfigError
from stagedoor.store.sqlite import own_transactions

T = TypeVar("T")

HEAD: Final = "0004"
"""The newest migration; a test holds it to the files in `migrations/versions`."""

_LOCK: Final = 0x57A6ED00
"""The number of PostgreSQL's advisory lock that one migration at a time holds; it counts within one database."""


def sqlite_version(path: Path) -> str | None:
    """Return the migration that the SQLite file at `path` is at; None when there is no such file or it is empty.

    Raises: ConfigError when it is not a database we can read.
    """
    if not path.exists():
        return None
    engine = create_engine(URL.create("sqlite", database=str(path)), hide_parameters=True)
    try:
        with engine.connect() as connection:
            return _version(connection)
    except OperationalError as error:
        raise ConfigError(
            f"cannot read {path}: {error.orig}; check its permissions and those of its directory"
        ) from None
    except SQLAlchemyError:
        raise ConfigError(f"{path} is not a database, or damaged; restore it from a backup") from None
    finally:
        engine.dispose()


def migrate_sqlite(path: Path) -> None:
    """Bring the SQLite file at `path` to `HEAD`, making it if needed.

    Raises: ConfigError when it cannot be written, or was written by a newer version.
    """
    if sqlite_version(path) == HEAD:
        return
    engine = create_engine(URL.create("sqlite", database=str(path)), hide_parameters=True)
    own_transactions(engine)
    try:
        with engine.begin() as connection:
            _upgrade(connection, str(path))
    except SQLAlchemyError as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(
            f"cannot write {path}: {reason}; check that the directory is writable and has space"
        ) from None
    finally:
        engine.dispose()


def postgres_version(url: str) -> str | None:
    """Return the migration that the PostgreSQL database at `url` is at; None when it has no tables of ours.

    Raises: ConfigError when it cannot be reached or read.
    """
    return _in_own_loop(_postgres_version(url))


def migrate_postgres(url: str) -> None:
    """Bring the PostgreSQL database at `url` to `HEAD`; of several processes that try at once, one does the work.

    Raises: ConfigError when it cannot be reached or written, or was written by a newer version.
    """
    _in_own_loop(_migrate_postgres(url))


async def _postgres_version(url: str) -> str | None:
    async with _postgres(url) as (engine, _), engine.connect() as connection:
        return await connection.run_sync(_version)


async def _migrate_postgres(url: str) -> None:
    async with _postgres(url) as (engine, name):
        async with engine.connect() as connection:
            if await connection.run_sync(_version) == HEAD:
                return
        async with engine.begin() as connection:
            # Two processes that start at once: the second waits here, and then finds the work done.
            await connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
            encoding = (await connection.execute(text("SHOW server_encoding"))).scalar_one()
            if encoding != "UTF8":
                raise ConfigError(
                    f"{name} is in {encoding}, which has no room for every label; make one with ENCODING 'UTF8' TEMPLATE"
                    " template0"
                )
            await connection.run_sync(_upgrade, name)


@asynccontextmanager
async def _postgres(url: str) -> AsyncIterator[tuple[AsyncEngine, str]]:
    """Give an engine for migrations and the database's name, and turn failures into ours."""
    from stagedoor.store.postgres import migration_engine, place  # noqa: PLC0415  a driver not everyone needs

    name = f"the database {place(url)}"
    engine = migration_engine(url)
    try:
        yield engine, name
    except ConnectionError as error:
        raise ConfigError(f"{error}; check that PostgreSQL runs there and that the database URL is right") from None
    except (SQLAlchemyError, OSError) as error:
        said = str(error.orig if isinstance(error, DBAPIError) else error).splitlines()[0]
        raise ConfigError(
            f"cannot use {name}: {said}; check that the URL's user owns it, that its disk has space and"
            " that nothing else changes its tables, and try again"
        ) from None
    finally:
        await engine.dispose()


def _in_own_loop(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` to its end, whether or not an event loop runs here already."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()


def _upgrade(connection: Connection, place: str) -> None:
    """Bring a database to `HEAD` in the transaction of `connection`.

    Raises: ConfigError when it is at a migration we do not have; SQLAlchemyError.
    """
    from alembic import command  # noqa: PLC0415  see the module's docstring
    from alembic.config import Config  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    at = _version(connection)
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError:
        raise ConfigError(
            f"{place} is at migration {at}, which this version does not know; upgrade stagedoor"
        ) from None
