"""What becomes of times that were missed, and of jitter, as a simulated server shows it."""

import re
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apsis_nb.core.jobs import Job, job_from_dict
from apsis_nb.core.runs import Run
from apsis_nb.core.schedules import (
    IntervalSchedule,
    count_due,
    counts_between,
    due_between,
    explain,
    schedule_from_dict,
    times_between,
)
from apsis_nb.core.states import State
from apsis_nb.core.upcoming import Upcoming
from tests.core.world import START, World, after
from tests.strategies import schedules, spans

HOUR_S, DAY_S = 3600, 86400
WHY = "misfire: the server was down or busy at its time"


def job(params: list[str] | None = None, **keys: object) -> Job:
    schedule = {"type": "interval", "interval": "1h", "phase": "30m", **keys}
    return job_from_dict("a", {"program": "true", "params": params or [], "schedule": schedule})


def asleep(job: Job, days: float = 3, up_s: float = 600) -> list[Run]:
    """The runs of a job of which the machine slept for some days, after it had been up for a while."""
    world = World(jobs=[job])
    world.run(after(up_s)).settle()
    assert not world.of_job("a")
    world.now = after(up_s + days * DAY_S)
    world.boot()
    world.run(world.now + timedelta(seconds=30)).settle()
    return world.of_job("a")


def ran(runs: list[Run]) -> list[datetime]:
    return [r.nominal_at for r in runs if r.state is State.SUCCESS and r.nominal_at]


def reasons(runs: list[Run]) -> Counter[str | None]:
    return Counter(r.skip_reason for r in runs if r.state is State.SKIPPED)


def hours(first: int, last: int) -> list[datetime]:
    """Half past, from so many hours after the start."""
    return [after(h * HOUR_S + 1800) for h in range(first, last + 1)]


# From 00:10 to 00:10 three days later, 72 times are missed.


def test_asleep_for_three_days_the_latest_of_equal_runs_is_run():
    runs = asleep(job())

    assert len(runs) == 72
    assert ran(runs) == hours(71, 71)
    assert reasons(runs) == {f"{WHY}; only the latest is run": 71}


@pytest.mark.parametrize("keys", [{}, {"misfire": "all"}, {"misfire": {"policy": "all"}}])
def test_asleep_for_three_days_of_runs_that_differ_the_newest_20_are_run(keys: dict[str, object]):
    runs = asleep(job(params=["time"], **keys))

    assert ran(runs) == hours(52, 71)
    assert reasons(runs) == {f"{WHY}; only the newest 20 are run": 52}


def test_asleep_for_three_days_none_is_run():
    runs = asleep(job(params=["time"], misfire="none"))

    assert ran(runs) == []
    assert reasons(runs) == {f"{WHY}; missed times are not run": 72}


def test_asleep_for_three_days_what_is_older_than_max_age_is_not_run():
    runs = asleep(job(params=["time"], misfire={"max_age": "5h"}))

    assert ran(runs) == hours(67, 71)
    assert reasons(runs) == {
        f"{WHY}; only the newest 20 are run": 52,
        f"{WHY}; what is found more than 5h late is not run": 15,
    }


def test_asleep_for_three_days_as_many_as_max_count_and_a_day_allow_are_run():
    few, many = (asleep(job(params=["time"], misfire={"max_count": n})) for n in (3, 1000))

    assert ran(few) == hours(69, 71)
    assert reasons(few) == {f"{WHY}; only the newest 3 are run": 69}
    assert ran(many) == hours(48, 71)
    assert reasons(many) == {f"{WHY}; what is found more than 1d late is not run": 48}


def test_asleep_for_long_even_the_latest_may_be_too_old():
    schedule = {"interval": "1w", "phase": "5d"}  # Tuesday at midnight
    runs = asleep(job(**schedule), days=5)

    assert ran(runs) == []
    assert reasons(runs) == {f"{WHY}; what is found more than 1d late is not run": 1}


def test_a_minute_late_is_not_missed():
    world = World(jobs=[job(misfire="none")])
    world.run(after(600)).settle()
    world.now = after(1800 + 60)
    world.boot()
    world.run(after(1900)).settle()

    assert ran(world.of_job("a")) == hours(0, 0)


def test_what_is_missed_too_often_to_be_listed_is_one_row_that_says_how_often():
    runs = asleep(job(interval="1m", phase=30, misfire="latest"), days=3, up_s=20)

    assert len(runs) == 1 + 1000 + 2  # the last two are not missed
    assert runs[0].skip_reason == (
        "misfire: 3,319 times from 2026-01-05 00:00:30Z to 2026-01-07 07:18:30Z, as the schedule counts them"
        " now; this row stands for them all"
    )
    assert runs[0].nominal_at == after(30)
    assert runs[1].nominal_at == datetime(2026, 1, 7, 7, 19, 30, tzinfo=UTC)
    assert 3319 + 1000 + 2 == 3 * 1440 + 1
    assert len(ran(runs)) == 1 + 2


def test_what_many_schedules_missed_is_found_in_pieces_with_fewer_rows_for_each():
    """A thousand jobs that are due each second, and fifty minutes without a server: three million times."""
    schedules = [{"type": "interval", "interval": 1, "phase": n / 1000} for n in range(1000)]
    jobs = [
        job_from_dict(f"job{n:03}", {"program": "true", "schedule": schedule})
        for n, schedule in enumerate(schedules)
    ]
    upcoming, now, stop = Upcoming(), after(3000), after(3000 - 60)
    upcoming.load(jobs, set(), clock=START, now=now)
    own, counted, run, done_to = 0, 0, 0, START
    while upcoming.done_to(now) < stop:
        found = upcoming.take(now, 200)
        assert len(found) <= 200
        for due in found:
            shared = re.match(r"misfire: ([0-9,]+) times", due.skip or "")
            own += not shared and due.at < stop
            counted += int(shared[1].replace(",", "")) if shared else 0
            run += due.skip is None and due.at < stop
        assert done_to <= upcoming.done_to(now) < now
        done_to = upcoming.done_to(now)

    assert (own, run) == (20 * 1000, 1000)
    assert own + counted == 1000 * 2940 - 1  # that of the very start is not among them


@pytest.mark.parametrize("steps", [{2}, {4, 9}, {7, 8, 20}])
def test_a_crash_while_missed_times_are_worked_off_loses_none(steps: set[int]):
    rare, often = ({"type": "interval", "interval": seconds} for seconds in (60, 1))
    made = [
        job_from_dict(name, {"program": "true", "schedule": s}) for name, s in (("a", rare), ("b", often))
    ]
    world = World(jobs=made)
    world.run(after(0.5)).settle()
    world.now = after(1500)
    world.crash_at = {world.steps + step for step in steps}
    world.boot()
    world.run(after(1502)).settle()

    assert world.crashes == len(steps)
    assert world.broken_laws == []
    for found in made:
        runs = world.of_job(found.job_id)
        own = [r for r in runs if not re.search(" from ", r.skip_reason or "")]
        assert len({r.nominal_at for r in own}) == len(own)
        spans = [
            [datetime.fromisoformat(at) for at in re.findall(r"\S+ \S+Z", r.skip_reason)]
            for r in runs
            if r.skip_reason and r not in own
        ]
        due = {d.at for d in due_between(found.job_id, found.schedules[0], after(1), after(1502))}
        told = {r.scheduled_at for r in own} | {
            at for at in due for first, last in spans if first <= at <= last
        }
        assert told >= due


def test_a_time_is_skipped_while_too_many_runs_are_unfinished():
    world = World(jobs=[job(interval=10, phase=0, max_runs=2)], duration_s=lambda run: 25.0)
    world.run(after(65)).settle()

    runs = world.of_job("a")
    assert [r.nominal_at for r in runs if r.state is not State.SKIPPED] == [
        after(s) for s in (0, 10, 30, 40, 60)
    ]
    assert reasons(runs) == {"busy: 2 of at most 2 runs of the job's schedules are unfinished": 2}


# -- jitter


def test_jitter_makes_a_run_start_later_and_keeps_its_nominal_time():
    world = World(jobs=[job(interval=60, phase=0, jitter=40)])
    world.run(after(3600)).settle()

    runs = world.of_job("a")
    late = [(r.scheduled_at - (r.nominal_at or START)).total_seconds() for r in runs]
    assert len(runs) == 60
    assert min(late) >= 0
    assert max(late) <= 40
    assert len(set(late)) > 15
    assert all(r.started_at == r.scheduled_at for r in runs)


def test_jitter_is_the_same_whenever_it_is_asked_for_and_another_for_each_job():
    schedule = schedule_from_dict({"type": "interval", "interval": "1h", "jitter": "5m"})
    span = after(0), after(DAY_S)

    def late(job_id: str) -> list[float]:
        return [(d.at - d.occurrence.at).total_seconds() for d in due_between(job_id, schedule, *span)]

    # Of a server that is started anew, too: a hash, and no hash of Python's.
    assert late("team/report")[:2] == [92.0, 5.0]
    assert late("team/report") != late("team/other")


@given(schedules(), spans(), st.floats(0, 1))
def test_due_times_rise_are_never_early_and_come_side_by_side(schedule, span, share):
    start, stop = span
    middle = start + (stop - start) * share
    found = list(due_between("a", schedule, start, stop))

    assert found == sorted(found, key=lambda due: due.at)
    assert all(start <= due.at < stop for due in found)
    assert all(0 <= (d.at - d.occurrence.at).total_seconds() <= schedule.jitter_s for d in found)
    if start <= middle <= stop:
        parts = [*due_between("a", schedule, start, middle), *due_between("a", schedule, middle, stop)]
        assert parts == found
    assert count_due("a", schedule, start, stop) == len(found)


@given(schedules(), spans(), st.sampled_from([3600, 5400, 86400]), st.sampled_from([1, 10_000]))
def test_due_times_are_counted_in_pieces_listed_or_not(schedule, span, every_s, many):
    start, stop = span
    every = timedelta(seconds=every_s)
    pieces: dict[datetime, list[datetime]] = {}
    for at, _ in due_between("a", schedule, start, stop):
        pieces.setdefault(start + (at - start) // every * every, []).append(at)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("apsis_nb.core.schedules.due._MANY", many)
        found = counts_between("a", schedule, start, stop, every)
    assert found == [(piece, len(times), times[0]) for piece, times in pieces.items()]


@given(spans())
def test_no_time_is_lost_or_doubled_by_jitter(span):
    start, stop = span
    schedule = IntervalSchedule(interval_s=600, jitter_s=7200)
    nominal = [o.at for o in times_between(schedule, start, stop)]
    due = [d.occurrence.at for d in due_between("a", schedule, start, stop + timedelta(hours=3))]

    assert set(nominal) <= set(due)
    assert len(set(due)) == len(due)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"jitter": "5m"}, "each up to 5m later"),
        ({"misfire": "none"}, "missed times are not run"),
        (
            {"misfire": {"policy": "all", "max_count": 3}},
            "of missed times all are run (at most the newest 3)",
        ),
        (
            {"misfire": {"policy": "latest", "max_age": "2d"}},
            "of missed times the latest is run (up to 2d late)",
        ),
        ({"misfire": {"max_age": "2d"}}, "of missed times those that differ are run (up to 2d late)"),
        ({"max_runs": 1}, "skipped while a run is unfinished"),
        ({"max_runs": 3}, "skipped while 3 runs are unfinished"),
    ],
)
def test_what_becomes_of_its_times_is_told_in_words(keys: dict[str, object], words: str):
    assert (
        explain(schedule_from_dict({"type": "interval", "interval": 60, **keys})) == f"every minute, {words}"
    )
