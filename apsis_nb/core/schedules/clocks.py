"""The clocks of a zone: on which days they change, and what instants a daytime of a day is."""

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from .kinds import Dst, Fold

_DAY = timedelta(days=1)
#: So many days at the ends of datetime's range count as uneven: there, what clocks show may have no instant.
_EDGE = 3


def is_even(day: date, tz: ZoneInfo) -> bool:
    """Whether clocks show each daytime of this day once, and did so on the day before.

    If so, its times are its midnight and so much later, and none of them comes before one of the day before.
    """
    return day.toordinal() not in _uneven_days(tz, day.year)


@lru_cache(maxsize=4096)
def _uneven_days(tz: ZoneInfo, year: int) -> frozenset[int]:
    """The ordinals of the days of a year that are not even, and perhaps of some beside them."""
    first = max(date(year, 1, 1).toordinal() - 3, _EDGE + 1)
    stop = min(date(year, 12, 31).toordinal() + 3, date.max.toordinal() - _EDGE)
    uneven = {*range(1, _EDGE + 1), *range(date.max.toordinal() - _EDGE + 1, date.max.toordinal() + 1)}
    before = _offset(first, tz)
    for ordinal in range(first, stop):
        # No clock is changed and changed back within a day.
        now = _offset(ordinal + 1, tz)
        if now != before:  # so it changes on this day, perhaps by an hour of a day beside it
            uneven.update(range(ordinal - 1, ordinal + 3))
        before = now
    return frozenset(uneven)


def _offset(ordinal: int, tz: ZoneInfo) -> timedelta | None:
    return datetime.combine(date.fromordinal(ordinal), time(), tz).utcoffset()


def midnight(day: date, tz: ZoneInfo) -> datetime:
    """When an even day begins; UTC."""
    return datetime.combine(day, time(), tz).astimezone(UTC)


def instants(day: date, daytime: time, tz: ZoneInfo, dst: Dst) -> list[datetime]:
    """The instants, in UTC and rising, at which clocks show this date and daytime, as `dst` wants them.

    None beyond the ends of datetime's range.
    """
    local = datetime.combine(day, daytime, tz)
    try:
        first = local.astimezone(UTC)
        exists = first.astimezone(tz) == local  # of one zone: compares what the clocks show
        second = local.replace(fold=1).astimezone(UTC)
    except OverflowError:
        return []
    if not exists:
        return [first] if dst.gap == "shift" else []
    if first == second or dst.fold == "first":
        return [first]
    return [second] if dst.fold == "second" else [first, second]


def bound(day: date, daytime: time, tz: ZoneInfo, dst: Dst, both: Fold) -> datetime | None:
    """The one instant of `instants` that bounds a window; `both` is what a fold of both means for it."""
    fold = both if dst.fold == "both" else dst.fold
    found = instants(day, daytime, tz, Dst(gap=dst.gap, fold=fold))
    return found[0] if found else None


def local_date(at: datetime, tz: ZoneInfo, days: int) -> date:
    """The date that clocks show at `at`, and some days on; beyond the ends of datetime's range, the end."""
    try:
        return at.astimezone(tz).date() + timedelta(days=days)
    except OverflowError:
        return date.max if days > 0 else date.min


def after(day: date, days: int) -> date:
    """So many days on; beyond the ends of datetime's range, the end."""
    try:
        return day + days * _DAY
    except OverflowError:
        return date.max if days > 0 else date.min
