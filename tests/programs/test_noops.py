"""No-ops: runs without a process."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from apsis_nb.core.events import ProgramFinished, ProgramStarted, SignalFailed
from apsis_nb.core.programs import NoOp
from apsis_nb.core.states import State

from .serving import a_run, asynchronous, serving, until


def ago(seconds):
    return datetime.now(UTC) - timedelta(seconds=seconds)


@asynchronous
async def test_a_no_op_starts_and_ends_soon_but_not_within_the_call(root):
    async with serving(root) as server:
        server.programs.start(a_run(1, NoOp()))
        server.programs.start(a_run(2, NoOp(success=False)))
        assert server.told == []
        await server.finished(2)
    assert [(type(event), event.run_id) for event in server.told] == [
        (ProgramStarted, 1),
        (ProgramFinished, 1),
        (ProgramStarted, 2),
        (ProgramFinished, 2),
    ]
    [good], [bad] = server.events(ProgramFinished, 1), server.events(ProgramFinished, 2)
    assert (good.outcome, good.message, good.elapsed_s) == ("success", None, 0.0)
    assert (bad.outcome, bad.message) == ("failure", "failed")
    assert [path.name for path in root.iterdir()] == [".spawner.log"]  # they leave no trace


@asynchronous
async def test_times_are_those_of_the_clock_that_was_given(root):
    at = datetime(2026, 1, 31, 9, tzinfo=UTC)
    async with serving(root, now=lambda: at) as server:
        finished = await server.run(a_run(1, NoOp()))
    assert server.events(ProgramStarted, 1)[0].at == finished.at == at


@asynchronous
async def test_a_no_op_takes_its_time(root):
    async with serving(root) as server:
        began = time.monotonic()
        await server.start(a_run(1, NoOp(duration_s=0.2)))
        assert server.events(ProgramFinished, 1) == []
        finished = await server.finished(1)
    assert time.monotonic() - began >= 0.2
    assert (finished.outcome, finished.elapsed_s) == ("success", 0.2)


@asynchronous
async def test_a_no_op_can_be_stopped_and_takes_no_signals(root):
    async with serving(root) as server:
        run = a_run(1, NoOp(duration_s=600), started_at=ago(2))
        await server.start(run)
        server.programs.signal(1, "USR1")
        assert (await server.told_of(SignalFailed, 1)).message == "a no-op takes no signals"
        server.programs.stop(run)
        server.programs.stop(run)
        finished = await server.finished(1)
        assert (finished.outcome, finished.message) == ("failure", "stopped")
        assert 2 <= finished.elapsed_s < 60
        assert server.programs.outputs(1) == []
        with pytest.raises(KeyError):
            server.programs.read_output(1)
        server.programs.forget(1)


@asynchronous
async def test_a_no_op_found_again_ends_when_it_would_have(root):
    async with serving(root) as server:
        for run in (
            a_run(1, NoOp(duration_s=60), State.RUNNING, started_at=ago(100)),
            a_run(2, NoOp(duration_s=60, success=False), State.RUNNING, started_at=ago(59.8)),
            a_run(3, NoOp(duration_s=600), State.STOPPING, started_at=ago(5)),
            a_run(4, NoOp()),
        ):
            server.programs.resume(run)
        ends = [await server.finished(run_id) for run_id in (1, 2, 3, 4)]
    assert [end.outcome for end in ends] == ["success", "failure", "failure", "success"]
    assert [end.message for end in ends] == [None, "failed", "stopped", None]
    assert [bool(server.events(ProgramStarted, run_id)) for run_id in (1, 2, 3, 4)] == [False] * 3 + [True]


@asynchronous
async def test_no_ops_are_cheap(root):
    """Ten thousand at once, in order, none lost."""
    async with serving(root) as server:
        for run_id in range(1, 10_001):
            server.programs.start(a_run(run_id, NoOp()))
        await until(lambda: len(server.told) == 20_000)
    assert [event.run_id for event in server.told] == sorted(2 * list(range(1, 10_001)))


@asynchronous
async def test_a_server_that_closes_leaves_no_ops_to_the_next(root):
    async with serving(root) as server:
        await server.start(a_run(1, NoOp(duration_s=0.05)))
    assert server.events(ProgramFinished, 1) == []
    async with serving(root) as server:
        server.programs.resume(a_run(1, NoOp(duration_s=0.05), State.RUNNING, started_at=ago(1)))
        assert (await server.finished(1)).outcome == "success"
