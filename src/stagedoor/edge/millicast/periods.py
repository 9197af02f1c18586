"""Periods that reports are about: from a start, inclusive, to a stop, exclusive, in UTC, and their hours, days or months."""

import contextlib
import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, NamedTuple

from msgspec import Meta, Struct

from stagedoor.edge.millicast.shapes import AnyCase
from stagedoor.edge.parse import InvalidQuery
from stagedoor.model.errors import InvalidInput

MOST_BUCKETS: Final = 20_000
"""How many hours, days or months a report tells apart, over all its names."""

_INSTANT: Final = re.compile(
    r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:Z|[+-]\d\d:?\d\d)?)?", re.ASCII
)
_Date = Annotated[
    str,
    Meta(
        description="YYYY-MM-DD, or an instant (ISO 8601); in UTC where it names no zone.",
        extra_json_schema={"anyOf": [{"format": "date"}, {"format": "date-time"}]},
    ),
]


class StreamResolution(AnyCase):
    """What a report of streams is divided into."""

    HOUR = "Hour"
    DAY = "Day"


class Resolution(AnyCase):
    """What a report of the account is divided into."""

    HOUR = "Hour"
    DAY = "Day"
    MONTH = "Month"


class Between(Struct, rename="camel", kw_only=True):
    """The period of a report."""

    start_date: _Date
    stop_date: _Date


class Period(NamedTuple):
    """A period: `start` is in it, `stop` is not."""

    start: datetime
    stop: datetime

    def buckets(self, resolution: Resolution | StreamResolution, times: int = 1) -> list[str]:
        """Return the beginnings of the hours, days or months that the period touches, as instants (RFC 3339).

        `times`: how often they will stand in the answer.

        Raises: InvalidQuery for more than an answer should hold.
        """
        midnight = self.start.replace(hour=0, minute=0, second=0, microsecond=0)
        if resolution.value == Resolution.MONTH:
            return self._months(midnight.replace(day=1), times)
        by_day = resolution.value == Resolution.DAY
        first = midnight if by_day else midnight.replace(hour=self.start.hour)
        step = timedelta(days=1) if by_day else timedelta(hours=1)
        count = _few(-((first - self.stop) // step), times)
        return [written(first + number * step) for number in range(count)]

    def _months(self, first: datetime, times: int) -> list[str]:
        last = self.stop - timedelta(microseconds=1)
        count = _few((last.year - first.year) * 12 + last.month - first.month + 1, times)
        numbers = range(first.month - 1, first.month - 1 + count)
        return [written(first.replace(year=first.year + n // 12, month=n % 12 + 1)) for n in numbers]


def _few(count: int, times: int) -> int:
    if count * times > MOST_BUCKETS:
        raise InvalidQuery(
            f"stopDate: the answer would have more than {MOST_BUCKETS} buckets; ask for less", field="stopDate"
        )
    return count


def period_of(asked: Between) -> Period:
    """Read a period.

    Raises: InvalidQuery for what is no date, and for a period that ends before it begins.
    """
    try:
        start, stop = instant_of(asked.start_date, "startDate"), instant_of(asked.stop_date, "stopDate")
    except InvalidInput as error:
        raise InvalidQuery(error.message, field=error.field) from None
    if stop <= start:
        raise InvalidQuery("stopDate: it lies after startDate, and is itself not part of the period", field="stopDate")
    return Period(start, stop)


def instant_of(text: str, name: str) -> datetime:
    """Read a date, or an instant as ISO 8601; one without a zone is in UTC.

    Raises: InvalidInput, about the field `name`.
    """
    if _INSTANT.fullmatch(text):
        # ValueError: the 31st of February; OverflowError: a zone that makes it the year 10000.
        with contextlib.suppress(ValueError, OverflowError):
            instant = datetime.fromisoformat(text)
            return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
    raise InvalidInput(f"{name}: {text[:40]!r} is no date; write 2026-01-31 or 2026-01-31T12:00:00Z", field=name)


def written(instant: datetime) -> str:
    """Write an instant in UTC as RFC 3339."""
    return instant.isoformat().replace("+00:00", "Z")
