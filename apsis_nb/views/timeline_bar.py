"""What stands around the timeline: its bar of buttons, the names of its rows, its keys."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import panel as pn

from . import markup
from .board import OnAction, hand_over
from .markup import text
from .timeline_rows import AD_HOC, GROUPINGS, ORDERS, Grouping, Order, Row

_HERE = Path(__file__).parent
TIMELINE_CSS = (_HERE / "timeline.css").read_text(encoding="utf-8")

SPANS: dict[str, timedelta] = {
    "1h": timedelta(hours=1),
    "6h": timedelta(hours=6),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
    "90d": timedelta(days=90),
}

_GROUPS: dict[Grouping, str] = {"": "no groups", "path": "groups by path", "label": "groups by label"}
_ORDERS: dict[Order, str] = {
    "name": "by name",
    "next": "next first",
    "late": "latest first",
    "failures": "most failures first",
}


class Keys(pn.custom.JSComponent):
    """The keys of the page: what they mean comes as the messages of its buttons."""

    _bundle = _HERE / "timeline_keys.js"

    def __init__(self, on_action: OnAction, **params: Any) -> None:
        super().__init__(**{"width": 0, "height": 0, "margin": 0, **params})
        self._on_action = on_action

    def _handle_msg(self, data: Any) -> None:
        hand_over(data, self._on_action)


def bar_html(
    *,
    window: tuple[datetime, datetime],
    span: str | None,
    is_loading: bool,
    by: Grouping,
    order: Order,
    has_folded: bool,
    box: tuple[datetime, datetime, tuple[str, ...]] | None,
    rows: tuple[int, int, int],
    step: int,
) -> str:
    """The buttons above the picture.

    Args:
        window: what is seen.
        span: which of `SPANS` it is and follows the present; None: it stays where it is.
        is_loading: whether nothing is there yet.
        by, order, has_folded: how the rows stand.
        box: what the table shows instead of the window.
        rows: the first and the last row that are seen, and how many there are.
        step: rows at once.
    """
    spans = "".join(
        _button("span", name, f"The last {name}", value=name, pressed=name == span) for name in SPANS
    )
    steps = _button("back", "&lsaquo;", "Earlier (left arrow)")
    steps += _button("now", "Now", "To the present, and follow it (0)", pressed=span is not None)
    steps += _button("ahead", "&rsaquo;", "Later (right arrow)")
    zoom = _button("closer", "+", "Zoom in (+)") + _button("wider", "&minus;", "Zoom out (-)")
    loading = '<span class="nothing" role="status">Loading …</span>' if is_loading else ""
    choices = _select("group", "Groups of rows", GROUPINGS, _GROUPS, by)
    choices += _select("sort", "Order of rows", ORDERS, _ORDERS, order)
    if by:
        choices += _button("fold-all", "Unfold all" if has_folded else "Fold all", "All groups")
    return (
        f'<div class="bar"><div class="group" role="group" aria-label="Window">{spans}</div>'
        f'<div class="group" role="group" aria-label="Move">{steps}</div>'
        f'<div class="group" role="group" aria-label="Zoom">{zoom}</div>'
        f'<span class="window">{markup.when(window[0])} &ndash; {markup.when(window[1])}</span>{loading}'
        f'<span class="push bar">{choices}</span>{_box_html(box)}{_rows_html(rows, step)}</div>'
    )


def _button(action: str, words: str, name: str, *, value: str = "", pressed: bool | None = None) -> str:
    state = "" if pressed is None else f' aria-pressed="{str(pressed).lower()}"'
    told = f'data-action="{action}" data-value="{value}" aria-label="{name}" title="{name}"{state}'
    return f"<button {told}>{words}</button>"


def _select(action: str, name: str, values: Sequence[Any], words: Any, chosen: str) -> str:
    options = "".join(
        f'<option value="{value}"{" selected" if value == chosen else ""}>{words[value]}</option>'
        for value in values
    )
    return f'<select data-action="{action}" aria-label="{name}">{options}</select>'


def _box_html(box: tuple[datetime, datetime, tuple[str, ...]] | None) -> str:
    if box is None:
        return ""
    start, stop, jobs = box
    count = "1 job" if len(jobs) == 1 else f"{len(jobs)} jobs"
    return (
        f'<span class="chosen" role="status">The table shows the box: {count}, {markup.when(start)} &ndash; '
        f"{markup.when(stop)} {_button('unbox', 'Show all', 'The whole window again')}</span>"
    )


def _rows_html(rows: tuple[int, int, int], step: int) -> str:
    first, last, count = rows
    if count <= step:
        return ""

    def button(to: int, words: str, name: str) -> str:
        disabled = "" if 0 <= to < count else " disabled"
        told = f'data-action="rows" data-value="{max(to, 0)}" aria-label="{name}"{disabled}'
        return f"<button {told}>{words}</button>"

    steps = button(first - step, "&lsaquo;", "Rows before") + button(first + step, "&rsaquo;", "Rows after")
    words = f'<span class="muted num">rows {first + 1}&ndash;{last} of {count}</span>'
    return f'{words}<span class="group">{steps}</span>'


def labels_html(rows: Sequence[Row]) -> str:
    """The names of the rows, each as high as its row: links to jobs, and groups that fold."""
    return f'<ul class="rows" aria-label="Rows of the timeline">{"".join(map(_label, rows))}</ul>'


def _label(row: Row) -> str:
    if row.group is not None:
        sign, opened = ("&#9662;", "true") if row.is_open else ("&#9656;", "false")
        count = "" if row.is_open else f' <span class="muted">{len(row.jobs)}</span>'
        told = f'data-action="fold" data-value="{text(row.group)}" aria-expanded="{opened}"'
        words = f"{sign} {text(row.title)}{count}"
        return f'<li><button class="fold" {told} title="{text(row.title)}">{words}</button></li>'
    inner = ' class="inner"' if row.is_inner else ""
    job = row.jobs[0]
    if job == AD_HOC:
        return f"<li{inner}><span>{text(row.title)}</span></li>"
    folder, slash, name = row.title.rpartition("/")
    words = f'<span class="folder">{markup.seen(folder + slash)}</span>{markup.seen(name)}'
    return (
        f'<li{inner}><a class="job" href="{text(markup.job_url(job))}" title="{text(job)}">{words}</a></li>'
    )
