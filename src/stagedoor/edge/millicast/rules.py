"""Between our own fields of the bodies and the terms of a token: rules that the vendor's tokens do not have."""

import math
from datetime import UTC, datetime
from typing import Any, Final

from msgspec import UNSET, Struct

from stagedoor.edge.millicast import schemas
from stagedoor.model.caveats import Budgets, SessionLimit, SingleUse
from stagedoor.model.errors import InvalidInput
from stagedoor.model.hours import DAYS, Hours, Window
from stagedoor.model.instants import instant
from stagedoor.model.token import TokenTerms

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
    "session_limit": schemas.SessionLimit,
    "single_use": schemas.SingleUse,
    "budgets": schemas.Budgets,
}
_DEFAULTS: Final = TokenTerms(label="", streams=())


def rules_of(body: schemas.Rules) -> dict[str, Any]:
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
        tolerance = body.bind_tolerance or schemas.BindTolerance()
        given["bind_ipv4_bits"], given["bind_ipv6_bits"] = tolerance.ipv4_prefix, tolerance.ipv6_prefix
        given["rebinds_an_hour"] = tolerance.rebinds_per_hour
    counted = (("session_limit", SessionLimit), ("single_use", SingleUse), ("budgets", Budgets))
    for name, kind in counted:
        asked = getattr(body, name)
        if asked is not UNSET:
            fields = () if asked is None else asked.__struct_fields__
            given[name] = None if asked is None else kind(**{field: getattr(asked, field) for field in fields})
    return given


def shown_rules(terms: TokenTerms) -> dict[str, Any]:
    """Return our own rules as fields of `schemas.ShownRules`; what says nothing is left out."""
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
        shown["bind_tolerance"] = schemas.BindTolerance(
            **{field: getattr(terms, name) for name, field in _TOLERANCE.items()}
        )
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


def _hours(hours: schemas.WeekHours) -> Hours:
    windows = tuple(
        Window(tuple(dict.fromkeys(DAYS.index(day) for day in window.days)), _minute(window.from_), _minute(window.to))
        for window in hours.windows
    )
    return Hours(hours.time_zone, windows)


def _shown_hours(hours: Hours) -> schemas.WeekHours:
    return schemas.WeekHours(hours.zone, [_shown_window(window) for window in hours.windows])


def _shown_window(window: Window) -> schemas.HoursWindow:
    days: list[Any] = [DAYS[day] for day in window.days]
    return schemas.HoursWindow(days=days, from_=_clock(window.start), to=_clock(window.end))


def _minute(text: str) -> int:
    hour, _, minute = text.partition(":")
    return int(hour) * 60 + int(minute)


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"
