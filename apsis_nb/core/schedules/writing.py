"""Schedules as the mappings of a job file."""

from typing import Any, assert_never

from apsis_nb.core.times import format_daytime, format_time

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


def schedule_to_dict(schedule: Schedule) -> dict[str, Any]:
    """The form of the job file; `schedule_from_dict` reads it back."""
    jso = {**_kind_to_dict(schedule), **_options_to_dict(schedule)}
    match schedule.stop:
        case None:
            return jso
        case StopDuration(duration_s):
            return {"start": jso, "stop": {"type": "duration", "duration": duration_s}}
        case StopDaytime(daytime, tz):
            return {
                "start": jso,
                "stop": {"type": "daytime", "daytime": format_daytime(daytime), "tz": str(tz)},
            }
        case _:
            assert_never(schedule.stop)


def _kind_to_dict(schedule: Schedule) -> dict[str, Any]:
    match schedule:
        case IntervalSchedule():
            jso: dict[str, Any] = {"type": "interval", "interval": schedule.interval_s}
            return {**jso, "phase": schedule.phase_s} if schedule.phase_s else jso
        case DailySchedule():
            jso = {
                "type": "daily",
                "tz": str(schedule.tz),
                "daytime": [format_daytime(d) for d in schedule.daytimes],
                "calendar": schedule.calendar.name,
                **_shifts_to_dict(schedule),
                **_dst_to_dict(schedule.dst),
            }
            return {**jso, "day_of_month": list(schedule.days_of_month)} if schedule.days_of_month else jso
        case DailyIntervalSchedule():
            return {
                "type": "daily-interval",
                "tz": str(schedule.tz),
                "start": _bound_to_dict(schedule.start),
                "stop": _bound_to_dict(schedule.stop_before),
                "interval": schedule.interval_s,
                "calendar": schedule.calendar.name,
                **_dst_to_dict(schedule.dst),
            }
        case ExplicitSchedule():
            return {"type": "explicit", "times": [format_time(at) for at in schedule.times]}
        case CronSchedule():
            jso = {"type": "cron", "cron": schedule.cron, "tz": str(schedule.tz)}
            return jso | _dst_to_dict(schedule.dst)
        case _:
            assert_never(schedule)


def _options_to_dict(schedule: Schedule) -> dict[str, Any]:
    """What every schedule may have, as far as it is not the default."""
    jso: dict[str, Any] = {}
    if schedule.args:
        jso["args"] = dict(schedule.args)
    if not schedule.enabled:
        jso["enabled"] = False
    if schedule.jitter_s:
        jso["jitter"] = schedule.jitter_s
    misfire, usual = schedule.misfire, MisfireRule()
    bounds = {
        key: value
        for key, value, default in (
            ("max_age", misfire.max_age_s, usual.max_age_s),
            ("max_count", misfire.max_count, usual.max_count),
        )
        if value != default
    }
    if bounds:
        policy = {} if misfire.policy is None else {"policy": misfire.policy}
        jso["misfire"] = policy | bounds
    elif misfire.policy is not None:
        jso["misfire"] = misfire.policy
    if schedule.max_runs is not None:
        jso["max_runs"] = schedule.max_runs
    return jso


def _dst_to_dict(dst: Dst | None) -> dict[str, Any]:
    return {} if dst is None else {"dst": {"gap": dst.gap, "fold": dst.fold}}


def _bound_to_dict(bound: Bound) -> Any:
    daytime, shifts = format_daytime(bound.daytime), _shifts_to_dict(bound)
    return {"daytime": daytime, **shifts} if shifts else daytime


def _shifts_to_dict(shift: DailySchedule | Bound) -> dict[str, int]:
    shifts = {"date_shift": shift.date_shift, "cal_shift": shift.cal_shift}
    return {key: days for key, days in shifts.items() if days}
