"""What pages ask of the past, held against the same runs counted one by one."""

import json
import math
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

import apsis_nb as ap
from apsis_nb.demo.history import make_history
from apsis_nb.views import late_runs, past
from apsis_nb.views.counts_plot import stacked
from apsis_nb.views.history_page import (
    Seen,
    Wish,
    calendar_html,
    counts_table_html,
    head_html,
    jobs_html,
    wish_of,
)
from apsis_nb.views.past import Chosen
from apsis_nb.views.ranges import Range
from apsis_nb.views.trend_band import band

NEW_YORK = ZoneInfo("America/New_York")
UNTIL = datetime(2026, 11, 10, tzinfo=UTC)  # with the change of New York's clocks on the 1st
SINCE = UNTIL - timedelta(days=30)
CHOSEN = Chosen(SINCE, UNTIL)


@pytest.fixture(scope="module")
def history(tmp_path_factory):
    path = tmp_path_factory.mktemp("past") / "runs.duckdb"
    make_history(path, 3000, until=UNTIL, days=30)
    with ap.open(path) as client:
        yield client


@pytest.fixture(scope="module")
def runs(history):
    return history.runs(since=SINCE, until=UNTIL)


def periods(runs, unit):
    """The periods of New York in which runs were due."""
    local = runs["scheduled_at"].dt.tz_convert(NEW_YORK).dt.tz_localize(None)
    starts = local.dt.to_period({"day": "D", "week": "W-SUN", "month": "M"}[unit]).dt.start_time
    return starts.dt.tz_localize(NEW_YORK).dt.tz_convert("UTC")


@pytest.mark.parametrize("unit", ["day", "week", "month"])
def test_counts_are_by_the_days_of_the_readers_zone(history, runs, unit):
    found = past.counts(history, CHOSEN, unit, "America/New_York")
    meant = runs.groupby([periods(runs, unit), runs["state"].astype(str)])["late"].agg(["size", "sum"])

    assert len(runs) == 3000
    assert {(r.period, r.state): (r.runs, r.late) for r in found.itertuples()} == {
        key: (row["size"], row["sum"]) for key, row in meant.iterrows()
    }
    skipped = (runs["state"] == "skipped") & (runs["origin"] == "schedule")
    assert found["missed"].sum() == skipped.sum()


def test_percentiles_are_those_of_the_runs(history, runs):
    chosen = Chosen(SINCE, UNTIL, job="etl/load")
    good = runs[(runs["job_id"] == "etl/load") & (runs["state"] == "success")]
    by_day = good.groupby(periods(good, "day"))["elapsed_s"]

    trend = past.durations(history, chosen, "day", "America/New_York").set_index("period")
    assert trend["p50_s"].to_dict() == pytest.approx(by_day.quantile(0.5).to_dict())
    assert trend["p95_s"].to_dict() == pytest.approx(by_day.quantile(0.95).to_dict())
    every = runs[runs["state"] == "success"]
    longest = past.longest(history, CHOSEN, "day", "America/New_York").set_index("period")["p95_s"]
    meant = every.groupby(periods(every, "day"))["elapsed_s"].quantile(0.95)
    assert longest.to_dict() == pytest.approx(meant.to_dict())

    far = past.outliers(history, chosen)
    middle = good["elapsed_s"].median()
    apart = good[(good["elapsed_s"] > 3 * middle) | (good["elapsed_s"] < middle / 3)]
    assert {f"r{n}" for n in far["run_id"]} == set(apart["run_id"])


def test_words_label_and_state_narrow(history, runs):
    def found(**filters):
        return past.jobs(history, Chosen(SINCE, UNTIL, **filters)).set_index("job_id")["runs"].to_dict()

    assert found() == runs["job_id"].value_counts().to_dict()
    assert set(found(words="etl LOAD")) == {"etl/load"}
    assert set(found(label="sale")) == {job for job in runs["job_id"] if job.startswith("sales/")}
    assert (
        found(state="bad")
        == runs[runs["state"].isin(["failure", "error"])]["job_id"].value_counts().to_dict()
    )
    assert found(words="%") == found(label="_") == {}
    assert past.labels(history, SINCE) == sorted(
        {label for labels in runs["labels"] for label in json.loads(labels)}
    )
    assert past.first_at(history) == runs["scheduled_at"].min()


def test_of_each_job_it_is_told_how_often_it_was_late_and_why(history, runs):
    found = late_runs.by_job(history, CHOSEN).set_index("job_id")
    late = runs[runs["late"]]

    assert found["late_runs"][found["late_runs"] > 0].to_dict() == late["job_id"].value_counts().to_dict()
    whys = late.groupby("late_why").size()
    assert {why: found[f"for_{why}"].sum() for why in whys.index} == whys.to_dict()
    assert found["late_runs"].is_monotonic_decreasing
    assert (found[[*late_runs.WHYS]].sum(axis="columns") == found["late_runs"]).all()

    rows, count = late_runs.page_of(history, CHOSEN, "late", 0)
    assert count == len(late)
    assert [f"r{n}" for n in rows["run_id"]] == late.sort_values(["scheduled_at", "run_id"], ascending=False)[
        "run_id"
    ].head(25).tolist()
    _, missed = late_runs.page_of(history, CHOSEN, "missed", 0)
    assert missed == found["missed"].sum()


@pytest.fixture(scope="module")
def seen(history):
    counts = past.counts(history, CHOSEN, "day", "America/New_York")
    return Seen(
        wish=Wish(Range("", SINCE, UNTIL)),
        chosen=CHOSEN,
        unit="day",
        units=["day", "hour"],
        zone=NEW_YORK,
        counts=counts,
        calendar_unit="day",
        calendar=counts,
        jobs=past.jobs(history, CHOSEN),
        labels=[],
        longest=None,
        now=UNTIL,
    )


def test_the_page_says_the_same_in_figures_bars_calendar_and_table(seen, runs):
    failed = runs["state"].isin(["failure", "error"]).sum()
    rate = 100 * (1 - failed / (runs["state"] != "skipped").sum())

    assert f"{rate:.1f} % succeeded" in head_html(seen, has_table=False)
    assert ">3,000<" in head_html(seen, has_table=False)
    day = periods(runs, "day").value_counts().sort_index()
    first, count = day.index[0].tz_convert(NEW_YORK), day.iloc[0]
    name = f"{first:%a} {first.day} {first:%b %Y}"
    assert f"{name}: {count} runs" in calendar_html(seen)
    assert f"{name}</td>" in counts_table_html(seen)
    assert counts_table_html(seen).count("<tr>") == len(day) + 1
    assert jobs_html(seen, None).count('data-action="only-job"') == runs["job_id"].nunique()


def test_the_page_has_few_bytes_however_many_runs_there_are(seen):
    parts = [
        head_html(seen, has_table=True),
        calendar_html(seen),
        counts_table_html(seen),
        jobs_html(seen, None),
    ]

    assert sum(map(len, parts)) < 60_000


def test_an_address_says_what_is_wished_and_is_read_back():
    wish = Wish(Range("90d"), "week", "etl", "daily", "bad", "etl/load", "p95", "drift")

    assert wish_of(wish.query) == wish
    assert Wish(Range("30d")).query == {}
    assert wish_of({"state": "<b>", "by": "second", "show": "all", "table": "x"}) == Wish(Range("30d"))


def test_the_bars_of_a_period_stand_on_each_other(seen, runs):
    bars, days, highest = stacked(seen.counts, "day", NEW_YORK)
    tops = {}
    for columns in bars.values():
        for left, bottom, top in zip(columns["left"], columns["bottom"], columns["top"], strict=True):
            assert bottom == tops.get(left, 0)
            tops[left] = top

    assert sorted(tops.values()) == sorted(periods(runs, "day").value_counts())
    assert highest == max(tops.values())
    assert len(days) == len(tops)
    # The day on which the clocks went back has 25 hours, and so has its bar.
    widths = {r - left for c in bars.values() for left, r in zip(c["left"], c["right"], strict=True)}
    assert {round(w / 0.88 / 3_600_000) for w in widths} == {24, 25}


def test_the_band_is_broken_where_nothing_ran(history):
    trend = past.durations(history, Chosen(SINCE, UNTIL, job="etl/load"), "day", "America/New_York")
    gap = trend.drop(index=[5, 6])

    assert sum(math.isnan(row[1]) for row in band(trend, "day", NEW_YORK)) == 0
    broken = band(gap, "day", NEW_YORK)
    assert [n for n, row in enumerate(broken) if math.isnan(row[1])] == [5]
    assert [row[0] for row in broken] == sorted(row[0] for row in broken)
