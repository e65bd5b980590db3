"""The page of a run: what it offers in each state, and what it says."""

from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from apsis_nb.core.states import State
from apsis_nb.views.run_actions import actions_html
from apsis_nb.views.run_html import (
    absent_html,
    details_html,
    family_html,
    head_html,
    life_html,
    log_html,
    others_html,
    program_html,
    resources_html,
    why_html,
)
from apsis_nb.views.run_page import family_of, waiting_for
from tests.views.test_markup import Tags

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def facts_of(state="success", **more):
    """The facts of a run, as the server tells them."""
    started = state not in {"scheduled", "waiting", "starting", "skipped"}
    ended = State(state).is_finished
    times = {
        "nominal_at": "2026-11-23T11:00:00Z",
        "scheduled_at": "2026-11-23T11:00:00Z",
        "started_at": "2026-11-23T11:00:30Z" if started else None,
        "finished_at": "2026-11-23T11:02:00Z" if ended else None,
    }
    nothing = dict.fromkeys(
        [
            "rerun_of",
            "backfill_id",
            "skip_reason",
            "stop_at",
            "late_why",
            "message",
            "by",
            "elapsed_s",
            "return_code",
        ]
    )
    return {
        **nothing,
        **times,
        "run_id": "r7",
        "job_id": "team/report",
        "args": {"date": "2026-11-23"},
        "origin": "schedule",
        "attempt": 1,
        "state": state,
        "labels": ["daily"],
        "late": False,
        "late_s": 30.0,
        "host": "local",
        "program": {"type": "shell", "command": "echo hello"},
        **more,
    }


@pytest.mark.parametrize(
    ("state", "offered"),
    [
        ("scheduled", ["start", "skip"]), ("waiting", ["start", "skip"]), ("starting", ["stop"]),
        ("running", ["stop", "signal"]), ("stopping", ["signal"]), ("success", ["rerun", "mark"]),
        ("failure", ["rerun", "mark"]), ("error", ["rerun", "mark"]), ("skipped", ["rerun", "mark"]),
    ],
)  # fmt: skip
def test_a_state_offers_what_can_be_done_in_it(state, offered):
    buttons, templates = actions_html(facts_of(state))

    assert [f'data-action="{action}"' in buttons for action in offered] == [True] * len(offered)
    assert buttons.count("<button") == len(offered)
    assert templates.count("<template") == len(offered)


def test_stop_says_what_will_happen():
    program = {"type": "shell", "command": "x", "stop": {"signal": "SIGINT", "grace_period": 5.0}}
    _, said = actions_html(facts_of("running", program=program))

    assert "SIGINT" in said
    assert "5.0 s" in said


def test_start_says_what_the_run_waits_for():
    _, said = actions_html(facts_of("waiting", message="waiting for <b>x</b>"))

    assert "waiting for &lt;b&gt;x" in said


def test_who_only_looks_is_told_why_the_buttons_are_off():
    buttons, _ = actions_html(facts_of("failure"), role="read")

    assert buttons.count(" disabled") == 2
    assert "role run" in Tags(buttons).words
    assert " disabled" not in actions_html(facts_of("failure"), role="run")[0]


def test_run_again_asks_for_each_arg():
    _, said = actions_html(facts_of(args={"date": "2026-11-23", 'q"': '">'}))

    assert 'name="arg:date" value="2026-11-23"' in said
    assert 'name="arg:q&quot;" value="&quot;&gt;"' in said


@pytest.mark.parametrize("state", [s.value for s in State])
def test_every_state_has_a_page(state):
    facts = facts_of(state)

    page = head_html(facts, pd.DataFrame(), NOW) + details_html(facts) + program_html(facts)
    assert state in Tags(page).words


def test_nothing_from_outside_is_markup():
    evil = "<script>alert(1)</script>"
    facts = facts_of(
        "failure", job_id=evil, args={evil: evil}, labels=[evil], message=evil, late_why=evil, late=True
    )
    facts |= {
        "by": evil,
        "host": evil,
        "program": {"type": evil, "argv": [evil], "env": {evil: evil}, "cwd": evil},
    }
    log = pd.DataFrame({"ts": [pd.Timestamp(NOW)], "state": ["failure"], "message": [evil]})
    job = {
        "params": {evil: {"type": "str", "choices": [evil], "description": evil}},
        "late": {"finish_by": evil},
    }
    cause = {"kind": evil, "text": evil, "depth": 0, "run_id": evil, "output": evil}

    page = head_html(facts, pd.DataFrame(), NOW, job, "run") + details_html(facts, job) + program_html(facts)
    page += log_html(log) + why_html([cause])
    page += resources_html({"cpu_s": 1.0, "detail": {evil: [evil]}, "meta": {evil: [evil, {evil: evil}]}})
    assert "script" not in Tags(page).tags


def test_the_life_of_a_run_is_in_proportion():
    assert 'aria-label="waited 30 s, ran 1 m 30 s"' in life_html(facts_of(), NOW)
    assert "width:25.00%" in life_html(facts_of(), NOW)


def test_a_run_that_is_not_due_has_no_life_yet():
    assert life_html(facts_of("scheduled"), NOW - timedelta(hours=2)) == ""


def test_the_log_shows_how_long_each_step_took():
    at = pd.to_datetime(["2026-11-23T11:00:00Z", "2026-11-23T11:00:30Z"])
    log = pd.DataFrame({"ts": at, "state": ["waiting", "running"], "message": ["for x", None]})

    assert "+30 s" in log_html(log)
    assert "for x" in log_html(log)


def test_the_last_runs_stand_oldest_first():
    others = pd.DataFrame(
        {"run_id": [9, 7, 5], "state": ["failure", "success", "success"], "elapsed_s": [1.0, 2.0, None]}
    )
    page = others_html(others, facts_of(elapsed_s=2.0))

    assert page.index("r5: ") < page.index("r7: ") < page.index("r9: ")
    assert 'class="col here"' in page


def test_a_run_among_the_last_ones_is_as_its_page_says():
    before = pd.DataFrame({"run_id": [7, 5], "state": ["running", "success"], "elapsed_s": [3.0, 2.0]})
    page = others_html(before, facts_of("failure", elapsed_s=4.0))

    assert "r7: failure, 4.0 s" in page
    assert "running" not in page


def test_a_cause_does_not_name_the_run_on_its_own_page():
    facts = facts_of("waiting", args={"date": "2026-11-23", "a": "1"})
    text = "r7 team/report(a=1, date=2026-11-23): waiting for team/load(date=2026-11-23)"
    cause = {"kind": "waiting", "text": text, "depth": 0, "output": None}
    skipped = cause | {"text": "r7 team/report(a=1, date=2026-11-23) was skipped: busy"}

    assert "<p>waiting for team/load" in why_html([cause], facts)
    assert "<p>it was skipped: busy" in why_html([skipped], facts)
    assert "team/report" in why_html([cause])


def test_the_times_of_a_program_are_durations():
    program = {"type": "argv", "argv": ["a"], "timeout": {"duration": 180.0}, "env": {"duration": "7"}}
    page = Tags(program_html(facts_of(program=program))).words

    assert "duration=3 m 00 s" in page
    assert "duration=7" in page


@pytest.mark.parametrize(
    ("name", "words"), [("", "No run is named"), ("x1", "no run id"), ("r99", "no run r99")]
)
def test_a_run_that_is_not_there_is_told_in_words(name, words):
    assert words in Tags(absent_html(name)).words


def test_what_is_asked_for_is_never_markup():
    assert Tags(absent_html("<script>")).tags.count("script") == 0


def test_the_attempts_stand_in_their_order_and_this_one_is_marked():
    rows = [
        {"run_id": n, "origin": origin, "attempt": n, "state": state, "elapsed_s": 1.0}
        | {"scheduled_at": NOW, "finished_at": NOW}
        for n, origin, state in [(1, "schedule", "failure"), (2, "retry", "success")]
    ]
    page = family_html(rows, "r2")

    assert page.index("r1") < page.index("r2")
    assert page.count('aria-current="true"') == 1
    assert "attempt 2" in Tags(page).words
    assert family_html(rows[:1], "r1") == ""


# ---- What stands around a run, from a real server ----


def test_the_attempts_of_a_run_are_one_family_from_whichever_one_looks(client):
    first = client.schedule("asked/tries").wait(30)
    (second,) = (r for r in client.list_runs(job="asked/tries") if r["rerun_of"] == first.run_id)
    client.run(second["run_id"]).wait(30)

    for name in (first.run_id, second["run_id"]):
        family = family_of(client, client.run(name).facts)
        assert [f"r{row['run_id']}" for row in family] == [first.run_id, second["run_id"]]


def test_what_waits_for_a_run_is_found(client):
    run = client.schedule("asked/tries").wait(30)
    waits = client.schedule("asked/depends")
    jobs = {facts["job_id"]: facts for facts in client.jobs.find()}

    waiters, dependents = waiting_for(client, jobs, run.facts)

    assert dependents == ["asked/depends"]
    assert waits.run_id in [waiter["run_id"] for waiter in waiters]
    waits.skip("enough was seen")
    assert client.run(waits.run_id).facts["skip_reason"] == "enough was seen"
    assert waiting_for(client, jobs, waits.facts) == ([], [])
