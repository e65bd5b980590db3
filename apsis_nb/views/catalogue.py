"""The jobs as all pages of this process know them: asked once, and again after a change."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from apsis_nb.client import Client, ServerEvent

from . import connection
from .live import Feed

ERRORS_FOR_S = 10.0  #: what is wrong with files is asked for again after so long
#: Events after which what is known may be old.
_CHANGES = frozenset({"job", "pause", "server", "hello", "resync", "disconnected"})


@dataclass(frozen=True)
class Known:
    """What is known of the jobs."""

    jobs: Mapping[str, dict[str, Any]]  #: facts by id, in the order of the ids
    errors: list[dict[str, Any]]  #: of files: job_id, file, line, col, level, message
    pauses: list[dict[str, Any]]

    @cached_property
    def labels(self) -> dict[str, int]:
        """The labels, and how many jobs have each."""
        counts: dict[str, int] = {}
        for facts in self.jobs.values():
            for label in facts["metadata"]["labels"]:
                counts[label] = counts.get(label, 0) + 1
        return dict(sorted(counts.items()))

    @cached_property
    def broken(self) -> dict[str, list[dict[str, Any]]]:
        """The errors of files by job; warnings are none."""
        found: dict[str, list[dict[str, Any]]] = {}
        for error in self.errors:
            if error["level"] == "error":
                found.setdefault(str(error["job_id"] or error["file"]), []).append(error)
        return found

    def pause_of(self, job_id: str) -> dict[str, Any] | None:
        """What holds back a job's schedules: its own pause first, then that of a folder, then that of all."""
        covering = [p for p in self.pauses if _covers(p, job_id)]
        return max(covering, key=lambda p: (p["scope"] == "job", len(p["target"])), default=None)


def _covers(pause: Mapping[str, Any], job_id: str) -> bool:
    target = pause["target"]
    match pause["scope"]:
        case "all":
            return True
        case "path":
            return job_id == target or job_id.startswith(f"{target}/")
        case _:
            return bool(job_id == target)


def is_disabled(facts: Mapping[str, Any]) -> bool:
    """Whether a job has schedules and none is enabled."""
    schedules = facts["schedule"]
    return bool(schedules) and not any(schedule.get("enabled", True) for schedule in schedules)


class Catalogue:
    """Asks for the jobs, and keeps the answer until the server tells of a change."""

    def __init__(self, client: Client, feed: Feed) -> None:
        self._client = client
        self._feed = feed
        self._lock, self._keeping = threading.Lock(), threading.Lock()
        self._known: Known | None = None
        self._version = 0
        self._asked_at = 0.0
        feed.listen(self._heard)

    def look(self) -> Known:
        """What is known now; may ask the server, so call it in a thread.

        Raises:
            ClientError: the server does not answer.
        """
        with self._lock:  # of several pages that wait for the same, one asks
            with self._keeping:
                version, known = self._version, self._known
            # Of a broken file that is gone nobody tells.
            is_old = known is not None and known.errors and time.monotonic() - self._asked_at > ERRORS_FOR_S
            if known is None or is_old:
                self._asked_at = time.monotonic()
                told = self._client.jobs.listing()
                jobs = {facts["job_id"]: facts for facts in told["jobs"]}
                known = Known(jobs, told["errors"], self._client.list_pauses())
                # If it changed while it was asked for, or nobody tells of changes, the next look asks anew.
                with self._keeping:
                    is_kept = version == self._version and self._feed.link == "live"
                    self._known = known if is_kept else None
            return known

    def forget(self) -> None:
        """Something has been changed from here: the next look asks anew."""
        with self._keeping:
            self._version += 1
            self._known = None

    def _heard(self, event: ServerEvent) -> None:
        if event.type in _CHANGES:
            self.forget()


@lru_cache(maxsize=8)
def _catalogue(known: connection.Access) -> Catalogue:
    return Catalogue(connection.own_client(known), connection.feed())


def catalogue() -> Catalogue:
    """The one that all pages of this process share. Who sees a page may see all jobs.

    Raises:
        ServerDown, NotAuthorized: there is no server to be found.
    """
    return _catalogue(connection.access())
