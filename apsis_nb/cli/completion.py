"""Shell completion: the scripts for shells, and the ids of jobs and runs that they offer."""

import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

import typer

#: In the environment: a shell asks for what could come next.
VARIABLE = "_APSIS_NB_COMPLETE"
_TIMEOUT_S = 1.0  # whoever presses a key does not wait for longer
_MOST_RUNS = 50


def completion(
    shell: Annotated[Literal["bash", "zsh", "fish"], typer.Argument(metavar="bash|zsh|fish")],
) -> None:
    """Print what lets a shell complete commands and ids.

    Options too, and for arguments the ids of jobs and runs. It asks the server for them; without one it
    offers none, and says nothing.

    \b
    Examples:
      apsis-nb completion bash >> ~/.bashrc
      apsis-nb completion zsh >> ~/.zshrc
      apsis-nb completion fish > ~/.config/fish/completions/apsis-nb.fish
    """
    from typer._completion_shared import get_completion_script

    script = get_completion_script(prog_name="apsis-nb", complete_var=VARIABLE, shell=shell)
    sys.stdout.write(script + "\n")


def get_ready() -> bool:
    """Be ready to answer a shell, if it is one that asks; whether it is."""
    if VARIABLE not in os.environ:
        return False
    from typer._completion_classes import completion_init

    completion_init()
    return True


def job_ids(ctx: typer.Context, incomplete: str) -> list[str]:
    """The ids of jobs that begin so."""
    found = _asked(ctx, "/job-ids", {}).get("job_ids", ())
    return [job_id for job_id in found if job_id.startswith(incomplete)]


def run_ids(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """The ids of the last runs that begin so, and what each is."""
    found = _asked(ctx, "/runs", {"limit": _MOST_RUNS}).get("runs", ())
    return [
        (run["run_id"], f"{run['state']} {run['job_id']}")
        for run in found
        if run["run_id"].startswith(incomplete)
    ]


def ids(ctx: typer.Context, incomplete: str) -> list[str]:
    """The ids of jobs; of runs, if it begins like one."""
    runs = run_ids(ctx, incomplete) if re.fullmatch(r"r\d*", incomplete) else []
    return [*(run_id for run_id, _ in runs), *job_ids(ctx, incomplete)]


def _asked(ctx: typer.Context, path: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """What the server answers; nothing, if anything goes wrong: a shell is no place for errors."""
    from http.client import HTTPException
    from urllib.request import ProxyHandler, Request, build_opener

    from apsis_nb.config import UNIX

    asked = f"/api/v1{path}?{urlencode(params)}"
    with suppress(OSError, ValueError, HTTPException):
        for url, token in _server(ctx.params.get("url")):
            headers = {"Authorization": f"Bearer {token}"}
            found: dict[str, Any]
            if url.startswith(UNIX):
                found = json.loads(_asked_of_socket(url.removeprefix(UNIX), asked, headers))
                return found
            # A proxy is not asked: it would take its time.
            opener = build_opener(ProxyHandler({}))
            with opener.open(Request(url + asked, headers=headers), timeout=_TIMEOUT_S) as answer:
                found = json.load(answer)
                return found
    return {}


def _asked_of_socket(path: str, asked: str, headers: Mapping[str, str]) -> bytes:
    """What the server at a unix socket answers."""
    import socket
    from contextlib import closing
    from http.client import HTTPConnection

    with closing(HTTPConnection("localhost", timeout=_TIMEOUT_S)) as http:
        http.sock = socket.socket(socket.AF_UNIX)
        http.sock.settimeout(_TIMEOUT_S)
        http.sock.connect(path)
        http.request("GET", asked, headers=headers)
        answer = http.getresponse()
        return answer.read() if answer.status == 200 else b"{}"


def _server(url: str | None) -> Iterator[tuple[str, str]]:
    """Address and token of the one server that is meant, if it is known."""
    from apsis_nb.config import find_servers, full_url

    url, token = url or os.environ.get("APSIS_NB_URL"), os.environ.get("APSIS_NB_TOKEN")
    if url and token:
        yield full_url(url), token
        return
    servers = [s for s in find_servers() if url is None or s.url == full_url(url)]
    if len(servers) == 1:
        yield servers[0].url, token or servers[0].token
