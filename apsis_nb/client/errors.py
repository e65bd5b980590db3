"""What goes wrong between the client and a server: one line each, which says what to do.

ClientError
|-- ServerDown        no server answers
|-- WrongVersion      the server is too old, or too new
|-- NotAuthorized     the token is not known, or does not allow it
|-- BadRequest        the server cannot understand the request
|-- NoSuch            no such run, job, output
|-- RequestRefused    the state of things does not allow it
|-- RunFailed         a run that was to succeed did not
`-- WaitTimeout       a run did not finish in time
"""

from collections.abc import Mapping
from typing import Any

from apsis_nb.core.errors import ApsisError, NotFound, Refused


class ClientError(ApsisError):
    """What goes wrong between the client and a server; in a notebook it shows as one line."""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows: whoever asks a server has no use for the frames of an HTTP library."""
        return [f"{type(self).__name__}: {self}"]


class ServerDown(ClientError):
    """No server answers."""


class WrongVersion(ClientError):
    """The server is of a release that this client may misunderstand."""


class NotAuthorized(ClientError):
    """The server does not know the token (`status` 401), or the token does not allow the request (403)."""

    def __init__(self, message: str, *, status: int = 401) -> None:
        super().__init__(message)
        self.status = status


class BadRequest(ClientError):
    """The server cannot understand the request: a wrong arg, time, query ..."""

    def __init__(self, message: str, *, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class NoSuch(NotFound, ClientError, KeyError):
    """There is no such run, job or output."""

    def __str__(self) -> str:
        return Exception.__str__(self)  # KeyError would put it in quotes


class RequestRefused(Refused, ClientError):
    """The request is understood, but the state of things does not allow it."""


class RunFailed(ClientError):
    """A run that was to succeed did not.

    Args:
        facts: of the run.
        output: the last lines that it wrote.
    """

    def __init__(self, facts: Mapping[str, Any], output: str) -> None:
        why = facts["message"] or facts["skip_reason"]
        text = f"run {facts['run_id']} of {facts['job_id']} ended in {facts['state']}"
        text += f": {why}" if why else ""
        super().__init__(f"{text}\n{output.rstrip()}" if output.strip() else text)
        self.facts, self.output = facts, output


class WaitTimeout(ClientError, TimeoutError):
    """A run did not finish in the time that somebody was ready to wait."""


class Closed(ClientError):
    """The client was closed; another one can be made."""
