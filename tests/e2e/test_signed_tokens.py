"""Tokens that others signed, and tokens that we signed, on a real engine: they play, and stop when they are revoked."""

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from stagedoor.sign import sign_child

Until = Callable[..., Any]
Stop = Callable[[subprocess.Popen[str]], None]

_SIGN_EACH = Path(__file__).parent.parent / "vectors" / "sign_each.mjs"
AT_ONCE_SECONDS = 3.0
UPDATE_SECONDS = 16.0


@pytest.fixture
def live(stack: Any, stop: Stop) -> Any:
    """A stream on the air that asks its viewers for a token."""
    publisher = stack.token(streams=["signed"], subscribeRequiresAuth=True)
    encoder = stack.publish("signed", f"token={publisher['token']}")
    try:
        stack.on_air("signed")
        yield stack
    finally:
        stop(encoder)


def _status(stack: Any, token: str) -> int:
    status: int = httpx.get(stack.hls_url("signed", token)).status_code
    return status


def _signed_by_node(parent: str, child: dict[str, Any]) -> str:
    asked = json.dumps([[parent, child]])
    answer = subprocess.run(
        ["node", str(_SIGN_EACH)], input=asked, capture_output=True, text=True, timeout=30, check=True
    )
    [text] = json.loads(answer.stdout)
    assert isinstance(text, str)
    return text


def _refused_soon(stack: Any, until: Until, token: str) -> None:
    until(lambda: _status(stack, token) == 403 or None, seconds=AT_ONCE_SECONDS)


def test_children_play_until_they_or_their_parent_are_refused(live: Any, until: Until) -> None:
    """One made in Python and one in JavaScript: one is revoked alone, the other one ends with its parent's value."""
    stack = live
    parent = stack.token("subscribe", streams=["signed"])
    expires = int(time.time()) + 300
    python = sign_child(parent["token"], token_id=parent["id"], stream_name="signed", expires_at=expires, jti="p")
    said = {"tokenId": parent["id"], "streamName": "signed", "expiresAt": expires, "jti": "j"}
    node = _signed_by_node(parent["token"], said)
    expired = sign_child(parent["token"], token_id=parent["id"], stream_name="signed", expires_at=int(time.time()) - 1)
    assert stack.frames(stack.hls_url("signed", python)) > 10
    assert stack.frames(stack.hls_url("signed", node)) > 10
    assert [_status(stack, text) for text in (python, node, expired, python[:-2])] == [200, 200, 403, 403]
    answer = stack.api.post(f"/v1/subscribe-tokens/{parent['id']}/children/revoke", json={"jti": "p"})
    assert answer.is_success, answer.text
    _refused_soon(stack, until, python)
    assert stack.frames(stack.hls_url("signed", python)) == 0
    assert _status(stack, node) == 200
    renewed = stack.change(parent, "subscribe", refreshToken=True)
    _refused_soon(stack, until, node)
    again = sign_child(renewed["token"], token_id=parent["id"], stream_name="signed", expires_at=expires)
    assert _status(stack, again) == 200


def test_a_child_plays_over_rtmp_where_it_fits_and_is_cut_when_it_is_revoked(live: Any) -> None:
    """One that is longer, with its name, than the 255 characters that nginx-rtmp keeps, is cut off, and is none."""
    stack = live
    parent = stack.token("subscribe", streams=["signed"])
    expires = int(time.time()) + 300
    child = sign_child(parent["token"], token_id=parent["id"], stream_name="signed", expires_at=expires, jti="r")
    long = sign_child(
        parent["token"], token_id=parent["id"], stream_name="signed", expires_at=expires, customViewerData="x" * 99
    )
    assert len(f"signed?token={child}") < 255 < len(f"signed?token={long}")
    assert stack.frames(stack.rtmp_url("signed", f"token={long}")) == 0
    watching = stack.watch(stack.rtmp_url("signed", f"token={child}"))
    try:
        assert stack.decided(parent, 1)[-1] == "ok"
        answer = stack.api.post(f"/v1/subscribe-tokens/{parent['id']}/children/revoke", json={"jti": "r"})
        assert answer.is_success, answer.text
        # nginx asks about it every so often, and is told no.
        watching.wait(timeout=UPDATE_SECONDS)
    finally:
        watching.kill()
        watching.communicate(timeout=20)


def test_a_playback_token_plays_until_it_is_revoked(live: Any, until: Until) -> None:
    """One of ours, over HLS."""
    stack = live
    answer = stack.api.post("/v1/playback-tokens", json={"streams": ["signed"], "form": "ES256"})
    assert answer.is_success, answer.text
    made = answer.json()
    text = made["token"]
    assert stack.frames(stack.hls_url("signed", text)) > 10
    assert _status(stack, text) == 200
    assert stack.api.delete(f"/v1/playback-tokens/{made['id']}").is_success
    _refused_soon(stack, until, text)
    assert stack.frames(stack.hls_url("signed", text)) == 0
