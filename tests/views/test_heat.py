"""Calendars: each period has its cell, and each cell says what it means."""

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from apsis_nb.views.heat import LEVELS, days_html, hours_html, level, months_html

LONDON = ZoneInfo("Europe/London")
SINCE, UNTIL = datetime(2026, 9, 30, 23, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC)  # October


def words(value: float) -> str:
    return f"{value:.0f} runs"


def titles(html: str) -> list[str]:
    return re.findall(r' title="([^"]*)"', html)


@given(st.floats(0, 1e9), st.floats(0, 1e9))
def test_more_is_never_lighter(one, other):
    low, high = sorted((one, other))

    assert 0 <= level(low, high) <= level(high, high) <= LEVELS
    assert (level(low, high) == 0) == (low == 0)


def test_each_day_of_the_range_has_a_cell_in_the_row_of_its_weekday():
    day = datetime(2026, 10, 25, 23, tzinfo=UTC) - timedelta(hours=24)  # Sunday the 25th in London
    html = days_html({day: 3.0, day + timedelta(hours=25): 1.0}, SINCE, UNTIL, LONDON, words)

    assert len(titles(html)) == 31
    assert "Sun 25 Oct 2026: 3 runs" in html
    assert "Mon 26 Oct 2026: 1 runs" in html
    sunday = html.split("<tr>")[-1]
    assert sunday.startswith('<th scope="row">Sun')
    assert "Sun 25 Oct 2026: 3 runs" in sunday
    assert html.count('data-action="cell"') == 2  # there is nothing to look at in an empty day


def test_an_hour_that_comes_twice_is_one_cell_with_both():
    first = datetime(2026, 10, 25, 0, tzinfo=UTC)
    values = {first: 3.0, first + timedelta(hours=1): 4.0}
    html = hours_html(values, first - timedelta(hours=1), first + timedelta(hours=24), LONDON, words)

    assert "Sun 25 Oct, 01:00: 7 runs" in html
    assert len(titles(html)) == 24


def test_years_are_rows_of_months():
    html = months_html({datetime(2024, 2, 1, tzinfo=UTC): 5.0, SINCE: 9.0}, LONDON, words)

    assert re.findall(r'row">(\d+)<', html) == ["2024", "2025", "2026"]
    assert "Oct 2026: 9 runs" in html
    assert len(titles(html)) == 36
