"""Tokens in plain words."""

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest

from stagedoor.model.access import Action, Protocol
from stagedoor.model.account import CLOSED, OPEN, AccountPolicy
from stagedoor.model.caveats import Budgets, Countries, Over, Per, SessionLimit, SingleUse
from stagedoor.model.hours import Hours, Window
from stagedoor.model.token import TokenKind, TokenRecord, TokenTerms
from stagedoor.service.describe import describe

MakeRecord = Callable[..., TokenRecord]

NOW = 1_000_000.0


def _said(make_record: MakeRecord, policy: AccountPolicy = OPEN, **terms: Any) -> str:
    return describe(make_record(**terms), policy, NOW)


def test_a_plain_publish_token(make_record: MakeRecord) -> None:
    """Who, what, whose, until when, and who may watch."""
    assert _said(make_record) == (
        "Whoever has this token may publish the stream show of account acct, without an end. Anyone may watch."
    )


def test_a_plain_subscribe_token(make_record: MakeRecord) -> None:
    """It says nothing of who else may watch."""
    assert _said(make_record, kind=TokenKind.SUBSCRIBE) == (
        "Whoever has this token may watch the stream show of account acct, without an end."
    )


def test_a_token_whose_viewers_need_one(make_record: MakeRecord) -> None:
    """The other way to end."""
    assert _said(make_record, requires_auth=True).endswith("Watching needs a subscribe token.")


@pytest.mark.parametrize(
    ("streams", "said"),
    [
        ({"names": ("a", "b")}, "the streams a and b of account"),
        ({"names": ("a", "b", "c")}, "the streams a, b and c of account"),
        ({"names": tuple("abcdef")}, "the streams a, b, c, d, e and 1 more of account"),
        ({"names": (), "regexes": ("cam-.*",)}, "streams whose whole name matches cam-.* of account"),
        ({"names": (), "regexes": ("a.*", "b.*")}, "streams whose whole name matches a.* or b.* of account"),
        ({"regexes": ("a.*",)}, "the stream show and streams whose whole name matches a.* of account"),
        ({"regexes": (".*",)}, "may publish any stream of account"),
        ({"regexes": (".+",)}, "may publish any stream of account"),
    ],
)
def test_streams(make_record: MakeRecord, streams: dict[str, Any], said: str) -> None:
    """Names, expressions, both, or all of them; long lists are cut."""
    assert said in _said(make_record, **streams)


SAID: dict[str, tuple[dict[str, Any], str]] = {
    "subject": ({"subject": "carol"}, "Whoever has this token, given to carol, may publish"),
    "not_before": ({"not_before": 0}, ", from 1970-01-01 00:00:00 UTC on,"),
    "expires_at": ({"expires_at": 2_000_000}, ", until 1970-01-24 03:33:20 UTC, and what runs then goes on."),
    "end_sessions_at_expiry": (
        {"expires_at": 2_000_000, "end_sessions_at_expiry": True},
        ", until 1970-01-24 03:33:20 UTC, when its sessions end.",
    ),
    "hours": (
        {"hours": Hours("Europe/Warsaw", (Window((4, 0), 540, 1020), Window((6,), 1320, 1440)))},
        ", on Mon, Fri 09:00-17:00 and Sun 22:00-24:00 (Europe/Warsaw),",
    ),
    "allowed_addresses": ({"allowed_addresses": ("192.0.2.0/24", "::1")}, ", from 192.0.2.0/24 or ::1,"),
    "bind_ips_on_usage": ({"bind_ips_on_usage": 1}, ", from the first address that uses it,"),
    "bind_ipv4_bits": (
        {"bind_ips_on_usage": 3, "bind_ipv4_bits": 24},
        ", from the first 3 network (/24, IPv6 /128)s that use it,",
    ),
    "bind_ipv6_bits": (
        {"bind_ips_on_usage": 1, "bind_ipv6_bits": 64},
        ", from the first network (/32, IPv6 /64) that uses it,",
    ),
    "rebinds_an_hour": (
        {"bind_ips_on_usage": 2, "rebinds_an_hour": 4},
        ", from the first 2 addresses that use it, which may change 4 time(s) an hour,",
    ),
    "allowed_origins": ({"allowed_origins": ("example.org",)}, ", on pages of example.org,"),
    "allow_without_origin": (
        {"allowed_origins": ("example.org",), "allow_without_origin": True},
        ", on pages of example.org or encoders that have no page,",
    ),
    "allowed_countries": ({"allowed_countries": ("PL", "DE")}, ", in PL or DE only,"),
    "denied_countries": ({"denied_countries": ("PL",)}, ", not in PL,"),
    "allowed_protocols": ({"allowed_protocols": (Protocol.RTMP, Protocol.SRT)}, ", over rtmp or srt,"),
    "allowed_user_agents": ({"allowed_user_agents": ("Ex*",)}, ", with programs that call themselves Ex*,"),
    "allowed_referrers": ({"allowed_referrers": ("https://*",)}, ", from pages at https://*,"),
    "session_limit": (
        {"session_limit": SessionLimit(2)},
        "At most 2 session(s) at a time with it; one more is refused.",
    ),
    "single_use": (
        {"single_use": SingleUse(30)},
        "It is good for one session; the same address may come back within 30 s.",
    ),
    "budgets": (
        {"budgets": Budgets(60, 600, 1000, 3)},
        "It may be used for 60 s in one session, 600 s in all, 1000 bytes in all and 3 start(s).",
    ),
    "shadow_until": (
        {"shadow_until": 1_000_001},
        "SHADOW MODE: until 1970-01-12 13:46:41 UTC its conditions are tried out and refuse nothing.",
    ),
    "active": ({"active": False}, "It is disabled and lets nobody in."),
    "actions": ({"actions": (Action.SUBSCRIBE, Action.PUBLISH)}, "may watch and publish the stream"),
    "groups": ({"groups": ("summer",)}, "the streams of the group summer"),
    "longest_seconds": ({"longest_seconds": 60}, "Such a token is good for 60 seconds at most."),
    "not_understood": (
        {"not_understood": ("full_moon", "tides")},
        "It sets full_moon and tides, which this version does not know, so it lets nobody in. Nobody may watch.",
    ),
}
UNSAID = {"label", "streams", "geo_applies_to", "origin_cluster", "tracking_id", "viewer_data", "publishing"}
"""What is said elsewhere, or lets nobody in and keeps nobody out."""


@pytest.mark.parametrize("name", SAID)
def test_every_term_that_limits_is_told(make_record: MakeRecord, name: str) -> None:
    """In its own words, which stand nowhere without it."""
    terms, said = SAID[name]
    assert said in _said(make_record, **terms)
    assert said not in _said(make_record)


def test_every_term_is_known_as_told_or_not() -> None:
    """Whoever adds a term has to say here which of the two it is."""
    assert {field.name for field in fields(TokenTerms)} == set(SAID) | UNSAID


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        (SessionLimit(1, Per.SUBJECT), "with any token; one more is refused."),
        (SessionLimit(1, over=Over.END_OLDEST), "with it; one more ends the oldest."),
        (SessionLimit(1, over=Over.GRACE, grace_seconds=5), "with it; one more ends the oldest after 5 s."),
    ],
)
def test_limits(make_record: MakeRecord, limit: SessionLimit, said: str) -> None:
    """Whose sessions they count, and what becomes of one too many."""
    assert f"At most 1 session(s) at a time {said}" in _said(make_record, session_limit=limit).replace(
        "of that subject ", ""
    )


def test_a_single_use_without_grace(make_record: MakeRecord) -> None:
    """Nothing is said of coming back."""
    assert "It is good for one session." in _said(make_record, single_use=SingleUse())


# -- how it stands


def test_a_revoked_token_lets_nobody_in(make_record: MakeRecord) -> None:
    """However its switch stands."""
    assert "It is revoked and lets nobody in." in _said(make_record, revoked_at=5)


def test_the_tokens_of_a_closed_account_let_nobody_in(make_record: MakeRecord) -> None:
    """One that lets nobody in by itself says so instead."""
    assert "Its account is closed, so it lets nobody in." in _said(make_record, CLOSED)
    assert "account is closed" not in _said(make_record, CLOSED, active=False)


def test_the_tokens_of_an_account_with_settings_of_a_newer_version_let_nobody_in(make_record: MakeRecord) -> None:
    """It says that, and not only that the account is closed."""
    said = _said(make_record, replace(CLOSED, not_understood=("curfew",)))
    assert "Its account sets curfew, which this version does not know, so it lets nobody in." in said
    assert "account is closed" not in said


def test_a_subscribe_token_of_a_newer_version_says_nothing_of_who_else_may_watch(make_record: MakeRecord) -> None:
    """Only a publish token's settings are about others."""
    said = _said(make_record, kind=TokenKind.SUBSCRIBE, not_understood=("tides",))
    assert said.endswith("It sets tides, which this version does not know, so it lets nobody in.")


@pytest.mark.parametrize(("expires_at", "expired"), [(NOW - 1, True), (NOW, True), (NOW + 1, False)])
def test_an_expired_token_starts_nothing_new(make_record: MakeRecord, expires_at: float, expired: bool) -> None:
    """-1, 0, +1 around its instant."""
    assert ("It has expired" in _said(make_record, expires_at=int(expires_at))) is expired


@pytest.mark.parametrize(("until", "trial"), [(NOW - 1, False), (NOW, False), (NOW + 1, True)])
def test_shadow_mode_is_told_while_it_lasts(make_record: MakeRecord, until: float, trial: bool) -> None:
    """The token's own or the account's; -1, 0, +1 around its end."""
    assert ("SHADOW MODE" in _said(make_record, shadow_until=int(until))) is trial
    assert ("SHADOW MODE" in _said(make_record, AccountPolicy(shadow_until=int(until)))) is trial


# -- what the account sets


def test_the_accounts_longest_lifetime_is_told_as_the_end(make_record: MakeRecord) -> None:
    """The token was added at 0."""
    said = _said(make_record, AccountPolicy(longest_lifetime_seconds=60))
    assert ", until 1970-01-01 00:01:00 UTC," in said
    assert "It has expired" in said


def test_the_accounts_countries_are_told_where_the_token_has_none(make_record: MakeRecord) -> None:
    """Its own go before them."""
    policy = AccountPolicy(countries=Countries(denied=("DE",)))
    assert ", not in DE," in _said(make_record, policy)
    said = _said(make_record, policy, allowed_countries=("PL",))
    assert ", in PL only," in said
    assert "DE" not in said


def test_countries_about_viewers_do_not_limit_where_one_may_publish(make_record: MakeRecord) -> None:
    """Such a token may publish anywhere, and the sentence must not say otherwise."""
    said = _said(make_record, allowed_countries=("PL",), geo_applies_to=(Action.SUBSCRIBE,))
    assert "may publish the stream show of account acct, without an end." in said


def test_the_accounts_countries_about_publishing_do_not_limit_where_one_may_watch(make_record: MakeRecord) -> None:
    """Such a token may watch anywhere, and the sentence must not say otherwise."""
    policy = AccountPolicy(countries=Countries(allowed=("PL",), applies_to=(Action.PUBLISH,)))
    said = _said(make_record, policy, kind=TokenKind.SUBSCRIBE)
    assert "may watch the stream show of account acct, without an end." in said


def test_no_secret_is_told(make_record: MakeRecord) -> None:
    """Neither the digest nor the sealed value."""
    said = _said(make_record)
    assert "dddd" not in said
