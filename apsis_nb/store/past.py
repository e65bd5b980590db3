"""Runs of the past that come from elsewhere, as values, and the kinds of file that have them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from apsis_nb.core.programs import Program


@dataclass(frozen=True, slots=True, kw_only=True)
class PastOutput:
    """An output of a run."""

    name: str
    content_type: str
    read: Callable[[], Iterator[bytes]]  #: its bytes, piece by piece; raises StoreError if it cannot be read


@dataclass(frozen=True, slots=True, kw_only=True)
class PastLine:
    """A line of a run's log."""

    ts: datetime  #: naive, UTC
    state: str  #: that the run was in
    message: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """Where a run was imported from."""

    source: str
    source_run: int
    ts: datetime  #: naive, UTC


@dataclass(frozen=True, slots=True, kw_only=True)
class PastRun:
    """A run that has finished elsewhere. All ids are those that it has there."""

    facts: Mapping[str, Any]  #: by the names of `rows.FACTS`, as `base.runs` holds them
    made: Mapping[str, Any]  #: what the journal says that it was made from
    program: Program
    log: Sequence[PastLine]
    meta: Sequence[Any] | None = None  #: the columns of `base.run_meta`, without the run's id
    outputs: Sequence[PastOutput] = ()
    dropped: tuple[datetime, str] | None = None  #: when (naive, UTC) and why its outputs were given up
    former: Sequence[Imported] = ()
    lost: Sequence[str] = ()  #: what of it cannot be mapped

    @property
    def run_id(self) -> int:
        return int(self.facts["run_id"])

    @property
    def job_id(self) -> str:
        return str(self.facts["job_id"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Unmapped:
    """A run that cannot be imported."""

    run: str  #: what it is called: r12
    why: str


class Source(Protocol):
    """A file with past runs."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def count(self) -> int:
        """How many runs it has, about."""

    def batches(self, size: int) -> Iterator[list[PastRun | Unmapped]]:
        """Its runs, the oldest ids first, at most `size` at once."""

    def close(self) -> None:
        """Let the file go."""
