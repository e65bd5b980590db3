"""A button that has the browser tell when a run ends."""

from pathlib import Path
from typing import Any

import anywidget
import traitlets


class Notice(anywidget.AnyWidget):
    """The button; the browser asks the reader whether it may."""

    _esm = Path(__file__).with_name("notice.js")

    on = traitlets.Bool(False, help="Whether it is to tell.").tag(sync=True)
    live = traitlets.Bool(True, help="Whether there is an end to wait for; else it is not seen.").tag(
        sync=True
    )
    ended = traitlets.Dict(help="What to tell: title, body, and tag, the same of one end.").tag(sync=True)

    def follow(self, facts: dict[str, Any], *, is_live: bool) -> None:
        """Follow a run.

        Args:
            facts: as `Run.facts`.
            is_live: whether it has not ended.
        """
        if self.live and not is_live:
            title = f"{facts['job_id']}: {facts['state']}"
            body = " ".join(filter(None, (facts["run_id"], facts["message"])))
            self.ended = {"title": title, "body": body, "tag": facts["run_id"]}
        self.live = is_live
