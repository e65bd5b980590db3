"""What the page of late and missed runs asks."""

from typing import Any

import pandas as pd

from apsis_nb.client import Client

from .markup import duration
from .past import MOST_OUTLIERS, Chosen

PAGE_ROWS = 25
#: Why a run was late, as the columns of `by_job` say it, and in words.
WHYS: dict[str, str] = {
    "for_condition": "a condition",
    "for_limit": "a limit of runs",
    "for_host": "its host",
    "for_server": "the server",
    "at_end": "ended late",
    "not_started": "still waits",
}
_BY_JOB = """
SELECT job_id, count(*) FILTER (late_s IS NOT NULL AND state <> 'skipped') AS due,
    count(*) FILTER (late) AS late_runs,
    count(*) FILTER (late AND late_why = 'condition') AS for_condition,
    count(*) FILTER (late AND late_why = 'limit') AS for_limit,
    count(*) FILTER (late AND late_why = 'host') AS for_host,
    count(*) FILTER (late AND late_why = 'server') AS for_server,
    count(*) FILTER (late AND late_why IS NULL AND started_at IS NOT NULL) AS at_end,
    count(*) FILTER (late AND late_why IS NULL AND started_at IS NULL) AS not_started,
    quantile_cont(late_s, 0.5) FILTER (late) AS p50_s, max(late_s) FILTER (late) AS max_s,
    count(*) FILTER (state = 'skipped' AND origin = 'schedule') AS missed
FROM runs_all WHERE {where}
GROUP BY job_id
HAVING count(*) FILTER (late) + count(*) FILTER (state = 'skipped' AND origin = 'schedule') > 0
ORDER BY late_runs DESC, missed DESC, job_id"""

# Which runs first, then whether each was run again: so that is looked up for one page of them.
_PAGE = """
WITH page AS (
    SELECT run_id, job_id, args, labels, state, nominal_at, scheduled_at, started_at, finished_at, late_s,
        late_why, skip_reason, message
    FROM runs_all WHERE {where} AND {only}
    ORDER BY finished_at IS NULL DESC, scheduled_at DESC, run_id DESC LIMIT {limit} OFFSET {offset}
), again AS (
    SELECT rerun_of, max(run_id) AS again_id FROM runs
    WHERE rerun_of IN (SELECT run_id FROM page) GROUP BY rerun_of
)
SELECT page.*, again_id FROM page LEFT JOIN again ON rerun_of = run_id
ORDER BY finished_at IS NULL DESC, scheduled_at DESC, run_id DESC"""
_COUNT = "SELECT count(*) AS n FROM runs_all WHERE {where} AND {only}"

_WORST = """
SELECT run_id, scheduled_at, late_s AS value_s FROM runs_all
WHERE {where} AND late AND late_s IS NOT NULL ORDER BY late_s DESC, run_id LIMIT {limit}"""

#: Of each list, which runs are in it.
LISTS: dict[str, str] = {"late": "late", "missed": "state = 'skipped' AND origin = 'schedule'"}


def by_job(client: Client, chosen: Chosen) -> pd.DataFrame:
    """How often each job was late or missed a time, and why; those that were late most often first."""
    where, values = chosen.where()
    return client.sql(_BY_JOB.format(where=where), values)


def page_of(client: Client, chosen: Chosen, which: str, page: int) -> tuple[pd.DataFrame, int]:
    """One page of late or of missed runs, those that have not ended first, and how many there are."""
    where, values = chosen.where()
    bounds = {"limit": PAGE_ROWS, "offset": page * PAGE_ROWS}
    rows = client.sql(_PAGE.format(where=where, only=LISTS[which], **bounds), values)
    count = client.sql(_COUNT.format(where=where, only=LISTS[which]), values)
    return rows, int(count["n"].iloc[0])


def worst(client: Client, chosen: Chosen) -> pd.DataFrame:
    """The latest runs, as points of a trend: run_id, scheduled_at, value_s, says."""
    where, values = chosen.where()
    found = client.sql(_WORST.format(where=where, limit=MOST_OUTLIERS), values)
    return found.assign(says=[f"late {duration(s)}" for s in found["value_s"]])


def budget_of(facts: dict[str, Any] | None) -> tuple[float | None, str]:
    """The start budget of a job in seconds, and all its budgets in words; none of a job that is no more."""
    late = (facts or {}).get("late") or {}
    start = late.get("start")
    if facts is None or start is None:
        return None, ""
    words = [f"start within {duration(start)}"]
    if late.get("finish") is not None:
        words.append(f"end within {duration(late['finish'])}")
    if late.get("finish_by"):
        words.append(f"end by {late['finish_by']}")
    return float(start), ", ".join(words)
