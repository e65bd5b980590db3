"""A server under systemd: the unit is right, and systemd is told what it wants to hear."""

import os
import socket
import stat
import subprocess
from pathlib import Path

import pytest

from apsis_nb.cli.service import MARK
from apsis_nb.server import systemd
from tests.cli.conftest import COMMAND, Shell
from tests.conftest import needs

#: In the place of systemd: notes what it is asked, and answers as the file `answers` says.
SYSTEMCTL = """#!/bin/sh
echo "$*" >> "$ASKED"
case "$*" in
  *" show "*) printf 'ActiveState=active\\nMainPID=4711\\nUnitFileState=enabled\\nNRestarts=2\\n' ;;
  *) [ ! -e "$ASKED.refuse" ] || { echo "Failed to connect to bus: No medium found" >&2; exit 1; } ;;
esac
"""


@pytest.fixture
def machine(alone: Shell) -> Shell:
    """A shell on a machine with a systemd of the test; `asked` has what that was asked."""
    (alone.folder / "bin").mkdir()
    program = alone.folder / "bin/systemctl"
    program.write_text(SYSTEMCTL)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    (alone.folder / "jobs").mkdir()
    more = {
        "PATH": f"{alone.folder}/bin:{os.environ['PATH']}",
        "ASKED": f"{alone.folder}/asked",
        "XDG_CONFIG_HOME": f"{alone.folder}/config",
    }
    return Shell(alone.folder, {**alone.env, **more})


def asked(machine: Shell) -> list[str]:
    file = machine.folder / "asked"
    return file.read_text().splitlines() if file.exists() else []


def test_the_unit_is_one_that_systemd_takes(alone: Shell):
    needs("systemd-analyze")
    jobs = alone.folder / 'my "jobs" 100% $HOME \\x'
    jobs.mkdir()
    text = alone.good("service", "install", str(jobs), "--print", "--set", "log.file=x.log")
    unit = alone.folder / "apsis-nb-test.service"
    unit.write_text(text)
    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False
    )
    told = [line for line in checked.stderr.splitlines() if "apsis-nb-test" in line]
    assert (checked.returncode, told) == (0, [])
    assert r'"jobs=' in text
    assert r'my \"jobs\" 100%% $$HOME \\x"' in text
    assert f'"log.file={alone.folder}/x.log"' in text
    assert "state_dir=" in text


def test_it_is_installed_told_of_and_taken_away(machine: Shell):
    unit = machine.folder / "config/systemd/user/apsis-nb-mine.service"
    done = machine("service", "install", "--set", "name=mine", APSIS_NB_DRAIN="1")
    assert (done.returncode, done.stdout) == (0, "apsis-nb-mine.service runs: http://127.0.0.1:5577\n")
    assert f"{unit} is written\n" in done.stderr
    assert "it does not see APSIS_NB_DRAIN: write them in a file" in done.stderr
    assert asked(machine) == [
        "--user daemon-reload",
        "--user enable apsis-nb-mine.service",
        "--user restart apsis-nb-mine.service",
    ]
    assert unit.read_text().startswith(MARK)
    row = machine("service", "status", "--format", "csv").stdout.splitlines()[1]
    assert row == f"mine,active,4711,enabled,2,{unit}"
    again = machine("service", "install", "--set", "name=mine", "--set", "drain=true")
    assert again.returncode == 0
    assert '"drain=true"' in unit.read_text()
    assert "\nTimeoutStopSec=infinity\n" in unit.read_text()
    machine.good("service", "uninstall")
    assert asked(machine)[-2:] == ["--user disable --now apsis-nb-mine.service", "--user daemon-reload"]
    assert list(unit.parent.iterdir()) == []


def test_what_systemd_refuses_is_told_in_one_line(machine: Shell):
    (machine.folder / "asked.refuse").touch()
    ended = machine("service", "install", "--set", "name=mine")
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1] == (
        "apsis-nb: `systemctl --user daemon-reload` failed: Failed to connect to bus: No medium found"
    )


def test_the_unit_of_somebody_else_is_left_as_it_is(machine: Shell):
    unit = machine.folder / "config/systemd/user/apsis-nb-mine.service"
    unit.parent.mkdir(parents=True)
    unit.write_text("[Unit]\n")
    ended = machine("service", "install", "--set", "name=mine")
    assert ended.returncode == 1
    assert "was not made by apsis-nb, and is left as it is: give the server another name" in ended.stderr
    assert unit.read_text() == "[Unit]\n"
    assert asked(machine) == []


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("install", "none"), "there is no such folder; give the folder of the job files, or make it"),
        (("install", "--set", "bindd=1"), "unknown key 'bindd': did you mean 'bind'?"),
        (("uninstall",), "there is no service of apsis-nb: apsis-nb service install makes one"),
        (("status", "mine"), "there is no service of apsis-nb: apsis-nb service install makes one"),
    ],
)
def test_what_is_wrong_is_told(machine: Shell, words: tuple[str, ...], says: str):
    ended = machine("service", *words)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert says in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


# ---- what systemd is told ----


@pytest.fixture
def told(tmp_path: Path) -> socket.socket:
    """The socket of a systemd of the test."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listening.bind(str(tmp_path / "notify"))
    listening.settimeout(60)
    return listening


def test_a_server_says_that_it_is_ready_that_it_goes_on_and_that_it_stops(alone: Shell, told: socket.socket):
    (alone.folder / "jobs").mkdir()
    env = {**alone.env, "NOTIFY_SOCKET": str(alone.folder / "notify"), "WATCHDOG_USEC": "200000"}
    server = subprocess.Popen(
        [COMMAND, "serve", "--bind", "127.0.0.1:0", "--dashboards", "off"],
        cwd=alone.folder,
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        ready = told.recv(4096).decode()
        assert ready.startswith(f"READY=1\nSTATUS=serves {alone.folder}/jobs at http://127.0.0.1:")
        assert [told.recv(4096) for _ in range(3)] == [b"WATCHDOG=1"] * 3
        server.terminate()
        while (last := told.recv(4096)) == b"WATCHDOG=1":
            pass
        assert last == b"STOPPING=1"
        assert server.wait(60) == 0
    finally:
        server.kill()
        server.wait()
        told.close()


def test_without_systemd_nobody_is_told(told: socket.socket, tmp_path: Path):
    systemd.tell("READY=1", {})
    systemd.tell("READY=1", {"NOTIFY_SOCKET": str(tmp_path / "nobody")})
    systemd.tell("last", {"NOTIFY_SOCKET": str(tmp_path / "notify")})
    assert told.recv(100) == b"last"
    told.close()


@pytest.mark.parametrize(
    ("env", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "2000000"}, 2.0),
        ({"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "7"}, 2.0),
        ({"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "8"}, None),
    ],
)
def test_the_watchdog_waits_for_the_process_that_systemd_started(env: dict[str, str], seconds: float | None):
    assert systemd.watchdog_s(env, pid=7) == seconds
