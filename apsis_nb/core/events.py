"""What happens to the machine, as values.

Facts are in the past tense; requests are somebody's wish and may be refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from .conditions import End, Polled
from .jobs import Job
from .pauses import Pause, Scope
from .programs import Outcome
from .runs import Instance, Origin, Run, RunId
from .states import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """The server started: what the store knew. The first event of a machine."""

    runs: tuple[Run, ...] = ()  #: those that had not finished
    clock: datetime | None = None  #: up to here everything due was made into runs; None: a new store
    pauses: tuple[Pause, ...] = ()  #: those that hold
    #: Of the backfills of these runs: how many of the last that finished did so badly, in a row.
    backfill_failures: Mapping[RunId, int] = field(default_factory=dict)
    bad_jobs: frozenset[str] = (
        frozenset()
    )  #: whose last run ended badly, of those that tell when they recover


@dataclass(frozen=True, slots=True, kw_only=True)
class JobsLoaded:
    """The job folder was read: these are the jobs now. Expected runs follow; live runs stay as made."""

    jobs: tuple[Job, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class IdsReserved:
    """These run ids are ours: first <= id < stop."""

    first: RunId
    stop: RunId


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """Time has passed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainRequested:
    """The server ends when the programs that run have ended: nothing more starts, and nothing comes due."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramStarted:
    """A program runs."""

    run_id: RunId
    at: datetime
    run_state: Mapping[str, Any] = field(default_factory=dict)  #: resume data, kept with the run


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramFinished:
    """A program ended, or could not be started (`error`)."""

    run_id: RunId
    at: datetime
    outcome: Outcome
    message: str | None = None
    return_code: int | None = None
    elapsed_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalFailed:
    """A signal could not be sent to a program."""

    run_id: RunId
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFound:
    """The answer to `FindRun`."""

    run_id: RunId  #: the run that waits
    inst: Instance
    states: frozenset[State]
    found: RunId | None  #: a run that satisfies, or None
    exists: bool = False  #: whether one ended in a state that leaves hope


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionPolled:
    """The answer to `PollCondition`: it holds, or what is new about it, or it ends the run."""

    run_id: RunId  #: the run that waits
    condition: Polled
    holds: bool
    message: str | None = None  #: why it does not, or why that cannot be told; None: nobody said
    end: End | None = None  #: what becomes of the run, which is not to be run


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequested:
    """Somebody wants a run of a job of the folder, or of a job that comes with the request (ad hoc).

    Raises when handled:
        NotFound: no such job.
        BindError: the args do not fit the job's params, or a template fails.
    """

    job_id: str
    job: Job | None = None
    args: Mapping[str, str] = field(default_factory=dict)
    at: datetime | None = None  #: None: now
    stop_at: datetime | None = None
    labels: tuple[str, ...] = ()
    count: int = 1
    origin: Origin = Origin.MANUAL
    rerun_of: RunId | None = None
    by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RerunRequested:
    """Somebody wants a finished or live run again, now, as its job is today.

    `original` is the run, given by the shell (it may be long finished).
    """

    original: Run
    args: Mapping[str, str] = field(default_factory=dict)  #: those that change
    is_test: bool = False
    by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BackfillRequested:
    """Somebody wants a job run for times or args of long ago, the oldest first.

    Raises when handled:
        NotFound: no such job.
        BindError: the args of one do not fit; none is made.
    """

    job_id: str
    instances: tuple[tuple[Mapping[str, str], datetime | None], ...]  #: args, and what the schedule said
    max_running: int = 1
    actions: bool = False  #: whether they fire the actions of the job
    labels: tuple[str, ...] = ()
    backfill_id: RunId | None = None  #: that they belong to; None: a new one, called as its first run
    by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BackfillStopRequested:
    """Do not run what is left of a backfill; what runs goes on."""

    backfill_id: RunId
    by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkRequested:
    """Somebody says that a finished run ended otherwise. `original` is the run, given by the shell."""

    original: Run
    state: State
    actions: bool = False  #: whether the actions of the new state fire
    by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseRequested:
    """Hold back the schedules of jobs."""

    pause: Pause


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeRequested:
    """End a pause."""

    scope: Scope
    target: str = ""
    by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StartRequested:
    """Start a scheduled run now, or a waiting run although a condition holds it."""

    run_id: RunId
    by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SkipRequested:
    """Do not run a scheduled or waiting run."""

    run_id: RunId
    reason: str | None = None
    by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StopRequested:
    """Ask a run's program to end."""

    run_id: RunId
    by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalRequested:
    """Send a signal to a run's program."""

    run_id: RunId
    signal: str  #: SIGUSR1, USR1 or a number
    by: str | None = None


Event = (
    Restored
    | JobsLoaded
    | IdsReserved
    | Tick
    | DrainRequested
    | ProgramStarted
    | ProgramFinished
    | SignalFailed
    | RunFound
    | ConditionPolled
    | RunRequested
    | RerunRequested
    | BackfillRequested
    | BackfillStopRequested
    | MarkRequested
    | PauseRequested
    | ResumeRequested
    | StartRequested
    | SkipRequested
    | StopRequested
    | SignalRequested
)
