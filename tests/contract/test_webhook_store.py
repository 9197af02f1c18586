"""The ports of webhooks, on SQLite and PostgreSQL: what two workers at once may rely on, and how lists are cut."""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import update

from stagedoor.model.errors import InvalidInput, NotFound
from stagedoor.model.events import Event, EventType
from stagedoor.model.webhook import (
    HEALTHY,
    Delivery,
    DeliveryState,
    Health,
    Webhook,
    WebhookId,
    WebhookKind,
    WebhookTerms,
)
from stagedoor.service.dispatch import messages_for
from stagedoor.service.webhook_ports import Claimed, DeliveryPage, NewWebhook, Outcome, WebhookPage
from stagedoor.store import schema
from stagedoor.store.migrate import migrate_sqlite
from tests.webhook_bench import ALICE, AT, BOB, Bench, copy_of, opened

PENDING, SENDING, DELIVERED, DEAD = DeliveryState
EVERYTHING = DeliveryPage(None, None, 1000)


@pytest.fixture(scope="module")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database file; never written to."""
    file = tmp_path_factory.mktemp("blank") / "stagedoor.db"
    migrate_sqlite(file)
    return file


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, blank: Path, tmp_path: Path) -> Path | str:
    """A new database of each kind."""
    return copy_of(blank, tmp_path) if request.param == "sqlite" else str(request.getfixturevalue("postgres_database"))


@pytest.fixture
async def bench(place: Path | str) -> AsyncIterator[Bench]:
    """The ports on each database."""
    async with opened(place) as made:
        yield made


async def added(bench: Bench, *, account: object = ALICE, events: tuple[str, ...] = ("token.created",)) -> Webhook:
    """Keep a webhook."""
    terms = WebhookTerms(url="https://a.example/", kinds=frozenset({WebhookKind.FEEDS}), events=events, filter="a.*")
    new = NewWebhook(account=account, terms=terms, seal=lambda id_: f"sealed {id_}".encode(), added_on=7)  # type: ignore[arg-type]
    return await bench.store.webhooks.add_webhook(new, 1000)


async def happened(bench: Bench, times: int = 1, account: object = ALICE) -> None:
    """Let feeds start, without dispatching that."""
    async with bench.store.writing(numbered=False) as write:
        for _ in range(times):
            write.tells(Event(account, EventType.FEED_STARTED, bench.now, "a"))  # type: ignore[arg-type]


async def dispatched(bench: Bench, times: int = 1) -> None:
    """Let feeds start, and dispatch that."""
    await happened(bench, times)
    assert await bench.store.deliveries.dispatch(1000, bench.now, messages_for) == times


async def claim(bench: Bench, most: int = 100, at_once: int = 100) -> Sequence[Claimed]:
    """Claim what is due, for ten seconds."""
    return await bench.store.deliveries.claim(bench.now, bench.now + 10, most, at_once)


def outcome(claimed: Claimed, at: float, error: str = "", state: DeliveryState | None = None) -> Outcome:
    """Make an outcome: a failure is tried again in a minute."""
    ended = state or (PENDING if error else DELIVERED)
    return Outcome(claimed, at, ended, at + 60, 500 if error else 200, error)


async def all_of(bench: Bench, webhook: Webhook) -> Sequence[Delivery]:
    """Return the deliveries of a webhook, newest first."""
    return await bench.store.deliveries.deliveries(webhook.account, webhook.id, EVERYTHING)


async def test_a_webhook_is_read_as_it_was_kept(bench: Bench) -> None:
    """With its terms, sealed for its id, healthy; and by its own account only."""
    webhook = await added(bench)
    assert webhook.sealed == f"sealed {webhook.id}".encode()
    assert webhook.health == HEALTHY
    assert await bench.store.webhooks.webhook(ALICE, webhook.id) == webhook
    for account, id_ in [(BOB, webhook.id), (ALICE, 0), (ALICE, -1), (ALICE, 2**63), (ALICE, webhook.id + 1)]:
        with pytest.raises(NotFound):
            await bench.store.webhooks.webhook(account, WebhookId(id_))


async def test_a_list_is_cut_by_id_in_both_directions(bench: Bench) -> None:
    """The id it starts from is the first of it; nobody else's are in it."""
    mine = [await added(bench) for _ in range(5)]
    other = await added(bench, account=BOB)
    mine.append(await added(bench))

    async def ids(start: int | None, size: int, *, descending: bool) -> list[int]:
        page = WebhookPage(start, size, descending)
        return [webhook.id for webhook in await bench.store.webhooks.webhooks(ALICE, page)]

    known = [webhook.id for webhook in mine]
    assert await ids(None, 100, descending=False) == known
    assert await ids(None, 100, descending=True) == known[::-1]
    assert await ids(known[2], 2, descending=False) == known[2:4]
    assert await ids(known[2], 2, descending=True) == [known[2], known[1]]
    assert await ids(other.id, 2, descending=False) == [known[5]]
    assert await ids(other.id, 1, descending=True) == [known[4]]
    assert await ids(2**70, 1, descending=True) == [known[5]]
    assert await ids(2**70, 1, descending=False) == []


async def test_a_change_is_whole_or_not_at_all(bench: Bench) -> None:
    """What `change` raises leaves everything as it was."""
    webhook = await added(bench)

    def refuse(_: Webhook) -> Webhook:
        raise InvalidInput("no")

    with pytest.raises(InvalidInput):
        await bench.store.webhooks.change_webhook(ALICE, webhook.id, refuse, AT)
    ill = Health(3, AT - 5, AT + 5, "it answers 500")
    changed = await bench.store.webhooks.change_webhook(
        ALICE, webhook.id, lambda one: replace(one, sealed=b"new", health=ill), AT
    )
    assert (
        await bench.store.webhooks.webhook(ALICE, webhook.id) == changed == replace(webhook, sealed=b"new", health=ill)
    )
    with pytest.raises(NotFound):
        await bench.store.webhooks.change_webhook(BOB, webhook.id, lambda one: one, AT)


async def test_what_waits_is_due_when_a_webhook_is_healthy_again(bench: Bench) -> None:
    """And only then, and only of that webhook."""
    webhook, other = await added(bench), await added(bench)
    await dispatched(bench)
    await bench.store.deliveries.finish([outcome(one, bench.now, "no") for one in await claim(bench)])
    assert [d.due_at for one in (webhook, other) for d in await all_of(bench, one)] == [AT + 60] * 2
    bench.now += 1
    await bench.store.webhooks.change_webhook(ALICE, webhook.id, lambda one: replace(one, sealed=b"x"), bench.now)
    assert await claim(bench) == ()
    await bench.store.webhooks.change_webhook(ALICE, webhook.id, lambda one: replace(one, health=HEALTHY), bench.now)
    assert [one.webhook.id for one in await claim(bench)] == [webhook.id]


async def test_events_of_accounts_without_webhooks_are_not_kept(bench: Bench) -> None:
    """Nobody asked."""
    await added(bench)
    await happened(bench, account=BOB)
    assert await bench.rows(schema.event) == []


async def test_rivals_dispatch_each_event_once(bench: Bench) -> None:
    """However many look at once, and in whatever batches."""
    webhook = await added(bench)
    await happened(bench, 60)

    async def dispatch() -> int:
        done = 0
        while part := await bench.store.deliveries.dispatch(7, bench.now, messages_for):
            done += part
            await asyncio.sleep(0)
        return done

    done = await asyncio.gather(*(dispatch() for _ in range(4)))
    done.append(await bench.store.deliveries.dispatch(100, bench.now, messages_for))
    assert sum(done) == 60
    assert len(await all_of(bench, webhook)) == 60


async def test_rivals_claim_each_delivery_once(bench: Bench) -> None:
    """However many claim at once; none is left over, and each is somebody's until its claim is lost."""
    for _ in range(3):
        await added(bench)
    await dispatched(bench, 20)
    claimed = [one for part in await asyncio.gather(*(claim(bench) for _ in range(4))) for one in part]
    while part := await claim(bench):
        claimed += part
    assert len(claimed) == len({one.delivery.id for one in claimed}) == 60
    assert all(one.delivery.state is SENDING and one.delivery.attempts == 1 for one in claimed)
    assert all(one.delivery.webhook == one.webhook.id for one in claimed)
    bench.now += 9.9
    assert await bench.store.deliveries.bury(bench.now) == 0
    assert await claim(bench) == ()
    bench.now += 0.1
    await bench.store.deliveries.bury(bench.now)
    again = await claim(bench)
    assert {one.delivery.id for one in again} == {one.delivery.id for one in claimed}
    assert {one.delivery.attempts for one in again} == {2}


async def test_what_is_claimed_is_bounded_and_fair(bench: Bench) -> None:
    """In all and for each webhook, also over several claims; who has waited longest goes first."""
    many, few = await added(bench), await added(bench)
    await dispatched(bench, 10)
    async with bench.store.writing(numbered=False) as write:
        d = schema.delivery.c
        await write.connection.execute(update(schema.delivery).where(d.webhook_id == few.id).values(due_at=AT - 1))
    assert [one.webhook.id for one in await claim(bench, 2, 4)] == [few.id] * 2
    assert [one.webhook.id for one in await claim(bench, 100, 4)] == [few.id] * 2 + [many.id] * 4
    assert await claim(bench, 100, 4) == ()
    async with bench.store.writing(numbered=False) as write:
        await write.connection.execute(update(schema.webhook).values(failures=1))
    assert await claim(bench, 100, 4) == ()
    assert len(await claim(bench, 100, 5)) == 0


async def test_one_that_failed_last_is_claimed_one_at_a_time(bench: Bench) -> None:
    """Until it answers again; a suspended one is left alone until the instant at which that ends."""
    webhook = await added(bench)
    await dispatched(bench, 5)
    (first,) = await claim(bench, 1)
    await bench.store.deliveries.finish([outcome(first, bench.now, "it answers 500")])
    (second,) = await claim(bench)
    assert await claim(bench) == ()
    await bench.store.deliveries.finish([outcome(second, bench.now)])
    assert len(await claim(bench)) == 3
    suspended = Health(20, AT, bench.now + 5, "it answers 500")
    await bench.store.webhooks.change_webhook(ALICE, webhook.id, lambda one: replace(one, health=suspended), bench.now)
    await dispatched(bench)
    async with bench.store.writing(numbered=False) as write:
        d = schema.delivery.c
        await write.connection.execute(update(schema.delivery).where(d.state == SENDING).values(state=DELIVERED))
    bench.now += 4.9
    assert await claim(bench) == ()
    bench.now += 0.1
    assert len(await claim(bench)) == 1


async def test_outcomes_are_folded_into_the_health_in_their_order(bench: Bench) -> None:
    """Several of one webhook in one go; what an older address did is not held against a newer one."""
    webhook, other = await added(bench), await added(bench)
    await dispatched(bench, 3)
    claimed = await claim(bench)
    mine = [one for one in claimed if one.webhook.id == webhook.id]
    await bench.store.deliveries.finish(
        [outcome(mine[0], AT + 3, "b"), outcome(mine[1], AT + 1, "a"), outcome(mine[2], AT + 2)]
    )
    assert (await bench.store.webhooks.webhook(ALICE, webhook.id)).health == Health(1, AT + 3, None, "")
    assert (await bench.store.webhooks.webhook(ALICE, other.id)).health == HEALTHY
    moved = await bench.store.webhooks.change_webhook(
        ALICE, other.id, lambda one: replace(one, terms=replace(one.terms, url="https://b.example/")), AT
    )
    theirs = [one for one in claimed if one.webhook.id == other.id]
    await bench.store.deliveries.finish([outcome(one, AT + 4, "late") for one in theirs])
    assert (await bench.store.webhooks.webhook(ALICE, other.id)).health == moved.health == HEALTHY
    assert {d.state for d in await all_of(bench, other)} == {PENDING}


async def test_texts_are_cut_to_their_columns(bench: Bench) -> None:
    """However long an error is."""
    webhook = await added(bench)
    await dispatched(bench)
    (one,) = await claim(bench)
    async with bench.store.writing(numbered=False) as write:
        await write.connection.execute(update(schema.webhook).values(failures=100, failing_since=AT - 10_000))
    await bench.store.deliveries.finish([outcome(one, AT, "x" * 1000, DEAD)])
    assert (await all_of(bench, webhook))[0].last_error == "x" * 256
    assert len((await bench.store.webhooks.webhook(ALICE, webhook.id)).health.reason) == 128


async def test_deliveries_are_listed_newest_first_by_state(bench: Bench) -> None:
    """From an id downwards; bodies are bytes as they were."""
    webhook = await added(bench)
    await dispatched(bench, 6)
    claimed = list(await claim(bench, 4))
    await bench.store.deliveries.finish(
        [outcome(claimed[0], AT), outcome(claimed[1], AT, "no", DEAD), outcome(claimed[2], AT, "no", DEAD)]
    )
    ids = sorted(d.id for d in await all_of(bench, webhook))

    async def listed(state: DeliveryState | None, start: int | None, size: int) -> list[int]:
        page = DeliveryPage(state, start, size)
        return [ids.index(d.id) for d in await bench.store.deliveries.deliveries(ALICE, webhook.id, page)]

    assert await listed(None, None, 10) == [5, 4, 3, 2, 1, 0]
    assert await listed(None, ids[3], 2) == [3, 2]
    assert await listed(DEAD, None, 10) == [2, 1]
    assert await listed(DEAD, ids[1], 10) == [1]
    assert await listed(SENDING, None, 10) == [3]
    assert await listed(PENDING, 2**70, 10) == [5, 4]
    assert await listed(DELIVERED, None, 10) == [0]


async def test_deliveries_of_events_of_no_webhook_are_given_up(bench: Bench) -> None:
    """A delivery whose webhook was removed in the same moment is claimed by nobody, and ends."""
    webhook = await added(bench)
    await dispatched(bench)
    async with bench.store.writing(numbered=False) as write:
        await write.connection.execute(update(schema.delivery).values(webhook_id=webhook.id + 1000))
    assert await claim(bench) == ()
    bench.now += 86400
    assert await bench.store.deliveries.bury(bench.now) == 1
    await bench.store.deliveries.forget_deliveries(AT + 1, AT + 1, AT + 1)
    assert await bench.rows(schema.delivery) == []


async def test_a_claim_costs_the_same_however_much_waits_for_another(bench: Bench) -> None:
    """A webhook with thirty thousand that wait is stepped over, not through."""
    suspended, quick = await added(bench), await added(bench)
    await dispatched(bench)
    ill = Health(20, AT, AT + 1e6, "")
    await bench.store.webhooks.change_webhook(ALICE, suspended.id, lambda one: replace(one, health=ill), AT)
    assert [one.webhook.id for one in await claim(bench)] == [quick.id]
    (row,) = [dict(row) for row in await bench.rows(schema.delivery) if row["webhook_id"] == suspended.id]
    del row["id"]
    async with bench.store.writing(numbered=False) as write:
        await write.connection.execute(schema.delivery.insert(), [row] * 30_000)

    async def seconds() -> float:
        began = os.times()
        for _ in range(20):
            assert await claim(bench) == ()
        ended = os.times()
        return (ended.user + ended.system) - (began.user + began.system)

    with_many = min([await seconds() for _ in range(3)])
    await bench.store.webhooks.remove_webhook(ALICE, suspended.id)
    with_none = min([await seconds() for _ in range(3)])
    assert with_many < 5 * with_none + 0.2
