"""What the timeline asks a real server: the bars of the rows that are seen, and of no others."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from apsis_nb.views import timeline_load
from apsis_nb.views.ahead import Ahead
from apsis_nb.views.runs_table import Filters
from apsis_nb.views.timeline_load import Arrangement, Found, Wish, load
from apsis_nb.views.timeline_rows import AD_HOC, row_of_job

LABELS = {"quiet/daily": ["daily"]}


@pytest.fixture
def ask(client):
    client.schedule("marked/shows").wait(30)
    client.schedule("heard/fails").wait(30)

    def ask(words="", order="name", first_row=0, **filters):
        now = datetime.now(UTC)
        wish = Wish(
            now - timedelta(hours=1),
            now,
            1000,
            Filters(words=words, **filters),
            Arrangement(order=order),
            first_row=first_row,
        )
        return load(client, wish, LABELS, Ahead(), Found(), now)

    return ask


def test_rows_are_the_jobs_that_have_runs_or_will_have_some(ask):
    answer = ask()

    assert {"busy/ticks", "heard/fails", "marked/shows"} <= {row.title for row in answer.rows}
    assert "heard/fails" in set(answer.frame["job_id"])


def test_of_many_rows_only_those_that_are_seen_are_asked_for(ask, monkeypatch):
    monkeypatch.setattr(timeline_load, "MOST_ROWS", 1)
    whole = ask()
    last = ask(first_row=whole.row_count - 1)

    assert (len(last.rows), last.first_row) == (1, whole.row_count - 1)
    assert {row_of_job(job) for job in last.frame["job_id"]} <= set(last.rows[0].jobs)


def test_filters_choose_rows_and_bars(ask):
    bad = ask(state="bad")
    assert {row.title for row in bad.rows} == {row_of_job(job) for job in bad.frame["job_id"]}
    assert set(bad.frame["state"]) <= {"failure", "error"}
    assert "busy/ticks" not in {row.title for row in bad.rows}
    assert [row.title for row in ask("fails heard").rows] == ["heard/fails"]
    assert ask("no such words").frame.empty


def test_most_failures_come_first(ask, client):
    failed = Counter(row_of_job(run["job_id"]) for run in client.list_runs(state=["failure", "error"]))
    first, *others = [failed[row.title] for row in ask(order="failures").rows if row.title != AD_HOC]

    assert first == max(failed.values())
    assert first > min(others)


def test_which_jobs_have_runs_is_kept_until_another_job_has_one(client):
    client.schedule("marked/shows").wait(30)
    found, now = Found(), datetime.now(UTC)
    since, until = now - timedelta(hours=1), now + timedelta(hours=1)

    def ask(seconds=0):
        return found.ask(client, Filters(), since, until, now + timedelta(seconds=seconds))

    before = ask()
    found.hear("marked/shows")
    assert ask() is before, "it is one of them"
    found.hear("made/up")
    again = ask()
    assert again is not before
    assert ask(seconds=4) is again
    assert ask(seconds=5) is not again, "its counts are to be right again"


def test_what_is_heard_while_it_is_asked_counts(client, monkeypatch):
    found, now = Found(), datetime.now(UTC)
    since, until = now - timedelta(hours=1), now + timedelta(hours=1)
    client.schedule("marked/shows").wait(30)
    first = found.ask(client, Filters(), since, until, now)
    asked = timeline_load._jobs_with_runs

    for job_id, is_kept in (("marked/shows", True), ("made/up", False)):
        found.hear("something/else")  # so that it is asked for

        def heard_meanwhile(*args, job_id=job_id):
            found.hear(job_id)
            return asked(*args)

        monkeypatch.setattr(timeline_load, "_jobs_with_runs", heard_meanwhile)
        second = found.ask(client, Filters(), since, until, now)
        assert second is not first
        assert (found.ask(client, Filters(), since, until, now) is second) == is_kept
