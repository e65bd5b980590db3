"""How long the questions of the dashboards take on a long history: medians of five, from cold cursors on."""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from apsis_nb.demo.history import make_history
from apsis_nb.frames import RUNS, to_frame
from apsis_nb.store import Store

REPEATS = 5


def measure(runs: int = 1_000_000, *, days: int = 365) -> dict[str, float]:
    """Make a history in a folder of its own and time each question.

    Args:
        runs: how many.
        days: over how many days; the questions' default windows are the last 90.

    Returns:
        Milliseconds by question; and the rate and the size of the history.
    """
    now = datetime.now(UTC)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "runs.duckdb"
        began = time.perf_counter()
        make_history(path, runs, until=now, days=days)
        figures = {"history: runs/s": runs / (time.perf_counter() - began)}
        figures["history: file MB"] = path.stat().st_size / 1e6
        began = time.perf_counter()
        with Store.open(path) as store:
            figures["open ms"] = 1000 * (time.perf_counter() - began)
            for name, question in _questions(store, now, runs).items():
                figures[f"{name} ms"] = _median_ms(question)
    return figures


def _questions(store: Store, now: datetime, runs: int) -> dict[str, Callable[[], Any]]:
    def timeline(hours: float) -> Callable[[], Any]:
        return lambda: store.arrow("timeline", since=now - timedelta(hours=hours), until=now)

    long_ago = now - timedelta(days=10_000)
    return {
        "latest page": store.runs,
        "latest page of a job": lambda: store.runs(job_id="sales/report"),
        "page of an instance": lambda: store.runs(job_id="sales/report", args={"date": f"{now:%Y-%m-%d}"}),
        "run by id": lambda: store.run(runs // 2),
        "log of a run": lambda: store.log(runs // 2),
        "timeline 1 h": timeline(1),
        "timeline 1 day": timeline(24),
        "timeline 90 days": timeline(24 * 90),
        "counts 90 days": lambda: store.arrow("counts"),
        "counts 90 days, New York": lambda: store.arrow("counts", tz="America/New_York"),
        "calendar 90 days": lambda: store.arrow("calendar"),
        "lateness 90 days": lambda: store.arrow("lateness"),
        "durations 90 days": lambda: store.arrow("durations"),
        "durations all, by week": lambda: store.arrow("durations", since=long_ago, unit="week"),
        "jobs 90 days": lambda: store.arrow("jobs"),
        "missed 90 days": lambda: store.arrow("missed"),
        "sql: median by job, all": lambda: store.sql(
            "SELECT job_id, median(elapsed_s) FROM runs GROUP BY ALL"
        ),
        "frame of 90 days' runs": lambda: to_frame(store.arrow("runs"), RUNS),
    }


def _median_ms(question: Callable[[], Any]) -> float:
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        question()
        times.append(1000 * (time.perf_counter() - began))
    return statistics.median(times)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--days", type=int, default=365)
    given = parser.parse_args()
    for name, figure in measure(given.runs, days=given.days).items():
        print(f"{name:32} {figure:12,.1f}")


if __name__ == "__main__":
    main()
