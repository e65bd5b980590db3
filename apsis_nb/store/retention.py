"""Gives up outputs that are not to be kept: says so in the database first, then frees the room on the disk.

The pieces of a pack file that nobody needs become holes in it; where a file system has no holes, the room is
free when the whole pack goes. What a crash leaves given up, but not freed, is freed the next time.
"""

import ctypes
import logging
import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apsis_nb.core.retention import KeepRules
from apsis_nb.core.times import format_iso
from apsis_nb.store.queries import queries
from apsis_nb.store.rows import DroppedRow, naive
from apsis_nb.store.writer import Work, Writer

if TYPE_CHECKING:
    from apsis_nb.store.store import Questions

log = logging.getLogger("apsis_nb.store")

#: Runs that are looked up at once, and of these those that one transaction gives up: it takes 2 ms.
CHUNK, BATCH = 50_000, 500
#: A pack that may still get pieces, or has some whose rows are under way, is not removed.
PACK_GROWS = timedelta(days=2)
#: Smaller holes free nothing.
HOLE_B = 4096

_KEEP_SIZE, _PUNCH_HOLE = 1, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """How much of the outputs of a job is given up."""

    job_id: str
    runs: int
    outputs: int
    bytes: int  #: on the disk
    last_at: datetime  #: naive, UTC: when the newest of these runs finished

    def facts(self) -> dict[str, Any]:
        """Plain values by name."""
        return asdict(self)


class Retention:
    """The outputs of one store that are beyond what is kept. All methods block.

    Args:
        store: which is asked.
        writer: commits what is given up.
    """

    def __init__(self, store: "Questions", writer: Writer) -> None:
        self._store, self._writer = store, writer
        self._lock = threading.Lock()
        self._closing = threading.Event()

    def plan(self, rules: KeepRules, now: datetime) -> list[Amount]:
        """What `carry_out` would give up, by job. Live runs have nothing here.

        Args:
            rules: what is kept.
            now: aware.

        Raises:
            StoreError: the store cannot be read.
        """
        if rules.keep_all:
            return []
        rows = self._store.rows(queries()["outputs_beyond"].text, _params(rules, now, by_run=False))
        return [
            Amount(job_id=job_id, runs=runs, outputs=outputs, bytes=size_b, last_at=last_at)
            for job_id, _, _, _, runs, outputs, size_b, last_at in rows
        ]

    def carry_out(self, rules: KeepRules, now: datetime) -> list[Amount]:
        """Give up what is beyond the rules, a few runs at a time, and free its room.

        Returns:
            What was given up, by job; less than was planned if the store is closed meanwhile.

        Raises:
            StoreError: the store cannot be read, or written.
        """
        done: dict[str, Amount] = {}
        with self._lock:
            if self._closing.is_set():
                return []
            self._free(self._last_packs())  # of which a crash may have left some
            at = now
            while not (rules.keep_all or self._closing.is_set()):
                params = _params(rules, now, by_run=True)
                rows = self._store.rows(queries()["outputs_beyond"].text, params)
                if not rows:
                    break
                for begin in range(0, len(rows), BATCH):
                    if self._closing.is_set():
                        break
                    batch = rows[begin : begin + BATCH]
                    dropped = [
                        DroppedRow(run_id=run_id, reason=rules.of(job_id).why(bound))
                        for job_id, run_id, bound, *_ in batch
                    ]
                    self._writer.submit(Work(dropped=dropped, noted_at=at)).result()
                    for job_id, _, _, _, _, outputs, size_b, last_at in batch:
                        _add(done, job_id, outputs, size_b, last_at)
                self._free(self._last_packs())
                at += timedelta(microseconds=1)  # so that these are told from the next
            self._remove_empty(now.date())
        return sorted(done.values(), key=lambda amount: amount.job_id)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nothing is given up meanwhile."""
        with self._lock:
            yield

    def close(self) -> None:
        """End what is under way, after the batch that it is at."""
        self._closing.set()
        with self._lock:
            pass

    def _last_packs(self) -> list[str]:
        """The packs of the runs that were given up last."""
        return [pack for (pack,) in self._store.rows(queries()["packs_dropped_last"].text, {})]

    def _free(self, packs: Iterable[str]) -> None:
        """Make holes of the pieces of packs that nobody needs."""
        for pack in packs:
            pieces = self._store.rows(queries()["pieces_dropped"].text, {"pack": pack})
            try:
                punch(self._store.packs / pack, joined(pieces))
            except FileNotFoundError:
                continue  # the whole pack is gone
            except OSError as error:
                log.info("%s keeps its room until all of it can go: %s", pack, error.strerror)

    def _remove_empty(self, today: date) -> None:
        """Remove the packs of which nothing is needed any more; none, while nobody knows what is needed."""
        if self._store.archive.lost:
            return
        oldest_growing = f"{format_iso(today - PACK_GROWS)}.pack"
        packs = sorted(path.name for path in self._store.packs.glob("*.pack") if path.name < oldest_growing)
        for (pack,) in self._store.rows(queries()["packs_not_needed"].text, {"packs": packs}):
            (self._store.packs / pack).unlink(missing_ok=True)


def _add(done: dict[str, Amount], job_id: str, outputs: int, size_b: int, last_at: datetime) -> None:
    """Count one run more."""
    had = done.get(job_id) or Amount(job_id=job_id, runs=0, outputs=0, bytes=0, last_at=last_at)
    done[job_id] = Amount(
        job_id=job_id,
        runs=had.runs + 1,
        outputs=had.outputs + outputs,
        bytes=had.bytes + size_b,
        last_at=max(had.last_at, last_at),
    )


def _params(rules: KeepRules, now: datetime, *, by_run: bool) -> dict[str, Any]:
    own = list(rules.of_jobs.values())
    return {
        "now": naive(now),
        "jobs": list(rules.of_jobs),
        "ages_s": [keep.age_s for keep in own],
        "sizes_b": [keep.size_b for keep in own],
        "counts": [keep.count for keep in own],
        "age_s": rules.default.age_s,
        "size_b": rules.default.size_b,
        "count": rules.default.count,
        "by_run": by_run,
        "limit": CHUNK if by_run else None,
    }


def joined(pieces: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Pieces of a file, as (offset, length) by offset, with neighbours made one; small ones are left out."""
    begin = end = 0
    for offset, length in pieces:
        if offset > end:
            if end - begin >= HOLE_B:
                yield begin, end - begin
            begin = offset
        end = max(end, offset + length)
    if end - begin >= HOLE_B:
        yield begin, end - begin


def punch(path: Path, pieces: Iterable[tuple[int, int]]) -> None:
    """Give the room of pieces of a file back. It keeps its size, and reads as zeros there.

    Raises:
        OSError: there is no such file, or its file system has no holes.
    """
    fallocate = _libc().fallocate
    fd = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        for offset, length in pieces:
            if fallocate(fd, _PUNCH_HOLE | _KEEP_SIZE, ctypes.c_int64(offset), ctypes.c_int64(length)):
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number))
    finally:
        os.close(fd)


def _libc() -> ctypes.CDLL:
    """The C library. Python itself cannot make holes."""
    return ctypes.CDLL(None, use_errno=True)
