"""Cron expressions: what is wrong with one, and the times that one gives.

The library cronsim reads them and says which days match. It also gives the times around each change of the
clocks, so that the rules of Debian's cron hold there. On all other days, which are nearly all, they are the
same minutes of each day that matches, and need no search.
"""

import difflib
import re
from bisect import bisect_left
from calendar import monthrange
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from apsis_nb.core.times import format_daytime, format_iso

from .clocks import after, instants, is_even, local_date, midnight
from .kinds import CronSchedule, Dst, Occurrence

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

#: Expressions that have a name.
NAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
#: What each field is called, and what may stand there.
_FIELDS = (
    ("minute", "0-59"),
    ("hour", "0-23"),
    ("day-of-month", "1-31 or L, the last"),
    ("month", "1-12 or JAN-DEC"),
    ("day-of-week", "0-7 or SUN-SAT; 0 and 7 are Sunday"),
)
_EXAMPLE = "an example is '*/5 8-18 * * 1-5'"


def check_cron(cron: str) -> None:
    """Nothing, if it is a cron expression of five fields or one of `NAMES`.

    Raises:
        ValueError: it is not; says what is wrong, and what was probably meant.
    """
    said = f"'{cron}' is no cron expression"
    if cron.startswith("@"):
        if cron not in NAMES:
            raise ValueError(f"{said}: {_named(cron)}")
        return
    fields = cron.split()
    if len(fields) in {6, 7}:
        fewer = " ".join(fields[1:6]).replace("?", "*")
        why = "the first would be seconds, which are not supported"
        if len(fields) == 7:
            why = "the first would be seconds and the last years, which are not supported"
        raise ValueError(f"{said} of five fields: it has {len(fields)}; {why}: {_instead(fewer)}")
    if len(fields) != 5:
        raise ValueError(f"{said}: it has {len(fields)} of the five fields, {_listed()}: {_EXAMPLE}")
    if "?" in cron:
        raise ValueError(f"{said}: write * instead of ?: {_instead(cron.replace('?', '*'))}")
    try:
        CronSim(cron, _EPOCH)
    except (CronSimError, AssertionError) as error:
        raise ValueError(f"{said}: {_wrong_field(fields, str(error))}") from None


def _named(cron: str) -> str:
    if cron == "@reboot":
        return "a schedule knows no reboot; the server runs all the time"
    if re.fullmatch(r"@every .+", cron):
        return f"for every {cron[7:]} write a schedule with 'type: interval' and 'interval: {cron[7:]}'"
    close = difflib.get_close_matches(cron.lower(), NAMES, n=1)
    return f"did you mean '{close[0]}'?" if close else f"the names are {', '.join(NAMES)}"


def _instead(cron: str) -> str:
    """What to write instead, if that is right."""
    try:
        CronSim(cron, _EPOCH)
    except (CronSimError, AssertionError):
        return _EXAMPLE
    return f"did you mean '{cron}'?"


def _listed() -> str:
    return ", ".join(name for name, _ in _FIELDS)


def _wrong_field(fields: list[str], error: str) -> str:
    for text, (name, allowed) in zip(fields, _FIELDS, strict=True):
        if error == f"Bad {name}":
            if name == "day-of-month" and text.isdecimal() and 29 < int(text) <= 31:
                return f"no month that it names has a day {text}"
            return f"the {name} is '{text}', and may be * or {allowed}, lists, ranges and steps"
    return f"{error or 'a field is wrong'}: {_EXAMPLE}"


class _Table(NamedTuple):
    """A cron expression, read."""

    fields: str
    days: str  #: the fields that say on which days
    minutes: tuple[tuple[time, timedelta, str], ...]  #: of a day: daytime, since midnight, as text


@lru_cache(maxsize=1024)
def _table(cron: str) -> _Table:
    fields = NAMES.get(cron, cron)
    rule = CronSim(fields, _EPOCH)
    daytimes = [time(hour, minute) for hour in sorted(rule.hours) for minute in sorted(rule.minutes)]
    minutes = ((d, timedelta(hours=d.hour, minutes=d.minute), format_daytime(d)) for d in daytimes)
    return _Table(fields, " ".join(fields.split()[2:]), tuple(minutes))


@lru_cache(maxsize=1024)
def _days(fields: str, year: int) -> tuple[date, ...]:
    """The days of a year that the last three fields of an expression name, rising."""
    rule = CronSim(f"0 0 {fields}", _EPOCH)
    months = (date(year, month, 1) for month in sorted(rule.months))
    days = (first + timedelta(days=n) for first in months for n in range(monthrange(year, first.month)[1]))
    return tuple(day for day in days if rule.match_day(day))


def _days_between(table: _Table, first: date, last: date) -> list[date]:
    years = range(first.year, last.year + 1)
    return [day for year in years for day in _days(table.days, year) if first <= day <= last]


def explain_cron(cron: str) -> str:
    """The expression in English: "at 09:30 on Monday through Friday"."""
    text = str(CronSim(_table(cron).fields, _EPOCH).explain())
    return text[:1].lower() + text[1:]


def cron_times(schedule: CronSchedule, start: datetime, stop: datetime) -> Iterator[Occurrence]:
    """The times of a cron schedule from `start` to before `stop`, strictly rising; all UTC."""
    tz, tz_text, minutes = schedule.tz, str(schedule.tz), _table(schedule.cron).minutes
    for first, last in _stretches(schedule, start, stop):
        if last is None:
            begin, date_text = midnight(first, tz), format_iso(first)
            for _, delta, daytime in minutes:
                at = begin + delta
                if start <= at < stop:
                    yield _occurrence(at, date_text, daytime, tz_text)
        else:
            for at in _uneven_times(schedule, first, last):
                if start <= at < stop:
                    local = at.astimezone(tz)
                    yield _occurrence(at, format_iso(local.date()), format_daytime(local.time()), tz_text)


def _occurrence(at: datetime, day: str, daytime: str, tz: str) -> Occurrence:
    text = format_iso(at)
    return Occurrence(at, {"date": day, "time": text, "schedule_time": text, "daytime": daytime, "tz": tz})


def cron_count(schedule: CronSchedule, start: datetime, stop: datetime) -> int:
    """How many times `cron_times` gives."""
    tz, minutes = schedule.tz, _table(schedule.cron).minutes
    inside = local_date(start, tz, 1), local_date(stop, tz, -1)
    count = 0
    for first, last in _stretches(schedule, start, stop):
        if last is not None:
            count += sum(start <= at < stop for at in _uneven_times(schedule, first, last))
        elif inside[0] <= first <= inside[1]:
            count += len(minutes)
        else:
            begin = midnight(first, tz)
            count += sum(start <= begin + delta < stop for _, delta, _ in minutes)
    return count


def _stretches(schedule: CronSchedule, start: datetime, stop: datetime) -> Iterator[tuple[date, date | None]]:
    """The days from that of `start` to that of `stop`, as far as they may have times.

    Yields:
        (day, None) for an even day that matches, (first, last) for all of the uneven days in a row.
    """
    table, tz = _table(schedule.cron), schedule.tz
    begin, end = local_date(start, tz, -1), local_date(stop, tz, 1)
    # What uneven days give depends on all of them.
    while begin > date.min and not is_even(begin, tz):
        begin = after(begin, -1)
    told = None
    for year in range(begin.year, end.year + 1):
        days = _days(table.days, year)
        for day in days[bisect_left(days, begin) :]:
            if day > end:
                return
            if is_even(day, tz):
                yield day, None
            elif told is None or day > told:
                first, told = _uneven_row(day, tz)
                yield first, told


def _uneven_row(day: date, tz: ZoneInfo) -> tuple[date, date]:
    """The first and the last of the uneven days in a row that an uneven day belongs to."""
    first = last = day
    while first > date.min and not is_even(after(first, -1), tz):
        first = after(first, -1)
    while last < date.max and not is_even(after(last, 1), tz):
        last = after(last, 1)
    return first, last


def _uneven_times(schedule: CronSchedule, first: date, last: date) -> tuple[datetime, ...]:
    """The times on uneven days in a row, strictly rising."""
    return _known_uneven_times(schedule.cron, schedule.tz, schedule.dst, first, last)


@lru_cache(maxsize=4096)
def _known_uneven_times(
    cron: str, tz: ZoneInfo, dst: Dst | None, first: date, last: date
) -> tuple[datetime, ...]:
    """To search for them takes a tenth of a millisecond, and they are asked for at each look ahead."""
    return tuple(_searched_uneven_times(_table(cron), tz, dst, first, last))


def _searched_uneven_times(
    table: _Table, tz: ZoneInfo, dst: Dst | None, first: date, last: date
) -> Iterator[datetime]:
    if dst is not None:
        days = _days_between(table, first, last)
        yield from sorted(
            {at for day in days for d, _, _ in table.minutes for at in instants(day, d, tz, dst)}
        )
        return
    # From the day before, which is even: so cronsim comes to the change as from any earlier day.
    before = datetime.combine(after(first, -1), time(), tz)
    begin, end = (datetime.combine(day, time(), tz) for day in (first, after(last, 1)))
    try:
        latest = begin.astimezone(UTC) - timedelta(microseconds=1)
        stop = end.astimezone(UTC) if last < date.max else datetime.max.replace(tzinfo=UTC)
        for local in CronSim(table.fields, before - timedelta(seconds=1)):
            at = local.astimezone(UTC)
            if at >= stop:
                return
            if at > latest:
                latest = at
                yield at
    except OverflowError:  # the ends of datetime's range
        return


def idle_days(schedule: CronSchedule, start: datetime, stop: datetime) -> Iterator[date]:
    """The days between two times that match, and on which clocks skip all the times of a cron schedule."""
    table, tz = _table(schedule.cron), schedule.tz
    for first, last in _stretches(schedule, start, stop):
        if last is None:
            continue
        days = _days_between(table, first, last)
        told = {at.astimezone(tz).date() for at in _uneven_times(schedule, first, last)}
        yield from (day for day in days if day not in told)
