"""The engine with a real store and real programs: what it saves, starts, keeps and refuses."""

import asyncio
import shutil
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from apsis_nb.config import load_config
from apsis_nb.core.errors import ApsisError, NotFound
from apsis_nb.core.events import RerunRequested, RunRequested, StopRequested
from apsis_nb.core.runs import Run
from apsis_nb.core.states import State
from apsis_nb.engine import Engine
from tests.engine.serving import wait_for


class World:
    """A folder of jobs and a state dir, for one engine after another."""

    def __init__(self, folder: Path) -> None:
        self.jobs, self.state_dir = folder / "jobs", folder / "state"
        self.jobs.mkdir()
        self.settings: dict[str, str] = {}

    def write(self, name: str, text: str) -> None:
        (self.jobs / f"{name}.yaml").write_text(text)

    def engine(self) -> Engine:
        folders = {"jobs": str(self.jobs), "state_dir": str(self.state_dir)}
        return Engine(load_config(None, folders | self.settings))

    def run(self, check: Callable[[Engine], Awaitable[Any]]) -> Any:
        """Start an engine, let `check` use it, stop it."""

        async def main() -> Any:
            engine = self.engine()
            await engine.start()
            try:
                return await asyncio.wait_for(check(engine), 60)
            finally:
                await engine.stop()

        return asyncio.run(main())


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def until(engine: Engine, is_so: Callable[[], bool]) -> None:
    """Wait for a commit after which `is_so`."""
    changed = asyncio.Event()
    unlisten = engine.listen(lambda kind, facts: changed.set())
    try:
        while not is_so():
            await changed.wait()
            changed.clear()
    finally:
        unlisten()


async def finished(engine: Engine, run: Run) -> dict[str, Any]:
    """The facts of a run when its end is saved."""
    ended = asyncio.Event()

    def look(kind: str, facts: dict[str, Any]) -> None:
        if kind == "run" and facts["run_id"] == run.name and facts["finished_at"]:
            ended.set()

    unlisten = engine.listen(look)
    facts = await asyncio.to_thread(engine.store.run, run.run_id)
    if facts is None or facts["finished_at"] is None:
        await ended.wait()
        facts = await asyncio.to_thread(engine.store.run, run.run_id)
    unlisten()
    assert facts is not None
    return facts


def test_a_run_is_run_and_its_output_kept(world: World):
    world.write("hello", 'params: [name]\nprogram: echo "hello {{ name }}"; exit 3\n')

    async def check(engine: Engine) -> None:
        (run,) = await engine.ask(RunRequested(job_id="hello", args={"name": "Ada"}, by="ann"))
        facts = await finished(engine, run)

        assert (facts["state"], facts["return_code"], facts["by"]) == ("failure", 3, "ann")
        assert await asyncio.to_thread(engine.read_output, run.run_id) == (b"hello Ada\n", 10)
        assert [o["name"] for o in engine.outputs(run.run_id)] == ["output"]
        log = [(row["state"], row["message"]) for row in engine.store.log(run.run_id)]
        assert [state for state, _ in log] == ["scheduled", "starting", "running", "failure"]
        assert log[-1][1] == "exit code 3"
        with pytest.raises(NotFound):
            engine.read_output(run.run_id, "nothing")

    world.run(check)


def test_what_a_program_used_and_says_of_itself_is_kept_and_asked_about_in_sql(world: World):
    world.write("a", "program: |\n  echo '{\"rows\": 3}' > $APSIS_META_FILE\n  kill -9 $$\n")
    world.write("b", "program: {type: argv, argv: [no-such-program]}\n")

    async def check(engine: Engine) -> None:
        (run,) = await engine.ask(RunRequested(job_id="a"))
        meta = (await finished(engine, run))["meta"]
        assert meta["meta"] == {"rows": 3}
        assert meta["detail"] == {"signal": "SIGKILL", "core_dumped": False}
        rows = await asyncio.to_thread(
            engine.store.sql, "SELECT meta->'rows' AS n, cpu_s IS NULL AS none FROM run_meta"
        )
        assert rows.to_pylist() == [{"n": "3", "none": False}]
        (lost,) = await engine.ask(RunRequested(job_id="b"))
        assert (await finished(engine, lost))["meta"] is None

    world.run(check)


def test_a_schedule_makes_runs_on_time(world: World):
    world.write("beat", "schedule: {type: interval, interval: 1}\nprogram: {type: no-op}\n")

    async def check(engine: Engine) -> None:
        ended: list[dict[str, Any]] = []
        engine.listen(lambda kind, f: ended.append(f) if kind == "run" and f["state"] == "success" else None)
        await until(engine, lambda: len(ended) >= 3)

        assert [f["late_s"] < 1 for f in ended] == [True] * len(ended)
        assert len({f["nominal_at"] for f in ended}) == len(ended)

    world.run(check)


def test_a_dependency_of_long_ago_is_found_after_a_restart(world: World):
    world.write("first", "params: [date]\nprogram: {type: no-op}\n")
    world.write(
        "second", "params: [date]\ncondition: {type: dependency, job_id: first}\nprogram: {type: no-op}\n"
    )

    async def run_first(engine: Engine) -> None:
        await finished(engine, (await engine.ask(RunRequested(job_id="first", args={"date": "1"})))[0])

    async def run_second(engine: Engine) -> None:
        (held,) = await engine.ask(RunRequested(job_id="second", args={"date": "2"}))
        (free,) = await engine.ask(RunRequested(job_id="second", args={"date": "1"}))
        assert (await finished(engine, free))["state"] == "success"
        assert engine.live[held.run_id].state is State.WAITING
        assert engine.machine.why(held.run_id) == "waiting for first(date=2) to end in success"
        await engine.ask(RunRequested(job_id="first", args={"date": "2"}))
        assert (await finished(engine, held))["state"] == "success"

    world.run(run_first)
    world.run(run_second)


def test_programs_go_on_while_no_server_is_there(world: World, tmp_path: Path):
    go = tmp_path / "go"
    world.write("long", f"program: 'echo one; until [ -e {go} ]; do sleep 0.05; done; echo two; exit 5'\n")

    async def begin(engine: Engine) -> Run:
        (run,) = await engine.ask(RunRequested(job_id="long"))
        await until(engine, lambda: engine.live[run.run_id].state is State.RUNNING)
        return run

    async def take_up(engine: Engine) -> None:
        assert engine.live[run.run_id].state is State.RUNNING
        go.touch()
        facts = await finished(engine, run)
        assert (facts["state"], facts["return_code"]) == ("failure", 5)
        assert engine.read_output(run.run_id)[0] == b"one\ntwo\n"

    run = world.run(begin)
    world.run(take_up)


def words(path: Path) -> list[str]:
    return path.read_text().split() if path.exists() else []


def is_alive(pid: str) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_a_program_is_stopped_with_all_that_it_started(world: World, tmp_path: Path):
    pids = tmp_path / "pids"
    world.write(
        "stubborn",
        f"""
program:
  type: shell
  stop: {{grace_period: 0.2}}
  command: |
    trap '' TERM
    setsid sh -c 'trap "" TERM; echo $$ >> {pids}; while :; do sleep 1; done' &
    echo $$ >> {pids}
    while :; do sleep 1; done
""",
    )

    async def check(engine: Engine) -> None:
        (run,) = await engine.ask(RunRequested(job_id="stubborn"))
        await asyncio.to_thread(wait_for, "both processes", lambda: len(words(pids)) == 2)
        await engine.ask(StopRequested(run_id=run.run_id, by="ann"))
        facts = await finished(engine, run)

        assert (facts["state"], facts["return_code"]) == ("failure", -9)
        assert [pid for pid in words(pids) if is_alive(pid)] == []

    world.run(check)


def test_more_runs_than_there_are_ids_at_hand(world: World):
    world.write("noop", "program: {type: no-op}\n")

    async def check(engine: Engine) -> None:
        made = await engine.ask(RunRequested(job_id="noop", count=700))
        await until(engine, lambda: not engine.live)
        assert len({run.run_id for run in made}) == 700

    world.run(check)


def test_a_rerun_knows_what_it_repeats(world: World):
    world.write("noop", "params: [n]\nprogram: {type: no-op}\n")

    async def check(engine: Engine) -> None:
        (run,) = await engine.ask(RunRequested(job_id="noop", args={"n": "1"}))
        await finished(engine, run)
        original = await asyncio.to_thread(engine.store.original, run.run_id)
        assert original is not None
        (again,) = await engine.ask(RerunRequested(original=original, args={"n": "2"}))
        facts = await finished(engine, again)
        assert (facts["rerun_of"], facts["attempt"], facts["args"]) == (run.run_id, 2, {"n": "2"})

    world.run(check)


def test_a_reload_that_would_lose_a_working_job_is_not_applied(world: World):
    world.write("a", "program: {type: no-op}\n")
    world.write("b", "program: {type: no-op}\n")

    async def check(engine: Engine) -> None:
        world.write("a", "progam: {type: no-op}\n")
        world.write("c", "program: {type: no-op}\n")
        (world.jobs / "b.yaml").unlink()
        refused = await engine.reload()
        assert (refused["applied"], set(engine.jobs)) == (False, {"a", "b"})
        assert refused["errors"][0]["file"].endswith("a.yaml")
        forced = await engine.reload(force=True)
        assert (forced["applied"], set(engine.jobs)) == (True, {"c"})
        assert (forced["added"], forced["removed"]) == (["c"], ["a", "b"])
        assert (await engine.reload(dry_run=True))["applied"] is False

    world.run(check)


# In a process of its own: the limit is one of the process, and would be met by whatever else writes in it.
NO_ROOM = """
import resource, sys
from pathlib import Path
from apsis_nb.core.errors import ApsisError, Refused
from apsis_nb.core.events import RunRequested
from tests.engine.test_engine import World

async def check(engine):
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, -1))  # to a writer this is a full disk
    for kind, words in ((ApsisError, "out of order"), (Refused, "nothing is started")):
        try:
            await engine.ask(RunRequested(job_id="touch"))
        except kind as error:
            assert words in str(error), error
        else:
            raise SystemExit("it was promised")
    assert engine.health()["ok"] is False

world = World(Path(sys.argv[1]))
world.write("touch", f"program: touch {sys.argv[1]}/witness\\n")
world.run(check)
print("checked")
"""


def test_nothing_is_started_that_cannot_be_saved(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-c", NO_ROOM, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "checked\n"), done.stderr
    assert not (tmp_path / "witness").exists()


def test_a_start_that_fails_lets_the_store_go(world: World):
    async def nothing(engine: Engine) -> None:
        pass

    world.run(nothing)
    (folder,) = (world.state_dir / "runs").iterdir()
    shutil.rmtree(folder)
    folder.touch()  # so no program can be started
    with pytest.raises((ApsisError, OSError)):
        world.run(nothing)

    folder.unlink()
    world.run(nothing)


def test_expected_runs_come_in_the_order_of_time(world: World):
    world.write("hourly", "schedule: {type: interval, interval: 3600}\nprogram: {type: no-op}\n")
    world.write(
        "daily",
        "params: [date]\nschedule: {type: daily, tz: UTC, daytime: '09:00:00'}\nprogram: {type: no-op}\n",
    )

    async def check(engine: Engine) -> None:
        start = engine.started_at.replace(hour=8, minute=30, second=0, microsecond=0)
        stop = start.replace(hour=11, minute=0)
        found = engine.expected(start, stop)
        assert [(e["job_id"], e["scheduled_at"].hour) for e in found] == [
            ("daily", 9), ("hourly", 9), ("hourly", 10),
        ]  # fmt: skip
        assert found[0]["args"] == {"date": f"{start:%Y-%m-%d}"}
        assert len(engine.expected(start, stop, job_id="hourly", limit=1)) == 1

    world.run(check)


def test_a_missing_job_folder_is_said_so(world: World):
    world.jobs.rmdir()
    with pytest.raises(ApsisError, match="there is no job folder"):
        world.run(lambda engine: asyncio.sleep(0))


def test_a_stored_clock_that_is_far_ahead_is_told_and_not_obeyed(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.write("tick", "schedule: {type: interval, interval: 1}\nprogram: {type: no-op}\n")

    def count(engine: Engine) -> int:
        return int(engine.store.sql("SELECT count(*) AS n FROM runs").to_pylist()[0]["n"])

    async def one_more(engine: Engine) -> int:
        before = count(engine)
        await until(engine, lambda: count(engine) > before)
        return count(engine)

    first = world.run(one_more)
    with duckdb.connect(str(world.state_dir / "runs.duckdb")) as connection:
        connection.execute("INSERT INTO base.clock SELECT max(clock_at) + INTERVAL 1 DAY FROM base.clock")
    assert world.run(one_more) > first
    assert "which is yet to come: schedules go on from now" in caplog.text


def test_jobs_that_say_no_start_budget_have_that_of_the_server(world: World) -> None:
    world.write("plain", "program: 'true'\n")
    world.write("own", "program: 'true'\nlate: {start: 2m, finish: 1h}\n")
    world.write("half", "program: 'true'\nlate: {finish: 1h}\n")

    async def budgets(engine: Engine) -> dict[str, float]:
        return {job_id: job.late_start_s for job_id, job in engine.jobs.items()}

    assert world.run(budgets) == {"plain": 60, "own": 120, "half": 60}
    world.settings = {"late.start": "5s"}
    assert world.run(budgets) == {"plain": 5, "own": 120, "half": 5}
