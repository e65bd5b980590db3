"""Every block of SQL runs, and tells the truth: it is held to the same count in plain Python."""

import collections
import itertools
import statistics
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest

from apsis_nb.core.machine import OBSERVED
from apsis_nb.core.runs import Origin, Run
from apsis_nb.core.states import State
from apsis_nb.demo.history import make_history
from apsis_nb.store import HISTORY, Store, StoreError
from apsis_nb.store.queries import Query, comments, parse, queries, read_sql
from apsis_nb.store.rows import FACTS
from apsis_nb.store.store import PIECE_ROWS
from tests.store.made import NOON, a_run, ended, saved, whole_life

#: A value for every parameter of a block, of the right type.
VALUES: dict[str, Any] = {
    "floor": 1, "ids": [1], "program_id": 1, "run_id": 1, "wishes": [0], "job_ids": ["a"], "args": ["{}"],
    "states": ["success"], "since": NOON.replace(tzinfo=None), "until": NOON.replace(tzinfo=None, year=2027),
    "job_id": "a", "label": '"x"', "late": True, "before_at": NOON.replace(tzinfo=None), "before_id": 3,
    "limit": 5, "jobs": ["a"], "unit": "day", "tz": "Europe/London", "by_job": True, "px": 9, "max_bars": 4,
    "ts": NOON.replace(tzinfo=None), "by": "ann", "versions": [1], "texts": ["program: x"],
    "state": "success", "message": "marked", "line": "marked", "backfill_id": 1,
    "now": NOON.replace(tzinfo=None), "ages_s": [9.5], "sizes_b": [10], "counts": [None], "age_s": None,
    "period": timedelta(days=28), "every": timedelta(days=9), "cpu_hour": 1.0, "gb_hour": 0.5,
    "size_b": 5, "count": 2, "rows": 3, "by_run": True, "pack": "2026-03-02.pack",
    "packs": ["2026-03-02.pack"],
}  # fmt: skip


@pytest.mark.parametrize("query", queries().values(), ids=lambda q: q.name)
@pytest.mark.parametrize("is_filtered", [True, False])
def test_every_block_runs(store: Store, query: Query, is_filtered: bool) -> None:
    optional = {"job_id", "states", "label", "late", "before_at", "before_id", "jobs"}
    for given in ({}, optional):
        if query.name == "find_runs":
            given = {}
        params = {name: None if name in given else VALUES[name] for name in query.params}
        store._readers.rows(query.text, params)
    assert query.why


def test_a_block_needs_a_name_of_its_own_and_a_line_of_why() -> None:
    assert [q.name for q in parse("-- a --\n-- Why.\nSELECT $x_1;\n")] == ["a"]
    assert parse("-- a --\n-- Why.\nSELECT $x_1;\n")[0].params == {"x_1"}
    for text in ("-- a --\nSELECT 1;\n", "-- a --\n-- Why.\n", 2 * "-- a --\n-- Why.\nSELECT 1;\n"):
        with pytest.raises(ValueError, match="query a"):
            parse(text)


def test_every_column_of_every_view_is_documented(store: Store) -> None:
    columns = store._readers.rows(
        "SELECT table_name, column_name, comment FROM duckdb_columns()"
        " WHERE schema_name = 'main' AND NOT internal",
        {},
    )
    views = store._readers.rows(
        "SELECT view_name, comment FROM duckdb_views() WHERE schema_name = 'main' AND NOT internal", {}
    )
    assert {view for view, _ in views} == {
        "runs", "live_runs", "run_log", "outputs", "programs", "missed", "lateness_daily",
        "jobs", "job_versions", "run_meta", "pauses", "notices", "imported", "runs_all", "run_log_all",
        "run_meta_all", "outputs_all",
    }  # fmt: skip
    assert all(comment for _, comment in views)
    same = {"live_runs", "runs_all", "run_log_all", "run_meta_all", "outputs_all"}  # as those of others
    assert all(comment for view, _, comment in columns if view not in same)
    names = {f"{view}.{column}" for view, column, _ in columns} | {view for view, _ in views}
    assert comments(read_sql("schema.sql")).keys() <= names


def test_live_runs_has_the_columns_of_runs(store: Store) -> None:
    of = (
        "SELECT column_name, data_type FROM duckdb_columns()"
        " WHERE schema_name = 'main' AND table_name = $view ORDER BY column_index"
    )
    runs = store._readers.rows(of, {"view": "runs"})
    assert store._readers.rows(of, {"view": "live_runs"}) == runs
    assert [name for name, _ in runs] == [*FACTS, "program_id"]


# -- against plain Python


def _history(store: Store) -> list[Run]:
    """Runs every 25 min over a change of the clocks in New York, of three jobs, in every finished state."""
    states = itertools.cycle([State.SUCCESS, State.SUCCESS, State.FAILURE, State.SKIPPED, State.ERROR])
    origins = itertools.cycle([Origin.SCHEDULE] * 6 + [Origin.TEST])
    first = datetime(2026, 3, 6, 0, 5, tzinfo=UTC)
    done = []
    for n, (state, origin) in enumerate(itertools.islice(zip(states, origins, strict=False), 300), 1):
        at = first + n * timedelta(minutes=25)
        run = a_run(
            n,
            f"job/{n % 3}",
            scheduled_at=at,
            nominal_at=at,
            state_at=at,
            origin=origin,
            args={"n": str(n % 4), "odd": '"x"'},
            labels=("daily", 'say "hi"') if n % 2 else (),
        )
        store.save([saved(run, is_new=True)])
        waited = run.moved(State.WAITING, at + timedelta(seconds=90 * (n % 2)))
        done.append(ended(waited, state, 30 + n) if state is not State.SUCCESS else _started_late(waited, n))
        store.save([saved(done[-1])])
    store.save(()).result(10)
    return done


def _started_late(run: Run, n: int) -> Run:
    began = run.state_at
    run = run.moved(State.STARTING, began).moved(State.RUNNING, began)
    return run.moved(State.SUCCESS, began + timedelta(seconds=n), elapsed_s=float(n))


WINDOW: dict[str, Any] = {
    "since": datetime(2026, 3, 7, tzinfo=UTC),
    "until": datetime(2026, 3, 10, tzinfo=UTC),
}


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Kolkata"])
@pytest.mark.parametrize("unit", ["hour", "day"])
@pytest.mark.parametrize("by_job", [True, False])
def test_counts_are_those_of_the_local_days(store: Store, zone: str, unit: str, by_job: bool) -> None:
    runs = _history(store)

    def start(at: datetime) -> datetime:
        local = at.astimezone(ZoneInfo(zone)).replace(minute=0, second=0)
        return (local.replace(hour=0) if unit == "day" else local).astimezone(UTC)

    counted = collections.Counter(
        (start(r.scheduled_at), r.job_id if by_job else None, r.state.value)
        for r in runs
        if WINDOW["since"] <= r.scheduled_at < WINDOW["until"] and r.origin is not Origin.TEST
    )
    table = store.arrow("counts", **WINDOW, unit=unit, tz=zone, by_job=by_job).to_pylist()
    assert {(r["period"].replace(tzinfo=UTC), r["job_id"], r["state"]): r["runs"] for r in table} == counted
    cells = store.arrow("calendar", **WINDOW, unit=unit, tz=zone).to_pylist()
    assert sum(cell["runs"] for cell in cells) == counted.total()
    assert len(cells) == len({period for period, _, _ in counted})


def test_lateness_and_durations_are_those_of_the_runs(store: Store) -> None:
    runs = [r for r in _history(store) if r.origin is not Origin.TEST and r.job_id == "job/1"]
    (late,) = store.arrow(
        "lateness", since=runs[0].scheduled_at, until=NOON.replace(year=2027), job_id="job/1", unit="year"
    ).to_pylist()
    assert late["runs"] == sum(r.state is not State.SKIPPED for r in runs)
    assert late["late"] == sum(r.is_late(NOON) for r in runs) > 0
    late_s = [r.late_s(NOON) or 0.0 for r in runs if r.state is not State.SKIPPED]
    assert late["max_s"] == max(late_s)
    assert (late["p50_s"], late["p95_s"]) == pytest.approx(p50_and_p95(late_s))
    (took,) = store.arrow(
        "durations", since=runs[0].scheduled_at, until=NOON.replace(year=2027), job_id=["job/1"], unit="year"
    ).to_pylist()
    elapsed = [r.elapsed_s or 0.0 for r in runs if r.state is State.SUCCESS]
    assert (took["runs"], took["max_s"]) == (len(elapsed), max(elapsed))
    assert took["mean_s"] == pytest.approx(sum(elapsed) / len(elapsed))
    assert (took["p50_s"], took["p95_s"]) == pytest.approx(p50_and_p95(elapsed))
    (summary,) = store.arrow(
        "summary", since=runs[0].scheduled_at, until=NOON.replace(year=2027), job_id="job/1"
    ).to_pylist()
    assert (summary["p50_s"], summary["p95_s"]) == (took["p50_s"], took["p95_s"])


def p50_and_p95(values: Sequence[float]) -> tuple[float, float]:
    twentieths = statistics.quantiles(values, n=20, method="inclusive")
    return twentieths[9], twentieths[18]


def test_a_page_follows_the_other_until_all_are_told_once(store: Store) -> None:
    runs = _history(store)
    store.save([saved(a_run(999, scheduled_at=NOON + timedelta(days=99)), is_new=True)]).result(10)
    told: list[dict[str, Any]] = []
    while page := store.runs(
        limit=71, before=(told[-1]["scheduled_at"], told[-1]["run_id"]) if told else None
    ):
        told += page
    assert [facts["run_id"] for facts in told] == [999, *(r.run_id for r in reversed(runs))]


@pytest.mark.parametrize(
    "wanted",
    [
        {"job_id": "job/2"},
        {"state": ["failure", "error"]},
        {"state": "skipped"},
        {"label": 'say "hi"'},
        {"label": "say"},
        {"args": {"n": "3"}},
        {"args": {"n": "3", "odd": '"x"'}},
        {"args": {"n": '3","odd":"x'}},
        {"late": True},
        {"late": False, "job_id": "job/0"},
        WINDOW,
    ],
    ids=str,
)
def test_what_is_wanted_is_what_is_told(store: Store, wanted: dict[str, Any]) -> None:
    def is_wanted(run: Run) -> bool:
        states = [wanted["state"]] if isinstance(wanted.get("state"), str) else wanted.get("state")
        return (
            run.job_id == wanted.get("job_id", run.job_id)
            and (states is None or run.state.value in states)
            and ("label" not in wanted or wanted["label"] in run.labels)
            and wanted.get("args", {}).items() <= run.args.items()
            and run.is_late(NOON) == wanted.get("late", run.is_late(NOON))
            and wanted.get("since", run.scheduled_at) <= run.scheduled_at
            and (run.scheduled_at < wanted["until"] if "until" in wanted else True)
        )

    expected = [run.run_id for run in reversed(_history(store)) if is_wanted(run)]
    assert [facts["run_id"] for facts in store.runs(**wanted, limit=1000)] == expected
    everything = {"since": NOON.replace(year=2025), "until": NOON.replace(year=2027)} | wanted
    assert store.arrow("runs", **everything).column("run_id").to_pylist() == expected


def test_a_long_answer_comes_in_pieces_that_are_the_whole(store: Store) -> None:
    make_history(store, 2 * PIECE_ROWS, until=NOON, days=30)
    wanted: dict[str, Any] = {"since": NOON - timedelta(days=30), "until": NOON + timedelta(hours=1)}
    whole = store.arrow("runs", **wanted)

    pieces = list(store.stream("runs", **wanted))

    assert len(pieces) > 2
    assert pa.Table.from_batches(pieces).equals(whole.combine_chunks())
    most = PIECE_ROWS + 10
    assert store.stream("runs", **wanted, limit=most).read_all().equals(whole.slice(0, most))
    some: dict[str, Any] = wanted | {"job_id": "etl/load", "state": "success", "args": {"region": "emea"}}
    assert store.stream("runs", **some).read_all().equals(store.arrow("runs", **some))


def test_an_answer_of_no_runs_has_its_columns(store: Store) -> None:
    assert store.stream("runs").read_all().schema == store.arrow("runs").schema
    assert store.stream("counts").read_all().equals(store.arrow("counts"))


def test_the_timeline_shows_each_run_of_the_window_once(store: Store) -> None:
    runs = _history(store)
    since, until = WINDOW["since"] + timedelta(seconds=1), WINDOW["until"]
    seen = {r.run_id for r in runs if r.scheduled_at < until and r.finished_at and r.finished_at >= since}
    fine = store.arrow("timeline", since=since, until=until)
    assert set(fine.column("run_id").to_pylist()) == seen
    assert set(fine.column("runs").to_pylist()) == {1}
    merged = store.arrow("timeline", since=since, until=until, px=40, max_bars=10).to_pylist()
    assert sum(bar["runs"] for bar in merged) == len(seen)
    assert len(merged) <= 50
    assert {bar["state"] for bar in merged} <= {"failure", "error"}  # the worst of each piece


def test_a_merged_bar_stands_for_the_runs_that_begin_in_its_piece(store: Store) -> None:
    runs = _history(store)
    since, until, px, max_bars = WINDOW["since"], WINDOW["until"], 64, 20
    badness = [
        "success",
        "skipped",
        "scheduled",
        "waiting",
        "starting",
        "running",
        "stopping",
        "failure",
        "error",
    ]
    seen = [r for r in runs if r.scheduled_at < until and r.finished_at and r.finished_at >= since]
    jobs = {r.job_id for r in seen}
    piece = round((until - since) / timedelta(microseconds=1) / min(px / 4, 5 * max_bars / len(jobs)))
    pieces: dict[tuple[str, int], list[Run]] = {}
    for run in seen:
        began = (run.started_at or run.scheduled_at) - since
        pieces.setdefault((run.job_id, int(began / timedelta(microseconds=1) / piece)), []).append(run)

    bars = store.arrow("timeline", since=since, until=until, px=px, max_bars=max_bars).to_pylist()

    assert len(bars) == len(pieces) < len(seen)
    told = {(bar["job_id"], bar["run_id"]): bar for bar in bars}
    for (job_id, _), members in pieces.items():
        bar = told[job_id, min(run.run_id for run in members)]
        assert bar["runs"] == len(members)
        assert bar["state"] == max((r.state.value for r in members), key=badness.index)
        assert bar["scheduled_at"].replace(tzinfo=UTC) == min(r.scheduled_at for r in members)
        assert bar["finished_at"].replace(tzinfo=UTC) == max(r.finished_at for r in members if r.finished_at)
        assert bar["late"] == any(r.is_late(NOON) for r in members)
        started = [r.started_at for r in members if r.started_at]
        assert (bar["started_at"] and bar["started_at"].replace(tzinfo=UTC)) == min(started, default=None)


def test_the_timeline_holds_what_still_runs(store: Store) -> None:
    live = a_run(1, scheduled_at=NOON - timedelta(days=30)).moved(State.STARTING, NOON)
    store.save([saved(live, is_new=True)]).result(10)
    (bar,) = store.arrow("timeline", since=NOON, until=NOON + timedelta(hours=1)).to_pylist()
    assert (bar["run_id"], bar["finished_at"], bar["state"]) == (1, None, "starting")


def test_the_last_runs_of_each_job_come_newest_first(store: Store) -> None:
    runs = [r for r in _history(store) if r.origin is not Origin.TEST]
    table = store.arrow("last_runs", since=NOON.replace(year=2025), until=NOON.replace(year=2027), limit=5)
    for job in ("job/0", "job/1", "job/2"):
        newest = [r.run_id for r in reversed(runs) if r.job_id == job][:5]
        assert [row["run_id"] for row in table.to_pylist() if row["job_id"] == job] == newest


def test_missed_occurrences_are_those_that_a_schedule_made_and_nobody_ran(store: Store) -> None:
    store.save(whole_life(a_run(1), State.SKIPPED, skip_reason="misfire"))
    store.save(whole_life(a_run(2, nominal_at=None), State.SKIPPED))
    store.save(whole_life(a_run(4), State.SKIPPED, skip_reason=OBSERVED))  # somebody else ran it
    store.save(whole_life(a_run(3))).result(10)
    (row,) = store.arrow("missed", since=NOON, until=NOON + timedelta(hours=1)).to_pylist()
    assert (row["run_id"], row["skip_reason"]) == (1, "misfire")


def test_a_wrong_question_is_answered_in_words(store: Store) -> None:
    with pytest.raises(StoreError, match="no query lengths; there are runs, log, timeline"):
        store.arrow("lengths")
    with pytest.raises(StoreError, match="counts has no parameter hours; it has since"):
        store.arrow("counts", hours=3)
    with pytest.raises(StoreError, match="unit is one of hour, day"):
        store.arrow("counts", unit="fortnight")
    with pytest.raises(StoreError, match="no time zone Mars/Base"):
        store.arrow("counts", tz="Mars/Base")


def test_the_default_window_is_the_last_90_days(store: Store) -> None:
    for n, days in enumerate((1, 89, 91)):
        at = NOON - timedelta(days=days)
        store.save(whole_life(a_run(n + 1, scheduled_at=at, state_at=at)))
    store.save(()).result(10)
    assert sorted(store.arrow("runs").column("run_id").to_pylist()) == [1, 2]
    assert all(defaults.get("since") is None for defaults in HISTORY.values())
