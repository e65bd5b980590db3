"""A loop that fails is started again, and says so; it harms no other."""

import asyncio

import pytest

from apsis_nb.engine import tasks as tasks_module
from apsis_nb.engine.tasks import Tasks


def test_a_failed_loop_starts_again_and_is_reported(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tasks_module, "FIRST_DELAY_S", 0.001)

    async def check() -> None:
        tasks, again, other = Tasks(), asyncio.Event(), asyncio.Event()
        calls = []

        async def fails_once() -> None:
            calls.append(1)
            if len(calls) == 1:
                raise ValueError("first time")
            again.set()
            await asyncio.Event().wait()

        async def steady() -> None:
            await again.wait()
            other.set()
            await asyncio.Event().wait()

        tasks.run("shaky", fails_once)
        tasks.run("steady", steady)
        await asyncio.wait_for(other.wait(), 10)
        facts = {f["name"]: f for f in tasks.facts()}
        assert facts["shaky"]["failures"] == 1
        assert facts["shaky"]["last_error"] == "ValueError: first time"
        assert facts["shaky"]["running"]
        assert facts["steady"]["running"]
        assert facts["steady"]["failures"] == 0
        await tasks.cancel()
        assert not any(f["running"] for f in tasks.facts())

    asyncio.run(check())
