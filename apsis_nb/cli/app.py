"""The commands, in the order in which `--help` lists them."""

from collections.abc import Callable
from typing import Any

import typer

from apsis_nb.cli import (
    completion,
    edits,
    holds,
    imports,
    jobs,
    keeping,
    new,
    runs,
    service,
    serving,
    tls,
    tokens,
    watching,
)

COMMANDS: tuple[Callable[..., Any], ...] = (
    serving.serve,
    serving.demo,
    jobs.check,
    jobs.next_times,
    new.new,
    jobs.jobs,
    jobs.job,
    runs.runs,
    runs.run,
    runs.why,
    runs.log,
    runs.output,
    watching.watch,
    runs.schedule,
    runs.adhoc,
    runs.start,
    runs.skip,
    runs.stop,
    runs.rerun,
    runs.signal,
    runs.mark,
    holds.pause,
    holds.resume,
    holds.backfill,
    holds.backfills,
    runs.sql,
    runs.report,
    edits.revert,
    serving.config,
    serving.reload,
    serving.doctor,
    serving.stats,
    serving.retention,
    keeping.backup,
    keeping.restore,
    keeping.compact,
    keeping.archive,
    serving.notify_test,
    completion.completion,
    serving.version,
)
GROUPS = {"import": imports.app, "service": service.app, "token": tokens.app, "tls": tls.app}


def name_of(command: Callable[..., Any]) -> str:
    """What a command is called."""
    return "next" if command is jobs.next_times else command.__name__.replace("_", "-")


def make_app(wanted: str | None = None) -> typer.Typer:
    """The command line.

    Args:
        wanted: only this command is whole. Of the others there is what the list of commands tells, for it
            takes longer to read the params of all than to run most of them. None: all are whole.
    """
    app = typer.Typer(
        name="apsis-nb",
        help=(
            "A job scheduler for people who live in notebooks.\n\n"
            "Try it: `apsis-nb demo`. A server of your own: `apsis-nb serve jobs/`. Then `apsis-nb jobs`, "
            "`apsis-nb runs`, `apsis-nb schedule JOB`. `apsis-nb COMMAND --help` has examples."
        ),
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,  # loading rich for it would take longer than all else
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for command in COMMANDS:
        name = name_of(command)
        if wanted in {None, name}:
            app.command(name)(command)
        else:
            app.command(name, help=command.__doc__)(_listed)
    for name, group in GROUPS.items():
        if wanted in {None, name}:
            app.add_typer(group, name=name)
        else:
            app.command(name, help=group.info.help)(_listed)
    return app


def _listed() -> None:
    """Stands in the list for a command that nobody wants now."""


app = make_app()
