"""What follows when a run comes to a state, is late or missed, or ends well again."""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple, cast

from .errors import JobError, JobErrors
from .fields import Fields, KeyPath, article, choose, noun, read_bool, read_name, read_text_map, suggestion
from .private import Private, is_name, read_address, read_header, read_secret, read_web_address, secret_in
from .states import State
from .templates import check, expand

ACTION_TYPES = ("schedule", "notify", "webhook", "shell")
Method = Literal["POST", "PUT", "PATCH", "GET"]
METHODS: tuple[Method, ...] = ("POST", "PUT", "PATCH", "GET")
#: The names that the templates of a message may use, beside the args of the run.
MESSAGE_NAMES = (
    "event",
    "text",
    "run_id",
    "job_id",
    "args",
    "state",
    "message",
    "labels",
    "scheduled_at",
    "started_at",
    "finished_at",
    "late_s",
    "elapsed_s",
    "return_code",
    "attempt",
    "output",
    "link",
    "again",
)

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


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifyAction:
    """Sends a message to people."""

    to: tuple[Private, ...]  #: addresses, or names of those that the server's configuration has
    title: str | None = None  #: a template; None: a title that tells job and event
    body: str | None = None  #: the same
    when: When

    def to_dict(self) -> dict[str, Any]:
        """The form of the job file, without secrets; `action_from_dict` reads it back."""
        jso: dict[str, Any] = {"type": "notify", "to": [to.shown for to in self.to]}
        return jso | _texts_dict(title=self.title, body=self.body) | {"if": self.when.to_dict()}

    def __str__(self) -> str:
        return f"notify {', '.join(to.shown for to in self.to)} on {self.when}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookAction:
    """Tells another system, by HTTP."""

    url: Private
    method: Method = "POST"
    headers: Mapping[str, Private] = field(default_factory=dict)
    secret: str | None = None  #: with which the body is signed: a name, `env:NAME` or `file:PATH`
    body: str | None = None  #: a template; None: all that is known, as JSON
    when: When

    def to_dict(self) -> dict[str, Any]:
        """The form of the job file, without secrets; `action_from_dict` reads it back."""
        jso: dict[str, Any] = {"type": "webhook", "url": self.url.shown}
        if self.method != "POST":
            jso["method"] = self.method
        if self.headers:
            jso["headers"] = {name: value.shown for name, value in self.headers.items()}
        return jso | _texts_dict(secret=self.secret, body=self.body) | {"if": self.when.to_dict()}

    def __str__(self) -> str:
        return f"call {self.url} on {self.when}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShellAction:
    """Runs a command on the server's machine, which is told of the run by its environment."""

    command: str
    when: When

    def to_dict(self) -> dict[str, Any]:
        """The form of the job file; `action_from_dict` reads it back."""
        return {"type": "shell", "command": self.command, "if": self.when.to_dict()}

    def __str__(self) -> str:
        first, *more = self.command.strip().splitlines()
        return f"run '{first}{' ...' if more else ''}' on {self.when}"


#: Those that reach somebody outside.
Sending = NotifyAction | WebhookAction | ShellAction
Action = ScheduleAction | Sending


def one_for_each(action: Sending) -> tuple[Sending, ...]:
    """The action once for each whom it reaches: each is tried, and tried again, by itself."""
    if isinstance(action, NotifyAction):
        return tuple(replace(action, to=(to,)) for to in action.to)
    return (action,)


def templates_of(action: Action) -> dict[str, str]:
    """The texts of an action that are expanded when it is sent, by key."""
    match action:
        case NotifyAction():
            return _texts_dict(title=action.title, body=action.body)
        case WebhookAction():
            return _texts_dict(body=action.body)
        case ScheduleAction() | ShellAction():
            return {}


def privates_of(action: Action) -> list[Private]:
    """What in an action may be secret."""
    match action:
        case NotifyAction():
            return list(action.to)
        case WebhookAction():
            return [action.url, *action.headers.values()]
        case ScheduleAction() | ShellAction():
            return []


class Names(NamedTuple):
    """The names that the configuration of a server has for actions."""

    addresses: Collection[str] = ()
    secrets: Collection[str] = ()


def unknown_names(action: Action, names: Names) -> list[tuple[str, str]]:
    """The names in an action that the configuration has not: the key where each stands, and a sentence."""
    asked: list[tuple[str, str, str, Collection[str]]] = []
    match action:
        case NotifyAction():
            asked = [("to", to.shown, "notify", names.addresses) for to in action.to if to.is_name]
        case WebhookAction():
            said = [("url", action.url.shown), ("secret", action.secret)]
            said += [("headers", secret_in(value.shown)) for value in action.headers.values()]
            asked = [(key, name, "secrets", names.secrets) for key, name in said if name and is_name(name)]
        case ScheduleAction() | ShellAction():
            pass
    unknown = [part for part in asked if part[1] not in part[3]]
    return [(key, not_configured(name, section, known)) for key, name, section, known in unknown]


def not_configured(name: str, section: str, known: Iterable[str]) -> str:
    """What to say of a name that the server's configuration has not under a key."""
    return f"there is no '{name}' under '{section}' in the server's configuration{suggestion(name, known)}"


def _texts_dict(**texts: str | None) -> dict[str, str]:
    return {name: text for name, text in texts.items() if text is not None}


def action_from_dict(data: Any, path: KeyPath = ()) -> Action:
    """The action that a mapping of a job file (or `to_dict`) tells.

    Args:
        data: a mapping with `type`.
        path: where it stands in the job file, for errors.

    Raises:
        JobError, JobErrors: what is wrong, and what would be right.
    """
    kind = choose(data, path, "action", ACTION_TYPES)
    fields = Fields(data, path, f"{article(kind)} action")
    fields.get("type", str)
    match kind:
        case "notify":
            return _notify_from(fields)
        case "webhook":
            return _webhook_from(fields)
        case "shell":
            command = fields.get("command", read_name)
            when = fields.get_at("if", _when_from)
            fields.done()
            return ShellAction(command=command, when=when)
    job_id, args = _target(fields)
    when = fields.get_at("if", _when_from)
    fields.done(later=("delay", "count"))
    return ScheduleAction(job_id=job_id, args=args, when=when)


def _notify_from(fields: Fields) -> NotifyAction:
    to = fields.get_at("to", _addresses_from)
    title = fields.get("title", _read_template, None)
    body = fields.get("body", _read_template, None)
    when = fields.get_at("if", _when_from)
    fields.done()
    return NotifyAction(to=to, title=title, body=body, when=when)


def _webhook_from(fields: Fields) -> WebhookAction:
    url = fields.get("url", read_web_address)
    method = fields.get("method", _read_method, "POST")
    headers = fields.get("headers", _read_headers, {})
    secret = fields.get("secret", read_secret, None)
    body = fields.get("body", _read_template, None)
    when = fields.get_at("if", _when_from)
    fields.done()
    return WebhookAction(url=url, method=method, headers=headers, secret=secret, body=body, when=when)


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


def _addresses_from(data: Any, path: KeyPath) -> tuple[Private, ...]:
    many = isinstance(data, list | tuple)
    found, errors = [], []
    for n, item in enumerate(data if many else [data]):
        try:
            found.append(read_address(item))
        except ValueError as error:
            errors.append(JobError((*path, n) if many else path, str(error)))
    if not (found or errors):
        errors.append(JobError(path, "must name one or more"))
    if errors:
        raise JobErrors("'to'", errors)
    return tuple(dict.fromkeys(found))


def _read_template(value: Any) -> str:
    text = read_name(value)
    check(text)
    return text


def _read_method(value: Any) -> Method:
    if value not in METHODS:
        raise ValueError(f"must be one of {', '.join(METHODS)}, not {noun(value)}")
    return cast(Method, value)


def _read_headers(value: Any) -> dict[str, Private]:
    texts = read_text_map(value)
    for name, text in texts.items():
        if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name):
            raise ValueError(f"'{name}' is no name of a header")
        if re.search(r"[\r\n\0]", text):
            raise ValueError(f"'{name}' must be one line")
    return {name: read_header(text) for name, text in texts.items()}


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
