"""The widgets in an application with Panel, in a real browser."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.conftest import DEEP, PATIENCE_MS, browser
from tests.client.serving import Served

__all__ = ["browser"]
pytestmark = [pytest.mark.browser, pytest.mark.slow]

APP = """
import panel as pn
import apsis_nb as ap
from apsis_nb.widgets import LiveRuns, RunForm

pn.extension("ipywidgets")
client = ap.connect()
pn.Column(pn.panel(RunForm(client, "greet/hello")), pn.panel(LiveRuns(client, job="greet/hello"))).servable()
"""


@pytest.fixture
def address(tmp_path: Path, server: Served) -> Iterator[str]:
    (tmp_path / "app.py").write_text(APP)
    env = os.environ | {"APSIS_NB_URL": server.url, "APSIS_NB_TOKEN": server.token}
    command = [sys.executable, "-m", "panel", "serve", str(tmp_path / "app.py"), "--port", "0"]
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        told = next(line for line in process.stderr if "running at:" in line)
        yield told.rpartition("running at:")[2].strip()
        process.terminate()
        process.stderr.read()


def test_a_form_and_a_table_work_in_an_application_with_panel(address, browser, client):
    asked = []
    tab = browser.new_page()
    tab.set_default_timeout(PATIENCE_MS)
    tab.add_init_script(DEEP)
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(address)
    button = "() => deep('button').find(b => b.textContent.trim() === 'Run')"
    tab.wait_for_function(button)
    tab.evaluate(f"() => ({button})().click()")

    tab.wait_for_function(
        "() => deep('.widget-html, .jupyter-widgets').some(e => /success/.test(e.textContent))"
    )
    (run, *_) = client.list_runs(job="greet/hello", limit=1)
    tab.wait_for_function("id => deep('td').some(cell => cell.textContent === id)", arg=run["run_id"])
    assert not [url for url in asked if "anywidget" in url]  # Panel would ask another host for it
    tab.close()
