"""How the pages of this process reach the server: its address, and with whose rights each page acts."""

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import panel as pn

from apsis_nb.client import Client
from apsis_nb.core.errors import ApsisError

from .live import Feed

if TYPE_CHECKING:
    from .file_client import FileClient


#: In the place of a role: a file is for reading, whoever reads it.
READ_ONLY = "file"


@dataclass(frozen=True, slots=True)
class Access:
    """What the process was given at its start; None: the client looks for the user's own server."""

    url: str | None = None
    token: str | None = None  #: for what the process does itself: reading the stream of events
    key: str | None = None  #: makes the session, sent by the server's proxy, into a user's token
    file: str | None = None  #: of a server that is stopped: it is read instead of asking one


_given: Access | None = None


def configure(access: Access) -> None:
    """Set what all pages of this process use; the server's own dashboards process calls it once."""
    global _given
    _given = access


def access() -> Access:
    """What was configured, else what follows `panel serve ... --args`, else the environment.

    That is `--url` and `--token`, or `--file`.
    """
    if _given is not None:
        return _given
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--url", default=os.environ.get("APSIS_NB_URL"))
    parser.add_argument("--token", default=os.environ.get("APSIS_NB_TOKEN"))
    parser.add_argument("--file")
    told, _ = parser.parse_known_args(sys.argv[1:])
    return Access(told.url, told.token, file=told.file)


def page_client() -> Client:
    """A new client for the page that is being made, with the rights of whoever opened it.

    Raises:
        ServerDown, NotAuthorized: there is no server to be found.
        CannotOpen: the file cannot be read.
    """
    known = access()
    session = pn.state.headers.get("X-Apsis-Session")
    if known.key and isinstance(session, str):
        return Client(known.url, f"{known.key}~{session}")
    return own_client(known)


def own_client(known: Access) -> Client:
    """A client with the rights of the process itself."""
    return Client(known.url, known.token) if known.file is None else _file(known.file)


@lru_cache(maxsize=1)
def _file(path: str) -> "FileClient":
    from .file_client import FileClient  # with it comes DuckDB, which pages of a server do not need

    return FileClient(Path(path).expanduser())


def clock(now: Callable[[], datetime]) -> Callable[[], datetime]:
    """The present of the pages: `now`, or the end of the file that they show."""
    known = access()
    if known.file is None:
        return now
    try:
        end = _file(known.file).ends_at
    except ApsisError:  # the page says so when it asks for its client
        return now
    return lambda: end


def file_shown() -> str | None:
    """The file that the pages show, instead of a server."""
    return access().file


@lru_cache(maxsize=8)
def _feed(known: Access) -> Feed:
    client = own_client(known)
    if known.file is None:
        return Feed(client)
    from .file_client import StillFeed

    return StillFeed(client)


def feed() -> Feed:
    """The one reader of the server's events that all pages of this process share."""
    return _feed(access())


def is_behind_server() -> bool:
    """Whether the server's proxy stands before this process, so that its API has the pages' own address."""
    return access().key is not None
