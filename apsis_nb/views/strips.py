"""The last runs of a job as a row of small columns: as high as they took, in the colours of their states."""

import threading
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from apsis_nb.client import Client, ServerEvent
from apsis_nb.core.times import format_time

from . import markup, palette

LAST_RUNS = 30

#: The newest runs of some jobs, by job, oldest first.
Newest = dict[str, list[dict[str, Any]]]


def last_runs(client: Client, jobs: Sequence[str], since: datetime | None = None) -> Newest:
    """The newest runs of some jobs in one question.

    Args:
        client: whom to ask.
        jobs: their ids.
        since: only what was due from then on; None: of 90 days.
    """
    found: Newest = {job_id: [] for job_id in jobs}
    if jobs:
        params: dict[str, Any] = {"job_id": list(jobs), "limit": LAST_RUNS}
        if since is not None:
            params["since"] = format_time(since)
        table = client.connection.arrow("GET", "/history/last_runs", params=params)
        for row in table.to_pylist():
            found.setdefault(row["job_id"], []).insert(0, row)
    return found


class LastRuns:
    """The newest runs of some jobs, kept up to date: where many run, only what changed is asked for.

    To look through 90 days takes the server some 30 ms, to look through the last seconds a quarter of it.
    """

    def __init__(self) -> None:
        self._known: Newest = {}
        self._changed_since: datetime | None = None  #: when the first due of those that moved was due
        self._forgot = 0  #: how often
        self._lock = threading.Lock()

    def hear(self, event: ServerEvent) -> None:
        """A run has moved; may be called by any thread."""
        due = markup.instant(event.facts.get("scheduled_at"))
        if due is None:
            self.forget()
            return
        with self._lock:
            if self._changed_since is None or due < self._changed_since:
                self._changed_since = due

    def forget(self) -> None:
        """Anything may have changed; may be called by any thread."""
        with self._lock:
            self._known = {}
            self._forgot += 1

    def ask(self, client: Client, jobs: Sequence[str]) -> Newest:
        """The newest runs of some jobs of 90 days; if nothing was heard of any, they are asked for anew."""
        with self._lock:
            since, self._changed_since = self._changed_since, None
            known, self._known = self._known, {}  # if this fails, all is asked for the next time
            forgot = self._forgot
        if since is None or not known.keys() >= set(jobs):
            found = last_runs(client, jobs)
        else:
            news = last_runs(client, jobs, since)
            found = {job_id: _newest(known[job_id], news[job_id]) for job_id in jobs}
        with self._lock:
            if self._forgot == forgot:
                self._known = found
        return found


def _newest(known: list[dict[str, Any]], news: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The newest of runs that were known and of such as have changed or come since."""
    by_id = {run["run_id"]: run for run in (*known, *news)}
    return sorted(by_id.values(), key=lambda run: (run["scheduled_at"], run["run_id"]))[-LAST_RUNS:]


def strip_svg(runs: list[dict[str, Any]], height: int = 22, *, links: bool = False) -> str:
    """The picture: a path for each state, so that many of them on a page stay small.

    Args:
        runs: oldest first.
        height: in pixels.
        links: whether each column leads to its run, which takes far more bytes.
    """
    if not runs:
        return ""
    longest = max((float(run["elapsed_s"] or 0) for run in runs), default=0.0) or 1.0
    paths: dict[str, list[str]] = {}
    for n, run in enumerate(runs):
        high = 3 + (height - 3) * min(1.0, float(run["elapsed_s"] or 0) / longest)
        colour = palette.LOOKS[markup.state_of(run["state"])].colour
        paths.setdefault(colour, []).append(f"M{n * 5} {height}v-{high:.1f}")
    lines = "".join(
        f'<path d="{"".join(steps)}" stroke="{colour}" stroke-width="3.4"/>'
        for colour, steps in paths.items()
    )
    width = LAST_RUNS * 5
    words = strip_words(run["state"] for run in runs)
    return (
        f'<svg class="strip" viewBox="-2 0 {width} {height}" width="{width}" height="{height}" '
        f'role="{"group" if links else "img"}" aria-label="{words}"><title>{words}</title>{lines}'
        f"{_links(runs, height) if links else ''}</svg>"
    )


def _links(runs: list[dict[str, Any]], height: int) -> str:
    """What is tapped: as wide as the column and the gap beside it."""
    return "".join(
        f'<a href="{markup.text(markup.run_url(name))}" aria-label="{words}"><title>{words}</title>'
        f'<rect class="hit" x="{n * 5 - 2.5}" y="0" width="5" height="{height}" fill="transparent"/></a>'
        for n, run in enumerate(runs)
        if (name := f"r{run['run_id']}")
        and (words := f"{name}: {markup.state_of(run['state']).value}, {_took(run)}")
    )


def _took(run: dict[str, Any]) -> str:
    return markup.duration(run["elapsed_s"]) or markup.NONE


def strip_words(states: Iterable[Any]) -> str:
    """The same for whoever cannot see it: `the last 30 runs: 28 success, 2 failure`."""
    counts: dict[str, int] = {}
    for state in states:
        name = markup.state_of(state).value
        counts[name] = counts.get(name, 0) + 1
    told = ", ".join(f"{count} {name}" for name, count in sorted(counts.items(), key=lambda item: -item[1]))
    return f"the last {sum(counts.values())} runs: {told}"
