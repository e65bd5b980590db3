"""When a run is late, missed or well again: it is told once, at the moment at which it is so."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from apsis_nb.core.events import (
    IdsReserved,
    JobsLoaded,
    ProgramFinished,
    ProgramStarted,
    Restored,
    RunRequested,
    SkipRequested,
    StartRequested,
    Tick,
)
from apsis_nb.core.instructions import Instruction, SaveRun, TellLate, WakeAt
from apsis_nb.core.jobs import Job, job_from_dict
from apsis_nb.core.machine import HEAR_AFTER, Machine
from apsis_nb.core.runs import Origin
from apsis_nb.core.states import State
from tests.core.world import World, after

TINY = timedelta(microseconds=1)
EVERY_HOUR = {"type": "interval", "interval": 3600}
ONE_AT_A_TIME = {"type": "max_running", "count": 1}


def job(job_id: str = "a", *, when: dict[str, object] | None = None, **keys: object) -> Job:
    """A job, with an action that runs the job `told`."""
    action = {"action": {"type": "schedule", "job_id": "told", "if": when}} if when else {}
    return job_from_dict(job_id, {"program": "true", **action, **keys})


TOLD = job("told")


def machine(*jobs: Job, now_s: float = 1, restored: Restored | None = None) -> Machine:
    made = Machine()
    made.handle(IdsReserved(first=1000 if restored else 1, stop=2000), after(now_s))
    made.handle(restored or Restored(), after(now_s))
    made.handle(JobsLoaded(jobs=(*jobs, TOLD)), after(now_s))
    return made


def said(orders: Sequence[Instruction]) -> list[str]:
    """The lines that tell of lateness."""
    lines = [order.message or "" for order in orders if isinstance(order, SaveRun)]
    return [line for line in lines if line.startswith("late: ")]


def told(orders: Sequence[Instruction]) -> int:
    """How often the action was carried out."""
    return len([o for o in orders if isinstance(o, SaveRun) and o.is_new and o.run.job_id == "told"])


def started(m: Machine, run_id: int, at_s: float) -> list[Instruction]:
    return m.handle(ProgramStarted(run_id=run_id, at=after(at_s)), after(at_s))


def finished(m: Machine, run_id: int, at_s: float, outcome: str = "success") -> list[Instruction]:
    event = ProgramFinished(run_id=run_id, at=after(at_s), outcome=outcome)  # type: ignore[arg-type]
    return m.handle(event, after(at_s))


def test_a_run_that_waits_beyond_its_budget_is_told_of_at_that_moment_and_once():
    m = machine(job(when={"late": True}, schedule=EVERY_HOUR, condition={"type": "const", "value": False}))

    orders = m.handle(Tick(), after(3600))
    wake = [o.at for o in orders if isinstance(o, WakeAt)]
    early = m.handle(Tick(), after(3660))
    late = m.handle(Tick(), after(3660) + TINY)
    later = m.handle(Tick(), after(3700))

    assert wake == [after(3660) + TINY]
    assert (said(early), told(early)) == ([], 0)
    assert said(late) == ["late: was due 2026-01-05 01:00:00Z, held: the constant false"]
    assert told(late) == 1
    assert (said(later), told(later)) == ([], 0)
    assert m.runs[1].is_late(after(3700))


def heard(orders: Sequence[Instruction]) -> list[tuple[str, str]]:
    """What those hear who listen."""
    return [(order.kind, order.text) for order in orders if isinstance(order, TellLate)]


def test_who_listens_hears_of_a_late_run_of_which_no_action_tells_and_nothing_is_saved_for_it():
    m = machine(job(schedule=EVERY_HOUR, condition={"type": "const", "value": False}))

    due = m.handle(Tick(), after(3600))
    early = m.handle(Tick(), after(3660))
    late = m.handle(Tick(), after(3661))
    later = m.handle(Tick(), after(3700))
    begun = m.handle(StartRequested(run_id=1), after(3701))

    assert [o.at for o in due if isinstance(o, WakeAt)] == [after(7200)]
    assert heard(late) == [("start", "late: was due 2026-01-05 01:00:00Z, held: the constant false")]
    assert said([*due, *early, *late, *later, *begun, *started(m, 1, 3702)]) == []
    assert heard([*due, *early, *later, *begun, *finished(m, 1, 3703)]) == []


def test_who_listens_hears_of_each_way_to_be_late_once():
    m = machine(job(when={"late": True}, schedule=EVERY_HOUR, late={"start": 5, "finish": "10m"}))

    orders = [*m.handle(Tick(), after(3600)), *m.handle(Tick(), after(3606)), *started(m, 1, 3607)]
    orders += [*m.handle(Tick(), after(4201)), *m.handle(Tick(), after(4300)), *finished(m, 1, 4301)]

    assert [kind for kind, _ in heard(orders)] == ["start", "finish"]


def test_who_listens_hears_of_a_start_or_an_end_that_comes_late_without_a_tick():
    m = machine(job(schedule=EVERY_HOUR, late={"finish": "10m"}))
    m.handle(Tick(), after(3600))

    assert heard(started(m, 1, 3690)) == [
        ("start", "late: was due 2026-01-05 01:00:00Z, started 1m30s later")
    ]
    assert [kind for kind, _ in heard(finished(m, 1, 4300))] == ["finish"]


def test_who_listens_hears_of_what_is_missed_but_not_of_what_a_person_skips():
    m = machine(job(schedule=EVERY_HOUR | {"max_runs": 1}, condition={"type": "const", "value": False}))
    first, second = m.handle(Tick(), after(3600)), m.handle(Tick(), after(7200))

    assert heard(first) == []
    missed, _ = heard(second)  # and that the first is late by now
    assert missed == ("missed", "busy: 1 of at most 1 runs of the job's schedules are unfinished")
    assert heard(m.handle(SkipRequested(run_id=1), after(7201))) == []


def test_a_program_that_is_slow_to_start_is_told_of_too():
    m = machine(job(when={"late": True}, schedule=EVERY_HOUR, late={"start": 5}))
    m.handle(Tick(), after(3600))

    late = m.handle(Tick(), after(3606))
    begun = started(m, 1, 3607)

    assert said(late) == ["late: was due 2026-01-05 01:00:00Z, is starting"]
    assert (said(begun), told(begun)) == ([], 0)


def test_a_run_that_started_in_time_wakes_nobody():
    m = machine(job(when={"late": True}, schedule=EVERY_HOUR))
    m.handle(Tick(), after(3600))

    begun = started(m, 1, 3601)

    assert [o.at for o in begun if isinstance(o, WakeAt)] == [after(7200)]
    assert said(m.handle(Tick(), after(3700))) == []


def test_a_start_that_comes_late_without_a_tick_is_told_of_as_it_comes():
    m = machine(job(when={"late": True}, schedule=EVERY_HOUR))
    m.handle(Tick(), after(3600))

    begun = started(m, 1, 3690)

    assert said(begun) == ["late: was due 2026-01-05 01:00:00Z, started 1m30s later"]
    assert told(begun) == 1
    assert said(m.handle(Tick(), after(3691))) == []


@pytest.mark.parametrize("when", [{"late": True}, None])
def test_a_run_that_has_not_finished_by_its_time_is_told_of_at_that_moment(when: dict[str, object] | None):
    m = machine(job(when=when, schedule=EVERY_HOUR, late={"finish": "10m"}))
    m.handle(Tick(), after(3600))

    begun = started(m, 1, 3601)
    late = m.handle(Tick(), after(4200) + TINY)
    ended = finished(m, 1, 4300)

    assert [o.at for o in begun if isinstance(o, WakeAt)] == [after(4200) + TINY]
    assert said(late) == ["late: should have finished by 2026-01-05 01:10:00Z, is running"]
    assert told(late) == (1 if when else 0)
    assert said(ended) == []
    run = next(o.run for o in ended if isinstance(o, SaveRun))
    assert (run.is_late(after(9999)), run.late_s(after(9999))) == (True, 1.0)


def test_a_run_may_be_late_in_both_ways_and_each_is_told_once():
    late = {"start": 60, "finish": 120}
    m = machine(
        job(when={"late": True}, schedule=EVERY_HOUR, late=late, condition={"type": "const", "value": False})
    )
    m.handle(Tick(), after(3600))

    both = m.handle(Tick(), after(3800))

    assert [line.split(",")[0] for line in said(both)] == [
        "late: was due 2026-01-05 01:00:00Z",
        "late: should have finished by 2026-01-05 01:02:00Z",
    ]
    assert told(both) == 2


def test_an_end_in_time_is_no_lateness_and_nor_is_a_skip():
    m = machine(job(schedule=EVERY_HOUR, late={"finish": "10m"}), job("b", late={"finish": "10m"}))
    m.handle(Tick(), after(3600))
    started(m, 1, 3601)
    by_hand = m.handle(RunRequested(job_id="b"), after(3600))

    ended = finished(m, 1, 4200)

    run = next(o.run for o in ended if isinstance(o, SaveRun))
    assert (run.is_late(after(9999)), said(ended)) == (False, [])
    assert next(o.run for o in by_hand if isinstance(o, SaveRun)).late_finish_at is None
    skipped = replace(run, state=State.SKIPPED, finished_at=after(9000))
    assert not skipped.is_late(after(9999))


def restarted(m: Machine, *jobs: Job, at_s: float) -> Machine:
    live = tuple(m.runs.values())
    return machine(*jobs, now_s=at_s, restored=Restored(runs=live, clock=m.clock))


def test_what_was_told_is_not_told_again_after_a_restart():
    made = job(when={"late": True}, schedule=EVERY_HOUR, condition={"type": "const", "value": False})
    m = machine(made)
    m.handle(Tick(), after(3600))
    silent = restarted(m, made, at_s=3610)
    m.handle(Tick(), after(3661))

    again = restarted(m, made, at_s=3670)

    assert told(silent.handle(Tick(), after(3661))) == 1  # not lost
    assert said(again.handle(Tick(), after(3700))) == []  # not doubled


def test_what_became_late_while_no_server_was_there_is_told_once_what_programs_did_is_heard():
    made = job(when={"late": True}, schedule=EVERY_HOUR, late={"finish": "10m"})
    m = machine(made)
    m.handle(Tick(), after(3600))
    started(m, 1, 3601)

    in_time = restarted(m, made, at_s=5000)
    early = in_time.handle(Tick(), after(5001))
    ended = in_time.handle(
        ProgramFinished(run_id=1, at=after(4000), outcome="success"), after(5002)
    )  # heard only now
    assert (said(early), said(ended)) == ([], [])
    assert said(in_time.handle(Tick(), after(5000) + HEAR_AFTER)) == []

    too_late = restarted(m, made, at_s=5000)
    assert said(too_late.handle(Tick(), after(5000) + HEAR_AFTER)) == [
        "late: should have finished by 2026-01-05 01:10:00Z, is running"
    ]


def test_a_further_attempt_that_does_not_finish_in_time_is_late_but_not_twice():
    retry = {"count": 2, "delay": "5m"}
    m = machine(job(when={"late": True}, schedule=EVERY_HOUR, late={"finish": "10m"}, retry=retry))
    m.handle(Tick(), after(3600))
    started(m, 1, 3601)

    failed = finished(m, 1, 3650, "failure")
    waiting = m.handle(Tick(), after(3951))
    started(m, 2, 3952)
    late = m.handle(Tick(), after(4200) + TINY)
    again = finished(m, 2, 4300, "failure")

    assert said(failed) == said(waiting) == []  # nor is the start of the second late
    assert said(late) == ["late: should have finished by 2026-01-05 01:10:00Z, is running"]
    assert (told(late), said(again)) == (1, [])
    third = next(o.run for o in again if isinstance(o, SaveRun) and o.is_new)
    assert (third.attempt, third.late_finish_at) == (3, None)
    assert not any(o.run.is_late(after(4000)) for o in failed if isinstance(o, SaveRun))


# -- missed


def test_what_a_policy_skips_is_missed():
    made = job(when={"missed": True}, schedule=EVERY_HOUR | {"misfire": "none"})
    m = machine(made)

    assert told(m.handle(Tick(), after(7200 + 1800))) == 2


def test_a_busy_schedule_misses_its_time():
    m = machine(job(when={"missed": True, "states": ["skipped"]}, schedule=EVERY_HOUR | {"max_runs": 1}))
    m.handle(Tick(), after(3600))

    busy = m.handle(Tick(), after(7200))

    assert told(busy) == 1  # though it is about both


def test_what_a_person_skips_is_not_missed():
    held = {"type": "const", "value": False}
    m = machine(job(when={"missed": True}, schedule=EVERY_HOUR, condition=held))
    m.handle(Tick(), after(3600))

    assert told(m.handle(SkipRequested(run_id=1, by="ann"), after(3601))) == 0


# -- recovered


def one_run(m: Machine, at_s: float, outcome: str) -> int:
    """How often the action was carried out when a run of job `a` ended so."""
    made = m.handle(RunRequested(job_id="a"), after(at_s))
    run_id = next(o.run.run_id for o in made if isinstance(o, SaveRun))
    started(m, run_id, at_s)
    return told(finished(m, run_id, at_s + 1, outcome))


def test_a_success_after_a_bad_end_is_a_recovery_and_the_next_is_none():
    m = machine(job(when={"recovered": True}))

    outcomes = ["success", "failure", "error", "success", "success"]

    assert [one_run(m, 10 * n, outcome) for n, outcome in enumerate(outcomes)] == [0, 0, 0, 1, 0]


def test_a_skip_between_does_not_matter():
    m = machine(job(when={"recovered": True}))
    one_run(m, 10, "failure")
    m.handle(RunRequested(job_id="a", at=after(500)), after(20))
    m.handle(SkipRequested(run_id=2), after(21))

    assert one_run(m, 30, "success") == 1


def test_after_a_restart_the_store_tells_which_jobs_were_bad():
    made = job(when={"recovered": True})
    bad = machine(made, restored=Restored(clock=after(0), bad_jobs=frozenset({"a"})))
    good = machine(made, restored=Restored(clock=after(0)))

    assert (one_run(bad, 10, "success"), one_run(good, 10, "success")) == (1, 0)


# -- who listens


def test_a_test_run_tells_nobody_anything():
    m = machine(job(when={"states": ["failure"], "recovered": True}))
    for at_s, outcome in ((10, "failure"), (20, "success")):
        made = m.handle(RunRequested(job_id="a", origin=Origin.TEST), after(at_s))
        run_id = next(o.run.run_id for o in made if isinstance(o, SaveRun))
        started(m, run_id, at_s)
        assert told(finished(m, run_id, at_s + 1, outcome)) == 0
    assert one_run(m, 30, "success") == 0


def test_actions_of_the_server_follow_the_runs_of_all_jobs_but_not_their_own():
    own = job("x", when={"states": ["success"], "late": True}).actions
    m = Machine(actions=own)
    m.handle(IdsReserved(first=1, stop=1000), after(1))
    m.handle(Restored(), after(1))
    held = job("b", schedule=EVERY_HOUR, condition={"type": "const", "value": False})
    m.handle(JobsLoaded(jobs=(job(), held, TOLD)), after(1))

    assert one_run(m, 10, "success") == 1  # the run of `told` that this makes tells nobody
    started(m, 2, 12)
    assert told(finished(m, 2, 13)) == 0
    m.handle(Tick(), after(3600))
    assert told(m.handle(Tick(), after(3661))) == 1


def test_a_run_that_cannot_be_made_is_told_of_by_the_actions_of_its_job():
    m = machine(job(when={"states": ["error"]}, schedule=EVERY_HOUR, program="echo {{ nothing }}"))

    assert told(m.handle(Tick(), after(3600))) == 1


def test_a_world_tells_of_each_lateness_once_whatever_crashes():
    made = job(when={"late": True}, schedule={"type": "interval", "interval": 5}, condition=ONE_AT_A_TIME)
    made = replace(made, late_start_s=2.0, late_finish_s=9.0)
    world = World(jobs=[made, TOLD], duration_s=lambda run: 6.0, crash_at=set(range(7, 900, 11)))
    world.run(after(60)).settle()

    for run in world.of_job("a"):
        lines = [line for line in world.said[run.run_id] if line and line.startswith("late: ")]
        assert len(lines) == run.told_late_start + run.told_late_finish
        assert run.told_late_start == run.starts_late(world.now)
    assert any(run.told_late_finish for run in world.of_job("a"))
