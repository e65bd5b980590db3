"""The questions of history about drift, cost, budgets, concurrency and estimates: held to plain Python."""

import collections
import itertools
import random
import statistics
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from apsis_nb.core.runs import Origin, Run
from apsis_nb.core.states import State
from apsis_nb.store import MetaRow, Store, StoreError
from tests.store.made import NOON, a_run, ended, saved, whole_life

DAY = timedelta(days=1)
LATER = NOON + timedelta(days=400)


def keep(store: Store, *runs: Run) -> None:
    """Save runs from their making to where they are."""
    for run in runs:
        new = a_run(run.run_id, run.job_id, scheduled_at=run.scheduled_at, origin=run.origin)
        store.save([saved(new, is_new=True), saved(run)])
    store.save(()).result(10)


def success(run_id: int, at: datetime, *, late_s: float = 0, took_s: float = 10, **facts: Any) -> Run:
    """A run that was due at a time, started so late and took so long."""
    began = at + timedelta(seconds=late_s)
    run = a_run(run_id, scheduled_at=at, nominal_at=at, state_at=at, **facts)
    run = run.moved(State.STARTING, began).moved(State.RUNNING, began)
    return run.moved(State.SUCCESS, began + timedelta(seconds=took_s), elapsed_s=took_s)


def only(store: Store, name: str, **given: Any) -> dict[str, Any]:
    (row,) = store.arrow(name, **given).to_pylist()
    return dict(row)


# -- drift


def test_drift_compares_the_medians_of_two_periods(store: Store) -> None:
    before = [success(n, NOON + n * DAY, late_s=n, took_s=100 + n) for n in range(5)]
    now = [success(10 + n, NOON + (5 + n) * DAY, late_s=60 + n, took_s=400 + n) for n in range(5)]
    other = ended(a_run(90, scheduled_at=NOON + 9 * DAY), State.FAILURE)
    manual = success(91, NOON + 9 * DAY, took_s=9999, origin=Origin.MANUAL)
    keep(store, *before, *now, other, manual)

    row = only(store, "drift", period=5 * DAY, until=NOON + 10 * DAY)

    assert (row["runs"], row["runs_before"]) == (5, 5)
    assert (row["late_s"], row["late_before_s"], row["late_change_s"]) == (62, 2, 60)
    assert (row["elapsed_s"], row["elapsed_before_s"], row["elapsed_change_s"]) == (402, 102, 300)
    assert (row["finish_s"], row["finish_before_s"]) == (12 * 3600 + 464, 12 * 3600 + 104)
    assert row["finish_change_s"] == 360


def test_an_end_is_counted_from_the_midnight_of_the_zone_before_it_was_due(store: Store) -> None:
    zone = ZoneInfo("America/New_York")
    # 23:50 there, over a change of the clocks; each ends on the next day
    due = [datetime(2026, 3, 5 + n, 23, 50, tzinfo=zone).astimezone(UTC) for n in range(6)]
    keep(store, *(success(n, at, took_s=1200) for n, at in enumerate(due)))

    row = only(store, "drift", period=3 * DAY, until=due[3] + DAY * 3 - timedelta(hours=1), tz=zone.key)

    assert row["runs"] == row["runs_before"] == 3
    assert row["finish_s"] == row["finish_before_s"] == 24 * 3600 + 600


def test_a_job_of_one_period_alone_has_no_change(store: Store) -> None:
    keep(store, success(1, NOON - DAY), success(2, NOON - 3 * DAY, inst=a_run(2, "old").inst))

    old, new = store.arrow("drift", period=2 * DAY, until=NOON).to_pylist()

    assert (old["job_id"], old["runs"], old["runs_before"]) == ("old", 0, 1)
    assert (new["runs"], new["runs_before"], new["elapsed_s"]) == (1, 0, 10)
    assert old["elapsed_change_s"] is new["elapsed_change_s"] is None


# -- cost


def test_cost_is_what_was_used_at_its_price(store: Store) -> None:
    used = {1: MetaRow(cpu_s=1800.0, max_rss_b=2 * 10**9), 2: MetaRow(cpu_s=5400.0), 3: MetaRow()}
    for n in (1, 2):
        keep(store, a_run(n))
        store.save([saved(ended(a_run(n), after_s=3600))], meta={n: used[n]}).result(10)
    keep(store, ended(a_run(9), after_s=100))  # nobody knows what it used

    row = only(store, "cost", until=LATER, since=NOON, cpu_hour=2.0, gb_hour=0.5)

    assert row.pop("job_id") == "team/report"
    assert row == {
        "runs": 2, "elapsed_h": 2.0, "cpu_h": 2.0, "memory_gb_h": 2.0, "cost": 5.0, "cost_per_run": 2.5,
    }  # fmt: skip
    assert only(store, "cost", until=LATER, since=NOON)["cost"] == 0


def test_cost_is_of_the_runs_of_the_window_alone(store: Store) -> None:
    draw, used = random.Random(1), collections.defaultdict[str, list[tuple[float, MetaRow]]](list)
    since, until = NOON + timedelta(hours=1), NOON + timedelta(hours=3)
    for n in range(200):
        at, took_s, job_id = NOON + n * timedelta(minutes=1), draw.randrange(1, 99), f"job/{n % 3}"
        meta = MetaRow(cpu_s=draw.choice([None, 1.5, 7.0]), max_rss_b=draw.choice([None, 10**8, 10**9]))
        new = a_run(n, job_id, scheduled_at=at, nominal_at=at, state_at=at)
        store.save([saved(new, is_new=True)])
        store.save([saved(ended(new, after_s=took_s))], meta={n: meta} if n % 7 else {})
        if since <= at < until and n % 7:
            used[job_id].append((took_s, meta))
    store.save(()).result(10)

    table = store.arrow("cost", since=since, until=until, cpu_hour=2.0, gb_hour=0.5).to_pylist()

    for row, (job_id, runs) in zip(table, sorted(used.items()), strict=True):
        cpu_h = sum(meta.cpu_s or 0 for _, meta in runs) / 3600
        gb_h = sum((meta.max_rss_b or 0) / 1e9 * took_s / 3600 for took_s, meta in runs)
        assert (row["job_id"], row["runs"]) == (job_id, len(runs))
        assert row["elapsed_h"] == pytest.approx(sum(took_s for took_s, _ in runs) / 3600)
        assert (row["cpu_h"], row["memory_gb_h"]) == (pytest.approx(cpu_h), pytest.approx(gb_h))
        assert row["cost"] == pytest.approx(2 * cpu_h + gb_h / 2)


# -- budgets


def test_on_time_is_the_share_that_kept_its_budgets(store: Store) -> None:
    by = NOON + timedelta(seconds=300)
    keep(
        store,
        success(1, NOON),
        success(2, NOON, late_s=61, late_why="limit", late_finish_at=by),  # its start
        success(3, NOON, late_s=61, took_s=900, late_why="limit", late_finish_at=by),  # both: its start
        success(4, NOON, took_s=900, late_finish_at=by),  # its end
        ended(a_run(5), State.ERROR, after_s=90),  # never started
        ended(a_run(6), State.SKIPPED),
        success(7, NOON, late_s=900, origin=Origin.MANUAL),  # nobody expected it
    )

    row = only(store, "on_time", since=NOON, until=LATER, unit="month")

    assert (row["runs"], row["late_start"], row["late_finish"]) == (5, 3, 1)
    assert (row["started_share"], row["on_time_share"]) == (pytest.approx(0.4), pytest.approx(0.2))
    assert row["period"] == NOON.replace(day=1, hour=0, tzinfo=None)


# -- concurrency


def swept(
    runs: list[Run], since: datetime, until: datetime, every: timedelta
) -> list[tuple[int, int, float]]:
    """The same in plain Python: running, peak and mean of each piece."""
    told = []
    for n in range(-(-(until - since) // every)):
        start, stop = since + n * every, min(since + (n + 1) * every, until)
        spans = [
            (max(r.started_at, start), min(r.finished_at or LATER, stop))
            for r in runs
            if r.started_at and r.started_at < stop and (r.finished_at or LATER) > start
        ]
        instants = {start, *(began for began, _ in spans)}
        at_once = {t: sum(began <= t < end for began, end in spans) for t in instants}
        busy = sum(((end - began) for began, end in spans), timedelta(0))
        told.append((at_once[start], max(at_once.values()), busy / (stop - start)))
    return told


@pytest.mark.parametrize("seconds", [60, 700, 7200])
def test_concurrency_is_that_of_every_instant(store: Store, seconds: int) -> None:
    lengths = itertools.cycle([5, 600, 35, 4000, 600])
    runs = [
        success(n, NOON + timedelta(seconds=100 * n), took_s=took)
        for n, took in enumerate(itertools.islice(lengths, 60))
    ]
    test = success(90, NOON, took_s=9999, origin=Origin.TEST)
    keep(store, *runs, test)
    since, until, every = NOON + timedelta(seconds=450), NOON + timedelta(hours=2), timedelta(seconds=seconds)

    table = store.arrow("concurrency", since=since, until=until, every=every).to_pylist()

    expected = swept(runs, since, until, every)
    assert [(row["running"], row["peak"]) for row in table] == [(now, peak) for now, peak, _ in expected]
    assert [row["mean"] for row in table] == pytest.approx([mean for _, _, mean in expected])
    assert [row["period"].replace(tzinfo=UTC) for row in table] == [
        since + n * every for n in range(len(table))
    ]


@pytest.mark.parametrize("seed", range(5))
def test_concurrency_is_right_where_much_happens_in_one_instant(store: Store, seed: int) -> None:
    draw = random.Random(seed)
    runs = [
        success(n, NOON + timedelta(seconds=draw.randrange(100)), took_s=draw.choice([0, 1, 5, 30]))
        for n in range(200)
    ]
    keep(store, *runs)
    since, until = NOON + timedelta(seconds=20), NOON + timedelta(seconds=95)

    for seconds in (1, 10, 33, 500):
        every = timedelta(seconds=seconds)
        table = store.arrow("concurrency", since=since, until=until, every=every).to_pylist()

        expected = swept(runs, since, until, every)
        assert [(row["running"], row["peak"]) for row in table] == [(now, peak) for now, peak, _ in expected]
        assert [row["mean"] for row in table] == pytest.approx([mean for _, _, mean in expected])


def test_concurrency_holds_what_still_runs_and_is_zero_where_nothing_does(store: Store) -> None:
    live = a_run(1).moved(State.STARTING, NOON).moved(State.RUNNING, NOON + timedelta(minutes=90))
    keep(store, live)
    store.save(()).result(10)

    table = store.arrow(
        "concurrency", since=NOON, until=NOON + timedelta(hours=3), every=timedelta(hours=1)
    ).to_pylist()

    assert [(row["running"], row["peak"], row["mean"]) for row in table] == [
        (0, 0, 0),
        (0, 1, 0.5),
        (1, 1, 1),
    ]


# -- estimates


def test_an_estimate_is_that_of_the_last_successes_of_the_job(store: Store) -> None:
    done = [success(n, NOON - (40 - n) * DAY / 2, took_s=n) for n in range(1, 36)]
    live = [
        a_run(n, job).moved(State.STARTING, NOON).moved(State.RUNNING, NOON)
        for n, job in ((90, "team/report"), (91, "team/new"))
    ]
    keep(store, *done, *live, a_run(92), ended(a_run(93), State.FAILURE, after_s=5000))

    known, new = store.arrow("estimates", until=NOON + DAY, limit=30).to_pylist()

    last = list(range(6, 36))
    assert (known["run_id"], known["runs"], known["p50_s"]) == (90, 30, statistics.median(last))
    assert known["p95_s"] == pytest.approx(statistics.quantiles(last, n=20, method="inclusive")[-1])
    assert known["p50_at"] == (NOON + timedelta(seconds=20.5)).replace(tzinfo=None)
    assert (new["run_id"], new["runs"], new["p50_s"], new["p95_at"]) == (91, 0, None, None)


# -- summary


def test_a_summary_names_the_longest_and_the_latest(store: Store) -> None:
    keep(
        store,
        success(1, NOON, took_s=10),
        success(2, NOON, took_s=30, late_s=5),
        ended(a_run(3), State.FAILURE, after_s=99),
        success(4, NOON, took_s=20, late_s=70, late_why="limit"),
        ended(a_run(5), State.SKIPPED),
    )

    row = only(store, "summary", since=NOON, until=LATER)

    assert [row[k] for k in ("runs", "success", "failed", "skipped", "due", "late")] == [5, 3, 1, 1, 4, 1]
    assert (row["p50_s"], row["max_s"], row["longest_run_id"]) == (20, 99, 3)
    assert (row["max_late_s"], row["latest_run_id"]) == (70, 4)


@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        ("drift", {"period": timedelta(0)}, "period must be longer than nothing"),
        ("drift", {"since": NOON}, "drift has no parameter since"),
        ("drift", {"tz": "Mars/Base"}, "no time zone Mars/Base"),
        ("concurrency", {"every": timedelta(seconds=-1)}, "every must be longer"),
        ("concurrency", {"every": timedelta(seconds=1)}, "more than 100,000 pieces"),
    ],
)
def test_a_wrong_value_is_told(store: Store, name: str, given: dict[str, Any], words: str) -> None:
    with pytest.raises(StoreError, match=words):
        store.arrow(name, **given)


def test_what_was_marked_or_never_ran_costs_nothing(store: Store) -> None:
    store.save(whole_life(a_run(1), State.SKIPPED)).result(10)
    assert store.arrow("cost", since=NOON, until=LATER).num_rows == 0
