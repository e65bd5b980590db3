"""The server's end of the spawner: keeps one running, sends it specs, passes on what supervisors tell."""

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path
from typing import Any

from apsis_nb.core.errors import ApsisError

from . import supervisor
from .removal import SPEC

#: What spawner and supervisors say that is meant for nobody: a traceback would be a bug of ours.
LOG = ".spawner.log"

_READY_S = 30.0  # a loaded machine may take long to start an interpreter
_LEAVE_S = 5.0
_AGAIN_S = 0.5  # between two spawners, so that one that cannot live does not take the processor
_MESSAGES_A_TURN = 100  # then the loop has its turn


class Spawner:
    """A spawner process that is started again when it dies.

    Args:
        root: folder of the run directories.
        hear: gets each message; on the loop's thread.
        lost: called when a new spawner has taken the place of one that died: what that was asked may be lost.
    """

    def __init__(
        self, root: Path, *, hear: Callable[[Mapping[str, Any]], None], lost: Callable[[], None]
    ) -> None:
        self._root, self._hear, self._lost = root, hear, lost
        self._process: subprocess.Popen[bytes] | None = None
        self._sock: socket.socket | None = None
        self._pidfd: int | None = None
        self._unsent: deque[bytes] = deque()
        self._ready = asyncio.Event()
        self._again: asyncio.TimerHandle | None = None
        self._spec_numbers = count()

    async def open(self) -> None:
        """Start the spawner and wait until it serves.

        Raises:
            ApsisError: it does not come up.
        """
        self._start()
        try:
            async with asyncio.timeout(_READY_S):
                await self._ready.wait()
        except TimeoutError:
            await self.close()
            raise ApsisError(
                f"the process that starts programs did not come up in {_READY_S:g} s; see {self._root / LOG}"
            ) from None

    def ask(self, spec: Mapping[str, Any]) -> None:
        """Have a supervisor forked; without waiting.

        Raises:
            OSError: the spec is long and cannot be written to disk.
        """
        message = json.dumps(spec).encode()
        if len(message) > supervisor.MAX_MESSAGE:
            name = f"{SPEC}{os.getpid()}-{next(self._spec_numbers)}"
            path = self._root / name
            path.touch(mode=0o600)  # an environment may hold secrets
            path.write_bytes(message)
            message = json.dumps({"file": name}).encode()
        self._unsent.append(message)
        if len(self._unsent) == 1:
            self._send()

    def listen(self) -> None:
        """Read what has been told and not yet been read."""
        if self._sock is None:
            return
        for _ in range(_MESSAGES_A_TURN):
            try:
                message = self._sock.recv(supervisor.MAX_MESSAGE)
            except BlockingIOError:
                return
            except OSError:
                message = b""
            if not message:  # spawner and supervisors are gone; `_died` sees to it
                asyncio.get_running_loop().remove_reader(self._sock)
                return
            told = json.loads(message)
            if "ready" in told:
                self._ready.set()
            else:
                self._hear(told)

    async def close(self) -> None:
        """Let the spawner leave once it has done what it was sent. Supervisors stay."""
        if self._again is not None:
            self._again.cancel()
        self._unsent.clear()
        process = self._process
        self._let_go()
        if process is not None:
            await asyncio.to_thread(_wait, process)

    def _start(self) -> None:
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        with its, open(self._root / LOG, "ab") as log:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-I",
                    "-S",
                    "-X",
                    "utf8",
                    supervisor.__file__,
                    str(its.fileno()),
                    str(self._root),
                ],
                pass_fds=[its.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                cwd="/",
                env={"LD_BIND_NOW": "1"},  # look up the libraries' functions once, not in each supervisor
                start_new_session=True,  # Ctrl-C at the server's terminal is not meant for programs
            )
        self._sock = ours
        self._pidfd = os.pidfd_open(self._process.pid)
        loop = asyncio.get_running_loop()
        loop.add_reader(ours, self.listen)
        loop.add_reader(self._pidfd, self._died)

    def _died(self) -> None:
        process = self._process
        self.listen()
        self._let_go()
        assert process is not None
        process.wait()  # it has ended: this only collects it
        self._unsent.clear()
        self._again = asyncio.get_running_loop().call_later(_AGAIN_S, self._replace)

    def _replace(self) -> None:
        self._again = None
        try:
            self._start()
        except OSError:  # no process or descriptor to be had just now
            self._let_go()
            self._again = asyncio.get_running_loop().call_later(_AGAIN_S, self._replace)
        else:
            self._lost()

    def _let_go(self) -> None:
        loop = asyncio.get_running_loop()
        if self._sock is not None:
            loop.remove_reader(self._sock)
            loop.remove_writer(self._sock)
            self._sock.close()
        if self._pidfd is not None:
            loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
        self._process = self._sock = self._pidfd = None

    def _send(self) -> None:
        """Send what waits, as far as the socket takes it; the loop goes on with the rest."""
        if self._sock is None:  # between two spawners: `lost` has all asked again
            self._unsent.clear()
            return
        loop = asyncio.get_running_loop()
        while self._unsent:
            try:
                self._sock.send(self._unsent[0])
            except BlockingIOError:
                loop.add_writer(self._sock, self._send)
                return
            except OSError:  # the spawner died; `_died` sees to it
                break
            self._unsent.popleft()
        loop.remove_writer(self._sock)


def _wait(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(_LEAVE_S)
    except subprocess.TimeoutExpired:
        process.kill()  # whatever it still had in its queue is started by the next server
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_LEAVE_S)
