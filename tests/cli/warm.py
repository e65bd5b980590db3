"""Runs `apsis-nb` as often as it is told, each time in a process of its own that has its modules already.

A command takes half a second of a processor, most of which is the import of what it needs; the tests of the
command line run hundreds. Each line of standard input is a JSON object with `words`, `folder`, `env`, and
the paths of the files that stand for `stdin`, `stdout` and `stderr`; each is answered by a line with the
exit status.
"""

import json
import os
import sys
import time
from typing import Any

import apsis_nb.cli.app
import apsis_nb.client
import apsis_nb.config


def main() -> None:
    """Serve until standard input ends."""
    for line in sys.stdin:
        asked = json.loads(line)
        child = os.fork()
        if child == 0:
            _be(asked)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


def _be(asked: dict[str, Any]) -> None:
    """Become the command."""
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["env"])
    time.tzset()
    for fd, (name, flags) in enumerate(
        [("stdin", os.O_RDONLY), ("stdout", os.O_WRONLY), ("stderr", os.O_WRONLY)]
    ):
        os.dup2(os.open(asked[name], flags), fd)
    sys.argv = ["apsis-nb", *asked["words"]]
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115  (what the warm process read ahead is not its own)
    status: object = 0
    try:
        apsis_nb.cli.main()
    except SystemExit as leaves:
        status = leaves.code
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status if isinstance(status, int) else int(status is not None))


if __name__ == "__main__":
    main()
