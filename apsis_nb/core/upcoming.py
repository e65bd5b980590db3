"""What the schedules make due, in the order of time, and what becomes of what was missed."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from heapq import heapify, heappop, heappush
from itertools import dropwhile, islice

from .jobs import Job
from .runs import Instance
from .schedules import DueTime, Occurrence, Schedule, count_due, due_between
from .times import format_duration, format_utc

#: How far ahead a schedule is asked for its next time; one that has none in it is asked again at its end.
LOOK_AHEAD = timedelta(days=1900)  # past the four years between two leap days
#: What is found due by more than this was missed, and its schedule's misfire policy decides.
MISFIRE_AFTER = timedelta(seconds=60)
#: What is made within this counts as existing, as far as so many times of a schedule tell.
SOON, MANY = timedelta(days=1), 2000
#: At most so many missed times of a schedule are rows of their own; the older ones share one.
MISSED_ROWS = 1000

_WHY = "misfire: the server was down or busy at its time"


@dataclass(slots=True)
class _Cursor:
    """Where a schedule stands: when it is due next, and after that."""

    job: Job
    schedule: Schedule
    next: DueTime | None
    rest: Iterator[DueTime]
    looked_to: datetime  #: no further than here; with no `next`, look again then

    @property
    def due_at(self) -> datetime:
        return self.next.at if self.next else self.looked_to


@dataclass(frozen=True, slots=True)
class Due:
    """An occurrence whose time has come, and what becomes of it."""

    job: Job
    schedule: Schedule
    at: datetime  #: scheduled: nominal plus jitter
    occurrence: Occurrence
    skip: str | None = None  #: why it is not run


class Upcoming:
    """Where each schedule of the jobs stands."""

    def __init__(self) -> None:
        self._cursors: list[tuple[datetime, int, _Cursor]] = []  # heap

    def load(self, jobs: Iterable[Job], new: set[str], *, clock: datetime | None, now: datetime) -> None:
        """Follow the schedules of these jobs from here on; those of a job that is the very same go on.

        Args:
            jobs: the jobs now.
            new: ids of those whose schedules begin now; the others go on after `clock`.
            clock: up to here everything due was taken; None: all jobs are new.
            now: the time.
        """
        known: dict[str, list[_Cursor]] = {}
        for _, _, cursor in self._cursors:
            known.setdefault(cursor.job.job_id, []).append(cursor)
        cursors: list[_Cursor] = []
        for job in jobs:
            is_new = clock is None or job.job_id in new
            same = known.get(job.job_id, [])
            if same and not is_new and same[0].job is job:
                cursors += same
                continue
            for schedule in job.schedules:
                if schedule.enabled:
                    cursors.append(_look(job, schedule, now if is_new else clock or now, after=not is_new))
        self._cursors = [(cursor.due_at, n, cursor) for n, cursor in enumerate(cursors)]
        heapify(self._cursors)

    @property
    def next_at(self) -> datetime | None:
        """When something is due next; None: never."""
        return self._cursors[0][0] if self._cursors else None

    def will_make(self, inst: Instance, now: datetime) -> bool:
        """Whether a schedule makes a run of an instance within a day."""
        for _, _, cursor in self._cursors:
            if cursor.job.job_id == inst.job_id:
                due = due_between(inst.job_id, cursor.schedule, now, now + SOON)
                if any(
                    _instance(cursor.job, cursor.schedule, d.occurrence) == inst for d in islice(due, MANY)
                ):
                    return True
        return False

    def take(self, now: datetime) -> list[Due]:
        """What is due at or before `now` and was not taken before, in the order of time."""
        found: list[Due] = []
        while self._cursors and self._cursors[0][0] <= now:
            _, n, cursor = heappop(self._cursors)
            found += _taken(cursor, now)
            heappush(self._cursors, (cursor.due_at, n, cursor))
        found.sort(key=lambda d: d.at)
        return found


def _look(job: Job, schedule: Schedule, start: datetime, *, after: bool) -> _Cursor:
    """A cursor at the first scheduled time at `start`, or `after` it."""
    stop = start + LOOK_AHEAD
    rest = due_between(job.job_id, schedule, start, stop)
    if after:
        rest = dropwhile(lambda due: due.at <= start, rest)
    return _Cursor(job, schedule, next(rest, None), rest, stop)


def _taken(cursor: _Cursor, now: datetime) -> list[Due]:
    """What of a schedule is due, moving its cursor past it; what was missed too long ago is to be skipped."""
    if cursor.next is not None and cursor.next.at < now - MISFIRE_AFTER:
        return _missed(cursor, now) + _taken(cursor, now)
    due: list[Due] = []
    while cursor.due_at <= now:
        if cursor.next is None:  # nothing as far as it looked: look further
            found = _look(cursor.job, cursor.schedule, cursor.looked_to, after=False)
            cursor.next, cursor.rest, cursor.looked_to = found.next, found.rest, found.looked_to
            continue
        due.append(Due(cursor.job, cursor.schedule, *cursor.next))
        cursor.next = next(cursor.rest, None)
    return due


def _missed(cursor: _Cursor, now: datetime) -> list[Due]:
    """What a schedule missed, moving its cursor past it. The newest have a row each, the older share one."""
    assert cursor.next is not None
    oldest, stop, job, schedule = cursor.next, now - MISFIRE_AFTER, cursor.job, cursor.schedule
    start, days = stop, 1
    newest: deque[DueTime] = deque()
    # In growing steps: a year of a schedule that fires each second is not gone through.
    while start > oldest.at and len(newest) <= MISSED_ROWS:
        start = max(oldest.at, stop - timedelta(days=days))
        newest = deque(due_between(job.job_id, schedule, start, stop), MISSED_ROWS + 1)
        days *= 2
    shared = None
    if len(newest) > MISSED_ROWS:
        last = newest.popleft()
        count = count_due(job.job_id, schedule, oldest.at, last.at) + 1
        shared = Due(job, schedule, *oldest, skip=_shared(count, oldest.at, last.at))
    found = _look(job, schedule, stop, after=False)
    cursor.next, cursor.rest, cursor.looked_to = found.next, found.rest, found.looked_to
    due = _misfire(cursor, list(newest), now)
    return due if shared is None else [shared, *due]


def _shared(count: int, first: datetime, last: datetime) -> str:
    """What the row says that stands for all the times that have none of their own."""
    if count == 1:
        return _WHY
    span = f"from {format_utc(first)} to {format_utc(last)}"
    return f"misfire: {count:,} times {span}, as the schedule counts them now; this row stands for them all"


def _misfire(cursor: _Cursor, missed: list[DueTime], now: datetime) -> list[Due]:
    """What becomes of the missed times of a schedule, by its policy; each that is not run says why."""
    job, schedule = cursor.job, cursor.schedule
    rule, policy = schedule.misfire, schedule.misfire.policy
    if policy is None:
        instances = {_instance(job, schedule, due.occurrence) for due in missed[-2:]}
        policy = "all" if len(instances) > 1 else "latest"
    count = {"all": rule.max_count, "latest": 1, "none": 0}[policy]
    why = {
        "all": f"only the newest {rule.max_count} are run",
        "latest": "only the latest is run",
        "none": "missed times are not run",
    }[policy]
    run_from = len(missed) - count
    made = []
    for n, due in enumerate(missed):
        skip = None
        if n < run_from:
            skip = f"{_WHY}; {why}"
        elif now - due.at > timedelta(seconds=rule.max_age_s):
            skip = f"{_WHY}; what is found more than {format_duration(rule.max_age_s)} late is not run"
        made.append(Due(job, schedule, *due, skip=skip))
    return made


def _instance(job: Job, schedule: Schedule, occurrence: Occurrence) -> Instance:
    return Instance.of(job.job_id, job.args_for(occurrence.args, schedule.args))
