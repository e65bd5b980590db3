"""Delivers what the actions of runs send: after it is saved, beside the loop's thread, and until it arrives.

Messages to the same people are gathered, so that a storm is a few messages. What fails is tried again. What
was under way when a server ended is taken up by the next one, and says that it may be a repeat.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar, assert_never

from apsis_nb.config import Config
from apsis_nb.core.actions import (
    NotifyAction,
    ScheduleAction,
    Sending,
    ShellAction,
    WebhookAction,
    action_from_dict,
    unknown_names,
)
from apsis_nb.core.errors import ApsisError, BindError, NotFound
from apsis_nb.core.instructions import Notice
from apsis_nb.core.jobs import Job
from apsis_nb.core.states import State
from apsis_nb.core.times import format_duration
from apsis_nb.programs.environment import Account
from apsis_nb.store import LogLine, NoticeRow, NoticeState, Store, StoreError
from apsis_nb.store.rows import notice_row
from apsis_nb.wire import facts_of_row, run_facts

from . import messages, senders
from .addresses import Addresses
from .clock import utc_now
from .messages import LAST_BYTES, Story, last_lines
from .senders import SendFailed
from .threads import in_thread

log = logging.getLogger("apsis_nb.notices")

#: What fails is tried so often, and so long after each try but the last, seconds.
DELAYS_S = (1.0, 10.0, 60.0, 600.0)
TRIES = len(DELAYS_S) + 1
#: No try takes longer than this; a library may know no time-out.
LIMIT_S = 90.0
#: So many calls to one address, or commands, go on at once.
AT_ONCE = 4
#: At most so many events share a message: of each the store may have to be asked.
GATHERED = 1000
#: How long a server that ends waits for what is under way, seconds.
CLOSE_S = 3.0

T = TypeVar("T")


class ReadOutput(Protocol):
    """Bytes of a run's output from `offset`, at most `limit`, and its size; raises NotFound."""

    def __call__(self, run_id: int, *, offset: int = 0, limit: int = 0) -> tuple[bytes, int]: ...


@dataclass(slots=True)
class _Order:
    """A notice on its way."""

    row: NoticeRow  #: as it was saved first
    action: Sending
    facts: Mapping[str, Any] | None = None  #: of its run; None: the store has them
    again: bool = False  #: a server before may have sent it

    @property
    def whom(self) -> str:
        """Whom it reaches, for people."""
        match self.action:
            case NotifyAction(to=to):
                return ", ".join(each.shown for each in to)
            case WebhookAction(url=url):
                return url.shown
            case ShellAction(command=command):
                return f"the command '{command.strip().splitlines()[0][:60]}'"


@dataclass(slots=True)
class _Lane:
    """The messages to one address: they go one after the other."""

    waiting: list[_Order] = field(default_factory=list)
    task: "asyncio.Task[None] | None" = None


class Notices:
    """The notices of a server that are on their way. For the loop's thread.

    Args:
        config: of the server.
        store: keeps how far each has come.
        jobs: gives the jobs as they are now.
        read_output: reads the outputs of runs, from any thread.
        tell_line: called with the run's id, state and a line that was added to its log.

    Raises:
        ApsisError: an address or a secret of the configuration is not there.
    """

    def __init__(
        self,
        config: Config,
        store: Store,
        *,
        jobs: Callable[[], Mapping[str, Job]],
        read_output: ReadOutput,
        tell_line: Callable[[int, str, str], None],
    ) -> None:
        self._config, self._store, self._jobs = config, store, jobs
        self._read_output, self._tell_line = read_output, tell_line
        self.addresses = Addresses(config, jobs)
        self.addresses.check()
        senders.be_discreet()
        self._lanes: dict[str, _Lane] = {}
        self._places: dict[str, asyncio.Semaphore] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = asyncio.Event()

    # -- life

    async def open(self) -> None:
        """Take up what the last server had saved and, as far as it knew, not sent."""
        for row in await asyncio.to_thread(self._store.pending_notices):
            try:
                action = action_from_dict(json.loads(row.action))
            except (ApsisError, ValueError) as error:
                log.error("notice %d cannot be read: %s", row.n, error, extra={"run": f"r{row.run_id}"})
                continue
            if not isinstance(action, ScheduleAction):
                self._take(_Order(row, action, again=True))

    def send(self, notice: Notice) -> None:
        """Send a notice that is saved."""
        self._take(_Order(notice_row(notice), notice.action, run_facts(notice.run, utc_now())))

    async def close(self) -> None:
        """Send what only waits to be gathered; what does not arrive at once is the next server's."""
        self._closing.set()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=CLOSE_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    @property
    def under_way(self) -> int:
        """How many have neither arrived nor been given up, roughly: those that are being tried count once."""
        return len(self._tasks) + sum(len(lane.waiting) for lane in self._lanes.values())

    async def test(self, to: str) -> None:
        """Send a message to somebody, now.

        Args:
            to: the name that the configuration has for them.

        Raises:
            NotFound, SendFailed: there is no such name; or it was not sent, and why.
        """
        address = self.addresses.named(to)
        body = f"This is a test. The server {self._config.name} reaches you.\n\n{self._config.link_url}"
        try:
            await _within_limit(in_thread(senders.notify, address, "apsis_nb: a test", body, "info"))
        except TimeoutError:
            raise SendFailed(f"it took longer than {LIMIT_S:g} s") from None

    def look_at(self, jobs: Iterable[Job]) -> None:
        """Warn of names in the actions of jobs that the configuration has not: nobody would be told."""
        for job in jobs:
            for action in job.actions:
                for key, text in unknown_names(action, self._config.names):
                    log.warning("job %s: action.%s: %s", job.job_id, key, text)

    # -- on the way

    def _take(self, order: _Order) -> None:
        match order.action:
            case NotifyAction(to=to):
                lane = self._lanes.setdefault(to[0].shown, _Lane())
                lane.waiting.append(order)
                if lane.task is None:
                    lane.task = self._start(self._serve(to[0].shown, lane))
            case WebhookAction(url=url):
                self._start(self._alone(order, url.shown))
            case ShellAction():
                self._start(self._alone(order, "commands"))
            case _:
                assert_never(order.action)

    def _start(self, work: Any) -> "asyncio.Task[None]":
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("a notice is lost until the next start", exc_info=task.exception())

    async def _serve(self, key: str, lane: _Lane) -> None:
        """Send the messages to one address; those that come within the window after one are gathered."""
        is_more = False
        try:
            while lane.waiting:
                orders, lane.waiting = lane.waiting[:GATHERED], lane.waiting[GATHERED:]
                await self._deliver(orders, partial(self._send_messages, orders, is_more=is_more))
                is_more = True
                await self._rest(self._config.notify.group_window)
        finally:
            del self._lanes[key]

    async def _alone(self, order: _Order, key: str) -> None:
        """Send what is gathered with nothing else; a few of a kind go on at once."""
        places = self._places.setdefault(key, asyncio.Semaphore(AT_ONCE))
        await self._deliver([order], partial(self._send_one, order), places)

    async def _deliver(
        self,
        orders: Sequence[_Order],
        send: Callable[[], None],
        places: asyncio.Semaphore | None = None,
    ) -> None:
        """Try until it arrives, or too often; each step is saved."""
        tries = max(order.row.tries for order in orders)
        while True:
            tries += 1
            failed = await self._try(send, places or asyncio.Semaphore())
            if failed is None:
                await self._keep(orders, "sent", tries, None)
                return
            if failed.is_final or tries >= TRIES:
                await self._keep(orders, "given up", tries, str(failed))
                return
            await self._keep(orders, "failed", tries, str(failed))
            if await self._rest(DELAYS_S[tries - 1]):
                return  # the next server goes on

    async def _try(self, send: Callable[[], None], places: asyncio.Semaphore) -> SendFailed | None:
        try:
            async with places:
                await _within_limit(in_thread(send))
        except SendFailed as error:
            return error
        except TimeoutError:
            return SendFailed(f"it took longer than {LIMIT_S:g} s")
        except (NotFound, BindError) as error:
            return SendFailed(str(error), is_final=True)
        except Exception as error:  # a library may raise anything, and its text may hold anything
            log.error("a notice failed: %s", type(error).__name__)
            return SendFailed(f"it failed: {type(error).__name__}")
        return None

    async def _rest(self, seconds: float) -> bool:
        """Wait; whether the server ends meanwhile."""
        try:
            async with asyncio.timeout(seconds):
                await self._closing.wait()
        except TimeoutError:
            return False
        return True

    async def _keep(self, orders: Sequence[_Order], state: NoticeState, tries: int, why: str | None) -> None:
        """Save what became of notices, and say it in the logs of their runs."""
        steps = [replace(order.row, state=state, tries=tries, message=why) for order in orders]
        text = _said(state, tries, why, len(orders) - 1)
        lines = [
            LogLine(
                run_id=order.row.run_id,
                state=await self._state_now(order.row.run_id, order.facts),
                message=f"{order.row.event}: {order.whom} {text}",
            )
            for order in orders
            if order.facts is not None and (state != "failed" or tries == 1)  # the first failure is enough
        ]
        if state == "given up":
            row, whom = orders[0].row, orders[0].whom
            log.error("%s: %s %s", row.event, whom, text, extra={"run": f"r{row.run_id}"})
        try:
            await asyncio.wrap_future(self._store.keep_notices(steps, lines))
        except StoreError as error:
            log.error("what became of notices is not kept: %s", error)
            return
        for line in lines:
            self._tell_line(line.run_id, line.state, line.message)

    async def _state_now(self, run_id: int, facts: Mapping[str, Any]) -> str:
        """The state of a run of which something was told; it may have moved on since."""
        state = str(facts["state"])
        if not State(state).is_finished:
            row = await asyncio.to_thread(self._store.run, run_id)
            state = state if row is None else str(row["state"])
        return state

    # -- in a thread of its own

    def _send_messages(self, orders: Sequence[_Order], *, is_more: bool) -> None:
        action = orders[0].action
        assert isinstance(action, NotifyAction), "only messages are gathered"
        stories = [self._story(order, with_output=len(orders) == 1) for order in orders]
        address = self.addresses.whom(action.to[0])
        if len(stories) == 1:
            title, body = messages.message(stories[0], action)
        else:
            title, body = messages.gathered(stories, is_more=is_more)
        senders.notify(address, title, body, messages.weight([story.event for story in stories]))

    def _send_one(self, order: _Order) -> None:
        story, action = self._story(order, with_output=True), order.action
        match action:
            case WebhookAction():
                body, media_type = messages.payload(story, action.body)
                if action.method == "GET" and action.body is None:
                    body = b""  # many servers do not expect one
                senders.call(
                    self.addresses.web(action.url),
                    action.method,
                    {name: self.addresses.header(value) for name, value in action.headers.items()},
                    body,
                    media_type,
                    message_id=f"{self._store.epoch}-r{order.row.run_id}-{order.row.n}",
                    secret=None if action.secret is None else self.addresses.secret(action.secret),
                    now=utc_now(),
                )
            case ShellAction():
                env = Account.own().environment() | self._config.env
                told = messages.variables(story, self._config.base_url)
                source = story.job.source if story.job else None
                senders.run(action.command, env | told, Path(source) if source else self._config.jobs)
            case NotifyAction():
                raise AssertionError("messages are gathered")

    def _story(self, order: _Order, *, with_output: bool) -> Story:
        """All that is known of what is told.

        Raises:
            NotFound: the store does not know the run any more.
        """
        run_id = order.row.run_id
        if order.facts is None:
            row = self._store.run(run_id)
            if row is None:
                raise NotFound(f"there is no run r{run_id} any more")
            order.facts = facts_of_row(row)
        page = f"dash/run?id=r{run_id}" if self._config.dashboards == "process" else f"api/v1/runs/r{run_id}"
        return Story(
            event=order.row.event,
            text=order.row.message,
            facts=order.facts,
            output=self._last_lines(run_id) if with_output else "",
            link=f"{self._config.link_url}/{page}",
            again=order.again,
            job=self._jobs().get(order.facts["job_id"]),
        )

    def _last_lines(self, run_id: int) -> str:
        try:
            _, size = self._read_output(run_id)
            start = max(0, size - LAST_BYTES)
            data, _ = self._read_output(run_id, offset=start, limit=LAST_BYTES)
        except NotFound:
            return ""  # it has not started, or wrote nothing
        except StoreError as error:
            return f"(the output cannot be read: {error})"
        return last_lines(data, is_whole=start == 0)


def _said(state: NoticeState, tries: int, why: str | None, more: int) -> str:
    """What became of a notice, for the log of its run."""
    match state:
        case "sent":
            return f"told, together with {more} more" if more else "told"
        case "failed":
            return f"not told yet: {why}; tried again in {format_duration(DELAYS_S[tries - 1])}"
        case "given up":
            return f"not told, given up after {tries} {'try' if tries == 1 else 'tries'}: {why}"
        case "pending":
            return "to be told"
        case _:
            assert_never(state)


async def _within_limit(work: "asyncio.Future[T]") -> T:
    async with asyncio.timeout(LIMIT_S):
        return await work
