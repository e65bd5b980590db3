"""The parts of the timeline's figure: axes, glyphs, the present, changes of the clocks, tools."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from bokeh.models import (
    BoxSelectTool,
    ColumnDataSource,
    CustomJSTicker,
    CustomJSTickFormatter,
    FixedTicker,
    Grid,
    LinearAxis,
    PanTool,
    Quad,
    Range1d,
    SaveTool,
    Scatter,
    WheelZoomTool,
)
from bokeh.models.annotations.geometry import BoxAnnotation, Span
from bokeh.models.annotations.labels import Label
from bokeh.plotting import figure

from . import palette
from .timeline_hover import hover_tool, tap_tool
from .timeline_layout import HATCHES, epoch_ms

MOST_TICKS, TICK_PX = 9, 84  #: and how much room the words of one need
MOST_CHANGES = 4  #: of the clocks, that are shaded at once

_AXIS_JS = (Path(__file__).parent / "timeline_axis.js").read_text(encoding="utf-8")
# A figure that is not laid out yet has no width, and throws when it is asked for it.
_ROOM_JS = f"""
let room = {MOST_TICKS}
try {{ room = Math.max(2, Math.floor(fig.inner_width / {TICK_PX})) }} catch {{ /* it is asked again */ }}
"""

#: The lines between its groups are nearly white, also in the dark; one at the edge of an active tool seems to
#: to belong to the picture.
_TOOLBAR_CSS = """
.bk-divider { visibility: hidden; }
.bk-active { border-color: transparent !important; border-radius: 6px; background-color: #2f6df62e; }
"""


@dataclass(frozen=True)
class Axes:
    """What changes with the rows and the zone."""

    ticker: CustomJSTicker
    formatter: CustomJSTickFormatter
    rows: Any  #: the axis with the rows' names
    lines: Any  #: between the rows


@dataclass(frozen=True)
class Present:
    """What stands at the present."""

    line: Span
    future: BoxAnnotation


@dataclass(frozen=True)
class Shade:
    """A change of the clocks."""

    box: BoxAnnotation
    label: Label


def new_figure(start: datetime, stop: datetime, *, width: int | None) -> Any:
    """An empty figure; its height is set with its rows."""
    return figure(
        x_range=Range1d(start=epoch_ms(start), end=epoch_ms(stop)),
        y_range=Range1d(start=1, end=0),
        x_axis_type=None,
        y_axis_type=None,
        height=200,
        width=width,
        sizing_mode="stretch_width" if width is None else "fixed",
        toolbar_location="right",
        tools="",
        outline_line_color=None,
        min_border_left=4,
        min_border_right=8,
        min_border_top=6,
        min_border_bottom=46,
        output_backend="canvas",
        name="timeline",
    )


def time_axis(fig: Any, zone: str) -> tuple[CustomJSTicker, CustomJSTickFormatter]:
    """Give a figure its time axis: its ticks stand on round times of the reader's clock.

    Args:
        fig: the figure.
        zone: local, utc or a name.
    """
    ticker = CustomJSTicker(
        args={"zone": zone, "fig": fig},
        major_code=f"{_AXIS_JS}\n{_ROOM_JS}\n"
        f"return timesBetween(cb_data.range.start, cb_data.range.end, Math.min({MOST_TICKS}, room))",
    )
    formatter = CustomJSTickFormatter(
        args={"zone": zone}, code=f"{_AXIS_JS}\nreturn labelOf(tick, index, ticks)"
    )
    below: Any = LinearAxis(major_tick_line_color=None)
    below.ticker, below.formatter = ticker, formatter
    below.axis_line_color = below.minor_tick_line_color = None
    fig.add_layout(below, "below")
    fig.add_layout(Grid(dimension=0, ticker=ticker, grid_line_alpha=0.7))
    return ticker, formatter


def add_axes(fig: Any, zone: str, *, has_labels: bool) -> Axes:
    """The time axis below, and the rows."""
    ticker, formatter = time_axis(fig, zone)
    rows: Any = LinearAxis(axis_line_color=None, major_tick_line_color=None)
    rows.ticker = FixedTicker()
    rows.major_label_standoff = 10
    if has_labels:
        fig.add_layout(rows, "left")
    lines: Any = Grid(dimension=1, ticker=FixedTicker(), grid_line_alpha=0.7)
    fig.add_layout(lines)
    return Axes(ticker, formatter, rows, lines)


def add_now(fig: Any, now: datetime) -> Present:
    """The line at the present, and the shade of the future."""
    future = BoxAnnotation(
        left=epoch_ms(now), fill_color=palette.GHOST, fill_alpha=0.06, line_color=None, level="underlay"
    )
    line = Span(
        location=epoch_ms(now), dimension="height", line_color="#2f6df6", line_width=1.5, level="overlay"
    )
    fig.add_layout(future)
    fig.add_layout(line)
    return Present(line, future)


def add_changes(fig: Any) -> list[Shade]:
    """Shades of changes of the clocks, not seen yet."""
    shades = []
    for _ in range(MOST_CHANGES):
        box = BoxAnnotation(
            left=0,
            right=0,
            fill_color="#b38a00",
            fill_alpha=0.14,
            line_color=None,
            level="underlay",
            visible=False,
        )
        label: Any = Label(
            x=0,
            y=2,
            y_units="screen",
            text="",
            text_font_size="11px",
            text_color="#6b5200",
            background_fill_color="#fdf3d8",
            visible=False,
        )
        label.padding = 2
        fig.add_layout(box)
        fig.add_layout(label)
        shades.append(Shade(box, label))
    return shades


def add_glyphs(fig: Any, sources: Mapping[str, ColumnDataSource]) -> list[Any]:
    """What is drawn of each kind.

    Returns:
        Those that can be pointed at.
    """
    ends: dict[str, Any] = {name: name for name in ("left", "right", "top", "bottom")}
    look: dict[str, Any] = {"border_radius": 2, "line_color": palette.GHOST, "fill_color": palette.GHOST}
    ghost = Quad(**ends, **look, fill_alpha=0.16, line_alpha=0.7)
    missing = Quad(**ends, **look, fill_alpha=0.06, line_alpha=0.7, line_dash="dashed")
    waits = Quad(**ends, fill_color="colour", fill_alpha=0.75, line_color=None)
    look = {"border_radius": 2, "line_color": "edge", "line_width": "edge_width", "fill_color": "colour"}
    bar = Quad(**ends, **look)
    look = {"hatch_color": "#ffffff", "hatch_alpha": 0.45, "hatch_scale": 7, "hatch_weight": 1.4}
    look |= {"fill_color": None, "line_color": None}
    hatched = {hatch: Quad(**ends, **look, hatch_pattern=hatch) for hatch in HATCHES}
    look = {"line_color": "colour", "line_width": 2, "fill_color": "colour"}
    mark = Scatter(x="x", y="y", marker="marker", size=9, **look)
    glyphs: dict[str, Any] = {"ghosts": ghost, "missing": missing, "waits": waits, "bars": bar, "fresh": bar}
    glyphs |= hatched | {"marks": mark}
    # A glyph keeps its look when another one is tapped: the page that opens is the answer.
    same = {"nonselection_glyph": None, "selection_glyph": None, "muted_glyph": None}
    drawn = {kind: fig.add_glyph(sources[kind], glyph, name=kind, **same) for kind, glyph in glyphs.items()}
    return [glyph for kind, glyph in drawn.items() if kind not in HATCHES]


def add_tools(fig: Any, told: list[Any], page: str) -> None:
    """What one can do with the pointer; `page` is the address of a run's page up to its id."""
    wheel = WheelZoomTool(dimensions="width", maintain_focus=False)
    pan = PanTool(dimensions="width", description="Drag to move")
    # It tells where the box is, and selects nothing itself: its renderers have nothing to select.
    box = BoxSelectTool(renderers=[], description="Drag a box: the table shows the runs in it")
    save = SaveTool(filename="timeline", description="Save as PNG")
    fig.add_tools(hover_tool(told), pan, box, wheel, save, tap_tool(fig, told, page))
    fig.toolbar.active_scroll = wheel
    fig.toolbar.active_drag = pan
    fig.toolbar.logo = None
    fig.toolbar.stylesheets = [_TOOLBAR_CSS]


def paint(fig: Any, *, dark: bool) -> None:
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
