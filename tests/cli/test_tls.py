"""A certificate of one's own, and a server that is reached by it."""

import subprocess
from pathlib import Path

import httpx2
import pytest

from apsis_nb.client import Client, ServerDown
from tests.cli.conftest import Shell
from tests.client.serving import served
from tests.conftest import needs


def test_a_server_with_a_certificate_of_ones_own_is_found_and_trusted(
    tmp_path: Path, alone: Shell, monkeypatch: pytest.MonkeyPatch
):
    needs("openssl")
    made = alone("tls", "self-signed", "--dir", "tls", "--name", "jobs.example.org", "--name", "10.1.2.3")
    assert made.returncode == 0, made.stderr
    cert, key = tmp_path / "tls" / "cert.pem", tmp_path / "tls" / "key.pem"
    assert "--set tls.cert=tls/cert.pem --set tls.key=tls/key.pem" in made.stderr
    assert key.stat().st_mode & 0o777 == 0o600
    assert sorted(p.name for p in (tmp_path / "tls").iterdir()) == ["cert.pem", "key.pem"]
    told = subprocess.run(
        ["openssl", "x509", "-in", cert, "-noout", "-text"], capture_output=True, text=True, check=True
    ).stdout
    for name in ("DNS:localhost", "DNS:jobs.example.org", "IP Address:10.1.2.3", "IP Address:127.0.0.1"):
        assert name in told
    again = alone("tls", "self-signed", "--dir", "tls")
    assert again.returncode == 1
    assert again.stderr.startswith("apsis-nb: tls/cert.pem is there already: remove both")

    settings = {"tls.cert": str(cert), "tls.key": str(key)}
    with served(tmp_path / "server", bind="0.0.0.0:0", settings=settings) as server:
        shell = Shell(tmp_path, server.env)
        assert server.url.startswith("https://127.0.0.1:")
        assert "greet/hello" in shell.good("jobs")
        assert "greet/hello" in shell.good("jobs", "--url", server.url)

        # Another account has the address and the token; it knows the server by a copy of the certificate.
        for name in ("XDG_RUNTIME_DIR", "XDG_STATE_HOME"):
            monkeypatch.setenv(name, str(tmp_path / "nowhere"))
        with pytest.raises(ServerDown, match="certificate verify failed"):
            Client(server.url, server.token).version()
        monkeypatch.setenv("APSIS_NB_CERT", str(cert))
        assert Client(server.url, server.token).version()["name"]
        other = tmp_path / "other"
        assert alone("tls", "self-signed", "--dir", str(other)).returncode == 0
        monkeypatch.setenv("APSIS_NB_CERT", str(other / "cert.pem"))
        with pytest.raises(ServerDown, match="certificate verify failed"):
            Client(server.url, server.token).version()
        monkeypatch.setenv("APSIS_NB_CERT", str(tmp_path / "missing.pem"))
        with pytest.raises(ServerDown, match=r"missing\.pem: is no certificate in PEM form"):
            Client(server.url, server.token)
        assert httpx2.get(f"{server.url}/login", verify=False, trust_env=False).status_code == 200


@pytest.mark.parametrize("name", ["a b", "a,DNS:b", "", "é.example"])
def test_what_is_no_name_of_a_host_is_refused(alone: Shell, name: str):
    refused = alone("tls", "self-signed", "--name", name)
    assert refused.returncode == 1
    assert "is no name of a host" in refused.stderr
