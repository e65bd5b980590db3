"""What the schedules make due, in the order of time, and what becomes of what was missed."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from heapq import heapify, heappop, heappush
from itertools import dropwhile, islice

from .jobs import Job
from .runs import Instance
from .schedules import DueTime, MisfireRule, Occurrence, Schedule, count_due, due_between
from .times import format_duration, format_utc

#: How far ahead a schedule is asked for its next time; one that has none in it is asked again at its end.
LOOK_AHEAD = timedelta(days=1900)  # past the four years between two leap days
#: What is found due by more than this was missed, and its schedule's misfire policy decides.
MISFIRE_AFTER = timedelta(seconds=60)
#: What is made within this counts as existing, as far as so many times of a schedule tell.
SOON, MANY = timedelta(days=1), 2000
#: At most so many missed times of a schedule are rows of their own, and the older ones share one: the most of
#: these with which there are not too many in all, or else the least.
MISSED_ROWS = (1000, 500, 200, 100, 50, 20)
MISSED_IN_ALL = 20_000

_WHY = "misfire: the server was down or busy at its time"


@dataclass(frozen=True, slots=True)
class Due:
    """An occurrence whose time has come, and what becomes of it."""

    job: Job
    schedule: Schedule
    at: datetime  #: scheduled: nominal plus jitter
    occurrence: Occurrence
    skip: str | None = None  #: why it is not run


@dataclass(slots=True)
class _Cursor:
    """Where a schedule stands: what it missed and is not taken yet, when it is due next, and after that."""

    job: Job
    schedule: Schedule
    next: DueTime | None
    rest: Iterator[DueTime]
    looked_to: datetime  #: no further than here; with no `next`, look again then
    missed: deque[Due] = field(default_factory=deque)

    @property
    def due_at(self) -> datetime:
        if self.missed:
            return self.missed[0].at
        return self.next.at if self.next else self.looked_to


class Upcoming:
    """Where each schedule of the jobs stands."""

    def __init__(self) -> None:
        self._cursors: list[tuple[datetime, int, _Cursor]] = []  # heap
        self._rows_each: int | None = None  # of what was missed, while that is worked off

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

    def take(self, now: datetime, most: int | None = None) -> list[Due]:
        """What is due at or before `now` and was not taken before, in the order of time.

        Args:
            now: the time.
            most: about so many, but all of an instant; `done_to` tells how far it came. None: all.
        """
        found: list[Due] = []
        steps = 0
        while self._cursors and (at := self._cursors[0][0]) <= now:
            if most is not None and steps >= most and not (found and found[-1].at == at):
                return found
            _, n, cursor = heappop(self._cursors)
            if not cursor.missed and cursor.next is not None and at < now - MISFIRE_AFTER:
                _find_missed(cursor, now, self._own_rows(cursor, now))
                steps += len(cursor.missed)  # to find them is work, too
            else:
                found += _step(cursor)
                steps += 1
            heappush(self._cursors, (cursor.due_at, n, cursor))
        self._rows_each = None
        return found

    def done_to(self, now: datetime) -> datetime:
        """Up to here all that was due is taken: `now`, or short of what is left."""
        at = self.next_at
        return now if at is None or at > now else at - timedelta.resolution

    def _own_rows(self, cursor: _Cursor, now: datetime) -> int:
        """How many missed times of a schedule have a row each, while what was missed is worked off."""
        if self._rows_each is None:
            stop = now - MISFIRE_AFTER
            self._rows_each = _rows_each([cursor, *(c for at, _, c in self._cursors if at < stop)], now)
        return self._rows_each


def _look(job: Job, schedule: Schedule, start: datetime, *, after: bool) -> _Cursor:
    """A cursor at the first scheduled time at `start`, or `after` it."""
    stop = start + LOOK_AHEAD
    rest = due_between(job.job_id, schedule, start, stop)
    if after:
        rest = dropwhile(lambda due: due.at <= start, rest)
    return _Cursor(job, schedule, next(rest, None), rest, stop)


def _step(cursor: _Cursor) -> list[Due]:
    """What of a schedule is due first, moving its cursor past it; none if it had to look further ahead."""
    if cursor.missed:
        return [cursor.missed.popleft()]
    if cursor.next is None:
        _look_further(cursor, cursor.looked_to)
        return []
    due = Due(cursor.job, cursor.schedule, *cursor.next)
    cursor.next = next(cursor.rest, None)
    return [due]


def _look_further(cursor: _Cursor, start: datetime) -> None:
    found = _look(cursor.job, cursor.schedule, start, after=False)
    cursor.next, cursor.rest, cursor.looked_to = found.next, found.rest, found.looked_to


def _rows_each(cursors: list[_Cursor], now: datetime) -> int:
    """How many missed times of a schedule have a row each, where all of these have missed some."""
    least = MISSED_ROWS[-1]
    if len(cursors) * least >= MISSED_IN_ALL:
        return least
    counts = [_count_missed(cursor, now) for cursor in cursors if cursor.next is not None]
    fitting = (rows for rows in MISSED_ROWS if sum(min(n, rows) for n in counts) <= MISSED_IN_ALL)
    return next(fitting, least)


def _count_missed(cursor: _Cursor, now: datetime) -> int:
    assert cursor.next is not None
    return count_due(cursor.job.job_id, cursor.schedule, cursor.next.at, now - MISFIRE_AFTER)


def _find_missed(cursor: _Cursor, now: datetime, rows: int) -> None:
    """Find out what a schedule missed, moving its cursor past it: the newest `rows` have a row each.

    What is run has one, too. The older ones share a row that is taken first: after a crash between it and the
    others some of its times are counted again, and none is lost.
    """
    assert cursor.next is not None
    oldest, stop, job, schedule = cursor.next, now - MISFIRE_AFTER, cursor.job, cursor.schedule
    count, rows = _count_missed(cursor, now), max(rows, _most_run(schedule.misfire))
    newest = _newest(job.job_id, schedule, oldest.at, stop, count, rows)
    if len(newest) > rows:
        last = newest.popleft()
        skip = _shared(count - rows, oldest.at, last.at)
        cursor.missed.append(Due(job, schedule, *oldest, skip=skip))
    cursor.missed.extend(_misfire(cursor, list(newest), now))
    _look_further(cursor, stop)


def _newest(
    job_id: str, schedule: Schedule, start: datetime, stop: datetime, count: int, rows: int
) -> deque[DueTime]:
    """The newest of `count` times: `rows` and one more, or all."""
    if count > rows:
        # About where they begin: a year of a schedule that fires each second is not gone through.
        span = (stop - start) * ((rows + 1) / count) + timedelta(seconds=1)
        while stop - span > start and count_due(job_id, schedule, stop - span, stop) <= rows:
            span *= 2
        start = max(start, stop - span)
    return deque(due_between(job_id, schedule, start, stop), rows + 1)


def _most_run(rule: MisfireRule) -> int:
    """At most so many of the missed times of a schedule are run."""
    match rule.policy:
        case "none":
            return 0
        case "latest":
            return 1
        case _:
            return min(rule.max_count, MISSED_ROWS[0])


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
