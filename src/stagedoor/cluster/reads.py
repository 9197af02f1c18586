"""What the API reads again and again, kept in memory: tokens by id, whom API secrets and tokens speak for, our keys.

Never older than the newest acknowledged write: a read first catches up with what was announced, and what was read while a
write was on its way is used once and not kept.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol, TypeVar

from stagedoor.cluster.view import CachedView
from stagedoor.model.account import AccountPolicy
from stagedoor.model.application import ApiTokenFacts
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


class ApiTokenSource(Protocol):
    """The store, as far as API tokens are read here."""

    async def api_token(self, digest: bytes) -> ApiTokenFacts | None:
        """Return what is known of the API token that has `digest`; None when there is none."""


class CachedReads:
    """Reads through one process's view."""

    def __init__(self, *, source: Source, view: CachedView, keys: SigningKeySource, api_tokens: ApiTokenSource) -> None:
        """Take the store, the view, and where our signing keys and API tokens are read."""
        self._source = source
        self._key_source = keys
        self._api_token_source = api_tokens
        self._api_tokens: dict[bytes, ApiTokenFacts] = {}
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

    async def api_token(self, digest: bytes) -> ApiTokenFacts | None:
        """Return what is known of the API token that has `digest`; None when there is none.

        Raises: Unavailable.
        """
        if self._view.behind():
            await self._view.catch_up()
        known = self._api_tokens.get(digest)
        if known is not None:
            return known
        facts, current = await self._read(lambda: self._api_token_source.api_token(digest))
        # Security: what is nobody's is not kept, so that guessing fills no memory.
        if current and facts is not None:
            if len(self._api_tokens) >= CAPACITY:
                del self._api_tokens[next(iter(self._api_tokens))]
            self._api_tokens[digest] = facts
        return facts

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
            self._api_tokens.clear()
            self._keys = None
            return
        for change in changes:
            if change.kind is ChangeKind.TOKEN:
                token_id = self._ids.pop(change.key, None)
                if token_id is not None:
                    del self._tokens[token_id]
            elif change.kind is ChangeKind.ACCOUNT:
                self._secrets.clear()
                self._api_tokens.clear()
            elif change.kind is ChangeKind.KEY:
                self._keys = None
                self._api_tokens.clear()
            elif change.kind is ChangeKind.CREDENTIAL:
                self._forget_credential(change.key)

    def _forget_credential(self, digest: bytes) -> None:
        """Forget an API token, or all of them, as an application's scopes and secrets are in what is kept of each."""
        if digest:
            self._api_tokens.pop(digest, None)
        else:
            self._api_tokens.clear()
