"""What the schedules will make, of each job, however busy another one is."""

from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from apsis_nb.views import ahead as ahead_module
from apsis_nb.views.ahead import Ahead, expected_of_each

#: Far enough for the busy job to fill any answer.
DAY = timedelta(days=1)


@pytest.fixture
def now():
    return datetime.now(UTC).replace(microsecond=0)


def test_a_busy_job_does_not_hide_a_quiet_one(client, now):
    expected = expected_of_each(client, now, now + DAY)

    assert set(expected["job_id"]) == {"busy/ticks", "quiet/daily"}
    assert (expected["job_id"] == "quiet/daily").sum() == 4


def test_a_busy_job_is_one_row_that_reaches_to_the_end(client, now):
    expected = expected_of_each(client, now, now + DAY)
    busy = expected[expected["job_id"] == "busy/ticks"]

    assert len(busy) == 1
    assert busy["until_at"].iloc[0] == now + DAY


def test_of_jobs_that_are_too_many_to_be_named_the_same_is_expected(client, now, monkeypatch):
    named = expected_of_each(client, now, now + DAY)
    monkeypatch.setattr(ahead_module, "MOST_NAMED", 0)

    pd.testing.assert_frame_equal(expected_of_each(client, now, now + DAY), named)


def test_in_a_short_window_each_run_is_a_row(client, now):
    expected = expected_of_each(client, now, now + timedelta(seconds=30))

    assert (expected["job_id"] == "busy/ticks").sum() == 30
    assert expected["until_at"].isna().all()


def test_the_next_run_of_each_job_comes_once(client, now):
    following = client.expected(now, now + DAY, each=1)

    assert following["job_id"].tolist() == ["busy/ticks", "quiet/daily"]


def test_what_is_past_is_no_longer_expected(client, now):
    ahead = Ahead()
    ahead.ask(client, now, now + timedelta(seconds=30), now)
    later = now + timedelta(seconds=5)
    expected = ahead.ask(client, now, now + timedelta(seconds=30), later)

    assert expected["scheduled_at"].min() == later


def test_of_the_past_nothing_is_expected(client, now):
    assert len(Ahead().ask(client, now - DAY, now - timedelta(hours=1), now)) == 0
