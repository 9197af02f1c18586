"""Pictures of a real stream on a real nginx-rtmp, taken by the real ffmpeg, as a webhook receives them."""

import base64
import hashlib
import hmac
import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import pytest

Until = Callable[..., Any]


class Got(NamedTuple):
    """One call of a webhook."""

    headers: dict[str, str]
    body: bytes


class Receiver:
    """A webhook's receiver on this machine."""

    def __init__(self) -> None:
        self.got: list[Got] = []
        got = self.got

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                got.append(Got({name.lower(): value for name, value in self.headers.items()}, body))
                self.send_response(204)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the same
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/pictures"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def pictures(self) -> list[Got]:
        """Return the pictures that came."""
        return [got for got in self.got if got.headers["content-type"] == "image/jpeg"]

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver."""
    running = Receiver()
    yield running
    running.close()


@pytest.fixture
def webhook(controlled: Any, receiver: Receiver) -> Iterator[dict[str, Any]]:
    """A webhook for pictures."""
    body = {"url": receiver.url, "isFeedHooks": False, "isThumbnailHooks": True}
    answer = controlled.api.post("/api/webhooks", json=body)
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()["data"]
    yield made
    controlled.api.delete(f"/api/webhooks/{made['id']}")


def _size(jpeg: bytes) -> tuple[int, int]:
    asked = ["ffprobe", "-v", "error", "-f", "jpeg_pipe", "-show_entries", "stream=width,height,codec_name"]
    found = subprocess.run([*asked, "-of", "json", "-i", "-"], input=jpeg, capture_output=True, check=True, timeout=60)
    (stream,) = json.loads(found.stdout)["streams"]
    assert stream["codec_name"] == "mjpeg"
    return stream["width"], stream["height"]


def _colour(jpeg: bytes) -> tuple[int, ...]:
    """Return the colour of the whole picture, as red, green and blue."""
    command = ["ffmpeg", "-v", "error", "-f", "jpeg_pipe", "-i", "-", "-vf", "scale=1:1", "-pix_fmt", "rgb24"]
    found = subprocess.run([*command, "-f", "rawvideo", "-"], input=jpeg, capture_output=True, check=True, timeout=60)
    assert len(found.stdout) == 3
    return tuple(found.stdout)


def _refused(stack: Any, body: dict[str, Any], status: int = 400) -> dict[str, Any]:
    answer = stack.api.post("/api/thumbnails", json=body)
    assert answer.status_code == status, answer.text
    data: dict[str, Any] = answer.json()["data"]
    return data


def _live(stack: Any, until: Until, token: dict[str, Any]) -> None:
    until(lambda: token["id"] in stack.api.get("/api/publish_token/active/all").json()["data"]["tokenIds"] or None)


def _internal(stack: Any) -> list[dict[str, Any]]:
    return [line for line in stack.log() if line["action"] == "internal"]


def test_a_picture_of_the_stream_reaches_the_webhook(
    controlled: Any, until: Until, receiver: Receiver, webhook: dict[str, Any]
) -> None:
    """As a JPEG of what is sent, signed, though watching needs a token and no country may watch; and no viewer is counted."""
    stack = controlled
    token = stack.token(
        streams=["blue"], subscribeRequiresAuth=True, allowedCountries=["PL"], geoAppliesTo=["subscribe"]
    )
    query = f"token={token['token']}"
    encoder = stack.publish("blue", query, application="v2/pub", picture="color=c=0x2040C0:size=320x180", seconds=120)
    try:
        _live(stack, until, token)
        before = len(stack.log())
        for body in ({"streamName": "blue"}, {"tokenId": token["id"]}, {"streamName": "blue", "tokenId": token["id"]}):
            answer = stack.api.post("/api/thumbnails", json=body)
            assert (answer.status_code, answer.json()) == (200, {"status": "success", "data": True})
        until(lambda: len(receiver.pictures()) == 3 or None)
        for got in receiver.pictures():
            assert _size(got.body) == (320, 180)
            assert all(abs(is_ - sent) <= 6 for is_, sent in zip(_colour(got.body), (0x20, 0x40, 0xC0), strict=True))
            assert got.headers["x-millicast-stream-id"] == f"{stack.account}/blue"
            assert got.headers["x-millicast-token-id"] == str(token["id"])
            assert len(got.headers["x-millicast-feed-id"]) == 32
            signed = hmac.new(base64.b64decode(webhook["secret"]), got.body, hashlib.sha1).hexdigest()
            assert got.headers["x-millicast-signature"] == f"sha1={signed}"
        until(lambda: len(_internal(stack)) >= 3 or None)
        log = stack.log()[before:]
        assert {(line["action"], line["allowed"]) for line in log} == {("internal", True)}
        assert all(line["token_id"] is None for line in log)
        for kind in ("publish", "subscribe"):
            listed = stack.api.get(f"/api/{kind}_token/list", params={"page": 1, "itemsOnPage": 100}).json()["data"]
            assert "thumbnail" not in {shown["label"] for shown in listed}
        assert encoder.poll() is None
    finally:
        encoder.kill()
        encoder.communicate(timeout=20)


def test_a_stream_whose_token_asks_is_pictured_by_itself(
    controlled: Any, until: Until, receiver: Receiver, webhook: dict[str, Any]
) -> None:
    """Soon after it began, and again after half a minute; a neighbour whose token does not ask is not."""
    stack = controlled
    asks, other = stack.token(streams=["asks"], enableThumbnails=True), stack.token(streams=["other"])
    encoders = [stack.publish(name, f"token={token['token']}") for name, token in (("asks", asks), ("other", other))]
    try:
        until(lambda: len(receiver.pictures()) == 1 or None, seconds=20)
        until(lambda: len(receiver.pictures()) == 2 or None, seconds=45)
        first, second = (int(got.headers["x-millicast-timestamp"]) for got in receiver.pictures())
        assert 28_000 <= second - first <= 40_000
        assert {got.headers["x-millicast-stream-id"] for got in receiver.pictures()} == {f"{stack.account}/asks"}
        assert first // 1000 < 10**11
    finally:
        for encoder in encoders:
            encoder.kill()
            encoder.communicate(timeout=20)


def test_what_cannot_be_pictured_is_told_each_in_its_own_words(
    controlled: Any, until: Until, receiver: Receiver
) -> None:
    """No stream named, none live, nobody to send it to, an engine that cannot be played from, and a seventh in a minute."""
    stack = controlled
    assert "streamName" in _refused(stack, {})
    assert "streamName" in _refused(stack, {"streamName": None, "tokenId": None})
    assert "not live" in _refused(stack, {"streamName": "nothing"})["streamName"]
    assert "not live" in _refused(stack, {"tokenId": 999})["tokenId"]
    token = stack.token(streams=["plain"])
    encoder = stack.publish("plain", f"token={token['token']}", seconds=120)
    try:
        _live(stack, until, token)
        body = {"streamName": "plain"}
        assert "isThumbnailHooks" in _refused(stack, body)["message"]
        hook = {"url": receiver.url, "isFeedHooks": False, "isThumbnailHooks": True, "filter": "another"}
        made = stack.api.post("/api/webhooks", json=hook).json()["data"]
        assert "isThumbnailHooks" in _refused(stack, body)["message"]
        stack.api.put(f"/api/webhooks/{made['id']}", json={"filter": None})
        stack.stagedoor("engine", "set", "bench", "--media-url", "")
        assert "stagedoor engine set bench --media-url" in _refused(stack, body)["message"]
        stack.stagedoor("engine", "set", "bench", "--media-url", "rtmp://127.0.0.1:9")
        answer = stack.api.post("/api/thumbnails", json=body)
        assert (answer.status_code, "no picture" in answer.json()["message"]) == (503, True)
        stack.reach_nginx()
        for _ in range(5):
            assert stack.api.post("/api/thumbnails", json=body).status_code == 200
        answer = stack.api.post("/api/thumbnails", json=body)
        assert answer.status_code == 429
        assert 1 <= int(answer.headers["retry-after"]) <= 60
        assert "thumbnails" in answer.json()["data"]["message"]
    finally:
        stack.reach_nginx()
        encoder.kill()
        encoder.communicate(timeout=20)
