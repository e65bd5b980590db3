"""What a run executes: the kinds of program, as values. `apsis_nb.programs` really runs them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

#: Turns a template of a job file into the text for one run.
Expand = Callable[[str], str]

Outcome = Literal["success", "failure", "error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """How a program is asked to end."""

    signal: str = "SIGTERM"
    grace_period_s: float = 60.0  #: after which every process that is left gets SIGKILL


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeout:
    """How long a program may run, counted from its start."""

    duration_s: float
    signal: str = "SIGTERM"  #: sent at the end of the duration; SIGKILL follows after the stop's grace period


@dataclass(frozen=True, slots=True, kw_only=True)
class NoOp:
    """Does nothing, for a while."""

    duration_s: float = 0.0
    success: bool = True

    def bind(self, expand: Expand) -> "NoOp":
        return self

    def to_dict(self) -> dict[str, Any]:
        return {"type": "no-op", "duration": self.duration_s, "success": self.success}


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A program of this machine: a command for the shell, or an argument list.

    Exactly one of `command` and `argv` is given.
    """

    command: str | None = None  #: run as `shell -c command`
    argv: tuple[str, ...] = ()
    shell: str = "/bin/bash"
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
        )

    def to_dict(self) -> dict[str, Any]:
        """The form of the job file; `program_from_dict` of `core.jobs` reads it back."""
        jso: dict[str, Any] = {"type": "argv", "argv": list(self.argv)}
        if self.command is not None:
            jso = {"type": "shell", "command": self.command}
            if self.shell != "/bin/bash":
                jso["shell"] = self.shell
        if self.env:
            jso["env"] = dict(self.env)
        if self.cwd is not None:
            jso["cwd"] = self.cwd
        if self.stop != Stop():
            jso["stop"] = {"signal": self.stop.signal, "grace_period": self.stop.grace_period_s}
        if self.timeout is not None:
            jso["timeout"] = {"duration": self.timeout.duration_s, "signal": self.timeout.signal}
        return jso


Program = NoOp | Process
