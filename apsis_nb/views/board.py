"""A piece of a page as HTML: times in it tick and follow the reader's zone, its buttons call back."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import panel as pn
import param

_HERE = Path(__file__).parent
PAGE_CSS = (_HERE / "page.css").read_text(encoding="utf-8")
#: Of a row of two: a wide part, and a narrow one that goes below it where there is no room.
COLUMNS_CSS = """
:host { display: grid !important; grid-template-columns: minmax(0, 2.1fr) minmax(290px, 1fr); gap: 16px; }
@media (max-width: 900px) { :host { grid-template-columns: minmax(0, 1fr); } }
"""

#: Called with the message of a button or field: {"action": ..., "value": ..., "form": {...}}.
OnAction = Callable[[dict[str, Any]], None]


class Board(pn.custom.JSComponent):
    """HTML that the server renews; only what differs changes on the page.

    A `<button data-action="stop">` sends a message; with `data-title` it asks first, in a dialog that shows
    the `<template data-for="stop">` of the same board, whose fields come as `form`. `<select>`, check boxes
    and `<input type=search>` with `data-action` send their value.
    """

    content = param.String(doc="HTML; whoever makes it has escaped what came from outside.")

    _bundle = _HERE / "board.js"
    _stylesheets: ClassVar[list[str]] = [PAGE_CSS]

    def __init__(self, content: str = "", *, on_action: OnAction | None = None, **params: Any) -> None:
        super().__init__(content=content, **{"sizing_mode": "stretch_width", **params})
        self._on_action = on_action

    def _handle_msg(self, data: Any) -> None:
        if self._on_action is None or not isinstance(data, dict) or not isinstance(data.get("action"), str):
            return
        doc = pn.state.curdoc
        if doc is not None:  # what follows may change the document, so it must hold its lock
            doc.add_next_tick_callback(partial(self._on_action, data))
