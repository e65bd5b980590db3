"""One thing that is wrong with a file of a job folder, and where."""

from dataclasses import dataclass
from typing import Literal

from apsis_nb.core.errors import JobError
from apsis_nb.core.fields import KeyPath

from .yaml12 import Spot


@dataclass(frozen=True, slots=True)
class FileError:
    """One thing that is wrong with a file."""

    file: str
    line: int  #: from 1
    col: int  #: from 1
    key_path: KeyPath  #: where in the job; empty for the whole file
    message: str
    job_id: str  #: for a file that is no job file: its path in the folder
    level: Literal["error", "warning"] = "error"  #: a warning harms nothing yet

    def __str__(self) -> str:
        kind = "warning: " if self.level == "warning" else ""
        return f"{self.file}:{self.line}:{self.col}: {kind}{self.message}"


def file_error(error: JobError, spot: Spot, file: str, job_id: str) -> FileError:
    """The error at the place in the file that its path leads to."""
    at = spot.find(error.path)
    # A message that names the key needs no more; else the path says what it is about.
    is_named = not error.path or f"'{error.path[-1]}'" in error.message
    message = error.message if is_named else str(error)
    return FileError(file, at.line, at.col, error.path, message, job_id, error.level)
