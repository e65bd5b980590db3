"""The past runs in the SQLite file of Apsis 2: its states, times, args, programs, logs and outputs as ours.

Apsis does not keep what made a run. Its log tells reruns, those of actions and those of users who wanted one
now; all others count as runs of schedules.
"""

import json
import re
import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from apsis_nb.core.errors import ApsisError
from apsis_nb.core.programs import NoOp, Program, program_from_dict
from apsis_nb.core.runs import Instance, Origin
from apsis_nb.store.errors import StoreError
from apsis_nb.store.outputs import content_type
from apsis_nb.store.past import PastLine, PastOutput, PastRun, Unmapped

#: Budget of a start: Apsis knows none, so it is what a job has that says nothing.
_LATE_START_S = 60.0
_ENDS = ("success", "failure", "error", "skipped")
#: Entered in this order; the log does not say in which state a line was written.
_LIFE = ("scheduled", "waiting", "starting", "running", "stopping", *_ENDS)
_TABLES = {"runs", "run_history", "output"}
#: What Apsis writes for the type of a program with its templates expanded, by the last part of the name.
_TYPES = {
    "BoundProcstarProgram": "procstar",
    "BoundProcstarECSProgram": "procstar-ecs",
    "BoundNoOpProgram": "no-op",
    "NoOpProgram": "no-op",
}
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  (the store's times are naive)
_RERUN = re.compile(r"scheduled as rerun of r(\d+)")


def is_sqlite(path: Path) -> bool:
    """Whether a file is a database of SQLite."""
    with path.open("rb") as file:
        return file.read(16) == b"SQLite format 3\0"


class PastApsis:
    """The finished runs of Apsis's database, or of its archive. The file is not changed.

    Args:
        path: of the file; Apsis may have it open.

    Raises:
        StoreError: it is not Apsis's, or cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self._path = path
        # The server reads it on one thread after another, never on two at once.
        try:
            self._db = sqlite3.connect(
                f"{path.resolve().as_uri()}?mode=ro", uri=True, check_same_thread=False
            )
        except sqlite3.Error as error:
            raise StoreError(f"{path} cannot be read: {error}") from None
        self._db.row_factory = sqlite3.Row
        try:
            tables = {row["name"] for row in self._ask("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if not tables >= _TABLES:
                raise StoreError(f"{path} is an SQLite file, but not the database of Apsis")
            self.count = int(self._ask("SELECT count(*) FROM runs")[0][0])
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let the file go."""
        self._db.close()

    def batches(self, size: int) -> Iterator[list[PastRun | Unmapped]]:
        """Its runs, the oldest ids first, at most `size` at once."""
        after = -1
        while rows := self._ask("SELECT * FROM runs WHERE rowid > ? ORDER BY rowid LIMIT ?", after, size):
            names = [row["run_id"] for row in rows]
            log = self._by_run("SELECT run_id, timestamp, message FROM run_history", names)
            outputs = self._by_run("SELECT rowid, run_id, output_id, compression FROM output", names)
            yield [self._mapped(row, log[row["run_id"]], outputs[row["run_id"]]) for row in rows]
            after = rows[-1]["rowid"]

    def _mapped(
        self, row: sqlite3.Row, log: Sequence[sqlite3.Row], outputs: Sequence[sqlite3.Row]
    ) -> PastRun | Unmapped:
        try:
            if row["state"] not in _ENDS:
                return Unmapped(run=row["run_id"], why=f"it had not finished ({row['state']})")
            return _run_of(row, log, [self._output(output) for output in outputs])
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            return Unmapped(run=str(row["run_id"]), why=f"its row cannot be read ({type(error).__name__})")

    def _output(self, row: sqlite3.Row) -> PastOutput:
        name = str(row["output_id"])
        return PastOutput(
            name=name,
            content_type=content_type(name),
            read=partial(self._bytes, row["rowid"], row["compression"]),
        )

    def _bytes(self, rowid: int, compression: str | None) -> Iterator[bytes]:
        ((data,),) = self._ask("SELECT data FROM output WHERE rowid = ?", rowid)
        if compression is None:
            yield data
        elif compression == "br":
            yield _unpacked(data)
        else:
            raise StoreError(f"compressed with {compression}")

    def _by_run(self, query: str, names: Sequence[str]) -> defaultdict[str, list[sqlite3.Row]]:
        found: defaultdict[str, list[sqlite3.Row]] = defaultdict(list)
        wanted = json.dumps(names)
        for row in self._ask(
            f"{query} WHERE run_id IN (SELECT value FROM json_each(?)) ORDER BY rowid", wanted
        ):
            found[row["run_id"]].append(row)
        return found

    def _ask(self, query: str, *params: Any) -> list[sqlite3.Row]:
        try:
            return self._db.execute(query, params).fetchall()
        except sqlite3.Error as error:
            raise StoreError(f"{self._path} cannot be read: {error}") from None


def _unpacked(data: bytes) -> bytes:
    """What was compressed with Brotli.

    Raises:
        StoreError: it is damaged.
    """
    import pyarrow as pa

    try:
        with pa.CompressedInputStream(pa.BufferReader(data), "brotli") as stream:
            return bytes(stream.read())
    except (pa.ArrowException, OSError) as error:
        raise StoreError(f"it cannot be unpacked: {error}") from None


def _run_of(row: sqlite3.Row, log: Sequence[sqlite3.Row], outputs: Sequence[PastOutput]) -> PastRun:
    """The run of a row.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: something is not as Apsis writes it.
    """
    times = {name: _time(text) for name, text in json.loads(row["times"]).items()}
    meta = json.loads(row["meta"]) or {}
    told = meta.get("program") or {}
    status = told.get("status") or {}
    args = {str(name): str(value) for name, value in json.loads(row["args"]).items()}
    state = row["state"]
    # Who marks a run adds a time: the first end is that of the program.
    finished_at = min((times[end] for end in _ENDS if end in times), default=_at(row["timestamp"]))
    scheduled_at = times.get("schedule") or times.get("scheduled") or finished_at
    started_at = times.get("running")
    origin, rerun_of = _origin([line["message"] for line in log])
    late_s = None
    if origin is Origin.SCHEDULE and state != "skipped":
        late_s = max(0.0, ((started_at or finished_at) - scheduled_at).total_seconds())
    lines = _lines(log, times)
    message = _message(lines, state)
    program, lost = _program_of(row["program"])
    facts = {
        "run_id": int(row["run_id"].removeprefix("r")),
        "job_id": str(row["job_id"]),
        "args": Instance.of(row["job_id"], args).args_json,
        "origin": origin.value,
        "attempt": 1,
        "rerun_of": rerun_of,
        "backfill_id": None,
        "state": state,
        "skip_reason": (message or state) if state == "skipped" else None,
        "labels": json.dumps((meta.get("job") or {}).get("labels") or [], separators=(",", ":")),
        "nominal_at": scheduled_at if origin is Origin.SCHEDULE else None,
        "scheduled_at": scheduled_at,
        "started_at": started_at,
        "finished_at": finished_at,
        "stop_at": times.get("stop"),
        "late": late_s is not None and late_s > _LATE_START_S,
        "late_s": late_s,
        "late_why": None,
        "elapsed_s": _number(meta.get("elapsed")),
        "return_code": _return_code(status),
        "message": message,
        "host": getattr(program, "host", None) or "local",
        "by": None,
    }
    usage = told.get("rusage") or {}
    cpu = [_number(usage.get(name)) for name in ("utime", "stime")]
    rss = _number(usage.get("maxrss"))
    used = (
        None if None in cpu else sum(c for c in cpu if c is not None),
        None if rss is None else int(rss) * 1024,
        None,
        None,
        json.dumps(status) if status else None,
        None,
    )
    return PastRun(
        facts=facts,
        made={"late_start_s": _LATE_START_S},
        program=program,
        log=lines,
        meta=used if any(value is not None for value in used) else None,
        outputs=outputs,
        lost=lost,
    )


def _lines(log: Sequence[sqlite3.Row], times: Mapping[str, datetime]) -> list[PastLine]:
    """The lines of a run's log, each with the state that the run had entered by then."""
    entered = sorted(
        ((at, _LIFE.index(name)) for name, at in times.items() if name in _LIFE), key=lambda entry: entry[1]
    )
    lines = []
    for row in log:
        at = _at(row["timestamp"])
        # The line of a move is written a moment before, or after, the time that Apsis gives to the move.
        by_time = max((n for when, n in entered if when <= at), default=0)
        word, colon, rest = str(row["message"]).partition(": ")
        state = word if word in _LIFE and word in times else _LIFE[by_time]
        lines.append(
            PastLine(ts=at, state=state, message=rest if colon and word in _ENDS else row["message"])
        )
    return lines


def _message(lines: Sequence[PastLine], state: str) -> str | None:
    """What the log says of the end of a run, beside the name of the state."""
    if state == "success":
        return None
    told = [(line.state, line.message) for line in lines if line.message and line.message not in _LIFE]
    for _, message in told:
        if message.startswith("transitioning to "):
            return message
    at_end = [message for in_state, message in told if in_state == state]
    return at_end[-1] if at_end else None


def _origin(messages: Sequence[str]) -> tuple[Origin, int | None]:
    """What made a run, as far as its log tells, and which run it repeats."""
    for message in messages:
        rerun = _RERUN.match(message)
        if rerun:
            return Origin.RERUN, int(rerun[1])
        if message.startswith("scheduled by action of"):
            return Origin.ACTION, None
    if "scheduled: now" in messages:
        return Origin.MANUAL, None
    return Origin.SCHEDULE, None


def _program_of(text: str | None) -> tuple[Program, list[str]]:
    """The program of a run, and what of it is lost."""
    data = None if text is None else json.loads(text)
    if isinstance(data, dict) and data.get("type", "").rpartition(".")[2] in _TYPES:
        data = {**data, "type": _TYPES[data["type"].rpartition(".")[2]]}
    try:
        return program_from_dict(data, is_bound=True), []
    except ApsisError:
        kind = data.get("type") if isinstance(data, dict) else None
        return NoOp(success=False), [f"its program cannot be read ({kind or 'none'})"]


def _return_code(status: Mapping[str, Any]) -> int | None:
    """The exit status, as ours: -N if signal N ended the program."""
    if status.get("signum"):
        return -int(status["signum"])
    return None if status.get("exit_code") is None else int(status["exit_code"])


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _time(text: str) -> datetime:
    """A time as Apsis writes it in JSON: ISO 8601 with a zone."""
    return datetime.fromisoformat(text).astimezone(UTC).replace(tzinfo=None)


def _at(seconds: float) -> datetime:
    return _EPOCH + timedelta(seconds=float(seconds))
