"""What holds for every decision."""

from dataclasses import dataclass, replace
from datetime import UTC
from typing import cast

from hypothesis import given
from hypothesis import strategies as st

from stagedoor.model.access import Access, Action, Protocol
from stagedoor.model.account import OPEN, AccountPolicy
from stagedoor.model.addresses import parse_address, parse_network
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
    Over,
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
from stagedoor.model.decision import Reason, Standing
from stagedoor.model.grant import Grant
from stagedoor.model.hours import Window
from stagedoor.model.ids import AccountId, StreamId, TokenId
from stagedoor.model.origins import parse_origin_pattern
from stagedoor.model.token import TokenState, VerifiedToken
from stagedoor.model.usage import UNUSED, Effects, Session, Usage
from stagedoor.policy import admit, decide, ends, explain
from stagedoor.tokens.patterns import compile_pattern, compile_wildcard


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
counts = st.integers(1, 3)
some = st.none() | st.integers(1, 40)
actions = st.lists(st.sampled_from(list(Action)), unique=True).map(tuple)
countries = st.lists(st.sampled_from(["PL", "DE"]), unique=True).map(tuple)
windows = st.builds(
    Window, st.lists(st.integers(0, 6), unique=True).map(tuple), st.integers(0, 1439), st.integers(1, 1440)
)
wildcards = st.lists(st.sampled_from([compile_wildcard(text) for text in ("*", "example*", "*.org")]), max_size=2)
conditions: st.SearchStrategy[Condition] = st.one_of(
    st.builds(NotBefore, instants),
    st.builds(ExpiresAt, instants, st.booleans()),
    st.builds(WithinHours, st.lists(windows, max_size=2).map(tuple), st.just(UTC), st.booleans()),
    st.builds(ClientAddresses, st.lists(networks, max_size=2).map(tuple)),
    st.builds(BoundAddresses, counts, st.integers(8, 32), st.integers(16, 128), st.integers(0, 2)),
    st.builds(
        Origins,
        st.lists(st.sampled_from([parse_origin_pattern(text) for text in ("example.org", "*.example.org")])).map(tuple),
        st.booleans(),
    ),
    st.builds(Countries, countries, countries, actions),
    st.builds(Protocols, st.lists(st.sampled_from(list(Protocol)), unique=True).map(tuple)),
    st.builds(UserAgents, wildcards.map(tuple)),
    st.builds(Referrers, wildcards.map(tuple)),
    st.builds(SessionLimit, counts, st.sampled_from(list(Per)), st.sampled_from(list(Over)), st.integers(0, 30)),
    st.builds(SingleUse, st.integers(0, 30)),
    st.builds(Budgets, some, some, some, some),
)
known: st.SearchStrategy[Caveat] = st.one_of(conditions, conditions, conditions, st.builds(Tried, conditions, instants))
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
    added_on=instants,
    sets_countries=st.booleans(),
    outlived=st.booleans(),
)
origins = st.sampled_from([None, "null", "https://example.org", "https://a.example.org", "https://evil.example"])
accesses = st.builds(
    Access,
    st.sampled_from(list(Action)),
    st.builds(StreamId, accounts, names),
    st.sampled_from(list(Protocol)),
    addresses,
    origins,
    st.sampled_from(["", "example player"]),
    st.sampled_from(["", "https://example.org"]),
)
policies = st.builds(
    AccountPolicy,
    enabled=st.sampled_from([True, True, True, False]),
    countries=st.none() | st.builds(Countries, countries, countries, actions),
    longest_lifetime_seconds=some,
    shadow_until=st.sampled_from([0, 0, 20]),
)
sessions = st.builds(Session, st.integers(1, 9), instants, st.none() | instants)
usages = st.one_of(
    st.just(UNUSED),
    st.builds(
        Usage,
        bound=st.dictionaries(networks, instants, max_size=2),
        rebinds=st.lists(instants, max_size=2).map(tuple),
        starts=st.integers(0, 3),
        watched_seconds=instants,
        bytes=instants,
        last_address=addresses.map(parse_address),
        last_at=st.none() | instants,
        open_since=st.lists(instants, max_size=2).map(tuple),
        sessions=st.lists(sessions, max_size=3).map(tuple),
        own=st.none() | sessions,
    ),
)
standings = st.builds(
    Standing,
    st.one_of(st.just(TokenState.ACTIVE), st.sampled_from(list(TokenState))),
    policies,
    st.booleans(),
    st.lists(known, max_size=2).map(tuple),
    st.integers(0, 2**63),
    address_trusted=st.sampled_from([True, True, False]),
    country=st.sampled_from(["", "PL", "DE", "FR"]),
    live=st.booleans(),
    running=st.booleans(),
    sessions_told=st.sampled_from([True, True, False]),
    bytes_told=st.booleans(),
    usage=usages,
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
    # Whether a token sets countries is told by its caveats; here it stays, so that one list does not replace another.
    if not decide(token, access, standing, now).allowed:
        assert not decide(narrowed, access, standing, now).allowed


@given(st.none() | tokens, accesses, standings, times, any_insertion)
def test_adding_a_viewer_caveat_never_turns_a_refusal_into_an_allow(
    token: VerifiedToken | None, access: Access, standing: Standing, now: float, more: Insertion
) -> None:
    """The same for what a stream asks of everyone who watches it, but that its list goes before the account's."""
    if not standing.viewer_caveats:
        standing = standing._replace(account=replace(standing.account, countries=None))
    narrowed = standing._replace(viewer_caveats=_insert(standing.viewer_caveats, more))
    if not decide(token, access, standing, now).allowed:
        assert not decide(token, access, narrowed, now).allowed


@given(st.none() | tokens, accesses, standings, times)
def test_explain_and_decide_never_disagree(
    token: VerifiedToken | None, access: Access, standing: Standing, now: float
) -> None:
    """The decision is the same, and its finding is the first that had a reason and was not only tried out.

    It is marked as the only one; what was tried out before it, or up to the end, is what was let through.
    """
    decision, findings = explain(token, access, standing, now)
    assert decision == decide(token, access, standing, now)
    deciding = [finding for finding in findings if finding.reason is not None and not finding.tried]
    assert [finding for finding in findings if finding.decisive] == deciding[:1]
    before = findings[: findings.index(deciding[0])] if deciding else findings
    shadowed = [finding.reason for finding in before if finding.tried]
    if deciding and deciding[0].refuses:
        assert (decision.reason, decision.shadowed) == (deciding[0].reason, None)
    elif shadowed:
        assert (decision.reason, decision.shadowed) == (Reason.OK_SHADOW, shadowed[0])
    else:
        assert (decision.reason, decision.shadowed) == (deciding[0].reason if deciding else Reason.OK, None)


@given(tokens, accesses, standings, times, unknown_insertion)
def test_an_unknown_caveat_always_refuses(
    token: VerifiedToken, access: Access, standing: Standing, now: float, more: Insertion
) -> None:
    """A token with one is never good; what is allowed is allowed without it, since the stream is open."""
    with_it = replace(token, caveats=_insert(token.caveats, more))
    decision = decide(with_it, access, standing, now)
    if decision.allowed:
        assert decision.shadowed is None or decision.reason is Reason.OK_SHADOW
        assert (access.action, standing.secured) == (Action.SUBSCRIBE, False)
        absent = standing._replace(token=TokenState.ABSENT)
        assert decide(None, access, absent, now) == decision


@given(st.none() | tokens, accesses, standings, times, unknown_insertion)
def test_an_unknown_viewer_caveat_refuses_every_viewer(
    token: VerifiedToken | None, access: Access, standing: Standing, now: float, more: Insertion
) -> None:
    """On open streams too; a token with a list of its own goes before the stream's conditions, where it is asked for."""
    if token is not None and standing.secured:
        token = replace(token, sets_countries=False)
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
        assert standing.account.enabled
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


@given(st.none() | tokens, accesses, standings, times)
def test_shadow_mode_only_ever_adds_what_its_decision_says(
    token: VerifiedToken | None, access: Access, standing: Standing, now: float
) -> None:
    """Without it, what it let through is refused for the reason it named; everything else is decided alike."""
    without = standing._replace(
        account=replace(standing.account, shadow_until=-1),
        viewer_caveats=tuple(_in_earnest(caveat) for caveat in standing.viewer_caveats),
    )
    earnest = token and replace(token, caveats=tuple(_in_earnest(caveat) for caveat in token.caveats))
    tried, judged = decide(token, access, standing, now), decide(earnest, access, without, now)
    if tried.reason is Reason.OK_SHADOW:
        assert judged == (tried.shadowed, standing.revision, None)
    elif tried.allowed:
        assert judged == tried
    else:
        assert not judged.allowed


@given(tokens, accesses, standings, times)
def test_a_refusal_changes_nothing(token: VerifiedToken, access: Access, standing: Standing, now: float) -> None:
    """And an admission is decided as `decide` does."""
    decision, effects = admit(token, access, standing, now)
    assert decision == decide(token, access, standing, now)
    if not decision.allowed:
        assert effects == Effects()


@given(tokens, accesses, standings, times)
def test_a_session_that_goes_on_begins_nothing_and_ends_nobody(
    token: VerifiedToken, access: Access, standing: Standing, now: float
) -> None:
    """Asking again is not starting again."""
    if standing.usage.own is not None:
        _, effects = admit(token, access, standing, now)
        assert (effects.starts, effects.ends) == (False, ())


@given(tokens, accesses, standings, times)
def test_an_admission_leaves_no_more_sessions_than_the_limit_and_its_grace(
    token: VerifiedToken, access: Access, standing: Standing, now: float
) -> None:
    """Counting the new one, as many stay as the limit says; the rest were told when to end."""
    limits = [caveat for caveat in token.caveats if isinstance(caveat, SessionLimit)]
    decision, effects = admit(token, access, standing._replace(account=OPEN), now)
    if decision.allowed and effects.starts and standing.secured:
        ending = {session_id for session_id, _ in effects.ends}
        own = {session.id: session for session in standing.usage.sessions}
        staying = [session for session in own.values() if session.end_at is None and session.id not in ending]
        for limit in limits:
            assert len(staying) + 1 <= limit.most


@given(tokens, accesses, standings, times)
def test_a_token_is_never_bound_to_more_networks_than_it_may(
    token: VerifiedToken, access: Access, standing: Standing, now: float
) -> None:
    """Once as many as it may are bound, each new one takes the place of another."""
    most = [caveat.most for caveat in token.caveats if isinstance(caveat, BoundAddresses)]
    _, effects = admit(token, access, standing, now)
    if effects.bind is not None and len(most) == 1 and len(token.caveats) == 1:
        bound = set(standing.usage.bound) - set(effects.unbind) | {effects.bind}
        assert len(bound) <= most[0]


@given(st.none() | tokens, accesses, standings, times)
def test_what_ends_a_session_would_refuse_a_new_one_too(
    token: VerifiedToken | None, access: Access, standing: Standing, now: float
) -> None:
    """Nothing ends what could begin anew at once, for the same reason."""
    running = standing._replace(running=True)
    if ends(token, access, standing, now) is not None:
        assert not decide(token, access, running, now).allowed


def _in_earnest(caveat: Caveat) -> Caveat:
    return caveat.condition if isinstance(caveat, Tried) else caveat
