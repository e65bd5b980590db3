"""What the name of a calendar means: weekdays, a file, holidays, or an expression of such names."""

import difflib
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Literal

from .kinds import ALL, NONE, WEEKDAYS, Calendar, Weekdays, combined
from .public import public_calendar

_NUMBER = {name: n for n, name in enumerate(WEEKDAYS)} | {str(n): n for n in range(7)}
_RANGE = re.compile(r"(\w+)-(\w+)")
_TOKEN = re.compile(r"[()&|~]|[^\s()&|~]+")
_HOW = (
    "write all, none, weekdays such as Mon-Fri or Mon,Wed, holidays such as US-holidays or XNYS-business,"
    " or the name of a .cal file"
)


def get_calendar(name: str, files: Mapping[str, Calendar] | None = None) -> Calendar:
    """The calendar of this name.

    Args:
        name: ``all``, ``none``, or weekdays: ``Mon-Fri``, ``Fri-Mon``, ``Mon,Wed``, ``0-4`` (0 is Monday);
            or that of a file; or ``US-holidays``, ``DE-BY-business``, ``XNYS-business`` and the like; or an
            expression of these with ``~`` (not), ``-`` (without, between blanks), ``&`` (and), ``|`` (or),
            which bind in this order, and parentheses: ``Mon-Fri - US-holidays``.
        files: the calendars of files, by name.

    Raises:
        ValueError: there is none of this name.
    """
    if files:
        return _Reader(name, files).calendar()
    return _without_files(name)


@lru_cache(maxsize=256)
def _without_files(name: str) -> Calendar:
    return _Reader(name, {}).calendar()


class _Reader:
    """The reading of one name."""

    def __init__(self, name: str, files: Mapping[str, Calendar]) -> None:
        self._name, self._files = name, files
        self._tokens = _TOKEN.findall(name)

    def calendar(self) -> Calendar:
        """The calendar of the whole name.

        Raises:
            ValueError: there is none.
        """
        if (simple := self._simple(self._name)) is not None:
            return simple
        meant = _meant(self._name)
        if meant is not None:
            raise self._error(f"did you mean '{meant}'?")
        if len(self._tokens) < 2:
            close = difflib.get_close_matches(self._name.lower(), ["all", "none", *self._files], n=1)
            raise self._error(f"did you mean '{close[0]}'?" if close else _HOW)
        calendar = self._either()
        if self._tokens:
            raise self._error(f"'{self._tokens[0]}' is not expected there")
        return calendar

    def _simple(self, name: str) -> Calendar | None:
        """The calendar of a name that is no expression; None: there is none."""
        if name in {"all", ALL.name}:
            return ALL
        if name == NONE.name:
            return NONE
        if (weekdays := _weekdays(name)) is not None:
            return Weekdays(name, weekdays)
        return self._files.get(name) or public_calendar(name)

    # Each of these takes what it reads from the front of the tokens; the names of the parts are only told.

    def _either(self) -> Calendar:
        calendar = self._both()
        while self._next("|"):
            calendar = self._with("|", calendar, self._both())
        return calendar

    def _both(self) -> Calendar:
        calendar = self._without()
        while self._next("&"):
            calendar = self._with("&", calendar, self._without())
        return calendar

    def _without(self) -> Calendar:
        calendar = self._one()
        while self._next("-"):
            calendar = self._with("-", calendar, self._one())
        return calendar

    def _one(self) -> Calendar:
        if self._next("~"):
            return self._with("-", ALL, self._one())
        if self._next("("):
            calendar = self._either()
            if not self._next(")"):
                raise self._error("a ')' is missing")
            return calendar
        if not self._tokens:
            raise self._error("a name is missing at its end")
        word = self._tokens.pop(0)
        if (calendar_or_none := self._simple(word)) is None:
            raise self._error(f"there is no '{word}'")
        return calendar_or_none

    def _next(self, token: str) -> bool:
        if self._tokens[:1] != [token]:
            return False
        self._tokens.pop(0)
        return True

    def _with(self, operator: Literal["&", "|", "-"], left: Calendar, right: Calendar) -> Calendar:
        return combined(self._name, operator, left, right)

    def _error(self, why: str) -> ValueError:
        return ValueError(f"no such calendar: '{self._name}': {why}")


def _weekdays(name: str) -> frozenset[int] | None:
    """The weekdays of `Mon-Fri,Sun` and the like; None: it is no such name."""
    weekdays: set[int] = set()
    for part in name.split(",") if name else ():
        first, last = match.groups() if (match := _RANGE.fullmatch(part)) else (part, part)
        if first not in _NUMBER or last not in _NUMBER:
            return None
        span = (_NUMBER[last] - _NUMBER[first]) % 7 + 1
        weekdays |= {(_NUMBER[first] + n) % 7 for n in range(span)}
    return frozenset(weekdays)


def _meant(name: str) -> str | None:
    """The same weekdays, written as they must be; None: it is about something else."""
    words = re.split(r"([-,])", re.sub(r"\s*([-,])\s*", r"\1", name.strip()))
    for n, word in enumerate(words):
        near = [w for w in WEEKDAYS if word.isalpha() and w.lower().startswith(word[:3].lower())]
        words[n] = near[0] if near else word
    return "".join(words) if all(w in _NUMBER for w in words[::2]) else None
