"""kill -9 of who archives and restores months, again and again: no run is lost, none is twice."""

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

from apsis_nb.store import Store, StoreError
from tests.store.archived import RUNS, answers, make_history
from tests.store.made import Clock
from tests.store.test_backups import killed_at_random

KILLS = 300

AT_WORK = """
import random, sys
from pathlib import Path
from apsis_nb.store import Store
from tests.store.archived import OLD
from tests.store.made import NOON, Clock
chance = random.Random(int(sys.argv[2]))
with Store.open(Path(sys.argv[1]) / "runs.duckdb", threads=1, now=Clock()) as store:
    print("ready", flush=True)
    while True:
        store.archiver.carry_out(OLD, NOON)
        for month in [m.folder for m in store.archive.named]:
            if chance.random() < 0.7:
                store.archiver.put_back(month)
        print("again", flush=True)
"""


def kill_again_and_again(folder: Path, kills: int, seed: int) -> tuple[list[str], str]:
    """Make a history, and kill who moves its months so often; look at it after each kill.

    Args:
        folder: an empty one.
        kills: how many.
        seed: of the moments.

    Returns:
        What is wrong, empty if all is well; and a line that tells what was done.
    """
    chance, path, faults = random.Random(seed), folder / "runs.duckdb", []
    with Store.open(path, threads=1, now=Clock()) as store:
        make_history(store, folder)
        before = list(answers(store))
        log = store.sql("SELECT * FROM run_log_all ORDER BY ALL")
    began, moved, left = time.monotonic(), 0, 0
    for n in range(kills):
        killed_at_random(AT_WORK, folder, chance.randrange(1 << 30), chance)
        try:
            with Store.open(path, threads=1, now=Clock()) as store:
                moved += len(store.archive.named)
                left += len(list(store.archive.root.glob("*"))) - len(store.archive.named)
                ids = store.sql("SELECT run_id FROM runs_all ORDER BY ALL").column("run_id").to_pylist()
                if ids != list(range(1, RUNS + 1)):
                    faults.append(f"kill {n}: {len(ids)} runs, {len(set(ids))} of them different")
                if store.sql("SELECT * FROM run_log_all ORDER BY ALL") != log:
                    faults.append(f"kill {n}: the logs are others")
                if store.archive.lost or store.archiver.strays():
                    faults.append(f"kill {n}: {store.archive.lost} lost, {store.archiver.strays()} strays")
        except StoreError as error:
            faults.append(f"kill {n}: {error}")
    with Store.open(path, threads=1, now=Clock()) as store:
        for (asked, told), (_, tells) in zip(before, answers(store), strict=True):
            if tells != told:
                faults.append(f"in the end {asked} is another")
    took_s = time.monotonic() - began
    told_ = f"{kills} kills in {took_s:.0f} s, seed {seed}: {moved} months were in the archive after them,"
    return faults, f"{told_} {left} folders left over, {len(faults)} faults"


def main() -> None:
    """Kill, and print what was seen; the exit status is 1 if anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=KILLS)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        faults, told = kill_again_and_again(Path(name), given.kills, given.seed)
    print(told)
    print("\n".join(faults[:50]), end="\n" if faults else "")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
