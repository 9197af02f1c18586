"""The secure viewer rule."""

from collections.abc import Callable
from typing import Any

import pytest

from stagedoor.model.caveats import Unjudged
from stagedoor.model.token import TokenKind, TokenRecord, TokenState
from stagedoor.service.ports import Publisher, TokenFacts
from stagedoor.service.standing import publishers_of, secure_viewer, standing, token_facts

MakeRecord = Callable[..., TokenRecord]

NOW = 1_000
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
    assert publishers_of(records, "show") == (
        Publisher(active=True, not_before=0, expires_at=None, requires_auth=True, viewer_caveats=()),
        Publisher(
            active=False, not_before=2, expires_at=5, requires_auth=False, viewer_caveats=(Unjudged("deniedCountries"),)
        ),
    )


def test_facts_of_a_digest_that_no_token_has() -> None:
    """No token, and unknown."""
    assert token_facts(None) == TokenFacts(None, TokenState.UNKNOWN)


def test_facts_of_a_revoked_record_tell_it(make_record: MakeRecord) -> None:
    """The token is there, and it does not stand."""
    facts = token_facts(make_record(revoked_at=3))
    assert facts.token is not None
    assert facts.state is TokenState.REVOKED


def test_standing_puts_it_together() -> None:
    """Every part comes from where it is known."""
    facts = TokenFacts(None, TokenState.UNKNOWN)
    stands = standing(facts, (SECURED,), account_enabled=False, revision=12, now=NOW)
    assert (stands.token, stands.account_enabled, stands.secured, stands.viewer_caveats, stands.revision) == (
        TokenState.UNKNOWN,
        False,
        True,
        (),
        12,
    )
