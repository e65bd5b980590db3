"""The table of runs: its filters ask the server for the right rows."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from apsis_nb.views import runs_table
from apsis_nb.views.runs_table import PAGE_ROWS, Filters, load, pager_html, rows_html


@pytest.fixture(scope="module")
def made(server):
    with server.client() as client:
        client.schedule("asked/prints", name="100%", label=["mine", "tabled"]).wait(30)
        client.schedule("asked/prints", name="other_", label="tabled").wait(30)
        client.schedule("asked/fails", label=["mine", "tabled"]).wait(30)


def jobs_of(client, **filters):
    rows, count = load(client, Filters(**filters))
    assert len(rows) == min(count, PAGE_ROWS)
    return rows["job_id"].tolist()


def test_words_are_looked_for_in_job_label_and_arg(client, made):
    assert jobs_of(client, words="tabled prints") == ["asked/prints"] * 2
    assert jobs_of(client, words="mine") == ["asked/fails", "asked/prints"]
    assert jobs_of(client, words="other_") == ["asked/prints"]
    assert jobs_of(client, words="ASKED mine prints") == ["asked/prints"]


def test_signs_of_a_pattern_mean_themselves(client, made):
    assert jobs_of(client, words="100%") == ["asked/prints"]
    assert jobs_of(client, words="1_0") == []
    assert jobs_of(client, words="!") == []
    assert jobs_of(client, words="'") == []


def test_a_state_or_a_group_of_them_filters(client, made):
    assert jobs_of(client, words="tabled", state="failure") == ["asked/fails"]
    assert jobs_of(client, words="tabled", state="bad") == ["asked/fails"]
    assert jobs_of(client, words="tabled", state="live") == []


def test_the_window_filters(client, made):
    now = datetime.now(UTC)

    assert jobs_of(client, words="tabled", since=now + timedelta(hours=1)) == []
    assert jobs_of(client, words="tabled", until=now - timedelta(hours=1)) == []
    assert len(jobs_of(client, words="tabled", since=now - timedelta(hours=1), until=now + DAY)) == 3


DAY = timedelta(days=1)


def test_a_late_filter_finds_only_late_runs(client, made):
    assert jobs_of(client, words="tabled", late=True) == []


def test_the_newest_run_comes_first(client, made):
    rows, _ = load(client, Filters(words="tabled"))

    assert rows["run_id"].is_monotonic_decreasing


def test_what_a_program_is_given_is_never_markup(client, server):
    client.schedule("marked/shows", name="<img src=x>", label="<b>bold</b>").wait(30)
    filters = Filters(words="<img")
    page = rows_html(*load(client, filters), filters)

    assert "<img" not in page
    assert "<b>bold" not in page
    assert "&lt;b&gt;bold" in page


def test_an_empty_table_says_so():
    rows = runs_table.pd.DataFrame()

    assert "No run" in rows_html(rows, 0, Filters())


def test_one_page_needs_no_pager():
    assert pager_html(PAGE_ROWS, 0) == ""


def test_the_last_page_leads_only_back():
    pager = pager_html(PAGE_ROWS + 1, 1)

    assert f"{PAGE_ROWS + 1:,}&ndash;{PAGE_ROWS + 1:,} of {PAGE_ROWS + 1:,}" in pager
    assert 'aria-label="Older" disabled' in pager
    assert 'aria-label="Newer">' in pager


@pytest.mark.parametrize(
    ("message", "changed"),
    [
        ({"action": "words", "value": "etl"}, {"words": "etl"}),
        ({"action": "state", "value": "failure"}, {"state": "failure"}),
        ({"action": "state", "value": "x' OR 1=1"}, {}),
        ({"action": "late", "value": "true"}, {"late": True}),
        ({"action": "page", "value": "3"}, {"page": 3}),
        ({"action": "page", "value": "-1"}, {}),
        ({"action": "drop", "value": ""}, {}),
    ],
)
def test_a_field_changes_its_filter_and_only_that(message, changed):
    asked: list[Filters] = []
    table = runs_table.RunsTable(Filters(), asked.append, lambda action, picked, mark: None)
    table._act(message)

    assert table.filters == replace(Filters(), **changed)
    assert bool(asked) == bool(changed)
