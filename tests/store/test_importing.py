"""Past runs from other stores and from Apsis: all that they were comes along, and nothing comes twice."""

import shutil
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from apsis_nb.core.errors import NotFound
from apsis_nb.core.programs import Process
from apsis_nb.core.runs import Origin
from apsis_nb.core.states import State
from apsis_nb.store import MetaRow, Store, StoreError, import_runs, open_source
from apsis_nb.store.importing import BATCH
from apsis_nb.store.queries import Query, import_queries
from apsis_nb.wire import RUN_DETAILS
from tests.store.apsis_db import DUE, apsis_db
from tests.store.made import NOON, Clock, a_run, ended, saved, whole_life

#: A value for every parameter of a block.
VALUES: dict[str, Any] = {
    "after": 0, "limit": 5, "first": 1, "last": 9, "ids": [1], "ns": [0], "job_ids": ["a"],
    "ends": [NOON.replace(tzinfo=None)],
}  # fmt: skip


@pytest.mark.parametrize("query", import_queries().values(), ids=lambda q: q.name)
def test_every_block_runs(store: Store, query: Query) -> None:
    store.rows(query.text, {name: VALUES[name] for name in query.params})
    assert query.why


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """Another store: three finished runs and one that runs."""
    path = tmp_path / "laptop" / "runs.duckdb"
    path.parent.mkdir()
    output = tmp_path / "output"
    output.write_bytes(b"all is well\n" * 100_000)
    with Store.open(path, threads=1, now=Clock()) as store:
        first = a_run(7, program=Process(command="make report"), labels=("daily",))
        packed = store.pack(7, [("output", output)]).result(10)
        used = MetaRow(cpu_s=1.5, max_rss_b=1000, meta={"rows": 3})
        store.save([saved(first, "made", is_new=True)]).result(10)
        store.save(
            [saved(ended(first, State.FAILURE, return_code=3, message="exit code 3"))], {7: packed}, {7: used}
        )
        again = a_run(8, origin=Origin.RERUN, rerun_of=7, nominal_at=None)
        store.save(whole_life(again, after_s=20))
        store.save(whole_life(a_run(11, "team/other", backfill_id=11, origin=Origin.BACKFILL), after_s=30))
        live = a_run(12)
        store.save([saved(live, is_new=True), saved(live.moved(State.WAITING, NOON))]).result(10)
    return path


def bring(store: Store, path: Path, *, dry_run: bool = False) -> dict[str, Any]:
    """What an import tells at its end."""
    with closing(open_source(path)) as source:
        *_, last = import_runs(store, source, dry_run=dry_run)
    return last.facts()


def by_old_id(store: Store) -> dict[int, int]:
    return dict(store.rows("SELECT source_run, run_id FROM base.imported ORDER BY rowid", {}))


def test_a_run_comes_with_all_that_it_was(store: Store, other: Path) -> None:
    store.save(whole_life(a_run(500, "here"))).result(10)
    store.reserve_ids(600)
    with Store.open(other) as file:
        was, log = file.run(7), file.log(7)
        assert was is not None
    told = bring(store, other)
    assert (told["imported"], told["known"], told["of"]) == (3, 0, 3)
    assert told["jobs"] == [
        {"job_id": "team/other", "imported": 1, "known": 0},
        {"job_id": "team/report", "imported": 2, "known": 0},
    ]
    assert told["problems"] == [{"what": "it had not finished (waiting)", "runs": 1, "first": "r12"}]
    new = by_old_id(store)
    assert sorted(new) == [7, 8, 11]
    assert min(new.values()) > 600
    run = store.run(new[7])
    place = {"source": "runs.duckdb", "run_id": "r7", "at": NOON}
    assert run == {**was, "run_id": new[7], "imported_from": [place]}
    assert run["meta"]["meta"] == {"rows": 3}
    came = {"ts": NOON, "state": "failure", "message": "imported from runs.duckdb, where it was r7"}
    assert store.log(new[7]) == [*log, came]
    assert store.read_output(new[7], limit=1 << 30)[0] == b"all is well\n" * 100_000
    assert store.outputs(new[7])[0]["content_type"] == "text/plain"
    rerun, backfilled = store.run(new[8]), store.run(new[11])
    assert rerun is not None
    assert backfilled is not None
    assert rerun["rerun_of"] == new[7]
    assert backfilled["backfill_id"] == new[11]
    assert store.sql("SELECT source, source_run FROM imported ORDER BY run_id").to_pylist() == [
        {"source": "runs.duckdb", "source_run": name} for name in ("r7", "r8", "r11")
    ]


def test_an_imported_run_can_be_made_again(store: Store, other: Path) -> None:
    bring(store, other)
    new = by_old_id(store)
    original, rerun = store.original(new[7]), store.original(new[8])
    assert original is not None
    assert rerun is not None
    assert original.program == Process(command="make report")
    assert (original.run_id, original.labels, original.scheduled_at) == (new[7], ("daily",), NOON)
    assert rerun.rerun_of == new[7]
    finished = store.finished(new[7])
    assert finished is not None
    assert finished.state is State.FAILURE


def test_a_dry_run_tells_the_same_and_changes_nothing(store: Store, other: Path) -> None:
    would = bring(store, other, dry_run=True)
    assert store.runs() == []
    assert store.reserve_ids(1) == (1, 2)
    assert bring(store, other) == would


def test_doing_it_again_brings_only_what_is_new(store: Store, other: Path) -> None:
    bring(store, other)
    assert bring(store, other)["known"] == 3
    with Store.open(other, now=Clock()) as file:
        file.save(whole_life(a_run(20, origin=Origin.RERUN, rerun_of=7), after_s=50)).result(10)
    told = bring(store, other)
    assert (told["imported"], told["known"]) == (1, 3)
    assert len(store.runs()) == 4
    new = by_old_id(store)
    late = store.run(new[20])
    assert late is not None
    assert late["rerun_of"] == new[7]  # which came with an earlier import


def test_a_run_that_comes_by_two_ways_comes_once(store: Store, other: Path, tmp_path: Path) -> None:
    path = tmp_path / "between" / "runs.duckdb"
    with Store.open(path) as between:
        between.reserve_ids(100)
        bring(between, other)
    assert bring(store, path)["imported"] == 3
    assert bring(store, other)["known"] == 3
    assert len(store.runs()) == 3
    trail = store.sql("SELECT source_run FROM imported WHERE run_id = (SELECT min(run_id) FROM runs)")
    assert trail.to_pydict() == {"source_run": ["r7", "r101"]}
    told = [store.run(run["run_id"]) for run in store.runs()]
    places = [[place["run_id"] for place in facts["imported_from"]] for facts in told if facts is not None]
    assert ["r101", "r7"] in places


def test_a_backup_of_the_store_itself_brings_nothing(path: Path, tmp_path: Path) -> None:
    with Store.open(path) as store:
        store.save([*whole_life(a_run(1)), *whole_life(a_run(2))]).result(10)
    shutil.copyfile(path, tmp_path / "backup.duckdb")
    with Store.open(path) as store:
        told = bring(store, tmp_path / "backup.duckdb")
        assert (told["imported"], told["known"]) == (0, 2)


def test_many_runs_come_in_several_batches_beside_what_is_saved(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "many.duckdb"
    with Store.open(path) as file:
        for n in range(1, 1201):
            file.save(whole_life(a_run(n), after_s=n))
        file.save(()).result(60)
    seen = []
    with closing(open_source(path)) as source:
        for report in import_runs(store, source):
            seen.append(report.done)
            (run_id, _) = store.reserve_ids(1)
            store.save(whole_life(a_run(run_id, "live"))).result(10)
    assert seen == [*range(BATCH, 1200, BATCH), 1200]
    runs = 1200 + len(seen)
    assert store.rows("SELECT count(*), count(DISTINCT run_id) FROM base.runs", {}) == [(runs, runs)]


def test_outputs_that_are_gone_are_told_and_the_run_comes(store: Store, other: Path) -> None:
    shutil.rmtree(other.with_suffix(".outputs"))
    told = bring(store, other)
    assert told["imported"] == 3
    gone = {"what": "its output output cannot be read", "runs": 1, "first": "r7"}
    assert gone in told["problems"]
    assert store.outputs(by_old_id(store)[7]) == []


def test_what_is_imported_is_there_after_a_restart(path: Path, other: Path) -> None:
    with Store.open(path) as store:
        bring(store, other)
        runs = store.runs()
    with Store.open(path) as store:
        assert store.runs() == runs
        assert store.restore()[0] == []


def test_a_file_that_has_no_runs_says_so(tmp_path: Path, store: Store) -> None:
    with pytest.raises(NotFound, match="there is no file"):
        open_source(tmp_path / "none.duckdb")
    with duckdb.connect(str(tmp_path / "other.duckdb")) as connection:
        connection.execute("CREATE TABLE t (x INT)")
    with pytest.raises(StoreError, match="no run store"):
        open_source(tmp_path / "other.duckdb")
    with pytest.raises(StoreError, match="already open in this process"):
        open_source(store.path)


# -- Apsis


@pytest.fixture
def apsis(tmp_path: Path) -> Path:
    path = tmp_path / "apsis.db"
    with apsis_db(path) as db:
        db.add(1, output=b"short\n", late_s=75.0)
        db.add(
            2, "failure", log=["scheduled: now", "starting", "running", "failure: killed by SIGTERM"],
            status={"status": 15, "exit_code": None, "signum": 15, "signal": "SIGTERM"},
            output=b"a long story\n" * 10_000,
        )  # fmt: skip
        db.add(3, "skipped", log=["scheduled: now", "transitioning to skipped because r2 running"])
        db.add(5, "error", log=["scheduled as rerun of r2", "starting", "error: no connected agent"])
        db.add(6, "running")
        db.add(7, args={"date": "ä {{ x }}"}, program={"type": "no-op", "duration": "5"}, job_id="noop")
        db.add(8, program={"type": "apsis.program.procstar.aws.ecs_agent.BoundProcstarECSProgram", "x": 1})
        db.add(9, times="no JSON")
    return path


def test_runs_of_apsis_come_with_their_times_states_args_programs_and_outputs(
    store: Store, apsis: Path
) -> None:
    before = apsis.read_bytes()
    told = bring(store, apsis)
    assert apsis.read_bytes() == before
    assert (told["imported"], told["known"], told["of"]) == (6, 0, 8)
    assert {(p["what"], p["first"]) for p in told["problems"]} == {
        ("it had not finished (running)", "r6"),
        ("its program cannot be read (procstar-ecs)", "r8"),
        ("its row cannot be read (JSONDecodeError)", "r9"),
    }
    new = by_old_id(store)
    one = store.run(new[1])
    assert one is not None
    assert {name: one[name] for name in one if name not in ("run_id", *RUN_DETAILS)} == {
        "job_id": "team/report", "args": {"date": "2026-03-02"}, "origin": "schedule", "attempt": 1,
        "rerun_of": None, "backfill_id": None, "state": "success", "skip_reason": None, "labels": ["daily"],
        "nominal_at": DUE, "scheduled_at": DUE, "started_at": DUE + timedelta(seconds=75),
        "finished_at": DUE + timedelta(seconds=135), "stop_at": None, "late": True, "late_s": 75.0,
        "late_why": None, "elapsed_s": 60.0, "return_code": 0, "message": None, "host": "local", "by": None,
    }  # fmt: skip
    assert one["program"]["argv"] == ["/usr/bin/bash", "-c", "echo {{ hello }}"]
    assert store.read_output(new[1])[0] == b"short\n"
    assert [line["state"] for line in store.log(new[1])] == [
        "scheduled", "starting", "running", "success", "success"
    ]  # fmt: skip

    two = store.run(new[2])
    assert two is not None
    assert (two["state"], two["message"], two["return_code"]) == ("failure", "killed by SIGTERM", -15)
    assert (two["origin"], two["late_s"], two["nominal_at"]) == ("manual", None, None)
    assert store.read_output(new[2], limit=1 << 30)[0] == b"a long story\n" * 10_000

    three, five, seven = (store.run(new[n]) for n in (3, 5, 7))
    assert three is not None
    assert five is not None
    assert seven is not None
    assert three["skip_reason"] == "transitioning to skipped because r2 running"
    assert three["started_at"] is None
    assert (five["origin"], five["rerun_of"], five["message"]) == ("rerun", new[2], "no connected agent")
    assert (seven["args"], seven["program"]["type"]) == ({"date": "ä {{ x }}"}, "no-op")
    for old in (1, 2, 3, 5, 7, 8):
        original = store.original(new[old])
        assert original is not None
        assert not original.is_finished

    again = bring(store, apsis)
    assert (again["imported"], again["known"]) == (0, 6)


def test_a_run_of_apsis_that_was_marked_ended_when_its_program_did(store: Store, tmp_path: Path) -> None:
    with apsis_db(tmp_path / "apsis.db") as db:
        times = {
            "schedule": DUE, "running": DUE, "failure": DUE + timedelta(seconds=9),
            "success": DUE + timedelta(days=1),
        }  # fmt: skip
        told = "{" + ", ".join(f'"{name}": "{at.isoformat()}"' for name, at in times.items()) + "}"
        db.add(1, log=["starting", "running", "failure: exit code 1", "marked as success"], times=told)
    bring(store, tmp_path / "apsis.db")
    (run,) = store.runs()
    assert (run["state"], run["finished_at"]) == ("success", DUE + timedelta(seconds=9))


def test_an_output_that_cannot_be_unpacked_is_told(store: Store, tmp_path: Path) -> None:
    with apsis_db(tmp_path / "apsis.db") as db:
        db.add(1)
        db.add_output(1, b"garbage", "br")
        db.add(2, due=DUE + timedelta(hours=1))
        db.add_output(2, b"garbage", "zip")
    told = bring(store, tmp_path / "apsis.db")
    assert told["imported"] == 2
    assert told["problems"] == [{"what": "its output output cannot be read", "runs": 2, "first": "r1"}]


def test_an_sqlite_file_of_others_is_refused(store: Store, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "x.db")) as db:
        db.execute("CREATE TABLE runs (x INT)")
    with pytest.raises(StoreError, match="not the database of Apsis"):
        open_source(tmp_path / "x.db")
