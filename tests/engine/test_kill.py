"""kill -9 of the server while programs run, again and again.

Nothing is lost, nothing runs twice, every exit code is true.
"""

import json
import random
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from tests.engine.outside import Hook
from tests.engine.serving import Server, processes_of, wait_for

KILLS = 50

# Each program writes down by itself that it ran, and how it ended.
TICK = """
schedule: {{type: interval, interval: 2}}
program:
  type: shell
  command: |
    echo "start $APSIS_RUN_ID" >> {book}
    sleep 0.$((RANDOM % 10))
    code=$((RANDOM % 3))
    echo "end $APSIS_RUN_ID $code" >> {book}
    exit $code
"""
LONG = """
schedule: {{type: interval, interval: 3}}
program:
  type: argv
  argv:
  - /bin/sh
  - -c
  - 'echo "start $APSIS_RUN_ID" >> {book}; sleep 4; echo "end $APSIS_RUN_ID 7" >> {book}; exit 7'
"""


@pytest.mark.slow
@pytest.mark.alone
def test_fifty_kills_lose_nothing_and_start_nothing_twice(tmp_path: Path):
    book, jobs, state_dir = tmp_path / "book", tmp_path / "jobs", tmp_path / "state"
    jobs.mkdir()
    (jobs / "tick.yaml").write_text(TICK.format(book=book))
    (jobs / "long.yaml").write_text(LONG.format(book=book))
    seed = int(time.time())
    (tmp_path / "seed").write_text(str(seed))
    chance = random.Random(seed)

    began = time.monotonic()
    server = Server(jobs, state_dir)
    for n in range(KILLS):
        # The last ones with dashboards, which must be gone with their server, however it went.
        server.dashboards = "process" if n >= KILLS - 3 else "off"
        server.start()
        time.sleep(chance.uniform(0.0, 0.8))  # the random moment, not a wait for something
        server.kill()
    assert time.monotonic() - began < 180, f"{KILLS} kills took too long to be at random moments of real work"

    server.dashboards = "off"
    server.start()
    (jobs / "tick.yaml").unlink()
    (jobs / "long.yaml").unlink()
    assert server.post("/api/v1/jobs/reload").json()["removed"] == ["long", "tick"]
    wait_for("every run ends", lambda: server.get("/api/v1/alive").json()["live_runs"] == 0, 30)
    assert server.stop() == 0
    server.start()  # a server leaves the claims of runs that it took over to the next one
    assert server.stop() == 0

    started = Counter(line.split()[1] for line in book.read_text().splitlines() if line.startswith("start"))
    ended = {
        line.split()[1]: int(line.split()[2])
        for line in book.read_text().splitlines()
        if line.startswith("end")
    }
    store = duckdb.connect(str(state_dir / "runs.duckdb"), read_only=True)
    rows = store.execute(
        "SELECT 'r' || run_id, job_id, state::VARCHAR, return_code, nominal_at FROM runs"
    ).fetchall()
    store.close()
    runs = {row[0]: row for row in rows}

    assert len(runs) == len(rows), "a run is kept twice"
    assert [run_id for run_id, n in started.items() if n > 1] == []
    assert set(started) == set(ended) == set(runs), "a run was lost, or never ran"
    wrong = {
        run_id: (state, code, ended[run_id])
        for run_id, (_, _, state, code, _) in runs.items()
        if code != ended[run_id] or state != ("success" if code == 0 else "failure")
    }
    assert wrong == {}
    for job_id, every_s in (("tick", 2), ("long", 3)):
        times = sorted(row[4].replace(tzinfo=UTC) for row in rows if row[1] == job_id)
        assert times == due_times(times[0], times[-1], every_s), f"{job_id} missed a time, or had one twice"
    assert len(runs) > KILLS
    assert not list((state_dir / "runs").glob("*/r*")), "a run directory is left"
    wait_for("no process is left", lambda: processes_of(state_dir) == [], 10)


def due_times(first: datetime, last: datetime, every_s: int) -> list[datetime]:
    """All times of an interval from `first` to `last`, both included."""
    count = (last - first) // timedelta(seconds=every_s)
    return [first + timedelta(seconds=every_s) * n for n in range(count + 1)]


@pytest.mark.slow
def test_a_message_that_a_killed_server_saved_is_sent_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    jobs, go = tmp_path / "jobs", threading.Event()
    jobs.mkdir()
    server = Server(jobs, tmp_path / "state")
    with Hook(before=lambda: go.wait(30)).open() as hook:
        action = f"{{type: webhook, url: '{hook.url}', if: {{states: failure}}}}"
        (jobs / "a.yaml").write_text(f"program: exit 3\naction: {action}\n")
        server.start()
        server.post("/api/v1/runs", {"job_id": "a"})
        hook.wait_for(1)  # saved, on its way, and never to be answered
        server.kill()
        go.set()
        server.start()
        first, again = hook.wait_for(2)
        wait_for("it is told", lambda: "told" in server.get("/api/v1/runs/r1/log").text)
        assert server.stop() == 0

    assert json.loads(first.body)["again"] is False
    assert json.loads(again.body)["again"] is True
    assert first.headers["webhook-id"] == again.headers["webhook-id"]
    with duckdb.connect(str(tmp_path / "state/runs.duckdb"), read_only=True) as store:
        steps = store.execute("SELECT state FROM base.notices ORDER BY rowid").fetchall()
    assert steps == [("pending",), ("sent",)]
