"""The dashboards as a process: serves the pages on a unix socket to the server's proxy, until stdin closes.

    python -m apsis_nb.views.process --socket PATH --prefix /dash --api URL [--token T]

The first line of stdin is JSON, `{"key": ..., "token": ...}`: secrets are not for a command line. Run by
hand, with a terminal or nothing as stdin, it takes the token from `--token`, `APSIS_NB_TOKEN` or the user's
server.
"""

import argparse
import json
import logging
import os
import sys
import threading
from pathlib import Path

PAGES = ("overview", "timeline", "schedule", "late", "history", "run")


def pages_folder() -> Path:
    """Where the pages' files are: in the package of a wheel, else at the top of the checkout.

    Raises:
        FileNotFoundError: neither has them.
    """
    package = Path(__file__).parents[1]
    for folder in (package / "_dashboards", package.parent / "dashboards"):
        if all((folder / f"{page}.py").is_file() for page in PAGES):
            return folder
    raise FileNotFoundError(
        f"the dashboards are missing: neither {package}/_dashboards nor dashboards/ beside it"
    )


def _secrets() -> dict[str, str]:
    """The first line of stdin; nothing if there is none."""
    if sys.stdin is None or sys.stdin.isatty():
        return {}
    line = sys.stdin.readline().strip()
    told = json.loads(line) if line else {}
    return told if isinstance(told, dict) else {}


def _leave_with_stdin(socket: Path) -> None:
    """Wait for the end of stdin, which is that of the server, and leave at once: nothing needs saving."""
    while sys.stdin.read(4096):
        pass
    socket.unlink(missing_ok=True)
    os._exit(0)


def main(argv: list[str] | None = None) -> None:
    """Serve until stdin closes."""
    parser = argparse.ArgumentParser(
        prog="python -m apsis_nb.views.process", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--socket", type=Path, required=True, help="unix socket to listen on")
    parser.add_argument("--prefix", default="/dash", help="first part of every address")
    parser.add_argument("--api", required=True, help="address of the server")
    parser.add_argument("--token", help="for use by hand; others can see it in the list of processes")
    told = parser.parse_args(argv)
    logging.basicConfig(
        level=logging.WARNING, format="%(asctime)s %(levelname)s dashboards %(name)s: %(message)s"
    )
    secrets = _secrets()
    if secrets:
        threading.Thread(target=_leave_with_stdin, args=(told.socket,), daemon=True).start()

    from panel.io.server import get_server

    from . import (
        connection,
        history_page,
        late_page,
        overview,
        run_page,
        schedule_page,
        timeline_page,
    )  # so that the first page need not wait for them

    del history_page, late_page, overview, run_page, schedule_page, timeline_page
    token = secrets.get("token") or told.token or os.environ.get("APSIS_NB_TOKEN")
    connection.configure(connection.Access(told.api, token, secrets.get("key")))
    folder = pages_folder()
    server = get_server(
        {page: folder / f"{page}.py" for page in PAGES},
        unix_socket=str(told.socket),
        prefix=told.prefix,
        # A page that its reader closed is forgotten soon; it holds a few MB.
        check_unused_sessions_milliseconds=5000,
        unused_session_lifetime_milliseconds=20000,
        keep_alive_milliseconds=20000,
    )
    server.start()
    server.io_loop.start()


if __name__ == "__main__":
    main()
