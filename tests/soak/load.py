"""Fifty starts a second of real programs that keep a book of what they did, and what must be true of it."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb

from apsis_nb.core.states import FINISHED, TRANSITIONS, State

#: How many jobs of each kind there are; each is due once a second.
PLAIN, PAIRS, FLAKY, LIMITED = 24, 8, 8, 2
#: So many of the group run at once; there is more work than that now and then, not on the whole.
PLACES = 3
#: After the first attempt of a flaky job.
RETRIES = 2

_JOB = """\
params: [time]
schedule: {{type: interval, interval: 1, misfire: {{policy: all, max_age: 1d, max_count: 100000}}}}
{more}program:
  type: shell
  command: |
    echo "start $APSIS_RUN_ID" >> {book}
    {work}
    echo "end $APSIS_RUN_ID $code" >> {book}
    exit $code
"""
_TRUE = "code=0"
_BY_CHANCE = "code=$((RANDOM % 3))"
_SECOND_TIME = "code=$((APSIS_ATTEMPT == 1 && RANDOM % 3 == 0))"
_SOMEWHAT = "sleep 0.$((RANDOM % 10)); code=0"


def write_jobs(jobs: Path, book: Path) -> None:
    """Make the job files: some fail and are tried again, some wait for another job, some for a place."""
    retry = f"retry: {{count: {RETRIES}, delay: 0.5}}\n"
    group = f"condition: {{type: max_running, group: few, count: {PLACES}}}\n"

    def write(job_id: str, work: str, more: str = "") -> None:
        (jobs / f"{job_id}.yaml").write_text(_JOB.format(book=book, work=work, more=more))

    for n in range(PLAIN):
        write(f"plain{n}", _TRUE)
    for n in range(PAIRS):
        write(f"first{n}", _SECOND_TIME, retry)
        write(f"second{n}", _TRUE, f"condition: {{type: dependency, job_id: first{n}}}\n")
    for n in range(FLAKY):
        write(f"flaky{n}", _BY_CHANCE, retry)
    for n in range(LIMITED):
        write(f"limited{n}", _SOMEWHAT, group)


def remove_jobs(jobs: Path) -> None:
    """Take all job files away, those that depend on others first: the server may look at any moment."""
    for pattern in ("second*", "*"):
        for file in jobs.glob(pattern):
            file.unlink()


@dataclass(frozen=True)
class Outcome:
    """What a load left behind, once nothing of it runs any more."""

    runs: list[dict[str, Any]]
    log: dict[int, list[tuple[datetime, State]]]  #: by run, in the order in which it was saved
    book: list[tuple[str, int, int | None]]  #: (start or end, run, code)

    @classmethod
    def read(cls, store_file: Path, book: Path) -> "Outcome":
        """From the file of a store that no server has open, and from the book."""
        with duckdb.connect(str(store_file), read_only=True) as store:
            found = store.execute(
                "SELECT run_id, job_id, args->>'time' AS time, origin::VARCHAR AS origin, attempt, rerun_of,"
                " state::VARCHAR AS state, nominal_at, scheduled_at, started_at, finished_at, return_code,"
                " message FROM base.runs ORDER BY run_id"
            )
            names = [column[0] for column in found.description]
            runs = [dict(zip(names, row, strict=True)) for row in found.fetchall()]
            log: dict[int, list[tuple[datetime, State]]] = defaultdict(list)
            lines = store.execute("SELECT run_id, ts, state::VARCHAR FROM base.run_log ORDER BY rowid")
            for run_id, ts, state in lines.fetchall():
                log[run_id].append((ts, State(state)))
        written = []
        for line in book.read_text().splitlines():
            kind, name, *code = line.split()
            written.append((kind, int(name.removeprefix("r")), int(code[0]) if code else None))
        return cls(runs, dict(log), written)

    def faults(self, *, began_at: datetime, ended_at: datetime) -> list[str]:
        """What is wrong; empty if all is well.

        Args:
            began_at: when the first server answered.
            ended_at: when the job files were taken away.
        """
        checks: list[Callable[[], Iterator[str]]] = [
            self._log_broken,
            self._ran_wrongly,
            self._retried_wrongly,
            self._began_too_early,
            self._too_many_at_once,
        ]
        found = [fault for check in checks for fault in check()]
        return found + list(self._times_lost(began_at, ended_at))

    def _log_broken(self) -> Iterator[str]:
        """Each run's log goes from its first state to its last, by moves of the table; and no run is live."""
        ends = {run["run_id"]: State(run["state"]) for run in self.runs}
        if len(ends) != len(self.runs):
            yield "a run is kept twice"
        for run_id in sorted(self.log.keys() | ends.keys()):
            lines = self.log.get(run_id, [])
            states = [state for _, state in lines]
            if not lines or states[0] is not State.SCHEDULED:
                yield f"the log of r{run_id} does not begin: {states}"
            moves = [(old, new) for old, new in pairwise(states) if old is not new]
            if any(new not in TRANSITIONS[old] for old, new in moves):
                yield f"the log of r{run_id} has moves that there are not: {states}"
            if run_id not in ends:
                yield f"r{run_id} never ended: {states}"
            elif not lines or states[-1] is not ends[run_id] or ends[run_id] not in FINISHED:
                yield f"r{run_id} ended as {ends[run_id].value}, and its log is {states}"
            moved_at = [ts for n, (ts, state) in enumerate(lines) if n == 0 or state is not states[n - 1]]
            if moved_at != sorted(moved_at):
                yield f"the times of r{run_id} go back: {lines}"

    def _ran_wrongly(self) -> Iterator[str]:
        """Every program ran once, and its run has its code."""
        starts = Counter(run_id for kind, run_id, _ in self.book if kind == "start")
        ends = {run_id: code for kind, run_id, code in self.book if kind == "end"}
        yield from (f"r{run_id} ran {n} times" for run_id, n in starts.items() if n > 1)
        known = {run["run_id"]: run for run in self.runs}
        yield from (f"r{run_id} ran, and nobody knows of it" for run_id in starts.keys() - known.keys())
        yield from (f"r{run_id} began and did not end" for run_id in starts.keys() - ends.keys())
        for run_id, run in known.items():
            if run_id not in starts:
                yield f"r{run_id} never ran: {run['state']}, {run['message']}"
            elif run["return_code"] != ends.get(run_id):
                yield f"r{run_id} ended with {ends.get(run_id)}, and is kept with {run['return_code']}"
            elif run["state"] != ("failure" if ends[run_id] else "success"):
                yield f"r{run_id} ended with {ends[run_id]}, and is kept as {run['state']}"

    def _retried_wrongly(self) -> Iterator[str]:
        """A failure that has attempts left has one more, and nothing else has."""
        again = Counter(run["rerun_of"] for run in self.runs if run["origin"] == "retry")
        for run in self.runs:
            may_retry = run["job_id"].startswith(("flaky", "first"))
            wanted = int(may_retry and run["state"] == "failure" and run["attempt"] <= RETRIES)
            if again.pop(run["run_id"], 0) != wanted:
                yield f"r{run['run_id']} of {run['job_id']} was not retried {wanted} times"
        yield from (f"r{run_id} was retried, and there is no such run" for run_id in again)

    def _began_too_early(self) -> Iterator[str]:
        """What waits for another job begins after a success of it."""
        places = {(kind, run_id): n for n, (kind, run_id, _) in enumerate(self.book)}
        done: dict[tuple[str, str], int] = {}
        for run in self.runs:
            if run["state"] == "success" and ("end", run["run_id"]) in places:
                done[run["job_id"], run["time"]] = places["end", run["run_id"]]
        for run in self.runs:
            if run["job_id"].startswith("second") and ("start", run["run_id"]) in places:
                before = done.get((run["job_id"].replace("second", "first"), run["time"]))
                if before is None or before > places["start", run["run_id"]]:
                    yield f"r{run['run_id']} of {run['job_id']} began before what it waits for had succeeded"

    def _too_many_at_once(self) -> Iterator[str]:
        """No more of the group run than it has places."""
        limited = {run["run_id"] for run in self.runs if run["job_id"].startswith("limited")}
        busy = most = 0
        for kind, run_id, _ in self.book:
            if run_id in limited:
                busy += 1 if kind == "start" else -1
                most = max(most, busy)
        if most > PLACES:
            yield f"{most} of a group of {PLACES} ran at once"

    def _times_lost(self, began_at: datetime, ended_at: datetime) -> Iterator[str]:
        """Every time of every schedule has one run."""
        by_job: dict[str, list[datetime]] = defaultdict(list)
        for run in self.runs:
            if run["origin"] == "schedule":
                by_job[run["job_id"]].append(run["nominal_at"].replace(tzinfo=UTC))
        if len(by_job) != PLAIN + 2 * PAIRS + FLAKY + LIMITED:
            yield f"only {len(by_job)} jobs ever ran"
        second, slack = timedelta(seconds=1), timedelta(seconds=2)
        for job_id, times in by_job.items():
            times.sort()
            first, last = times[0], times[-1]
            if times != [first + n * second for n in range((last - first) // second + 1)]:
                yield f"{job_id} missed a time, or had one twice, from {first} to {last}"
            if first > began_at + slack or last < ended_at - slack:
                yield f"{job_id} ran from {first} to {last}, and not from {began_at} to {ended_at}"
