"""The last runs of a job as a row of small columns: as high as they took, in the colours of their states."""

from collections.abc import Iterable
from typing import Any

from apsis_nb.client import Client

from . import markup, palette

LAST_RUNS = 30


def last_runs(client: Client, jobs: list[str], limit: int = LAST_RUNS) -> dict[str, list[dict[str, Any]]]:
    """The newest runs of some jobs, of 90 days, oldest first, in one question.

    Args:
        client: whom to ask.
        jobs: their ids.
        limit: at most so many of each.
    """
    found: dict[str, list[dict[str, Any]]] = {job_id: [] for job_id in jobs}
    if jobs:
        params = {"job_id": jobs, "limit": limit}
        table = client.connection.arrow("GET", "/history/last_runs", params=params)
        for row in table.to_pylist():
            found.setdefault(row["job_id"], []).insert(0, row)
    return found


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
