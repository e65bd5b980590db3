"""How long a step holds the event loop: with many dependencies, with many that wait, and in a long chain.

The loop is held by whatever it does in a turn: a timer feels how long, and what the loop's thread had of a
processor meanwhile is what it cost. On a machine that has nothing else to do these are about the same.
"""

import asyncio
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from time import perf_counter, thread_time
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from apsis_nb.config import load_config
from apsis_nb.core.events import Event, RunRequested, StopRequested
from apsis_nb.core.instructions import Instruction
from apsis_nb.core.runs import Origin
from apsis_nb.engine import Engine, garbage
from apsis_nb.engine.clock import utc_now
from apsis_nb.server.run import SWITCH_S

BAR_MS = 20.0
DEPENDENCIES, WAITING, ROUNDS, CHAIN = 200, 10_000, 5, 1000

NO_OP = "program: {type: no-op}\n"
PART = "params: [n]\nprogram: {type: no-op}\n"
HOLDER = """\
condition: {type: max_running, group: g, count: 1}
program: {type: no-op, duration: 1h}
"""
#: What 10,000 runs wait for; `part` of their own `n`, a place in the group, or both in either order.
WAITERS = {
    "a dependency": "[{type: dependency, job_id: part}]",
    "a group": "[{type: max_running, group: g, count: 1}]",
    "both": "[{type: dependency, job_id: part}, {type: max_running, group: g, count: 1}]",
    "both, group first": "[{type: max_running, group: g, count: 1}, {type: dependency, job_id: part}]",
}

Figures = dict[str, float]


class Steps:
    """How long each turn of the loop took, and each event in the machine; in milliseconds.

    Args:
        engine: at work on the running loop.
    """

    def __init__(self, engine: Engine) -> None:
        self.turns: list[float] = []
        self.costs: list[float] = []  # of the turns: what the loop's thread had of a processor
        self.events: list[tuple[float, str]] = []
        self._handle: Callable[[Event, datetime], list[Instruction]] = engine.machine.handle
        engine.machine.handle = self._timed  # type: ignore[method-assign]

    def _timed(self, event: Event, now: datetime) -> list[Instruction]:
        began = perf_counter()
        try:
            return self._handle(event, now)
        finally:
            self.events.append(((perf_counter() - began) * 1000, type(event).__name__))

    async def watch(self) -> None:
        """Feel each turn: a timer of 1 ms that comes late was held up for so long."""
        while True:
            began, cpu = perf_counter(), thread_time()
            await asyncio.sleep(0.001)
            self.turns.append(max(0.0, (perf_counter() - began) * 1000 - 1))
            self.costs.append((thread_time() - cpu) * 1000)

    def figures(self) -> Figures:
        """The longest and the 99th percentile of both."""
        events = sorted(ms for ms, _ in self.events)
        return {
            "turn max": max(self.turns),
            "turn p99": _p99(sorted(self.turns)),
            "cost max": max(self.costs),
            "cost p99": _p99(sorted(self.costs)),
            "event max": events[-1],
            "event p99": _p99(events),
        }


def _p99(values: Sequence[float]) -> float:
    return values[int(len(values) * 0.99)]


class Moves:
    """The moves that are committed: how many runs of a job came to a state."""

    def __init__(self, engine: Engine) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()
        self._news = asyncio.Event()
        engine.listen(self._hear)

    def _hear(self, kind: str, facts: dict[str, Any]) -> None:
        if kind == "run":
            self._counts[facts["job_id"], facts["state"]] += 1
            self._news.set()

    async def until(self, job_id: str, count: int, state: str = "success") -> None:
        """Wait until so many runs of a job came to a state since the start."""
        async with asyncio.timeout(300):
            while self._counts[job_id, state] < count:
                await self._news.wait()
                self._news.clear()


@asynccontextmanager
async def _engine(jobs: dict[str, str]) -> AsyncIterator[tuple[Engine, Moves]]:
    """An engine with a store of its own and these job files."""
    sys.setswitchinterval(SWITCH_S)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "jobs"
        folder.mkdir()
        for job_id, text in jobs.items():
            (folder / f"{job_id}.yaml").write_text(text)
        config = {"jobs": str(folder), "state_dir": str(Path(name) / "state"), "watch": False}
        engine = Engine(load_config(None, config))
        await engine.start()
        engine.tasks.run("garbage", garbage.collect)  # as the server does
        await asyncio.sleep(0)  # its first collection is of the start
        try:
            yield engine, Moves(engine)
        finally:
            await engine.stop()


async def _measured(engine: Engine, work: Coroutine[Any, Any, None]) -> Figures:
    steps = Steps(engine)
    watch = asyncio.create_task(steps.watch())
    await work
    watch.cancel()
    return steps.figures()


async def _ask_all(engine: Engine, requests: Iterable[RunRequested], at_once: int = 50) -> None:
    """Ask for many runs, a few in each turn of the loop."""
    batch: list[RunRequested] = []
    for request in requests:
        batch.append(request)
        if len(batch) == at_once:
            await asyncio.gather(*map(engine.ask, batch))
            batch = []
    await asyncio.gather(*map(engine.ask, batch))


async def _dependencies(count: int, *, at_once: bool) -> Figures:
    """A run with many dependencies, which are met one by one, or all in one turn."""
    needs = "".join(f"- {{type: dependency, job_id: part, args: {{n: '{n}'}}}}\n" for n in range(count))
    async with _engine({"part": PART, "all": f"condition:\n{needs}{NO_OP}"}) as (engine, moves):

        async def work() -> None:
            await engine.ask(RunRequested(job_id="all"))
            if at_once:
                at = utc_now() + timedelta(seconds=3)
                await _ask_all(engine, (_part(n, at) for n in range(count)))
            else:
                for n in range(count):
                    await engine.ask(_part(n))
                    await moves.until("part", n + 1)
            await moves.until("all", 1)

        return await _measured(engine, work())


async def _waiting(count: int, conditions: str) -> Figures:
    """Many runs wait, and one thing after another ends that some, or none, of them wait for."""
    jobs = {"part": PART, "holder": HOLDER, "waits": f"params: [n]\ncondition: {conditions}\n{NO_OP}"}
    async with _engine(jobs | {"other": NO_OP}) as (engine, moves):

        async def work() -> None:
            for n in range(ROUNDS):
                await engine.ask(_part(n))
                await moves.until("part", n + 1)
                await engine.ask(RunRequested(job_id="other"))
                await moves.until("other", n + 1)
                if "group" in conditions:
                    await moves.until("holder", n + 1, "running")
                    (holder,) = [run for run in engine.live.values() if run.job_id == "holder"]
                    await engine.ask(RunRequested(job_id="holder"))  # it stands behind all others
                    await engine.ask(StopRequested(run_id=holder.run_id))
                    await moves.until("waits", n + 1)
                if "dependency" not in conditions:
                    await moves.until("waits", 20)  # one after another
                    return

        requests = (RunRequested(job_id="waits", args={"n": str(n)}) for n in range(count))
        if "group" in conditions:
            await engine.ask(RunRequested(job_id="holder"))
        await _ask_all(engine, requests)
        return await _measured(engine, work())


async def _chain(count: int) -> Figures:
    """Jobs that each wait for the one before, from the first to the last."""
    jobs = {"job0": NO_OP}
    for n in range(1, count):
        jobs[f"job{n}"] = f"condition: {{type: dependency, job_id: job{n - 1}}}\n{NO_OP}"
    async with _engine(jobs) as (engine, moves):

        async def work() -> None:
            await _ask_all(engine, (RunRequested(job_id=job_id) for job_id in reversed(jobs)))
            await moves.until(f"job{count - 1}", 1)

        return await _measured(engine, work())


def _part(n: int, at: datetime | None = None) -> RunRequested:
    return RunRequested(job_id="part", args={"n": str(n)}, at=at, origin=Origin.MANUAL)


def measure() -> dict[str, Figures]:
    """Milliseconds by what was done, longest and 99th percentile: turns, their costs, events."""
    found = {
        f"{DEPENDENCIES} dependencies, one by one": asyncio.run(_dependencies(DEPENDENCIES, at_once=False)),
        f"{DEPENDENCIES} dependencies, all at once": asyncio.run(_dependencies(DEPENDENCIES, at_once=True)),
    }
    for name, conditions in WAITERS.items():
        found[f"{WAITING:,} wait for {name}"] = asyncio.run(_waiting(WAITING, conditions))
    found[f"a chain of {CHAIN:,}"] = asyncio.run(_chain(CHAIN))
    return found


def report() -> None:
    """Measure, and print what was seen."""
    print("Turns of the loop, what they cost of a processor, and events in the machine, ms")
    print(f"(bar: no step costs more than {BAR_MS:g})")
    for name, figures in measure().items():
        print(f"  {name:36} " + "  ".join(f"{what} {ms:6.1f}" for what, ms in figures.items()))


if __name__ == "__main__":
    report()
