"""Looks at what waiting runs wait for outside of the scheduler: files, history, what users' classes say."""

import asyncio
import glob
import os
import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from heapq import heappop, heappush
from math import inf
from pathlib import Path
from typing import Any, assert_never

from apsis_nb.core.conditions import CustomCondition, FileExists, Polled, SqlIsTrue
from apsis_nb.core.errors import ApsisError
from apsis_nb.core.events import ConditionPolled
from apsis_nb.core.runs import Run, RunId
from apsis_nb.core.states import State
from apsis_nb.store import Store

from .checkers import Checker
from .threads import in_thread

#: What is new about a condition is told no more often, however often it is asked.
NEWS_EVERY_S = 5.0
#: A class that has not answered for so long is told of.
SLOW_S = 10.0
#: So many checks of one class at once: those that hang take a thread each.
AT_ONCE = 32


class Polls:
    """The looks that waiting runs asked for.

    Args:
        store: answers queries.
        live: the live runs.
        tell: gets the answers.
        root: the folder of jobs, in which the modules of classes may lie.
    """

    def __init__(
        self,
        store: Store,
        live: Mapping[RunId, Run],
        tell: Callable[[ConditionPolled], object],
        root: Path,
    ) -> None:
        self._store, self._live, self._tell, self._root = store, live, tell, root
        self._due: list[tuple[float, int, Run, FileExists | SqlIsTrue]] = []  # heap
        self._under_way: dict[RunId, Polled] = {}
        self._told: dict[RunId, tuple[str | None, float]] = {}  # what was told last, and when
        self._n = 0
        self._news = asyncio.Event()
        self._room: dict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(AT_ONCE))
        self._asking: set[asyncio.Task[None]] = set()

    def add(self, run: Run, condition: Polled) -> None:
        """Look now, and every so often until it holds or the run waits no more."""
        if self._under_way.get(run.run_id) == condition:
            return
        self._under_way[run.run_id] = condition
        if isinstance(condition, CustomCondition):
            task = asyncio.create_task(self._ask(run, condition))
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)
        else:
            self._put(0.0, run, condition)
            self._news.set()

    def _put(self, at: float, run: Run, condition: FileExists | SqlIsTrue) -> None:
        self._n += 1
        heappush(self._due, (at, self._n, run, condition))

    async def loop(self) -> None:
        """Look at files and history, for as long as the server runs."""
        loop = asyncio.get_running_loop()
        while True:
            self._news.clear()
            wait_s = self._due[0][0] - loop.time() if self._due else None
            if wait_s is None or wait_s > 0:
                try:
                    async with asyncio.timeout(wait_s):
                        await self._news.wait()
                except TimeoutError:
                    pass
                continue
            _, _, run, condition = heappop(self._due)
            if not self._waits(run, condition):
                self._leave(run, condition)
                continue
            try:
                holds, message = await in_thread(self._look, run, condition), None
            except (ApsisError, OSError) as error:
                holds, message = False, f"{condition}: {error}"
            if holds:
                self._leave(run, condition)
                self._tell(ConditionPolled(run_id=run.run_id, condition=condition, holds=True))
            else:
                self._say(run, condition, message, condition.poll_s)
                self._put(loop.time() + condition.poll_s, run, condition)

    async def close(self) -> None:
        """Ask no class any more. A check that has not returned is left to itself."""
        for task in self._asking:
            task.cancel()
        await asyncio.gather(*self._asking, return_exceptions=True)

    async def _ask(self, run: Run, condition: CustomCondition) -> None:
        """Ask a class of the user's own, until it holds or the run waits no more."""
        checker = Checker(run, condition, self._root)
        loop = asyncio.get_running_loop()
        slow = f"waiting for {condition}: no answer for more than {SLOW_S:g}s"
        while self._waits(run, condition):
            timer = loop.call_later(SLOW_S, self._say, run, condition, slow)
            try:
                async with self._room[condition.type]:
                    if not self._waits(run, condition):  # there may have been no room for long
                        break
                    answer = await in_thread(checker.ask)
            finally:
                timer.cancel()
            if answer.holds or answer.end is not None:
                self._leave(run, condition)
                self._tell(
                    ConditionPolled(
                        run_id=run.run_id, condition=condition, holds=answer.holds, end=answer.end
                    )
                )
                return
            text = f"waiting for {condition}: {answer.text}" if answer.text else None
            self._say(run, condition, text, answer.again_s)
            await asyncio.sleep(answer.again_s)
        self._leave(run, condition)

    def _say(self, run: Run, condition: Polled, message: str | None, again_s: float = inf) -> None:
        """Tell what is new about a condition that does not hold.

        Args:
            run: that waits.
            condition: of the run.
            message: why it does not hold; None: nobody says.
            again_s: when it is asked again, and there is another chance to tell.
        """
        now = asyncio.get_running_loop().time()
        told, at = self._told.get(run.run_id, (None, -inf))
        is_soon = now < at + NEWS_EVERY_S and again_s < NEWS_EVERY_S
        if message == told or is_soon or not self._waits(run, condition):
            return
        self._told[run.run_id] = message, now
        self._tell(ConditionPolled(run_id=run.run_id, condition=condition, holds=False, message=message))

    def _leave(self, run: Run, condition: Polled) -> None:
        """Look at it no more."""
        if self._under_way.get(run.run_id) == condition:
            del self._under_way[run.run_id]
            self._told.pop(run.run_id, None)

    def _waits(self, run: Run, condition: Polled) -> bool:
        now = self._live.get(run.run_id)
        return now is not None and now.state is State.WAITING and condition in now.conditions

    def _look(self, run: Run, condition: FileExists | SqlIsTrue) -> bool:
        match condition:
            case FileExists():
                pattern = os.path.join(run.cwd or os.path.expanduser("~"), os.path.expanduser(condition.path))
                return any(
                    os.path.isfile(path) and os.path.getsize(path) >= condition.min_bytes
                    for path in (
                        glob.iglob(pattern, recursive=True) if glob.has_magic(pattern) else [pattern]
                    )
                )
            case SqlIsTrue():
                named = set(re.findall(r"\$(\w+)", condition.query))
                params: dict[str, Any] = {name: v for name, v in condition.args.items() if name in named}
                rows = self._store.sql(condition.query, params or None, max_rows=1).to_pylist()
                return bool(rows and next(iter(rows[0].values())))
            case _:
                assert_never(condition)
