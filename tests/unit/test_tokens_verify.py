"""From records to what policy judges."""

from collections.abc import Callable
from dataclasses import fields

import pytest

from stagedoor.model.access import Action
from stagedoor.model.addresses import parse_network
from stagedoor.model.caveats import Caveat, ClientAddresses, ExpiresAt, NotBefore, Unjudged
from stagedoor.model.token import TokenKind, TokenRecord, TokenTerms
from stagedoor.tokens.verify import caveats_of, verified, viewer_caveats_of

MakeRecord = Callable[..., TokenRecord]

LIMITS: dict[str, tuple[object, Caveat]] = {
    "not_before": (0, NotBefore(0)),
    "expires_at": (0, ExpiresAt(0)),
    "allowed_addresses": (("192.0.2.0/24",), ClientAddresses((parse_network("192.0.2.0/24"),))),
    "allowed_origins": (("example.org",), Unjudged("allowedOrigins")),
    "bind_ips_on_usage": (1, Unjudged("bindIpsOnUsage")),
    "allowed_countries": (("DE",), Unjudged("allowedCountries")),
    "denied_countries": (("DE",), Unjudged("deniedCountries")),
}
NO_LIMITS = {"label", "streams", "active", "origin_cluster", "tracking_id", "publishing"}


@pytest.mark.parametrize("name", LIMITS)
def test_every_setting_that_limits_becomes_a_caveat(make_record: MakeRecord, name: str) -> None:
    """A limit that is set and not judged would be a door left open; zero is a time like any other."""
    value, caveat = LIMITS[name]
    assert caveats_of(make_record(**{name: value}).terms) == (caveat,)


def test_every_term_is_known_as_a_limit_or_as_none() -> None:
    """Whoever adds a term has to say here which of the two it is."""
    assert {field.name for field in fields(TokenTerms)} == set(LIMITS) | NO_LIMITS


def test_no_limits_are_no_caveats(make_record: MakeRecord) -> None:
    """Plain terms have no conditions."""
    assert caveats_of(make_record().terms) == ()


def test_all_limits_together_are_all_caveats(make_record: MakeRecord) -> None:
    """None hides another."""
    record = make_record(**{name: value for name, (value, _) in LIMITS.items()})
    assert set(verified(record).caveats) == {caveat for _, caveat in LIMITS.values()}


def test_the_country_lists_are_for_viewers_too(make_record: MakeRecord) -> None:
    """And they alone."""
    record = make_record(**{name: value for name, (value, _) in LIMITS.items()})
    assert viewer_caveats_of(record.terms) == (Unjudged("allowedCountries"), Unjudged("deniedCountries"))


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
