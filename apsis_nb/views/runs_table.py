"""Runs as a table: one page of rows from SQL, however long the history. The readable twin of the timeline."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import pandas as pd
from panel.viewable import Viewer

from apsis_nb.client import Client
from apsis_nb.core.states import State
from apsis_nb.core.times import format_time

from . import markup, palette
from .board import Board
from .many_runs import Picked, actions_html, kind_of, picked_of
from .markup import text
from .timeline_rows import AD_HOC

PAGE_ROWS = 25

#: Groups of states that people ask for, beside the single ones.
GROUPS: dict[str, tuple[str, tuple[str, ...]]] = {
    "live": ("under way", ("waiting", "starting", "running", "stopping")),
    "bad": ("failure or error", ("failure", "error")),
}


@dataclass(frozen=True, slots=True)
class Filters:
    """Which runs, and which page of them."""

    words: str = ""  #: each in the job's id, a label or an arg
    state: str = ""  #: a state, a name of `GROUPS`, or all
    late: bool = False
    since: datetime | None = None
    until: datetime | None = None
    jobs: tuple[str, ...] = ()  #: only of these rows of the timeline; none: all
    page: int = 0

    @property
    def narrows(self) -> bool:
        """Whether some of the runs of its time are left out."""
        return bool(self.words or self.state or self.late)

    def where(self) -> tuple[str, dict[str, Any]]:
        """The condition in SQL, and its parameters."""
        parts, values = ["true"], {}
        for n, word in enumerate(self.words.split()):
            parts.append(f"concat_ws(' ', job_id, labels, args) ILIKE $word{n} ESCAPE '!'")
            values[f"word{n}"] = "%" + "".join("!" + c if c in "!%_" else c for c in word) + "%"
        if self.state:
            states = GROUPS[self.state][1] if self.state in GROUPS else (self.state,)
            parts.append("state IN (" + ", ".join(f"$state{n}" for n in range(len(states))) + ")")
            values |= {f"state{n}": state for n, state in enumerate(states)}
        if self.late:
            parts.append("late")
        if self.jobs:
            names = [f"$job{n}" for n in range(len(self.jobs))]
            chosen = f"job_id IN ({', '.join(names)})"
            is_ad_hoc = " OR starts_with(job_id, 'adhoc-')" if AD_HOC in self.jobs else ""
            parts.append(f"({chosen}{is_ad_hoc})")
            values |= {f"job{n}": job for n, job in enumerate(self.jobs)}
        if self.since is not None:
            parts.append("coalesce(finished_at, utc_now()) >= $since::TIMESTAMP")
            values["since"] = format_time(self.since)
        if self.until is not None:
            parts.append("scheduled_at < $until::TIMESTAMP")
            values["until"] = format_time(self.until)
        return " AND ".join(parts), values


def load(client: Client, filters: Filters) -> tuple[pd.DataFrame, int]:
    """One page of runs, newest first, and how many there are in all."""
    where, values = filters.where()
    rows = client.sql(
        "SELECT run_id, job_id, args, labels, state, scheduled_at, started_at, finished_at, late, late_s,"
        f" elapsed_s, message, skip_reason FROM runs WHERE {where}"
        f" ORDER BY scheduled_at DESC, run_id DESC LIMIT {PAGE_ROWS} OFFSET {filters.page * PAGE_ROWS}",
        values,
    )
    count = client.sql(f"SELECT count(*) AS n FROM runs WHERE {where}", values)
    return rows, int(count["n"].iloc[0])


#: Called with an action of `many_runs`, the runs that were picked, and for `mark` the state.
OnDo = Callable[[str, list[Picked], str], None]

ACTIONS = ("start", "skip", "stop", "mark")  #: what can be done with picked runs


class RunsTable(Viewer):
    """The table with its filters. It is given rows.

    Args:
        filters: which rows are wanted at first.
        on_filters: told when others are wanted.
        on_do: told what the reader wants done with the runs they picked.
    """

    def __init__(
        self, filters: Filters, on_filters: Callable[[Filters], None], on_do: OnDo, **params: Any
    ) -> None:
        super().__init__(**params)
        self.filters = filters
        self._on_filters, self._on_do = on_filters, on_do
        self._seen: tuple[pd.DataFrame, int] | None = None
        self._picked: set[str] = set()
        self._may_act = False
        self._bar = Board(filters_html(filters), on_action=self._act)
        self._rows = Board(markup.card("Runs", markup.nothing("Loading …")), on_action=self._act)

    @property
    def parts(self) -> tuple[Board, Board]:
        """The filters, and the table."""
        return self._bar, self._rows

    def draw(self, rows: pd.DataFrame, count: int) -> None:
        """Draw one page of rows."""
        self._seen = rows, count
        self._picked &= {f"r{n}" for n in rows["run_id"]}
        self._draw()

    def allow(self, may_act: bool) -> None:
        """Whether the reader may do something with runs: then they can be picked."""
        self._may_act = may_act
        self._draw()

    def pick_only(self, run_ids: Collection[str]) -> None:
        """Of the runs on the page only these are picked."""
        self._picked = set(run_ids)
        self._draw()

    def _draw(self) -> None:
        if self._seen is not None:
            picked = self._picked if self._may_act else None
            self._rows.content = rows_html(*self._seen, self.filters, picked)

    def set_window(self, since: datetime, until: datetime, jobs: tuple[str, ...] = ()) -> None:
        """Only the runs of this time, and of these jobs if any; the first page of them if that is new."""
        if (since, until, jobs) != (self.filters.since, self.filters.until, self.filters.jobs):
            self.filters = replace(self.filters, since=since, until=until, jobs=jobs, page=0)

    def _act(self, message: dict[str, Any]) -> None:
        value = str(message.get("value", ""))
        action, _, of_runs = str(message["action"]).partition(":")
        if of_runs and action in ACTIONS:
            self._on_do(action, picked_of(message), str((message.get("form") or {}).get("state", "")))
            return
        match action:
            case "pick":
                name = str(message.get("name", ""))
                (self._picked.add if value == "true" else self._picked.discard)(name)
                self._draw()
                return
            case "pick-all" if self._seen is not None:
                self.pick_only({name for name, _ in kinds_of(self._seen[0])} if value == "true" else set())
                return
            case "words":
                self.filters = replace(self.filters, words=value, page=0)
            case "state" if value == "" or value in GROUPS or value in {s.value for s in State}:
                self.filters = replace(self.filters, state=value, page=0)
            case "late":
                self.filters = replace(self.filters, late=value == "true", page=0)
            case "page" if value.isdigit():
                self.filters = replace(self.filters, page=int(value))
            case _:
                return
        self._on_filters(self.filters)


def filters_html(filters: Filters) -> str:
    """The fields of the filters."""
    choices = [("", "all states"), *((key, words) for key, (words, _) in GROUPS.items())]
    choices += [(state.value, state.value) for state in State]
    options = "".join(
        f'<option value="{value}"{" selected" if value == filters.state else ""}>{words}</option>'
        for value, words in choices
    )
    checked = " checked" if filters.late else ""
    return (
        '<div class="bar">'
        f'<input type="search" data-action="words" value="{text(filters.words)}" size="26" '
        'placeholder="Filter: job, label, arg" aria-label="Filter by words in job, labels or args">'
        f'<select data-action="state" aria-label="State">{options}</select>'
        f'<label class="check"><input type="checkbox" data-action="late"{checked}>late only</label>'
        f"{legend_html()}</div>"
    )


def legend_html() -> str:
    """What the colours and shapes of the timeline mean."""
    shown = [State.SUCCESS, State.FAILURE, State.ERROR, State.RUNNING, State.WAITING, State.SKIPPED]
    items = "".join(f"<span>{palette.icon(state, 12)}{state.value}</span>" for state in shown)
    return (
        f'<div class="legend push">{items}<span><i class="box late"></i>late</span>'
        '<span><i class="box ghost"></i>expected, or missing</span></div>'
    )


def kinds_of(rows: pd.DataFrame) -> list[Picked]:
    """The runs of these rows, and what can be done with each."""
    return [
        (f"r{row['run_id']}", kind_of(markup.state_of(row["state"])))
        for row in markup.records(rows[["run_id", "state"]])
    ]


def rows_html(rows: pd.DataFrame, count: int, filters: Filters, picked: Collection[str] | None = None) -> str:
    """The table itself; `picked`: the runs that are, or None where nothing can be done with any."""
    if not count:
        fits = " fits the filters" if filters.narrows else ""
        return markup.card("Runs", markup.nothing(f"No run in this time{fits}."), count=0)
    ids, cells = [], []
    for row in markup.records(rows):
        run_id = f"r{row['run_id']}"
        ids.append(run_id)
        # While a program runs, the last message only says that it was started.
        is_told = markup.state_of(row["state"]).is_finished or str(row["state"]) == State.WAITING.value
        says = row["message"] if is_told and markup.given(row["message"]) else row["skip_reason"]
        cells.append(
            [
                markup.run_link(run_id),
                markup.badge(row["state"]),
                markup.job_link(row["job_id"]) + " " + markup.chips(row["args"], row["labels"]),
                markup.when(row["scheduled_at"]),
                markup.when(row["started_at"], "time", empty=markup.NONE),
                _took(row),
                markup.late_badge(row["late_s"]) if row["late"] else "",
                markup.clipped(says) if markup.given(says) else "",
            ]
        )
    heads = [
        ("Run", "tight"), ("State", "tight"), ("Job", "job"), ("Due", "tight"), ("Started", "tight"),
        ("Took", "right"), ("", "tight"), ("Says", "clip"),
    ]  # fmt: skip
    acts = ""
    if picked is not None:
        heads = [("", "pick"), *heads]
        cells = [[_box(name, name in picked), *row] for name, row in zip(ids, cells, strict=True)]
        acts = _acts_html([pick for pick in kinds_of(rows) if pick[0] in picked], len(ids))
    body = markup.table(heads, cells, caption="Runs, newest first", ids=ids)
    return markup.card("Runs", acts + body + pager_html(count, filters.page), count=count)


def _box(name: str, is_picked: bool) -> str:
    checked = " checked" if is_picked else ""
    return (
        f'<input type="checkbox" data-action="pick" data-value="{name}" data-key="{name}" '
        f'aria-label="Choose {name}"{checked}>'
    )


def _acts_html(picked: list[Picked], shown: int) -> str:
    """What can be done with the runs that are picked; the box is for all of the page."""
    checked = " checked" if len(picked) == shown else ""
    box = f'<input type="checkbox" data-action="pick-all"{checked}>'
    buttons, templates = actions_html("runs", picked, ACTIONS)
    label = f'<label class="check">{box}all on this page</label>'
    return f'<div class="bar acts">{label}{buttons}</div>{templates}'


def _took(row: dict[str, Any]) -> str:
    if markup.given(row["elapsed_s"]) and markup.given(row["finished_at"]):
        return markup.duration(row["elapsed_s"])
    return markup.when(row["started_at"], "elapsed") if not markup.given(row["finished_at"]) else ""


def pager_html(count: int, page: int) -> str:
    """Where one is among the pages, and the way to the next."""
    pages = -(-count // PAGE_ROWS)
    if pages <= 1:
        return ""
    first, last = page * PAGE_ROWS + 1, min(count, (page + 1) * PAGE_ROWS)

    def button(to: int, words: str, name: str) -> str:
        disabled = "" if 0 <= to < pages and to != page else " disabled"
        return f'<button data-action="page" data-value="{to}" aria-label="{name}"{disabled}>{words}</button>'

    return (
        '<nav class="pager" aria-label="Pages of the table">'
        f'<span class="num">{first:,}&ndash;{last:,} of {count:,}</span>'
        f'<span class="group">{button(0, "&laquo;", "Newest")}{button(page - 1, "&lsaquo; newer", "Newer")}'
        f"{button(page + 1, 'older &rsaquo;', 'Older')}{button(pages - 1, '&raquo;', 'Oldest')}</span></nav>"
    )
