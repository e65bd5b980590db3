"""Calendars: sets of days, by name, and stepping through them."""

from .files import CalendarFileError, dates_from_text
from .kinds import ALL, LONGEST_GAP, NONE, WEEKDAYS, Calendar, Dates
from .names import get_calendar

__all__ = [
    "ALL",
    "LONGEST_GAP",
    "NONE",
    "WEEKDAYS",
    "Calendar",
    "CalendarFileError",
    "Dates",
    "dates_from_text",
    "get_calendar",
]
