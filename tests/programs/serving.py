"""A `Programs` in a test: what it told, and ways to wait for what happens; and the processes of a test."""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from apsis_nb.core.events import Event, ProgramFinished, ProgramStarted, SignalFailed
from apsis_nb.core.programs import Process, Program
from apsis_nb.core.runs import Instance, Origin, Run
from apsis_nb.core.states import State
from apsis_nb.programs import Programs

PATIENCE_S = 120.0
DUE = datetime(2026, 1, 31, 9, 0, tzinfo=UTC)

E = TypeVar("E", ProgramStarted, ProgramFinished, SignalFailed)


def a_run(run_id: int, program: Program, state: State = State.STARTING, **facts: Any) -> Run:
    """A run whose program is to be started."""
    facts = {
        "inst": Instance("team/job"),
        "origin": Origin.SCHEDULE,
        "scheduled_at": DUE,
        "state_at": DUE,
        **facts,
    }
    return Run(run_id=run_id, program=program, state=state, **facts)


def shell(command: str, **facts: Any) -> Process:
    """A program for the shell."""
    return Process(command=command, **facts)


class Serving:
    """A server's programs, and what they told."""

    def __init__(self, root: Path, **options: Any) -> None:
        self.root = root
        self.told: list[Event] = []
        self._news = asyncio.Event()
        self.programs = Programs(root, tell=self._hear, **options)

    def _hear(self, event: Event) -> None:
        self.told.append(event)
        self._news.set()

    def events(self, kind: type[E], run_id: int) -> list[E]:
        """All of a kind that were told of a run."""
        return [event for event in self.told if isinstance(event, kind) and event.run_id == run_id]

    async def told_of(self, kind: type[E], run_id: int) -> E:
        """The first event of a kind of a run, once it is told."""
        async with asyncio.timeout(PATIENCE_S):
            while not (found := self.events(kind, run_id)):
                self._news.clear()
                await self._news.wait()
        return found[0]

    async def start(self, run: Run) -> ProgramStarted:
        self.programs.start(run)
        return await self.told_of(ProgramStarted, run.run_id)

    async def finished(self, run_id: int) -> ProgramFinished:
        return await self.told_of(ProgramFinished, run_id)

    async def run(self, run: Run) -> ProgramFinished:
        """Start it and wait for its end."""
        self.programs.start(run)
        return await self.finished(run.run_id)

    def output(self, run_id: int) -> str:
        return self.programs.read_output(run_id)[0].decode()

    async def output_with(self, run_id: int, text: str) -> str:
        """The output, once `text` is in it."""
        await until(lambda: text in self.output(run_id))
        return self.output(run_id)


@contextlib.asynccontextmanager
async def serving(root: Path, **options: Any) -> AsyncIterator[Serving]:
    """A server that leaves in the end; its programs stay."""
    server = Serving(root, **options)
    await server.programs.open()
    try:
        yield server
    finally:
        await server.programs.close()


def asynchronous(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Makes a coroutine a test of the one argument `root`, a folder for run directories."""

    def run(root: Path) -> None:
        asyncio.run(test(root))

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


async def until(holds: Callable[[], Any]) -> None:
    """Wait until something holds that nobody tells."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, "it never held"
        await asyncio.sleep(0.005)


def processes(root: Path) -> set[int]:
    """All processes that have to do with a folder of run directories: spawners, supervisors, programs."""
    marks = (b"APSIS_RUN_DIR=" + os.fsencode(root), b"\0" + os.fsencode(root) + b"\0")
    found = set()
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if name.isdecimal() and int(name) != os.getpid():
                text = b"\0" + _bytes(f"/proc/{name}/environ") + b"\0" + _bytes(f"/proc/{name}/cmdline")
                if any(mark in text for mark in marks):
                    found.add(int(name))
    return found


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that ended and is not yet collected does not."""
    try:
        return b") Z " not in _bytes(f"/proc/{pid}/stat")
    except OSError:
        return False


def _bytes(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()
