"""Talks to a server over HTTP and gives frames and values: what notebooks, pages and the command line use.

A `Client` is synchronous, and several threads may use it. It keeps nothing but its connection.
"""

from apsis_nb.client.backfills import Backfill
from apsis_nb.client.client import Client, literal
from apsis_nb.client.connection import Connection, ServerEvent, When, find_server
from apsis_nb.client.errors import (
    BadRequest,
    ClientError,
    Closed,
    NoSuch,
    NotAuthorized,
    RequestRefused,
    RunFailed,
    ServerDown,
    WaitTimeout,
    WrongVersion,
)
from apsis_nb.client.history import History
from apsis_nb.client.jobs import Job, Jobs
from apsis_nb.client.runs import Run

__all__ = [
    "Backfill",
    "BadRequest",
    "Client",
    "ClientError",
    "Closed",
    "Connection",
    "History",
    "Job",
    "Jobs",
    "NoSuch",
    "NotAuthorized",
    "RequestRefused",
    "Run",
    "RunFailed",
    "ServerDown",
    "ServerEvent",
    "WaitTimeout",
    "When",
    "WrongVersion",
    "find_server",
    "literal",
]
