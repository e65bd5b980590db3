"""Run ids: from blocks that the store has reserved, each given once, never again."""

from collections import deque
from datetime import datetime, timedelta

from .runs import RunId

#: Ids are asked for when fewer than this are left.
LOW_IDS = 16
MAX_IDS = 16384


class Ids:
    """The ids at hand, and when more are wanted."""

    def __init__(self) -> None:
        self._blocks: deque[tuple[RunId, RunId]] = deque()
        self._block = LOW_IDS
        self._asked = False
        self._asked_at: datetime | None = None
        self.left = 0  #: how many runs can be made before more are reserved

    def add(self, first: RunId, stop: RunId) -> None:
        """These are ours: first <= id < stop."""
        self._blocks.append((first, stop))
        self.left += stop - first
        self._asked = False

    @property
    def next(self) -> RunId:
        """The id that is taken next; there must be one."""
        return self._blocks[0][0]

    def take(self) -> RunId:
        """An id for a run; there must be one left."""
        first, stop = self._blocks[0]
        self.left -= 1
        if first + 1 < stop:
            self._blocks[0] = (first + 1, stop)
        else:
            self._blocks.popleft()
        return first

    def wanted(self, needed: int, now: datetime) -> int:
        """How many to reserve; 0 if they are asked for already.

        In larger blocks while they are used up fast, so that a restart wastes few.
        """
        if self._asked:
            return 0
        fast = self._asked_at is not None and now - self._asked_at < timedelta(seconds=2)
        self._block = min(MAX_IDS, self._block * 2) if fast else LOW_IDS * 2
        self._asked, self._asked_at = True, now
        return max(self._block, needed)
