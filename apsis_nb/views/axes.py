"""Axes that the plots of the past share: the reader's time below, durations at the left."""

from pathlib import Path
from typing import Any

from bokeh.models import (
    AdaptiveTicker,
    BasicTicker,
    CustomJSTicker,
    CustomJSTickFormatter,
    Grid,
    LinearAxis,
    Range1d,
)
from bokeh.plotting import figure as new_figure

_AXIS_JS = (Path(__file__).parent / "timeline_axis.js").read_text(encoding="utf-8")
_AS_MANY_AS_FIT_JS = """
let width = 1000
try { width = plot.inner_width } catch { /* it has not been laid out yet */ }
const most = Math.max(2, Math.min(9, Math.floor(width / 72)))
const {start, end} = cb_data.range, found = timesBetween(start, end, most)
// Below bars of days a day is named in its middle; what is further apart than weeks is no day.
const step = found.length > 1 ? found[1] - found[0] : 0
return in_days && step > 20 * H && step < 20 * D ? found.map(t => t + 12 * H).filter(t => t < end) : found
"""
_DURATION_JS = """
const s = Math.abs(tick), short = (n) => String(+n.toFixed(1))
return s === 0 ? "0" : s < 1 ? `${short(s * 1000)} ms` : s < 60 ? `${short(s)} s`
  : s < 3600 ? `${short(s / 60)} m` : s < 86400 ? `${short(s / 3600)} h` : `${short(s / 86400)} d`
"""


class TimePlot:
    """A figure whose axis below is the reader's time; it draws nothing by itself.

    Args:
        height: pixels.
        zone: as the head of the page has it; all but UTC is the browser's own.
        in_seconds: the axis at the left tells durations; else numbers.
    """

    def __init__(self, *, height: int, zone: str, in_seconds: bool) -> None:
        self._in_seconds = in_seconds
        self._zone, self._unit = zone, ""
        self.figure: Any = new_figure(
            x_range=Range1d(start=0, end=1),
            y_range=Range1d(start=0, end=1),
            x_axis_type=None,
            y_axis_type=None,
            height=height,
            sizing_mode="stretch_width",
            toolbar_location=None,
            tools="",
            outline_line_color=None,
            min_border_right=26,
            min_border_top=8,
            output_backend="canvas",
        )
        self._ticker = CustomJSTicker(
            args=self._tick_args(),
            major_code=f"{_AXIS_JS}\n{_AS_MANY_AS_FIT_JS}",
        )
        self._formatter = CustomJSTickFormatter(
            args={"zone": zone}, code=f"{_AXIS_JS}\nreturn labelOf(tick, index, ticks)"
        )
        below = _axis()
        below.ticker, below.formatter = self._ticker, self._formatter
        self.figure.add_layout(below, "below")
        self._left = _axis()
        if in_seconds:
            self._left.formatter = CustomJSTickFormatter(code=_DURATION_JS)
        self.figure.add_layout(self._left, "left")
        self._lines = Grid(dimension=1, grid_line_alpha=0.7)
        self.figure.add_layout(self._lines)

    def set_zone(self, zone: str) -> None:
        """The head of the page has another zone."""
        self._zone = zone
        self._ticker.args = self._tick_args()
        self._formatter.args = {"zone": zone}

    def _tick_args(self) -> dict[str, Any]:
        return {"zone": self._zone, "plot": self.figure, "in_days": self._unit == "day"}

    def set_ranges(self, start_ms: float, end_ms: float, top: float, unit: str) -> None:
        """What is to be seen: from 0 up to a little above `top`; marks at 0 are seen whole.

        Args:
            unit: of the periods: hour, day, week or month.
        """
        if unit != self._unit:
            self._unit = unit
            self._ticker.args = self._tick_args()
        self.figure.x_range.update(start=start_ms, end=end_ms)
        start = -0.025 * top if self._in_seconds else 0
        self.figure.y_range.update(start=start, end=max(top * 1.06, 1e-9))
        ticker = (
            AdaptiveTicker(base=60, mantissas=[1, 2, 5, 10, 15, 20, 30], desired_num_ticks=5)
            if self._in_seconds and top >= 60
            else BasicTicker(desired_num_ticks=5, min_interval=0 if self._in_seconds else 1)
        )
        self._left.ticker = self._lines.ticker = ticker


def _axis() -> Any:
    return LinearAxis(axis_line_color=None, major_tick_line_color=None, minor_tick_line_color=None)


def calm(figure: Any) -> None:
    """A glyph keeps its look when another one is chosen: what changes then is the rest of the page."""
    for glyph in figure.renderers:
        glyph.nonselection_glyph = None
        glyph.selection_glyph = None
