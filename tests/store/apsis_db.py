"""A database of Apsis 2.4, made as Apsis makes it, for the tests of what reads one."""

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

#: As SQLAlchemy makes the tables of Apsis.
SCHEMA = """
CREATE TABLE clock (time FLOAT NOT NULL);
CREATE TABLE next_run_id (number INTEGER NOT NULL);
CREATE TABLE jobs (job_id VARCHAR NOT NULL, job VARCHAR NOT NULL);
CREATE TABLE runs (
    rowid INTEGER NOT NULL, run_id VARCHAR NOT NULL, timestamp FLOAT NOT NULL, job_id VARCHAR NOT NULL,
    args VARCHAR NOT NULL, state VARCHAR NOT NULL, program VARCHAR, times VARCHAR NOT NULL,
    meta VARCHAR NOT NULL, message VARCHAR, run_state VARCHAR, rerun VARCHAR, expected BOOLEAN,
    conds VARCHAR, actions VARCHAR, PRIMARY KEY (rowid)
);
CREATE INDEX index_runs_job_id ON runs (job_id);
CREATE TABLE run_summary (
    run_id VARCHAR NOT NULL, timestamp FLOAT NOT NULL, payload VARCHAR NOT NULL, UNIQUE (run_id)
);
CREATE INDEX idx_timestamp ON run_summary (timestamp);
CREATE TABLE run_history (run_id VARCHAR NOT NULL, timestamp FLOAT NOT NULL, message VARCHAR NOT NULL);
CREATE INDEX idx_run_id ON run_history (run_id);
CREATE TABLE output (
    run_id VARCHAR NOT NULL, output_id VARCHAR NOT NULL, name VARCHAR NOT NULL, content_type VARCHAR NOT NULL,
    length INTEGER NOT NULL, compression VARCHAR, data BINARY NOT NULL, PRIMARY KEY (run_id, output_id)
);
"""
PROCSTAR = "apsis.program.procstar.agent.BoundProcstarProgram"
DUE = datetime(2026, 3, 2, 9, tzinfo=UTC)
_COMPRESSED_FROM = 16384


class ApsisDb:
    """Writes runs as Apsis does."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def add(
        self,
        number: int,
        state: str = "success",
        *,
        job_id: str = "team/report",
        args: Mapping[str, str] | None = None,
        program: Mapping[str, Any] | None = None,
        due: datetime = DUE,
        late_s: float = 2.5,
        took_s: float = 60.0,
        status: Mapping[str, Any] | None = None,
        log: Sequence[str] | None = None,
        output: bytes | None = None,
        **columns: Any,
    ) -> None:
        """A run that was due, started and ended."""
        start, stop = due + timedelta(seconds=late_s), due + timedelta(seconds=late_s + took_s)
        times = {"schedule": due, "scheduled": due - timedelta(days=1)}
        if state in ("success", "failure", "running"):
            times |= {"starting": start, "running": start}
        times[state] = start if state == "running" else stop
        program = program or {
            "type": PROCSTAR,
            "argv": ["/usr/bin/bash", "-c", "echo {{ hello }}"],
            "group_id": "default",
            "stop": {"signal": "SIGTERM", "grace_period": 60},
        }
        told = {"status": status or {"status": 0, "exit_code": 0, "signum": None, "signal": None}}
        meta = {"job": {"labels": ["daily"]}, "program": told, "elapsed": took_s}
        row = {
            "run_id": f"r{number}",
            "timestamp": times[state].timestamp(),
            "job_id": job_id,
            "args": json.dumps(dict(args or {"date": "2026-03-02"})),
            "state": state,
            "program": json.dumps(program),
            "conds": "[]",
            "actions": "[]",
            # As Ora writes times: nanoseconds and a zone in ISO 8601.
            "times": json.dumps({name: at.isoformat() for name, at in times.items()}),
            "meta": json.dumps(meta),
            "run_state": "null",
            "expected": 0,
            "rowid": number,
        } | columns
        names = ", ".join(row)
        self._db.execute(
            f"INSERT INTO runs ({names}) VALUES ({', '.join('?' for _ in row)})", list(row.values())
        )
        lines = log or [f"scheduled: {due.isoformat()}", "starting", "running", state]
        for n, line in enumerate(lines):
            at = times.get(line.partition(":")[0], due + timedelta(microseconds=n))
            self._db.execute("INSERT INTO run_history VALUES (?, ?, ?)", (f"r{number}", at.timestamp(), line))
        if output is not None:
            self.add_output(number, output)

    def add_output(self, number: int, output: bytes, compression: str | None = None) -> None:
        data = output
        if len(output) >= _COMPRESSED_FROM:
            compression, data = "br", pa.compress(output, "brotli", asbytes=True)
        self._db.execute(
            "INSERT INTO output VALUES (?, 'output', 'combined stdout & stderr', 'application/octet-stream',"
            " ?, ?, ?)",
            (f"r{number}", len(output), compression, data),
        )


@contextmanager
def apsis_db(path: Path) -> Iterator[ApsisDb]:
    """A new database, which Apsis has let go at the end."""
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.executescript(SCHEMA)
        db.execute("INSERT INTO next_run_id VALUES (65)")
        db.execute("INSERT INTO clock VALUES (?)", (DUE.timestamp(),))
        yield ApsisDb(db)
        db.commit()
