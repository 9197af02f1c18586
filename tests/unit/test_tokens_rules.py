"""Our own rules in the bodies of the compatible API."""

import json
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from msgspec import UNSET

from stagedoor.edge.millicast import schemas
from stagedoor.edge.millicast.tokens import change_of, terms_of
from stagedoor.edge.parse import parse_body
from stagedoor.model.access import Action, Protocol
from stagedoor.model.caveats import Budgets, Over, Per, SessionLimit, SingleUse
from stagedoor.model.errors import InvalidInput
from stagedoor.model.grant import StreamPattern
from stagedoor.model.hours import Hours, Window
from stagedoor.model.instants import instant
from stagedoor.model.token import TokenTerms
from stagedoor.tokens.rules import CLEARABLE, Rules, ShownRules, rules_of, seconds, shown_rules

PLAIN = TokenTerms(label="a label", streams=(StreamPattern("show"),))

RULES: dict[str, tuple[Any, dict[str, Any]]] = {
    "notBefore": ("2030-01-01T00:00:00Z", {"not_before": 1_893_456_000}),
    "shadowUntil": ("2030-01-01T00:00:01Z", {"shadow_until": 1_893_456_001}),
    "hours": (
        {
            "timeZone": "Europe/Warsaw",
            "windows": [
                {"days": ["mon", "sun"], "from": "09:05", "to": "17:00"},
                {"days": ["fri"], "from": "22:00", "to": "24:00"},
            ],
        },
        {"hours": Hours("Europe/Warsaw", (Window((0, 6), 545, 1020), Window((4,), 1320, 1440)))},
    ),
    "endSessionsAtExpiry": (True, {"end_sessions_at_expiry": True}),
    "bindTolerance": (
        {"ipv4Prefix": 24, "ipv6Prefix": 64, "rebindsPerHour": 2},
        {"bind_ipv4_bits": 24, "bind_ipv6_bits": 64, "rebinds_an_hour": 2},
    ),
    "allowWithoutOrigin": (True, {"allow_without_origin": True}),
    "geoAppliesTo": (["subscribe"], {"geo_applies_to": (Action.SUBSCRIBE,)}),
    "allowedProtocols": (["rtmp", "hls"], {"allowed_protocols": (Protocol.RTMP, Protocol.HLS)}),
    "allowedUserAgents": (["Example*"], {"allowed_user_agents": ("Example*",)}),
    "allowedReferrers": (["https://*"], {"allowed_referrers": ("https://*",)}),
    "subject": ("carol", {"subject": "carol"}),
    "sessionLimit": (
        {"most": 2, "per": "subject", "over": "grace", "graceSeconds": 5},
        {"session_limit": SessionLimit(2, Per.SUBJECT, Over.GRACE, 5)},
    ),
    "singleUse": ({"graceSeconds": 30}, {"single_use": SingleUse(30)}),
    "budgets": (
        {"sessionSeconds": 60, "watchSeconds": 600, "bytes": 1000, "starts": 3},
        {"budgets": Budgets(60, 600, 1000, 3)},
    ),
}
"""Every rule, as it is written and as the terms that it becomes."""

NOT_OURS = {
    "not_understood",
    "label",
    "streams",
    "active",
    "expires_at",
    "allowed_addresses",
    "bind_ips_on_usage",
    "allowed_origins",
    "allowed_countries",
    "denied_countries",
    "origin_cluster",
    "tracking_id",
    "viewer_data",
    "actions",
    "groups",
    "longest_seconds",
    "publishing",
}
"""Terms that the vendor's tokens have too, or that signed tokens and trusted keys alone have."""


def _parsed(body: dict[str, Any], schema: type[Rules] = Rules) -> Any:
    return parse_body(json.dumps(body).encode(), schema)


def _terms(body: dict[str, Any]) -> TokenTerms:
    return replace(PLAIN, **rules_of(_parsed(body)))


def _shown(terms: TokenTerms) -> dict[str, Any]:
    """Return the body that shows `terms`, as it travels."""
    shown: dict[str, Any] = json.loads(msgspec.json.encode(ShownRules(**shown_rules(terms))))
    return shown


def test_every_field_of_the_rules_is_here() -> None:
    """Whoever adds one has to say what it becomes."""
    assert list(Rules.__struct_encode_fields__) != []
    assert set(Rules.__struct_encode_fields__) == set(RULES)


def test_every_term_is_set_by_a_rule_or_is_not_ours() -> None:
    """A term that no body sets could never be used."""
    set_by_rules = {name for _, terms in RULES.values() for name in terms}
    assert {field.name for field in fields(TokenTerms)} == set_by_rules | NOT_OURS


@pytest.mark.parametrize("name", RULES)
def test_what_a_body_sets_it_becomes_and_shows(name: str) -> None:
    """There and back again."""
    written, meant = RULES[name]
    terms = _terms({name: written})
    assert terms == replace(PLAIN, **meant)
    assert _shown(terms) == {name: written}


def test_all_rules_together_come_back() -> None:
    """None hides another."""
    written = {name: value for name, (value, _) in RULES.items()}
    assert _shown(_terms(written)) == written


def test_what_says_nothing_is_not_shown() -> None:
    """A token with none of our rules looks like the vendor's."""
    assert _shown(PLAIN) == {}
    assert rules_of(Rules()) == {}


@pytest.mark.parametrize("name", RULES)
def test_absent_stays(name: str) -> None:
    """An update that names another rule leaves this one."""
    everything = _terms({name: value for name, (value, _) in RULES.items()})
    other = "subject" if name != "subject" else "endSessionsAtExpiry"
    changed = replace(everything, **rules_of(_parsed({other: RULES[other][0]})))
    assert changed == everything


CLEARED = {"hours", "bindTolerance", "sessionLimit", "singleUse", "budgets", "shadowUntil"}


@pytest.mark.parametrize("name", RULES)
def test_null_clears_objects_and_trials_and_leaves_the_rest(name: str) -> None:
    """Only of those, in an update, null says something."""
    everything = _terms({name: value for name, (value, _) in RULES.items()})
    changed = change_of(_parsed({name: None, "label": "b"}, schemas.UpdateToken))(everything)
    left = {rule: value for rule, (value, _) in RULES.items() if rule != name or rule not in CLEARED}
    assert _shown(changed) == left
    assert changed.label == "b"


def test_the_fields_that_null_clears_are_told() -> None:
    """Those that know absent from null."""
    unset = {
        name
        for name, default in zip(Rules.__struct_fields__, Rules.__struct_defaults__, strict=True)
        if default is UNSET
    }
    assert set(CLEARABLE) == unset


@pytest.mark.parametrize("name", sorted(CLEARED))
def test_an_update_that_only_clears_says_something(name: str) -> None:
    """Also where there is nothing to clear."""
    assert change_of(_parsed({name: None}, schemas.UpdateToken))(PLAIN) == PLAIN


@pytest.mark.parametrize("name", sorted(set(RULES) - CLEARED))
def test_an_update_with_null_for_the_others_says_nothing(name: str) -> None:
    """It is refused like an empty one."""
    with pytest.raises(InvalidInput, match="No properties"):
        change_of(_parsed({name: None}, schemas.UpdateToken))


@pytest.mark.parametrize(
    ("name", "empty"),
    [
        ("allowedProtocols", []),
        ("allowedUserAgents", []),
        ("allowedReferrers", []),
        ("subject", ""),
        ("endSessionsAtExpiry", False),
        ("allowWithoutOrigin", False),
        ("geoAppliesTo", ["publish", "subscribe"]),
    ],
)
def test_the_others_are_cleared_by_their_default(name: str, empty: Any) -> None:
    """An empty list, an empty text, false."""
    changed = change_of(_parsed({name: empty}, schemas.UpdateToken))(_terms({name: RULES[name][0]}))
    assert changed == PLAIN


@pytest.mark.parametrize(
    ("body", "terms"),
    [
        ({"bindTolerance": {}}, {}),
        ({"bindTolerance": {"ipv4Prefix": 24}}, {"bind_ipv4_bits": 24}),
        ({"singleUse": {}}, {"single_use": SingleUse()}),
        ({"sessionLimit": {"most": 1}}, {"session_limit": SessionLimit(1)}),
        ({"budgets": {"starts": 1}}, {"budgets": Budgets(starts=1)}),
    ],
)
def test_parts_that_are_left_out_have_their_defaults(body: dict[str, Any], terms: dict[str, Any]) -> None:
    """Objects are replaced whole, also where there was one before."""
    assert _terms(body) == replace(PLAIN, **terms)
    everything = _terms({name: value for name, (value, _) in RULES.items()})
    changed = change_of(_parsed(body, schemas.UpdateToken))(everything)
    assert _shown(changed).get(next(iter(body))) == _shown(_terms(body)).get(next(iter(body)))


def test_what_is_named_twice_counts_once() -> None:
    """In its first place."""
    terms = _terms({"allowedProtocols": ["hls", "rtmp", "hls"], "geoAppliesTo": ["publish", "publish"]})
    assert terms.allowed_protocols == (Protocol.HLS, Protocol.RTMP)
    assert terms.geo_applies_to == (Action.PUBLISH,)
    hours = {"timeZone": "UTC", "windows": [{"days": ["sun", "mon", "sun"], "from": "00:00", "to": "24:00"}]}
    assert _terms({"hours": hours}).hours == Hours("UTC", (Window((6, 0), 0, 1440),))


@pytest.mark.parametrize("clock", ["00:00", "09:59", "10:00", "19:59", "20:00", "23:59"])
def test_times_of_the_day_come_back_as_they_were_written(clock: str) -> None:
    """To the minute."""
    hours = {"timeZone": "UTC", "windows": [{"days": ["mon"], "from": clock, "to": "24:00"}]}
    assert _shown(_terms({"hours": hours}))["hours"] == hours


@pytest.mark.parametrize(
    "clock", ["", "9:00", "09:0", "24:01", "25:00", "09:60", "09:00:00", "-1:00", "ab:cd", " 09:00", "09.00", 540]
)
def test_what_is_no_time_of_the_day_is_refused(clock: Any) -> None:
    """By the name of its field."""
    hours = {"timeZone": "UTC", "windows": [{"days": ["mon"], "from": clock, "to": "24:00"}]}
    with pytest.raises(InvalidInput) as caught:
        _parsed({"hours": hours})
    assert caught.value.field == "hours"


def test_a_time_of_the_day_with_a_line_end_is_refused() -> None:
    """It is none."""
    hours = {"timeZone": "UTC", "windows": [{"days": ["mon"], "from": "09:00\n", "to": "24:00"}]}
    with pytest.raises(InvalidInput):
        _parsed({"hours": hours})


@pytest.mark.parametrize("windows", [0, 51])
def test_hours_have_1_to_50_windows(windows: int) -> None:
    """Those at the ends are taken."""
    window = {"days": ["mon"], "from": "00:00", "to": "24:00"}
    for count in (1, 50):
        _parsed({"hours": {"timeZone": "UTC", "windows": [window] * count}})
    with pytest.raises(InvalidInput):
        _parsed({"hours": {"timeZone": "UTC", "windows": [window] * windows}})


def test_a_creation_takes_the_rules_with_everything_else() -> None:
    """For both kinds of token."""
    body = {"label": "a label", "streams": [{"streamName": "show"}]}
    written = {name: value for name, (value, _) in RULES.items()}
    for schema in (schemas.CreatePublishToken, schemas.CreateSubscribeToken):
        assert terms_of(_parsed(body | written, schema), 0) == _terms(written)


# -- instants


@pytest.mark.parametrize(
    ("when", "meant"),
    [
        (datetime(1970, 1, 1, 0, 0, 5, tzinfo=UTC), 5),
        (datetime(1970, 1, 1, 0, 0, 5, 1, tzinfo=UTC), 6),
        (datetime(1970, 1, 1, 0, 0, 5, 999_999, tzinfo=UTC), 6),
        (datetime(1970, 1, 1, 1, 0, 5, tzinfo=timezone(timedelta(hours=1))), 5),
        (datetime(1970, 1, 1, 0, 0, 5), 5),  # noqa: DTZ001  one without a zone is what is tested
        (None, None),
    ],
)
def test_instants_are_whole_seconds_rounded_up(when: datetime | None, meant: int | None) -> None:
    """In UTC, where nothing else is said."""
    assert seconds(when, "notBefore") == meant


def test_instants_are_written_in_utc() -> None:
    """As RFC 3339."""
    assert instant(0) == "1970-01-01T00:00:00Z"
    assert instant(253_402_300_799) == "9999-12-31T23:59:59Z"
