"""Changes, as they happen: one reader of the server's events for the process, and what renews a page.

A page keeps no queue: it only remembers that something changed. So a slow browser or a flood of runs never
holds more than one renewal back, and no page is renewed by itself more than once in `LEAST_PAUSE_S`, or while
nobody sees it; the more pages there are that change all the time, the less often.
"""

import asyncio
import contextlib
import logging
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, Literal, TypeVar

from bokeh.document import Document

from apsis_nb.client import Client, ServerEvent
from apsis_nb.core.errors import ApsisError
from apsis_nb.core.states import State

from .panel_fixes import connect, is_connected

log = logging.getLogger(__name__)

T = TypeVar("T")

LEAST_PAUSE_S, MOST_PAUSE_S = 0.75, 5.0  #: between two renewals of a page
REST = 2.0  #: what takes long to load rests for so many times as long, and leaves the server its time
#: All pages together load for about this share of the time; what is beyond makes each of them rest longer.
SHARE, MEASURED_S = 0.1, 10.0
RETRY_S = 2.0  #: until a load that failed is tried again
AWAY_S = 1.0  #: after so long it is looked whether the browser of a page is there again

MOST_RUNNING = 1000  #: runs that are asked for by name; that some run is all that is told
_RUNNING = frozenset({State.RUNNING.value, State.STOPPING.value})

#: The questions of one load that do not wait for each other. Nothing that waits for one of them runs here.
_QUESTIONS = ThreadPoolExecutor(8, "question")

#: When loads of pages ended, and how long they took; of the last `MEASURED_S`. Of the loop's thread alone.
_LOADS: deque[tuple[float, float]] = deque()

Link = Literal["live", "reconnecting"]


class Feed:
    """Reads the server's events in a thread and tells everyone who listens."""

    def __init__(self, client: Client) -> None:
        self.link: Link = "reconnecting"
        self._client = client
        self._running: set[str] = set()
        self._listeners: set[Callable[[ServerEvent], None]] = set()
        self._lock = threading.Lock()
        self._closed = threading.Event()
        threading.Thread(target=self._read, name="events", daemon=True).start()

    @property
    def is_running(self) -> bool:
        """Whether any run is running now."""
        return bool(self._running)

    def listen(self, listener: Callable[[ServerEvent], None]) -> Callable[[], None]:
        """Call `listener`, on the reader's thread, for each event until what is returned is called."""
        with self._lock:
            self._listeners.add(listener)

        def leave() -> None:
            with self._lock:
                self._listeners.discard(listener)

        return leave

    def close(self) -> None:
        """Tell nobody anything more."""
        self._closed.set()
        with self._lock:
            self._listeners.clear()

    def _read(self) -> None:
        while not self._closed.is_set():
            try:
                for event in self._client.events(("run", "job", "late", "pause", "server")):
                    self._count(event)
                    self._tell(event)
                    if self._closed.is_set():
                        return
            except ApsisError as error:
                self._tell(ServerEvent("disconnected", {"error": str(error)}))
            except Exception:
                log.exception("the reader of the server's events failed; it starts again")
                self._tell(ServerEvent("disconnected", {"error": "the reader failed"}))
            self._closed.wait(RETRY_S)

    def _count(self, event: ServerEvent) -> None:
        """Keep what runs: all of it is asked for where events may have been missed."""
        if event.type in {"hello", "resync"}:
            runs = self._client.list_runs(state=sorted(_RUNNING), limit=MOST_RUNNING)
            self._running = {str(run["run_id"]) for run in runs}
        elif event.type == "run":
            keep = self._running.add if event.facts.get("state") in _RUNNING else self._running.discard
            keep(str(event.facts.get("run_id")))

    def _tell(self, event: ServerEvent) -> None:
        self.link = "reconnecting" if event.type == "disconnected" else "live"
        with self._lock:
            listeners = list(self._listeners)
        for listener in listeners:
            listener(event)


def _rest_s(began: float, ended: float) -> float:
    """How long a page rests after a load: for longer, the more all pages have loaded lately.

    So ten readers of a server on which much happens do not take the processor from what is due.
    """
    _LOADS.append((ended, ended - began))
    while _LOADS[0][0] < ended - MEASURED_S:
        _LOADS.popleft()
    share = sum(took for _, took in _LOADS) / MEASURED_S
    return min(MOST_PAUSE_S, max(LEAST_PAUSE_S, REST * (ended - began) * max(1.0, share / SHARE)))


def change(doc: Document, call: Callable[[], Any]) -> None:
    """Change a page as soon as its document may be changed; may be called by any thread."""

    def act() -> None:
        connect(doc)
        call()

    # Bokeh's models may only be touched under the document's lock, which a task does not hold.
    doc.add_next_tick_callback(act)


def at_once(**questions: Callable[[], Any]) -> dict[str, Any]:
    """The answers to some questions, by name, which are asked side by side.

    Raises:
        ClientError: one of them has no answer.
    """
    asked = {name: _QUESTIONS.submit(ask) for name, ask in questions.items()}
    return {name: answer.result() for name, answer in asked.items()}


class Renewal(Generic[T]):
    """Shows a part of a page, and keeps it up to date.

    It is loaded at once: while the page is still being made, and the browser reads its scripts.

    Args:
        doc: the page's document.
        load: asks the server; called in a thread.
        show: draws the answer; called when the document may be changed.
        fail: draws an error, or takes it away (None); never raises.
        every_s: load again after so many seconds though nothing was told.
    """

    def __init__(
        self,
        doc: Document,
        load: Callable[[], T],
        show: Callable[[T], Any],
        fail: Callable[[Exception | None], Any],
        *,
        every_s: float | None = None,
    ) -> None:
        self._doc, self._load, self._show, self._fail = doc, load, show, fail
        self._every_s = every_s
        self._loop = asyncio.get_running_loop()
        self._first: Awaitable[T] | None = self._loop.run_in_executor(None, load)
        self._wanted = asyncio.Event()
        self._hurries = asyncio.Event()
        self._visible = asyncio.Event()
        self._visible.set()
        self._failed = False
        self._was_here = False
        self._task = self._loop.create_task(self._run())

    def poke(self) -> None:
        """Something changed; may be called by any thread."""
        # Of many changes one is told: the load that it leads to has not begun while this is set.
        if not self._wanted.is_set() and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wanted.set)

    def poke_here(self) -> None:
        """The reader wants it, or the page itself: that waits for no pause. On the page's own thread."""
        self._wanted.set()
        self._hurries.set()

    def set_visible(self, is_visible: bool) -> None:
        """Whether anybody can see the page."""
        if is_visible:
            self._visible.set()
        else:
            self._visible.clear()

    def close(self) -> None:
        """Renew it no more."""
        self._task.cancel()

    async def _run(self) -> None:
        rest_s = LEAST_PAUSE_S  # the first load has waited for the page to be made, whatever it took itself
        await self._renew()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(rest_s):
                    await self._hurries.wait()
            wait_s = RETRY_S if self._failed else self._every_s
            with contextlib.suppress(TimeoutError):  # the time itself is a reason
                async with asyncio.timeout(wait_s):
                    await self._wanted.wait()
            await self._visible.wait()
            while self._is_left():  # noqa: ASYNC110  nobody is told that a browser is there again
                await asyncio.sleep(AWAY_S)
            self._wanted.clear()
            self._hurries.clear()
            began = self._loop.time()
            await self._renew()
            rest_s = _rest_s(began, self._loop.time())

    def _is_left(self) -> bool:
        """Whether the browser that had the page has gone: closed, or for a while without a connection."""
        is_here = is_connected(self._doc)
        self._was_here = self._was_here or is_here
        return self._was_here and not is_here

    async def _renew(self) -> None:
        first, self._first = self._first, None
        try:
            answer = await (asyncio.to_thread(self._load) if first is None else first)
        except ApsisError as error:
            self._failed = True
            self._tell(self._fail, error)
        except Exception as error:
            log.exception("a part of a page could not be loaded")
            self._failed = True
            self._tell(self._fail, error)
        else:
            if self._failed:
                self._tell(self._fail, None)
            self._failed = False
            self._tell(self._show, answer)

    def _tell(self, call: Callable[[Any], Any], value: Any) -> None:
        def act() -> None:
            try:
                call(value)
            except Exception as error:
                log.exception("a part of a page could not be drawn")
                self._failed = True
                self._fail(error)

        change(self._doc, act)
