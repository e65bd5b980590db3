"""The live runs, indexed for the questions that conditions ask."""

from collections.abc import Iterator, Mapping

from .runs import Instance, Origin, Run, RunId
from .states import BUSY, State


class RunSet(Mapping[RunId, Run]):
    """Runs that have not finished, and those that finish in the event being handled."""

    def __init__(self) -> None:
        self._live: dict[RunId, Run] = {}
        self._ended: dict[RunId, Run] = {}
        self._busy: dict[Instance, int] = {}
        self._of_schedules: dict[str, int] = {}

    def __getitem__(self, run_id: RunId) -> Run:
        return self._live[run_id]

    def __iter__(self) -> Iterator[RunId]:
        return iter(self._live)

    def __len__(self) -> int:
        return len(self._live)

    def put(self, run: Run) -> None:
        """Take the run's newest value; one that has finished is live no more."""
        old = self._live.get(run.run_id)
        if run.origin is Origin.SCHEDULE and (old is None) is not run.is_finished:
            count = self._of_schedules.pop(run.job_id, 0) + (1 if old is None else -1)
            if count:
                self._of_schedules[run.job_id] = count
        change = (run.state in BUSY) - (old is not None and old.state in BUSY)
        if change:
            busy = self._busy.get(run.inst, 0) + change
            if busy:
                self._busy[run.inst] = busy
            else:
                del self._busy[run.inst]
        if run.is_finished:
            self._live.pop(run.run_id, None)
            self._ended[run.run_id] = run
        else:
            self._live[run.run_id] = run

    def clear_ended(self) -> None:
        """The event is handled: what finished in it is history now, which the store answers for."""
        self._ended.clear()

    def busy(self, inst: Instance) -> int:
        """How many runs of `inst` take a place of `max_running`."""
        return self._busy.get(inst, 0)

    def of_schedules(self, job_id: str) -> int:
        """How many live runs of a job its schedules made."""
        return self._of_schedules.get(job_id, 0)

    def ended_in(self, inst: Instance, states: frozenset[State]) -> bool:
        """Whether a run of `inst` finishes just now in one of `states`."""
        return any(r.inst == inst and r.state in states for r in self._ended.values())
