"""The kinds of program, as values: what a job file says, and, once it is bound, what one run executes."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from .amounts import read_gigabytes, read_grace_period, read_length, read_pause, read_signal
from .hosts import ECS_HOST
from .outputs import MERGED, KeptFile, Output
from .texts import Expand, bound, expanded

Outcome = Literal["success", "failure", "error"]

SHELL = "/bin/bash"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """How a program is asked to end. Either may be a template until it is bound."""

    signal: str = "SIGTERM"
    grace_period_s: float | str = 60.0  #: after which every process that is left gets SIGKILL

    def bind(self, expand: Expand) -> "Stop":
        made = Stop(
            signal=bound(self.signal, read_signal, "stop.signal", expand),
            grace_period_s=bound(self.grace_period_s, read_grace_period, "stop.grace_period", expand),
        )
        return self if made == self else made  # the runs of a job share one

    def to_dict(self) -> dict[str, Any]:
        return {"signal": self.signal, "grace_period": self.grace_period_s}


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeout:
    """How long a program may run, counted from its start. Either may be a template until it is bound."""

    duration_s: float | str
    signal: str = "SIGTERM"  #: sent at the end of the duration; SIGKILL follows after the stop's grace period

    def bind(self, expand: Expand) -> "Timeout":
        return Timeout(
            duration_s=bound(self.duration_s, read_length, "timeout.duration", expand),
            signal=bound(self.signal, read_signal, "timeout.signal", expand),
        )

    def to_dict(self) -> dict[str, Any]:
        return {"duration": self.duration_s, "signal": self.signal}


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What a program may use."""

    memory_b: int | None = None  #: of each of its processes, bytes; None: no bound
    cpu_time_s: float | None = None  #: of each of its processes, whole seconds; None: no bound

    def to_dict(self) -> dict[str, Any]:
        """The form of the job file."""
        said = {"memory": self.memory_b, "cpu_time": self.cpu_time_s}
        return {name: value for name, value in said.items() if value is not None}


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
        return replace(self, duration_s=bound(self.duration_s, read_pause, "duration", expand))

    def to_dict(self) -> dict[str, Any]:
        return {"type": "no-op", "duration": self.duration_s, "success": self.success}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ecs:
    """What a program of type `procstar-ecs` asks of the cloud; a machine of one's own does not need it.

    Each may be a template until it is bound.
    """

    mem_gb: float | str | None = None
    vcpu: float | str | None = None
    disk_gb: float | str | None = None
    role: str | None = None
    task_definition: str | None = None

    def bind(self, expand: Expand) -> "Ecs":
        sizes = {
            name: bound(getattr(self, name), read_gigabytes, name, expand)
            for name in ("mem_gb", "vcpu", "disk_gb")
        }
        return Ecs(
            **sizes,
            role=None if self.role is None else expand(self.role),
            task_definition=None if self.task_definition is None else expand(self.task_definition),
        )

    def to_dict(self) -> dict[str, Any]:
        said = {
            name: getattr(self, name) for name in ("mem_gb", "vcpu", "disk_gb", "role", "task_definition")
        }
        return {name: value for name, value in said.items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Custom:
    """A class of the user's own: an object of it is made from its keys, and run."""

    type: str  #: its import path: package.module.Class
    keys: Mapping[str, Any] = field(default_factory=dict)  #: for its constructor; templates until it is bound

    def bind(self, expand: Expand) -> "Custom":
        return replace(self, keys=expanded(self.keys, expand))

    def to_dict(self) -> dict[str, Any]:
        return {"type": self.type, **self.keys}


@dataclass(frozen=True, slots=True, kw_only=True)
class PythonCall:
    """A call of a Python function, in an interpreter that may be another than the server's."""

    call: str  #: module:function
    args: Mapping[str, Any] = field(
        default_factory=dict
    )  #: beside those of the run; templates until it is bound
    python: str | None = None  #: interpreter, environment or name of one; None: the server's own
    types: Mapping[str, str] = field(
        default_factory=dict
    )  #: of the run's args, but for texts; once it is bound

    def bind(self, expand: Expand) -> "PythonCall":
        python = None if self.python is None else expand(self.python)
        return replace(self, call=expand(self.call), args=expanded(self.args, expand), python=python)

    def to_dict(self) -> dict[str, Any]:
        jso: dict[str, Any] = {"type": "python", "call": self.call}
        if self.args:
            jso["args"] = dict(self.args)
        if self.python is not None:
            jso["python"] = self.python
        return jso | ({"types": dict(self.types)} if self.types else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlQuery:
    """A query over files."""

    query: str  #: in DuckDB's SQL; $NAME is an arg of the run
    types: Mapping[str, str] = field(
        default_factory=dict
    )  #: of the run's args, but for texts; once it is bound

    def bind(self, expand: Expand) -> "SqlQuery":
        return replace(self, query=expand(self.query))

    def to_dict(self) -> dict[str, Any]:
        return {"type": "sql", "query": self.query} | ({"types": dict(self.types)} if self.types else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Notebook:
    """A Jupyter notebook, run from its first cell to its last."""

    path: str  #: absolute, or relative to the job file's folder
    #: beside the args of the run; templates until it is bound
    parameters: Mapping[str, Any] = field(default_factory=dict)
    kernel: str | None = None  #: name of a kernel; None: the one that the notebook names
    cell_timeout_s: float | None = None  #: how long a cell may run; None: for ever
    python: str | None = (
        None  #: that has nbclient: interpreter, environment or name of one; None: the server's
    )
    types: Mapping[str, str] = field(
        default_factory=dict
    )  #: of the run's args, but for texts; once it is bound

    def bind(self, expand: Expand) -> "Notebook":
        return replace(
            self,
            path=expand(self.path),
            parameters=expanded(self.parameters, expand),
            kernel=None if self.kernel is None else expand(self.kernel),
            python=None if self.python is None else expand(self.python),
        )

    def to_dict(self) -> dict[str, Any]:
        jso: dict[str, Any] = {"type": "notebook", "path": self.path}
        if self.parameters:
            jso["parameters"] = dict(self.parameters)
        for name, value in (
            ("kernel", self.kernel),
            ("cell_timeout", self.cell_timeout_s),
            ("python", self.python),
        ):
            if value is not None:
                jso[name] = value
        return jso | ({"types": dict(self.types)} if self.types else {})


#: What runs in an interpreter, instead of a command.
Task = Custom | PythonCall | SqlQuery | Notebook


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A program with a process of its own: a command for the shell, an argument list, or a task.

    Exactly one of `command`, `argv` and `task` is given.
    """

    command: str | None = None  #: run as `shell -c command`
    argv: tuple[str, ...] = ()
    task: Task | None = None
    shell: str = SHELL
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str | None = None  #: absolute, or relative to the job file's folder
    host: str | None = None  #: a name that the server's configuration maps; None: this machine
    user: str | None = None  #: the account that it runs as; None: the server's
    env_file: str | None = None  #: of further variables; relative as `cwd`
    pty: bool = False  #: it has a terminal
    stop: Stop = Stop()
    timeout: Timeout | None = None
    resources: Resources = Resources()
    output: Output = MERGED
    outputs: tuple[KeptFile, ...] = ()  #: further ones
    ecs: Ecs | None = None  #: given: it is of type `procstar-ecs`

    @property
    def host_name(self) -> str | None:
        """The name of its machine in the server's configuration; None: this machine."""
        return self.host if self.ecs is None else ECS_HOST

    def bind(self, expand: Expand) -> "Process":
        """The same program with every template expanded."""
        return replace(
            self,
            command=None if self.command is None else expand(self.command),
            argv=tuple(expand(a) for a in self.argv),
            task=None if self.task is None else self.task.bind(expand),
            env={k: expand(v) for k, v in self.env.items()},
            cwd=None if self.cwd is None else expand(self.cwd),
            host=None if self.host is None else expand(self.host),
            user=None if self.user is None else expand(self.user),
            env_file=None if self.env_file is None else expand(self.env_file),
            stop=self.stop.bind(expand),
            timeout=None if self.timeout is None else self.timeout.bind(expand),
            outputs=tuple(kept.bind(expand) for kept in self.outputs),
            ecs=None if self.ecs is None else self.ecs.bind(expand),
        )

    def with_types(self, types: Mapping[str, str]) -> "Process":
        """The same, knowing the types of the args of its run, by name."""
        if not isinstance(self.task, PythonCall | SqlQuery | Notebook):
            return self
        told = {name: kind for name, kind in types.items() if kind not in ("str", "choice")}
        return replace(self, task=replace(self.task, types=told))

    def to_dict(self) -> dict[str, Any]:
        """The form of the job file; `program_from_dict` reads it back."""
        jso: dict[str, Any] = {"type": "argv", "argv": list(self.argv)}
        if self.task is not None:
            jso = self.task.to_dict()
        elif self.command is not None:
            jso = {"type": "shell", "command": self.command}
        if self.ecs is not None:
            jso |= {"type": "procstar-ecs", **self.ecs.to_dict()}
        if self.command is not None and self.shell != SHELL:
            jso["shell"] = self.shell
        if self.env:
            jso["env"] = dict(self.env)
        if self.env_file is not None:
            jso["env_file"] = self.env_file
        if self.cwd is not None:
            jso["cwd"] = self.cwd
        if self.host is not None and self.ecs is None:
            jso["host"] = self.host
        if self.user is not None:
            jso["user"] = self.user
        if self.pty:
            jso["pty"] = True
        if self.stop != Stop():
            jso["stop"] = self.stop.to_dict()
        if self.timeout is not None:
            jso["timeout"] = self.timeout.to_dict()
        if self.resources != Resources():
            jso["resources"] = self.resources.to_dict()
        if self.output != MERGED:
            jso["output"] = self.output.to_dict()
        if self.outputs:
            jso["outputs"] = [kept.to_dict() for kept in self.outputs]
        return jso


InternalType = Literal["doctor", "stats", "retention", "backup", "archive"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Internal:
    """Work that the server does itself, of the type that it has in a job file."""

    type: InternalType
    to: str | None = None  #: of a backup: the folder, absolute; None: the server's own
    keep: int | None = None  #: of a backup: how many there, the newest; None: all
    older_than_s: float | None = None  #: of an archive: how long ago a month ended; None: as the server says

    def bind(self, expand: Expand) -> "Internal":
        """The same: it has no templates."""
        return self

    def to_dict(self) -> dict[str, Any]:
        """The form of the job file."""
        said = {"type": self.type, "to": self.to, "keep": self.keep, "older_than": self.older_than_s}
        return {name: value for name, value in said.items() if value is not None}


Program = NoOp | Process | Internal
