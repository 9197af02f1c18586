"""From a record to what policy judges: grants and caveats.

Security: every setting that limits a token must become a caveat here; a test walks the fields of the terms. One that this
version does not know becomes `Unjudged`, which refuses.
"""

from typing import Final
from zoneinfo import ZoneInfo

from stagedoor.model.access import Action
from stagedoor.model.addresses import parse_network
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
from stagedoor.model.grant import Grant, StreamPattern
from stagedoor.model.origins import parse_origin_pattern
from stagedoor.model.token import ACTION_OF, TokenKind, TokenRecord, TokenTerms, VerifiedToken
from stagedoor.tokens.patterns import compile_pattern, compile_wildcard

_COUNTED: Final = (SessionLimit, SingleUse, Budgets)


def verified(record: TokenRecord) -> VerifiedToken:
    """Return the token of `record`, whose digest matched what was shown."""
    terms, action = record.terms, ACTION_OF[record.kind]
    conditions = conditions_of(terms, action)
    # It counts as one that counts, since those are not judged on the shortest way, where nothing asks for internal ones.
    internal = record.kind is TokenKind.INTERNAL
    return VerifiedToken(
        record.id,
        record.account,
        _grant(action, terms.streams),
        _maybe_tried(conditions, terms.shadow_until),
        added_on=record.added_on,
        subject=terms.subject,
        sets_countries=any(isinstance(condition, Countries) for condition in conditions),
        counts=internal
        or terms.end_sessions_at_expiry
        or bool(terms.subject)  # another token of the subject may limit them
        or any(isinstance(condition, _COUNTED) for condition in conditions),
        binds=any(isinstance(condition, BoundAddresses) for condition in conditions),
        outlived=not terms.end_sessions_at_expiry,
        internal=internal,
    )


def conditions_of(terms: TokenTerms, action: Action) -> tuple[Condition, ...]:
    """Return the conditions on using the token itself, cheapest to judge first."""
    found: list[Condition] = []
    if terms.not_before is not None:
        found.append(NotBefore(terms.not_before))
    if terms.expires_at is not None:
        found.append(ExpiresAt(terms.expires_at, terms.end_sessions_at_expiry))
    if terms.allowed_protocols:
        found.append(Protocols(terms.allowed_protocols))
    if terms.allowed_origins:
        patterns = tuple(parse_origin_pattern(text) for text in terms.allowed_origins)
        found.append(Origins(patterns, terms.allow_without_origin))
    if terms.allowed_addresses:
        found.append(ClientAddresses(tuple(parse_network(text) for text in terms.allowed_addresses)))
    found += _countries(terms, action)
    if terms.allowed_user_agents:
        found.append(UserAgents(tuple(compile_wildcard(text) for text in terms.allowed_user_agents)))
    if terms.allowed_referrers:
        found.append(Referrers(tuple(compile_wildcard(text) for text in terms.allowed_referrers)))
    if terms.hours is not None:
        found.append(WithinHours(terms.hours.windows, ZoneInfo(terms.hours.zone), terms.end_sessions_at_expiry))
    if terms.bind_ips_on_usage:
        bits = terms.bind_ipv4_bits, terms.bind_ipv6_bits
        found.append(BoundAddresses(terms.bind_ips_on_usage, *bits, terms.rebinds_an_hour))
    found += [
        condition for condition in (terms.session_limit, terms.single_use, terms.budgets) if condition is not None
    ]
    found += [Unjudged(name) for name in terms.not_understood]
    return tuple(found)


def viewer_caveats_of(terms: TokenTerms) -> tuple[Caveat, ...]:
    """Return the conditions that a publish token puts on everyone who watches its streams: its countries.

    And what it sets that this version does not know, since that may be about them.
    """
    limits = _countries(terms, Action.SUBSCRIBE) + tuple(Unjudged(name) for name in terms.not_understood)
    return _maybe_tried(limits, terms.shadow_until)


def _countries(terms: TokenTerms, action: Action) -> tuple[Condition, ...]:
    """Return the country lists, where they are about `action`. A subscribe token's are about watching alone."""
    lists = terms.allowed_countries, terms.denied_countries
    about = action in terms.geo_applies_to
    return (Countries(*lists, terms.geo_applies_to),) if any(lists) and about else ()


def _maybe_tried(conditions: tuple[Condition, ...], until: int | None) -> tuple[Caveat, ...]:
    return conditions if until is None else tuple(Tried(condition, until) for condition in conditions)


def _grant(action: Action, streams: tuple[StreamPattern, ...]) -> Grant:
    names = tuple(pattern.text for pattern in streams if not pattern.is_regex)
    patterns = tuple(compile_pattern(pattern.text) for pattern in streams if pattern.is_regex)
    return Grant((action,), frozenset(names) if len(names) > 4 else names, patterns)
