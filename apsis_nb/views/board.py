"""A piece of a page as HTML: times in it tick and follow the reader's zone, its buttons call back."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import panel as pn
import param
from bokeh.document import Document
from bokeh.models import InlineStyleSheet

from .live import change

_HERE = Path(__file__).parent
PAGE_CSS = (_HERE / "page.css").read_text(encoding="utf-8")
#: Of parts below each other: the button with which Panel ends each column is not used, and takes a gap.
STACK_CSS = ".scroll-button { display: none; }"
#: Of a row of two: a wide part, and a narrow one that goes below it where there is no room.
COLUMNS_CSS = """
:host { display: grid !important; grid-template-columns: minmax(0, 2.1fr) minmax(290px, 1fr); gap: 16px; }
:host { align-content: start; }
@media (max-width: 1100px) { :host { grid-template-columns: minmax(0, 1fr); } }
"""
#: Of a row of two that are as wide as each other.
PAIR_CSS = """
:host { display: grid !important; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 12px; }
:host { align-items: start; align-content: start; }
@media (max-width: 1180px) { :host { grid-template-columns: minmax(0, 1fr); } }
"""

#: Called with the message of a button or field: {"action": ..., "value": ..., "form": {...}}.
OnAction = Callable[[dict[str, Any]], None]


def hand_over(data: Any, on_action: OnAction) -> None:
    """Hand a message of the browser over to whoever acts on it."""
    doc = pn.state.curdoc
    if isinstance(data, dict) and isinstance(data.get("action"), str) and doc is not None:
        change(doc, partial(on_action, data))


#: The sheets of a document, by their text.
_SHEETS: WeakKeyDictionary[Document, dict[str, InlineStyleSheet]] = WeakKeyDictionary()


class Piece(pn.custom.JSComponent):
    """A piece of a page. Pieces have most of their styles in common: the browser is sent each sheet once."""

    __abstract = True

    def _get_properties(self, doc: Document | None) -> dict[str, Any]:
        properties: dict[str, Any] = super()._get_properties(doc)
        if doc is not None:
            known = _SHEETS.setdefault(doc, {})
            for sheet in properties["stylesheets"]:
                if isinstance(sheet, str) and sheet not in known:
                    known[sheet] = InlineStyleSheet(css=sheet)
            properties["stylesheets"] = [known.get(sheet, sheet) for sheet in properties["stylesheets"]]
        return properties


class Board(Piece):
    """HTML that the server renews; only what differs changes on the page.

    A `<button data-action="stop">` sends a message; with `data-title` it asks first, in a dialog that shows
    the `<template data-for="stop">` of the same board, whose fields come as `form`. `<select>`, check boxes
    and `<input type=search>` with `data-action` send their value, and `name`, their `data-value`. A
    `<tr data-fold="etl">` sends `fold` when it is opened or closed. A `<button data-tell="adhoc"
    data-job=ID>` opens the form for a new run.

    One that is empty takes no room, unless it was told at first whether it is `visible`.
    """

    content = param.String(doc="HTML; whoever makes it has escaped what came from outside.")

    question = param.Dict(default={}, doc="What is asked in a dialog: see `ask`.")

    _bundle = _HERE / "board.js"
    _stylesheets: ClassVar[list[str]] = [PAGE_CSS]

    def __init__(self, content: str = "", *, on_action: OnAction | None = None, **params: Any) -> None:
        mine: dict[str, Any] = {"sizing_mode": "stretch_width", "visible": bool(content)}
        super().__init__(content=content, **{**mine, **params})
        self._on_action = on_action
        self._asked = 0
        if "visible" not in params:  # an empty one would still take the gap between two parts
            self.param.watch(self._hide_if_empty, "content")

    def ask(
        self, title: str, html: str, *, yes: str, action: str, value: str = "", danger: bool = False
    ) -> None:
        """Ask in a dialog; the answer comes as a message with the dialog's fields as `form`.

        Args:
            title: plain text.
            html: the body, with whatever fields it has.
            yes: the word on the button; empty: it only tells.
            action, value: of the message.
            danger: whether it does harm.
        """
        said = {"title": title, "html": html, "yes": yes, "action": action, "value": value}
        self._asked += 1
        self.question = {**said, "danger": danger, "n": self._asked}

    def _hide_if_empty(self, event: Any) -> None:
        self.visible = bool(event.new)

    def _handle_msg(self, data: Any) -> None:
        if self._on_action is not None:
            hand_over(data, self._on_action)


def stack(*parts: Any) -> pn.Column:
    """The parts of a page below each other."""
    return pn.Column(*parts, sizing_mode="stretch_width", styles={"gap": "16px"}, stylesheets=[STACK_CSS])
