"""The version of this release: read by the build, the command line, the server and its clients."""

import re

__version__ = "0.1.0"

#: Each answer of a server has its version in it.
HEADER = "X-Apsis-Nb-Version"


def too_far_apart(client: str, server: str) -> str | None:
    """Why a client and a server may misunderstand each other; None: they are at most a minor version apart.

    Args:
        client, server: versions, as `1.4.2`; of what is none nothing can be said.
    """
    ours, theirs = _numbers(client), _numbers(server)
    if ours is None or theirs is None or (ours[0] == theirs[0] and abs(ours[1] - theirs[1]) <= 1):
        return None
    older = "client" if ours < theirs else "server"
    return (
        f"the server is apsis_nb {server} and this client {client}, which are more than one minor version "
        f"apart: upgrade the {older}"
    )


def _numbers(version: str) -> tuple[int, int] | None:
    match = re.match(r"(\d{1,6})\.(\d{1,6})", version)
    return match and (int(match[1]), int(match[2]))
