"""What the machine orders the shell to do, as values. The shell carries them out in this order, save first.

Every instruction names the event that caused it (`cause`), so that a run's story can be told.
"""

from dataclasses import dataclass
from datetime import datetime

from .actions import Sending
from .conditions import Polled
from .lateness import Miss
from .pauses import Pause
from .runs import Instance, Run, RunId
from .states import State


@dataclass(frozen=True, slots=True, kw_only=True)
class SaveRun:
    """Commit the run as it is now; nothing that follows may happen before.

    A row of `run_log` each; with `is_new` it carries what the run was made from; a run that just finished is
    also a row of `runs`.
    """

    cause: str
    run: Run
    message: str | None = None  #: of this row; the run's state at the time is that of `run`
    is_new: bool = False
    is_transition: bool = True  #: False: a line of the log in the same state


@dataclass(frozen=True, slots=True, kw_only=True)
class SaveClock:
    """Commit that all that was due up to `at` has been made into runs."""

    cause: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SaveMark:
    """Commit that a finished run counts as ended otherwise: a row of `run_log`, its row of `runs` anew."""

    cause: str
    run: Run  #: in its new state
    message: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SavePause:
    """Commit that a pause begins, or ends."""

    cause: str
    pause: Pause
    is_paused: bool
    at: datetime
    by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What an action of a run sends to one whom it reaches."""

    run: Run  #: as it was when this was told of it
    n: int  #: counted from 1 for each run
    event: str  #: a state, `late`, `missed` or `recovered`
    text: str | None  #: what happened, for people
    action: Sending


@dataclass(frozen=True, slots=True, kw_only=True)
class SaveNotice:
    """Commit that a notice is to be sent, together with what it tells of."""

    cause: str
    notice: Notice


@dataclass(frozen=True, slots=True, kw_only=True)
class SendNotice:
    """Send a notice, which is saved, and see to it that it arrives; nobody waits for it."""

    cause: str
    notice: Notice


@dataclass(frozen=True, slots=True, kw_only=True)
class TellLate:
    """Tell those who listen now that a run of a schedule missed its time; nothing of it is kept."""

    cause: str
    run: Run
    kind: Miss
    text: str  #: for people


@dataclass(frozen=True, slots=True, kw_only=True)
class ReserveIds:
    """Commit that `count` more run ids are taken, then tell (`IdsReserved`)."""

    cause: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StartProgram:
    """Start the program of a run that is `starting`; answers `ProgramStarted`, later `ProgramFinished`."""

    cause: str
    run: Run


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeProgram:
    """After a restart: start the program of a run if it never started, else find it again.

    Answers as `StartProgram` does.
    """

    cause: str
    run: Run


@dataclass(frozen=True, slots=True, kw_only=True)
class StopProgram:
    """Ask the program to end: its stop signal, after the grace period SIGKILL to all that is left."""

    cause: str
    run: Run


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalProgram:
    """Send a signal to the program; a failure is answered by `SignalFailed`."""

    cause: str
    run_id: RunId
    signal: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FindRun:
    """Ask the store whether any run of `inst` ever ended in one of `states`; answers `RunFound`.

    It must see every run whose save was ordered before this.
    """

    cause: str
    run_id: RunId  #: the run that waits
    inst: Instance
    states: frozenset[State]
    exist: frozenset[State] = (
        frozenset()
    )  #: ends that leave hope: whether there is a run with one is told too


@dataclass(frozen=True, slots=True, kw_only=True)
class PollCondition:
    """Look now and then, until it holds or the run waits no more; answers `ConditionPolled`."""

    cause: str
    run: Run  #: the run that waits
    condition: Polled


@dataclass(frozen=True, slots=True, kw_only=True)
class WakeAt:
    """Send a `Tick` at this time; replaces the one ordered before."""

    cause: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Forget:
    """The run is finished and saved: what was kept for it (its run directory) may go."""

    cause: str
    run_id: RunId


#: What is committed together, before anything else of the same list is carried out.
Save = SaveRun | SaveClock | SaveMark | SavePause | SaveNotice

#: What follows, once that is committed.
Effect = (
    SendNotice
    | TellLate
    | ReserveIds
    | StartProgram
    | ResumeProgram
    | StopProgram
    | SignalProgram
    | FindRun
    | PollCondition
    | WakeAt
    | Forget
)

Instruction = Save | Effect
