"""What holds for every rule that a token's body can set, from the body to the decision and to what an admission changes."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from stagedoor.model.access import Action
from stagedoor.model.caveats import BoundAddresses, Caveat, Condition, Tried, Unjudged
from stagedoor.model.decision import Reason, Standing
from stagedoor.model.token import VerifiedToken
from stagedoor.model.usage import Effects, Session
from stagedoor.policy import admit, decide, ends, explain
from tests.questions import RULES, build, condition, questions, questions_about, questions_of_viewers
from tests.reference import Question, Token


@dataclass(frozen=True)
class Newer:
    """A condition that this version has never heard of."""

    number: int = 0


_names = st.sampled_from([rule for rule in RULES if rule not in ("countries", "bind")])
_about = {rule: questions_about(rule) for rule in RULES}
any_question = st.one_of(questions(), questions_of_viewers(), st.sampled_from(RULES).flatmap(_about.__getitem__))
"""A third of them about one rule, so that the rules' edges are met and not only the credentials'."""

_newer = cast("Condition", Newer())
unjudged: st.SearchStrategy[Caveat] = st.one_of(
    st.sampled_from([Unjudged("hours"), _newer]),
    st.builds(Tried, st.sampled_from([Unjudged("hours"), _newer]), st.sampled_from([0, 2**40])),
)


def _insert(caveats: tuple[Caveat, ...], caveat: Caveat, place: int) -> tuple[Caveat, ...]:
    place %= len(caveats) + 1
    return (*caveats[:place], caveat, *caveats[place:])


def _open(question: Question, standing: Standing) -> bool:
    return question.action == "subscribe" and not standing.secured


@given(any_question, st.data())
def test_a_rule_more_in_the_body_never_lets_more_in(question: Question, data: st.DataObject) -> None:
    """Any rule but countries, which take the place of other lists; with shadow mode and without."""
    token = question.shown
    assume(isinstance(token, Token))
    assert isinstance(token, Token)
    name = data.draw(_names)
    more = condition(data.draw, name, question, token.made_at)
    assume(not set(more) & set(token.body) and not _clash(more, token.body))
    narrowed = replace(question, shown=replace(token, body={**token.body, **more}))
    if not decide(*build(question), question.now).allowed:
        assert not decide(*build(narrowed), question.now).allowed


def _clash(more: Mapping[str, Any], body: Mapping[str, Any]) -> bool:
    """Tell whether the API takes both: an expiry is given once, after the beginning, and addresses are bound or listed."""
    times = {"notBefore", "expires", "expiresOn"}
    return bool(times & set(more) and times & set(body)) or ("allowedIpAddresses" in more and "bindIpsOnUsage" in body)


@settings(max_examples=settings().max_examples // 2)
@given(any_question, st.data())
def test_a_condition_more_never_lets_more_in(question: Question, data: st.DataObject) -> None:
    """Any condition of any other token, countries and those that are tried out among them, at any place."""
    token, access, standing = build(question)
    other, _, _ = build(data.draw(any_question))
    assume(token is not None and other is not None and other.caveats)
    assert token is not None
    assert other is not None
    caveat = data.draw(st.sampled_from(other.caveats))
    narrowed = replace(token, caveats=_insert(token.caveats, caveat, data.draw(st.integers(0, 9))))
    if not decide(token, access, standing, question.now).allowed:
        assert not decide(narrowed, access, standing, question.now).allowed


@given(any_question)
def test_explain_and_decide_never_disagree(question: Question) -> None:
    """One decision, made by exactly one finding, unless nothing refused or all that did was tried out."""
    token, access, standing = build(question)
    decision, findings = explain(token, access, standing, question.now)
    assert decision == decide(token, access, standing, question.now)
    decisive = [finding for finding in findings if finding.decisive]
    if decision.reason is Reason.OK or (decision.reason is Reason.OK_SHADOW and not _open(question, standing)):
        assert decisive == []
    else:
        assert len(decisive) == 1
    if not decision.allowed or decision.reason is Reason.OK_OPEN_STREAM:
        assert decisive[0].reason is decision.reason
    assert all(finding.saw for finding in findings)


@given(any_question, unjudged, st.integers(0, 9))
def test_what_cannot_be_judged_refuses_whatever_else(question: Question, caveat: Caveat, place: int) -> None:
    """In shadow mode too, the token's and the account's; only where anyone may watch does the token not matter."""
    token, access, standing = build(question)
    assume(token is not None)
    assert token is not None
    shadow = replace(standing.account, shadow_until=2**40)
    for account in (standing.account, shadow):
        stands = standing._replace(account=account)
        with_it = replace(token, caveats=_insert(token.caveats, caveat, place))
        assert not decide(with_it, access, stands, question.now).allowed or _open(question, standing)
        for_viewers = stands._replace(viewer_caveats=_insert(standing.viewer_caveats, caveat, place), secured=False)
        watching = access._replace(action=Action.SUBSCRIBE)
        assert not decide(None, watching, for_viewers, question.now).allowed


def _reordered(body: Mapping[str, Any], data: st.DataObject) -> dict[str, Any]:
    shuffled: dict[str, Any] = {
        name: data.draw(st.permutations(value)) if isinstance(value, list) else value for name, value in body.items()
    }
    if "hours" in shuffled:
        windows = [_reordered(window, data) for window in data.draw(st.permutations(shuffled["hours"]["windows"]))]
        shuffled["hours"] = {**shuffled["hours"], "windows": windows}
    return shuffled


@settings(max_examples=settings().max_examples // 2)
@given(any_question, st.data())
def test_the_order_of_a_list_does_not_matter(question: Question, data: st.DataObject) -> None:
    """Of streams, addresses, origins, countries, windows, patterns, and of a stream's publish tokens: the same decision."""
    token = question.shown
    reordered = replace(
        question,
        shown=token if isinstance(token, str) else replace(token, body=_reordered(token.body, data)),
        account=_reordered(question.account, data),
        publishers=[
            replace(publisher, body=_reordered(publisher.body, data))
            for publisher in data.draw(st.permutations(question.publishers))
        ],
    )
    decision = decide(*build(question), question.now)
    assert decide(*build(question), question.now) == decision
    assert decide(*build(reordered), question.now) == decision


@given(any_question)
def test_a_refusal_has_no_effects(question: Question) -> None:
    """An admission is decided as anything else is; and who watches what is open leaves no trace on a token."""
    token, access, standing = build(question)
    assume(token is not None)
    assert token is not None
    decision, effects = admit(token, access, standing, question.now)
    assert decision == decide(token, access, standing, question.now)
    if not decision.allowed or _open(question, standing):
        assert effects == Effects()


@given(any_question)
def test_what_runs_is_never_ended_while_it_would_be_let_in(question: Question) -> None:
    """`ends` gives no reason where `decide` allows what runs, and where it gives one it is one that refuses."""
    token, access, standing = build(question)
    running = standing._replace(running=True)
    decision = decide(token, access, running, question.now)
    end = ends(token, access, standing, question.now)
    if decision.allowed:
        assert end is None
    if end is not None:
        _, findings = explain(token, access, running, question.now)
        assert end in {finding.reason for finding in findings if not finding.tried}


@settings(max_examples=settings().max_examples // 2)
@given(st.sampled_from(["bind", "bind", "sessionLimit", "singleUse"]).flatmap(_about.__getitem__))
def test_what_was_admitted_is_let_in_again_at_once(question: Question) -> None:
    """With what the admission changed: bound to its address, and as a session that runs."""
    token, access, standing = build(question)
    assert token is not None
    decision, effects = admit(token, access, standing, question.now)
    assume(decision.allowed and not _open(question, standing))
    after = _after(standing, effects, question.now)
    again, more = admit(token, access, after, question.now)
    assert again.allowed
    assert (more.starts, more.ends) == (False, ())
    if decision.reason is Reason.OK:
        assert more.bind is None
    _check_effects(token, standing, effects, question.now)


def _after(standing: Standing, effects: Effects, now: float) -> Standing:
    """Return how things stand when the effects were written down, as a store does."""
    usage = standing.usage
    bound = {network: at for network, at in usage.bound.items() if network not in effects.unbind}
    if effects.bind is not None:
        bound[effects.bind] = now
    rebinds = (*usage.rebinds, now) if effects.unbind else usage.rebinds
    ending = dict(effects.ends)
    sessions = tuple(session._replace(end_at=ending.get(session.id, session.end_at)) for session in usage.sessions)
    own = usage.own
    if effects.starts:
        own = Session(-1, now)
    usage = usage._replace(
        bound=bound, rebinds=rebinds, sessions=sessions, own=own, starts=usage.starts + effects.starts
    )
    return standing._replace(usage=usage, running=True)


def _check_effects(token: VerifiedToken, standing: Standing, effects: Effects, now: float) -> None:
    """Hold effects to what they may be about: networks that are bound, and sessions that stay, at times to come."""
    most = min((caveat.most for caveat in token.caveats if isinstance(caveat, BoundAddresses)), default=0)
    counting = tuple(standing.usage.bound)[:most]
    assert set(effects.unbind) <= set(standing.usage.bound)
    assert effects.bind not in counting
    if effects.bind is not None and most:
        # A network past those that count may be bound anew: it is taken off, and put last.
        assert len(set(standing.usage.bound) - set(effects.unbind) | {effects.bind}) <= most
    staying = {session.id for session in standing.usage.sessions if session.end_at is None}
    assert {session_id for session_id, _ in effects.ends} <= staying
    assert all(at >= now for _, at in effects.ends)
    assert effects.starts == (standing.usage.own is None)
