"""Templates of job files: what they give, and what they refuse."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apsis_nb.core.calendars import get_calendar
from apsis_nb.core.errors import BindError
from apsis_nb.core.templates import Date, Daytime, Time, check, expand, names_in, namespace
from tests.strategies import ZONES, instants


def expanded(text: str, **args: str) -> str:
    names = namespace(run_id="r7", job_id="team/report", args=args, get_calendar=get_calendar)
    return expand(text, names)


DAY = {"date": "2024-01-01"}


@pytest.mark.parametrize(
    ("text", "result"),
    [
        # those of the reference
        ("{{ Date(date) + 1 }}", "2024-01-02"),
        ("{{ get_calendar('Mon-Fri').shift(date, -1) }}", "2023-12-29"),
        ("{{ format(Date(date), '%Y%m%d') }}", "20240101"),
        ("{{ Date(date).weekday }}", "Mon"),
        ("{{ Time('2024-01-01T00:00:00Z') - 3600 }}", "2023-12-31T23:00:00+00:00"),
        ("{{ from_local(('2024-01-01','00:00:00'),'Asia/Tokyo') }}", "2023-12-31T15:00:00+00:00"),
        # names
        ("{{ run_id }} of {{ job_id }}", "r7 of team/report"),
        ("{{ date }}\n", "2024-01-01"),
        ("{{ date }}\n\n", "2024-01-01\n"),
        ("{% for n in range(3) %}{{ loop.index }}{% endfor %}", "123"),
        ("{{ date | upper }}{# nothing #}", "2024-01-01"),
        ("{% set x = 1 %}{{ x }}", "1"),
        # dates
        ("{{ Date(date) - 1 }}", "2023-12-31"),
        ("{{ 1 + Date(date) }}", "2024-01-02"),
        ("{{ Date('20240301') - Date(date) }}", "60"),
        ("{{ Date(2024, 2, 29).year }}-{{ Date(20240229).month }}-{{ Date('2024-02-29').day }}", "2024-2-29"),
        ("{{ Date('2024-12-31').ordinal }}", "366"),
        ("{{ Date(date) < Date('2024-01-02') }} {{ Date(Date(date)) == Date(date) }}", "True True"),
        ("{{ Date(date) == date }}", "False"),
        ("{{ {Date(date): 'x'}[Date(date)] }}", "x"),
        # times
        ("{{ Time('2024-01-01T00:00:00.5Z') }}", "2024-01-01T00:00:00.5+00:00"),
        ("{{ Time('2024-01-01T00:00:00Z') - Time('2023-12-31T23:00:00Z') }}", "3600.0"),
        ("{{ 60 + Time(Time('2024-01-01T00:00:00Z')) }}", "2024-01-01T00:01:00+00:00"),
        ("{{ format(Time('2024-01-01T00:00:00Z'), '%H:%M') }}", "00:00"),
        ("{{ format(Time('2024-01-01T00:00:00Z'), '%H:%M@Asia/Tokyo') }}", "09:00"),
        ("{{ format(Time('2024-01-01T00:00:00Z')) }}", "2024-01-01T00:00:00+00:00"),
        ("{{ Time(2024, 1, 1, 9, 30, 0, 'Asia/Tokyo') }}", "2024-01-01T00:30:00+00:00"),
        ("{{ Time('2024-01-01T00:00:00Z') < Time('2024-01-01T00:00:01Z') }}", "True"),
        ("{{ Time('2024-01-01T00:00:00Z') == Time('2024-01-01T01:00:00+01:00') }}", "True"),
        ("{{ {Time('2024-01-01T00:00:00Z'): 'x'}[Time('2024-01-01T01:00:00+01:00')] }}", "x"),
        # daytimes
        ("{{ Daytime('9:30:00') + 60 }}", "09:31:00"),
        ("{{ 60 + Daytime(23, 59, 30) }}", "00:00:30"),
        ("{{ Daytime('00:00:10') - 20 }}", "23:59:50"),
        ("{{ Daytime('10:00:00') - Daytime('9:00:00') }}", "3600.0"),
        ("{{ Daytime('9:30:15.5').hour }} {{ Daytime('9:30:15.5').minute }}", "9 30"),
        ("{{ Daytime('9:30:15.5').second }} {{ Daytime('9:30:15.5') }}", "15.5 09:30:15.5"),
        (
            "{{ format(Daytime('9:30:00'), '%H%M') }} {{ format(Daytime(Daytime('9:30:00'))) }}",
            "0930 09:30:00",
        ),
        ("{{ Daytime('9:30:00') < Daytime('9:31:00') }} {{ Daytime(9) == Daytime('9:00:00') }}", "True True"),
        ("{{ {Daytime(9): 'x'}[Daytime('9:00:00')] }}", "x"),
        # zones
        ("{{ to_local('2024-01-01T00:00:00Z', 'Asia/Tokyo') }}", "2024-01-01T09:00:00"),
        ("{{ to_local('2024-01-01T20:00:00Z', TimeZone('Asia/Tokyo')).date }}", "2024-01-02"),
        ("{{ to_local('2024-01-01T20:00:00Z', 'utc').daytime }} {{ TimeZone('utc') }}", "20:00:00 UTC"),
        # calendars
        ("{{ date in get_calendar('Mon-Fri') }} {{ get_calendar('Mon-Fri') }}", "True Mon-Fri"),
        (
            "{{ get_calendar('Tue').after(date) }} {{ get_calendar('Tue').before(Date(date)) }}",
            "2024-01-02 2023-12-26",
        ),
        ("{{ get_calendar('all').name }}", "all days"),
        # for the shell
        ("{{ 'it''s' | quote }} {{ 3 | quote }} {{ '$(rm)' | quote }}", "its 3 '$(rm)'"),
    ],
)
def test_a_template_gives(text, result):
    assert expanded(text, **DAY) == result


def test_args_hide_every_other_name():
    assert expanded("{{ job_id }} {{ run_id }} {{ Date }}", job_id="a", run_id="b", Date="c") == "a b c"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{{ x }}", "^name 'x' is not defined$"),
        ("{{ x is defined }}", "^name 'x' is not defined$"),
        ("{{ x | default('y') }}", "^name 'x' is not defined$"),
        ("{{ x() }}", "^name 'x' is not defined$"),
        ("{{ now }}", "^name 'now' is not defined$"),
        ("{{ lipsum() }}", "^name 'lipsum' is not defined$"),
        ("{{ Date(date).weekdya }}", "has no attribute 'weekdya'"),
        ("{{ [] | first }}", "sequence was empty"),
        ("{{ 1 / 0 }}", "division by zero"),
        ("{{ x }", "template: "),
        ("{{ date | nofilter }}", "No filter named 'nofilter'"),
        ("{{ [1, 2] | random }}", "No filter named 'random'"),
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
        ("{{ '{0.__class__}'.format(date) }}", "unsafe"),
        ("{{ date.format.__globals__ }}", "unsafe"),
        ("{% set _ = [].append(1) %}", "'append' of 'list' object is unsafe"),
        ("{{ range(10 ** 9) | length }}", "Range too big"),
        ("{{ Date('x') }}", "template: "),
        ("{{ Date(Time('2024-01-01T00:00:00Z')) }}", "template: "),
        ("{{ Time('2024-01-01T00:00:00') }}", "has no time zone"),
        ("{{ Time(date=1) }}", "template: "),
        ("{{ Time() }}", "a time is made from text"),
        ("{{ Daytime('09:00:00Z') }}", "a daytime has no zone"),
        ("{{ TimeZone('Europe') }}", "unknown time zone 'Europe'"),
        ("{{ TimeZone('Europe/Lodnon') }}", "unknown time zone 'Europe/Lodnon'"),
        ("{{ from_local(('2023-03-12', '02:30:00'), 'America/New_York') }}", "does not exist"),
        ("{{ get_calendar('xyz') }}", "no such calendar: 'xyz'"),
        ("{{ get_calendar('none').after(date) }}", "has no days"),
        ("{{ Date('9999-12-31') + 1 }}", "template: "),
    ],
)
def test_a_template_that_fails_says_why(text, said):
    with pytest.raises(BindError, match=said):
        expanded(text, **DAY)


def test_syntax_is_known_to_be_wrong_before_there_is_a_run():
    check("{{ anything }}")
    check("plain }} text")
    with pytest.raises(BindError, match="template: unexpected"):
        check("{{ x }")


def test_the_names_of_a_template_are_those_it_does_not_make_itself():
    assert names_in("{% for n in range(k) %}{{ n }}{{ Date(x) }}{% endfor %}") == {"k", "x", "Date"}


@given(st.text().filter(lambda t: "{" not in t and "\r" not in t))
def test_plain_text_stands_for_itself_as_jinja_would_have_it(text):
    assert expanded(text) == expanded("{# #}" + text) == text.removesuffix("\n")


@given(st.text(alphabet="a{}%# \n'x+.|(", max_size=12))
def test_any_text_gives_text_or_a_bind_error(text):
    with contextlib.suppress(BindError):
        assert isinstance(expanded(text), str)


@given(instants(), st.sampled_from(ZONES))
def test_local_and_back_is_the_first_showing(instant, zone):
    local = expanded("{{ to_local(time, zone) }}", time=instant.isoformat(), zone=zone)
    day, daytime = local.split("T")
    back = expanded("{{ from_local((d, t), z) }}", d=day, t=daytime, z=zone)
    assert Time(back)._at <= instant
    assert expanded("{{ to_local(time, zone) }}", time=back, zone=zone) == local


@given(st.dates())
def test_a_date_and_its_text_are_one(day):
    assert str(Date(str(day))) == str(Date(day)) == day.isoformat()


@given(st.times().map(lambda t: t.replace(fold=0)))
def test_a_daytime_and_its_text_are_one(daytime):
    assert Daytime(str(Daytime(daytime))) == Daytime(daytime)
