"""Taking note of sessions, and writing down what gathers."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

import pytest

from stagedoor.model.access import Action, Protocol
from stagedoor.model.caveats import Per
from stagedoor.model.decision import Decision, Reason
from stagedoor.model.errors import Unavailable
from stagedoor.model.ids import AccountId, EngineId, TokenId
from stagedoor.model.session import OpenSession, SessionStart
from stagedoor.model.usage import UNUSED, Usage
from stagedoor.service import sessions as module
from stagedoor.service.session_ports import Admission, Shadowed
from stagedoor.service.sessions import Sessions

NOW = 1_000.0
ACCT, E1, E2 = AccountId("acct"), EngineId("e1"), EngineId("e2")
EXPIRED = Reason.TOKEN_EXPIRED


def _start(session: str = "s1", token_id: int = 1) -> SessionStart:
    return SessionStart(
        ACCT, TokenId(token_id), "", E1, session, "show", Action.PUBLISH, Protocol.RTMP, "192.0.2.1", NOW
    )


class Store:
    """A session store that tells what it was asked to do, in order, and can be down."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.down: set[str] = set()
        self.meanwhile: Callable[[], Awaitable[None]] | None = None

    async def _called(self, name: str, *arguments: object) -> None:
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            await meanwhile()
        if name in self.down:
            raise Unavailable("the database does not answer")
        self.calls.append((name, *arguments))

    async def admit(self, admission: Admission) -> Decision:
        await self._called("admit", admission)
        return Decision(Reason.OK, 1)

    async def usage(self, start: SessionStart, per: Per) -> Usage:
        await self._called("usage", start, per)
        return UNUSED

    async def begin_sessions(self, starts: Sequence[SessionStart]) -> None:
        await self._called("begin", *(start.session for start in starts))

    async def end_session(self, engine: EngineId, session: str, at: float, action: Action | None = None) -> None:
        await self._called("end", engine, session, at, action)

    async def open_sessions(self, engine: EngineId) -> Sequence[OpenSession]:
        await self._called("open", engine)
        return []

    async def active_tokens(self, account: AccountId, stream: str | None) -> Sequence[TokenId]:
        await self._called("active_tokens", account, stream)
        return []

    async def saw_sessions(self, engine: EngineId, seen: Mapping[str, int], at: float) -> None:
        await self._called("saw", engine, dict(seen), at)

    async def end_silent(self, engines: Collection[EngineId], now: float) -> None:
        await self._called("end silent", list(engines), now)

    async def forget_sessions(self, before: float) -> None:
        await self._called("forget", before)

    async def count_former(self, counts: Mapping[bytes, int], at: float) -> None:
        raise NotImplementedError

    async def count_shadowed(self, counts: Mapping[Shadowed, int], at: float) -> None:
        await self._called("shadowed", dict(counts), at)

    async def shadowed(self, account: AccountId, token_id: TokenId | None) -> Mapping[Reason, int]:
        await self._called("counts", account, token_id)
        return {}


class Clock:
    """A clock that stands until it is put elsewhere."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def store() -> Store:
    """Return a store that answers."""
    return Store()


@pytest.fixture
def clock() -> Clock:
    """Return a clock."""
    return Clock()


@pytest.fixture
def sessions(store: Store, clock: Clock) -> Sessions:
    """Return what takes note of sessions; the first engine tells of life."""
    return Sessions(store=store, clock=clock, telling_engines=lambda: [E1])


# -- broadcasts


def test_a_broadcast_is_new_once(sessions: Sessions) -> None:
    """An engine may ask about it again."""
    assert [sessions.started(TokenId(1), E1, "s1", "show") for _ in range(3)] == [True, False, False]


@pytest.mark.parametrize("other", [(E2, "s1", "show"), (E1, "s2", "show"), (E1, "s1", "other")])
def test_another_broadcast_with_the_token_is_new(sessions: Sessions, other: tuple[EngineId, str, str]) -> None:
    """Another engine, session or stream; and so is the first one after it."""
    assert sessions.started(TokenId(1), E1, "s1", "show")
    assert sessions.started(TokenId(1), *other)
    assert sessions.started(TokenId(1), E1, "s1", "show")


def test_each_token_has_its_own_broadcast(sessions: Sessions) -> None:
    """What one is known for says nothing of another."""
    for token_id in (1, 2):
        assert sessions.started(TokenId(token_id), E1, "s1", "show")
    assert not sessions.started(TokenId(1), E1, "s1", "show")


async def test_after_an_end_every_broadcast_is_new(sessions: Sessions) -> None:
    """An engine may begin anew under an old id; an end of watching is no end of a broadcast."""
    sessions.started(TokenId(1), E1, "s1", "show")
    await sessions.ended(E1, "s1", Action.SUBSCRIBE)
    assert not sessions.started(TokenId(1), E1, "s1", "show")
    for action in (Action.PUBLISH, None):
        await sessions.ended(E1, "s1", action)
        assert sessions.started(TokenId(1), E1, "s1", "show")


def test_what_is_remembered_of_broadcasts_is_bounded(sessions: Sessions) -> None:
    """The token that was heard of first makes room."""
    for token_id in range(module._QUEUE + 1):
        assert sessions.started(TokenId(token_id), E1, "s1", "show")
    assert len(sessions._last) == module._QUEUE
    assert sessions.started(TokenId(0), E1, "s1", "show")
    assert not sessions.started(TokenId(module._QUEUE), E1, "s1", "show")


async def test_broadcasts_are_written_down_in_their_order_and_once(sessions: Sessions, store: Store) -> None:
    """A flush with nothing gathered writes nothing."""
    await sessions.flush()
    assert store.calls == []
    for session in ("s1", "s2", "s3"):
        sessions.note(_start(session))
    await sessions.flush()
    await sessions.flush()
    assert store.calls == [("begin", "s1", "s2", "s3")]


@pytest.mark.parametrize("more", [-1, 0, 1])
async def test_many_broadcasts_are_written_in_batches(sessions: Sessions, store: Store, more: int) -> None:
    """-1, 0, +1 around one."""
    count = module._BATCH + more
    for number in range(count):
        sessions.note(_start(f"s{number}"))
    await sessions.flush()
    assert [len(call) - 1 for call in store.calls] == ([module._BATCH, more] if more > 0 else [count])


async def test_what_gathers_while_the_store_is_away_is_bounded(sessions: Sessions, store: Store) -> None:
    """What finds no room is forgotten."""
    start = _start()
    for _ in range(module._QUEUE + 5):
        sessions.note(start)
    assert len(sessions._starts) == module._QUEUE


async def test_broadcasts_that_could_not_be_written_are_kept(sessions: Sessions, store: Store) -> None:
    """And are written before what came after them."""
    store.down = {"begin"}
    sessions.note(_start("s1"))
    with pytest.raises(Unavailable):
        await sessions.flush()
    sessions.note(_start("s2"))
    store.down = set()
    await sessions.flush()
    assert store.calls == [("begin", "s1", "s2")]


async def test_a_broadcast_that_comes_while_others_are_written_is_written_too(sessions: Sessions, store: Store) -> None:
    """By the same flush, and none is written twice by two flushes at once."""

    async def another() -> None:
        sessions.note(_start("s2"))
        await asyncio.sleep(0)

    sessions.note(_start("s1"))
    store.meanwhile = another
    await asyncio.gather(sessions.flush(), sessions.flush())
    assert store.calls == [("begin", "s1"), ("begin", "s2")]


# -- ends


async def test_what_began_is_written_down_before_its_end(sessions: Sessions, store: Store) -> None:
    """Else the end would find nothing to end."""
    sessions.note(_start("s1"))
    await sessions.ended(E1, "s1", Action.PUBLISH)
    assert store.calls == [("begin", "s1"), ("end", E1, "s1", NOW, Action.PUBLISH)]


async def test_an_end_is_at_the_instant_it_was_told(sessions: Sessions, store: Store, clock: Clock) -> None:
    """Not when the store comes to it."""

    async def later() -> None:
        clock.now += 60

    sessions.note(_start("s1"))
    store.meanwhile = later
    await sessions.ended(E1, "s1")
    assert store.calls[-1] == ("end", E1, "s1", NOW, None)


@pytest.mark.parametrize("call", ["begin", "end"])
async def test_an_end_that_cannot_be_written_is_told(sessions: Sessions, store: Store, call: str) -> None:
    """To whoever asked for it."""
    store.down = {call}
    sessions.note(_start("s1"))
    with pytest.raises(Unavailable):
        await sessions.ended(E1, "s1")


# -- signs of life


async def test_signs_of_life_are_written_for_each_engine_together(sessions: Sessions, store: Store) -> None:
    """Of each session the newest one, with what it carried."""
    for engine, session, carried in ((E1, "s1", 5), (E2, "s1", 0), (E1, "s2", 7), (E1, "s1", 9)):
        sessions.saw(engine, session, carried)
    await sessions.flush()
    await sessions.flush()
    assert sorted(store.calls, key=str) == [
        ("saw", E1, {"s1": 9, "s2": 7}, NOW),
        ("saw", E2, {"s1": 0}, NOW),
    ]


async def test_a_sign_of_life_without_bytes_takes_none_back(sessions: Sessions, store: Store) -> None:
    """Not told is 0, which the store takes for nothing new."""
    sessions.saw(E1, "s1")
    await sessions.flush()
    assert store.calls == [("saw", E1, {"s1": 0}, NOW)]


async def test_signs_of_life_that_could_not_be_written_do_not_come_twice(sessions: Sessions, store: Store) -> None:
    """They are lost: the next one says the same."""
    store.down = {"saw"}
    sessions.saw(E1, "s1")
    with pytest.raises(Unavailable):
        await sessions.flush()
    store.down = set()
    await sessions.flush()
    assert store.calls == []


# -- shadow mode


async def test_what_shadow_mode_let_through_is_counted(sessions: Sessions, store: Store) -> None:
    """For each token and reason; without a token for the account alone."""
    for token_id, reason in ((1, EXPIRED), (1, EXPIRED), (2, EXPIRED), (1, Reason.BYTES_SPENT), (None, EXPIRED)):
        sessions.shadowed(ACCT, None if token_id is None else TokenId(token_id), reason)
    await sessions.flush()
    await sessions.flush()
    assert store.calls == [
        (
            "shadowed",
            {
                Shadowed(ACCT, TokenId(1), EXPIRED): 2,
                Shadowed(ACCT, TokenId(2), EXPIRED): 1,
                Shadowed(ACCT, TokenId(1), Reason.BYTES_SPENT): 1,
                Shadowed(ACCT, TokenId(0), EXPIRED): 1,
            },
            NOW,
        )
    ]


async def test_counts_that_could_not_be_written_are_kept_and_added_to(sessions: Sessions, store: Store) -> None:
    """Those that come while the store is asked as well."""

    async def another() -> None:
        sessions.shadowed(ACCT, TokenId(1), EXPIRED)

    store.down = {"shadowed"}
    store.meanwhile = another
    sessions.shadowed(ACCT, TokenId(1), EXPIRED)
    with pytest.raises(Unavailable):
        await sessions.flush()
    store.down = set()
    sessions.shadowed(ACCT, TokenId(1), EXPIRED)
    await sessions.flush()
    assert store.calls == [("shadowed", {Shadowed(ACCT, TokenId(1), EXPIRED): 3}, NOW)]


# -- the background work


@asynccontextmanager
async def _running(sessions: Sessions) -> AsyncIterator["asyncio.Task[None]"]:
    task = asyncio.create_task(sessions.run())
    await asyncio.sleep(0)
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_the_rest_is_written_when_the_work_is_stopped(sessions: Sessions, store: Store) -> None:
    """A restart loses nothing."""
    async with _running(sessions):
        sessions.note(_start("s1"))
        sessions.saw(E1, "s1")
        sessions.shadowed(ACCT, None, EXPIRED)
    assert [call[0] for call in store.calls] == ["begin", "saw", "shadowed"]


async def test_a_store_that_is_away_at_the_end_stops_the_work_all_the_same(
    sessions: Sessions, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """And it is said that something is lost."""
    store.down = {"begin"}
    async with _running(sessions) as task:
        sessions.note(_start("s1"))
    assert task.cancelled()
    assert "the last sessions could not be written down" in caplog.text


async def test_what_gathers_is_written_while_the_work_goes_on(sessions: Sessions, store: Store) -> None:
    """Within the interval; a store that was away meanwhile does not stop it."""
    store.down = {"begin"}
    async with _running(sessions) as task, asyncio.timeout(20):
        sessions.note(_start("s1"))
        while "begin" in store.down:
            await asyncio.sleep(module._INTERVAL_SECONDS)
            store.down = set()
        while not store.calls:
            await asyncio.sleep(0.01)
        assert not task.done()
    assert store.calls == [("begin", "s1")]


async def test_what_fell_silent_is_ended_now_and_then(sessions: Sessions, store: Store, clock: Clock) -> None:
    """On the engines that tell of life; and what ended long ago is forgotten."""
    async with _running(sessions), asyncio.timeout(20):
        clock.now = NOW + module._SWEEP_SECONDS
        while len(store.calls) < 2:
            await asyncio.sleep(0.01)
    swept = NOW + module._SWEEP_SECONDS
    assert store.calls == [("end silent", [E1], swept), ("forget", swept - module._KEPT_SECONDS)]


async def test_admissions_and_usage_are_the_stores(sessions: Sessions, store: Store) -> None:
    """Nothing stands between."""
    assert await sessions.usage(_start(), Per.TOKEN) == UNUSED
    assert store.calls == [("usage", _start(), Per.TOKEN)]


# -- viewers


def _viewer(at: float = NOW, session: str = "v1", protocol: Protocol = Protocol.RTMP) -> SessionStart:
    return _start(session)._replace(action=Action.SUBSCRIBE, protocol=protocol, at=at)


async def test_viewers_are_written_down_after_broadcasts_and_before_one_of_them_ends(
    sessions: Sessions, store: Store, clock: Clock
) -> None:
    """Else one that ends at once would be begun after its end."""
    sessions.watches(_viewer())
    sessions.note(_start())
    sessions.watches(_viewer(session="v2"))
    await sessions.ended(E1, "v1", Action.SUBSCRIBE)
    assert [call[:2] for call in store.calls] == [("begin", "s1"), ("begin", "v1"), ("end", E1)]
    assert store.calls[1] == ("begin", "v1", "v2")


async def test_the_requests_of_an_hls_viewer_are_noted_now_and_then(sessions: Sessions, store: Store) -> None:
    """Each of them is asked about; of other viewers each start counts."""
    for seconds in (0, 2, 4.9, 5, 6, 10):
        sessions.watches(_viewer(NOW + seconds, "hls", Protocol.HLS))
    for seconds in (0, 1):
        sessions.watches(_viewer(NOW + seconds, "rtmp"))
    await sessions.flush()
    assert store.calls == [("begin", "hls", "hls", "hls", "rtmp", "rtmp")]


async def test_viewers_that_could_not_be_written_are_kept_and_bounded(
    sessions: Sessions, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that is away loses none there is room for, and broadcasts keep their own room."""
    monkeypatch.setattr(module, "_QUEUE", 2)
    store.down.add("begin")
    for n in range(4):
        sessions.watches(_viewer(session=f"v{n}"))
        sessions.watches(_viewer(session=f"h{n}", protocol=Protocol.HLS))
    sessions.note(_start())
    with pytest.raises(Unavailable):
        await sessions.flush()
    store.down.clear()
    await sessions.flush()
    assert store.calls == [("begin", "s1"), ("begin", "v0", "h0")]
    assert len(sessions._hls) == 2
