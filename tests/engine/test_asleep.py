"""A machine that slept for three days: what a server runs of what it missed, and why not the rest."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from apsis_nb.client import Client
from tests.client.serving import served
from tests.engine.serving import wait_for
from tests.repo.schedules_page import rows

ROWS = rows("| `misfire` | args | run |")
SLEPT = timedelta(days=3)
MISSED = 72


def job_of(row: list[str], phase_s: int) -> str:
    """An hourly job as a row of the page has it."""
    misfire, args, *_ = row
    policy = "" if misfire == "absent" else f"misfire: {misfire}, "
    params = "params: [time]\n" if args == "differ" else ""
    return f"{params}schedule: {{type: interval, interval: 1h, {policy}phase: {phase_s}}}\nprogram: 'true'\n"


def set_back(store: Path, by: timedelta) -> datetime:
    """Make the store believe that the server was last up so long ago; gives that time."""
    with duckdb.connect(str(store)) as connection:
        ((clock,),) = connection.execute("SELECT max(clock_at) FROM base.clock").fetchall()
        connection.execute("DELETE FROM base.clock")
        connection.execute("INSERT INTO base.clock VALUES ($1)", [clock - by])
    return (clock - by).replace(tzinfo=UTC)


def all_runs(client: Client) -> list[dict[str, Any]] | None:
    """The facts of all runs, oldest first, once each missed time has one and all have finished."""
    runs = client.list_runs(limit=len(ROWS) * MISSED + 1)
    done = len(runs) >= len(ROWS) * MISSED and all(run["finished_at"] for run in runs)
    return runs[::-1] if done else None


@pytest.mark.slow
def test_after_three_days_of_sleep_a_server_does_what_the_page_says(tmp_path: Path):
    # Due half an hour from now, and so not while the test runs.
    phase_s = (int(datetime.now(UTC).timestamp()) + 1800) % 3600
    jobs = {f"row-{n}": job_of(row, phase_s) for n, row in enumerate(ROWS)}
    with served(tmp_path, jobs) as server, server.client() as client:
        assert sorted(client.jobs) == sorted(jobs)
        assert client.list_runs() == []
    down_from = set_back(tmp_path / "state" / "runs.duckdb", SLEPT)

    with served(tmp_path, jobs) as server, server.client() as client:
        runs = wait_for("all that was missed is done with", lambda: all_runs(client))
        missed = client.history.missed(since="4d")

    # Each time that was missed is one run, no more and no less.
    first = min(datetime.fromisoformat(run["nominal_at"]) for run in runs)
    assert timedelta(0) < first - down_from <= timedelta(hours=1)
    times = [first + timedelta(hours=n) for n in range(MISSED)]
    for n, (_, args, run, why) in enumerate(ROWS):
        of_job = [r for r in runs if r["job_id"] == f"row-{n}"]
        assert [datetime.fromisoformat(r["nominal_at"]) for r in of_job] == times
        assert len({str(r["args"]) for r in of_job}) == (MISSED if args == "differ" else 1)

        states = [r["state"] for r in of_job]
        assert states == ["skipped"] * (MISSED - int(run)) + ["success"] * int(run)
        assert {r["late"] for r in of_job if r["state"] == "success"} <= {True}
        reasons = [r["skip_reason"] for r in of_job if r["state"] == "skipped"]
        assert {r.split("; ")[0] for r in reasons} <= {"misfire: the server was down or busy at its time"}
        assert {r.split("; ")[1] for r in reasons} == set(filter(None, why.split(", and ")))

    # What was not run is what the view of missed times has, with the same words.
    skipped = [(r["run_id"], r["skip_reason"]) for r in runs if r["state"] == "skipped"]
    assert Counter(zip(missed.run_id, missed.skip_reason, strict=True)) == Counter(skipped)
