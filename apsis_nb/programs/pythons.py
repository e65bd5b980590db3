"""Which Python runs a task: an interpreter, a virtual environment, or a conda environment."""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from .supervisor import find_executable

#: Where people have conda, below their home or not.
_CONDAS = ("miniforge3", "miniconda3", "mambaforge", "anaconda3", "micromamba")
_SYSTEM_CONDAS = ("/opt/conda", *(f"/opt/{name}" for name in _CONDAS))


@dataclass(frozen=True, slots=True)
class Python:
    """An interpreter."""

    executable: str
    #: Of the environment that it belongs to, as when that is activated, but for `PATH`.
    variables: Mapping[str, str]
    folder: str | None  #: of the programs of that environment, for the front of `PATH`


def find_python(name: str | None, here: str, home: str, env: Mapping[str, str]) -> Python:
    """The interpreter that a job means.

    Args:
        name: path of an interpreter or of an environment's folder, relative to `here`; or the name of an
            interpreter on the path, or of a conda environment. None: the server's own.
        here: a folder.
        home: of the account that runs it.
        env: of the program, without what is found here.

    Raises:
        ValueError: there is no such thing.
    """
    if name is None:
        return _interpreter(sys.executable)
    path = Path(here, f"{home}{name[1:]}" if name.startswith("~/") else name)
    if path.is_dir():
        return _of_folder(path, name)
    if path.exists():
        return _interpreter(str(path))
    if "/" not in name:
        try:
            return _interpreter(find_executable(name, env.get("PATH", "")))
        except FileNotFoundError:
            pass
        known = dict(_conda_environments(home, env))
        if name in known:
            return _of_folder(known[name], name)
        named = f"; those of conda are {', '.join(sorted(known))}" if known else ""
        raise ValueError(f"python: '{name}' is no interpreter, and no environment{named}")
    raise ValueError(f"python: there is no '{path}'")


def _of_folder(folder: Path, name: str) -> Python:
    for interpreter in ("bin/python", "bin/python3"):
        if (folder / interpreter).exists():
            return _interpreter(str(folder / interpreter))
    raise ValueError(f"python: '{name}' is the folder of no environment: it has no bin/python")


def _interpreter(executable: str) -> Python:
    folder = Path(executable).parent
    if (folder.parent / "conda-meta").is_dir():
        names = {"CONDA_PREFIX": str(folder.parent), "CONDA_DEFAULT_ENV": folder.parent.name}
        return Python(executable, names, str(folder))
    if (folder.parent / "pyvenv.cfg").is_file():
        return Python(executable, {"VIRTUAL_ENV": str(folder.parent)}, str(folder))
    return Python(executable, {}, None)


def _conda_environments(home: str, env: Mapping[str, str]) -> Iterator[tuple[str, Path]]:
    """Names and folders; of several of one name the last one counts."""
    bases = [Path(base) for base in (*_SYSTEM_CONDAS, *(f"{home}/{name}" for name in _CONDAS))]
    here = Path(sys.prefix)  # the server's own conda, should it be in one
    if (here / "conda-meta").is_dir():
        bases.append(here.parents[1] if here.parent.name == "envs" else here)
    folders = [*(base / "envs" for base in bases), Path(home, ".conda", "envs")]
    folders += [Path(folder) for folder in env.get("CONDA_ENVS_PATH", "").split(":") if folder]
    for folder in folders:
        if folder.is_dir():
            yield from ((entry.name, entry) for entry in folder.iterdir() if (entry / "conda-meta").is_dir())
    yield from (("base", base) for base in bases if (base / "conda-meta").is_dir())
    try:
        listed = Path(home, ".conda", "environments.txt").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return
    yield from ((Path(line).name, Path(line)) for line in listed if (Path(line) / "conda-meta").is_dir())
