"""Commands that keep the store: backup, restore, compact, archive."""

import shlex
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from apsis_nb.cli.options import Format, FormatOption, UrlOption, client_of
from apsis_nb.core.errors import ApsisError
from apsis_nb.core.times import format_time, format_utc

if TYPE_CHECKING:
    from apsis_nb.client import Client

StateOption = Annotated[
    Path, typer.Option("--state-dir", metavar="DIR", help="The server's, where history is kept.")
]

Done = TypeVar("Done")

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
    made = _with_progress(partial(client.backup, to, keep=keep), lambda: client.backups()["under_way"])
    match format:
        case Format.json:
            show_json([made])
        case Format.csv:
            show_csv(list(made), [made])
        case Format.table:
            sys.stdout.write(f"{made['path']}\n")
            if sys.stderr.isatty():
                _tell(f"{made['runs']} runs, {made['log_rows']} lines of log, {made['bytes']} bytes")
    for name in made["missing"]:
        _tell(f"not in it, or not all of it, for the store has it no more: {name}")


def restore(
    state_dir: StateOption,
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="BACKUP",
            help="The folder of the backup, or of what an earlier restore put aside. [a list of both]",
            show_default=False,
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing.")] = False,
    format: FormatOption = Format.table,
) -> None:
    """Put a backup in the place of a server's store, or undo that.

    The server must not run. What was there is put aside, in a folder that is named: given in the place of a
    backup, it is put back, and goes on as it was. Without a folder those that can be given are listed.

    \b
    Examples:
      apsis-nb restore --state-dir /srv/apsis
      apsis-nb restore /backups/apsis/jobs-20260131T020000Z --state-dir /srv/apsis
      apsis-nb restore /srv/apsis/replaced-20260203T081500Z --state-dir /srv/apsis
    """
    from apsis_nb.store import restore as put_back
    from apsis_nb.store.restoring import checked

    state_dir = state_dir.expanduser().absolute()
    if folder is None:
        _list_restorable(state_dir, format)
        return
    _refuse_beside_a_server(state_dir)
    found = checked(folder.expanduser())
    if (state_dir / "runs.duckdb").exists() and not yes:
        up_to = "" if found.at is None else f", up to {format_utc(found.at)}"
        typer.confirm(
            f"{folder} has {found.runs} runs{up_to}. Put it in the place of the store in {state_dir}?",
            abort=True,
            err=True,
        )
    aside = put_back(folder.expanduser(), state_dir, datetime.now(UTC))
    _tell(f"restored: {found.runs} runs")
    if aside is not None:
        words = ["apsis-nb", "restore", str(aside), "--state-dir", str(state_dir)]
        _tell(f"what was there is in {aside}; to put it back:\n  {shlex.join(words)}")


def _list_restorable(state_dir: Path, format: Format) -> None:
    """What can be put in the place of a store, a line each."""
    from apsis_nb.cli.listing import Shown, local_with_zone, show
    from apsis_nb.store import Backup, restorable

    rows = [
        {
            "what": "backup" if isinstance(one, Backup) else "put aside",
            "at": None if one.at is None else format_time(one.at),
            "runs": one.runs,
            "path": str(one.path),
        }
        for one in restorable(state_dir)
    ]
    columns = [
        Shown("what", lambda r: r["what"]),
        Shown("up to", lambda r: local_with_zone(r["at"])),
        Shown("runs", lambda r: str(r["runs"]), right=True),
        Shown("folder", lambda r: r["path"], spare=True),
    ]
    empty = f"no backup is in {state_dir / 'backups'}, and nothing was put aside: name the folder of a backup"
    show(rows, columns, format, empty=empty)


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


def archive(
    older_than: Annotated[
        str | None,
        typer.Option("--older-than", metavar="D", help="How long ago a month must have ended. [365d]"),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be moved.")] = False,
    restore: Annotated[
        str | None, typer.Option("--restore", metavar="MONTH", help="Move a month back: 2026-01.")
    ] = None,
    state_dir: Annotated[
        Path | None,
        typer.Option("--state-dir", metavar="DIR", help="The state of a server that need not run."),
    ] = None,
    format: FormatOption = Format.table,
    url: UrlOption = None,
) -> None:
    """Move old months of runs into files beside the store.

    They are found as before. The server does it while it is at work; where none runs, --state-dir says whose
    runs they are.

    \b
    Examples:
      apsis-nb archive --dry-run
      apsis-nb archive --older-than 180d
      apsis-nb archive --restore 2026-01
      apsis-nb archive --state-dir /srv/apsis
    """
    from apsis_nb.cli.listing import Shown, show

    if restore is not None and (older_than is not None or dry_run):
        raise typer.BadParameter("goes with neither --older-than nor --dry-run", param_hint="--restore")
    columns = [
        Shown("month", lambda r: r.get("folder") or r["month"]),
        Shown("runs", lambda r: str(r["runs"]), right=True),
        Shown("bytes", lambda r: str(r["bytes"]), right=True),
    ]
    client = _client_or_none(state_dir, url)
    if client is None:
        assert state_dir is not None, "without it there is a client"
        rows = _archive_alone(state_dir, older_than, dry_run=dry_run, restore=restore)
    elif restore is not None:
        rows = _with_progress(
            partial(client.restore_archived, restore), lambda: client.archived()["under_way"]
        )
    else:
        move = partial(client.archive, older_than, dry_run=dry_run)
        rows = _with_progress(move, lambda: client.archived()["under_way"])
    if dry_run:
        columns.append(Shown("stays, because", lambda r: r["why_not"] or "", gives_way=True))
    show(rows, columns, format, empty="no month is old enough")
    if rows and format is Format.table:
        runs = sum(row["runs"] for row in rows if not row.get("why_not"))
        said = "would be moved into the archive" if dry_run else "moved into the archive"
        _tell(f"{runs} runs {said if restore is None else 'moved into the database'}")


def _client_or_none(state_dir: Path | None, url: str | None) -> "Client | None":
    """A client of the server that the options name; None: none runs there."""
    from apsis_nb.client import Client
    from apsis_nb.config import server_of

    if state_dir is None:
        return client_of(url)
    server = server_of(state_dir)
    return None if server is None else Client(server.url, server.token)


def _archive_alone(
    state_dir: Path, older_than: str | None, *, dry_run: bool, restore: str | None
) -> list[dict[str, Any]]:
    """Move runs of a store that no server has."""
    from apsis_nb.config import Archive
    from apsis_nb.core.times import parse_duration
    from apsis_nb.store import Store

    try:
        age = timedelta(seconds=Archive().older_than if older_than is None else parse_duration(older_than))
        oldest = datetime.now(UTC) - age
    except (ValueError, OverflowError) as error:
        raise ApsisError(f"--older-than: {error}") from None
    if oldest > datetime.now(UTC):
        raise ApsisError(f"--older-than: must be 0 or more, not {older_than}")
    with Store.open(state_dir.expanduser().absolute() / "runs.duckdb", create=False) as store:
        archiver = store.archiver
        if restore is not None:
            return [
                month.facts()
                for month in _with_progress(partial(archiver.put_back, restore), lambda: archiver.progress)
            ]
        if dry_run:
            return [old.facts() for old in archiver.plan(age, datetime.now(UTC))]
        move = partial(archiver.carry_out, age, datetime.now(UTC))
        return [month.facts() for month in _with_progress(move, lambda: archiver.progress)]


def _with_progress(work: Callable[[], Done], progress: Callable[[], str | None]) -> Done:
    """Do it; on a terminal a line tells how far it is."""
    from concurrent.futures import ThreadPoolExecutor
    from concurrent.futures import wait as wait_for

    if not sys.stderr.isatty():
        return work()
    with ThreadPoolExecutor(1) as pool:
        doing = pool.submit(work)
        while not wait_for([doing], _LOOK_S).done:
            sys.stderr.write(f"\r\x1b[K{progress() or ''}")
            sys.stderr.flush()
        sys.stderr.write("\r\x1b[K")
        return doing.result()


def _refuse_beside_a_server(state_dir: Path) -> None:
    from apsis_nb.config import server_of

    server = server_of(state_dir)
    if server is not None:
        raise ApsisError(
            f"a server with the state {state_dir} runs: {server.url} (process {server.pid}); stop it first"
        )


def _tell(line: str) -> None:
    sys.stderr.write(line + "\n")
