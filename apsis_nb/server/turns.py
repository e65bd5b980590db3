"""Turns for work of which only little may go on at once, shared fairly between those who ask."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Turns:
    """At most `count` turns at once. Who waits gets the next free one: each user in turn, and of one user the
    first.

    So one who asks for a hundred delays another by one.
    """

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}  # in the order of whose turn is next

    @asynccontextmanager
    async def turn(self, user: str) -> AsyncIterator[None]:
        """Wait for a turn, and hold it."""
        if self._free:
            self._free -= 1
        else:
            called: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.setdefault(user, deque()).append(called)
            try:
                await called
            except asyncio.CancelledError:
                if called.done() and not called.cancelled():
                    self._pass_on()  # was called at the moment when it gave up
                raise
        try:
            yield
        finally:
            self._pass_on()

    def _pass_on(self) -> None:
        while self._waiting:
            user = next(iter(self._waiting))
            line = self._waiting.pop(user)
            called = line.popleft()
            if line:
                self._waiting[user] = line  # at the end: the others come first
            if not called.done():
                called.set_result(None)
                return
        self._free += 1
