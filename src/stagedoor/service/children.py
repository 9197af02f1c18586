"""Tokens that others signed: with a subscribe token of ours, or with a key that an account trusts.

A token of ours is found by its digest. One of these is found by the parent it names, and verified, once: what comes of it is
kept in the view like any other token's facts, and forgotten with the parent's. Only one that has to be counted (a limit, a
subject, an address it is bound to) gets a row of its own, when it is first let in.
"""

import logging
from dataclasses import replace
from functools import partial
from typing import Final, NamedTuple

from stagedoor.model.cluster import AUTO
from stagedoor.model.errors import ConfigError, InvalidInput, Unavailable
from stagedoor.model.ids import AccountId, TokenId
from stagedoor.model.secret import Secret
from stagedoor.model.token import TokenKind, TokenRecord, TokenState, TokenTerms
from stagedoor.model.usage import UNUSED, Usage
from stagedoor.service.child_ports import Asked, ChildStore, Former, NewChild, Parentage
from stagedoor.service.ports import Clock, Facts, FactSource, TokenFacts
from stagedoor.service.terms import check_terms
from stagedoor.tokens.keyring import Keyring, base64url
from stagedoor.tokens.public_keys import verify_with
from stagedoor.tokens.sealed import former_at, sealed_at
from stagedoor.tokens.signed import Level, Unverified, parse_signed, verify_child
from stagedoor.tokens.verify import verified, verified_child

_log = logging.getLogger(__name__)

DEFAULT_DEPTH: Final = 3
"""So many children of children may stand between a token and its parent, itself included."""

ALL: Final = ""
"""Names all children that were made up to an instant."""

_KEPT_SECONDS: Final = 7 * 86_400
_MOST_FORGOTTEN: Final = 1000

_MALFORMED: Final = TokenFacts(None, TokenState.MALFORMED)
_UNKNOWN: Final = TokenFacts(None, TokenState.UNKNOWN)
_BAD_SIGNATURE: Final = TokenFacts(None, TokenState.BAD_SIGNATURE)


class Children:
    """Reads and verifies signed tokens, and keeps those that are counted."""

    def __init__(
        self, *, keyring: Keyring, source: FactSource, store: ChildStore, clock: Clock, depth: int = DEFAULT_DEPTH
    ) -> None:
        """Take the keys, where facts are read and children kept, and how many levels a token may have."""
        self._keyring = keyring
        self._source = source
        self._store = store
        self._clock = clock
        self._depth = depth

    def ask(self, text: str) -> Asked:
        """Return what the store has to be asked about a signed token. Never raises."""
        unverified = parse_signed(text)
        if unverified is None or len(unverified.levels) > self._depth:
            return Asked(None, (), (), None)
        kid = unverified.kid
        digests = tuple(self._level_digest(level) for level in unverified.levels)
        names = [ALL, *(fingerprint_name(base64url(digest)) for digest in digests)]
        names += [jti_name(level.jti) for level in unverified.levels if level.jti is not None]
        return Asked(self.key_digest(kid) if kid else unverified.token_id, digests, tuple(names), unverified)

    def key_digest(self, kid: str) -> bytes:
        """Return the digest that a key is found by that an account trusts."""
        return self._keyring.digest(b"issuer " + kid.encode(errors="replace"))

    def name_of(self, text: str) -> str:
        """Return the name that a signed token is revoked by, which tells it from all others.

        Raises: InvalidInput when it is no signed token.
        """
        unverified = parse_signed(text)
        if unverified is None:
            raise InvalidInput("this is no token that was signed with one of ours, or with a key", field="token")
        return fingerprint_name(base64url(self._level_digest(unverified.levels[-1])))

    def facts(self, read: Facts, asked: Asked) -> TokenFacts:
        """Return what is known of a signed token, verified with what the store said of its parent.

        Raises: Unavailable when the parent's value does not open: whether it has signed this cannot be told.
        """
        unverified, parentage = asked.unverified, read.parentage
        if not isinstance(unverified, Unverified) or parentage is None:
            return _MALFORMED
        record = parentage.record
        if record is None or record.kind is not (TokenKind.ISSUER if unverified.kid else TokenKind.SUBSCRIBE):
            return replace(_UNKNOWN, depends=self._depends(asked, parentage))
        verification = self._verify(unverified, record, parentage)
        if verification is None:
            return replace(_BAD_SIGNATURE, depends=self._depends(asked, parentage))
        parent = verified(record)
        kept = [parentage.kept.get(digest) for digest in asked.digests]
        levels = tuple(self._checked(level, record) for level in unverified.levels)
        token = verified_child(
            levels,
            parent,
            fingerprint=base64url(asked.digests[-1]),
            kept=[None if found is None else found[0] for found in kept],
            longest_seconds=record.terms.longest_seconds,
            former=None if verification.former is None else (verification.former.digest, verification.former.until),
        )
        bounds = [Usage(bound=found[1]) if found is not None else UNUSED for found in kept]
        above = (*reversed(bounds[:-1]), Usage(bound=parentage.bound))
        return TokenFacts(
            token,
            self._state(unverified, record, parentage, asked),
            bounds[-1]._replace(above=above),
            self._depends(asked, parentage),
        )

    async def facts_of(self, record: TokenRecord) -> TokenFacts:
        """Return what is known now of a signed token that is kept.

        Raises: Unavailable.
        """
        asked = self.ask(self._opened(record.sealed, sealed_at(record.id)).reveal())
        return self.facts(await self._read(asked), asked)

    async def keep(self, text: str) -> None:
        """Give a signed token, and those above it, ids of their own to be counted under. One that is not verified gets none.

        Raises: Unavailable.
        """
        asked = self.ask(text)
        read = await self._read(asked)
        unverified, parentage = asked.unverified, read.parentage
        if not isinstance(unverified, Unverified) or parentage is None or parentage.record is None:
            return
        record = parentage.record
        verification = self._verify(unverified, record, parentage, text)
        if verification is None:
            return
        now = int(self._clock())
        await self._store.keep_children(
            [
                NewChild(
                    account=record.account,
                    parent=record.id,
                    terms=replace(level.terms, not_understood=()),
                    digest=digest,
                    seal=partial(self._seal, level_text),
                    added_on=now,
                )
                for level, digest, level_text in zip(unverified.levels, asked.digests, verification.texts, strict=True)
                if digest not in parentage.kept
            ]
        )

    async def tidy(self) -> int:
        """Delete what is kept of some tokens that have been over for a week, and return how many.

        What they used goes with them, which is safe: what is over is let in no more.

        Raises: Unavailable.
        """
        return await self._store.forget_children(int(self._clock()) - _KEPT_SECONDS, _MOST_FORGOTTEN)

    async def _read(self, asked: Asked) -> Facts:
        return await self._source.facts(None, AccountId(""), "", with_publishers=False, asked=asked)

    def _seal(self, text: Secret, token_id: TokenId) -> bytes:
        return self._keyring.seal(text, sealed_at(token_id))

    def _opened(self, sealed: bytes, place: str) -> Secret:
        """Unseal a token's value.

        Raises: Unavailable when the keyring does not open it: a request can do nothing about that.
        """
        try:
            return self._keyring.unseal(sealed, place)
        except ConfigError as error:
            _log.error("what tokens are signed with cannot be read: %s", error.message)
            raise Unavailable("what this token was signed with cannot be read") from None

    def _verify(
        self, unverified: Unverified, record: TokenRecord, parentage: Parentage, text: str = ""
    ) -> "_Verification | None":
        """Try the parent's value, and those that it had before; None when none of them has signed this."""
        if unverified.kid:
            key = self._opened(record.sealed, sealed_at(record.id))
            return _Verification((Secret(text),)) if verify_with(key, unverified) else None
        values: list[tuple[Former | None, bytes, str]] = [(None, record.sealed, sealed_at(record.id))]
        values += [(former, former.sealed, former_at(former.digest)) for former in parentage.former]
        for former, sealed, place in values:
            texts = verify_child(unverified, self._opened(sealed, place))
            if texts:
                return _Verification(texts, former)
        return None

    def _state(self, unverified: Unverified, record: TokenRecord, parentage: Parentage, asked: Asked) -> TokenState:
        """Tell whether the parent stands, and the token and those above it are not revoked."""
        if record.state is not TokenState.ACTIVE:
            revoked = record.state is TokenState.REVOKED and record.kind is TokenKind.ISSUER
            return TokenState.KEY_REVOKED if revoked else record.state
        names = (parentage.revoked.keys() & asked.names) - {ALL}
        all_until = parentage.revoked.get(ALL)
        # One that does not say when it was made may be among those that were meant.
        among_all = all_until is not None and any(
            level.issued_at is None or level.issued_at <= all_until for level in unverified.levels
        )
        return TokenState.REVOKED if names or among_all else TokenState.ACTIVE

    def _checked(self, level: Level, record: TokenRecord) -> Level:
        """Have a token refuse what it says and cannot be right, or its parent does not allow; it is named in the explanation."""
        terms, parent = level.terms, record.terms
        strange = list(terms.not_understood)
        if not strange:
            try:
                check_terms(terms, TokenKind.CHILD)
            except InvalidInput as error:
                strange.append(error.field or "streaming")
        # A child is counted under what its parent is counted under, and stays in its parent's cluster.
        if not level.kid and parent.tracking_id is not None and level.tracking_id != parent.tracking_id:
            strange.append("tracking")
        own, of_parent = level.origin_cluster, parent.origin_cluster or AUTO
        if own and of_parent not in {AUTO, own}:
            strange.append("originCluster")
        if not strange:
            return level
        # What cannot be read cannot be judged either: of such a token nothing is left but that it refuses.
        bare = TokenTerms(label=terms.label, streams=terms.streams, actions=terms.actions)
        return replace(level, terms=replace(bare, not_understood=tuple(strange)))

    def _level_digest(self, level: Level) -> bytes:
        return self._keyring.digest(b"child " + level.signed)

    def _depends(self, asked: Asked, parentage: Parentage) -> tuple[bytes, ...]:
        parent = asked.parent if isinstance(asked.parent, bytes) else None
        record = parentage.record
        return tuple(
            dict.fromkeys(d for d in (parent, record.digest if record is not None else None, *asked.digests) if d)
        )


class _Verification(NamedTuple):
    """The texts of a token and those above it; `former`: the value that signed them, where it has been replaced."""

    texts: tuple[Secret, ...]
    former: Former | None = None


def fingerprint_name(fingerprint: str) -> str:
    """Return the name that one token is revoked by, of what the access log has of it as `child`."""
    return f"text:{fingerprint}"


def jti_name(jti: str) -> str:
    """Return the name that all tokens with a `jti` are revoked by."""
    return f"jti:{jti}"
