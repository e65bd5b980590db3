"""The same million runs in our store and in SQLite, with the tables and the index of Apsis: side by side.

Each is opened by a process of its own, which asks the same ten questions. Apsis keeps two more tables, of
outputs and of what its pages show of each run; they are left out, so its real files are larger.
"""

import argparse
import json
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import duckdb

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from apsis_nb.store import Store
from benchmarks.figures import memory_mb, timed
from benchmarks.histories import History, history

JOB, INSTANCE, TEXT = "sales/report", "etl/load", "emea"

SCHEMA = """
CREATE TABLE runs (
    rowid INTEGER NOT NULL PRIMARY KEY, run_id VARCHAR NOT NULL, timestamp FLOAT NOT NULL,
    job_id VARCHAR NOT NULL, args VARCHAR NOT NULL, state VARCHAR NOT NULL, program VARCHAR,
    times VARCHAR NOT NULL, meta VARCHAR NOT NULL, message VARCHAR, run_state VARCHAR, rerun VARCHAR,
    expected BOOLEAN, conds VARCHAR, actions VARCHAR
);
CREATE INDEX runs_job_args ON runs (job_id, args);
CREATE TABLE run_history (run_id VARCHAR NOT NULL, timestamp FLOAT NOT NULL, message VARCHAR NOT NULL);
CREATE INDEX run_history_run_id ON run_history (run_id);
"""
PRAGMAS = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
PRAGMA cache_size = -32000;
PRAGMA mmap_size = 2000000000;
"""
#: A run as Apsis writes it, from ours.
RUNS = """
SELECT run_id, 'r' || run_id, epoch(finished_at), job_id, args, state::VARCHAR, $program,
    json_merge_patch(
        json_object('schedule', strftime(scheduled_at, '%Y-%m-%dT%H:%M:%S.%f+00:00'),
            'running', strftime(started_at, '%Y-%m-%dT%H:%M:%S.%f+00:00')),
        json_object(state::VARCHAR, strftime(finished_at, '%Y-%m-%dT%H:%M:%S.%f+00:00')))::VARCHAR,
    json_object('job', json_object('labels', labels::JSON), 'elapsed', elapsed_s)::VARCHAR,
    NULL, 'null', NULL, 0, '[]', '[]'
FROM base.runs ORDER BY run_id
"""
LOG = "SELECT 'r' || run_id, epoch(ts), coalesce(message, state::VARCHAR) FROM base.run_log ORDER BY rowid"
PROGRAM = json.dumps(
    {
        "type": "apsis.program.procstar.agent.BoundProcstarProgram",
        "argv": ["/usr/bin/bash", "-c", "python -m sales.report --date {{ date }}"],
        "group_id": "default",
        "stop": {"signal": "SIGTERM", "grace_period": 60},
    }
)
_LATE = "julianday(times->>'running') - julianday(times->>'schedule')"

#: Questions by name, and how SQLite is asked. `:day` is the day of the last run, `:since` 90 days before.
QUESTIONS = {
    "latest 100 runs": "SELECT * FROM runs ORDER BY rowid DESC LIMIT 100",
    "latest 50 of a job": "SELECT * FROM runs WHERE job_id = :job ORDER BY rowid DESC LIMIT 50",
    "runs of an instance": "SELECT * FROM runs WHERE job_id = :instance AND args = :args",
    "run by id": "SELECT * FROM runs WHERE rowid = :id",
    "log of a run": "SELECT * FROM run_history WHERE run_id = 'r' || :id",
    "runs by day and state, 90 days": """
        SELECT date(timestamp, 'unixepoch') AS day, state, count(*) FROM runs
        WHERE timestamp >= :since GROUP BY day, state""",
    "median and p95 by job and week, 90 days": """
        WITH ranked AS (
            SELECT job_id, week, took, row_number() OVER (PARTITION BY job_id, week ORDER BY took) AS n,
                count(*) OVER (PARTITION BY job_id, week) AS runs
            FROM (SELECT job_id, strftime('%Y-%W', timestamp, 'unixepoch') AS week, meta->>'elapsed' AS took
                FROM runs WHERE timestamp >= :since AND state = 'success'))
        SELECT job_id, week, max(took) FILTER (WHERE n = (runs + 1) / 2),
            max(took) FILTER (WHERE n = (runs * 19 + 19) / 20)
        FROM ranked GROUP BY job_id, week""",
    "twenty latest starts": f"SELECT run_id, {_LATE} AS late FROM runs ORDER BY late DESC LIMIT 20",
    "text in args, latest 50": """
        SELECT * FROM runs WHERE args LIKE '%' || :text || '%' ORDER BY rowid DESC LIMIT 50""",
    "how runs ended, and how long they took": """
        SELECT state, count(*), avg(meta->>'elapsed') FROM runs GROUP BY state""",
}


def ours(store: Store, made: History) -> dict[str, Callable[[], Any]]:
    """The same questions of our store."""
    since = made.until - timedelta(days=90)
    args = json.loads(_args(made))
    return {
        "latest 100 runs": store.runs,
        "latest 50 of a job": lambda: store.runs(job_id=JOB, limit=50),
        "runs of an instance": lambda: store.runs(job_id=INSTANCE, args=args, limit=1000),
        "run by id": lambda: store.run(made.runs // 2),
        "log of a run": lambda: store.log(made.runs // 2),
        "runs by day and state, 90 days": lambda: store.arrow("counts"),
        "median and p95 by job and week, 90 days": lambda: store.arrow("durations", since=since, unit="week"),
        "twenty latest starts": lambda: store.sql(
            "SELECT run_id, late_s FROM runs ORDER BY late_s DESC LIMIT 20"
        ),
        "text in args, latest 50": lambda: store.sql(
            "SELECT * FROM runs WHERE contains(args, $text) ORDER BY scheduled_at DESC LIMIT 50",
            {"text": TEXT},
        ),
        "how runs ended, and how long they took": lambda: store.sql(
            "SELECT state, count(*), avg(elapsed_s) FROM runs GROUP BY state"
        ),
    }


def _args(made: History) -> str:
    """Of an instance that has run."""
    return f'{{"date":"{made.until - timedelta(days=1):%Y-%m-%d}","region":"{TEXT}"}}'


def write_sqlite(made: History, path: Path) -> None:
    """The history as Apsis would have it."""
    with duckdb.connect(str(made.path), read_only=True) as file, closing(sqlite3.connect(path)) as db:
        db.executescript(PRAGMAS + SCHEMA)
        for table, query, params in (("runs", RUNS, {"program": PROGRAM}), ("run_history", LOG, {})):
            found = file.execute(query, params)
            marks = ", ".join("?" for _ in found.description)
            while rows := found.fetchmany(50_000):
                db.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)
        db.commit()
        db.execute("PRAGMA optimize")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def asked(made: History, sqlite: Path | None) -> Iterator[tuple[str, float]]:
    """Milliseconds of each question, and the memory of this process afterwards, MB."""
    if sqlite is None:
        with made.open() as store:
            for name, question in ours(store, made).items():
                yield name, timed(name, question, repeats=3).value
            yield "memory, MB", memory_mb(field="RssAnon")
        return
    params: Mapping[str, Any] = {
        "job": JOB, "instance": INSTANCE, "args": _args(made), "id": made.runs // 2, "text": TEXT,
        "since": (made.until - timedelta(days=90)).timestamp(),
    }  # fmt: skip
    with closing(sqlite3.connect(sqlite)) as db:
        db.executescript(PRAGMAS)
        for name, query in QUESTIONS.items():
            question = partial(_rows, db, query, params)
            yield name, timed(name, question, repeats=3).value
        yield "memory, MB", memory_mb(field="RssAnon")


def _rows(db: sqlite3.Connection, query: str, params: Mapping[str, Any]) -> list[Any]:
    return db.execute(query, params).fetchall()


def _asked_elsewhere(made: History, sqlite: Path | None) -> dict[str, float]:
    """The same, by a process of its own."""
    command = [sys.executable, __file__, "--ask", str(made.path), str(made.runs), made.until.isoformat()]
    if sqlite is not None:
        command.append(str(sqlite))
    answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return dict(json.loads(answer))


def measure(made: History) -> dict[str, tuple[float, float]]:
    """Ours and SQLite's, by what was measured: file and memory in MB, questions in milliseconds."""
    with tempfile.TemporaryDirectory() as folder:
        sqlite = Path(folder) / "apsis.db"
        write_sqlite(made, sqlite)
        mine, other = _asked_elsewhere(made, None), _asked_elsewhere(made, sqlite)
        figures = {"file, MB": (made.size_mb, sqlite.stat().st_size / 1e6)}
    return figures | {name: (mine[name], other[name]) for name in mine}


def report(made: History) -> None:
    """Measure, and print what was seen."""
    print(f"{made.runs:,} runs in our store and in SQLite as Apsis has them; ms, and how many times as much")
    for name, (mine, other) in measure(made).items():
        print(f"  {name:40} {mine:10,.2f} {other:12,.2f}   x {other / mine:,.2f}", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--cache", type=Path, help="folder in which the history is kept for the next time")
    parser.add_argument("--ask", nargs="+", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.ask:
        path, runs, until, *sqlite = given.ask
        made = History(Path(path), int(runs), datetime.fromisoformat(until), None)
        print(json.dumps(list(asked(made, Path(sqlite[0]) if sqlite else None))))
        return
    with history(given.runs, cache=given.cache) as made:
        report(made)


if __name__ == "__main__":
    main()
