"""Judging: `decide` and `explain`, two readings of the same list of rules; `admit`, what an admission changes. Pure."""

from stagedoor.policy.admission import admit, ends
from stagedoor.policy.decide import decide
from stagedoor.policy.explain import Finding, explain

__all__ = ["Finding", "admit", "decide", "ends", "explain"]
