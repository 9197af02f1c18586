"""The secure viewer rule."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from stagedoor.model import account
from stagedoor.model.access import Action
from stagedoor.model.addresses import parse_network
from stagedoor.model.caveats import Countries, Tried, Unjudged
from stagedoor.model.decision import Standing
from stagedoor.model.ids import AccountId, TokenId
from stagedoor.model.token import TokenKind, TokenRecord, TokenState
from stagedoor.model.usage import UNUSED
from stagedoor.service.ports import Facts, Publisher, TokenFacts
from stagedoor.service.standing import publishers_of, secure_viewer, standing, token_facts

MakeRecord = Callable[..., TokenRecord]

NOW = 1_000
ACCT = AccountId("acct")
NOT_IN_DE = Countries(denied=("DE",))
OPEN = Publisher(active=True, not_before=0, expires_at=None, requires_auth=False, viewer_caveats=())
SECURED = OPEN._replace(requires_auth=True)
NOT_GOOD: list[dict[str, Any]] = [{"active": False}, {"not_before": NOW + 1}, {"expires_at": NOW}]


def _secured(*publishers: Publisher, now: float = NOW) -> bool:
    return secure_viewer(publishers, now)[0]


def test_a_stream_that_nobody_covers_is_secured() -> None:
    """No publish token: nobody said that anyone may watch."""
    assert secure_viewer((), NOW) == (True, ())


def test_the_one_that_covers_it_says() -> None:
    """Open or secured."""
    assert not _secured(OPEN)
    assert _secured(SECURED)


def test_tokens_that_disagree_make_it_secured() -> None:
    """One that requires a token is enough, in either order."""
    assert _secured(OPEN, SECURED)
    assert _secured(SECURED, OPEN)
    assert not _secured(OPEN, OPEN)


@pytest.mark.parametrize("change", NOT_GOOD)
def test_a_token_that_is_not_good_does_not_decide_beside_a_good_one(change: dict[str, Any]) -> None:
    """Disabled, not yet valid or expired: the good one is asked alone, whichever way they differ."""
    assert not _secured(OPEN, SECURED._replace(**change))
    assert _secured(OPEN._replace(**change), SECURED)


@pytest.mark.parametrize("change", NOT_GOOD)
def test_when_none_is_good_all_that_cover_it_decide(change: dict[str, Any]) -> None:
    """A broadcast outlives the token that started it, and stays as open or as secured as it was."""
    assert not _secured(OPEN._replace(**change))
    assert _secured(SECURED._replace(**change))
    assert _secured(OPEN._replace(active=False), SECURED._replace(**change))


@pytest.mark.parametrize(("now", "secured"), [(NOW - 1, False), (NOW - 0.001, False), (NOW, True), (NOW + 1, True)])
def test_not_before_counts_from_its_instant(now: float, secured: bool) -> None:
    """The second token joins in at its notBefore."""
    assert _secured(OPEN, SECURED._replace(not_before=NOW), now=now) is secured


@pytest.mark.parametrize(("now", "secured"), [(NOW - 1, True), (NOW - 0.001, True), (NOW, False), (NOW + 1, False)])
def test_expiry_counts_from_its_instant(now: float, secured: bool) -> None:
    """The second token leaves at its expiry."""
    assert _secured(OPEN, SECURED._replace(expires_at=NOW), now=now) is secured


def test_viewer_caveats_of_all_that_decide_are_collected_once() -> None:
    """Each condition holds; equal ones are judged once; those of tokens that do not decide are left out."""
    first, second, third = Unjudged("allowedCountries"), Unjudged("deniedCountries"), Unjudged("other")
    publishers = (
        OPEN._replace(viewer_caveats=(first, second)),
        OPEN._replace(viewer_caveats=(second,)),
        OPEN._replace(viewer_caveats=(third,), active=False),
    )
    assert secure_viewer(publishers, NOW) == (False, (first, second))


def test_publishers_are_the_publish_tokens_that_cover_the_name(make_record: MakeRecord) -> None:
    """By exact name or whole match; a subscribe token never, whatever it names."""
    records = (
        make_record(names=("show",), requires_auth=True),
        make_record(names=("other",)),
        make_record(names=(), regexes=("sh.*",), expires_at=5, not_before=2, active=False, denied_countries=("DE",)),
        make_record(names=(), regexes=("sho",)),
        make_record(names=("s.ow",)),
        make_record(kind=TokenKind.SUBSCRIBE),
    )
    numbered = tuple(replace(record, id=TokenId(number)) for number, record in enumerate(records, 1))
    assert publishers_of(Facts(None, ACCT, numbered, 1), "show") == (
        Publisher(active=True, not_before=0, expires_at=None, requires_auth=True, viewer_caveats=()),
        Publisher(active=False, not_before=2, expires_at=5, requires_auth=False, viewer_caveats=(NOT_IN_DE,)),
    )


def test_those_that_a_stream_is_published_with_are_marked(make_record: MakeRecord) -> None:
    """By id; each stands once, and one that is live counts though it covers the name no longer, or is revoked."""
    here, idle = make_record(requires_auth=True), replace(make_record(), id=TokenId(8))
    narrowed = replace(make_record(names=("other",), revoked_at=3), id=TokenId(9))
    read = Facts(None, ACCT, (here, idle, narrowed), 1, live=(here, narrowed))
    assert [(publisher.requires_auth, publisher.live) for publisher in publishers_of(read, "show")] == [
        (True, True),
        (False, False),
        (False, True),
    ]


def test_a_subscribe_token_is_never_a_publisher(make_record: MakeRecord) -> None:
    """Whatever the store says of it."""
    viewer = make_record(kind=TokenKind.SUBSCRIBE)
    assert publishers_of(Facts(None, ACCT, (viewer,), 1, live=(viewer,)), "show") == ()


def test_a_trial_of_countries_is_one_for_viewers_too(make_record: MakeRecord) -> None:
    """A publish token in shadow mode tries its countries out on whoever watches."""
    record = make_record(denied_countries=("DE",), shadow_until=9)
    assert publishers_of(Facts(None, ACCT, (record,), 1), "show")[0].viewer_caveats == (Tried(NOT_IN_DE, 9),)


def test_countries_about_publishing_are_none_for_viewers(make_record: MakeRecord) -> None:
    """A publish token may say so."""
    record = make_record(denied_countries=("DE",), geo_applies_to=(Action.PUBLISH,))
    assert publishers_of(Facts(None, ACCT, (record,), 1), "show")[0].viewer_caveats == ()


def test_while_somebody_publishes_that_token_alone_decides() -> None:
    """Whichever way the others differ, and however it stands itself."""
    live_open, live_secured = OPEN._replace(live=True), SECURED._replace(live=True)
    assert not _secured(SECURED, live_open)
    assert _secured(OPEN, live_secured)
    assert _secured(live_open, live_secured)
    for change in NOT_GOOD:
        assert _secured(OPEN, live_secured._replace(**change))
        assert not _secured(SECURED, live_open._replace(**change))


def test_while_somebody_publishes_its_countries_hold_for_viewers() -> None:
    """And nobody else's."""
    live, idle = OPEN._replace(live=True, viewer_caveats=(NOT_IN_DE,)), OPEN._replace(viewer_caveats=(Unjudged("x"),))
    assert secure_viewer((idle, live), NOW) == (False, (NOT_IN_DE,))


def test_facts_of_a_digest_that_no_token_has() -> None:
    """No token, and unknown."""
    assert token_facts(Facts(None, ACCT, (), 1)) == TokenFacts(None, TokenState.UNKNOWN)


def test_facts_of_a_revoked_record_tell_it(make_record: MakeRecord) -> None:
    """The token is there, and it does not stand."""
    facts = token_facts(Facts(make_record(revoked_at=3), ACCT, (), 1))
    assert facts.token is not None
    assert facts.state is TokenState.REVOKED


def test_standing_puts_it_together() -> None:
    """Every part comes from where it is known."""
    facts = TokenFacts(None, TokenState.UNKNOWN)
    stands = standing(facts, (SECURED,), account=account.CLOSED, revision=12, now=NOW, address_trusted=False)
    assert stands == Standing(
        TokenState.UNKNOWN,
        account=account.CLOSED,
        secured=True,
        viewer_caveats=(),
        revision=12,
        address_trusted=False,
    )


@pytest.mark.parametrize("live", [True, False])
def test_a_stream_is_live_while_somebody_publishes_it(live: bool) -> None:
    """With any of its tokens."""
    facts = TokenFacts(None, TokenState.UNKNOWN)
    publishers = (OPEN, OPEN._replace(live=live))
    assert standing(facts, publishers, account=account.OPEN, revision=1, now=NOW).live is live


def test_facts_of_a_bound_token_hold_its_networks(make_record: MakeRecord) -> None:
    """They are all of its use that is kept in memory."""
    bound = {parse_network("192.0.2.1"): 5.0}
    assert token_facts(Facts(make_record(), ACCT, (), 1)).usage is UNUSED
    facts = token_facts(Facts(make_record(), ACCT, (), 1, bound=bound))
    assert facts.usage == UNUSED._replace(bound=bound)
    assert standing(facts, (), account=account.OPEN, revision=1, now=NOW).usage == facts.usage
