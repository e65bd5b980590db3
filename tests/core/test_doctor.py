"""What is not as it should be: one test a finding."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from apsis_nb.core.calendars.files import dates_from_text
from apsis_nb.core.doctor import Checkup, Finding, Loop, Missed, findings
from apsis_nb.core.jobs import Job, job_from_dict
from apsis_nb.core.programs import NoOp
from apsis_nb.core.runs import Instance, Origin, Run
from apsis_nb.core.states import State
from apsis_nb.core.times import zone

NOW = datetime(2026, 3, 27, 10, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
WELL = Checkup(now=NOW, tz=zone("UTC"), cores=2)
DAILY = {"type": "daily", "tz": "UTC", "daytime": "09:00:00"}


def job(schedule: Any = (), **more: Any) -> Job:
    return job_from_dict("a", {"program": "true", "schedule": schedule or None, **more})


def run(state: State, since: timedelta, **more: Any) -> Run:
    at = NOW - since
    return Run(
        run_id=7,
        inst=Instance("a"),
        program=NoOp(),
        origin=Origin.SCHEDULE,
        scheduled_at=at,
        state=state,
        state_at=at,
        **more,
    )


def found(**facts: Any) -> list[Finding]:
    return findings(replace(WELL, **facts))


def one(**facts: Any) -> tuple[str, str, str, str]:
    (finding,) = found(**facts)
    assert finding.fix
    return finding.kind, finding.level, finding.subject, finding.message


def test_all_is_well():
    jobs = {"a": job(DAILY)}
    live = [run(State.RUNNING, HOUR), run(State.WAITING, HOUR, late_start_s=7200.0)]
    assert found(jobs=jobs, live=live, lateness={"a": (100, 1)}, loops=[Loop(name="clock")]) == []


def test_the_store_is_out_of_order():
    assert one(store_error="disk full")[:3] == ("store", "error", "store")


@pytest.mark.parametrize(("free_b", "level"), [(10**9, "warning"), (10**8, "error")])
def test_little_of_the_disk_is_free(free_b: int, level: str):
    kind, told, _, message = one(disk_free_b=free_b)
    assert (kind, told, message[:3]) == ("disk", level, f"{free_b / 1e9:.1f}")


def test_the_state_lies_on_a_disk_of_another_machine():
    kind, level, subject, message = one(state_dir="/srv/state", network="nfs4")
    assert (kind, level, subject) == ("network", "warning", "state_dir")
    assert message.startswith("/srv/state lies on a file system of the network (nfs4)")


def test_the_configuration_names_accounts_that_there_are_not():
    assert [f.subject for f in found(unknown_accounts=[("sales", "etl"), ("", "gone")])] == [
        "accounts./",
        "accounts.sales",
    ]


def test_files_with_outputs_are_not_there():
    assert one(packs="/srv/runs.outputs", packs_lost=["2026-03-02.pack"]) == (
        "outputs",
        "error",
        "2026-03-02.pack",
        "outputs of runs cannot be read: /srv/runs.outputs/2026-03-02.pack is not there, or not whole",
    )


def test_a_loop_fails():
    assert one(loops=[Loop(name="clock", failures=2, last_error="ValueError: x")]) == (
        "loop",
        "warning",
        "clock",
        "this loop of the server has failed 2 times, the last time with ValueError: x",
    )
    assert one(loops=[Loop(name="clock", is_running=False, failures=1)])[1] == "error"
    assert found(loops=[Loop(name="once", is_running=False)]) == []


def test_a_file_is_broken():
    assert one(faults=[("a", "a.yaml:1:1: wrong")]) == ("broken", "error", "a", "a.yaml:1:1: wrong")
    both = found(faults=[("a", "a.yaml:1:1: wrong")], jobs={"a": job(DAILY)})
    assert both[0].message == "a.yaml:1:1: wrong; the job goes on as it was"


def test_a_run_of_the_store_is_damaged():
    assert one(damaged=[(7, "no such program")])[:3] == ("damaged", "error", "r7")


def test_a_run_has_no_process():
    (orphan,) = found(live=[run(State.RUNNING, HOUR)], without_process=frozenset({7}))
    assert (orphan.kind, orphan.level, orphan.is_mendable) == ("orphaned", "error", True)
    assert orphan.message == "a() is running since 2026-03-27 09:00:00 UTC, and has no process"
    just_now = run(State.STARTING, timedelta(seconds=5))
    assert found(live=[just_now], without_process=frozenset({7})) == []


def test_a_run_waits_for_very_long():
    waiting = run(State.WAITING, 2 * DAY, nominal_at=NOW - 2 * DAY)
    assert one(live=[waiting], held={7: "waiting for b() to end in success"}) == (
        "stuck",
        "warning",
        "r7",
        "a() waits since 2026-03-25 10:00:00 UTC: waiting for b() to end in success",
    )


def test_a_run_is_late_and_has_not_started():
    waiting = run(State.WAITING, HOUR, nominal_at=NOW - HOUR)
    assert one(live=[waiting], held={7: "1 of 1 of a() running"})[3] == (
        "a() is 1h late, and has not started: 1 of 1 of a() running"
    )
    scheduled = run(State.SCHEDULED, HOUR, nominal_at=NOW - HOUR)
    assert one(live=[scheduled])[:3] == ("late", "warning", "r7")


def test_runs_of_a_job_are_late_often():
    assert one(lateness={"a": (10, 2)})[3] == "2 of its 10 runs of the last 7 days started late"
    assert found(lateness={"a": (10, 1), "b": (4, 4)}) == []


def test_times_were_missed():
    missed = Missed(count=3, first=NOW - 3 * DAY, last=NOW - DAY, do_differ=True)
    (told,) = found(missed={"a": missed})
    assert (told.kind, told.level) == ("missed", "warning")
    assert told.fix == "`apsis-nb backfill a --from 2026-03-24 --to 2026-03-26 --only-missing`"
    same = replace(missed, count=1, do_differ=False)
    assert one(missed={"a": same})[1:] == (
        "info",
        "a",
        "1 time was missed, 2026-03-24 10:00:00 UTC: the server was down, or busy",
    )


@pytest.mark.parametrize(
    "schedule",
    [{**DAILY, "calendar": "none"}, {"type": "explicit", "times": ["2020-01-01T00:00:00Z"]}],
)
def test_a_schedule_never_fires(schedule: Any):
    assert one(jobs={"a": job(schedule)})[:3] == ("never", "warning", "a")
    assert found(jobs={"a": job({**schedule, "enabled": False})}, have_run=frozenset({"a"})) == []


def test_a_calendar_ends():
    made = job(DAILY)
    ending = dates_from_text("office", "STOP 2026-04-10\n2026-03-30\n2026-04-09\n")
    schedule = replace(made.schedules[0], calendar=ending)
    assert one(jobs={"a": replace(made, schedules=(schedule,))}) == (
        "calendar",
        "warning",
        "a",
        "the calendar 'office' ends on 2026-04-09: no times after that day",
    )


def test_schedules_make_a_run_twice():
    twice = job([DAILY, {"type": "cron", "cron": "0 9 * * 1", "tz": "UTC"}])
    assert one(jobs={"a": twice})[3] == (
        "its schedules make the same run more than once, first at 2026-03-30 09:00:00 UTC"
    )
    apart = job([{**DAILY, "args": {"x": "1"}}, {**DAILY, "args": {"x": "2"}}], params=["x"])
    assert found(jobs={"a": apart}) == []


def test_nothing_runs_a_job():
    assert one(jobs={"a": job()})[:3] == ("unscheduled", "info", "a")
    assert found(jobs={"a": job()}, have_run=frozenset({"a"})) == []
    caller = job_from_dict("b", {"program": "true", "schedule": DAILY, "successors": "a"})
    assert found(jobs={"a": job(), "b": caller}) == []


def test_too_many_runs_may_run_at_once():
    assert one(limit=33)[:3] == ("limit", "warning", "limits.running")
    assert found(limit=32) == []
    busy = [replace(run(State.RUNNING, HOUR), run_id=n) for n in range(33)]
    assert one(live=busy)[3] == "33 runs run at once on 2 cores: above 32 they slow each other down"


def test_the_worst_comes_first():
    told = found(jobs={"a": job()}, lateness={"b": (10, 9)}, faults=[("c", "c.yaml:1:1: wrong")])
    assert [f.level for f in told] == ["error", "warning", "info"]
