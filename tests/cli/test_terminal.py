"""Every command on terminals and in a pipe: what it prints fits, is whole, and has colours where it may."""

import csv
import fcntl
import io
import json
import os
import pty
import re
import shlex
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator, Mapping

import pytest
from rich.cells import cell_len

from apsis_nb.cli.app import app
from apsis_nb.client import Client
from tests.client.serving import Served, served

#: Runs command after command in one process: loading them is paid for once. Each begins with its line, which
#: may set variables of the environment, as in a shell.
DRIVER = """
import os, shlex, sys
from apsis_nb.cli.app import app
env = dict(os.environ)
for line in sys.argv[1:]:
    sys.stdout.write(f"\\x1e{line}\\n")
    sys.stdout.flush()
    words = shlex.split(line)
    os.environ.clear()
    os.environ.update(env)
    while words[0].partition("=")[0].isupper():
        name, _, os.environ[name] = words.pop(0).partition("=")
    code = app(words, standalone_mode=False)
    sys.stdout.flush()
    assert not code, (line, code)
"""
JOBS = {
    "warehouse/import/orders-of-the-day": """
params:
  date: {type: date, description: The day.}
  region: {choices: [emea, apac], default: emea}
metadata: {description: "Fetches the orders of a day from all shops, up to now.", labels: [nightly, orders]}
schedule: {type: daily, tz: Europe/London, calendar: all, daytime: "02:30:00"}
condition: {type: max_running, count: 2}
program: {type: shell, command: 'echo "got 12 orders of {{ date }}"'}
""",
    "breaks": "program: {type: shell, command: 'echo all is lost; exit 3'}\n",
    "sleeps": "program: {type: argv, argv: [sleep, '600']}\n",
}
JOB = "warehouse/import/orders-of-the-day"

#: What lists or tells something that has a form of its own for programs.
LISTINGS = {
    "next": f"next {JOB} -n 3",
    "jobs": "jobs",
    "job": f"job {JOB}",
    "runs": "runs",
    "run": "run {good}",
    "why": "why {bad}",
    "log": "log {good}",
    "schedule": f"schedule {JOB} date=2031-01-02 --at 2031-01-02T09:00:00Z",
    "adhoc": "adhoc --at 2031-01-02T09:00:00Z -- echo one two",
    "resume": "resume --all --dry-run",
    "backfill": f"backfill {JOB} --from 2026-01-01 --to 2026-01-03 --dry-run",
    "backfills": "backfills",
    "sql": "sql 'FROM runs ORDER BY run_id LIMIT 2'",
    "check": "check {jobs}",
    "doctor": "doctor",
    "stats": "stats",
    "retention": "retention",
    "archive": "archive --dry-run",
}
#: What tells in a sentence what it has done.
DEEDS = {
    "output": "output {good}",
    "start": "start {later}",
    "skip": "skip {latest}",
    "signal": "signal CONT {running}",
    "stop": "stop {running}",
    "rerun": "rerun {good}",
    "mark": "mark success {bad}",
    "pause": "pause",
    "revert": f"revert {JOB} 1",
    "reload": "reload",
    "backup": "backup",
    "config": "config {jobs}",
    "new": "new --list",
    "completion": "completion zsh",
    "version": "version",
}
#: These go on, or need a server that is stopped, or write a page: other tests run them.
ELSEWHERE = {"watch", "serve", "demo", "restore", "compact", "notify-test", "report"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("terminal"), JOBS) as server:
        with server.client() as client:
            client.pause(everything=True, reason="a reason that takes some room to tell to everybody")
        yield server


def prepared(client: Client, server: Served) -> dict[str, str]:
    """New runs for the commands to act on, by the names that the lines have for them."""
    good = client.schedule(JOB, date="2026-01-02").result()
    bad = client.schedule("breaks").wait()
    later, latest = client.schedule_runs("breaks", at="2031-01-01", count=2)
    running = client.schedule("sleeps")
    running._wait_while_starting()
    named = {"good": good, "bad": bad, "later": later, "latest": latest, "running": running}
    return {name: run.run_id for name, run in named.items()} | {"jobs": str(server.jobs)}


def filled(lines: Mapping[str, str], words: Mapping[str, str], head: str = "") -> dict[str, str]:
    """The lines with the runs that they act on."""
    return {f"{head}{name}": f"{head}{line.format(**words)}" for name, line in lines.items()}


def printed(server: Served, lines: Mapping[str, str]) -> dict[str, str]:
    """What each command prints into a pipe."""
    command = [sys.executable, "-c", DRIVER, *lines.values()]
    ended = subprocess.run(
        command, env=dict(server.env), stdout=subprocess.PIPE, stderr=None, text=True, timeout=60
    )
    assert ended.returncode == 0
    return _apart(lines, ended.stdout)


def shown(server: Served, columns: int, lines: Mapping[str, str]) -> dict[str, str]:
    """What each command shows on a terminal of so many columns."""
    main, sub = pty.openpty()
    fcntl.ioctl(sub, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    kept = {name: value for name, value in server.env.items() if name not in {"COLUMNS", "NO_COLOR"}}
    command = [sys.executable, "-c", DRIVER, *lines.values()]
    told = b""
    with subprocess.Popen(
        command, env={**kept, "TERM": "xterm-256color"}, stdin=sub, stdout=sub, stderr=sub
    ) as process:
        os.close(sub)
        while piece := _read(main):
            told += piece
    os.close(main)
    text = told.decode().replace("\r\n", "\n")
    assert process.returncode == 0, text
    return _apart(lines, text)


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, 65_536)
    except OSError:  # the other end is closed
        return b""


def _apart(lines: Mapping[str, str], text: str) -> dict[str, str]:
    """What each of several commands printed."""
    parts = text.split("\x1e")[1:]
    assert len(parts) == len(lines)
    return {name: part.partition("\n")[2] for name, part in zip(lines, parts, strict=True)}


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*[mK]", "", text)


def test_every_command_is_run_by_these_tests():
    names = {command.name for command in app.registered_commands}
    assert names == LISTINGS.keys() | DEEDS.keys() | ELSEWHERE


def test_every_command_fits_its_terminal_and_has_colours_unless_told(server: Served):
    narrow, wide, grey = "", "COLUMNS=140 ", "NO_COLOR=1 "
    lines: dict[str, str] = {}
    with server.client() as client:
        for head in (narrow, wide):
            words = prepared(client, server)
            lines |= filled(LISTINGS | DEEDS, words, head)
        lines |= filled(LISTINGS, words, grey)
    told = shown(server, 80, lines)

    for name, text in told.items():
        columns = 140 if name.startswith(wide) else 80
        for line in plain(text).splitlines():
            assert cell_len(line) <= columns or name.endswith(("backup", "completion")), (name, line)
            assert line == line.rstrip(), (name, line)
        if name.startswith(grey):
            assert not re.search(r"\x1b\[[0-9;]*m", text), name
    for head in (narrow, wide):
        assert "\x1b[" in told[f"{head}runs"]
        # What one needs to go on with is whole, and so is what only this place tells.
        runs = plain(told[f"{head}runs"])
        assert "date=2026-01-02 region=emea" in runs
        assert "exit code 3" in runs
        assert "(Europe/London)" in runs
        assert "…" not in plain(told[f"{head}run"] + told[f"{head}job"] + told[f"{head}log"])
        assert "a reason that takes some room" in " ".join(plain(told[f"{head}pause"]).split())
        assert "all is lost" in plain(told[f"{head}why"])


def test_in_a_pipe_tables_have_no_escapes_json_is_a_list_of_objects_and_csv_has_its_names(server: Served):
    with server.client() as client:
        words = prepared(client, server)
    table = filled(LISTINGS, words)
    lines = dict(table) | {
        f"{name} as {format}": _with_format(line, format)
        for name, line in table.items()
        for format in ("json", "csv")
    }
    told = printed(server, lines | filled(DEEDS, words))

    assert [name for name, text in told.items() if "\x1b" in text] == []
    for name in LISTINGS:
        rows = json.loads(told[f"{name} as json"])
        assert isinstance(rows, list), name
        assert all(isinstance(row, dict) for row in rows), name
        text = told[f"{name} as csv"]
        heads, *cells = csv.reader(io.StringIO(text)) if text.strip() else [[]]
        assert all(len(row) == len(heads) for row in cells), name
        if rows and name != "resume":  # whose JSON is the plan as it is
            assert set(heads) <= set(rows[0]), name
            assert cells, name


def _with_format(line: str, format: str) -> str:
    words = shlex.split(line)
    return shlex.join([words[0], "--format", format, *words[1:]])


def test_times_are_told_in_utc_where_one_asks(server: Served):
    with server.client() as client:
        words = prepared(client, server)
        client.schedule("breaks", at="2031-07-01T12:00:00Z")
    lines = {"here": "runs -n 1", "utc": "runs -n 1 --utc", "run": f"run {words['good']} --utc"}
    told = printed(server, {"here": lines["here"]}) | printed(server, {n: lines[n] for n in ("utc", "run")})
    assert "2031-07-01 13:00:00" in told["here"]
    assert "scheduled (UTC)" in told["utc"]
    assert "2031-07-01 12:00:00" in told["utc"]
    assert re.search(r"^started +\S+ \S+ UTC$", told["run"], re.MULTILINE)
