"""Made-up past runs of the demo's jobs, so that a new server has something to show."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

from apsis_nb.core.programs import NoOp
from apsis_nb.store import Store
from apsis_nb.store.queries import parse

#: Runs that are written in one go.
CHUNK = 250_000
#: Above this many runs a job there are more jobs.
RUNS_A_JOB = 5_000
MOST_JOBS = 2_000
#: The share of the hours of a week that are office hours.
OFFICE_SHARE = (5 / 7) * (10 / 24)
#: Periods that people choose, up to a day.
PERIODS_S = (
    1, 2, 3, 5, 10, 15, 20, 30, 60, 120, 180, 300, 600, 900,
    1200, 1800, 3600, 7200, 10800, 21600, 43200, 86400,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class PastJob:
    """How the runs of a job were."""

    job_id: str
    weight: float  #: of its number of runs
    median_s: float
    spread: float = 0.4  #: of the logarithm of the durations
    failing: float = 0.02  #: share of the runs that end in failure or error
    is_daytime: bool = False  #: only in office hours: 08:00 to 18:00, Monday to Friday
    params: str = ""  #: which it has: none, a date, the day before, or a date and a region
    labels: tuple[str, ...] = ()
    slower: float = 0.0  #: by which share the median grows in four weeks, up to `median_s` now
    cpu_share: float = 0.3  #: processors that it keeps busy while it runs
    memory_mb: float = 120  #: typical size
    failed_last: str = ""  #: the newest run failed, and said this; `{date}` is that of its args


#: The jobs of the demo. The most frequent is due every few minutes, the rarest every day.
JOBS = (
    PastJob("ops/heartbeat", weight=30, median_s=0.2, spread=0.2, failing=0.002, labels=("ops",)),
    PastJob("ops/disk-usage", weight=8, median_s=3.5, failing=0.01, labels=("ops",)),
    PastJob("etl/load", weight=16, median_s=45, spread=0.7, params="region", labels=("etl",)),
    PastJob("etl/flaky", weight=12, median_s=8, spread=0.6, failing=0.18, labels=("etl",)),
    PastJob(
        "etl/nightly",
        weight=1,
        median_s=1800,
        spread=0.3,
        params="date",
        labels=("etl",),
        slower=0.15,
        memory_mb=2500,
    ),
    PastJob("sales/import", weight=10, median_s=25, is_daytime=True, params="date", labels=("sales",)),
    PastJob(
        "sales/report", weight=10, median_s=60, spread=0.5, is_daytime=True, params="date", labels=("sales",)
    ),
    PastJob("sales/chart", weight=6, median_s=12, is_daytime=True, params="date", labels=("sales",)),
    PastJob(
        "ml/train",
        weight=1,
        median_s=45,
        spread=0.05,
        failing=0.05,
        labels=("ml",),
        cpu_share=1.8,
        memory_mb=6000,
    ),
    PastJob(
        "ml/score",
        weight=6,
        median_s=90,
        spread=0.5,
        failing=0.04,
        params="date",
        labels=("ml",),
        slower=-0.1,
        cpu_share=0.9,
        memory_mb=1500,
    ),
    PastJob("ml/tune", weight=2, median_s=25, spread=0.2, params="rate", labels=("ml",), memory_mb=400),
    PastJob("ml/embed", weight=2, median_s=12, spread=0.1, labels=("ml",), memory_mb=300),
    PastJob("etl/rates", weight=4, median_s=0.4, failing=0.05, labels=("etl",)),
    PastJob("sales/export", weight=4, median_s=19, spread=0.3, is_daytime=True, labels=("sales",)),
    PastJob("sales/top", weight=2, median_s=0.6, is_daytime=True, params="date", labels=("sales",)),
    PastJob(
        "finance/reconcile",
        weight=1,
        median_s=0.8,
        params="yesterday",
        labels=("finance", "daily"),
        failed_last="LookupError: there are no orders of {date}: run this again for a day that has some",
    ),
    PastJob("finance/settle", weight=1, median_s=0.1, params="date", labels=("finance",)),
    PastJob("ops/cleanup", weight=0.5, median_s=0.5, params="what", labels=("ops",)),
    PastJob(
        "reports/daily",
        weight=1,
        median_s=6,
        spread=0.2,
        is_daytime=True,
        params="date",
        labels=("reports", "daily"),
        memory_mb=250,
    ),
)


def make_history(
    path_or_store: Path | Store,
    count: int,
    *,
    until: datetime,
    days: int = 90,
    seed: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write finished runs of the demo's jobs, and their logs.

    Args:
        path_or_store: of a run store; it is made if need be.
        count: how many runs; with many there are more jobs, in further folders.
        until: aware; no run ends after it.
        days: how far back they go at most.
        seed: the same gives the same runs.
        progress: told how many are written, and of how many.

    Raises:
        StoreError: the store cannot be opened or written.
    """
    if not isinstance(path_or_store, Store):
        with Store.open(path_or_store) as store:
            make_history(store, count, until=until, days=days, seed=seed, progress=progress)
        return
    store = path_or_store
    sql = {
        q.name: q.text
        for q in parse(files("apsis_nb.demo").joinpath("history.sql").read_text(encoding="utf-8"))
    }
    jobs = past_jobs(count)
    common = {"until": until.astimezone(UTC).replace(tzinfo=None), "seed": seed}
    with store.bulk([NoOp()]) as (cursor, (program_id,)):
        cursor.execute(sql["draw"])
        slack, found = 1.1, -1
        while found < count:
            cursor.execute(sql["jobs"], _columns(jobs, program_id, count * slack, days))
            cursor.execute(sql["occurrences"], {**common, "days": days, "count": count})
            found = cursor.execute(sql["occurrence_count"]).fetchall()[0][0]
            slack *= 2  # few runs, all in office hours, and now it is Sunday
        for first in range(0, count, CHUNK):
            stop = min(count, first + CHUNK)
            first_id, _ = store.reserve_ids(stop - first)
            cursor.execute(sql["lives"], {**common, "first": first, "stop": stop, "first_id": first_id})
            if stop == count:
                for job in JOBS:
                    if job.failed_last:
                        told = {"job_id": job.job_id, "message": job.failed_last, "until": common["until"]}
                        cursor.execute(sql["failed"], told)
            cursor.begin()
            cursor.execute(sql["runs"])
            cursor.execute(sql["log"])
            cursor.execute(sql["meta"])
            cursor.commit()
            if progress is not None:
                progress(stop, count)
        cursor.execute(sql["clean"])


def past_jobs(count: int) -> list[PastJob]:
    """The jobs of a history of `count` runs: those of the demo, and copies of them for further folders."""
    wanted = max(len(JOBS), min(MOST_JOBS, count // RUNS_A_JOB))
    jobs = list(JOBS)
    for n in range(wanted - len(JOBS)):
        job = JOBS[n % len(JOBS)]
        folder, name = job.job_id.split("/")
        number = n // len(JOBS) + 1
        weight = job.weight / math.sqrt(number + 1)  # a few have most of the runs
        jobs.append(replace(job, job_id=f"{folder}/site-{number:03}/{name}", weight=weight))
    return jobs


def _columns(jobs: list[PastJob], program_id: int, count: float, days: int) -> dict[str, list[object]]:
    total = sum(job.weight for job in jobs)
    span_s = days * 86400
    return {
        "n": list(range(1, len(jobs) + 1)),
        "job_id": [job.job_id for job in jobs],
        "program_id": [program_id] * len(jobs),
        "period_s": [
            _round_period(span_s * (OFFICE_SHARE if job.is_daytime else 1.0) / (count * job.weight / total))
            for job in jobs
        ],
        "median_s": [job.median_s for job in jobs],
        "spread": [job.spread for job in jobs],
        "failing": [job.failing for job in jobs],
        "is_daytime": [job.is_daytime for job in jobs],
        "params": [job.params for job in jobs],
        "slower": [job.slower for job in jobs],
        "cpu_share": [job.cpu_share for job in jobs],
        "memory_mb": [job.memory_mb for job in jobs],
        "labels": [json.dumps(job.labels) for job in jobs],
    }


def _round_period(period_s: float) -> float:
    """The period of the kind that people choose that is nearest."""
    if period_s > 86400:
        return 86400.0 * round(period_s / 86400)
    return float(min(PERIODS_S, key=lambda p: abs(math.log(p / period_s))))
