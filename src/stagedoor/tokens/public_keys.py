"""Public keys that accounts trust: read as JWK (RFC 7517) or PEM, kept as JWK, and used to verify what they signed.

Security: a key has one algorithm, told by its type, and a token has to name that one: no public key is ever taken for the
secret of an HMAC.
"""

import base64
import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePublicKey,
    EllipticCurvePublicNumbers,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from stagedoor.model.errors import InvalidInput
from stagedoor.model.key import Algorithm
from stagedoor.model.secret import Secret
from stagedoor.tokens.keyring import base64url
from stagedoor.tokens.signed import Unverified

MAX_KEY: Final = 8192
"""Longest text of a key, in characters."""

_LEAST_RSA_BITS: Final = 2048

_P256_BYTES: Final = 32
_ES256_BYTES: Final = 2 * _P256_BYTES

_PRIVATE: Final = frozenset({"d", "p", "q"})
"""What only a private key has (RFC 7518 section 6)."""


class PublicKey(NamedTuple):
    """A public key: the id that tokens name it by, what it signs with, and the key as JWK."""

    kid: str
    algorithm: Algorithm
    jwk: Mapping[str, Any]


def parse_public_key(text: str, kid: str) -> Secret:
    """Read a public key; return it as JWK with the id `kid`. It is no secret, and kept like one.

    Raises: InvalidInput for what is none, for a private or a secret one, and for one that is too weak.
    """
    if len(text) > MAX_KEY:
        raise InvalidInput(f"a key has at most {MAX_KEY} characters", field="publicKey")
    if "PRIVATE KEY" in text:
        raise InvalidInput(
            "this is a private key: keep it, and make another one if it was ever shown elsewhere; send the public key",
            field="publicKey",
        )
    key = _read(text)
    _algorithm(key)
    return Secret(json.dumps(_jwk_of(key) | {"kid": kid}))


def read_public_key(key: Secret) -> PublicKey:
    """Return a key that is kept."""
    jwk = json.loads(key.reveal())
    return PublicKey(jwk["kid"], _algorithm(_read(key.reveal())), jwk)


def verify_with(key: Secret, unverified: Unverified) -> bool:
    """Tell whether a token was signed with the private half of a kept `key`."""
    level = unverified.levels[-1]
    loaded = _read(key.reveal())
    algorithm = _algorithm(loaded)
    if level.algorithm != algorithm:
        return False
    try:
        _check_signature(loaded, unverified.signature, level.signed)
    except (InvalidSignature, ValueError):
        return False
    return True


def _check_signature(key: Any, signature: bytes, signed: bytes) -> None:
    """Check a signature as RFC 7518 section 3 and RFC 8037 section 3.1 have it.

    Raises: InvalidSignature, ValueError.
    """
    match key:
        case RSAPublicKey():
            key.verify(signature, signed, PKCS1v15(), SHA256())
        case EllipticCurvePublicKey():
            if len(signature) != _ES256_BYTES:
                raise ValueError
            half = _ES256_BYTES // 2
            r, s = int.from_bytes(signature[:half]), int.from_bytes(signature[half:])
            key.verify(encode_dss_signature(r, s), signed, ECDSA(SHA256()))
        case Ed25519PublicKey():
            key.verify(signature, signed)
        case _:
            raise ValueError


def _read(text: str) -> Any:
    """Return the key of a JWK or a PEM, as `cryptography` has it.

    Raises: InvalidInput.
    """
    try:
        if not text.lstrip().startswith("{"):
            return load_pem_public_key(text.encode())
        jwk = json.loads(text)
        if _PRIVATE & jwk.keys():
            raise InvalidInput("this is a private key; send the public one only", field="publicKey")
        return _public_of(jwk)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, UnsupportedAlgorithm):
        raise InvalidInput(
            "this is no public key of type RSA, EC (P-256) or OKP (Ed25519), as JWK or PEM", field="publicKey"
        ) from None


def _public_of(jwk: Mapping[str, Any]) -> Any:
    """Return the key of a JWK (RFC 7518 section 6, RFC 8037 section 2). Raises what is wrong with it."""
    match jwk["kty"]:
        case "RSA":
            return RSAPublicNumbers(_number(jwk["e"]), _number(jwk["n"])).public_key()
        case "EC" if jwk["crv"] == "P-256":
            return EllipticCurvePublicNumbers(_number(jwk["x"]), _number(jwk["y"]), SECP256R1()).public_key()
        case "OKP" if jwk["crv"] == "Ed25519":
            return Ed25519PublicKey.from_public_bytes(_bytes(jwk["x"]))
    raise ValueError


def _number(text: str) -> int:
    return int.from_bytes(_bytes(text))


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def _jwk_of(key: Any) -> dict[str, str]:
    """Return a key as JWK, with nothing in it but the key."""
    match key:
        case RSAPublicKey():
            numbers = key.public_numbers()
            return {"kty": "RSA", "n": _text(numbers.n), "e": _text(numbers.e)}
        case EllipticCurvePublicKey():
            point = key.public_numbers()
            return {"kty": "EC", "crv": "P-256", "x": _text(point.x, _P256_BYTES), "y": _text(point.y, _P256_BYTES)}
    return {"kty": "OKP", "crv": "Ed25519", "x": base64url(key.public_bytes_raw())}


def _text(number: int, length: int = 0) -> str:
    return base64url(number.to_bytes(length or (number.bit_length() + 7) // 8))


def _algorithm(key: Any) -> Algorithm:
    """Tell what a key signs with.

    Raises: InvalidInput for one that is too weak, or signs with nothing that is known here.
    """
    match key:
        case RSAPublicKey():
            if key.key_size < _LEAST_RSA_BITS:
                raise InvalidInput(f"an RSA key has at least {_LEAST_RSA_BITS} bits", field="publicKey")
            return Algorithm.RS256
        case EllipticCurvePublicKey() if isinstance(key.curve, SECP256R1):
            return Algorithm.ES256
        case Ed25519PublicKey():
            return Algorithm.EDDSA
    raise InvalidInput("a key is RSA, EC on P-256, or Ed25519", field="publicKey")
