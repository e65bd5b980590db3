"""What follows when a run comes to a state, is late or missed, or ends well again."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .errors import JobError
from .fields import Fields, KeyPath, article, choose, noun, read_bool, read_name, read_text_map, suggestion
from .states import State
from .templates import check, expand

ACTION_TYPES = ("schedule",)
_LATER = ("notify", "webhook", "shell")

#: What may be told of a run beside the states that it comes to.
LATE, MISSED, RECOVERED = "late", "missed", "recovered"
_SPECIAL = (LATE, MISSED, RECOVERED)


@dataclass(frozen=True, slots=True)
class When:
    """What an action follows: any of these events, by the names of `if`."""

    events: frozenset[str]  #: names of states, and of what else may be told

    @classmethod
    def of(cls, *events: State | str) -> "When":
        """Any of these."""
        return cls(frozenset(e.value if isinstance(e, State) else e for e in events))

    def first(self, events: Iterable[str]) -> str | None:
        """The first of some events that it is about."""
        return next((event for event in events if event in self.events), None)

    def to_dict(self) -> dict[str, Any]:
        """The form of the job file, which `_when_from` reads back."""
        states = sorted(self.events.difference(_SPECIAL))
        jso: dict[str, Any] = {"states": states} if states else {}
        return jso | {name: True for name in _SPECIAL if name in self.events}

    def __str__(self) -> str:
        return " or ".join(sorted(self.events))


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleAction:
    """Makes a run of another job, for now."""

    job_id: str
    args: Mapping[str, str] = field(
        default_factory=dict
    )  #: templates over the args of the run that came first
    when: When

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
        return jso | {"if": self.when.to_dict()}

    def __str__(self) -> str:
        args = ", ".join(f"{k}={v}" for k, v in self.args.items())
        return f"schedule {self.job_id}({args}) on {self.when}"


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
    when = fields.get_at("if", _when_from)
    fields.done(later=("delay", "count"))
    return ScheduleAction(job_id=job_id, args=args, when=when)


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
    return ScheduleAction(job_id=job_id, args=args, when=When.of(State.SUCCESS))


def _target(fields: Fields) -> tuple[str, dict[str, str]]:
    return fields.get("job_id", read_name), fields.get("args", _read_templates, {})


def _read_templates(value: Any) -> dict[str, str]:
    texts = read_text_map(value)
    for text in texts.values():
        check(text)
    return texts


def _when_from(data: Any, path: KeyPath) -> When:
    if data is None:
        raise JobError(path, "must say when, for example 'if: {states: [success]}'")
    fields = Fields(data, path, "an 'if'")
    states = fields.read_list("states", _state_from)
    flags = {
        LATE: fields.get("late", read_bool, False),
        MISSED: fields.get("missed", read_bool, False),
        RECOVERED: fields.get("recovered", read_bool, False),
    }
    said = [name for name, is_wanted in flags.items() if is_wanted]
    fields.done()
    if not states and not said:
        text = "must name states, or 'late', 'missed' or 'recovered', for example 'if: {states: [success]}'"
        raise JobError(path, text)
    return When.of(*states, *said)


def _state_from(data: Any, path: KeyPath) -> State:
    names = {s.value: s for s in State}
    if not isinstance(data, str) or data not in names:
        hint = suggestion(str(data), names) or f": one of {', '.join(names)}"
        raise JobError(path, f"{noun(data)} is no state{hint}")
    return names[data]
