"""Made-up requests: whatever the description allows, and what it does not, is answered as it says."""

from pathlib import Path
from typing import Any

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.server.conftest import Served, write_jobs
from tests.server.describing import described

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
#: Which does not end; it has tests of its own.
ENDLESS = "/api/v1/events"
#: The server that is asked runs no programs.
JOBS = {
    "daily": """
        schedule: {type: daily, tz: UTC, daytime: "09:00:00"}
        params: {date: {type: date}}
        program: {type: no-op}
        """,
    "team/often": """
        schedule: {type: interval, interval: 1m}
        program: {type: no-op}
        metadata: {labels: [often], description: Every minute}
        """,
    "team/held": """
        condition: {type: const, value: false}
        program: {type: no-op}
        """,
    "team/long": "program: {type: no-op, duration: 600}",
}
QUERIES = ["FROM runs", "SELECT job_id, count(*) AS n FROM runs GROUP BY ALL", "SELECT $1", "SELECT nothing"]


def write_no_ops(folder: Path) -> Path:
    """The jobs of the server that is asked."""
    return write_jobs(folder, JOBS)


def ask(served: Served, cases: int, number: int) -> tuple[int, list[str]]:
    """Ask so many made-up requests.

    Args:
        served: with the jobs of `write_no_ops`; it is changed.
        cases: how many, about; each route gets the same share.
        number: seed.

    Returns:
        How many were asked, and what is wrong: for each route the first answer that is not as it should be.
    """
    document = described(served.url, served.bearer)
    schema = schemathesis.openapi.from_dict(document, config=schemathesis.Config())
    with requests.Session() as session:
        session.trust_env = False
        session.headers.update(served.bearer)
        known = _known(session, served.url)
        operations = [found.ok() for found in schema.get_all_operations()]
        operations = [operation for operation in operations if operation.path != ENDLESS]
        share, asked, faults = max(1, cases // len(operations)), 0, []
        for operation in operations:
            made = operation.as_strategy(GenerationMode.POSITIVE)
            made |= operation.as_strategy(GenerationMode.NEGATIVE)

            @seed(number)
            @settings(
                max_examples=share,
                database=None,
                deadline=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=made, pick=st.integers(0, 99))
            def one(case: Case, pick: int) -> None:
                nonlocal asked
                asked += 1
                _make_sensible(case, known, pick)
                answer = case.call(base_url=served.url, session=session, timeout=30)
                # Schemathesis reads YAML before it looks whether it is a text.
                is_yaml = answer.headers["content-type"][0].startswith("text/yaml")
                case.validate_response(answer, checks=CHECKS[:-1] if is_yaml else CHECKS)

            try:
                one()
            # Of Schemathesis, with the request in curl's words; or the connection broke.
            except (BaseExceptionGroup, Exception) as error:
                faults.append(f"{operation.label}: {error}")
    return asked, faults


def _known(session: requests.Session, url: str) -> dict[str, list[str]]:
    """Values that are of something: most made-up ones are not."""
    api = f"{url}/api/v1"
    runs = []
    for body in ({"job_id": "team/long"}, {"job_id": "team/held"}, {"job_id": "team/often"}):
        runs += session.post(f"{api}/runs", json=body).json()["runs"]
    backfill = session.post(f"{api}/backfill/daily", json={"args": [{"date": "2026-01-31"}]}).json()
    return {
        "job_id": list(JOBS),
        "run_id": [run["run_id"] for run in runs],
        "backfill_id": [backfill["backfill_id"]],
        "state": ["success", "failure", "skipped"],
        "signal": ["USR1", "SIGTERM", "9"],
        "name": ["output", "runs", "counts"],
    }


def _make_sensible(case: Case, known: dict[str, list[str]], pick: int) -> None:
    """Most of the time, name something that there is; never ask for what takes long or leaves the folder."""
    if pick < 70:
        for name in case.path_parameters or {}:
            values = known.get(name, [])
            if values:
                case.path_parameters[name] = values[pick % len(values)]
    body: Any = case.body
    if not isinstance(body, dict):
        return
    body.pop("job", None)  # its program would be run
    if case.operation.path.endswith("/backup"):
        body.pop("to", None)
    if isinstance(body.get("count"), int):
        body["count"] = min(body["count"], 3)
    if "from" in body:
        body["dry_run"] = True
    if "query" in body and pick < 70:
        body["query"] = QUERIES[pick % len(QUERIES)]
