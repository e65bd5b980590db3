"""What the page of a run says, as HTML."""

import re
import shlex
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import pandas as pd

from apsis_nb.core.states import State

from . import markup, palette
from .markup import text
from .previews import json_tree
from .run_actions import actions_html

#: Kinds of causes that need nobody: shown, but not as something wrong.
_CALM = frozenset({"due", "running", "ran", "schedule", "calendar", "waiting", "limit"})
_RUN_ID = re.compile(r"\br[0-9]+\b")


def absent_html(name: str) -> str:
    """What the page says of a run that is not there."""
    if not name:
        words = "No run is named in the address: write one at its end, such as `run?id=r123`."
    elif not re.fullmatch(r"r\d+", name):
        words = f"“{name}” is no run id: they look like r123."
    else:
        words = f"There is no run {name}. It may belong to another scheduler, or its history was removed."
    return markup.card(
        "No such run", markup.nothing(words) + '<p class="nothing"><a href="timeline">All runs</a></p>'
    )


def head_html(
    facts: Mapping[str, Any],
    others: pd.DataFrame,
    now: datetime,
    job: Mapping[str, Any] | None = None,
    role: str | None = None,
) -> str:
    """Who it is, how it is, and what can be done; `job` and `role` as of `actions_html`."""
    state = State(facts["state"])
    look = palette.LOOKS[state]
    late = markup.late_badge(facts["late_s"], facts["late_why"]) if facts["late"] else ""
    says = facts["message"] or facts["skip_reason"]
    test = '<span class="test" title="It fires no actions, and counts nowhere">test</span>'
    late += test if facts["origin"] == "test" else ""
    message = f'<p class="says">{text(says)}</p>' if says else ""
    buttons, templates = actions_html(facts, job, role)
    return (
        f'<section class="card run-head" style="border-top:3px solid {look.colour}"><div class="who">'
        f'<div class="line"><h1>{markup.job_link(facts["job_id"])}</h1>'
        f'<span class="id">{text(facts["run_id"])}</span></div>'
        f'<div class="line big">{palette.icon(state, 18)}<b>{state.value}</b>{_clock(facts, state)}{late}'
        f"</div>{message}"
        f'<div class="line">{markup.chips(facts["args"], facts["labels"], has_all=True)}</div></div>'
        f'<div class="acts"><div class="bar">{buttons}</div>{others_html(others, facts)}</div>'
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
    took_s = (
        facts["elapsed_s"] if markup.given(facts["elapsed_s"]) else (end - (started or end)).total_seconds()
    )
    ran = f"ran {markup.duration(took_s)}" if started else "did not start"
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


def others_html(others: pd.DataFrame, facts: Mapping[str, Any]) -> str:
    """The last runs of the job as small columns, as high as they took, oldest first.

    Of the run itself what is shown beside them is newer.
    """
    if len(others) < 2:
        return ""
    rows = others.iloc[::-1]
    longest = max(float(rows["elapsed_s"].max() or 0), 1e-9)
    columns = []
    for n, row in enumerate(markup.records(rows)):
        name = f"r{row['run_id']}"
        is_it = name == facts["run_id"]
        row = row | {key: facts[key] for key in ("state", "elapsed_s")} if is_it else row
        state = markup.state_of(row["state"])
        height = 4 + 30 * (float(row["elapsed_s"]) / longest if markup.given(row["elapsed_s"]) else 0)
        took = markup.duration(row["elapsed_s"]) or markup.NONE
        here = " here" if is_it else ""
        words = f"{name}: {state.value}, {took}"
        columns.append(
            f'<a href="{text(markup.run_url(name))}" class="col{here}" aria-label="{words}">'
            f"<title>{words}</title>"
            f'<rect class="hit" x="{n * 8}" y="0" width="8" height="40"/>'
            f'<rect x="{n * 8 + 1}" y="{36 - height:.1f}" width="6" height="{height:.1f}" rx="1.5" '
            f'fill="{palette.LOOKS[state].colour}"/></a>'
        )
    return (
        f'<div class="others"><span class="muted">last {len(rows)} runs</span>'
        f'<svg viewBox="0 0 {len(rows) * 8} 40" width="{len(rows) * 8}" height="40" role="group" '
        f'aria-label="How long the last runs of this job took">{"".join(columns)}</svg></div>'
    )


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


def details_html(facts: Mapping[str, Any], job: Mapping[str, Any] | None = None) -> str:
    """Everything else that is known; `job`: the facts of its job, for its budgets."""
    rerun_of, budgets = facts["rerun_of"], (job or {}).get("late", {})
    is_scheduled = facts["late_s"] is not None
    due_by = facts["nominal_at"] if facts["nominal_at"] != facts["scheduled_at"] else None
    rows = [
        ("due", markup.when(facts["scheduled_at"])),
        ("by the schedule", markup.when(due_by)),
        ("started", markup.when(facts["started_at"])),
        ("ended", markup.when(facts["finished_at"])),
        ("took", markup.duration(facts["elapsed_s"]) if facts["finished_at"] else ""),
        ("stops at", markup.when(facts["stop_at"])),
        ("after its time", markup.duration(facts["late_s"]) if is_scheduled else ""),
        ("late because of", text(facts["late_why"]) if facts["late"] and facts["late_why"] else ""),
        ("budgets", _budgets(budgets) if is_scheduled else ""),
        ("exit code", text(facts["return_code"]) if markup.given(facts["return_code"]) else ""),
        ("origin", text(str(facts["origin"]).replace("_", " "))),
        ("asked for by", text(facts["by"] or "")),
        ("repeats", markup.run_link(rerun_of) if rerun_of else ""),
        ("attempt", text(facts["attempt"]) if facts["attempt"] != 1 else ""),
        ("host", text(facts["host"] or "")),
    ]
    return markup.card("Details", _facts(rows))


def _facts(rows: Sequence[tuple[str, str]]) -> str:
    items = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in rows if value)
    return f'<dl class="facts">{items}</dl>'


def _budgets(late: Mapping[str, Any]) -> str:
    """When a run of the job counts as late, in words."""
    said = []
    if "start" in late:
        said.append(f"start within {markup.duration(late['start'])}")
    if "finish" in late:
        said.append(f"end within {markup.duration(late['finish'])}")
    if "finish_by" in late:
        said.append(f"end by {text(late['finish_by'])}")
    return ", ".join(said)


def why_html(causes: Sequence[Mapping[str, Any]], run: Mapping[str, Any] | None = None) -> str:
    """Why it has not run, or not well: the nearest cause first, down to the root.

    Args:
        run: on whose page it is told; it is not named again.
    """
    if not causes:
        return ""
    items = []
    for n, cause in enumerate(causes):
        root = " root" if n == len(causes) - 1 and n > 0 else ""
        calm = " calm" if cause["kind"] in _CALM else ""
        words = _RUN_ID.sub(
            lambda match: markup.run_link(match[0]), text(markup.own_cause(str(cause["text"]), run))
        )
        last = (
            f'<code title="The last line that it wrote">{text(cause["output"])}</code>'
            if cause["output"]
            else ""
        )
        mark = '<span class="muted">the root of it</span>' if root else ""
        items.append(
            f'<li class="{calm}{root}" style="--depth:{min(int(cause["depth"]), 8)}">'
            f"<p>{words} {mark}</p>{last}</li>"
        )
    return markup.card("Why", f'<ol class="why">{"".join(items)}</ol>')


def family_html(family: Sequence[Mapping[str, Any]], run_id: str) -> str:
    """The attempts and reruns that a run belongs to, oldest first; nothing if it is alone."""
    if len(family) < 2:
        return ""
    items = []
    for row in family:
        name, state = f"r{row['run_id']}", markup.state_of(row["state"])
        here = ' aria-current="true"' if name == run_id else ""
        made = {"retry": f"attempt {row['attempt']}", "rerun": "run again"}.get(str(row["origin"]), "first")
        took = markup.duration(row["elapsed_s"]) if markup.given(row["finished_at"]) else ""
        items.append(
            f"<li{here}>{palette.icon(state)}<span>{markup.run_link(name)} {text(made)}</span>"
            f"<span>{state.value}</span><span class='num'>{took}</span>"
            f"{markup.when(row['scheduled_at'])}</li>"
        )
    return markup.card("Attempts and reruns", f'<ol class="family">{"".join(items)}</ol>', count=len(family))


def waiters_html(waiters: Sequence[Mapping[str, Any]], dependents: Sequence[str]) -> str:
    """What waits for the run, and which jobs depend on its job."""
    if not waiters and not dependents:
        return ""
    lines = "".join(
        f"<li>{markup.run_link(run['run_id'])} {markup.job_link(run['job_id'])} {markup.chips(run['args'])}"
        f"<span class='muted'>since {markup.when(run['scheduled_at'], 'ago')}</span></li>"
        for run in waiters
    )
    body = f'<ul class="waiters">{lines}</ul>' if lines else markup.nothing("No run waits for this one now.")
    if dependents:
        links = ", ".join(markup.job_link(job_id) for job_id in dependents)
        body += f'<p class="depend"><span class="muted">Jobs that depend on it:</span> {links}</p>'
    return markup.card("What waits for it", body, count=len(waiters))


def backfill_html(backfill: Mapping[str, Any] | None) -> str:
    """The backfill that the run belongs to."""
    if backfill is None:
        return ""
    more = f'<a href="{text(markup.job_url(backfill["job_id"]))}">those of the job</a>'
    return markup.card(
        f"Backfill {backfill['backfill_id']}",
        f'<div class="backfill">{progress_html(backfill)}</div>',
        more=more,
    )


def progress_html(backfill: Mapping[str, Any]) -> str:
    """How far a backfill is: a bar with a part for each outcome, and the figures."""
    runs = max(1, int(backfill["runs"]))
    parts = [
        ("success", State.SUCCESS, "done"),
        ("failed", State.FAILURE, "failed"),
        ("skipped", State.SKIPPED, "skipped"),
        ("running", State.RUNNING, "running"),
    ]
    bar = "".join(
        f'<i style="width:{100 * int(backfill[key]) / runs:.2f}%;'
        f'background:{palette.LOOKS[state].colour}"></i>'
        for key, state, _ in parts
        if backfill[key]
    )
    said = [f"{int(backfill[key]):,} {words}" for key, _, words in parts if backfill[key]]
    said += [f"{int(backfill['left']):,} to go"] if backfill["left"] else []
    words = ", ".join(said) or "nothing of it has begun"
    span = (
        f"{markup.when(backfill['first_at'])} to {markup.when(backfill['last_at'])}"
        if backfill["first_at"]
        else ""
    )
    return (
        f'<div class="parts" role="img" aria-label="{text(words)}">{bar}</div>'
        f'<p class="muted">{backfill["runs"]:,} runs: {text(words)}{f" · {span}" if span else ""}</p>'
    )


def resources_html(meta: Mapping[str, Any] | None) -> str:
    """What its program used, how it ended, and what it told of itself."""
    if not meta:
        return ""
    rows = [
        ("processor", markup.duration(meta.get("cpu_s")) if markup.given(meta.get("cpu_s")) else ""),
        *(
            (words, markup.size(meta[key]) if markup.given(meta.get(key)) else "")
            for key, words in (("max_rss_b", "memory, at most"), ("read_b", "read"), ("write_b", "written"))
        ),
    ]
    detail = {k: v for k, v in (meta.get("detail") or {}).items() if v not in (None, False, [])}
    rows += [
        (text(k.replace("_", " ")), text(", ".join(v) if isinstance(v, list) else v))
        for k, v in detail.items()
    ]
    told = meta.get("meta")
    more = f'<div class="json mono">{json_tree(told)}</div>' if told else ""
    if not any(value for _, value in rows) and not more:
        return ""
    return markup.card("Resources", _facts(rows) + more)


def program_html(facts: Mapping[str, Any]) -> str:
    """What it executes."""
    program = dict(facts.get("program") or {})
    kind = str(program.pop("type", ""))
    command = next((program.pop(key) for key in ("command", "query", "call") if key in program), None)
    if command is None and "argv" in program:
        command = shlex.join(str(word) for word in program.pop("argv"))
    code = f'<pre class="code">{text(str(command).strip())}</pre>' if command else ""
    rest = "".join(f"<dt>{text(k)}</dt><dd>{_value(k, v)}</dd>" for k, v in sorted(program.items()))
    more = f'<dl class="facts">{rest}</dl>' if rest else ""
    return markup.card("Program", code + more, more=text(kind)) if kind else ""


def _value(name: str, value: object) -> str:
    if isinstance(value, Mapping):
        is_time = name in {"stop", "timeout"}  # all their numbers are seconds
        told = {
            k: markup.duration(v) if is_time and isinstance(v, int | float) else v for k, v in value.items()
        }
        return "<br>".join(f"<code>{text(k)}={text(v)}</code>" for k, v in sorted(told.items()))
    return f"<code>{text(value)}</code>"
