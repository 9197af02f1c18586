"""What an admission changes, and what ends a session that runs."""

from dataclasses import replace
from datetime import UTC
from typing import Any

import pytest

from stagedoor.model.access import Access, Action, Protocol
from stagedoor.model.account import CLOSED, OPEN, AccountPolicy
from stagedoor.model.addresses import Address, parse_network
from stagedoor.model.caveats import (
    BoundAddresses,
    Budgets,
    Caveat,
    ClientAddresses,
    Countries,
    ExpiresAt,
    NotBefore,
    Over,
    Protocols,
    SessionLimit,
    SingleUse,
    Tried,
    Unjudged,
    WithinHours,
)
from stagedoor.model.decision import Reason, Standing
from stagedoor.model.grant import Grant
from stagedoor.model.ids import AccountId, StreamId, TokenId
from stagedoor.model.token import TokenState, VerifiedToken
from stagedoor.model.usage import UNUSED, Effects, Session
from stagedoor.policy import admit, ends

NOW = 1_000_000
WATCH = Access(Action.SUBSCRIBE, StreamId(AccountId("acct"), "show"), Protocol.RTMP, "192.0.2.1")
PUBLISH = WATCH._replace(action=Action.PUBLISH)
GOOD = Standing(TokenState.ACTIVE, account=OPEN, secured=True, viewer_caveats=(), revision=9, live=True)
TOKEN = VerifiedToken(TokenId(1), AccountId("acct"), Grant(tuple(Action), ("show",)))
NOTHING = Effects()
HOME = parse_network("192.0.2.1")


def _with(*caveats: Caveat) -> VerifiedToken:
    return replace(TOKEN, caveats=caveats)


def _effects(token: VerifiedToken, access: Access = WATCH, **use: Any) -> Effects:
    decision, effects = admit(token, access, GOOD._replace(usage=UNUSED._replace(**use)), NOW)
    assert decision.allowed
    return effects


# -- beginnings


@pytest.mark.parametrize("access", [PUBLISH, WATCH])
def test_what_is_let_in_begins_a_session(access: Access) -> None:
    """Unless it goes on with one."""
    assert _effects(TOKEN, access) == Effects(starts=True)
    assert _effects(TOKEN, access, own=Session(1, NOW - 5)) == NOTHING


def test_a_refusal_changes_nothing() -> None:
    """Not even where there would be something to bind and to end."""
    token = _with(BoundAddresses(1), SessionLimit(1, over=Over.END_OLDEST), ExpiresAt(NOW))
    standing = GOOD._replace(usage=UNUSED._replace(sessions=(Session(1, NOW - 5),)))
    assert admit(token, WATCH, standing, NOW) == ((Reason.TOKEN_EXPIRED, 9, None), NOTHING)


def test_watching_an_open_stream_changes_nothing() -> None:
    """No token is looked at there, so none is used; publishing it uses one."""
    token = _with(BoundAddresses(1), SessionLimit(1), SingleUse())
    opened = GOOD._replace(secured=False)
    decision, effects = admit(token, WATCH, opened, NOW)
    assert (decision.reason, effects) == (Reason.OK_OPEN_STREAM, NOTHING)
    assert admit(token, PUBLISH, opened, NOW)[1] == Effects(starts=True, bind=HOME)


# -- binding


def test_the_first_use_binds() -> None:
    """To the address, or to its network."""
    assert _effects(_with(BoundAddresses(1))) == Effects(starts=True, bind=HOME)
    assert _effects(_with(BoundAddresses(1, ipv4_bits=24))).bind == parse_network("192.0.2.0/24")
    over_ipv6 = WATCH._replace(client_ip="2001:db8::1")
    assert _effects(_with(BoundAddresses(1, ipv6_bits=64)), over_ipv6).bind == parse_network("2001:db8::/64")


def test_what_is_bound_is_not_bound_again() -> None:
    """A session that goes on from another address binds that one too."""
    token = _with(BoundAddresses(2))
    assert _effects(token, bound={HOME: 1.0}) == Effects(starts=True)
    elsewhere = WATCH._replace(client_ip="192.0.2.2")
    moved = _effects(token, elsewhere, bound={HOME: 1.0}, own=Session(1, NOW - 5))
    assert moved == Effects(bind=parse_network("192.0.2.2"))


def _networks(*last: int) -> dict[Any, float]:
    return {parse_network(f"198.51.100.{number}"): float(number) for number in last}


def test_there_is_room_before_anything_is_taken_off() -> None:
    """Up to as many as the token may."""
    token = _with(BoundAddresses(3, rebinds_an_hour=9))
    assert _effects(token, bound=_networks(1, 2)) == Effects(starts=True, bind=HOME)


def test_a_rebinding_takes_the_place_of_the_oldest() -> None:
    """The one that was bound first."""
    token = _with(BoundAddresses(2, rebinds_an_hour=1))
    effects = _effects(token, bound=_networks(1, 2))
    assert effects == Effects(starts=True, bind=HOME, unbind=(parse_network("198.51.100.1"),))


def test_where_fewer_are_allowed_than_are_bound_the_oldest_all_go() -> None:
    """The owner made the number smaller; the next rebinding leaves as many as it says."""
    token = _with(BoundAddresses(2, rebinds_an_hour=1))
    effects = _effects(token, bound=_networks(1, 2, 3, 4))
    assert effects.unbind == tuple(_networks(1, 2, 3))
    assert len(set(_networks(1, 2, 3, 4)) - set(effects.unbind) | {effects.bind}) == 2


def test_an_address_that_is_bound_and_counts_no_more_is_bound_anew() -> None:
    """It takes the place of those that count."""
    token = _with(BoundAddresses(1, rebinds_an_hour=1))
    bound = {parse_network("198.51.100.1"): 1.0, HOME: 2.0}
    effects = _effects(token, bound=bound)
    assert (effects.bind, parse_network("198.51.100.1") in effects.unbind) == (HOME, True)


def test_binding_is_tried_out_by_binding() -> None:
    """So that it is seen what it would refuse; what it would refuse is let in and binds nothing."""
    for shadow in ({"caveats": (Tried(BoundAddresses(1), NOW + 1),)}, {"caveats": (BoundAddresses(1),)}):
        token = replace(TOKEN, **shadow)
        account = AccountPolicy(shadow_until=NOW + 1)
        standing = GOOD._replace(account=account)
        assert admit(token, WATCH, standing, NOW)[1] == Effects(starts=True, bind=HOME)
        full = standing._replace(usage=UNUSED._replace(bound=_networks(1)))
        decision, effects = admit(token, WATCH, full, NOW)
        assert (decision.shadowed, effects) == (Reason.ADDRESS_NOT_BOUND, Effects(starts=True))


def test_an_address_that_cannot_be_read_is_tried_out_without_binding() -> None:
    """There is nothing to bind to."""
    token = _with(Tried(BoundAddresses(1), NOW + 1))
    decision, effects = admit(token, WATCH._replace(client_ip="unknown"), GOOD, NOW)
    assert (decision.shadowed, effects) == (Reason.ADDRESS_UNKNOWN, Effects(starts=True))


# -- making room

THREE = (Session(11, NOW - 30), Session(12, NOW - 20), Session(13, NOW - 10))


@pytest.mark.parametrize(("most", "left"), [(5, ()), (4, ()), (3, (11,)), (2, (11, 12)), (1, (11, 12, 13))])
def test_as_many_of_the_oldest_end_as_the_new_one_needs(most: int, left: tuple[int, ...]) -> None:
    """At once."""
    effects = _effects(_with(SessionLimit(most, over=Over.END_OLDEST)), sessions=THREE)
    assert effects == Effects(starts=True, ends=tuple((session_id, NOW) for session_id in left))


def test_with_a_grace_they_end_later() -> None:
    """After as many seconds as it has."""
    limit = SessionLimit(3, over=Over.GRACE, grace_seconds=5)
    assert _effects(_with(limit), sessions=THREE).ends == ((11, NOW + 5),)


def test_those_that_leave_already_are_not_told_again() -> None:
    """Their end stays where it was."""
    leaving = (Session(11, NOW - 30, NOW + 2), *THREE[1:])
    limit = SessionLimit(2, over=Over.GRACE, grace_seconds=5)
    assert _effects(_with(limit), sessions=leaving).ends == ((12, NOW + 5),)


def test_a_session_that_goes_on_ends_nobody() -> None:
    """It has its place."""
    own = THREE[2]
    assert _effects(_with(SessionLimit(1, over=Over.END_OLDEST)), sessions=THREE, own=own).ends == ()


def test_a_limit_that_refuses_ends_nobody() -> None:
    """There is room, or nobody is let in."""
    assert _effects(_with(SessionLimit(4)), sessions=THREE).ends == ()


@pytest.mark.parametrize("grace", [1, 30])
def test_a_page_that_is_loaded_again_ends_what_it_showed(grace: int) -> None:
    """A single use stays one session: the older one has the grace to end."""
    home = Address(4, 0xC0000201)
    use: dict[str, Any] = {"sessions": THREE[:1], "starts": 1, "last_address": home}
    assert _effects(_with(SingleUse(grace)), **use) == Effects(starts=True, ends=((11, NOW + grace),))


@pytest.mark.parametrize(
    "limit", [SessionLimit(1, over=Over.END_OLDEST), SessionLimit(1, over=Over.GRACE, grace_seconds=5), SingleUse(5)]
)
def test_a_limit_that_is_tried_out_ends_nobodys_session(limit: SessionLimit | SingleUse) -> None:
    """By the token's own trial and by the account's; when the trial is over it does."""
    use = UNUSED._replace(sessions=THREE, starts=1, last_address=None)
    trial = GOOD._replace(account=AccountPolicy(shadow_until=NOW + 1), usage=use)
    assert admit(_with(limit), WATCH, trial, NOW)[1] == Effects(starts=True)
    assert admit(_with(Tried(limit, NOW + 1)), WATCH, GOOD._replace(usage=use), NOW)[1] == Effects(starts=True)


# -- what ends a session that runs


def _ends(token: VerifiedToken | None, access: Access = WATCH, /, **standing: Any) -> Reason | None:
    return ends(token, access, GOOD._replace(**standing), NOW)


def test_a_good_session_goes_on() -> None:
    """Published or watched."""
    assert _ends(TOKEN, PUBLISH) is None
    assert _ends(TOKEN, WATCH) is None


@pytest.mark.parametrize("state", [TokenState.REVOKED, TokenState.UNKNOWN])
def test_a_token_that_was_revoked_or_renewed_ends_its_sessions(state: TokenState) -> None:
    """A renewed one is unknown by its old text."""
    reason = Reason.TOKEN_REVOKED if state is TokenState.REVOKED else Reason.TOKEN_UNKNOWN
    assert _ends(TOKEN, token=state) is reason
    assert _ends(None, token=TokenState.UNKNOWN) is Reason.TOKEN_UNKNOWN


def test_a_closed_account_ends_everything() -> None:
    """Open streams too."""
    assert _ends(TOKEN, account=CLOSED) is Reason.ACCOUNT_DISABLED
    assert _ends(None, account=CLOSED, secured=False) is Reason.ACCOUNT_DISABLED


@pytest.mark.parametrize(
    ("token", "standing"),
    [
        (TOKEN, {"token": TokenState.DISABLED}),
        (replace(TOKEN, grant=Grant(tuple(Action), ("other",))), {}),
        (replace(TOKEN, grant=Grant((), ("show",))), {}),
        (_with(NotBefore(NOW + 1)), {}),
        (_with(ExpiresAt(NOW)), {}),
        (_with(WithinHours((), UTC)), {}),
        (_with(ClientAddresses(())), {}),
        (_with(BoundAddresses(1)), {"usage": UNUSED._replace(bound={parse_network("198.51.100.1"): 1.0})}),
        (_with(Countries(allowed=("PL",))), {"country": "DE"}),
        (_with(Protocols(())), {}),
        (_with(Unjudged("something")), {}),
        (_with(Budgets(starts=1)), {"usage": UNUSED._replace(starts=5, own=Session(1, NOW - 5))}),
        (TOKEN, {"viewer_caveats": (Countries(allowed=("PL",)),), "country": "DE"}),
        (TOKEN, {"account": AccountPolicy(countries=Countries(allowed=("PL",))), "country": "DE"}),
        (replace(TOKEN, outlived=True), {"account": AccountPolicy(longest_lifetime_seconds=1)}),
        (None, {"token": TokenState.ABSENT}),
    ],
)
def test_what_only_stops_new_starts_does_not_end_what_runs(
    token: VerifiedToken | None, standing: dict[str, Any]
) -> None:
    """A token that was switched off or narrowed lets what it let in go on."""
    assert _ends(token, **standing) is None


OWN = {"usage": UNUSED._replace(own=Session(1, NOW - 60, NOW), watched_seconds=60.0, bytes=60)}


@pytest.mark.parametrize(
    ("token", "standing", "reason"),
    [
        (_with(ExpiresAt(NOW, ends_sessions=True)), {}, Reason.TOKEN_EXPIRED),
        (_with(WithinHours((), UTC, ends_sessions=True)), {}, Reason.TOKEN_OUTSIDE_HOURS),
        (TOKEN, {"account": AccountPolicy(longest_lifetime_seconds=1)}, Reason.TOKEN_EXPIRED),
        (_with(SessionLimit(1)), OWN, Reason.TOO_MANY_SESSIONS),
        (_with(SingleUse()), OWN, Reason.TOKEN_USED),
        (_with(Budgets(session_seconds=60)), OWN, Reason.SESSION_TOO_LONG),
        (_with(Budgets(watch_seconds=60)), OWN, Reason.WATCH_TIME_SPENT),
        (_with(Budgets(bytes=60)), OWN, Reason.BYTES_SPENT),
    ],
)
def test_what_is_over_ends(token: VerifiedToken, standing: dict[str, Any], reason: Reason) -> None:
    """Each with its reason; behind conditions that only stop new starts too, and not on an open stream."""
    assert _ends(token, **standing) is reason
    assert _ends(replace(token, caveats=(ClientAddresses(()), *token.caveats)), **standing) is reason
    assert _ends(token, **standing, secured=False) is None
    assert _ends(token, PUBLISH, **standing, secured=False) is reason


@pytest.mark.parametrize("seconds", [-1, 0, 1])
def test_an_expiry_ends_sessions_from_its_instant_on(seconds: int) -> None:
    """-1, 0, +1."""
    token = _with(ExpiresAt(NOW, ends_sessions=True))
    assert (ends(token, WATCH, GOOD, NOW + seconds) is None) is (seconds < 0)


def test_a_condition_that_is_tried_out_ends_nobodys_session() -> None:
    """A revoked token's end is none of its conditions."""
    caveat = ExpiresAt(0, ends_sessions=True)
    assert _ends(_with(Tried(caveat, NOW + 1))) is None
    assert _ends(_with(Tried(caveat, NOW))) is Reason.TOKEN_EXPIRED
    shadow = AccountPolicy(shadow_until=NOW + 1)
    assert _ends(_with(caveat), account=shadow) is None
    assert _ends(_with(caveat), account=shadow, token=TokenState.REVOKED) is Reason.TOKEN_REVOKED
