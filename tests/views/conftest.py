"""One server for the tests of what pages ask it."""

from collections.abc import Iterator

import pytest

from apsis_nb.client import Client
from tests.client.serving import Served, served

JOBS = {
    "busy/ticks": "schedule: {type: interval, interval: 1}\nprogram: {type: no-op}\n",
    "quiet/daily": """
metadata: {labels: [daily]}
schedule: {type: daily, tz: UTC, calendar: all, daytime: ["00:00:01", "06:00:00", "12:00:00", "18:00:00"]}
program: {type: no-op}
""",
    "asked/prints": """
params: {name: {default: world}}
metadata: {labels: [short]}
program: {type: shell, command: 'printf "\\033[32mhello\\033[0m %s\\n" "$APSIS_ARG_NAME"'}
""",
    "marked/shows": """
params: {name: {default: world}}
program: {type: shell, command: 'echo "$APSIS_ARG_NAME"'}
""",
    "heard/fails": "program: {type: shell, command: 'exit 3'}\n",
    "asked/sleeps": "params: [name]\nprogram: {type: shell, command: 'sleep 2'}\n",
    "asked/tries": "program: {type: shell, command: 'exit 3'}\nretry: {count: 1, delay: 0}\n",
    "asked/depends": "condition: {type: dependency, job_id: asked/tries}\nprogram: {type: no-op}\n",
    "acts/wrongly": """
program: {type: no-op}
action: {type: schedule, job_id: acts/gone, if: {states: success}}
""",
    "asked/fails": "program: {type: shell, command: 'echo <oh>; exit 3'}\n",
}


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("views"), JOBS) as server:
        yield server


@pytest.fixture
def client(server: Served) -> Iterator[Client]:
    with server.client() as client:
        yield client
