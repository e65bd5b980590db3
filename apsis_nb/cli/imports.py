"""Commands that bring things in from elsewhere."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from apsis_nb.cli.options import Format, FormatOption, UrlOption, client_of

if TYPE_CHECKING:
    from apsis_nb.cli.crontab import Line

app = typer.Typer(
    help="Bring in what other schedulers, and other servers, have.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


JobsOption = Annotated[
    Path, typer.Option("--jobs", metavar="DIR", help="The job folder that the new files go to.")
]
EnabledOption = Annotated[
    bool,
    typer.Option("--enabled", help="Let the schedules be on, for `serve --observe` or the change over."),
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only tell what would be done.")]


@app.command()
def runs(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A runs.duckdb, its folder, a backup, or Apsis's database.")
    ],
    dry_run: DryRunOption = False,
    state_dir: Annotated[
        Path | None,
        typer.Option("--state-dir", metavar="DIR", help="Into this state folder, whose server is stopped."),
    ] = None,
    format: FormatOption = Format.table,
    url: UrlOption = None,
) -> None:
    """Bring in finished runs, with their logs and outputs.

    They get new ids. Runs that are there already are left out, so it may be done again.

    \b
    Examples:
      apsis-nb import runs apsis.db --dry-run
      apsis-nb import runs laptop/runs.duckdb
    """
    from apsis_nb.cli.listing import Shown, clean, show

    reports = (
        _into_server(file, dry_run, url) if state_dir is None else _into_folder(file, dry_run, state_dir)
    )
    last: Mapping[str, Any] = {"imported": 0, "known": 0, "jobs": [], "problems": []}
    for report in _watched(reports) if sys.stderr.isatty() else reports:
        last = report
    columns = [
        Shown("job", lambda j: j["job_id"], gives_way=True),
        Shown("to import" if dry_run else "imported", lambda j: f"{j['imported']:,}", right=True),
        Shown("there before", lambda j: f"{j['known']:,}", right=True),
    ]
    show(last["jobs"], columns, format, empty="it has no finished runs")
    for problem in last["problems"]:
        of = f"{problem['runs']:,} runs, the first {problem['first']}"
        sys.stderr.write(f"not mapped: {clean(problem['what'])}: {clean(of)}\n")
    done = "would be imported" if dry_run else "imported"
    sys.stderr.write(f"{last['imported']:,} runs {done}, {last['known']:,} were there before\n")


@app.command()
def crontab(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE", help="A crontab; - reads it. [what `crontab -l` tells]", show_default=False
        ),
    ] = None,
    jobs: JobsOption = Path("jobs"),
    path: Annotated[str, typer.Option("--path", metavar="PATH", help="The folder in it.")] = "cron",
    system: Annotated[
        bool,
        typer.Option("--system", help="Each entry names an account, as in /etc/crontab and /etc/cron.d."),
    ] = False,
    enabled: EnabledOption = False,
    rest: Annotated[
        Path | None,
        typer.Option("--rest", metavar="FILE", help="Write the crontab that is left to a new file."),
    ] = None,
    dry_run: DryRunOption = False,
    format: FormatOption = Format.table,
) -> None:
    """Make a job of each entry of a crontab.

    Tells what became of each line, and prints the crontab with the lines that are jobs now as comments. The
    schedules of the jobs are off (`enabled: false`) unless --enabled. No file is overwritten, and what was
    imported before is left as it is. Cron itself is not touched.

    \b
    Examples:
      apsis-nb import crontab --dry-run
      apsis-nb import crontab --jobs jobs --rest crontab.new
      apsis-nb import crontab /etc/cron.d/backup --system
    """
    from apsis_nb.cli.crontab import without
    from apsis_nb.cli.listing import Shown, clean, show
    from apsis_nb.cli.writing import write_new
    from apsis_nb.jobfiles import yaml_of

    text = _crontab_text(file)
    lines = _crontab_lines(text, jobs, path, has_user=system, is_enabled=enabled)
    left = without(text, lines)
    if not dry_run:
        for line in lines:
            if line.job is not None:
                write_new(jobs / f"{line.job_id}.yaml", yaml_of(line.job))
        if rest is not None:
            write_new(rest, left)
    rows = [
        {
            "line": line.number,
            "text": line.text,
            "what": line.what,
            "job_id": line.job_id,
            "notes": list(line.notes),
        }
        for line in lines
    ]
    columns = [
        Shown("line", lambda r: str(r["line"]), right=True),
        Shown("", lambda r: r["what"]),
        Shown("job", lambda r: r["job_id"] or ""),
        Shown("crontab", lambda r: r["text"], gives_way=True),
        Shown("", lambda r: "; ".join(r["notes"]), gives_way=True),
    ]
    show(rows, columns, format, empty="the crontab has no entries")
    if format is Format.table and rest is None:
        sys.stdout.write("\n" + "".join(f"{clean(line)}\n" for line in left.splitlines()))
    made = sum(line.what == "job" for line in lines)
    done = "would be made" if dry_run else "made"
    off = "" if enabled or not made else "; their schedules are off until `enabled: false` is taken away"
    sys.stderr.write(f"{made} jobs {done} in {jobs / path}{off}\n")


@app.command()
def notebooks(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="A folder of notebooks, with those below it; or one.")
    ],
    jobs: JobsOption = Path("jobs"),
    path: Annotated[str, typer.Option("--path", metavar="PATH", help="The folder in it.")] = "notebooks",
    cron: Annotated[
        str | None,
        typer.Option("--cron", metavar="TIMES", help="Give each a schedule, as '0 6 * * 1-5'."),
    ] = None,
    enabled: EnabledOption = False,
    dry_run: DryRunOption = False,
    format: FormatOption = Format.table,
) -> None:
    """Make a job of each notebook.

    What the cell that is tagged `parameters` sets becomes params of the job, with types, defaults and the
    comments beside them. The job runs the notebook where it lies, and keeps what became of it as an output. A
    schedule is off (`enabled: false`) unless --enabled. No file is overwritten, and what was imported before
    is left as it is.

    \b
    Examples:
      apsis-nb import notebooks reports/ --dry-run
      apsis-nb import notebooks reports/ --cron '0 6 * * 1-5' --path team/reports
    """
    from apsis_nb.cli.new_jobs import Found, NotTaken, Place, make
    from apsis_nb.cli.notebooks import find_notebooks, job_of_notebook
    from apsis_nb.config import system_zone
    from apsis_nb.core.errors import ApsisError
    from apsis_nb.core.schedules.cron import check_cron

    if not folder.exists():
        raise ApsisError(f"{folder}: there is no such file or folder")
    schedule: dict[str, Any] | None = None
    if cron is not None:
        try:
            check_cron(cron)
        except ValueError as error:
            raise ApsisError(f"--cron: {error}") from None
        schedule = {"type": "cron", "cron": cron, "tz": system_zone()} | (
            {} if enabled else {"enabled": False}
        )
    place = Place(jobs, path)
    known = place.known("notebook")
    found = []
    for file in find_notebooks(folder):
        full = file.absolute()
        source = str(file.relative_to(folder)) if folder.is_dir() else file.name
        if str(full) in known:
            found.append(Found(source=source, what="there already", job_id=known[str(full)]))
            continue
        try:
            job, notes = job_of_notebook(full, schedule)
            job_id = place.free(source.removesuffix(".ipynb"))
            found.append(place.checked(Found(source=source, what="job", job_id=job_id, job=job, notes=notes)))
        except NotTaken as error:
            found.append(Found(source=source, what="left", notes=(str(error),)))
    make(found, place, "notebook", dry_run, format, "there is no notebook there")


@app.command("jupyter-scheduler")
def jupyter_scheduler(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE", help="Its database. [scheduler.sqlite of Jupyter's data]", show_default=False
        ),
    ] = None,
    jobs: JobsOption = Path("jobs"),
    path: Annotated[str, typer.Option("--path", metavar="PATH", help="The folder in it.")] = "jupyter",
    enabled: EnabledOption = False,
    dry_run: DryRunOption = False,
    format: FormatOption = Format.table,
) -> None:
    """Make a job of each job definition of jupyter-scheduler.

    With a copy of its notebook beside it, its parameters as params, its schedule and its tags. Schedules are
    off (`enabled: false`) unless --enabled. No file is overwritten, and what was imported before is left as
    it is. The database is only read.

    \b
    Examples:
      apsis-nb import jupyter-scheduler --dry-run
      apsis-nb import jupyter-scheduler ~/.local/share/jupyter/scheduler.sqlite --path team
    """
    from apsis_nb.cli.new_jobs import Found, NotTaken, Place, make
    from apsis_nb.cli.notebooks import definitions, job_of_definition, jupyter_data

    database = file or jupyter_data() / "scheduler.sqlite"
    place = Place(jobs, path)
    known = place.known("jupyter-scheduler")
    found = []
    for row in definitions(database):
        source = str(row["name"] or row["input_filename"])
        if row["job_definition_id"] in known:
            found.append(Found(source=source, what="there already", job_id=known[row["job_definition_id"]]))
            continue
        try:
            job_id = place.free(source.removesuffix(".ipynb"))
            name = f"{job_id.rpartition('/')[2]}.ipynb"
            staging = database.parent / "scheduler_staging_area"
            job, notebook, notes = job_of_definition(row, staging, name, is_enabled=enabled)
            made = Found(source=source, what="job", job_id=job_id, job=job, notebook=notebook, notes=notes)
            found.append(place.checked(made))
        except NotTaken as error:
            found.append(Found(source=source, what="left", notes=(str(error),)))
    make(found, place, "definition", dry_run, format, "it has no job definitions")


def _crontab_text(file: Path | None) -> str:
    """The crontab of a file, of standard input, or of the account.

    Raises:
        ApsisError: it cannot be read.
    """
    import subprocess

    from apsis_nb.core.errors import ApsisError

    try:
        if file is not None:
            return (sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()).decode()
        told = subprocess.run(["crontab", "-l"], capture_output=True, check=False)
        if told.returncode != 0:
            raise ApsisError(f"`crontab -l` failed: {told.stderr.decode(errors='replace').strip()}")
        return told.stdout.decode()
    except UnicodeDecodeError:
        raise ApsisError("the crontab is not UTF-8 text") from None
    except OSError as error:
        if file is not None:
            raise ApsisError(f"{file}: cannot be read: {error.strerror}") from None
        raise ApsisError(
            "this machine has no `crontab` command: name a file, or - for standard input"
        ) from None


def _crontab_lines(text: str, jobs: Path, path: str, *, has_user: bool, is_enabled: bool) -> "list[Line]":
    """What is to become of each line, given the jobs that there are; each new job is one that is right.

    Raises:
        ApsisError: the path is none below the job folder.
    """
    from collections import Counter
    from dataclasses import replace

    from apsis_nb.cli.crontab import Reader
    from apsis_nb.cli.new_jobs import Place
    from apsis_nb.config import system_zone

    place = Place(jobs, path)
    good = place.there.jobs.values() if place.there else ()
    known = Counter(str(job.metadata["crontab"]) for job in good if "crontab" in job.metadata)
    reader = Reader(
        tz=system_zone(),
        has_user=has_user,
        folder=place.folder,
        known=known,
        taken=set(place.there.files) if place.there else set(),
        is_enabled=is_enabled,
    )
    lines = []
    for line in reader.read(text):
        if line.job is not None:
            assert line.job_id is not None
            if wrong := place.wrong(line.job_id, line.job):
                line = replace(line, what="left", job=None, job_id=None, notes=(wrong,))
        lines.append(line)
    return lines


def _watched(reports: Iterator[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """The reports, with a bar for who looks on."""
    with typer.progressbar(length=1, label="runs", file=sys.stderr) as bar:
        for report in reports:
            bar.length = max(1, report["of"], report["done"])
            bar.update(report["done"] - bar.pos)
            yield report


def _into_server(file: Path, dry_run: bool, url: str | None) -> Iterator[Mapping[str, Any]]:
    with client_of(url) as client:
        yield from client.import_runs(file, dry_run=dry_run)


def _into_folder(file: Path, dry_run: bool, folder: Path) -> Iterator[Mapping[str, Any]]:
    from apsis_nb.config import server_of
    from apsis_nb.core.errors import ApsisError
    from apsis_nb.store import Store, import_runs, open_source

    server = server_of(folder)
    if server is not None:
        raise ApsisError(f"the server at {server.url} runs with {folder}: leave out --state-dir")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with closing(open_source(file)) as source, Store.open(folder / "runs.duckdb") as store:
        for report in import_runs(store, source, dry_run=dry_run):
            yield report.facts()
