"""Verifiers: media servers and CDNs that check credentials themselves, for which we mint them."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from stagedoor.model.access import Action, Protocol
from stagedoor.model.ids import AccountId


class VerifierKind(StrEnum):
    """What form of credential a verifier reads."""

    MEDIAMTX = "mediamtx"
    OVENMEDIAENGINE = "ovenmediaengine"
    LIVEKIT = "livekit"
    JANUS = "janus"
    SECURE_LINK = "secure_link"
    CAT = "cat"


class AddressClaim(StrEnum):
    """What OvenMediaEngine compares an address with: the socket's peer, or what a proxy in front says."""

    ALLOW_IP = "allow_ip"
    REAL_IP = "real_ip"


class CatAlgorithm(StrEnum):
    """What a Common Access Token is signed with."""

    HS256 = "HS256"
    ES256 = "ES256"


BOTH: Final = (Action.PUBLISH, Action.SUBSCRIBE)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifierSettings:
    """How a verifier is set up; each kind reads those that concern it (docs/contracts/engine-tokens.md).

    `url`: where its streams are. `file`: what is asked for in the directory of a stream. `protocols`: what it speaks; empty is
    all that its kind can. `opens`: what a room of Janus lets those do who are let in.
    """

    url: str = ""
    file: str = ""
    protocols: tuple[Protocol, ...] = ()
    issuer: str = ""
    audience: str = ""
    policy_query: str = "policy"
    signature_query: str = "signature"
    address_claim: AddressClaim = AddressClaim.ALLOW_IP
    bind_address: bool = False
    opens: tuple[Action, ...] = BOTH
    algorithm: CatAlgorithm = CatAlgorithm.HS256


@dataclass(frozen=True, slots=True, kw_only=True)
class Verifier:
    """A verifier of an account. `key_name`: what it knows our key by. `sealed`: its secret; empty where our own keys sign."""

    account: AccountId
    name: str
    kind: VerifierKind
    settings: VerifierSettings
    key_name: str = ""
    sealed: bytes = b""
    added_on: int = 0
