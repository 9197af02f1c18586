"""One judge for each type of caveat. A type without a judge refuses."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from stagedoor.model.access import Access, Action, Protocol
from stagedoor.model.addresses import Address, Network, network_of, parse_address
from stagedoor.model.caveats import (
    BoundAddresses,
    Budgets,
    ClientAddresses,
    Countries,
    ExpiresAt,
    NotBefore,
    Origins,
    Over,
    Protocols,
    Referrers,
    SessionLimit,
    SingleUse,
    Tried,
    UserAgents,
    WithinHours,
)
from stagedoor.model.decision import Reason, Standing
from stagedoor.model.hours import within
from stagedoor.model.origins import parse_origin
from stagedoor.model.usage import Usage

_ENCODERS: Final = frozenset({Protocol.RTMP, Protocol.RTSP, Protocol.SRT})
"""Protocols that carry no web origin."""

REBIND_SECONDS: Final = 3600.0
"""Over how long re-binds are counted."""


def judge(caveat: object, access: Access, standing: Standing, now: float) -> Reason | None:
    """Return the reason why `caveat` refuses `access` at `now` (seconds since the epoch), None when it does not."""
    by_type = _JUDGES.get(type(caveat))
    # Security: what nobody here understands never passes.
    return Reason.CAVEAT_NOT_JUDGED if by_type is None else by_type(caveat, access, standing, now)


def network_to_bind(caveat: BoundAddresses, address: Address) -> Network:
    """Return what `caveat` binds a token to when it is used from `address`."""
    return network_of(address, caveat.ipv4_bits if address.version == 4 else caveat.ipv6_bits)


def is_bound(caveat: BoundAddresses, network: Network, usage: Usage) -> bool:
    """Tell whether `network` is one of those that count; when `most` was made smaller those are the first ones."""
    bound = usage.bound
    return network in bound and (len(bound) <= caveat.most or network in tuple(bound)[: caveat.most])


def watched_seconds(usage: Usage, now: float) -> float:
    """Return how long the token's sessions have run, those that are open included."""
    watched = usage.watched_seconds
    for since in usage.open_since:
        if since < now:
            watched += now - since
    return watched


def _tried(caveat: Tried, access: Access, standing: Standing, now: float) -> Reason | None:
    return judge(caveat.condition, access, standing, now)


def _not_before(caveat: NotBefore, _access: Access, _standing: Standing, now: float) -> Reason | None:
    return None if caveat.at <= now else Reason.TOKEN_NOT_YET_VALID


def _expires_at(caveat: ExpiresAt, _access: Access, standing: Standing, now: float) -> Reason | None:
    if caveat.ends_sessions and not standing.sessions_told:
        return Reason.USAGE_UNKNOWN
    good = now < caveat.at or (standing.running and not caveat.ends_sessions)
    return None if good else Reason.TOKEN_EXPIRED


def _within_hours(caveat: WithinHours, _access: Access, standing: Standing, now: float) -> Reason | None:
    if caveat.ends_sessions and not standing.sessions_told:
        return Reason.USAGE_UNKNOWN
    good = (standing.running and not caveat.ends_sessions) or within(caveat.windows, caveat.zone, now)
    return None if good else Reason.TOKEN_OUTSIDE_HOURS


def _client_addresses(caveat: ClientAddresses, access: Access, standing: Standing, _now: float) -> Reason | None:
    if not standing.address_trusted:
        return Reason.ADDRESS_NOT_TRUSTED
    address = parse_address(access.client_ip)
    if address is None:
        return Reason.ADDRESS_UNKNOWN
    for network in caveat.networks:
        if network.holds(address):
            return None
    return Reason.ADDRESS_NOT_ALLOWED


def _bound_addresses(caveat: BoundAddresses, access: Access, standing: Standing, now: float) -> Reason | None:
    if not standing.address_trusted:
        return Reason.ADDRESS_NOT_TRUSTED
    address = parse_address(access.client_ip)
    if address is None:
        return Reason.ADDRESS_UNKNOWN
    usage = standing.usage
    if len(usage.bound) < caveat.most or is_bound(caveat, network_to_bind(caveat, address), usage):
        return None
    recent = sum(at > now - REBIND_SECONDS for at in usage.rebinds)
    return None if recent < caveat.rebinds_an_hour else Reason.ADDRESS_NOT_BOUND


def _origins(caveat: Origins, access: Access, _standing: Standing, _now: float) -> Reason | None:
    if access.origin is None:
        return None if caveat.without_origin and access.protocol in _ENCODERS else Reason.ORIGIN_MISSING
    origin = parse_origin(access.origin)
    if origin is not None:
        for pattern in caveat.patterns:
            if pattern.matches(origin):
                return None
    return Reason.ORIGIN_NOT_ALLOWED


def _countries(caveat: Countries, access: Access, standing: Standing, _now: float) -> Reason | None:
    if access.action not in caveat.applies_to:
        return None
    if not standing.address_trusted:
        return Reason.ADDRESS_NOT_TRUSTED
    country = standing.country
    if not country:
        return Reason.COUNTRY_UNKNOWN if caveat.allowed else None
    good = (country in caveat.allowed or not caveat.allowed) and country not in caveat.denied
    return None if good else Reason.COUNTRY_NOT_ALLOWED


def _protocols(caveat: Protocols, access: Access, _standing: Standing, _now: float) -> Reason | None:
    return None if access.protocol in caveat.protocols else Reason.PROTOCOL_NOT_ALLOWED


def _user_agents(caveat: UserAgents, access: Access, _standing: Standing, _now: float) -> Reason | None:
    for pattern in caveat.patterns:
        if pattern.fullmatch(access.user_agent) is not None:
            return None
    return Reason.USER_AGENT_NOT_ALLOWED


def _referrers(caveat: Referrers, access: Access, _standing: Standing, _now: float) -> Reason | None:
    for pattern in caveat.patterns:
        if pattern.fullmatch(access.referrer) is not None:
            return None
    return Reason.REFERRER_NOT_ALLOWED


def _session_limit(caveat: SessionLimit, _access: Access, standing: Standing, now: float) -> Reason | None:
    if not standing.sessions_told:
        return Reason.USAGE_UNKNOWN
    usage = standing.usage
    own = usage.own
    if own is not None:
        return None if own.end_at is None or now < own.end_at else Reason.TOO_MANY_SESSIONS
    if len(usage.sessions) < caveat.most or (caveat.over is Over.END_OLDEST and not standing.running):
        return None
    staying = leaving = 0
    for session in usage.sessions:
        if session.end_at is None:
            staying += 1
        elif now < session.end_at:
            leaving += 1
    if caveat.over is Over.GRACE and not standing.running:
        room = staying < caveat.most or leaving < caveat.most
    else:
        room = staying + leaving < caveat.most
    return None if room else Reason.TOO_MANY_SESSIONS


def _single_use(caveat: SingleUse, access: Access, standing: Standing, now: float) -> Reason | None:
    if not standing.sessions_told:
        return Reason.USAGE_UNKNOWN
    usage = standing.usage
    if usage.own is not None:
        return None if usage.own.end_at is None or now < usage.own.end_at else Reason.TOKEN_USED
    if access.action is Action.SUBSCRIBE and not standing.live and not standing.running:
        return Reason.STREAM_NOT_LIVE
    if usage.starts == 0 or standing.running:
        return None
    if not caveat.grace_seconds:
        return Reason.TOKEN_USED
    # A reload: the same address, while its session is open or has only just ended.
    back = usage.last_address is not None and parse_address(access.client_ip) == usage.last_address
    in_time = usage.last_at is None or now < usage.last_at + caveat.grace_seconds
    return None if back and in_time and standing.address_trusted else Reason.TOKEN_USED


def _budgets(caveat: Budgets, _access: Access, standing: Standing, now: float) -> Reason | None:
    usage, own = standing.usage, standing.usage.own
    reason: Reason | None = None
    if caveat.starts is not None and own is None and not standing.running and usage.starts >= caveat.starts:
        reason = Reason.STARTS_SPENT
    elif caveat.session_seconds is not None or caveat.watch_seconds is not None or caveat.bytes is not None:
        if not standing.sessions_told or (caveat.bytes is not None and not standing.bytes_told):
            reason = Reason.USAGE_UNKNOWN
        elif caveat.session_seconds is not None and own is not None and now >= own.since + caveat.session_seconds:
            reason = Reason.SESSION_TOO_LONG
        elif caveat.watch_seconds is not None and watched_seconds(usage, now) >= caveat.watch_seconds:
            reason = Reason.WATCH_TIME_SPENT
        elif caveat.bytes is not None and usage.bytes >= caveat.bytes:
            reason = Reason.BYTES_SPENT
    return reason


_JUDGES: Final[Mapping[type, Callable[[Any, Access, Standing, float], Reason | None]]] = MappingProxyType(
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
        Tried: _tried,
    }
)
