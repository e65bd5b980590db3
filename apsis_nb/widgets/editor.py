"""The editor of job files: YAML in colours, with marks where faults are and the keys that may stand there."""

from pathlib import Path
from typing import Any

import anywidget
import traitlets

from apsis_nb.widgets.words import WORDS


class YamlEditor(anywidget.AnyWidget):
    """A text of YAML in a cell; `tools/editor` has the source of its JavaScript."""

    _esm = Path(__file__).with_name("editor.js")

    value = traitlets.Unicode(help="The text; a quarter of a second after the last key.").tag(sync=True)
    faults = traitlets.List(
        traitlets.Dict(), help="What is wrong: line and col from 1 on, message, level (error or warning)."
    ).tag(sync=True)
    words = traitlets.Dict(WORDS, help="What may stand where; as `words.WORDS`.").tag(sync=True)
    read_only = traitlets.Bool(False, help="Whether it can only be read.").tag(sync=True)
    height = traitlets.Unicode("340px", help="As CSS has it.").tag(sync=True)
    label = traitlets.Unicode("Job file", help="For whoever hears it read.").tag(sync=True)

    def __init__(self, **traits: Any) -> None:
        super().__init__(**traits)
        self._save: list[Any] = []
        self.on_msg(self._heard)

    def on_save(self, call: Any) -> None:
        """Call something, without arguments, when the reader presses Ctrl+S."""
        self._save.append(call)

    def _heard(self, widget: Any, content: Any, buffers: Any) -> None:
        if isinstance(content, dict) and content.get("kind") == "save":
            for call in self._save:
                call()
