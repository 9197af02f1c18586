"""Who is on: what was admitted is written down, and what ended is taken off.

A broadcast that was admitted from memory is written down a moment later, in batches: who publishes decides who may watch, and
until it is known every publish token that covers the stream does. So are viewers whose token counts nothing, or who need
none, in accounts that want to be told of viewers. Sessions that count against a token are written down before the answer, by
the authorizer.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Collection
from typing import Final

from stagedoor.model.access import Action, Protocol
from stagedoor.model.decision import Reason
from stagedoor.model.errors import Unavailable
from stagedoor.model.ids import AccountId, EngineId, TokenId
from stagedoor.model.session import SessionStart, session_id
from stagedoor.service.ports import Clock
from stagedoor.service.session_ports import SessionStore, Shadowed
from stagedoor.service.viewers import CONFIRMED_SECONDS

_log = logging.getLogger(__name__)

_INTERVAL_SECONDS: Final = 0.2
_SWEEP_SECONDS: Final = 30.0
_KEPT_SECONDS: Final = 7 * 86400.0
_QUEUE: Final = 100_000
_BATCH: Final = 1_000


class Sessions:
    """Takes note of sessions. `started`, `watches`, `saw` and `shadowed` append to memory; `run` writes what gathers."""

    def __init__(
        self, *, store: SessionStore, clock: Clock, telling_engines: Callable[[], Collection[EngineId]]
    ) -> None:
        """Take the store, and which engines tell that their sessions live, so that silence means they do not."""
        self._store = store
        self._clock = clock
        self._telling_engines = telling_engines
        self._starts: deque[SessionStart] = deque()
        self._viewers: deque[SessionStart] = deque()
        self._hls: dict[tuple[EngineId, str], float] = {}
        self._last: dict[TokenId, int] = {}
        self._seen: dict[EngineId, dict[str, int]] = {}
        self._shadowed: dict[Shadowed, int] = {}
        self._former: dict[bytes, int] = {}
        self._flushing = asyncio.Lock()
        self.admit = store.admit
        self.usage = store.usage

    def started(self, token_id: TokenId, engine: EngineId, session: str, stream: str) -> bool:
        """Tell whether a broadcast is new, and remember it. An engine may ask more than once about one."""
        # An integer of 30 bits takes a third less memory, and every publish token has one here.
        this = hash((engine, session, stream)) & 0x3FFF_FFFF
        if self._last.get(token_id) == this:
            return False
        if len(self._last) >= _QUEUE and token_id not in self._last:
            del self._last[next(iter(self._last))]
        self._last[token_id] = this
        return True

    def note(self, start: SessionStart) -> None:
        """Take note of a broadcast that began. What finds no room is forgotten: then all tokens that cover it decide."""
        if len(self._starts) < _QUEUE:
            self._starts.append(start)

    def watches(self, start: SessionStart) -> None:
        """Take note of a viewer that begins to watch, or still does. An HLS viewer is all of its requests together."""
        if start.protocol is Protocol.HLS:
            viewer = start.engine, start.session
            if start.at < self._hls.get(viewer, 0.0) + CONFIRMED_SECONDS:
                return
            if len(self._hls) >= _QUEUE and viewer not in self._hls:
                del self._hls[next(iter(self._hls))]
            self._hls[viewer] = start.at
        if len(self._viewers) < _QUEUE:
            self._viewers.append(start)

    def saw(self, engine: EngineId, session: str, carried: int = 0) -> None:
        """Take note of a sign of life, with the bytes carried so far if they are told."""
        self._seen.setdefault(engine, {})[session_id(session)] = carried

    def shadowed(self, account: AccountId, token_id: TokenId | None, reason: Reason) -> None:
        """Count what shadow mode let through."""
        what = Shadowed(account, token_id or TokenId(0), reason)
        self._shadowed[what] = self._shadowed.get(what, 0) + 1

    def used_former(self, digest: bytes) -> None:
        """Count that a value was let in that its token had before."""
        self._former[digest] = self._former.get(digest, 0) + 1

    async def ended(self, engine: EngineId, session: str, action: Action | None = None) -> None:
        """End what is open of an engine's session.

        Raises: Unavailable.
        """
        at = self._clock()
        if self._starts or self._viewers:
            await self.flush()
        await self._store.end_session(engine, session_id(session), at, action)
        if action is not Action.SUBSCRIBE:
            # Rather note a broadcast twice than miss one that an engine begins anew under an old id.
            self._last.clear()

    async def flush(self) -> None:
        """Write what has gathered.

        Raises: Unavailable; what could not be written is kept.
        """
        async with self._flushing:
            for noted in (self._starts, self._viewers):
                while noted:
                    batch = [noted[n] for n in range(min(len(noted), _BATCH))]
                    await self._store.begin_sessions(batch)
                    for _ in batch:
                        noted.popleft()
            while self._seen:
                # If this fails they are lost: the engine tells of a session that lives again and again.
                await self._store.saw_sessions(*self._seen.popitem(), self._clock())
            if self._former:
                # If this fails they are lost: a count of what is on its way out stops nobody.
                former, self._former = self._former, {}
                await self._store.count_former(former, self._clock())
            if self._shadowed:
                counts, self._shadowed = self._shadowed, {}
                try:
                    await self._store.count_shadowed(counts, self._clock())
                except Unavailable:
                    for what, times in counts.items():
                        self._shadowed[what] = self._shadowed.get(what, 0) + times
                    raise

    async def run(self) -> None:
        """Write what gathers a few times a second, and end what fell silent, until cancelled; then write the rest."""
        swept = self._clock()
        try:
            while True:
                await asyncio.sleep(_INTERVAL_SECONDS)
                try:
                    await self.flush()
                    now = self._clock()
                    if now >= swept + _SWEEP_SECONDS:
                        swept = now
                        await self._store.end_silent(self._telling_engines(), now)
                        await self._store.forget_sessions(now - _KEPT_SECONDS)
                except Unavailable:
                    _log.warning("sessions cannot be written down yet")
        finally:
            try:
                await self.flush()
            except Unavailable:
                _log.error("the last sessions could not be written down")
