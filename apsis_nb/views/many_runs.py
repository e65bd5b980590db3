"""What is done with many runs at once: what is asked before, the doing, and what became of each."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from apsis_nb.client import Client, ClientError
from apsis_nb.core.states import State

from . import markup
from .controls import question
from .markup import text

MOST_NAMED = 8  #: runs that a question names
#: What can be done with runs that have not started.
NOT_STARTED = frozenset({State.SCHEDULED, State.WAITING})
#: Which kinds of runs each action is for.
APPLIES: dict[str, tuple[str, ...]] = {
    "start": ("waits", "ended"),
    "skip": ("waits",),
    "stop": ("runs",),
    "mark": ("ended",),
}

_KINDS = ("waits", "runs", "ended")
#: A run, and its kind: as `kind_of` says.
Picked = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Done:
    """What became of one run that something was asked for."""

    run_id: str
    made: str | None = None  #: the run that was made of it
    refused: str | None = None  #: why it was not done


def kind_of(state: State) -> str:
    """What can be done with a run in a state: `waits`, `runs` or `ended`."""
    return "waits" if state in NOT_STARTED else "ended" if state.is_finished else "runs"


def picked_of(message: Mapping[str, Any]) -> list[Picked]:
    """The runs that a question of `actions_html` named: what the reader has said yes to.

    The ticks may have changed since, or the state of a run; nothing is done to a run that was not named, nor
    anything else than was said of it.
    """
    named = (word.partition(":") for word in str(message.get("value", "")).split())
    return [(run_id, kind) for run_id, _, kind in named if kind in _KINDS]


def carry_out(client: Client, action: str, picked: Sequence[Picked], mark: str = "") -> list[Done]:
    """Do something with each of some runs; what is refused for one is done for the others all the same.

    Args:
        client: whom to ask.
        action: `start` (those that wait start, those that have ended are run again), `skip`, `stop`, `mark`.
        picked: the runs.
        mark: the state that they are given, for `mark`.
    """
    done = []
    for run_id, kind in picked:
        if kind not in APPLIES[action]:
            continue
        try:
            run = client.run(run_id)
            if action == "start" and kind == "ended":
                done.append(Done(run_id, made=run.rerun().run_id))
                continue
            if action == "start":
                run.start()
            elif action == "skip":
                run.skip()
            elif action == "stop":
                run.stop()
            else:
                run.mark(mark)
            done.append(Done(run_id))
        except ClientError as error:
            done.append(Done(run_id, refused=str(error)))
    return done


# ---- HTML ----


def actions_html(which: str, picked: Sequence[Picked], actions: Sequence[str]) -> tuple[str, str]:
    """The buttons for what is picked, and what each says before it does anything.

    Args:
        which: of several lists; a part of each button's action.
        picked: the runs.
        actions: of `APPLIES`.
    """
    by_kind: dict[str, list[str]] = {kind: [] for kind in _KINDS}
    for name, kind in picked:
        by_kind[kind].append(name)
    told: dict[str, tuple[str, str, str, Callable[[dict[str, list[str]]], str]]] = {
        "start": ("Run now", "primary", "Run them now?", _start_words),
        "skip": ("Skip", "", "Skip them?", _skip_words),
        "stop": ("Stop", "danger", "Stop them?", _stop_words),
        "mark": ("Mark &hellip;", "", "Mark how they ended?", _mark_words),
    }
    named = " ".join(f"{name}:{kind}" for name, kind in picked)
    buttons, templates = "", ""
    for action in actions:
        words, kind, title, body = told[action]
        disabled = "" if any(by_kind[k] for k in APPLIES[action]) else " disabled"
        name = f"{action}:{which}"
        yes = "Mark" if action == "mark" else words
        buttons += (
            f'<button class="{kind}" data-action="{name}" data-value="{named}" data-title="{title}" '
            f'data-yes="{yes}"{disabled}>{words}</button>'
        )
        templates += question(name, body(by_kind))
    chosen = f"{len(picked)} chosen" if picked else "Tick runs to do something with them."
    return f'{buttons}<span class="muted num">{chosen}</span>', templates


def _named(names: list[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return f'<span class="muted">{", ".join(names[:MOST_NAMED])}{more}</span>'


def _runs(names: list[str]) -> str:
    return f"<b>{len(names)} run{'' if len(names) == 1 else 's'}</b>"


def _left(names: list[str], why: str) -> str:
    return (
        f"<p>{_runs(names)} {why}, and {'is' if len(names) == 1 else 'are'} left alone: {_named(names)}</p>"
        if names
        else ""
    )


def _start_words(kinds: dict[str, list[str]]) -> str:
    waits, ended = kinds["waits"], kinds["ended"]
    parts = []
    if waits:
        parts.append(
            f"<p>{_runs(waits)} that wait start at once, whatever they wait for: {_named(waits)}</p>"
        )
    if ended:
        parts.append(
            f"<p>For {_runs(ended)} that did not run, or have ended, a new run with the same args is made, "
            f"and is due now: {_named(ended)}</p>"
        )
    return "".join(parts) + _left(kinds["runs"], "run already")


def _skip_words(kinds: dict[str, list[str]]) -> str:
    waits = kinds["waits"]
    first = (
        f"<p>{_runs(waits)} will not run, and stay in the history as skipped: {_named(waits)}</p>"
        if waits
        else ""
    )
    return first + _left(kinds["runs"] + kinds["ended"], "have started or ended")


def _stop_words(kinds: dict[str, list[str]]) -> str:
    runs = kinds["runs"]
    first = (
        f"<p>The programs of {_runs(runs)} get the signal that their jobs say, and what is left after the "
        f"grace period is killed: {_named(runs)}</p>"
        if runs
        else ""
    )
    return first + _left(kinds["waits"] + kinds["ended"], "do not run")


def _mark_words(kinds: dict[str, list[str]]) -> str:
    ended = kinds["ended"]
    options = "".join(f'<option value="{s.value}">{s.value}</option>' for s in _ENDS)
    first = (
        f"<p>{_runs(ended)} will count as ended so. What waits for them hears of it; their jobs' actions are "
        f"not done: {_named(ended)}</p>"
        f'<label class="field">They ended in<select name="state">{options}</select></label>'
        if ended
        else ""
    )
    return first + _left(kinds["waits"] + kinds["runs"], "have not ended")


_ENDS = (State.SUCCESS, State.FAILURE, State.ERROR, State.SKIPPED)
_VERBS: dict[str, Callable[[str], str]] = {
    "start": lambda mark: "started, or made anew",
    "skip": lambda mark: "skipped",
    "stop": lambda mark: "told to stop",
    "mark": lambda mark: f"marked as {mark}",
}


def done_html(action: str, done: list[Done], mark: str) -> str:
    """How many were done, and which were refused, and why."""
    good = [d for d in done if d.refused is None]
    bad = [d for d in done if d.refused is not None]
    made = ", ".join(markup.run_link(d.made) for d in good if d.made)
    words = f"{len(good):,} {text(_VERBS[action](mark))}" + (f": {made}" if made else "") + "."
    note = f'<p class="said" role="status">{words}</p>' if good or not bad else ""
    if not bad:
        return note
    items = "".join(f"<li>{markup.run_link(d.run_id)}: {text(d.refused)}</li>" for d in bad)
    return (
        f'{note}<div class="wrong" role="alert"><div><b>{len(bad):,} refused</b><ul>{items}</ul></div></div>'
    )
