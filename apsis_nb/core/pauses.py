"""Pauses: what a person holds back, for a job, for the jobs below a path, or for all."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

Scope = Literal["job", "path", "all"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """The schedules of these jobs make no runs that run: what comes due is skipped."""

    scope: Scope
    target: str = ""  #: the job, or the path; empty for all
    at: datetime  #: since when
    until: datetime | None = None  #: when it ends by itself
    reason: str | None = None
    by: str | None = None

    def covers(self, job_id: str) -> bool:
        """Whether it holds back a job."""
        match self.scope:
            case "job":
                return job_id == self.target
            case "path":
                return job_id == self.target or job_id.startswith(f"{self.target}/")
            case "all":
                return True

    @property
    def text(self) -> str:
        """Who paused, and why."""
        what = {"job": "", "path": f" with all of {self.target}/", "all": " with all jobs"}[self.scope]
        by = f"paused{what}" if self.by is None else f"paused{what} by {self.by}"
        return by if self.reason is None else f"{by}: {self.reason}"


class Pauses:
    """The pauses that hold now."""

    def __init__(self) -> None:
        self._pauses: dict[tuple[Scope, str], Pause] = {}

    def __iter__(self) -> Iterator[Pause]:
        return iter(self._pauses.values())

    def load(self, pauses: Iterable[Pause]) -> None:
        """Those that were kept."""
        for pause in pauses:
            self._pauses[pause.scope, pause.target] = pause

    def add(self, pause: Pause) -> None:
        """From here on; one of the same scope and target is replaced."""
        self._pauses[pause.scope, pause.target] = pause

    def remove(self, scope: Scope, target: str) -> Pause | None:
        """End one; None: there is none."""
        return self._pauses.pop((scope, target), None)

    def of(self, job_id: str, at: datetime) -> Pause | None:
        """What holds back a job at a time; the one of longest standing."""
        for pause in self._pauses.values():
            if pause.covers(job_id) and (pause.until is None or at < pause.until):
                return pause
        return None
