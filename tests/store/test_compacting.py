"""A compacted store is the same and smaller, and whole whenever a crash comes."""

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from apsis_nb.store import Store, StoreError, compact
from apsis_nb.store.compacting import keep_if_whole
from apsis_nb.store.copying import counts, look_into
from tests.store.made import Clock, a_run, saved, whole_life
from tests.store.test_backups import KILLS, killed_at_random

RUNS = 2_000


@pytest.fixture
def full(path: Path) -> Path:
    """A store from which much was deleted, closed."""
    with Store.open(path, threads=1, now=Clock()) as store:
        store.save([save for n in range(1, RUNS + 1) for save in whole_life(a_run(n))]).result(10)
        store.save([saved(a_run(RUNS + 1), is_new=True)]).result(10)
        with store.bulk([]) as (cursor, _):
            cursor.execute("CREATE TABLE base.rubbish AS SELECT md5(i::VARCHAR) AS x FROM range(400000) t(i)")
            store.checkpoint()
            cursor.execute("DROP TABLE base.rubbish")
    return path


def is_the_same(path: Path) -> bool:
    with Store.open(path, create=False) as store:
        runs = store.runs(limit=RUNS * 2)
        live = [run.run_id for run in store.restore()[0]]
        return len(runs) == RUNS + 1 and live == [RUNS + 1] and len(store.log(RUNS)) == 2


def test_the_room_is_given_back_and_all_else_stays(full: Path) -> None:
    def all_of(store: Store) -> list[object]:
        finished = store.runs(state=["success"], limit=RUNS * 2)
        return [store.epoch, finished, [store.log(n) for n in (1, RUNS)], store.restore()]

    with Store.open(full) as store:
        before = all_of(store)
    size = full.stat().st_size

    done = compact(full)

    assert done.before_b == size
    assert done.after_b == full.stat().st_size
    assert done.freed_b > 4_000_000
    assert [path.name for path in full.parent.iterdir() if "compact" in path.name] == []
    assert full.stat().st_mode & 0o777 == 0o600
    with Store.open(full) as store:
        assert all_of(store) == before
        assert store.reserve_ids(1) == (RUNS + 2, RUNS + 3)


def test_what_is_in_the_journal_beside_the_file_is_in_the_new_one_too(path: Path, full: Path) -> None:
    script = (
        "import os, sys, signal; from pathlib import Path; from apsis_nb.store import Store\n"
        "from tests.store.made import a_run, whole_life\n"
        "store = Store.open(Path(sys.argv[1]))\n"
        f"store.save(whole_life(a_run({RUNS + 7}))).result(10)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(path)], check=False)
    assert path.with_name("runs.duckdb.wal").stat().st_size > 0
    compact(path)
    with Store.open(path) as store:
        assert store.run(RUNS + 7) is not None


def test_a_store_that_is_in_use_or_is_not_there_is_refused(store: Store, path: Path, tmp_path: Path) -> None:
    script = "import sys; from pathlib import Path; from apsis_nb.store import StoreError, compact\n"
    script += "try: compact(Path(sys.argv[1]))\nexcept StoreError as e: print(e)\n"
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == f"{path} is in use by process {os.getpid()}"
    with pytest.raises(StoreError, match="there is no run store"):
        compact(tmp_path / "none.duckdb")


@pytest.mark.parametrize("wrong", ["damaged", "a row short"])
def test_if_the_new_file_is_not_whole_the_old_one_comes_back(full: Path, wrong: str) -> None:
    old = full.with_name("old.duckdb")
    shutil.copy(full, old)
    with look_into(full) as connection:
        rows = counts(connection, "runs")
    if wrong == "damaged":
        data = bytearray(full.read_bytes())
        data[4096 : len(data) // 2] = os.urandom(len(data) // 2 - 4096)
        full.write_bytes(data)
    else:
        rows["runs"] += 1

    with pytest.raises(StoreError):
        keep_if_whole(full, old, rows)

    assert not old.exists()
    assert is_the_same(full)


AGAIN_AND_AGAIN = """
import sys
from pathlib import Path
from apsis_nb.store import compact
print("ready", flush=True)
while True:
    compact(Path(sys.argv[1]) / "runs.duckdb")
    print("again", flush=True)
"""


@pytest.mark.slow
def test_kill_9_leaves_a_whole_file(full: Path) -> None:
    chance = random.Random()
    for n in range(KILLS):
        killed_at_random(AGAIN_AND_AGAIN, full.parent, n, chance)
        with duckdb.connect(str(full), read_only=True) as connection:
            assert connection.execute("SELECT count(*) FROM base.runs").fetchall() == [(RUNS,)]
        assert is_the_same(full)
    compact(full)
    assert [path.name for path in full.parent.iterdir() if "compact" in path.name] == []
