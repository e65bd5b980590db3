"""What programs print: colours as classes, everything else as it is."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apsis_nb import ansi
from apsis_nb.ansi import AnsiText, overwritten
from tests.views.test_markup import Tags
from tests.views.test_palette import contrast

ESCAPES = [
    "\x1b[31m", "\x1b[0m", "\x1b[1;92m", "\x1b[38;5;208m", "\x1b[38;2;1;2;3m", "\x1b[2K", "\x1b]0;t\x07",
    "\r", "\x1b", "\x1b[999m", "\x1b[38;5m", "\x00",
]  # fmt: skip
TEXTS = ["<b>", "&amp;", "text", " ", "\n", "é", "'\""]
PIECES = st.lists(st.sampled_from(ESCAPES + TEXTS) | st.text(max_size=5)).map("".join)


@given(PIECES)
def test_an_output_is_never_markup(output):
    page = Tags(AnsiText().convert(output))

    assert set(page.tags) <= {"span"}
    assert set(page.attributes) <= {"class", "style"}


def test_a_colour_is_a_class():
    assert AnsiText().convert("\x1b[31mred\x1b[0m plain") == '<span class="ansi31">red</span> plain'


def test_a_colour_goes_on_in_the_next_piece():
    output = AnsiText()
    output.convert("\x1b[1;92mbold green\n")

    assert output.convert("still\x1b[0m not\n").startswith('<span class="ansi1 ansi92">still</span> not')
    assert output.convert("nor now\n") == "nor now\n"


def test_a_progress_bar_shows_its_last_state():
    assert AnsiText().convert("10%\r20%\r\ndone\n") == "20%\ndone\n"


def test_what_was_overwritten_still_ends_its_colour():
    assert overwritten("\x1b[31mbad\x1b[0m\rgood").endswith("\x1b[0mgood")


@pytest.mark.parametrize(
    "escape", ["\x1b[2K", "\x1b[3A", "\x1b[?25l", "\x1b]0;title\x07", "\x1b]8;;x\x1b\\", "\x07"]
)
def test_escapes_that_are_no_colour_leave_nothing(escape):
    assert AnsiText().convert(f"a{escape}b") == "ab"


def test_one_of_many_colours_is_a_style():
    assert 'style="color:rgb(255,135,0);"' in AnsiText().convert("\x1b[38;5;208mx\x1b[0m")
    assert 'style="background:rgb(1,2,3);"' in AnsiText().convert("\x1b[48;2;1;2;3mx\x1b[0m")


@pytest.mark.parametrize(("colours", "pane"), [(ansi.LIGHT, "#fbfbfc"), (ansi.DARK, "#0d0f12")])
def test_every_colour_can_be_read_on_its_pane(colours, pane):
    assert min(contrast(colour, pane) for colour in colours) >= 4.5


def test_every_colour_has_a_rule_for_both_panes():
    rules = set(re.findall(r"(\.pane(?:\.dark)?) \.(ansi\d+)\{", ansi.styles()))

    for code in (*range(30, 38), *range(90, 98)):
        assert (".pane", f"ansi{code}") in rules
        assert (".pane.dark", f"ansi{code}") in rules
