"""The one pattern for every loop of the server: logged, restarted with back-off, and reported on."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from apsis_nb.core.times import format_time

from .clock import utc_now

log = logging.getLogger("apsis_nb.tasks")

#: Seconds before a failed loop is started again: doubled each time up to the largest, and back to the first
#: when the loop has held for the largest.
FIRST_DELAY_S, LARGEST_DELAY_S = 0.1, 30.0


@dataclass(slots=True)
class Watched:
    """What is known of a loop."""

    name: str
    task: asyncio.Task[None] | None = None
    failures: int = 0
    last_error: str | None = None
    last_error_at: datetime | None = None

    def facts(self) -> dict[str, Any]:
        """For people and `/alive`."""
        at = self.last_error_at
        return {
            "name": self.name,
            "running": self.task is not None and not self.task.done(),
            "failures": self.failures,
            "last_error": self.last_error,
            "last_error_at": format_time(at) if at else None,
        }


class Tasks:
    """The loops of a server. One that fails is logged and started again; none takes another with it."""

    def __init__(self) -> None:
        self._watched: dict[str, Watched] = {}

    def run(self, name: str, loop: Callable[[], Awaitable[None]]) -> None:
        """Run `loop` until `cancel`; it ends by itself only if it returns.

        Args:
            name: unique, for logs and reports.
            loop: makes the loop's coroutine; called again after a failure.
        """
        watched = self._watched[name] = Watched(name)
        watched.task = asyncio.create_task(self._watch(watched, loop), name=name)

    async def _watch(self, watched: Watched, loop: Callable[[], Awaitable[None]]) -> None:
        delay_s = FIRST_DELAY_S
        clock = asyncio.get_running_loop().time
        while True:
            began = clock()
            try:
                await loop()
                return
            except Exception as error:
                log.exception("loop %s failed; it starts again in %.1f s", watched.name, delay_s)
                watched.failures += 1
                watched.last_error, watched.last_error_at = f"{type(error).__name__}: {error}", utc_now()
            await asyncio.sleep(delay_s)
            delay_s = (
                FIRST_DELAY_S if clock() - began > LARGEST_DELAY_S else min(LARGEST_DELAY_S, delay_s * 2)
            )

    def facts(self) -> list[dict[str, Any]]:
        """A mapping for each loop: name, running, failures, last_error, last_error_at."""
        return [w.facts() for w in self._watched.values()]

    async def cancel(self) -> None:
        """End every loop and wait until they have ended."""
        tasks = [w.task for w in self._watched.values() if w.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
