"""What sealing anew needs of the store: sealed values, whatever they are of."""

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol


class SealedKind(StrEnum):
    """What has sealed values: each is a table with the columns `id` and `sealed`."""

    TOKEN = "token"
    FORMER_SECRET = "former_secret"
    WEBHOOK = "webhook"
    SIGNING_KEY = "signing_key"
    VERIFIER = "verifier"


class SealedValue(NamedTuple):
    """A sealed value, the row it is in, and what that is called in the name of the place that it is sealed for."""

    id: int
    sealed: bytes
    name: str


class Resealed(NamedTuple):
    """A sealed value, as it was and as it is to be."""

    id: int
    old: bytes
    new: bytes


class SealedStore(Protocol):
    """Where sealed values are kept."""

    async def sealed(self, kind: SealedKind, mark: bytes, after: int, most: int) -> Sequence[SealedValue]:
        """Return up to `most` values that do not begin with `mark`, by id, from the one after `after`; empty ones never.

        Raises: Unavailable.
        """

    async def reseal(self, kind: SealedKind, values: Sequence[Resealed]) -> None:
        """Put the new values in place of the old ones, each only where the old one still is.

        Raises: Unavailable.
        """


def place_of(kind: SealedKind, name: str) -> str:
    """Return the place that a value is sealed for."""
    return f"{kind}.sealed:{name}"
