"""Cursors for queries: a fixed number, each used by one thread at a time."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from queue import LifoQueue
from typing import Any

import duckdb

from apsis_nb.store.errors import StoreError
from apsis_nb.store.writer import LiveRuns


class Readers:
    """A pool of cursors. Who finds none free waits.

    Args:
        cursors: made before the configuration was locked, with the limits that they keep.
        live: whose ids the views need.
    """

    def __init__(self, cursors: Sequence[duckdb.DuckDBPyConnection], live: LiveRuns) -> None:
        self._live = live
        self._free: LifoQueue[tuple[duckdb.DuckDBPyConnection, int] | None] = LifoQueue()  # None: closed
        self._size = len(cursors)
        for cursor in cursors:
            self._free.put((cursor, -1))

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
        cursor, known = free
        try:
            version, ids = self._live.ids()
            if version != known:
                cursor.execute("SET VARIABLE live_ids = $1::BIGINT[]", [ids])
                known = version
            yield cursor
        except duckdb.Error as e:
            raise StoreError(str(e)) from e
        finally:
            self._free.put((cursor, known))

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
