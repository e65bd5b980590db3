"""The kinds of calendar that need no library: weekdays, listed dates, and combinations of calendars."""

from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Literal

WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")

_DAY = timedelta(days=1)
#: Days, a hundred years. Nobody waits for what comes after a longer gap, and to look for it takes seconds.
LONGEST_GAP = 36_525


@dataclass(frozen=True, slots=True)
class Calendar(ABC):
    """A set of days. What it knows may begin and end; it has no days before and after."""

    name: str  #: `get_calendar` reads it back

    @property
    def first(self) -> date:
        """From this day on it is known."""
        return date.min

    @property
    def last(self) -> date:
        """Up to this day it is known."""
        return date.max

    @abstractmethod
    def __contains__(self, day: date, /) -> bool: ...

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
            ValueError: there is none, or a gap of more than `LONGEST_GAP` days before it.
        """
        if not count:
            return day
        step = 1 if count > 0 else -1
        first, last, left = self.first.toordinal(), self.last.toordinal(), abs(count)
        # From outside of what is known, begin at its edge.
        latest = start = max(day.toordinal() + 1, first) if count > 0 else min(day.toordinal() - 1, last)
        for ordinal in range(start, last + 1 if count > 0 else first - 1, step):
            found = date.fromordinal(ordinal)
            if found in self:
                left -= 1
                if not left:
                    return found
                latest = ordinal
            elif abs(ordinal - latest) > LONGEST_GAP:
                break
        raise ValueError(f"{count:+d} days of the calendar '{self.name}' from {day} is out of range")

    def days(self, first: date, last: date = date.max) -> Iterator[date]:
        """The days of the calendar from `first` to `last`, both included, rising."""
        for ordinal in range(max(first, self.first).toordinal(), min(last, self.last).toordinal() + 1):
            day = date.fromordinal(ordinal)
            if day in self:
                yield day


@dataclass(frozen=True, slots=True)
class Weekdays(Calendar):
    """The days that fall on some weekdays."""

    weekdays: frozenset[int]  #: 0 is Monday

    def __contains__(self, day: date, /) -> bool:
        return day.weekday() in self.weekdays

    def shift(self, day: date, count: int) -> date:
        step = 1 if count > 0 else -1
        left = abs(count)
        if left and not self.weekdays:
            raise ValueError(f"the calendar '{self.name}' has no days")
        try:
            while left:
                if left > len(self.weekdays) and day in self:
                    # From a day of the calendar, a week is one round of it.
                    weeks = (left - 1) // len(self.weekdays)
                    day += weeks * 7 * step * _DAY
                    left -= weeks * len(self.weekdays)
                day += step * _DAY
                left -= day in self
        except OverflowError:
            raise ValueError(f"{count} days of the calendar '{self.name}' is out of range") from None
        return day

    def days(self, first: date, last: date = date.max) -> Iterator[date]:
        weekdays, day_of = self.weekdays, date.fromordinal
        if not weekdays:
            return
        for ordinal in range(first.toordinal(), last.toordinal() + 1):
            if (ordinal + 6) % 7 in weekdays:  # day 1 was a Monday
                yield day_of(ordinal)


@dataclass(frozen=True, slots=True)
class Dates(Calendar):
    """Days that somebody listed, within a range in which the list is complete."""

    listed: tuple[date, ...]  #: rising
    start: date  #: the first day that the list is about
    stop: date  #: the last one
    _set: frozenset[date] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_set", frozenset(self.listed))

    @property
    def first(self) -> date:
        return self.start

    @property
    def last(self) -> date:
        return self.stop

    def __contains__(self, day: date, /) -> bool:
        return day in self._set

    def days(self, first: date, last: date = date.max) -> Iterator[date]:
        for day in self.listed[bisect_left(self.listed, first) :]:
            if day > last:
                return
            yield day


@dataclass(frozen=True, slots=True)
class Combined(Calendar):
    """Two calendars as one: the days of both, of either, or of the one and not the other.

    It is known where both are: whether a day after the last listed holiday is a holiday, nobody can tell.
    """

    operator: Literal["&", "|", "-"]
    left: Calendar
    right: Calendar

    @property
    def first(self) -> date:
        return max(self.left.first, self.right.first)

    @property
    def last(self) -> date:
        return min(self.left.last, self.right.last)

    def __contains__(self, day: date, /) -> bool:
        if not self.first <= day <= self.last:
            return False
        match self.operator:
            case "&":
                return day in self.left and day in self.right
            case "|":
                return day in self.left or day in self.right
            case "-":
                return day in self.left and day not in self.right

    def days(self, first: date, last: date = date.max) -> Iterator[date]:
        first, last = max(first, self.first), min(last, self.last)
        if self.operator == "|":
            yield from Calendar.days(self, first, last)
        else:
            wanted = self.operator == "&"
            for day in self.left.days(first, last):
                if (day in self.right) is wanted:
                    yield day


def combined(name: str, operator: Literal["&", "|", "-"], left: Calendar, right: Calendar) -> Calendar:
    """Two calendars as one; weekdays stay weekdays, which are quickly stepped through."""
    if isinstance(left, Weekdays) and isinstance(right, Weekdays):
        days = {"&": left.weekdays & right.weekdays, "|": left.weekdays | right.weekdays}
        return Weekdays(name, days.get(operator, left.weekdays - right.weekdays))
    return Combined(name, operator, left, right)


#: Every day. Its long name is the one that job files see in the arg `calendar`.
ALL = Weekdays("all days", frozenset(range(7)))
NONE = Weekdays("none", frozenset())
