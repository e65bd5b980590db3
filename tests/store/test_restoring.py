"""A backup takes the place of a store whole, the old store stays aside, and no program starts twice."""

import random
import re
import shutil
import subprocess
import sys
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import duckdb
import pytest

from apsis_nb.core.states import State
from apsis_nb.store import Store, StoreError, restore
from apsis_nb.store.backups import DATABASE, OUTPUTS
from tests.store.made import NOON, a_run, saved
from tests.store.test_backups import KILLS, finish, killed_at_random

LATER = NOON + timedelta(hours=1)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """The folder of a server that has a store, with a run that no backup has."""
    folder = tmp_path / "state"
    with Store.open(folder / DATABASE) as store:
        finish(store, tmp_path, 99)
    return folder


@pytest.fixture
def backup(store: Store, tmp_path: Path) -> Path:
    """A backup with a finished run, and live ones in each state."""
    finish(store, tmp_path, 1)
    for run_id, states in enumerate(
        [(), (State.WAITING,), (State.STARTING,), (State.STARTING, State.RUNNING)], start=2
    ):
        run = a_run(run_id)
        store.save([saved(run, is_new=True)])
        for to in states:
            run = run.moved(to, NOON)
            store.save([saved(run)])
    return store.backups.make(tmp_path / "kept", "jobs", NOON).path


def run_ids(folder: Path) -> list[int]:
    """The finished runs of a store that nobody has open."""
    with duckdb.connect(str(folder / DATABASE)) as connection:
        return [run_id for (run_id,) in connection.execute("SELECT run_id FROM base.runs").fetchall()]


def test_a_restored_store_is_another_with_the_same_history(
    store: Store, backup: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "new/state"
    assert restore(backup, folder, LATER) is None
    with Store.open(folder / DATABASE, create=False) as restored:
        assert restored.epoch != store.epoch
        assert restored.run(1) == store.run(1)
        assert restored.log(1) == store.log(1)
        assert restored.read_output(1) == store.read_output(1)
        assert restored.restore() == store.restore()
        claimed = [path.name for path in (folder / "runs" / restored.epoch).iterdir()]
    assert claimed == ["r4"], "only what was about to start must not start again"
    assert {p.name for p in folder.iterdir()} == {DATABASE, OUTPUTS, "runs"}
    assert restore(backup, folder, LATER) == folder / "replaced-20260302T130000Z"
    with Store.open(folder / DATABASE, create=False) as again:
        assert again.epoch not in (restored.epoch, store.epoch)


def test_what_was_there_is_kept_aside_and_can_be_put_back(state: Path, backup: Path) -> None:
    aside = restore(backup, state, LATER)
    assert aside == state / "replaced-20260302T130000Z"
    assert (run_ids(aside), run_ids(state)) == ([99], [1])
    again = restore(backup, state, LATER)
    assert again == state / "replaced-20260302T130000Z.2"
    for name in (DATABASE, OUTPUTS):
        (state / name).rename(again / f"{name}.gone")
        (aside / name).rename(state / name)
    with Store.open(state / DATABASE, create=False) as store:
        assert store.read_output(99)[0] == b"some words"


def test_a_store_that_is_in_use_is_left_alone(state: Path, backup: Path) -> None:
    script = "import sys, duckdb; c = duckdb.connect(sys.argv[1]); print('up', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", script, str(state / DATABASE)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "up\n"
        with pytest.raises(StoreError, match="is in use: stop its server first"):
            restore(backup, state, LATER)
        child.communicate()
    assert run_ids(state) == [99]
    assert sorted(p.name for p in state.iterdir()) == [DATABASE, OUTPUTS]


def test_a_store_that_cannot_be_opened_is_replaced_too(state: Path, backup: Path) -> None:
    (state / DATABASE).write_bytes(b"rubbish")
    aside = restore(backup, state, LATER)
    assert aside is not None
    assert (aside / DATABASE).read_bytes() == b"rubbish"
    assert run_ids(state) == [1]


def test_a_backup_that_is_not_whole_changes_nothing(state: Path, backup: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is no backup"):
        restore(tmp_path, state, LATER)
    facts = (backup / "backup.json").read_text()
    (backup / "backup.json").write_text(re.sub('"schema_version": [0-9]+', '"schema_version": 99', facts))
    with pytest.raises(StoreError, match=r"later release \(schema 99"):
        restore(backup, state, LATER)
    (backup / "backup.json").write_text(facts.replace('"runs": 1', '"runs": 7'))
    with pytest.raises(StoreError, match="is not whole: runs has 1 rows, not 7"):
        restore(backup, state, LATER)
    assert run_ids(state) == [99]
    assert sorted(p.name for p in state.iterdir()) == [DATABASE, OUTPUTS]


AGAIN_AND_AGAIN = """
import sys
from datetime import timedelta
from pathlib import Path
from apsis_nb.store import restore
from tests.store.test_restoring import LATER
folder = Path(sys.argv[1])
print("ready", flush=True)
while True:
    restore(folder / "backup", folder / "state", LATER + timedelta(seconds=int(sys.argv[2])))
    print("again", flush=True)
"""


@pytest.mark.slow
def test_kill_9_leaves_the_old_store_the_new_one_or_one_that_says_what_to_do(
    state: Path, backup: Path, tmp_path: Path
) -> None:
    backup.rename(tmp_path / "backup")
    chance = random.Random()
    for n in range(KILLS):
        killed_at_random(AGAIN_AND_AGAIN, tmp_path, n, chance)
        if (state / "runs.restoring").exists():
            with pytest.raises(StoreError, match="was cut short: run `apsis-nb restore` again"):
                Store.open(state / DATABASE)
            restore(tmp_path / "backup", state, LATER)
        Store.open(state / DATABASE, create=False).close()
        replaced, kept = list(state.glob("replaced-*")), []
        for folder in (state, *replaced):
            with suppress(duckdb.Error):  # one that was cut short may have none
                if (folder / DATABASE).exists():
                    kept.append(run_ids(folder))
        assert kept.count([99]) == 1
        assert kept.count([1]) == len(kept) - 1
        for folder in replaced:  # the next rounds need not look at them again
            with suppress(duckdb.Error):
                if (folder / DATABASE).exists() and run_ids(folder) == [1]:
                    shutil.rmtree(folder)
