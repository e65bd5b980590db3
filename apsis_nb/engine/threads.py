"""Threads for what blocks and may hang: each call has its own, which nobody waits for in the end."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

LOOK_S = 0.001  #: work that rests looks again after so long whether it may go on


def in_thread(call: Callable[..., T], *args: Any) -> "asyncio.Future[T]":
    """Call in a thread of its own: one that hangs delays nobody, and does not keep the server from ending."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if future.done():
            return  # nobody waits any more
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def work() -> None:
        result, error = None, None
        try:
            result = call(*args)
        except BaseException as raised:  # whoever waits must hear of it
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=work, name="apsis-nb-outside", daemon=True).start()
    return future


class Aside:
    """Long work of a thread, in Python, that lets what is due go first.

    A thread that computes makes that of the loop wait whenever it has waited itself, for a file, say, and on
    the way to its start a run does so some dozens of times. So such work rests now and then, while there is
    something that comes first, but in all no longer than it has worked: it never takes more than twice its
    time.

    Args:
        is_busy: whether there is something that comes first.
    """

    def __init__(self, is_busy: Callable[[], bool]) -> None:
        self._is_busy = is_busy
        self._since = time.monotonic()  # it works
        self._owed_s = 0.0

    def rest(self) -> None:
        """Called between two pieces of the work, each of a few milliseconds at most."""
        began = time.monotonic()
        worked_s = began - self._since
        if worked_s < LOOK_S:
            return
        self._owed_s += worked_s
        while self._is_busy() and time.monotonic() - began < self._owed_s:
            time.sleep(LOOK_S)
        self._since = time.monotonic()
        self._owed_s -= self._since - began
