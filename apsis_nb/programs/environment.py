"""A program's world: what it is told, and where it starts. The same however the server was started."""

import json
import os
import pwd
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apsis_nb.core.params import arg_variable
from apsis_nb.core.programs import Custom, Process
from apsis_nb.core.runs import Run
from apsis_nb.core.times import format_time

from . import runner
from .supervisor import OUT, TMP


@dataclass(frozen=True, slots=True)
class Account:
    """Who the programs run as."""

    name: str
    home: str
    shell: str

    @classmethod
    def own(cls) -> "Account":
        """The account of this process; one that the system does not know lives in `/`."""
        try:
            entry = pwd.getpwuid(os.geteuid())
        except KeyError:
            return cls(str(os.geteuid()), "/", "/bin/sh")
        home = entry.pw_dir if os.path.isdir(entry.pw_dir) else "/"
        return cls(entry.pw_name, home, entry.pw_shell or "/bin/sh")

    def environment(self) -> dict[str, str]:
        """What a fresh log-in of the account would have."""
        path = "/usr/local/bin:/usr/bin:/bin"
        own = os.path.join(self.home, ".local", "bin")
        return {
            "HOME": self.home,
            "USER": self.name,
            "LOGNAME": self.name,
            "SHELL": self.shell,
            "PATH": f"{own}:{path}" if os.path.isdir(own) else path,
            "LANG": "C.UTF-8",
        }


def signal_number(text: str) -> int:
    """The number of a signal: `SIGUSR1`, `USR1` or `10`.

    Raises:
        ValueError: there is no such signal.
    """
    name = text.strip().upper()
    if name.isdecimal():
        if int(name) in signal.valid_signals():
            return int(name)
    else:
        found = signal.Signals.__members__.get(name if name.startswith("SIG") else f"SIG{name}")
        if found is not None:
            return int(found)
    raise ValueError(f"unknown signal {text!r}: a name such as SIGTERM or USR1, or a number")


def environment(
    run: Run,
    process: Process,
    run_dir: Path,
    login: Mapping[str, str],
    env: Mapping[str, str],
    url: str | None,
) -> dict[str, str]:
    """The whole environment of a run's program.

    Args:
        run: whose program it is.
        process: the program.
        run_dir: its run directory.
        login: what a fresh log-in has.
        env: of the server's config; wins over `login`, and the program's own over both.
        url: where the server answers, if it does.
    """
    whole = {**login, "PYTHONUNBUFFERED": "1", "TMPDIR": str(run_dir / TMP), **env, **process.env}
    whole |= {arg_variable(name): value for name, value in run.args.items()}
    whole |= {
        "APSIS_RUN_ID": run.name,
        "APSIS_JOB_ID": run.job_id,
        "APSIS_ARGS": run.inst.args_json,
        "APSIS_LABELS": json.dumps(run.labels, ensure_ascii=False),
        "APSIS_SCHEDULED_TIME": format_time(run.scheduled_at),
        "APSIS_ATTEMPT": str(run.attempt),
        "APSIS_RUN_DIR": str(run_dir),
        "APSIS_OUTPUT_DIR": str(run_dir / OUT),
    }
    if run.nominal_at is not None:
        whole["APSIS_NOMINAL_TIME"] = format_time(run.nominal_at)
    if url is not None:
        whole["APSIS_URL"] = url
    return whole


def spec(
    run: Run,
    process: Process,
    env: Mapping[str, str],
    home: str,
    folder: Path | None,
    max_output_b: int,
    spare: str | None,
) -> dict[str, Any]:
    """What a supervisor is asked to run, as `supervisor.Supervisor` takes it.

    Args:
        run: whose program it is.
        process: the program.
        env: its whole environment.
        home: where one starts that has no folder.
        folder: of the server's job files, in which modules may lie.
        max_output_b: bytes of output at which it is stopped.
        spare: the name of a run directory to be used again.

    Raises:
        ValueError: the program names a signal that does not exist, or an account that is not ours.
    """
    timeout, task = process.timeout, process.task
    argv = list(process.argv) if process.command is None else [process.shell, "-c", process.command]
    if process.user not in (None, Account.own().name):
        raise ValueError(f"programs of another account are not supported yet: '{process.user}'")
    return {
        "run": run.run_id,
        "argv": argv if task is None else [sys.executable, runner.__file__],
        "task": None if task is None else json.dumps(_task(task, folder)),
        "env": dict(env),
        "cwd": os.path.join(run.cwd or home, process.cwd or ""),
        "stop_signal": signal_number(process.stop.signal),
        "grace_s": float(process.stop.grace_period_s),
        "timeout_s": None if timeout is None else float(timeout.duration_s),
        "timeout_signal": None if timeout is None else signal_number(timeout.signal),
        "max_output_b": max_output_b,
        "spare": spare,
    }


def _task(task: Custom, folder: Path | None) -> dict[str, Any]:
    """A task as `runner` takes it."""
    return {
        "class": task.type,
        "keys": task.keys,
        "path": [] if folder is None else [str(folder)],
        # Where this package lies, should it not be installed.
        "path_after": [str(Path(__file__).parents[2])],
    }
