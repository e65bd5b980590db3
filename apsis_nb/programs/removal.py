"""Removes run directories in a thread, and keeps some of them, emptied, for runs to come.

A file system may be slow to make files where many have just been removed: ext4 looks at each of them again.
So what is alike in all run directories is used again.
"""

import asyncio
import os
import shutil
import stat
import time
from collections import deque
from collections.abc import Iterable
from itertools import count
from pathlib import Path

from .supervisor import CONTROL, NEW, OUT, OUTPUT, RECORD, TMP

#: Prefixes of a run directory that is being removed, and of one that is kept for another run.
GONE, SPARE = ".gone-", ".spare-"
#: Prefix of a spec too long for a message.
SPEC = ".spec-"

_MOST_SPARES = 64  # as many runs may be started while others are removed


class Removal:
    """What removes the run directories of one server.

    Args:
        root: their folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._names = (f"{os.getpid()}-{time.monotonic_ns()}-{number}" for number in count())
        self._waiting: list[Path] = []
        self._spares: deque[str] = deque()
        self._task: asyncio.Task[None] | None = None

    def tidy(self) -> None:
        """Remove what the last server, or a supervisor that died, left half made."""
        self._remove(self._half_made())

    def remove(self, run_dir: Path) -> None:
        """Remove a run directory, if there is one; its name is free at once."""
        gone = self._root / f"{GONE}{next(self._names)}"
        try:
            run_dir.rename(gone)
        except FileNotFoundError:
            return
        self._remove([gone])

    def empty(self, run_dir: Path) -> None:
        """Remove what is in a run directory but the record, so that nobody can claim the run."""
        if run_dir.exists():
            self._remove(path for path in run_dir.iterdir() if path.name != RECORD)

    def spare(self) -> str | None:
        """The name of an emptied run directory, to be used by one run."""
        return self._spares.popleft() if self._spares else None

    async def close(self) -> None:
        """Wait until all is removed that was to be."""
        if self._task is not None:
            await self._task

    def _remove(self, paths: Iterable[Path]) -> None:
        self._waiting.extend(paths)
        if self._waiting and self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._remove_waiting())

    async def _remove_waiting(self) -> None:
        while self._waiting:
            paths, self._waiting = self._waiting, []
            await asyncio.to_thread(self._remove_now, paths)
        self._task = None

    def _remove_now(self, paths: list[Path]) -> None:
        for path in paths:
            if path.is_dir() and not path.is_symlink():
                if not self._keep(path):
                    shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)

    def _keep(self, gone: Path) -> bool:
        """Make a spare of a run directory, if its program left it as it was but for its output."""
        if not gone.name.startswith(GONE) or len(self._spares) >= _MOST_SPARES:
            return False
        spare = f"{SPARE}{gone.name.removeprefix(GONE)}"
        try:
            (gone / OUT / OUTPUT).unlink()
            (gone / RECORD).unlink()
            if not all(_is_empty(gone / name) for name in (OUT, TMP)):
                return False
            if sorted(os.listdir(gone)) != sorted((CONTROL, OUT, TMP)):
                return False
            gone.rename(self._root / spare)
        except OSError:
            return False
        self._spares.append(spare)
        return True

    def _half_made(self) -> Iterable[Path]:
        for path in self._root.iterdir():
            if path.name.startswith((GONE, SPARE, SPEC)):
                yield path
            elif path.name.startswith(NEW):
                maker = path.name.removeprefix(NEW).split("-")[1]
                if not os.path.exists(f"/proc/{maker}"):
                    yield path


def _is_empty(folder: Path) -> bool:
    """Whether a folder is as it was made: empty, ours, and for its owner alone."""
    facts = folder.lstat()
    as_made = stat.S_IFDIR | 0o700
    return facts.st_mode == as_made and facts.st_uid == os.geteuid() and not os.listdir(folder)
