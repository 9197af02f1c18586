"""Judging: `decide` and `explain`, two readings of the same list of rules; `admit`, what an admission changes. Pure."""

from stagedoor.policy.admission import admit, ends
from stagedoor.policy.decide import decide, decide_internal, internally
from stagedoor.policy.explain import Finding, explain

__all__ = ["Finding", "admit", "decide", "decide_internal", "ends", "explain", "internally"]
