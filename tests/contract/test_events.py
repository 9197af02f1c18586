# ruff: noqa: D103
"""What happens is told once, and only to those who ask: on SQLite and PostgreSQL, through the real authorizer."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from sqlalchemy import func, select

from stagedoor.app import administration, authority
from stagedoor.config import Settings
from stagedoor.edge.asgi import Message
from stagedoor.edge.hooks import PREFIX
from stagedoor.model.engine import Engine, EngineKind
from stagedoor.model.events import EventType
from stagedoor.model.grant import StreamPattern
from stagedoor.model.ids import AccountId, TokenId
from stagedoor.model.token import TokenKind, TokenTerms
from stagedoor.model.webhook import OWN_EVENTS, Webhook, WebhookKind, WebhookTerms
from stagedoor.service.controls import Controls
from stagedoor.service.keeper import Keeper
from stagedoor.service.ports import NewToken
from stagedoor.service.watch_ports import LEADS, FirstUse, Suspicion
from stagedoor.service.webhook_ports import NewWebhook
from stagedoor.store import schema
from stagedoor.store.sql_watch import SETTLED_SECONDS
from tests.unit.test_service_keeper import Control, no_key_revoked
from tests.watching import KINDS, Listening, Told, cam, listening
from tests.world import BASE, ENGINES

DAY = 86400
NOBODY = AccountId("")
NGINX: dict[str, Any] = {"engine": "nginx", "protocol": "rtmp", "stream": "A/cam"}
PUBLISH = NGINX | {"do": "publish", "token": "on", "session": "p1"}
WATCH = NGINX | {"do": "subscribe"}
HLS = WATCH | {"protocol": "hls"}

ON = cam(kind="publish")
SECURED = cam(kind="publish", subscribeRequiresAuth=True)
SEE = cam(kind="subscribe")


@pytest.fixture(params=["sqlite", "postgres"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def database(kind: str, request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue("postgres_database")) if kind == "postgres" else ""


class Opener:
    """Opens a world with tokens and, unless told otherwise, a webhook for everything."""

    def __init__(self, kind: str, folder: Path, database: str) -> None:
        self.kind, self.folder, self.database = kind, folder, database

    @asynccontextmanager
    async def __call__(
        self, given: Mapping[str, dict[str, Any]] = MappingProxyType({}), /, *, heard: bool = True, **tokens: Any
    ) -> AsyncIterator[Listening]:
        async with listening(self.kind, self.folder, self.database, {**given, **tokens}) as made:
            if heard:
                await made.listen(*KINDS)
            yield made

    @property
    def place(self) -> str:
        """Where another process finds the database."""
        return self.database or str(self.folder / "stagedoor.db")


@pytest.fixture
def opened(kind: str, tmp_path: Path, database: str) -> Opener:
    return Opener(kind, tmp_path, database)


def names(told: list[Told]) -> list[tuple[str, Any]]:
    return [(one.type, one.data["tokenId"]) for one in told]


# -- what owners do with tokens


async def test_each_change_of_a_token_is_told_and_holds_no_secret(opened: Opener) -> None:
    async with opened(on=ON) as made:
        world = made.world
        world.tokens["see"] = await world.issue(dict(SEE))
        record = world.tokens["see"].record
        about = {"tokenId": record.id, "kind": "subscribe", "label": "scenario"}
        assert [(one.type, one.data) for one in await made.told()] == [("token.created", about)]
        first = world.tokens["see"].secret.reveal()
        await world.change({"change": "see", "body": {"label": "two", "allowedIpAddresses": ["192.0.2.1"]}})
        (changed,) = await made.told()
        assert changed.type == "token.changed"
        assert changed.data == about | {"label": "two", "changed": ["allowedIpAddresses", "label"]}
        await world.change({"change": "see", "body": {"isActive": False}})
        await world.change({"change": "see", "body": {"isActive": False}})
        await world.change({"change": "see", "body": {"isActive": True, "refreshToken": True}, "renewed": True})
        assert await made.types() == ["token.disabled", "token.renewed", "token.enabled"]
        await world.change({"revoke": "see"})
        (revoked,) = await made.told()
        assert (revoked.type, revoked.data, revoked.account) == (
            "token.revoked",
            about | {"label": "two"},
            world.account,
        )
        kept = repr(await made.rows())
        assert first not in kept
        assert world.tokens["see"].secret.reveal() not in kept


async def test_nothing_is_written_down_where_nobody_listens(opened: Opener) -> None:
    async with opened(heard=False, on=ON, tied=cam(kind="subscribe", bindIpsOnUsage=1, expires=20)) as made:
        world = made.world
        world.tokens["see"] = await world.issue(dict(SEE))
        await world.change({"change": "see", "body": {"isActive": False}})
        assert await made.ask(PUBLISH)
        assert await made.ask(WATCH, session="v1", token="tied")
        for _ in range(30):
            await made.ask(WATCH, session="v2", stream="A/other")
        await world.change({"end": "p1", **NGINX})
        world.now += 120
        await made.settle()
        await made.settle()
        assert await made.rows() == []
        async with made.store._reading() as connection:
            assert (await connection.execute(select(func.count()).select_from(schema.audience))).scalar_one() == 0


# -- expiry


async def passes(made: Listening, until: float, step: float = 1800) -> list[tuple[str, str | None, float]]:
    """Let time pass, and return what reminders were told and when."""
    while made.world.now < until:
        made.world.now = min(made.world.now + step, until)
        await made.settle()
    return [(one.type, one.data.get("before"), one.at) for one in await made.told("token.exp")]


async def test_an_expiry_is_told_of_before_and_when_it_is_there(opened: Opener) -> None:
    async with opened() as made:
        record = (await made.world.issue(cam(kind="publish", expires=8 * DAY))).record
        await made.told()
        seen = await passes(made, BASE + 8 * DAY + 3600)
        assert [(kind, before) for kind, before, _ in seen] == [
            ("token.expiring", "7d"),
            ("token.expiring", "24h"),
            ("token.expiring", "1h"),
            ("token.expired", None),
        ]
        for (_, _, at), due in zip(seen, (DAY, 7 * DAY, 8 * DAY - 3600, 8 * DAY), strict=True):
            assert 0 <= at - (BASE + due) <= 1800 + SETTLED_SECONDS
        (told,) = [row for row in await made.rows() if row["type"] == "token.expired"]
        assert f'"tokenId": {record.id}' in told["data"]
        assert '"expiresOn": "2026-01-09T00:00:00Z"' in told["data"]
        assert await passes(made, made.world.now + DAY) == []


@pytest.mark.parametrize(("life", "told"), [(3600, []), (3601, ["1h"]), (DAY, ["1h"]), (DAY + 1, ["24h", "1h"])])
async def test_a_short_life_gets_no_reminder_that_it_began_with(opened: Opener, life: int, told: list[str]) -> None:
    async with opened() as made:
        await made.world.issue(cam(kind="publish", expires=life))
        await made.told()
        seen = await passes(made, BASE + life + 60, 20 if life < DAY else 600)
        assert [before for _, before, _ in seen] == [*told, None]


async def test_after_a_long_absence_only_what_still_holds_is_told(opened: Opener) -> None:
    async with opened() as made:
        for days in (2, 9, 9.5, 12, 17):
            await made.world.issue(cam(kind="publish", expires=int(days * DAY), label=f"{days} days"))
        await made.told()
        made.world.now = BASE + 9 * DAY
        made.watch = made.worker()
        await made.settle()
        told = [(one.type, one.data.get("before"), one.data["label"]) for one in await made.told()]
        # Of what expires in half a day, that it is less than 7 days is no news.
        assert told == [("token.expiring", "7d", "12 days"), ("token.expiring", "24h", "9.5 days")] + [
            ("token.expired", None, "2 days")
        ]
        made.world.now += 60
        await made.settle()
        assert [(one.type, one.data["label"]) for one in await made.told()] == [("token.expired", "9 days")]


async def test_a_revoked_token_is_not_told_of_and_neither_is_somebody_elses(opened: Opener) -> None:
    async with opened() as made:
        world = made.world
        world.tokens["gone"] = await world.issue(cam(kind="publish", expires=DAY + 100))
        await world.change({"revoke": "gone"})
        async with made.store._writing() as write:
            await write.connection.execute(
                schema.account.insert().values(id="other", enabled=True, added_on=0, policy="{}")
            )
        ours, world.account = world.account, type(world.account)("other")
        await world.issue(cam(kind="publish", expires=DAY + 100))
        world.account = ours
        await made.told()
        assert await passes(made, BASE + DAY + 200, 600) == []


async def add_tokens(made: Listening, number: int, expires_at: int) -> list[TokenId]:
    """Keep many tokens that expire together."""
    ids = []
    for n in range(number):
        terms = TokenTerms(label=f"t{n}", streams=(), expires_at=expires_at)
        digest = n.to_bytes(4) + expires_at.to_bytes(8)
        account = made.world.account
        kind = next(iter(made.world.tokens.values())).record.kind
        new = NewToken(account=account, kind=kind, terms=terms, digest=digest, seal=lambda _id: b"", added_on=BASE)
        ids.append((await made.store.add_token(new)).id)
    return ids


async def test_a_batch_that_ends_between_tokens_that_expire_together_goes_on_there(opened: Opener) -> None:
    async with opened(on=ON) as made:
        ids = await add_tokens(made, 7, BASE + 50) + await add_tokens(made, 2, BASE + 51)
        await made.told()
        now, expired = BASE + 100, LEADS[-1]
        # Each call is a process of its own that dies after one batch.
        more = [await made.worker()._store.remind(expired, 0, now, 3) for _ in range(5)]
        assert more == [True, True, True, False, False]
        assert names(await made.told()) == [("token.expired", token_id) for token_id in ids]


async def test_what_could_not_be_committed_is_told_the_next_time(opened: Opener, monkeypatch: Any) -> None:
    async with opened(on=ON) as made:
        ids = await add_tokens(made, 3, BASE + 50)
        await made.told()
        made.world.now = BASE + 100

        async def dies(*_given: Any) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr("stagedoor.store.transactions._keep_events", dies)
            with pytest.raises(KeyboardInterrupt):
                await made.worker().look()
        assert await made.told() == []
        await made.worker().look()
        await made.worker().look()
        assert names(await made.told()) == [("token.expired", token_id) for token_id in ids]


_PROCESS = """
import asyncio, sys
from pathlib import Path
from stagedoor.service.watch_ports import LEADS
from stagedoor.store.postgres import postgres_engines
from stagedoor.store.sql import SqlStore
from stagedoor.store.sqlite import sqlite_engines

async def announce(revision): pass

async def main(place, now):
    reader, writer = postgres_engines(place) if "://" in place else sqlite_engines(Path(place))
    store = SqlStore(reader=reader, writer=writer, announce=announce)
    print("ready", flush=True)
    sys.stdin.readline()
    for second in range(40):
        await store.watch.remind(LEADS[-1], 0, now + second, 3)
    await store.close()

asyncio.run(main(sys.argv[1], float(sys.argv[2])))
"""


async def test_two_processes_at_once_tell_of_each_expiry_once(opened: Opener) -> None:
    async with opened(on=ON) as made:
        ids = [token_id for n in range(10) for token_id in await add_tokens(made, 5, BASE + 50 + n)]
        await made.told()
        command = [sys.executable, "-c", _PROCESS, opened.place, str(BASE + 40 + SETTLED_SECONDS)]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        processes = [await asyncio.create_subprocess_exec(*command, **pipes) for _ in range(2)]
        for process in processes:
            assert process.stdout is not None
            assert await process.stdout.readline() == b"ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write(b"\n")
            process.stdin.close()
        assert [await process.wait() for process in processes] == [0, 0]
        assert sorted(names(await made.told())) == [("token.expired", token_id) for token_id in sorted(ids)]


# -- first use, binding


async def test_the_first_use_ever_is_told_once(opened: Opener) -> None:
    tokens = {"on": SECURED, "see": SEE, "counts": cam(kind="subscribe", sessionLimit={"most": 5})}
    async with opened(tokens) as made:
        await made.told()
        assert not await made.ask(WATCH | {"stream": "A/other"}, token="see", session="v0")
        await made.settle()
        assert await made.told("token.first") == []
        for name in ("see", "counts"):
            record = made.world.tokens[name].record
            for session in ("v1", "v2"):
                assert await made.ask(WATCH, token=name, session=f"{name}{session}")
            await made.settle()
            (first,) = await made.told("token.first")
            about = {"tokenId": record.id, "kind": "subscribe", "label": "scenario", "streamName": "cam"}
            assert (first.data, first.stream, first.at) == (about, "cam", BASE)
        # Another worker, another start, another value: it was used before.
        made.watch = made.worker()
        await made.world.change({"change": "see", "body": {"refreshToken": True}, "renewed": True})
        assert await made.ask(WATCH, token="see", session="v3")
        await made.settle()
        assert await made.told("token.first") == []


async def test_two_workers_that_see_a_first_use_at_once_tell_it_once(opened: Opener) -> None:
    async with opened(on=ON) as made:
        assert await made.ask(PUBLISH)
        workers = [made.worker() for _ in range(4)]
        for worker in workers:
            worker.saw(made.world.events.kept)
        await asyncio.gather(*(worker.flush() for worker in workers))
        assert await made.types("token.first") == ["token.first_used"]


async def test_a_token_that_an_open_stream_did_not_need_was_not_used(opened: Opener) -> None:
    async with opened(on=ON, see=SEE) as made:
        assert await made.ask(WATCH, token="see", session="v1")
        await made.settle()
        assert await made.told("token.first") == []


async def test_a_use_before_anybody_listened_was_the_first(opened: Opener) -> None:
    async with opened(heard=False, on=ON) as made:
        assert await made.ask(PUBLISH)
        await made.settle()
        await made.listen()
        made.watch = made.worker()
        assert await made.ask(PUBLISH | {"session": "p2"})
        await made.settle()
        assert await made.told("token.first") == []


async def test_a_bound_network_is_told(opened: Opener) -> None:
    tied = cam(kind="subscribe", bindIpsOnUsage=1, bindTolerance={"ipv4Prefix": 24, "rebindsPerHour": 1})
    async with opened(on=SECURED, tied=tied) as made:
        await made.told()
        for session, ip in (("v1", "192.0.2.7"), ("v2", "192.0.2.8"), ("v3", "198.51.100.1"), ("v4", "203.0.113.1")):
            await made.ask(WATCH, token="tied", session=session, ip=ip)
        told = await made.told("token.bound")
        assert [one.data["network"] for one in told] == ["192.0.2.0/24", "198.51.100.0/24"]
        assert told[0].data["tokenId"] == made.world.tokens["tied"].record.id


# -- refusals


async def refuse(made: Listening, times: int, **step: Any) -> None:
    for _ in range(times):
        assert not await made.ask(WATCH | {"stream": "A/other"} | step)


async def test_a_burst_of_refusals_is_told_once_in_ten_minutes(opened: Opener) -> None:
    async with opened(on=SECURED, see=SEE) as made:
        await made.told()
        await refuse(made, 19, token="see")
        await made.settle()
        assert await made.told("token.refused") == []
        await refuse(made, 1, token="see")
        await made.settle()
        (burst,) = await made.told("token.refused")
        token_id = made.world.tokens["see"].record.id
        about = {"tokenId": token_id, "kind": "subscribe", "label": "scenario"}
        assert burst.data == about | {"seconds": 60, "refused": 20, "reasons": {"stream_not_granted": 20}}
        for after, told in ((599, 0), (600, 1)):
            made.world.now = BASE + after
            made.watch = made.worker()  # what this worker knows is not what makes it quiet
            await refuse(made, 25, token="see")
            await made.settle()
            assert len(await made.told("token.refused")) == told


async def test_several_workers_tell_of_a_burst_once(opened: Opener) -> None:
    async with opened(on=SECURED, see=SEE) as made:
        await refuse(made, 40, token="see")
        workers = [made.worker() for _ in range(3)]
        for worker in workers:
            worker.saw(made.world.events.kept)
        await asyncio.gather(*(worker.flush() for worker in workers))
        assert len(await made.told("token.refused")) == 1


async def test_refusals_without_a_known_token_are_the_accounts(opened: Opener) -> None:
    async with opened(on=SECURED) as made:
        await made.told()
        await refuse(made, 10, text="f" * 64)
        await refuse(made, 10)
        await made.settle()
        (burst,) = await made.told("token.refused")
        reasons = {"token_missing": 10, "token_unknown": 10}
        assert burst.data == {"seconds": 60, "refused": 20, "reasons": reasons}
        assert burst.account == made.world.account


async def test_addresses_that_find_a_token_taken_are_told_of(opened: Opener) -> None:
    async with opened(on=SECURED, tied=cam(kind="subscribe", bindIpsOnUsage=1)) as made:
        await made.told()
        assert await made.ask(WATCH, token="tied", session="v0", ip="192.0.2.1")
        # The same place again and again is nothing to tell of: in IPv6 a place is a /64.
        for n, ip in enumerate(["198.51.100.1", "198.51.100.1", "2001:db8:2::1", "2001:db8:2::2"]):
            assert not await made.ask(WATCH, token="tied", session=f"v{n}", ip=ip)
        await made.settle()
        assert await made.told("token.sharing") == []
        assert not await made.ask(WATCH, token="tied", session="v9", ip="203.0.113.1")
        await made.settle()
        (shared,) = await made.told("token.sharing")
        assert shared.data["addresses"] == 3
        assert (shared.data["reasons"], shared.data["seconds"]) == (["address_not_bound"], 600)
        for after, told in ((3599, 0), (3600, 1)):
            made.world.now = BASE + after
            made.watch = made.worker()
            for n in range(4):
                assert not await made.ask(WATCH, token="tied", session=f"w{n}", ip=f"203.0.113.{n}")
            await made.settle()
            assert len(await made.told("token.sharing")) == told


async def test_marks_that_are_old_are_forgotten_and_first_uses_are_not(opened: Opener) -> None:
    async with opened(on=SECURED, see=SEE) as made:
        await refuse(made, 20, token="see")
        assert await made.ask(WATCH, token="see", session="v1")
        await made.settle()
        made.world.now += 3 * 3600
        await made.settle()
        async with made.store._reading() as connection:
            marks = set((await connection.execute(select(schema.watermark.c.name))).scalars())
        assert not any(mark.startswith("refused") for mark in marks)
        assert f"used {made.world.tokens['see'].record.id}" in marks


# -- broadcasts


COUNTED = cam(kind="publish", sessionLimit={"most": 5})


@pytest.mark.parametrize("token", [cam(kind="publish", priority=3), COUNTED])
async def test_a_broadcast_is_told_of_when_it_begins_and_ends(opened: Opener, token: dict[str, Any]) -> None:
    async with opened(on=token) as made:
        account = made.world.account
        made.world.now = BASE + 0.25
        assert await made.ask(PUBLISH)
        assert await made.ask(PUBLISH, running=True)
        (started,) = await made.told("feeds")
        about: dict[str, Any] = {"accountId": account, "name": "cam", "streamId": f"{account}/cam"}
        about |= {"priority": 3} if token is not COUNTED else {}
        feed = started.data.pop("feedId")
        assert started.data == about | {"started": BASE * 1000 + 250, "active": True}
        assert (started.type, started.at, started.stream) == ("feeds.started", BASE + 0.25, "cam")
        made.world.now = BASE + 9.5
        await made.world.change({"end": "p1", **NGINX})
        await made.world.change({"end": "p1", **NGINX})
        (ended,) = await made.told("feeds")
        assert ended.data == {
            **about,
            "feedId": feed,
            "started": BASE * 1000 + 250,
            "active": False,
            "ended": BASE * 1000 + 9500,
        }
        assert (ended.type, ended.at, ended.stream) == ("feeds.ended", BASE + 9.5, "cam")
        assert await made.ask(PUBLISH)
        (again,) = await made.told("feeds")
        assert again.data["feedId"] != feed


async def test_a_broadcast_that_counts_for_a_token_and_for_its_key_is_one(opened: Opener) -> None:
    """It is told of once, listed once, and is none of a publish token's; whoever asks for what the key's publish finds it."""
    key = cam(kind="issuer", actions=["publish"], longestSeconds=100, sessionLimit={"most": 2})
    signed = {"iat": 0, "tokenType": "Publish", "streamName": "cam", "sessionLimit": {"most": 1}}
    async with opened(own=key) as made:
        world = made.world
        assert await made.ask(PUBLISH | {"token": "own", "signed": signed})
        broadcasts = made.store.broadcasts
        (broadcast,) = await broadcasts.broadcasts(world.account)
        key_id = world.tokens["own"].record.id
        assert broadcast.start.token_id > key_id
        (of_the_key,) = await broadcasts.broadcasts(world.account, token_id=key_id)
        assert of_the_key.start._replace(token_id=broadcast.start.token_id, shown=True) == broadcast.start
        assert await broadcasts.active_tokens(world.account, "cam") == []
        await world.change({"end": "p1", **NGINX})
        assert await made.types("feeds") == ["feeds.started", "feeds.ended"]
        assert await broadcasts.broadcasts(world.account) == []


@pytest.mark.parametrize("token", [ON, COUNTED])
async def test_however_a_broadcast_ends_it_is_told(opened: Opener, token: dict[str, Any]) -> None:
    async with opened(on=token) as made:
        world = made.world
        # Superseded under the same id, by a server that begins to count anew.
        assert await made.ask(PUBLISH)
        world.now += 1
        made.world.sessions._last.clear()
        assert await made.ask(PUBLISH | {"stream": "A/cam"}, ip="192.0.2.77") or token is COUNTED
        # Silent.
        world.now += 200
        await world.change({"sweep": True, **NGINX})
        told = await made.told("feeds")
        begun = [one.data["feedId"] for one in told if one.type == "feeds.started"]
        ended = [one.data["feedId"] for one in told if one.type == "feeds.ended"]
        assert sorted(begun) == sorted(ended)
        assert len(set(begun)) == len(begun) >= 1
        # Ended on its engine by us.
        assert await made.ask(PUBLISH | {"session": "p9"})
        await made.store.sessions.end_session(ENGINES["nginx"].id, "p9", world.now + 1)
        assert await made.types("feeds") == ["feeds.started", "feeds.ended"]


async def test_a_broadcast_of_a_counting_token_that_makes_room_is_told_of(opened: Opener) -> None:
    single = cam(kind="publish", sessionLimit={"most": 1, "over": "end_oldest"})
    async with opened(on=single) as made:
        assert await made.ask(PUBLISH | {"session": "old"})
        made.world.now += 1
        assert await made.ask(PUBLISH | {"session": "new"})
        assert not await made.ask(PUBLISH | {"session": "old"}, running=True)
        await made.world.change({"end": "old", **NGINX})
        told = await made.told("feeds")
        assert [one.type for one in told] == ["feeds.started", "feeds.started", "feeds.ended"]
        assert told[2].data["feedId"] == told[0].data["feedId"] != told[1].data["feedId"]


async def test_broadcasts_that_follow_each_other_in_one_batch_are_all_told_of(opened: Opener) -> None:
    async with opened(on=cam(kind="publish", streams=[{"streamName": "a"}, {"streamName": "b"}])) as made:
        for name in ("a", "b"):
            step = PUBLISH | {"stream": f"A/{name}"}
            await made.world.authorizer.authorize(ENGINES["nginx"], made.world.attempt(step))
            made.world.now += 0.05
        await made.world.sessions.flush()
        told = [(one.type, one.data["name"]) for one in await made.told("feeds")]
        assert told == [("feeds.started", "a"), ("feeds.ended", "a"), ("feeds.started", "b")]


# -- viewers


async def viewers(made: Listening) -> list[str]:
    await made.settle()
    return [kind.removeprefix("viewerConnection.") for kind in await made.types("viewerConnection")]


FIRST, NONE, ATTEMPT = "FirstViewerConnection", "NoActiveViewers", "ViewerAttempt"

VIEWER_TOKENS = {
    "nobody's": {},
    "counts nothing": {"token": "see"},
    "counts": {"token": "counts"},
    "binds": {"token": "tied"},
}


def audience(**more: Any) -> dict[str, dict[str, Any]]:
    """Return tokens for one open stream (`open`) and one secured (`cam`)."""
    return {
        "on": SECURED,
        "open": {"kind": "publish", "streams": [{"streamName": "open"}]},
        "see": SEE,
        "counts": cam(kind="subscribe", sessionLimit={"most": 5}),
        "tied": cam(kind="subscribe", bindIpsOnUsage=3),
        **more,
    }


@pytest.mark.parametrize("whose", VIEWER_TOKENS)
async def test_the_first_viewer_and_the_last_are_told_of(opened: Opener, whose: str) -> None:
    step = WATCH | VIEWER_TOKENS[whose] | ({"stream": "A/open"} if whose == "nobody's" else {})
    async with opened(audience()) as made:
        world = made.world
        assert await made.ask(step, session="v1", ip="192.0.2.1")
        await made.settle()
        told = await made.told("viewerConnection")
        name = step["stream"].partition("/")[2]
        about = {"accountId": world.account, "name": name, "streamId": f"{world.account}/{name}"}
        assert [(one.type.partition(".")[2], one.data, one.stream) for one in told] == [
            (ATTEMPT, about, name),
            (FIRST, about, name),
        ]
        assert await made.ask(step, session="v2", ip="192.0.2.2")
        assert await viewers(made) == []
        await world.change({"end": "v1", **NGINX})
        world.now += 300
        await made.ask(step, session="v2", ip="192.0.2.2", running=True)
        assert await viewers(made) == []
        ended = world.now = world.now + 1
        await world.change({"end": "v2", **NGINX})
        for after, expected in ((59.9, []), (60.0, [NONE]), (61.0, []), (300.0, [])):
            world.now = ended + after
            assert await viewers(made) == expected
        assert await made.ask(step, session="v3", ip="192.0.2.1")
        assert await viewers(made) == [ATTEMPT, FIRST]


async def test_somebody_who_comes_back_in_time_is_no_news(opened: Opener) -> None:
    async with opened(audience()) as made:
        seen: list[str] = []
        for session in ("v1", "v2", "v3"):
            assert await made.ask(WATCH, token="see", session=session)
            seen += await viewers(made)
            await made.world.change({"end": session, **NGINX})
            made.world.now += 59
            seen += await viewers(made)
        assert seen == [ATTEMPT, FIRST, ATTEMPT, ATTEMPT]


async def test_of_attempts_one_is_told_of_in_ten_seconds_by_all_workers(opened: Opener) -> None:
    async with opened(audience()) as made:
        workers = [made.worker() for _ in range(3)]
        counts: list[int] = []
        for after in (0, 0.5, 9.9, 10, 15, 20, 31):
            made.world.now = BASE + after
            before = len(made.world.events.kept)
            # Refused or not: somebody wants to watch.
            await made.ask(WATCH, session=f"v{after}", **({"token": "see"} if after == 15 else {}))
            for worker in workers:
                worker.saw(made.world.events.kept[before:])
            await asyncio.gather(*(worker.flush() for worker in workers))
            counts.append(len(await made.told(f"viewerConnection.{ATTEMPT}")))
        assert counts == [1, 0, 0, 1, 0, 1, 1]


async def test_attempts_on_streams_that_nobody_may_publish_are_not_told_of(opened: Opener) -> None:
    async with opened(audience()) as made:
        for n in range(5):
            assert not await made.ask(WATCH | {"stream": f"A/made-up-{n}"}, session=f"v{n}")
        assert await viewers(made) == []


@pytest.mark.parametrize("whose", VIEWER_TOKENS)
async def test_an_hls_viewer_counts_once_and_goes_by_silence(opened: Opener, whose: str) -> None:
    step = HLS | VIEWER_TOKENS[whose] | ({"stream": "A/open"} if whose == "nobody's" else {})
    async with opened(audience()) as made:
        world = made.world
        for n in range(30):
            world.now = BASE + 2 * n
            assert await made.ask(step, session="", ip="192.0.2.1")
            await made.settle()
        opened_now = await made.store.sessions.open_sessions(ENGINES["nginx"].id)
        assert len(opened_now) == 1
        assert opened_now[0].seen_at >= BASE + 50
        # One attempt to watch, however many requests.
        assert [kind.partition(".")[2] for kind in await made.types("viewerConnection")] == [ATTEMPT, FIRST]
        gone = opened_now[0].seen_at
        world.now = gone + 31
        await world.change({"sweep": True, **NGINX})
        assert await made.store.sessions.open_sessions(ENGINES["nginx"].id) == []
        for after, expected in ((59, []), (60, [NONE])):
            world.now = gone + after
            assert await viewers(made) == expected


async def test_workers_that_share_an_hls_viewer_keep_it_once(opened: Opener) -> None:
    async with opened(audience()) as made:
        starts = []
        for n in range(4):
            made.world.now = BASE + n
            made.world.sessions._hls.clear()
            made.world.authorizer._viewers = type(made.world.authorizer._viewers)()
            await made.world.authorizer.authorize(ENGINES["nginx"], made.world.attempt(HLS | {"stream": "A/open"}))
            starts += list(made.world.sessions._viewers)
            made.world.sessions._viewers.clear()
        assert len(starts) == 4
        await asyncio.gather(*(made.store.sessions.begin_sessions([start]) for start in starts))
        assert len(await made.store.sessions.open_sessions(ENGINES["nginx"].id)) == 1


@pytest.mark.parametrize(
    ("engine", "protocol"), [("mtx", "rtmp"), ("mtx", "hls"), ("mtx-controlled", "hls"), ("nginx", "webrtc")]
)
async def test_where_nobody_tells_of_the_end_only_attempts_are_told_of(
    opened: Opener, engine: str, protocol: str
) -> None:
    async with opened(audience()) as made:
        step = WATCH | {"engine": engine, "protocol": protocol, "token": "see"}
        assert await made.ask(step, session="v1")
        assert await viewers(made) == [ATTEMPT]
        assert await made.store.sessions.open_sessions(ENGINES[engine].id) == []


async def test_viewers_are_kept_for_those_who_ask_and_for_no_longer(opened: Opener) -> None:
    async with opened(audience(), heard=False) as made:
        hook = await made.listen(WebhookKind.FEEDS)
        engine: Engine = ENGINES["nginx"]
        assert await made.ask(WATCH, token="see", session="v1")
        assert await made.store.sessions.open_sessions(engine.id) == []
        viewers_too = await made.listen(WebhookKind.VIEWER_CONNECTION, events=())
        # One that watches already is kept as soon as its engine asks about it again.
        assert await made.ask(WATCH, token="see", session="v1", running=True)
        assert await made.ask(WATCH, token="see", session="v2")
        assert len(await made.store.sessions.open_sessions(engine.id)) == 2
        await made.store.webhooks.remove_webhook(made.world.account, viewers_too.id)
        assert await made.ask(WATCH, token="see", session="v3")
        assert len(await made.store.sessions.open_sessions(engine.id)) == 2

        def also_viewers(webhook: Webhook) -> Webhook:
            kinds = frozenset({WebhookKind.VIEWER_CONNECTION})
            return replace(webhook, terms=replace(webhook.terms, kinds=kinds))

        await made.store.webhooks.change_webhook(made.world.account, hook.id, also_viewers, made.world.now)
        assert await made.ask(WATCH, token="see", session="v4")
        assert len(await made.store.sessions.open_sessions(engine.id)) == 3


async def test_a_server_that_counts_anew_has_other_viewers_under_old_ids(opened: Opener) -> None:
    async with opened(audience()) as made:
        assert await made.ask(WATCH, token="see", session="1", ip="192.0.2.1")
        made.world.now += 5
        assert await made.ask(WATCH | {"stream": "A/open"}, session="1", ip="192.0.2.1")
        (now,) = await made.store.sessions.open_sessions(ENGINES["nginx"].id)
        assert now.start.stream == "open"


async def test_two_processes_tell_of_viewers_once(opened: Opener) -> None:
    async with opened(audience()) as made:
        assert await made.ask(WATCH, token="see", session="v1")
        await made.watch.flush()
        await made.told()
        workers = [made.worker() for _ in range(4)]
        await asyncio.gather(*(worker.look() for worker in workers))
        assert await made.types("viewer") == [f"viewerConnection.{FIRST}"]
        await made.world.change({"end": "v1", **NGINX})
        made.world.now += 60
        await asyncio.gather(*(worker.look() for worker in workers))
        assert await made.types("viewer") == [f"viewerConnection.{NONE}"]


async def test_streams_that_nobody_watches_are_forgotten(opened: Opener) -> None:
    async with opened(audience()) as made:
        assert not await made.ask(WATCH, session="v1")
        assert await made.ask(WATCH | {"stream": "A/open"}, session="v2")
        await made.settle()
        for _ in range(4):
            made.world.now += 3600
            await made.ask(WATCH | {"stream": "A/open"}, session="v2", running=True)
            await made.settle()
        async with made.store._reading() as connection:
            assert list((await connection.execute(select(schema.audience.c.stream))).scalars()) == ["open"]


async def test_what_is_no_token_of_an_owners_is_not_told_of(opened: Opener) -> None:
    async with opened(on=ON) as made:
        await made.told()
        await made.store.watch.first_used([FirstUse(TokenId(10**9), BASE, "cam")])
        await made.store.watch.suspect([Suspicion(EventType.TOKEN_REFUSED, NOBODY, TokenId(10**9), BASE, 600.0, {})])
        # What a path names as an account may be anything.
        await made.store.watch.suspect([Suspicion(EventType.TOKEN_REFUSED, AccountId("x" * 64), None, BASE, 600.0, {})])
        assert await made.told() == []


async def test_an_engine_that_lists_what_runs_has_its_viewers_kept(opened: Opener) -> None:
    """One that needed no token stays as long as it likes; one whose token is renewed or revoked since is ended."""
    step = WATCH | {"engine": "mtx-controlled", "protocol": "webrtc"}
    async with opened(audience(two=SEE)) as made:
        world, control = made.world, Control()
        keeper = Keeper(
            view=world.view,
            engines=lambda: [ENGINES["mtx-controlled"]],
            tokens=world.store,
            sessions=world.store.sessions,
            controls=Controls({EngineKind.MEDIAMTX: lambda: control}),
            clock=world.clock,
            may_work=lambda: True,
            children=world.children,
            key_revoked=no_key_revoked,
        )
        asked: list[tuple[str, dict[str, Any]]] = [
            ("free", {"stream": "A/open"}),
            ("old token, not needed", {"stream": "A/open", "token": "two"}),
            ("renewed", {"token": "see"}),
            ("revoked", {"token": "two"}),
        ]
        for session, more in asked:
            assert await made.ask(step | more, session=session)
            control.running[session] = 0
        assert await keeper.look_after(ENGINES["mtx-controlled"]) == []
        assert sorted(await viewers(made)) == [FIRST, FIRST, ATTEMPT, ATTEMPT]
        await world.change({"change": "see", "body": {"refreshToken": True}})
        await world.change({"revoke": "two"})
        world.now += 200
        ended = await keeper.look_after(ENGINES["mtx-controlled"])
        assert [(one.session, one.reason.value) for one in ended] == [
            ("renewed", "token_unknown"),
            ("revoked", "token_revoked"),
        ]
        world.now += 60
        assert await viewers(made) == [NONE]
        # What is not listed any more has gone, without a call.
        control.running.clear()
        await keeper.look_after(ENGINES["mtx-controlled"])
        world.now += 60
        assert await viewers(made) == [NONE]


async def test_a_worker_as_it_is_put_together_tells(settings: Settings) -> None:
    """From the engine's own call to the row: nothing is put in between."""
    async with administration(settings) as admin:
        account = (await admin.accounts.create_first("a@example.com")).account
        engine = await admin.engines.add(EngineKind.NGINX_RTMP, "e", account)
        terms = TokenTerms(label="on", streams=(StreamPattern("cam"),))
        issued = await admin.tokens.issue(account, TokenKind.PUBLISH, terms)
        hook = WebhookTerms(url="https://example.com", kinds=frozenset(KINDS), events=OWN_EVENTS)
        new = NewWebhook(account=account, terms=hook, seal=lambda _id: b"", added_on=0)
        await admin.store.webhooks.add_webhook(new, 10)

        async def told() -> list[str]:
            async with admin.store._reading() as connection:
                query = select(schema.event.c.type).order_by(schema.event.c.id)
                return list((await connection.execute(query)).scalars())

        async with authority(settings) as running:
            path = f"{PREFIX}nginx-rtmp/{engine.hook_secret.reveal()}"
            for call, more in (("publish", f"&token={issued.secret.reveal()}"), ("play", ""), ("publish_done", "")):
                body = f"call={call}&clientid={call[:4]}&addr=192.0.2.1&name=cam{more}".encode()

                async def receive(body: bytes = body) -> Message:
                    return {"type": "http.request", "body": body, "more_body": False}

                async def send(message: Message) -> None:
                    assert message.get("status", 200) == 200

                await running.hooks({"path": path, "headers": []}, receive, send)
            wanted = {
                "feeds.started",
                "feeds.ended",
                "token.first_used",
                f"viewerConnection.{ATTEMPT}",
                f"viewerConnection.{FIRST}",
            }
            for _ in range(200):
                if wanted <= set(await told()):
                    break
                await asyncio.sleep(0.05)
        assert sorted(await told()) == sorted(wanted)
