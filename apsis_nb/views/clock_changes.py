"""Where the clocks of a zone change: what the timeline shades."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

WITHIN = timedelta(days=400)  #: in a longer window the hours would be too narrow to be seen
_STEP = timedelta(days=7)  #: no zone changes its clocks there and back within less


@dataclass(frozen=True, slots=True)
class ClockChange:
    """A change of the clocks."""

    at: datetime  #: UTC
    by: timedelta  #: forward; below zero: back

    @property
    def span(self) -> tuple[datetime, datetime]:
        """The time whose clock readings are odd: those that come twice, or the one after the jump."""
        return (
            (self.at, self.at + self.by) if self.by > timedelta() else (self.at + self.by, self.at - self.by)
        )

    @property
    def words(self) -> str:
        """What happens."""
        minutes = abs(round(self.by.total_seconds() / 60))
        span = f"{minutes // 60} h" if minutes % 60 == 0 else f"{minutes} min"
        return f"clocks {'forward' if self.by > timedelta() else 'back'} {span}"


def clock_changes(start: datetime, stop: datetime, tz: ZoneInfo) -> list[ClockChange]:
    """The changes in a window; none for a window too long to show them.

    Args:
        start, stop: aware.
        tz: whose clocks.
    """
    if stop - start > WITHIN:
        return []
    found = []
    before = start.astimezone(UTC)
    while before < stop:
        after = min(before + _STEP, stop.astimezone(UTC))
        if _offset(before, tz) != _offset(after, tz):
            at = _between(before, after, tz)
            found.append(ClockChange(at, _offset(at, tz) - _offset(at - timedelta(seconds=1), tz)))
        before = after
    return found


def _between(before: datetime, after: datetime, tz: ZoneInfo) -> datetime:
    """The first second of the new clock."""
    low, high = 0, int((after - before).total_seconds())
    while high - low > 1:
        middle = (low + high) // 2
        if _offset(before + timedelta(seconds=middle), tz) == _offset(before, tz):
            low = middle
        else:
            high = middle
    return before + timedelta(seconds=high)


def _offset(at: datetime, tz: ZoneInfo) -> timedelta:
    return at.astimezone(tz).utcoffset() or timedelta()
