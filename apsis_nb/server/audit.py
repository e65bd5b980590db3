"""The audit log: who asked to change what, from where, and what became of it."""

import json
import logging
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from apsis_nb.core.times import format_time

log = logging.getLogger(__name__)

FILE_BYTES = 10_000_000  #: a file that is longer is put away, and a new one is begun
FILES = 10  #: how many are kept, the one that is written included


class Audit:
    """A file of JSON lines, for its owner's eyes. All on the loop's thread.

    A line is with the system when `write` returns: it outlives a crash of the server, not of the machine.

    Args:
        file: it is made when the first line is written. Older ones are beside it: `audit.1.jsonl` is the
            newest of them.
        file_bytes: as `FILE_BYTES`.
    """

    def __init__(self, file: Path, file_bytes: int = FILE_BYTES) -> None:
        self._file, self._file_bytes = file, file_bytes
        self._is_well = True

    def write(self, **facts: Any) -> None:
        """Add a line; None is left out. If that fails, the server's log says so, and the server goes on."""
        told = {name: fact for name, fact in facts.items() if fact is not None}
        line = json.dumps({"at": format_time(datetime.now(UTC)), **told}, ensure_ascii=False) + "\n"
        try:
            handle = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.write(handle, line.encode("utf-8", "backslashreplace"))
                size = os.fstat(handle).st_size
            finally:
                os.close(handle)
            if size > self._file_bytes:
                self._put_away()
            self._is_well = True
        except OSError as error:
            if self._is_well:
                log.error(
                    "%s cannot be written: %s; what changes is not told there", self._file, error.strerror
                )
            self._is_well = False

    def _put_away(self) -> None:
        """Begin a new file. The oldest goes first, so that an end in between loses nothing but that."""
        names = [self._file, *(self._file.with_suffix(f".{n}.jsonl") for n in range(1, FILES))]
        for n in range(FILES - 1, 0, -1):
            if names[n - 1].exists():
                os.replace(names[n - 1], names[n])
