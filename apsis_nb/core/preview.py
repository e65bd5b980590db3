"""What an edit of a job does to its coming runs, and to what already ran today."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice
from typing import NamedTuple

from .jobs import Job, coming_args
from .schedules import due_between

#: More coming runs of a job than this are not compared.
MOST = 2000

Args = tuple[tuple[str, str], ...]  #: (name, value), sorted by name


class Coming(NamedTuple):
    """A run that the schedules of a job will make."""

    at: datetime  #: scheduled: nominal plus jitter; aware, UTC
    nominal_at: datetime
    args: Args


class Ran(NamedTuple):
    """A run that a schedule of a job has made today."""

    at: datetime  #: scheduled; aware
    args: Args


class Difference(NamedTuple):
    """The coming runs that an edit adds, removes and leaves, by time."""

    added: list[Coming]
    removed: list[Coming]
    kept: list[Coming]
    until: datetime  #: all are told before this; aware


def coming_runs(job: Job, start: datetime, stop: datetime) -> Iterator[Coming]:
    """The runs of all enabled schedules of a job from `start` on and before `stop`, schedule by schedule."""
    for schedule in job.schedules:
        if schedule.enabled:
            for due in due_between(job.job_id, schedule, start, stop):
                args = coming_args(job, due.occurrence.args, schedule.args)
                yield Coming(due.at, due.occurrence.at, tuple(sorted(args.items())))


def next_runs(job: Job, start: datetime, stop: datetime, n: int) -> list[Coming]:
    """The first `n` runs of all enabled schedules of a job from `start` on and before `stop`, by time."""
    found = [
        run
        for schedule in job.schedules
        for run in islice(coming_runs(replace(job, schedules=(schedule,)), start, stop), n)
    ]
    return sorted(found)[:n]


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
    before = Counter(coming_runs(old, start, until)) if old else Counter()
    after = Counter(coming_runs(new, start, until)) if new else Counter()
    added, removed, kept = after - before, before - after, before & after
    return Difference(sorted(added.elements()), sorted(removed.elements()), sorted(kept.elements()), until)


def runs_again(
    ran: Sequence[Ran], old: Job | None, new: Job | None, found: Difference, midnight: datetime
) -> list[datetime | None]:
    """For each run of today, when the edit runs the same instance once more; None: it does not.

    An instance that comes again and again anyway, such as that of a job without params, is run once more only
    if the edit takes its time away and gives it another one today.

    Args:
        ran: the runs of today.
        old, new: the job as it was, and as it will be.
        found: what the edit does to the coming runs.
        midnight: the end of today; aware.
    """
    if new is None:
        return [None] * len(ran)
    often, still = _often(ran, old, found), {c.at for c in _at_times_of(ran, new)}
    added: dict[Args, list[datetime]] = {}
    for coming in found.added:
        added.setdefault(coming.args, []).append(coming.at)
    again: list[datetime | None] = []
    for run in ran:
        times = added.get(run.args, [])
        if run.args in often:
            times = [] if run.at in still else [at for at in times if at < midnight]
        again.append(min(times, default=None))
    return again


def lost(ran: Sequence[Ran], old: Job | None, found: Difference) -> list[Coming]:
    """The removed runs whose instance neither ran today nor will run any more."""
    others = {r.args for r in ran} | {c.args for c in (*found.added, *found.kept)} | _often(ran, old, found)
    return [c for c in found.removed if c.args not in others]


def _often(ran: Sequence[Ran], old: Job | None, found: Difference) -> set[Args]:
    """The args that several runs of today and to come have without the edit."""
    runs = [*_at_times_of(ran, old), *found.removed, *found.kept]
    return {args for args, count in Counter(c.args for c in runs).items() if count > 1}


def _at_times_of(ran: Sequence[Ran], job: Job | None) -> Iterator[Coming]:
    """What the schedules of a job make while today's runs were made."""
    if job is None or not ran:
        return iter(())
    return coming_runs(job, min(r.at for r in ran), max(r.at for r in ran) + timedelta(microseconds=1))
