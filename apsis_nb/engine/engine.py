"""Carries the machine's instructions out: saves first, then effects, whose results come back as events."""

import asyncio
import contextlib
import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from datetime import datetime, time, timedelta
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any, assert_never
from uuid import uuid4

from apsis_nb.config import Config
from apsis_nb.core.actions import RECOVERED
from apsis_nb.core.errors import ApsisError, NotFound, Refused
from apsis_nb.core.events import (
    BackfillRequested,
    DrainRequested,
    Event,
    IdsReserved,
    JobsLoaded,
    ProgramFinished,
    Restored,
    RunFound,
    RunRequested,
    Tick,
)
from apsis_nb.core.ids import LOW_IDS
from apsis_nb.core.instructions import (
    Effect,
    FindRun,
    Forget,
    Instruction,
    PollCondition,
    ReserveIds,
    ResumeProgram,
    Save,
    SaveClock,
    SaveMark,
    SavePause,
    SaveRun,
    SendNotice,
    SignalProgram,
    StartProgram,
    StopProgram,
    TellLate,
    WakeAt,
)
from apsis_nb.core.jobs import Job, coming_args
from apsis_nb.core.machine import Machine
from apsis_nb.core.pauses import Pause
from apsis_nb.core.preview import Ran, difference, lost, runs_again
from apsis_nb.core.runs import Run, RunId
from apsis_nb.core.schedules import counts_between, due_between
from apsis_nb.core.states import BUSY
from apsis_nb.core.times import after_gap, format_time, zone
from apsis_nb.jobfiles import Folder
from apsis_nb.programs import Ended, Programs
from apsis_nb.store import MetaRow, OutputRow, Store, StoreFull, content_type
from apsis_nb.wire import RunFacts, late_facts, pause_facts

from .clock import utc_now
from .heartbeat import Heartbeat
from .internals import workers_of
from .job_folder import Changes, JobFolder, error_facts
from .notices import Notices
from .polls import Polls
from .tally import Tally
from .tasks import Tasks

log = logging.getLogger("apsis_nb.engine")

Listener = Callable[[str, Mapping[str, Any]], None]

#: The idle clock: a tick at least this often, so that a crash or a change of clocks costs no more.
TICK_S = 1.0
#: A stored clock that is further ahead of the machine's is not believed.
AHEAD = timedelta(hours=1)
#: No timer is set for longer; the idle clock covers what is further off.
LONGEST_WAIT_S = 3600.0
#: What nothing follows from, but that a run directory may go, nobody waits for. It is saved with what comes
#: next, or after so long: a commit costs much more than what it holds, and this halves their number.
PATIENT, GATHER_S = (SaveRun, SaveClock, Forget), 0.01
#: So many answers to those who wait are handled before the loop has its turn.
FOUND_A_TURN = 20
#: A preview of an edit looks so far ahead, and tells so many rows of each kind, of so many jobs.
PREVIEW_SPAN, PREVIEW_ROWS, PREVIEWS = timedelta(days=7), 1000, 50


class Engine:
    """A scheduler at work: one machine, one store, its programs and its job folder.

    All methods are for the loop's thread, but those that say that they block.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.machine = Machine(
            limit=config.limits.running,
            max_wait_s=config.waiting.max_time,
            actions=config.action,
            observes=config.observe,
        )
        self.tasks = Tasks()
        self.job_folder: JobFolder
        self.boot_id = uuid4().hex
        self.started_at = utc_now()
        self.down: tuple[datetime, datetime] | None = None  #: from when to when no server ran before this one
        self.broken: str | None = None  #: why nothing is saved, and so nothing started, any more
        self.broke = asyncio.Event()  #: set when it is
        self.store: Store
        self.programs: Programs
        self.notices: Notices
        self._loop: asyncio.AbstractEventLoop
        self._listeners: list[Listener] = []
        self._batch: list[Instruction] = []  # of the events handled in this turn of the loop
        self._outputs: dict[RunId, list[OutputRow]] = {}
        self._meta: dict[RunId, MetaRow] = {}
        self._saved: asyncio.Future[None] | None = None  # of the batch that is being gathered
        self._flushing: asyncio.Handle | None = None  # when it is handed to the store
        self._is_hurried = False  # at the end of this turn of the loop
        self._unsaved: set[asyncio.Future[None]] = set()
        self._has_saved = asyncio.Event()  # something, or it failed
        self._polls: Polls
        self._finds: list[FindRun] = []
        self._found = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self.loop_lag_s = 0.0  #: how much too late the last tick was
        self.commit_lag_s = 0.0  #: how long the last save took
        self.tally = Tally()
        self._closing = False

    # -- life

    async def start(self) -> None:
        """Open the store, take up what was under way, and run from now on.

        Raises:
            StoreError: the store cannot be opened (another server holds it, or it is damaged).
            ApsisError: there is no job folder.
        """
        config = self.config
        self._loop = asyncio.get_running_loop()
        if not config.jobs.is_dir():
            raise ApsisError(f"there is no job folder {config.jobs}: make it, or name another one")
        _make_state_dir(config.state_dir)
        self.store = await asyncio.to_thread(
            Store.open,
            config.state_dir / "runs.duckdb",
            threads=config.store.threads,
            memory_limit=config.store.memory_limit,
        )
        async with contextlib.AsyncExitStack() as undo:
            # Whoever tries again, in this process too, must find the store free.
            undo.push_async_callback(asyncio.to_thread, self.store.close)
            undo.callback(self._close)
            await self._begin(undo)
            undo.pop_all()

    async def _begin(self, undo: contextlib.AsyncExitStack) -> None:
        """Take up what was under way.

        Args:
            undo: gets what is to be done if the start fails further on.
        """
        config = self.config
        live, clock = await asyncio.to_thread(self.store.restore)
        if config.observe:
            _refuse_busy(live)
        self._polls = Polls(self.store, self.live, self.handle, config.jobs)
        self.job_folder = JobFolder(config, self.store, self._take_up)
        await self.job_folder.open()
        self.notices = Notices(
            config,
            self.store,
            jobs=lambda: self.machine.jobs,
            read_output=self.read_output,
            tell_line=self._publish_line,
        )
        self.programs = Programs(
            config.state_dir / "runs" / self.store.epoch,
            url=config.base_url,
            env=config.env,
            folder=config.jobs,
            tell=self._tell,
            workers=workers_of(self),
            accounts=config.accounts,
        )
        await self.programs.open()
        undo.push_async_callback(self.programs.close)
        for error in self.folder.errors:
            log.error("%s", error)
        self.notices.look_at(self.folder.jobs.values())
        log.info(
            "%d jobs, %d broken files; %d live runs",
            len(self.folder.jobs),
            len(self.folder.errors),
            len(live),
        )
        if clock is not None and clock - utc_now() > AHEAD:
            # Obeyed, it would hold back every schedule until then.
            log.error(
                "the last server's clock was at %s, which is yet to come: schedules go on from now; "
                "if this machine's clock is wrong, mend it and start again",
                format_time(clock),
            )
            clock = utc_now()
        if clock is not None:
            self.down = (clock, utc_now())
        first, stop = await asyncio.to_thread(self.store.reserve_ids, LOW_IDS * 2)
        self.handle(IdsReserved(first=first, stop=stop))
        restored = Restored(
            runs=tuple(live),
            clock=clock,
            pauses=tuple(self.store.pauses()),
            backfill_failures=self.store.backfill_failures(),
            bad_jobs=await asyncio.to_thread(self.store.bad_jobs, self._may_recover()),
        )
        self.handle(restored)
        if self._saved is not None:
            self._hurry()
            await asyncio.shield(self._saved)
        for run_id in self.programs.leftovers():
            if run_id not in self.live:  # it was saved as finished, and the last server came no further
                self.programs.forget(run_id)
        self.handle(JobsLoaded(jobs=tuple(self.folder.jobs.values())))
        if not config.observe:  # one that observes tells nobody: they are the next server's
            await self.notices.open()
        self.tasks.run("clock", self._tick)
        self.tasks.run("find", self._find)
        self.tasks.run("polls", self._polls.loop)
        if config.watch:
            self.tasks.run("watch", self.job_folder.watch)
        if (monitor := config.heartbeat) is not None:
            url = partial(self.notices.addresses.kept, monitor.url)
            self.tasks.run("heartbeat", Heartbeat(url, monitor.every, self._is_well).beat)

    def _may_recover(self) -> list[str] | None:
        """The jobs of which somebody wants to hear when they end well again; None: all."""
        if any(RECOVERED in action.when.events for action in self.config.action):
            return None
        jobs = self.folder.jobs.values()
        return [job.job_id for job in jobs if any(RECOVERED in a.when.events for a in job.actions)]

    async def drain(self, tell: Callable[[Sequence[Run]], None]) -> None:
        """Start nothing more, and return when the programs that run have ended and their ends are saved.

        What comes due meanwhile is left to the next server, as if this one had been stopped already.

        Args:
            tell: gets the runs that are waited for, the oldest first: at once, and when fewer are left.
        """
        self.handle(DrainRequested())
        told = -1
        while self.broken is None:
            busy = sorted((run for run in self.live.values() if run.state in BUSY), key=lambda r: r.run_id)
            if not busy:
                return
            if len(busy) != told:
                told = len(busy)
                tell(busy)
            self._has_saved.clear()
            await self._has_saved.wait()

    async def stop(self) -> None:
        """Save what is under way and leave; programs go on, and the next server finds them."""
        self._close()
        await self.tasks.cancel()
        await self._polls.close()
        if self._flushing is not None:
            self._flushing.cancel()
            self._flush()
        await asyncio.gather(*self._unsaved, return_exceptions=True)
        await self.notices.close()
        await self.programs.close()
        await asyncio.to_thread(self.store.close)

    def _close(self) -> None:
        """Nothing new happens from here on."""
        self._closing = True
        if self._timer is not None:
            self._timer.cancel()

    def _is_well(self) -> bool:
        return self.broken is None and not self.machine.is_draining and bool(self.store.health()["ok"])

    # -- what others ask

    @property
    def folder(self) -> Folder:
        """The job files as they were read last."""
        return self.job_folder.folder

    @property
    def jobs(self) -> Mapping[str, Job]:
        """The good jobs, by id."""
        return self.machine.jobs

    @property
    def is_saving(self) -> bool:
        """Whether something is ordered and not yet committed, and is not only gathered."""
        return self._is_hurried or bool(self._unsaved)

    @property
    def live(self) -> Mapping[RunId, Run]:
        """The runs that have not finished, by id."""
        return self.machine.runs

    @property
    def pauses(self) -> list[Pause]:
        """What is paused now."""
        now = utc_now()
        return [p for p in self.machine.pauses if p.until is None or p.until > now]

    def plan_resume(self, pause: Pause) -> dict[str, Any]:
        """What the end of a pause means. Blocks: call it in a thread.

        Returns:
            {skipped: the newest runs that it held back, [{run_id, job_id, args, nominal_at}], at most 1000;
            next: what comes due next without it, of the next day, [{job_id, args, nominal_at, scheduled_at}]}
        """
        now, skipped, coming = utc_now(), [], []
        job_id = pause.target if pause.scope == "job" else None
        runs = self.store.runs(job_id=job_id, state=["skipped"], since=pause.at, limit=PREVIEW_ROWS)
        for facts in runs:
            if pause.covers(facts["job_id"]) and (facts["skip_reason"] or "").startswith("paused"):
                row = {name: facts[name] for name in ("job_id", "args", "nominal_at")}
                skipped.append({"run_id": f"r{facts['run_id']}", **row})
        for name in filter(pause.covers, list(self.jobs)):
            coming += self.expected(now, now + timedelta(days=1), job_id=name, limit=PREVIEWS)
        skipped.sort(key=lambda row: row["nominal_at"], reverse=True)
        coming.sort(key=lambda row: (row["scheduled_at"], row["job_id"]))
        return {"skipped": skipped[:PREVIEW_ROWS], "next": coming[:PREVIEWS]}

    async def ask(self, event: Event) -> list[Run]:
        """Hand a request to the machine and wait until what follows from it is committed.

        Returns:
            The runs that it made or moved, newest value each, in the order of their ids.

        Raises:
            NotFound, Refused, BindError: it cannot be met; nothing has changed.
        """
        needed = 1
        if isinstance(event, RunRequested):
            needed = event.count
        elif isinstance(event, BackfillRequested):
            needed = len(event.instances)
        if needed > self.machine.ids_left:
            await self._reserve(needed)
        orders = self.handle(event)
        saved = self._saved
        if saved is not None:
            self._hurry()
            await asyncio.shield(saved)
        runs = {order.run.run_id: order.run for order in orders if isinstance(order, SaveRun)}
        return [self.live.get(run_id, run) for run_id, run in sorted(runs.items())]

    def expected(
        self,
        start: datetime,
        stop: datetime,
        *,
        job_id: str | None = None,
        limit: int = 1000,
        each: int | None = None,
    ) -> list[dict[str, Any]]:
        """What the schedules will make, by time: job_id, args, nominal_at, scheduled_at (aware, UTC).

        Args:
            start, stop: aware; start is included, stop is not.
            job_id: of one job only.
            limit: at most so many, the earliest.
            each: of each job at most so many, the earliest; None: all.
        """
        jobs = self.jobs.values() if job_id is None else [self.jobs[job_id]]
        most = limit if each is None else min(each, limit)
        all_found = []
        for job in jobs:
            found = []
            for schedule in job.schedules:
                if not schedule.enabled:
                    continue
                for n, (at, occurrence) in enumerate(due_between(job.job_id, schedule, start, stop)):
                    if n == most:
                        break
                    args = coming_args(job, occurrence.args, schedule.args)
                    found.append(
                        {
                            "job_id": job.job_id,
                            "args": args,
                            "nominal_at": occurrence.at,
                            "scheduled_at": at,
                        }
                    )
            all_found += sorted(found, key=itemgetter("scheduled_at"))[:most]
        return sorted(all_found, key=itemgetter("scheduled_at", "job_id"))[:limit]

    def expected_counts(
        self, start: datetime, stop: datetime, *, every: timedelta, job_id: str | None = None
    ) -> list[dict[str, Any]]:
        """How many runs the schedules will make, by job and piece of time: however many, the answer is short.

        Args:
            start, stop: aware; start is included, stop is not.
            every: the length of a piece; the first begins at `start`.
            job_id: of one job only.

        Returns:
            job_id, period (the start of the piece), runs, first_at; by job, then time.
        """
        jobs = self.jobs.values() if job_id is None else [self.jobs[job_id]]
        found: dict[tuple[str, datetime], tuple[int, datetime]] = {}
        for job in jobs:
            for schedule in (s for s in job.schedules if s.enabled):
                for period, runs, first_at in counts_between(job.job_id, schedule, start, stop, every):
                    before, first = found.get((job.job_id, period), (0, first_at))
                    found[job.job_id, period] = (before + runs, min(first, first_at))
        return [
            {"job_id": job_id, "period": period, "runs": runs, "first_at": first_at}
            for (job_id, period), (runs, first_at) in sorted(found.items())
        ]

    async def reload(
        self, *, dry_run: bool = False, force: bool = False, by: str | None = None
    ) -> dict[str, Any]:
        """Read the job folder again.

        A working job whose file is broken now is not lost: unless `force`, nothing is applied then.

        Args:
            dry_run: only tell what would change.
            force: apply it even so.
            by: who asks.

        Returns:
            {added, removed, changed: [job ids], errors: [{job_id, file, line, col, level, message}],
            applied: bool, previews: for a dry run, what becomes of the coming runs, by job id}
        """
        before = self.jobs
        folder, changes, applied = await self.job_folder.reload(dry_run=dry_run, force=force, by=by)
        previews = {}
        if dry_run:
            touched = sorted([*changes.added, *changes.removed, *changes.changed])[:PREVIEWS]
            for job_id in touched:
                previews[job_id] = await asyncio.to_thread(
                    self.preview, before.get(job_id), folder.jobs.get(job_id)
                )
        errors = [error_facts(e) for e in folder.errors]
        return {**changes.by_kind(), "errors": errors, "applied": applied, "previews": previews}

    def preview(self, old: Job | None, new: Job | None) -> dict[str, Any]:
        """What an edit of a job does to its runs. Blocks: call it in a thread.

        Returns:
            {added, removed: [{at, args}] of the next 7 days, the first 1000 each; of the removed also `lost`:
            its args neither ran today nor will run; added_count, removed_count: how many they are; until:
            where the comparison ends, earlier for a job of very many runs; ran: what a schedule made today,
            [{run_id, state, at, args, again_at: when the edit runs the same once more, or None}]}
        """
        job, now, tz = new or old, utc_now(), zone(self.config.tz)
        found = difference(old, new, now, now + PREVIEW_SPAN)
        today = now.astimezone(tz).date()
        begin, end = (after_gap(today + timedelta(days=n), time(), tz) for n in (0, 1))
        job_id = job.job_id if job else None
        made = self.store.runs(job_id=job_id, since=begin, until=now, limit=PREVIEW_ROWS) if job_id else []
        made = [facts for facts in made if facts["origin"] == "schedule"]
        ran = [Ran(facts["scheduled_at"], tuple(sorted(facts["args"].items()))) for facts in made]
        gone = set(lost(ran, old, found))
        return {
            "added": [{"at": c.at, "args": dict(c.args)} for c in found.added[:PREVIEW_ROWS]],
            "removed": [
                {"at": c.at, "args": dict(c.args), "lost": c in gone} for c in found.removed[:PREVIEW_ROWS]
            ],
            "added_count": len(found.added),
            "removed_count": len(found.removed),
            "until": found.until,
            "ran": [
                {
                    "run_id": f"r{facts['run_id']}",
                    "state": facts["state"],
                    "at": facts["scheduled_at"],
                    "args": facts["args"],
                    "again_at": again_at,
                }
                for facts, again_at in zip(made, runs_again(ran, old, new, found, end), strict=True)
            ],
        }

    def _take_up(self, folder: Folder, changes: Changes) -> None:
        """A reload is applied: the machine follows it, and who listens hears of it."""
        self.notices.look_at(folder.jobs[job_id] for job_id in (*changes.added, *changes.changed))
        self.handle(JobsLoaded(jobs=tuple(folder.jobs.values())))
        for change, job_ids in {**changes.by_kind(), "broken": changes.broken}.items():
            for job_id in job_ids:
                self._publish("job", {"job_id": job_id, "change": change})

    def read_output(
        self, run_id: RunId, name: str = "output", offset: int = 0, limit: int = 1 << 20
    ) -> tuple[bytes, int]:
        """Bytes of an output from `offset`, at most `limit`, and its size now. Blocks: call it in a thread.

        Where `output` is asked for, and the program has its outputs apart, it is `stdout`.

        Raises:
            NotFound: the run has no such output.
        """
        is_live = run_id in self.live  # asked first: it may end while we look
        names = [name, "stdout"] if name == "output" else [name]
        for found in names:
            with contextlib.suppress(KeyError):  # it has ended and its directory is gone, or never was
                return self.programs.read_output(run_id, found, offset, limit)
        for found in names:
            with contextlib.suppress(NotFound):
                return self.store.read_output(run_id, found, offset, limit)
        if is_live and name == "output":
            return b"", 0
        if not is_live and (dropped := self.store.dropped(run_id)) is not None:
            raise NotFound(f"the outputs of run r{run_id} were dropped: {dropped['reason']}")
        raise NotFound(f"run r{run_id} has no output {name!r}")

    def meta(self, run_id: RunId) -> Any:
        """What the program of a live run says of itself so far, as JSON. Blocks: call it in a thread."""
        return self.programs.meta(run_id)

    def outputs(self, run_id: RunId) -> list[dict[str, Any]]:
        """The outputs of a run: name, length (bytes), content_type. Blocks: call it in a thread."""
        try:  # the run directory first: what leaves it is in the store by then
            growing = [
                {"name": name, "length": path.stat().st_size, "content_type": content_type(name)}
                for name, path in self.programs.outputs(run_id)
            ]
        except FileNotFoundError:
            growing = []
        return self.store.outputs(run_id) or growing

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call `listener(kind, facts)` after each commit; returns what ends it.

        Kinds: run, log, job, late, pause, server.
        """
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def health(self) -> dict[str, Any]:
        """How the server does: loops, lags (ms), free disk (bytes), live runs, the store."""
        return {
            "ok": self.broken is None,
            "broken": self.broken,
            "draining": self.machine.is_draining,
            "observing": self.machine.observes,
            "loops": self.tasks.facts(),
            "loop_lag_ms": round(self.loop_lag_s * 1000, 1),
            "commit_lag_ms": round(self.commit_lag_s * 1000, 1),
            "disk_free_b": shutil.disk_usage(self.config.state_dir).free,
            "live_runs": len(self.live),
            "jobs": len(self.jobs),
            "broken_files": len(self.folder.errors),
            "notices": self.notices.under_way,
            "store": self.store.health(),
        }

    # -- events in

    def handle(self, event: Event) -> list[Instruction]:
        """Let the machine handle an event; its orders are carried out with those of this turn of the loop.

        If nothing follows from them they are saved with the next, or after `GATHER_S`.
        """
        if self.broken is not None and isinstance(event, RunRequested):
            raise Refused(f"the run store is out of order, nothing is started: {self.broken}")
        orders = self.machine.handle(event, utc_now())
        if log.isEnabledFor(logging.DEBUG):
            _log_orders(orders)
        if orders:
            if self._saved is None:
                self._saved = self._loop.create_future()
                self._flushing = self._loop.call_later(GATHER_S, self._flush)
            self._batch += orders
            if not all(isinstance(order, PATIENT) for order in orders):
                self._hurry()
        return orders

    def _hurry(self) -> None:
        """Somebody waits for what is gathered: save it with what else this turn of the loop orders."""
        if self._flushing is not None and not self._is_hurried:
            self._is_hurried = True
            self._flushing.cancel()
            self._flushing = self._loop.call_soon(self._flush)

    def _tell(self, event: Event) -> None:
        """An answer of the programs. What a program wrote is packed before its end is saved."""
        if self._closing:
            return  # the next server finds the same answer in the run directory
        if isinstance(event, ProgramFinished):
            ended = self.programs.ended(event.run_id)
            if ended is not None and ended.cpu_s is not None:
                self._meta[event.run_id] = _meta_of(ended)
            files = self.programs.outputs(event.run_id)
            if files:
                packed = self.store.pack(event.run_id, files)
                packed.add_done_callback(lambda f: self._loop.call_soon_threadsafe(self._packed, event, f))
                return
        self.handle(event)

    def _packed(self, event: ProgramFinished, packed: "Future[list[OutputRow]]") -> None:
        error = packed.exception()
        if error is None:
            self._outputs[event.run_id] = packed.result()
        elif isinstance(error, StoreFull):
            # The end is not saved either: the output is still where the program wrote it, for the next try.
            self._break(error)
            return
        else:
            about = {"run": f"r{event.run_id}"}
            log.error("the output cannot be kept: %s", error, extra=about)
        if not self._closing:
            self.handle(event)

    def _break(self, error: BaseException) -> None:
        """Nothing can be saved any more."""
        if self.broken is None:
            self.broken = str(error)
            log.critical("the run store is out of order, nothing is started any more: %s", error)
            self.broke.set()
            self._has_saved.set()

    # -- instructions out

    def _flush(self) -> None:
        """Save what was gathered in one transaction; the effects follow its commit."""
        batch, self._batch = self._batch, []
        saved, self._saved = self._saved, None
        self._flushing, self._is_hurried = None, False
        assert saved is not None
        saves = [order for order in batch if isinstance(order, Save)]
        effects = [order for order in batch if not isinstance(order, Save)]
        if not saves:
            saved.set_result(None)
            self._carry_out(effects)
            return
        finished = {save.run.run_id for save in saves if isinstance(save, SaveRun) and save.run.is_finished}
        outputs = {run_id: self._outputs.pop(run_id) for run_id in finished & self._outputs.keys()}
        meta = {run_id: self._meta.pop(run_id) for run_id in finished & self._meta.keys()}
        self._unsaved.add(saved)
        began = self._loop.time()
        committed = self.store.save(saves, outputs, meta)
        committed.add_done_callback(
            lambda f: self._loop.call_soon_threadsafe(self._committed, f, saved, began, saves, effects)
        )

    def _committed(
        self,
        committed: "Future[None]",
        saved: "asyncio.Future[None]",
        began: float,
        saves: list[Save],
        effects: list[Effect],
    ) -> None:
        self._unsaved.discard(saved)
        self._has_saved.set()
        self.commit_lag_s = self._loop.time() - began
        error = committed.exception()
        if error is not None:
            # Nothing that was to follow may happen: the store does not know of it.
            self._break(error)
            saved.set_exception(Refused(f"the run store is out of order: {error}"))
            saved.exception()  # it may be that nobody waits for it
            return
        saved.set_result(None)
        for save in saves:
            if isinstance(save, SaveRun) and save.is_transition:
                self.tally.count(save.run)
        self._carry_out(effects)
        if self._listeners:
            now = utc_now()
            for save in saves:
                match save:
                    case SaveRun():
                        self._publish_save(save, now)
                    case SaveMark(run=run):
                        self._publish("run", RunFacts(run, now))
                    case SavePause(pause=pause, is_paused=is_paused):
                        self._publish("pause", pause_facts(pause) | {"paused": is_paused})
                    case SaveClock():
                        pass

    def _publish_save(self, save: SaveRun, now: datetime) -> None:
        run = save.run
        if save.is_transition:
            self._publish("run", RunFacts(run, now))
        line = {
            "run_id": run.name,
            "ts": format_time(run.state_at),
            "state": run.state.value,
            "message": save.message,
        }
        self._publish("log", line)

    def _publish_line(self, run_id: RunId, state: str, message: str) -> None:
        """A line was added to the log of a run that may have finished."""
        live = self.live.get(run_id)
        state = live.state.value if live else state
        line = {"run_id": f"r{run_id}", "ts": format_time(utc_now()), "state": state, "message": message}
        self._publish("log", line)

    def _publish(self, kind: str, facts: Mapping[str, Any]) -> None:
        for listener in list(self._listeners):
            listener(kind, facts)

    def _carry_out(self, effects: list[Effect]) -> None:
        if self._closing:
            return  # what is committed and not carried out is found by the next server
        for order in effects:
            match order:
                case StartProgram(run=run):
                    self.programs.start(run)
                case ResumeProgram(run=run):
                    self.programs.resume(run)
                case StopProgram(run=run):
                    self.programs.stop(run)
                case SignalProgram(run_id=run_id, signal=signal):
                    self.programs.signal(run_id, signal)
                case Forget(run_id=run_id):
                    self._outputs.pop(run_id, None)  # of an end that came too late
                    self._meta.pop(run_id, None)
                    self.programs.forget(run_id)
                case FindRun():
                    self._finds.append(order)
                    self._found.set()
                case PollCondition(run=run, condition=condition):
                    self._polls.add(run, condition)
                case ReserveIds(count=count):
                    self._loop.create_task(self._reserve(count))
                case WakeAt(at=at):
                    self._wake_at(at)
                case SendNotice(notice=notice):
                    self.notices.send(notice)
                case TellLate(run=run, kind=miss, text=text):
                    self._publish("late", late_facts(run, miss, text))
                case _:
                    assert_never(order)

    async def _reserve(self, count: int) -> None:
        first, stop = await asyncio.to_thread(self.store.reserve_ids, count)
        self.handle(IdsReserved(first=first, stop=stop))

    def _wake_at(self, at: datetime) -> None:
        if self._timer is not None:
            self._timer.cancel()
        delay_s = max(0.0, (at - utc_now()) / timedelta(seconds=1))
        self._timer = self._loop.call_later(min(delay_s, LONGEST_WAIT_S), self._wake)

    def _wake(self) -> None:
        self._timer = None
        self.handle(Tick())

    # -- loops

    async def _tick(self) -> None:
        """Time passes, also when nothing is due."""
        while True:
            due = self._loop.time() + TICK_S
            await asyncio.sleep(TICK_S)
            self.loop_lag_s = self._loop.time() - due
            if (error := self.store.error) is not None:  # a checkpoint failed for good
                self._break(error)
            self.handle(Tick())

    async def _find(self) -> None:
        """Answer those who wait for a run of long ago, all in one query."""
        while True:
            await self._found.wait()
            self._found.clear()
            wanted, self._finds = self._finds, []
            found = await asyncio.to_thread(self.store.find_runs, wanted)
            for n, (want, (run_id, exists)) in enumerate(zip(wanted, found, strict=True), 1):
                if n % FOUND_A_TURN == 0:
                    await asyncio.sleep(0)
                self.handle(
                    RunFound(
                        run_id=want.run_id, inst=want.inst, states=want.states, found=run_id, exists=exists
                    )
                )


def _refuse_busy(live: Sequence[Run]) -> None:
    """An observer takes over no program: one that was about to start might have to be started."""
    busy = [run for run in live if run.state in BUSY]
    if busy:
        first = f"{busy[0].name} {busy[0].inst.job_id}"
        more = f" and {len(busy) - 1} more" if len(busy) > 1 else ""
        raise ApsisError(
            f"observe: {first}{more} of the last server are under way: let a server that does not observe "
            "see them to their end (--drain), or give this one a state folder of its own (--state-dir)"
        )


def _log_orders(orders: Sequence[Instruction]) -> None:
    """What the machine ordered for runs, in the order in which it is carried out; args are not told."""
    for order in orders:
        match order:
            case SaveRun(run=run, message=message, is_transition=is_transition):
                what = run.state.value if is_transition else "note"
                log.debug("%s %s: %s", run.inst.job_id, what, message or "", extra={"run": run.name})
            case StartProgram() | ResumeProgram() | StopProgram() | PollCondition() | TellLate():
                log.debug("%s for %s", type(order).__name__, order.cause, extra={"run": order.run.name})
            case SignalProgram() | Forget() | FindRun():
                log.debug("%s for %s", type(order).__name__, order.cause, extra={"run": f"r{order.run_id}"})
            case _:
                pass  # about no run, or told with its run


def _make_state_dir(folder: Path) -> None:
    """Make the folders of a server. Programs of other accounts pass through them, and read nothing there."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    runs = folder / "runs"
    runs.mkdir(exist_ok=True)
    runs.chmod(0o711)
    for file in folder.glob("runs.duckdb*"):
        file.chmod(0o600)  # an earlier release relied on the folder
    folder.chmod(folder.stat().st_mode & 0o777 | 0o011)


def _meta_of(ended: Ended) -> MetaRow:
    return MetaRow(
        cpu_s=ended.cpu_s,
        max_rss_b=ended.max_rss_b,
        read_b=ended.read_b,
        write_b=ended.write_b,
        detail=ended.detail,
        meta=ended.meta,
    )
