"""The certificate of a server that no authority vouches for."""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from apsis_nb.core.errors import ApsisError

DAYS = 825  #: how long a certificate holds; browsers take none that holds for longer

app = typer.Typer(
    help="Make a certificate, so that others can reach the server.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.callback()
def _tls() -> None:
    # With it `self-signed` stays a command of its own, though there is no other yet.
    pass


@app.command("self-signed")
def self_signed(
    folder: Annotated[
        Path, typer.Option("--dir", metavar="DIR", help="Where cert.pem and key.pem go.")
    ] = Path("tls"),
    name: Annotated[
        list[str] | None,
        typer.Option("--name", metavar="HOST", help="A further name or address of the server; repeatable."),
    ] = None,
) -> None:
    """Make a certificate that vouches for itself.

    It is for the names of this machine and those of --name. The command line and notebooks of this account
    find it by themselves; elsewhere APSIS_NB_CERT names a copy of cert.pem, and browsers ask once.

    \b
    Examples:
      apsis-nb tls self-signed --dir tls --name jobs.example.org
      apsis-nb serve --bind 0.0.0.0:5577 --set tls.cert=tls/cert.pem --set tls.key=tls/key.pem
    """
    cert, key = folder / "cert.pem", folder / "key.pem"
    for file in (cert, key):
        if file.exists():
            raise ApsisError(f"{file} is there already: remove both it and its fellow for a new certificate")
    names = dict.fromkeys(["localhost", socket.gethostname(), socket.getfqdn(), *(name or ())])
    hosts = [_as_subject(host) for host in ("127.0.0.1", "::1", *names)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".new-") as made:  # with mode 0700
            _make(Path(made), hosts)
            # The key first: a certificate without its key would only look as if all were there.
            os.replace(Path(made) / key.name, key)
            os.replace(Path(made) / cert.name, cert)
    except OSError as error:
        raise ApsisError(f"{folder}: cannot be written: {error.strerror}") from None
    settings = f"--set tls.cert={cert} --set tls.key={key}"
    sys.stderr.write(f"{cert} and {key} are made, for {DAYS} days: apsis-nb serve {settings}\n")


def _make(folder: Path, hosts: list[str]) -> None:
    """Let openssl make both files."""
    key = folder / "key.pem"
    key.touch(0o600)
    command = [
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
        "-days", str(DAYS), "-subj", "/CN=apsis_nb", "-addext", f"subjectAltName={','.join(hosts)}",
        "-keyout", str(key), "-out", str(folder / "cert.pem"),
    ]  # fmt: skip
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except FileNotFoundError:
        raise ApsisError("openssl is missing, which makes certificates: install it") from None
    except subprocess.CalledProcessError as error:
        said = error.stderr.strip().splitlines() or ["it did not say why"]
        raise ApsisError(f"openssl made no certificate: {said[-1]}") from None
    key.chmod(0o600)


def _as_subject(host: str) -> str:
    """A host as a certificate names it.

    Raises:
        ApsisError: it is no name of a host.
    """
    import ipaddress
    import re

    with contextlib.suppress(ValueError):
        return f"IP:{ipaddress.ip_address(host)}"
    if not re.fullmatch(r"(\*\.)?[A-Za-z0-9_]([A-Za-z0-9._-]{0,252})", host):
        raise ApsisError(f"--name: {host!r} is no name of a host")
    return f"DNS:{host}"
