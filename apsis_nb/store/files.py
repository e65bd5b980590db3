"""Files that must be whole and on the disk."""

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

from apsis_nb.core.times import format_time
from apsis_nb.store.errors import StoreFull

#: What stays free for the server itself when it makes a copy, bytes.
RESERVE_B = 64_000_000
_CHUNK_B = 1 << 20


def sync_file(path: Path) -> None:
    """Return when what a file holds is on the disk."""
    _sync(path, os.O_RDONLY)


def sync_folder(folder: Path) -> None:
    """Return when the names in a folder are on the disk."""
    _sync(folder, os.O_RDONLY | os.O_DIRECTORY)


def _sync(path: Path, flags: int) -> None:
    fd = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def wal_of(path: Path) -> Path:
    """The journal beside a database."""
    return path.with_name(f"{path.name}.wal")


def size_of(path: Path) -> int:
    """Of a file, in bytes; 0 if it is not there."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def copy_file(
    source: Path, to: Path, length: int | None = None, *, told: Callable[[int], object] = lambda _: None
) -> None:
    """Copy a file, or its beginning, onto the disk. Holes stay holes.

    Args:
        to: made, for the owner alone.
        length: of what is copied, bytes; None: all.
        told: hears of each piece that is done, bytes; may raise, which ends it.

    Raises:
        OSError: it cannot be read or written, or is shorter.
    """
    with (
        source.open("rb") as read,
        open(os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as new,
    ):
        size = os.fstat(read.fileno()).st_size
        if length is None:
            length = size
        if size < length:
            raise OSError(errno.EIO, f"is only {size} bytes long, not {length}", str(source))
        for begin, end in _pieces(read.fileno(), length):
            at = begin
            while at < end:
                data = os.pread(read.fileno(), min(_CHUNK_B, end - at), at)
                if not data:
                    raise OSError(errno.EIO, "became shorter while it was copied", str(source))
                new.seek(at)
                new.write(data)
                at += len(data)
                told(len(data))
        new.truncate(length)
        new.flush()
        os.fsync(new.fileno())


def _pieces(fd: int, length: int) -> Iterator[tuple[int, int]]:
    """Where a file has data, as (begin, end)."""
    at = 0
    while at < length:
        try:
            begin = os.lseek(fd, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole is left
                return
            raise
        at = min(os.lseek(fd, begin, os.SEEK_HOLE), length)
        if begin < at:
            yield begin, at


def stamp(at: datetime) -> str:
    """A time in the name of a file, to the second: `20260131T090000Z`."""
    return format_time(at, "second").replace("-", "").replace(":", "")


def move(source: Path, to: Path) -> None:
    """Move a file into another folder, also of another disk. There it has its name once it is whole."""
    try:
        source.rename(to)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        copy_file(source, to)
        source.unlink()


def need_room(folder: Path, size_b: int) -> None:
    """See that a copy has room, before it is begun.

    Raises:
        StoreFull: it has not.
    """
    free_b = shutil.disk_usage(folder).free
    if free_b < size_b + RESERVE_B:
        needed = (size_b + RESERVE_B) / 1e6
        raise StoreFull(f"{folder} has {free_b / 1e6:.0f} MB free, and this needs {needed:.0f} MB")
