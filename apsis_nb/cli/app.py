"""The commands, in the order in which `--help` lists them."""

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

#: Plain help: loading rich for it would take longer than all else.
app = typer.Typer(
    name="apsis-nb",
    help=(
        "A job scheduler for people who live in notebooks.\n\n"
        "Try it: `apsis-nb demo`. A server of your own: `apsis-nb serve jobs/`. Then `apsis-nb jobs`, "
        "`apsis-nb runs`, `apsis-nb schedule JOB`. `apsis-nb COMMAND --help` has examples."
    ),
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for command in (
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
):
    name = "next" if command is jobs.next_times else command.__name__.replace("_", "-")
    app.command(name)(command)

app.add_typer(imports.app, name="import")
app.add_typer(service.app, name="service")
app.add_typer(tokens.app, name="token")
app.add_typer(tls.app, name="tls")
