"""A schedule in English."""

from typing import assert_never

from apsis_nb.core.calendars import ALL, Calendar
from apsis_nb.core.times import format_daytime, format_duration, format_time

from .cron import explain_cron
from .kinds import (
    Bound,
    CronSchedule,
    DailyIntervalSchedule,
    DailySchedule,
    Dst,
    ExplicitSchedule,
    IntervalSchedule,
    MisfireRule,
    Schedule,
    StopDaytime,
    StopDuration,
)

_GAPS = {"skip": "left out", "shift": "moved on with the clocks"}
_FOLDS = {"first": "the first time", "second": "the second time", "both": "both times"}


def explain(schedule: Schedule) -> str:
    """The schedule in English, with all its options: "Mon-Fri at 09:00:00 and 17:00:00 Europe/London"."""
    match schedule:
        case IntervalSchedule():
            text = f"every {_each(schedule.interval_s)}"
            if schedule.phase_s:
                text += f", {format_duration(schedule.phase_s)} after the full interval"
        case DailySchedule():
            daytimes = _listed([format_daytime(d) for d in schedule.daytimes])
            text = f"{_nominal_days(schedule)} at {daytimes} {schedule.tz}{_moved(schedule)}"
            text += _changes(schedule.dst)
        case DailyIntervalSchedule():
            bounds = [
                f"{format_daytime(b.daytime)}{_moved(b)}" for b in (schedule.start, schedule.stop_before)
            ]
            text = f"{_days(schedule.calendar)}, every {_each(schedule.interval_s)}"
            text += f" from {bounds[0]} to {bounds[1]} {schedule.tz}{_changes(schedule.dst)}"
        case ExplicitSchedule():
            text = f"at {_listed([format_time(at) for at in schedule.times])}"
        case CronSchedule():
            text = f"{explain_cron(schedule.cron)} {schedule.tz} (cron {schedule.cron})"
            text += _changes(schedule.dst)
        case _:
            assert_never(schedule)
    if schedule.args:
        text += f", with {', '.join(f'{k}={v}' for k, v in schedule.args.items())}"
    if schedule.jitter_s:
        text += f", each up to {format_duration(schedule.jitter_s)} later"
    match schedule.stop:
        case StopDuration(duration_s):
            text += f", stopped after {format_duration(duration_s)}"
        case StopDaytime(daytime, tz):
            text += f", stopped at {format_daytime(daytime)} {tz}"
    text += _missed(schedule.misfire)
    if schedule.max_runs is not None:
        runs = "a run is" if schedule.max_runs == 1 else f"{schedule.max_runs} runs are"
        text += f", skipped while {runs} unfinished"
    return text if schedule.enabled else f"{text} (disabled)"


def _each(seconds: float) -> str:
    names = {1.0: "second", 60.0: "minute", 3600.0: "hour", 86400.0: "day", 604800.0: "week"}
    if seconds in names:
        return names[seconds]
    for unit in (604800.0, 86400.0, 3600.0, 60.0, 1.0):
        if seconds % unit == 0:
            return f"{seconds / unit:g} {names[unit]}s"
    return format_duration(seconds)


def _days(calendar: Calendar) -> str:
    return "every day" if calendar == ALL else calendar.name or "on no day"


def _nominal_days(schedule: DailySchedule) -> str:
    if not schedule.days_of_month:
        return _days(schedule.calendar)
    days = _listed([_nth(n) for n in schedule.days_of_month])
    of = "" if schedule.calendar == ALL else f"{schedule.calendar.name or 'no'} "
    return f"the {days} {of}day of each month"


def _nth(number: int) -> str:
    """`3rd`, `last`, `2nd last`."""
    n = abs(number)
    ending = "th" if 10 < n % 100 < 14 else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    if number > 0:
        return f"{n}{ending}"
    return "last" if n == 1 else f"{n}{ending} last"


def _moved(shift: DailySchedule | Bound) -> str:
    parts = []
    if shift.cal_shift:
        parts.append(f"{shift.cal_shift:+d} calendar day{'' if abs(shift.cal_shift) == 1 else 's'}")
    if shift.date_shift:
        parts.append(f"{shift.date_shift:+d} day{'' if abs(shift.date_shift) == 1 else 's'}")
    return f" ({', '.join(parts)})" if parts else ""


def _changes(dst: Dst | None) -> str:
    """What becomes of daytimes where clocks change, if the job file says so."""
    if dst is None:
        return ""
    return f", what the clocks skip is {_GAPS[dst.gap]}, what they show twice counts {_FOLDS[dst.fold]}"


def _missed(misfire: MisfireRule) -> str:
    """What becomes of missed times, as far as it is not the default."""
    usual = MisfireRule()
    if misfire.policy == "none":
        return ", missed times are not run"
    parts = []
    if misfire.max_age_s != usual.max_age_s:
        parts.append(f"up to {format_duration(misfire.max_age_s)} late")
    if misfire.max_count != usual.max_count and misfire.policy != "latest":
        parts.append(f"at most the newest {misfire.max_count}")
    if misfire.policy is None and not parts:
        return ""
    which = {"all": "all are", "latest": "the latest is", None: "those that differ are"}[misfire.policy]
    return f", of missed times {which} run" + (f" ({', '.join(parts)})" if parts else "")


def _listed(words: list[str]) -> str:
    if len(words) > 8:
        words = [*words[:6], f"{len(words) - 6} more"]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
