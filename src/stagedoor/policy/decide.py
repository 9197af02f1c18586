"""The decision."""

from typing import Final

from stagedoor.model.access import Access
from stagedoor.model.decision import Decision, Reason, Standing
from stagedoor.model.token import VerifiedToken
from stagedoor.policy.rules import examine

_OK: Final = Reason.OK


def decide(token: VerifiedToken | None, access: Access, standing: Standing, now: float) -> Decision:
    """Judge `access` by what `token` grants and by how things stand at `now` (seconds since the epoch)."""
    for _rule, reason, _caveat in examine(token, access, standing, now):
        if reason is not None:
            return Decision(reason, standing.revision)
    return Decision(_OK, standing.revision)
