"""The keys that we sign with."""

from dataclasses import dataclass
from enum import StrEnum


class Algorithm(StrEnum):
    """What a key signs with (RFC 7518 section 3.1, RFC 8037)."""

    RS256 = "RS256"
    ES256 = "ES256"
    EDDSA = "EdDSA"


class KeyState(StrEnum):
    """What a key is for. It is published while it is not revoked; one of each algorithm is in use."""

    STANDBY = "standby"
    IN_USE = "in_use"
    PREVIOUSLY_USED = "previously_used"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """A key of the system's as it is kept.

    `kid` is its thumbprint (RFC 7638); `public_jwk` its public half as JSON (RFC 7517), `sealed` its private one. `added_on`
    and `changed_on` (when it came into its state) are seconds since the epoch.
    """

    id: int
    kid: str
    algorithm: Algorithm
    state: KeyState
    public_jwk: str
    sealed: bytes
    added_on: int
    changed_on: int


def may_become(state: KeyState, wanted: KeyState) -> bool:
    """Tell whether a key may go from one state to another.

    Every change can be taken back, and a revoked key signs again only after it was restored: two steps, not a slip.
    """
    if state is KeyState.REVOKED:
        return wanted in (KeyState.REVOKED, KeyState.PREVIOUSLY_USED)
    return wanted is not KeyState.STANDBY or state is not KeyState.IN_USE
