"""Runs that do nothing for a while: no process, a timer at most."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

from apsis_nb.core.events import Event, ProgramFinished, ProgramStarted
from apsis_nb.core.programs import NoOp
from apsis_nb.core.runs import Run
from apsis_nb.core.states import State


class NoOps:
    """The no-ops of one server.

    Args:
        tell: gets `ProgramStarted` and `ProgramFinished`, from within a call too.
        now: the wall clock, aware.
    """

    def __init__(self, *, tell: Callable[[Event], None], now: Callable[[], datetime]) -> None:
        self._tell, self._now = tell, now
        self._timers: dict[int, asyncio.TimerHandle] = {}

    def __contains__(self, run_id: int) -> bool:
        return run_id in self._timers

    def start(self, run: Run, no_op: NoOp) -> None:
        """Start one, and finish it when its duration is over."""
        self._tell(ProgramStarted(run_id=run.run_id, at=self._now()))
        self._finish_in(float(no_op.duration_s), run, no_op)

    def resume(self, run: Run, no_op: NoOp) -> None:
        """Finish one when its duration, counted from its start, is over; start it if it never was."""
        if run.state is State.STARTING or run.started_at is None:
            self.start(run, no_op)
        elif run.state is State.STOPPING:
            self._finish_stopped(run)
        else:
            due = run.started_at + timedelta(seconds=float(no_op.duration_s))
            self._finish_in((due - self._now()).total_seconds(), run, no_op)

    def stop(self, run: Run) -> None:
        """Finish one now, as a failure; nothing if it has finished."""
        timer = self._timers.pop(run.run_id, None)
        if timer is not None:
            timer.cancel()
            self._finish_stopped(run)

    def close(self) -> None:
        """Forget all; the next server resumes them."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _finish_in(self, wait_s: float, run: Run, no_op: NoOp) -> None:
        if wait_s <= 0:
            self._finish(run, no_op)
        else:
            self._timers[run.run_id] = asyncio.get_running_loop().call_later(wait_s, self._finish, run, no_op)

    def _finish(self, run: Run, no_op: NoOp) -> None:
        self._timers.pop(run.run_id, None)
        outcome, message = no_op.end
        self._tell(
            ProgramFinished(
                run_id=run.run_id,
                at=self._now(),
                outcome=outcome,
                message=message,
                elapsed_s=float(no_op.duration_s),
            )
        )

    def _finish_stopped(self, run: Run) -> None:
        now = self._now()
        elapsed_s = None if run.started_at is None else max(0.0, (now - run.started_at).total_seconds())
        self._tell(
            ProgramFinished(
                run_id=run.run_id, at=now, outcome="failure", message="stopped", elapsed_s=elapsed_s
            )
        )
