"""Decoding what was encoded gives it back."""

from dataclasses import fields, replace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import RowMapping

from stagedoor.model.access import Action, Protocol
from stagedoor.model.account import AccountPolicy
from stagedoor.model.addresses import Address, Network, format_network, network_of, parse_address, parse_network
from stagedoor.model.caveats import Budgets, Countries, Over, Per, SessionLimit, SingleUse
from stagedoor.model.errors import ConfigError
from stagedoor.model.grant import StreamPattern
from stagedoor.model.hours import Hours, Window
from stagedoor.model.ids import AccountId, EngineId, TokenId, is_stream_name, parse_path, parse_stream_id
from stagedoor.model.secret import Secret
from stagedoor.model.session import OpenSession, SessionStart, TokenUse
from stagedoor.model.token import PublishOptions, TokenKind, TokenRecord, TokenTerms
from stagedoor.store.codec import (
    policy_of,
    record_of,
    session_of,
    session_row,
    use_of,
    write_instants,
    write_policy,
    write_terms,
)
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
actions = st.lists(st.sampled_from(list(Action)), max_size=2).map(tuple)
instants = st.floats(0, 2**40)
networks = st.ip_addresses().map(str).map(parse_network)
hours = st.builds(
    Hours, texts, st.lists(st.builds(Window, st.lists(numbers, max_size=2).map(tuple), numbers, numbers)).map(tuple)
)
PUBLISHING: dict[str, st.SearchStrategy[Any]] = {
    "subscribe_requires_auth": st.booleans(),
    "record": st.booleans(),
    "clip": st.booleans(),
    "multisource": st.booleans(),
    "low_latency_rtmp": st.booleans(),
    "enable_thumbnails": st.booleans(),
    "display_srt_passphrase": st.booleans(),
    "drm": st.booleans(),
    "enable_utc_insertion": st.none() | st.booleans(),
    "geo_cascade": st.none() | json_objects,
    "restream": st.lists(json_objects, max_size=2).map(tuple),
    "restream_sync": st.integers(0, 99),
    "priority": st.none() | numbers,
    "encoder_profile_id": st.none() | texts,
}
TERMS: dict[str, st.SearchStrategy[Any]] = {
    "label": texts,
    "streams": st.lists(st.builds(StreamPattern, texts, st.booleans()), max_size=2).map(tuple),
    "active": st.booleans(),
    "not_before": st.none() | numbers,
    "expires_at": st.none() | numbers,
    "allowed_addresses": lists,
    "allowed_origins": lists,
    "bind_ips_on_usage": st.none() | numbers,
    "allowed_countries": lists,
    "denied_countries": lists,
    "hours": st.none() | hours,
    "end_sessions_at_expiry": st.booleans(),
    "bind_ipv4_bits": numbers,
    "bind_ipv6_bits": numbers,
    "rebinds_an_hour": numbers,
    "allow_without_origin": st.booleans(),
    "geo_applies_to": actions,
    "allowed_protocols": st.lists(st.sampled_from(list(Protocol)), max_size=2).map(tuple),
    "allowed_user_agents": lists,
    "allowed_referrers": lists,
    "subject": texts,
    "session_limit": st.none()
    | st.builds(SessionLimit, numbers, st.sampled_from(list(Per)), st.sampled_from(list(Over)), numbers),
    "single_use": st.none() | st.builds(SingleUse, numbers),
    "budgets": st.none() | st.builds(Budgets, *[st.none() | numbers] * 4),
    "shadow_until": st.none() | numbers,
    "origin_cluster": texts,
    "tracking_id": st.none() | texts,
    "viewer_data": texts,
    "actions": st.lists(st.sampled_from(list(Action)), max_size=2, unique=True).map(tuple),
    "groups": lists,
    "longest_seconds": st.none() | numbers,
    "publishing": st.builds(PublishOptions, **PUBLISHING),
}
terms = st.builds(TokenTerms, **TERMS)


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


def test_every_term_is_drawn() -> None:
    """Whoever adds a term has to draw it above, so that none stands at its default unnoticed.

    What is not understood is never written, so it does not read back.
    """
    assert set(TERMS) | {"not_understood"} == {field.name for field in fields(TokenTerms)}
    assert set(PUBLISHING) == {field.name for field in fields(PublishOptions)}


@given(
    st.builds(
        AccountPolicy,
        enabled=st.booleans(),
        countries=st.none() | st.builds(Countries, lists, lists, actions),
        origin_cluster=texts,
        longest_lifetime_seconds=st.none() | numbers,
        shadow_until=numbers,
    )
)
def test_an_accounts_policy_reads_back_from_its_row(policy: AccountPolicy) -> None:
    """Whether it is open stands in a column of its own, which counts."""
    row: dict[str, object] = {"enabled": policy.enabled, "policy": write_policy(policy)}
    assert policy_of(cast("RowMapping", row)) == policy
    closed = policy_of(cast("RowMapping", row | {"enabled": False}))
    assert closed == replace(policy, enabled=False)


def test_an_account_of_an_earlier_version_sets_nothing() -> None:
    """Its row has an empty policy."""
    row: dict[str, object] = {"enabled": True, "policy": "{}"}
    assert policy_of(cast("RowMapping", row)) == AccountPolicy()


def test_terms_of_an_earlier_version_have_none_of_the_newer_limits() -> None:
    """What is not in the row is as if it had never been set."""
    old = '{"label":"t","streams":[{"text":"show","is_regex":false}],"active":true,"origin_cluster":"","publishing":{}}'
    row = {"id": 1, "account_id": "a", "kind": "publish", "terms": old, "digest": b"", "sealed": b"", "added_on": 0}
    record = record_of(cast("RowMapping", row | {"revoked_at": None, "parent_id": None, "key_id": None}))
    assert record.terms == TokenTerms(label="t", streams=(StreamPattern("show"),))


@given(
    st.builds(
        SessionStart,
        texts.map(AccountId),
        numbers.map(TokenId),
        texts,
        texts.map(EngineId),
        texts,
        texts,
        st.sampled_from(list(Action)),
        st.sampled_from(list(Protocol)),
        texts,
        instants,
    ),
    numbers,
)
def test_a_session_reads_back_from_its_row(start: SessionStart, number: int) -> None:
    """It begins open, with nothing carried, and was last heard of when it began."""
    row = cast("RowMapping", session_row(start) | {"id": number})
    assert session_of(row) == OpenSession(id=number, start=start, seen_at=start.at)


@given(st.lists(instants, max_size=3).map(tuple), numbers, numbers, instants, st.none() | instants, texts)
def test_the_use_of_a_token_reads_back_from_its_row(
    rebinds: tuple[float, ...], starts: int, carried: int, watched: float, last_at: float | None, last_ip: str
) -> None:
    """Beside the networks it is bound to, which stand in rows of their own."""
    row: dict[str, object] = {"starts": starts, "bytes": carried, "watched_seconds": watched, "last_at": last_at}
    row |= {"last_ip": last_ip, "rebinds": write_instants(rebinds)}
    bound = {parse_network("192.0.2.1"): 1.0}
    assert use_of(cast("RowMapping", row), bound) == TokenUse(
        starts=starts,
        watched_seconds=watched,
        bytes=carried,
        last_ip=last_ip,
        last_at=last_at,
        rebinds=rebinds,
        bound=bound,
    )
    assert use_of(None, bound) == TokenUse(bound=bound)


@given(networks, st.integers(0, 128))
def test_a_network_reads_back(network: Network, bits: int) -> None:
    """Single addresses and networks of any length, of both versions."""
    cut = network_of(Address(network.version, network.first), min(bits, 32 if network.version == 4 else 128))
    for one in (network, cut):
        assert parse_network(format_network(one)) == one


@given(
    terms, st.sampled_from(list(TokenKind)), st.binary(max_size=40), numbers, st.none() | numbers, st.none() | numbers
)
def test_a_record_reads_back_from_its_row(
    terms: TokenTerms, kind: TokenKind, digest: bytes, number: int, revoked_at: int | None, parent: int | None
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
        parent=None if parent is None else TokenId(parent),
        key_id=number,
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
        "parent_id": parent,
        "key_id": number or None,
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
