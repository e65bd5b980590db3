"""New files: whole or not at all, and never in the place of another."""

import os
import tempfile
from pathlib import Path

from apsis_nb.core.errors import ApsisError


def write_new(file: Path, text: str) -> None:
    """Write a file that is not there yet; folders above it are made.

    Raises:
        ApsisError: there is one of that name.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=".", suffix=".new")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            out.write(text)
            out.flush()
            os.fsync(handle)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)  # it was made for its owner alone
        os.link(temporary, file)
    except FileExistsError:
        raise ApsisError(f"{file} is there already, and is left as it is") from None
    finally:
        os.unlink(temporary)
