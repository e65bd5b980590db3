"""A run as a live card: how it is, what it prints, and what one may do with it."""

import html
import threading
from collections.abc import Callable
from typing import Any

import ipywidgets

from apsis_nb.ansi import DARK, LIGHT, AnsiText
from apsis_nb.client import Client, ClientError, Closed, Run
from apsis_nb.client.cells import in_kernel
from apsis_nb.core.states import ACTIVE, FINISHED
from apsis_nb.core.times import format_duration
from apsis_nb.widgets.notice import Notice
from apsis_nb.widgets.shown import RENEW_S, Shown, icon, wrong

LOOK_S = 0.3  #: between two looks at a run
LINES = 12  #: of its output
_DRAWN_S = 5.0  #: that the card may take to show an end which is known
#: HTML of the end of an output: what is before it is left out.
_MOST_OUTPUT = 40_000

_LIVE = {state.value for state in ACTIVE}
_FINISHED = {state.value for state in FINISHED}


class RunCard(Shown):
    """A run in a cell, up to date until it has ended; what it showed last stays in the saved notebook.

    Args:
        client: as `ap.local` or `ap.connect` gives it.
        run: a run, or its id.
        lines: of its output, from the end.
        inside: the form that shows it, if one does.

    Attributes:
        run: the run; after Run again the new one.
        stop_button, rerun_button: the buttons.
        notice: the button that has the browser tell when it ends; None if it is not in a notebook.
        ui: the whole, as one widget.

    Raises:
        NoSuch: there is no such run.
    """

    def __init__(
        self, client: Client, run: Run | str | int, *, lines: int = LINES, inside: Shown | None = None
    ) -> None:
        super().__init__(inside)
        self._client = client
        self._lines = lines
        self.run = run if isinstance(run, Run) else client.run(run)
        self._usual: str | None = None
        self._card = ipywidgets.HTML()
        self._output = ipywidgets.HTML()
        self._said = ipywidgets.HTML()
        self.stop_button = ipywidgets.Button(description="Stop", icon=icon("stop"))
        self.rerun_button = ipywidgets.Button(description="Run again", icon=icon("repeat"))
        # Elsewhere, in Panel, its JavaScript would come from another host.
        self.notice = Notice() if in_kernel() else None
        self._yes = ipywidgets.Button(description="Stop it", button_style="danger")
        self._no = ipywidgets.Button(description="Let it run")
        self._question = ipywidgets.HBox([self._yes, self._no])
        self._question.layout.display = "none"
        tells = [] if self.notice is None else [self.notice]
        self.ui = ipywidgets.VBox(
            [
                self._card,
                self._output,
                ipywidgets.HBox([self.stop_button, self.rerun_button, *tells, self._question, self._said]),
            ]
        )
        self.stop_button.on_click(lambda button: self._ask(True))
        self._no.on_click(lambda button: self._ask(False))
        self._yes.on_click(self._stop)
        self.rerun_button.on_click(self._rerun)
        self._follow()

    def wait(self, timeout: float | None = None) -> Run:
        """Wait until the run has ended, and the card shows it; see `Run.wait`."""
        self.run.wait(timeout)
        self._thread.join(_DRAWN_S)
        return self.run

    def close(self) -> None:
        """Look at it no more."""
        self._watched.set()

    def still(self) -> str:
        """How it is now, as HTML that needs nothing but itself."""
        return f"{self._card.value}{self._output.value}"

    def __repr__(self) -> str:
        return repr(self.run)

    def _follow(self) -> None:
        """Keep the card up to date in a thread."""
        self._watched = threading.Event()
        self._output.value = ""
        self._draw(self.run.seen)
        self._thread = threading.Thread(
            target=self._watch,
            args=(self.run, self._watched),
            name=f"card {self.run.run_id}",
            daemon=True,
        )
        self._thread.start()
        if self.run.seen["state"] in _FINISHED:  # then all is there to be shown
            self._thread.join(_DRAWN_S)

    def _watch(self, run: Run, stop: threading.Event) -> None:
        lost = False
        while not stop.is_set():
            try:
                ended = run.is_finished
                if self._usual is None:
                    self._usual = self._usual_time(run)
                output = output_html(run.last_lines(self._lines, colours=True))
            except Closed:
                return
            except ClientError as error:  # it may come back
                lost, ended = True, False
                self._said.value = wrong(str(error))
            else:
                if stop.is_set():  # meanwhile it is another run's card
                    return
                self._draw(run.seen)
                self._output.value = output
                if lost:
                    lost = False
                    self._said.value = ""
                self.keep(0 if ended else RENEW_S)
            if ended:
                return
            stop.wait(LOOK_S if not lost else 10 * LOOK_S)

    def _usual_time(self, run: Run) -> str:
        """How long such runs take, in words; empty if that is not known."""
        # Not as a frame: that needs pandas, and whoever works in the kernel would wait while it is loaded.
        told = self._client.connection.json("GET", "/history/estimates", params={"job_id": [run.job_id]})
        known = [row["p50_s"] for row in told["rows"] if row["p50_s"] is not None]
        return f"usually {format_duration(round(known[0], 2 if known[0] < 1 else 0))}" if known else ""

    def _draw(self, facts: dict[str, Any]) -> None:
        is_live = facts["state"] in _LIVE
        usual = f"<span style='opacity:.7'> · {html.escape(self._usual)}</span>" if self._usual else ""
        self._card.value = self.run.card_html(with_output=False) + (usual if is_live else "")
        self.stop_button.disabled = facts["state"] not in ("starting", "running")
        self.rerun_button.disabled = is_live
        if self.notice is not None:
            self.notice.follow(facts, is_live=facts["state"] not in _FINISHED)
        if not is_live:
            self._ask(False)

    def _ask(self, asks: bool) -> None:
        self._question.layout.display = "" if asks else "none"

    def _stop(self, button: Any = None) -> None:
        self._ask(False)
        self._try(self.run.stop)

    def _rerun(self, button: Any = None) -> None:
        made = self._try(self.run.rerun)
        if made is not None:
            self.close()
            self.run = made
            self._follow()

    def _try(self, what: Callable[[], Run]) -> Run | None:
        self._said.value = ""
        try:
            return what()
        except ClientError as error:
            self._said.value = wrong(str(error))
            return None


class LogTail(Shown):
    """The end of a run's output in a cell, as it grows.

    Args:
        client: as `ap.local` or `ap.connect` gives it.
        run: a run, or its id.
        name: of the output.
        lines: how many, from the end.

    Raises:
        NoSuch: there is no such run.
    """

    def __init__(
        self, client: Client, run: Run | str | int, name: str = "output", *, lines: int = 30
    ) -> None:
        super().__init__()
        self.run = run if isinstance(run, Run) else client.run(run)
        self._name, self._lines = name, lines
        self.ui = ipywidgets.HTML()
        self._closed = threading.Event()
        if not self._look():
            threading.Thread(target=self._watch, name=f"tail {self.run.run_id}", daemon=True).start()

    def close(self) -> None:
        """Look at it no more."""
        self._closed.set()

    def still(self) -> str:
        """How it is now, as HTML that needs nothing but itself."""
        shown: str = self.ui.value
        return shown or f"<i>{html.escape(self.run.run_id)} has printed nothing.</i>"

    def __repr__(self) -> str:
        return f"<the end of what {self.run.run_id} prints: it shows in a notebook>"

    def _watch(self) -> None:
        ended = False
        while not ended and not self._closed.wait(LOOK_S):
            ended = self._look()

    def _look(self) -> bool:
        """Show how it is now; gives whether it changes no more."""
        try:
            ended = self.run.is_finished
            self.ui.value = output_html(self.run.last_lines(self._lines, self._name, colours=True))
        except Closed:
            return True
        except ClientError as error:  # it may come back
            ended = False
            self.ui.value = wrong(str(error))
        self.keep(0 if ended else RENEW_S)
        return ended


def output_html(text: str) -> str:
    """The end of an output in its colours, in a pane for light and dark notebooks; empty for no lines."""
    if not text.strip():
        return ""
    shown = AnsiText().convert(text)
    while len(shown) > _MOST_OUTPUT:
        text = text[len(text) // 2 :]
        shown = AnsiText().convert(text)
    return f"<style>{_STYLES}</style><div class='apsis-tail' role='log' aria-label='Output'>{shown}</div>"


def _styles() -> str:
    """CSS of the pane: of its own, and dark where the notebook says that it is."""

    def rules(colours: tuple[str, ...], before: str) -> str:
        return "".join(
            f"{before} .ansi{30 + (n if n < 8 else 52 + n)}{{color:{colour}}}"
            for n, colour in enumerate(colours)
        )

    pane = (
        ".apsis-tail{margin:.4em 0;padding:.5em .7em;max-height:22em;overflow:auto;border-radius:4px;"
        "border:1px solid rgba(128,128,128,.35);white-space:pre-wrap;"
        "font:12px/1.45 ui-monospace,monospace;background:#fff;color:#24292f}"
        ".apsis-tail .ansi1{font-weight:600}.apsis-tail .ansi3{font-style:italic}"
        ".apsis-tail .ansi4{text-decoration:underline}"
    )
    dark = "[data-jp-theme-light=false] .apsis-tail"
    paper = "{background:#17191e;color:#d0d7de}"
    return (
        pane
        + rules(LIGHT, ".apsis-tail")
        + f"{dark}{paper}.vscode-dark .apsis-tail{paper}"
        + rules(DARK, dark)
        + rules(DARK, ".vscode-dark .apsis-tail")
    )


_STYLES = _styles()
