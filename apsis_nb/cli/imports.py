"""Commands that bring things in from elsewhere."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer

from apsis_nb.cli.options import Format, FormatOption, UrlOption, client_of

app = typer.Typer(
    help="Bring in what other servers, and Apsis, have left.", no_args_is_help=True, rich_markup_mode=None
)


@app.callback()
def _imports() -> None:
    # With it `runs` stays a command of its own, though there is no other yet.
    pass


@app.command()
def runs(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A runs.duckdb, its folder, a backup, or Apsis's database.")
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be done.")] = False,
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
