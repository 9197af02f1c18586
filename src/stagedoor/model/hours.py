"""Recurring windows of the week, by the clock on the wall of a time zone.

A window is half open. One whose end is not after its start runs over midnight and belongs to the day it starts on. Where
clocks are put forward, the hour that is skipped never comes; where they are put back, the hour that comes twice counts twice.
"""

from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Final

MINUTES_A_DAY: Final = 24 * 60
DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
"""The days of a window are their places in this list, as in `datetime.weekday`."""


@dataclass(frozen=True, slots=True)
class Window:
    """On these days, from `start` until before `end`, both in minutes after midnight (`end` up to 1440)."""

    days: tuple[int, ...]
    start: int
    end: int

    def holds(self, day: int, minute: int) -> bool:
        """Tell whether `minute` of `day` lies in the window."""
        if self.start < self.end:
            return self.start <= minute < self.end and day in self.days
        return (day in self.days and minute >= self.start) or ((day - 1) % 7 in self.days and minute < self.end)


@dataclass(frozen=True, slots=True)
class Hours:
    """Windows by the clock of `zone`, a name of the IANA time zone database."""

    zone: str
    windows: tuple[Window, ...]


def within(windows: tuple[Window, ...], zone: tzinfo, now: float) -> bool:
    """Tell whether `now` (seconds since the epoch) lies in one of the windows."""
    local = datetime.fromtimestamp(now, zone)
    day, minute = local.weekday(), local.hour * 60 + local.minute
    return any(window.holds(day, minute) for window in windows)
