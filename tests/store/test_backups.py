"""A backup is of one moment and whole, whatever is written meanwhile and whenever a crash comes."""

import json
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import duckdb
import pytest
from hypothesis import settings

from apsis_nb.core.retention import Keep, KeepRules
from apsis_nb.store import Backup, Store, StoreError, StoreFull, backups_in, files
from apsis_nb.store.backups import DATABASE, OUTPUTS, check_backup, read_backup
from tests.store.made import NOON, Clock, a_run, saved, whole_life
from tests.store.test_outputs import keep

SECOND = timedelta(seconds=1)
#: Of each kind; `make soak` makes 300.
KILLS = 300 if settings.get_current_profile_name() == "soak" else 5


def finish(store: Store, folder: Path, run_id: int, data: bytes = b"some words") -> None:
    """A run that has ended, and what it wrote."""
    rows = keep(store, run_id, {"output": data}, folder).result(10)
    store.save(whole_life(a_run(run_id)), {run_id: rows}).result(10)


@contextmanager
def opened(backup: Path, folder: Path) -> Iterator[Store]:
    """A copy of a backup as a store, so that the backup stays as it is."""
    shutil.copytree(backup, folder)
    with Store.open(folder / DATABASE, create=False) as store:
        yield store


def test_a_backup_has_the_runs_their_logs_and_their_outputs(store: Store, tmp_path: Path) -> None:
    for run_id in (1, 2):
        finish(store, tmp_path, run_id, b"words of %d" % run_id)
    store.save([saved(a_run(3), is_new=True)]).result(10)

    backup = store.backups.make(tmp_path / "kept", "jobs", NOON)
    finish(store, tmp_path, 4)

    assert backup.path == tmp_path / "kept/jobs-20260302T120000Z"
    assert backup.at == NOON
    facts = {"path": str(backup.path), "at": "2026-03-02T12:00:00Z", "runs": 2, "log_rows": 5}
    assert backup.facts() == facts | {"bytes": backup.bytes, "missing": []}
    assert backups_in(tmp_path / "kept") == [backup]
    assert [file.name for file in (tmp_path / "kept").iterdir()] == [backup.path.name]
    assert list((tmp_path / "spool").iterdir()) == []
    assert {oct(path.stat().st_mode & 0o077) for path in backup.path.rglob("*.*")} == {"0o0"}
    live = store.restore()[0]
    with opened(backup.path, tmp_path / "copy") as copy:
        assert [copy.read_output(run_id)[0] for run_id in (1, 2)] == [b"words of 1", b"words of 2"]
        assert [copy.run(run_id) for run_id in (1, 2)] == [store.run(run_id) for run_id in (1, 2)]
        assert [copy.log(run_id) for run_id in (1, 2, 3)] == [store.log(run_id) for run_id in (1, 2, 3)]
        assert copy.restore()[0] == live
        assert copy.run(4) is None


def test_a_backup_says_the_same_of_its_views_and_columns(store: Store, tmp_path: Path) -> None:
    told = "SELECT view_name, sql, comment FROM duckdb_views() WHERE schema_name = 'main' AND NOT internal"
    columns = "SELECT table_name, column_name, comment FROM duckdb_columns() WHERE schema_name = 'main'"
    backup = store.backups.make(tmp_path, "jobs", NOON)
    with duckdb.connect(str(backup.path / DATABASE), read_only=True) as copy:
        for query in (told, columns):
            own = store._readers.rows(f"{query} AND database_name = 'runs' ORDER BY ALL", {})
            assert copy.execute(f"{query} AND database_name = 'runs' ORDER BY ALL").fetchall() == own


def test_what_is_saved_while_it_is_copied_is_in_it_whole_or_not_at_all(store: Store, tmp_path: Path) -> None:
    stop, ids = threading.Event(), count(1)

    def write() -> None:
        while not stop.is_set():
            store.save([save for _ in range(20) for save in whole_life(a_run(next(ids)))]).result(10)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        backups = [store.backups.make(tmp_path, "jobs", NOON + n * SECOND) for n in range(5)]
    finally:
        stop.set()
        writer.join()
    runs = [backup.rows["runs"] for backup in backups]
    assert runs == sorted(runs)
    assert runs[0] < runs[-1], "nothing was written meanwhile"
    for backup in backups:
        assert backup.rows["run_log"] == 2 * backup.rows["runs"]
        assert backup.rows["runs"] % 20 == 0
        check_backup(backup)
    assert store.health()["ok"]


def test_packs_that_have_not_grown_are_links_and_the_others_are_copied(
    store: Store, path: Path, clock: Clock, tmp_path: Path
) -> None:
    finish(store, tmp_path, 1)
    clock.now = NOON + timedelta(days=1)
    finish(store, tmp_path, 2)
    first = store.backups.make(tmp_path / "kept", "jobs", NOON)
    finish(store, tmp_path, 3)
    second = store.backups.make(tmp_path / "kept", "jobs", NOON + SECOND)
    elsewhere = store.backups.make(tmp_path / "other", "jobs", NOON)

    def inode(backup: Backup, day: int) -> int:
        return (backup.path / OUTPUTS / f"2026-03-0{day}.pack").stat().st_ino

    assert inode(first, 2) == inode(second, 2)
    assert inode(first, 3) != inode(second, 3)
    assert inode(elsewhere, 2) != inode(first, 2)
    for backup, has_third in ((first, False), (second, True), (elsewhere, True)):
        check_backup(backup)
        with opened(backup.path, tmp_path / f"copy{inode(backup, 3)}") as copy:
            assert copy.read_output(1)[0] == copy.read_output(2)[0] == b"some words"
            assert bool(copy.outputs(3)) is has_third


def test_outputs_that_were_given_up_take_no_room_in_a_backup(store: Store, tmp_path: Path) -> None:
    for run_id in (1, 2, 3):
        finish(store, tmp_path, run_id, os.urandom(1 << 20))
    store.retention.carry_out(KeepRules(default=Keep(count=1), of_jobs={}), NOON)
    backup = store.backups.make(tmp_path / "kept", "jobs", NOON)
    (pack,) = (backup.path / OUTPUTS).iterdir()
    assert pack.stat().st_size > 3 << 20
    assert pack.stat().st_blocks * 512 < 2 << 20
    with opened(backup.path, tmp_path / "copy") as copy:
        assert copy.read_output(3) == store.read_output(3)


def test_only_the_newest_of_a_store_are_kept(store: Store, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    with Store.open(other / DATABASE) as another:
        others = another.backups.make(tmp_path / "kept", "other", NOON - SECOND)
    (tmp_path / "kept/notes").mkdir()
    made = [store.backups.make(tmp_path / "kept", "jobs", NOON + n * SECOND, keep=2) for n in range(4)]
    assert backups_in(tmp_path / "kept") == [made[3], made[2], others]
    names = {path.name for path in (tmp_path / "kept").iterdir()}
    assert names == {"notes", *(b.path.name for b in (made[3], made[2], others))}


def test_a_second_one_of_the_same_second_is_refused(store: Store, tmp_path: Path) -> None:
    backup = store.backups.make(tmp_path, "jobs", NOON)
    with pytest.raises(StoreError, match=r"there is a backup .* already"):
        store.backups.make(tmp_path, "jobs", NOON)
    check_backup(backup)


def test_where_it_cannot_be_made_the_reason_is_told_and_nothing_left(
    store: Store, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish(store, tmp_path, 1)
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"no backup was made: .*file"):
        store.backups.make(tmp_path / "file", "jobs", NOON)
    monkeypatch.setattr(files, "RESERVE_B", 1 << 60)
    with pytest.raises(StoreFull, match="MB free, and this needs"):
        store.backups.make(tmp_path / "kept", "jobs", NOON)
    assert list((tmp_path / "kept").iterdir()) == []
    assert store.health()["ok"]
    assert store.backups.progress is None


def test_a_pack_that_is_missing_is_told_and_all_else_is_kept(
    store: Store, path: Path, clock: Clock, tmp_path: Path
) -> None:
    for day in range(3):
        clock.now = NOON + timedelta(days=day)
        finish(store, tmp_path, 2 * day + 1, b"words of %d" % day)
        finish(store, tmp_path, 2 * day + 2, os.urandom(1000))
    before = store.backups.make(tmp_path / "kept", "jobs", NOON)
    gone, cut, _ = sorted(path.with_suffix(".outputs").iterdir())
    gone.unlink()
    cut.write_bytes(cut.read_bytes()[:-1])

    backup = store.backups.make(tmp_path / "other", "jobs", NOON)

    assert backup.missing == [f"{OUTPUTS}/{gone.name}", f"{OUTPUTS}/{cut.name}"]
    check_backup(backup)
    with opened(backup.path, tmp_path / "copy") as copy:
        assert len(copy.runs()) == 6
        assert [copy.read_output(run_id)[0] for run_id in (3, 5)] == [b"words of 1", b"words of 2"]
        for run_id in (1, 4):
            with pytest.raises(StoreError, match="output cannot be read from"):
                copy.read_output(run_id)
    # What the last backup has, the next one has too.
    again = store.backups.make(tmp_path / "kept", "jobs", NOON + SECOND)
    assert (again.missing, again.packs) == ([], before.packs)
    assert store.packs_lost() == [gone.name, cut.name]


def test_what_is_no_whole_backup_is_told_apart(store: Store, tmp_path: Path) -> None:
    finish(store, tmp_path, 1)
    with pytest.raises(StoreError, match="is no backup"):
        read_backup(tmp_path)
    backup = store.backups.make(tmp_path, "jobs", NOON)
    (pack,) = (backup.path / OUTPUTS).iterdir()
    pack.write_bytes(pack.read_bytes()[:-1])
    with pytest.raises(StoreError, match=r"is not whole: 2026-03-02.pack has"):
        check_backup(backup)
    with duckdb.connect(str(backup.path / DATABASE)) as connection:
        connection.execute("DELETE FROM base.run_log WHERE state = 'scheduled'")
    with pytest.raises(StoreError, match="is not whole: run_log has 1 rows, not 2"):
        check_backup(backup)
    (backup.path / DATABASE).write_bytes(b"nothing")
    with pytest.raises(StoreError, match="cannot be opened"):
        check_backup(backup)
    facts = json.loads((backup.path / "backup.json").read_text())
    (backup.path / "backup.json").write_text(json.dumps(facts | {"format": 99}))
    with pytest.raises(StoreError, match="later release"):
        read_backup(backup.path)


def test_a_store_that_is_closed_ends_the_backup_that_is_under_way(path: Path, tmp_path: Path) -> None:
    store, ended = Store.open(path), threading.Event()
    says: list[str] = []

    def back_up() -> None:
        for n in count():
            try:
                store.backups.make(tmp_path / "kept", "jobs", NOON + n * SECOND)
            except StoreError as error:
                says.append(str(error))
                break
        ended.set()

    threading.Thread(target=back_up, daemon=True).start()
    deadline = time.monotonic() + 30
    while store.backups.progress is None:
        assert time.monotonic() < deadline
    store.close()
    assert ended.wait(30)
    assert len(says) == 1
    for backup in backups_in(tmp_path / "kept"):
        check_backup(backup)
    assert not list((tmp_path / "kept").glob(".*"))


AT_WORK = """
import sys
from datetime import timedelta
from itertools import count
from pathlib import Path
from apsis_nb.store import Store
from tests.store.made import NOON, Clock, a_run, whole_life
from tests.store.test_backups import finish
folder = Path(sys.argv[1])
with Store.open(folder / "runs.duckdb", threads=1, now=Clock()) as store:
    began = NOON + timedelta(hours=int(sys.argv[2]))
    print("ready", flush=True)
    for n in count():
        for _ in range(3):
            finish(store, folder, store.reserve_ids(1)[0], b"word " * 1000)
        store.backups.make(folder / "kept", "jobs", began + timedelta(seconds=n), keep=5)
        print("again", flush=True)
"""


def killed_at_random(script: str, folder: Path, n: int, chance: random.Random) -> None:
    """Run a script with a folder and a number, and kill -9 it at any moment of its second round or its third.

    It says `ready` first, and `again` after each round.
    """
    # DuckDB takes a program without a file for somebody who types, and tells how far a slow query is.
    command = [sys.executable, "-c", f"__file__ = 'a script'\n{script}", str(folder), str(n)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        began = time.monotonic()
        assert child.stdout.readline() == "again\n"
        took_s = time.monotonic() - began
        time.sleep(chance.uniform(0, 1.5 * took_s))  # the random moment, not a wait for something
        assert child.poll() is None, "it ended by itself"
        child.kill()


@pytest.mark.slow
def test_kill_9_leaves_nothing_that_looks_like_a_backup_and_is_none(tmp_path: Path) -> None:
    chance, seen = random.Random(), 0
    for n in range(KILLS):
        killed_at_random(AT_WORK, tmp_path, n, chance)
        looks_like_one = {path for path in (tmp_path / "kept").glob("*") if not path.name.startswith(".")}
        found = backups_in(tmp_path / "kept")
        assert {backup.path for backup in found} == looks_like_one
        for backup in found:
            check_backup(backup)
        seen += len(found)
    assert seen > KILLS
    with Store.open(tmp_path / DATABASE) as store:
        store.backups.make(tmp_path / "kept", "jobs", datetime(2027, 1, 1, tzinfo=UTC), keep=1)
    (last,) = (tmp_path / "kept").iterdir()
    assert list((tmp_path / "spool").iterdir()) == []
    with opened(last, tmp_path / "copy") as copy:
        for facts in copy.runs(limit=10_000):
            assert copy.read_output(facts["run_id"])[0] == b"word " * 1000
