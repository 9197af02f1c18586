"""The keys that we sign with."""

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
