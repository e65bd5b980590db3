"""The strip below the timeline: how many runs there were over a longer time, and in it a window to drag."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pandas as pd
import panel as pn
import param
from bokeh.models import ColumnDataSource, Range1d, RangeTool
from bokeh.plotting import figure
from panel.viewable import Viewer

from apsis_nb.client import Client

from .timeline_figure import time_axis
from .timeline_layout import epoch_ms, milliseconds

HEIGHT_PX = 96
SHARE = 12  #: the strip is so many times as long as the window
LEAST, MOST = timedelta(days=2), timedelta(days=3 * 366)
LONG = timedelta(days=400)  #: beyond it only four times
AHEAD = 0.12  #: share of the strip that is future, where the window is at the present

_UNITS = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(days=7)}
MOST_COLUMNS = 300


@dataclass(frozen=True)
class Extent:
    """What the strip shows."""

    start: datetime
    stop: datetime

    @property
    def unit(self) -> str:
        """The period of a column."""
        span = self.stop - self.start
        return next((unit for unit, of in _UNITS.items() if span / of <= MOST_COLUMNS), "week")

    def suits(self, start: datetime, stop: datetime) -> bool:
        """Whether a window is well placed in it: inside, and neither too narrow nor too wide."""
        span, whole = stop - start, self.stop - self.start
        edge = whole / 50
        is_inside = start >= self.start + edge and stop <= self.stop - edge
        return is_inside and (span <= whole / 3 or whole >= MOST) and (span >= whole / 60 or whole <= LEAST)


def extent_of(start: datetime, stop: datetime, now: datetime) -> Extent:
    """A good extent for a window."""
    span = stop - start
    whole = min(max(span * SHARE, LEAST), max(span * 4, LONG), MOST)
    whole = max(whole, span * 1.25)
    end = max(stop + whole / 25, min(start + span / 2 + whole / 2, now + whole * AHEAD))
    return Extent(end - whole, end)


class Strip(Viewer):
    """The strip; dragging in it moves `x_range`, and it follows that."""

    zone = param.String(default="local", doc="The zone of the axis: local, utc or a name.")

    def __init__(self, x_range: Any, extent: Extent, **params: Any) -> None:
        super().__init__(**params)
        self.extent = extent
        self._source = ColumnDataSource({"left": [], "right": [], "runs": [], "failed": []})
        fig: Any = figure(
            x_range=Range1d(start=epoch_ms(extent.start), end=epoch_ms(extent.stop)),
            y_range=Range1d(start=0, end=1),
            x_axis_type=None,
            y_axis_type=None,
            height=HEIGHT_PX,
            sizing_mode="stretch_width",
            toolbar_location=None,
            tools="",
            outline_line_color=None,
            min_border_left=4,
            min_border_right=38,  # as the timeline has it, whose tools stand there
            min_border_top=4,
            output_backend="canvas",
            name="strip",
        )
        self._ticks = time_axis(fig, self.zone)
        ends = {"left": "left", "right": "right", "bottom": 0, "source": self._source, "line_color": None}
        fig.quad(top="runs", fill_color="#7f93b8", fill_alpha=0.55, **ends)
        fig.quad(top="failed", fill_color="#bf3b26", **ends)
        tool = RangeTool(x_range=x_range, start_gesture="none")
        tool.overlay.fill_color = "#2f6df6"
        tool.overlay.fill_alpha = 0.16
        tool.overlay.line_color = "#2f6df6"
        fig.add_tools(tool)
        self.figure = fig
        self.param.watch(self._set_zone, "zone")

    def __panel__(self) -> Any:
        return pn.pane.Bokeh(self.figure, sizing_mode="stretch_width")

    def draw(self, extent: Extent, counts: pd.DataFrame) -> None:
        """Show these counts.

        Args:
            extent: that they are of.
            counts: `client.history.calendar(...)`, by the extent's unit.
        """
        left = milliseconds(counts["period"])
        width = _UNITS[extent.unit] / timedelta(milliseconds=1)
        runs, failed = (counts[name].to_numpy(dtype=float) for name in ("runs", "failed"))
        most = max(1.0, float(runs.max()) if len(runs) else 0.0)
        self._source.data = {"left": left, "right": left + width, "runs": runs, "failed": failed}
        self.figure.y_range.end = most * 1.08
        if extent != self.extent:
            self.extent = extent
            self.figure.x_range.update(start=epoch_ms(extent.start), end=epoch_ms(extent.stop))

    def _set_zone(self, event: Any) -> None:
        for part in self._ticks:
            part.args = {**part.args, "zone": self.zone}


def load(client: Client, extent: Extent) -> pd.DataFrame:
    """The counts of an extent, for `Strip.draw`."""
    return client.history.calendar(since=extent.start, until=extent.stop, unit=extent.unit)
