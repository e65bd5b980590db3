"""What is archived is found as before, each run is in one place at each moment, and a crash loses none."""

import json
import random
import shutil
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apsis_nb.core.errors import NotFound
from apsis_nb.core.instructions import FindRun, SaveMark
from apsis_nb.core.retention import Keep, KeepRules
from apsis_nb.core.runs import Instance
from apsis_nb.core.states import State
from apsis_nb.store import (
    ArchiveFiles,
    QueryError,
    Store,
    StoreError,
    StoreFile,
    StoreFull,
    compact,
    files,
    import_runs,
    open_source,
    restore,
)
from apsis_nb.store.archive import FACTS, TABLES, file_of
from apsis_nb.store.backups import check_backup
from apsis_nb.store.queries import queries
from tests.soak.archive import kill_again_and_again
from tests.store.archived import FIRST, JOBS, OLD, RUNS, answers, make_history, rows
from tests.store.made import NOON, Clock, a_run, ended, lives, saved, whole_life, with_ids
from tests.store.test_importing import bring
from tests.store.test_outputs import keep
from tests.store.test_queries import VALUES

#: As rows have them.
JANUARY, FEBRUARY = (datetime.fromisoformat(f"2026-0{n}-01") for n in (1, 2))


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state folder of a store with some months, closed."""
    folder = tmp_path_factory.mktemp("history")
    with Store.open(folder / "runs.duckdb", threads=1, now=Clock()) as store:
        make_history(store, folder)
    return folder


@pytest.fixture
def full(history: Path, path: Path, clock: Clock) -> Iterator[Store]:
    """The same, of one's own and open."""
    shutil.copytree(history, path.parent, dirs_exist_ok=True)
    with Store.open(path, threads=1, now=clock) as store:
        yield store


def move(store: Store, older_than: timedelta = OLD, now: datetime = NOON) -> list[str]:
    return [month.folder for month in store.archiver.carry_out(older_than, now)]


def due(month: int, day: int = 5, **facts: Any) -> dict[str, Any]:
    """The facts of a run that was due in a month of 2025."""
    at = datetime(2025, month, day, tzinfo=UTC)
    return {"scheduled_at": at, "nominal_at": at, "state_at": at, **facts}


def test_every_question_has_the_same_answer_before_and_after(full: Store, path: Path) -> None:
    before = list(answers(full, all_windows=True))
    held = rows(full)

    assert move(full) == ["2025-12", "2026-01"]

    left = full._readers.rows("SELECT min(scheduled_at) FROM base.runs", {})
    assert left == [(min(r[11] for r in held["runs"] if r[11] >= FEBRUARY),)]
    for (asked, told), (_, tells) in zip(before, answers(full, all_windows=True), strict=True):
        assert tells == told, asked
    full.close()
    with Store.open(path, threads=1, now=Clock()) as store:
        assert list(answers(store, all_windows=True)) == before
        store.archiver.put_back("2025-12")
        store.archiver.put_back("2026-01")
        assert rows(store) == held
        assert list((path.parent / "archive").iterdir()) == []


@settings(max_examples=5, deadline=None)
@given(st.lists(lives(), min_size=1, max_size=3))
def test_what_goes_into_the_archive_comes_back_as_it_was(made: list[list[Any]]) -> None:
    ids = count(1)
    with (
        TemporaryDirectory() as name,
        Store.open(Path(name) / "runs.duckdb", threads=1, now=Clock()) as store,
    ):
        for life in with_ids(made, lambda: next(ids)):
            store.save(life).result(10)
        held = rows(store)
        runs = {run_id: (store.run(run_id), store.log(run_id)) for run_id in range(1, len(made) + 1)}
        moved = store.archiver.carry_out(timedelta(0), datetime(2070, 1, 1, tzinfo=UTC))
        assert {run_id: (store.run(run_id), store.log(run_id)) for run_id in runs} == runs
        for month in {month.month for month in moved}:
            store.archiver.put_back(month)
        assert rows(store) == held


def test_where_the_window_ends_before_the_archive_no_file_of_it_is_opened(full: Store) -> None:
    move(full)
    for folder in (full.archive.root / "2025-12", full.archive.root / "2026-01"):
        for file in folder.glob("*.parquet"):
            file.write_bytes(b"nobody reads this")
    since = datetime(2026, 2, 2, tzinfo=UTC)
    assert full.arrow("runs", since=since).num_rows > 60
    assert len(full.runs(limit=60)) == 60
    last = full.runs(limit=1)[0]["run_id"]
    assert full.run(last) is not None
    assert full.log(last)
    with pytest.raises(StoreError, match="parquet"):
        full.arrow("runs", since=FIRST)


def test_pages_go_on_into_the_archive(full: Store) -> None:
    everything = [facts["run_id"] for facts in full.runs(limit=10_000)]
    move(full)
    told: list[dict[str, Any]] = []
    while page := full.runs(
        limit=71, before=(told[-1]["scheduled_at"], told[-1]["run_id"]) if told else None
    ):
        told += page
    assert [facts["run_id"] for facts in told] == everything


def test_a_month_whose_runs_have_not_all_finished_or_sent_stays(store: Store) -> None:
    store.save(whole_life(a_run(1, **due(3)))).result(10)
    store.save(whole_life(a_run(2, **due(4)))).result(10)
    live = a_run(3, **due(4))
    store.save([saved(live, is_new=True)]).result(10)
    store.save(whole_life(a_run(4, **due(5)))).result(10)
    with store.bulk([]) as (cursor, _):
        cursor.execute(
            "INSERT INTO base.notices VALUES (4, 1, '2025-05-06', 'failure', '{}', 'pending', 0, 'x')"
        )

    plan = store.archiver.plan(OLD, NOON)

    assert [(old.month, old.runs, old.why_not) for old in plan] == [
        ("2025-03", 1, None),
        ("2025-04", 1, "a run of it has not finished"),
        ("2025-05", 1, "a run of it still has something to send"),
    ]
    assert move(store) == ["2025-03"]
    store.save([saved(ended(live))]).result(10)
    assert move(store) == ["2025-04"]
    assert [run["run_id"] for run in store.runs()] == [4, 3, 2, 1]


def test_only_whole_months_that_ended_longer_ago_go(store: Store) -> None:
    for n, month in enumerate((9, 10, 11), 1):
        store.save(whole_life(a_run(n, **due(month, day=1)))).result(10)
    november = datetime(2025, 11, 30, tzinfo=UTC)
    assert [old.month for old in store.archiver.plan(timedelta(0), november)] == ["2025-09", "2025-10"]
    assert [old.month for old in store.archiver.plan(timedelta(days=29), november)] == ["2025-09", "2025-10"]
    assert [old.month for old in store.archiver.plan(timedelta(days=31), november)] == ["2025-09"]


def test_runs_of_a_month_that_come_later_go_into_a_folder_of_their_own(store: Store) -> None:
    store.save(whole_life(a_run(1, **due(3)))).result(10)
    assert move(store) == ["2025-03"]
    store.save(whole_life(a_run(2, **due(3)))).result(10)
    assert move(store) == ["2025-03.2"]
    assert move(store) == []
    assert [run["run_id"] for run in store.runs()] == [2, 1]
    assert [month.month for month in store.archiver.put_back("2025-03")] == ["2025-03", "2025-03"]
    assert [run["run_id"] for run in store.runs()] == [2, 1]
    assert move(store) == ["2025-03"]  # under a name that another folder had
    assert [run["run_id"] for run in store.runs()] == [2, 1]
    with pytest.raises(NotFound, match="the archive has no 2024-01; it has 2025-03"):
        store.archiver.put_back("2024-01")


def test_a_dependency_finds_a_run_of_any_age(full: Store) -> None:
    def wish(job_id: str, n: str, *states: State) -> FindRun:
        inst = Instance.of(job_id, {"n": n, "odd": '"å"'})
        return FindRun(cause="test", run_id=1, inst=inst, states=frozenset(states), exist=frozenset(states))

    wishes = [wish(job, n, state) for job in JOBS for n in "0123" for state in (State.SUCCESS, State.ERROR)]
    before = full.find_runs(wishes)
    assert sum(found is not None for found, _ in before) > 10
    bad = full.bad_jobs()
    with full.bulk([]) as (cursor, _):
        cursor.execute("DELETE FROM base.runs WHERE scheduled_at >= '2026-02-01'")
    old = full.find_runs(wishes)
    move(full)
    assert full.find_runs(wishes) == old
    assert bad
    assert full.original(1) is not None
    assert full.archived_in(1) == "2025-12"
    assert full.archived_in(RUNS + 1) is None


def test_backfills_are_told_as_before(full: Store) -> None:
    before = full.backfills(), full.backfill_missing(7), full.nominal_successes("a", FIRST, NOON)
    move(full)
    assert (full.backfills(), full.backfill_missing(7), full.nominal_successes("a", FIRST, NOON)) == before


def test_lately_may_reach_into_the_archive(full: Store) -> None:
    def told() -> list[object]:
        since = datetime(2026, 1, 20, tzinfo=UTC)
        return [
            full.jobs_that_ran(since),
            full.ends_lately(since),
            full.lateness_lately(since),
            full.missed_lately(since),
        ]

    before = told()
    move(full)
    assert told() == before


def test_clients_ask_the_archive_by_its_views_and_read_no_files(full: Store) -> None:
    query = "SELECT count(*) AS n FROM "
    move(full)
    assert full.sql(query + "runs_all").to_pylist() == [{"n": RUNS}]
    assert full.sql(query + "main.runs_all").to_pylist() == [{"n": RUNS}]
    assert full.sql(query + "runs").to_pylist()[0]["n"] < RUNS
    file = file_of(full.archive.root / "2025-12", "runs")
    with pytest.raises(QueryError, match="read_parquet is not allowed"):
        full.sql(f"SELECT * FROM read_parquet('{file}')")
    full.archiver.put_back("2025-12")
    full.archiver.put_back("2026-01")
    assert full.sql(query + "runs_all").to_pylist() == [{"n": RUNS}]


def test_while_months_move_no_answer_lacks_a_run_or_has_one_twice(full: Store) -> None:
    stop, wrong = threading.Event(), []

    def ask() -> None:
        while not stop.is_set():
            told = [
                full.arrow("counts", since=FIRST, until=NOON, unit="year").column("runs").to_pylist(),
                full.sql("SELECT count(*), count(DISTINCT run_id) FROM runs_all").to_pylist(),
                len(full.runs(limit=10_000)),
                full.run(5) is not None,
                len(full.log(5)),
            ]
            if told != first:
                wrong.append(told)

    first = [
        full.arrow("counts", since=FIRST, until=NOON, unit="year").column("runs").to_pylist(),
        full.sql("SELECT count(*), count(DISTINCT run_id) FROM runs_all").to_pylist(),
        len(full.runs(limit=10_000)),
        full.run(5) is not None,
        len(full.log(5)),
    ]
    askers = [threading.Thread(target=ask) for _ in range(2)]
    for asker in askers:
        asker.start()
    try:
        for _ in range(6):
            assert move(full) == ["2025-12", "2026-01"]
            full.archiver.put_back("2026-01")
            full.archiver.put_back("2025-12")
    finally:
        stop.set()
        for asker in askers:
            asker.join()
    assert wrong == []


def test_what_a_crash_left_goes_the_next_time_if_the_database_has_it_all(full: Store, tmp_path: Path) -> None:
    move(full)
    root = full.archive.root
    shutil.copytree(root / "2025-12", tmp_path / "kept")
    full.archiver.put_back("2025-12")
    shutil.copytree(tmp_path / "kept", root / "2025-12")  # as if the crash came before it was removed
    (root / ".new-2025-11").mkdir()
    (root / ".old-2025-10").mkdir()
    assert full.archiver.strays() == []
    assert move(full) == ["2025-12"]
    assert sorted(path.name for path in root.iterdir()) == ["2025-12", "2026-01"]

    shutil.copytree(tmp_path / "kept", root / "2025-12.9")
    assert full.archiver.strays() == ["2025-12.9"]
    assert move(full) == []
    assert (root / "2025-12.9").exists()


def test_a_folder_of_another_store_is_never_taken_for_ones_own(store: Store, tmp_path: Path) -> None:
    """Both have given the same ids, but to other runs."""
    store.save(whole_life(a_run(1, **due(3)))).result(10)
    (tmp_path / "other").mkdir()
    with Store.open(tmp_path / "other/runs.duckdb", threads=1) as other:
        other.save(whole_life(a_run(1, "another", **due(3)))).result(10)
        move(other)
    shutil.copytree(tmp_path / "other/archive", tmp_path / "archive")
    assert store.archiver.strays() == ["2025-03"]
    assert move(store) == ["2025-03.2"]
    assert store.archiver.strays() == ["2025-03"]
    assert (store.run(1) or {})["job_id"] == "team/report"


def test_a_month_that_is_not_there_is_left_out_and_named(full: Store, path: Path, tmp_path: Path) -> None:
    move(full)
    full.close()
    (path.parent / "archive/2025-12").rename(tmp_path / "elsewhere")
    with Store.open(path, threads=1, now=Clock()) as store:
        assert store.archive.lost == ["2025-12"]
        assert 0 < store.arrow("runs", since=FIRST).num_rows < RUNS
        assert store.sql("SELECT count(*) AS n FROM runs_all").to_pylist()[0]["n"] < RUNS
        with pytest.raises(StoreError, match="2025-12 is not there: put it back"):
            store.archiver.put_back("2025-12")
        check_backup(store.backups.make(tmp_path / "kept", "jobs", NOON))
    (tmp_path / "elsewhere").rename(path.parent / "archive/2025-12")
    with Store.open(path, threads=1, now=Clock()) as store:
        assert store.arrow("runs", since=FIRST).num_rows == RUNS


def test_a_month_that_is_not_whole_is_not_put_back(full: Store) -> None:
    move(full)
    file = file_of(full.archive.root / "2025-12", "run_log")
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    said = f"2025-12 is not whole: run_log.parquet has {len(whole) - 1} bytes, not {len(whole)}"
    with pytest.raises(StoreError, match=said):
        full.archiver.put_back("2025-12")
    file.write_bytes(whole)
    assert len(full.archiver.put_back("2025-12")) == 1
    assert full.health()["ok"]


def test_a_mark_that_comes_meanwhile_is_in_the_archive_or_is_nowhere(full: Store) -> None:
    """Before its month is moved it is moved too, be it that the month is written once more."""
    marked: list[int] = []

    def mark() -> None:
        for run_id in count(1):
            run = full.finished(run_id)
            if run is None or full.archived_in(run_id) is not None:
                break
            to = State.FAILURE if run.state is State.ERROR else State.ERROR
            run = replace(run, state=to, message="marked")
            full.save([SaveMark(cause="test", run=run, at=NOON, message="marked")]).result(10)
            marked.append(run_id)

    marker = threading.Thread(target=mark)
    marker.start()
    while not marked:
        assert marker.is_alive()
    with suppress(StoreError):  # they change again and again
        move(full)
    marker.join()
    move(full)
    told = {run_id: "marked" in [line["message"] for line in full.log(run_id)] for run_id in marked}
    assert told == {run_id: (full.run(run_id) or {})["message"] == "marked" for run_id in marked}
    assert all(told[run_id] for run_id in marked[:-1])


def test_the_state_folder_may_move(full: Store, path: Path, tmp_path: Path) -> None:
    before = list(answers(full))
    move(full)
    full.close()
    moved = tmp_path / "moved"
    moved.mkdir()
    for name in ("runs.duckdb", "runs.outputs", "archive"):
        (path.parent / name).rename(moved / name)
    with Store.open(moved / "runs.duckdb", threads=1, now=Clock()) as store:
        assert list(answers(store)) == before
    compact(moved / "runs.duckdb")
    with StoreFile(moved / "runs.duckdb", now=Clock()) as file:
        assert list(answers(file)) == before


def test_an_archive_opens_by_itself(full: Store, tmp_path: Path) -> None:
    until = datetime(2026, 2, 1, tzinfo=UTC)
    before = full.arrow("runs", since=FIRST, until=until).to_pylist()
    sql = full.sql("SELECT job_id, count(*) AS n FROM runs GROUP BY ALL ORDER BY ALL")
    facts = {n: (full.run(n), full.log(n), full.outputs(n), full.dropped(n)) for n in (1, 7, 28)}
    move(full)
    full.close()
    with ArchiveFiles(full.archive.root, now=Clock()) as file:
        assert file.arrow("runs", since=FIRST, until=until).to_pylist() == before
        assert {n: (file.run(n), file.log(n), file.outputs(n), file.dropped(n)) for n in facts} == facts
        assert file.read_output(1)[0] == b"words of 0"
        told = file.sql("SELECT job_id, count(*) AS n FROM runs GROUP BY ALL ORDER BY ALL")
        assert told.schema == sql.schema
        assert sum(told.column("n").to_pylist()) == len(before)
        assert file.sql("SELECT count(*) AS n FROM runs_all").to_pylist() == [{"n": len(before)}]
        assert file.sql("SELECT count(*) AS n FROM live_runs").to_pylist() == [{"n": 0}]
    with ArchiveFiles(full.archive.root / "2026-01", now=Clock()) as file:
        january = [run for run in before if run["scheduled_at"] >= JANUARY]
        assert file.arrow("runs", since=FIRST).to_pylist() == january
    with pytest.raises(StoreError, match="there is no month of an archive in"):
        ArchiveFiles(tmp_path / "runs.outputs")
    (facts_file := full.archive.root / "2026-01" / FACTS).write_text(
        json.dumps(json.loads(facts_file.read_text()) | {"schema_version": 99})
    )
    with pytest.raises(StoreError, match="was written by a later release"):
        ArchiveFiles(full.archive.root)


def test_the_files_are_for_anything_that_reads_parquet(full: Store) -> None:
    move(full)
    facts = json.loads((full.archive.root / "2025-12" / FACTS).read_text())
    assert (facts["month"], facts["first_run"], facts["epoch"]) == ("2025-12", "r1", full.epoch)
    for table in TABLES:
        file = file_of(full.archive.root / "2025-12", table)
        assert duckdb.execute("SELECT count(*) FROM read_parquet($1)", [str(file)]).fetchall() == [
            (facts["rows"][table],)
        ]
        assert facts["rows"][table] > 0, table
        assert file.stat().st_mode & 0o077 == 0


def test_a_backup_has_the_archive_and_a_restored_store_too(full: Store, path: Path, tmp_path: Path) -> None:
    before = list(answers(full))
    move(full)
    backup = full.backups.make(tmp_path / "kept", "jobs", NOON)
    assert backup.runs == RUNS
    file = Path("archive/2025-12/runs.parquet")
    assert (backup.path / file).stat().st_ino == (path.parent / file).stat().st_ino
    full.archiver.put_back("2025-12")
    assert restore(backup.path, tmp_path / "fresh", NOON) is None
    assert (tmp_path / "fresh" / file).stat().st_ino != (backup.path / file).stat().st_ino
    with Store.open(tmp_path / "fresh/runs.duckdb", threads=1, now=Clock()) as fresh:
        assert list(answers(fresh)) == before
    full.close()
    with StoreFile(backup.path / "runs.duckdb", now=Clock()) as file_itself:
        assert list(answers(file_itself)) == before
    aside = restore(backup.path, path.parent, NOON)
    assert aside is not None
    assert sorted(folder.name for folder in (aside / "archive").iterdir()) == ["2026-01"]
    with Store.open(path, threads=1, now=Clock()) as store:
        assert list(answers(store)) == before
    (backup.path / file).unlink()
    with pytest.raises(StoreError, match=r"is not whole: runs\.parquet has 0 bytes"):
        check_backup(backup)


def test_outputs_of_archived_runs_are_given_up_like_others(full: Store) -> None:
    kept = [facts["run_id"] for facts in full.runs(limit=10_000) if full.outputs(facts["run_id"])]
    move(full)
    rules = KeepRules(default=Keep(count=3), of_jobs={})
    (amount,) = full.retention.plan(rules, NOON)  # only one of the jobs has outputs
    assert amount.runs == len(kept) - 3
    full.retention.carry_out(rules, NOON)
    assert [n for n in kept if full.outputs(n)] == kept[:3]
    dropped = full.dropped(kept[-1])
    assert dropped is not None
    assert dropped["reason"] == "not among the newest 3 of its job"
    assert full.log(kept[-1])[-1]["message"].startswith("its outputs were dropped: ")
    full.archiver.put_back("2025-12")
    assert full.dropped(kept[-1]) == dropped
    assert full.retention.plan(rules, NOON) == []


def test_a_pack_that_a_lost_month_may_need_stays(
    store: Store, path: Path, clock: Clock, tmp_path: Path
) -> None:
    clock.now = datetime(2025, 3, 5, tzinfo=UTC)
    for n in (1, 2):
        packed = keep(store, n, {"output": b"words"}, tmp_path).result(10)
        store.save(whole_life(a_run(n, **due(3 + n))), {n: packed}).result(10)
    clock.now = NOON
    assert move(store, now=datetime(2025, 6, 1, tzinfo=UTC)) == ["2025-04"]
    store.close()
    (path.parent / "archive/2025-04").rename(tmp_path / "elsewhere")
    with Store.open(path, threads=1, now=clock) as again:
        again.retention.carry_out(KeepRules(default=Keep(age_s=1), of_jobs={}), NOON)
        assert again.dropped(2) is not None
    (tmp_path / "elsewhere").rename(path.parent / "archive/2025-04")
    with Store.open(path, threads=1, now=clock) as again:
        assert again.read_output(1)[0] == b"words"


def test_an_import_knows_and_brings_archived_runs(full: Store, tmp_path: Path) -> None:
    move(full)
    backup = full.backups.make(tmp_path / "kept", "jobs", NOON)
    report = bring(full, backup.path)
    assert (report["imported"], report["known"]) == (0, RUNS)
    (tmp_path / "new").mkdir()
    with Store.open(tmp_path / "new/runs.duckdb", threads=1, now=Clock()) as new:
        source = open_source(backup.path)
        try:
            *_, last = import_runs(new, source)
        finally:
            source.close()
        assert last.facts()["imported"] == RUNS
        assert new.runs(limit=10_000)[-1]["scheduled_at"] == FIRST


def test_ids_are_not_given_again_after_a_restart(path: Path) -> None:
    with Store.open(path, threads=1) as store:
        store.save(whole_life(a_run(41, **due(3)))).result(10)
        move(store)
    with Store.open(path, threads=1) as store:
        assert store.reserve_ids(1) == (42, 43)


def test_where_it_cannot_be_written_nothing_is_moved(
    full: Store, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = rows(full)
    (path.parent / "archive").write_text("no folder")
    with pytest.raises(StoreError, match=r"2025-12 was not archived, and stays in the database: .*archive"):
        move(full)
    (path.parent / "archive").unlink()
    with monkeypatch.context() as patched:
        patched.setattr(files, "RESERVE_B", 1 << 60)
        with pytest.raises(StoreFull, match="MB free, and this needs"):
            move(full)
    assert rows(full) == held
    assert full.archiver.progress is None
    assert full.health()["ok"]
    assert move(full) == ["2025-12", "2026-01"]


def test_a_store_that_is_closed_ends_the_move_that_is_under_way(full: Store, path: Path) -> None:
    ended_, says = threading.Event(), []

    def there_and_back() -> None:
        try:
            while True:
                move(full)
                for month in ("2025-12", "2026-01"):
                    full.archiver.put_back(month)
        except (StoreError, NotFound) as error:
            says.append(str(error))
        ended_.set()

    threading.Thread(target=there_and_back, daemon=True).start()
    while full.archiver.progress is None:
        assert not ended_.is_set(), says
    full.close()
    assert ended_.wait(30)
    with Store.open(path, threads=1, now=Clock()) as store:
        assert [run["run_id"] for run in store.runs(limit=10_000)] == list(range(RUNS, 0, -1))


def test_every_block_can_be_asked_of_the_archive_too(full: Store) -> None:
    move(full)
    for query in queries().values():
        if not query.name.startswith(("mark_", "add_")):
            full.rows(query.text, {name: VALUES[name] for name in query.params})


@pytest.mark.slow
def test_kill_9_loses_no_run_and_has_none_twice(tmp_path: Path) -> None:
    faults, told = kill_again_and_again(tmp_path, kills=6, seed=random.randrange(1 << 30))
    assert faults == [], told
