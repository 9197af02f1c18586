"""The rules, one by one and in their order."""

from dataclasses import dataclass, replace
from datetime import UTC
from typing import Any, cast, get_args

import pytest

from stagedoor.model.access import Access, Action, Protocol
from stagedoor.model.account import CLOSED, OPEN, AccountPolicy
from stagedoor.model.addresses import parse_network
from stagedoor.model.caveats import (
    BoundAddresses,
    Budgets,
    Caveat,
    ClientAddresses,
    Condition,
    Countries,
    ExpiresAt,
    NotBefore,
    Origins,
    Protocols,
    Referrers,
    SessionLimit,
    SingleUse,
    Tried,
    Unjudged,
    UserAgents,
    WithinHours,
)
from stagedoor.model.decision import Reason, Standing
from stagedoor.model.grant import Grant
from stagedoor.model.ids import AccountId, StreamId, TokenId
from stagedoor.model.token import Lineage, TokenState, VerifiedToken
from stagedoor.model.usage import Session, Usage
from stagedoor.policy import decide, explain
from stagedoor.policy.decide import CREDENTIAL
from stagedoor.policy.rules import Rule

NOW = 1_000_000
STREAM = StreamId(AccountId("acct"), "show")
PUBLISH = Access(Action.PUBLISH, STREAM, Protocol.RTMP, "192.0.2.1")
WATCH = Access(Action.SUBSCRIBE, STREAM, Protocol.HLS, "192.0.2.1")
GOOD = Standing(TokenState.ACTIVE, account=OPEN, secured=True, viewer_caveats=(), revision=9)
TOKEN = VerifiedToken(TokenId(1), AccountId("acct"), Grant((Action.PUBLISH, Action.SUBSCRIBE), ("show",)))


@dataclass(frozen=True)
class Newer:
    """A caveat that this version has never heard of."""

    text: str = "only on Sundays"


UNKNOWN = cast("Condition", Newer())
EXPIRED = Reason.TOKEN_EXPIRED
EVERY_KIND: tuple[Condition, ...] = (
    NotBefore(0),
    ExpiresAt(0),
    WithinHours((), UTC),
    ClientAddresses(()),
    BoundAddresses(1),
    Origins(()),
    Countries(),
    Protocols(()),
    UserAgents(()),
    Referrers(()),
    SessionLimit(1),
    SingleUse(),
    Budgets(starts=1),
    Unjudged("a setting"),
)
AT_HOME = ClientAddresses((parse_network("10.0.0.0/8"),))
"""Met by none of the accesses here."""


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
    assert _reason(None, access, account=CLOSED, secured=False) is Reason.ACCOUNT_DISABLED
    assert _reason(TOKEN, access, account=CLOSED) is Reason.ACCOUNT_DISABLED


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


# -- who sets countries

PL_ONLY = Countries(allowed=("PL",))
DE_ONLY = Countries(allowed=("DE",))
OPEN_IN_PL = AccountPolicy(countries=PL_ONLY)
IN_DE = {"country": "DE"}


@pytest.mark.parametrize("access", [PUBLISH, WATCH])
def test_the_accounts_countries_hold_for_a_token_that_sets_none(access: Access) -> None:
    """For publishers and for viewers; where the list lets them in, they are in."""
    assert _reason(TOKEN, access, account=OPEN_IN_PL, **IN_DE) is Reason.COUNTRY_NOT_ALLOWED
    assert _reason(TOKEN, access, account=OPEN_IN_PL, country="PL") is Reason.OK


def test_the_accounts_countries_hold_on_an_open_stream() -> None:
    """Where no token is looked at."""
    assert _reason(None, WATCH, account=OPEN_IN_PL, secured=False, **IN_DE) is Reason.COUNTRY_NOT_ALLOWED
    assert _reason(None, WATCH, account=OPEN_IN_PL, secured=False, country="PL") is Reason.OK_OPEN_STREAM


@pytest.mark.parametrize("access", [PUBLISH, WATCH])
def test_a_tokens_own_countries_go_before_the_accounts(access: Access) -> None:
    """Its list alone is judged: it lets in where the account would not, and refuses where the account would let in."""
    token = replace(TOKEN, caveats=(DE_ONLY,), sets_countries=True)
    assert _reason(token, access, account=OPEN_IN_PL, **IN_DE) is Reason.OK
    assert _reason(token, access, account=OPEN_IN_PL, country="PL") is Reason.COUNTRY_NOT_ALLOWED


def test_the_streams_countries_go_before_the_accounts() -> None:
    """For its viewers."""
    assert _reason(TOKEN, WATCH, account=OPEN_IN_PL, viewer_caveats=(DE_ONLY,), **IN_DE) is Reason.OK
    refused = _reason(TOKEN, WATCH, account=OPEN_IN_PL, viewer_caveats=(DE_ONLY,), country="PL")
    assert refused is Reason.COUNTRY_NOT_ALLOWED


def test_a_subscribe_tokens_own_countries_go_before_the_streams() -> None:
    """The most particular list counts."""
    token = replace(TOKEN, caveats=(PL_ONLY,), sets_countries=True)
    assert _reason(token, WATCH, viewer_caveats=(DE_ONLY,), country="PL") is Reason.OK
    assert _reason(token, WATCH, viewer_caveats=(DE_ONLY,), **IN_DE) is Reason.COUNTRY_NOT_ALLOWED


def test_on_an_open_stream_the_token_sets_no_countries() -> None:
    """It is not looked at there, so it cannot take the stream's list away; nor the account's."""
    token = replace(TOKEN, caveats=(DE_ONLY,), sets_countries=True)
    opened = {"secured": False, **IN_DE}
    assert _reason(token, WATCH, viewer_caveats=(PL_ONLY,), **opened) is Reason.COUNTRY_NOT_ALLOWED
    assert _reason(token, WATCH, account=OPEN_IN_PL, **opened) is Reason.COUNTRY_NOT_ALLOWED


def test_countries_are_not_asked_of_a_closed_account() -> None:
    """Closed is closed, wherever one is."""
    closed = AccountPolicy(enabled=False, countries=PL_ONLY)
    assert _reason(TOKEN, WATCH, account=closed, **IN_DE) is Reason.ACCOUNT_DISABLED


# -- the longest lifetime


@pytest.mark.parametrize(
    ("now", "reason"), [(NOW - 1, Reason.OK), (NOW - 0.001, Reason.OK), (NOW, EXPIRED), (NOW + 1, EXPIRED)]
)
@pytest.mark.parametrize("access", [PUBLISH, WATCH])
def test_no_token_outlives_what_its_account_allows(access: Access, now: float, reason: Reason) -> None:
    """Counted from when it was added; -1, 0, +1 around the end."""
    token = replace(TOKEN, added_on=NOW - 60)
    assert _reason(token, access, now, account=AccountPolicy(longest_lifetime_seconds=60)) is reason


@pytest.mark.parametrize(("outlived", "reason"), [(True, Reason.OK), (False, EXPIRED)])
def test_what_runs_outlives_the_longest_lifetime_where_the_token_says_so(outlived: bool, reason: Reason) -> None:
    """As it does the token's own expiry: a session goes on, unless sessions end at the expiry."""
    token = replace(TOKEN, added_on=NOW - 60, outlived=outlived)
    longest = AccountPolicy(longest_lifetime_seconds=60)
    assert _reason(token, WATCH, account=longest, running=True) is reason
    assert _reason(token, WATCH, account=longest) is EXPIRED


def test_an_account_without_a_longest_lifetime_ends_no_token() -> None:
    """However old."""
    assert _reason(TOKEN, PUBLISH, 2.0**40) is Reason.OK


# -- shadow mode

SHADOWED = AccountPolicy(shadow_until=NOW + 1)


@pytest.mark.parametrize(
    ("now", "reason"),
    [(NOW - 1, Reason.OK_SHADOW), (NOW - 0.001, Reason.OK_SHADOW), (NOW, EXPIRED), (NOW + 1, EXPIRED)],
)
def test_a_condition_is_tried_out_until_its_instant(now: float, reason: Reason) -> None:
    """The token's own trial and the account's: both end by themselves; -1, 0, +1 around the end."""
    assert _reason(replace(TOKEN, caveats=(Tried(ExpiresAt(0), NOW),)), PUBLISH, now) is reason
    account = AccountPolicy(shadow_until=NOW)
    assert _reason(replace(TOKEN, caveats=(ExpiresAt(0),)), PUBLISH, now, account=account) is reason


def test_what_shadow_mode_let_through_says_for_what() -> None:
    """The first condition that would have refused it; one that is met says nothing."""
    token = replace(TOKEN, caveats=(NotBefore(0), AT_HOME, ExpiresAt(0)))
    decision = decide(token, PUBLISH, GOOD._replace(account=SHADOWED), NOW)
    assert (decision.reason, decision.shadowed) == (Reason.OK_SHADOW, Reason.ADDRESS_NOT_ALLOWED)
    met = replace(TOKEN, caveats=(Tried(NotBefore(0), NOW + 1),))
    assert decide(met, PUBLISH, GOOD, NOW) == (Reason.OK, GOOD.revision, None)


def test_a_condition_that_is_not_tried_out_refuses_beside_one_that_is() -> None:
    """Before it or after it; then nothing was let through, and nothing is said to have been."""
    for caveats in ((Tried(ExpiresAt(0), NOW + 1), AT_HOME), (AT_HOME, Tried(ExpiresAt(0), NOW + 1))):
        decision = decide(replace(TOKEN, caveats=caveats), PUBLISH, GOOD, NOW)
        assert decision == (Reason.ADDRESS_NOT_ALLOWED, GOOD.revision, None)


def test_shadow_mode_tries_out_the_streams_and_the_accounts_countries() -> None:
    """They are conditions too, also on an open stream, which stays open."""
    for given in ({"viewer_caveats": (Tried(DE_ONLY, NOW + 1),)}, {"account": replace(SHADOWED, countries=DE_ONLY)}):
        for token, secured in ((TOKEN, True), (None, False)):
            standing = GOOD._replace(secured=secured, country="PL", **given)
            decision = decide(token, WATCH, standing, NOW)
            assert (decision.reason, decision.shadowed) == (Reason.OK_SHADOW, Reason.COUNTRY_NOT_ALLOWED)


def test_shadow_mode_tries_out_the_longest_lifetime() -> None:
    """It is one of the account's conditions; another token's trial is not about it."""
    account = replace(SHADOWED, longest_lifetime_seconds=1)
    assert _reason(TOKEN, PUBLISH, account=account) is Reason.OK_SHADOW
    tried = replace(TOKEN, caveats=(Tried(ExpiresAt(0), NOW + 1),))
    assert _reason(tried, PUBLISH, account=AccountPolicy(longest_lifetime_seconds=1)) is EXPIRED


@pytest.mark.parametrize("access", [PUBLISH, WATCH])
@pytest.mark.parametrize(
    ("token", "state", "account", "reason"),
    [
        (None, TokenState.ABSENT, OPEN, Reason.TOKEN_MISSING),
        (None, TokenState.MALFORMED, OPEN, Reason.TOKEN_MALFORMED),
        (None, TokenState.UNKNOWN, OPEN, Reason.TOKEN_UNKNOWN),
        (TOKEN, TokenState.REVOKED, OPEN, Reason.TOKEN_REVOKED),
        (TOKEN, TokenState.DISABLED, OPEN, Reason.TOKEN_DISABLED),
        (TOKEN, TokenState.ACTIVE, CLOSED, Reason.ACCOUNT_DISABLED),
        (replace(TOKEN, account=AccountId("other")), TokenState.ACTIVE, OPEN, Reason.ACCOUNT_MISMATCH),
        (replace(TOKEN, grant=Grant((), ("show",))), TokenState.ACTIVE, OPEN, Reason.ACTION_NOT_GRANTED),
        (replace(TOKEN, grant=Grant(tuple(Action))), TokenState.ACTIVE, OPEN, Reason.STREAM_NOT_GRANTED),
        (replace(TOKEN, caveats=(Tried(UNKNOWN, NOW + 1),)), TokenState.ACTIVE, OPEN, Reason.CAVEAT_NOT_JUDGED),
        (replace(TOKEN, caveats=(UNKNOWN,)), TokenState.ACTIVE, OPEN, Reason.CAVEAT_NOT_JUDGED),
    ],
)
def test_shadow_mode_lets_nobody_in_without_a_good_token(
    token: VerifiedToken | None, state: TokenState, account: AccountPolicy, reason: Reason, access: Access
) -> None:
    """Whose token it is and what for is not tried out; nor is a condition that nobody can judge."""
    assert _reason(token, access, token=state, account=replace(account, shadow_until=NOW + 1)) is reason


def test_every_reason_about_the_credential_is_out_of_shadow_modes_reach() -> None:
    """A new reason about tokens, accounts or grants has to be looked at here."""
    assert {
        reason
        for reason in Reason
        if reason.value.startswith(("token_", "account_", "action_not", "stream_not_granted", "caveat_"))
    } - CREDENTIAL == {
        Reason.TOKEN_NOT_YET_VALID,
        Reason.TOKEN_EXPIRED,
        Reason.TOKEN_OUTSIDE_HOURS,
        Reason.TOKEN_USED,
    }


def test_an_open_stream_is_not_let_through_by_shadow_mode() -> None:
    """Nothing refused, so nothing is said to have."""
    decision = decide(None, WATCH, GOOD._replace(secured=False, account=SHADOWED, token=TokenState.ABSENT), NOW)
    assert decision == (Reason.OK_OPEN_STREAM, GOOD.revision, None)


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


def test_explain_marks_what_is_only_tried_out() -> None:
    """It refuses and does not decide; the decision is the same as without explaining."""
    token = replace(TOKEN, caveats=(Tried(ExpiresAt(0), NOW + 1), AT_HOME))
    decision, findings = explain(token, PUBLISH, GOOD, NOW)
    assert decision == decide(token, PUBLISH, GOOD, NOW)
    assert [(found.reason, found.tried, found.decisive) for found in findings[-2:]] == [
        (EXPIRED, True, False),
        (Reason.ADDRESS_NOT_ALLOWED, False, True),
    ]
    assert findings[-2].saw.endswith("(tried out: until 1970-01-12T13:46:41Z)")


def test_explain_tells_that_a_trial_is_over() -> None:
    """Then it refuses like any other."""
    _, findings = explain(replace(TOKEN, caveats=(Tried(ExpiresAt(0), NOW),)), PUBLISH, GOOD, NOW)
    assert (findings[-1].tried, findings[-1].decisive) == (False, True)
    assert findings[-1].saw.endswith("(tried out no longer: until 1970-01-12T13:46:40Z)")


def test_explain_shows_the_accounts_rules_only_where_the_account_has_some() -> None:
    """An account that sets nothing has one rule: that it is open."""
    account = AccountPolicy(countries=PL_ONLY, longest_lifetime_seconds=10)
    rules = [found.rule for found in explain(TOKEN, PUBLISH, GOOD._replace(account=account), NOW)[1]]
    assert rules[:2] == [Rule.ACCOUNT_ENABLED, Rule.ACCOUNT_COUNTRIES]
    assert Rule.LIFETIME in rules
    plain = [found.rule for found in explain(TOKEN, PUBLISH, GOOD, NOW)[1]]
    assert {Rule.ACCOUNT_COUNTRIES, Rule.LIFETIME}.isdisjoint(plain)


def test_explain_says_something_of_every_kind_of_caveat() -> None:
    """Each type has its own words, whether or not it is tried out."""
    saws = set()
    for caveat in EVERY_KIND:
        _, plain = explain(replace(TOKEN, caveats=(caveat,)), PUBLISH, GOOD, NOW)
        _, tried = explain(replace(TOKEN, caveats=(Tried(caveat, NOW + 1),)), PUBLISH, GOOD, NOW)
        assert tried[-1].saw == f"{plain[-1].saw} (tried out: until 1970-01-12T13:46:41Z)"
        saws.add(plain[-1].saw)
    assert len(saws) == len(EVERY_KIND)
    assert all("cannot judge (" not in saw for saw in saws)


def test_every_kind_of_caveat_is_here() -> None:
    """A new one has to be explained."""
    assert [type(caveat) for caveat in EVERY_KIND] == list(get_args(Condition))


def test_what_a_parent_asks_is_explained_as_its_own_by_its_own_use() -> None:
    """A child, its parent and that one's parent have limits: each is shown with what was used of itself, and decides by it."""
    top = replace(TOKEN, id=TokenId(3), caveats=(SessionLimit(3),))
    parent = replace(TOKEN, id=TokenId(2), caveats=(SessionLimit(5), SingleUse()))
    child = replace(TOKEN, caveats=(SessionLimit(9),), lineage=Lineage(above=(parent, top)))
    used = Usage(sessions=_open(1), above=(Usage(sessions=_open(2)), Usage(sessions=_open(3))))
    stands = GOOD._replace(usage=used, sessions_told=True, bytes_told=True)
    decision, findings = explain(child, PUBLISH, stands, NOW)
    assert decision.reason is Reason.TOO_MANY_SESSIONS
    assert [finding.saw for finding in findings if finding.rule is Rule.TOKEN_CAVEAT] == [
        "1 session(s) of the token open, 9 allowed"
    ]
    of_parents = [finding for finding in findings if finding.rule is Rule.PARENT_CAVEAT]
    assert of_parents[0].saw == "2 session(s) of the token open, 5 allowed"
    assert of_parents[-1].saw == "3 session(s) of the token open, 3 allowed"
    assert [finding.decisive for finding in of_parents] == [False, False, True]
    asked = [finding.rule for finding in findings if finding.rule in {Rule.PARENT_ACTION, Rule.PARENT_STREAM}]
    assert asked == [Rule.PARENT_STREAM, Rule.PARENT_ACTION] * 2


def test_a_parent_that_does_not_grant_it_is_named_as_what_refuses() -> None:
    """Its stream and its action, and not those of the child."""
    for grant, rule in (
        (Grant((Action.PUBLISH,), ("other",)), Rule.PARENT_STREAM),
        (Grant((Action.SUBSCRIBE,), ("show",)), Rule.PARENT_ACTION),
    ):
        child = replace(TOKEN, lineage=Lineage(above=(replace(TOKEN, id=TokenId(2), grant=grant),)))
        decision, findings = explain(child, PUBLISH, GOOD, NOW)
        assert not decision.allowed
        assert [finding.rule for finding in findings if finding.decisive] == [rule]


def _open(count: int) -> tuple[Session, ...]:
    return tuple(Session(number, NOW - 10.0) for number in range(count))
