"""Commands about the server itself: run one, try the demo, reload, version."""

import gc
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from apsis_nb.cli.options import Format, FormatOption, UrlOption, UtcOption, client_of
from apsis_nb.core.errors import ApsisError

if TYPE_CHECKING:
    from apsis_nb.config import Config

BindOption = Annotated[
    str | None,
    typer.Option(
        "--bind",
        metavar="HOST:PORT",
        help="Where to listen; port 0 takes a free one; or unix:PATH, a socket. [127.0.0.1:5577]",
    ),
]


JobsArgument = Annotated[
    Path | None,
    typer.Argument(metavar="JOBS", help="The folder of job files. [jobs]", show_default=False),
]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="Settings, as YAML.", show_default=False)
]
StateOption = Annotated[
    Path | None,
    typer.Option(
        "--state-dir", metavar="DIR", help="Where history is kept; by default one for each job folder."
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="A setting, as sql.max_time=10s; may be repeated."),
]


def serve(
    jobs: JobsArgument = None,
    config: ConfigOption = None,
    state_dir: StateOption = None,
    bind: BindOption = None,
    set_: SetOption = None,
    dashboards: Annotated[
        Literal["process", "off"] | None,
        typer.Option("--dashboards", help="Serve the dashboards too. [process]"),
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Listen where others can reach it, without TLS.")
    ] = False,
    drain: Annotated[
        bool, typer.Option("--drain", help="When told to stop, wait until the programs that run have ended.")
    ] = False,
    observe: Annotated[
        bool, typer.Option("--observe", help="Start no program; record what would have started.")
    ] = False,
) -> None:
    """Run a server.

    It starts jobs on time, keeps every run, and serves the dashboards.

    Prints its address once it is up; stop it with Ctrl-C. Programs that run then go on; the next start finds
    them. With --drain it waits for them, and starts nothing more; a second Ctrl-C ends the waiting. With
    --observe it does all but start programs, beside cron for example: runs that would start are skipped.

    \b
    Examples:
      apsis-nb serve jobs/
      apsis-nb serve --config apsis.yaml --set log.level=debug
    """
    gc.disable()  # what is made at the start stays; `engine.garbage` turns it on again
    from apsis_nb.config import load_config
    from apsis_nb.server.run import serve as run_server

    settings = given_settings(set_, jobs=jobs, state_dir=state_dir, bind=bind, dashboards=dashboards)
    flags = {"drain": drain, "observe": observe, "insecure": insecure}
    settings |= {key: "true" for key, is_set in flags.items() if is_set}
    wanted = load_config(config, settings)
    if not wanted.jobs.is_dir():
        raise ApsisError(
            f"{wanted.jobs}: there is no such folder; give the folder of the job files, or make it"
        )
    _refuse_a_second(wanted)
    if wanted.observe:
        _tell("this server observes: it starts no program, and records what would have started as skipped")
    if wanted.socket and wanted.public_url is None:
        _tell("no browser opens a unix socket: set public_url to the address of the proxy that does")
    run_server(wanted, ready=_say_address)


def config(
    jobs: JobsArgument = None,
    config: ConfigOption = None,
    state_dir: StateOption = None,
    bind: BindOption = None,
    set_: SetOption = None,
    format: FormatOption = Format.table,
) -> None:
    """Tell the settings in effect, for the same words as `serve`.

    Each with where it was said: the file and line, the variable of the environment, or --set. Secrets are
    hidden.

    \b
    Examples:
      apsis-nb config --config apsis.yaml
      apsis-nb config --config apsis.yaml --set sql.max_time=10s --format json
    """
    from dataclasses import asdict

    from apsis_nb.cli.listing import Shown, show
    from apsis_nb.config import list_settings

    found = list_settings(config, given_settings(set_, jobs=jobs, state_dir=state_dir, bind=bind))
    columns = [
        Shown("setting", lambda s: s["key"]),
        Shown("value", lambda s: _value_text(s["value"]), gives_way=True),
        Shown("from", lambda s: s["source"], style=lambda s: "dim" if s["source"] == "default" else ""),
    ]
    show([asdict(setting) for setting in found], columns, format, empty="")


def demo(
    folder: Annotated[
        Path, typer.Option("--dir", metavar="DIR", help="Where the jobs and the history are kept.")
    ] = Path("apsis-demo"),
    bind: BindOption = None,
    history: Annotated[
        int, typer.Option("--history", metavar="N", min=0, help="Made-up past runs, at first.")
    ] = 20_000,
    reset: Annotated[bool, typer.Option("--reset", help="Put back the demo's own job files.")] = False,
    browser: Annotated[bool, typer.Option(help="Open the dashboards in a browser.")] = True,
) -> None:
    """Try it: a server with demo jobs and made-up past runs.

    Prints its address once it is up; stop it with Ctrl-C.

    \b
    Example:
      apsis-nb demo --dir /tmp/demo --history 100000
    """
    gc.disable()  # as in `serve`
    from apsis_nb.demo import demo_config, prepare
    from apsis_nb.server.run import serve as run_server

    config = demo_config(folder, bind=bind)
    _refuse_a_second(config)
    prepare(folder, history=history, reset=reset, tell=_tell)
    _tell(f"the jobs are in {config.jobs}, the log is {config.log.file}; Ctrl-C stops it")

    def ready(address: str) -> None:
        _say_address(address)
        if browser:
            _open_browser(address)

    run_server(config, ready=ready)


def reload(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would change.")] = False,
    url: UrlOption = None,
) -> None:
    """Let the server read the job files again.

    \b
    Example:
      apsis-nb reload --dry-run
    """
    from apsis_nb.cli.edits import show_preview
    from apsis_nb.cli.listing import clean

    answer = client_of(url).reload(dry_run=dry_run)
    for what in ("added", "changed", "removed"):
        for job_id in answer[what]:
            sys.stdout.write(f"{what} {clean(job_id)}\n")
    for job_id, found in answer["previews"].items():
        if found["added"] or found["removed"]:
            show_preview(job_id, found, Format.table, is_new=job_id in answer["added"])
    for error in answer["errors"]:
        where = f"{error['file']}:{error['line']}:{error['col']}"
        sys.stderr.write(f"{clean(where)}: {clean(error['message'])}\n")
    if not any(answer[what] for what in ("added", "changed", "removed", "errors")):
        sys.stderr.write("nothing has changed\n")
    if not (answer["applied"] or dry_run):
        sys.stderr.write("apsis-nb: nothing was applied: working jobs would be lost; mend the files first\n")
    if answer["errors"] or not (answer["applied"] or dry_run):
        raise typer.Exit(1)


def doctor(
    fix: Annotated[bool, typer.Option("--fix", help="Mend what can be mended without harm.")] = False,
    format: FormatOption = Format.table,
    url: UrlOption = None,
) -> None:
    """What is wrong with the server, its jobs and its runs.

    Each finding says what to do. Exit status 1 if one is an error.

    \b
    Examples:
      apsis-nb doctor
      apsis-nb doctor --fix
    """
    from apsis_nb.cli.listing import clean, show_csv, show_json, show_lines

    found = client_of(url).list_findings(fix=fix)
    rows = found["findings"]
    match format:
        case Format.json:
            show_json(rows)
        case Format.csv:
            show_csv(["kind", "level", "subject", "message", "fix", "is_mendable"], rows)
        case Format.table:
            for row in rows:
                head = ": ".join(row[name] for name in ("level", "kind", "subject", "message"))
                show_lines([head, f"    {row['fix']}"])
    for done in found["mended"]:
        sys.stderr.write(f"mended: {clean(done)}\n")
    if not rows:
        sys.stderr.write("all is well\n")
    if any(row["level"] == "error" for row in rows):
        raise typer.Exit(1)


def stats(format: FormatOption = Format.table, url: UrlOption = None, utc: UtcOption = False) -> None:
    """What the server does, in figures.

    Runs by state, how many have ended lately, how large the store is, how quick the server answers.

    \b
    Examples:
      apsis-nb stats
      apsis-nb stats --format json
    """
    from apsis_nb.cli.listing import (
        counts_text,
        duration,
        local_with_zone,
        show_csv,
        show_facts,
        show_json,
        size_text,
    )

    client = client_of(url)
    found = client.stats()
    if format is Format.json:
        show_json([found])
        return
    if format is Format.csv:
        show_csv(list(found), [found])
        return
    runs, store, process = found["runs"], found["store"], found["process"]
    broken = f", {found['broken_files']} broken files" if found["broken_files"] else ""
    sizes = (
        f"{size_text(store['file_bytes'] + store['wal_bytes'])}, outputs {size_text(store['outputs_bytes'])}"
    )
    lags = f"loop {found['loop_lag_ms']:g} ms, commit {found['commit_lag_ms']:g} ms"
    show_facts(
        [
            ("up", f"{duration(round(found['up_s']))}, since {local_with_zone(found['started_at'])}"),
            ("jobs", f"{found['jobs']}{broken}"),
            ("runs now", counts_text(runs["live"])),
            ("ended in 1 hour", counts_text(runs["finished_1h"])),
            ("ended in 1 day", counts_text(runs["finished_1d"])),
            ("behind by", lags),
            ("store", sizes),
            ("free disk", size_text(found["disk_free_b"])),
            (
                "memory",
                f"{size_text(process['memory_b'])}, at most {size_text(process['max_memory_b'])};"
                f" of it the database {size_text(store['cached_bytes'])}",
            ),
            ("processor", f"{duration(round(process['cpu_s']))}, {process['threads']} threads"),
        ],
        title=client.url,
    )


def retention(
    apply: Annotated[bool, typer.Option("--apply", help="Give them up now.")] = False,
    format: FormatOption = Format.table,
    url: UrlOption = None,
) -> None:
    """Which outputs are not to be kept, and their size.

    Without --apply it only tells. The server gives them up by itself once a day; what is kept stands under
    `retention` in its configuration and in job files.

    \b
    Examples:
      apsis-nb retention
      apsis-nb retention --apply
    """
    from apsis_nb.cli.listing import Shown, local, show, zone_head

    rows = client_of(url).retention(apply=apply)
    columns = [
        Shown("job", lambda r: r["job_id"], gives_way=True),
        Shown("runs", lambda r: str(r["runs"]), right=True),
        Shown("outputs", lambda r: str(r["outputs"]), right=True),
        Shown("bytes", lambda r: str(r["bytes"]), right=True),
        Shown(zone_head("up to"), lambda r: local(r["last_at"])),
    ]
    show(rows, columns, format, empty="nothing is beyond what is kept")
    if rows and format is Format.table:
        runs, size = sum(row["runs"] for row in rows), sum(row["bytes"] for row in rows)
        said = "freed" if apply else "would be freed; --apply does it now"
        sys.stderr.write(f"{size} bytes of {runs} runs {said}\n")


def notify_test(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As under `notify` in the configuration.")],
    url: UrlOption = None,
) -> None:
    """Let the server send a test message.

    Returns when it is sent, or says why it was not.

    \b
    Example:
      apsis-nb notify-test ops
    """
    from apsis_nb.cli.listing import clean

    client_of(url).notify_test(name)
    sys.stderr.write(f"{clean(name)} is told\n")


def version() -> None:
    """Print the versions of apsis-nb and of what it stands on.

    \b
    Example:
      apsis-nb version
    """
    import platform
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as version_of

    from apsis_nb._version import __version__

    sys.stdout.write(f"apsis-nb {__version__}\nPython {platform.python_version()}\n")
    for package in ("duckdb", "pandas", "panel", "bokeh", "tzdata"):
        try:
            sys.stdout.write(f"{package} {version_of(package)}\n")
        except PackageNotFoundError:
            sys.stdout.write(f"{package} is missing\n")


def given_settings(words: list[str] | None, **given: object) -> dict[str, str]:
    """The settings of `--set`, and those that have an option of their own, by key."""
    settings = dict(_setting(word) for word in words or ())
    return settings | {key: str(value) for key, value in given.items() if value is not None}


def _value_text(value: object) -> str:
    """A value as a file of settings has it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _setting(word: str) -> tuple[str, str]:
    key, equals, value = word.partition("=")
    if not (key and equals):
        raise typer.BadParameter(
            f"{word!r}: write KEY=VALUE, for example sql.max_time=10s", param_hint="--set"
        )
    return key, value


def _refuse_a_second(config: "Config") -> None:
    """Say where the server is that keeps its history there already."""
    from apsis_nb.config import server_of

    server = server_of(config.state_dir)
    if server is not None:
        who = f"{server.url} (process {server.pid})"
        raise ApsisError(f"a server with the state {config.state_dir} runs already: {who}")


def _tell(line: str) -> None:
    sys.stderr.write(line + "\n")


def _say_address(address: str) -> None:
    sys.stdout.write(address + "\n")
    sys.stdout.flush()


def _open_browser(address: str) -> None:
    """Open it where there is a screen; a browser of the terminal would only be in the way."""
    import os
    import webbrowser

    if sys.stdout.isatty() and (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        webbrowser.open(address)
