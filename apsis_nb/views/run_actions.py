"""What can be done with a run in its state: the buttons, what each says first, and the doing."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from apsis_nb.client import Run
from apsis_nb.core.states import FINISHED, State

from . import markup
from .arg_fields import args_of, changed, fields_html
from .connection import READ_ONLY
from .markup import text

#: That a person may want to send; the first is chosen.
SIGNALS = ("SIGUSR1", "SIGUSR2", "SIGHUP", "SIGINT", "SIGTERM", "SIGQUIT", "SIGSTOP", "SIGCONT", "SIGKILL")


@dataclass(frozen=True, slots=True)
class Offer:
    """A button, and the question behind it."""

    action: str
    words: str
    title: str  #: of the question
    what: str  #: HTML: what will happen, and the fields
    kind: str = ""  #: CSS class of the button


def actions_html(
    facts: Mapping[str, Any], job: Mapping[str, Any] | None = None, role: str | None = None
) -> tuple[str, str]:
    """The buttons for a run in its state, and the templates of their questions.

    Args:
        facts: of the run.
        job: the facts of its job, for the types of its params; None: it has none any more.
        role: of the reader: `read` looks only, and a file offers nothing. None: the server will say.
    """
    offers = [] if role == READ_ONLY else offers_of(facts, job)
    may = role != "read"
    off = "" if may else ' disabled title="This takes the role run; you have read."'
    buttons = "".join(
        f'<button class="{o.kind}" data-action="{o.action}" data-title="{text(o.title)}" '
        f'data-yes="{text(o.words.removesuffix(" …"))}"{off}>{text(o.words)}</button>'
        for o in offers
    )
    if offers and not may:
        buttons += '<p class="may-not muted">You have the role read: what moves a run takes the role run.</p>'
    return buttons, "".join(f'<template data-for="{o.action}">{o.what}</template>' for o in offers)


def offers_of(facts: Mapping[str, Any], job: Mapping[str, Any] | None) -> list[Offer]:
    """What can be done with a run, what is most often wanted first."""
    state, name = State(facts["state"]), str(facts["run_id"])
    if state in {State.SCHEDULED, State.WAITING}:
        return [_start(facts, name), _skip(name)]
    found = []
    if state in {State.STARTING, State.RUNNING}:
        found.append(_stop(facts, name))
    if state in {State.RUNNING, State.STOPPING}:
        found.append(_signal(name))
    if state.is_finished:
        found += [_rerun(facts, job), _mark(facts, name)]
    return found


def _start(facts: Mapping[str, Any], name: str) -> Offer:
    held = f"It waits: {text(facts['message'])}. " if facts["message"] else ""
    what = f"<p>{held}Its program starts at once all the same.</p>"
    return Offer("start", "Start now", f"Start {name} now?", what, "primary")


def _skip(name: str) -> Offer:
    what = (
        "<p>It will not run, and stays in the history as skipped. Runs that wait for its success wait on.</p>"
        '<label class="field">Why not, for others<input name="reason" autocomplete="off"></label>'
    )
    return Offer("skip", "Skip", f"Skip {name}?", what)


def _stop(facts: Mapping[str, Any], name: str) -> Offer:
    stop = (facts.get("program") or {}).get("stop") or {}
    signal, grace = stop.get("signal", "SIGTERM"), stop.get("grace_period", 60)
    left = text(markup.duration(grace) if isinstance(grace, int | float) else grace)
    what = (
        f"<p>The program of <b>{text(facts['job_id'])}</b> gets <b>{text(signal)}</b>; "
        f"what is left after <b>{left}</b> is killed.</p>"
    )
    return Offer("stop", "Stop", f"Stop {name}?", what, "danger")


def _signal(name: str) -> Offer:
    options = "".join(f"<option>{signal}</option>" for signal in SIGNALS)
    what = (
        "<p>Its program gets the signal, and makes of it what it will; <b>SIGKILL</b> ends it at once.</p>"
        f'<label class="field">Signal<select name="signal">{options}</select></label>'
    )
    return Offer("signal", "Signal", f"Send {name} a signal?", what)


def _rerun(facts: Mapping[str, Any], job: Mapping[str, Any] | None) -> Offer:
    name, params = str(facts["job_id"]), (job or {}).get("params", {})
    today = "as its job is today" if job else "as it was"
    fields = fields_html(params, markup.objects(facts["args"]))
    what = (
        f"<p>A new run of <b>{text(name)}</b> starts now, {today}; "
        f"{text(facts['run_id'])} stays as it is.</p>"
        f'<div class="fields">{fields}</div>'
        '<label class="check"><input type="checkbox" name="test">'
        "As a test: it fires no actions, and counts nowhere</label>"
    )
    return Offer("rerun", "Run again", f"Run {name} again?", what, "primary")


def _mark(facts: Mapping[str, Any], name: str) -> Offer:
    others = [state.value for state in FINISHED if state.value != facts["state"]]
    options = "".join(f"<option>{state}</option>" for state in sorted(others, key=_by_life))
    what = (
        f"<p>This run of <b>{text(facts['job_id'])}</b> ended as <b>{text(facts['state'])}</b>. From now on "
        "it counts as what you choose, and its log tells that you did so. Nothing is run; runs that wait "
        "for it take it as it is then.</p>"
        f'<label class="field">It counts as<select name="state">{options}</select></label>'
        '<label class="check"><input type="checkbox" name="actions">Fire the actions of that state</label>'
    )
    return Offer("mark", "Mark …", f"Mark {name} as another state?", what)


def _by_life(state: str) -> int:
    return list(State).index(State(state))


def do(run: Run, job: Mapping[str, Any] | None, action: str, form: Mapping[str, Any]) -> str:
    """Do what was asked for and confirmed. Asks the server: call it in a thread.

    Returns:
        HTML that says what was done; empty: the page shows it by itself.

    Raises:
        ClientError: the server refused it.
    """
    match action:
        case "start":
            run.start()
        case "stop":
            run.stop()
        case "skip":
            run.skip(str(form.get("reason", "")).strip() or None)
        case "signal" if form.get("signal") in SIGNALS:
            run.signal(str(form["signal"]))
            return f"{text(form['signal'])} is on its way to {text(run.run_id)}."
        case "mark":
            run.mark(str(form.get("state", "")), actions="actions" in form)
        case "rerun":
            args = changed(args_of(form), (job or {}).get("params", {}), run.args)
            made = run.rerun(args, test="test" in form)
            return f"{markup.run_link(made.run_id)} was made: it runs {text(made.job_id)} again."
    return ""
