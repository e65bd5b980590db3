"""Ends what a lost supervisor left behind: the processes of its program."""

import contextlib
import os
import signal
import time
from pathlib import Path

from .rundir import Started
from .supervisor import KILL_PATIENCE_S, stat_of

#: Two starts of a process closer than this, in seconds, are one: no process id comes back as fast.
_SAME_S = 1.0


def end_remains(run_dir: Path, started: Started | None) -> None:
    """SIGKILL to every process of a run whose supervisor is gone. Blocks until they are, or patience ends.

    A process is the run's if its environment names the run directory, which no other run has, or if it is of
    the session that the program led, as long as its leader is there to prove that the session is that one.

    Args:
        run_dir: the run's directory; of this boot of the machine.
        started: what is known of the program.
    """
    patience_ends = time.monotonic() + KILL_PATIENCE_S
    session = started.pid if started is not None and _is_same(started) else None
    while time.monotonic() < patience_ends:
        remains = _remains(run_dir, session)
        if not remains:
            return
        for pid in remains:
            with contextlib.suppress(OSError):  # gone meanwhile, or not ours to kill
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)  # between two looks; there is nothing of another's children to wait on


def _remains(run_dir: Path, session: int | None) -> list[int]:
    mark = b"APSIS_RUN_DIR=" + os.fsencode(run_dir)
    found = []
    for name in os.listdir("/proc"):
        if not name.isdecimal() or int(name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            stat = stat_of(int(name))
            if stat.state != b"Z" and (stat.session == session or mark in _environment(int(name))):
                found.append(int(name))
    return found


def _is_same(started: Started) -> bool:
    """Whether the process that led the session is still there, and no later one of the same id."""
    try:
        return abs(stat_of(started.pid).uptime_s - started.uptime_s) < _SAME_S
    except OSError:
        return False


def _environment(pid: int) -> list[bytes]:
    with open(f"/proc/{pid}/environ", "rb") as file:
        return file.read().split(b"\0")
