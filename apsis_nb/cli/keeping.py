"""Commands that keep the store: backup, restore, compact."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from apsis_nb.cli.options import Format, FormatOption, UrlOption, client_of
from apsis_nb.core.errors import ApsisError
from apsis_nb.core.times import format_utc

if TYPE_CHECKING:
    from apsis_nb.client import Client

StateOption = Annotated[
    Path, typer.Option("--state-dir", metavar="DIR", help="The server's, where history is kept.")
]

#: How often the server is asked how far it is, seconds.
_LOOK_S = 0.5


def backup(
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="DIR", help="Where it goes. [`backups` in the server's state]", show_default=False
        ),
    ] = None,
    keep: Annotated[
        int | None, typer.Option("--keep", metavar="N", min=1, help="Keep the newest N there. [all]")
    ] = None,
    format: FormatOption = Format.table,
    url: UrlOption = None,
) -> None:
    """Copy the store while the server is at work.

    Prints the folder of the backup once it is made and checked.

    \b
    Examples:
      apsis-nb backup
      apsis-nb backup /backups/apsis --keep 14
    """
    from apsis_nb.cli.listing import show_csv, show_json

    client = client_of(url)
    to = None if folder is None else str(folder.expanduser().absolute())
    made = _made_with_progress(client, to, keep)
    match format:
        case Format.json:
            show_json([made])
        case Format.csv:
            show_csv(list(made), [made])
        case Format.table:
            sys.stdout.write(f"{made['path']}\n")
            if sys.stderr.isatty():
                _tell(f"{made['runs']} runs, {made['log_rows']} lines of log, {made['bytes']} bytes")


def restore(
    folder: Annotated[Path, typer.Argument(metavar="BACKUP", help="The folder of the backup.")],
    state_dir: StateOption,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing.")] = False,
) -> None:
    """Put a backup in the place of a server's store.

    The server must not run. What was there is kept beside it, in a folder that is named.

    \b
    Example:
      apsis-nb restore /backups/apsis/jobs-20260131T020000Z --state-dir /srv/apsis
    """
    from apsis_nb.store import restore as put_back
    from apsis_nb.store.restoring import checked

    _refuse_beside_a_server(state_dir)
    found = checked(folder)
    if (state_dir / "runs.duckdb").exists() and not yes:
        typer.confirm(
            f"{folder} has {found.rows['runs']} runs, up to {format_utc(found.at)}."
            f" Put it in the place of the store in {state_dir}?",
            abort=True,
            err=True,
        )
    aside = put_back(folder, state_dir.expanduser().absolute(), datetime.now(UTC))
    _tell(f"restored: {found.rows['runs']} runs")
    if aside is not None:
        _tell(f"what was there is in {aside}")


def compact(state_dir: StateOption) -> None:
    """Give back the room in a store's file that is free.

    The server must not run. Needs as much room as the file takes, for the time that it takes.

    \b
    Example:
      apsis-nb compact --state-dir /srv/apsis
    """
    from apsis_nb.store import compact as give_back

    _refuse_beside_a_server(state_dir)
    done = give_back(state_dir.expanduser().absolute() / "runs.duckdb")
    sys.stdout.write(f"{done.freed_b} bytes freed: {done.before_b} before, {done.after_b} now\n")


def _made_with_progress(client: "Client", to: str | None, keep: int | None) -> dict[str, Any]:
    """Let the server make a backup; on a terminal a line tells how far it is."""
    from concurrent.futures import ThreadPoolExecutor
    from concurrent.futures import wait as wait_for

    if not sys.stderr.isatty():
        return client.backup(to, keep=keep)
    with ThreadPoolExecutor(1) as pool:
        made = pool.submit(client.backup, to, keep=keep)
        while not wait_for([made], _LOOK_S).done:
            told = client.backups()["under_way"]
            sys.stderr.write(f"\r\x1b[K{told or ''}")
            sys.stderr.flush()
        sys.stderr.write("\r\x1b[K")
        return made.result()


def _refuse_beside_a_server(state_dir: Path) -> None:
    from apsis_nb.config import server_of

    server = server_of(state_dir)
    if server is not None:
        raise ApsisError(
            f"a server with the state {state_dir} runs: {server.url} (process {server.pid}); stop it first"
        )


def _tell(line: str) -> None:
    sys.stderr.write(line + "\n")
