"""Long histories to measure on. One of ten million runs takes minutes to make, so it can be kept."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb

from apsis_nb.demo.history import make_history
from apsis_nb.store import Store

#: A million runs over a hundred days; ten million over three years: of either 90 days hold about 0.9 million.
DAYS = {1_000_000: 100, 10_000_000: 1096}


@dataclass(frozen=True, slots=True)
class History:
    """A made-up past."""

    path: Path  #: of the file
    runs: int
    until: datetime  #: when the last of them had ended; aware. To be used as the present
    made_s: float | None  #: how long it took to make; None: it was kept from before

    @property
    def size_mb(self) -> float:
        """Size of the file, MB."""
        return self.path.stat().st_size / 1e6

    def open(self) -> Store:
        """The store, at a time when the history has just ended."""
        return Store.open(self.path, now=lambda: self.until)


@contextmanager
def history(runs: int, *, days: int | None = None, cache: Path | None = None) -> Iterator[History]:
    """A store with made-up runs.

    Args:
        runs: how many.
        days: over how many; by default as `DAYS` has it, or 100.
        cache: a folder in which the store is kept for the next time; None: it is removed.
    """
    days = days or DAYS.get(runs, 100)
    if cache is None:
        with tempfile.TemporaryDirectory() as folder:
            yield _made(Path(folder), runs, days)
        return
    kept = cache / f"{runs}-runs-{days}-days"
    if kept.exists():
        yield _history(kept, runs, None)
        return
    part = cache / f"{kept.name}.part"
    shutil.rmtree(part, ignore_errors=True)  # of one that was killed
    part.mkdir(parents=True)
    made = _made(part, runs, days)
    part.rename(kept)
    yield _history(kept, runs, made.made_s)


def _made(folder: Path, runs: int, days: int) -> History:
    began = time.perf_counter()
    make_history(folder / "runs.duckdb", runs, until=datetime.now(UTC), days=days)
    return _history(folder, runs, time.perf_counter() - began)


def _history(folder: Path, runs: int, made_s: float | None) -> History:
    path = folder / "runs.duckdb"
    with duckdb.connect(str(path), read_only=True) as file:
        (last,) = file.execute("SELECT max(finished_at) FROM base.runs").fetchall()[0]
    return History(path, runs, last.replace(tzinfo=UTC) + timedelta(seconds=1), made_s)


@contextmanager
def state_dir_of(made: History) -> Iterator[Path]:
    """A state folder for a server that holds a copy of the history."""
    with tempfile.TemporaryDirectory(dir=made.path.parent) as folder:
        state = Path(folder) / "state"
        put_copy(made, state)
        yield state


def put_copy(made: History, state: Path) -> None:
    """Make a state folder with a copy of the history."""
    state.mkdir()
    shutil.copyfile(made.path, state / "runs.duckdb")
    os.sync()  # else the first commits wait for a gigabyte that is still to be written
