"""Schedules from the mappings of a job file."""

from collections.abc import Mapping
from datetime import date
from functools import partial
from typing import Any, cast, get_args
from zoneinfo import ZoneInfo

from apsis_nb.core.calendars import ALL, Calendar, get_calendar
from apsis_nb.core.fields import (
    Fields,
    KeyPath,
    article,
    choose,
    noun,
    read_int,
    read_text_map,
    suggestion,
    within,
)
from apsis_nb.core.times import (
    format_duration,
    parse_daytime,
    parse_duration,
    parse_time,
    zone,
)

from .cron import check_cron
from .kinds import (
    Bound,
    CronSchedule,
    DailyIntervalSchedule,
    DailySchedule,
    Dst,
    ExplicitSchedule,
    Fold,
    Gap,
    IntervalSchedule,
    Misfire,
    MisfireRule,
    Schedule,
    StopDaytime,
    StopDuration,
    StopRule,
)

#: The types that a job file may name.
SCHEDULE_TYPES = ("interval", "daily", "daily-interval", "explicit", "cron")
_STOP_TYPES = ("duration", "daytime")
_CENTURY_S = 100 * 365.25 * 86400
_MOST_DAYS = 36525
_MOST_COUNT = 1_000_000
#: Keys that somebody may write for a kind that has no use for them.
_HINTS = {
    "interval": {"dst": "an interval is the same whatever clocks show", "tz": "an interval needs no zone"},
    "explicit": {"dst": "explicit times name their offset", "tz": "explicit times name their offset"},
    "cron": {"calendar": "the days are in the expression; a daily schedule has a calendar"},
}

_read_length = within(parse_duration, above=0, most=_CENTURY_S)


def schedule_from_dict(
    data: Any, path: KeyPath = (), *, calendars: Mapping[str, Calendar] | None = None
) -> Schedule:
    """The schedule that a mapping of a job file tells.

    Args:
        data: a mapping with `type`, or one with `start` (such a mapping) and perhaps `stop`.
        path: where it stands in the job file, for errors.
        calendars: those of files, by name.

    Raises:
        JobError, JobErrors: what is wrong, and what would be right.
    """
    read = partial(_schedule_from_dict, calendars=calendars or {})
    if isinstance(data, Mapping) and "type" not in data and isinstance(data.get("start"), Mapping):
        both = Fields(data, path, "a schedule")
        stop = both.get_at("stop", _stop_from_dict, None)
        schedule = both.get_at("start", partial(read, stop=stop))
        keys = ("args", "enabled", "jitter", "misfire", "max_runs", "dst", "type")
        both.done(hints=dict.fromkeys(keys, "write it inside 'start'"))
        return schedule
    return read(data, path, stop=None)


def _schedule_from_dict(
    data: Any, path: KeyPath, *, stop: StopRule | None, calendars: Mapping[str, Calendar]
) -> Schedule:
    kind = choose(data, path, "schedule", SCHEDULE_TYPES)
    fields = Fields(data, path, f"{article(kind)} schedule")
    fields.get("type", str)
    common: dict[str, Any] = {
        "args": fields.get("args", read_text_map, {}),
        "enabled": fields.get("enabled", _read_enabled, True),
        "stop": stop,
        "jitter_s": fields.get("jitter", _read_jitter, 0.0),
        "misfire": fields.get_at("misfire", _misfire_from, MisfireRule()),
        "max_runs": fields.get("max_runs", _read_max_runs, None),
    }
    schedule: Schedule
    match kind:
        case "interval":
            schedule = _interval_from(fields, common)
        case "daily":
            schedule = _daily_from(fields, common, calendars, data)
        case "daily-interval":
            schedule = _daily_interval_from(fields, common, calendars)
        case "explicit":
            times = fields.read_list("times", _reader(parse_time))
            _require(fields, data, "times")
            fields.done(hints=_HINTS[kind])
            schedule = ExplicitSchedule(times=tuple(sorted(set(times))), **common)
        case _:
            cron = fields.get("cron", _read_cron)
            tz = fields.get("tz", _read_zone)
            dst = fields.get_at("dst", _dst_from, None)
            fields.done(hints=_HINTS[kind])
            schedule = CronSchedule(cron=cron, tz=tz, dst=dst, **common)
    return schedule


def _interval_from(fields: Fields, common: Mapping[str, Any]) -> IntervalSchedule:
    interval_s = fields.get("interval", _read_interval)
    phase_s = fields.get("phase", within(parse_duration, least=0, most=_CENTURY_S), 0.0)
    if not fields.errors and phase_s >= interval_s:
        fields.fail(f"must be less than the interval ({format_duration(interval_s)})", "phase")
    fields.done(hints=_HINTS["interval"])
    return IntervalSchedule(interval_s=interval_s, phase_s=phase_s, **common)


def _daily_from(
    fields: Fields, common: Mapping[str, Any], calendars: Mapping[str, Calendar], data: Any
) -> DailySchedule:
    tz = fields.get("tz", _read_zone)
    daytimes = fields.read_list("daytime", _reader(parse_daytime))
    _require(fields, data, "daytime")
    calendar = fields.get("calendar", partial(_read_calendar, calendars=calendars), ALL)
    days_of_month = fields.read_list("day_of_month", _reader(_read_day_of_month))
    date_shift = fields.get("date_shift", _read_shift, 0)
    cal_shift = fields.get("cal_shift", _read_shift, 0)
    dst = fields.get_at("dst", _dst_from, None)
    fields.done()
    return DailySchedule(
        tz=tz,
        daytimes=tuple(sorted(set(daytimes))),
        calendar=calendar,
        days_of_month=tuple(dict.fromkeys(days_of_month)),
        date_shift=date_shift,
        cal_shift=cal_shift,
        dst=dst,
        **common,
    )


def _daily_interval_from(
    fields: Fields, common: Mapping[str, Any], calendars: Mapping[str, Calendar]
) -> DailyIntervalSchedule:
    tz = fields.get("tz", _read_zone)
    start = fields.get_at("start", _bound_from)
    stop_before = fields.get_at("stop", _bound_from)
    interval_s = fields.get("interval", _read_interval)
    if not fields.errors and interval_s >= 86400:
        fields.fail("must be less than a day", "interval")
    calendar = fields.get("calendar", partial(_read_calendar, calendars=calendars), ALL)
    dst = fields.get_at("dst", _dst_from, None)
    fields.done()
    return DailyIntervalSchedule(
        tz=tz,
        start=start,
        stop_before=stop_before,
        interval_s=interval_s,
        calendar=calendar,
        dst=dst,
        **common,
    )


def _require(fields: Fields, data: Any, key: str) -> None:
    """A list that has something in it must be there."""
    if key not in data:
        fields.fail(f"{fields.what}: missing key '{key}'")
    elif data[key] == []:
        fields.fail(f"must have one or more {key.removesuffix('s')}s", key)


# -- parts


def _stop_from_dict(data: Any, path: KeyPath) -> StopRule | None:
    if data is None:
        return None
    kind = choose(data, path, "stop", _STOP_TYPES)
    fields = Fields(data, path, f"a {kind} stop")
    fields.get("type", str)
    stop: StopRule
    if kind == "duration":
        duration_s = fields.get("duration", _read_length)
        fields.done()
        stop = StopDuration(duration_s)
    else:
        daytime, tz = fields.get("daytime", parse_daytime), fields.get("tz", _read_zone)
        fields.done()
        stop = StopDaytime(daytime, tz)
    return stop


def _bound_from(data: Any, path: KeyPath) -> Bound:
    if not isinstance(data, Mapping):
        return Bound(parse_daytime(data))
    fields = Fields(data, path, "a bound")
    daytime = fields.get("daytime", parse_daytime)
    date_shift, cal_shift = fields.get("date_shift", _read_shift, 0), fields.get("cal_shift", _read_shift, 0)
    fields.done()
    return Bound(daytime, date_shift, cal_shift)


def _dst_from(data: Any, path: KeyPath) -> Dst:
    fields = Fields(data, path, "'dst'")
    gap = fields.get("gap", partial(_read_word, words=get_args(Gap)), Dst().gap)
    fold = fields.get("fold", partial(_read_word, words=get_args(Fold)), Dst().fold)
    fields.done()
    return Dst(gap=cast(Gap, gap), fold=cast(Fold, fold))


def _misfire_from(data: Any, path: KeyPath) -> MisfireRule:
    """A policy, or a mapping of it and its bounds."""
    read_policy = partial(_read_word, words=get_args(Misfire))
    if not isinstance(data, Mapping):
        return MisfireRule(policy=cast(Misfire, read_policy(data)))
    fields = Fields(data, path, "'misfire'")
    policy = fields.get("policy", read_policy, None)
    max_age_s = fields.get("max_age", _read_length, MisfireRule().max_age_s)
    max_count = fields.get("max_count", _read_count, MisfireRule().max_count)
    fields.done()
    return MisfireRule(policy=cast(Misfire | None, policy), max_age_s=max_age_s, max_count=max_count)


def _reader(read: Any) -> Any:
    """A reader that is not told where its value stands."""
    return lambda value, path: read(value)


def _read_word(value: Any, words: tuple[str, ...]) -> str:
    if isinstance(value, str) and value in words:
        return value
    hint = suggestion(value, words) if isinstance(value, str) else ""
    raise ValueError(f"must be {', '.join(words[:-1])} or {words[-1]}, not {noun(value)}{hint}")


def _read_zone(value: Any) -> ZoneInfo:
    if not isinstance(value, str):
        raise ValueError(f"must be the name of a time zone, not {noun(value)}")
    return zone(value)


def _read_calendar(value: Any, calendars: Mapping[str, Calendar]) -> Calendar:
    # `calendar: 0` is Monday, and `calendar: 20260101` may be the name of a file.
    if isinstance(value, date | bool) or not isinstance(value, str | int):
        raise ValueError(f"must be the name of a calendar, not {noun(value)}")
    return get_calendar(str(value), calendars)


def _read_day_of_month(value: Any) -> int:
    number = read_int(value)
    if not 1 <= abs(number) <= 31:
        raise ValueError(f"must be 1 to 31, or -1 (the last day) to -31, not {number}")
    return number


def _read_shift(value: Any) -> int:
    days = read_int(value)
    if abs(days) > _MOST_DAYS:
        raise ValueError(f"must be a number of days up to {_MOST_DAYS}, not {days}")
    return days


def _read_interval(value: Any) -> float:
    seconds = _read_length(value)
    if seconds < 1e-6:
        raise ValueError(f"must be a microsecond or more, not {value}")
    return seconds


def _read_jitter(value: Any) -> float:
    seconds = within(parse_duration, least=0, most=_CENTURY_S)(value)
    if 0 < seconds < 1:
        raise ValueError(f"must be a second or more, or 0 for none, not {value}")
    if seconds > 86400:
        raise ValueError(f"must be a day or less, not {value}")
    return seconds


def _read_max_runs(value: Any) -> int:
    count = read_int(value)
    if not 1 <= count <= _MOST_COUNT:
        raise ValueError(f"must be a number of runs from 1 on, not {count}")
    return count


def _read_count(value: Any) -> int:
    count = read_int(value)
    if not 0 <= count <= _MOST_COUNT:
        raise ValueError(f"must be 0 to {_MOST_COUNT:,}, not {count}")
    return count


def _read_enabled(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"must be true or false without quotes, not {noun(value)}")
    return value


def _read_cron(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"must be a quoted cron expression, not {noun(value)}")
    check_cron(value)
    return value
