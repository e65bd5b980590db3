"""Jobs that have the server itself do something: the doctor, figures, and what is not to be kept."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from apsis_nb.core.events import RunRequested
from apsis_nb.engine import Engine
from apsis_nb.engine.doctor import examine
from apsis_nb.store import Store
from tests.engine.test_engine import World, finished
from tests.store.archived import make_history


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def run(engine: Engine, job_id: str) -> tuple[dict[str, Any], str, Any]:
    """The facts of a run, its output, and its result."""
    (made,) = await engine.ask(RunRequested(job_id=job_id))
    facts = await finished(engine, made)
    output, result = (engine.read_output(made.run_id, name)[0] for name in ("output", "result.json"))
    return facts, output.decode(), json.loads(result)


def test_the_doctor_as_a_job_fails_if_something_is_wrong(world: World):
    world.write("look", "program: {type: doctor}\n")
    world.write("bad", "progam: x\n")

    async def check(engine: Engine) -> None:
        facts, output, result = await run(engine, "look")
        assert facts["state"] == "failure"
        assert "unknown key 'progam'" in facts["message"]
        assert "error: broken: bad: " in output
        assert ("broken", "bad") in [(found["kind"], found["subject"]) for found in result]
        assert engine.store.run(facts["run_id"])["program"] == {"type": "doctor"}

    world.run(check)


def test_figures_are_told_as_json(world: World):
    world.write("figures", "program: {type: stats}\n")
    world.write("other", "program: {type: no-op}\n")

    async def check(engine: Engine) -> None:
        await finished(engine, (await engine.ask(RunRequested(job_id="other")))[0])
        facts, output, told = await run(engine, "figures")
        assert facts["state"] == "success"
        assert json.loads(output) == told
        assert sum(told["runs"]["live"].values()) == 1
        assert told["runs"]["finished_1h"] == told["runs"]["finished_1d"] == {"success": 1}
        assert told["jobs"] == 2
        assert told["process"]["memory_b"] > 10_000_000
        assert told["store"]["file_bytes"] > 0
        assert told["store"]["outputs_bytes"] == 0
        assert 0 < told["store"]["cached_bytes"] < told["process"]["memory_b"]

    world.run(check)


def test_old_months_go_into_the_archive_when_a_job_says_so(world: World):
    world.write("old", "program: {type: archive, older_than: 60d}\n")
    with Store.open(world.state_dir / "runs.duckdb") as store:
        make_history(store, world.state_dir)
    until = datetime(2026, 1, 1, tzinfo=UTC)

    async def check(engine: Engine) -> None:
        before = engine.store.runs(until=until, limit=1000)
        facts, output, months = await run(engine, "old")
        assert facts["state"] == "success"
        assert output.startswith("2025-12: 83 runs, ")
        assert (months[0]["month"], months[0]["runs"], months[0]["first_run_id"]) == ("2025-12", 83, "r1")
        assert engine.store.runs(until=until, limit=1000) == before
        assert engine.store.run(facts["run_id"])["program"] == {"type": "archive", "older_than": 5_184_000.0}
        assert (await run(engine, "old"))[1:] == ("no month is old enough\n", [])
        (engine.config.state_dir / "archive/2025-12").rename(engine.config.state_dir / "archive/2025-11")
        found = {(f.kind, f.subject, f.level) for f in await examine(engine)}
        assert ("archive", "2025-11", "warning") in found

    world.run(check)


def test_what_is_not_to_be_kept_goes_when_a_job_says_so(world: World):
    world.write("tidy", "program: {type: retention}\n")
    world.write("wordy", "program: echo word\nretention: {outputs: {count: 1}}\n")

    async def check(engine: Engine) -> None:
        for _ in range(3):
            await finished(engine, (await engine.ask(RunRequested(job_id="wordy")))[0])
        facts, output, (gone,) = await run(engine, "tidy")
        assert facts["state"] == "success"
        assert (gone["job_id"], gone["runs"]) == ("wordy", 2)
        assert output.startswith("wordy: 2 outputs of 2 runs, ")
        assert (await run(engine, "tidy"))[1:] == ("nothing is beyond what is kept\n", [])

    world.run(check)
