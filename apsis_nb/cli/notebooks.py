"""Makes a job of a notebook: its params are what the cell sets that is tagged `parameters`."""

import ast
import io
import json
import math
import os
import re
import shlex
import shutil
import sqlite3
import tokenize
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import quote

from apsis_nb.cli.crontab import no_template
from apsis_nb.cli.new_jobs import NotTaken
from apsis_nb.core.errors import ApsisError


@dataclass(frozen=True, slots=True, kw_only=True)
class Notebook:
    """What a job has to know of a notebook."""

    title: str | None  #: its first heading
    params: Mapping[str, Mapping[str, Any]]  #: as a job file has them
    notes: tuple[str, ...]  #: what of its parameters cannot be an arg


def read_notebook(text: str) -> Notebook:
    """What a notebook says of itself.

    Raises:
        NotTaken: it is no notebook, or one of Jupyter's older formats.
    """
    try:
        content = json.loads(text)
        cells = [(cell["cell_type"], _source(cell), _tags(cell)) for cell in content["cells"]]
    except (ValueError, TypeError, KeyError, AttributeError):
        raise NotTaken("it is no notebook of Jupyter's format 4") from None
    notes: list[str] = []
    params: dict[str, Mapping[str, Any]] = {}
    for kind, source, tags in cells:
        if kind == "code" and "parameters" in tags:
            params, notes = _params_of(source)
            break
    headings = (
        re.search(r"^#+ +(.+?)\s*$", source, re.MULTILINE) for kind, source, _ in cells if kind == "markdown"
    )
    title = next((heading[1] for heading in headings if heading), None)
    return Notebook(title=title, params=params, notes=tuple(notes))


def program_of(
    notebook: PurePath, params: Mapping[str, Mapping[str, Any]], folder: str | None
) -> dict[str, Any]:
    """The program that runs a notebook with its args, and keeps what became of it as an output.

    Args:
        notebook: absolute, or relative to the folder that the program runs in.
        params: as a job file has them.
        folder: that it runs in; None: that of the job file.
    """
    words = [
        shlex.quote(shutil.which("papermill") or "papermill"),
        shlex.quote(str(notebook)),
        f'"$APSIS_OUTPUT_DIR"/{shlex.quote(notebook.name)}',
    ]
    for name, param in params.items():
        given = f"$APSIS_ARG_{name.upper()}"
        is_text = param["type"] not in {"int", "float", "bool"}
        words.append(f'-r {name} "{given}"' if is_text else f'-y "{name}: {given}"')
    program: dict[str, Any] = {"type": "shell", "command": no_template(" \\\n  ".join(words)) + "\n"}
    if folder is not None:
        program["cwd"] = no_template(folder)
    return program


def param_of(value: object) -> dict[str, Any] | None:
    """A param of the type of a value, with it as default; None: no arg can be such."""
    match value:
        case bool():
            return {"type": "bool", "default": value}
        case int():
            return {"type": "int", "default": value}
        case float() if math.isfinite(value):
            return {"type": "float", "default": value}
        case str() if re.fullmatch(r"\d{4}-\d\d-\d\d", value):
            return {"type": "date", "default": value}
        case str():
            return {"type": "str", "default": value}
    return None


def missing_papermill() -> tuple[str, ...]:
    """What to say where the program of such a job is not installed."""
    if shutil.which("papermill"):
        return ()
    return ("papermill is not installed here: pip install papermill, and name it by its path in the command",)


def _source(cell: Mapping[str, Any]) -> str:
    source = cell["source"]
    return source if isinstance(source, str) else "".join(source)


def _tags(cell: Mapping[str, Any]) -> Sequence[str]:
    tags: Sequence[str] = cell.get("metadata", {}).get("tags", ())
    return tags


def _params_of(source: str) -> tuple[dict[str, Mapping[str, Any]], list[str]]:
    """The params of a cell's assignments, described by the comments beside them; and what is none."""
    try:
        statements = ast.parse(source).body
    except (SyntaxError, ValueError):
        return {}, ["its parameters cell is no Python: no param is taken from it"]
    comments = _comments(source)
    params: dict[str, Mapping[str, Any]] = {}
    notes = []
    for statement in statements:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                pass
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                pass
            case _:
                continue
        try:
            param = param_of(ast.literal_eval(value))
        except (ValueError, TypeError, MemoryError, RecursionError):
            param = None
        if param is None:
            notes.append(f"{name} stays as it is in the notebook: only numbers, texts and yes or no are args")
            continue
        comment = comments.get(statement.end_lineno or 0)
        params[name] = param | ({"description": comment} if comment else {})
    return params, notes


def _comments(source: str) -> dict[int, str]:
    """The comments of a text that is Python, by line."""
    return {
        token.start[0]: token.string.lstrip("# ").rstrip()
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }


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
    job: dict[str, Any] = {
        "metadata": {"description": notebook.title or file.stem, "notebook": str(file)},
        **({"params": dict(notebook.params)} if notebook.params else {}),
        **({"schedule": dict(schedule)} if schedule else {}),
        "program": program_of(file, notebook.params, str(file.parent)),
    }
    return job, (*notebook.notes, *missing_papermill())


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
    notebook = read_notebook(text)
    notes = [*notebook.notes, *missing_papermill()]
    params = dict(notebook.params)
    for param, value in _json_of(row["parameters"], {}).items():
        typed = param_of(value)
        if typed is None or not param.isidentifier():
            notes.append(f"the parameter {param} can be no arg: it stays as it is in the notebook")
        else:
            params[param] = {**params.get(param, {}), **typed}
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
    job["program"] = program_of(PurePath(name), params, None)
    if others := [str(form) for form in _json_of(row["output_formats"], []) if form != "ipynb"]:
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
