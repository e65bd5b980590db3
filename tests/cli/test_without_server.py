"""What the command line does without a server: help, usage, check, next, version, and its errors."""

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer import Context
from typer.main import get_command

from apsis_nb._version import __version__
from apsis_nb.cli.app import app
from tests.cli.conftest import COMMAND, Shell

GOOD = """\
params: [date]
schedule: {type: daily, tz: Europe/London, calendar: Mon-Fri, daytime: "01:30:00"}
program: {type: shell, command: "echo {{ date }}"}
"""
COMMANDS = [command.name for command in app.registered_commands]


def test_help_names_every_command_with_one_line(alone: Shell, monkeypatch: pytest.MonkeyPatch):
    told = alone.good("--help")
    monkeypatch.setenv("COLUMNS", alone.env["COLUMNS"])
    whole = get_command(app)
    context = Context(whole, info_name="apsis-nb", help_option_names=["-h", "--help"])
    assert told == whole.get_help(context) + "\n"  # though it was made of less
    for name in COMMANDS:
        lines = [line for line in told.splitlines() if line.startswith(f"  {name} ")]
        assert len(lines) == 1, name
        assert not lines[0].endswith("..."), name


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_has_an_example(name: str):
    command = next(c for c in app.registered_commands if c.name == name)
    assert command.callback is not None
    assert f"\n      apsis-nb {name}" in str(command.callback.__doc__)


def test_help_imports_nothing_that_is_slow():
    code = "import sys; from apsis_nb.cli import app; print(*{m.partition('.')[0] for m in sys.modules})"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    slow = {"rich", "pydantic", "httpx2", "pandas", "pyarrow", "duckdb", "yaml", "jinja2", "fastapi", "bokeh"}
    assert slow.isdisjoint(loaded)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["schedul"], "Did you mean 'schedule'?"),
        (["schedule"], "Missing argument 'JOB'"),
        (["schedule", "a", "date"], "write ARG=VALUE"),
        (["schedule", "a", "x=1", "x=2"], "x is given twice"),
        (["runs", "--state", "good"], "'good' is not one of"),
        (["runs", "--times", "24h", "--since", "1h"], "leave out --since"),
        (["serve", "--set", "nonsense"], "write KEY=VALUE"),
    ],
)
def test_wrong_usage_ends_with_2_and_a_hint(alone: Shell, words: list[str], says: str):
    ended = alone(*words, APSIS_NB_URL="http://127.0.0.1:1", APSIS_NB_TOKEN="t")
    assert ended.returncode == 2
    assert says in " ".join(ended.stderr.split())
    assert ended.stdout == ""


def test_no_server_is_one_line_with_what_to_do(alone: Shell):
    ended = alone("runs")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert len(ended.stderr.splitlines()) == 1
    assert "apsis-nb serve" in ended.stderr


def test_check_tells_where_what_is_wrong(alone: Shell):
    jobs = alone.folder / "jobs"
    (jobs / "team").mkdir(parents=True)
    (jobs / "team" / "good.yaml").write_text(GOOD)
    assert alone("check", "jobs").returncode == 0
    (jobs / "bad.yaml").write_text("progam: 'true'\n")
    ended = alone("check", "jobs")
    assert ended.returncode == 1
    assert "jobs/bad.yaml:1:1: unknown key 'progam': did you mean 'program'?\n" in ended.stdout
    assert ended.stderr.startswith("1 good job, ")
    facts = json.loads(alone("check", "jobs/bad.yaml", "--format", "json").stdout)
    assert {(f["file"], f["line"], f["col"], f["job_id"]) for f in facts} == {("jobs/bad.yaml", 1, 1, "bad")}


def test_check_sees_what_is_wrong_between_files(alone: Shell):
    (alone.folder / "a.yaml").write_text("program: 'true'\ncondition: {type: dependency, job_id: bb}\n")
    (alone.folder / "b.yaml").write_text("program: 'true'\n")
    ended = alone("check", ".")
    assert ended.returncode == 1
    assert "a.yaml:2:" in ended.stdout
    assert "there is no job 'bb'" in ended.stdout


def test_check_tells_warnings_apart(alone: Shell):
    (alone.folder / "a.yaml").write_text(
        "program: 'true'\nschedule: {type: explicit, times: 2020-01-01T00:00:00+00:00}\n"
    )
    ended = alone("check", ".")
    assert ended.returncode == 0
    assert ended.stdout == "a.yaml:2:1: warning: schedule: it gives no time in the next five years\n"
    assert ended.stderr == "1 good job, no errors, 1 warning\n"
    assert alone("check", "a.yaml", "--strict").returncode == 1
    (fact,) = json.loads(alone("check", ".", "--format", "json").stdout)
    assert fact["level"] == "warning"


def test_check_takes_the_settings_of_the_folder_and_of_a_server(alone: Shell):
    team = alone.folder / "jobs" / "team"
    team.mkdir(parents=True)
    (team.parent / ".apsis.yaml").write_text("defaults: {env: {A: 1}}\n")
    (team.parent / "b.yaml").write_text("program: 'true'\n")
    (team / "a.yaml").write_text("program: echo {{ here() }}\nsuccessors: [b]\n")
    assert "name 'here' is not defined" in alone("check", "jobs").stdout
    (alone.folder / "apsis.yaml").write_text("template_functions: {here: os.getcwd}\n")
    assert alone("check", "jobs", "--config", "apsis.yaml").returncode == 0
    assert alone("check", "jobs/team/a.yaml", "--config", "apsis.yaml").returncode == 0
    with (alone.folder / "apsis.yaml").open("a") as file:
        file.write("accounts:\n  team: [root, no-such-one]\n")
    checked = alone("check", "jobs", "--config", "apsis.yaml")
    warning = "apsis.yaml:3:1: warning: accounts.team: this machine has no account 'no-such-one'\n"
    assert (checked.returncode, checked.stdout) == (0, warning)


def test_check_knows_the_hosts_of_a_server(alone: Shell):
    (alone.folder / "a.yaml").write_text("program: {type: procstar, argv: [x], group_id: west}\n")
    (alone.folder / "b.yaml").write_text("program: {type: procstar-ecs, command: x}\n")
    assert alone("check", ".").stdout.splitlines() == [
        "a.yaml:1:38: program.group_id: 'west' is not mapped under 'hosts' in the server's configuration: "
        "'hosts: {west: local}' there runs it on this machine",
        "b.yaml:1:11: program.type: 'aws-ecs' is not mapped under 'hosts' in the server's configuration: "
        "'hosts: {aws-ecs: local}' there runs it on this machine",
    ]
    (alone.folder / "apsis.cfg").write_text("hosts: {west: local, aws-ecs: local}\n")
    assert alone("check", ".", "--config", "apsis.cfg").returncode == 0


def test_check_of_nothing_is_told(alone: Shell):
    ended = alone("check", "nowhere")
    assert (ended.returncode, ended.stderr) == (1, "apsis-nb: nowhere: there is no such file or folder\n")


def test_next_of_a_file_needs_no_server(alone: Shell):
    (alone.folder / "job.yaml").write_text(GOOD)
    rows = json.loads(alone.good("next", "job.yaml", "-n", "5", "--format", "json"))
    assert len(rows) == 5
    assert all(row["scheduled_at"][:10] == row["args"]["date"] for row in rows[:1])
    told = alone.good("next", "job.yaml", "-n", "3")
    assert told.startswith(
        "job: Mon-Fri at 01:30:00 Europe/London; late if it starts more than 1m after its time\n"
    )
    assert "scheduled (Europe/London)" in told
    assert told.count(" 01:30:00  ") == 3


def test_next_shows_the_clocks_of_the_schedule_and_when_they_change(alone: Shell):
    (alone.folder / "job.yaml").write_text(
        GOOD.replace("Mon-Fri", "all").replace("Europe/London", "America/New_York")
    )
    head, *lines = alone.good("next", "job.yaml", "-n", "400").splitlines()[1:]
    assert "scheduled (America/New_York)" in head
    assert "here (Europe/London)" in head
    assert sum("EST to EDT" in line for line in lines) == 1
    assert sum("EDT to EST" in line for line in lines) == 1
    assert all(" 01:30:00 " in line for line in lines)


def test_next_of_a_wrong_file_is_told(alone: Shell):
    (alone.folder / "job.yaml").write_text("program: 'true'\nschedule: {type: daily, tz: Mars}\n")
    ended = alone("next", "job.yaml")
    assert ended.returncode == 1
    assert "apsis-nb: job.yaml:2:" in ended.stderr


def test_version_names_what_it_stands_on(alone: Shell):
    told = alone.good("version").splitlines()
    assert told[0] == f"apsis-nb {__version__}"
    assert {line.split()[0] for line in told} >= {"Python", "duckdb", "pandas", "panel", "bokeh", "tzdata"}


def test_serve_without_a_job_folder_is_told(alone: Shell):
    ended = alone("serve", "nowhere")
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"apsis-nb: {alone.folder / 'nowhere'}: there is no such folder")


def test_serve_tells_all_that_is_wrong_with_its_settings(alone: Shell):
    (alone.folder / "apsis.yaml").write_text("bindd: x\nlog: {level: loud}\n")
    ended = alone("serve", "--config", "apsis.yaml")
    assert ended.returncode == 1
    assert "apsis.yaml:1: unknown key 'bindd': did you mean 'bind'?" in ended.stderr
    assert "apsis.yaml:2: log.level:" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_demo_leaves_a_folder_alone_that_is_something_elses(alone: Shell):
    (alone.folder / "mine").mkdir()
    (alone.folder / "mine" / "thesis.txt").write_text("precious")
    ended = alone("demo", "--dir", "mine")
    assert ended.returncode == 1
    assert "holds other files" in ended.stderr
    assert os.listdir(alone.folder / "mine") == ["thesis.txt"]


def test_ctrl_c_ends_serve_without_a_trace(alone: Shell):
    (alone.folder / "jobs").mkdir()
    command = [
        COMMAND,
        "serve",
        "jobs",
        "--bind",
        "127.0.0.1:0",
        "--state-dir",
        "state",
        "--dashboards",
        "off",
    ]
    with subprocess.Popen(
        command,
        cwd=alone.folder,
        env=dict(alone.env),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("http://127.0.0.1:")
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=30)
    assert "Traceback" not in told
    assert process.returncode in {0, 130}


def test_a_table_fits_a_narrow_terminal_and_has_colours_there(alone: Shell):
    (alone.folder / "job.yaml").write_text(GOOD)
    main, sub = pty.openpty()
    env = {**alone.env, "COLUMNS": "50", "TERM": "xterm-256color"}
    with subprocess.Popen(
        [COMMAND, "next", "job.yaml", "-n", "2"], cwd=alone.folder, env=env, stdout=sub
    ) as process:
        os.close(sub)
        told = b""
        while piece := _read(main):
            told += piece
    os.close(main)
    assert process.returncode == 0
    assert b"\x1b[" in told
    assert "\x1b[" not in alone.good("next", "job.yaml")


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, 4096)
    except OSError:  # the other end is closed
        return b""


def test_a_path_that_cannot_be_read_is_told(alone: Shell, tmp_path: Path):
    ended = alone("serve", "--config", str(tmp_path / "none.yaml"))
    assert ended.stderr == f"apsis-nb: {tmp_path / 'none.yaml'}: cannot be read: No such file or directory\n"


def test_ctrl_c_ends_demo_while_it_makes_its_history_and_the_next_begins_anew(alone: Shell):
    command = [COMMAND, "demo", "--dir", "demo", "--history", "9000000", "--no-browser"]
    with subprocess.Popen(
        command, cwd=alone.folder, env=dict(alone.env), stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("250,000 of"):
                break
        process.send_signal(signal.SIGINT)
        told = process.stderr.read()
    assert process.returncode != 0
    assert "fault" not in told
    assert "Traceback" not in told
    assert not (alone.folder / "demo/state/runs.duckdb").exists()


def test_config_tells_what_serve_would_run_with(alone: Shell):
    (alone.folder / "apsis.yaml").write_text("sql: {max_time: 1m}\nsecrets: {key: s3cret}\n")
    words = ("config", "team", "--config", "apsis.yaml", "--set", "log.level=debug", "--bind", "127.0.0.1:1")
    rows = {r["key"]: r for r in json.loads(alone.good(*words, "--format", "json", APSIS_NB_WATCH="1"))}
    assert rows["jobs"] == {"key": "jobs", "value": str(alone.folder / "team"), "source": "--set jobs"}
    assert rows["sql.max_time"] == {"key": "sql.max_time", "value": "1m", "source": "apsis.yaml:1"}
    assert rows["watch"] == {"key": "watch", "value": True, "source": "APSIS_NB_WATCH"}
    table = alone.good(*words)
    assert "log.level" in table
    assert "--set log.level" in table
    assert "s3cret" not in table
    wrong = alone("config", "--set", "log.levl=debug")
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert wrong.stderr == "apsis-nb: --set log.levl: unknown key 'levl': did you mean 'level'?\n"
