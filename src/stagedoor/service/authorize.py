"""Answer an engine: may this go on?

The hot path. Warm, it reads memory only: nothing is awaited between reading the view and the answer, so no change is
applied in between. Cold, it asks the store once. When the store does not answer, nothing new is let in.
"""

from typing import Final, NamedTuple

from stagedoor.model.access import Access, Action, Protocol
from stagedoor.model.decision import Decision, Reason
from stagedoor.model.engine import Engine
from stagedoor.model.errors import Unavailable
from stagedoor.model.ids import AccountId, StreamId, TokenId, is_stream_name
from stagedoor.model.token import TokenState
from stagedoor.policy import decide
from stagedoor.service.ports import AccessEvent, AccessLog, Clock, Publishers, TokenFacts, View
from stagedoor.service.standing import NO_PUBLISHERS, standing
from stagedoor.tokens.keyring import Keyring
from stagedoor.tokens.opaque import parse_opaque

_ABSENT: Final = TokenFacts(None, TokenState.ABSENT)
_MALFORMED: Final = TokenFacts(None, TokenState.MALFORMED)
_NO_ACCOUNT: Final = AccountId("")


class Attempt(NamedTuple):
    """What an engine's call says, before anything of it is known to be true.

    `account` is empty where the path names none. `unverified_token` is empty where none was shown. `session` is the
    engine's own id of the connection. `will_ask`: when the token is missing, the engine asks its client for one and
    calls again, so this is no refusal yet.
    """

    action: Action
    account: AccountId
    name: str
    unverified_token: str
    protocol: Protocol
    client_ip: str
    session: str = ""
    origin: str | None = None
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
    """Decides attempts and tells the access log."""

    def __init__(self, *, view: View, keyring: Keyring, clock: Clock, access_log: AccessLog) -> None:
        """Take the collaborators; nothing is read yet."""
        self._view = view
        self._keyring = keyring
        self._clock = clock
        self._access_log = access_log

    async def engine(self, hook_secret: str) -> Engine | None:
        """Return the engine whose hook URL holds `hook_secret`; None when there is none.

        Raises: Unavailable when engines may have changed and the store does not answer.
        """
        if self._view.behind():
            await self._view.catch_up()
        return self._view.engine(self._keyring.digest(hook_secret.encode()))

    async def authorize(self, engine: Engine, attempt: Attempt) -> Decision:
        """Decide `attempt` of `engine`, and record it. Never raises for anything the attempt says."""
        view = self._view
        token_id = None
        account = attempt.account or engine.account
        stream = StreamId(account, attempt.name)
        if not is_stream_name(attempt.name):
            # Security: the name as it came would reach the log; only names that can be names do.
            stream = StreamId(account, "(invalid)")
            decision = Decision(Reason.STREAM_NAME_INVALID, view.revision)
        elif engine.account and account != engine.account:
            decision = Decision(Reason.ACCOUNT_MISMATCH, view.revision)
        else:
            try:
                facts, publishers, revision = await self._facts(attempt, account)
            except Unavailable:
                decision = Decision(Reason.STORE_UNAVAILABLE, view.revision)
            else:
                token = facts.token
                if token is not None:
                    token_id = token.id
                    if not account:
                        stream = StreamId(token.account, attempt.name)
                now = self._clock()
                access = Access(attempt.action, stream, attempt.protocol, attempt.client_ip, attempt.origin)
                stands = standing(
                    facts, publishers, account_enabled=view.account_enabled(stream.account), revision=revision, now=now
                )
                decision = decide(token, access, stands, now)
        if not (attempt.will_ask and decision.reason is Reason.TOKEN_MISSING):
            self._record(engine, attempt, stream, token_id, decision)
        return decision

    def note(self, engine: Engine, notice: Notice) -> Decision:
        """Answer a call that needed no policy, and record it where it says so."""
        decision = Decision(notice.reason, self._view.revision)
        if notice.recorded:
            self._access_log.record(
                AccessEvent(
                    self._clock(),
                    decision.allowed,
                    decision.reason,
                    notice.event,
                    "",
                    None,
                    notice.client_ip,
                    "",
                    engine.name,
                    notice.session,
                    decision.revision,
                )  # fmt: skip
            )
        return decision

    async def _facts(self, attempt: Attempt, account: AccountId) -> tuple[TokenFacts, Publishers, int]:
        """Find out about the token and, for a viewer, about the stream: from memory, else from the store."""
        view = self._view
        if view.behind():
            await view.catch_up()
        digest = None
        facts: TokenFacts | None = _ABSENT
        if attempt.unverified_token:
            value = parse_opaque(attempt.unverified_token)
            if value is None:
                facts = _MALFORMED
            else:
                digest = self._keyring.digest(value)
                facts = view.token(digest)
        watching = attempt.action is Action.SUBSCRIBE
        if facts is not None:
            if not watching:
                return facts, NO_PUBLISHERS, view.revision
            owner = account or (facts.token.account if facts.token is not None else _NO_ACCOUNT)
            publishers = view.publishers(owner, attempt.name) if owner else NO_PUBLISHERS
            if publishers is not None:
                return facts, publishers, view.revision
        loaded, publishers, revision = await view.load(digest, account, attempt.name, with_publishers=watching)
        return (loaded if digest is not None else facts or _ABSENT), publishers, revision

    def _record(
        self, engine: Engine, attempt: Attempt, stream: StreamId, token_id: TokenId | None, decision: Decision
    ) -> None:
        self._access_log.record(
            AccessEvent(
                self._clock(), decision.allowed, decision.reason, attempt.action, str(stream), token_id,
                attempt.client_ip, attempt.protocol, engine.name, attempt.session, decision.revision,
            )
        )  # fmt: skip
