"""The states of a run and every legal move between them: the one table that code, docs and tests read."""

from enum import Enum


class State(Enum):
    """Where a run is in its life."""

    SCHEDULED = "scheduled"  #: will start at its time
    WAITING = "waiting"  #: its time has come; a condition holds it
    STARTING = "starting"  #: saved, its program is being started
    RUNNING = "running"  #: its program runs
    STOPPING = "stopping"  #: its program was asked to stop
    SUCCESS = "success"  #: the program ended well
    FAILURE = "failure"  #: the program ended badly
    ERROR = "error"  #: it could not be run, or its outcome is not known
    SKIPPED = "skipped"  #: not run, on purpose or by policy; `skip_reason` says why

    @property
    def is_finished(self) -> bool:
        return self in FINISHED


FINISHED = frozenset({State.SUCCESS, State.FAILURE, State.ERROR, State.SKIPPED})
#: States of a run that takes a place of `max_running`.
BUSY = frozenset({State.STARTING, State.RUNNING, State.STOPPING})
#: States of a run that is under way: its time has come and it has not finished.
ACTIVE = BUSY | {State.WAITING}

#: {from: {to, ...}}. A finished run moves no more but by an explicit mark, which is no move of this table.
TRANSITIONS: dict[State, frozenset[State]] = {
    State.SCHEDULED: frozenset({State.WAITING, State.STARTING, State.SKIPPED, State.ERROR}),
    State.WAITING: frozenset({State.STARTING, State.SKIPPED, State.ERROR}),
    State.STARTING: frozenset({State.RUNNING, State.ERROR}),
    State.RUNNING: frozenset({State.STOPPING, State.SUCCESS, State.FAILURE, State.ERROR}),
    State.STOPPING: frozenset({State.SUCCESS, State.FAILURE, State.ERROR}),
    State.SUCCESS: frozenset(),
    State.FAILURE: frozenset(),
    State.ERROR: frozenset(),
    State.SKIPPED: frozenset(),
}
