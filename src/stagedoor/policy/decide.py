"""The decision."""

from typing import Final

from stagedoor.model.access import Access
from stagedoor.model.caveats import Caveat, Tried
from stagedoor.model.decision import Decision, Reason, Standing
from stagedoor.model.token import VerifiedToken
from stagedoor.policy.rules import examine

# See model.ids: the quicker way to make a named tuple.
_new: Final = tuple.__new__
_OK: Final = Reason.OK
_OK_OPEN_STREAM: Final = Reason.OK_OPEN_STREAM

CREDENTIAL: Final = frozenset(
    {
        Reason.OK_OPEN_STREAM,
        Reason.TOKEN_MISSING,
        Reason.TOKEN_MALFORMED,
        Reason.TOKEN_UNKNOWN,
        Reason.TOKEN_REVOKED,
        Reason.TOKEN_DISABLED,
        Reason.ACCOUNT_DISABLED,
        Reason.ACCOUNT_MISMATCH,
        Reason.ACTION_NOT_GRANTED,
        Reason.STREAM_NOT_GRANTED,
        Reason.CAVEAT_NOT_JUDGED,
    }
)
"""Security: what shadow mode never lets through. It tries out conditions; whose token it is and what for, it does not."""


def decide(token: VerifiedToken | None, access: Access, standing: Standing, now: float) -> Decision:
    """Judge `access` by what `token` grants and by how things stand at `now` (seconds since the epoch)."""
    shadowed: Reason | None = None
    for _rule, reason, caveat in examine(token, access, standing, now):
        if reason is None:
            continue
        if reason is _OK_OPEN_STREAM:
            return _allow(reason, shadowed, standing)
        if not tried(reason, caveat, standing, now):
            return _new(Decision, (reason, standing.revision, None))
        shadowed = shadowed or reason
    return _allow(_OK, shadowed, standing)


def tried(reason: Reason, caveat: Caveat | None, standing: Standing, now: float) -> bool:
    """Tell whether the refusal of `caveat` is only tried out at `now`, by its owner or by the account (shadow mode)."""
    if reason in CREDENTIAL:
        return False
    return now < standing.account.shadow_until or (type(caveat) is Tried and now < caveat.until)


def _allow(reason: Reason, shadowed: Reason | None, standing: Standing) -> Decision:
    return _new(Decision, (reason if shadowed is None else Reason.OK_SHADOW, standing.revision, shadowed))
