"""Cursors for queries: a fixed number, each used by one thread at a time."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from queue import LifoQueue
from typing import Any

import duckdb

from apsis_nb.store.archive import Archive
from apsis_nb.store.errors import StoreError
from apsis_nb.store.writer import LiveRuns


class Readers:
    """A pool of cursors. Who finds none free waits.

    Args:
        cursors: made before the configuration was locked, with the limits that they keep.
        live: whose ids the views need.
        archive: that some of the views read; None: nobody asks them here.
    """

    def __init__(
        self,
        cursors: Sequence[duckdb.DuckDBPyConnection],
        live: LiveRuns,
        archive: Archive | None = None,
    ) -> None:
        self._live, self._archive = live, archive
        #: Each with the versions of the live runs and of the archive that it knows; None: closed.
        self._free: LifoQueue[tuple[duckdb.DuckDBPyConnection, int, int] | None] = LifoQueue()
        self._size = len(cursors)
        for cursor in cursors:
            self._free.put((cursor, -1, -1))

    @contextmanager
    def cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A cursor whose views see the runs that are live now.

        Raises:
            StoreError: DuckDB refuses the query, or cannot carry it out; or the store is closed.
        """
        free = self._free.get()
        if free is None:
            self._free.put(None)  # for the next who asks
            raise StoreError("the store is closed")
        cursor, known, archived = free
        try:
            version, ids = self._live.ids()
            if version != known:
                cursor.execute("SET VARIABLE live_ids = $1::BIGINT[]", [ids])
                known = version
            if self._archive is not None and (version := self._archive.version) != archived:
                self._archive.show_to(cursor)
                archived = version
            yield cursor
        except duckdb.Error as e:
            raise StoreError(str(e)) from e
        finally:
            self._free.put((cursor, known, archived))

    def rows(self, query: str, params: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """All rows of a query that gives few."""
        with self.cursor() as cursor:
            return cursor.execute(query, dict(params)).fetchall()

    def close(self) -> None:
        """Wait for the queries that run, and close every cursor."""
        for _ in range(self._size):
            free = self._free.get()
            assert free is not None, "it is closed once"
            free[0].close()
        self._free.put(None)
