"""A program's world: what it is told, and where it starts. The same however the server was started."""

import json
import os
import pwd
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, assert_never

from apsis_nb.core.params import arg_variable
from apsis_nb.core.programs import Custom, KeptFile, Notebook, Process, PythonCall, SqlQuery, Task
from apsis_nb.core.runs import Run
from apsis_nb.core.times import format_time

from . import runner
from .pythons import find_python
from .supervisor import META, OUT, TMP


@dataclass(frozen=True, slots=True)
class Account:
    """Who a program runs as."""

    name: str
    uid: int
    gid: int
    home: str
    shell: str

    @classmethod
    def own(cls) -> "Account":
        """The account of this process; one that the system does not know lives in `/`."""
        try:
            return cls._of(pwd.getpwuid(os.geteuid()))
        except KeyError:
            return cls(str(os.geteuid()), os.geteuid(), os.getegid(), "/", "/bin/sh")

    @classmethod
    def named(cls, name: str) -> "Account":
        """An account of this machine.

        Raises:
            ValueError: there is none of that name.
        """
        try:
            return cls._of(pwd.getpwnam(name))
        except KeyError:
            raise ValueError(f"this machine has no account '{name}'") from None

    @classmethod
    def _of(cls, entry: pwd.struct_passwd) -> "Account":
        home = entry.pw_dir if os.path.isdir(entry.pw_dir) else "/"
        return cls(entry.pw_name, entry.pw_uid, entry.pw_gid, home, entry.pw_shell or "/bin/sh")

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


def environment(run: Run, process: Process, run_dir: Path, url: str | None) -> dict[str, str]:
    """What a program's job and run put into its environment; it wins over all else.

    Args:
        run: whose program it is.
        process: the program.
        run_dir: its run directory.
        url: where the server answers, if it does.
    """
    whole = dict(process.env)
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
        "APSIS_META_FILE": str(run_dir / TMP / META),
    }
    if run.nominal_at is not None:
        whole["APSIS_NOMINAL_TIME"] = format_time(run.nominal_at)
    if url is not None:
        whole["APSIS_URL"] = url
    return whole


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What is the same for all programs of a server."""

    url: str | None  #: where it answers
    env: Mapping[str, str]  #: of its config
    folder: Path | None  #: of its job files, in which modules may lie
    max_output_b: int  #: bytes of output at which a program is stopped
    own: Account  #: its account
    sudo: Sequence[str] = ()  #: how it runs programs of other accounts, if not by its own right
    #: by folder of jobs the accounts that they may name; that of the nearest folder counts. Empty: any
    accounts: Mapping[str, Sequence[str]] = field(default_factory=dict)


def unknown_accounts(accounts: Mapping[str, Sequence[str]]) -> list[tuple[str, str]]:
    """The folders of a configuration's `accounts` with the names that no account of this machine has."""

    def is_there(name: str) -> bool:
        try:
            Account.named(name)
        except ValueError:
            return False
        return True

    return [(folder, name) for folder, names in accounts.items() for name in names if not is_there(name)]


def _check_account(user: str, job_id: str, accounts: Mapping[str, Sequence[str]]) -> None:
    """Refuse an account that the server's configuration does not give to a job.

    Raises:
        ValueError: it does not.
    """
    if not accounts:
        return
    folder = job_id
    while folder and folder not in accounts:
        folder = folder.rpartition("/")[0]
    if user not in accounts.get(folder, ()):
        raise ValueError(
            f"{job_id} may not use the account {user}: 'accounts' in the configuration says who may"
        )


def spec(run: Run, process: Process, run_dir: Path, world: World, spare: str | None) -> dict[str, Any]:
    """What a supervisor is asked to run.

    Args:
        run: whose program it is.
        process: the program.
        run_dir: its run directory.
        world: of all programs.
        spare: the name of a run directory to be used again.

    Returns:
        `run`: its id · `argv`, `cwd` · `env`, over the variables of `env_file` (if any), over `env_below` ·
        `account` {name, uid, gid, sudo, python}: that it runs as, if not the server's · `task`: text that
        it finds on its standard input, and behind which it may write a line that says why it failed ·
        `pty`: whether it has a terminal · `split`: whether its standard output and error are kept apart ·
        `keep`: the files that are kept, as `supervisor.keep_files` takes them · `memory_b`, `cpu_s`: what
        each of its processes may use · `stop_signal`, `grace_s`, `timeout_s`, `timeout_signal` ·
        `max_output_b` · `spare`.

    Raises:
        ValueError: the program names a signal, an account or a Python that there is not.
    """
    timeout, task = process.timeout, process.task
    account = world.own
    if process.user not in (None, world.own.name):
        _check_account(str(process.user), run.job_id, world.accounts)
        account = Account.named(str(process.user))
    here = run.cwd or account.home
    below = account.environment() | {"PYTHONUNBUFFERED": "1", "TMPDIR": str(run_dir / TMP), **world.env}
    cwd = os.path.join(here, process.cwd) if process.cwd else here
    if isinstance(task, Notebook) and not process.cwd:
        cwd = os.path.dirname(os.path.join(here, task.path))
    argv = list(process.argv) if process.command is None else [process.shell, "-c", process.command]
    if task is not None:
        name = task.python if isinstance(task, PythonCall | Notebook) else None
        python = find_python(name, here, account.home, below)
        argv = [python.executable, runner.__file__]
        below |= python.variables
        if python.folder is not None:
            below["PATH"] = f"{python.folder}:{below['PATH']}"
    return {
        "run": run.run_id,
        "argv": argv,
        "task": None if task is None else json.dumps(_task(task, here, cwd, world.folder)),
        "env": environment(run, process, run_dir, world.url),
        "env_file": None if process.env_file is None else os.path.join(here, process.env_file),
        "env_below": below,
        "cwd": cwd,
        "account": None if account == world.own else _account(account, world.sudo),
        "pty": process.pty,
        "split": process.output.split,
        "keep": [_kept(kept) for kept in process.outputs],
        "memory_b": process.resources.memory_b,
        "cpu_s": process.resources.cpu_time_s,
        "stop_signal": signal_number(process.stop.signal),
        "grace_s": float(process.stop.grace_period_s),
        "timeout_s": None if timeout is None else float(timeout.duration_s),
        "timeout_signal": None if timeout is None else signal_number(timeout.signal),
        "max_output_b": process.output.max_size_b or world.max_output_b,
        "spare": spare,
    }


def _account(account: Account, sudo: Sequence[str]) -> dict[str, Any]:
    facts = {"name": account.name, "uid": account.uid, "gid": account.gid}
    return {**facts, "sudo": list(sudo), "python": _python_for_all()}


@cache
def _python_for_all() -> str:
    """An interpreter that other accounts can use: the server's own, if they can come to it."""
    path = Path(os.path.realpath(sys.executable))
    is_open = all(folder.stat().st_mode & 0o001 for folder in (path, *path.parents))
    return sys.executable if is_open else "/usr/bin/python3"


def _kept(kept: KeptFile) -> dict[str, Any]:
    return {
        "path": kept.path,
        "name": kept.name,
        "required": kept.required,
        "min_bytes": kept.min_bytes,
        "is_new": kept.newer_than is not None,
    }


def _task(task: Task, here: str, cwd: str, folder: Path | None) -> dict[str, Any]:
    """A task as `runner` takes it."""
    path = list(dict.fromkeys([cwd, here] if folder is None else [cwd, here, str(folder)]))
    ours = str(Path(__file__).parents[2])  # should this package not be installed
    match task:
        case Custom():
            return {
                "kind": "class",
                "class": task.type,
                "keys": task.keys,
                "path": path,
                "path_after": [ours],
            }
        case PythonCall():
            told = {"kind": "call", "call": task.call, "args": task.args, "types": task.types}
            return {**told, "path": path, "path_after": []}
        case SqlQuery():
            return {"kind": "sql", "query": task.query, "types": task.types, "path": [], "path_after": []}
        case Notebook():
            return {
                "kind": "notebook",
                "file": os.path.join(here, task.path),
                "parameters": task.parameters,
                "kernel": task.kernel,
                "cell_timeout_s": task.cell_timeout_s,
                "types": task.types,
                "path": [],
                "path_after": [],
            }
        case _:
            assert_never(task)
