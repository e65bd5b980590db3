"""Really starts and stops programs, so that they outlive the server."""

from .programs import Programs
from .rundir import Ended

__all__ = ["Ended", "Programs"]
