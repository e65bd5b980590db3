"""The overview: what runs, waits, is late, failed or is held back, what is not well, and what comes next."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import panel as pn
from panel.viewable import Viewer

from apsis_nb.client import Client, NoSuch, ServerEvent
from apsis_nb.core.states import ACTIVE, State
from apsis_nb.core.times import format_time

from . import markup, overview_html
from .ahead import MOST_LISTED
from .board import COLUMNS_CSS, STACK_CSS, Board
from .held_html import held_html
from .jobs_table import broken_html
from .live import at_once
from .overview_html import MOST_ROWS
from .page import Page

OVERVIEW_CSS = (Path(__file__).parent / "overview.css").read_text(encoding="utf-8")

LIVE_STATES = sorted(state.value for state in ACTIVE)
HEALTH_EVERY_S = 60.0  #: the doctor looks at a week of runs
ENDED_WITHIN = timedelta(hours=24)  #: a backfill that ended is shown for so long

_HOURLY = """
SELECT date_trunc('hour', scheduled_at) AS hour, state, count(*) AS runs, count(*) FILTER (late) AS late
FROM runs
WHERE scheduled_at >= $now::TIMESTAMP - INTERVAL 24 HOUR AND scheduled_at <= $now::TIMESTAMP
    AND origin <> 'test'
GROUP BY ALL"""

#: Messages and calls of a day that did not arrive, newest first: the last step of each.
_UNTOLD = """
SELECT run_id, ts, event, state, message
FROM notices
WHERE ts >= utc_now() - INTERVAL 24 HOUR
QUALIFY row_number() OVER (PARTITION BY run_id, n ORDER BY ts DESC, tries DESC) = 1
    AND state IN ('failed', 'given up')
ORDER BY ts DESC LIMIT 20"""

#: Actions of a day that made no run though they should have.
_FAILED_ACTIONS = """
SELECT run_id, ts, 'action' AS event, 'failed' AS state, substr(message, 9) AS message
FROM run_log
WHERE ts >= utc_now() - INTERVAL 24 HOUR AND starts_with(message, 'action: ')
    AND NOT starts_with(message, 'action: scheduled ')
ORDER BY ts DESC LIMIT 20"""

#: Of runs that failed within a day, which run was made anew of each last, and how it is.
_AGAIN = """
SELECT rerun_of, max(run_id) AS again_id, arg_max(state, run_id) AS again_state
FROM runs
WHERE scheduled_at >= $since::TIMESTAMP AND rerun_of IN ({failed})
GROUP BY rerun_of"""

#: How many runs each of some pauses has held back since it began: of all of them at once.
_HELD = """
SELECT n, count(*) AS runs
FROM missed JOIN (
    SELECT unnest($since::TIMESTAMP[]) AS since, unnest($scope::VARCHAR[]) AS scope,
        unnest($target::VARCHAR[]) AS target, generate_subscripts($since::TIMESTAMP[], 1) - 1 AS n
) ON skipped_at >= since
    AND (target = '' OR job_id = target OR (scope = 'path' AND starts_with(job_id, target || '/')))
WHERE skipped_at >= list_min($since::TIMESTAMP[]) AND starts_with(skip_reason, 'paused')
GROUP BY n"""


@dataclass(frozen=True)
class Present:
    """What changes from moment to moment."""

    live: list[dict[str, Any]]
    failed: list[dict[str, Any]]
    late: list[dict[str, Any]]
    hourly: pd.DataFrame  #: hour, state, runs, late; of 24 hours
    now: datetime
    again: Mapping[str, tuple[str, str]] = field(
        default_factory=dict
    )  #: by run: what was made of it, its state


@dataclass(frozen=True)
class Plans:
    """What changes with the job files, by hand, or slowly."""

    following: pd.DataFrame  #: job_id, scheduled_at: the next run of each job within a day
    broken: Sequence[Mapping[str, Any]] = ()
    usual: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  #: by job: p50_s, p95_s, runs
    pauses: Sequence[Mapping[str, Any]] = ()  #: with `held`: how many runs they held back
    backfills: Sequence[Mapping[str, Any]] = ()
    untold: Sequence[Mapping[str, Any]] = ()
    reasons: Mapping[str, str] = field(default_factory=dict)  #: why runs wait that do not say it, by run
    role: str | None = None  #: of the reader
    jobs: frozenset[str] = frozenset()  #: that there are


class Overview(Viewer):
    """The page's parts; follows the server by itself."""

    def __init__(self, page: Page, **params: Any) -> None:
        super().__init__(**params)
        self._page = page
        self._present: Present | None = None
        self._plans: Plans | None = None
        self._findings: Sequence[Mapping[str, Any]] | None = None
        style: dict[str, Any] = {"stylesheets": [OVERVIEW_CSS]}
        self._figures = Board(overview_html.figures_html(None))
        self._note = Board(visible=False)
        self._left = Board(markup.loading("Running", "Failed", "Late"), **style)
        self._right = Board(markup.loading("Health", "Next 24 hours"), on_action=self._act, **style)
        page.keep(self._load_present, self._show_present, wants=_is_about_runs, every_s=10.0)
        self._look = page.keep(self._load_plans, self._show_plans, wants=_is_about_jobs, every_s=10.0)
        self._examine = page.keep(
            self._load_health, self._show_health, wants=_is_about_jobs, every_s=HEALTH_EVERY_S
        )

    def __panel__(self) -> Any:
        columns = pn.Row(
            self._left,
            self._right,
            sizing_mode="stretch_width",
            stylesheets=[COLUMNS_CSS],
        )
        return pn.Column(
            self._figures,
            self._note,
            columns,
            sizing_mode="stretch_width",
            styles={"gap": "16px"},
            stylesheets=[STACK_CSS],
        )

    # ---- From the server ----

    def _load_present(self) -> Present:
        client, now = self._page.client, self._page.now()
        since = now - timedelta(days=1)
        told = at_once(
            live=partial(client.list_runs, state=LIVE_STATES, limit=200),
            failed=partial(client.list_runs, state=["error", "failure"], since=since, limit=MOST_ROWS),
            late=partial(client.list_runs, late=True, since=since, limit=MOST_ROWS),
            hourly=partial(client.sql, _HOURLY, {"now": format_time(now)}),
        )
        again = made_again(client, [run["run_id"] for run in told["failed"]], since)
        return Present(**told, now=now, again=again)

    def _load_plans(self) -> Plans:
        client, now = self._page.client, self._page.now()
        known = self._page.catalogue.look()
        before = self._plans or Plans(pd.DataFrame())
        return Plans(
            following=client.expected(now, now + timedelta(days=1), each=1, limit=MOST_LISTED),
            broken=[error for error in known.errors if error["level"] == "error"],
            usual={**before.usual, **usual_of(client)},
            pauses=with_held(client, known.pauses),
            backfills=[b for b in client.list_backfills(limit=20) if _is_fresh(b, now)],
            untold=untold(client),
            reasons=reasons_of(client, self._present.live if self._present else []),
            role=before.role or str(client.version()["role"]),
            jobs=frozenset(known.jobs) | frozenset(known.broken),
        )

    def _load_health(self) -> Sequence[Mapping[str, Any]]:
        found: Sequence[Mapping[str, Any]] = self._page.client.list_findings()["findings"]
        return found

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
        self._draw()

    def _show_health(self, findings: Sequence[Mapping[str, Any]]) -> None:
        self._findings = findings
        self._draw()

    def _draw(self) -> None:
        plans = self._plans
        if self._present is not None:
            self._figures.content = overview_html.figures_html(self._present)
            known = (plans.usual, plans.reasons) if plans else ({}, {})
            self._left.content = overview_html.now_html(
                self._present, *known, has_jobs=plans is None or bool(plans.jobs)
            )
        if plans is not None:
            may_run, may_write = plans.role != "read", plans.role in {"write", "admin"}
            parts = [
                broken_html(plans.broken),
                held_html(plans.pauses, plans.backfills, may_run=may_run, may_write=may_write),
                overview_html.untold_html(plans.untold),
                overview_html.health_html(self._findings, may_mend=may_write, jobs=plans.jobs),
                overview_html.following_html(plans.following, plans.pauses, has_jobs=bool(plans.jobs)),
            ]
            self._right.content = f'<div class="stack">{"".join(parts)}</div>'

    # ---- From the reader ----

    def _act(self, message: dict[str, Any]) -> None:
        pn.state.execute(partial(self._ask, str(message["action"]), str(message.get("value", ""))))

    async def _ask(self, action: str, value: str) -> None:
        words = await self._page.act(do, self._page.client, action, value)
        if words is not None:
            self._page.later(partial(self._say, words))

    def _say(self, words: str) -> None:
        self._note.param.update(content=f'<p class="said" role="status">{words}</p>', visible=True)
        self._page.catalogue.forget()
        self._look()
        self._examine()


def do(client: Client, action: str, value: str) -> str:
    """Do what was asked for and confirmed. Asks the server: call it in a thread.

    Args:
        action: `resume-N`, `stop-N`, `goon-N` of the N-th pause or backfill, or `mend`.
        value: the pause as `scope:target`, or the backfill's id.

    Returns:
        HTML that says what was done.

    Raises:
        ClientError: the server refused it.
    """
    match action.partition("-")[0]:
        case "resume":
            scope, _, target = value.partition(":")
            client.resume(
                job=target if scope == "job" else None,
                path=target if scope == "path" else None,
                everything=scope == "all",
            )
            return f"{markup.text(target) or 'All jobs'}: the schedules go on."
        case "stop":
            client.backfill(value).stop()
            return f"Backfill {markup.text(value)} starts nothing more."
        case "goon":
            client.backfill(value).resume()
            return f"Backfill {markup.text(value)} goes on."
        case "mend":
            mended = client.list_findings(fix=True)["mended"]
            return "; ".join(map(markup.text, mended)) or "There was nothing to mend."
    return ""


def _is_about_runs(event: ServerEvent) -> bool:
    return event.type in {"run", "late"}


def _is_about_jobs(event: ServerEvent) -> bool:
    return event.type in {"job", "pause", "server"}


def _ended_within(run: Mapping[str, Any], now: datetime, span: timedelta) -> bool:
    ended = markup.instant(run["finished_at"])
    return ended is not None and now - ended < span


def _is_fresh(backfill: Mapping[str, Any], now: datetime) -> bool:
    """Whether a backfill is under way, or ended not long ago."""
    is_open = bool(backfill["left"] or backfill["running"])
    return is_open or _ended_within(backfill, now, ENDED_WITHIN)


def usual_of(client: Client) -> dict[str, dict[str, Any]]:
    """How long the last successes of the jobs took that run now, by job."""
    rows = markup.records(client.history.estimates())
    return {str(row["job_id"]): row for row in rows if row["runs"]}


def reasons_of(client: Client, live: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Why runs wait that have no message, in words, of those that are shown."""
    waiting = [run for run in live if run["state"] == State.WAITING.value][:MOST_ROWS]
    found = {}
    for run in waiting:
        if not run["message"]:
            with contextlib.suppress(NoSuch):  # it may have gone meanwhile
                causes = client.run(run["run_id"]).why()
                found[str(run["run_id"])] = markup.own_cause(str(causes[0]["text"]), run) if causes else ""
    return found


def made_again(client: Client, failed: Sequence[str], since: datetime) -> dict[str, tuple[str, str]]:
    """What was made anew of runs that failed since a time: by run the newest one, and its state."""
    if not failed:
        return {}
    ids = {f"id{n}": int(run_id.removeprefix("r")) for n, run_id in enumerate(failed)}
    query = _AGAIN.format(failed=", ".join(f"${name}" for name in ids))
    found = markup.records(client.sql(query, {"since": format_time(since), **ids}))
    return {f"r{row['rerun_of']}": (f"r{row['again_id']}", str(row["again_state"])) for row in found}


def with_held(client: Client, pauses: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Pauses, each with how many runs it has `held` back."""
    if not pauses:
        return []
    values = {name: [pause[name] for pause in pauses] for name in ("since", "scope", "target")}
    found = client.sql(_HELD, values)
    held = dict(zip(found["n"], found["runs"], strict=True))
    return [{**pause, "held": int(held.get(n, 0))} for n, pause in enumerate(pauses)]


def untold(client: Client) -> list[dict[str, Any]]:
    """The messages, calls and actions of a day that failed, newest first."""
    found = [*markup.records(client.sql(_UNTOLD)), *markup.records(client.sql(_FAILED_ACTIONS))]
    return sorted(found, key=lambda row: row["ts"], reverse=True)
