"""What the writer of a schedule may not have thought of: its calendar ends, or clocks skip its daytime."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import islice

from apsis_nb.core.times import format_daytime

from .daily import skipped_days
from .kinds import DailyIntervalSchedule, DailySchedule, Schedule

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
        is_daily = isinstance(schedule, DailySchedule)
        key, what = ("daytime", "that time") if is_daily else ("start", "that day")
        for day, daytime in islice(skipped_days(schedule, now, now + _CHANGES_WITHIN), 1):
            yield (
                key,
                f"on {day} the clocks of {schedule.tz} skip {format_daytime(daytime)}: {what} is left out;"
                " write 'dst: {gap: shift}' to run it later, 'dst: {gap: skip}' to be content with that",
            )
