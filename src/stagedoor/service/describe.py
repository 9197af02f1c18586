"""Say in a sentence what a token is good for: who may do what, from where, until when."""

from datetime import UTC, datetime

from stagedoor.model.access import Action
from stagedoor.model.account import AccountPolicy
from stagedoor.model.caveats import Budgets, Over, Per, SessionLimit
from stagedoor.model.hours import DAYS, Hours, Window
from stagedoor.model.token import ACTION_OF, TokenKind, TokenRecord, TokenState, TokenTerms
from stagedoor.service.terms import EffectiveSettings, effective_settings

_MOST_LISTED = 5
_VERBS = {Action.PUBLISH: "publish", Action.SUBSCRIBE: "watch"}


def describe(record: TokenRecord, policy: AccountPolicy, now: float) -> str:
    """Return plain sentences about the token `record` in an account that sets `policy`, at `now`. Holds no secret."""
    terms = record.terms
    effective = effective_settings(record, policy)
    publishing = record.kind is TokenKind.PUBLISH
    actions = terms.actions or (ACTION_OF[record.kind],)
    whose = "a token signed with this key" if record.kind is TokenKind.ISSUER else "this token"
    who = f"Whoever has {whose}, given to {terms.subject}," if terms.subject else f"Whoever has {whose}"
    may = " and ".join(_VERBS[action] for action in actions)
    does = f"{who} may {may} {_streams(terms)} of account {record.account}"
    limits_itself = not _sets_countries(terms) or any(action in terms.geo_applies_to for action in actions)
    countries = _countries(effective) if limits_itself else []
    parts = [does, *_where(terms), *countries, *_when(terms, effective)]
    sentences = [", ".join(parts) + "."]
    sentences += _state(record, policy, effective, now)
    sentences += _counts(terms)
    if record.parent is not None:
        sentences.append(f"It was signed with token {record.parent}, and what that one asks is asked too.")
    if terms.longest_seconds is not None:
        sentences.append(f"Such a token is good for {terms.longest_seconds} seconds at most.")
    if publishing:
        sentences.append(_watching(terms))
        if Action.SUBSCRIBE in terms.geo_applies_to:
            sentences += [f"Its viewers: {said}." for said in _countries(effective) if _sets_countries(terms)]
    return " ".join(sentences)


def _watching(terms: TokenTerms) -> str:
    if terms.not_understood:
        return "Nobody may watch."
    return "Watching needs a subscribe token." if terms.publishing.subscribe_requires_auth else "Anyone may watch."


def _state(record: TokenRecord, policy: AccountPolicy, effective: EffectiveSettings, now: float) -> list[str]:
    said: list[str] = []
    if record.state is not TokenState.ACTIVE:
        said.append(f"It is {record.state} and lets nobody in.")
    elif record.terms.not_understood:
        said.append(f"It sets {_unknown(record.terms.not_understood)}, so it lets nobody in.")
    elif policy.not_understood:
        said.append(f"Its account sets {_unknown(policy.not_understood)}, so it lets nobody in.")
    elif not policy.enabled:
        said.append("Its account is closed, so it lets nobody in.")
    elif effective.expires_at is not None and effective.expires_at <= now:
        said.append("It has expired and starts nothing new.")
    until = max(record.terms.shadow_until or 0, policy.shadow_until)
    if now < until:
        said.append(f"SHADOW MODE: until {_instant(until)} its conditions are tried out and refuse nothing.")
    return said


def _unknown(names: tuple[str, ...]) -> str:
    return f"{_list(names, 'and')}, which this version does not know"


def _streams(terms: TokenTerms) -> str:
    if any(pattern.is_regex and pattern.text in (".*", ".+") for pattern in terms.streams):
        return "any stream"
    names = [pattern.text for pattern in terms.streams if not pattern.is_regex]
    patterns = [pattern.text for pattern in terms.streams if pattern.is_regex]
    said = [f"the stream{'s' if len(names) > 1 else ''} {_list(names, 'and')}"] if names else []
    if terms.groups:
        said.append(f"the streams of the group{'s' if len(terms.groups) > 1 else ''} {_list(terms.groups, 'and')}")
    said += [f"streams whose whole name matches {_list(patterns, 'or')}"] if patterns else []
    return " and ".join(said)


def _sets_countries(terms: TokenTerms) -> bool:
    return bool(terms.allowed_countries or terms.denied_countries)


def _countries(effective: EffectiveSettings) -> list[str]:
    said: list[str] = []
    if effective.allowed_countries:
        said.append(f"in {_list(effective.allowed_countries, 'or')} only")
    if effective.denied_countries:
        said.append(f"not in {_list(effective.denied_countries, 'or')}")
    return said


def _where(terms: TokenTerms) -> list[str]:
    said: list[str] = []
    if terms.allowed_protocols:
        said.append(f"over {_list(terms.allowed_protocols, 'or')}")
    if terms.allowed_addresses:
        said.append(f"from {_list(terms.allowed_addresses, 'or')}")
    if terms.bind_ips_on_usage:
        said.append(_binding(terms, terms.bind_ips_on_usage))
    if terms.allowed_origins:
        encoders = " or encoders that have no page" if terms.allow_without_origin else ""
        said.append(f"on pages of {_list(terms.allowed_origins, 'or')}{encoders}")
    if terms.allowed_user_agents:
        said.append(f"with programs that call themselves {_list(terms.allowed_user_agents, 'or')}")
    if terms.allowed_referrers:
        said.append(f"from pages at {_list(terms.allowed_referrers, 'or')}")
    return said


def _binding(terms: TokenTerms, most: int) -> str:
    exact = (terms.bind_ipv4_bits, terms.bind_ipv6_bits) == (32, 128)
    what = "address" if exact else f"network (/{terms.bind_ipv4_bits}, IPv6 /{terms.bind_ipv6_bits})"
    plural = "es" if exact else "s"
    bound = f"from the first {what} that uses it" if most == 1 else f"from the first {most} {what}{plural} that use it"
    moves = f", which may change {terms.rebinds_an_hour} time(s) an hour" if terms.rebinds_an_hour else ""
    return bound + moves


def _when(terms: TokenTerms, effective: EffectiveSettings) -> list[str]:
    said: list[str] = []
    if terms.hours is not None:
        said.append(_hours(terms.hours))
    if terms.not_before is not None:
        said.append(f"from {_instant(terms.not_before)} on")
    if effective.expires_at is not None:
        said.append(f"until {_instant(effective.expires_at)}")
        said.append("when its sessions end" if terms.end_sessions_at_expiry else "and what runs then goes on")
    else:
        said.append("without an end")
    return said


def _hours(hours: Hours) -> str:
    return f"on {_list([_window(window) for window in hours.windows], 'and')} ({hours.zone})"


def _window(window: Window) -> str:
    days = ", ".join(DAYS[day].capitalize() for day in sorted(window.days))
    return f"{days} {_clock(window.start)}-{_clock(window.end)}"


def _counts(terms: TokenTerms) -> list[str]:
    said: list[str] = []
    if terms.single_use is not None:
        grace = terms.single_use.grace_seconds
        reload = f"; the same address may come back within {grace} s" if grace else ""
        said.append(f"It is good for one session{reload}.")
    if terms.session_limit is not None:
        said.append(_limit(terms.session_limit))
    if terms.budgets is not None:
        said.append(f"It may be used for {_list(_budgets(terms.budgets), 'and')}.")
    return said


def _limit(limit: SessionLimit) -> str:
    whose = "with it" if limit.per is Per.TOKEN else "of that subject with any token"
    then = {
        Over.REFUSE: "one more is refused",
        Over.END_OLDEST: "one more ends the oldest",
        Over.GRACE: f"one more ends the oldest after {limit.grace_seconds} s",
    }
    return f"At most {limit.most} session(s) at a time {whose}; {then[limit.over]}."


def _budgets(budgets: Budgets) -> list[str]:
    named = (
        (budgets.session_seconds, "{} s in one session"),
        (budgets.watch_seconds, "{} s in all"),
        (budgets.bytes, "{} bytes in all"),
        (budgets.starts, "{} start(s)"),
    )
    return [text.format(most) for most, text in named if most is not None]


def _list(items: list[str] | tuple[str, ...], word: str) -> str:
    shown = [str(item) for item in items[:_MOST_LISTED]]
    if len(items) > _MOST_LISTED:
        return f"{', '.join(shown)} and {len(items) - _MOST_LISTED} more"
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} {word} {shown[-1]}"


def _instant(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"
