"""The form that runs a job: fields from its params, words beside what is wrong, the run as a live card."""

import threading
import time
from datetime import UTC, datetime

import pytest

import apsis_nb
from apsis_nb.client import NoSuch
from apsis_nb.widgets import RunForm, run_form

PATIENCE_S = 30.0


def until(condition):
    """Wait for something that another thread will do."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end
        threading.Event().wait(0.02)


def test_the_package_has_it():
    assert apsis_nb.widgets.RunForm is RunForm


def test_each_param_has_a_field_that_suits_it(client):
    form = RunForm(client, "daily/report")

    assert type(form.fields["date"].widget).__name__ == "DatePicker"
    assert type(form.fields["kind"].widget).__name__ == "Dropdown"
    assert form.fields["kind"].widget.options == ("short", "full")
    assert form.fields["kind"].widget.value == "full"
    assert abs((form.fields["date"].widget.value - datetime.now(UTC).date()).days) <= 1


def test_a_param_that_needs_a_value_says_so_until_it_has_one(client):
    form = RunForm(client, "greet/again")
    assert form.button.disabled
    assert "is needed" in form.fields["name"].error.value

    form.fields["name"].widget.value = "you"
    assert not form.button.disabled
    assert form.fields["name"].error.value == ""
    assert form.args == {"name": "you"}


def test_a_default_may_be_left(client):
    form = RunForm(client, "greet/hello")
    form.fields["name"].widget.value = ""

    assert not form.button.disabled
    assert form.args == {}


def test_the_button_runs_the_job_and_the_card_follows_it(client):
    form = RunForm(client, "greet/hello")
    form.fields["name"].widget.value = "<form>"
    form.label.value = "by hand"

    form.button.click()
    run = form.wait(PATIENCE_S)
    assert run.facts["args"] == {"name": "<form>"}
    assert "by hand" in run.facts["labels"]
    card = form.card
    until(lambda: "success" in card._card.value and "hello &lt;form&gt;" in card._output.value)
    assert "<form>" not in card._output.value


def test_what_the_server_refuses_is_told_in_the_form(client, server):
    form = RunForm(client, "greet/again")
    form.fields["name"].widget.value = "x"
    file = server.jobs / "greet" / "again.yaml"
    before = file.read_text()
    try:
        file.unlink()
        client.reload()
        form.button.click()
        assert form.run is None
        assert "greet/again" in form._message.value
    finally:
        file.write_text(before)
        client.reload()


def test_it_says_what_would_run_and_when_and_what_cannot_be(client):
    form = RunForm(client, "greet/hello")
    until(lambda: "echo &quot;hello $APSIS_ARG_NAME&quot;" in form._planned.value)
    assert " at " not in form._planned.value

    form.at.value, form.stop_at.value = "2030-01-31T09:00:00Z", "2030-01-31T10:00:00Z"
    until(lambda: "at 2030-01-31 09:00" in form._planned.value and "stopped at" in form._planned.value)
    form.at.value = "whenever"
    until(lambda: "whenever" in form._planned.value)
    form.button.click()
    assert form.run is None
    assert "whenever" in form._message.value


def test_the_values_of_the_last_run_can_be_had_again(client, monkeypatch: pytest.MonkeyPatch):
    client.schedule("daily/report", date="2026-02-03", kind="short").wait(PATIENCE_S)
    form = RunForm(client, "daily/report")
    assert form.fields["kind"].widget.value == "full"
    form.last_button.click()
    assert form.args == {"date": "2026-02-03", "kind": "short"}

    form.fields["kind"].widget.value = "full"
    form.button.click()
    form.wait(PATIENCE_S)
    client.schedule("daily/report", date="2026-02-04", kind="short").wait(PATIENCE_S)
    assert RunForm(client, "daily/report", last=True).args == {"date": "2026-02-03", "kind": "full"}
    monkeypatch.setattr(run_form, "_USED", {})  # as in another kernel
    assert RunForm(client, "daily/report", last=True).args == {"date": "2026-02-04", "kind": "short"}


def test_no_form_is_made_for_a_job_that_is_not_there(client):
    with pytest.raises(NoSuch):
        RunForm(client, "no/such/job")


def test_it_shows_in_a_notebook(client):
    form = RunForm(client, "greet/hello")
    bundle = form._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert bundle["text/plain"] == repr(form)
