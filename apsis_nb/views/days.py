"""A calendar of days as HTML that needs nothing but itself: for a notebook, also one that was saved."""

from calendar import month_abbr
from collections.abc import Mapping
from datetime import date, timedelta

from apsis_nb.core.times import format_day

from .markup import text

_DAYS = ("Mon", "", "Wed", "", "Fri", "", "Sun")
#: A cell with the most is so opaque; one with the least is never less than the first.
_FAINT, _FULL = 0.22, 1.0
#: Of what goes well, and of what does not; both are seen on light and dark paper.
GOOD, BAD = "41,121,184", "192,57,43"
_CELL = "padding:0;height:14px;min-width:14px"
_NAME = "font-size:11px;font-weight:normal;text-align:left;padding:0 4px 0 0;opacity:.8;white-space:nowrap"


def days_html(values: Mapping[date, float], first: date, last: date, what: str, colour: str = GOOD) -> str:
    """A column a week, a row a day of the week; the more, the darker.

    Args:
        values: by day; one that is not in it has none.
        first, last: the days that are shown.
        what: the values are called.
        colour: of a cell, as red, green and blue.
    """
    monday = first - timedelta(days=first.weekday())
    weeks = (last - monday).days // 7 + 1
    most = max(values.values(), default=0.0)
    begins = [max(first, monday + timedelta(weeks=n)) for n in range(weeks)]
    heads = "".join(
        f"<th scope='col' style='{_NAME};max-width:14px;overflow:visible'>"
        f"{month_abbr[day.month] if n == 0 or day.month != begins[n - 1].month else ''}</th>"
        for n, day in enumerate(begins)
    )
    rows = "".join(
        f"<tr style='background:none'><th scope='row' style='{_NAME}'>{_DAYS[weekday]}</th>"
        + "".join(
            _cell(monday + timedelta(weeks=week, days=weekday), values, first, last, most, what, colour)
            for week in range(weeks)
        )
        + "</tr>"
        for weekday in range(7)
    )
    total = sum(values.values())
    return (
        "<div style='overflow-x:auto'>"
        "<table style='border-collapse:separate;border-spacing:3px;margin:.4em 0;width:auto'>"
        f"<caption style='text-align:left;caption-side:top;padding:.2em 0'>{text(what)}: {total:,.0f} from "
        f"{format_day(first)} to {format_day(last, with_year=True)}; at most {most:,.0f} a day</caption>"
        f"<thead><tr><td></td>{heads}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _cell(
    day: date,
    values: Mapping[date, float],
    first: date,
    last: date,
    most: float,
    what: str,
    colour: str,
) -> str:
    if not first <= day <= last:
        return "<td style='padding:0'></td>"
    value = values.get(day, 0.0)
    share = _FAINT + (_FULL - _FAINT) * value / most if value > 0 else 0.0
    paint = f"rgba({colour},{share:.2f})" if share else "rgba(128,128,128,.13)"
    return (
        f"<td title='{format_day(day, with_year=True)}: {value:,.0f} {text(what)}' "
        f"style='{_CELL};background:{paint}'></td>"
    )
