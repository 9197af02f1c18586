"""Sealed values on SQL, whatever table they are in.

Sealing a value anew changes nothing that anybody answers by, so no view has to forget anything. It is numbered all the same:
numbered writes come one after the other, so none that read the old value writes it back after this.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from sqlalchemy import Table, bindparam, func, select, update

from stagedoor.service.sealed_ports import Resealed, SealedKind, SealedValue
from stagedoor.store import schema
from stagedoor.store.transactions import Database

_TABLES: Final[Mapping[SealedKind, Table]] = MappingProxyType(
    {
        SealedKind.TOKEN: schema.token,
        SealedKind.FORMER_SECRET: schema.former_secret,
        SealedKind.WEBHOOK: schema.webhook,
        SealedKind.SIGNING_KEY: schema.signing_key,
        SealedKind.VERIFIER: schema.verifier,
    }
)
_NAMED_BY: Final[Mapping[SealedKind, tuple[str, ...]]] = MappingProxyType(
    {
        SealedKind.TOKEN: ("id",),
        SealedKind.FORMER_SECRET: ("digest",),
        SealedKind.WEBHOOK: ("id",),
        SealedKind.SIGNING_KEY: ("kid",),
        SealedKind.VERIFIER: ("account_id", "name"),
    }
)
"""The columns that make the name of the place that a row's value is sealed for."""


class SqlSealed:
    """The port `SealedStore`."""

    def __init__(self, database: Database) -> None:
        """Take the database."""
        self._reading, self._writing = database.reading, database.writing

    async def sealed(self, kind: SealedKind, mark: bytes, after: int, most: int) -> Sequence[SealedValue]:
        """Return values that do not begin with `mark`."""
        c = _TABLES[kind].c
        others = (c.id > after, c.sealed != b"", func.substr(c.sealed, 1, len(mark)) != mark)
        async with self._reading() as connection:
            columns = [c[name] for name in _NAMED_BY[kind]]
            rows = await connection.execute(select(c.id, c.sealed, *columns).where(*others).order_by(c.id).limit(most))
            return [SealedValue(row[0], row[1], "/".join(map(_text, row[2:]))) for row in rows]

    async def reseal(self, kind: SealedKind, values: Sequence[Resealed]) -> None:
        """Put new values in place of the old ones that are still there."""
        if not values:
            return
        c = _TABLES[kind].c
        # Security: a token that was renewed meanwhile must not get its old value back.
        same = (c.id == bindparam("row"), c.sealed == bindparam("old"))
        statement = update(_TABLES[kind]).where(*same).values(sealed=bindparam("new"))
        rows = [{"row": value.id, "old": value.old, "new": value.new} for value in values]
        async with self._writing() as write:
            await write.connection.execute(statement, rows)


def _text(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
