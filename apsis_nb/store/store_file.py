"""A run store that nobody writes, read without a server: that of a stopped server, or a backup."""

import shutil
import tempfile
import weakref
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from apsis_nb.store.errors import StoreError
from apsis_nb.store.opening import (
    SCHEMA_VERSION,
    USE_ATTACHED,
    attach,
    connect,
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


class StoreFile(Questions):
    """The finished runs of a file, which is not changed, and which nobody else can write until `close`.

    One of an older release is read from a copy, which is brought up to date; the file itself stays as it is.
    Safe to use from any thread; several processes may read the same file.

    Args:
        path: of the file; the outputs are looked for beside it.
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
        self._clean = weakref.finalize(self, shutil.rmtree, temp, ignore_errors=True)
        connection = attach(path, threads=threads, memory_limit=memory_limit, temp=temp)
        version, self.epoch = schema_version(connection, path)
        if version < SCHEMA_VERSION:
            copy = _upgraded(path, temp, naive(now()))  # while it is attached nobody can write it
            connection.close()
            connection = attach(copy, threads=threads, memory_limit=memory_limit, temp=temp)
        live = LiveRuns()
        cursors = [connection.cursor() for _ in range(READERS + BOXED_READERS)]
        for cursor in cursors:
            cursor.execute(USE_ATTACHED)  # not inherited
        super().__init__(
            path,
            readers=Readers(cursors[:READERS], live),
            boxed=Readers([limited(cursor) for cursor in cursors[READERS:]], live),
            rules=Rules(connection),
            live=live,
            now=now,
        )
        lock_down(connection, path)
        self._connection = connection

    def __enter__(self) -> "StoreFile":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Let the file go. Queries that run end first."""
        self._readers.close()
        self._boxed.close()
        self._connection.close()
        self._clean()


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
