"""What the terms of a token may be."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from stagedoor.model.access import Action
from stagedoor.model.account import OPEN, AccountPolicy, GeoCascade, MediaExpiration
from stagedoor.model.caveats import Budgets, Countries, Over, Per, SessionLimit, SingleUse
from stagedoor.model.errors import InvalidInput
from stagedoor.model.grant import StreamPattern
from stagedoor.model.hours import Hours, Window
from stagedoor.model.token import PublishOptions, TokenKind, TokenRecord, TokenTerms
from stagedoor.service.terms import (
    LATEST,
    MAX_BOUND,
    MAX_LIST,
    MOST_SHADOW_SECONDS,
    EffectiveSettings,
    check_cascade,
    check_countries,
    check_expiration,
    check_hours,
    check_lifetime,
    check_shadow,
    check_terms,
    effective_settings,
    latest_expiry,
)

MakeRecord = Callable[..., TokenRecord]

PLAIN = TokenTerms(label="a label", streams=(StreamPattern("show"),))
HOURS = Hours("Europe/Warsaw", (Window((0,), 60, 120),))
LARGEST = 2**53


def _refused(kind: TokenKind = TokenKind.PUBLISH, **terms: Any) -> str | None:
    """Return the field for which terms are refused; None when they are not."""
    try:
        check_terms(replace(PLAIN, **terms), kind)
    except InvalidInput as error:
        return error.field or "no field is named"
    return None


def test_plain_terms_are_right() -> None:
    """A label and a stream."""
    for kind in TokenKind:
        assert _refused(kind) is None


ACCEPTED: list[dict[str, Any]] = [
    {"label": "a"},
    {"label": "a" * 128},
    {"label": "\U0001f3ad" * 128},
    {"subject": "a" * 128},
    {"not_before": 0},
    {"expires_at": LATEST},
    {"not_before": 5, "expires_at": 6},
    {"hours": HOURS},
    {"allowed_addresses": ("192.0.2.0/24", "2001:db8::1")},
    {"allowed_addresses": ("192.0.2.1",) * MAX_LIST},
    {"bind_ips_on_usage": 1},
    {"bind_ips_on_usage": MAX_BOUND},
    {"bind_ipv4_bits": 8, "bind_ipv6_bits": 16},
    {"bind_ipv4_bits": 32, "bind_ipv6_bits": 128},
    {"rebinds_an_hour": 0},
    {"rebinds_an_hour": 1000},
    {"allowed_origins": ("example.com", "*.example.org", "https://example.net:8443")},
    {"allowed_user_agents": ("*",), "allowed_referrers": ("https://*.example.com/*",)},
    {"allowed_user_agents": ("a" * 256,)},
    {"allowed_countries": ("PL", "DE")},
    {"denied_countries": ("PL",)},
    {"session_limit": SessionLimit(1)},
    {"session_limit": SessionLimit(LARGEST)},
    {"session_limit": SessionLimit(1, over=Over.GRACE, grace_seconds=1)},
    {"session_limit": SessionLimit(1, over=Over.GRACE, grace_seconds=3600)},
    {"session_limit": SessionLimit(1, over=Over.END_OLDEST)},
    {"session_limit": SessionLimit(1, per=Per.SUBJECT), "subject": "carol"},
    {"single_use": SingleUse()},
    {"single_use": SingleUse(3600)},
    {"budgets": Budgets(session_seconds=1)},
    {"budgets": Budgets(watch_seconds=LARGEST)},
    {"budgets": Budgets(bytes=1, starts=1)},
    {"publishing": PublishOptions(record=True)},
    {"publishing": PublishOptions(clip=True)},
]


@pytest.mark.parametrize("terms", ACCEPTED)
def test_terms_that_can_be_right_are_taken(terms: dict[str, Any]) -> None:
    """Up to the ends of every range, for both kinds of token."""
    for kind in TokenKind:
        assert _refused(kind, **terms) is None


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"not_understood": ("full_moon",)}, "token"),
    ({"label": ""}, "label"),
    ({"label": "a" * 129}, "label"),
    ({"label": "a\0"}, "label"),
    ({"subject": "a" * 129}, "subject"),
    ({"subject": "\0"}, "subject"),
    ({"streams": ()}, "streams"),
    ({"streams": (StreamPattern("show"), StreamPattern(".."))}, "streams"),
    ({"streams": (StreamPattern("(", is_regex=True),)}, "streams"),
    ({"not_before": -1}, "notBefore"),
    ({"not_before": LATEST + 1}, "notBefore"),
    ({"expires_at": -1}, "expires"),
    ({"expires_at": LATEST + 1}, "expires"),
    ({"not_before": 6, "expires_at": 6}, "notBefore"),
    ({"not_before": 7, "expires_at": 6}, "notBefore"),
    ({"hours": Hours("Mars/Olympus", HOURS.windows)}, "hours"),
    ({"allowed_addresses": ("192.0.2.1", "192.0.2.1/24")}, "allowedIpAddresses"),
    ({"allowed_addresses": ("192.0.2.1",) * (MAX_LIST + 1)}, "allowedIpAddresses"),
    ({"allowed_addresses": ("192.0.2.1",), "bind_ips_on_usage": 1}, "bindIpsOnUsage"),
    ({"bind_ips_on_usage": 0}, "bindIpsOnUsage"),
    ({"bind_ips_on_usage": -1}, "bindIpsOnUsage"),
    ({"bind_ips_on_usage": MAX_BOUND + 1}, "bindIpsOnUsage"),
    ({"bind_ipv4_bits": 7}, "bindTolerance"),
    ({"bind_ipv4_bits": 33}, "bindTolerance"),
    ({"bind_ipv6_bits": 15}, "bindTolerance"),
    ({"bind_ipv6_bits": 129}, "bindTolerance"),
    ({"rebinds_an_hour": -1}, "bindTolerance"),
    ({"rebinds_an_hour": 1001}, "bindTolerance"),
    ({"allowed_origins": ("https://example.com/path",)}, "allowedOrigins"),
    ({"allowed_origins": ("example.com",) * (MAX_LIST + 1)}, "allowedOrigins"),
    ({"allowed_user_agents": ("",)}, "allowedUserAgents"),
    ({"allowed_user_agents": ("a" * 257,)}, "allowedUserAgents"),
    ({"allowed_user_agents": ("*",) * (MAX_LIST + 1)}, "allowedUserAgents"),
    ({"allowed_referrers": ("",)}, "allowedReferrers"),
    ({"allowed_referrers": ("*",) * (MAX_LIST + 1)}, "allowedReferrers"),
    ({"allowed_countries": ("pl",)}, "allowedCountries"),
    ({"denied_countries": ("POL",)}, "deniedCountries"),
    ({"allowed_countries": ("PL",), "denied_countries": ("DE",)}, "deniedCountries"),
    ({"geo_applies_to": ()}, "geoAppliesTo"),
    ({"session_limit": SessionLimit(0)}, "sessionLimit"),
    ({"session_limit": SessionLimit(LARGEST + 1)}, "sessionLimit"),
    ({"session_limit": SessionLimit(1, over=Over.GRACE)}, "sessionLimit"),
    ({"session_limit": SessionLimit(1, over=Over.GRACE, grace_seconds=3601)}, "sessionLimit"),
    ({"session_limit": SessionLimit(1, grace_seconds=1)}, "sessionLimit"),
    ({"session_limit": SessionLimit(1, over=Over.END_OLDEST, grace_seconds=1)}, "sessionLimit"),
    ({"session_limit": SessionLimit(1, grace_seconds=-1)}, "sessionLimit"),
    ({"session_limit": SessionLimit(1, per=Per.SUBJECT)}, "subject"),
    ({"single_use": SingleUse(-1)}, "singleUse"),
    ({"single_use": SingleUse(3601)}, "singleUse"),
    ({"budgets": Budgets()}, "budgets"),
    ({"budgets": Budgets(session_seconds=0)}, "budgets"),
    ({"budgets": Budgets(watch_seconds=-1)}, "budgets"),
    ({"budgets": Budgets(bytes=LARGEST + 1)}, "budgets"),
    ({"budgets": Budgets(bytes=5, starts=0)}, "budgets"),
    ({"publishing": PublishOptions(record=True, clip=True)}, "clip"),
]


@pytest.mark.parametrize(("terms", "field"), REFUSED)
def test_terms_that_cannot_be_right_are_refused_by_their_field(terms: dict[str, Any], field: str) -> None:
    """For both kinds of token."""
    for kind in TokenKind:
        assert _refused(kind, **terms) == field


@pytest.mark.parametrize(
    ("kind", "applies_to", "field"),
    [
        (TokenKind.PUBLISH, (Action.PUBLISH,), None),
        (TokenKind.PUBLISH, (Action.SUBSCRIBE,), None),
        (TokenKind.SUBSCRIBE, (Action.SUBSCRIBE,), None),
        (TokenKind.SUBSCRIBE, (Action.PUBLISH, Action.SUBSCRIBE), None),
        (TokenKind.SUBSCRIBE, (Action.PUBLISH,), "geoAppliesTo"),
    ],
)
def test_a_subscribe_tokens_countries_are_about_watching(
    kind: TokenKind, applies_to: tuple[Action, ...], field: str | None
) -> None:
    """A publish token's about either."""
    assert _refused(kind, geo_applies_to=applies_to) == field


# -- hours


@pytest.mark.parametrize("zone", ["UTC", "Europe/Warsaw", "America/Argentina/Buenos_Aires"])
def test_time_zones_are_those_of_the_database(zone: str) -> None:
    """By their names."""
    check_hours(replace(HOURS, zone=zone))


@pytest.mark.parametrize(
    "zone", ["", "Mars/Olympus", "../../etc/passwd", "/etc/localtime", "Europe", "UTC\0", "\u00e9", "x" * 10_000]
)
def test_what_is_no_time_zone_is_refused(zone: str) -> None:
    """No file is opened that is none of the database's, and the text stays short."""
    with pytest.raises(InvalidInput, match="is no time zone") as caught:
        check_hours(replace(HOURS, zone=zone))
    assert caught.value.field == "hours"
    assert len(caught.value.message) < 200


@pytest.mark.parametrize(
    ("window", "right"),
    [
        (Window((0, 6), 0, 1440), True),
        (Window((0,), 0, 1), True),
        (Window((0,), 1439, 1440), True),
        (Window((0,), 1439, 1), True),
        (Window((0,), 1320, 360), True),
        (Window((0,), -1, 5), False),
        (Window((0,), 1440, 5), False),
        (Window((0,), 5, 0), False),
        (Window((0,), 0, 1441), False),
        (Window((0,), 5, 5), False),
        (Window((), 0, 5), False),
        (Window((7,), 0, 5), False),
        (Window((-1,), 0, 5), False),
    ],
)
def test_windows(window: Window, right: bool) -> None:
    """From 00:00 to at most 24:00, not empty, of days that there are; over midnight too."""
    if right:
        check_hours(replace(HOURS, windows=(window,)))
    else:
        with pytest.raises(InvalidInput):
            check_hours(replace(HOURS, windows=(*HOURS.windows, window)))


def test_hours_without_a_window_are_refused() -> None:
    """They would be never."""
    with pytest.raises(InvalidInput):
        check_hours(replace(HOURS, windows=()))


# -- countries


@pytest.mark.parametrize("code", ["PL", "GB", "XK", "US"])
def test_countries_are_those_that_there_are(code: str) -> None:
    """By the codes of ISO 3166-1, and Kosovo by the one that country files have for it."""
    check_countries((code,), ())
    check_countries((), (code,))


@pytest.mark.parametrize("code", ["", "P", "pl", "POL", "UK", "ZZ", "XX", "EU", "PL\n", " PL", "\u00c5X", "P1"])
def test_what_is_no_country_is_refused(code: str) -> None:
    """In either list, among good ones, by the list's name. A code that is nobody's would deny nobody."""
    for lists, field in (((("PL", code), ()), "allowedCountries"), (((), ("PL", code)), "deniedCountries")):
        with pytest.raises(InvalidInput) as caught:
            check_countries(*lists)
        assert caught.value.field == field


# -- the account's longest lifetime


@pytest.mark.parametrize(
    ("expires_at", "right"), [(None, True), (1099, True), (1100, True), (1101, False), (LATEST, False)]
)
def test_no_expiry_goes_beyond_what_the_account_allows(expires_at: int | None, right: bool) -> None:
    """-1, 0, +1 around it; a token without one ends by the account's rule."""
    terms, policy = replace(PLAIN, expires_at=expires_at), AccountPolicy(longest_lifetime_seconds=100)
    check_lifetime(terms, OPEN, 1000)
    if right:
        check_lifetime(terms, policy, 1000)
    else:
        with pytest.raises(InvalidInput) as caught:
            check_lifetime(terms, policy, 1000)
        assert caught.value.field == "expires"


def test_the_latest_expiry_counts_from_when_a_token_was_added() -> None:
    """An account without a rule has none."""
    assert latest_expiry(AccountPolicy(longest_lifetime_seconds=100), 1000) == 1100
    assert latest_expiry(OPEN, 1000) is None


# -- shadow mode


@pytest.mark.parametrize(("more", "right"), [(-1, True), (0, True), (1, False)])
def test_shadow_mode_is_a_trial_that_soon_ends(more: int, right: bool) -> None:
    """-1, 0, +1 around the longest one."""
    until = 1000 + MOST_SHADOW_SECONDS + more
    if right:
        check_shadow(until, 1000)
    else:
        with pytest.raises(InvalidInput) as caught:
            check_shadow(until, 1000)
        assert caught.value.field == "shadowUntil"


@pytest.mark.parametrize("until", [None, 0, 5, 999, 1000])
def test_shadow_mode_that_is_over_or_off_is_right(until: int | None) -> None:
    """It tries out nothing."""
    check_shadow(until, 1000)


# -- what applies


POLICY = AccountPolicy(
    countries=Countries(denied=("DE",)), origin_cluster="waw-1", longest_lifetime_seconds=100, shadow_until=7
)


def test_the_accounts_settings_apply_where_the_token_has_none(make_record: MakeRecord) -> None:
    """Cluster, countries, and the end that its longest lifetime makes."""
    assert effective_settings(make_record(), POLICY) == EffectiveSettings("waw-1", (), ("DE",), 100)
    assert effective_settings(make_record(), OPEN) == EffectiveSettings("auto", (), (), None)


def test_the_tokens_own_settings_go_before_the_accounts(make_record: MakeRecord) -> None:
    """Either list of countries takes the place of both."""
    record = make_record(origin_cluster="phx-1", allowed_countries=("PL",))
    assert effective_settings(record, POLICY) == EffectiveSettings("phx-1", ("PL",), (), 100)


OURS = GeoCascade(enabled=True, clusters=("waw-1",))


@pytest.mark.parametrize(
    ("own", "effective"),
    [
        (None, OURS),
        ({}, OURS),
        ({"isEnabled": None, "clusters": ["phx-1"]}, OURS),
        ({"isEnabled": True, "clusters": ["phx-1", "ams-1"]}, GeoCascade(enabled=True, clusters=("phx-1", "ams-1"))),
        ({"isEnabled": True}, GeoCascade(enabled=True, clusters=("all",))),
        ({"isEnabled": True, "clusters": None}, GeoCascade(enabled=True, clusters=("all",))),
        ({"isEnabled": False}, GeoCascade(enabled=False, clusters=("all",))),
    ],
)
def test_a_cascade_that_a_token_switches_goes_before_the_accounts(
    make_record: MakeRecord, own: dict[str, Any] | None, effective: GeoCascade
) -> None:
    """On or off; one that is neither leaves it to the account, and a subscribe token has none."""
    record = make_record(publishing=PublishOptions(geo_cascade=own))
    assert effective_settings(record, AccountPolicy(geo_cascade=OURS)).geo_cascade == effective
    without = None if effective == OURS else effective
    assert effective_settings(record, OPEN).geo_cascade == without
    viewer = make_record(kind=TokenKind.SUBSCRIBE, publishing=PublishOptions(geo_cascade=own))
    assert effective_settings(viewer, AccountPolicy(geo_cascade=OURS)).geo_cascade is None


@pytest.mark.parametrize("own", [None, True, False])
def test_only_a_token_inserts_the_time(make_record: MakeRecord, own: bool | None) -> None:
    """The account sets nothing for it."""
    record = make_record(publishing=PublishOptions(enable_utc_insertion=own))
    assert effective_settings(record, POLICY).enable_utc_insertion is own


@pytest.mark.parametrize(
    ("cascade", "right"),
    [
        (GeoCascade(), True),
        (GeoCascade(enabled=True), True),
        (GeoCascade(enabled=False, clusters=()), True),
        (GeoCascade(enabled=True, clusters=()), False),
        (GeoCascade(enabled=True, clusters=("a",) * MAX_LIST), True),
        (GeoCascade(enabled=False, clusters=("a",) * (MAX_LIST + 1)), False),
    ],
)
def test_a_cascade_goes_somewhere(cascade: GeoCascade, right: bool) -> None:
    """When it is on; and its list has an end."""
    if right:
        check_cascade(cascade)
    else:
        with pytest.raises(InvalidInput) as caught:
            check_cascade(cascade)
        assert caught.value.field == "clusters"


@pytest.mark.parametrize("name", ["timelines", "recordings", "clips"])
@pytest.mark.parametrize(("days", "right"), [(None, True), (0, False), (1, True), (365, True), (366, False)])
def test_recordings_are_kept_for_a_day_to_a_year(name: str, days: int | None, right: bool) -> None:
    """-1, 0, +1 around both ends; None for ever."""
    expiration = MediaExpiration(**{name: days})
    if right:
        check_expiration(expiration)
    else:
        with pytest.raises(InvalidInput) as caught:
            check_expiration(expiration)
        assert caught.value.field == name


@pytest.mark.parametrize(("expires_at", "effective"), [(99, 99), (100, 100), (101, 100), (None, 100)])
def test_the_earlier_end_applies(make_record: MakeRecord, expires_at: int | None, effective: int) -> None:
    """The token's own, or that of the account's rule, which may have come later."""
    assert effective_settings(make_record(expires_at=expires_at), POLICY).expires_at == effective
