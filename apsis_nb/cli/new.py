"""A command that begins jobs: `new`, from a template."""

import re
import sys
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any

import typer

from apsis_nb.cli.options import Format, FormatOption
from apsis_nb.core.errors import ApsisError

if TYPE_CHECKING:
    from apsis_nb.jobfiles.job_templates import JobTemplate


def new(
    job: Annotated[
        str | None, typer.Argument(metavar="JOB", help="The id of the job: team/report.", show_default=False)
    ] = None,
    template: Annotated[
        str, typer.Option("--template", "-t", metavar="T", help="Which; --list tells those that there are.")
    ] = "shell-daily",
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="A key of the file, as schedule.tz=UTC; may be repeated."
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="The job folder that the file goes to.")
    ] = Path("jobs"),
    list_: Annotated[bool, typer.Option("--list", help="Tell the templates.")] = False,
    format: FormatOption = Format.table,
) -> None:
    """Begin a job: a file from a template.

    With --set its keys have other values; of a template of several jobs, as `pipeline`, a key begins with the
    name of the job. Templates of your own are `_templates/NAME.yaml.j2` in the job folder: what they leave
    open --set says. Prints the files that were made. None is overwritten, and a file that would be wrong is
    not made.

    \b
    Examples:
      apsis-nb new --list
      apsis-nb new team/report --set schedule.tz=Europe/Berlin --set program.command='python report.py'
      apsis-nb new team/orders --template pipeline --set load.program.timeout=2h
    """
    from apsis_nb.cli.listing import Shown, show
    from apsis_nb.cli.writing import write_new
    from apsis_nb.jobfiles.job_templates import job_templates

    if list_:
        rows = [{"template": t.name, "description": t.description} for t in job_templates(out).values()]
        columns = [Shown("template", lambda r: r["template"]), Shown("", lambda r: r["description"])]
        show(rows, columns, format, empty="")
        return
    if job is None:
        raise typer.BadParameter("give the id of the job, as team/report", param_hint="JOB")
    made = _made(_named(template, out), _job_id(job), dict(map(_setting, set_ or ())), out)
    for file in made:
        if file.exists():
            raise ApsisError(f"{file} is there already, and is left as it is: give another id")
    for file, text in made.items():
        write_new(file, text)
        sys.stdout.write(f"{file}\n")


def _named(name: str, out: Path) -> "JobTemplate":
    import difflib

    from apsis_nb.jobfiles.job_templates import job_templates

    templates = job_templates(out)
    if name not in templates:
        near = difflib.get_close_matches(name, templates, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(templates)}"
        raise ApsisError(f"there is no template '{name}': {hint}")
    return templates[name]


def _job_id(text: str) -> str:
    parts = PurePosixPath(text.removesuffix(".yaml")).parts
    if not parts or any(part.startswith((".", "_", "/")) or not part.isprintable() for part in parts):
        raise ApsisError(
            f"'{text}' can be no id of a job: give its path below the job folder, as team/report"
        )
    return "/".join(parts)


def _setting(word: str) -> tuple[str, str]:
    key, equals, value = word.partition("=")
    if not (key and equals):
        raise typer.BadParameter(
            f"{word!r}: write KEY=VALUE, for example schedule.tz=UTC", param_hint="--set"
        )
    return key, value


def _made(template: "JobTemplate", job_id: str, settings: Mapping[str, str], out: Path) -> dict[Path, str]:
    """The files of a job and their texts, the jobs that others depend on first.

    Raises:
        ApsisError: with these settings a job would be wrong.
    """
    from apsis_nb.config import system_zone

    module = re.sub(r"\W", "_", PurePosixPath(job_id).name)
    made: dict[Path, str] = {}
    files, used = template.filled(job_id, system_zone(), settings)
    left = {key: value for key, value in settings.items() if key not in used}
    for name, filled in files.items():
        if not name.endswith(".yaml"):
            made[(out / job_id).with_name(f"{module}{name}")] = filled
            continue
        part = PurePosixPath(name).stem if template.has_parts else ""
        own = {key: left.pop(key) for key in list(left) if not part or key.startswith(f"{part}.")}
        file_id = f"{job_id}{name.removesuffix('.yaml')}"
        for key, value in own.items():
            filled = _changed(filled, key, key.removeprefix(f"{part}.") if part else key, value)
        _refuse_wrong(filled, file_id, out)
        made[out / f"{file_id}.yaml"] = filled
    if left:
        parts = ", ".join(PurePosixPath(name).stem for name in template.files)
        raise ApsisError(f"--set {next(iter(left))}: begin with the name of the job: {parts}")
    return made


def _changed(text: str, said: str, key: str, value: str) -> str:
    """The text of a job file with one key changed."""
    from apsis_nb.jobfiles import CannotEdit, YamlErrors, edit_yaml

    try:
        return edit_yaml(text, tuple(key.split(".")), _value(value))
    except (CannotEdit, YamlErrors) as error:
        raise ApsisError(f"--set {said}: {error}") from None


def _value(text: str) -> Any:
    """A value as a job file has it: a number, a list ...; all that YAML does not take is a text."""
    import json

    from apsis_nb.jobfiles import YamlErrors
    from apsis_nb.jobfiles.yaml12 import parse_yaml

    try:
        value = parse_yaml(text).value
        json.dumps(value)
    except (YamlErrors, TypeError):
        return text
    return text if value is None or isinstance(value, str) else value


def _refuse_wrong(text: str, job_id: str, out: Path) -> None:
    """Raise what is wrong with the file of a job before it is made."""
    from apsis_nb.jobfiles import load_text
    from apsis_nb.jobfiles.settings import load_settings

    file = load_text(text, job_id, source=str(out.absolute()), settings=load_settings(out))
    if file.errors:
        raise ApsisError("\n".join(error.message for error in file.errors))
