"""The decision."""

from typing import Final

from stagedoor.model.access import Access
from stagedoor.model.decision import Decision, Reason, Standing
from stagedoor.model.token import VerifiedToken
from stagedoor.policy.rules import examine

# See model.ids: the quicker way to make a named tuple.
_new: Final = tuple.__new__
_OK: Final = Reason.OK


def decide(token: VerifiedToken | None, access: Access, standing: Standing, now: float) -> Decision:
    """Judge `access` by what `token` grants and by how things stand at `now` (seconds since the epoch)."""
    for _rule, reason, _caveat in examine(token, access, standing, now):
        if reason is not None:
            return _new(Decision, (reason, standing.revision))
    return _new(Decision, (_OK, standing.revision))
