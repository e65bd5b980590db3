"""A fresh copy of a database: as it was at one moment, compared with it, and on the disk."""

from collections.abc import Mapping
from pathlib import Path

import duckdb

from apsis_nb.store.errors import StoreError
from apsis_nb.store.files import sync_file, wal_of

#: Of a database that is only looked at.
_CHECK_MEMORY = "512MB"


def quoted(name: str) -> str:
    """A name, for SQL."""
    return '"' + name.replace('"', '""') + '"'


def literal(path: Path) -> str:
    """A path as a text, for SQL."""
    return "'" + str(path).replace("'", "''") + "'"


def counts(cursor: duckdb.DuckDBPyConnection, database: str) -> dict[str, int]:
    """How many rows each table of a run store has."""
    tables = cursor.execute(
        "SELECT table_name FROM duckdb_tables() WHERE database_name = $1 AND schema_name = 'base' ORDER BY 1",
        [database],
    ).fetchall()
    return {
        table: cursor.execute(f"SELECT count(*) FROM {quoted(database)}.base.{quoted(table)}").fetchall()[0][
            0
        ]
        for (table,) in tables
    }


def copy_database(cursor: duckdb.DuckDBPyConnection, to: Path) -> dict[str, int]:
    """Copy the whole database into a new file, as it is at one moment; others may write to it meanwhile.

    Args:
        cursor: of the database that is copied; nobody else uses it.
        to: the file; one that is there, of a copy that was cut short, goes.

    Returns:
        How many rows each table has.

    Raises:
        StoreError: the copy is not the same.
        duckdb.Error: it cannot be made.
    """
    remove_database(to)
    ((source,),) = cursor.execute("SELECT current_database()").fetchall()
    cursor.execute(f"ATTACH {literal(to)} AS fresh")
    try:
        cursor.begin()
        try:
            rows = counts(cursor, source)
            cursor.execute(f"COPY FROM DATABASE {quoted(source)} TO fresh").fetchall()
            cursor.commit()
        except BaseException:
            cursor.rollback()
            raise
        cursor.execute("CHECKPOINT fresh")
    finally:
        cursor.execute("DETACH fresh")
    to.chmod(0o600)
    sync_file(to)
    check_database(to, rows)
    return rows


def check_database(path: Path, rows: Mapping[str, int]) -> None:
    """Open a copy and count.

    Args:
        rows: how many each table should have.

    Raises:
        StoreError: it cannot be opened, or has other rows.
    """
    try:
        with look_into(path) as connection:
            ((database,),) = connection.execute("SELECT current_database()").fetchall()
            found = counts(connection, database)
    except duckdb.Error as error:
        raise StoreError(f"{path} cannot be opened: {error}") from None
    if found != dict(rows):
        names = sorted(name for name in found.keys() | rows.keys() if found.get(name) != rows.get(name))
        told = ", ".join(f"{name} has {found.get(name)} rows, not {rows.get(name)}" for name in names)
        raise StoreError(f"{path} is not whole: {told}")


def look_into(path: Path) -> duckdb.DuckDBPyConnection:
    """A connection that only reads. While it is open no server can have the file."""
    return duckdb.connect(
        str(path),
        read_only=True,
        config={
            "threads": 1,
            "memory_limit": _CHECK_MEMORY,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        },
    )


def remove_database(path: Path) -> None:
    """Remove a database that nobody has open, with its journal."""
    for file in (wal_of(path), path):
        file.unlink(missing_ok=True)
