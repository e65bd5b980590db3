"""The table of the jobs: which are shown, in what order, and how each looks."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from apsis_nb.core.states import ACTIVE, State

from . import job_acts, markup, strips
from .catalogue import Known, is_disabled
from .controls import choices, group, question
from .markup import text

PAGE_ROWS = 50  #: jobs and folders
SPAN_WORDS = "30 days"
NO_JOBS = "There are no jobs yet: `apsis-nb new JOB` writes a job file to start from."

#: Which jobs are shown, beside words and a label.
ONLY: dict[str, str] = {
    "": "all jobs",
    "running": "running now",
    "failed": "last run failed",
    "broken": "broken file",
    "paused": "paused",
    "disabled": "disabled",
    "unscheduled": "without a schedule",
}
SORTS: dict[str, str] = {
    "": "by folder",
    "next": "next run first",
    "last": "last run first",
    "success": "worst success rate first",
    "name": "by id",
}
_UNDER_WAY = frozenset(state.value for state in ACTIVE)
_BAD = frozenset({State.FAILURE.value, State.ERROR.value})


@dataclass(frozen=True)
class Choice:
    """Which jobs are shown, and how."""

    words: str = ""
    label: str = ""
    only: str = ""
    sort: str = ""
    page: int = 0
    closed: frozenset[str] = frozenset()  #: folders
    is_graph: bool = False  #: whether it is shown what they wait for, and no table

    def said(self) -> dict[str, str]:
        """As the address says it."""
        return {
            "q": self.words,
            "label": self.label,
            "only": self.only,
            "sort": self.sort,
            "page": str(self.page + 1) if self.page else "",
            "closed": ",".join(sorted(self.closed)),
            "view": "graph" if self.is_graph else "",
        }


def choice_of(said: Mapping[str, str]) -> Choice:
    """What the address says; what it says wrongly is as if it did not."""
    page = said.get("page", "")
    return Choice(
        words=said.get("q", ""),
        label=said.get("label", ""),
        only=said["only"] if said.get("only") in ONLY else "",
        sort=said["sort"] if said.get("sort") in SORTS else "",
        page=int(page) - 1 if page.isdecimal() and 0 < int(page) < 10**6 else 0,
        closed=frozenset(folder for folder in said.get("closed", "").split(",") if folder),
        is_graph=said.get("view") == "graph",
    )


@dataclass(frozen=True)
class Row:
    """A line of the tree."""

    kind: str  #: folder or job
    name: str  #: path of the folder, or id of the job
    depth: int = 0
    jobs: tuple[str, ...] = ()  #: of a folder: all below it that are chosen


# ---- Which jobs ----


def chosen_jobs(known: Known, choice: Choice, last_state: Callable[[str], str]) -> list[str]:
    """The ids of the jobs that fit, by id; those whose files are broken among them."""
    words = choice.words.lower().split()
    return [
        job_id
        for job_id in sorted({*known.jobs, *known.broken})
        if _fits(job_id, known.jobs.get(job_id), words, choice.label)
        and _is_one(job_id, known, choice.only, last_state)
    ]


def _fits(job_id: str, facts: Mapping[str, Any] | None, words: list[str], label: str) -> bool:
    labels = [] if facts is None else facts["metadata"]["labels"]
    if label and label not in labels:
        return False
    if not words:
        return True
    description = "" if facts is None else str(facts["metadata"].get("description") or "")
    everything = " ".join([job_id, *labels, description]).lower()
    return all(word in everything for word in words)


def _is_one(job_id: str, known: Known, only: str, last_state: Callable[[str], str]) -> bool:
    facts = known.jobs.get(job_id)
    match only:
        case "running":
            return last_state(job_id) in _UNDER_WAY
        case "failed":
            return last_state(job_id) in _BAD
        case "broken":
            return job_id in known.broken
        case "paused":
            return facts is not None and known.pause_of(job_id) is not None
        case "disabled":
            return facts is not None and is_disabled(facts)
        case "unscheduled":
            return facts is not None and not facts["schedule"]
        case _:
            return True


def tree(job_ids: list[str], closed: frozenset[str]) -> list[Row]:
    """The lines of the tree: of each folder its jobs, then its folders; closed ones hide what is in them.

    Args:
        job_ids: by id.
        closed: paths of folders.
    """
    rows: list[Row] = []

    def add(prefix: str, inside: list[str], depth: int) -> None:
        folders: dict[str, list[str]] = {}
        for job_id in inside:
            name, slash, _ = job_id.removeprefix(prefix).partition("/")
            if slash:
                folders.setdefault(prefix + name, []).append(job_id)
            else:
                rows.append(Row("job", job_id, depth))
        for folder, below in folders.items():
            rows.append(Row("folder", folder, depth, tuple(below)))
            if folder not in closed:
                add(f"{folder}/", below, depth + 1)

    add("", job_ids, 0)
    return rows


def success_rate(stats: Mapping[str, Any] | None) -> float | None:
    """Which share of the runs that ended succeeded; None: none ended."""
    if stats is None:
        return None
    ended = int(stats["success"]) + int(stats["failed"])
    return int(stats["success"]) / ended if ended else None


# ---- HTML ----


def bar_html(choice: Choice, labels: Mapping[str, int]) -> str:
    """The fields that choose jobs, and what is for all of them."""
    known = {choice.label: 0, **labels} if choice.label else labels
    of_labels = [("", "all labels"), *((label, f"{label} ({count})") for label, count in known.items())]
    view = "graph" if choice.is_graph else "table"
    shown = choices("view", {"table": "Table", "graph": "What waits for what"}, view)
    return (
        '<div class="bar">'
        f'<input type="search" data-action="words" value="{text(choice.words)}" size="28" '
        'placeholder="Filter: id, label, description" aria-label="Filter by words">'
        f"{_select('label', 'Label', of_labels, choice.label)}"
        f"{_select('only', 'Which', list(ONLY.items()), choice.only)}"
        f"{'' if choice.is_graph else _of_table(choice)}"
        f'<span class="push bar">{group("How they are shown", shown)}'
        '<button data-action="reload?">Reload files</button></span></div>'
    )


def _of_table(choice: Choice) -> str:
    """The fields that only the table has."""
    return (
        f"{_select('sort', 'Order', list(SORTS.items()), choice.sort)}"
        '<span class="group"><button data-action="fold-all" data-value="open">Expand</button>'
        '<button data-action="fold-all" data-value="close">Collapse</button></span>'
    )


def _select(action: str, name: str, choices: list[tuple[str, str]], chosen: str) -> str:
    options = "".join(
        f'<option value="{text(value)}"{" selected" if value == chosen else ""}>{text(words)}</option>'
        for value, words in choices
    )
    return f'<select data-action="{action}" aria-label="{name}">{options}</select>'


def broken_html(errors: Sequence[Mapping[str, Any]]) -> str:
    """The files that are broken, with the place of each fault; nothing if none is."""
    if not errors:
        return ""
    items = "".join(f"<li>{job_acts.fault_html(error)}</li>" for error in errors[:20])
    more = f"<li><span>and {len(errors) - 20:,} more</span></li>" if len(errors) > 20 else ""
    body = f'<ul class="broken">{items}{more}</ul>'
    return markup.card("Broken job files", body, count=len(errors), kind="bad")


def acts_html(picked: list[str], free: list[str], held: list[str], on: list[str], off: list[str]) -> str:
    """What can be done with the jobs that are picked, and what each asks before; its value says for which."""
    if not picked:
        return ""
    made = []
    if free:
        made.append(("pause", "Pause", free, job_acts.pause_question(free)))
    if off:
        made.append(("enable", "Enable", off, job_acts.enable_question(off, enable=True)))
    if on:
        made.append(("disable", "Disable", on, job_acts.enable_question(on, enable=False)))
    buttons = "".join(
        f'<button data-action="{action}" data-value="{text(json.dumps(jobs))}" data-yes="{word}" '
        f'data-title="{word} {job_acts.many(len(jobs))}?">{word}</button>'
        for action, word, jobs, _ in made
    )
    if held:
        buttons += f'<button data-action="resume?" data-value="{text(json.dumps(held))}">Resume</button>'
    templates = "".join(question(action, html) for action, _, _, html in made)
    return (
        '<div class="bar picked" role="toolbar" aria-label="With the chosen jobs">'
        f"<b>{len(picked):,} chosen</b>{buttons}"
        f'<button class="plain" data-action="pick-none">None</button></div>{templates}'
    )


def rows_html(
    rows: list[Row],
    cells: Mapping[str, list[str]],
    jobs: int,
    lines: int,
    choice: Choice,
    picked: frozenset[str],
    acts: str,
) -> str:
    """The table of jobs."""
    if not rows:
        words = "No job fits the filters." if choice.words or choice.label or choice.only else NO_JOBS
        return markup.card("Jobs", markup.nothing(words), count=0)
    heads = [
        "Job",
        "Next",
        "Last run",
        f"Success, {SPAN_WORDS}",
        "Usually takes",
        f"Last {strips.LAST_RUNS} runs",
    ]
    head = "".join(f'<th scope="col">{text(title)}</th>' for title in heads)
    all_box = _box("", all(job_id in picked for job_id in cells) and bool(cells), "Choose all that fit")
    body = "".join(
        _folder_html(row, choice, picked) if row.kind == "folder" else _job_html(row, cells[row.name], picked)
        for row in rows
    )
    table = (
        '<div class="scroll"><table class="jobs stacks"><caption>Jobs</caption><thead><tr>'
        f'<th class="pick">{all_box}</th>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )
    return markup.card("Jobs", acts + table + _pager_html(lines, choice.page), count=jobs)


#: On a phone, where no head stands above a cell, before what it says: of all but the name of the job.
_NAMES = (' data-head="Next"', "", ' data-head="Success"', ' data-head="Takes"', "")


def _box(name: str, is_picked: bool, words: str) -> str:
    checked = " checked" if is_picked else ""
    return (
        f'<input type="checkbox" data-action="pick" data-value="{text(name)}" '
        f'aria-label="{text(words)}"{checked}>'
    )


def _folder_html(row: Row, choice: Choice, picked: frozenset[str]) -> str:
    is_closed = row.name in choice.closed
    name = row.name.rpartition("/")[2]
    is_picked = bool(row.jobs) and all(job_id in picked for job_id in row.jobs)
    arrow = "▸" if is_closed else "▾"
    return (
        f'<tr class="folder" data-key="f:{text(row.name)}" data-fold="{text(row.name)}" tabindex="0">'
        '<td class="pick">'
        f"{_box(f'{row.name}/', is_picked, f'Choose all below {row.name}')}</td>"
        f'<td colspan="6" style="--depth:{row.depth}"><button class="fold" data-action="fold" '
        f'data-value="{text(row.name)}" aria-expanded="{str(not is_closed).lower()}" tabindex="-1">'
        f'<span class="arrow" aria-hidden="true">{arrow}</span>{markup.seen(name)}/</button> '
        f'<span class="muted">{job_acts.many(len(row.jobs))}</span></td></tr>'
    )


def _job_html(row: Row, cells: list[str], picked: frozenset[str]) -> str:
    first, *rest = cells
    box = _box(row.name, row.name in picked, f"Choose {row.name}")
    others = "".join(f"<td{name}>{cell}</td>" for name, cell in zip(_NAMES, rest, strict=True))
    return (
        f'<tr data-key="j:{text(row.name)}" data-href="{text(markup.job_url(row.name))}" tabindex="0">'
        f'<td class="pick">{box}</td><td class="name" style="--depth:{row.depth}">{first}</td>{others}</tr>'
    )


def job_cells(
    job_id: str,
    facts: Mapping[str, Any] | None,
    *,
    is_broken: bool,
    pause: Mapping[str, Any] | None,
    next_at: Any,
    is_asked: bool = False,
    last: Mapping[str, Any] | None,
    stats: Mapping[str, Any] | None,
    runs: list[dict[str, Any]],
    is_flat: bool,
) -> list[str]:
    """What the table tells of a job."""
    folder, slash, name = job_id.rpartition("/")
    path = f'<span class="folder">{markup.seen(folder + slash)}</span>' if is_flat else ""
    shown = path + markup.seen(name)
    title = f' title="{text(job_id)}"' if len(job_id) > 40 else ""
    link = f'<a class="job" href="{text(markup.job_url(job_id))}" tabindex="-1"{title}>{shown}</a>'
    labels = [] if facts is None else facts["metadata"]["labels"]
    chips = "".join(label_link(label, most=markup.LONGEST_CHIP) for label in labels[: markup.MOST_CHIPS])
    beyond = labels[markup.MOST_CHIPS :]
    if beyond:
        named = markup.cut(", ".join(beyond), 4 * markup.LONGEST_CHIP)
        chips += f'<span class="label" title="{text(named)}">+{len(beyond):,}</span>'
    marks = ""
    if is_broken:
        marks += '<span class="mark bad">broken file</span>'
    if pause is not None and facts is not None:
        marks += '<span class="mark">paused</span>'
    if facts is not None and is_disabled(facts):
        marks += '<span class="mark">disabled</span>'
    description = "" if facts is None else str(facts["metadata"].get("description") or "").partition("\n")[0]
    whole = text(markup.cut(description, 400))
    said = f'<span class="said-of" title="{whole}">{markup.seen(description)}</span>' if description else ""
    first = f'<div class="line">{link}{marks}<span class="chips">{chips}</span></div>{said}'
    return [
        first,
        "…" if is_asked else _next_cell(facts, pause, next_at),
        "" if last is None else _last_cell(last),
        _rate_cell(stats),
        markup.duration(stats["p50_s"]) if stats is not None else "",
        strips.strip_svg(runs),
    ]


def label_link(label: str, *, most: int | None = None) -> str:
    """A label, as a link to the jobs that have it; of a long one so many characters."""
    shown = markup.seen(label if most is None else markup.cut(label, most))
    return f'<a class="label" href="jobs?label={quote(label, safe="")}" title="{text(label)}">{shown}</a>'


def _next_cell(facts: Mapping[str, Any] | None, pause: Mapping[str, Any] | None, next_at: Any) -> str:
    if facts is None:
        return markup.NONE
    if not facts["schedule"]:
        return '<span class="muted">when asked</span>'
    if is_disabled(facts):
        return '<span class="muted">disabled</span>'
    if pause is not None:
        until = f"until {markup.when(pause['until'])}" if pause["until"] else ""
        return f'<span class="muted">paused {until}</span>'
    if not markup.given(next_at):
        return '<span class="muted">none within a year</span>'
    return markup.when(next_at, "until")


def _last_cell(last: Mapping[str, Any]) -> str:
    run_id = f"r{last['run_id']}"
    link = f'<a class="plain" href="{text(markup.run_url(run_id))}" tabindex="-1">'
    ago = markup.when(last["scheduled_at"], "ago")
    return f'{link}{markup.badge(last["state"])}</a> <span class="muted">{ago}</span>'


def _rate_cell(stats: Mapping[str, Any] | None) -> str:
    rate = success_rate(stats)
    if rate is None or stats is None:
        return ""
    ended = int(stats["success"]) + int(stats["failed"])
    shown = markup.percent(int(stats["success"]), ended)
    bad = ' class="bad"' if rate < 0.9 else ""
    return f'<span{bad}>{shown}</span> <span class="muted">of {ended:,}</span>'


def _pager_html(lines: int, page: int) -> str:
    pages = -(-lines // PAGE_ROWS)
    if pages <= 1:
        return ""

    def button(to: int, words: str) -> str:
        disabled = "" if 0 <= to < pages and to != page else " disabled"
        return f'<button data-action="page" data-value="{to}"{disabled}>{words}</button>'

    return (
        '<nav class="pager" aria-label="Pages of the table">'
        f'<span class="num">page {page + 1:,} of {pages:,}</span>'
        f'<span class="group">{button(page - 1, "&lsaquo; back")}{button(page + 1, "on &rsaquo;")}</span>'
        "</nav>"
    )
