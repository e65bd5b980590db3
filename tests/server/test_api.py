"""What the routes answer, over HTTP, from a real engine and store."""

import asyncio
import functools
import gc
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pyarrow as pa
import pytest

from apsis_nb.demo.history import make_history
from apsis_nb.frames import FRAMES
from apsis_nb.server import jobs
from apsis_nb.wire import ARROW, RUN_FACTS, read_arrow
from tests.server.conftest import Served, schedule, serving, until, write_jobs

Finished = Callable[[str], dict[str, Any]]


def problem(response: httpx2.Response, status: int) -> str:
    """The text of a problem document of that status."""
    document = response.json()
    assert response.headers["content-type"] == "application/problem+json"
    assert (response.status_code, document["status"]) == (status, status), document
    assert {"type", "title", "detail"} <= document.keys()
    assert "Traceback" not in document["detail"]
    return str(document["detail"])


# -- the server


def test_alive_tells_who_and_how_it_is(api: httpx2.Client) -> None:
    facts = api.get("/alive").json()
    assert facts["alive"] is True
    assert {"boot_id", "version", "started_at", "loops", "disk_free_b", "store"} <= facts.keys()


def test_version_tells_zone_and_start(api: httpx2.Client) -> None:
    facts = api.get("/version").json()
    assert facts["tz"] == "UTC"
    assert facts["started_at"].endswith("Z")
    assert (facts["user"], facts["role"]) == ("ann", "admin")


def test_stats_are_figures(api: httpx2.Client) -> None:
    told = api.get("/stats").json()
    assert set(told["runs"]) == {"live", "finished_1h", "finished_1d"}
    assert told["jobs"] > 0
    assert told["store"]["file_bytes"] > 0
    assert told["loop_lag_ms"] >= 0


def test_openapi_tells_every_route_of_the_interface(api: httpx2.Client) -> None:
    document = api.get("/openapi.json").json()
    told = {f"{m.upper()} {p}" for p, methods in document["paths"].items() for m in methods}
    prefix = "/api/v1"
    for route in (
        "GET /alive",
        "GET /stats",
        "GET /version",
        "GET /events",
        "GET /jobs",
        "GET /jobs/{job_id}",
        "POST /jobs/check",
        "POST /jobs/reload",
        "POST /jobs/preview",
        "GET /yaml/{job_id}",
        "PUT /yaml/{job_id}",
        "PATCH /yaml/{job_id}",
        "GET /versions/{job_id}",
        "GET /next/{job_id}",
        "GET /expected",
        "GET /expected/counts",
        "GET /runs",
        "POST /runs",
        "POST /runs/plan",
        "GET /runs/{run_id}",
        "GET /runs/{run_id}/log",
        "GET /runs/{run_id}/why",
        "GET /why/{job_id}",
        "GET /doctor",
        "POST /doctor",
        "GET /retention",
        "POST /retention",
        "GET /backup",
        "POST /backup",
        "GET /runs/{run_id}/outputs",
        "GET /runs/{run_id}/outputs/{name}",
        "POST /runs/{run_id}/start",
        "POST /runs/{run_id}/skip",
        "POST /runs/{run_id}/stop",
        "POST /runs/{run_id}/rerun",
        "POST /runs/{run_id}/signal/{signal}",
        "POST /sql",
        "GET /history/{name}",
        "POST /import/runs",
    ):
        method, path = route.split()
        assert f"{method} {prefix}{path}" in told
    assert not any(path.startswith("/dash") or "login" in path for path in document["paths"])


# -- jobs


def test_jobs_are_told_with_what_is_broken(api: httpx2.Client) -> None:
    answer = api.get("/jobs").json()
    assert [j["job_id"] for j in answer["jobs"]] == [
        "ops/daily",
        "ops/fails",
        "ops/held",
        "ops/hello",
        "ops/long",
        "sales/import",
        "sales/report",
    ]
    assert api.get("/job-ids").json()["job_ids"] == [j["job_id"] for j in answer["jobs"]]
    assert {(error["job_id"], error["line"]) for error in answer["errors"]} == {("broken", 1)}
    assert any("did you mean 'program'" in error["message"] for error in answer["errors"])


@pytest.mark.parametrize(
    ("params", "found"),
    [
        ({"q": "sal rep"}, ["sales/report"]),
        ({"q": "MONTHLY"}, ["sales/report"]),
        ({"q": "nothing"}, []),
        ({"label": "daily"}, ["sales/report"]),
        ({"path": "sales"}, ["sales/import", "sales/report"]),
        ({"path": "/sales/", "q": "imp"}, ["sales/import"]),
        ({"path": "sal"}, []),
    ],
)
def test_jobs_are_found(api: httpx2.Client, params: dict[str, str], found: list[str]) -> None:
    assert [j["job_id"] for j in api.get("/jobs", params=params).json()["jobs"]] == found


@pytest.mark.parametrize("name", ["sales/report", "report", "sa/re", "rep", "SALES rep"])
def test_a_job_is_found_by_the_beginnings_of_its_words(api: httpx2.Client, name: str) -> None:
    facts = api.get(f"/jobs/{name}").json()
    assert facts["job_id"] == "sales/report"
    assert facts["params"]["date"]["type"] == "date"


def test_a_name_that_fits_two_jobs_is_told_with_its_choices(api: httpx2.Client) -> None:
    response = api.get("/jobs/sales")
    assert "sales/import, sales/report" in problem(response, 409)
    assert response.json()["choices"] == ["sales/import", "sales/report"]


def test_a_misspelt_job_is_told_what_is_near(api: httpx2.Client) -> None:
    assert "did you mean sales/report" in problem(api.get("/jobs/sales/raport"), 404)


def test_a_broken_job_is_told_why(api: httpx2.Client) -> None:
    assert "broken.yaml:1:1" in problem(api.get("/jobs/broken"), 404)


def test_the_next_times_of_a_job(api: httpx2.Client) -> None:
    times = api.get("/next/ops/daily", params={"n": 3}).json()["next"]
    assert [t["scheduled_at"][10:] for t in times] == ["T09:00:00Z"] * 3
    assert sorted({t["scheduled_at"] for t in times}) == [t["scheduled_at"] for t in times]


def test_a_job_without_schedule_has_no_next_time(api: httpx2.Client) -> None:
    assert api.get("/next/ops/hello").json() == {"next": []}


def test_what_the_schedules_will_make(api: httpx2.Client) -> None:
    window = {"since": "2030-01-01T00:00:00Z", "until": "2030-01-03T00:00:00Z"}
    expected = api.get("/expected", params=window).json()["expected"]
    assert [(e["job_id"], e["scheduled_at"]) for e in expected] == [
        ("ops/daily", "2030-01-01T09:00:00Z"),
        ("ops/daily", "2030-01-02T09:00:00Z"),
    ]
    (first,) = api.get("/expected", params={**window, "each": "1"}).json()["expected"]
    assert first == expected[0]
    both = api.get("/expected", params={**window, "job_id": ["ops/daily", "ops/hello"]}).json()["expected"]
    assert both == expected
    assert "before until" in problem(api.get("/expected", params={"since": "+2d", "until": "+1d"}), 422)

    counts = api.get("/expected/counts", params=window | {"every": "12h"}).json()["counts"]
    assert [(c["job_id"], c["period"], c["runs"], c["first_at"]) for c in counts] == [
        ("ops/daily", "2030-01-01T00:00:00Z", 1, "2030-01-01T09:00:00Z"),
        ("ops/daily", "2030-01-02T00:00:00Z", 1, "2030-01-02T09:00:00Z"),
    ]
    for every in ("soon", "1s", "1m"):
        assert "every" in problem(api.get("/expected/counts", params=window | {"every": every}), 422)


def test_a_file_is_checked_as_if_it_were_in_the_folder(api: httpx2.Client) -> None:
    good = api.post("/jobs/check", json={"job_id": "new/job", "yaml": "program: 'true'"}).json()
    assert (good["ok"], good["errors"], good["job"]["job_id"]) == (True, [], "new/job")
    bad = api.post("/jobs/check", json={"job_id": "new/job", "yaml": "program: 'true'\nparms: [a]"}).json()
    assert not bad["ok"]
    assert (bad["errors"][0]["line"], bad["job"]) == (2, None)
    gone = {"yaml": "program: 'true'\ncondition: {type: dependency, job_id: no/such}"}
    assert "no/such" in api.post("/jobs/check", json=gone).json()["errors"][0]["message"]


def test_the_folder_is_checked(api: httpx2.Client) -> None:
    answer = api.post("/jobs/check").json()
    assert (answer["ok"], {e["job_id"] for e in answer["errors"]}) == (False, {"broken"})


# -- runs


def test_a_run_is_made_and_its_story_told(api: httpx2.Client, finished: Finished) -> None:
    response = api.post("/runs", json={"job_id": "report", "args": {"date": "20260131"}, "label": "mine"})
    assert response.status_code == 201
    (made,) = response.json()["runs"]
    assert tuple(made) == RUN_FACTS
    assert made["job_id"] == "sales/report"
    assert made["args"] == {"date": "2026-01-31", "kind": "short"}
    assert (made["origin"], made["by"], made["labels"]) == ("manual", "ann", ["daily", "mine"])

    done = finished(made["run_id"])
    assert tuple(done) == RUN_FACTS
    assert (done["state"], done["return_code"], done["late_s"]) == ("success", 0, None)
    assert (made["meta"], done["meta"]["meta"], done["meta"]["detail"]) == (None, None, None)
    assert 0 <= done["meta"]["cpu_s"] < 10
    assert done["meta"]["max_rss_b"] > 100_000
    lines = api.get(f"/runs/{made['run_id']}/log").json()["log"]
    assert lines[-1]["state"] == "success"
    assert all(line["ts"].endswith("Z") for line in lines)
    (output,) = api.get(f"/runs/{made['run_id']}/outputs").json()["outputs"]
    assert (output["name"], output["length"]) == ("output", len("report of 2026-01-31\n"))


def test_several_runs_that_are_alike(api: httpx2.Client, finished: Finished) -> None:
    runs = api.post("/runs", json={"job_id": "ops/hello", "count": 3}).json()["runs"]
    assert len({r["run_id"] for r in runs}) == 3
    for run in runs:
        finished(run["run_id"])


def test_a_run_for_later_waits_and_can_be_skipped(api: httpx2.Client) -> None:
    run_id = schedule(api, "ops/hello", at="2099-01-01T09:00:00", stop_at="2099-01-01T10:00:00Z")
    facts = api.get(f"/runs/{run_id}").json()
    assert (facts["state"], facts["scheduled_at"]) == ("scheduled", "2099-01-01T09:00:00Z")
    (skipped,) = api.post(f"/runs/{run_id}/skip", json={"reason": "not wanted"}).json()["runs"]
    assert (skipped["state"], skipped["skip_reason"]) == ("skipped", "not wanted")


def test_a_run_for_later_can_be_started_now(api: httpx2.Client, finished: Finished) -> None:
    run_id = schedule(api, "ops/hello", at="2099-01-01")
    assert api.post(f"/runs/{run_id}/start").status_code == 200
    assert finished(run_id)["state"] == "success"


def test_an_adhoc_command_runs(api: httpx2.Client, finished: Finished) -> None:
    body = {"job": {"program": {"type": "shell", "command": "echo $((6 * 7))"}}, "labels": ["try"]}
    (run,) = api.post("/runs", json=body).json()["runs"]
    assert (run["origin"], run["labels"]) == ("ad_hoc", ["try"])
    assert finished(run["run_id"])["state"] == "success"
    assert api.get(f"/runs/{run['run_id']}/outputs/output").text == "42\n"


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        ({}, 422, "either job_id"),
        ({"job_id": "ops/hello", "job": {"program": "true"}}, 422, "either job_id"),
        ({"job_id": "no/such"}, 404, "there is no job"),
        ({"job_id": "sales"}, 409, "may be"),
        ({"job_id": "sales/report"}, 422, "missing args (date)"),
        ({"job_id": "sales/report", "args": {"date": "soon"}}, 422, "'soon' is not a date"),
        ({"job_id": "sales/report", "args": {"date": "2026-01-31", "x": "1"}}, 422, "extra args (x)"),
        ({"job_id": "sales/report", "args": {"date": "2026-01-31", "kind": "odd"}}, 422, "short, long"),
        ({"job_id": "ops/hello", "at": "soon"}, 422, "at: "),
        ({"job_id": "ops/hello", "cuont": 2}, 422, "cuont"),
        ({"job_id": "ops/hello", "count": 0}, 422, "count"),
        ({"job_id": "ops/hello", "args": {"a": [1]}}, 422, "args"),
        ({"job_id": "ops/hello", "args": {"a": "\0"}}, 422, "NUL"),
        ({"job_id": "ops/hello", "labels": ["\0"]}, 422, "NUL"),
        ({"job_id": "ops/hello", "label": "\ud800"}, 422, "half of a character"),
        ({"job": {"program": "true", "metadata": {"\udfff": 1}}}, 422, "half of a character"),
        ({"job_id": "ops/hello", "args": {"a": "x" * 40_000}}, 422, "are too many"),
        ({"job": {"progam": "true"}}, 422, "did you mean 'program'"),
        ({"job": {"program": {"type": "os.path.X"}}}, 422, "'os.path.X' is code of the server, which only"),
        (
            {"job": {"program": "true", "condition": {"type": "os.X"}}},
            422,
            "'os.X' is code of the server",
        ),
        ({"job": {"program": "true", "host": "moon"}}, 422, "'moon' is not mapped under 'hosts'"),
        ({"job": {"program": "true", "schedule": {"type": "interval", "interval": 60}}}, 422, "no schedule"),
    ],
)
def test_a_request_that_cannot_be_met_makes_nothing(
    api: httpx2.Client, served: Served, body: dict[str, Any], status: int, text: str
) -> None:
    before = newest(api)
    content, headers = json.dumps(body), {"Content-Type": "application/json"}
    for path in ("/runs", "/runs/plan"):
        assert text in problem(api.post(path, content=content, headers=headers), status)
    assert newest(api) == before


def test_what_a_request_would_run_is_told_without_a_run(api: httpx2.Client) -> None:
    before = newest(api)
    wanted = {
        "job_id": "report",
        "args": {"date": "20260131"},
        "labels": ["mine"],
        "at": "2099-01-01T09:00:00Z",
    }
    plan = api.post("/runs/plan", json=wanted).json()
    assert (plan["job_id"], plan["labels"]) == ("sales/report", ["daily", "mine"])
    assert plan["args"] == {"date": "2026-01-31", "kind": "short"}
    assert "2026-01-31" in json.dumps(plan["program"])
    assert plan["scheduled_at"] == "2099-01-01T09:00:00Z"

    plan = api.post("/runs/plan", json={"job": {"program": "echo {{ run_id }}"}}).json()
    assert "echo r0" in json.dumps(plan["program"])
    assert newest(api) == before


def newest(api: httpx2.Client) -> str:
    """The run that was made last."""
    runs = api.get("/runs", params={"limit": 1000}).json()["runs"]
    return max((run["run_id"] for run in runs), key=lambda name: int(name[1:]), default="")


def test_a_label_may_be_any_text(api: httpx2.Client, finished: Finished) -> None:
    label = "\U0001f600 \\u0000 'quoted' \n<b>"
    run_id = schedule(api, "ops/hello", label=label)
    assert finished(run_id)["labels"] == [label]
    assert [r["run_id"] for r in found(api, label=label)] == [run_id]


def test_a_running_program_is_stopped(api: httpx2.Client, finished: Finished) -> None:
    run_id = schedule(api, "ops/long")
    until("it runs", lambda: api.get(f"/runs/{run_id}").json()["state"] == "running")
    assert "can't skip" in problem(api.post(f"/runs/{run_id}/skip"), 409)
    (run,) = api.post(f"/runs/{run_id}/stop").json()["runs"]
    assert run["state"] in {"stopping", "failure"}
    assert finished(run_id)["state"] == "failure"
    assert "it has finished" in problem(api.post(f"/runs/{run_id}/stop"), 409)


def test_a_running_program_gets_a_signal(api: httpx2.Client, finished: Finished) -> None:
    run_id = schedule(api, "ops/long")
    until("it runs", lambda: api.get(f"/runs/{run_id}").json()["state"] == "running")
    response = api.post(f"/runs/{run_id}/signal/SIGINT")
    assert [r["run_id"] for r in response.json()["runs"]] == [run_id]
    assert finished(run_id)["return_code"] == -2


def test_a_finished_run_is_run_again_with_another_arg(api: httpx2.Client, finished: Finished) -> None:
    first = schedule(api, "sales/report", args={"date": "2026-01-31", "kind": "long"})
    finished(first)
    response = api.post(f"/runs/{first}/rerun", json={"args": {"date": "2026-02-01"}})
    assert response.status_code == 201
    (again,) = response.json()["runs"]
    assert (again["origin"], again["rerun_of"]) == ("rerun", first)
    assert again["args"] == {"date": "2026-02-01", "kind": "long"}
    assert finished(again["run_id"])["state"] == "success"


@pytest.mark.parametrize("what", ["", "/log", "/outputs", "/outputs/output"])
def test_a_run_that_never_was_is_not_found(api: httpx2.Client, what: str) -> None:
    assert "r999999" in problem(api.get(f"/runs/r999999{what}"), 404)


@pytest.mark.parametrize("what", ["start", "skip", "stop", "rerun", "signal/TERM"])
def test_a_run_that_never_was_cannot_be_moved(api: httpx2.Client, what: str) -> None:
    assert "there is no run r999999" in problem(api.post(f"/runs/r999999/{what}"), 404)


def test_what_is_no_run_id_is_told_so(api: httpx2.Client) -> None:
    assert "write r123" in problem(api.get("/runs/latest"), 422)


# -- outputs


def test_an_output_is_read_by_range(api: httpx2.Client, finished: Finished) -> None:
    run_id = schedule(api, "ops/hello")
    finished(run_id)

    def read(**params: int) -> httpx2.Response:
        return api.get(f"/runs/{run_id}/outputs/output", params=params)

    whole = read()
    assert whole.content == b"<b>hello</b>\n"
    assert (whole.headers["X-Apsis-Size"], whole.headers["X-Apsis-Finished"]) == ("13", "true")
    assert read(offset=3, limit=5).content == b"hello"
    assert read(offset=-5).content == b"</b>\n"
    assert read(offset=13).content == b""
    assert read(offset=1 << 62).headers["X-Apsis-Size"] == "13"
    assert read(limit=0).content == b""


def test_a_browser_does_not_make_a_page_of_an_output(api: httpx2.Client, finished: Finished) -> None:
    run_id = schedule(api, "ops/hello")
    finished(run_id)
    headers = api.get(f"/runs/{run_id}/outputs/output").headers
    assert headers["content-type"] == "text/plain; charset=utf-8"
    assert headers["content-security-policy"] == "sandbox"
    assert headers["x-content-type-options"] == "nosniff"


def test_the_output_of_a_program_that_runs_is_there_and_not_finished(api: httpx2.Client) -> None:
    run_id = schedule(api, "ops/long")
    address = f"/runs/{run_id}/outputs/output"
    output = until("it has written", lambda: (r := api.get(address)).content and r)
    assert output.content == b"begun\n"
    assert output.headers["X-Apsis-Finished"] == "false"
    api.post(f"/runs/{run_id}/stop")


def test_an_output_larger_than_a_piece_is_whole(api: httpx2.Client, finished: Finished) -> None:
    command = "yes 0123456789abcde | head -c 3000000"
    (run,) = api.post("/runs", json={"job": {"program": command}}).json()["runs"]
    finished(run["run_id"])
    content = api.get(f"/runs/{run['run_id']}/outputs/output").content
    assert content == (b"0123456789abcde\n" * 187_500)


def test_an_output_of_another_name_is_not_found(api: httpx2.Client, finished: Finished) -> None:
    run_id = schedule(api, "ops/hello")
    finished(run_id)
    assert "chart.png" in problem(api.get(f"/runs/{run_id}/outputs/chart.png"), 404)


# -- the listing


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    """A server with 12 finished runs, 2 that failed, 2 of the future and one that is held."""
    with (
        serving(tmp_path_factory.mktemp("listed")) as served,
        served.client(base_url=f"{served.url}/api/v1") as api,
    ):
        api.post("/runs", json={"job_id": "ops/hello", "count": 10, "label": "many"})
        for day in ("2026-01-30", "2026-01-31"):
            api.post("/runs", json={"job_id": "sales/report", "args": {"date": day}})
        api.post("/runs", json={"job_id": "ops/fails", "count": 2})
        api.post("/runs", json={"job_id": "ops/hello", "count": 2, "at": "2099-01-01"})
        api.post("/runs", json={"job_id": "ops/held"})
        until("they end", lambda: len(found(api, state="success,failure")) == 14)
        until("one waits", lambda: found(api, state="waiting"))
        yield api


def found(api: httpx2.Client, **params: Any) -> list[dict[str, Any]]:
    runs: list[dict[str, Any]] = api.get("/runs", params=params).json()["runs"]
    return runs


def test_all_runs_are_listed_once_newest_first(listed: httpx2.Client) -> None:
    runs = found(listed)
    assert len(runs) == len({r["run_id"] for r in runs}) == 17
    keys = [(r["scheduled_at"], int(r["run_id"][1:])) for r in runs]
    assert [r["state"] for r in runs[:2]] == ["scheduled", "scheduled"]
    assert keys[:2] == sorted(keys[:2], reverse=True)
    assert not {"program", "meta"} & runs[0].keys()


@pytest.mark.parametrize("limit", [1, 2, 5, 16, 17])
def test_the_pages_of_the_listing_are_the_listing(listed: httpx2.Client, limit: int) -> None:
    pages, params = [], {"limit": limit}
    while True:
        answer = listed.get("/runs", params=params).json()
        pages += answer["runs"]
        assert len(answer["runs"]) <= limit
        if answer["next"] is None:
            break
        params["cursor"] = answer["next"]
    assert [r["run_id"] for r in pages] == [r["run_id"] for r in found(listed)]


@pytest.mark.parametrize(
    ("params", "count"),
    [
        ({"job_id": "ops/hello"}, 12),
        ({"job_id": "hello"}, 12),  # no job has this id, and only one fits
        ({"job_id": "nonsense"}, 0),
        ({"state": "failure"}, 2),
        ({"state": ["failure", "waiting"]}, 3),
        ({"state": "scheduled,waiting"}, 3),
        ({"label": "many"}, 10),
        ({"label": "daily"}, 2),
        ({"arg.date": "2026-01-31"}, 1),
        ({"arg.date": "2026-01-31", "arg.kind": "short"}, 1),
        ({"arg.date": "2026-01-31", "arg.kind": "long"}, 0),
        ({"since": "2099-01-01T00:00:00Z"}, 2),
        ({"until": "2099-01-01T00:00:00Z"}, 15),
        ({"since": "2020-01-01", "until": "2021-01-01"}, 0),
        ({"late": "true"}, 0),
        ({"late": "false"}, 17),
    ],
)
def test_runs_are_found(listed: httpx2.Client, params: dict[str, Any], count: int) -> None:
    assert len(found(listed, **params)) == count


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({"state": "done"}, "states are scheduled, waiting"),
        ({"since": "yesterday"}, "since: "),
        ({"cursor": "x"}, "cursor"),
        ({"cursor": "eA=="}, "cursor"),
        ({"limit": 0}, "limit"),
        ({"late": "perhaps"}, "late"),
    ],
)
def test_a_listing_that_cannot_be_is_told_why(
    listed: httpx2.Client, params: dict[str, Any], text: str
) -> None:
    assert text in problem(listed.get("/runs", params=params), 422)


def test_a_listing_of_words_that_several_jobs_have_names_them(listed: httpx2.Client) -> None:
    assert "ops/fails, ops/held, ops/hello" in problem(listed.get("/runs", params={"job_id": "ops"}), 409)


# -- history and SQL


def test_history_is_a_frame_in_arrow(listed: httpx2.Client) -> None:
    query = {"since": "2020-01-01", "until": "2100-01-01"}
    response = listed.get("/history/runs", params=query, headers={"Accept": ARROW})
    assert response.headers["content-type"] == ARROW
    assert read_arrow(response.content).num_rows == 17


def test_history_is_rows_in_json(listed: httpx2.Client) -> None:
    answer = listed.get("/history/counts", params={"by_job": "true", "job_id": ["ops/fails", "x"]}).json()
    assert {c["name"] for c in answer["columns"]} >= {"state", "runs"}
    assert [(r["job_id"], r["state"], r["runs"]) for r in answer["rows"]] == [("ops/fails", "failure", 2)]


def test_history_of_runs_is_chosen_as_the_listing_is(listed: httpx2.Client) -> None:
    for params in ({"arg.date": "2026-01-31"}, {"label": "daily", "limit": 1, "late": "false"}):
        assert len(listed.get("/history/runs", params=params).json()["rows"]) == 1


@pytest.mark.parametrize("name", sorted(FRAMES))
def test_every_named_question_is_answered(listed: httpx2.Client, name: str) -> None:
    response = listed.get(f"/history/{name}", headers={"Accept": ARROW})
    assert response.status_code == 200, response.text
    read_arrow(response.content)


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("nothing", 404, "there are runs"),
        ("counts?uint=day", 422, "no parameter 'uint'"),
        ("counts?unit=fortnight", 422, "fortnight"),
        ("counts?by_job=perhaps", 422, "by_job"),
        ("timeline?px=wide", 422, "px"),
        ("runs?limit=-1", 422, "limit"),
        ("runs?since=then", 422, "since"),
        ("runs?args=1", 422, "args"),
        ("drift?period=often", 422, "period"),
        ("drift?since=7d", 422, "no parameter 'since'"),
        ("concurrency?every=0.01", 422, "100,000 pieces"),
        ("cost?cpu_hour=dear", 422, "cpu_hour: must be a price"),
        ("cost?gb_hour=-1", 422, "gb_hour: must be a price"),
        ("missed?arg.date=1", 422, "arg.date"),
    ],
)
def test_a_question_that_cannot_be_is_told_why(
    listed: httpx2.Client, path: str, status: int, text: str
) -> None:
    assert text in problem(listed.get(f"/history/{path}"), status)


def test_sql_is_answered_in_json(listed: httpx2.Client) -> None:
    query = "SELECT job_id, count(*) AS n, sum(n) OVER () AS total FROM runs GROUP BY 1 ORDER BY 1 LIMIT 1"
    answer = listed.post("/sql", json={"query": query.replace("sum(n) OVER ()", "17")}).json()
    assert answer["rows"] == [{"job_id": "ops/fails", "n": 2, "total": 17}]
    assert answer["columns"][0] == {"name": "job_id", "type": "string"}


@pytest.mark.parametrize(
    ("query", "params"),
    [
        ("SELECT count(*) AS n FROM runs WHERE job_id = $job", {"job": "ops/fails"}),
        ("SELECT count(*) AS n FROM runs WHERE job_id = ?", ["ops/fails"]),
    ],
)
def test_sql_takes_parameters_and_answers_in_arrow(listed: httpx2.Client, query: str, params: Any) -> None:
    body = {"query": query, "params": params}
    response = listed.post("/sql", json=body, headers={"Accept": ARROW})
    assert response.headers["content-type"] == ARROW
    assert read_arrow(response.content).to_pylist() == [{"n": 2}]


@pytest.mark.parametrize(
    "query", ["DROP TABLE runs", "SELECT * FROM read_csv('/etc/passwd')", "SELECT 1; SELECT 2", "", "SELEC 1"]
)
def test_sql_that_is_no_question_is_refused_in_words(listed: httpx2.Client, query: str) -> None:
    problem(listed.post("/sql", json={"query": query}), 422)


def test_a_query_that_takes_too_long_is_stopped(tmp_path: Path) -> None:
    endless = "SELECT count(*) FROM range(10000000000) a, range(10000000000) b"
    with serving(tmp_path, **{"sql.max_time": "0.2s"}) as served, served.client() as client:
        response = client.post("/api/v1/sql", json={"query": endless})
        assert "stopped" in problem(response, 422)


def test_a_query_whose_asker_leaves_is_stopped(tmp_path: Path) -> None:
    endless = "SELECT count(*) FROM range(10000000000) a, range(10000000000) b"
    with serving(tmp_path, **{"sql.max_time": "600s", "sql.heavy": "1"}) as served:
        with served.client(timeout=0.5) as client, pytest.raises(httpx2.ReadTimeout):
            client.post("/api/v1/sql", json={"query": endless})
        with served.client(timeout=0.5) as client, pytest.raises(httpx2.ReadTimeout):
            client.post("/api/v1/sql", json={"query": endless})
        with served.client() as client:
            assert client.post("/api/v1/sql", json={"query": "SELECT 1 AS n"}).json()["rows"] == [{"n": 1}]


def test_of_long_answers_whose_askers_leave_nothing_is_left(tmp_path: Path) -> None:
    make_history(tmp_path / "state/runs.duckdb", 200_000, until=datetime.now(UTC), days=20)
    with serving(tmp_path) as served, served.client(base_url=f"{served.url}/api/v1") as client:
        cursors = [served.engine.store._readers._free, served.engine.store._boxed._free]
        free, tasks = [pool.qsize() for pool in cursors], len(asyncio.all_tasks(served.loop))
        runs = functools.partial(client.stream, "GET", "/history/runs", headers={"Accept": ARROW})
        sql = functools.partial(
            client.stream, "POST", "/sql", json={"query": "SELECT * FROM runs"}, headers={"Accept": ARROW}
        )
        gc.collect()
        held = pa.total_allocated_bytes()  # by tests before this one, of the same process
        for ask in (runs, sql) * 4:
            with ask() as response:
                assert response.status_code == 200
                assert next(response.iter_raw())
        until("the cursors are free", lambda: [pool.qsize() for pool in cursors] == free)
        until("all tasks have ended", lambda: len(asyncio.all_tasks(served.loop)) <= tasks + 1)
        # A server looks for cycles now and then; an asker who leaves at the wrong moment may leave one.
        until(
            "the memory is free", lambda: gc.collect() >= 0 and pa.total_allocated_bytes() < held + (1 << 20)
        )
        with runs() as response:
            assert read_arrow(response.read()).num_rows == 200_000


# -- what is not there, or too much


def test_everything_that_goes_wrong_is_a_problem_document(api: httpx2.Client) -> None:
    assert "nothing at /api/v1/nothing" in problem(api.get("/nothing"), 404)
    response = api.delete("/runs")
    assert "takes no DELETE" in problem(response, 405)
    assert "GET" in response.headers["allow"]
    problem(api.post("/runs", content=b"{", headers={"Content-Type": "application/json"}), 422)
    large = b'{"query": "SELECT 1 -- ' + b"x" * (1 << 20) + b'"}'
    for content in (large, iter([large])):  # the second does not say how large it is
        problem(api.post("/sql", content=content, headers={"Content-Type": "application/json"}), 413)


def test_every_answer_has_a_request_id_and_is_not_kept(api: httpx2.Client) -> None:
    first, second = api.get("/alive"), api.get("/nothing")
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    assert first.headers["cache-control"] == second.headers["cache-control"] == "no-store"


def test_an_error_of_ours_tells_the_client_nothing_and_the_log_all(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(tmp_path) as served, served.client() as client:

        @served.app.app.get("/api/v1/broken-on-purpose")
        async def broken() -> None:
            raise ZeroDivisionError("what only we may know")

        response = client.get("/api/v1/broken-on-purpose")
        assert "only we" not in response.text
        problem(response, 500)
        until("it is logged", lambda: "what only we may know" in caplog.text)
    (record,) = [r for r in caplog.records if "what only we may know" in (r.exc_text or "")]
    assert response.headers["x-request-id"] in record.getMessage()


# -- reload


def test_a_reload_takes_up_what_changed_and_loses_no_working_job(tmp_path: Path) -> None:
    with serving(tmp_path) as served, served.client(base_url=f"{served.url}/api/v1") as api:
        jobs = served.config.jobs
        (jobs / "ops/new.yaml").write_text("program: 'true'\n")
        (jobs / "ops/hello.yaml").write_text("program: [echo, hi]\n")
        dry = api.post("/jobs/reload", params={"dry_run": "true"}).json()
        assert (dry["added"], dry["changed"], dry["applied"]) == (["ops/new"], ["ops/hello"], False)
        assert api.get("/jobs/ops/new").status_code == 404

        assert api.post("/jobs/reload").json()["applied"] is True
        assert api.get("/jobs/ops/new").json()["job_id"] == "ops/new"

        (jobs / "ops/new.yaml").write_text("progam: 'true'\n")
        assert api.post("/jobs/reload").json()["applied"] is False
        assert api.get("/jobs/ops/new").status_code == 200
        assert api.post("/jobs/reload", params={"force": "true"}).json()["applied"] is True
        assert "progam" in problem(api.get("/jobs/ops/new"), 404)


def test_counts_of_what_comes_follow_the_jobs(tmp_path: Path) -> None:
    with serving(tmp_path) as served, served.client(base_url=f"{served.url}/api/v1") as api:
        window = {"since": "2030-01-01T00:00:00Z", "until": "2030-01-03T00:00:00Z", "every": "1d"}

        def counts(**more: str) -> list[tuple[str, int]]:
            found = api.get("/expected/counts", params=window | more).json()["counts"]
            return [(c["job_id"], c["runs"]) for c in found]

        before = counts()
        assert before == [("ops/daily", 1)] * 2 == counts()
        file = served.config.jobs / "ops/often.yaml"
        file.write_text("schedule: {type: interval, interval: 6h}\nprogram: 'true'\n")
        assert counts() == before, "nobody has read it yet"
        assert api.post("/jobs/reload").json()["applied"] is True
        assert counts() == [*before, *[("ops/often", 4)] * 2] == counts()
        assert counts(job_id="ops/often", every="2d") == [("ops/often", 8)]
        hours = counts(job_id="ops/often", since="+1h", until="+7h", every="6h")
        assert hours == [("ops/often", 1)], "both ends count from one moment: six hours are one piece"
        for day in range(1, 2 + jobs.MOST_KEPT):  # more questions than are kept
            assert counts(until=f"2030-01-{day:02}T06:00:00Z")[-1] == ("ops/often", 1)
        file.unlink()
        assert api.post("/jobs/reload").json()["applied"] is True
        assert counts() == before


def test_of_answers_only_some_short_ones_are_kept_until_the_jobs_change() -> None:
    now: dict[str, Any] = {}
    kept, made = jobs.UntilJobsChange(lambda: now), []

    def ask(question: int, size: int = 1) -> bytes:
        def make() -> bytes:
            made.append(question)
            return bytes([question]) * size

        return kept.ask(question, make)

    many = range(jobs.MOST_KEPT)
    assert [ask(n) for n in (*many, *many)] == [bytes([n]) for n in (*many, *many)]
    assert made == [*many]
    ask(0)
    ask(jobs.MOST_KEPT)  # one too many: that which was asked for longest ago goes
    ask(0)
    ask(1)
    assert made[len(many) :] == [jobs.MOST_KEPT, 1]

    made.clear()
    for _ in range(2):
        assert len(ask(99, jobs.MOST_KEPT_B + 1)) == jobs.MOST_KEPT_B + 1
    assert made == [99, 99]
    now = {}
    ask(0)
    assert made[2:] == [0]


def test_a_job_file_is_read_and_written_under_its_tag(tmp_path: Path) -> None:
    with serving(tmp_path) as served, served.client(base_url=f"{served.url}/api/v1") as api:
        read = api.get("/yaml/ops/hello")
        assert read.text == (served.config.jobs / "ops/hello.yaml").read_text()
        tag = read.headers["etag"]
        text = "# new\n" + read.text
        assert problem(api.put("/yaml/ops/hello", content=text), 428)
        written = api.put("/yaml/ops/hello", content=text, headers={"If-Match": tag})
        assert written.status_code == 200
        assert api.get("/yaml/ops/hello").headers["etag"] == written.headers["etag"] != tag
        assert "somebody else" in problem(
            api.put("/yaml/ops/hello", content=text, headers={"If-Match": tag}), 412
        )
        wrong = api.put("/yaml/ops/more", content="progam: x\n", headers={"If-None-Match": "*"})
        assert (wrong.status_code, wrong.json()["errors"][0]["line"]) == (422, 1)
        new = api.put("/yaml/ops/more", content="program: 'true'\n", headers={"If-None-Match": "*"})
        assert new.status_code == 200
        assert api.get("/jobs/ops/more").status_code == 200
        versions = api.get("/versions/ops/hello").json()["versions"]
        assert [(v["version"], v["by"] is None, v["yaml"]) for v in versions] == [
            (1, True, read.text),
            (2, False, text),
        ]
        assert problem(api.get("/versions/nowhere"), 404)
        assert problem(api.get("/yaml/nowhere"), 404)
        assert problem(api.put("/yaml/../x", content="a", headers={"If-None-Match": "*"}), 404)


def test_a_single_key_of_a_job_file_is_changed_under_its_tag(tmp_path: Path) -> None:
    with serving(tmp_path) as served, served.client(base_url=f"{served.url}/api/v1") as api:
        file = served.config.jobs / "ops/hello.yaml"
        file.write_text("# ours\nprogram: 'true'   # nothing\n")
        tag = {"If-Match": api.get("/yaml/ops/hello").headers["etag"]}
        assert problem(api.patch("/yaml/ops/hello", json={"program": "false"}), 428)
        done = api.patch("/yaml/ops/hello", json={"program": "sleep 1", "late.start": "5m"}, headers=tag)
        text = '# ours\nprogram: sleep 1   # nothing\nlate:\n  start: "5m"\n'
        assert (done.status_code, done.json()) == (200, {"job_id": "ops/hello", "yaml": text})
        assert file.read_text() == text
        assert api.get("/jobs/ops/hello").json()["late"] == {"start": 300.0}
        assert "somebody else" in problem(api.patch("/yaml/ops/hello", json={"late": None}, headers=tag), 412)
        tag = {"If-Match": done.headers["etag"]}
        assert problem(api.patch("/yaml/ops/hello", json={}, headers=tag), 422)
        wrong = api.patch("/yaml/ops/hello", json={"late.begin": "5m"}, headers=tag)
        assert (wrong.status_code, wrong.json()["errors"][0]["line"]) == (422, 5)
        assert "'start' does not stand in a mapping" in problem(
            api.patch("/yaml/ops/hello", json={"program.start": 1}, headers=tag), 422
        )
        assert problem(api.patch("/yaml/nowhere", json={"late": None}, headers=tag), 404)
        assert file.read_text() == text


def test_a_text_that_comes_over_the_network_names_no_code_but_what_the_folder_names(tmp_path: Path) -> None:
    held = "condition: {type: own_of_test.Held, why: not yet}"
    write_jobs(tmp_path / "jobs", {"ops/own": f"program: {{type: own_of_test.Own, n: 1}}\n{held}"})
    (tmp_path / "jobs/own_of_test.py").write_text(
        "from apsis_nb.program import Program\n\n\nclass Own(Program):\n    def __init__(self, n):\n"
        "        self.n = n\n\n    def run(self, run):\n        return self.n\n\n\n"
        "from apsis_nb.condition import Condition\n\n\nclass Held(Condition):\n"
        "    def __init__(self, why):\n        self.why = why\n\n"
        "    def check(self, run):\n        return run.attempt > 1 or self.why\n"
    )
    new = {"If-None-Match": "*"}
    with serving(tmp_path) as served, served.client(base_url=f"{served.url}/api/v1") as api:
        for kind in ("antigravity.Program", "own_of_test.Program"):
            for text in (f"program: {{type: {kind}}}\n", f"program: x\ncondition: {{type: {kind}}}\n"):
                refused = problem(api.put("/yaml/ops/bad", content=text, headers=new), 422)
                assert f"'{kind}' is code of the server, which no file of its job folder names yet" in refused
                checked = api.post("/jobs/check", json={"job_id": "ops/bad", "yaml": text}).json()
                assert "names yet" in checked["errors"][0]["message"]
        text = (
            "program: {type: own_of_test.Own, n: 2}\n"
            "condition: {type: own_of_test.Held, why: 'it is {{ job_id }}'}\n"
        )
        assert api.put("/yaml/ops/good", content=text, headers=new).status_code == 200
        (run,) = api.post("/runs", json={"job_id": "ops/good"}).json()["runs"]
        said = "waiting for own_of_test.Held(why=it is ops/good): it is ops/good"
        until("it is told why", lambda: said in api.get(f"/runs/{run['run_id']}/why").text)
        api.post(f"/runs/{run['run_id']}/start")
        ended = until("it ends", lambda: _ended(api, run["run_id"]))
        assert (ended["state"], ended["program"]) == ("success", {"type": "own_of_test.Own", "n": 2})
        assert api.get(f"/runs/{run['run_id']}/outputs/result.json").json() == 2
        (rerun,) = api.post(f"/runs/{run['run_id']}/rerun").json()["runs"]
        assert until("it ends", lambda: _ended(api, rerun["run_id"]))["state"] == "success"


def _ended(api: httpx2.Client, run_id: str) -> dict[str, Any] | None:
    facts = api.get(f"/runs/{run_id}").json()
    return facts if facts["finished_at"] else None


def test_a_preview_tells_what_a_text_would_change(tmp_path: Path) -> None:
    with serving(tmp_path) as served, served.client(base_url=f"{served.url}/api/v1") as api:
        text = "program: 'true'\nschedule: {type: interval, interval: 1d}\n"
        told = api.post("/jobs/preview", json={"job_id": "fresh", "yaml": text}).json()
        assert (len(told["added"]), told["removed"], told["ran"]) == (7, [], [])
        assert (told["added_count"], told["removed_count"]) == (7, 0)
        assert told["added"][0]["at"].endswith("T00:00:00Z")
        assert problem(api.post("/jobs/preview", json={"job_id": "fresh", "yaml": "a: ["}), 422)


def test_a_job_that_comes_with_a_request_may_look_the_server_over(api: httpx2.Client) -> None:
    (run,) = api.post("/runs", json={"job": {"program": {"type": "doctor"}}}).json()["runs"]
    ended = until("it ends", lambda: (r := api.get(f"/runs/{run['run_id']}").json())["finished_at"] and r)
    assert ended["state"] == "failure"  # one of the job files is broken
    found = api.get(f"/runs/{run['run_id']}/outputs/result.json").json()
    assert "broken" in [finding["kind"] for finding in found]


@pytest.mark.parametrize("what", ["jobs", "runs", "run"])
def test_who_has_an_answer_already_is_told_only_that_it_is_still_right(
    api: httpx2.Client, finished: Callable[[str], dict[str, Any]], what: str
) -> None:
    run_id = schedule(api, "ops/hello")
    finished(run_id)
    path = {"jobs": "/jobs?q=ops", "runs": "/runs?state=success", "run": f"/runs/{run_id}"}[what]
    first = api.get(path)

    again = api.get(path, headers={"If-None-Match": f'"other", {first.headers["ETag"]}'})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]

    other = api.get(path, headers={"If-None-Match": '"other"'})
    assert (other.status_code, other.json()) == (200, first.json())


def test_the_tag_of_a_run_changes_as_it_moves(api: httpx2.Client) -> None:
    (made,) = api.post("/runs", json={"job_id": "ops/held"}).json()["runs"]
    tag = api.get(f"/runs/{made['run_id']}").headers["ETag"]
    api.post(f"/runs/{made['run_id']}/skip").raise_for_status()

    after = api.get(f"/runs/{made['run_id']}", headers={"If-None-Match": tag})

    assert (after.status_code, after.json()["state"]) == (200, "skipped")
