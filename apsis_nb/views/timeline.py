"""Runs as bars over time: the picture. Where everything goes, `timeline_layout` says."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import panel as pn
import param
from bokeh.core.property.descriptors import UnsetValueError
from bokeh.events import SelectionGeometry
from bokeh.models import ColumnDataSource
from panel.viewable import Viewer

from . import timeline_figure as parts
from .clock_changes import clock_changes
from .timeline_layout import KINDS, bars, cut, epoch_ms, same
from .timeline_rows import Row, plain_rows, rows_of

ROW_PX = 26  #: height of a row
TOP_PX, BOTTOM_PX = 6, 46  #: of the picture, above and below the rows
LEAST_ROWS = 3
CUT_EACH_S = 120  #: after so many seconds all bars are sent anew

#: Called with what a box encloses: its start and end, and the jobs of its rows.
OnBox = Callable[[datetime, datetime, tuple[str, ...]], None]

_FRAME_COLUMNS = [
    "job_id", "run_id", "scheduled_at", "started_at", "finished_at", "state", "late", "late_s", "runs",
]  # fmt: skip


class Timeline(Viewer):
    """The picture. It is given frames and fetches nothing; `on_window` tells where the reader looks.

    Args:
        start, stop: the window; aware.
        height, width: pixels; by default as high as the rows need and as wide as the place allows.
        dark: colours for a dark or a light background; None: as the page's theme has them.
        has_labels: whether the rows have their names beside them; else somebody else writes them.
        least_rows: of the picture, though it may have fewer jobs.
    """

    zone = param.String(default="local", doc="The zone of the axis: local, utc or a name.")
    page = param.String(default="", doc="Address of a run's page up to its id; empty: a tap opens nothing.")
    clock = param.Parameter(default=None, doc="The zone whose changes of the clocks are shaded; None: none.")

    def __init__(
        self,
        *,
        start: datetime,
        stop: datetime,
        height: int | None = None,
        width: int | None = None,
        dark: bool | None = None,
        has_labels: bool = True,
        least_rows: int = LEAST_ROWS,
        **params: Any,
    ) -> None:
        super().__init__(**params)
        self._height, self._width, self._has_labels = height, width, has_labels
        self._least_rows = least_rows
        self._rows: list[Row] = []
        self._is_moving_itself = False
        self._cut = epoch_ms(stop)  # what had ended by then is among `bars`, the rest among `fresh`
        self._shown: object = None
        self._drawn_px = 1200.0
        self._sources = {kind: ColumnDataSource() for kind in ("fresh", *KINDS)}
        self.draw(pd.DataFrame({name: [] for name in _FRAME_COLUMNS}), start=start, stop=stop, now=stop)
        self.figure = parts.new_figure(start, stop, width=width)
        self._axes = parts.add_axes(self.figure, self.zone, has_labels=has_labels)
        self._now = parts.add_now(self.figure, stop)
        self._changes = parts.add_changes(self.figure)
        told = parts.add_glyphs(self.figure, self._sources)
        parts.add_tools(self.figure, told, self.page)
        self._label_rows()
        self._shade_changes()
        if dark is not None:
            parts.paint(self.figure, dark=dark)
        self.param.watch(self._set_zone, ["zone", "clock"])

    def __panel__(self) -> Any:
        return pn.pane.Bokeh(self.figure, sizing_mode="stretch_width")

    @property
    def window(self) -> tuple[datetime, datetime]:
        """The times at the left and right edge."""
        x = self.figure.x_range
        return tuple(datetime.fromtimestamp(v / 1000, UTC) for v in (x.start, x.end))  # type: ignore[return-value]

    @property
    def width_px(self) -> float:
        """About the width of the bars' area in pixels.

        What was drawn for about this width will do: with each other one the shortest bars would end
        elsewhere, and all would be sent anew.
        """
        try:
            width = self.figure.inner_width
        except UnsetValueError:  # no browser has laid it out
            width = (self._width or 1300) - 160
        is_near = abs((width or 0) - self._drawn_px) <= self._drawn_px / 4
        return self._drawn_px if is_near else max(float(width or 0), 100.0)

    @property
    def ms_per_px(self) -> float:
        """Milliseconds that a pixel stands for."""
        return float(self.figure.x_range.end - self.figure.x_range.start) / self.width_px

    def on_window(self, callback: Callable[[], None]) -> None:
        """Call `callback` whenever the reader moves an edge of the window: often, while somebody drags."""

        def moved(attr: str, old: Any, new: Any) -> None:
            if not self._is_moving_itself:
                callback()

        for name in ("start", "end"):
            self.figure.x_range.on_change(name, moved)

        def widened(attr: str, old: Any, new: Any) -> None:
            if new and self.width_px != self._drawn_px:
                callback()

        self.figure.on_change("inner_width", widened)

    def on_box(self, callback: OnBox) -> None:
        """Call `callback` when the reader has drawn a box."""

        def drawn(event: Any) -> None:
            box = event.geometry
            if not event.final or box.get("type") != "rect":
                return
            start, stop = (datetime.fromtimestamp(box[key] / 1000, UTC) for key in ("x0", "x1"))
            top, bottom = sorted((box["y0"], box["y1"]))
            rows = [row for n, row in enumerate(self._rows) if n < bottom and n + 1 > top]
            callback(start, stop, tuple(dict.fromkeys(job for row in rows for job in row.jobs)))

        self.figure.on_event(SelectionGeometry, drawn)

    def look_at(self, start: datetime, stop: datetime) -> None:
        """Move the window; `on_window` tells nobody of it."""
        self._is_moving_itself = True
        try:
            self.figure.x_range.update(start=epoch_ms(start), end=epoch_ms(stop))
        finally:
            self._is_moving_itself = False

    def draw(
        self,
        frame: "pd.DataFrame",
        *,
        now: datetime,
        expected: "pd.DataFrame | None" = None,
        jobs: Sequence[str] | None = None,
        rows: Sequence[Row] | None = None,
        start: datetime | None = None,
        stop: datetime | None = None,
    ) -> None:
        """Draw these runs.

        Args:
            frame, expected: as for `bars`.
            now: where the Now line stands.
            jobs: a row for each of these, from above; by default for the jobs of both frames, by path.
            rows: the rows, from above, instead.
            start, stop: the window, for a picture that has no figure yet.
        """
        if rows is None:
            rows = plain_rows(rows_of(frame, expected) if jobs is None else jobs)
        self._rows = list(rows)
        ms_per_px = (epoch_ms(stop) - epoch_ms(start)) / 1200 if start and stop else self.ms_per_px
        self._drawn_px = self.width_px if hasattr(self, "figure") else self._drawn_px
        layout = bars(frame, rows=self._rows, now=now, ms_per_px=ms_per_px, expected=expected)
        # Most bars never change again: they are sent once, the few others each time. What ended less than two
        # pixels ago may yet become one bar with what comes.
        if self._is_to_be_cut(now):
            self._cut = epoch_ms(now)
        layout["bars"], layout["fresh"] = cut(layout["bars"], self._cut - 2 * ms_per_px)
        for kind, columns in layout.items():
            if not same(dict(self._sources[kind].data), columns):
                self._sources[kind].data = columns
        if hasattr(self, "figure"):
            self._label_rows()
            self._shade_changes()
            self.move_now(now)

    def _is_to_be_cut(self, now: datetime) -> bool:
        """Whether all bars are sent anew: the window or the rows have changed, or much has happened."""
        if not hasattr(self, "figure"):
            return True
        shown = (self.window, tuple(self._rows))
        is_new, self._shown = shown != self._shown, shown
        return is_new or epoch_ms(now) - self._cut > CUT_EACH_S * 1000

    def move_now(self, now: datetime) -> None:
        """Set the Now line."""
        self._now.line.location = epoch_ms(now)
        self._now.future.left = epoch_ms(now)

    def _label_rows(self) -> None:
        count = max(self._least_rows, len(self._rows))
        if self._has_labels:
            self._axes.rows.ticker.ticks = [n + 0.5 for n in range(len(self._rows))]
            self._axes.rows.major_label_overrides = {n + 0.5: row.title for n, row in enumerate(self._rows)}
        self._axes.lines.ticker.ticks = list(range(count + 1))
        self.figure.y_range.update(start=count, end=0)
        self.figure.height = self._height or count * ROW_PX + TOP_PX + BOTTOM_PX

    def _shade_changes(self) -> None:
        start, stop = self.window
        is_shaded = isinstance(self.clock, ZoneInfo) and self.zone == "local"
        found = clock_changes(start, stop, self.clock) if is_shaded else []
        for n, shade in enumerate(self._changes):
            if n >= len(found):
                shade.box.visible = shade.label.visible = False
                continue
            left, right = (epoch_ms(at) for at in found[n].span)
            shade.box.update(left=left, right=right, visible=True)
            shade.label.update(x=left, text=found[n].words, visible=True)

    def _set_zone(self, *events: Any) -> None:
        for part in (self._axes.ticker, self._axes.formatter):
            part.args = {**part.args, "zone": self.zone}
        self._shade_changes()


def timeline_figure(
    frame: "pd.DataFrame",
    *,
    start: datetime,
    stop: datetime,
    now: datetime,
    expected: "pd.DataFrame | None" = None,
    dark: bool = False,
    height: int | None = None,
    width: int | None = None,
) -> Any:
    """A Bokeh figure of runs over time, for a notebook or a file.

    Args:
        frame: `client.history.timeline(...)` or `client.runs(...)`.
        start, stop: the window; aware.
        now: where the Now line stands; aware.
        expected: `client.expected(...)`: drawn as ghosts.
        dark: colours for a dark background.
        height, width: pixels; by default as high as the rows need and as wide as the place allows.
    """
    picture = Timeline(start=start, stop=stop, height=height, width=width, dark=dark)
    picture.draw(frame, now=now, expected=expected)
    return picture.figure


def default_window(now: datetime, span: timedelta = timedelta(hours=24)) -> tuple[datetime, datetime]:
    """The window that a page opens with: mostly the past, and a seventh of it ahead."""
    return now - span * 6 / 7, now + span / 7
