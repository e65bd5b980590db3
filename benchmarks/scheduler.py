"""How fast the scheduler is, end to end: no-op runs/s, and from due to spawned at 100 starts/s."""

import asyncio
import statistics
import tempfile
from datetime import timedelta
from pathlib import Path
from time import perf_counter
from typing import Any

from apsis_nb.config import load_config
from apsis_nb.core.events import RunRequested
from apsis_nb.core.runs import Origin
from apsis_nb.engine import Engine
from apsis_nb.engine.clock import utc_now

NOOP = "program: {type: no-op}\n"
TRUE = "program: {type: argv, argv: [/bin/true]}\n"


def _engine(folder: Path) -> Engine:
    jobs = folder / "jobs"
    jobs.mkdir()
    (jobs / "noop.yaml").write_text(NOOP)
    (jobs / "true.yaml").write_text(TRUE)
    return Engine(load_config(None, {"jobs": str(jobs), "state_dir": str(folder / "state")}))


class _Ends:
    """Hears of each run whose end is committed."""

    def __init__(self, engine: Engine) -> None:
        self._count, self._wanted = 0, 0
        self._there = asyncio.Event()
        engine.listen(self._hear)

    def _hear(self, kind: str, facts: dict[str, Any]) -> None:
        if kind == "run" and facts["finished_at"] is not None:
            self._count += 1
            if self._count == self._wanted:
                self._there.set()

    async def until(self, count: int) -> None:
        """Wait until so many have ended since the start."""
        self._wanted = count
        self._there.clear()
        if self._count < count:
            await self._there.wait()


async def _noop(count: int, at_once: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        engine = _engine(Path(folder))
        await engine.start()
        ends = _Ends(engine)
        await engine.ask(RunRequested(job_id="noop", count=at_once))  # warm: store, ids
        await ends.until(at_once)
        began = perf_counter()
        asked = 0
        while asked < count:
            await engine.ask(RunRequested(job_id="noop", count=at_once))
            asked += at_once
        await ends.until(asked + at_once)
        elapsed = perf_counter() - began
        kept = engine.store.sql("SELECT count(*) AS n FROM runs WHERE state = 'success'").to_pylist()[0]["n"]
        assert kept == asked + at_once, f"{kept} of {asked + at_once} runs are kept"
        await engine.stop()
        return asked / elapsed


async def _due(count: int, per_second: int) -> list[float]:
    with tempfile.TemporaryDirectory() as folder:
        engine = _engine(Path(folder))
        await engine.start()
        ends = _Ends(engine)
        first = utc_now() + timedelta(seconds=2)
        for n in range(count):
            at = first + n * timedelta(seconds=1 / per_second)
            await engine.ask(RunRequested(job_id="true", at=at, origin=Origin.MANUAL))
        await ends.until(count)
        rows = engine.store.sql("SELECT scheduled_at, started_at FROM runs WHERE job_id = 'true'").to_pylist()
        lags = [(row["started_at"] - row["scheduled_at"]).total_seconds() * 1000 for row in rows]
        await engine.stop()
        return sorted(lags)


def measure(noops: int = 20_000, starts: int = 1000) -> dict[str, float]:
    """Figures: noop_runs_per_s; due_p50_ms, due_p99_ms, due_max_ms (due time to program spawned)."""
    rate = asyncio.run(_noop(noops, 500))
    lags = asyncio.run(_due(starts, 100))
    return {
        "noop_runs_per_s": rate,
        "due_p50_ms": statistics.median(lags),
        "due_p99_ms": lags[int(len(lags) * 0.99) - 1],
        "due_max_ms": lags[-1],
    }


if __name__ == "__main__":
    for name, value in measure().items():
        print(f"{name:24} {value:10,.1f}")
