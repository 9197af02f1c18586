"""The door for engines: whom it lets speak, and what it answers while the store is away."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from stagedoor.edge.asgi import MAX_HOOK_BODY, Reply
from stagedoor.edge.hooks import Hooks
from stagedoor.engines.mediamtx.hook import MediaMtx
from stagedoor.engines.nginx_rtmp.hook import NginxRtmp
from stagedoor.model.decision import Reason
from stagedoor.model.engine import Engine, EngineKind
from stagedoor.model.ids import AccountId, EngineId
from stagedoor.service.ports import NewAccount
from stagedoor.service.token_admin import IssuedToken
from stagedoor.tokens.keyring import Keyring
from tests.unit.test_service_authorize import ACCT, NOW, World

SECRET = "the-hook-secret-of-edge-1"
PATH = f"/hooks/nginx-rtmp/{SECRET}"
WRONG = [
    "/hooks/nginx-rtmp/the-hook-secret-of-edge-2",
    f"/hooks/mediamtx/{SECRET}",
    f"/hooks/{SECRET}",
    f"/hooks/nginx-rtmp/x/{SECRET}",
    "/hooks/nginx-rtmp/",
    "/hooks/nginx-rtmp",
    "/hooks/",
]
"""No secret, another one, or the right one at another kind's door or another place."""

FORBIDDEN = (403, b"forbidden")
AWAY = (503, b"store_unavailable")


@dataclass
class Door:
    """The door of a world with one nginx and a good token, `token`."""

    world: World
    hooks: Hooks
    token: IssuedToken

    async def call(self, path: str, *chunks: bytes) -> tuple[int, bytes]:
        """Make one call the usual way; return status and text."""
        messages = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
        messages.append({"type": "http.request", "body": b"", "more_body": False})
        sent: list[Any] = []

        async def receive() -> Any:
            return messages.pop(0)

        async def send(message: Any) -> None:
            sent.append(message)

        await self.hooks({"path": path, "headers": []}, receive, send)
        assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
        return sent[0]["status"], sent[1]["body"]

    def at_once(self, path: str, body: bytes) -> tuple[int, bytes] | None:
        """Make one call the short way; None when that has no answer."""
        reply = self.hooks.from_memory(path, [], body)
        return _told(reply) if reply is not None else None

    def body(self, call: str, *, token: bool = True) -> bytes:
        """Return what nginx says of the token's stream."""
        shown = f"&token={self.token.secret.reveal()}" if token else ""
        return f"call={call}&name=acct/show&addr=192.0.2.1&clientid=7{shown}".encode()

    def reasons(self) -> list[Reason]:
        """Return the reasons in the access log, which is empty afterwards."""
        found = [event.decision.reason for event in self.world.log.events]
        self.world.log.events.clear()
        return found

    async def leave_behind(self) -> None:
        """Have something written that this view cannot read, since the store is away."""
        self.world.source.down = True
        await self.world.issue()
        assert self.world.authorizer.behind()


def _told(reply: Reply) -> tuple[int, bytes]:
    status: int = reply.start["status"]
    return status, reply.text


@pytest.fixture
async def door(keyring: Keyring) -> Door:
    """Return a door that is up to date."""
    world = World(keyring)
    await world.store.add_first_account(
        NewAccount(id=ACCT, admin_email="a@b", admin_password_hash="", api_secret_digest=b"", added_on=0)
    )
    await world.store.add_engine(
        Engine(
            id=EngineId("e1"),
            kind=EngineKind.NGINX_RTMP,
            name="edge-1",
            account=AccountId(""),
            secret_digest=world.digest(SECRET.encode()),
            added_on=0,
        )
    )
    hooks = Hooks(
        authorizer=world.authorizer,
        dialects={EngineKind.NGINX_RTMP: NginxRtmp(), EngineKind.MEDIAMTX: MediaMtx()},
    )
    token = await world.issue()
    await world.view.catch_up()
    return Door(world, hooks, token)


# -- a wrong secret


@pytest.mark.parametrize("path", WRONG)
@pytest.mark.parametrize(
    "body",
    [lambda door: door.body("publish"), lambda _: b"", lambda _: b"x" * (MAX_HOOK_BODY + 1)],
    ids=["good", "empty", "too long"],
)
async def test_a_wrong_secret_is_told_nothing_and_the_operator_of_it(
    door: Door, path: str, body: Callable[[Door], bytes]
) -> None:
    """The same 403 whatever the rest of the call says, on both ways; the log has the reason and nothing of the call."""
    said = body(door)
    assert await door.call(path, said) == FORBIDDEN
    if len(said) <= MAX_HOOK_BODY:
        assert door.at_once(path, said) == FORBIDDEN
    assert {event.decision.reason for event in door.world.log.events} == {Reason.ENGINE_UNKNOWN}
    for event in door.world.log.events:
        assert event[2:] == ("unknown", None, "", None, "", "", "")
        assert (event.at, event.decision.revision) == (NOW, door.world.view.revision)


async def test_the_right_secret_is_no_unknown_engine(door: Door) -> None:
    """A body that is too long is refused for what it is, and a good one is let in."""
    assert await door.call(PATH, b"x" * MAX_HOOK_BODY, b"x") == (403, b"request_malformed")
    assert await door.call(PATH, door.body("publish")) == (200, b"ok")
    assert door.reasons() == [Reason.REQUEST_MALFORMED, Reason.OK]


async def test_an_engine_that_was_removed_is_unknown_from_then_on(door: Door) -> None:
    """Though its path was known, and warm."""
    assert await door.call(PATH, door.body("publish")) == (200, b"ok")
    assert door.at_once(PATH, door.body("publish")) == (200, b"ok")
    await door.world.store.remove_engine("edge-1")
    assert door.at_once(PATH, door.body("publish")) is None
    assert await door.call(PATH, door.body("publish")) == FORBIDDEN
    assert door.at_once(PATH, door.body("publish")) == FORBIDDEN
    assert door.reasons() == [Reason.OK, Reason.OK, Reason.ENGINE_UNKNOWN, Reason.ENGINE_UNKNOWN]


# -- a view that is behind, and cannot catch up


@pytest.mark.parametrize("call", ["update_publish", "update_play"])
async def test_what_runs_goes_on_while_the_view_cannot_catch_up(door: Door, call: str) -> None:
    """A database that restarts ends nobody's broadcast; the log, which tells what goes on of nothing, stays empty."""
    await door.leave_behind()
    assert await door.call(PATH, door.body(call)) == (200, b"ok")
    assert door.reasons() == []


async def test_what_runs_goes_on_with_a_token_that_was_warm_too(door: Door) -> None:
    """It is not judged by what was known before."""
    assert await door.call(PATH, door.body("publish")) == (200, b"ok")
    await door.leave_behind()
    assert await door.call(PATH, door.body("update_publish")) == (200, b"ok")
    assert await door.call(PATH, door.body("publish")) == AWAY


@pytest.mark.parametrize("call", ["publish", "play"])
@pytest.mark.parametrize("token", [True, False])
async def test_nothing_new_gets_in_while_the_view_cannot_catch_up(door: Door, call: str, token: bool) -> None:
    """With a good token or with none; it is recorded."""
    await door.leave_behind()
    assert await door.call(PATH, door.body(call, token=token)) == AWAY
    assert door.reasons() == [Reason.STORE_UNAVAILABLE]


@pytest.mark.parametrize("call", ["publish_done", "play_done", "connect", "dance", ""])
async def test_a_notice_is_not_answered_while_the_view_cannot_catch_up(door: Door, call: str) -> None:
    """Whether it is still an engine's is not known."""
    await door.leave_behind()
    assert await door.call(PATH, door.body(call)) == AWAY
    assert door.reasons() == []


@pytest.mark.parametrize("path", WRONG)
async def test_an_unknown_secret_is_not_called_wrong_while_the_view_cannot_catch_up(door: Door, path: str) -> None:
    """It may be that of an engine that was added meanwhile. Neither does it keep anything running."""
    await door.leave_behind()
    for call in ("publish", "update_publish", "publish_done"):
        assert await door.call(path, door.body(call)) == AWAY
    assert door.reasons() == []
    door.world.source.down = False
    assert await door.call(path, door.body("update_publish")) == FORBIDDEN
    assert door.reasons() == [Reason.ENGINE_UNKNOWN]


async def test_a_view_that_has_read_nothing_yet_knows_no_engine(door: Door, keyring: Keyring) -> None:
    """A start without a database lets nobody in, and nobody go on."""
    world = World(keyring)
    world.source.down = True
    blank = Door(world, Hooks(authorizer=world.authorizer, dialects={}), door.token)
    for call in ("publish", "update_publish", "connect"):
        assert await blank.call(PATH, door.body(call)) == AWAY


async def test_the_short_way_leaves_a_view_that_is_behind_to_the_usual_one(door: Door) -> None:
    """For every call, of a known engine or not."""
    await door.leave_behind()
    for path in (PATH, *WRONG):
        for call in ("publish", "update_publish", "connect"):
            assert door.at_once(path, door.body(call)) is None


async def test_a_store_that_is_back_is_caught_up_with_by_the_next_call(door: Door) -> None:
    """The very call that finds it back is judged by what was written meanwhile."""
    await door.leave_behind()
    assert await door.call(PATH, door.body("publish")) == AWAY
    await door.world.tokens.revoke(ACCT, door.token.record.kind, door.token.record.id)
    door.world.source.down = False
    assert await door.call(PATH, door.body("update_publish")) == (403, b"token_revoked")
