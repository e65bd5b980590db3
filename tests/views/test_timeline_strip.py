"""The strip below the timeline: it always suits the window that it was made for."""

from datetime import UTC, datetime, timedelta

import pandas as pd
from bokeh.models import Range1d
from hypothesis import given
from hypothesis import strategies as st

from apsis_nb.views.timeline_strip import MOST_COLUMNS, Extent, Strip, extent_of

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
SPANS = st.floats(10, 3600 * 86400).map(lambda s: timedelta(seconds=s))


@given(SPANS, st.floats(-400, 1).map(lambda d: timedelta(days=d)))
def test_an_extent_suits_the_window_that_it_is_made_for(span, at):
    start, stop = NOW + at - span, NOW + at
    extent = extent_of(start, stop, NOW)

    assert extent.start < start < stop < extent.stop
    assert extent.suits(start, stop)


@given(SPANS)
def test_there_are_never_too_many_columns(span):
    extent = Extent(NOW - span, NOW)
    length = {"hour": 3600, "day": 86400, "week": 7 * 86400}[extent.unit]

    assert extent.unit == "week" or span.total_seconds() / length <= MOST_COLUMNS


def test_it_shows_how_many_runs_there_were_and_how_many_failed():
    extent = extent_of(NOW - timedelta(days=1), NOW, NOW)
    strip = Strip(Range1d(0, 1), extent)
    counts = {"period": [NOW - timedelta(hours=2), NOW], "runs": [4, 8], "failed": [0, 2]}
    strip.draw(extent, pd.DataFrame(counts))

    data = strip.figure.renderers[0].data_source.data
    assert list(data["runs"]) == [4, 8]
    assert list(data["failed"]) == [0, 2]
    assert list(data["right"] - data["left"]) == [3.6e6 * (1 if extent.unit == "hour" else 24)] * 2
