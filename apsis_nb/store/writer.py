"""The one thread that writes: all that is queued goes into one transaction, in the order in which it came.

A commit costs about the same for one row as for a hundred, so while one is under way the next gathers.
"""

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime
from queue import Empty, SimpleQueue
from typing import Any

import duckdb

from apsis_nb.core.instructions import Save, SaveClock, SaveMark, SaveNotice, SavePause, SaveRun
from apsis_nb.core.programs import Program
from apsis_nb.core.runs import Run
from apsis_nb.store.errors import StoreError
from apsis_nb.store.queries import queries
from apsis_nb.store.rows import (
    DroppedRow,
    LogLine,
    LogRow,
    MetaRow,
    NoticeRow,
    OutputRow,
    log_row,
    meta_row,
    naive,
    notice_row,
    pause_row,
    program_text,
    run_row,
    storable,
)

#: From the begin of one commit to that of the next. From made to saved it took 8 ms (median), and 13 with 10.
MIN_INTERVAL_S = 0.005
#: After a commit the writer rests for so many times as long for each call that was in it, to so many at most.
#: So the more there is to do, the more is done at once: with 200 starts/s in 87 % of a processor, not in 91.
#: With rests of four times as long it is 65 %, but what is due starts 16 ms later (median).
REST_EACH, REST = 0.1, 0.5
#: With so many commits within so many seconds it is pressed.
PRESSED_COMMITS, PRESSED_S = 60, 2.0
#: How many program texts are remembered, so that the same text is stored once.
PROGRAMS_KNOWN = 20_000

#: After one of these nobody knows what is on disk, or nothing more can be written. All else is a bad value.
BROKEN = (
    duckdb.FatalException,
    duckdb.InternalException,
    duckdb.IOException,
    duckdb.TransactionException,
    duckdb.OutOfMemoryException,
    duckdb.ConnectionException,
    duckdb.ResourceInUseException,
)


@dataclass(frozen=True, slots=True)
class Work:
    """What one call wants committed."""

    saves: Sequence[Save] = ()
    outputs: Mapping[int, Sequence[OutputRow]] = field(default_factory=dict)
    meta: Mapping[int, MetaRow] = field(default_factory=dict)
    next_id: int | None = None  #: ids below are taken
    noted_at: datetime | None = None  #: when a line that is no transition was noted
    notices: Sequence[NoticeRow] = ()  #: steps of those that were saved before
    lines: Sequence[LogLine] = ()
    dropped: Sequence[DroppedRow] = ()
    programs: Sequence[Program] = ()  #: to be known, for rows that others make
    program_ids: list[int] = field(default_factory=list)  #: of `programs`, once it is done
    step: Callable[[duckdb.DuckDBPyConnection], object] | None = None  #: more that the transaction does
    done: "Future[None]" = field(default_factory=Future)


@dataclass(slots=True)
class Rows:
    """The rows of a transaction."""

    run_log: list[LogRow] = field(default_factory=list)
    runs: list[tuple[Any, ...]] = field(default_factory=list)
    outputs: list[tuple[Any, ...]] = field(default_factory=list)
    run_meta: list[tuple[Any, ...]] = field(default_factory=list)
    programs: list[tuple[int, str]] = field(default_factory=list)
    clock: list[tuple[datetime]] = field(default_factory=list)
    ids: list[tuple[int]] = field(default_factory=list)
    pauses: list[tuple[Any, ...]] = field(default_factory=list)
    notices: list[tuple[Any, ...]] = field(default_factory=list)
    dropped: list[tuple[Any, ...]] = field(default_factory=list)
    marks: list[SaveMark] = field(default_factory=list)

    TABLES = (
        "run_log",
        "runs",
        "outputs",
        "run_meta",
        "programs",
        "clock",
        "ids",
        "pauses",
        "notices",
        "dropped",
    )

    def add_notice(self, row: NoticeRow, at: datetime) -> None:
        """A step of a notice, at a naive time in UTC."""
        message = storable(row.message)
        self.notices.append(
            (row.run_id, row.n, at, row.event, storable(row.action), row.state, row.tries, message)
        )


class LiveRuns:
    """The live runs as they are on disk, each with its program's id: changed by each commit."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs: dict[int, tuple[Run, int]] = {}
        self._ids: list[int] = []
        self._version = 0

    def get(self, run_id: int) -> tuple[Run, int] | None:
        """The run and the id of its program."""
        return self._runs.get(run_id)

    def ids(self) -> tuple[int, list[int]]:
        """A number that changes with the list, and the ids of all live runs."""
        with self._lock:
            if len(self._ids) != len(self._runs):  # emptied by each change
                self._ids = list(self._runs)
            return self._version, self._ids

    def runs(self) -> list[Run]:
        """All of them, in no order."""
        with self._lock:
            return [run for run, _ in self._runs.values()]

    def update(self, changed: Mapping[int, tuple[Run, int]]) -> None:
        """Runs that were saved; the finished ones leave."""
        with self._lock:
            before = len(self._runs)
            came = False
            for run_id, entry in changed.items():
                if entry[0].is_finished:
                    self._runs.pop(run_id, None)
                else:
                    came = came or run_id not in self._runs
                    self._runs[run_id] = entry
            if came or len(self._runs) != before:
                self._ids = []
                self._version += 1

    def __len__(self) -> int:
        return len(self._runs)


class Writer:
    """Commits what is queued, on a thread of its own."""

    def __init__(
        self,
        cursor: duckdb.DuckDBPyConnection,
        live: LiveRuns,
        *,
        next_program_id: int,
        on_broken: Callable[[Exception], None],
    ) -> None:
        self._cursor = cursor
        self._live = live
        self._next_program_id = next_program_id
        self._on_broken = on_broken
        self._programs: OrderedDict[str, int] = OrderedDict()
        self._queue: SimpleQueue[Work | None] = SimpleQueue()
        self._appenders = {t: cursor.appender(f"base.{t}") for t in Rows.TABLES}
        self._thread = threading.Thread(target=self._run, name="apsis-nb-writer", daemon=True)
        self.error: StoreError | None = None  #: set once nothing more can be written
        self.commits = 0
        self._committed_at: deque[float] = deque([-PRESSED_S] * PRESSED_COMMITS, PRESSED_COMMITS)
        self.last_commit_s = 0.0

    def start(self) -> None:
        """Begin to commit."""
        self._thread.start()

    def submit(self, work: Work) -> "Future[None]":
        """Queue it; what was queued before is committed before, or with it."""
        work.done.set_running_or_notify_cancel()  # from here on it can no longer be cancelled
        self._queue.put(work)
        return work.done

    def queued(self) -> int:
        """How many calls wait."""
        return self._queue.qsize()

    @property
    def is_pressed(self) -> bool:
        """Whether commits come one after the other, and so need a processor."""
        return time.monotonic() - self._committed_at[0] < PRESSED_S

    def close(self) -> None:
        """Commit what is queued, then end."""
        self._queue.put(None)
        self._thread.join()
        self._appenders.clear()

    # -- on the writer's thread

    def _run(self) -> None:
        is_open = True
        while is_open:
            group: list[Work] = []
            work = self._queue.get()
            began = time.monotonic()
            while True:
                if work is None:
                    is_open = False
                else:
                    group.append(work)
                try:
                    work = self._queue.get_nowait()
                except Empty:
                    break
            if group:
                self._commit(group)
            if is_open and group:
                rest_s = min(REST, REST_EACH * len(group)) * self.last_commit_s
                pause_s = began + max(MIN_INTERVAL_S, self.last_commit_s + rest_s) - time.monotonic()
                if pause_s > 0:
                    time.sleep(pause_s)

    def _commit(self, group: list[Work]) -> None:
        """One transaction for all; if it fails on a value, one for each, so that only its own call fails."""
        if not self._try_commit(group):
            for work in group:
                self._try_commit([work])

    def _try_commit(self, group: list[Work]) -> bool:
        """Whether the group needs no second try: it is committed, or failed for good."""
        error: Exception | None = self.error
        began = time.monotonic()
        if error is None:
            try:
                changed = self._write(group)
            except Exception as e:  # whatever it is, those who wait must hear of it
                self._undo()
                if isinstance(e, BROKEN):
                    self.error = StoreError(f"the run store cannot be written any more: {e}")
                    self.error.__cause__ = e
                    self._on_broken(e)
                    error = self.error
                elif len(group) > 1:
                    return False
                else:
                    error = StoreError(f"cannot be saved: {e}")
                    error.__cause__ = e
            else:
                self._live.update(changed)
                self.last_commit_s = time.monotonic() - began
        for work in group:
            if error is None:
                work.done.set_result(None)
            else:
                work.done.set_exception(error)
        return True

    def _write(self, group: list[Work]) -> dict[int, tuple[Run, int]]:
        rows = Rows()
        changed: dict[int, tuple[Run, int]] = {}
        for work in group:
            for save in work.saves:
                match save:
                    case SaveRun():
                        self._add(save, work.noted_at or save.run.state_at, rows, changed)
                    case SaveClock():
                        rows.clock = [(naive(save.at),)]  # the last one counts
                    case SavePause():
                        rows.pauses.append(pause_row(save))
                    case SaveNotice(notice=notice):
                        rows.add_notice(notice_row(notice), naive(work.noted_at or notice.run.state_at))
                    case SaveMark():
                        rows.marks.append(save)
            if work.noted_at is not None:
                for notice_step in work.notices:
                    rows.add_notice(notice_step, naive(work.noted_at))
                rows.dropped += [(d.run_id, naive(work.noted_at), d.reason) for d in work.dropped]
                for line in work.lines:
                    self._add_line(line, work.noted_at, rows, changed)
            for run_id, outputs in work.outputs.items():
                rows.outputs += [
                    (run_id, o.name, o.content_type, o.length, o.pack, o.pack_offset, o.stored)
                    for o in outputs
                ]
            rows.run_meta += [meta_row(run_id, meta) for run_id, meta in work.meta.items()]
            work.program_ids[:] = [self._program_id(program, rows) for program in work.programs]
            if work.next_id is not None:
                rows.ids = [(work.next_id,)]
        filled = [(table, batch) for table in Rows.TABLES if (batch := getattr(rows, table))]
        steps = [work.step for work in group if work.step is not None]
        if filled or rows.marks or steps:
            self._cursor.begin()
            for table, batch in filled:
                appender = self._appenders[table]
                appender.append_rows(batch)
                appender.flush()
            for mark in rows.marks:
                self._mark(mark)
            for step in steps:
                step(self._cursor)
            self._cursor.commit()
            self.commits += 1
            self._committed_at.append(time.monotonic())
        return changed

    def _add(
        self, save: SaveRun, noted_at: datetime, rows: Rows, changed: dict[int, tuple[Run, int]]
    ) -> None:
        run = save.run
        before = changed.get(run.run_id) or self._live.get(run.run_id)
        if before is None:
            program_id = self._program_id(run.program, rows)
            rows.run_log.append(log_row(save, None, noted_at, program_id))
        else:
            program_id = before[1]
            rows.run_log.append(log_row(save, before[0], noted_at, None))
        if run.is_finished and save.is_transition:
            rows.runs.append(run_row(run, program_id))
        changed[run.run_id] = run, program_id

    def _add_line(
        self, line: LogLine, at: datetime, rows: Rows, changed: Mapping[int, tuple[Run, int]]
    ) -> None:
        """A live run is rebuilt from its rows: this one must not seem to move it."""
        live = changed.get(line.run_id) or self._live.get(line.run_id)
        state = line.state if live is None else live[0].state.value
        rows.run_log.append((line.run_id, naive(at), state, storable(line.message), None))

    def _mark(self, mark: SaveMark) -> None:
        """Give a finished run another end. Its row is made anew: an UPDATE hinders checkpoints."""
        run = mark.run
        line = {"ts": naive(mark.at), "line": storable(mark.message)}
        params = {"run_id": run.run_id, "state": run.state.value, "message": storable(run.message)}
        told = {**line, **{k: params[k] for k in ("run_id", "state")}}
        self._cursor.execute(queries()["mark_line"].text, told)
        self._cursor.execute(queries()["mark_anew"].text, params)
        self._cursor.execute(queries()["mark_away"].text, {k: params[k] for k in ("run_id", "state")})

    def _program_id(self, program: Program, rows: Rows) -> int:
        text = program_text(program)
        program_id = self._programs.get(text)
        if program_id is None:
            program_id, self._next_program_id = self._next_program_id, self._next_program_id + 1
            rows.programs.append((program_id, text))
            self._programs[text] = program_id
            if len(self._programs) > PROGRAMS_KNOWN:
                self._programs.popitem(last=False)
        else:
            self._programs.move_to_end(text)
        return program_id

    def _undo(self) -> None:
        """Leave the transaction; nothing of it must turn up in the next."""
        self._programs.clear()  # some may have been remembered, but not stored
        try:
            for appender in self._appenders.values():
                appender.clear()
            self._cursor.rollback()
        except duckdb.Error:
            pass  # there was no transaction, or DuckDB has ended it by itself
