"""The widgets in a real JupyterLab: a form that runs a job, and the studio that makes one."""

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import nbformat
import pytest
from playwright.sync_api import Browser, Page

from tests.browser.conftest import PICTURES
from tests.client.serving import Served, environment, served

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PATIENCE_MS = 60_000
CELLS = (
    "import apsis_nb as ap\nclient = ap.connect()",
    'form = ap.widgets.RunForm(client, "greet/hello")\nform',
    'studio = ap.widgets.JobStudio(client, "lab/new")\nstudio',
    "runs = ap.widgets.LiveRuns(client, rows=5)\nruns",
    'slow = ap.widgets.RunCard(client, client.adhoc("echo up; sleep 600"))\nslow',
    'print("ALL" + "DONE")',
)
LAB = (
    "--no-browser --allow-root --ServerApp.ip=127.0.0.1 --ServerApp.port_retries=0 --IdentityProvider.token="
    " --ServerApp.password= --ServerApp.disable_check_xsrf=True --LabApp.news_url=None"
    " --LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate --LabApp.extension_manager=readonly"
    " --LabApp.expose_app_in_browser=True --LanguageServerManager.autodetect=False"
)
CHANGE_THEME = "'apputils:change-theme', {theme: 'JupyterLab Dark'}"
KERNEL = "window.jupyterapp.shell.currentWidget.sessionContext.session.kernel"
EDITOR = "document.querySelector('[aria-label=\"Job file\"]').closest('.cm-editor')"
#: What a browser tells its reader, and that he allows it.
NOTIFICATIONS = """
window.told = []
window.Notification = class {
  constructor(title, { body }) { window.told.push(`${title}: ${body}`) }
  static requestPermission() { return Promise.resolve("granted") }
}
"""
#: Cells that are out of sight would leave the page.
TRACKER = {"windowingMode": "none"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("server")) as server:
        yield server


@contextmanager
def lab(folder: Path, server: Served) -> Iterator[str]:
    """The address of a JupyterLab with a notebook of `CELLS`."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python", "language": "python"}
    (folder / "work").mkdir()
    nbformat.write(notebook, folder / "work" / "x.ipynb")
    settings = folder / "settings" / "@jupyterlab" / "notebook-extension"
    settings.mkdir(parents=True)
    (settings / "tracker.jupyterlab-settings").write_text(json.dumps(TRACKER))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = environment(folder) | {
        "APSIS_NB_URL": server.url,
        "APSIS_NB_TOKEN": server.token,
        "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
        "IPYTHONDIR": str(folder / "ipython"),
    }
    env |= {f"JUPYTER_{name}_DIR": str(folder / name.lower()) for name in ("CONFIG", "DATA", "RUNTIME")}
    words = [*LAB.split(), f"--ServerApp.port={port}", f"--ServerApp.root_dir={folder / 'work'}"]
    with (folder / "lab.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *words], env=env, cwd=folder, stdout=log, stderr=log
        )
    try:
        url, until = f"http://127.0.0.1:{port}", time.monotonic() + PATIENCE_MS / 1000
        while True:
            try:
                if httpx2.get(f"{url}/api/status", trust_env=False).is_success:
                    break
            except httpx2.TransportError:
                pass
            assert process.poll() is None, (folder / "lab.log").read_text()
            assert time.monotonic() < until, (folder / "lab.log").read_text()
            threading.Event().wait(0.1)
        yield url
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:  # it waits for its kernels, and on a busy machine for long
            process.kill()
            process.wait(30)


def run_all(page: Page) -> None:
    """Run all cells, once there is a kernel."""
    page.wait_for_function(
        """() => {
          const kernel = window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel
          return kernel?.connectionStatus === "connected" && kernel?.status === "idle"
        }"""
    )
    page.evaluate("() => { void window.jupyterapp.commands.execute('notebook:run-all-cells') }")
    page.locator('.jp-OutputArea-output:has-text("ALLDONE")').wait_for()


def picture(page: Page, name: str) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    # While the theme changes it is spread over all.
    page.wait_for_function("() => !document.getElementById('jupyterlab-splash')")
    page.screenshot(path=PICTURES / f"{name}.png")


def test_a_form_runs_a_job_and_the_studio_makes_one(browser: Browser, server: Served, tmp_path: Path):
    with lab(tmp_path, server) as url, server.client() as client:
        context = browser.new_context(viewport={"width": 1300, "height": 1500}, timezone_id="Europe/London")
        context.add_init_script(NOTIFICATIONS)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{url}/lab/tree/x.ipynb?reset")
        run_all(page)
        saved = page.locator("[class^=apsis-still]")
        assert [saved.nth(n).is_visible() for n in range(saved.count())] == [False] * 4

        # A card: stopped after a question, and the browser tells of the end.
        page.get_by_role("button", name="Tell me").click()
        page.get_by_role("button", name="Will tell you").wait_for()
        page.locator("button:text-is('Stop')").click()
        page.get_by_role("button", name="Stop it").click()
        page.wait_for_function("() => window.told.length")
        (told,) = page.evaluate("() => window.told")
        assert ": failure: r" in told

        # A form, filled in; its run as a card that follows it to the end.
        page.get_by_label("name", exact=True).fill("lab")
        page.get_by_text("would run").first.wait_for()
        page.get_by_role("button", name="Run", exact=True).click()
        page.locator(".apsis-tail", has_text="hello lab").first.wait_for()
        page.get_by_role("button", name="Run again").first.wait_for()
        page.locator(
            "td", has_text="greet/hello(name=lab)"
        ).first.wait_for()  # the table of the newest follows, too

        # The studio: a template, a fault that is marked, mended, saved.
        page.get_by_title("A template").select_option(label="interval: " + description(client, "interval"))
        editor = page.get_by_label("Job file")
        page.locator(".cm-line", has_text="type: interval").wait_for()
        page.get_by_text("not saved").first.wait_for()
        page.get_by_label("interval", exact=True).fill("25m")
        page.get_by_label("interval", exact=True).press("Enter")
        page.locator(".cm-line", has_text='interval: "25m"').wait_for()
        editor.click()
        page.keyboard.press("Control+End")
        page.keyboard.type("\nprogam: x")
        page.locator(".cm-lint-marker-error").wait_for()
        page.get_by_text("did you mean 'program'").first.wait_for()
        assert page.get_by_role("button", name="Save", exact=True).is_disabled()
        picture(page, "jupyterlab-light")
        for _ in range(len("progam: x") + 1):
            page.keyboard.press("Backspace")
        page.locator(".cm-lint-marker-error").wait_for(state="detached")
        page.get_by_text("When it runs").first.wait_for()
        page.get_by_role("button", name="Save", exact=True).click()
        page.get_by_text("saved", exact=True).first.wait_for()
        assert client.jobs["lab/new"].facts["schedule"][0]["interval"] == 25 * 60

        page.evaluate(f"() => {{ void window.jupyterapp.commands.execute({CHANGE_THEME}) }}")
        page.wait_for_function("() => document.body.dataset.jpThemeLight === 'false'")
        page.wait_for_function(
            f"() => getComputedStyle({EDITOR}).backgroundColor === 'rgb(23, 25, 30)'"
        )  # the editor follows
        picture(page, "jupyterlab-dark")

        # Saved, and opened again with another kernel: each is as it was last.
        page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")
        page.evaluate(f"() => {KERNEL}.restart()")
        page.reload()
        saved.filter(has_text="hello lab").filter(has_text="success").wait_for()
        saved.filter(has_text='interval: "25m"').wait_for()
        assert saved.count() == 4
        picture(page, "jupyterlab-saved")
        assert [address for address in asked if not address.startswith((url, "data:", "blob:"))] == []
        context.close()


def description(client, name: str) -> str:
    return next(t["description"] for t in client.templates() if t["name"] == name)
