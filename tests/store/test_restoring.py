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
from apsis_nb.store import Store, StoreError, restorable, restore
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
    store.save([]).result(10)  # all of them are in the file
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


def test_what_was_there_is_kept_aside_and_can_be_put_back(state: Path, backup: Path, tmp_path: Path) -> None:
    with Store.open(state / DATABASE, create=False) as store:
        epoch = store.epoch
    aside = restore(backup, state, LATER)
    assert aside == state / "replaced-20260302T130000Z"
    assert (run_ids(aside), run_ids(state)) == ([99], [1])
    again = restore(backup, state, LATER)
    assert again == state / "replaced-20260302T130000Z.2"
    asides = {one.path: one.runs for one in restorable(state)}
    assert asides == {aside: 1, again: 1}
    with pytest.raises(StoreError, match="it can only be put back there"):
        restore(aside, tmp_path / "elsewhere", LATER)

    third = restore(aside, state, LATER)

    assert third is not None
    assert (run_ids(third), run_ids(state)) == ([1], [99])
    assert [one.path for one in restorable(state)].count(aside) == 0
    assert not aside.exists()
    with Store.open(state / DATABASE, create=False) as store:
        assert store.epoch == epoch, "it is the one that it was: its runs go on"
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
from tests.store.test_restoring import LATER, first_store
folder, at = Path(sys.argv[1]), LATER + timedelta(seconds=int(sys.argv[2]))
print("ready", flush=True)
while True:
    restore(folder / "backup", folder / "state", at)
    restore(first_store(folder / "state"), folder / "state", at)
    print("again", flush=True)
"""


def first_store(state: Path) -> Path:
    """The folder that has the store which was there first; `state` itself, if it is in its place."""
    holders = [folder for folder in (*state.glob("replaced-*"), state) if has_store(folder) == [99]]
    assert len({(folder / DATABASE).stat().st_ino for folder in holders}) == 1, "it is lost, or there twice"
    return holders[-1]


def has_store(folder: Path) -> list[int] | None:
    """The finished runs of the store in a folder; None: there is none that can be opened."""
    with suppress(duckdb.Error):  # a folder of a restore that was cut short may have none
        return run_ids(folder) if (folder / DATABASE).exists() else None
    return None


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
            first = first_store(state)
            restore(first if first != state and chance.random() < 0.5 else tmp_path / "backup", state, LATER)
        Store.open(state / DATABASE, create=False).close()
        first = first_store(state)
        for folder in (state, *state.glob("replaced-*")):
            assert has_store(folder) in ([99], [1], None)
            if folder not in (first, state):  # the next rounds need not look at them again
                shutil.rmtree(folder)
