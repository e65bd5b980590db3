"""Runs, jobs' args and lives for the tests of the store, as nouns."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from apsis_nb.core.conditions import (
    CustomCondition,
    Dependency,
    FileExists,
    MaxRunning,
    SkipDuplicate,
    SqlIsTrue,
)
from apsis_nb.core.instructions import SaveRun
from apsis_nb.core.programs import NoOp
from apsis_nb.core.runs import Instance, Origin, Retry, Run
from apsis_nb.core.runset import Group, Matching
from apsis_nb.core.states import FINISHED, TRANSITIONS, State
from tests.strategies import actions, programs, texts

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


@dataclass
class Clock:
    """A clock that stands still."""

    now: datetime = NOON

    def __call__(self) -> datetime:
        return self.now


def a_run(run_id: int, job_id: str = "team/report", **facts: Any) -> Run:
    """A scheduled run that was due at noon."""
    made: dict[str, Any] = {
        "inst": Instance.of(job_id, facts.pop("args", {"date": "2026-03-02"})),
        "program": NoOp(),
        "origin": Origin.SCHEDULE,
        "scheduled_at": NOON,
        "nominal_at": NOON,
        "state_at": NOON,
    }
    return Run(run_id=run_id, **made | facts)


def saved(run: Run, message: str | None = None, **more: Any) -> SaveRun:
    return SaveRun(cause="test", run=run, message=message, **more)


def ended(run: Run, state: State = State.SUCCESS, after_s: float = 10, **facts: Any) -> Run:
    """The run, started when it was due and ended `after_s` later."""
    at = run.scheduled_at
    if state in (State.SUCCESS, State.FAILURE):
        run = run.moved(State.STARTING, at).moved(State.RUNNING, at)
        facts.setdefault("elapsed_s", after_s)
    return run.moved(state, at + timedelta(seconds=after_s), **facts)


def whole_life(run: Run, state: State = State.SUCCESS, **facts: Any) -> list[SaveRun]:
    """All that is saved of a run that comes and goes at once."""
    return [saved(run, "made", is_new=True), saved(ended(run, state, **facts))]


# -- strategies


def times() -> st.SearchStrategy[datetime]:
    return st.timedeltas(timedelta(days=-9999), timedelta(days=9999)).map(lambda d: NOON + d)


def runs(run_ids: st.SearchStrategy[int] = st.integers(1, 10**12)) -> st.SearchStrategy[Run]:  # noqa: B008
    """Runs as they are made."""
    args = st.dictionaries(texts(), texts(), max_size=3)
    inst = st.builds(Instance.of, texts(), args)
    conditions = st.lists(
        st.builds(MaxRunning, count=st.integers(1, 9), pool=inst)
        | st.builds(lambda i: MaxRunning(count=2, args=dict(i.args), pool=Matching(i.job_id, i.args)), inst)
        | st.builds(lambda g: MaxRunning(count=2, group=g, pool=Group(g)), st.sampled_from(["a", "{{ b }}"]))
        | st.builds(SkipDuplicate, check_states=st.just(frozenset({State.RUNNING})))
        | st.builds(FileExists, path=st.sampled_from(["/a", "b/{{ c }}"]), min_bytes=st.integers(0, 9))
        | st.builds(SqlIsTrue, query=st.just("SELECT true"), args=st.just({"x": "{{ y }}"}))
        | st.builds(CustomCondition, type=st.just("a.B"), keys=st.just({"x": ["{{ y }}", 1.5, None, True]}))
        | st.builds(
            lambda i: Dependency(
                job_id=i.job_id, args=dict(i.args), exist=frozenset({State.SUCCESS, State.RUNNING}), inst=i
            ),
            inst,
        )
        | st.builds(lambda i: Dependency(job_id=i.job_id, args=dict(i.args), inst=i), inst),
        max_size=2,
    )
    return st.builds(
        Run,
        run_id=run_ids,
        inst=inst,
        program=programs(),
        origin=st.sampled_from(Origin),
        scheduled_at=times(),
        nominal_at=st.none() | times(),
        stop_at=st.none() | times(),
        state_at=times(),
        conditions=conditions.map(tuple),
        actions=st.lists(actions(), max_size=2).map(tuple),
        labels=st.lists(texts(), max_size=2).map(tuple),
        late_start_s=st.sampled_from([60.0, 0.5]),
        groups=st.sampled_from([(), ("a", "b")]),
        max_wait_s=st.none() | st.just(60.0),
        retry=st.none() | st.just(Retry(count=2, delay_s=5, backoff=2, states=frozenset({State.ERROR}))),
        late_finish_at=st.none() | times(),
        attempt=st.integers(1, 3),
        rerun_of=st.none() | st.integers(1, 99),
        backfill_id=st.none() | st.integers(1, 99),
        host=st.sampled_from(["local", "bravo"]),
        by=st.none() | texts(),
        cwd=st.none() | texts(),
    )


@st.composite
def lives(draw: st.DrawFn, of: st.SearchStrategy[Run] | None = None) -> list[SaveRun]:
    """What is saved of a run from its making, along legal moves, to some state, with notes in between."""
    run = draw(of or runs())
    life = [saved(run, draw(st.none() | texts()), is_new=True)]
    for _ in range(draw(st.integers(0, 5))):
        if run.is_finished:
            break
        if draw(st.booleans()):
            run = replace(run, told_late_start=draw(st.booleans()) or run.told_late_start)
            life.append(saved(run, draw(texts()), is_transition=False))
        to = draw(st.sampled_from(sorted(TRANSITIONS[run.state], key=lambda s: s.value)))
        at = run.state_at + draw(st.timedeltas(timedelta(0), timedelta(days=2)))
        facts: dict[str, Any] = {"message": draw(st.none() | texts())}
        if to is State.STARTING:
            facts |= {"conditions": (), "late_why": draw(st.sampled_from([None, "limit"]))}
        if to is State.RUNNING:
            facts["run_state"] = draw(st.none() | st.just({"pid": 12, "host": "å"}))
        if to in FINISHED:
            facts["return_code"] = draw(st.none() | st.integers(-9, 255))
            facts["elapsed_s"] = draw(st.none() | st.floats(0, 1e6))
            facts["skip_reason"] = draw(texts()) if to is State.SKIPPED else None
        run = run.moved(to, at, **facts)
        # what is noted with a move is not always the run's own message
        life.append(saved(run, run.message if draw(st.booleans()) else draw(st.none() | texts())))
    return life


def with_ids(lives: Sequence[list[SaveRun]], ids: Callable[[], int]) -> Iterator[list[SaveRun]]:
    """The lives with run ids that nobody else has."""
    for life in lives:
        run_id = ids()
        yield [replace(save, run=replace(save.run, run_id=run_id)) for save in life]
