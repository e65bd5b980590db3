"""Nobody comes in who should not; every route of the application is tried."""

import re
import time
from collections.abc import Iterator
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx2
import pytest
from starlette.testclient import TestClient, WebSocketDenialResponse

from apsis_nb.config import load_config
from apsis_nb.server.app import make_app
from apsis_nb.server.callers import Caller
from tests.server.conftest import Served
from tests.server.door import routes

ORIGIN = "http://127.0.0.1:5577"
FOREIGN_HOSTS = ["evil.example", "evil.example:5577", "127.0.0.1.evil.example", "localhost@evil.example", ""]
FORGED = ["x", "", "é", "a~b", "~", "{token}x", "bearer {token}"]


@pytest.fixture(scope="module")
def client(served: Served, tmp_path_factory: pytest.TempPathFactory) -> TestClient:
    """The whole application, dashboards included, without a log-in."""
    state = tmp_path_factory.mktemp("guard")
    config = load_config(None, {"state_dir": str(state), "jobs": str(served.config.jobs)}, env={})
    app = make_app(served.engine, config, gate=served.gate)
    return TestClient(app, base_url=ORIGIN, follow_redirects=False)


@pytest.fixture(scope="module")
def token(served: Served) -> dict[str, str]:
    return served.bearer


def cookie(served: Served, *, role: str = "admin", lasts_s: float = 60) -> dict[str, str]:
    """The header of a browser that is logged in."""
    caller = Caller(user="ann", role=role)  # type: ignore[arg-type]
    signed = served.gate.sign(caller, "browser", now=time.time(), lasts_s=lasts_s)
    return {"Cookie": f"{served.gate.cookie}={signed}"}


def is_page(path: str) -> bool:
    return not path.startswith(("/api/", "/metrics"))


def test_the_walk_sees_the_routes(client: TestClient) -> None:
    seen = routes(client)
    assert len(seen) >= 30
    for expected in (
        ("GET", "/api/v1/alive"),
        ("POST", "/api/v1/runs"),
        ("POST", "/api/v1/runs/1/stop"),
        ("GET", "/api/v1/events"),
        ("GET", "/api/v1/openapi.json"),
        ("POST", "/api/v1/sql"),
        ("GET", "/login"),
        ("GET", "/"),
        ("WS", "/dash/1"),
    ):
        assert expected in seen


def test_no_route_answers_without_a_log_in(client: TestClient) -> None:
    for method, path in routes(client):
        if path == "/login":
            continue
        if method == "WS":
            with pytest.raises(WebSocketDenialResponse) as denied, client.websocket_connect(path):
                pass
            assert denied.value.status_code == 403
            continue
        response = client.request(method, path)
        if is_page(path) and method in {"GET", "HEAD"}:
            assert response.status_code == 303, (method, path)
            assert urljoin(path, response.headers["location"]).startswith("/login?"), (method, path)
        else:
            assert response.status_code == 401, (method, path)
            assert response.headers["www-authenticate"] == "Bearer"
            if method != "HEAD":
                assert response.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("shown", FORGED)
def test_no_route_takes_a_forged_token(client: TestClient, served: Served, shown: str) -> None:
    headers = {"Authorization": f"Bearer {shown.format(token=served.gate.token)}".encode()}
    for method, path in routes(client):
        if path != "/login" and method != "WS":
            assert client.request(method, path, headers=headers).status_code in {401, 303}, (method, path)


@pytest.mark.parametrize("host", FOREIGN_HOSTS)
def test_no_route_answers_under_a_foreign_name(client: TestClient, token: dict[str, str], host: str) -> None:
    for method, path in routes(client):
        headers = token | {"Host": host}
        if method == "WS":
            with (
                pytest.raises(WebSocketDenialResponse) as denied,
                client.websocket_connect(path, headers=headers),
            ):
                pass
            assert denied.value.status_code == 403
        else:
            assert client.request(method, path, headers=headers).status_code == 403, (method, path)


def test_a_cookie_alone_changes_nothing(client: TestClient, served: Served) -> None:
    headers = cookie(served)
    assert client.get("/api/v1/alive", headers=headers).status_code == 200
    assert client.post("/api/v1/jobs/reload?dry_run=1", headers=headers).status_code == 403
    own = headers | {"Origin": ORIGIN}
    assert client.post("/api/v1/jobs/reload?dry_run=1", headers=own).status_code == 200


def test_strange_cookies_of_other_servers_do_not_hide_ours(client: TestClient, served: Served) -> None:
    own = cookie(served)["Cookie"]
    for header in (f'json={{"a": [1, "b"]}}; {own}', f"a b=c d; =; ;{own}; x", f'q="; {own}'):
        assert client.get("/api/v1/alive", headers={"Cookie": header}).status_code == 200, header


def test_a_session_that_has_ended_is_none(client: TestClient, served: Served) -> None:
    assert client.get("/api/v1/alive", headers=cookie(served, lasts_s=-1)).status_code == 401


def test_a_token_in_the_address_of_the_api_is_no_log_in(client: TestClient, served: Served) -> None:
    assert client.get(f"/api/v1/alive?token={served.gate.token}").status_code == 401


def test_a_link_with_the_token_logs_in_and_leaves_no_token_behind(client: TestClient, served: Served) -> None:
    response = client.get(f"/dash/run?id=r1&token={served.gate.token}&x=a%20b")
    assert response.status_code == 303
    assert response.headers["location"] == "../dash/run?id=r1&x=a+b"
    header = response.headers["set-cookie"]
    for part in ("HttpOnly", "SameSite=strict", "Path=/"):
        assert part in header
    assert "Secure" not in header  # or a browser would not send it back over plain HTTP
    assert served.gate.token not in header
    client.cookies.clear()
    name, _, value = header.split(";")[0].partition("=")
    assert client.get("/", headers={"Cookie": f"{name}={value}"}).headers["location"] == "./dash/overview"


def test_a_link_with_a_wrong_token_leads_to_the_log_in_that_says_so(client: TestClient) -> None:
    response = client.get("/dash/overview?token=wrong")
    assert "set-cookie" not in response.headers
    page = client.get(urljoin("/dash/overview", response.headers["location"]))
    assert "not the token of this server" in page.text


def test_over_tls_the_cookie_stays_on_tls(client: TestClient, served: Served) -> None:
    secure = TestClient(client.app, base_url="https://127.0.0.1:5577", follow_redirects=False)
    assert "Secure" in secure.get(f"/?token={served.gate.token}").headers["set-cookie"]


def test_below_a_public_prefix_the_cookie_is_for_what_lies_there_alone(served: Served) -> None:
    given = {"public_url": "https://jobs.example.org/Team/apsis/", "state_dir": str(served.config.state_dir)}
    config = load_config(None, given | {"jobs": str(served.config.jobs)}, env={})
    app = make_app(served.engine, config, gate=served.gate)
    client = TestClient(app, base_url=ORIGIN, follow_redirects=False)
    for host, expected in (("jobs.example.org", "Path=/Team/apsis;"), ("127.0.0.1:5577", "Path=/;")):
        for path in (f"/?token={served.gate.token}", "/logout"):
            set_ = client.get(path, headers=served.bearer | {"Host": host}).headers["set-cookie"]
            assert expected in f"{set_};", (host, path)
            assert ("Secure" in set_) == (host == "jobs.example.org"), (host, path)
        client.cookies.clear()


# -- the log-in page


def test_the_log_in_page_needs_nothing_else(client: TestClient) -> None:
    page = client.get("/login")
    assert page.status_code == 200
    assert not re.search(r"https?://(?!www\.w3\.org)", page.text)
    assert "default-src 'none'" in page.headers["content-security-policy"]


def test_a_browser_logs_in_by_the_form_and_out_again(served: Served) -> None:
    with httpx2.Client(base_url=served.url, trust_env=False, headers={"Origin": served.url}) as browser:
        response = browser.get("/dash/run?id=r1")
        (target,) = parse_qs(urlsplit(response.headers["location"]).query)["next"]
        form = {"token": f" {served.gate.token}\n", "next": target}
        response = browser.post("/login", data=form)
        assert (response.status_code, response.headers["location"]) == (303, "./dash/run?id=r1")
        assert browser.get("/api/v1/alive").status_code == 200
        browser.post("/logout")
        assert browser.get("/api/v1/alive").status_code == 401


def test_a_failed_log_in_says_so_and_keeps_where_it_led(client: TestClient) -> None:
    response = client.post("/login", data={"token": "wrong", "next": "/dash/run?id=r1"})
    assert response.status_code == 401
    assert "not the token of this server" in response.text
    assert 'value="/dash/run?id=r1"' in response.text


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "javascript:alert(1)",
        "",
    ],
)
def test_a_log_in_leads_nowhere_else(client: TestClient, served: Served, target: str) -> None:
    response = client.post("/login", data={"token": served.gate.token, "next": target})
    assert response.headers["location"] == "./dash/overview"


def test_what_a_link_says_is_not_html_in_the_page(client: TestClient) -> None:
    page = client.get("/login", params={"next": '/"><script>alert(1)</script>'})
    assert "<script>" not in page.text


# -- headers


def test_every_page_asks_only_its_own_host(client: TestClient, token: dict[str, str]) -> None:
    headers = client.get("/", headers=token).headers
    policy = headers["content-security-policy"]
    assert "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:" in policy
    assert "connect-src 'self' ws://127.0.0.1:5577 wss://127.0.0.1:5577 data: blob:" in policy
    assert "frame-ancestors 'self'" in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"  # tells other hosts nothing, and forms work


def test_the_policy_cannot_be_added_to_by_a_host_header(client: TestClient, token: dict[str, str]) -> None:
    for host in ("x; script-src *@127.0.0.1:5577", "127.0.0.1:5577 *", "[::1]; x"):
        assert client.get("/", headers=token | {"Host": host}).status_code == 403


@pytest.mark.parametrize("host", ["127.0.0.1:5577", "localhost:5577", "LOCALHOST", "[::1]:5577", "127.0.0.1"])
def test_this_machine_has_several_names(client: TestClient, token: dict[str, str], host: str) -> None:
    assert client.get("/api/v1/version", headers=token | {"Host": host}).status_code == 200


def test_config_adds_names(served: Served) -> None:
    settings = {"public_url": "https://jobs.example.org/", "allowed_hosts": "other.example.org"}
    given = settings | {"jobs": str(served.config.jobs), "state_dir": str(served.config.state_dir)}
    app = make_app(served.engine, load_config(None, given, env={}), gate=served.gate)
    client = TestClient(app, base_url=ORIGIN)
    for host in ("jobs.example.org", "other.example.org:8000", "127.0.0.1:5577"):
        headers = served.bearer | {"Host": host, "Origin": "https://jobs.example.org"}
        assert client.post("/api/v1/jobs/check", headers=headers).status_code == 200
    headers = served.bearer | {"Host": "third.example.org"}
    assert client.post("/api/v1/jobs/check", headers=headers).status_code == 403


@pytest.fixture(autouse=True)
def _no_cookies(request: pytest.FixtureRequest) -> Iterator[None]:
    """No test is logged in by the one before."""
    yield
    if "client" in request.fixturenames:
        request.getfixturevalue("client").cookies.clear()
