"""The port `SessionStore` in memory: for tests, held to the same contract as the SQL one."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import replace

from stagedoor.model.access import Action, Protocol
from stagedoor.model.caveats import Per
from stagedoor.model.decision import Decision, Reason
from stagedoor.model.ids import AccountId, EngineId, TokenId
from stagedoor.model.session import (
    HLS_SILENCE_SECONDS,
    RENEWED,
    SILENCE_SECONDS,
    OpenSession,
    SessionStart,
    TokenUse,
    usage_of,
    without_silent,
)
from stagedoor.model.usage import Effects, Usage
from stagedoor.service.ports import ChangeKind
from stagedoor.service.session_ports import Admission, Shadowed


class MemorySessions:
    """The port `SessionStore`. What is judged and written between two awaits is atomic."""

    def __init__(
        self,
        *,
        note: Callable[[ChangeKind, AccountId, bytes], Awaitable[None]],
        digest_of: Callable[[TokenId], bytes],
        publishes: Callable[[TokenId], bool],
    ) -> None:
        """Take how the store these belong to numbers and notes a write, and how it tells a token's digest and what it is for."""
        self._note = note
        self._digest_of = digest_of
        self._publishes = publishes
        self._next_id = 1
        self._opened: dict[int, OpenSession] = {}
        self._uses: dict[TokenId, TokenUse] = {}
        self._ended: dict[tuple[EngineId, str], float] = {}
        self._shadowed: dict[Shadowed, int] = {}
        self.former_uses: dict[bytes, tuple[int, float | None]] = {}

    @property
    def opened(self) -> Collection[OpenSession]:
        """The sessions that are open."""
        return self._opened.values()

    def use(self, token_id: TokenId) -> TokenUse:
        """Return what is kept of a token's use."""
        return self._uses.get(token_id, TokenUse())

    def forget_use(self, token_id: TokenId) -> None:
        """Make a token as good as new: what runs with its old secret is nobody's."""
        self._uses.pop(token_id, None)
        for opened in list(self._opened.values()):
            if opened.start.token_id == token_id:
                nobodys = opened.start._replace(token_id=RENEWED, subject="")
                self._opened[opened.id] = replace(opened, start=nobodys)

    def forget_bound(self, token_id: TokenId) -> None:
        """Bind a token to nothing any more."""
        self._uses[token_id] = replace(self.use(token_id), bound={})

    async def admit(self, admission: Admission) -> Decision:
        """Judge an admission by what is known now, and write down what it changes."""
        start = admission.start
        touched: list[tuple[ChangeKind, AccountId, bytes]] = []
        counted = ((start, admission.per), *admission.above)
        for each, per in counted:
            for opened in self._of(each, per):
                if opened.gone(start.at) and not (admission.running and opened.goes_on_with(each)):
                    self._end(opened, opened.seen_at, touched)
        found = [usage_of(self.use(each.token_id), self._of(each, per), each, per) for each, per in counted]
        decision, effects = admission.judge(found[0][0]._replace(above=tuple(usage for usage, _ in found[1:])))
        if decision.allowed:
            if admission.told and (effects.starts or effects.resumes):
                self._end_older(start, touched)
            for (each, _), (_, own), its in zip(counted, found, (effects, *effects.above), strict=False):
                self._apply(each, own, its, touched, told=admission.told)
        for change in touched:
            await self._note(*change)
        return decision

    async def usage(self, start: SessionStart, per: Per) -> Usage:
        """Return the usage that `start` would be judged by; nothing is changed."""
        use, awake = without_silent(self.use(start.token_id), self._of(start, per), start)
        return usage_of(use, awake, start, per)[0]

    async def begin_sessions(self, starts: Sequence[SessionStart]) -> None:
        """Keep sessions that were admitted from memory."""
        touched: list[tuple[ChangeKind, AccountId, bytes]] = []
        for start in starts:
            if not self._still_watches(start) and self._ended.get((start.engine, start.session), 0.0) <= start.at:
                self._end_older(start, touched)
                self._begin(start, touched)
        for change in touched:
            await self._note(*change)

    def _still_watches(self, start: SessionStart) -> bool:
        """Note a sign of life of a viewer that is there already; tell whether it is."""
        for opened in list(self._opened.values()):
            own = opened.start
            same = own[:1] == start[:1] and own[3:8] == start[3:8] and own.client_ip == start.client_ip
            if start.action is Action.SUBSCRIBE and same and not opened.gone(start.at):
                self._opened[opened.id] = replace(opened, seen_at=max(opened.seen_at, start.at))
                return True
        return False

    async def end_session(self, engine: EngineId, session: str, at: float, action: Action | None = None) -> None:
        """End what is open of an engine's session, and count it."""
        touched: list[tuple[ChangeKind, AccountId, bytes]] = []
        for opened in list(self._opened.values()):
            own = opened.start
            if (own.engine, own.session) == (engine, session) and action in (None, own.action):
                self._end(opened, at, touched)
        self._ended[engine, session] = at
        for change in touched:
            await self._note(*change)

    async def end_silent(self, engines: Collection[EngineId], now: float) -> None:
        """End the sessions on these engines of which nothing was heard for too long."""
        touched: list[tuple[ChangeKind, AccountId, bytes]] = []
        for opened in list(self._opened.values()):
            silence = HLS_SILENCE_SECONDS if opened.start.protocol is Protocol.HLS else SILENCE_SECONDS
            if opened.start.engine in engines and opened.seen_at < now - silence:
                self._end(opened, opened.seen_at, touched)
        for change in touched:
            await self._note(*change)

    async def open_sessions(self, engine: EngineId) -> Sequence[OpenSession]:
        """Return what is open on an engine."""
        return [opened for opened in self._opened.values() if opened.start.engine == engine]

    async def active_tokens(self, account: AccountId, stream: str | None) -> Sequence[TokenId]:
        """Return the tokens that a stream, or any of the account's, is being published with: each once, by id."""
        publishing = {
            opened.start.token_id
            for opened in self._opened.values()
            if (opened.start.account, opened.start.action, opened.start.shown) == (account, Action.PUBLISH, True)
            and stream in (None, opened.start.stream)
        }
        return sorted(token_id for token_id in publishing if self._publishes(token_id))

    async def saw_sessions(self, engine: EngineId, seen: Mapping[str, int], at: float) -> None:
        """Note signs of life of an engine's sessions, with the bytes they carried so far."""
        for opened in list(self._opened.values()):
            if opened.start.engine == engine and opened.start.session in seen and opened.seen_at < at:
                carried = max(opened.bytes, seen[opened.start.session])
                self._opened[opened.id] = replace(opened, seen_at=at, bytes=carried)

    async def forget_sessions(self, before: float) -> None:
        """Delete what is kept of sessions that ended before an instant."""
        self._ended = {key: at for key, at in self._ended.items() if at >= before}

    async def count_former(self, counts: Mapping[bytes, int], at: float) -> None:
        """Add to the counts of how often values were used that their tokens had before."""
        for digest, times in counts.items():
            uses, _ = self.former_uses.get(digest, (0, None))
            self.former_uses[digest] = uses + times, at

    async def count_shadowed(self, counts: Mapping[Shadowed, int], at: float) -> None:  # noqa: ARG002  it keeps no times
        """Add to the counts of what shadow mode let through."""
        for what, times in counts.items():
            self._shadowed[what] = self._shadowed.get(what, 0) + times

    async def shadowed(self, account: AccountId, token_id: TokenId | None) -> Mapping[Reason, int]:
        """Return what shadow mode let through, of a token or of the whole account."""
        counts: dict[Reason, int] = {}
        for what, times in self._shadowed.items():
            if what.account == account and token_id in (None, what.token_id):
                counts[what.reason] = counts.get(what.reason, 0) + times
        return counts

    def _of(self, start: SessionStart, per: Per) -> list[OpenSession]:
        """Return what is open of a token, or of its subject too, oldest first."""
        found = [
            opened
            for opened in self._opened.values()
            if opened.start.token_id == start.token_id
            or (per is Per.SUBJECT and opened.start[:1] == start[:1] and opened.start.subject == start.subject)
        ]
        return sorted(found, key=lambda opened: (opened.start.at, opened.id))

    def _apply(
        self,
        start: SessionStart,
        own: OpenSession | None,
        effects: Effects,
        touched: list[tuple[ChangeKind, AccountId, bytes]],
        *,
        told: bool,
    ) -> None:
        if own is not None:
            again = own.start._replace(session=start.session)
            self._opened[own.id] = replace(self._opened[own.id], seen_at=start.at, start=again)
        use = self.use(start.token_id)
        if effects.bind is not None:
            bound = {network: at for network, at in use.bound.items() if network not in (*effects.unbind, effects.bind)}
            use = replace(use, bound=bound | {effects.bind: start.at})
            if effects.unbind:
                use = replace(use, rebinds=(*use.rebinds, start.at))
            touched.append((ChangeKind.TOKEN, start.account, self._digest_of(start.token_id)))
        for session_id, at in effects.ends:
            self._opened[session_id] = replace(self._opened[session_id], end_at=at)
        if effects.starts:
            use = replace(use, starts=use.starts + 1)
        self._uses[start.token_id] = replace(use, last_ip=start.client_ip if effects.starts else use.last_ip)
        if (effects.starts or effects.resumes) and told:
            self._begin(start, touched)

    def _end_older(self, start: SessionStart, touched: list[tuple[ChangeKind, AccountId, bytes]]) -> None:
        """End what ran under the id of a session that begins."""
        for opened in list(self._opened.values()):
            own = opened.start
            if (own.engine, own.session, own.action) == (start.engine, start.session, start.action):
                self._end(opened, start.at, touched)

    def _begin(self, start: SessionStart, touched: list[tuple[ChangeKind, AccountId, bytes]]) -> None:
        """Open a session."""
        self._opened[self._next_id] = OpenSession(id=self._next_id, start=start, seen_at=start.at)
        self._next_id += 1
        if start.shown and start.action is Action.PUBLISH:
            touched.append((ChangeKind.LIVE, start.account, start.stream.encode()))

    def _end(self, opened: OpenSession, at: float, touched: list[tuple[ChangeKind, AccountId, bytes]]) -> None:
        at = max(at, opened.start.at)
        del self._opened[opened.id]
        if opened.start.token_id in self._uses:
            use = self._uses[opened.start.token_id]
            self._uses[opened.start.token_id] = replace(
                use,
                watched_seconds=use.watched_seconds + at - opened.start.at,
                bytes=use.bytes + opened.bytes,
                last_at=at,
            )
        if opened.start.shown and opened.start.action is Action.PUBLISH:
            touched.append((ChangeKind.LIVE, opened.start.account, opened.start.stream.encode()))
