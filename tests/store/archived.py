"""A history of some months for the tests of the archive, and what must stay the same when it moves."""

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from apsis_nb.core.runs import Origin
from apsis_nb.core.states import State
from apsis_nb.store import HISTORY, MetaRow, Questions, Store
from apsis_nb.store.archive import RUN_TABLES
from tests.store.made import NOON, a_run, ended, saved
from tests.store.test_outputs import keep

#: The runs of the history: every nine hours over four months, the last of which is that of the clock.
FIRST = datetime(2025, 12, 1, 3, tzinfo=UTC)
EVERY = timedelta(hours=9)
RUNS = int((NOON - FIRST) / EVERY)
#: Older than this are December and January.
OLD = timedelta(days=20)
#: Of these all is looked at: without and with outputs, with outputs that were dropped, of each month.
SOME = (1, 2, 5, 10, 28, 70, 109, 127, 200, 235, RUNS)
JOBS = ("a", "team/b", "team/c")


def make_history(store: Store, folder: Path) -> None:
    """Finished runs of three jobs, some with outputs, figures, messages, and names from elsewhere."""
    states = itertools.cycle([State.SUCCESS, State.SUCCESS, State.FAILURE, State.SKIPPED, State.ERROR])
    origins = itertools.cycle([Origin.SCHEDULE] * 5 + [Origin.TEST, Origin.BACKFILL])
    first, _ = store.reserve_ids(RUNS)
    for n, state, origin in zip(range(RUNS), states, origins, strict=False):
        at, run_id = FIRST + n * EVERY, first + n
        run = a_run(
            run_id,
            JOBS[n % 3],
            scheduled_at=at,
            nominal_at=at - timedelta(seconds=n % 90),
            state_at=at,
            origin=origin,
            args={"n": str(n % 4), "odd": '"å"'},
            labels=("daily",) if n % 2 else (),
            backfill_id=7 + n % 3 if origin is Origin.BACKFILL else None,
            rerun_of=run_id - 1 if n % 11 == 10 else None,
        )
        waited = run.moved(State.WAITING, at + timedelta(seconds=100 * (n % 2)))
        end = ended(waited, state, 30 + n) if state is not State.SUCCESS else _begun(waited, n)
        outputs = {}
        if n % 9 == 0:
            outputs[run_id] = keep(store, run_id, {"output": b"words of %d" % n}, folder).result(10)
        meta = {run_id: MetaRow(cpu_s=n / 4, max_rss_b=n << 20, meta={"n": n})}
        store.save(
            [saved(run, "made", is_new=True), saved(waited, "waits"), saved(end, "ends")],
            outputs,
            meta if n % 2 == 0 else None,
        )
    store.save(()).result(10)
    with store.bulk([]) as (cursor, _):
        cursor.execute(
            "INSERT INTO base.notices SELECT run_id, 1, finished_at, 'failure', '{}',"
            " unnest(['pending', 'sent']), unnest([0, 1]), 'told' FROM base.runs WHERE state = 'failure'"
        )
        cursor.execute(
            "INSERT INTO base.imported SELECT run_id, 'old.duckdb', run_id + 1000, finished_at"
            " FROM base.runs WHERE run_id % 5 = 0"
        )
        cursor.execute(
            "INSERT INTO base.dropped SELECT run_id, finished_at, 'it was old' FROM base.outputs"
            " JOIN base.runs USING (run_id) WHERE run_id % 7 = 0"
        )


def _begun(run: Any, n: int) -> Any:
    at = run.state_at
    run = run.moved(State.STARTING, at).moved(State.RUNNING, at)
    return run.moved(State.SUCCESS, at + timedelta(seconds=n), elapsed_s=float(n), return_code=0)


def rows(store: Store) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of the database that belong to runs."""
    return {
        table: store._readers.rows(f"SELECT * FROM base.{table} ORDER BY ALL", {}) for table in RUN_TABLES
    }


#: Windows that begin and end in what is archived, and in what is not.
WINDOWS = [
    {"since": FIRST, "until": NOON},
    {"since": datetime(2025, 12, 20, tzinfo=UTC), "until": datetime(2026, 1, 12, 5, 7, tzinfo=UTC)},
    {"since": datetime(2026, 1, 31, tzinfo=UTC), "until": datetime(2026, 2, 2, tzinfo=UTC)},
    {},
]
_MORE: dict[str, list[dict[str, Any]]] = {
    "runs": [
        {"state": ["failure", "error"], "args": {"n": "3"}},
        {"limit": 7},
        {"late": True, "label": "daily"},
    ],
    "counts": [{"by_job": True, "tz": "America/New_York"}, {"unit": "month"}],
    "timeline": [{"px": 40, "max_bars": 10}, {"job_id": "a"}],
    "last_runs": [{"limit": 5}],
    "concurrency": [{"every": timedelta(hours=2)}],
    "drift": [{"period": timedelta(days=40)}, {"period": timedelta(days=10)}],
}


def answers(store: Questions, *, all_windows: bool = False) -> Iterator[tuple[object, object]]:
    """What one may ask, and the answers; of a window with all runs, or of several, and in several ways."""
    for name, window in itertools.product(HISTORY, WINDOWS if all_windows else WINDOWS[:1]):
        for more in ({}, *_MORE.get(name, [])) if all_windows else ({},):
            given = {k: v for k, v in (window | more).items() if k in HISTORY[name]}
            table = store.arrow(name, **given)
            told = table.to_pylist()
            if name == "last_runs":  # which come job by job, in any order of the jobs
                told.sort(key=lambda row: row["job_id"])
            yield (name, given), (table.schema, told)
    everything = store.runs(limit=10_000)
    yield "all runs", everything
    for run_id in SOME:
        yield run_id, (store.run(run_id), store.log(run_id), store.outputs(run_id), store.dropped(run_id))
        if store.outputs(run_id):
            yield ("output", run_id), store.read_output(run_id)
    for view in ("runs", "run_log", "run_meta", "outputs"):
        yield view, store.sql(f"SELECT * FROM {view}_all ORDER BY ALL").to_pylist()
