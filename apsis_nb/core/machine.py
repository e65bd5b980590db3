"""The machine: events in, instructions out. It keeps order and dispatches; the rules live with their nouns.

The laws that it holds to (tests/core/test_laws.py):

* A run is saved before its program starts, and its program starts at most once, whatever crashes.
* Everything due at or before a tick leaves `scheduled` in that tick.
* The saved clock never passes a time whose runs are not saved: what a crash loses is made again.
* A fact that comes late (a program that ends after its run was given up) changes nothing.
* Each action follows an event of a run at most once, and what it sends is saved before it is sent.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from heapq import heappop, heappush
from typing import Any, assert_never

from .actions import LATE, MISSED, RECOVERED, Action, ScheduleAction, one_for_each
from .conditions import Ask, Dependency, MaxRunning, Wait, Yes
from .errors import BindError, NotFound, Refused
from .events import (
    Event,
    IdsReserved,
    JobsLoaded,
    ProgramFinished,
    ProgramStarted,
    RerunRequested,
    Restored,
    RunFound,
    RunRequested,
    SignalFailed,
    SignalRequested,
    SkipRequested,
    StartRequested,
    StopRequested,
    Tick,
)
from .instructions import (
    FindRun,
    Forget,
    Instruction,
    Notice,
    ReserveIds,
    ResumeProgram,
    SaveClock,
    SaveNotice,
    SaveRun,
    SendNotice,
    SignalProgram,
    StartProgram,
    StopProgram,
    WakeAt,
)
from .jobs import Job, bind_run
from .lateness import Deadlines, Kind, shown_by, text_of, told_late
from .runs import Instance, Origin, Run, RunId
from .runset import RunSet
from .schedules import stop_time
from .states import BUSY, State
from .upcoming import Due, Upcoming

#: Run ids are asked for when fewer than this are left.
LOW_IDS = 16
MAX_IDS = 16384
#: After a restart it takes so long at most to hear what programs did meanwhile; no run is called late before.
HEAR_AFTER = timedelta(seconds=10)
#: With nothing to do the clock is saved this often.
CLOCK_EVERY = timedelta(seconds=1)

_STATE_OF = {"success": State.SUCCESS, "failure": State.FAILURE, "error": State.ERROR}
_BAD = frozenset({State.FAILURE, State.ERROR})
#: What makes runs that may be late at the time itself; a backfill is about times long past.
_OF_SCHEDULES = frozenset({Origin.SCHEDULE, Origin.RETRY})

#: What is told of a run, by the name that `if` has for it, and a sentence.
Told = tuple[str, str | None]
_RECOVERY: Told = (RECOVERED, "the last run before it ended badly")


class Machine:
    """The state of the scheduler. One way in: `handle`. Not safe for threads.

    Args:
        actions: of the server: they follow the runs of all jobs, beside those that the jobs have.
    """

    def __init__(self, actions: Sequence[Action] = ()) -> None:
        self.runs = RunSet()
        self.jobs: dict[str, Job] = {}
        self.clock: datetime | None = None  #: all that was due up to here is made into runs
        self._out: list[Instruction] = []
        self._cause = ""
        self._seq = 0
        self._upcoming = Upcoming()
        self._scheduled: list[tuple[datetime, RunId]] = []  # heap of runs that start at a later time
        self._stops: list[tuple[datetime, RunId]] = []  # heap of running runs that have a stop time
        self._deadlines = Deadlines()
        self._due: deque[Due] = deque()  # due, but without a run id yet
        self._actions = tuple(actions)
        # Runs that an action of the server makes are followed by none that makes more, or there were no end.
        self._targets = {action.job_id for action in self._actions if isinstance(action, ScheduleAction)}
        self._sending = tuple(a for a in self._actions if not isinstance(a, ScheduleAction))
        self._all_late = _is_about(LATE, self._actions)
        self._bad: set[str] = set()  # jobs whose last run ended badly
        self._fired: deque[tuple[Run, ScheduleAction]] = deque()  # actions to carry out, in order
        self._dependents: dict[Instance, dict[RunId, None]] = {}  # waiting runs, first come first served
        self._limited: dict[
            Instance, dict[RunId, int]
        ] = {}  # the same, held by `max_running`, with its count
        self._freed: dict[Instance, None] = {}  # instances of which a place has become free
        self._asked: set[tuple[RunId, Instance]] = set()
        self._held: dict[RunId, Wait | Ask] = {}  # what holds each waiting run
        self._woken: dict[RunId, None] = {}  # waiting runs to look at again
        self._ids: deque[tuple[RunId, RunId]] = deque()
        self._ids_left = 0
        self._ids_asked = False
        self._ids_block = LOW_IDS
        self._ids_asked_at: datetime | None = None
        self._wake: datetime | None = None
        self._clock_saved: datetime | None = None

    # -- in

    def handle(self, event: Event, now: datetime) -> list[Instruction]:
        """What follows from the event.

        Args:
            event: what happened.
            now: the time, aware, UTC. One that lies before an earlier one does no harm.

        Returns:
            Orders for the shell; all saves of the list are one transaction, which is committed before any of
            the others is carried out.

        Raises:
            NotFound, Refused, BindError: a request cannot be met; nothing has changed.
        """
        self._seq += 1
        self._cause = f"{type(event).__name__}#{self._seq}"
        self._out = []
        match event:
            case Tick():
                self._wake = None if self._wake is None or self._wake <= now else self._wake
                self._advance(now)
            case ProgramStarted():
                self._program_started(event)
            case ProgramFinished():
                self._program_finished(event)
            case RunRequested():
                self._run_requested(event, now)
            case RerunRequested():
                self._rerun_requested(event, now)
            case IdsReserved():
                self._ids.append((event.first, event.stop))
                self._ids_left += event.stop - event.first
                self._ids_asked = False
                if self._due or self._fired:
                    self._advance(now)
            case RunFound():
                self._run_found(event, now)
            case JobsLoaded():
                self._jobs_loaded(event, now)
            case Restored():
                self._restored(event, now)
            case StartRequested():
                self._start_requested(event, now)
            case SkipRequested():
                run = self._live(event.run_id)
                if run.state not in (State.SCHEDULED, State.WAITING):
                    raise Refused(f"can't skip {run.name}: it is {run.state.value}")
                reason = event.reason or (f"skipped by {event.by}" if event.by else "skipped by hand")
                self._move(run, State.SKIPPED, now, reason, skip_reason=reason)
            case StopRequested():
                self._stop_requested(
                    self._live(event.run_id), now, f"stop asked by {event.by}" if event.by else None
                )
            case SignalRequested():
                run = self._live(event.run_id)
                if run.state not in (State.RUNNING, State.STOPPING):
                    raise Refused(f"can't signal {run.name}: it is {run.state.value}")
                self._note(run, f"sending {event.signal}")
                self._order(SignalProgram(cause=self._cause, run_id=run.run_id, signal=event.signal))
            case SignalFailed():
                found = self.runs.get(event.run_id)
                if found is not None and found.state in (State.RUNNING, State.STOPPING):
                    self._move(found, State.ERROR, now, event.message)
            case _:
                assert_never(event)
        self._settle(now)
        self.runs.clear_ended()
        return self._out

    def why(self, run_id: RunId) -> str | None:
        """What holds a waiting run, in words; None if nothing is known to."""
        held = self._held.get(run_id)
        return held.text if held else None

    @property
    def ids_left(self) -> int:
        """How many runs can be made before more ids are reserved."""
        return self._ids_left

    # -- time

    def _advance(self, now: datetime) -> None:
        """Make and start all that is due, and move the clock on; or only ask for the ids that this takes."""
        self._due.extend(self._upcoming.take(now))
        if len(self._due) + len(self._fired) > self._ids_left:
            self._reserve(now)
            return
        made = len(self._due)
        while self._due:
            self._make_due(self._due.popleft(), now)
        while self._scheduled and self._scheduled[0][0] <= now:
            run = self.runs.get(heappop(self._scheduled)[1])
            if run is not None and run.state is State.SCHEDULED:
                self._begin(run, now)
        while self._stops and self._stops[0][0] <= now:
            run = self.runs.get(heappop(self._stops)[1])
            if run is not None and run.state is State.RUNNING:
                self._stop_requested(run, now, "its stop time has come")
        for late, kind in self._deadlines.take(now, self.runs):
            self._become_late(late, kind)
        self.clock = now if self.clock is None else max(self.clock, now)
        if made or self._clock_saved is None or self.clock - self._clock_saved >= CLOCK_EVERY:
            self._clock_saved = self.clock
            self._order(SaveClock(cause=self._cause, at=self.clock))

    def _settle(self, now: datetime) -> None:
        """What every event ends with: actions, woken runs, ids, and the time of the next tick."""
        while self._woken or self._freed or (self._fired and self._ids_left):
            if self._fired and self._ids_left:
                self._fire(*self._fired.popleft(), now)
            elif self._woken:
                self._consider(next(iter(self._woken)), now)
            else:
                inst, _ = self._freed.popitem()
                for run_id, count in list(self._limited.get(inst, {}).items()):
                    if self.runs.busy(inst) < count:  # most of those who wait still wait: this must be quick
                        self._consider(run_id, now)
        if self._ids_left < LOW_IDS or self._fired:
            self._reserve(now)
        due = [heap[0][0] for heap in (self._scheduled, self._stops) if heap]
        for at in (self._upcoming.next_at, self._deadlines.next_at(self.runs)):
            if at is not None:
                due.append(at)
        if due and not self._due and self._wake != min(due):
            self._wake = min(due)
            self._order(WakeAt(cause=self._cause, at=self._wake))

    def _reserve(self, now: datetime) -> None:
        """Ask for ids, once; in larger blocks while they are used up fast, so that a restart wastes few."""
        if self._ids_asked:
            return
        fast = self._ids_asked_at is not None and now - self._ids_asked_at < timedelta(seconds=2)
        self._ids_block = min(MAX_IDS, self._ids_block * 2) if fast else LOW_IDS * 2
        self._ids_asked, self._ids_asked_at = True, now
        need = len(self._due) + len(self._fired)
        self._order(ReserveIds(cause=self._cause, count=max(self._ids_block, need)))

    def _next_id(self) -> RunId:
        first, stop = self._ids[0]
        self._ids_left -= 1
        if first + 1 < stop:
            self._ids[0] = (first + 1, stop)
        else:
            self._ids.popleft()
        return first

    # -- jobs, restart

    def _jobs_loaded(self, event: JobsLoaded, now: datetime) -> None:
        """Expected runs follow the new schedules: known jobs go on from the clock, new ones from now.

        After a restart nobody knows which jobs are new, and all go on from the clock.
        """
        known, self.jobs = self.jobs, {job.job_id: job for job in event.jobs}
        new = {job_id for job_id in self.jobs if self.clock is None or (known and job_id not in known)}
        self._upcoming.load(event.jobs, new, clock=self.clock, now=now)
        # What waits for its id is found due again if its job has changed: the clock has not passed it.
        self._due = deque(d for d in self._due if self.jobs.get(d.job.job_id, d.job) is d.job)
        self._advance(now)

    def _restored(self, event: Restored, now: datetime) -> None:
        """Take up the live runs where the store says they are."""
        self.clock = self._clock_saved = event.clock
        self._bad = set(event.bad_jobs)
        for run in sorted(event.runs, key=lambda r: r.run_id):
            self.runs.put(run)
        for run in list(self.runs.values()):
            if self._hears_lateness(run):
                self._deadlines.watch(run, not_before=now + HEAR_AFTER if run.state in BUSY else None)
            match run.state:
                case State.SCHEDULED:
                    heappush(self._scheduled, (run.scheduled_at, run.run_id))
                case State.WAITING:
                    self._note(run, "the server restarted")
                    self._watch(run)
                    self._woken[run.run_id] = None
                case _:
                    self._order(ResumeProgram(cause=self._cause, run=run))
                    if run.state is State.STOPPING:
                        self._order(StopProgram(cause=self._cause, run=run))
                    elif run.stop_at is not None:
                        heappush(self._stops, (run.stop_at, run.run_id))

    # -- making runs

    def _make_due(self, due: Due, now: datetime) -> None:
        """A run of a schedule: it gets its id as it leaves the schedule."""
        job, at, nominal_at = due.job, due.at, due.occurrence.at
        run_id, args = self._next_id(), job.args_for(due.occurrence.args, due.schedule.args)
        skip, most = due.skip, due.schedule.max_runs
        if skip is None and most is not None and (live := self.runs.of_schedules(job.job_id)) >= most:
            skip = f"busy: {live} of at most {most} runs of the job's schedules are unfinished"
        try:
            run = bind_run(
                job,
                run_id=run_id,
                args=args,
                origin=Origin.SCHEDULE,
                scheduled_at=at,
                nominal_at=nominal_at,
                stop_at=stop_time(due.schedule, at),
                late_finish_at=job.late_finish_at(due.schedule, at),
                now=now,
                params_of=self._params_of,
            )
        except BindError as error:
            run = Run(
                run_id=run_id,
                inst=Instance.of(job.job_id, args),
                program=job.program,
                origin=Origin.SCHEDULE,
                scheduled_at=at,
                nominal_at=nominal_at,
                state_at=now,
                actions=job.actions,
                labels=job.labels,
                late_start_s=job.late_start_s,
            )
            self._add(run, f"scheduled for {at:%Y-%m-%d %H:%M:%S}Z")
            self._move(run, State.ERROR, now, str(error))
            return
        self._add(run, f"scheduled for {at:%Y-%m-%d %H:%M:%S}Z")
        if skip is not None:
            self._miss(run, now, skip)
        else:
            self._begin(run, now)

    def _run_requested(self, event: RunRequested, now: datetime) -> None:
        job = event.job or self.jobs.get(event.job_id)
        if job is None:
            raise NotFound(f"there is no job {event.job_id}")
        if self._ids_left < event.count:
            raise Refused("no run ids at hand: try again in a moment")
        made = [
            bind_run(
                job,
                run_id=self._next_id(),
                args=dict(event.args),
                origin=event.origin,
                scheduled_at=event.at or now,
                stop_at=event.stop_at,
                now=now,
                params_of=self._params_of,
                labels=event.labels,
                by=event.by,
                rerun_of=event.rerun_of,
            )
            for _ in range(event.count)
        ]
        for run in made:
            self._take(run, now)

    def _rerun_requested(self, event: RerunRequested, now: datetime) -> None:
        """The job as it is today; a job that is gone, or was ad hoc, as the run had it."""
        old, job = event.original, self.jobs.get(event.original.job_id)
        if self._ids_left < 1:
            raise Refused("no run ids at hand: try again in a moment")
        stop_at = None if old.stop_at is None else now + (old.stop_at - old.scheduled_at)
        if job is None:
            if event.args:
                raise Refused(f"{old.name} can be run again only as it was: there is no job {old.job_id} now")
            run = replace(
                old,
                run_id=self._next_id(),
                origin=Origin.RERUN,
                state=State.SCHEDULED,
                state_at=now,
                scheduled_at=now,
                nominal_at=None,
                stop_at=stop_at,
                started_at=None,
                finished_at=None,
                attempt=old.attempt + 1,
                rerun_of=old.run_id,
                by=event.by,
                **_NOT_RUN,
            )
        else:
            run = bind_run(
                job,
                run_id=self._next_id(),
                args=old.args | dict(event.args),
                origin=Origin.RERUN,
                scheduled_at=now,
                stop_at=stop_at,
                now=now,
                params_of=self._params_of,
                labels=old.labels,
                by=event.by,
                rerun_of=old.run_id,
                attempt=old.attempt + 1,
            )
        self._take(run, now, f"rerun of {old.name}")

    def _params_of(self, job_id: str) -> tuple[str, ...] | None:
        job = self.jobs.get(job_id)
        return None if job is None else tuple(p.name for p in job.params)

    def _take(self, run: Run, now: datetime, why: str | None = None) -> None:
        """A new run that somebody or something asked for: for later, or for now."""
        later = run.scheduled_at > now
        when = f"scheduled for {run.scheduled_at:%Y-%m-%d %H:%M:%S}Z" if later else "scheduled for now"
        self._add(run, f"{when}: {why}" if why else when)
        if later:
            heappush(self._scheduled, (run.scheduled_at, run.run_id))
        else:
            self._begin(run, now)

    def _add(self, run: Run, message: str) -> None:
        self.runs.put(run)
        self._order(SaveRun(cause=self._cause, run=run, message=message, is_new=True))
        if self._hears_lateness(run):
            self._deadlines.watch(run)

    # -- the life of a run

    def _begin(self, run: Run, now: datetime) -> None:
        """Its time has come: wait for its conditions, or start."""
        if run.conditions:
            run = self._move(run, State.WAITING, now, None)
            self._watch(run)
            self._consider(run.run_id, now)
        else:
            self._start(run, now)

    def _watch(self, run: Run) -> None:
        """Hear of what may change the decisions of a waiting run's conditions."""
        for condition in run.conditions:
            match condition:
                case MaxRunning():
                    self._limited.setdefault(condition.inst or run.inst, {})[run.run_id] = int(
                        condition.count
                    )
                case Dependency(inst=Instance() as inst):
                    self._dependents.setdefault(inst, {})[run.run_id] = None

    def _unwatch(self, run: Run) -> None:
        for condition in run.conditions:
            match condition:
                case MaxRunning():
                    _leave(self._limited, condition.inst or run.inst, run.run_id)
                case Dependency(inst=Instance() as inst):
                    _leave(self._dependents, inst, run.run_id)
                    self._asked.discard((run.run_id, inst))
        self._held.pop(run.run_id, None)

    def _consider(self, run_id: RunId, now: datetime) -> None:
        """Start a waiting run if its conditions hold, in their order; else say what holds it."""
        self._woken.pop(run_id, None)
        run = self.runs.get(run_id)
        if run is None or run.state is not State.WAITING:
            return
        left = []
        held: Wait | Ask | None = None
        for n, condition in enumerate(run.conditions):
            decision = condition.decide(run, self.runs)
            if isinstance(decision, Yes):
                if not condition.is_monotonic:
                    left.append(condition)
                continue
            left += run.conditions[n:]
            held = decision
            break
        if held is None:
            self._start(run, now)
            return
        if len(left) < len(run.conditions):
            run = replace(run, conditions=tuple(left))
            self.runs.put(run)
        if isinstance(held, Ask) and (run_id, held.inst) not in self._asked:
            self._asked.add((run_id, held.inst))
            self._order(FindRun(cause=self._cause, run_id=run_id, inst=held.inst, states=held.states))
        before = self._held.get(run_id)
        self._held[run_id] = held
        if before is None or before.text != held.text:
            self._note(run, held.text)

    def _run_found(self, event: RunFound, now: datetime) -> None:
        run = self.runs.get(event.run_id)
        if run is None or run.state is not State.WAITING or event.found is None:
            return
        left = tuple(c for c in run.conditions if not (isinstance(c, Dependency) and c.inst == event.inst))
        self._unwatch(run)
        run = replace(run, conditions=left)
        self.runs.put(run)
        self._watch(run)
        self._woken[run.run_id] = None

    def _start(self, run: Run, now: datetime) -> None:
        facts: dict[str, Any] = {}
        if run.is_late(now):
            held = self._held.get(run.run_id)
            facts["late_why"] = held.why if held else "server"
        run = self._move(run, State.STARTING, now, None, **facts)
        self._order(StartProgram(cause=self._cause, run=run))

    def _start_requested(self, event: StartRequested, now: datetime) -> None:
        run = self._live(event.run_id)
        by = f" by {event.by}" if event.by else ""
        match run.state:
            case State.SCHEDULED:
                self._note(run, f"started before its time{by}")
                self._begin(run, now)
            case State.WAITING:
                self._note(run, f"started although a condition held it{by}")
                self._start(run, now)
            case _:
                raise Refused(f"can't start {run.name}: it is {run.state.value}")

    def _program_started(self, event: ProgramStarted) -> None:
        run = self.runs.get(event.run_id)
        if run is None or run.state is not State.STARTING:
            return
        run = self._move(run, State.RUNNING, event.at, None, run_state=event.run_state)
        if run.stop_at is not None:
            heappush(self._stops, (run.stop_at, run.run_id))

    def _program_finished(self, event: ProgramFinished) -> None:
        run = self.runs.get(event.run_id)
        if run is None or run.state not in (State.STARTING, State.RUNNING, State.STOPPING):
            return
        to = _STATE_OF[event.outcome]
        if run.state is State.STARTING and to is not State.ERROR:
            # found ended after a restart: it ran, and nobody was there to hear of its start
            began = event.at - timedelta(seconds=event.elapsed_s or 0.0)
            run = self._move(run, State.RUNNING, began, None)
        self._move(run, to, event.at, event.message, return_code=event.return_code, elapsed_s=event.elapsed_s)

    def _stop_requested(self, run: Run, now: datetime, message: str | None) -> None:
        match run.state:
            case State.RUNNING:
                run = self._move(run, State.STOPPING, now, message)
                self._order(StopProgram(cause=self._cause, run=run))
            case State.STARTING:
                # Its program may not run yet. A stop time that has come is kept, also over a restart.
                run = replace(run, stop_at=now)
                self.runs.put(run)
                self._note(run, f"{message or 'stop asked'}: it is stopped as soon as it runs")
            case State.STOPPING:
                pass  # it was asked already
            case _:
                raise Refused(f"can't stop {run.name}: it is {run.state.value}; skip it instead")

    # -- what follows

    def _miss(self, run: Run, now: datetime, reason: str) -> None:
        """Skip a run of a schedule that nobody chose to skip."""
        self._move(run, State.SKIPPED, now, reason, told=[(MISSED, reason)], skip_reason=reason)

    def _become_late(self, run: Run, kind: Kind) -> None:
        """A run has used up a budget, and somebody wants to hear of it at once."""
        held = self._held.get(run.run_id)
        text = text_of(run, kind, held.text if held else None)
        run, following = self._following(told_late(run, kind), [(LATE, text)])
        self.runs.put(run)
        self._note(run, text)
        self._follow(run, following)

    def _hears_lateness(self, run: Run) -> bool:
        """Whether it matters to anybody at which moment the run becomes late."""
        if run.nominal_at is None or run.origin not in _OF_SCHEDULES:
            return False
        return run.late_finish_at is not None or self._all_late or _is_about(LATE, run.actions)

    def _recovers(self, run: Run) -> bool:
        """Whether a run that just ended is well, and the one of its job before was not."""
        if run.origin is Origin.TEST or self._is_tried_again(run):
            return False
        if run.state in _BAD:
            self._bad.add(run.job_id)
        elif run.state is State.SUCCESS and run.job_id in self._bad:
            self._bad.remove(run.job_id)
            return True
        return False

    def _is_tried_again(self, run: Run) -> bool:
        """Whether another attempt follows the bad end of a run: then nobody is told of it yet."""
        return False

    def _following(self, run: Run, events: Sequence[Told]) -> tuple[Run, list[ScheduleAction | Notice]]:
        """The actions that are about any of these events, each once, about the first that it names.

        What they send is counted with the run, which is saved with it: so it is ordered once.
        """
        found: list[ScheduleAction | Notice] = []
        if run.origin is Origin.TEST:
            return run, found
        count = run.notices
        for action in (*run.actions, *(self._actions if run.job_id not in self._targets else self._sending)):
            event, text = next((e for e in events if e[0] in action.when.events), (None, None))
            if event is None:
                continue
            if isinstance(action, ScheduleAction):
                found.append(action)
                continue
            for one in one_for_each(action):
                count += 1
                found.append(Notice(run=run, n=count, event=event, text=text, action=one))
        return (replace(run, notices=count) if count > run.notices else run), found

    def _follow(self, run: Run, following: Sequence[ScheduleAction | Notice]) -> None:
        """What follows an event of the run, which is saved."""
        for each in following:
            if isinstance(each, Notice):
                self._order(SaveNotice(cause=self._cause, notice=each))
                self._order(SendNotice(cause=self._cause, notice=each))
            else:
                self._fired.append((run, each))

    def _fire(self, source: Run, action: ScheduleAction, now: datetime) -> None:
        """Carry out an action of a run that came to one of its states; one that fails harms nothing."""
        job = self.jobs.get(action.job_id)
        try:
            if job is None:
                raise BindError(f"there is no job {action.job_id}")
            args = source.args | action.expanded(source.args)
            run = bind_run(
                job,
                run_id=self._next_id(),
                args={p.name: args[p.name] for p in job.params if p.name in args},
                origin=Origin.ACTION,
                scheduled_at=now,
                now=now,
                params_of=self._params_of,
            )
        except BindError as error:
            self._note(source, f"action: {error}")
            return
        self._note(source, f"action: scheduled {run.inst} as {run.name}")
        self._take(run, now, f"action of {source.name}")

    # -- out

    def _order(self, instruction: Instruction) -> None:
        self._out.append(instruction)

    def _note(self, run: Run, message: str) -> None:
        """A line in the run's log, in the same state."""
        self._order(SaveRun(cause=self._cause, run=run, message=message, is_transition=False))

    def _move(
        self,
        run: Run,
        to: State,
        at: datetime,
        message: str | None,
        told: Sequence[Told] = (),
        **facts: Any,
    ) -> Run:
        """Every transition goes through here: saved, indexed, its waiters woken, its actions fired.

        Args:
            told: what else than its new state the move tells.
        """
        if run.state is State.WAITING:
            self._unwatch(run)
        run = run.moved(to, at, message=message, **facts)
        late: list[str] = []
        following: list[ScheduleAction | Notice] = []
        if run.nominal_at is not None and self._hears_lateness(run):
            for kind in shown_by(run):
                late.append(text_of(run, kind, None))
                run = told_late(run, kind)
        recovered = run.is_finished and self._recovers(run)
        if run.actions or self._actions:
            events = [*told, _RECOVERY] if recovered else [*told]
            if not self._is_tried_again(run):
                events.append((to.value, message))
            run, following = self._following(run, [*events, *((LATE, text) for text in late)])
        self.runs.put(run)
        self._order(SaveRun(cause=self._cause, run=run, message=message))
        if run.is_finished:
            self._order(Forget(cause=self._cause, run_id=run.run_id))
            self._woken.update(self._dependents.get(run.inst, {}))
            if run.inst in self._limited:
                self._freed[run.inst] = None
        for text in late:
            self._note(run, text)
        if following:
            self._follow(run, following)
        return run

    def _live(self, run_id: RunId) -> Run:
        run = self.runs.get(run_id)
        if run is None:
            raise NotFound(f"r{run_id} is not a live run: there is none, or it has finished")
        return run


def _is_about(event: str, actions: Sequence[Action]) -> bool:
    """Whether any of the actions follows the event."""
    return any(event in action.when.events for action in actions)


def _leave(watchers: dict[Instance, dict[RunId, Any]], inst: Instance, run_id: RunId) -> None:
    """A run waits for the instance no more."""
    watching = watchers.get(inst, {})
    watching.pop(run_id, None)
    if not watching:
        watchers.pop(inst, None)


#: What a run that is to be run again has not got yet.
_NOT_RUN: dict[str, Any] = {
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
