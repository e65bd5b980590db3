"""Why something has not run, or not well, as the server tells it."""

import html
from collections.abc import Sequence
from typing import Any, overload


class Why(Sequence[dict[str, Any]]):
    """Causes, the nearest first, each followed by that of its own, down to the root; prints as text.

    Each has `kind`, `text`, `depth` (0: of what was asked; 1: of what that waits for; and so on), `job_id`,
    `args`, `run_id`, and `output`: the last line that a failed run wrote.
    """

    def __init__(self, causes: Sequence[dict[str, Any]]) -> None:
        self._causes = list(causes)

    @property
    def root(self) -> dict[str, Any]:
        """The last of them: that which to mend first."""
        return self._causes[-1]

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> "Why": ...
    def __getitem__(self, index: int | slice) -> "dict[str, Any] | Why":
        found = self._causes[index]
        return found if isinstance(found, dict) else Why(found)

    def __len__(self) -> int:
        return len(self._causes)

    @property
    def lines(self) -> list[str]:
        """In lines: what is the cause of another one stands below it, further in."""
        lines = []
        for cause in self._causes:
            lines.append(f"{'  ' * cause['depth']}{cause['text']}")
            if cause["output"]:
                lines.append(f"{'  ' * (cause['depth'] + 1)}it wrote last: {cause['output']}")
        return lines

    def __repr__(self) -> str:
        return "\n".join(self.lines)

    def _repr_html_(self) -> str:
        return "<br>".join(html.escape(line).replace("  ", "&emsp;") for line in self.lines)
