"""No coroutine of ours can forget that it was cancelled."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_nothing_waits_with_wait_for():
    """On Python 3.11 it forgets a cancellation if the answer comes just then, and a server would never end.

    `async with asyncio.timeout(...)` does not.
    """
    sources = [*(ROOT / "apsis_nb").rglob("*.py"), *(ROOT / "dashboards").glob("*.py")]
    assert len(sources) > 100
    found = [str(path) for path in sources if re.search(r"asyncio\.wait_for\b", path.read_text())]
    assert found == []
