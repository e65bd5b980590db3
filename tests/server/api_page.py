"""The list of routes in docs/api.md; run as a program, this writes it anew."""

import tempfile
from pathlib import Path
from typing import Any

from apsis_nb.server.reference import parts
from tests.server.conftest import serving
from tests.server.describing import described

PAGE = Path(__file__).parents[2] / "docs" / "api.md"
TITLE = "## The routes\n"


def routes_section(document: dict[str, Any]) -> str:
    """What follows the title.

    Args:
        document: OpenAPI.
    """
    sections = []
    for name, about, routes in parts(document, ""):
        rows = [f"| `{r.method} {r.path.removeprefix('/api/v1')}` | {r.summary} |" for r in routes]
        lines = [f"### {name}", "", about, "", "| below `/api/v1` | |", "|---|---|", *rows, ""]
        sections.append("\n".join(lines))
    return "\n" + "\n".join(sections)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as server:
        section = routes_section(described(server.url, server.bearer))
    PAGE.write_text(PAGE.read_text().partition(TITLE)[0] + TITLE + section)
