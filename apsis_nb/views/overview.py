"""The overview: what runs, waits, is late and failed, and what comes next."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import panel as pn
from panel.viewable import Viewer

from apsis_nb.client import ServerEvent
from apsis_nb.core.states import ACTIVE, State
from apsis_nb.core.times import format_local

from . import markup
from .ahead import expected_of_each
from .board import COLUMNS_CSS, Board
from .late_table import late_html
from .markup import text
from .page import Page

LIVE_STATES = sorted(state.value for state in ACTIVE)
MOST_ROWS = 12  #: of a list; what is beyond is a link away

_HOURLY = """
SELECT date_trunc('hour', scheduled_at) AS hour, state, count(*) AS runs, count(*) FILTER (late) AS late
FROM runs
WHERE scheduled_at >= utc_now() - INTERVAL 24 HOUR AND scheduled_at <= utc_now() AND origin <> 'test'
GROUP BY ALL"""

_TYPICAL = """
SELECT job_id, median(elapsed_s) AS typical_s
FROM runs
WHERE state = 'success' AND scheduled_at >= utc_now() - INTERVAL 30 DAY
GROUP BY job_id"""


@dataclass(frozen=True)
class Present:
    """What changes from moment to moment."""

    live: list[dict[str, Any]]
    failed: list[dict[str, Any]]
    late: list[dict[str, Any]]
    hourly: pd.DataFrame  #: hour, state, runs, late; of 24 hours
    now: datetime


@dataclass(frozen=True)
class Plans:
    """What changes with the job files, or slowly."""

    following: pd.DataFrame  #: job_id, scheduled_at: the next run of each job within a day
    broken: list[dict[str, Any]]
    typical_s: Mapping[str, float] = field(default_factory=dict)


class Overview(Viewer):
    """The page's parts; follows the server by itself."""

    def __init__(self, page: Page, **params: Any) -> None:
        super().__init__(**params)
        self._page = page
        self._present: Present | None = None
        self._plans = Plans(pd.DataFrame({"job_id": [], "scheduled_at": []}), [])
        self._figures = Board(figures_html(None))
        self._left = Board(markup.card("Running", markup.nothing("Loading …")))
        self._right = Board(markup.card("Next 24 hours", markup.nothing("Loading …")))
        page.keep(self._load_present, self._show_present, wants=_is_about_runs, every_s=10.0)
        page.keep(self._load_plans, self._show_plans, wants=_is_about_jobs, every_s=10.0)

    def __panel__(self) -> Any:
        columns = pn.Row(
            self._left,
            self._right,
            sizing_mode="stretch_width",
            stylesheets=[COLUMNS_CSS],
        )
        return pn.Column(self._figures, columns, sizing_mode="stretch_width", styles={"gap": "16px"})

    def _load_present(self) -> Present:
        client = self._page.client
        return Present(
            live=client.list_runs(state=LIVE_STATES, limit=200),
            failed=client.list_runs(state=["error", "failure"], since="24h", limit=MOST_ROWS),
            late=client.list_runs(late=True, since="24h", limit=MOST_ROWS),
            hourly=client.sql(_HOURLY),
            now=self._page.now(),
        )

    def _load_plans(self) -> Plans:
        client = self._page.client
        typical, now = client.sql(_TYPICAL), self._page.now()
        return Plans(
            following=next_of_each(expected_of_each(client, now, now + timedelta(days=1))),
            broken=client.jobs.errors(),
            typical_s=dict(zip(typical["job_id"], typical["typical_s"], strict=True)),
        )

    def _show_present(self, present: Present) -> None:
        self._present = present
        running = [run for run in present.live if run["state"] != State.WAITING.value]
        self._page.shell.param.update(
            running=len(running),
            failed=any(_ended_within(run, present.now, timedelta(minutes=10)) for run in present.failed),
        )
        self._draw()

    def _show_plans(self, plans: Plans) -> None:
        self._plans = plans
        self._right.content = (
            '<div class="stack">' + broken_html(plans.broken) + following_html(plans.following) + "</div>"
        )
        self._draw()

    def _draw(self) -> None:
        if self._present is None:
            return
        self._figures.content = figures_html(self._present)
        self._left.content = now_html(self._present, self._plans.typical_s)


def _is_about_runs(event: ServerEvent) -> bool:
    return event.type in {"run", "late"}


def _is_about_jobs(event: ServerEvent) -> bool:
    return event.type in {"job", "server"}


def _ended_within(run: Mapping[str, Any], now: datetime, span: timedelta) -> bool:
    ended = markup.instant(run["finished_at"])
    return ended is not None and now - ended < span


def next_of_each(expected: pd.DataFrame) -> pd.DataFrame:
    """The next expected run of each job, soonest first."""
    return (
        expected.sort_values("scheduled_at", kind="stable").drop_duplicates("job_id").reset_index(drop=True)
    )


# ---- HTML ----


def figures_html(present: Present | None) -> str:
    """The row of figures at the top."""
    if present is None:
        return '<div class="figures">' + "".join(_figure(name, "…") for name in _FIGURES) + "</div>"
    by_state: dict[str, int] = {}
    for row in markup.records(present.hourly):
        by_state[str(row["state"])] = by_state.get(str(row["state"]), 0) + int(row["runs"])
    failed = by_state.get("failure", 0) + by_state.get("error", 0)
    late = int(present.hourly["late"].sum()) if len(present.hourly) else 0
    waiting = sum(run["state"] == State.WAITING.value for run in present.live)
    running = len(present.live) - waiting
    done = by_state.get("success", 0)
    ended = done + failed
    rate = f"{100 * done / ended:.1f} % of {ended:,}" if ended else "none ended"
    figures = [
        _figure("Running", f"{running:,}", "now"),
        _figure("Waiting", f"{waiting:,}", "for a condition", mark="wait" if waiting else ""),
        _figure("Late", f"{late:,}", "in 24 hours", mark="late" if late else ""),
        _figure("Failed", f"{failed:,}", "in 24 hours", mark="bad" if failed else ""),
        _figure("Succeeded", f"{done:,}", rate),
    ]
    return f'<div class="figures">{"".join(figures)}{hours_html(present)}</div>'


_FIGURES = ("Running", "Waiting", "Late", "Failed", "Succeeded")


def _figure(name: str, number: str, words: str = "", *, mark: str = "") -> str:
    return (
        f'<div class="figure {mark}"><span class="name">{text(name)}</span><b class="num">{text(number)}</b>'
        f'<span class="words">{text(words)}</span></div>'
    )


def hours_html(present: Present) -> str:
    """The last 24 hours as small columns: what succeeded, and above it what failed."""
    first = present.now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=23)
    good, bad = [0] * 24, [0] * 24
    for row in markup.records(present.hourly):
        hour = markup.instant(row["hour"])
        n = -1 if hour is None else round((hour - first).total_seconds() / 3600)
        counts = {"success": good, "failure": bad, "error": bad}.get(str(row["state"]))
        if counts is not None and 0 <= n < 24:
            counts[n] += int(row["runs"])
    most = max(1, *(g + b for g, b in zip(good, bad, strict=True)))
    columns = []
    for n in range(24):
        high, above = (max(40 * count / most, 1.5) if count else 0.0 for count in (good[n], bad[n]))
        shown = format_local(first + timedelta(hours=n), UTC, "minute", with_zone=True)
        title = f"{shown}: {good[n]:,} succeeded, {bad[n]:,} failed"
        columns.append(
            f"<g><title>{title}</title>"
            f'<rect class="back" x="{n * 9}" y="0" width="7.5" height="44" />'
            f'<rect class="good" x="{n * 9}" y="{44 - high:.1f}" width="7.5" height="{high:.1f}"/>'
            f'<rect class="bad" x="{n * 9}" y="{44 - high - above:.1f}" width="7.5" height="{above:.1f}"/>'
            "</g>"
        )
    return (
        '<div class="figure hours"><span class="name">Last 24 hours</span>'
        f'<svg viewBox="0 0 216 44" preserveAspectRatio="none" role="img" '
        f'aria-label="Runs that succeeded and failed, by hour">{"".join(columns)}'
        '</svg><span class="words"><i class="key good"></i>succeeded <i class="key bad"></i>failed</span>'
        "</div>"
    )


def now_html(present: Present, typical_s: Mapping[str, float]) -> str:
    """The lists: running, waiting, late, failed."""
    running = [run for run in present.live if run["state"] != State.WAITING.value]
    waiting = [run for run in present.live if run["state"] == State.WAITING.value]
    parts = [running_html(running, typical_s, present.now)]
    if waiting:
        parts.append(waiting_html(waiting))
    parts += [failed_html(present.failed), late_html(present.late)]
    return f'<div class="stack">{"".join(parts)}</div>'


def running_html(runs: list[dict[str, Any]], typical_s: Mapping[str, float], now: datetime) -> str:
    if not runs:
        return markup.card("Running", markup.nothing("Nothing runs at the moment."), count=0)
    rows = [
        [
            markup.job_link(run["job_id"]) + " " + markup.chips(run["args"], run["labels"]),
            markup.run_link(run["run_id"]),
            markup.badge(run["state"]),
            markup.when(run["started_at"], "elapsed", empty=markup.NONE),
            _progress(run, typical_s.get(run["job_id"]), now),
        ]
        for run in runs[:MOST_ROWS]
    ]
    heads = [
        ("Job", ""),
        ("Run", "tight"),
        ("State", "tight"),
        ("Elapsed", "right"),
        ("Of its usual time", "usual"),
    ]
    body = markup.table(
        heads, rows, caption="Runs that are running", ids=[run["run_id"] for run in runs[:MOST_ROWS]]
    )
    return markup.card("Running", body, count=len(runs), more=_beyond(runs))


def _progress(run: Mapping[str, Any], typical_s: float | None, now: datetime) -> str:
    """How far a run is, if its job's runs always took the same time."""
    started = markup.instant(run["started_at"])
    if started is None or not typical_s:
        return ""
    ends = started + timedelta(seconds=typical_s)
    done = max(0.0, (now - started).total_seconds() / typical_s)
    over = " over" if done > 1.5 else ""
    return (
        f'<span class="progress{over}" data-start="{started.timestamp() * 1000:.0f}" '
        f'data-end="{ends.timestamp() * 1000:.0f}"><i style="width:{min(done, 1) * 100:.0f}%"></i></span>'
        f'<span class="muted num">{markup.duration(typical_s)}</span>'
    )


def waiting_html(runs: list[dict[str, Any]]) -> str:
    rows = [
        [
            markup.job_link(run["job_id"]) + " " + markup.chips(run["args"], run["labels"]),
            markup.run_link(run["run_id"]),
            markup.when(run["scheduled_at"], "ago"),
            text(run["message"] or "a condition"),
        ]
        for run in runs[:MOST_ROWS]
    ]
    heads = [("Job", ""), ("Run", "tight"), ("Was due", "tight"), ("Waits for", "wide")]
    body = markup.table(
        heads, rows, caption="Runs that wait", ids=[run["run_id"] for run in runs[:MOST_ROWS]]
    )
    return markup.card("Waiting", body, count=len(runs), more=_beyond(runs))


def failed_html(runs: list[dict[str, Any]]) -> str:
    if not runs:
        return markup.card("Failed", markup.nothing("No run failed in the last 24 hours."), count=0)
    rows = [
        [
            markup.job_link(run["job_id"]) + " " + markup.chips(run["args"]),
            markup.run_link(run["run_id"]),
            markup.badge(run["state"]),
            markup.when(run["finished_at"], "ago"),
            text(run["message"] or ""),
        ]
        for run in runs
    ]
    heads = [("Job", ""), ("Run", "tight"), ("State", "tight"), ("Ended", "tight"), ("Says", "clip")]
    body = markup.table(heads, rows, caption="Runs that failed", ids=[run["run_id"] for run in runs])
    return markup.card("Failed", body, more='<a href="timeline?state=failure">all</a>')


def following_html(following: pd.DataFrame) -> str:
    """The next run of each job."""
    if not len(following):
        return markup.card(
            "Next 24 hours", markup.nothing("No schedule makes a run in the next 24 hours."), count=0
        )
    rows = [
        [
            markup.job_link(row["job_id"]),
            markup.when(row["scheduled_at"], "time"),
            markup.when(row["scheduled_at"], "until"),
        ]
        for row in markup.records(following.head(20))
    ]
    heads = [("Job", "wide"), ("Next at", "right"), ("", "right")]
    body = markup.table(heads, rows, caption="The next run of each job")
    more = f"{len(following) - 20} more jobs" if len(following) > 20 else ""
    return markup.card("Next 24 hours", body, count=len(following), more=more)


def broken_html(errors: list[dict[str, Any]]) -> str:
    """Job files that are wrong; nothing if all are good."""
    if not errors:
        return ""
    items = "".join(
        f'<li><b class="mono">{text(e.get("file") or e.get("job_id"))}'
        f"{':' + text(e['line']) if e.get('line') else ''}</b><span>{text(e['message'])}</span></li>"
        for e in errors
    )
    return markup.card("Broken job files", f'<ul class="broken">{items}</ul>', count=len(errors), kind="bad")


def _beyond(runs: list[dict[str, Any]]) -> str:
    return f"{len(runs) - MOST_ROWS:,} more" if len(runs) > MOST_ROWS else ""
