"""A week as hours of a zone, also where its clocks change, and what is expected in each. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pandas as pd

from apsis_nb.core.times import format_clock, format_day

from . import markup
from .ranges import midnight

DAYS = 7
HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Hour:
    """One hour of the clock on one day: one instant, none where it is skipped, two where it comes twice."""

    day: date
    hour: int
    starts: tuple[datetime, ...]  #: aware, UTC


@dataclass(frozen=True, slots=True)
class Change:
    """The clocks of the zone change."""

    at: datetime  #: aware, UTC
    before: timedelta
    after: timedelta

    def words(self, zone: ZoneInfo) -> str:
        """What happens, in words."""
        moved = self.after - self.before
        old = (self.at + self.before).replace(tzinfo=None)
        new = old + moved
        told = f"{format_day(old)}: at {format_clock(old)} the clocks of {zone.key}"
        if moved > timedelta(0):
            return f"{told} go forward to {format_clock(new)}; what is between does not exist that day"
        return f"{told} go back to {format_clock(new)}; what is between comes twice"


@dataclass(frozen=True)
class Cell:
    """What is expected in an hour, or a day."""

    runs: float = 0
    busy_s: float = 0.0  #: seconds that all these programs take, as they usually do
    paused: float = 0  #: how many of the runs are held back

    def __add__(self, other: "Cell") -> "Cell":
        return Cell(self.runs + other.runs, self.busy_s + other.busy_s, self.paused + other.paused)


@dataclass(frozen=True)
class Week:
    """Seven days from a day on."""

    first: date
    zone: ZoneInfo
    days: tuple[date, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "days", tuple(self.first + timedelta(days=n) for n in range(DAYS)))

    @property
    def since(self) -> datetime:
        """When it begins."""
        return midnight(self.first, self.zone)

    @property
    def until(self) -> datetime:
        """When it ends."""
        return midnight(self.first + timedelta(days=DAYS), self.zone)

    def hours(self) -> list[list[Hour]]:
        """For each of the 24 hours, that of each day."""
        found: dict[tuple[date, int], list[datetime]] = {}
        at = self.since
        while at < self.until:
            local = at.astimezone(self.zone)
            found.setdefault((local.date(), local.hour), []).append(at)
            at += HOUR
        return [
            [Hour(day, hour, tuple(found.get((day, hour), ()))) for day in self.days] for hour in range(24)
        ]

    def changes(self) -> list[Change]:
        """Where the clocks change in it."""
        found = []
        at = self.since
        while at < self.until:
            before, after = (t.astimezone(self.zone).utcoffset() or timedelta(0) for t in (at, at + HOUR))
            if before != after:
                found.append(Change(_moment(at, self.zone), before, after))
            at += HOUR
        return found


def _moment(hour: datetime, zone: ZoneInfo) -> datetime:
    """When in an hour the offset changes, to the minute."""
    before = hour.astimezone(zone).utcoffset()
    return next(
        at
        for at in (hour + timedelta(minutes=n) for n in range(1, 61))
        if at.astimezone(zone).utcoffset() != before
    )


def cells_of(expected: pd.DataFrame, typical_s: dict[str, float], paused: "Pauses") -> dict[datetime, Cell]:
    """What is expected in each hour, by its start.

    Args:
        expected: job_id, period, runs: as `Client.expected_counts` gives them by the hour.
        typical_s: how long the runs of each job take, in seconds.
        paused: what is held back.
    """
    cells: dict[datetime, Cell] = {}
    for row in markup.records(expected):
        at, job = markup.instant(row["period"]), str(row["job_id"])
        if at is None:
            continue
        runs = int(row["runs"])
        if paused.holds(job, at):
            cells[at] = cells.get(at, Cell()) + Cell(0, 0.0, runs)
        else:
            cells[at] = cells.get(at, Cell()) + Cell(runs, runs * typical_s.get(job, 0.0), 0)
    return cells


class Pauses:
    """What is paused, from which time on it is not, and why."""

    def __init__(self, pauses: Sequence[Mapping[str, object]]) -> None:
        self._pauses = pauses

    def of(self, job_id: str, at: datetime) -> Mapping[str, object] | None:
        """The pause that holds a job back at a time to come."""
        for pause in self._pauses:
            target = str(pause.get("target") or "").strip("/")
            match pause["scope"]:
                case "job":
                    is_meant = job_id == target
                case "path":
                    is_meant = job_id == target or job_id.startswith(f"{target}/")
                case _:
                    is_meant = True
            until = markup.instant(pause.get("until"))
            if is_meant and (until is None or at.astimezone(UTC) < until):
                return pause
        return None

    def holds(self, job_id: str, at: datetime) -> bool:
        """Whether a run that is due then is held back."""
        return self.of(job_id, at) is not None
