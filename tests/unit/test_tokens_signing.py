# ruff: noqa: D103
"""Signing keys, and what they sign, as PyJWT reads it."""

import hashlib
import json
from base64 import urlsafe_b64encode

import jwt
import pytest

from stagedoor.model.errors import ConfigError
from stagedoor.model.key import Algorithm
from stagedoor.model.secret import Secret
from stagedoor.tokens.signing import load_key, new_key, sign

MEMBERS = {"RSA": ("e", "kty", "n"), "EC": ("crv", "kty", "x", "y"), "OKP": ("crv", "kty", "x")}


@pytest.mark.parametrize("algorithm", Algorithm)
def test_what_a_key_signs_another_library_verifies_by_its_public_half(algorithm: Algorithm) -> None:
    made = new_key(algorithm)
    claims = {"sub": "żółw", "exp": 4_000_000_000, "n": {"a": [1, None]}}
    text = sign(load_key(made.private), made.kid, claims, algorithm=algorithm, typ="at+jwt").reveal()
    assert jwt.get_unverified_header(text) == {"alg": algorithm.value, "kid": made.kid, "typ": "at+jwt"}
    public = jwt.PyJWK.from_json(made.public_jwk)
    assert jwt.decode(text, public.key, algorithms=[algorithm.value]) == claims
    other = jwt.PyJWK.from_json(new_key(algorithm).public_jwk)
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(text, other.key, algorithms=[algorithm.value])


@pytest.mark.parametrize("algorithm", Algorithm)
def test_the_public_half_names_itself_and_tells_nothing_of_the_private_one(algorithm: Algorithm) -> None:
    """Its name is its thumbprint, by the steps of RFC 7638 section 3."""
    made = new_key(algorithm)
    jwk = json.loads(made.public_jwk)
    members = MEMBERS[jwk["kty"]]
    canonical = json.dumps({name: jwk[name] for name in members}, sort_keys=True, separators=(",", ":"))
    thumbprint = urlsafe_b64encode(hashlib.sha256(canonical.encode()).digest()).rstrip(b"=").decode()
    assert made.kid == thumbprint
    assert jwk == {name: jwk[name] for name in members} | {"kid": made.kid, "use": "sig", "alg": algorithm.value}
    assert "PRIVATE" not in repr(made)


def test_numbers_of_an_es256_signature_keep_their_length() -> None:
    """One of 256 numbers begins with a zero byte, which DER leaves out: 300 signatures have some."""
    made = new_key(Algorithm.ES256)
    key, public = load_key(made.private), jwt.PyJWK.from_json(made.public_jwk).key
    for n in range(300):
        text = sign(key, made.kid, {"n": n}, algorithm=Algorithm.ES256, typ="JWT").reveal()
        assert len(text.rpartition(".")[2]) == 86
        assert jwt.decode(text, public, algorithms=["ES256"]) == {"n": n}


@pytest.mark.parametrize("text", ["", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_a_key_that_cannot_be_read_is_told_without_what_it_holds(text: str) -> None:
    with pytest.raises(ConfigError, match="signing key cannot be read") as caught:
        load_key(Secret(text))
    assert "AAAA" not in str(caught.value)
