"""The kinds of condition, as values: how each is bound to a run, decides, and is written down."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from apsis_nb.core.errors import BindError
from apsis_nb.core.programs import Expand, expanded
from apsis_nb.core.runs import Instance, Run
from apsis_nb.core.runset import Group, Matching, Pool, RunSet
from apsis_nb.core.states import State

from .decisions import Ask, Decision, End, Poll, Wait, Yes

#: The names of a job's params; None: no such job.
ParamsOf = Callable[[str], "tuple[str, ...] | None"]

#: Seconds between two looks at what the shell must look at.
FILE_EVERY_S, SQL_EVERY_S = 2.0, 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Const:
    """Holds always, or never."""

    value: bool
    enabled: bool | str = True

    #: Once it holds it need not be asked again.
    is_monotonic = True

    def bind(self, expand: Expand, inst: Instance, params_of: ParamsOf) -> "Const":
        return replace(self, enabled=bind_enabled(self.enabled, expand))

    def decide(self, run: Run, runs: RunSet) -> Decision:
        return Yes() if self.value else Wait("the constant false")

    def to_dict(self) -> dict[str, Any]:
        return {"type": "const", "value": self.value, **_enabled_dict(self.enabled)}

    def __str__(self) -> str:
        return "always" if self.value else "never"


@dataclass(frozen=True, slots=True, kw_only=True)
class MaxRunning:
    """Fewer than `count` runs of a pool take up a place: they are starting, running or still stopping.

    The pool is the run's own instance; or runs of a job that have certain args; or a group over jobs.
    """

    count: int | str = 1  #: > 0; a template until it is bound
    job_id: str | None = None  #: None: the run's own job
    args: Mapping[str, str] | None = None  #: templates; those that count have these args. None: all the same
    group: str | None = None  #: a template; then the runs count whose conditions name the same
    pool: Pool | None = None  #: what is counted; known when bound
    enabled: bool | str = True

    #: It may hold now and not a moment later, so it is asked again in the very step that starts the run.
    is_monotonic = False

    def bind(self, expand: Expand, inst: Instance, params_of: ParamsOf) -> "MaxRunning":
        text = expand(str(self.count))
        try:
            count = int(text)
        except ValueError:
            raise BindError(f"max_running: count {text!r} is not a whole number") from None
        if count < 1:
            raise BindError(f"max_running: count {count} is not above 0")
        enabled = bind_enabled(self.enabled, expand)
        job_id = self.job_id or inst.job_id
        pool: Pool
        args, group = self.args, self.group
        if group is not None:
            group = expand(group)
            pool = Group(group)
        elif self.args is not None:
            args = {name: expand(value) for name, value in self.args.items()}
            params = params_of(job_id)
            unknown = [] if params is None else sorted(args.keys() - {*params})
            if unknown:
                raise BindError(f"max_running: job {job_id} has no param {unknown[0]}")
            pool = Matching(job_id, tuple(sorted(args.items())))
        else:
            pool = Instance(job_id, inst.args)
        return replace(self, count=count, args=args, group=group, pool=pool, enabled=enabled)

    def decide(self, run: Run, runs: RunSet) -> Decision:
        pool, count = self.pool or run.inst, int(self.count)
        busy = runs.busy(pool)
        return Yes() if busy < count else Wait(f"{busy} of {count} of {pool} running", "limit")

    def to_dict(self) -> dict[str, Any]:
        jso: dict[str, Any] = {"type": "max_running", "count": self.count}
        if self.job_id is not None:
            jso["job_id"] = self.job_id
        if self.args is not None:
            jso["args"] = dict(self.args)
        if self.group is not None:
            jso["group"] = self.group
        match self.pool:
            case Instance() as inst:
                jso["inst"] = _inst_dict(inst)
            case Matching(job_id=job_id, args=args):
                jso["matching"] = {"job_id": job_id, "args": dict(args)}
            case Group(name=name):
                jso["in"] = name
        return jso | _enabled_dict(self.enabled)

    def __str__(self) -> str:
        if self.pool is not None:
            what = str(self.pool)
        elif self.group is not None:
            what = f"group {self.group}"
        elif self.args is not None:
            what = str(Matching(self.job_id or "this job", tuple(self.args.items())))
        else:
            what = self.job_id or "this instance"
        return f"fewer than {self.count} of {what} running"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependency:
    """Some run of another instance, of any age, ended in one of `states`."""

    job_id: str  #: a template until it is bound
    args: Mapping[str, str] = field(default_factory=dict)  #: templates; params not named come from the run
    states: frozenset[State] = frozenset({State.SUCCESS})
    exist: frozenset[State] = frozenset()  #: if not empty: without a run in one of these the run is an error
    inst: Instance | None = None  #: known when bound
    enabled: bool | str = True

    is_monotonic = True

    def bind(self, expand: Expand, inst: Instance, params_of: ParamsOf) -> "Dependency":
        job_id, own = expand(self.job_id), dict(inst.args)
        params = params_of(job_id)
        if params is None:
            raise BindError(f"dependency: there is no job {job_id}")
        args = {}
        for name in params:
            if name in self.args:
                args[name] = expand(self.args[name])
            elif name in own:
                args[name] = own[name]
            else:
                raise BindError(f"dependency: no value for param {name} of job {job_id}")
        bound = Instance.of(job_id, args)
        return replace(self, job_id=job_id, args=args, inst=bound, enabled=bind_enabled(self.enabled, expand))

    def decide(self, run: Run, runs: RunSet) -> Decision:
        assert self.inst is not None, "a run's conditions are bound"
        if runs.ended_in(self.inst, self.states):
            return Yes()
        return Ask(f"waiting for {self}", self.inst, self.states, self.exist)

    def to_dict(self) -> dict[str, Any]:
        jso: dict[str, Any] = {
            "type": "dependency",
            "job_id": self.job_id,
            "args": dict(self.args),
            "states": _names(self.states),
        }
        if self.exist:
            jso["exist"] = _names(self.exist)
        if self.inst is not None:
            jso["inst"] = _inst_dict(self.inst)
        return jso | _enabled_dict(self.enabled)

    def __str__(self) -> str:
        what = str(self.inst) if self.inst else f"{self.job_id}({', '.join(self.args)})"
        text = f"{what} to end in {' or '.join(_names(self.states))}"
        return f"{text}, and it must exist" if self.exist else text


@dataclass(frozen=True, slots=True, kw_only=True)
class SkipDuplicate:
    """Never holds a run: one that has a twin in one of `check_states` ends in `target_state`."""

    check_states: frozenset[State] = frozenset({State.WAITING, State.STARTING, State.RUNNING})
    target_state: State = State.SKIPPED
    enabled: bool | str = True

    is_monotonic = False

    def bind(self, expand: Expand, inst: Instance, params_of: ParamsOf) -> "SkipDuplicate":
        return replace(self, enabled=bind_enabled(self.enabled, expand))

    def decide(self, run: Run, runs: RunSet) -> Decision:
        twin = runs.twin(run, self.check_states)
        if twin is None:
            return Yes()
        return End(self.target_state, f"duplicate: {twin.name} is {twin.state.value}")

    def to_dict(self) -> dict[str, Any]:
        return {
            "type": "skip_duplicate",
            "check_states": _names(self.check_states),
            "target_state": self.target_state.value,
            **_enabled_dict(self.enabled),
        }

    def __str__(self) -> str:
        return f"{self.target_state.value} if another run of it is {' or '.join(_names(self.check_states))}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileExists:
    """A file is there: the shell looks."""

    path: (
        str  #: a template until it is bound; a relative one starts at the job file's folder; may be a pattern
    )
    min_bytes: int = 0  #: one that is smaller does not count
    poll_s: float = FILE_EVERY_S
    enabled: bool | str = True

    is_monotonic = True

    def bind(self, expand: Expand, inst: Instance, params_of: ParamsOf) -> "FileExists":
        return replace(self, path=expand(self.path), enabled=bind_enabled(self.enabled, expand))

    def decide(self, run: Run, runs: RunSet) -> Decision:
        return Poll(f"waiting for {self}")

    def to_dict(self) -> dict[str, Any]:
        jso: dict[str, Any] = {"type": "file", "path": self.path}
        if self.min_bytes:
            jso["min_bytes"] = self.min_bytes
        if self.poll_s != FILE_EVERY_S:
            jso["poll_interval"] = self.poll_s
        return jso | _enabled_dict(self.enabled)

    def __str__(self) -> str:
        size = f" with {self.min_bytes:,} bytes or more" if self.min_bytes else ""
        return f"the file {self.path}{size}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlIsTrue:
    """A query of history gives true as the first value of its first row: the shell asks the store."""

    query: str  #: one SELECT; `$name` is the arg of that name
    args: Mapping[str, str] = field(default_factory=dict)  #: of the run; known when bound
    poll_s: float = SQL_EVERY_S
    enabled: bool | str = True

    is_monotonic = True

    def bind(self, expand: Expand, inst: Instance, params_of: ParamsOf) -> "SqlIsTrue":
        return replace(self, args=dict(inst.args), enabled=bind_enabled(self.enabled, expand))

    def decide(self, run: Run, runs: RunSet) -> Decision:
        return Poll(f"waiting for {self}")

    def to_dict(self) -> dict[str, Any]:
        jso: dict[str, Any] = {"type": "sql", "query": self.query}
        if self.args:
            jso["args"] = dict(self.args)
        if self.poll_s != SQL_EVERY_S:
            jso["poll_interval"] = self.poll_s
        return jso | _enabled_dict(self.enabled)

    def __str__(self) -> str:
        text = " ".join(self.query.split())
        return f"a query to be true: {text if len(text) <= 80 else text[:79] + '…'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomCondition:
    """A class of the user's own: an object of it is made from its keys, and the shell asks that."""

    type: str  #: its import path: package.module.Class
    keys: Mapping[str, Any] = field(default_factory=dict)  #: for its constructor; templates until it is bound
    enabled: bool | str = True

    is_monotonic = True

    def bind(self, expand: Expand, inst: Instance, params_of: ParamsOf) -> "CustomCondition":
        return replace(self, keys=expanded(self.keys, expand), enabled=bind_enabled(self.enabled, expand))

    def decide(self, run: Run, runs: RunSet) -> Decision:
        return Poll(f"waiting for {self}")

    def to_dict(self) -> dict[str, Any]:
        return {"type": self.type, **self.keys, **_enabled_dict(self.enabled)}

    def __str__(self) -> str:
        text = f"{self.type}({', '.join(f'{name}={value}' for name, value in self.keys.items())})"
        return text if len(text) <= 120 else text[:119] + "…"


#: Those that the shell must look at.
Polled = FileExists | SqlIsTrue | CustomCondition

Condition = Const | MaxRunning | Dependency | SkipDuplicate | FileExists | SqlIsTrue | CustomCondition


def bind_enabled(enabled: bool | str, expand: Expand) -> bool:
    """Whether a condition counts: text is true unless it expands to `false`, `False` or nothing."""
    return enabled if isinstance(enabled, bool) else expand(enabled) not in {"", "false", "False"}


def _enabled_dict(enabled: bool | str) -> dict[str, Any]:
    return {} if enabled is True else {"enabled": enabled}


def _inst_dict(inst: Instance) -> dict[str, Any]:
    return {"job_id": inst.job_id, "args": dict(inst.args)}


def _names(states: frozenset[State]) -> list[str]:
    return sorted(s.value for s in states)
