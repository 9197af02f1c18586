"""From a record to what policy judges: grants and caveats.

Security: every setting that limits a token must become a caveat here; a test walks the fields of the terms. One that this
version does not know becomes `Unjudged`, which refuses.
"""

from collections.abc import Collection, Iterable, Sequence
from hashlib import sha256
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
from stagedoor.model.ids import TokenId
from stagedoor.model.origins import parse_origin_pattern
from stagedoor.model.token import ACTION_OF, Lineage, TokenKind, TokenRecord, TokenTerms, VerifiedToken
from stagedoor.tokens.keyring import base64url
from stagedoor.tokens.patterns import compile_pattern, compile_wildcard
from stagedoor.tokens.signed import Level

# One for all tokens of a kind, since the view holds very many.
_ACTIONS: Final = {kind: (action,) for kind, action in ACTION_OF.items()}
_COUNTED: Final = (SessionLimit, SingleUse, Budgets)


def verified(record: TokenRecord, groups: Iterable[str] = ()) -> VerifiedToken:
    """Return the token of `record`, whose digest matched what was shown. `groups`: the streams in the groups that it names."""
    terms = record.terms
    actions = terms.actions or _ACTIONS[record.kind]
    conditions = conditions_of(terms, actions)
    # It counts as one that counts, since those are not judged on the shortest way, where nothing asks for internal ones.
    internal = record.kind is TokenKind.INTERNAL
    return VerifiedToken(
        record.id,
        record.account,
        _grant(actions, terms.streams, groups),
        _maybe_tried(conditions, terms.shadow_until),
        added_on=record.added_on,
        subject=terms.subject,
        sets_countries=any(isinstance(condition, Countries) for condition in conditions),
        counts=internal or _counts(terms, conditions),
        binds=_binds(conditions),
        outlived=not terms.end_sessions_at_expiry,
        internal=internal,
    )


def verified_child(
    levels: Sequence[Level],
    parent: VerifiedToken,
    *,
    fingerprint: str,
    kept: Sequence[TokenId | None],
    longest_seconds: int | None,
    former: tuple[bytes, int] | None = None,
) -> VerifiedToken:
    """Return a token that was signed with `parent`, or with a child of it, as its signatures have shown.

    It adds what it asks to what those above it ask. `fingerprint` tells it from others. `kept`: the ids under which its levels are
    counted, None for one that is not yet. `longest_seconds`: so long after it was made it is
    good at most. `former`: the value of the parent's that signed has been replaced: its digest, and
    until when it is good.
    """
    above: tuple[VerifiedToken, ...] = (parent,)
    token = parent
    subjects, signer = {parent.subject: parent.subject, "": ""}, str(parent.id).encode()
    for level, token_id in zip(levels, kept, strict=True):
        terms = level.terms
        if level.kid:
            # A key is trusted to tell of whom its tokens speak.
            subjects[terms.subject] = terms.subject
        elif terms.subject not in subjects:
            # Security: whoever may watch can sign. A subject that is nobody's above is one among what the same one signed: it
            # is not that of others' tokens, whose sessions it could count against, or end.
            subjects[terms.subject] = base64url(sha256(signer + b"\0" + terms.subject.encode()).digest())
        signer = level.signed
        conditions = conditions_of(terms, terms.actions)
        ends = [
            at for at in (former[1] if former is not None else None, _ends_of(level, longest_seconds)) if at is not None
        ]
        conditions += tuple(ExpiresAt(at) for at in ends)
        nearest = above[0]
        counts = nearest.counts or _counts(terms, conditions)
        binds = nearest.binds or _binds(conditions)
        token = VerifiedToken(
            token_id or parent.id,
            parent.account,
            _grant(terms.actions, terms.streams, ()),
            conditions,
            # A child is no longer-lived than its parent; a key lives on, so its token counts from when it was made.
            added_on=(level.issued_at or 0) if level.kid else parent.added_on,
            subject=subjects[terms.subject],
            # Security: its countries stand beside those of the account and of the stream, and not in their place.
            sets_countries=parent.sets_countries,
            counts=counts,
            binds=binds,
            outlived=parent.outlived and not terms.end_sessions_at_expiry,
            lineage=Lineage(
                above=above,
                fingerprint=fingerprint,
                unkept=(counts or binds) and None in kept,
                former=former[0] if former is not None else b"",
            ),
        )
        above = (token, *above)
    return token


def _counts(terms: TokenTerms, conditions: tuple[Condition, ...]) -> bool:
    # Another token of the subject may limit them.
    return (
        terms.end_sessions_at_expiry
        or bool(terms.subject)
        or any(isinstance(condition, _COUNTED) for condition in conditions)
    )


def _binds(conditions: tuple[Condition, ...]) -> bool:
    return any(isinstance(condition, BoundAddresses) for condition in conditions)


def _ends_of(level: Level, longest_seconds: int | None) -> int | None:
    """Return when a token is over that was signed with a key that limits them."""
    if longest_seconds is None:
        return None
    # Without the instant at which it was made, nothing tells that it is in time.
    return (level.issued_at or 0) + longest_seconds


def conditions_of(terms: TokenTerms, actions: Collection[Action]) -> tuple[Condition, ...]:
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
    found += _countries(terms, actions)
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
    limits = _countries(terms, (Action.SUBSCRIBE,)) + tuple(Unjudged(name) for name in terms.not_understood)
    return _maybe_tried(limits, terms.shadow_until)


def _countries(terms: TokenTerms, actions: Collection[Action]) -> tuple[Condition, ...]:
    """Return the country lists, where they are about one of `actions`. A subscribe token's are about watching alone."""
    lists = terms.allowed_countries, terms.denied_countries
    about = any(action in terms.geo_applies_to for action in actions)
    return (Countries(*lists, terms.geo_applies_to),) if any(lists) and about else ()


def _maybe_tried(conditions: tuple[Condition, ...], until: int | None) -> tuple[Caveat, ...]:
    return conditions if until is None else tuple(Tried(condition, until) for condition in conditions)


def _grant(actions: tuple[Action, ...], streams: tuple[StreamPattern, ...], groups: Iterable[str]) -> Grant:
    names = (*(pattern.text for pattern in streams if not pattern.is_regex), *groups)
    patterns = tuple(compile_pattern(pattern.text) for pattern in streams if pattern.is_regex)
    return Grant(actions, frozenset(names) if len(names) > 4 else names, patterns)
