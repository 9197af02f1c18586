"""The keeper: what an engine lists is alive, what it does not list has ended, and what has to end is ended there."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from stagedoor.model.decision import Reason
from stagedoor.model.engine import Engine, EngineKind
from stagedoor.model.errors import Unavailable
from stagedoor.model.grant import StreamPattern
from stagedoor.model.session import Broadcast, OpenSession
from stagedoor.model.token import TokenKind, TokenTerms
from stagedoor.service.controls import Controls
from stagedoor.service.keeper import Keeper
from stagedoor.service.ports import NewToken
from stagedoor.tokens.opaque import new_token
from tests.world import BASE, ENGINES, World, opened

ENGINE = ENGINES["mtx-controlled"]
WATCH = {"do": "subscribe", "stream": "A/cam", "engine": "mtx-controlled", "protocol": "rtsp", "token": "see"}
COUNTED = {"sessionLimit": {"most": 1}}


class Control:
    """An engine that runs what it is told."""

    def __init__(self) -> None:
        self.running: dict[str, int] = {}
        self.ended: list[str] = []
        self.away = False
        self.stuck: set[str] = set()

    async def sessions(self, engine: Engine) -> Mapping[str, int]:
        """List what runs."""
        if self.away:
            raise Unavailable(f"{engine.name} is away")
        return self.running

    async def end(self, engine: Engine, session: OpenSession) -> None:
        """End a session."""
        if session.start.session in self.stuck:
            raise Unavailable(f"{session.start.session} is stuck")
        self.ended.append(session.start.session)
        del self.running[session.start.session]

    async def broadcasts(self, engine: Engine) -> Sequence[Broadcast]:
        """List nothing: a keeper does not ask."""
        return ()

    async def close(self) -> None:
        """Close."""


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A world whose viewers' token may have one session, of a minute and a thousand bytes."""
    async with opened("memory", tmp_path) as made:
        streams = [{"streamName": "cam"}]
        await made.begin(
            {
                "on": {"kind": "publish", "streams": streams, "subscribeRequiresAuth": True},
                "see": {
                    "kind": "subscribe",
                    "streams": streams,
                    "sessionLimit": {"most": 1, "over": "end_oldest"},
                    "budgets": {"sessionSeconds": 60, "bytes": 1000},
                },
            }
        )
        yield made


async def no_key_revoked(_: int) -> bool:
    """Have all our signing keys stand."""
    return False


def keeper(world: World, control: Control, key_revoked: Callable[[int], Awaitable[bool]] = no_key_revoked) -> Keeper:
    """Make a keeper of one engine."""
    return Keeper(
        view=world.view,
        engines=lambda: [ENGINE],
        tokens=world.store,
        sessions=world.store.sessions,
        controls=Controls({EngineKind.MEDIAMTX: lambda: control}),
        clock=world.clock,
        may_work=lambda: True,
        children=world.children,
        key_revoked=key_revoked,
    )


async def admitted(world: World, control: Control, name: str) -> None:
    """Let a session in, and have the engine run it."""
    decision = await world.authorize({**WATCH, "session": name})
    assert decision.allowed
    control.running[name] = 0


async def test_a_session_that_may_go_on_is_left_alone(world: World) -> None:
    """A session within its limits runs; being listed keeps it alive beyond the silence that would end it."""
    control = Control()
    await admitted(world, control, "one")
    for seconds in (5, 50, 59):
        world.now = BASE + seconds
        assert await keeper(world, control).look_after(ENGINE) == []
    (session,) = await world.store.sessions.open_sessions(ENGINE.id)
    assert session.seen_at == BASE + 59
    assert control.ended == []


@pytest.mark.parametrize(("seconds", "carried", "ends"), [(59, 999, False), (60, 999, True), (59, 1000, True)])
async def test_a_spent_budget_ends_a_session(world: World, seconds: int, carried: int, ends: bool) -> None:
    """At the budget of seconds or bytes the session is ended on the engine and in the store."""
    control = Control()
    await admitted(world, control, "one")
    world.now = BASE + seconds
    control.running["one"] = carried
    ended = await keeper(world, control).look_after(ENGINE)
    assert bool(ended) is ends
    assert control.ended == (["one"] if ends else [])
    assert len(await world.store.sessions.open_sessions(ENGINE.id)) == (0 if ends else 1)


async def test_the_oldest_is_ended_for_a_newer_one(world: World) -> None:
    """A session that has to make room is ended, the newer one is not."""
    control = Control()
    await admitted(world, control, "old")
    world.now = BASE + 11
    await admitted(world, control, "new")
    ended = await keeper(world, control).look_after(ENGINE)
    assert [(one.session, one.reason.value) for one in ended] == [("old", "too_many_sessions")]


async def test_a_revoked_token_ends_what_runs_and_a_disabled_one_does_not(world: World) -> None:
    """Revoking ends the session; switching off only stops new ones."""
    control = Control()
    await admitted(world, control, "one")
    await world.change({"change": "see", "body": {"isActive": False}})
    assert await keeper(world, control).look_after(ENGINE) == []
    await world.change({"revoke": "see"})
    ended = await keeper(world, control).look_after(ENGINE)
    assert [one.reason.value for one in ended] == ["token_revoked"]


async def test_what_is_not_listed_has_ended_but_for_a_young_one(world: World) -> None:
    """A session that the engine does not know any more is over; one just admitted may not be there yet."""
    control = Control()
    await admitted(world, control, "one")
    control.running.clear()
    world.now = BASE + 10
    await keeper(world, control).look_after(ENGINE)
    assert len(await world.store.sessions.open_sessions(ENGINE.id)) == 1
    world.now = BASE + 10.5
    await keeper(world, control).look_after(ENGINE)
    assert await world.store.sessions.open_sessions(ENGINE.id) == []


async def test_an_engine_that_is_away_ends_nothing(world: World) -> None:
    """No answer is no news: sessions stay as they are."""
    control = Control()
    await admitted(world, control, "one")
    control.away = True
    world.now = BASE + 50
    with pytest.raises(Unavailable):
        await keeper(world, control).look_after(ENGINE)
    assert len(await world.store.sessions.open_sessions(ENGINE.id)) == 1


async def test_one_that_cannot_be_ended_is_tried_again_and_keeps_no_other_from_it(world: World) -> None:
    """Its failure is told, the other one ends all the same, and the next time it ends too."""
    control = Control()
    for name in ("one", "two"):
        issued = await world.issue({"kind": "subscribe", "label": name, "streams": [{"streamName": "cam"}], **COUNTED})
        world.tokens[name] = issued
        assert (await world.authorize({**WATCH, "token": name, "session": name})).allowed
        control.running[name] = 0
        await world.change({"revoke": name})
    control.stuck = {"one"}
    with pytest.raises(Unavailable, match="one is stuck"):
        await keeper(world, control).look_after(ENGINE)
    assert control.ended == ["two"]
    assert [session.start.session for session in await world.store.sessions.open_sessions(ENGINE.id)] == ["one"]
    control.stuck = set()
    ended = await keeper(world, control).look_after(ENGINE)
    assert [one.session for one in ended] == ["one"]
    assert await world.store.sessions.open_sessions(ENGINE.id) == []


LIMITED = [{"jti": "one", "exp": 999, "sessionLimit": {"most": 5}}]


async def _child_admitted(world: World, control: Control, name: str) -> None:
    decision = await world.authorize({**WATCH, "session": name, "child": LIMITED})
    assert decision.allowed, decision
    control.running[name] = 0


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"of": "see", "jti": "one"}, Reason.TOKEN_REVOKED),
        ({"of": "see"}, Reason.TOKEN_REVOKED),
        ({"revoke": "see"}, Reason.TOKEN_REVOKED),
    ],
    ids=["by its jti", "all of them", "with its parent"],
)
async def test_a_session_of_a_child_ends_with_the_child(
    world: World, change: dict[str, object], reason: Reason
) -> None:
    """Whatever it is revoked by; until then it runs."""
    control = Control()
    await _child_admitted(world, control, "one")
    assert await keeper(world, control).look_after(ENGINE) == []
    await world.change(change)
    ended = await keeper(world, control).look_after(ENGINE)
    assert {each.reason for each in ended} == {reason}
    assert control.ended[0] == "one"
    assert await world.store.sessions.open_sessions(ENGINE.id) == []


async def test_a_session_of_a_child_ends_when_its_parent_is_renewed(world: World) -> None:
    """What signed it is nobody's text any more."""
    control = Control()
    await _child_admitted(world, control, "one")
    await world.change({"change": "see", "body": {"refreshToken": True}})
    ended = await keeper(world, control).look_after(ENGINE)
    assert ended
    assert await world.store.sessions.open_sessions(ENGINE.id) == []


@pytest.mark.parametrize("revoked", [True, False])
async def test_a_revoked_signing_key_ends_what_runs_with_its_tokens_and_no_others(world: World, revoked: bool) -> None:
    """A playback token stands with the key that signed it; a token that no key of ours signed is not asked about."""
    control, secret = Control(), new_token()
    new = NewToken(
        account=world.account,
        kind=TokenKind.PLAYBACK,
        terms=TokenTerms(label="signed", streams=(StreamPattern("cam"),), subject="somebody"),
        digest=world.keyring.digest(bytes.fromhex(secret.reveal())),
        seal=lambda _: b"",
        added_on=BASE,
        key_id=7,
    )
    record = await world.store.add_token(new)
    world.tokens["signed"] = replace(world.tokens["see"], record=record, secret=secret)
    await admitted(world, control, "one")
    decision = await world.authorize({**WATCH, "token": "signed", "session": "two"})
    assert decision.allowed
    control.running["two"] = 0
    asked: list[int] = []

    async def key_revoked(key_id: int) -> bool:
        asked.append(key_id)
        return revoked

    ended = await keeper(world, control, key_revoked).look_after(ENGINE)
    assert asked == [7]
    assert [(one.session, one.reason.value) for one in ended] == ([("two", "key_revoked")] if revoked else [])
