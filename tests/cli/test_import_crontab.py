"""A crontab becomes jobs that do what cron did, and nothing is overwritten."""

import json
import os
import pwd
import subprocess
from datetime import UTC, datetime
from typing import Any

import pytest

from apsis_nb.core.jobs import Job, bind_run
from apsis_nb.core.programs import Process
from apsis_nb.core.runs import Origin
from apsis_nb.core.schedules import CronSchedule
from apsis_nb.jobfiles import load_folder
from tests.cli.conftest import Shell

NOW = datetime(2026, 3, 27, tzinfo=UTC)


def imported(shell: Shell, text: str, *words: str) -> tuple[list[dict[str, Any]], dict[str, Job]]:
    """The report, and the jobs that there are then."""
    told = shell("import", "crontab", "-", "--format", "json", *words, stdin=text)
    assert told.returncode == 0, told.stderr
    folder = load_folder(shell.folder / "jobs")
    assert [str(error) for error in folder.errors] == []
    return json.loads(told.stdout), dict(folder.jobs)


def program_of(job: Job) -> Process:
    """What a run of the job would execute."""
    run = bind_run(
        job, run_id=1, args={}, origin=Origin.SCHEDULE, scheduled_at=NOW, now=NOW, params_of=lambda _: None
    )
    assert isinstance(run.program, Process)
    return run.program


def ran(job: Job) -> str:
    """What the command of a job writes."""
    program = program_of(job)
    command = [program.shell, "-c", str(program.command)]
    return subprocess.run(
        command, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL
    ).stdout


def schedule_of(job: Job) -> CronSchedule:
    (schedule,) = job.schedules
    assert isinstance(schedule, CronSchedule)
    return schedule


def test_an_entry_becomes_a_job_that_is_paused(alone: Shell):
    (row,), jobs = imported(alone, "# Backs up.\n*/5 8-18 * * 1-5\t/opt/bin/backup.sh --full\n")

    assert (row["line"], row["what"], row["job_id"]) == (2, "job", "cron/backup")
    job = jobs["cron/backup"]
    schedule = schedule_of(job)
    assert (schedule.cron, str(schedule.tz), schedule.enabled) == ("*/5 8-18 * * 1-5", "Europe/London", False)
    assert job.description == "Backs up."
    assert job.metadata["crontab"] == "*/5 8-18 * * 1-5\t/opt/bin/backup.sh --full"
    program = program_of(job)
    assert program.cwd == pwd.getpwuid(os.geteuid()).pw_dir
    (again,), jobs = imported(alone, "0 1 * * * /opt/bin/clean\n", "--enabled", "--path", "ops/nightly")
    assert again["job_id"] == "ops/nightly/clean"
    assert schedule_of(jobs["ops/nightly/clean"]).enabled


def test_variables_count_for_the_entries_below_them(alone: Shell):
    text = """
0 1 * * * /bin/first
SHELL=/bin/bash
 PATH = "/opt/bin:/bin"
'MODE'=  ' full '
HOME=/srv
CRON_TZ=America/New_York
RANDOM_DELAY=15
0 2 * * * /bin/second
"""
    rows, jobs = imported(alone, text)

    assert [row["what"] for row in rows] == ["job", *["variable"] * 6, "job"]
    first, second = (program_of(jobs[f"cron/{name}"]) for name in ("first", "second"))
    assert (dict(first.env), first.shell) == ({}, "/bin/sh")
    assert second.shell == "/bin/bash"
    assert second.env == {"SHELL": "/bin/bash", "PATH": "/opt/bin:/bin", "MODE": " full ", "HOME": "/srv"}
    assert second.cwd == "/srv"
    schedule = schedule_of(jobs["cron/second"])
    assert (str(schedule.tz), schedule.jitter_s) == ("America/New_York", 900)


def test_what_follows_a_percent_sign_is_the_input_of_the_command(alone: Shell):
    text = r"""
@daily cat - %one%two 100\% %END
@hourly echo 50\% '{{.Names}} {#' # done
"""
    _, jobs = imported(alone, text)

    assert ran(jobs["cron/cat"]) == "one\ntwo 100% \nEND\n"
    assert ran(jobs["cron/echo"]) == "50% {{.Names}} {#\n"


def test_what_no_job_can_be_made_of_is_left_with_the_reason(alone: Shell):
    text = """
@reboot /opt/agent
0 25 * * * /bin/a
0 1 * *
0 1 * * *
CRON_TZ=Europe/Londn
0 1 * * * /bin/b
CRON_TZ=
SHELL=/usr/bin/fish
0 1 * * * cat%x
"""
    (alone.folder / "jobs").mkdir()
    rows, jobs = imported(alone, text)

    left = [row for row in rows if row["what"] == "left"]
    reasons = [
        *("no schedule knows a reboot", "the hour is '25'", "five fields", "it has no command"),
        *("did you mean 'Europe/London'?", "needs a shell like sh, not /usr/bin/fish"),
    ]
    assert jobs == {}
    for row, says in zip(left, reasons, strict=True):
        assert says in row["notes"][0]


def test_the_crontab_that_is_left_has_the_jobs_as_comments(alone: Shell):
    (alone.folder / "old").write_text("# nightly\nMAILTO=ops@example.org\n0 1 * * * /bin/a\n@reboot /bin/b\n")
    left = "# nightly\nMAILTO=ops@example.org\n# now the job cron/a: 0 1 * * * /bin/a\n@reboot /bin/b\n"

    shown = alone("import", "crontab", "old", "--dry-run")
    assert shown.stdout.endswith(f"\n\n{left}")
    assert shown.stderr.startswith("1 jobs would be made in jobs/cron; their schedules are off")
    assert not (alone.folder / "jobs").exists()
    alone("import", "crontab", "old", "--rest", "new")
    assert (alone.folder / "new").read_text() == left
    assert 'mailto: "ops@example.org"' in (alone.folder / "jobs/cron/a.yaml").read_text()


def test_nothing_is_overwritten_and_nothing_made_twice(alone: Shell):
    twice = "0 1 * * * /bin/a\n0 1 * * * /bin/a\n"
    rows, _ = imported(alone, twice)
    assert [row["job_id"] for row in rows] == ["cron/a", "cron/a-2"]
    file = alone.folder / "jobs/cron/a.yaml"
    file.write_text(mine := file.read_text().replace("  enabled: false\n", ""))

    rows, _ = imported(alone, f"{twice}0 2 * * * /bin/a\n")
    assert [row["what"] for row in rows] == ["there already", "there already", "job"]
    assert rows[2]["job_id"] == "cron/a-3"
    assert file.read_text() == mine
    assert sorted(os.listdir(file.parent)) == ["a-2.yaml", "a-3.yaml", "a.yaml"]
    (alone.folder / "new").write_text("mine")
    refused = alone("import", "crontab", "-", "--rest", "new", stdin="")
    assert (refused.returncode, refused.stderr) == (
        1, "apsis-nb: new is there already, and is left as it is\n",
    )  # fmt: skip


def test_entries_of_the_system_name_an_account(alone: Shell):
    own = pwd.getpwuid(os.geteuid()).pw_name
    text = f"0 1 * * * {own} /bin/a\n0 1 * * * nobody /bin/b\n0 1 * * * no-such-account /bin/c\n"
    rows, jobs = imported(alone, text, "--system")

    assert program_of(jobs["cron/a"]).user is None
    assert program_of(jobs["cron/b"]).user == "nobody"
    assert rows[2]["notes"] == ["this machine has no account 'no-such-account'"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("none",), "none: cannot be read: No such file or directory"),
        (("-", "--path", "/x"), "--path /x: give a folder below the job folder, as cron or ops/cron"),
        (("-", "--path", "../x"), "--path ../x: give a folder below the job folder, as cron or ops/cron"),
    ],
)
def test_what_cannot_be_read_or_written_is_told(alone: Shell, words: tuple[str, ...], says: str):
    ended = alone("import", "crontab", *words)
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", f"apsis-nb: {says}\n")
