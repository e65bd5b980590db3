"""Which runs a backfill is made of: of days that a job's schedules name, or of args that somebody gives."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any

from apsis_nb.core.errors import ApsisError
from apsis_nb.core.events import BackfillRequested
from apsis_nb.core.instructions import FindRun
from apsis_nb.core.jobs import Job, bind_args
from apsis_nb.core.runs import Instance, Run
from apsis_nb.core.schedules import times_between
from apsis_nb.core.states import State
from apsis_nb.core.times import after_gap, zone
from apsis_nb.store import Store

#: More than this is no backfill that anybody wants at once.
MOST = 10_000
#: A schedule may run a day's work so many days before or after it, by its shifts.
SHIFTS = timedelta(days=40)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a backfill would run."""

    instances: tuple[
        tuple[Mapping[str, str], datetime | None], ...
    ]  #: args and nominal time, the oldest first
    done: int = 0  #: how many were left out, as they have succeeded or are under way

    def facts(self) -> dict[str, Any]:
        """As plain values."""
        rows = [{"args": dict(args), "nominal_at": at} for args, at in self.instances]
        return {"instances": rows, "done": self.done}


class TooMany(ApsisError):
    """A backfill of more runs than anybody wants at once."""

    def __init__(self) -> None:
        super().__init__(f"more than {MOST:,} runs: choose a shorter time")


def of_days(job: Job, first: date, last: date, tz: str) -> Plan:
    """What the schedules of a job make of days, both included.

    A day is that of the calendar (the arg `date`), also where a shift runs it on another one.

    Args:
        job: with schedules.
        first, last: the days.
        tz: the zone of days of schedules that derive no date.

    Raises:
        ApsisError: the job has no schedule, or there are too many.
    """
    if not job.schedules:
        raise ApsisError(f"{job.job_id} has no schedule: give the args of each run")
    start = after_gap(first, time(), zone(tz)) - SHIFTS
    stop = after_gap(last, time(), zone(tz)) + SHIFTS
    found: dict[Any, tuple[Mapping[str, str], datetime]] = {}
    for schedule in job.schedules:
        for occurrence in times_between(schedule, start, stop):
            said = occurrence.args.get("date")
            day = occurrence.at.astimezone(zone(tz)).date() if said is None else date.fromisoformat(str(said))
            if not first <= day <= last:
                continue
            args = bind_args(job, job.args_for(occurrence.args, schedule.args))
            key = Instance.of(job.job_id, args) if job.params else occurrence.at
            found.setdefault(key, (args, occurrence.at))
            if len(found) > MOST:
                raise TooMany
    oldest_first = sorted(found.values(), key=lambda each: each[1])
    return Plan(tuple(oldest_first))


def of_args(job: Job, args: Iterable[Mapping[str, Any]]) -> Plan:
    """One run for each of these args, in their order; the same ones once.

    Raises:
        BindError, ApsisError: args that do not fit the job, or too many.
    """
    found: dict[Instance, tuple[Mapping[str, str], None]] = {}
    for given in args:
        bound = bind_args(job, given)
        found.setdefault(Instance.of(job.job_id, bound), (bound, None))
        if len(found) > MOST:
            raise TooMany
    return Plan(tuple(found.values()))


def only_missing(job: Job, plan: Plan, store: Store, live: Iterable[Run]) -> Plan:
    """Without what has succeeded, or is under way. Blocks: call it in a thread.

    By its instance; of a job without params by the nominal time.
    """
    if not plan.instances:
        return plan
    busy: set[Any]
    if job.params:
        busy = {run.inst for run in live if run.job_id == job.job_id and not run.is_test}
        insts = [Instance.of(job.job_id, dict(args)) for args, _ in plan.instances]
        success = frozenset({State.SUCCESS})
        asked = [FindRun(cause="backfill", run_id=0, inst=inst, states=success) for inst in insts]
        done = [
            inst in busy or found is not None
            for inst, (found, _) in zip(insts, store.find_runs(asked), strict=True)
        ]
    else:
        busy = {run.nominal_at for run in live if run.job_id == job.job_id and not run.is_test}
        times = [at for _, at in plan.instances if at is not None]
        if times:
            busy |= store.nominal_successes(job.job_id, min(times), max(times) + timedelta(seconds=1))
        done = [at in busy for _, at in plan.instances]
    left = tuple(each for each, is_done in zip(plan.instances, done, strict=True) if not is_done)
    return Plan(left, sum(done))


def request(job: Job, plan: Plan, **facts: Any) -> BackfillRequested:
    """The wish for what a plan holds; `facts` as `BackfillRequested` has them."""
    return BackfillRequested(job_id=job.job_id, instances=plan.instances, **facts)
