"""Pauses, backfills, marks and test runs, through the client, with a real server and real programs."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from apsis_nb.client import Backfill, BadRequest, Client, NoSuch, RequestRefused
from tests.client.serving import served
from tests.engine.serving import wait_for

WITHIN_S = 30.0

JOBS = {
    "team/report": """
params: [date]
schedule: {type: daily, tz: Europe/London, calendar: Mon-Fri, daytime: "06:00:00"}
program: {type: shell, command: 'echo "report of {{ date }}"; test -e bad && exit 1 || exit 0'}
successors: team/after
""",
    "team/after": """
params: [date]
program: {type: no-op}
""",
    "team/tick": """
schedule: {type: interval, interval: 1}
program: {type: no-op}
""",
    "team/hourly": """
schedule: {type: interval, interval: 1h}
program: {type: no-op}
""",
    "needs": """
params: [date]
condition: {type: dependency, job_id: team/report}
program: {type: no-op}
""",
    "files": """
condition: {type: file, path: 'there-*', min_bytes: 2}
program: {type: no-op}
""",
    "asks": """
params: [date]
condition:
  - type: sql
    poll_interval: 0.2s
    query: SELECT count(*) > 0 FROM runs WHERE job_id = 'team/after' AND args->>'date' = $date
program: {type: no-op}
""",
    "asks-wrongly": """
condition: {type: sql, poll_interval: 0.2s, query: "SELECT nothing FROM runs"}
program: {type: no-op}
""",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("held")


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[Client]:
    with served(folder, JOBS) as server, server.client() as client:
        yield client


# -- pauses


def test_a_paused_job_skips_what_comes_due_and_the_plan_tells_it(client: Client):
    made = client.jobs["team/tick"].pause(until="+1h", reason="lunch")
    assert (made["scope"], made["target"], made["reason"]) == ("job", "team/tick", "lunch")
    assert [p["target"] for p in client.list_pauses()] == ["team/tick"]

    def skipped() -> list[dict[str, object]]:
        rows: list[dict[str, object]] = client.jobs["team/tick"].resume(dry_run=True)["skipped"]
        return rows

    wait_for("two times are skipped", lambda: len(skipped()) >= 2, WITHIN_S)
    (newest,) = client.list_runs(job="team/tick", state="skipped", limit=1)
    assert newest["skip_reason"] == f"paused by {made['by']}: lunch"
    plan = client.jobs["team/tick"].resume()
    assert plan["next"][0]["job_id"] == "team/tick"
    assert client.list_pauses() == []
    missed = client.history.missed()
    assert (missed["skip_reason"].str.startswith("paused by")).sum() >= 2
    wait_for(
        "it runs again", lambda: client.list_runs(job="team/tick", state="success", since="-2s"), WITHIN_S
    )


def test_a_path_or_all_may_be_paused_and_by_hand_it_still_runs(client: Client):
    client.pause(path="team")
    client.pause(everything=True)
    assert {(p["scope"], p["target"]) for p in client.list_pauses()} == {("path", "team"), ("all", "")}
    assert client.schedule("team/after", date="2026-01-01").wait(WITHIN_S).state == "success"
    client.resume(path="team")
    client.resume(everything=True)
    assert client.list_pauses() == []


def test_a_pause_that_makes_no_sense_is_refused_in_a_sentence(client: Client):
    with pytest.raises(BadRequest, match="pause what"):
        client.pause()
    with pytest.raises(BadRequest, match="is past"):
        client.pause("team/tick", until="2020-01-01T00:00:00Z")
    with pytest.raises(NoSuch, match="there is no job below 'nowhere'"):
        client.pause(path="nowhere")
    with pytest.raises(RequestRefused, match="team/hourly is not paused"):
        client.resume("team/hourly")


# -- backfills


def test_a_backfill_follows_the_calendar_the_oldest_first(client: Client):
    job = client.jobs["team/report"]
    plan = job.backfill(start="2026-03-27", stop="2026-03-31", dry_run=True)
    assert isinstance(plan, pd.DataFrame)
    assert [args["date"] for args in plan["args"]] == ["2026-03-27", "2026-03-30", "2026-03-31"]
    assert [str(at) for at in plan["nominal_at"]][1:] == [  # summer time began on the 29th
        "2026-03-30 05:00:00+00:00",
        "2026-03-31 05:00:00+00:00",
    ]
    made = job.backfill(start="2026-03-27", stop="2026-03-31", label="again")
    assert isinstance(made, Backfill)
    made.wait(WITHIN_S)
    runs = made.runs()
    assert list(runs["state"]) == ["success"] * 3
    assert list(runs["origin"].unique()) == ["backfill"]
    assert runs["started_at"].is_monotonic_increasing
    assert runs["late_s"].isna().all(), "only runs of a schedule are late"
    assert client.list_runs(job="team/after", args={"date": "2026-03-30"}) == [], "no successors unless asked"
    assert "3 success" in repr(made)
    (row,) = client.list_backfills(1)
    assert (row["backfill_id"], row["instances"], row["left"]) == (made.backfill_id, 3, 0)


def test_a_backfill_of_a_frame_leaves_out_what_has_succeeded(client: Client):
    days = pd.DataFrame({"date": pd.date_range("2026-04-01", periods=3)})
    job = client.jobs["team/report"]
    client.schedule("team/report", date="2026-04-02").result(WITHIN_S)
    made = job.backfill(days, only_missing=True, max_running=4, actions=True)
    assert isinstance(made, Backfill)
    made.wait(WITHIN_S)
    assert sorted(args for args in made.runs()["args"]) == ['{"date":"2026-04-01"}', '{"date":"2026-04-03"}']
    wait_for(
        "its successors run",
        lambda: client.list_runs(job="team/after", args={"date": "2026-04-03"}),
        WITHIN_S,
    )
    with pytest.raises(RequestRefused, match="nothing to run: 3 have succeeded or are under way"):
        job.backfill(days, only_missing=True)


def test_nominal_times_tell_what_is_missing_of_a_job_without_params(client: Client):
    job = client.jobs["team/hourly"]
    first = job.backfill(start="2026-05-01", stop="2026-05-01", max_running=24)
    assert isinstance(first, Backfill)
    assert len(first.wait(WITHIN_S).runs()) == 24
    plan = job.backfill(start="2026-05-01", stop="2026-05-02", only_missing=True, dry_run=True)
    assert isinstance(plan, pd.DataFrame)
    assert len(plan) == 24
    assert str(plan["nominal_at"].min()) == "2026-05-02 00:00:00+00:00"


def test_a_backfill_that_fails_three_times_stops_and_goes_on_when_told(client: Client, folder: Path):
    bad = folder / "jobs/team/bad"
    bad.touch()
    made = client.jobs["team/report"].backfill(start="2026-06-01", stop="2026-06-05")
    assert isinstance(made, Backfill)
    facts = made.wait(WITHIN_S).facts
    assert (facts["failed"], facts["skipped"], facts["success"]) == (3, 2, 0)
    assert set(made.runs()["skip_reason"].dropna()) == {
        f"backfill {made.backfill_id} stopped: 3 failures in a row"
    }
    bad.unlink()
    facts = made.resume(max_running=2).wait(WITHIN_S).facts
    assert (facts["success"], facts["instances"], facts["runs"]) == (5, 5, 10)
    with pytest.raises(RequestRefused, match=f"nothing is left of backfill {made.backfill_id}"):
        made.resume()


def test_a_backfill_that_makes_no_sense_is_refused_in_a_sentence(client: Client):
    job = client.jobs["team/report"]
    with pytest.raises(BadRequest, match="from 2026-02-01 is after to 2026-01-01"):
        job.backfill(start="2026-02-01", stop="2026-01-01")
    with pytest.raises(BadRequest, match="give the days, from and to, or the args of each run"):
        job.backfill()
    with pytest.raises(BadRequest, match="missing args"):
        job.backfill([{"day": "2026-01-01"}])
    with pytest.raises(BadRequest, match="has no schedule"):
        client.jobs["files"].backfill(start="2026-01-01", stop="2026-01-02")
    with pytest.raises(NoSuch, match="there is no backfill r999999"):
        client.backfill(999999)


# -- marks and tests


def test_a_mark_lets_go_what_waits(client: Client, folder: Path):
    bad = folder / "jobs/team/bad"
    bad.touch()
    failed = client.schedule("team/report", date="2026-07-01").wait(WITHIN_S)
    bad.unlink()
    waits = client.schedule("needs", date="2026-07-01")
    assert failed.mark("success").state == "success"
    assert waits.wait(WITHIN_S).state == "success"
    assert failed.seen["message"].startswith("marked as success by")
    assert client.list_runs(job="team/after", args={"date": "2026-07-01"}) == [], "actions do not fire again"
    with pytest.raises(RequestRefused, match=f"{failed.run_id} is success already"):
        failed.mark("success")
    with pytest.raises(BadRequest, match="states are scheduled"):
        failed.mark("sucess")


def test_a_test_run_satisfies_nobody_and_fires_nothing(client: Client):
    waits = client.schedule("needs", date="2026-08-01")
    test = client.schedule("team/report", date="2026-08-01", test=True).result(WITHIN_S)
    assert test.seen["origin"] == "test"
    assert waits.state == "waiting"
    again = test.rerun(test=True).result(WITHIN_S)
    assert (again.seen["origin"], again.seen["rerun_of"]) == ("test", test.run_id)
    test.rerun(date="2026-08-02").result(WITHIN_S)
    waits.skip()
    assert client.list_runs(job="team/after", args={"date": "2026-08-01"}) == []


# -- what runs wait for outside


def test_a_run_waits_for_a_file_that_is_large_enough(client: Client, folder: Path):
    run = client.schedule("files")
    (folder / "jobs/there-small").write_bytes(b"1")
    assert run.state == "waiting"
    (folder / "jobs/there-large").write_bytes(b"12")
    assert run.result(WITHIN_S).state == "success"


def test_a_run_waits_for_a_query_to_be_true_and_says_what_is_wrong_with_one(client: Client):
    run = client.schedule("asks", date="2026-09-01")
    wrong = client.schedule("asks-wrongly")
    told = wait_for(
        "the fault is told",
        lambda: [line["message"] for line in wrong.list_log() if "nothing" in (line["message"] or "")][1:],
        WITHIN_S,
    )
    assert told[0].startswith("a query to be true: SELECT nothing FROM runs: ")
    wrong.skip()
    assert run.state == "waiting"
    client.schedule("team/after", date="2026-09-01").result(WITHIN_S)
    assert run.result(WITHIN_S).state == "success"
