# ruff: noqa: D103
"""The Token API of the compatible dialect, held to the vendor's contract through the whole application.

Every answer is checked for its envelope, and every token in an answer for its form, whatever the test is about.
"""

import asyncio
import itertools
import json
import re
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import delete, insert

from stagedoor.app import Administration, administration, authority
from stagedoor.config import Settings
from stagedoor.edge.asgi import App
from stagedoor.model.cluster import Cluster
from stagedoor.model.ids import AccountId
from stagedoor.model.token import TokenKind
from stagedoor.service.ports import Clock
from stagedoor.store import schema
from stagedoor.tokens.api_secret import checksum, new_api_secret
from stagedoor.tokens.rules import Rules
from tests.answers import Checked

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
]

Json = dict[str, Any]

_ADDRESSES = itertools.count()

PUBLISH, SUBSCRIBE = TokenKind.PUBLISH, TokenKind.SUBSCRIBE
AT = 1_700_000_000
INT32 = 2**31 - 1

STREAM: Final[Json] = {"streamName": "studio", "isRegex": False}
RESTREAM: Final[Json] = {"url": "rtmp://example.com/live", "key": "12345", "label": "there", "enabled": True}

# -- the vendor's schema (PublishTokenResponseV1/V2, SubscribeTokenResponseV1/V2): names, and types of what is not null

SHARED_FIELDS: Final = {
    "id": int,
    "label": str,
    "token": str,
    "addedOn": str,
    "expiresOn": str,
    "isActive": bool,
    "streams": list,
    "allowedOrigins": list,
    "allowedIpAddresses": list,
    "bindIpsOnUsage": int,
    "originCluster": str,
    "effectiveSettings": dict,
    "allowedCountries": list,
    "deniedCountries": list,
}
KINDS: Final = (TokenKind.PUBLISH, TokenKind.SUBSCRIBE)
"""The kinds that owners have: a third one is for programs of our own."""

FIELDS: Final[dict[TokenKind, dict[str, type]]] = {
    PUBLISH: SHARED_FIELDS
    | {
        "subscribeRequiresAuth": bool,
        "record": bool,
        "clip": bool,
        "multisource": bool,
        "enableThumbnails": bool,
        "lowLatencyRtmp": bool,
        "enableUTCInsertion": bool,
        "integrationId": str,
        "displaySrtPassphrase": bool,
        "srtPassphrase": str,
        "drm": bool,
        "geoCascade": dict,
        "restream": list,
        "priority": int,
        "encoderProfileId": str,
    },
    SUBSCRIBE: SHARED_FIELDS | {"tracking": dict},
}
INNER_FIELDS: Final = {
    "streams": {"streamName", "isRegex"},
    "tracking": {"trackingId"},
    "geoCascade": {"isEnabled", "clusters"},
    "restream": {"url", "key", "label", "enabled"},
    "effectiveSettings": {
        "originCluster",
        "allowedCountries",
        "deniedCountries",
        "geoCascade",
        "enableUTCInsertion",
    },
}
OWN_INNER_FIELDS: Final = {"effectiveSettings": {"expiresOn"}}
"""Fields of ours: what ends the token, be it its own expiry or the account's longest lifetime."""
ALWAYS: Final = set(SHARED_FIELDS) - {"expiresOn", "bindIpsOnUsage"}
INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z")
PASSPHRASE: Final = re.compile(r"[0-9a-f]{32}")
TOKEN_TEXT: Final = re.compile(r"[0-9a-f]{64}")

V1_NAMES: Final = {
    "allowedOrigins": "updateAllowedOrigins",
    "allowedIpAddresses": "updateAllowedIpAddresses",
    "bindIpsOnUsage": "updateBindIpsOnUsage",
    "originCluster": "updateOriginCluster",
    "allowedCountries": "updateAllowedCountries",
    "deniedCountries": "updateDeniedCountries",
    "geoCascade": "updateGeoCascade",
    "restream": "updateRestream",
}

DEFAULTS: Final[dict[TokenKind, Json]] = {
    SUBSCRIBE: {
        "isActive": True,
        "allowedOrigins": [],
        "allowedIpAddresses": [],
        "originCluster": "",
        "effectiveSettings": {"originCluster": "auto", "allowedCountries": [], "deniedCountries": []},
        "allowedCountries": [],
        "deniedCountries": [],
    }
}
DEFAULTS[PUBLISH] = DEFAULTS[SUBSCRIBE] | {
    "subscribeRequiresAuth": False,
    "record": False,
    "clip": False,
    "multisource": True,
    "lowLatencyRtmp": True,
    "enableThumbnails": False,
    "displaySrtPassphrase": False,
    "drm": False,
    "integrationId": "None",
}
"""What a token has when only its label and streams are named."""

EVERYTHING: Final[dict[TokenKind, Json]] = {
    SUBSCRIBE: {
        "label": "everything",
        "streams": [STREAM, {"streamName": "cam-[0-9]+", "isRegex": True}],
        "expires": 3600,
        "allowedOrigins": ["example.com", "*.example.org"],
        "allowedIpAddresses": ["192.0.2.0/24", "198.51.100.7"],
        "originCluster": "phx-1",
        "allowedCountries": ["DE", "FR"],
        "tracking": {"trackingId": "t-1"},
    }
}
EVERYTHING[PUBLISH] = {name: value for name, value in EVERYTHING[SUBSCRIBE].items() if name != "tracking"} | {
    "subscribeRequiresAuth": True,
    "record": True,
    "multisource": False,
    "lowLatencyRtmp": False,
    "enableThumbnails": True,
    "displaySrtPassphrase": True,
    "drm": True,
    "enableUTCInsertion": True,
    "geoCascade": {"isEnabled": True, "clusters": ["iad-1", "phx-1"]},
    "restream": [RESTREAM],
    "priority": 7,
    "encoderProfileId": "profile",
}


def check_token(token: Json, kind: TokenKind, *, version: int, own: frozenset[str] = frozenset()) -> Json:
    """Hold a token in an answer to the vendor's schema; `own` are the fields of ours that the test made it have."""
    allowed = FIELDS[kind] | ({"name": str} if version == 1 else {})
    assert set(token) - own - {"carriers"} <= set(allowed)
    assert set(token) >= ALWAYS
    check_carriers(token)
    for name, value in token.items():
        if name in allowed:
            assert type(value) is allowed[name], name
    for name, inner in INNER_FIELDS.items():
        parts = token.get(name, [])
        for part in parts if isinstance(parts, list) else [parts]:
            assert set(part) <= inner | OWN_INNER_FIELDS.get(name, set()), name
    assert TOKEN_TEXT.fullmatch(token["token"])
    for name in {"addedOn", "expiresOn"} & set(token):
        assert INSTANT.fullmatch(token[name])
    if "expiresOn" in token:
        assert token["effectiveSettings"]["expiresOn"] <= token["expiresOn"]
    if version == 1:
        assert token["name"] == token["label"]
    return token


def check_carriers(token: Json) -> None:
    """Hold `carriers`, which is ours: both forms of a token, and what has room for them beside its longest name."""
    lengths = [128 if stream["isRegex"] else len(stream["streamName"]) for stream in token["streams"]]
    named = max(lengths) + len("?token=")
    forms = {"hex": len(token["token"]), "short": 43}
    assert {form: carried["length"] for form, carried in token["carriers"].items()} == forms
    for form, length in forms.items():
        fits = token["carriers"][form]["fits"]
        assert ("camera" in fits) is (named + length <= 128)
        assert {"rtmp", "srt", "httpHeader", "url"} <= set(fits)


def seconds(instant: str) -> int:
    return int(datetime.fromisoformat(instant).timestamp())


def text_of(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, kw_only=True)
class Api:
    """The API as one account calls it."""

    client: httpx.AsyncClient
    admin: Administration
    account: AccountId
    secret: str

    async def answer(self, method: str, url: str, **request: Any) -> tuple[int, Json]:
        """Send a request and return status and body, once its envelope was found right."""
        response = await self.client.request(method, url, **request)
        assert response.headers["content-type"].partition(";")[0] == "application/json"
        body: Json = response.json()
        if response.status_code < 400:
            assert set(body) == {"status", "data"}
            assert body["status"] == "success"
            assert body["data"] is not None
        elif response.status_code < 500:
            assert set(body) == {"status", "data"}
            assert body["status"] == "fail"
            assert isinstance(body["data"]["message"], str)
            assert body["data"]["message"]
        else:
            assert {"status", "message"} <= set(body) <= {"status", "message", "code", "data"}
            assert body["status"] == "error"
        return response.status_code, body

    async def data(self, method: str, url: str, **request: Any) -> Any:
        """Return the data of a request that succeeds."""
        status, body = await self.answer(method, url, **request)
        assert status == 200, body
        return body["data"]

    async def refused(self, method: str, url: str, status: int = 400, **request: Any) -> Json:
        """Return the data of a request that fails with `status`."""
        found, body = await self.answer(method, url, **request)
        assert found == status, body
        data: Json = body["data"]
        return data

    async def create(self, kind: TokenKind, **fields: Any) -> Json:
        body = {"label": "a label", "streams": [STREAM]} | fields
        return check_token(await self.data("POST", path(kind), json=body), kind, version=1)

    async def read(self, kind: TokenKind, token_id: int) -> Json:
        return check_token(await self.data("GET", f"{path(kind)}/{token_id}"), kind, version=1)

    async def list(self, kind: TokenKind, **query: Any) -> list[Json]:
        data = await self.data("GET", f"{path(kind)}/list", params={"page": 1, "itemsOnPage": 100} | query)
        assert isinstance(data, list)
        return [check_token(token, kind, version=1) for token in data]

    async def update(self, kind: TokenKind, token_id: int, version: int, **fields: Any) -> Json:
        """Update by the names of version 2, which are turned into those of version 1 where that is asked for."""
        body = {V1_NAMES.get(name, name) if version == 1 else name: value for name, value in fields.items()}
        data = await self.data("PUT", f"{path(kind, version)}/{token_id}", json=body)
        return as_v2(check_token(data, kind, version=version))


def path(kind: TokenKind, version: int = 1) -> str:
    return f"/api/{'v2/' if version == 2 else ''}{kind}_token"


def as_v2(token: Json) -> Json:
    """Return a token without what only version 1 has."""
    return {name: value for name, value in token.items() if name != "name"}


@dataclass(frozen=True, kw_only=True)
class System:
    """The application, and the use cases behind it."""

    admin: Administration
    app: App

    def transport(self) -> httpx.AsyncBaseTransport:
        """Return a way in from an address that nobody else calls from: failed logins slow an address down."""
        return Checked(httpx.ASGITransport(app=self.app, client=(f"198.51.100.{next(_ADDRESSES) % 256}", 1)))


@asynccontextmanager
async def running(settings: Settings, clock: Clock | None = None) -> AsyncIterator[System]:
    """Run the application; with `clock` tokens are administered by that."""
    async with authority(settings, clock or time.time) as running, administration(settings) as admin:
        yield System(admin=admin, app=running.app)


@asynccontextmanager
async def two_accounts(system: System) -> AsyncIterator[tuple[Api, Api]]:
    """Make two new accounts and return the API as each of them calls it."""
    admin = system.admin
    apis = []
    for _ in range(2):
        account, secret = AccountId(f"acc-{secrets.token_hex(8)}"), new_api_secret().reveal()
        headers = {"Authorization": f"Bearer {secret}"}
        client = httpx.AsyncClient(transport=system.transport(), base_url="http://authority", headers=headers)
        apis.append(Api(client=client, admin=admin, account=account, secret=secret))
    async with admin.store._writing() as write:
        for api in apis:
            values: Json = {"id": api.account, "enabled": True, "added_on": AT}
            await write.connection.execute(insert(schema.account).values(values))
            digest = admin.keyring.digest(api.secret.encode())
            values = {"account_id": api.account, "label": "", "digest": digest, "added_on": AT}
            await write.connection.execute(insert(schema.api_secret).values(values))
    async with apis[0].client, apis[1].client:
        yield apis[0], apis[1]


@asynccontextmanager
async def serving(settings: Settings, clock: Clock | None = None) -> AsyncIterator[tuple[Api, Api]]:
    """Run an application of the test's own, with two accounts."""
    async with running(settings, clock) as system, two_accounts(system) as apis:
        yield apis


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(blank_data: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    """One system for all tests: each has accounts of its own, and accounts see nothing of each other."""
    data = tmp_path_factory.mktemp("api") / "data"
    shutil.copytree(blank_data, data)
    async with running(Settings(data=data)) as system:
        yield system


@pytest_asyncio.fixture(loop_scope="module")
async def both(system: System) -> AsyncIterator[tuple[Api, Api]]:
    async with two_accounts(system) as apis:
        yield apis


@pytest.fixture
def api(both: tuple[Api, Api]) -> Api:
    return both[0]


@pytest.fixture
def bob(both: tuple[Api, Api]) -> Api:
    return both[1]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> TokenKind:
    return TokenKind(request.param)


@pytest.fixture(params=[1, 2], ids=["v1", "v2"])
def version(request: pytest.FixtureRequest) -> int:
    return int(request.param)


def routes(token_id: int = 1) -> list[tuple[str, str]]:
    """Return every route of both kinds."""
    return [
        route
        for kind in KINDS
        for route in (
            ("POST", path(kind)),
            ("GET", f"{path(kind)}/{token_id}"),
            ("GET", f"{path(kind)}/list?page=1&itemsOnPage=1"),
            ("PUT", f"{path(kind, 1)}/{token_id}"),
            ("PUT", f"{path(kind, 2)}/{token_id}"),
            ("DELETE", f"{path(kind)}/{token_id}"),
            ("PATCH", f"{path(kind)}/disable"),
        )
    ]


# -- the API secret

UNAUTHORIZED: Final = {"status": "fail", "data": {"message": "Unauthorized"}}


async def test_every_route_refuses_a_call_without_an_api_secret_in_the_vendors_words(api: Api) -> None:
    del api.client.headers["Authorization"]
    for method, url in routes():
        for body in (b"", b"{}", b"no JSON", b"x" * 2_000_000):
            assert await api.answer(method, url, content=body) == (403, UNAUTHORIZED), (method, url)


def _unknown(_secret: str) -> str:
    return f"Bearer {new_api_secret().reveal()}"


def _wrong_by_one_with_a_right_checksum(secret: str) -> str:
    body = ("B" if secret[4] == "A" else "A") + secret[5:47]
    return f"Bearer sds_{body}{checksum(body)}"


BAD_CREDENTIALS: Final[dict[str, Callable[[str], str]]] = {
    "empty": lambda _: "",
    "only the scheme": lambda _: "Bearer",
    "the scheme and a space": lambda _: "Bearer ",
    "no scheme": lambda secret: secret,
    "another scheme": lambda secret: f"Basic {secret}",
    "no space": lambda secret: f"Bearer{secret}",
    "unknown": _unknown,
    "wrong in one character": _wrong_by_one_with_a_right_checksum,
    "wrong checksum": lambda secret: f"Bearer {secret[:-1]}{'A' if secret[-1] != 'A' else 'B'}",
    "cut short": lambda secret: f"Bearer {secret[:-1]}",
    "one longer": lambda secret: f"Bearer {secret}A",
    "upper case": lambda secret: f"Bearer {secret.upper()}",
    "quoted": lambda secret: f'Bearer "{secret}"',
    "twice": lambda secret: f"Bearer {secret} {secret}",
    "without the prefix": lambda secret: f"Bearer {secret[4:]}",
    "not ASCII": lambda _: "Bearer sds_" + "é" * 49,
    "very long": lambda secret: f"Bearer {secret * 1000}",
    "a token's form": lambda _: "Bearer " + "0" * 64,
}


async def test_a_bad_api_secret_is_refused_in_the_same_words_whatever_is_wrong_with_it(api: Api) -> None:
    for name, written in BAD_CREDENTIALS.items():
        headers = {"Authorization": written(api.secret).encode("latin-1")}
        assert await api.answer("GET", f"{path(PUBLISH)}/1", headers=headers) == (403, UNAUTHORIZED), name


async def test_a_token_is_no_api_secret(api: Api, kind: TokenKind) -> None:
    token = await api.create(kind)
    headers = {"Authorization": f"Bearer {token['token']}"}
    assert await api.answer("GET", f"{path(kind)}/{token['id']}", headers=headers) == (403, UNAUTHORIZED)


async def test_the_scheme_may_be_written_in_any_case(api: Api) -> None:
    for scheme in ("Bearer", "bearer", "BEARER"):
        await api.data(
            "POST",
            path(PUBLISH),
            json={"label": "a", "streams": [STREAM]},
            headers={"Authorization": f"{scheme} {api.secret}"},
        )


async def test_the_body_is_not_read_before_the_api_secret_is_known_to_be_good(api: Api) -> None:
    read: list[bytes] = []

    async def body() -> AsyncIterator[bytes]:
        for part in (b'{"label": "a",', b' "streams": [{"streamName": "s"}]}'):
            read.append(part)
            yield part

    headers = {"Authorization": "Bearer wrong"}
    assert await api.answer("POST", path(PUBLISH), content=body(), headers=headers) == (403, UNAUTHORIZED)
    assert read == []
    await api.data("POST", path(PUBLISH), content=body())
    assert len(read) == 2


async def test_a_closed_accounts_api_secret_is_refused_until_it_is_opened_again(both: tuple[Api, Api]) -> None:
    hers, his = both
    await hers.admin.accounts.change(hers.account, lambda policy: replace(policy, enabled=False))
    assert await hers.answer("GET", f"{path(PUBLISH)}/1") == (403, UNAUTHORIZED)
    assert await his.list(PUBLISH) == []
    await hers.admin.accounts.change(hers.account, lambda policy: replace(policy, enabled=True))
    assert await hers.list(PUBLISH) == []


async def test_the_first_accounts_api_secret_is_good_for_the_api(settings: Settings) -> None:
    async with running(settings) as system:
        admin = system.admin
        first = await admin.accounts.create_first("admin@example.com")
        headers = {"Authorization": f"Bearer {first.api_secret.reveal()}"}
        async with httpx.AsyncClient(
            transport=system.transport(), base_url="http://authority", headers=headers
        ) as client:
            api = Api(client=client, admin=admin, account=first.account, secret=first.api_secret.reveal())
            token = await api.create(PUBLISH)
            assert await api.read(PUBLISH, token["id"]) == token


# -- create, read, list, delete


async def test_a_token_with_only_label_and_streams_has_the_vendors_defaults(api: Api, kind: TokenKind) -> None:
    token = await api.create(kind, label="demo", streams=[{"streamName": "stream1"}])
    made = {name: token.pop(name) for name in ("id", "token", "addedOn", "carriers")}
    assert token == DEFAULTS[kind] | {
        "label": "demo",
        "name": "demo",
        "streams": [{"streamName": "stream1", "isRegex": False}],
    }
    assert made["id"] > 0


async def test_every_field_of_a_creation_comes_back(api: Api, kind: TokenKind) -> None:
    token = await api.create(kind, **EVERYTHING[kind])
    wanted = {name: value for name, value in EVERYTHING[kind].items() if name != "expires"}
    assert {name: token[name] for name in wanted} == wanted
    assert token["effectiveSettings"]["originCluster"] == "phx-1"
    assert token["effectiveSettings"]["allowedCountries"] == ["DE", "FR"]
    denied = await api.create(kind, deniedCountries=["IT"], bindIpsOnUsage=3)
    assert denied["deniedCountries"] == denied["effectiveSettings"]["deniedCountries"] == ["IT"]
    assert denied["bindIpsOnUsage"] == 3


async def test_null_in_a_creation_stands_for_absent(api: Api, kind: TokenKind) -> None:
    optional = {
        *EVERYTHING[kind],
        "deniedCountries",
        "bindIpsOnUsage",
        *({"clip"} if kind is PUBLISH else ()),
    } - {"label", "streams"}
    token = await api.create(kind, **dict.fromkeys(optional))
    assert {name: token[name] for name in DEFAULTS[kind]} == DEFAULTS[kind]
    assert set(token) - set(DEFAULTS[kind]) == {"id", "label", "name", "token", "addedOn", "streams", "carriers"}


async def test_read_and_list_return_the_token_as_creation_did_its_text_included(api: Api, kind: TokenKind) -> None:
    for fields in ({}, EVERYTHING[kind]):
        token = await api.create(kind, **fields)
        assert await api.read(kind, token["id"]) == token
        assert token in await api.list(kind)


async def test_every_token_has_its_own_id_and_text(api: Api, kind: TokenKind) -> None:
    tokens = await asyncio.gather(*(api.create(kind) for _ in range(10)))
    assert len({token["id"] for token in tokens}) == 10
    assert len({token["token"] for token in tokens}) == 10
    assert sorted(token["id"] for token in await api.list(kind)) == sorted(token["id"] for token in tokens)


async def test_times_are_utc_and_the_expiry_is_so_many_seconds_after_creation(
    settings: Settings, kind: TokenKind
) -> None:
    async with serving(settings, clock=lambda: AT + 0.999) as (api, _):
        for expires in (1, 3600, INT32):
            token = await api.create(kind, expires=expires)
            assert token["addedOn"] == text_of(AT)
            assert token["expiresOn"] == text_of(AT + expires)
            assert seconds(token["expiresOn"]) - seconds(token["addedOn"]) == expires
            assert await api.read(kind, token["id"]) == token
        assert "expiresOn" not in await api.create(kind)


async def test_the_expiry_counts_from_addedon_also_when_the_second_changes_meanwhile(
    settings: Settings, kind: TokenKind
) -> None:
    async with serving(settings, clock=itertools.count(AT).__next__) as (api, _):
        token = await api.create(kind, expires=60)
        assert seconds(token["expiresOn"]) - seconds(token["addedOn"]) == 60


async def test_a_deleted_token_is_gone_and_the_others_stay(api: Api, kind: TokenKind) -> None:
    one, two = await api.create(kind), await api.create(kind)
    assert await api.data("DELETE", f"{path(kind)}/{one['id']}") is True
    assert await api.list(kind) == [two]
    for method, url in (
        ("GET", f"{path(kind)}/{one['id']}"),
        ("DELETE", f"{path(kind)}/{one['id']}"),
        ("PUT", f"{path(kind, 1)}/{one['id']}"),
        ("PUT", f"{path(kind, 2)}/{one['id']}"),
    ):
        data = await api.refused(method, url, json={"isActive": True})
        assert str(one["id"]) in data["tokenId"]
    assert await api.read(kind, two["id"]) == two


async def test_an_unknown_id_is_a_400_that_names_it(api: Api, kind: TokenKind) -> None:
    for token_id in (1, 99, 0, -1, INT32, INT32 + 1, 2**63 - 1):
        for method, url in (
            ("GET", f"{path(kind)}/{token_id}"),
            ("DELETE", f"{path(kind)}/{token_id}"),
            ("PUT", f"{path(kind, 1)}/{token_id}"),
            ("PUT", f"{path(kind, 2)}/{token_id}"),
        ):
            data = await api.refused(method, url, json={"label": "a"})
            assert data["tokenId"] == f"No {kind} token with id: {token_id}"


async def test_an_id_that_no_database_has_room_for_is_unknown(api: Api) -> None:
    for token_id in (2**63, 10**25):
        for method in ("GET", "DELETE", "PUT"):
            data = await api.refused(method, f"{path(PUBLISH)}/{token_id}", json={"label": "a"})
            assert str(token_id) in data["tokenId"]


async def test_an_id_that_is_no_number_is_a_4xx(api: Api, kind: TokenKind) -> None:
    for token_id in ("abc", "1.0", "1x", "%00", "null", "9" * 5000):
        status, _ = await api.answer("GET", f"{path(kind)}/{token_id}")
        assert 400 <= status < 500


async def test_an_id_of_the_other_kind_is_unknown(api: Api) -> None:
    for kind, other in ((PUBLISH, SUBSCRIBE), (SUBSCRIBE, PUBLISH)):
        token = await api.create(kind)
        for method, version in (("GET", 1), ("DELETE", 1), ("PUT", 1), ("PUT", 2)):
            data = await api.refused(method, f"{path(other, version)}/{token['id']}", json={"isActive": False})
            assert str(token["id"]) in data["tokenId"]
        assert await api.read(kind, token["id"]) == token


async def test_another_account_sees_and_touches_nothing(api: Api, bob: Api, kind: TokenKind) -> None:
    token = await api.create(kind)
    for method, version in (("GET", 1), ("DELETE", 1), ("PUT", 1), ("PUT", 2)):
        data = await bob.refused(method, f"{path(kind, version)}/{token['id']}", json={"isActive": False})
        assert data["tokenId"] == f"No {kind} token with id: {token['id']}"
    assert await bob.list(kind) == []
    data = await bob.data("PATCH", f"{path(kind)}/disable", json={"tokenIds": [token["id"]]})
    assert data["successfulTokens"] == []
    assert [failed["tokenId"] for failed in data["failedTokens"]] == [token["id"]]
    assert await api.read(kind, token["id"]) == token
    his = await bob.create(kind)
    assert await bob.list(kind) == [his]
    assert await api.list(kind) == [token]


# -- lists


async def test_a_list_is_sorted_by_name_unless_asked_otherwise_and_may_be_reversed(
    settings: Settings, kind: TokenKind
) -> None:
    now = AT
    async with serving(settings, clock=lambda: now) as (api, _):
        for label, at in (("beta", 3), ("alpha", 1), ("beta", 2)):
            now = AT + at
            await api.create(kind, label=label)
        for query, expected in (
            ({}, [2, 1, 3]),
            ({"sortBy": "Name"}, [2, 1, 3]),
            ({"sortBy": "AddedOn"}, [2, 3, 1]),
            ({"isDescending": "True"}, [3, 1, 2]),
            ({"isDescending": "true"}, [3, 1, 2]),
            ({"isDescending": "False"}, [2, 1, 3]),
            ({"isDescending": "false"}, [2, 1, 3]),
            ({"sortBy": "AddedOn", "isDescending": "True"}, [1, 3, 2]),
        ):
            assert [token["id"] for token in await api.list(kind, **query)] == expected, query


async def test_a_list_comes_in_pages_and_is_an_empty_array_past_its_end(api: Api, kind: TokenKind) -> None:
    made = [(await api.create(kind))["id"] for _ in range(5)]
    pages = [[token["id"] for token in await api.list(kind, page=page, itemsOnPage=2)] for page in (1, 2, 3, 4, INT32)]
    assert pages == [made[:2], made[2:4], made[4:], [], []]


async def test_page_and_itemsonpage_have_limits(api: Api, kind: TokenKind) -> None:
    for name, value, allowed in (
        ("page", 0, False),
        ("page", 1, True),
        ("page", 2, True),
        ("page", INT32, True),
        ("page", INT32 + 1, False),
        ("page", -1, False),
        ("page", 10**30, False),
        ("itemsOnPage", 0, False),
        ("itemsOnPage", 1, True),
        ("itemsOnPage", 2, True),
        ("itemsOnPage", 99, True),
        ("itemsOnPage", 100, True),
        ("itemsOnPage", 101, False),
        ("itemsOnPage", -1, False),
        ("page", "x", False),
        ("page", "", False),
        ("sortBy", "Label", False),
        ("isDescending", "perhaps", False),
    ):
        query = {"page": 1, "itemsOnPage": 1} | {name: value}
        if allowed:
            await api.list(kind, **query)
        else:
            await api.refused("GET", f"{path(kind)}/list", params=query)


async def test_a_list_without_page_or_itemsonpage_is_refused(api: Api, kind: TokenKind) -> None:
    for query in ({}, {"page": 1}, {"itemsOnPage": 1}):
        await api.refused("GET", f"{path(kind)}/list", params=query)


async def test_a_missing_page_or_itemsonpage_is_told_in_errors(api: Api) -> None:
    """The vendor's form: `{"errors": {field: [text]}, "message": "Validation errors"}`; one field of several will do."""
    queries: list[tuple[Json, set[str]]] = [
        ({}, {"page", "itemsOnPage"}),
        ({"page": 1}, {"itemsOnPage"}),
        ({"itemsOnPage": 1}, {"page"}),
    ]
    for query, missing in queries:
        data = await api.refused("GET", f"{path(PUBLISH)}/list", params=query)
        assert data["message"] == "Validation errors"
        assert data.get("errors")
        assert set(data["errors"]) <= missing


async def test_a_wrong_page_is_told_in_errors(api: Api) -> None:
    data = await api.refused("GET", f"{path(PUBLISH)}/list", params={"page": 0, "itemsOnPage": 1})
    assert data["message"] == "Validation errors"
    assert [type(text) for text in data["errors"]["page"]] == [str]


async def test_errors_call_a_wrong_parameter_as_the_caller_wrote_it(api: Api) -> None:
    for name, value in (("itemsOnPage", "101"), ("sortBy", "Label"), ("isDescending", "perhaps")):
        query = {"page": "1", "itemsOnPage": "1"} | {name: value}
        data = await api.refused("GET", f"{path(PUBLISH)}/list", params=query)
        assert set(data["errors"]) == {name}


# -- updates

CHANGES: Final[dict[TokenKind, list[tuple[str, Any]]]] = {
    SUBSCRIBE: [
        ("label", "another"),
        ("isActive", False),
        ("isActive", True),
        ("allowedOrigins", ["example.net"]),
        ("allowedOrigins", []),
        ("allowedIpAddresses", ["203.0.113.0/24"]),
        ("allowedIpAddresses", []),
        ("bindIpsOnUsage", 2),
        ("originCluster", "iad-1"),
        ("originCluster", ""),
        ("allowedCountries", ["IT"]),
        ("allowedCountries", []),
        ("deniedCountries", ["IT"]),
        ("deniedCountries", []),
    ]
}
CHANGES[PUBLISH] = [
    *CHANGES[SUBSCRIBE],
    *(
        (flag, value)
        for flag in (
            "subscribeRequiresAuth",
            "record",
            "clip",
            "multisource",
            "lowLatencyRtmp",
            "enableThumbnails",
            "displaySrtPassphrase",
            "drm",
            "enableUTCInsertion",
        )
        for value in (True, False)
    ),
    ("geoCascade", {"isEnabled": False, "clusters": ["phx-1"]}),
    ("restream", [RESTREAM, RESTREAM | {"url": "rtmp://example.org/live", "enabled": False}]),
    ("priority", 0),
    ("priority", -(2**31)),
    ("priority", INT32),
    ("encoderProfileId", "another"),
]


async def test_an_update_changes_what_it_names_and_nothing_else(api: Api, kind: TokenKind, version: int) -> None:
    token = as_v2(await api.create(kind))
    for name, value in CHANGES[kind]:
        updated = await api.update(kind, token["id"], version, **{name: value})
        expected = token | {name: value}
        if name in token["effectiveSettings"]:
            effective = "auto" if value == "" else value
            expected["effectiveSettings"] = token["effectiveSettings"] | {name: effective}
        if name in {"geoCascade", "enableUTCInsertion"}:
            expected["effectiveSettings"] = token["effectiveSettings"] | {name: value}
        if name == "displaySrtPassphrase":
            expected.pop("srtPassphrase", None)
            if value:
                assert PASSPHRASE.fullmatch(updated["srtPassphrase"])
                expected["srtPassphrase"] = updated["srtPassphrase"]
        assert updated == expected, name
        assert as_v2(await api.read(kind, token["id"])) == updated
        token = updated


async def test_version_1_answers_with_name_and_version_2_without(api: Api, kind: TokenKind) -> None:
    token = await api.create(kind)
    one = await api.data("PUT", f"{path(kind, 1)}/{token['id']}", json={"label": "b"})
    two = await api.data("PUT", f"{path(kind, 2)}/{token['id']}", json={"label": "b"})
    assert one == two | {"name": "b"}
    assert "name" not in two


async def test_an_update_with_nothing_in_it_is_refused_in_the_vendors_words(
    api: Api, kind: TokenKind, version: int
) -> None:
    token = await api.create(kind, **EVERYTHING[kind])
    nulls = dict.fromkeys(("label", "isActive", "refreshToken", "addTokenStreams", "removeTokenStreams"))
    for body in ({}, {"unknown": 1}, {"expires": 60}, {"tracking": {"trackingId": "x"}}, {"name": "x"}, nulls):
        data = await api.refused("PUT", f"{path(kind, version)}/{token['id']}", json=body)
        assert data["token"] == data["message"] == "No properties specified to update."
    assert await api.read(kind, token["id"]) == token


async def test_version_2_does_not_know_the_names_of_version_1(api: Api, kind: TokenKind) -> None:
    token = await api.create(kind, **EVERYTHING[kind])
    body: Json = {name: [] for name in V1_NAMES.values()}
    data = await api.refused("PUT", f"{path(kind, 2)}/{token['id']}", json=body)
    assert data["token"] == "No properties specified to update."
    assert await api.read(kind, token["id"]) == token


async def test_version_1_takes_bindipsonusage_by_its_plain_name_too(api: Api, kind: TokenKind) -> None:
    """The vendor's own page writes it so in a version 1 update."""
    token = await api.create(kind, bindIpsOnUsage=3)
    updated = await api.data("PUT", f"{path(kind, 1)}/{token['id']}", json={"bindIpsOnUsage": 0})
    assert "bindIpsOnUsage" not in updated


async def test_a_subscribe_token_has_no_publish_flags_to_update(api: Api, version: int) -> None:
    token = await api.create(SUBSCRIBE)
    for body in ({"record": True}, {"priority": None}, {"drm": False}):
        data = await api.refused("PUT", f"{path(SUBSCRIBE, version)}/{token['id']}", json=body)
        assert data["token"] == "No properties specified to update."


async def test_null_in_an_update_stands_for_absent(api: Api, kind: TokenKind, version: int) -> None:
    """Only `priority`, `encoderProfileId` and `enableUTCInsertion` are cleared by null."""
    token = as_v2(await api.create(kind, **EVERYTHING[kind]))
    names = {name for name, _ in CHANGES[kind]} - {"priority", "encoderProfileId", "enableUTCInsertion", "label"}
    nulls = dict.fromkeys(names | {"refreshToken", "addTokenStreams", "removeTokenStreams"})
    updated = await api.update(kind, token["id"], version, label="another", **nulls)
    assert updated == token | {"label": "another"}
    url = f"{path(kind, version)}/{token['id']}"
    body = {V1_NAMES.get(name, name) if version == 1 else name: None for name in nulls}
    assert "token" in await api.refused("PUT", url, json=body)


async def test_absent_leaves_and_null_clears_priority_profile_and_utc_insertion(api: Api, version: int) -> None:
    clearable = {"priority": 0, "encoderProfileId": "p", "enableUTCInsertion": False}
    token = as_v2(await api.create(PUBLISH, **clearable))
    assert {name: token[name] for name in clearable} == clearable
    assert await api.update(PUBLISH, token["id"], version, label="a label") == token
    for name in clearable:
        del token[name]
        token["effectiveSettings"].pop(name, None)
        assert await api.update(PUBLISH, token["id"], version, **{name: None}) == token
        assert as_v2(await api.read(PUBLISH, token["id"])) == token
        # Clearing what is clear is still an update.
        assert await api.update(PUBLISH, token["id"], version, **{name: None}) == token


async def test_an_empty_list_clears_and_zero_clears_the_bind_count(api: Api, kind: TokenKind, version: int) -> None:
    token = await api.create(kind, **EVERYTHING[kind])
    lists = ["allowedOrigins", "allowedIpAddresses", "allowedCountries"]
    updated = await api.update(kind, token["id"], version, **{name: [] for name in lists})
    assert all(updated[name] == [] for name in lists)
    if kind is PUBLISH:
        assert "restream" not in await api.update(kind, token["id"], version, restream=[])
    await api.update(kind, token["id"], version, bindIpsOnUsage=5)
    assert "bindIpsOnUsage" not in await api.update(kind, token["id"], version, bindIpsOnUsage=0)


async def test_expiry_and_tracking_id_cannot_be_updated(api: Api, version: int) -> None:
    token = await api.create(SUBSCRIBE, **EVERYTHING[SUBSCRIBE])
    updated = await api.update(
        SUBSCRIBE, token["id"], version, label="b", expires=1, expiresOn="2050-01-01T00:00:00Z", tracking={}
    )
    assert updated == as_v2(token) | {"label": "b"}


def names(token: Json) -> list[str]:
    return [stream["streamName"] for stream in token["streams"]]


@pytest.mark.parametrize("as_objects", [False, True], ids=["strings", "objects"])
async def test_streams_are_removed_by_name_written_as_string_or_object(
    api: Api, kind: TokenKind, version: int, as_objects: bool
) -> None:
    """The vendor's schema has strings, its Python client sends objects."""
    streams = [{"streamName": "a"}, {"streamName": "b"}, {"streamName": "c.*", "isRegex": True}]
    token = await api.create(kind, streams=streams)
    removed: list[Any] = [streams[0], streams[2], {"streamName": "not there"}]
    if not as_objects:
        removed = [stream["streamName"] for stream in removed]
    updated = await api.update(kind, token["id"], version, removeTokenStreams=removed)
    assert updated["streams"] == [{"streamName": "b", "isRegex": False}]
    assert as_v2(await api.read(kind, token["id"])) == updated


async def test_streams_are_added_once_and_after_the_removal(api: Api, kind: TokenKind, version: int) -> None:
    token = await api.create(kind, streams=[{"streamName": "a"}])
    added = [{"streamName": "b"}, {"streamName": "a"}, {"streamName": "b", "isRegex": False}]
    assert names(await api.update(kind, token["id"], version, addTokenStreams=added)) == ["a", "b"]
    updated = await api.update(
        kind,
        token["id"],
        version,
        removeTokenStreams=["a", "b"],
        addTokenStreams=[{"streamName": "x.+", "isRegex": True}],
    )
    assert updated["streams"] == [{"streamName": "x.+", "isRegex": True}]


async def test_the_last_stream_cannot_be_removed(api: Api, kind: TokenKind, version: int) -> None:
    token = await api.create(kind)
    url = f"{path(kind, version)}/{token['id']}"
    await api.refused("PUT", url, json={"removeTokenStreams": [STREAM["streamName"]], "label": "b"})
    assert await api.read(kind, token["id"]) == token


async def test_refreshing_gives_a_new_text_and_keeps_id_and_settings(api: Api, kind: TokenKind, version: int) -> None:
    token = as_v2(await api.create(kind, **EVERYTHING[kind]))
    texts = [token["token"]]
    for _ in range(2):
        renewed = await api.update(kind, token["id"], version, refreshToken=True)
        # A new value has a new passphrase too.
        fresh = {name: renewed[name] for name in ("token", "srtPassphrase") if name in renewed}
        assert renewed == token | fresh
        assert all(token[name] != value for name, value in fresh.items())
        assert as_v2(await api.read(kind, token["id"])) == renewed
        assert [as_v2(listed) for listed in await api.list(kind)] == [renewed]
        texts.append(renewed["token"])
    assert len(set(texts)) == 3
    both = await api.update(kind, token["id"], version, refreshToken=True, label="b", isActive=False)
    assert (both["label"], both["isActive"]) == ("b", False)
    assert both["token"] not in texts
    kept = await api.update(kind, token["id"], version, refreshToken=False, label="c")
    assert kept["token"] == both["token"]


async def test_a_refused_update_changes_nothing_and_renews_nothing(api: Api, kind: TokenKind, version: int) -> None:
    token = await api.create(kind)
    url = f"{path(kind, version)}/{token['id']}"
    addresses = V1_NAMES["allowedIpAddresses"] if version == 1 else "allowedIpAddresses"
    for wrong in ({addresses: ["nonsense"]}, {"addTokenStreams": [{"streamName": "(", "isRegex": True}]}):
        await api.refused("PUT", url, json={"label": "b", "isActive": False, "refreshToken": True} | wrong)
        assert await api.read(kind, token["id"]) == token


# -- disable


async def test_disable_switches_off_each_token_it_can_and_says_why_not_the_others(
    api: Api, bob: Api, kind: TokenKind
) -> None:
    one, two, other = await api.create(kind), await api.create(kind), await api.create(kind)
    gone, his = await api.create(kind), await bob.create(kind)
    await api.data("DELETE", f"{path(kind)}/{gone['id']}")
    failing = [gone["id"], his["id"], 9999, 0, -1]
    data = await api.data("PATCH", f"{path(kind)}/disable", json={"tokenIds": [one["id"], *failing, two["id"]]})
    assert set(data) == {"successfulTokens", "failedTokens"}
    assert data["successfulTokens"] == [one["id"], two["id"]]
    assert [failed["tokenId"] for failed in data["failedTokens"]] == failing
    assert all(set(failed) == {"tokenId", "errorMessage"} for failed in data["failedTokens"])
    assert all(str(failed["tokenId"]) in failed["errorMessage"] for failed in data["failedTokens"])
    assert await api.list(kind) == [one | {"isActive": False}, two | {"isActive": False}, other]
    assert (await bob.read(kind, his["id"]))["isActive"] is True
    # Disabled twice is disabled, and an update switches it on again.
    data = await api.data("PATCH", f"{path(kind)}/disable", json={"tokenIds": [one["id"], one["id"]]})
    assert data == {"successfulTokens": [one["id"]], "failedTokens": []}
    assert await api.update(kind, one["id"], 2, isActive=True) == as_v2(one)


async def test_disable_takes_at_least_one_id_and_only_numbers(api: Api, kind: TokenKind) -> None:
    token = await api.create(kind)
    url = f"{path(kind)}/disable"
    bodies: tuple[Json, ...] = (
        {"tokenIds": []},
        {},
        {"tokenIds": None},
        {"tokenIds": 1},
        {"tokenIds": ["1"]},
        {"tokenIds": [1.5]},
        {"tokenIds": [True]},
        {"tokenIds": [token["id"], None]},
    )
    for body in bodies:
        assert "tokenIds" in await api.refused("PATCH", url, json=body)
    assert await api.read(kind, token["id"]) == token
    data = await api.data("PATCH", url, json={"tokenIds": [token["id"]], "unknown": 1})
    assert data == {"successfulTokens": [token["id"]], "failedTokens": []}


async def test_disable_fails_an_id_that_no_database_has_room_for_and_goes_on(api: Api, kind: TokenKind) -> None:
    token = await api.create(kind)
    data = await api.data("PATCH", f"{path(kind)}/disable", json={"tokenIds": [2**63, token["id"]]})
    assert data["successfulTokens"] == [token["id"]]
    assert [failed["tokenId"] for failed in data["failedTokens"]] == [2**63]


# -- limits

SHARED_LIMITS: Final[list[tuple[str, Any, bool]]] = [
    ("label", "", False),
    ("label", "a", True),
    ("label", "ab", True),
    ("label", "a" * 127, True),
    ("label", "a" * 128, True),
    ("label", "a" * 129, False),
    ("label", "\U0001f3ad" * 128, True),
    ("label", "\U0001f3ad" * 129, False),
    ("label", None, False),
    ("label", 5, False),
    ("streams", [], False),
    ("streams", None, False),
    ("streams", "studio", False),
    ("streams", ["studio"], False),
    ("streams", [{}], False),
    ("streams", [{"streamName": ""}], False),
    ("streams", [{"streamName": "a"}], True),
    ("streams", [{"streamName": "ab"}], True),
    ("streams", [{"streamName": "a" * 127}], True),
    ("streams", [{"streamName": "a" * 128}], True),
    ("streams", [{"streamName": "a" * 129}], False),
    ("streams", [{"streamName": "a" * 128, "isRegex": True}], True),
    ("streams", [{"streamName": "a" * 129, "isRegex": True}], False),
    ("streams", [{"streamName": "", "isRegex": True}], False),
    ("streams", [{"streamName": None}], False),
    ("streams", [{"streamName": "a", "isRegex": "yes"}], False),
    ("streams", [STREAM, {"streamName": ""}], False),
    ("expires", -1, False),
    ("expires", 0, False),
    ("expires", 1, True),
    ("expires", 2, True),
    ("expires", INT32 - 1, True),
    ("expires", INT32, True),
    ("expires", INT32 + 1, False),
    ("expires", 10**30, False),
    ("expires", "3600", False),
    ("expires", 3600.5, False),
    ("expires", True, False),
    ("bindIpsOnUsage", -1, False),
    ("bindIpsOnUsage", 0, True),
    ("bindIpsOnUsage", 1, True),
    ("bindIpsOnUsage", INT32, True),
    ("bindIpsOnUsage", "1", False),
    ("allowedOrigins", "example.com", False),
    ("allowedOrigins", [1], False),
    ("allowedCountries", "DE", False),
    ("originCluster", 1, False),
]
LIMITS: Final[dict[TokenKind, list[tuple[str, Any, bool]]]] = {
    SUBSCRIBE: [
        *SHARED_LIMITS,
        ("tracking", {"trackingId": "a" * 127}, True),
        ("tracking", {"trackingId": "a" * 128}, True),
        ("tracking", {"trackingId": "a" * 129}, False),
        ("tracking", {"trackingId": None}, True),
        ("tracking", {}, True),
        ("tracking", "t", False),
    ],
    PUBLISH: [
        *SHARED_LIMITS,
        ("restream", [], True),
        ("restream", [RESTREAM] * 9, True),
        ("restream", [RESTREAM] * 10, True),
        ("restream", [RESTREAM] * 11, False),
        ("restream", [RESTREAM | {"key": "1234"}], False),
        ("restream", [RESTREAM | {"key": "123456"}], True),
        ("restream", [RESTREAM | {"key": "a" * 511}], True),
        ("restream", [RESTREAM | {"key": "a" * 512}], True),
        ("restream", [RESTREAM | {"key": "a" * 513}], False),
        ("restream", [RESTREAM | {"url": ""}], False),
        ("restream", [RESTREAM | {"url": "a"}], True),
        ("restream", [RESTREAM | {"url": "a" * 2048}], True),
        ("restream", [RESTREAM | {"url": "a" * 2049}], False),
        ("restream", [RESTREAM | {"label": ""}], True),
        ("restream", [RESTREAM | {"label": "a" * 2048}], True),
        ("restream", [RESTREAM | {"label": "a" * 2049}], False),
        ("restream", [{"url": "rtmp://example.com/live"}], False),
        ("priority", -(2**31) - 1, False),
        ("priority", -(2**31), True),
        ("priority", INT32, True),
        ("priority", INT32 + 1, False),
        ("priority", 1.5, False),
        ("encoderProfileId", 5, False),
        ("record", "true", False),
        ("record", 1, False),
        ("geoCascade", {"isEnabled": True, "clusters": []}, False),
        ("geoCascade", {"isEnabled": True, "clusters": ["iad-1"]}, True),
        ("geoCascade", {"isEnabled": True}, True),
        ("geoCascade", {"isEnabled": False, "clusters": []}, True),
        ("geoCascade", {}, True),
        ("geoCascade", [], False),
    ],
}


async def test_a_creation_is_held_to_the_declared_limits_and_the_refusal_names_the_field(
    api: Api, kind: TokenKind
) -> None:
    made = 0
    for name, value, allowed in LIMITS[kind]:
        body = {"label": "a label", "streams": [STREAM], name: value}
        status, answer = await api.answer("POST", path(kind), json=body)
        assert status == (200 if allowed else 400), (name, value, answer)
        made += allowed
        if allowed:
            check_token(answer["data"], kind, version=1)
        else:
            assert isinstance(answer["data"][name], str), (name, value)
    assert len(await api.list(kind)) == made


async def test_label_and_streams_are_required(api: Api, kind: TokenKind) -> None:
    assert isinstance((await api.refused("POST", path(kind), json={"streams": [STREAM]}))["label"], str)
    assert isinstance((await api.refused("POST", path(kind), json={"label": "a"}))["streams"], str)
    await api.refused("POST", path(kind), json={})
    assert await api.list(kind) == []


async def test_an_update_is_held_to_the_declared_limits_and_the_refusal_names_the_field(
    api: Api, kind: TokenKind, version: int
) -> None:
    token = await api.create(kind)
    limits: list[tuple[str, Any, bool]] = [
        ("label", "a" * 128, True),
        ("label", "a" * 129, False),
        ("addTokenStreams", [{"streamName": "b" * 128}], True),
        ("addTokenStreams", [{"streamName": "b" * 129}], False),
        ("addTokenStreams", [{"streamName": ""}], False),
        ("bindIpsOnUsage", -1, False),
        ("bindIpsOnUsage", 0, True),
        ("bindIpsOnUsage", 1, True),
        ("bindIpsOnUsage", INT32, True),
        ("bindIpsOnUsage", 2**32, False),
        ("bindIpsOnUsage", "1", False),
        ("isActive", "true", False),
        ("refreshToken", 1, False),
        ("removeTokenStreams", "studio", False),
        ("removeTokenStreams", [5], False),
        ("allowedOrigins", "example.com", False),
    ]
    if version == 2:
        limits += [("bindIpsOnUsage", 2**32 - 1, True), ("bindIpsOnUsage", INT32 + 1, True)]
    if kind is PUBLISH:
        limits += [
            ("restream", [RESTREAM] * 10, True),
            ("restream", [RESTREAM] * 11, False),
            ("restream", [RESTREAM | {"key": "1234"}], False),
            ("priority", INT32 + 1, False),
            ("geoCascade", {"isEnabled": True, "clusters": 5}, False),
        ]
    for name, value, allowed in limits:
        written = V1_NAMES.get(name, name) if version == 1 else name
        url = f"{path(kind, version)}/{token['id']}"
        status, answer = await api.answer("PUT", url, json={written: value})
        assert status == (200 if allowed else 400), (written, value, answer)
        if not allowed:
            assert isinstance(answer["data"][written], str), (written, value, answer)


async def test_version_1_has_its_own_limit_for_the_bind_count(api: Api, kind: TokenKind) -> None:
    token = await api.create(kind)
    await api.refused("PUT", f"{path(kind, 1)}/{token['id']}", json={"updateBindIpsOnUsage": INT32 + 1})


async def test_a_restream_target_needs_a_url_except_in_version_2(api: Api) -> None:
    token = await api.create(PUBLISH)
    target = {"key": "12345"}
    await api.update(PUBLISH, token["id"], 2, restream=[target])
    body = {"label": "a", "streams": [STREAM], "restream": [target]}
    assert "restream" in await api.refused("POST", path(PUBLISH), json=body)
    await api.refused("PUT", f"{path(PUBLISH, 1)}/{token['id']}", json={"updateRestream": [target]})


async def test_a_single_restream_object_is_taken_as_one_target_or_refused(api: Api) -> None:
    """A client release sends the last target instead of the list."""
    body = {"label": "a", "streams": [STREAM], "restream": RESTREAM}
    status, answer = await api.answer("POST", path(PUBLISH), json=body)
    assert status == 400 or answer["data"]["restream"] == [RESTREAM]


# -- rules between and inside fields

RIGHT_NETWORKS: Final = {
    "192.0.2.5/24": "192.0.2.0/24",
    "10.1.2.3/8": "10.0.0.0/8",
    "192.0.2.1/31": "192.0.2.0/31",
    "2001:db8::1/32": "2001:db8::/32",
    "1.2.3.4/0": "0.0.0.0/0",
}


async def test_a_network_with_host_bits_is_refused_naming_the_network_that_was_meant(api: Api, kind: TokenKind) -> None:
    for written, meant in RIGHT_NETWORKS.items():
        body = {"label": "a", "streams": [STREAM], "allowedIpAddresses": ["198.51.100.1", written]}
        data = await api.refused("POST", path(kind), json=body)
        assert f"write {meant}" in data["message"]
        token = await api.create(kind, allowedIpAddresses=[meant])
        assert token["allowedIpAddresses"] == [meant]
        for version in (1, 2):
            name = "updateAllowedIpAddresses" if version == 1 else "allowedIpAddresses"
            data = await api.refused("PUT", f"{path(kind, version)}/{token['id']}", json={name: [written]})
            assert f"write {meant}" in data["message"]


async def test_what_is_no_address_is_refused(api: Api, kind: TokenKind) -> None:
    for written in (
        "",
        "*",
        "192.0.2",
        "192.0.2.*",
        "192.0.2.1-9",
        "192.0.2.256",
        "192.0.2.0/33",
        "192.0.2.0/-1",
        "192.0.2.0/",
        "192.0.2.0/24/24",
        "192.0.2.0/255.255.255.0",
        "010.0.0.1",
        "0x7f.1",
        "fe80::1%eth0",
        "example.com",
        " 192.0.2.1",
        "192.0.2.1\n",
    ):
        body = {"label": "a", "streams": [STREAM], "allowedIpAddresses": [written]}
        await api.refused("POST", path(kind), json=body)


async def test_a_refused_address_is_told_under_the_field_the_caller_wrote(api: Api, kind: TokenKind) -> None:
    body = {"label": "a", "streams": [STREAM], "allowedIpAddresses": ["nonsense"]}
    assert set(await api.refused("POST", path(kind), json=body)) == {"allowedIpAddresses", "message"}


async def test_a_stream_pattern_must_be_a_valid_expression_and_a_name_a_possible_one(api: Api, kind: TokenKind) -> None:
    token = await api.create(kind)
    for text, is_regex in (
        ("(", True),
        ("[", True),
        ("*", True),
        ("a{2,1}", True),
        (r"(a)\1", True),
        ("(?=a)", True),
        ("(?P<n", True),
        ("(((a{100}){100}){100}){100}", True),
        ("studio?x=1", False),
        ("a b", False),
        ("../etc", False),
        ("a//b", False),
        ("/a", False),
        ("a/", False),
        ("a\n", False),
        ("*", False),
        ("Bühne", False),
    ):
        stream = {"streamName": text, "isRegex": is_regex}
        data = await api.refused("POST", path(kind), json={"label": "a", "streams": [stream]})
        assert isinstance(data["streams"], str)
        for version in (1, 2):
            url = f"{path(kind, version)}/{token['id']}"
            await api.refused("PUT", url, json={"addTokenStreams": [stream]})
    for text, is_regex in ((".*", True), ("container1/.+", True), ("live/cam-1", False), ("a.b_c~d", False)):
        await api.create(kind, streams=[{"streamName": text, "isRegex": is_regex}])


PAIRS: Final[list[tuple[TokenKind | None, Json, Json]]] = [
    (None, {"allowedCountries": ["DE"]}, {"deniedCountries": ["FR"]}),
    (None, {"allowedIpAddresses": ["192.0.2.1"]}, {"bindIpsOnUsage": 1}),
    (PUBLISH, {"record": True}, {"clip": True}),
]


async def test_settings_that_exclude_each_other_are_refused_together_at_once_and_one_after_the_other(
    api: Api, kind: TokenKind, version: int
) -> None:
    for only, one, two in PAIRS:
        if only not in (None, kind):
            continue
        await api.refused("POST", path(kind), json={"label": "a", "streams": [STREAM]} | one | two)
        for first, second in ((one, two), (two, one)):
            token = await api.create(kind, **first)
            body = {V1_NAMES.get(name, name) if version == 1 else name: value for name, value in second.items()}
            await api.refused("PUT", f"{path(kind, version)}/{token['id']}", json=body)
            assert await api.read(kind, token["id"]) == token
            # An update may exchange one for the other.
            nothing = {name: {list: [], int: 0, bool: False}[type(value)] for name, value in first.items()}
            updated = await api.update(kind, token["id"], version, **nothing, **second)
            assert {name: updated[name] for name in second} == second


async def test_unknown_fields_are_ignored_at_every_depth(api: Api, kind: TokenKind) -> None:
    """Clients send fields that the schema does not declare."""
    token = await api.create(
        kind,
        streams=[STREAM | {"unknown": [1, {"a": None}]}],
        isClipHooks=False,
        id=99,
        token="0" * 64,
        unknown={"label": 5},
        accountId="bob",
        isActive=False,
    )
    assert token["streams"] == [STREAM]
    assert token["id"] != 99
    assert token["token"] != "0" * 64
    assert token["isActive"] is True
    for version in (1, 2):
        updated = await api.update(kind, token["id"], version, label="b", id=5, unknown=None, streams=[], token="x")
        assert updated == as_v2(token) | {"label": "b"}


async def test_expireson_in_a_creation_is_the_instant_of_the_expiry(api: Api, kind: TokenKind) -> None:
    """Whole seconds, in UTC; an instant between two is the later one."""
    for written, shown in (
        ("2050-01-01T00:00:00Z", "2050-01-01T00:00:00Z"),
        ("2050-01-01T01:00:00+01:00", "2050-01-01T00:00:00Z"),
        ("2050-01-01T00:00:00.001Z", "2050-01-01T00:00:01Z"),
    ):
        token = await api.create(kind, expiresOn=written)
        assert token["expiresOn"] == token["effectiveSettings"]["expiresOn"] == shown
        assert await api.read(kind, token["id"]) == token
    assert "expiresOn" not in await api.create(kind, expiresOn=None)


async def test_expireson_in_a_creation_must_be_an_instant(api: Api, kind: TokenKind) -> None:
    for wrong in (5, True, "tomorrow", "2050-01-01", "2050-13-01T00:00:00Z"):
        body = {"label": "a", "streams": [STREAM], "expiresOn": wrong}
        assert "expiresOn" in await api.refused("POST", path(kind), json=body)


async def test_expires_and_expireson_are_refused_together(api: Api, kind: TokenKind) -> None:
    body = {"label": "a", "streams": [STREAM], "expires": 60, "expiresOn": "2050-01-01T00:00:00Z"}
    assert "expiresOn" in await api.refused("POST", path(kind), json=body)
    token = await api.create(kind, expires=60, expiresOn=None)
    assert seconds(token["expiresOn"]) - seconds(token["addedOn"]) == 60


async def test_labels_come_back_as_they_were_written(api: Api, kind: TokenKind) -> None:
    for label in (
        " a ",
        "Bühne \u2603 \U0001f3ad",
        "<b>&amp;'\"\\",
        "\u202e",
        "a\nb",
        "'; DROP TABLE token",
    ):
        token = await api.create(kind, label=label)
        assert token["label"] == label
        assert (await api.read(kind, token["id"]))["label"] == label


async def test_a_label_with_a_nul_character_is_refused(api: Api, kind: TokenKind) -> None:
    """PostgreSQL has no room for it; no store of ours takes what another does not."""
    body = {"label": "a\0b", "streams": [STREAM]}
    assert "label" in await api.refused("POST", path(kind), json=body)
    token = await api.create(kind)
    for version in (1, 2):
        assert "label" in await api.refused("PUT", f"{path(kind, version)}/{token['id']}", json={"label": "a\0"})
    assert await api.read(kind, token["id"]) == token


# -- our own fields


async def test_notbefore_is_ours_and_shown_only_where_it_was_set(api: Api, kind: TokenKind) -> None:
    own = frozenset({"notBefore"})
    body = {"label": "a", "streams": [STREAM]}
    for written, shown in (
        ("2030-01-01T00:00:00Z", "2030-01-01T00:00:00Z"),
        ("2030-01-01T01:00:00+01:00", "2030-01-01T00:00:00Z"),
        ("2030-01-01T00:00:00.001Z", "2030-01-01T00:00:01Z"),
    ):
        token = await api.data("POST", path(kind), json=body | {"notBefore": written})
        check_token(token, kind, version=1, own=own)
        assert token["notBefore"] == shown
    for version in (1, 2):
        url = f"{path(kind, version)}/{token['id']}"
        token = await api.data("PUT", url, json={"notBefore": "2031-01-01T00:00:00Z"})
        check_token(token, kind, version=version, own=own)
        assert token["notBefore"] == "2031-01-01T00:00:00Z"
    for wrong in ("tomorrow", "2030-01-01", 5, True, "2030-13-01T00:00:00Z"):
        assert "notBefore" in await api.refused("POST", path(kind), json=body | {"notBefore": wrong})


async def test_a_token_that_would_never_be_valid_is_refused(settings: Settings, kind: TokenKind) -> None:
    async with serving(settings, clock=lambda: AT) as (api, _):
        body = {"label": "a", "streams": [STREAM], "expires": 60}
        for at, allowed in ((AT + 59, True), (AT + 60, False), (AT + 61, False)):
            status, _answer = await api.answer("POST", path(kind), json=body | {"notBefore": text_of(at)})
            assert status == (200 if allowed else 400)


async def test_a_notbefore_at_the_ends_of_time_is_refused_or_shown(settings: Settings) -> None:
    async with serving(settings) as (api, _):
        for instant in ("9999-12-31T23:59:59.5Z", "9999-12-31T23:59:59-01:00", "0001-01-01T00:00:00+01:00"):
            body = {"label": "a", "streams": [STREAM], "notBefore": instant}
            status, _answer = await api.answer("POST", path(PUBLISH), json=body)
            assert status in (200, 400)
            await api.list(PUBLISH)


OWN_RULES: Final[Json] = {
    "notBefore": "2030-01-01T00:00:00Z",
    "shadowUntil": "1999-01-01T00:00:00Z",
    "hours": {"timeZone": "Europe/Warsaw", "windows": [{"days": ["mon", "sun"], "from": "22:00", "to": "06:30"}]},
    "endSessionsAtExpiry": True,
    "bindTolerance": {"ipv4Prefix": 24, "ipv6Prefix": 64, "rebindsPerHour": 2},
    "allowWithoutOrigin": True,
    "geoAppliesTo": ["subscribe"],
    "allowedProtocols": ["rtmp", "hls"],
    "allowedUserAgents": ["Example*"],
    "allowedReferrers": ["https://example.com/*"],
    "subject": "alice",
    "sessionLimit": {"most": 2, "per": "subject", "over": "grace", "graceSeconds": 5},
    "singleUse": {"graceSeconds": 30},
    "budgets": {"sessionSeconds": 60, "watchSeconds": 600, "bytes": 1000, "starts": 3},
}
"""Every rule of ours, with a value that is not its default."""
CLEARED_BY_NULL: Final = {"shadowUntil", "hours", "bindTolerance", "sessionLimit", "singleUse", "budgets"}


async def test_our_own_rules_come_back_from_a_creation_and_are_not_shown_where_they_are_not_set(
    api: Api, kind: TokenKind
) -> None:
    own = frozenset(OWN_RULES)
    assert own == set(Rules.__struct_encode_fields__)
    body = {"label": "a", "streams": [STREAM]}
    token = check_token(await api.data("POST", path(kind), json=body | OWN_RULES), kind, version=1, own=own)
    assert {name: token[name] for name in own} == OWN_RULES
    assert own.isdisjoint(await api.create(kind))


async def test_an_update_changes_one_of_our_rules_and_no_other(api: Api, kind: TokenKind, version: int) -> None:
    own = frozenset(OWN_RULES)
    url = f"{path(kind, version)}/{(await api.create(kind))['id']}"
    token: Json = {}
    for name in sorted(OWN_RULES, key=lambda name: name != "subject"):
        token = check_token(await api.data("PUT", url, json={name: OWN_RULES[name]}), kind, version=version, own=own)
        assert token[name] == OWN_RULES[name]
    assert {name: token[name] for name in own} == OWN_RULES


async def test_null_clears_those_of_our_rules_that_are_objects_or_end_a_trial(
    api: Api, kind: TokenKind, version: int
) -> None:
    own = frozenset(OWN_RULES)
    token = await api.data("POST", path(kind), json={"label": "a", "streams": [STREAM]} | OWN_RULES)
    url = f"{path(kind, version)}/{token['id']}"
    for name in sorted(CLEARED_BY_NULL):
        cleared = check_token(await api.data("PUT", url, json={name: None}), kind, version=version, own=own)
        assert name not in cleared
        assert own - set(cleared) <= CLEARED_BY_NULL
    kept = await api.data("PUT", url, json=dict.fromkeys(own - CLEARED_BY_NULL) | {"label": "b"})
    assert {name: kept[name] for name in own - CLEARED_BY_NULL} == {
        name: OWN_RULES[name] for name in own - CLEARED_BY_NULL
    }


async def test_one_of_our_rules_that_cannot_be_right_is_refused_by_its_name(api: Api, kind: TokenKind) -> None:
    for name, wrong in (
        ("hours", {"timeZone": "Mars/Olympus", "windows": [{"days": ["mon"], "from": "00:00", "to": "24:00"}]}),
        ("hours", {"timeZone": "UTC", "windows": []}),
        ("hours", {"timeZone": "UTC", "windows": [{"days": [], "from": "00:00", "to": "24:00"}]}),
        ("hours", {"timeZone": "UTC", "windows": [{"days": ["mo"], "from": "00:00", "to": "24:00"}]}),
        ("hours", {"timeZone": "UTC", "windows": [{"days": ["mon"], "from": "24:00", "to": "24:00"}]}),
        ("hours", {"timeZone": "UTC", "windows": [{"days": ["mon"], "from": "9:00", "to": "10:00"}]}),
        ("bindTolerance", {"ipv4Prefix": 33}),
        ("bindTolerance", {"rebindsPerHour": -1}),
        ("geoAppliesTo", []),
        ("geoAppliesTo", ["watch"]),
        ("allowedProtocols", ["carrier pigeon"]),
        ("allowedUserAgents", [""]),
        ("subject", "a" * 129),
        ("subject", "a\0"),
        ("subject", 5),
        ("sessionLimit", {"most": 0}),
        ("sessionLimit", {}),
        ("sessionLimit", {"most": 1, "over": "grace"}),
        ("sessionLimit", {"most": 1.5}),
        ("sessionLimit", {"most": True}),
        ("singleUse", {"graceSeconds": -1}),
        ("budgets", {}),
        ("budgets", {"starts": 0}),
        ("budgets", {"bytes": "1"}),
        ("shadowUntil", "9999-01-01T00:00:00Z"),
        ("shadowUntil", 5),
        ("endSessionsAtExpiry", 1),
    ):
        body = {"label": "a", "streams": [STREAM], name: wrong}
        assert name in await api.refused("POST", path(kind), json=body), (name, wrong)


async def test_a_shadowuntil_at_the_ends_of_time_is_refused_or_shown(settings: Settings) -> None:
    """One token must not take the whole list with it."""
    async with serving(settings) as (api, _):
        for instant in ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00+01:00", "1969-12-31T23:59:59Z"):
            body = {"label": "a", "streams": [STREAM], "shadowUntil": instant}
            status, _answer = await api.answer("POST", path(PUBLISH), json=body)
            assert status in (200, 400)
            await api.data("GET", f"{path(PUBLISH)}/list", params={"page": 1, "itemsOnPage": 100})


async def test_a_notbefore_long_ago_is_shown_as_a_date_and_time(api: Api) -> None:
    body = {"label": "a", "streams": [STREAM], "notBefore": "0999-01-01T00:00:00Z"}
    status, answer = await api.answer("POST", path(PUBLISH), json=body)
    assert status == 400 or INSTANT.fullmatch(answer["data"]["notBefore"])


# -- envelopes of what is not in the contract


async def test_an_unknown_path_and_a_wrong_method_are_fails(api: Api) -> None:
    for method, url, status in (
        ("GET", "/", 404),
        ("GET", "/nowhere", 404),
        ("GET", "/api", 404),
        ("GET", "/api/", 404),
        ("GET", "/api/publish_tokens/1", 404),
        ("GET", "/api/v3/publish_token/1", 404),
        ("GET", f"{path(PUBLISH)}/1/2", 404),
        ("POST", "/nowhere", 404),
        ("GET", path(PUBLISH), 405),
        ("PATCH", path(SUBSCRIBE), 405),
        ("POST", f"{path(PUBLISH)}/list", 405),
        ("POST", f"{path(PUBLISH)}/1", 405),
        ("GET", f"{path(PUBLISH, 2)}/1", 405),
        ("DELETE", f"{path(SUBSCRIBE, 2)}/1", 405),
        ("PUT", f"{path(PUBLISH)}/disable", 405),
        ("NOSUCH", path(PUBLISH), 405),
    ):
        await api.refused(method, url, status=status)
        del_auth = {"Authorization": ""}
        status_without_secret, _ = await api.answer(method, url, headers=del_auth)
        assert 400 <= status_without_secret < 500


BODIES: Final[dict[str, bytes]] = {
    "empty": b"",
    "spaces": b"  \n",
    "no JSON": b"label=a&streams=b",
    "half": b'{"label": "a", "streams": [{"streamName": "s"}',
    "more after the end": b'{"label": "a", "streams": [{"streamName": "s"}]} {}',
    "null": b"null",
    "true": b"true",
    "a number": b"5",
    "a string": b'"a"',
    "an empty list": b"[]",
    "a list": b'[{"label": "a", "streams": [{"streamName": "s"}]}]',
    "NaN": b'{"label": "a", "streams": [{"streamName": "s"}], "expires": NaN}',
    "infinity": b'{"label": "a", "streams": [{"streamName": "s"}], "expires": 1e999}',
    "a very long number": b'{"label": "a", "streams": [{"streamName": "s"}], "expires": ' + b"9" * 6000 + b"}",
    "a lone surrogate": b'{"label": "\\ud800", "streams": [{"streamName": "s"}]}',
    "a raw control character": b'{"label": "a\x01", "streams": [{"streamName": "s"}]}',
    "a byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": json.dumps({"label": "a", "streams": [STREAM]}).encode("utf-16"),
    "no text at all": bytes(range(256)),
    "2 MB of nothing": b" " * 2_000_000,
    "2 MB of label": json.dumps({"label": "a" * 2_000_000, "streams": [STREAM]}).encode(),
    "100 000 streams": json.dumps({"label": "a", "streams": [{"streamName": "s"}] * 100_000}).encode(),
}


async def test_a_body_that_is_not_the_form_is_a_fail_and_never_our_fault(api: Api, kind: TokenKind) -> None:
    token = await api.create(kind)
    for name, body in BODIES.items():
        for method, url in (
            ("POST", path(kind)),
            ("PUT", f"{path(kind, 1)}/{token['id']}"),
            ("PUT", f"{path(kind, 2)}/{token['id']}"),
            ("PATCH", f"{path(kind)}/disable"),
        ):
            status, _ = await api.answer(method, url, content=body)
            assert 400 <= status < 500, (name, method)
    assert await api.list(kind) == [token]


async def test_a_body_that_is_too_long_is_told_so(api: Api) -> None:
    for body in (BODIES["2 MB of nothing"], BODIES["2 MB of label"]):
        await api.refused("POST", path(PUBLISH), status=413, content=body)


async def test_a_body_that_never_said_its_length_is_cut_off(api: Api) -> None:
    sent: list[int] = []

    async def endless() -> AsyncIterator[bytes]:
        while len(sent) < 10_000:
            sent.append(10_000)
            yield b" " * 10_000

    await api.refused("POST", path(PUBLISH), status=413, content=endless())
    assert sum(sent) < 2_000_000


NESTED: Final[list[bytes]] = [
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b'{"label": "a", "streams": [{"streamName": "s"}], "unknown": ' + b"[" * 5000 + b"]" * 5000 + b"}",
]
NOT_UTF8: Final[list[bytes]] = [
    b'{"label": "\xff", "streams": [{"streamName": "s"}]}',
    b'{"label": "\xed\xa0\x80", "streams": [{"streamName": "s"}]}',
    b'{"\xff": 1}',
]


async def _are_fails(api: Api, bodies: list[bytes]) -> None:
    for body in bodies:
        for method, url in (
            ("POST", path(PUBLISH)),
            ("PUT", f"{path(PUBLISH, 2)}/1"),
            ("PATCH", f"{path(PUBLISH)}/disable"),
        ):
            status, _ = await api.answer(method, url, content=body)
            assert 400 <= status < 500


async def test_a_deeply_nested_body_is_a_fail(api: Api) -> None:
    await _are_fails(api, NESTED)


async def test_a_body_that_is_not_utf8_is_a_fail(api: Api) -> None:
    await _are_fails(api, NOT_UTF8)


async def test_the_content_type_of_a_body_does_not_matter(api: Api, kind: TokenKind) -> None:
    content = json.dumps({"label": "a", "streams": [STREAM]}).encode()
    for content_type in ("application/json", "application/json; charset=utf-8", "text/plain", "x/y", ""):
        headers = {"Content-Type": content_type}
        check_token(await api.data("POST", path(kind), content=content, headers=headers), kind, version=1)
    check_token(await api.data("POST", path(kind), content=content), kind, version=1)


async def test_a_database_that_does_not_answer_is_an_error_of_ours_that_tells_no_details(settings: Settings) -> None:
    async with serving(settings) as (api, _):
        await _loses_its_tokens(api)


async def _loses_its_tokens(api: Api) -> None:
    token = await api.create(PUBLISH)
    async with api.admin.store._writing() as write:
        await write.connection.execute(delete(schema.publisher_stream))
        await write.connection.exec_driver_sql("ALTER TABLE token RENAME TO elsewhere")
    for method, url in (("GET", f"{path(PUBLISH)}/{token['id']}"), ("DELETE", f"{path(PUBLISH)}/{token['id']}")):
        status, body = await api.answer(method, url)
        assert status == 503
        assert "data" in body
        assert "token" not in body["message"]
        assert "table" not in body["message"]


# -- streams that are named for the caller, or left open


async def test_stream_names_are_made_at_random_on_request(api: Api, kind: TokenKind) -> None:
    token = await api.create(kind, streams=[STREAM], randomStreamNames=3)
    names = [stream["streamName"] for stream in token["streams"]]
    assert names[0] == STREAM["streamName"]
    assert len(set(names)) == 4
    assert all(re.fullmatch(r"[a-z2-9]{10}", name) for name in names[1:])
    assert all(not stream["isRegex"] for stream in token["streams"])
    alone = await api.create(kind, streams=[], randomStreamNames=1)
    assert len(alone["streams"]) == 1
    assert not {stream["streamName"] for stream in alone["streams"]} & set(names)


async def test_any_stream_name_is_allowed_on_request(api: Api, kind: TokenKind) -> None:
    token = await api.create(kind, streams=[], allowAnyStream=True)
    assert token["streams"] == [{"streamName": ".*", "isRegex": True}]


async def test_a_token_without_any_stream_is_refused(api: Api, kind: TokenKind) -> None:
    refused = await api.refused("POST", path(kind), json={"label": "a", "streams": []})
    assert "streams" in refused


# -- defaults of what is left out inside objects


async def test_targets_are_on_and_cascades_go_everywhere_unless_said_otherwise(api: Api) -> None:
    token = await api.create(
        PUBLISH, restream=[{"url": "rtmp://example.com/live", "key": "12345"}], geoCascade={"isEnabled": True}
    )
    assert token["restream"] == [{"url": "rtmp://example.com/live", "key": "12345", "enabled": True}]
    assert token["geoCascade"] == {"isEnabled": True, "clusters": ["all"]}
    assert token["effectiveSettings"]["geoCascade"] == token["geoCascade"]


async def test_up_to_ten_targets_are_taken(api: Api) -> None:
    targets = [RESTREAM | {"key": f"key-{number}"} for number in range(11)]
    assert (await api.create(PUBLISH, restream=targets[:10]))["restream"] == targets[:10]
    await api.refused("POST", path(PUBLISH), json={"label": "a", "streams": [STREAM], "restream": targets})


async def test_a_sync_is_counted_for_whoever_sends_the_stream_on(api: Api) -> None:
    token = await api.create(PUBLISH, restream=[RESTREAM])
    for times in (1, 2):
        assert await api.data("POST", f"{path(PUBLISH)}/{token['id']}/restream/sync") is True
        kept = await api.admin.store.token(api.account, PUBLISH, token["id"])
        assert kept.terms.publishing.restream_sync == times
    assert await api.read(PUBLISH, token["id"]) == token
    assert "tokenId" in await api.refused("POST", f"{path(PUBLISH)}/999999/restream/sync")


# -- the SRT passphrase


async def test_the_passphrase_is_shown_where_that_is_asked_for_and_is_the_tokens_own(api: Api) -> None:
    hidden, shown = await api.create(PUBLISH), await api.create(PUBLISH, displaySrtPassphrase=True)
    assert "srtPassphrase" not in hidden
    assert PASSPHRASE.fullmatch(shown["srtPassphrase"])
    assert (await api.read(PUBLISH, shown["id"]))["srtPassphrase"] == shown["srtPassphrase"]
    other = await api.create(PUBLISH, displaySrtPassphrase=True)
    assert other["srtPassphrase"] != shown["srtPassphrase"]


# -- searching


async def test_tokens_are_found_by_label_and_stream_name(api: Api, kind: TokenKind) -> None:
    names = {
        "Main": await api.create(kind, label="Main", streams=[{"streamName": "hall"}]),
        "Backup": await api.create(kind, label="Backup", streams=[{"streamName": "main-2"}]),
        "Any": await api.create(kind, label="Any", streams=[], allowAnyStream=True),
    }

    async def found(name: str, **query: Any) -> list[str]:
        params = {"page": 1, "itemsOnPage": 10, "name": name} | query
        tokens = await api.data("GET", f"{path(kind)}/list_by_name", params=params)
        assert all(token == names[token["label"]] for token in tokens)
        return [token["label"] for token in tokens]

    assert await found("main") == ["Backup", "Main"]
    assert await found("main", isDescending="True") == ["Main", "Backup"]
    assert await found("main", filterBy="TokenName") == ["Main"]
    assert await found("main", filterBy="StreamName") == ["Backup"]
    assert await found("main", filterBy="None") == ["Any", "Backup", "Main"]
    assert await found("main", page=2) == []
    assert await found("%") == []
    await api.refused("GET", f"{path(kind)}/list_by_name", params={"page": 1, "itemsOnPage": 10})


async def test_tokens_are_listed_by_cluster(api: Api) -> None:
    own = await api.create(PUBLISH, originCluster="iad-1")
    plain = await api.create(PUBLISH)

    async def found(cluster: str) -> list[int]:
        params = {"page": 1, "itemsOnPage": 10, "cluster": cluster}
        return [token["id"] for token in await api.data("GET", f"{path(PUBLISH)}/list_by_cluster", params=params)]

    assert await found("iad-1") == [own["id"]]
    assert await found("auto") == [plain["id"]]
    await api.admin.accounts.change(api.account, lambda policy: replace(policy, origin_cluster="iad-1"))
    assert await found("iad-1") == [own["id"], plain["id"]]


# -- requests that are sent again


async def test_a_key_of_the_callers_own_makes_one_token(api: Api, kind: TokenKind) -> None:
    body = {"label": "a", "streams": [STREAM], "randomStreamNames": 1}
    headers = {"Idempotency-Key": secrets.token_hex(8)}
    made = [await api.data("POST", path(kind), json=body, headers=headers) for _ in range(3)]
    assert made[0] == made[1] == made[2]
    others = [
        await api.data("POST", path(kind), json=body),
        await api.data("POST", path(kind), json=body, headers={"Idempotency-Key": secrets.token_hex(8)}),
    ]
    assert len({token["id"] for token in (made[0], *others)}) == 3
    assert len(await api.list(kind)) == 3
    refused = await api.refused("POST", path(kind), json=body | {"label": "b"}, headers=headers)
    assert "Idempotency-Key" in refused["message"] or "Idempotency-Key" in refused


@pytest.mark.parametrize("key", ["", "x" * 256, "a\tb"])
async def test_a_key_that_cannot_be_is_refused(api: Api, key: str) -> None:
    body = {"label": "a", "streams": [STREAM]}
    refused = await api.refused("POST", path(PUBLISH), json=body, headers={"Idempotency-Key": key})
    assert "Idempotency-Key" in refused
    assert await api.list(PUBLISH) == []


async def test_the_same_key_is_another_one_in_another_account(both: tuple[Api, Api]) -> None:
    body, headers = {"label": "a", "streams": [STREAM]}, {"Idempotency-Key": "the same"}
    hers, his = [await api.data("POST", path(PUBLISH), json=body, headers=headers) for api in both]
    assert hers["id"] != his["id"]
    assert hers["token"] != his["token"]


# -- clusters


async def test_a_cluster_that_nobody_runs_is_refused_where_there_are_any(settings: Settings) -> None:
    async with serving(settings) as (api, _):
        free = await api.create(PUBLISH, originCluster="anything")
        await api.admin.clusters.add(Cluster(id="iad-1", name="Ashburn", rtmp="a.example", srt="a.example"))
        token = await api.create(PUBLISH, originCluster="iad-1")
        refused = await api.refused(
            "POST", path(PUBLISH), json={"label": "a", "streams": [STREAM], "originCluster": "typo"}
        )
        assert "iad-1" in refused["originCluster"]
        for version in (1, 2):
            name = V1_NAMES["originCluster"] if version == 1 else "originCluster"
            url = f"{path(PUBLISH, version)}/{token['id']}"
            await api.refused("PUT", url, json={name: "typo"})
            for good in ("auto", "iad-1"):
                assert (await api.data("PUT", url, json={name: good}))["originCluster"] == good
        # What was set before there were clusters may stay, and does not stand in the way of other changes.
        assert (await api.update(PUBLISH, free["id"], 2, label="b"))["originCluster"] == "anything"
