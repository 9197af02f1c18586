"""Signed tokens: a child is never wider than its parent, revocation is for ever, and a token has one text."""

import base64
import json
from dataclasses import replace
from typing import Any, Final

from hypothesis import given
from hypothesis import strategies as st

from stagedoor.model.access import Access, Action, Protocol
from stagedoor.model.account import OPEN
from stagedoor.model.caveats import BoundAddresses, Budgets, SessionLimit, SingleUse
from stagedoor.model.decision import Standing
from stagedoor.model.grant import StreamPattern
from stagedoor.model.ids import AccountId, StreamId, TokenId
from stagedoor.model.secret import Secret
from stagedoor.model.token import TokenKind, TokenRecord, TokenState, TokenTerms, VerifiedToken
from stagedoor.model.usage import Session, Usage
from stagedoor.policy import decide, ends
from stagedoor.service.child_ports import Asked, Parentage
from stagedoor.service.children import Children
from stagedoor.service.ports import Facts
from stagedoor.sign import RESTRICTIONS, sign_child
from stagedoor.tokens import signed
from stagedoor.tokens.keyring import Keyring
from stagedoor.tokens.sealed import sealed_at
from stagedoor.tokens.signed import parse_signed, verify_child

NOW: Final = 1_767_225_600
PARENT: Final = "d2e166fdda89824a6c493d8a2af7a0754199eff9e38c579cba8783767a44039c"
ACCOUNT: Final = AccountId("acct")
ID: Final = TokenId(7)
KEYRING: Final = Keyring.generate()

_countries = st.lists(st.sampled_from(["PL", "DE", "US"]), min_size=1, max_size=2, unique=True)
_texts = st.lists(st.sampled_from(["a*", "b", "*"]), min_size=1, max_size=2)
_seconds = st.integers(1, 100)
RULES: Final[dict[str, st.SearchStrategy[Any]]] = {
    "allowedOrigins": st.lists(st.sampled_from(["a.example", "*.example", "https://b.example:8443"]), min_size=1),
    "allowedIpAddresses": st.lists(
        st.sampled_from(["192.0.2.0/24", "192.0.2.1", "2001:db8::/32"]), min_size=1, max_size=2
    ),
    "originCluster": st.sampled_from(["near", "far"]),
    "tracking": st.one_of(st.none(), st.sampled_from(["a", "b"]).map(lambda text: {"trackingId": text})),
    "customViewerData": st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20),
    "bindIpsOnUsage": st.integers(1, 2),
    "bindTolerance": st.fixed_dictionaries(
        {"ipv4Prefix": st.integers(8, 32)},
        optional={"ipv6Prefix": st.integers(16, 128), "rebindsPerHour": st.integers(0, 2)},
    ),
    "allowedCountries": _countries,
    "deniedCountries": _countries,
    "allowedProtocols": st.lists(st.sampled_from(["webrtc", "hls", "rtsp"]), min_size=1, max_size=2),
    "allowedUserAgents": _texts,
    "allowedReferrers": _texts,
    "allowWithoutOrigin": st.booleans(),
    "hours": st.sampled_from(["mon", "thu", "fri"]).map(
        lambda day: {"timeZone": "UTC", "windows": [{"days": [day], "from": "00:00", "to": "12:00"}]}
    ),
    "endSessionsAtExpiry": st.booleans(),
    "subject": st.sampled_from(["alice", "bob"]),
    "sessionLimit": st.one_of(
        st.builds(lambda most, over: {"most": most, "over": over}, _seconds, st.sampled_from(["refuse", "end_oldest"])),
        st.builds(lambda most, grace: {"most": most, "over": "grace", "graceSeconds": grace}, _seconds, _seconds),
    ),
    "singleUse": st.builds(lambda grace: {"graceSeconds": grace}, st.integers(0, 9)),
    "budgets": st.dictionaries(
        st.sampled_from(["sessionSeconds", "watchSeconds", "bytes", "starts"]), _seconds, min_size=1
    ),
}


@st.composite
def restrictions(draw: st.DrawFn) -> dict[str, Any]:
    """Draw what a child may say, as far as it goes together."""
    names = draw(st.sets(st.sampled_from(sorted(RULES)), max_size=5))
    said = {name: draw(RULES[name]) for name in sorted(names)}
    for one, other in (("allowedIpAddresses", "bindIpsOnUsage"), ("allowedCountries", "deniedCountries")):
        if one in said and other in said:
            del said[other]
    return said


accesses = st.builds(
    Access,
    st.sampled_from([Action.SUBSCRIBE, Action.SUBSCRIBE, Action.PUBLISH]),
    st.sampled_from(["cam", "cam", "other"]).map(lambda name: StreamId(ACCOUNT, name)),
    st.sampled_from([Protocol.WEBRTC, Protocol.HLS, Protocol.RTSP]),
    st.sampled_from(["192.0.2.1", "192.0.2.9", "198.51.100.1", "2001:db8::1", "nowhere"]),
    st.sampled_from([None, "https://a.example", "https://b.example:8443", "https://evil.test"]),
    st.sampled_from(["a", "b", "curl"]),
    st.sampled_from(["a", "b", ""]),
)
usages = st.builds(
    Usage,
    starts=st.integers(0, 3),
    watched_seconds=st.floats(0, 120),
    bytes=st.integers(0, 120),
    last_at=st.sampled_from([None, NOW - 5.0]),
    sessions=st.lists(st.builds(Session, st.integers(1, 9), st.just(NOW - 50.0)), max_size=3).map(tuple),
    own=st.sampled_from([None, Session(1, NOW - 50.0), Session(1, NOW - 50.0, NOW - 1.0)]),
)


def _record(terms: TokenTerms, **more: Any) -> TokenRecord:
    return TokenRecord(
        id=ID,
        account=ACCOUNT,
        kind=TokenKind.SUBSCRIBE,
        terms=terms,
        digest=b"parent",
        sealed=KEYRING.seal(Secret(PARENT), sealed_at(ID)),
        added_on=NOW - 100,
        **more,
    )


def _parent_terms(said: dict[str, Any], expires_at: int) -> TokenTerms:
    """Return the terms of a parent that asks what a child that says this would ask."""
    rules = {name: value for name, value in said.items() if name not in {"originCluster", "tracking"}}
    text = sign_child(PARENT, token_id=ID, stream_name="cam", expires_at=expires_at, jti="", **rules)
    parsed = parse_signed(text)
    assert parsed is not None
    return replace(parsed.levels[0].terms, streams=(StreamPattern("cam|cam2", is_regex=True),), label="parent")


class _Nothing:
    """A store that is not asked."""


def _children() -> Children:
    nothing: Any = _Nothing()
    return Children(keyring=KEYRING, source=nothing, store=nothing, clock=lambda: NOW, depth=8)


def _token(
    text: str, record: TokenRecord, revoked: dict[str, int] | None = None
) -> tuple[VerifiedToken | None, TokenState]:
    children = _children()
    asked: Asked = children.ask(text)
    facts = children.facts(Facts(None, ACCOUNT, (), 1, parentage=Parentage(record, revoked=revoked or {})), asked)
    return facts.token, facts.state


@given(
    parent=restrictions(),
    levels=st.lists(restrictions(), min_size=1, max_size=3),
    access=accesses,
    usage=usages,
    other=usages,
    at=st.integers(-10, 20),
    standing=st.tuples(st.booleans(), st.booleans(), st.booleans(), st.booleans()),
    country=st.sampled_from(["", "PL", "DE"]),
)
def test_a_child_is_never_wider_than_its_parent(
    parent: dict[str, Any],
    levels: list[dict[str, Any]],
    access: Access,
    usage: Usage,
    other: Usage,
    at: int,
    standing: tuple[bool, bool, bool, bool],
    country: str,
) -> None:
    """Where the child is let in, its parent would be, and so would each child above it, at the same use."""
    record = _record(_parent_terms(parent, NOW + 5))
    trusted, live, running, told = standing
    key, above = PARENT, list[VerifiedToken]()
    for said in levels:
        rules = dict(said)
        if key != PARENT and "tracking" not in rules:
            tracked = json.loads(base64.urlsafe_b64decode(key.split(".")[1] + "==="))["streaming"].get("tracking")
            rules |= {"tracking": tracked} if tracked else {}
        try:
            key = sign_child(key, token_id=ID, stream_name="cam", expires_at=NOW + 10, jti="x", **rules)
        except ValueError:
            return  # a child says another tracking id than the one above it
        token, state = _token(key, record)
        assert token is not None
        assert state is TokenState.ACTIVE
        above.append(token)
    child = above[-1]
    use = usage._replace(above=tuple(other if n % 2 else usage for n in range(len(child.above))))
    stands = Standing(TokenState.ACTIVE, OPEN, True, (), 1, trusted, country, live, running, told, told, use)
    allowed = decide(child, access, stands, NOW + at).allowed
    going_on = ends(child, access, stands, NOW + at) is None
    for place, upper in enumerate(child.above):
        at_same_use = stands._replace(usage=use.above[place]._replace(above=use.above[place + 1 :]))
        assert not allowed or decide(upper, access, at_same_use, NOW + at).allowed
        assert not going_on or ends(upper, access, at_same_use, NOW + at) is None
    counting = {type(c) for upper in child.above for c in upper.caveats} & {SessionLimit, SingleUse, Budgets}
    assert child.counts or not counting
    assert child.binds or not any(isinstance(c, BoundAddresses) for upper in child.above for c in upper.caveats)
    if allowed:
        assert (access.stream.name, access.action) == ("cam", Action.SUBSCRIBE)


@given(
    levels=st.integers(1, 3),
    which=st.integers(0, 2),
    by=st.sampled_from(["jti", "text", "all"]),
    issued=st.integers(0, 50),
    since=st.integers(0, 50),
    later=st.integers(0, 10**9),
)
def test_revocation_is_for_ever(levels: int, which: int, by: str, issued: int, since: int, later: int) -> None:
    """What is revoked by its name, or by that of one above it, never is good again; all that were made until then neither."""
    key, texts = PARENT, []
    for number in range(levels):
        expires = NOW + 10**9 + 100
        key = sign_child(
            key, token_id=ID, stream_name="cam", expires_at=expires, jti=f"j{number}", issued_at=NOW + issued
        )
        texts.append(key)
    hit = which % levels
    names = {"jti": f"jti:j{hit}", "text": _children().name_of(texts[hit]), "all": ""}
    for number, text in enumerate(texts):
        token, state = _token(text, _record(_parent_terms({}, NOW + 10**9)), {names[by]: NOW + since})
        revoked = issued <= since if by == "all" else number >= hit
        assert state is (TokenState.REVOKED if revoked else TokenState.ACTIVE)
        access = Access(Action.SUBSCRIBE, StreamId(ACCOUNT, "cam"), Protocol.WEBRTC, "192.0.2.1", None, "", "")
        stands = Standing(state, OPEN, True, (), 1)
        assert not (revoked and decide(token, access, stands, NOW + later).allowed)
    # A parent that is revoked, however it is again.
    token, state = _token(texts[-1], _record(_parent_terms({}, NOW + 10**9), revoked_at=NOW))
    assert state is TokenState.REVOKED


def test_both_sides_know_the_same_rules() -> None:
    """What `stagedoor.sign` writes is what the server reads, name by name."""
    fixed = {"tokenId", "tokenType", "streamName", "parent"}
    assert set(RESTRICTIONS) | fixed == set(signed._KNOWN)
    assert set(RULES) == set(RESTRICTIONS)


@given(
    said=restrictions(),
    algorithm=st.sampled_from(["HS256", "HS384", "HS512"]),
    jti=st.one_of(st.none(), st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=128)),
    times=st.tuples(st.integers(0, 100), st.integers(0, 100), st.integers(101, 300)),
)
def test_what_is_signed_is_understood_and_verified(
    said: dict[str, Any], algorithm: str, jti: str | None, times: tuple[int, int, int]
) -> None:
    """All of it, at every level; with another key it is not."""
    issued_at, not_before, expires_at = times
    try:
        text = sign_child(
            PARENT,
            token_id=ID,
            stream_name="cam",
            expires_at=expires_at,
            issued_at=issued_at,
            not_before=not_before,
            jti=jti,
            algorithm=algorithm,
            **said,
        )
        below = sign_child(text, stream_name="cam", expires_at=expires_at, jti=jti, algorithm=algorithm, **said)
    except ValueError as error:
        assert "has no room" in str(error)  # noqa: PT017  a token that says this much is made rarely
        assert {"hls", "rtsp"} & set(said["allowedProtocols"])
        return
    for each, levels in ((text, 1), (below, 2)):
        parsed = parse_signed(each)
        assert parsed is not None
        assert len(parsed.levels) == levels
        assert [found.reveal() for found in verify_child(parsed, Secret(PARENT))] == [text, below][:levels]
        assert verify_child(parsed, Secret(PARENT[::-1])) == ()
        token, state = _token(each, _record(TokenTerms(label="p", streams=(StreamPattern("cam"),))))
        assert token is not None
        assert state is TokenState.ACTIVE
        assert not parsed.levels[-1].terms.not_understood
        assert parsed.levels[-1].terms.expires_at == expires_at


_pieces = st.one_of(
    st.text("AQgw-_=. ey", max_size=12),
    st.sampled_from(["eyJhbGciOiJIUzI1NiJ9", "e30", "bnVsbA", "W10"]),
)


@given(st.one_of(st.text(), st.binary().map(lambda data: data.decode("latin-1")), st.lists(_pieces).map(".".join)))
def test_no_text_raises(text: str) -> None:
    """Whatever is shown is read, or is none."""
    parsed = parse_signed(text)
    assert parsed is None or text == _written(parsed)


def _written(parsed: signed.Unverified) -> str:
    """Write a token anew from what was read."""
    signature = base64.urlsafe_b64encode(parsed.signature).rstrip(b"=").decode()
    return f"{parsed.levels[-1].signed.decode()}.{signature}"


@given(
    said=restrictions(),
    place=st.integers(0, 10_000),
    letter=st.characters(codec="utf-8"),
    how=st.sampled_from(["put", "replace", "cut", "remove"]),
)
def test_a_text_that_was_altered_is_none_or_is_not_verified(
    said: dict[str, Any], place: int, letter: str, how: str
) -> None:
    """No two texts are one token: each letter counts, also in what decodes to the same bytes."""
    text = sign_child(PARENT, token_id=ID, stream_name="cam", expires_at=NOW, jti="x", **said)
    at = place % len(text)
    rest = {"put": text[at:], "replace": text[at + 1 :], "cut": "", "remove": text[at + 1 :]}[how]
    altered = text[:at] + (letter if how in {"put", "replace"} else "") + rest
    parsed = parse_signed(altered)
    if parsed is not None and altered != text:
        assert _written(parsed) == altered
        assert verify_child(parsed, Secret(PARENT)) == ()
