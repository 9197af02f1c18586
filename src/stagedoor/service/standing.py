"""How things stand: from what the store says to what policy judges."""

from typing import Final

from stagedoor.model.caveats import Caveat
from stagedoor.model.decision import Standing
from stagedoor.model.token import TokenKind, TokenRecord, TokenState
from stagedoor.service.ports import Publisher, Publishers, TokenFacts
from stagedoor.tokens.patterns import compile_pattern
from stagedoor.tokens.verify import verified, viewer_caveats_of

NO_PUBLISHERS: Publishers = ()
# See model.ids: the quicker way to make a named tuple.
_new: Final = tuple.__new__
_NOTHING: tuple[bool, tuple[Caveat, ...]] = (True, ())


def token_facts(record: TokenRecord | None) -> TokenFacts:
    """Return what a record says of a token that was shown; None stands for a digest that no token has."""
    if record is None:
        return TokenFacts(None, TokenState.UNKNOWN)
    return TokenFacts(verified(record), record.state)


def publishers_of(records: tuple[TokenRecord, ...], name: str) -> Publishers:
    """Return those of the publish tokens `records` that cover the stream `name`."""
    return tuple(
        Publisher(
            record.terms.active,
            record.terms.not_before or 0,
            record.terms.expires_at,
            record.terms.publishing.subscribe_requires_auth,
            viewer_caveats_of(record.terms),
        )
        for record in records
        if record.kind is TokenKind.PUBLISH and _covers(record, name)
    )


def secure_viewer(publishers: Publishers, now: float) -> tuple[bool, tuple[Caveat, ...]]:
    """Tell whether watching needs a subscribe token at `now`, and what every viewer must satisfy.

    The publish tokens that are good now decide; when none is, all that cover the stream do, since a broadcast outlives
    the token that started it. One that requires a token is enough. Security: a stream that nobody covers is secured.
    """
    if not publishers:
        return _NOTHING
    good = [
        publisher
        for publisher in publishers
        if publisher.active
        and publisher.not_before <= now
        and (publisher.expires_at is None or now < publisher.expires_at)
    ]
    deciding = good or publishers
    secured = any(publisher.requires_auth for publisher in deciding)
    return secured, tuple(dict.fromkeys(caveat for publisher in deciding for caveat in publisher.viewer_caveats))


def standing(
    facts: TokenFacts, publishers: Publishers, *, account_enabled: bool, revision: int, now: float
) -> Standing:
    """Put together what is known at `now` (seconds since the epoch)."""
    secured, viewer_caveats = secure_viewer(publishers, now) if publishers else _NOTHING
    return _new(Standing, (facts.state, account_enabled, secured, viewer_caveats, revision))


def _covers(record: TokenRecord, name: str) -> bool:
    return any(
        compile_pattern(pattern.text).fullmatch(name) is not None if pattern.is_regex else pattern.text == name
        for pattern in record.terms.streams
    )
