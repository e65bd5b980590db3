"""The run store: what the engine saves and asks, and what people ask of history."""

import itertools
import json
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from heapq import nlargest
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import duckdb

from apsis_nb.core.errors import ApsisError, NotFound
from apsis_nb.core.instructions import FindRun, Save
from apsis_nb.core.pauses import Pause
from apsis_nb.core.programs import NoOp, Program
from apsis_nb.core.runs import Run
from apsis_nb.core.states import FINISHED, State
from apsis_nb.store.archive import FOLDER, Archive, Month, months_named
from apsis_nb.store.archiving import Archiver
from apsis_nb.store.backups import Backups, keeping
from apsis_nb.store.errors import StoreError
from apsis_nb.store.files import size_of
from apsis_nb.store.opening import connect, journal_of, lock_down, set_up, tidy
from apsis_nb.store.outputs import Packer, read_range
from apsis_nb.store.queries import archive_queries, queries
from apsis_nb.store.readers import Readers
from apsis_nb.store.retention import Retention
from apsis_nb.store.rows import (
    FACTS,
    LogLine,
    LogRow,
    MetaRow,
    NoticeRow,
    OutputRow,
    aware,
    facts_of_row,
    held_back,
    made_run,
    meta_facts,
    moved_on,
    naive,
    program_id_of,
    run_facts,
)
from apsis_nb.store.sandbox import HINT, MAX_TIME_S, MEMORY_SHARE, SLOW_CLOCKS, Rules, run_boxed
from apsis_nb.store.wanted import Wanted
from apsis_nb.store.writer import LiveRuns, Work, Writer

if TYPE_CHECKING:
    import pyarrow as pa

#: Cursors for the store's own queries.
READERS = 6
#: Cursors for the queries of clients; a third waits.
BOXED_READERS = 2
CHECKPOINT_INTERVAL_S = 5.0
CHECKPOINT_WAL_BYTES = 1 << 20
#: Ids are given in rising order, but one may be saved after a later one; no two that do are this far apart.
ID_MARGIN = 100_000
#: What the queries of history are asked with unless told; `since` and `until` are the last 90 days.
DEFAULT_WINDOW = timedelta(days=90)
_WINDOW: dict[str, Any] = {"since": None, "until": None, "job_id": None}
HISTORY: dict[str, dict[str, Any]] = {
    "runs": _WINDOW | {"state": None, "label": None, "late": None, "args": {}, "limit": None},
    "log": {"since": None, "until": None},
    "timeline": _WINDOW | {"px": 1200, "max_bars": 4000},
    "counts": _WINDOW | {"unit": "day", "tz": "UTC", "by_job": False},
    "durations": _WINDOW | {"unit": "day"},
    "lateness": _WINDOW | {"unit": "day"},
    "calendar": _WINDOW | {"unit": "day", "tz": "UTC"},
    "missed": _WINDOW | {"limit": None},
    "jobs": _WINDOW,
    "summary": _WINDOW,
    "on_time": _WINDOW | {"unit": "day"},
    "drift": {"until": None, "job_id": None, "period": timedelta(days=28), "tz": "UTC"},
    "cost": _WINDOW | {"cpu_hour": 0.0, "gb_hour": 0.0},
    "concurrency": _WINDOW | {"every": timedelta(minutes=5)},
    "estimates": _WINDOW | {"limit": 30},
    "last_runs": _WINDOW | {"limit": 30},
}
#: What a finished run has that it was not made with.
_ENDED = ("started_at", "finished_at", "late_why", "skip_reason", "message", "return_code", "elapsed_s")
#: Where the time at which it was due stands in a row of a run.
_SCHEDULED_AT = FACTS.index("scheduled_at")
UNITS = ("hour", "day", "week", "month", "year")
#: Rows of a piece of a long answer: with fewer, to plan each query takes a good part of the time.
PIECE_ROWS = 1 << 16
#: So few of the newest DuckDB finds by itself; of more it would sort all.
FEW_ROWS = 10_000
#: Of which the answer to `concurrency` has no more.
MOST_PIECES = 100_000


def utc_now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251  (the day of a pack file and the time of a log line: the shell's business)


class Questions:
    """What may be asked of a run store, whoever holds its file: a server that writes it, or a reader alone.

    Args:
        path: of the file.
        readers: for questions of ours.
        boxed: for the queries of clients.
        rules: what these may name.
        live: the runs that have not finished.
        archive: the runs that are not in the file any more.
        now: the clock, aware.
    """

    def __init__(
        self,
        path: Path,
        *,
        readers: Readers,
        boxed: Readers,
        rules: Rules,
        live: LiveRuns,
        archive: Archive,
        now: Callable[[], datetime],
    ) -> None:
        self.path = path
        #: Months of old runs, in files of their own. What is asked here is asked of them, too.
        self.archive = archive
        self._readers, self._boxed, self._rules = readers, boxed, rules
        self._live = live
        self._now = now
        self._packs = path.with_suffix(".outputs")

    @property
    def packs(self) -> Path:
        """The folder of the pack files."""
        return self._packs

    def now(self) -> datetime:
        """The time, aware."""
        return self._now()

    def rows(
        self,
        query: str,
        params: Mapping[str, Any],
        *,
        ids: tuple[int, int] | None = None,
        span: tuple[datetime | None, datetime | None] = (None, None),
    ) -> list[tuple[Any, ...]]:
        """All rows of a query of ours that gives few.

        Args:
            ids: if it is about runs with ids from the first to the last, and no others.
            span: if it is about what happened within a span, and nothing else; naive times, UTC; None: no
                bound.
        """

        def ask() -> list[tuple[Any, ...]]:
            months = self.archive.touching(*span) if ids is None else self.archive.holding(*ids)
            return self._rows_of(query, params, months)

        return self.archive.settled(ask)

    def _rows_of(
        self, query: str, params: Mapping[str, Any], months: Sequence[Month]
    ) -> list[tuple[Any, ...]]:
        return self._readers.rows(*self.archive.put_in(query, params, months))

    def _of_run(self, name: str, run_id: int) -> list[tuple[Any, ...]]:
        """The rows of a query about one run."""
        return self.rows(queries()[name].text, {"run_id": run_id}, ids=(run_id, run_id))

    def _since(self, name: str, since: datetime) -> list[tuple[Any, ...]]:
        """The rows of a query about what happened since a time."""
        at = naive(since)
        return self.rows(queries()[name].text, {"since": at}, span=(at, None))

    # -- one run

    def run(self, run_id: int) -> dict[str, Any] | None:
        """The facts of a run: python values by name, times aware; None: there is no such run.

        Beside its own, `program`; `meta`: what that used and said of itself, None if that is not known; and
        `imported_from`: where it was before, the last place first, as `source`, `run_id` and `at`.
        """
        live = self._live.get(run_id)
        if live is not None:
            facts = run_facts(live[0], self._now())
            return {**facts, "program": live[0].program.to_dict(), "meta": None, "imported_from": []}
        rows = self._of_run("run", run_id)
        if not rows:
            return None
        *row, program_id = rows[0]
        meta = self._of_run("meta_of_run", run_id)
        return {
            **facts_of_row(row),
            "program": self._program(program_id),
            "meta": meta_facts(meta[0]) if meta else None,
            "imported_from": [
                {"source": source, "run_id": f"r{source_run}", "at": aware(ts)}
                for source, source_run, ts in self._of_run("imported_of_run", run_id)
            ],
        }

    def _program(self, program_id: int) -> dict[str, Any]:
        # Also that of a run in the archive: programs stay in the database.
        rows = self._readers.rows(queries()["program"].text, {"program_id": program_id})
        return dict(json.loads(rows[0][0])) if rows else {}

    def log(self, run_id: int) -> list[dict[str, Any]]:
        """The lines of a run's log in order: ts (aware), state, message."""
        rows = self._of_run("log_of_run", run_id)
        return [{"ts": aware(ts), "state": state, "message": message} for ts, state, message in rows]

    def outputs(self, run_id: int) -> list[dict[str, Any]]:
        """The kept outputs of a run: name, length (bytes), content_type."""
        return [
            {"name": o.name, "length": o.length, "content_type": o.content_type}
            for o in self._output_rows(run_id)
        ]

    def read_output(
        self, run_id: int, name: str = "output", offset: int = 0, limit: int = 1 << 20
    ) -> tuple[bytes, int]:
        """A piece of a kept output.

        Args:
            offset: of its first byte; negative: from the end.
            limit: most bytes to give.

        Returns:
            The bytes, and the size of the whole output.

        Raises:
            NotFound: the run has no such output (yet).
            StoreError: it is known, but cannot be read.
        """
        for row in self._output_rows(run_id):
            if row.name == name:
                return read_range(self._packs, row, offset, limit), row.length
        dropped = self.dropped(run_id)
        if dropped is not None:
            raise NotFound(f"the outputs of run r{run_id} were dropped: {dropped['reason']}")
        raise NotFound(f"run r{run_id} has no output {name}")

    def dropped(self, run_id: int) -> dict[str, Any] | None:
        """When the outputs of a run were given up (`at`, aware), and the `reason`; None: they were not."""
        rows = self._of_run("dropped_of_run", run_id)
        return {"at": aware(rows[0][0]), "reason": rows[0][1]} if rows else None

    def _output_rows(self, run_id: int) -> list[OutputRow]:
        rows = self._of_run("run_outputs", run_id)
        return [
            OutputRow(
                name=name,
                content_type=content_type,
                length=length,
                pack=pack,
                pack_offset=pack_offset,
                stored=stored,
            )
            for name, content_type, length, pack, pack_offset, stored in rows
        ]

    def packs_lost(self) -> list[str]:
        """The pack files with outputs that are kept, and that are not there or not as long as they were."""
        try:
            needed = self.rows(keeping()["packs_needed"].text, {})
        except StoreError:  # months of the archive are not there, which is told by itself
            return []
        return [pack for pack, length in needed if size_of(self._packs / pack) < length]

    # -- many runs

    def runs(
        self,
        *,
        job_id: str | None = None,
        state: Sequence[str] = (),
        label: str | None = None,
        args: Mapping[str, str] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        late: bool | None = None,
        limit: int = 100,
        before: tuple[datetime, int] | None = None,
    ) -> list[dict[str, Any]]:
        """The facts of runs, finished and live, newest first (by the time they were due, then by id).

        Args:
            job_id, state, label, args, late: only those; of `state` any, of `args` all.
            since, until: of the scheduled time; aware; `since` is included, `until` is not.
            limit: at most so many.
            before: (scheduled time, run id) of the last run of the page before.
        """
        wanted = Wanted(
            job_id=job_id,
            states=_states(state),
            label=label,
            args=args or {},
            since=since,
            until=until,
            late=late,
            before=before,
        )
        # First those in memory: one that ends meanwhile is among the finished ones, too.
        now = self._now()
        live = [run for run in self._live.runs() if wanted.fits(run, now)]
        finished = [facts_of_row(row) for row in self._page(wanted, limit)]
        ids = {facts["run_id"] for facts in finished}
        # Thousands may be live, and the facts of a run take longer to tell than its place.
        newest = nlargest(
            limit, (run for run in live if run.run_id not in ids), key=attrgetter("scheduled_at", "run_id")
        )
        found = [*finished, *(run_facts(run, now) for run in newest)]
        return nlargest(limit, found, key=itemgetter("scheduled_at", "run_id"))

    def _page(self, wanted: Wanted, limit: int) -> list[tuple[Any, ...]]:
        """The rows of finished runs, newest first."""
        if wanted.states and FINISHED.isdisjoint(wanted.states):
            return []  # nothing is searched for what cannot be there: pages ask for live runs all the time
        before_at, before_id = wanted.before or (None, None)
        query, pieces = _with_args(queries()["runs_page"].text, wanted.args)
        since, until = naive(wanted.since), naive(wanted.until)
        params = {
            **pieces,
            "job_id": wanted.job_id,
            "states": [state.value for state in wanted.states] or None,
            "label": _json_text(wanted.label),
            "since": since,
            "until": until,
            "late": wanted.late,
            "limit": limit,
            "before_at": naive(before_at),
            "before_id": before_id,
        }

        def ask() -> list[tuple[Any, ...]]:
            rows = self._rows_of(query, params, ())
            last = until if before_at is None else naive(before_at) + timedelta(microseconds=1)
            months = self.archive.touching(since, last)
            if len(rows) == limit:  # what is older than these is not asked for
                months = [month for month in months if month.last_at >= rows[-1][_SCHEDULED_AT]]
            return self._rows_of(query, params, months) if months else rows

        return self.archive.settled(ask)

    def sql(
        self,
        query: str,
        params: Mapping[str, Any] | Sequence[Any] | None = None,
        *,
        timeout_s: float = 30.0,
        max_rows: int | None = None,
        started: Callable[[Callable[[], None]], object] | None = None,
    ) -> "pa.Table":
        """The answer of a query that a client wrote: one SELECT over the views, which can change nothing.

        Args:
            query: SQL; `$name` or `?` for parameters.
            params: their values, by name or in order.
            timeout_s: after which it is stopped.
            max_rows: no more than these are read.
            started: is given a function that stops the query, to be called from another thread.

        Returns:
            A table; the metadata of its schema may hold a `hint` for who wrote the query.

        Raises:
            QueryError: it is not allowed, wrong, too slow or too big; the text is for who wrote it.
        """

        def ask() -> "tuple[pa.Table, frozenset[str]]":
            with self._boxed.cursor() as cursor:
                used = self._rules.check(cursor, query)
                table = run_boxed(
                    cursor, query, params, timeout_s=timeout_s, max_rows=max_rows, started=started
                )
            return table, used

        table, used = self.archive.settled(ask)
        return table.replace_schema_metadata({"hint": HINT}) if used & SLOW_CLOCKS else table

    def arrow(self, name: str, **given: Any) -> "pa.Table":
        """The answer of a query of history.

        Args:
            name: one of `HISTORY`; the columns are those of the frame of that name.
            given: its parameters; what is not given, or None, is as in `HISTORY`. `since` and `until` are
                aware, and about the scheduled times; `job_id` and `state` are one or several; `period` and
                `every` are timedeltas.

        Raises:
            StoreError: there is no such query or parameter, or a value does not fit.
        """
        return self._table(*self._asked(name, given))

    def _table(self, query: str, params: Mapping[str, Any], span: tuple[datetime, datetime]) -> "pa.Table":
        """The answer of a query about what happened within a span."""

        def ask() -> "pa.Table":
            text, values = self.archive.put_in(query, params, self.archive.touching(*span))
            with self._readers.cursor() as cursor:
                return cursor.sql(text, params=values).to_arrow_table()

        return self.archive.settled(ask)

    def stream(self, name: str, **given: Any) -> "pa.RecordBatchReader":
        """The same as `arrow`, in batches; those of `runs` are asked for only when they are read.

        So a million runs need no more memory than some thousands. Each batch is of the moment at which it is
        asked for.
        """
        import pyarrow as pa

        tables = self._runs(given) if name == "runs" else iter([self.arrow(name, **given)])
        first = next(tables)
        batches = (
            batch
            for table in itertools.chain([first], tables)
            for batch in table.to_batches(max_chunksize=PIECE_ROWS)
        )
        return pa.RecordBatchReader.from_batches(first.schema, batches)

    def _runs(self, given: Mapping[str, Any]) -> "Iterator[pa.Table]":
        """The frame of runs in pieces, newest first; one at least."""
        query, params, span = self._asked("runs", given, block="runs_cuts")
        left = params.pop("limit")
        if left is not None and left <= FEW_ROWS:
            yield self.arrow("runs", **given)
            return
        cuts = [cut for (cut,) in self.rows(query, params | {"rows": PIECE_ROWS}, span=span)]
        for until, since in itertools.pairwise([params["until"], *cuts[:-1], params["since"]]):
            window = {"since": aware(since), "until": aware(until)}
            query, params, span = self._asked("runs", {**given, **window}, block="runs_piece")
            del params["limit"]
            piece = _newest_first(self._table(query, params, span)).slice(0, left)
            yield piece
            if left is not None:
                left -= len(piece)
                if left == 0:
                    return

    def _asked(
        self, name: str, given: Mapping[str, Any], *, block: str | None = None
    ) -> tuple[str, dict[str, Any], tuple[datetime, datetime]]:
        """A query of history, or another block about it, its parameters as SQL has them, and its span."""
        if name not in HISTORY:
            raise StoreError(f"there is no query {name}; there are {', '.join(HISTORY)}")
        unknown = sorted(given.keys() - HISTORY[name].keys())
        if unknown:
            raise StoreError(
                f"{name} has no parameter {', '.join(unknown)}; it has {', '.join(HISTORY[name])}"
            )
        asked = HISTORY[name] | {k: v for k, v in given.items() if v is not None}
        if asked.get("unit", "day") not in UNITS:
            raise StoreError(f"unit is one of {', '.join(UNITS)}, not {asked['unit']}")
        _check_zone(asked.get("tz", "UTC"))
        until = asked["until"] or self._now()
        since = asked.get("since") or until - DEFAULT_WINDOW
        _check_spans(asked, until - since)
        params = {k: v for k, v in asked.items() if k not in _TRANSLATED}
        params |= {"until": naive(until)} | ({"since": naive(since)} if "since" in asked else {})
        if "job_id" in asked:
            params["jobs"] = _several(asked["job_id"])
        if "state" in asked:
            params |= {"states": _several(asked["state"]), "label": _json_text(asked["label"])}
        query, pieces = _with_args(queries()[block or name].text, asked.get("args", {}))
        begin = until - 2 * asked["period"] if "period" in asked else since
        return query, params | pieces, (naive(begin), naive(until))


class Store(Questions):
    """A run store, made by `Store.open`. Safe to use from any thread, and meant for one process."""

    _held: set[Path] = set()  # noqa: RUF012  DuckDB would give a second opener in this process the same database
    _held_lock = threading.Lock()

    def __init__(
        self, path: Path, connection: duckdb.DuckDBPyConnection, now: Callable[[], datetime]
    ) -> None:
        #: Names the folder of run directories; another one for each new or restored store.
        self.epoch = set_up(connection, path, naive(now()))
        #: Live runs that could not be read back as they were, as (run id, why).
        self.damaged: list[tuple[int, str]] = []
        self._connection = connection
        self._error: Exception | None = None
        for table, column in (("clock", "clock_at"), ("ids", "next_id"), ("floor", "run_id")):
            connection.execute(
                f"DELETE FROM base.{table} WHERE {column} < (SELECT max({column}) FROM base.{table})"
            )
        # The first checkpoint after opening takes 0.2 to 0.4 s; now nobody waits for it.
        connection.execute("CHECKPOINT")
        live, archive = LiveRuns(), Archive(path.parent / FOLDER, months_named(connection))
        super().__init__(
            path,
            readers=Readers([connection.cursor() for _ in range(READERS)], live),
            boxed=Readers([limited(connection.cursor()) for _ in range(BOXED_READERS)], live, archive),
            rules=Rules(connection),
            live=live,
            archive=archive,
            now=now,
        )
        self._writer_cursor, self._side_cursor = connection.cursor(), connection.cursor()
        self._side_lock = threading.Lock()
        lock_down(connection, [archive.root, path.parent / "spool"])
        tidy(path)

        self._ids_lock = threading.Lock()
        self._next_id, self._floor, last_program_id, self._clock = connection.execute(
            queries()["marks"].text
        ).fetchall()[0]
        self._recover()
        self._writer = Writer(
            self._writer_cursor, self._live, next_program_id=last_program_id + 1, on_broken=self._broke
        )
        self._packer = Packer(self._packs, now)
        #: Gives up outputs that are not to be kept.
        self.retention = Retention(self, self._writer)
        #: Moves old runs out of the database, and back.
        self.archiver = Archiver(connection, self, self._writer)
        #: Copies all of it while it is in use.
        self.backups = Backups(connection, self)
        self._closing = threading.Event()
        self._checkpointer = threading.Thread(
            target=self._checkpoint_now_and_then, name="apsis-nb-checkpoint", daemon=True
        )

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        threads: int | None = None,
        memory_limit: str = "1GB",
        create: bool = True,
        now: Callable[[], datetime] = utc_now,
    ) -> "Store":
        """Open the file, or make it, and hold it until `close`.

        Args:
            path: of the file; the outputs lie beside it.
            threads: that a query may use; all cores but one unless told.
            memory_limit: of the database, such as `1GB`.
            create: make the file if it is not there.
            now: the clock, aware.

        Raises:
            StoreError: another process (its pid is named) or this one has the file, a later release wrote
                it, or it is no run store.
        """
        path = path.resolve()
        with cls._held_lock:
            if path in cls._held:
                raise StoreError(f"{path} is already open in this process")
            cls._held.add(path)
        try:
            connection = connect(path, threads=threads, memory_limit=memory_limit, create=create)
            try:
                store = cls(path, connection, now)
            except BaseException:
                connection.close()
                raise
        except BaseException as e:
            cls._held.discard(path)
            if isinstance(e, duckdb.Error):
                raise StoreError(f"{path} cannot be opened: {e}") from e
            raise
        store._writer.start()
        store._packer.start()
        store._checkpointer.start()
        return store

    @classmethod
    def is_held(cls, path: Path) -> bool:
        """Whether this process has the file open to write it."""
        with cls._held_lock:
            return path.resolve() in cls._held

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Save what is queued, and let the file go. Queries that run end first."""
        if self._closing.is_set():
            return
        self._closing.set()
        self.backups.interrupt()
        self.archiver.interrupt()
        self.retention.close()
        self.backups.close()
        self.archiver.close()
        self._packer.close()
        self._writer.close()
        self._checkpointer.join()
        self._readers.close()
        self._boxed.close()
        with suppress(StoreError):  # the journal beside the file has it all; the next `open` reads it
            self.checkpoint()
        for cursor in (self._writer_cursor, self._side_cursor, self._connection):
            cursor.close()
        self._held.discard(self.path)

    # -- recovery

    def restore(self) -> tuple[list[Run], datetime | None]:
        """The live runs as they were saved last, the oldest first, and the clock (None: never set)."""
        return sorted(self._live.runs(), key=attrgetter("run_id")), aware(self._clock)

    def pauses(self) -> list[Pause]:
        """The pauses that nobody ended."""
        rows = self._readers.rows(queries()["pauses"].text, {})
        return [
            Pause(
                scope=scope,
                target=target,
                at=ts.replace(tzinfo=UTC),
                until=aware(until),
                reason=reason,
                by=by,
            )
            for ts, by, scope, target, until, reason in rows
        ]

    def backfill_failures(self) -> dict[int, int]:
        """Of each backfill that has live runs: how many of the last that finished did so badly, in a row."""
        ids = sorted({run.backfill_id for run in self._live.runs() if run.backfill_id is not None})
        failures: dict[int, int] = dict.fromkeys(ids, 0)
        if ids:
            for backfill_id, state in self.rows(queries()["backfill_ends"].text, {"ids": ids}):
                failures[backfill_id] = 0 if state == "success" else failures[backfill_id] + 1
        return failures

    def _recover(self) -> None:
        journal: dict[int, list[LogRow]] = {}
        text = queries()["live_journal"].text
        for row in self._connection.execute(text, {"floor": self._floor}).fetchall():
            journal.setdefault(row[0], []).append(row)
        if not journal:
            return
        program_ids: dict[int, int] = {}
        for run_id, rows in journal.items():
            try:
                program_ids[run_id] = program_id_of(rows[0])
            except (ValueError, KeyError) as e:
                self.damaged.append((run_id, f"its journal cannot be read: {e}"))
        ids = sorted(set(program_ids.values()))
        found = self._connection.execute(queries()["programs_by_id"].text, {"ids": ids}).fetchall()
        programs = {program_id: json.loads(program) for program_id, program in found}
        live: dict[int, tuple[Run, int]] = {}
        for run_id, program_id in program_ids.items():
            try:
                run = _rebuilt(journal[run_id], programs[program_id])
            except (ApsisError, ValueError, KeyError, TypeError) as e:
                self.damaged.append((run_id, f"cannot be rebuilt: {e}"))
                # Somebody must be able to see it and to end it, so it comes back with a program that fails.
                run = _rebuilt([held_back(row) for row in journal[run_id]], NoOp(success=False).to_dict())
            live[run_id] = run, program_id
        self._live.update(live)

    # -- writing

    def reserve_ids(self, count: int) -> tuple[int, int]:
        """Take run ids that nobody gets again, whatever happens.

        Returns:
            The first, and the one after the last. They are committed.

        Raises:
            StoreError: it cannot be saved.
        """
        with self._ids_lock:
            first, self._next_id = self._next_id, self._next_id + count
            done = self._writer.submit(Work(next_id=self._next_id))
        done.result()
        return first, first + count

    def save(
        self,
        saves: Sequence[Save],
        outputs: Mapping[int, Sequence[OutputRow]] | None = None,
        meta: Mapping[int, MetaRow] | None = None,
    ) -> "Future[None]":
        """Queue what is to be saved, all in one transaction. The answer comes when it is safe on disk.

        Args:
            saves: in the order in which they were given out.
            outputs: where the outputs of runs lie, by run id.
            meta: what the programs of runs used, by run id.

        The future's callbacks run on the writer's thread. If it fails, with StoreError, nothing of this call
        is saved; and if `health()` says so nothing can be saved until the store is opened again.
        """
        return self._writer.submit(Work(tuple(saves), outputs or {}, meta or {}, noted_at=self._now()))

    def keep_notices(self, steps: Sequence[NoticeRow], lines: Sequence[LogLine] = ()) -> "Future[None]":
        """Queue steps of notices that were saved before, with lines for the logs of their runs.

        The answer is that of `save`.
        """
        return self._writer.submit(Work(notices=steps, lines=lines, noted_at=self._now()))

    def pending_notices(self) -> list[NoticeRow]:
        """The notices that neither arrived nor were given up, the oldest first: each as it was saved first.

        Its `tries` tell how often it was tried in vain.
        """
        return [
            NoticeRow(run_id=run_id, n=n, event=event, action=action, tries=tries, message=message)
            for run_id, n, event, action, tries, message in self._readers.rows(
                queries()["pending_notices"].text, {}
            )
        ]

    def pack(self, run_id: int, files: Sequence[tuple[str, Path]]) -> "Future[list[OutputRow]]":
        """Keep the outputs of a run, given as (name, path). The rows go into the `save` that finishes it.

        A crash before that leaves nothing that anybody sees: the same outputs may be packed again.
        """
        return self._packer.submit(files)

    @contextmanager
    def bulk(self, programs: Sequence[Program]) -> Iterator[tuple[duckdb.DuckDBPyConnection, list[int]]]:
        """For past runs that come from elsewhere: a cursor that may append to the tables of `base` by SQL.

        Args:
            programs: those that the rows will name.

        Yields:
            The cursor, and the ids of the programs. The ids of the runs come from `reserve_ids`.

        Raises:
            StoreError: DuckDB refuses.
        """
        work = Work(programs=programs)
        self._writer.submit(work).result()
        cursor = self._connection.cursor()
        try:
            yield cursor, work.program_ids
        except duckdb.Error as e:
            raise StoreError(str(e)) from e
        finally:
            cursor.close()

    def checkpoint(self) -> None:
        """Move what was committed from the journal beside the file into the file.

        Raises:
            StoreError: not now. Nothing is lost; it is tried again every few seconds.
        """
        floor = min(self._live.ids()[1], default=self._next_id) - ID_MARGIN
        if floor > self._floor:
            self._floor = floor
            self._insert("INSERT INTO base.floor VALUES ($floor)", {"floor": floor})
        self._checkpoint()

    def _checkpoint(self) -> None:
        with self._side_lock:
            try:
                self._side_cursor.execute("CHECKPOINT")
            except duckdb.Error as e:
                if isinstance(e, duckdb.FatalException | duckdb.InternalException):
                    self._broke(e)
                raise StoreError(f"the checkpoint failed: {e}") from e

    def _checkpoint_now_and_then(self) -> None:
        while not self._closing.wait(CHECKPOINT_INTERVAL_S):
            if self.wal_bytes() > CHECKPOINT_WAL_BYTES:
                try:
                    self.checkpoint()
                except StoreError:
                    # A transaction is in the way: next time, then. Never FORCE, which makes commits wait.
                    continue

    def _insert(self, query: str, params: Mapping[str, Any]) -> None:
        with self._side_lock:
            try:
                self._side_cursor.execute(query, dict(params)).fetchall()
            except duckdb.Error as e:
                raise StoreError(str(e)) from e

    def wal_bytes(self) -> int:
        """Size of the journal beside the file: what is committed, but not yet in it."""
        try:
            return journal_of(self.path).stat().st_size
        except FileNotFoundError:
            return 0

    def _broke(self, error: Exception) -> None:
        self._error = error

    @property
    def error(self) -> Exception | None:
        """What broke the store, so that it must be opened again; None: it is in order."""
        return self._error

    @property
    def is_pressed(self) -> bool:
        """Whether commits come one after the other: then long questions leave a processor to them."""
        return self._writer.is_pressed

    def health(self) -> dict[str, Any]:
        """How the store is: `ok`; `error`, what broke it (then it must be opened again); sizes, speeds."""
        return {
            "ok": self._error is None,
            "error": None if self._error is None else str(self._error),
            "damaged": [{"run_id": run_id, "error": error} for run_id, error in self.damaged],
            "live_runs": len(self._live),
            "queued": self._writer.queued(),
            "commits": self._writer.commits,
            "last_commit_s": self._writer.last_commit_s,
            "wal_bytes": self.wal_bytes(),
            "file_bytes": self.path.stat().st_size,
        }

    # -- one run

    def original(self, run_id: int) -> Run | None:
        """The run as it was made, to make it again; None: there is no such run."""
        rows = self._of_run("first_row", run_id)
        if not rows:
            return None
        try:
            return made_run(rows[0], self._program(program_id_of(rows[0])))
        except (ApsisError, ValueError, KeyError, TypeError) as e:
            raise StoreError(f"run r{run_id} cannot be rebuilt: {e}") from e

    def finished(self, run_id: int) -> Run | None:
        """A run that has finished, as it ended; None: there is no such run, or it lives."""
        run, facts = self.original(run_id), self.run(run_id)
        if run is None or facts is None or facts["finished_at"] is None:
            return None
        moved: dict[str, Any] = {"state": State(facts["state"]), "state_at": facts["finished_at"]}
        # What it sends after a mark is numbered on.
        (notices,) = self._of_run("last_notice", run_id)[0]
        return replace(run, **moved, notices=notices, **{name: facts[name] for name in _ENDED})

    def archived_in(self, run_id: int) -> str | None:
        """The month of the archive that has a run; None: none has it."""

        def ask() -> str | None:
            for month in self.archive.holding(run_id, run_id):
                query = archive_queries()["is_archived"].text
                files = {"archived_runs": self.archive.files("runs", [month])}
                if self._readers.rows(query, {"run_id": run_id, **files}):
                    return month.month
            return None

        return self.archive.settled(ask)

    def find_runs(self, wanted: Sequence[FindRun]) -> list[tuple[int | None, bool]]:
        """For each the newest run of its instance that ended in one of its states, or None; and whether one
        ended in those that leave hope.

        Sees everything that was given to `save` before.
        """
        self.save(()).result()
        params: dict[str, list[Any]] = {"wishes": [], "job_ids": [], "args": [], "states": []}
        for n, wish in enumerate(wanted):
            for which, states in enumerate((wish.states, wish.exist)):
                for state in states:
                    params["wishes"].append(2 * n + which)
                    params["job_ids"].append(wish.inst.job_id)
                    params["args"].append(wish.inst.args_json)
                    params["states"].append(state.value)
        query = queries()["find_runs"].text

        def ask() -> dict[int, int]:
            found = dict(self._rows_of(query, params, ()))
            rest = [n for n, wish in enumerate(params["wishes"]) if wish not in found]
            if rest and self.archive.months:
                left = {name: [values[n] for n in rest] for name, values in params.items()}
                found |= dict(self._rows_of(query, left, self.archive.months))
            return found

        found = self.archive.settled(ask)
        return [(found.get(2 * n), 2 * n + 1 in found) for n in range(len(wanted))]

    def backfills(self, backfill_id: int | None = None, limit: int = 100) -> list[dict[str, Any]]:
        """The backfills, newest first: what was asked for, and how many runs of each are in which state."""
        names = (
            "backfill_id", "job_id", "by", "asked_at", "first_at", "last_at", "instances", "runs", "left",
            "running", "success", "failed", "skipped", "finished_at",
        )  # fmt: skip
        params = {"backfill_id": backfill_id, "limit": limit}
        found = []
        for row in self.rows(queries()["backfills"].text, params):
            facts = dict(zip(names, row, strict=True))
            found.append({n: aware(v) if n.endswith("_at") else v for n, v in facts.items()})
        return found

    def backfill_missing(
        self, backfill_id: int
    ) -> tuple[str | None, list[tuple[dict[str, str], datetime | None]]]:
        """The job of a backfill (None: there is none), and what it has not got done: args, nominal times."""
        known = self.backfills(backfill_id)
        rows = self.rows(queries()["backfill_missing"].text, {"backfill_id": backfill_id})
        return known[0]["job_id"] if known else None, [(json.loads(a), aware(at)) for _, a, at in rows]

    def nominal_successes(self, job_id: str, since: datetime, until: datetime) -> set[datetime]:
        """The nominal times in a span at which a job has succeeded."""
        params = {"job_id": job_id, "since": naive(since), "until": naive(until)}
        rows = self.rows(queries()["nominal_successes"].text, params)
        return {at.replace(tzinfo=UTC) for (at,) in rows}

    def bad_jobs(self, job_ids: Collection[str] | None = None) -> frozenset[str]:
        """Those of some jobs (None: of all) whose last run that was no test ended in failure or error."""
        if job_ids is not None and not job_ids:
            return frozenset()
        params = {"jobs": None if job_ids is None else list(job_ids)}
        return frozenset(row[0] for row in self.rows(queries()["bad_jobs"].text, params))

    def jobs_that_ran(self, since: datetime) -> set[str]:
        """The jobs that had a run, not only skipped ones, that was due since then."""
        return {job_id for (job_id,) in self._since("jobs_that_ran", since)}

    def ends_lately(self, since: datetime) -> dict[str, int]:
        """How many runs have finished since a time, by state."""
        return dict(self._since("ends_lately", since))

    def outputs_bytes(self) -> int:
        """Room that the kept outputs take on the disk."""
        return sum(path.stat().st_blocks * 512 for path in self._packs.glob("*.pack"))

    def cached_bytes(self) -> int:
        """Memory that the database has: mostly what it has read of the file, up to its limit."""
        ((found,),) = self.rows(queries()["cached"].text, {})
        return int(found)

    def lateness_lately(self, since: datetime) -> dict[str, tuple[int, int]]:
        """By job: how many runs of schedules were due since then, and how many of them started late."""
        rows = self._since("lateness_lately", since)
        return {job_id: (runs, late) for job_id, runs, late in rows}

    def missed_lately(self, since: datetime) -> dict[str, tuple[int, datetime, datetime, bool]]:
        """By job: how many of its times since then were missed, the first, the last, and whether args differ.

        What a backfill made up for does not count.
        """
        rows = self._since("missed_lately", since)
        return {
            job_id: (count, first.replace(tzinfo=UTC), last.replace(tzinfo=UTC), differ)
            for job_id, count, first, last, differ in rows
        }

    # -- job files

    def keep_versions(
        self, texts: Mapping[str, str], *, broken: Collection[str] = (), by: str | None = None
    ) -> list[str]:
        """Keep the texts of job files that differ from their last versions, and that a file is gone.

        Args:
            texts: of all job files that are in use now, by job id.
            broken: jobs whose files are there, but not in use.
            by: who changed them; None: it was done in the folder.

        Returns:
            The ids of the jobs that got a new version.
        """
        known = {
            job_id: (version, text)
            for job_id, version, text in self._readers.rows(queries()["job_texts"].text, {})
        }
        changed: dict[str, str | None] = {
            job_id: text for job_id, text in texts.items() if known.get(job_id, (0, None))[1] != text
        }
        gone = known.keys() - texts.keys() - set(broken)
        changed |= {job_id: None for job_id in gone if known[job_id][1] is not None}
        if changed:
            params = {
                "ts": naive(self._now()),
                "by": by,
                "job_ids": list(changed),
                "versions": [known.get(job_id, (0, None))[0] + 1 for job_id in changed],
                "texts": list(changed.values()),
            }
            self._insert(queries()["add_versions"].text, params)
        return sorted(changed)

    def job_versions(self, job_id: str) -> list[dict[str, Any]]:
        """The texts that a job's file has had, oldest first: version, ts (aware), by, yaml (None: gone)."""
        rows = self._readers.rows(queries()["versions_of_job"].text, {"job_id": job_id})
        return [
            {"version": version, "ts": aware(ts), "by": by, "yaml": text} for version, ts, by, text in rows
        ]


def limited(cursor: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    """A cursor that stops a query of a client by itself; set now, as later no setting can be changed."""
    (limit,) = cursor.execute("SELECT current_setting('memory_limit')").fetchall()[0]
    amount, unit = limit.split()
    cursor.execute(f"SET operator_memory_limit = '{float(amount) * MEMORY_SHARE}{unit}'")
    cursor.execute(f"SET max_execution_time = {int(MAX_TIME_S * 1000)}")
    return cursor


_TRANSLATED = frozenset({"since", "until", "job_id", "state", "label", "args"})


def _check_zone(name: str) -> None:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise StoreError(f"there is no time zone {name}") from None


def _check_spans(asked: Mapping[str, Any], window: timedelta) -> None:
    for name in ("period", "every"):
        if asked.get(name, DEFAULT_WINDOW) <= timedelta(0):
            raise StoreError(f"{name} must be longer than nothing")
    if "every" in asked and window > MOST_PIECES * asked["every"]:
        raise StoreError(f"every: the window would have more than {MOST_PIECES:,} pieces; choose longer ones")


def _rebuilt(rows: Sequence[LogRow], program: Mapping[str, Any]) -> Run:
    run = made_run(rows[0], program)
    for row in rows[1:]:
        run = moved_on(run, row)
    return run


def _several(values: str | Sequence[str] | None) -> list[str] | None:
    """One or several values as a list; none at all is no condition."""
    return [values] if isinstance(values, str) else list(values) if values else None


def _states(names: str | Sequence[str]) -> tuple[State, ...]:
    try:
        return tuple(map(State, _several(names) or ()))
    except ValueError as error:
        raise StoreError(f"{error}; states are {', '.join(s.value for s in State)}") from None


def _json_text(label: str | None) -> str | None:
    """A label as the JSON text of the labels has it."""
    return None if label is None else json.dumps(label, ensure_ascii=False)


def _newest_first(runs: "pa.Table") -> "pa.Table":
    """Runs in the order of their frame. Arrow sorts them much sooner than DuckDB, which moves whole rows."""
    import pyarrow.compute as pc

    keys = [("scheduled_at", "descending"), ("run_id", "descending")]
    return runs.take(pc.sort_indices(runs, sort_keys=keys))


def _with_args(query: str, args: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """The query with a condition for each arg: a piece of the canonical JSON, quicker than to parse it."""
    params = {
        f"arg_{n}": json.dumps({k: v}, separators=(",", ":"), ensure_ascii=False)[1:-1]
        for n, (k, v) in enumerate(args.items())
    }
    return query.replace("/* args */", "".join(f" AND contains(args, ${name})" for name in params)), params
