"""Questions over all runs, each answered by a frame."""

from collections.abc import Sequence
from datetime import timedelta
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

    def summary(
        self, since: When = "90d", until: When | None = None, *, job: str | Sequence[str] = ()
    ) -> "pd.DataFrame":
        """One row a job: how its runs ended, the longest and the latest: `frames.SUMMARY`."""
        return self._ask("summary", since, until, job)

    def on_time(
        self,
        since: When = "90d",
        until: When | None = None,
        *,
        job: str | Sequence[str] = (),
        unit: str = "day",
    ) -> "pd.DataFrame":
        """Which share of the runs of schedules kept its budgets, by job and period: `frames.ON_TIME`."""
        return self._ask("on_time", since, until, job, unit=unit)

    def drift(
        self,
        period: str | timedelta = "28d",
        until: When | None = None,
        *,
        job: str | Sequence[str] = (),
        tz: str = "UTC",
    ) -> "pd.DataFrame":
        """Which jobs start, end or take longer than they did a period before: `frames.DRIFT`.

        Args:
            period: how long each of the two periods is, back to back; text such as `28d`, or a timedelta.
            until: the end of the later one; by default now.
            job: one job or several; none means all.
            tz: the zone of the midnights that ends are counted from.

        Raises:
            BadRequest: there is no such zone, or the period is no duration above 0.
        """
        return self._ask("drift", None, until, job, period=_span(period), tz=tz)

    def cost(
        self,
        since: When = "90d",
        until: When | None = None,
        *,
        job: str | Sequence[str] = (),
        cpu_hour: float | None = None,
        gb_hour: float | None = None,
    ) -> "pd.DataFrame":
        """What the programs of each job used, and what it costs: `frames.COST`.

        Args:
            since, until: when the runs were due.
            job: one job or several; none means all.
            cpu_hour: the price of an hour of processor time; by default `cost.cpu_hour` of the server.
            gb_hour: the price of a gigabyte (10^9 bytes) for an hour; by default its `cost.gb_hour`.

        Raises:
            BadRequest: a price is below 0.
        """
        return self._ask("cost", since, until, job, cpu_hour=cpu_hour, gb_hour=gb_hour)

    def concurrency(
        self,
        since: When = "7d",
        until: When | None = None,
        *,
        job: str | Sequence[str] = (),
        every: str | timedelta = "5m",
    ) -> "pd.DataFrame":
        """How many programs ran at once, over time: `frames.CONCURRENCY`.

        Args:
            since, until: the window, here of what ran and not of what was due.
            job: one job or several; none means all.
            every: how long a piece of time is that has a row; text such as `5m`, or a timedelta.

        Raises:
            BadRequest: the window has more than 100,000 pieces.
        """
        return self._ask("concurrency", since, until, job, every=_span(every))

    def estimates(self, *, job: str | Sequence[str] = (), runs: int = 30) -> "pd.DataFrame":
        """When the runs will end that run now: `frames.ESTIMATES`.

        Args:
            job: one job or several; none means all.
            runs: of how many successes of a job, the newest of 90 days, the estimate is made.
        """
        return self._ask("estimates", None, None, job, limit=runs)

    def log(self, since: When = "24h", until: When | None = None) -> "pd.DataFrame":
        """What happened to all runs, line by line: `frames.LOG`."""
        return self._ask("log", since, until, ())

    def _ask(
        self, name: str, since: When | None, until: When | None, job: str | Sequence[str], **params: Any
    ) -> "pd.DataFrame":
        window = {
            "since": self._connection.past_text_of(since),
            "until": self._connection.past_text_of(until),
            "job_id": [job] if isinstance(job, str) else list(job),
        }
        table = self._connection.arrow("GET", f"/history/{name}", params=window | params)
        return frames.to_frame(table, frames.FRAMES[name])


def _span(span: str | timedelta) -> str:
    """A duration in the form of a request."""
    return span if isinstance(span, str) else f"{span.total_seconds():f}s"
