"""The jobs: a tree by path with how each is, and what can be done with one or many of them."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import panel as pn
from panel.viewable import Viewer

from apsis_nb.client import ServerEvent

from . import job_acts, markup, strips
from .ahead import MOST_LISTED
from .board import STACK_CSS, Board
from .catalogue import Known, is_disabled
from .controls import joined
from .jobs_table import (
    ONLY,
    PAGE_ROWS,
    SORTS,
    Row,
    acts_html,
    bar_html,
    broken_html,
    choice_of,
    chosen_jobs,
    job_cells,
    rows_html,
    success_rate,
    tree,
)
from .markup import text
from .page import Page
from .sql_box import PAST_CSS
from .workflow import Workflow, drawn, graph_of, words_of

CSS = (Path(__file__).parent / "jobs.css").read_text(encoding="utf-8")

AHEAD = timedelta(days=366)  #: how far the next run of a job is looked for
STATS_SINCE = "30d"
#: Jobs that are asked for by name; of more, all are asked for: an address has an end.
MOST_ASKED = 60


class JobsPage(Viewer):
    """The page's parts; follows the server by itself."""

    def __init__(self, page: Page, **params: Any) -> None:
        super().__init__(**params)
        self._page = page
        self._choice = choice_of(page.said)
        self._known: Known | None = None
        self._next_at: dict[str, Any] = {}
        self._stats: dict[str, dict[str, Any]] = {}
        self._strips: strips.Newest = {}
        self._last_runs = strips.LastRuns()
        self._picked: frozenset[str] = frozenset()
        self._shown: tuple[str, ...] = ()
        self._bar = Board(bar_html(self._choice, {}), on_action=self._act)
        self._note = Board(visible=False)
        self._broken = Board(visible=False)
        loading = markup.card("Jobs", markup.nothing("Loading …"))
        self._rows = Board(loading, on_action=self._act, stylesheets=[CSS])
        self._graph_head = Board(visible=False, stylesheets=[PAST_CSS])
        self._graph = Workflow(visible=False)
        self._look = page.keep(self._load, self._show, wants=_is_about_jobs, every_s=20.0)
        self._look_ahead = page.keep(self._load_next, self._show_next, wants=_is_about_jobs, every_s=20.0)
        page.keep(self._load_stats, self._show_stats, wants=lambda event: False, every_s=15.0)
        self._look_at_runs = page.keep(
            self._load_strips, self._show_strips, wants=self._is_shown, every_s=10.0
        )

    def __panel__(self) -> Any:
        return pn.Column(
            self._bar,
            self._note,
            self._broken,
            self._rows,
            joined(self._graph_head, self._graph),
            sizing_mode="stretch_width",
            styles={"gap": "14px"},
            stylesheets=[STACK_CSS],
        )

    # ---- From the server ----

    def _load(self) -> Known:
        return self._page.catalogue.look()

    def _show(self, known: Known) -> None:
        self._known = known
        self._picked = self._picked.intersection(known.jobs)
        self._bar.content = bar_html(self._choice, known.labels)
        wrong = [error for error in known.errors if error["level"] == "error"]
        self._broken.param.update(content=broken_html(wrong), visible=bool(wrong))
        self._draw()

    def _load_next(self) -> dict[str, Any]:
        """When those that are shown run next; of all where the order depends on it."""
        known = self._known
        if known is None:
            return {}
        among = known.jobs if self._choice.sort == "next" else self._shown
        jobs = [job_id for job_id in among if job_id in known.jobs and known.jobs[job_id]["schedule"]]
        if not jobs:
            return {}
        now = self._page.now()
        asked = jobs if len(jobs) <= MOST_ASKED else ()
        coming = self._page.client.expected(now, now + AHEAD, job=asked, limit=MOST_LISTED, each=1)
        return dict.fromkeys(jobs) | dict(zip(coming["job_id"], coming["scheduled_at"], strict=True))

    def _show_next(self, next_at: dict[str, Any]) -> None:
        self._next_at |= next_at
        self._draw()

    def _load_stats(self) -> dict[str, dict[str, Any]]:
        frame = self._page.client.history.jobs(since=STATS_SINCE)
        return {row["job_id"]: row for row in markup.records(frame)}

    def _show_stats(self, stats: dict[str, dict[str, Any]]) -> None:
        self._stats = stats
        self._draw()

    def _load_strips(self) -> strips.Newest:
        return self._last_runs.ask(self._page.client, self._shown)

    def _show_strips(self, found: strips.Newest) -> None:
        self._strips = {**self._strips, **found}
        self._draw()

    def _is_shown(self, event: ServerEvent) -> bool:
        if event.type in {"hello", "resync"}:
            self._last_runs.forget()
        if event.type != "run" or event.facts.get("job_id") not in self._shown:
            return False
        self._last_runs.hear(event)
        return True

    # ---- What is seen ----

    def _draw(self) -> None:
        if self._known is None:
            return
        chosen = chosen_jobs(self._known, self._choice, self._last_state)
        is_graph = self._choice.is_graph
        self._rows.visible, self._graph_head.visible = not is_graph, is_graph
        if is_graph:
            self._rows.content = ""
            self._draw_graph(self._known, chosen)
            return
        self._graph.visible = False
        rows = tree(chosen, self._choice.closed) if self._choice.sort == "" else self._sorted(chosen)
        pages = max(1, -(-len(rows) // PAGE_ROWS))
        if self._choice.page >= pages:
            self._choice = replace(self._choice, page=pages - 1)
        seen = rows[self._choice.page * PAGE_ROWS : (self._choice.page + 1) * PAGE_ROWS]
        shown = tuple(row.name for row in seen if row.kind == "job")
        if self._follow_runs_of(shown) and any(job_id not in self._next_at for job_id in shown):
            self._look_ahead()
        cells = {job_id: self._cells(job_id) for job_id in shown}
        self._rows.content = rows_html(
            seen, cells, len(chosen), len(rows), self._choice, self._picked, self._acts_html(chosen)
        )

    def _follow_runs_of(self, jobs: tuple[str, ...]) -> bool:
        """Show how the runs of these jobs go; gives whether they are others than before."""
        if jobs == self._shown:
            return False
        self._shown = jobs
        if any(job_id not in self._strips for job_id in jobs):
            self._look_at_runs()
        return True

    def _draw_graph(self, known: Known, chosen: list[str]) -> None:
        graph = graph_of(known, chosen)
        can_be_drawn = bool(graph.jobs) and not graph.is_too_large
        words = words_of(graph)
        body = f'<p class="hint">{text(words)}</p>' if can_be_drawn else markup.nothing(words)
        kind = "upper" if can_be_drawn else ""
        self._graph_head.content = markup.card("What waits for what", body, count=len(graph.jobs), kind=kind)
        self._follow_runs_of(tuple(job for job in graph.jobs if job in known.jobs)[:MOST_ASKED])
        self._graph.draw(drawn(graph, known, self._last_state) if can_be_drawn else {})
        self._graph.visible = can_be_drawn

    def _last(self, job_id: str) -> dict[str, Any] | None:
        runs = self._strips.get(job_id)
        if runs:
            return runs[-1]
        told = self._stats.get(job_id)
        if told is None or not markup.given(told["last_run_id"]):
            return None
        return {
            "run_id": str(told["last_run_id"]).removeprefix("r"),
            "state": told["last_state"],
            "scheduled_at": told["last_scheduled_at"],
        }

    def _last_state(self, job_id: str) -> str:
        last = self._last(job_id)
        return "" if last is None else markup.state_of(last["state"]).value

    def _sorted(self, chosen: list[str]) -> list[Row]:
        next_at = self._next_at

        def last_at(job_id: str) -> datetime | None:
            last = self._last(job_id)
            return None if last is None else markup.instant(last["scheduled_at"])

        def order(job_id: str) -> Any:
            match self._choice.sort:
                case "next":
                    at = markup.instant(next_at.get(job_id))
                    return (at is None, 0 if at is None else at.timestamp())
                case "last":
                    at = last_at(job_id)
                    return (at is None, 0 if at is None else -at.timestamp())
                case "success":
                    rate = success_rate(self._stats.get(job_id))
                    return (rate is None, rate or 0.0)
                case _:
                    return job_id

        return [Row("job", job_id) for job_id in sorted(chosen, key=order)]

    def _cells(self, job_id: str) -> list[str]:
        assert self._known is not None
        known = self._known
        return job_cells(
            job_id,
            known.jobs.get(job_id),
            is_broken=job_id in known.broken,
            pause=known.pause_of(job_id),
            next_at=self._next_at.get(job_id),
            is_asked=job_id in known.jobs
            and bool(known.jobs[job_id]["schedule"])
            and job_id not in self._next_at,
            last=self._last(job_id),
            stats=self._stats.get(job_id),
            runs=self._strips.get(job_id, []),
            is_flat=self._choice.sort != "",
        )

    def _acts_html(self, chosen: list[str]) -> str:
        assert self._known is not None
        known, picked = self._known, sorted(self._picked)
        held = [i for i in picked if known.pause_of(i) is not None]
        free = [i for i in picked if known.pause_of(i) is None]
        off = [i for i in picked if is_disabled(known.jobs[i])]
        on = [i for i in picked if job_acts.can_be_disabled(known.jobs[i])]
        return acts_html(picked, free, held, on, off)

    # ---- What is done ----

    def _act(self, message: dict[str, Any]) -> None:
        value, name = str(message.get("value", "")), str(message.get("name", ""))
        match message["action"]:
            case "words":
                self._choose(words=value, page=0)
            case "label":
                self._choose(label=value, page=0)
            case "only" if value in ONLY:
                self._choose(only=value, page=0)
            case "sort" if value in SORTS:
                self._choose(sort=value, page=0)
            case "page" if value.isdigit():
                self._choose(page=int(value))
            case "view":
                self._choose(is_graph=value == "graph", page=0)
            case "fold":
                self._choose(closed=self._choice.closed ^ {value})
            case "fold-all":
                self._choose(closed=self._folders() if value == "close" else frozenset(), page=0)
            case "pick":
                self._pick(name, value == "true")
            case "pick-none":
                self._picked = frozenset()
                self._draw()
            case action:
                pn.state.execute(partial(self._ask, action, message))

    def _choose(self, **changes: Any) -> None:
        self._choice = replace(self._choice, **changes)
        if changes.get("sort") == "next":
            self._look_ahead()
        if "is_graph" in changes and self._known is not None:
            self._bar.content = bar_html(self._choice, self._known.labels)
        self._page.put_in_address(**self._choice.said())
        self._draw()

    def _folders(self) -> frozenset[str]:
        if self._known is None:
            return frozenset()
        chosen = chosen_jobs(self._known, self._choice, self._last_state)
        return frozenset(row.name for row in tree(chosen, frozenset()) if row.kind == "folder")

    def _pick(self, name: str, is_picked: bool) -> None:
        """A job, or with a slash at the end all chosen ones of a folder; empty: all that are chosen."""
        if self._known is None:
            return
        chosen = chosen_jobs(self._known, self._choice, self._last_state)
        meant = {i for i in chosen if i == name or name == "" or (name.endswith("/") and i.startswith(name))}
        meant = meant.intersection(self._known.jobs)
        self._picked = self._picked | meant if is_picked else self._picked - meant
        self._draw()

    async def _ask(self, action: str, message: Mapping[str, Any]) -> None:
        """Ask what is to be asked before, or do it."""
        if self._known is None:
            return
        client, known, asked = self._page.client, self._known, str(message.get("value", ""))
        form = message.get("form") or {}
        # What is done is what the question was about; the ticks may have changed since.
        meant = [job_id for job_id in json.loads(asked or "[]") if job_id in known.jobs]
        pauses = job_acts.pauses_over(known, meant)
        match action:
            case "resume?":
                html = await self._page.act(job_acts.resume_question, client, pauses)
                if html is not None:
                    title = "Resume " + " and ".join(
                        job_acts.pause_name(p, is_html=False) for p in pauses[:2]
                    )
                    title += f" and {len(pauses) - 2} more?" if len(pauses) > 2 else "?"
                    self._later_ask(title, html, "Resume", "resume", asked)
            case "reload?":
                told = await self._page.act(client.reload, dry_run=True)
                if told is not None:
                    lost = sorted(
                        {e["job_id"] for e in told["errors"] if e["level"] == "error"} & known.jobs.keys()
                    )
                    if job_acts.is_changed(told) or lost:
                        html = job_acts.reload_question(told, lost)
                        self._later_ask("Read the job files again?", html, "Reload", "reload")
                    else:
                        html = "<p>No job file has changed since they were read.</p>"
                        html += job_acts.reload_question(told, [])
                        self._later_ask("Nothing has changed", html, "", "")
            case "reload":
                force = bool(form.get("force"))
                told = await self._page.act(client.reload, force=force)
                self._tell(None if told is None else job_acts.reloaded_words(told))
            case "pause":
                self._tell(await self._page.act(job_acts.pause, client, meant, form))
            case "resume":
                self._tell(await self._page.act(job_acts.resume, client, pauses))
            case "enable" | "disable":
                done = await self._page.act(job_acts.enable, client, meant, enable=action == "enable")
                self._tell(done)

    def _later_ask(self, title: str, html: str, yes: str, action: str, value: str = "") -> None:
        self._page.later(lambda: self._rows.ask(title, html, yes=yes, action=action, value=value))

    def _tell(self, words: str | None) -> None:
        """Say what was done; None: it failed, which is said elsewhere."""
        self._page.catalogue.forget()

        def say() -> None:
            if words is not None:
                self._picked = frozenset()
            self._draw()
            if words is not None:
                said = f'<p class="said" role="status">{text(words)}</p>'
                self._note.param.update(content=said, visible=True)
            self._look()

        self._page.later(say)


def _is_about_jobs(event: ServerEvent) -> bool:
    return event.type in {"job", "pause", "server"}
