"""What a notebook works with: the client, and pictures in the cell."""

import html
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apsis_nb.client import Client, When
from apsis_nb.client.jobs import Job, Jobs, completed
from apsis_nb.local import start_or_join

if TYPE_CHECKING:
    import pandas as pd

    from apsis_nb.client.jobs import Job
    from apsis_nb.history_file import FileConnection

__all__ = [
    "Calendar",
    "HistoryFile",
    "NotebookClient",
    "Picture",
    "connect",
    "local",
    "open",
    "schedule_notebook",
]

#: What a calendar may count.
CALENDARS = ("runs", "failed", "late", "skipped")
#: So many days of it stay small.
MOST_DAYS = 370

PNG_PX = 1200  #: width of a PNG of a picture that is as wide as its place


class NotebookClient(Client):
    """A `Client` that can also draw."""

    @completed
    def jobs(self) -> "NotebookJobs":
        """The jobs by id: `client.jobs["team/report"]`; each can draw, by `.plot`."""
        return NotebookJobs(self)

    def timeline(
        self,
        since: When = "24h",
        until: When | None = None,
        *,
        job: str | Sequence[str] = (),
        dark: bool = False,
        width: int | None = None,
    ) -> "Picture":
        """The runs as bars over time, a row for each job; pan and zoom, and hover to read.

        Args:
            since, until: the window; by default the last day up to now.
            job: only this job's; or several.
            dark: for a dark notebook.
            width: pixels; by default that of the cell.
        """
        from apsis_nb.views.timeline import timeline_figure

        now = datetime.now(UTC)
        start, stop = self.moment(since), now if until is None else self.moment(until)
        frame = self.history.timeline(since=start, until=stop, job=job)
        figure = timeline_figure(frame, start=start, stop=stop, now=now, dark=dark, width=width)
        return Picture(figure)

    def counts(
        self,
        since: When = "30d",
        until: When | None = None,
        *,
        job: str | Sequence[str] = (),
        unit: str = "day",
        tz: str = "UTC",
        dark: bool = False,
    ) -> "Picture":
        """How runs ended, a bar a period with the states on each other.

        Args:
            since, until: when the runs were due; by default the last 30 days.
            job: only this job's; or several.
            unit: the period of a bar: hour, day, week or month.
            tz: whose days they are.
            dark: for a dark notebook.
        """
        from apsis_nb.core.times import zone
        from apsis_nb.views.counts_plot import counts_figure

        start, stop = self.moment(since), datetime.now(UTC) if until is None else self.moment(until)
        frame = self.history.counts(start, stop, job=job, unit=unit, tz=tz)
        return Picture(counts_figure(frame, unit=unit, zone=zone(tz), since=start, until=stop, dark=dark))

    def calendar(
        self,
        since: When = "90d",
        until: When | None = None,
        *,
        job: str | Sequence[str] = (),
        of: str = "runs",
    ) -> "Calendar":
        """The days as a calendar, the more runs the darker.

        Args:
            since, until: the window, of at most a year; by default the last 90 days up to now.
            job: only this job's; or several.
            of: what is counted: runs, failed, late or skipped.

        Raises:
            BadRequest: something else is to be counted, or the window is longer.
        """
        from apsis_nb.client import BadRequest
        from apsis_nb.views.days import BAD, GOOD, days_html

        if of not in CALENDARS:
            raise BadRequest(f"of: {of!r} is not counted by day; {', '.join(CALENDARS)} are")
        start = self.moment(since).astimezone(self.zone)
        stop = (datetime.now(UTC) if until is None else self.moment(until)).astimezone(self.zone)
        if stop - start > timedelta(days=MOST_DAYS):
            raise BadRequest(f"a calendar has at most {MOST_DAYS} days: give a later `since`")
        frame = self.history.calendar(start, stop, job=job, tz=self.zone.key)
        values = {
            at.astimezone(self.zone).date(): float(count)
            for at, count in zip(frame["period"], frame[of], strict=True)
        }
        last = max(start, stop - timedelta(microseconds=1)).date()
        what = {"failed": "failures", "late": "late runs", "skipped": "runs that were skipped"}.get(of, of)
        colour = GOOD if of == "runs" else BAD
        return Calendar(days_html(values, start.date(), last, what, colour))


class NotebookJobs(Jobs):
    """The jobs of a server, which can draw."""

    def __init__(self, client: NotebookClient) -> None:
        super().__init__(client)
        self._notebook = client

    def __getitem__(self, job_id: str) -> "NotebookJob":
        """A job by its id, or by a part of it that names no other job."""
        return NotebookJob(self._notebook, super().__getitem__(job_id).facts)


class NotebookJob(Job):
    """A `Job` that can also draw."""

    def __init__(self, client: NotebookClient, facts: dict[str, Any]) -> None:
        super().__init__(client, facts)
        self._notebook = client

    @property
    def plot(self) -> "Plots":
        """Pictures of its runs: `.timeline()`, `.counts()`, `.calendar()`, `.lateness()`, `.durations()`."""
        return Plots(self._notebook, self.job_id)


class Plots:
    """Pictures of a job's runs; each shows in a cell; `.save("x.html")` and `.save("x.png")` write it.

    Args:
        client: whom to ask.
        job: the id of the job.
    """

    def __init__(self, client: NotebookClient, job: str) -> None:
        self._client, self._job = client, job

    def timeline(
        self, since: When = "24h", until: When | None = None, *, dark: bool = False, width: int | None = None
    ) -> "Picture":
        """The runs as bars over time; as `client.timeline`."""
        return self._client.timeline(since, until, job=self._job, dark=dark, width=width)

    def counts(
        self, since: When = "30d", until: When | None = None, *, unit: str = "day", dark: bool = False
    ) -> "Picture":
        """How its runs ended, a bar a period; as `client.counts`."""
        return self._client.counts(since, until, job=self._job, unit=unit, dark=dark)

    def calendar(self, since: When = "90d", until: When | None = None, *, of: str = "runs") -> "Calendar":
        """The days as a calendar; as `client.calendar`."""
        return self._client.calendar(since, until, job=self._job, of=of)

    def lateness(
        self, since: When = "90d", until: When | None = None, *, unit: str = "day", dark: bool = False
    ) -> "Picture":
        """How late the runs of its schedules started: the median, up to the 95th percentile as a band.

        Args:
            since, until: when the runs were due; by default the last 90 days.
            unit: the period of a point: hour, day, week, month or year.
            dark: for a dark notebook.
        """
        frame = self._client.history.lateness(since, until, job=self._job, unit=unit)
        return _trend(f"{self._job}: lateness", frame, dark=dark)

    def durations(
        self, since: When = "90d", until: When | None = None, *, unit: str = "day", dark: bool = False
    ) -> "Picture":
        """How long the runs took that succeeded; args as of `lateness`."""
        frame = self._client.history.durations(since, until, job=self._job, unit=unit)
        return _trend(f"{self._job}: duration", frame, dark=dark)

    def __repr__(self) -> str:
        return f"<pictures of {self._job}: .timeline(), .counts(), .calendar(), .lateness(), .durations()>"


def _trend(title: str, frame: "pd.DataFrame", *, dark: bool) -> "Picture":
    from apsis_nb.views.timeline_figure import paint
    from apsis_nb.views.trend import Trend

    trend = Trend(title)
    trend.draw(frame, "no runs")
    paint(trend.figure, dark=dark)
    trend.figure.title = title if len(frame) else f"{title}: no runs in this time"
    trend.figure.title.text_color = "#9ba3b1" if dark else "#59606d"
    trend.figure.height = 260
    return Picture(trend.figure)


class HistoryFile(NotebookClient):
    """The runs of files, asked as a client asks a server; made by `open`.

    `runs`, `run`, `list_runs`, `sql`, `history` and `timeline` answer; all else raises RequestRefused, for it
    needs a server.
    """

    def __init__(self, connection: "FileConnection") -> None:
        self.connection = connection

    def __repr__(self) -> str:
        return f"<the runs of {self.url}>"

    def __enter__(self) -> "HistoryFile":
        return self


class Picture:
    """A Bokeh figure that shows in a cell, and still shows in the saved notebook, without any network."""

    def __init__(self, figure: Any) -> None:
        self.figure = figure

    def __repr__(self) -> str:
        return "<a picture: it shows in a notebook; `.save(FILE)` writes it as a page, or as a .png>"

    def save(self, file: str | Path, *, width: int | None = None, scale: float = 2) -> None:
        """Write it as a page of HTML that needs nothing but itself, or as a PNG: the ending of the name says.

        Args:
            file: `x.html` or `x.png`; a PNG is painted by a browser of this machine (Chromium, Chrome, Edge).
            width: of a PNG, in pixels of the page; by default that of the picture, or 1200.
            scale: of a PNG: its pixels for each of the page.

        Raises:
            BadRequest: the name ends otherwise, or no PNG is so large or so small.
            RequestRefused: there is no browser for a PNG.
        """
        from apsis_nb.client import BadRequest

        path = Path(file)
        match path.suffix.lower():
            case ".html" | ".htm":
                path.write_text(self._page(), encoding="utf-8")
            case ".png":
                is_fixed = getattr(self.figure, "sizing_mode", None) == "fixed"
                wide = width if width is not None else self.figure.width if is_fixed else PNG_PX
                if not (100 <= wide <= 10_000 and 0.5 <= scale <= 4):
                    raise BadRequest("a PNG is 100 to 10000 pixels wide, with a scale of 0.5 to 4")
                from apsis_nb.views.browser import paint

                paint(self._page(), path, width=wide, height=self._height, scale=scale)
            case _:
                raise BadRequest(f"{path.name}: a picture is saved as x.html or x.png")

    @property
    def _height(self) -> int:
        """Pixels."""
        return int(getattr(self.figure, "height", None) or 400)

    def _repr_html_(self) -> str:
        # A frame of its own: the page's Bokeh, if it has one, may be of another version.
        return (
            f'<iframe srcdoc="{html.escape(self._page())}" title="picture of the runs" '
            f'style="width:100%;height:{self._height + 24}px;border:0"></iframe>'
        )

    def _page(self) -> str:
        from bokeh.embed import components
        from bokeh.resources import Resources

        # `file_html` would add what Panel's own components load, by paths that only its server knows.
        library = "\n".join(Resources(mode="inline", components=["bokeh"]).js_raw)
        script, place = components(self.figure)
        return (
            '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>apsis_nb</title>'
            f"<style>body {{ margin: 0 }}</style><script>{library}</script></head>"
            f"<body>{place}{script}</body></html>"
        )


class Calendar:
    """Days, as HTML of a few kB that stays in the saved notebook."""

    def __init__(self, html: str) -> None:
        self.html = html

    def __repr__(self) -> str:
        return "<a calendar: it shows in a notebook>"

    def _repr_html_(self) -> str:
        return self.html


def connect(url: str | None = None, token: str | None = None) -> NotebookClient:
    """A client of a server that runs.

    Args:
        url: its address; by default `APSIS_NB_URL`, else the one server of this user on this machine.
        token: by default `APSIS_NB_TOKEN`, else the one that the user's server left for its owner.

    Raises:
        ServerDown: there is no server, or there are several to choose from.
    """
    client = NotebookClient(url, token)
    client.version()  # so that a wrong address or token is told here, not at the first question
    return client


def local(
    jobs: str | Path = "jobs",
    *,
    name: str | None = None,
    state_dir: str | Path | None = None,
    dashboards: bool = True,
) -> NotebookClient:
    """A client of a server of one's own on this machine: the one that runs, else a new one.

    The server goes on when the notebook is closed; the next `local` of the same folder joins it.

    Args:
        jobs: folder of job files; made if it is missing.
        name: of the server; another name is another server with a history of its own.
        state_dir: where it keeps its history; by default below `~/.local/state/apsis_nb`.
        dashboards: whether a new server also serves the dashboards.

    Raises:
        StartFailed: the server could not be started; with the last lines of its log.
    """
    url, token = start_or_join(jobs, name=name, state_dir=state_dir, dashboards=dashboards, tell=_tell)
    return NotebookClient(url, token)


def schedule_notebook(
    path: str | Path | None = None,
    *,
    job: str | None = None,
    schedule: str | Mapping[str, Any] | None = None,
    parameters: Mapping[str, Any] | None = None,
    python: str | None = None,
    pinned: bool = False,
    replace: bool = False,
) -> "Job | list[Job]":
    """As `Client.schedule_notebook`, of the server that `connect` finds."""
    return connect().schedule_notebook(
        path,
        job=job,
        schedule=schedule,
        parameters=parameters,
        python=python,
        pinned=pinned,
        replace=replace,
    )


def open(*paths: str | Path) -> HistoryFile:
    """The runs of a server that is stopped, of a backup, or of an archive: read, never changed.

    Runs that had not finished are not told. Until `close`, or the end of the `with`, no server can use the
    file; others may read it too.

    Args:
        paths: of the database file or the state folder of a server, with what was archived of it; or of an
            archive, or of one month of it. Of several each is asked by itself; its rows have its path in a
            last column, `source`.

    Raises:
        CannotOpen: there is no such file, a server holds it (its address is told), a later release wrote it,
            or it is no run store.
    """
    from apsis_nb.client import BadRequest
    from apsis_nb.history_file import FileConnection

    if not paths:
        raise BadRequest('open what? give the path of a database file: ap.open("runs.duckdb")')
    return HistoryFile(FileConnection([Path(path).expanduser() for path in paths]))


def _tell(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
