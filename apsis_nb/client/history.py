"""Questions over all runs, each answered by a frame."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from apsis_nb import frames
from apsis_nb.client.connection import Connection, When

if TYPE_CHECKING:
    import pandas as pd


class History:
    """Questions over all runs; each answer is a frame with the columns of `frames` of the same name.

    `since` and `until` are about the time when runs were due. `job` is one job id or several; none means all.
    `unit` is the period of a row: hour, day, week, month or year, in UTC or in the zone `tz`.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def counts(
        self,
        since: When = "90d",
        until: When | None = None,
        *,
        job: str | Sequence[str] = (),
        unit: str = "day",
        tz: str = "UTC",
        by_job: bool = False,
    ) -> "pd.DataFrame":
        """How many runs, by period and state, and with `by_job` by job: `frames.COUNTS`."""
        return self._ask("counts", since, until, job, unit=unit, tz=tz, by_job=by_job)

    def durations(
        self,
        since: When = "90d",
        until: When | None = None,
        *,
        job: str | Sequence[str] = (),
        unit: str = "day",
    ) -> "pd.DataFrame":
        """How long the runs took that succeeded, by job and period: `frames.DURATIONS`."""
        return self._ask("durations", since, until, job, unit=unit)

    def lateness(
        self,
        since: When = "90d",
        until: When | None = None,
        *,
        job: str | Sequence[str] = (),
        unit: str = "day",
    ) -> "pd.DataFrame":
        """How late the runs of schedules started, by job and period: `frames.LATENESS`."""
        return self._ask("lateness", since, until, job, unit=unit)

    def calendar(
        self,
        since: When = "90d",
        until: When | None = None,
        *,
        job: str | Sequence[str] = (),
        unit: str = "day",
        tz: str = "UTC",
    ) -> "pd.DataFrame":
        """Runs, failures, lateness by period, for a heat map: `frames.CALENDAR`."""
        return self._ask("calendar", since, until, job, unit=unit, tz=tz)

    def missed(
        self,
        since: When = "90d",
        until: When | None = None,
        *,
        job: str | Sequence[str] = (),
        limit: int | None = None,
    ) -> "pd.DataFrame":
        """What no run executed, newest first: `frames.MISSED`."""
        return self._ask("missed", since, until, job, limit=limit)

    def timeline(
        self,
        since: When = "24h",
        until: When | None = None,
        *,
        job: str | Sequence[str] = (),
        px: int = 1200,
        max_bars: int | None = None,
    ) -> "pd.DataFrame":
        """The bars of a picture `px` pixels wide: `frames.TIMELINE`.

        A bar is a run, unless there are more than `max_bars`; then runs that are close together share one.
        """
        return self._ask("timeline", since, until, job, px=px, max_bars=max_bars)

    def jobs(
        self, since: When = "90d", until: When | None = None, *, job: str | Sequence[str] = ()
    ) -> "pd.DataFrame":
        """One row a job: how its runs were: `frames.JOBS`."""
        return self._ask("jobs", since, until, job)

    def log(self, since: When = "24h", until: When | None = None) -> "pd.DataFrame":
        """What happened to all runs, line by line: `frames.LOG`."""
        return self._ask("log", since, until, ())

    def _ask(
        self, name: str, since: When, until: When | None, job: str | Sequence[str], **params: Any
    ) -> "pd.DataFrame":
        window = {
            "since": self._connection.past_text_of(since),
            "until": self._connection.past_text_of(until),
            "job_id": [job] if isinstance(job, str) else list(job),
        }
        table = self._connection.arrow("GET", f"/history/{name}", params=window | params)
        return frames.to_frame(table, frames.FRAMES[name])
