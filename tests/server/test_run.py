"""A server process from its first to its last moment."""

import contextlib
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from apsis_nb.config import load_config
from apsis_nb.core.errors import ApsisError
from apsis_nb.server.app import account
from apsis_nb.server.run import bound, serve
from tests.conftest import needs
from tests.server.conftest import until, write_jobs

SERVE = """
import sys
from apsis_nb.config import load_config
from apsis_nb.core.errors import ApsisError
from apsis_nb.server.app import account
from apsis_nb.server.run import bound, serve
settings = dict(a.split("=", 1) for a in sys.argv[1:])
try:
    serve(load_config(None, settings), ready=lambda url: print(url, flush=True))
except ApsisError as error:
    sys.exit(f"error: {error}")
"""


class Process:
    """A server process."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder, self.state_dir = folder, folder / "state"
        if not (folder / "jobs").exists():
            write_jobs(folder / "jobs")
        given = {
            "jobs": str(folder / "jobs"),
            "state_dir": str(self.state_dir),
            "bind": "127.0.0.1:0",
            "dashboards": "off",
        } | settings
        self.log = folder / "log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", SERVE, *(f"{k}={v}" for k, v in given.items())],
                stdout=subprocess.PIPE,
                stderr=log,
                env=os.environ | {"XDG_RUNTIME_DIR": str(folder), "HOME": str(folder)},
                text=True,
            )

    @property
    def link(self) -> str:
        """The link that it printed when it was ready."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        assert line, self.log.read_text()
        return line

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(30)

    @property
    def runtime_files(self) -> list[Path]:
        return [*self.folder.glob("apsis_nb/runtime/*.json"), *self.state_dir.glob("server.json")]


@contextlib.contextmanager
def process(folder: Path, **settings: str) -> Iterator[Process]:
    started = Process(folder, **settings)
    try:
        yield started
    finally:
        if started.process.poll() is None:
            started.process.kill()
        started.process.wait()
        assert started.process.stdout is not None
        started.process.stdout.close()


def api(server: dict[str, Any], method: str, path: str, **more: Any) -> httpx2.Response:
    headers = {"Authorization": f"Bearer {server['token']}"}
    return httpx2.request(
        method, f"{server['url']}/api/v1{path}", headers=headers, trust_env=False, verify=False, **more
    )


def test_a_server_tells_where_it_is_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with process(tmp_path) as server:
        link = server.link
        files = server.runtime_files
        assert len(files) == 2
        told = json.loads(files[0].read_text())
        assert link == f"{told['url']}/?token={told['token']}"
        assert not told["url"].endswith(":0")
        for file in (*files, server.state_dir / "token", server.state_dir / "secret"):
            assert file.stat().st_mode & 0o077 == 0
        assert api(told, "GET", "/alive").json()["alive"] is True
        response = httpx2.get(link, trust_env=False, verify=False)
        assert response.status_code == 303
        assert server.end() == 0
        assert server.runtime_files == []
        with pytest.raises(httpx2.ConnectError):
            api(told, "GET", "/alive")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_in_order_although_somebody_listens(tmp_path: Path, number: int) -> None:
    with process(tmp_path) as server:
        told = {"url": server.link.split("/?")[0], "token": (server.state_dir / "token").read_text()}
        headers = {"Authorization": f"Bearer {told['token']}"}
        with httpx2.stream(
            "GET", f"{told['url']}/api/v1/events", headers=headers, trust_env=False, verify=False
        ) as events:
            lines = events.iter_lines()
            assert next(lines)
            assert server.end(number) == 0
            assert list(lines)[-1] == ""  # ended, not cut off
    assert "Traceback" not in server.log.read_text()


def test_programs_go_on_without_the_server_and_the_next_one_finds_them(tmp_path: Path) -> None:
    release = tmp_path / "release"
    os.mkfifo(release)
    command = {"job": {"program": f"echo begun; read line < {release}; echo ended $line"}}
    with process(tmp_path) as server:
        told = {"url": server.link.split("/?")[0], "token": (server.state_dir / "token").read_text()}
        (run,) = api(told, "POST", "/runs", json=command).json()["runs"]
        where = f"/runs/{run['run_id']}"
        until("it runs", lambda: api(told, "GET", f"{where}/outputs/output").content == b"begun\n")
        server.end()
    with process(tmp_path) as server:
        told = {"url": server.link.split("/?")[0], "token": (server.state_dir / "token").read_text()}
        assert api(told, "GET", where).json()["state"] == "running"
        release.write_text("well\n")
        until("it ends", lambda: api(told, "GET", where).json()["state"] == "success")
        assert api(told, "GET", f"{where}/outputs/output").content == b"begun\nended well\n"
        server.end()


def begin(server: dict[str, Any], release: Path) -> str:
    """Start a program that ends when `release` is written to; the path of its run."""
    os.mkfifo(release)
    command = {"job": {"program": f"echo begun; read line < {release}"}}
    (run,) = api(server, "POST", "/runs", json=command).json()["runs"]
    where = f"/runs/{run['run_id']}"
    until("it runs", lambda: api(server, "GET", where).json()["state"] == "running")
    return where


def test_with_drain_it_waits_for_its_programs_and_starts_nothing_more(tmp_path: Path) -> None:
    jobs = {"beat": "schedule: {type: interval, interval: 1}\nprogram: {type: no-op}\n"}
    log = tmp_path / "server.log"
    write_jobs(tmp_path / "jobs", jobs)
    with process(tmp_path, drain="true", **{"log.file": str(log)}) as server:
        told = {"url": server.link.split("/?")[0], "token": (server.state_dir / "token").read_text()}
        where = begin(told, tmp_path / "release")
        run_id = where.removeprefix("/runs/")
        server.process.send_signal(signal.SIGTERM)
        waits = f"stops when {run_id} "
        until(
            "it says what it waits for", lambda: waits in log.read_text() and waits in server.log.read_text()
        )
        beats = api(told, "GET", "/runs", params={"job_id": "beat", "state": "success"}).json()["runs"]
        refused = api(told, "POST", "/runs", json={"job_id": "beat"})
        assert refused.status_code == 409
        assert "about to end" in refused.json()["detail"]
        assert api(told, "GET", "/alive").json()["draining"] is True
        (tmp_path / "release").write_text("well\n")
        assert server.process.wait(30) == 0
    with process(tmp_path) as server:
        told = {"url": server.link.split("/?")[0], "token": (server.state_dir / "token").read_text()}
        assert api(told, "GET", where).json()["state"] == "success"
        lines = api(told, "GET", f"{where}/log").json()["log"]
        assert [line["state"] for line in lines][-1] == "success"
        assert not list((server.state_dir / "runs").glob("*/r*"))  # the first server saw it to its end
        until("it catches up", lambda: len(beats) < len(api(told, "GET", "/runs").json()["runs"]) - 1)
        server.end()


def test_a_second_signal_ends_the_waiting_and_the_program_goes_on(tmp_path: Path) -> None:
    with process(tmp_path, drain="true") as server:
        told = {"url": server.link.split("/?")[0], "token": (server.state_dir / "token").read_text()}
        where = begin(told, tmp_path / "release")
        server.process.send_signal(signal.SIGTERM)
        until("it waits", lambda: "stops when" in server.log.read_text())
        assert server.end() == 0
    with process(tmp_path) as server:
        told = {"url": server.link.split("/?")[0], "token": (server.state_dir / "token").read_text()}
        assert api(told, "GET", where).json()["state"] == "running"
        (tmp_path / "release").write_text("well\n")
        until("it ends", lambda: api(told, "GET", where).json()["state"] == "success")
        server.end()


def test_with_drain_and_nothing_to_wait_for_it_ends_at_once(tmp_path: Path) -> None:
    with process(tmp_path, drain="true") as server:
        assert server.link
        assert server.end() == 0
        assert "stops when" not in server.log.read_text()


def test_large_outputs_take_no_memory_of_the_server(tmp_path: Path) -> None:
    size = 200_000_000
    with process(tmp_path) as running:
        assert running.link
        server = json.loads(running.runtime_files[0].read_text())

        def output_of(size: int) -> str:
            job = {"program": f"yes 'a line of some text' | head -c {size}"}
            (made,) = api(server, "POST", "/runs", json={"job": job}).json()["runs"]
            path = f"/runs/{made['run_id']}"
            ended = until("it ends", lambda: _if_ended(api(server, "GET", path).json()), 60)
            assert (ended["state"], ended["message"]) == ("success", None)
            return f"{path}/outputs/output"

        small = output_of(1000)
        assert len(api(server, "GET", small).content) == 1000
        before = _most_memory(running.process.pid)
        large = output_of(size)
        headers = {"Authorization": f"Bearer {server['token']}"}
        url = f"{server['url']}/api/v1{large}"
        with httpx2.stream("GET", url, headers=headers, trust_env=False, verify=False) as answer:
            assert sum(len(piece) for piece in answer.iter_bytes()) == size
        assert len(api(server, "GET", large, params={"offset": -100}).content) == 100
        assert _most_memory(running.process.pid) - before < 50_000_000


def _if_ended(facts: dict[str, Any]) -> dict[str, Any] | None:
    return facts if facts["finished_at"] else None


def _most_memory(pid: int) -> int:
    """The most memory that a process has had, bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def test_what_changes_something_is_logged_with_who_and_a_token_never(tmp_path: Path) -> None:
    with process(tmp_path, **{"log.level": "debug"}) as server:
        link = server.link
        url, token = link.split("/?token=")
        with httpx2.Client(base_url=url, trust_env=False) as client:
            client.get(f"/dash/overview?token={token}")
            client.get("/dash/overview?token=wrong-token")
            client.post("/login", data={"token": token}, headers={"Origin": url})
            client.headers["Authorization"] = f"Bearer {token}"
            client.post("/api/v1/jobs/reload?dry_run=1")
            client.get("/api/v1/jobs")
        server.end()
        log = server.log.read_text()
        secret = (server.state_dir / "secret").read_text().strip()
    user = account()
    assert f"{user}: POST /login 303" in log
    assert f"{user}: POST /api/v1/jobs/reload 200" in log
    assert "GET /api/v1/jobs" not in log
    for text in (token, "wrong-token", secret):
        assert text not in log


def test_a_second_server_of_one_state_is_refused_in_one_line(tmp_path: Path) -> None:
    with process(tmp_path) as first:
        assert first.link
        with process(tmp_path) as second:
            assert second.process.wait(30) == 1
        lines = first.log.read_text().splitlines()
        assert "error:" in lines[-1]
        assert str(first.process.pid) in lines[-1]
        assert "Traceback" not in first.log.read_text()


def refusal(folder: Path, **settings: str) -> str:
    with process(folder, **settings) as server:
        assert server.process.wait(30) == 1
    (line,) = [line for line in server.log.read_text().splitlines() if line.startswith("error:")]
    assert "Traceback" not in server.log.read_text()
    return line


def test_an_address_in_use_is_told_in_one_line(tmp_path: Path) -> None:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as taken:
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        assert f"cannot use {bind} (Address already in use)" in refusal(tmp_path, bind=bind)


def test_small_answers_do_not_wait_for_more_to_send(tmp_path: Path) -> None:
    settings = {"jobs": str(tmp_path), "bind": "127.0.0.1:0"}
    with contextlib.closing(bound(load_config(None, settings, env={"HOME": str(tmp_path)}))) as listening:
        listening.listen()
        with contextlib.closing(socket.create_connection(listening.getsockname())):
            accepted, _ = listening.accept()
            with accepted:  # asyncio sets TCP_NODELAY for this protocol only
                assert accepted.proto == socket.IPPROTO_TCP


def test_an_address_of_no_machine_is_told_in_one_line(tmp_path: Path) -> None:
    line = refusal(tmp_path, bind="no-such-host.invalid:5577", insecure="true")
    assert "no-such-host.invalid:5577 is no address of this machine" in line


def test_a_job_folder_that_is_not_there_is_told_in_one_line(tmp_path: Path) -> None:
    assert "nowhere" in refusal(tmp_path, jobs=str(tmp_path / "nowhere"))


@pytest.mark.parametrize("bind", ["0.0.0.0:0", "[::]:0"])
def test_others_can_reach_it_only_when_told_to(tmp_path: Path, bind: str) -> None:
    assert "tls" in refusal(tmp_path, bind=bind)


def test_over_tls_it_may_be_reached_from_elsewhere(tmp_path: Path) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", str(key), "-out", str(cert)]
    command = [needs("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    subprocess.run([*command, *subject, *files], check=True, capture_output=True)
    settings = {"tls.cert": str(cert), "tls.key": str(key), "bind": "0.0.0.0:0"}
    with process(tmp_path, **settings) as server:
        url, token = server.link.split("/?token=")
        assert url.startswith("https://127.0.0.1:")
        context = ssl.create_default_context(cafile=str(cert))
        here = url.replace("127.0.0.1", "localhost")
        with httpx2.Client(base_url=here, verify=context, trust_env=False) as client:
            response = client.get("/", params={"token": token})
            assert "Secure" in response.headers["set-cookie"]
            assert client.get("/api/v1/alive").json()["alive"] is True
        server.end()


def test_the_log_may_be_a_file(tmp_path: Path) -> None:
    file = tmp_path / "logs" / "server.log"
    with process(tmp_path, **{"log.file": str(file)}) as server:
        assert server.link
        server.end()
        assert server.log.read_text() == ""
    assert "apsis_nb.server.run: apsis_nb" in file.read_text()


@pytest.fixture
def umask() -> Iterator[None]:
    """What the process of the tests has; a server takes another one."""
    before = os.umask(0o022)
    os.umask(before)
    yield
    os.umask(before)


def test_a_log_that_cannot_be_written_is_told(tmp_path: Path, umask: None) -> None:
    (tmp_path / "file").touch()
    settings = {"log.file": str(tmp_path / "file" / "log"), "jobs": str(tmp_path)}
    with pytest.raises(ApsisError, match=r"log.file: .* cannot be written"):
        serve(load_config(None, settings, env={"HOME": str(tmp_path)}))
