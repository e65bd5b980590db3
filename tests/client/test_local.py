"""A server of one's own: started once, joined after that, and it outlives who started it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from apsis_nb.client import Client
from apsis_nb.config import server_of
from apsis_nb.local import StartFailed, start_or_join
from tests.client.serving import environment, write_jobs

#: What a notebook does in its first cell.
LOCAL = """
import sys
import apsis_nb as ap
client = ap.local(sys.argv[1], state_dir=sys.argv[2], dashboards=False)
print(client.url)
"""
HELLO = {"hello": "program: {type: shell, command: echo hello}\n"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name, value in environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    write_jobs(tmp_path / "jobs", HELLO)
    yield tmp_path
    server = server_of(tmp_path / "state")
    if server is not None:
        handle = os.pidfd_open(server.pid)
        os.kill(server.pid, signal.SIGTERM)
        ended = subprocess.run(["tail", "--pid", str(server.pid), "-f", "/dev/null"], timeout=30)
        os.close(handle)
        assert ended.returncode == 0


def test_the_second_who_asks_joins_the_first(folder: Path):
    told: list[str] = []
    where = {"jobs": folder / "jobs", "state_dir": folder / "state", "dashboards": False}
    first = start_or_join(**where, tell=told.append)
    assert oct((folder / "state" / "server.log").stat().st_mode & 0o777) == "0o600"
    assert [line.partition(" ")[0] for line in told] == ["starting", "it"]
    assert start_or_join(**where, tell=told.append) == first
    assert len(told) == 2
    with Client(*first) as client:
        assert client.schedule("hello").result(20).output() == "hello\n"


def test_the_server_outlives_the_process_that_started_it(folder: Path):
    command = [sys.executable, "-c", LOCAL, str(folder / "jobs"), str(folder / "state")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=90)
    assert ended.returncode == 0, ended.stderr
    server = server_of(folder / "state")
    assert server is not None
    assert ended.stdout.splitlines()[-1] == server.url
    with Client(server.url, server.token) as client:
        assert client.schedule("hello").result(20).state == "success"


def test_two_who_start_at_once_get_one_server(folder: Path):
    command = [sys.executable, "-c", LOCAL, str(folder / "jobs"), str(folder / "state")]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    urls = {p.communicate(timeout=90)[0].splitlines()[-1] for p in both}
    assert len(urls) == 1


def test_a_missing_job_folder_is_made(folder: Path):
    url, token = start_or_join(folder / "new" / "jobs", state_dir=folder / "state", dashboards=False)
    with Client(url, token) as client:
        assert list(client.jobs) == []
    assert (folder / "new" / "jobs").is_dir()


def test_a_server_that_does_not_come_up_says_why(folder: Path):
    (folder / "state").mkdir()
    (folder / "state" / "runs.duckdb").write_text("this is no database")
    with pytest.raises(StartFailed, match=r"ended with code 1; .*server\.log ends with\n.*runs\.duckdb"):
        start_or_join(folder / "jobs", state_dir=folder / "state", dashboards=False)


def test_a_file_is_no_job_folder(folder: Path):
    with pytest.raises(StartFailed, match="is no folder"):
        start_or_join(folder / "jobs" / "hello.yaml", state_dir=folder / "state")
