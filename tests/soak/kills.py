"""kill -9 of a server under load, again and again: nothing is lost, or runs twice, and every code is true."""

import argparse
import random
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from tests.engine.serving import Server, processes_of, wait_for
from tests.soak.load import Outcome, remove_jobs, write_jobs

KILLS = 300
#: Of the kills so many come before the server answers, at a moment within the seconds that its start takes.
BEFORE, START_S = 0.25, 2.0
#: The others come within so many seconds after it answers.
AFTER_S = 1.5


def kill_again_and_again(folder: Path, kills: int, seed: int) -> tuple[list[str], str]:
    """Run the load through so many kills, let it come to its end, and look at what it left.

    Args:
        folder: an empty one.
        kills: how many.
        seed: of the moments.

    Returns:
        What is wrong, empty if all is well; and a line that tells what was done.
    """
    jobs, book, state_dir = folder / "jobs", folder / "book", folder / "state"
    jobs.mkdir()
    write_jobs(jobs, book)
    chance = random.Random(seed)
    began = time.monotonic()
    server = Server(jobs, state_dir).start()
    began_at = datetime.now(UTC)
    for _ in range(kills):
        # The random moments are no waits for something.
        if chance.random() < BEFORE:
            server.kill()
            server.spawn()
            time.sleep(chance.uniform(0, START_S))
        else:
            time.sleep(chance.uniform(0, AFTER_S))
        server.kill()
        server.start()
    killed_s = time.monotonic() - began

    ended_at = datetime.now(UTC)
    remove_jobs(jobs)
    removed = server.post("/api/v1/jobs/reload").json()["removed"]
    wait_for("every run ends", lambda: server.get("/api/v1/alive").json()["live_runs"] == 0, 300)
    status = [server.stop()]
    server.start()  # a server leaves the claims of runs that it took over to the next one
    status.append(server.stop())

    outcome = Outcome.read(state_dir / "runs.duckdb", book)
    faults = outcome.faults(began_at=began_at, ended_at=ended_at)
    if status != [0, 0]:
        faults.append(f"the servers that were asked to end ended with {status}")
    if not removed:
        faults.append("no job was taken away")
    if left := list((state_dir / "runs").glob("*/r*")):
        faults.append(f"run directories are left: {[path.name for path in left[:10]]}")
    wait_for("no process is left", lambda: processes_of(state_dir) == [], 30)
    told = f"{kills} kills in {killed_s:.0f} s, seed {seed}: {len(outcome.runs)} runs, {len(faults)} faults"
    return faults, told


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
