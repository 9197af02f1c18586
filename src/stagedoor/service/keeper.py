"""Look after what runs on engines that have a control API: it is alive while they list it, and ended when it has to.

Engines that ask again and again while a session runs (nginx-rtmp, HLS) need no keeper: they are answered.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from typing import Final, NamedTuple

from stagedoor.model.access import Access
from stagedoor.model.decision import Reason, Standing
from stagedoor.model.engine import Engine, EngineKind, tells_bytes
from stagedoor.model.errors import NotFound, Unavailable
from stagedoor.model.ids import StreamId
from stagedoor.model.session import OpenSession
from stagedoor.policy import ends
from stagedoor.service.authorize import counted_per
from stagedoor.service.ports import Clock, EngineControl, SessionStore, TokenStore, View
from stagedoor.tokens.verify import verified

_log = logging.getLogger(__name__)

INTERVAL_SECONDS: Final = 5.0
"""How often engines are asked what runs: a limit or a revocation ends a session after so long at most."""

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
        controls: Mapping[EngineKind, Callable[[], EngineControl]],
        clock: Clock,
        may_work: Callable[[], bool],
    ) -> None:
        """Take the collaborators. A control is made when the first engine of its kind needs it.

        `may_work`: of all processes that share the engines, one does the work.
        """
        self._view = view
        self._engines = engines
        self._tokens = tokens
        self._sessions = sessions
        self._make = controls
        self._controls: dict[EngineKind, EngineControl] = {}
        self._away: set[str] = set()
        self._clock = clock
        self._may_work = may_work

    async def run(self) -> None:
        """Look after all engines again and again, until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL_SECONDS)
            if not self._may_work():
                continue
            for engine in list(self._engines()):
                if engine.control_url and engine.kind in self._make:
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

    async def close(self) -> None:
        """Close the connections to control APIs."""
        for control in self._controls.values():
            await control.close()

    async def look_after(self, engine: Engine) -> list[Ended]:
        """Compare what an engine runs with what was admitted, and end what has to; return what was ended.

        Raises: Unavailable.
        """
        if engine.kind not in self._controls:
            self._controls[engine.kind] = self._make[engine.kind]()
        control = self._controls[engine.kind]
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
        for session in running:
            reason = await self._ends(session, now)
            if reason is not None:
                await control.end(engine, session)
                await self._sessions.end_session(engine.id, session.start.session, now)
                ended.append(Ended(engine.name, session.start.session, reason))
        return ended

    async def _ends(self, session: OpenSession, now: float) -> Reason | None:
        """Return the reason for which a session is to end, None when it may go on."""
        start = session.start
        try:
            record = await self._tokens.find_token(start.token_id)
        except NotFound:
            return Reason.TOKEN_UNKNOWN
        token = verified(record)
        usage = await self._sessions.usage(start._replace(at=now), counted_per(token))
        policy = self._view.account(start.account)
        access = Access(start.action, StreamId(start.account, start.stream), start.protocol, start.client_ip)
        # It was let in with this token, so it is the token that is judged, whatever the stream asks of others by now.
        stands = Standing(record.state, policy, True, (), self._view.revision, running=True, usage=usage)
        return ends(token, access, stands, now)
