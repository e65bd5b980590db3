"""What a server keeps of the outputs of its jobs, and what of them it gives up by itself."""

from datetime import timedelta
from pathlib import Path

import duckdb
import pytest

from apsis_nb.core.errors import NotFound
from apsis_nb.core.events import RunRequested
from apsis_nb.core.retention import FOREVER, Keep
from apsis_nb.engine import Engine
from apsis_nb.engine.retention import carry_out, plan, rules_of
from tests.engine.test_engine import World, finished

ECHO = "program: echo something\n"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_job_says_what_is_kept_of_its_own_and_the_configuration_what_of_the_others(world: World):
    world.settings = {"retention.outputs.count": "1"}
    for job_id, more in {
        "own": "retention: {outputs: {count: 2}}\n",
        "all": "retention: {outputs: }\n",
    }.items():
        world.write(job_id, ECHO + more)
    world.write("other", ECHO)
    world.write("long", "program: {type: no-op, duration: 1h}\n")

    async def check(engine: Engine) -> None:
        runs = {}
        for job_id in ("own", "all", "other"):
            runs[job_id] = [(await engine.ask(RunRequested(job_id=job_id)))[0] for _ in range(3)]
        (live,) = await engine.ask(RunRequested(job_id="long"))
        for run in (run for made in runs.values() for run in made):
            await finished(engine, run)

        assert [(a.job_id, a.runs) for a in await plan(engine)] == [("other", 2), ("own", 1)]
        assert [(a.job_id, a.runs) for a in await carry_out(engine)] == [("other", 2), ("own", 1)]
        assert await plan(engine) == []
        kept = {job_id: [len(engine.outputs(run.run_id)) for run in made] for job_id, made in runs.items()}
        assert {job_id: sum(outputs) for job_id, outputs in kept.items()} == {"own": 2, "all": 3, "other": 1}
        (gone, *_) = [run for run in runs["other"] if not engine.outputs(run.run_id)]
        with pytest.raises(NotFound, match="were dropped: not among the newest 1 of its job"):
            engine.read_output(gone.run_id)
        assert live.run_id in engine.live

    world.run(check)


def test_nothing_goes_of_a_job_whose_file_is_broken_for_nobody_knows_what_it_says(world: World):
    world.settings = {"retention.outputs.age": "1h"}
    world.write("a", ECHO)

    async def begin(engine: Engine) -> None:
        await finished(engine, (await engine.ask(RunRequested(job_id="a")))[0])

    async def check(engine: Engine) -> None:
        assert rules_of(engine).of("a") == FOREVER
        assert rules_of(engine).of("b") == Keep(age_s=3600)
        assert await carry_out(engine) == []

    world.run(begin)
    with duckdb.connect(str(world.state_dir / "runs.duckdb")) as connection:
        connection.execute("UPDATE base.runs SET finished_at = finished_at - $1", [timedelta(days=1)])
    world.write("a", ECHO + "retention: {outputs: {agee: 1d}}\n")
    world.run(check)
    world.write("a", ECHO)

    async def mended(engine: Engine) -> None:
        assert [amount.runs for amount in await carry_out(engine)] == [1]

    world.run(mended)
