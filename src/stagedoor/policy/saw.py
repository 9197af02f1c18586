"""What a rule saw, in a few words for a person. Holds no secret; what clients say is cut, so that a table stays one."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final

from stagedoor.model.access import Access
from stagedoor.model.caveats import (
    BoundAddresses,
    Budgets,
    Caveat,
    ClientAddresses,
    Condition,
    Countries,
    ExpiresAt,
    NotBefore,
    Origins,
    Protocols,
    Referrers,
    SessionLimit,
    SingleUse,
    Tried,
    Unjudged,
    UserAgents,
    WithinHours,
)
from stagedoor.model.decision import Standing
from stagedoor.model.token import VerifiedToken
from stagedoor.policy.caveats import watched_seconds
from stagedoor.policy.rules import Rule

_LONGEST: Final = 60


def saw(
    rule: Rule, caveat: Caveat | None, token: VerifiedToken | None, access: Access, standing: Standing, now: float
) -> str:
    """Say what `rule`, and the condition it judged if it did, looked at."""
    if isinstance(caveat, Tried):
        state = "tried out" if now < caveat.until else "tried out no longer"
        return f"{_condition(caveat.condition, access, standing, now)} ({state}: until {_time(caveat.until)})"
    if caveat is not None:
        return _condition(caveat, access, standing, now)
    return _rule(rule, token, access, standing)


def _rule(rule: Rule, token: VerifiedToken | None, access: Access, standing: Standing) -> str:
    match rule:
        case Rule.ACCOUNT_ENABLED:
            text = f"account {access.stream.account or '?'} is {'open' if standing.account.enabled else 'disabled'}"
        case Rule.SECURE_VIEWER:
            text = "watching needs a subscribe token" if standing.secured else "anyone may watch"
        case Rule.TOKEN_SHOWN:
            text = f"token {token.id}" if token is not None else f"token {standing.token}"
        case Rule.TOKEN_STANDS:
            text = f"token is {standing.token}"
        case Rule.SAME_ACCOUNT if token is not None:
            text = f"token of account {token.account}, stream of account {access.stream.account or '?'}"
        case Rule.LIFETIME if token is not None:
            text = f"added at {_time(token.added_on)}, good for {standing.account.longest_lifetime_seconds} s at most"
        case Rule.ACTION_GRANTED if token is not None:
            text = f"{access.action} asked, {' and '.join(sorted(token.grant.actions)) or 'nothing'} granted"
        case Rule.STREAM_GRANTED if token is not None:
            names, patterns = len(token.grant.names), len(token.grant.patterns)
            text = f"stream {access.stream.name} against {names} exact name(s) and {patterns} pattern(s)"
        case Rule.PARENT_ACTION | Rule.PARENT_STREAM if token is not None:
            text = (
                f"{access.action} on {access.stream.name}, asked of each of {len(token.above)} that it was signed with"
            )
        case _:
            text = ""
    return text


def _condition(condition: Condition, access: Access, standing: Standing, now: float) -> str:
    say = _SAYS.get(type(condition))
    if say is None:
        # No type that is known comes here; one that is added and forgotten is refused, and must be told of.
        return f"a condition this version cannot judge ({type(condition).__name__})"
    return say(condition, access, standing, now)


def _not_before(condition: NotBefore, _access: Access, _standing: Standing, now: float) -> str:
    return f"good from {_time(condition.at)} on, asked at {_time(now)}"


def _expires_at(condition: ExpiresAt, _access: Access, standing: Standing, now: float) -> str:
    return f"good before {_time(condition.at)}, asked at {_time(now)}{_goes_on(condition, standing)}"


def _within_hours(condition: WithinHours, _access: Access, standing: Standing, now: float) -> str:
    local = datetime.fromtimestamp(now, condition.zone).strftime("%a %H:%M")
    return f"asked at {local} in {condition.zone}{_goes_on(condition, standing)}"


def _client_addresses(condition: ClientAddresses, access: Access, standing: Standing, _now: float) -> str:
    return f"{_address(access, standing)} against {len(condition.networks)} allowed network(s)"


def _bound_addresses(condition: BoundAddresses, access: Access, standing: Standing, _now: float) -> str:
    return f"{_address(access, standing)}, {len(standing.usage.bound)} of {condition.most} bound"


def _origins(condition: Origins, access: Access, _standing: Standing, _now: float) -> str:
    origin = "no origin" if access.origin is None else f"origin {_short(access.origin)}"
    return f"{origin} over {access.protocol} against {len(condition.patterns)} allowed origin(s)"


def _countries(condition: Countries, access: Access, standing: Standing, _now: float) -> str:
    if access.action not in condition.applies_to:
        return f"says nothing about who may {access.action}"
    lists = f"allowed {' '.join(condition.allowed)}" if condition.allowed else f"denied {' '.join(condition.denied)}"
    return f"{_address(access, standing)} in {standing.country or 'no known country'}, {lists}"


def _protocols(condition: Protocols, access: Access, _standing: Standing, _now: float) -> str:
    return f"{access.protocol} against {' '.join(condition.protocols)}"


def _user_agents(condition: UserAgents, access: Access, _standing: Standing, _now: float) -> str:
    return f"user agent {_short(access.user_agent)} against {len(condition.patterns)} pattern(s)"


def _referrers(condition: Referrers, access: Access, _standing: Standing, _now: float) -> str:
    return f"referrer {_short(access.referrer)} against {len(condition.patterns)} pattern(s)"


def _session_limit(condition: SessionLimit, _access: Access, standing: Standing, _now: float) -> str:
    opened = len(standing.usage.sessions)
    return f"{opened} session(s) of the {condition.per} open, {condition.most} allowed{_told(standing)}"


def _single_use(condition: SingleUse, _access: Access, standing: Standing, _now: float) -> str:
    live = "live" if standing.live else "not live"
    started = f"started {standing.usage.starts} time(s), {condition.grace_seconds} s of grace"
    return f"{started}, stream is {live}{_told(standing)}"


def _budgets(condition: Budgets, _access: Access, standing: Standing, now: float) -> str:
    usage = standing.usage
    running = now - usage.own.since if usage.own is not None else 0.0
    parts = (
        ("this session", running, condition.session_seconds, " s"),
        ("watched", watched_seconds(usage, now), condition.watch_seconds, " s"),
        ("carried", usage.bytes, condition.bytes, " bytes"),
        ("started", usage.starts, condition.starts, " time(s)"),
    )
    used = ", ".join(f"{name} {value:.0f} of {most}{unit}" for name, value, most, unit in parts if most is not None)
    told = standing.bytes_told or condition.bytes is None
    return used if told else f"{used}, and the engine does not tell bytes"


def _unjudged(condition: Unjudged, _access: Access, _standing: Standing, _now: float) -> str:
    return f"{condition.setting} is set, and this version cannot judge it"


_SAYS: Final[Mapping[type, Callable[[Any, Access, Standing, float], str]]] = MappingProxyType(
    {
        NotBefore: _not_before,
        ExpiresAt: _expires_at,
        WithinHours: _within_hours,
        ClientAddresses: _client_addresses,
        BoundAddresses: _bound_addresses,
        Origins: _origins,
        Countries: _countries,
        Protocols: _protocols,
        UserAgents: _user_agents,
        Referrers: _referrers,
        SessionLimit: _session_limit,
        SingleUse: _single_use,
        Budgets: _budgets,
        Unjudged: _unjudged,
    }
)


def _address(access: Access, standing: Standing) -> str:
    return f"address {_short(access.client_ip)}{'' if standing.address_trusted else ' (may be made up)'}"


def _goes_on(condition: ExpiresAt | WithinHours, standing: Standing) -> str:
    if not standing.running:
        return ""
    return ", ends what runs" if condition.ends_sessions else ", what runs goes on"


def _told(standing: Standing) -> str:
    return "" if standing.sessions_told else ", and the engine does not tell when they end"


def _short(text: str) -> str:
    return (text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}...") or "(none)"


def _time(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    except (ValueError, OverflowError):
        return f"{seconds:.0f} s since 1970"
