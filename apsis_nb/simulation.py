"""What schedules make, before any of it happens."""

import warnings
from collections.abc import Iterable
from datetime import date, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING

from apsis_nb.core.errors import ApsisError
from apsis_nb.core.jobs import Job
from apsis_nb.core.schedules import due_between, stop_time
from apsis_nb.core.times import after_gap, parse_time, parse_when, zone
from apsis_nb.jobfiles import load_file, load_folder

if TYPE_CHECKING:
    import pandas as pd

Instant = datetime | date | str


def expected(jobs: str | Path | Iterable[Job], start: Instant, stop: Instant) -> "pd.DataFrame":
    """The runs that the schedules alone make, as if nothing were late or missed.

    Args:
        jobs: a folder of job files, one job file, or jobs.
        start: included. A datetime, a date, or text such as `2026-12-01` or `2026-12-01T09:00:00Z`; in UTC
            where it names no zone.
        stop: as `start`; not included.

    Returns:
        A row a run, by time: `job_id`, `args` (a dict), `nominal_at`, `scheduled_at`, `stop_at` (NaT: it is
        not stopped); times are aware, UTC.

    Raises:
        ApsisError: there is no such folder or file.
        ValueError: `start` or `stop` is no time.

    Warns:
        UserWarning: a job file is broken; the frame lacks its runs.
    """
    import pandas as pd

    begin, end = _instant(start), _instant(stop)
    rows = []
    for job in _jobs(jobs):
        for schedule in job.schedules:
            if schedule.enabled:
                for at, occurrence in due_between(job.job_id, schedule, begin, end):
                    args = job.args_for(occurrence.args, schedule.args)
                    rows.append((job.job_id, args, occurrence.at, at, stop_time(schedule, at)))
    rows.sort(key=lambda row: (row[3], row[0]))
    frame = pd.DataFrame(rows, columns=["job_id", "args", "nominal_at", "scheduled_at", "stop_at"])
    times = dict.fromkeys(("nominal_at", "scheduled_at", "stop_at"), "datetime64[us, UTC]")
    return frame.astype({"job_id": "str", "args": "object", **times})


def _jobs(jobs: str | Path | Iterable[Job]) -> Iterable[Job]:
    if not isinstance(jobs, str | Path):
        return jobs
    path = Path(jobs)
    if path.is_file():
        file = load_file(path)
        good, errors = [file.job] if file.job else [], list(file.errors)
    elif path.is_dir():
        folder = load_folder(path)
        good, errors = list(folder.jobs.values()), folder.errors
    else:
        raise ApsisError(f"there is no job folder or file {path}")
    for error in errors:
        warnings.warn(str(error), stacklevel=3)
    return good


def _instant(value: Instant) -> datetime:
    utc = zone("UTC")
    if isinstance(value, datetime):
        return parse_time(value, utc)
    if isinstance(value, date):
        return after_gap(value, time(), utc)
    # Without a present, what is said must be a date or a whole time.
    if value.strip()[:4].isdecimal():
        return parse_when(value, datetime(1970, 1, 1, tzinfo=utc), utc)
    raise ValueError(f"'{value}' is no time: write 2026-12-01 or 2026-12-01T09:00:00Z")
