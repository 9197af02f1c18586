"""The decision again, with every rule that was looked at and what it saw."""

from datetime import UTC, datetime
from typing import NamedTuple

from stagedoor.model.access import Access
from stagedoor.model.caveats import Caveat, ClientAddresses, ExpiresAt, NotBefore, Unjudged
from stagedoor.model.decision import ALLOWING, Decision, Reason, Standing
from stagedoor.model.token import VerifiedToken
from stagedoor.policy.decide import decide
from stagedoor.policy.rules import Rule, examine


class Finding(NamedTuple):
    """One rule: what it looked at, what it saw, and the reason with which it ends the matter, or None to go on.

    `decisive` marks the one finding that made the decision.
    """

    rule: Rule
    saw: str
    reason: Reason | None
    decisive: bool

    @property
    def refuses(self) -> bool:
        """Tell whether this rule by itself refuses."""
        return self.reason is not None and self.reason not in ALLOWING


def explain(
    token: VerifiedToken | None, access: Access, standing: Standing, now: float
) -> tuple[Decision, tuple[Finding, ...]]:
    """Decide as `decide` does, and go through all the rules whatever the first ones said."""
    findings: list[Finding] = []
    decided = False
    for rule, reason, caveat in examine(token, access, standing, now):
        decisive = reason is not None and not decided
        decided = decided or decisive
        findings.append(Finding(rule, _saw(rule, caveat, token, access, standing, now), reason, decisive))
    return decide(token, access, standing, now), tuple(findings)


def _saw(
    rule: Rule, caveat: Caveat | None, token: VerifiedToken | None, access: Access, standing: Standing, now: float
) -> str:
    """Say in a few words what `rule` looked at. Holds no secret."""
    if caveat is not None:
        return _saw_caveat(caveat, access, now)
    match rule:
        case Rule.ACCOUNT_ENABLED:
            text = f"account {access.stream.account or '?'} is {'open' if standing.account_enabled else 'disabled'}"
        case Rule.SECURE_VIEWER:
            text = "watching needs a subscribe token" if standing.secured else "anyone may watch"
        case Rule.TOKEN_SHOWN:
            text = f"token {token.id}" if token is not None else f"token {standing.token}"
        case Rule.TOKEN_STANDS:
            text = f"token is {standing.token}"
        case Rule.SAME_ACCOUNT if token is not None:
            text = f"token of account {token.account}, stream of account {access.stream.account or '?'}"
        case Rule.ACTION_GRANTED if token is not None:
            text = f"{access.action} asked, {' and '.join(sorted(token.grant.actions)) or 'nothing'} granted"
        case Rule.STREAM_GRANTED if token is not None:
            names, patterns = len(token.grant.names), len(token.grant.patterns)
            text = f"stream {access.stream.name} against {names} exact name(s) and {patterns} pattern(s)"
        case _:
            text = ""
    return text


def _saw_caveat(caveat: Caveat, access: Access, now: float) -> str:
    match caveat:
        case NotBefore(at):
            return f"good from {_time(at)} on, asked at {_time(now)}"
        case ExpiresAt(at):
            return f"good before {_time(at)}, asked at {_time(now)}"
        case ClientAddresses(networks):
            return f"address {access.client_ip or '(none)'} against {len(networks)} allowed network(s)"
        case Unjudged(setting):
            return f"{setting} is set, and this version cannot judge it"
        case _:
            # No type that is known comes here; one that is added and forgotten is refused, and must be told of.
            return f"a condition this version cannot judge ({type(caveat).__name__})"


def _time(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    except (ValueError, OverflowError):
        return f"{seconds:.0f} s since 1970"
