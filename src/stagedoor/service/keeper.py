"""Look after what runs on engines that have a control API: it is alive while they list it, and ended when it has to.

Engines that ask again and again while a session runs (nginx-rtmp, HLS) need no keeper: they are answered. It ends what they
run sooner, and learns how much that carried. What could not be ended is tried again the next time.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from dataclasses import replace
from typing import Final, NamedTuple

from stagedoor.model.access import Access, Action
from stagedoor.model.decision import Reason, Standing
from stagedoor.model.engine import Engine, tells_bytes
from stagedoor.model.errors import NotFound, Unavailable
from stagedoor.model.ids import StreamId
from stagedoor.model.session import NO_TOKEN, OpenSession
from stagedoor.model.token import TokenKind, TokenState
from stagedoor.model.usage import UNUSED
from stagedoor.policy import ends
from stagedoor.service.authorize import counted_per
from stagedoor.service.children import Children
from stagedoor.service.controls import Controls
from stagedoor.service.ports import Clock, TokenFacts, TokenStore, View
from stagedoor.service.session_ports import SessionStore
from stagedoor.tokens.verify import verified

_log = logging.getLogger(__name__)

INTERVAL_SECONDS: Final = 5.0
"""How often engines are asked what runs: a limit or a revocation ends a session after so long at most."""

_GONE: Final = {TokenState.BAD_SIGNATURE: Reason.SIGNATURE_INVALID, TokenState.KEY_REVOKED: Reason.KEY_REVOKED}
"""Why a session is to end whose token is verified no longer."""

_YOUNG_SECONDS: Final = 10.0
"""A session that was admitted so shortly ago may not be listed yet."""


class Ended(NamedTuple):
    """A session that was ended, and why."""

    engine: str
    session: str
    reason: Reason


class Keeper:
    """Watches engines through their control APIs."""

    def __init__(
        self,
        *,
        view: View,
        engines: Callable[[], Collection[Engine]],
        tokens: TokenStore,
        sessions: SessionStore,
        controls: Controls,
        clock: Clock,
        may_work: Callable[[], bool],
        children: Children,
        key_revoked: Callable[[int], Awaitable[bool]],
    ) -> None:
        """Take the collaborators. `may_work`: of all processes that share the engines, one does the work.

        `key_revoked` tells of the id of one of our signing keys whether it is revoked.
        """
        self._view = view
        self._engines = engines
        self._tokens = tokens
        self._sessions = sessions
        self._controls = controls
        self._away: set[str] = set()
        self._clock = clock
        self._may_work = may_work
        self._children = children
        self._key_revoked = key_revoked

    async def run(self) -> None:
        """Look after all engines again and again, until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL_SECONDS)
            if not self._may_work():
                continue
            for engine in list(self._engines()):
                if engine.control_url:
                    await self._try(engine)

    async def _try(self, engine: Engine) -> None:
        """Look after one engine, and log what was ended, and once each time that it is away."""
        try:
            for ended in await self.look_after(engine):
                _log.info("ended a session on %s: %s", ended.engine, ended.reason)
        except Unavailable as error:
            if engine.name not in self._away:
                self._away.add(engine.name)
                _log.warning("%s", error.message)
        else:
            self._away.discard(engine.name)

    async def look_after(self, engine: Engine) -> list[Ended]:
        """Compare what an engine runs with what was admitted, and end what has to; return what was ended.

        Raises: Unavailable.
        """
        control = self._controls.of(engine)
        carried = await control.sessions(engine)
        now = self._clock()
        opened = [
            session
            for session in await self._sessions.open_sessions(engine.id)
            if tells_bytes(engine, session.start.protocol)
        ]
        running = [session for session in opened if session.start.session in carried]
        seen = {session.start.session: carried[session.start.session] for session in running}
        await self._sessions.saw_sessions(engine.id, seen, now)
        for session in opened:
            if session.start.session not in carried and now > session.start.at + _YOUNG_SECONDS:
                await self._sessions.end_session(engine.id, session.start.session, now)
        ended: list[Ended] = []
        gone: set[str] = set()
        failed: Unavailable | None = None
        for session in running:
            if session.start.session in gone:
                continue  # it counted for several tokens, and has ended with one of them
            reason = await self._ends(session, now)
            if reason is not None:
                try:
                    await control.end(engine, session)
                except Unavailable as error:
                    # One that cannot be ended must not keep the others from it.
                    failed = error
                    continue
                await self._sessions.end_session(engine.id, session.start.session, now)
                gone.add(session.start.session)
                ended.append(Ended(engine.name, session.start.session, reason))
        if failed is not None:
            raise failed
        return ended

    async def _ends(self, session: OpenSession, now: float) -> Reason | None:
        """Return the reason for which a session is to end, None when it may go on."""
        start = session.start
        if start.token_id == NO_TOKEN and start.action is Action.SUBSCRIBE:
            return None  # a viewer who needed no token is kept to be told of
        try:
            record = await self._tokens.find_token(start.token_id)
        except NotFound:
            return Reason.TOKEN_UNKNOWN
        facts = TokenFacts(verified(record), record.state)
        if record.kind is TokenKind.CHILD:
            facts = await self._children.facts_of(record)
        elif record.key_id and record.revoked_at is None and await self._key_revoked(record.key_id):
            facts = replace(facts, state=TokenState.KEY_REVOKED)
        token = facts.token
        if token is None:
            return _GONE.get(facts.state, Reason.TOKEN_UNKNOWN)
        usage = UNUSED
        if token.counts:
            usage = await self._sessions.usage(start._replace(at=now), counted_per(token))
        policy = self._view.account(start.account)
        access = Access(start.action, StreamId(start.account, start.stream), start.protocol, start.client_ip)
        # It was let in with this token, so it is the token that is judged, whatever the stream asks of others by now.
        stands = Standing(facts.state, policy, True, (), self._view.revision, running=True, usage=usage)
        return ends(token, access, stands, now)
