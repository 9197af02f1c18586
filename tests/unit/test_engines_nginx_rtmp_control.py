"""The control client of nginx-rtmp, against answers that a real one (nginx 1.22.1 of Debian 12) gave."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from stagedoor.engines.calls import ControlCalls
from stagedoor.engines.nginx_rtmp.config import CONTROL_PATH
from stagedoor.engines.nginx_rtmp.control import NginxRtmpControl
from stagedoor.model.access import Action, Protocol
from stagedoor.model.engine import Engine, EngineKind
from stagedoor.model.errors import Unavailable
from stagedoor.model.ids import AccountId, EngineId, StreamId, TokenId
from stagedoor.model.session import Broadcast, OpenSession, SessionStart

RECORDED: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent.parent / "vectors" / "control" / "nginx-rtmp.json").read_text()
)
ENGINE = Engine(
    id=EngineId("eng"),
    kind=EngineKind.NGINX_RTMP,
    name="studio",
    account=AccountId(""),
    secret_digest=b"digest",
    added_on=0,
    control_url="http://127.0.0.1:8088/",
)
DROP = f"{CONTROL_PATH}/control/drop/client"


class Api:
    """Answers as it was recorded, and keeps what was asked."""

    def __init__(self, status: int | None = None, body: str = "") -> None:
        self.asked: list[httpx.Request] = []
        self._status, self._body = status, body

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer one request; what was not recorded is not there."""
        self.asked.append(request)
        if self._status is not None:
            return httpx.Response(self._status, text=self._body)
        for call in RECORDED:
            if (call["method"], call["path"]) == (request.method, request.url.raw_path.decode()):
                return httpx.Response(call["status"], text=call["body"])
        return httpx.Response(404)

    @property
    def paths(self) -> list[str]:
        """What was asked for."""
        return [request.url.raw_path.decode() for request in self.asked]


def control(api: Callable[[httpx.Request], httpx.Response]) -> NginxRtmpControl:
    """Make a client of an API."""
    calls = ControlCalls(secret_of=lambda engine: f"secret of {engine.name}", transport=httpx.MockTransport(api))
    return NginxRtmpControl(calls)


def session(stream: str, number: str, protocol: Protocol = Protocol.RTMP) -> OpenSession:
    """Make a session of the account ACCOUNT."""
    start = SessionStart(
        AccountId("ACCOUNT"), TokenId(1), "", ENGINE.id, number, stream, Action.PUBLISH, protocol, "192.0.2.1", 0.0
    )
    return OpenSession(id=1, start=start, seen_at=0.0)


def page(taken_in: int, stream_ms: int, *clients: tuple[str, int, bool], name: str = "cam", app: str = "live") -> str:
    """Write a page with one stream: its bytes, its age, and for each client the id, the age, and whether it publishes."""
    written = "".join(
        f"<client><id>{number}</id><time>{age}</time>{'<publishing/>' if publishing else ''}<active/></client>\r\n"
        for number, age, publishing in clients
    )
    return (
        '<?xml version="1.0" encoding="utf-8" ?>\r\n<rtmp>\r\n<server>\r\n<application>\r\n'
        f"<name>{app}</name>\r\n<live>\r\n<stream>\r\n<name>{name}</name>\r\n<time>{stream_ms}</time>"
        f"<bytes_in>{taken_in}</bytes_in>\r\n{written}</stream>\r\n</live>\r\n</application>\r\n</server>\r\n</rtmp>\r\n"
    )


async def test_what_is_published_is_told_with_where_it_is_played() -> None:
    """Of every application and every server; what is only watched is left out, and so is what names no stream."""
    found = await control(Api()).broadcasts(ENGINE)
    rtmp, nobody, account = Protocol.RTMP, AccountId(""), AccountId("ACCOUNT")
    assert found == [
        Broadcast("28", StreamId(account, "cam"), rtmp, "live", "ACCOUNT/cam"),
        Broadcast("29", StreamId(nobody, ""), rtmp, "live", "odd%3Cname"),
        Broadcast("30", StreamId(nobody, "stage"), rtmp, "v2/pub", "stage"),
        Broadcast("31", StreamId(nobody, "two"), rtmp, "second", "two"),
    ]


async def test_bytes_are_those_that_the_stream_took_in_while_the_session_was_there() -> None:
    """All of them for a publisher; for a viewer that came later, its share of the time."""
    found = await control(Api()).sessions(ENGINE)
    assert found == {
        "28": 313881,
        "32": 313881 * 4724 // 6370,
        "29": 309080,
        "30": 306513,
        "17": 5106621 * 1666725 // 1669730,
        "31": 306112,
    }


async def test_from_the_first_look_on_bytes_are_exact() -> None:
    """A stream that grows faster later counts as it grew, for everybody who was there, and not by the share of the time."""
    pages = [
        page(1000, 10_000, ("1", 10_100, True), ("2", 2_000, False)),
        page(9000, 15_000, ("1", 15_100, True), ("2", 7_000, False), ("3", 1_000, False)),
        page(9500, 20_000, ("1", 20_100, True), ("3", 6_000, False)),
    ]
    asked = control(lambda _: httpx.Response(200, text=pages.pop(0)))
    assert await asked.sessions(ENGINE) == {"1": 1000, "2": 200}
    assert await asked.sessions(ENGINE) == {"1": 9000, "2": 8200, "3": 600}
    assert await asked.sessions(ENGINE) == {"1": 9500, "3": 1100}


@pytest.mark.parametrize(
    "second",
    [
        page(400, 5_000, ("1", 5_000, True)),
        page(5000, 5_000, ("1", 5_000, True), name="other"),
        page(5000, 5_000, ("1", 5_000, True), app="other"),
    ],
)
async def test_an_id_that_was_given_anew_begins_anew(second: str) -> None:
    """nginx that was started anew counts its connections anew: what the one before carried is not counted twice."""
    pages = [page(1000, 10_000, ("1", 10_000, True)), second]
    asked = control(lambda _: httpx.Response(200, text=pages.pop(0)))
    await asked.sessions(ENGINE)
    assert await asked.sessions(ENGINE) == {"1": 400 if "400" in second else 5000}


async def test_engines_are_told_apart() -> None:
    """Two have sessions of the same number; what was seen on one says nothing of the other."""
    pages = [page(1000, 10_000, ("1", 5_000, False)), page(3000, 10_000, ("1", 5_000, False))]
    asked = control(lambda _: httpx.Response(200, text=pages.pop(0)))
    assert await asked.sessions(ENGINE) == {"1": 500}
    other = replace(ENGINE, id=EngineId("eng_2"), name="two")
    assert await asked.sessions(other) == {"1": 1500}


async def test_our_calls_show_the_engines_secret() -> None:
    """Each call has it as bearer token."""
    api = Api()
    asked = control(api)
    await asked.sessions(ENGINE)
    await asked.end(ENGINE, session("cam", "28"))
    assert len(api.asked) > 1
    assert {request.headers["authorization"] for request in api.asked} == {"Bearer secret of studio"}


async def test_a_session_is_ended_by_its_number_and_its_stream() -> None:
    """With and without the account in the name, as its encoder may have written it; and nothing more when that was it."""
    api = Api()
    await control(api).end(ENGINE, session("cam", "28"))
    assert api.paths == [f"{DROP}?srv=0&name=cam&clientid=28", f"{DROP}?srv=0&name=ACCOUNT/cam&clientid=28"]


async def test_a_session_is_looked_for_on_every_server_of_the_engine() -> None:
    """An nginx may have more than one `server` block in `rtmp`."""
    api = Api()
    await control(api).end(ENGINE, session("two", "31"))
    assert api.paths[-1] == f"{DROP}?srv=1&name=two&clientid=31"


async def test_a_session_that_has_ended_is_none() -> None:
    """nginx tells that nothing was dropped, and fails for a server that it does not have."""
    api = Api()
    await control(api).end(ENGINE, session("gone", "9999"))
    assert api.paths[-1] == f"{DROP}?srv=2&name=gone&clientid=9999"


@pytest.mark.parametrize(
    ("stream", "number", "protocol"),
    [
        ("cam&clientid=1", "28", Protocol.RTMP),
        ("cam", "28&name=other", Protocol.RTMP),
        ("cam", "", Protocol.RTMP),
        ("cam", "28", Protocol.HLS),
        ("c\u00e4m", "28", Protocol.RTMP),
    ],
)
async def test_what_nginx_cannot_have_is_told_and_not_asked(stream: str, number: str, protocol: Protocol) -> None:
    """No name or number can say something else in a query; and nothing is passed over in silence."""
    api = Api()
    with pytest.raises(Unavailable):
        await control(api).end(ENGINE, session(stream, number, protocol))
    assert api.asked == []


NOT_A_PAGE = [
    (401, ""),
    (403, "<html>"),
    (404, ""),
    (500, "boom"),
    (302, ""),
    (200, ""),
    (200, "<html>"),
    (200, page(1, 1, ("1", 1, True)).partition("</server>")[0]),
    (200, page(1, 1).replace("<bytes_in>", "<bytes_inn>")),
    (200, page(1, 1).replace("<time>1", "<time>one")),
]


@pytest.mark.parametrize(("status", "body"), NOT_A_PAGE)
async def test_what_is_no_page_of_statistics_is_unavailable(status: int, body: str) -> None:
    """A refusal, a failure, a redirect or something else is told with what to do, without the secret."""
    for ask in (control(Api(status, body)).sessions, control(Api(status, body)).broadcasts):
        with pytest.raises(Unavailable, match="studio") as caught:
            await ask(ENGINE)
        assert "stagedoor engine add" in caught.value.message
        assert "secret of" not in caught.value.message


@pytest.mark.parametrize(("status", "body"), [(401, ""), (403, "x"), (404, ""), (500, ""), (302, "1"), (200, "yes")])
async def test_what_does_not_end_a_session_is_unavailable(status: int, body: str) -> None:
    """Only a count means that nginx understood."""
    with pytest.raises(Unavailable):
        await control(Api(status, body)).end(ENGINE, session("cam", "28"))


async def test_entities_of_its_own_do_a_page_no_good() -> None:
    """A page that declares some is read without them: there is no parser that would know them."""
    bomb = '<?xml version="1.0"?><!DOCTYPE rtmp [<!ENTITY a "ACCOUNT/cam"><!ENTITY b SYSTEM "file:///etc/passwd">]>'
    text = page(1, 1, ("1", 1, True), name="&a;&b;").replace('<?xml version="1.0" encoding="utf-8" ?>', bomb)
    (broadcast,) = await control(Api(200, text)).broadcasts(ENGINE)
    assert broadcast.name == "&a;&b;"
    assert broadcast.stream.name == ""


async def test_a_control_api_that_is_away_is_unavailable() -> None:
    """No connection is told in words."""

    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    away = control(refuse)
    with pytest.raises(Unavailable, match="studio does not answer"):
        await away.sessions(ENGINE)
    await away.close()
