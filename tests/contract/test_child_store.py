"""The port `ChildStore`, held by every store: what is kept of tokens that others signed, and for how long."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from stagedoor.model.errors import NotFound
from stagedoor.model.ids import TokenId
from stagedoor.model.token import TokenKind
from tests.world import BASE, World, opened

WEEK = 7 * 86_400
COUNTED = {"jti": "counted", "budgets": {"starts": 2}}
PUB = {"kind": "publish", "streams": [{"streamName": "cam"}], "subscribeRequiresAuth": True}
SEE = {"kind": "subscribe", "streams": [{"streamName": "cam"}]}
WATCH = {"do": "subscribe", "stream": "A/cam", "protocol": "webrtc", "engine": "mtx-controlled", "token": "see"}


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def place(request: pytest.FixtureRequest) -> tuple[str, str]:
    """The kind of store, and the URL of its database where it has one."""
    kind = str(request.param)
    return kind, str(request.getfixturevalue("postgres_database")) if kind == "postgres" else ""


@pytest.fixture
async def world(place: tuple[str, str], tmp_path: Path) -> AsyncIterator[World]:
    """A world with a token that children are made of."""
    kind, database = place
    async with opened(kind, tmp_path, database) as world:
        await world.begin({"pub": PUB, "see": SEE})
        yield world


async def _watch(world: World, session: str, *levels: dict[str, Any], **more: Any) -> str:
    decision = await world.authorize({**WATCH, "session": session, "child": list(levels), **more})
    return decision.reason.value


async def _kept(world: World) -> list[TokenId]:
    """Return the ids of the children that are kept."""
    found = []
    for number in range(1, 12):
        try:
            record = await world.store.find_token(TokenId(number))
        except NotFound:
            continue
        if record.kind is TokenKind.CHILD:
            found.append(record.id)
    return found


async def test_what_is_long_over_is_deleted_and_nothing_else(world: World) -> None:
    """A child that is good, one that was over a moment ago, and one that is watched with still, stay."""
    assert await _watch(world, "a", {**COUNTED, "exp": 60}, ip="192.0.2.1") == "ok"
    assert await _watch(world, "b", {"jti": "runs", "bindIpsOnUsage": 1, "budgets": {"starts": 9}, "exp": 60}) == "ok"
    assert await _watch(world, "c", {"jti": "later", "budgets": {"starts": 9}, "exp": 61}) == "ok"
    assert await _watch(world, "d", {"jti": "good", "budgets": {"starts": 9}, "exp": 10 * WEEK}) == "ok"
    one, runs, later, good = await _kept(world)
    for session in ("a", "c", "d"):
        await world.sessions.ended(world.engine(WATCH).id, session)
    world.now = BASE + 60 + WEEK
    assert await world.children.tidy() == 0
    world.now += 1
    assert await world.children.tidy() == 1
    assert await _kept(world) == [runs, later, good]
    world.now += 1
    assert await world.children.tidy() == 1
    assert await _kept(world) == [runs, good]
    await world.sessions.ended(world.engine(WATCH).id, "b")
    assert await world.children.tidy() == 1
    assert await _kept(world) == [good]
    # Its expiry is judged as ever, also where it was known before.
    assert await _watch(world, "e", {**COUNTED, "exp": 60}, ip="192.0.2.1") == "token_expired"
    assert one not in await _kept(world)


async def test_no_more_are_deleted_at_once_than_asked_for(world: World) -> None:
    """So that nobody waits long for it."""
    for name in ("a", "b", "c", "d"):
        assert await _watch(world, name, {"jti": name, "budgets": {"starts": 1}, "exp": 60}) == "ok"
        await world.sessions.ended(world.engine(WATCH).id, name)
    await world.issue({**SEE})  # the newest token of all is none of them
    assert await world.store.forget_children(BASE + 61, 3) == 3
    assert await world.store.forget_children(BASE + 61, 3) == 1
    assert await world.store.forget_children(BASE + 61, 3) == 0


async def test_children_of_a_parent_that_was_revoked_go_with_it(world: World) -> None:
    """However long they say that they live."""
    assert await _watch(world, "a", {**COUNTED, "exp": 90 * WEEK}) == "ok"
    await world.sessions.ended(world.engine(WATCH).id, "a")
    await world.issue({**SEE})
    await world.change({"revoke": "see"})
    assert await world.store.forget_children(BASE, 9) == 0
    assert await world.store.forget_children(BASE + 1, 9) == 1
    assert await _watch(world, "b", {**COUNTED, "exp": 90 * WEEK}) == "token_revoked"


async def test_the_id_of_one_that_is_deleted_is_never_given_again(world: World) -> None:
    """Also where it was the newest token of all: what was noted under it would be another token's."""
    assert await _watch(world, "a", {**COUNTED, "exp": 60}) == "ok"
    await world.sessions.ended(world.engine(WATCH).id, "a")
    [first] = await _kept(world)
    world.now = BASE + 61 + WEEK
    await world.children.tidy()
    new = (await world.issue({**SEE})).record.id
    await world.children.tidy()
    assert new > first
    assert (await world.issue({**SEE})).record.id > new
