"""The check of jobs beside each other: loops, dependencies that nothing makes, schedules that never fire."""

from datetime import UTC, datetime
from typing import Any

import pytest

from apsis_nb.core.checks import Checks
from apsis_nb.core.jobs import job_from_dict

NOW = datetime(2026, 1, 31, 9, tzinfo=UTC)
DAILY = {"type": "daily", "tz": "UTC", "daytime": "12:00:00"}
SATURDAYS = {**DAILY, "calendar": "Sat"}


def needs(job_id: str, **args: Any) -> dict[str, Any]:
    return {"type": "dependency", "job_id": job_id, "args": args}


def told(**jobs: dict[str, Any]) -> dict[str, list[str]]:
    """What is said of each job, errors as they are and warnings marked."""
    made = {job_id: job_from_dict(job_id, {"program": "x", **keys}) for job_id, keys in jobs.items()}
    checks = Checks(made, NOW)
    found = {job_id: [_said(f) for f in checks.of(job)] for job_id, job in made.items()}
    return {job_id: faults for job_id, faults in found.items() if faults}


def _said(fault: Any) -> str:
    return f"warning: {fault}" if fault.level == "warning" else str(fault)


def test_jobs_that_wait_for_each_other_are_a_loop_whether_they_have_schedules_or_not():
    loop = {"a": {"condition": needs("b")}, "b": {"condition": needs("c")}, "c": {"condition": needs("a")}}
    assert told(**loop, d={"condition": needs("a")}) == {
        "a": ["condition.0: it waits for itself: a -> b -> c -> a"],
        "b": ["condition.0: it waits for itself: b -> c -> a -> b"],
        "c": ["condition.0: it waits for itself: c -> a -> b -> c"],
    }
    assert told(a={"condition": needs("a")}) == {"a": ["condition.0: it waits for itself: a -> a"]}


def test_a_job_may_wait_for_its_run_of_the_day_before():
    yesterday = needs("a", date="{{ Date(date) - 1 }}")
    assert told(a={"params": ["date"], "schedule": DAILY, "condition": yesterday}) == {}
    same = needs("a", date="{{ Date(date) + 0 }}")
    assert told(a={"params": ["date"], "schedule": DAILY, "condition": same}) == {
        "a": ["condition.0: it waits for itself: a -> a"]
    }


def test_a_dependency_that_no_schedule_makes_is_a_warning():
    daily = {"params": ["date"], "schedule": DAILY}
    weekly = {"params": ["date"], "schedule": SATURDAYS}
    assert told(a={**daily, "condition": needs("b")}, b=daily) == {}
    assert told(a={**weekly, "condition": needs("b")}, b=daily) == {}
    late = needs("b", date="{{ Date(date) + 5 }}")
    assert told(a={**weekly, "condition": late}, b=weekly) == {
        "a": ["warning: condition.0: no schedule of b makes b(date=2026-02-05) near 2026-01-31"]
    }
    alone = {"params": ["date"], "schedule": {**DAILY, "enabled": False}}
    assert told(a={**daily, "condition": needs("b")}, b=alone) == {
        "a": ["warning: condition.0: nothing runs b: it has no schedule, and is no successor of another job"]
    }
    assert (
        told(a={**daily, "condition": needs("b")}, b=alone, c={"params": ["date"], "successors": "b"}) == {}
    )


@pytest.mark.parametrize(
    "schedule",
    [
        {"type": "explicit", "times": "2020-01-01T00:00:00Z"},
        {**DAILY, "calendar": "none"},
    ],
)
def test_a_schedule_that_never_fires_is_a_warning(schedule):
    (found,) = told(a={"schedule": schedule})["a"]
    assert found == "warning: schedule.0: it gives no time in the next five years"
    assert told(a={"schedule": {**schedule, "enabled": False}}) == {}


def test_later_runs_are_tried_too():
    first_days_only = "{{ {'Sat': 1, 'Sun': 2}[Date(date).weekday] }}"
    (found,) = told(a={"params": ["date"], "program": ["x", first_days_only], "schedule": DAILY})["a"]
    assert found.startswith("schedule.0: ")
    assert "Mon" in found


def test_params_that_share_a_variable_are_a_warning():
    assert told(a={"params": ["x-y", "x y", "z"]}) == {
        "a": ["warning: params: 'x-y' and 'x y' are both APSIS_ARG_X_Y: a program sees one of them there"]
    }


@pytest.mark.parametrize(
    ("successor", "said"),
    [
        ({"job_id": "bb"}, "action.0.job_id: there is no job 'bb': did you mean 'b'?"),
        ({"job_id": "b"}, "action.0: no value for param n of job b: give it under 'args'"),
        (
            {"job_id": "b", "args": {"n": 1, "m": 2}},
            "action.0.args.m: job b has no param 'm': did you mean 'n'?",
        ),
        (
            {"job_id": "b", "args": {"n": "{{ Date }}"}},
            "action.0.args.n: name 'Date' is not defined: did you mean 'date'?",
        ),
        (
            {"job_id": "b", "args": {"n": "{{ run_id }}"}},
            "action.0.args.n: name 'run_id' is not defined: here are only the args of the run",
        ),
    ],
)
def test_the_targets_of_actions_are_checked_with_and_without_a_schedule(successor, said):
    b = {"params": {"n": "int", "date": {"default": "x"}}}
    for keys in ({}, {"schedule": DAILY}):
        (found,) = told(a={"params": ["date"], "successors": successor, **keys}, b=b)["a"]
        assert found.startswith(said.split(": did you")[0])


def test_a_condition_that_is_switched_off_names_what_it_likes():
    assert told(a={"condition": {**needs("nowhere"), "enabled": False}}) == {}
