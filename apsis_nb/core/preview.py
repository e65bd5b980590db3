"""What an edit of a job does to its coming runs."""

from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from typing import NamedTuple

from .jobs import Job
from .schedules import due_between

#: More coming runs of a job than this are not compared.
MOST = 2000


class Coming(NamedTuple):
    """A run that the schedules of a job will make."""

    at: datetime  #: scheduled: nominal plus jitter; aware, UTC
    nominal_at: datetime
    args: tuple[tuple[str, str], ...]  #: (name, value), in the order of the params


class Difference(NamedTuple):
    """The coming runs that an edit adds and removes, by time."""

    added: list[Coming]
    removed: list[Coming]
    until: datetime  #: both are told before this; aware


def coming_runs(job: Job, start: datetime, stop: datetime) -> Iterator[Coming]:
    """The runs of all enabled schedules of a job from `start` on and before `stop`, schedule by schedule."""
    for schedule in job.schedules:
        if schedule.enabled:
            for due in due_between(job.job_id, schedule, start, stop):
                args = job.args_for(due.occurrence.args, schedule.args)
                yield Coming(due.at, due.occurrence.at, tuple(args.items()))


def difference(old: Job | None, new: Job | None, start: datetime, stop: datetime) -> Difference:
    """What an edit adds to and removes from the runs of a job.

    Args:
        old: as it was; None: there was no such job.
        new: as it will be; None: it is removed.
        start, stop: aware; of the scheduled times; `start` is included, `stop` is not. Where a job has very
            many runs, they are compared up to an earlier time, which is told.
    """
    until = stop
    for job in filter(None, (old, new)):
        for schedule in job.schedules:
            if schedule.enabled:
                last = next(islice(due_between(job.job_id, schedule, start, until), MOST, None), None)
                until = until if last is None else last.at
    before = set(coming_runs(old, start, until)) if old else set()
    after = set(coming_runs(new, start, until)) if new else set()
    return Difference(sorted(after - before), sorted(before - after), until)
