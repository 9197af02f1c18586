# ruff: noqa: D103
"""Keys that an account trusts, through the whole application: what they sign is let in within what they may sign."""

import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from sqlalchemy import update

from stagedoor.config import Settings
from stagedoor.service.trusted_keys import MOST_KEYS
from stagedoor.store import schema
from tests.whole import Json, Whole, whole

PATH: Final = "/v1/trusted-keys"
KINDS: Final = ("RS256", "ES256", "EdDSA")


@dataclass(frozen=True)
class Pair:
    """A key of somebody else's, and how its public half is written."""

    algorithm: str
    private: Any

    @property
    def pem(self) -> str:
        found: bytes = self.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        return found.decode()

    @property
    def jwk(self) -> str:
        return self._jwk(self.private.public_key())

    @property
    def private_jwk(self) -> str:
        return self._jwk(self.private)

    def private_pem(self, form: PrivateFormat = PrivateFormat.PKCS8) -> str:
        found: bytes = self.private.private_bytes(Encoding.PEM, form, NoEncryption())
        return found.decode()

    def _jwk(self, key: Any) -> str:
        writers: dict[str, Any] = {"RS256": RSAAlgorithm, "ES256": ECAlgorithm, "EdDSA": OKPAlgorithm}
        text: str = writers[self.algorithm].to_jwk(key)
        return text


def pair_of(algorithm: str) -> Pair:
    makers: dict[str, Any] = {
        "RS256": lambda: rsa.generate_private_key(65537, 2048),
        "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
        "EdDSA": ed25519.Ed25519PrivateKey.generate,
    }
    return Pair(algorithm, makers[algorithm]())


@pytest.fixture(scope="module")
def pairs() -> dict[str, Pair]:
    return {algorithm: pair_of(algorithm) for algorithm in KINDS}


@pytest.fixture
def pair(pairs: dict[str, Pair]) -> Pair:
    return pairs["ES256"]


@pytest.fixture
async def system(settings: Settings) -> AsyncIterator[Whole]:
    async with whole(settings) as system:
        await system.secured()
        yield system


async def trust(system: Whole, public_key: str, *, status: int = 201, **more: Any) -> Json:
    body = {
        "label": "backend",
        "publicKey": public_key,
        "streams": [{"streamName": "cam"}],
        "actions": ["subscribe"],
        "longestSeconds": 600,
    }
    answer: Json = await system.ask("POST", PATH, body | more, status=status)
    return answer


def signed(system: Whole, pair: Pair, kid: str, *, header: Json | None = None, **more: Any) -> str:
    """Sign a token as its owner does; names of claims go beside `streaming`, all others into it. None leaves one out."""
    now = int(system.clock())
    claims: Json = {"iat": now, "exp": now + 60, "nbf": None, "jti": None}
    streaming: Json = {"tokenType": "Subscribe", "streamName": "cam"}
    for name, value in more.items():
        (claims if name in claims else streaming)[name] = value
    body = {name: value for name, value in claims.items() if value is not None}
    said = {name: value for name, value in streaming.items() if value is not None}
    return jwt.encode(body | {"streaming": said}, pair.private, pair.algorithm, headers={"kid": kid} | (header or {}))


# -- which keys there are


@pytest.mark.parametrize("algorithm", KINDS)
@pytest.mark.parametrize("form", ["pem", "jwk"])
async def test_keys_of_all_kinds_and_forms_let_in_what_they_signed(
    system: Whole, pairs: dict[str, Pair], algorithm: str, form: str
) -> None:
    pair = pairs[algorithm]
    made = await trust(system, getattr(pair, form))
    assert made["algorithm"] == algorithm
    assert made["publicKey"] == {
        name: value
        for name, value in (json.loads(pair.jwk) | {"kid": made["kid"]}).items()
        if name in {"kty", "crv", "x", "y", "n", "e", "kid"}
    }
    text = signed(system, pair, made["kid"])
    assert await system.everywhere(text) == "ok"
    assert await system.everywhere(text, "other") == "stream_not_granted"
    assert await system.everywhere(text, action="publish") == "action_not_granted"
    stranger = pair_of(algorithm)
    assert await system.everywhere(signed(system, stranger, made["kid"])) == "signature_invalid"


@pytest.mark.parametrize("algorithm", KINDS)
async def test_a_private_key_is_refused_and_not_repeated(
    system: Whole, pairs: dict[str, Pair], algorithm: str, settings: Settings
) -> None:
    pair = pairs[algorithm]
    secret = json.loads(pair.private_jwk)["d"]
    for text in (pair.private_pem(), pair.private_jwk):
        problem = await trust(system, text, status=400)
        assert problem["field"] == "publicKey"
        assert "this is a private key" in problem["detail"]
        assert secret not in json.dumps(problem)
    traditional = pair.private_pem(PrivateFormat.TraditionalOpenSSL) if algorithm != "EdDSA" else pair.private_pem()
    assert "this is a private key" in (await trust(system, traditional, status=400))["detail"]
    assert await system.ask("GET", PATH) == []
    assert secret.encode() not in settings.database_file.read_bytes()


async def test_a_weak_key_and_one_of_another_kind_are_refused_with_clear_words(system: Whole, pair: Pair) -> None:
    weak = Pair("RS256", rsa.generate_private_key(65537, 1024))  # noqa: S505  it is to be refused
    larger = Pair("ES256", ec.generate_private_key(ec.SECP384R1()))
    other = Pair("EdDSA", ed448.Ed448PrivateKey.generate())
    half = json.loads(pair.jwk)
    del half["y"]
    octets = json.dumps({"kty": "oct", "k": base64.urlsafe_b64encode(b"x" * 32).decode()})
    for text, words in (
        (weak.pem, "at least 2048 bits"),
        (weak.jwk, "at least 2048 bits"),
        (larger.pem, "P-256"),
        (larger.jwk, "P-256"),
        (other.pem, "Ed25519"),
        (json.dumps(half), "no public key"),
        (octets, "no public key"),
        ("nonsense", "no public key"),
        ("{}", "no public key"),
        ('{"kty": []}', "no public key"),
        ('{"kty": "RSA", "n": 5, "e": "AQAB"}', "no public key"),
        ("[" * 5000, "no public key"),
        ("{" + '"a":' * 2000, "no public key"),
        (pair.pem[:60], "no public key"),
    ):
        problem = await trust(system, text, status=400)
        assert (problem["field"], words in problem["detail"]) == ("publicKey", True), (text[:40], problem)
    assert await system.ask("GET", PATH) == []


@pytest.mark.parametrize(
    ("field", "more"),
    [
        ("label", {"label": ""}),
        ("streams", {"streams": []}),
        ("streams", {"streams": [{"streamName": "(", "isRegex": True}]}),
        ("actions", {"actions": []}),
        ("actions", {"actions": ["record"]}),
        ("longestSeconds", {"longestSeconds": 0}),
        ("longestSeconds", {"longestSeconds": "60"}),
        ("allowedIpAddresses", {"allowedIpAddresses": ["x"]}),
        ("publicKey", {"publicKey": "x" * 8193}),
    ],
)
async def test_what_cannot_be_right_is_a_problem_about_its_field(
    system: Whole, pair: Pair, field: str, more: Json
) -> None:
    problem = await trust(system, more.pop("publicKey", pair.pem), status=400, **more)
    assert field in problem["field"], problem
    assert await system.ask("GET", PATH) == []


async def test_an_account_trusts_so_many_keys_and_no_more(system: Whole, pair: Pair) -> None:
    """The list shows all of them; one that is revoked makes room, and other accounts have their own."""
    kept = [await trust(system, pair.pem, label=f"key {number}") for number in range(MOST_KEYS)]
    problem = await trust(system, pair.pem, status=409)
    assert "revoke one" in problem["detail"]
    assert [key["id"] for key in await system.ask("GET", PATH)] == [key["id"] for key in kept]
    await system.ask("DELETE", f"{PATH}/{kept[7]['id']}")
    await trust(system, pair.pem)


# -- what they may sign


async def test_a_key_signs_for_publishers_where_it_may(system: Whole, pair: Pair) -> None:
    made = await trust(system, pair.pem, actions=["publish"])
    both = await trust(system, pair.jwk, actions=["subscribe", "publish"])
    assert made["kid"] != both["kid"]
    publish = signed(system, pair, made["kid"], tokenType="Publish")
    assert await system.everywhere(publish, action="publish") == "ok"
    assert await system.everywhere(publish) == "action_not_granted"
    watch = signed(system, pair, made["kid"])
    assert await system.everywhere(watch) == "action_not_granted"
    for kind, action in (("Publish", "publish"), ("Subscribe", "read")):
        text = signed(system, pair, both["kid"], tokenType=kind)
        assert await system.everywhere(text, action=action) == "ok"
    only_watch = await trust(system, pair.pem)
    over = signed(system, pair, only_watch["kid"], tokenType="Publish")
    assert await system.everywhere(over, action="publish") == "action_not_granted"


async def test_it_signs_for_its_streams_alone(system: Whole, pair: Pair) -> None:
    made = await trust(system, pair.pem, streams=[{"streamName": "cam-[0-9]+", "isRegex": True}])
    for stream, told in (("cam-7", "ok"), ("cam", "stream_not_granted"), ("cam-7x", "stream_not_granted")):
        text = signed(system, pair, made["kid"], streamName=stream)
        assert await system.everywhere(text, stream) == told
    for stream in ("cam-[0-9]+", "", ".*"):
        text = signed(system, pair, made["kid"], streamName=stream)
        assert await system.everywhere(text, "cam-7") == "token_malformed"


async def test_it_signs_for_so_long_at_most_counted_from_iat(system: Whole, pair: Pair) -> None:
    now = int(system.clock())
    system.clock.stopped = float(now)
    made = await trust(system, pair.pem, longestSeconds=100)
    long = signed(system, pair, made["kid"], exp=now + 9999)
    short = signed(system, pair, made["kid"], exp=now + 50)
    undated = signed(system, pair, made["kid"], iat=None, exp=now + 50)
    early = signed(system, pair, made["kid"], iat=now + 3600, exp=now + 3700)
    assert await system.everywhere(undated) == "token_expired"
    assert await system.everywhere(early) == "token_not_yet_valid"
    for ahead, of_long, of_short in ((49, "ok", "ok"), (50, "ok", "token_expired"), (99, "ok", "token_expired")):
        system.clock.ahead = ahead
        assert (await system.everywhere(long), await system.everywhere(short)) == (of_long, of_short)
    system.clock.ahead = 100
    assert await system.everywhere(long) == "token_expired"


@pytest.mark.parametrize("kind", ["trusted key", "token"])
async def test_what_a_parent_that_does_not_open_has_signed_is_not_let_in(
    system: Whole, pair: Pair, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Whether the parent has signed it cannot be told: nothing new gets in, what runs goes on, and the log says why."""
    if kind == "token":
        parent = await system.token("subscribe")
        now = int(system.clock())
        streaming = {"tokenId": parent["id"], "tokenType": "Subscribe", "streamName": "cam"}
        text = jwt.encode({"iat": now, "exp": now + 60, "streaming": streaming}, parent["token"], "HS256")
    else:
        parent = await trust(system, pair.pem)
        text = signed(system, pair, parent["kid"])
    async with system.admin.store._writing() as write:
        cut = update(schema.token).where(schema.token.c.id == parent["id"]).values(sealed=b"\x01?" + bytes(40))
        await write.connection.execute(cut)
    assert await system.everywhere(text) == "store_unavailable"
    assert "cannot be read: a sealed value names a key that is not in the keyring" in caplog.text
    assert text not in caplog.text


async def test_its_lists_and_rules_hold_beside_those_of_each_token(system: Whole, pair: Pair) -> None:
    made = await trust(system, pair.pem, allowedIpAddresses=["192.0.2.0/24"], allowedProtocols=["webrtc", "hls"])
    assert made["allowedIpAddresses"] == ["192.0.2.0/24"]
    plain = signed(system, pair, made["kid"])
    assert await system.everywhere(plain, ip="192.0.2.1") == "ok"
    assert await system.everywhere(plain, ip="198.51.100.1") == "address_not_allowed"
    assert await system.everywhere(plain, protocol="rtsp") == "protocol_not_allowed"
    wide = signed(system, pair, made["kid"], allowedIpAddresses=["0.0.0.0/0"], allowedProtocols=["rtsp"])
    assert await system.everywhere(wide, ip="198.51.100.1", protocol="rtsp") != "ok"
    assert await system.everywhere(wide, ip="192.0.2.1", protocol="rtsp") == "protocol_not_allowed"
    narrow = signed(system, pair, made["kid"], allowedIpAddresses=["192.0.2.7"])
    assert await system.everywhere(narrow, ip="192.0.2.7") == "ok"
    assert await system.everywhere(narrow, ip="192.0.2.1") == "address_not_allowed"
    strange = signed(system, pair, made["kid"], watermark=True)
    assert await system.everywhere(strange) == "caveat_not_judged"


async def test_a_token_of_a_key_is_of_its_account_alone(system: Whole, pair: Pair) -> None:
    theirs = await system.ask(
        "POST",
        PATH,
        {
            "label": "bob's",
            "publicKey": pair.pem,
            "streams": [{"streamName": ".*", "isRegex": True}],
            "actions": ["subscribe"],
            "longestSeconds": 600,
        },
        status=201,
        bearer=system.bob_secret,
    )
    assert await system.everywhere(signed(system, pair, theirs["kid"])) == "account_mismatch"
    for method, path, body in (
        ("GET", f"{PATH}/{theirs['id']}", None),
        ("PATCH", f"{PATH}/{theirs['id']}", {"isActive": False}),
        ("DELETE", f"{PATH}/{theirs['id']}", None),
        ("GET", f"{PATH}/{theirs['id']}/children/revoked", None),
        ("POST", f"{PATH}/{theirs['id']}/children/revoke", {"all": True}),
    ):
        await system.ask(method, path, body, status=404)
    assert await system.ask("GET", PATH) == []


# -- what is forged


async def test_a_token_names_the_algorithm_of_its_key_and_no_other(system: Whole, pairs: dict[str, Pair]) -> None:
    """A key's own bytes are never a secret: HS256 with the public key in any form is refused."""
    for pair in pairs.values():
        made = await trust(system, pair.pem)
        for text in (pair.pem, pair.pem.strip(), pair.jwk, json.dumps(made["publicKey"])):
            forged = hmac_signed(signed(system, pair, made["kid"]), text.encode())
            assert await system.everywhere(forged) == "token_malformed"
        for other in pairs.values():
            if other is not pair:
                assert await system.everywhere(signed(system, other, made["kid"])) == "signature_invalid"
        good = signed(system, pair, made["kid"])
        for algorithm in ("none", "RS512", "PS256", "ES384", "HS512", "es256"):
            assert await system.everywhere(with_header(good, {"alg": algorithm})) == "token_malformed"
        assert await system.everywhere(good) == "ok"


def hmac_signed(text: str, secret: bytes) -> str:
    """Return a token with the same claims, for HS256 with `secret`, as PyJWT itself refuses to make it."""
    claims = text.split(".")[1]
    kid = jwt.get_unverified_header(text)["kid"]
    header = segment({"alg": "HS256", "kid": kid, "typ": "JWT"})
    mac = hmac.digest(secret, f"{header}.{claims}".encode(), hashlib.sha256)
    return f"{header}.{claims}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def segment(value: Json) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def with_header(text: str, changed: Json) -> str:
    """Return a token with another header, and the signature that it had."""
    _, claims, signature = text.split(".")
    return ".".join((segment(jwt.get_unverified_header(text) | changed), claims, signature))


async def test_a_kid_that_there_is_not_is_unknown_whatever_it_looks_like(system: Whole, pair: Pair) -> None:
    made = await trust(system, pair.pem)
    subscribe = await system.token("subscribe")
    for kid in (
        "tk_000000000000000000000000",
        made["kid"].upper(),
        f"{made['kid']} ",
        str(made["id"]),
        str(subscribe["id"]),
        "../../../dev/null",
        "' OR 1=1 --",
        "x" * 128,
    ):
        assert await system.everywhere(signed(system, pair, kid)) == "token_unknown", kid
    for kid in ("\u0000", "x" * 129, 7, None, [made["kid"]]):
        text = with_header(signed(system, pair, made["kid"]), {"kid": kid})
        assert await system.everywhere(text) == "token_malformed", kid


async def test_where_a_header_says_a_key_is_to_be_found_is_not_looked_at(system: Whole, pair: Pair) -> None:
    made = await trust(system, pair.pem)
    stranger = pair_of("ES256")
    headers: Json = {
        "x-own": 1,
        "jwk": json.loads(stranger.jwk),
        "jku": "https://example.com/keys",
        "x5u": "https://example.com/x",
    }
    assert await system.everywhere(signed(system, pair, made["kid"], header=headers)) == "ok"
    assert await system.everywhere(signed(system, stranger, made["kid"], header=headers)) == "signature_invalid"
    critical = signed(system, pair, made["kid"], header={"crit": ["exp"]})
    assert await system.everywhere(critical) == "token_malformed"


async def test_a_key_signs_no_child_of_a_token(system: Whole, pair: Pair) -> None:
    made = await trust(system, pair.pem)
    subscribe = await system.token("subscribe")
    for more in ({"tokenId": subscribe["id"]}, {"tokenId": made["id"]}):
        assert await system.everywhere(signed(system, pair, made["kid"], **more)) == "token_malformed"


# -- changes


async def test_a_key_that_is_switched_off_changed_or_deleted_takes_what_it_signed_along(
    system: Whole, pair: Pair
) -> None:
    made = await trust(system, pair.pem)
    path = f"{PATH}/{made['id']}"
    text = signed(system, pair, made["kid"])
    assert await system.everywhere(text) == "ok"
    off = await system.ask("PATCH", path, {"isActive": False})
    assert (off["isActive"], off["kid"], off["streams"]) == (False, made["kid"], made["streams"])
    assert await system.everywhere(text) == "token_disabled"
    await system.ask("PATCH", path, {"isActive": True})
    assert await system.everywhere(text) == "ok"
    changed = await system.ask("PATCH", path, {"streams": [{"streamName": "other"}], "label": "renamed"})
    assert (changed["streams"], changed["label"]) == ([{"streamName": "other", "isRegex": False}], "renamed")
    assert await system.everywhere(text) == "stream_not_granted"
    await system.ask("PATCH", path, {"streams": [{"streamName": "cam"}], "actions": ["publish"]})
    assert await system.everywhere(text) == "action_not_granted"
    await system.ask("PATCH", path, {"actions": ["subscribe"], "allowedIpAddresses": ["198.51.100.1"]})
    assert await system.everywhere(text) == "address_not_allowed"
    await system.ask("PATCH", path, {"allowedIpAddresses": []})
    assert await system.everywhere(text) == "ok"
    assert (await system.ask("PATCH", path, {"longestSeconds": 0}, status=400))["field"] == "longestSeconds"
    assert await system.ask("GET", path) == made | {"label": "renamed"}
    assert [key["id"] for key in await system.ask("GET", PATH)] == [made["id"]]
    assert await system.ask("DELETE", path) is True
    assert await system.everywhere(text) == "key_revoked"
    assert await system.everywhere(signed(system, pair, made["kid"], jti="new")) == "key_revoked"
    for method, body in (("GET", None), ("PATCH", {"isActive": True}), ("DELETE", None)):
        await system.ask(method, path, body, status=404)
    assert await system.ask("GET", PATH) == []


async def test_a_shorter_limit_reaches_what_was_signed_before(system: Whole, pair: Pair) -> None:
    now = int(system.clock())
    system.clock.stopped = float(now)
    made = await trust(system, pair.pem)
    text = signed(system, pair, made["kid"], exp=now + 500)
    system.clock.ahead = 200
    assert await system.everywhere(text) == "ok"
    await system.ask("PATCH", f"{PATH}/{made['id']}", {"longestSeconds": 200})
    assert await system.everywhere(text) == "token_expired"


async def test_what_a_key_signed_is_revoked_by_jti_by_its_text_and_all_of_it(system: Whole, pair: Pair) -> None:
    now = int(system.clock())
    system.clock.stopped = float(now)
    made = await trust(system, pair.pem)
    path = f"{PATH}/{made['id']}/children"
    one, two, bare = (signed(system, pair, made["kid"], jti=jti, subject=jti) for jti in ("one", "two", None))
    for text in (one, two, bare):
        assert await system.everywhere(text) == "ok"
    assert await system.ask("POST", f"{path}/revoke", {"jti": "one"}) is True
    assert [await system.everywhere(text) for text in (one, two, bare)] == ["token_revoked", "ok", "ok"]
    assert await system.ask("POST", f"{path}/revoke", {"token": bare}) is True
    assert [await system.everywhere(text) for text in (one, two, bare)] == ["token_revoked", "ok", "token_revoked"]
    assert await system.ask("POST", f"{path}/revoke", {"all": True}) is True
    assert await system.everywhere(two) == "token_revoked"
    system.clock.ahead = 1
    assert await system.everywhere(signed(system, pair, made["kid"], jti="three")) == "ok"
    listed = (await system.ask("GET", f"{path}/revoked"))["revoked"]
    assert {tuple(set(each) - {"revokedOn"}) for each in listed} == {("jti",), ("fingerprint",), ("all",)}
    assert not any(text in json.dumps(listed) for text in (one, two, bare))


@pytest.mark.parametrize(
    "body", [{}, {"all": False}, {"jti": "a", "all": True}, {"jti": ""}, {"jti": "x" * 129}, {"token": "nonsense"}]
)
async def test_one_thing_is_named_to_be_revoked(system: Whole, pair: Pair, body: Json) -> None:
    made = await trust(system, pair.pem)
    await system.ask("POST", f"{PATH}/{made['id']}/children/revoke", body, status=400)
    assert (await system.ask("GET", f"{PATH}/{made['id']}/children/revoked")) == {"revoked": []}
