"""The forms in which values travel between server and client: JSON for runs and jobs, Arrow for tables."""

import io
import itertools
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import orjson

from apsis_nb.core.doctor import Finding
from apsis_nb.core.jobs import Job, job_to_dict
from apsis_nb.core.lateness import Miss
from apsis_nb.core.pauses import Pause
from apsis_nb.core.runs import Run
from apsis_nb.core.times import format_iso, format_time
from apsis_nb.core.why import Cause

if TYPE_CHECKING:
    import pyarrow as pa

#: Media type of an Arrow stream.
ARROW = "application/vnd.apache.arrow.stream"

#: What is told about one run alone: the store keeps these apart, and lists leave them out.
RUN_DETAILS = ("program", "meta", "imported_from")
#: The names of what is told about a run, in this order.
RUN_FACTS = (
    "run_id",
    "job_id",
    "args",
    "origin",
    "attempt",
    "rerun_of",
    "backfill_id",
    "state",
    "skip_reason",
    "labels",
    "nominal_at",
    "scheduled_at",
    "started_at",
    "finished_at",
    "stop_at",
    "late",
    "late_s",
    "late_why",
    "elapsed_s",
    "return_code",
    "message",
    "host",
    "by",
    *RUN_DETAILS,
)

#: Rows of a table that are put into one message of an Arrow stream.
_BATCH_ROWS = 65_536
#: How much of a stream is taken at once when it is read.
_PIECE_B = 1 << 18


def to_json(value: Any) -> bytes:
    """JSON without blanks, UTF-8. `value` holds JSON's own types; a float that is no number becomes null."""
    try:
        return orjson.dumps(value)
    except TypeError:  # half of a surrogate pair is no text, and a whole number may be of any size
        text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        return text.encode(errors="replace")


def run_facts(run: Run, now: datetime) -> dict[str, Any]:
    """What is told about a run that is in memory.

    Args:
        run: in any state.
        now: aware; what a run that has not started is late by, and how long a running one has run, counts up
            to it.

    Returns:
        The facts named in `RUN_FACTS`, as JSON values: times as ISO 8601 in UTC or None, durations in
        seconds. `late_s` is None unless a schedule made the run.
    """
    elapsed_s = run.elapsed_s
    if elapsed_s is None and run.started_at is not None and not run.is_finished:
        elapsed_s = max(0.0, (now - run.started_at).total_seconds())
    return {
        "run_id": run.name,
        "job_id": run.job_id,
        "args": run.args,
        "origin": run.origin.value,
        "attempt": run.attempt,
        "rerun_of": _run_name(run.rerun_of),
        "backfill_id": run.backfill_id,
        "state": run.state.value,
        "skip_reason": run.skip_reason,
        "labels": list(run.labels),
        "nominal_at": _time(run.nominal_at),
        "scheduled_at": _time(run.scheduled_at),
        "started_at": _time(run.started_at),
        "finished_at": _time(run.finished_at),
        "stop_at": _time(run.stop_at),
        "late": run.is_late(now),
        "late_s": run.late_s(now),
        "late_why": run.late_why,
        "elapsed_s": elapsed_s,
        "return_code": run.return_code,
        "message": run.message,
        "host": run.host,
        "by": run.by,
        "program": run.program.to_dict(),
        "meta": None,  # known when it has finished; what a program says meanwhile is no fact of the machine
        "imported_from": [],  # only finished runs come from elsewhere
    }


class RunFacts(Mapping[str, Any]):
    """As `run_facts`, made when they are read: before anybody reads of a state the next one may be there.

    Args:
        run, now: as of `run_facts`.
    """

    __slots__ = ("_facts", "_now", "_run")

    def __init__(self, run: Run, now: datetime) -> None:
        self._run, self._now = run, now
        self._facts: dict[str, Any] | None = None

    def __getitem__(self, name: str) -> Any:
        if name == "run_id":
            return self._run.name
        if name == "job_id":
            return self._run.job_id
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def _all(self) -> dict[str, Any]:
        if self._facts is None:
            self._facts = run_facts(self._run, self._now)
        return self._facts


def late_facts(run: Run, kind: Miss, text: str) -> dict[str, Any]:
    """What is told when a run of a schedule misses its time.

    Args:
        run: as it is then.
        kind: it is late with its `start` or its `finish`, or it is `missed`: not run at all.
        text: what is the matter.
    """
    return {
        "run_id": run.name,
        "job_id": run.job_id,
        "args": run.args,
        "kind": kind,
        "state": run.state.value,
        "scheduled_at": _time(run.scheduled_at),
        "message": text,
    }


def pause_facts(pause: Pause) -> dict[str, Any]:
    """What is told about a pause."""
    return {
        "scope": pause.scope,
        "target": pause.target,
        "since": format_time(pause.at),
        "until": _time(pause.until),
        "reason": pause.reason,
        "by": pause.by,
    }


def cause_facts(cause: Cause) -> dict[str, Any]:
    """What is told about why something has not run."""
    return {
        "kind": cause.kind,
        "text": cause.text,
        "depth": cause.depth,
        "job_id": cause.job_id,
        "args": dict(cause.args),
        "run_id": None if cause.run_id is None else f"r{cause.run_id}",
        "output": cause.output,
    }


def finding_facts(finding: Finding) -> dict[str, Any]:
    """What is told about something that is not as it should be."""
    names = ("kind", "level", "subject", "message", "fix", "is_mendable")
    return {name: getattr(finding, name) for name in names}


def facts_of_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """What is told about a run that the store gave.

    Args:
        row: the store's values by name: `run_id` and `rerun_of` as whole numbers, times aware. What it has
            beyond `RUN_FACTS` is left out; what it lacks is None.

    Returns:
        The same form as that of `run_facts`.
    """
    facts = {name: plain(row.get(name)) for name in RUN_FACTS}
    facts["run_id"], facts["rerun_of"] = _run_name(row["run_id"]), _run_name(row.get("rerun_of"))
    for name in ("args", "labels", "program"):
        if isinstance(facts[name], str):  # JSON text
            facts[name] = json.loads(facts[name])
    return facts


def job_facts(job: Job) -> dict[str, Any]:
    """What is told about a job: as `core.jobs.job_to_dict` has it, in JSON values."""
    facts: dict[str, Any] = plain(job_to_dict(job))
    return facts


class ArrowStream:
    """Makes an Arrow IPC stream, compressed with zstd, batch by batch.

    Args:
        schema: of all batches.
    """

    def __init__(self, schema: "pa.Schema") -> None:
        import pyarrow as pa

        self._sink = io.BytesIO()
        options = pa.ipc.IpcWriteOptions(compression=pa.Codec("zstd", compression_level=1))
        self._writer = pa.ipc.new_stream(self._sink, schema, options=options)

    def write(self, batch: "pa.RecordBatch") -> bytes:
        """The bytes of a batch; before the first those of the schema."""
        self._writer.write_batch(batch)
        return self._taken()

    def end(self) -> bytes:
        """The last bytes."""
        self._writer.close()
        return self._taken()

    def _taken(self) -> bytes:
        piece = self._sink.getvalue()
        self._sink.seek(0)
        self._sink.truncate()
        return piece


def arrow_stream(table: "pa.Table | pa.RecordBatchReader") -> Iterator[bytes]:
    """The bytes of an Arrow IPC stream, piece by piece."""
    import pyarrow as pa

    stream = ArrowStream(table.schema)
    batches = table.to_batches(max_chunksize=_BATCH_ROWS) if isinstance(table, pa.Table) else table
    for batch in batches:
        yield stream.write(batch)
    yield stream.end()


def arrow_bytes(table: "pa.Table") -> bytes:
    """All bytes of the Arrow IPC stream of a table."""
    return b"".join(arrow_stream(table))


def read_arrow(
    data: bytes | Iterable[bytes], each: "Callable[[pa.RecordBatch], pa.RecordBatch] | None" = None
) -> "pa.Table":
    """The table of an Arrow IPC stream.

    Args:
        data: all of it, or its pieces as they come.
        each: what is to be done with each part of the table as soon as it has come.

    Raises:
        ValueError: `data` is none, or is cut off.
    """
    import pyarrow as pa

    source = data if isinstance(data, bytes) else io.BufferedReader(_Incoming(iter(data)), _PIECE_B)
    try:
        with pa.ipc.open_stream(source) as reader:
            return reader.read_all() if each is None else table_of(reader, each)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"not an Arrow stream: {error}") from None


def table_of(
    batches: "pa.RecordBatchReader", each: "Callable[[pa.RecordBatch], pa.RecordBatch]"
) -> "pa.Table":
    """The table of some batches, each of which is changed first in the same way."""
    import pyarrow as pa

    empty = pa.RecordBatch.from_pylist([], batches.schema)  # there may be no other
    return pa.Table.from_batches([each(batch) for batch in itertools.chain([empty], batches)])


class _Incoming(io.RawIOBase):
    """Pieces of bytes as a file, which has no more than the piece that came last."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._piece = pieces, memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._piece:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._piece = memoryview(piece)
        count = min(len(buffer), len(self._piece))
        buffer[:count], self._piece = self._piece[:count], self._piece[count:]
        return count


def to_json_columns(table: "pa.Table") -> list[dict[str, str]]:
    """Name and type (in Arrow's words) of each column; names that occur twice get a number."""
    import pyarrow as pa

    types = [f.type.value_type if pa.types.is_dictionary(f.type) else f.type for f in table.schema]
    return [{"name": n, "type": str(t)} for n, t in zip(_names(table), types, strict=True)]


def to_json_rows(table: "pa.Table") -> list[dict[str, Any]]:
    """The rows of a table as JSON values by column name. Times without a zone are UTC; NaN becomes None."""
    names = _names(table)
    columns = [[plain(v) for v in column.to_pylist()] for column in table.columns]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _names(table: "pa.Table") -> list[str]:
    names: list[str] = []
    for name in table.column_names:
        unique, n = name, 1
        while unique in names:
            n += 1
            unique = f"{name}_{n}"
        names.append(unique)
    return names


def _run_name(run_id: int | None) -> str | None:
    return None if run_id is None else f"r{run_id}"


def _time(at: datetime | None) -> str | None:
    return None if at is None else format_time(at)


def plain(value: Any) -> Any:
    """A value as one of JSON's own types."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None
        case datetime():  # also pandas.Timestamp, which pyarrow gives for nanoseconds
            return format_time(value if value.tzinfo else value.replace(tzinfo=UTC))
        case date() | time():
            return format_iso(value)
        case timedelta():
            return value.total_seconds()
        case Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
        case bytes():
            return value.hex()
        case Mapping():
            return {str(k): plain(v) for k, v in value.items()}
        case list() | tuple() | set() | frozenset():
            return [plain(v) for v in value]
        case _:
            return str(value)
