"""What the audit log tells, and what no log, error or run tells."""

import json
import os
import stat
from pathlib import Path
from typing import Any

import httpx2
import pytest

from apsis_nb.server.audit import FILES, Audit
from tests.server.conftest import serving, until, write_jobs
from tests.server.test_run import api, process


def lines(state: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (state / "audit.jsonl").read_text().splitlines()]


def answered(state: Path) -> list[tuple[Any, ...]]:
    """What became of each request."""
    told = [line for line in lines(state) if "status" in line]
    return [(t.get("by"), t["method"], t["path"], t.get("about"), t["status"]) for t in told]


def test_a_request_that_changes_something_is_told_with_who_what_whence_and_how(tmp_path: Path) -> None:
    with serving(tmp_path) as server, server.client(base_url=f"{server.url}/api/v1") as http:
        state = server.config.state_dir
        http.get("/jobs")
        http.post("/sql", json={"query": "SELECT 1"})
        assert not (state / "audit.jsonl").exists()  # to ask changes nothing
        made = http.post("/tokens", json={"role": "run", "name": "bob", "paths": ["ops"]}).json()
        as_bob = {"Authorization": f"Bearer {made['token']}"}
        http.post("/runs", json={"job_id": "ops/hello"}, headers=as_bob)
        http.post("/jobs/reload?dry_run=1", headers=as_bob)
        http.post("/pause?path=ops&token=x", json={"reason": "words"})
        http.post("/runs", json={"job_id": "ops/hello"}, headers={"Authorization": "Bearer x"})
        http.delete("/tokens/bob")
        assert answered(state) == [
            ("ann", "POST", "/api/v1/tokens", "bob run ops", 201),
            ("bob", "POST", "/api/v1/runs", "ops/hello", 201),
            ("bob", "POST", "/api/v1/jobs/reload", None, 403),
            ("ann", "POST", "/api/v1/pause", None, 200),
            (None, "POST", "/api/v1/runs", None, 401),
            ("ann", "DELETE", "/api/v1/tokens/bob", None, 200),
        ]
        told = lines(state)
        asked = [line for line in told if "status" not in line]
        assert len(asked) == 4  # before they were carried out; what is refused at the door is told once
        assert asked[0]["request"] == told[1]["request"]
        assert {line["source"] for line in told} == {"127.0.0.1"}
        assert [line["role"] for line in told if line.get("by") == "bob"] == ["run", "run", "run"]
        assert {line.get("query") for line in told} == {None, "dry_run=1", "path=ops"}
        assert all(line["at"].endswith("Z") for line in told)


def test_who_logs_in_or_fails_to_is_told(tmp_path: Path) -> None:
    with serving(tmp_path) as server, httpx2.Client(base_url=server.url, trust_env=False) as browser:
        own = {"Origin": server.url}
        browser.get("/dash/overview?token=wrong")
        browser.post("/login", data={"token": "wrong"}, headers=own)
        browser.get(f"/?token={server.gate.token}")
        browser.post("/logout", headers=own)
        text = (server.config.state_dir / "audit.jsonl").read_text()
        assert answered(server.config.state_dir) == [
            (None, "GET", "/dash/overview", None, 303),
            (None, "POST", "/login", None, 401),
            ("ann", "GET", "/", None, 303),
            ("ann", "POST", "/logout", None, 303),
        ]
        assert server.gate.token not in text
        assert "wrong" not in text


def test_only_its_owner_reads_it_and_it_does_not_grow_for_ever(tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    old = os.umask(0)
    try:
        audit = Audit(file, file_bytes=1000)
        for n in range(1000):
            audit.write(n=n, nothing=None)
    finally:
        os.umask(old)
    files = sorted(tmp_path.iterdir())
    assert len(files) == FILES
    assert {stat.S_IMODE(f.stat().st_mode) for f in files} == {0o600}
    assert sum(f.stat().st_size for f in files) < 1100 * FILES
    newest = [json.loads(line)["n"] for line in (tmp_path / "audit.1.jsonl").read_text().splitlines()]
    assert newest == list(range(newest[0], newest[-1] + 1))
    audit.write(n=1000)
    last = json.loads(file.read_text().splitlines()[-1])
    assert (last["n"], "nothing" in last) == (1000, False)


def test_where_it_cannot_be_written_the_log_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    audit = Audit(tmp_path / "missing" / "audit.jsonl")
    audit.write(n=1)
    audit.write(n=2)
    (message,) = [record.getMessage() for record in caplog.records]
    assert "cannot be written: No such file or directory" in message


# -- secrets

SECRETS = {
    "notify": "mailto://user:pw-notify-5b1f@mail.example.invalid",
    "named": "json://localhost:1/pw-named-77aa",
    "hook": "https://hooks.example.invalid/pw-hook-93c2",
    "header": "pw-header-0d4e",
    "signing": "pw-signing-6f0b",
}


def test_no_secret_is_told_by_log_audit_error_or_run(tmp_path: Path) -> None:
    jobs = {
        "tells": f"""
            program: {{type: shell, command: 'exit 3'}}
            action:
            - {{type: notify, to: '{SECRETS["notify"]}', if: {{states: failure}}}}
            - {{type: notify, to: chat, if: {{states: failure}}}}
            - type: webhook
              url: '{SECRETS["hook"]}'
              headers: {{Authorization: '{SECRETS["header"]}'}}
              secret: signing
              if: {{states: failure}}
            """,
    }
    write_jobs(tmp_path / "jobs", jobs)
    settings = {"notify.chat": SECRETS["named"], "secrets.signing": SECRETS["signing"], "log.level": "debug"}
    with process(tmp_path, **settings) as server:
        link = server.link
        token = (server.state_dir / "token").read_text()
        told = {"url": link.split("/?")[0], "token": token}
        secrets = [s.rpartition("/")[2].rpartition("@")[0] or s.rpartition("/")[2] for s in SECRETS.values()]
        made = api(told, "POST", "/tokens", json={"role": "admin", "name": "bob"}).json()["token"]
        shown = httpx2.get(link, trust_env=False).headers["set-cookie"].split(";")[0]
        secrets = [*secrets, token, (server.state_dir / "secret").read_text(), made, shown]
        (run,) = api(told, "POST", "/runs", json={"job_id": "tells"}).json()["runs"]
        path = f"/runs/{run['run_id']}"
        until("it fails", lambda: api(told, "GET", path).json()["state"] == "failure")
        api(told, "POST", "/notify/test", json={"to": "chat"})
        answers = [
            api(told, method, where, **more).text
            for method, where, more in [
                ("GET", path, {}),
                ("GET", f"{path}/log", {}),
                ("GET", f"{path}/why", {}),
                ("GET", "/jobs/tells", {}),
                ("GET", "/jobs", {}),
                ("GET", "/runs", {}),
                ("GET", "/tokens", {}),
                ("GET", "/doctor", {}),
                ("POST", "/notify/test", {"json": {"to": "chat"}}),
                ("POST", "/notify/test", {"json": {"to": "nobody"}}),
                ("POST", "/runs", {"json": {"job_id": "tells", "args": {"x": 1}}}),
                ("GET", f"/nothing?token={token}", {}),
                ("POST", "/sql", {"json": {"query": "SELECT * FROM runs"}}),
                ("POST", "/sql", {"json": {"query": "SELECT * FROM run_log"}}),
            ]
        ]
        bad = {"url": told["url"], "token": f"{token}x"}
        answers.append(api(bad, "GET", "/jobs").text)
        server.end()
        logs = [server.log.read_text(), (server.state_dir / "audit.jsonl").read_text()]
        logs.append((server.state_dir / "tokens.json").read_text())
    for secret in secrets:
        assert len(secret) >= 8
        for text in [*answers, *logs]:
            assert secret not in text, text[max(0, text.find(secret) - 200) :][:400]
