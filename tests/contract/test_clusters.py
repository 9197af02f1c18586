# ruff: noqa: D103
"""Clusters: kept by SQLite and PostgreSQL alike, and what the operator may make of them."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import fields, replace
from typing import Any

import pytest
from sqlalchemy import insert, update
from sqlalchemy.ext.asyncio import AsyncEngine

from stagedoor.config import Settings
from stagedoor.model.account import AccountPolicy
from stagedoor.model.cluster import Cluster, Place
from stagedoor.model.errors import Conflict, InvalidInput, NotFound
from stagedoor.model.ids import AccountId
from stagedoor.service.clusters import Clusters, check_cluster, require_cluster
from stagedoor.service.places import Places
from stagedoor.service.ports import NewAccount
from stagedoor.store import schema
from stagedoor.store.countries import CountryFile
from stagedoor.store.postgres import postgres_engines
from stagedoor.store.sql import SqlStore
from stagedoor.store.sqlite import sqlite_engines

AT = 1_700_000_000
ALICE = AccountId("alice")
FULL = Cluster(
    id="ams-1",
    name="Amsterdam",
    rtmp="rtmp.ams.example.com",
    srt="srt.ams.example.com:10080",
    city="Amsterdam",
    region="North Holland",
    country="NL",
    place=Place(52.37, 4.9),
    transcoding=True,
    added_on=AT,
)
BARE = Cluster(id="lab", name="Lab", added_on=AT)


async def _announce(_revision: int) -> None:
    pass


@pytest.fixture(params=["sqlite", "postgres"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def engines(backend: str, request: pytest.FixtureRequest, settings: Settings) -> tuple[AsyncEngine, AsyncEngine]:
    if backend == "sqlite":
        return sqlite_engines(settings.database_file)
    return postgres_engines(request.getfixturevalue("postgres_database"))


@pytest.fixture
async def store(engines: tuple[AsyncEngine, AsyncEngine]) -> AsyncIterator[SqlStore]:
    """A store with one account."""
    reader, writer = engines
    store = SqlStore(reader=reader, writer=writer, announce=_announce)
    new = NewAccount(
        id=ALICE, admin_email="a@example.com", admin_password_hash="", api_secret_digest=b"alice", added_on=AT
    )
    await store.add_first_account(new)
    yield store
    await store.close()


@pytest.fixture
def clusters(store: SqlStore, settings: Settings) -> Clusters:
    """The use case on the store, without a file of countries."""
    places = Places(addresses=CountryFile(settings.countries))
    return Clusters(store=store.clusters, places=places, clock=lambda: AT + 0.9, host="tokens.example.com")


async def _engine(store: SqlStore, name: str, cluster: str) -> None:
    row: dict[str, Any] = {"id": name, "kind": "mediamtx", "name": name, "account_id": "", "added_on": AT}
    async with store._writing() as write:
        await write.connection.execute(
            insert(schema.engine).values(row | {"secret_digest": name.encode(), "cluster_id": cluster})
        )


# -- what is kept


async def test_clusters_come_back_as_they_were_added_by_id(clusters: Clusters) -> None:
    assert await clusters.add(BARE) == BARE
    assert await clusters.add(replace(FULL, added_on=5)) == FULL
    upper = await clusters.add(replace(BARE, id="LAB"))
    assert list(await clusters.list()) == [upper, FULL, BARE]
    assert list(await clusters.names()) == ["LAB", "ams-1", "lab"]


async def test_an_id_is_given_once(clusters: Clusters) -> None:
    results = await asyncio.gather(
        *(clusters.add(replace(FULL, name=f"Number {n}")) for n in range(5)), return_exceptions=True
    )
    assert sum(isinstance(result, Conflict) for result in results) == 4
    assert len(await clusters.list()) == 1


@pytest.mark.parametrize("name", [f.name for f in fields(Cluster) if f.name not in ("id", "added_on")])
async def test_all_but_the_id_can_be_changed(clusters: Clusters, name: str) -> None:
    await clusters.add(FULL)
    await clusters.add(replace(BARE, name="Other"))
    given: dict[str, Any] = {name: getattr(BARE, name)}
    wanted = replace(FULL, **given)
    assert await clusters.change("ams-1", lambda cluster: replace(cluster, id="x", added_on=1, **given)) == wanted
    assert list(await clusters.list()) == [wanted, replace(BARE, name="Other")]


async def test_a_change_that_cannot_be_right_changes_nothing(clusters: Clusters) -> None:
    await clusters.add(FULL)
    with pytest.raises(InvalidInput):
        await clusters.change("ams-1", lambda cluster: replace(cluster, name=""))
    assert list(await clusters.list()) == [FULL]
    with pytest.raises(NotFound):
        await clusters.change("ams-2", lambda cluster: cluster)


async def test_a_cluster_that_is_gone_is_not_found(clusters: Clusters) -> None:
    await clusters.add(FULL)
    await clusters.remove("ams-1")
    assert list(await clusters.list()) == []
    with pytest.raises(NotFound, match="ams-1"):
        await clusters.remove("ams-1")


async def test_a_cluster_with_engines_stays(store: SqlStore, clusters: Clusters) -> None:
    """The engines are named, so that the operator knows what to take out."""
    await clusters.add(FULL)
    await clusters.add(BARE)
    for name, cluster in (("two", "ams-1"), ("one", "ams-1"), ("other", "")):
        await _engine(store, name, cluster)
    with pytest.raises(Conflict, match="holds one, two;"):
        await clusters.remove("ams-1")
    await clusters.remove("lab")
    async with store._writing() as write:
        await write.connection.execute(update(schema.engine).values(cluster_id=""))
    await clusters.remove("ams-1")


async def test_the_default_of_an_account_stays(store: SqlStore, clusters: Clusters) -> None:
    await clusters.add(FULL)
    await store.change_account(ALICE, lambda policy: replace(policy, origin_cluster="ams-1"))
    with pytest.raises(Conflict, match="default of alice"):
        await clusters.remove("ams-1")
    await store.change_account(ALICE, lambda _: AccountPolicy())
    await clusters.remove("ams-1")


# -- what cannot be right


WRONG: list[tuple[str, Any]] = [
    ("id", ""),
    ("id", "auto"),
    ("id", "Auto"),
    ("id", "all"),
    ("id", "-1"),
    ("id", "a b"),
    ("id", "a\n"),
    ("id", "a" * 65),
    ("name", ""),
    ("name", "a" * 129),
    ("name", "a\0"),
    ("city", "a" * 129),
    ("city", "a\n"),
    ("region", "a" * 129),
    ("rtmp", "rtmp://example.com"),
    ("rtmp", "example.com/live"),
    ("rtmp", "user@example.com"),
    ("srt", "example.com:port"),
    ("srt", "2001:db8::1"),
    ("srt", "a" * 300),
    ("country", "nl"),
    ("country", "ZZ"),
    ("country", "Netherlands"),
    ("place", Place(90.1, 0)),
    ("place", Place(0, -180.1)),
    ("place", Place(float("nan"), 0)),
    ("place", Place(0, float("inf"))),
]


@pytest.mark.parametrize("backend", ["sqlite"])
@pytest.mark.parametrize(("name", "value"), WRONG)
async def test_what_cannot_be_right_is_refused_by_its_name(clusters: Clusters, name: str, value: Any) -> None:
    given: dict[str, Any] = {name: value}
    with pytest.raises(InvalidInput) as caught:
        await clusters.add(replace(FULL, **given))
    assert caught.value.field in {name, "latitude", "longitude"}
    assert list(await clusters.list()) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("id", "a" * 64),
        ("id", "EU_west.1-a"),
        ("name", "Zürich"),
        ("rtmp", "[2001:db8::1]:1935"),
        ("srt", "192.0.2.1:1"),
        ("place", Place(90, -180)),
        ("place", Place(-90, 180)),
        ("place", Place(0, 0)),
    ],
)
async def test_what_can_be_right_is_taken(clusters: Clusters, name: str, value: Any) -> None:
    given: dict[str, Any] = {name: value}
    await clusters.add(replace(FULL, **given))
    assert [getattr(cluster, name) for cluster in await clusters.list()] == [value]


def test_a_token_names_a_cluster_that_is_there() -> None:
    """Where none are configured, any name goes; the refusal names those that there are."""
    for known, name in ((["ams-1"], "ams-1"), (["ams-1"], "auto"), ([], "phx-1"), ([], "auto")):
        check_cluster(known, name)
    with pytest.raises(InvalidInput, match=r"no cluster 'phx-1'; there are: auto, ams-1, waw-1$") as caught:
        check_cluster(["waw-1", "ams-1"], "phx-1")
    assert caught.value.field == "originCluster"
    with pytest.raises(InvalidInput, match=r"there are: auto$") as caught:
        require_cluster([], "phx-1", "defaultCluster")
    assert caught.value.field == "defaultCluster"
    with pytest.raises(InvalidInput, match=r"c19, \.\.\.$"):
        check_cluster([f"c{n:02}" for n in range(40)], "phx-1")
