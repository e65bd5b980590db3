"""Every route and websocket, with all that is no right to it: refused, every time."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient, WebSocketDenialResponse

from apsis_nb.config import load_config
from apsis_nb.server.app import make_app
from apsis_nb.server.callers import ROLES, Caller, Role
from apsis_nb.server.guard import BODY_BYTES
from apsis_nb.server.rights import RIGHTS, right_of
from apsis_nb.store import HISTORY
from tests.server.conftest import JOBS, Served, serving
from tests.server.door import address, routes, templates

ORIGIN = "http://127.0.0.1:5577"
OPEN = {("GET", "/login"), ("POST", "/login")}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server of these tests alone: they give tokens out."""
    with serving(tmp_path_factory.mktemp("door")) as served:
        yield served


@pytest.fixture(scope="module")
def client(server: Served, tmp_path_factory: pytest.TempPathFactory) -> TestClient:
    """The whole application, dashboards included, without a log-in."""
    state = tmp_path_factory.mktemp("guard")
    config = load_config(None, {"state_dir": str(state), "jobs": str(server.config.jobs)}, env={})
    app = make_app(server.engine, config, gate=server.gate)
    return TestClient(app, base_url=ORIGIN, follow_redirects=False)


def token(served: Served, role: Role, *paths: str, lasts_s: float = 600) -> dict[str, str]:
    """The header of one who shows a token that was given out."""
    now = time.time()
    made = {"role": role, "name": None, "paths": paths, "by": "ann", "now": now - 1000}
    shown, _ = served.gate.book.make(expires_at=now + lasts_s, **made)  # type: ignore[arg-type]
    return {"Authorization": f"Bearer {shown}"}


def status(client: TestClient, method: str, path: str, headers: dict[str, str], **more: Any) -> int:
    """What a request is answered with."""
    if method != "WS":
        return client.request(method, path, headers=headers, **more).status_code
    with pytest.raises(WebSocketDenialResponse) as denied, client.websocket_connect(path, headers=headers):
        pass
    return denied.value.status_code


# -- the table


def test_the_table_has_every_route_and_nothing_else(client: TestClient) -> None:
    seen = {(method, route) for method, route in templates(client) if method != "HEAD"} - OPEN
    assert len(seen) >= 50
    assert seen == set(RIGHTS)


def test_a_request_finds_the_row_of_its_own_route(client: TestClient) -> None:
    for method, route in RIGHTS:
        if (method, route) in templates(client):
            assert right_of(method, address(route)) == RIGHTS[method, route], (method, route)


# -- each case, on each route


@dataclass(frozen=True)
class Case:
    """A request that must not come in."""

    name: str
    headers: dict[str, str]
    is_known: bool  #: whether the door knows who it is


def cases(server: Served) -> list[Case]:
    known = server.bearer
    revoked = token(server, "admin")
    server.gate.book.revoke(list(server.gate.book)[-1].name)
    other = served_cookie(server, lasts_s=-1)
    return [
        Case("no token", {}, False),
        Case("a wrong token", {"Authorization": "Bearer x"}, False),
        Case("an expired token", token(server, "admin", lasts_s=-1), False),
        Case("a revoked token", revoked, False),
        Case("an ended session", other, False),
        Case("a foreign Host", known | {"Host": "evil.example"}, True),
        Case("a foreign Host, with a cookie", served_cookie(server) | {"Host": "evil.example"}, True),
    ]


def served_cookie(server: Served, *, lasts_s: float = 60) -> dict[str, str]:
    signed = server.gate.sign(server.gate.owner, "browser", now=time.time(), lasts_s=lasts_s)
    return {"Cookie": f"{server.gate.cookie}={signed}"}


def test_who_does_not_come_in_is_refused_by_every_route(client: TestClient, server: Served) -> None:
    for case in cases(server):
        for method, path in routes(client):
            if path == "/login" and not case.is_known:
                continue
            found = status(client, method, path, case.headers)
            is_page = not path.startswith(("/api/", "/metrics")) and method in {"GET", "HEAD"}
            expected = 403 if case.is_known or method == "WS" else 303 if is_page else 401
            assert found == expected, (case.name, method, path)
    client.cookies.clear()


def test_a_page_of_another_origin_is_refused_by_every_route(client: TestClient, server: Served) -> None:
    foreign = ["http://evil.example", "null", "http://127.0.0.1:8888", "http://localhost:5577", "x", ""]
    for n, (method, path) in enumerate(routes(client)):
        for login in (server.bearer, served_cookie(server), token(server, "write"), {}):
            origin = foreign[n % len(foreign)]
            found = status(client, method, path, login | {"Origin": origin})
            assert found == 403, (method, path, origin)


def test_a_cookie_without_an_origin_changes_nothing(client: TestClient, server: Served) -> None:
    for method, path in routes(client):
        if method not in {"GET", "HEAD", "OPTIONS", "WS"} and path != "/login":
            assert status(client, method, path, served_cookie(server)) == 403, (method, path)


def test_a_body_that_is_too_large_is_refused_by_every_route(client: TestClient, server: Served) -> None:
    large = server.bearer | {"Content-Length": str(BODY_BYTES + 1)}
    for method, path in routes(client):
        if method not in {"GET", "HEAD", "OPTIONS", "WS"}:
            assert status(client, method, path, large, content=b"") == 413, (method, path)


@pytest.mark.parametrize("role", ROLES)
def test_a_role_opens_what_is_its_own_and_nothing_more(
    client: TestClient, server: Served, role: Role
) -> None:
    logins = [token(server, role)]
    signed = server.gate.sign(Caller(user="bob", role=role), "browser", now=time.time(), lasts_s=60)
    logins.append({"Cookie": f"{server.gate.cookie}={signed}", "Origin": ORIGIN})
    for login in logins:
        for (method, route), right in RIGHTS.items():
            if ROLES.index(right.role) <= ROLES.index(role):
                continue
            response = client.request(method, address(route), headers=login)
            assert response.status_code == 403, (method, route)
            problem = response.json()
            assert problem["role"] == right.role
            assert f"takes the role {right.role}, and" in problem["detail"]
            assert f"`apsis-nb token new --role {right.role}`" in problem["detail"]
    client.cookies.clear()


def test_what_no_route_takes_is_not_there(client: TestClient, server: Served) -> None:
    for method, path in (("POST", "/dash/1"), ("DELETE", "/api/v1/jobs"), ("PUT", "/api/v1/x")):
        assert status(client, method, path, token(server, "write")) == 404


# -- tokens that are held to paths


def test_what_is_about_all_jobs_is_refused_to_a_token_of_a_path(client: TestClient, server: Served) -> None:
    held = token(server, "write", "sales")
    for (method, route), right in RIGHTS.items():
        if right.about == "server":
            assert status(client, method, address(route), held) == 403, (method, route)


#: The addresses of other jobs, with what makes a request whole.
WHOLE: dict[tuple[str, str], dict[str, Any]] = {
    ("POST", "/api/v1/jobs/check"): {"json": {"job_id": "ops/new", "yaml": "program: 'true'"}},
    ("POST", "/api/v1/jobs/preview"): {"json": {"job_id": "ops/hello", "yaml": "program: 'true'"}},
    ("PUT", "/api/v1/yaml/{job_id:path}"): {"content": b"program: 'true'", "headers": {"If-Match": "x"}},
    ("PATCH", "/api/v1/yaml/{job_id:path}"): {"json": {"a": 1}, "headers": {"If-Match": "x"}},
    ("POST", "/api/v1/runs"): {"json": {"job_id": "ops/hello"}},
    ("POST", "/api/v1/runs/plan"): {"json": {"job_id": "ops/hello"}},
    ("POST", "/api/v1/backfill/{job_id:path}"): {"json": {"args": [{}]}},
}
#: Those that tell of many jobs; of each what it lists.
LISTS = {
    "/api/v1/jobs": "jobs",
    "/api/v1/job-ids": "job_ids",
    "/api/v1/runs": "runs",
    "/api/v1/expected": "expected",
    "/api/v1/expected/counts": "counts",
    "/api/v1/pauses": "pauses",
    "/api/v1/backfills": "backfills",
}


TOLD_ELSEWHERE = {*LISTS, "/status", "/api/v1/events"}


@pytest.fixture(scope="module")
def other_run(server: Served) -> dict[str, str]:
    """Ids of a run, a backfill and a job that the tokens of these tests must not see."""
    with server.client(base_url=f"{server.url}/api/v1") as api:
        run = api.post("/runs", json={"job_id": "ops/held"}).json()["runs"][0]
        backfill = api.post("/backfill/ops/hello", json={"args": [{}]}).json()
        assert api.post("/pause/ops/daily").status_code == 200
        api.post("/runs", json={"job_id": "sales/import"})
    return {
        "run_id": run["run_id"],
        "backfill_id": backfill["backfill_id"],
        "job_id": "ops/daily",
        "name": "output",
        "signal": "TERM",
        "state": "success",
    }


def test_other_jobs_are_not_there_for_a_token_of_a_path(server: Served, other_run: dict[str, str]) -> None:
    held = token(server, "write", "sales")
    with httpx2.Client(base_url=server.url, trust_env=False) as http:
        for (method, route), right in RIGHTS.items():
            path = address(route, other_run)
            if right.about != "jobs" or path in TOLD_ELSEWHERE or "/history/" in path:
                continue
            whole = WHOLE.get((method, route), {})
            more = {**whole, "headers": held | whole.get("headers", {})}
            response = http.request(method, path, **more)
            assert response.status_code == 403, (method, path, response.text)
            assert "is held to sales/" in response.text, (method, path)
        now = http.get(f"/api/v1/runs/{other_run['run_id']}", headers=server.bearer).json()
    assert now["state"] == "waiting"


def test_lists_have_only_jobs_of_the_path(server: Served, other_run: dict[str, str]) -> None:
    held, everything = token(server, "read", "sales"), server.bearer
    with httpx2.Client(base_url=server.url, trust_env=False) as http:
        for path, what in LISTS.items():
            assert "ops/" in http.get(path, headers=everything).text, path
            answer = http.get(path, headers=held)
            assert answer.status_code == 200
            assert "ops/" not in answer.text, path
            assert what in answer.json()
        assert {j["job_id"] for j in http.get("/api/v1/jobs", headers=held).json()["jobs"]} == {
            job_id for job_id in JOBS if job_id.startswith("sales/")
        }
        runs = http.get("/api/v1/runs", headers=held).json()["runs"]
        assert {run["job_id"] for run in runs} >= {"sales/import"}
        assert http.get("/api/v1/runs?job_id=ops/held", headers=held).status_code == 403
        assert http.get("/api/v1/runs?job_id=held", headers=held).json()["runs"] == []
        checked = http.post("/api/v1/jobs/check", headers=held).json()
        assert checked["errors"] == []
        for name in HISTORY:
            answer = http.get(f"/api/v1/history/{name}", headers=held)
            assert answer.status_code == (200 if "job_id" in HISTORY[name] else 403), answer.text
            assert "ops/" not in answer.text, name
            if "job_id" in HISTORY[name]:
                asked = http.get(f"/api/v1/history/{name}?job_id=ops/held", headers=held)
                assert asked.status_code == 403


def test_a_page_of_runs_goes_on_behind_those_of_others(server: Served, other_run: dict[str, str]) -> None:
    held = token(server, "read", "sales")
    with server.client(base_url=f"{server.url}/api/v1") as api:
        for _ in range(3):
            api.post("/runs", json={"job_id": "sales/import", "at": "+1h", "count": 2})
            api.post("/runs", json={"job_id": "ops/hello", "at": "+1h", "count": 2})
        everything = api.get("/runs?limit=1000").json()["runs"]
    wanted = [run["run_id"] for run in everything if run["job_id"].startswith("sales/")]
    found, cursor = [], ""
    with httpx2.Client(base_url=server.url, trust_env=False, headers=held) as http:
        while cursor is not None:
            page = http.get(f"/api/v1/runs?limit=2{cursor and f'&cursor={cursor}'}").json()
            found += [run["run_id"] for run in page["runs"]]
            cursor = page["next"]
    assert found == wanted


def test_the_stream_of_events_has_only_jobs_of_the_path(server: Served, other_run: dict[str, str]) -> None:
    held = token(server, "read", "sales")
    with (
        server.client(base_url=f"{server.url}/api/v1") as api,
        httpx2.stream(
            "GET", f"{server.url}/api/v1/events", headers=held, trust_env=False, timeout=20
        ) as stream,
    ):
        lines = stream.iter_lines()
        assert next(line for line in lines if line.startswith("event:")) == "event: hello"
        api.post("/runs", json={"job_id": "ops/hello"})
        api.post("/runs", json={"job_id": "sales/import"})
        seen = next(line for line in lines if line.startswith("data:") and "job_id" in line)
    assert '"sales/import"' in seen


# -- what may be run


@pytest.fixture
def runner(server: Served) -> Iterator[httpx2.Client]:
    with server.client(base_url=f"{server.url}/api/v1", headers=token(server, "run")) as http:
        yield http


def test_who_may_run_starts_the_jobs_that_there_are(runner: httpx2.Client, server: Served) -> None:
    made = runner.post("/runs", json={"job_id": "sales/report", "args": {"date": "2026-01-31"}})
    assert made.status_code == 201
    assert made.json()["runs"][0]["by"].startswith("run-")
    wrong = runner.post("/runs", json={"job_id": "sales/report", "args": {"date": "tomorrow"}})
    assert wrong.status_code == 422


def test_who_may_run_brings_no_job_along(runner: httpx2.Client, server: Served) -> None:
    job = {"program": {"type": "shell", "command": "id"}}
    refused = runner.post("/runs", json={"job": job})
    assert refused.status_code == 403
    assert "a job that comes with the request takes the role write" in refused.json()["detail"]
    with server.client(base_url=f"{server.url}/api/v1") as api:
        run_id = api.post("/runs", json={"job": job}).json()["runs"][0]["run_id"]
    again = runner.post(f"/runs/{run_id}/rerun")
    assert again.status_code == 403
    assert "no job of the folder takes the role write" in again.json()["detail"]


def test_a_token_of_a_path_brings_no_job_along(server: Served) -> None:
    refused = httpx2.post(
        f"{server.url}/api/v1/runs",
        json={"job": {"program": "true"}},
        headers=token(server, "write", "sales"),
        trust_env=False,
    )
    assert refused.status_code == 403
    assert "is held to sales/" in refused.json()["detail"]


@pytest.mark.parametrize("kind", ["apsis_nb.demo.Nothing", "os.path.Any", "a.b.C"])
def test_a_job_that_comes_with_a_request_names_no_class(server: Served, kind: str) -> None:
    with server.client(base_url=f"{server.url}/api/v1") as api:
        for job in ({"program": {"type": kind}}, {"program": "true", "condition": {"type": kind}}):
            refused = api.post("/runs", json={"job": job})
            assert refused.status_code == 422, refused.text


def test_a_text_is_checked_only_for_those_who_may_write_it(runner: httpx2.Client) -> None:
    assert runner.post("/jobs/check").status_code == 200
    text = {"yaml": "program: {type: antigravity.Geohash}"}
    assert runner.post("/jobs/check", json=text).status_code == 403
    assert runner.post("/jobs/preview", json=text).status_code == 403


def test_an_arg_that_becomes_code_is_not_for_those_who_may_only_run(tmp_path: Path) -> None:
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "greet.yaml").write_text(
        "params: {who: {default: world}, n: {type: int, default: 1}}\n"
        "program: {type: shell, command: 'echo hello {{ who }} {{ n }}'}\n"
    )
    with serving(tmp_path) as served:
        held = token(served, "run")
        with served.client(base_url=f"{served.url}/api/v1", headers=held) as http:
            made = http.post("/runs", json={"job_id": "greet", "args": {"n": 2}})
            assert made.status_code == 201
            run_id = made.json()["runs"][0]["run_id"]
            for path, body in (
                ("/runs", {"job_id": "greet", "args": {"who": "; id"}}),
                (f"/runs/{run_id}/rerun", {"args": {"who": "; id"}}),
                ("/backfill/greet", {"args": [{"n": 1}, {"who": "; id"}]}),
            ):
                refused = http.post(path, json=body)
                assert refused.status_code == 403, path
                assert refused.json()["detail"].startswith(
                    "who of greet becomes a part of its shell command, so to choose it takes the role write"
                )
                assert (
                    '{{ who | quote }}, outside of any quotes, or "$APSIS_ARG_WHO"'
                    in refused.text.replace('\\"', '"')
                )
        with served.client(base_url=f"{served.url}/api/v1") as owner:
            assert owner.post("/runs", json={"job_id": "greet", "args": {"who": "me"}}).status_code == 201
