"""A command, or some Python, run once by the server: in a cell, with the run as a live card."""

import sys
from typing import Any

import ipywidgets

from apsis_nb.client import Client, ClientError, Run
from apsis_nb.widgets.run_card import RunCard
from apsis_nb.widgets.shown import Shown, cut, table, wrong

_KINDS = (("shell command", "shell"), ("Python", "python"))
_WIDE = ipywidgets.Layout(width="100%", max_width="760px")
_NAMES = {"description_width": "60px"}


class AdhocRun(Shown):
    """A form for something that is no job: it runs in the notebook's folder, with its interpreter.

    Args:
        client: as `ap.local` or `ap.connect` gives it.
        command: what to begin with.
        python: it is Python, not a command for the shell.

    Attributes:
        kind, text, label, at, stop_at: the fields; `at` and `stop_at` as `09:00`, `+10m`.
        button: the Run button.
        run: the run that was asked for last; None at first.
        card: its `RunCard`; None at first.
        ui: the whole, as one widget.
    """

    def __init__(self, client: Client, command: str = "", *, python: bool = False) -> None:
        super().__init__()
        self._client = client
        self.run: Run | None = None
        self.card: RunCard | None = None
        self.kind = ipywidgets.ToggleButtons(options=_KINDS, value="python" if python else "shell")
        self.text = ipywidgets.Textarea(value=command, rows=4, layout=_WIDE, placeholder="echo hello")
        small = {"layout": ipywidgets.Layout(width="240px"), "style": _NAMES}
        self.label = ipywidgets.Text(description="label", placeholder="to find the run again", **small)
        self.at = ipywidgets.Text(description="at", placeholder="now; 09:00; +10m", **small)
        self.stop_at = ipywidgets.Text(description="stop at", placeholder="when it ends; +1h", **small)
        self.button = ipywidgets.Button(description="Run", button_style="primary", disabled=not command)
        self._said = ipywidgets.HTML()
        self._place = ipywidgets.VBox([])
        self.ui = ipywidgets.VBox(
            [
                self.kind,
                self.text,
                ipywidgets.HBox([self.label, self.at, self.stop_at]),
                ipywidgets.HBox([self.button, self._said]),
                self._place,
            ]
        )
        self.text.observe(self._changed, names="value")
        self.button.on_click(self._ask)

    def wait(self, timeout: float | None = None) -> Run | None:
        """Wait until the run that was asked for last has ended; see `Run.wait`."""
        return None if self.card is None else self.card.wait(timeout)

    def still(self) -> str:
        """How it is now, as HTML that needs nothing but itself."""
        fields = [(widget.description, widget.value) for widget in (self.label, self.at, self.stop_at)]
        text = cut(self.text.value, 12_000) or "<i>no command</i>"
        below = "" if self.card is None else self.card.still()
        return f"<pre style='margin:.3em 0'>{text}</pre>{table(fields)}{self._said.value}{below}"

    def __repr__(self) -> str:
        return "<a form for a run that is no job: it shows in a notebook>"

    def _changed(self, change: Any) -> None:
        self.button.disabled = not change["new"].strip()
        self.keep()

    def _ask(self, button: Any = None) -> None:
        self._said.value = ""
        text = self.text.value
        try:
            self.run = self._client.adhoc(
                [sys.executable, "-c", text] if self.kind.value == "python" else text,
                label=self.label.value.strip() or (),
                at=self.at.value.strip() or None,
                stop_at=self.stop_at.value.strip() or None,
            )
        except ClientError as error:
            self._said.value = wrong(str(error))
            self.keep()
            return
        if self.card is not None:
            self.card.close()
        self.card = RunCard(self._client, self.run, inside=self)
        self._place.children = (self.card.ui,)
        self.keep()
