"""Conditions on a token: each can only refuse, never allow.

A caveat is data; how it is judged stands in `policy`. A caveat that the policy has no judge for refuses: that is what
`Unjudged` is for, and what happens to any type that is added here and forgotten there.
"""

from dataclasses import dataclass

from stagedoor.model.addresses import Network


@dataclass(frozen=True, slots=True)
class NotBefore:
    """Good from the instant `at` on, in seconds since the epoch."""

    at: int


@dataclass(frozen=True, slots=True)
class ExpiresAt:
    """Good before the instant `at`, in seconds since the epoch. Stops new starts; what runs goes on."""

    at: int


@dataclass(frozen=True, slots=True)
class ClientAddresses:
    """Good from these networks only. Empty is good from nowhere."""

    networks: tuple[Network, ...]


@dataclass(frozen=True, slots=True)
class Unjudged:
    """A condition the owner set (`setting`, by its name in the API) and this version cannot judge: it refuses."""

    setting: str


Caveat = NotBefore | ExpiresAt | ClientAddresses | Unjudged
