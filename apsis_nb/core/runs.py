"""A run: one execution of a job, as a value that moves. The verbs return a new run."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime
from enum import Enum
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from .errors import ApsisError
from .programs import Program
from .states import FINISHED, TRANSITIONS, State

if TYPE_CHECKING:  # the kinds of condition and action look at runs, so they stand above
    from .actions import Action
    from .conditions import Condition

RunId = int


class Origin(Enum):
    """What made a run."""

    SCHEDULE = "schedule"
    MANUAL = "manual"
    AD_HOC = "ad_hoc"
    ACTION = "action"
    RETRY = "retry"
    RERUN = "rerun"
    BACKFILL = "backfill"
    TEST = "test"


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How a run that did not succeed is tried again."""

    count: int  #: how many more attempts there may be
    delay_s: float = 0.0  #: from the end of an attempt to the next
    backoff: float = 1.0  #: each delay is so many times the one before
    max_delay_s: float = 86400.0
    states: frozenset[State] = frozenset({State.FAILURE})  #: after which ends

    def after(self) -> "Retry":
        """What is left for the next attempt."""
        delay_s = min(self.delay_s * self.backoff, self.max_delay_s)
        return replace(self, count=self.count - 1, delay_s=delay_s)

    def to_dict(self) -> dict[str, Any]:
        return {
            "count": self.count,
            "delay": self.delay_s,
            "backoff": self.backoff,
            "max_delay": self.max_delay_s,
            "states": sorted(s.value for s in self.states),
        }


@dataclass(frozen=True, slots=True)
class Instance:
    """A job with its args: what a dependency names, and what `max_running` may count."""

    job_id: str
    args: tuple[tuple[str, str], ...] = ()  #: (name, value), sorted by name

    @classmethod
    def of(cls, job_id: str, args: Mapping[str, str]) -> "Instance":
        return cls(job_id, tuple(sorted(args.items())))

    @property
    def args_json(self) -> str:
        """Canonical JSON of the args: keys sorted, no blanks. The store compares this text."""
        return json.dumps(dict(self.args), separators=(",", ":"), ensure_ascii=False) if self.args else "{}"

    def __str__(self) -> str:
        return f"{self.job_id}({', '.join(f'{k}={v}' for k, v in self.args)})"


class IllegalTransition(ApsisError):
    """A run cannot make this move."""

    def __init__(self, run: "Run", to: State) -> None:
        super().__init__(f"run {run.name} is {run.state.value}: it cannot become {to.value}")
        self.run, self.to = run, to


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One execution of a job. It keeps what it was made from, so later changes of the job never harm it."""

    run_id: RunId
    inst: Instance
    program: Program  #: bound: its templates are expanded
    origin: Origin
    scheduled_at: datetime  #: when it is due; aware, UTC, as all times here
    nominal_at: datetime | None = (
        None  #: what the schedule says, before jitter; None if none stands behind it
    )
    stop_at: datetime | None = None  #: when it is stopped if it still runs
    state: State = State.SCHEDULED
    state_at: datetime  #: when it entered its state
    started_at: datetime | None = None  #: when its program started
    finished_at: datetime | None = None
    conditions: tuple["Condition", ...] = ()  #: bound; those that are not yet known to hold
    actions: tuple["Action", ...] = ()
    groups: tuple[str, ...] = ()  #: of `max_running`, in which it takes up a place
    max_wait_s: float | None = None  #: it may wait no longer; None: as the server says
    retry: Retry | None = None  #: None: no attempt follows
    labels: tuple[str, ...] = ()
    late_start_s: float = 60.0  #: budget: a run of a schedule that starts later than this is late
    late_finish_at: datetime | None = None  #: so is one, or a further attempt, that has not finished by then
    late_why: str | None = None  #: of a run that started late: condition, limit, host or server
    attempt: int = 1
    rerun_of: RunId | None = None
    backfill_id: int | None = None
    skip_reason: str | None = None
    message: str | None = None  #: of its last transition
    return_code: int | None = None  #: exit status; -N if signal N ended it
    elapsed_s: float | None = None  #: of the program, by a monotonic clock
    host: str = "local"
    by: str | None = None  #: who asked for it
    cwd: str | None = None  #: folder that relative paths of the program start from
    run_state: Mapping[str, Any] | None = None  #: the program's own resume data; only while it runs
    told_late_start: bool = False  #: that it did not start in time was said, and is said no more
    told_late_finish: bool = False
    notices: int = 0  #: how many messages and calls its actions have ordered

    @property
    def name(self) -> str:
        """The id as people write it: `r123`."""
        return f"r{self.run_id}"

    @property
    def job_id(self) -> str:
        return self.inst.job_id

    @property
    def args(self) -> dict[str, str]:
        return dict(self.inst.args)

    @property
    def is_finished(self) -> bool:
        return self.state in FINISHED

    @property
    def is_test(self) -> bool:
        """Whether nothing may follow from it: no actions, no dependency, no statistic."""
        return self.origin is Origin.TEST

    @property
    def is_tried_again(self) -> bool:
        """Whether another attempt follows: then what follows from an end waits for the last one."""
        return self.retry is not None and self.retry.count > 0 and self.state in self.retry.states

    def late_s(self, now: datetime) -> float | None:
        """Seconds from its scheduled time to its start (to `now` while it has not started).

        None unless a schedule made the run, and for a skipped one. Never negative.
        """
        if self.origin is not Origin.SCHEDULE or self.state is State.SKIPPED:
            return None
        began = self.started_at or self.finished_at or now
        return max(0.0, (began - self.scheduled_at).total_seconds())

    def is_late(self, now: datetime) -> bool:
        """Whether it is late with its start, or with its end."""
        return self.starts_late(now) or self.ends_late(now)

    def starts_late(self, now: datetime) -> bool:
        """Whether it started (or has not yet) more than its start budget after its scheduled time."""
        late_s = self.late_s(now)
        return late_s is not None and late_s > self.late_start_s

    def ends_late(self, now: datetime) -> bool:
        """Whether it finished (or has not yet) after the time by which it should have."""
        if self.late_finish_at is None or self.state is State.SKIPPED:
            return False
        return (self.finished_at or now) > self.late_finish_at

    def moved(self, to: State, at: datetime, **facts: Any) -> "Run":
        """The run in state `to`.

        Args:
            to: the new state.
            at: when; no earlier than its last move is taken, so that times never go back.
            facts: further fields that change with the move.

        Raises:
            IllegalTransition: `TRANSITIONS` does not allow it.
        """
        if to not in TRANSITIONS[self.state]:
            raise IllegalTransition(self, to)
        at = max(at, self.state_at)
        facts.setdefault("message", None)
        if to is State.RUNNING:
            facts.setdefault("started_at", at)
        if to in FINISHED:
            facts.setdefault("finished_at", at)
            facts["run_state"] = None
        # As `replace`, but quicker: this is how most values of runs are made.
        values = dict(zip(_FIELDS, _values_of(self), strict=True))
        return Run(**(values | {"state": to, "state_at": at} | facts))


_FIELDS = tuple(field.name for field in fields(Run))
_values_of = attrgetter(*_FIELDS)
