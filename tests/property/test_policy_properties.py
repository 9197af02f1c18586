"""What holds for every decision."""

from dataclasses import dataclass, replace
from typing import cast

from hypothesis import given
from hypothesis import strategies as st

from stagedoor.model.access import Access, Action, Protocol
from stagedoor.model.addresses import parse_network
from stagedoor.model.caveats import Caveat, ClientAddresses, ExpiresAt, NotBefore, Unjudged
from stagedoor.model.decision import Reason, Standing
from stagedoor.model.grant import Grant
from stagedoor.model.ids import AccountId, StreamId, TokenId
from stagedoor.model.token import TokenState, VerifiedToken
from stagedoor.policy import decide, explain
from stagedoor.tokens.patterns import compile_pattern


@dataclass(frozen=True)
class Newer:
    """A caveat that this version has never heard of."""

    number: int


# Small pools, so that much is allowed and the last rules are reached.
accounts = st.sampled_from([AccountId("a"), AccountId("b"), AccountId("")])
names = st.sampled_from(["show", "show/1", "cam-1", "x"])
patterns = st.sampled_from([compile_pattern(text) for text in ("show.*", "cam-[0-9]", "(x|y)", ".*")])
addresses = st.one_of(
    st.sampled_from(["192.0.2.1", "192.0.3.1", "::ffff:192.0.2.1", "2001:db8::1", "", "010.0.0.1"]), st.text(max_size=3)
)
networks = st.sampled_from(
    [parse_network(text) for text in ("192.0.2.0/24", "192.0.2.1", "0.0.0.0/0", "::/0", "2001:db8::/32")]
)
instants = st.integers(0, 40)
times = st.one_of(instants, instants.map(lambda at: at - 0.001))
known: st.SearchStrategy[Caveat] = st.one_of(
    st.builds(NotBefore, instants),
    st.builds(ExpiresAt, instants),
    st.builds(ClientAddresses, st.lists(networks, max_size=2).map(tuple)),
)
unknown: st.SearchStrategy[Caveat] = st.one_of(
    st.builds(Unjudged, st.just("allowedOrigins")),
    st.builds(Newer, st.integers()).map(lambda newer: cast("Caveat", newer)),
)
caveats = st.one_of(known, known, known, unknown)
tokens = st.builds(
    VerifiedToken,
    st.just(TokenId(1)),
    accounts,
    st.builds(
        Grant,
        st.lists(st.sampled_from(list(Action)), unique=True).map(tuple),
        st.lists(names, max_size=2).map(tuple),
        st.lists(patterns, max_size=1).map(tuple),
    ),
    st.lists(known, max_size=2).map(tuple),
)
accesses = st.builds(
    Access,
    st.sampled_from(list(Action)),
    st.builds(StreamId, accounts, names),
    st.sampled_from(list(Protocol)),
    addresses,
)
standings = st.builds(
    Standing,
    st.one_of(st.just(TokenState.ACTIVE), st.sampled_from(list(TokenState))),
    st.sampled_from([True, True, True, False]),
    st.booleans(),
    st.lists(known, max_size=2).map(tuple),
    st.integers(0, 2**63),
)


Insertion = tuple[Caveat, int]
"""A caveat, and where to put it."""

any_insertion = st.tuples(caveats, st.integers(0, 5))
unknown_insertion = st.tuples(unknown, st.integers(0, 5))


def _insert(caveats: tuple[Caveat, ...], insertion: Insertion) -> tuple[Caveat, ...]:
    caveat, place = insertion
    place %= len(caveats) + 1
    return (*caveats[:place], caveat, *caveats[place:])


@given(tokens, accesses, standings, times, any_insertion)
def test_adding_a_caveat_never_turns_a_refusal_into_an_allow(
    token: VerifiedToken, access: Access, standing: Standing, now: float, more: Insertion
) -> None:
    """Anywhere in the list, of any kind: a caveat can only refuse."""
    narrowed = replace(token, caveats=_insert(token.caveats, more))
    if not decide(token, access, standing, now).allowed:
        assert not decide(narrowed, access, standing, now).allowed


@given(st.none() | tokens, accesses, standings, times, any_insertion)
def test_adding_a_viewer_caveat_never_turns_a_refusal_into_an_allow(
    token: VerifiedToken | None, access: Access, standing: Standing, now: float, more: Insertion
) -> None:
    """The same for what a stream asks of everyone who watches it."""
    narrowed = standing._replace(viewer_caveats=_insert(standing.viewer_caveats, more))
    if not decide(token, access, standing, now).allowed:
        assert not decide(token, access, narrowed, now).allowed


@given(st.none() | tokens, accesses, standings, times)
def test_explain_and_decide_never_disagree(
    token: VerifiedToken | None, access: Access, standing: Standing, now: float
) -> None:
    """The decision is the same, and its finding is the first one that had a reason, marked as the only one."""
    decision, findings = explain(token, access, standing, now)
    assert decision == decide(token, access, standing, now)
    reasons = [finding.reason for finding in findings if finding.reason is not None]
    assert decision.reason is (reasons[0] if reasons else Reason.OK)
    assert [finding.reason for finding in findings if finding.decisive] == reasons[:1]


@given(tokens, accesses, standings, times, unknown_insertion)
def test_an_unknown_caveat_always_refuses(
    token: VerifiedToken, access: Access, standing: Standing, now: float, more: Insertion
) -> None:
    """A token with one is never good; what is allowed is allowed without it, since the stream is open."""
    with_it = replace(token, caveats=_insert(token.caveats, more))
    decision = decide(with_it, access, standing, now)
    if decision.allowed:
        assert decision.reason is Reason.OK_OPEN_STREAM
        absent = standing._replace(token=TokenState.ABSENT)
        assert decide(None, access, absent, now).reason is Reason.OK_OPEN_STREAM


@given(st.none() | tokens, accesses, standings, times, unknown_insertion)
def test_an_unknown_viewer_caveat_refuses_every_viewer(
    token: VerifiedToken | None, access: Access, standing: Standing, now: float, more: Insertion
) -> None:
    """Whatever the token, on open streams too."""
    with_it = standing._replace(viewer_caveats=_insert(standing.viewer_caveats, more))
    assert not decide(token, access._replace(action=Action.SUBSCRIBE), with_it, now).allowed


@given(st.none() | tokens, accesses, standings, times)
def test_a_decision_is_deterministic(
    token: VerifiedToken | None, access: Access, standing: Standing, now: float
) -> None:
    """The same question has the same answer, with the revision it was asked at."""
    decision = decide(token, access, standing, now)
    assert decision == decide(token, access, standing, now)
    assert decision.revision == standing.revision


@given(st.none() | tokens, accesses, standings, times)
def test_nobody_publishes_without_a_token_that_grants_it(
    token: VerifiedToken | None, access: Access, standing: Standing, now: float
) -> None:
    """What is allowed to publish has an active token of the same account, for that action and that name."""
    publish = access._replace(action=Action.PUBLISH)
    if decide(token, publish, standing, now).allowed:
        assert token is not None
        assert standing.token is TokenState.ACTIVE
        assert standing.account_enabled
        assert token.account == access.stream.account
        assert Action.PUBLISH in token.grant.actions
        assert token.grant.covers(access.stream.name)


@given(tokens, accesses, standings, times, st.sampled_from([TokenState.REVOKED, TokenState.DISABLED]))
def test_a_token_that_fell_never_allows_more_than_none(
    token: VerifiedToken, access: Access, standing: Standing, now: float, state: TokenState
) -> None:
    """Revoked and disabled tokens are let in only where anyone is."""
    if decide(token, access, standing._replace(token=state), now).allowed:
        assert decide(None, access, standing._replace(token=TokenState.ABSENT), now).allowed
