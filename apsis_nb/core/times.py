"""Times, dates, daytimes, durations and zones: read from what people write, and written back.

What is written, is written here, in one of these forms; no other module has a form of its own
(tests/repo/test_time_formats.py):

* `format_time`: for programs, `2026-01-31T09:00:00Z`;
* `format_local`: for people, as the clocks of a zone show it, `2026-01-31 10:00:00 CET`;
* `format_utc`: the same in UTC, in logs and reasons, `2026-01-31 09:00:00Z`;
* `format_iso`: a date, a daytime, or a time as it is, for args and stored values.
"""

import difflib
import math
import re
from calendar import day_abbr, month_abbr, month_name
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import lru_cache
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

#: Seconds of each unit of a duration, longest first.
_UNITS: dict[str, tuple[int, tuple[str, ...]]] = {
    "w": (604800, ("w", "week", "weeks")),
    "d": (86400, ("d", "day", "days")),
    "h": (3600, ("h", "hour", "hours")),
    "m": (60, ("m", "min", "minute", "minutes")),
    "s": (1, ("s", "sec", "second", "seconds")),
}
_UNIT_S = {name: seconds for seconds, names in _UNITS.values() for name in names}

#: What a time is written to; what is finer is cut off.
Precision = Literal["minute", "second", "millisecond", "microsecond"]
_TIMESPEC: dict[Precision, str] = {
    "minute": "minutes",
    "second": "seconds",
    "millisecond": "milliseconds",
    "microsecond": "microseconds",
}

_PART = re.compile(r"(\d+(?:\.\d*)?)\s*([^\W\d_]+)\s*", re.ASCII)
_DAYTIME = re.compile(r"(\d{1,2}):(\d\d):(\d\d)(?:\.(\d+))?", re.ASCII)
_FRACTION = re.compile(r"\.(\d+)", re.ASCII)
_DATE = re.compile(r"(\d{4})(?:-(\d\d)-(\d\d)|(\d\d)(\d\d))", re.ASCII)
_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d(?::\d\d(?:\.\d+)?)?)\s*(Z|[+-]\d\d:?\d\d)?"
    r"|(\d{8})T(\d{6}(?:\.\d+)?)(Z|[+-]\d{4})?",
    re.ASCII,
)


def parse_duration(value: Any) -> float:
    """Seconds of a duration.

    Args:
        value: seconds as a number or its text (``5``, ``"1e3"``), or text with units (``"90 s"``,
            ``"2 days"``, ``"1h30m"``, ``"1w"``). A leading minus makes it negative.

    Raises:
        ValueError: it is none of these, or not finite.
    """
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"{_quoted(value)} is no duration: write for example 90s, 5m, 1h30m or 2 days")
    try:
        seconds = float(value)
    except (ValueError, OverflowError):
        seconds = _duration_with_units(str(value))
    if not math.isfinite(seconds):
        raise ValueError(f"{_quoted(value)} is no duration: it must be finite")
    return seconds


def _duration_with_units(text: str) -> float:
    body = text.strip()
    sign = -1 if body.startswith("-") else 1
    body = body[1:] if body[:1] in {"-", "+"} else body
    seconds, end = 0.0, 0
    while part := _PART.match(body, end):
        number, unit = part.groups()
        if unit not in _UNIT_S:
            raise ValueError(f"'{text}' is no duration: unknown unit '{unit}', use {', '.join(_UNITS)}")
        seconds, end = seconds + float(number) * _UNIT_S[unit], part.end()
    if end == 0 or end != len(body):
        raise ValueError(f"'{text}' is no duration: write for example 90s, 5m, 1h30m or 2 days")
    return sign * seconds


def format_duration(seconds: float) -> str:
    """A duration in the form that `parse_duration` reads: ``1h30m``, ``2.5s``, ``0s``.

    Args:
        seconds: any finite number; a fraction is kept to the microsecond.
    """
    us = round(abs(seconds) * 1_000_000)
    text = ""
    for unit in ("w", "d", "h", "m"):
        count, us = divmod(us, _UNIT_S[unit] * 1_000_000)
        text += f"{count}{unit}" if count else ""
    if us or not text:
        text += f"{us // 1_000_000}{_fraction(us % 1_000_000)}s"
    return "-" + text if seconds < 0 and text != "0s" else text


def parse_daytime(value: Any) -> time:
    """A time of day.

    Args:
        value: ``H:MM:SS`` with an optional fraction, or a number of seconds since midnight.

    Raises:
        ValueError: it is neither.
    """
    if isinstance(value, time) and value.tzinfo is None:
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 86400:
        us = int(value * 1_000_000)
        return time(us // 3_600_000_000, us // 60_000_000 % 60, us // 1_000_000 % 60, us % 1_000_000)
    if isinstance(value, str):
        if match := _DAYTIME.fullmatch(value):
            hour, minute, second, fraction = match.groups()
            try:
                return time(int(hour), int(minute), int(second), int((fraction or "").ljust(6, "0")[:6]))
            except ValueError:
                raise ValueError(f"'{value}' is no daytime: it must be 00:00:00 to 23:59:59") from None
        if re.fullmatch(r"\d{1,2}:[0-5]\d", value, re.ASCII):
            raise ValueError(f"'{value}' is no daytime: write the seconds too, '{value}:00'")
    raise ValueError(f"{_quoted(value)} is no daytime: write it as '09:30:00'")


def format_daytime(daytime: time) -> str:
    """``09:00:00``, ``09:00:00.5``."""
    return format_iso(daytime)


def format_iso(value: date | time) -> str:
    """A date, a daytime or a time as it is, in ISO 8601, without trailing zeros.

    `2026-01-31`, `09:00:00`, `2026-01-31T09:00:00.5+00:00`; a time has the offset that it has, or none.
    """
    text = value.isoformat()
    return _without_zeros(text) if "." in text else text  # schedules write very many


def parse_date(value: Any) -> date:
    """A date.

    Args:
        value: ``YYYY-MM-DD`` or ``YYYYMMDD``, or a date.

    Raises:
        ValueError: it is none, or there is no such day.
    """
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    match = _DATE.fullmatch(value) if isinstance(value, str) else None
    if not match:
        raise ValueError(f"{_quoted(value)} is no date: write it as '2026-01-31'")
    year, month, day, short_month, short_day = match.groups()
    try:
        return date(int(year), int(month or short_month), int(day or short_day))
    except ValueError:
        raise ValueError(f"'{value}' is no date: there is no such day") from None


def parse_time(value: Any, tz: ZoneInfo | None = None) -> datetime:
    """An instant; aware, UTC.

    Args:
        value: ISO 8601 to the second, with a zone (``2026-01-31T09:00:00Z``, ``2026-01-31 10:00:00+01:00``,
            ``20260131T090000Z``), or a datetime.
        tz: the zone of a time that names none; with None such a time is an error.

    Raises:
        ValueError: it is no such time, has no zone, or is skipped by a change of the clocks in `tz`.
    """
    match = _TIME.fullmatch(value.strip()) if isinstance(value, str) else None
    if match and match[2] and len(match[2]) == 5:
        whole = f"{match[1]}T{match[2]}:00{match[3] or ''}"
        raise ValueError(f"'{value}' is no time: write the seconds too, '{whole}'")
    return _instant(value, match, tz)


def _instant(value: Any, match: re.Match[str] | None, tz: ZoneInfo | None) -> datetime:
    if isinstance(value, datetime):
        at = value
    elif match:
        day, daytime = match[1] or match[4], match[2] or match[5]
        try:
            at = datetime.fromisoformat(f"{day}T{daytime}{match[3] or match[6] or ''}")
        except ValueError as error:
            raise ValueError(f"'{value}' is no time: {error}") from None
    else:
        raise ValueError(f"{_quoted(value)} is no time: write it as '2026-01-31T09:00:00Z'")
    if at.tzinfo is None:
        if tz is None:
            raise ValueError(f"'{value}' has no time zone: add Z for UTC, or an offset such as +01:00")
        local = resolve_local(at.date(), at.time(), tz)
        if local is None:
            raise ValueError(f"'{value}' does not exist in {tz.key}: the clocks skip it")
        return local
    try:
        return at.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"'{value}' is no time: it is out of range") from None


def format_time(at: datetime, precision: Precision = "microsecond") -> str:
    """An instant for programs: ``2026-01-31T09:00:00Z``; a fraction without trailing zeros.

    Raises:
        ValueError: `at` has no time zone.
    """
    return _shown(at, UTC, precision, "T") + "Z"


def format_utc(at: datetime) -> str:
    """An instant for people, in UTC and to the second, as logs and reasons have it: ``2026-01-31 09:00:00Z``.

    Raises:
        ValueError: `at` has no time zone.
    """
    return _shown(at, UTC, "second", " ") + "Z"


def format_local(
    at: datetime, tz: tzinfo, precision: Precision = "second", *, with_zone: bool = False
) -> str:
    """What the clocks of a zone show at an instant: ``2026-01-31 10:00:00``, ``2026-01-31 10:00:00.25 CET``.

    Args:
        at: aware.
        tz: the zone.
        precision: what is finer is cut off; a fraction has no trailing zeros.
        with_zone: with the short name of the zone's time then; where it has none, the offset.

    Raises:
        ValueError: `at` has no time zone.
    """
    text = _shown(at, tz, precision, " ")
    return f"{text} {zone_name(at, tz)}" if with_zone else text


def format_month(day: date) -> str:
    """A month for people: ``January 2026``."""
    return f"{month_name[day.month]} {day.year}"


def format_day(day: date, *, with_year: bool = False) -> str:
    """A day for people: ``Mon 30 Nov``, ``Mon 30 Nov 2026``."""
    text = f"{day_abbr[day.weekday()]} {day.day} {month_abbr[day.month]}"
    return f"{text} {day.year}" if with_year else text


def format_clock(at: datetime | time) -> str:
    """What a clock shows, to the minute: ``09:05``."""
    return f"{at.hour:02}:{at.minute:02}"


def zone_name(at: datetime, tz: tzinfo) -> str:
    """The short name of the time of a zone at an instant, ``CET``; where it has none, the offset."""
    return at.astimezone(tz).tzname() or ""


def _shown(at: datetime, tz: tzinfo, precision: Precision, sep: str) -> str:
    if at.tzinfo is None:
        raise ValueError(f"{format_iso(at)} has no time zone")
    local = (at if at.tzinfo is tz else at.astimezone(tz)).replace(tzinfo=None)
    text = local.isoformat(sep, _TIMESPEC[precision])
    return text.rstrip("0").rstrip(".") if "." in text else text


def parse_when(text: str, now: datetime, tz: ZoneInfo) -> datetime:
    """An instant as people say it on a command line or in a form; aware, UTC.

    Args:
        text: ``now``, ``+10m`` or ``-2h`` from now, ``2026-01-31`` (the first moment of that day), ``09:00``
            or ``09:00:00`` (the next one after now), or a time of ISO 8601, with a zone or without.
        now: aware.
        tz: the zone of what names none.

    Raises:
        ValueError: it is none of these.
    """
    said = text.strip()
    if said == "now":
        return now.astimezone(UTC)
    if said[:1] in {"+", "-"}:
        try:
            return now.astimezone(UTC) + timedelta(seconds=parse_duration(said))
        except OverflowError:
            raise ValueError(f"'{text}' is no time: it is out of range") from None
    if _DATE.fullmatch(said):
        return after_gap(parse_date(said), time(), tz)
    daytime = said + ":00" if re.fullmatch(r"\d{1,2}:\d\d", said, re.ASCII) else said
    if _DAYTIME.fullmatch(daytime):
        return next_daytime(parse_daytime(daytime), now, tz)
    if match := _TIME.fullmatch(said):
        return _instant(text, match, tz)
    raise ValueError(
        f"'{text}' is no time: write now, +10m, 09:00, 2026-01-31, or the whole of it, 2026-01-31T09:00:00Z"
    )


@lru_cache(maxsize=1024)
def zone(name: str) -> ZoneInfo:
    """The time zone of an IANA name.

    Raises:
        ValueError: there is none of this name.
    """
    if name == "utc":
        return zone("UTC")
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError, TypeError):  # a folder of zones is an OSError
        near = difflib.get_close_matches(str(name), available_timezones(), n=1)
        hint = f": did you mean '{near[0]}'?" if near else ": write an IANA name such as Europe/London"
        raise ValueError(f"unknown time zone {_quoted(name)}{hint}") from None


def resolve_local(day: date, daytime: time, tz: ZoneInfo) -> datetime | None:
    """The instant, in UTC, at which the clocks of `tz` show this date and daytime.

    The first one where they show it twice; None where they skip it, or where it is out of datetime's range.
    """
    local = datetime.combine(day, daytime, tz)
    try:
        at = local.astimezone(UTC)
        shown = at.astimezone(tz)
    except OverflowError:
        return None
    # Comparing two datetimes of one zone compares what the clocks show.
    return at if shown == local else None


def after_gap(day: date, daytime: time, tz: ZoneInfo) -> datetime:
    """As `resolve_local`, but a time that the clocks skip is read on the clock of before the change.

    So 02:30, where clocks go from 02:00 to 03:00, is 03:30.
    """
    try:
        return datetime.combine(day, daytime, tz).astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{day} {format_daytime(daytime)} in {tz.key} is out of range") from None


def next_daytime(daytime: time, after: datetime, tz: ZoneInfo) -> datetime:
    """The instant, in UTC, at which the clocks of `tz` next show `daytime`, by the clock after `after`.

    Today if the clocks have not shown it yet, else tomorrow. Where they skip it, as `after_gap` has it; where
    they show it twice, the first one that is after `after`.
    """
    local = after.astimezone(tz)
    day = local.date() if local.time() < daytime else local.date() + timedelta(days=1)
    at = after_gap(day, daytime, tz)
    return at if at > after else after_gap(day, daytime.replace(fold=1), tz)


def _without_zeros(text: str) -> str:
    """ISO 8601 without the zeros at the end of a fraction."""
    return _FRACTION.sub(lambda found: f".{found[1]}".rstrip("0").rstrip("."), text, count=1)


def _fraction(us: int) -> str:
    return f".{us:06d}".rstrip("0") if us else ""


def _quoted(value: Any) -> str:
    return f"'{value}'" if isinstance(value, str) else "nothing" if value is None else str(value)
