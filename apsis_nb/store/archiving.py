"""Moves months of old runs from the database into the archive, and back.

A month is written under a name that begins with a dot, compared with the database, and gets its own name;
then one transaction removes its rows and names its folder. Back it goes in the reverse order. So whenever a
crash comes, each run is where the database says. A folder that it does not name is no part of the archive:
the next time it goes, if the database has all of its runs.
"""

import json
import logging
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from apsis_nb._version import __version__
from apsis_nb.core.errors import NotFound
from apsis_nb.core.times import format_iso, format_time
from apsis_nb.store.archive import (
    FACTS,
    FORMAT,
    ORDERED,
    RUN_TABLES,
    TABLES,
    Month,
    file_of,
    folders_in,
    months_named,
    read_month,
    rows_of,
)
from apsis_nb.store.errors import StoreError
from apsis_nb.store.files import need_room, size_of, sync_file, sync_folder
from apsis_nb.store.opening import SCHEMA_VERSION
from apsis_nb.store.queries import archive_queries
from apsis_nb.store.rows import naive
from apsis_nb.store.writer import Work, Writer

if TYPE_CHECKING:
    from apsis_nb.store.store import Store

log = logging.getLogger("apsis_nb.store")

#: How often a month is tried whose runs change meanwhile.
_TRIES = 3
#: Rows take so many times the room of the files when they are put back.
_GROWS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Old:
    """A month of the database whose runs are old enough for the archive."""

    month: str  #: `2026-01`
    runs: int
    bytes: int  #: about what it takes in the database
    why_not: str | None = None  #: why it stays nevertheless

    def facts(self) -> dict[str, Any]:
        """Plain values by name."""
        return {"month": self.month, "runs": self.runs, "bytes": self.bytes, "why_not": self.why_not}


class _RowsChanged(Exception):
    """What was written to files is not what the database has any more."""


class Archiver:
    """Moves the runs of one store. All methods block, and are safe from any thread.

    Args:
        connection: of the store; months are written with a cursor of its own.
        store: whose runs these are.
        writer: commits that a month has moved.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, store: "Store", writer: Writer) -> None:
        self._connection, self._store, self._writer = connection, store, writer
        self._archive = store.archive
        self._root = store.archive.root
        self._lock = threading.Lock()  # one at a time
        self._cursors: set[duckdb.DuckDBPyConnection] = set()
        self._cursors_lock = threading.Lock()
        self._closing = threading.Event()
        self._progress: str | None = None

    def plan(self, older_than: timedelta, now: datetime) -> list[Old]:
        """The months that ended longer ago than that, the oldest first; also those that must stay, and why.

        Args:
            now: aware.

        Raises:
            StoreError: the store cannot be read.
        """
        before = _month_of(naive(now) - older_than)
        live = {_month_of(naive(run.scheduled_at)) for run in self._store.restore()[0]}
        with self._using() as cursor:
            months = cursor.execute(archive_queries()["months"].text, {"before": before}).fetchall()
            ((all_runs, all_bytes),) = cursor.execute(archive_queries()["room"].text).fetchall()
        found = []
        for begin, runs, *_, has_pending in months:
            why_not = None
            if begin in live:
                why_not = "a run of it has not finished"
            elif has_pending:
                why_not = "a run of it still has something to send"
            size_b = all_bytes * runs // all_runs
            found.append(Old(month=_name_of(begin), runs=runs, bytes=size_b, why_not=why_not))
        return found

    def carry_out(self, older_than: timedelta, now: datetime) -> list[Month]:
        """Move what `plan` tells, month by month. What was moved stays so, wherever this ends.

        Returns:
            The months that were moved; fewer than planned if the store is closed meanwhile.

        Raises:
            StoreError: one cannot be moved; its runs are where they were.
        """
        moved = []
        with self._lock, self._told():
            self._tidy()
            months = [old for old in self.plan(older_than, now) if old.why_not is None]
            for n, old in enumerate(months, 1):
                if self._closing.is_set():
                    break
                self._progress = f"month {n} of {len(months)}: {old.month}, {old.runs} runs"
                moved.append(self._move(old, now))
        return moved

    def put_back(self, name: str) -> list[Month]:
        """Move runs from the archive into the database again.

        Args:
            name: a month such as `2026-01`, with all of its folders, or one folder: `2026-01.2`.

        Returns:
            The folders whose runs were moved.

        Raises:
            NotFound: the archive has nothing of that name.
            StoreError: a folder is not there, or not whole; its runs stay in the archive.
        """
        moved = []
        with self._lock, self._told():
            self._tidy()
            months = [month for month in self._archive.named if name in (month.folder, month.month)]
            if not months:
                known = ", ".join(sorted({month.month for month in self._archive.named}))
                raise NotFound(f"the archive has no {name}; it has {known or 'nothing'}")
            for n, month in enumerate(months, 1):
                if self._closing.is_set():
                    break
                self._progress = f"{n} of {len(months)}: {month.folder}, {month.runs} runs"
                self._move_back(month)
                moved.append(month)
        return moved

    def strays(self) -> list[str]:
        """The folders that look like months of the archive, and that the database does not name.

        Those are left out whose runs it has all: a crash left them, and the next time they go.
        """

        def look() -> list[str]:
            named = {month.folder for month in self._archive.named}
            return [
                folder
                for folder in folders_in(self._root)
                if folder not in named and not self._is_in_database(self._root / folder)
            ]

        return self._archive.settled(look)

    @property
    def progress(self) -> str | None:
        """How far it is that is under way, in words; None: nothing is."""
        return self._progress

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nothing is moved meanwhile."""
        with self._lock:
            yield

    def interrupt(self) -> None:
        """Have what is under way end soon, and begin nothing more."""
        self._closing.set()
        with self._cursors_lock:
            for cursor in self._cursors:
                cursor.interrupt()

    def close(self) -> None:
        """Wait until what was interrupted has ended."""
        with self._lock:
            pass

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        finally:
            self._progress = None

    @contextmanager
    def _using(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A cursor that `interrupt` reaches.

        Raises:
            StoreError: DuckDB refuses, or the store is being closed.
        """
        with self._cursors_lock:
            if self._closing.is_set():
                raise StoreError("the store is being closed")
            cursor = self._connection.cursor()
            self._cursors.add(cursor)
        try:
            yield cursor
        except duckdb.Error as error:
            raise StoreError(str(error)) from error
        finally:
            with self._cursors_lock:
                self._cursors.remove(cursor)
                cursor.close()

    # -- into the archive

    def _move(self, old: Old, now: datetime) -> Month:
        """Move a month.

        Raises:
            StoreError: it cannot be moved.
        """
        part, span = self._root / f".new-{old.month}", _span_of(old.month)
        for _ in range(_TRIES):
            try:
                if not self._root.exists():
                    self._root.mkdir(mode=0o700)
                    sync_folder(self._root.parent)
                need_room(self._root, old.bytes)
                shutil.rmtree(part, ignore_errors=True)
                part.mkdir(mode=0o700)
                month, rows = self._written(part, old.month, span, now)
                target = self._root / month.folder
                part.rename(target)
                sync_folder(self._root)
            except (OSError, duckdb.Error, StoreError) as error:
                shutil.rmtree(part, ignore_errors=True)
                if isinstance(error, StoreError) and not isinstance(error.__cause__, duckdb.Error):
                    raise
                told = f"{old.month} was not archived, and stays in the database"
                raise StoreError(f"{told}: {error}") from error
            try:
                self._commit(partial(_take_over, month=month, rows=rows, span=span))
            except StoreError as error:
                if not isinstance(error.__cause__, _RowsChanged):
                    raise  # whether it is committed or not, the folder stays until the database can tell
                target.rename(part)
                shutil.rmtree(part)
            else:
                log.info("%s was archived: %d runs, %d bytes", month.folder, month.runs, month.bytes)
                return month
        raise StoreError(f"runs of {old.month} change again and again: try once more when they do not")

    def _written(
        self, part: Path, name: str, span: Mapping[str, datetime], now: datetime
    ) -> tuple[Month, dict[str, int]]:
        """Write the files of a month, and compare them with the database.

        Returns:
            The month, and how many rows of each table it has.
        """
        with self._using() as cursor:
            cursor.begin()  # all of one moment
            try:
                rows = {table: self._write(cursor, part, table, span) for table in TABLES}
                ((first_id, last_id, first_at, last_at),) = cursor.execute(
                    archive_queries()["bounds"].text, span
                ).fetchall()
            finally:
                cursor.rollback()
        sizes = {file_of(part, table).name: size_of(file_of(part, table)) for table in TABLES}
        month = Month(
            folder=self._free_name(name),
            archived_at=naive(now),
            runs=rows["runs"],
            first_id=first_id,
            last_id=last_id,
            first_at=first_at,
            last_at=last_at,
            bytes=sum(sizes.values()),
        )
        facts = {
            "format": FORMAT,
            "release": __version__,
            "schema_version": SCHEMA_VERSION,
            "epoch": self._store.epoch,
            "month": name,
            "first_run": f"r{first_id}",
            "last_run": f"r{last_id}",
            "first_at": format_time(first_at.replace(tzinfo=UTC)),
            "last_at": format_time(last_at.replace(tzinfo=UTC)),
            "rows": rows,
            "files": sizes,
        }
        (part / FACTS).touch(mode=0o600)
        (part / FACTS).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
        sync_file(part / FACTS)
        sync_folder(part)
        return month, rows

    def _write(
        self, cursor: duckdb.DuckDBPyConnection, part: Path, table: str, span: Mapping[str, datetime]
    ) -> int:
        """Write the file of a table, and compare it with the database; gives how many rows it has."""
        file, query = file_of(part, table), _month_query(table)
        text = _about("write", rows=query)
        cursor.execute(text, {**span, "file": str(file)}).fetchall()
        file.chmod(0o600)
        sync_file(file)
        fingerprint = cursor.execute(_about("fingerprint", rows=query), span).fetchall()
        plain = f"SELECT * EXCLUDE (rowid) FROM ({_rows_in(part, table)})" if table in ORDERED else (
            _rows_in(part, table)
        )  # fmt: skip
        if cursor.execute(_about("fingerprint", rows=plain)).fetchall() != fingerprint:
            raise StoreError(f"{file} is not what it was written from: is the disk in order?")
        return int(fingerprint[0][0])

    def _free_name(self, month: str) -> str:
        """What the folder of a month is called: runs that were imported later go into one of their own."""
        named = {m.folder for m in self._archive.named}
        names = (month if n == 1 else f"{month}.{n}" for n in count(1))
        return next(name for name in names if name not in named and not (self._root / name).exists())

    def _commit(self, step: Callable[[duckdb.DuckDBPyConnection], None]) -> None:
        """Do it in a transaction of the writer, while no question is under way that could miss it."""
        with self._archive.changing(self._named):
            self._writer.submit(Work(step=step)).result()

    def _named(self) -> list[Month]:
        """What the database names now."""
        try:
            with self._connection.cursor() as cursor:
                return months_named(cursor)
        except duckdb.Error as error:
            raise StoreError(str(error)) from error

    # -- and back

    def _move_back(self, month: Month) -> None:
        """Move a folder's runs into the database.

        Raises:
            StoreError: it is not whole, or cannot be moved; its runs stay where they are.
        """
        folder = self._root / month.folder
        facts = check_month(folder)
        need_room(self._store.path.parent, _GROWS * month.bytes)
        self._commit(lambda cursor: _put_back(cursor, folder, month, facts))
        self._remove(folder)
        log.info("%s was put back: %d runs", month.folder, month.runs)

    def _remove(self, folder: Path) -> None:
        """Remove a folder that the database does not name; what a crash leaves of it looks like no month."""
        gone = folder.with_name(f".old-{folder.name}")
        shutil.rmtree(gone, ignore_errors=True)
        folder.rename(gone)
        sync_folder(self._root)
        shutil.rmtree(gone)

    def _tidy(self) -> None:
        """Remove what crashes have left.

        Raises:
            StoreError: something cannot be removed.
        """
        try:
            for left in (*self._root.glob(".new-*"), *self._root.glob(".old-*")):
                shutil.rmtree(left)
            named = {month.folder for month in self._archive.named}
            for folder in folders_in(self._root):
                if folder not in named and self._is_in_database(self._root / folder):
                    self._remove(self._root / folder)
        except OSError as error:
            raise StoreError(f"what is left in {self._root} cannot be removed: {error}") from error

    def _is_in_database(self, folder: Path) -> bool:
        """Whether all runs of a folder are in the database."""
        with suppress(StoreError):  # one that cannot be read is not ours to remove
            rows = read_month(folder).rows["runs"]
            with self._using() as cursor:
                return _count(cursor, _about("same_runs", rows=_rows_in(folder, "runs"))) == rows
        return False


def check_month(folder: Path) -> Mapping[str, int]:
    """See whether a folder of the archive is whole; gives how many rows each table has.

    Raises:
        StoreError: it is not as it was made.
    """
    if not folder.is_dir():
        raise StoreError(f"{folder} is not there: put it back, from a backup if need be")
    facts = read_month(folder)
    if facts.schema_version > SCHEMA_VERSION:
        raise StoreError(
            f"{folder} was written by a later release"
            f" (schema {facts.schema_version}, this one knows {SCHEMA_VERSION})"
        )
    for name, size_b in facts.files.items():
        if size_of(folder / name) != size_b:
            raise StoreError(
                f"{folder} is not whole: {name} has {size_of(folder / name)} bytes, not {size_b}"
            )
    return facts.rows


def _take_over(
    cursor: duckdb.DuckDBPyConnection, month: Month, rows: Mapping[str, int], span: Mapping[str, datetime]
) -> None:
    """Remove the rows of a month, and name its folder.

    Raises:
        _RowsChanged: they are not those of the files.
    """
    for table in RUN_TABLES:  # whatever becomes of an old run, in one of them it gets a row
        if _count(cursor, _month_query(table), span) != rows[table]:
            raise _RowsChanged
    for table in RUN_TABLES:  # the runs themselves last, as they tell which rows are theirs
        cursor.execute(_about("remove_rows", table), span)
    params = {
        "folder": month.folder,
        "ts": month.archived_at,
        "runs": month.runs,
        "first_id": month.first_id,
        "last_id": month.last_id,
        "first_at": month.first_at,
        "last_at": month.last_at,
        "bytes": month.bytes,
    }
    cursor.execute(archive_queries()["add_archived"].text, params)


def _put_back(cursor: duckdb.DuckDBPyConnection, folder: Path, month: Month, rows: Mapping[str, int]) -> None:
    """Bring the rows of a folder into the database, which names it no more.

    Raises:
        StoreError: a file has other rows than it should, or the database has some of its runs.
    """
    if _count(cursor, _about("same_ids", rows=_rows_in(folder, "runs"))):
        raise StoreError(f"runs of {month.folder} are in the database already")
    for table in TABLES:
        found = _count(cursor, _rows_in(folder, table))
        if found != rows[table]:
            raise StoreError(f"{folder} is not whole: {table} has {found} rows, not {rows[table]}")
        query = "put_back_in_order" if table in ORDERED else "put_back"
        if table == "programs":
            query = "put_back_programs"
        cursor.execute(_about(query, table, _rows_in(folder, table)))
    cursor.execute(archive_queries()["remove_archived"].text, {"folder": month.folder})


def _about(query: str, table: str = "", rows: str = "") -> str:
    """A query of a table, or of rows that another gives."""
    return archive_queries()[query].text.replace("/* table */", table).replace("/* rows */", rows)


def _month_query(table: str) -> str:
    """The query for the rows of a month of a table."""
    return archive_queries()["month_programs"].text if table == "programs" else _about("month_rows", table)


def _rows_in(folder: Path, table: str) -> str:
    """The query for the rows of a table in a folder of the archive."""
    return rows_of(table, lambda name: [str(file_of(folder, name))])


def _count(cursor: duckdb.DuckDBPyConnection, rows: str, params: Mapping[str, Any] | None = None) -> int:
    """How many rows a query gives."""
    return int(cursor.execute(_about("count", rows=rows), params).fetchall()[0][0])


def _month_of(at: datetime) -> datetime:
    """The begin of the month of a time."""
    return at.replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def _name_of(month: datetime) -> str:
    return format_iso(month.date())[:7]


def _span_of(month: str) -> dict[str, datetime]:
    """The begin of a month and that of the next, as parameters."""
    begin = datetime.fromisoformat(f"{month}-01")
    return {"begin": begin, "end": _month_of(begin + timedelta(days=31))}
