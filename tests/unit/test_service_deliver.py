"""From an event to a receiver: real HTTP on 127.0.0.1, a real database, and a clock of the test's.

Signatures are checked by code that shares nothing with ours: the vendor's as its documentation says, those of Standard Webhooks
as its specification says.
"""

import asyncio
import base64
import hashlib
import json
import re
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.hmac import HMAC
from sqlalchemy import update

from stagedoor.model.errors import Conflict, InvalidInput, NotFound, Unavailable
from stagedoor.model.events import Event, EventType
from stagedoor.model.webhook import (
    HEALTHY,
    LIFE_SECONDS,
    OWN_EVENTS,
    SUSPEND_AFTER_FAILURES,
    SUSPENDED_SECONDS,
    Delivery,
    DeliveryId,
    DeliveryState,
    WebhookId,
    WebhookKind,
)
from stagedoor.service.deliver import AT_ONCE, AT_ONCE_FOR_ONE, LOST_SECONDS, Deliverer
from stagedoor.service.webhook_ports import DeliveryPage
from stagedoor.service.webhooks import MOST_WEBHOOKS, OpenWebhook
from stagedoor.store import schema
from stagedoor.store.migrate import migrate_sqlite
from tests.receiver import Answering, Got, receiving
from tests.webhook_bench import ALICE, AT, BOB, Bench, copy_of, opened

FAILING = Answering(status=500, body=b"no")
PENDING, SENDING, DELIVERED, DEAD = DeliveryState


@pytest.fixture(scope="module")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database file; never written to."""
    file = tmp_path_factory.mktemp("blank") / "stagedoor.db"
    migrate_sqlite(file)
    return file


@pytest.fixture
def database(blank: Path, tmp_path: Path) -> Path:
    """A migrated database file of the test's own."""
    return copy_of(blank, tmp_path)


@pytest.fixture
async def bench(database: Path) -> AsyncIterator[Bench]:
    """Everything there is to webhooks."""
    async with opened(database) as made:
        yield made


def hmac_of(algorithm: hashes.HashAlgorithm, key: bytes, *parts: bytes) -> bytes:
    """Return an HMAC, by other code than the one under test."""
    mac = HMAC(key, algorithm)
    for part in parts:
        mac.update(part)
    return mac.finalize()


def assert_signed(got: Got, secret: str, now: float) -> None:
    """Check both signatures as a receiver would."""
    key = base64.b64decode(secret, validate=True)
    assert len(key) == 32
    scheme, _, shown = got.headers["x-millicast-signature"].partition("=")
    assert scheme == "sha1"
    assert bytes.fromhex(shown) == hmac_of(hashes.SHA1(), key, got.body)  # noqa: S303  the vendor's choice
    identity, timestamp = got.headers["webhook-id"], got.headers["webhook-timestamp"]
    assert abs(int(timestamp) - now) < 1
    signed = f"{identity}.{timestamp}.".encode() + got.body
    version, _, value = got.headers["webhook-signature"].partition(",")
    assert version == "v1"
    assert base64.b64decode(value, validate=True) == hmac_of(hashes.SHA256(), key, signed)


def states(deliveries: list[Delivery]) -> list[DeliveryState]:
    """Return where deliveries stand."""
    return [delivery.state for delivery in deliveries]


# -- what is sent


async def test_an_event_of_the_compatible_api_has_the_vendors_form(bench: Bench) -> None:
    """Type and event, milliseconds, the data as it is; signed in both ways; our name."""
    data = {"feedId": "f1", "accountId": ALICE, "name": "show", "streamId": "alice/show", "active": True}
    async with receiving() as receiver:
        hook = await bench.hook(receiver.url)
        bench.now = AT + 0.5
        await bench.tell(EventType.FEED_STARTED, data=data)
        assert await bench.send() == 1
    (got,) = receiver.got
    assert json.loads(got.body) == {"type": "feeds", "event": "started", "timestamp": 1_700_000_000_500, "data": data}
    assert got.headers["content-type"] == "application/json"
    assert got.headers["user-agent"] == "Stagedoor"
    assert got.headers["webhook-id"].startswith("msg_")
    assert_signed(got, hook.secret.reveal(), bench.now)
    (delivery,) = await bench.deliveries(hook)
    assert (delivery.state, delivery.attempts, delivery.last_status) == (DELIVERED, 1, 200)


async def test_an_event_of_ours_has_the_form_of_standard_webhooks(bench: Bench) -> None:
    """The full type, an instant as text, the data."""
    async with receiving() as receiver:
        hook = await bench.hook(receiver.url, "token.revoked", kinds=())
        bench.now = AT + 0.25
        await bench.tell(EventType.TOKEN_REVOKED, data={"tokenId": 7})
        await bench.tell(EventType.TOKEN_CREATED, data={"tokenId": 8})
        await bench.tell(EventType.FEED_STARTED)
        assert await bench.send() == 1
    (got,) = receiver.got
    assert json.loads(got.body) == {
        "type": "token.revoked",
        "timestamp": "2023-11-14T22:13:20.250Z",
        "data": {"tokenId": 7},
    }
    assert_signed(got, hook.secret.reveal(), bench.now)


async def test_a_thumbnail_is_the_picture_itself(bench: Bench) -> None:
    """The body is the JPEG, headers say of what, and the signatures are over the picture."""
    jpeg = b"\xff\xd8\xff\xe0" + bytes(range(256)) * 40 + b"\xff\xd9"
    async with receiving() as receiver:
        hook = await bench.hook(receiver.url, kinds=(WebhookKind.THUMBNAIL,), matching="sh.*")
        await bench.hook(receiver.url, kinds=(WebhookKind.FEEDS,))
        await bench.hook(receiver.url, kinds=(WebhookKind.THUMBNAIL,), matching="other")
        await bench.hook(receiver.url, account=BOB, kinds=(WebhookKind.THUMBNAIL,))
        dispatcher = bench.dispatcher()
        told = await dispatcher.enqueue_thumbnail(ALICE, "show", jpeg, feed_id="f1", token_id="7", at=AT - 1.5)
        assert told == 1
        assert await bench.send() == 1
    (got,) = receiver.got
    assert got.body == jpeg
    assert got.headers["content-type"] == "image/jpeg"
    assert got.headers["x-millicast-timestamp"] == "1699999998500"
    assert got.headers["x-millicast-feed-id"] == "f1"
    assert got.headers["x-millicast-stream-id"] == "alice/show"
    assert got.headers["x-millicast-token-id"] == "7"
    assert_signed(got, hook.secret.reveal(), bench.now)


async def test_a_new_secret_signs_from_then_on(bench: Bench) -> None:
    """Also what was waiting."""
    async with receiving() as receiver:
        hook = await bench.hook(receiver.url)
        await bench.tell()
        changed = await bench.webhooks.change(ALICE, hook.webhook.id, lambda terms: terms, refresh_secret=True)
        assert changed.secret.reveal() != hook.secret.reveal()
        await bench.send()
    assert_signed(receiver.got[0], changed.secret.reveal(), bench.now)


async def test_the_check_in_the_documentation_takes_what_we_send(bench: Bench) -> None:
    """And nothing that was changed, or is old."""
    page = (Path(__file__).parent.parent.parent / "docs/webhooks.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102  it is ours
    is_ours = names["is_ours"]
    bench.now = time.time()
    async with receiving() as receiver:
        hook = await bench.hook(receiver.url)
        await bench.tell()
        await bench.send()
    (got,), secret = receiver.got, hook.secret.reveal()
    assert is_ours(secret, got.headers, got.body)
    assert not is_ours(secret, got.headers, got.body + b" ")
    assert not is_ours(base64.b64encode(bytes(32)).decode(), got.headers, got.body)
    assert not is_ours(secret, got.headers | {"webhook-id": "msg_other"}, got.body)
    assert not is_ours(secret, got.headers | {"webhook-timestamp": str(int(bench.now) - 301)}, got.body)


async def test_the_documentation_names_every_event_and_every_bound() -> None:
    """As they are."""
    page = (Path(__file__).parent.parent.parent / "docs/webhooks.md").read_text()
    for event in EventType:
        kind, _, name = event.value.partition(".")
        assert (f"`{event.value}`" if event.value in OWN_EVENTS else f"`{name}`" if name else kind) in page
    for said in (f"at most {MOST_WEBHOOKS} webhooks", f"fails {SUSPEND_AFTER_FAILURES} times", f"{AT_ONCE} in all"):
        assert said in page
    assert AT_ONCE_FOR_ONE == 4


# -- to whom


async def test_only_those_are_told_who_asked(bench: Bench) -> None:
    """By kind, by name, by filter on the whole stream name, and never another account."""
    async with receiving() as receiver:

        def url(name: str) -> str:
            return receiver.url.replace("/hook", f"/{name}")

        await bench.hook(url("all"))
        await bench.hook(url("cams"), matching="cam-[0-9]+")
        await bench.hook(url("media"), kinds=(WebhookKind.MEDIA,))
        await bench.hook(url("ours"), *OWN_EVENTS, kinds=(), matching="cam-[0-9]+")
        await bench.hook(url("bob"), *OWN_EVENTS, account=BOB, kinds=tuple(WebhookKind))
        for event, stream, expected in [
            (EventType.FEED_ENDED, "cam-7", {"all", "cams"}),
            (EventType.FEED_ENDED, "cam-7b", {"all"}),
            (EventType.FEED_ENDED, "a-cam-7", {"all"}),
            (EventType.MEDIA_COMPLETED, "cam-7", {"media"}),
            (EventType.VIEWER_ATTEMPT, "cam-7", set()),
            (EventType.TOKEN_CREATED, "cam-7", {"ours"}),
            (EventType.TOKEN_CREATED, "show", set()),
            (EventType.TOKEN_CREATED, "", {"ours"}),
        ]:
            receiver.got.clear()
            await bench.tell(event, stream)
            await bench.send()
            assert {got.path.strip("/").partition("?")[0] for got in receiver.got} == expected, (event, stream)
            assert len(receiver.got) == len(expected)


async def test_an_event_is_dispatched_once_and_forgotten_after_a_day(bench: Bench) -> None:
    """However often one looks; what was not dispatched stays."""
    async with receiving() as receiver:
        hook = await bench.hook(receiver.url)
        await bench.tell(times=450)
        dispatcher = bench.dispatcher()
        assert await dispatcher.dispatch() == 0
        rows = await bench.rows(schema.event)
        assert len(rows) == 450
        assert all(row["dispatched"] for row in rows)
        assert [json.loads(d.message.body)["data"]["n"] for d in await bench.deliveries(hook)] == list(range(450))
    bench.now += 24 * 3600
    await dispatcher._tidy()
    assert len(await bench.rows(schema.event)) == 450
    async with bench.store.writing(numbered=False) as write:
        await write.connection.execute(update(schema.event).where(schema.event.c.id == 1).values(dispatched=False))
    bench.now += 1
    await bench.dispatcher()._tidy()
    assert [row["id"] for row in await bench.rows(schema.event)] == [1]


async def test_what_cannot_be_read_does_not_stop_the_others(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """An event of a newer version, or a damaged one, is told of in the log and passed over."""
    async with receiving() as receiver:
        await bench.hook(receiver.url)
        async with bench.store.writing(numbered=False) as write:
            for _ in range(4):
                write.tells(Event(ALICE, EventType.FEED_STARTED, AT, "show"))
        async with bench.store.writing(numbered=False) as write:
            c = schema.event.c
            for number, changed in enumerate([{"type": "feeds.exploded"}, {"data": "{"}, {"data": "[]"}], start=1):
                await write.connection.execute(update(schema.event).where(c.id == number).values(changed))
        assert await bench.dispatcher().dispatch() == 4
        assert await bench.send() == 1
    assert caplog.text.count("cannot be read") == 3
    assert all(row["dispatched"] for row in await bench.rows(schema.event))


# -- again and again


async def test_failures_are_tried_again_under_the_same_id(bench: Bench) -> None:
    """500s, then 200: waits that double, one id, a new instant and a new signature each time."""
    async with receiving(FAILING, FAILING, FAILING, Answering()) as receiver:
        hook = await bench.hook(receiver.url)
        await bench.tell()
        worker = bench.deliverer()
        began = bench.now
        at: list[float] = []
        for wait in (0, 5, 10, 20):
            bench.now += wait - 0.001
            if wait:
                assert await bench.send(worker) == 0, "too early"
            bench.now += 0.001
            assert await bench.send(worker) == 1
            at.append(bench.now - began)
        assert [round(seconds) for seconds in at] == [0, 5, 15, 35]
        bench.now += 7200
        assert await bench.send(worker) == 0
    assert len({got.headers["webhook-id"] for got in receiver.got}) == 1
    assert [int(got.headers["webhook-timestamp"]) - int(AT) for got in receiver.got] == [0, 5, 15, 35]
    assert len({got.headers["webhook-signature"] for got in receiver.got}) == 4
    assert len({got.body for got in receiver.got}) == 1
    for got, seconds in zip(receiver.got, at, strict=True):
        assert_signed(got, hook.secret.reveal(), began + seconds)
    (delivery,) = await bench.deliveries(hook)
    assert (delivery.state, delivery.attempts, delivery.last_status, delivery.last_error) == (DELIVERED, 4, 200, "")


async def test_after_a_day_it_is_dead_and_can_be_replayed(bench: Bench) -> None:
    """Never tried after 24 hours; replayed by itself or with all others, under the same id, with a new clock."""
    async with receiving(FAILING) as receiver:
        hook = await bench.hook(receiver.url)
        await bench.tell(times=3)
        worker = bench.deliverer()
        while PENDING in states(await bench.deliveries(hook)):
            bench.now += 900
            await bench.send(worker)
            assert bench.now < AT + LIFE_SECONDS + 1800
        assert bench.now > AT + LIFE_SECONDS - 2 * 3600, "given up long before its time"
        tried = len(receiver.got)
        dead = await bench.deliveries(hook)
        assert states(dead) == [DEAD] * 3
        assert all((d.last_status, d.last_error) == (500, "it answers 500") for d in dead)
        bench.now += 3600
        assert await bench.send(worker) == 0
        assert len(receiver.got) == tried

        receiver.answers = [Answering()]
        replayed = await bench.webhooks.replay(ALICE, dead[0].id)
        assert (replayed.state, replayed.message_id) == (PENDING, dead[0].message_id)
        assert await bench.send(worker) == 1
        assert receiver.got[-1].headers["webhook-id"] == dead[0].message_id
        assert await bench.webhooks.replay_dead(ALICE, hook.webhook.id) == 2
        assert await bench.send(worker) == 2
        assert states(await bench.deliveries(hook)) == [DELIVERED] * 3
        assert await bench.webhooks.replay_dead(ALICE, hook.webhook.id) == 0


async def test_a_failure_whose_next_attempt_would_come_too_late_is_the_last(bench: Bench) -> None:
    """It is dead at once, and one that has a second more is not."""
    async with receiving(FAILING) as receiver:
        hook = await bench.hook(receiver.url)
        await bench.tell(times=2)
        async with bench.store.writing(numbered=False) as write:
            c = schema.delivery.c
            for number, added_at in ((1, AT - LIFE_SECONDS + 5), (2, AT - LIFE_SECONDS + 6)):
                one = update(schema.delivery).where(c.id == number)
                await write.connection.execute(one.values(added_at=added_at))
        assert await bench.send() == 2
        assert states(await bench.deliveries(hook)) == [DEAD, PENDING]


async def test_a_replayed_one_that_fails_again_has_another_day(bench: Bench) -> None:
    """Its waits begin anew too; what was delivered can be sent again as well."""
    async with receiving() as receiver:
        hook = await bench.hook(receiver.url)
        await bench.tell()
        await bench.send()
        bench.now += LIFE_SECONDS + 10
        (delivery,) = await bench.deliveries(hook)
        receiver.answers = [FAILING]
        await bench.webhooks.replay(ALICE, delivery.id)
        assert await bench.send() == 1
        (again,) = await bench.deliveries(hook)
        assert (again.state, again.attempts) == (PENDING, 1)
        assert again.due_at == pytest.approx(bench.now + 5)
        bench.now += 1
        assert (await bench.webhooks.replay(ALICE, delivery.id)).due_at == bench.now
        assert await bench.send() == 1


async def test_nobody_replays_what_is_not_theirs(bench: Bench) -> None:
    """Nor sees it."""
    async with receiving() as receiver:
        hook = await bench.hook(receiver.url)
        await bench.tell()
        await bench.send()
        (delivery,) = await bench.deliveries(hook)
        for id_ in (delivery.id, DeliveryId(0), DeliveryId(-1), DeliveryId(2**63), DeliveryId(999)):
            with pytest.raises(NotFound):
                await bench.webhooks.replay(BOB, id_)
        with pytest.raises(NotFound):
            await bench.webhooks.replay_dead(BOB, hook.webhook.id)
        with pytest.raises(NotFound):
            await bench.webhooks.deliveries(BOB, hook.webhook.id, DeliveryPage(None, None, 10))


async def test_a_picture_is_given_up_after_an_hour_and_soon_deleted(bench: Bench) -> None:
    """They are many and large; events stay for days."""
    async with receiving(FAILING) as receiver:
        hook = await bench.hook(receiver.url, kinds=(WebhookKind.THUMBNAIL, WebhookKind.FEEDS))
        await bench.dispatcher().enqueue_thumbnail(ALICE, "show", b"jpeg", feed_id="f", token_id="1", at=AT)
        await bench.tell()
        worker = bench.deliverer()
        bench.now += 3601
        await worker.work()
        await worker.settle()
        assert states(await bench.deliveries(hook)) == [DEAD, PENDING]
        bench.now += 3600
        await bench.send(worker)
        assert [d.message.type for d in await bench.deliveries(hook)] == ["feeds.started"]
        bench.now += 13 * 86400
        await bench.send(worker)
        assert states(await bench.deliveries(hook)) == [DEAD]
        bench.now += 86400
        await bench.send(worker)
        assert await bench.deliveries(hook) == []


async def test_a_picture_that_waits_for_a_suspended_one_ends_after_an_hour(bench: Bench) -> None:
    """Without an attempt; events go on waiting."""
    async with receiving() as receiver:
        hook = await bench.hook(receiver.url, kinds=(WebhookKind.THUMBNAIL, WebhookKind.FEEDS))
        async with bench.store.writing(numbered=False) as write:
            await write.connection.execute(update(schema.webhook).values(disabled_until=AT + 86400))
        await bench.dispatcher().enqueue_thumbnail(ALICE, "show", b"jpeg", feed_id="f", token_id="1", at=AT)
        await bench.tell()
        worker = bench.deliverer()
        bench.now = AT + 3599
        await bench.send(worker)
        assert states(await bench.deliveries(hook)) == [PENDING, PENDING]
        bench.now = AT + 3604
        await bench.send(worker)
        assert states(await bench.deliveries(hook)) == [DEAD, PENDING]
    assert receiver.got == []


# -- who holds whom


async def test_a_receiver_that_hangs_delays_no_other(bench: Bench) -> None:
    """It gets its few attempts at once, and the other, whose events come after a hundred of its, all of its own."""
    bench.timeout_seconds = 60.0
    async with receiving(Answering(after=60)) as slow, receiving() as quick:
        await bench.hook(slow.url, kinds=(WebhookKind.FEEDS,))
        await bench.hook(quick.url, kinds=(WebhookKind.MEDIA,))
        await bench.tell(EventType.FEED_STARTED, times=100)
        await bench.tell(EventType.MEDIA_COMPLETED, times=20)
        worker = bench.deliverer()
        began = time.monotonic()
        running = asyncio.create_task(worker.run())
        while len(quick.got) < 20:
            await asyncio.sleep(0.01)
            assert time.monotonic() - began < 30, "the slow one held the quick one"
        assert slow.most_under_way == len(slow.got) == AT_ONCE_FOR_ONE
        assert quick.most_under_way <= AT_ONCE_FOR_ONE
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_an_address_that_failed_last_gets_one_attempt_at_a_time(bench: Bench) -> None:
    """So that many addresses that hang do not take all there is."""
    async with receiving(Answering(status=500, after=0.05)) as receiver:
        await bench.hook(receiver.url)
        await bench.tell(times=12)
        worker = bench.deliverer()
        assert await worker.work() == AT_ONCE_FOR_ONE
        assert await worker.work() == 0
        await worker.settle()
        assert await worker.work() == 1
        assert await worker.work() == 0
        await worker.settle()
        receiver.answers = [Answering()]
        assert await worker.work() == 1
        await worker.settle()
        assert await worker.work() == AT_ONCE_FOR_ONE
        await worker.settle()


async def test_no_more_than_so_many_attempts_are_under_way(bench: Bench) -> None:
    """Over all webhooks; the rest waits its turn and comes."""
    async with receiving(Answering(after=0.05)) as receiver:
        for number in range(20):
            await bench.hook(receiver.url, kinds=(WebhookKind.FEEDS,), account=BOB if number % 2 else ALICE)
        await bench.tell(times=5)
        await bench.tell(times=5, account=BOB)
        worker = bench.deliverer()
        assert await worker.work() == AT_ONCE
        assert await worker.work() == 0
        await worker.settle()
        assert await bench.send(worker) == 100 - AT_ONCE
        assert receiver.most_under_way <= AT_ONCE
        assert len({got.headers["webhook-id"] for got in receiver.got}) == len(receiver.got) == 100


# -- crashes and rivals


async def test_what_a_worker_was_sending_when_it_died_is_sent_again(bench: Bench, database: Path) -> None:
    """Between claim and success: another worker leaves it alone while it may live, and then sends it, under the same id."""
    async with receiving(Answering(after=0.2)) as receiver:
        hook = await bench.hook(receiver.url)
        await bench.tell()
        died = bench.deliverer()
        assert await died.work() == 1
        while not receiver.got:
            await asyncio.sleep(0.01)
        for task in list(died._attempts):
            task.cancel()
        await asyncio.gather(*died._attempts, return_exceptions=True)

        async with opened(database, keyring=bench.keyring) as after:
            after.now = bench.now + LOST_SECONDS - 1
            worker = after.deliverer()
            assert await after.send(worker) == 0
            with pytest.raises(Conflict):
                await after.webhooks.replay(ALICE, (await after.deliveries(hook))[0].id)
            after.now = bench.now + LOST_SECONDS + 5
            assert await after.send(worker) == 1
            (delivery,) = await after.deliveries(hook)
            assert (delivery.state, delivery.attempts) == (DELIVERED, 2)
    assert len(receiver.got) == 2
    assert receiver.got[0].headers["webhook-id"] == receiver.got[1].headers["webhook-id"]


async def test_two_workers_at_once_share_the_work(bench: Bench) -> None:
    """Each delivery is attempted by one of them, and none is lost."""
    async with receiving(Answering(after=0.005)) as receiver:
        for _ in range(3):
            await bench.hook(receiver.url)
        async with bench.store.writing(numbered=False) as write:
            for _ in range(20):
                write.tells(Event(ALICE, EventType.FEED_STARTED, AT, "show"))
        assert sum(await asyncio.gather(*(bench.dispatcher().dispatch() for _ in range(4)))) == 20
        workers = [bench.deliverer(), bench.deliverer()]
        attempts = await asyncio.gather(*(bench.send(worker) for worker in workers))
        while sum(attempts) < 60:
            attempts.append(await bench.send(workers[0]))
    assert sum(attempts) == 60
    identities = [got.headers["webhook-id"] for got in receiver.got]
    assert len(identities) == len(set(identities)) == 60


async def test_the_outcome_of_a_lost_attempt_says_nothing_about_the_next(bench: Bench) -> None:
    """A failure that comes too late does not put off what another worker is sending; a success is one all the same."""
    async with receiving(Answering(status=500, after=0.1), Answering(after=0.4)) as receiver:
        hook = await bench.hook(receiver.url)
        await bench.tell()
        late, second = bench.deliverer(), bench.deliverer()
        assert await late.work() == 1
        while not receiver.got:
            await asyncio.sleep(0.01)
        bench.now += LOST_SECONDS + 1
        assert await second.work() == 1
        await late.settle()
        assert states(await bench.deliveries(hook)) == [SENDING]
        await second.settle()
        assert states(await bench.deliveries(hook)) == [DELIVERED]

        receiver.answers = [Answering(after=0.1), Answering(status=500, after=0.4)]
        await bench.tell()
        assert await late.work() == 1
        while len(receiver.got) < 3:
            await asyncio.sleep(0.01)
        bench.now += LOST_SECONDS + 1
        assert await second.work() == 1
        await late.settle()
        await second.settle()
        assert states(await bench.deliveries(hook)) == [DELIVERED, DELIVERED]


async def test_an_outcome_that_cannot_be_written_down_is_kept_in_mind(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store is away for a moment: nothing is sent twice for that."""
    async with receiving() as receiver:
        hook = await bench.hook(receiver.url)
        await bench.tell()
        worker = bench.deliverer()
        await worker.work()
        finish = bench.store.deliveries.finish

        async def away(*_: object) -> None:
            raise Unavailable("the database does not answer; try again")

        monkeypatch.setattr(bench.store.deliveries, "finish", away)
        with pytest.raises(Unavailable):
            await worker.settle()
        with pytest.raises(Unavailable):
            await worker.work()
        monkeypatch.setattr(bench.store.deliveries, "finish", finish)
        assert await worker.work() == 0
        assert states(await bench.deliveries(hook)) == [DELIVERED]
    assert len(receiver.got) == 1


async def test_both_loops_run_wake_each_other_and_end(bench: Bench) -> None:
    """An event is at its receiver about as soon as a poll takes; a cancelled worker lets what is under way end."""
    bench.now = time.time()
    async with receiving(Answering(after=0.3)) as receiver:
        hook = await bench.hook(receiver.url)
        worker = bench.deliverer()
        tasks = [
            asyncio.create_task(worker.run()),
            asyncio.create_task(bench.dispatcher(worker.wake).run()),
        ]
        await asyncio.sleep(0.1)
        async with bench.store.writing(numbered=False) as write:
            write.tells(Event(ALICE, EventType.FEED_STARTED, bench.now, "show"))
        began = time.monotonic()
        while not receiver.got:
            await asyncio.sleep(0.01)
            assert time.monotonic() - began < 20
        for task in tasks:
            task.cancel()
        assert all(
            isinstance(end, asyncio.CancelledError) for end in await asyncio.gather(*tasks, return_exceptions=True)
        )
        assert states(await bench.deliveries(hook)) == [DELIVERED]


async def test_another_process_has_the_work(bench: Bench) -> None:
    """Who may not work does nothing."""
    async with receiving() as receiver:
        await bench.hook(receiver.url)
        await bench.tell()
        worker = bench.deliverer(may_work=lambda: False)
        running = asyncio.create_task(worker.run())
        await asyncio.sleep(0.2)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert receiver.got == []


# -- suspension


async def fail_until_suspended(bench: Bench, worker: Deliverer, hook: OpenWebhook) -> None:
    """Let attempts fail until there are no more."""
    for _ in range(200):
        bench.now += 30
        await bench.send(worker)
        if (await bench.webhook(hook.webhook.id)).suspended:
            return
    raise AssertionError("it was never suspended")


async def test_what_fails_again_and_again_is_suspended_and_loses_nothing(bench: Bench) -> None:
    """No attempt till then; then one, and when that succeeds, all that waited."""
    async with receiving(FAILING) as receiver, receiving() as other:
        hook = await bench.hook(receiver.url)
        await bench.hook(other.url, kinds=(WebhookKind.MEDIA,))
        await bench.tell(times=3)
        worker = bench.deliverer()
        await fail_until_suspended(bench, worker, hook)
        assert bench.now - AT >= 600
        assert len(receiver.got) >= SUSPEND_AFTER_FAILURES
        opened_hook = await bench.webhook(hook.webhook.id)
        assert opened_hook.webhook.health.disabled_until == pytest.approx(bench.now + SUSPENDED_SECONDS)
        assert "it answers 500" in opened_hook.webhook.health.reason

        tried = len(receiver.got)
        await bench.tell(times=2)
        await bench.tell(EventType.MEDIA_COMPLETED)
        bench.now += SUSPENDED_SECONDS - 60
        await bench.send(worker)
        assert len(receiver.got) == tried
        assert len(other.got) == 1
        assert states(await bench.deliveries(hook)) == [PENDING] * 5

        bench.now += 61
        await worker.work()
        await worker.settle()
        assert len(receiver.got) == tried + 1
        assert (await bench.webhook(hook.webhook.id)).suspended

        bench.now += SUSPENDED_SECONDS + 1
        receiver.answers = [Answering()]
        await bench.send(worker)
        bench.now += 3600
        await bench.send(worker)
        assert states(await bench.deliveries(hook)) == [DELIVERED] * 5
        assert (await bench.webhook(hook.webhook.id)).webhook.health == HEALTHY


@pytest.mark.parametrize("way", ["reEnable", "url"])
async def test_its_owner_can_lift_a_suspension(bench: Bench, way: str) -> None:
    """By asking for it or with a new address; what waits is sent at once, and not after its wait."""
    async with receiving(FAILING) as receiver, receiving() as moved:
        hook = await bench.hook(receiver.url)
        await bench.tell(times=3)
        worker = bench.deliverer()
        await fail_until_suspended(bench, worker, hook)
        unmoved = await bench.webhooks.change(ALICE, hook.webhook.id, lambda terms: terms)
        assert unmoved.suspended
        if way == "url":
            lifted = await bench.webhooks.change(ALICE, hook.webhook.id, lambda terms: replace(terms, url=moved.url))
        else:
            receiver.answers = [Answering()]
            lifted = await bench.webhooks.change(ALICE, hook.webhook.id, lambda terms: terms, re_enable=True)
        assert not lifted.suspended
        assert await bench.send(worker) == 3
        assert states(await bench.deliveries(hook)) == [DELIVERED] * 3
        assert len(moved.got) == (3 if way == "url" else 0)


async def test_what_waits_for_a_suspended_one_dies_after_its_day(bench: Bench) -> None:
    """Its clock goes on; it can be replayed."""
    async with receiving(FAILING) as receiver:
        hook = await bench.hook(receiver.url)
        await bench.tell(times=3)
        worker = bench.deliverer()
        await fail_until_suspended(bench, worker, hook)
        async with bench.store.writing(numbered=False) as write:
            await write.connection.execute(update(schema.webhook).values(disabled_until=bench.now + 10 * LIFE_SECONDS))
        await bench.tell()
        tried = len(receiver.got)
        bench.now += LIFE_SECONDS - 10
        await bench.send(worker)
        assert states(await bench.deliveries(hook)) == [DEAD] * 3 + [PENDING]
        bench.now += 10
        await bench.send(worker)
        assert states(await bench.deliveries(hook)) == [DEAD] * 4
        assert (await bench.deliveries(hook))[-1].last_error == "it waited for too long"
        assert len(receiver.got) == tried


async def test_timeouts_count_as_failures(bench: Bench) -> None:
    """And say so."""
    bench.timeout_seconds = 0.2
    async with receiving(Answering(after=60)) as receiver:
        hook = await bench.hook(receiver.url)
        await bench.tell()
        await bench.send()
        (delivery,) = await bench.deliveries(hook)
        assert (delivery.state, delivery.last_status) == (PENDING, None)
        assert delivery.last_error == "no answer within 0.2 seconds"
        assert (await bench.webhook(hook.webhook.id)).webhook.health.failures == 1


# -- addresses


async def test_a_private_address_is_never_called(database: Path) -> None:
    """Nor one that a redirect leads to; both are failures that are told of."""
    async with opened(database, "127.0.0.2") as bench, receiving(host="127.0.0.1") as inside:
        redirect = Answering(status=307, headers=(f"location: {inside.url}",))
        async with receiving(redirect, host="127.0.0.2") as outside:
            with pytest.raises(InvalidInput):
                await bench.hook(inside.url)
            hook = await bench.hook(outside.url)
            # A name shows where it leads when it is called, and not before.
            named = await bench.hook(f"http://ip6-localhost.invalid:{inside.port}/")
            await bench.tell()
            await bench.send()
            (delivery,) = await bench.deliveries(hook)
            assert delivery.last_error == "it answers 307, a redirect, which is not followed"
            assert (await bench.deliveries(named))[0].last_error == "its name has no address"
        assert inside.connections == 0


# -- odds and ends


async def test_a_removed_webhook_is_told_nothing_more(bench: Bench) -> None:
    """What was on its way is gone with it, also what is being sent just then."""
    async with receiving(Answering(status=500, after=0.1)) as receiver:
        hook = await bench.hook(receiver.url)
        await bench.tell(times=6)
        worker = bench.deliverer()
        await worker.work()
        await bench.webhooks.remove(ALICE, hook.webhook.id)
        await worker.settle()
        bench.now += 60
        assert await bench.send(worker) == 0
        assert await bench.rows(schema.delivery) == []


async def test_a_secret_that_cannot_be_opened_fails_that_webhook_alone(bench: Bench) -> None:
    """A damaged row is told of, and a new secret mends it."""
    async with receiving() as receiver:
        broken, whole = await bench.hook(receiver.url), await bench.hook(receiver.url)
        async with bench.store.writing(numbered=False) as write:
            c = schema.webhook.c
            await write.connection.execute(
                update(schema.webhook).where(c.id == broken.webhook.id).values(sealed=whole.webhook.sealed)
            )
        await bench.tell()
        assert await bench.send() == 2
        assert len(receiver.got) == 1
        (delivery,) = await bench.deliveries(broken)
        assert (delivery.state, delivery.last_error) == (PENDING, "its secret cannot be read; refresh it")
        await bench.webhooks.change(ALICE, broken.webhook.id, lambda terms: terms, refresh_secret=True)
        bench.now += 5
        assert await bench.send() == 1


async def test_secrets_are_sealed_and_shown_to_nobody(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """Not in the database, nor in a log or what is printed of objects."""
    async with receiving(FAILING) as receiver:
        hook = await bench.hook(receiver.url)
        await bench.tell()
        await bench.send()
        secret = hook.secret.reveal()
        kept = [*await bench.rows(schema.webhook), *await bench.rows(schema.delivery), *await bench.rows(schema.event)]
        assert secret not in repr(kept)
        assert base64.b64decode(secret) not in b"".join(v for row in kept for v in row.values() if isinstance(v, bytes))
        assert secret not in repr(hook)
        assert secret not in caplog.text
        assert hashlib.sha256(secret.encode()).hexdigest() not in repr(kept)


async def test_an_account_has_so_many_webhooks_at_most(bench: Bench) -> None:
    """Others are not concerned."""
    for _ in range(MOST_WEBHOOKS):
        await bench.hook("https://hooks.example.com/")
    with pytest.raises(Conflict):
        await bench.hook("https://hooks.example.com/")
    await bench.hook("https://hooks.example.com/", account=BOB)


@pytest.mark.parametrize("kind", WebhookKind)
async def test_a_sample_goes_to_those_that_ask_for_it(bench: Bench, kind: WebhookKind) -> None:
    """To all of them that are not suspended; with a name, filters apply."""
    async with receiving() as receiver:
        plain = await bench.hook(receiver.url, kinds=(kind,))
        filtered = await bench.hook(receiver.url, kinds=(kind,), matching="cam.*")
        await bench.hook(receiver.url, *OWN_EVENTS, kinds=tuple(set(WebhookKind) - {kind}))
        await bench.webhooks.send_sample(ALICE, kind, None)
        assert await bench.send() == 2
        name = {"stream": None, "transcoder": "show"} if kind is WebhookKind.TRANSCODER else {"stream": "show"}
        await bench.webhooks.send_sample(ALICE, kind, **name)
        assert await bench.send() == 1
        got = receiver.got[-1]
        assert_signed(got, plain.secret.reveal(), bench.now)
        if kind is WebhookKind.THUMBNAIL:
            assert got.body.startswith(b"\xff\xd8")
            assert got.headers["x-millicast-stream-id"] == "alice/show"
        else:
            body: dict[str, Any] = json.loads(got.body)
            assert set(body) == {"type", "event", "timestamp", "data"}
            assert "show" in body["data"].values()
        async with bench.store.writing(numbered=False) as write:
            c = schema.webhook.c
            await write.connection.execute(
                update(schema.webhook).where(c.id == plain.webhook.id).values(disabled_until=bench.now + 10)
            )
        with pytest.raises(InvalidInput):
            await bench.webhooks.send_sample(ALICE, kind, **name)
        with pytest.raises(InvalidInput):
            await bench.webhooks.send_sample(BOB, kind, None)
        await bench.webhooks.remove(ALICE, WebhookId(filtered.webhook.id))
        with pytest.raises(InvalidInput):
            await bench.webhooks.send_sample(ALICE, kind, None)
