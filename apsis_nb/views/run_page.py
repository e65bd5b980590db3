"""The page of one run: how it is, why, its log, its outputs as they grow, and what can be done with it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import panel as pn
from panel.viewable import Viewer

from apsis_nb.client import Client, NoSuch, Run, ServerEvent
from apsis_nb.core.errors import ApsisError
from apsis_nb.core.states import State
from apsis_nb.core.times import format_time

from . import connection, markup, run_html
from .board import COLUMNS_CSS, STACK_CSS, Board, stack
from .connection import READ_ONLY
from .job_parts import own_zone
from .output import OutputPane
from .page import Page
from .run_actions import do

RUN_CSS = (Path(__file__).parent / "run.css").read_text(encoding="utf-8")

LAST_RUNS = 30
MOST_ASKED = 12  #: of the runs that may wait for this one, so many are asked why they wait
FAMILY_WITHIN = timedelta(days=90)

_LAST_RUNS = f"""
SELECT run_id, state, scheduled_at, elapsed_s, late
FROM runs
WHERE job_id = $job AND scheduled_at >= $now::TIMESTAMP - INTERVAL 90 DAY AND origin <> 'test'
ORDER BY scheduled_at DESC, run_id DESC
LIMIT {LAST_RUNS}"""

_FAMILY = """
SELECT run_id, rerun_of, origin, attempt, state, scheduled_at, finished_at, elapsed_s
FROM runs
WHERE job_id = $job AND scheduled_at >= $since::TIMESTAMP AND (rerun_of IS NOT NULL OR run_id = $id)
ORDER BY run_id LIMIT 2000"""

_ONE = """
SELECT run_id, rerun_of, origin, attempt, state, scheduled_at, finished_at, elapsed_s
FROM runs WHERE run_id = $id"""


@dataclass(frozen=True)
class Told:
    """What one look at the server gave of the run itself."""

    run: Run
    facts: dict[str, Any]
    job: Mapping[str, Any] | None  #: the facts of its job, None if there is none any more
    log: pd.DataFrame
    now: datetime


@dataclass(frozen=True)
class Around:
    """What stands around the run."""

    role: str | None = None  #: of the reader
    others: pd.DataFrame = field(default_factory=pd.DataFrame)  #: the last runs of its job, newest first
    causes: Sequence[Mapping[str, Any]] = ()
    family: Sequence[Mapping[str, Any]] = ()
    waiters: Sequence[Mapping[str, Any]] = ()
    dependents: Sequence[str] = ()
    backfill: Mapping[str, Any] | None = None


class RunPage(Viewer):
    """The page's parts; follows its run."""

    def __init__(self, page: Page, **params: Any) -> None:
        super().__init__(**params)
        self._page = page
        said = page.said.get("id", "")
        self._name = f"r{said}" if said.isdigit() else said
        self._told: Told | None = None
        self._around = Around(role=READ_ONLY if connection.file_shown() else None)
        self._run: Run | None = None
        style: dict[str, Any] = {"stylesheets": [RUN_CSS]}
        loading = markup.card(self._name or "Run", markup.nothing("Loading …"))
        self._head = Board(loading, on_action=self._act, **style)
        self._note = Board(visible=False)
        self._why = Board(visible=False, **style)
        self._side = Board(**style)
        self._output = OutputPane(page.later)
        self._below = Board(**style)
        columns = pn.Row(
            pn.Column(
                self._why,
                self._output,
                self._below,
                sizing_mode="stretch_width",
                styles={"gap": "16px", "min-width": "0"},
                stylesheets=[STACK_CSS],
            ),
            self._side,
            sizing_mode="stretch_width",
            stylesheets=[COLUMNS_CSS],
        )
        # The grid says itself how it is displayed, so what hides it stands around it.
        self._body = pn.Column(columns, sizing_mode="stretch_width", visible=False)
        if re.fullmatch(r"r\d+", self._name):
            page.keep(self._load, self._show, wants=self._is_about_it, every_s=5.0)
            page.keep(self._load_around, self._show_around, wants=self._is_about_it, every_s=15.0)
        else:
            self._head.content = run_html.absent_html(self._name)
        pn.state.on_session_destroyed(lambda context: self._output.close())

    def __panel__(self) -> Any:
        return stack(self._head, self._note, self._body)

    def _is_about_it(self, event: ServerEvent) -> bool:
        return event.facts.get("run_id") == self._name

    # ---- From the server ----

    def _load(self) -> Told | None:
        try:
            run = self._page.client.run(self._name)
            job = self._page.catalogue.look().jobs.get(run.job_id)
            return Told(run, dict(run.facts), job, run.log, self._page.now())
        except NoSuch:
            return None

    def _load_around(self) -> Around | None:
        client = self._page.client
        try:
            run = client.run(self._name)
        except NoSuch:
            return None
        facts = run.seen
        jobs = self._page.catalogue.look().jobs
        waiters, dependents = waiting_for(client, jobs, facts)
        return Around(
            role=self._around.role or _unless_refused(lambda: str(client.version()["role"])),
            others=client.sql(_LAST_RUNS, {"job": run.job_id, "now": format_time(self._page.now())}),
            causes=(_unless_refused(lambda: list(run.why())) or []) if wants_why(facts) else [],
            family=family_of(client, facts),
            waiters=waiters,
            dependents=dependents,
            backfill=_unless_refused(lambda: client.backfill(facts["backfill_id"]).facts)
            if facts["backfill_id"] is not None
            else None,
        )

    def _show(self, told: Told | None) -> None:
        if told is None:
            self._head.content = run_html.absent_html(self._name)
            return
        before, self._told = self._told, told
        state = State(told.facts["state"])
        self._page.shell.own_zone = own_zone(told.job)
        self._page.shell.param.update(
            running=int(state in {State.RUNNING, State.STOPPING}),
            failed=state in {State.FAILURE, State.ERROR},
        )
        self._draw()
        self._body.visible = True
        started_anew = (
            before is not None and before.facts["started_at"] is None and told.facts["started_at"] is not None
        )
        if self._run is None or started_anew:
            self._run = told.run
            self._output.follow(
                told.run, f"../api/v1/runs/{self._name}/outputs/" if self._page.has_api else ""
            )
        elif state.is_finished and before is not None and not State(before.facts["state"]).is_finished:
            self._output.has_ended()

    def _show_around(self, around: Around | None) -> None:
        if around is not None:
            self._around = around
            self._draw()

    def _draw(self) -> None:
        if self._told is None:
            return
        facts, job, around = self._told.facts, self._told.job, self._around
        self._head.content = run_html.head_html(facts, around.others, self._told.now, job, around.role)
        why = run_html.why_html(around.causes, facts)
        self._why.param.update(content=why, visible=bool(why))
        side = [
            run_html.log_html(self._told.log),
            run_html.family_html(around.family, self._name),
            run_html.backfill_html(around.backfill),
            run_html.waiters_html(around.waiters, around.dependents),
            run_html.details_html(facts, job),
            run_html.resources_html(facts.get("meta")),
        ]
        self._side.content = f'<div class="stack">{"".join(side)}</div>'
        self._below.content = run_html.program_html(facts)

    # ---- From the reader ----

    def _act(self, message: dict[str, Any]) -> None:
        pn.state.execute(partial(self._ask, message))

    async def _ask(self, message: dict[str, Any]) -> None:
        """Do what the reader asked for and confirmed; a refusal of the server is shown on the page."""
        if self._run is None or self._told is None:
            return
        form = message.get("form") or {}
        words = await self._page.act(do, self._run, self._told.job, message["action"], form)
        if words:
            self._page.later(lambda: self._say(words))

    def _say(self, html: str) -> None:
        self._note.param.update(content=f'<p class="said" role="status">{html}</p>', visible=True)


def wants_why(facts: Mapping[str, Any]) -> bool:
    """Whether there is anything to explain: it has not run, not well, or late."""
    calm = facts["state"] in {State.SUCCESS.value, State.RUNNING.value, State.STARTING.value}
    return not calm or bool(facts["late"])


def family_of(client: Client, facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The run with all that it repeats and that repeats it, directly or not, oldest first."""
    due = markup.instant(facts["scheduled_at"])
    number = int(facts["run_id"][1:])
    if due is None:
        return []
    since = format_time(due - FAMILY_WITHIN)
    found = client.sql(_FAMILY, {"job": facts["job_id"], "since": since, "id": number})
    rows = {int(row["run_id"]): row for row in markup.records(found)}
    of = {n: int(row["rerun_of"]) for n, row in rows.items() if markup.given(row["rerun_of"])}
    if facts["rerun_of"]:
        of[number] = int(facts["rerun_of"][1:])
    root = number
    while root in of:
        root = of[root]
    if root not in rows:
        rows |= {int(row["run_id"]): row for row in markup.records(client.sql(_ONE, {"id": root}))}
    members = {root}
    for n in sorted(of):  # whoever repeats a run was made after it
        if of[n] in members:
            members.add(n)
    return [rows[n] for n in sorted(members) if n in rows]


def waiting_for(
    client: Client, jobs: Mapping[str, Mapping[str, Any]], facts: Mapping[str, Any]
) -> tuple[list[dict[str, Any]], list[str]]:
    """The live runs that wait for a run, and the jobs that depend on its job.

    Args:
        client: whom to ask.
        jobs: the facts of all jobs.
        facts: of the run.
    """
    dependents = [
        job_id
        for job_id, job in jobs.items()
        if any(c.get("type") == "dependency" and c.get("job_id") == facts["job_id"] for c in job["condition"])
    ]
    if not dependents:
        return [], []
    waiting = [run for run in client.list_runs(state="waiting", limit=1000) if run["job_id"] in dependents]
    found = []
    for run in waiting[:MOST_ASKED]:
        causes = _unless_refused(partial(_causes_of, client, run["run_id"])) or []
        if any(_is_about(cause, facts) for cause in causes):
            found.append(run)
    return found, dependents


def _causes_of(client: Client, run_id: str) -> list[dict[str, Any]]:
    return list(client.run(run_id).why())


def _is_about(cause: Mapping[str, Any], facts: Mapping[str, Any]) -> bool:
    is_it = cause["run_id"] == facts["run_id"]
    return bool(is_it or (cause["job_id"] == facts["job_id"] and cause["args"] == facts["args"]))


def _unless_refused(ask: Any) -> Any:
    """An answer that the page can do without."""
    try:
        return ask()
    except ApsisError:
        return None
