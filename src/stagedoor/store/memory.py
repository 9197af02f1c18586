"""The ports in memory: for tests, held to the same contract as the SQL ones."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from stagedoor.model.engine import Engine
from stagedoor.model.errors import Conflict, NotFound
from stagedoor.model.ids import AccountId, EngineId, TokenId
from stagedoor.model.token import TokenKind, TokenRecord
from stagedoor.service.ports import (
    Announce,
    Change,
    ChangeKind,
    Facts,
    NewAccount,
    NewToken,
    Page,
    SortBy,
    TokenChange,
)
from stagedoor.store.codec import publisher_names


class MemoryStore:
    """All the ports, in dictionaries. A write happens between two awaits, so it is atomic."""

    def __init__(self, *, announce: Announce) -> None:
        """Start empty, at revision 0."""
        self._announce = announce
        self._n = 0
        self._changes: list[Change] = []
        self._accounts: dict[AccountId, bool] = {}
        self._api_secrets: dict[bytes, AccountId] = {}
        self._engines: dict[EngineId, Engine] = {}
        self._tokens: dict[TokenId, TokenRecord] = {}

    async def facts(self, digest: bytes | None, account: AccountId, name: str, *, with_publishers: bool) -> Facts:
        """Read the token with `digest` and, if asked, the publishers of stream `name`."""
        record = next((record for record in self._tokens.values() if record.digest == digest), None)
        owner = account or (record.account if record is not None else AccountId(""))
        publishers = (
            record
            for record in self._tokens.values()
            if with_publishers
            and record.kind is TokenKind.PUBLISH
            and record.account == owner
            and record.revoked_at is None
            and not {name, ""}.isdisjoint(publisher_names(record.terms))
        )
        return Facts(record, owner, tuple(publishers), self._n)

    async def changes_after(self, revision: int) -> tuple[int, Sequence[Change] | None]:
        """Return the newest revision and what changed after `revision`, oldest first; None when that is not kept."""
        if revision < 0:
            return self._n, None
        return self._n, [change for change in self._changes if change.revision > revision]

    async def revision(self) -> int:
        """Return the number of the last write."""
        return self._n

    async def disabled_accounts(self) -> frozenset[AccountId]:
        """Return the accounts that are closed."""
        return frozenset(account for account, enabled in self._accounts.items() if not enabled)

    async def add_token(self, new: NewToken) -> TokenRecord:
        """Keep a new token and return it with its id."""
        token_id = TokenId(len(self._tokens) + 1)
        record = TokenRecord(
            id=token_id,
            account=new.account,
            kind=new.kind,
            terms=new.terms,
            digest=new.digest,
            sealed=new.seal(token_id),
            added_on=new.added_on,
        )
        async with self._writing(record):
            self._tokens[token_id] = record
        return record

    async def token(self, account: AccountId, kind: TokenKind, token_id: TokenId) -> TokenRecord:
        """Return a token."""
        record = self._tokens.get(token_id)
        if record is None or record.account != account or record.kind is not kind or record.revoked_at is not None:
            raise NotFound(f"No {kind} token with id: {token_id}", field="tokenId")
        return record

    async def tokens(self, account: AccountId, kind: TokenKind, page: Page) -> Sequence[TokenRecord]:
        """Return one page of the account's tokens; empty past the end."""
        found = [
            record
            for record in self._tokens.values()
            if record.account == account and record.kind is kind and record.revoked_at is None
        ]
        found.sort(
            key=lambda record: (record.terms.label if page.sort_by is SortBy.NAME else record.added_on, record.id),
            reverse=page.descending,
        )
        return found[(page.number - 1) * page.size :][: page.size]

    async def change_token(
        self, account: AccountId, kind: TokenKind, token_id: TokenId, change: TokenChange
    ) -> TokenRecord:
        """Apply `change` and return the token as it is now."""
        old = await self.token(account, kind, token_id)
        new = replace(
            old,
            terms=change.terms(old.terms) if change.terms is not None else old.terms,
            digest=change.digest or old.digest,
            sealed=change.sealed or old.sealed,
        )
        async with self._writing(new, old):
            self._tokens[token_id] = new
        return new

    async def revoke_token(self, account: AccountId, kind: TokenKind, token_id: TokenId, at: int) -> None:
        """Put the tombstone `at` (seconds since the epoch)."""
        record = await self.token(account, kind, token_id)
        async with self._writing(record):
            self._tokens[token_id] = replace(record, revoked_at=at)

    async def add_first_account(self, new: NewAccount) -> None:
        """Keep the first account."""
        if self._accounts:
            raise Conflict(f"there is an account already: {next(iter(self._accounts))}")
        async with self._writing(account=new.id):
            self._accounts[new.id] = True
            self._api_secrets[new.api_secret_digest] = new.id

    async def accounts(self) -> Sequence[AccountId]:
        """Return all account ids, oldest first."""
        return list(self._accounts)

    async def account_of_api_secret(self, digest: bytes) -> AccountId | None:
        """Return the open account whose API secret has `digest`; None when there is none."""
        account = self._api_secrets.get(digest)
        return account if account is not None and self._accounts[account] else None

    async def set_account_enabled(self, account: AccountId, enabled: bool) -> None:
        """Open or close an account."""
        if account not in self._accounts:
            raise NotFound(f"there is no account {account!r}")
        async with self._writing(account=account):
            self._accounts[account] = enabled

    async def add_engine(self, engine: Engine) -> None:
        """Keep a new engine."""
        if engine.account and engine.account not in self._accounts:
            raise NotFound(f"there is no account {engine.account!r}", field="account")
        if any(other.name == engine.name for other in self._engines.values()):
            raise Conflict(f"there is an engine {engine.name!r} already; choose another name", field="name")
        async with self._writing():
            self._engines[engine.id] = engine

    async def engines(self) -> Sequence[Engine]:
        """Return all engines, by name."""
        return sorted(self._engines.values(), key=lambda engine: engine.name)

    async def remove_engine(self, name: str) -> None:
        """Forget an engine."""
        found = next((engine.id for engine in self._engines.values() if engine.name == name), None)
        if found is None:
            raise NotFound(f"there is no engine {name!r}", field="name")
        async with self._writing():
            del self._engines[found]

    async def replace_engine_secret(self, engine_id: EngineId, digest: bytes) -> None:
        """Give an engine a new hook secret."""
        if engine_id not in self._engines:
            raise NotFound(f"there is no engine {engine_id!r}")
        async with self._writing():
            self._engines[engine_id] = replace(self._engines[engine_id], secret_digest=digest)

    @asynccontextmanager
    async def _writing(self, *records: TokenRecord, account: AccountId | None = None) -> AsyncIterator[None]:
        """Number one write and note what it touches: the `records`, else the `account`, else the engines."""
        yield
        self._n += 1
        for record in records:
            self._changes.append(Change(self._n, ChangeKind.TOKEN, record.account, record.digest))
            if record.kind is TokenKind.PUBLISH:
                self._changes.append(Change(self._n, ChangeKind.PUBLISHERS, record.account))
        if not records:
            kind = ChangeKind.ENGINE if account is None else ChangeKind.ACCOUNT
            self._changes.append(Change(self._n, kind, account or AccountId("")))
        await self._announce(self._n)
