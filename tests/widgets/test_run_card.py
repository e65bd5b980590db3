"""Cards, tails, tables and forms of runs in a cell, against a real server."""

import sys

from apsis_nb.widgets import AdhocRun, LiveRuns, LogTail, RunCard
from tests.widgets.test_run_form import until


def test_a_command_is_run_and_its_card_stops_it_only_after_a_question_and_runs_it_again(client):
    form = AdhocRun(client)
    assert form.button.disabled
    form.text.value = "printf '\\033[31mred\\033[0m <b>\\n'; exec sleep 60"
    form.label.value = "by-hand"
    form.button.click()
    card = form.card
    until(lambda: "running" in card._card.value and "red" in card._output.value)
    assert '<span class="ansi31">red</span> &lt;b&gt;' in card._output.value
    assert card.rerun_button.disabled
    card.stop_button.click()
    assert card._question.layout.display == ""
    assert not form.run.is_finished
    card._yes.click()
    until(lambda: "failure" in card._card.value)
    assert card.stop_button.disabled
    assert form.run.facts["labels"] == ["by-hand"]
    card.rerun_button.click()
    until(lambda: "running" in card._card.value)
    assert card.run.facts["rerun_of"] == form.run.run_id
    card.run.stop()
    card.wait(30)


def test_python_is_run_by_the_interpreter_of_the_notebook_and_what_is_wrong_is_said(client):
    form = AdhocRun(client, "import sys; print(sys.executable)", python=True)
    form.at.value = "whenever"
    form.button.click()
    assert form.run is None
    assert "whenever" in form._said.value
    form.at.value = ""
    form.button.click()
    assert form.wait(30).state == "success"
    assert sys.executable in form.run.output()


def test_a_table_and_a_tail_follow_what_happens(client):
    table = LiveRuns(client, label="for-the-table")
    until(lambda: "no such run" in table.ui.value)
    run = client.adhoc("echo first; echo second", label="for-the-table")
    tail = LogTail(client, run, lines=1)
    until(lambda: "success" in table.ui.value and run.run_id in table.ui.value)
    until(lambda: "second" in tail.ui.value)
    assert "first" not in tail.ui.value
    table.close()
    card = RunCard(client, run.run_id)
    until(lambda: "second" in card._output.value)
    assert "success" in card._card.value
