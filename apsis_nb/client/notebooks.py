"""Jobs out of notebooks: what a notebook takes as parameters, and the file of the job that runs it."""

import contextlib
import hashlib
import importlib.util
import os
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apsis_nb.client.errors import BadRequest, NoSuch
from apsis_nb.config import system_zone
from apsis_nb.core.errors import ApsisError
from apsis_nb.core.times import parse_duration
from apsis_nb.jobfiles.notebooks import NotebookFacts, notebook_program, read_notebook

if TYPE_CHECKING:
    from apsis_nb.client.client import Client
    from apsis_nb.client.jobs import Job

#: Where the copies of pinned notebooks lie, beside them.
PINNED = ".pinned"
_CLOCK = re.compile(r"([01]?\d|2[0-3]):[0-5]\d(:[0-5]\d)?")


def schedule_notebook(
    client: "Client",
    path: str | Path | None,
    *,
    job: str | None,
    schedule: str | Mapping[str, Any] | None,
    parameters: Mapping[str, Any],
    python: str | None,
    pinned: bool,
    replace: bool,
) -> "Job | list[Job]":
    """What `Client.schedule_notebook` does; arguments as there."""
    files = notebooks_in(path)
    is_folder = path is not None and Path(path).expanduser().is_dir()
    jobs = {
        job_id_of(file, job) if is_folder or job is None else job: job_of(
            file, schedule=schedule, parameters=parameters, python=python or own_python(), pinned=pinned
        )
        for file in files
    }
    for job_id, facts in jobs.items():
        tag = None
        if replace:
            with contextlib.suppress(NoSuch):
                tag = client.yaml(job_id)[1]
        client.write_yaml(job_id, text_of(facts), tag=tag)
    made = [client.jobs[job_id] for job_id in jobs]
    return made if is_folder else made[0]


def facts_of(path: Path) -> NotebookFacts:
    """What a job has to know of a notebook.

    Raises:
        BadRequest: there is no such file, or it is no notebook.
    """
    try:
        return read_notebook(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadRequest(f"there is no notebook {path}") from None
    except (OSError, ValueError) as error:
        raise BadRequest(f"{path}: {error}") from None


def schedule_of(said: str | Mapping[str, Any]) -> dict[str, Any]:
    """A schedule as a job file has it.

    Args:
        said: such a mapping; or in short a time of the day (`06:30`), a length of time between two runs
            (`10m`), or an expression of cron (`0 6 * * 1-5`). Times are of this machine's zone.

    Raises:
        BadRequest: it is none of these.
    """
    if not isinstance(said, str):
        return dict(said)
    text = said.strip()
    if len(text.split()) == 5:
        return {"type": "cron", "cron": text, "tz": system_zone()}
    if _CLOCK.fullmatch(text):
        clock = text if text.count(":") == 2 else f"{text}:00"
        return {"type": "daily", "tz": system_zone(), "daytime": clock.zfill(8)}
    try:
        parse_duration(text)
    except ValueError:
        raise BadRequest(
            f"schedule: {said!r} is no time of the day such as 06:30, no length of time such as 10m, and no "
            "expression of cron such as '0 6 * * 1-5'; a mapping may say anything that a job file can"
        ) from None
    return {"type": "interval", "interval": text}


def job_of(
    path: Path,
    *,
    schedule: str | Mapping[str, Any] | None,
    parameters: Mapping[str, Any],
    python: str | None,
    pinned: bool,
) -> dict[str, Any]:
    """A job that runs a notebook, as a job file has it.

    Args:
        path: of the notebook; absolute.
        schedule: as `schedule_of` takes it; None: it runs when somebody asks.
        parameters: values instead of those that the notebook has.
        python: the environment that runs it.
        pinned: run a copy of the notebook as it is now.

    Raises:
        BadRequest: there is no such notebook, or the schedule makes no sense.
    """
    facts, values = facts_of(path), dict(parameters)
    params: dict[str, Any] = {}
    for name, said in facts.params.items():
        params[name] = {**said, "default": values.pop(name)} if name in values else dict(said)
    program = notebook_program(str(path), facts)
    if pinned:
        program |= {"path": str(_pin(path)), "cwd": str(path.parent)}
    if values:
        program["parameters"] = {**program.get("parameters", {}), **values}
    if python is not None:
        program["python"] = python
    job: dict[str, Any] = {
        "metadata": {"description": facts.title or f"The notebook {path.name}", "labels": ["notebook"]}
    }
    if params:
        job["params"] = params
    if schedule is not None:
        job["schedule"] = schedule_of(schedule)
    return job | {"program": program}


def _pin(path: Path) -> Path:
    """Keep a copy of a notebook as it is now, under a name that says which it is."""
    mark = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    copy = path.parent / PINNED / f"{path.stem}-{mark}.ipynb"
    try:
        copy.parent.mkdir(exist_ok=True)
        shutil.copyfile(path, copy)
    except OSError as error:
        raise ApsisError(f"{copy}: cannot be written: {error.strerror}") from None
    return copy


def text_of(job: Mapping[str, Any]) -> str:
    """The file of a job."""
    import yaml

    return yaml.safe_dump(dict(job), sort_keys=False, allow_unicode=True, width=100)


def notebooks_in(path: str | Path | None) -> list[Path]:
    """The notebooks that are meant: a file, those of a folder, or the one that this is called in.

    Raises:
        BadRequest: there is none.
    """
    if path is None:
        return [_this_notebook()]
    there = Path(os.path.abspath(Path(path).expanduser()))
    if not there.is_dir():
        return [there]
    found = sorted(file for file in there.glob("*.ipynb") if not file.name.startswith("."))
    if not found:
        raise BadRequest(f"there is no notebook in {there}")
    return found


def _this_notebook() -> Path:
    """The notebook that runs this, as Jupyter and VS Code tell it."""
    told = os.environ.get("JPY_SESSION_NAME", "")
    if "IPython" in sys.modules:
        shell = sys.modules["IPython"].get_ipython()
        told = (shell.user_ns.get("__vsc_ipynb_file__") if shell is not None else None) or told
    if told.endswith(".ipynb") and Path(told).is_file():
        return Path(told).absolute()
    raise BadRequest('which notebook? give its path: ap.schedule_notebook("report.ipynb", ...)')


def own_python() -> str | None:
    """The environment that runs this, if it can run notebooks."""
    can = all(importlib.util.find_spec(name) for name in ("nbclient", "ipykernel"))
    return sys.prefix if can else None


def job_id_of(path: Path, folder: str | None) -> str:
    """An id for the job of a notebook: its name in letters, digits and dashes."""
    name = re.sub(r"[^\w.-]+", "-", path.stem).strip("-.") or "notebook"
    return f"{folder}/{name}" if folder else name
