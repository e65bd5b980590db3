"""What people ask of the machine beside runs: pauses, marks, backfills."""

from collections.abc import Iterable
from datetime import timedelta

import pytest

from apsis_nb.core.errors import BindError, NotFound, Refused
from apsis_nb.core.events import (
    BackfillRequested,
    BackfillStopRequested,
    IdsReserved,
    JobsLoaded,
    MarkRequested,
    PauseRequested,
    ProgramFinished,
    ProgramStarted,
    Restored,
    ResumeRequested,
    RunFound,
    RunRequested,
    Tick,
)
from apsis_nb.core.instructions import FindRun, Instruction, SaveMark, SavePause, SaveRun
from apsis_nb.core.jobs import Job, job_from_dict
from apsis_nb.core.machine import Machine
from apsis_nb.core.pauses import Pause
from apsis_nb.core.runs import Origin, Run
from apsis_nb.core.states import State
from tests.core.world import World, after

EVERY_10_S = {"type": "interval", "interval": 10}


def job(job_id: str = "a", **keys: object) -> Job:
    return job_from_dict(job_id, {"program": {"type": "shell", "command": "true"}} | keys)


def machine(*jobs: Job, **restored: object) -> Machine:
    m = Machine()
    m.handle(IdsReserved(first=1, stop=1000), after(1))
    m.handle(Restored(**restored), after(1))  # type: ignore[arg-type]
    m.handle(JobsLoaded(jobs=jobs), after(1))
    return m


def saved(orders: Iterable[Instruction]) -> dict[int, Run]:
    """Each run as it was saved last."""
    return {o.run.run_id: o.run for o in orders if isinstance(o, SaveRun)}


def end(m: Machine, run_id: int, outcome: str, at_s: float) -> list[Instruction]:
    m.handle(ProgramStarted(run_id=run_id, at=after(at_s)), after(at_s))
    return m.handle(ProgramFinished(run_id=run_id, at=after(at_s), outcome=outcome), after(at_s))  # type: ignore[arg-type]


# -- pauses


@pytest.mark.parametrize(
    ("pause", "held"),
    [
        (Pause(scope="job", target="team/a", at=after(1)), {"team/a"}),
        (Pause(scope="path", target="team", at=after(1)), {"team/a", "team/b"}),
        (Pause(scope="all", at=after(1)), {"team/a", "team/b", "teams"}),
    ],
)
def test_what_comes_due_while_paused_is_skipped(pause: Pause, held: set[str]):
    m = machine(*(job(name, schedule=EVERY_10_S) for name in ("team/a", "team/b", "teams")))
    (save,) = [o for o in m.handle(PauseRequested(pause=pause), after(2)) if isinstance(o, SavePause)]
    assert (save.pause, save.is_paused) == (pause, True)
    runs = saved(m.handle(Tick(), after(10))).values()
    assert {run.job_id for run in runs if run.state is State.SKIPPED} == held
    assert {run.job_id for run in runs if run.state is State.STARTING} == {"team/a", "team/b", "teams"} - held


def test_a_skipped_run_says_who_paused_it_and_why():
    m = machine(job(schedule=EVERY_10_S))
    pause = Pause(scope="job", target="a", at=after(2), by="ann", reason="the disk is full")
    m.handle(PauseRequested(pause=pause), after(2))
    (run,) = saved(m.handle(Tick(), after(10))).values()
    assert run.skip_reason == "paused by ann: the disk is full"


def test_a_pause_ends_by_itself_or_by_hand_and_outlives_a_restart():
    pause = Pause(scope="job", target="a", at=after(2), until=after(30))
    m = machine(job(schedule=EVERY_10_S), pauses=(pause,), clock=after(1))
    states = []
    for second in (10, 20, 30):
        states += [run.state.value for run in saved(m.handle(Tick(), after(second))).values()]
    assert states == ["skipped", "skipped", "starting"]
    (save,) = [
        o for o in m.handle(ResumeRequested(scope="job", target="a"), after(31)) if isinstance(o, SavePause)
    ]
    assert not save.is_paused
    with pytest.raises(Refused, match="a is not paused"):
        m.handle(ResumeRequested(scope="job", target="a"), after(32))


def test_a_person_may_run_a_paused_job():
    m = machine(job())
    m.handle(PauseRequested(pause=Pause(scope="all", at=after(1))), after(1))
    (run,) = saved(m.handle(RunRequested(job_id="a"), after(2))).values()
    assert run.state is State.STARTING


# -- marks


def failed(m: Machine, job_id: str = "a", at_s: float = 2) -> Run:
    (run,) = saved(m.handle(RunRequested(job_id=job_id), after(at_s))).values()
    return saved(end(m, run.run_id, "failure", at_s + 1))[run.run_id]


def test_a_mark_wakes_who_depends_on_it_and_fires_nothing_unless_asked():
    m = machine(job(successors="c"), job("b", condition={"type": "dependency", "job_id": "a"}), job("c"))
    old = failed(m)
    (find,) = [o for o in m.handle(RunRequested(job_id="b"), after(5)) if isinstance(o, FindRun)]
    m.handle(RunFound(run_id=find.run_id, inst=find.inst, states=find.states, found=None), after(5))
    orders = m.handle(MarkRequested(original=old, state=State.SUCCESS, by="ann"), after(6))
    (mark,) = [o for o in orders if isinstance(o, SaveMark)]
    assert (mark.run.state, mark.run.message, mark.run.finished_at) == (
        State.SUCCESS, "marked as success by ann", old.finished_at,
    )  # fmt: skip
    assert {run.job_id: run.state.value for run in m.runs.values()} == {"b": "starting"}
    m.handle(MarkRequested(original=old, state=State.SUCCESS, actions=True), after(7))
    assert sorted(run.job_id for run in m.runs.values()) == ["b", "c"]


def test_a_job_whose_last_run_is_marked_well_need_not_recover():
    told = {"type": "schedule", "job_id": "c", "args": {}, "if": {"recovered": True}}
    m = machine(job(action=told), job("c"))
    old = failed(m)
    m.handle(MarkRequested(original=old, state=State.SUCCESS), after(6))
    m.handle(RunRequested(job_id="a"), after(7))
    end(m, 2, "success", 8)
    assert len(m.runs) == 0
    failed(m, at_s=9)
    m.handle(RunRequested(job_id="a"), after(12))
    end(m, 4, "success", 13)
    assert [run.job_id for run in m.runs.values()] == ["c"]


def test_a_mark_that_makes_no_sense_is_refused():
    m = machine(job())
    old = failed(m)
    m.handle(RunRequested(job_id="a"), after(5))
    (live,) = m.runs.values()
    for run, to, text in (
        (live, State.SUCCESS, "can't mark r2: it is starting, and has not finished"),
        (old, State.FAILURE, "r1 is failure already"),
        (old, State.RUNNING, "can't mark r1 as running: no run ends so"),
    ):
        with pytest.raises(Refused, match=text):
            m.handle(MarkRequested(original=run, state=to), after(6))


# -- backfills


def days(*days: int) -> tuple[tuple[dict[str, str], None], ...]:
    return tuple(({"date": f"2026-01-{day:02}"}, None) for day in days)


def test_a_backfill_runs_the_oldest_first_and_one_at_a_time():
    m = machine(job(params=["date"], successors="c"), job("c"))
    m.handle(BackfillRequested(job_id="a", instances=days(1, 2, 3), by="ann"), after(2))
    order = []
    for second in (3, 4, 5):
        (run,) = [r for r in m.runs.values() if r.state is State.STARTING]
        order.append(run.args["date"][-1])
        assert (run.origin, run.backfill_id, run.by) == (Origin.BACKFILL, 1, "ann")
        end(m, run.run_id, "success", second)
    assert order == ["1", "2", "3"]
    assert len(m.runs) == 0, "no successors unless asked"


def test_a_backfill_may_run_several_at_once_and_fire_actions():
    m = machine(job(params=["date"], successors="c"), job("c"))
    m.handle(BackfillRequested(job_id="a", instances=days(1, 2, 3), max_running=2, actions=True), after(2))
    assert [r.state.value for r in m.runs.values()] == ["starting", "starting", "waiting"]
    end(m, 1, "success", 3)
    assert sorted((r.job_id, r.state.value) for r in m.runs.values()) == [("a", "starting")] * 2 + [
        ("c", "starting")
    ]


def test_a_backfill_stops_after_three_failures_in_a_row():
    m = machine(job(params=["date"]))
    m.handle(BackfillRequested(job_id="a", instances=days(*range(1, 9))), after(2))
    for run_id, outcome in ((1, "failure"), (2, "failure"), (3, "success"), (4, "failure"), (5, "failure")):
        end(m, run_id, outcome, 3)
    runs = saved(end(m, 6, "failure", 4))
    assert {
        run_id: run.skip_reason for run_id, run in runs.items() if run.state is State.SKIPPED
    } == dict.fromkeys((7, 8), "backfill r1 stopped: 3 failures in a row")
    assert len(m.runs) == 0


def test_failures_in_a_row_are_counted_over_a_restart():
    first = machine(job(params=["date"]))
    first.handle(BackfillRequested(job_id="a", instances=days(1, 2, 3)), after(2))
    left = tuple(first.runs.values())
    m = machine(job(params=["date"]), runs=left, clock=after(2), backfill_failures={1: 2})
    end(m, 1, "failure", 3)
    assert len(m.runs) == 0


def test_attempts_of_a_backfill_count_once_and_take_its_turn():
    m = machine(job(params=["date"], retry=1))
    m.handle(BackfillRequested(job_id="a", instances=days(1, 2, 3, 4)), after(2))
    end(m, 1, "failure", 3)
    retry = m.runs[5]
    assert (retry.backfill_id, retry.args["date"], retry.state) == (1, "2026-01-01", State.STARTING)
    assert m.runs[2].state is State.WAITING, "the oldest day comes first, also once more"


def test_a_backfill_is_stopped_as_one_and_may_go_on():
    m = machine(job(params=["date"]))
    m.handle(BackfillRequested(job_id="a", instances=days(1, 2, 3)), after(2))
    stopped = saved(m.handle(BackfillStopRequested(backfill_id=1, by="ann"), after(3)))
    assert {r.skip_reason for r in stopped.values()} == {"backfill r1 stopped by ann"}
    assert [r.state.value for r in m.runs.values()] == ["starting"]
    with pytest.raises(Refused, match="nothing is left of backfill r1"):
        m.handle(BackfillStopRequested(backfill_id=1), after(4))
    m.handle(BackfillRequested(job_id="a", instances=days(2, 3), backfill_id=1), after(5))
    assert {r.backfill_id for r in m.runs.values()} == {1}


@pytest.mark.parametrize(
    ("job_id", "args", "error", "text"),
    [("b", {}, NotFound, "there is no job b"), ("a", {"day": "1"}, BindError, "missing args")],
)
def test_a_wrong_backfill_makes_nothing(job_id: str, args: dict[str, str], error: type[Exception], text: str):
    m = machine(job(params=["date"]))
    with pytest.raises(error, match=text):
        m.handle(BackfillRequested(job_id=job_id, instances=((args, None),)), after(2))
    assert len(m.runs) == 0


def test_backfills_and_retries_come_through_crashes():
    data = {"params": ["date"], "retry": {"count": 2, "delay": 1}}
    world = World(
        jobs=[job(**data)],
        duration_s=lambda run: 0.5,
        outcome=lambda run: "failure" if run.attempt == 1 else "success",
        crash_at=set(range(7, 400, 11)),
    )
    world.ask(after(1), BackfillRequested(job_id="a", instances=days(*range(1, 7))))
    world.run(after(120)).settle()
    assert world.broken_laws == []
    assert world.crashes > 5
    ends = sorted((run.args["date"], run.attempt, run.state.value) for run in world.saved.values())
    wanted = [[(f"2026-01-0{day}", 1, "failure"), (f"2026-01-0{day}", 2, "success")] for day in (1, 2)]
    assert ends[:4] == wanted[0] + wanted[1]
    assert world.now - world.began > timedelta(seconds=100)
