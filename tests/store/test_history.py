"""The made-up past is whole: as the store would have written it."""

from datetime import timedelta
from pathlib import Path

import pytest

from apsis_nb.demo.history import JOBS, make_history, past_jobs
from apsis_nb.store import Store
from tests.store.made import NOON, Clock, a_run, saved


@pytest.fixture
def past(store: Store) -> Store:
    store.save([saved(a_run(store.reserve_ids(1)[0]), is_new=True)]).result(10)
    make_history(store, 4000, until=NOON, days=30, seed=7)
    return store


def one(store: Store, query: str) -> object:
    return store.sql(query).column(0).to_pylist()[0]


def test_there_are_as_many_finished_runs_as_wanted_and_all_in_the_past(past: Store) -> None:
    assert one(past, "SELECT count(*) FROM runs WHERE finished_at IS NOT NULL") == 4000
    assert one(past, "SELECT count(DISTINCT run_id) FROM runs") == 4001
    assert one(past, "SELECT max(finished_at) FROM runs") <= NOON.replace(tzinfo=None)  # type: ignore[operator]
    first = one(past, "SELECT min(scheduled_at) FROM runs")
    assert first >= (NOON - timedelta(days=30)).replace(tzinfo=None)  # type: ignore[operator]
    assert one(past, "SELECT count(DISTINCT job_id) FROM runs") == len(JOBS) + 1
    assert past.reserve_ids(1)[0] == 4002
    assert [run.run_id for run in past.restore()[0]] == [1]


def test_each_run_has_a_log_that_leads_to_its_end(past: Store) -> None:
    wrong = """
        WITH told AS (
            SELECT run_id, list(state::VARCHAR) AS states, list(ts) AS times FROM run_log GROUP BY run_id
        )
        SELECT count(*) FROM runs JOIN told USING (run_id)
        WHERE finished_at IS NOT NULL AND (times <> list_sort(times) OR times[-1] <> finished_at
            OR states <> CASE WHEN started_at IS NULL THEN ['scheduled', state::VARCHAR]
                ELSE ['scheduled', 'starting', 'running', state::VARCHAR] END)
    """
    assert one(past, wrong) == 0
    facts = past.run(3)
    again = past.original(3)
    assert facts is not None
    assert again is not None
    assert (again.job_id, again.args, again.scheduled_at) == (
        facts["job_id"],
        facts["args"],
        facts["scheduled_at"],
    )


def test_the_past_is_believable(past: Store) -> None:
    shares = dict(
        past.sql("SELECT state::VARCHAR, count(*) / 4000 FROM runs WHERE run_id > 1 GROUP BY ALL")
        .to_pandas()
        .itertuples(index=False, name=None)
    )
    assert shares["success"] > 0.9
    assert 0.01 < shares["failure"] + shares["error"] < 0.08
    assert 0 < shares["skipped"] < 0.02
    assert 0 < one(past, "SELECT count(*) FROM runs WHERE late AND run_id > 1") < 200  # type: ignore[operator]
    assert (
        one(past, "SELECT count(*) FROM runs WHERE late <> coalesce(late_s > 60, false) AND run_id > 1") == 0
    )
    office = (
        "SELECT count(*) FROM runs WHERE job_id LIKE 'sales/%' AND hour(scheduled_at) NOT BETWEEN 8 AND 17"
    )
    assert one(past, office) == 0


def test_the_same_seed_gives_the_same_past(tmp_path: Path) -> None:
    def told(name: str, seed: int) -> list[dict[str, object]]:
        make_history(tmp_path / name, 300, until=NOON, seed=seed)
        with Store.open(tmp_path / name, now=Clock()) as store:
            return store.arrow("runs", until=NOON).to_pylist()

    first = told("a.duckdb", 1)
    assert told("b.duckdb", 1) == first
    assert told("c.duckdb", 2) != first
    assert len(first) == 300


@pytest.mark.parametrize("count", [1, 7, 100])
def test_a_short_past_is_as_long_as_wanted(store: Store, count: int) -> None:
    steps: list[tuple[int, int]] = []
    make_history(store, count, until=NOON, days=2, progress=lambda done, of: steps.append((done, of)))
    assert one(store, "SELECT count(*) FROM runs") == count
    assert steps == [(count, count)]


def test_a_long_past_has_more_jobs() -> None:
    assert past_jobs(1000) == list(JOBS)
    many = past_jobs(1_000_000)
    assert len(many) == 200
    assert len({job.job_id for job in many}) == 200
