"""What is done with jobs from their pages: against a real server."""

import json

import pytest

from apsis_nb.client import ServerEvent
from apsis_nb.core.errors import ApsisError
from apsis_nb.views import adhoc, job_acts, strips
from apsis_nb.views.catalogue import Catalogue
from apsis_nb.views.difference import difference_html
from apsis_nb.views.finder import find
from apsis_nb.views.job_page import begin_backfill, plan_backfill, told_of
from apsis_nb.views.live import Feed
from tests.server.conftest import until


@pytest.fixture(scope="module")
def catalogue(server):
    feed = Feed(server.client())
    yield Catalogue(server.client(), feed)
    feed.close()


def test_several_are_paused_and_resumed_and_what_fails_is_named(client, catalogue):
    jobs = ["quiet/daily", "heard/fails"]
    assert job_acts.pause(client, jobs, {"until": "+8h", "reason": "a test"}) == "2 jobs are paused."
    until("the pause is known", lambda: catalogue.look().pause_of("quiet/daily"))
    pauses = job_acts.pauses_over(catalogue.look(), jobs)
    asked = job_acts.resume_question(client, pauses)
    assert "a test" in asked
    assert "Next comes <b>quiet/daily</b>" in asked

    assert job_acts.resume(client, pauses) == "2 jobs are resumed."
    with pytest.raises(ApsisError, match=r"^1 of 2 could not be paused. no/such: there is no job"):
        job_acts.pause(client, ["quiet/daily", "no/such"], {})
    client.resume("quiet/daily")


def test_a_schedule_is_disabled_in_the_file_and_enabled_again(client, catalogue):
    before, _ = client.yaml("quiet/daily")
    job_acts.enable(client, ["quiet/daily"], enable=False)
    assert client.jobs["quiet/daily"].facts["schedule"][0]["enabled"] is False
    until("it is known", lambda: not job_acts.can_be_disabled(catalogue.look().jobs["quiet/daily"]))
    job_acts.enable(client, ["quiet/daily"], enable=True)
    assert client.yaml("quiet/daily")[0] == before


def test_of_a_list_of_schedules_only_what_is_to_change_is_changed():
    source = "schedule:\n- {type: interval, interval: 1}\n- {type: interval, interval: 2, enabled: false}\n"
    assert job_acts.enabling(source, enable=False) == {"schedule.0.enabled": False}
    assert job_acts.enabling(source, enable=True) == {"schedule.1.enabled": None}
    assert job_acts.enabling("program: {type: no-op}\n", enable=False) == {}


def test_search_finds_runs_jobs_and_labels(client, catalogue):
    run = client.schedule("asked/prints", label="found-by-label").wait(30)
    (found,) = find(client, catalogue, run.run_id)
    assert (found["kind"], found["detail"]) == ("run", "asked/prints, success")
    assert [item["title"] for item in find(client, catalogue, "prints")] == ["asked/prints"]
    kinds = {(item["kind"], item["title"]) for item in find(client, catalogue, "short")}
    assert kinds == {("job", "asked/prints"), ("label", "short")}
    (label,) = find(client, catalogue, "found-by")
    assert label["detail"] == "label of 1 run in 30 days"
    assert find(client, catalogue, "r999999999") == []
    assert find(client, catalogue, "'%") == []


def test_a_form_becomes_the_request_that_it_says(client, catalogue):
    form = {"kind": "job", "job": "asked/prints", "args": {"name": "form"}, "at": "+1h"}
    form |= {"labels": "one, two ,"}
    plan = client.plan_run(adhoc.request_of(form))
    assert plan["args"] == {"name": "form"}
    assert plan["labels"] == ["short", "one", "two"]

    command = {"kind": "command", "command": "echo {{ as it is }}"}
    run = client.request_runs(adhoc.request_of(command))[0].wait(30)
    assert run.output() == "{{ as it is }}\n"
    assert client.request_runs(adhoc.request_of({"kind": "nothing"}))[0].wait(30).state == "success"


def test_the_last_runs_come_oldest_first(client):
    runs = [client.schedule("asked/prints", name="strip").wait(30) for _ in range(2)]
    found = strips.last_runs(client, ["asked/prints", "no/such"])
    assert [f"r{run['run_id']}" for run in found["asked/prints"]][-2:] == [run.run_id for run in runs]
    assert found["no/such"] == []
    assert "success" in strips.strip_svg(found["asked/prints"])


def test_of_the_last_runs_only_those_that_changed_are_asked_for_again(client):
    jobs = ["asked/prints", "asked/fails"]
    first = client.schedule("asked/prints", name="kept").wait(30)
    kept = strips.LastRuns()
    assert kept.ask(client, jobs) == strips.last_runs(client, jobs)

    done = [client.schedule(job).wait(30) for job in ("asked/fails", "asked/prints")]
    for run in done:
        kept.hear(ServerEvent("run", {"job_id": run.job_id, "scheduled_at": run.facts["scheduled_at"]}))
    found = kept.ask(client, jobs)
    assert found == strips.last_runs(client, jobs)
    assert f"r{found['asked/prints'][-1]['run_id']}" == done[1].run_id

    # A run of before is another now: whoever hears of it has it, whoever does not asks for all in the end.
    first.mark("failure")
    late = client.schedule("asked/prints").wait(30)
    kept.hear(ServerEvent("run", {"job_id": late.job_id, "scheduled_at": late.facts["scheduled_at"]}))
    assert kept.ask(client, jobs) != strips.last_runs(client, jobs)
    kept.hear(ServerEvent("run", {"job_id": first.job_id, "scheduled_at": first.facts["scheduled_at"]}))
    assert kept.ask(client, jobs) == strips.last_runs(client, jobs)
    for forget in (kept.forget, lambda: kept.hear(ServerEvent("run", {})), lambda: None):
        assert kept.ask(client, [*jobs, "quiet/daily"]) == strips.last_runs(client, [*jobs, "quiet/daily"])
        forget()


def test_a_backfill_is_planned_begun_and_told(client, catalogue):
    wish = {"start": "2026-01-01", "stop": "2026-01-02", "only_missing": True}
    plan = plan_backfill(client, "quiet/daily", wish)
    assert len(plan["instances"]) == 8
    wish |= {"stop": "2026-01-01", "max_running": 2, "actions": False}
    ident = begin_backfill(client, "quiet/daily", json.dumps(wish))
    client.backfill(ident).wait(60, progress=False)
    told = told_of(client, catalogue.look(), "quiet/daily")
    assert (told.backfills[0]["backfill_id"], told.backfills[0]["success"]) == (ident, 4)
    assert told.next
    assert told.yaml is not None


def test_of_a_job_that_is_not_there_nothing_is_told(client, catalogue):
    for job_id in ("no/such", "../etc/passwd", "adhoc-1234", "<b>"):
        told = told_of(client, catalogue.look(), job_id)
        assert (told.facts, told.yaml, told.ran) == (None, None, False)


def test_a_difference_names_the_lines_and_is_escaped():
    html = difference_html("a: 1\nb: <x>\n", "a: 2\nb: <x>\n")
    assert "<del>-a: 1</del>" in html
    assert "<ins>+a: 2</ins>" in html
    assert "&lt;x&gt;" in html
    assert difference_html("a: 1\n", "a: 1\n") == ""
