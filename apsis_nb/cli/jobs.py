"""Commands about jobs: check their files, see their times, list and describe them."""

import heapq
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo

import typer

from apsis_nb.cli.completion import job_ids
from apsis_nb.cli.options import Format, FormatOption, UrlOption, UtcOption, client_of
from apsis_nb.core.times import zone, zone_name

if TYPE_CHECKING:
    from apsis_nb.core.jobs import Job
    from apsis_nb.core.schedules import DueTime, Schedule
    from apsis_nb.jobfiles import FileError

#: How far `next` looks for the times of a file.
_HORIZON = timedelta(days=5 * 366)

JobArgument = Annotated[
    str,
    typer.Argument(
        metavar="JOB", help="Its id, or a part of it that names no other job.", autocompletion=job_ids
    ),
]


def check(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH", help="Job files, or folders of them.")],
    strict: Annotated[bool, typer.Option("--strict", help="Let warnings count as errors.")] = False,
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE", help="Of a server, for its hosts, functions and names."),
    ] = None,
    format: FormatOption = Format.table,
) -> None:
    """Check job files or folders, without a server.

    Prints file:line:col: message for each thing that is wrong, or to be thought of (a warning).
    Exit status 1 if anything is wrong. The next runs of each schedule are made on trial.

    \b
    Examples:
      apsis-nb check jobs/
      apsis-nb check jobs/sales/report.yaml --strict
    """
    from apsis_nb.cli.listing import clean, show_csv, show_json

    good: set[str] = set()
    errors: list[FileError] = []
    for path in paths:
        jobs, wrong = _read(path, config, {})
        good |= {f"{path}:{job_id}" for job_id in jobs}
        errors += wrong
    errors += _unknown_accounts(config) if config is not None else []
    facts = [
        {
            "file": e.file,
            "line": e.line,
            "col": e.col,
            "job_id": e.job_id,
            "level": e.level,
            "message": e.message,
        }
        for e in errors
    ]
    match format:
        case Format.json:
            show_json(facts)
        case Format.csv:
            show_csv(["file", "line", "col", "job_id", "level", "message"], facts)
        case Format.table:
            for error in errors:
                sys.stdout.write(f"{clean(str(error))}\n")
    wrong_files = {e.file for e in errors if e.level == "error"}
    count = sum(e.level == "error" for e in errors)
    text = f"{_counted(count, 'error')} in {_counted(len(wrong_files), 'file')}" if count else "no errors"
    if count < len(errors):
        text += f", {_counted(len(errors) - count, 'warning')}"
    sys.stderr.write(f"{_counted(len(good), 'good job')}, {text}\n")
    if count or (strict and errors):
        raise typer.Exit(1)


def _unknown_accounts(config: Path) -> "list[FileError]":
    """A warning of each account that a configuration names and this machine does not have."""
    from apsis_nb.config import list_settings
    from apsis_nb.jobfiles import FileError
    from apsis_nb.programs.environment import unknown_accounts

    found = []
    for setting in list_settings(config):
        key, _, folder = setting.key.partition(".")
        if key != "accounts" or not setting.value:
            continue
        file, _, line = setting.source.rpartition(":")
        for _, name in unknown_accounts({folder: setting.value}):
            text = f"accounts.{folder or '/'}: this machine has no account '{name}'"
            line_number = int(line) if file == str(config) else 1
            found.append(FileError(str(config), line_number, 1, (), text, "", "warning"))
    return found


def next_times(
    job: Annotated[
        str,
        typer.Argument(
            metavar="JOB|FILE", help="A job of the server, or a job file.", autocompletion=job_ids
        ),
    ],
    n: Annotated[int, typer.Option("-n", min=1, max=1000, help="How many.")] = 10,
    diff: Annotated[
        bool, typer.Option("--diff", help="What the FILE would change of the server's next 7 days.")
    ] = False,
    format: FormatOption = Format.table,
    utc: UtcOption = False,
    url: UrlOption = None,
) -> None:
    """The next times of a job.

    A file (NAME.yaml) is read without a server; with --diff it is held against the server's job.

    \b
    Examples:
      apsis-nb next sales/report -n 5
      apsis-nb next jobs/sales/report.yaml
      apsis-nb next jobs/sales/report.yaml --diff
    """
    from apsis_nb.cli.listing import Shown, args_text, duration, local, show, show_lines, zone_head

    if diff:
        from apsis_nb.cli.edits import show_difference

        show_difference(Path(job), format, url)
        return
    now = datetime.now(UTC)
    if job.endswith((".yaml", ".yml")):
        facts, rows = _next_of_file(Path(job), n, now)
    else:
        client = client_of(url)
        facts = client.jobs[job].facts
        rows = client.list_next(facts["job_id"], n)
    tz = _zone_of(facts)
    columns = [
        Shown(zone_head("scheduled", tz), lambda r: local(r["scheduled_at"], tz)),
        Shown(zone_head("here"), lambda r: local(r["scheduled_at"])),
        Shown("in", lambda r: duration(_seconds_from(now, r["scheduled_at"])), right=True),
        Shown("clocks", _clock_note(rows, tz)),
        Shown("args", lambda r: args_text(r["args"]), spare=True),
    ]
    if not any(columns[3].text(r) for r in rows):
        del columns[3]
    if zone_head("", tz) == zone_head(""):
        del columns[1]
    if format is Format.table:
        budget = f"; late if it starts more than {duration(facts['late']['start'])} after its time"
        words = "; ".join(facts["explain"]["schedule"]) + budget if facts["schedule"] else "no schedule"
        show_lines([f"{facts['job_id']}: {words}"])
    show(rows, columns, format, empty="no time to come")


def jobs(
    query: Annotated[
        str | None, typer.Argument(metavar="QUERY", help="Words in its id or description.")
    ] = None,
    label: Annotated[str | None, typer.Option("--label", help="Only jobs with this label.")] = None,
    path: Annotated[str | None, typer.Option("--path", help="Only jobs below this folder.")] = None,
    format: FormatOption = Format.table,
    url: UrlOption = None,
) -> None:
    """List the jobs.

    What is wrong with job files goes to standard error.

    \b
    Examples:
      apsis-nb jobs
      apsis-nb jobs report --label daily
    """
    from apsis_nb.cli.listing import Shown, clean, show

    answer = client_of(url).jobs
    columns = [
        Shown("job", lambda j: j["job_id"], style=lambda j: "bold"),
        Shown("description", lambda j: j["metadata"].get("description") or "", gives_way=True),
        Shown("when", lambda j: "; ".join(j["explain"]["schedule"]) or "when asked", gives_way=True),
        Shown("labels", lambda j: " ".join(j["metadata"]["labels"]), gives_way=True),
    ]
    show(
        answer.find(query, label=label, path=path),
        columns,
        format,
        empty="no such job" if query else "no jobs",
    )
    if errors := answer.errors():
        for error in errors[:5]:
            where = f"{error['file']}:{error['line']}:{error['col']}"
            sys.stderr.write(f"{clean(where)}: {clean(error['message'])}\n")
        if len(errors) > 5:
            sys.stderr.write(f"and {len(errors) - 5} more errors\n")


def job(
    job: JobArgument,
    history: Annotated[
        bool, typer.Option("--history", help="The versions of its file: when, by whom, how much.")
    ] = False,
    format: FormatOption = Format.table,
    utc: UtcOption = False,
    url: UrlOption = None,
) -> None:
    """All about a job.

    What it does, its params, when it runs, its last runs.

    \b
    Examples:
      apsis-nb job sales/report
      apsis-nb job sales/report --history
    """
    from apsis_nb.cli.listing import (
        args_text,
        duration,
        local_with_zone,
        program_text,
        run_columns,
        show,
        show_csv,
        show_facts,
        show_json,
    )

    client = client_of(url)
    if history:
        from apsis_nb.cli.edits import show_versions

        show_versions(client, job, format)
        return
    facts = client.jobs[job].facts
    if format is Format.json:
        show_json([facts])
        return
    if format is Format.csv:
        show_csv(list(facts), [facts])
        return
    metadata, explained = facts["metadata"], facts["explain"]
    times = client.list_next(facts["job_id"], 3) if explained["schedule"] else []
    last = client.list_runs(job=facts["job_id"], limit=5)
    show_facts(
        [
            ("description", metadata.get("description") or ""),
            ("labels", " ".join(metadata["labels"])),
            ("params", "\n".join(_param_text(name, p) for name, p in facts["params"].items())),
            ("program", program_text(facts["program"])),
            ("schedule", "\n".join(explained["schedule"]) or "none: it runs when asked"),
            (
                "next",
                "\n".join(f"{local_with_zone(t['scheduled_at'])}  {args_text(t['args'])}" for t in times),
            ),
            ("conditions", "\n".join(explained["condition"])),
            ("actions", "\n".join(explained["action"])),
            ("late after", duration(facts["late"]["start"]) if explained["schedule"] else ""),
            ("last runs", "" if last else "none"),
        ],
        title=facts["job_id"],
    )
    if last:
        sys.stdout.write("\n")
        show(last, run_columns(without_job=True), format, empty="")


def _read(
    path: Path, config: Path | None = None, hosts: Mapping[str, str] | None = None
) -> tuple[dict[str, "Job"], list["FileError"]]:
    """The good jobs of a file or folder by id, and what is wrong with the others or to be thought of.

    A file is looked at beside the other jobs of its folder if that has settings, which tell where it
    begins; if not, by itself, as far as it names no other jobs.

    Args:
        path: of the file or folder.
        config: of a server, for what jobs may name.
        hosts: which machine jobs mean by a name, without a config; None: any name will do.
    """
    from apsis_nb.core.errors import NotFound
    from apsis_nb.jobfiles import (
        SETTINGS,
        Folder,
        check_folder,
        import_functions,
        load_file,
        load_folder,
        root_of,
    )

    if not (path.is_dir() or path.is_file()):
        raise NotFound(f"{path}: there is no such file or folder")
    functions, names, root = None, None, path if path.is_dir() else root_of(path)
    if config is not None:
        from apsis_nb.config import load_config

        settings = load_config(config)
        functions, hosts = import_functions(settings.template_functions, root), settings.hosts
        names = settings.names
    now = datetime.now(UTC)
    if path.is_dir():
        folder = load_folder(path, functions=functions, hosts=hosts)
        errors = check_folder(folder, now, names=names)
        wrong = {error.job_id for error in errors if error.level == "error"}
        return {job_id: job for job_id, job in folder.jobs.items() if job_id not in wrong}, errors
    is_folder = (root / SETTINGS).exists()
    whole = load_folder(root, functions=functions, hosts=hosts) if is_folder else Folder()
    file = load_file(path, root, functions=functions, hosts=hosts)
    errors = list(file.errors)
    if file.job is not None and (whole.files or not _names_others(file.job)):
        beside = replace(whole, files={**whole.files, file.job_id: file})
        errors = check_folder(beside, now, [file.job_id], names=names)
    is_good = file.job is not None and all(error.level == "warning" for error in errors)
    return {file.job_id: file.job} if file.job is not None and is_good else {}, errors


def _names_others(job: "Job") -> bool:
    from apsis_nb.core.actions import ScheduleAction

    parts = [*job.conditions, *(action for action in job.actions if isinstance(action, ScheduleAction))]
    return any(getattr(part, "job_id", None) for part in parts)


def _next_of_file(file: Path, n: int, now: datetime) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    from apsis_nb.core.errors import ApsisError
    from apsis_nb.core.jobs import coming_args, job_to_dict
    from apsis_nb.core.times import format_time

    jobs, found = _read(file)
    if errors := [error for error in found if error.level == "error"]:
        raise ApsisError("\n".join(map(str, errors)))
    (job,) = jobs.values()
    rows = [
        {
            "job_id": job.job_id,
            "args": coming_args(job, occurrence.args, given),
            "nominal_at": format_time(occurrence.at),
            "scheduled_at": format_time(at),
        }
        for (at, occurrence), given in islice(_times(job, now), n)
    ]
    return job_to_dict(job), rows


def _times(job: "Job", now: datetime) -> Iterator[tuple["DueTime", Mapping[str, str]]]:
    """When the runs of all schedules of a job are due, with the args that the schedule of each gives."""
    from apsis_nb.core.schedules import due_between

    def of(schedule: "Schedule") -> Iterator[tuple["DueTime", Mapping[str, str]]]:
        for due in due_between(job.job_id, schedule, now, now + _HORIZON):
            yield due, schedule.args

    return heapq.merge(*(of(s) for s in job.schedules if s.enabled), key=lambda found: found[0].at)


def _zone_of(facts: dict[str, Any]) -> ZoneInfo:
    """The zone of a job's schedules; the reader's, if they name none or several."""
    from apsis_nb.cli.listing import local_zone

    zones = {schedule["tz"] for schedule in facts["schedule"] if "tz" in schedule}
    return zone(zones.pop()) if len(zones) == 1 else local_zone()


def _clock_note(rows: list[dict[str, Any]], tz: ZoneInfo) -> Callable[[Mapping[str, Any]], str]:
    """What tells that the clocks have changed between a row and the one before."""
    notes: dict[str, str] = {}
    before = None
    for row in rows:
        at = datetime.fromisoformat(row["scheduled_at"]).astimezone(tz)
        if before is not None and at.utcoffset() != before.utcoffset():
            notes[row["scheduled_at"]] = f"{zone_name(before, tz)} to {zone_name(at, tz)}"
        before = at
    return lambda row: notes.get(row["scheduled_at"], "")


def _seconds_from(now: datetime, at: str) -> float:
    return max(0.0, (datetime.fromisoformat(at) - now).total_seconds())


def _param_text(name: str, param: dict[str, Any]) -> str:
    text = f"{name}: {param['type']}"
    if "choices" in param:
        text += f", one of {', '.join(param['choices'])}"
    if "default" in param:
        text += f", default {param['default']}"
    return text + (f"  ({param['description']})" if "description" in param else "")


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
