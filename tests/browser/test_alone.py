"""The same pages under `panel serve`, with no proxy between, for a server or a file that is named to them."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx2
from playwright.sync_api import Browser

from apsis_nb import open as history_file
from apsis_nb.demo.history import make_history
from tests.browser.conftest import DEEP, PATIENCE_MS, START_S, Demo, settle
from tests.client.serving import environment
from tests.engine.serving import free_port

PAGES = sorted(str(page) for page in (Path(__file__).parents[2] / "dashboards").glob("*.py"))


@contextmanager
def panel_serve(tmp_path: Path, *args: str) -> Iterator[str]:
    """Where `panel serve dashboards/*.py --args ...` answers."""
    port = free_port()
    command = [sys.executable, "-m", "panel", "serve", *PAGES, "--port", str(port), "--args", *args]
    log = tmp_path / "panel.log"
    with log.open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=environment(tmp_path))
    try:
        until = time.monotonic() + START_S
        while not answers(f"http://localhost:{port}/overview"):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            threading.Event().wait(0.1)
        yield f"http://localhost:{port}"
    finally:
        process.terminate()
        process.wait(START_S)


def answers(url: str) -> bool:
    try:
        return httpx2.get(url, trust_env=False, verify=False, timeout=30).status_code == 200
    except httpx2.TransportError:
        return False


def see(browser: Browser, alone: str, words: dict[str, str], *, absent: str = "") -> None:
    """Each page says its words, and asks no other host.

    Args:
        words: by address.
        absent: a selector of what no page has.
    """
    context = browser.new_context()
    context.add_init_script(DEEP)
    tab = context.new_page()
    tab.set_default_timeout(PATIENCE_MS)
    elsewhere: list[str] = []
    own = (alone, alone.replace("http", "ws", 1), "data:", "blob:")
    tab.on("request", lambda request: None if request.url.startswith(own) else elsewhere.append(request.url))
    for page, said in words.items():
        tab.goto(f"{alone}/{page}")
        settle(tab)
        tab.wait_for_function("said => deep('*').some(e => e.textContent.includes(said))", arg=said)
        assert not absent or tab.evaluate("absent => deep(absent).length", absent) == 0

    context.close()
    assert elsewhere == []


def test_the_pages_are_served_without_the_server(demo: Demo, browser: Browser, tmp_path: Path):
    run = demo.client().adhoc("echo seen by panel alone", label="alone").wait(30)
    # Of each kind one: the others differ in nothing that has to do with who serves them.
    words = {
        "overview": "Next 24 hours",
        "timeline": "Runs",
        f"run?id={run.run_id}": "seen by panel alone",
        "history": "Calendar",
        "job?id=sales/report": "sales/import",
    }

    with panel_serve(tmp_path, "--url", demo.url, "--token", demo.token) as alone:
        see(browser, alone, words)


def test_a_file_is_shown_without_any_server_and_nothing_can_be_done_to_it(browser: Browser, tmp_path: Path):
    file = tmp_path / "runs.duckdb"
    make_history(file, 3000, until=datetime(2026, 3, 1, tzinfo=UTC))
    with history_file(file) as runs:
        run_id = runs.runs(since=None, state="failure", limit=1)["run_id"].iloc[0]
    words = {"overview": "Read only", "timeline": "Read only", f"run?id={run_id}": "What happened"}
    words |= {"history": "Calendar", "late": "Late most often"}

    with panel_serve(tmp_path, "--file", str(file)) as alone:
        see(browser, alone, words, absent="button[data-title]:not([data-action=days])")
