"""The policy once more, slow and plain, from its description and not from its code: what tests compare the real one with.

Nothing of the product's is imported. A token is its API body, the world is plain values; instants are seconds since the epoch.
"""

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

Body = Mapping[str, Any]
Answer = tuple[str, str | None]
"""The reason, and the one for which it would have been refused, were it not tried out."""

_ENCODERS = ("rtmp", "rtsp", "srt")
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_BOTH = ("publish", "subscribe")
_HOUR = 3600
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, kw_only=True)
class Token:
    """A token by its body. `state`: active, disabled or revoked; `live`: the stream is being published with it."""

    kind: str
    body: Body
    made_at: int
    account: str = "a"
    state: str = "active"
    live: bool = False


@dataclass(frozen=True, kw_only=True)
class Open:
    """A session that is open: of this token or of another one of its subject, and whether it is the one that asks."""

    since: float
    end_at: float | None = None
    bytes: int = 0
    own: bool = False
    of_token: bool = True


@dataclass(frozen=True, kw_only=True)
class Used:
    """A token's use so far. `bound` are networks, oldest first; `last_ip`, `last_ended` are of its sessions."""

    bound: Sequence[str] = ()
    rebinds: Sequence[float] = ()
    starts: int = 0
    watched: float = 0.0
    bytes: int = 0
    last_ip: str = ""
    last_ended: float | None = None
    open: Sequence[Open] = ()


@dataclass(frozen=True, kw_only=True)
class Question:
    """Everything that an answer depends on. `shown`: a token, or missing, malformed or unknown.

    `account` says `closed`, `allowedCountries`, `deniedCountries`, `geoAppliesTo`, `longestLifetime` and `shadowUntil`.
    """

    shown: Token | str
    action: str
    now: float
    stream: str = "show"
    owner: str = "a"
    protocol: str = "webrtc"
    ip: str = "192.0.2.1"
    origin: str | None = None
    agent: str = ""
    referrer: str = ""
    country: str = ""
    trusted: bool = True
    sessions_told: bool = True
    bytes_told: bool = True
    told_running: bool = False
    account: Body = field(default_factory=dict)
    publishers: Sequence[Token] = ()
    used: Used = Used()

    @property
    def own(self) -> Open | None:
        """The session that asks, where it is known."""
        return next((session for session in self.used.open if session.own), None)

    @property
    def running(self) -> bool:
        """Whether this is a session that was let in before."""
        return self.told_running or self.own is not None


def answer(question: Question) -> Answer:
    """Judge rule by rule; the first refusal that is not tried out is the answer."""
    shadowed: str | None = None
    for reason, tried_until in _refusals(question):
        if reason == "ok_open_stream":
            return (reason, None) if shadowed is None else ("ok_shadow", shadowed)
        if tried_until is None or question.now >= tried_until:
            return reason, None
        shadowed = shadowed or reason
    return ("ok", None) if shadowed is None else ("ok_shadow", shadowed)


def _refusals(question: Question) -> Iterator[tuple[str, float | None]]:
    """Yield what refuses or opens, in order, and until when it is only tried out (None: it is no condition)."""
    account_trial = question.account.get("shadowUntil", 0)
    if question.account.get("closed"):
        yield "account_disabled", None
    watching = question.action == "subscribe"
    shown = question.shown
    for reason, until in _countries_of_others(question):
        yield reason, max(until, account_trial)
    if watching and not secured(question):
        yield "ok_open_stream", None
    if isinstance(shown, str):
        yield f"token_{shown}", None
        return
    credential = {
        f"token_{shown.state}": shown.state == "active",
        "account_mismatch": shown.account == question.owner,
        "action_not_granted": shown.kind == question.action,
        "stream_not_granted": covers(shown, question.stream),
    }
    yield from ((reason, None) for reason, good in credential.items() if not good)
    lifetime = _lifetime(question, shown)
    if lifetime is not None:
        yield lifetime, account_trial
    until = max(_instant(shown.body.get("shadowUntil"), 0), account_trial)
    for rule in _RULES:
        refusal = rule(question, shown)
        if refusal is not None:
            yield refusal, until


def covers(token: Token, name: str) -> bool:
    """Tell whether one of the token's streams is `name`: the very text, or an expression for all of it."""
    return any(
        re.fullmatch(stream["streamName"], name) is not None if stream.get("isRegex") else stream["streamName"] == name
        for stream in token.body["streams"]
    )


def secured(question: Question) -> bool:
    """Tell whether watching needs a token: one deciding publish token that says so is enough, and so is there being none."""
    deciding = _deciding(question)
    return not deciding or any(token.body.get("subscribeRequiresAuth", False) for token in deciding)


def _deciding(question: Question) -> list[Token]:
    """Return the live ones; else those active and in their window; else all."""
    known = [token for token in question.publishers if token.live or covers(token, question.stream)]
    live = [token for token in known if token.live]
    good = [
        token for token in known if token.state == "active" and _begun(question, token) and not _over(question, token)
    ]
    return live or good or known


def _countries_of_others(question: Question) -> Iterator[tuple[str, float]]:
    """Yield the refusals of the lists that are not the token's own, and until when each list is tried out."""
    shown, watching = question.shown, question.action == "subscribe"
    if isinstance(shown, Token) and _own_lists(shown) and not (watching and not secured(question)):
        return
    lists = [(token.body, _instant(token.body.get("shadowUntil"), 0)) for token in _deciding(question) if watching]
    lists = [(body, until) for body, until in lists if _says_countries(body, "subscribe")]
    if not lists and _says_countries(question.account, question.action):
        lists = [(question.account, 0)]
    # All of them hold, so those in earnest come first.
    for body, until in sorted(lists, key=lambda pair: pair[1]):
        reason = _country(question, body)
        if reason is not None:
            yield reason, until


def _own_lists(token: Token) -> bool:
    return _says_countries(token.body, token.kind)


def _says_countries(body: Body, action: str) -> bool:
    return bool(body.get("allowedCountries") or body.get("deniedCountries")) and action in body.get(
        "geoAppliesTo", _BOTH
    )


def _country(question: Question, body: Body) -> str | None:
    if not question.trusted:
        return "address_not_trusted"
    allowed, denied = body.get("allowedCountries"), body.get("deniedCountries")
    if not question.country:
        return "country_unknown" if allowed else None
    good = question.country in allowed if allowed else question.country not in (denied or ())
    return None if good else "country_not_allowed"


def _instant(text: str | None, otherwise: float) -> float:
    if text is None:
        return otherwise
    when = datetime.fromisoformat(text)
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()


def _begun(question: Question, token: Token) -> bool:
    return _instant(token.body.get("notBefore"), 0) <= question.now


def _over(question: Question, token: Token) -> bool:
    never = float("inf")
    end = (
        token.made_at + token.body["expires"]
        if "expires" in token.body
        else _instant(token.body.get("expiresOn"), never)
    )
    return question.now >= end


def _stops(question: Question, token: Token, *, out_of_time: bool, reason: str) -> str | None:
    """Judge a rule about time: it stops what starts, and what runs only where the token says so and the engine tells of it."""
    ending = token.body.get("endSessionsAtExpiry", False)
    if ending and not question.sessions_told:
        return "usage_unknown"
    return reason if out_of_time and (ending or not question.running) else None


def _lifetime(question: Question, token: Token) -> str | None:
    longest = question.account.get("longestLifetime")
    if longest is None:
        return None
    return _stops(question, token, out_of_time=question.now >= token.made_at + longest, reason="token_expired")


def _not_before(question: Question, token: Token) -> str | None:
    return None if _begun(question, token) else "token_not_yet_valid"


def _expiry(question: Question, token: Token) -> str | None:
    if "expires" not in token.body and "expiresOn" not in token.body:
        return None
    return _stops(question, token, out_of_time=_over(question, token), reason="token_expired")


def _protocols(question: Question, token: Token) -> str | None:
    allowed = token.body.get("allowedProtocols")
    return "protocol_not_allowed" if allowed and question.protocol not in allowed else None


def _origins(question: Question, token: Token) -> str | None:
    allowed = token.body.get("allowedOrigins")
    if not allowed:
        return None
    if question.origin is None:
        encoder = question.protocol in _ENCODERS and token.body.get("allowWithoutOrigin", False)
        return None if encoder else "origin_missing"
    origin = _origin(question.origin)
    good = origin is not None and any(_is_of(origin, pattern) for pattern in allowed)
    return None if good else "origin_not_allowed"


def _origin(text: str) -> tuple[str, str, int | None] | None:
    """Take apart what has exactly the form scheme://host[:port], and nothing that programs read in two ways."""
    text = text.lower()
    if not re.fullmatch(r"[a-z0-9+.-]+://[a-z0-9_.:\[\]-]+", text):
        return None
    parts = urlsplit(text)
    try:
        return parts.scheme, parts.hostname or "", parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return None


def _is_of(origin: tuple[str, str, int | None], pattern: str) -> bool:
    scheme, host, port = origin
    before, slashes, rest = pattern.lower().rpartition("://")
    written = urlsplit(f"//{rest.removeprefix('*.')}")
    named = written.hostname or ""
    if not (host.endswith("." + named) if rest.startswith("*.") else host == named):
        return False
    if not slashes:
        return written.port is None or written.port == port
    return scheme == before and port == (written.port or _PORTS.get(before))


def _read(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    if "%" in text:
        return None
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _in_network(address: ipaddress.IPv4Address | ipaddress.IPv6Address, text: str) -> bool:
    network = ipaddress.ip_network(text)
    first = getattr(network.network_address, "ipv4_mapped", None)
    if first is not None and network.prefixlen >= 96:
        network = ipaddress.ip_network(f"{first}/{network.prefixlen - 96}")
    return address in network


def _addresses(question: Question, token: Token) -> str | None:
    allowed = token.body.get("allowedIpAddresses")
    if not allowed:
        return None
    if not question.trusted:
        return "address_not_trusted"
    address = _read(question.ip)
    if address is None:
        return "address_unknown"
    return None if any(_in_network(address, network) for network in allowed) else "address_not_allowed"


def _own_countries(question: Question, token: Token) -> str | None:
    return _country(question, token.body) if _own_lists(token) else None


def wildcard(pattern: str, text: str) -> bool:
    """Tell whether `text` is `pattern` with something, or nothing, for each star; upper and lower case are the same."""
    first, *others = pattern.lower().split("*")
    rest = text.lower()
    if not others:
        return rest == first
    if not rest.startswith(first):
        return False
    rest = rest[len(first) :]
    return any(wildcard("*".join(others), rest[start:]) for start in range(len(rest) + 1))


def _agents(question: Question, token: Token) -> str | None:
    allowed = token.body.get("allowedUserAgents")
    good = not allowed or any(wildcard(pattern, question.agent) for pattern in allowed)
    return None if good else "user_agent_not_allowed"


def _referrers(question: Question, token: Token) -> str | None:
    allowed = token.body.get("allowedReferrers")
    good = not allowed or any(wildcard(pattern, question.referrer) for pattern in allowed)
    return None if good else "referrer_not_allowed"


def _hours(question: Question, token: Token) -> str | None:
    hours = token.body.get("hours")
    if hours is None:
        return None
    local = datetime.fromtimestamp(question.now, ZoneInfo(hours["timeZone"])).replace(tzinfo=None)
    inside = any(_in_window(window, local) for window in hours["windows"])
    return _stops(question, token, out_of_time=not inside, reason="token_outside_hours")


def _in_window(window: Body, local: datetime) -> bool:
    """Lay the window on the wall's clock, from today's and from yesterday's start, and look."""
    for back in (0, 1):
        midnight = (local - timedelta(days=back)).replace(hour=0, minute=0, second=0, microsecond=0)
        start, end = (midnight + _after_midnight(window[name]) for name in ("from", "to"))
        if end <= start:
            end += timedelta(days=1)
        if _DAYS[midnight.weekday()] in window["days"] and start <= local < end:
            return True
    return False


def _after_midnight(text: str) -> timedelta:
    return timedelta(hours=int(text[:2]), minutes=int(text[3:]))


def _binding(question: Question, token: Token) -> str | None:
    most = token.body.get("bindIpsOnUsage")
    if not most:
        return None
    if not question.trusted:
        return "address_not_trusted"
    address = _read(question.ip)
    if address is None:
        return "address_unknown"
    tolerance = token.body.get("bindTolerance", {})
    bits = tolerance.get("ipv4Prefix", 32) if address.version == 4 else tolerance.get("ipv6Prefix", 128)
    cut = str(ipaddress.ip_network((address, bits), strict=False))
    recent = [at for at in question.used.rebinds if question.now - at < _HOUR]
    room = len(question.used.bound) < most or len(recent) < tolerance.get("rebindsPerHour", 0)
    return None if room or cut in question.used.bound[:most] else "address_not_bound"


def _session_limit(question: Question, token: Token) -> str | None:
    limit = token.body.get("sessionLimit")
    if limit is None:
        return None
    if not question.sessions_told:
        return "usage_unknown"
    own, now = question.own, question.now
    if own is not None:
        return None if own.end_at is None or now < own.end_at else "too_many_sessions"
    counted = [session for session in question.used.open if session.of_token or limit.get("per") == "subject"]
    staying = [session for session in counted if session.end_at is None]
    leaving = [session for session in counted if session.end_at is not None and now < session.end_at]
    if question.running:
        # It was taken for gone, and may come back where there is room.
        return None if len(staying) + len(leaving) < limit["most"] else "too_many_sessions"
    free = {
        "refuse": len(staying) + len(leaving) < limit["most"],
        "end_oldest": True,
        "grace": len(staying) < limit["most"] or len(leaving) < limit["most"],
    }
    return None if free[limit.get("over", "refuse")] else "too_many_sessions"


def _single_use(question: Question, token: Token) -> str | None:
    single = token.body.get("singleUse")
    if single is None:
        return None
    if not question.sessions_told:
        return "usage_unknown"
    own, used, now = question.own, question.used, question.now
    if own is not None:
        return None if own.end_at is None or now < own.end_at else "token_used"
    if question.running:
        return None
    if question.action == "subscribe" and not any(token.live for token in question.publishers):
        return "stream_not_live"
    # Without a grace there is no coming back, also not while the first session is open.
    still_open = bool(single.get("graceSeconds", 0)) and any(session.of_token for session in used.open)
    just_ended = used.last_ended is not None and now < used.last_ended + single.get("graceSeconds", 0)
    # An address that may be made up is nobody's.
    same = question.trusted and _read(question.ip) is not None and _read(question.ip) == _read(used.last_ip)
    return None if used.starts == 0 or (same and (still_open or just_ended)) else "token_used"


def _budgets(question: Question, token: Token) -> str | None:
    budgets = token.body.get("budgets", {})
    used, now = question.used, question.now
    mine = [session for session in used.open if session.of_token]
    if "starts" in budgets and not question.running and used.starts >= budgets["starts"]:
        return "starts_spent"
    told = {
        "sessionSeconds": question.sessions_told,
        "watchSeconds": question.sessions_told,
        "bytes": question.bytes_told,
    }
    if not all(told[name] for name in budgets if name in told):
        return "usage_unknown"
    spent = {
        "sessionSeconds": 0.0 if question.own is None else now - question.own.since,
        "watchSeconds": used.watched + sum(max(now - session.since, 0) for session in mine),
        "bytes": used.bytes + sum(session.bytes for session in mine),
    }
    reasons = {"sessionSeconds": "session_too_long", "watchSeconds": "watch_time_spent", "bytes": "bytes_spent"}
    return next((reasons[name] for name in spent if name in budgets and spent[name] >= budgets[name]), None)


_RULES: Sequence[Callable[[Question, Token], str | None]] = (
    _not_before,
    _expiry,
    _protocols,
    _origins,
    _addresses,
    _own_countries,
    _agents,
    _referrers,
    _hours,
    _binding,
    _session_limit,
    _single_use,
    _budgets,
)
"""A token's own conditions, in the order in which they are judged."""
