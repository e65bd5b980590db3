"""How many programs a second can be started, supervised and recorded in files; next to spawning them bare."""

import asyncio
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from apsis_nb.core.events import Event, ProgramFinished
from apsis_nb.core.programs import Process
from apsis_nb.core.runs import Instance, Origin, Run
from apsis_nb.core.states import State
from apsis_nb.programs import Programs

ARGV = ("/bin/true",)
CONCURRENCY = 32


def _run(run_id: int) -> Run:
    now = datetime.now(UTC)
    return Run(
        run_id=run_id,
        inst=Instance("benchmark"),
        program=Process(argv=ARGV),
        origin=Origin.MANUAL,
        scheduled_at=now,
        state=State.STARTING,
        state_at=now,
    )


async def _supervised(n: int, root: Path) -> float:
    """Seconds for `n` runs through `Programs`, `CONCURRENCY` at a time."""
    done = asyncio.Event()
    finished = 0
    started = min(n, CONCURRENCY)

    def tell(event: Event) -> None:
        nonlocal finished, started
        if isinstance(event, ProgramFinished):
            assert event.outcome == "success", event
            programs.forget(event.run_id)
            finished += 1
            if started < n:
                started += 1
                programs.start(_run(started))
            if finished == n:
                done.set()

    programs = Programs(root, tell=tell)
    await programs.open()
    began = time.perf_counter()
    for run_id in range(1, started + 1):
        programs.start(_run(run_id))
    await done.wait()
    elapsed_s = time.perf_counter() - began
    await programs.close()
    return elapsed_s


async def _bare(n: int) -> float:
    """Seconds for `n` processes by asyncio alone, `CONCURRENCY` at a time."""
    left = iter(range(n))

    async def spawn() -> None:
        for _ in left:
            process = await asyncio.create_subprocess_exec(*ARGV)
            assert await process.wait() == 0

    began = time.perf_counter()
    await asyncio.gather(*(spawn() for _ in range(CONCURRENCY)))
    return time.perf_counter() - began


def measure(n: int = 500) -> dict[str, float]:
    """Starts a second, supervised and bare, and their ratio.

    Args:
        n: how many programs each way.
    """
    with tempfile.TemporaryDirectory(dir=".") as root:
        supervised_s = asyncio.run(_supervised(n, Path(root) / "runs"))
    bare_s = asyncio.run(_bare(n))
    return {"supervised_per_s": n / supervised_s, "bare_per_s": n / bare_s, "ratio": bare_s / supervised_s}


if __name__ == "__main__":
    for name, value in measure().items():
        print(f"{name:20} {value:8.2f}")
