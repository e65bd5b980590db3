"""What the machine answers to single events, and the sentences with which it refuses."""

from collections.abc import Sequence
from datetime import timedelta

import pytest

from apsis_nb.core.errors import ApsisError, BindError, NotFound, Refused
from apsis_nb.core.events import (
    DrainRequested,
    IdsReserved,
    JobsLoaded,
    ProgramFinished,
    ProgramStarted,
    RerunRequested,
    Restored,
    RunFound,
    RunRequested,
    SignalFailed,
    SignalRequested,
    SkipRequested,
    StartRequested,
    StopRequested,
    Tick,
)
from apsis_nb.core.instructions import (
    FindRun,
    Forget,
    Instruction,
    ReserveIds,
    ResumeProgram,
    SaveClock,
    SaveRun,
    SignalProgram,
    StartProgram,
    StopProgram,
    WakeAt,
)
from apsis_nb.core.jobs import Job, job_from_dict
from apsis_nb.core.machine import Machine
from apsis_nb.core.programs import Outcome
from apsis_nb.core.runs import IllegalTransition, Origin, Run
from apsis_nb.core.states import FINISHED, TRANSITIONS, State
from tests.core.world import after

SHELL = {"type": "shell", "command": "true"}
EVERY_MINUTE = {"type": "interval", "interval": 60}


def job(job_id: str = "a", **keys: object) -> Job:
    return job_from_dict(job_id, {"program": SHELL} | keys)


def machine(*jobs: Job, clock_s: float | None = None, now_s: float = 0, ids: int = 1000) -> Machine:
    """A machine with these jobs and ids from 1, its first events handled."""
    made = Machine()
    if ids:
        made.handle(IdsReserved(first=1, stop=1 + ids), after(now_s))
    made.handle(Restored(clock=None if clock_s is None else after(clock_s)), after(now_s))
    made.handle(JobsLoaded(jobs=jobs), after(now_s))
    return made


def kinds(orders: Sequence[Instruction]) -> list[str]:
    return [type(order).__name__ for order in orders]


def saved(orders: Sequence[Instruction]) -> list[tuple[str, str | None]]:
    """(state, message) of each row of the log."""
    return [(order.run.state.value, order.message) for order in orders if isinstance(order, SaveRun)]


def last(orders: Sequence[Instruction]) -> Run:
    return [order.run for order in orders if isinstance(order, SaveRun)][-1]


def running(m: Machine, run_id: int, now_s: float = 1) -> None:
    m.handle(ProgramStarted(run_id=run_id, at=after(now_s), run_state={"pid": 7}), after(now_s))


def test_a_due_run_is_saved_before_its_program_starts():
    m = machine(job(schedule=EVERY_MINUTE), now_s=1)

    orders = m.handle(Tick(), after(60))

    assert kinds(orders) == ["SaveRun", "SaveRun", "StartProgram", "SaveClock", "WakeAt"]
    assert saved(orders) == [("scheduled", "scheduled for 2026-01-05 00:01:00Z"), ("starting", None)]
    assert [o.at for o in orders if isinstance(o, SaveClock | WakeAt)] == [after(60), after(120)]


@pytest.mark.parametrize("is_same", [True, False])
def test_a_reload_while_ids_are_awaited_makes_no_run_twice(is_same: bool):
    made = job(schedule=EVERY_MINUTE)
    m = machine(made, now_s=1, ids=0)
    assert saved(m.handle(Tick(), after(60))) == []

    m.handle(JobsLoaded(jobs=(made if is_same else job(schedule=EVERY_MINUTE),)), after(61))
    orders = m.handle(IdsReserved(first=1, stop=100), after(62))

    assert [o.run.nominal_at for o in orders if isinstance(o, SaveRun) and o.is_new] == [after(60)]


def test_a_reload_leaves_the_schedules_of_other_jobs_where_they_were():
    kept, other = job("kept", schedule=EVERY_MINUTE), job("other", schedule=EVERY_MINUTE)
    m = machine(kept, other, now_s=1)

    m.handle(JobsLoaded(jobs=(kept, job("other", schedule={"type": "interval", "interval": 90}))), after(30))
    due = [
        (o.run.job_id, o.run.nominal_at)
        for at in (60, 90, 120)
        for o in m.handle(Tick(), after(at))
        if isinstance(o, SaveRun) and o.is_new
    ]

    assert due == [("kept", after(60)), ("other", after(90)), ("kept", after(120))]


def test_a_run_goes_through_its_life():
    m = machine(job())
    (run,) = {
        o.run.run_id for o in m.handle(RunRequested(job_id="a", by="ann"), after(1)) if isinstance(o, SaveRun)
    }

    started = m.handle(ProgramStarted(run_id=run, at=after(2), run_state={"pid": 7}), after(3))
    end_of_it = ProgramFinished(
        run_id=run, at=after(9), outcome="failure", message="exit code 3", return_code=3, elapsed_s=7.5
    )
    ended = m.handle(end_of_it, after(10))

    assert last(started).run_state == {"pid": 7}
    assert last(started).started_at == after(2)
    assert kinds(ended) == ["SaveRun", "Forget"]
    assert saved(ended) == [("failure", "exit code 3")]
    end = last(ended)
    assert (end.return_code, end.elapsed_s, end.finished_at, end.run_state) == (3, 7.5, after(9), None)
    assert (end.origin, end.by, end.name) == (Origin.MANUAL, "ann", "r1")
    assert run not in m.runs


def test_late_facts_change_nothing():
    m = machine(job())
    m.handle(RunRequested(job_id="a"), after(1))
    running(m, 1)
    m.handle(ProgramFinished(run_id=1, at=after(2), outcome="success"), after(2))

    for event in (
        ProgramFinished(run_id=1, at=after(3), outcome="failure"),
        ProgramStarted(run_id=1, at=after(3)),
        ProgramStarted(run_id=77, at=after(3)),
        SignalFailed(run_id=1, message="no such process"),
        RunFound(run_id=1, inst=a_run().inst, states=frozenset({State.SUCCESS}), found=5),
    ):
        assert not [o for o in m.handle(event, after(4)) if isinstance(o, SaveRun)]


def test_an_unknown_job_or_wrong_args_are_refused_and_cost_nothing():
    m = machine(job(params=["date"]))

    with pytest.raises(NotFound, match="there is no job nope"):
        m.handle(RunRequested(job_id="nope"), after(1))
    with pytest.raises(BindError, match=r"missing args \(date\) for job a"):
        m.handle(RunRequested(job_id="a"), after(1))
    with pytest.raises(NotFound, match="r5 is not a live run"):
        m.handle(StopRequested(run_id=5), after(1))
    assert len(m.runs) == 0


def test_without_ids_due_runs_wait_for_them_and_the_clock_with_them():
    m = machine(job(schedule=EVERY_MINUTE), now_s=1, ids=0)

    asked = m.handle(Tick(), after(60))
    with pytest.raises(Refused, match="no run ids"):
        m.handle(RunRequested(job_id="a"), after(60))
    with pytest.raises(Refused, match="no run ids"):
        m.handle(RerunRequested(original=a_run()), after(60))
    given = m.handle(IdsReserved(first=1, stop=200), after(61))

    assert not [o for o in asked if isinstance(o, SaveRun | SaveClock)]
    assert m.clock == after(61)
    assert kinds(given)[:3] == ["SaveRun", "SaveRun", "StartProgram"]


def test_ids_are_asked_for_in_time_and_in_larger_blocks_when_used_fast():
    m = machine(job(), ids=40)

    first = m.handle(RunRequested(job_id="a", count=30), after(1))
    m.handle(IdsReserved(first=1000, stop=1032), after(1.2))
    second = m.handle(RunRequested(job_id="a", count=35), after(1.5))

    assert [o.count for o in [*first, *second] if isinstance(o, ReserveIds)] == [32, 64]
    assert m.ids_left == 40 - 30 + 32 - 35


def a_run() -> Run:
    """A run that is starting."""
    return last(machine(job()).handle(RunRequested(job_id="a"), after(1)))


def test_max_running_counts_what_still_stops_and_serves_in_order():
    m = machine(job(condition={"type": "max_running", "count": 1}))
    for _ in range(3):
        orders = m.handle(RunRequested(job_id="a"), after(1))
    running(m, 1)
    m.handle(StopRequested(run_id=1), after(2))

    assert saved(orders)[-1] == ("waiting", "1 of 1 of a() running")
    assert m.why(3) == "1 of 1 of a() running"
    ended = m.handle(ProgramFinished(run_id=1, at=after(3), outcome="failure"), after(3))
    assert [o.run.run_id for o in ended if isinstance(o, StartProgram)] == [2]


def test_a_dependency_is_asked_of_the_store_once_and_watched_from_then_on():
    m = machine(job("dep"), job("b", condition={"type": "dependency", "job_id": "dep"}))

    orders = m.handle(RunRequested(job_id="b"), after(1))
    (find,) = [o for o in orders if isinstance(o, FindRun)]
    none = m.handle(RunFound(run_id=1, inst=find.inst, states=find.states, found=None), after(2))
    m.handle(RunRequested(job_id="dep"), after(3))
    running(m, 2, 3)
    ended = m.handle(ProgramFinished(run_id=2, at=after(4), outcome="success"), after(4))

    assert find.states == {State.SUCCESS}
    assert kinds(none) == []
    assert [o.run.run_id for o in ended if isinstance(o, StartProgram)] == [1]
    assert m.why(1) is None


def test_a_dependency_that_ended_long_ago_is_enough():
    condition = [{"type": "dependency", "job_id": "dep"}, {"type": "max_running", "count": 1}]
    m = machine(job("dep"), job("b", condition=condition))
    orders = m.handle(RunRequested(job_id="b"), after(1))
    (find,) = [o for o in orders if isinstance(o, FindRun)]

    found = m.handle(RunFound(run_id=1, inst=find.inst, states=find.states, found=99), after(2))

    assert kinds(found) == ["SaveRun", "StartProgram"]


def test_a_run_that_was_held_says_why_it_is_late():
    m = machine(job(schedule=EVERY_MINUTE, condition={"type": "max_running", "count": 1}), now_s=1)
    m.handle(Tick(), after(60))
    running(m, 1, 60)
    m.handle(Tick(), after(120))

    ended = m.handle(ProgramFinished(run_id=1, at=after(200), outcome="success"), after(200))

    started = [o.run for o in ended if isinstance(o, StartProgram)]
    assert [(r.run_id, r.late_why, r.is_late(after(200)), r.late_s(after(200))) for r in started] == [
        (2, "limit", True, 80.0)
    ]


def test_a_run_that_is_starting_is_stopped_as_soon_as_it_runs():
    m = machine(job())
    m.handle(RunRequested(job_id="a"), after(1))
    asked = m.handle(StopRequested(run_id=1, by="ann"), after(2))
    assert [o.message for o in asked if isinstance(o, SaveRun)] == [
        "stop asked by ann: it is stopped as soon as it runs"
    ]
    assert m.runs[1].state is State.STARTING
    again = Machine()  # a restart does not forget it
    again.handle(IdsReserved(first=100, stop=200), after(2))
    again.handle(Restored(runs=(m.runs[1],), clock=after(2)), after(2))
    again.handle(JobsLoaded(jobs=(job(),)), after(2))
    for each in (m, again):
        each.handle(ProgramStarted(run_id=1, at=after(3)), after(3))
        stops = [o for o in each.handle(Tick(), after(3)) if isinstance(o, StopProgram)]
        assert [stop.run.state for stop in stops] == [State.STOPPING]


def test_runs_for_later_start_at_their_time_and_stop_at_theirs():
    m = machine(job())
    orders = m.handle(RunRequested(job_id="a", at=after(100), stop_at=after(110)), after(1))
    started = m.handle(Tick(), after(100))
    up = m.handle(ProgramStarted(run_id=1, at=after(101)), after(101))
    stopped = m.handle(Tick(), after(110))

    assert saved(orders) == [("scheduled", "scheduled for 2026-01-05 00:01:40Z")]
    assert [o.at for o in [*orders, *up] if isinstance(o, WakeAt)] == [after(100), after(110)]
    assert "StartProgram" in kinds(started)
    assert saved(stopped) == [("stopping", "its stop time has come")]
    assert "StopProgram" in kinds(stopped)


def test_requests_that_the_state_does_not_allow_are_refused_in_a_sentence():
    m = machine(job(), job("never", condition={"type": "const", "value": False}))
    m.handle(RunRequested(job_id="a"), after(1))
    m.handle(RunRequested(job_id="never"), after(1))

    for event, text in (
        (SkipRequested(run_id=1), "can't skip r1: it is starting"),
        (StopRequested(run_id=2), "can't stop r2: it is waiting; skip it instead"),
        (StartRequested(run_id=1), "can't start r1: it is starting"),
        (SignalRequested(run_id=2, signal="USR1"), "can't signal r2: it is waiting"),
    ):
        with pytest.raises(Refused, match=text):
            m.handle(event, after(2))


def test_skip_start_and_signal_by_hand():
    m = machine(job(), job("never", condition={"type": "const", "value": False}))
    m.handle(RunRequested(job_id="never", count=2), after(1))
    m.handle(RunRequested(job_id="a", at=after(500), count=2), after(1))

    skipped = m.handle(SkipRequested(run_id=1, by="ann"), after(2))
    forced = m.handle(StartRequested(run_id=2, by="ann"), after(2))
    early = m.handle(StartRequested(run_id=3), after(2))
    reason = m.handle(SkipRequested(run_id=4, reason="not today"), after(2))
    running(m, 3, 3)
    signal = m.handle(SignalRequested(run_id=3, signal="USR1"), after(4))
    failed = m.handle(SignalFailed(run_id=3, message="no such process"), after(4))

    assert saved(skipped) == [("skipped", "skipped by ann")]
    assert last(skipped).skip_reason == "skipped by ann"
    assert saved(forced)[0] == ("waiting", "started although a condition held it by ann")
    assert kinds(forced)[-1] == "StartProgram"
    assert saved(early)[0] == ("scheduled", "started before its time")
    assert saved(reason) == [("skipped", "not today")]
    assert next(o for o in signal if isinstance(o, SignalProgram)).signal == "USR1"
    assert saved(failed) == [("error", "no such process")]


def test_stop_is_asked_once():
    m = machine(job())
    m.handle(RunRequested(job_id="a"), after(1))
    running(m, 1)

    assert kinds(m.handle(StopRequested(run_id=1, by="ann"), after(2))) == ["SaveRun", "StopProgram"]
    assert kinds(m.handle(StopRequested(run_id=1), after(3))) == []


def test_a_rerun_is_of_the_job_as_it_is_today():
    m = machine(job(params=["n"], program="echo {{ n }}"))
    old = last(
        m.handle(RunRequested(job_id="a", args={"n": "1"}, stop_at=after(61), labels=("x",)), after(1))
    )
    m.handle(JobsLoaded(jobs=(job(params=["n"], program="print {{ n }}"),)), after(2))

    new = last(m.handle(RerunRequested(original=old, args={"n": "2"}, by="ann"), after(100)))

    assert (new.rerun_of, new.attempt, new.args, new.labels) == (1, 2, {"n": "2"}, ("x",))
    assert new.program.to_dict()["command"] == "print 2"
    assert new.stop_at == after(160)


def test_a_rerun_of_a_job_that_is_gone_is_as_it_was():
    m = machine(job())
    old = last(m.handle(RunRequested(job_id="a"), after(1)))
    m.handle(JobsLoaded(jobs=()), after(2))

    new = last(m.handle(RerunRequested(original=old), after(100)))

    assert (new.run_id, new.origin, new.rerun_of, new.program) == (2, Origin.RERUN, 1, old.program)
    with pytest.raises(Refused, match="there is no job a now"):
        m.handle(RerunRequested(original=old, args={"n": "2"}), after(100))


def test_an_action_schedules_another_job_with_the_args_that_it_takes():
    m = machine(
        job(params=["date", "x"], action={"type": "schedule", "job_id": "b", "args": {"n": "{{ x }}!"},
                                          "if": {"states": "success"}}),
        job("b", params=["date", "n"]),
    )  # fmt: skip
    m.handle(RunRequested(job_id="a", args={"date": "2026-01-01", "x": "7"}), after(1))
    running(m, 1)

    ended = m.handle(ProgramFinished(run_id=1, at=after(2), outcome="success"), after(2))

    new = last(ended)
    assert (new.job_id, new.args, new.origin) == ("b", {"date": "2026-01-01", "n": "7!"}, Origin.ACTION)
    assert saved(ended)[1] == ("success", "action: scheduled b(date=2026-01-01, n=7!) as r2")


def test_an_action_that_cannot_be_carried_out_is_a_line_in_the_log():
    action = {"type": "schedule", "job_id": "gone", "if": {"states": "success"}}
    m = machine(job(action=action))
    m.handle(RunRequested(job_id="a"), after(1))
    running(m, 1)

    ended = m.handle(ProgramFinished(run_id=1, at=after(2), outcome="success"), after(2))

    assert saved(ended) == [("success", None), ("success", "action: there is no job gone")]


def test_a_run_of_a_schedule_that_cannot_be_bound_is_an_error_run():
    m = machine(job(schedule=EVERY_MINUTE, program="echo {{ nothing }}"), now_s=1)

    orders = m.handle(Tick(), after(60))

    assert last(orders).state is State.ERROR
    assert "'nothing' is not defined" in (last(orders).message or "")
    assert "StartProgram" not in kinds(orders)


@pytest.mark.parametrize(
    ("policy", "params", "ran", "skipped"),
    [
        (None, [], 1, 9),  # the same instance each time: the latest is enough
        (None, ["time"], 10, 0),  # each is another instance
        ("none", [], 0, 10),
        ("all", [], 10, 0),
    ],
)
def test_what_was_missed_is_run_or_skipped_by_policy(
    policy: str | None, params: list[str], ran: int, skipped: int
):
    schedule = EVERY_MINUTE | ({"misfire": policy} if policy else {})

    m = machine(job(schedule=schedule, params=params), clock_s=0, now_s=0)
    orders = m.handle(Tick(), after(11 * 60 + 30))

    moved = [o.run for o in orders if isinstance(o, SaveRun) and not o.is_new]
    assert len([r for r in moved if r.state is State.SKIPPED]) == skipped
    assert len([r for r in moved if r.state is State.STARTING]) == ran + 1  # 11:00 is only just late
    whys = {"none": "missed times are not run", None: "only the latest is run"}
    assert {r.skip_reason for r in moved if r.state is State.SKIPPED} <= {
        f"misfire: the server was down or busy at its time; {whys.get(policy)}"
    }


def test_a_long_absence_of_a_busy_schedule_makes_no_flood():
    m = machine(job(schedule={"type": "interval", "interval": 1}), clock_s=0, now_s=0, ids=5000)

    now, orders = after(400 * 86400), []
    while m.clock != now:  # in pieces, each of which is saved before the next
        piece = m.handle(Tick(), now)
        assert len([o for o in piece if isinstance(o, SaveRun) and o.is_new]) <= m.MAKES
        assert [o.at for o in piece if isinstance(o, WakeAt)]
        orders += piece

    skipped = [o.run for o in orders if isinstance(o, SaveRun) and o.run.state is State.SKIPPED]
    assert 1000 <= len(skipped) <= 1001
    assert skipped[0].skip_reason == (
        "misfire: 34,558,939 times from 2026-01-05 00:00:01Z to 2027-02-08 23:42:19Z,"
        " as the schedule counts them now; this row stands for them all"
    )
    assert skipped[0].nominal_at == after(1)


def test_what_is_older_than_a_day_is_not_run_any_more():
    m = machine(job(schedule={"type": "interval", "interval": 7200, "misfire": "all"}), clock_s=0, now_s=0)

    orders = m.handle(Tick(), after(2 * 86400 + 600))

    moved = [o.run for o in orders if isinstance(o, SaveRun) and not o.is_new]
    assert [r.state.value for r in moved].count("starting") == 12
    assert [r.state.value for r in moved].count("skipped") == 12


def test_a_new_job_is_not_run_for_the_time_before_it():
    m = machine(job(schedule=EVERY_MINUTE), now_s=1)
    m.handle(Tick(), after(59))

    orders = m.handle(
        JobsLoaded(jobs=(job(schedule=EVERY_MINUTE), job("b", schedule=EVERY_MINUTE))), after(61)
    )

    assert [o.run.job_id for o in orders if isinstance(o, StartProgram)] == ["a"]


@pytest.mark.parametrize("has_ids", [True, False])
def test_what_was_due_before_its_jobs_were_taken_away_is_made_as_it_was(has_ids: bool):
    pair = (
        job("b", schedule=EVERY_MINUTE),
        job("a", schedule=EVERY_MINUTE, condition={"type": "dependency", "job_id": "b"}),
    )
    m = machine(*pair, now_s=1, ids=10 if has_ids else 0)

    orders = m.handle(JobsLoaded(jobs=()), after(61))
    orders += m.handle(IdsReserved(first=10_000, stop=10_100), after(61.1))

    made = {o.run.job_id: o.run for o in orders if isinstance(o, SaveRun)}
    assert {job_id: (run.state, run.nominal_at) for job_id, run in made.items()} == {
        "a": (State.WAITING, after(60)),
        "b": (State.STARTING, after(60)),
    }
    assert saved(m.handle(Tick(), after(200))) == []


def test_a_restart_takes_up_each_live_run_where_it_was():
    m = machine(job(), job("never", condition={"type": "const", "value": False}))
    m.handle(RunRequested(job_id="a", count=3), after(1))
    m.handle(RunRequested(job_id="never"), after(1))
    m.handle(RunRequested(job_id="a", at=after(50)), after(1))
    running(m, 2)
    running(m, 3)
    m.handle(StopRequested(run_id=3), after(2))

    new = Machine()
    orders = new.handle(Restored(runs=tuple(m.runs.values()), clock=after(2)), after(10))

    assert [
        (type(o).__name__, o.run.run_id) for o in orders if isinstance(o, ResumeProgram | StopProgram)
    ] == [
        ("ResumeProgram", 1),
        ("ResumeProgram", 2),
        ("ResumeProgram", 3),
        ("StopProgram", 3),
    ]
    assert saved(orders)[0] == ("waiting", "the server restarted")
    assert dict(new.runs) == dict(m.runs)
    found = new.handle(ProgramFinished(run_id=1, at=after(9), outcome="success", elapsed_s=2.0), after(11))
    assert saved(found) == [("running", None), ("success", None)]
    assert last(found).started_at == after(7)


def test_a_run_that_ends_frees_what_was_kept_for_it():
    m = machine(job())
    m.handle(RunRequested(job_id="a"), after(1))

    ended = m.handle(
        ProgramFinished(run_id=1, at=after(2), outcome="error", message="cannot start"), after(2)
    )

    assert [o.run_id for o in ended if isinstance(o, Forget)] == [1]
    assert saved(ended) == [("error", "cannot start")]


def test_moves_outside_the_table_are_illegal_and_times_never_go_back():
    run = a_run()
    for to in set(State) - TRANSITIONS[run.state]:
        with pytest.raises(IllegalTransition, match=f"it cannot become {to.value}"):
            run.moved(to, after(2))

    assert run.moved(State.RUNNING, after(-100)).state_at == run.state_at
    assert all(not TRANSITIONS[state] for state in FINISHED)


def test_errors_of_users_are_of_one_family():
    assert issubclass(IllegalTransition, ApsisError)
    assert timedelta(seconds=60).total_seconds() == a_run().late_start_s


def test_a_server_that_drains_starts_nothing_and_leaves_what_comes_due_to_the_next():
    m = machine(job(schedule=EVERY_MINUTE), job("b", condition={"type": "max_running", "count": 1}), now_s=1)
    m.handle(Tick(), after(60))
    running(m, 1, 61)
    clock = m.clock
    for run_id in (2, 3):
        m.handle(RunRequested(job_id="b"), after(61))
        assert m.runs[run_id].state is (State.STARTING if run_id == 2 else State.WAITING)

    m.handle(DrainRequested(), after(62))

    assert m.handle(Tick(), after(200)) == []  # neither a run nor a later clock, nor one more look at once
    assert m.clock == clock
    assert "StartProgram" not in kinds(m.handle(ended(2), after(201)))  # it made place for the third
    assert m.runs[3].state is State.WAITING
    for request in (RunRequested(job_id="a"), StartRequested(run_id=3)):
        with pytest.raises(Refused, match="about to end"):
            m.handle(request, after(202))
    assert saved(m.handle(SkipRequested(run_id=3), after(203))) == [("skipped", "skipped by hand")]

    again = machine(job(schedule=EVERY_MINUTE), clock_s=60, now_s=204)
    assert [r.nominal_at for r in again.runs.values() if r.state is not State.SKIPPED] == [
        after(120),
        after(180),
    ]


def test_what_follows_from_an_end_is_saved_by_a_server_that_drains_and_started_by_the_next():
    m = machine(job(retry=1, successors=["b"]), job("b"))
    for run_id in (1, 2):
        m.handle(RunRequested(job_id="a"), after(0))
        running(m, run_id)
    m.handle(DrainRequested(), after(2))

    m.handle(ended(1, "failure"), after(3))
    m.handle(ended(2), after(3))

    left = dict(m.runs.items())
    assert sorted((r.inst.job_id, r.attempt, r.state) for r in left.values()) == [
        ("a", 2, State.SCHEDULED),
        ("b", 1, State.SCHEDULED),
    ]
    new = Machine()
    new.handle(IdsReserved(first=100, stop=200), after(10))
    new.handle(Restored(runs=tuple(left.values()), clock=after(2)), after(10))
    orders = new.handle(JobsLoaded(jobs=(job(), job("b"))), after(10))
    assert sorted(o.run.run_id for o in orders if isinstance(o, StartProgram)) == sorted(left)


def test_a_server_that_drains_still_stops_what_is_to_be_stopped():
    m = machine(job())
    m.handle(RunRequested(job_id="a", stop_at=after(100)), after(0))
    running(m, 1)
    m.handle(DrainRequested(), after(2))

    assert kinds(m.handle(Tick(), after(100))) == ["SaveRun", "StopProgram"]


def ended(run_id: int, outcome: Outcome = "success") -> ProgramFinished:
    return ProgramFinished(run_id=run_id, at=after(3), outcome=outcome)


def test_a_tick_before_the_jobs_are_known_loses_no_time_of_theirs():
    each_second = job_from_dict(
        "a", {"program": {"type": "no-op"}, "schedule": {"type": "interval", "interval": 1}}
    )
    first = Machine()
    first.handle(IdsReserved(first=1, stop=50), after(0))
    first.handle(Restored(), after(0))
    first.handle(JobsLoaded(jobs=(each_second,)), after(0))
    first.handle(RunRequested(job_id="a", at=after(3)), after(0.5))
    again = Machine()
    again.handle(IdsReserved(first=50, stop=99), after(5.5))
    restored = again.handle(Restored(runs=tuple(first.runs.values()), clock=after(0.5)), after(5.5))
    tick = again.handle(Tick(), after(5.5))
    loaded = again.handle(JobsLoaded(jobs=(each_second,)), after(5.5))
    assert [o for o in (*restored, *tick) if isinstance(o, SaveClock | WakeAt)] == []
    made = [o.run.nominal_at for o in loaded if isinstance(o, SaveRun) and o.is_new]
    assert made == [after(n) for n in (1, 2, 3, 4, 5)]
    assert State.SCHEDULED not in {run.state for run in again.runs.values()}


def test_an_end_is_saved_only_with_the_attempt_that_follows_it_however_few_ids_there_are():
    m = machine(job(retry={"count": 3, "delay": 1}), ids=3)
    for _ in range(3):
        last(m.handle(RunRequested(job_id="a"), after(1)))
    for run_id in (1, 2, 3):
        running(m, run_id, 2)
        assert not saved(m.handle(ended(run_id, "failure"), after(3)))  # there is no id for what follows
    orders = m.handle(IdsReserved(first=10, stop=11), after(4))
    # A crash comes after any of them: of those that are saved as failed none may lack its next attempt.
    failed = [o.run.run_id for o in orders if isinstance(o, SaveRun) and o.run.state is State.FAILURE]
    again = [o.run.rerun_of for o in orders if isinstance(o, SaveRun) and o.is_new]
    assert set(failed) == set(again) == {1}
    orders = m.handle(IdsReserved(first=20, stop=30), after(5))
    assert {o.run.rerun_of for o in orders if isinstance(o, SaveRun) and o.is_new} == {2, 3}
