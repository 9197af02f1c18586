"""A real encoder publishes to a real nginx-rtmp, and our decision is what lets it in or keeps it out."""

import base64
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from typing import Any

import httpx

Stop = Callable[[subprocess.Popen[str]], None]
Until = Callable[..., Any]


def test_a_good_token_publishes_and_the_picture_arrives(stack: Any, stop: Stop) -> None:
    """With a good token the broadcast is on RTMP and HLS, with frames that decode, and the log says why."""
    token = stack.token(streams=["good"])
    encoder = stack.publish("good", f"token={token['token']}")
    try:
        stack.on_air("good")
        assert stack.frames(stack.hls_url("good")) > 10
        assert stack.frames(stack.rtmp_url("good")) > 10
        assert encoder.poll() is None
    finally:
        stop(encoder)
    event = next(line for line in stack.log() if line["action"] == "publish" and line["stream"].endswith("/good"))
    assert event["allowed"] is True
    assert event["reason"] == "ok"
    assert event["token_id"] == token["id"]
    assert event["client_ip"] == "127.0.0.1"
    assert event["stream"] == f"{stack.account}/good"


def test_the_compatible_address_and_spelling_publish(stack: Any, stop: Stop) -> None:
    """`v2/pub/NAME?t=` with the token as base64url is the same stream and the same token."""
    token = stack.token(streams=["compatible"])
    short = base64.urlsafe_b64encode(bytes.fromhex(token["token"])).rstrip(b"=").decode()
    encoder = stack.publish("compatible", f"t={short}", application="v2/pub")
    try:
        stack.on_air("compatible")
        assert stack.frames(stack.hls_url("compatible")) > 10
    finally:
        stop(encoder)


def test_no_token_is_refused(stack: Any) -> None:
    """Publishing always needs a token."""
    assert stack.refused("anything") == "token_missing"


def test_a_wrong_token_is_refused(stack: Any) -> None:
    """A token that no one issued lets nobody in."""
    assert stack.refused("anything", f"token={'0123456789abcdef' * 4}") == "token_unknown"


def test_a_cut_off_token_is_refused(stack: Any) -> None:
    """A token that lost its end is told from one that is unknown."""
    token = stack.token(streams=["cut"])
    assert stack.refused("cut", f"token={token['token'][:50]}") == "token_malformed"


def test_the_right_token_on_the_wrong_stream_is_refused(stack: Any) -> None:
    """A token is for its streams; names are case sensitive."""
    token = stack.token(streams=["mine"])
    assert stack.refused("yours", f"token={token['token']}") == "stream_not_granted"
    assert stack.refused("Mine", f"token={token['token']}") == "stream_not_granted"


def test_a_name_injected_into_the_query_does_not_count(stack: Any) -> None:
    """nginx appends the client's query to its own fields; the client's `name` and `addr` change nothing."""
    token = stack.token(streams=["mine"], allowedIpAddresses=["192.0.2.7"])
    query = f"token={token['token']}&name=mine&addr=192.0.2.7&call=publish_done"
    assert stack.refused("yours", query) == "stream_not_granted"
    assert stack.refused("mine", query) == "address_not_allowed"


def test_a_subscribe_token_cannot_publish(stack: Any) -> None:
    """A subscribe token is for watching."""
    token = stack.token("subscribe", streams=["watched"])
    assert stack.refused("watched", f"token={token['token']}") == "action_not_granted"


def test_a_disabled_token_is_refused_until_it_is_enabled(stack: Any, stop: Stop) -> None:
    """Disabling is reversible, and each way counts as soon as the call returns."""
    token = stack.token(streams=["switch"])
    answer = stack.api.patch("/api/publish_token/disable", json={"tokenIds": [token["id"]]})
    assert answer.json()["data"]["successfulTokens"] == [token["id"]]
    assert stack.refused("switch", f"token={token['token']}") == "token_disabled"
    stack.change(token, isActive=True)
    encoder = stack.publish("switch", f"token={token['token']}")
    try:
        stack.on_air("switch")
    finally:
        stop(encoder)


def test_a_deleted_token_is_refused(stack: Any, stop: Stop) -> None:
    """A deleted token that worked a moment ago works no more."""
    token = stack.token(streams=["deleted"])
    encoder = stack.publish("deleted", f"token={token['token']}")
    stack.on_air("deleted")
    stop(encoder)
    stack.delete(token)
    assert stack.refused("deleted", f"token={token['token']}") == "token_revoked"


def test_a_renewed_token_is_refused_by_its_old_value(stack: Any, stop: Stop) -> None:
    """After a renewal the old value is dead at once and the new one works."""
    token = stack.token(streams=["renewed"])
    new = stack.change(token, refreshToken=True)
    assert stack.refused("renewed", f"token={token['token']}") == "token_unknown"
    encoder = stack.publish("renewed", f"token={new['token']}")
    try:
        stack.on_air("renewed")
    finally:
        stop(encoder)


def test_a_token_that_is_not_yet_valid_is_refused(stack: Any) -> None:
    """Before its `notBefore` a token lets nobody in."""
    token = stack.token(streams=["early"], notBefore=(datetime.now(UTC) + timedelta(hours=1)).isoformat())
    assert stack.refused("early", f"token={token['token']}") == "token_not_yet_valid"


def test_an_expired_token_is_refused(stack: Any) -> None:
    """From its expiry on a token lets nobody in."""
    token = stack.token(streams=["late"], expires=1)
    time.sleep(1.1)
    assert stack.refused("late", f"token={token['token']}") == "token_expired"


def test_an_address_outside_the_allowed_network_is_refused(stack: Any, stop: Stop) -> None:
    """A token for other addresses refuses ours; one for our network lets us in."""
    elsewhere = stack.token(streams=["place"], allowedIpAddresses=["192.0.2.0/24", "2001:db8::/32"])
    assert stack.refused("place", f"token={elsewhere['token']}") == "address_not_allowed"
    here = stack.token(streams=["place"], allowedIpAddresses=["127.0.0.0/8"])
    encoder = stack.publish("place", f"token={here['token']}")
    try:
        stack.on_air("place")
    finally:
        stop(encoder)


def test_a_regular_expression_publishes_any_matching_name(stack: Any, stop: Stop) -> None:
    """An expression covers the names it matches whole, and no others."""
    token = stack.token(regex="cam-[0-9]+")
    for name in ("cam-1", "cam-4711"):
        encoder = stack.publish(name, f"token={token['token']}")
        try:
            stack.on_air(name)
        finally:
            stop(encoder)
    for name in ("cam-", "cam-1x", "xcam-1"):
        assert stack.refused(name, f"token={token['token']}") == "stream_not_granted"


def test_a_broadcast_outlives_its_token(stack: Any, until: Until, stop: Stop) -> None:
    """A token that expires lets the broadcast go on, and refuses the next start."""
    token = stack.token(streams=["outlive"], expires=4)
    encoder = stack.publish("outlive", f"token={token['token']}")
    try:
        stack.on_air("outlive")
        expires = datetime.fromisoformat(token["expiresOn"])
        until(lambda: datetime.now(UTC) > expires + timedelta(seconds=1.5) or None)
        assert encoder.poll() is None
        assert stack.frames(stack.rtmp_url("outlive")) > 10
        assert stack.frames(stack.hls_url("outlive")) > 10
    finally:
        stop(encoder)
    assert stack.refused("outlive", f"token={token['token']}") == "token_expired"


def test_a_secured_stream_needs_a_subscribe_token(stack: Any, until: Until, stop: Stop) -> None:
    """With `subscribeRequiresAuth` nobody watches without a good subscribe token, on RTMP and on HLS; revoking bites."""
    token = stack.token(streams=["secured"], subscribeRequiresAuth=True)
    viewer = stack.token("subscribe", streams=["secured"])
    other = stack.token("subscribe", streams=["another"])
    encoder = stack.publish("secured", f"token={token['token']}")
    try:
        stack.on_air("secured")
        assert stack.frames(stack.rtmp_url("secured")) == 0
        assert stack.frames(stack.hls_url("secured")) == 0
        assert stack.frames(stack.rtmp_url("secured", f"token={other['token']}")) == 0
        assert stack.frames(stack.hls_url("secured", other["token"])) == 0
        assert stack.frames(stack.rtmp_url("secured", f"token={token['token']}")) == 0
        assert stack.frames(stack.rtmp_url("secured", f"token={viewer['token']}")) > 10
        assert stack.frames(stack.hls_url("secured", viewer["token"])) > 10
        playlist = httpx.get(stack.hls_url("secured", viewer["token"]))
        segment = stack.hls_url("secured", viewer["token"]).replace(
            "index.m3u8", [line for line in playlist.text.split() if line.endswith(".ts")][-1]
        )
        assert httpx.get(segment).status_code == 200
        stack.delete(viewer, "subscribe")
        assert httpx.get(segment).status_code == 403
        assert stack.frames(stack.rtmp_url("secured", f"token={viewer['token']}")) == 0
    finally:
        stop(encoder)

    def seen() -> bool | None:
        reasons = {
            line["reason"] for line in stack.log() if line["action"] == "subscribe" and "/secured" in line["stream"]
        }
        wanted = {"ok", "token_missing", "stream_not_granted", "action_not_granted", "token_revoked"}
        return True if wanted <= reasons else None

    assert until(seen)


def test_playlists_are_not_reached_around_the_rule(stack: Any, stop: Stop) -> None:
    """A path that names one stream to us and another to the file system is refused."""
    stack.token(streams=["plain"])
    token = stack.token(streams=["hidden"], subscribeRequiresAuth=True)
    encoder = stack.publish("hidden", f"token={token['token']}")
    try:
        stack.on_air("hidden")
        for path in (
            "plain/../hidden/index.m3u8",
            "plain/%2e%2e/hidden/index.m3u8",
            "plain%2f..%2fhidden/index.m3u8",
            "./hidden/index.m3u8",
            "/hidden/index.m3u8",
            "hidden/index.m3u8%00",
            "~x/../hidden/index.m3u8",
            "live/hidden/index.m3u8",
            "hidden/./index.m3u8",
        ):
            status = _raw_status(stack.hls, f"/hls/{path}")
            assert status in {400, 403, 404}, (path, status)
        assert _raw_status(stack.hls, "/live/hidden/index.m3u8") == 404
    finally:
        stop(encoder)


def test_nothing_new_gets_in_while_the_authority_is_down(stack: Any, stop: Stop) -> None:
    """A killed authority refuses: no start, no viewer. What runs goes on, and back again the next start works."""
    token = stack.token(streams=["before", "during", "after"])
    query = f"token={token['token']}"
    running = stack.publish("before", query)
    try:
        stack.on_air("before")
        stack.authority.kill()
        stack.authority.wait()
        encoder = stack.publish("during", query, seconds=5)
        encoder.communicate(timeout=30)
        assert encoder.returncode != 0
        assert not list((stack.folder / "nginx" / "hls").glob("*/during/*"))
        assert stack.frames(stack.hls_url("before")) == 0
        assert running.poll() is None
        stack.authority = stack.serve()
        encoder = stack.publish("after", query)
        try:
            stack.on_air("after")
            assert stack.frames(stack.rtmp_url("before")) > 10
        finally:
            stop(encoder)
    finally:
        stop(running)


def test_a_wrong_hook_secret_is_told_nothing(stack: Any) -> None:
    """Whatever else the call says, the answer to a wrong secret is the same 403."""
    token = stack.token(streams=["hooked"])
    right = stack.hook_url.replace(f":{stack.tap.port}/", f":{stack.port}/")
    wrong = right[:-1] + ("0" if right[-1] != "0" else "1")
    good = f"call=publish&name=hooked&addr=127.0.0.1&token={token['token']}"
    assert httpx.post(right, content=good).status_code == 200
    answers = {
        (answer.status_code, answer.text)
        for url in (wrong, wrong.replace("nginx-rtmp", "mediamtx"), right.replace("nginx-rtmp", "mediamtx"))
        for body in (good, "", "call=publish&name=hooked")
        if (answer := httpx.post(url, content=body))
    } | {
        (answer.status_code, answer.text)
        for url in (wrong, f"{stack.url}/hooks/", f"{stack.url}/hooks/nginx-rtmp/", f"{stack.url}/hooks/x/y/z")
        if (answer := httpx.get(url)) is not None
    }
    assert {status for status, _ in answers} <= {403}
    assert {text for _, text in answers} <= {"forbidden"}


def test_explain_gives_the_reason_that_the_log_gave(stack: Any) -> None:
    """`stagedoor explain` says what the running authority decided."""
    token = stack.token(streams=["explained"], allowedIpAddresses=["192.0.2.0/24"])
    reason = stack.refused("explained", f"token={token['token']}")
    arguments = ["--action", "publish", "--stream", f"{stack.account}/explained", "--token", token["token"]]
    explained = stack.stagedoor("explain", *arguments, "--ip", "127.0.0.1")
    assert f"REFUSED: {reason}" in explained
    assert token["token"] not in explained
    assert "ALLOWED: ok" in stack.stagedoor("explain", *arguments, "--ip", "192.0.2.9")


def _raw_status(port: int, path: str) -> int:
    """Ask for exactly `path`, which a client library would tidy up, and return the status."""
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    connection.putrequest("GET", path)
    connection.endheaders()
    status = connection.getresponse().status
    connection.close()
    return status
