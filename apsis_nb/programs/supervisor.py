"""The process between the server and a program: it outlives the server, waits, and writes the true end down.

Run as a script (`python -I -S supervisor.py SOCKET ROOT`) this file is the warm spawner: it forks a
supervisor for each message that it receives. It needs the standard library alone and nothing of `apsis_nb`,
so that it starts fast, stays small, and can be sent to another machine as it is.

Run as another account (`become`, `finish`, `kill N PID...`) it does what the supervisor may not do itself.

A supervisor claims the run by making its run directory, spawns the program, takes commands from a pipe in
that directory, and writes down how it ends. It holds a lock on its record as long as it lives: who wants to
know whether it lives asks the lock, never a process id. What it tells over the socket is only the quick way
to hear what the record says.
"""

import contextlib
import errno
import fcntl
import functools
import gc
import glob
import json
import math
import os
import resource
import select
import signal
import socket
import stat
import struct
import sys
import termios
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, NoReturn

#: Version of what stands in a run directory. A change that this release's reader could misread raises it.
FORMAT = 2

#: The names in a run directory.
RECORD = "record.jsonl"  # the supervisor's, locked while it lives; a line each: `claimed`, `started`, `ended`
CONTROL = "control"  # pipe: `stop` or `signal N`, a line each
OUT = "out"  # the program's: its outputs
OUTPUT = "output"  # in OUT: its standard output and error, in the order in which they came
STDOUT, STDERR = "stdout", "stderr"  # in OUT, instead, for a program that has them apart
TMP = "tmp"  # the program's: scratch
META = "meta.json"  # in TMP: what the program says of itself

#: Prefix of a run directory that is being made: `.new-rID-PID-...`, of the supervisor's process id.
NEW = ".new-"

#: The longest message that goes through the socket (bytes); a longer one is left in a file that it names.
MAX_MESSAGE = 100_000

#: The most that a program may say of its end, in letters.
MOST_SAID = 1000
#: The most that a program may say of itself, in bytes.
MOST_META_B = 65_536
#: The most files that are kept of those that a program leaves elsewhere.
MOST_KEPT = 1000

#: How long, in seconds, what the program left may take to die of SIGKILL; then the run ends without it.
KILL_PATIENCE_S = 5.0
#: How often, in seconds, the size of the output is looked at, and orphans that ended are collected.
LOOK_S = 1.0
#: The same while the rest of a stopped program's process group is given time to end.
GROUP_LOOK_S = 0.02

#: Signals that do what they do by default when a program starts. Plain numbers and made once: to make them
#: for each run takes a tenth of a millisecond.
_SIGNALS = frozenset(int(s) for s in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})

_PR_SET_CHILD_SUBREAPER = 36
#: Behind the line that a program of another account is given: that it begins, or (with words) cannot.
ENTERED, REFUSED = b"\n", b"!"
#: What such a program is told of what it is asked.
_NEEDED = ("argv", "env", "env_file", "env_below", "cwd", "pty", "memory_b", "cpu_s")
_SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
#: Seconds of processor time that a program has to end when it has used all it may; then the kernel kills it.
_CPU_GRACE_S = 5
#: A block of what a process read and wrote, as the kernel counts: bytes.
_BLOCK_B = 512


def run_dir_name(run_id: int) -> str:
    """The name of a run's directory."""
    return f"r{run_id}"


def boot_id() -> str:
    """What tells this boot of this machine from every other."""
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()


class Stat(NamedTuple):
    """What the kernel says of a process."""

    state: bytes  # Z: it ended, and nobody has collected it
    parent: int
    session: int
    uptime_s: float  # of the machine when it started, to a clock tick (1/100 s as a rule)


def stat_of(pid: int) -> Stat:
    """What the kernel says of a process now.

    Raises:
        OSError: there is no such process.
    """
    with open(f"/proc/{pid}/stat", "rb") as file:
        fields = (
            file.read().rpartition(b")")[2].split()
        )  # what stands before is the name, which may hold anything
    return Stat(fields[0], int(fields[1]), int(fields[3]), int(fields[19]) / os.sysconf("SC_CLK_TCK"))


def signal_name(number: int) -> str:
    """`SIGTERM` for 15; a real-time signal has no name but its number."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def verdict(
    return_code: int, sent: tuple[int, ...], why: str | None, said: str | None = None
) -> tuple[str, str | None]:
    """What a run's end means.

    Args:
        return_code: exit code, or -N if signal N ended the program.
        sent: the signals with which it was asked to stop, the first one first; none if it was not.
        why: what made it end other than somebody's wish, e.g. `timeout after 5 s`; then it is no success.
        said: what the program itself says of a bad end.

    Returns:
        Outcome and message.
    """
    text = f"exit code {return_code}" if return_code >= 0 else f"killed by {signal_name(-return_code)}"
    if return_code > 0 and said:
        text = said
    if why is not None:
        return "failure", f"{text} ({why})"
    if not sent:
        return ("success", None) if return_code == 0 else ("failure", text)
    if -return_code in sent:
        return "failure", f"stopped by {signal_name(-return_code)}"
    return ("success" if return_code == 0 else "failure"), f"{text} (stopped by {signal_name(sent[0])})"


def size_text(size_b: float) -> str:
    """A size for people: `1 GB`."""
    for factor, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size_b >= factor:
            return f"{size_b / factor:g} {unit}"
    return f"{size_b:g} B"


def find_executable(name: str, path: str) -> str:
    """The file that `name` stands for, as a shell finds it.

    Raises:
        FileNotFoundError: it is in no folder of `path`.
    """
    if "/" in name:
        return name
    for folder in path.split(":"):
        file = os.path.join(folder, name)
        if os.path.isfile(file) and os.access(file, os.X_OK):
            return file
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)


class CannotStart(Exception):
    """The program cannot be started; the text says why."""


def variables_of(file: str) -> dict[str, str]:
    """The variables of an env file: `NAME=VALUE` lines, as shells and dotenv read them.

    A `#` begins a comment. A value may stand in quotes; in double ones a backslash means what it means in C.

    Raises:
        CannotStart: the file cannot be read, or a line is something else.
    """
    try:
        with open(file, encoding="utf-8") as opened:
            lines = opened.read().splitlines()
    except (OSError, ValueError) as error:
        raise CannotStart(f"env file: {_reason(error, file)}") from None
    found = {}
    for n, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        name, equals, value = text.removeprefix("export ").partition("=")
        name = name.strip()
        if not equals or not name or name.split() != [name]:
            raise CannotStart(f"env file: line {n} of {file!r} is not NAME=VALUE")
        try:
            found[name] = _unquoted(value.strip())
        except ValueError:
            raise CannotStart(f"env file: the quotes in line {n} of {file!r} do not end") from None
    return found


def _unquoted(value: str) -> str:
    if value[:1] not in ("'", '"'):
        bare, comment, _ = value.partition(" #")
        return "" if value.startswith("#") else bare.rstrip() if comment else value
    quote, letters = value[0], iter(value[1:])
    text: list[str] = []
    for letter in letters:
        if letter == quote:
            return "".join(text)
        if letter == "\\" and quote == '"':
            letter = next(letters, "")
            letter = {"n": "\n", "t": "\t", "r": "\r"}.get(letter, letter)
        text.append(letter)
    raise ValueError("no end")


def environment_of(spec: Mapping[str, Any]) -> dict[str, str]:
    """The whole environment of a program.

    Raises:
        CannotStart: its env file cannot be used.
    """
    file = spec["env_file"]
    return {**spec["env_below"], **(variables_of(file) if file is not None else {}), **spec["env"]}


def limit(spec: Mapping[str, Any]) -> None:
    """Bind this process, and all that comes of it, to what a program may use."""
    bounds = (
        (resource.RLIMIT_AS, spec["memory_b"], 0),
        (resource.RLIMIT_CPU, spec["cpu_s"], _CPU_GRACE_S),
    )
    for what, most, grace in bounds:
        if most is not None:
            _, hard = resource.getrlimit(what)
            highest = math.ceil(most) + grace
            if hard != resource.RLIM_INFINITY:
                highest = min(highest, hard)
            resource.setrlimit(what, (min(math.ceil(most), highest), highest))


def become_program(spec: Mapping[str, Any]) -> NoReturn:
    """Turn this process, which is of the right account and session, into the program.

    Raises:
        CannotStart: it cannot.
    """
    env, argv, cwd = environment_of(spec), spec["argv"], spec["cwd"]
    try:
        os.chdir(cwd)
    except (OSError, ValueError) as error:
        raise CannotStart(f"working directory: {_reason(error, cwd)}") from None
    for signum in _SIGNALS:
        with contextlib.suppress(OSError):  # two are the C library's own
            signal.signal(signum, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    try:
        executable = find_executable(argv[0], env.get("PATH", ""))
        os.execve(executable, argv, env)
    except (OSError, ValueError) as error:
        raise CannotStart(_reason(error, argv[0])) from None


class Supervisor:
    """One run, from its claim to its status.

    Args:
        tell: sends a message to the server, if it still listens; with `wait`, even if it is slow to.
        root: descriptor of the folder of run directories.
        boot: the boot id.
        spec: what to run, as `environment.spec` makes it.
    """

    def __init__(self, tell: Callable[..., None], root: int, boot: str, spec: Mapping[str, Any]) -> None:
        self.tell, self.root, self.boot, self.spec = tell, root, boot, spec
        self.here = self.record = self.control = -1
        self.output = self.errors = -1  # where its standard output and error go; one file, as a rule
        self.since_ns = 0  # files that are older were there before it started
        self.shared = (
            -1
        )  # memory that the program has as its standard input: a line for it, then what it says
        self.shared_b = 0  # size of the line for it
        self.terminal: Terminal | None = None
        account = spec["account"]
        self.sudo = Sudo(account) if account and account["sudo"] else None
        self.recorded_b = 0  # size of the record
        self.pid = 0  # the program's main process, which leads its own session and group
        self.began = 0.0  # monotonic
        self.started: dict[str, Any] | None = None  # what is yet to be written down about the start
        self.return_code: int | None = None
        self.ended = 0.0  # monotonic
        self.dumped_core = False
        self.usage: dict[str, float] = {}
        self.sent: list[int] = []  # signals that asked it to end
        self.why: str | None = None  # what asked it to end, unless somebody did
        self.kill_at: float | None = None  # monotonic; when patience with a program asked to end is over

    def run(self) -> None:
        """Do all of it. Leaves quietly if another supervisor has claimed the run."""
        try:
            if not self._claim():
                self.tell(taken=True)
                return
        except OSError as error:
            name = run_dir_name(self.spec["run"])
            self.tell(wait=True, error=f"cannot start: {error.strerror}: run directory {name!r}")
            return
        try:
            self._spawn()
        except CannotStart as error:
            self._write_end(outcome="error", message=f"cannot start: {error}")
        else:
            self._watch()
            self._end_descendants()
            if self.terminal is not None:
                self.terminal.drain()
            assert self.return_code is not None
            refused = self._refusal()
            if refused is not None:
                self._write_end(outcome="error", message=f"cannot start: {refused}")
                self.tell(finished=True)
                return
            if self._used_its_time():
                self.why = f"used more than {self.spec['cpu_s']:g} s of processor time"
            outcome, message = verdict(self.return_code, tuple(self.sent), self.why, self._said())
            lacking, faults = self._keep_files()
            if lacking and outcome == "success":
                outcome, message = "failure", f"exit code 0, but {'; '.join(lacking)}"
            self._write_end(
                outcome=outcome,
                message=message,
                return_code=self.return_code,
                elapsed_s=self.ended - self.began,
                **self.usage,
                **self._meta(faults),
            )
        self.tell(finished=True)

    def _claim(self) -> bool:
        """Make the run directory under the run's name; False if it is there already."""
        name = run_dir_name(self.spec["run"])
        hidden = f"{NEW}{name}-{os.getpid()}-{time.monotonic_ns()}"
        is_fresh = not self._take_spare(hidden)
        try:
            if is_fresh:
                os.mkdir(hidden, 0o711, dir_fd=self.root)
            self.here = os.open(hidden, os.O_RDONLY | os.O_DIRECTORY, dir_fd=self.root)
            # Stays open, and so locked, until this process is gone.
            self.record = os.open(RECORD, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=self.here)
            fcntl.flock(self.record, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._write(claimed={"format": FORMAT, "pid": os.getpid(), "boot_id": self.boot})
            if is_fresh:
                os.mkdir(OUT, 0o700, dir_fd=self.here)
                os.mkdir(TMP, 0o700, dir_fd=self.here)
                os.mkfifo(CONTROL, 0o600, dir_fd=self.here)
            # For reading and writing, so that it never comes to its end when a writer leaves.
            self.control = os.open(CONTROL, os.O_RDWR | os.O_NONBLOCK, dir_fd=self.here)
            os.rename(hidden, name, src_dir_fd=self.root, dst_dir_fd=self.root)
        except OSError as error:
            self._unmake(hidden)
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                return False
            raise
        # Before the program starts: after a loss of power the run must not look as if it had never started.
        os.fsync(self.root)
        return True

    def _take_spare(self, hidden: str) -> bool:
        """Use a directory again that another run has left; False if there is none."""
        if self.spec["spare"] is None:
            return False
        try:
            os.rename(self.spec["spare"], hidden, src_dir_fd=self.root, dst_dir_fd=self.root)
        except FileNotFoundError:  # a later server tidied up
            return False
        return True

    def _unmake(self, hidden: str) -> None:
        """Remove what `_claim` made, as far as it came."""
        for remove, name in (
            (os.unlink, CONTROL),
            (os.rmdir, TMP),
            (os.rmdir, OUT),
            (os.unlink, RECORD),
        ):
            with contextlib.suppress(OSError):
                remove(name, dir_fd=self.here)
        with contextlib.suppress(OSError):
            os.rmdir(hidden, dir_fd=self.root)

    def _spawn(self) -> None:
        """Start the program in a session of its own, with nothing of the server's but what the spec says.

        Raises:
            CannotStart: a folder or the executable is not there, or may not be used.
        """
        spec = self.spec
        try:
            append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
            name = STDOUT if spec["split"] else OUTPUT
            self.output = self.errors = os.open(f"{OUT}/{name}", append, 0o600, dir_fd=self.here)
            if spec["split"]:
                name = STDERR
                self.errors = os.open(f"{OUT}/{name}", append, 0o600, dir_fd=self.here)
            self.since_ns = os.fstat(self.output).st_mtime_ns  # by the same clock as other files
        except OSError as error:
            raise CannotStart(_reason(error, name)) from None
        if self.sudo is not None:
            task = json.loads(spec["task"]) if spec["task"] is not None else {}
            needed = {name: spec[name] for name in _NEEDED}
            needed |= {"has_task": bool(task), "name": self.sudo.name}
            self._share(json.dumps({**task, "become": needed}))
        elif spec["task"] is not None:
            self._share(spec["task"])
        if spec["account"] or spec["pty"] or spec["memory_b"] is not None or spec["cpu_s"] is not None:
            self._fork()
        else:
            self._spawn_directly()
        self.began = time.monotonic()
        uptime_s = time.clock_gettime(time.CLOCK_BOOTTIME)
        self.started = {"pid": self.pid, "at": time.time(), "monotonic_s": self.began, "uptime_s": uptime_s}
        self._write_started()

    def _spawn_directly(self) -> None:
        """The quick way, for a program that needs nothing special."""
        argv, env, cwd = self.spec["argv"], environment_of(self.spec), self.spec["cwd"]
        try:
            os.chdir(cwd)
        except (OSError, ValueError) as error:
            raise CannotStart(f"working directory: {_reason(error, cwd)}") from None
        nothing = (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)
        try:
            self.pid = os.posix_spawn(
                find_executable(argv[0], env.get("PATH", "")),
                argv,
                env,
                file_actions=[
                    nothing if self.shared < 0 else (os.POSIX_SPAWN_DUP2, self.shared, 0),
                    (os.POSIX_SPAWN_DUP2, self.output, 1),
                    (os.POSIX_SPAWN_DUP2, self.errors, 2),
                ],
                setsid=True,
                setsigmask=(),
                setsigdef=_SIGNALS,
            )
        except (OSError, ValueError) as error:
            raise CannotStart(_reason(error, argv[0])) from None
        finally:
            os.chdir("/")  # a supervisor keeps no file system busy

    def _fork(self) -> None:
        """For a program of another account, with bounds, or with a terminal."""
        if self.spec["pty"]:
            self.terminal = Terminal(self.output)
        if self.spec["account"]:
            self._hand_over()
        faults, tell_fault = os.pipe()
        try:
            self.pid = os.fork()
        except OSError as error:
            raise CannotStart(_reason(error, self.spec["argv"][0])) from None
        if self.pid == 0:
            fault = "it ended before it began"
            try:
                self._be_program()
            except CannotStart as error:
                fault = str(error)
            except BaseException as error:
                fault = f"{type(error).__name__}: {error}"
            finally:
                os.write(tell_fault, fault.encode(errors="replace")[:4000])
                os._exit(127)
        os.close(tell_fault)
        if self.terminal is not None:
            self.terminal.is_handed_over()
        with open(faults, "rb") as told:
            fault = told.read().decode(errors="replace")  # nothing, once the program has taken the place
        if fault:
            os.waitpid(self.pid, 0)
            raise CannotStart(fault)

    def _be_program(self) -> NoReturn:
        """In the new process: become the program.

        Raises:
            CannotStart: it cannot.
        """
        os.setsid()
        null = os.open(os.devnull, os.O_RDONLY)
        if self.terminal is None:
            files = (null, self.output, self.errors)
        else:
            files = (self.terminal.enter(),) * 3
        for fd, file in enumerate(files if self.shared < 0 else (self.shared, *files[1:])):
            os.dup2(file, fd)
        if self.sudo is not None:
            self.sudo.become()
        limit(self.spec)
        if self.spec["account"]:
            take_account(self.spec["account"])
            find_way(self.spec["env"]["APSIS_OUTPUT_DIR"], self.spec["account"]["name"])
        become_program(self.spec)

    def _hand_over(self) -> None:
        """Give the account what is the program's in the run directory."""
        account = self.spec["account"]
        try:
            if self.sudo is not None:
                self.sudo.let_in(self.here, {self.output, self.errors})
                return
            for name in (OUT, TMP):
                os.chown(name, account["uid"], account["gid"], dir_fd=self.here)
            for file in (self.output, self.errors):
                os.fchown(file, account["uid"], account["gid"])  # it may be opened again, as /dev/stdout
            if self.terminal is not None:
                os.fchown(self.terminal.its, account["uid"], account["gid"])
        except OSError as error:
            raise CannotStart(f"its folders cannot be given to {account['name']}: {error.strerror}") from None

    def _share(self, text: str) -> None:
        """Let the program have a line as its standard input, and be able to answer behind it."""
        self.shared = os.memfd_create("task")
        line = text.encode() + b"\n"
        with open(self.shared, "wb", closefd=False) as file:
            file.write(line)
        self.shared_b = len(line)

    def _said(self) -> str | None:
        """What the program wrote behind the line that it was given."""
        if self.shared < 0:
            return None
        said = os.pread(self.shared, MAX_MESSAGE, self.shared_b + (0 if self.sudo is None else 1))
        return said.decode(errors="replace").strip()[:MOST_SAID] or None

    def _refusal(self) -> str | None:
        """Why sudo, or what came after it, did not start the program; None: it did."""
        if self.sudo is None:
            return None
        mark = os.pread(self.shared, 1, self.shared_b)
        if mark == ENTERED:
            return None
        if mark == REFUSED:
            return self._said()
        with open(f"/proc/self/fd/{self.errors}", "rb") as file:
            file.seek(max(0, os.fstat(self.errors).st_size - MAX_MESSAGE))
            lines = file.read().decode(errors="replace").split("\n")
        words = next((line for line in reversed(lines) if line.strip()), "it was refused")
        return f"it may not run as {self.sudo.name}: {words.strip()[:MOST_SAID]}"

    def _used_its_time(self) -> bool:
        """Whether the program was ended for the processor time that it had used."""
        cpu_s = self.spec["cpu_s"]
        if cpu_s is None or self.sent or self.return_code not in (-signal.SIGXCPU, -signal.SIGKILL):
            return False
        return self.return_code == -signal.SIGXCPU or self.usage["cpu_s"] >= cpu_s

    def _keep_files(self) -> tuple[list[str], list[str]]:
        """Keep the files that the job names; what is lacking of the required ones, and what went wrong.

        With the rights of the program's account: a link could lead to what only the server may read.
        """
        spec = self.spec
        if self.sudo is not None:
            return self.sudo.finish(spec["keep"], spec["cwd"], spec["env"], self.since_ns)
        if not spec["keep"]:
            return [], []
        work = functools.partial(
            keep_files, spec["keep"], spec["cwd"], spec["env"]["APSIS_OUTPUT_DIR"], self.since_ns
        )
        return as_account(spec["account"], work) if spec["account"] else work()

    def _meta(self, faults: list[str]) -> dict[str, Any]:
        """How it ended in detail, and what the program says of itself; only what there is.

        Args:
            faults: what went wrong with the files that were to be kept.
        """
        assert self.return_code is not None
        facts: dict[str, Any] = {}
        detail: dict[str, Any] = {}
        if self.return_code < 0:
            detail |= {"signal": signal_name(-self.return_code), "core_dumped": self.dumped_core}
        if self.sent:
            detail["signals_sent"] = [signal_name(signum) for signum in self.sent]
        if self.why is not None:
            detail["why"] = self.why
        if faults:
            detail["outputs_error"] = "; ".join(faults)[:MOST_SAID]
        try:
            said = read_meta(self.here)
        except (OSError, ValueError) as error:
            detail["meta_error"] = error.strerror if isinstance(error, OSError) else str(error)
        else:
            if said is not None:
                facts["meta"] = said
        return facts | ({"detail": detail} if detail else {})

    def _write_started(self) -> None:
        """Say that the program runs; while the disk is full, later.

        Not durable: after a loss of power nothing of it is alive, and that is all it is asked about.
        """
        if self.started is not None:
            with contextlib.suppress(OSError):
                self._write(started=self.started)
                self.started = None
                self.tell(started=True)

    def _watch(self) -> None:
        """Wait for the program's end; meanwhile obey commands, the timeout and the limit of the output."""
        pidfd = os.pidfd_open(self.pid)
        poller = select.poll()
        poller.register(pidfd, select.POLLIN)
        poller.register(self.control, select.POLLIN)
        if self.terminal is not None:
            poller.register(self.terminal.ours, select.POLLIN)
        timeout_s, now = self.spec["timeout_s"], self.began
        while True:
            due = [now + LOOK_S]
            if self.kill_at is not None:
                due.append(self.kill_at)
            elif timeout_s is not None:
                due.append(self.began + timeout_s)
            wait_s = max(0.0, min(due) - time.monotonic())
            for fd, _ in poller.poll(wait_s * 1000 + 1):
                if fd == self.control:
                    self._obey()
                elif self.terminal is not None and fd == self.terminal.ours:
                    self.terminal.take(poller)
            self._reap()
            now = time.monotonic()
            if self.return_code is not None:
                break
            if timeout_s is not None and now >= self.began + timeout_s:
                self._ask_to_end(self.spec["timeout_signal"], f"timeout after {timeout_s:g} s")
            self._limit_output()
            self._write_started()
            if self.kill_at is not None and now >= self.kill_at:
                self._kill()
        os.close(pidfd)
        # A shell that dies of the stop signal leaves children that were asked with it: they have as long as
        # it had. One that came to its end by itself has seen to its children as it wished.
        while self.kill_at is not None and self.return_code < 0 and self._has_group():
            if not time.monotonic() < self.kill_at < math.inf:
                break
            select.select([], [], [], GROUP_LOOK_S)
            self._reap()

    def _obey(self) -> None:
        """Read the pipe and do what it says."""
        for line in os.read(self.control, 65536).decode(errors="replace").splitlines():
            match line.split():
                case ["stop"]:
                    self._ask_to_end(self.spec["stop_signal"], None)
                case ["signal", number] if number.isdecimal():
                    try:
                        if self.sudo is None:
                            os.kill(self.pid, int(number))
                        else:
                            self.sudo.signal(self.sudo.main(), int(number))
                    except OSError as error:
                        self.tell(signal_failed=f"{signal_name(int(number))}: {error.strerror}")

    def _ask_to_end(self, signum: int, why: str | None) -> None:
        """Signal the program's group, and have patience for the grace period. The first to ask counts."""
        if self.kill_at is not None:
            return
        self.kill_at, self.why = time.monotonic() + self.spec["grace_s"], why
        self._signal_group(signum)

    def _kill(self) -> None:
        """SIGKILL to the program; what it leaves behind falls to this process, and is ended after it."""
        self.kill_at = math.inf
        self._signal_group(signal.SIGKILL)
        if self.sudo is not None:
            return
        with contextlib.suppress(OSError):  # it may have left its group
            os.kill(self.pid, signal.SIGKILL)

    def _signal_group(self, signum: int) -> None:
        self.sent.append(int(signum))
        if self.sudo is not None:
            with contextlib.suppress(OSError):  # sudo is out of order: it is tried again
                self.sudo.signal(self.sudo.group(), signum)
            return
        with contextlib.suppress(
            OSError
        ):  # gone by itself, or it changed its account and may not be signalled
            os.killpg(self.pid, signum)

    def _has_group(self) -> bool:
        """Whether any process is left in the program's group."""
        if self.sudo is not None:
            return bool(self.sudo.group())
        try:
            os.killpg(self.pid, 0)
        except OSError:
            return False
        return True

    def _limit_output(self) -> None:
        """End a program that writes too much; at once if it goes on after it was asked to end."""
        max_b = self.spec["max_output_b"]
        size_b = sum(os.fstat(file).st_size for file in {self.output, self.errors})
        if size_b > max_b:
            self._ask_to_end(self.spec["stop_signal"], f"output larger than {size_text(max_b)}")
        if size_b > 2 * max_b and self.kill_at != math.inf:
            self.kill_at = 0.0

    def _reap(self) -> bool:
        """Collect what ended; False if this process has no children any more."""
        while True:
            try:
                pid, wait_status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self.pid:
                self.return_code, self.ended = os.waitstatus_to_exitcode(wait_status), time.monotonic()
                self.dumped_core = os.WCOREDUMP(wait_status)
                self.usage = {
                    "cpu_s": round(usage.ru_utime + usage.ru_stime, 6),
                    "max_rss_b": usage.ru_maxrss * 1024,
                    "read_b": usage.ru_inblock * _BLOCK_B,
                    "write_b": usage.ru_oublock * _BLOCK_B,
                }

    def _end_descendants(self) -> None:
        """SIGKILL to all that the program left, also what left its session: orphans become our children.

        One that cannot be killed (it waits for a dead disk, it runs as another account) is left in the end.
        """
        patience_ends = time.monotonic() + KILL_PATIENCE_S
        while self._reap() and time.monotonic() < patience_ends:
            me = os.getpid()
            if self.sudo is not None:
                with contextlib.suppress(OSError):
                    self.sudo.signal(self.sudo.processes(), signal.SIGKILL)
            for name in os.listdir("/proc"):
                with contextlib.suppress(OSError):  # gone meanwhile, or not ours to kill
                    if name.isdecimal() and stat_of(int(name)).parent == me:
                        os.kill(int(name), signal.SIGKILL)
            select.select([], [], [], 0.002)

    def _write_end(self, **facts: Any) -> None:
        """Record the end durably, however late: while the disk is full the run waits, and loses nothing."""
        os.close(self.control)  # with what was not read: the pipe may soon be another run's
        line = {"ended": {"at": time.time(), **facts}}
        if self.started is not None:
            line["started"] = self.started
        while True:
            try:
                self._write(**line)
                os.fdatasync(self.record)
            except OSError:
                select.select([], [], [], LOOK_S)
            else:
                break

    def _write(self, **line: Mapping[str, Any]) -> None:
        """Add a line to the record; the next is written over one that fails. Readers look at whole lines."""
        data = json.dumps(line).encode() + b"\n"
        if os.pwrite(self.record, data, self.recorded_b) < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), RECORD)
        self.recorded_b += len(data)


def take_account(account: Mapping[str, Any]) -> None:
    """Make this process, which is root's, one of the account.

    Raises:
        CannotStart: it may not.
    """
    try:
        os.initgroups(account["name"], account["gid"])
        os.setgid(account["gid"])
        os.setuid(account["uid"])
    except OSError as error:
        raise CannotStart(f"it may not run as {account['name']}: {error.strerror}") from None


class Sudo:
    """Acts for an account as which this process may run programs through sudo, and no other way.

    What it orders is done by this file, run as that account: `become` a program, `kill`, `finish`.

    Args:
        account: `name`, `uid`, `sudo`: how sudo is called, `python`: an interpreter that the account may use.
    """

    def __init__(self, account: Mapping[str, Any]) -> None:
        self.name, self.uid = account["name"], account["uid"]
        self.session: int | None = None  # of the program, once it was seen
        self.prefix = [*account["sudo"], "-u", self.name, "--", account["python"], "-I", "-S", "-X", "utf8"]

    def become(self) -> NoReturn:
        """Turn this process into the program that its standard input tells of, as `become_shared` reads it.

        Raises:
            CannotStart: there is no sudo.
        """
        try:
            executable = find_executable(self.prefix[0], _SYSTEM_PATH)
            os.execve(executable, [*self.prefix, __file__, "become"], {"PATH": _SYSTEM_PATH})
        except OSError as error:
            raise CannotStart(f"it may not run as {self.name}: {_reason(error, self.prefix[0])}") from None

    def let_in(self, here: int, files: set[int]) -> None:
        """Let the account use the program's folders in a run directory, and the files of its output.

        Raises:
            OSError: the file system has no access lists.
        """
        own = sorted({os.geteuid(), self.uid})
        access = access_list([self.uid])
        for name in (OUT, TMP):
            folder = f"/proc/self/fd/{here}/{name}"
            os.setxattr(folder, "system.posix_acl_access", access)
            os.setxattr(folder, "system.posix_acl_default", access_list(own))
        for file in files:
            os.setxattr(file, "system.posix_acl_access", access)

    def processes(self) -> list[int]:
        """The processes of the account below this one."""
        found: dict[int, list[int]] = {}
        for name in os.listdir("/proc"):
            with contextlib.suppress(OSError):
                if name.isdecimal():
                    found.setdefault(stat_of(int(name)).parent, []).append(int(name))
        below, todo = [], [os.getpid()]
        while todo:
            children = found.get(todo.pop(), [])
            below += children
            todo += children
        theirs = []
        for pid in below:
            with contextlib.suppress(OSError):
                if os.stat(f"/proc/{pid}").st_uid == self.uid:
                    theirs.append(pid)
        return theirs

    def main(self) -> list[int]:
        """The program's main process."""
        theirs = self.processes()
        with contextlib.suppress(OSError):
            return [pid for pid in theirs if stat_of(pid).parent not in theirs][:1]
        return []

    def group(self) -> list[int]:
        """The processes of the program's session, which sudo may have made anew."""
        members = []
        for pid in [*self.main(), *self.processes()]:
            with contextlib.suppress(OSError):
                session = stat_of(pid).session
                self.session = self.session or session
                if session == self.session and pid not in members:
                    members.append(pid)
        return members

    def signal(self, pids: list[int], signum: int) -> None:
        """Send a signal to processes of the account.

        Raises:
            OSError: that is not possible.
        """
        if not pids:
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
        self._ask("kill", str(signum), *map(str, pids))

    def finish(
        self, wanted: list[dict[str, Any]], cwd: str, env: Mapping[str, str], since_ns: int
    ) -> tuple[list[str], list[str]]:
        """As `keep_files`; what the program left in its folders can be read and removed afterwards."""
        asked = {"wanted": wanted, "cwd": cwd, "out": env["APSIS_OUTPUT_DIR"], "since_ns": since_ns}
        try:
            lacking, faults = json.loads(self._ask("finish", text=json.dumps(asked)))
        except (OSError, ValueError) as error:
            return [], [f"what it left could not be looked at: {error}"]
        return lacking, faults

    def _ask(self, *words: str, text: str = "") -> str:
        """Have something done, and give what is printed. The process that does it is none of the program's.

        Raises:
            OSError: it is not done.
        """
        given, told = os.memfd_create("given"), os.memfd_create("told")
        try:
            os.write(given, text.encode())
            os.lseek(given, 0, os.SEEK_SET)
            pid = os.posix_spawn(
                find_executable(self.prefix[0], _SYSTEM_PATH),
                [*self.prefix, __file__, *words],
                {"PATH": _SYSTEM_PATH},
                file_actions=[(os.POSIX_SPAWN_DUP2, given, 0), (os.POSIX_SPAWN_DUP2, told, 1)],
                setsid=True,
                setsigmask=(),
                setsigdef=_SIGNALS,
            )
            _, wait_status = os.waitpid(pid, 0)
            code = os.waitstatus_to_exitcode(wait_status)
            if code:
                raise OSError(code, f"sudo: exit code {code}")
            return os.pread(told, os.fstat(told).st_size, 0).decode()
        finally:
            os.close(given)
            os.close(told)


def access_list(accounts: list[int]) -> bytes:
    """A list of access rights, as the kernel takes it: all of them for the owner and these accounts."""
    user_obj, user, group_obj, mask, other = 0x01, 0x02, 0x04, 0x10, 0x20
    nobody, everything = 0xFFFFFFFF, 7
    entries = [(user_obj, everything, nobody), *((user, everything, uid) for uid in accounts)]
    entries += [(group_obj, 0, nobody), (mask, everything, nobody), (other, 0, nobody)]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def become_shared() -> NoReturn:
    """As the account: become the program that the line on standard input tells of.

    Behind that line stands then how it went: ENTERED, or REFUSED and why.
    """
    size_b = os.fstat(0).st_size
    spec = json.loads(os.pread(0, size_b, 0).split(b"\n", 1)[0])["become"]
    shared = os.dup(0)
    try:
        find_way(spec["env"]["APSIS_OUTPUT_DIR"], spec["name"])
        if not spec["has_task"]:
            os.dup2(1 if spec["pty"] else os.open(os.devnull, os.O_RDONLY), 0)
        limit(spec)
        os.pwrite(shared, ENTERED, size_b)
        become_program(spec)
    except CannotStart as error:
        os.pwrite(shared, REFUSED + str(error).encode(errors="replace"), size_b)
    os._exit(127)


def finish() -> None:
    """As the account: keep files, and open to the server what the program left in its folders."""
    asked = json.load(sys.stdin)
    told = keep_files(asked["wanted"], asked["cwd"], asked["out"], asked["since_ns"])
    tmp = os.path.join(os.path.dirname(asked["out"]), TMP)
    for top in (asked["out"], tmp):
        for folder, _, names in os.walk(top):
            for path in (folder, *(os.path.join(folder, name) for name in names)):
                with contextlib.suppress(OSError):  # not ours: then the server's already
                    if not os.path.islink(path):
                        os.chmod(path, os.stat(path).st_mode & 0o777 | (0o770 if path == folder else 0o660))
    json.dump(told, sys.stdout)


def kill(signum: int, pids: list[int]) -> None:
    """As the account: send a signal."""
    for pid in pids:
        with contextlib.suppress(OSError):  # gone by itself
            os.kill(pid, signum)


def as_account(
    account: Mapping[str, Any], work: Callable[[], tuple[list[str], list[str]]]
) -> tuple[list[str], list[str]]:
    """What `work` gives when it is done with the rights of another account, in a process of its own."""
    answers, answer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            take_account(account)
            text = json.dumps(work())
        except BaseException as error:
            text = json.dumps([[], [f"{type(error).__name__}: {error}"]])
        with contextlib.suppress(BaseException), open(answer, "w") as file:
            file.write(text)
        os._exit(0)
    os.close(answer)
    with open(answers) as told:
        text = told.read()
    os.waitpid(pid, 0)
    lacking, faults = json.loads(text or '[[], ["it was ended"]]')
    return lacking, faults


def keep_files(
    wanted: list[dict[str, Any]], cwd: str, out: str, since_ns: int
) -> tuple[list[str], list[str]]:
    """Copy files that a program left into its folder of outputs.

    Args:
        wanted: patterns: `path`, `name`, `required`, `min_bytes`, `is_new`.
        cwd: where relative ones start.
        out: the folder of outputs.
        since_ns: when the program started, by the clock of files.

    Returns:
        What is lacking of the required ones, and what went wrong with any, in words.
    """
    lacking: list[str] = []
    faults: list[str] = []
    count = 0
    for want in wanted:
        pattern = want["path"].replace("$APSIS_OUTPUT_DIR", glob.escape(out))
        good: list[tuple[int, str]] = []
        why = "is not there"
        for path in sorted(glob.iglob(os.path.join(glob.escape(cwd), pattern), recursive=True)):
            try:
                facts = os.stat(path)
            except OSError as error:
                why = f"cannot be read: {error.strerror}"
                continue
            if not stat.S_ISREG(facts.st_mode):
                continue
            if want["is_new"] and not _is_since(facts.st_mtime_ns, since_ns):
                why = "was there before the run, and is as it was"
            elif facts.st_size < want["min_bytes"]:
                why = f"has {facts.st_size} bytes, fewer than {want['min_bytes']}"
            else:
                good.append((facts.st_mtime_ns, path))
        kept = 0
        for _, path in [max(good)] if good and want["name"] else good:
            count += 1
            try:
                if count > MOST_KEPT:
                    raise OSError(0, f"more than {MOST_KEPT} files are too many")
                _keep_file(path, out, want["name"] or os.path.basename(path))
                kept += 1
            except OSError as error:
                why = f"cannot be kept: {error.strerror}"
                faults.append(f"{path!r} {why}")
            if count > MOST_KEPT:
                break
        if want["required"] and not kept:
            lacking.append(f"required output {want['name'] or want['path']!r} {why}")
    return lacking, faults


def _is_since(at_ns: int, since_ns: int) -> bool:
    """Whether a file is not older than a time; some file systems know but whole seconds."""
    return at_ns >= (since_ns if at_ns % 10**9 else since_ns - since_ns % 10**9)


def _keep_file(path: str, out: str, name: str) -> None:
    """Copy a file into the folder of outputs, under a name that is free there."""
    source = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        facts = os.fstat(source)
        if not stat.S_ISREG(facts.st_mode):
            raise OSError(errno.EINVAL, "it is no file any more")
        stem, dot, suffix = name.rpartition(".")
        target = -1
        for n in range(1, MOST_KEPT + 2):
            numbered = name if n == 1 else f"{stem}-{n}{dot}{suffix}" if stem else f"{name}-{n}"
            place = os.path.join(out, numbered)
            with contextlib.suppress(OSError):
                if os.path.samestat(os.lstat(place), facts):
                    return  # it is there already
            try:
                target = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                break
            except FileExistsError:
                continue
        if target < 0:
            raise OSError(errno.EEXIST, os.strerror(errno.EEXIST))
        try:
            copied_b = 0
            while copied_b < facts.st_size:
                piece_b = os.sendfile(target, source, copied_b, facts.st_size - copied_b)
                if piece_b == 0:  # somebody cut it short
                    break
                copied_b += piece_b
        except OSError:
            os.unlink(place)
            raise
        finally:
            os.close(target)
    finally:
        os.close(source)


def find_way(folder: str, name: str) -> None:
    """See that this process can come to its folder.

    Raises:
        CannotStart: it cannot.
    """
    parts = folder.split("/")
    for n in range(1, len(parts)):
        passed = "/".join(parts[:n]) or "/"
        if not os.access(passed, os.X_OK):
            raise CannotStart(
                f"{name} may not pass {passed!r} on the way to the run's folders: "
                "give the server another state_dir"
            )


class Terminal:
    """A terminal that a program takes for that of a person; what it writes there goes to a file.

    Args:
        output: descriptor of the file.
    """

    ROWS, COLUMNS = 50, 120

    def __init__(self, output: int) -> None:
        self.output = output
        self.left = b""  # what is read and not yet written: the disk may be full
        self.ours, self.its = os.openpty()
        os.set_blocking(self.ours, False)
        modes = termios.tcgetattr(self.its)
        modes[1] &= ~termios.OPOST  # a line ends as the program ends it
        modes[3] &= ~termios.ECHO
        termios.tcsetattr(self.its, termios.TCSANOW, modes)
        termios.tcsetwinsize(self.its, (self.ROWS, self.COLUMNS))

    def enter(self) -> int:
        """In the program's process: make it the terminal of its session; gives its descriptor."""
        fcntl.ioctl(self.its, termios.TIOCSCTTY, 0)
        return self.its

    def is_handed_over(self) -> None:
        """The program has its end; we let go of that."""
        os.close(self.its)

    def take(self, poller: "select.poll | None" = None) -> bool:
        """Move what is there to the file; False if nothing more is there, now or for ever."""
        try:
            self.left = self.left or os.read(self.ours, 65_536)
        except BlockingIOError:
            return False
        except OSError:  # nobody has the other end any more
            if poller is not None:
                poller.unregister(self.ours)
            return False
        if not self.left:
            return False
        try:
            while self.left:
                self.left = self.left[os.write(self.output, self.left) :]
        except OSError:  # the disk is full: the program waits as it would for a slow terminal
            select.select([], [], [], GROUP_LOOK_S)
        return True

    def drain(self) -> None:
        """Take what is left, when the program has ended."""
        patience_ends = time.monotonic() + KILL_PATIENCE_S
        while self.take() and time.monotonic() < patience_ends:
            pass


def read_meta(here: int) -> Any:
    """What a program left in its meta file so far; None, if nothing.

    Args:
        here: descriptor of its run directory.

    Raises:
        OSError, ValueError: it cannot be read, or is no JSON.
    """
    try:
        # No link: it could lead to what the server may read and the program may not.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
        fd = os.open(f"{TMP}/{META}", flags, dir_fd=here)
    except FileNotFoundError:
        return None
    with open(fd, "rb") as file:
        facts = os.fstat(fd)
        if not stat.S_ISREG(facts.st_mode) or facts.st_nlink != 1:
            raise ValueError("it is no file of its own")
        if facts.st_size > MOST_META_B:
            raise ValueError(f"it is larger than {MOST_META_B // 1024} kB")
        data = file.read(MOST_META_B)
    if not data.strip():
        return None
    try:
        return json.loads(data, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise ValueError("it is no JSON") from None


def _refuse(word: str) -> Any:
    raise ValueError(word)


def _reason(error: OSError | ValueError, name: str) -> str:
    return f"{error.strerror}: {name!r}" if isinstance(error, OSError) else f"{error}: {name!r}"


def _messages(sock: socket.socket) -> Iterator[bytes]:
    """What the server sent, to the last message before it left or died."""
    while True:
        try:
            message = sock.recv(MAX_MESSAGE)
        except ConnectionResetError:  # said once, of a server that died before it read all; then its messages
            continue
        if not message:
            return
        yield message


def _read(message: bytes, root: int) -> dict[str, Any] | None:
    """The spec that a message holds or names; None if its file is gone."""
    spec: dict[str, Any] = json.loads(message)
    if "file" not in spec:
        return spec
    try:
        with open(os.open(spec["file"], os.O_RDONLY, dir_fd=root)) as file:
            whole: dict[str, Any] = json.load(file)
        os.unlink(spec["file"], dir_fd=root)
    except FileNotFoundError:  # a later server tidied up: it asks for the run itself
        return None
    return whole


def spawner(sock: socket.socket, root: int) -> None:
    """Fork a supervisor for every message, until the server is gone and its last message is done.

    Args:
        sock: connected to the server, one JSON message a packet.
        root: descriptor of the folder of run directories.
    """
    import ctypes  # here, because those who only read this file's names do not need it

    sock.set_inheritable(False)  # it came through an exec, and goes through no other
    libc = ctypes.CDLL(None)
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # what ends the server ends no program
        signal.signal(signum, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # supervisors vanish by themselves
    os.umask(0o022)
    boot = boot_id()
    gc.collect()
    gc.freeze()  # the pages that the supervisors share are not written to
    gc.disable()

    def tell(*, wait: bool = False, **facts: Any) -> None:
        # Without waiting, a message may be lost: the server reads the files anyway.
        with contextlib.suppress(OSError):
            sock.send(json.dumps(facts).encode(), 0 if wait else socket.MSG_DONTWAIT)

    tell(wait=True, ready=True)
    for message in _messages(sock):
        spec = _read(message, root)
        if spec is None:
            continue
        run_id = spec["run"]
        try:
            pid = os.fork()
        except OSError as error:
            tell(wait=True, run=run_id, error=f"cannot start: {error.strerror}")
            continue
        if pid:
            tell(wait=True, run=run_id, pid=pid)
            continue
        try:
            os.setsid()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
            Supervisor(functools.partial(tell, run=run_id), root, boot, spec).run()
        except BaseException:
            sys.excepthook(*sys.exc_info())  # standard error is a log; the server sees that the lock is free
        finally:
            os._exit(0)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["become"]:
            become_shared()
        case ["finish"]:
            finish()
        case ["kill", number, *numbers]:
            kill(int(number), [int(pid) for pid in numbers])
        case [sock, root]:
            spawner(socket.socket(fileno=int(sock)), os.open(root, os.O_RDONLY | os.O_DIRECTORY))
