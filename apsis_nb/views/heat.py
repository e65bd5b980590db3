"""Calendars as heat maps: each cell is a button, so a keyboard and a screen reader reach it too."""

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from apsis_nb.core.times import format_day, format_iso

from .markup import text

LEVELS = 5
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
#: Weeks up to which a cell has room for the number of its day.
_WEEKS_WITH_NUMBERS = 18

#: What a value is in words, for the reader of one cell.
Words = Callable[[float], str]


def level(value: float, most: float) -> int:
    """How dark a cell is: 0 is nothing, `LEVELS` the most. Whatever there is, however little, is seen."""
    if value <= 0 or most <= 0:
        return 0
    return max(1, math.ceil(LEVELS * min(value / most, 1)))


def days_html(
    values: Mapping[datetime, float], since: datetime, until: datetime, zone: ZoneInfo, words: Words
) -> str:
    """A column a week, a row a day of the week.

    Args:
        values: by the beginning of the day; a day that is not in it has nothing.
        since, until: the days shown.
        zone: of the days.
        words: tells a value.
    """
    by_day = {at.astimezone(zone).date(): (at, value) for at, value in values.items()}
    first, last = since.astimezone(zone).date(), (until - timedelta(microseconds=1)).astimezone(zone).date()
    monday = first - timedelta(days=first.weekday())
    weeks = (last - monday).days // 7 + 1
    most = max(values.values(), default=0.0)
    begins = [max(first, monday + timedelta(weeks=n)).month for n in range(weeks)]
    names = [_MONTHS[m - 1] if n == 0 or m != begins[n - 1] else "" for n, m in enumerate(begins)]
    heads = "".join(f'<th scope="col">{name}</th>' for name in names)
    rows = []
    for weekday in range(7):
        cells = []
        for week in range(weeks):
            day = monday + timedelta(weeks=week, days=weekday)
            if not first <= day <= last:
                cells.append("<td></td>")
                continue
            at, value = by_day.get(day, (None, 0.0))
            title = f"{format_day(day, with_year=True)}: {words(value)}"
            number = str(day.day) if weeks <= _WEEKS_WITH_NUMBERS else ""
            cells.append(_cell(at, value, most, title, number))
        rows.append(f'<tr><th scope="row">{_DAYS[weekday]}</th>{"".join(cells)}</tr>')
    return _table("days" if weeks <= _WEEKS_WITH_NUMBERS else "days small", heads, rows, "A column a week")


def hours_html(
    values: Mapping[datetime, float], since: datetime, until: datetime, zone: ZoneInfo, words: Words
) -> str:
    """A column a day, a row an hour; an hour that a day has twice is told in the same cell."""
    first, last = since.astimezone(zone).date(), (until - timedelta(microseconds=1)).astimezone(zone).date()
    by_cell: dict[tuple[date, int], list[tuple[datetime, float]]] = {}
    for at, value in values.items():
        local = at.astimezone(zone)
        by_cell.setdefault((local.date(), local.hour), []).append((at, value))
    most = max(values.values(), default=0.0)
    days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    heads = "".join(f'<th scope="col">{day.day}</th>' for day in days)
    rows = []
    for hour in range(24):
        cells = []
        for day in days:
            found = sorted(by_cell.get((day, hour), []))
            value = sum(v for _, v in found)
            title = f"{format_day(day)}, {hour:02d}:00: {words(value)}"
            cells.append(_cell(found[0][0] if found else None, value, most, title, ""))
        rows.append(f'<tr><th scope="row">{hour:02d}</th>{"".join(cells)}</tr>')
    return _table("hours", heads, rows, "A column a day, a row an hour")


def months_html(values: Mapping[datetime, float], zone: ZoneInfo, words: Words) -> str:
    """A column a month, a row a year."""
    by_month = {(at.astimezone(zone).year, at.astimezone(zone).month): (at, v) for at, v in values.items()}
    most = max(values.values(), default=0.0)
    years = sorted({year for year, _ in by_month})
    heads = "".join(f'<th scope="col">{name}</th>' for name in _MONTHS)
    rows = []
    for year in range(years[0], years[-1] + 1) if years else []:
        cells = []
        for month in range(1, 13):
            at, value = by_month.get((year, month), (None, 0.0))
            cells.append(_cell(at, value, most, f"{_MONTHS[month - 1]} {year}: {words(value)}", ""))
        rows.append(f'<tr><th scope="row">{year}</th>{"".join(cells)}</tr>')
    return _table("months", heads, rows, "A column a month, a row a year")


def _cell(at: datetime | None, value: float, most: float, title: str, number: str) -> str:
    if at is None:
        return f'<td><span class="cell l0" title="{text(title)}">{number}</span></td>'
    return (
        f'<td><button class="cell l{level(value, most)}" data-action="cell" data-value="{format_iso(at)}" '
        f'title="{text(title)}" aria-label="{text(title)}">{number}</button></td>'
    )


def _table(kind: str, heads: str, rows: Sequence[str], caption: str) -> str:
    return (
        f'<div class="scroll"><table class="heat {kind}"><caption>{caption}</caption>'
        f"<thead><tr><td></td>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def scale_html(most: str, colour: str = "blue") -> str:
    """What light and dark mean; `colour` is that of the map: the last part of its CSS class."""
    cells = "".join(f'<i class="cell l{n}"></i>' for n in range(LEVELS + 1))
    return f'<span class="scale heat-{colour}"><span>none</span>{cells}<span>{text(most)}</span></span>'
