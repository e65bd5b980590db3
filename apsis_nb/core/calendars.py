"""Calendars: sets of days, by name, and stepping through them."""

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache

WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")

_NUMBER = {name: n for n, name in enumerate(WEEKDAYS)} | {str(n): n for n in range(7)}
_RANGE = re.compile(r"(\w+)-(\w+)")


@dataclass(frozen=True, slots=True)
class Calendar:
    """The days that fall on some weekdays."""

    name: str  #: `get_calendar` reads it back
    weekdays: frozenset[int]  #: 0 is Monday

    def __contains__(self, day: date, /) -> bool:
        return day.weekday() in self.weekdays

    def before(self, day: date) -> date:
        """The latest day of the calendar that is not after `day`.

        Raises:
            ValueError: there is none.
        """
        return day if day in self else self.shift(day, -1)

    def after(self, day: date) -> date:
        """The earliest day of the calendar that is not before `day`.

        Raises:
            ValueError: there is none.
        """
        return day if day in self else self.shift(day, 1)

    def shift(self, day: date, count: int) -> date:
        """The `count`-th day of the calendar after `day`, before it if negative; for 0 `day` itself.

        Raises:
            ValueError: there is none.
        """
        step = timedelta(days=1 if count > 0 else -1)
        left = abs(count)
        if left and not self.weekdays:
            raise ValueError(f"the calendar '{self.name}' has no days")
        try:
            while left:
                if left > len(self.weekdays) and day in self:
                    # From a day of the calendar, a week is one round of it.
                    weeks = (left - 1) // len(self.weekdays)
                    day, left = day + weeks * 7 * step, left - weeks * len(self.weekdays)
                day += step
                left -= day in self
        except OverflowError:
            raise ValueError(f"{count} days of the calendar '{self.name}' is out of range") from None
        return day

    def days(self, first: date) -> Iterator[date]:
        """The days of the calendar from `first` on, rising, to the end of time."""
        if not self.weekdays:
            return
        for ordinal in range(first.toordinal(), date.max.toordinal() + 1):
            if (ordinal + 6) % 7 in self.weekdays:  # day 1 was a Monday
                yield date.fromordinal(ordinal)


#: Every day. Its long name is the one that job files see in the arg `calendar`.
ALL = Calendar("all days", frozenset(range(7)))
NONE = Calendar("none", frozenset())


@lru_cache(maxsize=256)
def get_calendar(name: str) -> Calendar:
    """The calendar of this name.

    Args:
        name: ``all``, ``none``, or weekdays: ``Mon-Fri``, ``Fri-Mon``, ``Mon,Wed``, ``0-4`` (0 is Monday).

    Raises:
        ValueError: there is none of this name.
    """
    if name in {"all", ALL.name}:
        return ALL
    if name == NONE.name:
        return NONE
    weekdays: set[int] = set()
    for part in name.split(",") if name else ():
        first, last = match.groups() if (match := _RANGE.fullmatch(part)) else (part, part)
        if first not in _NUMBER or last not in _NUMBER:
            raise ValueError(f"no such calendar: '{name}'{_suggestion(name)}")
        span = (_NUMBER[last] - _NUMBER[first]) % 7 + 1
        weekdays |= {(_NUMBER[first] + n) % 7 for n in range(span)}
    return Calendar(name, frozenset(weekdays))


def _suggestion(name: str) -> str:
    """What was probably meant: the same weekdays, written as they must be."""
    words = re.split(r"([-,])", re.sub(r"\s*([-,])\s*", r"\1", name.strip()))
    for n, word in enumerate(words):
        near = [w for w in WEEKDAYS if word and w.lower().startswith(word[:3].lower())]
        words[n] = near[0] if near else word
    meant = "".join(words)
    if all(w in _NUMBER for w in words[::2]):
        return f": did you mean '{meant}'?"
    if close := difflib.get_close_matches(name.lower(), ["all", "none"], n=1):
        return f": did you mean '{close[0]}'?"
    return ": write all, none, or weekdays such as Mon-Fri or Mon,Wed"
