"""The page for a phone."""

import re
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin

import duckdb
import httpx2
import pytest

from apsis_nb.server.callers import Caller, Role
from tests.server.conftest import Served, serving, until, write_jobs

JOBS = {
    "etl/load": "program: {type: shell, command: 'echo no space left on device; exit 3'}",
    "etl/report": """
        condition: {type: dependency, job_id: etl/load}
        program: {type: no-op}
        """,
    "ops/long": "program: {type: shell, command: 'exec sleep 600'}",
    "ops/<b>bold</b>": "program: {type: shell, command: 'echo \"<script>alert(1)</script>\"; exit 1'}",
    "ops/good": "program: {type: no-op}",
    "ops/mended": """
        params: [folder]
        program: {type: shell, command: 'test -e "$APSIS_ARG_FOLDER/there"'}
        """,
    "busy/late": """
        schedule: {type: interval, interval: 1s}
        condition: {type: const, value: false}
        program: {type: no-op}
        late: {start: 1s}
        """,
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("status")
    write_jobs(folder / "jobs", JOBS)
    with serving(folder, dashboards="off") as served, served.client(base_url=f"{served.url}/api/v1") as api:
        for job_id in ("etl/load", "ops/<b>bold</b>", "ops/long", "ops/good"):
            assert api.post("/runs", json={"job_id": job_id}).status_code == 201
        until("runs fail", lambda: len(api.get("/runs?state=failure").json()["runs"]) == 2)
        until("one is late", lambda: api.get("/runs?late=true").json()["runs"])
        yield served


def browser(served: Served, role: Role = "admin", *paths: str) -> httpx2.Client:
    """One that is logged in."""
    caller = Caller(user="ann", role=role, paths=paths)
    signed = served.gate.sign(caller, "browser", now=time.time(), lasts_s=60)
    headers = {"Cookie": f"{served.gate.cookie}={signed}", "Origin": served.url}
    return httpx2.Client(base_url=served.url, headers=headers, trust_env=False)


def section(page: str, name: str) -> str:
    found = re.search(rf'<section class="{name}".*?</section>', page, re.DOTALL)
    return found[0] if found else ""


def count(page: str, name: str) -> int:
    found = re.search(rf'href="#{name}"><b>(\d+)</b>', page)
    assert found is not None
    return int(found[1])


def test_it_says_what_failed_and_why_what_is_late_and_what_runs(server: Served) -> None:
    with browser(server) as http:
        page = http.get("/status").text
    failed = section(page, "failed")
    assert count(page, "failed") >= 2
    assert "<span>etl/</span>load" in failed
    assert "<code>no space left on device</code>" in failed
    assert re.search(r"r\d+, failure, \d+s ago", failed)
    assert re.search(r'class="why">ended in failure at [^<]*: exit code 3<', failed)
    late = section(page, "late")
    assert count(page, "late") >= 1
    assert "<span>busy/</span>late" in late
    assert re.search(r"r\d+, waiting, due \d\d:\d\d, \d+s late", late)
    assert '<p class="why">the constant false</p>' in late
    running = section(page, "running")
    assert count(page, "running") == 1
    assert re.search(r"running, for \d+s", running)
    assert "ops/</span>good" not in page


def test_it_needs_nothing_else_and_is_small(server: Served) -> None:
    with browser(server) as http:
        answer = http.get("/status")
    assert answer.status_code == 200
    assert len(answer.content) <= 50_000
    assert "<script" not in answer.text
    assert not re.search(r"https?://(?!www\.w3\.org)|src=|@import|url\(", answer.text)
    policy = answer.headers["content-security-policy"]
    assert policy.startswith(
        "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; form-action"
    )
    assert "script-src" not in policy
    assert answer.headers["cache-control"] == "no-store"


def test_what_jobs_and_runs_say_is_text(server: Served) -> None:
    with browser(server) as http:
        page = http.get("/status?again=<b>x</b>").text
    assert "<b>bold" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<b>x" not in page


def test_a_button_runs_it_again_once(server: Served) -> None:
    with browser(server) as http, server.client(base_url=f"{server.url}/api/v1") as api:
        job_id = "ops/long"
        first = api.get(f"/runs?job_id={job_id}").json()["runs"][0]["run_id"]
        api.post(f"/runs/{first}/stop")
        until("it fails", lambda: f"status/rerun/{first}" in http.get("/status").text)
        action = re.search(rf'action="(status/rerun/{first})"', http.get("/status").text)
        assert action is not None
        pressed = http.post(f"/{action[1]}")
        assert pressed.status_code == 303
        there = urljoin(str(pressed.url), pressed.headers["location"])
        page = http.get(there).text
        again = re.search(r"Started again, as (r\d+)\.", page)
        assert again is not None
        run = api.get(f"/runs/{again[1]}").json()
        assert (run["rerun_of"], run["by"], run["job_id"]) == (first, "ann", job_id)
        twice = http.post(f"/{action[1]}")
        assert twice.status_code == 409
        assert f"{first} is under way again, as {again[1]}" in twice.text
        assert 'href="../../status"' in twice.text
        assert len([r for r in api.get("/runs").json()["runs"] if r["rerun_of"] == first]) == 1


def test_no_other_page_presses_it(server: Served) -> None:
    with browser(server) as http:
        for headers in ({"Origin": "http://evil.example"}, {"Origin": "null"}):
            assert http.post("/status/rerun/r1", headers=headers).status_code == 403
        del http.headers["Origin"]
        assert http.post("/status/rerun/r1").status_code == 403


def test_who_may_only_look_has_no_button(server: Served) -> None:
    with browser(server, "read") as http:
        page = http.get("/status").text
        assert count(page, "failed") >= 1
        assert "<button" not in page
        assert http.post("/status/rerun/r1").status_code == 403


def test_a_token_of_a_path_sees_its_own(server: Served) -> None:
    with browser(server, "run", "etl") as http, server.client(base_url=f"{server.url}/api/v1") as api:
        page = http.get("/status").text
        assert (count(page, "failed"), count(page, "late"), count(page, "running")) == (1, 0, 0)
        assert "ops/" not in page
        assert "busy/" not in page
        other = api.get("/runs?job_id=ops/long").json()["runs"][0]["run_id"]
        refused = http.post(f"/status/rerun/{other}")
        assert refused.status_code == 403
        assert "is held to etl/" in refused.text
        assert http.post("/status/rerun/r99999").status_code == 404
        assert http.post("/status/rerun/x").status_code == 422
        assert http.get("/").headers["location"] == "./status"


def test_what_has_succeeded_since_has_not_failed(server: Served, tmp_path: Path) -> None:
    with browser(server) as http, server.client(base_url=f"{server.url}/api/v1") as api:
        made = api.post("/runs", json={"job_id": "ops/mended", "args": {"folder": str(tmp_path)}}).json()
        run_id = made["runs"][0]["run_id"]
        until("it fails", lambda: f"{run_id}, failure" in http.get("/status").text)
        (tmp_path / "there").touch()
        api.post(f"/runs/{run_id}/rerun")
        until("it is mended", lambda: "ops/</span>mended" not in section(http.get("/status").text, "failed"))


def test_a_quiet_server_says_so(tmp_path: Path) -> None:
    with serving(tmp_path) as served, browser(served) as http:
        page = http.get("/status").text
        assert "Nothing failed, is late or missing in the last 24 hours." in page
        assert [count(page, name) for name in ("failed", "late", "missing", "running")] == [0, 0, 0, 0]
        with served.client(base_url=f"{served.url}/api/v1") as api:
            api.post("/pause?all=true", json={"reason": "we <move>"})
        assert "All schedules are paused by ann: we &lt;move&gt;." in http.get("/status").text


def test_a_thousand_failures_are_still_a_small_page(tmp_path: Path) -> None:
    text = "params: [n]\nprogram: {type: shell, command: 'head -c 3000 /dev/zero | tr \"\\\\0\" x; exit 1'}\n"
    write_jobs(tmp_path / "jobs", {f"folder/{'long' * 20}{n}": text for n in range(20)})
    with serving(tmp_path) as served, browser(served) as http:
        with served.client(base_url=f"{served.url}/api/v1") as api:
            for n in range(20):
                body = {"job_id": f"folder/{'long' * 20}{n}", "args": {"n": "y" * 3000}}
                assert api.post("/runs", json=body).status_code == 201
            until("all fail", lambda: len(api.get("/runs?state=failure").json()["runs"]) == 20, 60)
        answer = http.get("/status")
        assert "and 8 more" in answer.text
        assert len(answer.content) <= 50_000


def test_what_was_missed_while_no_server_ran_is_missing(tmp_path: Path) -> None:
    text = "schedule: {type: interval, interval: 1m, misfire: none}\nprogram: {type: no-op}"
    write_jobs(tmp_path / "jobs", {"etl/often": text})
    with serving(tmp_path) as served:
        file = served.config.state_dir / "runs.duckdb"
    with duckdb.connect(file) as store:  # as if it had been down for ten minutes
        store.execute("UPDATE base.clock SET clock_at = clock_at - INTERVAL 10 MINUTE")
    with serving(tmp_path) as served, browser(served) as http:
        until("they are missed", lambda: count(http.get("/status").text, "missing"))
        missing = section(http.get("/status").text, "missing")
    assert "<span>etl/</span>often" in missing
    assert re.search(r"\d+ times, \d\d:\d\d to \d\d:\d\d<", missing)
    assert '<p class="why">' in missing
    assert "Rerun" not in missing
