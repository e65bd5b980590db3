"""The runs of one job over time: its last ones, and what its schedules will make."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pandas as pd
import panel as pn
from panel.viewable import Viewer

from apsis_nb.client import Client
from apsis_nb.core.times import format_time

from . import markup
from .ahead import expected_of_one
from .board import Board
from .controls import SURFACE, joined
from .sql_box import PAST_CSS
from .timeline import Timeline
from .timeline_rows import plain_rows, row_of_job

if TYPE_CHECKING:
    from .page import Page

HEIGHT_PX = 104
MOST_BARS = 400  #: single runs; beyond it those that are close together are one bar
LEAST_SPAN, MOST_SPAN = timedelta(hours=1), timedelta(days=90)
REST_S = 0.25  #: after so long without a move other runs are asked for


@dataclass(frozen=True)
class Answer:
    """What one look at the server gave."""

    frame: pd.DataFrame
    expected: pd.DataFrame
    start: datetime
    stop: datetime
    now: datetime


def window_of(runs: Sequence[dict[str, Any]], now: datetime) -> tuple[datetime, datetime]:
    """A window that has the last runs of a job, and a seventh of it ahead.

    Args:
        runs: each with `scheduled_at`; none: a day.
    """
    times = [at for run in runs if (at := markup.instant(run["scheduled_at"])) is not None]
    past = now - min(times) if times else timedelta(days=1)
    past = min(max(past * 1.05, LEAST_SPAN), MOST_SPAN)
    return now - past, now + past / 6


class JobTimeline(Viewer):
    """The picture. The reader may move it; until then it follows the present.

    Args:
        page: whose job it is.
        job_id: the job.
    """

    def __init__(self, page: "Page", job_id: str, **params: Any) -> None:
        super().__init__(**params)
        self._page, self._job_id = page, job_id
        self._runs: Sequence[dict[str, Any]] = ()
        self._follows = True
        self._moves = 0
        start, stop = self._meant = window_of((), page.now())
        self._picture = Timeline(
            start=start,
            stop=stop,
            height=HEIGHT_PX,
            page="run?id=",
            zone=page.shell.zone,
            has_labels=False,
            least_rows=1,
        )
        # It is too low for tools: those stand beside the larger one, to which a link leads.
        self._picture.figure.toolbar_location = None
        # The page is scrolled with the wheel, also where the pointer is over the picture.
        self._picture.figure.toolbar.active_scroll = None
        self._picture.on_window(self._moved)
        self._head = Board(stylesheets=[PAST_CSS])
        picture = pn.Column(self._picture, sizing_mode="stretch_width", styles=SURFACE)
        self._box = joined(self._head, picture)
        self._box.visible = False

    def __panel__(self) -> Any:
        return self._box

    def set_zone(self, zone: str) -> None:
        """The head of the page has another zone."""
        self._picture.zone = zone

    def follow(self, runs: Sequence[dict[str, Any]]) -> None:
        """Its last runs are these now, by which the window goes as long as nobody moves it."""
        self._runs = runs

    def load(self) -> Answer:
        """Ask for what is to be seen; called by a thread."""
        now = self._page.now()
        window = window_of(self._runs, now) if self._follows else self._picture.window
        return load(self._page.client, self._job_id, window, int(self._picture.width_px), now)

    def draw(self, answer: Answer) -> None:
        """Draw what was asked for."""
        if self._follows:
            self._meant = answer.start, answer.stop
            self._picture.look_at(*self._meant)
        rows = plain_rows([row_of_job(self._job_id)])
        self._picture.draw(answer.frame, expected=answer.expected, now=answer.now, rows=rows)
        said = {"job": self._job_id, "from": format_time(answer.start, "second")}
        said["to"] = format_time(answer.stop, "second")
        table = f'<a href="timeline?{markup.text(urlencode(said))}">larger, with a table</a>'
        hint = '<p class="hint">A tap on a run opens it; drag to move.</p>'
        self._head.content = markup.card("Timeline", hint, more=table, kind="upper")
        self._box.visible = bool(len(answer.frame) or len(answer.expected))

    def _moved(self) -> None:
        """An edge moved, as it does many times a second while somebody drags; or the picture is wider now."""
        start, stop = self._picture.window
        if abs(start - self._meant[0]) + abs(stop - self._meant[1]) > (stop - start) / 100:
            self._follows = False
        self._moves += 1
        pn.state.execute(partial(self._come_to_rest, self._moves))

    async def _come_to_rest(self, moves: int) -> None:
        await asyncio.sleep(REST_S)
        if moves == self._moves:
            answer = await self._page.act(self.load)
            if answer is not None:
                self._page.later(partial(self.draw, answer))


def load(client: Client, job_id: str, window: tuple[datetime, datetime], px: int, now: datetime) -> Answer:
    """The runs of a job in a window, and what its schedules will make there."""
    start, stop = window
    pad = (stop - start) / 4  # so that a small step to the side is already drawn
    frame = client.history.timeline(start - pad, stop + pad, job=job_id, px=px, max_bars=MOST_BARS)
    expected = expected_of_one(client, job_id, max(start - pad, now), stop + pad)
    return Answer(frame, expected, start, stop, now)
