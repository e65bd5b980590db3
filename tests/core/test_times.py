"""Times, dates, daytimes, durations, zones."""

import math
from datetime import UTC, date, datetime, time, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apsis_nb.core.times import (
    after_gap,
    format_daytime,
    format_duration,
    format_iso,
    format_local,
    format_time,
    format_utc,
    next_daytime,
    parse_date,
    parse_daytime,
    parse_duration,
    parse_time,
    parse_when,
    resolve_local,
    zone,
)
from tests.strategies import daytimes, instants, zones

NEW_YORK = zone("America/New_York")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5", 5),
        (5, 5),
        (3.5, 3.5),
        ("1e3", 1000),
        ("1_000", 1000),
        ("-10", -10),
        ("5s", 5),
        ("5 sec", 5),
        ("1 second", 1),
        ("2seconds", 2),
        ("3m", 180),
        ("3 min", 180),
        ("1 minute", 60),
        ("2 minutes", 120),
        ("1.5h", 5400),
        ("1 hour", 3600),
        ("2 hours", 7200),
        ("1d", 86400),
        ("2 days", 172800),
        ("1 day", 86400),
        ("1w", 604800),
        ("2 weeks", 1209600),
        ("1h30m", 5400),
        ("1h 30m 0.5s", 5400.5),
        ("-90s", -90),
        ("+10m", 600),
        (timedelta(minutes=1), 60),
    ],
)
def test_a_duration_is_read(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("5 secs", "unknown unit 'secs'"),
        ("1 hr", "unknown unit 'hr'"),
        ("5M", "unknown unit 'M'"),
        ("1:30", "write for example"),
        (".5h", "write for example"),
        ("h", "write for example"),
        ("", "write for example"),
        ("5m!", "write for example"),
        ("inf", "finite"),
        ("nan", "finite"),
        (math.inf, "finite"),
        (10**400, "write for example"),
        (True, "True is no duration"),
        (None, "nothing is no duration"),
        ([], "no duration"),
    ],
)
def test_what_is_no_duration_is_refused_in_words(text, said):
    with pytest.raises(ValueError, match=said):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (5400, "1h30m"), (2.5, "2.5s"), (-90, "-1m30s"), (694861.25, "1w1d1h1m1.25s"), (1e-9, "0s")],
)
def test_a_duration_is_written_in_its_largest_units(seconds, text):
    assert format_duration(seconds) == text


@given(st.integers(-(10**13), 10**13))
def test_a_duration_survives_writing_and_reading(us):
    assert parse_duration(format_duration(us / 1e6)) == pytest.approx(us / 1e6, abs=1e-6)


@given(st.times().map(lambda t: t.replace(fold=0)))
def test_a_daytime_survives_writing_and_reading(daytime):
    assert parse_daytime(format_daytime(daytime)) == daytime


@pytest.mark.parametrize(
    ("value", "daytime"),
    [
        ("9:30:00", time(9, 30)),
        ("09:30:00.25", time(9, 30, 0, 250_000)),
        ("00:00:00.1234567", time(0, 0, 0, 123_456)),
        (0, time()),
        (34200, time(9, 30)),
        (86399.5, time(23, 59, 59, 500_000)),
        (time(1, 2), time(1, 2)),
    ],
)
def test_a_daytime_is_read(value, daytime):
    assert parse_daytime(value) == daytime


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("10:30", "write the seconds too, '10:30:00'"),
        ("24:00:00", "00:00:00 to 23:59:59"),
        ("10:30:60", "00:00:00 to 23:59:59"),
        (86400, "no daytime"),
        (-1, "no daytime"),
        (True, "no daytime"),
        ("noon", "'noon' is no daytime"),
        (None, "nothing is no daytime"),
        (time(1, tzinfo=UTC), "no daytime"),
    ],
)
def test_what_is_no_daytime_is_refused_in_words(value, said):
    with pytest.raises(ValueError, match=said):
        parse_daytime(value)


def test_daytimes_and_times_have_no_trailing_zeros():
    assert format_daytime(time(9, 0, 0, 500_000)) == "09:00:00.5"
    assert format_daytime(time(9)) == "09:00:00"
    assert format_time(at("2026-01-31T09:00:00.120+01:00")) == "2026-01-31T08:00:00.12Z"
    assert format_time(at("2026-01-31T09:00:00Z")) == "2026-01-31T09:00:00Z"
    assert format_time(at("2026-01-31T09:00:59.120999Z"), "millisecond") == "2026-01-31T09:00:59.12Z"
    assert format_time(at("2026-01-31T09:00:00.000999Z"), "millisecond") == "2026-01-31T09:00:00Z"
    assert format_utc(at("2026-01-31T09:00:59.12+01:00")) == "2026-01-31 08:00:59Z"
    assert format_iso(at("2026-01-31T09:00:00.500Z")) == "2026-01-31T09:00:00.5+00:00"
    indian = datetime(2026, 1, 31, 9, 0, 10, 120_000, timezone(timedelta(hours=5, minutes=30)))
    assert format_iso(indian) == "2026-01-31T09:00:10.12+05:30"
    assert format_iso(date(2026, 1, 30)) == "2026-01-30"


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_time_survives_writing_and_reading(instant):
    assert parse_time(format_time(instant)) == instant


@pytest.mark.parametrize(
    "text",
    [
        "2024-01-01T00:00:00Z",
        "2024-01-01T01:00:00+01:00",
        "2024-01-01 00:00:00Z",
        "20240101T000000Z",
        "2023-12-31T19:00:00-0500",
        "2024-01-01T00:00:00.000Z",
    ],
)
def test_a_time_is_read(text):
    assert parse_time(text) == datetime(2024, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("2024-01-01", "no time"),
        ("2024-01-01T00:00:00", "has no time zone"),
        ("2024-01-01T00:00Z", "write the seconds too, '2024-01-01T00:00:00Z'"),
        (1704067200, "no time"),
        ("now", "no time"),
        ("2024-13-01T00:00:00Z", "month must be in 1..12"),
        (None, "nothing is no time"),
        ("0001-01-01T00:00:00+10:00", "out of range"),
    ],
)
def test_what_is_no_time_is_refused_in_words(value, said):
    with pytest.raises(ValueError, match=said):
        parse_time(value)


def test_a_time_without_zone_is_in_the_given_one():
    assert parse_time("2026-07-01T09:00:00", NEW_YORK) == at("2026-07-01T13:00:00Z")
    with pytest.raises(ValueError, match="does not exist in America/New_York"):
        parse_time("2023-03-12T02:30:00", NEW_YORK)


def test_a_time_without_zone_cannot_be_written():
    with pytest.raises(ValueError, match="no time zone"):
        format_time(datetime(2026, 1, 1))  # noqa: DTZ001 - that it has none is the point


@pytest.mark.parametrize("value", ["2026-01-31", "20260131", date(2026, 1, 31)])
def test_a_date_is_read(value):
    assert parse_date(value) == date(2026, 1, 31)


@pytest.mark.parametrize(
    "value", ["2026-02-30", "2026-1-31", "31.1.2026", "today", 20260131, None, at("2026-01-31T00:00:00Z")]
)
def test_what_is_no_date_is_refused(value):
    with pytest.raises(ValueError, match="is no date"):
        parse_date(value)


NOW = at("2026-01-31T15:00:00Z")  # 10:00 in New York


@pytest.mark.parametrize(
    ("text", "when"),
    [
        ("now", "2026-01-31T15:00:00Z"),
        ("+10m", "2026-01-31T15:10:00Z"),
        ("-1h30m", "2026-01-31T13:30:00Z"),
        ("2026-01-31", "2026-01-31T05:00:00Z"),
        ("11:00", "2026-01-31T16:00:00Z"),
        ("9:00", "2026-02-01T14:00:00Z"),
        ("10:00:00", "2026-02-01T15:00:00Z"),
        ("2026-01-31T09:00:00Z", "2026-01-31T09:00:00Z"),
        ("2026-01-31T09:00Z", "2026-01-31T09:00:00Z"),
        ("2026-01-31 09:00", "2026-01-31T14:00:00Z"),
        (" now ", "2026-01-31T15:00:00Z"),
    ],
)
def test_what_people_say_of_a_time_is_understood(text, when):
    assert parse_when(text, NOW, NEW_YORK) == at(when)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("soon", "write now, \\+10m, 09:00"),
        ("+10 parsecs", "unknown unit 'parsecs'"),
        ("+1e15", "out of range"),
        ("25:00", "00:00:00 to 23:59:59"),
        ("2026-02-30", "no such day"),
        ("2023-03-12T02:30", "does not exist"),
    ],
)
def test_what_is_not_understood_is_said(text, said):
    with pytest.raises(ValueError, match=said):
        parse_when(text, NOW, NEW_YORK)


def test_a_day_begins_after_the_gap_if_its_midnight_is_skipped():
    havana = zone("America/Havana")
    assert resolve_local(date(2024, 3, 10), time(), havana) is None
    assert parse_when("2024-03-10", NOW, havana) == at("2024-03-10T05:00:00Z")


def test_a_zone_is_found_by_its_name():
    assert zone("Asia/Tokyo").key == "Asia/Tokyo"
    assert zone("utc") is zone("UTC")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Europe/Lodnon", "did you mean 'Europe/London'"),
        ("+05:00", "write an IANA name"),
        ("America", "unknown time zone"),
        ("../etc/passwd", "unknown time zone"),
        ("/etc/passwd", "unknown time zone"),
        ("", "unknown time zone"),
        ("a\0b", "unknown time zone"),
    ],
)
def test_an_unknown_zone_is_named(name, said):
    with pytest.raises(ValueError, match=said.replace("+", "\\+")):
        zone(name)


@pytest.mark.parametrize(
    ("zone_name", "local", "utc"),
    [
        ("America/New_York", "2023-03-12T01:59:59", "2023-03-12T06:59:59Z"),
        ("America/New_York", "2023-03-12T02:30:00", None),
        ("America/New_York", "2023-03-12T03:00:00", "2023-03-12T07:00:00Z"),
        ("America/New_York", "2023-11-05T01:30:00", "2023-11-05T05:30:00Z"),
        ("Europe/London", "2023-03-26T01:30:00", None),
        ("Europe/London", "2023-10-29T01:30:00", "2023-10-29T00:30:00Z"),
        ("Australia/Lord_Howe", "2023-10-01T02:15:00", None),
        ("Australia/Lord_Howe", "2023-10-01T02:30:00", "2023-09-30T15:30:00Z"),
        ("Australia/Lord_Howe", "2023-04-02T01:45:00", "2023-04-01T14:45:00Z"),
        ("Asia/Tokyo", "2023-03-12T02:30:00", "2023-03-11T17:30:00Z"),
        ("Pacific/Apia", "2011-12-30T12:00:00", None),
        ("Asia/Tokyo", "0001-01-01T00:00:00", None),
        ("America/New_York", "9999-12-31T23:00:00", None),
    ],
)
def test_local_times_are_resolved(zone_name, local, utc):
    naive = datetime.fromisoformat(local)
    resolved = resolve_local(naive.date(), naive.time(), zone(zone_name))
    assert resolved == (None if utc is None else at(utc))


@given(instants(), zones())
def test_what_the_clocks_show_resolves_to_its_first_showing(instant, tz):
    local = instant.astimezone(tz)
    resolved = resolve_local(local.date(), local.time().replace(fold=0), tz)
    assert resolved is not None
    assert resolved <= instant
    assert resolved.astimezone(tz).replace(tzinfo=None) == local.replace(tzinfo=None, fold=0)


@given(instants(), daytimes(), zones())
def test_the_next_daytime_comes_after_and_within_a_day_or_so(after, daytime, tz):
    found = next_daytime(daytime, after, tz)
    assert timedelta(0) < found - after <= timedelta(hours=25)
    shown = found.astimezone(tz)
    if resolve_local(shown.date(), daytime, tz) is not None:
        assert shown.time() == daytime


def test_the_next_daytime_in_a_repeated_hour_is_still_to_come():
    second_pass = at("2023-11-05T06:15:00Z")  # 01:15 again
    assert next_daytime(time(1, 30), second_pass, NEW_YORK) == at("2023-11-05T06:30:00Z")
    assert next_daytime(time(1, 30), at("2023-11-05T05:30:00Z"), NEW_YORK) == at("2023-11-06T06:30:00Z")


def test_the_next_daytime_in_a_gap_is_read_on_the_clock_before_it():
    assert next_daytime(time(2, 30), at("2023-03-12T05:00:00Z"), NEW_YORK) == at("2023-03-12T07:30:00Z")


def test_the_end_of_time_is_said():
    with pytest.raises(ValueError, match="out of range"):
        after_gap(date.max, time(23), NEW_YORK)
    with pytest.raises(ValueError, match="out of range"):
        parse_time(datetime.min.replace(tzinfo=timezone(timedelta(hours=1))))


# -- on the clocks of a zone


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({}, "2026-10-25 01:30:00"),
        ({"with_zone": True}, "2026-10-25 01:30:00 GMT"),
        ({"precision": "minute", "with_zone": True}, "2026-10-25 01:30 GMT"),
        ({"precision": "millisecond"}, "2026-10-25 01:30:00.25"),
        ({"precision": "microsecond", "with_zone": True}, "2026-10-25 01:30:00.250999 GMT"),
    ],
)
def test_an_instant_is_written_as_clocks_of_a_zone_show_it(options, text):
    at = datetime(2026, 10, 25, 1, 30, 0, 250_999, tzinfo=UTC)
    assert format_local(at, zone("Europe/London"), **options) == text
    hour_before = at - timedelta(hours=1)  # which the clocks show alike
    shown = format_local(hour_before, zone("Europe/London"), **options)
    assert shown == text.replace("GMT", "BST")
    with pytest.raises(ValueError, match="has no time zone"):
        format_local(at.replace(tzinfo=None), zone("UTC"))
