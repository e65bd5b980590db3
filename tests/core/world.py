"""A simulated world around the machine: virtual time, a store, programs, and crashes anywhere.

It carries instructions out as the engine does: all saves of a handled event are one transaction, then the
effects in their order. Each of these is a step, and a crash may come before any of them. What was committed
and what programs do outlive a crash; the machine and the instructions that were not carried out do not.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from heapq import heapify, heappop, heappush
from typing import Any

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
from apsis_nb.core.instructions import (
    FindRun,
    Forget,
    Instruction,
    Notice,
    PollCondition,
    ReserveIds,
    ResumeProgram,
    Save,
    SaveClock,
    SaveMark,
    SaveNotice,
    SavePause,
    SendNotice,
    SignalProgram,
    StartProgram,
    StopProgram,
    TellLate,
    WakeAt,
)
from apsis_nb.core.jobs import Job
from apsis_nb.core.machine import HEAR_AFTER, Machine
from apsis_nb.core.pauses import Pause
from apsis_nb.core.runs import Instance, Run, RunId
from apsis_nb.core.schedules import due_between
from apsis_nb.core.states import BUSY, State

TINY = timedelta(microseconds=1)
START = datetime(2026, 1, 5, tzinfo=UTC)


def after(seconds: float) -> datetime:
    """The time so many seconds after the world began."""
    return START + timedelta(seconds=seconds)


@dataclass
class Process:
    """A program that was started: it outlives the server."""

    ends_at: datetime
    outcome: str
    starts: int = 1


class Crash(Exception):
    """The server was killed here."""


@dataclass(repr=False)
class World:
    """See the module. `duration_s` and `outcome` tell what the program of a run will do."""

    jobs: Sequence[Job]
    duration_s: Callable[[Run], float] = lambda run: 1.0
    outcome: Callable[[Run], str] = lambda run: "success"
    polled_s: Callable[[Run], float] = lambda run: 0.0  #: when what it polls for comes, from the beginning
    new_machine: Callable[[], Machine] = Machine
    effects_first: bool = False  #: a planted fault: act, then save

    now: datetime = START
    steps: int = 0
    crash_at: set[int] = field(default_factory=set)
    hiccups: Mapping[int, str] = field(
        default_factory=dict
    )  #: a fact, by its number, is `lost` or `repeated`
    crashes: int = 0

    # what outlives a crash
    saved: dict[RunId, Run] = field(default_factory=dict)
    log: dict[RunId, list[tuple[datetime, State]]] = field(default_factory=lambda: defaultdict(list))
    said: dict[RunId, list[str | None]] = field(default_factory=lambda: defaultdict(list))
    clock: datetime | None = None
    pauses: list[Pause] = field(default_factory=list)
    ids_taken: RunId = 1
    processes: dict[RunId, Process] = field(default_factory=dict)
    notices: dict[tuple[RunId, int], Notice] = field(default_factory=dict)
    sent: Counter[tuple[RunId, int]] = field(default_factory=Counter)

    # what the laws look at
    starts: Counter[RunId] = field(default_factory=Counter)
    ended_as: dict[RunId, State] = field(default_factory=dict)  # before any mark
    broken_laws: list[str] = field(default_factory=list)
    told_late: Counter[tuple[RunId, str]] = field(default_factory=Counter)  # by this server
    most_busy: Counter[Instance | str] = field(default_factory=Counter)  # also of jobs, groups and all
    states_seen: set[State] = field(default_factory=set)
    story: list[tuple[Event, datetime, list[Instruction] | None]] = field(default_factory=list)
    asked: list[tuple[datetime, Any]] = field(default_factory=list)
    _facts: int = field(default=0, repr=False)
    began: datetime = START  #: when the first server was up: nothing is due before

    def __repr__(self) -> str:
        jobs = ", ".join(
            f"{job.job_id}: {len(job.schedules)} schedules, {job.conditions}" for job in self.jobs
        )
        return f"World({jobs}; crash at {sorted(self.crash_at)}; asked {self.asked})"

    def __post_init__(self) -> None:
        self._queue: list[tuple[datetime, int, Any]] = []
        self._wake: datetime | None = None
        self._n = 0
        self.boot()

    # -- the server

    def boot(self) -> None:
        """Start the server: a machine that knows only what was committed."""
        self.machine = self.new_machine()
        self.booted = self.now
        self.story = []
        self.told_late = Counter()
        lost = Tick | RunFound | ProgramStarted | ProgramFinished | IdsReserved
        self._queue = [q for q in self._queue if not isinstance(q[2], lost)]
        heapify(self._queue)
        self._wake = None
        live = tuple(run for run in self.saved.values() if not run.is_finished)
        try:
            self._reserve(64)
            restored = Restored(
                runs=live,
                clock=self.clock,
                pauses=tuple(self.pauses),
                backfill_failures=self._backfill_failures(),
            )
            self.handle(restored)
            self.handle(Tick())  # the shell takes a moment before it tells of the jobs
            self.handle(JobsLoaded(jobs=tuple(self.jobs)))
            for key in self.notices:  # the shell takes up what was saved, and perhaps not sent
                if not self.sent[key]:
                    self._step()
                    self.sent[key] += 1
        except Crash:
            self.crash()

    def _backfill_failures(self) -> dict[RunId, int]:
        """Of each backfill: how many of its last runs that ended for good did so badly, in a row."""
        failures: Counter[RunId] = Counter()
        ended = [r for r in self.saved.values() if r.finished_at and r.backfill_id is not None]
        for run in sorted(ended, key=lambda r: (r.finished_at or START, r.run_id)):
            assert run.backfill_id is not None
            if run.state in (State.FAILURE, State.ERROR):
                failures[run.backfill_id] += 1
            elif run.state is State.SUCCESS:
                failures[run.backfill_id] = 0
        return failures

    def crash(self) -> None:
        """The server is killed, and starts again a little later."""
        self.crashes += 1
        self.now += timedelta(seconds=0.25)
        self.boot()

    def _step(self) -> None:
        self.steps += 1
        if self.steps in self.crash_at:
            raise Crash

    def handle(self, event: Event) -> list[Instruction]:
        try:
            orders = self.machine.handle(event, self.now)
        except ApsisError:
            self.story.append((event, self.now, None))
            raise
        self.story.append((event, self.now, orders))
        self._check_orders(event, orders)
        saves = [o for o in orders if isinstance(o, Save)]
        effects = [o for o in orders if not isinstance(o, Save)]
        if self.effects_first:
            for order in effects:
                self._carry_out(order)
            self._commit(saves)
        else:
            self._commit(saves)
            for order in effects:
                self._carry_out(order)
        return orders

    def _commit(self, saves: Sequence[Save]) -> None:
        if not saves:
            return
        self._step()
        for save in saves:
            if isinstance(save, SaveClock):
                if self.clock is not None and save.at < self.clock:
                    self.broken_laws.append(f"the clock went back from {self.clock} to {save.at}")
                if self.clock is None:
                    self.began = save.at
                self.clock = save.at
                continue
            if isinstance(save, SavePause):
                self.pauses = [
                    p for p in self.pauses if (p.scope, p.target) != (save.pause.scope, save.pause.target)
                ]
                self.pauses += [save.pause] if save.is_paused else []
                continue
            if isinstance(save, SaveMark):
                if not self.saved[save.run.run_id].is_finished:
                    self.broken_laws.append(f"{save.run.name} is marked before its end")
                self.saved[save.run.run_id] = save.run
                continue
            if isinstance(save, SaveNotice):
                self._commit_notice(save.notice)
                continue
            run, old = save.run, self.saved.get(save.run.run_id)
            if save.is_new == (old is not None):
                self.broken_laws.append(f"{run.name} saved as new twice, or never")
            if old is not None and old.is_finished and save.is_transition:
                self.broken_laws.append(f"{run.name} moved after its end")
            rows = self.log[run.run_id]
            if rows and run.state_at < rows[-1][0]:
                self.broken_laws.append(f"the times of {run.name} go back")
            rows.append((run.state_at, run.state))
            self.said[run.run_id].append(save.message)
            self.states_seen.add(run.state)
            if run.is_finished:
                self.ended_as.setdefault(run.run_id, run.state)
            self.saved[run.run_id] = run
        busy: Counter[Instance | str] = Counter()
        for run in self.saved.values():
            if run.state in BUSY:
                busy.update([run.inst, f"job {run.job_id}", *(f"group {g}" for g in run.groups), ""])
        self.most_busy |= busy

    def _commit_notice(self, notice: Notice) -> None:
        run_id = notice.run.run_id
        if notice.n > self.saved[run_id].notices:
            self.broken_laws.append(f"notice {notice.n} of r{run_id} is not counted with it")
        if (run_id, notice.n) in self.notices:
            self.broken_laws.append(f"notice {notice.n} of r{run_id} is ordered twice")
        self.notices[run_id, notice.n] = notice

    def _carry_out(self, order: Instruction) -> None:
        self._step()
        match order:
            case StartProgram(run=run):
                self._start(run)
            case ResumeProgram(run=run):
                process = self.processes.get(run.run_id)
                if process is None:
                    self._start(run)
                else:
                    if run.state is State.STARTING:
                        self._post(self.now, ProgramStarted(run_id=run.run_id, at=self.now))
                    self._post(max(self.now, process.ends_at), self._finished(run.run_id))
            case StopProgram(run=run):
                process = self.processes[run.run_id]
                process.ends_at = min(process.ends_at, self.now + timedelta(seconds=0.1))
                process.outcome = "failure"
                self._post(max(self.now, process.ends_at), self._finished(run.run_id))
            case FindRun():
                runs = [r for r in self.saved.values() if r.inst == order.inst and not r.is_test]
                found = max((r.run_id for r in runs if r.state in order.states), default=None)
                answer = RunFound(
                    run_id=order.run_id,
                    inst=order.inst,
                    states=order.states,
                    found=found,
                    exists=any(r.state in order.exist for r in runs),
                )
                self._post(self.now, answer)
            case PollCondition(run=run, condition=condition):
                holds_at = after(self.polled_s(run))
                holds = ConditionPolled(run_id=run.run_id, condition=condition, holds=True)
                self._post(max(self.now, holds_at), holds)
            case ReserveIds(count=count):
                self._reserve(count)
            case WakeAt(at=at):
                if at == self._wake:
                    self.broken_laws.append(f"the wake-up at {at} is ordered again")
                self._wake = at
            case Forget(run_id=run_id):
                if not self.saved[run_id].is_finished:
                    self.broken_laws.append(f"r{run_id} is forgotten before its end")
            case SendNotice(notice=notice):
                key = notice.run.run_id, notice.n
                if key not in self.notices:
                    self.broken_laws.append(f"notice {key} is sent before it is saved")
                self.sent[key] += 1
            case TellLate(run=run, kind=kind):
                self.told_late[run.run_id, kind] += 1
                if self.told_late[run.run_id, kind] > 1:
                    self.broken_laws.append(f"{run.name} is told twice to be late: {kind}")
            case SignalProgram():
                pass

    def _reserve(self, count: int) -> None:
        first = self.ids_taken
        self.ids_taken += count
        self._post(self.now, IdsReserved(first=first, stop=first + count))

    def _start(self, run: Run) -> None:
        saved = self.saved.get(run.run_id)
        if saved is None or saved.state is not State.STARTING:
            self.broken_laws.append(f"{run.name} is started before it is saved as starting")
        self.starts[run.run_id] += 1
        self.processes[run.run_id] = Process(
            self.now + timedelta(seconds=self.duration_s(run)), self.outcome(run)
        )
        self._post(self.now, ProgramStarted(run_id=run.run_id, at=self.now))
        self._post(self.processes[run.run_id].ends_at, self._finished(run.run_id))

    def _finished(self, run_id: RunId) -> ProgramFinished:
        process = self.processes[run_id]
        code = {"success": 0, "failure": 1, "error": None}[process.outcome]
        return ProgramFinished(run_id=run_id, at=process.ends_at, outcome=process.outcome, return_code=code)  # type: ignore[arg-type]

    def _check_orders(self, event: Event, orders: Sequence[Instruction]) -> None:
        for order in orders:
            if not order.cause.startswith(type(event).__name__):
                self.broken_laws.append(f"{order} does not name {event} as its cause")
        for order in orders:
            if isinstance(order, WakeAt) and not self.is_due_at(order.at):
                self.broken_laws.append(f"a wake-up at {order.at}, when nothing is due")
        if isinstance(event, Tick) and self.machine.clock == self.now:
            left = [
                r
                for r in self.machine.runs.values()
                if r.state is State.SCHEDULED and r.scheduled_at <= self.now
            ]
            if left:
                self.broken_laws.append(f"due but still scheduled after a tick: {left}")

    def patience_s(self, run: Run) -> float | None:
        """How long a run may wait; None: for ever."""
        of_server = self.new_machine.keywords if isinstance(self.new_machine, partial) else {}
        return of_server.get("max_wait_s") if run.max_wait_s is None else run.max_wait_s

    def is_due_at(self, at: datetime) -> bool:
        """Whether a schedule, a run for later, a stop or a budget names the time, or a look-ahead ends."""
        runs = [*self.machine.runs.values(), *self.saved.values()]
        return (
            at > self.now + timedelta(days=1000)
            or any(at in (r.scheduled_at, r.stop_at) for r in runs)
            or any(
                at == r.state_at + timedelta(seconds=s) for r in runs if (s := self.patience_s(r)) is not None
            )
            or any(
                at - TINY in (r.scheduled_at + timedelta(seconds=r.late_start_s), r.late_finish_at)
                for r in runs
            )
            or at == self.booted + HEAR_AFTER
            or (at == self.now and not self.machine.is_calm)
            or any(
                due.at == at
                for j in self.jobs
                for s in j.schedules
                for due in due_between(j.job_id, s, at, at + TINY)
            )
        )

    # -- time

    def _post(self, at: datetime, event: "Event | Callable[[World], Event | None]") -> None:
        self._n += 1
        heappush(self._queue, (at, self._n, event))

    def ask(self, at: datetime, event: "Event | Callable[[World], Event | None]") -> None:
        """A request that comes at a time, or what makes one; a refused one is somebody else's trouble."""
        self.asked.append((at, event))
        self._post(at, event)

    def run(self, until: datetime) -> "World":
        """Let time pass. Events come in the order of their times; a tick at least every second."""
        while self.now < until:
            beat = self.now + timedelta(seconds=1)
            due = min(
                [beat, until]
                + ([self._wake] if self._wake else [])
                + ([self._queue[0][0]] if self._queue else [])
            )
            self.now = max(self.now, due)
            try:
                if self._queue and self._queue[0][0] <= self.now:
                    self._deliver(heappop(self._queue)[2])
                else:
                    if self._wake is not None and self._wake <= self.now:
                        self._wake = None
                    self.handle(Tick())
            except Crash:
                self.crash()
        return self

    def _deliver(self, event: "Event | Callable[[World], Event | None]") -> None:
        if callable(event):
            found = event(self)
            if found is None:
                return
            event = found
        if isinstance(event, ProgramStarted | ProgramFinished | RunFound | ConditionPolled):
            self._facts += 1
            match self.hiccups.get(self._facts):
                case "lost":  # whoever looks after programs looks again
                    self._post(self.now + timedelta(seconds=0.5), event)
                    return
                case "repeated":
                    self._post(self.now + timedelta(seconds=0.5), event)
        with suppress(ApsisError):
            self.handle(event)

    def settle(self) -> "World":
        """Answer what is on its way, without letting time pass."""
        while self._queue and self._queue[0][0] <= self.now:
            try:
                self._deliver(heappop(self._queue)[2])
            except Crash:
                self.crash()
        return self

    def of_job(self, job_id: str) -> list[Run]:
        """The runs of a job, oldest first."""
        return [run for _, run in sorted(self.saved.items()) if run.job_id == job_id]
