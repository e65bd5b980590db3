"""How long the command line and the module take to start; and a server, after it was down for long."""

import contextlib
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from apsis_nb.client import Client
from apsis_nb.core.instructions import SaveClock
from apsis_nb.store import Store
from benchmarks.figures import Figure, show
from benchmarks.load import write_jobs
from tests.engine.serving import Server, wait_for

REPEATS = 9
HELP_MS, IMPORT_MS, ANSWER_MS = 200, 300, 2000
#: While it was down a thousand jobs were due each second: three million times.
DOWN, JOBS = timedelta(minutes=50), 1000
IS_UP_TO_DATE = "SELECT max(scheduled_at) > utc_now() - INTERVAL 2 SECOND AS is_so FROM runs"
_COMMANDS = {
    "apsis-nb --help": (["-m", "apsis_nb", "--help"], HELP_MS),
    "apsis-nb runs --help": (["-m", "apsis_nb", "runs", "--help"], HELP_MS),
    "import apsis_nb": (["-c", "import apsis_nb"], IMPORT_MS),
}


def measure(repeats: int = REPEATS) -> Iterator[Figure]:
    """What each takes, less what an interpreter takes that does nothing."""
    bare = _cpu_ms(["-c", "pass"], repeats)
    yield Figure("a bare interpreter", bare, "ms")
    for name, (words, most) in _COMMANDS.items():
        yield Figure(f"{name}, above it", _cpu_ms(words, repeats) - bare, "ms", most)


def after_long() -> Iterator[Figure]:
    """A server that was down: its first answer, the slowest that follows, and when it is up to date."""
    with tempfile.TemporaryDirectory() as folder:
        jobs, state = Path(folder) / "jobs", Path(folder) / "state"
        jobs.mkdir()
        state.mkdir()
        write_jobs(jobs, JOBS)
        with Store.open(state / "runs.duckdb") as store:
            store.save([SaveClock(cause="down", at=datetime.now(UTC) - DOWN)]).result()
        began, times = time.perf_counter(), []
        server = Server(jobs, state).start()
        yield Figure("after 50 min down, first answer", 1000 * (time.perf_counter() - began), "ms", ANSWER_MS)

        with contextlib.closing(Client(server.url, server.token)) as client:

            def is_up_to_date() -> bool:
                asked = time.perf_counter()
                client.alive()
                times.append(1000 * (time.perf_counter() - asked))
                _, [row] = client.sql_rows(IS_UP_TO_DATE)
                return bool(row["is_so"])

            wait_for("it is up to date", is_up_to_date, 240)
        yield Figure("after 50 min down, slowest answer", max(times), "ms", ANSWER_MS)
        yield Figure("after 50 min down, up to date", time.perf_counter() - began, "s")
        server.stop()


def _cpu_ms(words: list[str], repeats: int) -> float:
    """Processor time of a process, once its modules are compiled."""
    times = []
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    for _ in range(repeats + 1):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL, env=env)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(1000 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime))
    return statistics.median(times[1:])


def report() -> None:
    """Measure, and print what was seen."""
    print("Start-up, processor time")
    show(measure())
    print(f"A server that was down while {JOBS:,} jobs were due each second")
    show(after_long())


if __name__ == "__main__":
    report()
