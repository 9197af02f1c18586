"""Attacks with one kind of credential in another's place, through the whole application."""

import json
import shutil
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from stagedoor.app import Administration, administration, authority, create_data
from stagedoor.config import Settings
from stagedoor.model.engine import EngineKind
from stagedoor.model.key import Algorithm

LIST = "/api/publish_token/list?page=1&itemsOnPage=10"


class System:
    """A whole authority with tokens of every kind, as anybody reaches it."""

    def __init__(self, admin: Administration, app: Any, api_secret: str, hook: str) -> None:
        self.admin, self.app, self.api_secret, self.hook = admin, app, api_secret, hook

    async def call(self, method: str, path: str, bearer: str = "", **more: Any) -> httpx.Response:
        """Send a request."""
        headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
        transport = httpx.ASGITransport(app=self.app, client=("192.0.2.1", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://authority") as client:
            return await client.request(method, path, headers=headers, **more)

    async def made(self, path: str, bearer: str = "", **more: Any) -> Any:
        """Make something and return it."""
        answer = await self.call("POST", path, bearer or self.api_secret, **more)
        assert answer.is_success, answer.text
        body = answer.json()
        return body.get("data", body)

    async def asked(self, call: str, token: str) -> tuple[int, str]:
        """Ask as nginx-rtmp does, of the stream `cam`."""
        form = {"call": call, "app": "live", "name": "cam", "addr": "192.0.2.1", "clientid": "1", "token": token}
        answer = await self.call("POST", self.hook, data=form)
        return answer.status_code, answer.text

    async def statuses(self, token: str) -> set[int]:
        """Return what the API answers who shows a token as its credential."""
        return {(await self.call("GET", path, token)).status_code for path in (LIST, "/v1/applications")}


@pytest.fixture
async def system(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    """An authority with one engine."""
    data = tmp_path_factory.mktemp("blank") / "data"
    create_data(Settings(data=data))
    shutil.copytree(data, tmp_path / "data")
    settings = Settings(data=tmp_path / "data")
    async with administration(settings) as admin:
        first = await admin.accounts.create_first("admin@example.com")
        added = await admin.engines.add(EngineKind.NGINX_RTMP, "edge", first.account)
        async with authority(settings) as running:
            hook = f"/hooks/nginx-rtmp/{added.hook_secret.reveal()}"
            yield System(admin, running.app, first.api_secret.reveal(), hook)


async def _tokens(system: System) -> dict[str, str]:
    """Make one of each kind, all good for the stream `cam`, or for all that the API does."""
    cam = {"label": "x", "streams": [{"streamName": "cam"}]}
    publish = await system.made("/api/publish_token", json={**cam, "subscribeRequiresAuth": True})
    subscribe = await system.made("/api/subscribe_token", json=cam)
    playback = await system.made("/v1/playback-tokens", json={"streams": ["cam"], "form": "ES256"})
    application = await system.made("/v1/applications", json={"label": "a", "scopes": ["live:*"]})
    form = {"grant_type": "client_credentials"}
    auth = (application["appKey"], application["appSecret"])
    answer = await system.call("POST", "/v1/auth/token", auth=auth, data=form)
    access = answer.json()["access_token"]
    narrow = {"sessionScope": "live:publish_token:read", "externalId": "x"}
    client = await system.made("/v2/client-access-token", access, json=narrow)
    await system.made("/v1/verifiers", json={"name": "mtx", "kind": "mediamtx", "url": "rtsp://mtx.example"})
    minted = await system.made(
        "/v1/engine_tokens",
        json={"verifier": "mtx", "stream": "cam", "action": "subscribe", "tokenId": subscribe["id"]},
    )
    return {
        "publish": publish["token"],
        "subscribe": subscribe["token"],
        "playback": playback["token"],
        "access": access,
        "client": client["access_token"] if "access_token" in client else client["accessToken"],
        "minted": minted["token"],
        "api secret": system.api_secret,
    }


async def test_no_credential_is_good_in_the_place_of_another(system: System) -> None:
    """Each is good where it belongs, and nowhere else, though the same keys signed most of them."""
    tokens = await _tokens(system)
    jwks = jwt.PyJWKSet.from_dict((await system.call("GET", "/.well-known/jwks.json")).json())
    for name in ("playback", "access", "client", "minted"):
        # Who verifies by our published keys alone takes each of them for the other.
        header = jwt.get_unverified_header(tokens[name])
        options: Any = {"verify_aud": False}
        assert jwt.decode(tokens[name], jwks[header["kid"]].key, algorithms=[header["alg"]], options=options)
    plays = {name for name, text in tokens.items() if (await system.asked("play", text))[0] == 200}
    publishes = {name for name, text in tokens.items() if (await system.asked("publish", text))[0] == 200}
    calls = {name for name, text in tokens.items() if 200 in await system.statuses(text)}
    assert plays == {"subscribe", "playback"}
    assert publishes == {"publish"}
    assert calls == {"access", "client", "api secret"}
    reasons = {(await system.asked("play", tokens[name]))[1] for name in ("access", "client", "minted")}
    assert reasons <= {"token_unknown", "token_malformed"}


async def test_a_client_does_nothing_beyond_its_scope(system: System) -> None:
    """Its application may do everything, and it may read publish tokens."""
    tokens = await _tokens(system)
    assert (await system.call("GET", LIST, tokens["client"])).status_code == 200
    body = {"label": "x", "streams": [{"streamName": "cam"}]}
    for path, sent in (
        ("/api/publish_token", body),
        ("/v1/applications", {"label": "a", "scopes": ["live:*"]}),
        ("/v2/client-access-token", {"sessionScope": "live:*", "externalId": "x"}),
        ("/v1/playback-tokens", {"streams": ["cam"]}),
    ):
        assert (await system.call("POST", path, tokens["access"], json=sent)).is_success
        assert (await system.call("POST", path, tokens["client"], json=sent)).status_code in {401, 403}


async def test_what_our_key_signed_and_we_never_issued_is_no_credential(system: System) -> None:
    """Whoever has a key of ours may sign; what is good was written down when it was issued."""
    tokens = await _tokens(system)
    made_up = await system.statuses("eyJh.e30.AAAA")
    assert made_up <= {401, 403}
    for name in ("access", "playback"):
        claims = jwt.decode(tokens[name], options={"verify_signature": False})
        header = jwt.get_unverified_header(tokens[name])
        again = await system.admin.signing_keys.sign(
            {**claims, "iat": int(time.time()) - 1}, algorithm=Algorithm(header["alg"]), typ=header["typ"]
        )
        text = again.text.reveal()
        assert json.dumps(jwt.get_unverified_header(text)) == json.dumps(header)
        assert await system.statuses(text) == made_up
        assert (await system.asked("play", text))[1] in {"token_unknown", "token_malformed"}
        unsigned = jwt.encode(claims, "", "none", headers=header | {"alg": "none"})
        assert await system.statuses(unsigned) == made_up
        assert (await system.asked("play", unsigned))[0] == 403


async def test_a_playback_token_has_no_children(system: System) -> None:
    """Its text is known to its viewer, and is no key of anything."""
    tokens = await _tokens(system)
    playback = (await system.call("GET", "/v1/playback-tokens", system.api_secret)).json()
    listed = playback["data"] if isinstance(playback, dict) else playback
    number = int(str(listed[0]["id"]))
    said = {"tokenId": number, "tokenType": "Subscribe", "streamName": "cam"}
    child = jwt.encode({"streaming": said, "exp": int(time.time()) + 60}, tokens["playback"], "HS256")
    assert jwt.decode(child, tokens["playback"], algorithms=["HS256"])
    assert await system.asked("play", child) == (403, "token_unknown")
