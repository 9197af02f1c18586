"""Where verifiers are kept. No worker remembers anything of them, so their writes are not numbered."""

from collections.abc import Callable, Sequence
from typing import Protocol

from stagedoor.model.ids import AccountId
from stagedoor.model.verifier import Verifier


class VerifierStore(Protocol):
    """The verifiers of accounts, by their names."""

    async def add(self, verifier: Verifier, most: int) -> None:
        """Keep a new verifier.

        Raises: Conflict when its name is taken, or the account has `most` already; NotFound when there is no such account.
        """

    async def verifier(self, account: AccountId, name: str) -> Verifier:
        """Return a verifier.

        Raises: NotFound.
        """

    async def verifiers(self, account: AccountId) -> Sequence[Verifier]:
        """Return the account's verifiers, by name."""

    async def change(self, account: AccountId, name: str, change: Callable[[Verifier], Verifier]) -> Verifier:
        """Apply `change` and return the verifier as it is now. Its name and kind stay.

        Raises: NotFound; whatever `change` raises, with nothing changed.
        """

    async def remove(self, account: AccountId, name: str) -> None:
        """Forget a verifier, and its secret.

        Raises: NotFound.
        """
