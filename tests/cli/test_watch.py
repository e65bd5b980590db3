"""`apsis-nb watch` on a terminal and in a pipe, over a restart of its server."""

import fcntl
import os
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import termios
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.cli.conftest import COMMAND, Shell
from tests.client.serving import Served, served

WAIT_S = 60.0
JOBS = {
    "one/at-a-time": """
params: [fifo]
condition: {type: max_running, count: 1, job_id: one/at-a-time}
program: {type: shell, command: 'read line < "$APSIS_ARG_FIFO"'}
""",
}


@dataclass
class Screen:
    """A command on a terminal."""

    process: subprocess.Popen[bytes]
    fd: int  #: our end
    other: int  #: the command's end
    told: str = field(default="")

    def until(self, pattern: str) -> str:
        """All that it showed up to a text, without what moves the cursor; later calls begin after that."""
        deadline = time.monotonic() + WAIT_S
        while (found := re.search(pattern, self.told)) is None:
            ready, _, _ = select.select([self.fd], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"{pattern!r} has not come: {self.told[-2000:]}"
            piece = os.read(self.fd, 65_536).decode(errors="replace")
            self.told += re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", piece)
        seen, self.told = self.told[: found.end()], self.told[found.end() :]
        return seen

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.process.send_signal(signal.SIGWINCH)

    def press(self, key: bytes) -> int:
        """The exit status, after a key that leaves."""
        os.write(self.fd, key)
        return self.process.wait(WAIT_S)


@contextmanager
def screen(env: Mapping[str, str], *words: str, rows: int = 40, columns: int = 120) -> Iterator[Screen]:
    ours, theirs = pty.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    kept = {name: value for name, value in env.items() if name != "COLUMNS"}
    with subprocess.Popen(
        [COMMAND, *words], env={**kept, "TERM": "xterm-256color"}, stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        try:
            yield Screen(process, ours, theirs)
        finally:
            process.kill()
            os.close(ours)
            os.close(theirs)


@contextmanager
def lines_of(env: Mapping[str, str], *words: str) -> Iterator[subprocess.Popen[str]]:
    """A command whose output goes into a pipe."""
    with subprocess.Popen(
        [COMMAND, *words], env=dict(env), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def fifo_of(folder: Path, name: str = "fifo") -> Path:
    os.mkfifo(folder / name)
    return folder / name


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def test_watch_follows_what_happens_over_a_restart_and_leaves_the_terminal_as_it_was(tmp_path: Path):
    fifo, bind = fifo_of(tmp_path), f"127.0.0.1:{free_port()}"
    with ExitStack() as stack:
        with served(tmp_path, JOBS, bind=bind) as server, server.client() as client:
            holding = client.schedule("one/at-a-time", fifo=fifo)
            waiting = client.schedule("one/at-a-time", fifo=fifo)
            piped = stack.enter_context(lines_of(server.env, "watch"))
            assert piped.stdout is not None
            first = piped.stdout.readline()
            shown = stack.enter_context(screen(server.env, "watch"))
            shown.until(r"running \(1\)")
            shown.until(rf"{holding.run_id} +one/at-a-time")
            shown.until(r"waiting \(1\)")
            shown.until(rf"{waiting.run_id} +one/at-a-time +waiting.*1 of 1")
            shown.resize(12, 60)
            shown.until(r"q leaves {52}")
        shown.until("no connection: ")
        with served(tmp_path, JOBS, bind=bind):
            shown.resize(40, 120)
            shown.until("live  ")
            fifo.write_text("go\n")
            shown.until(rf"ended(?s:.*?){holding.run_id} +one/at-a-time +success")
            assert shown.press(b"q") == 0
            modes = termios.tcgetattr(shown.other)[3]
            assert modes & (termios.ECHO | termios.ICANON) == termios.ECHO | termios.ICANON
            piped.send_signal(signal.SIGINT)
            rest, _ = piped.communicate(timeout=WAIT_S)
    assert piped.returncode == 0
    assert re.search(rf"^\S+ \S+ \w+  {holding.run_id}  one/at-a-time  running", first)
    assert re.search(r"^no connection: .*\n(?:.*\n)*?connected again$", rest, re.MULTILINE)
    assert re.search(rf"^\S+ \S+ \w+  {holding.run_id}  one/at-a-time  success", rest, re.MULTILINE)
    assert "\x1b" not in first + rest


def test_watch_of_a_run_shows_its_output_and_ends_with_it(shell: Shell, server: Served, tmp_path: Path):
    fifo = fifo_of(tmp_path)
    with server.client() as client:
        run = client.schedule("waits", fifo=fifo)
        with screen(server.env, "watch", run.run_id, rows=20, columns=80) as shown:
            shown.until(rf"{run.run_id} +waits +running")
            shown.until("up")
            fifo.write_text("the word\n")
            shown.until("got the word")
            assert shown.process.wait(WAIT_S) == 0
        failed = client.schedule("fails").wait()
        ended = shell("watch", failed.run_id)
    assert (ended.returncode, ended.stderr) == (1, "")
    assert f"{failed.run_id}  fails  failure" in ended.stdout
