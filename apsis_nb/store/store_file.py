"""Finished runs that nobody writes, read without a server: of a stopped one, of a backup, of an archive."""

import shutil
import tempfile
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import duckdb

from apsis_nb.store.archive import FACTS, FOLDER, TABLES, Archive, file_of, folders_in, months_named, rows_of
from apsis_nb.store.archiving import check_month
from apsis_nb.store.errors import StoreError
from apsis_nb.store.opening import (
    SCHEMA_VERSION,
    USE_ATTACHED,
    attach,
    connect,
    in_memory,
    journal_of,
    lock_down,
    schema_version,
    set_up,
)
from apsis_nb.store.readers import Readers
from apsis_nb.store.rows import naive
from apsis_nb.store.sandbox import Rules
from apsis_nb.store.store import BOXED_READERS, READERS, Questions, Store, limited, utc_now
from apsis_nb.store.writer import LiveRuns


class FileQuestions(Questions):
    """What may be asked of files that do not change, until `close`. Safe to use from any thread.

    Args:
        path: of the database, or where it would lie; the outputs are looked for beside it.
        connection: which has it, or what stands for it, attached.
        temp: a folder that goes in the end.
        archive: that belongs to it.
        folders: the only ones that queries may read.
        now: the clock, aware.
    """

    def __init__(
        self,
        path: Path,
        connection: duckdb.DuckDBPyConnection,
        temp: Path,
        archive: Archive,
        folders: Sequence[Path],
        now: Callable[[], datetime],
    ) -> None:
        self._clean = weakref.finalize(self, shutil.rmtree, temp, ignore_errors=True)
        live = LiveRuns()
        cursors = [connection.cursor() for _ in range(READERS + BOXED_READERS)]
        for cursor in cursors:
            cursor.execute(USE_ATTACHED)  # not inherited
        super().__init__(
            path,
            readers=Readers(cursors[:READERS], live),
            boxed=Readers([limited(cursor) for cursor in cursors[READERS:]], live, archive),
            rules=Rules(connection),
            live=live,
            archive=archive,
            now=now,
        )
        lock_down(connection, folders)
        self._connection = connection

    def __enter__(self) -> "FileQuestions":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Let the files go. Queries that run end first."""
        self._readers.close()
        self._boxed.close()
        self._connection.close()
        self._clean()


class StoreFile(FileQuestions):
    """The finished runs of a file and its archive; nobody else can write the file until `close`.

    One of an older release is read from a copy, which is brought up to date; the file itself stays as it is.
    Several processes may read the same file.

    Args:
        path: of the file; the archive and the outputs are looked for beside it.
        threads: that a query may use; all cores but one unless told.
        memory_limit: of all queries, such as `1GB`.
        now: the clock, aware.

    Raises:
        StoreInUse: another process writes it.
        StoreError: it is not there, this process writes it, a later release wrote it, or it is no run store.
    """

    def __init__(
        self,
        path: Path,
        *,
        threads: int | None = None,
        memory_limit: str = "1GB",
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        path = path.resolve()
        if Store.is_held(path):
            raise StoreError(f"{path} is already open in this process")
        temp = Path(tempfile.mkdtemp(prefix="apsis_nb-"))
        try:
            connection = attach(path, threads=threads, memory_limit=memory_limit, temp=temp)
            version, self.epoch = schema_version(connection, path)
            if version < SCHEMA_VERSION:
                copy = _upgraded(path, temp, naive(now()))  # while it is attached nobody can write it
                connection.close()
                connection = attach(copy, threads=threads, memory_limit=memory_limit, temp=temp)
            archive = Archive(path.parent / FOLDER, months_named(connection))
            super().__init__(path, connection, temp, archive, [archive.root], now)
        except BaseException:
            shutil.rmtree(temp, ignore_errors=True)
            raise


class ArchiveFiles(FileQuestions):
    """The runs of an archive, or of one month of it, without the database.

    Args:
        folder: of the archive, or of a month in it; the outputs are looked for where its store has them.
        threads, memory_limit, now: as of `StoreFile`.

    Raises:
        StoreError: it is none, is not whole, or a later release wrote it.
    """

    def __init__(
        self,
        folder: Path,
        *,
        threads: int | None = None,
        memory_limit: str = "1GB",
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        folder = folder.resolve()
        root, names = (folder.parent, [folder.name]) if _is_month(folder) else (folder, folders_in(folder))
        if not names:
            raise StoreError(f"there is no month of an archive in {folder}")
        for name in names:
            check_month(root / name)
        temp = Path(tempfile.mkdtemp(prefix="apsis_nb-"))
        try:
            connection = in_memory(threads=threads, memory_limit=memory_limit, temp=temp)
            for table in TABLES:
                text = rows_of(table, lambda of: [str(file_of(root / name, of)) for name in names])
                connection.execute(f"DROP TABLE base.{table}")
                connection.execute(f"CREATE VIEW base.{table} AS {text}")
            path = root.with_name("runs.duckdb")
            super().__init__(path, connection, temp, Archive(root), [root / name for name in names], now)
        except BaseException:
            shutil.rmtree(temp, ignore_errors=True)
            raise


def is_archive(folder: Path) -> bool:
    """Whether a folder is an archive, or a month of one."""
    return _is_month(folder) or bool(folders_in(folder))


def _is_month(folder: Path) -> bool:
    return (folder / FACTS).is_file()


def _upgraded(path: Path, folder: Path, now: datetime) -> Path:
    """A copy of the file, of this release's schema."""
    copy = folder / path.name
    # The journal first: when a process closes a file, it loses its locks on it.
    with suppress(FileNotFoundError):
        shutil.copyfile(journal_of(path), journal_of(copy))
    shutil.copyfile(path, copy)
    connection = connect(copy, threads=1, memory_limit="1GB", create=False)
    try:
        set_up(connection, copy, now)
        connection.execute("CHECKPOINT")
    finally:
        connection.close()
    return copy
