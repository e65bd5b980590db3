"""The dashboards as a process: it serves on its socket, and leaves with its stdin."""

import json
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import httpx2
import pytest

from apsis_nb.views.pages import page_files
from apsis_nb.views.process import NICE

PATIENCE_S = 60.0


@pytest.fixture
def process(server, tmp_path):
    path = tmp_path / "dash.sock"
    command = [sys.executable, "-m", "apsis_nb.views.process", "--socket", str(path), "--prefix", "/dash"]
    command += ["--api", server.url]
    with (tmp_path / "dash.log").open("w") as log:
        child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stderr=log,
            env=dict(server.env),
            text=True,
            start_new_session=True,
        )
    child.stdin.write(json.dumps({"key": "k", "token": server.token}) + "\n")
    child.stdin.flush()
    yield child, path
    child.kill()
    child.wait(timeout=PATIENCE_S)
    child.stdin.close()


def wait_for(path, child):
    """Until the socket takes connections, which it does when the pages can be served."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        assert child.poll() is None, path.with_suffix(".log").read_text()
        with closing(socket.socket(socket.AF_UNIX)) as asked:
            if asked.connect_ex(str(path)) == 0:
                return httpx2.Client(
                    transport=httpx2.HTTPTransport(uds=str(path)), base_url="http://localhost"
                )
        threading.Event().wait(0.05)
    raise TimeoutError(f"nobody answers on {path}")


def test_it_serves_every_page_and_leaves_when_its_stdin_closes(process):
    child, path = process
    with wait_for(path, child) as http:
        for page in page_files():
            answer = http.get(f"/dash/{page}", headers={"X-Apsis-Session": "s"})
            assert answer.status_code == 200
            assert "apsis_nb" in answer.text
        assert oct(path.stat().st_mode)[-3:] == "600"
        group = Path(f"/proc/{child.pid}/autogroup")
        assert not group.exists() or group.read_text().endswith(f"nice {NICE}\n")  # what is due comes first

    child.stdin.close()
    assert child.wait(timeout=PATIENCE_S) == 0
    assert not path.exists()


def test_each_page_is_a_short_file():
    for page, file in page_files().items():
        assert len(file.read_text().splitlines()) <= 60, page
