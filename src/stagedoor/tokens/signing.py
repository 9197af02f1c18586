"""Our own signing keys, and what they sign: JWTs (RFC 7519) whose header is `alg`, `kid` and `typ`, and nothing else.

A private key is written as PKCS #8 PEM, to be sealed; a public one as a JWK (RFC 7517) whose `kid` is its thumbprint (RFC 7638).
"""

import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from stagedoor.model.errors import ConfigError
from stagedoor.model.key import Algorithm
from stagedoor.model.secret import Secret
from stagedoor.tokens.keyring import base64url

RSA_BITS: Final = 2048
_RSA_EXPONENT: Final = 65537
_P256_BYTES: Final = 32

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
_encode: Final = msgspec.json.Encoder().encode


class NewKey(NamedTuple):
    """A key that was made: its name, its public half as JSON, and its private one to be sealed."""

    kid: str
    public_jwk: str
    private: Secret


def new_key(algorithm: Algorithm) -> NewKey:
    """Make a key from the system's randomness: RSA of 2048 bits, P-256 or Ed25519. RSA takes a tenth of a second."""
    match algorithm:
        case Algorithm.RS256:
            key: PrivateKey = rsa.generate_private_key(_RSA_EXPONENT, RSA_BITS)
        case Algorithm.ES256:
            key = ec.generate_private_key(ec.SECP256R1())
        case Algorithm.EDDSA:
            key = ed25519.Ed25519PrivateKey.generate()
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    spki = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    kid, members = _public(algorithm, spki)
    jwk = {**members, "kid": kid, "use": "sig", "alg": algorithm.value}
    return NewKey(kid, json.dumps(jwk, sort_keys=True), Secret(pem))


def _public(algorithm: Algorithm, spki: bytes) -> tuple[str, dict[str, Any]]:
    """Return the thumbprint and the JWK of a public key in PEM."""
    from joserfc.jwk import ECKey, OKPKey, RSAKey  # noqa: PLC0415  slow to load, and keys are made seldom

    kinds: Mapping[Algorithm, type[RSAKey | ECKey | OKPKey]] = {
        Algorithm.RS256: RSAKey,
        Algorithm.ES256: ECKey,
        Algorithm.EDDSA: OKPKey,
    }
    public = kinds[algorithm].import_key(spki)
    return public.thumbprint(), dict(public.as_dict(private=False))


def load_key(private: Secret) -> PrivateKey:
    """Read what `new_key` wrote.

    Raises: ConfigError when it is not that.
    """
    try:
        key = serialization.load_pem_private_key(private.reveal().encode(), password=None)
    except ValueError:
        raise ConfigError("a signing key cannot be read; restore the database from a backup") from None
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey):
        raise ConfigError("a signing key is of a kind that we do not sign with; restore the database from a backup")
    return key


def sign(key: PrivateKey, kid: str, claims: Mapping[str, object], *, algorithm: Algorithm, typ: str) -> Secret:
    """Return claims as a compact JWT (RFC 7515 section 3.1)."""
    header = {"alg": algorithm.value, "kid": kid, "typ": typ}
    signed = f"{base64url(_encode(header))}.{base64url(_encode(claims))}"
    return Secret(f"{signed}.{base64url(_signature(key, signed.encode()))}")


def _signature(key: PrivateKey, signed: bytes) -> bytes:
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(signed, padding.PKCS1v15(), hashes.SHA256())
    if isinstance(key, ec.EllipticCurvePrivateKey):
        # RFC 7518 section 3.4: both numbers at their full length, not DER.
        r, s = decode_dss_signature(key.sign(signed, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(_P256_BYTES) + s.to_bytes(_P256_BYTES)
    return key.sign(signed)
