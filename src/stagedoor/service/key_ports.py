"""What the use cases of signing keys need from outside, as protocols (see `ports`)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from stagedoor.model.key import Algorithm, KeyState, SigningKey
from stagedoor.model.secret import Secret


class Signed(NamedTuple):
    """A token that we signed, and the key that we did it with."""

    text: Secret
    key_id: int
    kid: str


class Signer(Protocol):
    """Our keys, as far as they sign."""

    async def sign(self, claims: Mapping[str, object], *, algorithm: Algorithm, typ: str = "JWT") -> Signed:
        """Sign claims as a JWT (RFC 7519) with the key that is in use for an algorithm; its header has `alg`, `kid`, `typ`.

        Raises: Unavailable.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSigningKey:
    """A key about to be kept, its private half sealed. `added_on`: seconds since the epoch."""

    kid: str
    algorithm: Algorithm
    public_jwk: str
    sealed: bytes
    added_on: int


class SigningKeyStore(Protocol):
    """The keys that we sign with. At most one of an algorithm is in use."""

    async def keys(self) -> Sequence[SigningKey]:
        """Return all keys, oldest first."""

    async def add(self, new: NewSigningKey, state: KeyState, unless: Callable[[SigningKey], bool]) -> SigningKey:
        """Keep a new key; with one of its algorithm there that `unless` holds of, return the newest such one instead.

        One that is put in use takes the place of the one that was.
        """

    async def change(self, kid: str, state: KeyState, at: int) -> SigningKey:
        """Bring a key into a state, `at` seconds since the epoch; one put in use takes the place of the one that was.

        Raises: NotFound; Conflict where `model.key.may_become` says no.
        """
