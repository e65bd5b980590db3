"""The runs that wait: what holds each, and which of them an event may let go."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from heapq import heappop, heappush
from typing import Any

from .conditions import Ask, Condition, Dependency, End, MaxRunning, Poll, Polled, Wait, Yes
from .runs import Instance, Run, RunId
from .runset import Group, Matching, Pool, RunSet
from .states import BUSY, State

#: The pool of all runs of the server.
SERVER = Group("")

#: What is asked of the store for a run: whether an instance ever ended in one of these states.
Question = tuple[Instance, frozenset[State]]


class Waiting:
    """Which runs wait, for what, and since when.

    Args:
        runs: the live runs.
        limit: at most so many runs of the server take up a place; None: any number.
        max_wait_s: how long a run may wait that does not say so itself; None: for ever.
    """

    def __init__(self, runs: RunSet, limit: int | None, max_wait_s: float | None) -> None:
        self._runs, self._limit, self._max_wait_s = runs, limit, max_wait_s
        self._dependents: dict[Instance, dict[RunId, None]] = {}
        self._hoping: dict[Instance, dict[RunId, None]] = {}  # those for which it must exist
        self._held_by: dict[Pool, dict[RunId, int]] = {}  # with the count; first come, first served
        self._matching: dict[str, dict[Matching, None]] = {}  # the pools of a job among these
        self._freed: dict[Pool, None] = {}
        self._woken: dict[RunId, None] = {}
        self._answers: dict[RunId, dict[Question, bool | None]] = {}  # None: it is asked
        self._held: dict[RunId, tuple[Condition | None, Wait | Ask | Poll]] = {}
        self._said: dict[RunId, tuple[Polled, str]] = {}  # why it does not hold, in the shell's words
        self._ends: list[tuple[datetime, RunId]] = []  # heap: when patience ends
        self._places: dict[RunId, list[tuple[dict[Any, dict[RunId, Any]], Any]]] = {}  # where each stands

    # -- who waits

    def add(self, run: Run) -> None:
        """A run waits from now on; look at it soon."""
        for condition in run.conditions:
            if isinstance(condition, Dependency) and condition.inst is not None:
                self._stand(run.run_id, self._dependents, condition.inst)
                if condition.exist:
                    self._stand(run.run_id, self._hoping, condition.inst)
        patience_s = self._max_wait_s if run.max_wait_s is None else run.max_wait_s
        if patience_s is not None:
            heappush(self._ends, (run.state_at + timedelta(seconds=patience_s), run.run_id))
        self._woken[run.run_id] = None

    def remove(self, run: Run) -> None:
        """It waits no more."""
        for where, key in self._places.pop(run.run_id, ()):
            standing = where.get(key, {})
            standing.pop(run.run_id, None)
            if not standing:
                where.pop(key, None)
                if isinstance(key, Matching) and not self._matching[key.job_id].pop(key, None):
                    del self._matching[key.job_id]
        self._answers.pop(run.run_id, None)
        self._held.pop(run.run_id, None)
        self._said.pop(run.run_id, None)
        self._woken.pop(run.run_id, None)

    def wake(self, run_id: RunId) -> None:
        """Look at a run again."""
        self._woken[run_id] = None

    def why(self, run_id: RunId) -> Wait | Ask | Poll | None:
        """What holds a run, as far as anybody looked."""
        by, held = self._held.get(run_id, (None, None))
        condition, text = self._said.get(run_id, (None, ""))
        return held if held is None or by is None or condition != by else replace(held, text=text)

    def say(self, run_id: RunId, condition: Polled, text: str | None) -> None:
        """Remember why a condition that the shell looks at does not hold; None: nobody says."""
        if text is None:
            self._said.pop(run_id, None)
        else:
            self._said[run_id] = condition, text

    def holders(self, run_id: RunId) -> list[Run]:
        """The runs that take up the places for which a run waits, the oldest first."""
        by, held = self._held.get(run_id, (None, None))
        if held is None or held.why != "limit":
            return []
        pool = SERVER if by is None else by.pool if isinstance(by, MaxRunning) else None
        busy = [run for run in self._runs.values() if run.state in BUSY and _is_in(run, pool)]
        return sorted(busy, key=lambda run: run.run_id)

    def polled(self, run_id: RunId) -> Polled | None:
        """The condition of a run that the shell looks at now and then."""
        held = self._held.get(run_id)
        return held[0] if held and isinstance(held[0], Polled) else None

    # -- what may let them go

    def moved(self, run: Run) -> None:
        """A run came to another state: who depends on it, or on a place that it took, is looked at again."""
        self._woken.update(self._hoping.get(run.inst, {}))
        if not run.is_finished:
            return
        self._woken.update(self._dependents.get(run.inst, {}))
        if not self._held_by:
            return
        pools: list[Pool] = [SERVER, run.inst, *map(Group, run.groups)]
        pools += [pool for pool in self._matching.get(run.job_id, ()) if pool.covers(run.inst)]
        self._freed.update((pool, None) for pool in pools if pool in self._held_by)

    @property
    def is_calm(self) -> bool:
        """Whether nobody is to be looked at."""
        return not self._woken and not self._freed

    def to_look_at(self) -> Iterator[RunId]:
        """The runs to look at again, in their order; a place that is taken meanwhile wakes no more."""
        while self._woken or self._freed:
            if self._woken:
                run_id = next(iter(self._woken))
                del self._woken[run_id]
                yield run_id
                continue
            pool, _ = self._freed.popitem()
            held = self._held_by.get(pool, {})
            most = max(held.values(), default=0)
            for run_id, count in list(held.items()):
                busy = self.busy(pool)
                if busy >= most:
                    break
                if busy < count:
                    yield run_id

    def busy(self, pool: Pool) -> int:
        """How many runs of a pool take up a place."""
        return self._runs.busy_count if pool == SERVER else self._runs.busy(pool)

    @property
    def is_full(self) -> bool:
        """Whether the server runs as many runs as it may."""
        return self._limit is not None and self._runs.busy_count >= self._limit

    # -- decisions

    def decide(
        self, run: Run
    ) -> tuple[tuple[Condition, ...], Condition | None, Wait | Ask | Poll | End | None]:
        """What the conditions of a run say, in their order.

        Returns:
            Those that may still hold it; the one that does, if one does; and what that one says (the limit
            of the server says it without one).
        """
        left: list[Condition] = []
        by: Condition | None = None
        held: Wait | Ask | Poll | End | None = None
        for condition in run.conditions:
            # A dependency that is met counts for good, whatever stands before it: it may be told only now.
            if held is None or isinstance(condition, Dependency):
                decision = condition.decide(run, self._runs)
                if isinstance(decision, Yes):
                    if condition.is_monotonic:
                        continue
                elif held is None:
                    by, held = condition, decision
            left.append(condition)
        if held is None and self.is_full:
            held = Wait(f"{self._runs.busy_count} of {self._limit} of the server's runs running", "limit")
        return tuple(left), by, held

    def hold(self, run: Run, by: Condition | None, held: Wait | Ask | Poll) -> bool:
        """Remember what holds a run; whether that is news."""
        if by is None:
            self._stand(run.run_id, self._held_by, SERVER, self._limit)
        elif isinstance(by, MaxRunning) and by.pool is not None:
            self._stand(run.run_id, self._held_by, by.pool, int(by.count))
            if isinstance(by.pool, Matching):
                self._matching.setdefault(by.pool.job_id, {})[by.pool] = None
        before = self._held.get(run.run_id)
        self._held[run.run_id] = by, held
        return before is None or before[1].text != held.text

    def questions(self, run: Run) -> list[Dependency]:
        """The dependencies of a run of which the store was not asked yet; now they count as asked."""
        answers = self._answers.setdefault(run.run_id, {})
        new = []
        for condition in run.conditions:
            if isinstance(condition, Dependency) and condition.inst is not None:
                question = condition.inst, condition.states
                if question not in answers:
                    answers[question] = None
                    new.append(condition)
        return new

    def answer(self, run_id: RunId, question: Question, *, exists: bool) -> None:
        """No run ended in one of the states; whether one did in those that leave hope."""
        self._answers.get(run_id, {})[question] = exists

    def is_hopeless(self, run_id: RunId, ask: Ask) -> bool:
        """Whether what a run waits for must exist, and does not among those that ended or live."""
        answer = self._answers.get(run_id, {}).get((ask.inst, ask.states))
        return bool(ask.exist) and answer is False and not self._runs.is_any(ask.inst, ask.exist)

    # -- patience

    @property
    def next_end(self) -> datetime | None:
        """When the patience of a run ends next; None: never."""
        while self._ends and not self._waits(self._ends[0][1]):
            heappop(self._ends)
        return self._ends[0][0] if self._ends else None

    def _waits(self, run_id: RunId) -> bool:
        run = self._runs.get(run_id)
        return run is not None and run.state is State.WAITING

    def impatient(self, now: datetime) -> Iterator[RunId]:
        """Runs that have waited too long."""
        while self._ends and self._ends[0][0] <= now:
            run_id = heappop(self._ends)[1]
            if self._waits(run_id):
                yield run_id

    def _stand(self, run_id: RunId, where: dict[Any, dict[RunId, Any]], key: Any, count: Any = None) -> None:
        """Put a run in a line, behind those that stand there; once."""
        line = where.setdefault(key, {})
        if run_id not in line:
            line[run_id] = count
            self._places.setdefault(run_id, []).append((where, key))


def _is_in(run: Run, pool: Pool | None) -> bool:
    match pool:
        case Group():
            return pool == SERVER or pool.name in run.groups
        case Matching():
            return pool.covers(run.inst)
        case _:
            return run.inst == pool
