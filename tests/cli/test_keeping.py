"""Backup, restore and compact as people call them."""

import json
import os
import pty
import subprocess
from pathlib import Path

from apsis_nb.store import backups_in
from tests.cli.conftest import COMMAND, Shell
from tests.client.serving import Served, served


def test_a_backup_goes_where_it_is_told_and_its_folder_is_printed(shell: Shell, server: Served):
    path = shell.good("backup", "kept").strip()
    assert Path(path).parent == shell.folder / "kept"
    (facts,) = json.loads(shell.good("backup", "other", "--format", "json"))
    assert facts.keys() == {"path", "at", "runs", "log_rows", "bytes"}
    assert [str(backup.path) for backup in backups_in(shell.folder / "other")] == [facts["path"]]
    (shell.folder / "file").touch()
    ended = shell("backup", "file")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith("apsis-nb: no backup was made: ")
    with server.client() as client:
        made = client.backup()
        assert client.backups() == {"backups": [made], "under_way": None}


def test_on_a_terminal_it_says_what_was_copied(shell: Shell):
    terminal, side = pty.openpty()
    ended = subprocess.run(
        [COMMAND, "backup", "kept"],
        cwd=shell.folder,
        env=dict(shell.env),
        stdout=subprocess.PIPE,
        stderr=side,
        text=True,
        timeout=60,
    )
    os.close(side)
    told = os.read(terminal, 10_000).decode()
    os.close(terminal)
    assert ended.returncode == 0
    assert " lines of log, " in told.splitlines()[-1]


def test_a_store_is_replaced_only_if_one_says_so_and_never_beside_its_server(tmp_path: Path):
    with served(tmp_path) as server:
        shell, state = Shell(tmp_path, server.env), str(server.state)
        shell("schedule", "greet/hello", "--wait")
        backup = shell.good("backup", "kept").strip()
        for words in (("restore", backup, "--yes"), ("compact",)):
            ended = shell(*words, "--state-dir", state)
            assert (ended.returncode, ended.stdout) == (1, "")
            assert f"a server with the state {state} runs: {server.url} (process " in ended.stderr

    asked = shell("restore", backup, "--state-dir", state, stdin="n\n")
    assert asked.returncode == 1
    assert " has 1 runs, up to 20" in asked.stderr
    assert not list(server.state.glob("replaced-*"))
    assert shell("restore", "jobs", "--state-dir", state).stderr.startswith("apsis-nb: jobs is no backup")

    done = shell("restore", backup, "--state-dir", state, stdin="y\n")
    (aside,) = server.state.glob("replaced-*")
    assert done.returncode == 0
    assert done.stderr.endswith(f"restored: 1 runs\nwhat was there is in {aside}\n")
    fresh = shell("restore", backup, "--state-dir", "new")
    assert (fresh.returncode, fresh.stderr) == (0, "restored: 1 runs\n")
    told = shell.good("compact", "--state-dir", "new")
    assert " bytes freed: " in told
    assert "there is no run store at" in shell("compact", "--state-dir", "nowhere").stderr
