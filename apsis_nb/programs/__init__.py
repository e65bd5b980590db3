"""Really starts and stops programs, so that they outlive the server."""

from .internals import Answer, Workers
from .programs import Programs
from .rundir import Ended

__all__ = ["Answer", "Ended", "Programs", "Workers"]
