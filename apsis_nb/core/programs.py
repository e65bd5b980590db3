"""What a run executes: the kinds of program, as values. `apsis_nb.programs` really runs them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from signal import Signals
from typing import Any, Literal, TypeVar

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
    within,
)
from .templates import check
from .times import parse_duration

T = TypeVar("T")

#: Turns a template of a job file into the text for one run.
Expand = Callable[[str], str]

Outcome = Literal["success", "failure", "error"]

SHELL = "/bin/bash"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """How a program is asked to end. Either may be a template until it is bound."""

    signal: str = "SIGTERM"
    grace_period_s: float | str = 60.0  #: after which every process that is left gets SIGKILL

    def bind(self, expand: Expand) -> "Stop":
        bound = Stop(
            signal=_bound(self.signal, _read_signal, "stop.signal", expand),
            grace_period_s=_bound(self.grace_period_s, _read_grace_period, "stop.grace_period", expand),
        )
        return self if bound == self else bound  # the runs of a job share one

    def to_dict(self) -> dict[str, Any]:
        return {"signal": self.signal, "grace_period": self.grace_period_s}


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeout:
    """How long a program may run, counted from its start. Either may be a template until it is bound."""

    duration_s: float | str
    signal: str = "SIGTERM"  #: sent at the end of the duration; SIGKILL follows after the stop's grace period

    def bind(self, expand: Expand) -> "Timeout":
        return Timeout(
            duration_s=_bound(self.duration_s, _read_length, "timeout.duration", expand),
            signal=_bound(self.signal, _read_signal, "timeout.signal", expand),
        )

    def to_dict(self) -> dict[str, Any]:
        return {"duration": self.duration_s, "signal": self.signal}


@dataclass(frozen=True, slots=True, kw_only=True)
class NoOp:
    """Does nothing, for a while."""

    duration_s: float | str = 0.0  #: a template until it is bound
    success: bool | None = True  #: None: it ends in error

    @property
    def end(self) -> tuple[Outcome, str | None]:
        """How it ends, and with what message."""
        if self.success is None:
            return "error", "error"
        return ("success", None) if self.success else ("failure", "failed")

    def bind(self, expand: Expand) -> "NoOp":
        return replace(self, duration_s=_bound(self.duration_s, _read_pause, "duration", expand))

    def to_dict(self) -> dict[str, Any]:
        return {"type": "no-op", "duration": self.duration_s, "success": self.success}


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A program of this machine: a command for the shell, or an argument list.

    Exactly one of `command` and `argv` is given.
    """

    command: str | None = None  #: run as `shell -c command`
    argv: tuple[str, ...] = ()
    shell: str = SHELL
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str | None = None  #: absolute, or relative to the job file's folder
    stop: Stop = Stop()
    timeout: Timeout | None = None

    def bind(self, expand: Expand) -> "Process":
        """The same program with every template expanded."""
        return replace(
            self,
            command=None if self.command is None else expand(self.command),
            argv=tuple(expand(a) for a in self.argv),
            env={k: expand(v) for k, v in self.env.items()},
            cwd=None if self.cwd is None else expand(self.cwd),
            stop=self.stop.bind(expand),
            timeout=None if self.timeout is None else self.timeout.bind(expand),
        )

    def to_dict(self) -> dict[str, Any]:
        """The form of the job file; `program_from_dict` reads it back."""
        jso: dict[str, Any] = {"type": "argv", "argv": list(self.argv)}
        if self.command is not None:
            jso = {"type": "shell", "command": self.command}
            if self.shell != SHELL:
                jso["shell"] = self.shell
        if self.env:
            jso["env"] = dict(self.env)
        if self.cwd is not None:
            jso["cwd"] = self.cwd
        if self.stop != Stop():
            jso["stop"] = self.stop.to_dict()
        if self.timeout is not None:
            jso["timeout"] = self.timeout.to_dict()
        return jso


Program = NoOp | Process


# -- from the job file

PROGRAM_TYPES = ("no-op", "shell", "argv", "program", "procstar", "procstar-shell")
_LATER = ("python", "notebook", "sql", "dask", "stats", "archive", "backup", "doctor", "procstar-ecs")
_PROCESS_LATER = ("user", "sudo_user", "host", "env_file", "pty", "output", "python", "split", "resources")

_CENTURY_S = 100 * 365.25 * 86400
#: Stands for "never" where Apsis's job files have null.
_NEVER_S = 10 * 365 * 86400.0


def program_from_dict(data: Any, path: KeyPath = (), *, is_bound: bool = False) -> Program:
    """The program that a job file (or `to_dict`) tells.

    Args:
        data: a mapping with `type`; or a text, a command for the shell; or a list, the args of a program.
        path: where it stands in the job file, for errors.
        is_bound: it is that of a run: what looks like a template in it is text that came out of one.

    Raises:
        JobError, JobErrors: what is wrong, and what would be right.
    """
    text = read_program_text if is_bound else read_template
    try:
        if isinstance(data, str):
            return Process(command=_command(text)(data))
        if isinstance(data, list | tuple):
            return Process(argv=_argv(text)(data))
    except (ValueError, BindError) as error:
        raise JobError(path, str(error)) from None
    kind = choose(data, path, "program", PROGRAM_TYPES, later=_LATER)
    fields = Fields(data, path, f"{article(kind)} program")
    fields.get("type", str)
    if kind == "no-op":
        duration_s = fields.get("duration", _or_template(_read_pause), 0.0)
        success = fields.get("success", lambda value: None if value is None else read_bool(value), True)
        fields.done()
        return NoOp(duration_s=duration_s, success=success)
    command: str | None = None
    argv: tuple[str, ...] = ()
    shell = SHELL
    if kind in {"shell", "procstar-shell"}:
        command = fields.get("command", _command(text))
        shell = fields.get("shell", read_name, SHELL)
    else:
        argv = fields.get("argv", _argv(text))
    env = fields.get("env", _texts(text), {})
    cwd = fields.get("cwd", text, None)
    stop = fields.get_at("stop", _stop_from, Stop())
    timeout = fields.get_at("timeout", _timeout_from, None)
    if kind.startswith("procstar"):
        fields.get("group_id", _read_group, "default")
    if "resources" in data and not data["resources"]:
        fields.get("resources", dict)
    fields.done(later=_PROCESS_LATER)
    return Process(command=command, argv=argv, shell=shell, env=env, cwd=cwd, stop=stop, timeout=timeout)


def _stop_from(data: Any, path: KeyPath) -> Stop:
    fields = Fields(data, path, "'stop'")
    signal = fields.get("signal", _or_template(_read_signal), Stop().signal)
    grace_period_s = fields.get("grace_period", _or_template(_read_grace_period), Stop().grace_period_s)
    fields.done()
    return Stop(signal=signal, grace_period_s=grace_period_s)


def _timeout_from(data: Any, path: KeyPath) -> Timeout | None:
    if data is None:
        return None
    if not isinstance(data, Mapping):
        return Timeout(duration_s=_or_template(_read_length)(data))
    fields = Fields(data, path, "'timeout'")
    duration_s = fields.get("duration", _or_template(_read_length))
    signal = fields.get("signal", _or_template(_read_signal), "SIGTERM")
    fields.done()
    return Timeout(duration_s=duration_s, signal=signal)


def _command(text: Callable[[Any], str]) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if not isinstance(value, str) or not value.strip():
            raise ValueError(f"must be a command, not {noun(value)}")
        return text(value)

    return read


def _argv(text: Callable[[Any], str]) -> Callable[[Any], tuple[str, ...]]:
    def read(value: Any) -> tuple[str, ...]:
        if not isinstance(value, list | tuple):
            raise ValueError(
                f"must be a list of args, not {noun(value)}; for a command line use 'type: shell'"
            )
        if not value:
            raise ValueError("must name a program, not be empty")
        return tuple(text(item) for item in value)

    return read


def _texts(text: Callable[[Any], str]) -> Callable[[Any], dict[str, str]]:
    return lambda value: {name: text(item) for name, item in read_text_map(value).items()}


def read_program_text(value: Any) -> str:
    """Text for a program, as it is.

    Raises:
        ValueError: it is no text, or holds what no program can be given.
    """
    text = read_text(value)
    if "\0" in text:
        raise ValueError("must not hold a NUL character")
    return text


def read_template(value: Any) -> str:
    """Text for a program, which may be a template.

    Raises:
        ValueError, BindError: it is no such text, or its syntax is wrong.
    """
    text = read_program_text(value)
    check(text)
    return text


read_templates = _texts(read_template)


def _or_template(read: Callable[[Any], T]) -> Callable[[Any], T | str]:
    """A reader that leaves a template for later, when it is bound."""

    def either(value: Any) -> T | str:
        return read_template(value) if isinstance(value, str) and "{" in value else read(value)

    return either


def _bound(value: T | str, read: Callable[[Any], T], what: str, expand: Expand) -> T | str:
    """What a template comes to; what was no template stays.

    Raises:
        BindError: it comes to nothing that `read` takes.
    """
    if not isinstance(value, str) or "{" not in value:
        return value
    try:
        return read(expand(value))
    except ValueError as error:
        raise BindError(f"{what}: {error}") from None


_read_pause = within(lambda value: 0.0 if value is None else parse_duration(value), least=0, most=_CENTURY_S)
_read_length = within(parse_duration, above=0, most=_CENTURY_S)
_read_grace_period = within(
    lambda value: _NEVER_S if value is None else parse_duration(value), least=0, most=_CENTURY_S
)


def _read_signal(value: Any) -> str:
    """The full name of a signal: SIGTERM."""
    names = [s.name for s in Signals]
    if isinstance(value, str) and value.isdecimal():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        if value in list(Signals):
            return Signals(value).name
    elif isinstance(value, str):
        name = value if value.startswith("SIG") else f"SIG{value}"
        if name in names:
            return name
        raise ValueError(f"'{value}' is no signal{suggestion(name, names)}")
    raise ValueError(f"must be the name of a signal such as SIGTERM, not {noun(value)}")


def _read_group(value: Any) -> str:
    group = read_text(value)
    if group not in {"default", "local"}:
        raise ValueError(f"'{group}' is not mapped to a host: only 'default' is, to this machine")
    return group
