"""Which runs of a listing are asked for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from apsis_nb.core.runs import Run, RunId
from apsis_nb.core.states import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which runs are asked for; None and empty: any."""

    job_id: str | None = None
    states: tuple[State, ...] = ()
    label: str | None = None
    args: Mapping[str, str] = field(default_factory=dict)
    since: datetime | None = None  #: due then or later; aware
    until: datetime | None = None  #: due before
    late: bool | None = None
    before: tuple[datetime, RunId] | None = None  #: in the listing, after this one

    def fits(self, run: Run, now: datetime) -> bool:
        """Whether a live run is one of them; as a query decides for those that have finished."""
        return (
            (self.job_id is None or run.job_id == self.job_id)
            and (not self.states or run.state in self.states)
            and (self.label is None or self.label in run.labels)
            and (not self.args or self.args.items() <= run.args.items())
            and (self.since is None or run.scheduled_at >= self.since)
            and (self.until is None or run.scheduled_at < self.until)
            and (self.late is None or run.is_late(now) is self.late)
            and (self.before is None or (run.scheduled_at, run.run_id) < self.before)
        )
