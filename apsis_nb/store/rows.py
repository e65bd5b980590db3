"""Runs as rows of the store, and back."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any, Literal, overload

from apsis_nb.core.actions import action_from_dict
from apsis_nb.core.conditions import Const, condition_from_dict
from apsis_nb.core.instructions import Notice, SavePause, SaveRun
from apsis_nb.core.jobs import retry_from
from apsis_nb.core.programs import Program, program_from_dict
from apsis_nb.core.runs import Instance, Origin, Run
from apsis_nb.core.states import State
from apsis_nb.core.times import format_iso

#: What a column of `base.runs` and of a run's facts is called, in the table's order; `program_id` follows.
FACTS = (
    "run_id", "job_id", "args", "origin", "attempt", "rerun_of", "backfill_id", "state", "skip_reason",
    "labels", "nominal_at", "scheduled_at", "started_at", "finished_at", "stop_at", "late", "late_s",
    "late_why", "elapsed_s", "return_code", "message", "host", "by",
)  # fmt: skip

LogRow = tuple[int, datetime, str, str | None, str | None]

#: How far a notice has come: saved, tried in vain but not for the last time, arrived, or not tried any more.
NoticeState = Literal["pending", "failed", "sent", "given up"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeRow:
    """A step of a notice."""

    run_id: int
    n: int  #: counted from 1 for each run
    event: str
    action: str  #: JSON, without secrets
    state: NoticeState = "pending"
    tries: int = 0
    message: str | None = None  #: what it tells; for a step that failed, what went wrong


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """A line of a run's log that is no move, and may come after its end."""

    run_id: int
    state: str  #: of the run, if it has finished; a live one is known
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputRow:
    """Where a kept output lies."""

    name: str
    content_type: str
    length: int  #: bytes, as the program wrote them
    pack: str  #: name of the pack file
    pack_offset: int
    stored: int  #: bytes in the pack file


@dataclass(frozen=True, slots=True, kw_only=True)
class DroppedRow:
    """That the outputs of a run are given up."""

    run_id: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MetaRow:
    """What a run's program used, and what it says of itself."""

    cpu_s: float | None = None
    max_rss_b: int | None = None
    read_b: int | None = None
    write_b: int | None = None
    detail: Mapping[str, Any] | None = None  #: how it ended
    meta: Any = None  #: JSON values, of the program's own choice


@overload
def naive(at: datetime) -> datetime: ...
@overload
def naive(at: None) -> None: ...
def naive(at: datetime | None) -> datetime | None:
    """A time as the store holds it: UTC without saying so."""
    return None if at is None else at.astimezone(UTC).replace(tzinfo=None)


def aware(at: datetime | None) -> datetime | None:
    """A time of the store as everybody else holds it."""
    return None if at is None else at.replace(tzinfo=UTC)


# -- to rows


def storable(text: str | None) -> str | None:
    """Text as the store can hold it: half characters, which programs may write, become question marks.

    One such character must not make a whole save fail.
    """
    if text is None or text.isascii():
        return text
    return text.encode("utf-8", "replace").decode()


def log_row(save: SaveRun, before: Run | None, at: datetime, program_id: int | None) -> LogRow:
    """The row of `base.run_log`.

    Args:
        save: what to save.
        before: the run as it was saved last; None if it is new.
        at: when the line was noted; a transition has its own time.
        program_id: of a new run.
    """
    run = save.run
    if save.is_transition:
        at = run.state_at
    if before is None:
        data = json.dumps({**_made_from(run), "program_id": program_id}, ensure_ascii=False)
    elif run.is_finished:
        data = None  # its facts are in `base.runs`
    else:
        changed = _changes(before, run, save.message if save.is_transition else before.message)
        data = json.dumps(changed, ensure_ascii=False) if changed else None
    ts = at.astimezone(UTC).replace(tzinfo=None)
    return run.run_id, ts, run.state.value, storable(save.message), storable(data)


def run_row(run: Run, program_id: int) -> tuple[Any, ...]:
    """The row of `base.runs` of a finished run."""
    at = run.finished_at or run.state_at
    return (
        run.run_id,
        run.inst.job_id,
        storable(run.inst.args_json),
        run.origin.value,
        run.attempt,
        run.rerun_of,
        run.backfill_id,
        run.state.value,
        storable(run.skip_reason),
        storable(_labels(run)),
        naive(run.nominal_at),
        naive(run.scheduled_at),
        naive(run.started_at),
        naive(at),
        naive(run.stop_at),
        run.is_late(at),
        run.late_s(at),
        run.late_why,
        run.elapsed_s,
        run.return_code,
        storable(run.message),
        run.host,
        storable(run.by),
        program_id,
    )


def pause_row(save: SavePause) -> tuple[Any, ...]:
    """The row of `base.pauses`."""
    pause = save.pause
    return (
        naive(save.at),
        storable(save.by),
        pause.scope,
        storable(pause.target),
        save.is_paused,
        naive(pause.until),
        storable(pause.reason),
    )


def meta_row(run_id: int, meta: MetaRow) -> tuple[Any, ...]:
    """The row of `base.run_meta`."""
    texts = (None if value is None else storable(_json(value)) for value in (meta.detail, meta.meta))
    return run_id, meta.cpu_s, meta.max_rss_b, meta.read_b, meta.write_b, *texts


def meta_facts(row: Sequence[Any]) -> dict[str, Any]:
    """What is told of it: the columns by name, `detail` and `meta` as JSON values."""
    *figures, detail, meta = row
    facts = dict(zip(("cpu_s", "max_rss_b", "read_b", "write_b"), figures, strict=True))
    values = (None if text is None else json.loads(text) for text in (detail, meta))
    return facts | dict(zip(("detail", "meta"), values, strict=True))


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def program_text(program: Program) -> str:
    """Canonical JSON of a program."""
    text = json.dumps(program.to_dict(), separators=(",", ":"), sort_keys=True, ensure_ascii=False)
    return storable(text) or ""


def _labels(run: Run) -> str:
    return json.dumps(run.labels, separators=(",", ":"), ensure_ascii=False) if run.labels else "[]"


def notice_row(notice: Notice) -> NoticeRow:
    """The first row of a notice: it is to be sent."""
    return NoticeRow(
        run_id=notice.run.run_id,
        n=notice.n,
        event=notice.event,
        action=json.dumps(notice.action.to_dict(), separators=(",", ":"), ensure_ascii=False),
        message=notice.text,
    )


# -- the facts of a run, for people


def run_facts(run: Run, now: datetime) -> dict[str, Any]:
    """The facts of a live run."""
    return {
        "run_id": run.run_id,
        "job_id": run.inst.job_id,
        "args": dict(run.inst.args),
        "origin": run.origin.value,
        "attempt": run.attempt,
        "rerun_of": run.rerun_of,
        "backfill_id": run.backfill_id,
        "state": run.state.value,
        "skip_reason": run.skip_reason,
        "labels": list(run.labels),
        "nominal_at": run.nominal_at,
        "scheduled_at": run.scheduled_at,
        "started_at": run.started_at,
        "finished_at": run.finished_at,
        "stop_at": run.stop_at,
        "late": run.is_late(now),
        "late_s": run.late_s(now),
        "late_why": run.late_why,
        "elapsed_s": run.elapsed_s,
        "return_code": run.return_code,
        "message": run.message,
        "host": run.host,
        "by": run.by,
    }


def facts_of_row(row: Iterable[Any]) -> dict[str, Any]:
    """The facts of a run from a row of the columns `FACTS` of the view `runs`."""
    facts = dict(zip(FACTS, row, strict=True))
    for name in ("nominal_at", "scheduled_at", "started_at", "finished_at", "stop_at"):
        facts[name] = aware(facts[name])
    facts["args"], facts["labels"] = json.loads(facts["args"]), json.loads(facts["labels"])
    return facts


# -- the journal's `data`, from which a run is rebuilt

_TIMES = frozenset({"nominal_at", "scheduled_at", "stop_at", "late_finish_at", "started_at", "finished_at"})
#: Fields that `data` may name. The others are a row's own columns, or never change and are told apart below.
_KEPT = tuple(
    f
    for f in fields(Run)
    if f.name not in {"run_id", "inst", "program", "origin", "state", "state_at", "message"}
)
_MAY_CHANGE = tuple(f.name for f in _KEPT if f.name != "cwd")


def _made_from(run: Run) -> dict[str, Any]:
    """All that differs from an empty run."""
    data: dict[str, Any] = {
        "job_id": run.inst.job_id,
        "args": run.inst.args_json,
        "origin": run.origin.value,
        "late_start_s": run.late_start_s,  # also if it is the default: the view of live runs needs it
    }
    for field in _KEPT:
        value = getattr(run, field.name)
        if value is not field.default and value != field.default:
            data[field.name] = _encoded(field.name, value)
    if run.message is not None:
        data["message"] = run.message
    return data


def _changes(before: Run, after: Run, message: str | None) -> dict[str, Any]:
    """The fields that changed. `message`: that of the run, as the row alone would tell it."""
    data = {}
    for name in _MAY_CHANGE:
        was, now = getattr(before, name), getattr(after, name)
        if was is not now and was != now:
            data[name] = _encoded(name, now)
    if after.message != message:
        data["message"] = after.message
    return data


def _encoded(name: str, value: Any) -> Any:
    if value is None:
        return None
    if name in _TIMES:
        return format_iso(value.astimezone(UTC).replace(tzinfo=None))
    if name in ("conditions", "actions"):
        return [part.to_dict() for part in value]
    if name == "retry":
        return value.to_dict()
    if name == "labels":
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    if name == "run_state":
        return dict(value)
    return value


def _decoded(name: str, value: Any) -> Any:
    if value is None:
        return None
    if name in _TIMES:
        return datetime.fromisoformat(value).replace(tzinfo=UTC)
    if name == "conditions":
        return tuple(condition_from_dict(part, is_bound=True) for part in value)
    if name == "actions":
        return tuple(action_from_dict(part) for part in value)
    if name == "labels":
        return tuple(json.loads(value))
    if name == "groups":
        return tuple(value)
    if name == "retry":
        return retry_from(value)
    return value


def made_run(row: LogRow, program: Mapping[str, Any]) -> Run:
    """The run as it was made.

    Args:
        row: its first in `base.run_log`; the times of a row are naive, UTC.
        program: its program, as JSON tells it.
    """
    run_id, ts, state, _, text = row
    if text is None:
        raise ValueError(f"the journal of run r{run_id} has lost its first row")
    data = json.loads(text)
    given = {f.name: _decoded(f.name, data[f.name]) for f in _KEPT if f.name in data}
    return Run(
        run_id=run_id,
        inst=Instance.of(data["job_id"], json.loads(data["args"])),
        program=program_from_dict(program, is_bound=True),
        origin=Origin(data["origin"]),
        state=State(state),
        state_at=ts.replace(tzinfo=UTC),
        message=data.get("message"),
        **given,
    )


def held_back(row: LogRow) -> LogRow:
    """The row without what may be unreadable, for a run that nobody shall start: a condition that never holds
    takes the place of its own, and it has no actions."""
    run_id, ts, state, message, text = row
    if text is None:
        return row
    data = {**json.loads(text), "conditions": [Const(value=False).to_dict()], "actions": []}
    return run_id, ts, state, message, json.dumps(data)


def program_id_of(row: LogRow) -> int:
    """The program of the run whose first row in `base.run_log` this is."""
    return int(json.loads(row[4] or "{}")["program_id"])


def moved_on(run: Run, row: LogRow) -> Run:
    """The run after a further row of its journal."""
    _, ts, state, message, text = row
    data = json.loads(text) if text else {}
    changed: dict[str, Any] = {name: _decoded(name, value) for name, value in data.items()}
    if State(state) is not run.state:
        changed |= {"state": State(state), "state_at": ts.replace(tzinfo=UTC)}
        changed.setdefault("message", message)
    return replace(run, **changed)
