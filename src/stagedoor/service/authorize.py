"""Answer an engine: may this go on?

The hot path. Warm, it reads memory only: nothing is awaited between reading the view and the answer, so no change is
applied in between. Cold, it asks the store once. When the store does not answer, nothing new is let in.
"""

from typing import Final, NamedTuple

from stagedoor.model.access import Access, Action
from stagedoor.model.decision import Decision, Reason
from stagedoor.model.engine import Engine
from stagedoor.model.errors import Unavailable
from stagedoor.model.ids import AccountId, StreamId
from stagedoor.model.token import TokenState
from stagedoor.policy import decide
from stagedoor.service.ports import AccessEvent, AccessLog, Clock, Publishers, TokenFacts, View
from stagedoor.service.standing import NO_PUBLISHERS, standing
from stagedoor.tokens.keyring import Keyring
from stagedoor.tokens.opaque import parse_opaque

_ABSENT: Final = TokenFacts(None, TokenState.ABSENT)
_MALFORMED: Final = TokenFacts(None, TokenState.MALFORMED)
_NO_ACCOUNT: Final = AccountId("")
_SUBSCRIBE: Final = Action.SUBSCRIBE
# See model.ids: the quicker way to make a named tuple.
_new: Final = tuple.__new__
_MOST_READS: Final = 5
_TOKEN_MISSING: Final = Reason.TOKEN_MISSING


class Attempt(NamedTuple):
    """What an engine's call says, before anything of it is known to be true.

    The account of `access.stream` is empty where the path names none. `unverified_token` is empty where none was shown.
    `session` is the engine's own id of the connection. `will_ask`: when the token is missing, the engine asks its client
    for one and calls again, so this is no refusal yet.
    """

    access: Access
    unverified_token: str
    session: str = ""
    will_ask: bool = False


class Notice(NamedTuple):
    """A call that asks for no decision of policy: its answer is `reason`. `event` is one of the dialect's own words.

    With `recorded` false it is not told to the access log: it says that something began or ended, or it will be asked
    again.
    """

    event: str
    reason: Reason
    client_ip: str = ""
    session: str = ""
    recorded: bool = True


class Authorizer:
    """Decides attempts and tells the access log. `behind` and `catch_up` are the view's."""

    def __init__(self, *, view: View, keyring: Keyring, clock: Clock, access_log: AccessLog) -> None:
        """Take the collaborators; nothing is read yet."""
        self._view = view
        self._digest = keyring.digest
        self._clock = clock
        self._record = access_log.record
        self.behind = view.behind
        self.catch_up = view.catch_up

    def digest(self, hook_secret: str) -> bytes:
        """Return the digest that an engine is found by."""
        return self._digest(hook_secret.encode(errors="replace"))

    def engine(self, secret_digest: bytes) -> Engine | None:
        """Return the engine whose hook secret has that digest, of a view that is not behind; None when there is none."""
        return self._view.engine(secret_digest)

    async def authorize(self, engine: Engine, attempt: Attempt) -> Decision:
        """Decide `attempt` of `engine`, and record it. Never raises for anything the attempt says."""
        try:
            if self._view.behind():
                await self._view.catch_up()
            decision = self.from_memory(engine, attempt)
            return decision if decision is not None else await self._from_store(engine, attempt)
        except Unavailable:
            return self._refuse(engine, attempt, Reason.STORE_UNAVAILABLE)

    def from_memory(self, engine: Engine, attempt: Attempt) -> Decision | None:
        """Decide as `authorize` does, with a view that is not behind; None when the store has to be asked."""
        view = self._view
        access, token_text = attempt.access, attempt.unverified_token
        account, name = access.stream
        if not name:
            return self._refuse(engine, attempt, Reason.STREAM_NAME_INVALID)
        if engine.account and account != engine.account:
            if account:
                return self._refuse(engine, attempt, Reason.ACCOUNT_MISMATCH)
            account = engine.account
        facts, publishers = _ABSENT, NO_PUBLISHERS
        if token_text:
            value = parse_opaque(token_text)
            known = view.token(self._digest(value)) if value is not None else _MALFORMED
            if known is None:
                return None
            facts = known
        if access.action is _SUBSCRIBE:
            owner = account or (facts.token.account if facts.token is not None else _NO_ACCOUNT)
            covering = view.publishers(owner, name) if owner else NO_PUBLISHERS
            if covering is None:
                return None
            publishers = covering
        return self._decide(engine, attempt, account, facts, publishers, view.revision)

    async def _from_store(self, engine: Engine, attempt: Attempt) -> Decision:
        """Decide with one read of the store, which `from_memory` found to be needed.

        A write that was announced while the store was read asks for another read, so that no decision is made from a state
        older than a write that has returned, even one that returned after the question came.

        Raises: Unavailable, also when writes come faster than they can be read.
        """
        stream, token_text = attempt.access.stream, attempt.unverified_token
        value = parse_opaque(token_text) if token_text else None
        account = stream.account or engine.account
        digest = self._digest(value) if value is not None else None
        watching = attempt.access.action is _SUBSCRIBE
        view = self._view
        for _ in range(_MOST_READS):
            facts, publishers, revision = await view.load(digest, account, stream.name, with_publishers=watching)
            if view.behind():
                await view.catch_up()
            if revision >= view.revision:
                break
        else:
            raise Unavailable("the database changes faster than it can be read")
        if value is None:
            facts = _MALFORMED if token_text else _ABSENT
        return self._decide(engine, attempt, account, facts, publishers, revision)

    def _decide(
        self,
        engine: Engine,
        attempt: Attempt,
        account: AccountId,
        facts: TokenFacts,
        publishers: Publishers,
        revision: int,
    ) -> Decision:
        """Judge what is known, at one reading of the clock. Nothing is awaited here."""
        now = self._clock()
        access, token = attempt.access, facts.token
        stream = access.stream
        if stream.account != account or not account:
            stream = StreamId(account or (token.account if token is not None else _NO_ACCOUNT), stream.name)
            access = access._replace(stream=stream)
        enabled = self._view.account_enabled(stream.account)
        stands = standing(facts, publishers, account_enabled=enabled, revision=revision, now=now)
        decision = decide(token, access, stands, now)
        if not (attempt.will_ask and decision.reason is _TOKEN_MISSING):
            token_id = token.id if token is not None else None
            seen = (now, decision, access.action, access, access.client_ip, token_id, engine.name, attempt.session)
            self._record(_new(AccessEvent, seen))
        return decision

    def _refuse(self, engine: Engine, attempt: Attempt, reason: Reason) -> Decision:
        """Refuse before policy could judge, and record it."""
        decision = Decision(reason, self._view.revision)
        access, now = attempt.access, self._clock()
        self._record(
            AccessEvent(now, decision, access.action, access, access.client_ip, None, engine.name, attempt.session)
        )
        return decision

    def note(self, engine: Engine, notice: Notice) -> Decision:
        """Answer a call that needed no policy, and record it where it says so."""
        decision = Decision(notice.reason, self._view.revision)
        if notice.recorded:
            now = self._clock()
            self._record(
                AccessEvent(now, decision, notice.event, None, notice.client_ip, None, engine.name, notice.session)
            )
        return decision
