"""The control client of MediaMTX, against answers that a real one (v1.20.1) gave."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from stagedoor.engines.calls import ControlCalls
from stagedoor.engines.mediamtx.control import MediaMtxControl
from stagedoor.model.access import Action, Protocol
from stagedoor.model.engine import Engine, EngineKind
from stagedoor.model.errors import Unavailable
from stagedoor.model.ids import AccountId, EngineId, StreamId, TokenId
from stagedoor.model.session import Broadcast, OpenSession, SessionStart

VECTORS = Path(__file__).parent.parent / "vectors" / "control"
RECORDED: list[dict[str, Any]] = json.loads((VECTORS / "mediamtx.json").read_text())
WEBRTC: list[dict[str, Any]] = json.loads((VECTORS / "mediamtx-webrtc.json").read_text())
ENGINE = Engine(
    id=EngineId("eng"),
    kind=EngineKind.MEDIAMTX,
    name="studio",
    account=AccountId(""),
    secret_digest=b"digest",
    added_on=0,
    control_url="http://127.0.0.1:9997/",
)


class Api:
    """Answers as it was recorded, and keeps what was asked."""

    def __init__(self, status: int | None = None, body: str = "", *, recorded: list[dict[str, Any]] = RECORDED) -> None:
        self.asked: list[httpx.Request] = []
        self._recorded = recorded
        self._status, self._body = status, body

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer one request; what was not recorded is not there."""
        self.asked.append(request)
        if self._status is not None:
            return httpx.Response(self._status, text=self._body)
        path = request.url.raw_path.decode()
        for call in self._recorded:
            if (call["method"], call["path"]) == (request.method, path) and "unauthorised" not in call:
                return httpx.Response(call["status"], text=call["body"])
        return httpx.Response(404)


def control(api: Api) -> MediaMtxControl:
    """Make a client of an API."""
    return made(api, lambda engine: f"secret of {engine.name}")


def made(answer: Callable[[httpx.Request], httpx.Response], secret_of: Callable[[Engine], str]) -> MediaMtxControl:
    """Make a client of whatever answers."""
    return MediaMtxControl(ControlCalls(secret_of=secret_of, transport=httpx.MockTransport(answer)))


def session(protocol: Protocol, name: str) -> OpenSession:
    """Make a session."""
    start = SessionStart(
        AccountId("a"), TokenId(1), "", ENGINE.id, name, "cam", Action.SUBSCRIBE, protocol, "192.0.2.1", 0.0
    )
    return OpenSession(id=1, start=start, seen_at=0.0)


async def test_sessions_of_every_protocol_are_listed_with_their_bytes_once() -> None:
    """RTMP, RTSP and SRT sessions are found; a protocol that is off has no list; bytes named twice count once."""
    found = await control(Api()).sessions(ENGINE)
    lists = [
        json.loads(call["body"])["items"] for call in RECORDED if "/list" in call["path"] and call["status"] == 200
    ]
    items = [item for items in lists for item in items]
    assert len(items) == 4
    assert found == {item["id"]: item["bytesReceived"] + item["bytesSent"] for item in items}
    assert all(carried > 0 for carried in found.values())


async def test_what_is_published_is_told_with_its_path() -> None:
    """And nothing that is only watched."""
    publishers = [
        item
        for call in RECORDED
        if "/list" in call["path"] and call["status"] == 200
        for item in json.loads(call["body"])["items"]
        if item["state"] == "publish"
    ]
    assert len(publishers) == 1
    (broadcast,) = await control(Api()).broadcasts(ENGINE)
    stream = StreamId(AccountId("ACCOUNT"), "cam")
    assert broadcast == Broadcast(publishers[0]["id"], stream, Protocol.RTMP, "", "ACCOUNT/cam")


async def test_our_calls_show_the_engines_secret() -> None:
    """Each call has the bearer token that our own hook lets in."""
    api = Api()
    await control(api).sessions(ENGINE)
    assert {request.headers["authorization"] for request in api.asked} == {"Bearer secret of studio"}


async def test_all_pages_are_read() -> None:
    """A list of several pages is read to its end."""
    pages = {"0": ["a", "b"], "1": ["c"]}

    def answer(request: httpx.Request) -> httpx.Response:
        if "rtmpconns" not in request.url.path:
            return httpx.Response(404)
        items = [{"id": name, "bytesSent": 1} for name in pages[request.url.params["page"]]]
        return httpx.Response(200, json={"pageCount": 2, "itemCount": 3, "items": items})

    asked = made(answer, lambda _: "s")
    assert await asked.sessions(ENGINE) == {"a": 1, "b": 1, "c": 1}


async def test_a_session_is_ended_by_the_list_it_is_in() -> None:
    """Ending asks for a kick by the session's id; one that has ended already is no failure."""
    kicked = next(call["path"] for call in RECORDED if call["method"] == "POST" and call["status"] == 200)
    api = Api()
    await control(api).end(ENGINE, session(Protocol.SRT, kicked.rsplit("/", 1)[1]))
    assert [request.url.path for request in api.asked] == [kicked]
    await control(Api(404)).end(ENGINE, session(Protocol.RTSP, "gone"))


async def test_a_browser_that_publishes_is_told_and_ended() -> None:
    """WebRTC sessions have a list of their own, and are ended there."""
    listed = json.loads(WEBRTC[0]["body"])["items"][0]
    api = Api(recorded=WEBRTC)
    assert await control(api).sessions(ENGINE) == {listed["id"]: listed["inboundBytes"] + listed["outboundBytes"]}
    (broadcast,) = await control(api).broadcasts(ENGINE)
    assert (broadcast.session, broadcast.protocol) == (listed["id"], Protocol.WEBRTC)
    assert (broadcast.application, broadcast.name) == ("", "ACCOUNT/cam-web")
    api.asked.clear()
    await control(api).end(ENGINE, session(Protocol.WEBRTC, listed["id"]))
    assert [request.url.path for request in api.asked] == [WEBRTC[1]["path"]]
    assert (WEBRTC[1]["status"], WEBRTC[2]["status"]) == (200, 404)


async def test_an_id_cannot_lead_to_another_path() -> None:
    """What an engine called a session is one part of a path, whatever it holds."""
    api = Api(404)
    await control(api).end(ENGINE, session(Protocol.SRT, "../../config/global/patch?x="))
    assert [request.url.raw_path for request in api.asked] == [
        b"/v3/srtconns/kick/..%2F..%2Fconfig%2Fglobal%2Fpatch%3Fx%3D"
    ]


@pytest.mark.parametrize(
    ("status", "body"), [(401, ""), (500, "boom"), (302, ""), (200, "<html>"), (200, '{"items": [{"id": 7}]}')]
)
async def test_what_is_no_answer_of_a_control_api_is_unavailable(status: int, body: str) -> None:
    """A refusal, a failure, a redirect or something else than a list is told in words, without the secret."""
    with pytest.raises(Unavailable) as caught:
        await control(Api(status, body)).sessions(ENGINE)
    assert "secret of" not in caught.value.message


async def test_a_control_api_that_is_away_is_unavailable() -> None:
    """No connection is told in words."""

    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    away = made(refuse, lambda _: "s")
    with pytest.raises(Unavailable, match="studio does not answer"):
        await away.sessions(ENGINE)
    await away.close()
