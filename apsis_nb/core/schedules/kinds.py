"""The kinds of schedule, as values. The modules beside tell the times that they give."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, time
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

from apsis_nb.core.calendars import ALL, Calendar


class Occurrence(NamedTuple):
    """One time of a schedule."""

    at: datetime  #: nominal: what the schedule says; aware, UTC
    args: dict[str, str]  #: what the schedule tells of it: `time`, `date` ...


@dataclass(frozen=True, slots=True)
class StopDuration:
    """A run is stopped this long after its scheduled time."""

    duration_s: float


@dataclass(frozen=True, slots=True)
class StopDaytime:
    """A run is stopped when the clocks of a zone next show a daytime, counted from its scheduled time."""

    daytime: time
    tz: ZoneInfo


StopRule = StopDuration | StopDaytime

Misfire = Literal["all", "latest", "none"]
Gap = Literal["skip", "shift"]
Fold = Literal["first", "second", "both"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MisfireRule:
    """Which of the times that were missed are run after all."""

    policy: Misfire | None = (
        None  #: None: `all` where their instances differ, `latest` where they are the same
    )
    max_age_s: float = 86400.0  #: what is found later than this is not run
    max_count: int = 20  #: of `all`, at most so many are run, the newest


@dataclass(frozen=True, slots=True, kw_only=True)
class Dst:
    """What becomes of daytimes that the clocks skip, and of those that they show twice."""

    gap: Gap = "skip"  #: shift: as much later as the clocks are put forward, 02:30 to 03:30
    fold: Fold = "first"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Common:
    """What every schedule has."""

    args: Mapping[str, str] = field(default_factory=dict)  #: given to its runs; they win over what it derives
    enabled: bool = True  #: False: it makes no runs
    stop: StopRule | None = None
    jitter_s: float = 0.0  #: its runs are scheduled up to so much later than it says
    misfire: MisfireRule = MisfireRule()
    max_runs: int | None = None  #: with so many unfinished runs of the job's schedules, a time is skipped


@dataclass(frozen=True, slots=True, kw_only=True)
class IntervalSchedule(_Common):
    """Every so many seconds, counted from the start of 1970 in UTC, whatever clocks show."""

    interval_s: float  #: >= 0.000001
    phase_s: float = 0.0  #: 0 <= phase < interval


@dataclass(frozen=True, slots=True, kw_only=True)
class DailySchedule(_Common):
    """At some daytimes, on the days of a calendar.

    The day of a time is its nominal date moved by `cal_shift` days of the calendar, then `date_shift` days.
    """

    tz: ZoneInfo
    daytimes: tuple[time, ...]  #: rising
    calendar: Calendar = ALL
    days_of_month: tuple[int, ...] = ()  #: nominal dates are only the n-th days of the calendar in each month
    date_shift: int = 0
    cal_shift: int = 0
    dst: Dst | None = None  #: None: as `Dst()` has it


@dataclass(frozen=True, slots=True)
class Bound:
    """Where the window of a nominal date starts or stops."""

    daytime: time
    date_shift: int = 0
    cal_shift: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DailyIntervalSchedule(_Common):
    """Every so many seconds within a window on the days of a calendar.

    Steps are of real time, so a window over a change of the clocks has more or fewer of them. Where the
    clocks skip its start or stop the day is left out, unless `dst` shifts them. With a fold of `both` the
    window is the longest: from the first showing of its start to the second of its stop.
    """

    tz: ZoneInfo
    start: Bound  #: the first time
    stop_before: Bound  #: every time is before this
    interval_s: float  #: 0.000001 <= interval < 86400
    calendar: Calendar = ALL
    dst: Dst | None = None  #: None: as `Dst()` has it


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplicitSchedule(_Common):
    """At given times."""

    times: tuple[datetime, ...]  #: aware, UTC, rising


@dataclass(frozen=True, slots=True, kw_only=True)
class CronSchedule(_Common):
    """By a cron expression, on the clocks of a zone."""

    cron: str  #: five fields, or a name such as `@daily`
    tz: ZoneInfo
    dst: Dst | None = None  #: None: the rules of Debian's cron


Schedule = IntervalSchedule | DailySchedule | DailyIntervalSchedule | ExplicitSchedule | CronSchedule
