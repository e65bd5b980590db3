"""The runs that wait: what holds each, and which of them an event may let go."""

from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from heapq import heappop, heappush

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
        self._needs: dict[RunId, set[Instance]] = {}  # where a run is among these two
        self._lines: dict[Pool, list[tuple[int, RunId, int]]] = {}  # (ticket, who, count), sorted
        self._stands: dict[
            RunId, tuple[Pool, tuple[int, RunId, int]]
        ] = {}  # in which line, and its entry there
        self._tickets: dict[RunId, dict[Pool, int]] = {}  # also for lines that a run has left for a while
        self._last_ticket = 0
        self._matching: dict[str, dict[Matching, None]] = {}  # the pools of a job that have a line
        self._freed: dict[Pool, None] = {}
        self._woken: dict[RunId, None] = {}
        self._answers: dict[RunId, dict[Question, bool | None]] = {}  # None: it is asked
        self._held: dict[RunId, tuple[Condition | None, Wait | Ask | Poll]] = {}
        self._said: dict[RunId, tuple[Polled, str]] = {}  # why it does not hold, in the shell's words
        self._ends: list[tuple[datetime, RunId]] = []  # heap: when patience ends

    # -- who waits

    def add(self, run: Run) -> None:
        """A run waits from now on: look at it."""
        for condition in run.conditions:
            if isinstance(condition, Dependency) and condition.inst is not None:
                self._needs.setdefault(run.run_id, set()).add(condition.inst)
                self._dependents.setdefault(condition.inst, {})[run.run_id] = None
                if condition.exist:
                    self._hoping.setdefault(condition.inst, {})[run.run_id] = None
        patience_s = self._max_wait_s if run.max_wait_s is None else run.max_wait_s
        if patience_s is not None:
            heappush(self._ends, (run.state_at + timedelta(seconds=patience_s), run.run_id))

    def remove(self, run: Run) -> None:
        """It waits no more."""
        for inst in self._needs.pop(run.run_id, ()):
            for of_inst in (self._dependents, self._hoping):
                waiting = of_inst.get(inst, {})
                waiting.pop(run.run_id, None)
                if not waiting:
                    of_inst.pop(inst, None)
        self._leave_line(run.run_id)
        self._tickets.pop(run.run_id, None)
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
        if not self._lines:
            return
        pools: list[Pool] = [SERVER, run.inst, *map(Group, run.groups)]
        pools += [pool for pool in self._matching.get(run.job_id, ()) if pool.covers(run.inst)]
        self._freed.update((pool, None) for pool in pools if pool in self._lines)

    @property
    def is_calm(self) -> bool:
        """Whether nobody is to be looked at."""
        return not self._woken and not self._freed

    def next_to_look_at(self) -> RunId | None:
        """The run to look at next; None: nobody. A place that is taken meanwhile wakes no more."""
        if self._woken:
            run_id = next(iter(self._woken))
            del self._woken[run_id]
            return run_id
        while self._freed:
            pool = next(reversed(self._freed))
            busy = self.busy(pool)
            for _, run_id, count in self._lines.get(pool, ()):
                if busy < count:
                    return run_id  # it starts, or stands no more in a line where there is a place for it
            del self._freed[pool]
        return None

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
            if held is None:
                decision = condition.decide(run, self._runs)
                if isinstance(decision, Yes):
                    if condition.is_monotonic:
                        continue
                else:
                    by, held = condition, decision
            elif isinstance(condition, Dependency) and self._is_met(condition):
                # It counts for good, whatever stands before it: it may be told only now.
                continue
            left.append(condition)
        if held is None and self.is_full:
            held = Wait(f"{self._runs.busy_count} of {self._limit} of the server's runs running", "limit")
        return tuple(left), by, held

    def _is_met(self, dependency: Dependency) -> bool:
        return dependency.inst is not None and self._runs.ended_in(dependency.inst, dependency.states)

    def hold(self, run: Run, by: Condition | None, held: Wait | Ask | Poll) -> bool:
        """Remember what holds a run; whether that is news."""
        self._leave_line(run.run_id)
        if by is None:
            assert self._limit is not None, "only the limit of the server holds without a condition"
            self._stand_in_line(run.run_id, SERVER, self._limit)
        elif isinstance(by, MaxRunning) and by.pool is not None:
            self._stand_in_line(run.run_id, by.pool, int(by.count))
        before = self._held.get(run.run_id)
        self._held[run.run_id] = by, held
        return before is None or before[1].text != held.text

    def questions(self, run: Run) -> list[Dependency]:
        """The dependencies of a run of which the store was not asked yet; now they count as asked."""
        if run.run_id in self._answers:
            return []
        answers = self._answers[run.run_id] = {}
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

    def _stand_in_line(self, run_id: RunId, pool: Pool, count: int) -> None:
        """Stand in the line of a pool, before all who came to it later; in one line at a time."""
        tickets = self._tickets.setdefault(run_id, {})
        if pool not in tickets:
            self._last_ticket += 1
            tickets[pool] = self._last_ticket
        entry = tickets[pool], run_id, count
        insort(self._lines.setdefault(pool, []), entry)
        self._stands[run_id] = pool, entry
        if isinstance(pool, Matching):
            self._matching.setdefault(pool.job_id, {})[pool] = None

    def _leave_line(self, run_id: RunId) -> None:
        if run_id not in self._stands:
            return
        pool, entry = self._stands.pop(run_id)
        line = self._lines[pool]
        del line[bisect_left(line, entry)]
        if not line:
            del self._lines[pool]
            if isinstance(pool, Matching):
                del self._matching[pool.job_id][pool]
                if not self._matching[pool.job_id]:
                    del self._matching[pool.job_id]


def _is_in(run: Run, pool: Pool | None) -> bool:
    match pool:
        case Group():
            return pool == SERVER or pool.name in run.groups
        case Matching():
            return pool.covers(run.inst)
        case _:
            return run.inst == pool
