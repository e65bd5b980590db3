"""The times of a schedule of any kind, how many they are, and when their runs are stopped."""

from bisect import bisect_left
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import assert_never

from apsis_nb.core.times import format_iso, next_daytime

from .cron import cron_count, cron_times
from .daily import daily_interval_count, daily_interval_times, daily_times
from .kinds import (
    CronSchedule,
    DailyIntervalSchedule,
    DailySchedule,
    ExplicitSchedule,
    IntervalSchedule,
    Occurrence,
    Schedule,
    StopDaytime,
    StopDuration,
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def times_between(schedule: Schedule, start: datetime, stop: datetime) -> Iterator[Occurrence]:
    """The nominal times of a schedule, as if it were enabled; jitter comes on top (`due_between`).

    Args:
        schedule: any.
        start: aware; included.
        stop: aware; not included.

    Yields:
        Occurrences by rising time, made as they are asked for; those of two spans side by side are those of
        the whole. Two share a time only where two dates or daytimes lead to it, and then their args differ.

    Raises:
        ValueError: `start` or `stop` has no time zone.
    """
    start, stop = _utc(start), _utc(stop)
    match schedule:
        case IntervalSchedule():
            return _interval_times(schedule, start, stop)
        case DailySchedule():
            return daily_times(schedule, start, stop)
        case DailyIntervalSchedule():
            return daily_interval_times(schedule, start, stop)
        case ExplicitSchedule():
            return _explicit_times(schedule, start, stop)
        case CronSchedule():
            return cron_times(schedule, start, stop)
        case _:
            assert_never(schedule)


def count_between(schedule: Schedule, start: datetime, stop: datetime) -> int:
    """How many times `times_between` gives; reckoned where there may be many, so that a year is soon counted.

    Raises:
        ValueError: `start` or `stop` has no time zone.
    """
    start, stop = _utc(start), _utc(stop)
    match schedule:
        case IntervalSchedule():
            return len(_interval_us(schedule, start, stop))
        case DailyIntervalSchedule():
            return daily_interval_count(schedule, start, stop)
        case CronSchedule():
            return cron_count(schedule, start, stop)
        case DailySchedule() | ExplicitSchedule():
            return sum(1 for _ in times_between(schedule, start, stop))
        case _:
            assert_never(schedule)


def _utc(at: datetime) -> datetime:
    if at.tzinfo is None:
        raise ValueError("start and stop need a time zone")
    return at.astimezone(UTC)


def _interval_us(schedule: IntervalSchedule, start: datetime, stop: datetime) -> range:
    """The times in microseconds since 1970: adding up fractions of seconds would drift."""
    step, phase = round(schedule.interval_s * 1_000_000), round(schedule.phase_s * 1_000_000)
    first, last = (start - _EPOCH) // _MICROSECOND, (stop - _EPOCH) // _MICROSECOND
    return range(phase + -((phase - first) // step) * step, last, step)


def _interval_times(schedule: IntervalSchedule, start: datetime, stop: datetime) -> Iterator[Occurrence]:
    for us in _interval_us(schedule, start, stop):
        at = _EPOCH + timedelta(microseconds=us)
        text = format_iso(at)
        yield Occurrence(at, {"time": text, "schedule_time": text, "date": text[:10], "daytime": text[11:-6]})


def _explicit_times(schedule: ExplicitSchedule, start: datetime, stop: datetime) -> Iterator[Occurrence]:
    for at in schedule.times[bisect_left(schedule.times, start) :]:
        if at >= stop:
            return
        text = format_iso(at)
        yield Occurrence(at, {"time": text, "schedule_time": text})


def stop_time(schedule: Schedule, at: datetime) -> datetime | None:
    """When a run of `schedule` that is scheduled for `at` is stopped; None: it is not. Always after `at`."""
    try:
        match schedule.stop:
            case None:
                return None
            case StopDuration(duration_s):
                return at + timedelta(seconds=duration_s)
            case StopDaytime(daytime, tz):
                return next_daytime(daytime, at, tz)
            case _:
                assert_never(schedule.stop)
    except (OverflowError, ValueError):  # the end of datetime's range
        return None
