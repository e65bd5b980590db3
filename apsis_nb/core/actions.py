"""What follows when a run comes to a state."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .errors import JobError
from .fields import Fields, KeyPath, article, choose, noun, read_name, read_text_map, suggestion
from .states import State
from .templates import check, expand

ACTION_TYPES = ("schedule",)
_LATER = ("notify", "webhook", "shell")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleAction:
    """Makes a run of another job, for now."""

    job_id: str
    args: Mapping[str, str] = field(
        default_factory=dict
    )  #: templates over the args of the run that came first
    states: frozenset[State]  #: in which that run must come

    def expanded(self, args: Mapping[str, str]) -> dict[str, str]:
        """Its args with the templates expanded; nothing but `args` is visible to them.

        Raises:
            BindError: a template fails.
        """
        return {name: expand(text, args) for name, text in self.args.items()}

    def to_dict(self) -> dict[str, Any]:
        """The form of the job file; `action_from_dict` reads it back."""
        jso: dict[str, Any] = {"type": "schedule", "job_id": self.job_id}
        if self.args:
            jso["args"] = dict(self.args)
        return jso | {"if": {"states": sorted(s.value for s in self.states)}}

    def __str__(self) -> str:
        args = ", ".join(f"{k}={v}" for k, v in self.args.items())
        return f"schedule {self.job_id}({args}) on {' or '.join(sorted(s.value for s in self.states))}"


Action = ScheduleAction


def action_from_dict(data: Any, path: KeyPath = ()) -> Action:
    """The action that a mapping of a job file (or `to_dict`) tells.

    Args:
        data: a mapping with `type`.
        path: where it stands in the job file, for errors.

    Raises:
        JobError, JobErrors: what is wrong, and what would be right.
    """
    kind = choose(data, path, "action", ACTION_TYPES, later=_LATER)
    fields = Fields(data, path, f"{article(kind)} action")
    fields.get("type", str)
    job_id, args = _target(fields)
    states = fields.get_at("if", _states_from)
    fields.done(later=("delay", "count"))
    return ScheduleAction(job_id=job_id, args=args, states=states)


def successor_from(data: Any, path: KeyPath = ()) -> Action:
    """The action that an item of `successors` tells: a job id, or a mapping of `job_id` and `args`.

    Raises:
        JobError, JobErrors: what is wrong.
    """
    if isinstance(data, str):
        data = {"job_id": data}
    fields = Fields(data, path, "a successor")
    job_id, args = _target(fields)
    fields.done()
    return ScheduleAction(job_id=job_id, args=args, states=frozenset({State.SUCCESS}))


def _target(fields: Fields) -> tuple[str, dict[str, str]]:
    return fields.get("job_id", read_name), fields.get("args", _read_templates, {})


def _read_templates(value: Any) -> dict[str, str]:
    texts = read_text_map(value)
    for text in texts.values():
        check(text)
    return texts


def _states_from(data: Any, path: KeyPath) -> frozenset[State]:
    if data is None:
        raise JobError(path, "must say when, for example 'if: {states: [success]}'")
    fields = Fields(data, path, "an 'if'")
    states = fields.read_list("states", _state_from)
    if not states and not fields.errors:
        fields.fail("must name the states, for example 'if: {states: [success]}'")
    fields.done(later=("late", "missed", "recovered"))
    return frozenset(states)


def _state_from(data: Any, path: KeyPath) -> State:
    names = {s.value: s for s in State}
    if not isinstance(data, str) or data not in names:
        hint = suggestion(str(data), names) or f": one of {', '.join(names)}"
        raise JobError(path, f"{noun(data)} is no state{hint}")
    return names[data]
