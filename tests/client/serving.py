"""A real server in a process of its own, for the tests of what talks to one."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from apsis_nb.client import Client

START_S = 60.0

JOBS = {
    "greet/hello": """
params: {name: {default: world}}
metadata: {description: Says hello., labels: [short]}
program: {type: shell, command: 'echo "hello $APSIS_ARG_NAME"'}
""",
    "greet/again": """
params: [name]
program: {type: shell, command: 'echo "again $APSIS_ARG_NAME"'}
""",
    "fails": """
program: {type: shell, command: 'echo "the end is near"; exit 3'}
""",
    "waits": """
params: [fifo]
program: {type: shell, command: 'echo up; read line < "$APSIS_ARG_FIFO"; echo "got $line"'}
""",
    "daily/report": """
params:
  date: {type: date, description: The day.}
  kind: {choices: [short, full], default: full}
metadata: {description: "Sums <b>up</b> the day.", labels: [report, daily]}
schedule: {type: daily, tz: Europe/London, calendar: all, daytime: "09:00:00"}
program: {type: no-op}
""",
}


@dataclass(frozen=True)
class Served:
    """A server that runs."""

    url: str
    token: str
    jobs: Path
    state: Path
    env: Mapping[str, str]  #: with which the command line finds it, and no other server

    def client(self) -> Client:
        return Client(self.url, self.token)


def environment(folder: Path) -> dict[str, str]:
    """An environment in which nothing is found of other servers of this account."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("APSIS_", "XDG_"))}
    return kept | {
        "XDG_RUNTIME_DIR": str(folder / "runtime"),
        "XDG_STATE_HOME": str(folder / "states"),
        "TZ": "Europe/London",
        "COLUMNS": "200",
    }


def write_jobs(folder: Path, jobs: Mapping[str, str]) -> None:
    for job_id, text in jobs.items():
        file = folder / f"{job_id}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.lstrip("\n"))


@contextmanager
def served(
    folder: Path,
    jobs: Mapping[str, str] = JOBS,
    *,
    bind: str = "127.0.0.1:0",
    dashboards: str = "off",
    settings: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Served]:
    """A server of these jobs, which keeps everything below `folder`; it is stopped at the end."""
    write_jobs(folder / "jobs", jobs)
    env = environment(folder)
    command = [
        sys.executable, "-m", "apsis_nb", "serve", str(folder / "jobs"), "--state-dir", str(folder / "state"),
        "--bind", bind, "--dashboards", dashboards, "--set", "tz=Europe/London",
        *(word for key, value in settings.items() for word in ("--set", f"{key}={value}")),
    ]  # fmt: skip
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=log, text=True)
    assert process.stdout is not None
    too_slow = threading.Timer(START_S, process.kill)
    too_slow.start()
    try:
        address = process.stdout.readline().strip()
        too_slow.cancel()
        assert address, (folder / "server.log").read_text()
        url, _, token = address.partition("/?token=")
        token = token or (folder / "state/token").read_text()  # no link for a browser: a unix socket
        yield Served(url, token, folder / "jobs", folder / "state", env)
    finally:
        too_slow.cancel()
        process.terminate()
        process.communicate(timeout=START_S)
