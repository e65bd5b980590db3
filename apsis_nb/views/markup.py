"""Pieces of HTML that the pages share. Whatever comes from outside passes `text`."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from html import escape
from typing import Any, Literal
from urllib.parse import urlencode

import pandas as pd

from apsis_nb.core.runs import Instance
from apsis_nb.core.states import State
from apsis_nb.core.times import format_local, format_time

from . import palette

Show = Literal["time", "full", "elapsed", "until", "ago"]


def text(value: object) -> str:
    """`value` as HTML text, safe also inside a quoted attribute."""
    return escape(str(value), quote=True)


#: What turns the text after it round, or sets it apart: a name must not look like another one by it.
_TURNS = re.compile("[\u202a-\u202e\u2066-\u2069]")


def seen(value: object) -> str:
    """A name as HTML text for the eye: what would turn it round is seen itself."""
    return text(_TURNS.sub(lambda found: f"[U+{ord(found[0]):04X}]", str(value)))


#: Where there is no value: an en dash.
NONE = "\u2013"


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a frame as plain mappings."""
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def given(value: Any) -> bool:
    """Whether there is a value: neither None nor pandas' word for nothing."""
    return value is not None and not (pd.api.types.is_scalar(value) and pd.isna(value))


def instant(value: Any) -> datetime | None:
    """An aware UTC datetime of what a frame or JSON holds, or None."""
    if not given(value):
        return None
    at = pd.Timestamp(value)
    return (at.tz_localize(UTC) if at.tzinfo is None else at.tz_convert(UTC)).to_pydatetime(warn=False)


def when(value: Any, show: Show = "full", *, empty: str = "") -> str:
    """An instant as an element that the page shows in the reader's zone.

    Args:
        value: a time; naive ones are UTC.
        show: the daytime, date and time, the time since (`elapsed` ticks, `ago` is rough), or the time until.
        empty: HTML for no time.
    """
    at = instant(value)
    if at is None:
        return empty
    iso, text = format_time(at, "millisecond"), format_local(at, UTC, with_zone=True)
    return f'<time datetime="{iso}" data-show="{show}">{text}</time>'


def duration(seconds: Any) -> str:
    """A duration for people, two units at most: `850 ms`, `4.2 s`, `3 m 05 s`, `2 h 10 m`, `3 d 4 h`."""
    if not given(seconds):
        return ""
    s = float(seconds)
    if s < 0:
        return "-" + duration(-s)
    if s < 0.9995:
        return f"{s * 1000:.0f} ms"
    if s < 9.95:
        return f"{s:.1f} s"
    if s < 59.5:
        return f"{s:.0f} s"
    whole = round(s)
    if whole < 3600:
        return f"{whole // 60} m {whole % 60:02d} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} m"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def percent(part: float, whole: float) -> str:
    """A share: `100 %` only where it is all, `0 %` only where it is nothing, else with one decimal."""
    if part in {0, whole}:
        return "100 %" if part else "0 %"
    return f"{min(max(100 * part / whole, 0.1), 99.9):.1f} %"


def size(count: Any) -> str:
    """A number of bytes for people: `850 B`, `4.2 kB`, `1.3 GB`."""
    left = float(count)
    for unit in ("B", "kB", "MB"):
        if left < 1000:
            return f"{left:.0f} {unit}" if unit == "B" or left >= 100 else f"{left:.1f} {unit}"
        left /= 1000
    return f"{left:.1f} GB" if left < 100 else f"{left:,.0f} GB"


def state_of(value: Any) -> State:
    """The state of its name."""
    return value if isinstance(value, State) else State(str(value))


def badge(value: Any) -> str:
    """A state as its shape and its word."""
    state = state_of(value)
    return f'<span class="state state-{state.value}">{palette.icon(state)}{state.value}</span>'


def late_badge(late_s: Any, why: Any = None) -> str:
    """`late 4 m 10 s`, outlined; the reason follows where one is known."""
    reason = f" · {text(why)}" if given(why) else ""
    return f'<span class="late">late {duration(late_s)}{reason}</span>'


def run_url(run_id: Any) -> str:
    """Address of a run's page, from another page."""
    return "run?" + urlencode({"id": str(run_id)})


def run_link(run_id: Any) -> str:
    return f'<a class="run" href="{text(run_url(run_id))}">{text(run_id)}</a>'


def job_url(job_id: Any) -> str:
    """Address of a job's page, from another page."""
    return "job?" + urlencode({"id": str(job_id)})


def job_link(job_id: Any) -> str:
    """A job, as a link to its page; the path is quieter than the name."""
    folder, slash, name = str(job_id).rpartition("/")
    address = job_url(job_id)
    words = f'<span class="folder">{seen(folder + slash)}</span>{seen(name)}'
    return f'<a class="job" href="{text(address)}">{words}</a>'


def objects(value: Any) -> dict[str, str]:
    """The args of a run, from JSON text or as they are."""
    if isinstance(value, str):
        value = json.loads(value)
    return {str(k): str(v) for k, v in value.items()} if isinstance(value, dict) else {}


def labels_of(value: Any) -> list[str]:
    """The labels of a run, from JSON text or as they are."""
    if isinstance(value, str):
        value = json.loads(value)
    return [str(v) for v in value] if isinstance(value, list | tuple) else []


#: Of args and labels: so many are shown in a row of a table, elsewhere so many before one asks for the rest;
#: in a row only the beginning of one that is longer.
MOST_CHIPS, MOST_AT_ONCE, LONGEST_CHIP = 6, 24, 120
#: As many characters are seen of one in a row; of a longer one the whole is told.
_SEEN = 36


def chips(args: Any = None, labels: Any = None, *, has_all: bool = False) -> str:
    """Args and labels as small boxes.

    Args:
        has_all: whether all are there, whatever their number and length; else some, as in a row of a table.
    """
    told = [("arg", k, v) for k, v in objects(args).items()]
    told += [("label", "", v) for v in labels_of(labels)]
    if not told:
        return ""
    if not has_all:
        return (
            f'<span class="chips">{"".join(_chip(*each) for each in told[:MOST_CHIPS])}{_rest(told)}</span>'
        )
    boxes = [_box(kind, k, v) for kind, k, v in told]
    return unfolding(boxes)


def unfolding(boxes: list[str]) -> str:
    """Small boxes, the first of them and, if there are many, the others on demand."""
    first, rest = boxes[:MOST_AT_ONCE], boxes[MOST_AT_ONCE:]
    html = f'<span class="chips whole">{"".join(first)}</span>'
    if rest:
        more = f'<span class="chips whole">{"".join(rest)}</span>'
        summary = f"<summary>{len(rest):,} more</summary>"
        html += f'<details class="more-chips" data-key="chips">{summary}{more}</details>'
    return html


def _box(kind: str, name: str, value: str, title: str = "") -> str:
    named = f"<i>{seen(name)}</i>" if kind == "arg" else ""
    told = f' title="{text(title)}"' if title else ""
    return f'<span class="{kind}"{told}>{named}<bdi>{seen(value)}</bdi></span>'


def _chip(kind: str, name: str, value: str) -> str:
    """One that may be cut: the pointer is told the rest."""
    whole = f"{name}: {value}" if kind == "arg" else value
    title = cut(whole, 4 * LONGEST_CHIP) if len(whole) > _SEEN else ""
    return _box(kind, cut(name, LONGEST_CHIP), cut(value, LONGEST_CHIP), title)


def _rest(told: list[tuple[str, str, str]]) -> str:
    """How many more there are, and what the first of them are."""
    rest = [value for _, _, value in told[MOST_CHIPS:]]
    if not rest:
        return ""
    title = cut(", ".join(rest[:20]), 4 * LONGEST_CHIP)
    return f'<span class="rest" title="{text(title)}">+{len(rest):,}</span>'


def own_cause(words: str, run: Mapping[str, Any] | None) -> str:
    """A cause, as `why` tells it, beside the run that it is about: without its name and args before it."""
    if run is None:
        return words
    name = f"{run['run_id']} {Instance.of(str(run['job_id']), objects(run['args']))}"
    return words.removeprefix(f"{name}: ") if words.startswith(f"{name}: ") else words.replace(name, "it", 1)


def clipped(words: object) -> str:
    """Text where it may have no room: the pointer is told the whole."""
    return f'<span title="{text(cut(str(words), 4 * LONGEST_CHIP))}">{text(words)}</span>'


def cut(words: str, most: int) -> str:
    """Words, and of long ones the beginning."""
    return words if len(words) <= most else words[: most - 1] + "…"


def card(title: str, body: str, *, count: int | None = None, more: str = "", kind: str = "") -> str:
    """A titled box.

    Args:
        title: plain text.
        body: HTML.
        count: shown behind the title.
        more: HTML at the right of the title.
        kind: a CSS class of the box.
    """
    number = "" if count is None else f'<span class="count">{count:,}</span>'
    return (
        f'<section class="card {kind}"><header><h2>{text(title)}{number}</h2>'
        f'<div class="more">{more}</div></header>{body}</section>'
    )


_CODE = re.compile("`([^`]+)`")


def prose(words: object) -> str:
    """Words as HTML; what stands between backticks, such as a command, is set as code."""
    return _CODE.sub(r"<code>\1</code>", text(words))


def nothing(words: str) -> str:
    """What a box says when it is empty."""
    return f'<p class="nothing">{prose(words)}</p>'


#: What stands where something is not there yet: for a part, and for a figure.
LOADING, UNKNOWN = "Loading …", "…"


def loading(*titles: str) -> str:
    """Boxes whose contents are not there yet."""
    return f'<div class="stack">{"".join(card(title, nothing(LOADING)) for title in titles)}</div>'


#: Columns that need no name beside what they say.
_PLAIN_COLUMNS = frozenset({"pick", "who", "job", "name", "clip"})


def table(
    heads: list[tuple[str, str]],
    rows: list[list[str]],
    *,
    caption: str,
    ids: list[str] | None = None,
    is_narrow: bool = False,
) -> str:
    """A table. On a phone the cells of a row stand below each other, with the names of their columns.

    Args:
        heads: (title, CSS class of the column) each.
        rows: HTML of the cells.
        caption: read by screen readers, not shown.
        ids: the run of each row; Enter or a click anywhere on the row opens it.
        is_narrow: whether it has room on a phone as it is.
    """
    head = "".join(f'<th scope="col" class="{c}">{text(title)}</th>' for title, c in heads)
    names = [
        "" if c in _PLAIN_COLUMNS or title in {"", "Run", "State"} else f' data-head="{text(title)}"'
        for title, c in heads
    ]
    body = []
    for n, cells in enumerate(rows):
        opens = f' data-href="{text(run_url(ids[n]))}" tabindex="0"' if ids else ""
        body.append(
            f"<tr{opens}>"
            + "".join(f'<td class="{heads[i][1]}"{names[i]}>{c}</td>' for i, c in enumerate(cells))
            + "</tr>"
        )
    kind = "" if is_narrow else ' class="stacks"'
    return (
        f'<div class="scroll"><table{kind}><caption>{text(caption)}</caption><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )
