"""The demo: its jobs are good, do what they say, and come with a history."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from apsis_nb.client import Client
from apsis_nb.core.errors import ApsisError
from apsis_nb.demo import demo_config, prepare
from apsis_nb.demo.history import JOBS as PAST_JOBS
from apsis_nb.jobfiles import check_folder, load_folder
from tests.client.serving import environment

WITHIN_S = 60.0
COMMAND = str(Path(sys.executable).with_name("apsis-nb"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[Client]:
    command = [COMMAND, "demo", "--dir", "demo", "--bind", "127.0.0.1:0", "--history", "3000", "--no-browser"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=environment(folder), stdout=subprocess.PIPE, stderr=log, text=True
        )
    assert process.stdout is not None
    too_slow = threading.Timer(WITHIN_S, process.kill)
    too_slow.start()
    address = process.stdout.readline().strip()
    too_slow.cancel()
    assert address, (folder / "log").read_text()
    url, _, token = address.partition("/?token=")
    with Client(url, token) as client:
        yield client
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=WITHIN_S)[0] == "", "it prints one address and nothing else"


def test_every_job_is_good_described_and_labelled(tmp_path: Path):
    prepare(tmp_path)
    folder = load_folder(tmp_path / "jobs")
    assert check_folder(folder, datetime.now(UTC)) == []
    assert set(folder.jobs) == {past.job_id for past in PAST_JOBS}
    for job in folder.jobs.values():
        assert job.description, job.job_id
        assert job.labels, job.job_id


def test_a_job_file_that_somebody_changed_stays(tmp_path: Path):
    prepare(tmp_path)
    changed, broken = tmp_path / "jobs/ops/heartbeat.yaml", tmp_path / "jobs/etl/load.yaml"
    changed.write_text("program: 'true'\n")
    broken.unlink()
    prepare(tmp_path)
    assert changed.read_text() == "program: 'true'\n"
    assert broken.exists()
    prepare(tmp_path, reset=True)
    assert "loadavg" in changed.read_text()


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(ApsisError, match="holds other files"):
        prepare(tmp_path)
    with pytest.raises(ApsisError, match="is no folder"):
        prepare(tmp_path / "thesis.txt")
    assert os.listdir(tmp_path) == ["thesis.txt"]


def test_the_history_is_made_once(tmp_path: Path):
    told: list[str] = []
    prepare(tmp_path, history=100, tell=told.append)
    assert told == ["making up 100 past runs ..."]
    database = demo_config(tmp_path).state_dir / "runs.duckdb"
    before = database.stat().st_mtime_ns
    prepare(tmp_path, history=100, tell=told.append)
    assert database.stat().st_mtime_ns == before
    assert sorted(os.listdir(database.parent)) == ["runs.duckdb"]


def test_the_demo_has_a_past_and_a_future(client: Client):
    assert client.sql("SELECT count(*) AS n FROM runs")["n"][0] >= 3000
    assert len(client.expected("now", "+10m")) > 60


def test_sales_are_imported_reported_and_drawn(client: Client):
    assert (
        "orders of 2026-01-05" in client.schedule("sales/import", date="2026-01-05").result(WITHIN_S).output()
    )
    report = client.schedule("sales/report", date="2026-01-05").result(WITHIN_S)
    assert "Sales of 2026-01-05" in report.output()
    charts = [
        run
        for run in client.list_runs(job="sales/chart", args={"date": "2026-01-05"})
        if run["origin"] == "action"
    ]
    chart = client.run(charts[0]["run_id"]).result(WITHIN_S)
    assert {output["name"] for output in chart.outputs()} == {"output", "chart.svg"}
    assert chart.output("chart.svg").startswith("<svg")


def test_the_report_waits_for_the_import(client: Client):
    report = client.schedule("sales/report", date="2026-01-06")
    assert report.state == "waiting"
    client.schedule("sales/import", date="2026-01-06").result(WITHIN_S)
    assert report.result(WITHIN_S).state == "success"


def test_a_night_failed_for_a_reason_that_is_seen_and_another_date_succeeds(client: Client):
    failed = client.run(client.list_runs(job="finance/reconcile", limit=1)[0]["run_id"])
    assert failed.state == "failure"
    assert "LookupError: there are no orders of 20" in failed.facts["message"]
    client.schedule("sales/import", date="2026-01-07").result(WITHIN_S)
    again = failed.rerun(date="2026-01-07").result(WITHIN_S)
    assert json.loads(again.output("result.json"))["orders"] > 100


def test_a_day_can_be_asked_about_in_sql_and_in_a_notebook(client: Client):
    client.schedule("sales/import", date="2026-01-07").result(WITHIN_S)
    top = client.schedule("sales/top", date="2026-01-07")
    daily = client.schedule("reports/daily", date="2026-01-07")
    assert "result.parquet" in {output["name"] for output in top.result(WITHIN_S).outputs()}
    assert "orders of 2026-01-07" in daily.result(WITHIN_S).output()
    assert "The best products" in daily.output("daily.html")


def test_rates_come_with_the_second_attempt(client: Client):
    first = client.schedule("etl/rates").wait(WITHIN_S)
    assert first.state == "failure"
    assert "no answer" in first.output()
    tries = [run for run in client.list_runs(job="etl/rates", limit=5) if run["rerun_of"] == first.run_id]
    assert client.run(tries[0]["run_id"]).start().wait(WITHIN_S).state == "success"


def test_what_waits_says_for_what_and_goes_on_when_it_is_there(client: Client, folder: Path):
    waits = client.schedule("finance/settle", date="2026-01-07")
    assert waits.state == "waiting"
    assert "inbox/2026-01-07.csv" in str(waits.why())
    inbox = folder / "demo" / "data" / "inbox"
    inbox.mkdir()
    (inbox / "2026-01-07.csv").write_text("paid\n")
    assert "1 " in waits.result(WITHIN_S).output()


def test_params_of_every_type_reach_a_function(client: Client):
    told = client.schedule("ops/cleanup", what="orders", older_than="0s").result(WITHIN_S)
    assert json.loads(told.output("result.json"))["files"] >= 0
    assert "removed" not in told.output()
    tuned = client.schedule("ml/tune", rounds=1).result(WITHIN_S)
    assert "with rate 0.03 after 1 rounds" in tuned.output()
    assert tuned.progress == {"done": 1, "total": 1, "message": "round 1"}


def test_a_night_keeps_every_order(client: Client):
    client.schedule("sales/import", date="2026-01-07").result(WITHIN_S)
    assert (
        "orders of 2026-01-07 are in"
        in client.schedule("etl/nightly", date="2026-01-07").result(WITHIN_S).output()
    )


def test_scores_say_how_far_off_the_model_is(client: Client):
    client.schedule("sales/import", date="2026-01-08").result(WITHIN_S)
    score = client.schedule("ml/score", date="2026-01-08", model="baseline").result(WITHIN_S)
    assert "baseline: off by" in score.output()
    missing = client.schedule("ml/score", date="1999-01-01").wait(WITHIN_S)
    assert missing.state == "failure"
    assert "run sales/import" in missing.output()


def test_training_tells_how_it_goes_and_can_be_stopped(client: Client):
    run = client.schedule("ml/train")
    assert b"\x1b[" in next(run.pieces())
    assert run.stop().wait(WITHIN_S).state == "failure"
    assert "stopped: the weights of before are kept" in run.output()


@pytest.mark.parametrize("job_id", ["ops/heartbeat", "ops/disk-usage"])
def test_the_machine_is_looked_at(client: Client, job_id: str):
    assert client.schedule(job_id).result(WITHIN_S).output().strip()


def test_loads_of_a_region_take_turns(client: Client):
    runs = client.schedule_runs("etl/load", args={"date": "2026-01-09", "region": "apac"}, count=2)
    states = sorted(run.state for run in runs)
    assert states[1] == "waiting"
    for run in sorted(
        runs, key=lambda run: run.state != "waiting"
    ):  # first the one that waits: it may not begin
        (run.skip if run.state == "waiting" else run.stop)()
    assert json.dumps([run.wait(WITHIN_S).facts["args"]["region"] for run in runs]) == '["apac", "apac"]'
