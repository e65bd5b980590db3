"""What follows an event of a run: which actions are about it, and what they send."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from .actions import LATE, RECOVERED, Action, ScheduleAction, one_for_each
from .instructions import Notice
from .runs import Origin, Run
from .states import State

_BAD = frozenset({State.FAILURE, State.ERROR})

#: What is told of a run, by the name that `if` has for it, and a sentence.
Told = tuple[str, str | None]
RECOVERY: Told = (RECOVERED, "the last run before it ended badly")


class Following:
    """The actions of the server beside those that jobs have, and which jobs were not well of late.

    Args:
        actions: of the server; they follow the runs of all jobs.
        is_silent: nothing follows any run, whatever its job says.
    """

    def __init__(self, actions: Sequence[Action], *, is_silent: bool = False) -> None:
        self.actions = tuple(actions)
        self._is_silent = is_silent
        # Runs that an action of the server makes are followed by none that makes more, or there were no end.
        self._targets = {action.job_id for action in self.actions if isinstance(action, ScheduleAction)}
        self._sending = tuple(a for a in self.actions if not isinstance(a, ScheduleAction))
        self._all_late = _is_about(LATE, self.actions)
        self._bad: set[str] = set()  # jobs whose last run ended badly

    def load(self, bad_jobs: Iterable[str]) -> None:
        """The jobs whose last run ended badly before a restart."""
        self._bad = set(bad_jobs)

    def hears_lateness(self, run: Run) -> bool:
        """Whether it matters to anybody at which moment the run becomes late."""
        if run.late_finish_at is not None:
            return True
        return run.origin is Origin.SCHEDULE and (self._all_late or _is_about(LATE, run.actions))

    def recovers(self, run: Run) -> bool:
        """Whether a run that just ended is well, and the one of its job before was not."""
        if run.is_test or run.is_tried_again:  # a bad end that is tried again is none yet
            return False
        if run.state in _BAD:
            self._bad.add(run.job_id)
        elif run.state is State.SUCCESS and run.job_id in self._bad:
            self._bad.remove(run.job_id)
            return True
        return False

    def marked(self, run: Run) -> None:
        """A person says how a run ended: a job that is said to be well need not recover."""
        if run.state is State.SUCCESS:
            self._bad.discard(run.job_id)

    def of(self, run: Run, events: Sequence[Told]) -> tuple[Run, list[ScheduleAction | Notice]]:
        """The actions that are about any of these events, each once, about the first that it names.

        What they send is counted with the run, which is saved with it: so it is ordered once.
        """
        found: list[ScheduleAction | Notice] = []
        if run.is_test or self._is_silent:
            return run, found
        count = run.notices
        for action in (*run.actions, *(self.actions if run.job_id not in self._targets else self._sending)):
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


def _is_about(event: str, actions: Sequence[Action]) -> bool:
    """Whether any of the actions follows the event."""
    return any(event in action.when.events for action in actions)
