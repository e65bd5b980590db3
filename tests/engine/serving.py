"""A real server process, as a user starts it, for tests that kill it."""

import atexit
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx2


def free_port() -> int:
    """A port of the loopback address that nobody uses now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def wait_for(what: str, is_so: Any, timeout_s: float = 30.0) -> Any:
    """Ask `is_so` again and again until it gives something true, and return that.

    Raises:
        AssertionError: it did not within `timeout_s` seconds.
    """
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        result = is_so()
        if result:
            return result
        time.sleep(0.02)  # between two looks at another process, which tells us nothing by itself
    raise AssertionError(f"not within {timeout_s} s: {what}")


class Server:
    """`apsis-nb serve` on a folder of jobs, that can be killed and started again."""

    def __init__(
        self, jobs: Path, state_dir: Path, *, dashboards: str = "off", port: int | None = None
    ) -> None:
        self.jobs, self.state_dir, self.dashboards = jobs, state_dir, dashboards
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None
        self.log = state_dir.parent / f"{state_dir.name}.log"

    def start(self) -> "Server":
        """Start it and return when it answers."""
        self.spawn()
        wait_for(f"the server answers; its log: {self.log}", self.answers, 60)
        return self

    def spawn(self) -> None:
        """Start it, and do not wait."""
        state = ["--state-dir", str(self.state_dir), "--bind", f"127.0.0.1:{self.port}"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "apsis_nb",
                    "serve",
                    str(self.jobs),
                    *state,
                    "--dashboards",
                    self.dashboards,
                ],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env=os.environ | {"XDG_RUNTIME_DIR": str(self.state_dir.parent)},
            )
        atexit.register(self.process.kill)  # that of a test which failed would stay

    def answers(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(
                f"the server ended with {self.process.returncode}:\n{self.log.read_text()[-3000:]}"
            )
        try:
            return self.get("/api/v1/alive").status_code == 200
        except (httpx2.TransportError, FileNotFoundError):
            return False

    @property
    def token(self) -> str:
        return (self.state_dir / "token").read_text().strip()

    def get(self, path: str, **params: Any) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {self.token}"}
        return httpx2.get(
            self.url + path, headers=headers, params=params, timeout=30, trust_env=False, verify=False
        )

    def post(self, path: str, body: Any = None) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {self.token}"}
        return httpx2.post(
            self.url + path, headers=headers, json=body, timeout=60, trust_env=False, verify=False
        )

    def kill(self) -> None:
        """kill -9, of the server alone."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """Ask it to end, and return its exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


def processes_of(state_dir: Path) -> list[str]:
    """The command lines of all processes that name a state dir, or live in it, with their pid."""
    found = []
    for proc in Path("/proc").iterdir():
        if not proc.name.isdigit() or int(proc.name) == os.getpid():
            continue
        try:
            line = (proc / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            cwd = os.readlink(proc / "cwd")
        except OSError:
            continue
        if str(state_dir) in line or cwd.startswith(str(state_dir)):
            found.append(f"{proc.name} {line}")
    return found
