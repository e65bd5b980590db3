"""What the writer of a schedule may not have thought of: its calendar ends, or clocks change at its time."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import islice

from apsis_nb.core.times import format_daytime

from .cron import idle_days
from .daily import changed_daytimes
from .kinds import CronSchedule, DailyIntervalSchedule, DailySchedule, Schedule

#: An end of a calendar is told when it is as near as this.
_END_WITHIN = timedelta(days=5 * 366)
#: In this time clocks change twice where they change each year.
_CHANGES_WITHIN = timedelta(days=366)


def warnings_of(schedule: Schedule, now: datetime) -> Iterator[tuple[str, str]]:
    """What to think of in a schedule: the key that it is about, and a sentence.

    Args:
        schedule: any.
        now: aware.
    """
    if isinstance(schedule, CronSchedule) and schedule.dst is None:
        for day in islice(idle_days(schedule, now, now + _CHANGES_WITHIN), 1):
            yield (
                "cron",
                f"on {day} the clocks of {schedule.tz} skip all its times: it does not run on that day",
            )
    if not isinstance(schedule, DailySchedule | DailyIntervalSchedule):
        return
    calendar, today = schedule.calendar, now.astimezone(UTC).date()
    if calendar.last < min(date.max, today + _END_WITHIN):
        ended = "ended" if calendar.last < today else "ends"
        yield (
            "calendar",
            f"the calendar '{calendar.name}' {ended} on {calendar.last}: no times after that day",
        )
    if schedule.dst is None:
        yield from _changes(schedule, now)


def _changes(schedule: DailySchedule | DailyIntervalSchedule, now: datetime) -> Iterator[tuple[str, str]]:
    """The first daytime that is skipped, and the first that is repeated."""
    is_daily = isinstance(schedule, DailySchedule)
    key, what = ("daytime", "that time") if is_daily else ("start", "that day")
    told = set()
    for day, daytime, is_skipped in changed_daytimes(schedule, now, now + _CHANGES_WITHIN):
        if is_skipped in told:
            continue
        told.add(is_skipped)
        where = f"on {day} the clocks of {schedule.tz}"
        if is_skipped:
            text = f"{where} skip {format_daytime(daytime)}: {what} is left out"
            hint = "'dst: {gap: shift}' would run it later, 'dst: {gap: skip}' says that you know"
        else:
            text = f"{where} show {format_daytime(daytime)} twice: the first one counts"
            hint = (
                "'dst: {fold: second}' or 'both' is the other choice, 'dst: {fold: first}' says that you know"
            )
        yield key, f"{text}; {hint}"
