"""SQLite as we use it: write-ahead log, every commit on disk before it counts, one writer at a time."""

from pathlib import Path
from typing import Any

from sqlalchemy import URL, Engine, event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine


def sqlite_engines(path: Path) -> tuple[AsyncEngine, AsyncEngine]:
    """Return the engine for reads and the one for writes on the file at `path`."""
    url = URL.create("sqlite+aiosqlite", database=str(path))
    reader = create_async_engine(url, hide_parameters=True, isolation_level="AUTOCOMMIT", pool_size=4, max_overflow=4)
    writer = create_async_engine(url, hide_parameters=True, pool_size=1, max_overflow=0)
    for engine in (reader, writer):
        event.listen(engine.sync_engine, "connect", _prepare)
    own_transactions(writer.sync_engine)
    return reader, writer


def own_transactions(engine: Engine) -> None:
    """Begin every transaction of `engine` as the writer, in place of the driver, which begins late and not for DDL.

    A transaction that begins as a reader cannot become the writer when another one was quicker.
    """
    event.listen(engine, "connect", _leave_transactions_to_us)
    event.listen(engine, "begin", _begin)


def _prepare(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=5000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _leave_transactions_to_us(connection: Any, _record: object) -> None:
    connection.isolation_level = None


def _begin(connection: Any) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
