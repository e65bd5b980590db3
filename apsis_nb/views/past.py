"""What pages ask of the past: aggregates of the runs that a reader chose, by periods of the reader's zone.

The zone is looked up once for each quarter of an hour, of which every offset is made, and not for each run.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd

from apsis_nb.client import Client
from apsis_nb.core.times import format_time

from .markup import duration
from .runs_table import GROUPS

#: Runs that a trend shows by themselves.
MOST_OUTLIERS = 150
#: How often as long, or as short, as the median of its period such a run took.
OUTLIER = 3.0

_PERIODS = """
    SELECT quarter, timezone('UTC', timezone($tz::VARCHAR, date_trunc($unit::VARCHAR,
        timezone($tz::VARCHAR, timezone('UTC', make_timestamp(quarter * 900_000_000)))))) AS period
    FROM (SELECT DISTINCT quarter FROM {of})"""
_QUARTER = "epoch_us(scheduled_at) // 900_000_000 AS quarter"

_COUNTS = f"""
WITH pieces AS (
    SELECT {_QUARTER}, state, count(*) AS runs, count(*) FILTER (late) AS late,
        count(*) FILTER (state = 'skipped' AND origin = 'schedule') AS missed
    FROM runs_all WHERE {{where}} GROUP BY ALL
), periods AS ({_PERIODS.format(of="pieces")})
SELECT period, state, sum(runs)::BIGINT AS runs, sum(late)::BIGINT AS late, sum(missed)::BIGINT AS missed
FROM pieces JOIN periods USING (quarter) GROUP BY ALL ORDER BY ALL"""

_LONGEST = f"""
WITH seen AS (
    SELECT {_QUARTER}, elapsed_s FROM runs_all WHERE {{where}} AND state = 'success' AND elapsed_s IS NOT NULL
), periods AS ({_PERIODS.format(of="seen")})
SELECT period, quantile_cont(elapsed_s, 0.95) AS p95_s
FROM seen JOIN periods USING (quarter) GROUP BY period ORDER BY period"""

_JOBS = """
SELECT job_id, count(*) AS runs,
    count(*) FILTER (state = 'success') AS success,
    count(*) FILTER (state IN ('failure', 'error')) AS failed,
    count(*) FILTER (state = 'skipped') AS skipped,
    count(*) FILTER (late) AS late,
    quantile_cont(elapsed_s, [0.5, 0.95]) FILTER (state = 'success') AS quantiles,
    max(elapsed_s) AS max_s
FROM runs_all WHERE {where} GROUP BY job_id ORDER BY runs DESC, job_id"""

_TREND = f"""
WITH seen AS (
    SELECT {_QUARTER}, {{value}} AS value_s FROM runs_all
    WHERE {{where}} AND {{value}} IS NOT NULL AND {{only}}
), periods AS ({_PERIODS.format(of="seen")}), found AS (
    SELECT period, count(*) AS runs, quantile_cont(value_s, [0.5, 0.95]) AS quantiles, max(value_s) AS max_s
    FROM seen JOIN periods USING (quarter) GROUP BY period
)
SELECT period, runs, quantiles[1] AS p50_s, quantiles[2] AS p95_s, max_s FROM found ORDER BY period"""

_OUTLIERS = f"""
WITH seen AS (
    SELECT run_id, scheduled_at, state, elapsed_s FROM runs_all
    WHERE {{where}} AND state = 'success' AND elapsed_s IS NOT NULL
), middle AS (
    SELECT quantile_cont(elapsed_s, 0.5) AS p50_s FROM seen
)
SELECT run_id, scheduled_at, elapsed_s AS value_s, p50_s FROM seen, middle
WHERE elapsed_s > {OUTLIER} * p50_s OR elapsed_s < p50_s / {OUTLIER}
ORDER BY abs(ln(greatest(elapsed_s, 1e-6) / greatest(p50_s, 1e-6))) DESC, run_id LIMIT {MOST_OUTLIERS}"""

_EXTENT = "SELECT min(scheduled_at) AS first_at FROM runs_all"
_LABELS = "SELECT DISTINCT labels FROM runs WHERE scheduled_at >= $since::TIMESTAMP"


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which runs. Runs that test a job count nowhere."""

    since: datetime
    until: datetime
    words: str = ""  #: each a part of the job's id
    label: str = ""  #: a part of a label
    state: str = ""  #: a state, a name of `GROUPS`, or all
    job: str = ""  #: this job alone

    def where(self) -> tuple[str, dict[str, Any]]:
        """The condition in SQL, and its parameters."""
        parts = ["scheduled_at >= $since::TIMESTAMP", "scheduled_at < $until::TIMESTAMP", "origin <> 'test'"]
        values: dict[str, Any] = {"since": format_time(self.since), "until": format_time(self.until)}
        for n, word in enumerate(self.words.split()):
            parts.append(f"job_id ILIKE $word{n} ESCAPE '!'")
            values[f"word{n}"] = _like(word)
        if self.label:
            parts.append("labels ILIKE $label ESCAPE '!'")
            values["label"] = _like(self.label)
        if self.state:
            states = GROUPS[self.state][1] if self.state in GROUPS else (self.state,)
            parts.append("state IN (" + ", ".join(f"$state{n}" for n in range(len(states))) + ")")
            values |= {f"state{n}": state for n, state in enumerate(states)}
        if self.job:
            parts.append("job_id = $job")
            values["job"] = self.job
        return " AND ".join(parts), values


def _like(word: str) -> str:
    return "%" + "".join("!" + c if c in "!%_" else c for c in word) + "%"


def counts(client: Client, chosen: Chosen, unit: str, tz: str) -> pd.DataFrame:
    """How many runs, by period and state: period, state, runs, late, missed."""
    where, values = chosen.where()
    return client.sql(_COUNTS.format(where=where), values | {"unit": unit, "tz": tz})


def longest(client: Client, chosen: Chosen, unit: str, tz: str) -> pd.DataFrame:
    """The 95th percentile of what successes took, by period: period, p95_s."""
    where, values = chosen.where()
    return client.sql(_LONGEST.format(where=where), values | {"unit": unit, "tz": tz})


def jobs(client: Client, chosen: Chosen) -> pd.DataFrame:
    """How the runs of each job ended, those with the most runs first."""
    where, values = chosen.where()
    found = client.sql(_JOBS.format(where=where), values)
    pairs = [(None, None) if q is None else (q[0], q[1]) for q in found["quantiles"]]
    return found.drop(columns="quantiles").assign(
        p50_s=pd.Series([p for p, _ in pairs], dtype=float),
        p95_s=pd.Series([p for _, p in pairs], dtype=float),
    )


def durations(client: Client, chosen: Chosen, unit: str, tz: str) -> pd.DataFrame:
    """How long the successes took, by period: period, runs, p50_s, p95_s, max_s."""
    return _trend(client, chosen, unit, tz, value="elapsed_s", only="state = 'success'")


def lateness(client: Client, chosen: Chosen, unit: str, tz: str) -> pd.DataFrame:
    """How late runs of schedules started, by period: period, runs, p50_s, p95_s, max_s."""
    return _trend(client, chosen, unit, tz, value="late_s", only="true")


def _trend(client: Client, chosen: Chosen, unit: str, tz: str, *, value: str, only: str) -> pd.DataFrame:
    where, values = chosen.where()
    query = _TREND.format(where=where, value=value, only=only)
    return client.sql(query, values | {"unit": unit, "tz": tz})


def outliers(client: Client, chosen: Chosen) -> pd.DataFrame:
    """The successes that took unusually long or short: run_id, scheduled_at, value_s, p50_s, says."""
    where, values = chosen.where()
    found = client.sql(_OUTLIERS.format(where=where), values)
    told = zip(found["value_s"], found["p50_s"], strict=True)
    return found.assign(says=[f"{duration(took)}; usual is {duration(usual)}" for took, usual in told])


def first_at(client: Client) -> datetime | None:
    """When the oldest run was due; None: there is none."""
    found = client.sql(_EXTENT)["first_at"].iloc[0]
    return None if pd.isna(found) else found.to_pydatetime()


def labels(client: Client, since: datetime) -> list[str]:
    """The labels that runs had since a time."""
    found = client.sql(_LABELS, {"since": format_time(since)})["labels"]
    return sorted({str(label) for text in found for label in json.loads(text)})
