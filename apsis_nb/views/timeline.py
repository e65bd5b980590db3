"""Runs as bars over time: a row a job. The layout is a pure function of frames; the picture follows it.

A bar is thin from the scheduled time to the start and solid from the start to the end, outlined if late. Runs
of one job that overlap share its row, each in a lane. What the schedules expect stands as ghosts right of the
Now line, what was skipped as a cross. Runs too close to be told apart come as one bar with a count.
"""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import panel as pn
import param
from bokeh.core.property.descriptors import UnsetValueError
from bokeh.models import (
    ColumnDataSource,
    CustomJS,
    CustomJSHover,
    CustomJSTicker,
    CustomJSTickFormatter,
    FixedTicker,
    Grid,
    HoverTool,
    LinearAxis,
    PanTool,
    Range1d,
    TapTool,
    WheelZoomTool,
)
from bokeh.models.annotations.geometry import BoxAnnotation, Span
from bokeh.plotting import figure as new_figure
from panel.viewable import Viewer

from apsis_nb.core.states import State

from . import palette
from .ahead import nothing_expected

ROW_PX = 26  #: height of a row
LEAST_ROWS = 3  #: of a picture, though it may have fewer jobs
MOST_LANES = 4  #: runs of one job that overlap more than this share the last lane
CUT_EACH_S = 120  #: after so many seconds all bars are sent anew
LEAST_PX = 3.0  #: no bar is narrower
AD_HOC = "ad hoc"  #: the row of all ad-hoc commands
_AD_HOC_ID = re.compile(r"adhoc-[0-9a-f]+")
_AXIS_PX = 52
_AXIS_JS = (Path(__file__).parent / "timeline_axis.js").read_text(encoding="utf-8")

#: Each has a source of its own: Bokeh would make the pattern anew for each bar, which takes a millisecond.
HATCHES = tuple(sorted({look.hatch for look in palette.LOOKS.values() if look.hatch.strip()}))

Columns = dict[str, Any]

_CELL = '<td style="opacity:.7;padding-right:12px">'
_HOVER = f"""
<div style="font:13px/1.5 Roboto,system-ui,sans-serif;min-width:190px;padding:2px 4px">
  <div style="font-weight:600">@job_id</div>
  <div><span style="color:@colour">&#9632;</span> @state{{custom}}</div>
  <table style="border-spacing:0;margin-top:4px">
    <tr>{_CELL}run</td><td>@run_id</td></tr>
    <tr>{_CELL}stands for</td><td>@runs{{custom}}</td></tr>
    <tr>{_CELL}due</td><td>@scheduled{{custom}}</td></tr>
    <tr>{_CELL}started</td><td>@started{{custom}}</td></tr>
    <tr>{_CELL}ended</td><td>@finished{{custom}}</td></tr>
    <tr>{_CELL}took</td><td>@took_s{{custom}}</td></tr>
    <tr>{_CELL}late</td><td>@late_s{{custom}}</td></tr>
  </table>
</div>"""
_HOVER_TIME = """
if (value > 1e14) { return "\\u2013" }
const iso = new Date(value).toISOString()
return window.apsis ? window.apsis.show(iso, "full") : iso.slice(0, 19).replace("T", " ") + " UTC"
"""
_HOVER_DURATION = """
if (value > 1e14) { return "\\u2013" }
const s = Math.abs(value), two = (n) => String(Math.floor(n)).padStart(2, "0")
const pair = (n, unit, m, lesser) => `${Math.floor(n)} ${unit} ${two(m)} ${lesser}`
const words = s < .9995 ? `${(s * 1000).toFixed(0)} ms` : s < 9.95 ? `${s.toFixed(1)} s`
  : s < 59.5 ? `${s.toFixed(0)} s` : s < 3600 ? pair(s / 60, "m", s % 60, "s")
  : s < 86400 ? pair(s / 3600, "h", s % 3600 / 60, "m") : pair(s / 86400, "d", s % 86400 / 3600, "h")
return value < 0 || Object.is(value, -0) ? `no (${words})` : words
"""
_HOVER_RUNS = (
    'return value === 1 ? "one run" : `${value.toLocaleString("en")} runs; the worst state is shown`'
)
_HOVER_STATE = "return value < 0 ? 'expected' : states[value]"
# A bar of one run opens its page; a merged one is zoomed into.
_TAP = """
const n = cb_data.source.selected.indices[0]
if (n === undefined) { return }
const data = cb_data.source.data
cb_data.source.selected.indices = []
if (data.runs && data.runs[n] > 1) {
  const pad = Math.max((data.right[n] - data.left[n]) * .15, 1000)
  x_range.setv({start: data.left[n] - pad, end: data.right[n] + pad})
} else if (page && data.run_id[n]) {
  window.location.href = page + encodeURIComponent(data.run_id[n])
}
"""


def milliseconds(times: "pd.Series[Any]") -> "np.ndarray[Any, np.dtype[np.float64]]":
    """Times as milliseconds since 1970, as Bokeh has them; NaN for none. Naive times are UTC."""
    series = pd.to_datetime(times, utc=True)
    values = series.dt.tz_localize(None).to_numpy(dtype="datetime64[us]")
    ms = values.astype("int64") / 1000.0
    ms[np.isnat(values)] = np.nan
    return ms


def epoch_ms(at: datetime) -> float:
    return at.timestamp() * 1000


def lanes(left: Sequence[float], right: Sequence[float]) -> tuple[list[int], list[int]]:
    """The lane of each bar of one row, and of how many, so that none covers another.

    Only bars that really overlap, directly or through others, share the height of the row.

    Args:
        left, right: the bars' ends, in any order; beyond `MOST_LANES` the last lane is shared.
    """
    lane, count = [0] * len(left), [1] * len(left)
    group: list[int] = []
    ends: list[float] = []  # where each lane of the group is free again
    for n in sorted(range(len(left)), key=lambda i: (left[i], right[i])):
        if not ends or left[n] >= max(ends):
            group, ends = [], []
        free = next((k for k, end in enumerate(ends) if end <= left[n]), None)
        if free is None and len(ends) < MOST_LANES:
            ends.append(right[n])
            free = len(ends) - 1
        elif free is None:
            free = MOST_LANES - 1
        ends[free] = max(ends[free], right[n])
        lane[n] = free
        group.append(n)
        for member in group:
            count[member] = len(ends)
    return lane, count


def row_of_job(job_id: str) -> str:
    """The row in which a job's runs stand: its own, or that of all ad-hoc commands."""
    return AD_HOC if _AD_HOC_ID.fullmatch(job_id) else job_id


def rows_of(*frames: "pd.DataFrame | None") -> list[str]:
    """The rows of all frames: the jobs by path, then the ad-hoc commands."""
    found: set[str] = set()
    for frame in frames:
        if frame is not None and len(frame):
            found |= {row_of_job(job_id) for job_id in frame["job_id"].astype(str).unique()}
    return sorted(found, key=lambda row: (row == AD_HOC, row))


def bars(
    frame: "pd.DataFrame",
    *,
    jobs: Sequence[str],
    now: datetime,
    ms_per_px: float,
    expected: "pd.DataFrame | None" = None,
) -> dict[str, Columns]:
    """Where everything goes.

    Args:
        frame: the columns of `frames.TIMELINE`, or of `frames.RUNS`.
        jobs: the rows, from above, as `rows_of` gives them; runs of others are left out.
        now: aware; what has not ended reaches to here.
        ms_per_px: milliseconds that one pixel stands for.
        expected: what the schedules will make: `job_id`, `scheduled_at`.

    Returns:
        Columns for each source: `bars` (solid), `waits` (thin), `marks` (skipped, and errors that never
        started), `ghosts` (expected), and one for each of `HATCHES`, which lie over bars. Row n lies between
        y = n and y = n + 1; times are milliseconds since 1970.
    """
    row_of = {row: n for n, row in enumerate(jobs)}
    frame = frame[_rows(frame).isin(jobs)].reset_index(drop=True)
    facts = _facts(frame, row_of, epoch_ms(now), ms_per_px)
    typical = facts[(facts["runs"] == 1) & facts["finished"].notna()].groupby("job_id")["length"].median()
    usual = {str(job): float(ms) for job, ms in typical.items()}
    layout = {
        "bars": _solid(facts),
        **{hatch: _hatched(facts, hatch) for hatch in HATCHES},
        "waits": _waits(facts, epoch_ms(now), ms_per_px),
        "marks": _marks(facts),
        "ghosts": _ghosts(expected, row_of, usual, epoch_ms(now), ms_per_px),
    }
    return {kind: {k: _sendable(k, v) for k, v in columns.items()} for kind, columns in layout.items()}


def _sendable(name: str, values: Any) -> Any:
    """A column as Bokeh takes it."""
    if name in _TEXTS:
        return list(values)  # an empty array of objects would be taken for numbers, and be no colours
    numbers = np.asarray(values, dtype=float)
    return np.nan_to_num(numbers, nan=NEVER) if name in _MAY_BE_NONE else numbers


def _rows(frame: "pd.DataFrame") -> "pd.Series[Any]":
    return frame["job_id"].astype(str).map(row_of_job)


def _facts(frame: "pd.DataFrame", row_of: dict[str, int], now: float, ms_per_px: float) -> "pd.DataFrame":
    """One row a bar, with its ends, lane and words."""
    state = frame["state"].astype(str)
    facts = pd.DataFrame(
        {
            "run_id": frame["run_id"].astype(str),
            "job_id": frame["job_id"].astype(str),
            "state": state,
            "runs": frame["runs"].astype(int) if "runs" in frame else 1,
            "scheduled": milliseconds(frame["scheduled_at"]),
            "started": milliseconds(frame["started_at"]),
            "finished": milliseconds(frame["finished_at"]),
            "is_late": frame["late"].fillna(False).astype(bool) if len(frame) else pd.Series(dtype=bool),
            "late_s": frame["late_s"].astype(float),
        }
    )
    facts["row"] = _rows(facts).map(row_of).astype(float)
    facts["has_bar"] = facts["started"].notna()
    end = facts["finished"].where(facts["finished"].notna(), np.maximum(now, facts["started"]))
    facts["length"] = end - facts["started"]
    facts["left"] = facts["started"]
    facts["right"] = np.maximum(end, facts["left"] + LEAST_PX * ms_per_px)
    facts["lane"], facts["lanes"] = 0, 1
    for _, part in facts[facts["has_bar"]].groupby("row"):
        # Runs that nearly touch are not pushed apart: the lane is for those that really overlap.
        real_end = np.maximum(end[part.index], part["left"]).tolist()
        lane, count = lanes(part["left"].tolist(), real_end)
        facts.loc[part.index, "lane"] = lane
        facts.loc[part.index, "lanes"] = count
    height = 0.68 / facts["lanes"]
    facts["top"] = facts["row"] + 0.16 + facts["lane"] * height
    facts["bottom"] = facts["top"] + height * np.where(facts["lanes"] > 1, 0.9, 1.0)
    facts["code"] = [_STATES.index(s) for s in state]
    facts["took_s"] = facts["length"] / 1000
    # A run that was not late has its lateness below zero: one column says both.
    facts["late_s"] = np.where(facts["is_late"], facts["late_s"], -facts["late_s"])
    facts["colour"] = [palette.LOOKS[State(s)].colour for s in state]
    return facts


_STATES = [state.value for state in State]
_BAD = [State.FAILURE.value, State.ERROR.value]
NEVER = 1e15  #: where there is no time or duration: a tooltip would say NaN, whatever its formatter does
_MAY_BE_NONE = {"started", "finished", "took_s", "late_s"}
_TEXTS = {"run_id", "job_id", "colour", "edge", "marker"}
_SHARED = ["run_id", "job_id", "runs", "scheduled", "started", "finished", "took_s", "late_s", "colour"]


def _columns(facts: "pd.DataFrame", *names: str) -> Columns:
    return {name: facts[name].to_numpy() for name in (*_SHARED, *names)} | {"state": facts["code"].to_numpy()}


def _solid(facts: "pd.DataFrame") -> Columns:
    part = facts[facts["has_bar"]]
    # Failures are drawn last: where bars are dense, one must not vanish below its neighbours.
    part = part.sort_values("state", key=lambda states: states.isin(_BAD), kind="stable")
    columns = _columns(part, "left", "right", "top", "bottom")
    columns["edge"] = np.where(part["is_late"], palette.LATE, part["colour"])
    columns["edge_width"] = np.where(part["is_late"], 2.0, 0.5)
    return columns


def _hatched(facts: "pd.DataFrame", hatch: str) -> Columns:
    """Where a hatch lies over bars."""
    states = [state.value for state, look in palette.LOOKS.items() if look.hatch == hatch]
    part = facts[facts["has_bar"] & facts["state"].isin(states)]
    return {name: part[name].to_numpy() for name in ("left", "right", "top", "bottom")}


def _waits(facts: "pd.DataFrame", now: float, ms_per_px: float) -> Columns:
    waits_now = facts["state"].isin([State.WAITING.value, State.STARTING.value])
    end = facts["started"].where(facts["has_bar"], np.where(waits_now, now, np.nan))
    part = facts.assign(left=facts["scheduled"], right=end)
    part = part[(part["runs"] == 1) & (part["right"] - part["left"] > ms_per_px)]
    middle = (part["top"] + part["bottom"]) / 2
    thin = np.where(part["has_bar"], 0.07, 0.11)
    part = part.assign(top=middle - thin, bottom=middle + thin)
    columns = _columns(part, "left", "right", "top", "bottom")
    columns["colour"] = np.where(part["is_late"], palette.LATE, palette.LOOKS[State.WAITING].colour)
    return columns


def _marks(facts: "pd.DataFrame") -> Columns:
    part = facts[~facts["has_bar"] & facts["state"].isin(_MARKERS)]
    columns = _columns(part)
    columns["x"] = part["scheduled"].to_numpy()
    columns["y"] = (part["row"] + 0.5).to_numpy()
    columns["marker"] = [_MARKERS[s] for s in part["state"]]
    return columns


#: Of runs that have no bar.
_MARKERS = {State.SCHEDULED.value: "circle", State.SKIPPED.value: "x", State.ERROR.value: "triangle"}


def _ghosts(
    expected: "pd.DataFrame | None",
    row_of: dict[str, int],
    typical: dict[str, float],
    now: float,
    ms_per_px: float,
) -> Columns:
    """Expected runs, as wide as the job's runs typically are; those that touch are one ghost with a count."""
    if expected is None or not len(expected):
        expected = nothing_expected()
    expected = expected[expected["job_id"].isin(list(row_of))]
    ghosts = pd.DataFrame(
        {"job_id": expected["job_id"].astype(str), "left": milliseconds(expected["scheduled_at"])}
    )
    width = ghosts["job_id"].map(typical).astype(float).fillna(0.0).clip(lower=4 * ms_per_px)
    ghosts["right"] = ghosts["left"] + width
    ghosts["is_strip"] = False
    if "until_at" in expected:
        until = milliseconds(expected["until_at"])
        ghosts["is_strip"] = ~np.isnan(until)
        ghosts["left"] = np.where(ghosts["is_strip"], np.maximum(ghosts["left"], now), ghosts["left"])
        ghosts["right"] = np.where(ghosts["is_strip"], until, ghosts["right"])
    ghosts = ghosts.sort_values(["job_id", "left"], ignore_index=True)
    reached = ghosts.groupby("job_id")["right"].cummax().groupby(ghosts["job_id"]).shift()
    group = (~(ghosts["left"] < reached + 2 * ms_per_px)).cumsum()
    merged = ghosts.groupby(group, sort=False).agg(
        job_id=("job_id", "first"),
        left=("left", "min"),
        right=("right", "max"),
        runs=("left", "size"),
        is_strip=("is_strip", "any"),
    )
    row = merged["job_id"].map(row_of).astype(float).to_numpy()
    none = [float("nan")] * len(merged)
    return {
        "run_id": [""] * len(merged),
        "job_id": merged["job_id"].tolist(),
        "runs": merged["runs"] + merged["is_strip"],  # a tap on a strip zooms, too
        "scheduled": merged["left"],
        "started": none,
        "finished": none,
        "state": [-1.0] * len(merged),
        "took_s": none,
        "late_s": none,
        "colour": [palette.GHOST] * len(merged),
        "left": merged["left"],
        "right": merged["right"],
        "top": row + 0.24,
        "bottom": row + 0.76,
    }


def _cut(columns: Columns, at: float) -> tuple[Columns, Columns]:
    """The bars that had ended at a time, and the others."""
    past = np.asarray(columns["finished"]) <= at
    halves = []
    for which in (past, ~past):
        chosen = np.flatnonzero(which)
        halves.append({k: [v[n] for n in chosen] if k in _TEXTS else v[chosen] for k, v in columns.items()})
    return halves[0], halves[1]


def _same(one: Columns, other: Columns) -> bool:
    """Whether two sets of columns say the same."""
    return one.keys() == other.keys() and all(
        one[k] == v if k in _TEXTS else np.array_equal(one[k], v, equal_nan=True) for k, v in other.items()
    )


class Timeline(Viewer):
    """The picture. It is given frames and fetches nothing; `on_window` tells where the reader looks."""

    zone = param.String(default="local", regex="^(local|utc)$", doc="The zone of the axis.")
    page = param.String(default="", doc="Address of a run's page up to its id; empty: a tap opens nothing.")

    def __init__(
        self,
        *,
        start: datetime,
        stop: datetime,
        height: int | None = None,
        width: int | None = None,
        dark: bool | None = None,
        **params: Any,
    ) -> None:
        super().__init__(**params)
        self._height, self._width = height, width
        self._now = stop
        self._jobs: list[str] = []
        self._is_moving_itself = False
        self._cut = epoch_ms(stop)  # what had ended by then is among `bars`, the rest among `fresh`
        self._shown: object = None
        self._drawn_px = 1200.0
        self._sources = {
            kind: ColumnDataSource() for kind in ("bars", "fresh", *HATCHES, "waits", "marks", "ghosts")
        }
        self.draw(pd.DataFrame({name: [] for name in _FRAME_COLUMNS}), start=start, stop=stop, now=stop)
        self.figure = self._make_figure(start, stop)
        if dark is not None:
            _paint(self.figure, dark=dark)
        self.param.watch(self._set_zone, "zone")

    def __panel__(self) -> Any:
        return pn.pane.Bokeh(self.figure, sizing_mode="stretch_width")

    @property
    def window(self) -> tuple[datetime, datetime]:
        """The times at the left and right edge."""
        x = self.figure.x_range
        return tuple(datetime.fromtimestamp(v / 1000, UTC) for v in (x.start, x.end))  # type: ignore[return-value]

    @property
    def width_px(self) -> float:
        """Width of the bars' area in pixels; before a browser has laid it out, about what it will be."""
        try:
            width = self.figure.inner_width
        except UnsetValueError:
            width = (self._width or 1300) - 160
        return max(float(width or 0), 100.0)

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
            # What was drawn for about this width will do.
            if new and abs(new - self._drawn_px) > self._drawn_px / 4:
                callback()

        self.figure.on_change("inner_width", widened)

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
        start: datetime | None = None,
        stop: datetime | None = None,
    ) -> None:
        """Draw these runs.

        Args:
            frame, expected: as for `bars`.
            now: where the Now line stands.
            jobs: the rows, from above; by default the jobs of both frames, by path.
            start, stop: the window, for a picture that has no figure yet.
        """
        self._jobs = rows_of(frame, expected) if jobs is None else list(jobs)
        self._now = now
        ms_per_px = (epoch_ms(stop) - epoch_ms(start)) / 1200 if start and stop else self.ms_per_px
        self._drawn_px = self.width_px if hasattr(self, "figure") else self._drawn_px
        layout = bars(frame, jobs=self._jobs, now=now, ms_per_px=ms_per_px, expected=expected)
        # Most bars never change again: they are sent once, the few others each time.
        if self._is_to_be_cut(now):
            self._cut = epoch_ms(now)
        layout["bars"], layout["fresh"] = _cut(layout["bars"], self._cut)
        for kind, columns in layout.items():
            if not _same(dict(self._sources[kind].data), columns):
                self._sources[kind].data = columns
        if hasattr(self, "figure"):
            self._label_rows()
            self.move_now(now)

    def _is_to_be_cut(self, now: datetime) -> bool:
        """Whether all bars are sent anew: the window or the rows have changed, or much has happened."""
        if not hasattr(self, "figure"):
            return True
        shown = (self.window, tuple(self._jobs))
        is_new, self._shown = shown != self._shown, shown
        return is_new or epoch_ms(now) - self._cut > CUT_EACH_S * 1000

    def move_now(self, now: datetime) -> None:
        """Set the Now line."""
        self._now_line.location = epoch_ms(now)
        self._future.left = epoch_ms(now)

    def _make_figure(self, start: datetime, stop: datetime) -> Any:
        fig = new_figure(
            x_range=Range1d(start=epoch_ms(start), end=epoch_ms(stop)),
            y_range=Range1d(start=1, end=0),
            x_axis_type=None,
            y_axis_type=None,
            height=200,
            width=self._width,
            sizing_mode="stretch_width" if self._width is None else "fixed",
            toolbar_location=None,
            tools="",
            outline_line_color=None,
            min_border_right=14,
            min_border_top=6,
            output_backend="canvas",
        )
        self._axes(fig)
        self._draw(fig)
        self._tools(fig)
        self.figure = fig
        self._label_rows()
        return fig

    def _axes(self, fig: Any) -> None:
        args = {"zone": self.zone}
        self._ticker = CustomJSTicker(
            args=args,
            major_code=f"{_AXIS_JS}\nreturn timesBetween(cb_data.range.start, cb_data.range.end, 9)",
        )
        self._formatter = CustomJSTickFormatter(
            args=args, code=f"{_AXIS_JS}\nreturn labelOf(tick, index, ticks)"
        )
        below: Any = LinearAxis(major_tick_line_color=None)
        below.ticker, below.formatter = self._ticker, self._formatter
        below.axis_line_color = below.minor_tick_line_color = None
        fig.add_layout(below, "below")
        fig.add_layout(Grid(dimension=0, ticker=self._ticker, grid_line_alpha=0.7))
        self._rows: Any = LinearAxis(axis_line_color=None, major_tick_line_color=None)
        self._rows.major_label_standoff = 10
        fig.add_layout(self._rows, "left")
        self._row_lines = Grid(dimension=1, ticker=FixedTicker(), grid_line_alpha=0.7)
        fig.add_layout(self._row_lines)

    def _draw(self, fig: Any) -> None:
        self._future = BoxAnnotation(
            left=epoch_ms(self._now),
            fill_color=palette.GHOST,
            fill_alpha=0.06,
            line_color=None,
            level="underlay",
        )
        fig.add_layout(self._future)
        fig.quad(
            source=self._sources["ghosts"],
            fill_color=palette.GHOST,
            fill_alpha=0.16,
            line_color=palette.GHOST,
            line_alpha=0.7,
            border_radius=2,
            name="ghosts",
        )
        fig.quad(
            source=self._sources["waits"], fill_color="colour", fill_alpha=0.75, line_color=None, name="waits"
        )
        for kind in ("bars", "fresh"):
            fig.quad(
                source=self._sources[kind],
                fill_color="colour",
                line_color="edge",
                line_width="edge_width",
                border_radius=2,
                name=kind,
            )
        for hatch in HATCHES:
            fig.quad(
                source=self._sources[hatch],
                fill_color=None,
                line_color=None,
                hatch_pattern=hatch,
                hatch_color="#ffffff",
                hatch_alpha=0.45,
                hatch_scale=7,
                hatch_weight=1.4,
                name=hatch,
            )
        fig.scatter(
            "x",
            "y",
            source=self._sources["marks"],
            marker="marker",
            size=9,
            line_color="colour",
            line_width=2,
            fill_color="colour",
            name="marks",
        )
        self._now_line = Span(
            location=epoch_ms(self._now),
            dimension="height",
            line_color="#2f6df6",
            line_width=1.5,
            level="overlay",
        )
        fig.add_layout(self._now_line)

    def _tools(self, fig: Any) -> None:
        # A glyph keeps its look when another one is tapped: the page that opens is the answer.
        for glyph in fig.renderers:
            glyph.nonselection_glyph = None
            glyph.selection_glyph = None
        told = [glyph for glyph in fig.renderers if glyph.name not in HATCHES]
        time, length = CustomJSHover(code=_HOVER_TIME), CustomJSHover(code=_HOVER_DURATION)
        hover = HoverTool(
            tooltips=_HOVER,
            formatters={
                **dict.fromkeys(["@scheduled", "@started", "@finished"], time),
                **dict.fromkeys(["@took_s", "@late_s"], length),
                "@runs": CustomJSHover(code=_HOVER_RUNS),
                "@state": CustomJSHover(args={"states": _STATES}, code=_HOVER_STATE),
            },
            renderers=told,
            point_policy="follow_mouse",
            attachment="vertical",
        )
        args = {"x_range": fig.x_range, "page": self.page}
        wheel = WheelZoomTool(dimensions="width", maintain_focus=False)
        pan = PanTool(dimensions="width")
        fig.add_tools(hover, pan, wheel, TapTool(renderers=told, callback=CustomJS(args=args, code=_TAP)))
        fig.toolbar.active_scroll = wheel
        fig.toolbar.active_drag = pan

    def _label_rows(self) -> None:
        count = max(LEAST_ROWS, len(self._jobs))
        self._rows.ticker = FixedTicker(ticks=[n + 0.5 for n in range(len(self._jobs))])
        self._rows.major_label_overrides = {n + 0.5: job for n, job in enumerate(self._jobs)}
        self._row_lines.ticker = FixedTicker(ticks=list(range(count + 1)))
        self.figure.y_range.update(start=count, end=0)
        self.figure.height = self._height or count * ROW_PX + _AXIS_PX

    def _set_zone(self, event: Any) -> None:
        self._ticker.args = {"zone": self.zone}
        self._formatter.args = {"zone": self.zone}


_FRAME_COLUMNS = [
    "job_id", "run_id", "scheduled_at", "started_at", "finished_at", "state", "late", "late_s", "runs",
]  # fmt: skip


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


def _paint(fig: Any, *, dark: bool) -> None:
    """Colours of a figure that stands alone; on a page the theme of the page does it."""
    paper, ink, line = ("#17191e", "#9ba3b1", "#2b2f37") if dark else ("#ffffff", "#59606d", "#e2e5ea")
    fig.background_fill_color = fig.border_fill_color = paper
    for axis in (*fig.below, *fig.left):
        axis.major_label_text_color = ink
        axis.major_label_text_font = "system-ui, sans-serif"
        axis.major_label_text_font_size = "12px"
    for grid in fig.center:
        if hasattr(grid, "grid_line_color"):
            grid.grid_line_color = line


def default_window(now: datetime, span: timedelta = timedelta(hours=24)) -> tuple[datetime, datetime]:
    """The window that a page opens with: mostly the past, and a seventh of it ahead."""
    return now - span * 6 / 7, now + span / 7
