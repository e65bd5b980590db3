"""A history file as the client of the pages: what it knows it tells, and of all else there is nothing."""

from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from apsis_nb._version import __version__
from apsis_nb.client import Client
from apsis_nb.client.jobs import Jobs, completed
from apsis_nb.history_file import FileConnection

from .connection import READ_ONLY
from .live import Feed


class FileClient(Client):
    """The runs of a file that no server holds; all pages of the process share it.

    Args:
        path: of the database, of the state folder of a server, or of an archive.

    Raises:
        CannotOpen: it cannot be read, and why.
    """

    def __init__(self, path: Path) -> None:
        self.connection = FileConnection([path])
        self.path = path

    def close(self) -> None:
        """Nothing: other pages go on with it."""

    @cached_property
    def ends_at(self) -> datetime:
        """When the last run in it was due: the present of the pages."""
        last = self.sql("SELECT max(scheduled_at) AS at FROM runs")["at"].iloc[0]
        return datetime(1970, 1, 1, tzinfo=UTC) if pd.isna(last) else pd.Timestamp(last).to_pydatetime()

    @completed
    def jobs(self) -> Jobs:
        """None: a file has runs, and the jobs are the server's."""
        return _NoJobs(self)

    def version(self) -> dict[str, Any]:
        """The version of what reads it."""
        return {"version": __version__, "started_at": None, "boot_id": "", "user": "", "role": READ_ONLY}

    def list_findings(self, *, fix: bool = False) -> dict[str, Any]:
        """Nothing is wrong with what is over."""
        return {"findings": [], "mended": []}

    def list_pauses(self) -> list[dict[str, Any]]:
        """Nothing is paused."""
        return []

    def list_backfills(self, limit: int = 100) -> list[dict[str, Any]]:
        """None is under way."""
        return []

    def expected(self, *window: Any, **more: Any) -> pd.DataFrame:
        """Nothing will run."""
        frame = pd.DataFrame(columns=["job_id", "args", "nominal_at", "scheduled_at"])
        times = dict.fromkeys(("nominal_at", "scheduled_at"), "datetime64[us, UTC]")
        return frame.astype({"job_id": "str", **times})

    def expected_counts(self, *window: Any, **more: Any) -> pd.DataFrame:
        """Nothing will run."""
        frame = pd.DataFrame(columns=["job_id", "period", "runs", "first_at"])
        times = dict.fromkeys(("period", "first_at"), "datetime64[us, UTC]")
        return frame.astype({"job_id": "str", "runs": "int64", **times})


class _NoJobs(Jobs):
    def _answer(
        self, query: str | None = None, label: str | None = None, path: str | None = None
    ) -> dict[str, Any]:
        return {"jobs": [], "errors": []}

    def _ids(self) -> list[str]:
        return []


class StillFeed(Feed):
    """Tells of nothing: in a file nothing happens."""

    def _read(self) -> None:
        self.link = "live"
