"""How the pages of this process reach the server: its address, and with whose rights each page acts."""

import argparse
import os
import sys
from dataclasses import dataclass
from functools import lru_cache

import panel as pn

from apsis_nb.client import Client

from .live import Feed


@dataclass(frozen=True, slots=True)
class Access:
    """What the process was given at its start; None: the client looks for the user's own server."""

    url: str | None = None
    token: str | None = None  #: for what the process does itself: reading the stream of events
    key: str | None = None  #: makes the session, sent by the server's proxy, into a user's token


_given: Access | None = None


def configure(access: Access) -> None:
    """Set what all pages of this process use; the server's own dashboards process calls it once."""
    global _given
    _given = access


def access() -> Access:
    """What was configured, else `--url` and `--token` of `panel serve ... --args`, else the environment."""
    if _given is not None:
        return _given
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--url", default=os.environ.get("APSIS_NB_URL"))
    parser.add_argument("--token", default=os.environ.get("APSIS_NB_TOKEN"))
    told, _ = parser.parse_known_args(sys.argv[1:])
    return Access(told.url, told.token)


def page_client() -> Client:
    """A new client for the page that is being made, with the rights of whoever opened it.

    Raises:
        ServerDown, NotAuthorized: there is no server to be found.
    """
    known = access()
    session = pn.state.headers.get("X-Apsis-Session")
    if known.key and isinstance(session, str):
        return Client(known.url, f"{known.key}~{session}")
    return Client(known.url, known.token)


@lru_cache(maxsize=8)
def _feed(known: Access) -> Feed:
    return Feed(Client(known.url, known.token))


def feed() -> Feed:
    """The one reader of the server's events that all pages of this process share."""
    return _feed(access())


def is_behind_server() -> bool:
    """Whether the server's proxy stands before this process, so that its API has the pages' own address."""
    return access().key is not None
