"""Sessions: which one an access goes on with, when one is gone, and what a token is judged by."""

from typing import Any

import pytest

from stagedoor.model.access import Action, Protocol
from stagedoor.model.addresses import parse_address, parse_network
from stagedoor.model.caveats import Per
from stagedoor.model.ids import AccountId, EngineId, TokenId
from stagedoor.model.session import (
    HLS_SILENCE_SECONDS,
    SAME_READER_SECONDS,
    SILENCE_SECONDS,
    OpenSession,
    SessionStart,
    TokenUse,
    usage_of,
)
from stagedoor.model.usage import UNUSED, Session

NOW = 1_000_000.0
START = SessionStart(
    AccountId("acct"),
    TokenId(1),
    "carol",
    EngineId("e1"),
    "s1",
    "show",
    Action.SUBSCRIBE,
    Protocol.RTMP,
    "192.0.2.1",
    NOW,
)


def _open(
    number: int = 1, *, seen_at: float = NOW, end_at: float | None = None, carried: int = 0, **start: Any
) -> OpenSession:
    return OpenSession(id=number, start=START._replace(**start), seen_at=seen_at, end_at=end_at, bytes=carried)


# -- silence


@pytest.mark.parametrize("protocol", Protocol)
@pytest.mark.parametrize(("more", "gone"), [(-1, False), (0, False), (1, True)])
def test_a_session_is_gone_when_nothing_was_heard_of_it_for_too_long(
    protocol: Protocol, more: float, gone: bool
) -> None:
    """-1, 0, +1 around it; HLS viewers ask every few seconds, so their silence is shorter."""
    silence = HLS_SILENCE_SECONDS if protocol is Protocol.HLS else SILENCE_SECONDS
    opened = _open(seen_at=NOW + 5, protocol=protocol)
    assert opened.gone(NOW + 5 + silence + more) is gone


# -- the very session


def test_the_same_id_on_the_same_engine_is_the_same_session() -> None:
    """However long it runs, and wherever its client has moved to."""
    assert _open().goes_on_with(START._replace(at=NOW + 9999))
    assert _open().goes_on_with(START._replace(client_ip="192.0.2.2"))


@pytest.mark.parametrize(
    "changes",
    [
        {"session": "s2"},
        {"engine": EngineId("e2")},
        {"action": Action.PUBLISH},
        {"stream": "other"},
        {"token_id": TokenId(2)},
    ],
)
def test_what_differs_in_one_thing_is_another_session(changes: dict[str, Any]) -> None:
    """Id, engine, action, stream or token."""
    assert not _open().goes_on_with(START._replace(**changes))


RTSP: dict[str, Any] = {"protocol": Protocol.RTSP}


@pytest.mark.parametrize(
    ("after", "same"),
    [(0, True), (SAME_READER_SECONDS - 1, True), (SAME_READER_SECONDS, True), (SAME_READER_SECONDS + 1, False)],
)
def test_an_rtsp_reader_is_asked_about_twice(after: float, same: bool) -> None:
    """Under two ids, within a short time; -1, 0, +1 around the end of it."""
    second = START._replace(session="s2", at=NOW + after, **RTSP)
    assert _open(**RTSP).goes_on_with(second) is same


@pytest.mark.parametrize(
    "changes",
    [
        {"client_ip": "192.0.2.2"},
        {"protocol": Protocol.RTMP},
        {"stream": "other"},
        {"token_id": TokenId(2)},
        {"engine": EngineId("e2")},
        {"action": Action.PUBLISH},
    ],
)
def test_another_rtsp_reader_is_another_session(changes: dict[str, Any]) -> None:
    """One thing different, and it is not the second call about the first."""
    second = START._replace(**RTSP | {"session": "s2", "at": NOW + 1} | changes)
    assert not _open(**RTSP).goes_on_with(second)


def test_an_rtsp_reader_that_was_asked_about_twice_is_no_third_one() -> None:
    """Once it was heard of again, another id is another reader."""
    third = START._replace(session="s3", at=NOW + 2, **RTSP)
    assert not _open(seen_at=NOW + 1, **RTSP).goes_on_with(third)


@pytest.mark.parametrize("protocol", [protocol for protocol in Protocol if protocol is not Protocol.RTSP])
def test_readers_of_other_protocols_are_asked_about_once(protocol: Protocol) -> None:
    """Two ids are two sessions."""
    assert not _open(protocol=protocol).goes_on_with(START._replace(session="s2", protocol=protocol))


# -- usage


def test_a_token_that_was_never_used_has_no_usage() -> None:
    """And goes on with nothing."""
    assert usage_of(TokenUse(), [], START, Per.TOKEN) == (UNUSED, None)


def test_what_is_kept_is_taken_over() -> None:
    """Each part of it."""
    bound = {parse_network("192.0.2.1"): 5.0}
    use = TokenUse(
        starts=3, watched_seconds=9.5, bytes=70, last_ip="192.0.2.7", last_at=8.0, rebinds=(1.0, 2.0), bound=bound
    )
    usage, _ = usage_of(use, [], START, Per.TOKEN)
    assert usage == UNUSED._replace(
        bound=bound,
        rebinds=(1.0, 2.0),
        starts=3,
        watched_seconds=9.5,
        bytes=70,
        last_address=parse_address("192.0.2.7"),
        last_at=8.0,
    )


@pytest.mark.parametrize("last_ip", ["", "unknown"])
def test_a_last_address_that_cannot_be_read_is_none(last_ip: str) -> None:
    """It is nobody's."""
    assert usage_of(TokenUse(last_ip=last_ip), [], START, Per.TOKEN)[0].last_address is None


def test_open_sessions_count_with_what_they_carried_so_far() -> None:
    """And while one is open, there is no last end."""
    sessions = [_open(1, at=NOW - 9, carried=5), _open(2, session="s2", at=NOW - 4, carried=7, end_at=NOW + 1)]
    usage, _ = usage_of(TokenUse(bytes=100, last_at=3.0), sessions, START._replace(session="s9"), Per.TOKEN)
    assert (usage.bytes, usage.open_since, usage.last_at) == (112, (NOW - 9, NOW - 4), None)
    assert usage.sessions == (Session(1, NOW - 9), Session(2, NOW - 4, NOW + 1))
    assert usage.own is None


def test_the_session_that_goes_on_is_told() -> None:
    """As it is counted, and as it is kept."""
    sessions = [_open(1, session="s0"), _open(2, end_at=NOW + 5)]
    usage, own = usage_of(TokenUse(), sessions, START, Per.TOKEN)
    assert (usage.own, own) == (Session(2, NOW, NOW + 5), sessions[1])


@pytest.mark.parametrize(("per", "counted"), [(Per.TOKEN, (1,)), (Per.SUBJECT, (1, 2))])
def test_sessions_are_counted_of_the_token_or_of_its_subject(per: Per, counted: tuple[int, ...]) -> None:
    """The budgets are the token's own either way."""
    sessions = [_open(1, at=NOW - 9, carried=5), _open(2, token_id=TokenId(2), at=NOW - 4, carried=7)]
    usage, _ = usage_of(TokenUse(), sessions, START._replace(session="s9"), per)
    assert tuple(session.id for session in usage.sessions) == counted
    assert (usage.bytes, usage.open_since) == (5, (NOW - 9,))


def test_while_only_others_of_the_subject_are_open_the_tokens_last_end_is_known() -> None:
    """They are not its own."""
    usage, _ = usage_of(TokenUse(last_at=3.0), [_open(2, token_id=TokenId(2))], START, Per.SUBJECT)
    assert (usage.last_at, usage.own, usage.open_since) == (3.0, None, ())
