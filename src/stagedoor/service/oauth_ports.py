"""What applications and their tokens need from the store."""

from collections.abc import Callable, Sequence
from typing import Protocol

from stagedoor.model.application import ApiToken, ApiTokenFacts, Application
from stagedoor.model.ids import AccountId


class ApplicationStore(Protocol):
    """The applications of accounts. Of secrets only digests are kept."""

    async def list(self, account: AccountId) -> Sequence[Application]:
        """Return the account's applications, oldest first."""

    async def application(self, account: AccountId, application_id: int) -> Application:
        """Return an application.

        Raises: NotFound.
        """

    async def add(self, application: Application, digest: bytes, hint: str, most: int) -> Application:
        """Keep a new application, whose id and secrets are not looked at, with its first secret.

        Raises: NotFound when there is no such account; Conflict when it has `most` already.
        """

    async def change(
        self, account: AccountId, application_id: int, change: Callable[[Application], Application]
    ) -> Application:
        """Give an application another label and other scopes, made from those in force inside the transaction.

        Raises: NotFound; whatever `change` raises, with nothing changed.
        """

    async def remove(self, account: AccountId, application_id: int) -> None:
        """Remove an application with its secrets and tokens, which are refused from now on.

        Raises: NotFound.
        """

    async def add_secret(
        self,
        account: AccountId,
        application_id: int,
        digest: bytes,
        hint: str,
        added_on: int,
        check: Callable[[Application], None],
    ) -> Application:
        """Keep another secret, unless `check` raises of the application as it is.

        Raises: NotFound; whatever `check` raises, with nothing changed.
        """

    async def remove_secret(self, account: AccountId, application_id: int, secret_id: int) -> None:
        """Remove a secret: it is refused from now on. Without any the application's tokens are refused too.

        Raises: NotFound.
        """

    async def find(self, key: str, digest: bytes) -> Application | None:
        """Return the application that has a key and a secret; None when there is none, or its account is closed."""


class ApiTokenStore(Protocol):
    """The API tokens that we issued, by digests of their texts."""

    async def add(self, token: ApiToken, digest: bytes, client_id: str) -> None:
        """Keep a new token.

        Raises: NotFound when its application is not there any more.
        """

    async def api_token(self, digest: bytes) -> ApiTokenFacts | None:
        """Return what is known of a token; None when there is none, or its application is gone."""

    async def revoke(self, application_id: int, digest: bytes, at: int) -> None:
        """Revoke a token of an application's; nothing happens when it has no such token, or it is revoked."""

    async def revoke_all(self, account: AccountId, application_id: int, at: int) -> int:
        """Revoke all tokens of an application's, and return how many there were that had not expired.

        Raises: NotFound.
        """

    async def forget(self, before: int) -> int:
        """Delete the tokens that expired before an instant, and return how many there were."""
