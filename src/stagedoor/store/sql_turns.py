"""How often something was done lately, on SQL: one row for each time, counted by everybody who shares the database."""

import secrets
from hashlib import blake2b
from typing import Final

from sqlalchemy import delete, func, insert, select

from stagedoor.model.ids import AccountId
from stagedoor.store import schema
from stagedoor.store.transactions import Database

_PREFIX: Final = "turn"
_KEPT_SECONDS: Final = 3600.0


class SqlTurns:
    """The port `Turns`."""

    def __init__(self, database: Database) -> None:
        """Take the database."""
        self._writing = database.writing

    async def take_turn(self, account: AccountId, what: str, now: float, *, most: int, seconds: float) -> float | None:
        """Do `what` once more, if that makes at most `most` times within so many seconds.

        Returns None when it may be done, which counts; else how many seconds from `now` it may be.
        """
        name = blake2b(f"{account} {what}".encode(), digest_size=16).hexdigest()
        c = schema.watermark.c
        async with self._writing(numbered=False) as write:
            # Two at once would each count without the other; on SQLite there is one writer anyway.
            locked = select(schema.account.c.id).where(schema.account.c.id == account)
            await write.connection.execute(locked.with_for_update(key_share=True))
            outdated = delete(schema.watermark).where(c.name.like(f"{_PREFIX}:%"), c.at <= now - _KEPT_SECONDS)
            await write.connection.execute(outdated)
            lately = select(func.count(), func.min(c.at)).where(
                c.name.like(f"{_PREFIX}:{name}:%"), c.at > now - seconds
            )
            times, first = (await write.connection.execute(lately)).one()
            if times >= most:
                return float(first) + seconds - now
            row = {"name": f"{_PREFIX}:{name}:{secrets.token_hex(8)}", "at": now}
            await write.connection.execute(insert(schema.watermark).values(row))
            return None
