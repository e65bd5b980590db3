"""A run directory as the server sees it: what its supervisor wrote, whether that lives, how to command it."""

import contextlib
import fcntl
import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from apsis_nb.core.programs import Outcome

from .supervisor import CONTROL, FORMAT, OUT, OUTPUT, RECORD, STDERR, STDOUT, read_meta, run_dir_name

#: The outputs that a program prints, in their order.
_FIRST = (OUTPUT, STDOUT, STDERR)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """Who supervises the run."""

    pid: int  #: of the supervisor
    boot_id: str  #: of the machine when it began


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """The program runs, or ran."""

    pid: int  #: of its main process, which leads a session
    at: datetime
    monotonic_s: float  #: the same by the supervisor's clock, which never jumps
    uptime_s: float  #: the same from the machine's start: tells the process from a later one of the same id


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How the run ended."""

    outcome: Outcome
    at: datetime
    message: str | None = None
    return_code: int | None = None  #: exit code, or -N if signal N ended it; None if it could not be started
    elapsed_s: float | None = None
    cpu_s: float | None = None  #: processor time of the program and of the children that it waited for
    max_rss_b: int | None = None  #: the most memory that the largest of these had
    read_b: int | None = None  #: bytes that they read from disks
    write_b: int | None = None  #: bytes that they wrote to disks
    detail: Mapping[str, Any] | None = (
        None  #: signal, core_dumped, signals_sent, why, meta_error: what there is
    )
    meta: Any = None  #: what the program says of itself, as JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What a supervisor wrote down."""

    claimed: Claimed | None  #: None: a loss of power took it
    started: Started | None = None
    ended: Ended | None = None


class UnreadableRecord(Exception):
    """The record says something that this release does not understand."""


class RunDir:
    """The directory of one run; it may not exist.

    Args:
        root: folder of the run directories.
        run_id: whose.
    """

    def __init__(self, root: Path, run_id: int) -> None:
        self.path = root / run_dir_name(run_id)

    def exists(self) -> bool:
        """Whether anybody ever claimed the run."""
        return self.path.is_dir()

    def meta(self) -> Any:
        """What its program says of itself so far, as JSON; None: nothing, or nothing that can be read."""
        try:
            here = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            return None
        try:
            return read_meta(here)
        except (OSError, ValueError):
            return None
        finally:
            os.close(here)

    def record(self) -> Record | None:
        """What its supervisor wrote down so far; None if nobody ever claimed the run.

        Raises:
            UnreadableRecord: it says something that this release does not understand.
        """
        lines = self._lines()
        if lines is None and self.exists():
            lines = self._lines()  # it may have been claimed between the two looks, and then it has a record
            if lines is None:
                return Record(claimed=None)
        if lines is None:
            return None
        facts: dict[str, Any] = {}
        for line in lines[:-1]:  # what stands behind the last line's end is a line that is being written
            try:
                facts |= json.loads(line)
            except ValueError:  # a loss of power may leave anything that was not made durable
                return Record(claimed=None)
        return _record(facts)

    def _lines(self) -> list[bytes] | None:
        try:
            with open(self.path / RECORD, "rb") as file:
                return file.read().split(b"\n")
        except FileNotFoundError:
            return None

    def is_locked(self) -> bool:
        """Whether the supervisor lives."""
        try:
            fd = os.open(self.path / RECORD, os.O_RDONLY)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(
                fd, fcntl.LOCK_SH | fcntl.LOCK_NB
            )  # shared: two who ask do not take each other for it
        except BlockingIOError:
            return True
        finally:
            os.close(fd)
        return False

    def command(self, line: str) -> None:
        """Send a command to the supervisor.

        Raises:
            OSError: there is no supervisor that listens.
        """
        fd = os.open(self.path / CONTROL, os.O_WRONLY | os.O_NONBLOCK)
        try:
            os.write(fd, f"{line}\n".encode())
        finally:
            os.close(fd)

    def outputs(self) -> list[tuple[str, Path]]:
        """Name and file of each output so far: what it prints first, then what else the program put there."""
        found = []
        with contextlib.suppress(FileNotFoundError), os.scandir(self.path / OUT) as entries:
            # A link could name any file that the server may read and the program may not.
            found = [e.name for e in entries if e.is_file(follow_symlinks=False)]
        return [(name, self.path / OUT / name) for name in sorted(found, key=_rank)]

    def read_output(self, name: str, offset: int, limit: int) -> tuple[bytes, int]:
        """At most `limit` bytes of an output from `offset` on, and its size now.

        Raises:
            KeyError: there is no such output.
        """
        if "/" in name or name in ("", ".", "..") or "\0" in name:
            raise KeyError(name)
        try:
            fd = os.open(self.path / OUT / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            raise KeyError(name) from None
        try:
            facts = os.fstat(fd)
            if not stat.S_ISREG(facts.st_mode):
                raise KeyError(name)
            data = os.pread(fd, limit, offset)
            return data, max(facts.st_size, offset + len(data))  # it may grow between the two
        finally:
            os.close(fd)


def _rank(name: str) -> tuple[int, str]:
    return (_FIRST.index(name), "") if name in _FIRST else (len(_FIRST), name)


def _record(facts: Mapping[str, Any]) -> Record:
    claimed, started, ended = facts.get("claimed"), facts.get("started"), facts.get("ended")
    if claimed is None:
        return Record(claimed=None)
    if claimed["format"] > FORMAT:
        raise UnreadableRecord(
            f"its run directory has format {claimed['format']}, this release reads up to {FORMAT}"
        )
    try:
        return Record(
            claimed=Claimed(pid=claimed["pid"], boot_id=claimed["boot_id"]),
            started=None if started is None else Started(**{**started, "at": _time(started["at"])}),
            ended=None if ended is None else Ended(**{**ended, "at": _time(ended["at"])}),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UnreadableRecord(f"its run directory's record cannot be read: {error}") from None


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
