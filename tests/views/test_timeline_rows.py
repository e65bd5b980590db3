"""The rows of the timeline: groups, their order, and that no job is lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apsis_nb.views.timeline_bar import labels_html
from apsis_nb.views.timeline_load import Arrangement
from apsis_nb.views.timeline_page import arrangement_of, words_of
from apsis_nb.views.timeline_rows import AD_HOC, GROUPINGS, arranged
from tests.views.test_markup import Tags

JOBS = ["etl/load", "etl/clean", "report", AD_HOC]
LABELS = {"etl/load": ["daily", "slow"], "report": ["daily"]}


def titles(rows):
    return [f"  {row.title}" if row.is_inner else row.title for row in rows]


def test_without_groups_there_is_a_row_for_each_job():
    assert titles(arranged(JOBS)) == ["etl/clean", "etl/load", "report", AD_HOC]


def test_groups_by_path_have_the_names_below_their_folder():
    assert titles(arranged(JOBS, by="path")) == [
        "etl", "  clean", "  load", "(no folder)", "  report", AD_HOC,
    ]  # fmt: skip


def test_a_job_stands_under_each_of_its_labels():
    assert titles(arranged(JOBS, by="label", labels=LABELS)) == [
        "daily", "  etl/load", "  report", "slow", "  etl/load", "(no label)", "  etl/clean", AD_HOC,
    ]  # fmt: skip


def test_a_folded_group_has_one_row_with_all_its_jobs():
    rows = arranged(JOBS, by="path", folded={"etl"})

    assert (rows[0].title, rows[0].jobs, rows[0].is_open) == ("etl", ("etl/clean", "etl/load"), False)


def test_a_rank_orders_jobs_and_groups_and_names_do_the_rest():
    rank = {"report": -5.0, "etl/load": -1.0}

    assert titles(arranged(JOBS, rank=rank)) == ["report", "etl/load", "etl/clean", AD_HOC]
    assert titles(arranged([*JOBS, "a/x"], by="path", rank={"etl/load": -1.0}))[0] == "etl"


@given(
    st.sets(st.text("ab/", min_size=1, max_size=6).filter(lambda job: job.strip("/") == job)),
    st.sampled_from(GROUPINGS),
    st.booleans(),
)
def test_no_job_is_lost_and_none_comes_twice_by_path(jobs, by, is_folded):
    folded = {job.rpartition("/")[0] for job in jobs} if is_folded else set()
    rows = arranged(sorted(jobs), by=by, folded=folded)

    assert sorted(job for row in rows for job in row.jobs) == sorted(jobs)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ({"group": "path", "sort": "late", "folded": "a,b"}, Arrangement("path", "late", frozenset("ab"))),
        ({"group": "<b>", "sort": "x"}, Arrangement()),
        ({}, Arrangement()),
    ],
)
def test_the_address_says_how_the_rows_stand(said, meant):
    assert arrangement_of(said) == meant
    assert arrangement_of(words_of(meant)) == meant


def test_names_are_never_markup():
    page = labels_html(arranged(["<b>/<i>", "<u>"], by="path", folded={"<b>"}))

    assert not {"b", "i", "u"} & set(Tags(page).tags)
    assert Tags(page).tags.count("button") == 2
