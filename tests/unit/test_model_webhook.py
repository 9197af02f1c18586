"""Webhooks as things: what they ask for, how their health changes, how long is waited."""

import pytest

from stagedoor.model.events import EventType
from stagedoor.model.webhook import (
    HEALTHY,
    OWN_EVENTS,
    SUSPEND_AFTER_FAILURES,
    SUSPEND_AFTER_SECONDS,
    SUSPENDED_SECONDS,
    Health,
    WebhookKind,
    WebhookTerms,
    health_after,
    life_seconds,
    retry_seconds,
)

AT = 1_700_000_000.0


def test_every_event_can_be_asked_for_in_one_way() -> None:
    """Those of the compatible API by their kind, our own by their name, and none by both."""
    everything = WebhookTerms(url="", kinds=frozenset(WebhookKind), events=OWN_EVENTS)
    nothing = WebhookTerms(url="")
    for event in EventType:
        assert everything.asks_for(event)
        assert not nothing.asks_for(event)
        by_kind = WebhookTerms(url="", kinds=frozenset(WebhookKind)).asks_for(event)
        by_name = WebhookTerms(url="", events=OWN_EVENTS).asks_for(event)
        assert by_kind != by_name


@pytest.mark.parametrize(
    ("kind", "events"),
    [
        (WebhookKind.FEEDS, {"feeds.started", "feeds.ended"}),
        (WebhookKind.MEDIA, {"media.processing", "media.completed", "media.errored", "media.deleted"}),
        (
            WebhookKind.VIEWER_CONNECTION,
            {
                "viewerConnection.ViewerAttempt",
                "viewerConnection.FirstViewerConnection",
                "viewerConnection.NoActiveViewers",
            },
        ),
        (WebhookKind.THUMBNAIL, {"thumbnail"}),
        (WebhookKind.RECORDINGS, set()),
        (WebhookKind.TRANSCODER, set()),
    ],
)
def test_a_kind_stands_for_its_events(kind: WebhookKind, events: set[str]) -> None:
    """And for no others."""
    terms = WebhookTerms(url="", kinds=frozenset({kind}))
    assert {event.value for event in EventType if terms.asks_for(event)} == events


def failed(times: int, over: float, health: Health = HEALTHY) -> Health:
    """Return the health after `times` failures spread evenly over some seconds from `AT` on."""
    for number in range(times):
        at = AT + over * (number / (times - 1) if times > 1 else 0)
        health = health_after(health, at, "it answers 500")
    return health


@pytest.mark.parametrize(
    ("times", "over", "suspended"),
    [
        (SUSPEND_AFTER_FAILURES - 1, SUSPEND_AFTER_SECONDS * 10, False),
        (SUSPEND_AFTER_FAILURES, SUSPEND_AFTER_SECONDS - 1, False),
        (SUSPEND_AFTER_FAILURES, SUSPEND_AFTER_SECONDS, True),
        (SUSPEND_AFTER_FAILURES + 1, SUSPEND_AFTER_SECONDS + 1, True),
        (1000, 1, False),
    ],
)
def test_many_failures_in_a_row_over_a_while_suspend(times: int, over: float, suspended: bool) -> None:
    """Neither a burst nor a few."""
    health = failed(times, over)
    assert health.suspended(AT + over) is suspended
    if suspended:
        assert health.disabled_until == pytest.approx(AT + over + SUSPENDED_SECONDS, abs=over / times + 1)
        assert health.reason.endswith("it answers 500")


def test_a_suspension_ends_and_one_more_failure_is_the_next() -> None:
    """Half open: it is suspended until `until`, not a moment longer; what was under way does not prolong it."""
    health = failed(SUSPEND_AFTER_FAILURES, SUSPEND_AFTER_SECONDS)
    until = health.disabled_until
    assert until is not None
    assert health.suspended(until - 0.001)
    assert not health.suspended(until)
    assert health_after(health, until - 100, "late").disabled_until == until
    assert health_after(health, until + 5, "again").disabled_until == until + 5 + SUSPENDED_SECONDS
    assert health_after(health, until + 5, "") == HEALTHY


def test_one_success_forgets_all_failures() -> None:
    """Only failures in a row count."""
    health = failed(SUSPEND_AFTER_FAILURES - 1, SUSPEND_AFTER_SECONDS * 2)
    assert health_after(health, AT, "") == HEALTHY
    assert failed(SUSPEND_AFTER_FAILURES - 1, SUSPEND_AFTER_SECONDS * 2, HEALTHY).disabled_until is None


@pytest.mark.parametrize(
    ("attempts", "seconds"), [(0, 5), (1, 5), (2, 10), (3, 20), (10, 2560), (11, 3600), (12, 3600), (10_000, 3600)]
)
def test_waits_double_up_to_an_hour_and_are_spread(attempts: int, seconds: float) -> None:
    """By a fifth, up and down."""
    assert retry_seconds(attempts, 0.5) == pytest.approx(seconds)
    assert retry_seconds(attempts, 0.0) == pytest.approx(seconds * 0.8)
    assert retry_seconds(attempts, 1.0) == pytest.approx(seconds * 1.2)


def test_a_picture_lives_shorter_than_an_event() -> None:
    """An hour, and a day."""
    assert life_seconds("thumbnail") == 3600
    assert {life_seconds(event.value) for event in EventType if event is not EventType.THUMBNAIL} == {86400}
