"""The page of late and missed runs: which jobs, why, over time, one by one, and what to do about them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import panel as pn
from panel.viewable import Viewer

from apsis_nb.client import BadRequest, ServerEvent

from . import connection, late_runs, markup, past
from .board import STACK_CSS, Board
from .controls import SURFACE, WHOLE, as_table, button, joined, of_jobs, search
from .counts_plot import period_words
from .late_runs import WHYS, budget_of
from .live import at_once
from .many_runs import Picked, actions_html, carry_out, done_html, kind_of, picked_of
from .markup import text
from .page import Page
from .past import Chosen
from .ranges import MONTH, Range, buttons_html, range_from_days, range_of, units_of
from .reader_zone import ReaderZone
from .runs_table import pager_html
from .sql_box import PAST_CSS
from .trend_band import TrendBand

NAMES = ("24h", "7d", MONTH, "30d", "90d")
DEFAULT = "30d"
MOST_JOBS = 25
WHY_COLOURS = {
    "for_condition": "#b38a00", "for_limit": "#2f6df6", "for_host": "#a846b0", "for_server": "#bf3b26",
    "at_end": "#0f8f9c", "not_started": "#858b96",
}  # fmt: skip
TITLES = {"late": "Late runs", "missed": "Missed times"}
#: What can be done with the runs of each list.
ACTIONS = {"late": ("start", "skip", "mark"), "missed": ("start", "mark")}


@dataclass(frozen=True, slots=True)
class Wish:
    """What the reader wants to see; the address of the page says it."""

    range: Range = field(default_factory=Range)
    words: str = ""
    job: str = ""  #: one job, whose trend and runs are shown
    pages: tuple[int, int] = (0, 0)  #: of the two lists

    @property
    def query(self) -> dict[str, str]:
        """How the address says it."""
        span = {} if self.range == Range(DEFAULT) else self.range.query
        return span | {name: value for name, value in (("job", self.words), ("of", self.job)) if value}


@dataclass(frozen=True)
class Seen:
    """What one look gave."""

    wish: Wish
    chosen: Chosen
    unit: str
    zone: ZoneInfo
    by_job: pd.DataFrame
    trend: pd.DataFrame
    worst: pd.DataFrame | None  #: the latest runs of the chosen job
    counts: pd.DataFrame
    lists: dict[str, tuple[pd.DataFrame, int]]
    facts: dict[str, dict[str, Any]]  #: of the jobs that there are, by id
    may_act: bool = True  #: whether the reader may do something with runs


class LatePage(Viewer):
    """The page's parts; follows the server."""

    def __init__(self, page: Page, **params: Any) -> None:
        super().__init__(**params)
        self._page = page
        said = page.said
        self.wish = Wish(range_of(said, DEFAULT, NAMES), said.get("job", ""), said.get("of", ""))
        self._seen: Seen | None = None
        self._facts: dict[str, dict[str, Any]] = {}
        self._picked: dict[str, set[str]] = {which: set() for which in TITLES}
        self._generation = 0  # so that boxes which the page ticks or unticks by itself are made anew
        self._all = dict.fromkeys(TITLES, (0, False))  # that of the box for all, and whether it is ticked
        self._is_open = False
        self._zone = ReaderZone(page.shell, self._other_zone)
        board = partial(Board, on_action=self._act, stylesheets=[PAST_CSS])
        self._bar = board(self._bar_html())
        self._notes = {which: board(visible=False) for which in TITLES}
        self._by_job = board(markup.card("Late most often", markup.nothing("Loading …")))
        self._trend_head = board()
        self._trend = TrendBand(name="lateness", zone=page.shell.zone)
        self._trend_box = pn.Column(
            self._trend,
            visible=False,
            sizing_mode="stretch_width",
            styles=SURFACE,
        )
        self._trend_table = board(visible=False)
        self._lists = {which: board() for which in TITLES}
        page.keep(self._load_facts, self._show_facts, wants=_is_about_jobs, every_s=300.0)
        self._look = page.keep(self._load, self._show, wants=_is_about_lateness, every_s=20.0)

    def __panel__(self) -> Any:
        return pn.Column(
            self._bar, self._by_job, joined(self._trend_head, self._trend_box), self._trend_table,
            self._notes["late"], self._lists["late"], self._notes["missed"], self._lists["missed"],
            sizing_mode="stretch_width", styles=WHOLE, stylesheets=[STACK_CSS],
        )  # fmt: skip

    # ---- From the server ----

    def _load(self) -> Seen:
        client, now, zone = self._page.client, self._page.now(), self._zone.wait()
        wish = self.wish
        since, until = wish.range.window(now, zone)
        chosen = Chosen(since, until, wish.words)
        of_job = replace(chosen, words="", job=wish.job) if wish.job else chosen
        unit = units_of(since, until)[0]
        lists = zip(TITLES, wish.pages, strict=True)
        told = at_once(
            by_job=partial(late_runs.by_job, client, chosen),
            trend=partial(past.lateness, client, of_job, unit, zone.key),
            worst=partial(late_runs.worst, client, of_job) if wish.job else lambda: None,
            counts=partial(past.counts, client, of_job, unit, zone.key),
            may_act=lambda: connection.file_shown() is None and client.version()["role"] != "read",
            **{which: partial(late_runs.page_of, client, of_job, which, page) for which, page in lists},
        )
        return Seen(
            wish=wish,
            chosen=chosen,
            unit=unit,
            zone=zone,
            by_job=told["by_job"],
            trend=told["trend"],
            worst=told["worst"],
            counts=told["counts"],
            lists={which: told[which] for which in TITLES},
            facts=self._facts,
            may_act=told["may_act"],
        )

    def _load_facts(self) -> dict[str, dict[str, Any]]:
        return {facts["job_id"]: facts for facts in self._page.client.jobs.find()}

    def _show_facts(self, facts: dict[str, dict[str, Any]]) -> None:
        self._facts = facts
        if self._seen is not None:
            self._seen = replace(self._seen, facts=facts)
            self._draw()

    def _show(self, seen: Seen) -> None:
        if seen.wish != self.wish:
            return
        if seen.zone.key != self._zone.zone.key:
            self._look()
            return
        self._seen = replace(seen, facts=self._facts)
        for which, (rows, _) in seen.lists.items():
            self._picked[which] &= {f"r{n}" for n in rows["run_id"]}
        self._draw()

    # ---- From the reader ----

    def _other_zone(self) -> None:
        self._trend.set_zone(self._page.shell.zone)
        if self._seen is not None:
            self._look()

    def _act(self, message: dict[str, Any]) -> None:
        action, value = message["action"], str(message.get("value", ""))
        form = message.get("form") or {}
        verb, _, rest = action.partition(":")
        which, _, run_id = rest.partition(":")
        match verb:
            case "range" if value in NAMES:
                self._go(replace(self.wish, range=Range(value), pages=(0, 0)))
            case "days":
                found = range_from_days(
                    str(form.get("first", "")), str(form.get("last", "")), self._zone.zone
                )
                if found is None:
                    self._page.fail(BadRequest("choose two days, the first not after the last"))
                else:
                    self._page.fail(None)
                    self._go(replace(self.wish, range=found, pages=(0, 0)))
            case "words":
                self._go(replace(self.wish, words=value, job="", pages=(0, 0)))
            case "of":
                self._go(replace(self.wish, job="" if value == self.wish.job else value, pages=(0, 0)))
            case "table":
                self._is_open = not self._is_open
                self._draw()
            case "page" if which in TITLES and value.isdigit():
                pages = dict(zip(TITLES, self.wish.pages, strict=True)) | {which: int(value)}
                self._picked[which] = set()
                self._go(replace(self.wish, pages=(pages["late"], pages["missed"])))
            case "pick" if which in TITLES:
                (self._picked[which].add if value == "true" else self._picked[which].discard)(run_id)
                self._draw_list(which)
            case "all" if which in TITLES and self._seen is not None:
                rows = self._seen.lists[which][0]
                self._picked[which] = {f"r{n}" for n in rows["run_id"]} if value == "true" else set()
                self._generation += 1
                self._all[which] = (self._all[which][0], value == "true")
                self._draw_list(which)
            case "start" | "skip" | "mark" if which in TITLES:
                mark = str(form.get("state", ""))
                pn.state.execute(partial(self._carry_out, verb, which, picked_of(message), mark))

    async def _carry_out(self, action: str, which: str, picked: list[Picked], mark: str) -> None:
        """Do what was asked and confirmed, and tell of each that was refused why."""
        done = await self._page.act(carry_out, self._page.client, action, picked, mark)
        if done is None:
            return

        def told() -> None:
            self._notes[which].param.update(content=done_html(action, done, mark), visible=True)
            self._picked[which] = {d.run_id for d in done if d.refused}
            self._generation += 1
            self._look()

        self._page.later(told)

    def _kinds(self, which: str) -> list[Picked]:
        """The runs that are picked, in the order of the list, and what can be done with each."""
        if self._seen is None:
            return []
        rows = markup.records(self._seen.lists[which][0])
        named = [(f"r{row['run_id']}", kind_of(markup.state_of(row["state"]))) for row in rows]
        return [(name, kind) for name, kind in named if name in self._picked[which]]

    def _go(self, wish: Wish) -> None:
        self.wish = wish
        self._page.replace_address(wish.query)
        self._bar.content = self._bar_html()
        self._look()

    # ---- Drawing ----

    def _draw(self) -> None:
        seen = self._seen
        if seen is None:
            return
        self._bar.content = self._bar_html()
        self._by_job.content = by_job_html(seen)
        self._trend_head.content = trend_html(seen, has_table=self._is_open)
        has_trend = len(seen.trend) > 0
        self._trend_box.visible = has_trend
        is_open = has_trend and self._is_open
        self._trend_table.param.update(content=trend_table_html(seen) if is_open else "", visible=is_open)
        if has_trend:
            missed = _missed_of(seen.counts)
            self._trend.draw(
                seen.trend, unit=seen.unit, zone=seen.zone, since=seen.chosen.since, until=seen.chosen.until,
                points=seen.worst, missed=missed, budget_s=budget_of(seen.facts.get(seen.wish.job))[0],
            )  # fmt: skip
        for which in TITLES:
            self._draw_list(which)

    def _draw_list(self, which: str) -> None:
        if self._seen is None:
            return
        kinds, picked = self._kinds(which), self._picked[which]
        key, was_ticked = self._all[which]
        is_ticked = len(self._seen.lists[which][0]) == len(kinds) > 0
        if is_ticked != was_ticked:
            self._all[which] = (key + 1, is_ticked)
        keys = (self._generation, self._all[which][0])
        self._lists[which].content = list_html(self._seen, which, picked, kinds, keys)

    def _bar_html(self) -> str:
        wish, now, zone = self.wish, self._page.now(), self._zone.zone
        is_current = self._seen is not None and self._seen.wish == wish
        loading = "" if is_current else '<span class="nothing" role="status">Loading …</span>'
        known = [str(job) for job in self._seen.facts] if self._seen else []
        one = ""
        if wish.job:
            words = f"&times;&ensp;only {text(wish.job)}"
            one = button(
                "of", words, value=wish.job, pressed=True, title=f"Show all jobs again, not only {wish.job}"
            )
        return (
            f'<div class="bar">{buttons_html(wish.range, NAMES, now, zone)}'
            f"{search('words', 'Job', wish.words, known)}{one}{loading}</div>"
        )


def _is_about_lateness(event: ServerEvent) -> bool:
    """Runs come and go all the time; those that were on time change nothing here."""
    return event.type == "late" or bool(event.type == "run" and event.facts.get("late"))


def _is_about_jobs(event: ServerEvent) -> bool:
    return event.type == "job"


def _missed_of(counts: pd.DataFrame) -> pd.DataFrame:
    """How many times were missed, by period."""
    missed = counts.groupby("period", as_index=False)["missed"].sum()
    found: pd.DataFrame = missed[missed["missed"] > 0]
    return found


# ---- HTML ----


def whys_html(row: dict[str, Any]) -> str:
    """Why a job was late: the shares as a bar, and the reasons in words, the most frequent first."""
    found = sorted(((int(row[k]), k) for k in WHYS if row[k]), reverse=True)
    whole = sum(n for n, _ in found)
    if not whole:
        return ""
    bar = "".join(
        f'<i style="width:{100 * n / whole:.1f}%;background:{WHY_COLOURS[k]}"></i>' for n, k in found
    )
    words = [
        f"<span><b>{WHYS[k]}</b>{f' {100 * n / whole:.0f} %' if whole > 1 else ''}</span>"
        for n, k in found[:3]
    ]
    return (
        f'<span class="whys"><span class="track" aria-hidden="true">{bar}</span>'
        f'<span class="words">{"".join(words)}</span></span>'
    )


def by_job_html(seen: Seen) -> str:
    """Which jobs were late most often, and why; a job is a button that shows it alone."""
    where = seen.wish.range.words
    frame = seen.by_job
    if not len(frame):
        words = f"No run{of_jobs(seen.wish.words)} was late, and no time was missed, {where}."
        return markup.card("Late most often", markup.nothing(words), count=0)
    heads = [
        ("Job", "name"), ("Late", "right"), ("of", "right"), ("Mostly because of", "wide"),
        ("Typically by", "right"), ("At most", "right"), ("Budget", "wide"), ("Missed", "right"),
    ]  # fmt: skip
    rows = []
    for row in markup.records(frame.head(MOST_JOBS)):
        job, due, late = str(row["job_id"]), int(row["due"]), int(row["late_runs"])
        told = "Its lateness over time, and its late runs"
        name = button(
            "of", markup.seen(job), value=job, pressed=job == seen.wish.job, title=told, kind="link job"
        )
        budget = text(budget_of(seen.facts.get(job))[1])
        share = f' <span class="part-of">{markup.percent(late, due) if due else ""}</span>'
        rows.append(
            [
                name, f"{late:,}{share}", f"{due:,}", whys_html(row), markup.duration(row["p50_s"]),
                markup.duration(row["max_s"]), budget or '<span class="muted">no job now</span>',
                f"{int(row['missed']):,}",
            ]
        )  # fmt: skip
    beyond = len(frame) - MOST_JOBS
    more = (
        f'<p class="nothing">{beyond:,} more: narrow them by a part of their names.</p>' if beyond > 0 else ""
    )
    body = markup.table(heads, rows, caption="Jobs by how often they were late") + more
    return markup.card("Late most often", body, count=len(frame), more=where)


def trend_html(seen: Seen, *, has_table: bool) -> str:
    """What the picture of lateness shows, and its budget."""
    job = seen.wish.job
    title = f"How late {job} started" if job else "How late runs started"
    if not len(seen.trend):
        of = " of this job" if job else of_jobs(seen.wish.words)
        words = f"No run of a schedule{of} {seen.wish.range.words}."
        return markup.card(title, markup.nothing(words))
    missed = int(seen.counts["missed"].sum()) if len(seen.counts) else 0
    budget_s, words = budget_of(seen.facts.get(job))
    line = f'<span><i class="line budget"></i>budget: {text(words)}</span>' if budget_s is not None else ""
    rings = "" if seen.worst is None else '<span><i class="ring"></i>late runs: a tap opens one</span>'
    hint = "" if job else '<span class="muted push">choose a job above to see it alone</span>'
    legend = (
        '<div class="bar under legend"><span><i class="line"></i>median</span>'
        f'<span><i class="band"></i>up to the 95th percentile</span>{line}'
        f'{rings}<span><i class="cross" aria-hidden="true">&times;</i>{missed:,} missed</span>{hint}</div>'
    )
    return markup.card(title, legend, more=as_table(has_table), kind="upper")


def trend_table_html(seen: Seen) -> str:
    """The picture as a table, the newest first."""
    missed = {
        markup.instant(row["period"]): int(row["missed"]) for row in markup.records(_missed_of(seen.counts))
    }
    runs = {markup.instant(row["period"]): row for row in markup.records(seen.trend)}
    heads = [
        (seen.unit.capitalize(), "tight"), ("Runs", "right"), ("Median", "right"), ("p95", "right"),
        ("Most", "right"), ("Missed", "right"),
    ]  # fmt: skip
    rows = []
    for at in sorted({at for at in (*runs, *missed) if at is not None}, reverse=True):
        row = runs.get(at, {})
        told = [markup.duration(row.get(name)) for name in ("p50_s", "p95_s", "max_s")]
        rows.append(
            [
                text(period_words(at, seen.unit, seen.zone)),
                f"{int(row.get('runs', 0)):,}",
                *told,
                f"{missed.get(at, 0):,}",
            ]
        )
    body = markup.table(heads, rows, caption="How late runs started")
    return markup.card("How late runs started, as a table", f'<div class="rows">{body}</div>')


def list_html(
    seen: Seen, which: str, picked: set[str], kinds: Sequence[tuple[str, str]], keys: tuple[int, int]
) -> str:
    """One page of late or missed runs, and what can be done with those that are ticked.

    Args:
        keys: other ones when the page itself has changed the boxes of the runs, or that for all of them.
    """
    frame, count = seen.lists[which]
    title = TITLES[which]
    if not len(frame):
        of = f" of {seen.wish.job}" if seen.wish.job else of_jobs(seen.wish.words)
        said = f"No run{of} was late" if which == "late" else f"No time{of} was missed"
        return markup.card(title, markup.nothing(f"{said} {seen.wish.range.words}."), count=0)
    rows = markup.records(frame)
    names = [f"r{row['run_id']}" for row in rows]
    all_ticked = " checked" if set(names) == picked else ""
    ticks = (
        f'<label class="check"><input type="checkbox" data-key="all-{keys[1]}" '
        f'data-action="all:{which}"{all_ticked}>all on this page</label>'
    )
    last = (
        [("Was due", "tight"), ("By", "tight"), ("Why", ""), ("State", "tight"), ("Budget", "wide")]
        if which == "late"
        else [("Was due", "tight"), ("Why", ""), ("", "tight")]
    )
    heads = [("", "pick"), ("Job", "job"), ("Run", "tight"), *last]
    cells = [_cells(which, row, seen.facts, picked, keys[0]) for row in rows]
    if not seen.may_act:
        heads, cells = heads[1:], [row[1:] for row in cells]
    body = markup.table(heads, cells, caption=title, ids=names)
    page = seen.wish.pages[list(TITLES).index(which)]
    pager = pager_html(count, page).replace('data-action="page"', f'data-action="page:{which}"')
    if not seen.may_act:
        return markup.card(title, f"{body}{pager}", count=count)
    buttons, templates = actions_html(which, kinds, ACTIONS[which])
    return markup.card(
        title, f'<div class="bar acts">{ticks}{buttons}</div>{body}{pager}{templates}', count=count
    )


def _cells(
    which: str, row: dict[str, Any], facts: dict[str, dict[str, Any]], picked: set[str], generation: int
) -> list[str]:
    name = f"r{row['run_id']}"
    ticked = " checked" if name in picked else ""
    job = markup.job_link(row["job_id"]) + " " + markup.chips(row["args"], row["labels"])
    again = (
        f"run again as {markup.run_link('r' + str(int(row['again_id'])))}"
        if markup.given(row["again_id"])
        else ""
    )
    first = [
        f'<input type="checkbox" data-key="{name}-{generation}" data-action="pick:{which}:{name}" '
        f'aria-label="{name}"{ticked}>',
        job,
        markup.run_link(name),
    ]
    if which == "missed":
        due = row["nominal_at"] if markup.given(row["nominal_at"]) else row["scheduled_at"]
        return [*first, markup.when(due), text(row["skip_reason"] or ""), again]
    budget_s, budget = budget_of(facts.get(row["job_id"]))
    started = markup.given(row["started_at"])
    held = row["message"] if not started and markup.given(row["message"]) else ""
    why = (
        text(row["late_why"]) if markup.given(row["late_why"]) else "ended late" if started else "still waits"
    )
    says = f'{why}<span class="muted">: {text(held)}</span>' if held else why
    # A run that started in time and ended late is not late by what it started after its time.
    by = late_by(row, budget_s)
    words = " &middot; ".join(part for part in (says, again) if part)
    return [*first, markup.when(row["scheduled_at"]), by, words, markup.badge(row["state"]), text(budget)]


def late_by(row: dict[str, Any], budget_s: float | None) -> str:
    """By how much a run is late: with its start, or with its end."""
    if markup.given(row["late_why"]) or not markup.given(row["started_at"]) or budget_s is None:
        return (
            markup.late_badge(row["late_s"])
            if markup.given(row["late_s"])
            else '<span class="late">late</span>'
        )
    return '<span class="late">late end</span>'
