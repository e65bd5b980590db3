"""Commands about runs: list and read them, ask for them, act on them, question their history."""

import re
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from apsis_nb.cli.completion import ids, job_ids, run_ids
from apsis_nb.cli.options import Format, FormatOption, UrlOption, UtcOption, args_of, client_of
from apsis_nb.core.states import State

if TYPE_CHECKING:
    from apsis_nb.client import Run

RunArgument = Annotated[str, typer.Argument(metavar="ID", help="Of the run: r123.", autocompletion=run_ids)]
RunArguments = Annotated[
    list[str],
    typer.Argument(metavar="ID", help="Of one or several runs: r123 r124.", autocompletion=run_ids),
]
AtOption = Annotated[
    str | None,
    typer.Option(
        "--at", metavar="TIME", help="When: now, +10m, 09:00, 2026-01-31T09:00:00Z. By default now."
    ),
]
StopOption = Annotated[
    str | None, typer.Option("--stop", metavar="TIME", help="When it is stopped if it still runs; as --at.")
]
LabelOption = Annotated[
    list[str] | None, typer.Option("--label", metavar="LABEL", help="By which to find it; may be repeated.")
]
WaitOption = Annotated[
    bool, typer.Option("--wait", help="Wait until it has ended; exit status 1 if it did not succeed.")
]
TestOption = Annotated[
    bool,
    typer.Option("--test", help="As a test: it fires no actions, satisfies nobody and counts nowhere."),
]


def runs(
    query: Annotated[
        str | None,
        typer.Argument(
            metavar="QUERY", help="A run, or words in the ids or descriptions of jobs.", autocompletion=ids
        ),
    ] = None,
    state: Annotated[
        list[State] | None,
        typer.Option(
            "--state",
            metavar="STATE",
            help=f"Only in this state; may be repeated: {', '.join(s.value for s in State)}.",
        ),
    ] = None,
    job: Annotated[
        str | None, typer.Option("--job", help="Only of this job.", autocompletion=job_ids)
    ] = None,
    label: Annotated[str | None, typer.Option("--label", help="Only with this label.")] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="Due from then on; 7d is a week ago.")
    ] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="TIME", help="Due before then.")] = None,
    times: Annotated[
        str | None,
        typer.Option("--times", metavar="SPAN", help="Due within: 24h up to now, or 2026-01-01..2026-02-01."),
    ] = None,
    late: Annotated[bool, typer.Option("--late", help="Only late ones.")] = False,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="At most so many.")] = 50,
    format: FormatOption = Format.table,
    utc: UtcOption = False,
    url: UrlOption = None,
) -> None:
    """List runs, newest first.

    \b
    Examples:
      apsis-nb runs
      apsis-nb runs report --state failure --since 7d
      apsis-nb runs --times 24h --late
    """
    client = client_of(url)
    if times is not None:
        if since is not None or until is not None:
            raise typer.BadParameter("--times says both ends: leave out --since and --until")
        since, dots, end = times.partition("..")
        until = end if dots else "now"
    if query is not None and query[:1] == "r" and query[1:].isdecimal():
        found = [client.run(query).facts]
    else:
        if query is not None and job is not None:
            raise typer.BadParameter("the job is named twice: as QUERY and by --job")
        # What matches no job of today may be one of the past.
        names = [job] if query is None else [j["job_id"] for j in client.jobs.find(query)] or [query]
        found = [
            facts
            for name in names
            for facts in client.list_runs(
                job=name,
                state=[s.value for s in state or ()],
                label=label,
                since=since or None,
                until=until or None,
                late=True if late else None,
                limit=limit,
            )
        ]
        found.sort(key=_place, reverse=True)
    _show_runs(found[:limit], format)


def _place(facts: dict[str, Any]) -> tuple[datetime, int]:
    """Of a run in a listing."""
    return datetime.fromisoformat(facts["scheduled_at"]), int(facts["run_id"][1:])


def run(
    run_id: RunArgument,
    format: FormatOption = Format.table,
    utc: UtcOption = False,
    url: UrlOption = None,
) -> None:
    """All about a run.

    \b
    Example:
      apsis-nb run r123
    """
    from apsis_nb.cli.listing import (
        args_text,
        duration,
        local_with_zone,
        program_text,
        show_csv,
        show_facts,
        show_json,
    )

    found = client_of(url).run(run_id)
    facts = found.facts
    if format is Format.json:
        show_json([facts])
        return
    if format is Format.csv:
        show_csv(list(facts), [facts])
        return
    late = f"{duration(facts['late_s'])}{', ' + facts['late_why'] if facts['late_why'] else ''}"
    show_facts(
        [
            ("state", facts["state"]),
            ("message", facts["message"] or ""),
            ("progress", _progress_text(facts)),
            ("skipped", facts["skip_reason"] or ""),
            ("job", facts["job_id"]),
            ("args", args_text(facts["args"])),
            ("labels", " ".join(facts["labels"])),
            ("origin", _origin_text(facts)),
            ("scheduled", local_with_zone(facts["scheduled_at"])),
            ("started", local_with_zone(facts["started_at"])),
            ("finished", local_with_zone(facts["finished_at"])),
            ("stop at", local_with_zone(facts["stop_at"])),
            ("took", duration(facts["elapsed_s"])),
            ("late", late if facts["late"] else ""),
            ("exit code", "" if facts["return_code"] is None else str(facts["return_code"])),
            ("program", program_text(facts["program"])),
            ("imported", "\n".join(_place_text(place) for place in facts["imported_from"])),
            ("outputs", "\n".join(f"{o['name']}  {o['length']} bytes" for o in found.outputs())),
        ],
        title=f"{facts['run_id']}  {facts['job_id']}",
    )


def why(
    what: Annotated[str, typer.Argument(metavar="ID|JOB", help="A run, r123; or a job.", autocompletion=ids)],
    args: Annotated[
        list[str] | None, typer.Argument(metavar="ARG=VALUE", help="Of the run that is not there.")
    ] = None,
    date: Annotated[
        str | None,
        typer.Option("--date", metavar="DATE", help="The day of the run, or a time up to which it was due."),
    ] = None,
    format: FormatOption = Format.table,
    url: UrlOption = None,
) -> None:
    """Why a run has not run, or did not do well.

    The nearest cause comes first; what stands further in is the cause of that, down to the root. Of a job
    also if there never was a run: without ARG=VALUE and --date the last that came due, or the next.

    \b
    Examples:
      apsis-nb why r123
      apsis-nb why sales/report --date 2026-01-31
      apsis-nb why sales/report region=emea
    """
    from apsis_nb.cli.listing import show_csv, show_json, show_lines

    client = client_of(url)
    if re.fullmatch(r"r\d+", what):
        if args or date:
            raise typer.BadParameter("a run has its args and date already")
        found = client.run(what).why()
    else:
        found = client.why(what, at=date, args=args_of(args or []))
    match format:
        case Format.json:
            show_json(list(found))
        case Format.csv:
            show_csv(["kind", "text", "depth", "job_id", "args", "run_id", "output"], list(found))
        case Format.table:
            show_lines(found.lines)


def log(
    run_id: RunArgument,
    format: FormatOption = Format.table,
    utc: UtcOption = False,
    url: UrlOption = None,
) -> None:
    """What happened to a run, oldest first.

    \b
    Example:
      apsis-nb log r123
    """
    from apsis_nb.cli.listing import Shown, local, show, state_style, zone_head

    columns = [
        Shown(zone_head("time"), lambda r: local(r["ts"])),
        Shown("state", lambda r: r["state"], style=state_style),
        Shown("message", lambda r: r["message"] or "", spare=True),
    ]
    show(client_of(url).run(run_id).list_log(), columns, format, empty="nothing yet")


def output(
    run_id: RunArgument,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Which of its outputs.")] = "output",
    follow: Annotated[bool, typer.Option("--follow", help="Go on until the run has ended.")] = False,
    url: UrlOption = None,
) -> None:
    """Write the output of a run: its bytes, nothing else.

    \b
    Examples:
      apsis-nb output r123 | tail
      apsis-nb output r123 --follow
    """
    found = client_of(url).run(run_id)
    for piece in found.pieces(name) if follow else [found.output_bytes(name)]:
        sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()


def schedule(
    job: Annotated[
        str,
        typer.Argument(
            metavar="JOB", help="Its id, or a part of it that names no other job.", autocompletion=job_ids
        ),
    ],
    args: Annotated[
        list[str] | None, typer.Argument(metavar="ARG=VALUE", help="The args of the run.")
    ] = None,
    at: AtOption = None,
    stop: StopOption = None,
    count: Annotated[int, typer.Option("--count", min=1, help="How many runs that are alike.")] = 1,
    label: LabelOption = None,
    wait: WaitOption = False,
    test: TestOption = False,
    format: FormatOption = Format.table,
    utc: UtcOption = False,
    url: UrlOption = None,
) -> None:
    """Ask for a run of a job.

    \b
    Examples:
      apsis-nb schedule sales/report date=2026-01-31
      apsis-nb schedule sales/report --at +10m --wait
    """
    made = client_of(url).schedule_runs(
        job, args=args_of(args or []), at=at, stop_at=stop, label=label or (), count=count, test=test
    )
    _told(made, wait, format)


def adhoc(
    command: Annotated[
        list[str], typer.Argument(metavar="-- COMMAND...", help="A program and its arguments.")
    ],
    shell: Annotated[
        bool, typer.Option("--shell", help="The words are a command line for the shell.")
    ] = False,
    at: AtOption = None,
    stop: StopOption = None,
    label: LabelOption = None,
    wait: WaitOption = False,
    format: FormatOption = Format.table,
    url: UrlOption = None,
) -> None:
    """Run a command that is no job, in the current folder.

    \b
    Examples:
      apsis-nb adhoc --wait -- python fit.py --rate 0.1
      apsis-nb adhoc --shell -- 'sleep 5 && date'
    """
    made = client_of(url).adhoc(
        " ".join(command) if shell else command, at=at, stop_at=stop, label=label or ()
    )
    _told([made], wait, format)


def start(run_ids: RunArguments, url: UrlOption = None) -> None:
    """Start runs that are not yet due, or that wait.

    \b
    Example:
      apsis-nb start r123
    """
    _each(run_ids, url, lambda run: run.start())


def skip(run_ids: RunArguments, url: UrlOption = None) -> None:
    """Do not run runs that have not started.

    \b
    Example:
      apsis-nb skip r123 r124
    """
    _each(run_ids, url, lambda run: run.skip())


def stop(run_ids: RunArguments, url: UrlOption = None) -> None:
    """Ask the programs of runs to end.

    \b
    Example:
      apsis-nb stop r123
    """
    _each(run_ids, url, lambda run: run.stop())


def rerun(
    run_ids: RunArguments,
    arg: Annotated[
        list[str] | None,
        typer.Option("--arg", metavar="ARG=VALUE", help="One that is to be different; may be repeated."),
    ] = None,
    test: TestOption = False,
    url: UrlOption = None,
) -> None:
    """Run runs again now, as their jobs are today.

    \b
    Examples:
      apsis-nb rerun r123
      apsis-nb rerun r123 --arg date=2026-01-30
    """
    changed = args_of(arg or [])
    _each(run_ids, url, lambda run: run.rerun(changed, test=test))


def mark(
    state: Annotated[
        str, typer.Argument(metavar="STATE", help="How it counts as ended: success, failure, error, skipped.")
    ],
    run_ids: RunArguments,
    actions: Annotated[
        bool, typer.Option("--actions", help="Fire the actions of the new state too.")
    ] = False,
    url: UrlOption = None,
) -> None:
    """Say that finished runs ended otherwise.

    What waits for them hears of it.

    \b
    Example:
      apsis-nb mark success r123
    """
    _each(run_ids, url, lambda run: run.mark(state, actions=actions))


def signal(
    signal: Annotated[str, typer.Argument(metavar="SIG", help="USR1, SIGUSR1, 10 ...")],
    run_ids: RunArguments,
    url: UrlOption = None,
) -> None:
    """Send the programs of runs a signal.

    \b
    Example:
      apsis-nb signal USR1 r123
    """
    _each(run_ids, url, lambda run: run.signal(signal))


def sql(
    query: Annotated[
        str, typer.Argument(metavar="QUERY", help="One SELECT; - reads it from standard input.")
    ],
    format: FormatOption = Format.table,
    url: UrlOption = None,
) -> None:
    """Ask the history a question in SQL.

    One SELECT; the views are runs, live_runs, run_log, outputs, missed and lateness_daily.

    \b
    Examples:
      apsis-nb sql 'SELECT state, count(*) FROM runs GROUP BY ALL'
      apsis-nb sql --format csv 'FROM runs LIMIT 100' > runs.csv
    """
    from apsis_nb.cli.listing import Shown, show, show_csv, show_json

    names, rows = client_of(url).sql_rows(sys.stdin.read() if query == "-" else query)
    match format:
        case Format.json:
            show_json(rows)
        case Format.csv:
            show_csv(names, rows)
        case Format.table:
            columns = [
                Shown(name, _text_of(name), right=all(_is_number(r[name]) for r in rows), gives_way=True)
                for name in names
            ]
            show(rows, columns, format, empty="no rows")


def report(
    month: Annotated[str, typer.Argument(metavar="MONTH", help="As 2026-11, in the server's zone.")],
    out: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Where to write it; by default standard output."),
    ] = None,
    url: UrlOption = None,
) -> None:
    """Write a month as one page of HTML.

    It is for people without the tool: what ran and how it ended, each job against the month before, and the
    failures. The page needs no network.

    \b
    Examples:
      apsis-nb report 2026-11 -o november.html
    """
    from apsis_nb.core.errors import ApsisError

    page = client_of(url).report(month)
    if out is None:
        sys.stdout.write(page.html)
        return
    try:
        page.save(out)
    except OSError as error:
        raise ApsisError(f"{out}: cannot be written: {error.strerror}") from None


def _text_of(name: str) -> Callable[[Any], str]:
    return lambda row: "" if row[name] is None else str(row[name])


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _each(run_ids: list[str], url: str | None, ask: Callable[["Run"], "Run"]) -> None:
    """Ask something of each run, and tell how it is then; that one refuses does not keep the others."""
    from apsis_nb.cli.listing import args_text, clean
    from apsis_nb.core.errors import ApsisError

    client = client_of(url)
    refused = False
    for run_id in run_ids:
        try:
            facts = ask(client.run(run_id)).seen
        except ApsisError as error:
            sys.stderr.write(f"apsis-nb: {clean(str(error))}\n")
            refused = True
        else:
            of = f" {args_text(facts['args'])}" if facts["args"] else ""
            sys.stdout.write(f"{facts['run_id']} {facts['state']} {clean(facts['job_id'])}{of}\n")
    if refused:
        raise typer.Exit(1)


def _told(made: list["Run"], wait: bool, format: Format) -> None:
    """Tell of the runs that were made; with `wait` when they have ended."""
    is_good = True
    if wait:
        if format is Format.table:
            sys.stderr.write(f"waiting for {', '.join(r.run_id for r in made)} ...\n")
        for run in made:
            run.wait()
        is_good = all(r.state == "success" for r in made)
    _show_runs([r.seen for r in made], format)
    if not is_good:
        for run in made:
            if run.state != "success" and (text := run.last_lines(20)):
                sys.stderr.write(text.rstrip("\n") + "\n")
        raise typer.Exit(1)


def _show_runs(found: list[dict[str, Any]], format: Format) -> None:
    from apsis_nb.cli.listing import run_columns, show

    show(found, run_columns(), format, empty="no such runs")


def _progress_text(facts: dict[str, Any]) -> str:
    """How far the program of a run says that it is, while it runs."""
    from apsis_nb.client.runs import progress_of

    told = progress_of((facts["meta"] or {}).get("meta"))
    if told is None or facts["state"] != "running":
        return ""
    return f"{told['done']:g} of {told['total']:g}" + (f", {told['message']}" if told["message"] else "")


def _origin_text(facts: dict[str, Any]) -> str:
    text = str(facts["origin"]).replace("_", " ")
    text += f" of {facts['rerun_of']}" if facts["rerun_of"] else ""
    text += f", attempt {facts['attempt']}" if facts["attempt"] > 1 else ""
    return text + (f", asked for by {facts['by']}" if facts["by"] else "")


def _place_text(place: dict[str, Any]) -> str:
    """Where a run was before it was imported."""
    from apsis_nb.cli.listing import local_with_zone

    return f"from {place['source']}, where it was {place['run_id']}, at {local_with_zone(place['at'])}"
