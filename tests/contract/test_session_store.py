# ruff: noqa: D103
"""The port `SessionStore`, held by every store: memory, SQLite and PostgreSQL. Judged by the rules as they are."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest

from stagedoor.config import Settings
from stagedoor.model.access import Access, Action, Protocol
from stagedoor.model.account import OPEN
from stagedoor.model.addresses import Network, parse_network
from stagedoor.model.caveats import Budgets, Over, Per, SessionLimit, SingleUse
from stagedoor.model.decision import Decision, Reason, Standing
from stagedoor.model.errors import Unavailable
from stagedoor.model.grant import StreamPattern
from stagedoor.model.ids import AccountId, EngineId, StreamId, TokenId
from stagedoor.model.session import (
    HLS_SILENCE_SECONDS,
    NO_TOKEN,
    RENEWED,
    SAME_READER_SECONDS,
    SILENCE_SECONDS,
    SessionStart,
)
from stagedoor.model.token import TokenKind, TokenRecord, TokenTerms
from stagedoor.model.usage import UNUSED, Effects, Usage
from stagedoor.policy import admit
from stagedoor.service.authorize import counted_per
from stagedoor.service.ports import ChangeKind, TokenChange
from stagedoor.service.session_ports import Admission, Shadowed
from stagedoor.tokens.verify import verified
from tests.contract.test_store import (
    ALICE,
    AT,
    BACKENDS,
    BOB,
    PUBLISH,
    SQL_BACKENDS,
    SUBSCRIBE,
    Bench,
    new_token,
    opened,
    place_of,
    populated,
)

E1, E2 = EngineId("e1"), EngineId("e2")
HOME = "192.0.2.1"


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def place(backend: str, request: pytest.FixtureRequest, settings: Settings) -> Settings:
    return place_of(backend, request, settings)


@pytest.fixture
async def bench(backend: str, place: Settings) -> AsyncIterator[Bench]:
    async with populated(backend, place) as bench:
        yield bench


@pytest.fixture(params=SQL_BACKENDS)
def sql_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def sql_place(sql_backend: str, request: pytest.FixtureRequest, settings: Settings) -> Settings:
    return place_of(sql_backend, request, settings)


async def token(bench: Bench, kind: TokenKind = SUBSCRIBE, account: AccountId = ALICE, **terms: Any) -> TokenRecord:
    """Keep a token for the streams `studio` and `stage`."""
    streams = (StreamPattern("studio"), StreamPattern("stage"))
    new = new_token(TokenTerms(label="a label", streams=streams, **terms), account=account, kind=kind)
    record = await bench.store.add_token(new)
    bench.start = await bench.store.revision()
    bench.heard.revisions.clear()
    return record


def start(record: TokenRecord, at: float = AT, session: str = "s1", **changes: Any) -> SessionStart:
    """Return what would begin with a token: on the first engine, from `HOME`, by RTMP, unless `changes` say otherwise."""
    action = Action.PUBLISH if record.kind is PUBLISH else Action.SUBSCRIBE
    subject = record.terms.subject
    begun = SessionStart(
        record.account, record.id, subject, E1, session, "studio", action, Protocol.RTMP, HOME, float(at)
    )
    return begun._replace(**changes)


async def ask(
    bench: Bench,
    record: TokenRecord,
    at: float = AT,
    session: str = "s1",
    *,
    told: bool = True,
    running: bool = False,
    **changes: Any,
) -> Decision:
    """Have an admission judged by the rules, on a stream that is live and secured; `running`: as the engine says."""
    begun = start(record, at, session, **changes)
    asked = verified(record)
    access = Access(begun.action, StreamId(begun.account, begun.stream), begun.protocol, begun.client_ip)
    stands = Standing(record.state, OPEN, secured=True, viewer_caveats=(), revision=0, live=True)

    def judge(usage: Usage) -> tuple[Decision, Effects]:
        return admit(asked, access, stands._replace(usage=usage, running=usage.own is not None), begun.at)

    return await bench.store.sessions.admit(Admission(begun, counted_per(asked), asked.binds, told, running, judge))


async def reason(bench: Bench, record: TokenRecord, at: float = AT, session: str = "s1", **rest: Any) -> Reason:
    return (await ask(bench, record, at, session, **rest)).reason


async def usage(bench: Bench, record: TokenRecord, at: float = AT, session: str = "other", **changes: Any) -> Usage:
    """Return the usage that another session would be judged by."""
    per = counted_per(verified(record))
    return await bench.store.sessions.usage(start(record, at, session, **changes), per)


async def open_ids(bench: Bench, engine: EngineId = E1) -> list[str]:
    return [opened.start.session for opened in await bench.store.sessions.open_sessions(engine)]


async def bound(bench: Bench, record: TokenRecord) -> list[Network]:
    """Return what a token is bound to, as the view reads it."""
    found = await bench.store.facts(record.digest, ALICE, "studio", with_publishers=False)
    assert dict(found.bound) == dict((await usage(bench, record)).bound)
    return list(found.bound)


async def live(bench: Bench, stream: str = "studio", account: AccountId = ALICE) -> list[TokenId]:
    found = await bench.store.facts(None, account, stream, with_publishers=True)
    return [record.id for record in found.live]


async def touched(bench: Bench) -> list[tuple[ChangeKind, str, bytes]]:
    """Return what was written since the last token was made."""
    _, changes = await bench.store.changes_after(bench.start)
    return [(change.kind, change.account, change.key) for change in changes or ()]


# -- many at once


def _addresses(count: int) -> list[str]:
    return [f"10.0.{number // 250}.{number % 250}" for number in range(count)]


async def _first_use(bench: Bench, record: TokenRecord, address: str) -> Reason:
    """Use a token from an address. Who waits too long for the store, with so many others, is refused for that."""
    try:
        return await reason(bench, record, session=f"s{address}", client_ip=address)
    except Unavailable:
        return Reason.STORE_UNAVAILABLE


async def test_of_1000_first_uses_at_once_exactly_as_many_networks_are_bound_as_the_token_may(bench: Bench) -> None:
    record = await token(bench, bind_ips_on_usage=3)
    addresses = _addresses(1000)
    decisions = await asyncio.gather(*(_first_use(bench, record, address) for address in addresses))
    let_in = {address for address, decided in zip(addresses, decisions, strict=True) if decided is Reason.OK}
    assert len(let_in) == 3
    assert {*decisions} - {Reason.OK, Reason.STORE_UNAVAILABLE} == {Reason.ADDRESS_NOT_BOUND}
    assert set(await bound(bench, record)) == {parse_network(address) for address in let_in}
    assert await bench.store.revision() == bench.start + 3


async def test_two_processes_together_bind_exactly_as_many_networks_as_the_token_may(
    sql_backend: str, sql_place: Settings
) -> None:
    """Two stores on one database stand for two workers: their connections have nothing else in common."""
    async with populated(sql_backend, sql_place) as one, opened(sql_backend, sql_place) as two:
        record = await token(one, bind_ips_on_usage=3)
        addresses = _addresses(400)
        decisions = await asyncio.gather(
            *(_first_use((one, two)[number % 2], record, address) for number, address in enumerate(addresses))
        )
        let_in = {address for address, decided in zip(addresses, decisions, strict=True) if decided is Reason.OK}
        assert len(let_in) == 3
        for bench in (one, two):
            assert set(await bound(bench, record)) == {parse_network(address) for address in let_in}


async def test_of_many_starts_at_once_exactly_as_many_begin_as_the_limit_says(bench: Bench) -> None:
    record = await token(bench, session_limit=SessionLimit(5))
    decisions = await asyncio.gather(*(reason(bench, record, session=f"s{number}") for number in range(200)))
    assert decisions.count(Reason.OK) == len(await open_ids(bench)) == 5
    assert decisions.count(Reason.TOO_MANY_SESSIONS) == 195


async def test_of_many_uses_at_once_a_token_for_a_single_use_has_one(sql_backend: str, sql_place: Settings) -> None:
    async with populated(sql_backend, sql_place) as one, opened(sql_backend, sql_place) as two:
        record = await token(one, single_use=SingleUse())
        decisions = await asyncio.gather(
            *(reason((one, two)[number % 2], record, session=f"s{number}") for number in range(60))
        )
        assert decisions.count(Reason.OK) == 1
        assert decisions.count(Reason.TOKEN_USED) == 59


async def test_of_many_starts_at_once_with_the_tokens_of_one_subject_as_many_begin_as_the_limit_says(
    bench: Bench,
) -> None:
    limit = SessionLimit(4, Per.SUBJECT)
    records = [await token(bench, subject="carol", session_limit=limit) for _ in range(3)]
    decisions = await asyncio.gather(
        *(reason(bench, records[number % 3], session=f"s{number}") for number in range(60))
    )
    assert decisions.count(Reason.OK) == len(await open_ids(bench)) == 4


# -- a session begins, goes on, ends


async def test_a_token_that_was_never_used_has_no_use(bench: Bench) -> None:
    record = await token(bench)
    assert await usage(bench, record) == UNUSED


async def test_a_session_begins_with_its_admission(bench: Bench) -> None:
    record = await token(bench)
    assert await reason(bench, record, client_ip=HOME) is Reason.OK
    (opened,) = await bench.store.sessions.open_sessions(E1)
    assert (opened.start, opened.seen_at, opened.end_at, opened.bytes) == (start(record), AT, None, 0)
    found = await usage(bench, record)
    assert (found.starts, found.open_since, found.own) == (1, (AT,), None)
    assert [(session.since, session.end_at) for session in found.sessions] == [(AT, None)]


async def test_a_session_that_goes_on_is_not_begun_again_and_shows_a_sign_of_life(bench: Bench) -> None:
    record = await token(bench, session_limit=SessionLimit(1))
    for at in (AT, AT + 5, AT + 30):
        assert await reason(bench, record, at) is Reason.OK
        (opened,) = await bench.store.sessions.open_sessions(E1)
        assert (opened.start.at, opened.seen_at) == (AT, at)
    assert (await usage(bench, record, AT + 31)).starts == 1
    own = (await usage(bench, record, AT + 31, "s1")).own
    assert own is not None
    assert own.since == AT


@pytest.mark.parametrize(
    "changes",
    [{"session": "s2"}, {"engine": E2}, {"stream": "stage"}, {"action": Action.PUBLISH}],
    ids=["id", "engine", "stream", "action"],
)
async def test_what_differs_in_one_thing_is_another_session(bench: Bench, changes: dict[str, Any]) -> None:
    record = await token(bench)
    begun = start(record)
    await bench.store.sessions.admit(Admission(begun, Per.TOKEN, False, True, False, _let_in))
    assert (await bench.store.sessions.usage(begun, Per.TOKEN)).own is not None
    assert (await bench.store.sessions.usage(begun._replace(**changes), Per.TOKEN)).own is None


async def test_the_same_session_with_another_token_is_another_session(bench: Bench) -> None:
    one, two = await token(bench), await token(bench)
    assert await reason(bench, one) is Reason.OK
    assert (await usage(bench, two, session="s1")).own is None


def _let_in(usage: Usage) -> tuple[Decision, Effects]:
    return Decision(Reason.OK, 0), Effects(starts=usage.own is None)


@pytest.mark.parametrize(
    ("after", "same"),
    [(0, True), (SAME_READER_SECONDS - 1, True), (SAME_READER_SECONDS, True)] + [(SAME_READER_SECONDS + 1, False)],
)
async def test_the_second_call_of_an_rtsp_reader_is_the_same_session(bench: Bench, after: float, same: bool) -> None:
    """It comes under another id, within a short time; the session goes by that id from then on."""
    record = await token(bench, session_limit=SessionLimit(1))
    assert await reason(bench, record, AT, "describe", protocol=Protocol.RTSP) is Reason.OK
    second = await reason(bench, record, AT + after, "setup", protocol=Protocol.RTSP)
    assert second is (Reason.OK if same else Reason.TOO_MANY_SESSIONS)
    assert await open_ids(bench) == (["setup"] if same else ["describe"])
    assert (await usage(bench, record, AT + after)).starts == 1
    await bench.store.sessions.end_session(E1, "setup", AT + 20)
    assert await open_ids(bench) == ([] if same else ["describe"])


@pytest.mark.parametrize("changes", [{"client_ip": "192.0.2.2"}, {"stream": "stage"}, {"protocol": Protocol.RTMP}])
async def test_another_rtsp_reader_is_another_session(bench: Bench, changes: dict[str, Any]) -> None:
    """From elsewhere, of another stream, or by another protocol."""
    record = await token(bench, session_limit=SessionLimit(1))
    assert await reason(bench, record, AT, "describe", protocol=Protocol.RTSP) is Reason.OK
    other = await reason(bench, record, AT + 1, "setup", **{"protocol": Protocol.RTSP} | changes)
    assert other is Reason.TOO_MANY_SESSIONS


async def test_a_third_call_of_an_rtsp_reader_is_another_session(bench: Bench) -> None:
    """A second reader at the same address is not taken for the first one for long."""
    record = await token(bench, session_limit=SessionLimit(1))
    for at, session, decided in (
        (AT, "describe", Reason.OK),
        (AT + 1, "setup", Reason.OK),
        (AT + 2, "another", Reason.TOO_MANY_SESSIONS),
    ):
        assert await reason(bench, record, at, session, protocol=Protocol.RTSP) is decided


async def test_what_ended_is_counted(bench: Bench) -> None:
    """Seconds from beginning to end, and the bytes that were told; the open one beside it counts by itself."""
    record = await token(bench)
    await ask(bench, record, AT, "s1")
    await ask(bench, record, AT + 10, "s2")
    await bench.store.sessions.saw_sessions(E1, {"s1": 700, "s2": 50}, AT + 20)
    await bench.store.sessions.end_session(E1, "s1", AT + 25.5)
    found = await usage(bench, record, AT + 30)
    assert (found.starts, found.watched_seconds, found.bytes) == (2, 25.5, 750)
    assert (found.open_since, found.last_at) == ((AT + 10,), None)
    await bench.store.sessions.end_session(E1, "s2", AT + 40)
    found = await usage(bench, record, AT + 41)
    assert (found.watched_seconds, found.bytes, found.open_since, found.last_at) == (55.5, 750, (), AT + 40)


async def test_an_end_before_the_beginning_counts_nothing(bench: Bench) -> None:
    """Clocks of two machines differ."""
    record = await token(bench)
    await ask(bench, record, AT)
    await bench.store.sessions.end_session(E1, "s1", AT - 5)
    found = await usage(bench, record)
    assert (found.watched_seconds, found.open_since, found.last_at) == (0.0, (), AT)


async def test_a_session_ends_once(bench: Bench) -> None:
    record = await token(bench)
    await ask(bench, record, AT)
    for at in (AT + 10, AT + 20):
        await bench.store.sessions.end_session(E1, "s1", at)
    assert (await usage(bench, record)).watched_seconds == 10


async def test_an_end_is_of_one_session_of_one_engine(bench: Bench) -> None:
    record = await token(bench)
    for session, engine in (("s1", E1), ("s2", E1), ("s1", E2)):
        await ask(bench, record, AT, session, engine=engine)
    await bench.store.sessions.end_session(E1, "s1", AT + 1)
    await bench.store.sessions.end_session(E1, "nobody", AT + 1)
    assert (await open_ids(bench, E1), await open_ids(bench, E2)) == (["s2"], ["s1"])


async def test_an_end_may_be_of_what_was_published_or_watched_alone(bench: Bench) -> None:
    """One connection of RTMP can do both."""
    viewer, publisher = await token(bench), await token(bench, PUBLISH)
    await ask(bench, viewer)
    await ask(bench, publisher)
    await bench.store.sessions.end_session(E1, "s1", AT + 1, Action.SUBSCRIBE)
    (opened,) = await bench.store.sessions.open_sessions(E1)
    assert opened.start.action is Action.PUBLISH
    await bench.store.sessions.end_session(E1, "s1", AT + 1, Action.PUBLISH)
    assert await open_ids(bench) == []


async def test_what_an_engine_begins_anew_under_an_id_has_ended_before(bench: Bench) -> None:
    """It is counted up to then: an engine that restarted numbers its connections from 1 again."""
    one, two = await token(bench), await token(bench)
    await ask(bench, one, AT)
    await ask(bench, two, AT + 30)
    (opened,) = await bench.store.sessions.open_sessions(E1)
    assert opened.start.token_id == two.id
    assert (await usage(bench, one)).watched_seconds == 30


async def test_of_a_session_that_nobody_tells_the_end_of_the_start_is_counted(bench: Bench) -> None:
    """And no session is kept: it would never end."""
    record = await token(bench, budgets=Budgets(starts=2))
    for session, decided in (("s1", Reason.OK), ("s2", Reason.OK), ("s3", Reason.STARTS_SPENT)):
        assert await reason(bench, record, session=session, told=False) is decided
    assert await open_ids(bench) == []
    assert (await usage(bench, record)).starts == 2


async def test_the_last_address_is_that_of_the_newest_start(bench: Bench) -> None:
    record = await token(bench)
    for at, address in ((AT, "192.0.2.1"), (AT + 1, "2001:db8::1")):
        await ask(bench, record, at, f"s{at}", client_ip=address)
        network = parse_network(address)
        last = (await usage(bench, record, AT + 2)).last_address
        assert last is not None
        assert network.holds(last)


async def test_a_refused_admission_changes_nothing(bench: Bench) -> None:
    record = await token(bench, session_limit=SessionLimit(1), bind_ips_on_usage=1)
    await ask(bench, record, AT)
    before, revision = await usage(bench, record), await bench.store.revision()
    assert await reason(bench, record, AT + 1, "s2", client_ip="192.0.2.2") is Reason.ADDRESS_NOT_BOUND
    assert await reason(bench, record, AT + 1, "s2") is Reason.TOO_MANY_SESSIONS
    assert (await usage(bench, record), await bench.store.revision()) == (before, revision)


async def test_an_error_in_the_judging_comes_out_and_nothing_changed(bench: Bench) -> None:
    record = await token(bench, PUBLISH)

    def broken(_usage: Usage) -> tuple[Decision, Effects]:
        raise Unavailable("no")

    with pytest.raises(Unavailable):
        await bench.store.sessions.admit(Admission(start(record), Per.TOKEN, True, True, False, broken))
    assert (await usage(bench, record), await open_ids(bench)) == (UNUSED, [])
    assert (await bench.store.revision(), bench.heard.revisions) == (bench.start, [])


# -- limits


async def test_a_session_that_has_to_make_room_is_told_when(bench: Bench) -> None:
    record = await token(bench, session_limit=SessionLimit(1, over=Over.GRACE, grace_seconds=5))
    await ask(bench, record, AT, "s1")
    assert await reason(bench, record, AT + 1, "s2") is Reason.OK
    assert [opened.end_at for opened in await bench.store.sessions.open_sessions(E1)] == [AT + 6, None]
    for at, decided in ((AT + 5, Reason.OK), (AT + 6, Reason.TOO_MANY_SESSIONS)):
        assert await reason(bench, record, at, "s1") is decided


async def test_a_limit_for_each_subject_counts_the_sessions_of_all_its_tokens(bench: Bench) -> None:
    limit = SessionLimit(2, Per.SUBJECT)
    one, two = [await token(bench, subject="carol", session_limit=limit) for _ in range(2)]
    other = await token(bench, subject="dave", session_limit=limit)
    assert await reason(bench, one, session="s1") is Reason.OK
    assert await reason(bench, two, session="s2") is Reason.OK
    for record in (one, two):
        assert await reason(bench, record, session="s3") is Reason.TOO_MANY_SESSIONS
    assert await reason(bench, other, session="s3") is Reason.OK
    await bench.store.sessions.end_session(E1, "s1", AT + 1)
    assert await reason(bench, two, AT + 2, session="s4") is Reason.OK


async def test_a_subject_is_one_of_its_account(bench: Bench) -> None:
    """Another account may call somebody by the same name."""
    limit = SessionLimit(1, Per.SUBJECT)
    hers = await token(bench, subject="carol", session_limit=limit)
    his = await token(bench, account=BOB, subject="carol", session_limit=limit)
    assert await reason(bench, hers, session="s1") is Reason.OK
    assert await reason(bench, his, session="s2") is Reason.OK


async def test_a_subjects_other_sessions_are_not_the_tokens_use(bench: Bench) -> None:
    """They count against the limit, and not against budgets."""
    limit = SessionLimit(2, Per.SUBJECT)
    one, two = [await token(bench, subject="carol", session_limit=limit) for _ in range(2)]
    await ask(bench, one, AT, "s1")
    await bench.store.sessions.saw_sessions(E1, {"s1": 9}, AT + 1)
    found = await usage(bench, two, AT + 2)
    assert (len(found.sessions), found.open_since, found.bytes, found.starts) == (1, (), 0, 0)


async def test_a_single_use_ends_no_session_of_its_subjects_other_tokens(bench: Bench) -> None:
    """It is good for one session of its own; the limit for the subject has room for both."""
    limit = SessionLimit(5, Per.SUBJECT)
    one = await token(bench, subject="carol", session_limit=limit)
    two = await token(bench, subject="carol", session_limit=limit, single_use=SingleUse())
    assert await reason(bench, one, AT, "s1") is Reason.OK
    assert await reason(bench, two, AT + 1, "s2") is Reason.OK
    assert [opened.end_at for opened in await bench.store.sessions.open_sessions(E1)] == [None, None]


# -- silence


@pytest.mark.parametrize(
    ("protocol", "silence"), [(Protocol.RTMP, SILENCE_SECONDS), (Protocol.HLS, HLS_SILENCE_SECONDS)]
)
@pytest.mark.parametrize(("more", "gone"), [(-1, False), (0, False), (1, True)])
async def test_a_silent_session_makes_room_and_ended_when_it_was_last_heard_of(
    bench: Bench, protocol: Protocol, silence: float, more: float, gone: bool
) -> None:
    """-1, 0, +1 around the longest silence."""
    record = await token(bench, session_limit=SessionLimit(1))
    await ask(bench, record, AT, "s1", protocol=protocol)
    await bench.store.sessions.saw_sessions(E1, {"s1": 0}, AT + 7)
    at = AT + 7 + silence + more
    decided = await reason(bench, record, at, "s2")
    assert decided is (Reason.OK if gone else Reason.TOO_MANY_SESSIONS)
    assert await open_ids(bench) == (["s2"] if gone else ["s1"])
    assert (await usage(bench, record, at)).watched_seconds == (7 if gone else 0)


async def test_a_silent_session_that_is_asked_about_again_is_a_new_one(bench: Bench) -> None:
    record = await token(bench)
    await ask(bench, record, AT)
    await ask(bench, record, AT + SILENCE_SECONDS + 1)
    found = await usage(bench, record, AT + SILENCE_SECONDS + 1)
    assert (found.starts, found.open_since) == (2, (AT + SILENCE_SECONDS + 1,))


async def test_a_session_that_the_engine_says_runs_is_not_gone(bench: Bench) -> None:
    """However long nothing was heard of it: we may have been away."""
    record = await token(bench, session_limit=SessionLimit(1))
    await ask(bench, record, AT)
    at = AT + 10 * SILENCE_SECONDS
    assert await reason(bench, record, at, running=True) is Reason.OK
    (opened,) = await bench.store.sessions.open_sessions(E1)
    assert (opened.start.at, opened.seen_at) == (AT, at)
    assert (await usage(bench, record, at)).starts == 1


@pytest.mark.parametrize("kind", TokenKind)
async def test_a_session_that_was_taken_for_gone_is_resumed(bench: Bench, kind: TokenKind) -> None:
    """It is open again, and is no new start; what it used until it fell silent stays counted."""
    record = await token(bench, kind)
    await ask(bench, record, AT)
    await bench.store.sessions.saw_sessions(E1, {"s1": 5}, AT + 7)
    at = AT + 7 + SILENCE_SECONDS + 1
    await bench.store.sessions.end_silent([E1], at)

    def judge(usage: Usage) -> tuple[Decision, Effects]:
        return Decision(Reason.OK, 0), Effects(resumes=usage.own is None)

    binds = kind is PUBLISH
    await bench.store.sessions.admit(Admission(start(record, at), Per.TOKEN, binds, True, True, judge))
    (opened,) = await bench.store.sessions.open_sessions(E1)
    assert opened.start == start(record, at)
    found = await usage(bench, record, at)
    assert (found.starts, found.watched_seconds, found.bytes, found.open_since) == (1, 7, 5, (at,))
    assert await live(bench) == ([record.id] if kind is PUBLISH else [])


async def test_a_silent_broadcast_makes_room_for_its_subjects_viewers_too(bench: Bench) -> None:
    """A limit for each subject counts what it publishes; what fell silent counts no more."""
    limit = SessionLimit(1, Per.SUBJECT)
    publisher = await token(bench, PUBLISH, subject="carol", session_limit=limit)
    viewer = await token(bench, subject="carol", session_limit=limit)
    await ask(bench, publisher, AT, "s1")
    at = AT + SILENCE_SECONDS + 1
    assert (await usage(bench, viewer, at)).sessions == ()
    assert await reason(bench, viewer, at, "s2") is Reason.OK


@pytest.mark.parametrize(("more", "gone"), [(-1, False), (0, False), (1, True)])
@pytest.mark.parametrize("kind", TokenKind)
async def test_the_sweep_ends_what_fell_silent_when_it_was_last_heard_of(
    bench: Bench, kind: TokenKind, more: float, gone: bool
) -> None:
    """-1, 0, +1 around the longest silence."""
    record = await token(bench, kind)
    await ask(bench, record, AT)
    await bench.store.sessions.saw_sessions(E1, {"s1": 5}, AT + 7)
    await bench.store.sessions.end_silent([E1], AT + 7 + SILENCE_SECONDS + more)
    assert await open_ids(bench) == ([] if gone else ["s1"])
    found = await usage(bench, record, AT + 8)
    assert (found.watched_seconds, found.bytes) == ((7, 5) if gone else (0, 5))
    assert await live(bench) == ([record.id] if kind is PUBLISH and not gone else [])


@pytest.mark.parametrize(("engines", "left"), [((), 2), ((E2,), 1), ((E1, E2), 0)])
async def test_the_sweep_is_about_the_engines_that_tell(bench: Bench, engines: Collection[EngineId], left: int) -> None:
    """Of others silence means nothing."""
    record = await token(bench)
    await ask(bench, record, AT, "s1")
    await ask(bench, record, AT, "s2", engine=E2)
    await bench.store.sessions.end_silent(engines, AT + 1000)
    assert len(await open_ids(bench, E1)) + len(await open_ids(bench, E2)) == left


# -- signs of life


async def test_signs_of_life_never_go_back(bench: Bench) -> None:
    """A late one changes neither when a session was last heard of nor what it carried."""
    record = await token(bench)
    await ask(bench, record, AT)
    for at, carried, expected in (
        (AT + 10, 500, (AT + 10, 500)),
        (AT + 5, 900, (AT + 10, 500)),
        (AT + 10, 900, (AT + 10, 500)),
        (AT + 20, 0, (AT + 20, 500)),
        (AT + 30, 499, (AT + 30, 500)),
        (AT + 40, 501, (AT + 40, 501)),
    ):
        await bench.store.sessions.saw_sessions(E1, {"s1": carried}, at)
        (opened,) = await bench.store.sessions.open_sessions(E1)
        assert (opened.seen_at, opened.bytes) == expected
    assert (await usage(bench, record)).bytes == 501


async def test_a_sign_of_life_of_what_is_not_open_does_nothing(bench: Bench) -> None:
    """Never begun, ended, or of another engine."""
    record = await token(bench)
    await ask(bench, record, AT)
    await bench.store.sessions.end_session(E1, "s1", AT + 1)
    await ask(bench, record, AT, "s2")
    for engine, seen in ((E1, {"s1": 5, "nobody": 5}), (E2, {"s2": 5}), (E1, {})):
        await bench.store.sessions.saw_sessions(engine, seen, AT + 9)
    (opened,) = await bench.store.sessions.open_sessions(E1)
    assert (opened.seen_at, opened.bytes) == (AT, 0)
    assert (await usage(bench, record)).bytes == 0


async def test_many_signs_of_life_come_at_once(bench: Bench) -> None:
    record = await token(bench)
    for number in range(5):
        await ask(bench, record, AT, f"s{number}")
    await bench.store.sessions.saw_sessions(E1, {f"s{number}": number for number in range(5)}, AT + 1)
    found = await bench.store.sessions.open_sessions(E1)
    assert sorted(opened.bytes for opened in found) == [0, 1, 2, 3, 4]
    assert {opened.seen_at for opened in found} == {AT + 1}


# -- broadcasts that were admitted from memory


async def test_broadcasts_are_begun_in_batches(bench: Bench) -> None:
    one, two = await token(bench, PUBLISH), await token(bench, PUBLISH)
    starts = [start(one, session="s1"), start(two, session="s2"), start(two, session="s3", stream="stage")]
    await bench.store.sessions.begin_sessions(starts)
    assert [opened.start for opened in await bench.store.sessions.open_sessions(E1)] == starts
    assert (await live(bench), await live(bench, "stage")) == ([one.id, two.id], [two.id])
    assert set(await touched(bench)) == {(ChangeKind.LIVE, ALICE, b"studio"), (ChangeKind.LIVE, ALICE, b"stage")}


async def test_a_broadcast_is_live_while_it_is_open(bench: Bench) -> None:
    """Admitted either way; in its own account and under its own name; also when its token was revoked meanwhile."""
    record = await token(bench, PUBLISH)
    begins: tuple[Callable[[], Awaitable[object]], ...] = (
        lambda: ask(bench, record),
        lambda: bench.store.sessions.begin_sessions([start(record, AT + 1)]),
    )
    for begin in begins:
        await begin()
        assert await live(bench) == [record.id]
        assert (await live(bench, "stage"), await live(bench, account=BOB)) == ([], [])
        await bench.store.sessions.end_session(E1, "s1", AT + 1, Action.PUBLISH)
        assert await live(bench) == []
    await bench.store.sessions.begin_sessions([start(record, AT + 2)])
    await bench.store.revoke_token(ALICE, PUBLISH, record.id, AT)
    assert await live(bench) == [record.id]


async def test_who_publishes_a_stream_twice_is_live_once(bench: Bench) -> None:
    record = await token(bench, PUBLISH)
    await bench.store.sessions.begin_sessions([start(record, session=session) for session in ("s1", "s2")])
    assert await live(bench) == [record.id]
    await bench.store.sessions.end_session(E1, "s1", AT + 1)
    assert await live(bench) == [record.id]


@pytest.mark.parametrize(("ended", "begun"), [(-1, True), (0, True), (1, False)])
async def test_a_broadcast_that_is_known_to_have_ended_since_is_not_begun(
    bench: Bench, ended: int, begun: bool
) -> None:
    """Its end was told before its beginning was written down; -1, 0, +1 around that."""
    record = await token(bench, PUBLISH)
    await bench.store.sessions.end_session(E1, "s1", AT + ended, Action.PUBLISH)
    await bench.store.sessions.begin_sessions([start(record, AT)])
    assert await open_ids(bench) == (["s1"] if begun else [])


@pytest.mark.parametrize("other", [{"session": "s2"}, {"engine": E2}])
async def test_an_end_that_is_kept_in_mind_is_of_one_session_of_one_engine(bench: Bench, other: dict[str, Any]) -> None:
    record = await token(bench, PUBLISH)
    await bench.store.sessions.end_session(E1, "s1", AT + 1, Action.PUBLISH)
    await bench.store.sessions.begin_sessions([start(record, AT)._replace(**other)])
    assert await live(bench) == [record.id]


async def test_a_broadcast_that_ended_and_is_begun_later_under_its_old_id_is_begun(bench: Bench) -> None:
    record = await token(bench, PUBLISH)
    await bench.store.sessions.begin_sessions([start(record, AT)])
    await bench.store.sessions.end_session(E1, "s1", AT + 1, Action.PUBLISH)
    await bench.store.sessions.begin_sessions([start(record, AT + 2)])
    assert await open_ids(bench) == ["s1"]


async def test_a_broadcast_begun_anew_under_an_id_takes_the_older_one_off(bench: Bench) -> None:
    """Of whatever stream: views are told that it is live no more."""
    one, two = await token(bench, PUBLISH), await token(bench, PUBLISH)
    await bench.store.sessions.begin_sessions([start(one, AT, stream="stage")])
    bench.start = await bench.store.revision()
    await bench.store.sessions.begin_sessions([start(two, AT + 5)])
    assert (await live(bench, "stage"), await live(bench)) == ([], [two.id])
    assert set(await touched(bench)) == {(ChangeKind.LIVE, ALICE, b"studio"), (ChangeKind.LIVE, ALICE, b"stage")}


async def test_what_a_broadcast_begun_anew_takes_off_is_counted(bench: Bench) -> None:
    """Like everything that ended: a token with a budget must not lose what it used."""
    counted = await token(bench, PUBLISH, budgets=Budgets(watch_seconds=100))
    other = await token(bench, PUBLISH)
    await ask(bench, counted, AT)
    await bench.store.sessions.begin_sessions([start(other, AT + 60)])
    found = await usage(bench, counted, AT + 61)
    assert (found.watched_seconds, found.open_since) == (60, ())


# -- what is bound


async def test_networks_are_bound_oldest_first_and_cut_as_the_token_says(bench: Bench) -> None:
    record = await token(bench, bind_ips_on_usage=2, bind_ipv4_bits=24)
    await ask(bench, record, AT, "s1", client_ip="198.51.100.7")
    await ask(bench, record, AT + 1, "s2", client_ip="192.0.2.200")
    await ask(bench, record, AT + 2, "s3", client_ip="198.51.100.99")
    assert await bound(bench, record) == [parse_network("198.51.100.0/24"), parse_network("192.0.2.0/24")]
    assert list((await usage(bench, record)).bound.values()) == [AT, AT + 1]


async def test_a_rebinding_takes_the_place_of_the_oldest_and_is_remembered(bench: Bench) -> None:
    record = await token(bench, bind_ips_on_usage=2, rebinds_an_hour=1)
    for number in range(3):
        await ask(bench, record, AT + number, f"s{number}", client_ip=f"192.0.2.{number}")
    assert await bound(bench, record) == [parse_network("192.0.2.1"), parse_network("192.0.2.2")]
    assert (await usage(bench, record)).rebinds == (AT + 2,)
    assert await reason(bench, record, AT + 3, "s3", client_ip="192.0.2.3") is Reason.ADDRESS_NOT_BOUND
    assert await reason(bench, record, AT + 2 + 3600, "s4", client_ip="192.0.2.4") is Reason.OK
    assert (await usage(bench, record)).rebinds == (AT + 2, AT + 3602)


async def test_a_binding_is_told_to_everyone(bench: Bench) -> None:
    """The token's facts hold it, so views have to forget them."""
    record = await token(bench, bind_ips_on_usage=1)
    await ask(bench, record)
    assert await touched(bench) == [(ChangeKind.TOKEN, ALICE, record.digest)]
    assert bench.heard.revisions == [(bench.start + 1, bench.start + 1)]


async def test_clearing_the_binding_forgets_what_was_bound(bench: Bench) -> None:
    """And nothing else of the token's use."""
    record = await token(bench, bind_ips_on_usage=1)
    await ask(bench, record, client_ip="192.0.2.1")
    for most in (None, 1):
        record = await bench.store.change_token(ALICE, SUBSCRIBE, record.id, _binding(bind_ips_on_usage=most))
        assert await bound(bench, record) == []
    assert (await usage(bench, record)).starts == 1
    assert await reason(bench, record, session="s2", client_ip="192.0.2.2") is Reason.OK


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({"bind_ips_on_usage": 5}, True),
        ({"rebinds_an_hour": 5}, True),
        ({"bind_ipv4_bits": 24}, False),
        ({"bind_ipv6_bits": 64}, False),
        ({"label": "another"}, True),
        ({"active": False}, True),
    ],
)
async def test_what_is_bound_is_forgotten_when_it_is_cut_otherwise(
    bench: Bench, changes: dict[str, Any], kept: bool
) -> None:
    record = await token(bench, bind_ips_on_usage=1)
    await ask(bench, record)
    record = await bench.store.change_token(ALICE, SUBSCRIBE, record.id, _binding(**changes))
    assert await bound(bench, record) == ([parse_network(HOME)] if kept else [])


def _binding(**changes: Any) -> TokenChange:
    return TokenChange(at=AT, terms=lambda terms: replace(terms, **changes))


async def test_renewing_a_token_forgets_its_use(bench: Bench) -> None:
    """It is as good as new: what was used was another secret."""
    record = await token(bench, bind_ips_on_usage=1, rebinds_an_hour=2, single_use=SingleUse())
    other = await token(bench, bind_ips_on_usage=1)
    for each in (record, other):
        await ask(bench, each, AT, f"s{each.id}")
        await bench.store.sessions.end_session(E1, f"s{each.id}", AT + 9)
    renewed = await bench.store.change_token(
        ALICE, SUBSCRIBE, record.id, TokenChange(at=AT, digest=b"new", sealed=b"x")
    )
    assert (await usage(bench, renewed), await bound(bench, renewed)) == (UNUSED, [])
    assert (await usage(bench, other)).watched_seconds == 9
    assert await reason(bench, renewed, AT + 10, "s3", client_ip="192.0.2.9") is Reason.OK


# -- nothing is changed


async def test_reading_the_usage_changes_nothing(bench: Bench) -> None:
    """Also where an admission would end a silent session and bind an address."""
    record = await token(bench, PUBLISH, session_limit=SessionLimit(1), bind_ips_on_usage=1)
    await ask(bench, record, AT)
    before = await bench.store.sessions.open_sessions(E1)
    revision = await bench.store.revision()
    bench.heard.revisions.clear()
    at = AT + SILENCE_SECONDS + 1
    first = await usage(bench, record, at, "s2", client_ip="192.0.2.2")
    assert (first.sessions, first.open_since) == ((), ())
    assert await usage(bench, record, at, "s2", client_ip="192.0.2.2") == first
    assert await bench.store.sessions.open_sessions(E1) == before
    assert (await bench.store.revision(), bench.heard.revisions) == (revision, [])


async def test_a_numbered_admission_that_changes_nothing_leaves_the_revision_as_it_was(bench: Bench) -> None:
    """What everyone would have to be told of is asked for each time; most times there is nothing to tell."""
    viewer = await token(bench, bind_ips_on_usage=1)
    publisher = await token(bench, PUBLISH, session_limit=SessionLimit(1))
    await ask(bench, viewer, AT, "s1")
    await ask(bench, publisher, AT, "s2")
    revision = await bench.store.revision()
    bench.heard.revisions.clear()
    for record, session, decided in (
        (viewer, "s1", Reason.OK),
        (viewer, "s3", Reason.OK),
        (publisher, "s2", Reason.OK),
        (publisher, "s4", Reason.TOO_MANY_SESSIONS),
    ):
        assert await reason(bench, record, AT + 1, session) is decided
    assert (await bench.store.revision(), bench.heard.revisions) == (revision, [])
    await bench.store.add_token(new_token())
    assert bench.heard.revisions == [(revision + 1, revision + 1)]
    newest, changes = await bench.store.changes_after(revision)
    assert (newest, {change.revision for change in changes or ()}) == (revision + 1, {revision + 1})


async def test_viewers_come_and_go_without_a_revision(bench: Bench) -> None:
    """No view remembers anything of them."""
    record = await token(bench, session_limit=SessionLimit(1))
    sessions = bench.store.sessions
    await ask(bench, record)
    await sessions.saw_sessions(E1, {"s1": 5}, AT + 1)
    await sessions.end_session(E1, "s1", AT + 2, Action.SUBSCRIBE)
    await ask(bench, record, AT + 3)
    await sessions.end_silent([E1], AT + 1000)
    await sessions.count_shadowed({Shadowed(ALICE, record.id, Reason.TOKEN_EXPIRED): 1}, AT)
    await sessions.forget_sessions(AT + 2000)
    assert (await bench.store.revision(), bench.heard.revisions) == (bench.start, [])


async def test_a_broadcasts_beginning_and_end_are_told_to_everyone(bench: Bench) -> None:
    record = await token(bench, PUBLISH)
    sessions = bench.store.sessions
    calls: tuple[Callable[[], Awaitable[object]], ...] = (
        lambda: ask(bench, record),
        lambda: sessions.end_session(E1, "s1", AT + 1),
        lambda: sessions.begin_sessions([start(record, AT + 2)]),
        lambda: sessions.end_silent([E1], AT + 1000),
    )
    for step, call in enumerate(calls, 1):
        await call()
        assert await touched(bench) == [(ChangeKind.LIVE, ALICE, b"studio")] * step
        assert len(bench.heard.revisions) == step


# -- tidying up, and shadow mode


async def test_what_ended_before_an_instant_is_forgotten_and_stays_counted(bench: Bench) -> None:
    """What is open stays, and so does what is kept of ends that came first, while it may still matter."""
    record = await token(bench)
    publisher = await token(bench, PUBLISH)
    await ask(bench, record, AT, "s1")
    await ask(bench, record, AT, "s2")
    await bench.store.sessions.end_session(E1, "s1", AT + 9)
    await bench.store.sessions.end_session(E1, "tomb", AT + 9, Action.PUBLISH)
    for before, begun in ((AT + 9, False), (AT + 10, True)):
        await bench.store.sessions.forget_sessions(before)
        await bench.store.sessions.begin_sessions([start(publisher, AT, "tomb")])
        assert ("tomb" in await open_ids(bench)) is begun
    assert "s2" in await open_ids(bench)
    assert (await usage(bench, record)).watched_seconds == 9


async def test_counts_of_what_shadow_mode_let_through_add_up(bench: Bench) -> None:
    """Of each token, of accesses without one, and of the account as a whole; another account's are its own."""
    sessions = bench.store.sessions
    expired, spent = Reason.TOKEN_EXPIRED, Reason.BYTES_SPENT
    one, two, none = TokenId(1), TokenId(2), TokenId(0)
    assert await sessions.shadowed(ALICE, None) == {}
    await sessions.count_shadowed({Shadowed(ALICE, one, expired): 2, Shadowed(ALICE, one, spent): 1}, AT)
    await sessions.count_shadowed(
        {Shadowed(ALICE, one, expired): 3, Shadowed(ALICE, two, expired): 10, Shadowed(ALICE, none, spent): 7}, AT + 1
    )
    await sessions.count_shadowed({Shadowed(BOB, one, expired): 100}, AT + 2)
    assert await sessions.shadowed(ALICE, one) == {expired: 5, spent: 1}
    assert await sessions.shadowed(ALICE, two) == {expired: 10}
    assert await sessions.shadowed(ALICE, none) == {spent: 7}
    assert await sessions.shadowed(ALICE, TokenId(3)) == {}
    assert await sessions.shadowed(ALICE, None) == {expired: 15, spent: 8}
    assert await sessions.shadowed(BOB, None) == {expired: 100}


async def test_counts_of_shadow_mode_add_up_among_many_writers(sql_backend: str, sql_place: Settings) -> None:
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(populated(sql_backend, sql_place))
        two = await stack.enter_async_context(opened(sql_backend, sql_place))
        what = Shadowed(ALICE, TokenId(1), Reason.TOKEN_EXPIRED)
        await one.store.sessions.count_shadowed({what: 1}, AT)
        await asyncio.gather(
            *(bench.store.sessions.count_shadowed({what: 1}, AT) for _ in range(10) for bench in (one, two))
        )
        assert await one.store.sessions.shadowed(ALICE, TokenId(1)) == {Reason.TOKEN_EXPIRED: 21}


# -- restarts


async def test_everything_survives_closing_and_reopening(sql_backend: str, sql_place: Settings) -> None:
    async with populated(sql_backend, sql_place) as bench:
        viewer = await token(bench, bind_ips_on_usage=1, rebinds_an_hour=2, session_limit=SessionLimit(2))
        publisher = await token(bench, PUBLISH)
        await ask(bench, viewer, AT, "s1", client_ip="192.0.2.1")
        await ask(bench, viewer, AT + 1, "s2", client_ip="192.0.2.2")
        await bench.store.sessions.saw_sessions(E1, {"s1": 300, "s2": 7}, AT + 5)
        await bench.store.sessions.end_session(E1, "s1", AT + 6)
        await bench.store.sessions.begin_sessions([start(publisher, AT, "s3")])
        await bench.store.sessions.end_session(E1, "tomb", AT + 6, Action.PUBLISH)
        shadowed = Shadowed(ALICE, viewer.id, Reason.TOKEN_EXPIRED)
        await bench.store.sessions.count_shadowed({shadowed: 4}, AT)
        before = await usage(bench, viewer, AT + 7)
        opened_before = list(await bench.store.sessions.open_sessions(E1))
    async with opened(sql_backend, sql_place) as bench:
        assert await usage(bench, viewer, AT + 7) == before
        assert (before.starts, before.watched_seconds, before.bytes, before.rebinds) == (2, 6, 307, (AT + 1,))
        assert list(await bench.store.sessions.open_sessions(E1)) == opened_before
        assert await bound(bench, viewer) == [parse_network("192.0.2.2")]
        assert await live(bench) == [publisher.id]
        assert await bench.store.sessions.shadowed(ALICE, viewer.id) == {Reason.TOKEN_EXPIRED: 4}
        await bench.store.sessions.begin_sessions([start(publisher, AT, "tomb")])
        assert "tomb" not in await open_ids(bench)
        assert (await usage(bench, viewer, AT + 8, "s2")).own is not None


async def test_a_viewer_that_is_noted_again_still_watches_and_is_kept_once(bench: Bench) -> None:
    record = await token(bench)
    for seconds in (0, 50, 145):
        await bench.store.sessions.begin_sessions([start(record, AT + seconds), start(record, AT + seconds)])
    (session,) = await bench.store.sessions.open_sessions(E1)
    assert (session.start.at, session.seen_at) == (AT, AT + 145)
    assert bench.heard.revisions == []  # no view remembers anything of viewers


@pytest.mark.parametrize(
    "other",
    [{"stream": "stage"}, {"client_ip": "192.0.2.2"}, {"account": BOB}],
)
async def test_another_viewer_under_the_same_id_is_another_session(bench: Bench, other: dict[str, Any]) -> None:
    record = await token(bench)
    await bench.store.sessions.begin_sessions([start(record)])
    await bench.store.sessions.begin_sessions([start(record, AT + 5, **other)])
    (session,) = await bench.store.sessions.open_sessions(E1)
    assert session.start == start(record, AT + 5, **other)


@pytest.mark.parametrize(
    ("protocol", "silence"), [(Protocol.RTMP, SILENCE_SECONDS), (Protocol.HLS, HLS_SILENCE_SECONDS)]
)
async def test_a_viewer_that_is_back_from_silence_is_another_session(
    bench: Bench, protocol: Protocol, silence: float
) -> None:
    record = await token(bench)
    await bench.store.sessions.begin_sessions([start(record, protocol=protocol)])
    for seconds, sessions in ((silence, 1), (2 * silence + 0.5, 2)):
        await bench.store.sessions.begin_sessions([start(record, AT + seconds, protocol=protocol)])
        (session,) = await bench.store.sessions.open_sessions(E1)
        assert session.start.at == (AT if sessions == 1 else AT + seconds)


async def test_a_viewer_that_has_gone_since_is_not_begun(bench: Bench) -> None:
    record = await token(bench)
    await bench.store.sessions.begin_sessions([start(record)])
    await bench.store.sessions.end_session(E1, "s1", AT + 2)
    await bench.store.sessions.begin_sessions([start(record, AT + 1)])
    assert await bench.store.sessions.open_sessions(E1) == []


async def test_the_sweep_ends_hls_viewers_sooner(bench: Bench) -> None:
    record = await token(bench)
    viewers = [start(record, session="hls", protocol=Protocol.HLS), start(record, session="rtmp")]
    await bench.store.sessions.begin_sessions(viewers)
    for seconds, left in ((HLS_SILENCE_SECONDS, 2), (HLS_SILENCE_SECONDS + 0.5, 1)):
        await bench.store.sessions.end_silent([E1], AT + seconds)
        assert len(await bench.store.sessions.open_sessions(E1)) == left


async def test_what_runs_with_a_renewed_token_is_told_from_what_needed_none(bench: Bench) -> None:
    record = await token(bench)
    await bench.store.sessions.begin_sessions(
        [start(record), start(record, session="free", token_id=NO_TOKEN, subject="")]
    )
    await bench.store.change_token(ALICE, SUBSCRIBE, record.id, TokenChange(digest=b"new", sealed=b"x", at=AT))
    opened_now = await bench.store.sessions.open_sessions(E1)
    assert {session.start.session: session.start.token_id for session in opened_now} == {
        "s1": RENEWED,
        "free": NO_TOKEN,
    }
