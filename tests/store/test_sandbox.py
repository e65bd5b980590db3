"""What a client may ask in SQL, what not, and that nothing ever changes by it."""

import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apsis_nb.core.states import State
from apsis_nb.store import QueryError, Store
from tests.store.made import Clock, a_run, saved, whole_life

FAR = "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.range % 7 = b.range % 5"


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store with three runs, one of them live."""
    folder: Path = tmp_path_factory.mktemp("sql")
    (folder / "some.csv").write_text("a,b\n1,2\n")
    with Store.open(folder / "runs.duckdb", threads=1, now=Clock()) as store:
        store.save(
            [*whole_life(a_run(1)), *whole_life(a_run(2), State.FAILURE), saved(a_run(3), is_new=True)]
        )
        store.save(()).result(10)
        yield store


def everything(store: Store) -> list[list[tuple[object, ...]]]:
    """All that is in the store, and its settings."""
    tables = ("run_log", "runs", "outputs", "programs", "clock", "ids", "meta", "floor")
    what = [f"SELECT * FROM base.{table}" for table in tables]
    what.append("SELECT name, value FROM duckdb_settings() ORDER BY name")
    what.append("SELECT schema_name, view_name FROM duckdb_views() ORDER BY ALL")
    return [store._readers.rows(query, {}) for query in what]


@pytest.mark.parametrize(
    ("query", "answer"),
    [
        ("SELECT count(*) AS n FROM runs", [{"n": 3}]),
        ("FROM main.runs SELECT run_id WHERE state = 'failure'", [{"run_id": 2}]),
        ("SELECT run_id FROM live_runs;", [{"run_id": 3}]),
        ("SELECT args->>'date' AS d FROM Runs LIMIT 1", [{"d": "2026-03-02"}]),
        ("SELECT count(*) AS n FROM run_log JOIN runs USING (run_id)", [{"n": 5}]),
        ("VALUES (1)", [{"col0": 1}]),
        ("SELECT sum(generate_series) AS s FROM generate_series(1, 4)", [{"s": 10}]),
        ("SELECT sum(x) AS s FROM unnest([1, 2]) AS t(x)", [{"s": 3}]),
        ("SELECT len(list_transform([1, 2], lambda x: x + 1)) AS n", [{"n": 2}]),
        ("WITH a AS (FROM runs), b AS (FROM a) SELECT count(*) AS n FROM b", [{"n": 3}]),
        ("WITH runs AS (SELECT 1 AS x) SELECT x FROM runs", [{"x": 1}]),
        (
            "WITH RECURSIVE t(n) AS (SELECT 1 UNION SELECT n + 1 FROM t WHERE n < 4) FROM t SELECT max(n) m",
            [{"m": 4}],
        ),
        ("SELECT 1 AS a UNION ALL SELECT 2 ORDER BY a", [{"a": 1}, {"a": 2}]),
        ("SELECT max(n) AS m FROM (SELECT row_number() OVER (ORDER BY run_id) AS n FROM runs)", [{"m": 3}]),
        ("SELECT quantile_cont(elapsed_s, 0.5) AS q FROM runs", [{"q": 10.0}]),
        ("SELECT (utc_now() > TIMESTAMP '2020-01-01') AS y", [{"y": True}]),
        ("SELECT count(*) AS n FROM runs WHERE run_id IN (SELECT run_id FROM run_log)", [{"n": 3}]),
    ],
)
def test_a_select_over_the_views_is_answered(
    asked: Store, query: str, answer: list[dict[str, object]]
) -> None:
    assert asked.sql(query).to_pylist() == answer


REFUSED = [
    ("DROP VIEW runs", "only a SELECT may be asked, not DROP"),
    ("DELETE FROM base.runs", "only a SELECT may be asked, not DELETE"),
    ("INSERT INTO base.ids VALUES (9)", "only a SELECT may be asked, not INSERT"),
    ("UPDATE base.ids SET next_id = 1", "only a SELECT may be asked, not UPDATE"),
    ("CREATE TABLE t (x INT)", "only a SELECT may be asked, not CREATE"),
    ("ATTACH 'x.duckdb'", "only a SELECT may be asked, not ATTACH"),
    ("SET threads = 4", "only a SELECT may be asked, not SET"),
    ("RESET threads", "only a SELECT may be asked"),
    ("PRAGMA database_list", "only a SELECT may be asked"),
    ("CALL pragma_version()", "only a SELECT may be asked"),
    ("CHECKPOINT", "only a SELECT may be asked"),
    ("EXPLAIN ANALYZE SELECT 1", "only a SELECT may be asked, not EXPLAIN"),
    ("INSTALL httpfs", "only a SELECT may be asked"),
    ("LOAD httpfs", "only a SELECT may be asked, not LOAD"),
    ("BEGIN", "only a SELECT may be asked, not TRANSACTION"),
    ("PREPARE p AS SELECT 1", "only a SELECT may be asked, not PREPARE"),
    ("USE base", "only a SELECT may be asked"),
    ("COPY runs TO 'x.csv'", "only a SELECT may be asked, not COPY"),
    ("EXPORT DATABASE 'x'", "only a SELECT may be asked, not EXPORT"),
    ("DESCRIBE runs", "SHOW is not allowed"),
    ("SHOW TABLES", "SHOW is not allowed"),
    ("SUMMARIZE runs", "SHOW is not allowed"),
    ("PIVOT runs ON state", "only"),
    ("SELECT 1; SELECT 2", "one statement"),
    ("SELECT 1; DROP VIEW runs", "one statement"),
    ("", "one statement"),
    ("-- nothing", "one statement"),
    ("WITH t AS (DELETE FROM base.runs RETURNING *) SELECT * FROM t", "not DELETE"),
    ("WITH t AS (INSERT INTO base.ids VALUES (9) RETURNING *) SELECT * FROM t", "not INSERT"),
    ("WITH t AS (UPDATE base.ids SET next_id = 1 RETURNING *) SELECT * FROM t", "not UPDATE"),
    ("WITH t AS (COPY runs TO 'x.csv') SELECT 1", "not COPY"),
    ("SELECT * FROM (WITH t AS (DELETE FROM base.runs RETURNING *) SELECT * FROM t)", "not DELETE"),
    ("SELECT (WITH t AS (COPY runs TO 'x.csv') SELECT 1)", "not COPY"),
    ("FROM checkpoint()", "function checkpoint is not allowed"),
    ("FROM force_checkpoint()", "function force_checkpoint is not allowed"),
    ("FROM duckdb_settings()", "function duckdb_settings is not allowed"),
    ("FROM duckdb_secrets()", "function duckdb_secrets is not allowed"),
    ("FROM read_csv('some.csv')", "function read_csv is not allowed"),
    ("FROM READ_TEXT('/etc/passwd')", "function read_text is not allowed"),
    ("FROM read_parquet('x.parquet')", "function read_parquet is not allowed"),
    ("FROM glob('/*')", "function glob is not allowed"),
    ("FROM query('DROP VIEW runs')", "function query is not allowed"),
    ("FROM query_table('runs')", "function query_table is not allowed"),
    ("FROM histogram('base.runs', 'late')", "function histogram is not allowed"),
    ("FROM seq_scan('runs')", "function seq_scan is not allowed"),
    ("SELECT * FROM runs, LATERAL (FROM read_text('x'))", "function read_text is not allowed"),
    ("SELECT EXISTS (FROM read_text('x'))", "function read_text is not allowed"),
    ("SELECT 1 ORDER BY (SELECT 1 FROM glob('*'))", "function glob is not allowed"),
    ("SELECT 1 LIMIT (SELECT count(*) FROM glob('*'))", "function glob is not allowed"),
    ("FROM unnest((SELECT list(file) FROM glob('*')))", "function glob is not allowed"),
    ("FROM 'some.csv'", "no view some.csv"),
    ("FROM base.runs", "no view base.runs"),
    ("SELECT (SELECT count(*) FROM base.run_log)", "no view base.run_log"),
    ("FROM runs.base.runs", "no view runs.base.runs"),
    ("FROM information_schema.tables", "no view information_schema.tables"),
    ("FROM duckdb_tables", "no view duckdb_tables"),
    ("FROM sqlite_master", "no view sqlite_master"),
    ("WITH duckdb_tables AS (FROM duckdb_tables) FROM duckdb_tables", "no view duckdb_tables"),
    ("WITH a AS (FROM duckdb_views), duckdb_views AS (SELECT 1) FROM a", "no view duckdb_views"),
    (
        "SELECT * FROM (WITH duckdb_views AS (SELECT 1) FROM duckdb_views), duckdb_views",
        "no view duckdb_views",
    ),
    ("SELECT getenv('HOME')", "function getenv is not allowed"),
    ("SELECT current_setting('threads')", "function current_setting is not allowed"),
    ("SELECT TRY(current_setting('threads'))", "function current_setting is not allowed"),
    ("SELECT 'threads'.current_setting()", "function current_setting is not allowed"),
    ("SELECT getvariable('live_ids')", "function getvariable is not allowed"),
    ("SELECT nextval('s')", "function nextval is not allowed"),
    ("SELECT sleep_ms(10)", "function sleep_ms is not allowed"),
    ("SELECT pg_sleep(1)", "function pg_sleep is not allowed"),
    ("SELECT write_log('x')", "function write_log is not allowed"),
    ("SELECT list_transform([1], lambda x: sleep_ms(x))", "function sleep_ms is not allowed"),
    ("SELECT count(*) FILTER (sleep_ms(1) IS NULL) FROM runs", "function sleep_ms is not allowed"),
    ("SELEC 1", "syntax error"),
    ("SELECT nothing FROM runs", '"nothing" not found'),
    (
        "SELECT * FROM nothing",
        "no view nothing; there are imported, job_versions, jobs, lateness_daily, live_runs, missed",
    ),
]


@pytest.mark.parametrize(("query", "why"), REFUSED, ids=[query for query, _ in REFUSED])
def test_everything_else_is_refused_and_changes_nothing(asked: Store, query: str, why: str) -> None:
    before = everything(asked)
    files = sorted(asked.path.parent.rglob("*"))
    with pytest.raises(QueryError) as refused:
        asked.sql(query)
    assert why.lower() in str(refused.value).lower()
    assert everything(asked) == before
    assert sorted(asked.path.parent.rglob("*")) == files


def test_files_cannot_be_reached_even_by_a_query_that_passed(asked: Store) -> None:
    with asked._boxed.cursor() as cursor, pytest.raises(Exception, match="disabled by configuration"):
        cursor.execute(f"FROM read_text('{asked.path.parent / 'some.csv'}')")


@given(st.text(max_size=30) | st.sampled_from([query for query, _ in REFUSED]).map(lambda q: f"({q})"))
def test_any_text_is_answered_or_refused_in_words(asked: Store, query: str) -> None:
    with suppress(QueryError):
        assert asked.sql(query, timeout_s=5, max_rows=5).num_rows <= 5


def test_values_come_as_parameters(asked: Store) -> None:
    text = "'; DROP VIEW runs; --"
    assert asked.sql("SELECT $t AS t", {"t": text}).to_pylist() == [{"t": text}]
    assert asked.sql("SELECT run_id FROM runs WHERE run_id = ?", [2]).to_pylist() == [{"run_id": 2}]
    with pytest.raises(QueryError, match=r"(?i)param"):
        asked.sql("SELECT $t")


def test_no_more_than_the_wanted_rows_are_read(asked: Store) -> None:
    assert asked.sql("FROM range(10000000000)", max_rows=3).num_rows == 3
    assert asked.sql("FROM range(3)", max_rows=5).num_rows == 3
    assert asked.sql("SELECT run_id FROM runs WHERE run_id < 0").column_names == ["run_id"]


def test_a_query_is_stopped_when_its_time_is_over(asked: Store) -> None:
    began = time.monotonic()
    with pytest.raises(QueryError, match=r"ran longer than 0\.2 s and was stopped"):
        asked.sql(FAR, timeout_s=0.2)
    assert time.monotonic() - began < 5
    assert asked.sql("SELECT 1 AS a").to_pylist() == [{"a": 1}]


def test_a_query_is_stopped_when_nobody_wants_it_any_more(asked: Store) -> None:
    stops: list[object] = []

    def started(stop: "threading.Event | object") -> None:
        timer = threading.Timer(0.1, stop)  # type: ignore[arg-type]
        stops.append(stop)
        timer.start()

    with pytest.raises(QueryError, match="the query was stopped"):
        asked.sql(FAR, started=started)
    (stop,) = stops
    stop()  # type: ignore[operator]
    assert asked.sql("SELECT 1 AS a").to_pylist() == [{"a": 1}]  # and no later one is


def test_a_query_that_needs_too_much_memory_says_so_and_the_writer_goes_on(store: Store) -> None:
    with pytest.raises(QueryError, match="more memory than it may use"):
        store.sql("SELECT list(range) FROM range(400000000)")
    store.save(whole_life(a_run(1))).result(10)


def test_a_query_that_will_be_slow_on_a_long_history_gets_a_hint(asked: Store) -> None:
    slow = asked.sql("SELECT count(*) FROM runs WHERE scheduled_at > now() - INTERVAL 1 DAY")
    quick = asked.sql("SELECT count(*) FROM runs WHERE scheduled_at > utc_now() - INTERVAL 1 DAY")
    assert "utc_now()" in slow.schema.metadata[b"hint"].decode()
    assert quick.schema.metadata is None
    assert slow.equals(quick)


def test_nested_too_deeply_is_no_crash(asked: Store) -> None:
    with pytest.raises(QueryError):
        asked.sql("SELECT " + "(" * 900 + "1" + ")" * 900 + " + " + "-".join(["1"] * 5000))
