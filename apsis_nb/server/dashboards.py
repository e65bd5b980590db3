"""The dashboards process: started beside the server, started again when it dies, ended with it."""

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from apsis_nb.config import LONGEST_SOCKET_PATH, runtime_dir
from apsis_nb.server.proxy import PREFIX
from apsis_nb.server.tokens import Gatekeeper

log = logging.getLogger(__name__)

COMMAND = (sys.executable, "-m", "apsis_nb.views.process")

_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.5, 30.0  #: before a process that ended is started again
_STAYED_S = 60.0  #: after such a life the pauses begin anew
_LEAVE_S = 5.0  #: for the process to leave when it is told to
#: How the name of a folder begins that is made for the socket alone, where all other paths are too long.
_OWN_FOLDER = "apsis-nb-"


class Dashboards:
    """Keeps the process that makes the pages running."""

    def __init__(
        self,
        socket: Path,
        gate: Gatekeeper,
        api_url: str,
        command: Sequence[str] = COMMAND,
        cert: Path | None = None,
    ) -> None:
        """
        Args:
            socket: where the process is to listen.
            gate: gives the process its secrets.
            api_url: where the process finds the server.
            command: what to run; it gets `--socket`, `--prefix` and `--api`.
            cert: the file of the certificate by which the process knows the server.
        """
        self._env = os.environ | ({} if cert is None else {"APSIS_NB_CERT": str(cert)})
        self._socket, self._gate = socket, gate
        self._command = [*command, "--socket", str(socket), "--prefix", PREFIX, "--api", api_url]

    async def keep_running(self) -> None:
        """Start the process, and again whenever it ends. When this is cancelled, so is the process."""
        try:
            await self._keep_running()
        finally:
            if self._socket.parent.name.startswith(_OWN_FOLDER):
                with contextlib.suppress(OSError):
                    self._socket.parent.rmdir()

    async def _keep_running(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while True:
            began = time.monotonic()
            try:
                code: object = await self._run()
            except OSError as error:  # no memory, too many processes ...
                code = error
            if time.monotonic() - began > _STAYED_S:
                pause_s = _FIRST_PAUSE_S
            log.error("the dashboards process ended (%s); next start in %.1f s", code, pause_s)
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, _LAST_PAUSE_S)

    async def _run(self) -> int:
        """Start the process and wait for its end; gives its exit code."""
        # In a session of its own: a Ctrl+C at the terminal is for the server, which ends it in order.
        process = await asyncio.create_subprocess_exec(
            *self._command, stdin=asyncio.subprocess.PIPE, start_new_session=True, env=self._env
        )
        assert process.stdin is not None
        log.info("the dashboards process is %d", process.pid)
        try:
            # Not as arguments, which every account of the machine can read. The pipe then stays open: its
            # end, also by a crash of ours, tells the process to leave.
            secrets = {"key": self._gate.dashboards_key, "token": self._gate.dashboards_token(time.time())}
            process.stdin.write(json.dumps(secrets).encode() + b"\n")
            with contextlib.suppress(ConnectionError):
                await process.stdin.drain()
            return await process.wait()
        finally:
            await _end(process)
            self._socket.unlink(missing_ok=True)


def socket_of(state_dir: Path) -> Path:
    """Where the dashboards process of a server listens: in its state folder, unless that path is too long."""
    path = state_dir / "dash.sock"
    if len(os.fsencode(path)) < LONGEST_SOCKET_PATH:
        return path
    path = runtime_dir() / f"{os.getpid()}.sock"
    if len(os.fsencode(path)) >= LONGEST_SOCKET_PATH:
        return Path(tempfile.mkdtemp(prefix=_OWN_FOLDER, dir="/tmp")) / "dash.sock"
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    return path


async def _end(process: asyncio.subprocess.Process) -> None:
    """Tell the process to leave, and kill what does not."""
    if process.returncode is None:
        assert process.stdin is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(_LEAVE_S):
                await process.wait()
        except TimeoutError:
            log.warning("the dashboards process does not leave: it is killed")
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # also what it started
    await process.wait()
