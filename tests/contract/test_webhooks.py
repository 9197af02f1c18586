"""The API of webhooks, through the table of operations: held to the vendor's schema, each account by itself."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec
import pytest
from sqlalchemy import update

from stagedoor.app import administration, authority
from stagedoor.config import Settings
from stagedoor.edge.api import Api
from stagedoor.edge.millicast.envelope import Envelopes
from stagedoor.edge.millicast.webhooks import webhook_operations
from stagedoor.edge.native.problem import Problems
from stagedoor.edge.native.webhooks import delivery_operations
from stagedoor.edge.operation import Mount
from stagedoor.model.application import Caller as ApiCaller
from stagedoor.model.errors import NotPermitted
from stagedoor.model.events import EventType
from stagedoor.model.ids import AccountId
from stagedoor.model.scope import FULL
from stagedoor.model.webhook import OWN_EVENTS
from stagedoor.service.webhooks import MOST_WEBHOOKS
from stagedoor.store import schema
from stagedoor.store.migrate import migrate_sqlite
from tests.answers import Checked
from tests.receiver import Answering, receiving
from tests.webhook_bench import ALICE, AT, BOB, Bench, copy_of, opened

Json = dict[str, Any]

URL: Final = "https://hooks.example.com/x"

# -- the vendor's schema (WebhookModel, DisabledInfoModel), and what is ours

FLAGS: Final = (
    "isFeedHooks",
    "isRecordingHooks",
    "isThumbnailHooks",
    "isTranscoderHooks",
    "isMediaHooks",
    "isViewerConnectionHooks",
)
FIELDS: Final[dict[str, type]] = {"id": int, "url": str, "secret": str} | dict.fromkeys(FLAGS, bool)
SOMETIMES: Final[dict[str, type]] = {"disabled": dict, "filter": str}
OWN: Final[dict[str, type]] = {"events": list}
NOTHING: Final = dict.fromkeys(FLAGS, False)

DELIVERY: Final[dict[str, type]] = {
    "id": int,
    "webhookId": int,
    "messageId": str,
    "type": str,
    "state": str,
    "attempts": int,
    "addedOn": str,
    "contentType": str,
    "bytes": int,
}
SOMETIMES_DELIVERY: Final[dict[str, type]] = {
    "payload": dict,
    "dueOn": str,
    "endedOn": str,
    "lastStatus": int,
    "lastError": str,
}


def assert_fields(shown: Json, always: dict[str, type], sometimes: dict[str, type]) -> None:
    """Check names and types; what is not there is left out and never null."""
    assert set(always) <= set(shown) <= set(always) | set(sometimes)
    for name, value in shown.items():
        assert type(value) is (always | sometimes)[name], (name, value)


@dataclass(kw_only=True)
class Caller:
    """Calls the API for an account; every answer is checked for its form."""

    client: httpx.AsyncClient
    account: AccountId

    async def ask(self, method: str, path: str, body: Any = None, *, status: int = 200, **given: Any) -> Any:
        """Call, and return the data of the answer."""
        if body is not None:
            given["content"] = body if isinstance(body, bytes) else json.dumps(body)
        answer = await self.client.request(method, path, headers={"Authorization": f"Bearer {self.account}"}, **given)
        assert answer.status_code == status, answer.text
        content = answer.json()
        if path.startswith("/v1/"):
            if status >= 400:
                assert answer.headers["content-type"] == "application/problem+json"
                assert content["status"] == status
            return content
        assert content["status"] == ("success" if status < 400 else "fail")
        if status >= 400:
            assert content["data"]["message"]
        return content["data"]

    async def webhook(self, method: str, path: str, body: Any = None) -> Json:
        """Call, and return the webhook of the answer."""
        shown: Json = await self.ask(method, path, body)
        assert_fields(shown, FIELDS, SOMETIMES | OWN)
        assert len(base64.b64decode(shown["secret"], validate=True)) == 32
        return shown

    async def create(self, **fields: Any) -> Json:
        """Make a webhook."""
        return await self.webhook("POST", "/api/webhooks", {"url": URL, "isFeedHooks": False} | fields)

    async def refused(self, method: str, path: str, body: Any = None, *, field: str | None = None, **given: Any) -> str:
        """Call, be refused with 400 about a field, and return the text."""
        data = await self.ask(method, path, body, status=400, **given)
        if field is not None:
            assert field in data or field in data.get("errors", {}), data
        return str(data["message"])


@dataclass(kw_only=True)
class World:
    """A bench with its API."""

    bench: Bench
    alice: Caller
    bob: Caller


@pytest.fixture(scope="module")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database file; never written to."""
    file = tmp_path_factory.mktemp("blank") / "stagedoor.db"
    migrate_sqlite(file)
    return file


async def _authenticate(secret: str, _client_ip: str) -> ApiCaller:
    if secret not in {ALICE, BOB}:
        raise NotPermitted("Unauthorized")
    return ApiCaller(AccountId(secret), FULL)


@pytest.fixture
async def world(blank: Path, tmp_path: Path) -> AsyncIterator[World]:
    """The API on a new database, with two accounts."""
    async with opened(copy_of(blank, tmp_path), "127.0.0.2") as bench:
        webhooks = bench.webhooks
        api = Api(
            [
                Mount("/api", Envelopes(), webhook_operations(webhooks)),
                Mount("/v1", Problems(), delivery_operations(webhooks)),
            ],
            authenticate=_authenticate,
        )
        transport = Checked(httpx.ASGITransport(app=api))
        async with httpx.AsyncClient(transport=transport, base_url="http://authority") as client:
            yield World(
                bench=bench,
                alice=Caller(client=client, account=ALICE),
                bob=Caller(client=client, account=BOB),
            )


# -- create, read


async def test_the_least_that_can_be_created(world: World) -> None:
    """Everything else is off, and what is not set is left out."""
    made = await world.alice.create()
    assert made == {"id": made["id"], "url": URL, "secret": made["secret"]} | NOTHING
    assert await world.alice.webhook("GET", f"/api/webhooks/{made['id']}") == made


async def test_the_most_that_can_be_created(world: World) -> None:
    """Every flag, a filter, and events of ours, once each and in their order."""
    asked = dict.fromkeys(FLAGS, True) | {"filter": "cam-[0-9]+", "events": ["token.revoked", "token.created"]}
    made = await world.alice.create(**asked)
    assert {name: made[name] for name in asked} == asked
    twice = await world.alice.create(events=["token.created", "token.created"])
    assert twice["events"] == ["token.created"]
    assert (await world.alice.create(events=list(OWN_EVENTS)))["events"] == list(OWN_EVENTS)


@pytest.mark.parametrize("name", FLAGS)
async def test_each_flag_is_its_own(world: World, name: str) -> None:
    """Null is off, as is absent; only the flag for feeds has to be said."""
    made = await world.alice.create(**{name: True})
    assert {flag: made[flag] for flag in FLAGS} == NOTHING | {name: True}
    if name != "isFeedHooks":
        assert (await world.alice.create(**{name: None}))[name] is False


async def test_unknown_fields_are_ignored(world: World) -> None:
    """The vendor's client sends one that its API does not have."""
    made = await world.alice.create(isClipHooks=True)
    assert "isClipHooks" not in made


async def test_every_secret_is_another(world: World) -> None:
    """Random, of 256 bits."""
    assert len({(await world.alice.create())["secret"] for _ in range(10)}) == 10


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"url": ""}, "url"),
        ({"url": None}, "url"),
        ({"url": 7}, "url"),
        ({"url": "hooks.example.com"}, "url"),
        ({"url": "ftp://hooks.example.com/"}, "url"),
        ({"url": "http://user:password@hooks.example.com/"}, "url"),
        ({"url": "http://127.0.0.1/"}, "url"),
        ({"url": "http://2130706433/"}, "url"),
        ({"url": "http://0177.0.0.1/"}, "url"),
        ({"url": "http://[::ffff:10.0.0.1]/"}, "url"),
        ({"url": "http://169.254.169.254/latest/meta-data/"}, "url"),
        ({"url": "http://localhost:9997/"}, "url"),
        ({"url": "https://hooks.example.com/" + "x" * 2048}, "url"),
        ({"isFeedHooks": None}, "isFeedHooks"),
        ({"isFeedHooks": "true"}, "isFeedHooks"),
        ({"isMediaHooks": 1}, "isMediaHooks"),
        ({"filter": ""}, "filter"),
        ({"filter": "x" * 129}, "filter"),
        ({"filter": "("}, "filter"),
        ({"filter": "(?=a)"}, "filter"),
        ({"filter": "((a{100}){10}){1}"}, "filter"),
        ({"filter": "\\1"}, "filter"),
        ({"filter": 7}, "filter"),
        ({"events": "token.created"}, "events"),
        ({"events": [7]}, "events"),
        ({"events": ["token.exploded"]}, "events"),
        ({"events": ["feeds.started"]}, "events"),
        ({"events": ["thumbnail"]}, "events"),
        ({"events": [""]}, "events"),
        ({"events": ["token.created"] * 101}, "events"),
    ],
)
async def test_what_cannot_be_right_is_refused_and_named(world: World, fields: Json, field: str) -> None:
    """At creation and in an update (where null stays as it is), with nothing made or changed."""
    text = await world.alice.refused("POST", "/api/webhooks", {"url": URL, "isFeedHooks": True} | fields, field=field)
    if field == "events" and fields["events"][0] in {"token.exploded", "feeds.started", "thumbnail"}:
        assert all(event in text for event in OWN_EVENTS)
    assert await world.alice.ask("GET", "/api/webhooks/list") == []
    if None not in fields.values():
        made = await world.alice.create(filter="a", events=["token.created"])
        await world.alice.refused("PUT", f"/api/webhooks/{made['id']}", fields, field=field)
        assert await world.alice.webhook("GET", f"/api/webhooks/{made['id']}") == made


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"{}", b'{"url": "https://a.example/"}', b"\xff"])
async def test_bodies_that_are_none(world: World, body: bytes) -> None:
    """Nothing is made of them."""
    await world.alice.refused("POST", "/api/webhooks", body)


async def test_what_the_operator_allows_can_be_called(world: World) -> None:
    """And its neighbours cannot."""
    await world.alice.create(url="http://127.0.0.2:8080/x")
    await world.alice.refused("POST", "/api/webhooks", {"url": "http://127.0.0.3/", "isFeedHooks": True}, field="url")


async def test_too_many_webhooks(world: World) -> None:
    """An account has its fill of them."""
    for _ in range(MOST_WEBHOOKS):
        await world.alice.create()
    assert str(MOST_WEBHOOKS) in await world.alice.refused("POST", "/api/webhooks", {"url": URL, "isFeedHooks": True})
    await world.bob.create()


# -- update


async def test_an_update_changes_what_it_says_and_nothing_else(world: World) -> None:
    """Absent stays, null stays, but for the filter; [] clears the events."""
    made = await world.alice.create(isFeedHooks=True, isMediaHooks=True, filter="a.*", events=["token.created"])
    path = f"/api/webhooks/{made['id']}"
    stays: Json = dict.fromkeys([*FLAGS, "url", "events", "refreshSecret", "reEnable"])
    for nothing in ({}, stays, {"refreshSecret": False, "reEnable": False}):
        assert await world.alice.webhook("PUT", path, nothing) == made
    now = made
    steps: list[tuple[Json, Json]] = [
        ({"isMediaHooks": False}, {"isMediaHooks": False}),
        ({"isThumbnailHooks": True}, {"isThumbnailHooks": True}),
        ({"url": "https://other.example/"}, {"url": "https://other.example/"}),
        ({"filter": "b"}, {"filter": "b"}),
        ({"events": ["token.bound"]}, {"events": ["token.bound"]}),
    ]
    for change, shown in steps:
        now = now | shown
        assert await world.alice.webhook("PUT", path, change) == now
        assert await world.alice.webhook("GET", path) == now
    cleared = await world.alice.webhook("PUT", path, {"filter": None, "events": []})
    assert cleared == {name: value for name, value in now.items() if name not in {"filter", "events"}}


async def test_a_refreshed_secret_is_new(world: World) -> None:
    """And stays until the next time."""
    made = await world.alice.create()
    path = f"/api/webhooks/{made['id']}"
    refreshed = await world.alice.webhook("PUT", path, {"refreshSecret": True})
    assert refreshed == made | {"secret": refreshed["secret"]}
    assert refreshed["secret"] != made["secret"]
    assert await world.alice.webhook("GET", path) == refreshed


@pytest.mark.parametrize("change", [{"reEnable": True}, {"url": "https://other.example/"}])
async def test_a_suspension_is_shown_and_can_be_lifted(world: World, change: Json) -> None:
    """Until it is over by itself."""
    made = await world.alice.create()
    path = f"/api/webhooks/{made['id']}"
    async with world.bench.store.writing(numbered=False) as write:
        await write.connection.execute(
            update(schema.webhook).values(disabled_until=AT + 60, disabled_reason="it answers 500", failures=20)
        )
    shown = await world.alice.webhook("GET", path)
    assert set(shown["disabled"]) == {"until", "reason"}
    assert datetime.fromisoformat(shown["disabled"]["until"]) == datetime.fromtimestamp(AT + 60, UTC)
    assert shown["disabled"]["reason"] == "it answers 500"
    assert "disabled" in await world.alice.webhook("PUT", path, {"isMediaHooks": True, "url": made["url"]})
    assert (await world.alice.ask("GET", "/api/webhooks/list"))[0]["disabled"] == shown["disabled"]
    world.bench.now = AT + 60
    assert "disabled" not in await world.alice.webhook("GET", path)
    world.bench.now = AT
    assert "disabled" not in await world.alice.webhook("PUT", path, change)
    assert "disabled" not in await world.alice.webhook("GET", path)


# -- delete, list


async def test_what_is_deleted_is_gone(world: World) -> None:
    """The answer is true, once."""
    made = await world.alice.create()
    path = f"/api/webhooks/{made['id']}"
    assert await world.alice.ask("DELETE", path) is True
    for method, body in (("GET", None), ("PUT", {}), ("DELETE", None)):
        assert str(made["id"]) in await world.alice.refused(method, path, body, field="webhookId")
    assert await world.alice.ask("GET", "/api/webhooks/list") == []


async def test_lists_are_cut_by_id(world: World) -> None:
    """Ten unless told, in both directions, under both names of the count; with 0 from the beginning."""
    made = [await world.alice.create() for _ in range(12)]
    await world.bob.create()

    async def ids(query: str) -> list[int]:
        listed = await world.alice.ask("GET", f"/api/webhooks/list{query}")
        for one in listed:
            assert_fields(one, FIELDS, SOMETIMES | OWN)
            assert one in made
        return [made.index(one) for one in listed]

    assert await ids("") == list(range(10))
    assert await ids("?startingId=0&item_count=3&isDescending=False") == [0, 1, 2]
    assert await ids("?startingId=0&itemCount=3&isDescending=True") == [11, 10, 9]
    assert await ids("?startingId=null&itemCount=2") == [0, 1]
    assert await ids(f"?startingId={made[4]['id']}&itemCount=2") == [4, 5]
    assert await ids(f"?startingId={made[4]['id']}&itemCount=2&isDescending=true") == [4, 3]
    assert await ids(f"?startingId={10**30}&isDescending=true&itemCount=1") == [11]
    assert await ids(f"?startingId={10**30}") == []
    assert await ids("?itemCount=100&unknown=1") == list(range(12))


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("itemCount=0", "itemCount"),
        ("itemCount=101", "itemCount"),
        ("item_count=-1", "itemCount"),
        ("itemCount=x", "itemCount"),
        ("startingId=x", "startingId"),
        ("isDescending=maybe", "isDescending"),
    ],
)
async def test_queries_that_cannot_be_right(world: World, query: str, field: str) -> None:
    """Are refused, and named."""
    await world.alice.refused("GET", f"/api/webhooks/list?{query}", field=field)


@pytest.mark.parametrize("id_", ["0", "-1", "x", "1.0", "9" * 18, "9" * 40, "9" * 41, "%31%30", "\u0661", "1e3", "00"])
async def test_ids_of_nothing(world: World, id_: str) -> None:
    """Are not found, whatever they look like."""
    for method, body in (("GET", None), ("PUT", {}), ("DELETE", None)):
        await world.alice.refused(method, f"/api/webhooks/{id_}", body, field="webhookId")


async def test_another_account_sees_nothing(world: World) -> None:
    """Nor changes, deletes, replays or tests anything."""
    async with receiving(Answering(status=500), host="127.0.0.2") as receiver:
        made = await world.alice.create(url=receiver.url, isFeedHooks=True)
        await world.bench.tell(EventType.FEED_STARTED)
        await world.bench.send()
        listed = await world.alice.ask("GET", f"/v1/webhooks/{made['id']}/deliveries")
        delivery = listed["deliveries"][0]
        path = f"/api/webhooks/{made['id']}"
        for method, body in (("GET", None), ("PUT", {"url": "https://evil.example/"}), ("DELETE", None)):
            await world.bob.refused(method, path, body, field="webhookId")
        assert await world.bob.ask("GET", "/api/webhooks/list") == []
        await world.bob.refused("POST", "/api/webhooks/test/Feeds", {})
        await world.bob.ask("GET", f"/v1/webhooks/{made['id']}/deliveries", status=404)
        await world.bob.ask("POST", f"/v1/webhooks/{made['id']}/replay", status=404)
        await world.bob.ask("POST", f"/v1/deliveries/{delivery['id']}/replay", status=404)
        assert await world.alice.webhook("GET", path) == made
    for path in ("/api/webhooks/list", "/v1/webhooks/1/deliveries"):
        stranger = await world.alice.client.get(path, headers={"Authorization": "Bearer x"})
        assert stranger.status_code in {401, 403}


# -- test


@pytest.mark.parametrize(
    ("kind", "flag", "sent"),
    [
        ("Feeds", "isFeedHooks", "feeds"),
        ("Recordings", "isRecordingHooks", "recordings"),
        ("Transcoder", "isTranscoderHooks", "transcoder"),
        ("Media", "isMediaHooks", "media"),
        ("ViewerConnection", "isViewerConnectionHooks", "viewerConnection"),
        ("Thumbnail", "isThumbnailHooks", None),
    ],
)
async def test_a_test_sends_a_sample(world: World, kind: str, flag: str, sent: str | None) -> None:
    """To those that ask for that kind; 400 when there is none; the kind in any case of letters."""
    async with receiving(host="127.0.0.2") as receiver:
        await world.alice.create(url=receiver.url, **{other: True for other in FLAGS if other != flag})
        text = await world.alice.refused("POST", f"/api/webhooks/test/{kind}", {"streamName": "s"}, field="webhookType")
        assert kind in text
        await world.alice.create(url=receiver.url, **{flag: True})
        assert (
            await world.alice.ask("POST", f"/api/webhooks/test/{kind}", {"streamName": "s", "transcoderName": "t"})
            is True
        )
        assert await world.alice.ask("POST", f"/api/webhooks/test/{kind.lower()}", {"streamName": None}) is True
        assert await world.bench.send() == 2
    got = receiver.got[0]
    if sent is None:
        assert got.headers["content-type"] == "image/jpeg"
        assert got.headers["x-millicast-stream-id"] == "alice/s"
    else:
        body = json.loads(got.body)
        assert body["type"] == sent
        assert set(body["data"].values()) & {"s", "t"}


async def test_tests_of_nothing(world: World) -> None:
    """An unknown kind names those there are."""
    text = await world.alice.refused("POST", "/api/webhooks/test/Clips", {}, field="webhookType")
    assert "ViewerConnection" in text
    await world.alice.refused("POST", "/api/webhooks/test/Feeds", {"streamName": 7}, field="streamName")


# -- deliveries


async def test_dead_letters_are_seen_and_replayed(world: World) -> None:
    """What was sent, what came back, and again until it arrives."""
    bench = world.bench
    async with receiving(Answering(status=503), host="127.0.0.2") as receiver:
        made = await world.alice.create(url=receiver.url, isFeedHooks=True, isThumbnailHooks=True)
        await bench.tell(EventType.FEED_STARTED, data={"feedId": "f1"})
        await bench.tell(EventType.FEED_ENDED)
        await bench.dispatcher().enqueue_thumbnail(ALICE, "show", b"jpeg", feed_id="f1", token_id="1", at=AT)
        path = f"/v1/webhooks/{made['id']}/deliveries"
        waiting = (await world.alice.ask("GET", path))["deliveries"]
        assert [one["state"] for one in waiting] == ["pending"] * 3
        assert all(one["attempts"] == 0 and "lastError" not in one for one in waiting)
        worker = bench.deliverer()
        await bench.send(worker)
        bench.now += 86400
        await bench.send(worker)

        dead = await world.alice.ask("GET", f"{path}?state=dead")
        assert set(dead) == {"deliveries"}
        for one in dead["deliveries"]:
            assert_fields(one, DELIVERY, SOMETIMES_DELIVERY)
        ended, started = dead["deliveries"]
        assert (started["type"], ended["type"]) == ("feeds.started", "feeds.ended")
        assert started["payload"]["data"] == {"feedId": "f1"}
        assert started["webhookId"] == made["id"]
        assert (started["lastStatus"], started["lastError"]) == (503, "it answers 503")
        assert started["bytes"] == len(receiver.got[0].body)
        assert started["messageId"] == receiver.got[0].headers["webhook-id"]
        assert started["endedOn"] == "2023-11-15T22:13:20Z"
        assert "dueOn" not in started

        receiver.answers = [Answering()]
        replayed = await world.alice.ask("POST", f"/v1/deliveries/{started['id']}/replay")
        assert_fields(replayed, DELIVERY, SOMETIMES_DELIVERY)
        assert (replayed["state"], replayed["messageId"]) == ("pending", started["messageId"])
        assert await world.alice.ask("POST", f"/v1/webhooks/{made['id']}/replay") == {"replayed": 1}
        assert await world.alice.ask("POST", f"/v1/webhooks/{made['id']}/replay") == {"replayed": 0}
        assert await bench.send(worker) == 2
        assert (await world.alice.ask("GET", f"{path}?state=dead")) == {"deliveries": []}
        delivered = await world.alice.ask("GET", f"{path}?state=delivered&limit=1")
        assert delivered["nextStartingId"] < delivered["deliveries"][0]["id"]
        older = await world.alice.ask("GET", f"{path}?state=delivered&startingId={delivered['nextStartingId']}")
        assert [one["id"] for one in older["deliveries"]] == [delivered["nextStartingId"]]


async def test_a_delivery_that_is_being_sent_is_not_replayed(world: World) -> None:
    """409; it would arrive twice."""
    async with receiving(Answering(after=0.3), host="127.0.0.2") as receiver:
        made = await world.alice.create(url=receiver.url, isThumbnailHooks=True)
        await world.bench.dispatcher().enqueue_thumbnail(ALICE, "s", b"jpeg", feed_id="f", token_id="1", at=AT)
        worker = world.bench.deliverer()
        await worker.work()
        (one,) = (await world.alice.ask("GET", f"/v1/webhooks/{made['id']}/deliveries?state=sending"))["deliveries"]
        assert (one["contentType"], one["bytes"], "payload" in one) == ("image/jpeg", 4, False)
        problem = await world.alice.ask("POST", f"/v1/deliveries/{one['id']}/replay", status=409)
        assert problem["code"] == "conflict"
        await worker.settle()


@pytest.mark.parametrize("query", ["state=lost", "startingId=0", "startingId=x", "limit=0", "limit=101", "limit=x"])
async def test_lists_of_deliveries_that_cannot_be(world: World, query: str) -> None:
    """400, about the parameter."""
    made = await world.alice.create()
    problem = await world.alice.ask("GET", f"/v1/webhooks/{made['id']}/deliveries?{query}", status=400)
    assert problem["field"] == query.partition("=")[0]


@pytest.mark.parametrize("id_", ["0", "x", "-1", "9" * 18, "9" * 19, "1.0"])
async def test_deliveries_of_nothing(world: World, id_: str) -> None:
    """404."""
    await world.alice.ask("GET", f"/v1/webhooks/{id_}/deliveries", status=404)
    await world.alice.ask("POST", f"/v1/webhooks/{id_}/replay", status=404)
    await world.alice.ask("POST", f"/v1/deliveries/{id_}/replay", status=404)


def test_every_operation_has_a_schema_and_an_example_that_it_takes() -> None:
    """What the document is made of."""
    webhooks: Any = None
    for operation in (*webhook_operations(webhooks), *delivery_operations(webhooks)):
        assert operation.summary
        msgspec.json.schema(operation.answer)
        if operation.body is not None:
            msgspec.convert(operation.example, operation.body)


# -- all of it together


async def test_the_authority_tells_what_happens(settings: Settings) -> None:
    """From a call of the API to the receiver, put together as it is served; private addresses only where allowed."""
    async with administration(settings) as admin:
        first = await admin.accounts.create_first("admin@example.com")
    headers = {"Authorization": f"Bearer {first.api_secret.reveal()}"}
    token = {"label": "cam", "streams": [{"streamName": "cam"}]}
    async with receiving() as receiver:
        hook = {"url": receiver.url, "isFeedHooks": False, "events": ["token.created", "token.revoked"]}
        async with authority(settings) as (app, _), _calling(app) as client:
            assert (await client.post("/api/webhooks", json=hook, headers=headers)).status_code == 400
        async with (
            authority(replace(settings, webhook_networks="127.0.0.0/8")) as (app, _),
            _calling(app) as client,
        ):
            made = (await client.post("/api/webhooks", json=hook, headers=headers)).json()["data"]
            issued = (await client.post("/api/subscribe_token", json=token, headers=headers)).json()["data"]
            await client.delete(f"/api/subscribe_token/{issued['id']}", headers=headers)
            for _attempt in range(1500):
                if len(receiver.got) == 2:
                    break
                await asyncio.sleep(0.02)
            told = {(body["type"], body["data"]["tokenId"]) for body in (json.loads(got.body) for got in receiver.got)}
            assert told == {("token.created", issued["id"]), ("token.revoked", issued["id"])}
            assert issued["token"].encode() not in b"".join(got.body for got in receiver.got)
            document = (await client.get("/openapi.json")).json()
            assert "/v1/webhooks/{webhookId}/deliveries" in document["paths"]
        async with authority(settings) as (app, _), _calling(app) as client:
            listed = await client.get(f"/v1/webhooks/{made['id']}/deliveries", headers=headers)
            assert [one["state"] for one in listed.json()["deliveries"]] == ["delivered"] * 2
    assert len(receiver.got) == 2


def _calling(app: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=Checked(httpx.ASGITransport(app=app)), base_url="http://authority")
