"""Hook calls that real media servers made, recorded from real runs, replayed through the dialects.

What is expected is read from each recorded body by other means (the standard library's parsers), so the two cannot err
together.
"""

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from stagedoor.engines.dialect import OwnSecrets
from stagedoor.engines.mediamtx.hook import MediaMtx
from stagedoor.engines.nginx_rtmp.hook import NginxRtmp
from stagedoor.model.access import Action
from stagedoor.model.decision import Reason
from stagedoor.service.authorize import Attempt, Notice

FOLDER = Path(__file__).parent / "hooks"
NGINX: list[dict[str, Any]] = json.loads((FOLDER / "nginx-rtmp.json").read_text())
MEDIAMTX: list[dict[str, Any]] = json.loads((FOLDER / "mediamtx.json").read_text())

NOBODY = OwnSecrets("hook-secret", "control-secret")
ACTIONS = {
    "publish": Action.PUBLISH,
    "update_publish": Action.PUBLISH,
    "play": Action.SUBSCRIBE,
    "update_play": Action.SUBSCRIBE,
}


def test_the_recorded_calls_are_the_ones_there_are() -> None:
    """Every kind of call that a decision depends on was recorded."""
    events = {"publish", "play", "update_publish", "update_play", "publish_done", "play_done", "hls"}
    assert events <= {call["event"] for call in NGINX}
    seen = {(json.loads(call["body"])["action"], json.loads(call["body"])["protocol"]) for call in MEDIAMTX}
    protocols = {"rtmp", "rtsp", "srt"}
    assert {("publish", protocol) for protocol in protocols} <= seen
    assert {("read", protocol) for protocol in (*protocols, "hls", "webrtc")} <= seen
    assert ("api", "") in seen


@pytest.mark.parametrize("call", [call for call in NGINX if call["event"] != "hls"], ids=lambda call: call["event"])
def test_nginx_rtmp_form(call: dict[str, Any]) -> None:
    """A form body is read with the first of each field."""
    fields = dict(reversed(parse_qsl(call["body"], keep_blank_values=True)))
    asked = NginxRtmp().read(call["path"], [], call["body"].encode(), NOBODY)
    if fields["call"] not in ACTIONS:
        assert asked == Notice(
            fields["call"],
            Reason.OK_ENGINE,
            fields["addr"],
            fields["clientid"],
            recorded=False,
            ends={"publish_done": Action.PUBLISH, "play_done": Action.SUBSCRIBE}[fields["call"]],
        )
        return
    assert isinstance(asked, Attempt)
    assert asked.access.action == ACTIONS[fields["call"]]
    assert asked.running is fields["call"].startswith("update_")
    assert asked.access.user_agent == fields["flashver"]
    assert asked.access.referrer == fields["pageurl"]
    assert asked.access.stream == ("", fields["name"])
    assert asked.access.client_ip == fields["addr"]
    assert asked.access.protocol == "rtmp"
    assert asked.unverified_token == fields.get("token", fields.get("t", ""))
    assert asked.session == fields["clientid"]


@pytest.mark.parametrize(
    "call", [call for call in NGINX if call["event"] == "hls"], ids=lambda call: call["fields"][-1]
)
def test_nginx_hls_request(call: dict[str, Any]) -> None:
    """An `auth_request` is read from the viewer's own URI; one that climbs is no request."""
    headers = [(name.encode(), value.encode()) for name, value in call["headers"].items()]
    asked = NginxRtmp().read(call["path"], headers, b"", NOBODY)
    parts = urlsplit(call["headers"]["x-original-uri"]).path.split("/")[2:-1]
    if ".." in parts:
        assert isinstance(asked, Notice) or asked.access.stream.name == ""
        return
    assert isinstance(asked, Attempt)
    token = parts.pop(0)[1:] if parts[0].startswith("~") else ""
    assert asked.unverified_token == token
    assert asked.access.stream == ("", "/".join(parts))
    assert asked.access.protocol == "hls"


@pytest.mark.parametrize("call", MEDIAMTX, ids=[json.loads(call["body"])["protocol"] for call in MEDIAMTX])
def test_mediamtx_call(call: dict[str, Any]) -> None:
    """A JSON call is read with the token where its protocol carries it; an empty first one is no refusal where it may ask."""
    body = json.loads(call["body"])
    asked = MediaMtx().read("", [], call["body"].encode(), NOBODY)
    if body["action"] == "api":
        expected = Reason.TOKEN_UNKNOWN if body["token"] else Reason.TOKEN_MISSING
        assert isinstance(asked, Notice)
        assert asked.reason is expected
        return
    assert isinstance(asked, Attempt)
    account, _, name = body["path"].partition("/")
    assert asked.access.stream == (account, name)
    assert asked.access.action == {"publish": "publish", "read": "subscribe"}[body["action"]]
    assert asked.access.protocol == body["protocol"]
    assert asked.access.client_ip == body["ip"]
    query = dict(parse_qsl(body["query"]))
    assert asked.unverified_token == (body["token"] or body["password"] or query.get("token", ""))
    empty = not any((body["token"], body["password"], body["user"], query))
    assert asked.will_ask == (empty and body["protocol"] in {"rtsp", "hls", "webrtc"})
    assert asked.session == (body["id"] or "")
