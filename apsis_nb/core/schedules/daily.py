"""The times of the daily schedules: at daytimes, or within windows, on the days of a calendar."""

import heapq
from calendar import monthrange
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta

from apsis_nb.core.calendars import LONGEST_GAP, Calendar
from apsis_nb.core.times import format_daytime, format_iso

from .clocks import after, bound, instants, is_even, local_date, midnight
from .kinds import Bound, DailyIntervalSchedule, DailySchedule, Dst, Occurrence

_US = timedelta(microseconds=1)


def daily_times(schedule: DailySchedule, start: datetime, stop: datetime) -> Iterator[Occurrence]:
    """The times of a daily schedule from `start` to before `stop`, rising; all UTC."""
    tz, same = schedule.tz, {"calendar": schedule.calendar.name, "tz": str(schedule.tz)}
    daytimes = [(daytime, _since_midnight(daytime), format_daytime(daytime)) for daytime in schedule.daytimes]
    # Times of days on which clocks change may change places, also with those of the day after.
    uneven: list[tuple[datetime, str, str]] = []
    dst = schedule.dst or Dst()
    for nominal, day in _days(schedule, local_date(start, tz, -1), local_date(stop, tz, 1)):
        nominal_text = format_iso(nominal)
        if not is_even(day, tz):
            for daytime, _, text in daytimes:
                uneven += [(at, nominal_text, text) for at in instants(day, daytime, tz, dst)]
            continue
        begin = midnight(day, tz)
        found = [(begin + delta, nominal_text, text) for _, delta, text in daytimes]
        if uneven:
            found[:0] = sorted(uneven, key=lambda time: time[0])
            uneven = []
        for at, date_text, text in found:
            if start <= at < stop:
                yield _daily_occurrence(at, date_text, text, same)
    for at, date_text, text in sorted(uneven, key=lambda time: time[0]):
        if start <= at < stop:
            yield _daily_occurrence(at, date_text, text, same)


def _daily_occurrence(at: datetime, nominal: str, daytime: str, same: dict[str, str]) -> Occurrence:
    text = format_iso(at)
    return Occurrence(at, {"date": nominal, "daytime": daytime, "time": text, "schedule_time": text, **same})


def _days(schedule: DailySchedule, first: date, last: date) -> Iterator[tuple[date, date]]:
    """(nominal date, its day after the shifts), for the days from `first` to `last`, rising."""
    if not schedule.days_of_month:
        yield from _shifted(schedule.calendar, first, last, schedule)
        return
    calendar = schedule.calendar
    span = _earliest(calendar, first, schedule), _latest(calendar, last, schedule)
    for nominal in _numbered(calendar, schedule.days_of_month, *span):
        day = _shift(calendar, nominal, schedule)
        if day is not None and day > last:
            return
        if day is not None and day >= first:
            yield nominal, day


def _earliest(calendar: Calendar, day: date, shift: DailySchedule) -> date:
    """A nominal date such that no earlier one is shifted to `day` or later."""
    unmoved = after(day, -shift.date_shift)
    try:
        return calendar.shift(unmoved, -shift.cal_shift)
    except ValueError:  # so near to an end of the calendar
        return calendar.first if shift.cal_shift > 0 else unmoved


def _latest(calendar: Calendar, day: date, shift: DailySchedule) -> date:
    """A nominal date such that no later one is shifted to `day` or earlier."""
    unmoved = after(day, -shift.date_shift)
    if shift.cal_shift >= 0:
        return unmoved
    try:
        return calendar.shift(unmoved, 1 - shift.cal_shift)
    except ValueError:  # so near to its end, or to a gap
        return min(calendar.last, after(unmoved, LONGEST_GAP))


def _numbered(calendar: Calendar, numbers: tuple[int, ...], first: date, last: date) -> Iterator[date]:
    """The days of a calendar by their numbers in each month, -1 is the last, in the months of two dates
    and all between.
    """
    year, month = first.year, first.month
    while (begin := date(year, month, 1)) <= last:
        end = date(year, month, monthrange(year, month)[1])
        found = {_nth(calendar, n, max(begin, calendar.first), min(end, calendar.last)) for n in numbers}
        days = [day for day in found if day is not None]
        if days:
            yield from sorted(days) if len(days) > 1 else days
        else:  # over all months that have no day
            some = next(calendar.days(begin, last), None)
            if some is None:
                return
            if some > end:
                year, month = some.year, some.month
                continue
        if end >= calendar.last:
            return
        year, month = (year, month + 1) if month < 12 else (year + 1, 1)


def _nth(calendar: Calendar, number: int, first: date, last: date) -> date | None:
    """The day of a calendar by its number in a stretch of days, from 1 or back from -1; None: too few."""
    begin, end = first.toordinal(), last.toordinal()
    left = abs(number)
    for ordinal in range(begin, end + 1) if number > 0 else range(end, begin - 1, -1):
        day = date.fromordinal(ordinal)
        if day in calendar:
            left -= 1
            if not left:
                return day
    return None


def _shifted(
    calendar: Calendar, first: date, last: date, shift: DailySchedule | Bound
) -> Iterator[tuple[date, date]]:
    """(nominal date, its day after the shifts), for the days from `first` to `last`, rising."""
    move = timedelta(days=shift.date_shift)
    for unmoved in calendar.days(after(first, -shift.date_shift), after(last, -shift.date_shift)):
        try:
            nominal = calendar.shift(unmoved, -shift.cal_shift) if shift.cal_shift else unmoved
            day = unmoved + move
        except (ValueError, OverflowError):  # beyond an end of the calendar, or of datetime's range
            continue
        yield nominal, day


# -- windows


def daily_interval_times(
    schedule: DailyIntervalSchedule, start: datetime, stop: datetime
) -> Iterator[Occurrence]:
    """The times of a daily-interval schedule from `start` to before `stop`, rising; all UTC."""
    tz, step = schedule.tz, _step(schedule)
    same = {"calendar": schedule.calendar.name, "tz": str(tz)}
    windows = _windows(schedule, start, stop)
    # Windows of several dates may overlap: the next time is always that of the window on top of the heap.
    window = next(windows, None)
    heap: list[tuple[datetime, date, datetime]] = []
    while heap or window:
        while window and (not heap or window[0] <= heap[0][0]):
            heapq.heappush(heap, window[1:])
            window = next(windows, None)
        at, nominal, end = heap[0]
        if at >= stop:
            return
        local, text = at.astimezone(tz), format_iso(at)
        yield Occurrence(
            at,
            {
                "date": format_iso(nominal),
                "sched_date": format_iso(local.date()),
                "time": text,
                "schedule_time": text,
                "daytime": format_daytime(local.time()),
                **same,
            },
        )
        if end - at > step:
            heapq.heapreplace(heap, (at + step, nominal, end))
        else:
            heapq.heappop(heap)


def daily_interval_count(schedule: DailyIntervalSchedule, start: datetime, stop: datetime) -> int:
    """How many times `daily_interval_times` gives."""
    step = _step(schedule)
    return sum(
        -((first - min(end, stop)) // step)
        for _, first, _, end in _windows(schedule, start, stop)
        if first < stop
    )


def _windows(
    schedule: DailyIntervalSchedule, start: datetime, stop: datetime
) -> Iterator[tuple[datetime, datetime, date, datetime]]:
    """(begin, first time from `start` on, nominal date, end) of each date that has any, by rising begin."""
    tz, calendar, step = schedule.tz, schedule.calendar, _step(schedule)
    last, dst = local_date(stop, tz, 1), schedule.dst or Dst()
    for nominal, stop_day in _shifted(calendar, local_date(start, tz, -1), date.max, schedule.stop_before):
        start_day = _shift(calendar, nominal, schedule.start)
        if start_day is None:
            continue
        if start_day > last:
            return
        if is_even(start_day, tz) and is_even(stop_day, tz):
            begin: datetime | None = midnight(start_day, tz) + _since_midnight(schedule.start.daytime)
            end: datetime | None = midnight(stop_day, tz) + _since_midnight(schedule.stop_before.daytime)
        else:
            begin = bound(start_day, schedule.start.daytime, tz, dst, "first")
            end = bound(stop_day, schedule.stop_before.daytime, tz, dst, "second")
        if begin is None or end is None or end <= start:
            continue
        first = begin if begin >= start else begin + -((begin - start) // step) * step
        if first < end:
            yield begin, first, nominal, end


def _shift(calendar: Calendar, nominal: date, shift: DailySchedule | Bound) -> date | None:
    if not shift.cal_shift and not shift.date_shift:
        return nominal
    try:
        return calendar.shift(nominal, shift.cal_shift) + timedelta(days=shift.date_shift)
    except (OverflowError, ValueError):  # the ends of the calendar, or of datetime's range
        return None


def _step(schedule: DailyIntervalSchedule) -> timedelta:
    return round(schedule.interval_s * 1_000_000) * _US


def _since_midnight(daytime: time) -> timedelta:
    return timedelta(
        hours=daytime.hour,
        minutes=daytime.minute,
        seconds=daytime.second,
        microseconds=daytime.microsecond,
    )


def changed_daytimes(
    schedule: DailySchedule | DailyIntervalSchedule, start: datetime, stop: datetime
) -> Iterator[tuple[date, time, bool]]:
    """Where clocks skip a daytime of a schedule, or show it twice.

    Yields:
        The day, from that of `start` to that of `stop`, the daytime, and whether it is skipped.
    """
    tz = schedule.tz
    shifts: list[tuple[DailySchedule | Bound, tuple[time, ...]]]
    if isinstance(schedule, DailySchedule):
        shifts = [(schedule, schedule.daytimes)]
    else:
        shifts = [(bound, (bound.daytime,)) for bound in (schedule.start, schedule.stop_before)]
    for shift, daytimes in shifts:
        for _, day in _shifted(schedule.calendar, local_date(start, tz, 0), local_date(stop, tz, 0), shift):
            if is_even(day, tz):
                continue
            for daytime in daytimes:
                found = instants(day, daytime, tz, Dst(fold="both"))
                if len(found) != 1:
                    yield day, daytime, not found
