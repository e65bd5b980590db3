"""When a run of a schedule passes its budgets, so that it is told then, and what is said of it."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from heapq import heappop, heappush
from typing import Literal

from .runs import Origin, Run, RunId
from .states import State
from .times import format_duration, format_utc

#: In which way a run is late.
Kind = Literal["start", "finish"]
#: How a run missed its time: it is late, or it is skipped and nobody chose that.
Miss = Kind | Literal["missed"]

#: A run is late after its budget, not at its end.
_TICK = timedelta(microseconds=1)
_NOT_STARTED = frozenset({State.SCHEDULED, State.WAITING, State.STARTING})


class Deadlines:
    """The times at which live runs of schedules become late, if nothing happens to them before."""

    def __init__(self) -> None:
        self._heap: list[tuple[datetime, RunId, Kind]] = []

    def watch(self, run: Run, *, not_before: datetime | None = None) -> None:
        """Look at a run when its budgets are used up.

        Args:
            run: of a schedule, or a further attempt of one; live.
            not_before: for one whose program may have moved on while no server was there: that is heard
                first.
        """
        self._push(run, "start", run.scheduled_at + timedelta(seconds=run.late_start_s), not_before)
        if run.late_finish_at is not None:
            self._push(run, "finish", run.late_finish_at, not_before)

    def _push(self, run: Run, kind: Kind, budget_at: datetime, not_before: datetime | None) -> None:
        if may_become(run, kind):
            at = budget_at + _TICK
            heappush(self._heap, (at if not_before is None else max(at, not_before), run.run_id, kind))

    def next_at(self, live: Mapping[RunId, Run]) -> datetime | None:
        """When a run becomes late next; those of which that is settled are dropped."""
        while self._heap:
            at, run_id, kind = self._heap[0]
            run = live.get(run_id)
            if run is not None and may_become(run, kind):
                return at
            heappop(self._heap)
        return None

    def take(self, now: datetime, live: Mapping[RunId, Run]) -> Iterator[tuple[Run, Kind]]:
        """The runs that are late at `now` and were not taken before, each as it is when its turn comes."""
        while self._heap and self._heap[0][0] <= now:
            _, run_id, kind = heappop(self._heap)
            run = live.get(run_id)
            if run is not None and may_become(run, kind):
                yield run, kind


def may_become(run: Run, kind: Kind) -> bool:
    """Whether the run can still become late in this way, and it was not said."""
    match kind:
        case "start":
            is_first = run.origin is Origin.SCHEDULE  # only the start of the first attempt can be late
            return is_first and run.state in _NOT_STARTED and not run.told_late_start
        case "finish":
            return not run.is_finished and not run.told_late_finish


def shown_by(run: Run) -> list[Kind]:
    """In which ways the run's last move shows that it is late, where that was not said yet."""
    kinds: list[Kind] = []
    if not run.told_late_start and run.state not in _NOT_STARTED and run.starts_late(run.state_at):
        kinds.append("start")
    if not run.told_late_finish and run.is_finished and run.ends_late(run.state_at):
        kinds.append("finish")
    return kinds


def told_late(run: Run, kind: Kind) -> Run:
    """The run of which it is said that it is late in this way."""
    return replace(run, told_late_start=True) if kind == "start" else replace(run, told_late_finish=True)


def text_of(run: Run, kind: Kind, held: str | None) -> str:
    """What is said of a late run.

    Args:
        run: that is late in this way.
        kind: the way.
        held: what it waits for, if it waits.
    """
    if kind == "finish":
        assert run.late_finish_at is not None, "it has a time by which it should finish"
        due = f"late: should have finished by {format_utc(run.late_finish_at)}"
        if run.finished_at is not None:
            after = format_duration((run.finished_at - run.late_finish_at).total_seconds())
            return f"{due}, finished {after} later"
    else:
        due = f"late: was due {format_utc(run.scheduled_at)}"
        if run.state not in _NOT_STARTED:
            after = format_duration(run.late_s(run.state_at) or 0.0)
            return f"{due}, {'ended' if run.started_at is None else 'started'} {after} later"
    return f"{due}, held: {held}" if held else f"{due}, is {run.state.value}"
