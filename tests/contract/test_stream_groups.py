# ruff: noqa: D103
"""Groups of streams: the port on SQLite and PostgreSQL, and the API through the whole application."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from stagedoor.config import Settings
from stagedoor.model.errors import Conflict, InvalidInput, NotFound
from stagedoor.model.group import StreamGroup
from stagedoor.model.ids import AccountId
from stagedoor.service.group_ports import GroupStore
from stagedoor.store.sql import SqlStore
from tests.contract.test_store import ALICE, AT, BOB, SQL_BACKENDS, Bench, place_of, populated
from tests.whole import Json, Whole, whole

PATH = "/v1/stream-groups"


# -- the port


@pytest.fixture(params=SQL_BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def place(backend: str, request: pytest.FixtureRequest, settings: Settings) -> Settings:
    return place_of(backend, request, settings)


@pytest.fixture
async def bench(backend: str, place: Settings) -> AsyncIterator[Bench]:
    async with populated(backend, place) as bench:
        yield bench


@pytest.fixture
def groups(bench: Bench) -> GroupStore:
    assert isinstance(bench.store, SqlStore)
    return bench.store.groups


def group(id_: str, *streams: str, account: AccountId = ALICE, label: str = "label") -> StreamGroup:
    return StreamGroup(account=account, id=id_, label=label, streams=streams, added_on=AT)


async def test_what_is_kept_is_read_and_listed_in_the_order_of_ids(groups: GroupStore) -> None:
    for id_ in ("b", "C", "a", "1"):
        await groups.add(group(id_, "cam", "two"))
    assert await groups.read(ALICE, "a") == group("a", "cam", "two")
    # By code points on both databases: upper case before lower.
    assert [each.id for each in await groups.list(ALICE, "", 10)] == ["1", "C", "a", "b"]
    assert [each.id for each in await groups.list(ALICE, "1", 2)] == ["C", "a"]
    assert list(await groups.list(ALICE, "b", 10)) == []
    assert (await groups.list(ALICE, "a", 1))[0].streams == ("cam", "two")


async def test_streams_are_told_apart_by_case_and_kept_in_the_order_of_their_names(groups: GroupStore) -> None:
    await groups.add(group("a", "Cam", "cam", "a/b"))
    assert (await groups.read(ALICE, "a")).streams == ("Cam", "a/b", "cam")


async def test_an_id_is_taken_once_in_an_account_and_may_be_anothers_too(groups: GroupStore, bench: Bench) -> None:
    await groups.add(group("a", "cam"))
    start = await bench.store.revision()
    with pytest.raises(Conflict):
        await groups.add(group("a", "two"))
    assert await bench.store.revision() == start
    await groups.add(group("a", "his", account=BOB))
    assert (await groups.read(ALICE, "a")).streams == ("cam",)
    assert (await groups.read(BOB, "a")).streams == ("his",)


async def test_a_change_is_whole_or_not_at_all(groups: GroupStore, bench: Bench) -> None:
    await groups.add(group("a", "cam"))
    changed = await groups.change(ALICE, "a", lambda old: replace(old, label="new", streams=("one", "two")))
    assert changed == await groups.read(ALICE, "a") == group("a", "one", "two", label="new")
    start = await bench.store.revision()

    def refuses(_: StreamGroup) -> StreamGroup:
        raise InvalidInput("no", field="streams")

    with pytest.raises(InvalidInput):
        await groups.change(ALICE, "a", refuses)
    assert await groups.read(ALICE, "a") == changed
    assert await bench.store.revision() == start


async def test_other_accounts_see_and_change_nothing(groups: GroupStore) -> None:
    await groups.add(group("a", "cam"))
    assert list(await groups.list(BOB, "", 10)) == []
    for attempt in (
        groups.read(BOB, "a"),
        groups.change(BOB, "a", lambda old: replace(old, streams=())),
        groups.remove(BOB, "a"),
    ):
        with pytest.raises(NotFound):
            await attempt
    assert await groups.read(ALICE, "a") == group("a", "cam")


async def test_one_that_is_removed_is_gone_with_its_streams(groups: GroupStore) -> None:
    await groups.add(group("a", "cam"))
    await groups.add(group("b", "cam"))
    await groups.remove(ALICE, "a")
    for attempt in (groups.read(ALICE, "a"), groups.remove(ALICE, "a")):
        with pytest.raises(NotFound):
            await attempt
    await groups.add(group("a"))
    assert (await groups.read(ALICE, "a")).streams == ()
    assert (await groups.read(ALICE, "b")).streams == ("cam",)


async def test_each_write_is_announced_once(groups: GroupStore, bench: Bench) -> None:
    """Before it returns, so that no worker decides by what was."""
    await groups.add(group("a", "cam"))
    await groups.change(ALICE, "a", lambda old: replace(old, streams=("two",)))
    await groups.remove(ALICE, "a")
    announced = [revision for revision, _ in bench.heard.revisions]
    assert announced == [bench.start + 1, bench.start + 2, bench.start + 3]
    assert all(announced <= seen for announced, seen in bench.heard.revisions)


async def test_many_streams_in_one_group(groups: GroupStore) -> None:
    names = tuple(sorted(f"stream-{n}" for n in range(1000)))
    await groups.add(group("a", *names))
    assert (await groups.read(ALICE, "a")).streams == names


# -- the API


@pytest.fixture
async def system(settings: Settings) -> AsyncIterator[Whole]:
    async with whole(settings) as system:
        yield system


async def create(system: Whole, *, status: int = 201, **body: Any) -> Json:
    answer: Json = await system.ask("POST", PATH, {"label": "made"} | body, status=status)
    return answer


async def test_make_read_change_and_delete(system: Whole) -> None:
    made = await create(system, id="stage", label="Stage", streams=["two", "cam", "two"])
    assert set(made) == {"id", "label", "streams", "addedOn"}
    assert (made["id"], made["label"], made["streams"]) == ("stage", "Stage", ["cam", "two"])
    path = f"{PATH}/stage"
    assert await system.ask("GET", path, worker=1) == made
    body = {"addStreams": ["new", "cam"], "removeStreams": ["cam", "two", "never there"]}
    changed = await system.ask("PATCH", path, body)
    assert changed == made | {"streams": ["cam", "new"]}
    assert await system.ask("PATCH", path, {"label": "Other"}) == changed | {"label": "Other"}
    assert await system.ask("PATCH", path, {}) == changed | {"label": "Other"}
    assert await system.ask("DELETE", path) is True
    for method, change in (("GET", None), ("PATCH", {}), ("DELETE", None)):
        problem = await system.ask(method, path, change, status=404)
        assert problem["field"] == "groupId"


async def test_one_without_an_id_gets_one_and_a_taken_one_is_a_conflict(system: Whole) -> None:
    first, second = await create(system), await create(system)
    assert first["id"] != second["id"]
    assert first["streams"] == []
    assert (await create(system, id=first["id"], status=409))["field"] == "id"
    assert len((await system.ask("GET", PATH))["groups"]) == 2


async def test_pages_have_each_group_once(system: Whole) -> None:
    for n in range(5):
        await create(system, id=f"g{n}", streams=[f"s{n}"])
    seen: list[str] = []
    query = "limit=2"
    for _ in range(3):
        page = await system.ask("GET", f"{PATH}?{query}")
        seen += [group["id"] for group in page["groups"]]
        query = f"limit=2&after={page.get('next', '')}"
    assert seen == ["g0", "g1", "g2", "g3", "g4"]
    assert "next" not in page
    whole_page = await system.ask("GET", f"{PATH}?limit=5")
    assert (len(whole_page["groups"]), "next" in whole_page) == (5, False)
    assert whole_page["groups"][3]["streams"] == ["s3"]
    for query in ("limit=0", "limit=101", "limit=x"):
        assert (await system.ask("GET", f"{PATH}?{query}", status=400))["field"] == "limit"


@pytest.mark.parametrize(
    ("field", "body"),
    [
        ("label", {"label": ""}),
        ("label", {"label": "x" * 129}),
        ("label", {"label": "a\0b"}),
        ("id", {"id": ""}),
        ("id", {"id": "x" * 65}),
        ("id", {"id": "a/b"}),
        ("id", {"id": "a\n"}),
        ("stream", {"streams": ["a*"]}),
        ("stream", {"streams": [""]}),
        ("stream", {"streams": ["x" * 129]}),
        ("streams", {"streams": [f"s{n}" for n in range(1001)]}),
        ("streams", {"streams": "cam"}),
    ],
)
async def test_what_cannot_be_right_is_refused_with_nothing_made(system: Whole, field: str, body: Json) -> None:
    problem = await create(system, status=400, **body)
    assert field in problem["field"], problem
    assert await system.ask("GET", PATH) == {"groups": []}


async def test_a_group_has_a_thousand_streams_and_not_one_more(system: Whole) -> None:
    made = await create(system, streams=[f"s{n}" for n in range(1000)])
    problem = await system.ask("PATCH", f"{PATH}/{made['id']}", {"addStreams": ["more"]}, status=400)
    assert problem["field"] == "streams"
    assert await system.ask("GET", f"{PATH}/{made['id']}") == made
    await system.ask("PATCH", f"{PATH}/{made['id']}", {"addStreams": ["more"], "removeStreams": ["s0"]})


async def test_other_accounts_and_other_scopes_see_nothing(system: Whole) -> None:
    made = await create(system, streams=["cam"])
    path = f"{PATH}/{made['id']}"
    for method, body in (("GET", None), ("PATCH", {"addStreams": ["x"]}), ("DELETE", None)):
        await system.ask(method, path, body, status=404, bearer=system.bob_secret)
    assert await system.ask("GET", PATH, bearer=system.bob_secret) == {"groups": []}
    reads = await system.application("live:stream_group:read")
    assert await system.ask("GET", path, bearer=reads) == made
    for method, body in (("PATCH", {"addStreams": ["x"]}), ("DELETE", None)):
        await system.ask(method, path, body, status=403, bearer=reads)
    token = {"groups": [made["id"]]}
    await system.ask("POST", "/v1/playback-tokens", token, status=404, bearer=system.bob_secret)
    assert await system.ask("GET", path) == made


@pytest.mark.parametrize("path", ["%2e%2e", "a%00b", "x" * 65, "'%20OR%201=1"])
async def test_an_id_that_cannot_be_is_not_there(system: Whole, path: str) -> None:
    assert (await system.call("GET", f"{PATH}/{path}")).status_code == 404


async def test_a_token_of_streams_and_groups_is_good_for_both_on_every_worker_at_once(system: Whole) -> None:
    await system.secured()
    one, two = await create(system, streams=["a"]), await create(system, streams=["b"])
    body = {"streams": ["own"], "groups": [one["id"], two["id"]], "form": "short"}
    text = (await system.ask("POST", "/v1/playback-tokens", body, status=201))["token"]

    async def told() -> list[str]:
        return [stream for stream in ("own", "a", "b", "c") if await system.everywhere(text, stream) == "ok"]

    assert await told() == ["own", "a", "b"]
    await system.ask("PATCH", f"{PATH}/{one['id']}", {"removeStreams": ["a"], "addStreams": ["c"]})
    assert await told() == ["own", "b", "c"]
    await system.ask("DELETE", f"{PATH}/{two['id']}", worker=1)
    assert await told() == ["own", "c"]
    # A group that is made anew under an old id is another one's to fill, and the token names it.
    await create(system, id=two["id"], streams=["b"])
    assert await told() == ["own", "b", "c"]
