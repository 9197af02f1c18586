"""The dialect of MediaMTX."""

import json
from typing import Any

import pytest

from stagedoor.engines.dialect import Answer, OwnSecrets
from stagedoor.engines.mediamtx.hook import MediaMtx
from stagedoor.model.access import Access, Action, Protocol
from stagedoor.model.decision import ALLOWING, Reason
from stagedoor.model.ids import AccountId, StreamId
from stagedoor.service.authorize import Attempt, Notice

SECRET = "0123456789abcdef"
CONTROL = "fedcba9876543210"
CALL: dict[str, Any] = {
    "user": "",
    "password": "",
    "token": "",
    "ip": "192.0.2.1",
    "action": "read",
    "path": "show",
    "protocol": "rtsp",
    "id": "session-1",
    "query": "",
}


def _read_bytes(body: bytes) -> Attempt | Notice:
    return MediaMtx().read("", [], body, OwnSecrets(SECRET, CONTROL))


def _read(**changes: Any) -> Attempt | Notice:
    return _read_bytes(json.dumps(CALL | changes).encode())


def _attempt(**changes: Any) -> Attempt:
    asked = _read(**changes)
    assert isinstance(asked, Attempt)
    return asked


def test_a_call_is_read() -> None:
    """Every field that matters finds its place."""
    assert _read(token="tok") == Attempt(
        Access(Action.SUBSCRIBE, StreamId(AccountId(""), "show"), Protocol.RTSP, "192.0.2.1"), "tok", "session-1"
    )


@pytest.mark.parametrize(
    ("action", "meant"), [("publish", Action.PUBLISH), ("read", Action.SUBSCRIBE), ("playback", Action.SUBSCRIBE)]
)
def test_actions(action: str, meant: Action) -> None:
    """Watching a recording is watching."""
    assert _attempt(action=action).access.action is meant


@pytest.mark.parametrize(
    ("path", "account", "name"),
    [
        ("show", "", "show"),
        ("acct/show", "acct", "show"),
        ("acct/show/cam", "acct", "show/cam"),
        ("v2/pub/show", "", "show"),
        ("v2/pub/acct/show", "acct", "show"),
        ("v2/pub/v2/pub/show", "v2", "pub/show"),
        ("v2/pub/", "", ""),
        ("v2/pub", "v2", "pub"),
        ("", "", ""),
        ("/show", "", ""),
        ("../show", "", ""),
        ("acct/../show", "", ""),
        ("acct/show/", "", ""),
        ("acct/show\n", "", ""),
        ("acct/show%2e", "", ""),
        ("v2/pub/../show", "", ""),
        ("a.b/show", "", "a.b/show"),
    ],
)
def test_paths(path: str, account: str, name: str) -> None:
    """The first part is the account where it can be one; `v2/pub/` is taken off once; what is no name is none."""
    asked = _attempt(path=path)
    assert asked.access.stream == (account, name)


@pytest.mark.parametrize(
    ("changes", "token"),
    [
        ({"token": "T", "password": "P", "query": "token=Q"}, "T"),
        ({"password": "P", "query": "token=Q"}, "P"),
        ({"password": "P", "user": "U"}, "P"),
        ({"query": "token=Q&t=q"}, "Q"),
        ({"query": "t=q&token=Q"}, "Q"),
        ({"query": "t=q"}, "q"),
        ({"query": "token=Q&token=R"}, "Q"),
        ({"query": "t=q&t=r"}, "q"),
        ({"query": "token=&t=q"}, "q"),
        ({"query": "a=b&token=Q%2D1"}, "Q-1"),
        ({"query": "token"}, ""),
        ({"query": "&&=&"}, ""),
        ({"user": "U"}, ""),
        ({}, ""),
    ],
)
def test_the_token_is_bearer_then_password_then_query(changes: dict[str, str], token: str) -> None:
    """The first place that has one says; a user name is never a token."""
    assert _attempt(**changes).unverified_token == token


@pytest.mark.parametrize("protocol", ["rtsp", "hls", "webrtc", "moq", "", "a new one"])
def test_a_first_call_without_credentials_will_be_asked_again(protocol: str) -> None:
    """The engine asks its client, so this is no refusal yet."""
    assert _attempt(protocol=protocol).will_ask


@pytest.mark.parametrize("protocol", ["rtmp", "srt"])
def test_clients_that_cannot_be_asked_are_refused_at_once(protocol: str) -> None:
    """RTMP and SRT have no challenge."""
    assert not _attempt(protocol=protocol).will_ask


@pytest.mark.parametrize("changes", [{"token": "T"}, {"password": "P"}, {"user": "U"}, {"query": "t=q"}])
def test_a_call_with_any_credentials_is_not_asked_again(changes: dict[str, str]) -> None:
    """Whoever showed something is judged by it."""
    assert not _attempt(**changes).will_ask


def test_the_user_agent_is_taken_over() -> None:
    """As the client calls itself; empty where the call says nothing. MediaMTX tells no origin and no page."""
    access = _attempt(userAgent="ExamplePlayer/2.1").access
    assert (access.user_agent, access.origin, access.referrer) == ("ExamplePlayer/2.1", None, "")
    assert _attempt().access.user_agent == ""


@pytest.mark.parametrize("action", ["publish", "read", "playback"])
def test_mediamtx_never_asks_about_what_runs(action: str) -> None:
    """Each of its calls is a new start."""
    assert not _attempt(action=action).running


def test_a_protocol_this_version_does_not_know_is_unknown() -> None:
    """And no error."""
    assert _attempt(protocol="carrier pigeon").access.protocol is Protocol.UNKNOWN


@pytest.mark.parametrize("action", ["api", "metrics", "pprof"])
def test_mediamtx_own_interfaces_need_the_hook_secret(action: str) -> None:
    """As bearer or password; nothing else will do, and without any the client is asked, unrecorded."""
    assert _read(action=action, token=SECRET) == Notice(action, Reason.OK_ENGINE, "192.0.2.1")
    assert _read(action=action, password=SECRET) == Notice(action, Reason.OK_ENGINE, "192.0.2.1")
    assert _read(action=action) == Notice(action, Reason.TOKEN_MISSING, "192.0.2.1", recorded=False)
    for wrong in ("x", SECRET[:-1], SECRET + "0", SECRET.upper(), "\u00e9", "ab" * 32):
        assert _read(action=action, token=wrong) == Notice(action, Reason.TOKEN_UNKNOWN, "192.0.2.1")


@pytest.mark.parametrize("action", ["api", "metrics", "pprof"])
def test_our_own_calls_are_let_through_and_not_recorded(action: str) -> None:
    """They show the control secret; they come every few seconds and say nothing of anyone."""
    assert _read(action=action, token=CONTROL) == Notice(action, Reason.OK_ENGINE, "192.0.2.1", recorded=False)
    assert _read(action=action, password=CONTROL) == Notice(action, Reason.OK_ENGINE, "192.0.2.1", recorded=False)
    for wrong in (CONTROL[:-1], CONTROL + "0", CONTROL.upper()):
        assert _read(action=action, token=wrong) == Notice(action, Reason.TOKEN_UNKNOWN, "192.0.2.1")


@pytest.mark.parametrize("action", ["publish", "read", "playback"])
@pytest.mark.parametrize("secret", [SECRET, CONTROL])
def test_the_engines_own_secrets_are_no_tokens(action: str, secret: str) -> None:
    """Who has one of them is asked for a token like everyone else."""
    asked = _attempt(action=action, token=secret)
    assert asked.unverified_token == secret


@pytest.mark.parametrize("action", ["api", "metrics", "pprof"])
@pytest.mark.parametrize("secret", [SECRET, CONTROL])
def test_an_own_secret_does_not_count_in_a_query(action: str, secret: str) -> None:
    """Queries are logged."""
    asked = _read(action=action, query=f"token={secret}")
    assert asked == Notice(action, Reason.TOKEN_MISSING, "192.0.2.1", recorded=False)


@pytest.mark.parametrize("action", ["", "READ", "read ", "delete", "apis", "\u00e9", "x" * 10_000])
def test_unknown_actions_are_refused(action: str) -> None:
    """Also with one of the engine's own secrets; the word itself is not told on."""
    for secret in (SECRET, CONTROL):
        assert _read(action=action, token=secret) == Notice("unknown", Reason.ACTION_UNKNOWN, "192.0.2.1")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"read"',
        b"{}",
        b'{"path":"show"}',
        b'{"action":1}',
        b'{"action":null}',
        b'{"action":"read","path":["show"]}',
        b'{"action":"read","token":5}',
        b'{"action":"read","userAgent":5}',
        b'{"action":"read"} x',
        b'{"action":"read","token":"\\ud800"}',
        b'{"action":"\xff"}',
        b"\xff\xfe",
        b"\x00",
        b"action=read&path=show",
        b"[" * 60_000,
    ],
)
def test_what_is_no_call_is_malformed(body: bytes) -> None:
    """Not JSON, not an object, a field of another type: refused with its reason."""
    assert _read_bytes(body) == Notice("unknown", Reason.REQUEST_MALFORMED)


def test_a_deep_field_is_malformed_too() -> None:
    """60 kB of brackets in a field that we skip."""
    assert _read_bytes(b'{"action":"read","new":' + b"[" * 60_000) == Notice("unknown", Reason.REQUEST_MALFORMED)


def test_fields_of_newer_versions_do_not_matter() -> None:
    """Unknown ones are ignored; no session id is no session."""
    assert _attempt(new={"a": [1]}, id=None).session == ""


@pytest.mark.parametrize("reason", list(Reason))
def test_answers(reason: Reason) -> None:
    """401 makes the engine ask its client, so it is for missing tokens alone."""
    answer = MediaMtx().answer(reason)
    if reason in ALLOWING:
        assert answer == Answer(200, "ok")
    else:
        status = {Reason.TOKEN_MISSING: 401, Reason.STORE_UNAVAILABLE: 503}.get(reason, 403)
        assert answer == Answer(status, reason.value)
