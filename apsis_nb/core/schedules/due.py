"""Jitter: when the runs of a schedule are due, which is the nominal time and perhaps a little later."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from heapq import heappop, heappush
from typing import NamedTuple

from apsis_nb.core.times import format_iso

from .kinds import Occurrence, Schedule
from .times import count_between, times_between

_MANY = 500  #: times in a window
_FIRST = datetime.min.replace(tzinfo=UTC)


class DueTime(NamedTuple):
    """When a run of a schedule is due."""

    at: datetime  #: scheduled: nominal plus jitter; aware, UTC
    occurrence: Occurrence  #: what the schedule says


def due_between(job_id: str, schedule: Schedule, start: datetime, stop: datetime) -> Iterator[DueTime]:
    """When the runs of a schedule of a job are due, as if it were enabled.

    Args:
        job_id: jitter depends on it and on the nominal time alone: it is the same whenever it is asked for.
        schedule: any.
        start: aware; the first scheduled time.
        stop: aware; all scheduled times are before it.

    Yields:
        By rising scheduled time, then nominal time; those of two spans side by side are those of the whole.

    Raises:
        ValueError: `start` or `stop` has no time zone.
    """
    if not schedule.jitter_s:
        for occurrence in times_between(schedule, start, stop):
            yield DueTime(occurrence.at, occurrence)
        return
    held: list[tuple[datetime, int, Occurrence]] = []  # heap of what may have to let a later one pass
    for n, occurrence in enumerate(times_between(schedule, _earlier(start, schedule), stop)):
        while held and held[0][0] <= occurrence.at:
            at, _, earlier = heappop(held)
            yield DueTime(at, earlier)
        at = _scheduled(job_id, schedule, occurrence.at)
        if start <= at < stop:
            heappush(held, (at, n, occurrence))
    while held:
        at, _, earlier = heappop(held)
        yield DueTime(at, earlier)


def count_due(job_id: str, schedule: Schedule, start: datetime, stop: datetime) -> int:
    """How many times `due_between` gives."""
    if not schedule.jitter_s:
        return count_between(schedule, start, stop)
    # Only near the ends does jitter decide which are in.
    middle = max(start, _earlier(stop, schedule))
    early = times_between(schedule, _earlier(start, schedule), start)
    late = times_between(schedule, middle, stop)
    return (
        sum(start <= _scheduled(job_id, schedule, o.at) < stop for o in early)
        + count_between(schedule, start, middle)
        + sum(_scheduled(job_id, schedule, o.at) < stop for o in late)
    )


def counts_between(
    job_id: str, schedule: Schedule, start: datetime, stop: datetime, every: timedelta
) -> list[tuple[datetime, int, datetime]]:
    """How many times `due_between` gives in each piece of a window.

    Args:
        job_id, schedule, start, stop: as for `due_between`.
        every: the length of a piece; the first begins at `start`.

    Returns:
        For each piece with any, by time: its start, how many, and the first of them.
    """
    if count_due(job_id, schedule, start, stop) > _MANY:  # to count is quicker than to list them
        return _counted(job_id, schedule, start, stop, every)
    found: dict[datetime, tuple[int, datetime]] = {}
    for at, _ in due_between(job_id, schedule, start, stop):
        piece = start + (at - start) // every * every
        count, first = found.get(piece, (0, at))
        found[piece] = (count + 1, first)
    return [(piece, count, first) for piece, (count, first) in found.items()]


def _counted(
    job_id: str, schedule: Schedule, start: datetime, stop: datetime, every: timedelta
) -> list[tuple[datetime, int, datetime]]:
    found, piece = [], start
    while piece < stop:
        end = stop if stop - piece <= every else piece + every
        count = count_due(job_id, schedule, piece, end)
        if count:
            found.append((piece, count, next(due_between(job_id, schedule, piece, end)).at))
        piece = end
    return found


def _scheduled(job_id: str, schedule: Schedule, nominal: datetime) -> datetime:
    """The nominal time and from 0 to `jitter_s` whole seconds, as a hash of job and time has it."""
    key = f"{job_id}\n{format_iso(nominal)}".encode("utf-8", "surrogatepass")
    number = int.from_bytes(blake2b(key, digest_size=8).digest())
    try:
        return nominal + timedelta(seconds=number % (int(schedule.jitter_s) + 1))
    except OverflowError:  # the end of datetime's range
        return nominal


def _earlier(at: datetime, schedule: Schedule) -> datetime:
    """The earliest nominal time that may be scheduled for `at`."""
    span = timedelta(seconds=int(schedule.jitter_s))
    return at - span if at - _FIRST > span else _FIRST
