"""Calendars of the holidays and business days of countries and markets, by the library `holidays`."""

import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, cast

from .kinds import Calendar

if TYPE_CHECKING:
    from holidays import HolidayBase

Kind = Literal["holidays", "business"]

_NAME = re.compile(r"([A-Z][A-Z0-9]{1,3})(?:-([A-Za-z0-9]+))?-(holidays|business)")
#: The calendars that came with Apsis, by the names that its job files know.
_OF_APSIS = {"usa-federal-holidays": "US-holidays", "usa-federal-businessdays": "US-business"}


@dataclass(frozen=True, slots=True)
class Public(Calendar):
    """The public holidays of a country, a part of it or a market, or the days on which people work there."""

    code: str  #: of a country (ISO 3166) or a market (its MIC or short name)
    part: str | None  #: of the country
    kind: Kind

    @property
    def first(self) -> date:
        return date(_years(self.code, self.part)[0], 1, 1)

    @property
    def last(self) -> date:
        return date(_years(self.code, self.part)[1], 12, 31)

    def __contains__(self, day: date, /) -> bool:
        return day in _days(self.code, self.part, self.kind, day.year)

    def days(self, first: date, last: date = date.max) -> Iterator[date]:
        first, last = max(first, self.first), min(last, self.last)
        for year in range(first.year, last.year + 1):
            days = _rising(self.code, self.part, self.kind, year)
            for day in days[bisect_left(days, first) :]:
                if day > last:
                    return
                yield day


def public_calendar(name: str) -> Public | None:
    """The calendar of a name such as `US-holidays`, `DE-BY-business` or `XNYS-business`; None: no such name.

    Raises:
        ValueError: the name has that form, but there is no such country or part of it.
    """
    match = _NAME.fullmatch(_OF_APSIS.get(name, name))
    if match is None:
        return None
    code, part, kind = match.groups()
    parts = _places().get(code)
    if parts is None:
        raise ValueError(
            f"no such calendar: '{name}': {code} is neither the code of a country, such as US, nor of a"
            " market, such as XNYS"
        )
    if part is not None and part not in parts:
        known = f"write one of {', '.join(parts)}" if parts else "it has none"
        raise ValueError(f"no such calendar: '{name}': {part} is no part of {code}: {known}")
    return Public(name, code, part, cast(Kind, kind))


@lru_cache(maxsize=1)
def _places() -> dict[str, list[str]]:
    """The codes of countries and markets, and the parts that they have."""
    # Loaded late: most jobs need no holidays, and the library takes its time to load.
    import holidays

    return holidays.list_supported_financial() | holidays.list_supported_countries()


def _table(code: str, part: str | None, years: range) -> "HolidayBase":
    import holidays

    if code in holidays.list_supported_countries():
        return holidays.country_holidays(code, subdiv=part, years=years)
    return holidays.financial_holidays(code, subdiv=part, years=years)


@lru_cache(maxsize=256)
def _years(code: str, part: str | None) -> tuple[int, int]:
    table = _table(code, part, range(0))
    return table.start_year, table.end_year


@lru_cache(maxsize=4096)
def _rising(code: str, part: str | None, kind: Kind, year: int) -> tuple[date, ...]:
    return tuple(sorted(_days(code, part, kind, year)))


@lru_cache(maxsize=4096)
def _days(code: str, part: str | None, kind: Kind, year: int) -> frozenset[date]:
    first, last = _years(code, part)
    if not first <= year <= last:
        return frozenset()
    # The years beside it too: a holiday that falls on a weekend may be kept in the year before or after.
    table = _table(code, part, range(max(first, year - 1), min(last, year + 1) + 1))
    table.expand = False
    if kind == "holidays":
        return frozenset(day for day in table if day.year == year)
    days = (date(year, 1, 1) + timedelta(days=n) for n in range(366))
    return frozenset(day for day in days if day.year == year and table.is_working_day(day))
