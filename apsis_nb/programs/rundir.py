"""A run directory as the server sees it: what its supervisor wrote, whether that lives, how to command it."""

import contextlib
import fcntl
import json
import os
import stat
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

from apsis_nb.core.programs import Outcome

from .supervisor import CLAIM, CONTROL, FORMAT, OUT, OUTPUT, STARTED, STATUS, run_dir_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Who supervises the run."""

    format: int  #: version of the directory's format; 0 if the claim cannot be read
    pid: int  #: of the supervisor
    boot_id: str  #: of the machine when it began


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """The program runs, or ran."""

    pid: int  #: of its main process, which leads a session
    start_ticks: (
        int  #: when that process began, in clock ticks since boot: tells it from a later one of the same id
    )
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """How the run ended."""

    outcome: Outcome
    finished_at: datetime
    message: str | None
    return_code: int | None  #: exit code, or -N if signal N ended it; None if it could not be started
    elapsed_s: float | None
    cpu_s: float | None  #: processor time of the program and of those of its children that it waited for
    max_rss_b: int | None  #: the most memory that the largest of these had


class UnknownFormat(Exception):
    """A later release made the run directory; what stands in it may mean something else."""

    def __init__(self, version: Any) -> None:
        super().__init__(f"its run directory has format {version}, this release reads {FORMAT}")


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

    def claim(self) -> Claim | None:
        """Who supervises it; None if nobody ever claimed the run.

        Raises:
            UnknownFormat: this release cannot read the directory.
        """
        facts = self._read(CLAIM)
        if facts is None:
            # Written before the directory had its name, but not durably: a loss of power may empty it.
            return Claim(format=0, pid=0, boot_id="") if self.exists() else None
        return Claim(format=facts["format"], pid=facts["pid"], boot_id=facts["boot_id"])

    def is_locked(self) -> bool:
        """Whether the supervisor lives."""
        try:
            fd = os.open(self.path / CLAIM, os.O_RDONLY)
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

    def started(self) -> Started | None:
        """When and as what the program started; None if it has not, or a loss of power took the file."""
        facts = self._read(STARTED)
        if facts is None:
            return None
        return Started(pid=facts["pid"], start_ticks=facts["start_ticks"], at=_time(facts["at"]))

    def status(self) -> Status | None:
        """How the run ended; None if it has not.

        Raises:
            UnknownFormat: this release cannot read the directory.
        """
        facts = self._read(STATUS)
        if facts is None:
            return None
        outcome = facts["outcome"]
        if outcome not in get_args(Outcome):
            raise UnknownFormat(facts["format"])
        return Status(
            outcome=outcome,
            finished_at=_time(facts["finished_at"]),
            message=facts.get("message"),
            return_code=facts.get("return_code"),
            elapsed_s=facts.get("elapsed_s"),
            cpu_s=facts.get("cpu_s"),
            max_rss_b=facts.get("max_rss_b"),
        )

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
        """Name and file of each output so far: `output` first, then what else the program put there."""
        found = []
        with contextlib.suppress(FileNotFoundError), os.scandir(self.path / OUT) as entries:
            # A link could name any file that the server may read and the program may not.
            found = [e.name for e in entries if e.is_file(follow_symlinks=False)]
        return [(name, self.path / OUT / name) for name in sorted(found, key=lambda n: (n != OUTPUT, n))]

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

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            with open(self.path / name, "rb") as file:
                facts = json.loads(file.read())
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return None
        if not isinstance(facts, dict):
            return None
        if facts.get("format", FORMAT) > FORMAT:
            raise UnknownFormat(facts["format"])
        return facts


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
