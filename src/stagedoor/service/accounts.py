"""Accounts: make the first one; what they set for their tokens."""

import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from argon2 import PasswordHasher

from stagedoor.model.account import AccountPolicy
from stagedoor.model.errors import InvalidInput
from stagedoor.model.ids import AccountId
from stagedoor.model.secret import Secret
from stagedoor.service.ports import AccountStore, Clock, NewAccount
from stagedoor.service.terms import check_cascade, check_countries, check_expiration, check_shadow
from stagedoor.tokens.api_secret import hint_of, new_api_secret
from stagedoor.tokens.keyring import Keyring

_ALPHABET: Final = "23456789abcdefghjkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ"
"""Letters and digits that are not mistaken for each other."""

_EMAIL: Final = re.compile(r"[^@\s]{1,64}@[^@\s]{1,190}")


@dataclass(frozen=True, slots=True)
class FirstAccount:
    """A new account and its credentials, to be shown once."""

    account: AccountId
    api_secret: Secret
    admin_email: str
    admin_password: Secret


class Accounts:
    """What can be done with accounts as a whole."""

    def __init__(self, *, store: AccountStore, keyring: Keyring, clock: Clock) -> None:
        """Take the collaborators."""
        self._store = store
        self._keyring = keyring
        self._clock = clock

    async def create_first(self, admin_email: str) -> FirstAccount:
        """Make the first account of a new system, with an administrator and an API secret.

        Raises: Conflict when there is an account already; InvalidInput when `admin_email` is no e-mail address.
        """
        if not _EMAIL.fullmatch(admin_email):
            raise InvalidInput(f"{admin_email[:64]!r} is not an e-mail address", field="email")
        first = FirstAccount(
            AccountId("".join(secrets.choice(_ALPHABET) for _ in range(6))),
            new_api_secret(),
            admin_email,
            Secret("".join(secrets.choice(_ALPHABET) for _ in range(20))),
        )
        await self._store.add_first_account(
            NewAccount(
                id=first.account,
                admin_email=admin_email,
                admin_password_hash=PasswordHasher().hash(first.admin_password.reveal()),
                api_secret_digest=self._keyring.digest(first.api_secret.reveal().encode()),
                api_secret_hint=hint_of(first.api_secret),
                added_on=int(self._clock()),
            )
        )
        return first

    async def list(self) -> Sequence[AccountId]:
        """Return all account ids, oldest first."""
        return await self._store.accounts()

    async def policy(self, account: AccountId) -> AccountPolicy:
        """Return what an account sets for its tokens.

        Raises: NotFound.
        """
        return await self._store.account_policy(account)

    async def change(self, account: AccountId, change: Callable[[AccountPolicy], AccountPolicy]) -> AccountPolicy:
        """Change what an account sets: it is in force, for its new and its old tokens, when this returns.

        Raises: NotFound; InvalidInput when it cannot be right, with nothing changed.
        """
        now = int(self._clock())

        def checked(policy: AccountPolicy) -> AccountPolicy:
            changed = change(policy)
            _check_policy(changed)
            if changed.shadow_until != policy.shadow_until:
                check_shadow(changed.shadow_until, now)
            return changed

        return await self._store.change_account(account, checked)


def _check_policy(policy: AccountPolicy) -> None:
    if policy.countries is not None:
        check_countries(policy.countries.allowed, policy.countries.denied)
        if not policy.countries.applies_to:
            raise InvalidInput("name publish, subscribe or both; to lift the lists, clear them", field="geoAppliesTo")
    longest = policy.longest_lifetime_seconds
    if longest is not None and longest < 1:
        raise InvalidInput("the longest lifetime is at least 1 second", field="longestLifetime")
    if policy.geo_cascade is not None:
        check_cascade(policy.geo_cascade)
    check_expiration(policy.media_expiration)
