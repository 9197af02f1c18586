"""API secrets: who calls the API, and the secrets that an account has."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from stagedoor.model.api_secret import ApiSecret
from stagedoor.model.application import Caller, CallerKind
from stagedoor.model.errors import InvalidInput, NotPermitted
from stagedoor.model.ids import AccountId
from stagedoor.model.scope import FULL
from stagedoor.model.secret import Secret
from stagedoor.service.ports import ApiSecretStore, Clock
from stagedoor.service.slowdown import Slowdown
from stagedoor.tokens.api_secret import hint_of, is_api_secret, new_api_secret
from stagedoor.tokens.keyring import Keyring

MAX_LABEL: Final = 128
"""Longest label, in characters."""

AccountOf = Callable[[bytes], Awaitable[AccountId | None]]
"""Return the account whose API secret has that digest."""


@dataclass(frozen=True, slots=True)
class IssuedApiSecret:
    """An API secret and its value, to be shown once."""

    record: ApiSecret
    secret: Secret


class ApiSecrets:
    """What owners do with their API secrets, and who shows one."""

    def __init__(
        self, *, store: ApiSecretStore, account_of: AccountOf, keyring: Keyring, clock: Clock, slowdown: Slowdown
    ) -> None:
        """Take the collaborators."""
        self._store = store
        self._account_of = account_of
        self._keyring = keyring
        self._clock = clock
        self._slowdown = slowdown

    async def authenticate(self, api_secret: str, client_ip: str) -> Caller:
        """Return whom an API secret speaks for, shown from an address: it may do everything.

        Raises: NotPermitted when it is none of ours, whatever is wrong with it, and later each time; TooMany.
        """
        if is_api_secret(api_secret):
            account = await self._account_of(self._digest(api_secret))
            if account is not None:
                return Caller(account, FULL, CallerKind.API_SECRET)
        await self._slowdown.failed(client_ip)
        raise NotPermitted("Unauthorized")

    async def list(self, account: AccountId) -> Sequence[ApiSecret]:
        """Return the account's secrets, oldest first."""
        return await self._store.list(account)

    async def issue(self, account: AccountId, label: str) -> IssuedApiSecret:
        """Make another secret.

        Raises: InvalidInput for a label of other than 1 to 128 characters.
        """
        if not 1 <= len(label) <= MAX_LABEL or "\0" in label:
            raise InvalidInput(f"label has 1 to {MAX_LABEL} characters", field="label")
        secret = new_api_secret()
        record = await self._store.add(
            account, label, self._digest(secret.reveal()), hint_of(secret), int(self._clock())
        )
        return IssuedApiSecret(record, secret)

    async def refresh(self, account: AccountId, secret_id: int) -> IssuedApiSecret:
        """Give a secret a new value: the old one is refused when this returns.

        Raises: NotFound.
        """
        secret = new_api_secret()
        record = await self._store.refresh(
            account, secret_id, self._digest(secret.reveal()), hint_of(secret), int(self._clock())
        )
        return IssuedApiSecret(record, secret)

    async def remove(self, account: AccountId, secret_id: int) -> None:
        """Remove a secret: it is refused when this returns. With the last one the API is closed to the account.

        Raises: NotFound.
        """
        await self._store.remove(account, secret_id)

    def _digest(self, text: str) -> bytes:
        return self._keyring.digest(text.encode())
