"""Backup, restore, compact and archive as people call them."""

import json
import os
import pty
import subprocess
from pathlib import Path

import pytest

import apsis_nb as ap
from apsis_nb.client import NoSuch, RequestRefused
from apsis_nb.store import Store, backups_in
from tests.cli.conftest import COMMAND, Shell
from tests.client.serving import Served, served
from tests.store.archived import RUNS, make_history
from tests.store.made import Clock


def test_a_backup_goes_where_it_is_told_and_its_folder_is_printed(shell: Shell, server: Served):
    path = shell.good("backup", "kept").strip()
    assert Path(path).parent == shell.folder / "kept"
    (facts,) = json.loads(shell.good("backup", "other", "--format", "json"))
    assert facts.keys() == {"path", "at", "runs", "log_rows", "bytes", "missing"}
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
        shell("schedule", "greet/hello", "--wait")
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
    undo = f"restore {aside} --state-dir {state}"
    assert done.stderr.endswith(
        f"restored: 1 runs\nwhat was there is in {aside}; to put it back:\n  apsis-nb {undo}\n"
    )
    listed = shell.good("restore", "--state-dir", state, "--format", "json")
    assert [(one["what"], one["runs"], one["path"]) for one in json.loads(listed)] == [
        ("put aside", 2, str(aside))
    ]
    undone = shell(*undo.split(), "--yes")
    assert (undone.returncode, undone.stderr.splitlines()[0]) == (0, "restored: 2 runs")
    assert not aside.exists()
    nowhere = shell("restore", str(aside), "--state-dir", state)
    assert nowhere.stderr.startswith(f"apsis-nb: {aside} is no backup")
    listed = shell.good("restore", "--state-dir", state)
    assert listed.split()[:4] == ["what", "up", "to", "runs"]
    assert shell("restore", "--state-dir", "new").stderr.startswith("no backup is in ")
    fresh = shell("restore", backup, "--state-dir", "new")
    assert (fresh.returncode, fresh.stderr) == (0, "restored: 1 runs\n")
    told = shell.good("compact", "--state-dir", "new")
    assert " bytes freed: " in told
    assert "there is no run store at" in shell("compact", "--state-dir", "nowhere").stderr


def test_old_months_go_into_the_archive_and_are_found_there(tmp_path: Path):
    (tmp_path / "old").mkdir()
    with Store.open(tmp_path / "old/runs.duckdb", threads=1, now=Clock()) as store:
        make_history(store, tmp_path / "old")
    with served(tmp_path) as server, server.client() as client:
        shell, state = Shell(tmp_path, server.env), server.state
        *_, told = client.import_runs(tmp_path / "old")
        assert told["imported"] == RUNS
        before = client.runs(since="2025-12-01", until="2026-03-02")
        december = before[before.scheduled_at < "2026-01-01"]
        name = december.run_id[december.state == "success"].iloc[0]
        facts, log, words = client.run(name).facts, client.run(name).log, shell.good("output", name)

        assert client.archived() == {"months": [], "under_way": None}
        (plan, *_) = client.archive("1d", dry_run=True)
        assert (plan["month"], plan["runs"], plan["why_not"]) == ("2025-12", 83, None)
        assert plan["bytes"] > 0
        planned = shell("archive", "--dry-run", "--older-than", "1d")
        assert planned.stderr == f"{RUNS} runs would be moved into the archive\n"
        done = shell("archive", "--older-than", "1d", "--state-dir", str(state))
        assert (done.returncode, done.stderr) == (0, f"{RUNS} runs moved into the archive\n")
        assert done.stdout.split()[:3] == ["month", "runs", "bytes"]
        assert [month["folder"] for month in client.archived()["months"]] == [
            "2025-12", "2026-01", "2026-02", "2026-03"
        ]  # fmt: skip

        assert client.runs(since="2025-12-01", until="2026-03-02").equals(before)
        assert client.run(name).facts == facts
        assert client.run(name).log.equals(log)
        assert shell.good("output", name) == words
        assert client.sql("SELECT count(*) AS n FROM runs_all").n[0] == RUNS
        assert client.sql("SELECT count(*) AS n FROM runs").n[0] == 0
        with pytest.raises(RequestRefused, match=f"{name} is in the archive, .* --restore 2025-12"):
            client.run(name).mark("failure")
        assert "older_than: 'soon' is no duration" in shell("archive", "--older-than", "soon").stderr
        with pytest.raises(NoSuch, match="the archive has no 2024-01; it has 2025-12, 2026-01"):
            client.restore_archived("2024-01")
        ended = shell("archive", "--restore", "2025-12")
        assert (ended.returncode, ended.stderr) == (0, "83 runs moved into the database\n")
        client.run(name).mark("failure")
        assert client.runs(since="2025-12-01", until="2026-03-02").run_id.equals(before.run_id)

    alone = shell("archive", "--state-dir", str(state), "--older-than", "1d")
    assert (alone.returncode, alone.stderr) == (0, "83 runs moved into the archive\n")
    assert shell("archive", "--state-dir", str(state)).stderr == "no month is old enough\n"
    with ap.open(state / "archive") as archive, ap.open(state) as whole:
        assert archive.runs(since="2025-12-01").run_id.equals(before.run_id)
        assert whole.runs(since="2025-12-01").run_id.equals(before.run_id)
        assert archive.run(name).output() == words
    with ap.open(state / "archive/2025-12", state / "archive/2026-01") as two:
        assert set(two.runs(since="2025-12-01").source) == {
            str(state / "archive/2025-12"),
            str(state / "archive/2026-01"),
        }
    for words_, said in (
        (("--older-than", "soon"), "'soon' is no duration"),
        (("--older-than", "-1d"), "must be 0 or more, not -1d"),
        (("--restore", "2024-01"), "the archive has no 2024-01; it has 2025-12"),
    ):
        refused = shell("archive", "--state-dir", str(state), *words_)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert said in refused.stderr
    assert shell("archive", "--restore", "2025-12", "--dry-run").returncode == 2
    assert "there is no run store at" in shell("archive", "--state-dir", "nowhere").stderr
