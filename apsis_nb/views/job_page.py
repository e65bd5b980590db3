"""The page of one job: when it runs, how it went, what it waits for, its file, what can be done."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import panel as pn
from panel.viewable import Viewer

from apsis_nb.client import Backfill, BadRequest, Client, NoSuch, RequestRefused, ServerEvent
from apsis_nb.core.errors import ApsisError

from . import dependencies, job_acts, job_parts, markup, strips, trend
from .board import COLUMNS_CSS, STACK_CSS, Board, stack
from .catalogue import Known
from .job_parts import Told
from .job_timeline import JobTimeline
from .markup import text
from .page import Page
from .trend import Trend
from .yaml_editor import YamlEditor

_HERE = Path(__file__).parent
CSS = (_HERE / "jobs.css").read_text(encoding="utf-8") + (_HERE / "job.css").read_text(encoding="utf-8")
BACKFILLS = 200  #: the newest of the server that are looked through for those of the job


_RAN = "SELECT run_id FROM runs WHERE job_id = $job LIMIT 1"


@dataclass(frozen=True)
class Past:
    """How its runs went."""

    stats: Mapping[str, Any] | None
    runs: list[dict[str, Any]]  #: the last ones, oldest first
    last: dict[str, dict[str, Any]] | None  #: the last run of each job of the trees; None: not known yet


class JobPage(Viewer):
    """The page's parts; follows its job."""

    def __init__(self, page: Page, **params: Any) -> None:
        super().__init__(**params)
        self._page = page
        self._job_id = page.said.get("id", "")
        self._told: Told | None = None
        self._known: Known | None = None
        self._past = Past(None, [], None)
        self._version: int | None = None
        self._drafts = 0
        self._tag = ""  # of the text that the reader is about to replace
        title = self._job_id or "Job"
        self._head = Board(
            markup.card(title, markup.nothing("Loading …")), on_action=self._act, stylesheets=[CSS]
        )
        self._note = Board(visible=False)
        self._side = Board(stylesheets=[CSS])
        self._took, self._late = Trend("Duration", page.shell.zone), Trend("Lateness", page.shell.zone)
        self._timeline = JobTimeline(page, self._job_id)
        self._backfills = Board(on_action=self._act, visible=False)
        self._editor = YamlEditor(self._act)
        self._versions = Board(on_action=self._act, stylesheets=[CSS])
        self._body = self._lay_out()
        page.shell.param.watch(self._set_zone, "zone")
        page.adhoc.param.watch(lambda event: self._draw(), "role")
        if self._job_id:
            for picture in (self._took, self._late):
                picture.say("Loading …")
            self._look = page.keep(self._load, self._show, wants=self._is_about_it, every_s=20.0)
            self._look_back = page.keep(
                self._load_past, self._show_past, wants=self._is_run_of_it, every_s=15.0
            )
            self._look_at_runs = page.keep(
                self._timeline.load, self._timeline.draw, wants=self._is_run_of_it, every_s=30.0
            )
            page.keep(self._load_trends, self._show_trends, wants=lambda event: False, every_s=60.0)
        else:
            self._head.content = job_parts.absent_html("", Told(None))

    def _lay_out(self) -> Any:
        surface = {
            "background": "var(--ap-surface)",
            "border": "1px solid var(--ap-line)",
            "border-radius": "10px",
        }
        trends = pn.Column(self._took, self._late, sizing_mode="stretch_width", styles=surface)
        heading = Board('<header class="part"><h2>File</h2></header>', stylesheets=[CSS])
        file = pn.Column(heading, self._editor, sizing_mode="stretch_width", styles=surface)
        left = pn.Column(
            self._backfills,
            self._timeline,
            trends,
            file,
            self._versions,
            sizing_mode="stretch_width",
            styles={"gap": "16px", "min-width": "0"},
            stylesheets=[STACK_CSS],
        )
        columns = pn.Row(left, self._side, sizing_mode="stretch_width", stylesheets=[COLUMNS_CSS])
        # The grid says itself how it is displayed, so what hides it stands around it.
        return pn.Column(columns, sizing_mode="stretch_width", visible=False)

    def __panel__(self) -> Any:
        return stack(self._head, self._note, self._body)

    # ---- From the server ----

    def _is_about_it(self, event: ServerEvent) -> bool:
        if event.type == "run":
            return event.facts.get("job_id") == self._job_id and event.facts.get("origin") == "backfill"
        return event.type in {"job", "pause", "server"}

    def _is_run_of_it(self, event: ServerEvent) -> bool:
        return event.type == "run" and event.facts.get("job_id") == self._job_id

    def _load(self) -> tuple[Known, Told]:
        known = self._page.catalogue.look()
        return known, told_of(self._page.client, known, self._job_id)

    def _show(self, loaded: tuple[Known, Told]) -> None:
        self._known, self._told = loaded
        told = self._told
        self._page.shell.own_zone = job_parts.own_zone(told.facts)
        if told.facts is None:
            self._page.shell.failed = bool(told.errors)
        if told.yaml is not None:
            self._editor.text = told.yaml
        self._draw()
        self._look_back()

    def _load_past(self) -> Past:
        client = self._page.client
        last: dict[str, dict[str, Any]] | None = None
        if self._known is not None:  # else it is not known yet who stands in the trees
            jobs = {self._job_id}
            for nodes, _ in self._trees(self._known):
                jobs |= dependencies.job_ids(nodes)
            rows = markup.records(client.history.jobs("90d", job=sorted(jobs)))
            last = {row["job_id"]: row for row in rows}
        recent = markup.records(client.history.jobs("30d", job=self._job_id))
        runs = strips.last_runs(client, [self._job_id])[self._job_id]
        return Past(recent[0] if recent else None, runs, last)

    def _show_past(self, past: Past) -> None:
        self._past = past
        self._timeline.follow(past.runs)
        self._look_at_runs()
        self._page.shell.running = sum(run["state"] in {"running", "stopping"} for run in past.runs)
        self._draw()

    def _load_trends(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        history = self._page.client.history
        return trend.load(history.durations, self._job_id), trend.load(history.lateness, self._job_id)

    def _show_trends(self, loaded: tuple[pd.DataFrame, pd.DataFrame]) -> None:
        took, late = loaded
        self._took.draw(took, "No run has succeeded in 90 days: there is no duration to show.")
        self._late.draw(late, "No schedule made a run in 90 days: nothing was due, so nothing was late.")

    # ---- What is seen ----

    def _trees(self, known: Known) -> tuple[tuple[list[dependencies.Node], int], ...]:
        return tuple(
            dependencies.grow(partial(links, known), self._job_id)
            for links in (dependencies.before, dependencies.after)
        )

    def _draw(self) -> None:
        told, known = self._told, self._known
        if told is None or known is None:
            return
        past, job_id = self._past, self._job_id
        role = self._page.adhoc.role
        absent = told.facts is None
        head = (
            ""
            if absent and not told.errors
            else job_parts.head_html(job_id, told, past.stats, past.runs, role)
        )
        self._head.content = head + (job_parts.absent_html(job_id, told) if absent or told.errors else "")
        before, after = (
            dependencies.tree_html(nodes, known, past.last, omitted) if nodes else ""
            for nodes, omitted in self._trees(known)
        )
        self._side.content = job_parts.side_html(told, before, after)
        self._side.visible = not absent
        listed = job_parts.backfills_html(told.backfills)
        self._backfills.param.update(content=listed, visible=bool(listed))
        self._versions.content = markup.card(
            "Versions", job_parts.versions_html(told.versions, self._version)
        )
        self._editor.can_write = told.yaml is not None and role in {"write", "admin"}
        self._body.visible = told.yaml is not None or not absent

    def _set_zone(self, event: Any) -> None:
        for picture in (self._timeline, self._took, self._late):
            picture.set_zone(event.new)

    # ---- What is done ----

    def _act(self, message: dict[str, Any]) -> None:
        value = str(message.get("value", ""))
        match message["action"]:
            case "version" if value.isdigit():
                self._version = None if self._version == int(value) else int(value)
                self._draw()
            case "take" if value.isdigit() and self._told is not None:
                found = next((v["yaml"] for v in self._told.versions if v["version"] == int(value)), None)
                if found is not None:
                    self._drafts += 1
                    self._editor.draft = {"n": self._drafts, "text": found}
            case action:
                pn.state.execute(partial(self._ask, action, message))

    async def _ask(self, action: str, message: Mapping[str, Any]) -> None:
        """Ask what is to be asked before, or do it."""
        if self._told is None or self._known is None:
            return
        client, page, job_id = self._page.client, self._page, self._job_id
        form, source = message.get("form") or {}, str(message.get("text", ""))
        pauses = job_acts.pauses_over(self._known, [job_id])
        match action:
            case "pause":
                self._tell(await page.act(job_acts.pause, client, [job_id], form))
            case "resume?":
                html = await page.act(job_acts.resume_question, client, pauses)
                self._later_ask(self._head, f"Resume {job_id}?", html, "Resume", "resume")
            case "resume":
                self._tell(await page.act(job_acts.resume, client, pauses))
            case "backfill?":
                await self._plan_backfill(form)
            case "backfill":
                made = await page.act(begin_backfill, client, job_id, str(message.get("value", "")))
                self._tell(None if made is None else f"Backfill {made} has begun.")
            case "backfill-stop" | "backfill-resume":
                backfill = await page.act(client.backfill, str(message.get("value", "")))
                if backfill is not None:
                    done = await page.act(backfill.stop if action == "backfill-stop" else backfill.resume)
                    word = "is stopped" if action == "backfill-stop" else "goes on"
                    self._tell(None if done is None else f"Backfill {backfill.backfill_id} {word}.")
            case "check":
                told = await page.act(client.check, job_id, source)
                errors = None if told is None else told["errors"]
                if errors is not None:
                    checked = {"n": message.get("n"), "errors": errors}
                    page.later(lambda: self._editor.param.update(checked=checked))
            case "save?" if message.get("base") != self._told.yaml:
                words = "Somebody has changed the file since you began: Undo changes shows what it is now."
                page.later(lambda: page.fail(ApsisError(words)))
            case "save?":
                self._tag = self._told.tag
                preview = await page.act(client.preview, job_id, source)
                if preview is not None:
                    html = job_parts.edit_html(self._told.yaml, source, preview)
                    self._later_ask(self._head, f"Save {job_id}?", html, "Save", "save", source)
            case "save":
                text_to_save = str(message.get("value", ""))
                tag = await page.act(client.write_yaml, job_id, text_to_save, tag=self._tag)
                self._tell(None if tag is None else f"{job_id} is saved, and taken up.")

    async def _plan_backfill(self, form: Mapping[str, Any]) -> None:
        start, stop = str(form.get("start") or ""), str(form.get("stop") or "")
        if not start or not stop:
            self._page.later(
                lambda: self._page.fail(ApsisError("A backfill needs its first and its last day."))
            )
            return
        wish = {
            "start": start,
            "stop": stop,
            "only_missing": "only_missing" in form,
            "actions": "actions" in form,
            "max_running": int(form["max_running"]) if str(form.get("max_running", "")).isdecimal() else 1,
        }
        plan = await self._page.act(plan_backfill, self._page.client, self._job_id, wish)
        if plan is not None:
            count = len(plan["instances"])
            yes = f"Run {count:,}" if count else ""
            title = (
                f"Backfill {job_acts.many(count, 'run')} of {self._job_id}?" if count else "Nothing to run"
            )
            html, value = job_parts.plan_html(plan), json.dumps(wish)
            self._later_ask(self._head, title, html, yes, "backfill", value)

    def _later_ask(
        self, board: Board, title: str, html: str | None, yes: str, action: str, value: str = ""
    ) -> None:
        if html is not None:
            self._page.later(lambda: board.ask(title, html, yes=yes, action=action, value=value))

    def _tell(self, words: str | None) -> None:
        """Say what was done; None: it failed, which is said elsewhere."""
        self._page.catalogue.forget()

        def say() -> None:
            if words is not None:
                said = f'<p class="said" role="status">{text(words)}</p>'
                self._note.param.update(content=said, visible=True)
            self._look()

        self._page.later(say)


# ---- Asking the server ----


def told_of(client: Client, known: Known, job_id: str) -> Told:
    """All that is told of a job; of one that is not there, what is left of it."""
    facts = known.jobs.get(job_id)
    versions: list[dict[str, Any]] = []
    source, tag = None, ""
    # There is none, or it is an id that the server takes for no file's name.
    with suppress(NoSuch, BadRequest, RequestRefused):
        versions = client.versions(job_id)
    with suppress(NoSuch, BadRequest, RequestRefused):
        source, tag = client.yaml(job_id)
    return Told(
        facts=facts,
        errors=known.broken.get(job_id, []),
        pause=None if facts is None else known.pause_of(job_id),
        next=client.list_next(job_id, job_parts.NEXT_TIMES) if facts is not None else [],
        versions=versions,
        yaml=source,
        tag=tag,
        backfills=[b for b in client.list_backfills(BACKFILLS) if b["job_id"] == job_id],
        ran=facts is None and bool(client.sql_rows(_RAN, {"job": job_id})[1]),
    )


def plan_backfill(client: Client, job_id: str, wish: Mapping[str, Any]) -> dict[str, Any]:
    """Which runs a backfill makes."""
    return client.jobs[job_id].plan_backfill(
        start=wish["start"], stop=wish["stop"], only_missing=wish["only_missing"]
    )


def begin_backfill(client: Client, job_id: str, value: str) -> str:
    """Begin what was planned; gives the id of the backfill."""
    wish = json.loads(value)
    made = client.jobs[job_id].backfill(
        start=wish["start"],
        stop=wish["stop"],
        only_missing=wish["only_missing"],
        max_running=wish["max_running"],
        actions=wish["actions"],
    )
    assert isinstance(made, Backfill)
    return made.backfill_id
