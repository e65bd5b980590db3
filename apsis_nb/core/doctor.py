"""What is not as it should be with a server, its jobs and its runs. Pure: facts in, findings out."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import Literal
from zoneinfo import ZoneInfo

from .jobs import Job
from .preview import coming_runs
from .runs import Run, RunId
from .schedules import DailyIntervalSchedule, DailySchedule, due_between
from .states import BUSY, State
from .times import format_duration, format_iso, format_local

Level = Literal["error", "warning", "info"]
Kind = Literal[
    "store",  # nothing is saved any more
    "loop",  # a loop of the server fails
    "broken",  # a job file cannot be used
    "disk",  # little is free
    "network",  # the store lies on a file system of the network
    "account",  # the configuration names one that there is not
    "archive",  # runs in the archive cannot be read, or nobody knows of them
    "outputs",  # what runs wrote cannot be read
    "damaged",  # a run in the store cannot be read back
    "orphaned",  # a run has no process
    "stuck",  # a run waits for very long
    "late",  # a run should have started
    "late often",  # runs of a job start late
    "missed",  # times that no run executed
    "never",  # a schedule gives no time
    "calendar",  # one ends
    "duplicate",  # schedules make a run twice
    "unscheduled",  # nothing runs a job
    "limit",  # too many runs at once
]

#: A run that waits longer is stuck; one with no process for so long is an orphan.
STUCK, ORPHANED = timedelta(days=1), timedelta(minutes=1)
#: Runs are late often if this share of the last week's is, of so many at least.
LATE_SHARE, LATE_RUNS = 0.2, 5
#: A calendar that ends within this time is told; a schedule that gives no time within that never fires.
CALENDAR_ENDS, NEVER = timedelta(days=90), timedelta(days=1900)
#: Schedules that make the same run twice are found among the runs of so long, and so many.
_DUPLICATES_WITHIN, _MOST = timedelta(days=8), 2000
#: Free bytes below which it is time to act, and below which it is late.
DISK_LOW_B, DISK_FULL_B = 2_000_000_000, 500_000_000
#: More runs at once than this for each core slow each other down.
RUNS_PER_CORE = 16
_LEVELS: dict[Level, int] = {"error": 0, "warning": 1, "info": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is not as it should be."""

    kind: Kind
    level: Level
    subject: str  #: the job, the run or the part of the server
    message: str
    fix: str  #: what to do
    is_mendable: bool = False  #: whether the server can do it by itself, and harm nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """A loop of the server."""

    name: str
    is_running: bool = True
    failures: int = 0
    last_error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Missed:
    """Times of a job of the last week that no run executed."""

    count: int
    first: datetime
    last: datetime
    do_differ: bool  #: whether their args do: then each is work of its own


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkup:
    """What a server knows of itself."""

    now: datetime
    tz: ZoneInfo  #: of times in the texts
    jobs: Mapping[str, Job] = field(default_factory=dict)
    faults: Sequence[tuple[str, str]] = ()  #: (job, file:line:col: message)
    live: Sequence[Run] = ()
    held: Mapping[RunId, str] = field(default_factory=dict)  #: what holds those that wait
    without_process: frozenset[RunId] = frozenset()
    have_run: frozenset[str] = frozenset()  #: jobs with a run in the last 90 days
    #: By job: runs of the last week, and how many of them were late.
    lateness: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    missed: Mapping[str, Missed] = field(default_factory=dict)  #: by job
    disk_free_b: int = 10**12
    state_dir: str = "state"
    network: str | None = None  #: the type of its file system, if that is one of the network
    unknown_accounts: Sequence[tuple[str, str]] = ()  #: (folder, name), of `accounts` in the configuration
    store_error: str | None = None
    archive: str = "archive"  #: its folder
    archive_lost: Sequence[str] = ()  #: months of it that are not there
    archive_strays: Sequence[str] = ()  #: months there that the store does not know
    packs: str = "runs.outputs"  #: the folder of the outputs
    packs_lost: Sequence[str] = ()  #: files in it that are not there, or not whole
    damaged: Sequence[tuple[RunId, str]] = ()
    loops: Sequence[Loop] = ()
    limit: int | None = None  #: of runs at once
    cores: int = 1


def findings(facts: Checkup) -> list[Finding]:
    """What is not as it should be, the worst first."""
    found = [*_of_server(facts), *_of_runs(facts), *_of_history(facts), *_of_jobs(facts)]
    return sorted(found, key=lambda f: (_LEVELS[f.level], f.kind, f.subject))


def _of_server(facts: Checkup) -> Iterator[Finding]:
    if facts.store_error is not None:
        yield Finding(
            kind="store",
            level="error",
            subject="store",
            message=f"the run store is out of order, nothing is started: {facts.store_error}",
            fix="see whether the disk is full, then start the server anew",
        )
    if facts.disk_free_b < DISK_LOW_B:
        yield Finding(
            kind="disk",
            level="error" if facts.disk_free_b < DISK_FULL_B else "warning",
            subject="disk",
            message=f"{facts.disk_free_b / 1e9:.1f} GB are free where runs and outputs are kept",
            fix="make room, or move old runs to an archive",
        )
    if facts.network is not None:
        yield Finding(
            kind="network",
            level="warning",
            subject="state_dir",
            message=f"{facts.state_dir} lies on a file system of the network ({facts.network}), whose locks "
            "and writes may not hold: the store may be damaged by a crash",
            fix="give a state_dir on a disk of this machine, and back up to the network",
        )
    for folder, name in facts.unknown_accounts:
        yield Finding(
            kind="account",
            level="warning",
            subject=f"accounts.{folder or '/'}",
            message=f"this machine has no account '{name}': jobs there cannot use it",
            fix="mend the name in the configuration, or make the account",
        )
    for name in facts.archive_lost:
        yield Finding(
            kind="archive",
            level="error",
            subject=name,
            message=f"the runs of this month are in no answer: {facts.archive}/{name} is not there",
            fix="put the folder back, from a backup if need be, and start the server anew",
        )
    for name in facts.archive_strays:
        yield Finding(
            kind="archive",
            level="warning",
            subject=name,
            message=f"{facts.archive}/{name} is a month of an archive, and not of this store's",
            fix="move it elsewhere; `ap.open` reads it there",
        )
    for name in facts.packs_lost:
        yield Finding(
            kind="outputs",
            level="error",
            subject=name,
            message=f"outputs of runs cannot be read: {facts.packs}/{name} is not there, or not whole",
            fix="put the file back, from a backup if need be",
        )
    for loop in facts.loops:
        if loop.failures:  # one that has only ended is done
            times = "once" if loop.failures == 1 else f"{loop.failures} times"
            yield Finding(
                kind="loop",
                level="warning" if loop.is_running else "error",
                subject=loop.name,
                message=f"this loop of the server has failed {times}, the last time with {loop.last_error}",
                fix="see the server's log; a new start of the server begins it afresh",
            )
    for job_id, text in facts.faults:
        yield Finding(
            kind="broken",
            level="error",
            subject=job_id,
            message=f"{text}{'; the job goes on as it was' if job_id in facts.jobs else ''}",
            fix="mend the file, then `apsis-nb reload`",
        )
    most, busy = RUNS_PER_CORE * facts.cores, sum(run.state in BUSY for run in facts.live)
    text = ""
    if facts.limit is not None and facts.limit > most:
        text = f"up to {facts.limit} runs at once may run on {facts.cores} cores"
    elif facts.limit is None and busy > most:
        text = f"{busy} runs run at once on {facts.cores} cores"
    if text:
        yield Finding(
            kind="limit",
            level="warning",
            subject="limits.running",
            message=f"{text}: above {most} they slow each other down",
            fix=f"set it to {most} or less",
        )


def _of_runs(facts: Checkup) -> Iterator[Finding]:
    for run_id, why in facts.damaged:
        yield Finding(
            kind="damaged",
            level="error",
            subject=f"r{run_id}",
            message=f"it could not be read back as it was: {why}",
            fix=f"`apsis-nb skip r{run_id}` or `apsis-nb stop r{run_id}`, and schedule it anew",
        )
    for run in facts.live:
        for_s = (facts.now - run.state_at).total_seconds()
        since = format_local(run.state_at, facts.tz, with_zone=True)
        held = facts.held.get(run.run_id, "nobody has looked at its conditions yet")
        if run.run_id in facts.without_process and for_s > ORPHANED.total_seconds():
            yield Finding(
                kind="orphaned",
                level="error",
                subject=run.name,
                message=f"{run.inst} is {run.state.value} since {since}, and has no process",
                fix="`apsis-nb doctor --fix` ends it in error",
                is_mendable=True,
            )
        elif run.state is State.WAITING and for_s > STUCK.total_seconds():
            yield Finding(
                kind="stuck",
                level="warning",
                subject=run.name,
                message=f"{run.inst} waits since {since}: {held}",
                fix=f"`apsis-nb why {run.name}`, then start or skip it; `waiting` of the job bounds the wait",
            )
        elif run.state in {State.SCHEDULED, State.WAITING} and run.starts_late(facts.now):
            late = format_duration(round(run.late_s(facts.now) or 0))
            what = held if run.state is State.WAITING else "the server has not come to it"
            yield Finding(
                kind="late",
                level="warning",
                subject=run.name,
                message=f"{run.inst} is {late} late, and has not started: {what}",
                fix=f"`apsis-nb why {run.name}`",
            )


def _of_history(facts: Checkup) -> Iterator[Finding]:
    for job_id, (runs, late) in facts.lateness.items():
        if runs >= LATE_RUNS and late >= LATE_SHARE * runs:
            yield Finding(
                kind="late often",
                level="warning",
                subject=job_id,
                message=f"{late} of its {runs} runs of the last 7 days started late",
                fix="see `apsis-nb runs --late`: what held them? `late: {start: ...}` says what is late",
            )
    for job_id, missed in facts.missed.items():
        first, last = (format_local(at, facts.tz, with_zone=True) for at in (missed.first, missed.last))
        times = f"1 time was missed, {first}" if missed.count == 1 else (
            f"{missed.count:,} times were missed, from {first} to {last}"
        )  # fmt: skip
        days = [format_iso(at.astimezone(facts.tz).date()) for at in (missed.first, missed.last)]
        yield Finding(
            kind="missed",
            level="warning" if missed.do_differ else "info",
            subject=job_id,
            message=f"{times}: the server was down, or busy",
            fix=f"`apsis-nb backfill {job_id} --from {days[0]} --to {days[1]} --only-missing`"
            if missed.do_differ
            else "nothing, if its next run makes up for them",
        )


def _of_jobs(facts: Checkup) -> Iterator[Finding]:
    actions = [action for job in facts.jobs.values() for action in job.actions]
    targets = {getattr(action, "job_id", None) for action in actions}  # not every kind has one
    for job_id, job in facts.jobs.items():
        enabled = [schedule for schedule in job.schedules if schedule.enabled]
        if not enabled and job_id not in targets and job_id not in facts.have_run:
            yield Finding(
                kind="unscheduled",
                level="info",
                subject=job_id,
                message="it has no schedule, follows no other job, and has not run for 90 days",
                fix="give it a schedule, or remove it",
            )
        for schedule in enabled:
            if next(due_between(job_id, schedule, facts.now, facts.now + NEVER), None) is None:
                yield Finding(
                    kind="never",
                    level="warning",
                    subject=job_id,
                    message="a schedule of it gives no time in the next five years",
                    fix="remove the schedule, or give it times to come",
                )
            elif isinstance(schedule, DailySchedule | DailyIntervalSchedule):
                last = schedule.calendar.last
                if last < (facts.now + CALENDAR_ENDS).date():
                    name = schedule.calendar.name
                    yield Finding(
                        kind="calendar",
                        level="warning",
                        subject=job_id,
                        message=f"the calendar '{name}' ends on {format_iso(last)}: no times after that day",
                        fix="add its days to come, and a STOP after them",
                    )
        if len(enabled) > 1:
            yield from _twice(job, facts)


def _twice(job: Job, facts: Checkup) -> Iterator[Finding]:
    coming = islice(coming_runs(job, facts.now, facts.now + _DUPLICATES_WITHIN), _MOST)
    twice = sorted(run for run, count in Counter(coming).items() if count > 1)
    if twice:
        at = format_local(twice[0].at, facts.tz, with_zone=True)
        yield Finding(
            kind="duplicate",
            level="warning",
            subject=job.job_id,
            message=f"its schedules make the same run more than once, first at {at}",
            fix="remove one of the schedules, or give them other args",
        )
