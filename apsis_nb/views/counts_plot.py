"""How runs ended, as one stacked bar a period. The table below it on the page says the same."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import panel as pn
from bokeh.events import SelectionGeometry, Tap
from bokeh.models import BoxSelectTool, ColumnDataSource, HoverTool
from panel.viewable import Viewer

from apsis_nb.core.states import State
from apsis_nb.core.times import format_clock, format_day, format_month, zone_name

from . import markup, palette
from .axes import TimePlot, calm
from .ranges import period_after
from .timeline_figure import paint

#: From below: what went well lies at the bottom, what did not on top.
ORDER = (
    State.SUCCESS, State.SKIPPED, State.SCHEDULED, State.WAITING, State.STARTING, State.RUNNING,
    State.STOPPING, State.FAILURE, State.ERROR,
)  # fmt: skip
_HOVER = """
<div style="font:13px/1.5 Roboto,system-ui,sans-serif;padding:2px 4px">
  <div style="font-weight:600">@period</div>
  <div><span style="color:@colour">&#9632;</span> @runs{0,0} @state of @all{0,0}</div>
</div>"""


def stacked(
    counts: pd.DataFrame, unit: str, zone: ZoneInfo
) -> tuple[dict[State, dict[str, list[Any]]], list[datetime], float]:
    """Where the bars go.

    Args:
        counts: period, state, runs.
        unit: of a period.
        zone: of its days.

    Returns:
        The columns of each state's bars; the periods, by time; how high the highest is.
    """
    bars: dict[State, dict[str, list[Any]]] = {state: {name: [] for name in _COLUMNS} for state in ORDER}
    by_period: dict[datetime, dict[State, int]] = {}
    for row in markup.records(counts):
        at = markup.instant(row["period"])
        if at is not None:
            by_period.setdefault(at, {})[markup.state_of(row["state"])] = int(row["runs"])
    highest = 0
    for at, runs in by_period.items():
        whole, below = sum(runs.values()), 0
        highest = max(highest, whole)
        left, right = at.timestamp() * 1000, period_after(at, unit, zone).timestamp() * 1000
        gap = (right - left) * 0.06
        for state in ORDER:
            count = runs.get(state, 0)
            if count:
                cells = (
                    left + gap, right - gap, below, below + count, period_words(at, unit, zone),
                    state.value, count, whole, palette.LOOKS[state].colour,
                )  # fmt: skip
                for name, value in zip(_COLUMNS, cells, strict=True):
                    bars[state][name].append(value)
            below += count
    return bars, sorted(by_period), float(highest)


_COLUMNS = ("left", "right", "bottom", "top", "period", "state", "runs", "all", "colour")


def period_words(at: datetime, unit: str, zone: ZoneInfo) -> str:
    """A period by its name."""
    local = at.astimezone(zone)
    day = format_day(local, with_year=True)
    match unit:
        case "hour":
            return f"{day}, {format_clock(local)} ({zone_name(at, zone)})"
        case "week":
            return f"week from {day}"
        case "month":
            return format_month(local)
        case _:
            return day


class CountsPlot(Viewer):
    """The bars. `on_time` is told a time that was tapped, or the two ends of a box; None: nobody is told."""

    def __init__(
        self, on_time: Callable[[datetime, datetime | None], None] | None, zone: str, **params: Any
    ) -> None:
        super().__init__(**params)
        self._on_time = on_time
        self._plot = TimePlot(height=230, zone=zone, in_seconds=False)
        self._sources = {state: ColumnDataSource() for state in ORDER}
        figure = self._plot.figure
        for state in ORDER:
            look = palette.LOOKS[state]
            self._sources[state].data = {name: [] for name in _COLUMNS}
            figure.quad(
                source=self._sources[state],
                fill_color=look.colour,
                line_color=None,
                hatch_pattern=look.hatch,
                hatch_color="#ffffff",
                hatch_alpha=0.45,
                hatch_scale=7,
                hatch_weight=1.4,
                name=f"ended-{state.value}",
            )
        calm(figure)
        figure.add_tools(HoverTool(tooltips=_HOVER, point_policy="follow_mouse", attachment="vertical"))
        if on_time is not None:
            box = BoxSelectTool(dimensions="width")
            figure.add_tools(box)
            figure.toolbar.active_drag = box
            figure.on_event(Tap, self._tapped)
            figure.on_event(SelectionGeometry, self._boxed)

    def __panel__(self) -> Any:
        return pn.pane.Bokeh(self._plot.figure, sizing_mode="stretch_width")

    @property
    def figure(self) -> Any:
        """The picture itself."""
        return self._plot.figure

    def set_zone(self, zone: str) -> None:
        """The head of the page has another zone."""
        self._plot.set_zone(zone)

    def draw(self, counts: pd.DataFrame, unit: str, zone: ZoneInfo, since: datetime, until: datetime) -> None:
        """Draw these counts."""
        bars, periods, highest = stacked(counts, unit, zone)
        # The last period is seen as a whole, though it is not over.
        end = max([until, *(period_after(at, unit, zone) for at in periods[-1:])])
        self._plot.set_ranges(since.timestamp() * 1000, end.timestamp() * 1000, highest, unit)
        columns: Any  # Bokeh's hints want lists of whatever
        for state, columns in bars.items():
            if columns != dict(self._sources[state].data):
                self._sources[state].data = columns

    def _tapped(self, event: Any) -> None:
        if event.x is not None and self._on_time is not None:
            self._on_time(_time_of(event.x), None)

    def _boxed(self, event: Any) -> None:
        geometry = event.geometry
        if event.final and geometry.get("type") == "rect" and self._on_time is not None:
            self._on_time(_time_of(geometry["x0"]), _time_of(geometry["x1"]))


def counts_figure(
    counts: pd.DataFrame, *, unit: str, zone: ZoneInfo, since: datetime, until: datetime, dark: bool = False
) -> Any:
    """A Bokeh figure of how runs ended, for a notebook or a file.

    Args:
        counts: `client.history.counts(...)`.
        unit: of a period: hour, day, week or month.
        zone: of the periods.
        since, until: what is to be seen; aware.
        dark: colours for a dark background.
    """
    plot = CountsPlot(None, zone.key)
    plot.draw(counts, unit, zone, since, until)
    paint(plot.figure, dark=dark)
    return plot.figure


def _time_of(ms: float) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)
