"""The dashboards are a process of their own, behind the same address and log-in."""

import asyncio
import json
import os
import re
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin, Subprotocol

from apsis_nb.server.dashboards import socket_of
from tests.server.conftest import Served, serving, until

HERE = Path(__file__).parent
COMMAND = (sys.executable, str(HERE / "pages.py"))


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server whose dashboards have come up."""
    with serving(tmp_path_factory.mktemp("pages"), dashboards_command=COMMAND) as served:
        with served.client() as client:
            until("the dashboards are up", lambda: client.get("/dash/told").status_code == 200)
        yield served


@pytest.fixture(scope="module")
def browser(pages: Served) -> Iterator[httpx2.Client]:
    """A browser that is logged in."""
    with httpx2.Client(base_url=pages.url, trust_env=False, timeout=20) as client:
        client.get("/", params={"token": pages.gate.token})
        client.headers["Origin"] = pages.url
        yield client


def test_a_page_is_asked_as_the_process_expects_it(browser: httpx2.Client, pages: Served) -> None:
    told = browser.get("/dash/told?id=r1&x=a%2Fb").json()
    headers = dict(told["headers"])
    assert (told["method"], told["path"], told["query"]) == ("GET", "/dash/told", "id=r1&x=a%2Fb")
    assert headers["host"] == "localhost"
    assert headers["x-forwarded-host"] == pages.url.removeprefix("http://")
    assert (headers["x-forwarded-proto"], headers["x-forwarded-for"]) == ("http", "127.0.0.1")
    assert "origin" not in headers


def test_the_process_learns_who_asks_but_gets_no_log_in(browser: httpx2.Client, pages: Served) -> None:
    browser.cookies.set("panel", "x")
    told = browser.get(
        "/dash/told", headers={"X-Apsis-Session": "forged", "X-Forwarded-Proto": "https"}
    ).json()
    headers = told["headers"]
    (session,) = [value for name, value in headers if name == "x-apsis-session"]
    known = pages.gate.session(session, "dashboards", now=time.time())
    assert known is not None
    assert (known.user, known.role) == ("ann", "admin")
    assert [value for name, value in headers if name == "x-forwarded-proto"] == ["http"]
    (cookies,) = [value for name, value in headers if name == "cookie"]
    assert "panel=x" in cookies
    assert pages.gate.cookie not in cookies
    assert not [name for name, _ in headers if name == "authorization"]


def test_the_key_of_the_process_makes_a_session_a_bearer_token(browser: httpx2.Client, pages: Served) -> None:
    told = browser.get("/dash/told").json()
    session = dict(told["headers"])["x-apsis-session"]

    def status(token: str, method: str = "GET", path: str = "/api/v1/alive") -> int:
        headers = {"Authorization": f"Bearer {token}"}
        return httpx2.request(
            method, pages.url + path, headers=headers, trust_env=False, verify=False
        ).status_code

    assert status(session) == 401  # as it is in the page's HTML
    assert status(f"{told['secrets']['key']}~{session}") == 200
    own = told["secrets"]["token"]
    assert status(own) == 200
    assert status(own, "POST", "/api/v1/jobs/reload?dry_run=1") == 403
    assert not any(own in arg or told["secrets"]["key"] in arg for arg in told["argv"])


def test_answers_come_back_whole(browser: httpx2.Client) -> None:
    response = browser.post("/dash/told", content=b"some text")
    assert response.json()["body"] == "some text"
    assert response.headers.get_list("set-cookie") == [
        "a=1; Path=/; SameSite=lax",
        "b=2; Path=/; SameSite=lax",
    ]
    assert "default-src 'self'" in response.headers["content-security-policy"]
    assert browser.get("/dash/nothing").status_code == 404


def test_an_answer_is_passed_on_piece_by_piece(browser: httpx2.Client) -> None:
    with browser.stream("GET", "/dash/pieces") as response:
        parts = response.iter_raw()
        assert next(parts) == b"first "
        browser.get("/dash/more")
        assert b"".join(parts) == b"second"


def test_a_script_is_fetched_once_compressed_and_kept(browser: httpx2.Client) -> None:
    first = browser.get("/dash/static/app.js")
    assert first.headers["content-encoding"] == "gzip"
    assert int(first.headers["content-length"]) < 1000
    assert first.text.endswith("x" * 10_000)
    assert browser.get("/dash/static/app.js").text == first.text  # the process would have counted on
    assert first.headers["cache-control"] == "private, max-age=3600"
    again = browser.get("/dash/static/app.js", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("query", ["?v=0123456789abcdef0123", "?x=@1.10.0"])
def test_a_script_of_one_version_is_kept_for_ever(browser: httpx2.Client, query: str) -> None:
    for coding in ("gzip", "identity"):
        response = browser.get(f"/dash/static/app.js{query}", headers={"Accept-Encoding": coding})
        assert response.headers["cache-control"] == "private, max-age=31536000, immutable"
        assert response.headers.get("content-encoding", "identity") == coding


def test_a_script_that_is_not_there_is_not_kept(browser: httpx2.Client) -> None:
    response = browser.get("/dash/static/none.js")
    assert response.status_code == 404
    assert "max-age" not in response.headers.get("cache-control", "")


# -- websockets


def run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def in_time() -> None:
        async with asyncio.timeout(20):
            await work()

    asyncio.run(in_time())


def websocket(pages: Served, **settings: Any) -> connect:
    given: dict[str, Any] = {"additional_headers": pages.bearer, "proxy": None, "origin": Origin(pages.url)}
    return connect(pages.url.replace("http", "ws") + "/dash/told/ws?a=1", **(given | settings))


def test_a_websocket_passes_both_ways(pages: Served) -> None:
    async def work() -> None:
        protocols = [Subprotocol("bokeh"), Subprotocol("session.token")]
        async with websocket(pages, subprotocols=protocols, max_size=None) as ws:
            assert ws.subprotocol == "bokeh"
            told = json.loads(await ws.recv())
            headers = dict(told["headers"])
            assert (headers["host"], headers["origin"]) == ("localhost", "http://localhost")
            assert headers["sec-websocket-protocol"].replace(" ", "") == "bokeh,session.token"
            assert told["path"].endswith("/dash/told/ws?a=1")
            assert pages.gate.session(headers["x-apsis-session"], "dashboards", now=time.time())
            for message in ("text", b"bytes", "", b"", "x" * 3_000_000, "ü"):
                await ws.send(message)
                assert await ws.recv() == message

    run(work)


def test_when_the_process_closes_a_websocket_the_browser_hears_of_it(pages: Served) -> None:
    async def work() -> None:
        async with websocket(pages) as ws:
            await ws.recv()
            await ws.send("close")
            with pytest.raises(ConnectionClosed):
                await ws.recv()

    run(work)


def test_when_the_browser_leaves_the_process_hears_of_it(pages: Served, browser: httpx2.Client) -> None:
    async def work() -> None:
        async with websocket(pages) as ws:
            await ws.recv()

    run(work)
    assert browser.get("/dash/left").status_code == 200


@pytest.mark.parametrize(
    "settings",
    [
        {"origin": "http://evil.example"},
        {"additional_headers": {}},
        {"additional_headers": {"Cookie": "a=b"}},
    ],
)
def test_a_websocket_of_somebody_else_is_refused(pages: Served, settings: dict[str, Any]) -> None:
    async def work() -> None:
        with pytest.raises(InvalidStatus) as refused:
            async with websocket(pages, **settings):
                pass
        assert refused.value.response.status_code == 403

    run(work)


def test_a_real_bokeh_page_connects_through_the_proxy(tmp_path: Path) -> None:
    command = (sys.executable, str(HERE / "bokeh_pages.py"))
    with serving(tmp_path, dashboards_command=command) as served, served.client() as client:
        page = until("it is up", lambda: (r := client.get("/dash/empty")).status_code == 200 and r)
        (token,) = set(re.findall(r'"token":"([^"]+)"', page.text))

        async def work() -> None:
            protocols = [Subprotocol("bokeh"), Subprotocol(token)]
            address = served.url.replace("http", "ws") + "/dash/empty/ws"
            settings: dict[str, Any] = {"additional_headers": served.bearer, "proxy": None}
            async with connect(address, subprotocols=protocols, origin=Origin(served.url), **settings) as ws:
                assert json.loads(await ws.recv())["msgtype"] == "ACK"

        run(work)
        assert client.get("/dash/static/js/bokeh.min.js").headers["content-encoding"] == "gzip"


# -- the process


def test_until_the_process_is_up_a_page_says_so(tmp_path: Path) -> None:
    never = (sys.executable, "-c", "import sys; sys.stdin.read()")
    with serving(tmp_path, dashboards_command=never) as served, served.client() as client:
        response = client.get("/dash/overview")
        assert response.status_code == 503
        assert "dashboards are starting" in response.text
        assert 'http-equiv="refresh"' in response.text

        async def work() -> None:
            async with websocket(served):
                pass

        with pytest.raises((InvalidStatus, ConnectionClosed)):
            run(work)


def test_a_process_that_dies_is_started_again(tmp_path: Path) -> None:
    with serving(tmp_path, dashboards_command=COMMAND) as served, served.client() as client:

        def pid() -> int | None:
            response = client.get("/dash/told")
            return int(response.json()["pid"]) if response.status_code == 200 else None

        first = until("it is up", pid)
        assert client.get("/dash/die").status_code == 503
        second = until("it is up again", pid)
        assert second != first
    assert not Path(f"/proc/{second}").exists()


def test_a_process_that_cannot_be_started_harms_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(tmp_path, dashboards_command=("/no/such/program",)) as served, served.client() as client:
        until("it was tried again", lambda: caplog.text.count("No such file or directory") >= 2)
        assert client.get("/dash/overview").status_code == 503
        assert client.get("/api/v1/alive").json()["alive"] is True


def test_the_process_ends_with_the_server(tmp_path: Path) -> None:
    with serving(tmp_path, dashboards_command=COMMAND) as served, served.client() as client:
        response = until("it is up", lambda: (r := client.get("/dash/told")).status_code == 200 and r)
        pid = response.json()["pid"]
        assert socket_of(served.config.state_dir).stat().st_mode & 0o077 in {0, 0o066}
    assert not Path(f"/proc/{pid}").exists()
    assert not socket_of(served.config.state_dir).exists()


def test_a_process_that_does_not_leave_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apsis_nb.server.dashboards._LEAVE_S", 0.2)
    marker = tmp_path / "pid"
    stubborn = f"import os, time; open({str(marker)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    with serving(tmp_path, dashboards_command=(sys.executable, "-c", stubborn)):
        pid = until("it runs", lambda: marker.exists() and marker.read_text())
    assert not Path(f"/proc/{pid}").exists()


def test_a_state_folder_with_a_long_name_has_its_socket_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert socket_of(Path("/short")) == Path("/short/dash.sock")
    elsewhere = socket_of(Path("/" + "long" * 30))
    assert len(os.fsencode(elsewhere)) < 108
    assert elsewhere.parent.is_dir()


def test_where_all_paths_are_long_the_socket_has_a_folder_that_goes_with_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("long" * 30)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(deep))
    with serving(deep, dashboards_command=COMMAND) as served, served.client() as client:
        told = until("it is up", lambda: (r := client.get("/dash/told")).status_code == 200 and r).json()
        socket = Path(told["argv"][told["argv"].index("--socket") + 1])
        assert len(os.fsencode(socket)) < 108
        assert socket.parent.stat().st_mode & 0o077 == 0
    assert not socket.parent.exists()
