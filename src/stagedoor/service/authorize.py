"""Answer an engine: may this go on?

The hot path. Warm, it reads memory only: nothing is awaited between reading the view and the answer, so no change is
applied in between. Cold, it asks the store once. When the store does not answer, nothing new is let in.
"""

import logging
from typing import Final, NamedTuple

from stagedoor.model.access import Access, Action, Protocol
from stagedoor.model.caveats import Per, SessionLimit, Tried
from stagedoor.model.decision import ALLOWING, Decision, Reason, Standing
from stagedoor.model.engine import AddressTrust, Engine, tells_bytes, tells_sessions
from stagedoor.model.errors import Unavailable
from stagedoor.model.ids import AccountId, EngineId, StreamId
from stagedoor.model.session import NO_TOKEN, SessionStart, session_id
from stagedoor.model.token import TokenState, VerifiedToken
from stagedoor.model.usage import Effects, Session, Usage
from stagedoor.policy import admit, decide, decide_internal, ends
from stagedoor.service.children import Children
from stagedoor.service.engines import control_secret
from stagedoor.service.ports import AccessEvent, AccessLog, Clock, CountryLookup, Publishers, TokenFacts, View
from stagedoor.service.session_ports import Admission
from stagedoor.service.sessions import Sessions
from stagedoor.service.standing import NO_PUBLISHERS, standing
from stagedoor.service.viewers import HlsViewers, viewer_of
from stagedoor.tokens.keyring import Keyring
from stagedoor.tokens.shown import shown_digest
from stagedoor.tokens.signed import looks_signed

_log = logging.getLogger(__name__)

MAX_CLIENT_IP: Final = 64

INTERNAL: Final = "internal"
"""What an access of a program of our own is called in the access log."""

_ABSENT: Final = TokenFacts(None, TokenState.ABSENT)
_MALFORMED: Final = TokenFacts(None, TokenState.MALFORMED)
_NO_ACCOUNT: Final = AccountId("")
_NO_ENGINE: Final = EngineId("")
_SUBSCRIBE: Final = Action.SUBSCRIBE
_PUBLISH: Final = Action.PUBLISH
_HLS: Final = Protocol.HLS
_UNTRUSTED: Final = AddressTrust.UNTRUSTED
# See model.ids: the quicker way to make a named tuple.
_new: Final = tuple.__new__
_MOST_READS: Final = 5
_TOKEN_MISSING: Final = Reason.TOKEN_MISSING


class Attempt(NamedTuple):
    """What an engine's call says, before anything of it is known to be true.

    The account of `access.stream` is empty where the path names none. `unverified_token` is empty where none was shown.
    `session` is the engine's own id of the connection. `will_ask`: when the token is missing, the engine asks its client
    for one and calls again, so this is no refusal yet. `running`: the engine asks whether a session of its may go on.
    """

    access: Access
    unverified_token: str
    session: str = ""
    will_ask: bool = False
    running: bool = False


class Notice(NamedTuple):
    """A call that asks for no decision of policy: its answer is `reason`. `event` is one of the dialect's own words.

    With `recorded` false it is not told to the access log: it says that something began or ended, or it will be asked
    again. `ends`: the session is over, or what it did of that action.
    """

    event: str
    reason: Reason
    client_ip: str = ""
    session: str = ""
    recorded: bool = True
    ends: Action | None = None


class _Claim(NamedTuple):
    """What memory allows, and only the store can grant, since it counts."""

    token: VerifiedToken
    access: Access
    standing: Standing


class Authorizer:
    """Decides attempts and tells the access log. `behind` and `catch_up` are the view's."""

    def __init__(
        self,
        *,
        view: View,
        keyring: Keyring,
        clock: Clock,
        access_log: AccessLog,
        sessions: Sessions,
        countries: CountryLookup,
        children: Children,
    ) -> None:
        """Take the collaborators; nothing is read yet."""
        self._view = view
        self._digest = keyring.digest
        self._clock = clock
        self._record = access_log.record
        self._sessions = sessions
        self._country = countries.country
        self._viewers = HlsViewers()
        self._children = children
        self.behind = view.behind
        self.catch_up = view.catch_up

    def digest(self, hook_secret: str) -> bytes:
        """Return the digest that an engine is found by."""
        return self._digest(hook_secret.encode(errors="replace"))

    def control_secret(self, secret_digest: bytes) -> str:
        """Return what our own calls to the control API of the engine with that digest show."""
        return control_secret(self._digest, secret_digest)

    def engine(self, secret_digest: bytes) -> Engine | None:
        """Return the engine whose hook secret has that digest, of a view that is not behind; None when there is none."""
        return self._view.engine(secret_digest)

    async def authorize(self, engine: Engine, attempt: Attempt) -> Decision:
        """Decide `attempt` of `engine`, and record it. Never raises for anything the attempt says."""
        try:
            if self._view.behind():
                await self._view.catch_up()
            found = self._look(engine, attempt)
            if found is None:
                found = await self._read(engine, attempt)
            if isinstance(found, _Claim) and found.token.lineage is not None and found.token.lineage.unkept:
                # What counts has to have an id to be counted under; from now on it has.
                await self._children.keep(attempt.unverified_token)
                found = await self._read(engine, attempt)
            return found if isinstance(found, Decision) else await self._claim(engine, attempt, found)
        except Unavailable:
            # Nothing new is let in; what runs is not ended because a database restarts.
            return self._answer(engine, attempt, Reason.OK if attempt.running else Reason.STORE_UNAVAILABLE)

    def from_memory(self, engine: Engine, attempt: Attempt) -> Decision | None:
        """Decide as `authorize` does, with a view that is not behind; None when the store has to be asked."""
        found = self._look(engine, attempt)
        # By the class of the one and not of the other: this is where every warm call passes.
        return found if found.__class__ is Decision else None

    def _look(self, engine: Engine, attempt: Attempt) -> Decision | _Claim | None:
        """Judge by what is in memory; None when something is not."""
        view = self._view
        access, token_text = attempt.access, attempt.unverified_token
        account, name = access.stream
        if not name:
            return self._answer(engine, attempt, Reason.STREAM_NAME_INVALID)
        if engine.account and account != engine.account:
            if account:
                return self._answer(engine, attempt, Reason.ACCOUNT_MISMATCH)
            account = engine.account
        facts, publishers = _ABSENT, NO_PUBLISHERS
        if token_text:
            digest = shown_digest(self._digest, token_text)
            known = view.token(digest) if digest is not None else _MALFORMED
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

    async def _read(self, engine: Engine, attempt: Attempt) -> Decision | _Claim:
        """Judge by one read of the store, which `_look` found to be needed.

        A write that was announced while the store was read asks for another read, so that no decision is made from a state
        older than a write that has returned, even one that returned after the question came.

        Raises: Unavailable, also when writes come faster than they can be read.
        """
        stream, token_text = attempt.access.stream, attempt.unverified_token
        account = stream.account or engine.account
        digest = shown_digest(self._digest, token_text) if token_text else None
        asked = self._children.ask(token_text) if digest is not None and looks_signed(token_text) else None
        watching = attempt.access.action is _SUBSCRIBE
        view = self._view
        for _ in range(_MOST_READS):
            facts, publishers, revision = await view.load(
                digest, account, stream.name, with_publishers=watching, asked=asked
            )
            if view.behind():
                await view.catch_up()
            if revision >= view.revision:
                break
        else:
            raise Unavailable("the database changes faster than it can be read")
        if digest is None:
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
    ) -> Decision | _Claim:
        """Judge what is known, at one reading of the clock. Nothing is awaited here."""
        now = self._clock()
        access, token = attempt.access, facts.token
        stream = access.stream
        if stream.account != account or not account:
            stream = StreamId(account or (token.account if token is not None else _NO_ACCOUNT), stream.name)
            access = access._replace(stream=stream)
        policy = self._view.account(stream.account)
        trusted = engine.address_trust is not _UNTRUSTED
        stands = standing(facts, publishers, account=policy, revision=revision, now=now, address_trusted=trusted)
        asks = token is not None and (token.sets_countries or token.lineage is not None)
        if asks or stands.viewer_caveats or policy.countries is not None:
            stands = stands._replace(country=self._country(access.client_ip))
        if attempt.running and (token is None or not token.counts):
            self._sessions.saw(engine.id, attempt.session)
            decision = _go_on(token, access, stands, now)
            if policy.tells_viewers and decision.reason in ALLOWING:
                self._watch(engine, attempt, access, token if stands.secured else None, now)
            return self._told(engine, attempt, access, token, decision, now)
        if token is not None and (token.counts or token.binds or access.protocol is _HLS):
            return self._decide_with_sessions(engine, attempt, access, token, stands, now)
        decision = decide(token, access, stands, now)
        if access.action is _PUBLISH:
            if token is not None and decision.reason in ALLOWING:
                self._begin(engine, attempt, access, token, now)
        elif policy.tells_viewers and decision.reason in ALLOWING:
            self._watch(engine, attempt, access, token if stands.secured else None, now)
        return self._told(engine, attempt, access, token, decision, now)

    def _decide_with_sessions(
        self, engine: Engine, attempt: Attempt, access: Access, token: VerifiedToken, stands: Standing, now: float
    ) -> Decision | _Claim:
        """Judge where it matters what sessions there are: the token counts them, or this asks on behalf of one."""
        if token.internal:
            return self._decide_internal(engine, attempt, access, token, stands, now)
        protocol = access.protocol
        stands = stands._replace(
            running=attempt.running,
            sessions_told=tells_sessions(engine, protocol),
            bytes_told=tells_bytes(engine, protocol),
        )
        viewer = viewer_of(token, access) if protocol is _HLS else None
        if viewer is not None:
            running, confirmed = self._viewers.running(viewer, now)
            stands = stands._replace(running=running)
            if token.counts and (confirmed or (running and not stands.sessions_told)):
                # The store has counted this viewer a moment ago, or keeps no session of theirs.
                return self._decide_counted(engine, attempt, access, token, stands, now)
        if not (token.counts or token.binds):
            decision = decide(token, access, stands, now)
        else:
            decision, effects = admit(token, access, stands, now)
            # Security: those above are bound by what is signed with them too.
            binds = effects.bind is not None or any(each.bind is not None for each in effects.above)
            if (token.counts and (effects.starts or attempt.running)) or binds:
                return _Claim(token, access, stands)
        if decision.reason in ALLOWING:
            if viewer is not None:
                self._viewers.saw(viewer, now)
            elif access.action is _PUBLISH:
                self._begin(engine, attempt, access, token, now)
            if stands.account.tells_viewers:
                self._watch(engine, attempt, access, token if stands.secured else None, now)
        return self._told(engine, attempt, access, token, decision, now)

    def _decide_internal(
        self, engine: Engine, attempt: Attempt, access: Access, token: VerifiedToken, stands: Standing, now: float
    ) -> Decision:
        """Judge a program of our own. It is no viewer: no session is kept of it, and it is recorded as the engine's calls are."""
        decision = decide_internal(token, access, stands, now)
        if not attempt.running:
            seen = (now, decision, INTERNAL, None, access.client_ip, None, engine.name, attempt.session, "")
            self._record(_new(AccessEvent, seen))
        return decision

    def _decide_counted(
        self, engine: Engine, attempt: Attempt, access: Access, token: VerifiedToken, stands: Standing, now: float
    ) -> Decision:
        """Judge the request of an HLS viewer who is counted already."""
        decision = decide(token, access, stands._replace(usage=Usage(own=Session(0, now))), now)
        if decision.reason in ALLOWING:
            self._viewers.saw(viewer_of(token, access), now)
        return self._told(engine, attempt, access, token, decision, now)

    async def _claim(self, engine: Engine, attempt: Attempt, claim: _Claim) -> Decision:
        """Have the store grant what memory allows.

        Raises: Unavailable.
        """
        token, access, stands = claim
        now = self._clock()
        start = session_start(engine, attempt, access, token, now)

        def judge(usage: Usage) -> tuple[Decision, Effects]:
            # Others may have been waited for: this is the instant that counts.
            at = self._clock()
            if not attempt.running:
                return admit(token, access, stands._replace(usage=usage, running=usage.own is not None), at)
            # What runs was let in. One that we took for gone is back: no new start, where there still is room for it.
            decision = _go_on(token, access, stands._replace(usage=usage, running=True), at)
            return decision, Effects(
                resumes=usage.own is None, above=tuple(Effects(resumes=each.own is None) for each in usage.above)
            )

        told = stands.sessions_told
        above = tuple(
            (session_start(engine, attempt, access, each, now, shown=token), counted_per(each)) for each in token.above
        )
        admission = Admission(start, counted_per(token), token.binds, told, attempt.running, judge, above)
        decision = await self._sessions.admit(admission)
        if decision.reason in ALLOWING and self._view.behind():
            # Security: a write was announced meanwhile. Look again, so that no answer is older than a write that has returned.
            await self._view.catch_up()
            again = self._look(engine, attempt)
            if again is None:
                again = await self._read(engine, attempt)
            if isinstance(again, Decision):
                # It has been told of already. What was granted and is refused by now was no session.
                if again.reason not in ALLOWING:
                    await self._sessions.ended(engine.id, start.session)
                return again
        if access.protocol is _HLS and decision.reason in ALLOWING:
            self._viewers.confirmed(viewer_of(token, access), now)
        return self._told(engine, attempt, access, token, decision, now)

    def _begin(self, engine: Engine, attempt: Attempt, access: Access, token: VerifiedToken, now: float) -> None:
        """Take note of a broadcast, where we will learn when it ends."""
        if tells_sessions(engine, access.protocol):
            sessions = self._sessions
            if sessions.started(token.id, engine.id, attempt.session, access.stream.name):
                sessions.note(session_start(engine, attempt, access, token, now))

    def _watch(self, engine: Engine, attempt: Attempt, access: Access, token: VerifiedToken | None, now: float) -> None:
        """Take note of a viewer, where we will learn when it goes. `token` is the one that it needed, if it needed one."""
        if access.action is _SUBSCRIBE and tells_sessions(engine, access.protocol):
            self._sessions.watches(session_start(engine, attempt, access, token, now))

    def _told(
        self,
        engine: Engine,
        attempt: Attempt,
        access: Access,
        token: VerifiedToken | None,
        decision: Decision,
        now: float,
    ) -> Decision:
        """Record a decision, but for one that will be asked again, and for a session that simply goes on."""
        reason = decision.reason
        if not (attempt.will_ask and reason is _TOKEN_MISSING) and not (attempt.running and reason in ALLOWING):
            token_id = token.id if token is not None else None
            lineage = token.lineage if token is not None else None
            child = lineage.fingerprint if lineage is not None else ""
            seen = (
                now,
                decision,
                access.action,
                access,
                access.client_ip,
                token_id,
                engine.name,
                attempt.session,
                child,
            )
            self._record(_new(AccessEvent, seen))
            if lineage is not None and lineage.former and reason in ALLOWING:
                self._sessions.used_former(lineage.former)
            if decision.shadowed is not None:
                self._sessions.shadowed(access.stream.account, token_id, decision.shadowed)
        return decision

    def _answer(self, engine: Engine, attempt: Attempt, reason: Reason) -> Decision:
        """Answer where policy could not judge, and record it."""
        return self._told(engine, attempt, attempt.access, None, Decision(reason, self._view.revision), self._clock())

    def note(self, engine: Engine, notice: Notice) -> Decision:
        """Answer a call that needed no policy, and record it where it says so."""
        decision = Decision(notice.reason, self._view.revision)
        if notice.recorded:
            now = self._clock()
            self._record(
                AccessEvent(now, decision, notice.event, None, notice.client_ip, None, engine.name, notice.session)
            )
        return decision

    def refuse_engine(self) -> None:
        """Record a call with a secret that is no engine's. Nothing else that it says is worth keeping."""
        decision = Decision(Reason.ENGINE_UNKNOWN, self._view.revision)
        self._record(AccessEvent(self._clock(), decision, "unknown", None, "", None, "", ""))

    async def end(self, engine: Engine, notice: Notice) -> Decision:
        """Take off a session that has ended. The engine listens to no answer, so a store that is away is not its concern."""
        try:
            await self._sessions.ended(engine.id, notice.session, notice.ends)
        except Unavailable:
            _log.error("the end of a session on %s could not be written down", engine.name)
        return self.note(engine, notice)


def counted_per(token: VerifiedToken) -> Per:
    """Tell whose sessions a token's limits count."""
    for caveat in token.caveats:
        condition = caveat.condition if isinstance(caveat, Tried) else caveat
        if isinstance(condition, SessionLimit) and condition.per is Per.SUBJECT:
            return Per.SUBJECT
    return Per.TOKEN


def session_start(
    engine: Engine | None,
    attempt: Attempt,
    access: Access,
    token: VerifiedToken | None,
    at: float,
    shown: VerifiedToken | None = None,
) -> SessionStart:
    """Return the session that `attempt` would begin, or goes on with, as it counts for `token`.

    An HLS viewer has no id: its address stands for it, and the token that is shown, which is `shown` where that is another one.
    """
    session = attempt.session
    if access.protocol is _HLS:
        viewer = shown or token
        whose = (
            f"{viewer.id}{viewer.fingerprint} {access.stream.name}"
            if viewer is not None
            else f"{NO_TOKEN} {access.stream}"
        )
        session = f"{whose} {access.client_ip}"
    return SessionStart(
        access.stream.account,
        token.id if token is not None else NO_TOKEN,
        token.subject if token is not None else "",
        engine.id if engine is not None else _NO_ENGINE,
        session_id(session),
        access.stream.name,
        access.action,
        access.protocol,
        access.client_ip.replace("\0", "")[:MAX_CLIENT_IP],
        at,
        shown is None or shown is token,
    )


def _go_on(token: VerifiedToken | None, access: Access, stands: Standing, now: float) -> Decision:
    """Decide whether a session that runs may go on."""
    return Decision(ends(token, access, stands, now) or Reason.OK, stands.revision)
