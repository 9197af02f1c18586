"""What the attacks share: an authority with real tokens, keys that an account trusts, and hands that sign whatever they like."""

import base64
import hmac
import json
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from sqlalchemy import insert

from stagedoor.model.access import Action
from stagedoor.model.grant import StreamPattern
from stagedoor.model.ids import AccountId
from stagedoor.model.token import TokenTerms
from stagedoor.service.trusted_keys import TrustedKey, TrustedKeys
from stagedoor.store import schema
from stagedoor.store.sql import SqlStore
from tests.world import BASE, World

LATER: Final = BASE + 60
HASHES: Final = {"HS256": "sha256", "HS384": "sha384", "HS512": "sha512"}
Private = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


def private_key(algorithm: str, number: int = 0) -> Private:
    """Return a key that signs with an algorithm; another one for each number."""
    return _private_key(algorithm, number)


@cache
def _private_key(algorithm: str, _number: int) -> Private:
    if algorithm == "RS256":
        return rsa.generate_private_key(65537, 2048)
    return ec.generate_private_key(ec.SECP256R1()) if algorithm == "ES256" else ed25519.Ed25519PrivateKey.generate()


def public_pem(key: Private) -> str:
    """Return the public half."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()


def encode(data: bytes | str) -> str:
    """Return unpadded base64url."""
    return base64.urlsafe_b64encode(data.encode() if isinstance(data, str) else data).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """Read base64url as leniently as most readers do."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def hmac_signed(signed: str, key: str | bytes, algorithm: str = "HS256") -> str:
    """Return a `header.payload`, whatever it says, with the HMAC of a key."""
    key = key.encode() if isinstance(key, str) else key
    return f"{signed}.{encode(hmac.digest(key, signed.encode(), HASHES[algorithm]))}"


def written(value: Any) -> str:
    """Return a value as JSON; a text is taken as it is."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


class Bench:
    """An authority, and attackers at its door."""

    def __init__(self, world: World) -> None:
        assert isinstance(world.store, SqlStore)
        self.world, self.store = world, world.store
        self.trusted = TrustedKeys(store=world.store, children=world.children, keyring=world.keyring, clock=world.clock)
        self.keys: dict[str, TrustedKey] = {}

    async def begin(self) -> None:
        """Make tokens of all kinds, and have the account trust one key of each kind."""
        everything = {"streamName": ".*", "isRegex": True}
        await self.world.begin(
            {
                "pub": {"kind": "publish", "streams": [everything], "subscribeRequiresAuth": True},
                "see": {"kind": "subscribe", "streams": [{"streamName": "cam"}]},
                "two": {"kind": "subscribe", "streams": [{"streamName": "cam"}]},
            }
        )
        terms = TokenTerms(
            label="issuer", streams=(StreamPattern("cam"),), actions=(Action.SUBSCRIBE,), longest_seconds=3600
        )
        for algorithm in ("RS256", "ES256", "EdDSA"):
            pem = public_pem(private_key(algorithm))
            self.keys[algorithm] = await self.trusted.add(self.world.account, terms, pem)

    async def add_account(self, name: str) -> AccountId:
        """Make another account."""
        async with self.store._writing() as write:
            row = {"id": name, "enabled": True, "added_on": 0, "policy": "{}"}
            await write.connection.execute(insert(schema.account).values(row))
        return AccountId(name)

    def text(self, token: str = "see") -> str:
        """Return the text of a token."""
        return self.world.tokens[token].secret.reveal()

    def id(self, token: str = "see") -> int:
        """Return the id of a token."""
        return self.world.tokens[token].record.id

    def kid(self, algorithm: str) -> str:
        """Return how tokens name a key that the account trusts."""
        return self.keys[algorithm].public.kid

    def claims(self, **streaming: Any) -> dict[str, Any]:
        """Return what a good child says."""
        said = {"tokenId": self.id(), "tokenType": "Subscribe", "streamName": "cam", **streaming}
        return {"streaming": said, "exp": LATER}

    def key_claims(self, **streaming: Any) -> dict[str, Any]:
        """Return what a good token of a trusted key says."""
        return {
            "streaming": {"tokenType": "Subscribe", "streamName": "cam", **streaming},
            "exp": LATER,
            "iat": BASE,
        }

    def child(self, claims: Any = None, header: Any = None, key: str | bytes | None = None) -> str:
        """Sign a child; `header` and `claims` may be any JSON, as text too."""
        header = {"alg": "HS256", "typ": "JWT"} if header is None else header
        algorithm = str(header.get("alg")) if isinstance(header, Mapping) else "HS256"
        signed = f"{encode(written(header))}.{encode(written(self.claims() if claims is None else claims))}"
        return hmac_signed(signed, self.text() if key is None else key, algorithm if algorithm in HASHES else "HS256")

    def key_token(self, algorithm: str = "ES256", *, kid: Any = None, number: int = 0, **header: Any) -> str:
        """Sign what a trusted key might, with the trusted key or, with a `number`, with an attacker's own."""
        headers = {"kid": self.kid(algorithm) if kid is None else kid, **header}
        return jwt.encode(self.key_claims(), private_key(algorithm, number), algorithm, headers=headers)

    async def shown(self, text: str, **step: Any) -> str:
        """Show a text at the door to watch `cam`: cold and warm, and as it is explained, it gets the same answer."""
        asked = {"do": "subscribe", "stream": "A/cam", "protocol": "webrtc", "text": text, **step}
        reasons = {(await self.world.authorize(asked)).reason.value for _ in range(2)}
        assert len(reasons) == 1
        if self.world.attempt(asked).access.stream.account:
            reasons.add((await self.world.explain(asked)).decision.reason.value)
        [reason] = reasons
        return reason


def trusting_verifier(text: str, key: bytes) -> bool:
    """Verify as libraries of old did: with the algorithm that the token itself asks for, and one key for all of them."""
    signed, _, signature = text.rpartition(".")
    algorithm = str(json.loads(decode(signed.partition(".")[0])).get("alg", "none"))
    if algorithm.strip().lower() in {"none", ""}:
        return True
    if algorithm in HASHES:
        return hmac.compare_digest(hmac.digest(key, signed.encode(), HASHES[algorithm]), decode(signature))
    try:
        jwt.decode(text, key, algorithms=[algorithm], options={"verify_exp": False})
    except jwt.PyJWTError:
        return False
    return True


def same_bytes(text: str) -> list[str]:
    """Return other texts that a lenient reader of base64url takes for the same bytes."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    found = [text + "=", text + "==", text + "\n", " " + text, text[:4] + "\r\n" + text[4:]]
    found += [text[:-1] + letter for letter in alphabet if decode(text[:-1] + letter) == decode(text)]
    found.append(text.replace("-", "+").replace("_", "/"))
    return [other for other in found if other != text]
