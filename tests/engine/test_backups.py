"""Backups of a server at work, and a server on what was restored of one."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from apsis_nb.core.events import RunRequested
from apsis_nb.core.programs import Process
from apsis_nb.core.states import State
from apsis_nb.engine import Engine
from apsis_nb.store import Store, backups_in, restore
from apsis_nb.store.backups import check_backup
from tests.engine.serving import Server, processes_of, wait_for
from tests.engine.test_engine import World, finished
from tests.engine.test_internals import run
from tests.store.made import NOON, a_run, saved


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_backup_as_a_job_keeps_the_newest_and_says_where_it_is(world: World, tmp_path: Path):
    world.write("save", f"program: {{type: backup, to: {tmp_path}/kept, keep: 1}}\n")
    world.write("own", "program: {type: backup}\n")
    world.write("nowhere", "program: {type: backup, to: /dev/null/x}\n")
    world.write("other", "program: {type: no-op}\n")

    async def check(engine: Engine) -> None:
        await finished(engine, (await engine.ask(RunRequested(job_id="other")))[0])
        facts, output, told = await run(engine, "save")
        assert (facts["state"], facts["message"]) == ("success", None)
        (backup,) = backups_in(tmp_path / "kept")
        assert told == backup.facts()
        assert output == f"{backup.path}: 1 runs, {backup.bytes} bytes\n"
        check_backup(backup)
        facts, _, told = await run(engine, "own")
        assert Path(told["path"]).parent == world.state_dir / "backups"
        facts, output, told = await run(engine, "nowhere")
        assert (facts["state"], told) == ("failure", None)
        assert facts["message"].startswith("no backup was made: ")
        assert output == facts["message"] + "\n"

    world.run(check)


def command(*words: str) -> "subprocess.CompletedProcess[str]":
    env = {name: value for name, value in os.environ.items() if not name.startswith("APSIS_")}
    return subprocess.run(
        [sys.executable, "-m", "apsis_nb", *words], env=env, capture_output=True, text=True, timeout=60
    )


def test_a_server_on_a_restored_store_takes_what_ran_for_lost_and_starts_nothing_twice(tmp_path: Path):
    book, jobs, state = tmp_path / "book", tmp_path / "jobs", tmp_path / "state"
    jobs.mkdir()
    (jobs / "long.yaml").write_text(f"program: echo $APSIS_RUN_ID >> {book}; echo words; exec sleep 600\n")
    (jobs / "short.yaml").write_text("program: echo hello\n")
    server = Server(jobs, state).start()

    def state_of(run_id: str) -> dict[str, Any]:
        facts: dict[str, Any] = server.get(f"/api/v1/runs/{run_id}").json()
        return facts

    (short,) = server.post("/api/v1/runs", {"job_id": "short"}).json()["runs"]
    wait_for("it ends", lambda: state_of(short["run_id"])["state"] == "success")
    (long,) = server.post("/api/v1/runs", {"job_id": "long"}).json()["runs"]
    wait_for("it runs", lambda: state_of(long["run_id"])["state"] == "running")
    before = state_of(short["run_id"])
    made = server.post("/api/v1/backup", {"to": str(tmp_path / "kept"), "keep": 3}).json()
    assert (made["runs"], Path(made["path"]).parent) == (1, tmp_path / "kept")
    assert server.get("/api/v1/backup").json() == {"backups": [], "under_way": None}
    assert server.post("/api/v1/backup", {"to": "kept"}).status_code == 422
    refused = command("restore", made["path"], "--state-dir", str(state), "--yes")
    assert refused.returncode == 1
    assert f"runs: {server.url} (process " in refused.stderr
    assert server.post(f"/api/v1/runs/{long['run_id']}/stop").status_code == 200
    wait_for("it is stopped", lambda: state_of(long["run_id"])["state"] == "failure")
    assert server.stop() == 0

    done = command("restore", made["path"], "--state-dir", str(state), "--yes")
    assert (done.returncode, done.stderr.splitlines()[0]) == (0, "restored: 1 runs")
    server.start()
    lost = wait_for("it is settled", lambda: (f := state_of(long["run_id"]))["state"] == "error" and f)
    assert lost["message"] == "supervisor lost: its run directory is gone"
    assert state_of(short["run_id"]) == before
    assert server.get(f"/api/v1/runs/{short['run_id']}/outputs/output").text == "hello\n"
    assert server.stop() == 0
    assert book.read_text().split() == [long["run_id"]]
    wait_for("no process is left", lambda: processes_of(state) == [], 10)


def test_a_run_that_was_about_to_start_in_the_backup_does_not_start_again(world: World, tmp_path: Path):
    """The store knows no more of it than that it was to start: whether it did, nobody can tell."""
    book = tmp_path / "book"
    with Store.open(tmp_path / "old/runs.duckdb") as store:
        made = a_run(1, "a", program=Process(command=f"echo x >> {book}"))
        store.save([saved(made, is_new=True), saved(made.moved(State.STARTING, NOON))]).result(10)
        backup = store.backups.make(tmp_path / "kept", "jobs", NOON)
    assert restore(backup.path, world.state_dir, NOON) is None

    async def look(engine: Engine) -> dict[str, Any]:
        return await finished(engine, made)

    facts = world.run(look)
    assert facts["state"] == "error"
    assert "supervisor lost" in facts["message"]
    assert not book.exists()
