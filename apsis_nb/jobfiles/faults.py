"""One thing that is wrong with a file of a job folder, and where."""

from dataclasses import dataclass
from typing import Literal

from apsis_nb.core.fields import KeyPath


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
