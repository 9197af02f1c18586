"""Decoding what was encoded gives it back."""

from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import RowMapping

from stagedoor.model.addresses import Address, parse_address, parse_network
from stagedoor.model.errors import ConfigError
from stagedoor.model.grant import StreamPattern
from stagedoor.model.ids import AccountId, TokenId, is_stream_name, parse_path, parse_stream_id
from stagedoor.model.secret import Secret
from stagedoor.model.token import PublishOptions, TokenKind, TokenRecord, TokenTerms
from stagedoor.store.codec import record_of, write_terms
from stagedoor.tokens.keyring import Keyring, base64url
from stagedoor.tokens.opaque import parse_opaque

KEYRING = Keyring.generate()

numbers = st.integers(-(2**63), 2**63 - 1)
texts = st.text(max_size=8)
lists = st.lists(texts, max_size=2).map(tuple)
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | numbers | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=3,
)
json_objects = st.dictionaries(texts, json_values, max_size=2)
terms = st.builds(
    TokenTerms,
    label=texts,
    streams=st.lists(st.builds(StreamPattern, texts, st.booleans()), max_size=2).map(tuple),
    active=st.booleans(),
    not_before=st.none() | numbers,
    expires_at=st.none() | numbers,
    allowed_addresses=lists,
    allowed_origins=lists,
    bind_ips_on_usage=st.none() | numbers,
    allowed_countries=lists,
    denied_countries=lists,
    origin_cluster=texts,
    tracking_id=st.none() | texts,
    publishing=st.builds(
        PublishOptions,
        subscribe_requires_auth=st.booleans(),
        record=st.booleans(),
        clip=st.booleans(),
        multisource=st.booleans(),
        low_latency_rtmp=st.booleans(),
        enable_thumbnails=st.booleans(),
        display_srt_passphrase=st.booleans(),
        drm=st.booleans(),
        enable_utc_insertion=st.none() | st.booleans(),
        geo_cascade=st.none() | json_objects,
        restream=st.lists(json_objects, max_size=2).map(tuple),
        priority=st.none() | numbers,
        encoder_profile_id=st.none() | texts,
    ),
)


@given(st.binary(min_size=32, max_size=32))
def test_a_token_reads_back_from_both_texts(value: bytes) -> None:
    """Hexadecimal and base64url."""
    assert parse_opaque(value.hex()) == parse_opaque(base64url(value)) == value


@given(
    st.text(
        st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"), min_size=43, max_size=43
    )
)
def test_each_token_has_exactly_one_base64url_text(text: str) -> None:
    """What is read writes the same text again."""
    value = parse_opaque(text)
    assert value is None or base64url(value) == text


@given(texts, texts)
def test_what_is_sealed_opens(secret: str, place: str) -> None:
    """At its place."""
    assert KEYRING.unseal(KEYRING.seal(Secret(secret), place), place).reveal() == secret


@given(texts, texts, texts)
def test_what_is_sealed_does_not_open_elsewhere(secret: str, place: str, other: str) -> None:
    """At no other place."""
    sealed = KEYRING.seal(Secret(secret), place)
    if other != place:
        with pytest.raises(ConfigError):
            KEYRING.unseal(sealed, other)


@given(texts, st.integers(0, 10_000), st.integers(1, 255))
def test_what_is_changed_does_not_open(secret: str, place: int, flip: int) -> None:
    """Any byte, in any way."""
    sealed = bytearray(KEYRING.seal(Secret(secret), "here"))
    sealed[place % len(sealed)] ^= flip
    with pytest.raises(ConfigError):
        KEYRING.unseal(bytes(sealed), "here")


@given(st.binary(max_size=80))
def test_what_was_never_sealed_does_not_open(sealed: bytes) -> None:
    """And is the one declared error."""
    with pytest.raises(ConfigError):
        KEYRING.unseal(sealed, "here")


def test_a_dumped_keyring_reads_back() -> None:
    """Digests agree."""
    assert Keyring.load(KEYRING.dump()).digest(b"x") == KEYRING.digest(b"x")


@given(terms, st.sampled_from(list(TokenKind)), st.binary(max_size=40), numbers, st.none() | numbers)
def test_a_record_reads_back_from_its_row(
    terms: TokenTerms, kind: TokenKind, digest: bytes, number: int, revoked_at: int | None
) -> None:
    """Every term, whatever its value."""
    record = TokenRecord(
        id=TokenId(number),
        account=AccountId("a"),
        kind=kind,
        terms=terms,
        digest=digest,
        sealed=digest,
        added_on=number,
        revoked_at=revoked_at,
    )
    row = {
        "id": number,
        "account_id": "a",
        "kind": kind.value,
        "terms": write_terms(terms),
        "digest": digest,
        "sealed": digest,
        "added_on": number,
        "revoked_at": revoked_at,
    }
    assert record_of(cast("RowMapping", row)) == record


@given(st.ip_addresses())
def test_an_address_reads_back(address: Any) -> None:
    """Its version and number, or those of the IPv4 address that it stands for."""
    parsed = parse_address(str(address))
    mapped = getattr(address, "ipv4_mapped", None)
    meant = mapped if mapped is not None else address
    assert parsed == Address(meant.version, int(meant))
    assert parsed is not None
    assert parse_network(str(address)).holds(parsed)


@given(st.from_regex(r"\A[A-Za-z0-9_-]{1,64}\Z"), st.text("ab./-~", min_size=1, max_size=12))
def test_a_stream_id_reads_back(account: str, name: str) -> None:
    """From `account/name`, wherever `name` is a name, as an id and as a path; elsewhere the path is nowhere."""
    path = f"{account}/{name}"
    if is_stream_name(name):
        assert str(parse_stream_id(path)) == path
        assert parse_path(path) == parse_stream_id(path)
    else:
        assert parse_path(path) == ("", "")
