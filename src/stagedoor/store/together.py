"""Statements that are run one after the other without coming back between them.

The driver of SQLite does its work in a thread of its own, and every statement goes there and back several times; what goes
there at once takes a fraction of that.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

from sqlalchemy import Executable
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

_SQLITE: Final = sqlite.dialect()
_ONCE: Final[Sequence[Mapping[str, object]]] = ({},)


class Step(NamedTuple):
    """A statement, run once for each of `rows`: its parameters, which all have the same names.

    Parameters and results are text, numbers, bytes and None; nothing is made of them. `finds`: it returns rows.
    """

    statement: Executable
    rows: Sequence[Mapping[str, object]] = _ONCE
    finds: bool = False


async def together(connection: AsyncConnection, steps: Sequence[Step]) -> list[tuple[Any, ...]]:
    """Run the steps that have rows; return what their queries found.

    Raises: SQLAlchemyError.
    """
    steps = [step for step in steps if step.rows]
    if connection.dialect.name == "sqlite":
        return await _on_sqlite(connection, steps)
    found: list[tuple[Any, ...]] = []
    for statement, rows, finds in steps:
        if finds:
            for row in rows:
                found += [tuple(each) for each in await connection.execute(statement, row)]
        else:
            await connection.execute(statement, rows)
    return found


async def _on_sqlite(connection: AsyncConnection, steps: Sequence[Step]) -> list[tuple[Any, ...]]:
    work = [
        (
            step.finds,
            text,
            [[row[name] if name in row else fixed[name] for name in names] for row in step.rows],
        )
        for step in steps
        for text, names, fixed in (_compiled(step.statement, tuple(step.rows[0])),)
    ]
    driver: Any = (await connection.get_raw_connection()).driver_connection

    def run() -> list[tuple[Any, ...]]:
        cursor = driver._conn.cursor()  # noqa: SLF001  it is of use in the thread that this runs in, and nowhere else
        found: list[tuple[Any, ...]] = []
        for finds, text, rows in work:
            if finds:
                for row in rows:
                    found += cursor.execute(text, row)
            else:
                cursor.executemany(text, rows)
        cursor.close()
        return found

    try:
        found: list[tuple[Any, ...]] = await driver._execute(run)  # noqa: SLF001  the driver has no call for several statements
    except sqlite3.Error as error:
        raise DBAPIError.instance(None, None, error, sqlite3.Error, hide_parameters=True) from error
    return found


@lru_cache(maxsize=100)
def _compiled(statement: Executable, names: tuple[str, ...]) -> tuple[str, list[str], Mapping[str, object]]:
    """Return a statement as SQLite reads it, the names of its parameters in order, and those that have a value already."""
    compiled: Any = statement.compile(dialect=_SQLITE, column_keys=list(names))  # type: ignore[attr-defined]
    return str(compiled), compiled.positiontup, compiled.params
