"""What can go wrong with the run store."""

from pathlib import Path

from apsis_nb.core.errors import ApsisError


class StoreError(ApsisError):
    """The run store cannot do it: another process has the file, the disk is full, a query is not allowed."""


class BackupExists(StoreError):
    """There is a backup of that name: one was made in the same second."""


class StoreInUse(StoreError):
    """Another process has the file."""

    def __init__(self, path: Path, pid: int) -> None:
        super().__init__(f"{path} is in use by process {pid}")
        self.path, self.pid = path, pid


class StoreFull(StoreError):
    """There is no room on the disk, or it does not work."""


class QueryError(StoreError):
    """A query of a client is not allowed, is wrong, takes too long, or needs too much."""
