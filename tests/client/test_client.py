"""What the client tells of jobs, history and the server, and how it says that something is wrong."""

import inspect
import threading
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx2
import pandas as pd
import polars
import pytest

from apsis_nb import __version__, frames
from apsis_nb._version import too_far_apart
from apsis_nb.client import (
    BadRequest,
    Client,
    NoSuch,
    NotAuthorized,
    RequestRefused,
    ServerDown,
    ServerEvent,
    WrongVersion,
)
from apsis_nb.config import write_runtime
from apsis_nb.simulation import simulate
from tests.client.serving import JOBS, Served, served

WITHIN_S = 20.0


def test_jobs_are_a_mapping(client: Client):
    assert list(client.jobs) == sorted(JOBS)
    assert len(client.jobs) == len(JOBS)
    assert "fails" in client.jobs
    assert client.jobs.get("nonsense") is None
    assert client.jobs._ipython_key_completions_() == sorted(JOBS)
    schedule = client.jobs["daily/report"].schedule
    assert str(inspect.signature(schedule)) == "(*, date, kind='full', **args)"
    assert "kind: str; default full; one of short, full" in schedule.__doc__


def test_a_job_that_is_not_there_is_a_key_error_with_a_hint(client: Client):
    with pytest.raises(KeyError, match="did you mean fails"):
        client.jobs["fail5"]
    assert issubclass(NoSuch, KeyError)


def test_a_job_tells_its_times(client: Client):
    times = client.jobs["daily/report"].next(3)
    assert list(times.columns) == ["job_id", "args", "nominal_at", "scheduled_at"]
    assert len(times) == 3
    assert set(times["scheduled_at"].dt.tz_convert("Europe/London").dt.hour) == {9}
    assert [a["date"] for a in times["args"]] == [f"{t:%Y-%m-%d}" for t in times["scheduled_at"]]


def test_jobs_are_shown_with_their_words_escaped(client: Client):
    assert "Sums &lt;b&gt;up&lt;/b&gt;" in client.jobs._repr_html_()
    shown = client.jobs["daily/report"]._repr_html_()
    assert "one of short, full" in shown
    assert "every day at 09:00:00 Europe/London" in shown
    assert "<b>up" not in shown


def test_expected_runs_are_those_of_the_window(client: Client):
    expected = client.expected("2030-06-01T00:00:00Z", "2030-06-03T00:00:00Z")
    assert [str(t) for t in expected["scheduled_at"]] == [
        "2030-06-01 08:00:00+00:00",
        "2030-06-02 08:00:00+00:00",
    ]
    counts = client.expected_counts("2030-06-01T00:00:00Z", "2030-06-03T00:00:00Z", every="2d")
    assert counts[["runs", "first_at"]].values.tolist() == [[2, expected["scheduled_at"].iloc[0]]]


def test_runs_have_the_columns_that_the_frame_promises(client: Client):
    client.schedule("greet/hello", name="framed", label="framed").wait(WITHIN_S)
    runs = client.runs(label=None)
    assert list(runs.columns) == [c.name for c in frames.RUNS]
    assert [str(t) for t in runs.dtypes] == [c.dtype for c in frames.RUNS]


def test_no_runs_have_the_same_dtypes(client: Client):
    some, none = client.runs(), client.runs(job="daily/report")
    assert none.empty
    assert list(none.dtypes) == list(some.dtypes)


def test_runs_are_filtered(client: Client):
    good = client.schedule("greet/hello", name="wanted", at="now").wait(WITHIN_S)
    bad = client.schedule("fails").wait(WITHIN_S)
    later = client.schedule("greet/hello", name="wanted", at="+2h")
    ids = set(client.runs()["run_id"])
    assert {good.run_id, bad.run_id, later.run_id} <= ids
    assert set(client.runs(state="failure")["state"]) == {"failure"}
    assert set(client.runs(args={"name": "wanted"})["run_id"]) == {good.run_id, later.run_id}
    assert list(client.runs(job="greet/hello", state=["scheduled"], since="now")["run_id"]) == [later.run_id]
    assert client.runs(since="2001-01-01", until=date(2001, 2, 1)).empty
    assert len(client.runs(limit=2)) == 2
    expanded = client.runs(job="greet/hello", expand_args=True)
    assert "wanted" in set(expanded["arg_name"])
    later.skip()


def test_listed_runs_come_newest_first_over_several_pages(client: Client, monkeypatch: pytest.MonkeyPatch):
    made = client.schedule_runs("greet/hello", args={"name": "many"}, count=7)
    whole = client.list_runs(args={"name": "many"})
    assert [r["run_id"] for r in whole] == [r.run_id for r in reversed(made)]
    monkeypatch.setattr("apsis_nb.client.client.PAGE_RUNS", 3)
    for limit in (2, 3, 5, 100):
        listed = client.list_runs(args={"name": "many"}, limit=limit)
        assert [r["run_id"] for r in listed] == [r["run_id"] for r in whole[:limit]]


def test_sql_gives_aware_times_and_takes_params(client: Client):
    client.schedule("fails").wait(WITHIN_S)
    answer = client.sql(
        "SELECT run_id, scheduled_at, elapsed_s FROM runs WHERE job_id = ? LIMIT 1", ["fails"]
    )
    assert str(answer["scheduled_at"].dtype) == "datetime64[us, UTC]"
    assert len(answer) == 1
    assert client.sql("SELECT $n + 1 AS m", {"n": 41})["m"].tolist() == [42]
    in_polars = client.sql_polars(
        "SELECT run_id, scheduled_at, args FROM runs WHERE job_id = 'fails' LIMIT 1"
    )
    assert in_polars.schema["scheduled_at"] == polars.Datetime("us", "UTC")
    assert in_polars["run_id"].to_list() == answer["run_id"].tolist()
    names, rows = client.sql_rows("SELECT 1 AS a, 'x' AS b")
    assert (names, rows) == (["a", "b"], [{"a": 1, "b": "x"}])


@pytest.mark.parametrize(
    "query", ["DROP VIEW runs", "SELEC 1", "SELECT * FROM nonsense", "SELECT 1; SELECT 2"]
)
def test_a_query_that_is_wrong_is_told(client: Client, query: str):
    with pytest.raises(BadRequest):
        client.sql(query)


@pytest.mark.parametrize("name", sorted(frames.FRAMES.keys() - {"runs"}))
def test_each_history_has_the_columns_of_its_frame(client: Client, name: str):
    frame = getattr(client.history, name)()
    assert [str(t) for t in frame.dtypes] == [c.dtype for c in frames.FRAMES[name]]


def test_history_takes_periods_prices_and_zones(client: Client):
    client.schedule("fails").wait(WITHIN_S)
    # No schedule made it; another test may have runs of a schedule on the same server.
    assert "fails" not in set(client.history.drift(timedelta(days=7), tz="Europe/London")["job_id"])
    cost = client.history.cost("1d", job="fails", cpu_hour=3600, gb_hour=0)
    assert cost["cost"][0] == pytest.approx(cost["cpu_h"][0] * 3600)
    assert cost["cost"][0] > 0
    assert len(client.history.concurrency("2026-03-01", "2026-03-02", every="10m")) == 144
    with pytest.raises(BadRequest, match="cpu_hour: must be a price"):
        client.history.cost(cpu_hour=-1)


def test_history_takes_a_unit_and_jobs(client: Client):
    client.schedule("fails").wait(WITHIN_S)
    counts = client.history.counts("1d", job=["fails"], unit="hour", by_job=True)
    assert set(counts["job_id"]) == {"fails"}
    with pytest.raises(BadRequest, match="unit"):
        client.history.counts(unit="fortnight")


def test_times_without_a_zone_are_in_that_of_the_server(client: Client):
    texts = client.connection.text_of
    assert texts("2026-07-01T12:00:00") == texts(datetime(2026, 7, 1, 12)) == "2026-07-01T11:00:00Z"  # noqa: DTZ001
    assert texts("20260701") == texts(date(2026, 7, 1)) == "2026-06-30T23:00:00Z"
    assert client.moment("20260701") == client.moment("2026-07-01")


def test_a_duration_goes_back_from_now_or_forward(client: Client):
    now = datetime.now(UTC)
    week = timedelta(days=7)
    assert abs(client.moment("7d") - (now - week)) < timedelta(minutes=1)
    assert abs(client.moment(week) - (now - week)) < timedelta(minutes=1)
    assert abs(client.connection.instant(week) - (now + week)) < timedelta(minutes=1)


def test_a_time_that_is_none_is_told(client: Client):
    with pytest.raises(BadRequest, match="tomorrowish"):
        client.runs(since="tomorrowish")


def test_events_begin_with_hello_and_tell_of_runs(client: Client):
    events = client.events(["run"])
    hello = next(events)
    assert hello.type == "hello"
    assert hello.facts["boot_id"] == client.version()["boot_id"]
    run = client.schedule("greet/hello")
    for event in events:
        assert isinstance(event, ServerEvent)
        if event.facts["run_id"] == run.run_id and event.facts["state"] == "success":
            break
    events.close()


def test_events_go_on_after_a_restart_of_the_server(tmp_path: Path):
    with served(tmp_path) as first:
        client = first.client()
        events = client.events(["run"])
        assert next(events).type == "hello"
    assert next(events).type == "disconnected"
    with served(tmp_path, bind=first.url.removeprefix("http://")):
        seen = next(event for event in events if event.type != "disconnected")
        assert seen.type == "hello"
        assert next(events).type == "resync"
        run = client.schedule("greet/hello")
        assert next(events).facts["run_id"] == run.run_id
        events.close()
    with pytest.raises(ServerDown):
        next(client.events(reconnect=False))


def test_reload_tells_and_takes_what_changed(client: Client, server: Served):
    file = server.jobs / "fresh.yaml"
    file.write_text("program: ['true']\n")
    try:
        assert client.reload(dry_run=True)["added"] == ["fresh"]
        assert "fresh" not in client.jobs
        assert client.reload()["applied"]
        assert client.schedule("fresh").result(WITHIN_S).state == "success"
    finally:
        file.unlink()
        assert client.reload()["removed"] == ["fresh"]


def test_one_key_of_a_job_is_edited_and_its_comments_stay(client: Client, server: Served):
    file = server.jobs / "edited.yaml"
    file.write_text(
        "# ours\nprogram: 'true'\nschedule: {type: daily, tz: UTC, daytime: '09:00:00'}  # before others\n"
    )
    try:
        client.reload()
        job = client.jobs["edited"].edit({"schedule.daytime": "10:00:00", "late.start": "5m"})
        assert "10:00:00" in job.facts["explain"]["schedule"][0]
        text, tag = client.yaml("edited")
        assert text == (
            "# ours\nprogram: 'true'\n"
            'schedule: {type: daily, tz: UTC, daytime: "10:00:00"}  # before others\n'
            'late:\n  start: "5m"\n'
        )
        client.edit_yaml("edited", {"late": None}, tag=tag)
        with pytest.raises(RequestRefused, match="somebody else"):
            client.edit_yaml("edited", {"program": "false"}, tag=tag)
        with pytest.raises(BadRequest, match="is no daytime"):
            job.edit({"schedule.daytime": "ten"})
    finally:
        file.unlink()
        client.reload()


def test_the_server_tells_of_itself(client: Client):
    assert client.version()["tz"] == "Europe/London"
    assert client.alive()["alive"] is True


def test_a_wrong_token_is_told(server: Served):
    with pytest.raises(NotAuthorized, match="APSIS_NB_TOKEN"):
        Client(server.url, "wrong").version()


def test_no_server_is_told_with_what_to_do():
    with pytest.raises(ServerDown, match="apsis-nb serve"):
        Client("http://127.0.0.1:1", "t").version()
    with pytest.raises(ServerDown, match="not the address"):
        Client("nonsense", "t").version()


@pytest.mark.parametrize(
    ("version", "older"),
    [("0.2.9", None), ("0.1.0rc1", None), ("main", None), ("0.3.0", "client"), ("1.0", "client")],
)
def test_a_server_of_another_release_is_told(version: str, older: str | None):
    class Other(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("X-Apsis-Nb-Version", version)
            self.end_headers()
            self.wfile.write(b'{"tz": "UTC"}')

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Other) as other:
        url = f"http://127.0.0.1:{other.server_port}"
        answering = threading.Thread(target=other.handle_request)
        answering.start()
        with Client(url, "t") as client:
            if older is None:
                assert client.version() == {"tz": "UTC"}
            else:
                with pytest.raises(WrongVersion) as told:
                    client.version()
                assert str(told.value) == (
                    f"{url}: the server is apsis_nb {version} and this client {__version__}, which are "
                    f"more than one minor version apart: upgrade the {older}"
                )
        answering.join(10)


def test_of_client_and_server_the_older_one_is_to_be_upgraded():
    assert "upgrade the server" in str(too_far_apart("0.12.0", "0.9.1"))
    assert too_far_apart("1.4.2", "1.5.0") is None
    assert "upgrade the client" in str(too_far_apart("1.9.0", "2.0.0"))


def test_a_server_says_its_version_in_each_answer(server: Served):
    for path in ("/api/v1/version", "/login", "/nothing"):
        assert httpx2.get(server.url + path, trust_env=False).headers["X-Apsis-Nb-Version"] == __version__


def test_events_of_a_server_that_is_not_there_end_at_once():
    with pytest.raises(ServerDown):
        next(Client("http://127.0.0.1:1", "t").events())


def test_the_users_own_server_is_found(server: Served, monkeypatch: pytest.MonkeyPatch):
    for name in ("XDG_RUNTIME_DIR", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, server.env[name])
    monkeypatch.delenv("APSIS_NB_URL", raising=False)
    monkeypatch.delenv("APSIS_NB_TOKEN", raising=False)
    assert Client().url == server.url
    assert Client(server.url).version()["tz"] == "Europe/London"
    with pytest.raises(NotAuthorized, match="no token"):
        Client("http://127.0.0.1:1")


def test_of_several_servers_one_must_be_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Served
):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setenv("XDG_STATE_HOME", server.env["XDG_STATE_HOME"])
    monkeypatch.delenv("APSIS_NB_URL", raising=False)
    with pytest.raises(ServerDown, match="no server answers"):
        Client()
    write_runtime("http://127.0.0.1:1", "t", tmp_path / "one")
    assert Client().url == "http://127.0.0.1:1"


def test_an_error_shows_as_one_line_in_a_notebook():
    assert ServerDown("no server")._render_traceback_() == ["ServerDown: no server"]


def test_a_stop_of_a_finished_run_is_refused(client: Client):
    run = client.schedule("greet/hello").wait(WITHIN_S)
    with pytest.raises(RequestRefused, match="finished"):
        run.stop()


def test_times_are_pandas_times(client: Client):
    run = client.schedule("greet/hello", at=pd.Timestamp("2030-01-01T00:00:00Z"))
    assert run.facts["scheduled_at"] == "2030-01-01T00:00:00Z"
    run.skip()


def test_a_simulation_takes_typical_durations_from_the_history(client: Client, tmp_path: Path):
    (tmp_path / "greet").mkdir()
    (tmp_path / "greet/hello.yaml").write_text("program: x\nschedule: {type: interval, interval: 1h}\n")
    client.schedule("greet/hello", args={"name": "x"}).wait()
    frame = simulate(tmp_path, "2026-12-01", "2026-12-01T03:00:00Z", durations=client)
    took = (frame["finished_at"] - frame["started_at"]).dt.total_seconds()
    assert len(took) == 3
    assert (took < 60).all()


def test_whom_the_server_does_not_know_cannot_be_told(client: Client):
    with pytest.raises(NoSuch, match="there is no 'ops' under 'notify' in the server's configuration"):
        client.notify_test("ops")


def test_the_connection_is_kept_from_one_question_to_the_next(server: Served):
    port = int(server.url.rpartition(":")[2])

    def ports() -> set[int]:
        """Those of the established connections to the server."""
        lines = [line.split() for line in Path("/proc/self/net/tcp").read_text().splitlines()[1:]]
        ends = [(local.split(":")[1], to.split(":")[1]) for _, local, to, state, *_ in lines if state == "01"]
        return {int(local, 16) for local, to in ends if int(to, 16) == port}

    with server.client() as client:
        before = ports()
        client.sql("SELECT 1")
        own = ports() - before
        assert len(own) == 1
        for ask in (
            lambda: client.sql("SELECT job_id FROM runs"),
            lambda: client.sql("SELECT * FROM range(200000)"),  # in pieces
            client.history.timeline,
            client.history.lateness,
            client.version,
        ):
            ask()
            assert ports() - before == own
