"""The rules, in the order they are judged. `decide` stops at the first refusal, `explain` goes through all.

Both walk `examine`, so they cannot disagree. A window is half open: `not_before <= now < expires_at`.
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import Final

from stagedoor.model.access import Access, Action
from stagedoor.model.caveats import Caveat
from stagedoor.model.decision import Reason, Standing
from stagedoor.model.token import TokenState, VerifiedToken
from stagedoor.policy.caveats import judge


class Rule(StrEnum):
    """What a rule looks at."""

    ACCOUNT_ENABLED = "account enabled"
    SECURE_VIEWER = "secure viewer"
    TOKEN_SHOWN = "token shown"
    TOKEN_STANDS = "token stands"
    SAME_ACCOUNT = "same account"
    ACTION_GRANTED = "action granted"
    STREAM_GRANTED = "stream granted"
    TOKEN_CAVEAT = "token caveat"
    VIEWER_CAVEAT = "viewer caveat"


Step = tuple[Rule, Reason | None, Caveat | None]
"""A rule that was looked at, the reason with which it ends the matter (None: go on), and the caveat judged, if one was."""

_NO_TOKEN: Final = {
    TokenState.ABSENT: Reason.TOKEN_MISSING,
    TokenState.MALFORMED: Reason.TOKEN_MALFORMED,
    TokenState.UNKNOWN: Reason.TOKEN_UNKNOWN,
}
_FALLEN: Final = {TokenState.REVOKED: Reason.TOKEN_REVOKED, TokenState.DISABLED: Reason.TOKEN_DISABLED}


def examine(token: VerifiedToken | None, access: Access, standing: Standing, now: float) -> Iterator[Step]:
    """Yield every rule in order, with its verdict at `now` (seconds since the epoch).

    The first step with a reason decides. A walk without one allows: it ends with all rules looked at.
    """
    action = access.action
    yield Rule.ACCOUNT_ENABLED, None if standing.account_enabled else Reason.ACCOUNT_DISABLED, None
    if action is Action.SUBSCRIBE:
        for caveat in standing.viewer_caveats:
            yield Rule.VIEWER_CAVEAT, judge(caveat, access, now), caveat
        yield Rule.SECURE_VIEWER, None if standing.secured else Reason.OK_OPEN_STREAM, None
    if token is None:
        # Security: a state that is neither known to be missing nor to stand counts as unknown.
        yield Rule.TOKEN_SHOWN, _NO_TOKEN.get(standing.token, Reason.TOKEN_UNKNOWN), None
        return
    yield Rule.TOKEN_SHOWN, None, None
    state = standing.token
    yield Rule.TOKEN_STANDS, None if state is TokenState.ACTIVE else _FALLEN.get(state, Reason.TOKEN_UNKNOWN), None
    stream = access.stream
    yield Rule.SAME_ACCOUNT, None if token.account == stream.account else Reason.ACCOUNT_MISMATCH, None
    grant = token.grant
    yield Rule.ACTION_GRANTED, None if action in grant.actions else Reason.ACTION_NOT_GRANTED, None
    yield Rule.STREAM_GRANTED, None if grant.covers(stream.name) else Reason.STREAM_NOT_GRANTED, None
    for caveat in token.caveats:
        yield Rule.TOKEN_CAVEAT, judge(caveat, access, now), caveat
