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


def get_ready() -> None:
    """Be ready to answer a shell, if it is one that asks."""
    if VARIABLE in os.environ:
        from typer._completion_classes import completion_init

        completion_init()


def job_ids(ctx: typer.Context, incomplete: str) -> list[str]:
    """The ids of jobs that begin so."""
    found = _asked(ctx, "/jobs", {}).get("jobs", ())
    return [job["job_id"] for job in found if job["job_id"].startswith(incomplete)]


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

    with suppress(OSError, ValueError, HTTPException):
        for url, token in _server(ctx.params.get("url")):
            request = Request(
                f"{url}/api/v1{path}?{urlencode(params)}", headers={"Authorization": f"Bearer {token}"}
            )
            # A proxy is not asked: it would take its time.
            with build_opener(ProxyHandler({})).open(request, timeout=_TIMEOUT_S) as answer:
                found: dict[str, Any] = json.load(answer)
                return found
    return {}


def _server(url: str | None) -> Iterator[tuple[str, str]]:
    """Address and token of the one server that is meant, if it is known."""
    from apsis_nb.config import find_servers

    url, token = url or os.environ.get("APSIS_NB_URL"), os.environ.get("APSIS_NB_TOKEN")
    if url and token:
        yield url.rstrip("/"), token
        return
    servers = [s for s in find_servers() if url is None or s.url == url.rstrip("/")]
    if len(servers) == 1:
        yield servers[0].url, token or servers[0].token
