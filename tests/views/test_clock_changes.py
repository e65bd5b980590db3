"""Where clocks change: found to the second, in any window."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apsis_nb.views.clock_changes import clock_changes

LONDON = ZoneInfo("Europe/London")
SPRING, AUTUMN = datetime(2026, 3, 29, 1, tzinfo=UTC), datetime(2026, 10, 25, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def test_a_year_has_both_changes():
    spring, autumn = clock_changes(datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC), LONDON)

    assert (spring.at, spring.words, spring.span) == (SPRING, "clocks forward 1 h", (SPRING, SPRING + HOUR))
    assert (autumn.at, autumn.words) == (AUTUMN, "clocks back 1 h")
    assert autumn.span == (AUTUMN - HOUR, AUTUMN + HOUR)


@given(st.integers(1, 10 * 86400), st.integers(1, 10 * 86400))
def test_a_change_is_found_wherever_the_window_lies(before_s, after_s):
    (change,) = clock_changes(
        AUTUMN - timedelta(seconds=before_s), AUTUMN + timedelta(seconds=after_s), LONDON
    )
    assert change.at == AUTUMN


@pytest.mark.parametrize(
    ("zone", "start", "words"),
    [
        ("Australia/Lord_Howe", datetime(2026, 10, 1, tzinfo=UTC), ["clocks forward 30 min"]),
        ("Asia/Tokyo", datetime(2026, 10, 1, tzinfo=UTC), []),
    ],
)
def test_other_zones_have_other_changes(zone, start, words):
    found = clock_changes(start, start + timedelta(days=30), ZoneInfo(zone))

    assert [change.words for change in found] == words


def test_a_window_of_years_has_no_shades():
    assert clock_changes(SPRING, SPRING + timedelta(days=800), LONDON) == []
