"""Backfills: when one has gone wrong too often to go on."""

from collections.abc import Mapping

from .runs import Run, RunId
from .states import State

#: After so many bad ends in a row what is left is not run.
TOO_MANY = 3


class Backfills:
    """How many runs of each backfill ended badly of late, in a row."""

    def __init__(self) -> None:
        self._failures: dict[RunId, int] = {}

    def load(self, failures: Mapping[RunId, int]) -> None:
        """What was known before a restart."""
        self._failures.update(failures)

    def begin(self, backfill_id: RunId) -> None:
        """It begins, or goes on: what was before is forgiven."""
        self._failures[backfill_id] = 0

    def ended(self, run: Run) -> int:
        """A run of a backfill ended for good.

        Returns:
            How many did so badly in a row, if that is too many to go on; else 0.
        """
        assert run.backfill_id is not None
        bad = run.state in (State.FAILURE, State.ERROR)
        failures = self._failures.get(run.backfill_id, 0) + 1 if bad else 0
        self._failures[run.backfill_id] = failures
        return failures if failures >= TOO_MANY else 0
