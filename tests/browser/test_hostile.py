"""Whatever jobs, runs and addresses say, in every page and every command: it is text, and does no harm."""

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlencode

import httpx2
import pytest
from playwright.sync_api import Browser, Page

from apsis_nb.client import BadRequest, ClientError
from tests.browser.conftest import DEEP, Demo, Reader, wait_for_dashboards
from tests.cli.conftest import Shell, Warm
from tests.cli.conftest import warm as warm
from tests.client.serving import Served, served

pytestmark = [pytest.mark.browser, pytest.mark.slow]

HTML = '<img src=x onerror="window.harmed=1"><script>window.harmed=1</script>'
ANSI = "\x1b[2J\x1b]0;harmed\x07\x1b]8;;http://evil.example\x07x\x1b[31mred"
TEXTS = {
    "html": HTML,
    "an attribute": "\"'><svg onload=window.harmed=1>",
    "a script's text": "</script>${window.harmed=1}`;window.harmed=1//",
    "a template": "{{ 7 * 7 }}{% for %}{{ ''.__class__.__mro__ }}",
    "ansi": ANSI,
    "sql": "'); DROP TABLE base.runs; DROP SCHEMA base CASCADE; --",
    "a path": "../../../../../../etc/passwd",
    "a coded path": "..%2f..%2f..%2fetc%2fpasswd",
    "a shell": "$(touch harmed)`touch harmed`; touch harmed #",
    "lines": "a\r\nSet-Cookie: harmed=1\r\n\r\n<b>",
    "turned": "\u202egnp.exe\u202c\u2066",
    "an option": "--help",
    "a formula": "=cmd|' /C calc'!A0",
}
#: The same in few, where each takes its time.
MANY = {
    "all": "".join(text for name, text in TEXTS.items() if name not in {"a path", "an option"}),
    **{name: TEXTS[name] for name in ("a path", "an option")},
}
#: They are names of files, too, so without a slash.
IDS = {
    "html": "a<img src=x onerror=window.harmed=1>",
    "ansi": "b\x1b[31mred\x1b]0;harmed\x07",
    "lines": "c\nd",
    "quotes": "e\"'`${window.harmed=1};--",
    "an option": "--help",
    "coded": "f%2e%2e%2fg?h=i#j",
}
#: What is too much, or no text at all: refused with a reason.
REFUSED = {
    "a megabyte": "x" * 1_000_000,
    "more than args may be": "x" * 40_000,
    "NUL": "a\0b",
    "half a character": "a\ud800b",
}

JOB = {
    "params": {"text": {"default": "none", "description": HTML + ANSI}},
    "metadata": {"description": HTML + ANSI, "labels": [HTML[:60], ANSI]},
    "program": {"type": "shell", "command": 'printf "%s\\n" "$APSIS_ARG_TEXT" "$LARGE"; exit 1'},
    "env": {"LARGE": "=" * 2000 + HTML + ANSI},
}
CALM = "params: [text]\nprogram: {type: shell, command: 'printf %s \"$APSIS_ARG_TEXT\"'}\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, warm: Warm) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("hostile")
    jobs = {job_id: json.dumps(JOB) for job_id in IDS.values()}
    broken = {f"broken{HTML[:20]}": f"progam: {json.dumps(HTML + ANSI)}\n"}
    with served(folder, {"calm": CALM, **jobs, **broken}, dashboards="process") as server:
        yield server


def test_it_is_text_in_every_page_and_command(server: Served, browser: Browser, tmp_path: Path) -> None:
    with server.client() as client:
        runs = [client.schedule("calm", args={"text": text}, label=text[:256]) for text in TEXTS.values()]
        for run, text in zip(runs, TEXTS.values(), strict=True):
            assert run.result().output_bytes() == text.encode()  # as it was said: no shell has read it
        bad = [client.schedule(job_id, args={"text": HTML}).wait() for job_id in IDS.values()]
        assert {run.state for run in bad} == {"failure"}
        for what, text in REFUSED.items():
            for asked in (
                {"job": "calm", "args": {"text": text}},
                {"job": "calm", "args": {"text": "x"}, "label": text},
                {"job": text},
            ):
                with pytest.raises(ClientError) as refused:
                    client.schedule(**asked)  # type: ignore[arg-type]
                assert len(str(refused.value)) < 20_000, what
        for text in (HTML + ANSI, TEXTS["lines"]):
            client.pause(IDS["html"], reason=text)
        with pytest.raises(BadRequest, match="at most 2000"):
            client.pause("calm", reason="x" * 3000)

        faults = [
            *_ask_everything(server),
            *_run_every_command(Shell(tmp_path, server.env), server.jobs, runs[0].run_id, bad[0].run_id),
            *_open_every_page(
                server, browser, [runs[0].run_id, runs[4].run_id, *(r.run_id for r in bad[:2])]
            ),
        ]
        assert not faults, "\n".join(faults)

        # Nothing was lost, and nothing came to be that should not.
        assert client.alive()["alive"]
        kept = client.sql("SELECT count(*) AS n FROM runs WHERE state IN ('success', 'failure')")
        assert kept["n"].item() == len(runs) + len(bad)
        assert set(client.jobs) == {"calm", *IDS.values()}
    made = [path for path in server.jobs.parent.rglob("*harmed*") if path.suffix != ".yaml"]
    assert made == []
    assert "Traceback" not in (server.jobs.parent / "server.log").read_text()


# -- what programs ask; each part gives what is wrong


def _ask_everything(server: Served) -> Iterator[str]:
    """Each text as each part of each address, and in each header that is read."""
    routes = [
        *("/jobs/{}", "/yaml/{}", "/versions/{}", "/next/{}", "/why/{}", "/runs/{}", "/runs/{}/log"),
        *("/runs/1/outputs/{}", "/backfills/{}", "/history/{}", "/jobs?q={}", "/jobs?label={}&path={}"),
        *("/runs?job_id={}", "/runs?label={}&state={}", "/runs?arg.text={}", "/runs?arg.{}=x"),
        *("/runs?since={}", "/runs?cursor={}", "/history/runs?job_id={}", "/why/calm?at={}&arg.text={}"),
        *("/events?types={}", "/expected?since={}"),
    ]
    token = {"Authorization": f"Bearer {server.token}"}
    texts = {**TEXTS, "NUL": "a\0b", "long": "x" * 30_000}
    told = {"application/json", "application/problem+json", "text/yaml; charset=utf-8"}
    with httpx2.Client(base_url=f"{server.url}/api/v1", headers=token, trust_env=False) as http:
        for name, text in texts.items():
            for route in routes:
                answer = http.get(route.replace("{}", quote(text, safe="")))
                kind = answer.headers.get("content-type")
                is_too_long = name == "long" and answer.status_code in {400, 414}  # the address itself is
                if (
                    answer.status_code >= 500
                    or "set-cookie" in answer.headers
                    or "root:" in answer.text
                    or not (kind in told or is_too_long)
                ):
                    yield f"{route} {name}: {answer.status_code} {kind} {answer.text[:200]}"
            shown = re.sub(rb"[\0-\x1f]+", b" ", text.encode("ascii", "replace")).strip()
            for header in (b"Last-Event-ID", b"If-None-Match", b"X-Request-Id", b"Accept", b"Cookie"):
                answer = http.get("/runs?limit=1", headers=[(header, shown)])
                if answer.status_code >= 500:
                    yield f"{header!r} {name}: {answer.status_code} {answer.text[:200]}"


# -- the command line


def _run_every_command(shell: Shell, jobs: Path, good: str, bad: str) -> Iterator[str]:
    """Listings of what is hostile in each form, then each text as each argument."""
    listings = ["jobs", "runs", f"run {bad}", f"log {bad}", f"why {bad}", "doctor", "retention"]
    listings += ["token list", "sql FROM(runs)", "backfills", "stats"]
    words = [text.split() for text in listings] + [["check", str(jobs)]]
    words += [["job", job_id] for job_id in IDS.values() if not job_id.startswith("-")]
    words += [["next", IDS["html"]], ["runs", "--job", IDS["quotes"]]]
    for said in words:
        yield from _faults_of(shell, said)
    for said in (["jobs"], ["runs", "--limit", "100"], ["log", bad]):
        assert json.loads(shell(*said, "--format", "json").stdout)
        assert list(csv.reader(io.StringIO(shell(*said, "--format", "csv").stdout)))
    for text in [*MANY.values(), "x" * 100_000]:
        for said in (
            *(["jobs", text], ["job", text], ["runs", text], ["run", text], ["why", text], ["log", text]),
            *(["output", text], ["output", good, text], ["schedule", text], ["next", text], ["sql", text]),
            *(["pause", text, "--reason", text], ["resume", text], ["revert", text, "1"], ["start", text]),
            *(["mark", text, good], ["signal", text, good], ["backfill", text, "--from", text, "--to", text]),
            *(["check", text], ["new", text, "--out", "made"], ["new", "made", "--template", text]),
            *(["runs", "--since", text], ["runs", "--state", text], ["jobs", "--url", text]),
            ["schedule", "calm", f"text={text}", "--at", "2031-01-01", "--label", text[:200]],
            *(["schedule", "calm", f"{text}=x"], ["token", "revoke", text], ["notify-test", text]),
            *(["serve", "no such folder", "--set", f"{text}=1"], ["serve", "--config", text]),
        ):
            yield from _faults_of(shell, said)


def _faults_of(shell: Shell, words: list[str]) -> Iterator[str]:
    """What of that which a command prints is not fit for a terminal, or for people."""
    ended = shell(*words)
    told = ended.stdout + ended.stderr
    what = f"{[word[:50] for word in words]}: "
    if ended.returncode not in {0, 1, 2}:
        yield f"{what}ended with {ended.returncode}"
    for wrong in ("Traceback", "this is a fault of apsis-nb", "root:"):
        if wrong in told and words[0] != "check":  # which tells of any file that its user can read
            yield f"{what}{told[:300]}"
    moves = re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", told)
    if moves and (words[0] != "output" or ended.returncode):
        yield f"{what}{moves[0]!r} in {told[max(0, moves.start() - 100) : moves.end() + 100]!r}"


# -- pages


def _open_every_page(server: Served, browser: Browser, run_ids: list[str]) -> Iterator[str]:
    """What is hostile as it is shown, then each text as each part of each address."""
    demo = Demo(server.url, server.token, server.jobs.parent)
    wait_for_dashboards(demo)
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    context.add_init_script(DEEP)
    context.request.get(f"{server.url}/?token={server.token}")
    reader = Reader(demo, context, [])
    for page in ("overview", "timeline?since=1h", *(f"run?id={run_id}" for run_id in run_ids)):
        tab = reader.open(page)
        yield from _harm_of(tab, page)
        if page.startswith("run?id=") and page != f"run?id={run_ids[1]}":
            tab.wait_for_function("() => deep('*').some(e => e.textContent.includes('onerror='))")
        tab.close()
    yield from reader.complaints
    tab = context.new_page()
    # A page may say that something is not there, and the browser then complains of the status.
    for page in ("status", "docs"):
        tab.goto(f"{server.url}/{page}")
        yield from _harm_of(tab, page)
    for name, text in MANY.items():
        keys = ("since", "until", "job", "label", "state", "late", "q")
        for page, params in (
            ("dash/run", {"id": text}),
            ("dash/timeline", dict.fromkeys(keys, text)),
            ("login", {"next": text, "failed": text}),
            ("status", {"again": text}),
        ):
            tab.goto(f"{server.url}/{page}?{urlencode(params)}")
            yield from _harm_of(tab, f"{page} {name}")
        tab.goto(f"{server.url}/dash/{quote(text, safe='')}")
        yield from _harm_of(tab, f"dash/ {name}")
    context.close()


def _harm_of(tab: Page, what: str) -> Iterator[str]:
    tab.wait_for_load_state()
    harm = tab.evaluate(
        "() => [window.harmed ?? 0, ...deep('img[src=x], svg[onload]').map(e => e.outerHTML)]"
    )
    if harm != [0]:
        yield f"{what}: {harm}"
    if any(cookie["name"] == "harmed" for cookie in tab.context.cookies()):
        yield f"{what}: sets a cookie"
