"""Ranges of the past: by the days of a zone, also where its clocks change."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apsis_nb.views.ranges import (
    ALL,
    FIRST,
    MONTH,
    Range,
    buttons_html,
    midnight,
    period_after,
    range_from_days,
    range_of,
    units_of,
)

LONDON = ZoneInfo("Europe/London")
NOW = datetime(2026, 10, 26, 9, 30, tzinfo=UTC)  # the clocks went back the day before


def test_a_range_of_days_begins_with_a_day_of_the_zone():
    since, until = Range("7d").window(NOW, LONDON)

    assert since == datetime(2026, 10, 19, 23, 0, tzinfo=UTC)  # midnight of the 20th, in summer time
    assert NOW < until < NOW + timedelta(days=1)
    assert Range("24h").window(NOW, LONDON)[0] == NOW - timedelta(hours=24)
    assert Range(MONTH).window(NOW, LONDON)[0] == datetime(2026, 9, 30, 23, 0, tzinfo=UTC)
    assert Range(ALL).window(NOW, LONDON)[0] == FIRST


@pytest.mark.parametrize("name", ["7d", "90d", ALL])
def test_an_address_says_the_range_and_is_read_back(name):
    names = ("7d", "30d", "90d", ALL)

    assert range_of(Range(name).query, "30d", names) == Range(name)
    exact = Range("", NOW - timedelta(days=2), NOW)
    assert range_of(exact.query, "30d", names) == exact


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"range": "<b>"},
        {"from": "2026-01-02T00:00:00", "to": "2026-01-03T00:00:00"},  # no zone
        {"from": "2026-01-03T00:00:00Z", "to": "2026-01-02T00:00:00Z"},
        {"from": "x", "to": "y"},
    ],
)
def test_an_address_that_makes_no_sense_means_the_usual_range(said):
    assert range_of(said, "30d", ("7d", "30d")) == Range("30d")


def test_days_include_the_last_one():
    assert range_from_days("2026-10-25", "2026-10-25", LONDON) == Range(
        "", datetime(2026, 10, 24, 23, tzinfo=UTC), datetime(2026, 10, 26, tzinfo=UTC)
    )
    for first, last in (("2026-10-26", "2026-10-25"), ("", "2026-10-25"), ("9999-12-31", "9999-12-31")):
        assert range_from_days(first, last, LONDON) is None


@given(st.dates(date(2000, 1, 1), date(2037, 1, 1)), st.sampled_from(["day", "week", "month"]))
def test_periods_follow_each_other_on_midnights_of_the_zone(day, unit):
    start = midnight(day, LONDON)
    end = period_after(start, unit, LONDON)

    assert end > start
    assert (end.astimezone(LONDON).hour, end.astimezone(LONDON).minute) == (0, 0)
    if unit == "month":
        assert end.astimezone(LONDON).day == 1


def test_few_days_are_shown_by_the_hour_and_years_by_the_month():
    def first(days: float) -> str:
        return units_of(NOW - timedelta(days=days), NOW)[0]

    assert [first(days) for days in (1, 7, 90, 365, 2000)] == ["hour", "day", "day", "day", "month"]


def test_the_chosen_range_is_pressed_and_days_are_asked_for():
    html = buttons_html(Range("7d"), ("7d", "30d"), NOW, LONDON)

    assert html.count('aria-pressed="true"') == 1
    assert 'data-value="7d" aria-pressed="true"' in html
    assert 'value="2026-10-20"' in html
    assert 'value="2026-10-26"' in html
