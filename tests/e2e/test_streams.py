"""Ending broadcasts on a real nginx-rtmp, and learning how much its sessions carry."""

import subprocess
import time
from collections.abc import Callable
from typing import Any

import httpx

Until = Callable[..., Any]
Stop = Callable[[subprocess.Popen[str]], None]

AT_ONCE_SECONDS = 2.0


def _ended_within(encoder: subprocess.Popen[str], seconds: float = AT_ONCE_SECONDS) -> bool:
    try:
        encoder.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def _end(*encoders: subprocess.Popen[str]) -> None:
    for encoder in encoders:
        encoder.kill()
        encoder.communicate(timeout=20)


def _post(stack: Any, path: str, body: Any = None) -> Any:
    """Call an operation and return its data."""
    answer = stack.api.post(path, json=body) if body is not None else stack.api.post(path)
    assert answer.status_code == 200, answer.text
    assert answer.json()["status"] == "success"
    return answer.json()["data"]


def _refused(stack: Any, path: str, body: Any, status: int = 400) -> str:
    answer = stack.api.post(path, json=body)
    assert answer.status_code == status, answer.text
    envelope = answer.json()
    message: str = envelope["data"]["message"] if status < 500 else envelope["message"]
    return message


def _on_air(stack: Any, until: Until, *tokens: dict[str, Any]) -> None:
    """Wait until exactly these tokens are in use."""
    ids = sorted(token["id"] for token in tokens)
    until(lambda: stack.api.get("/api/publish_token/active/all").json()["data"] == {"tokenIds": ids} or None)


def test_stopping_a_stream_ends_it_at_once_and_no_other(controlled: Any, until: Until) -> None:
    """Its encoder is thrown off, is let in again when it comes back, and its neighbour never notices."""
    stack = controlled
    one, two = stack.token(streams=["one"]), stack.token(streams=["two"])
    first = stack.publish("one", f"token={one['token']}")
    neighbour = stack.publish("two", f"token={two['token']}")
    again = None
    try:
        _on_air(stack, until, one, two)
        stream_id = f"{stack.account}/one"
        assert stack.api.get("/api/publish_token/active", params={"streamId": stream_id}).json()["data"] == {
            "tokenIds": [one["id"]]
        }
        assert _post(stack, "/api/stream/stop", {"streamId": stream_id}) == {"stoppingLevel": "Stream"}
        assert _ended_within(first)
        _on_air(stack, until, two)
        assert _post(stack, "/api/stream/stop", {"streamId": stream_id}) == {"stoppingLevel": "None"}
        again = stack.publish("one", f"token={one['token']}")
        _on_air(stack, until, one, two)
        assert neighbour.poll() is None
    finally:
        _end(first, neighbour, *filter(None, [again]))


def test_a_broadcast_is_ended_that_the_store_does_not_know_yet(controlled: Any, until: Until) -> None:
    """The engine is asked too: what it runs is ended, however young it is."""
    stack = controlled
    token = stack.token(streams=["young"])
    stat = f"http://127.0.0.1:{stack.hls}/_stagedoor_control/stat"
    headers = {"Authorization": f"Bearer {stack.control_secret.reveal()}"}
    encoder = stack.publish("young", f"token={token['token']}")
    try:
        with httpx.Client(headers=headers) as nginx:
            deadline = time.monotonic() + 15
            while "<name>young</name>" not in nginx.get(stat).text:
                assert time.monotonic() < deadline
        assert _post(stack, "/api/stream/stop", {"streamId": f"{stack.account}/young"}) == {"stoppingLevel": "Stream"}
        assert _ended_within(encoder)
        _on_air(stack, until)
    finally:
        _end(encoder)


def test_stopping_all_ends_every_stream_of_the_account(controlled: Any, until: Until) -> None:
    """In every application; and when there is nothing more, that is told. Four bytes `null` are as good as no body."""
    stack = controlled
    tokens = [stack.token(streams=[name]) for name in ("all1", "all2")]
    encoders = [
        stack.publish("all1", f"token={tokens[0]['token']}"),
        stack.publish("all2", f"token={tokens[1]['token']}", application="v2/pub"),
    ]
    try:
        _on_air(stack, until, *tokens)
        answer = stack.api.post("/api/stream/stop/all", content=b"null", headers={"content-type": "application/json"})
        assert answer.json() == {"status": "success", "data": {"stoppingLevel": "Account"}}
        assert [_ended_within(encoder) for encoder in encoders] == [True, True]
        _on_air(stack, until)
        assert _post(stack, "/api/stream/stop/all") == {"stoppingLevel": "None"}
    finally:
        _end(*encoders)


def test_deleting_a_token_ends_its_stream_at_once_and_expiry_does_not(controlled: Any, until: Until) -> None:
    """A broadcast outlives its token's time, and not its token."""
    stack = controlled
    short, lasting = stack.token(streams=["short"], expires=4), stack.token(streams=["lasting"])
    expiring = stack.publish("short", f"token={short['token']}")
    deleted = stack.publish("lasting", f"token={lasting['token']}")
    try:
        _on_air(stack, until, short, lasting)
        # Longer than nginx and the keeper take to ask about it, once it has expired.
        time.sleep(4 + 11)
        assert stack.refused("short", f"token={short['token']}") == "token_expired"
        assert expiring.poll() is None
        stack.delete(lasting)
        assert _ended_within(deleted)
        _on_air(stack, until, short)
        assert stack.refused("lasting", f"token={lasting['token']}") == "token_revoked"
        stack.delete(short)
        assert _ended_within(expiring)
    finally:
        _end(expiring, deleted)


def test_another_priority_restarts_what_a_token_runs(controlled: Any, until: Until) -> None:
    """The token has it from then on."""
    stack = controlled
    token = stack.token(streams=["urgent"], priority=1)
    encoder = stack.publish("urgent", f"token={token['token']}")
    try:
        _on_air(stack, until, token)
        body = {"tokenId": token["id"], "updatePriority": 7}
        assert _post(stack, "/api/stream/reprioritize", body) == {"stoppingLevel": "Token"}
        assert _ended_within(encoder)
        assert stack.api.get(f"/api/publish_token/{token['id']}").json()["data"]["priority"] == 7
        assert _post(stack, "/api/stream/reprioritize", body) == {"stoppingLevel": "None"}
        assert "999" in _refused(stack, "/api/stream/reprioritize", {"tokenId": 999, "updatePriority": 7})
    finally:
        _end(encoder)


def test_what_is_no_stream_of_the_account_is_refused_in_words(controlled: Any) -> None:
    """A name alone, nothing, and somebody else's stream, whose existence is not told."""
    for wrong in ("one", "", "/one", f"{controlled.account}/", f"{controlled.account}/a b"):
        assert "streamId" in str(controlled.api.post("/api/stream/stop", json={"streamId": wrong}).json()["data"])
        assert _refused(controlled, "/api/stream/stop", {"streamId": wrong})
    assert "no stream of this account" in _refused(controlled, "/api/stream/stop", {"streamId": "other/one"})
    assert controlled.api.get("/api/publish_token/active", params={"streamId": "other/one"}).status_code == 400
    assert controlled.api.get("/api/publish_token/active").status_code == 400
    assert _refused(controlled, "/api/stream/stop", {})


def test_what_cannot_be_ended_is_told_with_what_to_set(controlled: Any, until: Until) -> None:
    """Without a control address, and with one where nobody answers. The deletion of a token is done all the same."""
    stack = controlled
    token = stack.token(streams=["stubborn"])
    encoder = stack.publish("stubborn", f"token={token['token']}")
    stream_id = f"{stack.account}/stubborn"
    try:
        _on_air(stack, until, token)
        stack.stagedoor("engine", "set", "bench", "--control-url", "")
        words = _refused(stack, "/api/stream/stop", {"streamId": stream_id})
        assert "stagedoor engine set bench --control-url" in words
        stack.stagedoor("engine", "set", "bench", "--control-url", "http://127.0.0.1:9")
        words = _refused(stack, "/api/stream/stop", {"streamId": stream_id}, status=503)
        assert "bench does not answer" in words
        assert encoder.poll() is None
        _on_air(stack, until, token)
        stack.delete(token)
        # Nobody could be told; so nginx ends it when it asks about it.
        assert _ended_within(encoder, 16)
    finally:
        stack.reach_nginx()
        _end(encoder)


def test_the_control_api_answers_nobody_without_the_secret(controlled: Any) -> None:
    """Neither what runs nor the ending of it; the hook secret is another one."""
    for path in ("stat", "control/drop/publisher?app=live&name=one", "control/drop/client?clientid=0"):
        url = f"http://127.0.0.1:{controlled.hls}/_stagedoor_control/{path}"
        for shown in ("", "Bearer", f"Bearer {controlled.hook_url.rpartition('/')[2]}", "Basic eDp4"):
            assert httpx.get(url, headers={"Authorization": shown}).status_code == 403
        right = {"Authorization": f"Bearer {controlled.control_secret.reveal()}"}
        assert httpx.get(url, headers=right).status_code == 200


def test_a_budget_of_bytes_is_kept_on_an_nginx_that_tells_them(controlled: Any, until: Until) -> None:
    """Its viewer is ended when the budget is spent, and a second one with the same token does not come in."""
    stack = controlled
    publisher = stack.token(streams=["counted"], subscribeRequiresAuth=True)
    viewer = stack.token("subscribe", streams=["counted"], budgets={"bytes": 200_000})
    encoder = stack.publish("counted", f"token={publisher['token']}")
    watching = None
    try:
        stack.on_air("counted")
        url = stack.rtmp_url("counted", f"token={viewer['token']}")
        watching = stack.watch(url)
        assert stack.decided(viewer, 1) == ["ok"]
        # About 50 kB a second, looked at every five seconds.
        assert not _ended_within(watching, 2)
        assert _ended_within(watching, 16)
        assert stack.frames(url) == 0
        assert stack.decided(viewer, 2)[-1] == "bytes_spent"
        assert encoder.poll() is None
    finally:
        _end(encoder, *filter(None, [watching]))
