"""Why a run has not run, or not well: the causes in words, from what was asked down to the root.

Pure: whoever asks gathers the facts of what `needed` says, until it says nothing more.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from itertools import islice
from typing import Literal
from zoneinfo import ZoneInfo

from .conditions import Dependency
from .errors import BindError
from .jobs import Job, bind_args
from .pauses import Pause
from .preview import Args, Coming, coming_runs
from .runs import Instance, RunId
from .schedules import DailyIntervalSchedule, DailySchedule, explain
from .states import BUSY, State
from .times import after_gap, format_duration, format_iso, format_local, parse_date, parse_time

#: What kind of cause it is.
Kind = Literal[
    "job",  # there is none, or was none yet
    "file",  # it is broken
    "schedule",  # there is none, it is disabled, or it says otherwise
    "calendar",  # the day is not in it
    "due",  # not yet
    "paused",
    "down",  # no server ran
    "skipped",
    "waiting",  # for a condition
    "limit",  # all places are taken
    "running",
    "failed",
    "ran",  # already, and well
    "unknown",
]

#: A chain of dependencies is followed so far, and so much of it is looked at.
DEPTH, MOST = 20, 100
#: Spans in which a time of a schedule is looked for, one after the other; and the most times in each.
_SPANS = tuple(timedelta(days=days) for days in (1 / 24, 1, 8, 62, 400, 1900))
_TIMES = 20_000
#: A run with a date among its args is looked for so long before and after that day.
_AROUND = timedelta(days=3)
_HOUR = timedelta(hours=1)
_CONTROL = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-_])")


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked about: the run of a job that has these args, and was or is due at some time."""

    job_id: str
    args: Args = ()  #: (name, value), sorted by name; some or all of them
    within: tuple[datetime, datetime] | None = None  #: when it is due: from the first on, before the second

    @classmethod
    def of(cls, inst: Instance) -> "Asked":
        return cls(inst.job_id, inst.args)

    def __str__(self) -> str:
        return str(Instance(self.job_id, self.args)) if self.args else self.job_id


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """What is known of a run."""

    run_id: RunId
    inst: Instance
    state: State
    scheduled_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    message: str | None = None  #: of its last transition
    skip_reason: str | None = None
    by: str | None = None  #: who asked for it
    held: str | None = None  #: what holds it, in the machine's words
    is_limit: bool = False  #: whether that is a limit
    waits_for: tuple[Dependency, ...] = ()  #: those that are not known to be met, in their order
    holders: tuple[str, ...] = ()  #: the runs that take up the places, in words
    output: str | None = None  #: the last line of its output


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of what is asked."""

    job: Job | None = None
    near: str | None = None  #: the id that was probably meant
    fault: str | None = None  #: what is wrong with its file: file:line:col: message
    fault_since: datetime | None = None
    known_since: datetime | None = None  #: when its file was first taken up
    changed_at: datetime | None = None  #: when the text that it is made from was
    removed_at: datetime | None = None  #: when its file was gone
    run: RunFacts | None = None  #: the newest, or one that lives
    due: Coming | None = None  #: when the schedules make it: the last time that is past, else the first
    next: Coming | None = None  #: when they make any run of the job next
    pause: Pause | None = None  #: what holds back the job at that time
    down: tuple[datetime, datetime] | None = None  #: when no server ran, the last time
    clock: datetime | None = None  #: the server has made all that was due up to here
    callers: tuple[str, ...] = ()  #: jobs with actions that make runs of it


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One cause."""

    kind: Kind
    text: str
    depth: int = 0  #: 0: of what was asked; 1: of what that waits for; and so on
    job_id: str = ""
    args: Mapping[str, str] = field(default_factory=dict)
    run_id: RunId | None = None
    output: str | None = None  #: the last line that the run wrote


def needed(asked: Asked, facts: Facts) -> list[Asked]:
    """What else must be known to tell the causes: that of which it waits, or after which it would run."""
    if facts.run is not None:
        found = [c.inst for c in facts.run.waits_for if facts.run.state is State.WAITING]
        return [Asked.of(inst) for inst in found if inst is not None]
    if facts.job is None or any(s.enabled for s in facts.job.schedules):
        return []
    return [Asked(job_id, asked.args, asked.within) for job_id in facts.callers]


def causes(asked: Asked, known: Mapping[Asked, Facts], now: datetime, tz: ZoneInfo) -> list[Cause]:
    """Why it has not run, or not well: the nearest cause first, then that of that one, down to the root.

    Args:
        asked: what is asked about.
        known: the facts of it, and of all that `needed` named.
        now: the time; aware.
        tz: the zone of times in the texts.
    """
    return list(_causes(asked, known, _Words(now, tz), 0, frozenset()))


def _causes(
    asked: Asked, known: Mapping[Asked, Facts], words: "_Words", depth: int, seen: frozenset[Asked]
) -> Iterator[Cause]:
    facts = known.get(asked)
    if facts is None or depth > DEPTH:
        return
    if asked in seen:
        yield Cause(
            kind="waiting", text=f"{asked} waits for itself: a loop", depth=depth, job_id=asked.job_id
        )
        return
    args = dict(facts.run.inst.args if facts.run else asked.args)
    run_id = facts.run.run_id if facts.run else None
    for kind, text in words.of(asked, facts):
        output = facts.run.output if facts.run and kind == "failed" else None
        yield Cause(
            kind=kind, text=text, depth=depth, job_id=asked.job_id, args=args, run_id=run_id, output=output
        )
    for inner in needed(asked, facts):
        yield from _causes(inner, known, words, depth + 1, seen | {asked})


@dataclass(frozen=True, slots=True)
class _Words:
    """Puts facts into words, as of a time and in a zone."""

    now: datetime
    tz: ZoneInfo

    def of(self, asked: Asked, facts: Facts) -> Iterator[tuple[Kind, str]]:
        """The causes of one thing, without those of what it waits for."""
        if facts.run is not None:
            yield from self._of_run(facts.run, facts)
        elif facts.job is None:
            yield self._without_job(asked, facts)
        elif facts.due is None:
            yield self._never_due(asked, facts.job, facts)
        else:
            yield from self._without_run(asked, facts.due, facts)
        if facts.fault is not None and facts.job is not None and not _went_well(facts.run):
            since = f" since {self.at(facts.fault_since)}" if facts.fault_since else ""
            yield "file", f"its file is broken{since}, and the job goes on as it was: {facts.fault}"

    def at(self, time: datetime | None) -> str:
        return "?" if time is None else format_local(time, self.tz, with_zone=True)

    def _until(self, time: datetime) -> str:
        """A time to come, and how far off it is."""
        seconds = max(1.0, (time - self.now).total_seconds())
        unit = (
            1 if seconds < 600 else 60 if seconds < 172_800 else 3600
        )  # nobody wants the seconds of next year
        return f"{self.at(time)}, in {format_duration(round(seconds / unit) * unit)}"

    # -- a run

    def _of_run(self, run: RunFacts, facts: Facts) -> Iterator[tuple[Kind, str]]:
        name = f"r{run.run_id} {run.inst}"
        match run.state:
            case State.SCHEDULED:
                by = f", as {run.by} asked" if run.by else ""
                yield "due", f"{name} is not due yet: it is scheduled for {self._until(run.scheduled_at)}{by}"
            case State.WAITING:
                yield from self._of_waiting(run, name)
            case State.SUCCESS:
                yield "ran", f"it ran already: {name} ended in success at {self.at(run.finished_at)}"
            case State.FAILURE | State.ERROR:
                said = f": {run.message}" if run.message else ""
                yield "failed", f"{name} ended in {run.state.value} at {self.at(run.finished_at)}{said}"
            case State.SKIPPED:
                reason = run.skip_reason or run.message or "nobody said why"
                yield "paused" if reason.startswith("paused") else "skipped", f"{name} was skipped: {reason}"
                if reason.startswith("misfire") and self._was_down(run.scheduled_at, facts):
                    yield "down", self._down(facts)
            case _:
                assert run.state in BUSY
                yield "running", f"{name} is {run.state.value}, since {self.at(run.started_at)}"

    def _of_waiting(self, run: RunFacts, name: str) -> Iterator[tuple[Kind, str]]:
        told = [f"waiting for {dependency}" for dependency in run.waits_for]
        if run.held is not None:
            yield "limit" if run.is_limit else "waiting", f"{name}: {run.held}"
        for holder in run.holders:
            yield "limit", holder
        for text in told:
            if text != run.held:
                yield "waiting", f"{name}: {text}"
        if run.held is None and not told:
            yield "waiting", f"{name} waits; nobody has looked at its conditions yet"

    # -- no run

    def _without_job(self, asked: Asked, facts: Facts) -> tuple[Kind, str]:
        if facts.fault is not None:
            since = f" since {self.at(facts.fault_since)}" if facts.fault_since else ""
            return "file", f"the file of {asked.job_id} is broken{since}: {facts.fault}"
        if facts.removed_at is not None:
            return (
                "job",
                f"there is no job {asked.job_id}: its file is gone since {self.at(facts.removed_at)}",
            )
        hint = f": did you mean '{facts.near}'?" if facts.near else ""
        return "job", f"there is no job '{asked.job_id}'{hint}"

    def _never_due(self, asked: Asked, job: Job, facts: Facts) -> tuple[Kind, str]:
        """The schedules do not make it."""
        names = [p.name for p in job.params]
        if unknown := [name for name, _ in asked.args if name not in names]:
            has = f"it has {', '.join(names)}" if names else "it has none"
            return "job", f"{job.job_id} has no param {unknown[0]}: {has}"
        if {name for name, _ in asked.args} == set(names):
            try:
                bind_args(job, dict(asked.args))
            except BindError as error:
                return "job", str(error)
        enabled = [schedule for schedule in job.schedules if schedule.enabled]
        if not enabled:
            if job.schedules:
                return "schedule", f"the schedule of {job.job_id} is disabled"
            if facts.callers:
                return (
                    "schedule",
                    f"{job.job_id} has no schedule: it runs after {' and '.join(facts.callers)}",
                )
            return "schedule", f"{job.job_id} has no schedule: it runs when somebody asks for it"
        coming = "; no time is to come"
        if facts.next is not None:
            inst = Instance(job.job_id, facts.next.args)
            coming = f"; the next is {inst} at {self._until(facts.next.at)}"
        day = day_of(asked, self.tz)
        calendars = [s.calendar for s in enabled if isinstance(s, DailySchedule | DailyIntervalSchedule)]
        if day is not None and len(calendars) == len(enabled) and all(day not in c for c in calendars):
            ours = " or ".join(dict.fromkeys(c.name for c in calendars))
            what = "no day of" if any(c.first <= day <= c.last for c in calendars) else "beyond the end of"
            text = f"{format_iso(day)}, a {_WEEKDAYS[day.weekday()]}, is {what} the calendar {ours}"
            return "calendar", f"{text} of {job.job_id}{coming}"
        told = "; ".join(explain(schedule) for schedule in enabled)
        near = f" near {format_iso(day)}" if day is not None else ""
        return "schedule", f"no schedule makes {asked}{near}: {told}{coming}"

    def _without_run(self, asked: Asked, due: Coming, facts: Facts) -> Iterator[tuple[Kind, str]]:
        """The schedules make it at some time, and there is no run."""
        name = str(Instance(asked.job_id, due.args))
        if due.at > self.now:
            yield "due", f"{name} is not due yet: its time is {self._until(due.at)}"
            if facts.pause is not None:
                yield "paused", f"then it will be skipped: {self._paused(facts.pause)}"
            return
        was = f"{name} was due at {self.at(due.at)}"
        if facts.known_since is not None and facts.known_since > due.at:
            yield "job", f"{was}: the server knows the job only since {self.at(facts.known_since)}"
        elif self._was_down(due.at, facts):
            yield "down", f"{was}: {self._down(facts)}"
        elif facts.pause is not None and facts.pause.at <= due.at:
            yield "paused", f"{was}: {self._paused(facts.pause)}"
        elif facts.changed_at is not None and facts.changed_at > due.at:
            yield (
                "schedule",
                f"{was}, as its file says since {self.at(facts.changed_at)}: before, it said otherwise",
            )
        elif facts.clock is None or facts.clock < due.at:
            yield "due", f"{was}: the server has come to {self.at(facts.clock)}, and makes it in a moment"
        else:
            yield "unknown", f"{was}, and no run of it is kept"

    def _paused(self, pause: Pause) -> str:
        until = f" until {self.at(pause.until)}" if pause.until else ""
        return f"{pause.text} (since {self.at(pause.at)}{until})"

    def _was_down(self, time: datetime, facts: Facts) -> bool:
        return facts.down is not None and facts.down[0] <= time <= facts.down[1]

    def _down(self, facts: Facts) -> str:
        assert facts.down is not None
        return f"the server was down from {self.at(facts.down[0])} to {self.at(facts.down[1])}"


def day_of(asked: Asked, tz: ZoneInfo) -> date | None:
    """The day that is asked about: that of an arg, or on which it is due; None: no certain one."""
    moment = _moment_of(asked)
    if isinstance(moment, datetime):
        return moment.astimezone(tz).date()
    return moment if moment or not asked.within else asked.within[0].astimezone(tz).date()


def find_due(job: Job, asked: Asked, now: datetime, tz: ZoneInfo) -> Coming | None:
    """When the schedules of a job make what is asked: the last time up to `now`, else the first after it."""
    wanted, moment = {*asked.args}, _moment_of(asked)
    if asked.within is not None:
        spans = [asked.within]
    elif isinstance(moment, datetime):
        spans = [(moment - _HOUR, moment + _HOUR)]
    elif moment is not None:
        midnight = after_gap(moment, time(), tz)
        spans = [(midnight - _AROUND, midnight + _AROUND + timedelta(days=1))]
    else:
        spans = [(now - span, now + timedelta(microseconds=1)) for span in _SPANS]
        spans += [(now, now + span) for span in _SPANS]
    for start, stop in spans:
        found = [c for c in islice(coming_runs(job, start, stop), _TIMES) if wanted <= {*c.args}]
        if found:
            return max((c for c in found if c.at <= now), default=min(found))
    return None


def find_next(job: Job, now: datetime) -> Coming | None:
    """The next run that the schedules of a job make."""
    for span in _SPANS:
        if found := list(islice(coming_runs(job, now, now + span), _TIMES)):
            return min(found)
    return None


def last_line(output: bytes) -> str | None:
    """The last line of an output that says something, without what moves a cursor or makes colours."""
    for line in reversed(_CONTROL.sub("", output.decode(errors="replace")).splitlines()):
        text = "".join(c if c.isprintable() else " " for c in line).strip()
        if text:
            return text if len(text) <= _LINE else f"{text[: _LINE - 1]}…"
    return None


def _moment_of(asked: Asked) -> date | datetime | None:
    """The first day or time among the args."""
    for _, value in asked.args:
        for read in (parse_date, parse_time):
            try:
                return read(value)
            except ValueError:
                continue
    return None


_LINE = 300  # characters of a line of output
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def _went_well(run: RunFacts | None) -> bool:
    return run is not None and run.state in {State.SUCCESS, *BUSY}
