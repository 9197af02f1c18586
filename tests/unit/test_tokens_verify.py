"""From records to what policy judges."""

from collections.abc import Callable
from dataclasses import fields
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from stagedoor.model.access import Action, Protocol
from stagedoor.model.addresses import parse_network
from stagedoor.model.caveats import (
    BoundAddresses,
    Budgets,
    ClientAddresses,
    Condition,
    Countries,
    ExpiresAt,
    NotBefore,
    Origins,
    Per,
    Protocols,
    Referrers,
    SessionLimit,
    SingleUse,
    Tried,
    Unjudged,
    UserAgents,
    WithinHours,
)
from stagedoor.model.hours import Hours, Window
from stagedoor.model.origins import parse_origin_pattern
from stagedoor.model.token import TokenKind, TokenRecord, TokenTerms
from stagedoor.tokens.patterns import compile_wildcard
from stagedoor.tokens.verify import conditions_of, verified, viewer_caveats_of

MakeRecord = Callable[..., TokenRecord]

BOTH = (Action.PUBLISH, Action.SUBSCRIBE)
WINDOW = Window((0, 4), 600, 720)

LIMITS: dict[str, tuple[object, Condition]] = {
    "not_before": (0, NotBefore(0)),
    "expires_at": (0, ExpiresAt(0)),
    "hours": (Hours("Europe/Warsaw", (WINDOW,)), WithinHours((WINDOW,), ZoneInfo("Europe/Warsaw"))),
    "allowed_addresses": (("192.0.2.0/24",), ClientAddresses((parse_network("192.0.2.0/24"),))),
    "allowed_origins": (("example.org",), Origins((parse_origin_pattern("example.org"),))),
    "bind_ips_on_usage": (1, BoundAddresses(1)),
    "allowed_countries": (("DE",), Countries(allowed=("DE",))),
    "denied_countries": (("DE",), Countries(denied=("DE",))),
    "allowed_protocols": ((Protocol.RTMP,), Protocols((Protocol.RTMP,))),
    "allowed_user_agents": (("Example*",), UserAgents((compile_wildcard("Example*"),))),
    "allowed_referrers": (("https://*",), Referrers((compile_wildcard("https://*"),))),
    "session_limit": (SessionLimit(2), SessionLimit(2)),
    "single_use": (SingleUse(30), SingleUse(30)),
    "budgets": (Budgets(starts=3), Budgets(starts=3)),
    "not_understood": (("moon_phase",), Unjudged("moon_phase")),
}
"""Terms that limit a token, each with the condition that it becomes."""

SHAPES: dict[str, tuple[object, dict[str, object], Condition]] = {
    "end_sessions_at_expiry": (True, {"expires_at": 5}, ExpiresAt(5, ends_sessions=True)),
    "bind_ipv4_bits": (24, {"bind_ips_on_usage": 2}, BoundAddresses(2, ipv4_bits=24)),
    "bind_ipv6_bits": (64, {"bind_ips_on_usage": 2}, BoundAddresses(2, ipv6_bits=64)),
    "rebinds_an_hour": (3, {"bind_ips_on_usage": 2}, BoundAddresses(2, rebinds_an_hour=3)),
    "allow_without_origin": (
        True,
        {"allowed_origins": ("example.org",)},
        Origins((parse_origin_pattern("example.org"),), without_origin=True),
    ),
    "geo_applies_to": ((Action.PUBLISH,), {"denied_countries": ("DE",)}, Countries((), ("DE",), (Action.PUBLISH,))),
}
"""Terms that say how another one limits: by themselves they are no condition, with the other they are part of it."""

NO_LIMITS = {
    "label",
    "streams",
    "groups",
    "actions",
    "active",
    "subject",
    "shadow_until",
    "origin_cluster",
    "tracking_id",
    "viewer_data",
    "longest_seconds",
    "publishing",
}
"""`streams`, `groups` and `actions` are the grant, `active` the state, `shadow_until` how long the conditions are tried out,
and `longest_seconds` limits what is signed with it."""


def _conditions(record: TokenRecord) -> tuple[Condition, ...]:
    return conditions_of(record.terms, (Action.PUBLISH,))


@pytest.mark.parametrize("name", LIMITS)
def test_every_setting_that_limits_becomes_a_caveat(make_record: MakeRecord, name: str) -> None:
    """A limit that is set and not judged would be a door left open; zero is a time like any other."""
    value, caveat = LIMITS[name]
    assert _conditions(make_record(**{name: value})) == (caveat,)


@pytest.mark.parametrize("name", SHAPES)
def test_every_setting_that_shapes_a_limit_is_part_of_its_caveat(make_record: MakeRecord, name: str) -> None:
    """And none without it."""
    value, others, caveat = SHAPES[name]
    assert _conditions(make_record(**{name: value} | others)) == (caveat,)
    assert _conditions(make_record(**{name: value})) == ()


def test_sessions_that_end_at_the_expiry_end_with_the_hours_too(make_record: MakeRecord) -> None:
    """One setting for both."""
    record = make_record(hours=LIMITS["hours"][0], end_sessions_at_expiry=True)
    assert _conditions(record) == (WithinHours((WINDOW,), ZoneInfo("Europe/Warsaw"), ends_sessions=True),)


def test_every_term_is_known_as_a_limit_or_as_none() -> None:
    """Whoever adds a term has to say here which of the two it is."""
    assert sorted(field.name for field in fields(TokenTerms)) == sorted([*LIMITS, *SHAPES, *NO_LIMITS])


def test_no_limits_are_no_caveats(make_record: MakeRecord) -> None:
    """Plain terms have no conditions."""
    assert _conditions(make_record()) == ()


def test_all_limits_together_are_all_caveats(make_record: MakeRecord) -> None:
    """None hides another; both lists of countries are one condition."""
    record = make_record(**{name: value for name, (value, _) in LIMITS.items()})
    expected = {caveat for name, (_, caveat) in LIMITS.items() if not name.endswith("_countries")}
    assert set(verified(record).caveats) == expected | {Countries(("DE",), ("DE",))}


# -- shadow mode


def test_in_shadow_mode_every_condition_is_a_trial(make_record: MakeRecord) -> None:
    """Each of them, until the same instant; zero is an instant like any other."""
    for until in (0, 99):
        record = make_record(**{name: value for name, (value, _) in LIMITS.items()}, shadow_until=until)
        plain = conditions_of(record.terms, (Action.PUBLISH,))
        assert verified(record).caveats == tuple(Tried(condition, until) for condition in plain)


# -- countries


def test_the_country_lists_are_for_viewers_too(make_record: MakeRecord) -> None:
    """And what is not understood, which may be about them; nothing else."""
    record = make_record(**{name: value for name, (value, _) in LIMITS.items()})
    assert viewer_caveats_of(record.terms) == (Countries(("DE",), ("DE",)), Unjudged("moon_phase"))
    assert viewer_caveats_of(make_record(expires_at=1, allowed_origins=("example.org",)).terms) == ()


@pytest.mark.parametrize(
    ("applies_to", "own", "viewers"), [(BOTH, 1, 1), ((Action.PUBLISH,), 1, 0), ((Action.SUBSCRIBE,), 0, 1)]
)
def test_countries_are_asked_of_those_they_are_about(
    make_record: MakeRecord, applies_to: tuple[Action, ...], own: int, viewers: int
) -> None:
    """Of publishers, of their viewers, or of both; where they are about neither, the token sets none."""
    record = make_record(denied_countries=("DE",), geo_applies_to=applies_to)
    token = verified(record)
    assert (len(token.caveats), len(viewer_caveats_of(record.terms))) == (own, viewers)
    assert token.sets_countries is bool(own)


def test_a_subscribe_tokens_countries_are_about_watching(make_record: MakeRecord) -> None:
    """They are a condition on using it."""
    token = verified(make_record(kind=TokenKind.SUBSCRIBE, allowed_countries=("DE",)))
    assert token.caveats == (Countries(allowed=("DE",)),)
    assert token.sets_countries


def test_countries_that_are_tried_out_are_set_all_the_same(make_record: MakeRecord) -> None:
    """They go before the account's list while they are tried out."""
    assert verified(make_record(denied_countries=("DE",), shadow_until=5)).sets_countries


# -- what is told beside the caveats


@pytest.mark.parametrize(
    ("terms", "counts"),
    [
        ({}, False),
        ({"expires_at": 5}, False),
        ({"bind_ips_on_usage": 1}, False),
        ({"session_limit": SessionLimit(1)}, True),
        ({"single_use": SingleUse()}, True),
        ({"budgets": Budgets(bytes=1)}, True),
        ({"session_limit": SessionLimit(1), "shadow_until": 5}, True),
        ({"end_sessions_at_expiry": True}, True),
    ],
)
def test_a_token_counts_when_its_sessions_have_to_be_known(
    make_record: MakeRecord, terms: dict[str, Any], counts: bool
) -> None:
    """To be counted, or to be ended."""
    assert verified(make_record(**terms)).counts is counts


@pytest.mark.parametrize(
    ("terms", "binds"),
    [
        ({}, False),
        ({"allowed_addresses": ("192.0.2.1",)}, False),
        ({"bind_ips_on_usage": 1}, True),
        ({"bind_ips_on_usage": 1, "shadow_until": 5}, True),
    ],
)
def test_a_token_binds_when_it_is_bound_by_use(make_record: MakeRecord, terms: dict[str, Any], binds: bool) -> None:
    """Tried out or not."""
    assert verified(make_record(**terms)).binds is binds


@pytest.mark.parametrize("ends", [True, False])
def test_a_token_is_outlived_unless_sessions_end_at_its_expiry(make_record: MakeRecord, ends: bool) -> None:
    """What runs goes on, by default."""
    assert verified(make_record(end_sessions_at_expiry=ends)).outlived is not ends


def test_a_verified_token_tells_whom_it_is_of(make_record: MakeRecord) -> None:
    """Id, account, subject and age, as they are kept."""
    record = make_record(subject="alice", session_limit=SessionLimit(1, Per.SUBJECT))
    token = verified(record)
    assert (token.id, token.account, token.subject, token.added_on) == (7, "acct", "alice", record.added_on)


# -- grants


@pytest.mark.parametrize(
    ("kind", "action"), [(TokenKind.PUBLISH, Action.PUBLISH), (TokenKind.SUBSCRIBE, Action.SUBSCRIBE)]
)
def test_a_kind_of_token_grants_its_one_action(make_record: MakeRecord, kind: TokenKind, action: Action) -> None:
    """A publish token cannot watch and a subscribe token cannot publish."""
    assert tuple(verified(make_record(kind=kind)).grant.actions) == (action,)


@pytest.mark.parametrize("count", [0, 1, 4, 5, 100])
def test_a_grant_covers_its_names_however_many(make_record: MakeRecord, count: int) -> None:
    """Few or many names are kept differently and answer the same."""
    grant = verified(make_record(names=tuple(f"cam-{n}" for n in range(count)))).grant
    assert all(grant.covers(f"cam-{n}") for n in range(count))
    assert not grant.covers(f"cam-{count}")


def test_an_exact_name_is_no_expression_and_the_other_way_round(make_record: MakeRecord) -> None:
    """A dot in a name is a dot."""
    grant = verified(make_record(names=("a.b",), regexes=("c.d",))).grant
    assert grant.covers("a.b")
    assert not grant.covers("axb")
    assert grant.covers("cxd")
