"""A piece of a page as HTML: times in it tick and follow the reader's zone, its buttons call back."""

from collections.abc import Awaitable, Callable
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
OnAction = Callable[[dict[str, Any]], Awaitable[None]]


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

    async def _answer(self, message: dict[str, Any]) -> None:
        if self._on_action is not None:
            await self._on_action(message)

    def _handle_msg(self, data: Any) -> None:
        if isinstance(data, dict) and isinstance(data.get("action"), str):
            pn.state.execute(partial(self._answer, data))
