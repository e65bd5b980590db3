"""What the schedules will make: some of each job, so that a busy one does not hide the others."""

from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import pandas as pd

from apsis_nb.client import Client, NoSuch

MOST = 20_000  #: runs that are shown one by one
MOST_LISTED = 100_000  #: that are asked for at once; the server lists no more
MOST_NAMED = 4000  #: characters of ids in one question
MOST_OF_A_JOB = 100  #: beyond it the rest of the window is one strip
KEEP_FOR = timedelta(seconds=20)


def nothing_expected() -> pd.DataFrame:
    """No expected runs: the columns of `expected_of_each`."""
    at = pd.Series(dtype="datetime64[us, UTC]")
    return pd.DataFrame({"job_id": pd.Series(dtype="str"), "scheduled_at": at, "until_at": at})


def expected_of_each(client: Client, since: datetime, until: datetime) -> pd.DataFrame:
    """The expected runs of every job.

    Args:
        client: whom to ask.
        since, until: aware; `since` is included, `until` is not.

    Returns:
        `job_id`, `scheduled_at`, and `until_at`: of a row that stands for many runs, the end of the window.
    """
    # To count is quick however many they are, and tells which jobs need not be listed.
    counts = client.expected_counts(since, until, every=max(until - since, timedelta(minutes=1)))
    is_busy = counts["runs"] >= MOST_OF_A_JOB
    if counts.loc[~is_busy, "runs"].sum() > MOST:
        is_busy[:] = True
    strips = counts[is_busy].rename(columns={"first_at": "scheduled_at"}).assign(until_at=pd.Timestamp(until))
    runs = _runs_of(client, counts.loc[~is_busy, "job_id"].tolist(), since, until)
    parts = [part[["job_id", "scheduled_at", "until_at"]] for part in (strips, runs) if len(part)]
    if not parts:
        return nothing_expected()
    return pd.concat(parts).sort_values("scheduled_at", kind="stable").reset_index(drop=True)


def _runs_of(client: Client, jobs: list[str], since: datetime, until: datetime) -> pd.DataFrame:
    """The expected runs of jobs that have few."""
    if not jobs:
        return nothing_expected()
    is_short = sum(map(len, jobs)) <= MOST_NAMED
    try:
        named = jobs if is_short else ()
        found = client.expected(since, until, job=named, each=MOST_OF_A_JOB, limit=MOST_LISTED)
    except NoSuch:  # one of them was there a moment ago
        found = client.expected(since, until, each=MOST_OF_A_JOB, limit=MOST_LISTED)
    found = found[found["job_id"].isin(jobs)]
    return found.assign(until_at=_never(found))


def expected_of_one(client: Client, job_id: str, since: datetime, until: datetime) -> pd.DataFrame:
    """The expected runs of one job, as `expected_of_each` gives them."""
    found = pd.DataFrame()
    if since < until:
        with suppress(NoSuch):  # its file is gone, and its runs are all there is
            found = client.expected(since, until, job=job_id, limit=MOST_OF_A_JOB)
    return _some_of(found, until) if len(found) else nothing_expected()


def _never(found: pd.DataFrame) -> "pd.Series[Any]":
    return pd.Series(pd.NaT, index=found.index, dtype="datetime64[us, UTC]")


def _some_of(found: pd.DataFrame, until: datetime) -> pd.DataFrame:
    """All of a job's runs, or the first with a strip behind it that stands for the others."""
    if len(found) < MOST_OF_A_JOB:
        return found.assign(until_at=_never(found))
    return found.iloc[:1].assign(until_at=pd.Timestamp(until))


class Ahead:
    """Asks for expected runs, and keeps the answer for a while: they change only with job files and time."""

    def __init__(self) -> None:
        self._answer = nothing_expected()
        self._since: datetime | None = None
        self._until: datetime | None = None
        self._asked_at: datetime | None = None

    def forget(self) -> None:
        """The job files changed."""
        self._asked_at = None

    def ask(self, client: Client, since: datetime, until: datetime, now: datetime) -> pd.DataFrame:
        """The expected runs of a window, those that are past at `now` left out."""
        since = max(since, now)
        if since >= until:
            return nothing_expected()
        is_known = (
            self._asked_at is not None
            and now - self._asked_at < KEEP_FOR
            and self._since is not None
            and self._until is not None
            and self._since <= since
            and self._until >= until
            # A strip that was cut for a far wider window would hide what can be told apart in this one.
            and self._until - self._since < 3 * (until - since) + timedelta(minutes=1)
        )
        if not is_known:
            more = (until - since) / 5
            self._answer = expected_of_each(client, since, until + more)
            self._since, self._until, self._asked_at = since, until + more, now
        past = self._answer["scheduled_at"] < pd.Timestamp(now)
        return self._answer[~past | self._answer["until_at"].notna()]
