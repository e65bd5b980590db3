"""The stream of what happens (server-sent events): one ring, encoded once, sent to all who listen."""

import asyncio
import logging
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from apsis_nb.server.callers import Caller
from apsis_nb.wire import to_json

log = logging.getLogger(__name__)

#: The kinds of event that a listener can choose.
TYPES = frozenset({"run", "log", "output", "job", "late", "pause", "server"})

RING_EVENTS = 10_000  #: how many events a listener who comes back may have missed
BATCH_S = 0.2  #: events are sent at once, and again no sooner than this
HEARTBEAT_S = 15.0  #: how long nothing is sent, at most
BEHIND_BYTES = 8 << 20  #: a listener who has not read this much is sent away


@dataclass(slots=True)
class _Event:
    seq: int
    kind: str
    facts: Mapping[str, Any]

    def encoded(self, boot_id: str) -> bytes:
        return _encoded(self.kind, self.facts, f"{boot_id}-{self.seq}")


@dataclass(eq=False, slots=True)
class Listener:
    """One who reads the stream."""

    types: frozenset[str]
    paths: tuple[str, ...] = ()  #: only what is about jobs there; empty: all
    pieces: deque[bytes] = field(default_factory=deque)
    waiting_bytes: int = 0
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)  #: nothing more will come

    def give(self, piece: bytes) -> None:
        self.pieces.append(piece)
        self.waiting_bytes += len(piece)
        self.ready.set()

    async def take(self, timeout_s: float) -> bytes:
        """All that has come; a heartbeat if nothing comes for so long."""
        try:
            async with asyncio.timeout(timeout_s):
                await self.ready.wait()
        except TimeoutError:
            return b": \n\n"
        taken = b"".join(self.pieces)
        self.pieces.clear()
        self.ready.clear()
        self.waiting_bytes = 0
        return taken


class Events:
    """Keeps the last events and passes new ones on to the listeners. All on the loop's thread."""

    def __init__(self, boot_id: str, version: str) -> None:
        """
        Args:
            boot_id: of this start of the server; sequence numbers count from it.
            version: of the server; the `hello` tells it.
        """
        self._boot_id, self._version = boot_id, version
        self._seq = 0
        self._ring: deque[_Event] = deque(maxlen=RING_EVENTS)
        self._unsent: list[_Event] = []
        self._listeners: set[Listener] = set()
        self._timer: asyncio.Handle | None = None
        self._sent_at = -BATCH_S

    @property
    def count(self) -> int:
        """How many listen."""
        return len(self._listeners)

    def publish(self, kind: str, facts: Mapping[str, Any]) -> None:
        """Tell an event to all who listen for its kind."""
        self._seq += 1
        event = _Event(self._seq, kind, facts)
        self._ring.append(event)
        if not self._listeners:
            return
        self._unsent.append(event)
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(max(loop.time(), self._sent_at + BATCH_S), self._send)

    @contextmanager
    def listener(
        self, types: frozenset[str], last_id: str | None = None, caller: Caller | None = None
    ) -> Iterator[Listener]:
        """A new listener, who first gets a `hello`, then what it missed.

        Args:
            types: the kinds of event that it wants.
            last_id: the id of the last event that it has; None: it is new.
            caller: who it is: one who is held to paths hears of jobs there only. None: one who is not.
        """
        self._send()  # so that what comes from now on is what the ring does not hold yet
        listener = Listener(types, caller.paths if caller else ())
        hello = {"boot_id": self._boot_id, "version": self._version}
        missed = self._since(last_id)
        if missed is None:
            listener.give(_encoded("hello", hello, None))
            reason = "too much has happened, or the server was started anew: read everything again"
            listener.give(_encoded("resync", {"reason": reason}, self._id))
        else:
            # Its id is the one up to which the listener has everything.
            listener.give(_encoded("hello", hello, last_id or self._id))
            listener.give(self._encoded(missed, listener))
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)

    def close(self) -> None:
        """End every stream."""
        self._send()
        for listener in self._listeners:
            listener.ended.set()

    @property
    def _id(self) -> str:
        return f"{self._boot_id}-{self._seq}"

    def _since(self, last_id: str | None) -> list[_Event] | None:
        """The events after that of an id; None if they cannot be told."""
        if last_id is None:
            return []
        boot_id, _, seq = last_id.rpartition("-")
        if boot_id != self._boot_id or not seq.isdecimal() or int(seq) > self._seq:
            return None
        missing = self._seq - int(seq)
        return list(self._ring)[len(self._ring) - missing :] if missing <= len(self._ring) else None

    def _send(self) -> None:
        """Pass on what has come since the last time, encoded once for all who want the same kinds."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        events, self._unsent = self._unsent, []
        if not events:
            return
        self._sent_at = asyncio.get_running_loop().time()
        pieces: dict[tuple[frozenset[str], tuple[str, ...]], bytes] = {}
        for listener in list(self._listeners):
            wish = listener.types, listener.paths
            if wish not in pieces:
                pieces[wish] = self._encoded(events, listener)
            if listener.waiting_bytes > BEHIND_BYTES:
                log.warning("a listener who does not read its events is sent away")
                self._listeners.discard(listener)
                listener.ended.set()
            elif piece := pieces[wish]:
                listener.give(piece)

    def _encoded(self, events: Iterable[_Event], listener: Listener) -> bytes:
        """The events that a listener wants as text of the stream; of several states of one run the newest."""
        wanted = [e for e in events if e.kind in listener.types and is_below(e.facts, listener.paths)]
        newest = {e.facts["run_id"]: e for e in wanted if e.kind == "run"}
        told = (e for e in wanted if e.kind != "run" or newest[e.facts["run_id"]] is e)
        return b"".join(e.encoded(self._boot_id) for e in told)


class EventStream(Response):
    """The answer that goes on until the client leaves or the server stops."""

    media_type = "text/event-stream"

    def __init__(self, events: Events, types: frozenset[str], last_id: str | None, caller: Caller) -> None:
        super().__init__(headers={"X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._events, self._types, self._last_id, self._caller = events, types, last_id, caller

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        with self._events.listener(self._types, self._last_id, self._caller) as listener:
            tasks = {
                asyncio.create_task(_pass_on(listener, send)),
                asyncio.create_task(_until_left(receive)),
                asyncio.create_task(listener.ended.wait()),
            }
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        if listener.waiting_bytes <= BEHIND_BYTES:  # else it would never take the end either
            await send({"type": "http.response.body", "body": b"".join(listener.pieces)})


async def _pass_on(listener: Listener, send: Send) -> None:
    while True:
        piece = await listener.take(HEARTBEAT_S)
        await send({"type": "http.response.body", "body": piece, "more_body": True})


async def _until_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def is_below(facts: Mapping[str, Any], paths: tuple[str, ...]) -> bool:
    """Whether an event is about a job of these paths; one that names no job is not. Without paths all are."""
    return not paths or any(f"{facts.get('job_id', '')}/".startswith(f"{path}/") for path in paths)


def _encoded(kind: str, facts: Mapping[str, Any], event_id: str | None) -> bytes:
    head = f"event: {kind}\n" if event_id is None else f"id: {event_id}\nevent: {kind}\n"
    return head.encode() + b"data: " + to_json(dict(facts)) + b"\n\n"
