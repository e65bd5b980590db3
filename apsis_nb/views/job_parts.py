"""The parts of a job's page, as HTML: what its file says, when it runs, its versions and backfills."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from . import job_acts, markup, strips
from .catalogue import is_disabled
from .difference import difference_html
from .jobs_table import label_link
from .markup import text

NEXT_TIMES = 10

BACKFILL_FIELDS = (
    "<p>Makes a run for each of these days, the oldest first. You see which before any is made.</p>"
    '<label class="field">From<input type="date" name="start" required></label>'
    '<label class="field">To, this day included<input type="date" name="stop" required></label>'
    '<label class="field">How many run at once<input type="number" name="max_running" value="1" min="1" '
    'max="1000"></label>'
    '<label class="field check"><input type="checkbox" name="only_missing" checked>'
    "Leave out what has succeeded or is under way</label>"
    '<label class="field check"><input type="checkbox" name="actions">Fire the job\'s actions</label>'
)


@dataclass(frozen=True)
class Told:
    """What the server tells of a job, and what is made of it."""

    facts: Mapping[str, Any] | None  #: None: no job of that id can be used
    errors: list[dict[str, Any]] = field(default_factory=list)
    pause: Mapping[str, Any] | None = None
    next: list[dict[str, Any]] = field(default_factory=list)
    versions: list[dict[str, Any]] = field(default_factory=list)  #: oldest first
    yaml: str | None = None  #: None: there is no file
    tag: str = ""
    backfills: list[dict[str, Any]] = field(default_factory=list)
    ran: bool = False  #: whether there are runs of it


def head_html(
    job_id: str, told: Told, stats: Mapping[str, Any] | None, runs: list[dict[str, Any]], role: str
) -> str:
    """Which job it is, how it is, and what can be done with it."""
    facts = told.facts
    folder, slash, name = job_id.rpartition("/")
    title = f'<h1><span class="folder">{markup.seen(folder + slash)}</span>{markup.seen(name)}</h1>'
    marks = ""
    if told.errors:
        marks += '<span class="mark bad">broken file</span>'
    if told.pause is not None:
        marks += '<span class="mark">paused</span>'
    if facts is not None and is_disabled(facts):
        marks += '<span class="mark">disabled</span>'
    labels = [] if facts is None else facts["metadata"]["labels"]
    chips = markup.unfolding([label_link(label) for label in labels]) if labels else ""
    description = "" if facts is None else str(facts["metadata"].get("description") or "")
    said = f'<p class="intro">{markup.seen(description)}</p>' if description else ""
    buttons, templates = _acts(job_id, told, role)
    links = "".join(
        f'<a href="{page}?{text(urlencode({"job": job_id}))}">{words}</a>'
        for page, words in (("timeline", "Timeline"), ("history", "History"), ("late", "Late and missed"))
    )
    links += f'<a href="jobs?{text(urlencode({"q": job_id, "view": "graph"}))}">As a graph</a>'
    return (
        f'<section class="card job-head"><div class="who"><div class="line">{title}{marks}'
        f"{chips}</div>{said}{_when_html(told)}"
        f'<p class="ways">{links}</p></div>'
        f'<div class="acts"><div class="bar">{buttons}</div>{_strip_html(stats, runs)}</div></section>'
        f"{templates}"
    )


def own_zone(facts: Mapping[str, Any] | None) -> str:
    """The zone of a job's schedules, by its name; empty: they have none, or not the same."""
    zones = set()
    for schedule in (facts or {}).get("schedule") or []:
        start = schedule.get("start")  # of one that also says when to stop
        zones.add(schedule.get("tz") or (start.get("tz") if isinstance(start, dict) else None))
    zones.discard(None)  # an interval looks at no clock
    return str(zones.pop()) if len(zones) == 1 else ""


def _when_html(told: Told) -> str:
    """When it runs, in words, and how long until then."""
    facts = told.facts
    if facts is None:
        return ""
    words = "; ".join(facts["explain"]["schedule"])
    if not words:
        return '<p class="when">Runs when it is asked for: it has no schedule.</p>'
    if told.pause is not None:
        pause = told.pause
        until = f" until {markup.when(pause['until'])}" if pause["until"] else ""
        by = f" by {text(pause['by'])}" if pause["by"] else ""
        reason = f": {text(pause['reason'])}" if pause["reason"] else ""
        whole = "" if pause["scope"] == "job" else f" with {job_acts.pause_name(pause)}"
        since = markup.when(pause["since"])
        return (
            f'<p class="when">Paused{whole} since {since}{by}{until}{reason}. Else it runs {text(words)}.</p>'
        )
    coming = ""
    if told.next:
        coming = f' Next <b class="num">{markup.when(told.next[0]["scheduled_at"], "until")}</b>.'
    return f'<p class="when">Runs {text(words)}.{coming}</p>'


def _strip_html(stats: Mapping[str, Any] | None, runs: list[dict[str, Any]]) -> str:
    if not runs:
        return ""
    rate = ""
    if stats is not None and int(stats["success"]) + int(stats["failed"]):
        ended = int(stats["success"]) + int(stats["failed"])
        share = markup.percent(int(stats["success"]), ended)
        rate = f'<span class="muted">{share} of {ended:,} succeeded in 30 days</span>'
    return f'<div class="recent">{strips.strip_svg(runs, 30, links=True)}{rate}</div>'


def _acts(job_id: str, told: Told, role: str) -> tuple[str, str]:
    """The buttons, and what they ask before. Who may not is told why, on the button."""
    if told.facts is None:
        return "", ""

    def may(needed: str, words: str) -> str:
        ranks = ("read", "run", "write", "admin")
        if role and ranks.index(role) < ranks.index(needed):
            return f' disabled title="{words} takes the role {needed}, and you have {role}"'
        return ""

    run = (
        f'<button class="primary" data-tell="adhoc" data-job="{text(job_id)}"{may("run", "To run it")}>'
        "Run …</button>"
    )
    backfill = (
        f'<button data-action="backfill?" data-title="Backfill {text(job_id)}" data-yes="See which runs"'
        f"{may('run', 'To backfill')}>Backfill …</button>"
    )
    templates = f'<template data-for="backfill?">{BACKFILL_FIELDS}</template>'
    if told.pause is not None:
        hold = f'<button data-action="resume?"{may("write", "To resume it")}>Resume …</button>'
    else:
        hold = (
            f'<button data-action="pause" data-title="Pause {text(job_id)}?" data-yes="Pause"'
            f"{may('write', 'To pause it')}>Pause …</button>"
        )
        templates += f'<template data-for="pause">{job_acts.pause_question([job_id])}</template>'
    return f"{hold}{backfill}{run}", templates


def absent_html(job_id: str, told: Told) -> str:
    """What the page says of a job that cannot be used."""
    if not job_id:
        words = "No job is named in the address: write one at its end, such as `job?id=team/report`."
    elif told.errors:
        faults = "".join(f"<li>{job_acts.fault_html(error)}</li>" for error in told.errors)
        return markup.card(
            "Its file is broken", f'<ul class="broken">{faults}</ul>', count=len(told.errors), kind="bad"
        )
    elif job_id.startswith("adhoc-"):
        words = (
            "This was a command that came with a request: it is in no file, and its runs are all there is."
        )
    elif told.ran or told.versions:
        words = f"There is no job {job_id} now. Its file was removed; its runs are kept."
    else:
        words = f"There is no job {job_id}, and none is known to have been: is it spelt as its file is?"
    query = text(urlencode({"job": job_id, "span": "90d"}))
    runs = f'<a href="timeline?{query}">Runs of that name</a> · ' if job_id else ""
    return markup.card(
        "No such job", markup.nothing(words) + f'<p class="nothing">{runs}<a href="jobs">All jobs</a></p>'
    )


def side_html(told: Told, before: str, after: str) -> str:
    """When it runs, what it takes, waits for and is followed by.

    Args:
        told: of the job.
        before, after: the trees, HTML; empty: there is none.
    """
    facts = told.facts
    if facts is None:
        return ""
    parts = [next_html(told.next, has_schedule=bool(facts["schedule"]))]
    if before:
        parts.append(markup.card("Comes after", before))
    if after:
        parts.append(markup.card("Comes before", after))
    parts += [params_html(facts["params"]), rules_html(facts), program_html(facts["program"])]
    return f'<div class="stack">{"".join(part for part in parts if part)}</div>'


def next_html(coming: list[dict[str, Any]], *, has_schedule: bool) -> str:
    """The next times, with the args that each has."""
    if not coming:
        words = "Its schedules make no more runs." if has_schedule else "It has no schedule."
        return markup.card("Next times", markup.nothing(words))
    rows = [
        [
            markup.when(row["scheduled_at"])
            + (f' <span class="muted">{markup.when(row["scheduled_at"], "until")}</span>' if n == 0 else ""),
            markup.chips(row["args"]),
        ]
        for n, row in enumerate(coming)
    ]
    heads = [("At", ""), ("Args", "")]
    body = markup.table(heads, rows, caption="The next times", is_narrow=True)
    return markup.card("Next times", body)


def params_html(params: Mapping[str, Mapping[str, Any]]) -> str:
    """Its params with their types."""
    if not params:
        return ""
    items = []
    for name, said in params.items():
        more = [f"<i>{text(said['type'])}</i>"]
        if "choices" in said:
            more.append(f"one of {text(', '.join(said['choices']))}")
        if "default" in said:
            more.append(f"default <b><bdi>{text(said['default'])}</bdi></b>")
        lines = [_clamped(", ".join(more), said.get("default", ""))]
        if "description" in said:
            words = said["description"]
            lines.append(_clamped(f'<span class="muted"><bdi>{text(words)}</bdi></span>', words))
        items.append(f"<dt>{text(name)}</dt><dd>{''.join(lines)}</dd>")
    return markup.card("Params", f'<dl class="facts">{"".join(items)}</dl>')


def _clamped(html: str, words: object) -> str:
    """HTML of which a few lines are seen; `words`: what the pointer is told where it is long."""
    title = f' title="{text(markup.cut(str(words), 400))}"' if len(str(words)) > 80 else ""
    return f'<div class="clamp"{title}>{html}</div>'


def rules_html(facts: Mapping[str, Any]) -> str:
    """What its runs wait for, when they are late, are tried again, and what follows them, in words."""
    late = facts["late"]
    budgets = [f"it starts over {markup.duration(late['start'])} after it was due"]
    if "finish" in late:
        budgets.append(f"it has not finished {markup.duration(late['finish'])} after")
    if "finish_by" in late:
        budgets.append(f"it has not finished by {text(late['finish_by'])}")
    retry = facts.get("retry")
    rows = [
        ("runs", _lines(facts["explain"]["schedule"])),
        ("waits for", _lines(facts["explain"]["condition"])),
        ("at most for", markup.duration((facts.get("waiting") or {}).get("max_time"))),
        ("is late if", " or ".join(budgets) if facts["schedule"] else ""),
        ("is tried again", f"{retry['count']} times, after {_delay(retry)}" if retry else ""),
        ("then", _lines(facts["explain"]["action"])),
    ]
    items = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in rows if value)
    if not items:
        return ""
    return markup.card("In words", f'<dl class="facts">{items}</dl>')


def _delay(retry: Mapping[str, Any]) -> str:
    return markup.duration(retry.get("delay", 0)) or "no time"


def _lines(words: list[str]) -> str:
    return "<br>".join(text(line) for line in words)


def program_html(program: Mapping[str, Any]) -> str:
    """What it executes, before its args are put in."""
    rest = dict(program)
    kind = str(rest.pop("type", ""))
    command = next((rest.pop(k) for k in ("command", "query", "call") if k in rest), None)
    if command is None and "argv" in rest:
        command = shlex.join(str(word) for word in rest.pop("argv"))
    code = f'<pre class="code">{text(command)}</pre>' if command else ""
    rows = [("type", kind), *((k, _short(v)) for k, v in rest.items() if v not in (None, "", [], {}))]
    items = "".join(f"<dt>{text(name)}</dt><dd>{text(value)}</dd>" for name, value in rows)
    return markup.card("Program", f'{code}<dl class="facts">{items}</dl>')


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{k}: {_short(v)}" for k, v in value.items())
    if isinstance(value, list):
        return ", ".join(_short(v) for v in value)
    return str(value)


def backfills_html(backfills: list[dict[str, Any]]) -> str:
    """How far its backfills are, newest first; nothing if there were none."""
    if not backfills:
        return ""
    rows = []
    for backfill in backfills[:5]:
        ident = text(backfill["backfill_id"])
        wanted = max(1, int(backfill["instances"]))
        done = int(backfill["success"])
        is_open = bool(backfill["left"] or backfill["running"])
        states = ", ".join(
            f"{backfill[name]:,} {word}"
            for name, word in (
                ("running", "running"),
                ("left", "left"),
                ("failed", "failed"),
                ("skipped", "skipped"),
            )
            if backfill[name]
        )
        button = ""
        if backfill["left"]:
            button = (
                f'<button data-action="backfill-stop" data-value="{ident}" '
                f'data-title="Stop backfill {ident}?" '
                'data-yes="Stop it">Stop</button>'
            )
        elif not is_open and done < wanted:
            button = f'<button data-action="backfill-resume" data-value="{ident}">Go on</button>'
        rows.append(
            [
                ident,
                markup.when(backfill["asked_at"], "ago")
                + (f" by {text(backfill['by'])}" if backfill["by"] else ""),
                f'<span class="progress"><i style="width:{100 * done / wanted:.0f}%"></i></span>'
                f'<span class="num">{done:,} of {wanted:,}</span>',
                states or ("all done" if done >= wanted else "ended"),
                button,
            ]
        )
    heads = [("Backfill", "tight"), ("Asked for", "tight"), ("Succeeded", "tight"), ("", ""), ("", "tight")]
    template = (
        '<template data-for="backfill-stop"><p>What is left of it will not run, and stands in the history as '
        "skipped. What runs goes on.</p></template>"
    )
    return markup.card("Backfills", markup.table(heads, rows, caption="Backfills")) + template


def plan_html(plan: Mapping[str, Any]) -> str:
    """Which runs a backfill makes."""
    runs, done = plan["instances"], plan["done"]
    left_out = f"<p>{job_acts.many(done, 'run')} left out: succeeded, or under way.</p>" if done else ""
    if not runs:
        return "<p>Nothing is to be run.</p>" + left_out
    shown = runs if len(runs) <= 8 else [*runs[:4], None, *runs[-3:]]
    items = "".join(
        f'<li class="muted">and {len(runs) - 7:,} more</li>'
        if run is None
        else f"<li>{markup.chips(run['args'])} {markup.when(run['nominal_at'])}</li>"
        for run in shown
    )
    return f'{left_out}<ul class="named">{items}</ul>'


def versions_html(versions: list[dict[str, Any]], chosen: int | None) -> str:
    """The texts that its file has had, newest first; of the chosen one what it changed."""
    if not versions:
        return markup.nothing("No version of the file is kept yet.")
    by_number = {version["version"]: version for version in versions}
    rows = []
    for version in reversed(versions[-50:]):
        number = version["version"]
        is_chosen = number == chosen
        what = "first text" if number == versions[0]["version"] else "changed"
        if version["yaml"] is None:
            what = "removed"
        rows.append(
            [
                f'<button data-action="version" data-value="{number}" '
                f'aria-pressed="{str(is_chosen).lower()}">'
                f"{number}</button>",
                markup.when(version["ts"]),
                text(version["by"] or ""),
                what,
            ]
        )
    heads = [("Version", "tight"), ("Since", "tight"), ("By", "tight"), ("What", "")]
    body = markup.table(heads, rows, caption="Versions of the file")
    if chosen not in by_number:
        return body
    position = [version["version"] for version in versions].index(chosen)
    before = versions[position - 1]["yaml"] if position else None
    here = by_number[chosen]["yaml"]
    again = ""
    if here is not None and position + 1 < len(versions):
        again = f'<button data-action="take" data-value="{chosen}">Put this text into the editor</button>'
    change = difference_html(before, here) or markup.nothing("The same text as before.")
    title = f'<p class="bar"><b>What version {chosen} changed</b>{again}</p>'
    return f'{body}<div class="version">{title}{change}</div>'


def edit_html(old: str | None, new: str, preview: Mapping[str, Any] | None) -> str:
    """What saving a text changes: its lines, and the runs of the next 7 days."""
    parts = [difference_html(old, new)]
    if preview is not None:
        parts.append(preview_html(preview))
    return "".join(parts)


def preview_html(preview: Mapping[str, Any]) -> str:
    """What becomes of the runs of the next 7 days, and what of today would run once more."""
    lines = []
    for name, words in (("added", "more"), ("removed", "fewer")):
        count = preview[f"{name}_count"]
        if count:
            first = ", ".join(
                f"{markup.when(run['at'])} {markup.chips(run['args'])}" for run in preview[name][:3]
            )
            lines.append(
                f"<p><b>{job_acts.many(count, 'run')} {words}</b>: {first}{' …' if count > 3 else ''}</p>"
            )
    again = [run for run in preview["ran"] if run["again_at"]]
    if again:
        first = ", ".join(
            f"{markup.run_link(run['run_id'])} {markup.when(run['again_at'])}" for run in again[:3]
        )
        lines.append(f"<p><b>{job_acts.many(len(again), 'run')} of today once more</b>: {first}</p>")
    if not lines:
        lines.append("<p>No run of the next 7 days comes or goes.</p>")
    return "".join(lines)
