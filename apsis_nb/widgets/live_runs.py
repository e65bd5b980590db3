"""The newest runs as a table in a cell that follows what happens."""

import html
import threading
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import ipywidgets

from apsis_nb.client import Client, ClientError, Closed
from apsis_nb.core.states import State
from apsis_nb.core.times import format_duration, format_local
from apsis_nb.widgets.shown import RENEW_S, Shown, cut, wrong

LOOK_S = 1.0  #: between two looks
STILL_ROWS = 30  #: that stay in a saved notebook, at most

#: A sign beside the word: nobody has to tell colours apart.
_SIGNS = {
    State.SUCCESS: ("✓", "#16803c"),
    State.FAILURE: ("✗", "#c0392b"),
    State.ERROR: ("▲", "#9333b0"),
    State.RUNNING: ("▶", "#2979b8"),
    State.STARTING: ("▶", "#2979b8"),
    State.STOPPING: ("■", "#2979b8"),
    State.WAITING: ("❚❚", "#b7791f"),
    State.SKIPPED: ("»", "#777777"),
}
_CELL = "padding:.15em .9em .15em 0;text-align:left;white-space:nowrap"


class LiveRuns(Shown):
    """The newest runs, up to date; what it showed last stays in the saved notebook.

    Args:
        client: as `ap.local` or `ap.connect` gives it.
        job: only this job's.
        state: only in this state, or one of these.
        label: only with it.
        rows: how many.
    """

    def __init__(
        self,
        client: Client,
        *,
        job: str | None = None,
        state: str | Sequence[str] = (),
        label: str | None = None,
        rows: int = 15,
    ) -> None:
        super().__init__()
        self._client = client
        self._asked: dict[str, Any] = {"job": job, "state": state, "label": label, "limit": rows}
        self._runs: list[dict[str, Any]] = []  # as they were told last
        self.ui = ipywidgets.HTML()
        self._closed = threading.Event()
        self._look()
        threading.Thread(target=self._watch, name="live runs", daemon=True).start()

    def close(self) -> None:
        """Look no more."""
        self._closed.set()
        self.keep()

    def still(self) -> str:
        """How it is now, as HTML that needs nothing but itself."""
        rest = len(self._runs) - STILL_ROWS
        if rest <= 0:
            return str(self.ui.value)
        return f"{runs_html(self._runs[:STILL_ROWS], self._client)}<div>and {rest} more</div>"

    def __repr__(self) -> str:
        return "<a table of the newest runs: it shows in a notebook>"

    def _watch(self) -> None:
        while not self._closed.wait(LOOK_S):
            try:
                self._look()
            except Closed:
                return

    def _look(self) -> None:
        """Show how it is now.

        Raises:
            Closed: the client is.
        """
        try:
            self._runs = self._client.list_runs(**self._asked)
            now = runs_html(self._runs, self._client)
        except Closed:
            raise
        except ClientError as error:  # it may come back
            now = wrong(str(error)) + (runs_html(self._runs, self._client) if self._runs else "")
        if now != self.ui.value:
            self.ui.value = now
        self.keep(RENEW_S)


def runs_html(runs: Sequence[dict[str, Any]], client: Client) -> str:
    """Runs as a table."""
    if not runs:
        return "<i>There is no such run yet.</i>"
    heads = ("run", "job", "state", "due", "took", "says")
    head = "".join(f"<th style='{_CELL}'>{name}</th>" for name in heads)
    rows = "".join(_row(run, client) for run in runs)
    return (
        f"<table style='border-collapse:collapse'><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    )


def _row(run: dict[str, Any], client: Client) -> str:
    sign, colour = _SIGNS.get(State(run["state"]), ("", "inherit"))
    args = ", ".join(f"{name}={value}" for name, value in run["args"].items())
    name = run["job_id"] + (f"({args})" if args else "")
    took = run["elapsed_s"]
    cells = [
        html.escape(run["run_id"]),
        cut(name, 600),
        f"<span style='color:{colour}'>{sign}</span> {html.escape(run['state'])}"
        + (" <b>late</b>" if run["late"] else ""),
        html.escape(format_local(datetime.fromisoformat(run["scheduled_at"]), client.zone)),
        "" if took is None else html.escape(format_duration(round(took, 1 if took >= 1 else 3))),
        html.escape((run["message"] or run["skip_reason"] or "")[:80]),
    ]
    return "<tr>" + "".join(f"<td style='{_CELL}'>{cell}</td>" for cell in cells) + "</tr>"
