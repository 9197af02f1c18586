"""The decision again, with every rule that was looked at and what it saw."""

from typing import NamedTuple

from stagedoor.model.access import Access
from stagedoor.model.decision import ALLOWING, Decision, Reason, Standing
from stagedoor.model.token import VerifiedToken
from stagedoor.model.usage import UNUSED, Usage
from stagedoor.policy.admission import ENDING, ends
from stagedoor.policy.decide import decide, tried
from stagedoor.policy.rules import Rule, examine
from stagedoor.policy.saw import saw


class Finding(NamedTuple):
    """One rule: what it looked at, what it saw, and the reason with which it ends the matter, or None to go on.

    `decisive` marks the one finding that made the decision; `tried` one that refuses and is only tried out (shadow mode).
    """

    rule: Rule
    saw: str
    reason: Reason | None
    decisive: bool
    tried: bool = False

    @property
    def refuses(self) -> bool:
        """Tell whether this rule by itself refuses."""
        return self.reason is not None and self.reason not in ALLOWING


def explain(
    token: VerifiedToken | None, access: Access, standing: Standing, now: float, *, runs: bool = False
) -> tuple[Decision, tuple[Finding, ...]]:
    """Decide as `decide` does, and go through all the rules whatever the first ones said.

    `runs`: it is asked whether a session may go on, as `ends` is; then what only stops new starts decides nothing.
    """
    if runs:
        standing = standing._replace(running=True)
    findings: list[Finding] = []
    decided = False
    uses = _uses_above(token, standing)
    for rule, reason, caveat in examine(token, access, standing, now):
        trying = reason is not None and reason not in ALLOWING and tried(reason, caveat, standing, now)
        counts = reason is not None and (not runs or reason in ENDING or reason in ALLOWING)
        decisive = counts and not decided and not trying
        decided = decided or decisive
        of_it = standing if rule is not Rule.PARENT_CAVEAT else standing._replace(usage=uses[id(caveat)])
        findings.append(Finding(rule, saw(rule, caveat, token, access, of_it, now), reason, decisive, trying))
    if runs:
        ended = ends(token, access, standing, now)
        return Decision(ended or Reason.OK, standing.revision), tuple(findings)
    return decide(token, access, standing, now), tuple(findings)


def _uses_above(token: VerifiedToken | None, standing: Standing) -> dict[int, Usage]:
    """Return what was used of the tokens that one was signed with, by the identity of each of their conditions."""
    above = () if token is None else token.above
    used = (*standing.usage.above, *(UNUSED for _ in above))
    return {id(caveat): usage for each, usage in zip(above, used, strict=False) for caveat in each.caveats}
