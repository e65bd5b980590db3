"""The dashboards as a process: serves the pages on a unix socket to the server's proxy, until stdin closes.

    python -m apsis_nb.views.process --socket PATH --prefix /dash --api URL [--token T]

The first line of stdin is JSON, `{"key": ..., "token": ...}`: secrets are not for a command line. Run by
hand, with a terminal or nothing as stdin, it takes the token from `--token`, `APSIS_NB_TOKEN` or the user's
server.
"""

import argparse
import contextlib
import gc
import json
import logging
import os
import pkgutil
import sys
import threading
from importlib import import_module
from pathlib import Path

from .pages import page_files

#: Where pages are made and runs are due at once, what is due comes first.
NICE = 10


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


def _give_way() -> None:
    """Leave the processors to what is due.

    Where Linux groups processes by session for that, `nice` counts only inside of the group, which has a
    value of its own: sched(7), "The autogroup feature". The server starts us in a session that is ours alone;
    that of a terminal is not ours to change.
    """
    os.nice(NICE)
    if os.getsid(0) == os.getpid():
        with contextlib.suppress(OSError):  # another system, or there are no such groups
            Path("/proc/self/autogroup").write_text(str(NICE))


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

    _give_way()
    # Read when Arrow is loaded, below. Its own pool keeps what was used once: half of what a page took.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    gc.disable()  # what is imported stays: to look through it again and again costs time
    from panel.io.server import get_server

    from . import connection

    # All of them now, so that the first page need not wait for them.
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        if module.name != "process":
            import_module(f".{module.name}", __package__)
    token = secrets.get("token") or told.token or os.environ.get("APSIS_NB_TOKEN")
    connection.configure(connection.Access(told.api, token, secrets.get("key")))
    server = get_server(
        dict(page_files()),
        unix_socket=str(told.socket),
        prefix=told.prefix,
        # A page that its reader closed is forgotten soon; it holds a few MB.
        check_unused_sessions_milliseconds=5000,
        unused_session_lifetime_milliseconds=20000,
        keep_alive_milliseconds=20000,
    )
    gc.freeze()
    gc.enable()
    server.start()
    server.io_loop.start()


if __name__ == "__main__":
    main()
