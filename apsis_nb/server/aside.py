"""Threads for long questions, which give way to the scheduler where there are not enough cores for both."""

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

Answer = TypeVar("Answer")

#: How much nicer than the server's other threads: who wants a core at the same time gets nine tenths of it.
NICE = 10


class Aside:
    """Calls what takes long in threads of a low priority, where the system has one for each thread.

    Args:
        count: of the threads; who finds all of them busy waits.
    """

    def __init__(self, count: int) -> None:
        self._threads = ThreadPoolExecutor(count, "apsis-nb-question", initializer=_give_way)

    async def ask(self, call: Callable[..., Answer], *args: Any, **more: Any) -> Answer:
        """Call it, and wait for what it gives."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, partial(call, *args, **more))


def _give_way() -> None:
    if sys.platform == "linux":  # elsewhere a priority is that of the whole process
        now = os.getpriority(os.PRIO_PROCESS, 0)
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), min(19, now + NICE))
