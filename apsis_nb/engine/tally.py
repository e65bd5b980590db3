"""What runs have done since the server started, counted for whoever watches it from outside."""

from bisect import bisect_left
from collections import Counter

from apsis_nb.core.runs import Run
from apsis_nb.core.states import State

#: Upper bounds of the classes of lateness, seconds; beyond the last there is one more.
LATENESS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0)


class Tally:
    """Counts of moves that are committed."""

    def __init__(self) -> None:
        self.starts = 0
        self.ends: Counter[State] = Counter()  #: by how they ended
        self.lateness = [0] * (len(LATENESS_S) + 1)  #: starts of runs of schedules, by class
        self.lateness_sum_s = 0.0

    def count(self, run: Run) -> None:
        """A run has moved to the state that it is in."""
        if run.state is State.STARTING:
            self.starts += 1
            late_s = run.late_s(run.state_at)
            if late_s is not None:
                late_s = max(0.0, late_s)
                self.lateness[bisect_left(LATENESS_S, late_s)] += 1
                self.lateness_sum_s += late_s
        elif run.is_finished:
            self.ends[run.state] += 1
