"""The machine: events in, instructions out. It keeps order and dispatches; the rules live with their nouns.

The laws that it holds to (tests/core/test_laws.py):

* A run is saved before its program starts, and its program starts at most once, whatever crashes.
* Everything due at or before a tick leaves `scheduled` in that tick; of much, some in those right after it.
* The saved clock never passes a time whose runs are not saved: what a crash loses is made again.
* A fact that comes late (a program that ends after its run was given up) changes nothing.
* Each action follows an event of a run at most once, and what it sends is saved before it is sent.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from heapq import heappop, heappush
from itertools import chain
from typing import Any, assert_never

from .actions import LATE, MISSED, Action, ScheduleAction
from .backfills import Backfills
from .conditions import Ask, Condition, Dependency, End, MaxRunning, SkipDuplicate
from .errors import BindError, NotFound, Refused
from .events import (
    BackfillRequested,
    BackfillStopRequested,
    ConditionPolled,
    DrainRequested,
    Event,
    IdsReserved,
    JobsLoaded,
    MarkRequested,
    PauseRequested,
    ProgramFinished,
    ProgramStarted,
    RerunRequested,
    Restored,
    ResumeRequested,
    RunFound,
    RunRequested,
    SignalFailed,
    SignalRequested,
    SkipRequested,
    StartRequested,
    StopRequested,
    Tick,
)
from .following import RECOVERY, Following, Told
from .ids import LOW_IDS, Ids
from .instructions import (
    FindRun,
    Forget,
    Instruction,
    Notice,
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
from .jobs import Job
from .lateness import Deadlines, Kind, Miss, shown_by, text_of, told_late
from .making import Maker
from .pauses import Pause, Pauses
from .runs import Origin, Run, RunId
from .runset import RunSet
from .states import BUSY, FINISHED, State
from .times import format_duration, format_utc
from .upcoming import Due, Upcoming
from .waiting import Waiting

#: After a restart it takes so long at most to hear what programs did meanwhile; no run is called late before.
HEAR_AFTER = timedelta(seconds=10)
#: With nothing to do the clock is saved this often.
CLOCK_EVERY = timedelta(seconds=1)

#: What a server that is about to end leaves to the next.
_LEFT_TO_THE_NEXT = (RunRequested, RerunRequested, BackfillRequested, StartRequested)

#: Conditions about other runs.
_OF_RUNS = (Dependency, MaxRunning, SkipDuplicate)
#: Why a run was skipped by a server that starts nothing.
OBSERVED = "observed: it would have started now"

_STATE_OF = {"success": State.SUCCESS, "failure": State.FAILURE, "error": State.ERROR}


class Machine:
    """The state of the scheduler. One way in: `handle`. Not safe for threads.

    Args:
        limit: at most so many runs at once take up a place; None: any number.
        max_wait_s: how long a run may wait whose job does not say; None: for ever.
        actions: of the server: they follow the runs of all jobs, beside those that the jobs have.
        observes: no program is started: what would start is skipped. Nothing follows any run, and no run
            waits for another, for none comes to its end.
    """

    def __init__(
        self,
        limit: int | None = None,
        max_wait_s: float | None = None,
        actions: Sequence[Action] = (),
        *,
        observes: bool = False,
    ) -> None:
        self.observes = observes
        self.runs = RunSet()
        self.clock: datetime | None = None  #: all that was due up to here is made into runs
        self.pauses = Pauses()
        self.is_draining = False  #: nothing more starts, and the clock stands still, as if no server ran
        self._out: list[Instruction] = []
        self._cause = ""
        self._seq = 0
        self._upcoming = Upcoming()
        self._scheduled: list[tuple[datetime, RunId]] = []  # heap of runs that start at a later time
        self._stops: list[tuple[datetime, RunId]] = []  # heap of running runs that have a stop time
        self._deadlines = Deadlines()
        self._quiet_deadlines = Deadlines()  # nothing follows from them: an idle tick is soon enough
        self._late: set[tuple[RunId, Kind]] = set()  # what was told of runs that live
        self._due: deque[Due] = deque()  # due, but without a run id yet
        self._following = Following(actions, is_silent=observes)
        self._fired: deque[tuple[Run, ScheduleAction]] = deque()  # actions to carry out, in order
        self._retries: deque[Run] = deque()  # to be tried again, in order
        self._ended: deque[ProgramFinished] = deque()  # what follows from them needs ids first
        self._waiting = Waiting(self.runs, limit, max_wait_s)
        self._backfills = Backfills()
        self._ids = Ids()
        self._maker = Maker(self._ids)
        self._wake: datetime | None = None
        self._clock_saved: datetime | None = None
        self._knows_jobs = True  # not between a restart and the first look at the job folder

    #: At most so many waiting runs are looked at in one event.
    LOOKS = 100
    #: About so many due runs are made in one event, but all of an instant.
    MAKES = 200

    # -- in

    def handle(self, event: Event, now: datetime) -> list[Instruction]:
        """What follows from the event.

        Args:
            event: what happened.
            now: the time, aware, UTC. One that lies before an earlier one does no harm.

        Returns:
            Orders for the shell; all `SaveRun` and `SaveClock` of the list are one transaction, which is
            committed before any of the others is carried out.

        Raises:
            NotFound, Refused, BindError: a request cannot be met; nothing has changed.
        """
        if self.is_draining and isinstance(event, _LEFT_TO_THE_NEXT):
            raise Refused("the server is about to end, and starts nothing more: ask the next one")
        if self.observes and isinstance(event, _LEFT_TO_THE_NEXT):
            raise Refused("the server only observes, and starts nothing: start it without --observe")
        self._seq += 1
        self._cause = f"{type(event).__name__}#{self._seq}"
        self._out = []
        match event:
            case Tick():
                self._wake = None if self._wake is None or self._wake <= now else self._wake
                self._advance(now)
            case DrainRequested():
                self.is_draining = True
            case ProgramStarted():
                self._program_started(event)
            case ProgramFinished():
                self._program_finished(event, now)
            case RunRequested():
                for run in self._maker.requested(event, now):
                    self._take(run, now)
            case RerunRequested():
                run = self._maker.rerun(event, now)
                self._take(run, now, f"rerun of {event.original.name}")
            case BackfillRequested():
                made = self._maker.backfill(event, now)
                backfill_id = made[0].run_id if event.backfill_id is None else event.backfill_id
                self._backfills.begin(backfill_id)
                for run in made:
                    self._take(run, now, f"backfill r{backfill_id}")
            case BackfillStopRequested():
                left = self._of_backfill(event.backfill_id)
                if not left:
                    raise Refused(f"nothing is left of backfill r{event.backfill_id}")
                by = f" by {event.by}" if event.by else ""
                self._stop_backfill(left, now, f"backfill r{event.backfill_id} stopped{by}")
            case MarkRequested():
                self._mark_requested(event, now)
            case PauseRequested():
                self.pauses.add(event.pause)
                self._save_pause(event.pause, now, event.pause.by, is_paused=True)
            case ResumeRequested():
                pause = self.pauses.remove(event.scope, event.target)
                if pause is None:
                    raise Refused(f"{event.target or 'all'} is not paused")
                self._save_pause(pause, now, event.by, is_paused=False)
            case IdsReserved():
                self._ids.add(event.first, event.stop)
                # What follows from the first of them has taken no id yet, but will.
                while self._ended and self._ids.left >= (
                    len(self._fired) + len(self._retries) + self._ids_needed(self._ended[0])
                ):
                    self._program_finished(self._ended.popleft(), now)
                if self._due or self._fired or self._retries:
                    self._advance(now)
            case RunFound():
                self._run_found(event)
            case ConditionPolled():
                self._condition_polled(event, now)
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
        if self._waiting.is_calm:
            self.runs.clear_ended()
        return self._out

    def why(self, run_id: RunId) -> str | None:
        """What holds a waiting run, in words; None if nothing is known to."""
        held = self._waiting.why(run_id)
        return held.text if held else None

    def holds(self, run_id: RunId) -> tuple[bool, list[Run]]:
        """Whether a waiting run waits for a place, and the runs that take those up."""
        held = self._waiting.why(run_id)
        return held is not None and held.why == "limit", self._waiting.holders(run_id)

    @property
    def is_calm(self) -> bool:
        """Whether all that an event may have let go was looked at; if not, a tick goes on with it."""
        return self._waiting.is_calm

    @property
    def jobs(self) -> Mapping[str, Job]:
        """The jobs now, by id."""
        return self._maker.jobs

    @property
    def ids_left(self) -> int:
        """How many runs can be made before more ids are reserved."""
        return self._ids.left

    # -- time

    def _advance(self, now: datetime, *, everything: bool = False) -> None:
        """Make and start what is due, and move the clock on; or only ask for the ids that this takes.

        Args:
            now: the time.
            everything: however much it is; else about `MAKES` runs of schedules, and the clock waits there.
        """
        if not self._knows_jobs:
            return  # the clock must not pass what their schedules made due while no server ran
        if self.is_draining:
            self._pass_time(now)
            return
        self._due.extend(self._upcoming.take(now, None if everything else self.MAKES - len(self._due)))
        if len(self._due) + len(self._fired) + len(self._retries) > self._ids.left:
            self._reserve(now)
            return
        made = len(self._due)
        while self._due:
            self._make_due(self._due.popleft(), now)
        while self._scheduled and self._scheduled[0][0] <= now:
            run = self.runs.get(heappop(self._scheduled)[1])
            if run is not None and run.state is State.SCHEDULED:
                self._begin(run, now)
        for run_id in self._waiting.impatient(now):
            self._waited_too_long(run_id, now)
        self._pass_time(now)
        done_to = self._upcoming.done_to(now)
        self.clock = done_to if self.clock is None else max(self.clock, done_to)
        if made or self._clock_saved is None or self.clock - self._clock_saved >= CLOCK_EVERY:
            self._clock_saved = self.clock
            self._order(SaveClock(cause=self._cause, at=self.clock))

    def _pass_time(self, now: datetime) -> None:
        """What time does to the runs that there are: some are stopped, some are late."""
        while self._stops and self._stops[0][0] <= now:
            run = self.runs.get(heappop(self._stops)[1])
            if run is not None and run.state is State.RUNNING:
                self._stop_requested(run, now, "its stop time has come")
        for late, kind in chain(
            self._deadlines.take(now, self.runs), self._quiet_deadlines.take(now, self.runs)
        ):
            self._become_late(late, kind)

    def _settle(self, now: datetime) -> None:
        """What every event ends with: actions, woken runs, ids, and the time of the next tick."""
        looks = self.LOOKS
        while (looks and not self._waiting.is_calm) or ((self._fired or self._retries) and self._ids.left):
            if self._retries and self._ids.left:
                self._try_again(self._retries.popleft(), now)
            elif self._fired and self._ids.left:
                self._fire(*self._fired.popleft(), now)
            else:
                while looks and (run_id := self._waiting.next_to_look_at()) is not None:
                    self._consider(run_id, now)
                    looks -= 1
        if self._ids.left < LOW_IDS or self._fired or self._retries or self._ended:
            self._reserve(now)
        times = [self._stops[0][0] if self._stops else None, self._deadlines.next_at(self.runs)]
        if not self.is_draining:
            times += [self._scheduled[0][0] if self._scheduled else None]
            times += [self._upcoming.next_at, self._waiting.next_end]
            # The rest is looked at in the next step: none takes long.
            times += [None if self._waiting.is_calm else now]
        due = [at for at in times if at is not None]
        if due and self._knows_jobs and not self._due and self._wake != min(due):
            self._wake = min(due)
            self._order(WakeAt(cause=self._cause, at=self._wake))

    def _reserve(self, now: datetime) -> None:
        """Ask for ids, once."""
        need = (
            len(self._due) + len(self._fired) + len(self._retries) + sum(map(self._ids_needed, self._ended))
        )
        if count := self._ids.wanted(need, now):
            self._order(ReserveIds(cause=self._cause, count=count))

    # -- jobs, restart

    def _jobs_loaded(self, event: JobsLoaded, now: datetime) -> None:
        """Expected runs follow the new schedules: known jobs go on from the clock, new ones from now.

        After a restart nobody knows which jobs are new, and all go on from the clock.
        """
        if self.clock is not None:
            self._advance(now, everything=True)  # what was due before the change is made as it was then
        known = self._maker.change_jobs({job.job_id: job for job in event.jobs}, keep_old=bool(self._due))
        new = {job_id for job_id in self.jobs if self.clock is None or (known and job_id not in known)}
        self._knows_jobs = True
        self._upcoming.load(event.jobs, new, clock=self.clock, now=now)
        # What waits for its id is found due again if its job has changed: the clock has not passed it.
        self._due = deque(d for d in self._due if self.jobs.get(d.job.job_id, d.job) is d.job)
        self._advance(now)

    def _restored(self, event: Restored, now: datetime) -> None:
        """Take up the live runs where the store says they are."""
        self.clock = self._clock_saved = event.clock
        self._knows_jobs = False
        self.pauses.load(event.pauses)
        self._backfills.load(event.backfill_failures)
        self._following.load(event.bad_jobs)
        for run in sorted(event.runs, key=lambda r: r.run_id):
            self.runs.put(self._as_observed(run))
        for run in list(self.runs.values()):
            self._watch(run, now + HEAR_AFTER if run.state in BUSY else None)
            match run.state:
                case State.SCHEDULED:
                    heappush(self._scheduled, (run.scheduled_at, run.run_id))
                case State.WAITING:
                    self._note(run, "the server restarted")
                    self._waiting.add(run)
                    self._waiting.wake(run.run_id)
                case _:
                    self._order(ResumeProgram(cause=self._cause, run=run))
                    if run.state is State.STOPPING:
                        self._order(StopProgram(cause=self._cause, run=run))
                    elif run.stop_at is not None:
                        heappush(self._stops, (run.stop_at, run.run_id))

    # -- making runs

    def _make_due(self, due: Due, now: datetime) -> None:
        """A run of a schedule: it gets its id as it leaves the schedule."""
        skip, most = due.skip, due.schedule.max_runs
        if skip is None and (pause := self.pauses.of(due.job.job_id, due.at)) is not None:
            skip = pause.text
        if skip is None and most is not None and (live := self.runs.of_schedules(due.job.job_id)) >= most:
            skip = f"busy: {live} of at most {most} runs of the job's schedules are unfinished"
        run, wrong = self._maker.due(due, now)
        self._add(run, f"scheduled for {format_utc(due.at)}")
        if wrong is not None:
            self._move(run, State.ERROR, now, wrong)
        elif skip is not None:
            self._miss(run, now, skip)
        else:
            self._begin(run, now)

    def _try_again(self, old: Run, now: datetime) -> None:
        run = self._maker.retry(old, now)
        more = run.retry.count if run.retry else 0
        self._note(old, f"tried again as {run.name}; {more or 'no'} more attempts may follow")
        self._take(run, now, f"attempt {run.attempt}, after {old.name}")

    def _of_backfill(self, backfill_id: RunId) -> list[Run]:
        """The runs of a backfill that have not begun."""
        return [
            run
            for run in self.runs.values()
            if run.backfill_id == backfill_id and run.state in (State.SCHEDULED, State.WAITING)
        ]

    def _stop_backfill(self, left: Sequence[Run], now: datetime, reason: str) -> None:
        for run in left:
            self._move(run, State.SKIPPED, now, reason, skip_reason=reason)

    def _take(self, run: Run, now: datetime, why: str | None = None) -> None:
        """A new run that somebody or something asked for: for later, or for now."""
        later = run.scheduled_at > now
        when = f"scheduled for {format_utc(run.scheduled_at)}" if later else "scheduled for now"
        self._add(run, f"{when}: {why}" if why else when)
        if later or self.is_draining:
            heappush(self._scheduled, (run.scheduled_at, run.run_id))
        else:
            self._begin(run, now)

    def _add(self, run: Run, message: str) -> None:
        self.runs.put(run)
        self._order(SaveRun(cause=self._cause, run=run, message=message, is_new=True))
        self._watch(run)

    def _watch(self, run: Run, not_before: datetime | None = None) -> None:
        """See to it that a lateness of the run is told when it comes."""
        if self._following.hears_lateness(run):
            self._deadlines.watch(run, not_before=not_before)
        elif run.origin is Origin.SCHEDULE:
            self._quiet_deadlines.watch(run, not_before=not_before)

    # -- the life of a run

    def _begin(self, run: Run, now: datetime) -> None:
        """Its time has come: wait for its conditions, or start."""
        run = self._as_observed(run)
        if run.conditions or self._waiting.is_full:
            run = self._move(run, State.WAITING, now, None)
            self._waiting.add(run)
            self._consider(run.run_id, now)
        else:
            self._start(run, now)

    def _consider(self, run_id: RunId, now: datetime) -> None:
        """Start a waiting run if its conditions hold, in their order; else say what holds it."""
        run = self.runs.get(run_id)
        if run is None or run.state is not State.WAITING or self.is_draining:
            return
        left, by, held = self._waiting.decide(run)
        if isinstance(held, Ask) and self._is_hopeless(run_id, held, now):
            exist = "|".join(sorted(state.value for state in held.exist))
            held = End(State.ERROR, f"no dependency {held.inst} exists in {exist}")
        if held is None:
            self._start(run, now)
            return
        if isinstance(held, End):
            self._end(run, held, now)
            return
        if len(left) < len(run.conditions):
            run = replace(run, conditions=left)
            self.runs.put(run)
        for asked in self._waiting.questions(run):
            assert asked.inst is not None
            order = FindRun(
                cause=self._cause,
                run_id=run_id,
                inst=asked.inst,
                states=asked.states,
                exist=(asked.exist & FINISHED) - asked.states,
            )
            self._order(order)
        polled = self._waiting.polled(run_id)
        if self._waiting.hold(run, by, held):
            self._note(run, held.text)
        now_polled = self._waiting.polled(run_id)
        if now_polled is not None and now_polled != polled:
            self._order(PollCondition(cause=self._cause, run=run, condition=now_polled))

    def _end(self, run: Run, end: End, now: datetime) -> None:
        """A condition says that the run is not to be run."""
        reason = end.text if end.to is State.SKIPPED else None
        self._move(run, end.to, now, end.text, skip_reason=reason)

    def _is_hopeless(self, run_id: RunId, ask: Ask, now: datetime) -> bool:
        """Whether what must exist does not, and no schedule is about to make it."""
        if not self._waiting.is_hopeless(run_id, ask):
            return False
        return State.SCHEDULED not in ask.exist or not self._upcoming.will_make(ask.inst, now)

    def _run_found(self, event: RunFound) -> None:
        run = self.runs.get(event.run_id)
        if run is None or run.state is not State.WAITING:
            return
        if event.found is None:
            self._waiting.answer(event.run_id, (event.inst, event.states), exists=event.exists)
        else:
            self._drop(
                run,
                lambda c: isinstance(c, Dependency) and (c.inst, c.states) == (event.inst, event.states),
            )
        self._waiting.wake(event.run_id)

    def _condition_polled(self, event: ConditionPolled, now: datetime) -> None:
        run = self.runs.get(event.run_id)
        if run is None or run.state is not State.WAITING or event.condition not in run.conditions:
            return
        if event.end is not None:
            self._end(run, event.end, now)
            return
        self._waiting.say(event.run_id, event.condition, event.message)
        if event.message is not None:
            self._note(run, event.message)
        if event.holds:
            self._drop(run, lambda c: c == event.condition)
            self._waiting.wake(event.run_id)

    def _drop(self, run: Run, holds: Callable[[Condition], bool]) -> None:
        """Conditions of a waiting run hold for good."""
        run = replace(run, conditions=tuple(c for c in run.conditions if not holds(c)))
        self.runs.put(run)

    def _waited_too_long(self, run_id: RunId, now: datetime) -> None:
        run, held = self.runs[run_id], self._waiting.why(run_id)
        waited_s = format_duration((now - run.state_at).total_seconds() // 1)
        self._move(run, State.ERROR, now, f"{held.text if held else 'waiting'}: timeout after {waited_s}")

    def _as_observed(self, run: Run) -> Run:
        """A server that starts nothing takes what depends on other runs as given."""
        if not self.observes:
            return run
        return replace(run, conditions=tuple(c for c in run.conditions if not isinstance(c, _OF_RUNS)))

    def _start(self, run: Run, now: datetime) -> None:
        if self.observes:
            self._move(run, State.SKIPPED, now, OBSERVED, skip_reason=OBSERVED)
            return
        facts: dict[str, Any] = {}
        if run.is_late(now):
            held = self._waiting.why(run.run_id)
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

    def _program_finished(self, event: ProgramFinished, now: datetime) -> None:
        run = self.runs.get(event.run_id)
        if run is None or run.state not in BUSY:
            return
        if self._ids.left < self._ids_needed(event):
            # What follows must be saved with the end, or a crash between them would lose it.
            self._ended.append(event)
            return
        to = _STATE_OF[event.outcome]
        if run.state is State.STARTING and to is not State.ERROR:
            # found ended after a restart: it ran, and nobody was there to hear of its start
            began = event.at - timedelta(seconds=event.elapsed_s or 0.0)
            run = self._move(run, State.RUNNING, began, None)
        run = self._move(
            run, to, event.at, event.message, return_code=event.return_code, elapsed_s=event.elapsed_s
        )
        if run.backfill_id is not None and not run.is_tried_again:
            failures = self._backfills.ended(run)
            if failures and (left := self._of_backfill(run.backfill_id)):
                text = f"backfill r{run.backfill_id} stopped: {failures} failures in a row"
                self._stop_backfill(left, now, text)

    def _ids_needed(self, event: ProgramFinished) -> int:
        """How many runs may follow from an end."""
        run = self.runs.get(event.run_id)
        return 0 if run is None else len(run.actions) + len(self._following.actions) + (run.retry is not None)

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

    def _mark_requested(self, event: MarkRequested, now: datetime) -> None:
        old, to = event.original, event.state
        if not old.is_finished or old.run_id in self.runs:
            raise Refused(f"can't mark {old.name}: it is {old.state.value}, and has not finished")
        if to not in FINISHED:
            raise Refused(f"can't mark {old.name} as {to.value}: no run ends so")
        if to is old.state:
            raise Refused(f"{old.name} is {to.value} already")
        message = f"marked as {to.value}" + (f" by {event.by}" if event.by else "")
        run = replace(old, state=to, message=message)
        events = [(to.value, message)] if event.actions else []
        run, following = self._following.of(run, events)
        self.runs.put(run)
        self._order(SaveMark(cause=self._cause, run=run, message=message, at=now))
        self._following.marked(run)
        self._waiting.moved(run)
        self._follow(run, following)

    def _save_pause(self, pause: Pause, now: datetime, by: str | None, *, is_paused: bool) -> None:
        self._order(SavePause(cause=self._cause, pause=pause, is_paused=is_paused, at=now, by=by))

    # -- what follows

    def _miss(self, run: Run, now: datetime, reason: str) -> None:
        """Skip a run of a schedule that nobody chose to skip."""
        run = self._move(run, State.SKIPPED, now, reason, told=[(MISSED, reason)], skip_reason=reason)
        self._tell_late(run, "missed", reason)

    def _tell_late(self, run: Run, kind: Miss, text: str) -> None:
        """Tell those who listen, once."""
        if kind != "missed":
            if (run.run_id, kind) in self._late:
                return
            if not run.is_finished:
                self._late.add((run.run_id, kind))
        self._order(TellLate(cause=self._cause, run=run, kind=kind, text=text))

    def _become_late(self, run: Run, kind: Kind) -> None:
        """A run has used up a budget."""
        held = self._waiting.why(run.run_id)
        text = text_of(run, kind, held.text if held else None)
        self._tell_late(run, kind, text)
        if not self._following.hears_lateness(run):
            return
        run, following = self._following.of(told_late(run, kind), [(LATE, text)])
        self.runs.put(run)
        self._note(run, text)
        self._follow(run, following)

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
        try:
            run = self._maker.fired(source, action, now)
        except BindError as error:
            self._note(source, f"action: {error}")
            return
        self._note(source, f"action: scheduled {run.inst} as {run.name}")
        self._take(run, now, f"action of {source.name}")

    # -- out

    def _order(self, instruction: Instruction) -> None:
        self._out.append(instruction)

    def _note(self, run: Run, message: str) -> None:
        """A line in the run's log, in the state that it is in by now: it may have moved on meanwhile."""
        run = self.runs.get(run.run_id, run)
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
        stopped = run.state is State.STOPPING
        if run.state is State.WAITING:
            self._waiting.remove(run)
        run = run.moved(to, at, message=message, **facts)
        if stopped and run.retry is not None:
            run = replace(run, retry=None)  # somebody or something wanted its end
        late: list[str] = []
        following: list[ScheduleAction | Notice] = []
        shown = [(kind, text_of(run, kind, None)) for kind in shown_by(run)] if run.nominal_at else []
        if shown and self._following.hears_lateness(run):
            for kind, text in shown:
                late.append(text)
                run = told_late(run, kind)
        recovered = run.is_finished and self._following.recovers(run)
        if run.actions or self._following.actions:
            events = [*told, RECOVERY] if recovered else [*told]
            if not run.is_tried_again:
                events.append((to.value, message))
            run, following = self._following.of(run, [*events, *((LATE, text) for text in late)])
        self.runs.put(run)
        self._order(SaveRun(cause=self._cause, run=run, message=message))
        for kind, text in shown:
            self._tell_late(run, kind, text)
        if run.is_finished:
            self._late -= {(run.run_id, "start"), (run.run_id, "finish")}
            self._order(Forget(cause=self._cause, run_id=run.run_id))
        self._waiting.moved(run)
        for text in late:
            self._note(run, text)
        if run.is_tried_again:
            self._retries.append(run)
        if following:
            self._follow(run, following)
        return run

    def _live(self, run_id: RunId) -> Run:
        run = self.runs.get(run_id)
        if run is None:
            raise NotFound(f"r{run_id} is not a live run: there is none, or it has finished")
        return run
