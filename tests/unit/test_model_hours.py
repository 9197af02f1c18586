"""Recurring windows of the week."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from stagedoor.model.hours import DAYS, MINUTES_A_DAY, Window, within

WARSAW, NEW_YORK = ZoneInfo("Europe/Warsaw"), ZoneInfo("America/New_York")
MON, TUE, WED, SUN = 0, 1, 2, 6
EVERY_DAY = tuple(range(7))


def _at(text: str) -> float:
    """Return an instant that is written in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def _minutes(clock: str) -> int:
    hour, minute = clock.split(":")
    return int(hour) * 60 + int(minute)


def _window(start: str, end: str, *days: int) -> Window:
    return Window(days or EVERY_DAY, _minutes(start), _minutes(end))


def test_days_are_numbered_as_the_calendar_does() -> None:
    """Monday is the first; 2026-01-05 was one."""
    assert [datetime(2026, 1, 5 + day, tzinfo=UTC).strftime("%a").lower() for day in range(7)] == list(DAYS)


@pytest.mark.parametrize(
    ("instant", "held"),
    [
        ("2026-01-05T08:59:59", False),
        ("2026-01-05T08:59:59.999", False),
        ("2026-01-05T09:00:00", True),
        ("2026-01-05T09:00:01", True),
        ("2026-01-05T16:59:59", True),
        ("2026-01-05T16:59:59.999", True),
        ("2026-01-05T17:00:00", False),
        ("2026-01-05T17:00:01", False),
    ],
)
def test_a_window_is_half_open(instant: str, held: bool) -> None:
    """-1, 0, +1 seconds around its beginning and its end, and just before them."""
    assert within((_window("09:00", "17:00"),), UTC, _at(instant)) is held


@pytest.mark.parametrize(
    ("instant", "held"),
    [
        ("2026-01-04T12:00", False),
        ("2026-01-05T12:00", True),
        ("2026-01-06T12:00", False),
        ("2026-01-07T12:00", True),
        ("2026-01-12T12:00", True),
    ],
)
def test_a_window_is_of_its_days(instant: str, held: bool) -> None:
    """Of each week."""
    assert within((_window("09:00", "17:00", MON, WED),), UTC, _at(instant)) is held


@pytest.mark.parametrize(
    ("instant", "held"),
    [
        ("2026-01-05T21:59:59", False),
        ("2026-01-05T22:00:00", True),
        ("2026-01-05T23:59:59", True),
        ("2026-01-06T00:00:00", True),
        ("2026-01-06T00:00:01", True),
        ("2026-01-06T05:59:59", True),
        ("2026-01-06T06:00:00", False),
        ("2026-01-06T06:00:01", False),
        ("2026-01-06T22:00:00", False),
        ("2026-01-05T00:00:00", False),
        ("2026-01-05T05:59:59", False),
    ],
)
def test_a_window_over_midnight_is_of_the_day_it_starts_on(instant: str, held: bool) -> None:
    """Monday night goes on into Tuesday; the small hours of Monday are Sunday's."""
    assert within((_window("22:00", "06:00", MON),), UTC, _at(instant)) is held


@pytest.mark.parametrize(("instant", "held"), [("2026-01-11T23:30", True), ("2026-01-12T00:30", True)])
def test_a_window_over_midnight_goes_on_from_sunday_to_monday(instant: str, held: bool) -> None:
    """The week is a ring."""
    assert within((_window("22:00", "06:00", SUN),), UTC, _at(instant)) is held


@pytest.mark.parametrize(
    ("instant", "held"),
    [
        ("2026-01-04T23:59:59", False),
        ("2026-01-05T00:00:00", True),
        ("2026-01-05T23:59:59", True),
        ("2026-01-06T00:00:00", False),
    ],
)
def test_a_whole_day_goes_from_midnight_to_midnight(instant: str, held: bool) -> None:
    """24:00 is the end of the day, not the beginning of the next."""
    assert within((Window((MON,), 0, MINUTES_A_DAY),), UTC, _at(instant)) is held


@pytest.mark.parametrize(
    ("instant", "held"),
    [("2026-01-05T17:59:59", False), ("2026-01-05T18:00:00", True), ("2026-01-06T00:00:00", False)],
)
def test_a_window_until_midnight_ends_with_its_day(instant: str, held: bool) -> None:
    """18:00 to 24:00."""
    assert within((Window((MON,), 18 * 60, MINUTES_A_DAY),), UTC, _at(instant)) is held


def test_one_window_of_several_is_enough() -> None:
    """And none is never."""
    windows = (_window("09:00", "10:00", MON), _window("20:00", "21:00", TUE))
    assert within(windows, UTC, _at("2026-01-05T09:30"))
    assert within(windows, UTC, _at("2026-01-06T20:30"))
    assert not within(windows, UTC, _at("2026-01-06T09:30"))
    assert not within((), UTC, _at("2026-01-05T09:30"))


def test_a_window_without_days_is_never() -> None:
    """Over midnight neither."""
    for window in (Window((), 0, MINUTES_A_DAY), Window((), 60, 60)):
        assert not any(within((window,), UTC, _at(f"2026-01-{day:02}T01:30")) for day in range(5, 12))


@pytest.mark.parametrize(
    ("zone", "instant", "held"),
    [
        (WARSAW, "2026-01-05T07:59:59", False),
        (WARSAW, "2026-01-05T08:00:00", True),
        (WARSAW, "2026-07-06T06:59:59", False),
        (WARSAW, "2026-07-06T07:00:00", True),
        (NEW_YORK, "2026-01-05T13:59:59", False),
        (NEW_YORK, "2026-01-05T14:00:00", True),
        (NEW_YORK, "2026-07-06T12:59:59", False),
        (NEW_YORK, "2026-07-06T13:00:00", True),
    ],
)
def test_the_clock_is_the_one_on_the_wall(zone: ZoneInfo, instant: str, held: bool) -> None:
    """Nine in the morning is nine in the morning, in winter and in summer."""
    assert within((_window("09:00", "17:00", MON),), zone, _at(instant)) is held


def test_the_day_is_the_one_on_the_wall() -> None:
    """Late on Monday in New York it is Tuesday in UTC."""
    monday = (Window((MON,), 0, MINUTES_A_DAY),)
    assert within(monday, NEW_YORK, _at("2026-01-06T04:59:59"))
    assert not within(monday, NEW_YORK, _at("2026-01-06T05:00:00"))
    assert not within(monday, UTC, _at("2026-01-06T04:59:59"))


FORWARD = [(WARSAW, "2026-03-29T01:00:00"), (NEW_YORK, "2026-03-08T07:00:00")]
"""Where clocks go from two to three in the morning, with the instant at which they do. Both are Sundays."""


@pytest.mark.parametrize(("zone", "change"), FORWARD)
def test_the_hour_that_is_skipped_never_comes(zone: ZoneInfo, change: str) -> None:
    """A window that lies in it is not open that day; just before it is one o'clock, and then three."""
    skipped, before, after = (_window(f"0{hour}:00", f"0{hour + 1}:00", SUN) for hour in (2, 1, 3))
    at = _at(change)
    for offset in (-1, 0, 1, 1800, 3599):
        assert not within((skipped,), zone, at + offset)
    assert within((before,), zone, at - 1)
    assert not within((after,), zone, at - 1)
    assert within((after,), zone, at)
    assert not within((before,), zone, at)


@pytest.mark.parametrize(("zone", "change"), FORWARD)
def test_a_window_across_the_skipped_hour_is_an_hour_shorter(zone: ZoneInfo, change: str) -> None:
    """From one to four are two hours that day."""
    window = (_window("01:00", "04:00", SUN),)
    at = _at(change)
    assert [within(window, zone, at + offset) for offset in (-3601, -3600, -1, 0, 3599, 3600)] == [
        False,
        True,
        True,
        True,
        True,
        False,
    ]


@pytest.mark.parametrize(("zone", "change"), FORWARD)
def test_a_window_that_ends_in_the_skipped_hour_ends_where_it_begins(zone: ZoneInfo, change: str) -> None:
    """And one that starts in it starts where it ends."""
    at = _at(change)
    ends, starts = _window("01:00", "02:30", SUN), _window("02:30", "04:00", SUN)
    assert (within((ends,), zone, at - 1), within((ends,), zone, at)) == (True, False)
    assert (within((starts,), zone, at - 1), within((starts,), zone, at)) == (False, True)


BACK = [(WARSAW, "2026-10-25T01:00:00", 2), (NEW_YORK, "2026-11-01T06:00:00", 1)]
"""Where clocks are put back by an hour, with the instant at which they are, and the hour that comes twice. Both are Sundays."""


@pytest.mark.parametrize(("zone", "change", "hour"), BACK)
def test_the_hour_that_comes_twice_counts_twice(zone: ZoneInfo, change: str, hour: int) -> None:
    """From its first beginning to its second end; -1, 0, +1 seconds around each."""
    window = (_window(f"0{hour}:00", f"0{hour + 1}:00", SUN),)
    at = _at(change)
    for around, expected in ((-3600, [False, True, True]), (0, [True, True, True]), (3600, [True, False, False])):
        assert [within(window, zone, at + around + offset) for offset in (-1, 0, 1)] == expected


@pytest.mark.parametrize(("zone", "change", "hour"), BACK)
def test_a_window_that_ends_within_the_hour_that_comes_twice_opens_again(
    zone: ZoneInfo, change: str, hour: int
) -> None:
    """By the clock on the wall it is that time again."""
    window = (_window(f"0{hour}:00", f"0{hour}:30", SUN),)
    at = _at(change)
    assert [within(window, zone, at + offset) for offset in (-3600, -1801, -1800, -1, 0, 1799, 1800)] == [
        True,
        True,
        False,
        False,
        True,
        True,
        False,
    ]


@pytest.mark.parametrize(
    ("zone", "start", "end"),
    [
        (WARSAW, "2026-03-28T21:00:00", "2026-03-29T04:00:00"),
        (WARSAW, "2026-10-24T20:00:00", "2026-10-25T05:00:00"),
        (NEW_YORK, "2026-03-08T03:00:00", "2026-03-08T10:00:00"),
        (NEW_YORK, "2026-11-01T02:00:00", "2026-11-01T11:00:00"),
    ],
)
def test_a_night_in_which_clocks_change_begins_and_ends_by_them(zone: ZoneInfo, start: str, end: str) -> None:
    """Saturday from 22:00 to 06:00: seven hours of one night in spring, nine of one in autumn."""
    night = (_window("22:00", "06:00", 5),)
    for instant, expected in ((_at(start), [False, True, True]), (_at(end), [True, False, False])):
        assert [within(night, zone, instant + offset) for offset in (-1, 0, 1)] == expected
    seconds = range(int(_at(start)), int(_at(end)), 60)
    assert all(within(night, zone, instant) for instant in seconds)
