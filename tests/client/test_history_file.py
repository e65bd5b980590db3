"""`ap.open`: the files of stopped servers and backups, asked as a server is asked."""

import hashlib
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import duckdb
import pandas as pd
import pytest

import apsis_nb as ap
from apsis_nb.client import BadRequest, NoSuch, RequestRefused
from apsis_nb.core.states import State
from apsis_nb.history_file import CannotOpen
from apsis_nb.store import Store
from apsis_nb.store.opening import SCHEMA_VERSION
from tests.client.serving import served
from tests.store.made import NOON, Clock, a_run, whole_life


def a_file(folder: Path, *states: State, job_id: str = "team/report") -> Path:
    """A run store with a finished run for each state, an hour between them."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "runs.duckdb"
    with Store.open(path, threads=1, now=Clock()) as store:
        for n, state in enumerate(states, 1):
            at = NOON + timedelta(hours=n)
            run = a_run(n, job_id, scheduled_at=at, nominal_at=at, state_at=at)
            store.save(whole_life(run, state)).result(10)
    return path


def contents(folder: Path) -> dict[str, tuple[str, int]]:
    """What every file below a folder holds, and its mode."""
    return {
        str(file.relative_to(folder)): (hashlib.sha256(file.read_bytes()).hexdigest(), file.stat().st_mode)
        for file in folder.rglob("*")
        if file.is_file()
    }


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return a_file(tmp_path / "state", State.SUCCESS, State.FAILURE, State.SKIPPED)


def test_a_file_tells_what_its_server_told(tmp_path: Path) -> None:
    with served(tmp_path) as server, server.client() as client:
        runs = [client.schedule("greet/hello", name=name).wait(30) for name in ("a", "b")]
        runs.append(client.schedule("fails").wait(30))
        told = {
            "runs": client.runs(),
            "some": client.runs(job="greet/hello", state="success", late=False, args={"name": "a"}),
            "counts": client.history.counts(by_job=True),
            "timeline": client.history.timeline(),
            "jobs": client.history.jobs(),
            "sql": client.sql("SELECT job_id, count(*) AS n FROM runs GROUP BY ALL ORDER BY ALL"),
        }
        listed = client.list_runs(limit=2)
        first = {"facts": runs[0].facts, "log": runs[0].list_log(), "output": runs[0].output()}
        first_outputs = runs[0].outputs()
    with ap.open(tmp_path / "state") as file:
        since = "7d"
        for name, frame in {
            "runs": file.runs(since=since),
            "some": file.runs(job="greet/hello", state="success", late=False, args={"name": "a"}),
            "counts": file.history.counts(by_job=True),
            "timeline": file.history.timeline(),
            "jobs": file.history.jobs(),
            "sql": file.sql("SELECT job_id, count(*) AS n FROM runs GROUP BY ALL ORDER BY ALL"),
        }.items():
            pd.testing.assert_frame_equal(frame, told[name])
        assert file.list_runs(limit=2) == listed
        run = file.run(runs[0].run_id)
        assert {"facts": run.facts, "log": run.list_log(), "output": run.output()} == first
        assert run.outputs() == first_outputs
        assert run.result() is run
        assert "hello a" in run._repr_html_()


def test_what_needs_a_server_says_so(path: Path) -> None:
    with ap.open(path) as file:
        with pytest.raises(RequestRefused, match=f"that needs a server, and this is a file: {path}"):
            file.schedule("team/report")
        with pytest.raises(RequestRefused, match="needs a server"):
            file.run(1).rerun()
        with pytest.raises(RequestRefused, match="needs a server"):
            next(file.events())
        with pytest.raises(RequestRefused, match="needs a server"):
            file.alive()


def test_reading_changes_nothing_and_several_may_read(path: Path) -> None:
    before = contents(path.parent)
    with ap.open(path) as one, ap.open(path) as other:
        assert len(one.runs(since=None)) == len(other.runs(since=None)) == 3
        with pytest.raises(BadRequest, match="only a SELECT may be asked"):
            one.sql("DELETE FROM runs")
        with pytest.raises(BadRequest):
            one.sql("SELECT * FROM read_text('/etc/hostname')")
    assert contents(path.parent) == before


def test_what_was_committed_before_a_crash_is_read_from_the_journal(path: Path) -> None:
    crash = f"""
import os
from pathlib import Path
from apsis_nb.store import Store
from tests.store.made import a_run, whole_life
store = Store.open(Path({str(path)!r}))
store.save(whole_life(a_run(9))).result(10)
os._exit(1)
"""
    subprocess.run([sys.executable, "-c", crash], cwd=Path(__file__).parents[2], timeout=60)
    assert path.with_name("runs.duckdb.wal").stat().st_size > 0
    before = contents(path.parent)
    with ap.open(path) as file:
        assert file.run("r9").state == "success"
    assert contents(path.parent) == before


def test_a_file_of_an_older_release_is_read_from_a_copy_and_stays_as_it_is(path: Path) -> None:
    with duckdb.connect(str(path)) as connection:
        connection.execute("DROP VIEW outputs_all; DROP TABLE base.archived")
        connection.execute("DROP VIEW imported; DROP TABLE base.imported")
        connection.execute("DROP VIEW outputs; DROP TABLE base.dropped")
        connection.execute("UPDATE base.meta SET schema_version = 3")
    before = contents(path.parent)
    with ap.open(path) as file:
        assert len(file.runs(since=None)) == 3
        assert file.run(1).outputs_dropped is None
        assert file.sql("SELECT count(*) AS n FROM outputs")["n"].tolist() == [0]
    assert contents(path.parent) == before


def test_an_open_file_cannot_be_taken_by_a_server(path: Path) -> None:
    take = f"from pathlib import Path; from apsis_nb.store import Store; Store.open(Path({str(path)!r}))"
    with ap.open(path):
        ended = subprocess.run([sys.executable, "-c", take], capture_output=True, text=True, timeout=60)
        assert "is in use by process" in ended.stderr
    Store.open(path).close()


def test_files_that_cannot_be_read_say_why(tmp_path: Path, path: Path) -> None:
    with pytest.raises(CannotOpen, match=f"there is no run store at {tmp_path}/none.duckdb"):
        ap.open(tmp_path / "none.duckdb")
    text = tmp_path / "a.txt"
    text.write_text("no database " * 1000)
    with pytest.raises(CannotOpen, match=r"a\.txt cannot be opened"):
        ap.open(text)
    other = tmp_path / "other.duckdb"
    with duckdb.connect(str(other)) as connection:
        connection.execute("CREATE TABLE t (x INT)")
    with pytest.raises(CannotOpen, match="is a DuckDB file, but no run store"):
        ap.open(path, other)
    with pytest.raises(BadRequest, match="open what"):
        ap.open()
    with duckdb.connect(str(path)) as connection:
        connection.execute("UPDATE base.meta SET schema_version = $1", [SCHEMA_VERSION + 1])
    with pytest.raises(CannotOpen, match="was written by a later release"):
        ap.open(path)


def test_a_file_that_a_server_holds_names_its_address(tmp_path: Path) -> None:
    with served(tmp_path) as server:
        with pytest.raises(CannotOpen, match=f"is in use by the server at {server.url}: ask that"):
            ap.open(tmp_path / "state" / "runs.duckdb")
        with pytest.raises(CannotOpen, match=server.url):
            ap.open(tmp_path / "state")


def test_several_files_answer_together_and_say_whose_each_row_is(tmp_path: Path) -> None:
    one = a_file(tmp_path / "one", State.SUCCESS, State.FAILURE)
    two = a_file(tmp_path / "two", State.SUCCESS, State.SUCCESS, State.SKIPPED, job_id="team/other")
    with ap.open(one, two) as files:
        runs = files.runs(since=None)
        assert list(zip(runs["run_id"], runs["source"], strict=True)) == [
            ("r3", str(two)),
            ("r2", str(one)),
            ("r2", str(two)),
            ("r1", str(one)),
            ("r1", str(two)),
        ]
        assert runs["state"].tolist() == ["skipped", "failure", "success", "success", "success"]
        assert len(files.runs(since=None, limit=2)) == 2
        listed = files.list_runs(limit=5)
        assert [(run["run_id"], run["source"]) for run in listed] == list(
            zip(runs["run_id"], runs["source"], strict=True)
        )
        page = files.connection.json("GET", "/runs", params={"limit": 2})
        pages = [page]
        while page["next"]:
            page = files.connection.json("GET", "/runs", params={"limit": 2, "cursor": page["next"]})
            pages.append(page)
        assert [run for page in pages for run in page["runs"]] == listed
        counts = files.history.counts(since=NOON - timedelta(days=1), until=NOON + timedelta(days=1))
        assert counts.groupby("source")["runs"].sum().to_dict() == {str(one): 2, str(two): 3}
        asked = files.sql("SELECT count(*) AS n FROM runs WHERE state = ?", ["success"])
        assert asked.to_dict("list") == {"n": [1, 2], "source": [str(one), str(two)]}
        assert files.run("r3").job_id == "team/other"
        with pytest.raises(BadRequest, match=f"several files have a run r1 .{one}, {two}."):
            files.run("r1")
        with pytest.raises(NoSuch, match="there is no run r9"):
            files.run("r9")


def test_outputs_of_a_backup_without_them_are_told_to_be_missing(path: Path, tmp_path: Path) -> None:
    output = tmp_path / "output"
    output.write_text("all is well\n")
    with Store.open(path) as store:
        rows = store.pack(9, [("output", output)]).result(10)
        store.save(whole_life(a_run(9)), {9: rows}).result(10)
    backup = tmp_path / "backup.duckdb"
    shutil.copyfile(path, backup)
    with ap.open(path) as file:
        assert file.run(9).output() == "all is well\n"
    with ap.open(backup) as file:
        assert file.run(9).outputs()[0]["length"] == 12
        with pytest.raises(BadRequest, match="output output cannot be read"):
            file.run(9).output()
