"""A week of hours: every instant of it once, whatever the clocks of the zone do."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apsis_nb.views.schedule_page import Seen, Wish, edits_html, list_html, week_html, wish_of
from apsis_nb.views.week import Cell, Pauses, Week, cells_of

LONDON = ZoneInfo("Europe/London")
SPRING, AUTUMN = date(2026, 3, 23), date(2026, 10, 19)  # Mondays of the weeks in which its clocks change


@given(
    st.dates(date(2020, 1, 1), date(2036, 1, 1)),
    st.sampled_from(["UTC", "Europe/London", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"]),
)
def test_every_hour_between_its_midnights_is_in_one_cell(first, name):
    week = Week(first, ZoneInfo(name))
    starts = [at for row in week.hours() for hour in row for at in hour.starts]

    assert len(starts) == len(set(starts))
    assert min(starts) == week.since
    assert max(starts) < week.until
    assert sorted(starts) == [week.since + timedelta(hours=n) for n in range(len(starts))]


def test_an_hour_is_skipped_in_spring_and_comes_twice_in_autumn():
    for monday, count, words in (
        (SPRING, 0, "at 01:00 the clocks of Europe/London go forward to 02:00"),
        (AUTUMN, 2, "at 02:00 the clocks of Europe/London go back to 01:00"),
    ):
        week = Week(monday, LONDON)
        (change,) = week.changes()
        assert words in change.words(LONDON)
        odd = [hour for row in week.hours() for hour in row if len(hour.starts) != 1]
        assert [(hour.hour, hour.day.weekday(), len(hour.starts)) for hour in odd] == [(1, 6, count)]
    assert Week(date(2026, 7, 6), LONDON).changes() == []


def expected(*rows):
    frame = pd.DataFrame(rows, columns=["job_id", "period", "runs"])
    at = pd.to_datetime(frame["period"], utc=True).astype("datetime64[us, UTC]")
    return frame.assign(period=at, first_at=at + pd.Timedelta(minutes=7))


PAUSED = Pauses(
    [
        {"scope": "job", "target": "a/held", "until": None, "reason": "<b>moving</b>"},
        {"scope": "path", "target": "b", "until": "2026-10-25T01:00:00Z", "reason": None},
    ]
)


def test_what_is_paused_is_counted_apart_until_its_pause_ends():
    cells = cells_of(
        expected(
            ("a/runs", "2026-10-25T00:00Z", 60),
            ("a/held", "2026-10-25T00:00Z", 4),
            ("b/c/late", "2026-10-25T00:00Z", 1),
            ("b/c/late", "2026-10-25T01:00Z", 1),
        ),
        {"a/runs": 30.0},
        PAUSED,
    )

    assert cells == {
        datetime(2026, 10, 25, 0, tzinfo=UTC): Cell(60, 1800.0, 5),
        datetime(2026, 10, 25, 1, tzinfo=UTC): Cell(1, 0.0, 0),
    }
    assert Pauses([{"scope": "all", "target": "", "until": None}]).holds("any", datetime.now(UTC))


def seen(wish=None, frame=None, now=datetime(2026, 10, 24, 12, tzinfo=UTC)):
    found = expected(("a/runs", "2026-10-25T00:00Z", 60), ("a/held", "2026-10-25T00:00Z", 4))
    jobs = {"a/runs": {"explain": {"schedule": ["every minute of <i>an hour</i>"]}}}
    week = Week(AUTUMN, LONDON)
    return Seen(wish or Wish(), week, found if frame is None else frame, {"a/runs": 30.0}, PAUSED, jobs, now)


def test_the_week_tells_the_numbers_the_change_of_the_clocks_and_what_is_past():
    html = week_html(seen())

    assert (
        "Sun 25 Oct, 01:00 (comes twice): 60 starts, 0.50 running at once on average, 4 more are paused"
        in html
    )
    assert "&times;2 60" in html
    assert '<span class="count">60</span>' in html  # as the days say: without those that are paused
    assert "go back to 01:00" in html
    assert "Mon 19 Oct, 09:00: 0 starts, past" in html
    assert "0.5</button>" in week_html(seen(Wish(metric="at_once")))
    frame = expected(("a/runs", "2026-03-29T05:00Z", 1))
    spring = replace(seen(frame=frame), week=Week(SPRING, LONDON))
    assert "Sun 29 Mar, 01:00: the clocks skip this hour" in week_html(spring)
    assert "No schedule makes a run" in week_html(seen(frame=expected()))


def test_the_list_has_a_row_for_a_busy_job_and_says_what_is_paused():
    html = list_html(seen(Wish(day="2026-10-25")))

    assert "60 times" in html
    assert '<span class="count">60</span>' in html
    assert "4 times in this hour" in html
    assert "paused" in html
    assert "&lt;b&gt;moving" in html
    assert "<i>an hour" not in html
    assert "No schedule makes a run" in list_html(seen(Wish(day="2026-10-23")))


@pytest.mark.parametrize(
    "said", [{"week": "-1"}, {"week": "x"}, {"day": "<b>"}, {"hour": "25"}, {"hour": "٣٣٣"}, {"show": "all"}]
)
def test_an_address_that_makes_no_sense_means_this_week(said):
    assert wish_of(said) == Wish()


def test_an_address_says_what_is_seen_and_is_read_back():
    wish = Wish(week=3, metric="at_once", words="etl", day="2026-10-25", hour=0)

    assert wish_of(wish.query) == wish


def test_edits_of_files_are_told_with_the_runs_that_come_and_go():
    told = {
        "added": ["new/<job>"],
        "removed": [],
        "changed": ["a/runs"],
        "errors": [{"file": "bad.yaml", "line": 3, "message": "what is <this>?"}],
        "previews": {
            "a/runs": {"added_count": 1200, "removed_count": 2, "added": [{"at": "2026-10-25T01:00:00Z"}]},
        },
    }
    html = edits_html(told)

    assert "+1,200" in html
    assert "&minus;2" in html
    assert 'datetime="2026-10-25T01:00:00Z"' in html
    assert "bad.yaml:3" in html
    assert "<this>" not in html
    assert "<job>" not in html
    assert "those that the server runs" in edits_html({"added": [], "errors": []})
