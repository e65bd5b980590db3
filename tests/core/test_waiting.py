"""What holds a run and what lets it go: limits, dependencies, duplicates, looks at the world, patience."""

from collections.abc import Iterable
from datetime import timedelta

import pytest

from apsis_nb.core.conditions import CustomCondition, End, FileExists
from apsis_nb.core.errors import BindError
from apsis_nb.core.events import (
    ConditionPolled,
    IdsReserved,
    JobsLoaded,
    ProgramFinished,
    ProgramStarted,
    Restored,
    RunFound,
    RunRequested,
    StartRequested,
    StopRequested,
    Tick,
)
from apsis_nb.core.instructions import FindRun, Instruction, PollCondition, SaveRun, WakeAt
from apsis_nb.core.jobs import Job, job_from_dict
from apsis_nb.core.machine import Machine
from apsis_nb.core.programs import ClassKeys, Site
from apsis_nb.core.runs import Origin, Run
from apsis_nb.core.states import State
from tests.core.world import World, after


def job(job_id: str = "a", **keys: object) -> Job:
    return job_from_dict(job_id, {"program": {"type": "shell", "command": "true"}} | keys)


class Started(Machine):
    """A machine that is up, at second 0."""

    def __init__(self, *jobs: Job, limit: int | None = None, max_wait_s: float | None = None) -> None:
        super().__init__(limit, max_wait_s)
        self.handle(IdsReserved(first=1, stop=1000), after(0))
        self.handle(Restored(), after(0))
        self.handle(JobsLoaded(jobs=jobs), after(0))

    def ask(self, job_id: str = "a", at_s: float = 1, **facts: object) -> list[Instruction]:
        return self.handle(RunRequested(job_id=job_id, **facts), after(at_s))  # type: ignore[arg-type]

    def end(self, run_id: int, outcome: str = "success", at_s: float = 2) -> list[Instruction]:
        self.handle(ProgramStarted(run_id=run_id, at=after(at_s)), after(at_s))
        ended = ProgramFinished(run_id=run_id, at=after(at_s), outcome=outcome)  # type: ignore[arg-type]
        return self.handle(ended, after(at_s))

    def states(self) -> dict[int, str]:
        return {run_id: run.state.value for run_id, run in self.runs.items()}


def last(orders: Iterable[Instruction], run_id: int) -> Run:
    """The run as it was saved last."""
    return [o.run for o in orders if isinstance(o, SaveRun) and o.run.run_id == run_id][-1]


# -- limits


def test_a_group_is_one_pool_over_jobs_and_serves_who_came_first():
    in_group = {"type": "max_running", "group": "db-{{ host }}"}
    m = Started(*(job(name, params=["host"], condition=in_group) for name in "abc"))
    for name in "abc":
        m.ask(name, args={"host": "x"})
    m.ask("a", args={"host": "y"})
    assert m.states() == {1: "starting", 2: "waiting", 3: "waiting", 4: "starting"}
    assert m.why(2) == "1 of 1 of group db-x running"
    m.end(4)
    assert m.states() == {1: "starting", 2: "waiting", 3: "waiting"}
    m.end(1)
    assert m.states() == {2: "starting", 3: "waiting"}
    m.end(2)
    assert m.states() == {3: "starting"}


def test_a_group_counts_what_ran_before_a_restart():
    m = Started(job(condition={"type": "max_running", "group": "db"}))
    m.ask(count=2)
    again = Machine()
    again.handle(IdsReserved(first=100, stop=200), after(5))
    again.handle(Restored(runs=tuple(m.runs.values()), clock=after(5)), after(5))
    assert {run.run_id: run.state.value for run in again.runs.values()} == {1: "starting", 2: "waiting"}


@pytest.mark.parametrize(
    ("args", "starting"),
    [(None, [1, 2, 3]), ({"region": "{{ region }}"}, [1, 3]), ({}, [1])],
)
def test_args_say_which_runs_count(args: object, starting: list[int]):
    condition = {"type": "max_running"} | ({} if args is None else {"args": args})
    m = Started(job(params=["region", "day"], condition=condition))
    for region, day in (("eu", "1"), ("eu", "2"), ("us", "1")):
        m.ask(args={"region": region, "day": day})
    assert [run_id for run_id, state in m.states().items() if state == "starting"] == starting
    for run_id in (1, 2, 3):
        if m.states().get(run_id) == "starting":
            m.end(run_id)
    for run_id in (2, 3):
        if m.states().get(run_id) == "starting":
            m.end(run_id)
    assert set(m.states().values()) <= {"starting"}, "a place that was left is taken"


def test_an_arg_that_the_counted_job_has_not_is_an_error():
    m = Started(job(condition={"type": "max_running", "args": {"zone": "x"}}))
    with pytest.raises(BindError, match="max_running: job a has no param zone"):
        m.ask()


def test_the_limit_of_the_server_holds_all_and_says_so():
    m = Started(job("a"), job("b"), limit=2)
    m.ask("a", count=3)
    m.ask("b")
    assert m.states() == {1: "starting", 2: "starting", 3: "waiting", 4: "waiting"}
    assert m.why(3) == "2 of 2 of the server's runs running"
    m.end(2)
    assert m.states() == {1: "starting", 3: "starting", 4: "waiting"}
    m.end(1, "failure")
    assert m.states() == {3: "starting", 4: "starting"}


# -- duplicates


def test_a_duplicate_is_skipped_and_says_of_what():
    m = Started(job(params=["x"], condition={"type": "skip_duplicate"}))
    m.ask(args={"x": "1"})
    m.ask(args={"x": "2"})
    twin = last(m.ask(args={"x": "1"}), 3)
    assert (twin.state, twin.skip_reason) == (State.SKIPPED, "duplicate: r1 is starting")
    m.end(1)
    m.ask(args={"x": "1"})
    assert m.states() == {2: "starting", 4: "starting"}


def test_a_duplicate_may_be_an_error_and_look_at_other_states():
    condition = {"type": "skip_duplicate", "check_states": "scheduled", "target_state": "error"}
    m = Started(job(condition=condition))
    m.ask()
    m.ask(at=after(100))
    twin = last(m.ask(), 3)
    assert (twin.state, twin.message, twin.skip_reason) == (State.ERROR, "duplicate: r2 is scheduled", None)


# -- dependencies


def dependent(**keys: object) -> Job:
    return job("b", condition={"type": "dependency", "job_id": "a"} | keys)


def answer(
    m: Machine, orders: Iterable[Instruction], found: int | None, *, exists: bool = False
) -> list[Instruction]:
    """The store's word on all that was asked."""
    out: list[Instruction] = []
    for find in [o for o in orders if isinstance(o, FindRun)]:
        word = RunFound(run_id=find.run_id, inst=find.inst, states=find.states, found=found, exists=exists)
        out += m.handle(word, after(2))
    return out


def test_what_must_exist_and_does_not_is_an_error_at_once():
    m = Started(job(), dependent(exist=True))
    run = last(answer(m, m.ask("b"), None), 1)
    assert run.state is State.ERROR
    assert run.message == "no dependency a() exists in running|scheduled|starting|stopping|success|waiting"


def test_what_must_exist_is_hoped_for_while_it_lives_and_no_longer():
    m = Started(job(), dependent(exist=True))
    m.ask("a")
    assert answer(m, m.ask("b"), None) == []
    assert m.states() == {1: "starting", 2: "waiting"}
    run = last(m.end(1, "failure"), 2)
    assert (run.state, run.message is not None and "no dependency a() exists" in run.message) == (
        State.ERROR,
        True,
    )


def test_a_failure_may_leave_hope():
    m = Started(job(), dependent(exist=["success", "failure"]))
    asked = m.ask("b")
    (find,) = [o for o in asked if isinstance(o, FindRun)]
    assert find.exist == frozenset({State.FAILURE})
    answer(m, asked, None, exists=True)
    assert m.states() == {1: "waiting"}


def test_what_a_schedule_makes_today_exists():
    soon = {"type": "interval", "interval": 3600, "phase": 600}
    m = Started(job(schedule=soon), dependent(exist=True))
    answer(m, m.ask("b"), None)
    assert m.states() == {1: "waiting"}


def test_all_dependencies_are_asked_at_once_and_each_counts_when_it_is_told():
    names = [f"d{n}" for n in range(5)]
    conditions = [{"type": "dependency", "job_id": name} for name in names]
    m = Started(*(job(name) for name in names), job("b", condition=conditions))
    asked = m.ask("b")
    assert [o.inst.job_id for o in asked if isinstance(o, FindRun)] == names
    answer(m, asked, None)
    for name in reversed(names):  # the last is met first
        made = m.ask(name, at_s=3)
        m.end(last(made, max(m.runs)).run_id, at_s=4)
    assert m.states() == {1: "starting"}


def test_a_test_run_satisfies_nobody_and_fires_nothing():
    m = Started(job(successors="c"), job("c"), dependent())
    answer(m, m.ask("b"), None)
    m.ask("a", origin=Origin.TEST)
    m.end(2)
    assert m.states() == {1: "waiting"}
    m.ask("a")
    m.end(3)
    assert m.states() == {1: "starting", 4: "starting"}


# -- what the shell looks at


def test_a_file_is_looked_for_until_it_is_there():
    m = Started(job(params=["x"], condition={"type": "file", "path": "in/{{ x }}.csv"}))
    (poll,) = [o for o in m.ask(args={"x": "7"}) if isinstance(o, PollCondition)]
    assert poll.condition == FileExists(path="in/7.csv")
    assert m.why(1) == "waiting for the file in/7.csv"
    no = ConditionPolled(run_id=1, condition=poll.condition, holds=False, message="no right to look")
    assert [o.message for o in m.handle(no, after(2)) if isinstance(o, SaveRun)] == ["no right to look"]
    yes = ConditionPolled(run_id=1, condition=poll.condition, holds=True)
    m.handle(yes, after(3))
    assert m.states() == {1: "starting"}
    assert m.handle(yes, after(4)) == [], "once more changes nothing"


def test_conditions_are_looked_at_in_their_order():
    conditions = [{"type": "file", "path": "/a"}, {"type": "file", "path": "/b"}, {"type": "max_running"}]
    m = Started(job(condition=conditions))
    (first,) = [o for o in m.ask() if isinstance(o, PollCondition)]
    orders = m.handle(ConditionPolled(run_id=1, condition=first.condition, holds=True), after(2))
    (second,) = [o for o in orders if isinstance(o, PollCondition)]
    assert [str(c.condition) for c in (first, second)] == ["the file /a", "the file /b"]
    m.handle(ConditionPolled(run_id=1, condition=second.condition, holds=True), after(3))
    assert m.states() == {1: "starting"}


READY = Site(class_of=lambda _: ClassKeys(of="condition", takes_any=True))


def waits_for_a_class(condition: object = None) -> tuple[Started, CustomCondition]:
    """A machine with a run that waits for a class of the user's own, and the condition as it is bound."""
    condition = condition or {"type": "lib.Ready", "day": "{{ x }}"}
    keys = {"program": "true", "params": ["x"], "condition": condition}
    m = Started(job_from_dict("a", keys, site=READY))
    (poll,) = [o for o in m.ask(args={"x": "{{ 7 }}"}) if isinstance(o, PollCondition)]
    assert isinstance(poll.condition, CustomCondition)
    return m, poll.condition


def test_a_class_of_one_s_own_says_why_it_holds_a_run_and_lets_it_go():
    m, ready = waits_for_a_class()
    assert ready == CustomCondition(type="lib.Ready", keys={"day": "{{ 7 }}"})
    assert m.why(1) == "waiting for lib.Ready(day={{ 7 }})"
    told = ConditionPolled(run_id=1, condition=ready, holds=False, message="waiting: 1 of 3")
    assert [o.message for o in m.handle(told, after(2)) if isinstance(o, SaveRun)] == ["waiting: 1 of 3"]
    assert m.why(1) == "waiting: 1 of 3"
    assert m.handle(ConditionPolled(run_id=1, condition=ready, holds=False), after(3)) == []
    assert m.why(1) == "waiting for lib.Ready(day={{ 7 }})"
    m.handle(ConditionPolled(run_id=1, condition=ready, holds=True), after(4))
    assert m.states() == {1: "starting"}


@pytest.mark.parametrize("to", [State.SKIPPED, State.ERROR])
def test_a_class_of_one_s_own_may_end_a_run(to):
    m, ready = waits_for_a_class()
    end = ConditionPolled(run_id=1, condition=ready, holds=False, end=End(to, "no use"))
    run = last(m.handle(end, after(2)), 1)
    assert (run.state, run.message) == (to, "no use")
    assert run.skip_reason == ("no use" if to is State.SKIPPED else None)
    assert m.handle(end, after(3)) == [], "once more changes nothing"


def test_a_run_is_told_to_have_waited_too_long_in_the_words_of_its_condition():
    keys = {"program": "true", "condition": {"type": "lib.Ready"}, "waiting": {"max_time": "1m"}}
    m = Started(job_from_dict("a", keys, site=READY))
    (poll,) = [o for o in m.ask() if isinstance(o, PollCondition)]
    m.handle(ConditionPolled(run_id=1, condition=poll.condition, holds=False, message="1 of 3"), after(2))
    assert last(m.handle(Tick(), after(61)), 1).message == "1 of 3: timeout after 1m"


def test_a_condition_before_a_class_is_what_holds_a_run_though_the_class_said_something():
    m, ready = waits_for_a_class([{"type": "max_running", "count": 1, "args": {}}, {"type": "lib.Ready"}])
    m.handle(ConditionPolled(run_id=1, condition=ready, holds=False, message="1 of 3"), after(2))
    assert m.why(1) == "1 of 3"
    m.handle(StartRequested(run_id=1), after(3))
    m.ask(args={"x": "b"}, at_s=4)
    assert m.why(2) == "1 of 1 of a(...) running"


# -- patience


def test_a_run_waits_no_longer_than_its_job_says():
    m = Started(job(condition={"type": "const", "value": False}, waiting={"max_time": "1m"}))
    orders = m.ask()
    assert [o.at for o in orders if isinstance(o, WakeAt)] == [after(61)]
    m.handle(Tick(), after(60))
    run = last(m.handle(Tick(), after(61)), 1)
    assert (run.state, run.message) == (State.ERROR, "the constant false: timeout after 1m")


def test_the_server_has_patience_for_jobs_that_do_not_say_also_over_a_restart():
    m = Started(job(condition={"type": "const", "value": False}), max_wait_s=100)
    m.ask()
    again = Machine(max_wait_s=100)
    again.handle(IdsReserved(first=100, stop=200), after(90))
    again.handle(Restored(runs=tuple(m.runs.values()), clock=after(90)), after(90))
    again.handle(JobsLoaded(jobs=()), after(90))
    again.handle(Tick(), after(100))
    assert [run.state for run in again.runs.values()] == [State.WAITING]
    assert last(again.handle(Tick(), after(101)), 1).state is State.ERROR


# -- retries


def retried(**keys: object) -> Job:
    return job(retry={"count": 2, "delay": 10, "backoff": 3} | keys, successors="c", params=["x"])


def test_a_failure_is_tried_again_later_each_time_until_the_attempts_are_used_up():
    alarm = {"type": "schedule", "job_id": "c", "args": {}, "if": {"states": ["failure"]}}
    m = Started(job(retry={"count": 2, "delay": 10, "backoff": 3}, action=alarm), job("c"))
    m.ask(labels=("x",), by="ann")
    orders = m.end(1, "failure", at_s=2)
    second = last(orders, 2)
    assert (second.origin, second.attempt, second.rerun_of) == (Origin.RETRY, 2, 1)
    assert (second.scheduled_at, second.labels, second.by) == (after(12), ("x",), "ann")
    assert m.states() == {2: "scheduled"}, "nobody is alarmed yet"
    m.handle(Tick(), after(12))
    third = last(m.end(2, "failure", at_s=13), 3)
    assert (third.attempt, third.rerun_of, third.scheduled_at) == (3, 2, after(43))
    m.handle(Tick(), after(43))
    m.end(3, "failure", at_s=44)
    assert {run.job_id for run in m.runs.values()} == {"c"}, "now they are"


def test_what_somebody_stopped_is_not_tried_again():
    m = Started(job(retry=3))
    m.ask()
    m.handle(ProgramStarted(run_id=1, at=after(2)), after(2))
    m.handle(StopRequested(run_id=1), after(3))
    m.handle(ProgramFinished(run_id=1, at=after(4), outcome="failure"), after(4))
    assert m.states() == {}


@pytest.mark.parametrize(("states", "again"), [(["failure"], False), (["failure", "error"], True)])
def test_an_unknown_outcome_is_tried_again_only_if_the_job_says_so(states: list[str], again: bool):
    m = Started(job(retry={"count": 1, "states": states}))
    m.ask()
    m.end(1, "error")
    assert (m.states() == {2: "starting"}) is again


def test_a_retry_of_a_job_that_is_gone_is_as_it_was():
    m = Started(job(retry=1, params=["x"]))
    m.ask(args={"x": "7"})
    m.handle(JobsLoaded(jobs=()), after(1.5))
    retry = last(m.end(1, "failure"), 2)
    assert (retry.args, retry.program) == ({"x": "7"}, job().program)


def test_an_end_from_which_runs_follow_waits_for_ids_so_that_a_crash_loses_none():
    m = Machine()
    m.handle(IdsReserved(first=1, stop=2), after(0))
    m.handle(Restored(), after(0))
    m.handle(JobsLoaded(jobs=(job(retry=1),)), after(0))
    m.handle(RunRequested(job_id="a"), after(1))
    m.handle(ProgramStarted(run_id=1, at=after(2)), after(2))
    ended = m.handle(ProgramFinished(run_id=1, at=after(3), outcome="failure"), after(3))
    assert not [o for o in ended if isinstance(o, SaveRun)]
    told = m.handle(IdsReserved(first=50, stop=60), after(4))
    saves = [(o.run.run_id, o.run.state.value) for o in told if isinstance(o, SaveRun) and o.is_transition]
    assert saves[:2] == [(1, "failure"), (50, "scheduled")]


def test_ten_thousand_that_wait_cost_little_when_a_place_is_free():
    condition = {"type": "max_running", "group": "one"}
    m = Started(job(condition=condition))
    m.handle(IdsReserved(first=1000, stop=20000), after(0))
    m.ask(count=3000)
    looked: list[int] = []
    decide = m._waiting.decide
    m._waiting.decide = lambda run: looked.append(run.run_id) or decide(run)  # type: ignore[method-assign,func-returns-value]
    m.end(1)
    assert looked == [2], "only the one that takes the place is looked at"


def test_who_waits_for_something_else_is_not_looked_at_each_time_a_place_is_free():
    needs = [{"type": "max_running", "group": "g"}, {"type": "dependency", "job_id": "b"}]
    m = Started(job(condition=needs), job("b"), job("c", condition=needs[:1]))
    m.ask("c")
    m.ask(count=500)
    looked: list[int] = []
    decide = m._waiting.decide
    m._waiting.decide = lambda run: looked.append(run.run_id) or decide(run)  # type: ignore[method-assign,func-returns-value]
    orders = m.end(1)
    assert len(looked) == Machine.LOOKS, "no event takes long"
    while any(isinstance(o, WakeAt) and o.at == after(2) for o in orders):
        orders = m.handle(Tick(), after(2))
    assert looked == list(range(2, 502)), "each learns once that it waits for the other"
    assert m.is_calm
    m.ask("c")
    looked.clear()
    m.end(502)
    assert looked == [], "none of them waits for a place"


def test_what_ended_is_known_until_all_who_wait_for_it_have_heard():
    m = Started(job(condition={"type": "dependency", "job_id": "b"}), job("b"))
    m.ask("b")
    m.ask(count=500)
    orders, events = m.end(1), 1
    while not m.is_calm:
        assert [o.at for o in orders if isinstance(o, WakeAt)] == [after(2)]
        orders, events = m.handle(Tick(), after(2)), events + 1
    assert set(m.states().values()) == {"starting"}
    assert events == -(-500 // Machine.LOOKS)


def test_who_left_a_line_for_another_comes_back_to_the_same_place():
    two = [{"type": "max_running", "group": "g"}, {"type": "max_running", "group": "h"}]
    m = Started(job(condition=two), job("g", condition=two[:1]), job("h", condition=two[1:]))
    m.ask("g")
    m.ask("h")
    m.ask()  # 3 waits for g
    m.ask("g")  # 4 stands behind it
    m.end(1)  # 3 waits for h now, and 4 takes its place
    assert m.states() == {2: "starting", 3: "waiting", 4: "starting"}
    m.ask("g")
    m.end(2)  # back in the line of g, 3 stands before 5
    assert m.states() == {3: "waiting", 4: "starting", 5: "waiting"}
    m.end(4)
    assert m.states() == {3: "starting", 5: "waiting"}


def test_a_world_of_pools_keeps_to_them():
    data = {
        "condition": {"type": "max_running", "group": "g", "count": 2},
        "schedule": {"type": "interval", "interval": 1},
    }
    world = World(jobs=[job("a", **data), job("b", **data)], duration_s=lambda run: 2.5, crash_at={9, 40, 77})
    most = 0
    for second in range(40):
        world.run(after(second))
        busy = [r for r in world.saved.values() if r.state in (State.STARTING, State.RUNNING)]
        most = max(most, len(busy))
    assert most == 2
    assert world.now - world.began >= timedelta(seconds=30)


def test_what_follows_from_lateness_is_noted_in_the_state_that_the_run_is_in_by_then():
    late = {"type": "schedule", "job_id": "c", "args": {}, "if": {"late": True}}
    every = {"type": "interval", "interval": 100}
    late_job = job(schedule=every, late={"start": 5}, condition={"type": "file", "path": "/a"}, action=late)
    m = Machine()
    m.handle(IdsReserved(first=1, stop=2), after(50))
    m.handle(Restored(), after(50))
    m.handle(JobsLoaded(jobs=(late_job, job("c"))), after(50))
    (poll,) = [o for o in m.handle(Tick(), after(100)) if isinstance(o, PollCondition)]
    m.handle(Tick(), after(106))  # it is late, and there is no id for the run that is to follow
    m.handle(ConditionPolled(run_id=1, condition=poll.condition, holds=True), after(107))
    told = m.handle(IdsReserved(first=50, stop=60), after(108))
    (note,) = [o for o in told if isinstance(o, SaveRun) and o.run.run_id == 1]
    assert (note.message, note.run.state) == ("action: scheduled c() as r50", State.STARTING)
