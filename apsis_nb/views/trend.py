"""How something went over the days: the median as a line, up to the 95th percentile as a band."""

from collections.abc import Callable
from datetime import UTC
from pathlib import Path
from typing import Any

import pandas as pd
import panel as pn
from bokeh.models import (
    ColumnDataSource,
    CustomJSTicker,
    CustomJSTickFormatter,
    DataRange1d,
    Grid,
    HoverTool,
    LinearAxis,
    Range1d,
)
from bokeh.plotting import figure as new_figure
from panel.viewable import Viewer

from apsis_nb.core.times import format_iso, format_local

from . import markup
from .board import Board
from .timeline_layout import milliseconds

_AXIS_JS = (Path(__file__).parent / "timeline_axis.js").read_text(encoding="utf-8")
COLOUR = "#2f6df6"
HEIGHT = 170

_TABLE_ROWS = 30  #: of the table that says the same

#: Steps on which people count: of milliseconds and seconds by tens, then of minutes, hours and days.
_STEPS_JS = """
const steps = [60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400]
const span = cb_data.range.end - cb_data.range.start, most = 4
const ten = Math.pow(10, Math.floor(Math.log10(Math.max(span, 1e-9) / most)))
const by_tens = [1, 2, 5, 10].map(n => n * ten).find(s => span / s <= most)
const step = by_tens <= 30 ? by_tens : steps.find(s => s >= by_tens * 0.999 || span / s <= most) ?? by_tens
const found = []
const {start, end} = cb_data.range
for (let t = Math.ceil(start / step) * step; t <= end; t += step) { found.push(t) }
return found
"""
#: Of seconds, as people say them: the words of `markup.duration`.
_SECONDS_JS = """
const s = Math.abs(tick), sign = tick < 0 ? "-" : ""
const short = (x) => (x >= 9.95 || x % 1 < 0.05 ? x.toFixed(0) : x.toFixed(1))
if (s === 0) { return "0" }
if (s < 1) { return `${sign}${short(s * 1000)} ms` }
if (s < 60) { return `${sign}${short(s)} s` }
if (s < 3600) { return `${sign}${short(s / 60)} m` }
return s < 172800 ? `${sign}${short(s / 3600)} h` : `${sign}${short(s / 86400)} d`
"""


class Trend(Viewer):
    """The picture, and below it the same as a table.

    Args:
        title: what it is about.
        zone: in which the days are named: local, utc or a name.
    """

    def __init__(self, title: str, zone: str = "local", **params: Any) -> None:
        super().__init__(**params)
        self._title = title
        self._source = ColumnDataSource(_columns(pd.DataFrame()))
        self._ticker = CustomJSTicker(
            args={"zone": zone},
            major_code=f"{_AXIS_JS}\nreturn timesBetween(cb_data.range.start, cb_data.range.end, 5)",
        )
        self._labels = CustomJSTickFormatter(
            args={"zone": zone}, code=f"{_AXIS_JS}\nreturn labelOf(tick, index, ticks)"
        )
        self.figure = self._make_figure()
        self._words = Board()
        self._table = Board()
        # Of a figure itself that is not to be seen the room would be kept.
        self._picture = pn.Column(
            pn.pane.Bokeh(self.figure, sizing_mode="stretch_width"),
            sizing_mode="stretch_width",
            visible=False,
        )

    def __panel__(self) -> Any:
        return pn.Column(self._words, self._picture, self._table, sizing_mode="stretch_width")

    def say(self, words: str) -> None:
        """Words in the place of the picture, as long as there is none."""
        self._words.content = (
            f'<p class="trend-words"><b>{markup.text(self._title)}</b></p>{markup.nothing(words)}'
        )

    def set_zone(self, zone: str) -> None:
        """Name the days in this zone."""
        self._ticker.args = {"zone": zone}
        self._labels.args = {"zone": zone}

    def draw(self, frame: pd.DataFrame, empty: str) -> None:
        """Draw these periods.

        Args:
            frame: `period`, `runs`, `p50_s`, `p95_s`, `max_s`.
            empty: what is said if there is none.
        """
        self._source.data = _columns(frame)
        self._picture.visible = bool(len(frame))
        if len(frame):
            now = frame.iloc[-1]
            top = float(frame["p95_s"].max()) or 1e-9
            # A little below 0, too, so that what lies on that line is seen whole.
            self.figure.y_range.update(start=-0.03 * top, end=1.08 * top)
            self._words.content = (
                f'<p class="trend-words"><b>{markup.text(self._title)}</b> <span class="muted">lately '
                f"{markup.duration(now['p50_s'])}, 95 % within {markup.duration(now['p95_s'])}</span></p>"
            )
        else:
            self.say(empty)
        self._table.content = table_html(self._title, frame)

    def _make_figure(self) -> Any:
        fig = new_figure(
            height=HEIGHT,
            x_range=DataRange1d(range_padding=0.02),
            y_range=Range1d(start=0, end=1),
            x_axis_type=None,
            y_axis_type=None,
            toolbar_location=None,
            tools="",
            outline_line_color=None,
            min_border_left=56,
            min_border_right=14,
            min_border_top=6,
            sizing_mode="stretch_width",
        )
        below: Any = LinearAxis(major_tick_line_color=None)
        below.ticker, below.formatter = self._ticker, self._labels
        below.axis_line_color = below.minor_tick_line_color = None
        fig.add_layout(below, "below")
        left: Any = LinearAxis(axis_line_color=None)
        left.formatter = CustomJSTickFormatter(code=_SECONDS_JS)
        left.ticker = CustomJSTicker(major_code=_STEPS_JS)
        left.major_tick_line_color = left.minor_tick_line_color = None
        fig.add_layout(left, "left")
        fig.add_layout(Grid(dimension=1, ticker=left.ticker, grid_line_alpha=0.6))
        fig.varea(x="at", y1="p50_s", y2="p95_s", source=self._source, fill_color=COLOUR, fill_alpha=0.2)
        fig.line(x="at", y="p95_s", source=self._source, line_color=COLOUR, line_alpha=0.45)
        fig.line(x="at", y="p50_s", source=self._source, line_color=COLOUR, line_width=2)
        dots = fig.scatter(x="at", y="p50_s", source=self._source, size=5, color=COLOUR)
        tips = [
            ("", "@day"),
            ("median", "@p50"),
            ("95 % within", "@p95"),
            ("most", "@most"),
            ("runs", "@runs"),
        ]
        fig.add_tools(HoverTool(renderers=[dots], tooltips=tips, mode="vline"))
        return fig


def _columns(frame: pd.DataFrame) -> dict[str, Any]:
    if not len(frame):
        names = ("at", "p50_s", "p95_s", "day", "p50", "p95", "most", "runs")
        return {name: [] for name in names}
    return {
        "at": milliseconds(frame["period"]),
        "p50_s": frame["p50_s"].to_numpy(),
        "p95_s": frame["p95_s"].to_numpy(),
        "day": [period_words(at, frame) for at in frame["period"]],
        "p50": [markup.duration(s) for s in frame["p50_s"]],
        "p95": [markup.duration(s) for s in frame["p95_s"]],
        "most": [markup.duration(s) for s in frame["max_s"]],
        "runs": frame["runs"].to_numpy(),
    }


def period_words(at: Any, frame: pd.DataFrame) -> str:
    """A day, or an hour where the frame has hours; periods begin in UTC."""
    is_hourly = bool((frame["period"].dt.hour != 0).any())
    begin = pd.Timestamp(at).to_pydatetime().replace(tzinfo=UTC)
    return format_local(begin, UTC, "minute", with_zone=True) if is_hourly else format_iso(begin.date())


def table_html(title: str, frame: pd.DataFrame) -> str:
    """The newest periods as a table, closed until somebody wants it."""
    if not len(frame):
        return ""
    newest = frame.iloc[::-1].head(_TABLE_ROWS)
    rows = [
        [
            markup.text(period_words(row["period"], frame)),
            f"{int(row['runs']):,}",
            *(markup.duration(row[name]) for name in ("p50_s", "p95_s", "max_s")),
        ]
        for row in markup.records(newest)
    ]
    heads = [("Day", ""), ("Runs", "right"), ("Median", "right"), ("95 % within", "right"), ("Most", "right")]
    table = markup.table(heads, rows, caption=title)
    return f'<details class="as-table"><summary>As a table</summary>{table}</details>'


def load(ask: Callable[..., pd.DataFrame], job_id: str) -> pd.DataFrame:
    """The days of 90 days; of a job that is new, hours."""
    days = ask(since="90d", job=job_id, unit="day")
    return ask(since="3d", job=job_id, unit="hour") if len(days) < 3 else days
