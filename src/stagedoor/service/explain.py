"""Answer "what would be decided, and why": the same facts and rules as a real access, read fresh from the store."""

from dataclasses import dataclass
from typing import Final

from stagedoor.model.access import Access
from stagedoor.model.account import OPEN
from stagedoor.model.decision import Decision, Standing
from stagedoor.model.engine import AddressTrust, Engine, tells_bytes, tells_sessions
from stagedoor.model.ids import TokenId
from stagedoor.model.token import TokenState, VerifiedToken
from stagedoor.model.usage import Usage
from stagedoor.policy import Finding, explain, internally
from stagedoor.service.authorize import Attempt, counted_per, session_start
from stagedoor.service.children import Children
from stagedoor.service.ports import CountryLookup, FactSource, TokenFacts
from stagedoor.service.session_ports import SessionStore
from stagedoor.service.standing import publishers_of, standing, token_facts
from stagedoor.tokens.keyring import Keyring
from stagedoor.tokens.shown import shown_digest
from stagedoor.tokens.signed import looks_signed

_NOT_KEPT: Final = TokenId(-2)
"""Stands for the id of a token that has none yet: no session is of it."""


@dataclass(frozen=True, slots=True)
class Explained:
    """A decision, every rule that was looked at, and the token it was about if one was known.

    `token` and `standing` are what was judged.
    """

    decision: Decision
    findings: tuple[Finding, ...]
    token_id: TokenId | None
    token: VerifiedToken | None
    standing: Standing


class Explainer:
    """Explains accesses. Nothing is recorded, and nothing is counted against a token."""

    def __init__(
        self,
        *,
        source: FactSource,
        sessions: SessionStore,
        keyring: Keyring,
        countries: CountryLookup,
        children: Children,
    ) -> None:
        """Take the collaborators."""
        self._source = source
        self._sessions = sessions
        self._keyring = keyring
        self._countries = countries
        self._children = children

    async def explain(self, attempt: Attempt, at: float, engine: Engine | None = None) -> Explained:
        """Explain `attempt`, whose path names the account, at `at`, in seconds since the epoch.

        Without an `engine` the address counts as believed, and sessions as told of.

        Raises: Unavailable when the store does not answer.
        """
        access, text = attempt.access, attempt.unverified_token
        digest = shown_digest(self._keyring.digest, text) if text else None
        asked = self._children.ask(text) if digest is not None and looks_signed(text) else None
        account, name = access.stream
        read = await self._source.facts(digest, account, name, with_publishers=True, asked=asked)
        if asked is not None and read.record is None:
            facts = self._children.facts(read, asked)
        elif digest is not None:
            facts = token_facts(read)
        else:
            facts = TokenFacts(None, TokenState.MALFORMED if text else TokenState.ABSENT)
        policies = await self._source.account_policies()
        stands = standing(
            facts,
            publishers_of(read, access.stream.name),
            account=policies.get(access.stream.account, OPEN),
            revision=read.revision,
            now=at,
        )._replace(country=self._countries.country(access.client_ip), running=attempt.running)
        token = facts.token
        if token is not None and token.internal:
            decision, findings = explain(token, access, internally(stands), at)
            return Explained(decision, findings, token.id, token, stands)
        if engine is not None:
            stands = stands._replace(
                address_trusted=engine.address_trust is not AddressTrust.UNTRUSTED,
                sessions_told=tells_sessions(engine, access.protocol),
                bytes_told=tells_bytes(engine, access.protocol),
            )
        if token is not None and (token.counts or token.binds):
            usage = await self._usage(engine, attempt, access, token, at)
            stands = stands._replace(usage=usage, running=attempt.running or usage.own is not None)
        decision, findings = explain(token, access, stands, at, runs=attempt.running)
        return Explained(decision, findings, token.id if token is not None else None, token, stands)

    async def _usage(
        self, engine: Engine | None, attempt: Attempt, access: Access, token: VerifiedToken, at: float
    ) -> Usage:
        """Return what was used of a token, and of those that it was signed with."""
        of_each = []
        for each in (token, *token.above):
            start = session_start(engine, attempt, access, each, at, shown=token)
            if each.above and each.id == token.above[-1].id:
                # What has no id yet was never let in; others of its subject may have been.
                start = start._replace(token_id=_NOT_KEPT)
            of_each.append(await self._sessions.usage(start, counted_per(each)))
        return of_each[0]._replace(above=tuple(of_each[1:]))
