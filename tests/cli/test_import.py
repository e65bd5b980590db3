"""`apsis-nb import runs`, `client.import_runs`: into a server that runs, and into a stopped one's folder."""

import json
from pathlib import Path

import pytest

from apsis_nb.client import BadRequest, Client, NoSuch, RequestRefused
from apsis_nb.core.states import State
from apsis_nb.store import Store
from tests.cli.conftest import Shell
from tests.client.serving import Served
from tests.store.apsis_db import apsis_db
from tests.store.made import a_run, ended, saved, whole_life


@pytest.fixture
def laptop(tmp_path: Path) -> Path:
    """The state folder of another server, which is stopped; two of its runs have finished."""
    folder = tmp_path / "laptop"
    folder.mkdir()
    (tmp_path / "output").write_text("from the laptop\n")
    job = f"moved/{tmp_path.name}"  # the server is that of all tests
    with Store.open(folder / "runs.duckdb") as store:
        packed = store.pack(1, [("output", tmp_path / "output")]).result(10)
        run = a_run(1, job)
        store.save([saved(run, is_new=True)]).result(10)
        store.save([saved(ended(run))], {1: packed})
        store.save(whole_life(a_run(2, job), State.FAILURE, after_s=20))
        store.save([saved(a_run(3, job), is_new=True)]).result(10)
    return folder


def test_runs_come_into_a_server_that_runs(
    shell: Shell, server: Served, laptop: Path, tmp_path: Path
) -> None:
    job = f"moved/{tmp_path.name}"
    would = shell("import", "runs", str(laptop), "--dry-run", "--format", "json")
    assert json.loads(would.stdout) == [{"job_id": job, "imported": 2, "known": 0}]
    assert would.stderr.splitlines() == [
        "not mapped: it had not finished (scheduled): 1 runs, the first r3",
        "2 runs would be imported, 0 were there before",
    ]
    done = shell("import", "runs", str(laptop / "runs.duckdb"))
    assert done.returncode == 0
    assert done.stdout.split() == ["job", "imported", "there", "before", job, "2", "0"]
    with server.client() as client:
        newer, older = client.list_runs(job=job)
        assert (newer["state"], older["state"]) == ("failure", "success")
        run = client.run(older["run_id"])
        assert run.output() == "from the laptop\n"
        assert run.list_log()[-1]["message"] == "imported from runs.duckdb, where it was r1"
        (place,) = run.facts["imported_from"]
        assert (place["source"], place["run_id"]) == ("runs.duckdb", "r1")
        assert "imported   from runs.duckdb, where it was r1, at " in shell("run", run.run_id).stdout
        sources = client.sql(
            "SELECT source_run FROM imported JOIN runs USING (run_id) WHERE job_id = ?", [job]
        )
        assert sorted(sources["source_run"]) == ["r1", "r2"]
    again = shell("import", "runs", str(laptop))
    assert again.stderr.splitlines()[-1] == "0 runs imported, 2 were there before"


def test_runs_of_apsis_come_into_a_folder_whose_server_is_stopped(alone: Shell, tmp_path: Path) -> None:
    with apsis_db(tmp_path / "apsis.db") as db:
        db.add(1, output=b"as it was\n")
        db.add(2, "running")
    state = tmp_path / "state"
    done = alone("import", "runs", "apsis.db", "--state-dir", str(state))
    assert (done.returncode, done.stderr.splitlines()[-1]) == (0, "1 runs imported, 0 were there before")
    with Store.open(state / "runs.duckdb") as store:
        (run,) = store.runs()
        assert store.read_output(run["run_id"])[0] == b"as it was\n"


def test_a_folder_whose_server_runs_is_refused(shell: Shell, server: Served, laptop: Path) -> None:
    ended = shell("import", "runs", str(laptop), "--state-dir", str(server.state))
    assert ended.returncode == 1
    assert f"the server at {server.url} runs with {server.state}" in ended.stderr


def test_what_cannot_be_imported_says_why(shell: Shell, server: Served, tmp_path: Path) -> None:
    missing = shell("import", "runs", "none.duckdb")
    assert missing.returncode == 1
    assert missing.stderr.strip().endswith(f"there is no file {tmp_path}/none.duckdb")
    (tmp_path / "text").write_text("no database " * 1000)
    with server.client() as client:
        with pytest.raises(BadRequest, match="text cannot be opened"):
            next(client.import_runs(tmp_path / "text"))
        with pytest.raises(NoSuch, match="there is no file"):
            next(client.import_runs(tmp_path / "none"))
        # The server's own file is no other's.
        with pytest.raises(BadRequest, match="already open in this process"):
            next(client.import_runs(server.state / "runs.duckdb"))
    far = Client("http://far.example:5577", "a token")
    with pytest.raises(RequestRefused, match="is another machine: copy the file there"):
        next(far.import_runs(tmp_path / "text"))
