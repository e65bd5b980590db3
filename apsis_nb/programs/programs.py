"""Starts, finds again and stops the programs of runs, and tells what becomes of them."""

import asyncio
import os
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, assert_never

from apsis_nb.core.events import Event, ProgramFinished, ProgramStarted, SignalFailed
from apsis_nb.core.programs import Internal, NoOp, Outcome, Process
from apsis_nb.core.runs import Run
from apsis_nb.core.states import State

from .environment import Account, World, signal_number, spec
from .internals import Internals, Workers
from .noops import NoOps
from .remains import end_remains
from .removal import Removal
from .rundir import Ended, Record, RunDir, UnreadableRecord
from .spawner import Spawner
from .supervisor import OUTPUT, boot_id

#: The second line, should a message be lost or a pidfd not be had: every so many seconds, so many runs.
_LOOK_S = 0.5
_LOOKS = 50
#: So many events are told before the loop has its turn.
_NEWS_A_TURN = 20
#: What follows from the end of a program is done within this time.
_ENDING = timedelta(hours=1)

_SUDO = ("sudo", "-n")  # never asks for a password
_NO_ENV: Mapping[str, str] = {}


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(slots=True, eq=False)
class _Live:
    """A process that is asked for, or runs."""

    run: Run
    is_started: bool  #: whether its start is told
    pidfd: int | None = None  #: of its supervisor
    has_ended: bool = False  #: whether the supervisor that we asked for is gone
    is_stopped: bool = False  #: whether it must end


class Programs:
    """The programs of one server. All methods are for the loop's thread; none blocks it.

    Args:
        root: folder of the run directories, of one epoch of the store; made if missing.
        url: where the server answers; programs find it as `APSIS_URL`.
        env: environment variables of every program, from the config.
        folder: of the job files; modules that they name may lie there.
        tell: gets `ProgramStarted`, `ProgramFinished`, `SignalFailed`; never from within a call of a method.
        now: the wall clock, aware; for times that no supervisor wrote down.
        max_output_b: bytes of captured output at which a program is stopped.
        sudo: how programs of other accounts are run; by default through sudo, unless by root's right.
        workers: what does the work of internal programs, by type.
        accounts: by folder of jobs, the accounts that they may name; empty: any.
    """

    def __init__(
        self,
        root: Path,
        *,
        url: str | None = None,
        env: Mapping[str, str] = _NO_ENV,
        folder: Path | None = None,
        tell: Callable[[Event], None],
        now: Callable[[], datetime] = _utc_now,
        max_output_b: int = 10**9,
        sudo: Sequence[str] | None = None,
        workers: Workers = MappingProxyType({}),
        accounts: Mapping[str, Sequence[str]] = MappingProxyType({}),
    ) -> None:
        self._root = root.absolute()
        self._tell, self._now = tell, now
        if sudo is None:
            sudo = () if os.geteuid() == 0 else _SUDO
        self._world = World(
            url=url,
            env=dict(env),
            folder=folder,
            max_output_b=max_output_b,
            own=Account.own(),
            sudo=sudo,
            accounts=accounts,
        )
        self._boot_id = boot_id()
        self._live: dict[int, _Live] = {}
        self._ending: dict[int, datetime] = {}  # since when: they are told of, and not yet forgotten
        self._no_ops = NoOps(tell=self._tell_soon, now=now)
        self._internals = Internals(self._root, workers, tell=self._tell_soon, now=now)
        self._resumed: set[int] = set()
        self._ended: dict[int, Ended] = {}  # how those ended that are not yet forgotten
        self._news: deque[Event] = deque()
        self._to_look_at: list[int] = []
        self._look_timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._removal = Removal(self._root)
        self._spawner = Spawner(self._root, hear=self._hear, lost=self._ask_again)

    async def open(self) -> None:
        """Start the spawner, and remove what a server before this one left half made.

        Raises:
            ApsisError: the spawner does not come up.
            OSError: `root` cannot be made.
        """
        self._root.mkdir(mode=0o711, parents=True, exist_ok=True)
        self._root.chmod(0o711)  # programs of other accounts pass through to what is theirs, and list nothing
        self._removal.tidy()
        await self._spawner.open()
        self._look_around()

    def start(self, run: Run) -> None:
        """Start the program of a run that never had one."""
        match run.program:
            case NoOp() as no_op:
                self._no_ops.start(run, no_op)
            case Internal() as internal:
                self._internals.start(run, internal)
            case Process() as process:
                self._live[run.run_id] = live = _Live(run, is_started=False)
                self._ask(live, process)
            case _:
                assert_never(run.program)

    def resume(self, run: Run) -> None:
        """Find the program of a run that was live when the last server ended; start it if it never was."""
        match run.program:
            case NoOp() as no_op:
                self._no_ops.resume(run, no_op)
            case Internal() as internal:
                self._internals.resume(run, internal)
            case Process() as process:
                self._resumed.add(run.run_id)
                self._live[run.run_id] = live = _Live(
                    run,
                    is_started=run.state is not State.STARTING,
                    is_stopped=run.state is State.STOPPING,
                )
                there = self._dir(run.run_id)
                if there.exists():
                    if live.is_stopped:
                        self._command_stop(
                            live
                        )  # the last server may not have come to it; once more does no harm
                    self._look(live)
                elif run.state is State.STARTING:
                    self._ask(live, process)
                else:
                    self._end(live, "error", "supervisor lost: its run directory is gone")
            case _:
                assert_never(run.program)

    def knows(self, run_id: int) -> bool:
        """Whether a program of a run runs, or has ended so lately that its outputs may still be packed."""
        ending = self._ending.get(run_id)
        is_ending = ending is not None and self._now() - ending < _ENDING
        places = (self._live, self._no_ops, self._internals)
        return is_ending or any(run_id in place for place in places)

    def stop(self, run: Run) -> None:
        """Ask a program to end: its stop signal, after the grace period SIGKILL to all that is left of it."""
        self._no_ops.stop(run)
        self._internals.stop(run)
        live = self._live.get(run.run_id)
        if live is not None:
            live.is_stopped = True
            if live.is_started:
                self._command_stop(live)

    def signal(self, run_id: int, signal: str) -> None:
        """Send a signal to a program's main process.

        Args:
            run_id: whose.
            signal: `SIGUSR1`, `USR1` or a number.
        """
        live = self._live.get(run_id)
        if run_id in self._no_ops:
            self._tell_soon(SignalFailed(run_id=run_id, message="a no-op takes no signals"))
        elif run_id in self._internals:
            self._tell_soon(SignalFailed(run_id=run_id, message="the server itself takes no signals"))
        elif live is None or not live.is_started:
            self._tell_soon(SignalFailed(run_id=run_id, message="its program does not run"))
        else:
            try:
                self._dir(run_id).command(f"signal {signal_number(signal)}")
            except ValueError as error:
                self._tell_soon(SignalFailed(run_id=run_id, message=str(error)))
            except OSError as error:
                message = f"its supervisor cannot be reached: {error.strerror}"
                self._tell_soon(SignalFailed(run_id=run_id, message=message))

    def meta(self, run_id: int) -> Any:
        """What a program that runs says of itself so far, as JSON; None if it says nothing."""
        return self._dir(run_id).meta()

    def outputs(self, run_id: int) -> list[tuple[str, Path]]:
        """Name and file of each output so far, `output` first; none for a run that has no run directory."""
        return self._dir(run_id).outputs()

    def read_output(
        self, run_id: int, name: str = OUTPUT, offset: int = 0, limit: int = 1 << 20
    ) -> tuple[bytes, int]:
        """A piece of an output, also while the program runs.

        Args:
            run_id: whose.
            name: of the output.
            offset: of the first byte.
            limit: at most so many bytes.

        Returns:
            The bytes, and the size of the whole output now.

        Raises:
            KeyError: there is no such output (any more).
        """
        return self._dir(run_id).read_output(name, offset, limit)

    def ended(self, run_id: int) -> Ended | None:
        """How a program ended, with what it used; None: it runs, was lost, is forgotten, or none of ours."""
        return self._ended.get(run_id)

    def forget(self, run_id: int) -> None:
        """Remove what is kept of a finished run."""
        self._ending.pop(run_id, None)
        live = self._live.pop(run_id, None)
        if live is not None:
            self._let_go(live)
        self._ended.pop(run_id, None)
        path = self._dir(run_id).path
        if run_id in self._resumed:
            # The last server's spawner may still have the run in its queue, and claim it when we have long
            # forgotten it. So the claim stays until the next server starts, which is told by `leftovers`.
            self._resumed.discard(run_id)
            self._removal.empty(path)
        else:
            self._removal.remove(path)

    def leftovers(self) -> list[int]:
        """Runs that have a run directory, but were neither started nor resumed here, and have no supervisor.

        Once every live run is resumed, these are finished runs that the last server did not come to forget.
        """
        found = []
        for path in self._root.iterdir():
            run_id = int(path.name[1:]) if path.name.startswith("r") and path.name[1:].isdecimal() else None
            if run_id is None or run_id in self._live or run_id in self._resumed:
                continue
            if not self._dir(run_id).is_locked():
                found.append(run_id)
        return sorted(found)

    async def close(self) -> None:
        """Leave. Programs and their supervisors go on."""
        if self._look_timer is not None:
            self._look_timer.cancel()
        self._no_ops.close()
        await self._internals.close()
        for live in self._live.values():
            self._let_go(live)
        self._live.clear()
        await self._spawner.close()
        while self._tasks:
            await asyncio.gather(*self._tasks)
        await self._removal.close()

    # --- Processes: what their run directories say is so; everything else only says when to look.

    def _ask(self, live: _Live, process: Process) -> None:
        """Have the program started."""
        run = live.run
        try:
            asked = spec(run, process, self._dir(run.run_id).path, self._world, self._removal.spare())
            self._spawner.ask(asked)
        except ValueError as error:
            self._end(live, "error", f"cannot start: {error}")
        except OSError as error:
            self._end(live, "error", f"cannot start: {error.strerror}: {error.filename!r}")

    def _ask_again(self) -> None:
        """Ask a new spawner for what the one that died may not have come to; who is first, claims."""
        for live in list(self._live.values()):
            if not live.is_started and isinstance(live.run.program, Process):
                self._look(live)
                if live.run.run_id in self._live and not self._dir(live.run.run_id).exists():
                    self._ask(live, live.run.program)

    def _hear(self, told: Mapping[str, Any]) -> None:
        live = self._live.get(told["run"])
        if live is None:
            return
        if "pid" in told:
            self._wait_for(live, told["pid"])
        elif "error" in told:
            self._end(live, "error", told["error"])
        elif "signal_failed" in told:
            self._tell_soon(SignalFailed(run_id=live.run.run_id, message=told["signal_failed"]))
        else:
            self._look(live)

    def _wait_for(self, live: _Live, pid: int) -> None:
        """Hear of the end of a supervisor."""
        if live.pidfd is not None:
            return
        try:
            live.pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            self._supervisor_ended(live)
        except OSError:  # no descriptors left: `_look_around` sees the end, if later
            return
        else:
            asyncio.get_running_loop().add_reader(live.pidfd, self._supervisor_ended, live)

    def _supervisor_ended(self, live: _Live) -> None:
        self._let_go(live)
        self._spawner.listen()  # it may have said why it left
        live.has_ended = True
        if live.run.run_id in self._live:
            self._look(live)

    def _let_go(self, live: _Live) -> None:
        if live.pidfd is not None:
            asyncio.get_running_loop().remove_reader(live.pidfd)
            os.close(live.pidfd)
            live.pidfd = None

    def _look_around(self) -> None:
        if not self._to_look_at:
            self._to_look_at = list(self._live)
        for run_id in self._to_look_at[:_LOOKS]:
            live = self._live.get(run_id)
            if live is not None:
                self._look(live)
        del self._to_look_at[:_LOOKS]
        self._look_timer = asyncio.get_running_loop().call_later(_LOOK_S, self._look_around)

    def _look(self, live: _Live) -> None:
        """Read the run directory, and tell what is new."""
        there = self._dir(live.run.run_id)
        try:
            record = there.record()
            if record is None:
                if live.has_ended and live.is_started:
                    self._end(live, "error", "supervisor lost: its run directory is gone")
                elif live.has_ended:
                    self._end(live, "error", "cannot start: its supervisor ended before it claimed the run")
                return
            self._tell_start(live, record)
            if record.ended is None:
                if record.claimed is None or record.claimed.boot_id != self._boot_id:
                    self._end(live, "error", "supervisor lost: the machine was started anew")
                    return
                if there.is_locked():
                    self._wait_for(live, record.claimed.pid)
                    return
                record = there.record()  # once more: it may have ended between the two looks
        except UnreadableRecord as error:
            self._end(live, "error", f"unknown outcome: {error}")
            return
        if record is None or record.ended is None:
            self._end_lost(live, there, record)
        else:
            self._tell_end(live, record, record.ended)

    def _tell_start(self, live: _Live, record: Record) -> None:
        if live.is_started or record.started is None:
            return
        live.is_started = True
        self._tell_soon(
            ProgramStarted(
                run_id=live.run.run_id, at=record.started.at, run_state={"pid": record.started.pid}
            )
        )
        if live.is_stopped:
            self._command_stop(live)

    def _tell_end(self, live: _Live, record: Record, ended: Ended) -> None:
        self._tell_start(live, record)
        self._end(live, ended.outcome, ended.message, ended)

    def _command_stop(self, live: _Live) -> None:
        try:
            self._dir(live.run.run_id).command("stop")
        except OSError:  # nobody listens: it has ended, and is found so
            return

    def _end_lost(self, live: _Live, there: RunDir, record: Record | None) -> None:
        """The supervisor is gone and left no word: so must be all that it looked after, before we say so."""
        self._live.pop(live.run.run_id)
        self._ending[live.run.run_id] = self._now()
        self._let_go(live)

        started = None if record is None else record.started

        async def end() -> None:
            await asyncio.to_thread(end_remains, there.path, started)
            self._end(live, "error", "supervisor lost")

        self._do(end())

    def _end(self, live: _Live, outcome: Outcome, message: str | None, ended: Ended | None = None) -> None:
        self._live.pop(live.run.run_id, None)
        self._let_go(live)
        if ended is not None:
            self._ended[live.run.run_id] = ended
        self._tell_soon(
            ProgramFinished(
                run_id=live.run.run_id,
                at=ended.at if ended else self._now(),
                outcome=outcome,
                message=message,
                return_code=ended.return_code if ended else None,
                elapsed_s=ended.elapsed_s if ended else None,
            )
        )

    # --- Telling.

    def _tell_soon(self, event: Event) -> None:
        if isinstance(event, ProgramFinished):
            self._ending[event.run_id] = self._now()
        if not self._news:
            asyncio.get_running_loop().call_soon(self._tell_news)
        self._news.append(event)

    def _tell_news(self) -> None:
        news = [self._news.popleft() for _ in range(min(_NEWS_A_TURN, len(self._news)))]
        if self._news:
            asyncio.get_running_loop().call_soon(self._tell_news)
        for event in news:
            self._tell(event)

    def _do(self, work: Any) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _dir(self, run_id: int) -> RunDir:
        return RunDir(self._root, run_id)
