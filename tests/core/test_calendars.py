"""Calendars by name."""

from datetime import date, timedelta
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apsis_nb.core.calendars import get_calendar
from tests.strategies import calendars, dates, weekday_names


@pytest.mark.parametrize(
    ("name", "weekdays"),
    [
        ("all", {0, 1, 2, 3, 4, 5, 6}),
        ("all days", {0, 1, 2, 3, 4, 5, 6}),
        ("none", set()),
        ("", set()),
        ("Mon-Fri", {0, 1, 2, 3, 4}),
        ("Fri-Mon", {4, 5, 6, 0}),
        ("Mon,Wed", {0, 2}),
        ("Sat-Sun,Wed", {5, 6, 2}),
        ("Tue-Tue", {1}),
        ("0-4", {0, 1, 2, 3, 4}),
        ("6", {6}),
    ],
)
def test_a_calendar_is_found_by_its_name(name, weekdays):
    assert get_calendar(name).weekdays == weekdays


@given(calendars())
def test_a_calendar_s_name_leads_back_to_it(calendar):
    assert get_calendar(calendar.name) == calendar


def test_the_default_calendar_is_called_as_job_files_know_it():
    assert get_calendar("all").name == "all days"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mon-fri", "did you mean 'Mon-Fri'"),
        ("Monday-Friday", "did you mean 'Mon-Fri'"),
        ("Mon - Fri", "did you mean 'Mon-Fri'"),
        ("Mon, Wed", "did you mean 'Mon,Wed'"),
        ("ALL", "did you mean 'all'"),
        ("weekdays", "write all, none, weekdays"),
        ("0-7", "write all, none, weekdays"),
        ("Mon,,Tue", "write all, none, weekdays"),
        ("federal-holidays", "no such calendar: 'federal-holidays'"),
        ("QQ-holidays", "QQ is neither the code of a country, such as US, nor of a market"),
        ("US-XX-holidays", "XX is no part of US: write one of AK, AL"),
        ("XNYS-NY-business", "NY is no part of XNYS: it has none"),
        ("(Mon-Fri", "a '\\)' is missing"),
        ("Mon-Fri -", "a name is missing at its end"),
        ("Mon-Fri - nope", "there is no 'nope'"),
        ("Mon-Fri US-holidays", "'US-holidays' is not expected there"),
    ],
)
def test_an_unknown_calendar_is_named(name, said):
    with pytest.raises(ValueError, match=said):
        get_calendar(name)


@given(calendars().filter(lambda c: c.weekdays), dates())
def test_before_and_after_are_the_nearest_days(calendar, day):
    before, after = calendar.before(day), calendar.after(day)
    assert before in calendar
    assert after in calendar
    assert before <= day <= after
    between = (before + timedelta(days=n) for n in range(1, (after - before).days))
    assert not any(other in calendar for other in between) or day in calendar


@given(calendars().filter(lambda c: c.weekdays), dates(), st.integers(-40, 40))
def test_shifting_is_stepping_day_by_day(calendar, day, count):
    expected, left = day, abs(count)
    while left:
        expected += timedelta(days=1 if count > 0 else -1)
        left -= expected in calendar
    try:
        assert calendar.shift(day, count) == expected
    except ValueError:  # 40 weeks from either end of time
        assert day.year in {1, 9999}


@given(calendars().filter(lambda c: c.weekdays), dates(), st.integers(-1000, 1000))
def test_shifting_back_undoes_it_for_days_of_the_calendar(calendar, day, count):
    day = calendar.after(day)
    try:
        there = calendar.shift(day, count)
    except ValueError:
        return
    assert calendar.shift(there, -count) == day


@given(calendars(), dates())
def test_its_days_are_all_of_them_and_rise(calendar, first):
    last = min(date.max - timedelta(days=1), first + timedelta(days=30))
    days = list(islice(calendar.days(first), 31))
    wanted = [d for n in range((last - first).days + 1) if (d := first + timedelta(days=n)) in calendar]
    assert days[: len(wanted)] == wanted


def test_a_calendar_without_days_has_none_to_go_to():
    none = get_calendar("none")
    assert list(none.days(date(2024, 1, 1))) == []
    assert none.shift(date(2024, 1, 1), 0) == date(2024, 1, 1)
    for step in (none.before, none.after):
        with pytest.raises(ValueError, match="has no days"):
            step(date(2024, 1, 1))


def test_the_end_of_time_is_said():
    with pytest.raises(ValueError, match="out of range"):
        get_calendar("Mon").shift(date(9999, 12, 31), 1)


@given(weekday_names())
def test_any_weekdays_make_a_calendar(name):
    assert get_calendar(name).weekdays <= set(range(7))
    assert get_calendar(name).weekdays
