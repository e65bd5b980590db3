"""What a reader does with runs that are late or were missed: each run by itself, and refusals are told."""

import re

import pytest

from apsis_nb.core.states import State
from apsis_nb.views.late_page import ACTIONS
from apsis_nb.views.late_runs import budget_of
from apsis_nb.views.many_runs import Done, actions_html, carry_out, done_html, kind_of, picked_of


@pytest.fixture
def held(client):
    """Runs that wait for their time, far ahead."""
    made = [client.schedule("marked/shows", at="+1d", name=f"held-{n}") for n in range(3)]
    yield made
    for run in made:
        if run.state == "scheduled":
            run.skip()


def test_some_start_some_are_skipped_and_the_ended_run_again(client, held):
    first, second, third = held
    assert carry_out(client, "skip", [(second.run_id, "waits")]) == [Done(second.run_id)]
    done = carry_out(client, "start", [(first.run_id, "waits"), (second.run_id, "ended")])

    assert first.wait(30).state == "success"
    assert second.state == "skipped"
    (again,) = [d.made for d in done if d.made]
    assert client.run(again).wait(30).facts["rerun_of"] == second.run_id
    assert client.run(again).args == {"name": "held-1"}
    assert third.state == "scheduled"

    assert carry_out(client, "mark", [(first.run_id, "ended"), (third.run_id, "waits")], "failure") == [
        Done(first.run_id)
    ]
    assert client.run(first.run_id).state == "failure"


def test_what_is_refused_for_one_is_told_and_done_for_the_others(client, held):
    first, second, _ = held
    first.skip()
    done = carry_out(
        client, "skip", [(first.run_id, "waits"), (second.run_id, "waits"), ("r999999999", "waits")]
    )

    assert [d.refused is None for d in done] == [False, True, False]
    html = done_html("skip", done, "")
    assert "1 skipped" in html
    assert "2 refused" in html
    assert first.run_id in html


def test_a_question_says_what_will_happen_and_to_whom():
    buttons, templates = actions_html(
        "late",
        [("r1", "waits"), ("r2", "ended"), ("r3", "runs"), *((f"r{n}", "ended") for n in range(10, 20))],
        ACTIONS["late"],
    )

    assert "disabled" not in buttons
    assert "<b>1 run</b> that wait start at once" in templates
    assert "r1</span>" in templates
    assert "<b>11 runs</b>" in templates
    assert "and 3 more" in templates
    assert "<b>1 run</b> run already, and is left alone" in templates
    assert actions_html("late", [("r3", "runs")], ACTIONS["late"])[0].count("disabled") == 3
    assert "Skip" not in actions_html("missed", [], ACTIONS["missed"])[0]


def test_what_is_done_is_what_was_asked_whatever_has_been_ticked_since():
    asked = [("r1", "waits"), ("r2", "ended"), ("r3", "runs")]
    buttons, _ = actions_html("late", asked, ACTIONS["late"])
    said = re.search(r'data-action="start:late" data-value="([^"]*)"', buttons)

    assert said is not None
    assert picked_of({"value": said[1]}) == asked
    assert picked_of({"value": "r1:waits r2 r3:anything"}) == [("r1", "waits")]
    assert picked_of({}) == []


def test_kinds_and_budgets():
    assert [kind_of(s) for s in (State.WAITING, State.RUNNING, State.SKIPPED)] == ["waits", "runs", "ended"]
    facts = {"late": {"start": 300, "finish": 7200, "finish_by": "07:30:00"}}
    assert budget_of(facts) == (300.0, "start within 5 m 00 s, end within 2 h 00 m, end by 07:30:00")
    assert budget_of(None) == (None, "")
