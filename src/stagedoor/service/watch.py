"""Watch over decisions and over time, and tell: of first uses, refusals in a row, attempts to watch, viewers, expiries.

Decisions are looked at a moment after they were made, in the batches of the access log, so that none is delayed. What is
remembered of them is bounded: where it does not fit, the oldest is forgotten, and less is told.
"""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Final, TypeVar

from stagedoor.model.access import Action, Protocol
from stagedoor.model.addresses import Network, network_of, parse_address
from stagedoor.model.decision import ALLOWING, Reason
from stagedoor.model.errors import Unavailable
from stagedoor.model.events import EventType
from stagedoor.model.ids import AccountId, TokenId
from stagedoor.model.session import HLS_SILENCE_SECONDS
from stagedoor.service.ports import AccessEvent, Clock, View
from stagedoor.service.watch_ports import ATTEMPT_SECONDS, LEADS, FirstUse, Stream, Suspicion, WatchStore

_log = logging.getLogger(__name__)

BURST: Final = 20
BURST_SECONDS: Final = 60.0
BURST_QUIET_SECONDS: Final = 600.0
"""So many refusals within so long are told of; then no more of the same token for so long."""

SHARING: Final = 3
SHARING_SECONDS: Final = 600.0
SHARING_QUIET_SECONDS: Final = 3600.0
"""The same for addresses that were refused because others use the token already."""

REMIND_SECONDS: Final = 10.0
"""How often tokens are looked for that expire."""

_TAKEN: Final = frozenset({Reason.ADDRESS_NOT_BOUND, Reason.TOO_MANY_SESSIONS, Reason.TOKEN_USED})
"""Refused since somebody else uses the token."""

_OURS: Final = frozenset({Reason.STORE_UNAVAILABLE, Reason.ENGINE_UNKNOWN})
"""Refusals that say nothing about who asked."""

_INTERVAL_SECONDS: Final = 1.0
_FORGET_SECONDS: Final = 600.0
_KEPT_SECONDS: Final = 2 * SHARING_QUIET_SECONDS
_BATCH: Final = 500
_MOST_SUBJECTS: Final = 2_000
_MOST_REFUSALS: Final = 100
_MOST_ADDRESSES: Final = 64
_MOST_WAITING: Final = 1_000
_MOST_WAITING_USES: Final = 100_000
_MOST_KNOWN: Final = 200_000
_SUBSCRIBE: Final = Action.SUBSCRIBE

K = TypeVar("K")
V = TypeVar("V")


class _Refused:
    """What was refused of one token, or of one account where no token is known."""

    __slots__ = ("addresses", "last", "quiet_until", "unsuspected_until")

    def __init__(self) -> None:
        self.last: deque[tuple[float, Reason]] = deque(maxlen=_MOST_REFUSALS)
        self.addresses: dict[Network, tuple[float, Reason]] = {}
        self.quiet_until = self.unsuspected_until = 0.0


class Refusals:
    """Refusals of the last minutes, as far as there is room."""

    def __init__(self) -> None:
        """Start with none."""
        self._of: dict[TokenId | AccountId, _Refused] = {}

    def note(self, event: AccessEvent) -> Iterator[Suspicion]:
        """Take note of a refusal, and yield what it gives reason to tell."""
        account = event.access.stream.account if event.access is not None else AccountId("")
        token_id = event.token_id
        of: TokenId | AccountId = account if token_id is None else token_id
        if not of:
            return
        refused = self._of.pop(of, None) or _Refused()
        if len(self._of) >= _MOST_SUBJECTS:
            del self._of[next(iter(self._of))]
        self._of[of] = refused
        at, reason = event.at, event.decision.reason
        refused.last.append((at, reason))
        if at >= refused.quiet_until:
            burst = _burst(refused, at)
            if burst is not None:
                refused.quiet_until = at + BURST_QUIET_SECONDS
                yield Suspicion(EventType.TOKEN_REFUSED, account, token_id, at, BURST_QUIET_SECONDS, burst)
        if token_id is not None and reason in _TAKEN and at >= refused.unsuspected_until:
            sharing = _sharing(refused, event)
            if sharing is not None:
                refused.unsuspected_until = at + SHARING_QUIET_SECONDS
                yield Suspicion(EventType.TOKEN_SHARED, account, token_id, at, SHARING_QUIET_SECONDS, sharing)


def _burst(refused: _Refused, at: float) -> dict[str, object] | None:
    """Return what to tell when refusals come in a row."""
    last = refused.last
    if len(last) < BURST or last[-BURST][0] <= at - BURST_SECONDS:
        return None
    reasons = Counter(reason.value for when, reason in last if when > at - BURST_SECONDS)
    return {"seconds": int(BURST_SECONDS), "refused": reasons.total(), "reasons": dict(sorted(reasons.items()))}


def _sharing(refused: _Refused, event: AccessEvent) -> dict[str, object] | None:
    """Return what to tell when a token that is taken is shown from elsewhere again and again."""
    home, at, seen = _home(event.client_ip), event.at, refused.addresses
    if home is None:
        return None
    seen.pop(home, None)
    if len(seen) >= _MOST_ADDRESSES:
        del seen[next(iter(seen))]
    seen[home] = at, event.decision.reason
    reasons = [reason for when, reason in seen.values() if when > at - SHARING_SECONDS]
    if len(reasons) < SHARING:
        return None
    return {"seconds": int(SHARING_SECONDS), "addresses": len(reasons), "reasons": sorted(set(reasons))}


def _home(client_ip: str) -> Network | None:
    """Return what tells one place from another: an IPv4 address, or the /64 of an IPv6 one, which changes by itself."""
    address = parse_address(client_ip)
    return None if address is None else network_of(address, 32 if address.version == 4 else 64)


class Watch:
    """One process's watch. `saw` only remembers; `run` tells."""

    def __init__(self, *, store: WatchStore, view: View, clock: Clock, may_work: Callable[[], bool]) -> None:
        """Take the collaborators. `may_work`: of all processes of a machine, one looks at what is not its own."""
        self._store = store
        self._view = view
        self._clock = clock
        self._may_work = may_work
        self._refusals = Refusals()
        self._suspicions: deque[Suspicion] = deque(maxlen=_MOST_WAITING)
        self._used: dict[TokenId, None] = {}
        self._uses: dict[TokenId, FirstUse] = {}
        self._attempted: dict[Stream, float] = {}
        self._attempts: dict[Stream, float] = {}
        self._hls: dict[tuple[TokenId | None, AccountId, str, str], float] = {}
        self._reminded = self._forgot = 0.0
        self._flushing = asyncio.Lock()

    def saw(self, events: Sequence[AccessEvent]) -> None:
        """Look at decisions that were made, oldest first."""
        for event in events:
            reason, access, token_id = event.decision.reason, event.access, event.token_id
            if reason in ALLOWING:
                if token_id is not None and token_id not in self._used and reason is not Reason.OK_OPEN_STREAM:
                    self._saw_use(token_id, event)
            elif reason not in _OURS:
                self._suspicions.extend(self._refusals.note(event))
            if access is not None and access.action is _SUBSCRIBE:
                self._saw_attempt(event)

    def _saw_use(self, token_id: TokenId, event: AccessEvent) -> None:
        """Look at a token that was let in, and may never have been before."""
        if len(self._uses) < _MOST_WAITING_USES:
            _put(self._used, token_id, None, _MOST_KNOWN)
            self._uses[token_id] = FirstUse(token_id, event.at, event.access.stream.name if event.access else "")

    def _saw_attempt(self, event: AccessEvent) -> None:
        """Look at an attempt to watch, where somebody asks for it."""
        assert event.access is not None  # noqa: S101  the caller has looked
        (account, name), at, token_id = event.access.stream, event.at, event.token_id
        if not name or not self._view.account(account).tells_viewers:
            return
        if event.access.protocol is Protocol.HLS:
            # Each request is asked about; those of one viewer are one attempt.
            viewer = token_id, account, name, event.client_ip
            before = self._hls.get(viewer)
            _put(self._hls, viewer, at, _MOST_KNOWN)
            if before is not None and at < before + HLS_SILENCE_SECONDS:
                return
        if token_id is None and event.decision.reason not in ALLOWING and not self._view.publishers(account, name):
            return  # a stranger, and a stream that nobody may publish: names can be made up for ever
        stream = account, name
        if at >= self._attempted.get(stream, 0.0) + ATTEMPT_SECONDS and len(self._attempts) < _MOST_WAITING:
            _put(self._attempted, stream, at, _MOST_KNOWN)
            self._attempts[stream] = at

    async def flush(self) -> None:
        """Tell what was seen.

        Raises: Unavailable; what could not be told is kept.
        """
        async with self._flushing:
            while self._uses:
                uses = list(islice(self._uses.values(), _BATCH))
                await self._store.first_used(uses)
                for use in uses:
                    del self._uses[use.token_id]
            if self._attempts:
                attempts = dict(self._attempts)
                await self._store.attempted(attempts)
                for stream in attempts:
                    self._attempts.pop(stream, None)
            while self._suspicions:
                suspicions = [self._suspicions.popleft() for _ in range(min(len(self._suspicions), _BATCH))]
                try:
                    await self._store.suspect(suspicions)
                except Unavailable:
                    self._suspicions.extendleft(reversed(suspicions))
                    raise

    async def look(self) -> None:
        """Tell what time has brought: viewers that came and went, and tokens that expire.

        Raises: Unavailable.
        """
        now = self._clock()
        await self._store.look_at_viewers(now)
        if now >= self._reminded + REMIND_SECONDS:
            for lead, sooner in zip(LEADS, (*LEADS[1:], LEADS[-1]), strict=True):
                while await self._store.remind(lead, sooner.seconds, now, _BATCH):
                    pass
            self._reminded = now
        if now >= self._forgot + _FORGET_SECONDS:
            await self._store.forget_marks(now - _KEPT_SECONDS)
            self._forgot = now

    async def run(self) -> None:
        """Tell and look about once a second, until cancelled; then tell the rest."""
        away = False
        try:
            while True:
                await asyncio.sleep(_INTERVAL_SECONDS)
                try:
                    await self.flush()
                    if self._may_work():
                        await self.look()
                    away = False
                except Unavailable:
                    if not away:
                        _log.warning("events cannot be written down yet")
                    away = True
        finally:
            try:
                await self.flush()
            except Unavailable:
                _log.error("the last events could not be written down")


def _put(kept: dict[K, V], key: K, value: V, most: int) -> None:
    """Keep a value, in place of the oldest where there is no room."""
    if len(kept) >= most and key not in kept:
        del kept[next(iter(kept))]
    kept[key] = value
