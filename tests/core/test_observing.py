"""A server that observes: everything is as ever, but that no program starts."""

import pytest

from apsis_nb.core.actions import action_from_dict
from apsis_nb.core.errors import Refused
from apsis_nb.core.events import (
    ConditionPolled,
    IdsReserved,
    JobsLoaded,
    Restored,
    RunRequested,
    StartRequested,
    Tick,
)
from apsis_nb.core.instructions import Instruction, Notice, PollCondition, SaveNotice, SaveRun, TellLate
from apsis_nb.core.jobs import Job, job_from_dict
from apsis_nb.core.machine import OBSERVED, Machine
from apsis_nb.core.runs import Run
from apsis_nb.core.states import State
from tests.core.world import World, after

EVERY_MINUTE = {"type": "interval", "interval": 60}
TELL_ALL = {"type": "notify", "to": "ops", "if": {"states": ["skipped"], "late": True, "missed": True}}


def job(job_id: str = "a", **keys: object) -> Job:
    return job_from_dict(job_id, {"program": "true", "schedule": EVERY_MINUTE} | keys)


def observer(*jobs: Job, runs: tuple[Run, ...] = ()) -> Machine:
    made = Machine(observes=True, actions=[action_from_dict(TELL_ALL)])
    made.handle(IdsReserved(first=10, stop=1000), after(1))
    made.handle(Restored(runs=runs), after(1))
    made.handle(JobsLoaded(jobs=jobs), after(1))
    return made


def moves(orders: list[Instruction]) -> list[tuple[str, str, str | None]]:
    saves = [order for order in orders if isinstance(order, SaveRun) and order.is_transition]
    return [(o.run.job_id, o.run.state.value, o.run.skip_reason) for o in saves]


def test_what_would_start_is_skipped_at_its_time():
    orders = observer(job()).handle(Tick(), after(60))

    assert moves(orders) == [("a", "scheduled", None), ("a", "skipped", OBSERVED)]
    assert {type(order).__name__ for order in orders} == {"SaveRun", "SaveClock", "WakeAt", "Forget"}


def test_it_waits_for_what_is_outside_and_for_no_other_run():
    conditions = [
        {"type": "dependency", "job_id": "b"},
        {"type": "max_running", "count": 1},
        {"type": "file", "path": "/data/ready"},
    ]
    m = observer(job(condition=conditions, retry=3), job("b", schedule=[]))

    orders = m.handle(Tick(), after(60))
    assert moves(orders) == [("a", "scheduled", None), ("a", "waiting", None)]
    (poll,) = [order for order in orders if isinstance(order, PollCondition)]
    run_id = poll.run.run_id
    orders = m.handle(ConditionPolled(run_id=run_id, condition=poll.condition, holds=True), after(61))
    assert moves(orders) == [("a", "skipped", OBSERVED)]


def test_what_waited_for_another_run_when_the_last_server_ended_waits_no_more():
    m = Machine()
    m.handle(IdsReserved(first=1, stop=1000), after(1))
    m.handle(Restored(), after(1))
    waits = job(condition={"type": "dependency", "job_id": "b"})
    m.handle(JobsLoaded(jobs=(waits, job("b", schedule=[]))), after(1))
    m.handle(Tick(), after(60))
    (run,) = m.runs.values()
    assert run.state is State.WAITING

    again = observer(waits, job("b", schedule=[]), runs=(run,))
    assert list(again.runs.values()) == []


def test_nobody_is_told_and_no_action_follows():
    actions = [
        {"type": "schedule", "job_id": "b", "if": {"states": "skipped"}},
        {"type": "shell", "command": "rm x", "if": {"states": "skipped"}},
    ]
    m = observer(job(action=actions, condition={"type": "const", "value": False}), job("b", schedule=[]))
    m.handle(Tick(), after(60))

    orders = m.handle(Tick(), after(121))  # late by now
    assert any(isinstance(order, TellLate) for order in orders)  # whoever looks on sees it
    m = observer(job(action=actions), job("b", schedule=[]))
    orders += m.handle(Tick(), after(60))
    assert not any(isinstance(order, Notice | SaveNotice) for order in orders)
    assert {job_id for job_id, _, _ in moves(orders)} == {"a"}


def test_who_asks_for_a_run_is_refused():
    m = observer(job(condition={"type": "file", "path": "/data/ready"}))
    m.handle(Tick(), after(60))
    (run,) = m.runs.values()

    for event in (RunRequested(job_id="a"), StartRequested(run_id=run.run_id)):
        with pytest.raises(Refused, match="only observes, and starts nothing: start it without --observe"):
            m.handle(event, after(61))


@pytest.mark.parametrize("crash_after", [None, 3, 5, 8])
def test_no_program_starts_and_nothing_due_is_lost_whatever_crashes(crash_after: int | None):
    world = World(
        jobs=[job(), job("b", schedule={"type": "interval", "interval": 90})],
        new_machine=lambda: Machine(observes=True),
        crash_at=set() if crash_after is None else {crash_after},
    )
    world.run(until=after(600))

    assert world.broken_laws == []
    assert world.starts == {}
    ended = [run.job_id for run in world.saved.values() if run.skip_reason == OBSERVED]
    assert (ended.count("a"), ended.count("b")) == (11, 7)  # the first is due as the world begins
