"""Our own rules as they are written in JSON, in the bodies of the API and in signed tokens alike, and what they are in terms."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field

from stagedoor.model import caveats
from stagedoor.model.access import Action, Protocol
from stagedoor.model.caveats import Over, Per
from stagedoor.model.errors import InvalidInput
from stagedoor.model.hours import DAYS, Hours, Window
from stagedoor.model.instants import instant
from stagedoor.model.token import TokenTerms

# The length keeps a line's end out, which Python's `$` would let pass; `\Z` is no word of JSON Schema's expressions.
_TimeOfDay = Annotated[str, Meta(pattern="^(?:(?:[01][0-9]|2[0-3]):[0-5][0-9]|24:00)$", min_length=5, max_length=5)]
Instant = Annotated[datetime, Meta(extra_json_schema={"format": "date-time"})]


class HoursWindow(Struct, rename="camel"):
    """Days of the week, and from when until when; `to` before `from` is over midnight."""

    days: list[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]]
    from_: _TimeOfDay = field(name="from")
    to: _TimeOfDay


class WeekHours(Struct, rename="camel"):
    """Recurring windows by the clock of a time zone."""

    time_zone: str
    windows: Annotated[list[HoursWindow], Meta(min_length=1, max_length=50)]


class BindTolerance(Struct, rename="camel", kw_only=True):
    """How exactly `bindIpsOnUsage` binds: to so many bits of an address, and how often an hour it may move."""

    ipv4_prefix: int = 32
    ipv6_prefix: int = 128
    rebinds_per_hour: int = 0


class SessionLimit(Struct, rename="camel", kw_only=True):
    """How many sessions at a time, whose, and what becomes of one too many."""

    most: int
    per: Per = Per.TOKEN
    over: Over = Over.REFUSE
    grace_seconds: int = 0


class SingleUse(Struct, rename="camel", kw_only=True):
    """One session, and for how long after it a reload counts as the same."""

    grace_seconds: int = 0


class Budgets(Struct, rename="camel", kw_only=True, omit_defaults=True):
    """What may be used in all."""

    session_seconds: int | None = None
    watch_seconds: int | None = None
    bytes: int | None = None
    starts: int | None = None


class Rules(Struct, rename="camel", kw_only=True):
    """Our own rules for tokens of both kinds, at creation and in updates."""

    not_before: Instant | None = None
    hours: WeekHours | UnsetType | None = UNSET
    end_sessions_at_expiry: bool | None = None
    bind_tolerance: BindTolerance | UnsetType | None = UNSET
    allow_without_origin: bool | None = None
    geo_applies_to: list[Action] | None = None
    allowed_protocols: list[Protocol] | None = None
    allowed_user_agents: list[str] | None = None
    allowed_referrers: list[str] | None = None
    subject: str | None = None
    session_limit: SessionLimit | UnsetType | None = UNSET
    single_use: SingleUse | UnsetType | None = UNSET
    budgets: Budgets | UnsetType | None = UNSET
    shadow_until: Instant | UnsetType | None = UNSET


class ShownRules(Struct, rename="camel", kw_only=True):
    """Our own rules as a token shows them; what says nothing is left out."""

    not_before: str | UnsetType = UNSET
    hours: WeekHours | UnsetType = UNSET
    end_sessions_at_expiry: bool | UnsetType = UNSET
    bind_tolerance: BindTolerance | UnsetType = UNSET
    allow_without_origin: bool | UnsetType = UNSET
    geo_applies_to: Sequence[Action] | UnsetType = UNSET
    allowed_protocols: Sequence[Protocol] | UnsetType = UNSET
    allowed_user_agents: Sequence[str] | UnsetType = UNSET
    allowed_referrers: Sequence[str] | UnsetType = UNSET
    subject: str | UnsetType = UNSET
    session_limit: SessionLimit | UnsetType = UNSET
    single_use: SingleUse | UnsetType = UNSET
    budgets: Budgets | UnsetType = UNSET
    shadow_until: str | UnsetType = UNSET


_PLAIN: Final = ("end_sessions_at_expiry", "allow_without_origin", "subject")
_LISTS: Final = ("geo_applies_to", "allowed_protocols", "allowed_user_agents", "allowed_referrers")
CLEARABLE: Final = ("hours", "bind_tolerance", "session_limit", "single_use", "budgets", "shadow_until")
"""Fields that null clears."""

_TOLERANCE: Final = {
    "bind_ipv4_bits": "ipv4_prefix",
    "bind_ipv6_bits": "ipv6_prefix",
    "rebinds_an_hour": "rebinds_per_hour",
}
_COUNTED: Final[dict[str, type[Struct]]] = {
    "session_limit": SessionLimit,
    "single_use": SingleUse,
    "budgets": Budgets,
}
_DEFAULTS: Final = TokenTerms(label="", streams=())


def rules_of(body: Rules) -> dict[str, Any]:
    """Return what `body` says about our own rules, as fields of `TokenTerms`.

    Raises: InvalidInput for an instant that no clock has.
    """
    given: dict[str, Any] = {name: getattr(body, name) for name in _PLAIN if getattr(body, name) is not None}
    given |= {name: tuple(dict.fromkeys(getattr(body, name))) for name in _LISTS if getattr(body, name) is not None}
    if body.not_before is not None:
        given["not_before"] = seconds(body.not_before, "notBefore")
    if body.shadow_until is not UNSET:
        given["shadow_until"] = seconds(body.shadow_until, "shadowUntil")
    if body.hours is not UNSET:
        given["hours"] = None if body.hours is None else _hours(body.hours)
    if body.bind_tolerance is not UNSET:
        tolerance = body.bind_tolerance or BindTolerance()
        given["bind_ipv4_bits"], given["bind_ipv6_bits"] = tolerance.ipv4_prefix, tolerance.ipv6_prefix
        given["rebinds_an_hour"] = tolerance.rebinds_per_hour
    counted = (("session_limit", caveats.SessionLimit), ("single_use", caveats.SingleUse), ("budgets", caveats.Budgets))
    for name, kind in counted:
        asked = getattr(body, name)
        if asked is not UNSET:
            fields = () if asked is None else asked.__struct_fields__
            given[name] = None if asked is None else kind(**{field: getattr(asked, field) for field in fields})
    return given


def shown_rules(terms: TokenTerms) -> dict[str, Any]:
    """Return our own rules as fields of `ShownRules`; what says nothing is left out."""
    shown: dict[str, Any] = {
        name: getattr(terms, name) for name in (*_PLAIN, *_LISTS) if getattr(terms, name) != getattr(_DEFAULTS, name)
    }
    for name in ("not_before", "shadow_until"):
        at = getattr(terms, name)
        if at is not None:
            shown[name] = instant(at)
    if terms.hours is not None:
        shown["hours"] = _shown_hours(terms.hours)
    if any(getattr(terms, name) != getattr(_DEFAULTS, name) for name in _TOLERANCE):
        shown["bind_tolerance"] = BindTolerance(**{field: getattr(terms, name) for name, field in _TOLERANCE.items()})
    for name, kind in _COUNTED.items():
        value = getattr(terms, name)
        if value is not None:
            shown[name] = kind(**{field: getattr(value, field) for field in kind.__struct_fields__})
    return shown


def seconds(when: datetime | None, name: str) -> int | None:
    """Return an instant as whole seconds since the epoch, rounded up; one without a zone is in UTC.

    Raises: InvalidInput, about the field `name`, for an instant that no clock has.
    """
    if when is None:
        return None
    try:
        return math.ceil((when if when.tzinfo is not None else when.replace(tzinfo=UTC)).timestamp())
    except (OverflowError, ValueError):
        raise InvalidInput(f"{name} lies outside the years 1970 to 9999", field=name) from None


def _hours(hours: WeekHours) -> Hours:
    windows = tuple(
        Window(tuple(dict.fromkeys(DAYS.index(day) for day in window.days)), _minute(window.from_), _minute(window.to))
        for window in hours.windows
    )
    return Hours(hours.time_zone, windows)


def _shown_hours(hours: Hours) -> WeekHours:
    return WeekHours(hours.zone, [_shown_window(window) for window in hours.windows])


def _shown_window(window: Window) -> HoursWindow:
    days: list[Any] = [DAYS[day] for day in window.days]
    return HoursWindow(days=days, from_=_clock(window.start), to=_clock(window.end))


def _minute(text: str) -> int:
    hour, _, minute = text.partition(":")
    return int(hour) * 60 + int(minute)


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"
