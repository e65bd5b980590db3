"""The load for half an hour: the server's memory must not grow, nothing be late, and no error be told."""

import argparse
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from tests.engine.serving import Server, wait_for
from tests.soak.load import Outcome, remove_jobs, write_jobs

MINUTES = 30.0
SAMPLE_EVERY_S = 10.0
#: What is made once, such as caches, is there by then.
WARM_S = 60.0
MOST_GROWTH, MOST_DELAY_S = 0.10, 1.0


def memory_by_name(pid: int) -> dict[str, float]:
    """MB of memory of a server and of all that it started, by what they are.

    Server and spawner are one process each: all that they hold. Of the others, which come and go with runs
    and share most of the spawner's, their shares.
    """
    found: dict[str, float] = defaultdict(float)
    for child, parent, command in _family(pid):
        try:
            lines = Path(f"/proc/{child}/smaps_rollup").read_text().splitlines()
        except OSError:  # it has ended
            continue
        is_supervisor = "supervisor.py" in command
        if child == pid:
            name = "server"
        elif is_supervisor:
            name = "spawner" if parent == pid else "supervisors"
        else:
            name = "programs"
        kind = "Rss:" if name in ("server", "spawner") else "Pss:"
        found[name] += next((int(line.split()[1]) for line in lines if line.startswith(kind)), 0) * 1024 / 1e6
    return dict(found)


def _family(pid: int) -> Iterator[tuple[int, int, str]]:
    """A process and its descendants: pid, that of its parent, command line."""
    children: dict[int, list[int]] = defaultdict(list)
    commands: dict[int, str] = {}
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                parent = int((process / "stat").read_text().rsplit(")", 1)[1].split()[1])
                commands[int(process.name)] = (process / "cmdline").read_text().replace("\0", " ")
            except OSError:
                continue
            children[parent].append(int(process.name))
    found = [(pid, 0)]
    for each, parent in found:
        yield each, parent, commands.get(each, "")
        found += [(child, each) for child in children[each]]


def hold_out(folder: Path, minutes: float) -> list[str]:
    """Run the load for so long, and print what was seen.

    Args:
        folder: an empty one.
        minutes: how long, after a minute in which all gets warm.

    Returns:
        What is wrong; empty if all is well.
    """
    jobs, book, state_dir = folder / "jobs", folder / "book", folder / "state"
    jobs.mkdir()
    write_jobs(jobs, book)
    server = Server(jobs, state_dir).start()
    assert server.process is not None
    began_at = datetime.now(UTC)
    samples: list[dict[str, float]] = []
    end = time.monotonic() + WARM_S + minutes * 60
    time.sleep(WARM_S)
    while time.monotonic() < end:
        sample, told = memory_by_name(server.process.pid), server.get("/api/v1/stats").json()
        sample["database"] = told["store"]["cached_bytes"] / 1e6
        sample["server"] -= sample["database"]
        samples.append(sample)
        time.sleep(SAMPLE_EVERY_S)  # between two samples, not a wait for something

    ended_at = datetime.now(UTC)
    remove_jobs(jobs)
    server.post("/api/v1/jobs/reload")
    wait_for("every run ends", lambda: server.get("/api/v1/alive").json()["live_runs"] == 0, 300)
    status = server.stop()

    outcome = Outcome.read(state_dir / "runs.duckdb", book)
    faults = outcome.faults(began_at=began_at, ended_at=ended_at)
    if status != 0:
        faults.append(f"the server ended with {status}")
    faults += _grown(samples) + _late(outcome)
    told = [line for line in server.log.read_text().splitlines() if _is_told(line)]
    print("\n".join(told))
    faults += [line for line in told if " WARNING " not in line]
    print(
        f"{len(outcome.runs)} runs in {minutes:g} minutes,"
        f" {len(told)} warnings or errors, {len(faults)} faults"
    )
    return faults


def _is_told(line: str) -> bool:
    return any(f" {level} " in line for level in ("WARNING", "ERROR", "CRITICAL"))


def _grown(samples: list[dict[str, float]]) -> list[str]:
    """Print the memory of the first quarter and of the last, by process; what the server's grew too much.

    What the database has read of its file grows with that up to a bound, and is told by itself.
    """
    quarter = max(1, len(samples) // 4)
    faults = []
    for name in ("server", "database", "spawner", "supervisors", "programs"):
        first, last = (
            statistics.median(sample.get(name, 0.0) for sample in part)
            for part in (samples[:quarter], samples[-quarter:])
        )
        growth = last / first - 1 if first else 0.0
        print(f"memory of the {name}: {first:.1f} MB, at last {last:.1f} MB: {growth:+.1%}")
        if name in ("server", "spawner") and growth > MOST_GROWTH:  # the others come and go
            faults.append(f"the memory of the {name} grew by {growth:.1%}")
    return faults


def _late(outcome: Outcome) -> list[str]:
    """Print the delays of the runs that nothing was to hold; whether they are too long."""
    held = ("second", "limited")
    delays = sorted(
        (run["started_at"] - run["scheduled_at"]).total_seconds()
        for run in outcome.runs
        if run["started_at"] is not None and not run["job_id"].startswith(held)
    )
    p50, p99 = delays[len(delays) // 2], delays[int(len(delays) * 0.99)]
    print(f"from due to started: p50 {p50:.3f} s, p99 {p99:.3f} s, max {delays[-1]:.3f} s")
    return [f"p99 of the delays is {p99:.2f} s"] if p99 >= MOST_DELAY_S else []


def main() -> None:
    """Hold out, and print what was seen; the exit status is 1 if anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=MINUTES)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        faults = hold_out(Path(name), given.minutes)
    print("\n".join(faults[:50]), end="\n" if faults else "")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
