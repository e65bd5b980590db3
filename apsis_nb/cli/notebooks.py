"""Makes jobs of notebooks, and of the definitions of jupyter-scheduler."""

import json
import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

from apsis_nb.cli.crontab import no_template
from apsis_nb.cli.new_jobs import NotTaken
from apsis_nb.core.errors import ApsisError
from apsis_nb.jobfiles.notebooks import NoNotebook, notebook_program, param_of, read_notebook


def missing() -> tuple[str, ...]:
    """What to say where what runs notebooks is not installed."""
    if all(find_spec(name) for name in ("nbclient", "ipykernel")):
        return ()
    return (
        "nbclient and ipykernel are not installed here: install them, or name an environment by `python`",
    )


# -- a folder of notebooks


def find_notebooks(root: Path) -> list[Path]:
    """The notebooks below a folder, or the one that is named; without what Jupyter keeps for itself."""
    if root.is_file():
        return [root]
    found = (path for path in sorted(root.rglob("*.ipynb")) if path.is_file())
    return [path for path in found if not any(p.startswith(".") for p in path.relative_to(root).parts)]


def job_of_notebook(file: Path, schedule: Mapping[str, Any] | None) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The content of the job file, and what is to be thought of.

    Args:
        file: absolute.
        schedule: when it runs; None: when somebody asks for it.

    Raises:
        NotTaken: there can be no such job.
    """
    try:
        notebook = read_notebook(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise NotTaken(f"it cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise NotTaken("it is not UTF-8 text") from None
    except NoNotebook as error:
        raise NotTaken(str(error)) from None
    job: dict[str, Any] = {
        "metadata": {"description": notebook.title or file.stem, "notebook": str(file)},
        **({"params": dict(notebook.params)} if notebook.params else {}),
        **({"schedule": dict(schedule)} if schedule else {}),
        "program": notebook_program(no_template(str(file)), notebook),
    }
    return job, (*notebook.notes, *missing())


# -- a database of jupyter-scheduler


def jupyter_data() -> Path:
    """The folder in which Jupyter keeps its data."""
    given = os.environ.get("JUPYTER_DATA_DIR", "")
    base = os.environ.get("XDG_DATA_HOME", "")
    if given:
        return Path(given)
    return (Path(base) if base.startswith("/") else Path.home() / ".local" / "share") / "jupyter"


def definitions(file: Path) -> list[dict[str, Any]]:
    """The rows of the table of definitions, in the order in which they were made.

    Raises:
        ApsisError: it is no such database.
    """
    if not file.is_file():
        raise ApsisError(f"{file}: there is no such file; name the scheduler.sqlite of jupyter-scheduler")
    try:
        with closing(sqlite3.connect(f"file:{quote(str(file.absolute()))}?mode=ro", uri=True)) as database:
            database.row_factory = sqlite3.Row
            rows = database.execute(
                "SELECT job_definition_id, name, input_filename, schedule, timezone, active, parameters,"
                " tags, output_formats, email_notifications, max_retries, min_retry_interval_millis,"
                " runtime_environment_name FROM job_definitions ORDER BY create_time, job_definition_id"
            ).fetchall()
    except sqlite3.Error as error:
        raise ApsisError(f"{file}: is no database of jupyter-scheduler ({error})") from None
    return [dict(row) for row in rows]


def job_of_definition(
    row: Mapping[str, Any], staging: Path, name: str, *, is_enabled: bool
) -> tuple[dict[str, Any], str, tuple[str, ...]]:
    """The content of the job file, the text of its notebook, and what is other than there.

    Args:
        row: of the table `job_definitions`.
        staging: where the scheduler keeps the notebooks that it runs.
        name: that the copy of the notebook gets.
        is_enabled: whether the schedule is on, if it is so there.

    Raises:
        NotTaken: there can be no such job.
    """
    file = staging / str(row["job_definition_id"]) / str(row["input_filename"])
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise NotTaken(f"its notebook cannot be read: {file}") from None
    try:
        notebook = read_notebook(text)
    except NoNotebook as error:
        raise NotTaken(str(error)) from None
    notes = [*notebook.notes, *missing()]
    params, texts = dict(notebook.params), set(notebook.texts)
    for param, value in _json_of(row["parameters"], {}).items():
        typed = param_of(value)
        if typed is None or not param.isidentifier():
            notes.append(f"the parameter {param} can be no arg: it stays as it is in the notebook")
        else:
            params[param] = {**params.get(param, {}), **typed}
            texts |= {param} if typed["type"] == "date" else set()
    job: dict[str, Any] = {
        "metadata": {
            "description": row["name"] or notebook.title or file.stem,
            "labels": [str(tag) for tag in _json_of(row["tags"], [])],
            "jupyter-scheduler": str(row["job_definition_id"]),
        },
        **({"params": params} if params else {}),
    }
    if row["schedule"]:
        job["schedule"] = {"type": "cron", "cron": row["schedule"], "tz": row["timezone"] or "UTC"}
        job["schedule"]["misfire"] = "none"  # it makes up for nothing
        if not row["active"]:
            notes.append("it is paused there: its schedule is off")
        if not (is_enabled and row["active"]):
            job["schedule"]["enabled"] = False
    else:
        notes.append("it has no schedule")
    if row["max_retries"]:
        job["retry"] = {"count": row["max_retries"], "delay": (row["min_retry_interval_millis"] or 0) / 1000}
    job["program"] = notebook_program(no_template(name), replace(notebook, texts=frozenset(texts)))
    if others := [f for f in map(str, _json_of(row["output_formats"], [])) if f not in ("ipynb", "html")]:
        notes.append(f"{', '.join(others)} was made of it, too: `jupyter nbconvert` does that")
    if row["email_notifications"] not in (None, "null", "{}"):
        notes.append("mails were sent of it: nobody is told here until an action says whom")
    if row["runtime_environment_name"]:
        notes.append(f"it ran in the environment {row['runtime_environment_name']}")
    return job, text, tuple(notes)


def _json_of(text: str | None, otherwise: Any) -> Any:
    """A column that holds JSON; what is none counts as nothing."""
    try:
        value = json.loads(text) if text else otherwise
    except ValueError:
        return otherwise
    return value if isinstance(value, type(otherwise)) else otherwise
