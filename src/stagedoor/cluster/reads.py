"""What the API reads again and again, kept in memory: tokens by id, whom API secrets speak for, our signing keys.

Never older than the newest acknowledged write: a read first catches up with what was announced, and what was read while a
write was on its way is used once and not kept.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol, TypeVar

from stagedoor.cluster.view import CachedView
from stagedoor.model.account import AccountPolicy
from stagedoor.model.ids import AccountId, TokenId
from stagedoor.model.key import SigningKey
from stagedoor.model.token import TokenKind, TokenRecord
from stagedoor.service.ports import Change, ChangeKind

_T = TypeVar("_T")

CAPACITY: Final = 20_000
"""How many tokens, and how many API secrets, are kept."""


class Source(Protocol):
    """The store, as far as it is read here."""

    async def token(self, account: AccountId, kind: TokenKind, token_id: TokenId) -> TokenRecord:
        """Return a token.

        Raises: NotFound.
        """

    async def account_of_api_secret(self, digest: bytes) -> AccountId | None:
        """Return the open account whose API secret has `digest`; None when there is none."""


class SigningKeySource(Protocol):
    """The store, as far as keys are read here."""

    async def keys(self) -> Sequence[SigningKey]:
        """Return all keys that we sign with, oldest first."""


class CachedReads:
    """Reads through one process's view."""

    def __init__(self, *, source: Source, view: CachedView, keys: SigningKeySource) -> None:
        """Take the store, the view, and where our signing keys are read."""
        self._source = source
        self._key_source = keys
        self._keys: Sequence[SigningKey] | None = None
        self._view = view
        self._tokens: dict[TokenId, TokenRecord] = {}
        self._ids: dict[bytes, TokenId] = {}
        self._secrets: dict[bytes, AccountId] = {}
        view.listen(self._forget)

    async def token(self, account: AccountId, kind: TokenKind, token_id: TokenId) -> TokenRecord:
        """Return a token.

        Raises: NotFound, Unavailable.
        """
        if self._view.behind():
            await self._view.catch_up()
        known = self._tokens.get(token_id)
        if known is not None and known.account == account and known.kind is kind:
            return known
        record, current = await self._read(lambda: self._source.token(account, kind, token_id))
        if current:
            if len(self._tokens) >= CAPACITY:
                oldest = self._tokens.pop(next(iter(self._tokens)))
                self._ids.pop(oldest.digest, None)
            self._tokens[token_id] = record
            self._ids[record.digest] = token_id
        return record

    async def account_policy(self, account: AccountId) -> AccountPolicy:
        """Return what an account sets for its tokens.

        Raises: Unavailable.
        """
        if self._view.behind():
            await self._view.catch_up()
        return self._view.account(account)

    async def account_of_api_secret(self, digest: bytes) -> AccountId | None:
        """Return the open account whose API secret has `digest`; None when there is none.

        Raises: Unavailable.
        """
        if self._view.behind():
            await self._view.catch_up()
        known = self._secrets.get(digest)
        if known is not None:
            return known
        account, current = await self._read(lambda: self._source.account_of_api_secret(digest))
        # Security: what is nobody's is not kept, so that guessing fills no memory.
        if current and account is not None:
            if len(self._secrets) >= CAPACITY:
                del self._secrets[next(iter(self._secrets))]
            self._secrets[digest] = account
        return account

    async def signing_keys(self) -> Sequence[SigningKey]:
        """Return all keys that we sign with, oldest first.

        Raises: Unavailable.
        """
        if self._view.behind():
            await self._view.catch_up()
        if self._keys is not None:
            return self._keys
        keys, current = await self._read(self._key_source.keys)
        if current:
            self._keys = keys
        return keys

    async def _read(self, read: Callable[[], Awaitable[_T]]) -> tuple[_T, bool]:
        """Return what is read, and whether it may be kept: no write was announced meanwhile."""
        revision = self._view.revision
        found = await read()
        return found, revision == self._view.revision and not self._view.behind()

    def _forget(self, changes: Sequence[Change] | None) -> None:
        if changes is None:
            self._tokens.clear()
            self._ids.clear()
            self._secrets.clear()
            self._keys = None
            return
        for change in changes:
            if change.kind is ChangeKind.TOKEN:
                token_id = self._ids.pop(change.key, None)
                if token_id is not None:
                    del self._tokens[token_id]
            elif change.kind is ChangeKind.ACCOUNT:
                self._secrets.clear()
            elif change.kind is ChangeKind.KEY:
                self._keys = None
