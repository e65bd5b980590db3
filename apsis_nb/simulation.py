"""What schedules make, and what becomes of it, before any of it happens."""

import warnings
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time, timedelta
from heapq import heappop, heappush
from pathlib import Path
from typing import TYPE_CHECKING, Any, assert_never

from apsis_nb.core.errors import ApsisError
from apsis_nb.core.events import (
    ConditionPolled,
    Event,
    IdsReserved,
    JobsLoaded,
    ProgramFinished,
    ProgramStarted,
    Restored,
    RunFound,
    Tick,
)
from apsis_nb.core.ids import LOW_IDS
from apsis_nb.core.instructions import (
    FindRun,
    Forget,
    Instruction,
    PollCondition,
    ReserveIds,
    ResumeProgram,
    SaveClock,
    SaveMark,
    SaveNotice,
    SavePause,
    SaveRun,
    SendNotice,
    SignalProgram,
    StartProgram,
    StopProgram,
    TellLate,
    WakeAt,
)
from apsis_nb.core.jobs import Job, coming_args
from apsis_nb.core.machine import Machine
from apsis_nb.core.programs import Internal, NoOp, Outcome
from apsis_nb.core.runs import Instance, Origin, Run, RunId
from apsis_nb.core.schedules import due_between, stop_time
from apsis_nb.core.states import State
from apsis_nb.core.times import after_gap, parse_time, parse_when, zone
from apsis_nb.jobfiles import load_file, load_folder

if TYPE_CHECKING:
    import pandas as pd

    from apsis_nb.client import Client

Instant = datetime | date | str


def expected(jobs: str | Path | Iterable[Job], start: Instant, stop: Instant) -> "pd.DataFrame":
    """The runs that the schedules alone make, as if nothing were late or missed.

    Args:
        jobs: a folder of job files, one job file, or jobs.
        start: included. A datetime, a date, or text such as `2026-12-01` or `2026-12-01T09:00:00Z`; in UTC
            where it names no zone.
        stop: as `start`; not included.

    Returns:
        A row a run, by time: `job_id`, `args` (a dict), `nominal_at`, `scheduled_at`, `stop_at` (NaT: it is
        not stopped); times are aware, UTC.

    Raises:
        ApsisError: there is no such folder or file.
        ValueError: `start` or `stop` is no time.

    Warns:
        UserWarning: a job file is broken; the frame lacks its runs.
    """
    import pandas as pd

    begin, end = _instant(start), _instant(stop)
    rows = []
    for job in _jobs(jobs):
        for schedule in job.schedules:
            if schedule.enabled:
                for at, occurrence in due_between(job.job_id, schedule, begin, end):
                    args = coming_args(job, occurrence.args, schedule.args)
                    rows.append((job.job_id, args, occurrence.at, at, stop_time(schedule, at)))
    rows.sort(key=lambda row: (row[3], row[0]))
    frame = pd.DataFrame(rows, columns=["job_id", "args", "nominal_at", "scheduled_at", "stop_at"])
    times = dict.fromkeys(("nominal_at", "scheduled_at", "stop_at"), "datetime64[us, UTC]")
    return frame.astype({"job_id": "str", "args": "object", **times})


def _jobs(jobs: str | Path | Iterable[Job]) -> Iterable[Job]:
    if not isinstance(jobs, str | Path):
        return jobs
    path = Path(jobs)
    if path.is_file():
        file = load_file(path, hosts=None)
        good, errors = [file.job] if file.job else [], list(file.errors)
    elif path.is_dir():
        folder = load_folder(path, hosts=None)
        good, errors = list(folder.jobs.values()), folder.errors
    else:
        raise ApsisError(f"there is no job folder or file {path}")
    for error in errors:
        warnings.warn(str(error), stacklevel=3)
    return good


def _instant(value: Instant) -> datetime:
    utc = zone("UTC")
    if isinstance(value, datetime):
        return parse_time(value, utc)
    if isinstance(value, date):
        return after_gap(value, time(), utc)
    # Without a present, what is said must be a date or a whole time.
    if value.strip()[:4].isdecimal():
        return parse_when(value, datetime(1970, 1, 1, tzinfo=utc), utc)
    raise ValueError(f"'{value}' is no time: write 2026-12-01 or 2026-12-01T09:00:00Z")


def simulate(
    jobs: str | Path | Iterable[Job],
    start: Instant,
    stop: Instant,
    durations: "Mapping[str, float] | float | Client | None" = None,
) -> "pd.DataFrame":
    """The runs of a time to come, moved through the scheduler itself in virtual time, as they are at its end.

    Conditions and limits hold them, stop times and time-outs end them, and actions follow. What ran before
    `start` is not known. Programs succeed.

    Args:
        jobs, start, stop: as `expected` takes them.
        durations: how long programs take: seconds by job id, or for all; or a client, whose history tells
            the medians of the last 90 days. What it does not name takes 60 s; a no-op what its job says.

    Returns:
        A row a run, by scheduled time: `run_id` (as `r1`; not that which it will have), `job_id`, `args` (a
        dict), `origin`, `state`, `nominal_at`, `scheduled_at`, `started_at`, `finished_at`, `late` (it
        started, or still waits, beyond its start budget) and `why`: what holds it, or what was said as it
        ended; None if there is nothing to say. Times are aware, UTC; NaT for what has not come.

    Raises:
        ApsisError, ValueError: as `expected`.

    Warns:
        UserWarning: a job file is broken; the frame lacks its runs.
    """
    import pandas as pd

    begin, end = _instant(start), _instant(stop)
    world = _World(list(_jobs(jobs)), _seconds_of(durations))
    world.run(begin, end)
    columns = ["run_id", "job_id", "args", "origin", "state", "nominal_at", "scheduled_at", "started_at"]
    columns += ["finished_at", "late", "why"]
    rows = [_row(run, world.machine.why(run.run_id), end) for run in world.all()]
    frame = pd.DataFrame(rows, columns=columns)
    times = dict.fromkeys((name for name in columns if name.endswith("_at")), "datetime64[us, UTC]")
    texts = dict.fromkeys(("run_id", "job_id"), "str")
    return frame.astype({**texts, "args": "object", "late": "bool", "why": "object", **times}).astype(
        {
            "origin": pd.CategoricalDtype([origin.value for origin in Origin]),
            "state": pd.CategoricalDtype([state.value for state in State]),
        }
    )


def _row(run: Run, why: str | None, end: datetime) -> tuple[Any, ...]:
    return (
        run.name,
        run.job_id,
        run.args,
        run.origin.value,
        run.state.value,
        run.nominal_at,
        run.scheduled_at,
        run.started_at,
        run.finished_at,
        run.is_late(end),
        why or run.skip_reason or run.message,
    )


#: Seconds that a program takes of which nothing is known.
TYPICAL_S = 60.0


def _seconds_of(durations: Any) -> Callable[[str], float]:
    """Seconds that the programs of a job take."""
    if durations is None:
        return lambda job_id: TYPICAL_S
    if isinstance(durations, int | float):
        return lambda job_id: float(durations)
    if not isinstance(durations, Mapping):
        frame = durations.history.durations(since="90d")
        durations = frame.groupby("job_id", observed=True)["p50_s"].median().to_dict()
    known = {job_id: float(seconds) for job_id, seconds in durations.items()}
    return lambda job_id: known.get(job_id, TYPICAL_S)


class _World:
    """A scheduler in virtual time: it saves in memory, and its programs only take their time."""

    def __init__(self, jobs: list[Job], seconds_of: Callable[[str], float]) -> None:
        self.machine = Machine()
        self._jobs, self._seconds_of = jobs, seconds_of
        self._runs: dict[RunId, Run] = {}
        self._ended: dict[tuple[Instance, State], RunId] = {}  # the newest run of each instance
        self._events: list[tuple[datetime, int, Event]] = []  # heap
        self._wake: datetime | None = None
        self._next_id, self._n = 1, 0

    def all(self) -> list[Run]:
        """The runs that were made, by scheduled time."""
        return sorted(self._runs.values(), key=lambda run: (run.scheduled_at, run.run_id))

    def run(self, start: datetime, stop: datetime) -> None:
        """Let time pass; `start` is included, `stop` is not."""
        self._now = start
        self._reserve(LOW_IDS)
        self._handle(Restored())
        self._handle(JobsLoaded(jobs=tuple(self._jobs)))
        while True:
            due = [self._events[0][0]] if self._events else []
            due += [] if self._wake is None else [self._wake]
            if not due or min(due) >= stop:
                return
            self._now = max(self._now, min(due))
            if self._events and self._events[0][0] <= self._now:
                self._handle(heappop(self._events)[2])
            else:
                self._wake = None
                self._handle(Tick())

    def _handle(self, event: Event) -> None:
        for order in self.machine.handle(event, self._now):
            self._carry_out(order)

    def _carry_out(self, order: Instruction) -> None:
        match order:
            case SaveRun(run=run):
                self._runs[run.run_id] = run
                if run.is_finished and order.is_transition:
                    self._ended[run.inst, run.state] = run.run_id
            case StartProgram(run=run):
                self._start(run)
            case StopProgram(run=run):
                self._finish(run, self._now, "failure", "killed by SIGTERM")
            case FindRun():
                found = [self._ended.get((order.inst, state)) for state in order.states]
                newest = max((run_id for run_id in found if run_id is not None), default=None)
                answer = RunFound(
                    run_id=order.run_id,
                    inst=order.inst,
                    states=order.states,
                    found=newest,
                    exists=any((order.inst, state) in self._ended for state in order.exist),
                )
                self._push(self._now, answer)
            case ReserveIds(count=count):
                self._reserve(count)
            case WakeAt(at=at):
                self._wake = at
            case PollCondition(run=run, condition=condition):
                # Nobody can tell whether it will hold: it does, so that what comes after it is seen.
                self._push(self._now, ConditionPolled(run_id=run.run_id, condition=condition, holds=True))
            case SaveClock() | SaveMark() | SavePause() | SaveNotice() | SendNotice() | TellLate():
                pass
            case ResumeProgram() | SignalProgram() | Forget():
                pass
            case _:
                assert_never(order)

    def _start(self, run: Run) -> None:
        self._push(self._now, ProgramStarted(run_id=run.run_id, at=self._now))
        program, seconds = run.program, self._seconds_of(run.job_id)
        if isinstance(program, NoOp):
            outcome, message = program.end
            self._finish(run, self._now + timedelta(seconds=float(program.duration_s)), outcome, message)
        elif isinstance(program, Internal):
            self._finish(run, self._now, "success", None)
        elif program.timeout is not None and seconds > float(program.timeout.duration_s):
            limit_s = float(program.timeout.duration_s)
            text = f"killed by {program.timeout.signal} (timeout after {limit_s:g} s)"
            self._finish(run, self._now + timedelta(seconds=limit_s), "failure", text)
        else:
            self._finish(run, self._now + timedelta(seconds=seconds), "success", None)

    def _finish(self, run: Run, at: datetime, outcome: Outcome, message: str | None) -> None:
        self._push(at, ProgramFinished(run_id=run.run_id, at=at, outcome=outcome, message=message))

    def _reserve(self, count: int) -> None:
        first, self._next_id = self._next_id, self._next_id + count
        self._push(self._now, IdsReserved(first=first, stop=self._next_id))

    def _push(self, at: datetime, event: Event) -> None:
        self._n += 1
        heappush(self._events, (at, self._n, event))
