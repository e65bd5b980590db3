"""Schedules: the times they give, also where clocks change; what a job file may say of them."""

from calendar import monthrange
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apsis_nb.core.calendars import Calendar
from apsis_nb.core.errors import JobError, JobErrors
from apsis_nb.core.schedules import (
    CronSchedule,
    DailyIntervalSchedule,
    DailySchedule,
    IntervalSchedule,
    MisfireRule,
    StopDaytime,
    explain,
    schedule_from_dict,
    schedule_to_dict,
    stop_time,
    times_between,
    warnings_of,
)
from apsis_nb.core.times import zone
from tests.strategies import FILES, any_calendars, instants, schedules, spans


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def local(data: dict, start: str, stop: str) -> list[str]:
    """What the clocks of the schedule's zone show at its times."""
    schedule = schedule_from_dict(data)
    tz = zone(data["tz"])
    return [o.at.astimezone(tz).strftime("%d %H:%M") for o in times_between(schedule, at(start), at(stop))]


# -- laws


@given(schedules(), spans())
def test_times_rise_within_the_window(schedule, span):
    found = list(islice(times_between(schedule, *span), 5000))
    times = [o.at for o in found]
    assert times == sorted(times)
    assert all(span[0] <= t < span[1] and t.tzinfo is UTC for t in times)
    assert len({(o.at, tuple(o.args.items())) for o in found}) == len(found)


@given(schedules(), spans(), st.floats(0, 1))
def test_two_windows_side_by_side_give_what_the_whole_gives(schedule, span, share):
    start, stop = span
    middle = start + (stop - start) * share
    parts = [*times_between(schedule, start, middle), *times_between(schedule, middle, stop)]
    if start <= middle <= stop:
        assert parts == list(times_between(schedule, start, stop))


@given(schedules())
def test_a_schedule_survives_its_dict(schedule):
    assert schedule_from_dict(schedule_to_dict(schedule), calendars=FILES) == schedule


@given(schedules(), instants())
def test_a_run_is_stopped_after_it_is_due(schedule, due):
    stop = stop_time(schedule, due)
    assert (stop is None) == (schedule.stop is None)
    assert stop is None or stop > due


@given(schedules())
def test_every_schedule_can_be_told_in_words(schedule):
    assert explain(schedule)
    assert ("disabled" in explain(schedule)) is not schedule.enabled


@given(schedules())
def test_no_schedule_fails_at_the_ends_of_time(schedule):
    first, last = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    for start, stop in [(first, first + timedelta(days=3)), (last - timedelta(days=3), last)]:
        assert all(start <= o.at < stop for o in islice(times_between(schedule, start, stop), 50))


@given(schedules(), spans())
def test_args_of_a_time_tell_that_time(schedule, span):
    for occurrence in islice(times_between(schedule, *span), 50):
        assert at(occurrence.args["time"]) == occurrence.at
        assert occurrence.args["schedule_time"] == occurrence.args["time"]


def test_a_window_needs_zones():
    schedule = schedule_from_dict({"type": "interval", "interval": "1h"})
    with pytest.raises(ValueError, match="need a time zone"):
        times_between(schedule, datetime(2024, 1, 1), at("2024-01-02T00:00:00Z"))  # noqa: DTZ001


def test_times_are_made_as_they_are_asked_for():
    schedule = schedule_from_dict({"type": "interval", "interval": "1s"})
    times = times_between(schedule, at("2024-01-01T00:00:00Z"), at("9000-01-01T00:00:00Z"))
    assert next(times).at == at("2024-01-01T00:00:00Z")


# -- interval


def test_an_interval_counts_from_1970_and_knows_no_clocks():
    data = {"type": "interval", "interval": "7h", "phase": "10m"}
    times = list(
        times_between(schedule_from_dict(data), at("1970-01-01T00:00:00Z"), at("1970-01-02T00:00:00Z"))
    )
    assert [o.at.strftime("%H:%M") for o in times] == ["00:10", "07:10", "14:10", "21:10"]
    assert times[1].args == {
        "time": "1970-01-01T07:10:00+00:00",
        "schedule_time": "1970-01-01T07:10:00+00:00",
        "date": "1970-01-01",
        "daytime": "07:10:00",
    }


def test_an_interval_of_fractions_does_not_drift():
    schedule = IntervalSchedule(interval_s=0.1)
    start = at("2026-01-01T00:00:00Z")
    times = list(times_between(schedule, start, start + timedelta(hours=1)))
    assert len(times) == 36000
    assert times[-1].at == start + timedelta(hours=1) - timedelta(milliseconds=100)
    assert times[-1].args["daytime"] == "00:59:59.9"


# -- daily


def daily(**keys):
    return {"type": "daily", "tz": "America/New_York", "daytime": "20:00:00", **keys}


def test_a_daily_time_carries_its_nominal_date():
    schedule = schedule_from_dict(daily(calendar="Mon-Fri", cal_shift=1, date_shift=-1))
    times = list(times_between(schedule, at("2024-01-01T05:00:00Z"), at("2024-01-08T05:00:00Z")))
    assert [(o.args["date"], o.at.astimezone(zone("America/New_York")).strftime("%a")) for o in times] == [
        ("2024-01-01", "Mon"),
        ("2024-01-02", "Tue"),
        ("2024-01-03", "Wed"),
        ("2024-01-04", "Thu"),
        ("2024-01-05", "Sun"),  # Friday's
    ]
    assert times[0].args["calendar"] == "Mon-Fri"
    assert times[0].args["tz"] == "America/New_York"
    assert times[0].args["daytime"] == "20:00:00"
    assert times[0].args["time"] == "2024-01-02T01:00:00+00:00"


def test_a_date_shift_moves_out_of_the_calendar():
    schedule = schedule_from_dict(daily(calendar="Mon", date_shift=-1))
    (sunday,) = times_between(schedule, at("2024-01-05T00:00:00Z"), at("2024-01-11T00:00:00Z"))
    assert sunday.args["date"] == "2024-01-08"
    assert sunday.at == at("2024-01-08T01:00:00Z")


def test_the_default_calendar_keeps_the_name_that_job_files_rely_on():
    (first, *_) = times_between(
        schedule_from_dict(daily()), at("2024-01-01T05:00:00Z"), at("2024-01-03T05:00:00Z")
    )
    assert first.args["calendar"] == "all days"


SPRING = ("2023-03-12T05:00:00Z", "2023-03-13T04:00:00Z")
AUTUMN = ("2023-11-05T04:00:00Z", "2023-11-06T05:00:00Z")


def test_a_daytime_that_the_clocks_skip_is_left_out():
    assert local(daily(daytime=["01:30:00", "02:30:00", "03:30:00"]), *SPRING) == ["12 01:30", "12 03:30"]


def test_a_daytime_that_the_clocks_show_twice_counts_once_the_first_time():
    schedule = schedule_from_dict(daily(daytime=["01:30:00"]))
    (only,) = times_between(schedule, *map(at, AUTUMN))
    assert only.at == at("2023-11-05T05:30:00Z")


def test_a_window_that_starts_in_the_second_pass_of_an_hour_is_no_trouble():
    schedule = schedule_from_dict(daily(daytime=["01:30:00", "02:00:00"]))
    (only,) = times_between(schedule, at("2023-11-05T06:05:00Z"), at(AUTUMN[1]))
    assert only.at == at("2023-11-05T07:00:00Z")


def test_a_calendar_without_days_gives_no_times():
    schedule = schedule_from_dict(daily(calendar="none"))
    assert list(times_between(schedule, at("2024-01-01T00:00:00Z"), at("2034-01-01T00:00:00Z"))) == []


@given(any_calendars(), st.lists(st.integers(-31, 31).filter(bool), min_size=1, max_size=3), spans())
def test_days_of_the_month_are_counted_in_the_calendar(calendar, numbers, span):
    start, stop = span
    schedule = DailySchedule(
        tz=zone("UTC"), daytimes=(time(12),), calendar=calendar, days_of_month=tuple(numbers)
    )
    wanted = []
    day = start.date().replace(day=1)
    while day <= stop.date():
        month = [day + timedelta(days=n) for n in range(monthrange(day.year, day.month)[1])]
        days = [d for d in month if d in calendar]
        chosen = [d for n, d in enumerate(days) if {n + 1, n - len(days)} & set(numbers)]
        wanted += [datetime.combine(d, time(12), UTC) for d in chosen]
        day = month[-1] + timedelta(days=1)
    assert [o.at for o in times_between(schedule, start, stop)] == [at for at in wanted if start <= at < stop]


class Counted(Calendar):
    """All days; counts how often it is asked."""

    asked: ClassVar[list[date]] = []

    def __contains__(self, day: date, /) -> bool:
        self.asked.append(day)
        return day.day < 20


@pytest.mark.parametrize("cal_shift", [-40, 0, 40])
def test_a_day_that_no_month_has_is_not_looked_for_until_the_end_of_time(cal_shift):
    Counted.asked.clear()
    schedule = DailySchedule(
        tz=zone("UTC"),
        daytimes=(time(12),),
        calendar=Counted(name="counted"),
        days_of_month=(25,),
        cal_shift=cal_shift,
    )
    assert list(times_between(schedule, at("2026-01-01T00:00:00Z"), at("2026-01-05T00:00:00Z"))) == []
    assert len(Counted.asked) < 1000


@pytest.mark.parametrize(
    ("keys", "shown"),
    [
        ({"day_of_month": 3}, ["01-03", "02-03", "03-03"]),
        ({"day_of_month": -1}, ["01-31", "02-28", "03-31"]),
        ({"day_of_month": 31}, ["01-31", "03-31"]),
        ({"day_of_month": [15, 1]}, ["01-01", "01-15", "02-01", "02-15", "03-01", "03-15"]),
        ({"day_of_month": 1, "calendar": "Mon-Fri"}, ["01-01", "02-02", "03-02"]),
        ({"day_of_month": -1, "calendar": "XNYS-business"}, ["01-30", "02-27", "03-31"]),
        # the day before the last business day, and the day after the third one
        ({"day_of_month": -1, "calendar": "Mon-Fri", "cal_shift": -1}, ["01-29", "02-26", "03-30"]),
        ({"day_of_month": 3, "calendar": "Mon-Fri", "date_shift": 1}, ["01-06", "02-05", "03-05"]),
        ({"day_of_month": 1, "calendar": "none"}, []),
        ({"day_of_month": 1, "calendar": "US-holidays & none", "cal_shift": 1}, []),
    ],
)
def test_a_day_of_the_month(keys, shown):
    schedule = schedule_from_dict({"type": "daily", "tz": "UTC", "daytime": "12:00:00", **keys})
    found = times_between(schedule, at("2026-01-01T00:00:00Z"), at("2026-04-01T00:00:00Z"))
    assert [o.at.strftime("%m-%d") for o in found] == shown


def test_a_calendar_that_ends_ends_the_schedule_and_nothing_else():
    data = daily(calendar="Mon-Fri - US-holidays", cal_shift=1)
    schedule = schedule_from_dict(data)
    found = list(times_between(schedule, at("2100-12-20T00:00:00Z"), at("2102-01-01T00:00:00Z")))
    assert found[-1].args["date"] == "2100-12-29"
    assert found[-1].at == at("2100-12-31T01:00:00Z")  # the evening of the 30th; New Year is kept on the 31st
    assert list(times_between(schedule, at("2101-02-01T00:00:00Z"), at("2400-01-01T00:00:00Z"))) == []


# -- daily-interval


def window(**keys):
    return {"type": "daily-interval", "tz": "America/New_York", "interval": "30m", **keys}


def test_a_window_stops_before_its_end():
    found = local(window(start="09:00:00", stop="10:30:00"), "2024-01-01T05:00:00Z", "2024-01-02T05:00:00Z")
    assert found == ["01 09:00", "01 09:30", "01 10:00"]


def test_a_window_over_the_gap_steps_in_real_time():
    assert local(window(start="01:15:00", stop="04:00:00"), *SPRING) == [
        "12 01:15",
        "12 01:45",
        "12 03:15",
        "12 03:45",
    ]


def test_a_window_over_the_repeat_shows_both_passes():
    assert local(window(start="01:00:00", stop="02:30:00"), *AUTUMN) == [
        "05 01:00",
        "05 01:30",
        "05 01:00",
        "05 01:30",
        "05 02:00",
    ]


def test_a_window_whose_start_or_stop_is_skipped_leaves_out_the_day():
    assert local(window(start="02:30:00", stop="05:00:00"), *SPRING) == []
    assert local(window(start="01:00:00", stop="02:30:00"), *SPRING) == []


def test_a_window_that_stops_in_the_repeat_stops_at_its_first_showing():
    assert local(window(start="01:00:00", stop="01:30:00"), *AUTUMN) == ["05 01:00"]


def test_a_window_that_is_turned_round_gives_nothing():
    assert (
        local(window(start="10:00:00", stop="09:00:00"), "2024-01-01T05:00:00Z", "2024-02-01T05:00:00Z") == []
    )


def test_a_window_over_midnight_keeps_its_nominal_date():
    data = window(start="23:00:00", stop={"daytime": "00:31:00", "date_shift": 1})
    found = list(
        times_between(schedule_from_dict(data), at("2024-01-02T04:00:00Z"), at("2024-01-02T23:00:00Z"))
    )
    assert [(o.args["date"], o.args["sched_date"], o.args["daytime"]) for o in found] == [
        ("2024-01-01", "2024-01-01", "23:00:00"),
        ("2024-01-01", "2024-01-01", "23:30:00"),
        ("2024-01-01", "2024-01-02", "00:00:00"),
        ("2024-01-01", "2024-01-02", "00:30:00"),
    ]
    assert found[0].args["calendar"] == "all days"


def test_windows_that_overlap_are_merged_by_time():
    data = window(start="00:00:00", stop={"daytime": "00:00:00", "date_shift": 2}, interval="16h")
    found = list(
        times_between(schedule_from_dict(data), at("2024-01-03T05:00:00Z"), at("2024-01-04T05:00:00Z"))
    )
    assert [(o.args["date"], o.args["daytime"]) for o in found] == [
        ("2024-01-03", "00:00:00"),
        ("2024-01-02", "08:00:00"),
        ("2024-01-03", "16:00:00"),
    ]


def test_a_window_is_shifted_in_its_calendar():
    data = window(
        calendar="Mon-Fri",
        start={"daytime": "09:00:00", "cal_shift": 1},
        stop={"daytime": "09:01:00", "cal_shift": 1},
    )
    found = list(
        times_between(schedule_from_dict(data), at("2024-01-05T05:00:00Z"), at("2024-01-09T05:00:00Z"))
    )
    assert [(o.args["date"], o.args["sched_date"]) for o in found] == [
        ("2024-01-04", "2024-01-05"),
        ("2024-01-05", "2024-01-08"),
    ]


# -- explicit, cron


def test_explicit_times_are_sorted_and_counted_once():
    data = {
        "type": "explicit",
        "times": ["2024-01-02T00:00:00Z", "2024-01-01T01:00:00+01:00", at("2024-01-02T00:00:00Z")],
    }
    found = list(
        times_between(schedule_from_dict(data), at("2024-01-01T00:00:00Z"), at("2025-01-01T00:00:00Z"))
    )
    assert [o.at.day for o in found] == [1, 2]
    assert found[0].args["time"] == "2024-01-01T00:00:00+00:00"


def cron(text):
    return {"type": "cron", "cron": text, "tz": "America/New_York"}


@pytest.mark.parametrize(
    ("text", "start", "stop", "shown"),
    [
        ("30 9 * * 1-5", "2024-01-05T05:00:00Z", "2024-01-09T05:00:00Z", ["05 09:30", "08 09:30"]),
        ("@daily", "2024-01-05T05:00:00Z", "2024-01-07T05:00:00Z", ["05 00:00", "06 00:00"]),
        ("0 0 L * *", "2024-02-01T05:00:00Z", "2024-03-02T05:00:00Z", ["29 00:00"]),
        # a fixed time in the gap runs at once after it, one in the repeat once
        ("30 2 * * *", *SPRING, ["12 03:00"]),
        ("30 1 * * *", *AUTUMN, ["05 01:30"]),
        # wildcards follow the clocks
        ("0 * * * *", "2023-11-05T05:00:00Z", "2023-11-05T08:00:00Z", ["05 01:00", "05 01:00", "05 02:00"]),
        ("0 * * * *", "2023-03-12T06:00:00Z", "2023-03-12T08:00:00Z", ["12 01:00", "12 03:00"]),
        ("30 1 * * *", "2023-11-05T06:10:00Z", AUTUMN[1], []),
        # the 29th that is a third Monday never comes
        ("0 0 */28 2 1#3", "2024-01-01T00:00:00Z", "2034-01-02T00:00:00Z", []),
    ],
)
def test_cron_keeps_the_rules_of_debian(text, start, stop, shown):
    assert local(cron(text), start, stop) == shown


def test_a_cron_time_carries_its_local_date():
    (first, *_) = times_between(
        schedule_from_dict(cron("0 21 * * *")), at("2024-01-02T00:00:00Z"), at("2024-01-04T00:00:00Z")
    )
    assert first.args == {
        "date": "2024-01-01",
        "time": "2024-01-02T02:00:00+00:00",
        "schedule_time": "2024-01-02T02:00:00+00:00",
        "daytime": "21:00:00",
        "tz": "America/New_York",
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "0 30 9 * * 1-5",
            "of five fields: it has 6; the first would be seconds, which are not supported:"
            " did you mean '30 9 * * 1-5'?",
        ),
        (
            "0 30 9 ? * MON-FRI 2026",
            "of five fields: it has 7; the first would be seconds and the last years, which are not"
            " supported: did you mean '30 9 * * MON-FRI'?",
        ),
        ("30 9 * *", ": it has 4 of the five fields, minute, hour, day-of-month, month, day-of-week: an"),
        ("", ": it has 0 of the five fields"),
        ("0 9 ? * 1-5", ": write * instead of ?: did you mean '0 9 * * 1-5'?"),
        ("60 9 * * *", ": the minute is '60', and may be * or 0-59, lists, ranges and steps"),
        ("0 25 * * *", ": the hour is '25', and may be * or 0-23"),
        ("0 9 0 * *", ": the day-of-month is '0', and may be * or 1-31 or L, the last"),
        ("0 9 30 2 *", ": no month that it names has a day 30"),
        ("0 9 * XXX *", ": the month is 'XXX', and may be * or 1-12 or JAN-DEC"),
        ("0 9 * * MO", ": the day-of-week is 'MO', and may be * or 0-7 or SUN-SAT; 0 and 7 are Sunday"),
        ("0 9 * * 1/0", ": the day-of-week is '1/0'"),
        ("0 9 L/L * *", ": the day-of-month is 'L/L'"),
        ("@dayly", ": did you mean '@daily'?"),
        ("@reboot", ": a schedule knows no reboot"),
        ("@every 5m", ": for every 5m write a schedule with 'type: interval' and 'interval: 5m'"),
        ("@x", ": the names are @hourly, @daily"),
    ],
)
def test_a_wrong_cron_expression_is_told_from_what_was_meant(text, said):
    (fault,) = faults(cron(text))
    assert said in fault
    assert fault.startswith(f"schedule.0.cron: '{text}' is no cron expression")


@given(st.text(alphabet="0123456789*/,-?#LW @MONdaily", max_size=16))
def test_any_text_is_a_cron_expression_or_refused_in_words(text):
    try:
        schedule = schedule_from_dict(cron(text))
    except JobErrors:
        return
    assert explain(schedule)
    start, stop = at("2026-03-01T00:00:00Z"), at("2026-04-01T00:00:00Z")
    assert all(start <= o.at < stop for o in islice(times_between(schedule, start, stop), 99))


# -- what to think of


def warned(data) -> list[tuple[str, str]]:
    return list(warnings_of(schedule_from_dict(data, calendars=FILES), at("2026-03-01T00:00:00Z")))


@pytest.mark.parametrize(
    ("data", "key", "said"),
    [
        (
            daily(calendar="some"),
            "calendar",
            "the calendar 'some' ends on 2030-12-31: no times after that day",
        ),
        (
            daily(daytime="02:30:00"),
            "daytime",
            "on 2026-03-08 the clocks of America/New_York skip 02:30:00: that time is left out",
        ),
        (
            window(start="01:00:00", stop="02:45:00"),
            "start",
            "on 2026-03-08 the clocks of America/New_York skip 02:45:00: that day is left out",
        ),
        (
            daily(daytime="01:30:00"),
            "daytime",
            "on 2026-11-01 the clocks of America/New_York show 01:30:00 twice: the first one counts",
        ),
        (
            cron("*/20 2 * * *"),
            "cron",
            "on 2026-03-08 the clocks of America/New_York skip all its times: it does not run on that day",
        ),
    ],
)
def test_what_the_writer_of_a_schedule_may_not_have_thought_of_is_said(data, key, said):
    assert [about for about, text in warned(data) if text.startswith(said)] == [key]


@pytest.mark.parametrize(
    "data",
    [
        daily(daytime="02:30:00", calendar="Mon-Fri"),  # clocks change on Sundays
        daily(daytime="02:30:00", dst={"gap": "shift"}),
        daily(daytime="02:30:00", dst={"gap": "skip"}),
        daily(daytime="01:30:00", dst={"fold": "first"}),
        cron("30 2 * * *"),  # runs at 03:00
        cron("*/20 1-2 * * *"),
        daily(calendar="US-business"),  # ends in 2100
        {"type": "interval", "interval": 60},
    ],
)
def test_a_schedule_without_surprises_has_no_warnings(data):
    assert warned(data) == []


# -- stop


def with_stop(stop):
    return schedule_from_dict({"start": {"type": "interval", "interval": "1h"}, "stop": stop})


def test_a_run_is_stopped_some_time_after_it_is_due():
    schedule = with_stop({"type": "duration", "duration": "15m"})
    assert stop_time(schedule, at("2024-01-01T00:00:00Z")) == at("2024-01-01T00:15:00Z")


def test_a_run_is_stopped_at_the_next_daytime():
    schedule = with_stop({"type": "daytime", "daytime": "16:00:00", "tz": "America/New_York"})
    assert stop_time(schedule, at("2024-01-01T20:59:59Z")) == at("2024-01-01T21:00:00Z")
    assert stop_time(schedule, at("2024-01-01T21:00:00Z")) == at("2024-01-02T21:00:00Z")


def test_a_stop_time_that_the_clocks_skip_is_kept_all_the_same():
    schedule = with_stop({"type": "daytime", "daytime": "02:30:00", "tz": "America/New_York"})
    assert stop_time(schedule, at("2023-03-12T06:00:00Z")) == at("2023-03-12T07:30:00Z")


def test_a_stop_time_in_the_repeated_hour_is_never_in_the_past():
    schedule = with_stop({"type": "daytime", "daytime": "01:30:00", "tz": "America/New_York"})
    assert stop_time(schedule, at("2023-11-05T06:00:00Z")) == at("2023-11-05T06:30:00Z")


def test_no_stop_is_no_stop():
    assert stop_time(with_stop(None), at("2024-01-01T00:00:00Z")) is None


def test_past_the_end_of_time_nothing_is_stopped():
    last = datetime.max.replace(tzinfo=UTC)
    assert stop_time(with_stop({"type": "duration", "duration": "1h"}), last) is None
    assert stop_time(IntervalSchedule(interval_s=1, stop=StopDaytime(time(12), zone("UTC"))), last) is None


# -- in words


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"type": "interval", "interval": 3600}, "every hour"),
        ({"type": "interval", "interval": "90m"}, "every 90 minutes"),
        ({"type": "interval", "interval": "2d", "phase": "1h"}, "every 2 days, 1h after the full interval"),
        ({"type": "interval", "interval": 0.5, "args": {"a": 1}}, "every 0.5s, with a=1"),
        (daily(), "every day at 20:00:00 America/New_York"),
        (
            daily(calendar="Mon-Fri", daytime=["10:00:00", "09:00:00"], cal_shift=2, date_shift=-1),
            "Mon-Fri at 09:00:00 and 10:00:00 America/New_York (+2 calendar days, -1 day)",
        ),
        (daily(calendar="", enabled=False), "on no day at 20:00:00 America/New_York (disabled)"),
        (
            daily(daytime=[f"{h:02}:00:00" for h in range(10)]),
            "every day at 00:00:00, 01:00:00, 02:00:00, 03:00:00, 04:00:00, 05:00:00 and 4 more"
            " America/New_York",
        ),
        (
            window(start="10:00:00", stop={"daytime": "01:00:00", "date_shift": 1}),
            "every day, every 30 minutes from 10:00:00 to 01:00:00 (+1 day) America/New_York",
        ),
        ({"type": "explicit", "times": "2024-01-01T00:00:00Z"}, "at 2024-01-01T00:00:00Z"),
        (
            cron("*/5 8-18 * * 1-5"),
            "every fifth minute from 08:00 through 18:59 on Monday through Friday America/New_York"
            " (cron */5 8-18 * * 1-5)",
        ),
        (cron("@daily"), "at 00:00 every day America/New_York (cron @daily)"),
        (
            daily(calendar="all", day_of_month=[3, -1]),
            "the 3rd and last day of each month at 20:00:00 America/New_York",
        ),
        (
            daily(calendar="XNYS-business", day_of_month=-2, dst={"gap": "shift", "fold": "both"}),
            "the 2nd last XNYS-business day of each month at 20:00:00 America/New_York,"
            " what the clocks skip is moved on with the clocks, what they show twice counts both times",
        ),
        (
            cron("0 9 * * *") | {"dst": {}, "jitter": 90, "max_runs": 1, "misfire": "none", "args": {"a": 1}},
            "at 09:00 every day America/New_York (cron 0 9 * * *), what the clocks skip is left out,"
            " what they show twice counts the first time, with a=1, each up to 1m30s later,"
            " missed times are not run, skipped while a run is unfinished",
        ),
        (
            {"start": daily(), "stop": {"type": "daytime", "daytime": "23:00:00", "tz": "UTC"}},
            "every day at 20:00:00 America/New_York, stopped at 23:00:00 UTC",
        ),
        (
            {"start": daily(), "stop": {"type": "duration", "duration": 900}},
            "every day at 20:00:00 America/New_York, stopped after 15m",
        ),
    ],
)
def test_a_schedule_is_told_in_words(data, words):
    assert explain(schedule_from_dict(data)) == words


# -- the job file


def test_the_forms_of_the_job_file_are_read():
    assert schedule_from_dict(daily(daytime=36000, calendar=0)) == DailySchedule(
        tz=zone("America/New_York"),
        daytimes=(time(10),),
        calendar=schedule_from_dict(daily(calendar="0")).calendar,
    )
    assert isinstance(schedule_from_dict(window(start=0, stop=3600)), DailyIntervalSchedule)
    assert isinstance(schedule_from_dict(cron("@hourly")), CronSchedule)
    assert schedule_from_dict(
        {"type": "interval", "interval": 60, "misfire": "latest"}
    ).misfire == MisfireRule(policy="latest")
    assert schedule_from_dict({"start": daily(), "stop": None}) == schedule_from_dict(daily())


def faults(data) -> list[str]:
    with pytest.raises((JobError, JobErrors)) as caught:
        schedule_from_dict(data, ("schedule", 0))
    errors = caught.value.errors if isinstance(caught.value, JobErrors) else [caught.value]
    return [str(error) for error in errors]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (None, "schedule.0: a schedule must be a mapping, not nothing"),
        ("daily", "schedule.0: a schedule must be a mapping, not the text 'daily'"),
        (
            {},
            "schedule.0: a schedule: missing key 'type':"
            " one of interval, daily, daily-interval, explicit, cron",
        ),
        ({"type": "dayly"}, "schedule.0.type: unknown schedule type 'dayly': did you mean 'daily'?"),
        (
            {"type": ["daily"]},
            "schedule.0.type: unknown schedule type '['daily']': did you mean 'daily'?",
        ),
        ({"type": "interval"}, "schedule.0: an interval schedule: missing key 'interval'"),
        ({"type": "interval", "interval": 0}, "schedule.0.interval: must be more than 0, not 0"),
        (
            {"type": "interval", "interval": 1e-7},
            "schedule.0.interval: must be a microsecond or more, not 1e-07",
        ),
        ({"type": "interval", "interval": "200000d"}, "schedule.0.interval: 200000d is too long"),
        (
            {"type": "interval", "interval": 60, "phase": 60},
            "schedule.0.phase: must be less than the interval (1m)",
        ),
        ({"type": "interval", "interval": 60, "phase": -1}, "schedule.0.phase: must be 0 or more, not -1"),
        (
            {"type": "interval", "interval": 60, "args": None},
            "schedule.0.args: must be a mapping, not nothing",
        ),
        (
            {"type": "interval", "interval": 60, "args": {"a": [1]}},
            "schedule.0.args: 'a' must be text, not a list",
        ),
        (
            {"type": "interval", "interval": 60, "enabled": "false"},
            "schedule.0.enabled: must be true or false without quotes, not the text 'false'",
        ),
        (
            {"type": "interval", "interval": 60, "misfire": "some"},
            "schedule.0.misfire: must be all, latest or none, not the text 'some'",
        ),
        (
            {"type": "interval", "interval": 60, "jitter": "500ms"},
            "schedule.0.jitter: '500ms' is no duration: unknown unit 'ms', use w, d, h, m, s",
        ),
        (
            {"type": "interval", "interval": 60, "jitter": 0.5},
            "schedule.0.jitter: must be a second or more, or 0 for none, not 0.5",
        ),
        (
            daily(tz="Europe/Lodnon"),
            "schedule.0.tz: unknown time zone 'Europe/Lodnon': did you mean 'Europe/London'?",
        ),
        (daily(tz=1), "schedule.0.tz: must be the name of a time zone, not 1"),
        (daily(daytime=[]), "schedule.0.daytime: must have one or more daytimes"),
        (
            daily(daytime=["9:00"]),
            "schedule.0.daytime.0: '9:00' is no daytime: write the seconds too, '9:00:00'",
        ),
        (
            daily(calendar="Mon-Friday"),
            "schedule.0.calendar: no such calendar: 'Mon-Friday': did you mean 'Mon-Fri'?",
        ),
        (daily(calendar=True), "schedule.0.calendar: must be the name of a calendar, not True"),
        (daily(date_shift="1"), "schedule.0.date_shift: must be a whole number, not the text '1'"),
        (daily(cal_shift=True), "schedule.0.cal_shift: must be a whole number, not True"),
        (
            daily(cal_shift=10**9),
            "schedule.0.cal_shift: must be a number of days up to 36525, not 1000000000",
        ),
        (daily(calender="all"), "schedule.0.calender: unknown key 'calender': did you mean 'calendar'?"),
        ({"type": "daily", "tz": "UTC"}, "schedule.0: a daily schedule: missing key 'daytime'"),
        (window(start="1", stop="09:00:00"), "schedule.0.start: '1' is no daytime: write it as '09:30:00'"),
        (window(stop="09:00:00"), "schedule.0: a daily-interval schedule: missing key 'start'"),
        (
            window(start="08:00:00", stop={"daytime": "09:00:00", "date_shfit": 1}),
            "schedule.0.stop.date_shfit: unknown key 'date_shfit': did you mean 'date_shift'?",
        ),
        (window(start=0, stop=1, interval="24h"), "schedule.0.interval: must be less than a day"),
        ({"type": "explicit"}, "schedule.0: an explicit schedule: missing key 'times'"),
        ({"type": "explicit", "times": []}, "schedule.0.times: must have one or more times"),
        (
            {"type": "explicit", "times": [date(2024, 1, 1)]},
            "schedule.0.times.0: 2024-01-01 is no time: write it as '2026-01-31T09:00:00Z'",
        ),
        (
            cron("* * *"),
            "schedule.0.cron: '* * *' is no cron expression: it has 3 of the five fields, minute, hour,"
            " day-of-month, month, day-of-week: an example is '*/5 8-18 * * 1-5'",
        ),
        (
            daily(dst={"gap": "shfit"}),
            "schedule.0.dst.gap: must be skip or shift, not the text 'shfit': did you mean 'shift'?",
        ),
        (daily(dst="shift"), "schedule.0.dst: 'dst' must be a mapping, not the text 'shift'"),
        (daily(dst={"fold": 2}), "schedule.0.dst.fold: must be first, second or both, not 2"),
        (
            daily(day_of_month=0),
            "schedule.0.day_of_month: must be 1 to 31, or -1 (the last day) to -31, not 0",
        ),
        (
            {"type": "interval", "interval": 60, "misfire": {"max_count": -1}},
            "schedule.0.misfire.max_count: must be 0 to 1,000,000, not -1",
        ),
        (
            {"type": "interval", "interval": 60, "misfire": {"max_age": 0}},
            "schedule.0.misfire.max_age: must be more than 0, not 0",
        ),
        (
            {"type": "interval", "interval": 60, "max_runs": 0},
            "schedule.0.max_runs: must be a number of runs from 1 on, not 0",
        ),
        (
            {"type": "interval", "interval": 60, "jitter": "25h"},
            "schedule.0.jitter: must be a day or less, not 25h",
        ),
        (
            {"type": "interval", "interval": 60, "dst": {}},
            "schedule.0.dst: unknown key 'dst': an interval is the same whatever clocks show",
        ),
        (
            {"start": {"type": "interval", "interval": 1}, "jitter": 5},
            "schedule.0.jitter: unknown key 'jitter': write it inside 'start'",
        ),
        (cron(5), "schedule.0.cron: must be a quoted cron expression, not 5"),
        (
            {"start": {"type": "interval", "interval": 1}, "args": {}},
            "schedule.0.args: unknown key 'args': write it inside 'start'",
        ),
        (
            {"start": {"type": "interval", "interval": 1}, "stop": {"type": "duration"}},
            "schedule.0.stop: a duration stop: missing key 'duration'",
        ),
        (
            {"start": {"type": "interval", "interval": 1}, "stop": {"type": "duration", "duration": 0}},
            "schedule.0.stop.duration: must be more than 0, not 0",
        ),
        (
            {
                "start": {"type": "interval", "interval": 1},
                "stop": {"type": "daytime", "daytime": "16:00:00"},
            },
            "schedule.0.stop: a daytime stop: missing key 'tz'",
        ),
        (
            {"start": {"type": "interval", "interval": 1}, "stop": {"type": "never"}},
            "schedule.0.stop.type: unknown stop type 'never': one of duration, daytime",
        ),
    ],
)
def test_what_is_wrong_with_a_schedule_is_said(data, said):
    assert faults(data) == [said]


def test_all_that_is_wrong_is_said_at_once():
    assert faults({"type": "daily", "tz": "x", "daytime": ["a", "b"], "calendar": "c", "d": 1}) == [
        "schedule.0.tz: unknown time zone 'x': write an IANA name such as Europe/London",
        "schedule.0.daytime.0: 'a' is no daytime: write it as '09:30:00'",
        "schedule.0.daytime.1: 'b' is no daytime: write it as '09:30:00'",
        "schedule.0.calendar: no such calendar: 'c': write all, none, weekdays such as Mon-Fri or Mon,Wed,"
        " holidays such as US-holidays or XNYS-business, or the name of a .cal file",
        "schedule.0.d: unknown key 'd'",
    ]
