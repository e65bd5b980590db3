"""When does a job run?  Schedules, as values, and the times that they give."""

import heapq
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from typing import Any, Literal, NamedTuple, assert_never, get_args
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from .calendars import ALL, Calendar, get_calendar
from .fields import Fields, KeyPath, article, choose, noun, read_int, read_text_map, within
from .times import (
    format_daytime,
    format_duration,
    format_time,
    next_daytime,
    parse_daytime,
    parse_duration,
    parse_time,
    resolve_local,
    zone,
)

#: What happens to times that were missed; None: by whether their instances differ.
Misfire = Literal["all", "latest", "none"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_DAY = timedelta(days=1)
_CENTURY_S = 100 * 365.25 * 86400
_MOST_DAYS = 36525


class Occurrence(NamedTuple):
    """One time of a schedule."""

    at: datetime  #: aware, UTC
    args: dict[str, str]  #: what the schedule tells of it: `time`, `date` ...


@dataclass(frozen=True, slots=True)
class StopDuration:
    """A run is stopped this long after its scheduled time."""

    duration_s: float


@dataclass(frozen=True, slots=True)
class StopDaytime:
    """A run is stopped when the clocks of a zone next show a daytime, counted from its scheduled time."""

    daytime: time
    tz: ZoneInfo


StopRule = StopDuration | StopDaytime


@dataclass(frozen=True, slots=True, kw_only=True)
class _Common:
    """What every schedule has."""

    args: Mapping[str, str] = field(default_factory=dict)  #: given to its runs; they win over what it derives
    enabled: bool = True  #: False: it makes no runs
    stop: StopRule | None = None
    misfire: Misfire | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IntervalSchedule(_Common):
    """Every so many seconds, counted from the start of 1970 in UTC, whatever clocks show."""

    interval_s: float  #: >= 0.000001
    phase_s: float = 0.0  #: 0 <= phase < interval


@dataclass(frozen=True, slots=True, kw_only=True)
class DailySchedule(_Common):
    """At some daytimes, on the days of a calendar.

    The day of a time is its nominal date moved by `cal_shift` days of the calendar, then `date_shift` days.
    A daytime that the clocks skip is left out; one that they show twice counts the first time.
    """

    tz: ZoneInfo
    daytimes: tuple[time, ...]  #: rising
    calendar: Calendar = ALL
    date_shift: int = 0
    cal_shift: int = 0


@dataclass(frozen=True, slots=True)
class Bound:
    """Where the window of a nominal date starts or stops."""

    daytime: time
    date_shift: int = 0
    cal_shift: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DailyIntervalSchedule(_Common):
    """Every so many seconds within a window on the days of a calendar.

    Steps are of real time, so a window over a change of the clocks has more or fewer of them. Where the
    clocks skip its start or stop the day is left out.
    """

    tz: ZoneInfo
    start: Bound  #: the first time
    stop_before: Bound  #: every time is before this
    interval_s: float  #: 0.000001 <= interval < 86400
    calendar: Calendar = ALL


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplicitSchedule(_Common):
    """At given times."""

    times: tuple[datetime, ...]  #: aware, UTC, rising


@dataclass(frozen=True, slots=True, kw_only=True)
class CronSchedule(_Common):
    """By a cron expression, on the clocks of a zone, with the rules of Debian's cron where they change."""

    cron: str
    tz: ZoneInfo


Schedule = IntervalSchedule | DailySchedule | DailyIntervalSchedule | ExplicitSchedule | CronSchedule


# -- the times


def times_between(schedule: Schedule, start: datetime, stop: datetime) -> Iterator[Occurrence]:
    """The times of a schedule, as if it were enabled.

    Args:
        schedule: any.
        start: aware; included.
        stop: aware; not included.

    Yields:
        Occurrences in rising order, made as they are asked for. Two may share a time only where the windows
        of two dates overlap, and then their args differ.

    Raises:
        ValueError: `start` or `stop` has no time zone.
    """
    if start.tzinfo is None or stop.tzinfo is None:
        raise ValueError("start and stop need a time zone")
    start, stop = start.astimezone(UTC), stop.astimezone(UTC)
    match schedule:
        case IntervalSchedule():
            return _interval_times(schedule, start, stop)
        case DailySchedule():
            return _daily_times(schedule, start, stop)
        case DailyIntervalSchedule():
            return _daily_interval_times(schedule, start, stop)
        case ExplicitSchedule():
            return _explicit_times(schedule, start, stop)
        case CronSchedule():
            return _cron_times(schedule, start, stop)
        case _:
            assert_never(schedule)


def _interval_times(schedule: IntervalSchedule, start: datetime, stop: datetime) -> Iterator[Occurrence]:
    # Whole microseconds: adding up fractions of seconds would drift.
    step, phase = _us(schedule.interval_s), _us(schedule.phase_s)
    first, last = (start - _EPOCH) // _MICROSECOND, (stop - _EPOCH) // _MICROSECOND
    for us in range(phase + -((phase - first) // step) * step, last, step):
        at = _EPOCH + timedelta(microseconds=us)
        text = _iso(at)
        yield Occurrence(at, {"time": text, "schedule_time": text, "date": text[:10], "daytime": text[11:-6]})


def _daily_times(schedule: DailySchedule, start: datetime, stop: datetime) -> Iterator[Occurrence]:
    tz, same = schedule.tz, {"calendar": schedule.calendar.name, "tz": str(schedule.tz)}
    daytimes = [(daytime, format_daytime(daytime)) for daytime in schedule.daytimes]
    last = _local_date(stop, tz, 1)
    for nominal, day in _shifted(schedule.calendar, _local_date(start, tz, -1), schedule):
        if day > last:
            return
        nominal_text = nominal.isoformat()
        for daytime, daytime_text in daytimes:
            at = resolve_local(day, daytime, tz)
            if at is not None and start <= at < stop:
                text = _iso(at)
                yield Occurrence(
                    at,
                    {"date": nominal_text, "daytime": daytime_text, "time": text, "schedule_time": text}
                    | same,
                )


def _daily_interval_times(
    schedule: DailyIntervalSchedule, start: datetime, stop: datetime
) -> Iterator[Occurrence]:
    tz, step = schedule.tz, timedelta(microseconds=_us(schedule.interval_s))
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
        local, text = at.astimezone(tz), _iso(at)
        yield Occurrence(
            at,
            {
                "date": nominal.isoformat(),
                "sched_date": local.date().isoformat(),
                "time": text,
                "schedule_time": text,
                "daytime": format_daytime(local.time()),
                **same,
            },
        )
        if at + step < end:
            heapq.heapreplace(heap, (at + step, nominal, end))
        else:
            heapq.heappop(heap)


def _windows(
    schedule: DailyIntervalSchedule, start: datetime, stop: datetime
) -> Iterator[tuple[datetime, datetime, date, datetime]]:
    """(begin, first time from `start` on, nominal date, end) of each date that has any, by rising begin."""
    tz, calendar, step = schedule.tz, schedule.calendar, timedelta(microseconds=_us(schedule.interval_s))
    last = _local_date(stop, tz, 1)
    stops = _shifted(calendar, _local_date(start, tz, -1), schedule.stop_before)
    for nominal, stop_day in stops:
        start_day = _shift(calendar, nominal, schedule.start)
        if start_day is None or start_day > last:
            return
        begin = resolve_local(start_day, schedule.start.daytime, tz)
        end = resolve_local(stop_day, schedule.stop_before.daytime, tz)
        if begin is None or end is None or end <= start:
            continue
        first = begin if begin >= start else begin + -((begin - start) // step) * step
        if first < end:
            yield begin, first, nominal, end


def _explicit_times(schedule: ExplicitSchedule, start: datetime, stop: datetime) -> Iterator[Occurrence]:
    for at in schedule.times[bisect_left(schedule.times, start) :]:
        if at >= stop:
            return
        text = _iso(at)
        yield Occurrence(at, {"time": text, "schedule_time": text})


def _cron_times(schedule: CronSchedule, start: datetime, stop: datetime) -> Iterator[Occurrence]:
    tz = schedule.tz
    try:
        for local in CronSim(_cron_fields(schedule.cron), (start - _MICROSECOND).astimezone(tz)):
            at = local.astimezone(UTC)
            if at >= stop:
                return
            if at >= start:  # within a repeated hour it begins again with the first showing
                text = _iso(at)
                yield Occurrence(
                    at,
                    {
                        "date": local.date().isoformat(),
                        "time": text,
                        "schedule_time": text,
                        "daytime": format_daytime(local.time()),
                        "tz": str(tz),
                    },
                )
    except OverflowError:  # the end of datetime's range
        return


_CRON_NAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}


def _cron_fields(cron: str) -> str:
    return _CRON_NAMES.get(cron, cron)


def _shifted(calendar: Calendar, first: date, shift: DailySchedule | Bound) -> Iterator[tuple[date, date]]:
    """(nominal date, its day after the shifts), for every day from `first` on, rising."""
    try:
        unshifted = next(calendar.days(first - timedelta(days=shift.date_shift)), None)
        if unshifted is None:
            return
        nominal = calendar.shift(unshifted, -shift.cal_shift)
        move = timedelta(days=shift.date_shift)
        for nominal_day, day in zip(calendar.days(nominal), calendar.days(unshifted), strict=False):
            yield nominal_day, day + move
    except (OverflowError, ValueError):  # the ends of datetime's range
        return


def _shift(calendar: Calendar, nominal: date, shift: Bound) -> date | None:
    try:
        return calendar.shift(nominal, shift.cal_shift) + timedelta(days=shift.date_shift)
    except (OverflowError, ValueError):  # the ends of datetime's range
        return None


def _local_date(at: datetime, tz: ZoneInfo, days: int) -> date:
    """The date that clocks show at `at`, and some days on; beyond the ends of datetime's range, the end."""
    try:
        return at.astimezone(tz).date() + timedelta(days=days)
    except OverflowError:
        return date.max if days > 0 else date.min


def _us(seconds: float) -> int:
    return round(seconds * 1_000_000)


def _iso(at: datetime) -> str:
    """A time as args have it: job files written for Apsis rely on the form of the offset."""
    text = at.isoformat()
    return text if len(text) == 25 else text[:-6].rstrip("0") + "+00:00"


def stop_time(schedule: Schedule, at: datetime) -> datetime | None:
    """When a run of `schedule` that is due at `at` is stopped; None: it is not. Always after `at`."""
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


# -- in words


def explain(schedule: Schedule) -> str:
    """The schedule in English: "Mon-Fri at 09:00:00 and 17:00:00 Europe/London"."""
    match schedule:
        case IntervalSchedule():
            text = f"every {_each(schedule.interval_s)}"
            if schedule.phase_s:
                text += f", {format_duration(schedule.phase_s)} after the full interval"
        case DailySchedule():
            daytimes = _listed([format_daytime(d) for d in schedule.daytimes])
            text = f"{_days(schedule.calendar)} at {daytimes} {schedule.tz}{_moved(schedule)}"
        case DailyIntervalSchedule():
            bounds = [
                f"{format_daytime(b.daytime)}{_moved(b)}" for b in (schedule.start, schedule.stop_before)
            ]
            text = f"{_days(schedule.calendar)}, every {_each(schedule.interval_s)}"
            text += f" from {bounds[0]} to {bounds[1]} {schedule.tz}"
        case ExplicitSchedule():
            text = f"at {_listed([format_time(at) for at in schedule.times])}"
        case CronSchedule():
            text = f"cron {schedule.cron} {schedule.tz}"
        case _:
            assert_never(schedule)
    if schedule.args:
        text += f", with {', '.join(f'{k}={v}' for k, v in schedule.args.items())}"
    match schedule.stop:
        case StopDuration(duration_s):
            text += f", stopped after {format_duration(duration_s)}"
        case StopDaytime(daytime, tz):
            text += f", stopped at {format_daytime(daytime)} {tz}"
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


def _moved(shift: DailySchedule | Bound) -> str:
    parts = []
    if shift.cal_shift:
        parts.append(f"{shift.cal_shift:+d} calendar day{'' if abs(shift.cal_shift) == 1 else 's'}")
    if shift.date_shift:
        parts.append(f"{shift.date_shift:+d} day{'' if abs(shift.date_shift) == 1 else 's'}")
    return f" ({', '.join(parts)})" if parts else ""


def _listed(words: list[str]) -> str:
    if len(words) > 8:
        words = [*words[:6], f"{len(words) - 6} more"]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


# -- from and to the job file

_TYPES = ("interval", "daily", "daily-interval", "explicit", "cron")
_STOP_TYPES = ("duration", "daytime")
_LATER = ("jitter", "dst", "max_runs", "day_of_month", "max_age", "max_count")

_read_length = within(parse_duration, above=0, most=_CENTURY_S)


def schedule_from_dict(data: Any, path: KeyPath = ()) -> Schedule:
    """The schedule that a mapping of a job file tells.

    Args:
        data: a mapping with `type`, or one with `start` (such a mapping) and perhaps `stop`.
        path: where it stands in the job file, for errors.

    Raises:
        JobError, JobErrors: what is wrong, and what would be right.
    """
    if isinstance(data, Mapping) and "type" not in data and isinstance(data.get("start"), Mapping):
        both = Fields(data, path, "a schedule")
        stop = both.get_at("stop", _stop_from_dict, None)
        schedule = both.get_at("start", partial(_schedule_from_dict, stop=stop))
        both.done(hints=dict.fromkeys(("args", "enabled", "misfire", "type"), "write it inside 'start'"))
        return schedule
    return _schedule_from_dict(data, path, stop=None)


def _schedule_from_dict(data: Any, path: KeyPath, *, stop: StopRule | None) -> Schedule:
    kind = choose(data, path, "schedule", _TYPES)
    fields = Fields(data, path, f"{article(kind)} schedule")
    fields.get("type", str)
    common: dict[str, Any] = {
        "args": fields.get("args", read_text_map, {}),
        "enabled": fields.get("enabled", _read_enabled, True),
        "stop": stop,
        "misfire": fields.get("misfire", _read_misfire, None),
    }
    schedule: Schedule
    match kind:
        case "interval":
            interval_s = fields.get("interval", _read_interval)
            phase_s = fields.get("phase", within(parse_duration, least=0, most=_CENTURY_S), 0.0)
            if not fields.errors and phase_s >= interval_s:
                fields.fail(f"must be less than the interval ({format_duration(interval_s)})", "phase")
            fields.done(later=_LATER)
            schedule = IntervalSchedule(interval_s=interval_s, phase_s=phase_s, **common)
        case "daily":
            tz = fields.get("tz", _read_zone)
            daytimes = fields.read_list("daytime", _reader(parse_daytime))
            if "daytime" not in data:
                fields.fail(f"{fields.what}: missing key 'daytime'")
            elif data["daytime"] == []:
                fields.fail("must have one or more daytimes", "daytime")
            calendar = fields.get("calendar", _read_calendar, ALL)
            date_shift = fields.get("date_shift", _read_shift, 0)
            cal_shift = fields.get("cal_shift", _read_shift, 0)
            fields.done(later=_LATER)
            schedule = DailySchedule(
                tz=tz,
                daytimes=tuple(sorted(set(daytimes))),
                calendar=calendar,
                date_shift=date_shift,
                cal_shift=cal_shift,
                **common,
            )
        case "daily-interval":
            tz = fields.get("tz", _read_zone)
            start = fields.get_at("start", _bound_from)
            stop_before = fields.get_at("stop", _bound_from)
            interval_s = fields.get("interval", _read_interval)
            if not fields.errors and interval_s >= 86400:
                fields.fail("must be less than a day", "interval")
            calendar = fields.get("calendar", _read_calendar, ALL)
            fields.done(later=_LATER)
            schedule = DailyIntervalSchedule(
                tz=tz,
                start=start,
                stop_before=stop_before,
                interval_s=interval_s,
                calendar=calendar,
                **common,
            )
        case "explicit":
            times = fields.read_list("times", _reader(parse_time))
            if "times" not in data:
                fields.fail(f"{fields.what}: missing key 'times'")
            elif data["times"] == []:
                fields.fail("must have one or more times", "times")
            fields.done(later=_LATER)
            schedule = ExplicitSchedule(times=tuple(sorted(set(times))), **common)
        case _:
            cron = fields.get("cron", _read_cron)
            tz = fields.get("tz", _read_zone)
            fields.done(later=_LATER)
            schedule = CronSchedule(cron=cron, tz=tz, **common)
    return schedule


def schedule_to_dict(schedule: Schedule) -> dict[str, Any]:
    """The form of the job file; `schedule_from_dict` reads it back."""
    jso: dict[str, Any]
    match schedule:
        case IntervalSchedule():
            jso = {"type": "interval", "interval": schedule.interval_s}
            if schedule.phase_s:
                jso["phase"] = schedule.phase_s
        case DailySchedule():
            jso = {
                "type": "daily",
                "tz": str(schedule.tz),
                "daytime": [format_daytime(d) for d in schedule.daytimes],
                "calendar": schedule.calendar.name,
                **_shifts_to_dict(schedule),
            }
        case DailyIntervalSchedule():
            jso = {
                "type": "daily-interval",
                "tz": str(schedule.tz),
                "start": _bound_to_dict(schedule.start),
                "stop": _bound_to_dict(schedule.stop_before),
                "interval": schedule.interval_s,
                "calendar": schedule.calendar.name,
            }
        case ExplicitSchedule():
            jso = {"type": "explicit", "times": [format_time(at) for at in schedule.times]}
        case CronSchedule():
            jso = {"type": "cron", "cron": schedule.cron, "tz": str(schedule.tz)}
        case _:
            assert_never(schedule)
    if schedule.args:
        jso["args"] = dict(schedule.args)
    if not schedule.enabled:
        jso["enabled"] = False
    if schedule.misfire is not None:
        jso["misfire"] = schedule.misfire
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


def _bound_to_dict(bound: Bound) -> Any:
    daytime, shifts = format_daytime(bound.daytime), _shifts_to_dict(bound)
    return {"daytime": daytime, **shifts} if shifts else daytime


def _shifts_to_dict(shift: DailySchedule | Bound) -> dict[str, int]:
    shifts = {"date_shift": shift.date_shift, "cal_shift": shift.cal_shift}
    return {key: days for key, days in shifts.items() if days}


def _reader(read: Any) -> Any:
    """A reader that is not told where its value stands."""
    return lambda value, path: read(value)


def _read_zone(value: Any) -> ZoneInfo:
    if not isinstance(value, str):
        raise ValueError(f"must be the name of a time zone, not {noun(value)}")
    return zone(value)


def _read_calendar(value: Any) -> Calendar:
    if not isinstance(value, str | int) or isinstance(value, bool):  # `calendar: 0` is Monday
        raise ValueError(f"must be the name of a calendar, not {noun(value)}")
    return get_calendar(str(value))


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


def _read_enabled(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"must be true or false without quotes, not {noun(value)}")
    return value


def _read_misfire(value: Any) -> Misfire:
    policies: tuple[Misfire, ...] = get_args(Misfire)
    for policy in policies:
        if value == policy:
            return policy
    raise ValueError(f"must be all, latest or none, not {noun(value)}")


def _read_cron(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"must be a quoted cron expression, not {noun(value)}")
    try:
        CronSim(_cron_fields(value), _EPOCH)
    except CronSimError as error:
        raise ValueError(
            f"'{value}' is no cron expression ({error}): an example is '*/5 8-18 * * 1-5'"
        ) from None
    return value
