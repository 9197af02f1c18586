# ruff: noqa: D103
"""Common Access Tokens, against two other implementations of CBOR and CWT, and against what is not one."""

import base64
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import cbor2
import cwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from stagedoor.model.addresses import parse_network
from stagedoor.model.errors import InvalidInput
from stagedoor.model.secret import Secret
from stagedoor.tokens.mint import cat
from stagedoor.tokens.mint.cat import (
    CatClaims,
    CatRequest,
    InvalidCat,
    MacKey,
    Replay,
    SigningKey,
    VerifyingKey,
    mint,
    verify,
)
from stagedoor.tokens.mint.cbor import CborError, Tag, read, write

KEY_BYTES = b"k" * 32
KEY = MacKey(KEY_BYTES)
PRIVATE = ec.generate_private_key(ec.SECP256R1())
NOW = 1_700_000_000
REQUEST = CatRequest("https://cdn.example.com/live/acc/cam/index.m3u8", "GET", "192.0.2.9", "PL", first_use=True)
FULL = CatClaims(
    expires_at=NOW + 300,
    not_before=NOW,
    issued_at=NOW,
    id=b"abc",
    issuer="us",
    subject="7",
    replay=Replay.PROHIBITED,
    networks=(parse_network("192.0.2.0/24"), parse_network("198.51.100.7"), parse_network("2001:db8::/32")),
    scheme="https",
    host="cdn.example.com",
    path_prefix="/live/acc/cam/",
    methods=("GET", "HEAD"),
    countries=("PL", "DE"),
)
PAYLOAD: dict[int, Any] = {
    1: "us",
    2: "7",
    4: NOW + 300,
    5: NOW,
    6: NOW,
    7: b"abc",
    308: 1,
    310: 1,
    311: [
        cbor2.CBORTag(52, [24, b"\xc0\x00\x02"]),
        cbor2.CBORTag(52, b"\xc6\x33\x64\x07"),
        cbor2.CBORTag(54, [32, b"\x20\x01\x0d\xb8"]),
    ],
    312: {0: {0: "https"}, 1: {0: "cdn.example.com"}, 3: {1: "/live/acc/cam/"}},
    313: ["GET", "HEAD"],
    316: ["PL", "DE"],
}
"""The same, by the numbers of the standard."""


def raw(token: str) -> bytes:
    return base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))


def text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(
    payload: Any, *, protected: Any = None, unprotected: Any = None, dumps: Callable[[Any], bytes] = cbor2.dumps
) -> str:
    """Make a token by hand, with a good MAC."""
    import hmac  # noqa: PLC0415

    header = cbor2.dumps({1: 5} if protected is None else protected)
    body = payload if isinstance(payload, bytes) else dumps(payload)
    mac = hmac.digest(KEY_BYTES, cbor2.dumps(["MAC0", header, b"", body]), "sha256")
    return text(cbor2.dumps(cbor2.CBORTag(61, cbor2.CBORTag(17, [header, unprotected or {}, body, mac]))))


# -- minting


def test_the_claims_have_the_numbers_and_forms_of_the_standard() -> None:
    message = cbor2.loads(raw(mint(FULL, KEY, key_id=b"k1").reveal()))
    assert (message.tag, message.value.tag) == (61, 17)
    protected, unprotected, payload, _ = message.value.value
    assert (cbor2.loads(protected), unprotected) == ({1: 5}, {4: b"k1"})
    assert cbor2.loads(payload) == PAYLOAD


def test_another_library_verifies_our_macs_and_signatures() -> None:
    """It goes by the clock on the wall, and knows nothing of the claims of CTA-5007."""
    claims = CatClaims(expires_at=int(time.time()) + 100, subject="7")
    mac = cwt.COSEKey.from_symmetric_key(KEY_BYTES, alg="HS256", kid=b"k1")
    found = cwt.decode(raw(mint(claims, KEY, key_id=b"k1").reveal()), mac)
    assert isinstance(found, dict)
    assert found[2] == "7"
    pem = PRIVATE.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    public = cwt.COSEKey.from_pem(pem, kid=b"k1")
    found = cwt.decode(raw(mint(claims, SigningKey(PRIVATE), key_id=b"k1").reveal()), public)
    assert isinstance(found, dict)
    assert found[2] == "7"


def test_another_librarys_tokens_are_verified() -> None:
    mac = cwt.COSEKey.from_symmetric_key(KEY_BYTES, alg="HS256")
    made = cwt.encode_and_mac({4: NOW + 300, 5: NOW, 6: NOW, 310: 1}, mac, tagged=True)
    assert verify(text(made), KEY, REQUEST, NOW).expires_at == NOW + 300
    pem = PRIVATE.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    made = cwt.encode_and_sign({4: NOW + 300, 5: NOW, 6: NOW}, cwt.COSEKey.from_pem(pem), tagged=True)
    assert verify(text(made), VerifyingKey(PRIVATE.public_key()), REQUEST, NOW).expires_at == NOW + 300
    assert isinstance(cat.key_of("ES256", Secret(pem.decode())), SigningKey)


def test_a_token_may_be_used_once_only_if_it_has_an_id() -> None:
    with pytest.raises(InvalidInput, match="needs an id"):
        mint(replace(FULL, id=b""), KEY)


# -- verifying


def test_what_was_minted_is_read_back() -> None:
    assert verify(mint(FULL, KEY).reveal(), KEY, REQUEST, NOW) == FULL
    assert verify(signed(PAYLOAD), KEY, REQUEST, NOW) == FULL


@pytest.mark.parametrize(
    ("at", "good"), [(-1, False), (0, True), (1, True), (299, True), (299.9, True), (300, False), (301, False)]
)
def test_the_window_is_half_open(at: float, good: bool) -> None:
    token = mint(FULL, KEY).reveal()
    if good:
        verify(token, KEY, REQUEST, NOW + at)
    else:
        with pytest.raises(InvalidCat):
            verify(token, KEY, REQUEST, NOW + at)


OTHERS: dict[str, dict[str, Any]] = {
    "path": {"url": "https://cdn.example.com/live/acc/cam2/index.m3u8"},
    "climbing path": {"url": "https://cdn.example.com/live/acc/cam/../cam2/index.m3u8"},
    "climbing path, written otherwise": {"url": "https://cdn.example.com/live/acc/cam/%2e%2E/cam2/index.m3u8"},
    "climbing path, slash written otherwise": {"url": "https://cdn.example.com/live/acc/cam/..%2fcam2/index.m3u8"},
    "climbing path, written twice": {"url": "https://cdn.example.com/live/acc/cam/%252e%252e/cam2/index.m3u8"},
    "scheme": {"url": "http://cdn.example.com/live/acc/cam/index.m3u8"},
    "host": {"url": "https://evil.example.com/live/acc/cam/index.m3u8"},
    "host in the user's place": {"url": "https://cdn.example.com@evil.example.com/live/acc/cam/index.m3u8"},
    "no URL": {"url": "https://[/live"},
    "method": {"method": "POST"},
    "address": {"address": "192.0.3.1"},
    "address of the other version": {"address": "2001:db9::1"},
    "no address": {"address": ""},
    "country": {"country": "US"},
    "no country": {"country": ""},
    "audience": {"audience": "them"},
    "used before": {"first_use": False},
    "not known whether used": {"first_use": None},
}


@pytest.mark.parametrize("other", OTHERS)
def test_a_request_that_a_claim_does_not_cover_is_refused(other: str) -> None:
    token = mint(FULL, KEY).reveal()
    with pytest.raises(InvalidCat):
        verify(token, KEY, REQUEST._replace(**OTHERS[other]), NOW)


@pytest.mark.parametrize("address", ["192.0.2.255", "::ffff:192.0.2.1", "198.51.100.7", "2001:db8:ffff::1"])
def test_every_network_that_is_named_is_good(address: str) -> None:
    verify(mint(FULL, KEY).reveal(), KEY, REQUEST._replace(address=address), NOW)


PAYLOADS: dict[str, Any] = {
    "no exp": {5: NOW},
    "exp as a float": {4: float(NOW + 300)},
    "exp as text": {4: str(NOW + 300)},
    "exp as true": {4: True},
    "exp negative": {4: -1},
    "exp as a date": {4: cbor2.CBORTag(1, NOW + 300)},
    "exp beyond 64 bits": {4: 2**70},
    "nbf as a float": {4: NOW + 300, 5: float("nan")},
    "iat as a list": {4: NOW + 300, 6: [NOW]},
    "cti as text": {4: NOW + 300, 7: "abc"},
    "cti empty": {4: NOW + 300, 7: b""},
    "a claim of CTA-5007 that is not understood": {4: NOW + 300, 309: 1},
    "headers, which are not understood": {4: NOW + 300, 315: {}},
    "a claim of an application": {4: NOW + 300, 70000: 1},
    "a claim by a text": {4: NOW + 300, "exp": 1},
    "an audience as a list": {4: NOW + 300, 3: ["them"]},
    "another version": {4: NOW + 300, 310: 2},
    "catreplay unknown": {4: NOW + 300, 308: 3},
    "catreplay as true": {4: NOW + 300, 308: True},
    "no networks": {4: NOW + 300, 311: []},
    "a network by its number": {4: NOW + 300, 311: [64512]},
    "a network too long": {4: NOW + 300, 311: [cbor2.CBORTag(52, [33, b"\xc0"])]},
    "a network with host bits": {4: NOW + 300, 311: [cbor2.CBORTag(52, [8, b"\xc0\x01"])]},
    "a network of true": {4: NOW + 300, 311: [cbor2.CBORTag(52, [True, b"\xc0"])]},
    "catu empty": {4: NOW + 300, 312: {}},
    "catu by a regular expression": {4: NOW + 300, 312: {3: {4: "/live/.*"}}},
    "catu with two matches": {4: NOW + 300, 312: {3: {0: "/live/a", 1: "/live/a"}}},
    "catu of an empty prefix": {4: NOW + 300, 312: {3: {1: ""}}},
    "catu of a part that is not understood": {4: NOW + 300, 312: {8: {0: "m3u8"}}},
    "no methods": {4: NOW + 300, 313: []},
    "methods as text": {4: NOW + 300, 313: "GET"},
    "no countries": {4: NOW + 300, 316: []},
    "no map": [4, NOW + 300],
    "a claim twice": bytes.fromhex("a2041a6553f2000419ffff"),
    "a map of no definite length": b"\xbf\x04\x1a\x7f\xff\xff\xff\xff",
    "a number longer than it need be": b"\xa1\x04\x1b\x00\x00\x00\x00\x7f\xff\xff\xff",
    "something after the end": cbor2.dumps({4: NOW + 300}) + b"\x00",
    "nothing": b"",
}


@pytest.mark.parametrize("payload", PAYLOADS)
def test_claims_that_are_not_understood_refuse_though_the_key_signed_them(payload: str) -> None:
    assert verify(signed({4: NOW + 300}), KEY, REQUEST, NOW).expires_at == NOW + 300
    with pytest.raises(InvalidCat):
        verify(signed(PAYLOADS[payload]), KEY, REQUEST, NOW)


HEADERS: dict[str, tuple[Any, Any]] = {
    "another algorithm": ({1: 4}, {}),
    "none": ({}, {}),
    "the algorithm outside": ({}, {1: 5}),
    "crit": ({1: 5, 2: [1]}, {}),
    "crit outside": ({1: 5}, {2: [1]}),
    "a key of its own": ({1: 5}, {-1: KEY_BYTES}),
    "no map": ([1, 5], {}),
}


@pytest.mark.parametrize("header", HEADERS)
def test_headers_that_are_not_understood_refuse(header: str) -> None:
    protected, unprotected = HEADERS[header]
    assert verify(signed({4: NOW + 300}, protected={1: 5, 4: b"k1"}), KEY, REQUEST, NOW)
    with pytest.raises(InvalidCat):
        verify(signed({4: NOW + 300}, protected=protected, unprotected=unprotected), KEY, REQUEST, NOW)


def test_another_key_or_another_kind_of_key_verifies_nothing() -> None:
    """Also not with the public key taken for one that both sides have."""
    mac, signature = mint(FULL, KEY).reveal(), mint(FULL, SigningKey(PRIVATE)).reveal()
    public = VerifyingKey(PRIVATE.public_key())
    point = PRIVATE.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    confused = mint(FULL, MacKey(point)).reveal()
    assert verify(signature, public, REQUEST, NOW) == FULL
    other = VerifyingKey(ec.generate_private_key(ec.SECP256R1()).public_key())
    for token, key in (
        (mac, MacKey(b"x" * 32)),
        (mac, public),
        (signature, KEY),
        (confused, public),
        (signature, other),
    ):
        with pytest.raises(InvalidCat):
            verify(token, key, REQUEST, NOW)


def test_no_bit_of_a_token_can_be_another() -> None:
    data = raw(mint(FULL, KEY, key_id=b"k1").reveal())
    at = data.index(b"k1")
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 1
        if at <= place < at + 2:
            continue  # the name of the key is not signed; it chooses the key, and the key decides
        with pytest.raises(InvalidCat):
            verify(text(bytes(changed)), KEY, REQUEST, NOW)


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t + "=",
        lambda t: t[:-1],
        lambda t: t + "A",
        lambda t: " " + t,
        lambda t: "\u0661" + t,
        lambda t: t * 100,
    ],
)
def test_a_token_has_one_form(change: Callable[[str], str]) -> None:
    with pytest.raises(InvalidCat):
        verify(change(mint(FULL, KEY).reveal()), KEY, REQUEST, NOW)


def test_keys_that_are_too_weak_are_refused() -> None:
    makers: tuple[Callable[[], object], ...] = (
        lambda: MacKey(b"k" * 31),
        lambda: SigningKey(ec.generate_private_key(ec.SECP384R1())),
        lambda: cat.key_of("HS256", Secret("no hexadecimal digits")),
        lambda: cat.key_of("ES256", Secret("no PEM")),
    )
    for make in makers:
        with pytest.raises(InvalidInput) as refused:
            make()
        assert refused.value.field == "secret"


# -- anything


@given(st.text(max_size=300) | st.binary(max_size=300).map(text))
def test_whatever_is_shown_one_exception_says_no(shown: str) -> None:
    with pytest.raises(InvalidCat):
        verify(shown, KEY, REQUEST, NOW)


_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**64), 2**64 - 1) | st.binary(max_size=9) | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.integers(-9, 400) | st.text(max_size=3), inner, max_size=4)
        | st.builds(Tag, st.integers(100, 200), inner)
    ),
    max_leaves=9,
)


@given(_values)
def test_whatever_is_signed_one_exception_says_no(payload: Any) -> None:
    with pytest.raises(InvalidCat):
        verify(signed(write(payload)), KEY, REQUEST, NOW)


@given(_values)
def test_what_is_written_is_read_back(value: Any) -> None:
    assert read(write(value)) == value


@given(st.binary(max_size=64))
def test_what_is_read_has_one_form(data: bytes) -> None:
    try:
        value = read(data)
    except CborError:
        return
    assert write(value) == data
