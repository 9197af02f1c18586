"""Attacks on tokens that others sign: each first works on a verifier without the defence, and then fails on ours."""

import base64
import json
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, Final

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from stagedoor.tokens.signed import MAX_SIGNED, MOST_LEVELS
from tests.attacks import Bench, decode, encode, hmac_signed, private_key, public_pem, same_bytes, trusting_verifier
from tests.world import BASE, ENGINES, signed_child

REFUSED: Final = {"token_malformed", "token_unknown", "signature_invalid"}
ALGORITHMS: Final = ("RS256", "ES256", "EdDSA")


# -- which algorithm, and which key


@pytest.mark.parametrize("spelling", ["none", "None", "NONE", "nOnE", " none", "none ", "", "n\u043ene", "HS0"])
@pytest.mark.parametrize("signature", ["", "AA", "bm9uZQ"])
async def test_no_spelling_of_none_is_an_algorithm(bench: Bench, spelling: str, signature: str) -> None:
    """A token without a signature is none, whatever it has in its place."""
    unsigned = f"{encode(json.dumps({'alg': spelling, 'typ': 'JWT'}))}.{encode(json.dumps(bench.claims()))}"
    text = f"{unsigned}.{signature}"
    if spelling.strip().lower() in {"none", ""}:
        assert trusting_verifier(text, b"any key")
    assert await bench.shown(bench.child()) == "ok"
    assert await bench.shown(text) == "token_malformed"
    assert await bench.shown(unsigned) == "token_malformed"


@pytest.mark.parametrize("header", [{}, {"alg": None}, {"alg": 1}, {"alg": ["HS256"]}, {"typ": "JWT"}, [], "1", '"a"'])
async def test_a_token_without_an_algorithm_is_none(bench: Bench, header: Any) -> None:
    """What it should be verified with is not guessed; its HMAC is right."""
    assert await bench.shown(bench.child(header=header)) == "token_malformed"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_a_public_key_is_never_the_secret_of_an_hmac(bench: Bench, algorithm: str) -> None:
    """Algorithm confusion: everybody has the public key, so anybody could sign with it."""
    pem = public_pem(private_key(algorithm))
    key = private_key(algorithm).public_key()
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    kept = json.dumps(dict(bench.keys[algorithm].public.jwk))
    assert await bench.shown(bench.key_token(algorithm)) == "ok"
    for secret in (pem.encode(), pem.strip().encode(), der, kept.encode()):
        for hash_ in ("HS256", "HS384", "HS512"):
            header = {"alg": hash_, "typ": "JWT", "kid": bench.kid(algorithm)}
            forged = bench.child(bench.key_claims(), header, secret)
            assert trusting_verifier(forged, secret)
            assert await bench.shown(forged) == "token_malformed"
            # Also as a child of what the key is kept as.
            token_id = bench.keys[algorithm].record.id
            child = bench.child(bench.key_claims(tokenId=token_id), header, secret)
            assert await bench.shown(child) == "token_unknown"


@pytest.mark.parametrize("named", ALGORITHMS)
@pytest.mark.parametrize("used", ALGORITHMS)
async def test_a_key_verifies_what_was_signed_with_it_and_nothing_else(bench: Bench, named: str, used: str) -> None:
    """Key confusion: a token names the key of another algorithm, or an attacker's own key signed it."""
    forged = bench.key_token(used, kid=bench.kid(named), number=1)
    jwt.decode(
        forged, private_key(used, 1).public_key(), algorithms=[used], options={"verify_iat": False, "verify_exp": False}
    )
    assert await bench.shown(forged) == "signature_invalid"
    right = bench.key_token(used, kid=bench.kid(named))
    assert await bench.shown(right) == ("ok" if named == used else "signature_invalid")


@pytest.mark.parametrize("algorithm", ["RS384", "RS512", "PS256", "PS384", "PS512"])
async def test_a_key_signs_with_its_one_algorithm(bench: Bench, algorithm: str) -> None:
    """The same key in another way is another algorithm."""
    header = {"kid": bench.kid("RS256")}
    forged = jwt.encode(bench.key_claims(), private_key("RS256"), algorithm, headers=header)
    assert trusting_verifier(forged, public_pem(private_key("RS256")).encode())
    assert await bench.shown(forged) == "token_malformed"


async def test_an_hmac_child_is_a_child_whatever_key_it_names(bench: Bench) -> None:
    """It may name a trusted key, and gets nothing of what that one may sign."""
    terms = bench.keys["ES256"].record.terms
    assert terms.streams[0].text == "cam"
    named = {"alg": "HS256", "kid": bench.kid("ES256")}
    assert await bench.shown(bench.child(header=named)) == "ok"
    assert await bench.shown(bench.child(header=named, key=bench.text("two"))) == "signature_invalid"
    both = bench.child(bench.key_claims(), named)
    assert await bench.shown(both) == "token_malformed"
    claims = {**bench.key_claims(), "streaming": {**bench.claims()["streaming"], "tokenType": "Publish"}}
    assert await bench.shown(bench.child(claims, named), do="publish") == "token_malformed"
    with_parent = jwt.encode(bench.claims(), private_key("ES256"), "ES256", headers={"kid": bench.kid("ES256")})
    assert await bench.shown(with_parent) == "token_malformed"


@pytest.mark.parametrize(
    "kid",
    [
        "../../../../dev/null",
        "..%2f..%2fkeyring",
        "/etc/passwd",
        "' OR 1=1 --",
        "' UNION SELECT x'00' --",
        "x'; DROP TABLE token; --",
        "\0",
        "{kid}\0",
        "{kid} ",
        " {kid}",
        "{upper}",
        "{kid}' --",
        "%",
        "tk_%",
        "_" * 27,
        "a" * 128,
        "a" * 129,
        "a" * 5000,
        "\ud800",
    ],
)
async def test_no_trick_in_a_kid_finds_a_key(bench: Bench, kid: str) -> None:
    """Neither a path nor SQL, nor what is nearly the right one. The key of nothing would be an empty one."""
    right = bench.kid("ES256")
    kid = kid.replace("{kid}", right).replace("{upper}", right.upper())
    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE key (kid TEXT, value TEXT)")
    database.execute("INSERT INTO key VALUES ('a', 'the key')")
    if kid == "' OR 1=1 --":
        [found] = database.execute(f"SELECT value FROM key WHERE kid = '{kid}'").fetchall()  # noqa: S608  the attack
        assert found == ("the key",)
    database.close()
    for number in (0, 1):
        header = encode(json.dumps({"alg": "ES256", "kid": kid}))
        signed = f"{header}.{encode(json.dumps(bench.key_claims()))}"
        der = jwt.get_algorithm_by_name("ES256").sign(signed.encode(), private_key("ES256", number))
        assert await bench.shown(f"{signed}.{encode(der)}") in {"token_unknown", "token_malformed"}
    assert await bench.shown(hmac_signed(signed, b"")) in REFUSED
    assert await bench.shown(bench.key_token("ES256")) == "ok"


@pytest.mark.parametrize("kid", [0, 1.5, True, ["a"], {"a": "b"}])
async def test_a_kid_that_is_no_text_is_none(bench: Bench, kid: Any) -> None:
    """The rest of the token is as it should be."""
    signed = f"{encode(json.dumps({'alg': 'ES256', 'kid': kid}))}.{encode(json.dumps(bench.key_claims()))}"
    signature = jwt.get_algorithm_by_name("ES256").sign(signed.encode(), private_key("ES256"))
    assert await bench.shown(f"{signed}.{encode(signature)}") == "token_malformed"


def _attackers_jwk() -> dict[str, Any]:
    public = private_key("ES256", 1).public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey)
    found: dict[str, Any] = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(public))
    return found


class KeyServer:
    """A web server of the attacker's: hands out a key set, and counts who asks."""

    def __init__(self, key_set: Any) -> None:
        body = json.dumps(key_set).encode()
        asked: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_given: Any) -> None:
                """Say nothing."""

        self.asked = asked
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/keys"
        self._thread = Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=10)


@pytest.fixture
def key_server() -> Iterator[KeyServer]:
    """A server that hands out the attacker's own key, under every name."""
    jwk = _attackers_jwk()
    server = KeyServer({"keys": [jwk | {"kid": "mine", "use": "sig", "alg": "ES256"}]})
    yield server
    server.close()


async def test_no_header_says_where_the_key_is(bench: Bench, key_server: KeyServer) -> None:
    """Not `jku`, `x5u`, `jwk` nor `x5c`: who reads them verifies with the attacker's key. Nobody is asked for one."""
    jwk = _attackers_jwk()
    forged = bench.key_token("ES256", kid="mine", number=1, jku=key_server.url)
    fetched = jwt.PyJWKClient(jwt.get_unverified_header(forged)["jku"]).get_signing_key("mine")
    assert jwt.decode(forged, fetched.key, algorithms=["ES256"], options={"verify_iat": False, "verify_exp": False})
    assert key_server.asked == ["/keys"]
    x5c = [base64.b64encode(public_pem(private_key("ES256", 1)).encode()).decode()]
    places: list[dict[str, Any]] = [
        {"jku": key_server.url},
        {"x5u": key_server.url},
        {"jwk": jwk},
        {"x5c": x5c},
        {"x5t": "AA", "x5t#S256": "AA"},
    ]
    for place in [*places, {name: value for each in places for name, value in each.items()}]:
        for kid in ("mine", bench.kid("ES256"), ""):
            token = bench.key_token("ES256", kid=kid, number=1, **place)
            assert await bench.shown(token) in REFUSED
        # What is rightly signed is good, with them or without.
        assert await bench.shown(bench.key_token("ES256", **place)) == "ok"
        secret = {"jwk": {"kty": "oct", "k": encode("my own secret")}}
        child = bench.child(header={"alg": "HS256", **place, **secret}, key="my own secret")
        assert await bench.shown(child) == "signature_invalid"
        assert await bench.shown(bench.child(header={"alg": "HS256", **place})) == "ok"
    assert key_server.asked == ["/keys"]


async def test_a_token_that_one_of_our_own_keys_would_verify_is_not_one_of_ours(bench: Bench) -> None:
    """What verifies by a published key set and was never issued: it is found by its digest, or not at all."""
    named = jwt.encode(bench.key_claims(), private_key("RS256", 7), "RS256", headers={"kid": "published"})
    assert jwt.decode(
        named,
        private_key("RS256", 7).public_key(),
        algorithms=["RS256"],
        options={"verify_iat": False, "verify_exp": False},
    )
    assert await bench.shown(named) == "token_unknown"
    unnamed = jwt.encode(bench.key_claims(), private_key("RS256"), "RS256")
    assert await bench.shown(unnamed) == "token_malformed"


# -- what it says


@pytest.mark.parametrize(
    ("name", "twice"),
    [
        ("exp", '{{"streaming":{streaming},"exp":1,"exp":{later}}}'),
        ("streaming", '{{"streaming":{{}},"streaming":{streaming},"exp":{later}}}'),
        ("tokenId", '{{"streaming":{{"tokenId":1,{fields}}},"exp":{later}}}'),
        ("streamName", '{{"streaming":{{{fields},"streamName":"cam"}},"exp":{later}}}'),
        ("escaped", '{{"streaming":{streaming},"e\\u0078p":1,"exp":{later}}}'),
        ("ignored", '{{"streaming":{streaming},"exp":{later},"x":{{"a":1,"a":2}}}}'),
    ],
)
async def test_nothing_is_said_twice(bench: Bench, name: str, twice: str) -> None:
    """Of two claims of one name each reader believes another one; the signature is right."""
    del name
    streaming = json.dumps(bench.claims()["streaming"])
    text = twice.format(streaming=streaming, fields=streaming[1:-1], later=BASE + 60)
    assert json.loads(text)["exp"] == BASE + 60
    assert trusting_verifier(bench.child(text), bench.text().encode())
    assert await bench.shown(bench.child(text)) == "token_malformed"


async def test_no_header_name_comes_twice(bench: Bench) -> None:
    """The algorithm that one reader checks is not that which another one uses."""
    for header in (
        '{"alg":"none","alg":"HS256"}',
        '{"alg":"HS256","typ":"JWT","typ":"JWT"}',
        '{"alg":"HS256","\\u0061lg":"HS256"}',
    ):
        text = bench.child(header=header)
        assert trusting_verifier(text, bench.text().encode())
        assert await bench.shown(text) == "token_malformed"


NO_INSTANTS: Final = [
    "NaN",
    "Infinity",
    "-Infinity",
    "1e400",
    "1e12",
    "4102444800.0",
    "4102444800.5",
    '"4102444800"',
    '"Infinity"',
    "true",
    "[]",
    "[4102444800]",
    "{}",
    "-1",
    "-4102444800",
    "253402300800",
    "9223372036854775808",
    "1" + "0" * 400,
    "1" + "0" * 5000,
    '"\\ud800"',
    "0x7fffffff",
    "4_102_444_800",
]


@pytest.mark.parametrize("value", NO_INSTANTS, ids=[value[:20] for value in NO_INSTANTS])
@pytest.mark.parametrize("claim", ["exp", "nbf", "iat"])
async def test_an_instant_is_a_whole_number_that_a_clock_has(bench: Bench, claim: str, value: str) -> None:
    """Compared carelessly, one that is none is never over, or always good."""
    if value == "NaN":
        assert not json.loads(value) <= BASE  # so "over when exp <= now" never is
    if value in {"1e12", '"4102444800"', "4102444800.0"} and claim == "exp":
        naive = jwt.decode(bench.child(f'{{"exp":{value}}}'), bench.text(), algorithms=["HS256"])
        assert type(naive["exp"]) is not int
    rest = "" if claim == "exp" else f',"exp":{BASE + 60}'
    claims = f'{{"streaming":{json.dumps(bench.claims()["streaming"])},"{claim}":{value}{rest}}}'
    assert await bench.shown(bench.child(claims)) == "token_malformed"
    for good in ("0", str(BASE)):
        text = claims.replace(f'"{claim}":{value}', f'"{claim}":{good}')
        expected = "token_expired" if claim == "exp" else "ok"
        assert await bench.shown(bench.child(text)) == expected


@pytest.mark.parametrize(
    "claims", ["{}", "[]", "null", "1", '"text"', '{"exp":4102444800}', '{"streaming":{}}', "{", ""]
)
async def test_what_says_nothing_lets_nobody_in(bench: Bench, claims: str) -> None:
    """A claim that is not there is not one that is fulfilled."""
    assert await bench.shown(bench.child(claims)) == "token_malformed"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("jti", '"\\ud800"'),
        ("jti", '"\\u0000"'),
        ("jti", "1.5"),
        ("jti", "1"),
        ("jti", '""'),
        ("jti", '"' + "a" * 129 + '"'),
    ],
)
async def test_a_name_that_no_database_keeps_is_none(bench: Bench, name: str, value: str) -> None:
    """Half a character and a NUL were an error of the store's, which anybody could cause, with any signature."""
    claims = f'{{"streaming":{json.dumps(bench.claims()["streaming"])},"exp":{BASE + 60},"{name}":{value}}}'
    assert await bench.shown(bench.child(claims)) == "token_malformed"
    assert await bench.shown(bench.child(claims, key="not the key")) == "token_malformed"
    good = claims.replace(f'"{name}":{value}', f'"{name}":"\\u0041\\ud83d\\ude00"')
    assert await bench.shown(bench.child(good)) == "ok"


@pytest.mark.parametrize(
    "field", ["subject", "customViewerData", "streamName", "tracking", "originCluster", "allowedOrigins"]
)
@pytest.mark.parametrize("value", ['"\\ud800"', '"a\\u0000"', "1.5"])
async def test_no_text_is_half_a_character_or_a_fraction(bench: Bench, field: str, value: str) -> None:
    """A number that is not whole was taken for a text, once."""
    inner = {"tracking": f'{{"trackingId":{value}}}', "allowedOrigins": f"[{value}]"}.get(field, value)
    streaming = (
        json.dumps(bench.claims()["streaming"])[:-1].replace('"streamName": "cam", ', "") + f',"{field}":{inner}}}'
    )
    assert json.loads(streaming)["tokenId"] == bench.id()
    if field != "streamName":
        streaming = streaming[:-1] + ',"streamName":"cam"}' if '"streamName"' not in streaming else streaming
    claims = f'{{"streaming":{streaming},"exp":{BASE + 60}}}'
    assert await bench.shown(bench.child(claims)) == "token_malformed"


@pytest.mark.parametrize("typ", ["at+jwt", "JOSE", "JWE", "dpop+jwt", "application/at+jwt", "JWT ", "", 1, ["JWT"]])
async def test_a_token_of_another_type_is_none(bench: Bench, typ: Any) -> None:
    """An access token that happens to be signed with the same key stays one. (RFC 8725 section 3.11)"""
    text = bench.child(header={"alg": "HS256", "typ": typ})
    assert jwt.decode(text, bench.text(), algorithms=["HS256"], options={"verify_exp": False})
    expected = "ok" if typ == "" else "token_malformed"
    assert await bench.shown(text) == expected
    for right in ("JWT", "jwt", None):
        assert await bench.shown(bench.child(header={"alg": "HS256", "typ": right})) == "ok"


@pytest.mark.parametrize("crit", [[], ["b64"], ["exp"], ["alg"], None, "exp", {}, 0])
async def test_what_is_critical_and_not_understood_is_refused(bench: Bench, crit: Any) -> None:
    """RFC 7515 section 4.1.11: who ignores it accepts what its signer said must not be."""
    text = bench.child(header={"alg": "HS256", "crit": crit, "b64": True})
    assert trusting_verifier(text, bench.text().encode())
    assert await bench.shown(text) == "token_malformed"


async def test_an_unencoded_payload_is_none(bench: Bench) -> None:
    """RFC 7797: the same signature over the payload as it stands is another message."""
    header = encode('{"alg":"HS256","b64":false,"crit":["b64"]}')
    plain = json.dumps(bench.claims())
    for payload in (plain, encode(plain)):
        assert await bench.shown(hmac_signed(f"{header}.{payload}", bench.text())) == "token_malformed"
    detached = hmac_signed(f"{header}.{plain}", bench.text()).rpartition(".")[2]
    assert await bench.shown(f"{header}..{detached}") == "token_malformed"


# -- how it is written


def _of_length(bench: Bench, length: int) -> str:
    """Sign a good child of exactly so many characters."""
    for hash_ in ("HS256", "HS384", "HS512"):
        for typ in ("JWT", "jwt", None):
            base = len(bench.child({**bench.claims(), "pad": ""}, {"alg": hash_, "typ": typ}))
            for pad in range((length - base) * 3 // 4 - 4, (length - base) * 3 // 4 + 4):
                text = bench.child({**bench.claims(), "pad": "x" * pad}, {"alg": hash_, "typ": typ})
                if len(text) == length:
                    return text
    raise AssertionError("no such token")


async def test_a_token_is_so_long_at_most(bench: Bench) -> None:
    """One character more is too many, and read no further; a huge one costs nothing."""
    assert await bench.shown(_of_length(bench, MAX_SIGNED - 1)) == "ok"
    assert await bench.shown(_of_length(bench, MAX_SIGNED)) == "ok"
    assert await bench.shown(_of_length(bench, MAX_SIGNED + 1)) == "token_malformed"
    started = time.monotonic()
    for huge in (
        bench.child({**bench.claims(), "pad": "x" * 7_500_000}),
        "ey" + "." * 10_000_000,
        "ey.a." + "A" * 10_000_000,
    ):
        assert await bench.shown(huge) == "token_malformed"
    assert time.monotonic() - started < 3


async def test_ten_megabytes_at_the_engines_door(bench: Bench) -> None:
    """As the body, and as the address, of a hook call; the same call with a token that is not huge is let in."""
    world = bench.world
    digest = world.keyring.digest(b"the-hook-secret-of-nginx")
    await bench.store.add_engine(replace(ENGINES["nginx"], secret_digest=digest))
    play = "call=play&app=live&name=cam&addr=192.0.2.1&clientid=1&token="
    assert await world.call({"hook": "nginx", "body": play + bench.child()}) == [(200, "ok")] * 2
    huge = bench.child({**bench.claims(), "pad": "x" * 7_500_000})
    for body in (play + huge, play + "A" * 10_000_000):
        assert (await world.call({"hook": "nginx", "body": body}))[0] == (403, "request_malformed")
    for uri in (f"/hls/~{huge}/cam/index.m3u8", f"/hls/cam/index.m3u8?token={huge}"):
        step = {"hook": "nginx", "path": "/hls", "headers": {"x-original-uri": uri, "x-real-ip": "192.0.2.1"}}
        assert {status for status, _ in await world.call(step)} == {403}


@pytest.mark.parametrize("part", [0, 1, 2])
async def test_a_token_has_one_text(bench: Bench, part: int) -> None:
    """Padding, spaces, the other alphabet, spare bits: of the many texts of a token no list of revoked ones holds all.

    What is altered is signed anew where it is under the signature.
    """
    for pad in ("", "x", "xx", "\u00ff\u00fe>?"):
        parts = bench.child({**bench.claims(), "jti": f"a{pad}"}).split(".")
        others = same_bytes(parts[part])
        assert others
        for other in others:
            altered = [*parts[:part], other, *parts[part + 1 :]]
            text = ".".join(altered) if part == 2 else hmac_signed(".".join(altered[:2]), bench.text())
            assert await bench.shown(text) == "token_malformed"
    naive = bench.child().split(".")
    spare = next(other for other in same_bytes(naive[2]) if other[:-1] == naive[2][:-1])
    lenient = ".".join([*naive[:2], spare])
    assert trusting_verifier(lenient, bench.text().encode())


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
async def test_a_signature_is_all_of_it(bench: Bench, algorithm: str) -> None:
    """One that is compared only as far as it goes is guessed byte by byte: the empty one is always right."""
    signed, _, signature = bench.child(header={"alg": algorithm}).rpartition(".")
    whole = decode(signature)
    assert await bench.shown(f"{signed}.{signature}") == "ok"
    for wrong in [whole[:n] for n in range(1, len(whole))] + [
        whole + b"\0",
        whole + whole,
        bytes(len(whole)),
        whole[::-1],
    ]:
        assert await bench.shown(f"{signed}.{encode(wrong)}") == "signature_invalid"
    for none in (
        f"{signed}.",
        signed,
        f"{signed}..",
        f".{signed}",
        f"{signed}.{signature}.",
        f"{signed}.{signature}.AA",
    ):
        assert await bench.shown(none) == "token_malformed"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_a_signature_of_a_key_is_all_of_it(bench: Bench, algorithm: str) -> None:
    """Zeroes were a signature of everything, to some (CVE-2022-21449); halves and doubles are none."""
    signed, _, signature = bench.key_token(algorithm).rpartition(".")
    whole = decode(signature)
    wrong = [
        bytes(len(whole)),
        whole[:-1],
        whole + b"\0",
        b"\0" + whole,
        whole[: len(whole) // 2],
        b"\1" * len(whole),
        b"\xff" * len(whole),
    ]
    for each in wrong:
        assert await bench.shown(f"{signed}.{encode(each)}") == "signature_invalid"
    assert await bench.shown(f"{signed}.{signature}") == "ok"


async def test_what_a_key_signed_is_revoked_in_each_of_its_texts(bench: Bench) -> None:
    """An ECDSA signature (r, s) is as good as (r, n - s): both are one token, and revoked as one."""
    text = bench.key_token("ES256")
    signed, _, signature = text.rpartition(".")
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    r, s = decode(signature)[:32], int.from_bytes(decode(signature)[32:])
    other = f"{signed}.{encode(r + (order - s).to_bytes(32))}"
    assert other != text
    assert jwt.decode(
        other,
        private_key("ES256").public_key(),
        algorithms=["ES256"],
        options={"verify_iat": False, "verify_exp": False},
    )
    assert [await bench.shown(each) for each in (text, other)] == ["ok", "ok"]
    world = bench.world
    await bench.store.revoke_child(world.account, bench.keys["ES256"].record.id, world.children.name_of(text), BASE)
    assert [await bench.shown(each) for each in (text, other)] == ["token_revoked"] * 2


@pytest.mark.parametrize("bomb", ["[" * 2500 + "]" * 2500, "[" * 5000, '{"a":' * 1000])
async def test_what_is_nested_deeply_is_refused_at_once(bench: Bench, bomb: str) -> None:
    """A recursive reader runs out of stack, with an error that nobody expects."""
    if bomb == "[" * 2500 + "]" * 2500:
        with pytest.raises(RecursionError):
            json.loads(bomb)
    started = time.monotonic()
    streaming = json.dumps(bench.claims()["streaming"])
    for claims in (
        bomb,
        f'{{"streaming":{streaming},"exp":{BASE + 60},"x":{bomb}}}',
        f'{{"streaming":{bomb},"exp":1}}',
    ):
        assert await bench.shown(bench.child(claims)) == "token_malformed"
        assert await bench.shown(bench.child(header=claims)) == "token_malformed"
    assert time.monotonic() - started < 5


# -- chains


async def test_no_chain_goes_around_or_on_for_ever(bench: Bench) -> None:
    """Each level is inside the one below it, so none comes twice; there are few, and each is under the same token."""
    levels = [{"jti": str(number)} for number in range(MOST_LEVELS + 2)]
    for many in (1, 2, 3):
        assert await bench.shown(signed_child(bench.text(), bench.id(), levels[:many])) == "ok"
    for many in (4, MOST_LEVELS, MOST_LEVELS + 1):
        assert await bench.shown(signed_child(bench.text(), bench.id(), levels[:many])) == "token_malformed"
    started = time.monotonic()
    above = "e30.e30"
    while len(above) < 6000:
        above = f"e30.{encode(json.dumps({'streaming': {'parent': above}}))}"
    assert await bench.shown(bench.child(bench.claims(parent=above))) == "token_malformed"
    assert time.monotonic() - started < 2


async def test_a_level_is_under_the_token_that_all_are_under(bench: Bench) -> None:
    """A level that names another one, is signed in another way, or is not what was signed, makes the whole one nothing."""
    root, mid = bench.text(), bench.child({**bench.claims(), "jti": "mid"})
    above = mid.rpartition(".")[0]
    assert await bench.shown(bench.child(bench.claims(parent=above), key=mid)) == "ok"
    other_root = bench.child(
        {**bench.claims(), "streaming": {**bench.claims()["streaming"], "tokenId": bench.id("two")}}
    )
    forged = {
        "another root": (bench.claims(parent=other_root.rpartition(".")[0]), other_root, "token_malformed"),
        "signed with the root": (bench.claims(parent=above), root, "signature_invalid"),
        "signed with what anybody knows": (bench.claims(parent=above), above, "signature_invalid"),
        "not what was signed": (bench.claims(parent=above[:-4] + "AAAA"), mid, "token_malformed"),
        "all of the parent": (bench.claims(parent=mid), mid, "token_malformed"),
        "a key's token": (
            bench.claims(parent=bench.key_token().rpartition(".")[0]),
            bench.key_token(),
            "token_malformed",
        ),
        "no token": (bench.claims(parent="a.b"), root, "token_malformed"),
        "nothing": (bench.claims(parent=""), root, "token_malformed"),
        "not a text": (bench.claims(parent=[above]), mid, "token_malformed"),
    }
    for name, (claims, key, reason) in forged.items():
        assert (name, await bench.shown(bench.child(claims, key=key))) == (name, reason)
    unsigned = ".".join(encode(json.dumps(each)) for each in ({"alg": "none"}, bench.claims()))
    assert await bench.shown(bench.child(bench.claims(parent=unsigned), key=f"{unsigned}.")) == "token_malformed"
    # A wider middle that its holder made up is not what the root signed.
    wide = encode(json.dumps(bench.claims())) + "." + encode(json.dumps({**bench.claims(), "exp": BASE + 9999}))
    assert await bench.shown(bench.child(bench.claims(parent=wide), key=mid)) == "token_malformed"
    made_up = above.partition(".")[0] + "." + encode(json.dumps({**bench.claims(), "exp": BASE + 9999}))
    assert await bench.shown(bench.child(bench.claims(parent=made_up), key=mid)) == "signature_invalid"


# -- one kind in another's place


async def test_a_token_is_for_what_it_is(bench: Bench) -> None:
    """A publish token to watch with, a subscribe token to publish with, a key's id as a token."""
    assert await bench.shown(bench.text("pub"), do="publish") == "ok"
    assert await bench.shown(bench.text("pub")) == "action_not_granted"
    assert await bench.shown(bench.text("see")) == "ok"
    assert await bench.shown(bench.text("see"), do="publish") == "action_not_granted"
    assert await bench.shown(bench.child(), do="publish") == "action_not_granted"
    assert await bench.shown(bench.key_token("ES256"), do="publish") == "action_not_granted"
    assert await bench.shown(bench.kid("ES256")) == "token_malformed"
    assert await bench.shown(bench.keys["ES256"].record.digest.hex()) == "token_unknown"


async def test_only_subscribe_tokens_have_children(bench: Bench) -> None:
    """The text of a publish token is no key of a child; neither is that of a child of another level."""
    pub = {**bench.claims()["streaming"], "tokenId": bench.id("pub")}
    for token_type in ("Subscribe", "Publish"):
        claims = {"streaming": {**pub, "tokenType": token_type}, "exp": BASE + 60}
        text = bench.child(claims, key=bench.text("pub"))
        assert trusting_verifier(text, bench.text("pub").encode())
        for do in ("subscribe", "publish"):
            assert await bench.shown(text, do=do) in {"token_unknown", "token_malformed"}
    assert await bench.shown(bench.child(key=bench.text("pub"))) == "signature_invalid"
    assert await bench.shown(bench.child(key=bytes.fromhex(bench.text()))) == "signature_invalid"
    assert await bench.shown(bench.child(key=bench.text().upper())) == "signature_invalid"


async def test_one_accounts_token_is_nothing_on_anothers_stream(bench: Bench) -> None:
    """Neither its own, nor a child that names the other's token: that one's text is not known, and its account is its own."""
    world, other = bench.world, await bench.add_account("other")
    own = world.account
    world.account = other
    theirs = await world.issue({"kind": "subscribe", "streams": [{"streamName": "cam"}]})
    world.account = own
    at_theirs = {"stream": f"{other}/cam"}
    claims = {"streaming": {**bench.claims()["streaming"], "tokenId": theirs.record.id}, "exp": BASE + 60}
    right = bench.child(claims, key=theirs.secret.reveal())
    assert await bench.shown(right, **at_theirs) == "ok"
    assert await bench.shown(right) == "account_mismatch"
    for mine in (bench.text(), bench.child(), bench.key_token("ES256")):
        assert await bench.shown(mine) == "ok"
        assert await bench.shown(mine, **at_theirs) == "account_mismatch"
    forged = bench.child(claims)
    assert trusting_verifier(forged, bench.text().encode())
    for step in ({}, at_theirs, {"stream": "cam"}):
        assert await bench.shown(forged, **step) == "signature_invalid"


async def test_a_former_value_signs_nothing_when_its_overlap_is_over(bench: Bench) -> None:
    """Neither a child that it signed before, nor a new one; and not in the overlap of a value that came after it."""
    world, text = bench.world, bench.text()
    child = bench.child({**bench.claims(), "exp": BASE + 9999})
    assert await bench.shown(child) == "ok"
    await world.change({"of": "see", "rotate": 100})
    world.now = BASE + 99
    assert await bench.shown(child) == "ok"
    await world.change({"of": "see", "rotate": 100})
    world.now = BASE + 100
    assert await bench.shown(text) == "token_expired"
    assert await bench.shown(child) == "token_expired"
    assert await bench.shown(bench.child({**bench.claims(), "exp": BASE + 9999, "iat": BASE + 100})) == "token_expired"
    await world.change({"change": "see", "body": {"refreshToken": True}})
    assert await bench.shown(child) == "signature_invalid"
    assert await bench.shown(text) == "token_unknown"


# -- a child widens nothing


WIDENINGS: Final[list[tuple[dict[str, Any], dict[str, Any], dict[str, Any], str]]] = [
    ({"expires": 30}, {}, {"at": 30}, "token_expired"),
    ({"notBefore": "2026-01-01T00:00:40Z"}, {}, {}, "token_not_yet_valid"),
    ({"streams": [{"streamName": "other"}]}, {"streamName": "cam"}, {}, "stream_not_granted"),
    (
        {"allowedIpAddresses": ["198.51.100.0/24"]},
        {"allowedIpAddresses": ["0.0.0.0/0", "::/0"]},
        {},
        "address_not_allowed",
    ),
    (
        {"allowedOrigins": ["a.example"]},
        {"allowedOrigins": ["evil.example"]},
        {"origin": "https://evil.example"},
        "origin_not_allowed",
    ),
    ({"allowedOrigins": ["a.example"]}, {"allowWithoutOrigin": True}, {"protocol": "rtmp"}, "origin_missing"),
    ({"allowedCountries": ["DE"]}, {"allowedCountries": ["PL"]}, {}, "country_not_allowed"),
    ({"deniedCountries": ["PL"]}, {"allowedCountries": ["PL"]}, {}, "country_not_allowed"),
    ({"deniedCountries": ["PL"]}, {"deniedCountries": ["DE"]}, {}, "country_not_allowed"),
    ({"allowedProtocols": ["hls"]}, {"allowedProtocols": ["webrtc", "hls"]}, {}, "protocol_not_allowed"),
    ({"allowedUserAgents": ["Good*"]}, {"allowedUserAgents": ["*"]}, {"agent": "Bad/1"}, "user_agent_not_allowed"),
    (
        {"allowedReferrers": ["https://a/*"]},
        {"allowedReferrers": ["*"]},
        {"referrer": "https://b/"},
        "referrer_not_allowed",
    ),
    (
        {"hours": {"timeZone": "UTC", "windows": [{"days": ["fri"], "from": "00:00", "to": "24:00"}]}},
        {"hours": {"timeZone": "UTC", "windows": [{"days": ["thu"], "from": "00:00", "to": "24:00"}]}},
        {},
        "token_outside_hours",
    ),
    ({"tracking": {"trackingId": "a"}}, {"tracking": {"trackingId": "b"}}, {}, "caveat_not_judged"),
    ({}, {"shadowUntil": "2030-01-01T00:00:00Z"}, {}, "caveat_not_judged"),
    ({}, {"geoAppliesTo": ["publish"]}, {}, "caveat_not_judged"),
    ({}, {"streams": [{"streamName": ".*", "isRegex": True}]}, {}, "caveat_not_judged"),
    ({}, {"label": "x"}, {}, "caveat_not_judged"),
]


@pytest.mark.parametrize(("parent", "child", "step", "reason"), WIDENINGS)
async def test_a_child_widens_no_rule_of_its_parent(
    bench: Bench, parent: dict[str, Any], child: dict[str, Any], step: dict[str, Any], reason: str
) -> None:
    """Under a parent without the rule the same child is let in: so it would be, did its rule take the place of the parent's."""
    world, cam = bench.world, [{"streamName": "cam"}]
    world.tokens["strict"] = await world.issue({"kind": "subscribe", "streams": cam, **parent})
    world.tokens["free"] = await world.issue({"kind": "subscribe", "streams": cam})
    asked = {name: value for name, value in step.items() if name != "at"}
    world.now = BASE + step.get("at", 0)
    level = {"exp": 9999, **child}
    for levels in ([level], [{"exp": 9999}, level], [level, {**level, "jti": "x"}]):
        text = signed_child(bench.text("strict"), bench.id("strict"), levels)
        assert await bench.shown(text, **asked) == reason
    if parent:
        text = signed_child(bench.text("free"), bench.id("free"), [level])
        assert await bench.shown(text, **asked) == "ok"


async def test_a_child_of_a_token_that_is_switched_off_is_off(bench: Bench) -> None:
    """And of one that is revoked, for ever, whatever it says of itself."""
    text = bench.child({**bench.claims(), "exp": BASE + 9999})
    assert await bench.shown(text) == "ok"
    await bench.world.change({"change": "see", "body": {"isActive": False}})
    assert await bench.shown(text) == "token_disabled"
    await bench.world.change({"change": "see", "body": {"isActive": True}})
    assert await bench.shown(text) == "ok"
    await bench.world.change({"revoke": "see"})
    assert await bench.shown(text) == "token_revoked"
