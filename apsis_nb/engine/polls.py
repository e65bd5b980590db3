"""Looks at what waiting runs wait for outside of the scheduler: files, and what a query of history says."""

import asyncio
import glob
import os
import re
from collections.abc import Callable, Mapping
from heapq import heappop, heappush
from typing import Any, assert_never

from apsis_nb.core.conditions import FileExists, Polled, SqlIsTrue
from apsis_nb.core.errors import ApsisError
from apsis_nb.core.events import ConditionPolled
from apsis_nb.core.runs import Run, RunId
from apsis_nb.core.states import State
from apsis_nb.store import Store


class Polls:
    """The looks that waiting runs asked for.

    Args:
        store: answers queries.
        live: the live runs.
        tell: gets the answers.
    """

    def __init__(
        self, store: Store, live: Mapping[RunId, Run], tell: Callable[[ConditionPolled], object]
    ) -> None:
        self._store, self._live, self._tell = store, live, tell
        self._due: list[tuple[float, int, Run, Polled]] = []  # heap
        self._told: dict[RunId, str | None] = {}  # what went wrong last
        self._n = 0
        self._news = asyncio.Event()

    def add(self, run: Run, condition: Polled) -> None:
        """Look now, and every so often until it holds or the run waits no more."""
        self._put(0.0, run, condition)
        self._news.set()

    def _put(self, at: float, run: Run, condition: Polled) -> None:
        self._n += 1
        heappush(self._due, (at, self._n, run, condition))

    async def loop(self) -> None:
        """Look, for as long as the server runs."""
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
                self._told.pop(run.run_id, None)
                continue
            try:
                holds, message = await asyncio.to_thread(self._look, run, condition), None
            except (ApsisError, OSError) as error:
                holds, message = False, f"{condition}: {error}"
            news = message is not None and message != self._told.get(run.run_id)
            self._told[run.run_id] = message
            if holds or news:
                self._tell(
                    ConditionPolled(
                        run_id=run.run_id, condition=condition, holds=holds, message=message if news else None
                    )
                )
            if not holds:
                self._put(loop.time() + condition.poll_s, run, condition)

    def _waits(self, run: Run, condition: Polled) -> bool:
        now = self._live.get(run.run_id)
        return now is not None and now.state is State.WAITING and condition in now.conditions

    def _look(self, run: Run, condition: Polled) -> bool:
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
