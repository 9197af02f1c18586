"""Public keys that accounts trust: read as JWK (RFC 7517) or PEM, kept as JWK, and used to verify what they signed.

Security: a key has one algorithm, told by its type, and a token has to name that one: no public key is ever taken for the
secret of an HMAC.
"""

import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from cryptography.exceptions import UnsupportedAlgorithm
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from stagedoor.model.errors import InvalidInput
from stagedoor.model.key import Algorithm
from stagedoor.model.secret import Secret
from stagedoor.tokens.signed import Unverified

MAX_KEY: Final = 8192
"""Longest text of a key, in characters."""

_LEAST_RSA_BITS: Final = 2048

_PARTS: Final = frozenset({"kty", "crv", "x", "y", "n", "e"})
"""What a public key is made of (RFC 7518 section 6, RFC 8037 section 2)."""

_Key = RSAKey | ECKey | OKPKey


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
    if key.is_private:
        raise InvalidInput("this is a private key; send the public one only", field="publicKey")
    _algorithm(key)
    known = {name: value for name, value in key.as_dict(private=False).items() if name in _PARTS}
    return Secret(json.dumps(known | {"kid": kid}))


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
    # The algorithm by itself: the library's own reading of a header would refuse what is ignored here, such as `jku`.
    return JWSRegistry.algorithms[algorithm].verify(level.signed, unverified.signature, loaded)


def _read(text: str) -> _Key:
    try:
        if text.lstrip().startswith("{"):
            return _from_jwk(json.loads(text))
        return _from_pem(text)
    except (JoseError, UnsupportedAlgorithm, ValueError, TypeError, KeyError, RecursionError):
        raise InvalidInput(
            "this is no public key of type RSA, EC (P-256) or OKP (Ed25519), as JWK or PEM", field="publicKey"
        ) from None


def _from_jwk(jwk: Any) -> _Key:
    types: dict[str, type[RSAKey | ECKey | OKPKey]] = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}
    return types[jwk["kty"]].import_key(jwk)


def _from_pem(text: str) -> _Key:
    for kind in (RSAKey, ECKey, OKPKey):
        try:
            return kind.import_key(text)
        except (JoseError, UnsupportedAlgorithm, ValueError, TypeError):
            continue
    raise ValueError


def _algorithm(key: _Key) -> Algorithm:
    """Raise InvalidInput for keys that are too weak, or sign with nothing that is known here."""
    public: Any = key.public_key
    if isinstance(key, RSAKey):
        if public.key_size < _LEAST_RSA_BITS:
            raise InvalidInput(f"an RSA key has at least {_LEAST_RSA_BITS} bits", field="publicKey")
        return Algorithm.RS256
    if isinstance(key, ECKey) and key.curve_name == "P-256":
        return Algorithm.ES256
    if isinstance(key, OKPKey) and key.curve_name == "Ed25519":
        return Algorithm.EDDSA
    raise InvalidInput("a key is RSA, EC on P-256, or Ed25519", field="publicKey")
