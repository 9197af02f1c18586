"""Judging: `decide` and `explain`, two readings of the same list of rules. Pure and synchronous."""

from stagedoor.policy.decide import decide
from stagedoor.policy.explain import Finding, explain

__all__ = ["Finding", "decide", "explain"]
