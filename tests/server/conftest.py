"""A real server in a thread of the tests: everything in a temporary folder, HTTP on a free port."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn

from apsis_nb.config import Config, load_config
from apsis_nb.engine import Engine
from apsis_nb.server.app import make_app
from apsis_nb.server.events import Events
from apsis_nb.server.guard import Guard
from apsis_nb.server.run import bound, http_settings
from apsis_nb.server.tokens import Gatekeeper, open_gate
from tests.server.describing import Checker

JOBS = {
    "sales/import": "program: 'true'",
    "sales/report": """
        params:
          date: {type: date}
          kind: {choices: [short, long], default: short}
        program: {type: argv, argv: [echo, "report of {{ date }}"]}
        metadata: {description: Monthly figures, labels: [daily]}
        """,
    "ops/hello": "program: {type: argv, argv: [echo, '<b>hello</b>']}",
    "ops/daily": """
        schedule: {type: daily, tz: UTC, daytime: "09:00:00"}
        program: {type: no-op}
        """,
    "ops/fails": "program: {type: shell, command: 'echo sorry; exit 3'}",
    "ops/long": "program: {type: shell, command: 'echo begun; exec sleep 600'}",
    "ops/held": """
        condition: {type: const, value: false}
        program: {type: no-op}
        """,
    "broken": "progam: 'true'",
}


def write_jobs(folder: Path, jobs: dict[str, str] = JOBS) -> Path:
    """A folder of job files."""
    for job_id, text in jobs.items():
        path = folder / f"{job_id}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        indent = len(text.lstrip("\n")) - len(text.lstrip("\n").lstrip(" "))
        lines = [line[indent:] for line in text.lstrip("\n").split("\n")]
        path.write_text("\n".join(lines).rstrip() + "\n")
    return folder


def until(what: str, look: Callable[[], Any], timeout_s: float = 20.0) -> Any:
    """Look again and again until there is something."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if found := look():
            return found
        time.sleep(0.02)  # between two looks at what another thread or process does
    raise AssertionError(f"not within {timeout_s} s: {what}")


def schedule(api: httpx2.Client, job_id: str, **more: Any) -> str:
    """Have one run made.

    Returns:
        Its name.
    """
    response = api.post("/runs", json={"job_id": job_id, **more})
    assert response.status_code == 201, response.text
    (run,) = response.json()["runs"]
    return str(run["run_id"])


class _Uvicorn(uvicorn.Server):
    def __init__(self, settings: uvicorn.Config, is_up: threading.Event) -> None:
        super().__init__(settings)
        self._is_up = is_up

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._is_up.set()


class Served:
    """A server that answers."""

    def __init__(self, config: Config, dashboards_command: Sequence[str]) -> None:
        self.config, self._dashboards_command = config, dashboards_command
        self.url = config.base_url
        self.gate: Gatekeeper
        self.engine: Engine
        self.app: Guard
        self.events: Events
        self.loop: asyncio.AbstractEventLoop
        self._http: uvicorn.Server

    @property
    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.gate.token}"}

    def client(self, **settings: Any) -> httpx2.Client:
        """A client with the token."""
        given = {
            "base_url": self.url,
            "headers": self.bearer,
            "timeout": 30,
            "trust_env": False,
            "verify": False,
        }
        return httpx2.Client(**(given | settings))

    async def _run(self, listening: socket.socket, is_up: threading.Event) -> None:
        self.loop = asyncio.get_running_loop()
        self.gate = open_gate(self.config.state_dir, "ann")
        self.engine = Engine(self.config)
        await self.engine.start()
        try:
            self.events = Events(self.engine.boot_id, "test")
            self.app = make_app(
                self.engine,
                self.config,
                gate=self.gate,
                events=self.events,
                dashboards_command=self._dashboards_command,
            )
            self._http = _Uvicorn(http_settings(self.app, self.config), is_up)
            await self._http.serve([listening])
        finally:
            await self.engine.stop()

    @contextlib.contextmanager
    def running(self, listening: socket.socket) -> Iterator["Served"]:
        is_up = threading.Event()
        errors: list[BaseException] = []

        def run() -> None:
            try:
                asyncio.run(self._run(listening, is_up))
            except BaseException as error:
                errors.append(error)
            finally:
                is_up.set()

        thread = threading.Thread(target=run)
        thread.start()
        assert is_up.wait(60)
        if errors:
            raise errors[0]
        try:
            yield self
        finally:
            self.loop.call_soon_threadsafe(self.events.close)
            self._http.should_exit = True
            thread.join(30)
            assert not thread.is_alive()
            if errors:
                raise errors[0]


@contextlib.contextmanager
def serving(folder: Path, *, dashboards_command: Sequence[str] = (), **settings: str) -> Iterator[Served]:
    """A server with its jobs and state in `folder`; with dashboards if it is told how to start them."""
    jobs = folder / "jobs"
    if not jobs.exists():
        write_jobs(jobs)
    given = {
        "jobs": str(jobs),
        "state_dir": str(folder / "state"),
        "bind": "127.0.0.1:0",
        "tz": "UTC",
        "dashboards": "process" if dashboards_command else "off",
    }
    config = load_config(None, given | settings, env={"HOME": str(folder)})
    with contextlib.closing(bound(config)) as listening:
        config = config.with_port(listening.getsockname()[1])
        with Served(config, dashboards_command).running(listening) as served:
            yield served


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server for all tests that do not change it."""
    with serving(tmp_path_factory.mktemp("served")) as server:
        yield server


@pytest.fixture(scope="session")
def api(served: Served) -> Iterator[httpx2.Client]:
    """A client of that server, below `/api/v1`, which checks that each answer is as described."""
    hooks = {"response": [Checker(served.url, served.bearer)]}
    with served.client(base_url=f"{served.url}/api/v1", event_hooks=hooks) as client:
        yield client


@pytest.fixture
def finished(api: httpx2.Client) -> Callable[[str], dict[str, Any]]:
    """Waits for the end of a run, and gives its facts."""

    def wait(run_id: str) -> dict[str, Any]:
        return until(f"{run_id} ends", lambda: _if_finished(api.get(f"/runs/{run_id}").json()))

    return wait


def _if_finished(facts: dict[str, Any]) -> dict[str, Any] | None:
    return facts if facts["state"] in {"success", "failure", "error", "skipped"} else None
