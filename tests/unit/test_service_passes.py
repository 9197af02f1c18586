"""Passes: what lets a program of our own watch a stream, and nobody else, for a moment. On the real store and view."""

import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import insert

from stagedoor.engines.dialect import stream_of
from stagedoor.model.access import Access, Action, Protocol
from stagedoor.model.decision import Reason
from stagedoor.model.grant import StreamPattern
from stagedoor.model.ids import AccountId, TokenId
from stagedoor.model.token import TokenTerms
from stagedoor.service.authorize import Attempt
from stagedoor.service.thumbnails import PASS_SECONDS
from stagedoor.store import schema
from stagedoor.store.sql import SqlStore
from tests.world import BASE, ENGINES, World, opened

FOREIGN = "198.51.100.7"
"""In a country that is not allowed below."""


class Bench:
    """A world whose stream `cam` is for few, and a pass for it."""

    def __init__(self, world: World) -> None:
        assert isinstance(world.store, SqlStore)
        self.world, self.store = world, world.store
        self.text = secrets.token_hex(32)
        self.id = TokenId(0)

    async def issue(self, stream: str = "cam") -> None:
        """Issue the pass."""
        terms = TokenTerms(label="thumbnail", streams=(StreamPattern(stream),), expires_at=BASE + PASS_SECONDS)
        digest = self.world.keyring.digest(bytes.fromhex(self.text))
        self.id = await self.store.passes.add_pass(self.world.account, terms, digest, BASE)

    async def ask(
        self,
        path: str = "A/cam",
        action: Action = Action.SUBSCRIBE,
        *,
        running: bool = False,
        protocol: Protocol = Protocol.RTMP,
    ) -> Reason:
        """Show the pass on an engine whose addresses cannot be believed, from a country that nobody may watch from."""
        stream = stream_of(path.replace("A/", f"{self.world.account}/", 1))
        access = Access(action, stream, protocol, FOREIGN)
        attempt = Attempt(access, self.text, "77", running=running)
        decision = await self.world.authorizer.authorize(ENGINES["untrusted"], attempt)
        await self.world.sessions.flush()
        explained = await self.world.explainer.explain(attempt, self.world.now, ENGINES["untrusted"])
        assert explained.decision.reason is decision.reason
        return decision.reason


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """A bench: the stream needs a token, its tokens and the account have countries, and tokens may live for a second."""
    async with opened("sqlite", tmp_path) as world:
        await world.begin(
            {
                "on": {
                    "kind": "publish",
                    "streams": [{"streamName": "cam"}],
                    "subscribeRequiresAuth": True,
                    "allowedCountries": ["PL"],
                },
                "see": {"kind": "subscribe", "streams": [{"streamName": "cam"}]},
            }
        )
        await world.change({"account": {"deniedCountries": ["US"], "longestLifetime": 1}})
        made = Bench(world)
        await made.issue()
        yield made


async def test_a_pass_is_judged_by_its_stream_and_its_time_alone(bench: Bench) -> None:
    """Not by who may watch, from where, or for how long; a viewer in its place is refused."""
    assert await bench.ask() is Reason.OK
    assert await bench.ask(running=True) is Reason.OK
    assert await bench.ask(protocol=Protocol.HLS) is Reason.OK
    step = {"do": "subscribe", "stream": "A/cam", "engine": "nginx", "ip": FOREIGN, "token": "see"}
    assert not (await bench.world.authorize(step)).allowed


@pytest.mark.parametrize(
    ("path", "action", "reason"),
    [
        ("A/cam", Action.PUBLISH, Reason.ACTION_NOT_GRANTED),
        ("A/cam2", Action.SUBSCRIBE, Reason.STREAM_NOT_GRANTED),
        ("A/other", Action.SUBSCRIBE, Reason.STREAM_NOT_GRANTED),
        ("somebody/cam", Action.SUBSCRIBE, Reason.ACCOUNT_MISMATCH),
    ],
)
async def test_a_pass_is_for_watching_its_one_stream(bench: Bench, path: str, action: Action, reason: Reason) -> None:
    """Nothing else, and of no other account."""
    assert await bench.ask(path, action) is reason


@pytest.mark.parametrize(("seconds", "good"), [(PASS_SECONDS - 1, True), (PASS_SECONDS, False), (10**6, False)])
async def test_a_pass_is_over_in_a_minute(bench: Bench, seconds: int, good: bool) -> None:
    """Also in shadow mode, which tries out what owners set."""
    await bench.world.change({"account": {"shadowUntil": 80 * 86400}})
    bench.world.now = BASE + seconds
    assert await bench.ask() is (Reason.OK if good else Reason.TOKEN_EXPIRED)


async def test_a_revoked_pass_is_refused_at_once(bench: Bench) -> None:
    """Though every view had it in memory; and what runs with it does not go on."""
    assert await bench.ask() is Reason.OK
    await bench.store.passes.revoke_pass(bench.id, BASE + 1)
    assert await bench.ask() is Reason.TOKEN_REVOKED
    assert await bench.ask(running=True) is Reason.TOKEN_REVOKED


async def test_a_closed_account_lets_no_pass_in(bench: Bench) -> None:
    """It is pictured no more than it is watched."""
    await bench.world.change({"account": "closed"})
    assert await bench.ask() is Reason.ACCOUNT_DISABLED


async def test_who_comes_with_a_pass_is_no_viewer(bench: Bench) -> None:
    """No session is kept, nothing is counted, and the log tells it like a call of the engine's own: with no token."""
    assert await bench.ask() is Reason.OK
    assert await bench.ask(protocol=Protocol.HLS) is Reason.OK
    assert await bench.store.sessions.open_sessions(ENGINES["untrusted"].id) == []
    assert [(event.event, event.access, event.token_id) for event in bench.world.events.kept] == [
        ("internal", None, None)
    ] * 2
    assert all(event.client_ip == FOREIGN and event.session == "77" for event in bench.world.events.kept)


async def test_a_pass_of_another_account_is_no_pass_here(bench: Bench) -> None:
    """Even on an engine whose paths name no account, where the token says whose stream it is."""
    other = Bench(bench.world)
    async with bench.store._writing() as write:
        row = {"id": "other", "enabled": True, "added_on": 0}
        await write.connection.execute(insert(schema.account).values(row))
    terms = TokenTerms(label="thumbnail", streams=(StreamPattern("cam"),), expires_at=BASE + 60)
    digest = bench.world.keyring.digest(bytes.fromhex(other.text))
    await bench.store.passes.add_pass(AccountId("other"), terms, digest, BASE)
    assert await other.ask() is Reason.ACCOUNT_MISMATCH
