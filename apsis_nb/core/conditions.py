"""May a waiting run start?  Pure: looks at runs, never at a clock or a database."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from .errors import BindError, JobError
from .fields import (
    Fields,
    KeyPath,
    article,
    choose,
    noun,
    read_bool,
    read_name,
    read_text,
    read_text_map,
    suggestion,
)
from .programs import Expand, read_templates
from .runs import Instance, Run
from .runset import RunSet
from .states import FINISHED, State
from .templates import check

#: The names of a job's params; None: no such job.
ParamsOf = Callable[[str], "tuple[str, ...] | None"]

Why = Literal["condition", "limit"]


@dataclass(frozen=True, slots=True)
class Yes:
    """The condition holds."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Not yet."""

    text: str  #: why, for people
    why: Why = "condition"


@dataclass(frozen=True, slots=True)
class Ask:
    """Not yet, unless a run of `inst` ended in one of `states` long ago: the store must be asked, once."""

    text: str
    inst: Instance
    states: frozenset[State]
    why: Why = "condition"


Decision = Yes | Wait | Ask


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
    """Fewer than `count` runs of an instance take up a place: starting, running or still stopping."""

    count: int | str  #: > 0; a template until it is bound
    job_id: str | None = None  #: None: the run's own job
    inst: Instance | None = None  #: what is counted; known when bound
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
        counted = inst if self.job_id is None else Instance(self.job_id, inst.args)
        return replace(self, count=count, inst=counted, enabled=bind_enabled(self.enabled, expand))

    def decide(self, run: Run, runs: RunSet) -> Decision:
        inst, count = self.inst or run.inst, int(self.count)
        busy = runs.busy(inst)
        return Yes() if busy < count else Wait(f"{busy} of {count} of {inst} running", "limit")

    def to_dict(self) -> dict[str, Any]:
        jso: dict[str, Any] = {"type": "max_running", "count": self.count}
        if self.job_id is not None:
            jso["job_id"] = self.job_id
        if self.inst is not None:
            jso["inst"] = {"job_id": self.inst.job_id, "args": dict(self.inst.args)}
        return jso | _enabled_dict(self.enabled)

    def __str__(self) -> str:
        return f"fewer than {self.count} of {self.inst or self.job_id or 'this instance'} running"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependency:
    """Some run of another instance, of any age, ended in one of `states`."""

    job_id: str  #: a template until it is bound
    args: Mapping[str, str] = field(default_factory=dict)  #: templates; params not named come from the run
    states: frozenset[State] = frozenset({State.SUCCESS})
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
        return Ask(f"waiting for {self}", self.inst, self.states)

    def to_dict(self) -> dict[str, Any]:
        jso: dict[str, Any] = {
            "type": "dependency",
            "job_id": self.job_id,
            "args": dict(self.args),
            "states": sorted(s.value for s in self.states),
        }
        if self.inst is not None:
            jso["inst"] = {"job_id": self.inst.job_id, "args": dict(self.inst.args)}
        return jso | _enabled_dict(self.enabled)

    def __str__(self) -> str:
        what = str(self.inst) if self.inst else f"{self.job_id}({', '.join(self.args)})"
        return f"{what} to end in {' or '.join(sorted(s.value for s in self.states))}"


Condition = MaxRunning | Dependency | Const

CONDITION_TYPES = ("dependency", "max_running", "const")
_LATER = ("skip_duplicate",)


def condition_from_dict(data: Any, path: KeyPath = ()) -> Condition:
    """The condition that a mapping of a job file (or `to_dict`) tells.

    Args:
        data: a mapping with `type`.
        path: where it stands in the job file, for errors.

    Raises:
        JobError, JobErrors: what is wrong, and what would be right.
    """
    kind = choose(data, path, "condition", CONDITION_TYPES, later=_LATER)
    fields = Fields(data, path, f"{article(kind)} condition")
    fields.get("type", str)
    enabled = fields.get("enabled", _read_enabled, True)
    if kind == "const":
        value = fields.get("value", read_bool)
        fields.done()
        return Const(value=value, enabled=enabled)
    inst = fields.get("inst", _inst_from, None)
    is_bound = inst is not None  # then what looks like a template is text that came out of one
    if kind == "max_running":
        count = fields.get("count", _read_count, 1)
        counted = fields.get("job_id", lambda value: None if value is None else read_name(value), None)
        fields.done(later=("group", "args"))
        return MaxRunning(count=count, job_id=counted, inst=inst, enabled=enabled)
    job_id = fields.get("job_id", read_text if is_bound else _read_job_id)
    args = fields.get("args", read_text_map if is_bound else read_templates, {})
    states = fields.get_at("states", states_from, frozenset({State.SUCCESS}))
    fields.done(later=("exist",))
    return Dependency(job_id=job_id, args=args, states=states, inst=inst, enabled=enabled)


def states_from(data: Any, path: KeyPath = ()) -> frozenset[State]:
    """One or several finished states, as a job file names them.

    Raises:
        JobError: a name is not that of a state in which a run ends.
    """
    names = data if isinstance(data, list | tuple) else [data]
    finished = {s.value: s for s in State if s in FINISHED}
    if not names:
        raise JobError(path, f"must name one or more of {', '.join(finished)}")
    for n, name in enumerate(names):
        if not isinstance(name, str) or name not in finished:
            hint = suggestion(str(name), finished) or f": one of {', '.join(finished)}"
            at = (*path, n) if names is data else path
            raise JobError(at, f"{noun(name)} is no state in which a run ends{hint}")
    return frozenset(finished[n] for n in names)


def _read_enabled(value: Any) -> bool | str:
    if isinstance(value, bool):
        return value
    if not isinstance(value, str):
        raise ValueError(f"must be true, false or a quoted template, not {noun(value)}")
    check(value)
    return value


def _read_count(value: Any) -> int | str:
    if isinstance(value, str) and "{" in value:
        check(value)
        return value
    count = int(value) if isinstance(value, str) and value.isdecimal() else value
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise ValueError(f"must be a whole number above 0, or a template, not {noun(value)}")
    return count


def _read_job_id(value: Any) -> str:
    job_id = read_name(value)
    check(job_id)
    return job_id


def bind_enabled(enabled: bool | str, expand: Expand) -> bool:
    """Whether a condition counts: text is true unless it expands to `false`, `False` or nothing."""
    return enabled if isinstance(enabled, bool) else expand(enabled) not in {"", "false", "False"}


def _enabled_dict(enabled: bool | str) -> dict[str, Any]:
    return {} if enabled is True else {"enabled": enabled}


def _inst_from(data: Any) -> Instance:
    """The instance of a bound condition: only the store writes one."""
    try:
        return Instance.of(read_text(data["job_id"]), read_text_map(data["args"]))
    except (KeyError, TypeError, ValueError):
        raise ValueError("is no instance of a job") from None
