"""The timeline page: the runs of a window of time as bars, and below them as a table."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pandas as pd
import panel as pn
from panel.viewable import Viewer

from apsis_nb.client import ServerEvent
from apsis_nb.core.states import State
from apsis_nb.core.times import format_time, zone

from . import markup, runs_table, timeline_strip
from .ahead import Ahead
from .board import STACK_CSS, Board
from .many_runs import Picked, carry_out, done_html
from .page import Page
from .runs_table import GROUPS, Filters, RunsTable
from .timeline import Timeline, default_window
from .timeline_bar import SPANS, TIMELINE_CSS, Keys, bar_html, labels_html
from .timeline_load import MOST_ROWS, Answer, Arrangement, Found, Wish, load
from .timeline_rows import GROUPINGS, ORDERS, Grouping, Order
from .timeline_strip import Extent, Strip, extent_of

LEAST_SPAN = timedelta(seconds=10)
MOST_SPAN = timedelta(days=3660)
COALESCE_S = 0.03  #: while somebody drags, so many seconds of changes are one question
LEAST_ROWS = 6  #: as high is the picture at least, so that its tools have room
NOTHING = "No run in this time, and none to come: choose another time, or start one with “New run”."
NOTHING_FITS = "No run in this time that fits the filters, and none to come."
REST_S = 0.4  #: after so long without a move the table and the strip follow

#: Of the row of labels and the picture.
_ROWS_CSS = """
:host { display: grid !important; align-items: start; }
:host { grid-template-columns: clamp(92px, 17vw, 240px) minmax(0, 1fr); }
"""


def arrangement_of(said: Mapping[str, str]) -> Arrangement:
    """The arrangement of the rows that the address names."""
    by: Grouping = next((g for g in GROUPINGS if g == said.get("group")), "")
    order: Order = next((o for o in ORDERS if o == said.get("sort")), "name")
    return Arrangement(by, order, frozenset(filter(None, said.get("folded", "").split(","))))


def words_of(how: Arrangement) -> dict[str, str]:
    """An arrangement for the address."""
    order = "" if how.order == "name" else how.order
    return {"group": how.by, "sort": order, "folded": ",".join(sorted(how.folded))}


class TimelinePage(Viewer):
    """The page's parts; follows the server and the reader's window."""

    def __init__(self, page: Page, **params: Any) -> None:
        super().__init__(**params)
        self._page = page
        said, now = page.said, page.now()
        self._span = said.get("span", "24h") if said.get("span", "24h") in SPANS else "24h"
        window = window_of(said)
        self._follows = window is None
        start, stop = window or default_window(now, SPANS[self._span])
        self._picture = Timeline(
            start=start,
            stop=stop,
            page="run?id=",
            zone=page.shell.zone,
            has_labels=False,
            least_rows=LEAST_ROWS,
        )
        self._picture.on_window(self._moved)
        self._picture.on_box(self._boxed)
        self._extent = extent_of(start, stop, now)
        self._strip = Strip(self._picture.figure.x_range, self._extent, zone=page.shell.zone)
        self._table = RunsTable(filters_of(said, start, stop), self._filtered, self._do)
        self._note = Board(visible=False)
        self._arrangement = arrangement_of(said)
        self._seen: Sequence[str] = ()  # every job that was seen since the filter changed: rows do not jump
        self._first_row = 0
        self._box: tuple[datetime, datetime, tuple[str, ...]] | None = None
        self._ahead, self._found = Ahead(), Found()
        self._chosen = chosen_by(self._table.filters)
        self._answer: Answer | None = None
        self._moving = False
        self._is_stale = self._is_fetching = self._is_list_due = False
        self._moves = 0
        style: dict[str, Any] = {"stylesheets": [TIMELINE_CSS], "on_action": self._act}
        self._bar = Board(self._bar_html(), **style)
        self._nothing = Board(markup.nothing(markup.LOADING))
        self._labels = Board(visible=True, **style)
        self._keys = Keys(self._act)
        page.shell.param.watch(self._set_zone, "zone")
        page.adhoc.param.watch(
            lambda event: self._table.allow(event.new in {"run", "write", "admin"}), "role"
        )
        page.keep(self._load, self._show, wants=self._is_about_bars, every_s=5.0)
        self._list = page.keep(self._load_table, self._show_table, wants=self._is_about_list, every_s=15.0)
        self._count = page.keep(self._load_strip, self._show_strip, wants=_is_about_nothing, every_s=60.0)
        pn.state.onload(self._find_clock)

    def __panel__(self) -> Any:
        filters, table = self._table.parts
        surface = {
            "background": "var(--ap-surface)",
            "border": "1px solid var(--ap-line)",
            "border-radius": "10px",
            "padding": "8px 4px 8px 8px",
        }
        rows = pn.Row(self._labels, self._picture, sizing_mode="stretch_width", stylesheets=[_ROWS_CSS])
        strip = pn.Row(Board(visible=True), self._strip, sizing_mode="stretch_width", stylesheets=[_ROWS_CSS])
        picture = pn.Column(self._nothing, rows, strip, sizing_mode="stretch_width", styles=surface)
        return pn.Column(
            self._bar,
            filters,
            picture,
            self._note,
            table,
            self._keys,
            sizing_mode="stretch_width",
            styles={"gap": "12px"},
            stylesheets=[STACK_CSS],
        )

    # ---- From the server ----

    def _is_about_bars(self, event: ServerEvent) -> bool:
        if event.type in {"job", "pause"}:
            self._ahead.forget()
        if event.type in {"run", "late"}:
            self._found.hear(event.facts.get("job_id"))
        return event.type in {"job", "pause"} or concerns(event, *self._picture.window)

    def _is_about_list(self, event: ServerEvent) -> bool:
        filters = self._table.filters
        return concerns(event, filters.since, filters.until)

    def _load(self) -> Answer:
        start, stop = self._picture.window
        wish = Wish(
            start,
            stop,
            int(self._picture.width_px),
            self._table.filters,
            self._arrangement,
            self._seen,
            self._first_row,
        )
        jobs = self._page.catalogue.look().jobs
        labels = {job_id: facts["metadata"]["labels"] for job_id, facts in jobs.items()}
        return load(self._page.client, wish, labels, self._ahead, self._found, self._page.now())

    def _fetch(self) -> None:
        """What is seen has changed: ask at once, and once more if it changes meanwhile.

        A renewal would wait, for it is for what happens by itself.
        """
        self._is_stale = True
        if not self._is_fetching:
            self._is_fetching = True
            pn.state.execute(self._fetch_all)

    async def _fetch_all(self) -> None:
        try:
            while self._is_stale:
                self._is_stale = False
                answer = await self._page.act(self._load)
                if answer is not None:
                    self._page.later(partial(self._show, answer))
        finally:
            self._is_fetching = False
            if self._is_list_due:
                self._is_list_due = False
                self._list()

    def _show(self, answer: Answer) -> None:
        if not self._still_wanted(answer.wish):
            return  # the reader has chosen something else meanwhile, and that is asked for
        self._answer = answer
        start, stop = default_window(answer.now, SPANS[self._span])
        # By steps that can be seen: a window that creeps would be drawn anew for nothing.
        # And never while the reader moves it, which would undo what they do.
        strayed = abs(start - self._picture.window[0]) > (stop - start) / 400
        if self._follows and strayed and not self._moving:
            self._picture.look_at(start, stop)
            self._set_table_window()
        self._seen, self._first_row = answer.seen, answer.first_row
        self._picture.draw(answer.frame, expected=answer.expected, now=answer.now, rows=answer.rows)
        self._labels.content = labels_html(answer.rows)
        words = NOTHING_FITS if self._table.filters.narrows else NOTHING
        self._nothing.content = "" if answer.rows else markup.nothing(words)
        self._bar.content = self._bar_html()

    def _still_wanted(self, wish: Wish) -> bool:
        """Whether the rows that were asked for are those that are chosen now."""
        is_same = chosen_by(wish.filters) == chosen_by(self._table.filters)
        return is_same and wish.how == self._arrangement

    def _load_table(self) -> tuple[pd.DataFrame, int]:
        return runs_table.load(self._page.client, self._table.filters)

    def _show_table(self, answer: tuple[pd.DataFrame, int]) -> None:
        self._table.draw(*answer)

    def _load_strip(self) -> tuple[Extent, pd.DataFrame]:
        extent = self._extent
        return extent, timeline_strip.load(self._page.client, extent)

    def _show_strip(self, answer: tuple[Extent, pd.DataFrame]) -> None:
        self._strip.draw(*answer)

    async def _find_clock(self) -> None:
        """The reader's own zone: the browser tells it when the page is there."""
        info = pn.state.browser_info
        if info is not None:
            info.param.watch(lambda event: self._page.later(partial(self._set_clock, event.new)), "timezone")
            self._page.later(partial(self._set_clock, info.timezone))

    def _set_clock(self, name: str | None) -> None:
        try:
            self._picture.clock = zone(name) if name else None
        except ValueError:  # a zone that is not known here has no shades
            self._picture.clock = None

    def _set_zone(self, event: Any) -> None:
        self._picture.zone = self._strip.zone = event.new

    # ---- From the reader ----

    def _act(self, message: dict[str, Any]) -> None:
        action, value = message["action"], str(message.get("value", ""))
        start, stop = self._picture.window
        how = self._arrangement
        match action:
            case "span" if value in SPANS:
                self._span, self._follows = value, True
                self._go(*default_window(self._page.now(), SPANS[value]))
            case "now":
                self._follows = True
                self._go(*default_window(self._page.now(), SPANS[self._span]))
            case "back" | "ahead":
                step = (stop - start) / 2 * (-1 if action == "back" else 1)
                self._follows = False
                self._go(start + step, stop + step)
            case "closer" | "wider":
                middle, half = start + (stop - start) / 2, (stop - start) / (4 if action == "closer" else 1)
                self._follows = False
                self._go(middle - half, middle + half)
            case "rows" if value.isdigit():
                self._first_row = int(value)
                self._fetch()
            case "group":
                self._arrange(replace(how, by=_one_of(GROUPINGS, value), folded=frozenset()))
            case "sort":
                self._arrange(replace(how, order=_one_of(ORDERS, value)))
            case "fold":
                self._arrange(replace(how, folded=how.folded ^ {value}))
            case "fold-all":
                groups = self._answer.groups if self._answer else frozenset()
                self._arrange(replace(how, folded=frozenset() if how.folded else groups))
            case "unbox":
                self._box = None
                self._boxed_anew()

    def _arrange(self, arrangement: Arrangement) -> None:
        self._arrangement, self._first_row = arrangement, 0
        self._keep_in_address()
        self._fetch()

    def _go(self, start: datetime, stop: datetime) -> None:
        self._picture.look_at(start, stop)
        self._bar.content = self._bar_html()
        self._settled()
        self._rest_soon()

    def _moved(self) -> None:
        """An edge moved: many times a second while somebody drags, so what follows is done once for all."""
        if not self._moving:
            self._moving = True
            pn.state.execute(self._settle)

    async def _settle(self) -> None:
        await asyncio.sleep(COALESCE_S)
        self._page.later(self._settled)
        self._page.later(self._rest_soon)

    def _rest_soon(self) -> None:
        self._moves += 1
        pn.state.execute(partial(self._come_to_rest, self._moves))

    async def _come_to_rest(self, moves: int) -> None:
        await asyncio.sleep(REST_S)
        if moves == self._moves:
            self._page.later(self._rested)

    def _rested(self) -> None:
        """Once nobody moves it any more, the table and the strip follow: the bars come first."""
        self._list()
        self._keep_in_address()
        start, stop = self._picture.window
        if not self._extent.suits(start, stop):
            self._extent = extent_of(start, stop, self._page.now())
            self._count()

    def _settled(self) -> None:
        self._moving = False
        start, stop = self._picture.window
        if not LEAST_SPAN <= stop - start <= MOST_SPAN:
            span = min(max(stop - start, LEAST_SPAN), MOST_SPAN)
            middle = start + (stop - start) / 2
            self._picture.look_at(middle - span / 2, middle + span / 2)
            return
        meant = default_window(self._page.now(), SPANS[self._span])
        slack = (stop - start) / 50 + timedelta(seconds=5)
        if self._follows and (abs(start - meant[0]) > slack or abs(stop - meant[1]) > slack):
            self._follows = False
            self._bar.content = self._bar_html()
        self._set_table_window()
        self._fetch()

    def _boxed(self, start: datetime, stop: datetime, jobs: tuple[str, ...]) -> None:
        self._box = start, stop, jobs
        self._boxed_anew()

    def _boxed_anew(self) -> None:
        self._set_table_window()
        self._bar.content = self._bar_html()
        self._list()

    def _set_table_window(self) -> None:
        """The table has the runs of the box, else those of the window."""
        start, stop, jobs = self._box or (*self._picture.window, ())
        self._table.set_window(start, stop, jobs)

    def _do(self, action: str, picked: list[Picked], mark: str) -> None:
        pn.state.execute(partial(self._carry_out, action, picked, mark))

    async def _carry_out(self, action: str, picked: list[Picked], mark: str) -> None:
        """Do what was asked and confirmed, and tell of each that was refused why."""
        done = await self._page.act(carry_out, self._page.client, action, picked, mark)
        if done is None:
            return

        def told() -> None:
            self._note.param.update(content=done_html(action, done, mark), visible=True)
            self._table.pick_only([d.run_id for d in done if d.refused])
            self._list()

        self._page.later(told)

    def _filtered(self, filters: Filters) -> None:
        if chosen_by(filters) == self._chosen:  # another page of the table
            self._list()
            return
        self._chosen = chosen_by(filters)
        self._seen, self._first_row = (), 0
        self._keep_in_address()
        self._is_list_due = True  # the bars come first: at once both would take longer
        self._fetch()

    def _keep_in_address(self) -> None:
        filters = self._table.filters
        start, stop = (format_time(at, "second") for at in self._picture.window)
        window = {"span": self._span if self._span != "24h" else "", "from": "", "to": ""}
        if not self._follows:
            window = {"span": "", "from": start, "to": stop}
        chosen = {"job": filters.words, "state": filters.state, "late": "1" if filters.late else ""}
        self._page.put_in_address(**window, **chosen, **words_of(self._arrangement))

    def _bar_html(self) -> str:
        first, count = (self._answer.first_row, self._answer.row_count) if self._answer else (0, 0)
        return bar_html(
            window=self._picture.window,
            span=self._span if self._follows else None,
            is_loading=self._answer is None,
            by=self._arrangement.by,
            order=self._arrangement.order,
            has_folded=bool(self._arrangement.folded),
            box=self._box,
            rows=(first, min(count, first + MOST_ROWS), count),
            step=MOST_ROWS,
        )


def chosen_by(filters: Filters) -> tuple[str, str, bool]:
    """What of the filters is about the bars, too."""
    return filters.words, filters.state, filters.late


def _one_of(names: Sequence[Any], value: str) -> Any:
    return value if value in names else names[0]


def concerns(event: ServerEvent, start: datetime | None, stop: datetime | None) -> bool:
    """Whether an event is about a run of which something lies in a window; None: it is open there.

    Who looks at last night is not sent a new picture for each run of today.
    """
    if event.type not in {"run", "late"}:
        return False
    due, ended = (markup.instant(event.facts.get(name)) for name in ("scheduled_at", "finished_at"))
    begins_after = stop is not None and due is not None and due >= stop
    ended_before = start is not None and ended is not None and ended < start
    return not begins_after and not ended_before


def _is_about_nothing(event: ServerEvent) -> bool:
    return False


def window_of(said: Mapping[str, str]) -> tuple[datetime, datetime] | None:
    """The window that the address names, or None."""
    try:
        start, stop = (datetime.fromisoformat(said[name]) for name in ("from", "to"))
    except (KeyError, ValueError):
        return None
    if start.tzinfo is None or stop.tzinfo is None or stop <= start:
        return None
    return start.astimezone(UTC), stop.astimezone(UTC)


def filters_of(said: Mapping[str, str], start: datetime, stop: datetime) -> Filters:
    """The filters that the address names."""
    state = said.get("state", "")
    known = state in GROUPS or state in {s.value for s in State}
    return Filters(
        words=said.get("job", ""),
        state=state if known else "",
        late=said.get("late") == "1",
        since=start,
        until=stop,
    )
