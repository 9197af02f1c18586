"""From a record to what policy judges: grants and caveats.

Security: every setting that limits a token must become a caveat here. One that the policy cannot judge yet becomes
`Unjudged`, which refuses.
"""

from typing import Final

from stagedoor.model.access import Action
from stagedoor.model.addresses import parse_network
from stagedoor.model.caveats import Caveat, ClientAddresses, ExpiresAt, NotBefore, Unjudged
from stagedoor.model.grant import Grant, StreamPattern
from stagedoor.model.token import TokenKind, TokenRecord, TokenTerms, VerifiedToken
from stagedoor.tokens.patterns import compile_pattern

_ACTIONS: Final = {TokenKind.PUBLISH: (Action.PUBLISH,), TokenKind.SUBSCRIBE: (Action.SUBSCRIBE,)}


def verified(record: TokenRecord) -> VerifiedToken:
    """Return the token of `record`, whose digest matched what was shown."""
    return VerifiedToken(
        record.id, record.account, _grant(_ACTIONS[record.kind], record.terms.streams), caveats_of(record.terms)
    )


def caveats_of(terms: TokenTerms) -> tuple[Caveat, ...]:
    """Return the conditions on using the token itself, cheapest to judge first."""
    caveats: list[Caveat] = []
    if terms.not_before is not None:
        caveats.append(NotBefore(terms.not_before))
    if terms.expires_at is not None:
        caveats.append(ExpiresAt(terms.expires_at))
    if terms.allowed_addresses:
        caveats.append(ClientAddresses(tuple(parse_network(text) for text in terms.allowed_addresses)))
    if terms.allowed_origins:
        caveats.append(Unjudged("allowedOrigins"))
    if terms.bind_ips_on_usage:
        caveats.append(Unjudged("bindIpsOnUsage"))
    return (*caveats, *viewer_caveats_of(terms))


def viewer_caveats_of(terms: TokenTerms) -> tuple[Caveat, ...]:
    """Return the conditions that a publish token puts on everyone who watches its streams: the country lists."""
    lists = (("allowedCountries", terms.allowed_countries), ("deniedCountries", terms.denied_countries))
    return tuple(Unjudged(name) for name, countries in lists if countries)


def _grant(actions: tuple[Action, ...], streams: tuple[StreamPattern, ...]) -> Grant:
    names = tuple(pattern.text for pattern in streams if not pattern.is_regex)
    patterns = tuple(compile_pattern(pattern.text) for pattern in streams if pattern.is_regex)
    return Grant(actions, frozenset(names) if len(names) > 4 else names, patterns)
