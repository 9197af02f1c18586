"""The rules, one by one and in their order."""

from dataclasses import dataclass, replace
from typing import Any, cast

import pytest

from stagedoor.model.access import Access, Action, Protocol
from stagedoor.model.addresses import parse_network
from stagedoor.model.caveats import Caveat, ClientAddresses, ExpiresAt, NotBefore, Unjudged
from stagedoor.model.decision import Reason, Standing
from stagedoor.model.grant import Grant
from stagedoor.model.ids import AccountId, StreamId, TokenId
from stagedoor.model.token import TokenState, VerifiedToken
from stagedoor.policy import decide, explain
from stagedoor.policy.caveats import judge
from stagedoor.policy.rules import Rule

NOW = 1_000_000
STREAM = StreamId(AccountId("acct"), "show")
PUBLISH = Access(Action.PUBLISH, STREAM, Protocol.RTMP, "192.0.2.1")
WATCH = Access(Action.SUBSCRIBE, STREAM, Protocol.HLS, "192.0.2.1")
GOOD = Standing(TokenState.ACTIVE, account_enabled=True, secured=True, viewer_caveats=(), revision=9)
TOKEN = VerifiedToken(TokenId(1), AccountId("acct"), Grant((Action.PUBLISH, Action.SUBSCRIBE), ("show",)))


@dataclass(frozen=True)
class Newer:
    """A caveat that this version has never heard of."""

    text: str = "only on Sundays"


UNKNOWN = cast("Caveat", Newer())


def _reason(token: VerifiedToken | None, access: Access, now: float = NOW, /, **standing: Any) -> Reason:
    decision = decide(token, access, GOOD._replace(**standing), now)
    assert decision.revision == GOOD.revision
    return decision.reason


@pytest.mark.parametrize("access", [PUBLISH, WATCH])
def test_a_good_token_is_let_in(access: Access) -> None:
    """Nothing refuses, so the answer is ok with the revision it was made with."""
    assert _reason(TOKEN, access) is Reason.OK


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (TokenState.ABSENT, Reason.TOKEN_MISSING),
        (TokenState.MALFORMED, Reason.TOKEN_MALFORMED),
        (TokenState.UNKNOWN, Reason.TOKEN_UNKNOWN),
        (TokenState.ACTIVE, Reason.TOKEN_UNKNOWN),
        (TokenState.DISABLED, Reason.TOKEN_UNKNOWN),
        (TokenState.REVOKED, Reason.TOKEN_UNKNOWN),
        ("a new state", Reason.TOKEN_UNKNOWN),
    ],
)
def test_without_a_token_nobody_publishes(state: TokenState, reason: Reason) -> None:
    """Each way of having none has its reason; a state that makes no sense is unknown, never good."""
    assert _reason(None, PUBLISH, token=state) is reason
    assert _reason(None, WATCH, token=state) is reason


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (TokenState.DISABLED, Reason.TOKEN_DISABLED),
        (TokenState.REVOKED, Reason.TOKEN_REVOKED),
        (TokenState.ABSENT, Reason.TOKEN_UNKNOWN),
        (TokenState.UNKNOWN, Reason.TOKEN_UNKNOWN),
        ("a new state", Reason.TOKEN_UNKNOWN),
    ],
)
def test_a_token_that_does_not_stand_is_refused(state: TokenState, reason: Reason) -> None:
    """Only active stands."""
    assert _reason(TOKEN, PUBLISH, token=state) is reason


@pytest.mark.parametrize("access", [PUBLISH, WATCH])
def test_a_closed_account_refuses_first(access: Access) -> None:
    """Also on an open stream, and whatever the token."""
    assert _reason(None, access, account_enabled=False, secured=False) is Reason.ACCOUNT_DISABLED
    assert _reason(TOKEN, access, account_enabled=False) is Reason.ACCOUNT_DISABLED


def test_an_open_stream_is_watched_without_a_token() -> None:
    """No token is looked at, good or bad."""
    for state in TokenState:
        assert _reason(None, WATCH, token=state, secured=False) is Reason.OK_OPEN_STREAM
        assert _reason(TOKEN, WATCH, token=state, secured=False) is Reason.OK_OPEN_STREAM


def test_an_open_stream_is_not_open_to_publishers() -> None:
    """`secured` is about watching only."""
    assert _reason(None, PUBLISH, token=TokenState.ABSENT, secured=False) is Reason.TOKEN_MISSING


@pytest.mark.parametrize("account", ["other", "ACCT", ""])
def test_a_token_of_another_account_is_refused(account: str) -> None:
    """The stream's account must be the token's, letter for letter; unknown is another one."""
    access = PUBLISH._replace(stream=StreamId(AccountId(account), "show"))
    assert _reason(TOKEN, access) is Reason.ACCOUNT_MISMATCH


@pytest.mark.parametrize(
    ("access", "granted"), [(PUBLISH, Action.SUBSCRIBE), (WATCH, Action.PUBLISH), (PUBLISH, None), (WATCH, None)]
)
def test_an_action_that_is_not_granted_is_refused(access: Access, granted: Action | None) -> None:
    """One action does not give the other, and none gives nothing."""
    token = replace(TOKEN, grant=Grant(() if granted is None else (granted,), ("show",)))
    assert _reason(token, access) is Reason.ACTION_NOT_GRANTED


def test_a_stream_that_is_not_granted_is_refused() -> None:
    """Another name, or no names at all."""
    assert _reason(TOKEN, PUBLISH._replace(stream=StreamId(AccountId("acct"), "Show"))) is Reason.STREAM_NOT_GRANTED
    assert _reason(replace(TOKEN, grant=Grant((Action.PUBLISH,))), PUBLISH) is Reason.STREAM_NOT_GRANTED


@pytest.mark.parametrize(
    ("now", "reason"),
    [(NOW - 1, Reason.TOKEN_NOT_YET_VALID), (NOW - 0.001, Reason.TOKEN_NOT_YET_VALID), (NOW, None), (NOW + 1, None)],
)
def test_not_before_is_good_from_its_instant_on(now: float, reason: Reason | None) -> None:
    """-1, 0, +1 around the boundary, and just before it."""
    assert judge(NotBefore(NOW), PUBLISH, now) is reason


@pytest.mark.parametrize(
    ("now", "reason"),
    [(NOW - 1, None), (NOW - 0.001, None), (NOW, Reason.TOKEN_EXPIRED), (NOW + 1, Reason.TOKEN_EXPIRED)],
)
def test_expires_at_is_good_before_its_instant(now: float, reason: Reason | None) -> None:
    """-1, 0, +1 around the boundary, and just before it."""
    assert judge(ExpiresAt(NOW), PUBLISH, now) is reason


def test_a_clock_that_makes_no_sense_refuses() -> None:
    """Not-a-number is neither after the one nor before the other."""
    assert judge(NotBefore(0), PUBLISH, float("nan")) is Reason.TOKEN_NOT_YET_VALID
    assert judge(ExpiresAt(NOW), PUBLISH, float("nan")) is Reason.TOKEN_EXPIRED


@pytest.mark.parametrize(
    ("client_ip", "reason"),
    [
        ("192.0.2.0", None),
        ("192.0.2.255", None),
        ("::ffff:192.0.2.7", None),
        ("192.0.1.255", Reason.ADDRESS_NOT_ALLOWED),
        ("192.0.3.0", Reason.ADDRESS_NOT_ALLOWED),
        ("2001:db8::1", Reason.ADDRESS_NOT_ALLOWED),
        ("", Reason.ADDRESS_UNKNOWN),
        ("192.0.2.010", Reason.ADDRESS_UNKNOWN),
        ("192.0.2.1:80", Reason.ADDRESS_UNKNOWN),
        ("unix:", Reason.ADDRESS_UNKNOWN),
    ],
)
def test_client_addresses(client_ip: str, reason: Reason | None) -> None:
    """In the network passes, outside is refused, and what cannot be read is refused with its own reason."""
    caveat = ClientAddresses((parse_network("192.0.2.0/24"),))
    assert judge(caveat, PUBLISH._replace(client_ip=client_ip), NOW) is reason


def test_no_networks_is_good_from_nowhere() -> None:
    """An empty list refuses everyone."""
    assert judge(ClientAddresses(()), PUBLISH, NOW) is Reason.ADDRESS_NOT_ALLOWED


@pytest.mark.parametrize("caveat", [Unjudged("allowedOrigins"), Newer(), None, "expires", 0, NotBefore, object()])
def test_an_unknown_type_of_caveat_refuses(caveat: object) -> None:
    """What no judge is written for never passes."""
    assert judge(caveat, PUBLISH, NOW) is Reason.CAVEAT_NOT_JUDGED


def test_a_subclass_of_a_caveat_is_an_unknown_caveat() -> None:
    """A judge of the base type would not see what the subclass adds."""

    class OnSundays(NotBefore):
        pass

    assert judge(OnSundays(0), PUBLISH, NOW) is Reason.CAVEAT_NOT_JUDGED


@pytest.mark.parametrize("position", [0, 1, 2])
def test_an_unknown_caveat_refuses_wherever_it_stands(position: int) -> None:
    """Among caveats that pass, at the start, in the middle and at the end."""
    caveats: list[Caveat] = [NotBefore(0), ExpiresAt(NOW + 1)]
    caveats.insert(position, UNKNOWN)
    assert _reason(replace(TOKEN, caveats=tuple(caveats)), PUBLISH) is Reason.CAVEAT_NOT_JUDGED


def test_viewer_caveats_hold_on_an_open_stream() -> None:
    """A stream closed to a country is closed there also without a token."""
    viewers = (Unjudged("deniedCountries"),)
    assert _reason(None, WATCH, secured=False, viewer_caveats=viewers) is Reason.CAVEAT_NOT_JUDGED
    assert _reason(TOKEN, WATCH, viewer_caveats=viewers) is Reason.CAVEAT_NOT_JUDGED


def test_viewer_caveats_are_not_for_publishers() -> None:
    """They are about who watches."""
    assert _reason(TOKEN, PUBLISH, viewer_caveats=(Unjudged("deniedCountries"),)) is Reason.OK


def test_the_first_refusal_decides() -> None:
    """The rules have an order: standing before account before action before stream before caveats."""
    token = VerifiedToken(TokenId(1), AccountId("other"), Grant((), ()), (ExpiresAt(0),))
    assert _reason(token, PUBLISH, token=TokenState.REVOKED) is Reason.TOKEN_REVOKED
    assert _reason(token, PUBLISH) is Reason.ACCOUNT_MISMATCH
    token = replace(token, account=AccountId("acct"))
    assert _reason(token, PUBLISH) is Reason.ACTION_NOT_GRANTED
    token = replace(token, grant=Grant((Action.PUBLISH,)))
    assert _reason(token, PUBLISH) is Reason.STREAM_NOT_GRANTED
    token = replace(token, grant=TOKEN.grant)
    assert _reason(token, PUBLISH) is Reason.TOKEN_EXPIRED


def test_explain_goes_on_after_the_first_refusal() -> None:
    """It shows every rule, and marks the one that decided."""
    token = replace(TOKEN, grant=Grant((), ()), caveats=(ExpiresAt(NOW), NotBefore(NOW)))
    decision, findings = explain(token, PUBLISH, GOOD, NOW)
    assert decision == decide(token, PUBLISH, GOOD, NOW)
    assert [(finding.rule, finding.reason) for finding in findings] == [
        (Rule.ACCOUNT_ENABLED, None),
        (Rule.TOKEN_SHOWN, None),
        (Rule.TOKEN_STANDS, None),
        (Rule.SAME_ACCOUNT, None),
        (Rule.ACTION_GRANTED, Reason.ACTION_NOT_GRANTED),
        (Rule.STREAM_GRANTED, Reason.STREAM_NOT_GRANTED),
        (Rule.TOKEN_CAVEAT, Reason.TOKEN_EXPIRED),
        (Rule.TOKEN_CAVEAT, None),
    ]
    assert [finding.rule for finding in findings if finding.decisive] == [Rule.ACTION_GRANTED]
    assert [finding.refuses for finding in findings].count(True) == 3


def test_explain_says_what_each_rule_saw() -> None:
    """The texts name the setting, the times and the addresses that were compared."""
    caveats = (
        NotBefore(NOW),
        ExpiresAt(NOW),
        ClientAddresses((parse_network("10.0.0.0/8"),)),
        Unjudged("allowedOrigins"),
    )
    _, findings = explain(replace(TOKEN, caveats=caveats), WATCH, GOOD._replace(viewer_caveats=(Unjudged("x"),)), NOW)
    saw = [finding.saw for finding in findings]
    assert all(saw)
    assert saw[-4:] == [
        "good from 1970-01-12T13:46:40Z on, asked at 1970-01-12T13:46:40Z",
        "good before 1970-01-12T13:46:40Z, asked at 1970-01-12T13:46:40Z",
        "address 192.0.2.1 against 1 allowed network(s)",
        "allowedOrigins is set, and this version cannot judge it",
    ]


def test_explain_of_an_open_stream_shows_an_allowing_finding() -> None:
    """The decisive finding allows, so it does not refuse."""
    decision, findings = explain(None, WATCH, GOOD._replace(secured=False, token=TokenState.ABSENT), NOW)
    assert decision.reason is Reason.OK_OPEN_STREAM
    decisive = [finding for finding in findings if finding.decisive]
    assert [(finding.rule, finding.refuses) for finding in decisive] == [(Rule.SECURE_VIEWER, False)]


def test_explain_says_something_of_an_unknown_caveat() -> None:
    """What the operator sees is a text, also for a caveat this version does not know."""
    _, findings = explain(replace(TOKEN, caveats=(UNKNOWN,)), PUBLISH, GOOD, NOW)
    assert findings[-1].reason is Reason.CAVEAT_NOT_JUDGED
    assert isinstance(findings[-1].saw, str)


@pytest.mark.parametrize("caveat", [NotBefore(253_402_300_800), ExpiresAt(2**53), NotBefore(-(2**53))])
def test_explain_never_fails_where_decide_decides(caveat: Caveat) -> None:
    """Times that no calendar has are judged, so they are explained too."""
    token = replace(TOKEN, caveats=(caveat,))
    assert explain(token, PUBLISH, GOOD, NOW)[0] == decide(token, PUBLISH, GOOD, NOW)
