"""Print the newest Python on this machine that is newer than the one running this; nothing if there is none.

Looks on PATH and where pyenv keeps its versions. One that does not really run is passed over: pyenv has a
shim on PATH also for a version that is not switched on.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

MINORS = (14, 13, 12)
ASK = """
import ensurepip, sys, venv
if sys.version_info.releaselevel != "final":
    sys.exit(1)
print(sys.executable)
"""


def newest(than: tuple[int, int], path: str, pyenv: Path) -> str | None:
    """The newest Python above a version.

    Args:
        than: (major, minor) that it must be above.
        path: folders to look in, as in $PATH.
        pyenv: pyenv's root; it need not exist.
    Returns:
        The path of a released Python that runs and can make virtual environments; None if there is none.
    """
    for minor in MINORS:
        if (3, minor) <= than:
            return None
        on_path = shutil.which(f"python3.{minor}", path=path)
        in_pyenv = pyenv.glob(f"versions/3.{minor}.*/bin/python3")
        for candidate in [on_path, *map(str, sorted(in_pyenv, reverse=True))]:
            if candidate and (found := _asked(candidate)):
                return found
    return None


def _asked(candidate: str) -> str | None:
    done = subprocess.run([candidate, "-c", ASK], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


if __name__ == "__main__":
    pyenv = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser()
    print(newest(sys.version_info[:2], os.environ.get("PATH", os.defpath), pyenv) or "", end="")
