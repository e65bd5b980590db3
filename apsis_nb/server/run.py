"""Runs the server: engine, HTTP and dashboards, from the first to the last moment."""

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import socket
import ssl
import sys
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib import import_module
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from apsis_nb._version import __version__
from apsis_nb.config import Config, write_runtime
from apsis_nb.core.errors import ApsisError
from apsis_nb.core.runs import Run
from apsis_nb.engine import Engine, doctor, garbage, retention
from apsis_nb.server import systemd
from apsis_nb.server.app import account, make_app
from apsis_nb.server.events import Events
from apsis_nb.server.log import set_up_log
from apsis_nb.server.tokens import open_gate

log = logging.getLogger(__name__)

THREADS = 32  #: for what blocks: queries, outputs, job files
#: How long another thread may keep that of the loop from going on, seconds; Python itself has 5 ms.
SWITCH_S = 0.0005
#: How long requests under way may go on when the server stops, seconds.
GRACE_S = 5
#: How many of the runs that a server waits for are named.
SHOWN = 10
#: Longer than any client keeps an idle connection: who closes first must not be the one that is asked.
KEEP_ALIVE_S = 75
#: Connections that may wait for a unix socket to take them.
_BACKLOG = 2048
#: A store that broke is opened again after so long; after longer each time, unless it worked for a while.
_FIRST_PAUSE_S, _LAST_PAUSE_S, _STAYED_S = 1.0, 300.0, 600.0
#: But not before there is so much room, or a tenth of a small disk.
_ROOM_B = 64_000_000
_LOOK_S = 1.0


def serve(config: Config, *, ready: Callable[[str], None] | None = None) -> None:
    """Run a server until SIGTERM or SIGINT. The programs that it started go on.

    With `drain` it starts nothing more then, and ends when they have ended; a second signal ends the waiting.

    Args:
        config: of the server; port 0 takes a free one.
        ready: called with the address that logs a browser in, once connections are accepted.

    Raises:
        ApsisError: it cannot start: the address or the store is in use, there is no job folder ...
    """
    sys.setswitchinterval(SWITCH_S)
    os.umask(0o077)  # what the server writes is for its own account
    set_up_log(config)
    _check_tls(config)
    with contextlib.closing(bound(config)) as listening, _removed_at_end(config.socket):
        if config.socket is None:
            config = config.with_port(listening.getsockname()[1])
        is_again, pause_s = False, _FIRST_PAUSE_S
        while True:
            began = time.monotonic()
            # Whoever serves closes what he listens on; the address stays ours until the end.
            try:
                if not asyncio.run(_serve(config, listening.dup(), ready, pause_s)):
                    return
            except ApsisError as error:
                if not is_again:
                    raise
                log.critical("cannot start again, which is tried again in %.0f s: %s", pause_s, error)
                _rest(pause_s)
            is_again, ready = True, None  # told already
            stayed = time.monotonic() - began > _STAYED_S
            pause_s = _FIRST_PAUSE_S if stayed else min(pause_s * 2, _LAST_PAUSE_S)


@contextlib.contextmanager
def _removed_at_end(path: Path | None) -> Iterator[None]:
    """Take our unix socket away at the end, but not one that somebody has put there since."""
    made = None if path is None else path.stat().st_ino
    try:
        yield
    finally:
        if path is not None:
            with contextlib.suppress(OSError):
                if path.stat().st_ino == made:
                    path.unlink()


def _entrance(config: Config, token: str) -> str:
    """What is told of where the server is: the link that logs a browser in, if one can open it."""
    is_link = config.socket is None or config.public_url is not None
    return f"{config.link_url}/?token={token}" if is_link else config.bind


def _rest(seconds: float) -> None:
    """Wait between two servers; systemd hears that this is meant."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        systemd.tell("WATCHDOG=1")
        time.sleep(min(left, _LOOK_S))


async def _serve(
    config: Config, listening: socket.socket, ready: Callable[[str], None] | None, pause_s: float
) -> bool:
    """Serve until a signal comes, or the store broke and may be in order if it is opened again.

    Returns:
        Whether to serve again.
    """
    # Of Python's own choice there would be six on two cores, and a few slow queries would hold them all.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS, "apsis-nb"))
    gate = open_gate(config.state_dir, account())
    engine = Engine(config)
    events = Events(engine.boot_id, __version__)
    starting = asyncio.ensure_future(engine.start())
    await asyncio.sleep(0)  # now the store is being opened, on a thread; meanwhile the application is built
    app = make_app(engine, config, gate=gate, events=events)
    # Loading it holds all threads up, up to a fifth of a second: not with the first question, beside starts.
    import_module("pyarrow")
    await starting
    runtime = []
    try:

        def tell_ready() -> None:
            cert = config.tls.cert if config.tls else None
            runtime.extend(write_runtime(config.base_url, gate.token, config.state_dir, cert=cert))
            does = "observes, and starts nothing of," if config.observe else "serves"
            log.info("apsis_nb %s %s %s at %s", __version__, does, config.jobs, config.base_url)
            if ready is not None:
                ready(_entrance(config, gate.token))
            systemd.tell(f"READY=1\nSTATUS={does} {config.jobs} at {config.base_url}")
            if (within_s := systemd.watchdog_s()) is not None:
                engine.tasks.run("watchdog", lambda: systemd.feed_watchdog(within_s))
            engine.tasks.run("doctor", lambda: doctor.visit(engine))
            engine.tasks.run("garbage", garbage.collect)
            engine.tasks.run("retention", lambda: retention.every_day(engine))

        drain = partial(engine.drain, partial(_tell_waits_for, config)) if config.drain else None
        server = _HttpServer(http_settings(app, config), events, tell_ready, drain)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, server.stop, number)
        mending = loop.create_task(_start_again_when_mended(engine, server, pause_s))
        await server.serve([listening])
        mending.cancel()
    finally:
        for file in runtime:
            file.unlink(missing_ok=True)
        await engine.stop()
    log.info("%s; programs that run go on", "starting again" if server.starts_again else "stopped")
    return server.starts_again


async def _start_again_when_mended(engine: Engine, server: "_HttpServer", pause_s: float) -> None:
    """Have a server whose store broke start again when there is room on the disk.

    Until then it answers, and says how it is. What runs goes on; a start finds out what is in the store, as
    after any crash.
    """
    await engine.broke.wait()
    await asyncio.sleep(pause_s)
    disk = shutil.disk_usage(engine.config.state_dir)
    needed_b = min(_ROOM_B, disk.total // 10)
    if disk.free < needed_b:
        log.critical(
            "%s has %.0f MB free: the server goes on when there are %.0f MB",
            engine.config.state_dir,
            disk.free / 1e6,
            needed_b / 1e6,
        )
    while shutil.disk_usage(engine.config.state_dir).free < needed_b:  # noqa: ASYNC110  (it tells nobody)
        await asyncio.sleep(_LOOK_S)
    server.start_again()


def _tell_waits_for(config: Config, runs: Sequence[Run]) -> None:
    """Say what a server that is to stop waits for: in the log, and on the terminal if that is not there."""
    names = ", ".join(f"{run.name} {run.inst.job_id}" for run in runs[:SHOWN])
    more = f" and {len(runs) - SHOWN} more" if len(runs) > SHOWN else ""
    text = (
        f"stops when {names}{more} {'has' if len(runs) == 1 else 'have'} ended; a second signal stops it now"
    )
    log.warning("%s", text)
    if config.log.file is not None:
        sys.stderr.write(text + "\n")


def _check_tls(config: Config) -> None:
    """Refuse a certificate that cannot be used.

    Raises:
        ApsisError: it is none, or has another key.
    """
    if config.tls is None:
        return
    try:
        # The password is for keys that want one: openssl would ask for it on the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(config.tls.cert, config.tls.key, password="")
    except OSError as error:  # also what is in them
        raise ApsisError(
            f"tls: {config.tls.cert} and {config.tls.key} are no certificate and its key, without a password "
            f"({error.strerror or error}): `apsis-nb tls self-signed` makes both"
        ) from None


def http_settings(app: ASGIApp, config: Config) -> uvicorn.Config:
    """How HTTP is spoken."""
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,  # it would tell queries, and so tokens; the guard logs what changes something
        server_header=False,
        proxy_headers=False,  # anybody could send them
        lifespan="on",
        timeout_graceful_shutdown=GRACE_S,
        timeout_keep_alive=KEEP_ALIVE_S,
        ssl_certfile=config.tls.cert if config.tls else None,
        ssl_keyfile=config.tls.key if config.tls else None,
    )


class _HttpServer(uvicorn.Server):
    """Uvicorn's server, but stopped by us: by itself it would end the process before the engine has.

    Args:
        settings: of uvicorn.
        events: end when it does.
        tell_ready: called once connections are accepted.
        drain: what is waited for before it stops, unless it is told twice; None: nothing.
    """

    def __init__(
        self,
        settings: uvicorn.Config,
        events: Events,
        tell_ready: Callable[[], None],
        drain: Callable[[], Coroutine[None, None, None]] | None,
    ) -> None:
        super().__init__(settings)
        self._events, self._tell_ready, self._drain = events, tell_ready, drain
        self._draining: asyncio.Task[None] | None = None
        self.starts_again = False

    def start_again(self) -> None:
        """Stop, to serve anew; unless it is to stop anyway."""
        if not self.should_exit and self._draining is None:
            self.starts_again = self.should_exit = True

    def stop(self, number: signal.Signals) -> None:
        self.starts_again = False
        systemd.tell("STOPPING=1")
        if self.should_exit:
            self.force_exit = True  # asked twice: whatever is under way is cut off
        elif self._drain is not None and self._draining is None:
            log.info("%s: stopping; nothing more is started", number.name)
            self._draining = asyncio.get_running_loop().create_task(self._drain())
            self._draining.add_done_callback(self._drained)
            return
        log.info("%s: stopping", number.name)
        if self._draining is not None:
            self._draining.cancel()
        self.should_exit = True

    def _drained(self, draining: "asyncio.Task[None]") -> None:
        if not draining.cancelled() and (error := draining.exception()) is not None:
            log.error("cannot wait for the programs: %s", error)
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._tell_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._events.close()  # they would never end by themselves
        await super().shutdown(sockets)


def bound(config: Config) -> socket.socket:
    """A socket that has the address of the config; port 0 becomes one that is free.

    Raises:
        ApsisError: the address is in use, or is none of this machine.
    """
    if config.socket is not None:
        return _bound_to_path(config.socket)
    if not (config.is_loopback or config.tls or config.insecure):
        raise ApsisError(f"bind: {config.bind} can be reached from other machines: give tls, or set insecure")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            config.host, config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise ApsisError(f"bind: {config.bind} is no address of this machine: {error.strerror}") from None
    # With the protocol named: else asyncio leaves Nagle's algorithm on, and each answer takes 40 ms.
    listening = socket.socket(family, kind, protocol)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(address)
    except OSError as error:
        listening.close()
        hint = "give another port with --bind, or 0 for any that is free"
        raise ApsisError(f"bind: cannot use {config.bind} ({error.strerror}): {hint}") from None
    return listening


def _bound_to_path(path: Path) -> socket.socket:
    """A unix socket that listens; one that a server left there which was killed is taken away.

    Raises:
        ApsisError: somebody listens there, or it cannot be made.
    """
    listening = socket.socket(socket.AF_UNIX)
    try:
        if path.is_socket():
            _remove_dead(path)
        listening.bind(str(path))
        # Whom else its folder lets in: a proxy with an account of its own is of the folder's group.
        path.chmod(0o660)
        # At once, for another server takes one on which nobody listens to be dead.
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        hint = "give the path of a socket that is to be made, in a folder that is there"
        raise ApsisError(f"bind: cannot use unix:{path} ({error.strerror}): {hint}") from None
    except ApsisError:
        listening.close()
        raise
    return listening


def _remove_dead(path: Path) -> None:
    """Remove a socket on which nobody listens.

    Raises:
        ApsisError: somebody does.
        OSError: it cannot be told, or not be removed.
    """
    with socket.socket(socket.AF_UNIX) as asking:
        asking.setblocking(False)
        try:
            asking.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except BlockingIOError:
            pass  # it has more to do than it can take
    raise ApsisError(f"bind: another process listens at unix:{path}: stop it, or give another path")
