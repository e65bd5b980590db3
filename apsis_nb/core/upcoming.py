"""What the schedules make due, in the order of time, and what becomes of what was missed."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from heapq import heapify, heappop, heappush
from itertools import dropwhile

from .jobs import Job
from .runs import Instance
from .schedules import Occurrence, Schedule, times_between

#: How far ahead a schedule is asked for its next time; one that has none in it is asked again at its end.
LOOK_AHEAD = timedelta(days=1900)  # past the four years between two leap days
#: What is found due by more than this was missed, and its schedule's misfire policy decides.
MISFIRE_AFTER = timedelta(seconds=60)
#: Older than this is not run any more, whatever the policy.
MISFIRE_MAX_AGE = timedelta(days=1)
#: At most so many missed runs of a schedule are run, the newest.
MISFIRE_MAX_COUNT = 20
#: At most so many missed runs of a schedule are rows of their own; the older ones share one.
MISSED_ROWS = 1000


@dataclass(slots=True)
class _Cursor:
    """Where a schedule stands: its next occurrence, and those after it."""

    job: Job
    schedule: Schedule
    next: Occurrence | None
    rest: Iterator[Occurrence]
    looked_to: datetime  #: no further than here; with no `next`, look again then

    @property
    def due_at(self) -> datetime:
        return self.next.at if self.next else self.looked_to


@dataclass(frozen=True, slots=True)
class Due:
    """An occurrence whose time has come, and what becomes of it."""

    job: Job
    schedule: Schedule
    occurrence: Occurrence
    skip: str | None = None  #: why it is not run


class Upcoming:
    """Where each schedule of the jobs stands."""

    def __init__(self) -> None:
        self._cursors: list[tuple[datetime, int, _Cursor]] = []  # heap

    def load(self, jobs: Iterable[Job], new: set[str], *, clock: datetime | None, now: datetime) -> None:
        """Follow the schedules of these jobs from here on.

        Args:
            jobs: the jobs now.
            new: ids of those whose schedules begin now; the others go on after `clock`.
            clock: up to here everything due was taken; None: all jobs are new.
            now: the time.
        """
        cursors = []
        for job in jobs:
            is_new = clock is None or job.job_id in new
            for schedule in job.schedules:
                if schedule.enabled:
                    cursors.append(_look(job, schedule, now if is_new else clock or now, after=not is_new))
        self._cursors = [(cursor.due_at, n, cursor) for n, cursor in enumerate(cursors)]
        heapify(self._cursors)

    @property
    def next_at(self) -> datetime | None:
        """When something is due next; None: never."""
        return self._cursors[0][0] if self._cursors else None

    def take(self, now: datetime) -> list[Due]:
        """What is due at or before `now` and was not taken before, in the order of time."""
        found: list[Due] = []
        while self._cursors and self._cursors[0][0] <= now:
            _, n, cursor = heappop(self._cursors)
            found += _taken(cursor, now)
            heappush(self._cursors, (cursor.due_at, n, cursor))
        found.sort(key=lambda d: d.occurrence.at)
        return found


def _look(job: Job, schedule: Schedule, start: datetime, *, after: bool) -> _Cursor:
    """A cursor at the first occurrence at `start`, or `after` it."""
    stop = start + LOOK_AHEAD
    rest = times_between(schedule, start, stop)
    if after:
        rest = dropwhile(lambda o: o.at <= start, rest)
    return _Cursor(job, schedule, next(rest, None), rest, stop)


def _taken(cursor: _Cursor, now: datetime) -> list[Due]:
    """What of a schedule is due, moving its cursor past it; what was missed too long ago is to be skipped."""
    if cursor.next is not None and cursor.next.at < now - MISFIRE_AFTER:
        return _missed(cursor, now) + _taken(cursor, now)
    due: list[Due] = []
    while cursor.due_at <= now:
        occurrence = cursor.next
        if occurrence is None:  # nothing as far as it looked: look further
            found = _look(cursor.job, cursor.schedule, cursor.looked_to, after=False)
            cursor.next, cursor.rest, cursor.looked_to = found.next, found.rest, found.looked_to
            continue
        due.append(Due(cursor.job, cursor.schedule, occurrence))
        cursor.next = next(cursor.rest, None)
    return due


def _missed(cursor: _Cursor, now: datetime) -> list[Due]:
    """What a schedule missed, moving its cursor past it. The newest have a row each, the older share one."""
    assert cursor.next is not None
    oldest, stop, schedule = cursor.next, now - MISFIRE_AFTER, cursor.schedule
    start, days = stop, 1
    while (
        start > oldest.at
    ):  # in growing steps: a year of a schedule that fires each second is not gone through
        start = max(oldest.at, stop - timedelta(days=days))
        newest = deque(times_between(schedule, start, stop), MISSED_ROWS + 1)
        if len(newest) > MISSED_ROWS:
            newest.popleft()
            break
        days *= 2
    found = _look(cursor.job, schedule, stop, after=False)
    cursor.next, cursor.rest, cursor.looked_to = found.next, found.rest, found.looked_to
    due = _misfire(cursor, list(newest), now)
    if newest[0].at > oldest.at:
        text = f"misfire: this and all until {newest[0].at:%Y-%m-%d %H:%M:%S}Z"
        due.insert(0, Due(cursor.job, schedule, oldest, text))
    return due


def _misfire(cursor: _Cursor, missed: list[Occurrence], now: datetime) -> list[Due]:
    """What becomes of the missed occurrences of a schedule, by its policy (`all`, `latest` or `none`)."""
    job, schedule = cursor.job, cursor.schedule
    policy = schedule.misfire
    if policy is None:
        differ = {Instance.of(job.job_id, job.args_for(o.args, schedule.args)) for o in missed[-2:]}
        policy = "all" if len(differ) > 1 else "latest"
    count = {"all": MISFIRE_MAX_COUNT, "latest": 1, "none": 0}[policy]
    run_from = len(missed) - count
    late = [now - o.at > MISFIRE_MAX_AGE or n < run_from for n, o in enumerate(missed)]
    skip = "misfire: the server was down or busy at its time"
    return [Due(job, schedule, o, skip if is_late else None) for o, is_late in zip(missed, late, strict=True)]
