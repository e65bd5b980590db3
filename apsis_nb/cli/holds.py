"""Commands that hold jobs back or catch up with them: pause, resume, backfill, mark."""

import sys
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from apsis_nb.cli.completion import job_ids
from apsis_nb.cli.options import Format, FormatOption, UrlOption, UtcOption, client_of

if TYPE_CHECKING:
    from apsis_nb.client import Backfill

JobOption = Annotated[
    str | None,
    typer.Argument(metavar="JOB", help="Its id, or words that only it has.", autocompletion=job_ids),
]
PathOption = Annotated[
    str | None, typer.Option("--path", metavar="PATH", help="Instead of one job: all below a folder.")
]
AllOption = Annotated[bool, typer.Option("--all", help="Instead of one job: all.")]


def pause(
    job: JobOption = None,
    path: PathOption = None,
    everything: AllOption = False,
    until: Annotated[
        str | None, typer.Option("--until", metavar="TIME", help="When it ends by itself: +2h, 09:00 ...")
    ] = None,
    reason: Annotated[str | None, typer.Option("--reason", metavar="TEXT", help="For others.")] = None,
    url: UrlOption = None,
) -> None:
    """Hold back the schedules of a job, of a folder, or of all.

    What comes due is skipped, and says who paused it. Runs that are asked for by hand still run.
    Without JOB, --path or --all: list what is paused.

    \b
    Examples:
      apsis-nb pause sales/report --until +2h --reason 'the database moves'
      apsis-nb pause --path sales
      apsis-nb pause
    """
    client = client_of(url)
    if job is None and path is None and not everything:
        _show_pauses(client.list_pauses(), Format.table)
        return
    made = client.pause(job, path=path, everything=everything, until=until, reason=reason)
    sys.stdout.write(f"{_what(made)} paused{_until(made)}\n")


def resume(
    job: JobOption = None,
    path: PathOption = None,
    everything: AllOption = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what it would mean.")] = False,
    format: FormatOption = Format.table,
    utc: UtcOption = False,
    url: UrlOption = None,
) -> None:
    """End a pause.

    Tells what was skipped meanwhile, and what comes next.

    \b
    Examples:
      apsis-nb resume sales/report --dry-run
      apsis-nb resume --all
    """
    from apsis_nb.cli.listing import Shown, args_text, local, show, show_json, zone_head

    plan = client_of(url).resume(job, path=path, everything=everything, dry_run=dry_run)
    if format is Format.json:
        show_json([plan])
        return
    rows = [{"what": "skipped", "at": r["nominal_at"], **r} for r in reversed(plan["skipped"])]
    rows += [{"what": "next", "at": r["scheduled_at"], "run_id": "", **r} for r in plan["next"][:10]]
    columns = [
        Shown("", lambda r: r["what"]),
        Shown(zone_head("at"), lambda r: local(r["at"])),
        Shown("run", lambda r: r["run_id"]),
        Shown("job", lambda r: r["job_id"], gives_way=True),
        Shown("args", lambda r: args_text(r["args"]), spare=True),
    ]
    if format is Format.table:
        would = "would go on" if dry_run else "goes on"
        count = len(plan["skipped"])
        sys.stdout.write(
            f"{_what(plan['pause'])} {would}; {count or 'no'} times were skipped while it was paused\n"
        )
        if count:
            sys.stdout.write("apsis-nb backfill JOB --from DAY --to DAY --only-missing runs them\n")
    show(rows, columns, format, empty="nothing comes in the next day")


def backfill(
    job: Annotated[
        str, typer.Argument(metavar="JOB", help="Its id, or words that only it has.", autocompletion=job_ids)
    ],
    first: Annotated[str, typer.Option("--from", metavar="DAY", help="The first day: 2026-01-31.")],
    last: Annotated[str, typer.Option("--to", metavar="DAY", help="The last day; it is included.")],
    only_missing: Annotated[
        bool, typer.Option("--only-missing", help="Leave out what has succeeded or is under way.")
    ] = False,
    max_running: Annotated[
        int, typer.Option("--max-running", metavar="N", min=1, help="How many run at once.")
    ] = 1,
    actions: Annotated[
        bool, typer.Option("--actions", help="Fire the job's actions too: successors, notices.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would run.")] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait, with a bar; exit status 1 unless all succeed.")
    ] = False,
    format: FormatOption = Format.table,
    utc: UtcOption = False,
    url: UrlOption = None,
) -> None:
    """Run a job for days that are past, the oldest first.

    It follows the job's calendar, and stops after three failures in a row.

    \b
    Examples:
      apsis-nb backfill sales/report --from 2026-01-01 --to 2026-01-31 --only-missing --dry-run
      apsis-nb backfill sales/report --from 2026-01-01 --to 2026-01-31 --max-running 4 --wait
    """
    from apsis_nb.cli.listing import Shown, args_text, clean, local, show, zone_head

    found = client_of(url).jobs[job]
    how: dict[str, Any] = {"start": first, "stop": last, "only_missing": only_missing}
    if dry_run:
        plan = found.plan_backfill(**how)
        columns = [
            Shown(zone_head("at"), lambda r: local(r["nominal_at"])),
            Shown("args", lambda r: args_text(r["args"]), spare=True),
        ]
        if format is Format.table:
            done = f"; {plan['done']} have succeeded or are under way" if plan["done"] else ""
            sys.stdout.write(f"{len(plan['instances'])} runs of {clean(plan['job_id'])}{done}\n")
        show(plan["instances"], columns, format, empty="nothing to run")
        return
    made = cast("Backfill", found.backfill(**how, max_running=max_running, actions=actions))
    if wait:
        made.wait()
    _show_backfills([made.facts], format)
    if wait and made.facts["success"] < made.facts["instances"]:
        raise typer.Exit(1)


def backfills(
    backfill_id: Annotated[str | None, typer.Argument(metavar="ID", help="Of one: r123.")] = None,
    stop: Annotated[bool, typer.Option("--stop", help="Do not run what is left of it.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Run what it has not got done.")] = False,
    max_running: Annotated[
        int, typer.Option("--max-running", metavar="N", min=1, help="With --resume: how many at once.")
    ] = 1,
    format: FormatOption = Format.table,
    utc: UtcOption = False,
    url: UrlOption = None,
) -> None:
    """List backfills; stop one, or go on with it.

    \b
    Examples:
      apsis-nb backfills
      apsis-nb backfills r123 --stop
      apsis-nb backfills r123 --resume
    """
    client = client_of(url)
    if backfill_id is None:
        if stop or resume:
            raise typer.BadParameter("--stop and --resume need the ID of a backfill")
        _show_backfills(client.list_backfills(), format)
        return
    if stop and resume:
        raise typer.BadParameter("either --stop or --resume")
    found = client.backfill(backfill_id)
    if stop:
        found.stop()
    elif resume:
        found.resume(max_running=max_running)
    _show_backfills([found.facts], format)


def _show_backfills(rows: list[dict[str, Any]], format: Format) -> None:
    from apsis_nb.cli.listing import Shown, local, show, zone_head

    def count(name: str) -> Shown:
        return Shown(name, lambda r: str(r[name]) if r[name] else "", right=True)

    columns = [
        Shown("backfill", lambda r: r["backfill_id"]),
        Shown("job", lambda r: r["job_id"], gives_way=True),
        Shown(zone_head("asked for"), lambda r: local(r["asked_at"])),
        Shown("by", lambda r: r["by"] or ""),
        *map(count, ("runs", "left", "running", "success", "failed", "skipped")),
    ]
    show(rows, columns, format, empty="no backfills")


def _show_pauses(rows: list[dict[str, Any]], format: Format) -> None:
    from apsis_nb.cli.listing import Shown, local, show, zone_head

    columns = [
        Shown("paused", _what),
        Shown(zone_head("since"), lambda r: local(r["since"])),
        Shown(zone_head("until"), lambda r: local(r["until"]) if r["until"] else ""),
        Shown("by", lambda r: r["by"] or ""),
        Shown("reason", lambda r: r["reason"] or "", spare=True),
    ]
    show(rows, columns, format, empty="nothing is paused")


def _what(pause: Any) -> str:
    from apsis_nb.cli.listing import clean

    target = clean(str(pause["target"]))
    return {"job": target, "path": f"all below {target}", "all": "all jobs"}[pause["scope"]]


def _until(pause: Any) -> str:
    from apsis_nb.cli.listing import local_with_zone

    return f" until {local_with_zone(pause['until'])}" if pause["until"] else ""
