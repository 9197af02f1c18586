"""The policy against a second one, written from its description: the same answers, whatever is asked."""

from dataclasses import replace
from itertools import combinations_with_replacement, product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.questions import (
    ADDRESSES,
    AGENT_PATTERNS,
    AGENTS,
    NETWORKS,
    ORIGIN_PATTERNS,
    ORIGINS,
    REFERRER_PATTERNS,
    REFERRERS,
    RULES,
    UNREADABLE,
    build,
    questions,
    questions_about,
    questions_of_credentials,
    questions_of_viewers,
    real,
)
from tests.reference import Open, Question, Token, Used, answer, secured


@given(questions())
def test_the_policy_answers_as_its_reference_does(question: Question) -> None:
    """The same reason, and the same one that was only tried out; and watching needs a token in the one as in the other."""
    assert build(question)[2].secured == secured(question)
    assert real(question) == answer(question)


POOLS = {
    "origin": ("allowedOrigins", ORIGINS, ORIGIN_PATTERNS),
    "ip": ("allowedIpAddresses", (*ADDRESSES, *UNREADABLE), NETWORKS),
    "agent": ("allowedUserAgents", AGENTS, AGENT_PATTERNS),
    "referrer": ("allowedReferrers", REFERRERS, REFERRER_PATTERNS),
}


@pytest.mark.parametrize("asked", POOLS)
def test_each_pattern_answers_as_in_the_reference(asked: str) -> None:
    """Every text of the pools against every pattern."""
    name, texts, patterns = POOLS[asked]
    for text in texts:
        for pattern in patterns:
            body = {"streams": [{"streamName": "show"}], name: [pattern], "allowWithoutOrigin": True}
            shown = Token(kind="subscribe", body=body, made_at=0)
            for protocol in ("webrtc", "srt"):
                question = Question(shown=shown, action="subscribe", now=5, protocol=protocol)
                given_text: dict[str, Any] = {asked: text}
                question = replace(question, **given_text)
                assert real(question) == answer(question), (text, pattern)


TOPICS = {
    **{rule: questions_about(rule) for rule in RULES},
    "credentials": questions_of_credentials(),
    "viewers": questions_of_viewers(),
}


@pytest.mark.parametrize("topic", TOPICS)
@given(st.data())
def test_each_rule_answers_as_in_the_reference(topic: str, data: st.DataObject) -> None:
    """With next to nothing else that could refuse, so that its edges are met."""
    question = data.draw(TOPICS[topic])
    assert real(question) == answer(question)


WATCHED = Token(
    kind="publish", body={"streams": [{"streamName": "show"}], "subscribeRequiresAuth": True}, made_at=0, live=True
)


def _asks(body: dict[str, Any], used: Used, **more: Any) -> Question:
    shown = Token(kind="subscribe", body={"streams": [{"streamName": "show"}], "subject": "someone", **body}, made_at=0)
    return replace(Question(shown=shown, action="subscribe", now=100, publishers=[WATCHED], used=used), **more)


@pytest.mark.parametrize("over", ["refuse", "end_oldest", "grace"])
@pytest.mark.parametrize("per", ["token", "subject"])
def test_session_limits_answer_as_in_the_reference_at_every_edge(per: str, over: str) -> None:
    """Up to three sessions, of the token or another of its subject, that stay or are to end before, at or after now."""
    kinds = [Open(since=1, end_at=end_at, of_token=mine) for end_at in (None, 99, 100, 101) for mine in (True, False)]
    for most, count, own in product((1, 2), range(4), (True, False)):
        limit = {"most": most, "per": per, "over": over} | ({"graceSeconds": 9} if over == "grace" else {})
        for several in combinations_with_replacement(kinds, count):
            first = next((place for place, session in enumerate(several) if session.of_token), None)
            sessions = [replace(session, own=own and place == first) for place, session in enumerate(several)]
            question = _asks({"sessionLimit": limit}, Used(starts=count, last_ip="192.0.2.1", open=sessions))
            assert real(question) == answer(question), question


@pytest.mark.parametrize("grace", [0, 10])
def test_single_use_answers_as_in_the_reference_at_every_edge(grace: int) -> None:
    """From the same address or another, before, at and after the end of the grace, while it is open, live, or goes on."""
    opened: tuple[list[Open], ...] = (
        [],
        [Open(since=99)],
        [Open(since=99, own=True, end_at=100)],
        [Open(since=99, own=True, end_at=101)],
    )
    body = {"singleUse": {"graceSeconds": grace}}
    for sessions, ended, ip in product(
        opened, (None, 89, 90, 91, 100), ("192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2", "")
    ):
        used = Used(
            starts=int(bool(sessions) or ended is not None), last_ip="192.0.2.1", last_ended=ended, open=sessions
        )
        for running, trusted, live in product((True, False), repeat=3):
            publishers = [replace(WATCHED, live=live)]
            question = _asks(body, used, ip=ip, told_running=running, trusted=trusted, publishers=publishers)
            assert real(question) == answer(question), question
