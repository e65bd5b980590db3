"""Turns for work of which only little may go on at once, shared fairly between those who ask."""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

#: For so long a request gives way while something is saved, for each that waits, of so many at most: one who
#: asks is answered soon, and many who ask all the time are slowed down. It looks again after so long.
YIELD_S, MOST_WAITING, LOOK_S = 0.016, 3, 0.001


class Turns:
    """At most `count` turns at once. Who waits gets the next free one: each user in turn, and of one user the
    first.

    So one who asks for a hundred delays another by one.

    Args:
        count: how many at once.
        is_busy: whether there is work beside these that comes first; while it is so, one fewer is given.
        longest_s: a turn that lasts longer no longer counts, so that long ones never keep short ones waiting;
            None: each counts to its end.
    """

    def __init__(
        self, count: int, is_busy: Callable[[], bool] = lambda: False, longest_s: float | None = None
    ) -> None:
        self._count, self._is_busy, self._longest_s = count, is_busy, longest_s
        self._held = 0
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}  # in the order of whose turn is next

    @asynccontextmanager
    async def turn(self, user: str) -> AsyncIterator[None]:
        """Wait for a turn, and hold it."""
        if self._held < self._most():
            self._held += 1
        else:
            called: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.setdefault(user, deque()).append(called)
            try:
                await called
            except asyncio.CancelledError:
                if called.done() and not called.cancelled():
                    self._pass_on()  # was called at the moment when it gave up
                raise
        with contextlib.ExitStack() as held:
            held.callback(self._pass_on)
            if self._longest_s is not None:
                loop = asyncio.get_running_loop()
                held.callback(loop.call_later(self._longest_s, held.close).cancel)
            yield

    def _most(self) -> int:
        return max(1, self._count - 1) if self._is_busy() else self._count

    def _pass_on(self) -> None:
        self._held -= 1
        while self._waiting and self._held < self._most():
            user = next(iter(self._waiting))
            line = self._waiting.pop(user)
            called = line.popleft()
            if line:
                self._waiting[user] = line  # at the end: the others come first
            if not called.done():
                called.set_result(None)
                self._held += 1


class OneByOne:
    """Lets one at a time begin, each in a turn of the loop of its own, and none while there is other work.

    What is due needs some turns of the loop and a commit until it has started. A turn in which a hundred
    requests are answered takes a tenth of a second, and so does a commit whose thread waits for theirs. With
    these, however many ask, both stay short.

    Args:
        is_busy: whether there is work that comes first. It delays the first of those who wait by `YIELD_S` at
            most, and if more wait by up to three times that.
    """

    def __init__(self, is_busy: Callable[[], bool] = lambda: False) -> None:
        self._is_busy = is_busy
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._is_open = True  # to whoever comes: nobody waits, and none has begun in this turn of the loop
        self._until = 0.0  # when the first of those who wait has waited long enough for other work

    async def begin(self) -> None:
        """Wait until it is one's turn."""
        loop = asyncio.get_running_loop()
        if self._is_open and not self._is_busy():
            self._is_open = False
            loop.call_soon(self._next)
            return
        called: asyncio.Future[None] = loop.create_future()
        self._waiting.append(called)
        if self._is_open:
            self._is_open = False
            self._give_way()
            loop.call_later(LOOK_S, self._next)
        await called

    def _next(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting and self._waiting[0].done():  # it gave up
            self._waiting.popleft()
        if not self._waiting:
            self._is_open = True
        elif self._is_busy() and loop.time() < self._until:
            loop.call_later(LOOK_S, self._next)
        else:
            self._waiting.popleft().set_result(None)
            self._give_way()
            loop.call_soon(self._next)

    def _give_way(self) -> None:
        self._until = asyncio.get_running_loop().time() + YIELD_S * min(len(self._waiting), MOST_WAITING)
