"""What an edit does to coming runs, and which of today's it runs once more."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from apsis_nb.core.jobs import Job, job_from_dict
from apsis_nb.core.preview import Coming, Difference, Ran, coming_runs, difference, lost, runs_again

MIDNIGHT = datetime(2026, 3, 27, tzinfo=UTC)
DAY = timedelta(days=1)


def job(*schedules: dict[str, Any], params: Any = ("date",)) -> Job:
    data = {"program": "true", "params": params, "schedule": list(schedules)}
    return job_from_dict("a", data)


def daily(*daytimes: str, **more: Any) -> dict[str, Any]:
    return {"type": "daily", "tz": "UTC", "daytime": [f"{d}:00" for d in daytimes], **more}


def edited(
    old: Job, new: Job, now: str, first: Job | None = None
) -> tuple[list[Ran], Difference, dict[str, str | None]]:
    """What ran until now, of the old job or of a first one, what an edit does, and what runs again when."""
    at = MIDNIGHT + timedelta(hours=int(now[:2]), minutes=int(now[3:]))
    ran = [Ran(c.at, c.args) for c in coming_runs(first or old, MIDNIGHT, at)]
    found = difference(old, new, at, at + 7 * DAY)
    again = runs_again(ran, old, new, found, MIDNIGHT + DAY)
    return ran, found, {short(r.at): a and short(a) for r, a in zip(ran, again, strict=True)}


def short(at: datetime) -> str:
    return f"{at:%H:%M}"


@pytest.mark.parametrize("params", [["date"], [], {"date": "date", "rows": {"type": "int", "default": 3}}])
def test_a_time_that_is_moved_to_later_today_runs_again(params: Any):
    old, new = job(daily("06:00"), params=params), job(daily("14:00"), params=params)
    _, found, again = edited(old, new, "10:00")

    assert again == {"06:00": "14:00"}
    assert (len(found.added), len(found.removed), found.kept) == (7, 7, [])


def test_a_second_time_on_a_day_runs_its_instance_again():
    old, new = job(daily("06:00")), job(daily("06:00", "14:00"))
    assert edited(old, new, "10:00")[2] == {"06:00": "14:00"}


def test_a_second_time_of_a_job_without_params_is_only_one_more():
    old, new = job(daily("06:00"), params=[]), job(daily("06:00", "14:00"), params=[])
    assert edited(old, new, "10:00")[2] == {"06:00": None}


@pytest.mark.parametrize("params", [["date"], []])
def test_what_comes_often_anyway_is_not_run_again_by_more_of_it(params: list[str]):
    every = {"type": "interval", "interval": "2h"}
    old, new = job(every, params=params), job(every | {"interval": "1h"}, params=params)
    assert set(edited(old, new, "09:30")[2].values()) == {None}


def test_a_time_that_is_moved_after_midnight_does_not_run_again_today():
    old, new = job(daily("06:00"), params=[]), job(daily("05:00"), params=[])
    assert edited(old, new, "10:00")[2] == {"06:00": None}


def test_a_time_that_is_moved_into_the_past_is_lost_and_said_so():
    old = job(daily("14:00"))
    ran, found, _ = edited(old, job(daily("06:00")), "10:00")

    assert ran == []
    assert [dict(c.args) for c in lost(ran, old, found)] == [{"date": "2026-03-27"}]


def test_a_day_that_ran_is_not_lost_and_what_runs_anyway_is_neither():
    old = job(daily("06:00", "14:00"))
    ran, found, _ = edited(old, job(daily("06:00")), "10:00")
    assert (len(found.removed), lost(ran, old, found)) == (7, [])
    old = job(daily("14:00"), params=[])
    ran, found, _ = edited(old, job(daily("06:00"), params=[]), "10:00")
    assert lost(ran, old, found) == []


def test_what_ran_twice_because_of_an_earlier_edit_runs_a_third_time():
    old, new = job(daily("08:00")), job(daily("08:00", "14:00"))
    assert edited(old, new, "10:00", job(daily("06:00", "08:00")))[2] == {"06:00": "14:00", "08:00": "14:00"}


def test_a_schedule_that_stands_twice_is_seen():
    _, found, _ = edited(job(daily("14:00")), job(daily("14:00"), daily("14:00")), "10:00")
    assert (len(found.added), len(found.removed), len(found.kept)) == (7, 0, 7)


def test_a_removed_job_runs_nothing_again():
    old = job(daily("06:00"))
    found = difference(old, None, MIDNIGHT, MIDNIGHT + DAY)
    assert runs_again([Ran(MIDNIGHT, ())], old, None, found, MIDNIGHT + DAY) == [None]


def test_a_coming_run_has_the_args_that_it_will_have():
    typed = {"date": "date", "rows": {"type": "int", "default": 3}}
    (one,) = coming_runs(job(daily("06:00"), params=typed), MIDNIGHT, MIDNIGHT + DAY)
    assert one == Coming(
        MIDNIGHT.replace(hour=6), MIDNIGHT.replace(hour=6), (("date", "2026-03-27"), ("rows", "3"))
    )
    (bad,) = coming_runs(job(daily("06:00"), params=["date", "x"]), MIDNIGHT, MIDNIGHT + DAY)
    assert dict(bad.args) == {"date": "2026-03-27"}
