"""What the terms of a token may be: refuse those that cannot be right, before they are kept."""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from importlib.resources import files
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from stagedoor.model.access import Action
from stagedoor.model.account import AccountPolicy, GeoCascade, MediaExpiration
from stagedoor.model.addresses import parse_network
from stagedoor.model.caveats import Over, Per
from stagedoor.model.cluster import EVERY
from stagedoor.model.errors import InvalidInput
from stagedoor.model.grant import StreamPattern
from stagedoor.model.hours import DAYS, MINUTES_A_DAY, Hours
from stagedoor.model.origins import parse_origin_pattern
from stagedoor.model.token import ACTION_OF, TokenKind, TokenRecord, TokenTerms
from stagedoor.tokens.patterns import check_pattern, compile_wildcard

MAX_LABEL: Final = 128
"""Longest label and subject, in characters."""

MAX_CLUSTER: Final = 64
"""Longest id of a cluster, in characters."""

MAX_LIST: Final = 1000
"""Longest list of streams, addresses or origins."""

MAX_PATTERNS: Final = 50
"""Longest list of regular expressions or wildcards: each is tried at each decision."""

LATEST: Final = 253_402_300_799
"""The last second that a date can name (9999-12-31T23:59:59Z), in seconds since the epoch."""

MAX_BOUND: Final = 2**32 - 1
"""How many addresses a token can be bound to."""

MOST_SHADOW_SECONDS: Final = 90 * 86400
"""How long shadow mode may be set for: it is a trial."""

MOST_MEDIA_DAYS: Final = 365
"""How long recordings can be kept for, in days, where it is limited at all."""

_WATCHES: Final = frozenset({TokenKind.SUBSCRIBE, TokenKind.PLAYBACK})

_LARGEST: Final = 2**53
"""Numbers up to here are the same in every JSON reader."""

_LONGEST_ZONE: Final = 64
_KOSOVO: Final = "XK"
"""In no edition of the standard, and in every country file."""


class EffectiveSettings(NamedTuple):
    """What applies to a token: its own setting, else the account's. `expires_at` is in seconds since the epoch.

    What follows it is of publish tokens only, and None where nobody sets it.
    """

    origin_cluster: str
    allowed_countries: tuple[str, ...]
    denied_countries: tuple[str, ...]
    expires_at: int | None
    geo_cascade: GeoCascade | None = None
    enable_utc_insertion: bool | None = None


def effective_settings(record: TokenRecord, policy: AccountPolicy) -> EffectiveSettings:
    """Return what applies to the token `record` in an account that sets `policy`."""
    terms = record.terms
    lists = terms.allowed_countries, terms.denied_countries
    about = ACTION_OF[record.kind]
    if not any(lists) and policy.countries is not None and about in policy.countries.applies_to:
        lists = policy.countries.allowed, policy.countries.denied
    expiries = [at for at in (terms.expires_at, latest_expiry(policy, record.added_on)) if at is not None]
    publishes = record.kind is TokenKind.PUBLISH
    return EffectiveSettings(
        terms.origin_cluster or policy.origin_cluster or "auto",
        *lists,
        min(expiries, default=None),
        _cascade(terms.publishing.geo_cascade) or policy.geo_cascade if publishes else None,
        terms.publishing.enable_utc_insertion if publishes else None,
    )


def _cascade(own: Mapping[str, object] | None) -> GeoCascade | None:
    """Return the cascade that a token sets itself; one that is neither on nor off leaves it to the account."""
    enabled = None if own is None else own.get("isEnabled")
    if own is None or enabled is None:
        return None
    clusters = own.get("clusters")
    return GeoCascade(enabled is True, tuple(map(str, clusters)) if isinstance(clusters, list | tuple) else (EVERY,))


def latest_expiry(policy: AccountPolicy, added_on: int) -> int | None:
    """Return when the account ends a token that was added at `added_on`; None when it does not."""
    return None if policy.longest_lifetime_seconds is None else added_on + policy.longest_lifetime_seconds


def check_terms(terms: TokenTerms, kind: TokenKind) -> None:
    """Refuse terms that cannot be right.

    Raises: InvalidInput, naming the field at fault.
    """
    if terms.not_understood:
        names = ", ".join(terms.not_understood)
        raise InvalidInput(f"a newer version set {names}, which this one would lose; upgrade stagedoor", field="token")
    _check_names(terms)
    _check_streams(terms)
    _check_window(terms)
    if terms.hours is not None:
        check_hours(terms.hours)
    _check_each(terms.allowed_addresses, "allowedIpAddresses", parse_network)
    _check_each(terms.allowed_origins, "allowedOrigins", parse_origin_pattern)
    _check_each(terms.allowed_user_agents, "allowedUserAgents", compile_wildcard)
    _check_each(terms.allowed_referrers, "allowedReferrers", compile_wildcard)
    _check_binding(terms)
    check_countries(terms.allowed_countries, terms.denied_countries)
    _check_geo(terms, kind)
    _check_counts(terms)
    if terms.publishing.record and terms.publishing.clip:
        raise InvalidInput("set record or clip, not both", field="clip")


def _check_names(terms: TokenTerms) -> None:
    if not 1 <= len(terms.label) <= MAX_LABEL:
        raise InvalidInput(f"label has 1 to {MAX_LABEL} characters", field="label")
    for name, text in (("subject", terms.subject), ("trackingId", terms.tracking_id or "")):
        if len(text) > MAX_LABEL:
            raise InvalidInput(f"{name} has at most {MAX_LABEL} characters", field=name)
    if len(terms.origin_cluster) > MAX_CLUSTER:
        raise InvalidInput(f"originCluster has at most {MAX_CLUSTER} characters", field="originCluster")
    for name, text in (("label", terms.label), ("subject", terms.subject), ("originCluster", terms.origin_cluster)):
        if "\0" in text:
            raise InvalidInput(f"{name} holds a NUL character, which no database keeps", field=name)


def _check_streams(terms: TokenTerms) -> None:
    streams: Sequence[StreamPattern] = terms.streams
    if not streams and not terms.groups:
        raise InvalidInput("name at least one stream", field="streams")
    if len(streams) > MAX_LIST or sum(pattern.is_regex for pattern in streams) > MAX_PATTERNS:
        raise InvalidInput(
            f"name at most {MAX_LIST} streams, {MAX_PATTERNS} of them by regular expressions; (one|two) is one",
            field="streams",
        )
    for pattern in streams:
        check_pattern(pattern)


def check_lifetime(terms: TokenTerms, policy: AccountPolicy, added_on: int) -> None:
    """Refuse an expiry that the account does not allow. A token without one ends by the account's rule, and is not refused.

    Raises: InvalidInput.
    """
    latest = latest_expiry(policy, added_on)
    if latest is not None and terms.expires_at is not None and terms.expires_at > latest:
        raise InvalidInput(
            f"the account's tokens are good for {policy.longest_lifetime_seconds} seconds at most, counted from when they are"
            " made",
            field="expires",
        )


def check_shadow(until: int | None, now: int) -> None:
    """Refuse a shadow mode that would not soon end by itself.

    Raises: InvalidInput.
    """
    if until is not None and until > now + MOST_SHADOW_SECONDS:
        raise InvalidInput(
            f"shadow mode is a trial: at most {MOST_SHADOW_SECONDS // 86400} days from now", field="shadowUntil"
        )


def check_countries(allowed: Sequence[str], denied: Sequence[str]) -> None:
    """Refuse lists of countries that cannot be right.

    Raises: InvalidInput.
    """
    for name, countries in (("allowedCountries", allowed), ("deniedCountries", denied)):
        for country in countries:
            # Security: a code that is nobody's would deny nobody. (GB is what people write as UK.)
            if country not in _codes():
                raise InvalidInput(f"{country[:20]!r} is not an ISO 3166-1 alpha-2 code such as PL or GB", field=name)
    if allowed and denied:
        raise InvalidInput("set allowedCountries or deniedCountries, not both", field="deniedCountries")


def check_cascade(cascade: GeoCascade) -> None:
    """Refuse a cascade to nowhere.

    Raises: InvalidInput.
    """
    if cascade.enabled and not cascade.clusters:
        raise InvalidInput("Geo cascade Clusters list cannot be empty", field="clusters")
    if len(cascade.clusters) > MAX_LIST:
        raise InvalidInput(f"clusters has at most {MAX_LIST} entries", field="clusters")


def check_expiration(expiration: MediaExpiration) -> None:
    """Refuse an expiry of recordings that cannot be right.

    Raises: InvalidInput.
    """
    for name in ("timelines", "recordings", "clips"):
        days = getattr(expiration, name)
        if days is not None:
            _in_range(days, 1, f"{name}.days", MOST_MEDIA_DAYS)


@lru_cache(maxsize=1)
def _codes() -> frozenset[str]:
    """Return the codes of all countries, as the time zone database lists them."""
    lines = files("tzdata").joinpath("zoneinfo/iso3166.tab").read_text("utf-8").splitlines()
    return frozenset(line[:2] for line in lines if not line.startswith("#")) | {_KOSOVO}


def check_hours(hours: Hours) -> None:
    """Refuse windows that cannot be right.

    Raises: InvalidInput.
    """
    if not _is_zone(hours.zone):
        raise InvalidInput(
            f"{hours.zone[:64]!r} is no time zone; write one such as Europe/Warsaw or UTC", field="hours"
        )
    if not hours.windows:
        raise InvalidInput("name at least one window", field="hours")
    for window in hours.windows:
        if not window.days or not all(0 <= day < len(DAYS) for day in window.days):
            raise InvalidInput(f"name the days of a window: {', '.join(DAYS)}", field="hours")
        if not (0 <= window.start < MINUTES_A_DAY and 0 < window.end <= MINUTES_A_DAY) or window.start == window.end:
            raise InvalidInput("a window goes from 00:00 to at most 24:00, and is not empty", field="hours")


def _is_zone(name: str) -> bool:
    try:
        return len(name) <= _LONGEST_ZONE and ZoneInfo(name) is not None
    except (OSError, ValueError, LookupError):
        return False


def _check_each(texts: Sequence[str], name: str, parse: Callable[[str], object]) -> None:
    most = MAX_PATTERNS if parse is compile_wildcard else MAX_LIST
    if len(texts) > most:
        raise InvalidInput(f"{name} has at most {most} entries", field=name)
    for text in texts:
        try:
            parse(text)
        except InvalidInput as error:
            raise InvalidInput(error.message, field=name) from None


def _check_window(terms: TokenTerms) -> None:
    instants = (("notBefore", terms.not_before), ("expires", terms.expires_at), ("shadowUntil", terms.shadow_until))
    for name, instant in instants:
        if instant is not None and not 0 <= instant <= LATEST:
            raise InvalidInput(f"{name} lies outside the years 1970 to 9999", field=name)
    if terms.not_before is not None and terms.expires_at is not None and terms.not_before >= terms.expires_at:
        raise InvalidInput(
            "notBefore lies at or after the expiry, so the token would never be valid", field="notBefore"
        )


def _check_binding(terms: TokenTerms) -> None:
    if terms.allowed_addresses and terms.bind_ips_on_usage:
        raise InvalidInput("set allowedIpAddresses or bindIpsOnUsage, not both", field="bindIpsOnUsage")
    if terms.bind_ips_on_usage is not None:
        _in_range(terms.bind_ips_on_usage, 1, "bindIpsOnUsage", MAX_BOUND)
    if not 8 <= terms.bind_ipv4_bits <= 32 or not 16 <= terms.bind_ipv6_bits <= 128:
        raise InvalidInput("bind to 8 to 32 bits of IPv4 and 16 to 128 bits of IPv6", field="bindTolerance")
    _in_range(terms.rebinds_an_hour, 0, "bindTolerance.rebindsPerHour", 1000)


def _check_geo(terms: TokenTerms, kind: TokenKind) -> None:
    if not terms.geo_applies_to:
        raise InvalidInput("name publish, subscribe or both; to lift the lists, clear them", field="geoAppliesTo")
    if kind in _WATCHES and Action.SUBSCRIBE not in terms.geo_applies_to:
        raise InvalidInput("a subscribe token's countries are about watching", field="geoAppliesTo")


def _check_counts(terms: TokenTerms) -> None:
    limit, single_use, budgets = terms.session_limit, terms.single_use, terms.budgets
    if limit is not None:
        _in_range(limit.most, 1, "sessionLimit.most")
        _in_range(limit.grace_seconds, 0, "sessionLimit.graceSeconds", 3600)
        if limit.per is Per.SUBJECT and not terms.subject:
            raise InvalidInput("a limit for each subject needs the token's subject", field="subject")
        if (limit.over is Over.GRACE) != (limit.grace_seconds > 0):
            raise InvalidInput("graceSeconds goes with over: grace, and with nothing else", field="sessionLimit")
    if single_use is not None:
        _in_range(single_use.grace_seconds, 0, "singleUse.graceSeconds", 3600)
    if budgets is not None:
        numbers = (budgets.session_seconds, budgets.watch_seconds, budgets.bytes, budgets.starts)
        if all(number is None for number in numbers):
            raise InvalidInput("name at least one budget", field="budgets")
        for number in numbers:
            if number is not None:
                _in_range(number, 1, "budgets")


def _in_range(number: int, least: int, name: str, most: int = _LARGEST) -> None:
    if not least <= number <= most:
        raise InvalidInput(f"{name} goes from {least} to {most}", field=name.partition(".")[0])
