"""How two texts differ, line by line, as HTML."""

import difflib
from collections.abc import Iterator

from .markup import text

_MARKS = {"+": "ins", "-": "del"}


def difference_html(old: str | None, new: str | None, context: int = 3) -> str:
    """The lines that came and went, with some around them; nothing if the texts are the same.

    Args:
        old, new: None: there was none.
        context: so many lines around each change.
    """
    lines = difflib.unified_diff((old or "").splitlines(), (new or "").splitlines(), lineterm="", n=context)
    shown = "".join(_lines_html(lines))
    return f'<pre class="difference">{shown}</pre>' if shown else ""


def _lines_html(lines: Iterator[str]) -> Iterator[str]:
    for n, line in enumerate(lines):
        if n < 2:  # the names of the files
            continue
        if line.startswith("@@"):
            if n > 2:
                yield '<span class="gap">⋯</span>\n'
            continue
        tag = _MARKS.get(line[:1], "span")
        # The sign stands there for whoever cannot tell the colours.
        yield f"<{tag}>{text(line)}</{tag}>\n"
