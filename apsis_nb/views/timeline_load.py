"""What the timeline asks the server: which jobs have runs in the window, and the bars of the rows seen.

With thousands of jobs only some rows are seen at once; to ask for all bars would take ten times as long, and
give each row a tenth of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

import pandas as pd

from apsis_nb.client import Client

from .ahead import Ahead
from .live import at_once
from .runs_table import GROUPS, Filters
from .timeline_rows import Grouping, Order, Row, arranged, row_of_job, rows_of

MOST_ROWS = 40  #: at once; the others are a page away
MOST_BARS = 750  #: single runs; beyond it those that are close together are one bar
MOST_NAMED = 200  #: jobs that are named in a question; for more the bars of all are asked for
KEEP_FOR = timedelta(seconds=5)  #: what was found of a window


@dataclass(frozen=True)
class Arrangement:
    """How the rows stand."""

    by: Grouping = ""
    order: Order = "name"
    folded: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Wish:
    """What is to be seen."""

    start: datetime
    stop: datetime
    px: int  #: width of the window in pixels
    filters: Filters
    how: Arrangement
    seen: Sequence[str] = ()  #: names of rows that stay although they have no run in the window
    first_row: int = 0


@dataclass(frozen=True)
class Answer:
    """What one look at the server gave."""

    wish: Wish  #: what was asked for
    frame: pd.DataFrame
    expected: pd.DataFrame
    now: datetime
    seen: Sequence[str]
    rows: Sequence[Row]  #: those that are seen
    row_count: int
    first_row: int
    groups: frozenset[str]  #: of all rows


class Found:
    """Which jobs have runs in a window, and how they were: kept while a reader types, pages, or sorts."""

    def __init__(self) -> None:
        self._known: tuple[object, datetime, pd.DataFrame, frozenset[object]] | None = None
        self._heard: set[object] = set()  #: jobs, since the server was asked last

    def hear(self, job_id: object) -> None:
        """A run of a job has moved on; may be called by any thread.

        Of a job that has runs here only the counts have changed, which are right again after `KEEP_FOR`.
        """
        self._heard.add(job_id)
        known = self._known
        if known is not None and job_id not in known[3]:
            self._known = None

    def ask(
        self, client: Client, filters: Filters, since: datetime, until: datetime, now: datetime
    ) -> pd.DataFrame:
        """The jobs whose runs fit the filters, but for their words; not to be changed."""
        of, known = (filters.state, filters.late, since, until), self._known
        if known is not None and known[0] == of and now - known[1] < KEEP_FOR:
            return known[2]
        heard = self._heard = set()
        frame = _jobs_with_runs(client, filters, since, until)
        jobs: frozenset[object] = frozenset(frame["job_id"].astype(str))
        self._known = (of, now, frame, jobs) if jobs >= heard else None
        return frame


def load(
    client: Client, wish: Wish, labels: Mapping[str, Sequence[str]], ahead: Ahead, found_before: Found,
    now: datetime,
) -> Answer:  # fmt: skip
    """Ask for what is to be seen.

    Args:
        client: whom to ask.
        wish: what.
        labels: of the jobs.
        ahead: what the schedules will make.
        found_before: what is known of the jobs of the window.
        now: the present, aware.
    """
    pad = (wish.stop - wish.start) / 4  # so that a small step to the side is already drawn
    since, until = wish.start - pad, wish.stop + pad
    filters = wish.filters
    told = at_once(
        with_runs=partial(found_before.ask, client, filters, since, until, now),
        expected=partial(ahead.ask, client, since, until, now),
    )
    with_runs, expected = told["with_runs"], told["expected"]
    found = with_words(with_runs, filters.words, labels)
    is_chosen = bool(filters.state or filters.late)
    expected = with_words(expected.iloc[:0] if is_chosen else expected, filters.words, labels)
    seen = rows_of(pd.DataFrame({"job_id": list(wish.seen)}), found, expected)
    rank = rank_of(wish.how.order, found, expected)
    rows = arranged(seen, by=wish.how.by, labels=labels, folded=wish.how.folded, rank=rank)
    first = min(wish.first_row, max(0, len(rows) - 1) // MOST_ROWS * MOST_ROWS)
    shown = rows[first : first + MOST_ROWS]
    names = {job for row in shown for job in row.jobs}
    jobs = [job for job in found["job_id"].astype(str) if row_of_job(job) in names]
    is_some = len(jobs) < len(with_runs) and len(jobs) <= MOST_NAMED
    frame = client.history.timeline(
        since=since, until=until, job=jobs if is_some and jobs else (), px=wish.px, max_bars=MOST_BARS
    )
    return Answer(
        wish=wish,
        frame=_fitting(frame if jobs else frame.iloc[:0], filters),
        expected=expected,
        now=now,
        seen=seen,
        rows=shown,
        row_count=len(rows),
        first_row=first,
        groups=frozenset(row.group for row in rows if row.group is not None),
    )


def _jobs_with_runs(client: Client, filters: Filters, since: datetime, until: datetime) -> pd.DataFrame:
    """The jobs that have runs in the window that fit the filters, and how they were."""
    wanted = Filters(state=filters.state, late=filters.late, since=since, until=until)
    where, values = wanted.where()
    return client.sql(
        "SELECT job_id, count(*) FILTER (late) AS late,"
        " count(*) FILTER (state IN ('failure', 'error')) AS failed"
        f" FROM runs WHERE {where} GROUP BY job_id",
        values,
    )


def rank_of(order: Order, found: pd.DataFrame, expected: pd.DataFrame) -> dict[str, float] | None:
    """The place of each row in an order, those with the least first; None: by name."""
    if order == "name":
        return None
    if order == "next":
        first = expected.groupby("job_id")["scheduled_at"].min()
        return {row_of_job(str(job)): at.timestamp() for job, at in first.items()}
    counts = found["late" if order == "late" else "failed"]
    rank: dict[str, float] = {}
    for job, n in zip(found["job_id"], counts, strict=True):
        if n:
            rank[row_of_job(str(job))] = rank.get(row_of_job(str(job)), 0.0) - float(n)
    return rank


def _fitting(frame: pd.DataFrame, filters: Filters) -> pd.DataFrame:
    """The bars that fit the filters; of a merged one the worst state counts."""
    if filters.state:
        states = GROUPS[filters.state][1] if filters.state in GROUPS else (filters.state,)
        frame = frame[frame["state"].astype(str).isin(states)]
    if filters.late:
        frame = frame[frame["late"].astype(bool)]
    return frame


def with_words(frame: pd.DataFrame, words: str, labels: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """Rows whose job has each word in its id or a label. Args are the table's: the bars have none."""
    wanted = words.lower().split()
    if not wanted:
        return frame
    jobs = frame["job_id"].astype(str)
    said = {job: " ".join([job, *labels.get(job, ())]).lower() for job in jobs.unique()}
    fitting = {job for job, text in said.items() if all(word in text for word in wanted)}
    return frame[jobs.isin(fitting)]
