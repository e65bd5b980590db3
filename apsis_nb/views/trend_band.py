"""Something in seconds over time: its median, the band up to the 95th percentile, and what lies outside."""

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import panel as pn
from bokeh.models import ColumnDataSource, CustomJS, HoverTool, TapTool
from bokeh.models.annotations.geometry import Span
from panel.viewable import Viewer

from apsis_nb.core.states import State
from apsis_nb.core.times import format_local

from . import markup, palette
from .axes import TimePlot, calm
from .counts_plot import period_words
from .ranges import period_after

COLOUR = "#2f6df6"
_STYLE = "font:13px/1.5 Roboto,system-ui,sans-serif;padding:2px 4px"
_HOVER = f"""
<div style="{_STYLE}"><div style="font-weight:600">@period</div>
  <div>half up to @p50</div><div>95 % up to @p95</div><div>at most @most</div>
  <div>@runs{{0,0}} runs</div></div>"""
_HOVER_RUN = (
    f'<div style="{_STYLE}"><div style="font-weight:600">@run_id</div><div>@at</div><div>@says</div></div>'
)
_HOVER_MISSED = f'<div style="{_STYLE}"><div style="font-weight:600">@period</div><div>@says</div></div>'
_TAP = """
const n = cb_data.source.selected.indices[0]
if (n === undefined) { return }
const run = cb_data.source.data.run_id[n]
cb_data.source.selected.indices = []
window.location.href = "run?id=" + encodeURIComponent(run)
"""
_BAND = ("x", "p50_s", "p95_s", "period", "p50", "p95", "most", "runs")
_POINT = ("x", "y", "run_id", "at", "says")
_MISSED = ("x", "y", "period", "says")


class TrendBand(Viewer):
    """The picture; it is given frames and fetches nothing."""

    def __init__(self, *, name: str, zone: str, **params: Any) -> None:
        super().__init__(**params)
        self._plot = TimePlot(height=240, zone=zone, in_seconds=True)
        self._band, self._points, self._missed = (ColumnDataSource() for _ in range(3))
        self._empty()
        figure = self._plot.figure
        figure.varea("x", "p50_s", "p95_s", source=self._band, fill_color=COLOUR, fill_alpha=0.18)
        figure.line("x", "p95_s", source=self._band, line_color=COLOUR, line_alpha=0.6, line_dash="dotted")
        figure.line("x", "p50_s", source=self._band, line_color=COLOUR, line_width=2, name=f"{name}-median")
        dots = figure.scatter("x", "p50_s", source=self._band, size=6, fill_color=COLOUR, line_color=None)
        runs = figure.scatter(
            "x", "y", source=self._points, size=7, fill_color=None, line_color=palette.LATE, line_width=1.5,
            name=f"{name}-outliers",
        )  # fmt: skip
        missed = figure.scatter(
            "x", "y", source=self._missed, marker="x", size=10,
            line_color=palette.LOOKS[State.FAILURE].colour, line_width=2, name=f"{name}-missed",
        )  # fmt: skip
        calm(figure)
        self._budget = Span(location=0, dimension="width", line_color=palette.LATE, line_width=1.5)
        self._budget.update(line_dash="dashed", visible=False)
        figure.add_layout(self._budget)
        for told, glyph in ((_HOVER, dots), (_HOVER_RUN, runs), (_HOVER_MISSED, missed)):
            figure.add_tools(HoverTool(tooltips=told, renderers=[glyph], attachment="vertical"))
        figure.add_tools(TapTool(renderers=[runs], callback=CustomJS(code=_TAP)))

    def __panel__(self) -> Any:
        return pn.pane.Bokeh(self._plot.figure, sizing_mode="stretch_width")

    def set_zone(self, zone: str) -> None:
        """The head of the page has another zone."""
        self._plot.set_zone(zone)

    def draw(
        self,
        frame: pd.DataFrame,
        *,
        unit: str,
        zone: ZoneInfo,
        since: datetime,
        until: datetime,
        points: pd.DataFrame | None = None,
        missed: pd.DataFrame | None = None,
        budget_s: float | None = None,
    ) -> None:
        """Draw it.

        Args:
            frame: period, runs, p50_s, p95_s, max_s.
            unit, zone: of the periods.
            since, until: what is to be seen.
            points: run_id, scheduled_at, value_s, says: runs that stand for themselves.
            missed: period, missed: how many times were missed.
            budget_s: a line at so many seconds.
        """
        points = (
            pd.DataFrame(columns=["run_id", "scheduled_at", "value_s", "says"]) if points is None else points
        )
        missed = pd.DataFrame(columns=["period", "missed"]) if missed is None else missed
        tops = [*frame["p95_s"].astype(float), *points["value_s"].astype(float), budget_s or 0.0]
        top = float(np.nanmax(tops)) if tops else 0.0
        last = markup.instant(frame["period"].max()) if len(frame) else None
        end = until if last is None else max(until, period_after(last, unit, zone))
        self._plot.set_ranges(since.timestamp() * 1000, end.timestamp() * 1000, top or 1.0, unit)
        self._band.data = _columns(_BAND, band(frame, unit, zone))
        self._points.data = _columns(_POINT, [_point(row, zone) for row in markup.records(points)])
        self._missed.data = _columns(
            _MISSED, [_mark(row, unit, zone, top or 1.0) for row in markup.records(missed)]
        )
        self._budget.update(location=budget_s or 0.0, visible=budget_s is not None)

    def _empty(self) -> None:
        for source, names in ((self._band, _BAND), (self._points, _POINT), (self._missed, _MISSED)):
            source.data = {name: [] for name in names}


def _columns(names: tuple[str, ...], rows: list[tuple[Any, ...]]) -> Any:
    return {name: [row[n] for row in rows] for n, name in enumerate(names)}


def _middle(at: datetime, unit: str, zone: ZoneInfo) -> float:
    """The middle of a period, in milliseconds."""
    return (at.timestamp() + period_after(at, unit, zone).timestamp()) * 500


def band(frame: pd.DataFrame, unit: str, zone: ZoneInfo) -> list[tuple[Any, ...]]:
    """The points of the band; where a period has no runs the band is broken."""
    rows: list[tuple[Any, ...]] = []
    before: datetime | None = None
    nan = float("nan")
    for row in markup.records(frame):
        at = markup.instant(row["period"])
        if at is None:
            continue
        if before is not None and at - period_after(before, unit, zone) > timedelta(0):
            rows.append((_middle(at, unit, zone) - 1, nan, nan, "", "", "", "", 0))
        before = at
        told = [markup.duration(row[name]) for name in ("p50_s", "p95_s", "max_s")]
        rows.append(
            (
                _middle(at, unit, zone), float(row["p50_s"]), float(row["p95_s"]),
                period_words(at, unit, zone), *told, int(row["runs"]),
            )
        )  # fmt: skip
    return rows


def _point(row: dict[str, Any], zone: ZoneInfo) -> tuple[Any, ...]:
    at = markup.instant(row["scheduled_at"])
    x, due = (0.0, "") if at is None else (at.timestamp() * 1000, f"due {format_local(at, zone, 'second')}")
    return (x, float(row["value_s"]), f"r{row['run_id']}", due, str(row["says"]))


def _mark(row: dict[str, Any], unit: str, zone: ZoneInfo, top: float) -> tuple[Any, ...]:
    at = markup.instant(row["period"])
    count = int(row["missed"])
    says = f"{count:,} times missed" if count != 1 else "one time missed"
    x = 0.0 if at is None else _middle(at, unit, zone)
    return (x, top * 0.03, "" if at is None else period_words(at, unit, zone), says)
