"""Commands about edits of job files: what one would change, the versions that there were, and back to one."""

import difflib
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from apsis_nb.cli.completion import job_ids
from apsis_nb.cli.options import Format, UrlOption, client_of

if TYPE_CHECKING:
    from apsis_nb.client import Client


#: So many runs that happen twice are told in sentences; the table has all.
_MOST_SENTENCES = 5
#: A comparison that reaches so far was not cut short.
_ALMOST_7_DAYS = timedelta(days=6, hours=23)
_SIGNS = {"added": "+", "removed": "-", "ran": "ran today"}


def revert(
    job: Annotated[
        str,
        typer.Argument(metavar="JOB", help="Its whole id; it may be removed by now.", autocompletion=job_ids),
    ],
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
    from apsis_nb.cli.listing import Shown, local, show, zone_head
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
        Shown(zone_head("taken up"), lambda v: local(v["ts"])),
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
    from apsis_nb.cli.listing import Shown, args_text, local, show, show_lines, zone_head

    rows = [
        {
            "what": what,
            "at": run["at"],
            "args": run["args"],
            "note": "no other run has these args" if run.get("lost") else "",
        }
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
        Shown(zone_head("at"), lambda r: local(r["at"])),
        Shown("args", lambda r: args_text(r["args"]), spare=True),
        Shown("note", lambda r: r["note"], spare=True),
    ]
    if format is Format.table:
        show_lines(_preview_lines(job_id, found, is_new=is_new))
    show(rows, columns, format, empty="no run changes")


def _preview_lines(job_id: str, found: Mapping[str, Any], *, is_new: bool) -> Iterator[str]:
    """What an edit does, in words: how much, what of today it runs once more, and what it loses."""
    from apsis_nb.cli.listing import args_text, local, local_clock

    until = datetime.fromisoformat(found["until"])
    span = (
        "in the next 7 days"
        if until > datetime.now(UTC) + _ALMOST_7_DAYS
        else f"until {local(found['until'])}"
    )
    counts = [(found[f"{what}_count"], what, len(found[what])) for what in ("added", "removed")]
    cut = [f"the first {shown:,} {what} are shown" for count, what, shown in counts if shown < count]
    told = ", ".join(f"{count:,} {what}" for count, what, _ in counts)
    yield "; ".join([f"{job_id}{' (a new job)' if is_new else ''}: {span} {told}", *cut])
    again = [run for run in found["ran"] if run["again_at"]]
    for run in again[:_MOST_SENTENCES]:
        is_today = local(run["at"])[:10] == local(run["again_at"])[:10]
        at = local_clock(run["again_at"]) if is_today else local(run["again_at"])
        args = f" with {args_text(run['args'])}" if run["args"] else ""
        ran = f"{local_clock(run['at'])} ran today as {run['run_id']} ({run['state']})"
        yield f"{ran}; {at} will run again{args}"
    if len(again) > _MOST_SENTENCES:
        yield f"and {len(again) - _MOST_SENTENCES} more of today run again"
    if gone := [run for run in found["removed"] if run["lost"]]:
        more = f"; so for {len(gone) - 1:,} more" if len(gone) > 1 else ""
        first = gone[0]
        yield f"{local(first['at'])} is removed, and no other run has {args_text(first['args'])}{more}"
