"""What fails while a page is open, for its tab and the browser's notifications: a storm is one message."""

import threading
from collections.abc import Callable
from typing import Any

from bokeh.document import Document

from apsis_nb.client import ServerEvent
from apsis_nb.core.states import State

GATHER_MS = 1500  #: failures within such a time are told together

_BAD = frozenset({State.FAILURE.value, State.ERROR.value})


class Failures:
    """Gathers failures from the stream of events, and tells them.

    Args:
        doc: of the page.
        tell: is given how many failed, and facts of the last one; called when the document may be changed.
    """

    def __init__(self, doc: Document, tell: Callable[[dict[str, Any]], None]) -> None:
        self._doc, self._tell = doc, tell
        self._lock = threading.Lock()
        self._count = self._n = 0
        self._last: dict[str, Any] = {}

    def hear(self, event: ServerEvent) -> None:
        """An event of the server, on the reader's thread; tests of jobs count nowhere."""
        facts = event.facts
        if event.type != "run" or facts.get("state") not in _BAD or facts.get("origin") == "test":
            return
        with self._lock:
            is_first = self._count == 0
            self._count += 1
            self._last = {key: str(facts.get(key) or "") for key in ("run_id", "job_id", "state", "message")}
        if is_first:
            self._doc.add_next_tick_callback(self._gather)

    def _gather(self) -> None:
        self._doc.add_timeout_callback(self._told, GATHER_MS)

    def _told(self) -> None:
        with self._lock:
            count, self._count, last = self._count, 0, self._last
            self._n += 1
        self._tell({**last, "count": count, "n": self._n})
