"""What an admission changes: the addresses a token is bound to, and which sessions have to make room.

Pure, like the decision it goes with: a store calls it inside its transaction and writes down what it returns.
"""

from typing import Final

from stagedoor.model.access import Access, Action
from stagedoor.model.addresses import parse_address
from stagedoor.model.caveats import BoundAddresses, Condition, Over, SessionLimit, SingleUse, Tried
from stagedoor.model.decision import Decision, Reason, Standing
from stagedoor.model.token import VerifiedToken
from stagedoor.model.usage import Effects, Usage
from stagedoor.policy.caveats import REBIND_SECONDS, is_bound, network_to_bind
from stagedoor.policy.decide import decide, in_shadow, tried
from stagedoor.policy.rules import examine

NOTHING: Final = Effects()

ENDING: Final = frozenset(
    {
        Reason.ACCOUNT_DISABLED,
        Reason.TOKEN_UNKNOWN,
        Reason.SIGNATURE_INVALID,
        Reason.KEY_REVOKED,
        Reason.TOKEN_REVOKED,
        Reason.TOKEN_EXPIRED,
        Reason.TOKEN_OUTSIDE_HOURS,
        Reason.TOKEN_USED,
        Reason.TOO_MANY_SESSIONS,
        Reason.SESSION_TOO_LONG,
        Reason.WATCH_TIME_SPENT,
        Reason.BYTES_SPENT,
    }
)
"""What ends a session that runs. A token that is unknown now was renewed, or the one that it was signed with was."""


def admit(token: VerifiedToken, access: Access, standing: Standing, now: float) -> tuple[Decision, Effects]:
    """Decide, and tell what that changes. A refusal changes nothing."""
    decision = decide(token, access, standing, now)
    if not decision.allowed or (access.action is Action.SUBSCRIBE and not standing.secured):
        return decision, NOTHING
    above = tuple(
        _effects(each, access, standing, usage, now)
        for each, usage in zip(token.above, standing.usage.above, strict=False)
    )
    return decision, _effects(token, access, standing, standing.usage, now)._replace(above=above)


def _effects(token: VerifiedToken, access: Access, standing: Standing, usage: Usage, now: float) -> Effects:
    """Tell what an admission changes for one token, of which `usage` is."""
    effects = Effects(starts=usage.own is None)
    for caveat in token.caveats:
        condition = caveat.condition if isinstance(caveat, Tried) else caveat
        # A limit that is tried out ends nobody's session; addresses are bound, to see what that would refuse.
        if isinstance(condition, BoundAddresses) or not in_shadow(caveat, standing, now):
            effects = _after(condition, access, usage, now, effects)
    return effects


def ends(token: VerifiedToken | None, access: Access, standing: Standing, now: float) -> Reason | None:
    """Return the reason for which a running session is to end at `now`; None when it may go on.

    What only stops new starts (a token that was switched off or narrowed) does not end what runs.
    """
    for _rule, reason, caveat in examine(token, access, standing._replace(running=True), now):
        if reason is Reason.OK_OPEN_STREAM:
            return None
        if reason in ENDING and not tried(reason, caveat, standing, now):
            return reason
    return None


def _after(condition: Condition, access: Access, usage: Usage, now: float, effects: Effects) -> Effects:
    match condition:
        case BoundAddresses():
            return _bind(condition, access, usage, now, effects)
        case SessionLimit(most, _, over, grace_seconds) if effects.starts and over is not Over.REFUSE:
            grace = grace_seconds if over is Over.GRACE else 0
            staying = [session for session in usage.sessions if session.end_at is None]
            leave = staying[: max(len(staying) + 1 - most, 0)]
            return effects._replace(ends=effects.ends + tuple((session.id, now + grace) for session in leave))
        case SingleUse(grace_seconds) if effects.starts:
            leave = [session for session in usage.sessions if session.mine and session.end_at is None]
            return effects._replace(ends=effects.ends + tuple((session.id, now + grace_seconds) for session in leave))
        case _:
            return effects


def _bind(condition: BoundAddresses, access: Access, usage: Usage, now: float, effects: Effects) -> Effects:
    """Bind to the address, in place of the oldest where there is no room and a re-bind is left."""
    address = parse_address(access.client_ip)
    if address is None:
        return effects
    network = network_to_bind(condition, address)
    if is_bound(condition, network, usage):
        return effects
    if len(usage.bound) < condition.most:
        return effects._replace(bind=network)
    if sum(at > now - REBIND_SECONDS for at in usage.rebinds) >= condition.rebinds_an_hour:
        # Only shadow mode lets an access come here; the addresses stay as they are.
        return effects
    return effects._replace(bind=network, unbind=tuple(usage.bound)[: len(usage.bound) + 1 - condition.most])
