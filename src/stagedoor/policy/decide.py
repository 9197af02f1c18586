"""The decision."""

from typing import Final

from stagedoor.model.access import Access
from stagedoor.model.account import CLOSED, OPEN
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
        Reason.SIGNATURE_INVALID,
        Reason.KEY_REVOKED,
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


def decide_internal(token: VerifiedToken, access: Access, standing: Standing, now: float) -> Decision:
    """Judge an access of a program of our own: by its token alone, and by whether the account is open.

    What the account, or the stream's publish tokens, ask of viewers is not asked of it: it is none.
    """
    return decide(token, access, internally(standing), now)


def internally(standing: Standing) -> Standing:
    """Return how things stand for a program of our own."""
    account = OPEN if standing.account.enabled else CLOSED
    return standing._replace(account=account, secured=True, viewer_caveats=())


def tried(reason: Reason, caveat: Caveat | None, standing: Standing, now: float) -> bool:
    """Tell whether the refusal of `caveat` is only tried out at `now`, by its owner or by the account (shadow mode)."""
    return reason not in CREDENTIAL and in_shadow(caveat, standing, now)


def in_shadow(caveat: Caveat | None, standing: Standing, now: float) -> bool:
    """Tell whether `caveat` is in shadow mode at `now`, or with None, whether the account is."""
    return now < standing.account.shadow_until or (type(caveat) is Tried and now < caveat.until)


def _allow(reason: Reason, shadowed: Reason | None, standing: Standing) -> Decision:
    return _new(Decision, (reason if shadowed is None else Reason.OK_SHADOW, standing.revision, shadowed))
