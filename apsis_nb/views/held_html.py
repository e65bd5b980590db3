"""What people hold back and make up for: pauses and backfills, with what can be done about each, as HTML."""

from collections.abc import Mapping, Sequence
from typing import Any

from . import markup
from .markup import text
from .run_html import progress_html


def held_html(
    pauses: Sequence[Mapping[str, Any]],
    backfills: Sequence[Mapping[str, Any]],
    *,
    may_run: bool,
    may_write: bool,
) -> str:
    """Both as boxes; nothing where there is none.

    Args:
        pauses: as the server tells them, and `held`: how many runs each has held back.
        backfills: as the server tells them.
        may_run, may_write: what the reader's role allows: to move runs, to end pauses.
    """
    return _pauses_html(pauses, may_write) + _backfills_html(backfills, may_run)


def _pauses_html(pauses: Sequence[Mapping[str, Any]], may_write: bool) -> str:
    if not pauses:
        return ""
    items = "".join(_pause(n, pause, may_write) for n, pause in enumerate(pauses))
    return markup.card("Paused", f'<ul class="held">{items}</ul>', count=len(pauses))


def _pause(n: int, pause: Mapping[str, Any], may_write: bool) -> str:
    scope, target = pause["scope"], str(pause["target"])
    who = {"job": markup.job_link(target), "path": f"<b>{text(target)}/</b>"}.get(scope, "<b>All jobs</b>")
    until = f"until {markup.when(pause['until'])}" if pause["until"] else "until somebody resumes it"
    by = f"by {text(pause['by'])}, " if pause["by"] else ""
    reason = f"<span class='says'>{text(pause['reason'])}</span>" if pause["reason"] else ""
    held = _runs(pause["held"])
    what = (
        f"<p>The schedules of {who} make runs again from now on. It has held back <b>{held}</b> since "
        f"{markup.when(pause['since'])}; what was held back stays skipped, and a backfill runs it.</p>"
    )
    button = _button(
        f"resume-{n}", f"{scope}:{target}", "Resume", f"Resume {target or 'all jobs'}?", may_write
    )
    told = f"{by}{markup.when(pause['since'], 'ago')} · {until} · {held} held back"
    return (
        f'<li><div>{who}{reason}<span class="muted">{told}</span></div>{button}'
        f'<template data-for="resume-{n}">{what}</template></li>'
    )


def _backfills_html(backfills: Sequence[Mapping[str, Any]], may_run: bool) -> str:
    if not backfills:
        return ""
    items = "".join(_backfill(n, backfill, may_run) for n, backfill in enumerate(backfills))
    return markup.card("Backfills", f'<ul class="held">{items}</ul>', count=len(backfills))


def _backfill(n: int, backfill: Mapping[str, Any], may_run: bool) -> str:
    name = str(backfill["backfill_id"])
    by = f" by {text(backfill['by'])}" if backfill["by"] else ""
    head = f"{markup.job_link(backfill['job_id'])} <span class='muted'>{text(name)}{by}</span>"
    button = what = ""
    if backfill["left"]:
        what = f"<p>{_runs(backfill['left'])} that have not begun are skipped; what runs goes on.</p>"
        button = _button(f"stop-{n}", name, "Stop", f"Stop backfill {name}?", may_run, kind="danger")
        what = f'<template data-for="stop-{n}">{what}</template>'
    elif not backfill["running"] and (backfill["failed"] or backfill["skipped"]):
        what = "<p>What has failed or was skipped is run again, one after the other, without actions.</p>"
        button = _button(f"goon-{n}", name, "Go on", f"Go on with backfill {name}?", may_run)
        what = f'<template data-for="goon-{n}">{what}</template>'
    return f"<li><div>{head}{progress_html(backfill)}</div>{button}{what}</li>"


def _button(action: str, value: str, words: str, title: str, may: bool, *, kind: str = "") -> str:
    off = "" if may else ' disabled title="Your role does not allow it."'
    return (
        f'<button class="{kind}" data-action="{text(action)}" data-value="{text(value)}" '
        f'data-title="{text(title)}" data-yes="{text(words)}"{off}>{text(words)}</button>'
    )


def _runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count:,} runs"
