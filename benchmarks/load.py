"""Heavy questions from four clients over HTTP while a thousand no-op runs a second go on: are these slower?

A real server on a long history, with a thousand jobs that are each due once a second, twenty in one instant.
"""

import argparse
import contextlib
import multiprocessing
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from multiprocessing.synchronize import Event
from pathlib import Path

import httpx2

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from apsis_nb.client import Client
from apsis_nb.wire import ARROW
from benchmarks.figures import Figure, percentile, show
from benchmarks.histories import History, history, state_dir_of
from tests.engine.serving import Server

RUNS_PER_S, CLIENTS, SECONDS = 1000, 4, 20.0
COMMIT_MS, LATE_MS = 15, 50
#: So many are due in one instant.
AT_ONCE = 20
#: After the start of the load, until all is as it stays.
WARM_S = 5.0
HEAVY = ("timeline", "counts", "durations", "lateness", "calendar", "jobs", "drift", "cost", "concurrency")

JOB = """\
params: [time]
schedule: {{type: interval, interval: 1, phase: {phase:.3f}}}
program: {{type: no-op}}
"""


def measure(made: History, seconds: float = SECONDS, rate: int = RUNS_PER_S) -> Iterator[Figure]:
    """Commits and starts without questions, and with them.

    Args:
        made: what the questions are about; the server has a copy.
        seconds: how long each.
        rate: runs a second.
    """
    with state_dir_of(made) as state, tempfile.TemporaryDirectory() as folder:
        jobs = Path(folder)
        write_jobs(jobs, rate)
        server = Server(jobs, state).start()
        with contextlib.closing(Client(server.url, server.token)) as client:
            time.sleep(WARM_S)  # a part of the load, not a wait for something
            yield from watched(client, "alone", seconds)
            with _asking(server, made) as asked:
                yield from watched(client, "with questions", seconds)
            yield Figure("questions answered", len(asked) / seconds, "/s")
            yield Figure("a question, p50", percentile(asked, 0.5), "ms")
        server.stop()


def write_jobs(folder: Path, rate: int, at_once: int = AT_ONCE) -> None:
    """So many no-op jobs that are due once a second, `at_once` of them in one instant."""
    for n in range(rate):
        (folder / f"noop{n}.yaml").write_text(JOB.format(phase=n // at_once * at_once / rate))


def watched(client: Client, name: str, seconds: float) -> Iterator[Figure]:
    """What commits took, and how late runs started, for so long."""
    since, commits = datetime.now(UTC).replace(tzinfo=None), []
    end, last = time.perf_counter() + seconds, -1
    while time.perf_counter() < end:
        store = client.alive()["store"]
        if store["commits"] != last:
            last = store["commits"]
            commits.append(1000 * store["last_commit_s"])
        time.sleep(0.02)  # between two samples
    query = """
        SELECT epoch(started_at - scheduled_at) * 1000 AS late_ms FROM runs
        WHERE starts_with(job_id, 'noop') AND scheduled_at >= $since::TIMESTAMP AND started_at IS NOT NULL
    """
    late = client.sql_arrow(query, {"since": since.isoformat()}).column("late_ms").to_pylist()
    yield Figure(f"{name}: runs", len(late) / seconds, "/s")
    yield Figure(f"{name}: commit, p50", percentile(commits, 0.5), "ms")
    yield Figure(f"{name}: commit, p99", percentile(commits, 0.99), "ms", COMMIT_MS)
    yield Figure(f"{name}: start, p50", percentile(late, 0.5), "ms")
    yield Figure(f"{name}: start, p99", percentile(late, 0.99), "ms", LATE_MS)


@contextlib.contextmanager
def _asking(server: Server, made: History) -> Iterator[list[float]]:
    """Clients that ask one heavy question after another; at the end, how long each took, milliseconds."""
    context = multiprocessing.get_context("spawn")
    stop, told = context.Event(), context.SimpleQueue()
    asked: list[float] = []
    process = context.Process(target=ask, args=(server.url, server.token, made.until, stop, told))
    process.start()
    try:
        told.get()  # the clients are there
        yield asked
    finally:
        stop.set()
        asked += told.get()
        process.join()


def ask(
    url: str, token: str, until: datetime, stop: Event, told: "multiprocessing.SimpleQueue[list[float]]"
) -> None:
    """What the process of the clients does: ask until `stop` is set, then tell how long each took."""
    times: list[float] = []

    def loop(first: int) -> None:
        headers = {"Authorization": f"Bearer {token}", "Accept": ARROW}
        with httpx2.Client(base_url=f"{url}/api/v1", headers=headers, timeout=60, trust_env=False) as http:
            n = first
            while not stop.is_set():
                began = time.perf_counter()
                name = HEAVY[n % len(HEAVY)]
                http.get(f"/history/{name}", params={"until": until.isoformat()}).raise_for_status()
                times.append(1000 * (time.perf_counter() - began))
                n += 1

    threads = [threading.Thread(target=loop, args=(2 * n,)) for n in range(CLIENTS)]
    for thread in threads:
        thread.start()
    told.put([])
    for thread in threads:
        thread.join()
    told.put(times)


def report(made: History, seconds: float = SECONDS, rate: int = RUNS_PER_S) -> None:
    """Measure, and print what was seen."""
    print(f"{rate:,} no-op runs/s on a history of {made.runs:,} runs, alone and with {CLIENTS} who ask")
    show(measure(made, seconds, rate))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--cache", type=Path, help="folder in which the history is kept for the next time")
    parser.add_argument(
        "--seconds", type=float, default=SECONDS, help="how long alone, and how long with questions"
    )
    parser.add_argument("--rate", type=int, default=RUNS_PER_S, help="runs a second")
    given = parser.parse_args()
    with history(given.runs, cache=given.cache) as made:
        report(made, given.seconds, given.rate)


if __name__ == "__main__":
    main()
