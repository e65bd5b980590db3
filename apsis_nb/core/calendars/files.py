"""The text of a `.cal` file: a list of dates, and the range in which it is complete."""

from datetime import date, timedelta

from apsis_nb.core.times import parse_date

from .kinds import Dates


class CalendarFileError(ValueError):
    """What is wrong with a calendar file, and in which line (from 1)."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


def dates_from_text(name: str, text: str) -> Dates:
    """The calendar that a `.cal` file holds.

    Args:
        name: of the calendar.
        text: a date a line (``2026-12-25`` or ``20261225``), in any order; what follows it in the line is a
            comment, as is a line that begins with ``#``. ``START DATE`` and ``STOP DATE`` say in which range
            the list is complete, the stop not included; else this is from its first to its last date.

    Raises:
        CalendarFileError: a line is none of these, a date is out of the range, or there is no date at all.
    """
    dates: dict[date, int] = {}
    bounds: dict[str, date] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        bound = words[0] if words[0] in {"START", "STOP"} else None
        if bound and len(words) < 2:
            raise CalendarFileError(number, f"'{bound}' needs a date: write '{bound} 2026-01-01'")
        if bound and bound in bounds:
            raise CalendarFileError(number, f"'{bound}' stands there twice")
        try:
            day = parse_date(words[1 if bound else 0])
        except ValueError as error:
            raise CalendarFileError(number, str(error)) from None
        if bound:
            bounds[bound] = day
        else:
            dates.setdefault(day, number)
    if not dates and len(bounds) < 2:
        raise CalendarFileError(1, "it has no dates: list them one a line, or give 'START' and 'STOP'")
    start = bounds.get("START") or min(dates)
    last = _before(bounds["STOP"]) if "STOP" in bounds else max(dates)
    for day, number in dates.items():
        if not start <= day <= last:
            raise CalendarFileError(number, f"{day} is not within START and STOP")
    return Dates(name, tuple(sorted(dates)), start, last)


def _before(day: date) -> date:
    return day if day == date.min else day - timedelta(days=1)
