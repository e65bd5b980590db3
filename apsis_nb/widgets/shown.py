"""What widgets share: how they show in a cell, how they stay in a saved notebook, and pieces of HTML."""

import html
import time
from importlib.util import find_spec
from typing import Any

import ipywidgets

from apsis_nb.client.cells import in_kernel

#: What one widget leaves in a saved notebook, at most: bytes of HTML.
MOST_BYTES = 64_000
#: How often what stays is renewed while something goes on, seconds.
RENEW_S = 2.0


def icon(name: str) -> str:
    """The icon of a button; none in Panel, where the font with it would come from another host."""
    return name if in_kernel() else ""


class Shown:
    """Something that shows in a cell: live while its kernel is, and from then on as it was last.

    The cell gets two outputs: the live widget, and plain HTML, which the live widget hides. The second is
    renewed as things change, and the first is left alone, so that nobody loses what is being typed.

    Args:
        inside: what shows it, if something else does.

    Attributes:
        ui: the whole, as one widget.
    """

    ui: Any

    def __init__(self, inside: "Shown | None" = None) -> None:
        self._inside = inside
        self._box: Any = None
        self._kept: Any = None  # the handle of the HTML; None: nothing is shown yet
        self._kept_html = ""
        self._kept_at = 0.0

    def still(self) -> str:
        """How it is now, as HTML that needs nothing but itself."""
        raise NotImplementedError

    def keep(self, every_s: float = 0.0) -> None:
        """Leave in the notebook how it is now.

        Args:
            every_s: not again within so many seconds.
        """
        if self._inside is not None:
            self._inside.keep(every_s)
            return
        if self._kept is None or time.monotonic() - self._kept_at < every_s:
            return
        shown = self._still()
        if shown != self._kept_html:
            self._kept_html, self._kept_at = shown, time.monotonic()
            self._kept.update(self._bundle(shown), raw=True)

    def _ipython_display_(self) -> None:
        from IPython.display import display

        if not in_kernel():
            raise NotImplementedError  # so IPython shows what it can, once
        if self._box is None:
            # Not seen: as long as it is in the page, what was saved is not.
            hides = ipywidgets.HTML(layout=ipywidgets.Layout(display="none"))
            self._box = ipywidgets.VBox([self.ui, hides])
            name = self._class
            hides.value = f"<style>.{name},.jp-OutputArea-child:has(.{name}){{display:none}}</style>"
        # Whoever knows no widgets shows the second output, and nothing for this one.
        live = {**self._box._repr_mimebundle_(), "text/html": "", "text/plain": ""}
        display(live, raw=True)
        self._kept_html, self._kept_at = self._still(), time.monotonic()
        bundle = self._bundle(self._kept_html)
        if self._kept is None:
            self._kept = display(bundle, raw=True, display_id=True)
        else:
            self._kept.display(bundle, raw=True)

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        """For those who ask for it: all forms in one."""
        live: dict[str, Any] = self.ui._repr_mimebundle_(**options)
        return {**live, "text/html": self._still(), "text/plain": repr(self)}

    def __panel__(self) -> Any:
        """For Panel: `pn.panel(form)`, after `pn.extension("ipywidgets")`."""
        if find_spec("ipywidgets_bokeh") is None:
            raise ImportError("widgets in Panel need ipywidgets_bokeh: pip install ipywidgets_bokeh")
        from panel.pane import IPyWidget

        return IPyWidget(self.ui)

    @property
    def _class(self) -> str:
        """Of the HTML that stays; no other widget has the same, nor one of an earlier kernel."""
        return f"apsis-still-{self._box.model_id}"

    def _still(self) -> str:
        shown = self.still()
        return shown if len(shown.encode()) < MOST_BYTES else f"<pre>{html.escape(repr(self))}</pre>"

    def _bundle(self, shown: str) -> dict[str, str]:
        return {"text/html": f"<div class='{self._class}'>{shown}</div>", "text/plain": repr(self)}


def box(title: str, body: str) -> str:
    """A frame with a title around some HTML."""
    return (
        "<div style='border:1px solid rgba(128,128,128,.35);border-radius:6px;padding:.5em .9em;"
        "margin:.3em .6em .3em 0;min-width:280px'>"
        f"<b>{html.escape(title)}</b><div>{body}</div></div>"
    )


def wrong(text: str) -> str:
    """A text that says what is wrong."""
    return f"<span style='color:#c0392b'>{html.escape(text)}</span>"


def table(rows: list[tuple[str, str]]) -> str:
    """Names and values, a row each; without values nothing."""
    cells = "".join(
        f"<tr><td style='text-align:left;padding:.1em 1em .1em 0;opacity:.8'>{html.escape(name)}</td>"
        f"<td style='text-align:left;padding:.1em 0'>{cut(value, 2_000)}</td></tr>"
        for name, value in rows
        if value
    )
    return f"<table style='margin:.3em 0'>{cells}</table>" if cells else ""


def cut(text: str, most: int) -> str:
    """A text as HTML, and no more than its beginning where it would be longer than that."""
    escaped = html.escape(text)
    return escaped if len(escaped) <= most else f"{html.escape(text[: most // 6])} …"
