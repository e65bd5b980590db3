"""The text of a job file: coloured, checked as it is changed, and saved after a look at what that changes."""

from pathlib import Path
from typing import Any, ClassVar

import param

from .board import PAGE_CSS, OnAction, Piece, hand_over

_HERE = Path(__file__).parent
_CSS = (_HERE / "yaml_editor.css").read_text(encoding="utf-8")


class YamlEditor(Piece):
    """The editor. It tells `check` and `save?` with its `text`; the first also `n`, the second its `base`."""

    text = param.String(
        doc="The text as it is on disk; what is typed stays with the reader until it is saved."
    )
    can_write = param.Boolean(default=False, doc="Whether the reader may change it.")
    checked = param.Dict(default={}, doc="`n`, and what was found: `errors` with line, col, level, message.")
    draft = param.Dict(default={}, doc="A text to be put into it, such as an older one: `n`, `text`.")

    _bundle = _HERE / "yaml_editor.js"
    _stylesheets: ClassVar[list[str]] = [PAGE_CSS, _CSS]

    def __init__(self, on_action: OnAction, **params: Any) -> None:
        super().__init__(**{"sizing_mode": "stretch_width", **params})
        self._on_action = on_action

    def _handle_msg(self, data: Any) -> None:
        hand_over(data, self._on_action)
