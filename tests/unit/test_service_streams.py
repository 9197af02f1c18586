"""Ending what is published: what is ended where, and what is told of what cannot be. The real nginx is in tests/e2e."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from stagedoor.model.access import Protocol
from stagedoor.model.engine import Engine, EngineKind
from stagedoor.model.errors import InvalidInput, NotFound, StagedoorError, Unavailable
from stagedoor.model.ids import AccountId, StreamId, TokenId
from stagedoor.model.session import Broadcast, OpenSession
from stagedoor.model.token import TokenKind
from stagedoor.service import streams as service
from stagedoor.service.controls import Controls
from stagedoor.service.streams import Streams, reprioritize
from stagedoor.service.token_admin import TokenAdmin
from stagedoor.store.sql import SqlStore
from tests.world import ENGINES, World, opened

NGINX = replace(ENGINES["nginx"], control_url="http://127.0.0.1:8088")
NGINX2 = replace(ENGINES["nginx2"], control_url="http://127.0.0.1:8089")
MTX = ENGINES["mtx-controlled"]


class Control:
    """Engines that run what they are told."""

    def __init__(self) -> None:
        self.lists: dict[str, list[Broadcast]] = {}
        self.ended: list[tuple[str, str]] = []
        self.away: set[str] = set()
        self.stuck: set[str] = set()
        self.slow_seconds = 0.0

    async def sessions(self, engine: Engine) -> Mapping[str, int]:
        """Nobody asks here."""
        raise NotImplementedError

    async def broadcasts(self, engine: Engine) -> Sequence[Broadcast]:
        """List what runs."""
        if engine.name in self.away:
            raise Unavailable(f"{engine.name} is away")
        return self.lists.get(engine.name, [])

    async def end(self, engine: Engine, session: OpenSession) -> None:
        """End a session."""
        await asyncio.sleep(self.slow_seconds)
        if engine.name in self.away or session.start.session in self.stuck:
            raise Unavailable(f"{engine.name} is away")
        self.ended.append((engine.name, session.start.session))

    async def close(self) -> None:
        """Close."""


class Bench:
    """A world with engines that are controlled, and what ends streams on them."""

    def __init__(self, world: World) -> None:
        assert isinstance(world.store, SqlStore)
        self.world, self.store = world, world.store
        self.control = Control()
        self.engines: list[Engine] = [NGINX]
        self.streams = Streams(
            store=self.store.broadcasts,
            engines=self._engines,
            controls=Controls(dict.fromkeys(EngineKind, lambda: self.control)),
            clock=world.clock,
        )

    async def _engines(self) -> Sequence[Engine]:
        return self.engines

    async def publish(self, name: str, token: str = "pub", engine: str = "nginx", protocol: str = "rtmp") -> None:
        """Have a stream published, in a session of its name."""
        step = {"do": "publish", "stream": f"A/{name}", "engine": engine, "protocol": protocol, "token": token}
        assert (await self.world.authorize({**step, "session": name})).allowed

    def lists(self, engine: Engine, session: str, path: str, account: str | None = None) -> None:
        """Have an engine say that something is published."""
        stream = StreamId(AccountId(self.world.account if account is None else account), path)
        listed = Broadcast(session, stream, Protocol.RTMP, "live", path)
        self.control.lists.setdefault(engine.name, []).append(listed)

    async def stop(self, name: str) -> bool:
        """Stop a stream of the account."""
        return await self.streams.stop(self.world.account, f"{self.world.account}/{name}")

    async def open(self) -> list[str]:
        """Return what is still published, as the store knows it."""
        return [session.start.session for session in await self.store.broadcasts.broadcasts(self.world.account)]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """A bench with two publish tokens for any stream."""
    async with opened("sqlite", tmp_path) as world:
        any_stream = {"kind": "publish", "streams": [{"streamName": ".*", "isRegex": True}]}
        await world.begin({"pub": any_stream, "pub2": any_stream})
        made = Bench(world)
        yield made
        await made.streams.close()


async def test_a_stream_is_ended_and_no_other(bench: Bench) -> None:
    """On its engine and in the store; the second time there is nothing to end."""
    await bench.publish("a")
    await bench.publish("b")
    assert await bench.stop("a") is True
    assert bench.control.ended == [("nginx", "a")]
    assert await bench.open() == ["b"]
    assert await bench.stop("a") is False
    assert bench.control.ended == [("nginx", "a")]


async def test_a_stream_is_ended_on_every_engine_that_has_it(bench: Bench) -> None:
    """Two encoders of one stream, on two engines."""
    bench.engines = [NGINX, NGINX2, MTX]
    await bench.publish("a")
    step = {"do": "publish", "stream": "A/a", "engine": "mtx-controlled", "protocol": "srt", "token": "pub2"}
    assert (await bench.world.authorize({**step, "session": "srt-1"})).allowed
    assert await bench.stop("a") is True
    assert sorted(bench.control.ended) == [("mtx-controlled", "srt-1"), ("nginx", "a")]
    assert await bench.open() == []


@pytest.mark.parametrize(
    ("path", "account", "engine_account", "ended"),
    [
        ("a", None, "", True),
        ("a", "", "own", True),
        ("a", "", "", False),
        ("a", "somebody", "", False),
        ("b", None, "", False),
        ("", "", "own", False),
    ],
)
async def test_what_only_the_engine_knows_is_ended_too(
    bench: Bench, path: str, account: str | None, engine_account: str, ended: bool
) -> None:
    """Where its path, or the engine, says that it is this account's; else it may be somebody else's."""
    own = bench.world.account if engine_account else AccountId("")
    bench.engines = [replace(NGINX, account=own)]
    bench.lists(NGINX, "77", path, account)
    assert await bench.stop("a") is ended
    assert bench.control.ended == ([("nginx", "77")] if ended else [])


async def test_what_store_and_engine_know_is_ended_once(bench: Bench) -> None:
    """By the same id."""
    await bench.publish("a")
    bench.lists(NGINX, "a", "a")
    assert await bench.stop("a") is True
    assert bench.control.ended == [("nginx", "a")]


async def test_all_streams_of_the_account_are_ended_and_nobody_elses(bench: Bench) -> None:
    """Also those that only the engine knows; an engine that serves another account alone is left alone."""
    bench.engines = [NGINX, replace(NGINX2, account=AccountId("other"))]
    bench.control.away = {"nginx2"}
    await bench.publish("a")
    await bench.publish("b", "pub2")
    bench.lists(NGINX, "77", "c")
    bench.lists(NGINX, "78", "c", "other")
    assert await bench.streams.stop_all(bench.world.account) is True
    assert sorted(bench.control.ended) == [("nginx", "77"), ("nginx", "a"), ("nginx", "b")]
    assert await bench.open() == []
    bench.control.lists.clear()
    assert await bench.streams.stop_all(bench.world.account) is False


async def test_what_a_token_runs_is_ended_and_no_more(bench: Bench) -> None:
    """Its own streams; those of another token of the account go on, and engines that have none of it are not asked."""
    bench.engines = [NGINX, NGINX2]
    bench.control.away = {"nginx2"}
    await bench.publish("a")
    await bench.publish("b", "pub2")
    assert await bench.streams.stop_token(bench.world.account, bench.world.tokens["pub"].record.id) is True
    assert bench.control.ended == [("nginx", "a")]
    assert await bench.open() == ["b"]


async def test_another_accounts_sessions_are_out_of_reach(bench: Bench) -> None:
    """By the account, not only by the name."""
    await bench.publish("a")
    other, token_id = AccountId("other"), bench.world.tokens["pub"].record.id
    assert await bench.streams.stop(other, "other/a") is False
    assert await bench.streams.stop_all(other) is False
    assert await bench.streams.stop_token(other, token_id) is False
    assert await bench.streams.active_tokens(other) == []
    assert bench.control.ended == []


@pytest.mark.parametrize("text", ["", "a", "/a", "{own}/", "{own}/.a", "other/a", "{own}/a b", "x" * 500])
async def test_what_is_no_stream_of_the_account_is_refused(bench: Bench, text: str) -> None:
    """Told under the name of the field."""
    text = text.replace("{own}", bench.world.account)
    for call in (bench.streams.stop, bench.streams.active_tokens):
        with pytest.raises(InvalidInput) as caught:
            await call(bench.world.account, text)
        assert caught.value.field == "streamId"


async def test_an_engine_without_control_is_told_of_with_what_to_set(bench: Bench) -> None:
    """After the others have ended theirs; and the session it runs stays open, since it does run."""
    bench.engines = [NGINX, ENGINES["nginx2"]]
    await bench.publish("a")
    await bench.publish("b", engine="nginx2")
    with pytest.raises(InvalidInput, match="stagedoor engine set nginx2 --control-url") as caught:
        await bench.streams.stop_all(bench.world.account)
    assert "engine nginx " not in caught.value.message
    assert bench.control.ended == [("nginx", "a")]
    assert await bench.open() == ["b"]


async def test_an_engine_that_tells_nothing_is_no_reason_to_say_that_nothing_runs(bench: Bench) -> None:
    """A MediaMTX without control may run anything; an nginx tells what it runs, and is silent when it runs nothing."""
    bench.engines = [ENGINES["nginx"]]
    assert await bench.stop("a") is False
    bench.engines = [ENGINES["nginx"], ENGINES["mtx"]]
    for call in (bench.stop("a"), bench.streams.stop_all(bench.world.account)):
        with pytest.raises(InvalidInput, match="stagedoor engine set mtx --control-url"):
            await call


async def test_a_stream_that_was_found_is_not_looked_for_where_nobody_tells(bench: Bench) -> None:
    """It has been ended. To end all is another matter."""
    bench.engines = [NGINX, NGINX2, ENGINES["mtx"]]
    bench.control.away = {"nginx2"}
    await bench.publish("a")
    assert await bench.stop("a") is True
    await bench.publish("b")
    with pytest.raises(StagedoorError, match="mtx"):
        await bench.streams.stop_all(bench.world.account)
    assert await bench.open() == []


async def test_an_engine_that_is_away_is_told_of_and_its_sessions_stay_open(bench: Bench) -> None:
    """So that the keeper, or another call, ends them; with the others ended."""
    bench.engines = [NGINX, NGINX2]
    bench.control.away = {"nginx2"}
    await bench.publish("a")
    await bench.publish("b", engine="nginx2")
    with pytest.raises(Unavailable, match="nginx2 is away") as caught:
        await bench.streams.stop_all(bench.world.account)
    assert caught.value.message.count("nginx2 is away") == 1
    assert await bench.open() == ["b"]


async def test_one_session_that_cannot_be_ended_keeps_no_other_from_it(bench: Bench) -> None:
    """All are tried."""
    for name in ("a", "b", "c"):
        await bench.publish(name)
    bench.control.stuck = {"b"}
    with pytest.raises(Unavailable):
        await bench.streams.stop_all(bench.world.account)
    assert await bench.open() == ["b"]


async def test_what_ran_on_an_engine_that_was_removed_is_closed(bench: Bench) -> None:
    """Its hooks are refused, so nobody will ever tell of its end."""
    await bench.publish("a")
    bench.engines = []
    assert await bench.stop("a") is True
    assert await bench.open() == []


async def test_a_new_priority_is_kept_and_what_runs_is_restarted(bench: Bench) -> None:
    """Whether something runs or not."""
    world, record = bench.world, bench.world.tokens["pub"].record
    await bench.publish("a")
    assert await reprioritize(bench.streams, world.admin, world.account, record.id, -3) is True
    assert bench.control.ended == [("nginx", "a")]
    assert await reprioritize(bench.streams, world.admin, world.account, record.id, 4) is False
    issued = await world.admin.read(world.account, TokenKind.PUBLISH, record.id)
    assert issued.record.terms.publishing.priority == 4
    with pytest.raises(NotFound):
        await reprioritize(bench.streams, world.admin, AccountId("other"), record.id, 5)
    with pytest.raises(NotFound):
        await reprioritize(bench.streams, world.admin, world.account, TokenId(999), 5)


def _admin(bench: Bench) -> TokenAdmin:
    world = bench.world
    return TokenAdmin(
        store=bench.store,
        accounts=bench.store,
        keyring=world.keyring,
        clock=world.clock,
        end_streams=bench.streams.end_token,
    )


async def test_revoking_a_publish_token_ends_what_it_runs(bench: Bench) -> None:
    """When the call returns; a subscribe token of the same number is another thing."""
    await bench.publish("a")
    await bench.publish("b", "pub2")
    record = bench.world.tokens["pub"].record
    await _admin(bench).revoke(bench.world.account, TokenKind.PUBLISH, record.id)
    assert bench.control.ended == [("nginx", "a")]
    assert await bench.open() == ["b"]


async def test_a_revocation_holds_whatever_the_engine_does(
    bench: Bench, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It returns in time, raises nothing, and tells the operator; what was missed stays open for the keeper."""
    monkeypatch.setattr(service, "END_TOKEN_SECONDS", 0.05)
    await bench.publish("a")
    await bench.publish("b", "pub2")
    admin, world = _admin(bench), bench.world
    bench.control.away = {"nginx"}
    with caplog.at_level(logging.WARNING):
        await admin.revoke(world.account, TokenKind.PUBLISH, world.tokens["pub"].record.id)
    assert "nginx is away" in caplog.text
    bench.control.away = set()
    bench.control.slow_seconds = 0.3
    started = asyncio.get_running_loop().time()
    await admin.revoke(world.account, TokenKind.PUBLISH, world.tokens["pub2"].record.id)
    assert asyncio.get_running_loop().time() - started < 0.25
    assert await bench.open() == ["a", "b"]
    # It goes on behind the answer.
    await asyncio.sleep(0.5)
    assert await bench.open() == ["a"]


async def test_the_tokens_in_use_are_told(bench: Bench) -> None:
    """Of a stream, and of the account, each once and in order."""
    await bench.publish("a", "pub2")
    await bench.publish("b")
    await bench.publish("c")
    pub, pub2 = (bench.world.tokens[name].record.id for name in ("pub", "pub2"))
    account = bench.world.account
    assert await bench.streams.active_tokens(account) == [pub, pub2]
    assert await bench.streams.active_tokens(account, f"{account}/a") == [pub2]
    assert await bench.streams.active_tokens(account, f"{account}/nothing") == []
