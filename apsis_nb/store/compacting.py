"""Gives back the room in a database that nobody has open, which by itself keeps its size for ever."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb

from apsis_nb.store.copying import check_database, copy_database, literal
from apsis_nb.store.errors import StoreError
from apsis_nb.store.files import need_room, size_of, sync_folder, wal_of
from apsis_nb.store.opening import compact_files, connect

_MEMORY = "1GB"


@dataclass(frozen=True, slots=True, kw_only=True)
class Compacted:
    """What became of a database."""

    before_b: int
    after_b: int

    @property
    def freed_b(self) -> int:
        """How much smaller it is, bytes."""
        return self.before_b - self.after_b


def compact(path: Path) -> Compacted:
    """Copy a database into a fresh file, which takes its place in one step.

    The old one stays beside it until the new one was opened there. Whenever a crash comes, the file is whole.

    Args:
        path: of the database.

    Raises:
        StoreError: a server has it, there is no room, or the copy is not the same; it is as it was then.
    """
    fresh, old = compact_files(path)
    # The journal is moved into the file first: it must not be taken for one of the new file.
    connect(path, threads=None, memory_limit=_MEMORY, create=False).close()
    try:
        before_b = size_of(path)
        need_room(path.parent, before_b)
        with _only_read(path) as connection:
            if size_of(wal_of(path)):
                raise StoreError(f"{path} was written to meanwhile")
            rows = copy_database(connection, fresh)
            old.unlink(missing_ok=True)
            os.link(path, old)
            fresh.replace(path)  # in one step, and still held: who is about to open the old file is refused
        sync_folder(path.parent)
    except (OSError, duckdb.Error) as error:
        raise StoreError(f"{path} was not compacted: {error}") from error
    keep_if_whole(path, old, rows)
    return Compacted(before_b=before_b, after_b=size_of(path))


def keep_if_whole(path: Path, old: Path, rows: Mapping[str, int]) -> None:
    """Remove the old database if the new one in its place opens and has all; else put the old one back.

    Args:
        path: of the new one.
        old: of the old one, beside it.
        rows: how many each table has.

    Raises:
        StoreError: the new one was not whole, and is gone.
    """
    try:
        check_database(path, rows)
    except StoreError:
        old.replace(path)
        raise
    old.unlink()
    sync_folder(path.parent)


def _only_read(path: Path) -> duckdb.DuckDBPyConnection:
    """A connection that may write to other databases, but not to this one, nor to its journal."""
    connection = duckdb.connect(":memory:", config={"memory_limit": _MEMORY})
    try:
        connection.execute(f"ATTACH {literal(path)} AS old (READ_ONLY)")
        connection.execute("USE old")
    except BaseException:
        connection.close()
        raise
    return connection
