"""Passes on SQL: the tokens by which our own programs are let into engines.

They are rows among the tokens, found by their digest as all are, and nothing else: no list shows them, nothing is told of
them, and a while after they are over they are deleted.
"""

from sqlalchemy import delete, func, insert, select, update

from stagedoor.model.ids import AccountId, TokenId
from stagedoor.model.token import TokenKind, TokenTerms
from stagedoor.service.ports import ChangeKind
from stagedoor.store import schema
from stagedoor.store.codec import write_terms
from stagedoor.store.transactions import Database


class SqlPasses:
    """The port `PassStore`."""

    def __init__(self, database: Database) -> None:
        """Take the database."""
        self._reading, self._writing = database.reading, database.writing

    async def add_pass(self, account: AccountId, terms: TokenTerms, digest: bytes, added_on: int) -> TokenId:
        """Keep a new pass and return its id."""
        # Its digest is random and was never asked for, so no view holds anything that this changes.
        async with self._writing(numbered=False) as write:
            row = {
                "account_id": account,
                "kind": TokenKind.INTERNAL,
                "label": terms.label,
                "terms": write_terms(terms),
                "digest": digest,
                "sealed": b"",
                "added_on": added_on,
            }
            inserted = await write.connection.execute(insert(schema.token).values(row).returning(schema.token.c.id))
            return TokenId(inserted.scalar_one())

    async def revoke_pass(self, token_id: TokenId, at: int) -> None:
        """Put the tombstone `at` (seconds since the epoch): when this returns, no worker lets the pass in."""
        c = schema.token.c
        own = (c.id == token_id, c.kind == TokenKind.INTERNAL)
        async with self._writing() as write:
            revoked = update(schema.token).where(*own).values(revoked_at=at).returning(c.account_id, c.digest)
            for account, digest in (await write.connection.execute(revoked)).all():
                write.touches(ChangeKind.TOKEN, AccountId(account), digest)

    async def forget_passes(self, before: int) -> None:
        """Delete the passes that were added before an instant."""
        c = schema.token.c
        # Not the newest token of all: SQLite would give its id to the next one.
        newest = select(func.max(c.id)).scalar_subquery()
        old = (c.kind == TokenKind.INTERNAL, c.added_on < before, c.id < newest)
        async with self._reading() as connection:
            if (await connection.execute(select(c.id).where(*old).limit(1))).first() is None:
                return
        async with self._writing(numbered=False) as write:
            await write.connection.execute(delete(schema.token).where(*old))
