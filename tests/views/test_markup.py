"""Pieces of HTML: safe whatever comes from outside, and in words that people read."""

from datetime import UTC, datetime, timedelta, timezone
from html.parser import HTMLParser

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apsis_nb.core.states import State
from apsis_nb.views import markup


class Tags(HTMLParser):
    """What a browser would make of it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[str] = []
        self.words = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]

    def handle_data(self, data):
        self.words += data


ANY_TEXT = st.text(max_size=40) | st.sampled_from(
    ["<script>alert(1)</script>", '" onmouseover="x', "'><img src=x onerror=y>", "a&b", "{{ x }}", "${x}"]
)


@given(ANY_TEXT, ANY_TEXT)
def test_args_and_labels_are_never_markup(name, value):
    for has_all in (False, True):
        page = Tags(markup.chips({name: value}, [value], has_all=has_all))

        assert set(page.tags) <= {"span", "i", "bdi"}
        assert set(page.attributes) <= {"class", "title"}


def test_a_row_has_some_labels_and_tells_how_many_more_there_are():
    labels = [f"label {n}" for n in range(300)] + ["x" * 10_000]

    row, whole = markup.chips(labels=labels), markup.chips(labels=labels, has_all=True)
    assert len(row) < 2_000
    assert "+295" in row
    assert "277 more</summary>" in whole
    assert all(label in whole for label in labels)


@given(ANY_TEXT)
def test_a_job_id_is_never_markup(job_id):
    page = Tags(markup.job_link(job_id))

    assert page.tags == ["a", "span"]
    assert set(page.attributes) == {"class", "href"}


@given(ANY_TEXT)
def test_a_run_id_is_never_markup(run_id):
    assert Tags(markup.run_link(run_id)).attributes == ["class", "href"]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 ms"), (0.0123, "12 ms"), (0.9999, "1.0 s"), (4.24, "4.2 s"), (9.96, "10 s"), (59.4, "59 s"),
        (59.6, "1 m 00 s"), (185, "3 m 05 s"), (3599.6, "1 h 00 m"), (7800, "2 h 10 m"), (273600, "3 d 4 h"),
        (-5, "-5.0 s"), (None, ""), (float("nan"), ""),
    ],
)  # fmt: skip
def test_a_duration_has_two_units_at_most(seconds, words):
    assert markup.duration(seconds) == words


@given(st.floats(0, 1e9), st.floats(0, 1e9))
def test_no_duration_shows_sixty_of_anything(one, other):
    assert "60 " not in markup.duration(one).replace("60 ms", "").replace("60 d", "").replace("60 h", "")


@pytest.mark.parametrize(
    ("part", "whole", "words"),
    [(0, 7, "0 %"), (7, 7, "100 %"), (1, 3, "33.3 %"), (2999, 3000, "99.9 %"), (1, 90_000, "0.1 %")],
)
def test_a_share_is_all_or_nothing_only_where_it_is(part, whole, words):
    assert markup.percent(part, whole) == words


def test_a_time_says_its_instant_to_the_browser():
    at = datetime(2026, 1, 31, 10, 0, 0, 250_000, tzinfo=timezone(timedelta(hours=1)))

    assert 'datetime="2026-01-31T09:00:00.25Z"' in markup.when(at)


def test_a_naive_time_is_utc():
    assert 'datetime="2026-01-31T09:00:00Z"' in markup.when(pd.Timestamp("2026-01-31 09:00"))


@pytest.mark.parametrize("nothing", [None, pd.NaT, float("nan")])
def test_no_time_is_what_the_caller_says(nothing):
    assert markup.when(nothing, empty="not yet") == "not yet"


def test_a_state_is_told_by_its_word():
    assert Tags(markup.badge("failure")).words == "failure"
    assert Tags(markup.badge(State.RUNNING)).words == "running"


def test_a_row_opens_its_run_by_the_keyboard():
    page = markup.table([("Run", "")], [["r7"]], caption="Runs", ids=["r7"])

    assert 'data-href="run?id=r7"' in page
    assert 'tabindex="0"' in page


def test_a_cell_has_the_name_of_its_column_for_a_phone():
    page = markup.table([("Job", "job"), ("Took", "right"), ("", "tight")], [["a", "3 s", ""]], caption="x")

    assert '<td class="right" data-head="Took">3 s</td>' in page
    assert page.count("data-head") == 1


def test_a_name_does_not_look_like_another_one_by_what_turns_text():
    link, chip = markup.job_link("invoice\u202egnp.exe"), markup.chips({"x": "a\u2066b"})

    assert "invoice[U+202E]gnp.exe" in Tags(link).words
    assert "job?id=invoice%E2%80%AEgnp.exe" in link
    assert "a[U+2066]b" in Tags(chip).words


@given(ANY_TEXT)
def test_words_between_backticks_are_code_and_never_markup(words):
    page = Tags(markup.nothing(f"type `{words}`"))

    assert set(page.tags) <= {"p", "code"}
    assert "<code>apsis-nb new</code>" in markup.nothing("`apsis-nb new` makes one")


def test_instants_of_json_and_of_frames_are_the_same():
    at = datetime(2026, 1, 31, 9, tzinfo=UTC)

    assert markup.instant("2026-01-31T09:00:00Z") == at
    assert markup.instant(pd.Timestamp(at)) == at
