"""Months of old runs in files beside the database, and questions that are about both.

Each month is a folder with a Parquet file a table, which never changes. Only what the table `base.archived`
names is read, so each run is in one place at each moment: in the database, or in one folder.
"""

import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import duckdb

from apsis_nb.store.copying import literal
from apsis_nb.store.errors import StoreError
from apsis_nb.store.queries import archive_queries, views

Answer = TypeVar("Answer")

#: The folder beside the database, and what each month in it says of itself.
FOLDER, FACTS = "archive", "archive.json"
FORMAT = 1
#: The tables whose rows belong to runs; `programs` is in the files, too.
RUN_TABLES = ("run_log", "run_meta", "outputs", "dropped", "notices", "imported", "runs")
TABLES = (*RUN_TABLES, "programs")
#: Of these the order of the rows counts.
ORDERED = frozenset({"run_log", "outputs", "notices", "imported"})
#: The views that read the archive, and those that they stand for.
VIEWS = {f"{name}_all": name for name in ("runs", "run_log", "run_meta", "outputs")}

_TABLE = re.compile(rf"\bbase\.({'|'.join(TABLES)})\b")
_VIEW = re.compile(r"\bFROM (runs|missed)\b")
_FILES = re.compile(r"\$archived_([a-z_]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """A folder of the archive. Times are naive, UTC."""

    folder: str  #: its name: `2026-01`, or with a number if it is not the first of the month
    archived_at: datetime
    runs: int
    first_id: int
    last_id: int
    first_at: datetime  #: between this and `last_at` is all that happened with its runs
    last_at: datetime
    bytes: int

    @property
    def month(self) -> str:
        """The month (UTC) in which its runs were due: `2026-01`."""
        return self.folder.partition(".")[0]

    def facts(self) -> dict[str, Any]:
        """What is told of it, plain values by name."""
        return {
            "month": self.month,
            "folder": self.folder,
            "archived_at": self.archived_at,
            "runs": self.runs,
            "first_run_id": f"r{self.first_id}",
            "last_run_id": f"r{self.last_id}",
            "bytes": self.bytes,
        }


class Archive:
    """The archive of a store, to be read. Safe to use from any thread.

    Args:
        root: its folder, which need not be there.
        months: what the database names.
    """

    def __init__(self, root: Path, months: Sequence[Month] = ()) -> None:
        self.root = root
        self._lock = threading.Lock()
        self._version = 0
        self._set(months)

    def _set(self, months: Sequence[Month]) -> None:
        self._named = tuple(months)
        self._months = tuple(month for month in months if (self.root / month.folder / FACTS).is_file())

    @property
    def named(self) -> tuple[Month, ...]:
        """All that the database names, the oldest first."""
        return self._named

    @property
    def months(self) -> tuple[Month, ...]:
        """Those whose folders are there, so that they can be read."""
        return self._months

    @property
    def lost(self) -> list[str]:
        """The folders that the database names, and that are not there."""
        return sorted({month.folder for month in self._named} - {month.folder for month in self._months})

    @property
    def version(self) -> int:
        """A number that changes with the months."""
        return self._version

    def holding(self, first_id: int, last_id: int) -> list[Month]:
        """The months that may have runs with ids from the first to the last."""
        return [m for m in self._months if m.first_id <= last_id and m.last_id >= first_id]

    def touching(self, since: datetime | None, until: datetime | None) -> list[Month]:
        """The months with something that happened in a span; naive times, UTC; None: no bound."""
        return [
            m
            for m in self._months
            if (until is None or m.first_at < until) and (since is None or m.last_at >= since)
        ]

    def settled(self, ask: Callable[[], Answer]) -> Answer:
        """The answer of a question to database and archive, asked again if a month moves meanwhile.

        Args:
            ask: asks; looks up the months itself.
        """
        while True:
            with self._lock:  # waits while a month moves
                version = self._version
            try:
                answer = ask()
            except StoreError:
                with self._lock:
                    if version == self._version:
                        raise
            else:
                with self._lock:
                    if version == self._version:
                        return answer

    @contextmanager
    def changing(self, months: Callable[[], Sequence[Month]]) -> Iterator[None]:
        """Months move: no question begins or ends, until they have and `months` has been looked up."""
        with self._lock:
            self._version += 1
            try:
                yield
            finally:
                self._set(months())

    def put_in(
        self, query: str, params: Mapping[str, Any], months: Sequence[Month]
    ) -> tuple[str, dict[str, Any]]:
        """A query of the database, asked of these months of the archive, too."""
        if not months:
            return query, dict(params)
        text = with_archive(query)
        files = {f"archived_{table}": self.files(table, months) for table in _FILES.findall(text)}
        return text, {**params, **files}

    def files(self, table: str, months: Sequence[Month]) -> list[str]:
        """The files of a table."""
        return [str(file_of(self.root / month.folder, table)) for month in months]

    def show_to(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Let the views that read the archive read it as it is now: temporary ones, the cursor's own."""
        months = self._months
        for name, of in VIEWS.items():
            if months:
                text = _with_files(with_archive(views()[of]), lambda table: self.files(table, months))
                cursor.execute(f"CREATE OR REPLACE TEMP VIEW {name} AS {text}")
            else:
                cursor.execute(f"DROP VIEW IF EXISTS temp.{name}")


def months_named(cursor: duckdb.DuckDBPyConnection) -> list[Month]:
    """What a database names of its archive."""
    return [
        Month(
            folder=folder,
            archived_at=ts,
            runs=runs,
            first_id=first_id,
            last_id=last_id,
            first_at=first_at,
            last_at=last_at,
            bytes=size_b,
        )
        for folder, ts, runs, first_id, last_id, first_at, last_at, size_b in cursor.execute(
            archive_queries()["archived"].text
        ).fetchall()
    ]


def file_of(folder: Path, table: str) -> Path:
    """The file of a table in the folder of a month."""
    return folder / f"{table}.parquet"


@cache
def with_archive(query: str) -> str:
    """The query with the rows of the archive's files beside those of each table; these are parameters."""
    plain = _VIEW.sub(lambda found: f"FROM ({views()[found[1]]})", query)
    return _TABLE.sub(lambda found: _both(found[1]), plain)


def _both(table: str) -> str:
    columns = "*, rowid" if table in ORDERED else "*"
    return f"(SELECT {columns} FROM base.{table} UNION ALL BY NAME {archive_queries()[table].text})"


def rows_of(table: str, files: Callable[[str], Sequence[str]]) -> str:
    """A query for the rows of a table in files of the archive.

    Args:
        files: gives the files of a table.
    """
    return _with_files(archive_queries()[table].text, files)


def _with_files(text: str, files: Callable[[str], Sequence[str]]) -> str:
    """The text with the names of files, where it can have no parameters."""
    return _FILES.sub(lambda found: f"[{', '.join(literal(Path(f)) for f in files(found[1]))}]", text)


@dataclass(frozen=True, slots=True, kw_only=True)
class MonthFacts:
    """What a folder of the archive says of itself."""

    path: Path
    epoch: str  #: of the store that made it
    schema_version: int
    rows: Mapping[str, int]  #: of each table
    files: Mapping[str, int]  #: how long each file is, bytes


def read_month(folder: Path) -> MonthFacts:
    """What a folder of the archive says of itself.

    Raises:
        StoreError: it is none, or of a later release.
    """
    try:
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        if facts["format"] > FORMAT:
            raise StoreError(f"{folder} was written by a later release")
        return MonthFacts(
            path=folder,
            epoch=facts["epoch"],
            schema_version=facts["schema_version"],
            rows={table: facts["rows"][table] for table in TABLES},
            files=facts["files"],
        )
    except (OSError, ValueError, KeyError, TypeError):
        raise StoreError(f"{folder} is no month of an archive: it has no {FACTS} that can be read") from None


def folders_in(root: Path) -> list[str]:
    """The names of the whole months in the folder of an archive, the oldest first."""
    return sorted(file.parent.name for file in root.glob(f"[!.]*/{FACTS}"))
