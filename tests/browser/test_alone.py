"""The same pages under `panel serve`, with no proxy between, for a server that the command line names."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import Browser

from tests.browser.conftest import DEEP, PATIENCE_MS, START_S, Demo, settle
from tests.client.serving import environment
from tests.engine.serving import free_port

PAGES = sorted(str(page) for page in (Path(__file__).parents[2] / "dashboards").glob("*.py"))


@pytest.fixture
def alone(demo: Demo, tmp_path: Path) -> Iterator[str]:
    """Where `panel serve dashboards/*.py` answers."""
    port = free_port()
    command = [sys.executable, "-m", "panel", "serve", *PAGES, "--port", str(port)]
    command += ["--args", "--url", demo.url, "--token", demo.token]
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


def test_the_pages_are_served_without_the_server(alone: str, demo: Demo, browser: Browser):
    run = demo.client().adhoc("echo seen by panel alone", label="alone").wait(30)
    context = browser.new_context()
    context.add_init_script(DEEP)
    tab = context.new_page()
    tab.set_default_timeout(PATIENCE_MS)
    elsewhere: list[str] = []
    own = (alone, alone.replace("http", "ws", 1), "data:", "blob:")
    tab.on("request", lambda request: None if request.url.startswith(own) else elsewhere.append(request.url))
    words = {
        "overview": "Next 24 hours",
        "timeline": "Runs",
        "schedule": "Week",
        "late": "Late most often",
        "history": "Calendar",
        f"run?id={run.run_id}": "seen by panel alone",
    }

    for page, said in words.items():
        tab.goto(f"{alone}/{page}")
        settle(tab)
        tab.wait_for_function("said => deep('*').some(e => e.textContent.includes(said))", arg=said)

    context.close()
    assert elsewhere == []
