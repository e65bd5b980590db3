"""How each wish becomes runs: of a schedule, a person, another attempt, a backfill, an action."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from .actions import ScheduleAction
from .conditions import MaxRunning
from .errors import BindError, NotFound, Refused
from .events import BackfillRequested, RerunRequested, RunRequested
from .ids import Ids
from .jobs import Job, bind_run
from .runs import Instance, Origin, Run, RunId
from .schedules import stop_time
from .states import State
from .upcoming import Due


class Maker:
    """Makes runs of jobs, each with an id of its own; nothing else changes by it.

    Args:
        ids: where the ids come from.
    """

    def __init__(self, ids: Ids) -> None:
        self._ids = ids
        self.jobs: dict[str, Job] = {}
        self._old: Mapping[str, Job] = {}  # those before, for runs that were due before the change

    def change_jobs(self, jobs: dict[str, Job], *, keep_old: bool) -> Mapping[str, Job]:
        """Make runs of these jobs from here on.

        Args:
            jobs: by id.
            keep_old: runs of the jobs before are still to be made: they may depend on some that are gone.

        Returns:
            The jobs before.
        """
        old, self.jobs = self.jobs, jobs
        self._old = {**self._old, **old} if keep_old else {}
        return old

    def params_of(self, job_id: str) -> tuple[str, ...] | None:
        """The names of a job's params; None: no such job."""
        job = self.jobs.get(job_id)
        return None if job is None else tuple(p.name for p in job.params)

    def due(self, due: Due, now: datetime) -> tuple[Run, str | None]:
        """The run of a schedule, and why it cannot be run, if its args or templates are wrong."""
        job = due.job
        args = job.args_for(due.occurrence.args, due.schedule.args)
        facts: dict[str, Any] = {
            "origin": Origin.SCHEDULE,
            "scheduled_at": due.at,
            "nominal_at": due.occurrence.at,
        }
        try:
            run = self._bind(
                job,
                args,
                now,
                params_of=self._params_then,
                stop_at=stop_time(due.schedule, due.at),
                late_finish_at=job.late_finish_at(due.schedule, due.at),
                **facts,
            )
            return run, None
        except BindError as error:
            run = Run(
                run_id=self._ids.take(),
                inst=Instance.of(job.job_id, args),
                program=job.program,
                state_at=now,
                actions=job.actions,
                labels=job.labels,
                late_start_s=job.late_start_s,
                **facts,
            )
            return run, str(error)

    def requested(self, event: RunRequested, now: datetime) -> list[Run]:
        """What somebody asked for.

        Raises:
            NotFound, Refused, BindError: it cannot be made.
        """
        job = event.job or self._job(event.job_id)
        self._need(event.count)
        return [
            self._bind(
                job,
                event.args,
                now,
                origin=event.origin,
                scheduled_at=event.at or now,
                stop_at=event.stop_at,
                labels=event.labels,
                by=event.by,
                rerun_of=event.rerun_of,
            )
            for _ in range(event.count)
        ]

    def rerun(self, event: RerunRequested, now: datetime) -> Run:
        """A run once more, as its job is today; one whose job is gone, or was ad hoc, as it was.

        Raises:
            Refused, BindError: it cannot be made.
        """
        old, job = event.original, self.jobs.get(event.original.job_id)
        self._need(1)
        again = self._again(old, now, Origin.TEST if event.is_test else Origin.RERUN) | {"by": event.by}
        if job is not None:
            return self._bind(job, old.args | dict(event.args), now, labels=old.labels, **again)
        if event.args:
            raise Refused(f"{old.name} can be run again only as it was: there is no job {old.job_id} now")
        return self._as_it_was(old, now, again)

    def retry(self, old: Run, now: datetime) -> Run:
        """The next attempt of a run that did not succeed: as its job is today, or else as it was."""
        assert old.retry is not None
        at = now + timedelta(seconds=old.retry.delay_s)
        again = self._again(old, at, Origin.RETRY) | {
            "retry": old.retry.after(),
            "nominal_at": old.nominal_at,
            # What has to be done by a time has to be done by then however often it is tried; it is late once.
            "late_finish_at": None if old.told_late_finish else old.late_finish_at,
            "by": old.by,
            "backfill_id": old.backfill_id,
        }
        job = self.jobs.get(old.job_id)
        if job is None:
            return self._as_it_was(old, now, again)
        if not old.actions:  # that of a backfill fires none
            job = replace(job, actions=())
        turn = [c for c in old.conditions if isinstance(c, MaxRunning) and c.group == _turn(old.backfill_id)]
        try:
            return self._bind(job, old.args, now, labels=old.labels, first=turn, **again)
        except BindError:
            return self._as_it_was(old, now, again)

    def backfill(self, event: BackfillRequested, now: datetime) -> list[Run]:
        """All runs of a backfill at once: they wait for their turn, and a crash loses none.

        Raises:
            NotFound, Refused, BindError: one of them cannot be made.
        """
        job = self._job(event.job_id)
        self._need(len(event.instances))
        backfill_id = self._ids.next if event.backfill_id is None else event.backfill_id
        turn = MaxRunning(count=event.max_running, group=_turn(backfill_id))
        return [
            self._bind(
                job if event.actions else replace(job, actions=()),
                args,
                now,
                origin=Origin.BACKFILL,
                scheduled_at=now,
                nominal_at=nominal_at,
                labels=event.labels,
                by=event.by,
                backfill_id=backfill_id,
                first=(turn,),
            )
            for args, nominal_at in event.instances
        ]

    def fired(self, source: Run, action: ScheduleAction, now: datetime) -> Run:
        """What an action of a run schedules.

        Raises:
            BindError: it cannot be made.
        """
        job = self.jobs.get(action.job_id)
        if job is None:
            raise BindError(f"there is no job {action.job_id}")
        args = source.args | action.expanded(source.args)
        given = {p.name: args[p.name] for p in job.params if p.name in args}
        return self._bind(job, given, now, origin=Origin.ACTION, scheduled_at=now)

    # -- inside

    def _job(self, job_id: str) -> Job:
        job = self.jobs.get(job_id)
        if job is None:
            raise NotFound(f"there is no job {job_id}")
        return job

    def _need(self, count: int) -> None:
        if self._ids.left < count:
            raise Refused("no run ids at hand: try again in a moment")

    def _params_then(self, job_id: str) -> tuple[str, ...] | None:
        """The names of the params of a job that there is, or was when a run became due."""
        job = self.jobs.get(job_id) or self._old.get(job_id)
        return None if job is None else tuple(p.name for p in job.params)

    def _bind(self, job: Job, args: Mapping[str, Any], now: datetime, **facts: Any) -> Run:
        facts = {"params_of": self.params_of} | facts
        run = bind_run(job, run_id=self._ids.next, args=dict(args), now=now, **facts)
        self._ids.take()  # only now: a bad request costs none
        return run

    @staticmethod
    def _again(old: Run, at: datetime, origin: Origin) -> dict[str, Any]:
        return {
            "origin": origin,
            "scheduled_at": at,
            "stop_at": None if old.stop_at is None else at + (old.stop_at - old.scheduled_at),
            "rerun_of": old.run_id,
            "attempt": old.attempt + 1,
        }

    def _as_it_was(self, old: Run, now: datetime, facts: Mapping[str, Any]) -> Run:
        """A new run that is made like one that finished."""
        return replace(old, run_id=self._ids.take(), state_at=now, **{**_NOT_RUN, **facts})


def _turn(backfill_id: RunId | None) -> str:
    """The group in which the runs of a backfill take their turns."""
    return f"backfill r{backfill_id}"


#: What a run that is to be run again has not got yet.
_NOT_RUN: dict[str, Any] = {
    "state": State.SCHEDULED,
    "nominal_at": None,
    "started_at": None,
    "finished_at": None,
    "late_finish_at": None,
    "told_late_start": False,
    "told_late_finish": False,
    "notices": 0,
    "late_why": None,
    "skip_reason": None,
    "message": None,
    "return_code": None,
    "elapsed_s": None,
    "run_state": None,
}
