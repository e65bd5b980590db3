"""A server at a unix socket: commands, clients and the door, as at a port."""

import json
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx2
import pytest

from apsis_nb.cli.completion import VARIABLE
from apsis_nb.client import Client
from tests.cli.conftest import Shell
from tests.client.serving import Served, served


@pytest.fixture(scope="module")
def at_socket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server at a socket that one left there which was killed."""
    folder = tmp_path_factory.mktemp("unix")
    path = folder / "http.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with served(folder, bind=f"unix:{path}") as server:
        yield server
    assert not path.exists()


def test_commands_and_clients_reach_it(at_socket: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = Path(at_socket.url.removeprefix("unix:"))
    assert path.stat().st_mode & 0o777 == 0o660
    shell = Shell(path.parent, at_socket.env)
    made = shell("schedule", "greet/hello", "name=socket", "--wait", "--format", "json")
    run_id = json.loads(made.stdout)[0]["run_id"]
    for url in (at_socket.url, "unix:http.sock"):
        assert shell.good("output", run_id, "--url", url) == "hello socket\n"
    assert at_socket.url in shell.good("stats")
    offered = shell(
        COMP_WORDS="apsis-nb\njob\ngre", COMP_CWORD="2", **{VARIABLE: "complete_bash"}
    ).stdout.split()
    assert offered == ["greet/again", "greet/hello"]

    monkeypatch.chdir(path.parent)
    with Client("unix:http.sock", at_socket.token) as client:
        assert client.url == at_socket.url
        assert client.connection.is_local
        with closing(client.events()) as events:
            assert next(events).type == "hello"
        assert run_id in set(client.runs()["run_id"])
    for url in (f"unix:{tmp_path}/none.sock", f"unix:{tmp_path}"):
        nowhere = shell("jobs", "--url", url, APSIS_NB_TOKEN="x")
        assert nowhere.returncode == 1
        assert nowhere.stderr.startswith(f"apsis-nb: no server answers at {url} (")


def test_its_door_is_that_of_a_port(at_socket: Served):
    to_socket = httpx2.HTTPTransport(uds=at_socket.url.removeprefix("unix:"))
    token = {"Authorization": f"Bearer {at_socket.token}"}
    with httpx2.Client(transport=to_socket, base_url="http://localhost") as http:
        assert http.get("/api/v1/alive").status_code == 401
        assert http.get("/api/v1/alive", headers=token).status_code == 200
        check = "/api/v1/jobs/check"
        for foreign in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}):
            assert http.post(check, headers=token | foreign).status_code == 403
        # As by `ssh -L 8000:SOCKET`, and then a browser.
        browser = {"Host": "localhost:8000", "Origin": "http://localhost:8000"}
        assert http.post(check, headers=token | browser).status_code == 200
        assert http.post("/api/v1/runs", headers=token, json={"job_id": "fails"}).status_code == 201
    lines = [json.loads(line) for line in (at_socket.state / "audit.jsonl").read_text().splitlines()]
    assert {line["source"] for line in lines} == {"unix"}


def test_what_cannot_be_a_socket_is_told(at_socket: Served, tmp_path: Path):
    (tmp_path / "jobs").mkdir()
    (tmp_path / "file").touch()
    taken = at_socket.url.removeprefix("unix:")
    shell = Shell(tmp_path, at_socket.env)
    for path, said in {
        taken: f"bind: another process listens at unix:{taken}: stop it, or give another path",
        "file": f"bind: cannot use unix:{tmp_path}/file (Address already in use): give the path of",
        "no/folder.sock": f"bind: cannot use unix:{tmp_path}/no/folder.sock (No such file or directory): ",
        "": "--set bind: bind: not an address: 'unix:'; give unix:PATH, the path of a socket to make",
        "x" * 120: "is too long for a socket: the system takes 107 bytes; give another",
    }.items():
        ended = shell("serve", "jobs", "--state-dir", "state", "--bind", f"unix:{path}")
        assert ended.returncode == 1
        assert said in ended.stderr, ended.stderr
    with at_socket.client() as client:
        assert client.alive()["alive"]
