"""Tells somebody who looks elsewhere that a run has ended: by the notebook's browser, or by the terminal."""

import json
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from apsis_nb.client.cells import in_kernel

#: A saved notebook keeps the script, and whoever opens it later is told nothing.
_FRESH_MS = 60_000


def ask_leave() -> None:
    """Have the browser ask its reader whether it may tell him things, if it has not."""
    _in_browser("if (Notification.permission === 'default') { Notification.requestPermission() }")


def tell_end(facts: Mapping[str, Any]) -> None:
    """Tell that a run has ended.

    Args:
        facts: as `Run.facts`.
    """
    title = f"{facts['job_id']}: {facts['state']}"
    about = {"body": " ".join(filter(None, (facts["run_id"], facts["message"]))), "tag": facts["run_id"]}
    if not _in_browser(f"new Notification({_literal(title)}, {_literal(about)})") and sys.stderr.isatty():
        words = "".join(c for c in f"{title} {about['body']}" if c.isprintable())
        # The bell, and what many terminals make a notification of; others leave it out.
        sys.stderr.write(f"\a\x1b]9;{words}\x1b\\")
        sys.stderr.flush()


def _in_browser(script: str) -> bool:
    """Run a script in the page that shows the notebook; whether there is one."""
    if not in_kernel():
        return False
    from IPython.display import display

    now_ms = round(1000 * datetime.now(UTC).timestamp())  # noqa: TID251  (the page compares it with its own)
    is_fresh = f"Math.abs(Date.now() - {now_ms}) < {_FRESH_MS}"
    shown = {"application/javascript": f"if ('Notification' in window && {is_fresh}) {{ {script} }}"}
    display(shown, raw=True)  # type: ignore[no-untyped-call]
    return True


def _literal(value: Any) -> str:
    """A value as JavaScript; no text of it ends the script."""
    return json.dumps(value).replace("<", "\\u003c")
