"""May a waiting run start?  Pure: looks at runs, never at a clock or a database."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any, Literal

from .errors import BindError, JobError
from .programs import Expand
from .runs import Instance, Run
from .runset import RunSet
from .states import FINISHED, State

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

_KEYS = {
    "max_running": {"count", "job_id", "inst", "enabled"},
    "dependency": {"job_id", "args", "states", "inst", "enabled"},
    "const": {"value", "enabled"},
}
#: Kinds and keys of the reference and of the design that are not built yet.
_LATER = {"skip_duplicate", "exist", "group"}


def condition_from_dict(data: Any, path: tuple[str | int, ...] = ()) -> Condition:
    """The condition that a mapping of a job file (or `to_dict`) tells.

    Args:
        data: a mapping with `type`.
        path: where it stands in the job file, for errors.

    Raises:
        JobError: what is wrong, and what would be right.
    """
    if not isinstance(data, Mapping):
        raise JobError(path, f"a condition is a mapping with 'type', not {data!r}")
    data = dict(data)
    kind = data.pop("type", None)
    if kind is None:
        raise JobError(path, f"missing key: type (one of {', '.join(sorted(_KEYS))})")
    if kind in _LATER:
        raise JobError((*path, "type"), f"condition type {kind} is not supported yet")
    if kind not in _KEYS:
        raise JobError((*path, "type"), f"unknown condition type: {kind}{_suggest(str(kind), _KEYS)}")
    for key in data:
        if key in _LATER and kind != "const":
            raise JobError((*path, key), f"{kind}: {key} is not supported yet")
        if key not in _KEYS[kind]:
            raise JobError((*path, key), f"unknown key: {key}{_suggest(str(key), _KEYS[kind])}")
    enabled = data.get("enabled", True)
    if not isinstance(enabled, bool | str):
        raise JobError((*path, "enabled"), f"is true, false or a quoted template, not {enabled!r}")
    inst = _inst(data.get("inst"))
    if kind == "const":
        if not isinstance(data.get("value"), bool):
            raise JobError((*path, "value"), f"is true or false, not {data.get('value')!r}")
        return Const(value=data["value"], enabled=enabled)
    job_id = data.get("job_id")
    if job_id is not None and not isinstance(job_id, str):
        raise JobError((*path, "job_id"), f"is the id of a job, not {job_id!r}")
    if kind == "max_running":
        count = data.get("count", 1)
        if (
            isinstance(count, bool)
            or not isinstance(count, int | str)
            or (isinstance(count, int) and count < 1)
        ):
            raise JobError((*path, "count"), f"is a whole number above 0, or a template, not {count!r}")
        return MaxRunning(count=count, job_id=job_id, inst=inst, enabled=enabled)
    if job_id is None:
        raise JobError(path, "missing key: job_id")
    args = data.get("args", {})
    if not isinstance(args, Mapping):
        raise JobError((*path, "args"), f"is a mapping of params to values, not {args!r}")
    return Dependency(
        job_id=job_id,
        args={str(k): str(v) for k, v in args.items()},
        states=states_from(data.get("states", "success"), (*path, "states")),
        inst=inst,
        enabled=enabled,
    )


def states_from(data: Any, path: tuple[str | int, ...] = ()) -> frozenset[State]:
    """One or several finished states, as a job file names them.

    Raises:
        JobError: a name is not that of a state in which a run ends.
    """
    names = [data] if isinstance(data, str) else data
    finished = {s.value: s for s in FINISHED}
    if not isinstance(names, list | tuple) or not names:
        raise JobError(path, f"is one or a list of {', '.join(sorted(finished))}, not {data!r}")
    for name in names:
        if name not in finished:
            raise JobError(path, f"no run ends in {name!r}{_suggest(str(name), finished)}")
    return frozenset(finished[n] for n in names)


def bind_enabled(enabled: bool | str, expand: Expand) -> bool:
    """Whether a condition counts: text is true unless it expands to `false`, `False` or nothing."""
    return enabled if isinstance(enabled, bool) else expand(enabled) not in {"", "false", "False"}


def _enabled_dict(enabled: bool | str) -> dict[str, Any]:
    return {} if enabled is True else {"enabled": enabled}


def _inst(data: Any) -> Instance | None:
    return None if data is None else Instance.of(data["job_id"], data["args"])


def _suggest(word: str, known: Any) -> str:
    near = get_close_matches(word, list(known), 1)
    return f": did you mean {near[0]}?" if near else f" (known: {', '.join(sorted(known))})"
