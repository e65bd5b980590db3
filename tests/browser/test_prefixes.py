"""The pages below a prefix that the server is not told: behind a proxy that takes it away, and in Jupyter."""

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest

from apsis_nb.client import Client
from tests.browser.conftest import Demo, Reader
from tests.browser.stripping import stripping
from tests.server.conftest import until

pytestmark = pytest.mark.browser


@contextmanager
def jupyter(folder: Path, url: str) -> Iterator[str]:
    """The address of the server at `url` in a Jupyter server with jupyter-server-proxy."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [
        sys.executable, "-m", "jupyter_server", "--no-browser", "--allow-root",
        f"--ServerApp.port={port}", f"--ServerApp.root_dir={folder}", "--IdentityProvider.token=",
        "--ServerApp.base_url=/user/ann", "--ServerApp.jpserver_extensions={'jupyter_server_proxy': True}",
    ]  # fmt: skip
    with (folder / "jupyter.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    try:
        here = f"http://127.0.0.1:{port}/user/ann"
        until("Jupyter answers", lambda: _answers(f"{here}/api"), 60)
        yield f"{here}/proxy/{urlsplit(url).port}"
    finally:
        process.terminate()
        process.wait(30)


def _answers(url: str) -> bool:
    try:
        return httpx2.get(url, trust_env=False).status_code == 200
    except httpx2.TransportError:
        return False


@pytest.fixture(params=["a proxy", "jupyter"])
def below(request: pytest.FixtureRequest, demo: Demo, tmp_path: Path) -> Iterator[str]:
    """The demo's address below a prefix."""
    way = stripping("/team/apsis", demo.url) if request.param == "a proxy" else jupyter(tmp_path, demo.url)
    with way as url:
        yield url


def test_all_that_people_and_programs_use_works_below_a_prefix(
    demo: Demo, below: str, reader: Callable[..., Reader]
) -> None:
    # Programs: the interface and its events.
    with Client(below, demo.token) as client:
        assert client.version()["version"]
        assert next(client.events()).type == "hello"

    # Who has no log-in comes to the form, and from there to the page that was asked for.
    someone = reader(at=below, logged_in=False)
    tab = someone.context.new_page()
    tab.goto(f"{below}/dash/timeline?since=1h")
    assert tab.url.startswith(f"{below}/login?")
    tab.get_by_label("Token").fill("wrong")
    tab.get_by_role("button", name="Log in").click()
    assert "not the token of this server" in tab.content()
    assert tab.url == f"{below}/login"
    tab.get_by_label("Token").fill(demo.token)
    tab.get_by_role("button", name="Log in").click()
    tab.wait_for_url(f"{below}/dash/timeline?since=1h")
    tab.close()

    # The printed link, then the pages with their websocket, and from one to the next.
    ann = reader(at=below)
    tab = ann.open("overview")
    tab.get_by_role("link", name="Timeline").click()
    tab.wait_for_url(f"{below}/dash/timeline*")
    tab.goto(f"{below}/status")
    tab.get_by_role("link", name="Dashboards").click()
    tab.wait_for_url(f"{below}/dash/overview")
    tab.goto(f"{below}/docs")
    assert tab.request.get(f"{below}/api/v1/openapi.json").ok

    # Out again, which ends it for the pages too.
    tab.goto(f"{below}/logout")
    assert tab.url == f"{below}/login"
    assert tab.goto(f"{below}/dash/overview") is not None
    assert tab.url.startswith(f"{below}/login?")
