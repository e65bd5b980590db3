"""How a state looks, everywhere: one colour, one shape and one hatch for each, for light and dark pages.

The colours of the states that a bar can have differ by at least 20 (CIE76), also for eyes that lack one
of the three kinds of cone, and each stands at least 3:1 against both page backgrounds; a test measures it.
Colour is never alone: a shape or a word is always with it. Lateness is an outline, so it never competes with
the state.
"""

from dataclasses import dataclass

from apsis_nb.core.states import State

LIGHT_BACKGROUND = "#ffffff"
DARK_BACKGROUND = "#17191e"

#: Outline of a late bar, edge of a late badge.
LATE = "#ee7a00"
#: What has not happened: expected runs, the time before a start.
GHOST = "#858b96"


@dataclass(frozen=True, slots=True)
class Look:
    """How one state looks."""

    colour: str  #: #rrggbb
    hatch: str  #: Bokeh hatch pattern of its bars; " " is none
    path: str  #: its shape, as an SVG path in a box of 16 by 16


_CROSS = "M3 4.4 4.4 3 8 6.6 11.6 3 13 4.4 9.4 8l3.6 3.6L11.6 13 8 9.4 4.4 13 3 11.6 6.6 8z"
_TICK = "M6.3 12.6 1.9 8.2l1.5-1.5 2.9 2.9 6.3-6.3 1.5 1.5z"
_PLAY = "M4 2v12l10-6z"
_BARS = "M4 2.5h3v11H4zM9 2.5h3v11H9z"
_RING = "M8 1.5a6.5 6.5 0 1 0 0 13a6.5 6.5 0 0 0 0-13zm0 2a4.5 4.5 0 1 1 0 9a4.5 4.5 0 0 1 0-9z"
_WARN = "M8 1 15.5 14.5H.5zM7.2 6v4.4h1.6V6zm0 5.6v1.6h1.6v-1.6z"
_STOP = "M3 3h10v10H3z"
_SKIP = "M2 2.5v11l6-5.5zM8 2.5v11l6-5.5z"
_HALF = "M8 1.5a6.5 6.5 0 1 0 0 13z"

LOOKS: dict[State, Look] = {
    State.SCHEDULED: Look("#858b96", " ", _RING),
    State.WAITING: Look("#b38a00", " ", _BARS),
    State.STARTING: Look("#2f6df6", "dot", _HALF),
    State.RUNNING: Look("#2f6df6", " ", _PLAY),
    State.STOPPING: Look("#2f6df6", "vertical_line", _STOP),
    State.SUCCESS: Look("#0fa36b", " ", _TICK),
    State.FAILURE: Look("#bf3b26", "right_diagonal_line", _CROSS),
    State.ERROR: Look("#a846b0", "cross", _WARN),
    State.SKIPPED: Look("#858b96", " ", _SKIP),
}


def icon(state: State, size: int = 14) -> str:
    """The state's shape in its colour, as inline SVG of `size` pixels; a screen reader passes over it."""
    look = LOOKS[state]
    return (
        f'<svg class="icon" viewBox="0 0 16 16" width="{size}" height="{size}" aria-hidden="true">'
        f'<path fill="{look.colour}" fill-rule="evenodd" d="{look.path}"/></svg>'
    )


#: Before the words that say what is wrong.
WARNING_SIGN = f'<svg viewBox="0 0 16 16" width="16" height="16" aria-hidden="true"><path d="{_WARN}"/></svg>'
