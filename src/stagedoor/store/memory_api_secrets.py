"""The port `ApiSecretStore` in memory: for tests, held to the same contract as the SQL one."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from stagedoor.model.api_secret import ApiSecret
from stagedoor.model.errors import NotFound
from stagedoor.model.ids import AccountId
from stagedoor.service.ports import ChangeKind


class MemoryApiSecrets:
    """The port `ApiSecretStore`. A write happens between two awaits, so it is atomic."""

    def __init__(
        self,
        *,
        note: Callable[[ChangeKind, AccountId, bytes], Awaitable[None]],
        is_account: Callable[[AccountId], bool],
    ) -> None:
        """Take how the store these belong to numbers and notes a write, and how it knows its accounts."""
        self._note = note
        self._is_account = is_account
        self._next_id = 1
        self._secrets: dict[int, tuple[ApiSecret, bytes]] = {}

    def account_of(self, digest: bytes) -> AccountId | None:
        """Return whose secret has a digest."""
        return next((secret.account for secret, own in self._secrets.values() if own == digest), None)

    def keep(self, account: AccountId, label: str, digest: bytes, hint: str, added_on: int) -> ApiSecret:
        """Keep a new secret, without a note."""
        secret = ApiSecret(id=self._next_id, account=account, label=label, hint=hint, added_on=added_on)
        self._secrets[secret.id] = secret, digest
        self._next_id += 1
        return secret

    async def list(self, account: AccountId) -> Sequence[ApiSecret]:
        """Return the account's secrets, oldest first."""
        return [secret for secret, _ in self._secrets.values() if secret.account == account]

    async def add(self, account: AccountId, label: str, digest: bytes, hint: str, added_on: int) -> ApiSecret:
        """Keep a new secret."""
        if not self._is_account(account):
            raise NotFound(f"there is no account {account!r}", field="account")
        secret = self.keep(account, label, digest, hint, added_on)
        await self._note(ChangeKind.ACCOUNT, account, b"")
        return secret

    async def refresh(self, account: AccountId, secret_id: int, digest: bytes, hint: str, added_on: int) -> ApiSecret:
        """Give a secret another value."""
        secret = replace(self._find(account, secret_id), hint=hint, added_on=added_on)
        self._secrets[secret_id] = secret, digest
        await self._note(ChangeKind.ACCOUNT, account, b"")
        return secret

    async def remove(self, account: AccountId, secret_id: int) -> None:
        """Remove a secret."""
        self._find(account, secret_id)
        del self._secrets[secret_id]
        await self._note(ChangeKind.ACCOUNT, account, b"")

    def _find(self, account: AccountId, secret_id: int) -> ApiSecret:
        found = self._secrets.get(secret_id)
        if found is None or found[0].account != account:
            raise NotFound(f"No API secret with id: {secret_id}", field="apiSecretId")
        return found[0]
