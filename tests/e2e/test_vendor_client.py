# ruff: noqa: D103
"""The vendor's own client, dolbyio-rest-apis 5.0.0 as its package has it, against `stagedoor serve` over HTTPS.

Two things around it are replaced, as its user would: the name of the host that its `get_rts_url` makes addresses of, and
the certificates that are trusted. A third is for the test: it sends 50 requests, and then one a second; it is let send more.
"""

import asyncio
import importlib
import inspect
import json
import pkgutil
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Final

import aiohttp
import aiohttp_retry
import certifi
import pytest
from dolbyio_rest_apis import streaming
from dolbyio_rest_apis.core import urls
from dolbyio_rest_apis.core.http_request_error import HttpRequestError
from dolbyio_rest_apis.core.rate_limiter import RATE_LIMITER
from dolbyio_rest_apis.streaming.models.account import AccountGeoCascade, AccountGeoRestrictions
from dolbyio_rest_apis.streaming.models.publish_token import (
    CreatePublishToken,
    PublishTokenRestream,
    TokenGeoCascade,
    TokenStreamName,
    UpdatePublishToken,
)
from dolbyio_rest_apis.streaming.models.subscribe_token import CreateSubscribeToken, UpdateSubscribeToken
from dolbyio_rest_apis.streaming.models.webhooks import CreateWebhook, UpdateWebhook

from stagedoor.live.nginx import OwnNginx, find_nginx
from stagedoor.model.secret import Secret
from tests.certificates import Certificates, make_certificates
from tests.https import HttpsSystem, relaying
from tests.ports import HOST, free_port

FAILING: Final = (sys.executable, str(Path(__file__).parent.parent / "failing_serve.py"))

STUDIO: Final = TokenStreamName("studio")
CAMERAS: Final = TokenStreamName("cam-[0-9]+", is_regex=True)
THERE: Final = PublishTokenRestream(url="rtmp://192.0.2.1/live", key="there")
ELSEWHERE: Final = PublishTokenRestream(url="rtmp://192.0.2.2/live", key="elsewhere")
CASCADE: Final = TokenGeoCascade(is_enabled=True, clusters=["phx-1"])


def functions_of_the_client() -> set[str]:
    """Return every public call of the client's streaming part, found by looking, as `module.function`."""
    found = set()
    for module in pkgutil.iter_modules(streaming.__path__):
        if not module.ispkg:
            loaded = importlib.import_module(f"{streaming.__name__}.{module.name}")
            found |= {
                f"{module.name}.{name}"
                for name, value in vars(loaded).items()
                if inspect.iscoroutinefunction(value) and value.__module__ == loaded.__name__ and name[0] != "_"
            }
    return found


class Vendor:
    """The client with one API secret; it remembers which calls succeeded."""

    def __init__(self, system: HttpsSystem) -> None:
        self.system = system
        self.secret = system.secret
        self.succeeded: set[str] = set()

    async def __call__(self, call: str, *arguments: Any, **named: Any) -> Any:
        module, function = call.split(".")
        answer = await getattr(importlib.import_module(f"{streaming.__name__}.{module}"), function)(
            self.secret, *arguments, **named
        )
        self.succeeded.add(call)
        return answer

    def seen_without_it(self, path: str) -> Any:
        """Return the data that a plain HTTP client gets: the client's own models lose some."""
        with self.system.client() as client:
            return client.get(path).json()["data"]

    async def publish_token(self, **fields: Any) -> Any:
        """Create a publish token and return it."""
        asked = CreatePublishToken("a label")
        asked.streams = [STUDIO]
        for name, value in fields.items():
            setattr(asked, name, value)
        return await self("publish_token.create", asked)

    async def subscribe_token(self, **fields: Any) -> Any:
        """Create a subscribe token and return it."""
        asked = CreateSubscribeToken("a label")
        asked.streams = [STUDIO]
        for name, value in fields.items():
            setattr(asked, name, value)
        return await self("subscribe_token.create", asked)


class Media:
    """A real nginx-rtmp that asks the authority, with real encoders."""

    def __init__(self, system: HttpsSystem, folder: Path, hooks: int) -> None:
        """Make it known to the authority, which it reaches at the port `hooks`, and start it."""
        self.account = system.account
        self.rtmp, control = free_port(), free_port()
        system.environment["STAGEDOOR_PUBLIC_URL"] = f"http://{HOST}:{hooks}"
        command = ["engine", "add", "nginx-rtmp", "--name", "media", "--account", system.account, "--json"]
        engine = json.loads(system.stagedoor(*command, "--control-url", f"http://{HOST}:{control}"))
        del system.environment["STAGEDOOR_PUBLIC_URL"]
        found = find_nginx()
        assert found is not None, "nginx with its RTMP module is missing; make test installs it"
        self._nginx = OwnNginx(
            program=found[0],
            module=found[1],
            run=folder,
            hook_url=engine["hookUrl"],
            control_secret=Secret(re.findall(r'"Bearer (\w+)"', engine["config"])[0]),
            host=HOST,
            rtmp=self.rtmp,
            hls=control,
        )
        self._process = self._nginx.start()

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=30)

    async def broadcast(self, name: str, token: str) -> asyncio.subprocess.Process:
        """Start an encoder that sends until it is ended."""
        source = ["-re", "-f", "lavfi", "-i", "testsrc2=size=160x120:rate=25:duration=120"]
        codec = ["-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-pix_fmt", "yuv420p", "-f", "flv"]
        return await asyncio.create_subprocess_exec(
            *["ffmpeg", "-hide_banner", "-nostdin", "-loglevel", "error", *source, *codec],
            f"rtmp://{HOST}:{self.rtmp}/live/{name}?token={token}",
            stderr=asyncio.subprocess.DEVNULL,
        )


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[HttpsSystem]:
    """A system with two clusters, served over HTTPS."""
    made = HttpsSystem(tmp_path_factory.mktemp("system"), certificates)
    made.stagedoor("cluster", "add", "phx-1", "--rtmp", "rtmp.phx.example", "--city", "Phoenix", "--country", "US")
    made.stagedoor("cluster", "add", "fra-1", "--rtmp", "rtmp.fra.example", "--transcoding")
    with made.serving():
        yield made


@pytest.fixture(scope="module")
def media(system: HttpsSystem, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Media]:
    """A media server. It speaks no TLS: a relay stands between."""
    with relaying(system.port, calls=system.certificates.client()) as port:
        made = Media(system, tmp_path_factory.mktemp("nginx"), port)
        yield made
        made.close()


@pytest.fixture
def moved_to(monkeypatch: pytest.MonkeyPatch, certificates: Certificates) -> Callable[[int], None]:
    """Point the client at a port of this machine, and have it trust the test's certificate."""
    monkeypatch.setattr(certifi, "where", lambda: str(certificates.authority))
    monkeypatch.setattr(RATE_LIMITER, "_nb_requests_left", 1000)

    def move(port: int) -> None:
        monkeypatch.setattr(urls, "SAPI_URL", f"{HOST}:{port}")
        assert urls.get_rts_url() == f"https://{HOST}:{port}"

    return move


@pytest.fixture
def vendor(system: HttpsSystem, moved_to: Callable[[int], None]) -> Vendor:
    moved_to(system.port)
    return Vendor(system)


@pytest.fixture
async def encoders() -> AsyncIterator[list[asyncio.subprocess.Process]]:
    """The encoders that a test starts; those still running are ended."""
    started: list[asyncio.subprocess.Process] = []
    yield started
    for encoder in started:
        if encoder.returncode is None:
            encoder.kill()
        await encoder.wait()


async def until(what: Callable[[], Awaitable[bool]], seconds: float = 40) -> None:
    """Wait until something is so."""
    for _ in range(int(seconds / 0.2)):
        if await what():
            return
        await asyncio.sleep(0.2)
    raise AssertionError(f"did not come about within {seconds} s")


# -- what each call does, one proof for each; a proof that does not make its call fails

Proof = Callable[[Vendor], Awaitable[None]]


async def creates_a_publish_token(vendor: Vendor) -> None:
    created = await vendor.publish_token(label="new", streams=[STUDIO, CAMERAS])
    assert (created.label, created.streams, created.is_active) == ("new", [STUDIO, CAMERAS], True)
    assert len(bytes.fromhex(created.token)) == 32
    assert await vendor("publish_token.read", created.id) == created


async def reads_a_publish_token(vendor: Vendor) -> None:
    first, second = await vendor.publish_token(label="one"), await vendor.publish_token(label="two")
    assert [(await vendor("publish_token.read", each.id)).label for each in (second, first)] == ["two", "one"]


async def updates_a_publish_token(vendor: Vendor) -> None:
    created = await vendor.publish_token()
    asked = UpdatePublishToken()
    asked.refresh_token = True
    asked.label = "renewed"
    updated = await vendor("publish_token.update", created.id, asked)
    assert (updated.id, updated.label) == (created.id, "renewed")
    assert updated.token != created.token
    assert await vendor("publish_token.read", created.id) == updated


async def deletes_a_publish_token(vendor: Vendor) -> None:
    created = await vendor.publish_token()
    assert await vendor("publish_token.delete", created.id) is None
    with pytest.raises(HttpRequestError) as refused:
        await vendor("publish_token.read", created.id)
    assert (refused.value.status_code, refused.value.error_reason) == (400, "fail")
    assert str(created.id) in refused.value.error_description


async def lists_publish_tokens(vendor: Vendor) -> None:
    names = [(await vendor.publish_token(label=f"list {name}")).label for name in "bca"]
    newest = await vendor("publish_token.list_tokens", "AddedOn", 1, 3, is_descending=True)
    assert [token.label for token in newest] == names[::-1]
    by_name = await vendor("publish_token.list_tokens", "Name", 1, 100)
    assert [token.label for token in by_name if token.label in names] == sorted(names)
    assert await vendor("publish_token.list_tokens", "Name", 1000, 100) == []


async def disables_publish_tokens(vendor: Vendor) -> None:
    on, off = await vendor.publish_token(), await vendor.publish_token()
    outcome = await vendor("publish_token.disable", [off.id, 10**9])
    assert outcome.successful_tokens == [off.id]
    assert [int(failed.token_id) for failed in outcome.failed_tokens] == [10**9]
    assert outcome.failed_tokens[0].error_message
    active = [(await vendor("publish_token.read", token.id)).is_active for token in (on, off)]
    assert active == [True, False]


async def creates_a_subscribe_token(vendor: Vendor) -> None:
    created = await vendor.subscribe_token(label="viewer", tracking_id="t-1")
    assert (created.label, created.streams, created.is_active) == ("viewer", [STUDIO], True)
    # The client's model takes the id for a boolean.
    assert created.tracking.tracking_id is True
    assert vendor.seen_without_it(f"/api/subscribe_token/{created.id}")["tracking"] == {"trackingId": "t-1"}
    assert await vendor("subscribe_token.read", created.id) == created


async def reads_a_subscribe_token(vendor: Vendor) -> None:
    created = await vendor.subscribe_token(label="one")
    assert (await vendor("subscribe_token.read", created.id)).label == "one"
    with pytest.raises(HttpRequestError, match="Status Code: 400"):
        await vendor("publish_token.read", created.id)


async def updates_a_subscribe_token(vendor: Vendor) -> None:
    created = await vendor.subscribe_token()
    asked = UpdateSubscribeToken()
    asked.is_active = False
    assert (await vendor("subscribe_token.update", created.id, asked)).is_active is False
    assert (await vendor("subscribe_token.read", created.id)).is_active is False


async def deletes_a_subscribe_token(vendor: Vendor) -> None:
    created = await vendor.subscribe_token()
    await vendor("subscribe_token.delete", created.id)
    with pytest.raises(HttpRequestError):
        await vendor("subscribe_token.read", created.id)


async def lists_subscribe_tokens(vendor: Vendor) -> None:
    ids = [(await vendor.subscribe_token()).id for _ in range(3)]
    newest = await vendor("subscribe_token.list_tokens", "AddedOn", 1, 2, is_descending=True)
    older = await vendor("subscribe_token.list_tokens", "AddedOn", 2, 2, is_descending=True)
    assert [token.id for token in newest] == ids[:0:-1]
    assert older[0].id == ids[0]


async def reads_and_sets_the_cascade(vendor: Vendor) -> None:
    for wanted in (AccountGeoCascade(is_enabled=True, clusters=["phx-1"]), AccountGeoCascade(is_enabled=False)):
        set_to = await vendor("account.update_geo_cascade", wanted)
        assert set_to.is_enabled is wanted.is_enabled
        assert await vendor("account.read_geo_cascade") == set_to
        if wanted.clusters:
            assert set_to.clusters == wanted.clusters


async def reads_and_sets_the_countries(vendor: Vendor) -> None:
    wanted = AccountGeoRestrictions(allowed_countries=["PL", "ZA"])
    assert await vendor("account.update_geo_restrictions", wanted) == wanted
    assert await vendor("account.read_geo_restrictions") == wanted
    token = await vendor.publish_token()
    assert token.effective_settings.allowed_countries == ["PL", "ZA"]
    nowhere = AccountGeoRestrictions()
    assert await vendor("account.update_geo_restrictions", nowhere) == nowhere
    assert await vendor("account.read_geo_restrictions") == nowhere


async def reads_and_chooses_clusters(vendor: Vendor) -> None:
    clusters = await vendor("cluster.read")
    assert {cluster.id for cluster in clusters.available_clusters} == {"auto", "phx-1", "fra-1"}
    assert clusters.default_cluster == "auto"
    phoenix = next(cluster for cluster in clusters.available_clusters if cluster.id == "phx-1")
    assert phoenix.rtmp == "rtmp.phx.example"
    assert (await vendor("cluster.update", "phx-1")).default_cluster == "phx-1"
    assert (await vendor("cluster.read")).default_cluster == "phx-1"
    assert (await vendor.publish_token()).effective_settings.origin_cluster == "phx-1"
    with pytest.raises(HttpRequestError, match="fra-1"):
        await vendor("cluster.update", "nowhere")
    assert (await vendor("cluster.update", "auto")).default_cluster == "auto"


async def creates_a_webhook(vendor: Vendor) -> None:
    created = await vendor("webhooks.create", CreateWebhook("https://hooks.example/a", True, False))
    assert (created.url, created.is_feed_hooks, created.is_recording_hooks) == ("https://hooks.example/a", True, False)
    assert created.secret
    assert await vendor("webhooks.read", created.id) == created


async def updates_a_webhook(vendor: Vendor) -> None:
    created = await vendor("webhooks.create", CreateWebhook("https://hooks.example/b", True, True))
    asked = UpdateWebhook()
    asked.url, asked.refresh_secret, asked.is_feed_hooks = "https://hooks.example/c", True, False
    asked.is_thumbnail_hooks = asked.is_transcoder_hooks = asked.is_clip_hooks = True
    updated = await vendor("webhooks.update", created.id, asked)
    assert (updated.url, updated.is_feed_hooks, updated.is_recording_hooks) == (asked.url, False, True)
    assert (updated.is_thumbnail_hooks, updated.is_transcoder_hooks) == (True, True)
    assert updated.secret not in ("", created.secret)
    assert await vendor("webhooks.read", created.id) == updated


async def updates_one_field_of_a_webhook_at_a_time(vendor: Vendor) -> None:
    """Also the one field that no server of the vendor's declares, alone."""
    created = await vendor("webhooks.create", CreateWebhook("https://hooks.example/d", False, False))
    for name in vars(UpdateWebhook()):
        asked = UpdateWebhook()
        setattr(asked, name, "https://hooks.example/e" if name == "url" else True)
        await vendor("webhooks.update", created.id, asked)
    found = await vendor("webhooks.read", created.id)
    assert found.url == "https://hooks.example/e"
    assert found.is_feed_hooks
    assert found.is_recording_hooks
    assert found.is_thumbnail_hooks
    assert found.is_transcoder_hooks
    assert found.secret != created.secret


async def deletes_a_webhook(vendor: Vendor) -> None:
    created = await vendor("webhooks.create", CreateWebhook("https://hooks.example/f", True, False))
    await vendor("webhooks.delete", created.id)
    with pytest.raises(HttpRequestError):
        await vendor("webhooks.read", created.id)


async def lists_webhooks(vendor: Vendor) -> None:
    ids = [
        (await vendor("webhooks.create", CreateWebhook(f"https://hooks.example/{n}", True, False))).id for n in range(3)
    ]
    listed = await vendor("webhooks.list_webhooks", ids[0], 2)
    assert [webhook.id for webhook in listed] == ids[:2]
    newest = await vendor("webhooks.list_webhooks", 0, 1, is_descending=True)
    assert [webhook.id for webhook in newest] == ids[2:]
    assert len(await vendor("webhooks.list_webhooks", 0)) >= 3


PROOFS: Final[dict[Proof, set[str]]] = {
    creates_a_publish_token: {"publish_token.create"},
    reads_a_publish_token: {"publish_token.read"},
    updates_a_publish_token: {"publish_token.update"},
    deletes_a_publish_token: {"publish_token.delete"},
    lists_publish_tokens: {"publish_token.list_tokens"},
    disables_publish_tokens: {"publish_token.disable"},
    creates_a_subscribe_token: {"subscribe_token.create"},
    reads_a_subscribe_token: {"subscribe_token.read"},
    updates_a_subscribe_token: {"subscribe_token.update"},
    deletes_a_subscribe_token: {"subscribe_token.delete"},
    lists_subscribe_tokens: {"subscribe_token.list_tokens"},
    reads_and_sets_the_cascade: {"account.read_geo_cascade", "account.update_geo_cascade"},
    reads_and_sets_the_countries: {"account.read_geo_restrictions", "account.update_geo_restrictions"},
    reads_and_chooses_clusters: {"cluster.read", "cluster.update"},
    creates_a_webhook: {"webhooks.create", "webhooks.read"},
    updates_a_webhook: {"webhooks.update"},
    updates_one_field_of_a_webhook_at_a_time: {"webhooks.update"},
    deletes_a_webhook: {"webhooks.delete"},
    lists_webhooks: {"webhooks.list_webhooks"},
}
WITH_MEDIA: Final = {
    "publish_token.get_active_publish_token_id",
    "publish_token.get_all_active_publish_token_id",
    "stream.stop",
    "stream.stop_all",
}


def test_every_call_of_the_client_has_a_proof() -> None:
    """What the package has, as it is installed; a later version with more calls fails here."""
    assert functions_of_the_client() == set().union(*PROOFS.values(), WITH_MEDIA)
    assert len(functions_of_the_client()) == 26


@pytest.mark.parametrize("proof", PROOFS, ids=lambda proof: proof.__name__)
async def test_the_client(vendor: Vendor, proof: Proof) -> None:
    await proof(vendor)
    assert vendor.succeeded >= PROOFS[proof]


async def test_streams_are_told_of_and_stopped(
    vendor: Vendor, media: Media, encoders: list[asyncio.subprocess.Process]
) -> None:
    """Two real broadcasts: each token is told of, one is stopped, then all; and the encoders are really sent away."""
    tokens = [await vendor.publish_token(streams=[TokenStreamName(name)]) for name in ("one", "two")]
    nobody = await vendor("publish_token.get_active_publish_token_id", f"{media.account}/one")
    assert nobody.token_ids == []
    encoders += [await media.broadcast(name, token.token) for name, token in zip(("one", "two"), tokens, strict=True)]

    async def active() -> list[int]:
        ids: list[int] = (await vendor("publish_token.get_all_active_publish_token_id")).token_ids
        return ids

    async def both() -> bool:
        return await active() == [token.id for token in tokens]

    await until(both)
    of_one = await vendor("publish_token.get_active_publish_token_id", f"{media.account}/one")
    assert of_one.token_ids == [tokens[0].id]
    assert (await vendor("stream.stop", f"{media.account}/one")).stopping_level == "Stream"
    await asyncio.wait_for(encoders[0].wait(), 30)
    assert await active() == [tokens[1].id]
    assert encoders[1].returncode is None
    assert (await vendor("stream.stop_all")).stopping_level == "Account"
    await asyncio.wait_for(encoders[1].wait(), 30)
    assert await active() == []
    assert (await vendor("stream.stop_all")).stopping_level == "None"
    assert vendor.succeeded >= WITH_MEDIA


# -- every field that its requests have

OF_BOTH: Final[dict[str, Any]] = {
    "allowed_origins": ["example.com", "*.example.org"],
    "allowed_ip_addresses": ["192.0.2.0/24"],
    "bind_ips_on_usage": 3,
    "allowed_countries": ["PL", "ZA"],
    "denied_countries": ["DE"],
    "origin_cluster": "phx-1",
}
FLAGS: Final = (
    "subscribe_requires_auth",
    "record",
    "multisource",
    "enable_thumbnails",
    "display_srt_passphrase",
    "low_latency_rtmp",
    "clip",
)
EXPIRES: Final = "2033-05-18T03:33:20Z"
CREATE: Final[dict[str, dict[str, Any]]] = {
    "subscribe": OF_BOTH
    | {"label": "x", "expires_on": EXPIRES, "streams": [STUDIO, CAMERAS], "tracking_id": "Tracking_ID_1"},
    "publish": OF_BOTH
    | {"label": "x", "expires_on": EXPIRES, "streams": [STUDIO, CAMERAS], "geo_cascade": CASCADE, "restream": [THERE]}
    | dict.fromkeys(FLAGS, True)
    | {"low_latency_rtmp": False},
}
UPDATE: Final[dict[str, dict[str, Any]]] = {
    "subscribe": {f"update_{name}": value for name, value in OF_BOTH.items()}
    | {
        "label": "x",
        "refresh_token": True,
        "is_active": False,
        "add_token_streams": [CAMERAS],
        "remove_token_streams": [STUDIO],
    }
}
UPDATE["publish"] = (
    UPDATE["subscribe"]
    | {"update_geo_cascade": CASCADE, "update_restream": [THERE, ELSEWHERE]}
    | dict.fromkeys(FLAGS, True)
    | {"low_latency_rtmp": False}
)
MODELS: Final[dict[str, tuple[Any, Any]]] = {
    "publish": (CreatePublishToken, UpdatePublishToken),
    "subscribe": (CreateSubscribeToken, UpdateSubscribeToken),
}


@pytest.mark.parametrize("kind", MODELS)
async def test_every_field_of_a_creation_is_kept(vendor: Vendor, kind: str) -> None:
    """Each alone, as not all go together; what is not named is as the client's own defaults say."""
    model, _ = MODELS[kind]
    assert set(CREATE[kind]) == set(vars(model("")))
    for name, value in CREATE[kind].items():
        created = await getattr(vendor, f"{kind}_token")(**{name: value})
        found = await vendor(f"{kind}_token.read", created.id)
        assert found == created, name
        if name == "tracking_id":
            seen = vendor.seen_without_it(f"/api/subscribe_token/{created.id}")
            assert seen["tracking"] == {"trackingId": value}
        else:
            assert getattr(found, name) == value, name
        if kind == "publish":
            defaults = {flag: getattr(model(""), flag) for flag in FLAGS if flag != name}
            assert {flag: getattr(found, flag) for flag in defaults} == defaults, name


async def test_of_several_restream_targets_the_client_sends_the_last_as_one_object(vendor: Vendor) -> None:
    """Which is taken for a list of one."""
    created = await vendor.publish_token(restream=[THERE, ELSEWHERE])
    assert (await vendor("publish_token.read", created.id)).restream == [ELSEWHERE]


@pytest.mark.parametrize("kind", MODELS)
async def test_every_field_of_an_update_changes_what_it_names_and_nothing_else(vendor: Vendor, kind: str) -> None:
    """Also what the client adds: each update of a publish token says `clip: false`."""
    _, model = MODELS[kind]
    assert set(UPDATE[kind]) == set(vars(model()))
    expected: dict[str, Any] = {
        "add_token_streams": ("streams", [TokenStreamName("kept"), STUDIO, CAMERAS]),
        "remove_token_streams": ("streams", [TokenStreamName("kept")]),
    }
    for name, value in UPDATE[kind].items():
        created = await getattr(vendor, f"{kind}_token")(streams=[TokenStreamName("kept"), STUDIO])
        asked = model()
        setattr(asked, name, value)
        updated = await vendor(f"{kind}_token.update", created.id, asked)
        found = await vendor(f"{kind}_token.read", created.id)
        assert found == updated, name
        changed, to = expected.get(name, (name.removeprefix("update_"), value))
        if name == "refresh_token":
            changed, to = "token", found.token
            assert to != created.token
        assert getattr(found, changed) == to, name
        follows = {changed, "effective_settings", "srt_passphrase" if changed != "token" else changed}
        same = {field: value for field, value in vars(created).items() if field not in follows}
        assert {field: getattr(found, field) for field in same} == same, name


async def test_a_wrong_secret_is_told_in_words_that_the_client_reads(vendor: Vendor) -> None:
    vendor.secret = "sds_" + "A" * 49
    with pytest.raises(HttpRequestError) as refused:
        await vendor("publish_token.read", 1)
    assert (refused.value.status_code, refused.value.error_description) == (403, "Unauthorized")


async def test_the_client_refuses_a_certificate_it_does_not_trust(
    vendor: Vendor, system: HttpsSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was replaced for these tests is who is trusted, not whether anybody is asked for."""
    monkeypatch.undo()
    monkeypatch.setattr(urls, "SAPI_URL", f"{HOST}:{system.port}")
    with pytest.raises(aiohttp.ClientConnectorCertificateError):
        await vendor("publish_token.read", 1)


# -- what is sent again after a 5xx


@pytest.fixture(scope="module")
def retried(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> HttpsSystem:
    """A system that is not served yet; where it is by `FAILING`, a label says how the store fails when it is to be kept."""
    folder = tmp_path_factory.mktemp("retried")
    return HttpsSystem(folder, certificates, {"FAILURES": str(folder / "failures")})


def labels(system: HttpsSystem, kind: str) -> list[str]:
    """Return the labels of the tokens that there are."""
    with system.client() as client:
        listed = client.get(f"/api/{kind}_token/list?page=1&itemsOnPage=100")
        assert listed.status_code == 200, listed.text
        return [token["label"] for token in listed.json()["data"]]


FAILS: Final = {
    "after": ["after"],
    "broken": ["broken"],
    "before": ["before", "answered"],
    "after after": ["after"],
    "before after": ["before", "after"],
    "before before": ["before", "before", "answered"],
}
"""How the store fails when a token is to be kept, and what it does until the client has its token."""


async def test_a_creation_that_the_client_sends_again_makes_one_token(
    retried: HttpsSystem, moved_to: Callable[[int], None]
) -> None:
    """Whether the store failed before the commit or after it, the client's second or third try gets the one token."""
    notes = Path(retried.environment["FAILURES"])

    async def create(vendor: Vendor, kind: str, fails: str) -> None:
        label = f"{kind}: {fails}"
        created = await getattr(vendor, f"{kind}_token")(label=label)
        assert await vendor(f"{kind}_token.read", created.id) == created
        assert [
            line.partition(" - ")[2] for line in notes.read_text().splitlines() if line.startswith(f"{label} - ")
        ] == (FAILS[fails])
        assert labels(retried, kind).count(label) == 1
        # Who asks for the same again when all is well wants another.
        again = await getattr(vendor, f"{kind}_token")(label=label)
        assert again.id != created.id
        assert again.token != created.token
        assert labels(retried, kind).count(label) == 2

    with retried.serving(FAILING):
        moved_to(retried.port)
        vendor = Vendor(retried)
        await asyncio.gather(*(create(vendor, kind, fails) for kind in MODELS for fails in FAILS))


def swallowing() -> Callable[[bytes], bytes | None]:
    """Return what a proxy does that answers the first success with a 503 of its own."""
    left = [b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"]
    return lambda start: left.pop() if left and start.startswith(b"HTTP/1.1 200") else None


async def create_with_retries(port: int, certificates: Certificates, secret: str, key: str | None) -> dict[str, Any]:
    """Create a token with what the vendor's client retries by, and a key of the caller's own."""
    headers = {"Authorization": f"Bearer {secret}"} | ({} if key is None else {"Idempotency-Key": key})
    options = aiohttp_retry.JitterRetry(attempts=3, start_timeout=0.1, statuses={502, 503})
    async with aiohttp_retry.RetryClient(retry_options=options) as client:
        sent = {"label": "once", "streams": [{"streamName": "studio"}]}
        url = f"https://{HOST}:{port}/api/publish_token"
        async with client.post(url, json=sent, headers=headers, ssl=certificates.client()) as answer:
            assert answer.status == 200, await answer.text()
            token: dict[str, Any] = (await answer.json())["data"]
            return token


async def test_a_key_of_the_callers_own_makes_one_token_through_proxies_that_fail_by_themselves(
    retried: HttpsSystem,
) -> None:
    """Without it there are two: the server never learns that its answer was lost. This is the limit that the docs tell."""
    tls = retried.certificates
    key = "a key of my own"

    async def made(port: int, key: str | None) -> dict[str, Any]:
        return await create_with_retries(port, tls, retried.secret, key)

    with retried.serving():
        for sent, tokens in ((None, 2), (key, 1)):
            before = labels(retried, "publish").count("once")
            with relaying(retried.port, serves=tls.server(), calls=tls.client(), answered=swallowing()) as port:
                token = await made(port, sent)
            assert labels(retried, "publish").count("once") - before == tokens
        assert await made(retried.port, key) == token
    # The key is kept with the token, and not in the memory of a process: a new one knows it too.
    with retried.serving():
        assert await made(retried.port, key) == token
        assert labels(retried, "publish").count("once") == 3
