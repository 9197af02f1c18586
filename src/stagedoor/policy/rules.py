"""The rules, in the order they are judged. `decide` stops at the first refusal, `explain` goes through all.

Both walk `examine`, so they cannot disagree. A window is half open: `not_before <= now < expires_at`.
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import Final

from stagedoor.model.access import Access, Action
from stagedoor.model.caveats import Caveat, Countries, Tried
from stagedoor.model.decision import Reason, Standing
from stagedoor.model.token import TokenState, VerifiedToken
from stagedoor.model.usage import UNUSED
from stagedoor.policy.caveats import judge


class Rule(StrEnum):
    """What a rule looks at."""

    ACCOUNT_ENABLED = "account enabled"
    ACCOUNT_COUNTRIES = "account countries"
    SECURE_VIEWER = "secure viewer"
    TOKEN_SHOWN = "token shown"
    TOKEN_STANDS = "token stands"
    SAME_ACCOUNT = "same account"
    LIFETIME = "longest lifetime"
    ACTION_GRANTED = "action granted"
    STREAM_GRANTED = "stream granted"
    TOKEN_CAVEAT = "token caveat"
    PARENT_ACTION = "action granted to its parent"
    PARENT_STREAM = "stream granted to its parent"
    PARENT_CAVEAT = "parent caveat"
    VIEWER_CAVEAT = "viewer caveat"


Step = tuple[Rule, Reason | None, Caveat | None]
"""A rule that was looked at, the reason with which it ends the matter (None: go on), and the caveat judged, if one was."""

_NO_TOKEN: Final = {
    TokenState.ABSENT: (Rule.TOKEN_SHOWN, Reason.TOKEN_MISSING, None),
    TokenState.MALFORMED: (Rule.TOKEN_SHOWN, Reason.TOKEN_MALFORMED, None),
    TokenState.UNKNOWN: (Rule.TOKEN_SHOWN, Reason.TOKEN_UNKNOWN, None),
    TokenState.BAD_SIGNATURE: (Rule.TOKEN_SHOWN, Reason.SIGNATURE_INVALID, None),
    TokenState.KEY_REVOKED: (Rule.TOKEN_SHOWN, Reason.KEY_REVOKED, None),
}
_STANDS: Final = {
    TokenState.ACTIVE: (Rule.TOKEN_STANDS, None, None),
    TokenState.DISABLED: (Rule.TOKEN_STANDS, Reason.TOKEN_DISABLED, None),
    TokenState.REVOKED: (Rule.TOKEN_STANDS, Reason.TOKEN_REVOKED, None),
    TokenState.KEY_REVOKED: (Rule.TOKEN_STANDS, Reason.KEY_REVOKED, None),
}
# Made once: every decision walks past most of these.
_SUBSCRIBE: Final = Action.SUBSCRIBE
_ACCOUNT_OPEN: Final = (Rule.ACCOUNT_ENABLED, None, None)
_ACCOUNT_CLOSED: Final = (Rule.ACCOUNT_ENABLED, Reason.ACCOUNT_DISABLED, None)
_SECURED: Final = (Rule.SECURE_VIEWER, None, None)
_OPEN: Final = (Rule.SECURE_VIEWER, Reason.OK_OPEN_STREAM, None)
_SHOWN: Final = (Rule.TOKEN_SHOWN, None, None)
_UNKNOWN: Final = (Rule.TOKEN_STANDS, Reason.TOKEN_UNKNOWN, None)
_SAME_ACCOUNT: Final = (Rule.SAME_ACCOUNT, None, None)
_OTHER_ACCOUNT: Final = (Rule.SAME_ACCOUNT, Reason.ACCOUNT_MISMATCH, None)
_ACTION: Final = (Rule.ACTION_GRANTED, None, None)
_NO_ACTION: Final = (Rule.ACTION_GRANTED, Reason.ACTION_NOT_GRANTED, None)
_IN_TIME: Final = (Rule.LIFETIME, None, None)
_NOT_TOLD: Final = (Rule.LIFETIME, Reason.USAGE_UNKNOWN, None)
_OUTLIVED: Final = (Rule.LIFETIME, Reason.TOKEN_EXPIRED, None)
_STREAM: Final = (Rule.STREAM_GRANTED, None, None)
_NO_STREAM: Final = (Rule.STREAM_GRANTED, Reason.STREAM_NOT_GRANTED, None)
_PARENT_ACTION: Final = (Rule.PARENT_ACTION, None, None)
_NO_PARENT_ACTION: Final = (Rule.PARENT_ACTION, Reason.ACTION_NOT_GRANTED, None)
_PARENT_STREAM: Final = (Rule.PARENT_STREAM, None, None)
_NO_PARENT_STREAM: Final = (Rule.PARENT_STREAM, Reason.STREAM_NOT_GRANTED, None)
_TOKEN_CAVEAT: Final = Rule.TOKEN_CAVEAT
_VIEWER_CAVEAT: Final = Rule.VIEWER_CAVEAT
_ACCOUNT_COUNTRIES: Final = Rule.ACCOUNT_COUNTRIES


def examine(  # noqa: C901  one walk, whose order can be read
    token: VerifiedToken | None, access: Access, standing: Standing, now: float
) -> Iterator[Step]:
    """Yield every rule in order, with its verdict at `now` (seconds since the epoch).

    The first step with a reason decides. A walk without one allows: it ends with all rules looked at.
    """
    action, account = access.action, standing.account
    yield _ACCOUNT_OPEN if account.enabled else _ACCOUNT_CLOSED
    watching = action is _SUBSCRIBE
    # Who sets countries: the token that is judged, else the stream's publish tokens for its viewers, else the account.
    set_by_token = token is not None and token.sets_countries and (standing.secured or not watching)
    set_by_stream = False
    if watching:
        for caveat in standing.viewer_caveats:
            if _is_countries(caveat):
                if set_by_token:
                    continue
                set_by_stream = True
            yield _VIEWER_CAVEAT, judge(caveat, access, standing, now), caveat
    if account.countries is not None and not set_by_token and not set_by_stream:
        yield _ACCOUNT_COUNTRIES, judge(account.countries, access, standing, now), account.countries
    if watching:
        yield _SECURED if standing.secured else _OPEN
    if token is None:
        # Security: a state that is not known to be without a token counts as unknown.
        yield _NO_TOKEN.get(standing.token, _NO_TOKEN[TokenState.UNKNOWN])
        return
    yield _SHOWN
    yield _STANDS.get(standing.token, _UNKNOWN)
    stream = access.stream
    yield _SAME_ACCOUNT if token.account == stream.account else _OTHER_ACCOUNT
    grant = token.grant
    yield _ACTION if action in grant.actions else _NO_ACTION
    yield _STREAM if grant.covers(stream.name) else _NO_STREAM
    if account.longest_lifetime_seconds is not None:
        yield _lifetime(token, account.longest_lifetime_seconds, standing, now)
    for caveat in token.caveats:
        yield _TOKEN_CAVEAT, judge(caveat, access, standing, now), caveat
    if token.lineage is not None:
        yield from _above(token.above, access, standing, now)


def _above(above: tuple[VerifiedToken, ...], access: Access, standing: Standing, now: float) -> Iterator[Step]:
    """Judge by what the tokens ask that one was signed with, each by its own use."""
    used = standing.usage.above
    for place, token in enumerate(above):
        yield _PARENT_STREAM if token.grant.covers(access.stream.name) else _NO_PARENT_STREAM
        yield _PARENT_ACTION if access.action in token.grant.actions else _NO_PARENT_ACTION
        of_it = standing._replace(usage=used[place] if place < len(used) else UNUSED)
        for caveat in token.caveats:
            yield Rule.PARENT_CAVEAT, judge(caveat, access, of_it, now), caveat


def _is_countries(caveat: Caveat) -> bool:
    return isinstance(caveat.condition if isinstance(caveat, Tried) else caveat, Countries)


def _lifetime(token: VerifiedToken, longest_seconds: int, standing: Standing, now: float) -> Step:
    """Judge by how long the account lets a token live."""
    if not token.outlived and not standing.sessions_told:
        return _NOT_TOLD
    good = now < token.added_on + longest_seconds or (standing.running and token.outlived)
    return _IN_TIME if good else _OUTLIVED
