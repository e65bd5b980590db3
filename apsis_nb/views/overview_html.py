"""What the overview says, as HTML."""

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pandas as pd

from apsis_nb.core.states import State
from apsis_nb.core.times import format_local, format_time

from . import markup, palette
from .jobs_table import NO_JOBS
from .late_table import late_html
from .markup import text
from .week import Pauses

if TYPE_CHECKING:
    from .overview import Present

MOST_ROWS = 12  #: of a list; what is beyond is a link away
OR_A_COMMAND = " The server takes it up by itself. “New run” runs a command without one."
MOST_FINDINGS = 5  #: that are shown before one asks for all


_HOUR = timedelta(hours=1)


def figures_html(present: "Present | None") -> str:
    """The row of figures at the top."""
    if present is None:
        hours = (
            f'<div class="figure hours"><span class="name">Last 24 hours</span><b>{markup.UNKNOWN}</b></div>'
        )
        return (
            f'<div class="figures">{"".join(_figure(name, markup.UNKNOWN) for name in _FIGURES)}{hours}</div>'
        )
    by_state: dict[str, int] = {}
    for row in markup.records(present.hourly):
        by_state[str(row["state"])] = by_state.get(str(row["state"]), 0) + int(row["runs"])
    failed = by_state.get("failure", 0) + by_state.get("error", 0)
    late = int(present.hourly["late"].sum()) if len(present.hourly) else 0
    waiting = sum(run["state"] == State.WAITING.value for run in present.live)
    running = len(present.live) - waiting
    done = by_state.get("success", 0)
    ended = done + failed
    rate = f"{markup.percent(done, ended)} of {ended:,}" if ended else "none ended"
    figures = [
        _figure("Running", f"{running:,}", "now"),
        _figure("Waiting", f"{waiting:,}", "for what they need", mark="wait" if waiting else ""),
        _figure("Late", f"{late:,}", "in 24 hours", mark="late" if late else ""),
        _figure("Failed", f"{failed:,}", "in 24 hours", mark="bad" if failed else ""),
        _figure("Succeeded", f"{done:,}", rate),
    ]
    return f'<div class="figures">{"".join(figures)}{hours_html(present)}</div>'


#: Each with the page that has what it counts, one by one.
_FIGURES = {
    "Running": "timeline?state=running",
    "Waiting": "timeline?state=waiting",
    "Late": "late?range=24h",
    "Failed": "timeline?state=bad",
    "Succeeded": "timeline?state=success",
}


def _figure(name: str, number: str, words: str = "", *, mark: str = "") -> str:
    return (
        f'<a class="figure {mark}" href="{_FIGURES[name]}"><span class="name">{text(name)}</span>'
        f'<b class="num">{text(number)}</b><span class="words" title="{text(words)}">{text(words)}</span></a>'
    )


def hours_html(present: "Present") -> str:
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
        start = first + timedelta(hours=n)
        shown = format_local(start, UTC, "minute", with_zone=True)
        title = f"{shown}: {good[n]:,} succeeded, {bad[n]:,} failed"
        window = {key: format_time(at, "second") for key, at in (("from", start), ("to", start + _HOUR))}
        columns.append(
            f'<a href="timeline?{text(urlencode(window))}" tabindex="-1" aria-label="{title}">'
            f"<title>{title}</title>"
            f'<rect class="back" x="{n * 9}" y="0" width="7.5" height="44" />'
            f'<rect class="good" x="{n * 9}" y="{44 - high:.1f}" width="7.5" height="{high:.1f}"/>'
            f'<rect class="bad" x="{n * 9}" y="{44 - high - above:.1f}" width="7.5" height="{above:.1f}"/>'
            "</a>"
        )
    return (
        '<div class="figure hours"><span class="name">Last 24 hours</span>'
        f'<svg viewBox="0 0 216 44" preserveAspectRatio="none" role="group" '
        f'aria-label="Runs that succeeded and failed, by hour">{"".join(columns)}'
        '</svg><span class="words"><i class="key good"></i>succeeded <i class="key bad"></i>failed</span>'
        "</div>"
    )


def now_html(
    present: "Present",
    usual: Mapping[str, Mapping[str, Any]],
    reasons: Mapping[str, str],
    *,
    has_jobs: bool = True,
) -> str:
    """The lists: running, waiting, late, failed.

    Args:
        present: the runs.
        usual: as of `running_html`.
        reasons: why runs wait that do not say it themselves, by run.
        has_jobs: whether there is any job at all; if not, how to make one comes first.
    """
    running = [run for run in present.live if run["state"] != State.WAITING.value]
    waiting = [run for run in present.live if run["state"] == State.WAITING.value]
    parts = [] if has_jobs else [markup.card("First job", markup.nothing(NO_JOBS + OR_A_COMMAND))]
    parts.append(running_html(running, usual, present.now))
    if waiting:
        parts.append(waiting_html(waiting, reasons))
    parts += [failed_html(present.failed, present.again), late_html(present.late)]
    return f'<div class="stack">{"".join(parts)}</div>'


def running_html(runs: list[dict[str, Any]], usual: Mapping[str, Mapping[str, Any]], now: datetime) -> str:
    """What runs, and when it will probably end.

    Args:
        runs: their facts.
        usual: by job, how long its last successes took: p50_s, p95_s, and of how many.
        now: aware.
    """
    if not runs:
        return markup.card("Running", markup.nothing("Nothing runs at the moment."), count=0)
    rows = [
        [
            _who(run),
            markup.run_link(run["run_id"]),
            markup.badge(run["state"]),
            markup.when(run["started_at"], "elapsed", empty=markup.NONE),
            _progress(run, usual.get(run["job_id"]), now),
        ]
        for run in runs[:MOST_ROWS]
    ]
    heads = [
        ("Job", "who"),
        ("Run", "tight"),
        ("State", "tight"),
        ("Elapsed", "right"),
        ("Should end", "usual"),
    ]
    body = markup.table(
        heads, rows, caption="Runs that are running", ids=[run["run_id"] for run in runs[:MOST_ROWS]]
    )
    return markup.card("Running", body, count=len(runs), more=_beyond(runs, "running"))


def _who(run: Mapping[str, Any]) -> str:
    """The job of a run, its args and labels, and which attempt it is if it is a further one."""
    attempt = run["attempt"]
    again = (
        f' <span class="again" title="An earlier attempt failed">attempt {attempt}</span>'
        if attempt > 1
        else ""
    )
    return markup.job_link(run["job_id"]) + again + " " + markup.chips(run["args"], run["labels"])


def _progress(run: Mapping[str, Any], usual: Mapping[str, Any] | None, now: datetime) -> str:
    """How far a run is, and when it ends, if it takes as long as the last ones of its job did."""
    started = markup.instant(run["started_at"])
    if started is None:
        return ""
    if usual is None or not usual["p50_s"]:
        return '<span class="muted" title="No run of this job has succeeded lately">unknown</span>'
    p50, p95 = (timedelta(seconds=float(usual[key])) for key in ("p50_s", "p95_s"))
    took = now - started
    over = " over" if took > p95 else ""
    median = f"{markup.duration(usual['p50_s'])} is the median of the last {usual['runs']}, "
    title = median + f"{markup.duration(usual['p95_s'])} their 95th percentile"
    if took > p95:
        words = '<span class="late">longer than usual</span>'
    elif took > p50:
        words = f"by {markup.when(started + p95, 'until')}"
    else:
        words = markup.when(started + p50, "until")
    return (
        f'<span class="progress{over}" data-start="{started.timestamp() * 1000:.0f}" title="{text(title)}" '
        f'data-end="{(started + p50).timestamp() * 1000:.0f}">'
        f'<i style="width:{min(took / p50, 1) * 100:.0f}%"></i></span>'
        f'<span class="num" title="{text(title)}">{words}</span>'
    )


def waiting_html(runs: list[dict[str, Any]], reasons: Mapping[str, str]) -> str:
    rows = [
        [
            _who(run),
            markup.run_link(run["run_id"]),
            markup.when(run["scheduled_at"], "ago"),
            f'<span class="clamp" title="{text(markup.cut(why, 400))}">{text(why)}</span>',
        ]
        for run in runs[:MOST_ROWS]
        if (why := run["message"] or reasons.get(run["run_id"]) or "a condition")
    ]
    heads = [("Job", "who"), ("Run", "tight"), ("Was due", "tight"), ("Why", "wide")]
    body = markup.table(
        heads, rows, caption="Runs that wait", ids=[run["run_id"] for run in runs[:MOST_ROWS]]
    )
    return markup.card("Waiting", body, count=len(runs), more=_beyond(runs, "waiting"))


def failed_html(runs: list[dict[str, Any]], again: Mapping[str, tuple[str, str]]) -> str:
    """What failed; `again`: by run, what was made anew of it, and its state."""
    if not runs:
        return markup.card("Failed", markup.nothing("No run failed in the last 24 hours."), count=0)
    rows = [
        [
            _who(run),
            markup.run_link(run["run_id"]),
            markup.badge(run["state"]),
            markup.when(run["finished_at"], "ago"),
            _again_html(again.get(run["run_id"])) + markup.clipped(run["message"] or ""),
        ]
        for run in runs
    ]
    heads = [("Job", "who"), ("Run", "tight"), ("State", "tight"), ("Ended", "tight"), ("Says", "clip")]
    body = markup.table(heads, rows, caption="Runs that failed", ids=[run["run_id"] for run in runs])
    return markup.card("Failed", body, more='<a href="timeline?state=bad">all</a>')


def _again_html(made: tuple[str, str] | None) -> str:
    """That somebody has seen to it."""
    if made is None:
        return ""
    run_id, state = made
    return f'run again as {markup.run_link(run_id)} <span class="muted">({text(state)})</span> &middot; '


def following_html(
    following: pd.DataFrame, pauses: Sequence[Mapping[str, Any]] = (), *, has_jobs: bool = True
) -> str:
    """The next run of each job; `has_jobs`: whether there is any job at all."""
    if not len(following):
        words = "No schedule makes a run in the next 24 hours." if has_jobs else NO_JOBS
        return markup.card("Next 24 hours", markup.nothing(words), count=0)
    held = Pauses(pauses)

    def mark(row: Mapping[str, Any]) -> str:
        at = markup.instant(row["scheduled_at"])
        is_held = at is not None and held.holds(str(row["job_id"]), at)
        return '<span class="paused">paused</span>' if is_held else ""

    rows = [
        [
            markup.job_link(row["job_id"]) + mark(row),
            markup.when(row["scheduled_at"], "time"),
            markup.when(row["scheduled_at"], "until"),
        ]
        for row in markup.records(following.head(20))
    ]
    heads = [("Job", "name"), ("At", "right"), ("From now", "right")]
    body = markup.table(heads, rows, caption="The next run of each job", is_narrow=True)
    beyond = len(following) - 20
    more = f'<a href="schedule">{beyond:,} more jobs</a>' if beyond > 0 else ""
    return markup.card("Next 24 hours", body, count=len(following), more=more)


def untold_html(untold: Sequence[Mapping[str, Any]]) -> str:
    """The messages and actions that failed; nothing if all went well."""
    if not untold:
        return ""
    items = "".join(
        f"<li>{markup.run_link('r' + str(row['run_id']))} <b>{text(row['event'])}</b> "
        f"{markup.when(row['ts'], 'ago')}<span>{text(row['message'] or row['state'])}</span></li>"
        for row in untold[:MOST_ROWS]
    )
    more = f"{len(untold) - MOST_ROWS} more" if len(untold) > MOST_ROWS else ""
    body = f'<ul class="untold">{items}</ul>'
    return markup.card("Messages and actions that failed", body, count=len(untold), more=more, kind="bad")


def health_html(
    findings: Sequence[Mapping[str, Any]] | None, *, may_mend: bool, jobs: Collection[str] = ()
) -> str:
    """What is not as it should be, the worst first, and what to do about it.

    Args:
        findings: of the doctor; None: he has not answered yet.
        may_mend: whether the reader may have the server mend what it can.
        jobs: the ids of all jobs, which have pages.
    """
    if findings is None:
        return markup.card("Health", markup.nothing("The doctor is looking …"))
    # Broken files have a box of their own.
    findings = [finding for finding in findings if finding["kind"] != "broken"]
    if not findings:
        words = f'<p class="nothing">{palette.icon(State.SUCCESS)}Nothing is wrong.</p>'
        return markup.card("Health", words)
    first, rest = findings[:MOST_FINDINGS], findings[MOST_FINDINGS:]
    body = f'<ul class="health">{"".join(_finding(finding, jobs) for finding in first)}</ul>'
    if rest:
        body += (
            f'<details class="rest" data-key="rest"><summary>{len(rest)} more</summary>'
            f'<ul class="health">{"".join(_finding(finding, jobs) for finding in rest)}</ul></details>'
        )
    mendable = [finding for finding in findings if finding["is_mendable"]]
    mend = ""
    if mendable and may_mend:
        subjects = ", ".join(text(finding["subject"]) for finding in mendable[:10])
        mend = (
            '<button data-action="mend" data-title="Mend what can be mended?" data-yes="Mend">Mend</button>'
            '<template data-for="mend">'
            f"<p>The server sets right what it can without harm: {subjects}.</p></template>"
        )
    kind = "bad" if findings[0]["level"] == "error" else ""
    return markup.card("Health", body, count=len(findings), more=mend, kind=kind)


def _finding(finding: Mapping[str, Any], jobs: Collection[str]) -> str:
    subject = str(finding["subject"])
    if subject in jobs:
        who = markup.job_link(subject)
    else:
        who = markup.run_link(subject) if re.fullmatch(r"r\d+", subject) else f"<b>{text(subject)}</b>"
    level = text(finding["level"])
    return (
        f'<li data-level="{level}"><span class="level">{level}</span><div>{who} {text(finding["message"])}'
        f'<span class="fix">{text(finding["fix"])}</span></div></li>'
    )


def _beyond(runs: list[dict[str, Any]], state: str) -> str:
    """The way to the runs for which a list has no room."""
    beyond = len(runs) - MOST_ROWS
    return f'<a href="timeline?state={state}">{beyond:,} more</a>' if beyond > 0 else ""
