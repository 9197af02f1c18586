"""What a worker remembers of decisions: how much, for how long, and what of it is told."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import cast

import pytest

from stagedoor.model.access import Access, Action, Protocol
from stagedoor.model.account import OPEN, AccountPolicy
from stagedoor.model.decision import Decision, Reason
from stagedoor.model.errors import Unavailable
from stagedoor.model.ids import AccountId, StreamId, TokenId
from stagedoor.service import watch as module
from stagedoor.service.ports import AccessEvent, Publishers, View
from stagedoor.service.watch import BURST, Refusals, Watch
from stagedoor.service.watch_ports import LEADS, FirstUse, Lead, Stream, Suspicion

NOW = 1_000_000.0
ACCT = AccountId("acct")


def event(
    reason: Reason = Reason.STREAM_NOT_GRANTED,
    at: float = NOW,
    token: int | None = 7,
    ip: str = "192.0.2.1",
    stream: str = "show",
    account: AccountId = ACCT,
    protocol: Protocol = Protocol.RTMP,
) -> AccessEvent:
    """Return what is recorded of an attempt to watch."""
    access = Access(Action.SUBSCRIBE, StreamId(account, stream), protocol, ip)
    token_id = None if token is None else TokenId(token)
    return AccessEvent(at, Decision(reason, 1), "subscribe", access, ip, token_id, "e", "s")


def told(refusals: Refusals, *events: AccessEvent) -> list[Suspicion]:
    """Return what refusals give reason to tell."""
    return [suspicion for each in events for suspicion in refusals.note(each)]


@pytest.mark.parametrize(("over", "tells"), [(59.9, True), (60.0, False), (60.1, False)])
def test_a_burst_is_within_a_minute(over: float, tells: bool) -> None:
    """The twentieth comes less than a minute after the first, or it is none."""
    refusals = Refusals()
    events = [event(at=NOW)] + [event(at=NOW + over) for _ in range(BURST - 1)]
    assert bool(told(refusals, *events)) is tells


def test_a_burst_counts_what_is_in_the_minute_by_reason() -> None:
    """What is older is not in the counts."""
    refusals = Refusals()
    told(refusals, *(event(Reason.TOKEN_EXPIRED, at=NOW - 61) for _ in range(5)))
    last = [event(Reason.TOKEN_DISABLED if n % 2 else Reason.TOKEN_EXPIRED, at=NOW) for n in range(BURST)]
    (burst,) = told(refusals, *last)
    assert burst.data == {"seconds": 60, "refused": 20, "reasons": {"token_disabled": 10, "token_expired": 10}}


def test_a_token_and_an_account_are_counted_apart() -> None:
    """Refusals of a known token are the token's, whosever stream was asked for; the others are the account's."""
    refusals = Refusals()
    for n in range(BURST - 1):
        assert told(refusals, event(token=1), event(token=2), event(token=None), event(token=1)) == [] or n >= 9
    (of_account,) = told(refusals, event(token=None))
    assert (of_account.token_id, of_account.account) == (None, ACCT)
    assert told(refusals, event(token=None, account=AccountId(""))) == []


@pytest.mark.parametrize(
    ("reason", "tells"),
    [
        (Reason.ADDRESS_NOT_BOUND, True),
        (Reason.TOO_MANY_SESSIONS, True),
        (Reason.TOKEN_USED, True),
        (Reason.TOKEN_EXPIRED, False),
        (Reason.ADDRESS_NOT_ALLOWED, False),
    ],
)
def test_sharing_is_suspected_where_somebody_else_uses_the_token(reason: Reason, tells: bool) -> None:
    """A token that nobody may use from anywhere tells nothing about sharing."""
    events = [event(reason, ip=f"192.0.2.{n}") for n in range(3)]
    assert bool(told(Refusals(), *events)) is tells
    assert told(Refusals(), *(each._replace(token_id=None) for each in events)) == []


@pytest.mark.parametrize(("over", "tells"), [(599.9, True), (600.0, False)])
def test_sharing_is_suspected_within_ten_minutes(over: float, tells: bool) -> None:
    """Three addresses in ten minutes are suspicious, three in a day are a traveller."""
    ats = (NOW, NOW + 1, NOW + over)
    events = [event(Reason.TOKEN_USED, at, ip=f"192.0.2.{n}") for n, at in enumerate(ats)]
    assert bool(told(Refusals(), *events)) is tells


def test_a_flood_from_everywhere_fills_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of tokens, refusals and addresses only the newest are kept."""
    monkeypatch.setattr(module, "_MOST_SUBJECTS", 10)
    refusals = Refusals()
    for n in range(500):
        told(refusals, event(Reason.TOKEN_USED, token=n + 2))
        # Seldom enough to be no sharing.
        told(refusals, event(Reason.TOKEN_USED, NOW + 400 * n, token=1, ip=f"10.0.{n // 250}.{n % 250}"))
    assert len(refusals._of) == 10
    refused = refusals._of[TokenId(1)]
    assert len(refused.last) == module._MOST_REFUSALS
    assert len(refused.addresses) == module._MOST_ADDRESSES


class Store:
    """What was told, and a store that can be away."""

    def __init__(self) -> None:
        self.away = False
        self.calls: list[tuple[object, ...]] = []
        self.batches = 0

    def _called(self, *call: object) -> None:
        if self.away:
            raise Unavailable("away")
        self.calls.append(call)

    async def remind(self, lead: Lead, sooner_seconds: int, now: float, most: int) -> bool:
        self._called("remind", lead.name, sooner_seconds, now)
        self.batches -= 1
        return self.batches > 0

    async def first_used(self, uses: Sequence[FirstUse]) -> None:
        self._called("used", *(use.token_id for use in uses))

    async def attempted(self, attempts: Mapping[Stream, float]) -> None:
        self._called("attempted", dict(attempts))

    async def look_at_viewers(self, now: float) -> None:
        self._called("viewers", now)

    async def suspect(self, suspicions: Collection[Suspicion]) -> None:
        self._called("suspect", *(suspicion.type for suspicion in suspicions))

    async def forget_marks(self, before: float) -> None:
        self._called("forget", before)


class OneAccount:
    """A view in which one account asks to be told of viewers, and one stream is somebody's to publish."""

    def account(self, account: AccountId) -> AccountPolicy:
        return AccountPolicy(tells_viewers=True) if account == ACCT else OPEN

    def publishers(self, account: AccountId, name: str) -> Publishers | None:
        return cast("Publishers", ("somebody",)) if name == "show" else ()


class Bench:
    """A watch and what it talks to."""

    def __init__(self) -> None:
        self.now = NOW
        self.store = Store()
        self.works = True
        self.watch = Watch(
            store=self.store, view=cast("View", OneAccount()), clock=lambda: self.now, may_work=lambda: self.works
        )

    async def flushed(self, *events: AccessEvent) -> list[tuple[object, ...]]:
        """Return the calls that decisions lead to."""
        self.watch.saw(events)
        await self.watch.flush()
        calls, self.store.calls = self.store.calls, []
        return calls


async def test_each_token_that_is_let_in_is_asked_about_once() -> None:
    """What is known to be used costs nothing; what was not needed was not used."""
    bench = Bench()
    quiet = AccountId("other")
    ok = event(Reason.OK, account=quiet)
    open_stream = event(Reason.OK_OPEN_STREAM, token=9, account=quiet)
    assert await bench.flushed(ok, ok, event(Reason.OK_SHADOW, token=8, account=quiet), open_stream) == [("used", 7, 8)]
    assert await bench.flushed(ok, event(Reason.OK, token=None, account=quiet)) == []


async def test_attempts_are_told_of_where_somebody_asks_and_a_stream_is_meant() -> None:
    """Refused strangers count where the stream is somebody's; HLS requests of one viewer are one attempt."""
    bench = Bench()
    refused = event(Reason.TOKEN_MISSING, token=None)
    assert await bench.flushed(refused) == [("attempted", {(ACCT, "show"): NOW})]
    assert await bench.flushed(refused._replace(at=NOW + 9.9)) == []
    assert await bench.flushed(event(Reason.TOKEN_MISSING, token=None, account=AccountId("other"))) == []
    assert await bench.flushed(event(Reason.TOKEN_MISSING, token=None, stream="made-up")) == []
    assert await bench.flushed(event(Reason.STREAM_NAME_INVALID, token=None, stream="")) == []
    hls = [event(Reason.OK_OPEN_STREAM, NOW + n, None, stream="hls", protocol=Protocol.HLS) for n in range(0, 60, 6)]
    assert await bench.flushed(*hls) == [("attempted", {(ACCT, "hls"): NOW})]
    assert await bench.flushed(hls[-1]._replace(at=NOW + 54 + 30)) == [("attempted", {(ACCT, "hls"): NOW + 84})]


async def test_our_own_failures_are_no_refusals_of_anybody() -> None:
    """A database that is away refuses everybody, which says nothing about who asked."""
    bench = Bench()
    away = [event(Reason.STORE_UNAVAILABLE, account=AccountId("other")) for _ in range(50)]
    assert await bench.flushed(*away) == []


async def test_what_cannot_be_told_is_told_later() -> None:
    """A store that is away loses nothing that was seen."""
    bench = Bench()
    seen = [event(Reason.OK, token=3), *(event() for _ in range(BURST))]
    bench.store.away = True
    for _ in range(3):
        bench.watch.saw(seen)
        with pytest.raises(Unavailable):
            await bench.watch.flush()
    bench.store.away = False
    assert await bench.flushed() == [
        ("used", 3),
        ("attempted", {(ACCT, "show"): NOW}),
        ("suspect", "token.refused_burst"),
    ]
    assert await bench.flushed() == []


async def test_expiries_are_looked_for_every_ten_seconds_batch_by_batch() -> None:
    """Longest lead first, each passing over what the next one tells."""
    bench = Bench()
    bench.store.batches = 3
    await bench.watch.look()
    reminded = [call for call in bench.store.calls if call[0] == "remind"]
    assert [call[1:3] for call in reminded] == [("7d", 86400)] * 3 + [("24h", 3600), ("1h", 0), ("", 0)]
    assert [lead.seconds for lead in LEADS] == [7 * 86400, 86400, 3600, 0]
    for after, looks in ((9.9, False), (10.0, True), (19.9, False)):
        bench.store.calls.clear()
        bench.now = NOW + after
        await bench.watch.look()
        assert ("remind" in {call[0] for call in bench.store.calls}) is looks
        assert ("viewers", bench.now) in bench.store.calls


async def test_one_process_looks_and_all_flush(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a worker saw only that worker can tell; what time brings one process looks for. A failing store ends neither."""
    monkeypatch.setattr(module, "_INTERVAL_SECONDS", 0.001)
    bench = Bench()
    bench.works = False
    bench.store.away = True
    task = asyncio.create_task(bench.watch.run())
    bench.watch.saw([event(Reason.OK, token=5, account=AccountId("other"))])
    await asyncio.sleep(0.02)
    bench.store.away = False
    while not bench.store.calls:
        await asyncio.sleep(0.001)
    assert bench.store.calls == [("used", 5)]
    bench.works = True
    while len(bench.store.calls) < 8:
        await asyncio.sleep(0.001)
    # Whoever is stopped tells what it has seen before.
    bench.works = False
    await asyncio.sleep(0.01)
    bench.store.calls.clear()
    bench.watch.saw([event(Reason.OK, token=6, account=AccountId("other"))])
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert bench.store.calls == [("used", 6)]
