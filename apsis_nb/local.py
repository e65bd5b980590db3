"""Start a server on this machine, or join the one that runs: one for each state folder."""

import fcntl
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from apsis_nb.client import Client, ClientError
from apsis_nb.config import RunningServer, load_config, server_of
from apsis_nb.core.errors import ApsisError

_START_TIMEOUT_S = 60.0
_LOOK_EVERY_S = 0.05


class StartFailed(ApsisError):
    """A server could not be started; the text ends with the last lines of its log."""


def start_or_join(
    jobs: str | Path = "jobs",
    *,
    name: str | None = None,
    state_dir: str | Path | None = None,
    bind: str = "127.0.0.1:0",
    dashboards: bool = True,
    tell: Callable[[str], None] | None = None,
) -> tuple[str, str]:
    """A server of the job folder: the one that runs, else a new one, which goes on when this process ends.

    Args:
        jobs: folder of job files; made if it is missing.
        name: of the server, by default made from the path of `jobs`; another name is another server with a
            history of its own.
        state_dir: where it keeps its history, by default one for each name.
        bind: HOST:PORT of a new server; port 0 takes a free one.
        dashboards: whether a new server also serves the dashboards.
        tell: is given a line of text when a server is being started, and when it is up.

    Returns:
        Its address and token.

    Raises:
        StartFailed: it ended, or did not answer within a minute.
    """
    settings = {"jobs": str(jobs), "bind": bind, "dashboards": "process" if dashboards else "off"}
    settings |= {"name": name} if name else {}
    settings |= {"state_dir": str(state_dir)} if state_dir else {}
    config = load_config(overrides=settings)
    if config.jobs.exists() and not config.jobs.is_dir():
        raise StartFailed(f"{config.jobs} is no folder: give the folder of the job files")
    config.jobs.mkdir(parents=True, exist_ok=True)
    config.state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    tell = tell or (lambda text: None)
    with _alone(config.state_dir / "start.lock"):
        server = server_of(config.state_dir)
        if server is not None and _answers(server):
            return server.url, server.token
        tell(f"starting a server for {config.jobs} ...")
        began = time.monotonic()
        command = [
            sys.executable,
            "-P",
            "-m",
            "apsis_nb",
            "serve",
        ]  # -P: a `random.py` beside a notebook is not ours
        for key, value in settings.items():
            command += ["--set", f"{key}={getattr(config, key) if key in {'jobs', 'state_dir'} else value}"]
        server = _start(command, config.state_dir, config.state_dir / "server.log")
        tell(f"it is up after {time.monotonic() - began:.1f} s: {server.url}")
        return server.url, server.token


def _start(command: list[str], state_dir: Path, log: Path) -> RunningServer:
    with open(log, "ab", opener=lambda path, flags: os.open(path, flags, 0o600)) as out:  # it tells the token
        start = out.tell()
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # neither Ctrl-C nor the end of the kernel reaches it
        )
    # Whoever starts a process must hear of its end, or it stays as a zombie.
    threading.Thread(target=process.wait, name="server-reaper", daemon=True).start()
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline:
        ended = process.poll() is not None
        server = server_of(state_dir)
        if server is not None and _answers(server):
            return server
        if ended:
            break
        time.sleep(_LOOK_EVERY_S)
    said = _last_lines(log, start)
    if process.poll() is None:
        process.terminate()
        raise StartFailed(f"the server did not answer within {_START_TIMEOUT_S:g} s; {log} ends with\n{said}")
    raise StartFailed(f"the server ended with code {process.returncode}; {log} ends with\n{said}")


def _answers(server: RunningServer) -> bool:
    try:
        with Client(server.url, server.token) as client:
            client.version()
    except ClientError:
        return False
    return True


def _last_lines(log: Path, start: int) -> str:
    with log.open("rb") as file:
        file.seek(start)
        return "\n".join(file.read().decode(errors="replace").splitlines()[-15:])


@contextmanager
def _alone(file: Path) -> Iterator[None]:
    """Two cells that start a server at the same time get the same one."""
    with file.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
