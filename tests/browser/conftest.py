"""The demo, a browser, and pages that complain of everything a reader would not see."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, sync_playwright

from apsis_nb.client import Client
from tests.client.serving import environment
from tests.conftest import needs

PATIENCE_MS = 30_000
START_S = 120.0

FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync --disable-dev-shm-usage"
)

#: Finds elements below shadow roots too: every piece of a page has its own.
DEEP = """
window.deep = (selector) => {
  const found = []
  const look = (root) => {
    found.push(...root.querySelectorAll(selector))
    for (const el of root.querySelectorAll("*")) { if (el.shadowRoot) { look(el.shadowRoot) } }
  }
  look(document)
  return found
}
"""

#: Tables of which a part can only be seen by scrolling to the side.
WIDE_TABLES = """
() => deep(".scroll").filter(box => box.checkVisibility() && box.scrollWidth > box.clientWidth + 1)
  .map(box => box.querySelector("caption")?.textContent)
"""

#: Where the pages are painted: for whoever wants to look, or with APSIS_PICTURES=1 for the documentation.
PICTURES = (
    Path(__file__).parents[2] / ("docs" if os.environ.get("APSIS_PICTURES") == "1" else "build") / "pictures"
)


@dataclass(frozen=True)
class Demo:
    """The demo that runs."""

    url: str
    token: str
    folder: Path

    def client(self) -> Client:
        return Client(self.url, self.token)


def run_demo(folder: Path, port: int = 0, history: int = 5000) -> tuple[subprocess.Popen[str], Demo]:
    """Start the demo; it is up when this returns."""
    command = [
        sys.executable, "-m", "apsis_nb", "demo", "--dir", str(folder / "demo"), "--history", str(history),
        "--bind", f"127.0.0.1:{port}", "--no-browser",
    ]  # fmt: skip
    with (folder / "demo.log").open("a") as log:
        process = subprocess.Popen(
            command, env=environment(folder), stdout=subprocess.PIPE, stderr=log, text=True
        )
    assert process.stdout is not None
    too_slow = threading.Timer(START_S, process.kill)
    too_slow.start()
    for line in process.stdout:
        address, token, secret = line.strip().rpartition("?token=")
        if token:
            too_slow.cancel()
            url = urlsplit(address[address.index("http") :])
            demo = Demo(f"{url.scheme}://{url.netloc}", secret, folder / "demo")
            wait_for_dashboards(demo)
            return process, demo
    raise AssertionError((folder / "demo.log").read_text())


def wait_for_dashboards(demo: Demo) -> None:
    """The server answers before its dashboards do: until then it says that they are starting."""
    until = time.monotonic() + START_S
    with httpx2.Client(follow_redirects=True) as http:
        while http.get(f"{demo.url}/dash/overview", params={"token": demo.token}).status_code != 200:
            assert time.monotonic() < until, "the dashboards do not start"
            threading.Event().wait(0.1)


def end_demo(process: subprocess.Popen[str]) -> None:
    process.terminate()
    process.communicate(timeout=START_S)


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    process, demo = run_demo(tmp_path_factory.mktemp("demo"))
    yield demo
    end_demo(process)


@pytest.fixture(scope="module")  # while Playwright is open no other test may run a loop on this thread
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=needs("chromium"), args=FLAGS.split())
        yield browser
        browser.close()


@dataclass
class Reader:
    """Somebody with a browser who has logged in."""

    demo: Demo
    context: BrowserContext
    complaints: list[str]

    def open(self, page: str) -> Page:
        """A page of the dashboards, when it has settled."""
        tab = self.context.new_page()
        tab.set_default_timeout(PATIENCE_MS)
        own = self.demo.url

        def asked(url: str) -> None:
            if not url.startswith((own, own.replace("http", "ws", 1), "data:", "blob:")):
                self.complaints.append(f"{page} asks another host: {url}")

        def failed(request: Request) -> None:
            # What the page's policy forbids does not leave the browser, which tells of it all the same.
            told = f"{page} asks another host: {request.url}"
            if request.failure == "csp" and told in self.complaints:
                self.complaints.remove(told)

        def complain(said: ConsoleMessage) -> None:
            self.complaints.append(f"{page}: {said.text} {said.location['url']}")

        tab.on("request", lambda request: asked(request.url))
        tab.on("requestfailed", failed)
        tab.on("websocket", lambda websocket: asked(websocket.url))
        tab.on("pageerror", lambda error: self.complaints.append(f"{page}: {error}"))
        tab.on("console", lambda said: complain(said) if said.type == "error" else None)
        tab.goto(f"{own}/dash/{page}")
        settle(tab)
        return tab


def settle(tab: Page) -> None:
    """Until the page is drawn, its data included."""
    tab.wait_for_function("() => window.Bokeh?.documents[0]?.is_idle")
    tab.wait_for_function(
        "() => deep('.card, .figure').length && !deep('.nothing').some(e => /^Loading/.test(e.textContent))"
    )


@pytest.fixture
def reader(demo: Demo, browser: Browser) -> Iterator[Callable[..., Reader]]:
    """Makes readers; at the end none of them has anything to complain of."""
    readers: list[Reader] = []

    def make(
        *,
        dark: bool = False,
        zone: str = "Europe/London",
        width: int = 1400,
        height: int = 900,
        at: str = demo.url,
        logged_in: bool = True,
    ) -> Reader:
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            timezone_id=zone,
        )
        context.add_init_script(DEEP)
        if logged_in:
            context.request.get(f"{at}/?token={demo.token}")  # its cookies are the pages'
        readers.append(Reader(replace(demo, url=at), context, []))
        return readers[-1]

    yield make
    for reader in readers:
        reader.context.close()
    assert [complaint for reader in readers for complaint in reader.complaints] == []
