"""How long questions of a long history take, and what it costs to have one: the store alone, and a server.

`python benchmarks/history.py --runs 10000000 --cache FOLDER` makes ten million runs once and keeps them.
"""

import argparse
import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, timedelta
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from apsis_nb.client import Client
from apsis_nb.store import HISTORY, Store
from benchmarks.figures import Figure, memory_mb, percentile, processor_ms, show, timed
from benchmarks.histories import History, history, state_dir_of
from tests.engine.serving import Server, wait_for

#: Bars at ten million runs, milliseconds.
DASHBOARD_MS, POINT_MS, ALL_MS, ANSWER_MS, TO_PANDAS_MS = 300, 25, 3000, 2000, 1000
#: Megabytes: a server with no query under way; what it needs more to send a million rows; what a picture is.
IDLE_MB, SENDING_MB, PICTURE_MB = 400, 200, 1
ROWS, FEW = 1_000_000, 10_000
#: Nobody asks for these over 90 days to look at them: they are downloads.
DOWNLOADS = ("runs", "log")
NO_OP = "program: {type: no-op}\n"


def questions(made: History) -> Iterator[Figure]:
    """Time each question of ours, the canned ones in their default window of 90 days; milliseconds."""
    began = time.perf_counter()
    with made.open() as store:
        store.runs()
        yield Figure("open, to the first answer", 1000 * (time.perf_counter() - began), "ms", ANSWER_MS)
        for name, (question, most) in _points(store, made).items():
            yield timed(name, question, most)
        for name in HISTORY:
            if name not in DOWNLOADS:
                yield timed(f"{name}, default window", partial(store.arrow, name), DASHBOARD_MS)
        for name, (question, most) in _more(store, made).items():
            yield timed(name, question, most, 3)


def _points(store: Store, made: History) -> dict[str, tuple[Callable[[], Any], float | None]]:
    def window(hours: float) -> Callable[[], Any]:
        return lambda: store.arrow("timeline", since=made.until - timedelta(hours=hours))

    run_id, job = made.runs // 2, "sales/report"
    today = {"date": f"{made.until:%Y-%m-%d}"}
    return {
        "latest page": (store.runs, POINT_MS),
        "latest page of a job": (lambda: store.runs(job_id=job), POINT_MS),
        "page of an instance": (lambda: store.runs(job_id=job, args=today), None),
        "run by id": (lambda: store.run(run_id), POINT_MS),
        "log of a run": (lambda: store.log(run_id), POINT_MS),
        "timeline, 1 hour": (window(1), POINT_MS),
        "timeline, 1 day": (window(24), DASHBOARD_MS),
    }


def _more(store: Store, made: History) -> dict[str, tuple[Callable[[], Any], float | None]]:
    long_ago = made.until - timedelta(days=10_000)
    medians = "SELECT job_id, median(elapsed_s) FROM runs GROUP BY ALL"
    return {
        "counts, 90 days, New York": (lambda: store.arrow("counts", tz="America/New_York"), DASHBOARD_MS),
        "drift, 28 days, New York": (lambda: store.arrow("drift", tz="America/New_York"), DASHBOARD_MS),
        "durations, all, by week": (lambda: store.arrow("durations", since=long_ago, unit="week"), ALL_MS),
        "lateness, all, by week": (lambda: store.arrow("lateness", since=long_ago, unit="week"), ALL_MS),
        "counts, all, by week": (lambda: store.arrow("counts", since=long_ago, unit="week"), None),
        "sql: median by job, all": (lambda: store.sql(medians), ALL_MS),
    }


def over_http(made: History) -> Iterator[Figure]:
    """A real server on a copy of the history: how soon it runs something, its memory, a million rows."""
    with state_dir_of(made) as state:
        jobs = state.parent / "jobs"
        jobs.mkdir()
        (jobs / "noop.yaml").write_text(NO_OP)
        began = time.perf_counter()
        server = Server(jobs, state).start()
        pid = server.process.pid
        with contextlib.closing(Client(server.url, server.token)) as client:
            client.schedule("noop").wait(30)
            took_ms = 1000 * (time.perf_counter() - began)
            yield Figure("start, to the first run", took_ms, "ms", ANSWER_MS, processor_ms(pid))
            wait_for("the server is idle", lambda: client.alive()["live_runs"] == 0)
            yield Figure("memory, no query under way", memory_mb(pid), "MB", IDLE_MB)
            yield _picture(client, made)
            yield from _rows(client, made, pid)
            for name in HISTORY:
                if name not in DOWNLOADS:
                    server.get(f"/api/v1/history/{name}", until=made.until.isoformat()).raise_for_status()
            yield Figure("memory, each question asked once", memory_mb(pid), "MB")
        server.stop()


def _picture(client: Client, made: History) -> Figure:
    """What the timeline of 90 days sends."""
    since = made.until - timedelta(days=90)
    params = {"since": since.isoformat(), "until": made.until.isoformat()}
    answer = client.connection.send(
        "GET", "/history/timeline", params=params, accept="application/vnd.apache.arrow.stream"
    )
    return Figure("timeline, 90 days: sent", len(answer.content) / 1e6, "MB", PICTURE_MB)


def _rows(client: Client, made: History, pid: int) -> Iterator[Figure]:
    """A million rows to a DataFrame; of a shorter history nine tenths."""
    rows = min(ROWS, made.runs * 9 // 10)
    # What is due at its very end is not in the span, nor what the server ran since.
    query = """
        SELECT scheduled_at FROM runs WHERE scheduled_at < $until::TIMESTAMP
        ORDER BY scheduled_at DESC LIMIT 1 OFFSET $skipped
    """
    until = made.until.astimezone(UTC).replace(tzinfo=None).isoformat()
    _, [row] = client.sql_rows(query, {"skipped": rows - 1, "until": until})
    since, before_mb = row["scheduled_at"], memory_mb(pid)
    times, costs = [], []
    client.runs(since=made.until, until=made.until)  # loads pandas
    with _most_memory(pid) as seen:
        for _ in range(5):
            began, cpu = time.perf_counter(), processor_ms(pid) + processor_ms()
            frame = client.runs(since=since, until=made.until, limit=rows)
            times.append(1000 * (time.perf_counter() - began))
            costs.append(processor_ms(pid) + processor_ms() - cpu)
            assert len(frame) == rows, f"{len(frame)} rows came"
            del frame
    name = f"{rows:,} rows to pandas"
    yield Figure(name, percentile(times, 0.5), "ms", TO_PANDAS_MS, percentile(costs, 0.5))
    yield Figure("memory more while they are sent", max(seen) - before_mb, "MB", SENDING_MB)


@contextlib.contextmanager
def _most_memory(pid: int) -> Iterator[list[float]]:
    """What a process has of memory meanwhile, MB, looked at every few milliseconds."""
    seen: list[float] = []
    done = threading.Event()

    def look() -> None:
        while not done.wait(0.005):
            seen.append(memory_mb(pid))

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield seen
    finally:
        done.set()
        looking.join()


def report(made: History) -> None:
    """Measure, and print what was seen."""
    kept = "kept from before" if made.made_s is None else f"made at {made.runs / made.made_s:,.0f} runs/s"
    print(f"A history of {made.runs:,} runs, {made.size_mb:,.0f} MB, {kept}; medians (bars at 10 M runs)")
    show(questions(made))
    with history(FEW) as few:
        for each in (few, made):
            print(f"A server on {each.runs:,} runs")
            show(over_http(each))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=ROWS)
    parser.add_argument("--days", type=int)
    parser.add_argument("--cache", type=Path, help="folder in which the history is kept for the next time")
    given = parser.parse_args()
    with history(given.runs, days=given.days, cache=given.cache) as made:
        report(made)


if __name__ == "__main__":
    main()
