"""Token records and grants."""

from collections.abc import Callable

import pytest

from stagedoor.model.access import Action
from stagedoor.model.grant import Grant
from stagedoor.model.token import TokenRecord, TokenState


@pytest.mark.parametrize(
    ("active", "revoked_at", "state"),
    [
        (True, None, TokenState.ACTIVE),
        (False, None, TokenState.DISABLED),
        (True, 0, TokenState.REVOKED),
        (False, 5, TokenState.REVOKED),
    ],
)
def test_a_tombstone_goes_before_the_switch(
    make_record: Callable[..., TokenRecord], active: bool, revoked_at: int | None, state: TokenState
) -> None:
    """Revoked is revoked, also at the instant 0 and however the switch stands."""
    assert make_record(active=active, revoked_at=revoked_at).state is state


def test_an_unset_grant_covers_nothing() -> None:
    """No names and no patterns: no stream."""
    grant = Grant((Action.PUBLISH,))
    assert not grant.covers("")
    assert not grant.covers("show")


def test_names_are_compared_as_they_are() -> None:
    """Case matters, and a name is not a prefix."""
    grant = Grant((Action.PUBLISH,), ("show",))
    assert grant.covers("show")
    assert not any(grant.covers(name) for name in ("Show", "show/1", "sho", "show ", "show\n"))
