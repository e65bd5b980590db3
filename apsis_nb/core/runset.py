"""The live runs, indexed for the questions that conditions ask."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from .runs import Instance, Origin, Run, RunId
from .states import BUSY, State

K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class Matching:
    """A pool: the runs of a job that have certain args; without any, all of them."""

    job_id: str
    args: tuple[tuple[str, str], ...] = ()  #: (name, value), sorted by name

    def covers(self, inst: Instance) -> bool:
        """Whether runs of an instance belong to it."""
        return inst.job_id == self.job_id and {*self.args} <= {*inst.args}

    def __str__(self) -> str:
        return f"{self.job_id}({', '.join([f'{k}={v}' for k, v in self.args] + ['...'])})"


@dataclass(frozen=True, slots=True)
class Group:
    """A pool: the runs of all jobs whose `max_running` names it."""

    name: str

    def __str__(self) -> str:
        return f"group {self.name}"


#: What `max_running` counts.
Pool = Instance | Matching | Group


class RunSet(Mapping[RunId, Run]):
    """Runs that have not finished, and those that finished just now: not all who wait have heard of it."""

    def __init__(self) -> None:
        self._live: dict[RunId, Run] = {}
        self._ended: dict[Instance, dict[RunId, Run]] = {}
        self._busy: dict[str, dict[Instance, int]] = {}  # by job
        self._busy_in: dict[str, int] = {}  # by group
        self._of_schedules: dict[str, int] = {}
        self._twins: dict[Instance, tuple[RunId, ...]] = {}
        self.busy_count = 0  #: how many runs take up a place

    def __getitem__(self, run_id: RunId) -> Run:
        return self._live[run_id]

    def __iter__(self) -> Iterator[RunId]:
        return iter(self._live)

    def __len__(self) -> int:
        return len(self._live)

    def put(self, run: Run) -> None:
        """Take the run's newest value; one that has finished is live no more."""
        old = self._live.get(run.run_id)
        if (old is None) is not run.is_finished:
            self._came_or_left(run, 1 if old is None else -1)
        change = (run.state in BUSY) - (old is not None and old.state in BUSY)
        if change:
            self._count(run, change)
        if run.is_finished:
            self._live.pop(run.run_id, None)
            self._ended.setdefault(run.inst, {})[run.run_id] = run
        else:
            self._live[run.run_id] = run

    def _came_or_left(self, run: Run, change: int) -> None:
        if run.origin is Origin.SCHEDULE:
            _add(self._of_schedules, run.job_id, change)
        twins = self._twins.get(run.inst, ())
        twins = (*twins, run.run_id) if change > 0 else tuple(t for t in twins if t != run.run_id)
        if twins:
            self._twins[run.inst] = twins
        else:
            del self._twins[run.inst]

    def _count(self, run: Run, change: int) -> None:
        self.busy_count += change
        of_job = self._busy.setdefault(run.job_id, {})
        _add(of_job, run.inst, change)
        if not of_job:
            del self._busy[run.job_id]
        for group in run.groups:
            _add(self._busy_in, group, change)

    def clear_ended(self) -> None:
        """All have heard of what finished: it is history now, which the store answers for."""
        self._ended.clear()

    def busy(self, pool: Pool) -> int:
        """How many runs of a pool take up a place: starting, running or stopping."""
        match pool:
            case Instance():
                return self._busy.get(pool.job_id, {}).get(pool, 0)
            case Matching():
                of_job = self._busy.get(pool.job_id, {})
                return sum(count for inst, count in of_job.items() if pool.covers(inst))
            case Group():
                return self._busy_in.get(pool.name, 0)

    def of_schedules(self, job_id: str) -> int:
        """How many live runs of a job its schedules made."""
        return self._of_schedules.get(job_id, 0)

    def twin(self, run: Run, states: frozenset[State]) -> Run | None:
        """Another live run of the same instance in one of `states`: the oldest."""
        for run_id in self._twins.get(run.inst, ()):
            other = self._live.get(run_id)
            if other is not None and run_id != run.run_id and other.state in states:
                return other
        return None

    def is_any(self, inst: Instance, states: frozenset[State]) -> bool:
        """Whether a run of `inst`, but a test run, is live in one of `states` or finishes just now in one."""
        live = (self._live[run_id] for run_id in self._twins.get(inst, ()) if run_id in self._live)
        return any(r.state in states and not r.is_test for r in live) or self.ended_in(inst, states)

    def ended_in(self, inst: Instance, states: frozenset[State]) -> bool:
        """Whether a run of `inst`, but a test run, finishes just now in one of `states`."""
        if not self._ended:
            return False
        ended = self._ended.get(inst)
        return ended is not None and any(r.state in states and not r.is_test for r in ended.values())


def _add(counts: dict[K, int], key: K, change: int) -> None:
    """Change a count; one that comes to nothing takes no room."""
    count = counts.pop(key, 0) + change
    if count:
        counts[key] = count
