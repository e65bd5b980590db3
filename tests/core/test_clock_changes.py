"""Where clocks change: all zones against a clock that is read minute by minute; cron against cronsim."""

from collections import defaultdict
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from itertools import pairwise
from zoneinfo import available_timezones

import pytest
from cronsim import CronSim
from hypothesis import given
from hypothesis import strategies as st

from apsis_nb.core.schedules import (
    Bound,
    CronSchedule,
    DailyIntervalSchedule,
    DailySchedule,
    Dst,
    IntervalSchedule,
    count_between,
    schedule_from_dict,
    stop_time,
    times_between,
)
from apsis_nb.core.times import zone
from tests.strategies import crons

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
POLICIES = [Dst(gap=gap, fold=fold) for gap in ("skip", "shift") for fold in ("first", "second", "both")]


@cache
def changes() -> dict[str, list[date]]:
    """The days of 2020 to 2030 on which clocks change, by zone; what several do alike is of one of them."""
    days = [date.fromordinal(n) for n in range(date(2020, 1, 1).toordinal(), date(2031, 1, 2).toordinal())]
    found: dict[str, list[date]] = {}
    seen = set()
    for name in sorted(available_timezones()):
        offsets = [datetime.combine(day, time(), zone(name)).utcoffset() for day in days]
        for day, both in zip(days, pairwise(offsets), strict=False):
            if both[0] != both[1]:
                noon = datetime.combine(day, time(12), UTC)
                hours = (noon + timedelta(minutes=30 * n) for n in range(-48, 72))
                change = (day, *(at.astimezone(zone(name)).utcoffset() for at in hours))
                if change not in seen:
                    found.setdefault(name, []).append(day)
                    seen.add(change)
    return found


DAYTIMES = tuple(time(h, m) for h in range(24) for m in (0, 20, 45))


class Clock:
    """What a clock shows, read once a minute for 42 hours around a day on which it changes."""

    def __init__(self, name: str, day: date) -> None:
        self.tz = zone(name)
        self.start = datetime.combine(day, time(), self.tz).astimezone(UTC) - timedelta(hours=6)
        self.minutes = [self.start + n * MINUTE for n in range(42 * 60)]
        self.stop = self.minutes[-1] + MINUTE
        self.shown: dict[datetime, list[datetime]] = defaultdict(list)  # of DAYTIMES only
        self.skipped: dict[datetime, datetime] = {}
        wanted = {(d.hour, d.minute) for d in DAYTIMES}
        expected = next_local = self.start.astimezone(self.tz).replace(tzinfo=None)
        for at in self.minutes:
            local = at.astimezone(self.tz).replace(tzinfo=None)
            while next_local < local:
                # As if the clock had gone on as it was.
                self.skipped[next_local] = at + (next_local - expected)
                next_local += MINUTE
            expected = next_local = local + MINUTE
            if (local.hour, local.minute) in wanted:
                self.shown[local].append(at)

    def times(self, daytimes: tuple[time, ...], dst: Dst) -> list[datetime]:
        """When it shows one of these, as `dst` wants them."""
        pick = {"first": slice(0, 1), "second": slice(-1, None), "both": slice(None)}[dst.fold]
        found = [at for local, ats in self.shown.items() if local.time() in daytimes for at in ats[pick]]
        if dst.gap == "shift":
            found += [at for local, at in self.skipped.items() if local.time() in daytimes]
        return sorted(found)

    def windows(self, start: time, stop: time, dst: Dst) -> list[datetime]:
        """Every 20 minutes from when it shows `start` to before it shows `stop` on the same day."""
        stops, found = self.times((stop,), dst), []
        for begin in self.times((start,), dst):
            # If the clock skips the stop there is none on that day, and no window.
            end = next((s for s in stops if timedelta() < s - begin < timedelta(hours=8)), begin)
            found += [begin + n * 20 * MINUTE for n in range(-((begin - end) // (20 * MINUTE)))]
        return found


def test_there_are_zones_of_every_sort():
    steps = {
        (
            zone(name).utcoffset(datetime.combine(day, time())),
            zone(name).utcoffset(datetime.combine(day + DAY, time())),
        )
        for name, days in changes().items()
        for day in days
    }
    assert len(changes()) > 40
    assert {after - before for before, after in steps} >= {timedelta(minutes=m) for m in (60, -60, 30, -30)}


@pytest.mark.parametrize("name", sorted(changes()))
def test_times_are_those_of_a_clock_read_by_the_minute(name: str):
    for day in changes()[name]:
        clock = Clock(name, day)
        for dst in (POLICIES[0], POLICIES[2], POLICIES[4]):  # each word once
            daily = DailySchedule(tz=clock.tz, daytimes=DAYTIMES, dst=dst)
            got = [o.at for o in times_between(daily, clock.start, clock.stop)]
            assert got == clock.times(DAYTIMES, dst), (day, dst)
        every = IntervalSchedule(interval_s=1020, phase_s=60)
        epoch = datetime(1970, 1, 1, tzinfo=UTC)
        assert [o.at for o in times_between(every, clock.start, clock.stop)] == [
            at for at in clock.minutes if (at - epoch) // MINUTE % 17 == 1
        ]
        for dst in POLICIES[:2]:
            start, stop = time(0, 20), time(3, 45)
            schedule = DailyIntervalSchedule(
                tz=clock.tz, start=Bound(start), stop_before=Bound(stop), interval_s=1200, dst=dst
            )
            first = clock.times((start,), dst)[0]
            got = [o.at for o in times_between(schedule, first, clock.stop)]
            # A window may go on after the last reading.
            last = clock.stop - timedelta(hours=8)
            assert [at for at in got if at < last] == [
                at for at in clock.windows(start, stop, dst) if at < last
            ], (day, dst)


NEAR_MIDNIGHT = ("Africa/Cairo", "America/Havana", "Asia/Beirut", "America/Santiago", "Africa/Casablanca")
OTHERS = ("America/New_York", "Europe/London", "Australia/Lord_Howe", "Asia/Tokyo", "Atlantic/Azores")


@st.composite
def nights(draw: st.DrawFn) -> tuple[str, date]:
    """A zone, and a day on which its clocks change, if they do."""
    name = draw(st.sampled_from(NEAR_MIDNIGHT + OTHERS))
    days = [date.fromordinal(n) for n in range(date(2022, 1, 1).toordinal(), date(2025, 1, 1).toordinal())]
    offsets = _offsets(name)
    changed = [day for day, both in zip(days, pairwise(offsets), strict=False) if both[0] != both[1]]
    return name, draw(st.sampled_from(changed or days))


@cache
def _offsets(name: str) -> list[timedelta | None]:
    first, last = date(2022, 1, 1).toordinal(), date(2025, 1, 2).toordinal()
    return [datetime.combine(date.fromordinal(n), time(), zone(name)).utcoffset() for n in range(first, last)]


@given(crons(), nights(), st.integers(3, 60), st.integers(1, 6))
def test_cron_times_are_those_of_cronsim(
    cron: str, night: tuple[str, date], days_before: int, days_after: int
):
    name, day = night
    tz = zone(name)
    start = datetime.combine(day - days_before * DAY, time(10, 7), UTC)
    stop = datetime.combine(day + days_after * DAY, time(22), UTC)
    fields = {"@hourly": "0 * * * *", "@daily": "0 0 * * *", "@weekly": "0 0 * * 0", "@monthly": "0 0 1 * *"}
    wanted: list[datetime] = []
    for local in CronSim(fields.get(cron, cron), (start - timedelta(seconds=1)).astimezone(tz)):
        at = local.astimezone(UTC)
        if at >= stop:
            break
        if not wanted or at > wanted[-1]:
            wanted.append(at)

    assert [o.at for o in times_between(CronSchedule(cron=cron, tz=tz), start, stop)] == wanted


@given(
    nights(),
    st.sets(st.sampled_from([0, 20, 45]), min_size=1),
    st.sets(st.integers(0, 23), min_size=1),
    st.sampled_from(POLICIES),
)
def test_cron_with_a_policy_is_a_clock_read_by_the_minute(
    night: tuple[str, date], minutes: set[int], hours: set[int], dst: Dst
):
    clock = Clock(*night)
    cron = f"{','.join(map(str, minutes))} {','.join(map(str, hours))} * * *"
    daytimes = tuple(time(h, m) for h in hours for m in minutes)

    found = times_between(CronSchedule(cron=cron, tz=clock.tz, dst=dst), clock.start, clock.stop)
    assert [o.at for o in found] == sorted(set(clock.times(daytimes, dst)))


# -- the table: New York, where clocks skip from 2 to 3 on 2023-03-12, and show 1 to 2 twice on 2023-11-05

SPRING = ("2023-03-12T05:00:00Z", "2023-03-13T04:00:00Z")
AUTUMN = ("2023-11-05T04:00:00Z", "2023-11-06T05:00:00Z")


def daily(*daytimes: str, **keys: object) -> dict[str, object]:
    return {"type": "daily", "tz": "America/New_York", "daytime": list(daytimes), **keys}


def window(start: str, stop: str, **keys: object) -> dict[str, object]:
    return {"type": "daily-interval", "tz": "America/New_York", "interval": "30m", "start": start,
            "stop": stop, **keys}  # fmt: skip


def cron(text: str, **keys: object) -> dict[str, object]:
    return {"type": "cron", "tz": "America/New_York", "cron": text, **keys}


SHIFT, SECOND, BOTH = {"gap": "shift"}, {"fold": "second"}, {"fold": "both"}


@pytest.mark.parametrize(
    ("data", "span", "utc"),
    [
        # a daytime that is skipped: left out, or as much later as clocks are put forward
        (daily("01:30:00", "02:30:00", "03:30:00"), SPRING, "06:30 07:30"),
        (daily("01:30:00", "02:30:00", "03:45:00", dst=SHIFT), SPRING, "06:30 07:30 07:45"),
        (daily("02:30:00", "03:00:00", dst=SHIFT), SPRING, "07:00 07:30"),  # in the order of time
        # one that is repeated
        (daily("01:30:00"), AUTUMN, "05:30"),
        (daily("01:30:00", dst=SECOND), AUTUMN, "06:30"),
        (daily("01:30:00", dst=BOTH), AUTUMN, "05:30 06:30"),
        # asked for from within the second pass
        (daily("01:30:00"), ("2023-11-05T06:05:00Z", AUTUMN[1]), ""),
        (daily("01:30:00", dst=SECOND), ("2023-11-05T06:05:00Z", AUTUMN[1]), "06:30"),
        # intervals do not mind
        ({"type": "interval", "interval": "8h"}, SPRING, "08:00 16:00 00:00"),
        # the start or the stop of a window is skipped: the day is left out, or the bound is shifted
        (window("02:30:00", "05:00:00"), SPRING, ""),
        (window("01:00:00", "02:30:00"), SPRING, ""),
        (window("02:30:00", "04:30:00", dst=SHIFT), SPRING, "07:30 08:00"),
        (window("01:00:00", "02:30:00", dst=SHIFT), SPRING, "06:00 06:30 07:00"),
        # a window over the gap, and over the repeat
        (window("01:15:00", "04:00:00"), SPRING, "06:15 06:45 07:15 07:45"),
        (window("01:00:00", "02:30:00"), AUTUMN, "05:00 05:30 06:00 06:30 07:00"),
        # its start or stop in the repeat
        (window("00:30:00", "01:30:00"), AUTUMN, "04:30 05:00"),
        (window("01:30:00", "02:30:00"), AUTUMN, "05:30 06:00 06:30 07:00"),
        (window("01:30:00", "02:30:00", dst=SECOND), AUTUMN, "06:30 07:00"),
        (window("01:00:00", "01:30:00", dst=BOTH), AUTUMN, "05:00 05:30 06:00"),
        # cron, by Debian's rules: a fixed time runs once, wildcards follow the clocks
        (cron("30 2 * * *"), SPRING, "07:00"),
        (cron("30 1 * * *"), AUTUMN, "05:30"),
        (cron("0 0-3 * * *"), SPRING, "05:00 06:00 07:00"),
        (cron("*/30 1 * * *"), AUTUMN, "05:00 05:30 06:00 06:30"),
        # and by others
        (cron("30 2 * * *", dst={}), SPRING, ""),
        (cron("30 2 * * *", dst=SHIFT), SPRING, "07:30"),
        (cron("30 2,3 * * *", dst=SHIFT), SPRING, "07:30"),
        (cron("30 1 * * *", dst=BOTH), AUTUMN, "05:30 06:30"),
        (cron("*/30 1 * * *", dst=SECOND), AUTUMN, "06:00 06:30"),
    ],
)
def test_the_table_of_clock_changes(data: dict[str, object], span: tuple[str, str], utc: str):
    start, stop = map(datetime.fromisoformat, span)
    found = times_between(schedule_from_dict(data), start, stop)

    assert " ".join(o.at.strftime("%H:%M") for o in found) == utc


@pytest.mark.parametrize(
    ("daytime", "scheduled", "stop"),
    [
        # skipped: as much later as clocks are put forward
        ("02:30:00", "2023-03-12T05:00:00Z", "2023-03-12T07:30:00Z"),
        # repeated: the first one that is after the scheduled time
        ("01:30:00", "2023-11-05T05:00:00Z", "2023-11-05T05:30:00Z"),
        ("01:30:00", "2023-11-05T06:10:00Z", "2023-11-05T06:30:00Z"),
    ],
)
def test_a_stop_time_where_clocks_change(daytime: str, scheduled: str, stop: str):
    data = {"start": {"type": "interval", "interval": "1h"},
            "stop": {"type": "daytime", "daytime": daytime, "tz": "America/New_York"}}  # fmt: skip

    assert stop_time(schedule_from_dict(data), datetime.fromisoformat(scheduled)) == datetime.fromisoformat(
        stop
    )


def test_a_day_that_a_zone_left_out_is_shifted_to_the_next():
    data = {"type": "daily", "tz": "Pacific/Apia", "daytime": "09:00:00"}
    span = datetime(2011, 12, 29, tzinfo=UTC), datetime(2012, 1, 1, tzinfo=UTC)

    skipped = [o.args["date"] for o in times_between(schedule_from_dict(data), *span)]
    shifted = list(times_between(schedule_from_dict(data | {"dst": {"gap": "shift"}}), *span))

    assert skipped == ["2011-12-29", "2011-12-31", "2012-01-01"]
    assert [o.args["date"] for o in shifted] == ["2011-12-29", "2011-12-30", "2011-12-31", "2012-01-01"]
    assert shifted[1].at == shifted[2].at


def test_years_are_counted_without_going_through_them():
    data = cron("* * * * *")
    start, stop = datetime(2020, 1, 1, 0, 0, 1, tzinfo=UTC), datetime(2025, 1, 1, 0, 0, 1, tzinfo=UTC)

    assert count_between(schedule_from_dict(data), start, stop) == (stop - start) // MINUTE
