"""Internal programs: work that the server does itself."""

import asyncio

from apsis_nb.core.events import ProgramStarted, SignalFailed
from apsis_nb.core.programs import Internal
from apsis_nb.core.states import State
from apsis_nb.programs import Answer

from .serving import a_run, asynchronous, serving

STATS = Internal(type="stats")


async def well(_: Internal) -> Answer:
    return Answer(outputs={"output": "all is well\n", "result.json": "[]\n"})


async def badly(_: Internal) -> Answer:
    return Answer(outputs={"output": "\ud800 no\n"}, failure="it is not well")


async def wrong(_: Internal) -> Answer:
    raise RuntimeError("a fault of ours")


async def for_ever(_: Internal) -> Answer:
    await asyncio.Event().wait()
    raise AssertionError


@asynchronous
async def test_its_answer_is_its_output_and_says_whether_it_is_a_success(root):
    workers = {"stats": well, "doctor": badly, "retention": wrong}
    async with serving(root, workers=workers) as server:
        good = await server.run(a_run(1, STATS))
        bad = await server.run(a_run(2, Internal(type="doctor")))
        failed = await server.run(a_run(3, Internal(type="retention")))

        assert (good.outcome, good.message) == ("success", None)
        assert good.elapsed_s < 30
        assert [name for name, _ in server.programs.outputs(1)] == ["output", "result.json"]
        assert server.output(1) == "all is well\n"
        assert (bad.outcome, bad.message, server.output(2)) == ("failure", "it is not well", "? no\n")
        assert (failed.outcome, failed.message) == ("error", "RuntimeError: a fault of ours")
        for run_id in (1, 2, 3):
            assert len(server.events(ProgramStarted, run_id)) == 1
            server.programs.forget(run_id)
    assert not list(root.glob("r*"))


@asynchronous
async def test_it_can_be_stopped_and_takes_no_signals(root):
    async with serving(root, workers={"stats": for_ever}) as server:
        await server.start(a_run(1, STATS))
        assert server.programs.knows(1)
        server.programs.signal(1, "SIGUSR1")
        assert "takes no signals" in (await server.told_of(SignalFailed, 1)).message
        server.programs.stop(a_run(1, STATS, State.STOPPING))
        assert (await server.finished(1)).message == "stopped"


@asynchronous
async def test_a_server_begins_what_none_began_and_no_other(root):
    async with serving(root, workers={"stats": for_ever}) as server:
        for run_id in (1, 2, 3):
            await server.start(a_run(run_id, STATS))
    async with serving(root, workers={"stats": well}) as server:
        server.programs.resume(a_run(1, STATS))  # a crash came before its start was saved
        server.programs.resume(a_run(2, STATS, State.RUNNING))
        server.programs.resume(a_run(3, STATS, State.STOPPING))
        server.programs.resume(a_run(4, STATS))
        ends = [await server.finished(run_id) for run_id in (1, 2, 3, 4)]
        assert [end.outcome for end in ends] == ["error"] * 3 + ["success"]
        assert {end.message for end in ends[:3]} == {"the server ended while it ran"}
