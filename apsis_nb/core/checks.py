"""What is wrong with jobs that only shows when runs of them are made, or beside each other."""

import difflib
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Generic, TypeVar

from .actions import MESSAGE_NAMES, Action, Names, ScheduleAction, templates_of, unknown_names
from .conditions import Condition, Dependency, MaxRunning
from .errors import BindError, JobError
from .fields import KeyPath, suggestion
from .jobs import Job, bind_args, bind_run
from .params import arg_variable
from .programs import Program
from .runs import Instance, Origin, Run
from .schedules import Occurrence, Schedule, times_between, warnings_of
from .templates import TEMPLATE_NAMES, names_in
from .times import format_iso

T = TypeVar("T", bound=Hashable)

#: A schedule is tried this often; one that gives no time within the span never fires, for all anybody cares.
TRIALS = 3
_SPAN = timedelta(days=1900)
#: A dependency is looked for among the times of its job: first on the days around a run, where most are, then
#: from so long before it to so long after it.
_AROUND = (
    (timedelta(days=1), timedelta(days=1)),
    (timedelta(days=8), timedelta(days=2)),
)
_DAY = timedelta(days=1)
#: More times than this are not gone through to find one.
_MANY = 2000
#: A chain of dependencies is followed so far: one that goes back day by day would have no end.
_CHAIN = 50


class Checks:
    """Looks at jobs beside each other.

    Args:
        jobs: all jobs, by id.
        now: aware; runs are made on trial from here on.
        names: those of the server's configuration; None: they are not known, and not looked at.
    """

    def __init__(self, jobs: Mapping[str, Job], now: datetime, names: Names | None = None) -> None:
        self._jobs, self._now, self._names = jobs, now, names
        actions = (action for job in jobs.values() for action in job.actions)
        self._targets = {action.job_id for action in actions if isinstance(action, ScheduleAction)}
        self._made: dict[tuple[str, int, int], frozenset[Instance] | None] = {}
        self._keys = {id(s): _key_of(s) for job in jobs.values() for s in job.schedules}
        self._times: dict[str, tuple[list[tuple[str, str]], list[Occurrence]]] = {}
        self._around: dict[tuple[str, int, int], list[Occurrence]] = {}
        self._trials: dict[tuple[str, tuple[tuple[str, str], ...]], Run | BindError] = {}
        self._of_jobs = _Waits(self._handed_on)
        self._of_instances = _Waits(self._needed)

    def of(self, job: Job) -> list[JobError]:
        """What is wrong with a job, and what to think of: errors and warnings.

        The names and args of other jobs are looked at, and the next runs of each of its schedules are made on
        trial. Without schedules, the names in its program are looked at.
        """
        faults = [*self._action_faults(job), *self._condition_faults(job), *_param_faults(job)]
        if any(fault.level == "error" for fault in faults):
            return faults
        if not job.schedules:
            faults += _name_faults(job)
        loop = self._of_jobs.loop_of(job.job_id)  # whatever the args: all hand theirs on
        if loop:
            faults.append(_loop_fault(job, loop))
        for n, schedule in enumerate(job.schedules):
            path: KeyPath = ("schedule", n)
            faults += self._schedule_faults(job, schedule, path, is_loop=bool(loop))
        return faults

    # -- schedules

    def _schedule_faults(
        self, job: Job, schedule: Schedule, path: KeyPath, *, is_loop: bool
    ) -> Iterator[JobError]:
        inner = path if schedule.stop is None else (*path, "start")
        warned, times = self._coming(schedule)
        for key, text in warned:
            yield JobError((*inner, key), text, level="warning")
        runs: list[Run] = []
        for occurrence in times:
            try:
                runs.append(self._trial(job, job.args_for(occurrence.args, schedule.args)))
            except BindError as error:
                yield JobError(path, str(error))
                return
        if not runs:
            if schedule.enabled and not warned:
                yield JobError(path, "it gives no time in the next five years", level="warning")
        elif schedule.enabled:
            yield from self._dependency_faults(job, runs[0], times[0].at, is_loop=is_loop)

    def _coming(self, schedule: Schedule) -> tuple[list[tuple[str, str]], list[Occurrence]]:
        """What to think of in a schedule, and its next times. Many jobs of a folder have the same."""
        key = self._keys[id(schedule)]
        if key not in self._times:
            times = islice(times_between(schedule, self._now, self._now + _SPAN), TRIALS)
            self._times[key] = list(warnings_of(schedule, self._now)), list(times)
        return self._times[key]

    def _trial(self, job: Job, args: Mapping[str, str]) -> Run:
        """A run of the job with these args; when it is due makes no difference to it.

        Raises:
            BindError: there can be none.
        """
        key = job.job_id, tuple(args.items())
        if key not in self._trials:
            try:
                self._trials[key] = bind_run(
                    job,
                    run_id=0,
                    args=args,
                    origin=Origin.SCHEDULE,
                    scheduled_at=self._now,
                    now=self._now,
                    params_of=self._params_of,
                )
            except BindError as error:
                self._trials[key] = error
        trial = self._trials[key]
        if isinstance(trial, BindError):
            raise trial
        return trial

    def _params_of(self, job_id: str) -> tuple[str, ...] | None:
        job = self._jobs.get(job_id)
        return None if job is None else tuple(p.name for p in job.params)

    # -- dependencies

    def _dependency_faults(self, job: Job, run: Run, at: datetime, *, is_loop: bool) -> Iterator[JobError]:
        """Of a run on trial: what it waits for and nothing makes, and what waits for it in turn."""
        for n, condition in enumerate(job.conditions):
            path: KeyPath = ("condition", n)
            bound = [c.inst for c in run.conditions if isinstance(c, Dependency) and _is(c, condition)]
            for inst in bound:
                if inst is not None and (text := self._unmade(inst, at)):
                    yield JobError(path, text, level="warning")
        if not is_loop and (loop := self._of_instances.loop_of(run.inst)):
            yield _loop_fault(job, [inst.job_id for inst in loop])

    def _unmade(self, inst: Instance, at: datetime) -> str | None:
        """What to say of a dependency that nothing seems to make."""
        job = self._jobs.get(inst.job_id)
        if job is None or inst.job_id in self._targets:
            return None
        if not any(schedule.enabled for schedule in job.schedules):
            return f"nothing runs {inst.job_id}: it has no schedule, and is no successor of another job"
        for n in range(len(_AROUND)):
            made = self._instances(job, at, n)
            if made is None or inst in made:
                return None
        return f"no schedule of {inst.job_id} makes {inst} near {format_iso(at.date())}"

    def _instances(self, job: Job, at: datetime, n: int) -> frozenset[Instance] | None:
        """What the schedules of a job make around a time; None: too much to go through."""
        key = job.job_id, at.toordinal(), n
        if key in self._made:
            return self._made[key]
        found: set[Instance] | None = set()
        for schedule in job.schedules:
            if found is None or not schedule.enabled:
                continue
            times = self._times_around(schedule, at, n)
            if len(times) == _MANY:
                found = None
                continue
            for occurrence in times:
                try:
                    args = bind_args(job, job.args_for(occurrence.args, schedule.args))
                except BindError:
                    continue  # told where that job is checked
                found.add(Instance.of(job.job_id, args))
        self._made[key] = None if found is None else frozenset(found)
        return self._made[key]

    def _times_around(self, schedule: Schedule, at: datetime, n: int) -> list[Occurrence]:
        key = self._keys[id(schedule)], at.toordinal(), n
        if key not in self._around:
            before, after = _AROUND[n]
            day = at.replace(hour=0, minute=0, second=0, microsecond=0)
            times = times_between(schedule, day - before, day + after + _DAY)
            self._around[key] = list(islice(times, _MANY))
        return self._around[key]

    def _handed_on(self, job_id: str) -> list[str]:
        job = self._jobs.get(job_id)
        conditions = () if job is None else job.conditions
        return [
            c.job_id for c in conditions if isinstance(c, Dependency) and c.enabled is True and not c.args
        ]

    def _needed(self, inst: Instance) -> list[Instance]:
        """What a run of an instance would wait for."""
        job = self._jobs.get(inst.job_id)
        if job is None or not any(isinstance(c, Dependency) for c in job.conditions):
            return []
        try:
            conditions = self._trial(job, dict(inst.args)).conditions
        except BindError:
            return []  # told where that job is checked
        return [c.inst for c in conditions if isinstance(c, Dependency) and c.inst is not None]

    # -- names and args of other jobs

    def _action_faults(self, job: Job) -> Iterator[JobError]:
        ours = {p.name for p in job.params}
        for n, action in enumerate(job.actions):
            path: KeyPath = ("action", n)
            if not isinstance(action, ScheduleAction):
                yield from _message_faults(path, action, ours)
                for key, text in unknown_names(action, self._names) if self._names is not None else ():
                    yield JobError((*path, key), text)
                continue
            target = self._jobs.get(action.job_id)
            if target is None:
                yield JobError((*path, "job_id"), _no_such_job(action.job_id, self._jobs))
                continue
            needed = {p.name for p in target.params if p.default is None}
            yield from _arg_faults(path, target, needed - ours - set(action.args), action.args)
            for name, text in action.args.items():
                for unknown in sorted(names_in(text) - ours):
                    hint = suggestion(unknown, ours) or ": here are only the args of the run"
                    yield JobError((*path, "args", name), f"name '{unknown}' is not defined{hint}")

    def _condition_faults(self, job: Job) -> Iterator[JobError]:
        ours = {p.name for p in job.params}
        for n, condition in enumerate(job.conditions):
            path: KeyPath = ("condition", n)
            if isinstance(condition, MaxRunning) and condition.args and condition.job_id is None:
                yield from _arg_faults(path, job, set(), condition.args)
            if not isinstance(condition, Dependency | MaxRunning) or condition.job_id is None:
                continue
            if "{" in condition.job_id or condition.enabled is False:  # known only when it is bound; or never
                continue
            target = self._jobs.get(condition.job_id)
            if target is None:
                yield JobError((*path, "job_id"), _no_such_job(condition.job_id, self._jobs))
            elif isinstance(condition, Dependency):
                theirs = {p.name for p in target.params}
                yield from _arg_faults(path, target, theirs - ours - set(condition.args), condition.args)
            elif condition.args:
                yield from _arg_faults(path, target, set(), condition.args)


def _key_of(schedule: Schedule) -> str:
    """Alike for schedules that give the same times."""
    return repr(replace(schedule, args={}))


def _message_faults(path: KeyPath, action: Action, ours: set[str]) -> Iterator[JobError]:
    """Names in the texts of a message that nothing has: they would be found out only when it is sent."""
    for key, text in templates_of(action).items():
        for unknown in sorted(names_in(text) - ours - TEMPLATE_NAMES - {*MESSAGE_NAMES}):
            hint = suggestion(unknown, [*ours, *MESSAGE_NAMES])
            yield JobError((*path, key), f"name '{unknown}' is not defined{hint}")


def _arg_faults(
    path: KeyPath, target: Job, missing: set[str], given: Mapping[str, str]
) -> Iterator[JobError]:
    theirs = [p.name for p in target.params]
    for name in sorted(missing):
        yield JobError(path, f"no value for param {name} of job {target.job_id}: give it under 'args'")
    for name in given:
        if name not in theirs:
            text = f"job {target.job_id} has no param '{name}'{suggestion(name, theirs)}"
            yield JobError((*path, "args", name), text)


def _param_faults(job: Job) -> Iterator[JobError]:
    """Params that a program could not tell apart in its environment."""
    names: dict[str, str] = {}
    for param in job.params:
        first = names.setdefault(arg_variable(param.name), param.name)
        if first != param.name:
            text = f"'{first}' and '{param.name}' are both {param.variable}: a program sees one of them there"
            yield JobError(("params",), text, level="warning")


def _name_faults(job: Job) -> Iterator[JobError]:
    ours = [p.name for p in job.params]
    for name in sorted(_names_in(job.program) - TEMPLATE_NAMES - {*job.functions, *ours}):
        hint = suggestion(name, ours) or ": is it a param?"
        yield JobError(("program",), f"name '{name}' is not defined{hint}")


def _names_in(program: Program) -> set[str]:
    """The names that the templates of a program may ask for."""
    names: set[str] = set()
    parts: list[Any] = [program.to_dict()]
    while parts:
        match parts.pop():
            case str() as text if "{" in text:
                names |= names_in(text)
            case Mapping() as mapping:
                parts += mapping.values()
            case list() as items:
                parts += items
    return names


def _is(bound: Condition, condition: Condition) -> bool:
    """Whether a condition of a run came out of that of its job."""
    if not isinstance(bound, Dependency) or not isinstance(condition, Dependency):
        return False
    return bound.states == condition.states and (bound.job_id == condition.job_id or "{" in condition.job_id)


class _Waits(Generic[T]):
    """Finds what waits for itself, going through each thing once.

    Args:
        needed: what a thing waits for.
    """

    def __init__(self, needed: Callable[[T], Iterable[T]]) -> None:
        self._needed = needed
        self._loops: dict[T, list[T]] = {}
        self._done: set[T] = set()

    def loop_of(self, start: T) -> list[T]:
        """The way from a thing to itself, both ends named; nothing if there is none."""
        if start not in self._done:
            self._follow(start)
        return self._loops.get(start, [])

    def _follow(self, start: T) -> None:
        way, place = [start], {start: 0}
        branches = [iter(self._needed(start))]
        while branches:
            step = next(branches[-1], None)
            if step is None:
                branches.pop()
                left = way.pop()
                del place[left]
                self._done.add(left)
            elif step in place:
                loop = way[place[step] :]
                for n, member in enumerate(loop):
                    self._loops.setdefault(member, [*loop[n:], *loop[:n], member])
            elif step not in self._done and len(way) < _CHAIN:
                place[step] = len(way)
                way.append(step)
                branches.append(iter(self._needed(step)))


def _loop_fault(job: Job, job_ids: list[str]) -> JobError:
    n = next(
        (n for n, c in enumerate(job.conditions) if isinstance(c, Dependency) and c.job_id == job_ids[1]),
        0,
    )
    return JobError(("condition", n), f"it waits for itself: {' -> '.join(job_ids)}")


def _no_such_job(job_id: str, jobs: Mapping[str, Job]) -> str:
    close = difflib.get_close_matches(job_id, jobs, n=1)
    return f"there is no job '{job_id}'" + (f": did you mean '{close[0]}'?" if close else "")
