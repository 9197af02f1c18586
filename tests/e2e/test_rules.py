"""The rules at a real nginx-rtmp with real encoders and players: limits, budgets, binding, countries, and ending what runs."""

import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.mmdb import write_mmdb

Until = Callable[..., Any]
Stop = Callable[[subprocess.Popen[str]], None]

UPDATE_SECONDS = 10.0
"""How often nginx asks about what runs, by the configuration that we print."""


def _ends(process: subprocess.Popen[str], seconds: float = UPDATE_SECONDS + 6) -> bool:
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def test_limits_end_and_refuse_sessions(stack: Any, stop: Stop) -> None:
    """One session too many is refused, or ends the oldest; a spent budget and a revoked token end what runs."""
    publisher = stack.token(streams=["limited"], subscribeRequiresAuth=True)
    encoder = stack.publish("limited", f"token={publisher['token']}", seconds=90)
    two = stack.token("subscribe", streams=["limited"], sessionLimit={"most": 2})
    newest = stack.token("subscribe", streams=["limited"], sessionLimit={"most": 1, "over": "end_oldest"})
    short = stack.token("subscribe", streams=["limited"], budgets={"sessionSeconds": 3})
    plain = stack.token("subscribe", streams=["limited"])
    players: list[subprocess.Popen[str]] = []

    def watch(token: dict[str, Any], count: int) -> subprocess.Popen[str]:
        players.append(stack.watch(stack.rtmp_url("limited", f"token={token['token']}")))
        stack.decided(token, count)
        return players[-1]

    try:
        stack.on_air("limited")
        oldest, spent, steady = watch(newest, 1), watch(short, 1), watch(plain, 1)
        newer = watch(newest, 2)
        first = watch(two, 1)
        watch(two, 2)
        third = watch(two, 3)
        assert _ends(third)
        assert stack.decided(two, 3) == ["ok", "ok", "too_many_sessions"]
        stop(first)
        time.sleep(0.5)
        again = watch(two, 4)
        assert stack.decided(two, 4)[-1] == "ok"
        # nginx asks about each session every ten seconds, and ends those that are refused.
        assert _ends(oldest)
        assert _ends(spent)
        assert stack.decided(newest, 3) == ["ok", "ok", "too_many_sessions"]
        assert stack.decided(short, 2) == ["ok", "session_too_long"]
        assert [player.poll() for player in (newer, again, steady)] == [None, None, None]
        stack.delete(publisher)
        assert _ends(encoder)
        assert stack.decided(publisher, 2) == ["ok", "token_revoked"]
    finally:
        for process in (*players, encoder):
            stop(process)


def test_a_single_use_is_not_burnt_by_a_stream_that_is_not_live(stack: Any, stop: Stop, until: Until) -> None:
    """Before the broadcast the token is kept; then it is good once, and a reload counts as the same session."""
    publisher = stack.token(streams=["once"], subscribeRequiresAuth=True)
    ticket = stack.token("subscribe", streams=["once"], singleUse={"graceSeconds": 5})
    url = stack.rtmp_url("once", f"token={ticket['token']}")
    assert stack.frames(url) == 0
    assert stack.decided(ticket, 1) == ["stream_not_live"]
    encoder = stack.publish("once", f"token={publisher['token']}")
    try:
        stack.on_air("once")
        until(lambda: stack.frames(url) > 10 or None)
        assert stack.frames(url) > 10
        time.sleep(6)
        assert stack.frames(url) == 0
        assert stack.decided(ticket, 4) == ["stream_not_live", "ok", "ok", "token_used"]
    finally:
        stop(encoder)


def test_a_token_is_bound_to_the_first_address_on_rtmp_and_hls(stack: Any, stop: Stop, tap: Any) -> None:
    """The first address that uses the token keeps it, on every protocol; `0` sets it free."""
    publisher = stack.token(streams=["bound"], subscribeRequiresAuth=True, bindIpsOnUsage=1)
    viewer = stack.token("subscribe", streams=["bound"], bindIpsOnUsage=1)
    elsewhere = tap(stack.rtmp, "127.0.0.2")
    encoder = stack.publish("bound", f"token={publisher['token']}")
    try:
        stack.on_air("bound")
        moved = stack.rtmp_url("bound", f"token={publisher['token']}").replace(f":{stack.rtmp}/", f":{elsewhere.port}/")
        refused = subprocess.run(
            [
                "ffmpeg",
                "-v",
                "error",
                "-nostdin",
                "-re",
                "-f",
                "lavfi",
                "-i",
                "testsrc2=size=160x120:rate=25:duration=3",
            ]
            + ["-c:v", "libx264", "-f", "flv", moved],
            capture_output=True,
            timeout=30,
        )
        assert refused.returncode != 0
        assert stack.decided(publisher, 2) == ["ok", "address_not_bound"]
        hls = stack.hls_url("bound", viewer["token"])
        with httpx.Client(transport=httpx.HTTPTransport(local_address="127.0.0.2")) as other:
            assert other.get(hls).status_code == 200
            assert httpx.get(hls).status_code == 403
            assert stack.frames(stack.rtmp_url("bound", f"token={viewer['token']}")) == 0
            stack.change(viewer, "subscribe", bindIpsOnUsage=0)
            assert httpx.get(hls).status_code == 200
            stack.change(viewer, "subscribe", bindIpsOnUsage=1)
            assert httpx.get(hls).status_code == 200
            assert other.get(hls).status_code == 403
    finally:
        stop(encoder)


def test_what_a_browser_sends_is_judged_on_hls(stack: Any, stop: Stop) -> None:
    """Origin, user agent and referrer of a page reach the rules by way of nginx; RTMP has none."""
    publisher = stack.token(streams=["paged"], subscribeRequiresAuth=True)
    viewer = stack.token(
        "subscribe",
        streams=["paged"],
        allowedOrigins=["https://*.example.com"],
        allowedUserAgents=["*Firefox*"],
        allowedReferrers=["https://shop.example.com/*"],
    )
    good = {
        "Origin": "https://shop.example.com",
        "User-Agent": "Mozilla/5.0 Firefox/140.0",
        "Referer": "https://shop.example.com/live",
    }
    encoder = stack.publish("paged", f"token={publisher['token']}")
    try:
        stack.on_air("paged")
        hls = stack.hls_url("paged", viewer["token"])
        assert httpx.get(hls, headers=good).status_code == 200
        for name, value in (
            ("Origin", "https://shop.example.com.evil.test"),
            ("Origin", "https://shop.example.com@evil.test"),
            ("Origin", "null"),
            ("User-Agent", "curl/8"),
            ("Referer", "https://evil.test/https://shop.example.com/"),
        ):
            assert httpx.get(hls, headers=good | {name: value}).status_code == 403
        assert stack.frames(stack.rtmp_url("paged", f"token={viewer['token']}")) == 0
        assert stack.decided(viewer, 7)[-1] == "origin_missing"
    finally:
        stop(encoder)


def test_a_country_file_is_swapped_while_it_runs(stack: Any, stop: Stop, until: Until) -> None:
    """`geo update --file` takes effect in the running authority; without a file an allow list refuses."""
    file = stack.folder / "mine.mmdb"
    publisher = stack.token(streams=["here"], subscribeRequiresAuth=True)
    viewer = stack.token("subscribe", streams=["here"], allowedCountries=["PL"])
    hls = stack.hls_url("here", viewer["token"])
    encoder = stack.publish("here", f"token={publisher['token']}")
    try:
        stack.on_air("here")
        assert httpx.get(hls).status_code == 403
        assert stack.decided(viewer, 1) == ["country_unknown"]
        for country, status in (("PL", 200), ("DE", 403), ("PL", 200)):
            write_mmdb(file, {"127.0.0.0/8": {"country": {"iso_code": country}}})
            assert "Test-Country" in stack.stagedoor("geo", "update", "--file", str(file))
            until(lambda status=status: httpx.get(hls).status_code == status or None)
        stack.stagedoor("account", "set", stack.account, "--deny-country", "PL")
        open_token = stack.token(streams=["open"])
        assert stack.refused("open", f"token={open_token['token']}") == "country_not_allowed"
        stack.stagedoor("account", "set", stack.account, "--any-country")
    finally:
        stop(encoder)


def test_expiry_ends_a_session_only_where_the_token_says_so(stack: Any, stop: Stop) -> None:
    """A viewer of a token that expired goes on, on RTMP and HLS; with `endSessionsAtExpiry` both are ended."""
    publisher = stack.token(streams=["timed"], subscribeRequiresAuth=True)
    encoder = stack.publish("timed", f"token={publisher['token']}")
    players: list[subprocess.Popen[str]] = []
    try:
        stack.on_air("timed")
        until_then = (datetime.now(UTC) + timedelta(seconds=4)).isoformat()
        lasting = stack.token("subscribe", streams=["timed"], expiresOn=until_then)
        ending = stack.token("subscribe", streams=["timed"], expiresOn=until_then, endSessionsAtExpiry=True)
        for token in (lasting, ending):
            players.append(stack.watch(stack.rtmp_url("timed", f"token={token['token']}")))
            assert stack.decided(token, 1) == ["ok"]
        pages = [stack.hls_url("timed", token["token"]) for token in (lasting, ending)]
        assert [httpx.get(page).status_code for page in pages] == [200, 200]
        time.sleep(5)
        assert [httpx.get(page).status_code for page in pages] == [200, 403]
        assert stack.frames(stack.rtmp_url("timed", f"token={lasting['token']}")) == 0
        assert _ends(players[1])
        assert players[0].poll() is None
    finally:
        for process in (*players, encoder):
            stop(process)


def test_what_runs_goes_on_while_the_authority_is_away(stack: Any, stop: Stop) -> None:
    """nginx asks about what runs, gets no answer for longer than its interval, and lets it run."""
    token = stack.token(streams=["steady"])
    encoder = stack.publish("steady", f"token={token['token']}")
    try:
        stack.on_air("steady")
        stack.authority.kill()
        stack.authority.wait()
        time.sleep(UPDATE_SECONDS + 3)
        assert encoder.poll() is None
        stack.authority = stack.serve()
        assert stack.frames(stack.rtmp_url("steady")) > 10
    finally:
        stop(encoder)


@pytest.mark.parametrize("host", ["127.0.0.2", "localhost"])
def test_what_runs_on_a_server_at_another_address_is_asked_about_there(stack: Any, stop: Stop, host: str) -> None:
    """A broadcast goes on when nginx has asked about it, and is ended when its token has been revoked."""
    name = f"elsewhere-{host}"
    token = stack.token(streams=[name])
    with stack.nginx_on(host) as server:
        encoder = stack.publish(name, f"token={token['token']}", server=server)
        try:
            assert stack.decided(token, 1) == ["ok"]
            time.sleep(UPDATE_SECONDS + 3)
            assert encoder.poll() is None
            assert any(b"call=update_publish" in call and name.encode() in call for call in stack.tap.calls)
            stack.delete(token)
            assert _ends(encoder)
            assert stack.decided(token, 2) == ["ok", "token_revoked"]
        finally:
            stop(encoder)


def test_shadow_mode_lets_through_and_tells(stack: Any, stop: Stop) -> None:
    """What a tried condition would refuse is let through, marked in the log, in `explain` and in `token describe`."""
    until_then = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    token = stack.token(streams=["tried"], allowedIpAddresses=["192.0.2.0/24"], shadowUntil=until_then)
    encoder = stack.publish("tried", f"token={token['token']}")
    try:
        stack.on_air("tried")
        assert stack.decided(token, 1) == ["ok_shadow"]
        line = next(line for line in stack.log() if line["token_id"] == token["id"])
        assert (line["allowed"], line["shadowed"]) == (True, "address_not_allowed")
    finally:
        stop(encoder)
    arguments = ("--action", "publish", "--stream", f"{stack.account}/tried", "--token", token["token"])
    explained = stack.stagedoor("explain", *arguments, "--ip", "127.0.0.1")
    assert "SHADOW MODE: would be refused, address_not_allowed" in explained
    assert "address_not_allowed (tried out)" in explained
    time.sleep(0.5)
    described = stack.stagedoor("token", "describe", str(token["id"]))
    assert "SHADOW MODE" in described
    assert "address_not_allowed 1" in described
