"""Questions to the policy, drawn so that much meets: as plain values for its reference, and built for the real one."""

import ipaddress
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from stagedoor.edge.millicast import schemas
from stagedoor.edge.millicast.tokens import terms_of
from stagedoor.edge.parse import parse_body
from stagedoor.model.access import Access, Action, Protocol
from stagedoor.model.account import AccountPolicy
from stagedoor.model.addresses import parse_network
from stagedoor.model.caveats import Countries
from stagedoor.model.decision import Decision, Standing
from stagedoor.model.ids import AccountId, EngineId, StreamId, TokenId
from stagedoor.model.session import OpenSession, SessionStart, TokenUse, usage_of
from stagedoor.model.token import TokenKind, TokenRecord, TokenState, VerifiedToken
from stagedoor.policy import decide
from stagedoor.service.authorize import counted_per
from stagedoor.service.ports import Facts, TokenFacts
from stagedoor.service.standing import publishers_of, standing, token_facts
from stagedoor.service.terms import check_terms
from tests.reference import Open, Question, Token, Used

_T = TypeVar("_T")
Draw = Callable[[st.SearchStrategy[Any]], Any]
_PLACES = [st.integers(0, max(most - 1, 0)) for most in range(50)]
_BOOLEANS = st.booleans()

STREAMS = ("show", "Show", "show/1", "cam-1")
PATTERNS = (("show", False), ("Show", False), ("show/1", False), ("sho.", True), ("show(/[0-9])?", True), (".*", True))
ADDRESSES = (
    "192.0.2.1",
    "::ffff:192.0.2.1",
    "192.0.2.9",
    "192.0.3.1",
    "2001:db8::1",
    "2001:db8::ffff",
    "2001:db8:1::1",
)
UNREADABLE = ("", "nowhere", "192.0.2.01", "0xc0.0.2.1", "3221225985", "2001:db8::1%eth0", "::ffff:192.0.2.1%1")
NETWORKS = (
    *("192.0.2.1", "192.0.2.0/24", "::ffff:192.0.2.0/120", "::ffff:192.0.2.9", "192.0.0.0/8", "0.0.0.0/0"),
    *("2001:db8::1", "2001:db8::/48", "::/0", "::/96", "::/80", "::ffff:0:0/96"),
)
ORIGINS = (
    *(
        None,
        None,
        "",
        "null",
        "https://example.com",
        "http://example.com",
        "https://EXAMPLE.com",
        "https://example.com:443",
    ),
    *("https://example.com:8443", "http://example.com:443", "https://a.example.com", "https://a.b.example.com:8443"),
    *("https://notexample.com", "https://example.com.evil.org", "https://example.com@evil.org", "https://evil.org"),
    *(
        "https://evil.org/example.com",
        "https://evil.org?.example.com",
        "https://evil.org\\.example.com",
        "app://example.com",
    ),
    *(
        "https://exa\tmple.com",
        "https://\u0435xample.com",
        "https://example.com ",
        "https://[2001:db8::1]",
        "localhost",
    ),
)
ORIGIN_PATTERNS = (
    *("example.com", "*.example.com", "https://example.com", "http://example.com", "https://example.com:8443"),
    *("example.com:443", "example.com:8443", "https://*.example.com", "*.example.com:8443", "EXAMPLE.COM", "*.com"),
    *("https://[2001:db8::1]", "app://example.com", "a.example.com", "xample.com"),
)
COUNTRIES = ("PL", "DE", "US")
AGENTS = ("", "OBS/30.1", "obs/30.1", "Lavf/60", "curl/8.5", "a*b", "x\ny", "[OBS]", "\u00c9cran/1", "a", "ab")
AGENT_PATTERNS = (
    "*",
    "OBS/*",
    "obs*1",
    "*/60",
    "curl/8.?",
    "[OBS]",
    "a**b",
    "*a*",
    "x*y",
    "Lavf/60*",
    "\u00e9cran*",
    "*1*1",
    "a*a",
    "ab*b",
)
REFERRERS = ("", "https://example.com/live", "HTTPS://EXAMPLE.COM/live?x=1", "https://evil.org/?https://example.com/")
REFERRER_PATTERNS = ("https://example.com/*", "*example.com*", "https://*.com/live")
ZONES = ("UTC", "Europe/Warsaw", "America/New_York", "Asia/Kolkata")
SPANS = ((-60, 60), (0, 60), (0, 1), (-1, 0), (1, 60), (60, 1), (60, 0), (720, 1), (60, -60), (-1, -2), (60, 720))
"""From and to, in minutes after now: some are over midnight."""

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MOMENTS = tuple(
    int(datetime.fromisoformat(f"{text}Z").timestamp())
    for text in (
        "2026-01-01T00:00",
        "2026-01-04T23:00",
        "2026-01-05T05:00",
        "2026-03-29T01:00",
        "2026-03-28T23:30",
        "2026-06-07T12:30",
        "2026-10-25T00:00",
        "2026-10-25T01:00",
        "2026-11-01T06:00",
    )
)
"""Midnights here and there, ends of weeks, and clocks that are put forward and back."""

around = st.sampled_from([-1, 0, 1])
rarely = st.sampled_from([True, False, False, False])
usually = st.sampled_from([True, True, True, True, False])
near = st.sampled_from([-1, 0, 1, -1, 0, 1, -4000, 4000])


def _pick(draw: Draw, options: Sequence[_T]) -> _T:
    """Draw one of the options. What `sampled_from` does, without a new strategy each time."""
    return options[draw(_PLACES[len(options)])]


@lru_cache
def _some(texts: tuple[_T, ...], most: int = 3) -> st.SearchStrategy[list[_T]]:
    return st.lists(st.sampled_from(texts), min_size=1, max_size=most, unique=True)


def _written(draw: Draw, at: int) -> str:
    """Write an instant as the API takes it, in one of several zones."""
    zone = _pick(draw, [UTC, timezone(timedelta(hours=2)), timezone(timedelta(hours=-9, minutes=-30)), None])
    when = datetime.fromtimestamp(at, zone or UTC)
    return (when if zone else when.replace(tzinfo=None)).isoformat().replace("+00:00", "Z")


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


def _window(draw: Draw, local: datetime) -> dict[str, Any]:
    minute = local.hour * 60 + local.minute
    start, end = ((minute + step) % 1440 for step in _pick(draw, SPANS))
    # A window that ends where it starts, or at 00:00, is not taken at creation; 24:00 says the same as the latter.
    if end in (start, 0):
        end = 1440 if start else 1
    today = local.weekday()
    days = [DAYS[(today + step) % 7] for step in draw(_some((-1, 0, 1, 3)))]
    return {"days": days, "from": _clock(start), "to": _clock(end)}


def _times(draw: Draw, now: float, made_at: int) -> dict[str, Any]:
    at = math.floor(now)
    body: dict[str, Any] = {}
    kind = _pick(draw, ["from", "until", "until", "window"])
    start, end = at + draw(near), at + draw(near)
    if kind == "window":
        start, end = min(start, end), max(start, end) + 1
    if kind != "until":
        body["notBefore"] = _written(draw, start)
    if kind != "from":
        spelled = draw(_BOOLEANS) or end <= made_at
        body |= {"expiresOn": _written(draw, end)} if spelled else {"expires": end - made_at}
    return body


def _countries(draw: Draw) -> dict[str, Any]:
    name = _pick(draw, ["allowedCountries", "deniedCountries"])
    return {name: draw(_some(COUNTRIES, 2))}


def _sessions(draw: Draw, now: float) -> list[Open]:
    at = math.floor(now)
    found: list[Open] = []
    for _ in range(draw(_PLACES[5])):
        of_token = _pick(draw, [True, True, False])
        own = of_token and not any(session.own for session in found) and draw(rarely)
        end_at = _pick(draw, [None, None, None, at - 1, at, at + 1, at + 60])
        since = at - _pick(draw, [0, 1, 5, 60])
        found.append(Open(since=since, end_at=end_at, bytes=draw(_PLACES[6]), own=own, of_token=of_token))
    return found


def _bind(draw: Draw, rebinds: tuple[float, ...]) -> tuple[dict[str, Any], list[str]]:
    """Return what binds, and the networks that are bound already."""
    body: dict[str, Any] = {"bindIpsOnUsage": (1 + draw(_PLACES[3]))}
    bits = {4: 32, 6: 128}
    if draw(_BOOLEANS):
        bits = {4: _pick(draw, [8, 23, 24, 32]), 6: _pick(draw, [16, 48, 64, 128])}
        most = max(0, len(rebinds) + draw(around))
        body["bindTolerance"] = {"ipv4Prefix": bits[4], "ipv6Prefix": bits[6], "rebindsPerHour": most}
    bound = [ipaddress.ip_address(text) for text in draw(_some(ADDRESSES, 4)) if not text.startswith("::ffff:")]
    cut = (str(ipaddress.ip_network((address, bits[address.version]), strict=False)) for address in bound)
    return body, list(dict.fromkeys(cut))


def _budgets(draw: Draw, used: Used, now: float) -> dict[str, int]:
    mine = [session for session in used.open if session.of_token]
    own = [session.since for session in mine if session.own]
    spent = {
        "starts": used.starts,
        "sessionSeconds": math.floor(now) - own[0] if own else 5,
        "watchSeconds": used.watched + sum(math.floor(now) - session.since for session in mine),
        "bytes": used.bytes + sum(session.bytes for session in mine),
    }
    names = draw(_some(tuple(spent), 2))
    return {name: max(1, int(spent[name]) + _pick(draw, [-1, 0, 1, 50])) for name in names}


LISTS = {
    "protocols": ("allowedProtocols", tuple(protocol.value for protocol in Protocol)),
    "origins": ("allowedOrigins", ORIGIN_PATTERNS),
    "addresses": ("allowedIpAddresses", NETWORKS),
    "agents": ("allowedUserAgents", AGENT_PATTERNS),
    "referrers": ("allowedReferrers", REFERRER_PATTERNS),
}


def condition(draw: Draw, name: str, question: Question, made_at: int) -> dict[str, Any]:
    """Return what a token's body says about one rule."""
    used, now = question.used, question.now
    body: dict[str, Any]
    match name:
        case "times":
            body = _times(draw, now, made_at)
        case "countries":
            body = _countries(draw)
        case "hours":
            zone = _pick(draw, ZONES)
            local = datetime.fromtimestamp(now, ZoneInfo(zone))
            windows = [_window(draw, local) for _ in range(1 + draw(_PLACES[2]))]
            body = {"hours": {"timeZone": zone, "windows": windows}}
        case "sessionLimit":
            over = _pick(draw, ["refuse", "end_oldest", "grace", "grace"])
            per = _pick(draw, ["token", "subject"])
            counted = [session for session in used.open if session.of_token or per == "subject"]
            staying = sum(session.end_at is None for session in counted)
            most = max(1, _pick(draw, [staying, len(counted) - staying]) + draw(around))
            limit = {"most": most, "per": per, "over": over}
            body = {"sessionLimit": limit | ({"graceSeconds": 10} if over == "grace" else {}), "subject": "someone"}
        case "singleUse":
            body = {"singleUse": _pick(draw, [{}, {"graceSeconds": 10}, {"graceSeconds": 10}])}
        case "budgets":
            body = {"budgets": _budgets(draw, used, now)}
        case _:
            field, pool = LISTS[name]
            body = {field: draw(_some(pool))}
    return body


RULES = (
    *("times", "protocols", "origins", "addresses", "countries", "agents", "referrers", "hours", "bind"),
    *("sessionLimit", "singleUse", "budgets"),
)


def _streams(draw: Draw, name: str) -> list[dict[str, Any]]:
    """Return streams that are more often than not the one asked for."""
    chosen = _pick(draw, [[(name, False)], [(name, False)], [(".*", True)], None])
    patterns = chosen or draw(_some(PATTERNS))
    return [{"streamName": text, "isRegex": regex} if regex else {"streamName": text} for text, regex in patterns]


def _publisher(draw: Draw, question: Question) -> Token:
    made_at = math.floor(question.now) - 10
    body: dict[str, Any] = {"streams": _streams(draw, question.stream)}
    if draw(_BOOLEANS):
        body |= _times(draw, question.now, made_at)
    if _pick(draw, [True, True, True, False]):
        body["subscribeRequiresAuth"] = True
    if draw(_BOOLEANS):
        body |= _countries(draw)
        body |= _pick(draw, [{}, {"geoAppliesTo": ["publish"]}, {"geoAppliesTo": ["subscribe"]}])
    if _pick(draw, [True, False, False]):
        body["shadowUntil"] = _written(draw, math.floor(question.now) + draw(near))
    state = _pick(draw, ["active", "active", "disabled"])
    live = _pick(draw, [True, False, False])
    return Token(kind="publish", body=body, made_at=made_at, state=state, live=live)


def _shown(draw: Draw, question: Question, names: list[str], state: tuple[str, str, str]) -> tuple[Token, Used]:
    """Return a token whose conditions are about the question's own instants, addresses and use; and that use, completed."""
    at, used = math.floor(question.now), question.used
    made_at = at - _pick(draw, [10, 11, 9, 100])
    body: dict[str, Any] = {"streams": _streams(draw, question.stream)}
    for name in names:
        if name == "bind" and "allowedIpAddresses" not in body:
            more, bound = _bind(draw, tuple(used.rebinds))
            body, used = body | more, replace(used, bound=bound)
        elif name != "bind" and not (name == "addresses" and "bindIpsOnUsage" in body):
            body |= condition(draw, name, question, made_at)
    kind, standing_, account = state
    if kind == "publish":
        body |= _pick(draw, [{}, {}, {"geoAppliesTo": ["publish"]}, {"geoAppliesTo": ["subscribe"]}])
    for name in ("endSessionsAtExpiry", "allowWithoutOrigin"):
        if draw(rarely):
            body[name] = True
    if draw(rarely):
        body["shadowUntil"] = _written(draw, at + draw(near))
    last_ip = _pick(draw, [question.ip, question.ip, *ADDRESSES]) if used.starts else ""
    return Token(kind=kind, body=body, made_at=made_at, account=account, state=standing_), replace(
        used, last_ip=last_ip
    )


def _account(draw: Draw, now: float) -> dict[str, Any]:
    body: dict[str, Any] = {}
    if _pick(draw, [True] + [False] * 20):
        body["closed"] = True
    if _pick(draw, [True, False, False]):
        body |= _countries(draw)
        body |= _pick(draw, [{}, {"geoAppliesTo": ["publish"]}, {"geoAppliesTo": ["subscribe"]}])
    if _pick(draw, [True, False, False]):
        body["longestLifetime"] = _pick(draw, [9, 10, 11, 1000])
    if _pick(draw, [True, False, False, False]):
        body["shadowUntil"] = math.floor(now) + draw(near)
    return body


def _used(draw: Draw, now: float) -> Used:
    sessions = _sessions(draw, now)
    mine = sum(session.of_token for session in sessions)
    starts = mine + draw(_PLACES[3])
    at = math.floor(now)
    return Used(
        rebinds=[at - 3600 + _pick(draw, [-1, 0, 1, 3000]) for _ in range(draw(_PLACES[4]))],
        starts=starts,
        watched=_pick(draw, [0.0, 5.0, 60.5]) if starts else 0.0,
        bytes=draw(_PLACES[6]),
        last_ended=at - 10 + draw(around) if starts > mine else None,
        open=sessions,
    )


def _asked(draw: Draw) -> Question:
    """Draw a question without a token, about a stream that nobody covers, in an account that sets nothing."""
    now: float = _pick(draw, MOMENTS) + _pick(draw, [0, 0, -1, 1, -0.001, 0.5, -60, 60])
    told = draw(usually)
    return Question(
        shown="missing",
        action=_pick(draw, ["publish", "subscribe", "subscribe"]),
        now=now,
        stream=_pick(draw, STREAMS),
        protocol=_pick(draw, [protocol.value for protocol in Protocol]),
        ip=_pick(draw, [*ADDRESSES, *ADDRESSES, *ADDRESSES, *UNREADABLE]),
        origin=_pick(draw, ORIGINS),
        agent=_pick(draw, AGENTS),
        referrer=_pick(draw, REFERRERS),
        country=_pick(draw, ["", *COUNTRIES]),
        trusted=draw(usually),
        sessions_told=told,
        bytes_told=told and draw(usually),
        told_running=draw(rarely),
        used=_used(draw, now),
    )


_SECURED = {"streams": [{"streamName": ".*", "isRegex": True}], "subscribeRequiresAuth": True}
_rules = st.lists(st.sampled_from(RULES), max_size=4, unique=True)


@st.composite
def questions(draw: Draw) -> Question:
    """Draw a question in which much meets: the same few names, addresses, origins, and instants at each other's edges."""
    question = _asked(draw)
    publishers = [_publisher(draw, question) for _ in range(draw(_PLACES[4]))]
    question = replace(question, account=_account(draw, question.now), publishers=publishers)
    if draw(_PLACES[10]) == 9:
        return replace(question, shown=_pick(draw, ["missing", "malformed", "unknown"]), used=Used())
    kind = _pick(draw, [*[question.action] * 11, "publish", "subscribe"])
    state = _pick(draw, [*["active"] * 12, "disabled", "revoked"])
    account = _pick(draw, [*"a" * 12, "b"])
    names = draw(_rules)
    token, used = _shown(draw, question, names, (kind, state, account))
    return replace(question, shown=token, used=used)


def _asked_again(draw: Draw, question: Question) -> Question:
    """Have nobody there and the last session ended about a grace ago, every other time, or have it run unknown to us."""
    used, at = question.used, math.floor(question.now)
    if draw(_BOOLEANS):
        used = replace(used, open=[], last_ended=at - 10 + draw(around) if used.starts else None)
    return replace(question, used=used, told_running=draw(_BOOLEANS), ip=_pick(draw, ADDRESSES))


@st.composite
def questions_about(draw: Draw, rule: str) -> Question:
    """Draw a question that one rule decides, and sometimes a second one: all else is as it should be."""
    question = _asked(draw)
    if rule == "singleUse":
        question = _asked_again(draw, question)
    publisher = Token(
        kind="publish",
        body={"streams": [{"streamName": question.stream}], "subscribeRequiresAuth": True},
        made_at=0,
        live=draw(_BOOLEANS) or rule != "singleUse",
    )
    second = [_pick(draw, [name for name in RULES if name != rule])] if draw(rarely) else []
    token, used = _shown(draw, question, [rule, *second], (question.action, "active", "a"))
    token = replace(token, body={**token.body, "streams": [{"streamName": question.stream}]})
    account = {"longestLifetime": _pick(draw, [9, 10, 11, 1000])} if draw(_PLACES[8]) == 7 else {}
    return replace(question, shown=token, used=used, publishers=[publisher], account=account)


@st.composite
def questions_of_credentials(draw: Draw) -> Question:
    """Draw a question whose token is not quite the right one, more often than not while conditions are tried out."""
    question = replace(_asked(draw), publishers=[Token(kind="publish", body=_SECURED, made_at=0, live=True)])
    state = (
        _pick(draw, [question.action, question.action, "publish", "subscribe"]),
        _pick(draw, ["active", "active", "disabled", "revoked"]),
        _pick(draw, "aaab"),
    )
    token, used = _shown(draw, question, [], state)
    if draw(rarely):
        token = replace(token, body={**token.body, "streams": [{"streamName": "another"}]})
    account: dict[str, Any] = {"shadowUntil": math.floor(question.now) + draw(near)}
    if draw(rarely):
        account["closed"] = True
    if draw(rarely):
        account["longestLifetime"] = _pick(draw, [9, 10, 11])
    options: list[Token | str] = [token, token, token, "missing", "malformed", "unknown"]
    shown = _pick(draw, options)
    return replace(question, shown=shown, used=used if shown is token else Used(), account=account)


@st.composite
def questions_of_viewers(draw: Draw) -> Question:
    """Draw a question whose answer hangs on the stream's publish tokens, and on whose countries count."""
    question = replace(_asked(draw), action=_pick(draw, ["subscribe", "subscribe", "subscribe", "publish"]))
    publishers = [_publisher(draw, question) for _ in range(1 + draw(_PLACES[3]))]
    account = _countries(draw) if draw(_BOOLEANS) else {}
    question = replace(question, publishers=publishers, account=account)
    if draw(_BOOLEANS):
        return replace(question, used=Used())
    names = ["countries"] if draw(usually) else []
    token, used = _shown(draw, question, names, (question.action, "active", "a"))
    return replace(question, shown=token, used=used)


def _record(token: Token, number: int) -> TokenRecord:
    """Make a token's record from its body, the way the API does."""
    kind = TokenKind(token.kind)
    schema = schemas.CreatePublishToken if kind is TokenKind.PUBLISH else schemas.CreateSubscribeToken
    parsed: schemas.CreateToken = parse_body(json.dumps({"label": "x", **token.body}).encode(), schema)
    terms = terms_of(parsed, token.made_at)
    check_terms(terms, kind)
    return TokenRecord(
        id=TokenId(number),
        account=AccountId(token.account),
        kind=kind,
        terms=replace(terms, active=token.state != "disabled"),
        digest=b"",
        sealed=b"",
        added_on=token.made_at,
        revoked_at=token.made_at if token.state == "revoked" else None,
    )


def _policy(body: Mapping[str, Any]) -> AccountPolicy:
    lists = tuple(body.get("allowedCountries", ())), tuple(body.get("deniedCountries", ()))
    applies_to = tuple(Action(action) for action in body.get("geoAppliesTo", ("publish", "subscribe")))
    return AccountPolicy(
        enabled=not body.get("closed", False),
        countries=Countries(*lists, applies_to) if any(lists) else None,
        longest_lifetime_seconds=body.get("longestLifetime"),
        shadow_until=body.get("shadowUntil", 0),
    )


def _use(question: Question, token: VerifiedToken) -> tuple[TokenUse, list[OpenSession], SessionStart]:
    used = question.used
    asked = SessionStart(
        AccountId(question.owner),
        token.id,
        token.subject,
        EngineId("e"),
        "asked",
        question.stream,
        Action(question.action),
        Protocol(question.protocol),
        question.ip,
        question.now,
    )
    use = TokenUse(
        starts=used.starts,
        watched_seconds=used.watched,
        bytes=used.bytes,
        last_ip=used.last_ip,
        last_at=used.last_ended,
        rebinds=tuple(used.rebinds),
        bound={parse_network(text): float(at) for at, text in enumerate(used.bound)},
    )
    kept = [
        OpenSession(
            id=number,
            start=asked._replace(
                token_id=token.id if session.of_token else TokenId(999),
                session="asked" if session.own else f"s{number}",
                at=session.since,
            ),
            seen_at=session.since + 0.5,
            end_at=session.end_at,
            bytes=session.bytes,
        )
        for number, session in enumerate(used.open)
    ]
    return use, kept, asked


def build(question: Question) -> tuple[VerifiedToken | None, Access, Standing]:
    """Put the question to the real policy: through the API's bodies, records, facts and standing."""
    access = Access(
        Action(question.action),
        StreamId(AccountId(question.owner), question.stream),
        Protocol(question.protocol),
        question.ip,
        question.origin,
        question.agent,
        question.referrer,
    )
    records = [(_record(token, 2 + number), token.live) for number, token in enumerate(question.publishers)]
    shown = None if isinstance(question.shown, str) else _record(question.shown, 1)
    read = Facts(
        shown,
        AccountId(question.owner),
        tuple(record for record, _ in records),
        1,
        tuple(record for record, live in records if live),
    )
    facts = token_facts(read)
    if isinstance(question.shown, str):
        states = {"missing": TokenState.ABSENT, "malformed": TokenState.MALFORMED, "unknown": TokenState.UNKNOWN}
        facts = TokenFacts(None, states[question.shown])
    stands = standing(
        facts,
        publishers_of(read, question.stream),
        account=_policy(question.account),
        revision=1,
        now=question.now,
        address_trusted=question.trusted,
    )._replace(
        country=question.country,
        running=question.running,
        sessions_told=question.sessions_told,
        bytes_told=question.bytes_told,
    )
    token = facts.token
    if token is not None:
        use, kept, asked = _use(question, token)
        usage, _ = usage_of(use, kept, asked, counted_per(token))
        stands = stands._replace(usage=usage)
    return token, access, stands


def real(question: Question) -> tuple[str, str | None]:
    """Return what the real policy answers."""
    decision: Decision = decide(*build(question), question.now)
    return decision.reason.value, None if decision.shadowed is None else decision.shadowed.value
