"""Calendars by name."""

from datetime import date, timedelta
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apsis_nb.core.calendars import CalendarFileError, dates_from_text, get_calendar
from tests.strategies import FILES, any_calendars, calendar_names, calendars, dates, weekday_names


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


# -- any calendar


def refused(ask, *args) -> str:
    """What a `ValueError` says; nothing if there is an answer."""
    try:
        ask(*args)
    except ValueError as error:
        return str(error)
    return ""


@given(any_calendars(), st.dates(date(2019, 1, 1), date(2032, 12, 31)))
def test_days_of_any_calendar_are_those_that_it_contains(calendar, first):
    last = first + timedelta(days=60)
    every = [first + timedelta(days=n) for n in range(61)]
    assert list(calendar.days(first, last)) == [day for day in every if day in calendar]


@given(any_calendars(), st.dates(date(2022, 1, 1), date(2028, 12, 31)), st.integers(-12, 12))
def test_shifting_in_any_calendar_is_stepping_day_by_day(calendar, day, count):
    expected, left = day, abs(count)
    while left and date(2019, 1, 1) < expected < date(2032, 1, 1):
        expected += timedelta(days=1 if count > 0 else -1)
        left -= expected in calendar
    if left:  # it may end before, or have no days at all
        assert refused(calendar.shift, day, count).count(calendar.name) or calendar.last.year > 2032
    else:
        assert calendar.shift(day, count) == expected


@given(calendar_names(), calendar_names(), st.dates(date(2021, 1, 1), date(2030, 12, 31)))
def test_expressions_are_about_sets_of_days(left, right, day):
    a, b = get_calendar(left, FILES), get_calendar(right, FILES)
    assert (day in get_calendar(f"({left}) & ({right})", FILES)) is (day in a and day in b)
    assert (day in get_calendar(f"({left}) | ({right})", FILES)) is (day in a or day in b)
    assert (day in get_calendar(f"({left}) - ({right})", FILES)) is (day in a and day not in b)
    assert (day in get_calendar(f"~({left})", FILES)) is (day not in a)


@given(calendar_names())
def test_the_name_of_any_calendar_leads_back_to_it(name):
    calendar = get_calendar(name, FILES)
    assert get_calendar(calendar.name, FILES) == calendar


@pytest.mark.parametrize(
    ("name", "same"),
    [
        ("Mon | Tue & Tue-Wed", "Mon | (Tue & Tue-Wed)"),
        ("all - Mon & Tue-Sun", "(all - Mon) & Tue-Sun"),
        ("~Mon - Tue", "(~Mon) - Tue"),
        ("all - Mon - Tue", "Wed-Sun"),
        ("~~Mon", "Mon"),
        ("~(Mon|Tue)", "Wed-Sun"),
    ],
)
def test_operators_bind_as_they_do_in_python(name, same):
    assert get_calendar(name).weekdays == get_calendar(same).weekdays


# -- countries and markets


@pytest.mark.parametrize(
    ("name", "inside", "outside"),
    [
        ("US-holidays", ["2026-07-03", "2026-07-04", "2026-11-26"], ["2026-11-27"]),
        ("US-business", ["2026-11-27", "2026-07-06"], ["2026-07-03", "2026-07-05"]),
        # a holiday on a Saturday is kept on the Friday before, which is of another year
        ("US-business", [], ["2027-12-31"]),
        ("DE-holidays", ["2026-10-03"], ["2026-01-06"]),
        ("DE-BY-holidays", ["2026-01-06"], []),
        ("XNYS-business", ["2026-11-27", "2026-10-12"], ["2026-04-03", "2026-11-26"]),
        ("NYSE-holidays", ["2026-04-03"], ["2026-10-12"]),
        # the weekend is another in other countries
        ("IL-business", ["2026-11-01"], ["2026-10-30", "2026-10-31"]),
        ("usa-federal-holidays", ["2026-07-03"], ["2026-07-02"]),
        ("usa-federal-businessdays", ["2026-07-02"], ["2026-07-03"]),
        ("Mon-Fri - US-holidays", ["2026-07-02"], ["2026-07-03", "2026-07-05"]),
        ("US-business & DE-business", ["2026-07-02"], ["2026-07-03", "2026-05-01"]),
    ],
)
def test_holidays_and_business_days(name, inside, outside):
    calendar = get_calendar(name)
    assert calendar.name == name
    assert [day for day in inside if date.fromisoformat(day) not in calendar] == []
    assert [day for day in outside if date.fromisoformat(day) in calendar] == []


def test_holidays_are_known_to_a_last_day():
    assert get_calendar("US-holidays").last == date(2100, 12, 31)
    assert date(2200, 1, 1) not in get_calendar("US-business")
    assert get_calendar("Mon-Fri").last == date.max


# -- files


def test_a_file_lists_dates_in_any_order_with_comments():
    text = "# of the office\n\n2026-12-25 Christmas\n  20260101  New Year\n2026-12-25\n"
    calendar = dates_from_text("office", text)

    assert list(calendar.days(date.min)) == [date(2026, 1, 1), date(2026, 12, 25)]
    assert (calendar.first, calendar.last) == (date(2026, 1, 1), date(2026, 12, 25))


def test_start_and_stop_say_how_far_a_file_is_complete():
    calendar = dates_from_text("office", "START 2026-01-01\nSTOP 2027-01-01\n2026-12-25\n")
    days = get_calendar("Mon-Fri - office", {"office": calendar})

    assert (calendar.first, calendar.last) == (date(2026, 1, 1), date(2026, 12, 31))
    assert list(days.days(date(2026, 12, 24))) == [
        date(2026, 12, day) for day in (24, 28, 29, 30, 31)
    ]  # whether a day of 2027 is a holiday nobody can tell


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("", 1, "it has no dates"),
        ("# nothing\n", 1, "it has no dates"),
        ("START 2026-01-01\n", 1, "it has no dates"),
        ("2026-01-01\n2026-02-30\n", 2, "there is no such day"),
        ("2026-01-01\nChristmas\n", 2, "'Christmas' is no date: write it as '2026-01-31'"),
        ("START\n", 1, "'START' needs a date"),
        ("START 2026-01-01\nSTART 2026-01-01\n", 2, "stands there twice"),
        ("STOP 2026-12-25\n2026-12-25\n", 2, "is not within START and STOP"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_with_its_line(text, line, said):
    with pytest.raises(CalendarFileError, match=said) as caught:
        dates_from_text("office", text)
    assert caught.value.line == line


@given(st.text(max_size=60) | st.text(alphabet="START OP0123456789-\n", max_size=80))
def test_any_text_is_a_calendar_or_refused_in_words(text):
    if not refused(dates_from_text, "x", text):
        calendar = dates_from_text("x", text)
        assert all(day in calendar for day in calendar.days(date.min))


@given(st.text(max_size=12) | st.text(alphabet="Mon-Fri,&|~() all", max_size=14))
def test_any_name_is_a_calendar_or_refused_in_words(name):
    said = refused(get_calendar, name)
    assert not said or said.startswith(f"no such calendar: '{name}': ")
    assert said or get_calendar(name).name in {name, "all days"}
