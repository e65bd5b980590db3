"""Commands about edits of job files: what one would change, the versions that there were, and back to one."""

import difflib
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from apsis_nb.cli.options import Format, UrlOption, client_of

if TYPE_CHECKING:
    from apsis_nb.client import Client


_SIGNS = {"added": "+", "removed": "-", "ran": "ran today"}


def revert(
    job: Annotated[str, typer.Argument(metavar="JOB", help="Its whole id; it may be removed by now.")],
    version: Annotated[int, typer.Argument(metavar="VERSION", help="As `job ID --history` lists them.")],
    url: UrlOption = None,
) -> None:
    """Write a version of a job's file back.

    It is checked first, and becomes a new version itself.

    \b
    Example:
      apsis-nb revert sales/report 3
    """
    from apsis_nb.client import NoSuch
    from apsis_nb.core.errors import NotFound

    client = client_of(url)
    found = {v["version"]: v["yaml"] for v in client.versions(job)}
    text = found.get(version)
    if text is None:
        there = ", ".join(str(n) for n, yaml in found.items() if yaml is not None)
        what = "there the file was removed" if version in found else "there is none"
        raise NotFound(f"version {version} of {job}: {what}; there are {there}")
    tag = None
    with suppress(NoSuch):
        tag = client.yaml(job)[1]
    client.write_yaml(job, text, tag=tag)
    sys.stdout.write(f"{job} is as it was in version {version}\n")


def show_versions(client: "Client", job: str, format: Format) -> None:
    """When a job's file was changed, by whom, and by how many lines."""
    from apsis_nb.cli.listing import Shown, local, show
    from apsis_nb.client import ClientError

    with suppress(ClientError):  # it may be removed, and still have versions
        job = client.jobs[job].job_id
    rows, before = [], ""
    for version in client.versions(job):
        after = version["yaml"] or ""
        lines = list(difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=0))[2:]
        counts = {sign: sum(line.startswith(sign) for line in lines) for sign in "+-"}
        rows.append({**version, "added": counts["+"], "removed": counts["-"]})
        before = after
    columns = [
        Shown("version", lambda v: str(v["version"]), right=True),
        Shown("taken up", lambda v: local(v["ts"])),
        Shown("by", lambda v: v["by"] or "an edit of the file"),
        Shown("lines", lambda v: "removed" if v["yaml"] is None else f"+{v['added']} -{v['removed']}"),
    ]
    show(rows, columns, format, empty="no version is kept")


def show_difference(file: Path, format: Format, url: str | None) -> None:
    """What a file would change of the coming runs of the server's job."""
    from apsis_nb.core.errors import NotFound

    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise NotFound(f"{file}: cannot be read: {error.strerror}") from None
    client = client_of(url)
    known = set(client.jobs)
    parts = file.absolute().with_suffix("").parts[1:]
    ids = ["/".join(parts[n:]) for n in range(len(parts))]
    job_id = next((i for i in ids if i in known), ids[-1])
    show_preview(job_id, client.preview(job_id, text), format, is_new=job_id not in known)


def show_preview(job_id: str, found: Mapping[str, Any], format: Format, *, is_new: bool) -> None:
    """Write what becomes of a job's runs, by time."""
    from apsis_nb.cli.listing import Shown, args_text, local, show

    rows = [
        {"what": what, "at": run["at"], "args": run["args"], "note": ""}
        for what in ("added", "removed")
        for run in found[what]
    ]
    for run in found["ran"]:
        again = f"; runs again at {local(run['again_at'])}" if run["again_at"] else ""
        note = f"{run['run_id']} {run['state']}{again}"
        rows.append({"what": "ran", "at": run["at"], "args": run["args"], "note": note})
    rows.sort(key=lambda row: row["at"])
    columns = [
        Shown("", lambda r: _SIGNS[r["what"]]),
        Shown("at", lambda r: local(r["at"])),
        Shown("args", lambda r: args_text(r["args"]), gives_way=True),
        Shown("note", lambda r: r["note"], gives_way=True),
    ]
    if format is Format.table:
        what = f"{len(found['added'])} added, {len(found['removed'])} removed"
        sys.stdout.write(f"{job_id}{' (a new job)' if is_new else ''}: in the next 7 days {what}\n")
    show(rows, columns, format, empty="no run changes")
