"""The colours hold what they promise: apart for every kind of eye, visible on both backgrounds."""

import math
from itertools import combinations

import pytest

from apsis_nb.core.states import State
from apsis_nb.views.palette import DARK_BACKGROUND, LIGHT_BACKGROUND, LOOKS, icon

#: What eyes see that lack one kind of cone: Machado, Oliveira, Fernandes 2009, severity 1, on linear RGB.
SIGHT = {
    "all three": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "no red": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "no green": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.01182, 0.04294, 0.968881),
    ),
    "no blue": (
        (1.255528, -0.076749, -0.178779),
        (-0.078411, 0.930809, 0.147602),
        (0.004733, 0.691367, 0.3039),
    ),
}

#: Those whose bars stand side by side; starting and stopping are told from running by their hatch.
SHOWN = (State.WAITING, State.RUNNING, State.SUCCESS, State.FAILURE, State.ERROR, State.SKIPPED)


def linear(colour: str) -> tuple[float, ...]:
    parts = (int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5))
    return tuple(c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)


def luminance(colour: str) -> float:
    red, green, blue = linear(colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def lab(colour: str, sight: str) -> tuple[float, float, float]:
    seen = [sum(m * c for m, c in zip(row, linear(colour), strict=True)) for row in SIGHT[sight]]
    red, green, blue = (min(1.0, max(0.0, c)) for c in seen)
    x = (0.4124 * red + 0.3576 * green + 0.1805 * blue) / 0.95047
    y = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    z = (0.0193 * red + 0.1192 * green + 0.9505 * blue) / 1.08883
    fx, fy, fz = (v ** (1 / 3) if v > 0.008856 else 7.787 * v + 16 / 116 for v in (x, y, z))
    return 116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize(("one", "other"), list(combinations(SHOWN, 2)), ids=lambda state: state.value)
def test_two_states_never_look_alike(one, other, sight):
    difference = math.dist(lab(LOOKS[one].colour, sight), lab(LOOKS[other].colour, sight))

    assert difference >= 20


@pytest.mark.parametrize("background", [LIGHT_BACKGROUND, DARK_BACKGROUND])
@pytest.mark.parametrize("state", State, ids=lambda state: state.value)
def test_each_state_stands_out_from_the_page(state, background):
    assert contrast(LOOKS[state].colour, background) >= 3


def test_states_of_one_colour_differ_in_shape():
    assert len({look.path for look in LOOKS.values()}) == len(State)


def test_a_failed_bar_is_told_by_its_hatch_too():
    assert LOOKS[State.FAILURE].hatch != LOOKS[State.ERROR].hatch != LOOKS[State.SUCCESS].hatch


def test_a_screen_reader_passes_over_the_shape():
    assert 'aria-hidden="true"' in icon(State.RUNNING)
