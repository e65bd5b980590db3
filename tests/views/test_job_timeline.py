"""The runs of one job over time: which window, and what is in it."""

from datetime import UTC, datetime, timedelta

import pytest

from apsis_nb.views.job_timeline import LEAST_SPAN, MOST_SPAN, load, window_of

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("ago", "past"),
    [
        (timedelta(seconds=10), LEAST_SPAN),
        (timedelta(days=20), timedelta(days=21)),
        (timedelta(days=900), MOST_SPAN),
    ],
)
def test_the_window_has_the_last_runs_and_something_ahead(ago, past):
    runs = [{"scheduled_at": NOW - ago / 2}, {"scheduled_at": NOW - ago}]

    assert window_of(runs, NOW) == (NOW - past, NOW + past / 6)


def test_of_a_job_that_never_ran_a_day_is_shown():
    start, stop = window_of([], NOW)

    assert start < NOW - timedelta(days=1) < NOW < stop


def test_it_has_the_runs_of_the_job_alone_and_what_its_schedules_make(client):
    for job in ("asked/prints", "heard/fails"):
        client.schedule(job).wait(20)
    now = datetime.now(UTC)
    window = (now - timedelta(hours=1), now + timedelta(days=1))

    asked = load(client, "asked/prints", window, 800, now)
    assert set(asked.frame["job_id"].astype(str)) == {"asked/prints"}
    assert len(asked.expected) == 0
    assert len(load(client, "quiet/daily", window, 800, now).expected) >= 4
    gone = load(client, "no/such", window, 800, now)
    assert (len(gone.frame), len(gone.expected)) == (0, 0)
