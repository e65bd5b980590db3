"""The tree of errors that users may see; each carries its facts as fields and a text for people.

ApsisError
|-- JobError           a job (file) is wrong: key path, message, what would be right
|-- BindError          a job cannot be bound to args: missing, extra, or a template fails
|-- IllegalTransition  a run cannot make the move (core.runs)
|-- Refused            a request that the state of things does not allow
|-- NotFound           no such run, job, output
`-- StoreError         the run store cannot do it (store)
"""

from typing import Literal


class ApsisError(Exception):
    """Base of every error whose text is meant for the user."""


class BindError(ApsisError):
    """A job cannot be bound to its args: an arg is missing or extra, or a template cannot be expanded."""


class Refused(ApsisError):
    """The request is understood, but the state of things does not allow it."""


class NotFound(ApsisError):
    """There is no such run, job or output."""


class JobError(ApsisError):
    """One thing that is wrong with a job.

    Args:
        path: where, as keys and list positions from the top of the file, e.g. ``("schedule", 0, "tz")``.
        message: what is wrong and, where it can be told, what would be right.
        level: `warning` for what harms nothing yet.
    """

    def __init__(
        self, path: tuple[str | int, ...], message: str, *, level: Literal["error", "warning"] = "error"
    ) -> None:
        where = ".".join(str(p) for p in path)
        super().__init__(f"{where}: {message}" if where else message)
        self.path, self.message = path, message
        self.level: Literal["error", "warning"] = level


class JobErrors(ApsisError):
    """All that is wrong with one job, found in one pass."""

    def __init__(self, job_id: str, errors: list[JobError]) -> None:
        super().__init__(f"{job_id}: " + "; ".join(str(e) for e in errors))
        self.job_id, self.errors = job_id, errors
