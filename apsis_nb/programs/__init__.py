"""Really starts and stops programs, so that they outlive the server."""

from .programs import Programs

__all__ = ["Programs"]
