"""Kept outputs: pieces of append-only pack files, one file a day, beside the database.

A piece is the output in blocks of `BLOCK` bytes, each compressed by itself, then the compressed size of each
block (four bytes, little endian). So any range can be read without the rest. Only the database knows what a
piece is called and where it lies: one whose row was never committed is dead weight, no more.
"""

import errno
import os
import struct
import threading
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from queue import Empty, SimpleQueue

from apsis_nb.core.times import format_iso
from apsis_nb.store.errors import StoreError, StoreFull
from apsis_nb.store.files import sync_folder
from apsis_nb.store.rows import OutputRow

BLOCK = 1 << 18
#: Text shrinks to a fifth; more effort costs time and wins little.
LEVEL = 3
#: What a disk says that takes nothing more; all else is wrong with the one output.
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS})

CONTENT_TYPES = {
    ".csv": "text/csv",
    ".gif": "image/gif",
    ".gz": "application/gzip",
    ".html": "text/html",
    ".ipynb": "application/x-ipynb+json",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".json": "application/json",
    ".md": "text/markdown",
    ".parquet": "application/vnd.apache.parquet",
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".tsv": "text/tab-separated-values",
    ".webp": "image/webp",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".xml": "application/xml",
    ".zip": "application/zip",
}


def content_type(name: str) -> str:
    """The media type of an output, by its name; what a program writes to its stdout is plain text."""
    suffix = Path(name).suffix.lower()
    if suffix in ("", ".log", ".txt"):
        return "text/plain"
    return CONTENT_TYPES.get(suffix, "application/octet-stream")


@dataclass(frozen=True, slots=True)
class _Order:
    files: Sequence[tuple[str, Path]]
    done: "Future[list[OutputRow]]" = field(default_factory=Future)


class Packer:
    """Appends outputs to the pack file of the day, on its own thread; one fdatasync for all that wait."""

    def __init__(self, folder: Path, now: Callable[[], datetime]) -> None:
        self._folder = folder
        self._now = now
        self._queue: SimpleQueue[_Order | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="apsis-nb-packer", daemon=True)

    def start(self) -> None:
        """Begin to pack."""
        if not self._folder.exists():
            self._folder.mkdir(mode=0o700)
            sync_folder(self._folder.parent)
        self._thread.start()

    def submit(self, files: Sequence[tuple[str, Path]]) -> "Future[list[OutputRow]]":
        """Keep the files, as (name, path); the answer comes when they are safe on disk."""
        order = _Order(tuple(files))
        order.done.set_running_or_notify_cancel()
        self._queue.put(order)
        return order.done

    def close(self) -> None:
        """Pack what is queued, then end."""
        self._queue.put(None)
        self._thread.join()

    # -- on the packer's thread

    def _run(self) -> None:
        is_open = True
        while is_open:
            group: list[_Order] = []
            order = self._queue.get()
            while True:
                if order is None:
                    is_open = False
                else:
                    group.append(order)
                try:
                    order = self._queue.get_nowait()
                except Empty:
                    break
            if group:
                self._pack(group)

    def _pack(self, group: list[_Order]) -> None:
        name = f"{format_iso(self._now().date())}.pack"
        packed: list[tuple[_Order, list[OutputRow]]] = []
        try:
            is_new = not (self._folder / name).exists()
            with (self._folder / name).open("ab") as pack:
                os.fchmod(pack.fileno(), 0o600)
                for order in group:
                    try:
                        rows = [_append(pack.fileno(), name, what, path) for what, path in order.files]
                    except OSError as e:
                        order.done.set_exception(_not_kept(e))
                    else:
                        packed.append((order, rows))
                os.fdatasync(pack.fileno())
            if is_new:
                sync_folder(self._folder)
        except Exception as e:  # those who wait must hear of it
            for order in group:
                if not order.done.done():
                    order.done.set_exception(_not_kept(e))
            return
        for order, rows in packed:
            order.done.set_result(rows)


def _not_kept(error: Exception) -> StoreError:
    kind = StoreFull if isinstance(error, OSError) and error.errno in _FULL else StoreError
    return kind(f"the outputs cannot be kept: {error}")


def _append(pack: int, pack_name: str, name: str, path: Path) -> OutputRow:
    offset = os.lseek(pack, 0, os.SEEK_END)
    sizes, length = [], 0
    # No link: a program of another account could lead us to what it may not read.
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
        block = file.read(BLOCK)
        while block:
            length += len(block)
            packed = zlib.compress(block, LEVEL)
            _write_all(pack, packed)
            sizes.append(len(packed))
            # Only the last block is short, even if somebody still writes to the file.
            block = file.read(BLOCK) if len(block) == BLOCK else b""
    _write_all(pack, struct.pack(f"<{len(sizes)}I", *sizes))
    return OutputRow(
        name=name,
        content_type=content_type(name),
        length=length,
        pack=pack_name,
        pack_offset=offset,
        stored=sum(sizes) + 4 * len(sizes),
    )


def _write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def read_range(folder: Path, row: OutputRow, offset: int, limit: int) -> bytes:
    """Bytes of a kept output.

    Args:
        folder: of the pack files.
        row: where it lies.
        offset, limit: of the output as the program wrote it; a negative offset counts from its end.

    Raises:
        StoreError: the pack file is gone or damaged.
    """
    begin = max(0, row.length + offset) if offset < 0 else min(offset, row.length)
    end = min(row.length, begin + max(0, limit))
    if begin == end:
        return b""
    first, last = begin // BLOCK, (end - 1) // BLOCK
    count = -(-row.length // BLOCK)
    try:
        with (folder / row.pack).open("rb") as pack:
            pack.seek(row.pack_offset + row.stored - 4 * count)
            sizes = struct.unpack(f"<{count}I", pack.read(4 * count))
            pack.seek(row.pack_offset + sum(sizes[:first]))
            data = b"".join(zlib.decompress(pack.read(size)) for size in sizes[first : last + 1])
    except (OSError, struct.error, zlib.error) as e:
        raise StoreError(f"output {row.name} cannot be read from {row.pack}: {e}") from e
    return data[begin - first * BLOCK : end - first * BLOCK]
