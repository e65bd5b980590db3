"""Programs that run inside the server: no process, but a run directory, with what they tell in it.

The run directory is the claim, as with processes: made before the work begins, so no server does it twice.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from apsis_nb.core.events import Event, ProgramFinished, ProgramStarted
from apsis_nb.core.programs import Internal, InternalType, Outcome
from apsis_nb.core.runs import Run
from apsis_nb.core.states import State

from .supervisor import OUT

log = logging.getLogger("apsis_nb.programs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What an internal program found."""

    outputs: Mapping[str, str]  #: texts by name of the output
    failure: str | None = None  #: why it is no success


#: What does the work, beside the loop; one for each type.
Workers = Mapping[InternalType, Callable[[Internal], Awaitable[Answer]]]


class Internals:
    """The internal programs of one server. All methods are for the loop's thread; none blocks it.

    Args:
        root: folder of the run directories.
        workers: what does the work.
        tell: gets `ProgramStarted` and `ProgramFinished`, from within a call too.
        now: the wall clock, aware.
    """

    def __init__(
        self, root: Path, workers: Workers, *, tell: Callable[[Event], None], now: Callable[[], datetime]
    ) -> None:
        self._root, self._workers, self._tell, self._now = root, workers, tell, now
        self._tasks: dict[int, asyncio.Task[None]] = {}

    def __contains__(self, run_id: int) -> bool:
        return run_id in self._tasks

    def start(self, run: Run, program: Internal) -> None:
        """Begin the work of a run that never began."""
        self._tasks[run.run_id] = asyncio.get_running_loop().create_task(self._work(run, program))

    def resume(self, run: Run, program: Internal) -> None:
        """Begin the work of a run if no server did; else nobody knows how far it came."""
        if run.state is State.STARTING and not self._folder(run.run_id).exists():
            self.start(run, program)
        else:
            self._finish(run.run_id, "error", "the server ended while it ran")

    def stop(self, run: Run) -> None:
        """End one now, as a failure; nothing if it has finished. A thread that works for it goes on."""
        task = self._tasks.pop(run.run_id, None)
        if task is not None:
            task.cancel()
            self._finish(run.run_id, "failure", "stopped")

    async def close(self) -> None:
        """Leave those that run; the next server says that they did not come to their end."""
        tasks = list(self._tasks.values())
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _work(self, run: Run, program: Internal) -> None:
        clock = asyncio.get_running_loop().time
        began, out = clock(), self._folder(run.run_id) / OUT
        outcome: Outcome = "success"
        try:
            await asyncio.to_thread(out.mkdir, parents=True)
            self._tell(ProgramStarted(run_id=run.run_id, at=self._now()))
            answer = await self._workers[program.type](program)
            await asyncio.to_thread(_write, out, answer.outputs)
            message = answer.failure
            if message is not None:
                outcome = "failure"
        except Exception as error:  # one that fails must not stay for ever as if it ran
            log.exception("%s failed", program.type, extra={"run": run.name})
            outcome, message = "error", f"{type(error).__name__}: {error}"
        if self._tasks.pop(run.run_id, None) is not None:
            self._finish(run.run_id, outcome, message, clock() - began)

    def _finish(
        self, run_id: int, outcome: Outcome, message: str | None, elapsed_s: float | None = None
    ) -> None:
        end = ProgramFinished(
            run_id=run_id, at=self._now(), outcome=outcome, message=message, elapsed_s=elapsed_s
        )
        self._tell(end)

    def _folder(self, run_id: int) -> Path:
        return self._root / f"r{run_id}"


def _write(folder: Path, outputs: Mapping[str, str]) -> None:
    for name, text in outputs.items():
        (folder / name).write_text(text, encoding="utf-8", errors="replace")
