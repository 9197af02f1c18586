"""How things stand: from what the store says to what policy judges."""

from dataclasses import replace
from typing import Final

from stagedoor.model.account import AccountPolicy
from stagedoor.model.caveats import Caveat, ExpiresAt
from stagedoor.model.decision import Standing
from stagedoor.model.token import Lineage, TokenKind, TokenRecord, TokenState
from stagedoor.model.usage import UNUSED, Usage
from stagedoor.service.ports import Facts, Publisher, Publishers, TokenFacts
from stagedoor.tokens.patterns import compile_pattern
from stagedoor.tokens.verify import verified, viewer_caveats_of

NO_PUBLISHERS: Publishers = ()
# See model.ids: the quicker way to make a named tuple.
_new: Final = tuple.__new__
_NOTHING: Final[tuple[bool, tuple[Caveat, ...]]] = (True, ())
_UNKNOWN: Final = TokenFacts(None, TokenState.UNKNOWN)


def token_facts(read: Facts) -> TokenFacts:
    """Return what was read of a token that was shown; no record stands for a digest that no token has."""
    record = read.record
    if record is None:
        return _UNKNOWN
    token = verified(record, read.groups)
    if read.former_until is not None:
        # What was shown is the value that the token had before it was rotated.
        token = replace(
            token, caveats=(*token.caveats, ExpiresAt(read.former_until)), lineage=Lineage(former=read.shown)
        )
    state = TokenState.KEY_REVOKED if read.key_revoked and record.revoked_at is None else record.state
    # A change of the token is told of by the digest of the value it has now.
    depends = (record.digest,) if read.former_until is not None else ()
    return TokenFacts(token, state, Usage(bound=read.bound) if read.bound else UNUSED, depends)


def publishers_of(read: Facts, name: str) -> Publishers:
    """Return the publish tokens that cover the stream `name`, and those that it is being published with."""
    live = {record.id for record in read.live}
    covering = {record.id: record for record in read.publishers if _covers(record, name)}
    return tuple(
        Publisher(
            record.terms.active,
            record.terms.not_before or 0,
            record.terms.expires_at,
            record.terms.publishing.subscribe_requires_auth,
            viewer_caveats_of(record.terms),
            record.id in live,
        )
        for record in (covering | {record.id: record for record in read.live}).values()
        if record.kind is TokenKind.PUBLISH
    )


def secure_viewer(publishers: Publishers, now: float) -> tuple[bool, tuple[Caveat, ...]]:
    """Tell whether watching needs a subscribe token at `now`, and what every viewer must satisfy.

    The publish tokens that the stream is being published with decide; when nobody is known to publish, those that are good
    now; when none is, all that cover the stream, since a broadcast outlives the token that started it. One that requires a
    token is enough. Security: a stream that nobody covers is secured.
    """
    if not publishers:
        return _NOTHING
    deciding = [publisher for publisher in publishers if publisher.live] or [
        publisher
        for publisher in publishers
        if publisher.active
        and publisher.not_before <= now
        and (publisher.expires_at is None or now < publisher.expires_at)
    ]
    secured = any(publisher.requires_auth for publisher in deciding or publishers)
    return secured, tuple(
        dict.fromkeys(caveat for publisher in deciding or publishers for caveat in publisher.viewer_caveats)
    )


def standing(
    facts: TokenFacts,
    publishers: Publishers,
    *,
    account: AccountPolicy,
    revision: int,
    now: float,
    address_trusted: bool = True,
) -> Standing:
    """Put together what is known at `now` (seconds since the epoch); what only some rules need is added by who knows it."""
    live = False
    secured, viewer_caveats = _NOTHING
    if publishers:
        secured, viewer_caveats = secure_viewer(publishers, now)
        live = any(publisher.live for publisher in publishers)
    return _new(
        Standing,
        (
            facts.state,
            account,
            secured,
            viewer_caveats,
            revision,
            address_trusted,
            "",
            live,
            False,
            True,
            True,
            facts.usage,
        ),
    )


def _covers(record: TokenRecord, name: str) -> bool:
    return any(
        compile_pattern(pattern.text).fullmatch(name) is not None if pattern.is_regex else pattern.text == name
        for pattern in record.terms.streams
    )
