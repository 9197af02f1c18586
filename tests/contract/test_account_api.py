# ruff: noqa: D103
"""Clusters and account settings of the compatible API, held to the vendor's contract."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, Final

import pytest

from stagedoor.app import Administration, administration, media_host
from stagedoor.config import Settings
from stagedoor.edge.api import Api
from stagedoor.edge.millicast.account import account_operations
from stagedoor.edge.millicast.clusters import cluster_operations
from stagedoor.edge.millicast.envelope import Envelopes
from stagedoor.edge.operation import Mount
from stagedoor.model.access import Action
from stagedoor.model.account import AccountPolicy
from stagedoor.model.caveats import Countries
from stagedoor.model.cluster import Cluster, Place
from tests.callers import Caller
from tests.mmdb import write_mmdb
from tests.shapes import Shape

# -- the vendor's schemas (ClustersInfoModel and so on), with the fields that its Python client insists on

CLUSTERS: Final[Shape] = {
    "defaultCluster": str,
    "availableClusters": [
        {
            "id": str,
            "name": str,
            "rtmp": str,
            "srt": str,
            "location": {"city": (None, str), "region": (None, str), "country": (None, str)},
            "features": {"transcoding": bool},
        }
    ],
}
COUNTRIES: Final[Shape] = {"allowedCountries": [str], "deniedCountries": [str]}
CASCADE: Final[Shape] = {"isEnabled": bool, "clusters": [str]}
EXPIRATION: Final[Shape] = {"timelines?": {"days": int}, "recordings?": {"days": int}, "clips?": {"days": int}}

POLAND, OHIO, JAPAN, HOME = "192.0.2.1", "198.51.100.1", "203.0.113.1", "10.0.0.1"
PLACES: Final[dict[str, Any]] = {
    "192.0.2.0/24": {"country": {"iso_code": "PL"}},
    "198.51.100.0/24": {"country": {"iso_code": "US"}, "location": {"latitude": 40.0, "longitude": 83.0}},
    "203.0.113.0/24": {"country": {"iso_code": "JP"}},
}
FRANKFURT = Cluster(
    id="fra-1",
    name="Frankfurt",
    rtmp="rtmp.fra.example.com",
    srt="srt.fra.example.com",
    city="Frankfurt",
    region="Hesse",
    country="DE",
    place=Place(50.11, 8.68),
    transcoding=True,
)
SYDNEY = Cluster(id="syd-1", name="Sydney", rtmp="rtmp.syd.example.com", country="AU", place=Place(-33.87, 151.21))
LAB = Cluster(id="lab", name="Lab")

SECURITY = [("PUT", "/api/v3/account/security"), ("POST", "/api/geo/account")]


@pytest.fixture
async def admin(settings: Settings) -> AsyncIterator[Administration]:
    """A system with a file of countries, reached at tokens.example.com."""
    write_mmdb(settings.countries, PLACES)
    async with administration(replace(settings, public_url="https://tokens.example.com:8443/x/")) as admin:
        yield admin


@pytest.fixture
async def account(admin: Administration) -> Any:
    return await admin.accounts.create_first("op@example.com")


@pytest.fixture
async def api(admin: Administration, account: Any) -> Caller:
    operations = (
        *cluster_operations(admin.clusters, admin.accounts),
        *account_operations(admin.accounts, admin.clusters.names),
    )
    app = Api([Mount("/api", Envelopes(), operations)], authenticate=admin.api_secrets.authenticate)
    return Caller(app, account.api_secret.reveal())


@pytest.fixture
async def clusters(admin: Administration) -> list[Cluster]:
    """Three clusters, by id."""
    return [await admin.clusters.add(cluster) for cluster in (FRANKFURT, LAB, SYDNEY)]


async def policy(admin: Administration, account: Any) -> AccountPolicy:
    return await admin.accounts.policy(account.account)


def auto(found: dict[str, Any]) -> dict[str, Any]:
    first: dict[str, Any] = found["availableClusters"][0]
    assert (first["id"], first["name"]) == ("auto", "Auto")
    return first


# -- clusters


async def test_without_clusters_there_is_auto_alone_at_the_authoritys_own_host(api: Caller) -> None:
    found = await api.data("GET", "/api/cluster", CLUSTERS, address=POLAND)
    assert found == {
        "defaultCluster": "auto",
        "availableClusters": [
            {
                "id": "auto",
                "name": "Auto",
                "rtmp": "tokens.example.com",
                "srt": "tokens.example.com",
                "location": {"city": None, "region": None, "country": None},
                "features": {"transcoding": False},
            }
        ],
    }


@pytest.mark.parametrize(
    ("url", "host"),
    [("http://[::1]:8080", "[::1]"), ("https://a.example", "a.example"), ("http://10.0.0.1:1", "10.0.0.1")],
)
def test_the_host_of_a_url_stands_as_in_others(url: str, host: str) -> None:
    assert media_host(url) == host


@pytest.mark.usefixtures("clusters")
async def test_clusters_are_listed_by_id_after_auto(api: Caller) -> None:
    found = await api.data("GET", "/api/cluster", CLUSTERS)
    assert [cluster["id"] for cluster in found["availableClusters"]] == ["auto", "fra-1", "lab", "syd-1"]
    _, frankfurt, lab, sydney = found["availableClusters"]
    assert frankfurt == {
        "id": "fra-1",
        "name": "Frankfurt",
        "rtmp": "rtmp.fra.example.com",
        "srt": "srt.fra.example.com",
        "location": {"city": "Frankfurt", "region": "Hesse", "country": "Germany"},
        "features": {"transcoding": True},
    }
    assert lab["location"] == {"city": None, "region": None, "country": None}
    assert sydney["location"] == {"city": None, "region": None, "country": "Australia"}
    assert sydney["srt"] == ""


@pytest.mark.usefixtures("clusters")
@pytest.mark.parametrize(
    ("address", "cluster"), [(POLAND, FRANKFURT), (f"::ffff:{POLAND}", FRANKFURT), (JAPAN, SYDNEY), (OHIO, FRANKFURT)]
)
async def test_auto_is_the_cluster_nearest_to_the_caller(api: Caller, address: str, cluster: Cluster) -> None:
    """By the address's coordinates before those of its country: 83 degrees east is not Ohio, and nearer to Frankfurt."""
    found = auto(await api.data("GET", "/api/cluster", CLUSTERS, address=address))
    assert (found["rtmp"], found["srt"]) == (cluster.rtmp, cluster.srt)
    assert found["location"]["country"] == {"fra-1": "Germany", "syd-1": "Australia"}[cluster.id]
    assert found["features"] == {"transcoding": cluster.transcoding}


@pytest.mark.usefixtures("clusters")
async def test_who_is_nowhere_gets_the_accounts_default(api: Caller) -> None:
    """Else the first; a default does not change what is near to those who are somewhere."""
    assert auto(await api.data("GET", "/api/cluster", CLUSTERS, address=HOME))["rtmp"] == FRANKFURT.rtmp
    body = {"defaultCluster": "syd-1"}
    found = await api.data("PUT", "/api/cluster", CLUSTERS, address=HOME, json=body)
    assert found["defaultCluster"] == "syd-1"
    assert auto(found)["rtmp"] == SYDNEY.rtmp
    assert auto(await api.data("GET", "/api/cluster", CLUSTERS, address=POLAND))["rtmp"] == FRANKFURT.rtmp


@pytest.mark.usefixtures("clusters")
async def test_the_default_is_a_cluster_or_auto(api: Caller, admin: Administration, account: Any) -> None:
    for name, kept in (("lab", "lab"), ("auto", ""), ("fra-1", "fra-1")):
        found = await api.data("PUT", "/api/cluster", CLUSTERS, json={"defaultCluster": name})
        assert found == await api.data("GET", "/api/cluster", CLUSTERS)
        assert found["defaultCluster"] == name
        assert (await policy(admin, account)).origin_cluster == kept
    refused = await api.refusal("PUT", "/api/cluster", json={"defaultCluster": "phx-1"})
    assert refused["message"] == "there is no cluster 'phx-1'; there are: auto, fra-1, lab, syd-1"
    assert set(refused) == {"message", "defaultCluster"}
    for body in (
        {},
        {"defaultCluster": ""},
        {"defaultCluster": None},
        {"defaultCluster": 5},
        {"defaultCluster": "FRA-1"},
    ):
        await api.refusal("PUT", "/api/cluster", json=body)
    assert (await policy(admin, account)).origin_cluster == "fra-1"


async def test_without_clusters_the_default_is_auto(api: Caller) -> None:
    assert (await api.refusal("PUT", "/api/cluster", json={"defaultCluster": "phx-1"}))["message"].endswith(": auto")
    await api.data("PUT", "/api/cluster", CLUSTERS, json={"defaultCluster": "auto"})


# -- the account's id and countries


async def test_an_account_is_told_its_id(api: Caller, account: Any) -> None:
    assert await api.data("GET", "/api/v3/account/info", {"accountId": str}) == {"accountId": account.account}


async def test_nobody_is_told_anything_without_an_api_secret(api: Caller) -> None:
    for method, path in (("GET", "/api/v3/account/info"), ("GET", "/api/cluster"), ("PUT", "/api/v3/account/security")):
        answer = await replace(api, api_secret="0" * 64).send(method, path, json={})
        assert (answer.status_code, answer.json()["status"]) == (403, "fail")


@pytest.mark.parametrize(("method", "path"), SECURITY)
@pytest.mark.parametrize(
    ("old", "new"), [("updateAllowedCountries", "updateDeniedCountries"), ("allowedCountries", "deniedCountries")]
)
async def test_countries_are_set_one_list_at_a_time_and_cleared(
    api: Caller, admin: Administration, account: Any, method: str, path: str, old: str, new: str
) -> None:
    """By the names of the schema and by those of the vendor's own example; both ways show the same."""
    assert await api.data("GET", path, COUNTRIES) == {"allowedCountries": [], "deniedCountries": []}
    wanted = {"allowedCountries": ["US", "PL"], "deniedCountries": []}
    assert await api.data(method, path, COUNTRIES, json={old: ["US", "PL", "US"]}) == wanted
    for _, other in SECURITY:
        assert await api.data("GET", other, COUNTRIES) == wanted
    both = (Action.PUBLISH, Action.SUBSCRIBE)
    assert (await policy(admin, account)).countries == Countries(("US", "PL"), (), both)
    refused = await api.refusal(method, path, json={new: ["DE"]})
    assert "not both" in refused["message"]
    assert await api.data(method, path, COUNTRIES, json={old: [], new: ["DE"]}) == {
        "allowedCountries": [],
        "deniedCountries": ["DE"],
    }
    assert await api.data(method, path, COUNTRIES, json={old: None, new: []}) == {
        "allowedCountries": [],
        "deniedCountries": [],
    }
    assert await policy(admin, account) == AccountPolicy()


async def test_what_countries_are_about_stays_as_it_is(api: Caller, admin: Administration, account: Any) -> None:
    countries = Countries(("US",), (), (Action.SUBSCRIBE,))
    await admin.accounts.change(account.account, lambda policy: replace(policy, countries=countries))
    await api.data("PUT", "/api/v3/account/security", COUNTRIES, json={"updateAllowedCountries": ["PL"]})
    assert (await policy(admin, account)).countries == Countries(("PL",), (), (Action.SUBSCRIBE,))


@pytest.mark.parametrize(("method", "path"), SECURITY)
@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"updateAllowedCountries": ["US"], "updateDeniedCountries": ["DE"]}, "deniedCountries"),
        ({"updateAllowedCountries": ["USA"]}, "allowedCountries"),
        ({"deniedCountries": ["UK"]}, "deniedCountries"),
        ({"updateDeniedCountries": ["de"]}, "deniedCountries"),
        ({"updateAllowedCountries": "US"}, "updateAllowedCountries"),
        ({"allowedCountries": [f"{n:03}" for n in range(192)]}, "allowedCountries"),
        ({"alowedCountries": ["US"]}, "account"),
        ({"updateAllowedCountries": None}, "account"),
        ({}, "account"),
    ],
)
async def test_countries_that_cannot_be_right_change_nothing(
    api: Caller, admin: Administration, account: Any, method: str, path: str, body: Any, field: str
) -> None:
    """Also a list that somebody misspelt: a success would have them believe that it is in force."""
    await api.data("PUT", "/api/v3/account/security", COUNTRIES, json={"updateAllowedCountries": ["US"]})
    if "updateDeniedCountries" in body or "deniedCountries" in body:
        body = {"updateAllowedCountries": []} | body
    assert field in await api.refusal(method, path, json=body)
    assert (await policy(admin, account)).countries == Countries(("US",))


async def test_the_longest_list_of_countries_is_taken_and_one_more_is_not(api: Caller) -> None:
    """Less than 768 characters, as `US,PL`: that is more than there are countries, and so only wrong codes get there."""
    for count, message in ((191, "not an ISO"), (192, "not an ISO"), (193, "at most 767 characters")):
        codes = [f"{n:03}" for n in range(count)]
        refused = await api.refusal("PUT", "/api/v3/account/security", json={"updateAllowedCountries": codes})
        assert message in refused["allowedCountries"]


# -- how broadcasts are handed on

CASCADES = [("/api/v3/account/distribution", True), ("/api/account/geo_cascade", False)]


async def cascade(api: Caller, method: str, path: str, *, nested: bool, body: Any = None) -> Any:
    shape = {"geoCascade": CASCADE} if nested else CASCADE
    more = {} if body is None else {"json": {"geoCascade": body} if nested else body}
    found = await api.data(method, path, shape, **more)
    return found["geoCascade"] if nested else found


@pytest.mark.parametrize(("path", "nested"), CASCADES)
@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        (
            {"isEnabled": True, "clusters": ["phx-1", "ams-1", "phx-1"]},
            {"isEnabled": True, "clusters": ["phx-1", "ams-1"]},
        ),
        ({"isenabled": True, "clusters": ["all"]}, {"isEnabled": True, "clusters": ["all"]}),
        ({"isEnabled": True}, {"isEnabled": True, "clusters": ["all"]}),
        ({"isEnabled": True, "clusters": None}, {"isEnabled": True, "clusters": ["all"]}),
        ({"isEnabled": False, "clusters": []}, {"isEnabled": False, "clusters": ["all"]}),
        ({"isEnabled": False, "clusters": ["phx-1"]}, {"isEnabled": False, "clusters": ["phx-1"]}),
    ],
)
async def test_a_cascade_is_kept_and_shown_on_both_ways(
    api: Caller, path: str, nested: bool, asked: Any, shown: Any
) -> None:
    """Unset, it is off and would go to all."""
    assert await cascade(api, "GET", path, nested=nested) == {"isEnabled": False, "clusters": ["all"]}
    assert await cascade(api, "PUT", path, nested=nested, body=asked) == shown
    for other, otherwise in CASCADES:
        assert await cascade(api, "GET", other, nested=otherwise) == shown


@pytest.mark.parametrize(("path", "nested"), CASCADES)
@pytest.mark.parametrize(
    "body",
    [
        {"isEnabled": True, "clusters": []},
        {"clusters": ["all"]},
        {"isEnabled": "yes"},
        {"isEnabled": True, "clusters": "all"},
        {"isEnabled": True, "clusters": [""]},
        {"isEnabled": True, "clusters": ["a" * 65]},
        {},
        5,
    ],
)
async def test_a_cascade_that_cannot_be_right_is_refused(api: Caller, path: str, nested: bool, body: Any) -> None:
    refused = await api.refusal("PUT", path, json={"geoCascade": body} if nested else body)
    if body == {"isEnabled": True, "clusters": []}:
        assert refused["message"] == "Geo cascade Clusters list cannot be empty"
    assert await cascade(api, "GET", path, nested=nested) == {"isEnabled": False, "clusters": ["all"]}


@pytest.mark.usefixtures("clusters")
@pytest.mark.parametrize(("path", "nested"), CASCADES)
async def test_a_cascade_goes_to_clusters_that_there_are(api: Caller, path: str, nested: bool) -> None:
    """As soon as any are configured; one that is off goes nowhere."""
    body = {"isEnabled": True, "clusters": ["fra-1", "phx-1"]}
    refused = await api.refusal("PUT", path, json={"geoCascade": body} if nested else body)
    assert "'phx-1'; there are: auto, fra-1" in refused["clusters"]
    for body in ({"isEnabled": True, "clusters": ["fra-1", "all"]}, {"isEnabled": False, "clusters": ["phx-1"]}):
        assert await cascade(api, "PUT", path, nested=nested, body=body) == body


# -- what was recorded

MEDIA = "/api/v3/account/media/expiration"


async def test_rules_of_expiry_are_set_and_cleared_one_by_one(api: Caller) -> None:
    assert await api.data("GET", MEDIA, EXPIRATION) == {}
    body: Any = {"timelines": {"days": 1}, "recordings": {"days": 365}}
    assert await api.data("PUT", MEDIA, EXPIRATION, json=body) == body
    body = {"recordings": {}, "clips": {"days": 7}, "timelines": None}
    shown = {"timelines": {"days": 1}, "clips": {"days": 7}}
    assert await api.data("PUT", MEDIA, EXPIRATION, json=body) == shown
    assert await api.data("PUT", MEDIA, EXPIRATION, json={"clips": {"days": None}}) == {"timelines": {"days": 1}}
    assert await api.data("GET", MEDIA, EXPIRATION) == {"timelines": {"days": 1}}


@pytest.mark.parametrize("days", [-1, 0, 366, "7", 1.5, True])
async def test_a_rule_of_expiry_is_of_1_to_365_days(api: Caller, days: Any) -> None:
    await api.refusal("PUT", MEDIA, json={"recordings": {"days": days}})
    await api.refusal("PUT", MEDIA, json={"recordings": days})
    assert await api.data("GET", MEDIA, EXPIRATION) == {}


@pytest.mark.parametrize("body", [{}, {"recording": {"days": 5}}, {"clips": None}])
async def test_rules_of_expiry_that_say_nothing_are_refused(api: Caller, body: Any) -> None:
    assert (await api.refusal("PUT", MEDIA, json=body))["message"] == "No properties specified to update."


STORAGE = "/api/v3/account/media/storage"
BUCKET = {"type": "awsS3", "options": {"bucketName": "b", "bucketRegion": "eu-west-1"}}
PROFILE: Final[Shape] = {"id": str, "name": str, "default": bool, "type": str, "options": dict}


@pytest.mark.parametrize("query", ["", "?sort=name&default=true&page=2&limit=100&desc=true", "?sort=Name"])
async def test_there_are_no_storage_profiles(api: Caller, query: str) -> None:
    assert await api.data("GET", STORAGE + query, [PROFILE]) == []


@pytest.mark.parametrize("query", ["sort=size", "page=0", "limit=101", "limit=0", "page=2147483648", "desc=2"])
async def test_storage_profiles_are_asked_for_as_the_contract_says(api: Caller, query: str) -> None:
    assert query.partition("=")[0] in (await api.refusal("GET", f"{STORAGE}?{query}"))["errors"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", STORAGE, BUCKET),
        ("POST", STORAGE, BUCKET | {"type": "AWSs3", "name": "Main", "default": True}),
        ("PUT", f"{STORAGE}/1", {"name": "Other"}),
        ("POST", f"{STORAGE}/validate", BUCKET),
        ("POST", f"{STORAGE}/validate", {"profileId": "1"}),
    ],
)
async def test_storage_cannot_be_set_up_and_that_is_said(api: Caller, method: str, path: str, body: Any) -> None:
    assert "recordings are not kept yet" in (await api.refusal(method, path, json=body))["message"]


@pytest.mark.parametrize("body", [{}, {"type": "ftp", "options": {"bucketName": "b"}}, {"type": "gcs", "options": {}}])
async def test_a_profile_that_cannot_be_right_is_refused_for_that(api: Caller, body: Any) -> None:
    assert set(await api.refusal("POST", STORAGE, json=body)) & {"type", "options"}


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_no_storage_profile_is_known(api: Caller, method: str) -> None:
    assert (await api.refusal(method, f"{STORAGE}/a1"))["message"] == "No storage profile with id: a1"
