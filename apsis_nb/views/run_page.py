"""The page of one run: its state and times, its log, its output as it grows, and what can be done with it."""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

import pandas as pd
import panel as pn
from panel.viewable import Viewer

from apsis_nb.client import NoSuch, Run, ServerEvent
from apsis_nb.core.states import State

from . import markup, palette
from .board import COLUMNS_CSS, Board
from .markup import text
from .output import OutputPane
from .page import Page
from .timeline_page import query_of

LAST_RUNS = 30

_LAST_RUNS = f"""
SELECT run_id, state, scheduled_at, elapsed_s, late
FROM runs
WHERE job_id = $job AND scheduled_at >= utc_now() - INTERVAL 90 DAY AND origin <> 'test'
ORDER BY scheduled_at DESC, run_id DESC
LIMIT {LAST_RUNS}"""


@dataclass(frozen=True)
class Told:
    """What one look at the server gave."""

    run: Run
    facts: dict[str, Any]
    log: pd.DataFrame
    others: pd.DataFrame  #: the last runs of its job, newest first
    now: datetime


class RunPage(Viewer):
    """The page's parts; follows its run."""

    def __init__(self, page: Page, **params: Any) -> None:
        super().__init__(**params)
        self._page = page
        said = query_of(pn.state.session_args).get("id", "")
        self._name = f"r{said}" if said.isdigit() else said
        self._facts: dict[str, Any] | None = None
        self._run: Run | None = None
        self._head = Board(markup.card(self._name or "Run", markup.nothing("Loading …")), on_action=self._act)
        self._note = Board(visible=False)
        self._side = Board()
        self._output = OutputPane(page.later)
        self._below = Board()
        self._body = pn.Row(
            pn.Column(
                self._output,
                self._below,
                sizing_mode="stretch_width",
                styles={"gap": "16px", "min-width": "0"},
            ),
            self._side,
            sizing_mode="stretch_width",
            visible=False,
            stylesheets=[COLUMNS_CSS],
        )
        if re.fullmatch(r"r\d+", self._name):
            page.keep(self._load, self._show, wants=self._is_about_it, every_s=5.0)
        else:
            self._head.content = absent_html(self._name)
        pn.state.on_session_destroyed(lambda context: self._output.close())

    def __panel__(self) -> Any:
        return pn.Column(
            self._head, self._note, self._body, sizing_mode="stretch_width", styles={"gap": "16px"}
        )

    def _is_about_it(self, event: ServerEvent) -> bool:
        return event.facts.get("run_id") == self._name

    def _load(self) -> Told | None:
        client = self._page.client
        try:
            run = client.run(self._name)
        except NoSuch:
            return None
        others = client.sql(_LAST_RUNS, {"job": run.job_id})
        return Told(run, dict(run.facts), run.log, others, self._page.now())

    def _show(self, told: Told | None) -> None:
        if told is None:
            self._head.content = absent_html(self._name)
            return
        facts = told.facts
        state = State(facts["state"])
        self._head.content = head_html(facts, told.others, told.now)
        self._side.content = side_html(facts, told.log)
        self._below.content = program_html(facts)
        self._body.visible = True
        self._page.shell.param.update(
            running=int(state in {State.RUNNING, State.STOPPING}),
            failed=state in {State.FAILURE, State.ERROR},
        )
        started_anew = (
            self._facts is not None and self._facts["started_at"] is None and facts["started_at"] is not None
        )
        if self._run is None or started_anew:
            self._run = told.run
            self._output.follow(
                told.run, f"../api/v1/runs/{self._name}/outputs/" if self._page.has_api else ""
            )
        self._facts = facts

    def _act(self, message: dict[str, Any]) -> None:
        pn.state.execute(partial(self._ask, message))

    async def _ask(self, message: dict[str, Any]) -> None:
        """Do what the reader asked for and confirmed; a refusal of the server is shown on the page."""
        run, action = self._run, message["action"]
        if run is None:
            return
        if action == "rerun":
            form = message.get("form") or {}
            args = {
                name.removeprefix("arg:"): str(value)
                for name, value in form.items()
                if name.startswith("arg:")
            }
            changed = {name: value for name, value in args.items() if run.args.get(name) != value}
            made = await self._page.act(run.rerun, **changed)
            if made is not None:
                words = f"{markup.run_link(made.run_id)} was made: it runs {text(made.job_id)} again."
                self._page.later(lambda: self._say(words))
        elif action in {"start", "skip", "stop"}:
            await self._page.act(getattr(run, action))

    def _say(self, html: str) -> None:
        self._note.param.update(content=f'<p class="said" role="status">{html}</p>', visible=True)


# ---- HTML ----


def absent_html(name: str) -> str:
    """What the page says of a run that is not there."""
    if not name:
        words = "No run is named in the address: it ends in ?id=r123."
    elif not re.fullmatch(r"r\d+", name):
        words = f"“{name}” is no run id: write r123."
    else:
        words = f"There is no run {name}. It may belong to another scheduler, or its history was removed."
    return markup.card(
        "No such run", markup.nothing(words) + '<p class="nothing"><a href="timeline">All runs</a></p>'
    )


def head_html(facts: Mapping[str, Any], others: pd.DataFrame, now: datetime) -> str:
    """Who it is, how it is, and what can be done."""
    state = State(facts["state"])
    look = palette.LOOKS[state]
    late = markup.late_badge(facts["late_s"], facts["late_why"]) if facts["late"] else ""
    says = facts["message"] or facts["skip_reason"]
    message = f'<p class="says">{text(says)}</p>' if says else ""
    buttons, templates = actions_html(facts)
    return (
        f'<section class="card run-head" style="border-top:3px solid {look.colour}"><div class="who">'
        f'<div class="line"><h1>{markup.job_link(facts["job_id"])}</h1>'
        f'<span class="id">{text(facts["run_id"])}</span></div>'
        f'<div class="line big">{palette.icon(state, 18)}<b>{state.value}</b>{_clock(facts, state)}{late}'
        f"</div>{message}"
        f'<div class="line">{markup.chips(facts["args"], facts["labels"])}</div></div>'
        f'<div class="acts"><div class="bar">{buttons}</div>{others_html(others, facts["run_id"])}</div>'
        f"{life_html(facts, now)}</section>{templates}"
    )


def _clock(facts: Mapping[str, Any], state: State) -> str:
    """How long it has run or waited, ticking while it does."""
    if state in {State.RUNNING, State.STOPPING}:
        return f'<span class="muted">for {markup.when(facts["started_at"], "elapsed")}</span>'
    if state is State.WAITING:
        return f'<span class="muted">for {markup.when(facts["scheduled_at"], "elapsed")}</span>'
    if state is State.SCHEDULED:
        return f'<span class="muted">starts {markup.when(facts["scheduled_at"], "until")}</span>'
    if markup.given(facts["elapsed_s"]):
        ended = markup.when(facts["finished_at"], "ago")
        return f'<span class="muted">after {markup.duration(facts["elapsed_s"])}, {ended}</span>'
    return ""


def life_html(facts: Mapping[str, Any], now: datetime) -> str:
    """The run's life as one bar: thin while it waited, solid while it ran."""
    due, started = markup.instant(facts["scheduled_at"]), markup.instant(facts["started_at"])
    if due is None or due > now:
        return ""
    end = markup.instant(facts["finished_at"]) or now
    whole = max((end - due).total_seconds(), 1e-6)
    waited = max(0.0, ((started or end) - due).total_seconds())
    share = min(100.0, 100 * waited / whole)
    colour = palette.LOOKS[State(facts["state"])].colour
    ended = "ended " + markup.when(facts["finished_at"]) if facts["finished_at"] else "now"
    ran = f"ran {markup.duration((end - started).total_seconds())}" if started else "did not start"
    words = f"waited {markup.duration(waited)}" + (f", {ran}" if facts["finished_at"] else "")
    wait_colour = palette.LATE if facts["late"] else palette.LOOKS[State.WAITING].colour
    solid = (
        f'<i style="left:{share:.2f}%;width:{100 - share:.2f}%;background:{colour}"></i>' if started else ""
    )
    return (
        f'<div class="life"><div class="track" role="img" aria-label="{words}">'
        f'<i class="thin" style="width:{share:.2f}%;background:{wait_colour}"></i>{solid}</div>'
        f'<div class="ends"><span>due {markup.when(facts["scheduled_at"])}</span>'
        f"<span>{words}</span><span>{ended}</span></div></div>"
    )


def others_html(others: pd.DataFrame, run_id: str) -> str:
    """The last runs of the job as small columns, as high as they took, oldest first."""
    if len(others) < 2:
        return ""
    rows = others.iloc[::-1]
    longest = max(float(rows["elapsed_s"].max() or 0), 1e-9)
    columns = []
    for n, row in enumerate(markup.records(rows)):
        name, state = f"r{row['run_id']}", markup.state_of(row["state"])
        height = 4 + 30 * (float(row["elapsed_s"]) / longest if markup.given(row["elapsed_s"]) else 0)
        took = markup.duration(row["elapsed_s"]) or markup.NONE
        here = " here" if name == run_id else ""
        columns.append(
            f'<a href="{text(markup.run_url(name))}" class="col{here}">'
            f"<title>{name}: {state.value}, {took}</title>"
            f'<rect class="hit" x="{n * 8}" y="0" width="8" height="40"/>'
            f'<rect x="{n * 8 + 1}" y="{36 - height:.1f}" width="6" height="{height:.1f}" rx="1.5" '
            f'fill="{palette.LOOKS[state].colour}"/></a>'
        )
    return (
        f'<div class="others"><span class="muted">last {len(rows)} runs</span>'
        f'<svg viewBox="0 0 {len(rows) * 8} 40" width="{len(rows) * 8}" height="40" role="img" '
        f'aria-label="How long the last runs of this job took">{"".join(columns)}</svg></div>'
    )


def actions_html(facts: Mapping[str, Any]) -> tuple[str, str]:
    """The buttons for a run in its state, and what each says before it does anything."""
    state, name, job = State(facts["state"]), facts["run_id"], facts["job_id"]
    made: list[tuple[str, str, str, str, str]] = []  # action, words, class, title, what will happen
    if state in {State.SCHEDULED, State.WAITING}:
        held = f"It waits: {text(facts['message'])}. " if facts["message"] else ""
        made.append(
            (
                "start",
                "Start now",
                "primary",
                f"Start {name} now?",
                f"<p>{held}Its program starts at once all the same.</p>",
            )
        )
        made.append(
            (
                "skip",
                "Skip",
                "",
                f"Skip {name}?",
                "<p>It will not run, and stays in the history as skipped.</p>",
            )
        )
    if state in {State.STARTING, State.RUNNING}:
        stop = (facts.get("program") or {}).get("stop") or {}
        signal, grace = stop.get("signal", "SIGTERM"), stop.get("grace_period", 60)
        left = text(markup.duration(grace) if isinstance(grace, int | float) else grace)
        what = f"<p>Its program gets <b>{text(signal)}</b>; what is left after <b>{left}</b> is killed.</p>"
        made.append(("stop", "Stop", "danger", f"Stop {name}?", what))
    if state.is_finished:
        fields = "".join(
            f'<label class="field">{text(k)}<input name="arg:{text(k)}" value="{text(v)}"></label>'
            for k, v in markup.objects(facts["args"]).items()
        )
        what = f"<p>A new run of <b>{text(job)}</b> starts now, as its job is today.</p>{fields}"
        made.append(("rerun", "Run again", "primary", f"Run {job} again?", what))
    buttons = "".join(
        f'<button class="{kind}" data-action="{action}" data-title="{text(title)}" data-yes="{words}">'
        f"{words}</button>"
        for action, words, kind, title, _ in made
    )
    return buttons, "".join(
        f'<template data-for="{action}">{what}</template>' for action, _, _, _, what in made
    )


def side_html(facts: Mapping[str, Any], log: pd.DataFrame) -> str:
    """The log, and the facts."""
    return f'<div class="stack">{log_html(log)}{details_html(facts)}</div>'


def log_html(log: pd.DataFrame) -> str:
    """What happened, from above, on a line of time."""
    items, before = [], None
    for row in markup.records(log):
        at = markup.instant(row["ts"])
        gap = ""
        if at is not None and before is not None and (at - before).total_seconds() >= 0.0005:
            gap = f'<span class="gap num">+{markup.duration((at - before).total_seconds())}</span>'
        before = at
        state = markup.state_of(row["state"])
        says = f'<span class="says">{text(row["message"])}</span>' if markup.given(row["message"]) else ""
        line = f"<b>{state.value}</b> {markup.when(row['ts'], 'time')}{gap}{says}"
        items.append(f"<li>{palette.icon(state)}<div>{line}</div></li>")
    body = f'<ol class="log">{"".join(items)}</ol>' if items else markup.nothing("Nothing has happened yet.")
    return markup.card("What happened", body)


def details_html(facts: Mapping[str, Any]) -> str:
    """Everything else that is known."""
    rerun_of = facts["rerun_of"]
    rows = [
        ("due", markup.when(facts["scheduled_at"])),
        (
            "by the schedule",
            markup.when(facts["nominal_at"]) if facts["nominal_at"] != facts["scheduled_at"] else "",
        ),
        ("started", markup.when(facts["started_at"])),
        ("ended", markup.when(facts["finished_at"])),
        ("stops at", markup.when(facts["stop_at"])),
        ("late by", markup.duration(facts["late_s"]) if facts["late"] else ""),
        ("exit code", text(facts["return_code"]) if markup.given(facts["return_code"]) else ""),
        ("made by", text(str(facts["origin"]).replace("_", " "))),
        ("asked for by", text(facts["by"] or "")),
        ("repeats", markup.run_link(rerun_of) if rerun_of else ""),
        ("attempt", text(facts["attempt"]) if facts["attempt"] != 1 else ""),
        ("host", text(facts["host"] or "")),
    ]
    items = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in rows if value)
    return markup.card("Details", f'<dl class="facts">{items}</dl>')


def program_html(facts: Mapping[str, Any]) -> str:
    """What it executes."""
    program = dict(facts.get("program") or {})
    kind = str(program.pop("type", ""))
    command = next((program.pop(key) for key in ("command", "query", "call") if key in program), None)
    if command is None and "argv" in program:
        command = shlex.join(str(word) for word in program.pop("argv"))
    code = f'<pre class="code">{text(str(command).strip())}</pre>' if command else ""
    rest = "".join(f"<dt>{text(k)}</dt><dd>{_value(v)}</dd>" for k, v in program.items())
    more = f'<dl class="facts">{rest}</dl>' if rest else ""
    return markup.card("Program", code + more, more=text(kind)) if kind else ""


def _value(value: object) -> str:
    if isinstance(value, Mapping):
        return "<br>".join(f"<code>{text(k)}={text(v)}</code>" for k, v in value.items())
    return f"<code>{text(value)}</code>"
