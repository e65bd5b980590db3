"""What is saved is there, in order, once; what fails, fails alone and says so."""

import itertools
import json
import logging
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apsis_nb.core.actions import ShellAction, When
from apsis_nb.core.instructions import FindRun, Notice, SaveClock, SaveMark, SaveNotice, SavePause
from apsis_nb.core.pauses import Pause
from apsis_nb.core.programs import Process
from apsis_nb.core.runs import Instance, Origin, Run
from apsis_nb.core.states import State
from apsis_nb.store import LogLine, MetaRow, Store, StoreError
from apsis_nb.store.opening import SCHEMA_VERSION, connect, migrate
from apsis_nb.store.rows import FACTS, facts_of_row
from tests.store.made import NOON, Clock, a_run, ended, saved, whole_life

# -- opening


def test_a_file_is_held_by_one_process_and_the_error_names_it(store: Store, path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from apsis_nb.store import Store, StoreError\n"
        "try: Store.open(Path(sys.argv[1]))\n"
        "except StoreError as e: print(e)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == f"{path} is in use by process {os.getpid()}"
    with pytest.raises(StoreError, match="already open in this process"):
        Store.open(path)


def test_a_closed_store_may_be_opened_again_and_is_the_same(path: Path) -> None:
    with Store.open(path) as store:
        epoch = store.epoch
    store.close()  # a second time does nothing
    with Store.open(path, create=False) as store:
        assert store.epoch == epoch
    assert path.stat().st_mode & 0o777 == 0o600
    with Store.open(path.with_name("other.duckdb")) as other:
        assert other.epoch != epoch


def test_what_is_no_run_store_is_refused_and_left_alone(path: Path) -> None:
    with pytest.raises(StoreError, match="there is no run store at"):
        Store.open(path, create=False)
    path.write_bytes(b"not a database " * 1000)
    with pytest.raises(StoreError, match="cannot be opened"):
        Store.open(path)
    assert path.read_bytes() == b"not a database " * 1000
    path.unlink()
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE t (x INT)")
    with pytest.raises(StoreError, match="is a DuckDB file, but no run store"):
        Store.open(path)


def test_a_file_of_a_later_release_is_refused(path: Path) -> None:
    Store.open(path).close()
    with duckdb.connect(str(path)) as connection:
        connection.execute("INSERT INTO base.meta VALUES ($1, 'x', $2)", [SCHEMA_VERSION + 1, NOON])
    with pytest.raises(StoreError, match=f"later release .schema {SCHEMA_VERSION + 1}"):
        Store.open(path)


def test_a_migration_goes_up_step_by_step_from_a_backup(path: Path) -> None:
    with Store.open(path) as store:
        epoch = store.epoch
        store.save(whole_life(a_run(1))).result(10)
    connection = connect(path, threads=1, memory_limit="1GB", create=False)
    now = SCHEMA_VERSION
    steps = [(now + n, f"CREATE TABLE base.t{n} (x INTEGER)") for n in (0, 1, 2)]
    migrate(connection, path, now, steps, NOON.replace(tzinfo=None))
    tables = {name for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
    assert {"t1", "t2"} <= tables
    assert "t0" not in tables
    versions = connection.execute("SELECT schema_version, epoch FROM base.meta").fetchall()
    assert versions == [(now, epoch), (now + 1, epoch), (now + 2, epoch)]
    connection.close()
    with Store.open(path.with_name(f"runs.schema-{now}.duckdb")) as backup:
        assert backup.epoch == epoch
        assert backup.run(1) is not None


def test_each_copy_from_before_a_migration_is_kept_and_told(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "apsis_nb.store")
    with Store.open(path) as store:
        store.save(whole_life(a_run(1))).result(10)
    path.with_name(".runs.schema-3.part").write_bytes(b"cut short")
    for _ in range(2):
        with duckdb.connect(str(path)) as connection:
            connection.execute(UNDONE[6])
            connection.execute(UNDONE[5])
            connection.execute(UNDONE[4])
            connection.execute("INSERT INTO base.meta SELECT 3, epoch, created_at FROM base.meta LIMIT 1")
        Store.open(path).close()
    copies = [path.with_name(name) for name in ("runs.schema-3.duckdb", "runs.schema-3.2.duckdb")]
    assert sorted(path.parent.glob("*.duckdb")) == sorted([path, *copies])
    assert not list(path.parent.glob(".*"))
    told = [record.getMessage() for record in caplog.records if "is kept as it was" in record.getMessage()]
    assert told == [f"{path} is kept as it was: {copy}" for copy in copies]
    for copy in copies:
        with duckdb.connect(str(copy), read_only=True) as connection:
            assert connection.execute("SELECT count(*) FROM base.runs").fetchall() == [(1,)]
            version = connection.execute("SELECT arg_max(schema_version, rowid) FROM base.meta").fetchall()
            assert version == [(3,)]


def test_without_room_for_a_copy_nothing_is_migrated(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Store.open(path).close()
    with duckdb.connect(str(path)) as connection:
        connection.execute("UPDATE base.meta SET schema_version = 3")
    monkeypatch.setattr("apsis_nb.store.files.RESERVE_B", 1 << 60)
    with pytest.raises(StoreError, match="MB free, and this needs"):
        Store.open(path)
    with duckdb.connect(str(path)) as connection:
        assert connection.execute("SELECT schema_version FROM base.meta").fetchall() == [(3,)]


# -- ids and the clock


def test_ids_are_never_given_twice(path: Path) -> None:
    given: list[int] = []
    for count in (3, 1, 100):
        with Store.open(path, threads=1) as store:
            given += range(*store.reserve_ids(count))
            given += range(*store.reserve_ids(1))
    assert given == list(range(1, 108))


def test_threads_that_reserve_ids_at_once_get_different_ones(store: Store) -> None:
    given: list[int] = []
    threads = [threading.Thread(target=lambda: given.extend(range(*store.reserve_ids(5)))) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(given) == list(range(1, 101))


def test_ids_of_saved_runs_are_taken_even_if_nobody_reserved_them(path: Path) -> None:
    with Store.open(path) as store:
        store.save([saved(a_run(41), is_new=True)]).result(10)
    with Store.open(path) as store:
        assert store.reserve_ids(1) == (42, 43)


def test_the_clock_is_that_of_the_last_save(path: Path) -> None:
    with Store.open(path) as store:
        assert store.restore() == ([], None)
        for n in range(5):
            store.save([SaveClock(cause="test", at=NOON + timedelta(seconds=n))])
    with Store.open(path) as store:
        assert store.restore() == ([], NOON + timedelta(seconds=4))
        assert store._readers.rows("SELECT count(*) FROM base.clock", {}) == [(1,)]


# -- saving


def test_saves_are_done_in_order_whoever_waits(store: Store) -> None:
    done: list[int] = []
    last: Future[None] | None = None
    for n in range(1, 300):
        last = store.save([saved(a_run(n), is_new=True)])
        last.add_done_callback(lambda _, n=n: done.append(n))  # type: ignore[misc]
    assert last is not None
    last.result(10)
    store.save(()).result(10)
    assert done == list(range(1, 300))
    assert store.health()["commits"] < 150  # what is queued goes together
    order = store._readers.rows("SELECT run_id FROM base.run_log ORDER BY rowid", {})
    assert [run_id for (run_id,) in order] == done


def test_a_save_that_is_queued_cannot_be_cancelled(store: Store) -> None:
    futures = [store.save([saved(a_run(n), is_new=True)]) for n in range(1, 50)]
    assert not any(future.cancel() for future in futures)
    futures[-1].result(10)
    assert len(store.restore()[0]) == 49


#: No run id: one more than a BIGINT can be.
TOO_LARGE = 2**63


def test_a_save_on_a_bad_value_fails_alone(store: Store) -> None:
    """It is the writer's group that fails first, then only the one."""
    good, bad, later = (
        store.save([saved(a_run(n), message, is_new=True)])
        for n, message in ((1, "a"), (TOO_LARGE, "b"), (3, "c"))
    )
    with pytest.raises(StoreError, match="cannot be saved"):
        bad.result(10)
    assert good.result(10) is None
    assert later.result(10) is None
    assert store.health()["ok"]
    assert [run.run_id for run in store.restore()[0]] == [1, 3]
    assert [row["message"] for n in (1, 3) for row in store.log(n)] == ["a", "c"]


def test_what_was_to_be_saved_together_is_saved_together_or_not_at_all(store: Store) -> None:
    with pytest.raises(StoreError):
        store.save([*whole_life(a_run(1)), saved(a_run(TOO_LARGE), is_new=True)]).result(10)
    assert store.run(1) is None
    assert store.runs() == []
    assert store.log(1) == []


DISK_FULL = """
import resource, signal, sys
from pathlib import Path
from apsis_nb.store import Store, StoreError
from tests.store.made import Clock, a_run, saved
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = Store.open(Path(sys.argv[1]), threads=1, now=Clock())
store.save([saved(a_run(1), is_new=True)]).result(10)
resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))  # no file may grow beyond
acked = 1
for n in range(2, 10_000):
    try:
        store.save([saved(a_run(n), "x" * 500, is_new=True)]).result(10)
    except StoreError as e:
        error = str(e)
        break
    acked = n
for late in (store.save(()), store.save([saved(a_run(10_001), is_new=True)])):
    try: late.result(10)
    except StoreError as e: assert str(e) == error, e
    else: raise SystemExit("a broken store saved")
assert not store.health()["ok"] and store.health()["error"], store.health()
print(acked, error, flush=True)
import os; os._exit(0)
"""


def test_a_full_disk_breaks_the_store_and_loses_nothing_that_was_promised(path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", DISK_FULL, str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    acked, error = done.stdout.split(maxsplit=1)
    assert "the run store cannot be written any more" in error
    assert int(acked) > 5
    with Store.open(path) as store:
        saved_ids = [run.run_id for run in store.restore()[0]]
        assert saved_ids[: int(acked)] == list(range(1, int(acked) + 1))
        assert len(saved_ids) <= int(acked) + 1  # one may be on disk without a word
        assert store.health()["ok"]


# -- reading


def test_a_run_is_told_the_same_by_memory_by_the_view_and_when_it_is_finished(
    store: Store, clock: Clock
) -> None:
    run = a_run(
        7,
        labels=("a", 'b"'),
        by="ann",
        stop_at=NOON + timedelta(hours=1),
        rerun_of=3,
        program=Process(command="ls"),
    )
    life = [run, run.moved(State.WAITING, NOON), run.moved(State.STARTING, NOON + timedelta(seconds=70))]
    life.append(life[-1].moved(State.RUNNING, NOON + timedelta(seconds=71), late_why="limit"))
    life.append(life[-1].moved(State.STOPPING, NOON + timedelta(seconds=80), message="stopped by ann"))
    life.append(life[-1].moved(State.FAILURE, NOON + timedelta(seconds=90), return_code=-15, elapsed_s=19.0))
    for step in life:
        clock.now = step.state_at
        store.save([saved(step, step.message, is_new=step is run)]).result(10)
        facts = store.run(7)
        assert facts is not None
        assert facts.pop("program") == {"type": "shell", "command": "ls"}
        assert (facts.pop("meta"), facts.pop("imported_from")) == (None, [])
        columns = ", ".join(f'"{name}"' for name in FACTS)
        (row,) = store._readers.rows(f"SELECT {columns} FROM runs", {})
        told = facts_of_row(row)
        if not step.is_finished and step.started_at is None:  # SQL has its own clock
            told |= {"late": facts["late"], "late_s": facts["late_s"]}
        assert told == facts
        assert store.runs()[0]["state"] == facts["state"] == step.state.value
    assert [(row["ts"], row["state"]) for row in store.log(7)] == [(s.state_at, s.state.value) for s in life]
    assert store.original(7) == run
    assert (facts["late"], facts["late_s"], facts["late_why"]) == (True, 71.0, "limit")


def test_what_a_program_used_is_saved_with_its_end(store: Store) -> None:
    used = MetaRow(
        cpu_s=1.5,
        max_rss_b=2**40,
        read_b=0,
        write_b=512,
        detail={"signal": "SIGKILL", "signals_sent": ["SIGTERM", "SIGKILL"]},
        meta={"rows": [1, None, "\udc80"]},
    )
    store.save([saved(a_run(7), is_new=True), saved(a_run(8), is_new=True)]).result(10)
    store.save([saved(ended(a_run(n))) for n in (7, 8)], meta={7: used, 8: MetaRow(cpu_s=0.0)}).result(10)
    told = store.run(7)["meta"]  # type: ignore[index]
    assert told == {**asdict(used), "meta": {"rows": [1, None, "?"]}}
    assert store.run(8)["meta"] == dict.fromkeys(told) | {"cpu_s": 0.0}  # type: ignore[index]


def test_a_save_that_fails_keeps_nothing_of_what_a_program_used(store: Store) -> None:
    used = MetaRow(cpu_s=1.0, max_rss_b=2**70)
    store.save([saved(a_run(7), is_new=True)]).result(10)
    with pytest.raises(StoreError, match="cannot be saved"):
        store.save([saved(ended(a_run(7)))], meta={7: used}).result(10)
    assert store.run(7)["state"] == "scheduled"  # type: ignore[index]


def test_who_is_not_there_is_none(store: Store) -> None:
    assert store.run(5) is None
    assert store.original(5) is None
    assert store.log(5) == []
    assert store.outputs(5) == []


def test_a_dependency_finds_the_newest_run_that_satisfies_it(store: Store) -> None:
    day = Instance.of("team/report", {"date": "2026-03-02"})
    ids = itertools.count(1)
    for state in (State.SUCCESS, State.SUCCESS, State.FAILURE, State.SKIPPED):
        store.save(whole_life(a_run(next(ids)), state))
    store.save(whole_life(a_run(next(ids), origin=Origin.TEST)))
    store.save(whole_life(a_run(next(ids), args={"date": "2026-03-03"})))
    store.save(
        whole_life(a_run(next(ids), "other"), State.ERROR)
    )  # not waited for: it must be seen none the less

    def wish(inst: Instance, *states: State, exist: frozenset[State] = frozenset()) -> FindRun:
        return FindRun(cause="test", run_id=99, inst=inst, states=frozenset(states), exist=exist)

    found = store.find_runs([
        wish(day, State.SUCCESS),
        wish(day, State.SUCCESS, State.FAILURE),
        wish(day, State.ERROR),
        wish(Instance.of("team/report", {}), State.SUCCESS),
        wish(Instance.of("team/report", {"date": "2026-03-03"}), State.SUCCESS),
        wish(Instance.of("other", {"date": "2026-03-02"}), State.ERROR),
        wish(day, State.ERROR, exist=frozenset({State.FAILURE})),
        wish(Instance.of("other", {"date": "2026-03-02"}), State.SUCCESS, exist=frozenset({State.FAILURE})),
    ])  # fmt: skip
    assert [newest for newest, _ in found] == [2, 3, None, None, 6, 7, None, None]
    assert [exists for _, exists in found] == [False] * 6 + [True, False]
    assert store.find_runs([]) == []


def test_a_live_run_that_has_not_finished_by_its_time_is_late(store: Store) -> None:
    patient = {"late_start_s": 1e9}
    runs = [
        a_run(1, **patient, late_finish_at=NOON + timedelta(minutes=5)),
        a_run(2, **patient, late_finish_at=NOON.replace(year=2126)),
        a_run(3, **patient),
    ]
    store.save([saved(run, is_new=True) for run in runs]).result(10)
    rows = store._readers.rows("SELECT run_id, late FROM live_runs ORDER BY run_id", {})
    assert rows == [(1, True), (2, False), (3, False)]


def test_the_jobs_whose_last_run_ended_badly_are_known(store: Store) -> None:
    for n, (job_id, state, origin) in enumerate(
        [
            ("well", State.FAILURE, Origin.SCHEDULE),
            ("well", State.SUCCESS, Origin.SCHEDULE),
            ("bad", State.SUCCESS, Origin.SCHEDULE),
            ("bad", State.ERROR, Origin.MANUAL),
            ("bad", State.SKIPPED, Origin.SCHEDULE),
            ("bad", State.SUCCESS, Origin.TEST),
            ("other", State.FAILURE, Origin.SCHEDULE),
        ],
        1,
    ):
        at = NOON + timedelta(minutes=n)
        store.save(whole_life(a_run(n, job_id, scheduled_at=at, state_at=at, origin=origin), state))
    store.save(()).result(10)
    assert store.bad_jobs(["well", "bad", "unknown"]) == {"bad"}
    assert store.bad_jobs() == {"bad", "other"}
    assert store.bad_jobs([]) == frozenset()


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(["begin", "end", "begin"]), max_size=40))
def test_the_view_of_live_runs_holds_those_and_no_others(store: Store, moves: list[str]) -> None:
    live = {run.run_id: run for run in store.restore()[0]}
    for move in moves:
        if move == "begin":
            run = a_run(store.reserve_ids(1)[0])
            live[run.run_id] = run
            store.save([saved(run, is_new=True)])
        elif live:
            store.save([saved(ended(live.pop(next(iter(live)))))])
    store.save(()).result(10)
    assert sorted(store._readers.rows("SELECT run_id FROM live_runs", {})) == [(n,) for n in sorted(live)]
    doubled = store._readers.rows("SELECT run_id FROM runs GROUP BY run_id HAVING count(*) > 1", {})
    assert doubled == []


def test_readers_see_a_consistent_picture_while_runs_come_and_go(store: Store) -> None:
    """Each run is live or finished, never both and never neither, whenever one looks."""
    first, stop = store.reserve_ids(400)
    for n in range(first, stop):
        store.save([saved(a_run(n), is_new=True)])
    store.save(()).result(10)
    futures = [store.save([saved(ended(a_run(n)))]) for n in range(first, stop)]
    seen = []
    while not futures[-1].done() or not seen:
        seen.append(store._readers.rows("SELECT count(*), count(DISTINCT run_id) FROM runs", {})[0])
    assert set(seen) == {(400, 400)}


def test_a_live_run_that_cannot_be_rebuilt_comes_back_so_that_it_can_be_ended(path: Path) -> None:
    with Store.open(path) as store:
        store.save([saved(a_run(1, program=Process(command="ls")), is_new=True)])
        store.save([saved(a_run(2), is_new=True)]).result(10)
        with store.bulk([]) as (cursor, _):
            cursor.execute("INSERT INTO base.run_log VALUES (3, '2026-01-01', 'running', NULL, 'no JSON')")
            cursor.execute(
                "INSERT INTO base.run_log SELECT 4, ts, state, message,"
                " replace(data, '\"program_id\": 1', '\"program_id\": 99') FROM base.run_log WHERE run_id = 1"
            )
    with Store.open(path) as store:
        assert [run.run_id for run in store.restore()[0]] == [1, 2, 4]
        assert [run_id for run_id, _ in store.damaged] == [3, 4]
        held = store.restore()[0][2]
        assert held.program.to_dict() == {"type": "no-op", "duration": 0.0, "success": False}
        assert json.dumps([c.to_dict() for c in held.conditions]) == '[{"type": "const", "value": false}]'
        assert len(store.health()["damaged"]) == 2


# -- checkpoints


def test_a_checkpoint_empties_the_journal_beside_the_file_and_keeps_all(path: Path) -> None:
    with Store.open(path, threads=1) as store:
        store.save([save for n in range(1, 2000) for save in whole_life(a_run(n))]).result(10)
        assert store.wal_bytes() > 0
        store.checkpoint()
        assert store.wal_bytes() == 0
        assert store.health()["ok"]
    with Store.open(path) as store:
        assert store._readers.rows("SELECT count(*) FROM runs", {}) == [(1999,)]


def test_recovery_looks_at_no_more_than_it_must(path: Path) -> None:
    margin = 100_000
    with Store.open(path, threads=1) as store:
        store.reserve_ids(3 * margin)
        store.save([saved(a_run(2 * margin), is_new=True)]).result(10)
        store.checkpoint()
    with Store.open(path) as store:
        assert store._floor == margin
        assert [run.run_id for run in store.restore()[0]] == [2 * margin]
        store.save([saved(ended(a_run(2 * margin)))]).result(10)
        store.checkpoint()
    with Store.open(path) as store:
        assert store._floor == 2 * margin + 1
        assert store.restore()[0] == []


def test_a_checkpoint_gets_past_a_reader(store: Store) -> None:
    store.save([save for n in range(1, 500) for save in whole_life(a_run(n))]).result(10)
    with store._readers.cursor() as cursor:
        cursor.begin()
        assert cursor.execute("SELECT count(*) FROM runs").fetchall() == [(499,)]
        store.save(whole_life(a_run(500))).result(10)
        store.checkpoint()
        assert cursor.execute("SELECT count(*) FROM runs").fetchall() == [(499,)]
        cursor.rollback()
    assert store.wal_bytes() == 0


def test_a_checkpoint_that_cannot_be_done_now_is_done_later(store: Store) -> None:
    store.save([save for n in range(1, 500) for save in whole_life(a_run(n))]).result(10)
    with store.bulk([]) as (cursor, _):
        cursor.begin()
        cursor.execute("UPDATE base.ids SET next_id = next_id")  # what the store itself never does
        cursor.execute("CREATE TABLE base.in_the_way (x INTEGER)")
        with pytest.raises(StoreError, match="the checkpoint failed"):
            store.checkpoint()
        store.save(whole_life(a_run(500))).result(10)  # nobody else is kept waiting
        cursor.rollback()
    store.checkpoint()
    assert store.wal_bytes() == 0
    assert store.health()["ok"]


def test_checkpoints_are_made_in_the_background(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apsis_nb.store.store.CHECKPOINT_INTERVAL_S", 0.02)
    with Store.open(path, threads=1, now=Clock()) as store:
        size, ids, deadline = 0, itertools.count(1), time.monotonic() + 20
        while store.wal_bytes() >= size:
            size = store.wal_bytes()
            store.save([save for _ in range(300) for save in whole_life(a_run(next(ids)))]).result(10)
            assert time.monotonic() < deadline
        assert size > 0


def test_rows_that_come_from_elsewhere_are_refused_in_words(store: Store) -> None:
    with pytest.raises(StoreError, match="does not exist"), store.bulk([]) as (cursor, _):
        cursor.execute("INSERT INTO base.nothing VALUES (1)")
    with pytest.raises(StoreError, match="does not exist"):
        store._readers.rows("SELECT * FROM base.nothing", {})


# -- a crash

KILLS = 300 if settings.get_current_profile_name() == "soak" else 6

WRITER = """
__file__ = "a script"  # else DuckDB takes it for somebody who types, and tells how far a slow query is
import sys
from pathlib import Path
from apsis_nb.core.states import State
from apsis_nb.store import Store
from tests.store.made import Clock, a_run, ended, saved
store = Store.open(Path(sys.argv[1]), threads=1, now=Clock())
known = {run.run_id: run for run in store.restore()[0]}
for run in known.values():
    store.save([saved(ended(run))])
while True:
    first, stop = store.reserve_ids(20)
    print("ids", first, stop, flush=True)
    for n in range(first, stop):
        store.save([saved(a_run(n), is_new=True), saved(a_run(n), "one more", is_transition=False)])
    made = store.save([])
    made.result(10)
    print("made", first, stop, flush=True)
    for n in range(first, stop - 5):
        last = store.save([saved(ended(a_run(n)))])
    if first % 3 == 0:
        store.checkpoint()
    last.result(10)
    print("ended", first, stop - 5, flush=True)
"""


def _killed_after(count: int, command: list[str]) -> list[str]:
    """All lines that a child wrote; it is killed when it has written so many."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        watch = threading.Timer(30, child.kill)
        watch.start()
        lines = list(itertools.islice(child.stdout, count))
        child.kill()
        lines += child.stdout
        watch.cancel()
    assert len(lines) >= count, "the child died by itself, or was too slow"
    return lines


@pytest.mark.slow
def test_kill_9_loses_nothing_that_was_promised_and_leaves_no_half(path: Path) -> None:
    made: set[int] = set()
    finished: set[int] = set()
    reserved: list[tuple[int, int]] = []
    for kill in range(KILLS):
        lines = _killed_after(5 + 17 * (kill % 6), [sys.executable, "-c", WRITER, str(path)])
        for what, first, stop in (line.split() for line in lines if line.endswith("\n")):
            ids = range(int(first), int(stop))
            if what == "ids":
                reserved.append((int(first), int(stop)))
            else:
                (made if what == "made" else finished).update(ids)
        with Store.open(path, threads=1) as store:
            kept = {run["run_id"]: run["state"] for run in store.runs(limit=1_000_000)}
            live = {run.run_id for run in store.restore()[0]}
            assert made <= kept.keys()
            assert finished.isdisjoint(live)
            assert {n for n, state in kept.items() if state != "success"} == live
            halves = (
                "SELECT run_id FROM base.run_log WHERE state = 'scheduled' GROUP BY 1 HAVING count(*) <> 2"
            )
            assert store._readers.rows(halves, {}) == []
            ends = "SELECT run_id FROM base.run_log WHERE state = 'success'"
            assert sorted(store._readers.rows(ends, {})) == [(n,) for n in sorted(kept.keys() - live)]
            assert store.damaged == []
            finished |= kept.keys() - live
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(reserved))
    assert len(made) > 60


# -- versions of job files


def test_each_text_of_a_job_file_is_a_version(store: Store) -> None:
    assert store.keep_versions({"a": "program: x\n", "b": "program: y\n"}) == ["a", "b"]
    assert store.keep_versions({"a": "program: x\n", "b": "program: y\n"}) == []
    assert store.keep_versions({"a": "program: z\n", "b": "program: y\n"}, by="ann") == ["a"]
    assert store.keep_versions({"a": "program: z\n"}) == ["b"]
    assert store.keep_versions({"a": "program: z\n", "b": "program: y\n"}) == ["b"]
    told = [(v["version"], v["by"], v["yaml"]) for v in store.job_versions("a")]
    assert told == [(1, None, "program: x\n"), (2, "ann", "program: z\n")]
    assert [v["yaml"] for v in store.job_versions("b")] == ["program: y\n", None, "program: y\n"]
    assert store.job_versions("c") == []
    table = store.sql("SELECT job_id, version, changed_by, yaml FROM jobs ORDER BY job_id").to_pylist()
    assert table == [
        {"job_id": "a", "version": 2, "changed_by": "ann", "yaml": "program: z\n"},
        {"job_id": "b", "version": 3, "changed_by": None, "yaml": "program: y\n"},
    ]


#: What makes a file of the schema of before of one of a version.
UNDONE = {
    6: "DROP VIEW runs_all; DROP VIEW run_log_all; DROP VIEW run_meta_all; DROP VIEW outputs_all;"
    "DROP TABLE base.archived",
    5: "DROP VIEW imported; DROP TABLE base.imported",
    4: "CREATE OR REPLACE VIEW outputs AS SELECT 1 AS run_id; DROP TABLE base.dropped",
    3: "CREATE OR REPLACE VIEW live_runs AS SELECT 1 AS run_id;"
    "DROP VIEW run_meta; DROP VIEW pauses; DROP VIEW notices;"
    "DROP TABLE base.run_meta; DROP TABLE base.pauses; DROP TABLE base.notices",
    2: "DROP VIEW jobs; DROP VIEW job_versions; DROP TABLE base.job_versions",
}


@pytest.mark.parametrize("old", sorted(version - 1 for version in UNDONE))
def test_a_file_of_an_older_schema_becomes_one_of_this(path: Path, old: int) -> None:
    with Store.open(path) as store:
        store.save(whole_life(a_run(1))).result(10)
    tables = "SELECT view_name, sql FROM duckdb_views() WHERE schema_name = 'main' AND NOT internal"
    tables += " UNION SELECT table_name, NULL FROM duckdb_tables() ORDER BY ALL"
    with duckdb.connect(str(path)) as connection:
        whole = connection.execute(tables).fetchall()
        for version in sorted(UNDONE, reverse=True):
            if version > old:
                connection.execute(UNDONE[version])
        connection.execute("UPDATE base.meta SET schema_version = $1", [old])
        assert connection.execute(tables).fetchall() != whole
    with Store.open(path) as store:
        assert store.run(1) is not None
        assert store.keep_versions({"a": "program: x\n"}) == ["a"]
    with duckdb.connect(str(path)) as connection:
        assert connection.execute(tables).fetchall() == whole
        (comment,) = connection.execute(
            "SELECT comment FROM duckdb_views() WHERE view_name = 'jobs'"
        ).fetchall()[0]
    assert comment.startswith("The jobs whose files")
    assert path.with_name(f"runs.schema-{old}.duckdb").exists()


# -- marks, pauses, backfills


def test_a_mark_gives_a_run_another_end_and_a_line_in_its_log(path: Path) -> None:
    with Store.open(path) as store:
        store.save(whole_life(a_run(1), State.FAILURE)).result(10)
        store.save(whole_life(a_run(2))).result(10)
        run = replace(ended(a_run(1), State.FAILURE), state=State.SUCCESS, message="marked as success")
        mark = SaveMark(cause="test", run=run, message="marked as success", at=NOON + timedelta(hours=1))
        store.save([mark]).result(10)
        counts = store.sql("SELECT state, count(*) AS n FROM runs GROUP BY ALL").to_pylist()
        assert counts == [{"state": "success", "n": 2}]
        assert store.log(1)[-1]["message"] == "marked as success"
        store.checkpoint()
    with Store.open(path) as store:
        facts = store.run(1)
        assert facts is not None
        assert (facts["state"], facts["message"]) == ("success", "marked as success")
        assert store.restore()[0] == [], "a marked run is not live"


def test_pauses_hold_until_somebody_ends_them(path: Path) -> None:
    team = Pause(scope="path", target="team", at=NOON, until=NOON + timedelta(hours=1), reason="x", by="ann")
    everything = Pause(scope="all", at=NOON)

    def word(pause: Pause, is_paused: bool) -> SavePause:
        return SavePause(cause="test", pause=pause, is_paused=is_paused, at=NOON, by=pause.by)

    with Store.open(path) as store:
        assert store.pauses() == []
        store.save([word(team, True), word(everything, True), word(everything, False)]).result(10)
    with Store.open(path) as store:
        assert store.pauses() == [team]
        rows = store.sql("SELECT scope, paused FROM pauses").to_pylist()
        assert rows == [
            {"scope": "path", "paused": True},
            {"scope": "all", "paused": True},
            {"scope": "all", "paused": False},
        ]


def test_failures_in_a_row_of_a_live_backfill_are_counted(store: Store) -> None:
    for run_id, state in enumerate((State.FAILURE, State.SUCCESS, State.FAILURE, State.ERROR), start=1):
        store.save(whole_life(a_run(run_id, backfill_id=1), state)).result(10)
    assert store.backfill_failures() == {}, "nothing of it is live"
    store.save([saved(a_run(5, backfill_id=1), is_new=True)]).result(10)
    assert store.backfill_failures() == {1: 2}


# -- notices


def a_notice(run: Run, n: int, text: str | None = "exit code 3") -> SaveNotice:
    action = ShellAction(command="logger bad", when=When.of(State.FAILURE))
    return SaveNotice(cause="test", notice=Notice(run=run, n=n, event="failure", text=text, action=action))


def test_a_notice_is_pending_until_it_arrives_or_is_given_up(path: Path) -> None:
    run = ended(a_run(1), State.FAILURE)
    with Store.open(path) as store:
        store.save([saved(a_run(1), is_new=True), saved(run), *(a_notice(run, n) for n in (1, 2, 3, 4))])
        store.save(()).result(10)
        rows = store.pending_notices()
        assert [(row.n, row.tries) for row in rows] == [(1, 0), (2, 0), (3, 0), (4, 0)]
        assert json.loads(rows[0].action)["command"] == "logger bad"
        one, two, three, _ = rows
        store.keep_notices(
            [
                replace(one, state="sent", tries=1),
                replace(two, state="failed", tries=1, message="no answer"),
                replace(two, state="failed", tries=2, message="no answer"),
                replace(three, state="given up", tries=5),
            ]
        ).result(10)
    with Store.open(path) as store:
        left = store.pending_notices()
        assert [(row.n, row.tries) for row in left] == [(2, 2), (4, 0)]
        assert {row.message for row in left} == {"exit code 3"}  # what it tells, not what went wrong
        (last,) = store.sql("SELECT state, tries, message FROM notices WHERE n = 3 AND tries > 0").to_pylist()
        assert last == {"state": "given up", "tries": 5, "message": "exit code 3"}


def test_a_line_that_comes_later_moves_no_run(path: Path) -> None:
    line = LogLine(run_id=1, state="failure", message="told")
    run = a_run(1).moved(State.STARTING, NOON)
    with Store.open(path) as store:
        store.save([saved(a_run(1), is_new=True), saved(run)])
        store.keep_notices([], [replace(line, state="waiting")]).result(10)
        assert [row["state"] for row in store.log(1)] == ["scheduled", "starting", "starting"]
    with Store.open(path) as store:
        assert store.restore()[0] == [run]
        done = run.moved(State.RUNNING, NOON).moved(State.FAILURE, NOON)
        store.save([saved(done)])
        store.keep_notices([], [line]).result(10)
        assert [row["message"] for row in store.log(1)][-1] == "told"
        assert store.run(1)["state"] == "failure"  # type: ignore[index]
    with Store.open(path) as store:
        assert store.restore()[0] == []
