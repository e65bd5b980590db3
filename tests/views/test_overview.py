"""The overview: when what runs will end, what is held back and by whom, what is not well."""

from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from apsis_nb.views.held_html import held_html
from apsis_nb.views.overview import do, made_again, untold, usual_of, with_held
from apsis_nb.views.overview_html import (
    MOST_FINDINGS,
    failed_html,
    following_html,
    health_html,
    running_html,
    untold_html,
)
from tests.views.test_markup import Tags

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
EVIL = "<script>alert(1)</script>"
USUAL = {"a": {"p50_s": 60.0, "p95_s": 120.0, "runs": 30}}


def running(since_s: float, **more):
    run = {"run_id": "r1", "job_id": "a", "args": {}, "labels": [], "attempt": 1, "state": "running"}
    return run | {"started_at": NOW - timedelta(seconds=since_s)} | more


@pytest.mark.parametrize(
    ("since_s", "words"),
    [(10, "2026-11-30 12:00:50 UTC"), (90, "by 2026-11-30 12:00:30"), (200, "longer than")],
)
def test_a_run_will_end_when_the_last_ones_say(since_s, words):
    assert words in Tags(running_html([running(since_s)], USUAL, NOW)).words


def test_without_a_success_nobody_knows_when_it_ends():
    assert "unknown" in Tags(running_html([running(10)], {}, NOW)).words


def test_a_further_attempt_is_told():
    assert "attempt 2" in Tags(running_html([running(1, attempt=2)], {}, NOW)).words
    assert "attempt" not in Tags(running_html([running(1)], {}, NOW)).words


def finding(level="warning", **more):
    about = {"kind": "late", "level": level, "subject": "a", "message": "is late", "fix": "look at it"}
    return about | {"is_mendable": False} | more


def test_health_tells_the_worst_first_and_what_to_do():
    many = [finding("error", subject="r12", is_mendable=True), *[finding()] * 9]
    page = health_html(many, may_mend=True)

    assert 'href="run?id=r12"' in page
    assert "look at it" in Tags(page).words
    assert f"{10 - MOST_FINDINGS} more" in Tags(page).words
    assert 'data-action="mend"' in page
    assert 'data-action="mend"' not in health_html(many, may_mend=False)
    assert "Nothing is wrong" in health_html([], may_mend=True)


def test_a_pause_says_what_its_end_means():
    pause = {"scope": "path", "target": "team", "since": NOW, "until": None, "reason": "a move", "by": "ann"}
    page = held_html([pause | {"held": 3}], [], may_run=True, may_write=True)

    assert "until somebody resumes it" in Tags(page).words
    assert "<b>3 runs</b>" in page
    assert 'data-value="path:team"' in page
    assert "disabled" in held_html([pause | {"held": 3}], [], may_run=True, may_write=False)


def test_what_comes_next_says_what_is_paused():
    at = pd.to_datetime(["2026-11-30T12:00Z", "2026-11-30T13:00Z"])
    coming = pd.DataFrame({"job_id": ["team/a", "a"], "scheduled_at": at})
    pause = {"scope": "path", "target": "team", "until": None}
    page = following_html(coming, [pause])

    assert page.index("team/") < page.index("paused") < page.index("13:00")
    assert "paused" not in following_html(coming, [pause | {"until": "2026-11-30T11:00Z"}])


def backfill(**more):
    counts = {"runs": 10, "left": 0, "running": 0, "success": 0, "failed": 0, "skipped": 0}
    return {"backfill_id": "r9", "job_id": "a", "by": None, "first_at": NOW, "last_at": NOW} | counts | more


@pytest.mark.parametrize(
    ("facts", "action"),
    [
        (backfill(left=4, running=1, success=5), "stop-0"),
        (backfill(running=1, success=9), None),
        (backfill(failed=3, success=7), "goon-0"),
        (backfill(success=10), None),
    ],
)
def test_a_backfill_offers_what_can_be_done(facts, action):
    page = held_html([], [facts], may_run=True, may_write=False)

    assert page.count("<button") == (action is not None)
    assert action is None or f'data-action="{action}"' in page


def test_nothing_from_outside_is_markup():
    pause = {
        "scope": "job",
        "target": EVIL,
        "since": NOW,
        "until": NOW,
        "reason": EVIL,
        "by": EVIL,
        "held": 1,
    }
    told = {"run_id": 1, "ts": NOW, "event": EVIL, "state": EVIL, "message": EVIL}
    run = running(1, job_id=EVIL, args={EVIL: EVIL}, labels=[EVIL])
    page = held_html([pause], [backfill(job_id=EVIL, by=EVIL, left=1)], may_run=True, may_write=True)
    page += untold_html([told]) + running_html([run], {}, NOW)
    page += health_html([finding(EVIL, kind=EVIL, subject=EVIL, message=EVIL, fix=EVIL)], may_mend=True)

    assert "script" not in Tags(page).tags


def test_what_is_held_back_goes_on_from_here(client):
    pause = client.pause("quiet/daily", reason="a look")
    assert with_held(client, [pause, pause]) == [{**pause, "held": 0}] * 2
    assert with_held(client, []) == []

    assert "go on" in do(client, "resume-0", "job:quiet/daily")
    assert client.list_pauses() == []


def test_each_pause_counts_what_it_has_held_back(client):
    before = "2020-01-01T00:00:00Z"
    client.pause("busy/ticks")
    try:
        for event in client.events(("run",)):
            if event.facts.get("job_id") == "busy/ticks" and event.facts.get("state") == "skipped":
                break
    finally:
        client.resume("busy/ticks")
    (held,) = client.sql(
        "SELECT count(*) AS n FROM missed WHERE job_id = 'busy/ticks' AND starts_with(skip_reason, 'paused')"
    )["n"]
    pauses = [
        {"scope": "path", "target": "heard", "since": before},
        {"scope": "job", "target": "busy/ticks", "since": before},
        {"scope": "path", "target": "busy", "since": before},
        {"scope": "path", "target": "bus", "since": before},
        {"scope": "all", "target": "", "since": before},
        {"scope": "all", "target": "", "since": "2100-01-01T00:00:00Z"},
    ]
    assert held > 0
    assert [pause["held"] for pause in with_held(client, pauses)] == [0, held, held, 0, held, 0]


def test_a_backfill_is_stopped_and_goes_on_from_here(client):
    made = client.jobs["asked/sleeps"].backfill([{"name": name} for name in "abcd"])

    assert "starts nothing more" in do(client, "stop-0", made.backfill_id)
    assert made.wait(60, progress=False).facts["skipped"] >= 3
    assert "goes on" in do(client, "goon-0", made.backfill_id)
    assert made.facts["left"] > 0
    do(client, "stop-0", made.backfill_id)
    assert usual_of(client).keys() <= {"asked/sleeps"}


def test_an_action_that_failed_is_told(client):
    run = client.schedule("acts/wrongly").wait(30)

    (told,) = [row for row in untold(client) if f"r{row['run_id']}" == run.run_id]
    assert told["event"] == "action"
    assert "gone" in told["message"]


def test_a_failure_that_was_run_again_says_so(client):
    failed = client.schedule("heard/fails").wait(30)
    since = datetime.now(UTC) - timedelta(days=1)
    assert made_again(client, [failed.run_id], since) == {}

    failed.rerun().wait(30)
    last = failed.rerun().wait(30)
    assert made_again(client, [failed.run_id], since) == {failed.run_id: (last.run_id, "failure")}
    page = failed_html([failed.facts], {failed.run_id: (last.run_id, "failure")})
    assert f"run again as {last.run_id} (failure)" in Tags(page).words


def test_a_finding_leads_to_its_job():
    assert 'href="job?id=a"' in health_html([finding()], may_mend=False, jobs={"a"})
    assert "href" not in health_html([finding()], may_mend=False)
