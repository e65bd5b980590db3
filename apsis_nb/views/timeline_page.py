"""The timeline page: the runs of a window of time as bars, and below them as a table."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pandas as pd
import panel as pn
from panel.viewable import Viewer

from apsis_nb.client import ServerEvent
from apsis_nb.core.states import State
from apsis_nb.core.times import format_time

from . import markup, runs_table
from .ahead import Ahead
from .board import Board
from .page import Page
from .runs_table import GROUPS, Filters, RunsTable
from .timeline import Timeline, default_window, rows_of

SPANS: dict[str, timedelta] = {
    "1h": timedelta(hours=1),
    "6h": timedelta(hours=6),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
    "90d": timedelta(days=90),
}
MOST_ROWS = 40  #: jobs at once; the others are a page away
MOST_BARS = 1500  #: single runs; beyond it those that are close together are one bar
LEAST_SPAN = timedelta(seconds=10)
MOST_SPAN = timedelta(days=3660)
COALESCE_S = 0.03  #: while somebody drags, so many seconds of changes are one question


@dataclass(frozen=True)
class Answer:
    """What one look at the server gave."""

    frame: pd.DataFrame
    expected: pd.DataFrame
    now: datetime


class TimelinePage(Viewer):
    """The page's parts; follows the server and the reader's window."""

    def __init__(self, page: Page, **params: Any) -> None:
        super().__init__(**params)
        self._page = page
        said = query_of(pn.state.session_args)
        now = page.now()
        self._span = said.get("span", "24h") if said.get("span", "24h") in SPANS else "24h"
        window = window_of(said)
        self._follows = window is None
        start, stop = window or default_window(now, SPANS[self._span])
        self._picture = Timeline(start=start, stop=stop, page="run?id=", zone=page.shell.zone)
        self._picture.on_window(self._moved)
        self._table = RunsTable(filters_of(said, start, stop), self._filtered)
        self._rows: list[str] = []  # every job that was seen since the filter changed: rows do not jump
        self._first_row = 0
        self._ahead = Ahead()
        self._answer: Answer | None = None
        self._bar = Board(self._bar_html(), on_action=self._act)
        self._moving = False
        page.shell.param.watch(lambda event: setattr(self._picture, "zone", event.new), "zone")
        self._look = page.keep(self._load, self._show, wants=self._is_about_bars, every_s=5.0)
        self._list = page.keep(self._load_table, self._show_table, wants=_is_about_runs, every_s=15.0)

    def __panel__(self) -> Any:
        filters, table = self._table.parts
        surface = {
            "background": "var(--ap-surface)",
            "border": "1px solid var(--ap-line)",
            "border-radius": "10px",
            "padding": "8px 4px 4px 8px",
        }
        picture = pn.Column(self._picture, sizing_mode="stretch_width", styles=surface)
        return pn.Column(
            self._bar, filters, picture, table, sizing_mode="stretch_width", styles={"gap": "12px"}
        )

    # ---- From the server ----

    def _is_about_bars(self, event: ServerEvent) -> bool:
        if event.type == "job":
            self._ahead.forget()
        return event.type in {"run", "late", "job"}

    def _load(self) -> Answer:
        client, now = self._page.client, self._page.now()
        start, stop = self._picture.window
        pad = (stop - start) / 4  # so that a small step to the side is already drawn
        px = self._picture.width_px
        frame = client.history.timeline(since=start - pad, until=stop + pad, px=int(px), max_bars=MOST_BARS)
        expected = self._ahead.ask(client, start - pad, stop + pad, now)
        return Answer(frame, expected, now)

    def _show(self, answer: Answer) -> None:
        self._answer = answer
        start, stop = default_window(answer.now, SPANS[self._span])
        # By steps that can be seen: a window that creeps would be drawn anew for nothing.
        # And never while the reader moves it, which would undo what they do.
        strayed = abs(start - self._picture.window[0]) > (stop - start) / 400
        if self._follows and strayed and not self._moving:
            self._picture.look_at(start, stop)
            self._table.set_window(start, stop)
        self._draw()

    def _draw(self) -> None:
        if self._answer is None:
            return
        frame, expected = self._filter(self._answer.frame), self._answer.expected
        if self._table.filters.state or self._table.filters.late:
            expected = expected.iloc[:0]
        expected = _with_words(expected, self._table.filters.words)
        self._rows = rows_of(pd.DataFrame({"job_id": self._rows}), frame, expected)
        self._first_row = min(self._first_row, max(0, len(self._rows) - 1) // MOST_ROWS * MOST_ROWS)
        jobs = self._rows[self._first_row : self._first_row + MOST_ROWS]
        self._picture.draw(frame, expected=expected, now=self._answer.now, jobs=jobs)
        self._bar.content = self._bar_html()

    def _filter(self, frame: pd.DataFrame) -> pd.DataFrame:
        filters = self._table.filters
        if filters.state:
            states = GROUPS[filters.state][1] if filters.state in GROUPS else (filters.state,)
            frame = frame[frame["state"].astype(str).isin(states)]
        if filters.late:
            frame = frame[frame["late"].astype(bool)]
        return _with_words(frame, filters.words)

    def _load_table(self) -> tuple[pd.DataFrame, int]:
        return runs_table.load(self._page.client, self._table.filters)

    def _show_table(self, answer: tuple[pd.DataFrame, int]) -> None:
        self._table.draw(*answer)

    # ---- From the reader ----

    def _act(self, message: dict[str, Any]) -> None:
        action, value = message["action"], str(message.get("value", ""))
        start, stop = self._picture.window
        if action == "span" and value in SPANS:
            self._span, self._follows = value, True
            self._go(*default_window(self._page.now(), SPANS[value]))
        elif action == "now":
            self._follows = True
            self._go(*default_window(self._page.now(), SPANS[self._span]))
        elif action in {"back", "ahead"}:
            step = (stop - start) / 2 * (-1 if action == "back" else 1)
            self._follows = False
            self._go(start + step, stop + step)
        elif action in {"closer", "wider"}:
            middle, half = start + (stop - start) / 2, (stop - start) / (4 if action == "closer" else 1)
            self._follows = False
            self._go(middle - half, middle + half)
        elif action == "rows" and value.isdigit():
            self._first_row = int(value)
            self._draw()

    def _go(self, start: datetime, stop: datetime) -> None:
        self._picture.look_at(start, stop)
        self._bar.content = self._bar_html()
        self._settled()

    def _moved(self) -> None:
        """An edge moved: many times a second while somebody drags, so what follows is done once for all."""
        if not self._moving:
            self._moving = True
            pn.state.execute(self._settle)

    async def _settle(self) -> None:
        await asyncio.sleep(COALESCE_S)
        self._page.later(self._settled)

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
        self._table.set_window(start, stop)
        self._keep_in_address()
        self._look()
        self._list()

    def _filtered(self, filters: Filters) -> None:
        self._rows, self._first_row = [], 0
        self._draw()
        self._keep_in_address()
        self._list()

    def _keep_in_address(self) -> None:
        location = pn.state.location
        if location is None:
            return
        filters = self._table.filters
        said: dict[str, str] = {}
        if self._follows:
            said |= {"span": self._span} if self._span != "24h" else {}
        else:
            start, stop = self._picture.window
            said |= {"from": format_time(start, "second"), "to": format_time(stop, "second")}
        said |= {"job": filters.words} if filters.words else {}
        said |= {"state": filters.state} if filters.state else {}
        said |= {"late": "1"} if filters.late else {}
        location.search = f"?{urlencode(said)}" if said else ""

    # ---- HTML ----

    def _bar_html(self) -> str:
        def button(
            action: str, words: str, name: str, *, value: str = "", pressed: bool | None = None
        ) -> str:
            state = "" if pressed is None else f' aria-pressed="{str(pressed).lower()}"'
            told = f'data-action="{action}" data-value="{value}" aria-label="{name}" title="{name}"{state}'
            return f"<button {told}>{words}</button>"

        spans = "".join(
            button("span", name, f"The last {name}", value=name, pressed=self._follows and name == self._span)
            for name in SPANS
        )
        start, stop = self._picture.window
        loading = "" if self._answer else '<span class="nothing" role="status">Loading …</span>'
        steps = button("back", "&lsaquo;", "Earlier") + button(
            "now", "Now", "To the present, and follow it", pressed=self._follows
        )
        steps += button("ahead", "&rsaquo;", "Later")
        zoom = button("closer", "+", "Zoom in") + button("wider", "&minus;", "Zoom out")
        return (
            f'<div class="bar"><div class="group" role="group" aria-label="Window">{spans}</div>'
            f'<div class="group" role="group" aria-label="Move">{steps}</div>'
            f'<div class="group" role="group" aria-label="Zoom">{zoom}</div>'
            f'<span class="window">{markup.when(start)} &ndash; {markup.when(stop)}</span>{loading}'
            f"{self._rows_html()}</div>"
        )

    def _rows_html(self) -> str:
        count = len(self._rows)
        if count <= MOST_ROWS:
            return ""
        first, last = self._first_row, min(count, self._first_row + MOST_ROWS)

        def button(to: int, words: str) -> str:
            disabled = "" if 0 <= to < count else " disabled"
            return f'<button data-action="rows" data-value="{max(to, 0)}"{disabled}>{words}</button>'

        return (
            f'<span class="push muted num">jobs {first + 1}&ndash;{last} of {count}</span>'
            '<span class="group">'
            f"{button(first - MOST_ROWS, '&lsaquo;')}{button(first + MOST_ROWS, '&rsaquo;')}</span>"
        )


def _is_about_runs(event: ServerEvent) -> bool:
    return event.type in {"run", "late"}


def _with_words(frame: pd.DataFrame, words: str) -> pd.DataFrame:
    """Rows whose job's id has each word. Labels and args are the table's: the bars do not carry them."""
    for word in words.lower().split():
        frame = frame[frame["job_id"].astype(str).str.lower().str.contains(word, regex=False)]
    return frame


def query_of(args: Mapping[str, list[bytes]]) -> dict[str, str]:
    """The page's address after the question mark."""
    return {name: values[0].decode(errors="replace") for name, values in args.items() if values}


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
