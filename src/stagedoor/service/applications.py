"""Applications: what owners do with them, and which one shows itself.

Security: nobody makes an application that may do more than itself, or gets hold of the secret of one that does.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from stagedoor.model.application import Application, Caller
from stagedoor.model.errors import Conflict, InvalidClient, InvalidInput, OutOfScope
from stagedoor.model.ids import AccountId
from stagedoor.model.scope import Scopes, covers_all, write_scopes
from stagedoor.model.secret import Secret
from stagedoor.service.oauth_ports import ApiTokenStore, ApplicationStore
from stagedoor.service.ports import Clock
from stagedoor.service.slowdown import Slowdown
from stagedoor.tokens.application import (
    is_application_key,
    is_application_secret,
    new_application_key,
    new_application_secret,
)
from stagedoor.tokens.keyring import Keyring

MAX_LABEL: Final = 128
"""Longest label, in characters."""

MAX_SECRETS: Final = 2
"""How many secrets an application has at once: the one in use, and the one that takes its place."""

MAX_APPLICATIONS: Final = 1000
"""How many applications an account has."""

_HINT_CHARACTERS: Final = 10


@dataclass(frozen=True, slots=True)
class IssuedApplication:
    """An application and the value of its newest secret, to be shown once."""

    record: Application
    secret: Secret


class Applications:
    """The applications of accounts."""

    def __init__(
        self,
        *,
        store: ApplicationStore,
        tokens: ApiTokenStore,
        keyring: Keyring,
        clock: Clock,
        slowdown: Slowdown,
    ) -> None:
        """Take the collaborators."""
        self._store = store
        self._tokens = tokens
        self._keyring = keyring
        self._clock = clock
        self._slowdown = slowdown

    async def authenticate(self, key: str, secret: str, client_ip: str) -> Application:
        """Return the application that shows its key and a secret of its own, from an address.

        Raises: InvalidClient whatever is wrong, and later each time; TooMany.
        """
        if is_application_key(key) and is_application_secret(secret):
            found = await self._store.find(key, self._digest(secret))
            if found is not None:
                return found
        await self._slowdown.failed(client_ip)
        raise InvalidClient("the application's key and secret are not known")

    async def list(self, account: AccountId) -> Sequence[Application]:
        """Return the account's applications, oldest first."""
        return await self._store.list(account)

    async def application(self, account: AccountId, application_id: int) -> Application:
        """Return an application.

        Raises: NotFound.
        """
        return await self._store.application(account, application_id)

    async def create(self, caller: Caller, label: str, scopes: Scopes) -> IssuedApplication:
        """Make an application with a first secret.

        Raises: InvalidInput; OutOfScope when it could do more than the caller; Conflict when there are too many.
        """
        _check(caller, scopes)
        secret = new_application_secret()
        new = Application(
            id=0,
            account=caller.account,
            label=_label(label),
            key=new_application_key(),
            scopes=scopes,
            added_on=int(self._clock()),
        )
        made = await self._store.add(new, self._digest(secret.reveal()), _hint(secret), MAX_APPLICATIONS)
        return IssuedApplication(made, secret)

    async def change(
        self, caller: Caller, application_id: int, label: str | None, scopes: Scopes | None
    ) -> Application:
        """Change what is given. Scopes that are taken away are lost to the application's tokens at once.

        Raises: InvalidInput; OutOfScope when it can, or could, do more than the caller; NotFound.
        """

        def changed(old: Application) -> Application:
            _check(caller, old.scopes)
            new = old.scopes if scopes is None else scopes
            _check(caller, new)
            return replace(old, label=old.label if label is None else _label(label), scopes=new)

        return await self._store.change(caller.account, application_id, changed)

    async def remove(self, account: AccountId, application_id: int) -> None:
        """Remove an application: its secrets and tokens are refused when this returns.

        Raises: NotFound.
        """
        await self._store.remove(account, application_id)

    async def add_secret(self, caller: Caller, application_id: int) -> IssuedApplication:
        """Make a second secret, so that the first can be replaced wherever it is used.

        Raises: NotFound; Conflict when there are two; OutOfScope when the application can do more than the caller.
        """

        def check(found: Application) -> None:
            _check(caller, found.scopes)
            if len(found.secrets) >= MAX_SECRETS:
                raise Conflict(f"the application has {MAX_SECRETS} secrets; delete the one that is not used any more")

        secret = new_application_secret()
        made = await self._store.add_secret(
            caller.account, application_id, self._digest(secret.reveal()), _hint(secret), int(self._clock()), check
        )
        return IssuedApplication(made, secret)

    async def remove_secret(self, account: AccountId, application_id: int, secret_id: int) -> None:
        """Remove a secret: it is refused when this returns. Without any, the application's tokens are refused too.

        Raises: NotFound.
        """
        await self._store.remove_secret(account, application_id, secret_id)

    async def revoke_tokens(self, account: AccountId, application_id: int) -> int:
        """Revoke all tokens of an application's, and return how many were not over.

        Raises: NotFound.
        """
        return await self._tokens.revoke_all(account, application_id, int(self._clock()))

    def _digest(self, text: str) -> bytes:
        return self._keyring.digest(text.encode())


def _check(caller: Caller, scopes: Scopes) -> None:
    """Refuse to hand out what the caller has not.

    Raises: OutOfScope.
    """
    if not covers_all(caller.scopes, scopes):
        needed = write_scopes(scopes)
        raise OutOfScope(f"an application with these scopes takes a caller that has them: {needed}", scope=needed)


def _label(label: str) -> str:
    if not 1 <= len(label) <= MAX_LABEL or "\0" in label:
        raise InvalidInput(f"label has 1 to {MAX_LABEL} characters", field="label")
    return label


def _hint(secret: Secret) -> str:
    return secret.reveal()[:_HINT_CHARACTERS]
