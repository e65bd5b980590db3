"""Why something has not run, told by a real engine."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from apsis_nb.config import load_config
from apsis_nb.core.errors import NotFound
from apsis_nb.core.events import PauseRequested, RunRequested, SkipRequested
from apsis_nb.core.pauses import Pause
from apsis_nb.core.runs import Run
from apsis_nb.core.states import State
from apsis_nb.core.why import Asked, Cause
from apsis_nb.engine import Engine
from apsis_nb.engine.clock import utc_now
from apsis_nb.engine.why import why, why_run

DATED = "params: [date]\n"
DAY = (("date", "2026-03-27"),)


def run_engine(folder: Path, jobs: dict[str, str], check: Callable[[Engine], Awaitable[Any]]) -> None:
    """Let `check` use an engine of these jobs."""
    for job_id, text in jobs.items():
        (folder / "jobs").mkdir(exist_ok=True)
        (folder / "jobs" / f"{job_id}.yaml").write_text(text)

    async def main() -> None:
        config = {"jobs": str(folder / "jobs"), "state_dir": str(folder / "state"), "tz": "UTC"}
        engine = Engine(load_config(None, config))
        await engine.start()
        try:
            await asyncio.wait_for(check(engine), 60)
        finally:
            await engine.stop()

    asyncio.run(main())


async def ask(engine: Engine, job_id: str, **args: str) -> Run:
    (run,) = await engine.ask(RunRequested(job_id=job_id, args=args, by="ann"))
    return run


async def until(engine: Engine, is_so: Callable[[], bool]) -> None:
    """Wait for a commit after which `is_so`."""
    changed = asyncio.Event()
    unlisten = engine.listen(lambda kind, facts: changed.set())
    while not is_so():
        await changed.wait()
        changed.clear()
    unlisten()


def told(found: list[Cause]) -> list[tuple[int, str, int | None]]:
    return [(cause.depth, cause.kind, cause.run_id) for cause in found]


def test_it_is_told_down_to_the_root_with_what_that_wrote_last(tmp_path: Path):
    jobs = {
        "load": DATED + "program: {type: shell, command: 'echo one; echo disk full >&2; exit 3'}\n",
        "clean": DATED + "condition: {type: dependency, job_id: load}\nprogram: 'true'\n",
        "report": DATED + "condition: {type: dependency, job_id: clean}\nprogram: 'true'\n",
    }

    async def check(engine: Engine) -> None:
        load = await ask(engine, "load", date="2026-03-27")
        await until(engine, lambda: load.run_id not in engine.live)
        clean = await ask(engine, "clean", date="2026-03-27")
        report = await ask(engine, "report", date="2026-03-27")
        await until(engine, lambda: engine.machine.why(report.run_id) is not None)

        found = await why_run(engine, report.run_id)
        assert told(found) == [
            (0, "waiting", report.run_id),
            (1, "waiting", clean.run_id),
            (2, "failed", load.run_id),
        ]
        assert (
            found[0].text
            == f"{report.name} report(date=2026-03-27): waiting for clean(date=2026-03-27) to end in success"
        )
        assert found[2].text.endswith(": exit code 3")
        assert found[2].output == "disk full"
        # Asked by name, without a run's id, and of part of the way, it is the same.
        assert await why(engine, Asked("report", DAY)) == found
        assert [c.text for c in await why(engine, Asked("clean", DAY))] == [c.text for c in found[1:]]
        (other,) = await why(engine, Asked("load", (("date", "2026-03-26"),)))
        assert (other.kind, other.run_id) == ("schedule", None)
        with pytest.raises(NotFound):
            await why_run(engine, 10**9)

    run_engine(tmp_path, jobs, check)


def test_who_has_the_places_is_told(tmp_path: Path):
    jobs = {"one": "condition: {type: max_running}\nprogram: {type: no-op, duration: 1h}\n"}

    async def check(engine: Engine) -> None:
        first, second = await ask(engine, "one"), await ask(engine, "one")
        await until(engine, lambda: engine.live[first.run_id].state is State.RUNNING)
        limit, holder = await why_run(engine, second.run_id)
        assert (limit.kind, limit.text) == ("limit", f"{second.name} one(): 1 of 1 of one() running")
        assert holder.text.startswith(f"{first.name} one() is running, since ")
        (running,) = await why_run(engine, first.run_id)
        assert running.kind == "running"

    run_engine(tmp_path, jobs, check)


def test_what_has_no_run_is_told_from_the_job_folder_and_the_pauses(tmp_path: Path):
    jobs = {
        "far": DATED
        + "schedule: {type: daily, tz: UTC, calendar: all, daytime: '09:00:00'}\nprogram: 'true'\n",
        "broken": "progam: x\n",
        "called": "program: {type: no-op}\n",
        "caller": "program: {type: no-op}\nsuccessors: called\n",
    }

    async def check(engine: Engine) -> None:
        await engine.ask(PauseRequested(pause=Pause(scope="job", target="far", at=utc_now(), by="ann")))
        in_days = (utc_now() + timedelta(days=9)).date()
        due, paused = await why(engine, Asked("far", (("date", str(in_days)),)))
        assert (due.kind, paused.kind) == ("due", "paused")
        assert "paused by ann" in paused.text
        (broken,) = await why(engine, Asked("broken"))
        assert (broken.kind, "broken.yaml:1:1: unknown key 'progam'" in broken.text) == ("file", True)
        (nothing,) = await why(engine, Asked("colled"))
        assert nothing.text == "there is no job 'colled': did you mean 'called'?"
        (engine.config.jobs / "caller.yaml").write_text(
            "program: {type: no-op}\nsuccessors: [called]  # one\n"
        )
        first, of_caller = await why(engine, Asked("called"))
        assert first.text == "called has no schedule: it runs after caller"
        assert (of_caller.depth, of_caller.kind) == (1, "schedule")

    run_engine(tmp_path, jobs, check)


def test_what_somebody_asked_for_is_told_and_when_no_server_ran_is_known(tmp_path: Path):
    jobs = {
        "beat": (
            "params: [time]\nschedule: {type: interval, interval: 1s, misfire: none}\n"
            "program: {type: no-op}\n"
        )
    }

    async def first(engine: Engine) -> None:
        await until(
            engine, lambda: engine.machine.clock is not None and engine.machine.clock > engine.started_at
        )

    async def second(engine: Engine) -> None:
        assert engine.down is not None
        assert engine.down[0] < engine.down[1] <= utc_now()
        run = await ask(engine, "beat", time="x")
        later = await engine.ask(
            RunRequested(job_id="beat", args={"time": "y"}, at=utc_now() + timedelta(hours=1), by="ann")
        )
        (due,) = await why_run(engine, later[0].run_id)
        assert (due.kind, due.text.endswith("in 1h, as ann asked")) == ("due", True)
        await engine.ask(SkipRequested(run_id=later[0].run_id, by="ann"))
        (skipped,) = await why_run(engine, later[0].run_id)
        assert skipped.text.endswith("was skipped: skipped by ann")
        await until(engine, lambda: run.run_id not in engine.live)
        (ran,) = await why_run(engine, run.run_id)
        assert ran.kind == "ran"

    run_engine(tmp_path, jobs, first)
    run_engine(tmp_path, jobs, second)
