"""Turns are few, and fair; and in a turn of the loop one request begins."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from apsis_nb.server.turns import YIELD_S, OneByOne, Turns


def run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def in_time() -> None:
        async with asyncio.timeout(5):
            await work()

    asyncio.run(in_time())


async def settle() -> None:
    """Let every task run until it waits."""
    for _ in range(10):
        await asyncio.sleep(0)


class Work:
    """Pieces of work that go on until they are let go, each noted when it gets its turn."""

    def __init__(self, count: int, longest_s: float | None = None) -> None:
        self.turns = Turns(count, longest_s=longest_s)
        self.begun: list[str] = []
        self.gates: dict[str, asyncio.Event] = {}
        self.has_begun: dict[str, asyncio.Event] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    def ask(self, *names: str) -> None:
        """Each name is a user and a digit."""
        for name in names:
            self.gates[name], self.has_begun[name] = asyncio.Event(), asyncio.Event()
            self.tasks[name] = asyncio.create_task(self._do(name))

    async def _do(self, name: str) -> None:
        async with self.turns.turn(name[:-1]):
            self.begun.append(name)
            self.has_begun[name].set()
            await self.gates[name].wait()

    async def end(self, name: str) -> None:
        self.gates[name].set()
        await settle()


def test_a_turn_that_lasts_too_long_keeps_nobody_waiting_and_is_given_back_once() -> None:
    async def work() -> None:
        w = Work(1, longest_s=0.5)
        w.ask("ann1", "bob1")
        await settle()
        assert w.begun == ["ann1"]
        await w.has_begun["bob1"].wait()
        await w.end("ann1")  # its turn was given back before: bob1 has the only one
        w.ask("ann2")
        await settle()
        assert w.begun == ["ann1", "bob1"]
        await w.end("bob1")
        assert w.begun == ["ann1", "bob1", "ann2"]
        await w.end("ann2")

    run(work)


def test_no_more_than_the_number_have_a_turn() -> None:
    async def work() -> None:
        w = Work(2)
        w.ask("ann1", "ann2", "ann3")
        await settle()
        assert w.begun == ["ann1", "ann2"]
        await w.end("ann1")
        assert w.begun == ["ann1", "ann2", "ann3"]
        await w.end("ann2")
        await w.end("ann3")

    run(work)


def test_one_who_asks_for_many_does_not_keep_others_waiting() -> None:
    async def work() -> None:
        w = Work(1)
        w.ask("ann1", "ann2", "ann3", "ann4", "bob1", "bob2", "eve1")
        for _ in range(7):
            await settle()
            await w.end(w.begun[-1])
        assert w.begun == ["ann1", "ann2", "bob1", "eve1", "ann3", "bob2", "ann4"]

    run(work)


def test_who_gives_up_waiting_is_passed_over() -> None:
    async def work() -> None:
        w = Work(1)
        w.ask("ann1", "bob1", "eve1")
        await settle()
        w.tasks["bob1"].cancel()
        await settle()
        await w.end("ann1")
        assert w.begun == ["ann1", "eve1"]
        await w.end("eve1")
        w.ask("ann2")
        await settle()
        assert w.begun[-1] == "ann2"
        await w.end("ann2")

    run(work)


def test_a_turn_given_to_one_who_gives_up_at_that_moment_is_not_lost() -> None:
    async def work() -> None:
        w = Work(1)
        w.ask("ann1", "bob1", "eve1")
        await settle()
        w.gates["ann1"].set()
        w.tasks["ann1"].add_done_callback(lambda _: w.tasks["bob1"].cancel())
        await settle()
        assert w.begun[-1] in {"bob1", "eve1"}
        assert len([t for t in w.tasks.values() if not t.done()]) <= 2
        for name in ("bob1", "eve1"):
            await w.end(name)
        w.ask("ann2")
        await settle()
        assert w.begun[-1] == "ann2"
        await w.end("ann2")

    run(work)


def test_a_turn_ends_with_an_error_too() -> None:
    async def work() -> None:
        turns = Turns(1)
        for _ in range(3):
            try:
                async with turns.turn("ann"):
                    raise ZeroDivisionError
            except ZeroDivisionError:
                pass

    run(work)


def test_of_those_who_come_together_one_begins_in_each_turn_of_the_loop() -> None:
    async def work() -> None:
        requests, begun, turn = OneByOne(), [], 0

        async def request(name: int) -> None:
            await requests.begin()
            begun.append((turn, name))

        for _ in range(2):  # after the last one all is as at first
            begun.clear()
            tasks = [asyncio.create_task(request(n)) for n in range(6)]
            await asyncio.sleep(0)
            tasks[3].cancel()
            while not all(task.done() for task in tasks):
                turn += 1
                await asyncio.sleep(0)
            assert [name for _, name in begun] == [0, 1, 2, 4, 5]
            assert len({turn for turn, _ in begun}) == len(begun)
            await settle()

    run(work)


def test_who_comes_while_there_is_other_work_waits_for_it_but_not_for_ever() -> None:
    async def work() -> None:
        busy = True
        requests = OneByOne(lambda: busy)
        loop = asyncio.get_running_loop()

        began = loop.time()
        await requests.begin()
        assert loop.time() - began >= YIELD_S * 0.9  # the work never ends

        second = asyncio.create_task(requests.begin())
        await asyncio.sleep(0)
        assert not second.done()
        busy = False
        await second

    run(work)


def test_of_many_who_wait_each_gives_way_for_longer() -> None:
    async def work() -> None:
        requests, loop = OneByOne(lambda: True), asyncio.get_running_loop()

        began = loop.time()
        await asyncio.gather(*(requests.begin() for _ in range(5)))
        # The first comes alone; behind it wait 4, 3, 2 and 1.
        assert loop.time() - began >= YIELD_S * (1 + 3 + 3 + 2 + 1) * 0.9

    run(work)
