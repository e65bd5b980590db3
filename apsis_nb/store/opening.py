"""Opening the file: the lock, the settings, the schema and its migrations."""

import itertools
import logging
import os
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from importlib.resources import files
from pathlib import Path

import duckdb

from apsis_nb.store.copying import copy_database, literal
from apsis_nb.store.errors import StoreError, StoreInUse
from apsis_nb.store.files import need_room, size_of, sync_folder, wal_of
from apsis_nb.store.queries import comments, read_sql

log = logging.getLogger("apsis_nb.store")

#: What `schema.sql` makes. An older file is brought up by `migrations/NNNN_*.sql`, one number a version.
SCHEMA_VERSION = 6
#: The name of a file that is attached to be read.
ATTACHED = "history"
USE_ATTACHED = f"USE {ATTACHED}"


def mark_of(path: Path) -> Path:
    """The file that is there while a backup takes the place of a store."""
    return path.with_suffix(".restoring")


def connect(path: Path, *, threads: int | None, memory_limit: str, create: bool) -> duckdb.DuckDBPyConnection:
    """The connection that owns the file.

    Raises:
        StoreError: it is not there, another process has it, or it is no run store; or a backup was being
            restored there, and was not to the end.
    """
    if mark_of(path).exists():
        raise StoreError(
            f"a restore of {path.parent} was cut short: run `apsis-nb restore` again before all else"
        )
    if not path.exists():
        if not create:
            raise StoreError(f"there is no run store at {path}")
        path.parent.mkdir(parents=True, exist_ok=True)
    config = _settings(threads, memory_limit, temp=path.with_suffix(".tmp"))
    config |= {
        "max_temp_directory_size": "20GB",
        "wal_autocheckpoint": "256MB",  # a net: the checkpoint thread comes long before, and stops no commit
    }
    with _told(path):
        connection = duckdb.connect(str(path), config=config)
    path.chmod(0o600)
    # Cursors inherit only what is set for all.
    connection.execute("SET GLOBAL TimeZone = 'UTC'")
    return connection


def attach(path: Path, *, threads: int | None, memory_limit: str, temp: Path) -> duckdb.DuckDBPyConnection:
    """A connection that reads the file and changes nothing of it. Each cursor must `USE` the file first.

    The file is attached to a database in memory, not opened: DuckDB would give a second opener in this
    process the same database, with settings that are locked by then.

    Args:
        path: of the file; what is committed, but only in its journal, is read too.
        threads, memory_limit: as of `connect`.
        temp: folder for what does not fit into memory.

    Raises:
        StoreError: it is not there, another process writes it, a later release wrote it, or it is no run
            store.
    """
    if not path.is_file():
        raise StoreError(f"there is no run store at {path}")
    connection = duckdb.connect(":memory:", config=_settings(threads, memory_limit, temp=temp))
    try:
        connection.execute("SET GLOBAL TimeZone = 'UTC'")
        with _told(path):
            connection.execute(
                f"ATTACH '{str(path).replace(chr(39), chr(39) * 2)}' AS {ATTACHED} (READ_ONLY)"
            )
        connection.execute(USE_ATTACHED)
        schema_version(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def in_memory(*, threads: int | None, memory_limit: str, temp: Path) -> duckdb.DuckDBPyConnection:
    """A connection to an empty store that lies nowhere. Each cursor must `USE` it first.

    Args:
        threads, memory_limit: as of `connect`.
        temp: folder for what does not fit into memory.
    """
    connection = duckdb.connect(":memory:", config=_settings(threads, memory_limit, temp=temp))
    connection.execute("SET GLOBAL TimeZone = 'UTC'")
    connection.execute(f"ATTACH ':memory:' AS {ATTACHED}")
    connection.execute(USE_ATTACHED)
    connection.execute(read_sql("schema.sql"))
    _comment(connection)
    return connection


def journal_of(path: Path) -> Path:
    """Where DuckDB writes what is committed, but not yet in the file."""
    return path.with_name(path.name + ".wal")


def _settings(
    threads: int | None, memory_limit: str, *, temp: Path
) -> dict[str, str | bool | int | float | list[str]]:
    if threads is None:
        # One core stays free: with all of them a heavy query makes commits wait, p99 31 ms against 6.
        threads = max(1, (os.cpu_count() or 1) - 1)
    return {
        "threads": threads,
        "memory_limit": memory_limit,
        "temp_directory": str(temp),
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "python_enable_replacements": False,  # a name in SQL is never a variable of ours
    }


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """What goes wrong when DuckDB opens a file, in our words."""
    try:
        yield
    except duckdb.IOException as e:
        holder = re.search(r"PID (\d+)", str(e))
        if holder:
            raise StoreInUse(path, int(holder[1])) from None
        raise StoreError(f"{path} cannot be opened: {e}") from e
    except duckdb.Error as e:
        raise StoreError(f"{path} cannot be opened: {e}") from e


def schema_version(connection: duckdb.DuckDBPyConnection, path: Path) -> tuple[int, str]:
    """The version of the schema of a file that is not empty, and its epoch.

    Raises:
        StoreError: it is no run store, or a later release wrote it.
    """
    tables = connection.execute(
        "SELECT schema_name || '.' || table_name FROM duckdb_tables()"
        " WHERE database_name = current_database()"
    ).fetchall()
    if ("base.meta",) not in tables:
        raise StoreError(f"{path} is a DuckDB file, but no run store")
    version, epoch = connection.execute(
        "SELECT schema_version, epoch FROM base.meta ORDER BY rowid DESC LIMIT 1"
    ).fetchall()[0]
    if version > SCHEMA_VERSION:
        raise StoreError(
            f"{path} was written by a later release (schema {version}, this one knows {SCHEMA_VERSION})"
        )
    return int(version), str(epoch)


def set_up(connection: duckdb.DuckDBPyConnection, path: Path, now: datetime) -> str:
    """Make the schema, or bring it up to date; gives the epoch.

    Args:
        connection: of `connect`, with nothing else open.
        path: of the file.
        now: naive, UTC.

    Raises:
        StoreError: a later release made the file, or it is some other database.
    """
    tables = connection.execute("SELECT schema_name || '.' || table_name FROM duckdb_tables()").fetchall()
    if not tables:
        epoch = secrets.token_hex(6)
        connection.begin()
        connection.execute(read_sql("schema.sql"))
        _comment(connection)
        connection.execute("INSERT INTO base.meta VALUES ($1, $2, $3)", [SCHEMA_VERSION, epoch, now])
        connection.commit()
        return epoch
    version, epoch = schema_version(connection, path)
    if version < SCHEMA_VERSION:
        migrate(connection, path, version, _migrations(), now)
        _make_views(connection)
        _comment(connection)
    return epoch


def _make_views(connection: duckdb.DuckDBPyConnection) -> None:
    """Views are those of this version, whatever the file had: a migration is about tables alone."""
    connection.begin()
    for view in re.findall(r"^CREATE VIEW .*?;$", read_sql("schema.sql"), re.MULTILINE | re.DOTALL):
        connection.execute(view.replace("CREATE VIEW", "CREATE OR REPLACE VIEW", 1))
    connection.commit()


def _comment(connection: duckdb.DuckDBPyConnection) -> None:
    """Tell in the database what its views and columns mean."""
    for name, meaning in comments(read_sql("schema.sql")).items():
        kind = "COLUMN" if "." in name else "VIEW"
        target = ".".join(f'"{part}"' for part in name.split("."))
        connection.execute(f"COMMENT ON {kind} {target} IS '{meaning.replace(chr(39), chr(39) * 2)}'")


def migrate(
    connection: duckdb.DuckDBPyConnection,
    path: Path,
    version: int,
    steps: Sequence[tuple[int, str]],
    now: datetime,
) -> None:
    """Keep a copy beside the file, then go up from `version`: a step is (version it leads to, SQL).

    Raises:
        StoreError: there is no room for the copy, or it is not whole; nothing has changed then.
    """
    log.info("%s has schema %d, this release %d", path, version, SCHEMA_VERSION)
    kept = keep_aside(connection, path, f"schema-{version}")
    log.info("%s is kept as it was: %s", path, kept)
    for number, sql in steps:
        if number > version:
            connection.begin()
            connection.execute(sql)
            connection.execute(
                "INSERT INTO base.meta SELECT $1, epoch, $2 FROM base.meta ORDER BY rowid DESC LIMIT 1",
                [number, now],
            )
            connection.commit()


def keep_aside(connection: duckdb.DuckDBPyConnection, path: Path, why: str) -> Path:
    """Copy the database into a file beside it, with a name that says why, which nobody removes.

    Returns:
        The file: `runs.WHY.duckdb`, or with a number if there is one.
    """
    need_room(path.parent, size_of(path) + size_of(wal_of(path)))
    part = path.with_name(f".{path.stem}.{why}.part")
    copy_database(connection, part)
    numbers = itertools.chain([""], (f".{n}" for n in itertools.count(2)))
    names = (f"{path.stem}.{why}{number}.duckdb" for number in numbers)
    kept = next(file for file in map(path.with_name, names) if not file.exists())
    part.rename(kept)
    sync_folder(path.parent)
    return kept


def _migrations() -> list[tuple[int, str]]:
    folder = files("apsis_nb.store").joinpath("migrations")
    steps = [file for file in folder.iterdir() if file.name.endswith(".sql")] if folder.is_dir() else []
    return sorted((int(file.name.split("_")[0]), file.read_text(encoding="utf-8")) for file in steps)


def tidy(path: Path) -> None:
    """Remove what a crash has left of copies; the database is open, so it needs none of them."""
    left = (path.parent / "spool").glob("backup-*.duckdb*")
    for file in (*left, *path.parent.glob(f".{path.stem}.*.part*"), *compact_files(path)):
        file.unlink(missing_ok=True)


def compact_files(path: Path) -> tuple[Path, Path]:
    """Where a compaction makes the new file, and where the old one stays until that was opened."""
    return path.with_name(f".{path.stem}.compact.part"), path.with_name(f".{path.stem}.compact.old")


def lock_down(connection: duckdb.DuckDBPyConnection, folders: Sequence[Path]) -> None:
    """From here on no setting changes, and SQL reaches no file but those of some folders."""
    allowed = ", ".join(literal(folder) for folder in folders)
    connection.execute(f"SET allowed_directories = [{allowed}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
