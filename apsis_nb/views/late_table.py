"""Runs that were late, as a table: due when, late by how much, and why."""

from typing import Any

from . import markup
from .markup import text


def late_html(runs: list[dict[str, Any]]) -> str:
    """Runs that started late, or still have not."""
    if not runs:
        return markup.card(
            "Late", markup.nothing("Everything of the last 24 hours started on time."), count=0
        )
    rows = [
        [
            markup.job_link(run["job_id"]) + " " + markup.chips(run["args"]),
            markup.run_link(run["run_id"]),
            markup.late_badge(run["late_s"]),
            text(run["late_why"] or ("still waits" if not run["started_at"] else "")),
            markup.when(run["scheduled_at"]),
            markup.badge(run["state"]),
        ]
        for run in runs
    ]
    heads = [
        ("Job", "who"),
        ("Run", "tight"),
        ("By", "tight"),
        ("Why", ""),
        ("Was due", "tight"),
        ("State", "tight"),
    ]
    body = markup.table(heads, rows, caption="Runs that were late", ids=[run["run_id"] for run in runs])
    return markup.card("Late", body, more='<a href="late?range=24h">all</a>')
